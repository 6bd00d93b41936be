//! Indexing by arrays of positions: `gather`, and the `scatter` family, which is its inverse.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Binary, Inner, Jvp, Param, Params, Prim, Primitive,
    Tangent, add_tangents, batch_to_front, check_axes, cotangent, move_axis, not_linear, one,
    operands, shifted, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims, Scalar, fail},
    error::{Error, Result},
    trace::{Program, bind, print::python_number, stage},
};
use smallvec::smallvec;
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

/// `gather`
pub const GATHER: Prim<Gather> = Prim::new("gather");
/// `scatter`
pub const SCATTER: Prim<Scatter> = Prim::new("scatter");
/// `scatter-add`
pub const SCATTER_ADD: Prim<Scatter> = Prim::new("scatter-add");
/// `scatter-sub`
pub const SCATTER_SUB: Prim<Scatter> = Prim::new("scatter-sub");
/// `scatter-mul`
pub const SCATTER_MUL: Prim<Scatter> = Prim::new("scatter-mul");
/// `scatter-min`
pub const SCATTER_MIN: Prim<Scatter> = Prim::new("scatter-min");
/// `scatter-max`
pub const SCATTER_MAX: Prim<Scatter> = Prim::new("scatter-max");

/// What happens to a window that reaches outside of the array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum GatherScatterMode {
    /// It is moved to the nearest place where it fits.
    Clip,
    /// When gathering, the whole window is filled with a constant; when scattering, the whole window is dropped.
    #[default]
    FillOrDrop,
    /// The caller promises that there is none. (One that breaks the promise is moved when gathering, dropped when scattering.)
    PromiseInBounds,
}

impl GatherScatterMode {
    pub(super) fn name(self) -> &'static str {
        match self {
            GatherScatterMode::Clip => "GatherScatterMode.CLIP",
            GatherScatterMode::FillOrDrop => "GatherScatterMode.FILL_OR_DROP",
            GatherScatterMode::PromiseInBounds => "GatherScatterMode.PROMISE_IN_BOUNDS",
        }
    }
}

/// Which axes mean what in a `gather`. The last axis of the indices holds the parts of one position; their other axes are batch
/// axes, each of whose places picks one window of the operand.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct GatherDimensionNumbers {
    /// The axes of the result that run within a window, ascending.
    pub offset_dims: Dims,
    /// The axes of the operand along which a window has size 1 and which the result lacks, ascending.
    pub collapsed_slice_dims: Dims,
    /// The axis of the operand that each part of a position moves along.
    pub start_index_map: Dims,
    /// The axes of the operand that run along with axes of the indices, ascending; the result lacks them.
    pub operand_batching_dims: Dims,
    /// The axes of the indices that they run along with.
    pub start_indices_batching_dims: Dims,
}

/// Which axes mean what in a `scatter`: those of the `gather` that would read what it writes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ScatterDimensionNumbers {
    /// The axes of the updates that run within a window, ascending.
    pub update_window_dims: Dims,
    /// The axes of the operand along which a window has size 1 and which the updates lack, ascending.
    pub inserted_window_dims: Dims,
    /// The axis of the operand that each part of a position moves along.
    pub scatter_dims_to_operand_dims: Dims,
    /// The axes of the operand that run along with axes of the indices, ascending; the updates lack them.
    pub operand_batching_dims: Dims,
    /// The axes of the indices that they run along with.
    pub scatter_indices_batching_dims: Dims,
}

impl From<&GatherDimensionNumbers> for ScatterDimensionNumbers {
    fn from(d: &GatherDimensionNumbers) -> Self {
        ScatterDimensionNumbers {
            update_window_dims: d.offset_dims.clone(),
            inserted_window_dims: d.collapsed_slice_dims.clone(),
            scatter_dims_to_operand_dims: d.start_index_map.clone(),
            operand_batching_dims: d.operand_batching_dims.clone(),
            scatter_indices_batching_dims: d.start_indices_batching_dims.clone(),
        }
    }
}

