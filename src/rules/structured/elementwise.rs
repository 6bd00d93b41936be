//! Functions and products element by element.

use super::{
    Structure, Structured,
    element::{dense, diagonal},
    of,
};
use crate::{
    array::{Array, DType},
    error::{Error, Result},
    trace::{
        bind,
        op::{Binary, Op},
    },
};

/// What a function does with sums, products and zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of sums the sum and of products the product: conversions, conjugates.
    Ring,
    /// Of sums the sum: real and imaginary parts.
    Additive,
    /// Of products the product, and zero of zero: sizes, signs, powers.
    Multiplicative,
    /// Zero of zero.
    KeepsZero,
    /// Nothing of that.
    Any,
}

/// The primitives by what they do; those that are not listed do nothing of that.
pub(super) fn kind(op: &Op) -> Kind {
    match op.name() {
        "convert_element_type" | "conj" | "copy" | "stop_gradient" | "component" => Kind::Ring,
        "real" | "imag" => Kind::Additive,
        "abs" | "sign" | "square" => Kind::Multiplicative,
        "integer_pow" => match op.get::<crate::trace::op::IntegerPow>() {
            Some(p) if p.y > 0 => Kind::Multiplicative,
            _ => Kind::Any,
        },
        "floor" | "ceil" | "round" | "expm1" | "log1p" | "tanh" | "sin" | "tan" | "asin"
        | "atan" | "sinh" | "asinh" | "atanh" | "sqrt" | "cbrt" | "erf" | "erf_inv"
        | "bessel_i1e" | "reduce_precision" => Kind::KeepsZero,
        _ => Kind::Any,
    }
}

/// A function of each element; `None` where the result has no structure.
pub(super) fn map(op: &Op, s: &Structured) -> Result<Option<Structured>> {
    let kind = kind(op);
    let f = |x: &Array| bind(op.clone(), &[x]);
    let each = |s: &Structured| -> Structured {
        let parts = s.structure.parts();
        s.with(
            s.structure
                .with_parts(parts.iter().map(|p| f(p.0)).collect()),
        )
    };
    if op.name() == "neg" {
        return scaled(s, &|x| f(x)).map(Some);
    }
    let ring = kind == Kind::Ring;
    // Of what type numbers become; transforms take inexact ones only.
    let to = f(&Array::symbolic_zero(crate::Aval::new((), s.dtype()?))).dtype()?;
    let keeps = kind != Kind::Any;
    Ok(match &s.structure {
        Structure::Identity { n, batch, .. } if ring => Some(s.with(Structure::Identity {
            n: *n,
            batch: batch.clone(),
            dtype: to,
        })),
        Structure::Identity { n, batch, dtype } if keeps => {
            let mut shape = batch.clone();
            shape.push(*n);
            Some(s.with(Structure::Diagonal(f(&Array::ones(shape, *dtype)))))
        }
        Structure::Permutation { from, .. } if ring => Some(s.with(Structure::Permutation {
            from: from.clone(),
            dtype: to,
        })),
        Structure::Permutation { from, dtype } if keeps => {
            let d = f(&Array::ones(from.shape(), *dtype));
            let p = s.with(Structure::Permutation {
                from: from.clone(),
                dtype: to,
            });
            let d = s.with(Structure::Diagonal(d));
            Some(s.with(Structure::Product(vec![d.array(), p.array()])))
        }
        Structure::Diagonal(_)
        | Structure::Tridiagonal { .. }
        | Structure::Triangular { .. }
        | Structure::BlockDiagonal(_)
            if keeps =>
        {
            Some(each(s))
        }
        Structure::Toeplitz { .. } | Structure::Circulant(_) if to.is_inexact() => Some(each(s)),
        Structure::Symmetric { matrix, positive } => Some(s.with(Structure::Symmetric {
            matrix: f(matrix),
            positive: *positive && ring,
        })),
        Structure::Kronecker(_) if ring || kind == Kind::Multiplicative => Some(each(s)),
        Structure::LowRank { .. } | Structure::Product(_) | Structure::Inverse(_) if ring => {
            Some(each(s))
        }
        Structure::Sum(_) if ring || kind == Kind::Additive => Some(each(s)),
        _ => None,
    })
}

