//! Solutions and products: least squares, pseudoinverses, powers and chains of matrices, tensors as matrices.

use super::{Norm, adjoint, function, inv, norms::epsilon, solve, square, svd, vector_norm};
use crate::{
    array::{Array, Dims, attempt, inexact_together, normalise_axis},
    error::{Error, Result},
    trace::op::{answerable_one, remaining},
};

/// The solution of `a·x ≈ b` with the least sum of squares (and, of several, the shortest), the sums of squares that remain, the rank of
/// `a` and its singular values. Singular values below `rcond` times the largest count as zeros; JAX's default is ε times the larger
/// size. `b` is a vector or a matrix of right sides.
///
/// ```
/// use quaxide::prelude::*;
/// let a = Array::from([[1f64, 0.], [0., 1.], [0., 0.]]);
/// let [x, rest, ..] = linalg::lstsq(&a, &Array::from([2f64, 3., 4.]), 1e-12).unwrap();
/// assert!(x.allclose(Array::from([2f64, 3.]), 1e-12, 0.0, false).item::<bool>().unwrap());
/// assert!((rest.sum(()).item::<f64>().unwrap() - 16.0).abs() < 1e-12);
/// ```
pub fn lstsq(a: &Array, b: &Array, rcond: f64) -> Result<[Array; 4]> {
    let both = inexact_together(&[a, b])?;
    let [a, b] = &both[..] else {
        return Err(Error::internal("lstsq takes two arrays"));
    };
    let (s, t) = (a.aval()?, b.aval()?);
    let rows = match (&s.shape[..], &t.shape[..]) {
        ([m, _], [n] | [n, _]) if m == n => b.clone(),
        _ => {
            return Err(Error::shape(format!(
                "lstsq: the matrix {s} does not fit a right side {t}"
            )));
        }
    };
    let vector = t.ndim() == 1;
    let rows = if vector { rows.expand_dims(-1) } else { rows };
    let [u, sigma, vh] = svd(a, false)?;
    let kept = sigma.ge(sigma.slice_in_dim(0, 1, 0) * rcond);
    let inverse = kept.select(1.0 / kept.select(&sigma, 1.0), 0.0);
    let coordinates = adjoint(&u).dot(&rows) * inverse.expand_dims(-1).astype(s.dtype);
    let x = adjoint(&vh).dot(&coordinates);
    let rest = vector_norm(&(&rows - a.dot(&x)), Norm::Fro, 0).square();
    let x = if vector { x.squeeze(-1) } else { x };
    let rank = kept.sum(());
    Ok([
        x.ok()?.clone(),
        rest.ok()?.clone(),
        rank.ok()?.clone(),
        sigma,
    ])
}

/// The pseudoinverse (Moore and Penrose), with singular values below `10·max(m, n)·ε` times the largest taken as zeros.
#[track_caller]
pub fn pinv(x: &Array) -> Array {
    pinv_with(x, None)
}

/// As [`pinv`], with singular values below `rtol` times the largest taken as zeros.
#[track_caller]
pub fn pinv_with(x: &Array, rtol: impl Into<Option<f64>>) -> Array {
    let rtol = rtol.into();
    attempt(|| {
        let x = x.ok()?.inexact();
        let a = x.aval()?;
        let [u, s, vh] = svd(&x, false)?;
        let longest = a.shape.iter().rev().take(2).max().copied().unwrap_or(0);
        let rtol = rtol.unwrap_or(10.0 * longest as f64 * epsilon(a.dtype));
        let kept = s.gt(s.slice_in_dim(0, 1, -1) * rtol);
        let inverse = kept.select(1.0 / kept.select(&s, 1.0), 0.0);
        let scaled = adjoint(&vh) * inverse.expand_dims(-2).astype(a.dtype);
        Ok(scaled.matmul(&adjoint(&u)))
    })
}

/// Square matrices to an integer power, by squaring; negative powers are those of the inverse.
///
/// ```
/// use quaxide::prelude::*;
/// let x = linalg::matrix_power(&Array::from([[1i32, 1], [1, 0]]), 5);
/// assert_eq!(x.to_vec::<i32>().unwrap(), [8, 5, 5, 3]);
/// ```
#[track_caller]
pub fn matrix_power(x: &Array, n: i32) -> Array {
    attempt(|| answerable_one(function::MatrixPower { n }, &[x.ok()?.clone()]))
}

pub(super) fn power(x: &Array, n: i32) -> Result<Array> {
    let size = square("matrix_power", x)?;
    let mut base = if n < 0 { inv(x) } else { x.clone() };
    let mut n = n.unsigned_abs();
    if n == 0 {
        let one = Array::eye(size, x.dtype()?);
        return Ok(one.broadcast_to(x.shape()));
    }
    let mut result: Option<Array> = None;
    loop {
        if n & 1 == 1 {
            result = Some(result.map_or_else(|| base.clone(), |r| r.matmul(&base)));
        }
        n >>= 1;
        if n == 0 {
            return result.ok_or_else(|| Error::internal("matrix_power"));
        }
        base = base.matmul(&base);
    }
}

