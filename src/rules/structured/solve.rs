//! Solutions and inverses, each in the cost of the structure.

use super::{
    Structure, Structured,
    apply::{blocks, column, kronecker, permuted, stored, times},
    of,
    product::{is_stored, product_of, transpose_of},
    sum::squares,
    toeplitz,
};
use crate::{
    array::{Array, Dims, broadcast_shapes, linalg},
    dispatch::ArrayValue,
    error::{Error, Result},
    trace::op::{TriangularSolve, solve_triangle, transposed},
};

/// The `x` with `a·x = b`, for a matrix, plain or structured, and columns of the same leading axes.
pub(super) fn solution(a: &Array, b: &Array) -> Result<Array> {
    match of(a) {
        Some(s) => solved(s, b),
        None => linalg::solve(a, b).ok().cloned(),
    }
}

/// An error that says why no solution is unique.
fn singular(s: &Structured, why: &str) -> Error {
    Error::argument(format!("solve: {} is singular: {why}", s.describe()))
}

/// Is there a zero among numbers that are known?
fn has_zero(x: &Array) -> bool {
    let known = |x: &Array| {
        x.buffer()?;
        let zero = crate::eager(|| x.eq(0).any(()).item::<bool>());
        zero.ok()
    };
    x.is_symbolic_zero() && x.size() > 0 || known(x).unwrap_or(false)
}

/// `s·x = b` for plain columns `b [.., n, k]` with the leading axes of `s`.
pub(super) fn solved(s: &Structured, b: &Array) -> Result<Array> {
    let n = s.square("solve")?;
    let y = match &s.structure {
        Structure::Identity { .. } => b.clone(),
        Structure::Diagonal(d) => {
            if has_zero(d) {
                return Err(singular(s, "an element of its diagonal is zero"));
            }
            b / column(d)
        }
        Structure::Tridiagonal { lower, main, upper } => {
            let widened = |x: &Array, before: usize, after: usize| {
                let mut widths = vec![(0, 0); x.ndim()];
                if let Some(w) = widths.last_mut() {
                    *w = (before, after);
                }
                x.pad(&widths, 0)
            };
            linalg::tridiagonal_solve(&widened(lower, 1, 0), main, &widened(upper, 0, 1), b)
        }
        Structure::Triangular { matrix, lower } => {
            if matrix.buffer().is_some() && has_zero(&crate::numpy::diagonal(matrix, 0, -2, -1)) {
                return Err(singular(s, "an element of its diagonal is zero"));
            }
            triangle(matrix, b, *lower, false)
        }
        Structure::Symmetric { positive: true, .. } => {
            let l = linalg::cholesky(&stored(s)?);
            triangle(&l, &triangle(&l, b, true, false), true, true)
        }
        Structure::Symmetric { .. } => linalg::solve(&stored(s)?, b),
        Structure::Toeplitz { column, row } => toeplitz::solution(column, row, b)?,
        Structure::Circulant(c) => toeplitz::uncirculate(c, b)?,
        Structure::Kronecker(factors) if squares_all(factors) => kronecker(factors, b, solution)?,
        Structure::BlockDiagonal(groups) if squares(groups) => {
            blocks(groups, b, 1, |g, b| linalg::solve(g, b).ok().cloned())?
        }
        Structure::Permutation { from, .. } => permuted(&from.argsort(-1), b),
        Structure::LowRank { base: None, u, v } => {
            let rank = u.shape().last().copied().unwrap_or(0);
            if rank < n {
                return Err(singular(s, &format!("its rank is {rank} of {n}")));
            }
            linalg::solve(&u.matmul(v), b)
        }
        Structure::LowRank {
            base: Some(a),
            u,
            v,
        } => woodbury(a, u, v, b)?,
        Structure::Product(parts) if squares_all(parts) => {
            parts.iter().try_fold(b.clone(), |b, p| solution(p, &b))?
        }
        Structure::Inverse(a) => times(a, b)?,
        // One term is as large as the sum.
        Structure::Sum(parts) if parts.iter().any(is_stored) => {
            linalg::solve(&super::element::dense(s)?, b)
        }
        Structure::Sum(_)
        | Structure::Product(_)
        | Structure::Kronecker(_)
        | Structure::BlockDiagonal(_) => {
            if !s.allow_materialise {
                return Err(Error::refused(format!(
                    "solve: {} has no solution in the cost of its structure",
                    s.describe()
                ))
                .note("`allow_materialise(true)` lets programs form the matrix and eliminate"));
            }
            linalg::solve(&super::element::dense(s)?, b)
        }
    };
    y.ok().cloned()
}

