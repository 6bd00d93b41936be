//! Order along an axis: `sort`, `top_k`; and running reductions along one: `cumsum` and its kin.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Binary, Gather, GatherDimensionNumbers,
    GatherScatterMode, Inner, Jvp, Param, Params, Prim, Primitive, Tangent, Unary, batch_in_front,
    check_axes, cotangent, not_linear, one, operands, remaining,
};
use crate::{
    array::{Array, Aval, DType, Dims, IntoDims},
    error::{Error, Result},
    trace::{bind, bind_all},
};
use smallvec::smallvec;

/// `sort`
pub const SORT: Prim<Sort> = Prim::new("sort");
/// `top_k`
pub const TOP_K: Prim<TopK> = Prim::new("top_k");

/// Along one axis, the elements of `x` at positions that stand in an array of the same other axes: `take_along_axis` for positions
/// that are known to lie inside.
pub(crate) fn along_axis(x: &Array, positions: &Array, axis: usize) -> Array {
    let ndim = x.ndim();
    let others = remaining(ndim, &[axis], &[]);
    let mut shape: Dims = positions.shape().iter().copied().collect();
    shape.push(1);
    let numbers = GatherDimensionNumbers {
        offset_dims: Dims::new(),
        collapsed_slice_dims: smallvec![axis],
        start_index_map: smallvec![axis],
        operand_batching_dims: others.clone(),
        start_indices_batching_dims: others,
    };
    let positions = positions.broadcast_in_dim(shape, (0..ndim).collect::<Dims>());
    let gather = Gather::new(numbers, Dims::from_elem(1, ndim));
    x.gather(&positions, gather.mode(GatherScatterMode::PromiseInBounds))
}

/// Several arrays of one shape, sorted together along one axis by the first few. Floats: NaN last, zeros equal whatever their
/// sign; complex numbers: by real part, then by imaginary part.
#[derive(Clone, PartialEq, Debug)]
pub struct Sort {
    /// The axis.
    pub dimension: usize,
    /// Do equal elements keep their order?
    pub is_stable: bool,
    /// The number of operands that are compared, the first one first.
    pub num_keys: usize,
}

