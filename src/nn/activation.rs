//! Activation functions, with the names and the derivatives (at kinks too) of `jax.nn`.

use super::attempt;
use crate::{
    array::{Array, DType, Dims, IntoAxes, Operand, numpy::split},
    error::{Error, Result},
    transform::named::{WithRule, jitted, jitted_where, jitted_with, with_rule},
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
    with_rule(
        &[x],
        &WithRule {
            name: "relu",
            jvp: "jvp",
            f: |x| one(x).map(|x| x.maximum(0)),
            // NaN is not ≤ 0, so it passes.
            smooth: |x| one(x).map(|x| x.le(0).select(Array::zeros_like(x), x)),
            rule: |x, t| {
                let (x, t) = (one(x)?, one(t)?);
                Ok(x.gt(0).select(t, Array::zeros_like(t)))
            },
            jit: true,
        },
    )
}

/// `min(max(x, 0), 6)`; its derivative at 0 and at 6 is 0.
#[track_caller]
pub fn relu6(x: &Array) -> Array {
    with_rule(
        &[x],
        &WithRule {
            name: "relu6",
            jvp: "jvp",
            f: |x| one(x).map(|x| x.maximum(0).minimum(6)),
            smooth: |x| {
                let x = one(x)?;
                let low = x.le(0).select(Array::zeros_like(x), x);
                Ok(x.ge(6).select(Array::full_like(x, 6), low))
            },
            rule: |x, t| {
                let (x, t) = (one(x)?, one(t)?);
                Ok((x.gt(0) & x.lt(6)).select(t, Array::zeros_like(t)))
            },
            jit: true,
        },
    )
}

/// The only operand.
fn one(x: &[Array]) -> Result<&Array> {
    match x {
        [x] => Ok(x),
        _ => Err(Error::internal("a function of one array was given several")),
    }
}

/// `x` where it is not negative, elsewhere `negative_slope · x`; JAX's default slope is 0.01.
#[track_caller]
pub fn leaky_relu(x: &Array, negative_slope: impl Operand) -> Array {
    jitted_with("leaky_relu", x, &negative_slope.operand(x), &|x, slope| {
        jitted_where(&x.ge(0), x, &(slope * x))
    })
}

/// The Gaussian error linear unit `x · Φ(x)`, by the approximation through `tanh` that JAX has as its default.
#[track_caller]
pub fn gelu(x: &Array) -> Array {
    let x = x.inexact().strong();
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (&x + 0.044715 * x.integer_pow(3));
    &x * (0.5 * (1.0 + inner.tanh()))
}

/// The Gaussian error linear unit `x · Φ(x)` itself: `jax.nn.gelu(x, approximate=False)`.
#[track_caller]
pub fn gelu_exact(x: &Array) -> Array {
    let x = x.inexact();
    0.5 * &x * (-&x * 0.5f64.sqrt()).erfc()
}

/// `x · sigmoid(x)`, also known as swish.
#[track_caller]
pub fn silu(x: &Array) -> Array {
    jitted("silu", &[], &[x], &|x| one(x).map(|x| x * x.logistic()))
}

/// The same as [`silu`].
#[track_caller]
pub fn swish(x: &Array) -> Array {
    silu(x)
}

/// `1 / (1 + exp(−x))`.
#[track_caller]
pub fn sigmoid(x: &Array) -> Array {
    x.logistic()
}

/// `log(sigmoid(x))`, without overflow.
#[track_caller]
pub fn log_sigmoid(x: &Array) -> Array {
    jitted("log_sigmoid", &[], &[x], &|x| {
        one(x).map(|x| -softplus(&-x))
    })
}

/// `log(1 + exp(x))`, without overflow.
#[track_caller]
pub fn softplus(x: &Array) -> Array {
    jitted("softplus", &[], &[x], &|x| {
        one(x).map(|x| x.inexact().logaddexp(0.0))
    })
}

/// `x` where it is positive, elsewhere `alpha · (exp(x) − 1)`; JAX's default `alpha` is 1.
#[track_caller]
pub fn elu(x: &Array, alpha: impl Operand) -> Array {
    let x = x.inexact();
    jitted_with("elu", &x, &alpha.operand(&x), &|x, alpha| {
        let positive = x.gt(0);
        // The unused branch must not overflow, or its derivative would be NaN.
        let safe = jitted_where(&x.gt(0), &Array::from(0.0), x);
        jitted_where(&positive, x, &(alpha * safe.expm1()))
    })
}

/// The self-normalising `elu` (Klambauer et al., 2017).
#[track_caller]
pub fn selu(x: &Array) -> Array {
    jitted("selu", &[], &[x], &|x| {
        one(x).map(|x| 1.0507009873554805 * elu(x, 1.6732632423543772))
    })
}

/// `max(x, 0) + alpha · (exp(min(x, 0) / alpha) − 1)`, smooth for every `alpha`; JAX's default is 1.
#[track_caller]
pub fn celu(x: &Array, alpha: impl Operand) -> Array {
    let x = x.inexact();
    jitted_with("celu", &x, &alpha.operand(&x), &|x, alpha| {
        x.maximum(0) + alpha * (x.minimum(0) / alpha).expm1()
    })
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
    jitted("hard_sigmoid", &[], &[x], &|x| {
        one(x).map(|x| relu6(&(x + 3.0)) / 6.0)
    })
}

