//! Distributions of real numbers.

use super::{Draw, Key, attempt, check_shape, constant, floats, key::shift_right, parameter};
use crate::{
    array::{Array, DType, Dims, Operand},
    error::Error,
    trace::{bind, op::Binary},
};
use std::f64::consts::{PI, SQRT_2};

/// What is particular to a floating-point format.
struct Format {
    /// The width of the random bits that a number is made of.
    bits: DType,
    /// How many of them are dropped.
    dropped: u32,
    /// The explicit bits of the mantissa.
    mantissa: i32,
    /// The smallest normal number.
    tiny: f64,
    /// The largest number below 1.
    below_one: f64,
}

/// The format of a floating-point type.
fn format(dtype: DType) -> Format {
    let (bits, width, mantissa, tiny) = match dtype {
        DType::F16 => (DType::U16, 16, 10, 2f64.powi(-14)),
        DType::BF16 => (DType::U8, 8, 7, f64::from(f32::MIN_POSITIVE)),
        DType::F64 => (DType::U64, 64, 52, f64::MIN_POSITIVE),
        _ => (DType::U32, 32, 23, f64::from(f32::MIN_POSITIVE)),
    };
    Format {
        bits,
        dropped: width - mantissa,
        mantissa: mantissa as i32,
        tiny,
        below_one: 1.0 - 2f64.powi(-1 - mantissa as i32),
    }
}

/// Uniform on [0, 1): a multiple of the spacing of floats below 2.
pub(super) fn unit(key: &Key, shape: &Dims, dtype: DType) -> Array {
    let format = format(dtype);
    let bits = shift_right(&key.bits(shape, format.bits), format.dropped);
    // The bits are fewer than the mantissa's: conversion and scaling are exact.
    bits.astype(dtype) * constant(2f64.powi(-format.mantissa), dtype)
}

/// Uniform on [tiny, 1), for logarithms.
pub(super) fn positive_unit(key: &Key, shape: &Dims, dtype: DType) -> Array {
    unit(key, shape, dtype).maximum(constant(format(dtype).tiny, dtype))
}

/// Uniform between two arrays of the draw's type: `max(low, u (high − low) + low)`, where XLA fuses the product into the sum.
pub(super) fn between(key: &Key, shape: &Dims, dtype: DType, low: &Array, high: &Array) -> Array {
    let u = unit(key, shape, dtype);
    fused(&u, &(high - low), low, dtype).maximum(low)
}

/// `a b + c`, rounded once for `f32` and `f64`.
fn fused(a: &Array, b: &Array, c: &Array, dtype: DType) -> Array {
    match dtype {
        // The product is exact in f64, and the sum as good as exact.
        DType::F32 => {
            let wide = |x: &Array| x.astype(DType::F64);
            (wide(a) * wide(b) + wide(c)).astype(DType::F32)
        }
        DType::F64 => {
            let product = a * b;
            let sum = &product + c;
            // What the two roundings lost: T. Dekker's product and D. Knuth's sum.
            let (a1, a2) = halves(a);
            let (b1, b2) = halves(b);
            let lost = &a2 * &b2 - (((&product - &a1 * &b1) - &a2 * &b1) - &a1 * &b2);
            let rest = &sum - &product;
            let missed = (&product - (&sum - &rest)) + (c - &rest);
            sum + (lost + missed).stop_gradient()
        }
        _ => a * b + c,
    }
}

/// A `f64` as the sum of two numbers of 26 bits (G. Veltkamp).
fn halves(x: &Array) -> (Array, Array) {
    let scaled = x * 134_217_729.0;
    let high = &scaled - (&scaled - x);
    let low = x - &high;
    (high, low)
}

/// Uniform on [0, 1). Floats; `f32` unless another type is asked for.
///
/// ```
/// use quaxide::prelude::*;
/// use quaxide::random;
/// let x = random::uniform(&random::key(0), ([5], DType::F64));
/// assert!(x.to_vec::<f64>().unwrap().iter().all(|x| (0.0..1.0).contains(x)));
/// ```
#[track_caller]
pub fn uniform(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("uniform", draw)?;
        Ok(unit(key, &shape, dtype))
    })
}

/// Uniform on [low, high): numbers, or arrays that broadcast to the shape. Floats.
///
/// ```
/// use quaxide::random;
/// let x = random::uniform_range(&random::key(0), [5], -1.0, 1.0);
/// # let _ = x;
/// ```
#[track_caller]
pub fn uniform_range(key: &Key, draw: impl Draw, low: impl Operand, high: impl Operand) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("uniform_range", draw)?;
        let (low, high) = (parameter(low, dtype), parameter(high, dtype));
        check_shape("uniform_range", &shape, &[&low, &high])?;
        Ok(between(key, &shape, dtype, &low, &high))
    })
}

