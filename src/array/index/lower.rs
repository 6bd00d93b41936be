//! From an index to primitives, as `jax.numpy` chooses them: constant ones become `slice`, `squeeze` and `rev`; scalars that are
//! arrays become `dynamic_slice`; the rest, and all updates, become `gather` and `scatter`.

use super::{Index, Options, Run, Slice};
use crate::{
    array::{
        Array, DType, Dims, Scalar, dtype::promote_types, operators::broadcast_shapes,
        selection::known,
    },
    error::{Error, Result},
    trace::{
        bind,
        op::{
            self, Concatenate, DynamicSlice, Gather, GatherDimensionNumbers, GatherScatterMode,
            Scatter, ScatterKind, default_fill,
        },
    },
};

/// One part of an index that has been laid against the axes of an array; `usize` is the axis that it takes.
enum Part {
    Int(usize, i128),
    Slice(usize, Run),
    NewAxis,
    Positions(usize, Array),
}

struct Parsed {
    shape: Dims,
    parts: Vec<Part>,
    /// Do the parts that are integers or positions stand side by side, as the index was written?
    together: bool,
}

/// Lay an index against the axes; constant integers are checked unless `unchecked`.
fn parse(x: &Array, index: &[Index], unchecked: bool) -> Result<Parsed> {
    let aval = x.aval()?;
    let mut parts = vec![];
    let takes = |i: &Index| -> Result<usize> {
        Ok(match i {
            Index::Int(_) | Index::Slice(_) => 1,
            Index::Ellipsis | Index::NewAxis => 0,
            Index::Array(a) => {
                let a = a.aval()?;
                match a.dtype {
                    DType::Bool => a.ndim(),
                    d if d.is_integer() => 1,
                    _ => {
                        return Err(Error::dtype(format!(
                            "an index is made of integers or bool, not of {a}"
                        ))
                        .note("`.astype(DType::I32)` makes integers of floats"));
                    }
                }
            }
        })
    };
    let mut taken = 0usize;
    for i in index {
        taken += takes(i)?;
    }
    let ndim = aval.ndim();
    if taken > ndim {
        return Err(Error::index(format!(
            "too many indices: {taken} for {aval}, which has {ndim} axes"
        )));
    }
    if index
        .iter()
        .filter(|i| matches!(i, Index::Ellipsis))
        .count()
        > 1
    {
        return Err(Error::index(
            "an index has at most one `Ellipsis`; `..` is one full axis",
        ));
    }
    let places: Vec<usize> = index
        .iter()
        .enumerate()
        .filter(|(_, i)| matches!(i, Index::Int(_) | Index::Array(_)))
        .map(|(k, _)| k)
        .collect();
    let together = places.windows(2).all(|w| matches!(w, [a, b] if b - a == 1));
    let size = |axis: usize| aval.shape.get(axis).copied().unwrap_or(0);
    let mut axis = 0usize;
    let mut fill = ndim - taken;
    let full = |parts: &mut Vec<Part>, axis: &mut usize, count: usize| -> Result<()> {
        for _ in 0..count {
            parts.push(Part::Slice(*axis, Slice::default().resolve(size(*axis))?));
            *axis += 1;
        }
        Ok(())
    };
    for i in index {
        match i {
            Index::Ellipsis => {
                full(&mut parts, &mut axis, fill)?;
                fill = 0;
            }
            Index::NewAxis => parts.push(Part::NewAxis),
            Index::Int(i) => {
                let n = size(axis);
                let at = if *i < 0 { i + n as i128 } else { *i };
                if n == 0 || !unchecked && !(0..n as i128).contains(&at) {
                    return Err(Error::index(format!(
                        "index {i} is out of bounds for axis {axis} with size {n} of {aval}"
                    )));
                }
                parts.push(Part::Int(axis, at));
                axis += 1;
            }
            Index::Slice(s) => {
                parts.push(Part::Slice(axis, s.resolve(size(axis))?));
                axis += 1;
            }
            Index::Array(a) => {
                let mask = a.aval()?;
                if mask.dtype != DType::Bool {
                    parts.push(Part::Positions(axis, a.clone()));
                    axis += 1;
                    continue;
                }
                if mask.ndim() == 0 {
                    return Err(Error::index("a mask of no axes")
                        .note("use `select`, or a mask in the array's shape"));
                }
                let along = aval.shape.get(axis..axis + mask.ndim());
                if along != Some(&mask.shape[..]) {
                    return Err(Error::index(format!(
                        "a mask {mask} does not fit axes {axis} to {} of {aval}",
                        axis + mask.ndim() - 1
                    )));
                }
                for at in true_places(a)? {
                    parts.push(Part::Positions(axis, at));
                    axis += 1;
                }
            }
        }
    }
    full(&mut parts, &mut axis, fill)?;
    Ok(Parsed {
        shape: aval.shape,
        parts,
        together,
    })
}

