//! The gamma distribution, and those that are made of it.

use super::{
    Draw, Key, attempt, check_shape, constant,
    continuous::{real_normal, standard_exponential},
    floats, parameter,
};
use crate::{
    array::{Array, DType, Dims, Operand},
    error::{Error, Result},
    trace::{bind, op::RandomGamma},
};

/// Samples of a shape for parameters that broadcast to it.
fn samples(
    name: &str,
    key: &Key,
    alpha: &Array,
    shape: &Dims,
    dtype: DType,
    log_space: bool,
) -> Result<Array> {
    check_shape(name, shape, &[alpha])?;
    let alpha = alpha.astype(dtype).broadcast_to(shape);
    Ok(bind(RandomGamma { log_space }, &[key.single()?, &alpha]))
}

/// The gamma distribution of shape `a` (a number, or an array that broadcasts to the draw's shape) and scale 1. Floats.
///
/// Samples differentiate in `a`, implicitly: the derivative of the sample at a fixed quantile.
///
/// ```
/// use quaxide::prelude::*;
/// let x = random::gamma(&random::key(0), 2.0, [1000]);
/// assert!((x.mean(()).item::<f64>().unwrap() - 2.0).abs() < 0.2);
/// ```
#[track_caller]
pub fn gamma(key: &Key, a: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("gamma", draw)?;
        samples("gamma", key, &parameter(a, dtype), &shape, dtype, false)
    })
}

/// The logarithm of a sample of [`gamma`], accurate where the sample itself would underflow. Floats.
#[track_caller]
pub fn loggamma(key: &Key, a: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("loggamma", draw)?;
        samples("loggamma", key, &parameter(a, dtype), &shape, dtype, true)
    })
}

/// The beta distribution on (0, 1). Floats.
#[track_caller]
pub fn beta(key: &Key, a: impl Operand, b: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("beta", draw)?;
        let [key_a, key_b] = key.split();
        let log = |key: &Key, a: Array| samples("beta", key, &a, &shape, dtype, true);
        let a = log(&key_a, parameter(a, dtype))?;
        let b = log(&key_b, parameter(b, dtype))?;
        let largest = a.maximum(&b);
        let (a, b) = ((a - &largest).exp(), (b - &largest).exp());
        Ok(&a / (&a + b))
    })
}

/// The Dirichlet distribution: vectors of positive numbers whose sum is 1, under the draw's axes.
///
/// `alpha` has the concentrations along its last axis; its other axes broadcast to the draw's. The result has the draw's axes, and
/// that last one. Floats.
#[track_caller]
pub fn dirichlet(key: &Key, alpha: &Array, draw: impl Draw) -> Array {
    attempt(|| {
        let (mut shape, dtype) = floats("dirichlet", draw)?;
        let a = alpha.aval()?;
        let Some(n) = a.shape.last() else {
            return Err(Error::shape(format!(
                "`random::dirichlet` needs an axis of concentrations, got {a}"
            )));
        };
        shape.push(*n);
        let x = samples("dirichlet", key, alpha, &shape, dtype, true)?;
        // softmax
        let largest = x.max(-1).stop_gradient().expand_dims(-1);
        let x = (x - largest).exp();
        let sum = x.sum(-1).expand_dims(-1);
        Ok(x / sum)
    })
}

/// The chi-square distribution of `df` degrees of freedom. Floats.
#[track_caller]
pub fn chisquare(key: &Key, df: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("chisquare", draw)?;
        let two = constant(2.0, dtype);
        let half = parameter(df, dtype) / &two;
        Ok(samples("chisquare", key, &half, &shape, dtype, true)?.exp() * two)
    })
}

/// The F distribution of `dfnum` and `dfden` degrees of freedom. Floats.
#[track_caller]
pub fn f(key: &Key, dfnum: impl Operand, dfden: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("f", draw)?;
        let (num, den) = (parameter(dfnum, dtype), parameter(dfden, dtype));
        let [key_den, key_num] = key.split();
        let above = chisquare(&key_num, &num, (&shape, dtype)) / &num;
        let below = chisquare(&key_den, &den, (&shape, dtype)) / &den;
        Ok(above / below)
    })
}

/// Student's t distribution of `df` degrees of freedom. Floats.
#[track_caller]
pub fn t(key: &Key, df: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("t", draw)?;
        let half = parameter(df, dtype) / constant(2.0, dtype);
        let [key_n, key_g] = key.split();
        let n = real_normal(&key_n, &shape, dtype);
        let g = samples("t", &key_g, &half, &shape, dtype, false)?;
        Ok(n * (half / g).sqrt())
    })
}

/// The generalised normal distribution, whose density falls as `exp(−|x|^p)`. Floats.
#[track_caller]
pub fn generalized_normal(key: &Key, p: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("generalized_normal", draw)?;
        spread(key, &parameter(p, dtype), &shape, dtype)
    })
}

fn spread(key: &Key, p: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    let [key_g, key_r] = key.split();
    let inverse = constant(1.0, dtype) / p;
    let g = samples("generalized_normal", &key_g, &inverse, shape, dtype, false)?;
    let sign = super::rademacher(&key_r, (shape, dtype));
    Ok(sign * g.pow(inverse))
}

/// Uniform in the unit ball of the p-norm in `d` dimensions: the draw's axes, and one of size `d`. Floats.
#[track_caller]
pub fn ball(key: &Key, d: usize, p: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("ball", draw)?;
        let p = parameter(p, dtype);
        if p.ndim() > 0 {
            return Err(Error::shape("the p of `random::ball` is one number"));
        }
        let [key_g, key_e] = key.split();
        let mut full = shape.clone();
        full.push(d);
        let g = spread(&key_g, &p, &full, dtype)?;
        let e = standard_exponential(&key_e, &shape, dtype);
        let norm = (g.abs().pow(&p).sum(-1) + e).pow(constant(1.0, dtype) / p);
        Ok(g / norm.expand_dims(-1))
    })
}
