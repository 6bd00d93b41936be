//! Reductions, contractions, convolutions, windows.

use super::grow::{Grow, Value};
use quaxide::{
    op::{
        self, ConvDimensionNumbers, ConvGeneralDilated, DotGeneral, Reduce, ReduceWindow, Reducer,
        SelectAndGatherAdd, SelectAndScatterAdd, Window, WindowReducer,
    },
    prelude::*,
};

pub fn reduce(g: &mut Grow<'_>) -> Option<()> {
    let index = *g.r.choose(&[DType::I32, DType::I64, DType::U8])?;
    let reducer = *g.r.choose(&[
        Reducer::Sum,
        Reducer::Prod,
        Reducer::Max,
        Reducer::Min,
        Reducer::And,
        Reducer::Or,
        Reducer::Xor,
        Reducer::Argmax(index),
        Reducer::Argmin(index),
    ])?;
    let fits = |v: &Value| match reducer {
        Reducer::Sum | Reducer::Prod => v.dtype() != DType::Bool,
        Reducer::Max | Reducer::Min => !v.dtype().is_complex(),
        Reducer::And | Reducer::Or | Reducer::Xor => !v.dtype().is_inexact(),
        Reducer::Argmax(_) | Reducer::Argmin(_) => !v.dtype().is_complex(),
    };
    let x = match g.pick(|v| v.ndim() > 0 && fits(v)) {
        Some(x) => x,
        None => g.random(&[2, 3], DType::I32),
    };
    let s = g.shape(x);
    let one = matches!(reducer, Reducer::Argmax(_) | Reducer::Argmin(_));
    let mut axes: Vec<usize> = (0..s.len()).filter(|_| g.r.chance(0.5)).collect();
    if one {
        axes = vec![g.r.below(s.len())];
        if s[axes[0]] == 0 {
            return None;
        }
    }
    let axes = axes.into();
    g.op(Reduce { reducer, axes }, &[x]).map(drop)
}

/// Contractions of groups of rows.
fn ragged(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|v| v.dtype() != DType::Bool && v.ndim() == 2)?;
    let (s, d) = (g.shape(x), g.dtype(x));
    let groups = 1 + g.r.below(3);
    let mut left = s[0];
    let mut sizes = vec![];
    for _ in 0..groups {
        let n = g.r.below(left + 1);
        sizes.push(n as i32);
        left -= n;
    }
    let n = 1 + g.r.below(3);
    let (y, op) = match g.r.below(3) {
        0 => {
            let dot = DotGeneral::new(([0], [0]), ((), ()));
            (g.like(&[s[0], n], d), (dot, None))
        }
        1 => {
            let dot = DotGeneral::new(([1], [1]), ([0], [0]));
            (g.like(&[s[0], s[1], n], d), (dot, None))
        }
        _ => {
            let dot = DotGeneral::new(([1], [2]), ((), ()));
            (g.like(&[n, groups, s[1]], d), (dot, Some(1)))
        }
    };
    let sizes = g.constant(Array::from(sizes));
    let (dot, rhs_group) = op;
    let op = op::RaggedDotGeneral {
        dot,
        lhs_ragged: 0,
        rhs_group,
    };
    g.op(op, &[x, y, sizes]).map(drop)
}

pub fn dot(g: &mut Grow<'_>) -> Option<()> {
    if g.r.chance(0.1) {
        return ragged(g);
    }
    let x = g.pick(|v| v.dtype() != DType::Bool)?;
    let (s, d) = (g.shape(x), g.dtype(x));
    // Any other operand: axes of one size may be paired, to be summed or kept.
    let y = match g.pick(|v| v.dtype() == d && v.ndim() > 0) {
        Some(y) if g.r.chance(0.7) => y,
        _ => {
            let mut t = s.clone();
            t.truncate(2);
            t.reverse();
            g.like(&t, d)
        }
    };
    let t = g.shape(y);
    let (mut op, mut free) = (DotGeneral::default(), g.r.permutation(t.len()));
    for i in g.r.permutation(s.len()) {
        let Some(at) = free.iter().position(|j| t[*j] == s[i]) else {
            continue;
        };
        match g.r.below(4) {
            0 => {
                op.lhs_batch.push(i);
                op.rhs_batch.push(free.remove(at));
            }
            1 | 2 => {
                op.lhs_contract.push(i);
                op.rhs_contract.push(free.remove(at));
            }
            _ => {}
        }
    }
    if g.r.chance(0.1) && matches!(d, DType::BF16 | DType::F16 | DType::F32) {
        op.preferred_element_type = Some(DType::F32);
    }
    g.op(op, &[x, y]).map(drop)
}