impl From<&ScatterDimensionNumbers> for GatherDimensionNumbers {
    fn from(d: &ScatterDimensionNumbers) -> Self {
        GatherDimensionNumbers {
            offset_dims: d.update_window_dims.clone(),
            collapsed_slice_dims: d.inserted_window_dims.clone(),
            start_index_map: d.scatter_dims_to_operand_dims.clone(),
            operand_batching_dims: d.operand_batching_dims.clone(),
            start_indices_batching_dims: d.scatter_indices_batching_dims.clone(),
        }
    }
}

/// What the fields are called, in the order of [`GatherDimensionNumbers`].
pub(super) type Names = [&'static str; 5];
const GATHER_NAMES: Names = [
    "offset_dims",
    "collapsed_slice_dims",
    "start_index_map",
    "operand_batching_dims",
    "start_indices_batching_dims",
];
pub(super) const SCATTER_NAMES: Names = [
    "update_window_dims",
    "inserted_window_dims",
    "scatter_dims_to_operand_dims",
    "operand_batching_dims",
    "scatter_indices_batching_dims",
];

impl GatherDimensionNumbers {
    fn fields(&self) -> [&Dims; 5] {
        [
            &self.offset_dims,
            &self.collapsed_slice_dims,
            &self.start_index_map,
            &self.operand_batching_dims,
            &self.start_indices_batching_dims,
        ]
    }

    pub(super) fn text(&self, class: &str, names: &Names) -> String {
        let fields: Vec<String> = names
            .iter()
            .zip(self.fields())
            .map(|(name, d)| format!("{name}={}", tuple_text(d)))
            .collect();
        format!("{class}({})", fields.join(", "))
    }

    /// Does axis `i` of the operand run within a window that the result shows?
    pub(crate) fn in_window(&self, i: usize) -> bool {
        !self.collapsed_slice_dims.contains(&i) && !self.operand_batching_dims.contains(&i)
    }

    /// The axes of a result of `ndim` that are not within a window.
    pub(crate) fn batch_dims(&self, ndim: usize) -> Dims {
        super::remaining(ndim, &self.offset_dims, &[])
    }

    /// The shape of what is gathered, or of the updates that are scattered. An error names the field that is wrong.
    pub(super) fn check(
        &self,
        name: &str,
        names: &Names,
        x: &Aval,
        indices: &Aval,
        sizes: &[usize],
    ) -> Result<Dims> {
        let wrong = |why: String| Err(Error::argument(format!("{name}: {why}")));
        if !indices.dtype.is_integer() {
            return Err(Error::dtype(format!(
                "{name}: positions are integers, got {indices}"
            )));
        }
        let Some((parts, lead)) = indices.shape.split_last() else {
            return wrong("the indices have no axis for the parts of a position".into());
        };
        let rank = lead.len() + self.offset_dims.len();
        let limits = [rank, x.ndim(), x.ndim(), x.ndim(), lead.len()];
        for (k, ((what, dims), limit)) in names.iter().zip(self.fields()).zip(limits).enumerate() {
            check_axes(name, what, dims, limit)?;
            if matches!(k, 0 | 1 | 3) && !dims.is_sorted() {
                return wrong(format!("{what}={} is not ascending", tuple_text(dims)));
            }
        }
        if self.start_index_map.len() != *parts {
            return wrong(format!(
                "{}={} and the last axis of {indices} differ in length",
                names[2],
                tuple_text(&self.start_index_map)
            ));
        }
        for (k, other) in [(1, &self.collapsed_slice_dims), (2, &self.start_index_map)] {
            if let Some(d) = self
                .operand_batching_dims
                .iter()
                .find(|d| other.contains(d))
            {
                return wrong(format!("axis {d} is in both {} and {}", names[3], names[k]));
            }
        }
        if self.operand_batching_dims.len() != self.start_indices_batching_dims.len() {
            return wrong(format!("{} and {} differ in length", names[3], names[4]));
        }
        for (i, j) in self
            .operand_batching_dims
            .iter()
            .zip(&self.start_indices_batching_dims)
        {
            if x.shape.get(*i) != lead.get(*j) {
                return wrong(format!(
                    "axis {i} of {x} does not match axis {j} of {indices}"
                ));
            }
        }
        if sizes.len() != x.ndim() {
            return wrong(format!(
                "a window of {} is described by {} size(s)",
                x,
                sizes.len()
            ));
        }
        if rank
            != lead.len()
                + sizes
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| self.in_window(*i))
                    .count()
        {
            return wrong(format!(
                "each axis of {x} is in {}, in {}, or has a place in {}={}",
                names[1],
                names[3],
                names[0],
                tuple_text(&self.offset_dims)
            ));
        }
        let empty = indices.size() == 0;
        for (i, (size, n)) in sizes.iter().zip(&x.shape).enumerate() {
            if size > n && !empty {
                return wrong(format!("a window of size {size} along axis {i} of {x}"));
            }
            if self.collapsed_slice_dims.contains(&i) && *size != 1
                || self.operand_batching_dims.contains(&i) && *size > 1
            {
                return wrong(format!(
                    "axis {i} is dropped, so its window has size 1, not {size}"
                ));
            }
        }
        let mut window = sizes
            .iter()
            .enumerate()
            .filter(|(i, _)| self.in_window(*i))
            .map(|(_, n)| *n);
        let mut batch = lead.iter().copied();
        Ok((0..rank)
            .filter_map(|i| {
                if self.offset_dims.contains(&i) {
                    window.next()
                } else {
                    batch.next()
                }
            })
            .collect())
    }

    /// The size of a window along each axis of an operand of rank `ndim`, for updates of this shape.
    pub(crate) fn window_sizes(&self, ndim: usize, updates: &[usize]) -> Dims {
        let mut window = self.offset_dims.iter();
        (0..ndim)
            .map(|i| {
                if self.in_window(i) {
                    window
                        .next()
                        .and_then(|d| updates.get(*d).copied())
                        .unwrap_or(1)
                } else {
                    1
                }
            })
            .collect()
    }

    /// For an operand, and perhaps indices, whose first axis is that of the batch. `together`: it runs along with that of the
    /// indices; else it is within the window if the operand has one, or a batch axis of the indices alone.
    pub(super) fn batched(&self, operand: bool, indices: bool) -> GatherDimensionNumbers {
        let moved = |d: &Dims, by: bool| if by { shifted(d) } else { d.clone() };
        let mut b = GatherDimensionNumbers {
            offset_dims: shifted(&self.offset_dims),
            collapsed_slice_dims: moved(&self.collapsed_slice_dims, operand),
            start_index_map: moved(&self.start_index_map, operand),
            operand_batching_dims: moved(&self.operand_batching_dims, operand),
            start_indices_batching_dims: moved(&self.start_indices_batching_dims, indices),
        };
        match (operand, indices) {
            (true, true) => {
                b.operand_batching_dims.insert(0, 0);
                b.start_indices_batching_dims.insert(0, 0);
            }
            (true, false) => b.offset_dims.insert(0, 0),
            _ => {}
        }
        b
    }
}