/// Where a concrete mask is true: the positions along each of its axes.
pub(crate) fn true_places(mask: &Array) -> Result<Vec<Array>> {
    let elements = known(mask, "use `select`, or `nonzero` with a size")?;
    let shape = mask.shape();
    let chosen: Vec<usize> = (0..elements.len())
        .filter(|i| elements.get(*i).copied().unwrap_or(false))
        .collect();
    let mut step = elements.len();
    Ok(shape
        .iter()
        .map(|n| {
            step /= (*n).max(1);
            let (step, n) = (step.max(1), (*n).max(1));
            Array::from(
                chosen
                    .iter()
                    .map(|i| (i / step % n) as i32)
                    .collect::<Vec<_>>(),
            )
        })
        .collect())
}

pub(super) fn get(x: &Array, index: &[Index], options: Options) -> Result<Array> {
    let lenient = options
        .mode
        .is_some_and(|m| m != GatherScatterMode::PromiseInBounds);
    let parsed = parse(x, index, lenient)?;
    if options.mode != Some(GatherScatterMode::FillOrDrop) {
        if let Some(y) = parsed.as_static_slice(x) {
            return Ok(y);
        }
        if let Some(y) = parsed.as_dynamic_slice(x) {
            return Ok(y);
        }
    }
    let lowered = parsed.as_gather()?;
    let a = x.aval()?;
    if lowered.slice_shape.contains(&0) {
        return Ok(Array::zeros(&lowered.slice_shape, a.dtype));
    }
    let mode = options.mode.unwrap_or(GatherScatterMode::PromiseInBounds);
    let gather = Gather {
        dimension_numbers: lowered.numbers,
        fill_value: match mode {
            GatherScatterMode::FillOrDrop => {
                Some(options.fill_value.unwrap_or_else(|| default_fill(a.dtype)))
            }
            _ => None,
        },
        indices_are_sorted: lowered.constant || options.indices_are_sorted,
        mode,
        slice_sizes: lowered.sizes,
        unique_indices: lowered.constant || options.unique_indices,
    };
    let mut y = match lowered.indices {
        Some(indices) => bind(gather, &[x, &indices]),
        None => x.clone(),
    };
    if !lowered.reversed.is_empty() {
        y = y.flip(&lowered.reversed);
    }
    Ok(with_new_axes(&y, &lowered.new_axes))
}

