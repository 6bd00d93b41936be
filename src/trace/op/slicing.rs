//! Primitives that take arrays apart and put them together: slice, squeeze, concatenate, pad, rev, the dynamic slices; and clamp.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Gather, GatherDimensionNumbers, GatherScatterMode, Inner,
    Jvp, Labels, Param, Params, Prim, Primitive, Scatter, ScatterKind, Tangent, add_tangents,
    batch_elementwise, batch_in_front, batch_to_front, check_axes, cotangent, linear_jvp,
    not_linear, one, operands, remaining, shifted, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `squeeze`
pub const SQUEEZE: Prim<Squeeze> = Prim::new("squeeze");
/// `slice`
pub const SLICE: Prim<Slice> = Prim::new("slice");
/// `dynamic_slice`
pub const DYNAMIC_SLICE: Prim<DynamicSlice> = Prim::new("dynamic_slice");
/// `dynamic_update_slice`
pub const DYNAMIC_UPDATE_SLICE: Prim<DynamicUpdateSlice> = Prim::new("dynamic_update_slice");
/// `concatenate`
pub const CONCATENATE: Prim<Concatenate> = Prim::new("concatenate");
/// `pad`
pub const PAD: Prim<Pad> = Prim::new("pad");
/// `rev`
pub const REV: Prim<Rev> = Prim::new("rev");
/// `clamp`
pub const CLAMP: Prim<Clamp> = Prim::new("clamp");
/// `bitcast_convert_type`
pub const BITCAST_CONVERT_TYPE: Prim<BitcastConvertType> = Prim::new("bitcast_convert_type");

fn no_operand(name: &str) -> Error {
    Error::internal(format!("`{name}` was given no operand"))
}

/// The array without some axes, each of size 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Squeeze {
    /// The axes that go.
    pub dimensions: Dims,
}