/// One window of the operand for each position.
#[derive(Clone, PartialEq, Debug)]
pub struct Gather {
    /// Which axes mean what.
    pub dimension_numbers: GatherDimensionNumbers,
    /// What fills a window that reaches outside; NaN, the lowest integer (the highest unsigned one) or `true` where it is `None`.
    pub fill_value: Option<Scalar>,
    /// Does the caller promise that positions ascend?
    pub indices_are_sorted: bool,
    /// What happens to a window that reaches outside.
    pub mode: GatherScatterMode,
    /// The size of a window along each axis of the operand.
    pub slice_sizes: Dims,
    /// Does the caller promise that no two windows overlap?
    pub unique_indices: bool,
}

impl Gather {
    /// Windows of these sizes, filled where they reach outside; nothing is promised of the positions.
    pub fn new(dimension_numbers: GatherDimensionNumbers, slice_sizes: impl Into<Dims>) -> Gather {
        Gather {
            dimension_numbers,
            fill_value: None,
            indices_are_sorted: false,
            mode: GatherScatterMode::FillOrDrop,
            slice_sizes: slice_sizes.into(),
            unique_indices: false,
        }
    }

    /// The same with another mode.
    #[must_use]
    pub fn mode(mut self, mode: GatherScatterMode) -> Gather {
        self.mode = mode;
        self
    }
}