/// The standard normal distribution. Floats, or complex numbers with independent parts of variance ½.
///
/// ```
/// use quaxide::random;
/// let x = random::normal(&random::key(42), [2]).to_vec::<f32>().unwrap();
/// assert_eq!(x, [-0.028304616, 0.46713185]);
/// ```
#[track_caller]
pub fn normal(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        let dtype = dtype.unwrap_or(DType::F32);
        if dtype.is_float() {
            return Ok(real_normal(key, &shape, dtype));
        }
        if !dtype.is_complex() {
            return Err(Error::dtype(format!(
                "`random::normal` draws floating-point or complex numbers, not {dtype}"
            )));
        }
        let [re, im] = key.split();
        let half = match dtype {
            DType::C64 => f64::from(1.0 / std::f32::consts::SQRT_2),
            _ => 1.0 / SQRT_2,
        };
        let part = |key: &Key| {
            let real = dtype.real();
            real_normal(key, &shape, real) * constant(half, real)
        };
        Ok(bind(Binary::Complex, &[&part(&re), &part(&im)]))
    })
}

pub(super) fn real_normal(key: &Key, shape: &Dims, dtype: DType) -> Array {
    // From just above −1, where the inverse would be infinite; the span of 2 makes the product exact.
    let low = constant(-format(dtype).below_one, dtype);
    let u = unit(key, shape, dtype) * constant(2.0, dtype) + low;
    u.erf_inv() * constant(SQRT_2, dtype)
}

/// The standard normal distribution between two bounds: numbers, or arrays that broadcast to the shape. Floats.
#[track_caller]
pub fn truncated_normal(
    key: &Key,
    lower: impl Operand,
    upper: impl Operand,
    draw: impl Draw,
) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("truncated_normal", draw)?;
        let (lower, upper) = (parameter(lower, dtype), parameter(upper, dtype));
        check_shape("truncated_normal", &shape, &[&lower, &upper])?;
        let root = constant(SQRT_2, dtype);
        // XLA divides by a number by multiplying with its reciprocal.
        let inverse = match dtype {
            DType::F64 => 1.0 / SQRT_2,
            _ => f64::from(1.0 / std::f32::consts::SQRT_2),
        };
        let inverse = constant(inverse, dtype);
        let (a, b) = ((&lower * &inverse).erf(), (&upper * &inverse).erf());
        let x = between(key, &shape, dtype, &a, &b).erf_inv() * root;
        // Strictly inside, whatever the rounding did.
        let inside = |bound: &Array, towards: f64| {
            let towards = constant(towards, dtype);
            bind(Binary::Nextafter, &[&bound.stop_gradient(), &towards])
        };
        let lowest = inside(&lower, f64::INFINITY);
        let highest = inside(&upper, f64::NEG_INFINITY);
        Ok(x.maximum(lowest).minimum(highest))
    })
}

/// The exponential distribution with rate 1. Floats.
#[track_caller]
pub fn exponential(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("exponential", draw)?;
        Ok(standard_exponential(key, &shape, dtype))
    })
}

pub(super) fn standard_exponential(key: &Key, shape: &Dims, dtype: DType) -> Array {
    -(-unit(key, shape, dtype)).log1p()
}

/// The standard Gumbel distribution. Floats.
#[track_caller]
pub fn gumbel(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("gumbel", draw)?;
        Ok(standard_gumbel(key, &shape, dtype))
    })
}

pub(super) fn standard_gumbel(key: &Key, shape: &Dims, dtype: DType) -> Array {
    -(-positive_unit(key, shape, dtype).log()).log()
}

/// The standard Laplace distribution. Floats.
#[track_caller]
pub fn laplace(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("laplace", draw)?;
        let low = constant(-format(dtype).below_one, dtype);
        let u = between(key, &shape, dtype, &low, &constant(1.0, dtype));
        Ok(u.sign() * (-u.abs()).log1p())
    })
}

/// The standard logistic distribution. Floats.
#[track_caller]
pub fn logistic(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("logistic", draw)?;
        let u = positive_unit(key, &shape, dtype);
        Ok(u.log() - (-&u).log1p())
    })
}

/// The standard Cauchy distribution. Floats.
#[track_caller]
pub fn cauchy(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("cauchy", draw)?;
        let epsilon = constant(2f64.powi(-format(dtype).mantissa), dtype);
        let u = between(key, &shape, dtype, &epsilon, &constant(1.0, dtype));
        Ok(((u - constant(0.5, dtype)) * constant(PI, dtype)).tan())
    })
}