pub(super) fn conjugate(s: &Structured) -> Result<Structured> {
    match s.dtype()?.is_complex() {
        false => Ok(s.clone()),
        true => map(&crate::trace::op::Unary::Conj.into(), s)?
            .ok_or_else(|| Error::internal("a conjugate without structure")),
    }
}

/// A linear function of one number on every element: `f` of what the matrix is linear in.
fn scaled(s: &Structured, f: &dyn Fn(&Array) -> Array) -> Result<Structured> {
    let first = |x: &[Array]| -> Vec<Array> {
        let mut x = x.to_vec();
        if let Some(x) = x.first_mut() {
            *x = f(x);
        }
        x
    };
    let dtype = s.dtype()?;
    Ok(s.with(match &s.structure {
        Structure::Identity { n, batch, dtype } => {
            let mut shape = batch.clone();
            shape.push(*n);
            Structure::Diagonal(f(&Array::ones(shape, *dtype)))
        }
        Structure::Permutation { from, .. } => {
            let d = s.with(Structure::Diagonal(f(&Array::ones(from.shape(), dtype))));
            Structure::Product(vec![d.array(), s.clone().array()])
        }
        Structure::LowRank { base, u, v } => Structure::LowRank {
            base: base.as_ref().map(f),
            u: f(u),
            v: v.clone(),
        },
        Structure::Kronecker(x) => Structure::Kronecker(first(x)),
        Structure::Product(x) => Structure::Product(first(x)),
        Structure::Sum(x) => Structure::Sum(x.iter().map(f).collect()),
        Structure::Inverse(_) => {
            let n = s.size()?[0];
            let mut shape = s.batch()?;
            shape.push(n);
            let d = s.with(Structure::Diagonal(f(&Array::ones(shape, dtype))));
            Structure::Product(vec![d.array(), s.clone().array()])
        }
        Structure::Symmetric { matrix, .. } => Structure::Symmetric {
            matrix: f(matrix),
            positive: false,
        },
        other => {
            let parts = other.parts();
            other.with_parts(parts.iter().map(|p| f(p.0)).collect())
        }
    }))
}

/// The elements of a plain or structured matrix on a diagonal.
fn on_diagonal(x: &Array, offset: i64) -> Result<Array> {
    match of(x) {
        Some(s) => diagonal(s, offset),
        None => Ok(crate::numpy::diagonal(x, offset, -2, -1)),
    }
}

/// The blocks of a plain matrix that stand where those of a block-diagonal one do.
fn blocks_of(groups: &[Array], x: &Array) -> Vec<Array> {
    let (mut r, mut c) = (0, 0);
    let mut all = vec![];
    for g in groups {
        let size = |back: usize| g.shape().iter().rev().nth(back).copied().unwrap_or(0);
        let (k, p, q) = (size(2), size(1), size(0));
        let mut stacked = vec![];
        for _ in 0..k {
            stacked.push(
                x.slice_in_dim(r, r + p, -2)
                    .slice_in_dim(c, c + q, -1)
                    .expand_dims(-3),
            );
            r += p;
            c += q;
        }
        all.push(crate::numpy::concatenate(&stacked, -3));
    }
    all
}

