//! Products of vectors, matrices and tensors.

use crate::{
    array::{Array, Dims, attempt, linalg::function::Kron, normalise_axis},
    error::{Error, Result},
    trace::op::{DotGeneral, answerable_one},
};

/// Every product of an element of `x` and one of `y`.
#[track_caller]
pub fn outer(x: &Array, y: &Array) -> Array {
    attempt(|| {
        x.ok()?;
        y.ok()?;
        Ok(x.ravel().expand_dims(-1) * y.ravel().expand_dims(0))
    })
}

/// What [`tensordot`] sums over: the last axes of one array and the first of the other, by their number; or pairs of axes.
pub trait IntoPairs {
    /// The axes of both.
    fn pairs(&self, left: usize, right: usize) -> Result<(Dims, Dims)>;
}
impl IntoPairs for usize {
    fn pairs(&self, left: usize, _: usize) -> Result<(Dims, Dims)> {
        let first = left.checked_sub(*self).ok_or_else(|| {
            Error::argument(format!("tensordot over {self} axes of an array of {left}"))
        })?;
        Ok(((first..left).collect(), (0..*self).collect()))
    }
}
impl<const N: usize> IntoPairs for ([i32; N], [i32; N]) {
    fn pairs(&self, left: usize, right: usize) -> Result<(Dims, Dims)> {
        let all = |axes: &[i32], n: usize| -> Result<Dims> {
            axes.iter()
                .map(|i| normalise_axis((*i).into(), n))
                .collect()
        };
        Ok((all(&self.0, left)?, all(&self.1, right)?))
    }
}
impl IntoPairs for (i32, i32) {
    fn pairs(&self, left: usize, right: usize) -> Result<(Dims, Dims)> {
        ([self.0], [self.1]).pairs(left, right)
    }
}

/// The sum over pairs of axes: the last `n` of `x` with the first `n` of `y`, or those named.
///
/// ```
/// use quaxide::prelude::*;
/// let (x, y) = (Array::ones([2, 3, 4], DType::F32), Array::ones([4, 2], DType::F32));
/// assert_eq!(numpy::tensordot(&x, &y, 1).shape(), [2, 3, 2]);
/// assert_eq!(numpy::tensordot(&x, &y, ([2, 0], [0, 1])).shape(), [3]);
/// ```
#[track_caller]
pub fn tensordot(x: &Array, y: &Array, axes: impl IntoPairs) -> Array {
    attempt(|| {
        let (a, b) = (x.aval()?, y.aval()?);
        let (left, right) = axes.pairs(a.ndim(), b.ndim())?;
        Ok(x.product(y, DotGeneral::new((left, right), ((), ()))))
    })
}

/// The sum of products over the last axes of both; of numbers without axes, the product.
#[track_caller]
pub fn inner(x: &Array, y: &Array) -> Array {
    attempt(|| {
        let (a, b) = (x.aval()?, y.aval()?);
        match (a.ndim().checked_sub(1), b.ndim().checked_sub(1)) {
            (Some(i), Some(j)) => Ok(x.product(y, DotGeneral::new(([i], [j]), ((), ())))),
            _ => Ok(x * y),
        }
    })
}

/// The sum of the products of all elements, those of `x` conjugated.
#[track_caller]
pub fn vdot(x: &Array, y: &Array) -> Array {
    attempt(|| {
        x.ok()?;
        y.ok()?;
        Ok(x.ravel().conj().dot(&y.ravel()))
    })
}

/// The sum of products along an axis, that of `x` conjugated; the other axes broadcast.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32, 2.], [3., 4.]]);
/// assert_eq!(numpy::vecdot(&x, &x, -1).to_vec::<f32>().unwrap(), [5.0, 25.0]);
/// ```
#[track_caller]
pub fn vecdot(x: &Array, y: &Array, axis: i32) -> Array {
    attempt(|| {
        let last = |x: &Array| -> Result<Array> {
            normalise_axis(axis.into(), x.aval()?.ndim())?;
            Ok(x.moveaxis(axis, -1))
        };
        let (x, y) = (last(x)?, last(y)?);
        let (row, column) = (x.conj().expand_dims(-2), y.expand_dims(-1));
        Ok(row.matmul(&column).squeeze([-2, -1]))
    })
}

