//! Windows that slide over an array: `reduce_window_sum` and its kin, and the derivatives of the one that picks an element.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Binary, Gather, GatherDimensionNumbers,
    GatherScatterMode, Inner, Jvp, Padding, Param, Params, Prim, Primitive, Reduce, Reducer,
    Tangent, batch_in_front, cotangent, dilated, not_linear, one, operands, padding_text,
    tuple_text, windows,
};
use crate::{
    array::{Array, Aval, DType, Dims, IntoDims, Scalar, aval::size_of},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `reduce_window_sum`
pub const REDUCE_WINDOW_SUM: Prim<ReduceWindow> = Prim::new("reduce_window_sum");
/// `reduce_window_prod`
pub const REDUCE_WINDOW_PROD: Prim<ReduceWindow> = Prim::new("reduce_window_prod");
/// `reduce_window_max`
pub const REDUCE_WINDOW_MAX: Prim<ReduceWindow> = Prim::new("reduce_window_max");
/// `reduce_window_min`
pub const REDUCE_WINDOW_MIN: Prim<ReduceWindow> = Prim::new("reduce_window_min");
/// `select_and_gather_add`
pub const SELECT_AND_GATHER_ADD: Prim<SelectAndGatherAdd> = Prim::new("select_and_gather_add");
/// `select_and_scatter_add`
pub const SELECT_AND_SCATTER_ADD: Prim<SelectAndScatterAdd> = Prim::new("select_and_scatter_add");

/// A window and how it slides; one number for each axis of the array.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// The distance between neighbours of the array; between them are holes.
    pub base_dilation: Dims,
    /// What is added around the array; it does not count in the result.
    pub padding: Padding,
    /// The distance between neighbours of the window.
    pub window_dilation: Dims,
    /// The number of elements of the window.
    pub window_dimensions: Dims,
    /// The distance between neighbouring windows.
    pub window_strides: Dims,
}

