//! Gathering, scattering, sorting.

use super::grow::{Grow, Value};
use quaxide::{
    op::{
        self, CumulativeKind, Gather, GatherDimensionNumbers, GatherScatterMode, Scatter,
        ScatterDimensionNumbers, ScatterKind,
    },
    prelude::*,
};

/// Random numbers for a gather from an array of this shape: dimension numbers, sizes of windows, the shape of the positions, and
/// that of what is gathered.
pub struct Plan {
    pub numbers: GatherDimensionNumbers,
    pub sizes: Vec<usize>,
    pub positions: Vec<usize>,
    pub result: Vec<usize>,
}

pub fn plan(g: &mut Grow<'_>, s: &[usize]) -> Plan {
    // Each axis runs along with an axis of the positions, is indexed, or is neither.
    let (mut batching, mut indexed, mut collapsed) = (vec![], vec![], vec![]);
    let mut sizes = vec![0; s.len()];
    for (i, n) in s.iter().enumerate() {
        match g.r.below(4) {
            0 if *n > 0 => {
                batching.push(i);
                sizes[i] = 1;
            }
            1 | 2 => {
                indexed.push(i);
                sizes[i] = g.r.below(n + 1);
                if *n > 0 && g.r.chance(0.6) {
                    sizes[i] = 1;
                    collapsed.push(i);
                }
            }
            _ => {
                sizes[i] = if g.r.chance(0.7) {
                    *n
                } else {
                    g.r.below(n + 1)
                };
                if sizes[i] == 1 && g.r.chance(0.3) {
                    collapsed.push(i);
                }
            }
        }
    }
    let order = g.r.permutation(indexed.len());
    let indexed: Vec<usize> = order.into_iter().map(|i| indexed[i]).collect();
    // The positions' own axes, with the batching ones somewhere among them.
    let mut lead: Vec<usize> = (0..g.r.below(3)).map(|_| g.r.below(4)).collect();
    let mut runs: Vec<Option<usize>> = vec![None; lead.len()];
    for i in &batching {
        let at = g.r.below(lead.len() + 1);
        lead.insert(at, s[*i]);
        runs.insert(at, Some(*i));
    }
    let along = |i: &usize| runs.iter().position(|r| *r == Some(*i)).unwrap_or(0);
    let start_indices_batching_dims: Vec<usize> = batching.iter().map(along).collect();
    let shown: Vec<usize> = (0..s.len())
        .filter(|i| !batching.contains(i) && !collapsed.contains(i))
        .map(|i| sizes[i])
        .collect();
    let rank = lead.len() + shown.len();
    let mut offset_dims = g.r.permutation(rank)[..shown.len()].to_vec();
    offset_dims.sort_unstable();
    let (mut windows, mut batches) = (shown.iter(), lead.iter());
    let next = |i: usize| {
        let from = if offset_dims.contains(&i) {
            windows.next()
        } else {
            batches.next()
        };
        from.copied().unwrap_or(0)
    };
    let result = (0..rank).map(next).collect();
    let positions = [&lead[..], &[indexed.len()]].concat();
    Plan {
        numbers: GatherDimensionNumbers {
            offset_dims: offset_dims.into(),
            collapsed_slice_dims: collapsed.into(),
            start_index_map: indexed.into(),
            operand_batching_dims: batching.into(),
            start_indices_batching_dims: start_indices_batching_dims.into(),
        },
        sizes,
        positions,
        result,
    }
}

const MODES: [GatherScatterMode; 3] = [
    GatherScatterMode::Clip,
    GatherScatterMode::FillOrDrop,
    GatherScatterMode::PromiseInBounds,
];

/// A promise that is broken has no derivative.
fn mode(g: &mut Grow<'_>, x: &[usize]) -> Option<GatherScatterMode> {
    let varies = g.options.derivatives && x.iter().any(|i| g.values[*i].varies);
    let modes = if varies { &MODES[..2] } else { &MODES[..] };
    g.r.choose(modes).copied()
}

/// Positions: a value that fits, or constants, of which some lie outside.
fn positions(g: &mut Grow<'_>, shape: &[usize]) -> usize {
    let dtype =
        *g.r.choose(&[DType::I32, DType::I64, DType::U8])
            .unwrap_or(&DType::I32);
    g.like(shape, dtype)
}

