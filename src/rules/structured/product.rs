//! Transposes and products of structured matrices, each in the tightest structure that it has.

use super::{
    Structure, Structured,
    apply::{apply, column, times},
    of, toeplitz,
};
use crate::{
    array::Array,
    error::{Error, Result},
    trace::op::transposed,
};

/// The transpose of a matrix, plain or structured.
pub(super) fn transpose_of(x: &Array) -> Result<Array> {
    match of(x) {
        Some(s) => Ok(transpose(s)?.array()),
        None => transposed(x).ok().cloned(),
    }
}

pub(super) fn transpose(s: &Structured) -> Result<Structured> {
    let all = |x: &[Array]| x.iter().map(transpose_of).collect::<Result<Vec<_>>>();
    Ok(s.with(match &s.structure {
        Structure::Identity { .. } | Structure::Diagonal(_) | Structure::Symmetric { .. } => {
            return Ok(s.clone());
        }
        Structure::Tridiagonal { lower, main, upper } => Structure::Tridiagonal {
            lower: upper.clone(),
            main: main.clone(),
            upper: lower.clone(),
        },
        Structure::Triangular { matrix, lower } => Structure::Triangular {
            matrix: transposed(matrix),
            lower: !lower,
        },
        Structure::Toeplitz { column, row } => Structure::Toeplitz {
            // The corner stands in the column.
            column: cornered(row, column),
            row: column.clone(),
        },
        Structure::Circulant(c) => Structure::Circulant(turned(c)),
        Structure::Kronecker(x) => Structure::Kronecker(all(x)?),
        Structure::BlockDiagonal(x) => Structure::BlockDiagonal(x.iter().map(transposed).collect()),
        Structure::Permutation { from, dtype } => Structure::Permutation {
            from: from.argsort(-1),
            dtype: *dtype,
        },
        Structure::LowRank { base, u, v } => Structure::LowRank {
            base: base.as_ref().map(transpose_of).transpose()?,
            u: transposed(v),
            v: transposed(u),
        },
        Structure::Sum(x) => Structure::Sum(all(x)?),
        Structure::Product(x) => {
            let mut x = all(x)?;
            x.reverse();
            Structure::Product(x)
        }
        Structure::Inverse(x) => Structure::Inverse(transpose_of(x)?),
    }))
}

/// A vector with its first element from another.
fn cornered(x: &Array, corner: &Array) -> Array {
    let n = x.shape().last().copied().unwrap_or(0);
    let first = corner.slice_in_dim(0, 1, -1);
    match n {
        0 | 1 => first,
        _ => crate::numpy::concatenate(&[first, x.slice_in_dim(1, n, -1)], -1),
    }
}

/// The first row of a circulant matrix: its first column, backwards and around.
fn turned(c: &Array) -> Array {
    cornered(&c.flip([-1]).roll(1, -1), c)
}

/// Is every element of it in memory anyway?
pub(super) fn is_stored(x: &Array) -> bool {
    of(x).is_none_or(|s| {
        matches!(
            s.structure,
            Structure::Triangular { .. } | Structure::Symmetric { .. }
        )
    })
}

/// The inner sizes of factors, if those of two products fit each other.
fn factors_fit(x: &[Array], y: &[Array]) -> bool {
    let size = |x: &Array, back: usize| x.shape().iter().rev().nth(back).copied();
    x.len() == y.len() && x.iter().zip(y).all(|(a, b)| size(a, 0) == size(b, 1))
}

