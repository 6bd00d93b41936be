//! Linear algebra as `jax.numpy.linalg` names it: on the last two axes, for every place along the others.
//!
//! Integers become `f32` first. Functions that have one result return an array in the error state where a matrix does not fit;
//! those with several return a `Result`. The work is done in double precision.

mod factors;
pub mod function;
mod norms;
mod solve;

pub use super::numpy::{cross, diagonal, matmul, outer, tensordot, trace, vecdot};
pub use factors::*;
pub use norms::*;
pub use solve::*;

use super::{Array, DType, Dims, methods::promoted, numpy::tril, operators::attempt};
use crate::{
    error::{Error, Result},
    trace::{
        bind, bind_all, here,
        op::{
            Linalg, Reduce, Reducer, TriangularSolve, adjoint, answerable, answerable_one,
            diagonal as diagonals, permuted, solve_triangle, transposed,
        },
        poison, with_location,
    },
};

#[track_caller]
fn several<const N: usize>(op: Linalg, x: &Array) -> Result<[Array; N]> {
    with_location(here(), || {
        bind_all(op, &[x.inexact()])?
            .try_into()
            .map_err(|_| Error::internal("a decomposition lost a result"))
    })
}

/// The mean of a matrix and its conjugate transpose.
fn symmetrised(x: &Array) -> Array {
    (x + adjoint(x)) / 2.0
}

/// The lower triangular `l` with `l·lᴴ = x`, for positive definite matrices; NaN for others. The matrix is made Hermitian first.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let l = linalg::cholesky(&Array::from([[4f32, 2.], [2., 5.]]));
/// assert_eq!(l.to_vec::<f32>().unwrap(), [2.0, 0.0, 1.0, 2.0]);
/// ```
#[track_caller]
pub fn cholesky(x: &Array) -> Array {
    attempt(|| answerable_one(function::Cholesky, &[x.ok()?.inexact()]))
}

fn lower_factor(x: &Array) -> Result<Array> {
    let x = symmetrised(x);
    tril(&bind(Linalg::Cholesky, &[&x]), 0).ok().cloned()
}

/// Solves `a·x = b` for a triangular `a`, of which only the triangle is read; see [`TriangularSolve`] for the other systems.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let a = Array::from([[2f32, 0.], [1., 4.]]);
/// let x = linalg::solve_triangular(&a, &Array::from([[2f32], [9.]]), true);
/// assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// ```
#[track_caller]
pub fn solve_triangular(a: &Array, b: &Array, lower: bool) -> Array {
    triangular_solve(
        a,
        b,
        TriangularSolve {
            conjugate_a: false,
            left_side: true,
            lower,
            transpose_a: false,
            unit_diagonal: false,
        },
    )
}

/// Solves a triangular system: `lax.linalg.triangular_solve`. Both operands have the same leading axes.
#[track_caller]
pub fn triangular_solve(a: &Array, b: &Array, how: TriangularSolve) -> Array {
    attempt(|| {
        a.ok()?;
        b.ok()?;
        Ok(solve_triangle(&a.inexact(), &b.inexact(), how))
    })
}

/// `x[p] = l·u`: both triangles in one matrix (the unit diagonal of `l` left out), the pivots, and the permutation `p`.
#[track_caller]
pub fn lu(x: &Array) -> Result<[Array; 3]> {
    several(Linalg::Lu, x)
}

/// `x = q·r`, thin: `q` has orthonormal columns and `r` is upper triangular.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let x = Array::from([[3f64, 1.], [4., 2.]]);
/// let [q, r] = linalg::qr(&x, false).unwrap();
/// let error = (q.matmul(&r) - &x).abs().max(()).item::<f64>().unwrap();
/// assert!(error < 1e-14);
/// ```
#[track_caller]
pub fn qr(x: &Array, full_matrices: bool) -> Result<[Array; 2]> {
    let op = Linalg::Qr {
        full_matrices,
        pivoting: false,
    };
    several(op, x)
}

/// `x[:, p] = q·r`, with the columns in the order `p` in which each has the most left that those before it do not span: `q`, `r`, `p`.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let x = Array::from([[3f64, 5.], [4., 12.]]);
/// let [_, r, p] = linalg::qr_pivoted(&x, false).unwrap();
/// assert_eq!(p.to_vec::<i32>().unwrap(), [1, 0]);
/// assert!((r.abs().index((0, 0)).item::<f64>().unwrap() - 13.0).abs() < 1e-12);
/// ```
#[track_caller]
pub fn qr_pivoted(x: &Array, full_matrices: bool) -> Result<[Array; 3]> {
    let op = Linalg::Qr {
        full_matrices,
        pivoting: true,
    };
    several(op, x)
}