/// What fills a missing window where nothing else is asked for, as in `lax.gather`.
pub(crate) fn default_fill(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(true),
        DType::I8 => i8::MIN.into(),
        DType::I16 => i16::MIN.into(),
        DType::I32 => i32::MIN.into(),
        DType::I64 => i64::MIN.into(),
        DType::U8 => u8::MAX.into(),
        DType::U16 => u16::MAX.into(),
        DType::U32 => u32::MAX.into(),
        DType::U64 => u64::MAX.into(),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::C64 | DType::C128 => {
            Scalar::Float(f64::NAN)
        }
    }
}

impl Primitive for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn params(&self) -> Params {
        let numbers = self
            .dimension_numbers
            .text("GatherDimensionNumbers", &GATHER_NAMES);
        vec![
            ("dimension_numbers", Param::text(numbers)),
            (
                "fill_value",
                Param::text(self.fill_value.map_or("None".into(), python_number)),
            ),
            ("indices_are_sorted", Param::bool(self.indices_are_sorted)),
            ("mode", Param::text(self.mode.name())),
            ("slice_sizes", Param::tuple(&self.slice_sizes)),
            ("unique_indices", Param::bool(self.unique_indices)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x, indices] = operands(self.name(), x)?;
        let shape = self.dimension_numbers.check(
            self.name(),
            &GATHER_NAMES,
            x,
            indices,
            &self.slice_sizes,
        )?;
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x, indices] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x, indices]);
        let fill_value = match self.mode {
            GatherScatterMode::FillOrDrop => Some(Scalar::Int(0)),
            _ => self.fill_value,
        };
        let linear = Gather {
            fill_value,
            ..self.clone()
        };
        let t = t.first().and_then(Option::as_ref);
        one(y, t.map(|t| bind(linear, &[t, indices])))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        let [Arg::Linear(own), Arg::Known(indices)] = x else {
            return Err(not_linear(self.name()));
        };
        let scatter = Scatter {
            indices_are_sorted: self.indices_are_sorted,
            unique_indices: self.unique_indices,
            mode: self.mode,
            ..Scatter::new(ScatterKind::Add, (&self.dimension_numbers).into())
        };
        let zeros = Array::zeros(&own.shape, own.dtype);
        Ok(vec![Some(zeros.scatter(indices, ct, scatter)), None])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [x, indices] = operands(self.name(), x)?;
        let [dx, di] = operands(self.name(), d)?;
        let mut op = self.clone();
        op.dimension_numbers = self.dimension_numbers.batched(dx.is_some(), di.is_some());
        if dx.is_some() {
            let size = match di {
                Some(_) => axis.size.min(1),
                None => axis.size,
            };
            op.slice_sizes.insert(0, size);
        }
        if di.is_some() && dx.is_none() {
            op.unique_indices = false;
            op.indices_are_sorted = false;
        }
        let front = |x: &Array, d: &Option<usize>| d.map_or(x.clone(), |d| move_axis(x, d, 0));
        let y = bind(op, &[&front(x, dx), &front(indices, di)]);
        Ok((vec![y], vec![Some(0)]))
    }
    opaque!();
}

/// How a scatter combines what it finds with what it brings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScatterKind {
    /// What it brings stays; of several updates of one place, the last.
    Set,
    /// The sum.
    Add,
    /// The difference.
    Sub,
    /// The product.
    Mul,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

impl ScatterKind {
    /// The primitive that combines two elements; `None` if the second replaces the first.
    pub fn combiner(self) -> Option<Binary> {
        match self {
            ScatterKind::Set => None,
            ScatterKind::Add => Some(Binary::Add),
            ScatterKind::Sub => Some(Binary::Sub),
            ScatterKind::Mul => Some(Binary::Mul),
            ScatterKind::Min => Some(Binary::Min),
            ScatterKind::Max => Some(Binary::Max),
        }
    }
}

/// The operand with windows of it replaced by, or combined with, updates. The operands are the array, positions, updates.
#[derive(Clone, PartialEq, Debug)]
pub struct Scatter {
    /// How elements combine.
    pub kind: ScatterKind,
    /// Which axes mean what.
    pub dimension_numbers: ScatterDimensionNumbers,
    /// The element type of the operand.
    pub dtype: DType,
    /// Does the caller promise that positions ascend?
    pub indices_are_sorted: bool,
    /// What happens to a window that reaches outside.
    pub mode: GatherScatterMode,
    /// Does the caller promise that no two windows overlap?
    pub unique_indices: bool,
}