/// The product of two structured matrices of the same leading axes.
pub(super) fn product(s: &Structured, t: &Structured) -> Result<Array> {
    use Structure::{
        BlockDiagonal, Circulant, Diagonal, Identity, Kronecker, LowRank, Permutation, Product,
        Triangular, Tridiagonal,
    };
    let keep = Structured {
        structure: s.structure.clone(),
        allow_materialise: s.allow_materialise && t.allow_materialise,
    };
    let done = |x: Structure| Ok(keep.with(x).array());
    let scaled_rows = |d: &Array, x: &Array| column(d) * x;
    let n = s.size()?[1];
    match (&s.structure, &t.structure) {
        (Identity { .. }, _) => Ok(t.clone().array()),
        (_, Identity { .. }) => Ok(s.clone().array()),
        (Diagonal(a), Diagonal(b)) => done(Diagonal(a * b)),
        (Diagonal(d), Tridiagonal { lower, main, upper }) => done(Tridiagonal {
            lower: d.slice_in_dim(1, n, -1) * lower,
            main: d * main,
            upper: d.slice_in_dim(0, n - 1, -1) * upper,
        }),
        (Tridiagonal { lower, main, upper }, Diagonal(d)) => done(Tridiagonal {
            lower: lower * d.slice_in_dim(0, n - 1, -1),
            main: main * d,
            upper: upper * d.slice_in_dim(1, n, -1),
        }),
        (Diagonal(d), Triangular { matrix, lower }) => done(Triangular {
            matrix: scaled_rows(d, matrix),
            lower: *lower,
        }),
        (Triangular { matrix, lower }, Diagonal(d)) => done(Triangular {
            matrix: matrix * d.expand_dims(-2),
            lower: *lower,
        }),
        (Triangular { lower: a, .. }, Triangular { lower: b, .. }) if a == b => done(Triangular {
            matrix: super::apply::stored(s)?.matmul(&super::apply::stored(t)?),
            lower: *a,
        }),
        (Circulant(a), Circulant(b)) => done(Circulant(toeplitz::circulant_product(a, b)?)),
        (Permutation { from: p, .. }, Permutation { from: q, .. }) => {
            let from = match p.ndim() {
                1 => q.take(p, -1),
                _ => q.take_along_axis(p, -1),
            };
            done(Permutation {
                from,
                dtype: t.dtype()?,
            })
        }
        (Kronecker(x), Kronecker(y)) if factors_fit(x, y) => {
            let each = x.iter().zip(y).map(|(a, b)| multiplied(a, b));
            done(Kronecker(each.collect::<Result<_>>()?))
        }
        (BlockDiagonal(x), BlockDiagonal(y)) if blocks_fit(x, y) => {
            let each = x.iter().zip(y).map(|(a, b)| a.matmul(b));
            done(BlockDiagonal(each.collect()))
        }
        (Diagonal(d), BlockDiagonal(x)) => {
            done(BlockDiagonal(in_blocks(x, d, 1, |g, d| column(d) * g)))
        }
        (BlockDiagonal(x), Diagonal(d)) => done(BlockDiagonal(in_blocks(x, d, 0, |g, d| {
            g * d.expand_dims(-2)
        }))),
        (
            LowRank { base: None, u, v },
            LowRank {
                base: None,
                u: w,
                v: z,
            },
        ) => {
            // The product in the middle goes to the side of the lower rank.
            let rank = |x: &Array| x.shape().last().copied().unwrap_or(0);
            let middle = v.matmul(w);
            done(match rank(u) <= rank(w) {
                true => LowRank {
                    base: None,
                    u: u.clone(),
                    v: middle.matmul(z),
                },
                false => LowRank {
                    base: None,
                    u: u.matmul(&middle),
                    v: z.clone(),
                },
            })
        }
        (_, LowRank { base: None, u, v }) => done(LowRank {
            base: None,
            u: apply(s, u)?,
            v: v.clone(),
        }),
        (LowRank { base: None, u, v }, _) => done(LowRank {
            base: None,
            u: u.clone(),
            v: transposed(&apply(&transpose(t)?, &transposed(v))?),
        }),
        // What is stored whole makes the product a plain matrix.
        _ if is_stored(&t.clone().array()) => apply(s, &super::apply::stored(t)?),
        _ if is_stored(&s.clone().array()) => {
            let left = super::apply::stored(s)?;
            Ok(transposed(&apply(&transpose(t)?, &transposed(&left))?))
        }
        _ => {
            let parts = |s: &Structured| match &s.structure {
                Product(x) => x.clone(),
                _ => vec![s.clone().array()],
            };
            done(Product([parts(s), parts(t)].concat()))
        }
    }
}

/// The product of matrices, plain or structured, of the same leading axes.
pub(super) fn multiplied(a: &Array, b: &Array) -> Result<Array> {
    match (of(a), of(b)) {
        (Some(s), Some(t)) => product(s, t),
        (Some(_), None) => times(a, b),
        (None, Some(t)) => {
            let y = apply(&transpose(t)?, &transposed(a))?;
            transposed(&y).ok().cloned()
        }
        (None, None) => a.matmul(b).ok().cloned(),
    }
}

/// Do the blocks of two matrices stand one for one?
fn blocks_fit(x: &[Array], y: &[Array]) -> bool {
    let size = |x: &Array, back: usize| x.shape().iter().rev().nth(back).copied();
    x.len() == y.len()
        && x.iter()
            .zip(y)
            .all(|(a, b)| size(a, 2) == size(b, 2) && size(a, 0) == size(b, 1))
}

/// `f` of each group of blocks and of what a vector has for it: `[.., k, size]`, the size of the blocks' axis `axis` from the end.
pub(super) fn in_blocks(
    groups: &[Array],
    d: &Array,
    axis: usize,
    f: impl Fn(&Array, &Array) -> Array,
) -> Vec<Array> {
    let mut from = 0;
    let mut all = vec![];
    for g in groups {
        let size = |back: usize| g.shape().iter().rev().nth(back).copied().unwrap_or(0);
        let (k, q) = (size(2), size(axis));
        let part = d.slice_in_dim(from, from + k * q, -1);
        let mut shape = part.shape().to_vec();
        shape.pop();
        shape.extend([k, q]);
        from += k * q;
        all.push(f(g, &part.reshape(shape)));
    }
    all
}

/// The product of several, in the tightest structure.
pub(super) fn product_of(parts: Vec<Array>) -> Result<Array> {
    let mut all = parts.into_iter();
    let first = all
        .next()
        .ok_or_else(|| Error::internal("a product of nothing"))?;
    all.try_fold(first, |x, y| multiplied(&x, &y))
}