/// The eigenvalues of a Hermitian matrix, ascending, and its eigenvectors as columns. The matrix is made Hermitian first.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let [w, _] = linalg::eigh(&Array::from([[2f64, 1.], [1., 2.]])).unwrap();
/// let w = w.to_vec::<f64>().unwrap();
/// assert!((w[0] - 1.0).abs() < 1e-12 && (w[1] - 3.0).abs() < 1e-12);
/// ```
#[track_caller]
pub fn eigh(x: &Array) -> Result<[Array; 2]> {
    with_location(here(), || {
        answerable(function::Eigh, &[x.ok()?.inexact()])?
            .try_into()
            .map_err(|_| Error::internal("a decomposition lost a result"))
    })
}

fn hermitian(x: &Array) -> Result<[Array; 2]> {
    let [v, w] = several(Linalg::Eigh { lower: true }, &symmetrised(x))?;
    Ok([w, v])
}

/// The eigenvalues of a Hermitian matrix, ascending.
#[track_caller]
pub fn eigvalsh(x: &Array) -> Array {
    attempt(|| eigh(x).map(|[w, _]| w))
}

/// `x = u·diag(s)·vᴴ`: `u`, `s` (descending) and `vᴴ`; thin unless `full_matrices`.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let x = Array::from([[3f64, 0.], [0., -4.], [0., 0.]]);
/// let [u, s, vh] = linalg::svd(&x, false).unwrap();
/// assert_eq!(s.to_vec::<f64>().unwrap(), [4.0, 3.0]);
/// assert_eq!((u * s).matmul(&vh).to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
/// ```
#[track_caller]
pub fn svd(x: &Array, full_matrices: bool) -> Result<[Array; 3]> {
    let op = Linalg::Svd {
        compute_uv: true,
        full_matrices,
    };
    let [s, u, vh] = several(op, x)?;
    Ok([u, s, vh])
}

/// The singular values, descending.
#[track_caller]
pub fn svdvals(x: &Array) -> Array {
    attempt(|| answerable_one(function::SvdVals, &[x.ok()?.inexact()]))
}

fn singular(x: &Array) -> Result<Array> {
    let op = Linalg::Svd {
        compute_uv: false,
        full_matrices: false,
    };
    several::<1>(op, x).map(|[s]| s)
}

fn square(name: &str, x: &Array) -> Result<usize> {
    let a = x.aval()?;
    match a.shape[..] {
        [.., m, n] if m == n => Ok(n),
        _ => Err(Error::shape(format!(
            "{name} needs square matrices, got {a}"
        ))),
    }
}

/// Solves `a·x = b` by elimination with pivoting; `b` is a vector, or a matrix of right sides; leading axes broadcast.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let a = Array::from([[0f32, 2.], [1., 1.]]);
/// let x = linalg::solve(&a, &Array::from([4f32, 5.]));
/// assert_eq!(x.to_vec::<f32>().unwrap(), [3.0, 2.0]);
/// ```
#[track_caller]
pub fn solve(a: &Array, b: &Array) -> Array {
    attempt(|| {
        a.ok()?;
        b.ok()?;
        let (a, b) = promoted(&a.inexact(), &b.inexact())?;
        answerable_one(function::Solve, &[a, b])
    })
}

fn solved(a: &Array, b: &Array) -> Result<Array> {
    let n = square("solve", a)?;
    let (s, t) = (a.aval()?, b.aval()?);
    let vector = t.ndim() == 1;
    let b = if vector { b.expand_dims(-1) } else { b.clone() };
    let rows = b.shape();
    let rows = rows.len().checked_sub(2).and_then(|i| rows.get(i).copied());
    if rows != Some(n) {
        return Err(Error::shape(format!(
            "solve: {s} does not fit a right side {t}"
        )));
    }
    let lead = |x: &Array| -> Dims {
        let shape = x.shape();
        shape.iter().take(shape.len() - 2).copied().collect()
    };
    let Some(shared) = super::broadcast_shapes(&lead(a), &lead(&b)) else {
        return Err(Error::shape(format!(
            "solve: the leading axes of {s} and {t} do not broadcast"
        )));
    };
    let spread = |x: &Array| {
        let mut shape = shared.clone();
        shape.extend(x.shape().iter().skip(x.ndim() - 2).copied());
        x.broadcast_to(shape)
    };
    let (a, b) = (spread(a), spread(&b));
    let [lu, _, permutation] = lu(&a)?;
    let below = TriangularSolve {
        conjugate_a: false,
        left_side: true,
        lower: true,
        transpose_a: false,
        unit_diagonal: true,
    };
    let above = TriangularSolve {
        lower: false,
        unit_diagonal: false,
        ..below
    };
    let ordered = permuted(&b, &permutation);
    let x = solve_triangle(&lu, &solve_triangle(&lu, &ordered, below), above);
    Ok(if vector { x.squeeze(-1) } else { x })
}

