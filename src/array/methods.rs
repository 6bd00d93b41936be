//! The methods that the core itself needs: elementwise functions, axes, reductions, contractions.

use super::{
    Array, Aval, DType, Dims, IntoDims, Operand,
    numpy::Mean,
    operators::{attempt, broadcasting, fail, harmonise},
};
use crate::{
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Binary, BroadcastInDim, DotGeneral, IntegerPow, Reduce, Reducer, Reshape, SelectN,
            StopGradient, Transpose, Unary, answerable_one, remaining,
        },
    },
};

/// What may name axes: `()` for all, a number for one, an array or a slice for several. Negative numbers count from the end.
pub trait IntoAxes {
    /// The axes of an array of `ndim`, ascending. An error for one that does not exist or is named twice.
    fn axes(&self, ndim: usize) -> Result<Dims>;
    /// Is none named, which means all?
    fn unnamed(&self) -> bool {
        false
    }
}

/// Axis `i` of `ndim`, counted from the end if negative.
pub(crate) fn normalise_axis(i: i128, ndim: usize) -> Result<usize> {
    let n = ndim as i128;
    let k = if i < 0 { i + n } else { i };
    if (0..n).contains(&k) {
        return Ok(k as usize);
    }
    Err(Error::index(format!(
        "axis {i} of an array with {ndim} axes"
    )))
}

fn normalise(axes: impl Iterator<Item = i128>, ndim: usize) -> Result<Dims> {
    let mut out = axes
        .map(|i| normalise_axis(i, ndim))
        .collect::<Result<Dims>>()?;
    out.sort_unstable();
    if out.windows(2).any(|w| w.first() == w.last()) {
        return Err(Error::argument(format!(
            "an axis is named twice in {out:?}"
        )));
    }
    Ok(out)
}