impl Window {
    /// A window of these sizes that moves by its strides within the array.
    pub fn new(window_dimensions: impl IntoDims, window_strides: impl IntoDims) -> Window {
        let (window_dimensions, window_strides) =
            (window_dimensions.into_dims(), window_strides.into_dims());
        let n = window_dimensions.len();
        Window {
            base_dilation: Dims::from_elem(1, n),
            padding: Padding::from_elem((0, 0), n),
            window_dilation: Dims::from_elem(1, n),
            window_dimensions,
            window_strides,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        let ones = |d: &Dims| d.iter().all(|n| *n == 1);
        ones(&self.base_dilation) && ones(&self.window_dilation)
    }

    /// The same for an array with one more axis in front.
    pub(super) fn batched(&self) -> Window {
        let with = |d: &Dims, n| {
            let mut d = d.clone();
            d.insert(0, n);
            d
        };
        let mut padding = self.padding.clone();
        padding.insert(0, (0, 0));
        Window {
            base_dilation: with(&self.base_dilation, 1),
            padding,
            window_dilation: with(&self.window_dilation, 1),
            window_dimensions: with(&self.window_dimensions, 1),
            window_strides: with(&self.window_strides, 1),
        }
    }

    /// The number of windows along each axis. An error names the list that does not fit.
    pub(crate) fn check(&self, name: &str, x: &Aval) -> Result<Dims> {
        let n = x.ndim();
        for (what, d) in [
            ("window_dimensions", &self.window_dimensions),
            ("window_strides", &self.window_strides),
            ("base_dilation", &self.base_dilation),
            ("window_dilation", &self.window_dilation),
        ] {
            if d.len() != n || d.contains(&0) {
                return Err(Error::argument(format!(
                    "{name}: {what}={} is not one positive number for each axis of {x}",
                    tuple_text(d)
                )));
            }
        }
        if self.padding.len() != n {
            return Err(Error::argument(format!(
                "{name}: padding={} is not one pair for each axis of {x}",
                padding_text(&self.padding)
            )));
        }
        Ok(self.counts(&x.shape))
    }

    fn counts(&self, shape: &[usize]) -> Dims {
        let get = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(1);
        shape
            .iter()
            .enumerate()
            .map(|(i, n)| {
                windows(
                    dilated(*n, get(&self.base_dilation, i)),
                    self.padding.get(i).copied().unwrap_or_default(),
                    dilated(
                        get(&self.window_dimensions, i),
                        get(&self.window_dilation, i),
                    ),
                    get(&self.window_strides, i),
                )
            })
            .collect()
    }

    /// For each window, in row-major order, the row-major places of the elements under it; `None` where there is none.
    pub(crate) fn places(&self, shape: &[usize]) -> Vec<Vec<Option<usize>>> {
        let mut all = vec![vec![Some(0usize)]];
        for ((i, n), count) in shape.iter().enumerate().zip(self.counts(shape)) {
            let get = |d: &Dims| d.get(i).copied().unwrap_or(1);
            let low = self.padding.get(i).map_or(0, |p| p.0);
            let base = get(&self.base_dilation);
            let along: Vec<Vec<Option<usize>>> = (0..count)
                .map(|o| {
                    (0..get(&self.window_dimensions))
                        .map(|j| {
                            let at = o * get(&self.window_strides) + j * get(&self.window_dilation);
                            let at = usize::try_from(at as isize - low).ok()?;
                            (at % base == 0 && at / base < *n).then_some(at / base)
                        })
                        .collect()
                })
                .collect();
            all = all
                .iter()
                .flat_map(|before| {
                    along.iter().map(|here| {
                        before
                            .iter()
                            .flat_map(|x| here.iter().map(|y| Some((*x)? * n + (*y)?)))
                            .collect()
                    })
                })
                .collect();
        }
        all
    }

    /// The elements under each window along a new last axis, `fill` where there is none.
    pub(super) fn patches(&self, x: &Array, fill: Scalar) -> Result<Array> {
        let a = x.aval()?;
        let counts = self.counts(&a.shape);
        let get = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(1) as i64;
        let rank = counts.len();
        // Computed, not captured: a rule may run within a program inside an equation, which holds no arrays.
        let mut all = counts.clone();
        all.extend_from_slice(&self.window_dimensions);
        let mut places = Array::zeros(&all, DType::I64);
        let mut inside = Array::ones(&all, DType::Bool);
        for (i, n) in a.shape.iter().enumerate() {
            let low = self.padding.get(i).map_or(0, |p| p.0) as i64;
            let window = Array::iota(&all, i, DType::I64) * get(&self.window_strides, i);
            let within = Array::iota(&all, rank + i, DType::I64) * get(&self.window_dilation, i);
            let at = window + within - low;
            let base = get(&self.base_dilation, i);
            let divisor = Array::from_scalar(base.into(), DType::I64, false);
            let place = bind(Binary::Div, &[&at, &divisor]);
            inside = inside & at.ge(0) & (&at - &place * base).eq(0) & place.lt(*n as i64);
            places = places * *n as i64 + place;
        }
        let mut shape = counts;
        shape.push(size_of(&self.window_dimensions));
        if a.size() == 0 {
            return Ok(Array::full(shape, fill, a.dtype));
        }
        shape.push(1);
        let places = inside.select(places, -1i64).reshape(shape);
        let numbers = GatherDimensionNumbers {
            collapsed_slice_dims: smallvec![0],
            start_index_map: smallvec![0],
            ..Default::default()
        };
        let gather = Gather {
            fill_value: Some(fill),
            ..Gather::new(numbers, [1].as_slice()).mode(GatherScatterMode::FillOrDrop)
        };
        Ok(bind(gather, &[&x.reshape([a.size()]), &places]))
    }

    pub(super) fn params(&self, dilations: bool, select: Option<&'static str>) -> Params {
        let mut p: Params = vec![];
        if dilations {
            p.push(("base_dilation", Param::tuple(&self.base_dilation)));
        }
        p.push(("padding", Param::text(padding_text(&self.padding))));
        if let Some(select) = select {
            p.push(("select_prim", Param::text(select)));
        }
        if dilations {
            p.push(("window_dilation", Param::tuple(&self.window_dilation)));
        }
        p.push(("window_dimensions", Param::tuple(&self.window_dimensions)));
        p.push(("window_strides", Param::tuple(&self.window_strides)));
        p
    }
}

/// How the elements under a window combine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "named as in jax.lax")]
pub enum WindowReducer {
    Sum,
    Prod,
    Max,
    Min,
}

impl WindowReducer {
    /// The primitive that combines two elements.
    pub fn combiner(self) -> Binary {
        match self {
            WindowReducer::Sum => Binary::Add,
            WindowReducer::Prod => Binary::Mul,
            WindowReducer::Max => Binary::Max,
            WindowReducer::Min => Binary::Min,
        }
    }