pub(super) fn update(
    x: &Array,
    index: &[Index],
    options: Options,
    kind: ScatterKind,
    values: &Array,
) -> Result<Array> {
    let lenient = options
        .mode
        .is_some_and(|m| m != GatherScatterMode::PromiseInBounds);
    let lowered = parse(x, index, lenient)?.as_gather()?;
    let a = x.aval()?;
    let v = values.aval()?;
    if broadcast_shapes(&lowered.slice_shape, &v.shape).as_ref() != Some(&lowered.slice_shape) {
        return Err(Error::shape(format!(
            "values {v} do not broadcast to the places {:?} of {a}",
            &lowered.slice_shape[..]
        )));
    }
    if lowered.slice_shape.contains(&0) {
        return Ok(x.clone());
    }
    // Both are promoted, and the result is what the array was: an update does not change an array's type.
    let (dtype, weak) = promote_types((a.dtype, a.weak_type), (v.dtype, v.weak_type));
    let to = |y: &Array, from: DType| {
        if from == dtype {
            y.clone()
        } else {
            y.convert_weak(dtype, weak)
        }
    };
    let (array, mut values) = (
        to(x, a.dtype),
        to(values, v.dtype).broadcast_to(&lowered.slice_shape),
    );
    if !lowered.new_axes.is_empty() {
        values = values.squeeze(&lowered.new_axes);
    }
    if !lowered.reversed.is_empty() {
        values = values.flip(&lowered.reversed);
    }
    let indices = lowered
        .indices
        .unwrap_or_else(|| Array::zeros([0], DType::I32));
    let scatter = Scatter {
        kind,
        dimension_numbers: (&lowered.numbers).into(),
        dtype,
        indices_are_sorted: lowered.constant || options.indices_are_sorted,
        mode: options.mode.unwrap_or_default(),
        unique_indices: lowered.constant || options.unique_indices,
    };
    let y = bind(scatter, &[&array, &indices, &values]);
    Ok(if dtype == a.dtype {
        y
    } else {
        y.convert_weak(a.dtype, a.weak_type)
    })
}

fn with_new_axes(y: &Array, axes: &[usize]) -> Array {
    if axes.is_empty() {
        return y.clone();
    }
    let mut old = y.shape().to_vec().into_iter();
    let ndim = y.ndim() + axes.len();
    let kept: Dims = (0..ndim).filter(|i| !axes.contains(i)).collect();
    let shape: Dims = (0..ndim)
        .map(|i| {
            if axes.contains(&i) {
                1
            } else {
                old.next().unwrap_or(1)
            }
        })
        .collect();
    y.broadcast_in_dim(shape, kept)
}

/// Positions counted from the end made positions from the beginning; unsigned ones have none.
fn from_the_front(i: &Array, size: usize) -> Array {
    match i.dtype() {
        Ok(d) if d.is_unsigned() => i.clone(),
        Ok(d) => {
            let size = Array::from_scalar(size.into(), d, false);
            let zero = Array::from_scalar(Scalar::Int(0), d, false);
            i.lt(&zero).select(&(i + &size), i)
        }
        Err(_) => i.clone(),
    }
}

fn strong_int(i: i128) -> Array {
    Array::from_scalar(Scalar::Int(i), DType::I32, false)
}

/// What a gather, or the scatter of the same places, needs.
struct Lowered {
    numbers: GatherDimensionNumbers,
    sizes: Dims,
    /// `None`: every element, as it stands.
    indices: Option<Array>,
    /// The shape of the places as NumPy gives it.
    slice_shape: Dims,
    new_axes: Dims,
    reversed: Dims,
    /// Are there no arrays among the indices, so that places ascend and differ?
    constant: bool,
}

impl Parsed {
    fn size(&self, axis: usize) -> usize {
        self.shape.get(axis).copied().unwrap_or(0)
    }

    /// `slice`, `rev`, `squeeze` and new axes, if every part is constant.
    fn as_static_slice(&self, x: &Array) -> Option<Array> {
        let n = self.shape.len();
        let (mut start, mut limit, mut strides) = (Dims::new(), Dims::new(), Dims::new());
        let (mut squeezed, mut reversed, mut new_axes) = (Dims::new(), Dims::new(), Dims::new());
        for part in &self.parts {
            match part {
                Part::Positions(..) => return None,
                Part::NewAxis => new_axes.push(start.len() - squeezed.len() + new_axes.len()),
                Part::Int(axis, at) => {
                    let at = (*at).clamp(0, self.size(*axis) as i128 - 1) as usize;
                    start.push(at);
                    limit.push(at + 1);
                    strides.push(1);
                    squeezed.push(*axis);
                }
                Part::Slice(axis, run) => {
                    let stride = run.step.unsigned_abs();
                    let (low, high) = if run.step < 0 {
                        reversed.push(*axis);
                        let span = run.count.saturating_sub(1) * stride;
                        let high = (run.start + 1).max(0) as usize;
                        let low = if run.count == 0 {
                            high
                        } else {
                            high - 1 - span
                        };
                        (low, high)
                    } else {
                        (run.start as usize, run.stop.max(run.start) as usize)
                    };
                    start.push(low);
                    limit.push(high);
                    strides.push(stride);
                }
            }
        }
        let whole = start.iter().all(|s| *s == 0)
            && limit == self.shape
            && strides.iter().all(|s| *s == 1)
            && start.len() == n;
        let mut y = if whole {
            x.clone()
        } else {
            bind(
                op::Slice {
                    start_indices: start,
                    limit_indices: limit,
                    strides: strides.iter().any(|s| *s != 1).then_some(strides),
                },
                &[x],
            )
        };
        if !reversed.is_empty() {
            y = y.flip(&reversed);
        }
        if !squeezed.is_empty() {
            y = y.squeeze(&squeezed);
        }
        Some(with_new_axes(&y, &new_axes))
    }