/// The product of matrices in the order of the fewest multiplications; the first and the last may be vectors.
///
/// ```
/// use quaxide::prelude::*;
/// let x = |n, m| Array::ones([n, m], DType::F32);
/// assert_eq!(linalg::multi_dot(&[&x(2, 30), &x(30, 3), &x(3, 4)]).shape(), [2, 4]);
/// ```
#[track_caller]
pub fn multi_dot(matrices: &[&Array]) -> Array {
    attempt(|| {
        let [first, .., last] = matrices else {
            return Err(Error::argument("multi_dot takes two arrays or more"));
        };
        let (row, column) = (first.ndim() == 1, last.ndim() == 1);
        let mut chain: Vec<Array> = matrices.iter().map(|x| (*x).clone()).collect();
        if let (true, Some(x)) = (row, chain.first_mut()) {
            *x = x.expand_dims(0);
        }
        if let (true, Some(x)) = (column, chain.last_mut()) {
            *x = x.expand_dims(-1);
        }
        let mut sizes = vec![];
        for (i, x) in chain.iter().enumerate() {
            let [n, m] = x.dims::<2>()?;
            if i == 0 {
                sizes.push(n);
            }
            sizes.push(m);
        }
        let y = product(&chain, &sizes)?;
        Ok(match (row, column) {
            (true, true) => y.squeeze([0, 1]),
            (true, false) => y.squeeze(0),
            (false, true) => y.squeeze(1),
            (false, false) => y,
        })
    })
}

/// The cheapest way to multiply a chain, by its sizes: Cormen and others, *Introduction to Algorithms*, 15.2.
fn product(chain: &[Array], sizes: &[usize]) -> Result<Array> {
    let n = chain.len();
    let mut cost = vec![vec![0f64; n]; n];
    let mut cut = vec![vec![0usize; n]; n];
    let size = |i: usize| sizes.get(i).copied().unwrap_or(0) as f64;
    let of = |cost: &[Vec<f64>], i: usize, j: usize| -> f64 {
        cost.get(i).and_then(|r| r.get(j)).copied().unwrap_or(0.0)
    };
    for length in 1..n {
        for i in 0..n - length {
            let j = i + length;
            let mut best = (f64::INFINITY, i);
            for k in i..j {
                let c = of(&cost, i, k) + of(&cost, k + 1, j) + size(i) * size(k + 1) * size(j + 1);
                if c < best.0 {
                    best = (c, k);
                }
            }
            if let (Some(c), Some(k)) = (
                cost.get_mut(i).and_then(|r| r.get_mut(j)),
                cut.get_mut(i).and_then(|r| r.get_mut(j)),
            ) {
                (*c, *k) = best;
            }
        }
    }
    fn multiply(chain: &[Array], cut: &[Vec<usize>], i: usize, j: usize) -> Result<Array> {
        if i == j {
            return chain
                .get(i)
                .cloned()
                .ok_or_else(|| Error::internal("multi_dot lost a matrix"));
        }
        let k = cut.get(i).and_then(|r| r.get(j)).copied().unwrap_or(i);
        Ok(multiply(chain, cut, i, k)?.dot(&multiply(chain, cut, k + 1, j)?))
    }
    multiply(chain, &cut, 0, n - 1)
}

/// The inverse of a tensor as a map from its last axes to its first `n`.
#[track_caller]
pub fn tensorinv(x: &Array, n: usize) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let (first, last) = a
            .shape
            .split_at_checked(n)
            .ok_or_else(|| Error::argument(format!("tensorinv of {a}: {n} first axes")))?;
        let rows: usize = first.iter().product();
        let columns: usize = last.iter().product();
        let shape: Dims = last.iter().chain(first).copied().collect();
        Ok(inv(&x.reshape([rows, columns])).reshape(shape))
    })
}

/// The `x` with `tensordot(a, x, x.ndim()) = b`. The axes of `a` that are named go to its end first.
#[track_caller]
pub fn tensorsolve(a: &Array, b: &Array, axes: &[i32]) -> Array {
    attempt(|| {
        let n = a.aval()?.ndim();
        let moved = axes
            .iter()
            .map(|i| normalise_axis((*i).into(), n))
            .collect::<Result<Dims>>()?;
        let rest = remaining(n, &moved, &[]);
        let a = a.transpose(rest.into_iter().chain(moved).collect::<Dims>());
        let shape: Dims = a.shape().iter().skip(b.ndim()).copied().collect();
        let columns: usize = shape.iter().product();
        let matrix = a.reshape([b.size(), columns]);
        Ok(solve(&matrix, &b.ravel()).reshape(shape))
    })
}