impl Primitive for Squeeze {
    fn name(&self) -> &'static str {
        "squeeze"
    }
    fn params(&self) -> Params {
        vec![("dimensions", Param::tuple(&self.dimensions))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes("squeeze", "`dimensions`", &self.dimensions, x.ndim())?;
        if let Some(d) = self
            .dimensions
            .iter()
            .find(|d| x.shape.get(**d) != Some(&1))
        {
            return Err(Error::shape(format!(
                "squeeze: axis {d} of {x} does not have size 1"
            )));
        }
        let keep = remaining(x.ndim(), &self.dimensions, &[]);
        let shape: Dims = keep
            .iter()
            .filter_map(|i| x.shape.get(*i).copied())
            .collect();
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        Ok(vec![Some(ct.reshape(x.aval()?.shape))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let dimensions = shifted(&self.dimensions);
        batch_in_front(Squeeze { dimensions }, x, d, axis)
    }
    fn axes(&self, x: &[&Aval]) -> Axes {
        let rank = x.first().map_or(0, |x| x.ndim());
        let all: Labels = (0..rank as u16).collect();
        let keep = remaining(rank, &self.dimensions, &[]);
        // Summing over an axis of size 1 is dropping it.
        Axes::Product {
            operands: vec![all],
            output: keep.iter().map(|i| *i as u16).collect(),
        }
    }
    no_programs!();
}

/// Every `strides`-th element from `start_indices` up to but not including `limit_indices`, along each axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Slice {
    /// Where to start.
    pub start_indices: Dims,
    /// Where to end.
    pub limit_indices: Dims,
    /// The steps; `None` for 1 everywhere.
    pub strides: Option<Dims>,
}

impl Slice {
    /// The step along axis `i`.
    pub(crate) fn stride(&self, i: usize) -> usize {
        self.strides
            .as_ref()
            .and_then(|s| s.get(i).copied())
            .unwrap_or(1)
    }
}

impl Primitive for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn params(&self) -> Params {
        vec![
            ("limit_indices", Param::tuple(&self.limit_indices)),
            ("start_indices", Param::tuple(&self.start_indices)),
            (
                "strides",
                self.strides
                    .as_ref()
                    .map_or(Param::text("None"), |s| Param::tuple(s)),
            ),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        let lengths = [
            Some(&self.start_indices),
            Some(&self.limit_indices),
            self.strides.as_ref(),
        ];
        if lengths.into_iter().flatten().any(|l| l.len() != x.ndim()) {
            return Err(Error::argument(format!(
                "slice: {x} needs a start, a limit and a stride for each axis; got {} and {}",
                tuple_text(&self.start_indices),
                tuple_text(&self.limit_indices)
            )));
        }
        let mut shape = Dims::new();
        let bounds = self
            .start_indices
            .iter()
            .zip(&self.limit_indices)
            .zip(&x.shape);
        for (i, ((start, limit), n)) in bounds.enumerate() {
            if start > limit || limit > n {
                return Err(Error::index(format!(
                    "slice: {start}..{limit} lies outside of axis {i} of {x}"
                )));
            }
            let step = self.stride(i);
            if step == 0 {
                return Err(Error::argument(format!(
                    "slice: a stride of 0 along axis {i}"
                )));
            }
            shape.push((limit - start).div_ceil(step));
        }
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        let a = x.aval()?;
        let zero = zero_of(ct)?;
        let padding_config = (0..a.ndim())
            .map(|i| {
                let at = |d: &[usize]| d.get(i).copied().unwrap_or(0) as i64;
                let (start, out, step) = (
                    at(&self.start_indices),
                    at(&ct.shape()),
                    self.stride(i) as i64,
                );
                let covered = if out == 0 { 0 } else { (out - 1) * step + 1 };
                (start, at(&a.shape) - start - covered, step - 1)
            })
            .collect();
        Ok(vec![Some(bind(Pad { padding_config }, &[ct, &zero]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let with = |first: usize, rest: &Dims| {
            std::iter::once(first)
                .chain(rest.iter().copied())
                .collect::<Dims>()
        };
        let op = Slice {
            start_indices: with(0, &self.start_indices),
            limit_indices: with(axis.size, &self.limit_indices),
            strides: self.strides.as_ref().map(|s| with(1, s)),
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

/// The zero of an array's element type.
fn zero_of(x: &Array) -> Result<Array> {
    Ok(Array::from_scalar(0.into(), x.dtype()?, false))
}

/// A window of fixed size at a place that is computed, one start index for each axis; moved inside where it would reach outside.
#[derive(Clone, PartialEq, Debug)]
pub struct DynamicSlice {
    /// The window's size along each axis.
    pub slice_sizes: Dims,
}

/// The operand with a window replaced, at a place that is computed; operands: array, update, one start index for each axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DynamicUpdateSlice;

fn check_starts(name: &str, x: &Aval, starts: &[&Aval]) -> Result<()> {
    if starts.len() != x.ndim() {
        return Err(Error::argument(format!(
            "{name}: {x} needs a start index for each axis, got {}",
            starts.len()
        )));
    }
    match starts
        .iter()
        .find(|s| !s.dtype.is_integer() || s.ndim() > 0)
    {
        Some(s) => Err(Error::dtype(format!(
            "{name}: start indices are integers, got {s}"
        ))),
        None => Ok(()),
    }
}

fn check_window(name: &str, x: &Aval, sizes: &[usize]) -> Result<()> {
    if sizes.len() != x.ndim() || sizes.iter().zip(&x.shape).any(|(s, n)| s > n) {
        return Err(Error::shape(format!(
            "{name}: a window of {} does not fit into {x}",
            tuple_text(sizes)
        )));
    }
    Ok(())
}

/// Start indices of which some differ between examples, as an array of positions with the batch axis at the front.
fn positions(starts: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Array> {
    let wide: Vec<Array> = starts
        .iter()
        .zip(d)
        .map(|(s, d)| batch_to_front(&s.astype(DType::I32), *d, axis.size).reshape([axis.size, 1]))
        .collect();
    Ok(bind(
        Concatenate { dimension: 1 },
        &wide.iter().collect::<Vec<_>>(),
    ))
}

/// The numbers of a gather whose positions are whole start indices and whose windows keep every axis.
fn whole_window(ndim: usize) -> GatherDimensionNumbers {
    GatherDimensionNumbers {
        offset_dims: (0..ndim).collect(),
        start_index_map: (0..ndim).collect(),
        ..GatherDimensionNumbers::default()
    }
}

impl Primitive for DynamicSlice {
    fn name(&self) -> &'static str {
        "dynamic_slice"
    }
    fn params(&self) -> Params {
        vec![("slice_sizes", Param::tuple(&self.slice_sizes))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (x, starts) = x.split_first().ok_or_else(|| no_operand(self.name()))?;
        check_starts(self.name(), x, starts)?;
        check_window(self.name(), x, &self.slice_sizes)?;
        Ok(smallvec![x.with_shape(self.slice_sizes.clone())])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let (_, starts) = x.split_first().ok_or_else(|| no_operand(self.name()))?;
        let apply = |x: &Array| {
            bind(
                self.clone(),
                &std::iter::once(x).chain(starts).collect::<Vec<_>>(),
            )
        };
        let y = x
            .first()
            .map(apply)
            .ok_or_else(|| no_operand(self.name()))?;
        one(y, t.first().and_then(Option::as_ref).map(apply))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let mut out = vec![None; x.len()];
        let Some(ct) = cotangent(ct) else {
            return Ok(out);
        };
        let Some((Arg::Linear(a), starts)) = x.split_first() else {
            return Err(not_linear(self.name()));
        };
        let zeros = Array::zeros(&a.shape, a.dtype);
        let starts = known(self.name(), starts)?;
        let args: Vec<&Array> = [&zeros, ct].into_iter().chain(starts.iter()).collect();
        if let Some(slot) = out.first_mut() {
            *slot = Some(bind(DynamicUpdateSlice, &args));
        }
        Ok(out)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (x, starts) = x.split_first().ok_or_else(|| no_operand(self.name()))?;
        let (dx, ds) = d.split_first().ok_or_else(|| no_operand(self.name()))?;
        if ds.iter().all(Option::is_none) {
            let x = batch_to_front(x, *dx, axis.size);
            let slice_sizes = std::iter::once(axis.size)
                .chain(self.slice_sizes.iter().copied())
                .collect();
            let zero = Array::from_scalar(0.into(), index_dtype(starts), false);
            let args: Vec<&Array> = [&x, &zero].into_iter().chain(starts).collect();
            return Ok((
                vec![bind(DynamicSlice { slice_sizes }, &args)],
                vec![Some(0)],
            ));
        }
        let at = positions(starts, ds, axis)?;
        let gather = Gather::new(
            whole_window(self.slice_sizes.len()),
            self.slice_sizes.clone(),
        )
        .mode(GatherScatterMode::Clip);
        gather.batch(&[x.clone(), at], &[*dx, Some(0)], axis)
    }
    opaque!();
}

fn index_dtype(starts: &[Array]) -> DType {
    starts
        .first()
        .and_then(|s| s.dtype().ok())
        .unwrap_or(DType::I32)
}

/// The known operands among these, all of which must be known.
fn known(name: &str, x: &[Arg]) -> Result<Vec<Array>> {
    x.iter()
        .map(|a| match a {
            Arg::Known(x) => Ok(x.clone()),
            Arg::Linear(_) => Err(not_linear(name)),
        })
        .collect()
}

impl Primitive for DynamicUpdateSlice {
    fn name(&self) -> &'static str {
        "dynamic_update_slice"
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x, update, starts @ ..] = x else {
            return Err(no_operand(self.name()));
        };
        check_starts(self.name(), x, starts)?;
        check_window(self.name(), x, &update.shape)?;
        if x.dtype != update.dtype {
            return Err(Error::dtype(format!(
                "{}: the update must have the array's element type, got {update} for {x}",
                self.name()
            )));
        }
        Ok(smallvec![(**x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [base, update, starts @ ..] = x else {
            return Err(no_operand(self.name()));
        };
        let apply = |x: &Array, u: &Array| {
            bind(*self, &[x, u].into_iter().chain(starts).collect::<Vec<_>>())
        };
        let y = apply(base, update);
        let [dx, du, ..] = t else {
            return Err(no_operand(self.name()));
        };
        if dx.is_none() && du.is_none() {
            return one(y, None);
        }
        let full = |t: &Tangent, like: &Array| t.clone().unwrap_or_else(|| Array::zeros_like(like));
        one(y, Some(apply(&full(dx, base), &full(du, update))))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let mut out = vec![None; x.len()];
        let Some(ct) = cotangent(ct) else {
            return Ok(out);
        };
        let [base, update, starts @ ..] = x else {
            return Err(no_operand(self.name()));
        };
        let starts = known(self.name(), starts)?;
        let size = update.aval()?;
        if let (true, Some(slot)) = (base.is_linear(), out.get_mut(0)) {
            let zeros = Array::zeros(&size.shape, size.dtype);
            let args: Vec<&Array> = [ct, &zeros].into_iter().chain(starts.iter()).collect();
            *slot = Some(bind(*self, &args));
        }
        if let (true, Some(slot)) = (update.is_linear(), out.get_mut(1)) {
            let args: Vec<&Array> = std::iter::once(ct).chain(starts.iter()).collect();
            *slot = Some(bind(
                DynamicSlice {
                    slice_sizes: size.shape,
                },
                &args,
            ));
        }
        Ok(out)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([base, update, starts @ ..], [db, du, ds @ ..]) = (x, d) else {
            return Err(no_operand(self.name()));
        };
        if ds.iter().all(Option::is_none) {
            let base = batch_to_front(base, *db, axis.size);
            let update = batch_to_front(update, *du, axis.size);
            let zero = Array::from_scalar(0.into(), index_dtype(starts), false);
            let args: Vec<&Array> = [&base, &update, &zero].into_iter().chain(starts).collect();
            return Ok((vec![bind(*self, &args)], vec![Some(0)]));
        }
        let at = positions(starts, ds, axis)?;
        let scatter = Scatter {
            dtype: base.dtype()?,
            ..Scatter::new(ScatterKind::Set, (&whole_window(starts.len())).into())
        }
        .mode(GatherScatterMode::Clip);
        scatter.batch(
            &[base.clone(), at, update.clone()],
            &[*db, Some(0), *du],
            axis,
        )
    }
    opaque!();
}

/// Arrays one after another along an axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Concatenate {
    /// The axis.
    pub dimension: usize,
}

impl Primitive for Concatenate {
    fn name(&self) -> &'static str {
        "concatenate"
    }
    fn params(&self) -> Params {
        vec![("dimension", Param::text(self.dimension))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let first = x
            .first()
            .ok_or_else(|| Error::argument("concatenate needs at least one array"))?;
        check_axes(
            "concatenate",
            "`dimension`",
            &[self.dimension],
            first.ndim(),
        )?;
        let others = |a: &Aval| -> Dims {
            a.shape
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != self.dimension)
                .map(|p| *p.1)
                .collect()
        };
        let mut total = 0usize;
        for a in x {
            if a.ndim() != first.ndim() || others(a) != others(first) {
                return Err(Error::shape(format!(
                    "concatenate along axis {}: {first} and {a} differ along another axis",
                    self.dimension
                )));
            }
            if a.dtype != first.dtype {
                return Err(Error::dtype(format!(
                    "concatenate needs arrays of one element type, got {first} and {a}"
                )));
            }
            total = total.saturating_add(a.shape.get(self.dimension).copied().unwrap_or(0));
        }
        let mut shape = first.shape.clone();
        if let Some(n) = shape.get_mut(self.dimension) {
            *n = total;
        }
        let weak_type = x.iter().all(|a| a.weak_type);
        Ok(smallvec![Aval {
            shape,
            dtype: first.dtype,
            weak_type
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; x.len()]);
        };
        let mut from = 0;
        let mut out = vec![];
        for arg in x {
            let a = arg.aval()?;
            let n = a.shape.get(self.dimension).copied().unwrap_or(0);
            out.push(arg.is_linear().then(|| {
                let mut start_indices = Dims::from_elem(0, a.ndim());
                let mut limit_indices = a.shape.clone();
                if let (Some(s), Some(l)) = (
                    start_indices.get_mut(self.dimension),
                    limit_indices.get_mut(self.dimension),
                ) {
                    (*s, *l) = (from, from + n);
                }
                bind(
                    Slice {
                        start_indices,
                        limit_indices,
                        strides: None,
                    },
                    &[ct],
                )
            }));
            from += n;
        }
        Ok(out)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let dimension = self.dimension + 1;
        batch_in_front(Concatenate { dimension }, x, d, axis)
    }
    opaque!();
}

/// The array with more elements (fewer, where a number is negative) around and between its own; operands: array, value.
#[derive(Clone, PartialEq, Debug)]
pub struct Pad {
    /// For each axis: how many before, after, and between each two neighbours.
    pub padding_config: Vec<(i64, i64, i64)>,
}

impl Pad {
    /// The sizes of the result for an operand of this shape; `None` where they would be negative or too large.
    pub(crate) fn sizes(&self, shape: &[usize]) -> Option<Dims> {
        self.padding_config
            .iter()
            .zip(shape)
            .map(|((low, high, between), n)| {
                let n = i64::try_from(*n).ok()?;
                let inner = if n == 0 {
                    0
                } else {
                    (n - 1).checked_mul(*between)?
                };
                let total = low.checked_add(*high)?.checked_add(n)?.checked_add(inner)?;
                usize::try_from(total).ok()
            })
            .collect()
    }
}

impl Primitive for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn params(&self) -> Params {
        let each: Vec<String> = self
            .padding_config
            .iter()
            .map(|(l, h, i)| format!("({l}, {h}, {i})"))
            .collect();
        let text = match &each[..] {
            [one] => format!("({one},)"),
            _ => format!("({})", each.join(", ")),
        };
        vec![("padding_config", Param::text(text))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x, value] = operands(self.name(), x)?;
        if value.ndim() > 0 || value.dtype != x.dtype {
            return Err(Error::dtype(format!(
                "pad: {x} is padded with one {}, got {value}",
                x.dtype
            )));
        }
        let fits = self.padding_config.len() == x.ndim()
            && self
                .padding_config
                .iter()
                .all(|(_, _, between)| *between >= 0);
        let shape = self.sizes(&x.shape).filter(|_| fits).ok_or_else(|| {
            Error::argument(format!("pad: {:?} does not fit {x}", self.padding_config))
                .note("one (before, after, between) for each axis; what is cut off must be there")
        })?;
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        let [x, value] = operands(self.name(), x)?;
        let back = self
            .padding_config
            .iter()
            .map(|(l, h, _)| (-l, -h, 0))
            .collect();
        let inside = bind(
            Pad {
                padding_config: back,
            },
            &[ct, &zero_of(ct)?],
        );
        let shape = inside.shape();
        let own = bind(
            Slice {
                start_indices: Dims::from_elem(0, shape.len()),
                limit_indices: Dims::from_slice(&shape),
                strides: Some(
                    self.padding_config
                        .iter()
                        .map(|c| c.2 as usize + 1)
                        .collect(),
                ),
            },
            &[&inside],
        );
        let rest = value.is_linear().then(|| ct.sum(()) - own.sum(()));
        Ok(vec![x.is_linear().then_some(own), rest])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([x, value], [dx, dv]) = (operands(self.name(), x)?, operands(self.name(), d)?);
        let x = batch_to_front(x, *dx, axis.size);
        let padding_config: Vec<_> = std::iter::once((0, 0, 0))
            .chain(self.padding_config.iter().copied())
            .collect();
        let Some(dv) = dv else {
            return Ok((
                vec![bind(Pad { padding_config }, &[&x, value])],
                vec![Some(0)],
            ));
        };
        // A value for each example: padded with false, the mask says where it goes.
        let own = bind(
            Pad {
                padding_config: padding_config.clone(),
            },
            &[&x, &zero_of(&x)?],
        );
        let inside = Array::full(x.shape(), true, DType::Bool);
        let inside = bind(Pad { padding_config }, &[&inside, &Array::scalar(false)]);
        let value = batch_to_front(value, Some(*dv), axis.size).broadcast_in_dim(own.shape(), [0]);
        Ok((vec![inside.select(own, value)], vec![Some(0)]))
    }
    opaque!();
}

/// The elements along some axes in reverse order.
#[derive(Clone, PartialEq, Debug)]
pub struct Rev {
    /// The axes.
    pub dimensions: Dims,
}

impl Primitive for Rev {
    fn name(&self) -> &'static str {
        "rev"
    }
    fn params(&self) -> Params {
        vec![("dimensions", Param::tuple(&self.dimensions))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes("rev", "`dimensions`", &self.dimensions, x.ndim())?;
        Ok(smallvec![(**x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![cotangent(ct).map(|ct| bind(self.clone(), &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let dimensions = shifted(&self.dimensions);
        batch_in_front(Rev { dimensions }, x, d, axis)
    }
    opaque!();
}

/// `min(max(low, x), high)`; operands: low, x, high, of which the bounds may have rank 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clamp;

impl Primitive for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [low, x, high] = operands(self.name(), x)?;
        for bound in [low, high] {
            if bound.dtype != x.dtype || bound.ndim() > 0 && bound.shape != x.shape {
                return Err(Error::shape(format!(
                    "clamp: a bound has rank 0 or the array's shape, and its element type; got {bound} for {x}"
                )));
            }
        }
        if x.dtype.is_complex() {
            return Err(Error::dtype("clamp: complex numbers have no order"));
        }
        Ok(smallvec![(**x).clone()])
    }
    fn jvp(&self, p: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [low, x, high] = operands(self.name(), p)?;
        let y = bind(*self, &[low, x, high]);
        let [dl, dx, dh] = operands(self.name(), t)?;
        let zero = Array::zeros_like(&y);
        let masked = |t: &Tangent, mask: &dyn Fn() -> Array| {
            t.as_ref()
                .map(|t| mask().select(t.broadcast_to(y.shape()), &zero))
        };
        let total = add_tangents(
            masked(dx, &|| x.gt(low) & x.lt(high)),
            add_tangents(masked(dl, &|| x.lt(low)), masked(dh, &|| x.gt(high))),
        );
        one(y, total)
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [low, x, high] = operands(self.name(), x)?;
        let [l, d, h] = operands(self.name(), d)?;
        // The array is what has the result's shape: it is as batched as its bounds are.
        let x = batch_to_front(x, *d, axis.size);
        let (x, d) = ([low.clone(), x, high.clone()], [*l, Some(0), *h]);
        batch_elementwise((*self).into(), &x, &d, axis)
    }
    opaque!();
}

/// The same bits as another element type. Types of one size keep the shape; a wider type takes the last axis, a narrower one adds it.
#[derive(Clone, PartialEq, Debug)]
pub struct BitcastConvertType {
    /// The element type of the result.
    pub new_dtype: DType,
}

impl Primitive for BitcastConvertType {
    fn name(&self) -> &'static str {
        "bitcast_convert_type"
    }
    fn params(&self) -> Params {
        vec![("new_dtype", Param::text(self.new_dtype.name()))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        let (from, to) = (x.dtype, self.new_dtype);
        let bits = |d: DType| d != DType::Bool && !d.is_complex();
        if from != to && !(bits(from) && bits(to)) {
            return Err(Error::dtype(format!(
                "bitcast_convert_type: from {from} to {to}"
            )));
        }
        let mut shape = x.shape.clone();
        match (from.size(), to.size()) {
            (a, b) if a > b => shape.push(a / b),
            (a, b) if a < b && shape.pop() != Some(b / a) => {
                return Err(Error::shape(format!(
                    "bitcast_convert_type: {x} to {to} needs a last axis of size {}",
                    b / a
                )));
            }
            _ => {}
        }
        Ok(smallvec![Aval::new(shape, to)])
    }
    fn jvp(&self, x: &[Array], _: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        one(bind(self.clone(), &[x]), None)
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_in_front(self.clone(), x, d, axis)
    }
    opaque!();
}
