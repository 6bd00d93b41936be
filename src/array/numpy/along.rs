//! Functions along an axis, and parts of sequences that are found by their order.

use crate::{
    array::{Array, DType, Dims, attempt, normalise_axis},
    error::{Error, Result},
    transform::vmap,
};

/// A function of vectors applied to each vector along an axis; its result's axes stand in the place of that axis.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[3f32, 1.], [2., 4.]]);
/// let y = numpy::apply_along_axis(|v: &Array| v.sort(0), 0, &x);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 1.0, 3.0, 4.0]);
/// ```
#[track_caller]
pub fn apply_along_axis(f: impl Fn(&Array) -> Array + Send + Sync, axis: i32, x: &Array) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let last = x.moveaxis(axis, -1);
        let n = a.shape.get(k).copied().unwrap_or(0);
        let lanes = last.reshape([a.size().checked_div(n).unwrap_or(0), n]);
        let y = vmap(|v: &Array| f(v))(&lanes)?;
        let own: Dims = y.shape().iter().skip(1).copied().collect();
        let mut shape: Dims = last.shape().iter().take(a.ndim() - 1).copied().collect();
        shape.extend(own.iter().copied());
        let y = y.reshape(shape);
        // The result's own axes from the end to where the axis was.
        let lead = a.ndim() - 1;
        let order: Dims = (0..k)
            .chain(lead..lead + own.len())
            .chain(k..lead)
            .collect();
        Ok(y.transpose(order))
    })
}

/// The running sum along an axis, with a zero before it if `include_initial`.
#[track_caller]
pub fn cumulative_sum(x: &Array, axis: i32, include_initial: bool) -> Array {
    started(x.cumsum(axis), axis, include_initial, 0)
}

/// The running product along an axis, with a one before it if `include_initial`.
#[track_caller]
pub fn cumulative_prod(x: &Array, axis: i32, include_initial: bool) -> Array {
    started(x.cumprod(axis), axis, include_initial, 1)
}

fn started(y: Array, axis: i32, initial: bool, number: i32) -> Array {
    attempt(|| {
        let a = y.aval()?;
        if !initial {
            return Ok(y);
        }
        let k = normalise_axis(axis.into(), a.ndim())?;
        let widths: Vec<(usize, usize)> = (0..a.ndim()).map(|i| (usize::from(i == k), 0)).collect();
        Ok(y.pad(&widths, number))
    })
}

/// The elements along an axis with the `k`-th in its place: none before it is larger, none after it smaller. All are in order.
#[track_caller]
pub fn partition(x: &Array, k: i32, axis: i32) -> Array {
    attempt(|| {
        place(x, k, axis)?;
        Ok(x.sort(axis))
    })
}

/// The positions of [`partition`].
#[track_caller]
pub fn argpartition(x: &Array, k: i32, axis: i32) -> Array {
    attempt(|| {
        place(x, k, axis)?;
        Ok(x.argsort(axis))
    })
}

fn place(x: &Array, k: i32, axis: i32) -> Result<usize> {
    let a = x.aval()?;
    let axis = normalise_axis(axis.into(), a.ndim())?;
    normalise_axis(k.into(), a.shape.get(axis).copied().unwrap_or(0))
        .map_err(|_| Error::index(format!("partition of {a} at place {k}")))
}

/// A sequence without the zeros at its ends. It must be concrete.
pub fn trim_zeros(x: &Array) -> Result<Array> {
    let [n] = x.dims::<1>()?;
    let there = x.ne(0).to_vec::<bool>()?;
    let first = there.iter().position(|t| *t).unwrap_or(n);
    let last = there.iter().rposition(|t| *t).map_or(first, |i| i + 1);
    Ok(x.slice_in_dim(first, last, 0).ok()?.clone())
}

/// The elements as complex numbers in ascending order, of real, then imaginary parts.
#[track_caller]
pub fn sort_complex(x: &Array) -> Array {
    attempt(|| {
        let d = x.dtype()?;
        let wide = if d.to_inexact() == DType::F64 {
            DType::C128
        } else {
            d.complex()
        };
        Ok(x.astype(wide).sort(-1))
    })
}

/// The rows and columns of the lower triangle of a matrix, the `k`-th diagonal included.
pub fn tril_indices_from(x: &Array, k: i64) -> Result<[Array; 2]> {
    let [n, m] = x.dims::<2>()?;
    Ok(super::tril_indices(n, k, m))
}

/// The rows and columns of the upper triangle of a matrix, the `k`-th diagonal included.
pub fn triu_indices_from(x: &Array, k: i64) -> Result<[Array; 2]> {
    let [n, m] = x.dims::<2>()?;
    Ok(super::triu_indices(n, k, m))
}

/// An array with one axis moved to stand before the axis `start`.
#[track_caller]
pub fn rollaxis(x: &Array, axis: i32, start: i32) -> Array {
    attempt(|| {
        let n = x.aval()?.ndim();
        let k = normalise_axis(axis.into(), n)?;
        let start = normalise_axis(start.into(), n + 1)?;
        let to = if k < start { start - 1 } else { start };
        Ok(x.moveaxis(k as i32, to as i32))
    })
}