    /// `dynamic_slice`, if every part is constant or a scalar, and no slice leaves out elements.
    fn as_dynamic_slice(&self, x: &Array) -> Option<Array> {
        let (mut start, mut sizes) = (vec![], Dims::new());
        let (mut squeezed, mut reversed, mut new_axes) = (Dims::new(), Dims::new(), Dims::new());
        for part in &self.parts {
            match part {
                Part::NewAxis => new_axes.push(start.len() - squeezed.len() + new_axes.len()),
                Part::Int(axis, at) => {
                    start.push(strong_int((*at).clamp(0, self.size(*axis) as i128 - 1)));
                    sizes.push(1);
                    squeezed.push(*axis);
                }
                Part::Positions(axis, i) => {
                    if i.ndim() > 0 || self.size(*axis) == 0 {
                        return None;
                    }
                    start.push(i.clone());
                    sizes.push(1);
                    squeezed.push(*axis);
                }
                Part::Slice(axis, run) => {
                    let low = match run.step {
                        1 => run.start,
                        -1 => run.start + 1 - run.count as isize,
                        _ => return None,
                    };
                    if run.step < 0 {
                        reversed.push(*axis);
                    }
                    start.push(strong_int(low as i128));
                    sizes.push(run.count);
                }
            }
        }
        let many = start.len() > 1;
        let start: Vec<Array> = start
            .iter()
            .zip(&self.shape)
            .map(|(i, n)| {
                let i = if many && i.dtype().is_ok_and(|d| d != DType::I32) {
                    i.astype(DType::I32)
                } else {
                    i.clone()
                };
                from_the_front(&i, *n)
            })
            .collect();
        let mut y = {
            let operands: Vec<&Array> = std::iter::once(x).chain(&start).collect();
            bind(DynamicSlice { slice_sizes: sizes }, &operands)
        };
        if !reversed.is_empty() {
            y = y.flip(&reversed);
        }
        if !squeezed.is_empty() {
            y = y.squeeze(&squeezed);
        }
        Some(with_new_axes(&y, &new_axes))
    }

