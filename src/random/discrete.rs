//! Distributions of integers and truth values.

use super::{Draw, Key, attempt, check_shape, constant, continuous::unit};
use crate::{
    array::{Array, DType, Dims, IntoDims, Operand, Scalar},
    error::{Error, Result},
};

/// Random bits: unsigned integers of the whole range; `u32` unless another type is asked for.
#[track_caller]
pub fn bits(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        Ok(key.bits(&shape, dtype.unwrap_or(DType::U32)))
    })
}

/// True with probability `p`: a number, or an array of floats that broadcasts to the shape. `bool`.
///
/// ```
/// use quaxide::random;
/// let coin = random::bernoulli(&random::key(0), 0.5, [100]);
/// assert!((30..70).contains(&coin.sum(()).item::<i32>().unwrap()));
/// ```
#[track_caller]
pub fn bernoulli(key: &Key, p: impl Operand, shape: impl IntoDims) -> Array {
    attempt(|| {
        let (p, dtype) = probability(p)?;
        let shape = shape.into_dims();
        check_shape("bernoulli", &shape, &[&p])?;
        Ok(unit(key, &shape, dtype).lt(&p))
    })
}

/// A probability, and its element type: `f32` of a number.
fn probability(p: impl Operand) -> Result<(Array, DType)> {
    let p = p.operand(&constant(0.0, DType::F32)).into_owned();
    let dtype = p.dtype()?;
    if dtype.is_float() {
        return Ok((p, dtype));
    }
    Err(Error::dtype(format!(
        "a probability is a float, not {dtype}"
    )))
}

/// −1 or 1, equally likely: `i32` unless another type of numbers is asked for.
#[track_caller]
pub fn rademacher(key: &Key, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        let dtype = dtype.unwrap_or(DType::I32);
        if dtype == DType::Bool || dtype.is_unsigned() {
            return Err(Error::dtype(format!(
                "{dtype} has no −1 for `random::rademacher`"
            )));
        }
        // JAX has 64-bit types only where one half is an `f64` too.
        let float = match dtype {
            DType::I64 | DType::F64 | DType::C128 => DType::F64,
            _ => DType::F32,
        };
        let heads = unit(key, &shape, float).lt(0.5);
        Ok(heads.astype(dtype) * 2 - 1)
    })
}

/// The range of an integer type.
fn range(dtype: DType) -> (i128, i128) {
    let bits = 8 * dtype.size() as u32;
    if dtype.is_signed() {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

/// The integers of one type in another, those out of its range at its ends.
fn clipped(x: &Array, dtype: DType) -> Result<Array> {
    let from = x.dtype()?;
    let (a, b) = (range(from), range(dtype));
    let bound = |v: i128| Array::from_scalar(Scalar::Int(v), from, false);
    Ok(x.maximum(bound(a.0.max(b.0)))
        .minimum(bound(a.1.min(b.1)))
        .astype(dtype))
}

/// Integers in [low, high), uniform to within 2^−bits of their span: `i32` unless another integer type is asked for.
///
/// The bounds are numbers, or arrays of integers that broadcast to the shape. `low` where the range is empty. The bounds are clipped
/// to the element type, and `high` may be one more than its largest number.
///
/// ```
/// use quaxide::prelude::*;
/// use quaxide::random;
/// let bytes = random::randint(&random::key(0), ([8], DType::U8), 0, 256);
/// assert_eq!(bytes.dtype().unwrap(), DType::U8);
/// ```
#[track_caller]
pub fn randint(key: &Key, draw: impl Draw, low: impl Operand, high: impl Operand) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        let wide = Array::scalar(0i64);
        let (low, high) = (low.operand(&wide), high.operand(&wide));
        integers(key, &shape, dtype.unwrap_or(DType::I32), &low, &high)
    })
}

pub(super) fn integers(
    key: &Key,
    shape: &Dims,
    dtype: DType,
    low: &Array,
    high: &Array,
) -> Result<Array> {
    if !dtype.is_integer() {
        return Err(Error::dtype(format!(
            "`random::randint` draws integers, not {dtype}"
        )));
    }
    for bound in [low, high] {
        let a = bound.aval()?;
        if !a.dtype.is_integer() {
            return Err(Error::dtype(format!(
                "a bound of `random::randint` is an integer, not {a}"
            )));
        }
    }
    check_shape("randint", shape, &[low, high])?;
    if dtype.size() >= 4 {
        return wide_integers(key, shape, dtype, low, high);
    }
    // Narrow integers are drawn as wide ones.
    let (least, most) = range(dtype);
    let bound = |x: &Array, most: i128| {
        let number = |v: i128| Array::from_scalar(Scalar::Int(v), DType::I32, false);
        x.astype(DType::I32)
            .maximum(number(least))
            .minimum(number(most))
    };
    let (low, high) = (bound(low, most), bound(high, most + 1));
    Ok(wide_integers(key, shape, DType::I32, &low, &high)?.astype(dtype))
}

fn wide_integers(
    key: &Key,
    shape: &Dims,
    dtype: DType,
    low: &Array,
    high: &Array,
) -> Result<Array> {
    let most = range(dtype).1.min(range(high.dtype()?).1);
    let beyond = high.gt(Array::from_scalar(Scalar::Int(most), high.dtype()?, false));
    let (low, high) = (clipped(low, dtype)?, clipped(high, dtype)?);
    let (unsigned, half_bits) = match dtype.size() {
        4 => (DType::U32, 16),
        _ => (DType::U64, 32),
    };
    let number = |v: i128| Array::from_scalar(Scalar::Int(v), unsigned, false);
    // Twice the bits, so that the remainder's bias is small.
    let [k1, k2] = key.split();
    let (upper, lower) = (k1.bits(shape, unsigned), k2.bits(shape, unsigned));
    let span = (&high - &low).astype(unsigned);
    let span = high.le(&low).select(number(1), span);
    // A span of the whole range wraps to zero, by which a remainder leaves the dividend.
    let span = (beyond & high.gt(&low)).select(&span + number(1), &span);
    let half = number(1 << half_bits) % &span;
    let multiplier = (&half * &half) % &span;
    let offset = ((upper % &span) * multiplier + lower % &span) % &span;
    Ok(low + offset.astype(dtype))
}

/// The number of trials up to the first success, each of probability `p`: 1, 2, …; `i32` unless another integer type is asked for.
#[track_caller]
pub fn geometric(key: &Key, p: impl Operand, draw: impl Draw) -> Array {
    attempt(|| {
        let (shape, dtype) = draw.shape_and_dtype();
        let (p, float) = probability(p)?;
        check_shape("geometric", &shape, &[&p])?;
        let u = unit(key, &shape, float);
        let u = u.eq(0.0).select(constant(1.0, float), u);
        let trials = (u.log() / (-p).log1p()).floor() + 1.0;
        Ok(trials.astype(dtype.unwrap_or(DType::I32)))
    })
}