impl Primitive for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }
    fn params(&self) -> Params {
        vec![
            ("dimension", Param::text(self.dimension)),
            ("is_stable", Param::bool(self.is_stable)),
            ("num_keys", Param::text(self.num_keys)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let Some(first) = x.first() else {
            return Err(Error::argument("sort: there is nothing to sort"));
        };
        check_axes("sort", "`dimension`", &[self.dimension], first.ndim())?;
        if let Some(other) = x.iter().find(|a| a.shape != first.shape) {
            return Err(Error::shape(format!(
                "sort: {first} and {other} differ in shape"
            )));
        }
        if self.num_keys == 0 || self.num_keys > x.len() {
            return Err(Error::argument(format!(
                "sort: `num_keys` is {}, there are {} operand(s)",
                self.num_keys,
                x.len()
            )));
        }
        Ok(x.iter().map(|a| (*a).clone()).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let shape = x.first().map(|x| x.shape().into_dims()).unwrap_or_default();
        let mut with_positions = x.to_vec();
        with_positions.push(Array::iota(shape, self.dimension, DType::I32));
        let mut y = bind_all(self.clone(), &with_positions)?;
        let positions = y
            .pop()
            .ok_or_else(|| Error::internal("sort lost an operand"))?;
        let t = t
            .iter()
            .map(|t| {
                t.as_ref()
                    .map(|t| along_axis(t, &positions, self.dimension))
            })
            .collect();
        Ok((y, t))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = Sort {
            dimension: self.dimension + 1,
            ..self.clone()
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

/// The largest elements along an axis, the largest first, and their positions. NaN counts as larger than every number; of equal
/// elements the one that stands first comes first.
#[derive(Clone, PartialEq, Debug)]
pub struct TopK {
    /// The axis.
    pub axis: usize,
    /// How many.
    pub k: usize,
}

impl Primitive for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }
    fn params(&self) -> Params {
        vec![("axis", Param::text(self.axis)), ("k", Param::text(self.k))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes("top_k", "`axis`", &[self.axis], x.ndim())?;
        if x.dtype.is_complex() {
            return Err(Error::dtype(format!(
                "top_k of {x}: complex numbers have no order"
            )));
        }
        let mut shape = x.shape.clone();
        match shape.get_mut(self.axis) {
            Some(n) if self.k <= *n => *n = self.k,
            _ => {
                return Err(Error::argument(format!(
                    "top_k: {} elements along axis {} of {x}",
                    self.k, self.axis
                )));
            }
        }
        Ok(smallvec![
            x.with_shape(shape.clone()),
            Aval::new(shape, DType::I32)
        ])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let y = bind_all(self.clone(), x)?;
        let t = match (t, &y[..]) {
            ([Some(t)], [_, positions]) => Some(along_axis(t, positions, self.axis)),
            _ => None,
        };
        Ok((y, vec![t, None]))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = TopK {
            axis: self.axis + 1,
            k: self.k,
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

/// How a running reduction combines elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CumulativeKind {
    /// `cumsum`
    Sum,
    /// `cumprod`
    Prod,
    /// `cummax`
    Max,
    /// `cummin`
    Min,
    /// `cumlogsumexp`
    LogSumExp,
}

/// Each element combined with all before it along one axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Cumulative {
    /// How elements combine.
    pub kind: CumulativeKind,
    /// The axis.
    pub axis: usize,
    /// With all after it instead?
    pub reverse: bool,
}

macro_rules! tokens {
    ($($NAME:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $NAME: Prim<Cumulative> = Prim::new($name);)*
    };
}
tokens! {
    CUMSUM = "cumsum"; CUMPROD = "cumprod"; CUMMAX = "cummax"; CUMMIN = "cummin"; CUMLOGSUMEXP = "cumlogsumexp";
}

impl Cumulative {
    /// One step of the reduction of pairs (number, tangent): what came before, combined with what is there.
    fn combine(&self, before: (&Array, &Array), now: (&Array, &Array)) -> (Array, Array) {
        let ((a, da), (b, db)) = (before, now);
        match self.kind {
            CumulativeKind::Sum => (a + b, da + db),
            CumulativeKind::Prod => (a * b, da * b + a * db),
            CumulativeKind::Max | CumulativeKind::Min => {
                let y = if self.kind == CumulativeKind::Max {
                    a.maximum(b)
                } else {
                    a.minimum(b)
                };
                // Where both attain it each has half of the tangent, as in JAX.
                let shared = (da + db) * 0.5;
                let one = y.eq(a).select(da, db);
                let t = a.eq(b).select(&shared, &one);
                (y, t)
            }
            CumulativeKind::LogSumExp => {
                let high = a.maximum(b);
                let high = finite_or_zero(&high).stop_gradient();
                let y = ((a - &high).exp() + (b - &high).exp()).log() + &high;
                let base = finite_or_zero(&y);
                let t = (a - &base).exp() * da + (b - &base).exp() * db;
                (y, t)
            }
        }
    }

    /// The tangents, by recursive doubling: after step s every element is combined with the 2s − 1 before it. (Hillis and Steele,
    /// "Data parallel algorithms", 1986.)
    fn scan_tangent(&self, x: &Array, t: &Array) -> Result<Array> {
        let a = x.aval()?;
        let n = a.shape.get(self.axis).copied().unwrap_or(0);
        let place = Array::iota([n], 0, DType::I32);
        let (mut x, mut t) = (x.clone(), t.clone());
        let mut step = 1;
        while step < n {
            let s = step as i32;
            let (from, inside) = if self.reverse {
                (
                    (&place + s).minimum((n - 1) as i32),
                    place.lt((n - step) as i32),
                )
            } else {
                ((&place - s).maximum(0), place.ge(s))
            };
            let inside = inside.broadcast_in_dim(&a.shape, [self.axis]);
            let shifted = |v: &Array| rows(v, &from, self.axis);
            // Where nothing came before, a number is combined with itself and the result is not used: no NaN arises there.
            let before = (inside.select(shifted(&x), &x), shifted(&t));
            let (y, dy) = self.combine((&before.0, &before.1), (&x, &t));
            x = inside.select(&y, &x);
            t = inside.select(&dy, &t);
            step *= 2;
        }
        Ok(t)
    }
}

/// 0 in the place of infinities.
fn finite_or_zero(x: &Array) -> Array {
    bind(Unary::IsFinite, &[x]).select(x, Array::zeros_like(x))
}

/// The slices of `x` at positions along an axis that are known to lie inside; positions of one axis.
pub(crate) fn rows(x: &Array, positions: &Array, axis: usize) -> Array {
    let shape = x.shape();
    let mut sizes: Dims = shape.iter().copied().collect();
    if let Some(n) = sizes.get_mut(axis) {
        *n = 1;
    }
    let count = positions.size();
    let numbers = GatherDimensionNumbers {
        offset_dims: remaining(shape.len(), &[axis], &[]),
        collapsed_slice_dims: smallvec![axis],
        start_index_map: smallvec![axis],
        ..Default::default()
    };
    let gather = Gather::new(numbers, sizes).mode(GatherScatterMode::PromiseInBounds);
    x.gather(&positions.broadcast_in_dim([count, 1], [0]), gather)
}

impl Primitive for Cumulative {
    fn name(&self) -> &'static str {
        match self.kind {
            CumulativeKind::Sum => "cumsum",
            CumulativeKind::Prod => "cumprod",
            CumulativeKind::Max => "cummax",
            CumulativeKind::Min => "cummin",
            CumulativeKind::LogSumExp => "cumlogsumexp",
        }
    }
    fn params(&self) -> Params {
        vec![
            ("axis", Param::text(self.axis)),
            ("reverse", Param::bool(self.reverse)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes(self.name(), "`axis`", &[self.axis], x.ndim())?;
        let (fits, wanted) = match self.kind {
            CumulativeKind::Sum | CumulativeKind::Prod => (x.dtype != DType::Bool, "numbers"),
            CumulativeKind::Max | CumulativeKind::Min => (!x.dtype.is_complex(), "real numbers"),
            CumulativeKind::LogSumExp => (x.dtype.is_float(), "floats"),
        };
        if !fits {
            return Err(Error::dtype(format!(
                "`{}` is defined for {wanted}, not for {x}",
                self.name()
            )));
        }
        Ok(smallvec![(*x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let t = match t.first().and_then(Option::as_ref) {
            None => None,
            Some(t) if self.kind == CumulativeKind::Sum => Some(bind(self.clone(), &[t])),
            Some(t) => Some(self.scan_tangent(x, t)?),
        };
        one(y, t)
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        if self.kind != CumulativeKind::Sum {
            return Err(not_linear(self.name()));
        }
        let back = Cumulative {
            reverse: !self.reverse,
            ..self.clone()
        };
        Ok(vec![cotangent(ct).map(|ct| bind(back, &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = Cumulative {
            axis: self.axis + 1,
            ..self.clone()
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

impl CumulativeKind {
    /// The primitive that combines two elements, where there is one.
    pub fn combiner(self) -> Option<Binary> {
        match self {
            CumulativeKind::Sum => Some(Binary::Add),
            CumulativeKind::Prod => Some(Binary::Mul),
            CumulativeKind::Max => Some(Binary::Max),
            CumulativeKind::Min => Some(Binary::Min),
            CumulativeKind::LogSumExp => None,
        }
    }
}
