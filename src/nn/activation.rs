//! Activation functions, with the names and the derivatives (at kinks too) of `jax.nn`.

use super::attempt;
use crate::{
    array::{Array, DType, Dims, IntoAxes, Operand, numpy::split, one_hot_as},
    error::Error,
};

/// `max(x, 0)`; its derivative at 0 is 0.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([-1f32, 0.0, 2.0]);
/// assert_eq!(nn::relu(&x).to_vec::<f32>().unwrap(), [0.0, 0.0, 2.0]);
/// let slope = grad(|x: &Array| nn::relu(x).sum(()))(&x).unwrap();
/// assert_eq!(slope.to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0]);
/// ```
#[track_caller]
pub fn relu(x: &Array) -> Array {
    // NaN is not ≤ 0, so it passes.
    x.le(0).select(0, x)
}

/// `min(max(x, 0), 6)`; its derivative at 0 and at 6 is 0.
#[track_caller]
pub fn relu6(x: &Array) -> Array {
    x.ge(6).select(6, relu(x))
}

/// `x` where it is not negative, elsewhere `negative_slope · x`; JAX's default slope is 0.01.
#[track_caller]
pub fn leaky_relu(x: &Array, negative_slope: impl Operand) -> Array {
    x.ge(0).select(x, x * negative_slope)
}

