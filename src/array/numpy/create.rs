//! Making arrays.

use crate::{
    array::{Array, DType, Dims, Scalar, attempt, promote_types},
    error::{Error, Result},
};

/// `start`, `start + step`, … below `stop` (above, for a negative step).
///
/// ```
/// use quaxide::prelude::*;
/// let x = numpy::arange(1.0, 2.0, 0.25, DType::F32);
/// assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 1.25, 1.5, 1.75]);
/// ```
#[track_caller]
pub fn arange(
    start: impl Into<Scalar>,
    stop: impl Into<Scalar>,
    step: impl Into<Scalar>,
    dtype: DType,
) -> Array {
    attempt(|| {
        let real = |x: Scalar| {
            x.as_f64()
                .filter(|x| x.is_finite())
                .ok_or_else(|| Error::argument("arange counts in finite real numbers"))
        };
        let (start, stop, step) = (real(start.into())?, real(stop.into())?, real(step.into())?);
        if step == 0.0 {
            return Err(Error::argument("arange: a step of 0"));
        }
        let n = ((stop - start) / step).ceil().max(0.0) as usize;
        let counted = Array::arange(n, dtype);
        let scaled = if step == 1.0 {
            counted
        } else {
            counted * Array::from_scalar(step.into(), dtype, false)
        };
        Ok(if start == 0.0 {
            scaled
        } else {
            scaled + Array::from_scalar(start.into(), dtype, false)
        })
    })
}

/// `n` numbers at equal distances from `start` to `stop`, both included.
#[track_caller]
pub fn linspace(start: f64, stop: f64, n: usize, dtype: DType) -> Array {
    let t = Array::arange(n, DType::F64) / (n.max(2) - 1) as f64;
    (start * (1.0 - &t) + stop * t).astype(dtype)
}

/// The lower triangle: elements above diagonal `k` become zero.
#[track_caller]
pub fn tril(x: &Array, k: i64) -> Array {
    triangle(x, k, true)
}

/// The upper triangle: elements below diagonal `k` become zero.
#[track_caller]
pub fn triu(x: &Array, k: i64) -> Array {
    triangle(x, k, false)
}

#[track_caller]
fn triangle(x: &Array, k: i64, lower: bool) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let [.., n, m] = a.shape[..] else {
            return Err(Error::shape(format!(
                "a triangle of {a}, which has fewer than two axes"
            )));
        };
        let rows = Array::iota([n, m], 0, DType::I32);
        let columns = Array::iota([n, m], 1, DType::I32);
        let below = (rows + k as i32).ge(columns);
        let keep = if lower {
            below
        } else {
            (Array::iota([n, m], 0, DType::I32) + k as i32).le(Array::iota([n, m], 1, DType::I32))
        };
        Ok(keep.select(x, Array::zeros_like(x)))
    })
}

/// A matrix of zeros with a vector on its diagonal; of a matrix, its diagonal.
#[track_caller]
pub fn diag(x: &Array) -> Array {
    attempt(|| {
        let a = x.aval()?;
        match a.shape[..] {
            [n] => Ok(Array::eye(n, DType::Bool).select(x, Array::zeros([n, n], a.dtype))),
            [n, m] => {
                let k = n.min(m);
                let square = x.slice_in_dim(0, k, 0).slice_in_dim(0, k, 1);
                Ok(Array::eye(k, DType::Bool)
                    .select(&square, Array::zeros_like(&square))
                    .sum(1))
            }
            _ => Err(Error::shape(format!(
                "diag takes a vector or a matrix, not {a}"
            ))),
        }
    })
}

/// The sum of the diagonal of a matrix.
#[track_caller]
pub fn trace(x: &Array) -> Array {
    diag(x).sum(())
}

/// Coordinate arrays of a grid: the `i`-th varies along axis `i` (`indexing="ij"`).
pub fn meshgrid(axes: &[&Array]) -> Result<Vec<Array>> {
    let mut shape = Dims::new();
    for x in axes {
        shape.push(x.dims::<1>()?[0]);
    }
    Ok(axes
        .iter()
        .enumerate()
        .map(|(i, x)| x.broadcast_in_dim(&shape, [i]))
        .collect())
}

/// The element type that operands of these types meet in.
pub fn result_type(dtypes: &[DType]) -> Option<DType> {
    dtypes
        .iter()
        .map(|d| (*d, false))
        .reduce(promote_types)
        .map(|(d, _)| d)
}