fn squares_all(x: &[Array]) -> bool {
    x.iter().all(|x| {
        let shape = x.shape();
        let mut last = shape.iter().rev();
        last.next() == last.next()
    })
}

fn triangle(a: &Array, b: &Array, lower: bool, transpose_a: bool) -> Array {
    let how = TriangularSolve {
        conjugate_a: false,
        left_side: true,
        lower,
        transpose_a,
        unit_diagonal: false,
    };
    solve_triangle(a, b, how)
}

/// Woodbury's identity: `(A + u·v)⁻¹·b = y − Z·(1 + v·Z)⁻¹·v·y` with `y = A⁻¹·b` and `Z = A⁻¹·u`.
fn woodbury(a: &Array, u: &Array, v: &Array, b: &Array) -> Result<Array> {
    let (y, z) = (solution(a, b)?, solution(a, u)?);
    let small = linalg::solve(&capacitance(v, &z)?, &v.matmul(&y));
    (y - z.matmul(&small)).ok().cloned()
}

/// `1 + v·Z`, of the rank's size.
pub(super) fn capacitance(v: &Array, z: &Array) -> Result<Array> {
    let y = v.matmul(z);
    let rank = y.shape().last().copied().unwrap_or(0);
    Ok(Array::eye(rank, y.dtype()?) + y)
}

/// The inverse, in the tightest structure that it has.
pub(super) fn inverse(s: &Structured) -> Result<Array> {
    let n = s.square("inv")?;
    let done = |x: Structure| Ok(s.with(x).array());
    let each = |x: &[Array]| x.iter().map(inverse_of).collect::<Result<Vec<_>>>();
    match &s.structure {
        Structure::Identity { .. } => Ok(s.clone().array()),
        Structure::Diagonal(d) => {
            if has_zero(d) {
                return Err(singular(s, "an element of its diagonal is zero"));
            }
            done(Structure::Diagonal(1.0 / d))
        }
        Structure::Triangular { matrix, lower } => {
            let one = Array::eye(n, s.dtype()?).broadcast_to(matrix.shape());
            done(Structure::Triangular {
                matrix: triangle(matrix, &one, *lower, false),
                lower: *lower,
            })
        }
        Structure::Symmetric { positive, .. } => {
            let one = Array::eye(n, s.dtype()?).broadcast_to(s.aval()?.shape);
            done(Structure::Symmetric {
                matrix: solved(s, &one)?,
                positive: *positive,
            })
        }
        Structure::Circulant(c) => done(Structure::Circulant(toeplitz::spectral(c, |c| 1.0 / c)?)),
        Structure::Kronecker(x) if squares_all(x) => done(Structure::Kronecker(each(x)?)),
        Structure::BlockDiagonal(x) if squares(x) => done(Structure::BlockDiagonal(
            x.iter().map(linalg::inv).collect(),
        )),
        Structure::Permutation { .. } => Ok(super::product::transpose(s)?.array()),
        Structure::LowRank { base: None, u, v } => {
            let rank = u.shape().last().copied().unwrap_or(0);
            if rank < n {
                return Err(singular(s, &format!("its rank is {rank} of {n}")));
            }
            linalg::inv(&u.matmul(v)).ok().cloned()
        }
        Structure::LowRank {
            base: Some(a),
            u,
            v,
        } => {
            let z = solution(a, u)?;
            let small = capacitance(v, &z)?;
            // `v·A⁻¹`, by the transposed system.
            let right = transposed(&solution(&transpose_of(a)?, &transposed(v))?);
            done(Structure::LowRank {
                base: Some(inverse_of(a)?),
                u: -z,
                v: linalg::solve(&small, &right),
            })
        }
        Structure::Product(parts) if squares_all(parts) => {
            let mut parts = each(parts)?;
            parts.reverse();
            product_of(parts)
        }
        Structure::Inverse(a) => Ok(a.clone()),
        Structure::Tridiagonal { .. } | Structure::Toeplitz { .. } => {
            done(Structure::Inverse(s.clone().array()))
        }
        Structure::Sum(_)
        | Structure::Product(_)
        | Structure::Kronecker(_)
        | Structure::BlockDiagonal(_) => done(Structure::Inverse(s.clone().array())),
    }
}