    /// The same over whole axes.
    pub(crate) fn reducer(self) -> Reducer {
        match self {
            WindowReducer::Sum => Reducer::Sum,
            WindowReducer::Prod => Reducer::Prod,
            WindowReducer::Max => Reducer::Max,
            WindowReducer::Min => Reducer::Min,
        }
    }
}

/// The elements under a window combined, for each place of the window.
#[derive(Clone, PartialEq, Debug)]
pub struct ReduceWindow {
    /// How they combine.
    pub reducer: WindowReducer,
    /// The window.
    pub window: Window,
}

impl Primitive for ReduceWindow {
    fn name(&self) -> &'static str {
        match self.reducer {
            WindowReducer::Sum => "reduce_window_sum",
            WindowReducer::Prod => "reduce_window_prod",
            WindowReducer::Max => "reduce_window_max",
            WindowReducer::Min => "reduce_window_min",
        }
    }
    fn params(&self) -> Params {
        self.window.params(true, None)
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        let ordered = matches!(self.reducer, WindowReducer::Max | WindowReducer::Min);
        if ordered && x.dtype.is_complex() || !ordered && x.dtype == DType::Bool {
            return Err(Error::dtype(format!(
                "`{}` is not defined for {x}",
                self.name()
            )));
        }
        Ok(smallvec![x.with_shape(self.window.check(self.name(), x)?)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let Some(t) = t.first().and_then(Option::as_ref) else {
            return one(y, None);
        };
        let last = y.ndim();
        let t = match self.reducer {
            WindowReducer::Sum => bind(self.clone(), &[t]),
            WindowReducer::Max | WindowReducer::Min if self.window.is_plain() => {
                let select = SelectAndGatherAdd {
                    largest: self.reducer == WindowReducer::Max,
                    window: self.window.clone(),
                };
                bind(select, &[t, x])
            }
            WindowReducer::Max | WindowReducer::Min => {
                let largest = self.reducer == WindowReducer::Max;
                let worst = if largest {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                };
                let elements = self.window.patches(x, Scalar::Float(worst))?;
                let tangents = self.window.patches(t, Scalar::Int(0))?;
                let which = if largest {
                    Reducer::Argmax(DType::I32)
                } else {
                    Reducer::Argmin(DType::I32)
                };
                let which = bind(
                    Reduce {
                        reducer: which,
                        axes: smallvec![last],
                    },
                    &[&elements],
                );
                let which = which.expand_dims(last);
                super::along_axis(&tangents, &which, last).reshape(y.shape())
            }
            WindowReducer::Prod => {
                let elements = self.window.patches(x, Scalar::Int(1))?;
                let tangents = self.window.patches(t, Scalar::Int(0))?;
                let product = Reduce {
                    reducer: Reducer::Prod,
                    axes: smallvec![last],
                };
                let (_, dy) = product.jvp(&[elements], &[Some(tangents)])?;
                return one(y, dy.into_iter().next().flatten());
            }
        };
        one(y, Some(t))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        if self.reducer != WindowReducer::Sum {
            return Err(not_linear(self.name()));
        }
        // The same window over the cotangents, which lie as far apart as windows did; see the cotangent of a convolution.
        let a = x.aval()?;
        let w = &self.window;
        let counts = self.window.counts(&a.shape);
        let get = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(1);
        let padding = (0..a.ndim())
            .map(|i| {
                let n = dilated(get(&a.shape, i), get(&w.base_dilation, i)) as isize;
                let k = dilated(get(&w.window_dimensions, i), get(&w.window_dilation, i)) as isize;
                let g = dilated(get(&counts, i), get(&w.window_strides, i)) as isize;
                let before = k - w.padding.get(i).map_or(0, |p| p.0) - 1;
                (before, n + k - 1 - g - before)
            })
            .collect();
        let window = Window {
            base_dilation: w.window_strides.clone(),
            padding,
            window_strides: w.base_dilation.clone(),
            ..w.clone()
        };
        let back = ReduceWindow {
            reducer: WindowReducer::Sum,
            window,
        };
        Ok(vec![Some(bind(back, &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = ReduceWindow {
            reducer: self.reducer,
            window: self.window.batched(),
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

fn select_name(largest: bool) -> &'static str {
    if largest { "ge" } else { "le" }
}

/// Both of one element type, of real numbers.
fn check_pair(name: &str, a: &Aval, b: &Aval) -> Result<()> {
    if a.dtype != b.dtype || b.dtype.is_complex() {
        return Err(Error::dtype(format!(
            "{name}: {a} and {b} are not of one type of real numbers"
        )));
    }
    Ok(())
}

/// For each window, the element of the first operand that stands where the second has its largest (or smallest) under the window,
/// the first of several: the derivative of `reduce_window_max`.
#[derive(Clone, PartialEq, Debug)]
pub struct SelectAndGatherAdd {
    /// The largest, or else the smallest?
    pub largest: bool,
    /// The window.
    pub window: Window,
}

impl Primitive for SelectAndGatherAdd {
    fn name(&self) -> &'static str {
        "select_and_gather_add"
    }
    fn params(&self) -> Params {
        self.window.params(true, Some(select_name(self.largest)))
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [t, x] = operands(self.name(), x)?;
        check_pair(self.name(), t, x)?;
        if t.shape != x.shape {
            return Err(Error::shape(format!(
                "{}: {t} and {x} differ in shape",
                self.name()
            )));
        }
        Ok(smallvec![t.with_shape(self.window.check(self.name(), x)?)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [s, x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[s, x]);
        let t = t.first().and_then(Option::as_ref);
        one(y, t.map(|t| bind(self.clone(), &[t, x])))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        let [Arg::Linear(_), Arg::Known(x)] = x else {
            return Err(not_linear(self.name()));
        };
        if !self.window.is_plain() {
            return Err(Error::unsupported(format!(
                "`{}` with dilation, run backwards",
                self.name()
            )));
        }
        let back = SelectAndScatterAdd {
            largest: self.largest,
            window: self.window.clone(),
        };
        Ok(vec![Some(bind(back, &[ct, x])), None])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = SelectAndGatherAdd {
            largest: self.largest,
            window: self.window.batched(),
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

/// Zeros in the shape of the second operand, to which each element of the first is added where the second has its largest (or
/// smallest) element under its window, the first of several: `reduce_window_max` run backwards. Windows are not dilated.
#[derive(Clone, PartialEq, Debug)]
pub struct SelectAndScatterAdd {
    /// The largest, or else the smallest?
    pub largest: bool,
    /// The window.
    pub window: Window,
}

impl Primitive for SelectAndScatterAdd {
    fn name(&self) -> &'static str {
        "select_and_scatter_add"
    }
    fn params(&self) -> Params {
        self.window.params(false, Some(select_name(self.largest)))
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [s, x] = operands(self.name(), x)?;
        check_pair(self.name(), s, x)?;
        let counts = self.window.check(self.name(), x)?;
        if s.shape != counts || !self.window.is_plain() {
            return Err(Error::shape(format!(
                "{}: {s} has not one element for each of {} windows of {x}",
                self.name(),
                tuple_text(&counts)
            )));
        }
        Ok(smallvec![s.with_shape(x.shape.clone())])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [s, x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[s, x]);
        let t = t.first().and_then(Option::as_ref);
        one(y, t.map(|t| bind(self.clone(), &[t, x])))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None, None]);
        };
        let [Arg::Linear(_), Arg::Known(x)] = x else {
            return Err(not_linear(self.name()));
        };
        let forward = SelectAndGatherAdd {
            largest: self.largest,
            window: self.window.clone(),
        };
        Ok(vec![Some(bind(forward, &[ct, x])), None])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = SelectAndScatterAdd {
            largest: self.largest,
            window: self.window.batched(),
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}