    /// The general case. Arrays of positions broadcast together; their axes stand where the first of them stands, or in front if
    /// other parts stand between them. Constant slices with a step become positions of their own.
    fn as_gather(&self) -> Result<Lowered> {
        let advanced_any = self
            .parts
            .iter()
            .any(|p| matches!(p, Part::Positions(_, a) if a.ndim() > 0));
        let is_advanced =
            |p: &Part| advanced_any && matches!(p, Part::Int(..) | Part::Positions(..));
        let mut shared = Dims::new();
        for part in &self.parts {
            if let Part::Positions(axis, a) = part
                && advanced_any
            {
                let a = a.aval()?;
                shared = broadcast_shapes(&shared, &a.shape).ok_or_else(|| {
                    Error::shape(format!(
                        "the positions {a} along axis {axis} do not broadcast with those before, of shape {:?}",
                        &shared[..]
                    ))
                })?;
            }
        }
        let mut out = Lowered {
            numbers: GatherDimensionNumbers::default(),
            sizes: Dims::new(),
            indices: None,
            slice_shape: Dims::new(),
            new_axes: Dims::new(),
            reversed: Dims::new(),
            constant: !advanced_any,
        };
        // Parts of a position, each with the place of its first axis among those of the positions.
        let mut columns: Vec<(Array, usize)> = vec![];
        let mut lead = Dims::new();
        // Axes of the result so far, with new ones and without.
        let (mut with_new, mut without_new) = (0usize, 0usize);
        let first = self.parts.iter().position(is_advanced);
        for (k, part) in self.parts.iter().enumerate() {
            if Some(k) == first.filter(|_| self.together)
                || k == 0 && advanced_any && !self.together
            {
                let at = lead.len();
                for part in &self.parts {
                    let (axis, i) = match part {
                        Part::Int(axis, i) => {
                            (*axis, Array::from_scalar(Scalar::Int(*i), DType::I32, true))
                        }
                        Part::Positions(axis, i) => (*axis, from_the_front(i, self.size(*axis))),
                        _ => continue,
                    };
                    columns.push((i.broadcast_to(&shared).convert(DType::I32), at));
                    out.numbers.start_index_map.push(axis);
                    out.numbers.collapsed_slice_dims.push(axis);
                }
                lead.extend_from_slice(&shared);
                out.slice_shape.extend_from_slice(&shared);
                with_new += shared.len();
                without_new += shared.len();
            }
            if is_advanced(part) {
                out.sizes.push(1);
                continue;
            }
            match part {
                Part::NewAxis => {
                    out.slice_shape.push(1);
                    out.new_axes.push(with_new);
                    with_new += 1;
                }
                Part::Int(axis, _) | Part::Positions(axis, _) => {
                    let i = match part {
                        Part::Positions(_, i) => {
                            from_the_front(i, self.size(*axis)).convert(DType::I32)
                        }
                        Part::Int(_, i) => strong_int(*i),
                        _ => continue,
                    };
                    columns.push((i, lead.len()));
                    out.numbers.collapsed_slice_dims.push(*axis);
                    out.numbers.start_index_map.push(*axis);
                    out.sizes.push(1);
                }
                Part::Slice(axis, run) => {
                    let Run {
                        start, step, count, ..
                    } = *run;
                    out.slice_shape.push(count);
                    if step == 1 {
                        if count != self.size(*axis) {
                            columns.push((strong_int(start as i128), lead.len()));
                            out.numbers.start_index_map.push(*axis);
                        }
                        out.sizes.push(count);
                        out.numbers.offset_dims.push(without_new);
                    } else {
                        let steps = Array::iota([count], 0, DType::I32);
                        let mut places =
                            strong_int(start as i128) + strong_int(step as i128) * steps;
                        if step < 0 {
                            out.reversed.push(without_new);
                            places = places.flip(0);
                        }
                        columns.push((places, lead.len()));
                        out.numbers.start_index_map.push(*axis);
                        out.numbers.collapsed_slice_dims.push(*axis);
                        out.sizes.push(1);
                        lead.push(count);
                    }
                    with_new += 1;
                    without_new += 1;
                }
            }
        }
        out.numbers.collapsed_slice_dims.sort_unstable();
        out.indices = match &columns[..] {
            [] => None,
            [(one, _)] => {
                let mut shape: Dims = one.shape().to_vec().into();
                let kept: Dims = (0..shape.len()).collect();
                shape.push(1);
                Some(one.broadcast_in_dim(shape, kept))
            }
            many => {
                let mut shape = lead.clone();
                shape.push(1);
                let columns: Vec<Array> = many
                    .iter()
                    .map(|(i, at)| {
                        i.broadcast_in_dim(&shape, (*at..at + i.ndim()).collect::<Dims>())
                    })
                    .collect();
                Some(bind(
                    Concatenate {
                        dimension: lead.len(),
                    },
                    &columns.iter().collect::<Vec<_>>(),
                ))
            }
        };
        Ok(out)
    }
}