/// A window over an array of this shape.
pub fn sliding(g: &mut Grow<'_>, s: &[usize], dilated: bool) -> Window {
    let mut w = Window::new(
        s.iter().map(|_| 1 + g.r.below(3)).collect::<Vec<usize>>(),
        s.iter().map(|_| 1 + g.r.below(2)).collect::<Vec<usize>>(),
    );
    for i in 0..s.len() {
        if g.r.chance(0.4) {
            w.padding[i] = (g.r.below(2) as isize, g.r.below(2) as isize);
        }
        if dilated {
            w.base_dilation[i] = 1 + g.r.below(2);
            w.window_dilation[i] = 1 + g.r.below(2);
        }
    }
    w
}

/// Convolutions, pooling.
pub fn window(g: &mut Grow<'_>) -> Option<()> {
    match g.r.below(6) {
        0 | 1 => return convolution(g),
        2 => {
            // A window whose every place holds a number: what no number is under has an infinite extremum.
            let x = g.pick(|v| v.is_float() && v.ndim() > 0)?;
            let s = g.shape(x);
            let mut window = sliding(g, &s, false);
            window.padding.iter_mut().for_each(|p| *p = (0, 0));
            let t = g.like(&s, g.dtype(x));
            let largest = g.r.chance(0.5);
            return g
                .op(SelectAndGatherAdd { largest, window }, &[t, x])
                .map(drop);
        }
        3 => {
            let x = g.pick(|v| v.is_float() && v.ndim() > 0)?;
            let s = g.shape(x);
            let mut window = sliding(g, &s, false);
            window.padding.iter_mut().for_each(|p| *p = (0, 0));
            let count = |i: usize| {
                let room = s[i].checked_sub(window.window_dimensions[i]);
                room.map_or(0, |room| room / window.window_strides[i] + 1)
            };
            let counts: Vec<usize> = (0..s.len()).map(count).collect();
            let t = g.like(&counts, g.dtype(x));
            let largest = g.r.chance(0.5);
            return g
                .op(SelectAndScatterAdd { largest, window }, &[t, x])
                .map(drop);
        }
        _ => {}
    }
    let reducer = *g.r.choose(&[
        WindowReducer::Sum,
        WindowReducer::Prod,
        WindowReducer::Max,
        WindowReducer::Min,
    ])?;
    let x = g.pick(|v| v.ndim() > 0 && v.dtype() != DType::Bool && !v.dtype().is_complex())?;
    let s = g.shape(x);
    let dilated = g.r.chance(0.3);
    let window = sliding(g, &s, dilated);
    g.op(ReduceWindow { reducer, window }, &[x]).map(drop)
}

fn convolution(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|v| v.dtype() != DType::Bool && (2..=4).contains(&v.ndim()))?;
    let (s, d) = (g.shape(x), g.dtype(x));
    let n = s.len();
    let [lhs_spec, rhs_spec, out_spec] = [(); 3].map(|()| g.r.permutation(n));
    let (batch, features) = (s[lhs_spec[0]], s[lhs_spec[1]]);
    let (mut groups, mut batches) = (1, 1);
    match g.r.below(4) {
        0 if features > 1 => groups = features,
        1 if batch > 1 => batches = batch,
        _ => {}
    }
    let mut kernel = vec![0; n];
    kernel[rhs_spec[0]] = groups * batches * (1 + g.r.below(2));
    kernel[rhs_spec[1]] = features / groups;
    for i in 2..n {
        kernel[rhs_spec[i]] = 1 + g.r.below(3);
    }
    let y = g.like(&kernel, d);
    let some = |g: &mut Grow<'_>| -> Vec<usize> {
        (2..n)
            .map(|_| if g.r.chance(0.3) { 2 } else { 1 })
            .collect()
    };
    let op = ConvGeneralDilated {
        batch_group_count: batches,
        dimension_numbers: ConvDimensionNumbers {
            lhs_spec: lhs_spec.into(),
            rhs_spec: rhs_spec.into(),
            out_spec: out_spec.into(),
        },
        feature_group_count: groups,
        lhs_dilation: some(g).into(),
        padding: (2..n)
            .map(|_| (g.r.below(4) as isize - 1, g.r.below(3) as isize))
            .collect(),
        precision: None,
        preferred_element_type: None,
        rhs_dilation: some(g).into(),
        window_strides: some(g).into(),
    };
    g.op(op::Op::from(op), &[x, y]).map(drop)
}
