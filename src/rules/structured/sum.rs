//! Sums of structured matrices, each in the tightest structure that it has.

use super::{Structure, Structured, apply::stored, element::dense, of, product::in_blocks};
use crate::{
    array::{Array, DType, numpy::concatenate},
    error::Result,
};

/// The diagonal of a diagonal matrix.
fn diagonal_of(s: &Structured) -> Result<Option<Array>> {
    Ok(match &s.structure {
        Structure::Diagonal(d) => Some(d.clone()),
        Structure::Identity { n, batch, dtype } => {
            let mut shape = batch.clone();
            shape.push(*n);
            Some(Array::ones(shape, *dtype))
        }
        _ => None,
    })
}

/// A plain matrix with a vector added on its diagonal.
fn on_diagonal(x: &Array, d: &Array) -> Array {
    let n = d.shape().last().copied().unwrap_or(0);
    let wide: Vec<usize> = d.shape().iter().copied().chain([n]).collect();
    let spread = d.expand_dims(-1).broadcast_to(&wide);
    let on = Array::eye(n, DType::Bool).broadcast_to(&wide);
    x + on.select(&spread, Array::zeros_like(&spread))
}

/// The sum of two structured matrices of one shape.
pub(super) fn sum(s: &Structured, t: &Structured) -> Result<Array> {
    use Structure::{
        BlockDiagonal, Circulant, Identity, LowRank, Sum, Symmetric, Toeplitz, Triangular,
        Tridiagonal,
    };
    let keep = Structured {
        structure: s.structure.clone(),
        allow_materialise: s.allow_materialise && t.allow_materialise,
    };
    let done = |x: Structure| Ok(keep.with(x).array());
    if let Some(d) = diagonal_of(t)? {
        match &s.structure {
            Tridiagonal { lower, main, upper } => {
                return done(Tridiagonal {
                    lower: lower.clone(),
                    main: main + d,
                    upper: upper.clone(),
                });
            }
            Triangular { matrix, lower } => {
                return done(Triangular {
                    matrix: on_diagonal(matrix, &d),
                    lower: *lower,
                });
            }
            Symmetric { matrix, .. } => {
                return done(Symmetric {
                    matrix: on_diagonal(matrix, &d),
                    positive: false,
                });
            }
            BlockDiagonal(x) if squares(x) => {
                return done(BlockDiagonal(in_blocks(x, &d, 1, on_diagonal)));
            }
            _ => {}
        }
        if let Some(a) = diagonal_of(s)? {
            return done(Structure::Diagonal(a + d));
        }
    }
    if diagonal_of(s)?.is_some() && takes_diagonal(t) {
        return sum(t, s);
    }
    match (&s.structure, &t.structure) {
        (
            Tridiagonal { lower, main, upper },
            Tridiagonal {
                lower: l,
                main: m,
                upper: u,
            },
        ) => done(Tridiagonal {
            lower: lower + l,
            main: main + m,
            upper: upper + u,
        }),
        (
            Triangular {
                matrix: a,
                lower: x,
            },
            Triangular {
                matrix: b,
                lower: y,
            },
        ) if x == y => done(Triangular {
            matrix: a + b,
            lower: *x,
        }),
        (
            Symmetric {
                matrix: a,
                positive: x,
            },
            Symmetric {
                matrix: b,
                positive: y,
            },
        ) => done(Symmetric {
            matrix: a + b,
            positive: *x && *y,
        }),
        (Circulant(a), Circulant(b)) => done(Circulant(a + b)),
        (Circulant(c), Identity { .. }) | (Identity { .. }, Circulant(c)) => {
            done(Circulant(c + unit(c)))
        }
        (
            Toeplitz { .. } | Circulant(_) | Identity { .. },
            Toeplitz { .. } | Circulant(_) | Identity { .. },
        ) => {
            let ((a, b), (c, d)) = (as_toeplitz(s), as_toeplitz(t));
            done(Toeplitz {
                column: a + c,
                row: b + d,
            })
        }
        (BlockDiagonal(x), BlockDiagonal(y))
            if x.len() == y.len() && x.iter().zip(y).all(|(a, b)| a.shape() == b.shape()) =>
        {
            done(BlockDiagonal(x.iter().zip(y).map(|(a, b)| a + b).collect()))
        }
        (
            LowRank { base: a, u, v },
            LowRank {
                base: b,
                u: w,
                v: z,
            },
        ) => {
            let base = match (a, b) {
                (Some(a), Some(b)) => Some(added(a, b)?),
                (a, b) => a.clone().or(b.clone()),
            };
            done(LowRank {
                base,
                u: concatenate(&[u, w], -1),
                v: concatenate(&[v, z], -2),
            })
        }
        (_, LowRank { base, u, v }) => done(LowRank {
            base: Some(match base {
                Some(b) => added(&s.clone().array(), b)?,
                None => s.clone().array(),
            }),
            u: u.clone(),
            v: v.clone(),
        }),
        (LowRank { base, u, v }, _) => done(LowRank {
            base: Some(match base {
                Some(b) => added(b, &t.clone().array())?,
                None => t.clone().array(),
            }),
            u: u.clone(),
            v: v.clone(),
        }),
        (Triangular { .. } | Symmetric { .. }, _) => Ok(stored(s)? + dense(t)?),
        (_, Triangular { .. } | Symmetric { .. }) => Ok(dense(s)? + stored(t)?),
        _ => {
            let parts = |s: &Structured| match &s.structure {
                Sum(x) => x.clone(),
                _ => vec![s.clone().array()],
            };
            done(Sum([parts(s), parts(t)].concat()))
        }
    }
}