/// Where one operand is zero the product is: in its structure, with `op` of its elements and the other's.
fn within(op: Binary, s: &Structured, x: &Array) -> Result<Option<Structured>> {
    let f = |a: &Array, b: &Array| bind(op, &[a, b]);
    let plain = |x: &Array| match of(x) {
        Some(s) => dense(s),
        None => Ok(x.clone()),
    };
    let n = s.size()?[0];
    Ok(match &s.structure {
        Structure::Identity { .. } => {
            let d = on_diagonal(x, 0)?;
            Some(Structure::Diagonal(f(&Array::ones_like(&d), &d)))
        }
        Structure::Diagonal(d) => Some(Structure::Diagonal(f(d, &on_diagonal(x, 0)?))),
        Structure::Tridiagonal { lower, main, upper } if n > 1 => Some(Structure::Tridiagonal {
            lower: f(lower, &on_diagonal(x, -1)?),
            main: f(main, &on_diagonal(x, 0)?),
            upper: f(upper, &on_diagonal(x, 1)?),
        }),
        Structure::Triangular { matrix, lower } => Some(Structure::Triangular {
            matrix: f(matrix, &plain(x)?),
            lower: *lower,
        }),
        Structure::BlockDiagonal(groups) if of(x).is_none() => {
            let others = blocks_of(groups, x);
            let each = groups.iter().zip(&others).map(|(a, b)| f(a, b));
            Some(Structure::BlockDiagonal(each.collect()))
        }
        Structure::Permutation { from, dtype } if from.ndim() == 1 => {
            let rows = Array::arange(n, DType::I32);
            let d = match of(x) {
                Some(t) => super::element::at(t, &rows, from)?,
                None => {
                    let flat: Vec<usize> = x.shape().iter().take(x.ndim() - 2).copied().collect();
                    x.reshape([flat, vec![n * n]].concat())
                        .take(&(rows * n as i32 + from), -1)
                }
            };
            let d = s.with(Structure::Diagonal(f(&Array::full_like(&d, 1), &d)));
            let p = s.with(Structure::Permutation {
                from: from.clone(),
                dtype: *dtype,
            });
            Some(Structure::Product(vec![d.array(), p.array()]))
        }
        _ => None,
    }
    .map(|x| s.with(x)))
}

/// Products of two matrices that have the same structure everywhere.
fn alike(op: Binary, s: &Structured, t: &Structured) -> Option<Structured> {
    use Structure::{BlockDiagonal, Circulant, Kronecker, Symmetric, Toeplitz};
    let f = |a: &Array, b: &Array| bind(op, &[a, b]);
    let same = |x: &[Array], y: &[Array]| {
        x.len() == y.len() && x.iter().zip(y).all(|(a, b)| a.shape() == b.shape())
    };
    let each = |x: &[Array], y: &[Array]| x.iter().zip(y).map(|(a, b)| f(a, b)).collect();
    Some(s.with(match (&s.structure, &t.structure) {
        (Toeplitz { column, row }, Toeplitz { column: c, row: r }) => Toeplitz {
            column: f(column, c),
            row: f(row, r),
        },
        (Circulant(a), Circulant(b)) => Circulant(f(a, b)),
        (
            Symmetric {
                matrix: a,
                positive: x,
            },
            Symmetric {
                matrix: b,
                positive: y,
            },
        ) => Symmetric {
            matrix: f(a, b),
            // Schur's theorem on products.
            positive: *x && *y && op == Binary::Mul,
        },
        (Kronecker(x), Kronecker(y)) if same(x, y) => Kronecker(each(x, y)),
        (BlockDiagonal(x), BlockDiagonal(y)) if same(x, y) && op == Binary::Mul => {
            BlockDiagonal(each(x, y))
        }
        _ => return None,
    }))
}

/// A product or a quotient, element by element, of two operands of which one is structured, or both.
pub(super) fn binary(op: Binary, a: &Array, b: &Array) -> Result<Array> {
    let number = |x: &Array| x.ndim() == 0;
    match (of(a), of(b)) {
        (Some(s), None) if number(b) => Ok(scaled(s, &|x| bind(op, &[x, b]))?.array()),
        (None, Some(t)) if number(a) && op == Binary::Mul => {
            Ok(scaled(t, &|x| bind(op, &[a, x]))?.array())
        }
        (None, Some(t)) if number(a) => match &t.structure {
            // A number by elements that are all there.
            Structure::Toeplitz { .. } | Structure::Circulant(_) | Structure::Symmetric { .. } => {
                let parts = t.structure.parts();
                let new = parts.iter().map(|p| bind(op, &[a, p.0])).collect();
                let mut y = t.with(t.structure.with_parts(new));
                if let Structure::Symmetric { positive, .. } = &mut y.structure {
                    *positive = false;
                }
                Ok(y.array())
            }
            _ => Err(Error::refused(
                "a quotient by a structured matrix divides by zero",
            )),
        },
        (s, t) => {
            if let (Some(s), Some(t)) = (s, t)
                && let Some(y) = alike(op, s, t)
            {
                return Ok(y.array());
            }
            if let Some(s) = s
                && let Some(y) = within(op, s, b)?
            {
                return Ok(y.array());
            }
            if let Some(t) = t
                && op == Binary::Mul
                && let Some(y) = within(op, t, a)?
            {
                return Ok(y.array());
            }
            if t.is_some() && op != Binary::Mul {
                return Err(Error::refused(
                    "a quotient by a structured matrix divides by zero",
                ));
            }
            // With a plain matrix the result is one; two structured ones ask for leave to become one.
            let plain = |x: &Array, other: &Array| match (of(x), of(other)) {
                (Some(_), Some(_)) => x.definition(),
                (Some(s), None) => dense(s),
                _ => Ok(x.clone()),
            };
            bind(op, &[&plain(a, b)?, &plain(b, a)?]).ok().cloned()
        }
    }
}