impl IntoAxes for () {
    fn axes(&self, ndim: usize) -> Result<Dims> {
        Ok((0..ndim).collect())
    }
    fn unnamed(&self) -> bool {
        true
    }
}
macro_rules! into_axes {
    ($($T:ty)*) => {$(
        impl IntoAxes for $T {
            fn axes(&self, ndim: usize) -> Result<Dims> {
                normalise([*self as i128].into_iter(), ndim)
            }
        }
        impl<const N: usize> IntoAxes for [$T; N] {
            fn axes(&self, ndim: usize) -> Result<Dims> {
                normalise(self.iter().map(|i| *i as i128), ndim)
            }
        }
        impl IntoAxes for &[$T] {
            fn axes(&self, ndim: usize) -> Result<Dims> {
                normalise(self.iter().map(|i| *i as i128), ndim)
            }
        }
        impl IntoAxes for Vec<$T> {
            fn axes(&self, ndim: usize) -> Result<Dims> {
                normalise(self.iter().map(|i| *i as i128), ndim)
            }
        }
    )*};
}
into_axes!(i32 isize usize);
impl IntoAxes for Dims {
    fn axes(&self, ndim: usize) -> Result<Dims> {
        normalise(self.iter().map(|i| *i as i128), ndim)
    }
}
impl<T: IntoAxes> IntoAxes for &T {
    fn axes(&self, ndim: usize) -> Result<Dims> {
        (*self).axes(ndim)
    }
    fn unnamed(&self) -> bool {
        (*self).unnamed()
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {
        impl Array {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Array {
                bind($op, &[self])
            }
        )*}
    };
}
macro_rules! float_methods {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {
        impl Array {$(
            $(#[$doc])*
            /// Integers are converted to `f32` first, as in `jax.numpy`.
            #[track_caller]
            pub fn $name(&self) -> Array {
                bind($op, &[&self.inexact()])
            }
        )*}
    };
}
unary_methods! {
    /// −1, 0 or 1; of a complex number, the number divided by its absolute value.
    sign = Unary::Sign;
    /// The number of bits that are one, of integers.
    population_count = Unary::PopulationCount;
    /// The number of leading bits that are zero, of integers.
    clz = Unary::Clz;
}
float_methods! {
    /// The exponential function.
    exp = Unary::Exp;
    /// 2 to the power of each element.
    exp2 = Unary::Exp2;
    /// The natural logarithm.
    log = Unary::Log;
    /// `log(1 + x)`, exact for small `x`.
    log1p = Unary::Log1p;
    /// `exp(x) − 1`, exact for small `x`.
    expm1 = Unary::Expm1;
    /// The hyperbolic tangent.
    tanh = Unary::Tanh;
    /// `1 / (1 + exp(−x))`.
    logistic = Unary::Logistic;
    /// The sine, of radians.
    sin = Unary::Sin;
    /// The cosine, of radians.
    cos = Unary::Cos;
    /// The tangent, of radians.
    tan = Unary::Tan;
    /// The inverse sine, in radians.
    arcsin = Unary::Asin;
    /// The inverse cosine, in radians.
    arccos = Unary::Acos;
    /// The inverse tangent, in radians.
    arctan = Unary::Atan;
    /// The hyperbolic sine.
    sinh = Unary::Sinh;
    /// The hyperbolic cosine.
    cosh = Unary::Cosh;
    /// The inverse hyperbolic sine.
    arcsinh = Unary::Asinh;
    /// The inverse hyperbolic cosine.
    arccosh = Unary::Acosh;
    /// The inverse hyperbolic tangent.
    arctanh = Unary::Atanh;
    /// The square root.
    sqrt = Unary::Sqrt;
    /// One over the square root.
    rsqrt = Unary::Rsqrt;
    /// The cube root.
    cbrt = Unary::Cbrt;
    /// The error function.
    erf = Unary::Erf;
    /// One minus the error function.
    erfc = Unary::Erfc;
    /// The inverse of the error function.
    erf_inv = Unary::ErfInv;
    /// The logarithm of the absolute value of the gamma function.
    lgamma = Unary::Lgamma;
    /// The derivative of [`Array::lgamma`].
    digamma = Unary::Digamma;
    /// The modified Bessel function of order 0, times `exp(−|x|)`.
    bessel_i0e = Unary::BesselI0e;
    /// The modified Bessel function of order 1, times `exp(−|x|)`.
    bessel_i1e = Unary::BesselI1e;
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {
        impl Array {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Operand) -> Array {
                broadcasting($op, self, &other.operand(self))
            }
        )*}
    };
}
binary_methods! {
    /// The larger of two elements; NaN if either is.
    maximum = Binary::Max;
    /// The smaller of two elements; NaN if either is.
    minimum = Binary::Min;
    /// Equal?
    eq = Binary::Eq;
    /// Not equal?
    ne = Binary::Ne;
}