/// Does a diagonal go into it?
fn takes_diagonal(s: &Structured) -> bool {
    match &s.structure {
        Structure::Tridiagonal { .. }
        | Structure::Triangular { .. }
        | Structure::Symmetric { .. } => true,
        Structure::BlockDiagonal(x) => squares(x),
        _ => false,
    }
}

/// Are all blocks square?
pub(super) fn squares(groups: &[Array]) -> bool {
    groups.iter().all(|g| {
        let shape = g.shape();
        let mut last = shape.iter().rev();
        last.next() == last.next()
    })
}

/// The first column of the identity.
fn unit(like: &Array) -> Array {
    let n = like.shape().last().copied().unwrap_or(0);
    Array::arange(n, DType::I32)
        .eq(0)
        .astype(like.dtype().unwrap_or(DType::F32))
}

/// First column and first row of what is the same along each diagonal.
fn as_toeplitz(s: &Structured) -> (Array, Array) {
    match &s.structure {
        Structure::Toeplitz { column, row } => (column.clone(), row.clone()),
        Structure::Circulant(c) => (c.clone(), c.flip([-1]).roll(1, -1)),
        Structure::Identity { n, batch, dtype } => {
            let mut shape = batch.clone();
            shape.push(*n);
            let x = unit(&Array::symbolic_zero(crate::Aval::new([*n], *dtype)));
            let x = x.broadcast_to(shape);
            (x.clone(), x)
        }
        _ => {
            let e = Array::error(crate::Error::internal("not a Toeplitz matrix"));
            (e.clone(), e)
        }
    }
}

/// The sum of matrices of one shape, plain or structured: a plain one makes it plain.
pub(super) fn added(a: &Array, b: &Array) -> Result<Array> {
    let y = match (of(a), of(b)) {
        (Some(s), Some(t)) => return sum(s, t),
        (Some(s), None) | (None, Some(s)) => {
            let plain = if of(a).is_some() { b } else { a };
            match &s.structure {
                Structure::Diagonal(d) => on_diagonal(plain, d),
                Structure::LowRank { base, u, v } => {
                    let y = match base {
                        Some(base) => added(base, plain)?,
                        None => plain.clone(),
                    };
                    y + u.matmul(v)
                }
                _ => dense(s)? + plain,
            }
        }
        (None, None) => a + b,
    };
    y.ok().cloned()
}