/// Matrices times vectors: the last axis of `x` with that of `y`; the leading axes broadcast.
#[track_caller]
pub fn matvec(x: &Array, y: &Array) -> Array {
    attempt(|| {
        x.ok()?;
        Ok(x.matmul(&y.ok()?.expand_dims(-1)).squeeze(-1))
    })
}

/// Vectors, conjugated, times matrices: the last axis of `x` with the last but one of `y`; the leading axes broadcast.
#[track_caller]
pub fn vecmat(x: &Array, y: &Array) -> Array {
    attempt(|| {
        y.ok()?;
        Ok(x.ok()?.conj().expand_dims(-2).matmul(y).squeeze(-2))
    })
}

/// The Kronecker product: every element of `x` times all of `y`.
///
/// ```
/// use quaxide::prelude::*;
/// let y = numpy::kron(&Array::from([1i32, 10]), &Array::from([1i32, 2]));
/// assert_eq!(y.to_vec::<i32>().unwrap(), [1, 2, 10, 20]);
/// ```
#[track_caller]
pub fn kron(x: &Array, y: &Array) -> Array {
    attempt(|| answerable_one(Kron, &[x.ok()?.clone(), y.ok()?.clone()]))
}

pub(crate) fn kron_of(x: &Array, y: &Array) -> Result<Array> {
    let (a, b) = (x.aval()?, y.aval()?);
    let rank = a.ndim().max(b.ndim());
    let padded = |shape: &[usize]| -> Dims {
        std::iter::repeat_n(1, rank - shape.len())
            .chain(shape.iter().copied())
            .collect()
    };
    let (s, t) = (padded(&a.shape), padded(&b.shape));
    let left: Dims = s.iter().flat_map(|n| [*n, 1]).collect();
    let right: Dims = t.iter().flat_map(|n| [1, *n]).collect();
    let shape: Dims = s.iter().zip(&t).map(|(m, n)| m * n).collect();
    Ok((x.reshape(left) * y.reshape(right)).reshape(shape))
}

/// The vector product of vectors of 2 or 3 numbers along an axis of each; two of 2 give the number that stands at right angles.
///
/// ```
/// use quaxide::prelude::*;
/// let (x, y) = (Array::from([1f32, 0., 0.]), Array::from([0f32, 1., 0.]));
/// assert_eq!(numpy::cross(&x, &y, -1).to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0]);
/// ```
#[track_caller]
pub fn cross(x: &Array, y: &Array, axis: i32) -> Array {
    attempt(|| {
        let last = |x: &Array| -> Result<(Array, usize)> {
            let a = x.aval()?;
            let axis_at = normalise_axis(axis.into(), a.ndim())?;
            let n = a.shape.get(axis_at).copied().unwrap_or(0);
            if !(2..=3).contains(&n) {
                return Err(Error::shape(format!(
                    "cross takes vectors of 2 or 3 numbers, got {a} along axis {axis}"
                )));
            }
            Ok((x.moveaxis(axis, -1), n))
        };
        let ((x, n), (y, m)) = (last(x)?, last(y)?);
        let at = |x: &Array, i: usize| x.slice_in_dim(i, i + 1, -1).squeeze(-1);
        let part = |i: usize, j: usize| at(&x, i) * at(&y, j) - at(&x, j) * at(&y, i);
        Ok(match (n, m) {
            (2, 2) => part(0, 1),
            _ => {
                // A vector of two has no third part.
                let third = |x: &Array, n: usize, i: usize| match n {
                    2 if i == 2 => Array::zeros_like(&at(x, 0)),
                    _ => at(x, i),
                };
                let (a, b) = (|i| third(&x, n, i), |i| third(&y, m, i));
                let parts = [
                    a(1) * b(2) - a(2) * b(1),
                    a(2) * b(0) - a(0) * b(2),
                    a(0) * b(1) - a(1) * b(0),
                ];
                super::stack(&parts, -1).moveaxis(-1, axis)
            }
        })
    })
}

/// The matrix product: [`Array::matmul`].
#[track_caller]
pub fn matmul(x: &Array, y: &Array) -> Array {
    x.matmul(y)
}