/// The program that combines two elements, as scatters print it: one for each kind and element type, so that equal ones are the
/// same object.
fn combiner(op: Binary, dtype: DType) -> Option<Program> {
    static MADE: LazyLock<Mutex<HashMap<(Binary, DType), Program>>> = LazyLock::new(Mutex::default);
    if let Some(p) = MADE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&(op, dtype))
    {
        return Some(p.clone());
    }
    let scalar = Aval::new(Dims::new(), dtype);
    let made = stage(&[scalar.clone(), scalar], None, &mut |x| {
        let [x, y] = operands("scatter", &x)?;
        Ok(vec![bind(op, &[x, y])])
    });
    let made: Program = made.ok()?.into();
    MADE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert((op, dtype), made.clone());
    Some(made)
}

impl Scatter {
    /// A scatter that drops windows that reach outside; nothing is promised of the positions.
    /// [`Array::scatter`] sets the element type.
    pub fn new(kind: ScatterKind, dimension_numbers: ScatterDimensionNumbers) -> Scatter {
        Scatter {
            kind,
            dimension_numbers,
            dtype: DType::F32,
            indices_are_sorted: false,
            mode: GatherScatterMode::FillOrDrop,
            unique_indices: false,
        }
    }

    /// The same with another mode.
    #[must_use]
    pub fn mode(mut self, mode: GatherScatterMode) -> Scatter {
        self.mode = mode;
        self
    }

    fn with_kind(&self, kind: ScatterKind) -> Scatter {
        Scatter {
            kind,
            ..self.clone()
        }
    }

    /// The gather that reads the windows that this writes, zero where they are dropped.
    fn reader(&self, operand: &Aval, updates: &[usize]) -> Gather {
        let numbers: GatherDimensionNumbers = (&self.dimension_numbers).into();
        let sizes = numbers.window_sizes(operand.ndim(), updates);
        Gather {
            fill_value: match self.mode {
                GatherScatterMode::FillOrDrop => Some(Scalar::Int(0)),
                _ => None,
            },
            indices_are_sorted: self.indices_are_sorted,
            unique_indices: self.unique_indices,
            mode: self.mode,
            ..Gather::new(numbers, sizes)
        }
    }

    /// Which elements of the updates a `scatter` leaves in the result: all where none overlap, else those whose window's number
    /// stands where they were written.
    fn winners(&self, operand: &Aval, indices: &Array, updates: &Aval) -> Array {
        let mut one_each = updates.shape.clone();
        for d in &self.dimension_numbers.update_window_dims {
            if let Some(n) = one_each.get_mut(*d) {
                *n = 1;
            }
        }
        let count = one_each.iter().product();
        let numbers = (Array::arange(count, DType::U32) + 1u32)
            .reshape(one_each)
            .broadcast_to(&updates.shape);
        let zeros = Array::zeros(&operand.shape, DType::U32);
        let written = zeros.scatter(indices, &numbers, self.clone());
        let read = bind(self.reader(operand, &updates.shape), &[&written, indices]);
        read.eq(&numbers)
    }

    /// The tangent of a product with several factors: that of each times the others. Zeros are counted, not divided by.
    fn mul_tangent(&self, x: &Array, indices: &Array, u: &Array, du: &Array) -> Result<Array> {
        let (a, b) = (x.aval()?, u.aval()?);
        let zero = u.eq(0.0);
        let filled = zero.select(Array::ones_like(u), u);
        let product = bind(self.clone(), &[x, indices, &filled]);
        let count = self.with_kind(ScatterKind::Add);
        let zeros = bind(
            count,
            &[
                &Array::zeros(&a.shape, a.dtype),
                indices,
                &zero.astype(a.dtype),
            ],
        );
        let reader = self.reader(&a, &b.shape);
        let product = bind(reader.clone(), &[&product, indices]);
        let zeros = bind(reader, &[&zeros, indices]);
        // Without zeros: the product without this factor. With one zero: nothing, but for the zero itself.
        let others = &product / &filled;
        let nothing = Array::zeros_like(&others);
        let alone = zeros.eq(1.0) & &zero;
        let coefficient = zeros
            .eq(0.0)
            .select(&others, alone.select(&product, &nothing));
        Ok(du * coefficient)
    }

