//! Primitives that move elements.

use super::grow::Grow;
use quaxide::{
    Dims,
    op::{self},
    prelude::*,
};

pub fn shape(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|_| true)?;
    let s = g.shape(x);
    let rank = s.len();
    match g.r.below(6) {
        0 => {
            let permutation: Dims = g.r.permutation(rank).into();
            g.op(op::Transpose { permutation }, &[x]).map(drop)
        }
        1 => {
            let n: usize = s.iter().product();
            let divisors: Vec<usize> = (1..=n).filter(|k| n.is_multiple_of(*k)).collect();
            let new_sizes: Dims = match (g.r.below(3), g.r.choose(&divisors).copied()) {
                (0, Some(k)) => vec![k, n / k].into(),
                (1, _) => [&[1], &s[..]].concat().into(),
                _ => vec![n].into(),
            };
            g.op(op::Reshape { new_sizes }, &[x]).map(drop)
        }
        2 | 3 => {
            // Axes of size 1 may become larger, and new axes may stand anywhere.
            let mut shape: Vec<usize> = s.clone();
            for n in shape.iter_mut().filter(|n| **n == 1) {
                if g.r.chance(0.5) {
                    *n = 1 + g.r.below(3);
                }
            }
            let mut broadcast_dimensions: Vec<usize> = (0..rank).collect();
            if rank < 4 && g.r.chance(0.8) {
                let at = g.r.below(rank + 1);
                shape.insert(at, g.r.below(4));
                broadcast_dimensions
                    .iter_mut()
                    .skip(at)
                    .for_each(|d| *d += 1);
            }
            let op = op::BroadcastInDim {
                shape: shape.into(),
                broadcast_dimensions: broadcast_dimensions.into(),
            };
            g.op(op, &[x]).map(drop)
        }
        4 => {
            let ones: Vec<usize> = (0..rank).filter(|i| s[*i] == 1).collect();
            let dimensions: Vec<usize> = ones.into_iter().filter(|_| g.r.chance(0.7)).collect();
            let dimensions: Dims = dimensions.into();
            if dimensions.is_empty() {
                return None;
            }
            g.op(op::Squeeze { dimensions }, &[x]).map(drop)
        }
        _ => {
            let dtype = *g.r.choose(&DType::ALL).filter(|d| **d != DType::Bool)?;
            if rank == 0 {
                return None;
            }
            let op = op::Iota {
                dtype,
                dimension: g.r.below(rank),
                shape: s.into(),
            };
            g.op(op, &[]).map(drop)
        }
    }
}

/// A start index: a constant, or one that was computed.
fn start(g: &mut Grow<'_>, most: usize) -> usize {
    let computed = g.pick(|v| v.dtype().is_integer() && v.ndim() == 0);
    match computed {
        Some(i) if g.r.chance(0.6) => i,
        // Sometimes outside, from where the window moves in.
        _ => {
            let i = g.r.below(most + 2) as i32 - 1;
            g.constant(Array::scalar(i))
        }
    }
}

pub fn slicing(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|v| v.ndim() > 0)?;
    let s = g.shape(x);
    let window: Vec<usize> = s.iter().map(|n| g.r.below(n + 1)).collect();
    match g.r.below(3) {
        0 => {
            let starts: Vec<usize> = s.iter().map(|n| g.r.below(n + 1)).collect();
            let limits = s.iter().zip(&starts).map(|(n, a)| a + g.r.below(n - a + 1));
            let limits: Vec<usize> = limits.collect();
            let strides: Vec<usize> = s.iter().map(|_| 1 + g.r.below(3)).collect();
            let op = op::Slice {
                start_indices: starts.into(),
                limit_indices: limits.into(),
                strides: g.r.chance(0.6).then(|| strides.into()),
            };
            g.op(op, &[x]).map(drop)
        }
        1 => {
            let mut operands = vec![x];
            for n in &s {
                operands.push(start(g, *n));
            }
            let slice_sizes = window.into();
            g.op(op::DynamicSlice { slice_sizes }, &operands).map(drop)
        }
        _ => {
            let update = g.like(&window, g.dtype(x));
            let mut operands = vec![x, update];
            for n in &s {
                operands.push(start(g, *n));
            }
            g.op(op::DynamicUpdateSlice, &operands).map(drop)
        }
    }
}

pub fn joining(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|v| v.ndim() > 0)?;
    let (s, d) = (g.shape(x), g.dtype(x));
    let axis = g.r.below(s.len());
    match g.r.below(7) {
        3 => {
            let mut all = vec![x];
            for _ in 0..g.r.below(3) {
                all.push(g.like(&s, d));
            }
            let axis = g.r.below(s.len() + 1);
            g.op(op::Stack { axis }, &all).map(drop)
        }
        4 => {
            if s[axis] == 0 || s[axis] > 4 {
                return None;
            }
            g.ops(op::Unstack { axis }, &[x]).map(drop)
        }
        5 => {
            let first = g.r.below(s[axis] + 1);
            let sizes: Dims = vec![first, s[axis] - first].into();
            g.ops(op::SplitAlong { axis, sizes }, &[x]).map(drop)
        }
        6 => {
            let reps: Dims = s.iter().map(|_| g.r.below(3)).collect();
            g.op(op::Tile { reps }, &[x]).map(drop)
        }
        0 => {
            let mut all = vec![x];
            for _ in 0..g.r.below(3) {
                let mut other = s.clone();
                other[axis] = g.r.below(3);
                all.push(g.like(&other, d));
            }
            let at = g.r.below(all.len());
            all.swap(0, at);
            g.op(op::Concatenate { dimension: axis }, &all).map(drop)
        }
        1 => {
            let value = g.like(&[], d);
            let padding_config = s
                .iter()
                .map(|n| {
                    let mut low = g.r.below(4) as i64 - 1;
                    let high = g.r.below(4) as i64 - 1;
                    if low + high + (*n as i64) < 0 {
                        low = -high;
                    }
                    (low, high, g.r.below(2) as i64)
                })
                .collect();
            g.op(op::Pad { padding_config }, &[x, value]).map(drop)
        }
        _ => {
            let dimensions: Vec<usize> = (0..s.len()).filter(|_| g.r.chance(0.6)).collect();
            let dimensions = dimensions.into();
            g.op(op::Rev { dimensions }, &[x]).map(drop)
        }
    }
}