/// A sum with one number, for which every element is there: `None` if some are not.
pub(super) fn with_number(op: Binary, s: &Structured, x: &Array, left: bool) -> Option<Structured> {
    let f = |e: &Array| match left {
        true => bind(op, &[x, e]),
        false => bind(op, &[e, x]),
    };
    match &s.structure {
        Structure::Toeplitz { .. } | Structure::Circulant(_) => {
            let parts = s.structure.parts();
            let new = parts.iter().map(|p| f(p.0)).collect();
            Some(s.with(s.structure.with_parts(new)))
        }
        Structure::Symmetric { matrix, .. } => Some(s.with(Structure::Symmetric {
            matrix: f(matrix),
            positive: false,
        })),
        _ => None,
    }
}

/// The lower or upper triangle, up to a diagonal.
pub(super) fn triangle(s: &Structured, k: i64, lower: bool) -> Result<Option<Structured>> {
    // As a lower triangle of the transpose.
    if !lower {
        let t = super::product::transpose(s)?;
        return match triangle(&t, -k, true)? {
            Some(y) => Ok(Some(super::product::transpose(&y)?)),
            None => Ok(None),
        };
    }
    let zero = Array::zeros_like;
    Ok(match &s.structure {
        Structure::Identity { .. } | Structure::Diagonal(_) if k >= 0 => Some(s.clone()),
        Structure::Diagonal(d) => Some(s.with(Structure::Diagonal(zero(d)))),
        Structure::Tridiagonal { lower, main, upper } => {
            let cut = |x: &Array, at: i64| if at <= k { x.clone() } else { zero(x) };
            Some(s.with(Structure::Tridiagonal {
                lower: cut(lower, -1),
                main: cut(main, 0),
                upper: cut(upper, 1),
            }))
        }
        Structure::Triangular { lower: true, .. } if k >= 0 => Some(s.clone()),
        Structure::Triangular {
            matrix,
            lower: true,
        } => Some(s.with(Structure::Triangular {
            matrix: crate::numpy::tril(matrix, k),
            lower: true,
        })),
        Structure::Symmetric { matrix, .. } if k <= 0 => Some(s.with(Structure::Triangular {
            matrix: crate::numpy::tril(matrix, k),
            lower: true,
        })),
        Structure::Toeplitz { column, row } if k == 0 => Some(s.with(Structure::Toeplitz {
            column: column.clone(),
            row: zero(row),
        })),
        Structure::BlockDiagonal(x) if k == 0 && super::sum::squares(x) => {
            let cut = |x: &Array| crate::numpy::tril(x, 0);
            Some(s.with(Structure::BlockDiagonal(x.iter().map(cut).collect())))
        }
        _ => None,
    })
}

/// The sum over all axes of the matrix of products with a plain one: a contraction over both.
pub(super) fn inner(s: &Structured, x: &Array) -> Result<Array> {
    let y = binary(Binary::Mul, &s.clone().array(), x)?;
    match of(&y) {
        Some(y) => super::rule::total(y),
        None => Ok(y.sum([-2, -1])),
    }
}