    /// The tangent of a minimum or maximum, as JAX defines it: the mean of the tangents of the elements that attain it.
    fn extremal_tangent(
        &self,
        [x, indices, u]: [&Array; 3],
        y: &Array,
        dx: &Array,
        du: &Array,
    ) -> Result<Array> {
        let (a, b) = (x.aval()?, u.aval()?);
        let add = self.with_kind(ScatterKind::Add);
        let zeros = Array::zeros(&a.shape, a.dtype);
        let read = |v: &Array| bind(self.reader(&a, &b.shape), &[v, indices]);
        let count = |v: &Array| read(&bind(add.clone(), &[&zeros, indices, v]));
        let (initial, target) = (read(x), read(y));
        let successful = u.eq(&target);
        let retained = initial.eq(&target);
        let (ones, none) = (Array::ones_like(u), Array::zeros_like(u));
        let updates = count(&successful.select(&ones, &none));
        let references = count(&ones);
        let shared = 1.0 / (&updates + 1.0);
        let of_update = successful.select(
            retained.select(&shared, &(1.0 / updates.maximum(1.0))),
            &none,
        );
        let of_operand = (retained.select(&shared, &none) - 1.0) / references.maximum(1.0);
        let moved = read(dx) * of_operand + du * of_update;
        Ok(bind(add, &[dx, indices, &moved]))
    }
}

impl Primitive for Scatter {
    fn name(&self) -> &'static str {
        match self.kind {
            ScatterKind::Set => "scatter",
            ScatterKind::Add => "scatter-add",
            ScatterKind::Sub => "scatter-sub",
            ScatterKind::Mul => "scatter-mul",
            ScatterKind::Min => "scatter-min",
            ScatterKind::Max => "scatter-max",
        }
    }
    fn params(&self) -> Params {
        let numbers = GatherDimensionNumbers::from(&self.dimension_numbers)
            .text("ScatterDimensionNumbers", &SCATTER_NAMES);
        let program = self.kind.combiner().and_then(|c| combiner(c, self.dtype));
        vec![
            ("dimension_numbers", Param::text(numbers)),
            ("indices_are_sorted", Param::bool(self.indices_are_sorted)),
            ("mode", Param::text(self.mode.name())),
            ("unique_indices", Param::bool(self.unique_indices)),
            ("update_consts", Param::text("()")),
            (
                "update_jaxpr",
                program.map_or(Param::text("None"), Param::Program),
            ),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x, indices, updates] = operands(self.name(), x)?;
        if x.dtype != updates.dtype || x.dtype != self.dtype {
            return Err(Error::dtype(format!(
                "{}: the array is {x}, the updates are {updates}",
                self.name()
            )));
        }
        if x.dtype.is_complex() && matches!(self.kind, ScatterKind::Min | ScatterKind::Max) {
            return Err(Error::dtype(format!(
                "{}: complex numbers have no order",
                self.name()
            )));
        }
        let numbers = GatherDimensionNumbers::from(&self.dimension_numbers);
        let sizes = numbers.window_sizes(x.ndim(), &updates.shape);
        let wanted = numbers.check(self.name(), &SCATTER_NAMES, x, indices, &sizes)?;
        if wanted != updates.shape {
            return Err(Error::shape(format!(
                "{}: positions {indices} in {x} ask for updates of shape {}, got {updates}",
                self.name(),
                tuple_text(&wanted)
            )));
        }
        Ok(smallvec![(*x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x, indices, u] = operands(self.name(), x)?;
        let [dx, _, du] = operands(self.name(), t)?;
        let y = bind(self.clone(), &[x, indices, u]);
        let or_zeros = |t: &Tangent, x: &Array| t.clone().unwrap_or_else(|| Array::zeros_like(x));
        let t = match self.kind {
            ScatterKind::Set | ScatterKind::Add | ScatterKind::Sub => {
                let (dx, du) = (or_zeros(dx, x), or_zeros(du, u));
                Some(bind(self.clone(), &[&dx, indices, &du]))
            }
            ScatterKind::Mul => {
                let of_operand = dx.as_ref().map(|dx| bind(self.clone(), &[dx, indices, u]));
                let of_updates = match du {
                    Some(du) => {
                        let moved = self.mul_tangent(x, indices, u, du)?;
                        let zeros = Array::zeros_like(x);
                        Some(bind(
                            self.with_kind(ScatterKind::Add),
                            &[&zeros, indices, &moved],
                        ))
                    }
                    None => None,
                };
                add_tangents(of_operand, of_updates)
            }
            ScatterKind::Min | ScatterKind::Max => {
                let (dx, du) = (or_zeros(dx, x), or_zeros(du, u));
                Some(self.extremal_tangent([x, indices, u], &y, &dx, &du)?)
            }
        };
        one(y, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; 3]);
        };
        let [x, Arg::Known(indices), u] = x else {
            return Err(not_linear(self.name()));
        };
        let (a, b) = (x.aval()?, u.aval()?);
        let read = || bind(self.reader(&a, &b.shape), &[ct, indices]);
        let (dx, du) = match self.kind {
            ScatterKind::Add => (ct.clone(), u.is_linear().then(read)),
            ScatterKind::Sub => (ct.clone(), u.is_linear().then(|| -read())),
            ScatterKind::Set => {
                let zeros = Array::zeros(&b.shape, b.dtype);
                let dx = if x.is_linear() {
                    bind(self.clone(), &[ct, indices, &zeros])
                } else {
                    ct.clone()
                };
                let du = if !u.is_linear() {
                    None
                } else if self.unique_indices {
                    Some(read())
                } else {
                    Some(self.winners(&a, indices, &b).select(read(), &zeros))
                };
                (dx, du)
            }
            ScatterKind::Mul => match u {
                Arg::Known(u) => (bind(self.clone(), &[ct, indices, u]), None),
                Arg::Linear(_) => return Err(not_linear(self.name())),
            },
            ScatterKind::Min | ScatterKind::Max => return Err(not_linear(self.name())),
        };
        Ok(vec![x.is_linear().then_some(dx), None, du])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [x, indices, u] = operands(self.name(), x)?;
        let [dx, di, du] = operands(self.name(), d)?;
        let numbers = GatherDimensionNumbers::from(&self.dimension_numbers);
        let op = Scatter {
            dimension_numbers: (&numbers.batched(true, di.is_some())).into(),
            ..self.clone()
        };
        let x = batch_to_front(x, *dx, axis.size);
        let u = batch_to_front(u, *du, axis.size);
        let indices = match di {
            Some(d) => move_axis(indices, *d, 0),
            None => indices.clone(),
        };
        Ok((vec![bind(op, &[&x, &indices, &u])], vec![Some(0)]))
    }
    opaque!();
}

