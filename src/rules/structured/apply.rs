//! A structured matrix times plain columns, in the cost of its structure.

use super::{Structure, Structured, element::rows, of, solve, toeplitz};
use crate::{
    array::{Array, Dims, numpy::concatenate},
    error::{Error, Result},
    trace::op::transposed,
};

/// The product of matrices on the last two axes, of which either may be structured. Both have the same leading axes.
pub(super) fn times(a: &Array, x: &Array) -> Result<Array> {
    match of(a) {
        Some(s) if of(x).is_none() => apply(s, x),
        _ => a.matmul(x).ok().cloned(),
    }
}

/// A vector along the last axis as one of columns.
pub(super) fn column(x: &Array) -> Array {
    x.expand_dims(-1)
}

/// More rows of zeros above and below.
fn with_rows(x: &Array, above: usize, below: usize) -> Array {
    let mut widths = vec![(0, 0); x.ndim()];
    if let Some(w) = widths.iter_mut().rev().nth(1) {
        *w = (above, below);
    }
    x.pad(&widths, 0)
}

/// `s·x`, for `x [.., m, k]` with the leading axes of `s`.
pub(super) fn apply(s: &Structured, x: &Array) -> Result<Array> {
    let [n, _] = s.size()?;
    let y = match &s.structure {
        Structure::Identity { .. } => x.clone(),
        Structure::Diagonal(d) => column(d) * x,
        Structure::Tridiagonal { lower, main, upper } => {
            let y = column(main) * x;
            match n {
                0 | 1 => y,
                _ => {
                    let below = with_rows(&(column(lower) * rows(x, 0, n - 1)), 1, 0);
                    let above = with_rows(&(column(upper) * rows(x, 1, n)), 0, 1);
                    y + below + above
                }
            }
        }
        Structure::Triangular { .. } | Structure::Symmetric { .. } => stored(s)?.matmul(x),
        Structure::Toeplitz { column, row } => toeplitz::product(column, row, x)?,
        Structure::Circulant(c) => toeplitz::circulate(c, x)?,
        Structure::Kronecker(factors) => kronecker(factors, x, times)?,
        Structure::BlockDiagonal(groups) => blocks(groups, x, 0, |g, x| g.matmul(x).ok().cloned())?,
        Structure::Permutation { from, .. } => permuted(from, x),
        Structure::LowRank { base, u, v } => {
            let y = u.matmul(&v.matmul(x));
            match base {
                Some(b) => times(b, x)? + y,
                None => y,
            }
        }
        Structure::Sum(parts) => {
            let mut sum: Option<Array> = None;
            for p in parts {
                let y = times(p, x)?;
                sum = Some(match sum {
                    Some(s) => s + y,
                    None => y,
                });
            }
            sum.ok_or_else(|| Error::internal("a sum of nothing"))?
        }
        Structure::Product(parts) => parts
            .iter()
            .rev()
            .try_fold(x.clone(), |x, p| times(p, &x))?,
        Structure::Inverse(a) => solve::solution(a, x)?,
    };
    y.ok().cloned()
}

/// The rows of `x` in the order that a permutation says.
pub(super) fn permuted(from: &Array, x: &Array) -> Array {
    match from.ndim() {
        1 => x.take(from, -2),
        _ => x.take_along_axis(&column(from), -2),
    }
}

/// The elements of a matrix that is stored whole: triangular ones without what is not read, symmetric ones with both triangles.
pub(super) fn stored(s: &Structured) -> Result<Array> {
    let y = match &s.structure {
        Structure::Triangular { matrix, lower } => match lower {
            true => crate::numpy::tril(matrix, 0),
            false => crate::numpy::triu(matrix, 0),
        },
        Structure::Symmetric { matrix, .. } => {
            let below = crate::numpy::tril(matrix, 0);
            below + transposed(&crate::numpy::tril(matrix, -1))
        }
        _ => return Err(Error::internal("a structure that is not stored whole")),
    };
    y.ok().cloned()
}

fn size(x: &Array, back: usize) -> usize {
    x.shape().iter().rev().nth(back).copied().unwrap_or(0)
}

fn lead(x: &Array, own: usize) -> Dims {
    let shape = x.shape();
    let k = shape.len().saturating_sub(own);
    shape.iter().take(k).copied().collect()
}

fn shape(batch: &Dims, own: &[usize]) -> Dims {
    batch.iter().chain(own).copied().collect()
}

/// Factors of a Kronecker product, each along its own axis of the rows: `f` of a factor and columns.
pub(super) fn kronecker(
    factors: &[Array],
    x: &Array,
    f: impl Fn(&Array, &Array) -> Result<Array>,
) -> Result<Array> {
    let (batch, columns) = (lead(x, 2), size(x, 0));
    let mut x = x.clone();
    // What the rows consist of: results of factors that are done, then operands of those that follow.
    let mut done = 1;
    for (i, a) in factors.iter().enumerate() {
        let rest: usize = factors.iter().skip(i + 1).map(|b| size(b, 0)).product();
        let (n, m) = (size(a, 1), size(a, 0));
        let k = batch.len();
        let order: Dims = (0..k).chain([k + 1, k, k + 2]).collect();
        let wide = x
            .reshape(shape(&batch, &[done, m, rest * columns]))
            .transpose(&order)
            .reshape(shape(&batch, &[m, done * rest * columns]));
        let y = f(a, &wide)?;
        x = y
            .reshape(shape(&batch, &[n, done, rest * columns]))
            .transpose(&order);
        done *= n;
    }
    x.reshape(shape(&batch, &[done, columns])).ok().cloned()
}

/// `f` of each group of blocks and of its rows of `x`, which are as many as the blocks' axis `axis` from the end has.
pub(super) fn blocks(
    groups: &[Array],
    x: &Array,
    axis: usize,
    f: impl Fn(&Array, &Array) -> Result<Array>,
) -> Result<Array> {
    let (batch, columns) = (lead(x, 2), size(x, 0));
    let (mut from, mut parts) = (0, vec![]);
    for g in groups {
        let (k, q) = (size(g, 2), size(g, axis));
        let part = match groups.len() {
            1 => x.clone(),
            _ => rows(x, from, from + k * q),
        };
        from += k * q;
        let y = f(g, &part.reshape(shape(&batch, &[k, q, columns])))?;
        let p = size(&y, 1);
        parts.push(y.reshape(shape(&batch, &[k * p, columns])));
    }
    match &parts[..] {
        [one] => one.ok().cloned(),
        _ => concatenate(&parts, -2).ok().cloned(),
    }
}