pub fn gather(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|v| v.ndim() > 0)?;
    let p = plan(g, &g.shape(x));
    let i = positions(g, &p.positions);
    let mode = mode(g, &[x])?;
    let mut op = Gather::new(p.numbers, p.sizes).mode(mode);
    // A window that is missing is filled with NaN unless another number is asked for.
    op.fill_value = Some(0.5.into()).filter(|_| g.dtype(x).is_float());
    g.op(op, &[x, i]).map(drop)
}

pub fn scatter(g: &mut Grow<'_>) -> Option<()> {
    let kind = *g.r.choose(&[
        ScatterKind::Set,
        ScatterKind::Add,
        ScatterKind::Sub,
        ScatterKind::Mul,
        ScatterKind::Min,
        ScatterKind::Max,
    ])?;
    let arithmetic = kind != ScatterKind::Set;
    let x = g.pick(|v| {
        v.ndim() > 0 && !(arithmetic && (v.dtype() == DType::Bool || v.dtype().is_complex()))
    })?;
    let d = g.dtype(x);
    let p = plan(g, &g.shape(x));
    let i = positions(g, &p.positions);
    let updates = g.like(&p.result, d);
    let varies = g.values[x].varies || g.values[updates].varies;
    if kind == ScatterKind::Mul && varies && g.options.derivatives {
        // The derivative exists where no two windows overlap.
        let (i, updates, numbers) = unique(g, x);
        let mut op = Scatter::new(kind, numbers);
        (op.dtype, op.unique_indices) = (d, true);
        return g.op(op, &[x, i, updates]).map(drop);
    }
    let numbers: ScatterDimensionNumbers = (&p.numbers).into();
    let mode = mode(g, &[x, updates])?;
    let mut op = Scatter::new(kind, numbers).mode(mode);
    op.dtype = d;
    g.op(op, &[x, i, updates]).map(drop)
}

/// Positions of some whole rows, each once, updates for them, and what says so.
pub fn unique(g: &mut Grow<'_>, x: usize) -> (usize, usize, ScatterDimensionNumbers) {
    let (s, d) = (g.shape(x), g.dtype(x));
    let rows: Vec<i32> =
        g.r.permutation(s[0])
            .into_iter()
            .map(|i| i as i32)
            .collect();
    let n = g.r.below(s[0] + 1);
    let i = g.constant(Array::new([n, 1], rows[..n].to_vec()));
    let updates = g.like(&[&[n], &s[1..]].concat(), d);
    let numbers = ScatterDimensionNumbers {
        update_window_dims: (1..s.len()).collect(),
        inserted_window_dims: vec![0].into(),
        scatter_dims_to_operand_dims: vec![0].into(),
        ..ScatterDimensionNumbers::default()
    };
    (i, updates, numbers)
}

/// Sorting, and running reductions.
pub fn order(g: &mut Grow<'_>) -> Option<()> {
    let real = |v: &Value| v.ndim() > 0 && v.dtype() != DType::Bool && !v.dtype().is_complex();
    match g.r.below(4) {
        0 => {
            let x = g.pick(|v| v.ndim() > 0)?;
            let s = g.shape(x);
            let mut all = vec![x];
            for _ in 0..g.r.below(3) {
                let d = *g.r.choose(&DType::ALL)?;
                all.push(g.like(&s, d));
            }
            let op = op::Sort {
                dimension: g.r.below(s.len()),
                is_stable: true,
                num_keys: 1 + g.r.below(all.len()),
            };
            g.ops(op, &all).map(drop)
        }
        1 => {
            let x = g.pick(real)?;
            let s = g.shape(x);
            let axis = g.r.below(s.len());
            let k = g.r.below(s[axis] + 1);
            g.ops(op::TopK { axis, k }, &[x]).map(drop)
        }
        _ => {
            let kind = *g.r.choose(&[
                CumulativeKind::Sum,
                CumulativeKind::Prod,
                CumulativeKind::Max,
                CumulativeKind::Min,
                CumulativeKind::LogSumExp,
            ])?;
            let x = match kind {
                CumulativeKind::LogSumExp => g.pick(|v| v.ndim() > 0 && v.is_float())?,
                _ => g.pick(real)?,
            };
            let op = op::Cumulative {
                kind,
                axis: g.r.below(g.shape(x).len()),
                reverse: g.r.chance(0.5),
            };
            g.op(op, &[x]).map(drop)
        }
    }
}