impl Array {
    /// One window for each position: `lax.gather`. The result's axes are the indices' but the last, with those of a window put in
    /// where `offset_dims` says. In the error state where the numbers do not fit.
    ///
    /// ```
    /// use quaxide::{op::{Gather, GatherDimensionNumbers}, prelude::*};
    /// let x = Array::from([[1f32, 2.], [3., 4.], [5., 6.]]);
    /// let rows = GatherDimensionNumbers {
    ///     offset_dims: [1].as_slice().into(),
    ///     collapsed_slice_dims: [0].as_slice().into(),
    ///     start_index_map: [0].as_slice().into(),
    ///     ..Default::default()
    /// };
    /// let y = x.gather(&Array::from([[2i32], [0]]), Gather::new(rows, [1, 2].as_slice()));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 6.0, 1.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn gather(&self, indices: &Array, mut gather: Gather) -> Array {
        match self.dtype() {
            Ok(d)
                if gather.fill_value.is_none() && gather.mode == GatherScatterMode::FillOrDrop =>
            {
                gather.fill_value = Some(default_fill(d));
            }
            _ => {}
        }
        bind(gather, &[self, indices])
    }

    /// The array with windows of it replaced by, or combined with, `updates`, whose element type is the array's: `lax.scatter` and
    /// its kin. In the error state where the numbers do not fit.
    #[track_caller]
    pub fn scatter(&self, indices: &Array, updates: &Array, mut scatter: Scatter) -> Array {
        match self.dtype() {
            Ok(d) => scatter.dtype = d,
            Err(e) => return fail(e),
        }
        bind(scatter, &[self, indices, updates])
    }
}