fn inverse_of(x: &Array) -> Result<Array> {
    match of(x) {
        Some(s) => inverse(s),
        None => linalg::inv(x).ok().cloned(),
    }
}

/// What `linalg::solve` does where one of its operands, or both, are structured: the leading axes broadcast.
pub(super) fn solve(a: &Array, b: &Array) -> Result<Array> {
    let (x, y) = (a.aval()?, b.aval()?);
    if let (None, Some(t)) = (of(a), of(b)) {
        // The solution of the identity is the inverse; any other right side is so many columns.
        return match &t.structure {
            Structure::Identity { .. } => Ok(linalg::inv(a)),
            _ if is_stored(b) || t.allow_materialise => {
                Ok(linalg::solve(a, &super::element::dense(t)?))
            }
            _ => {
                // a⁻¹·t, by rows of a⁻¹.
                let right = super::product::multiplied(&linalg::inv(a), b)?;
                Ok(right)
            }
        };
    }
    let Some(s) = of(a) else {
        return Err(Error::internal("`solve` without a structured operand"));
    };
    let n = s.square("solve")?;
    let vector = y.ndim() == 1;
    let rows = match vector {
        true => y.shape.last(),
        false => y.shape.iter().rev().nth(1),
    };
    if rows != Some(&n) {
        return Err(Error::shape(format!(
            "solve: {} does not fit a right side {y}",
            s.describe()
        )));
    }
    if of(b).is_some() {
        return super::product::multiplied(&inverse(s)?, b);
    }
    let b = match vector {
        true => b.expand_dims(-1),
        false => b.clone(),
    };
    let lead: Dims = b.shape().iter().take(b.ndim() - 2).copied().collect();
    let Some(shared) = broadcast_shapes(&s.batch()?, &lead) else {
        return Err(Error::shape(format!(
            "solve: the leading axes of {x} and {y} do not broadcast"
        )));
    };
    let mut wide = shared.clone();
    wide.extend(b.shape().iter().skip(lead.len()).copied());
    let b = if lead == shared {
        b
    } else {
        b.broadcast_to(wide)
    };
    let s = super::rule::with_batch(s, &shared)?;
    let solution = solved(&s, &b)?;
    Ok(if vector {
        solution.squeeze(-1)
    } else {
        solution
    })
}

/// What `triangular_solve` does with a structured matrix: only the triangle that it names is read.
pub(super) fn triangular(p: &TriangularSolve, a: &Array, b: &Array) -> Result<Array> {
    let Some(s) = of(a) else {
        let b = match of(b) {
            Some(_) => b.definition()?,
            None => b.clone(),
        };
        return Ok(solve_triangle(a, &b, *p));
    };
    let named = match &s.structure {
        Structure::Identity { .. } | Structure::Diagonal(_) => s.clone(),
        Structure::Triangular { lower, .. } if *lower == p.lower => s.clone(),
        Structure::Tridiagonal { lower, main, upper } => {
            let zero = Array::zeros_like;
            s.with(Structure::Tridiagonal {
                lower: if p.lower { lower.clone() } else { zero(lower) },
                main: main.clone(),
                upper: if p.lower { zero(upper) } else { upper.clone() },
            })
        }
        Structure::Triangular { .. } | Structure::Symmetric { .. } => {
            return Ok(solve_triangle(&stored(s)?, b, *p));
        }
        _ => return Ok(solve_triangle(&a.definition()?, b, *p)),
    };
    if p.unit_diagonal {
        let matrix = super::element::dense(&named)?;
        return match &named.structure {
            Structure::Identity { .. } | Structure::Diagonal(_) => Ok(b.clone()),
            _ => Ok(solve_triangle(&matrix, b, *p)),
        };
    }
    let named = if p.transpose_a {
        super::product::transpose(&named)?
    } else {
        named
    };
    let named = match p.conjugate_a {
        true => super::elementwise::conjugate(&named)?,
        false => named,
    };
    match p.left_side {
        true => solved(&named, b),
        false => {
            let y = solved(&super::product::transpose(&named)?, &transposed(b))?;
            Ok(transposed(&y))
        }
    }
}