/// The Pareto distribution of shape `b` on [1, ∞). Floats.
#[track_caller]
pub fn pareto(key: &Key, b: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("pareto", draw)?;
        let b = parameter(b, dtype);
        check_shape("pareto", &shape, &[&b])?;
        Ok((standard_exponential(key, &shape, dtype) * (constant(1.0, dtype) / b)).exp())
    })
}

/// The Weibull distribution of a scale and a shape (its concentration). Floats.
#[track_caller]
pub fn weibull_min(
    key: &Key,
    scale: impl Operand,
    concentration: impl Operand,
    draw: impl Draw,
) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("weibull_min", draw)?;
        let (scale, power) = (parameter(scale, dtype), parameter(concentration, dtype));
        check_shape("weibull_min", &shape, &[&scale, &power])?;
        let x = standard_exponential(key, &shape, dtype);
        Ok(x.pow(constant(1.0, dtype) / power) * scale)
    })
}

/// The Rayleigh distribution of a scale. Floats.
#[track_caller]
pub fn rayleigh(key: &Key, scale: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("rayleigh", draw)?;
        let scale = parameter(scale, dtype);
        check_shape("rayleigh", &shape, &[&scale])?;
        let root = (unit(key, &shape, dtype).log() * constant(-2.0, dtype)).sqrt();
        Ok(scale * root)
    })
}

/// The log-normal distribution: the exponential of a normal one of deviation `sigma`. Floats.
#[track_caller]
pub fn lognormal(key: &Key, sigma: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("lognormal", draw)?;
        let sigma = parameter(sigma, dtype);
        check_shape("lognormal", &shape, &[&sigma])?;
        Ok((real_normal(key, &shape, dtype) * sigma).exp())
    })
}

/// The Maxwell distribution: the length of a standard normal vector of three components. Floats.
#[track_caller]
pub fn maxwell(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (mut shape, dtype) = floats("maxwell", draw)?;
        shape.push(3);
        Ok(real_normal(key, &shape, dtype).square().sum(-1).sqrt())
    })
}

/// The triangular distribution between `left` and `right` with its peak at `mode`. Floats.
#[track_caller]
pub fn triangular(
    key: &Key,
    left: impl Operand,
    mode: impl Operand,
    right: impl Operand,
    draw: impl Draw,
) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("triangular", draw)?;
        let (left, mode) = (parameter(left, dtype), parameter(mode, dtype));
        let right = parameter(right, dtype);
        check_shape("triangular", &shape, &[&left, &mode, &right])?;
        let (rise, span, fall) = (&mode - &left, &right - &left, &right - &mode);
        let u = unit(key, &shape, dtype);
        let below = &left + (&u * &span * &rise).sqrt();
        let above = &right - ((constant(1.0, dtype) - &u) * &span * fall).sqrt();
        Ok(u.lt(rise / span).select(below, above))
    })
}

/// The Maxwell distribution with a random sign, scaled and moved. Floats.
#[track_caller]
pub fn double_sided_maxwell(
    key: &Key,
    loc: impl Operand,
    scale: impl Operand,
    draw: impl Draw,
) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("double_sided_maxwell", draw)?;
        let (loc, scale) = (parameter(loc, dtype), parameter(scale, dtype));
        check_shape("double_sided_maxwell", &shape, &[&loc, &scale])?;
        let [key_m, key_s] = key.split();
        let length = maxwell(&key_m, (&shape, dtype));
        let sign = super::rademacher(&key_s, (&shape, dtype));
        Ok(sign * length * scale + loc)
    })
}

/// The inverse Gaussian (Wald) distribution of a mean, with scale 1. Floats.
///
/// J. Michael, W. Schucany and R. Haas, "Generating random variates using transformations with multiple roots" (1976).
#[track_caller]
pub fn wald(key: &Key, mean: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = floats("wald", draw)?;
        let mean = parameter(mean, dtype);
        check_shape("wald", &shape, &[&mean])?;
        let mean = mean.broadcast_to(&shape);
        let [key_n, key_u] = key.split();
        let y = real_normal(&key_n, &shape, dtype).square();
        let u = unit(&key_u, &shape, dtype);
        let square = mean.square();
        let root = (&mean * 4.0 * &y + &square * y.square()).sqrt();
        let x = &mean + &square * &y / 2.0 - &mean / 2.0 * root;
        Ok(u.le(&mean / (&mean + &x)).select(&x, &square / &x))
    })
}
