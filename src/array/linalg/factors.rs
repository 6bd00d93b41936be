//! Eigenvalues of any matrix, reductions by reflections, tridiagonal systems.

use super::function;
use crate::{
    array::{Array, DType, operators::attempt},
    error::{Error, Result},
    trace::{
        bind_all, here,
        op::{Factor, answerable_one},
        with_location,
    },
};

/// The results of a [`Factor`], as many as are asked for.
#[track_caller]
fn factors<const N: usize>(op: Factor, x: &[&Array]) -> Result<[Array; N]> {
    with_location(here(), || {
        let x: Vec<Array> = x.iter().map(|x| x.inexact()).collect();
        bind_all(op, &x)?
            .try_into()
            .map_err(|_| Error::internal("a decomposition lost a result"))
    })
}

/// The eigenvalues `w` of any square matrix, complex, and vectors `v` as columns of length 1, with `x·v = v·diag(w)`.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let [w, _] = linalg::eig(&Array::from([[0f32, 1.], [-1., 0.]])).unwrap();
/// assert!(w.real().abs().max(()).item::<f32>().unwrap() < 1e-6);
/// ```
#[track_caller]
pub fn eig(x: &Array) -> Result<[Array; 2]> {
    let right = Factor::Eig {
        left: false,
        right: true,
    };
    factors(right, &[x])
}

/// The eigenvalues of any square matrix, complex, in no particular order. They have a derivative where they are distinct.
#[track_caller]
pub fn eigvals(x: &Array) -> Array {
    attempt(|| answerable_one(function::EigVals, &[x.ok()?.inexact()]))
}

pub(super) fn values_alone(x: &Array) -> Result<Array> {
    let none = Factor::Eig {
        left: false,
        right: false,
    };
    factors(none, &[x]).map(|[w]| w)
}

/// The Schur form: `t` and a unitary `z` with `x = z·t·zᴴ`. Of a complex matrix `t` is upper triangular; of a real one both are real,
/// and a pair of eigenvalues that are not is a block of two rows on the diagonal: `lax.linalg.schur`.
#[track_caller]
pub fn schur(x: &Array) -> Result<[Array; 2]> {
    factors(Factor::Schur { vectors: true }, &[x])
}

/// The Hessenberg form of a square matrix, zero below the first subdiagonal, with the reflections that lead to it in the place of
/// those zeros, and their `τ`: `lax.linalg.hessenberg`.
#[track_caller]
pub fn hessenberg(x: &Array) -> Result<[Array; 2]> {
    factors(Factor::Hessenberg, &[x])
}

/// A Hermitian matrix brought to three diagonals by reflections: the matrix with the reflections, the diagonal, its neighbour, and the
/// `τ`: `lax.linalg.tridiagonal`.
#[track_caller]
pub fn tridiagonal(x: &Array, lower: bool) -> Result<[Array; 4]> {
    factors(Factor::Tridiagonal { lower }, &[x])
}

/// The solution of a system with three diagonals: the lower one, whose first element is not read, the main one, the upper one, whose
/// last element is not read, and right sides as columns: `lax.linalg.tridiagonal_solve`.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let (beside, main) = (Array::from([1f32, 1., 1.]), Array::from([2f32, 2., 2.]));
/// let x = linalg::tridiagonal_solve(&beside, &main, &beside, &Array::from([[3f32], [4.], [3.]]));
/// assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 1.0, 1.0]);
/// ```
#[track_caller]
pub fn tridiagonal_solve(lower: &Array, main: &Array, upper: &Array, b: &Array) -> Array {
    attempt(|| factors(Factor::TridiagonalSolve, &[lower, main, upper, b]).map(|[x]| x))
}

/// `r` of the columns in such an order that those come first of which most is left, with the reflections of `q` below it; the order,
/// counted from one; and the `τ`. Columns with a number that is not 0 in `first` come first: `geqp3` of LAPACK.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let x = Array::from([[1f64, 30.], [2., 40.]]);
/// let [r, order, _] = linalg::geqp3(&x, &Array::from([0i32, 0])).unwrap();
/// assert_eq!(order.to_vec::<i32>().unwrap(), [2, 1]);
/// assert!((r.to_vec::<f64>().unwrap()[0] + 50.0).abs() < 1e-12);
/// ```
#[track_caller]
pub fn geqp3(x: &Array, first: &Array) -> Result<[Array; 3]> {
    with_location(here(), || {
        bind_all(Factor::Geqp3, &[x.inexact(), first.astype(DType::I32)])?
            .try_into()
            .map_err(|_| Error::internal("a decomposition lost a result"))
    })
}

/// The product of reflections, as [`Factor::Geqrf`] gives them, with another matrix, on its left or on its right; or of its adjoint:
/// `lax.linalg.ormqr`.
#[track_caller]
pub fn ormqr(x: &Array, taus: &Array, c: &Array, left: bool, transpose: bool) -> Array {
    attempt(|| factors(Factor::Ormqr { left, transpose }, &[x, taus, c]).map(|[y]| y))
}

/// The first columns of the product of reflections that stand below the diagonal of a matrix, as [`Factor::Geqrf`] gives them:
/// `lax.linalg.householder_product`.
#[track_caller]
pub fn householder_product(x: &Array, taus: &Array) -> Array {
    attempt(|| factors(Factor::HouseholderProduct, &[x, taus]).map(|[q]| q))
}