/// `x · hard_sigmoid(x)`, also known as hard swish.
#[track_caller]
pub fn hard_silu(x: &Array) -> Array {
    jitted("hard_silu", &[], &[x], &|x| {
        one(x).map(|x| x * hard_sigmoid(x))
    })
}

/// The same as [`hard_silu`].
#[track_caller]
pub fn hard_swish(x: &Array) -> Array {
    hard_silu(x)
}

/// The array itself.
pub fn identity(x: &Array) -> Array {
    x.clone()
}

/// `log(1 − exp(−x))` for positive `x`, exact for small and for large ones (Mächler, 2012).
#[track_caller]
pub fn log1mexp(x: &Array) -> Array {
    let f = |x: &[Array]| {
        let x = one(x)?;
        let near = (-(-x).expm1()).log();
        let far = (-(-x).exp()).log1p();
        Ok(x.lt(std::f64::consts::LN_2).select(near, far))
    };
    with_rule(
        &[&x.inexact()],
        &WithRule {
            name: "log1mexp",
            jvp: "jvp",
            f,
            smooth: f,
            rule: |x, t| Ok(one(t)? / one(x)?.expm1()),
            jit: true,
        },
    )
}

/// `log(mean(exp(x)))` over axes, without overflow.
#[track_caller]
pub fn logmeanexp(x: &Array, axes: impl IntoAxes) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let all = axes.axes(a.ndim())?;
        let n: usize = all.iter().filter_map(|i| a.shape.get(*i)).product();
        Ok(logsumexp(x, all) - (n as f64).ln())
    })
}

/// `x · tanh(softplus(x))` (Misra, 2019).
#[track_caller]
pub fn mish(x: &Array) -> Array {
    jitted("mish", &[], &[x], &|x| {
        one(x).map(|x| x * softplus(x).tanh())
    })
}

/// `x / (|x| + 1)`.
#[track_caller]
pub fn soft_sign(x: &Array) -> Array {
    jitted("soft_sign", &[], &[x], &|x| {
        one(x).map(|x| x / (x.abs() + 1))
    })
}

/// `(x + sqrt(x² + b)) / 2`; JAX's default `b` is 4.
#[track_caller]
pub fn squareplus(x: &Array, b: impl Operand) -> Array {
    let x = x.inexact();
    jitted_with("squareplus", &x, &b.operand(&x), &|x, b| {
        (x + (x.square() + b).sqrt()) / 2.0
    })
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
    with_axes(x, axes, |x, axes| {
        let x = &x.strong();
        let top = top_of(x, axes);
        // An infinite one is no use as a shift.
        let top = top.is_finite().select(&top, 0.0).stop_gradient();
        let spread = spread_over(&top, x, axes);
        let total = (x - spread).exp().sum(axes);
        // JAX's function also gives the sum's sign, and takes the logarithm of its size.
        drop(total.sign());
        total.abs().log() + top
    })
}

/// The largest element over axes; −∞ of none.
fn top_of(x: &Array, axes: &Dims) -> Array {
    let shape = x.shape();
    let none = axes.iter().any(|i| shape.get(*i) == Some(&0));
    let least = Array::from(f64::NEG_INFINITY);
    if none {
        let rest: Dims = (0..shape.len())
            .filter(|i| !axes.contains(i))
            .filter_map(|i| shape.get(i).copied())
            .collect();
        return match x.dtype() {
            Ok(d) => Array::full(rest, f64::NEG_INFINITY, d),
            Err(e) => Array::error(e),
        };
    }
    if x.dtype().is_ok_and(DType::is_complex) {
        return x.max(axes);
    }
    least.maximum(x.max(axes))
}

/// A reduction's result with its axes back, at size 1.
fn spread_over(y: &Array, x: &Array, axes: &Dims) -> Array {
    x.keepdims(axes, |_, _| y.clone())
}

/// `log(softmax(x))` over axes, without overflow; JAX's default is the last axis, -1.
#[track_caller]
pub fn log_softmax(x: &Array, axes: impl IntoAxes) -> Array {
    with_axes(x, axes, |x, axes| {
        let numbers: Vec<u64> = axes.iter().map(|i| *i as u64).collect();
        jitted("log_softmax", &numbers, &[x], &|x| {
            let x = one(x)?;
            let shifted = x - spread_over(&top_of(x, axes), x, axes).stop_gradient();
            let total = spread_over(&shifted.exp().sum(axes), x, axes);
            Ok(shifted - total.log())
        })
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
        let grown = (x - spread_over(&top_of(x, axes), x, axes).stop_gradient()).exp();
        let total = spread_over(&grown.sum(axes), x, axes);
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
    attempt(|| {
        let a = labels.aval()?;
        let wide = labels.expand_dims(-1);
        let mut shape = Dims::from_elem(1, a.ndim());
        shape.push(classes);
        let numbers = Array::iota(shape, a.ndim(), a.dtype);
        Ok(wide.eq(&numbers).astype(dtype))
    })
}