macro_rules! order_methods {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {
        impl Array {$(
            $(#[$doc])*
            /// Complex numbers compare by real, then imaginary part.
            #[track_caller]
            pub fn $name(&self, other: impl Operand) -> Array {
                let other = other.operand(self);
                let complex = |x: &Array| x.dtype().is_ok_and(DType::is_complex);
                if complex(self) || complex(&other) {
                    let (x, y) = (self, &*other);
                    let tie = x.real().eq(y.real());
                    return tie.select(x.imag().$name(y.imag()), x.real().$name(y.real()));
                }
                broadcasting($op, self, &other)
            }
        )*}
    };
}
order_methods! {
    /// Less?
    lt = Binary::Lt;
    /// Less or equal?
    le = Binary::Le;
    /// Greater?
    gt = Binary::Gt;
    /// Greater or equal?
    ge = Binary::Ge;
}

impl Array {
    /// The array as floats, if it is not float or complex already.
    #[track_caller]
    pub(crate) fn inexact(&self) -> Array {
        match self.dtype() {
            Ok(d) if !d.is_inexact() => match self.aval() {
                Ok(a) => self.convert_weak(d.to_inexact(), a.weak_type),
                Err(e) => Array::error(e),
            },
            _ => self.clone(),
        }
    }

    /// The numbers in another element type.
    #[track_caller]
    pub fn astype(&self, dtype: DType) -> Array {
        self.convert(dtype)
    }

    /// `self` to the power of `other`.
    #[track_caller]
    pub fn pow(&self, other: impl Operand) -> Array {
        // Beside `bool` a number keeps its kind: an integer is a fixed exponent.
        let fixed = other.operand(&Array::scalar(false));
        if fixed
            .aval_ref()
            .is_some_and(|a| a.weak_type && a.dtype.is_integer())
        {
            return super::numpy::raised(self, &fixed);
        }
        super::numpy::raised(self, &other.operand(self))
    }

    /// `self` to the power of an integer.
    #[track_caller]
    pub fn integer_pow(&self, y: i32) -> Array {
        bind(IntegerPow { y }, &[self])
    }

    /// The real part; a real array is its own.
    #[track_caller]
    pub fn real(&self) -> Array {
        match self.dtype() {
            Ok(d) if !d.is_complex() => self.clone(),
            _ => bind(Unary::Real, &[self]),
        }
    }

    /// The imaginary part; zeros for a real array.
    #[track_caller]
    pub fn imag(&self) -> Array {
        match self.dtype() {
            Ok(d) if !d.is_complex() => Array::zeros_like(self),
            _ => bind(Unary::Imag, &[self]),
        }
    }

    /// The complex conjugate; a real array is its own.
    #[track_caller]
    pub fn conj(&self) -> Array {
        match self.dtype() {
            Ok(d) if !d.is_complex() => self.clone(),
            _ => bind(Unary::Conj, &[self]),
        }
    }

    /// The array, whose derivative is zero.
    #[track_caller]
    pub fn stop_gradient(&self) -> Array {
        bind(StopGradient, &[self])
    }

    /// Where `self` is true, `on_true`, else `on_false`: `jnp.where`. All three broadcast.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([-1f32, 2.0]);
    /// assert_eq!(x.gt(0.0).select(&x, 0.0).to_vec::<f32>().unwrap(), [0.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn select(&self, on_true: impl Operand, on_false: impl Operand) -> Array {
        let (t, f) = {
            let f = on_false.operand(self);
            let t = on_true.operand(&f).into_owned();
            let f = on_false.operand(&t).into_owned();
            (t, f)
        };
        let which = match self.dtype() {
            Ok(DType::Bool) => self.clone(),
            _ => self.ne(0),
        };
        let arms = harmonise("select", &[&t, &f], true);
        let shaped = arms.and_then(|arms| {
            let all: Vec<&Array> = std::iter::once(&which).chain(&arms).collect();
            harmonise("select", &all, false)
        });
        match shaped {
            Ok(x) => {
                let [which, t, f] = &x[..] else {
                    return fail(Error::internal("select"));
                };
                let shape = t.shape();
                let shape = if shape.is_empty() { f.shape() } else { shape };
                let shape = if shape.is_empty() {
                    which.shape()
                } else {
                    shape
                };
                bind(
                    SelectN,
                    &[which, &f.broadcast_to(&shape), &t.broadcast_to(&shape)],
                )
            }
            Err(e) => fail(e),
        }
    }

    /// Axes in another order: axis `i` of the result is axis `permutation[i]`.
    #[track_caller]
    pub fn transpose(&self, permutation: impl IntoDims) -> Array {
        let permutation = permutation.into_dims();
        if permutation.iter().enumerate().all(|(i, p)| i == *p) && permutation.len() == self.ndim()
        {
            return self.clone();
        }
        bind(Transpose { permutation }, &[self])
    }

    /// Axes in reverse order.
    #[track_caller]
    pub fn t(&self) -> Array {
        self.transpose((0..self.ndim()).rev().collect::<Dims>())
    }

    /// The same elements, in row-major order, under another shape of as many.
    #[track_caller]
    pub fn reshape(&self, shape: impl IntoDims) -> Array {
        let new_sizes = shape.into_dims();
        if self.aval().is_ok_and(|a| a.shape == new_sizes) {
            return self.clone();
        }
        bind(Reshape { new_sizes }, &[self])
    }

    /// A larger array in which axis `i` of this one has become axis `dimensions[i]`.
    #[track_caller]
    pub fn broadcast_in_dim(&self, shape: impl IntoDims, dimensions: impl IntoDims) -> Array {
        let (shape, broadcast_dimensions) = (shape.into_dims(), dimensions.into_dims());
        if self.aval().is_ok_and(|a| a.shape == shape) {
            return self.clone();
        }
        bind(
            BroadcastInDim {
                shape,
                broadcast_dimensions,
            },
            &[self],
        )
    }

    /// `reduce_sum` over axes, with no change of element type.
    #[track_caller]
    pub(crate) fn reduce_sum(&self, axes: impl IntoDims) -> Array {
        bind(
            Reduce {
                reducer: Reducer::Sum,
                axes: axes.into_dims(),
            },
            &[self],
        )
    }

    /// A reduction over axes that may be counted from the end.
    #[track_caller]
    pub(crate) fn reduce(&self, reducer: Reducer, axes: impl IntoAxes) -> Array {
        match axes.axes(self.ndim()) {
            // Results of reductions are strongly typed.
            Ok(axes) if axes.is_empty() => self.strong(),
            Ok(axes) => bind(Reduce { reducer, axes }, &[&self.strong()]),
            Err(e) => fail(self.err().cloned().unwrap_or(e)),
        }
    }

    /// The sum over axes; of `bool`, the number of true elements.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[1f32, 2.], [3., 4.]]);
    /// assert_eq!(x.sum(-1).to_vec::<f32>().unwrap(), [3.0, 7.0]);
    /// assert_eq!(x.sum(()).item::<f32>().unwrap(), 10.0);
    /// ```
    #[track_caller]
    pub fn sum(&self, axes: impl IntoAxes) -> Array {
        self.countable().reduce(Reducer::Sum, axes)
    }

    /// The product over axes.
    #[track_caller]
    pub fn prod(&self, axes: impl IntoAxes) -> Array {
        self.countable().reduce(Reducer::Prod, axes)
    }

    /// The largest element along axes; NaN if one is.
    #[track_caller]
    pub fn max(&self, axes: impl IntoAxes) -> Array {
        self.reduce(Reducer::Max, axes)
    }

    /// The smallest element along axes; NaN if one is.
    #[track_caller]
    pub fn min(&self, axes: impl IntoAxes) -> Array {
        self.reduce(Reducer::Min, axes)
    }

    /// The mean over axes; floats.
    #[track_caller]
    pub fn mean(&self, axes: impl IntoAxes) -> Array {
        let x = self.inexact();
        let (Ok(_), Ok(axes)) = (x.aval(), axes.axes(x.ndim())) else {
            return x.sum(axes);
        };
        attempt(|| answerable_one(Mean { axes }, std::slice::from_ref(&x)))
    }

    fn countable(&self) -> Array {
        match self.dtype() {
            Ok(d) if d.of_sums() != d => self.convert(d.of_sums()),
            _ => self.clone(),
        }
    }

    /// The array with an element type that gives way to no other.
    pub(crate) fn strong(&self) -> Array {
        match self.aval_ref() {
            Some(a) if a.weak_type => self.convert_weak(a.dtype, false),
            _ => self.clone(),
        }
    }

    /// The contraction over pairs of axes, with pairs of batch axes: `lax.dot_general`. The operands promote.
    #[track_caller]
    pub fn dot_general(&self, other: &Array, dimensions: DotGeneral) -> Array {
        match promoted(self, other) {
            Ok((x, y)) => bind(dimensions, &[&x, &y]),
            Err(e) => fail(e),
        }
    }

    /// The contraction as `jnp` makes it: the operands promote, and the result is asked for in their joint type.
    #[track_caller]
    pub(crate) fn product(&self, other: &Array, dimensions: DotGeneral) -> Array {
        match promoted(self, other) {
            Ok((x, y)) => {
                let preferred_element_type = x.dtype().ok();
                let dimensions = DotGeneral {
                    preferred_element_type,
                    ..dimensions
                };
                bind(dimensions, &[&x, &y])
            }
            Err(e) => fail(e),
        }
    }

    /// The product over the last axis of `self` and the last but one of `other` (the last of a vector): `jnp.dot`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[1f32, 2.], [3., 4.]]);
    /// assert_eq!(x.dot(&Array::from([1f32, 1.])).to_vec::<f32>().unwrap(), [3.0, 7.0]);
    /// ```
    #[track_caller]
    pub fn dot(&self, other: &Array) -> Array {
        let (n, m) = (self.ndim(), other.ndim());
        let dims = if n == 0 || m == 0 {
            DotGeneral::default()
        } else {
            DotGeneral::new(([n - 1], [m.saturating_sub(2)]), ((), ()))
        };
        self.product(other, dims)
    }

    /// The matrix product, with leading axes broadcast as batch axes: `jnp.matmul`.
    #[track_caller]
    pub fn matmul(&self, other: &Array) -> Array {
        let (x, y) = match promoted(self, other) {
            Ok(pair) => pair,
            Err(e) => return fail(e),
        };
        let (n, m) = (x.ndim(), y.ndim());
        if n == 0 || m == 0 {
            return fail(
                Error::shape("matmul needs operands of at least one axis").note("`*` scales"),
            );
        }
        if n <= 2 && m <= 2 || m == 1 || n == 1 && m == 2 {
            return x.dot(&y);
        }
        let (Ok(a), Ok(b)) = (x.aval(), y.aval()) else {
            return x.dot(&y);
        };
        if m == 2 {
            return x.dot(&y);
        }
        let lead = |v: &Aval, k: usize| -> Dims {
            v.shape
                .iter()
                .take(v.ndim().saturating_sub(k))
                .copied()
                .collect()
        };
        let (la, lb) = (lead(&a, 2), lead(&b, 2));
        let Some(batch) = super::operators::broadcast_shapes(&la, &lb) else {
            return fail(Error::shape(format!(
                "matmul: the batch axes of {a} and {b} do not broadcast"
            )));
        };
        let spread = |v: &Array, aval: &Aval| {
            let mut shape = batch.clone();
            shape.extend(
                aval.shape
                    .iter()
                    .skip(aval.ndim().saturating_sub(2))
                    .copied(),
            );
            v.broadcast_to(shape)
        };
        let k = batch.len();
        if n == 1 {
            let y = spread(&y, &b);
            let dims = DotGeneral::new(([0], [k]), ((), ()));
            return x.product(&y, dims);
        }
        let (x, y) = (spread(&x, &a), spread(&y, &b));
        let all: Dims = (0..k).collect();
        x.product(&y, DotGeneral::new(([k + 1], [k]), (all.clone(), all)))
    }

    /// Axes of size 1 put in where `axes` says (places in the result).
    #[track_caller]
    pub fn expand_dims(&self, axes: impl IntoAxes) -> Array {
        let count = |k: usize| axes.axes(self.ndim() + k).map(|a| (a.len(), a));
        // The number of axes named does not depend on the rank that it is counted in, if it is high enough.
        let found = (0..=8).find_map(|k| count(k).ok().filter(|(n, _)| *n == k));
        match (found, self.aval()) {
            (_, Err(e)) => Array::error(e),
            (Some((_, at)), Ok(a)) => {
                let kept = remaining(a.ndim() + at.len(), &at, &[]);
                let mut shape = Dims::from_elem(1, a.ndim() + at.len());
                for (k, n) in kept.iter().zip(&a.shape) {
                    if let Some(slot) = shape.get_mut(*k) {
                        *slot = *n;
                    }
                }
                bind(
                    BroadcastInDim {
                        shape,
                        broadcast_dimensions: kept,
                    },
                    &[self],
                )
            }
            (None, Ok(a)) => fail(Error::index(format!("expand_dims: no such place in {a}"))),
        }
    }
}

/// Two operands in their joint element type.
pub(crate) fn promoted(x: &Array, y: &Array) -> Result<(Array, Array)> {
    let (a, b) = (x.aval()?, y.aval()?);
    if a.dtype == b.dtype {
        return Ok((x.clone(), y.clone()));
    }
    let (dtype, weak) = super::promote_types((a.dtype, a.weak_type), (b.dtype, b.weak_type));
    let to = |v: &Array, from: &Aval| {
        if from.dtype == dtype {
            v.clone()
        } else {
            v.convert_weak(dtype, weak)
        }
    };
    Ok((to(x, &a), to(y, &b)))
}
