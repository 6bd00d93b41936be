//! The rarer decompositions, and their companions.

use super::{
    grow::Grow,
    matrix::{hermitian, matrix, with_diagonal},
};
use quaxide::{
    op::{self, Factor},
    prelude::*,
};

pub fn factor(g: &mut Grow<'_>) -> Option<()> {
    let choice = g.r.below(12);
    let x = matrix(g, !matches!(choice, 5 | 6 | 8 | 9 | 10))?;
    let (s, d) = (g.shape(x), g.dtype(x));
    let (lead, m, n) = (s[..s.len() - 2].to_vec(), s[s.len() - 2], s[s.len() - 1]);
    if d.is_complex() && g.values[x].varies && g.options.derivatives {
        return None;
    }
    let with = |sizes: &[usize]| [&lead[..], sizes].concat();
    let (left, right) = (g.r.chance(0.4), g.r.chance(0.4));
    match choice {
        0 => {
            // Far apart, so that it is clear which eigenvalue is which.
            let x = with_diagonal(g, x, 1.0, 6.0)?;
            g.ops(Factor::Eig { left, right }, &[x]).map(drop)
        }
        1 => {
            let x = with_diagonal(g, x, 2.0, 1.0)?;
            g.ops(Factor::Hessenberg, &[x]).map(drop)
        }
        2 => {
            let new_dtype = d.complex();
            let weak_type = false;
            let x = with_diagonal(g, x, 1.0, 6.0)?;
            let x = g.op(
                op::ConvertElementType {
                    new_dtype,
                    weak_type,
                },
                &[x],
            )?;
            g.ops(Factor::Schur { vectors: left }, &[x]).map(drop)
        }
        3 => {
            let x = hermitian(g, x)?;
            g.ops(Factor::Tridiagonal { lower: left }, &[x]).map(drop)
        }
        4 => {
            let (lower, upper) = (g.random(&with(&[n]), d), g.random(&with(&[n]), d));
            let main = Array::full(with(&[n]), 4.0, d);
            let main = g.constant(main);
            g.op(Factor::TridiagonalSolve, &[lower, main, upper, x])
                .map(drop)
        }
        5 => {
            let x = with_diagonal(g, x, 4.0, 0.5)?;
            g.ops(Factor::Geqrf, &[x]).map(drop)
        }
        6 => {
            if m < n {
                return None;
            }
            let k = g.r.below(n + 1);
            let taus = g.random(&with(&[k]), d);
            g.op(Factor::HouseholderProduct, &[x, taus]).map(drop)
        }
        7 => {
            let size = 1 + g.r.below(4);
            let k = g.r.below(size + 1);
            // Row i is exchanged with itself or a later one.
            let pivots: Vec<i32> = (0..k).map(|i| (i + g.r.below(size - i)) as i32).collect();
            let pivots = g.constant(Array::new([k], pivots));
            g.op(Factor::PivotsToPermutation { size }, &[pivots])
                .map(drop)
        }
        8 => {
            let c = g.like(&with(&[m, m]), d);
            let op = Factor::SymmetricProduct {
                alpha: 0.5,
                beta: if left { 0.0 } else { 2.0 },
            };
            g.op(op, &[x, c]).map(drop)
        }
        9 => {
            let x = with_diagonal(g, x, 4.0, 0.5)?;
            // Columns that come first, whatever their norms.
            let first: Vec<bool> = (0..n).map(|_| left && g.r.chance(0.3)).collect();
            let first = Array::new([n], first).astype(DType::I32);
            let first = g.constant(first.broadcast_to(with(&[n])));
            g.ops(Factor::Geqp3, &[x, first]).map(drop)
        }
        10 => {
            let k = g.r.below(m.min(n) + 1);
            let taus = g.random(&with(&[k]), d);
            let other = 1 + g.r.below(3);
            let c = if left { [m, other] } else { [other, m] };
            let c = g.like(&with(&c), d);
            let transpose = right;
            g.op(Factor::Ormqr { left, transpose }, &[x, taus, c])
                .map(drop)
        }
        _ => {
            let r = with_diagonal(g, x, 3.0, 0.5)?;
            let w = g.random(&with(&[n]), d);
            g.op(Factor::CholeskyUpdate, &[r, w]).map(drop)
        }
    }
}
