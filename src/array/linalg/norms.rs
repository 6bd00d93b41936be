//! Norms, and what singular values say: condition and rank.

use super::{inv, svdvals};
use crate::{
    array::{Array, DType, Dims, IntoAxes, attempt},
    error::{Error, Result},
    trace::op::remaining,
};

/// Which norm.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Norm {
    /// The root of the sum of squares: of vectors the norm of order 2, of matrices Frobenius'.
    #[default]
    Fro,
    /// The sum of the singular values, of matrices.
    Nuc,
    /// Of vectors the `p`-th root of the sum of `p`-th powers; infinite `p` give the largest and the smallest size, 0 the number of
    /// elements that are not zero. Of matrices 1 and −1 are the largest and the smallest sum of a column's sizes, ±∞ those of a
    /// row's, 2 and −2 the largest and the smallest singular value.
    Order(f64),
}

impl From<f64> for Norm {
    fn from(p: f64) -> Norm {
        Norm::Order(p)
    }
}
impl From<i32> for Norm {
    fn from(p: i32) -> Norm {
        Norm::Order(p.into())
    }
}

/// The root of the sum of squares of all elements.
///
/// ```
/// use quaxide::prelude::*;
/// assert_eq!(linalg::norm(&Array::from([[3f32, 0.], [0., 4.]])).item::<f32>().unwrap(), 5.0);
/// ```
#[track_caller]
pub fn norm(x: &Array) -> Array {
    vector_norm(x, Norm::Fro, ())
}

/// The size of each element, squared.
fn squares(x: &Array) -> Result<Array> {
    Ok(if x.dtype()?.is_complex() {
        (x * x.conj()).real()
    } else {
        x.square()
    })
}

/// A norm of the vectors along axes; several axes, or `()` for all, make one vector.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[3f32, -4.], [1., 1.]]);
/// assert_eq!(linalg::vector_norm(&x, 1, -1).to_vec::<f32>().unwrap(), [7.0, 2.0]);
/// ```
#[track_caller]
pub fn vector_norm(x: &Array, ord: impl Into<Norm>, axes: impl IntoAxes) -> Array {
    attempt(|| {
        let x = x.ok()?.inexact();
        let axes = axes.axes(x.ndim())?;
        match ord.into() {
            Norm::Fro | Norm::Order(2.0) => Ok(squares(&x)?.sum(axes).sqrt()),
            Norm::Nuc => Err(Error::argument("the nuclear norm is one of matrices")),
            Norm::Order(f64::INFINITY) => Ok(x.abs().max(axes)),
            Norm::Order(f64::NEG_INFINITY) => Ok(x.abs().min(axes)),
            Norm::Order(0.0) => Ok(x.ne(0).astype(x.dtype()?.real()).sum(axes)),
            Norm::Order(1.0) => Ok(x.abs().sum(axes)),
            Norm::Order(p) => Ok(x.abs().pow(p).sum(axes).pow(1.0 / p)),
        }
    })
}

/// A norm of the matrices on the last two axes.
#[track_caller]
pub fn matrix_norm(x: &Array, ord: impl Into<Norm>) -> Array {
    attempt(|| {
        let x = x.ok()?.inexact();
        if x.ndim() < 2 {
            return Err(Error::shape(format!("matrix_norm of {}", x.aval()?)));
        }
        let sums = |axis: i32| x.abs().sum(axis);
        match ord.into() {
            Norm::Fro => Ok(squares(&x)?.sum([-2, -1]).sqrt()),
            Norm::Nuc => Ok(svdvals(&x).sum(-1)),
            Norm::Order(1.0) => Ok(sums(-2).max(-1)),
            Norm::Order(-1.0) => Ok(sums(-2).min(-1)),
            Norm::Order(f64::INFINITY) => Ok(sums(-1).max(-1)),
            Norm::Order(f64::NEG_INFINITY) => Ok(sums(-1).min(-1)),
            Norm::Order(2.0) => Ok(svdvals(&x).max(-1)),
            Norm::Order(-2.0) => Ok(svdvals(&x).min(-1)),
            Norm::Order(p) => Err(Error::argument(format!(
                "matrices have no norm of order {p}; there are 1, -1, 2, -2 and the infinite ones"
            ))),
        }
    })
}

/// A norm over axes: of vectors along one, of matrices on two, and of the array as one vector with `()`. `jnp.linalg.norm`.
#[track_caller]
pub fn norm_over(x: &Array, ord: impl Into<Norm>, axes: impl IntoAxes) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let named = axes.axes(a.ndim())?;
        if named.len() == 2 {
            let rest = remaining(a.ndim(), &named, &[]);
            let order: Dims = rest.into_iter().chain(named).collect();
            return Ok(matrix_norm(&x.transpose(order), ord));
        }
        Ok(vector_norm(x, ord, named))
    })
}

/// The condition of matrices: how much larger relative errors become in solutions. By the norm of order 2, the largest over the smallest
/// singular value; by others, the norm times that of the inverse.
#[track_caller]
pub fn cond(x: &Array, ord: impl Into<Norm>) -> Array {
    attempt(|| match ord.into() {
        Norm::Order(p) if p.abs() == 2.0 => {
            let s = svdvals(x);
            let n = s.shape().last().copied().unwrap_or(0);
            let (first, last) = (s.slice_in_dim(0, 1, -1), s.slice_in_dim(n - 1, n, -1));
            let ratio = if p > 0.0 { first / last } else { last / first };
            Ok(ratio.squeeze(-1))
        }
        ord => Ok(matrix_norm(x, ord) * matrix_norm(&inv(x), ord)),
    })
}

/// The number of singular values above `rtol` times the largest; by default, the larger size times the type's ε. `i32`.
#[track_caller]
pub fn matrix_rank(x: &Array, rtol: impl Into<Option<f64>>) -> Array {
    let rtol = rtol.into();
    attempt(|| {
        let a = x.aval()?;
        if a.ndim() < 2 {
            return Ok(x.ne(0).any(()).astype(DType::I32));
        }
        let s = svdvals(x);
        let longest = a.shape.iter().rev().take(2).max().copied().unwrap_or(0);
        let rtol = rtol.unwrap_or(longest as f64 * epsilon(s.dtype()?));
        let least = s.slice_in_dim(0, 1, -1) * rtol;
        Ok(s.gt(least).sum(-1))
    })
}

/// The distance from 1 to the next number.
pub(super) fn epsilon(d: DType) -> f64 {
    match d.real() {
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}