/// The inverse of square matrices.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// let x = linalg::inv(&Array::from([[2f32, 0.], [0., 4.]]));
/// assert_eq!(x.to_vec::<f32>().unwrap(), [0.5, 0.0, 0.0, 0.25]);
/// ```
#[track_caller]
pub fn inv(x: &Array) -> Array {
    attempt(|| answerable_one(function::Inv, &[x.ok()?.inexact()]))
}

fn inverse(x: &Array) -> Result<Array> {
    let n = square("inv", x)?;
    solve(x, &Array::eye(n, x.dtype()?)).ok().cloned()
}

/// 1 or −1: the sign of the permutation that pivots make.
fn parity(pivots: &Array) -> Array {
    let n = pivots.shape().last().copied().unwrap_or(0);
    let moved = pivots
        .ne(Array::arange(n, DType::I32))
        .astype(DType::I32)
        .sum(-1);
    1 - 2 * (moved & 1)
}

/// The determinant of square matrices.
///
/// ```
/// use quaxide::{array::linalg, prelude::*};
/// assert_eq!(linalg::det(&Array::from([[2f32, 1.], [4., 5.]])).item::<f32>().unwrap(), 6.0);
/// ```
#[track_caller]
pub fn det(x: &Array) -> Array {
    attempt(|| answerable_one(function::Det, &[x.ok()?.inexact()]))
}

fn determinant(x: &Array) -> Result<Array> {
    let n = square("det", x)?;
    if n == 0 {
        let a = x.aval()?;
        let lead: Dims = a.shape.iter().take(a.ndim() - 2).copied().collect();
        return Ok(Array::ones(lead, a.dtype));
    }
    // Small ones by their polynomial, whose derivative is right for singular matrices too.
    let at = |i: usize, j: usize| x.slice_in_dim(i, i + 1, -2).slice_in_dim(j, j + 1, -1);
    let minor = |i: usize, j: usize, k: usize, l: usize| at(i, k) * at(j, l) - at(i, l) * at(j, k);
    let small = match n {
        1 => at(0, 0),
        2 => minor(0, 1, 0, 1),
        3 => {
            at(0, 0) * minor(1, 2, 1, 2) - at(0, 1) * minor(1, 2, 0, 2)
                + at(0, 2) * minor(1, 2, 0, 1)
        }
        _ => {
            let [lu, pivots, _] = lu(x)?;
            let axis = lu.ndim() - 2;
            let product = Reduce {
                reducer: Reducer::Prod,
                axes: Dims::from_slice(&[axis]),
            };
            let product = bind(product, &[&diagonals(&lu)]);
            return Ok(product * parity(&pivots).astype(x.dtype()?));
        }
    };
    Ok(small.squeeze([-2, -1]))
}

/// The sign of the determinant (for complex matrices its phase), and the logarithm of its absolute value.
#[track_caller]
pub fn slogdet(x: &Array) -> Result<[Array; 2]> {
    with_location(here(), || {
        answerable(function::SlogDet, &[x.ok()?.inexact()])
            .inspect_err(poison)?
            .try_into()
            .map_err(|_| Error::internal("a determinant lost a result"))
    })
}

fn log_determinant(x: &Array) -> Result<[Array; 2]> {
    let n = square("slogdet", x)?;
    let [lu, pivots, _] = lu(x)?;
    let sign = parity(&pivots).astype(x.dtype()?);
    if n == 0 {
        return Ok([sign.clone(), sign.real().log()]);
    }
    let on_diagonal = diagonals(&lu);
    let axis = on_diagonal.ndim() - 1;
    let product = Reduce {
        reducer: Reducer::Prod,
        axes: Dims::from_slice(&[axis]),
    };
    let sign = sign * bind(product, &[&on_diagonal.sign()]);
    let size = on_diagonal.abs().log().sum(-1);
    sign.ok()?;
    Ok([sign, size.ok()?.clone()])
}

/// `xᵀ` on the last two axes.
#[track_caller]
pub fn matrix_transpose(x: &Array) -> Array {
    attempt(|| {
        x.ok()?;
        Ok(transposed(x))
    })
}