/// The Gaussian error linear unit `x · Φ(x)`, by the approximation through `tanh` that JAX has as its default.
#[track_caller]
pub fn gelu(x: &Array) -> Array {
    let x = x.inexact();
    let inner = (&x + x.integer_pow(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    &x * ((inner.tanh() + 1.0) * 0.5)
}

/// The Gaussian error linear unit `x · Φ(x)` itself: `jax.nn.gelu(x, approximate=False)`.
#[track_caller]
pub fn gelu_exact(x: &Array) -> Array {
    let x = x.inexact();
    &x * 0.5 * (-&x * 0.5f64.sqrt()).erfc()
}

/// `x · sigmoid(x)`, also known as swish.
#[track_caller]
pub fn silu(x: &Array) -> Array {
    x * x.logistic()
}

/// `1 / (1 + exp(−x))`.
#[track_caller]
pub fn sigmoid(x: &Array) -> Array {
    x.logistic()
}

/// `log(sigmoid(x))`, without overflow.
#[track_caller]
pub fn log_sigmoid(x: &Array) -> Array {
    -softplus(&-x)
}

/// `log(1 + exp(x))`, without overflow.
#[track_caller]
pub fn softplus(x: &Array) -> Array {
    let x = x.inexact();
    // The derivatives of the two terms at 0 are ½ and 0: together that of the smooth function.
    x.maximum(0) + (-x.abs()).exp().log1p()
}

/// `x` where it is positive, elsewhere `alpha · (exp(x) − 1)`; JAX's default `alpha` is 1.
#[track_caller]
pub fn elu(x: &Array, alpha: impl Operand) -> Array {
    let x = x.inexact();
    let positive = x.gt(0);
    // The unused branch must not overflow, or its derivative would be NaN.
    let safe = positive.select(0, &x);
    positive.select(&x, safe.expm1() * alpha)
}

/// The self-normalising `elu` (Klambauer et al., 2017).
#[track_caller]
pub fn selu(x: &Array) -> Array {
    elu(x, 1.6732632423543772) * 1.0507009873554805
}

/// `max(x, 0) + alpha · (exp(min(x, 0) / alpha) − 1)`, smooth for every `alpha`; JAX's default is 1.
#[track_caller]
pub fn celu(x: &Array, alpha: f64) -> Array {
    let x = x.inexact();
    x.maximum(0) + (x.minimum(0) / alpha).expm1() * alpha
}

/// The hyperbolic tangent.
#[track_caller]
pub fn tanh(x: &Array) -> Array {
    x.tanh()
}

/// `x` between −1 and 1, and those beyond.
#[track_caller]
pub fn hard_tanh(x: &Array) -> Array {
    x.gt(1).select(1, x.lt(-1).select(-1, x))
}

/// `relu6(x + 3) / 6`.
#[track_caller]
pub fn hard_sigmoid(x: &Array) -> Array {
    relu6(&(x.inexact() + 3.0)) / 6.0
}

/// `x · hard_sigmoid(x)`, also known as hard swish.
#[track_caller]
pub fn hard_silu(x: &Array) -> Array {
    x * hard_sigmoid(x)
}

/// `x · tanh(softplus(x))` (Misra, 2019).
#[track_caller]
pub fn mish(x: &Array) -> Array {
    x * softplus(x).tanh()
}

/// `x / (|x| + 1)`.
#[track_caller]
pub fn soft_sign(x: &Array) -> Array {
    x / (x.abs() + 1)
}

/// `(x + sqrt(x² + b)) / 2`; JAX's default `b` is 4.
#[track_caller]
pub fn squareplus(x: &Array, b: impl Operand) -> Array {
    let x = x.inexact();
    (&x + (x.square() + b).sqrt()) / 2.0
}

/// 0 below −1, `x` above 1, and the parabola that joins them.
#[track_caller]
pub fn sparse_plus(x: &Array) -> Array {
    let x = x.inexact();
    let middle = (&x + 1.0).square() / 4.0;
    x.le(-1).select(0, x.ge(1).select(&x, middle))
}

/// The derivative of [`sparse_plus`]: a line from 0 at −1 to 1 at 1.
#[track_caller]
pub fn sparse_sigmoid(x: &Array) -> Array {
    (x.inexact() + 1.0).maximum(0).minimum(2) * 0.5
}

/// `log(sum(exp(x)))` over axes, without overflow. Of no elements, −∞.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1000f32, 1000.0]);
/// assert!((nn::logsumexp(&x, ()).item::<f32>().unwrap() - 1000.6931).abs() < 1e-3);
/// ```
#[track_caller]
pub fn logsumexp(x: &Array, axes: impl IntoAxes) -> Array {
    x.logsumexp(axes)
}

/// `log(softmax(x))` over axes, without overflow; JAX's default is the last axis, -1.
#[track_caller]
pub fn log_softmax(x: &Array, axes: impl IntoAxes) -> Array {
    with_axes(x, axes, |x, axes| {
        let shifted = x - x.stop_gradient().keepdims(axes, |x, axes| x.max(axes));
        let total = shifted.exp().keepdims(axes, |x, axes| x.sum(axes));
        shifted - total.log()
    })
}

/// `exp(x)`, scaled so that it sums to 1 over axes; JAX's default is the last axis, -1.
///
/// ```
/// use quaxide::prelude::*;
/// let p = nn::softmax(&Array::from([[0f32, 0.0], [1000.0, -1000.0]]), -1);
/// assert_eq!(p.to_vec::<f32>().unwrap(), [0.5, 0.5, 1.0, 0.0]);
/// ```
#[track_caller]
pub fn softmax(x: &Array, axes: impl IntoAxes) -> Array {
    with_axes(x, axes, |x, axes| {
        let top = x.stop_gradient().keepdims(axes, |x, axes| x.max(axes));
        let grown = (x - top).exp();
        let total = grown.keepdims(axes, |x, axes| x.sum(axes));
        grown / total
    })
}

/// `x` shifted and scaled so that over axes its mean is 0 and its variance 1; JAX's defaults are the last axis, -1, and an
/// `epsilon` of 10⁻⁵, which is added to the variance.
#[track_caller]
pub fn standardize(x: &Array, axes: impl IntoAxes, epsilon: f64) -> Array {
    with_axes(x, axes, |x, axes| {
        let mean = |x: &Array| x.keepdims(axes, |x, axes| x.mean(axes));
        let centre = mean(x);
        let variance = mean(&x.square()) - centre.square();
        (x - centre) * (variance.maximum(0) + epsilon).rsqrt()
    })
}

/// A function of floats along axes that exist.
#[track_caller]
fn with_axes(x: &Array, axes: impl IntoAxes, f: impl FnOnce(&Array, &Dims) -> Array) -> Array {
    attempt(|| {
        let x = x.inexact();
        let axes = axes.axes(x.aval()?.ndim())?;
        Ok(f(&x, &axes))
    })
}

/// The gated linear unit (Dauphin et al., 2017): the first half along an axis, times the sigmoid of the second. JAX's default is
/// the last axis, -1. In the error state if the axis does not halve.
#[track_caller]
pub fn glu(x: &Array, axis: i32) -> Array {
    attempt(|| match &split(x, 2, axis)?[..] {
        [values, gates] => Ok(values * gates.logistic()),
        _ => Err(Error::internal("two halves are not two")),
    })
}

/// Integer labels as rows of zeros with a one: `[..]` to `[.., classes]`. A label outside of 0 to `classes` − 1 gives zeros.
///
/// ```
/// use quaxide::prelude::*;
/// let rows = nn::one_hot(&Array::from([2i32, 0]), 3, DType::F32);
/// assert_eq!(rows.to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
/// ```
#[track_caller]
pub fn one_hot(labels: &Array, classes: usize, dtype: DType) -> Array {
    one_hot_as(labels, classes, dtype)
}
