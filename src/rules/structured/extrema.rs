//! The largest and the smallest elements of structured matrices, whose zeros are among them.

use super::{Structure, Structured, element::dense, product::transpose};
use crate::{
    array::{Array, Dims},
    error::Result,
    trace::{
        bind,
        op::{Binary, Reduce, Reducer},
    },
};

/// Extrema over the matrix's last axis, its first, or both; `None` where that costs more than the structure does.
pub(super) fn extremum(s: &Structured, p: &Reduce) -> Result<Option<Array>> {
    let k = s.batch()?.len();
    let (rows, columns) = (p.axes.contains(&k), p.axes.contains(&(k + 1)));
    let [n, m] = s.size()?;
    if n == 0 || m == 0 || !(rows || columns) || p.axes.iter().any(|i| *i < k) {
        return Ok(None);
    }
    if !columns {
        let turned = Reduce {
            axes: [k + 1].into_iter().collect(),
            ..p.clone()
        };
        return extremum(&transpose(s)?, &turned);
    }
    let Some(of_rows) = over_columns(s, p.reducer)? else {
        return Ok(None);
    };
    Ok(Some(match rows {
        true => reduce(&of_rows, p.reducer),
        false => of_rows,
    }))
}

fn reduce(x: &Array, reducer: Reducer) -> Array {
    let axes: Dims = x.ndim().checked_sub(1).into_iter().collect();
    bind(Reduce { reducer, axes }, &[x])
}

/// The extremum of each row.
fn over_columns(s: &Structured, reducer: Reducer) -> Result<Option<Array>> {
    let [n, _] = s.size()?;
    let largest = match reducer {
        Reducer::Max => true,
        Reducer::Min => false,
        _ => return Ok(None),
    };
    let pair = |x: &Array, y: &Array| match largest {
        true => bind(Binary::Max, &[x, y]),
        false => bind(Binary::Min, &[x, y]),
    };
    let with_zero = |x: &Array| pair(x, &Array::zeros_like(x));
    let lone = n == 1;
    let mut per_row = s.batch()?;
    per_row.push(n);
    let y = match &s.structure {
        Structure::Diagonal(d) if lone => d.clone(),
        Structure::Diagonal(d) => with_zero(d),
        Structure::Identity { dtype, .. } | Structure::Permutation { dtype, .. } => {
            match largest || lone {
                true => Array::ones(per_row, *dtype),
                false => Array::zeros(per_row, *dtype),
            }
        }
        Structure::Tridiagonal { lower, main, upper } if n > 3 => {
            // Every row has a zero, which may stand where a diagonal ends, too.
            let beside = |x: &Array, before: usize, after: usize| {
                let mut widths = vec![(0, 0); x.ndim()];
                if let Some(w) = widths.last_mut() {
                    *w = (before, after);
                }
                x.pad(&widths, 0)
            };
            let off = pair(&beside(lower, 1, 0), &beside(upper, 0, 1));
            with_zero(&pair(main, &off))
        }
        // Each row has all elements.
        Structure::Circulant(c) => reduce(c, reducer).expand_dims(-1).broadcast_to(per_row),
        Structure::BlockDiagonal(groups) => {
            let blocks = groups
                .iter()
                .map(|g| g.shape().iter().rev().nth(2).copied());
            let one = blocks.map(|n| n.unwrap_or(0)).sum::<usize>() == 1;
            let rows = groups.iter().map(|g| {
                let y = reduce(g, reducer);
                let mut shape = y.shape().to_vec();
                let p = shape.pop().unwrap_or(1);
                if let Some(k) = shape.last_mut() {
                    *k *= p;
                }
                y.reshape(shape)
            });
            let all: Vec<Array> = rows.collect();
            let y = crate::numpy::concatenate(&all, -1);
            match one {
                true => y,
                false => with_zero(&y),
            }
        }
        // As large as what is held.
        Structure::Triangular { .. }
        | Structure::Symmetric { .. }
        | Structure::Tridiagonal { .. } => reduce(&dense(s)?, reducer),
        _ => return Ok(None),
    };
    y.ok().cloned().map(Some)
}
