//! Primitives that combine elements by a program, and linear solves by functions of one's own.

use super::{
    contract::sliding,
    grow::{Grow, Value},
    index::{plan, unique},
};
use quaxide::{
    op::{self, Binary, GatherScatterMode, Op, Scatter, ScatterKind, Unary},
    prelude::*,
    transform::{TransposeSolve, custom_linear_solve},
};

/// The equation of a kind that a function of these types comes to: its primitive, and which argument each operand is.
fn equation(
    kind: &str,
    avals: &[Aval],
    f: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync,
) -> (Op, Vec<usize>) {
    let x: Vec<Array> = avals
        .iter()
        .map(|a| Array::symbolic_zero(a.clone()))
        .collect();
    let program = make_jaxpr(|x: &Vec<Array>| f(x))(&x);
    let program = program.unwrap_or_else(|e| panic!("the generator's {kind}: {e}"));
    let found = program.eqns().iter().find(|e| e.op.kind() == kind);
    let found = found.unwrap_or_else(|| panic!("no {kind} in {program}"));
    let argument = |a: &quaxide::trace::Atom| {
        let at = a
            .var()
            .and_then(|v| program.invars().iter().position(|i| *i == v));
        at.unwrap_or_else(|| panic!("an operand of {kind} is no argument: {program}"))
    };
    (
        found.op.clone(),
        found.inputs.iter().map(argument).collect(),
    )
}

fn apply(
    g: &mut Grow<'_>,
    kind: &str,
    x: &[usize],
    f: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync,
) -> Option<()> {
    let avals: Vec<Aval> = x.iter().map(|i| g.aval(*i).clone()).collect();
    let (op, operands) = equation(kind, &avals, f);
    let operands: Vec<usize> = operands.into_iter().map(|i| x[i]).collect();
    g.ops(op, &operands).map(drop)
}

/// Associative functions of two numbers.
type Combination = fn(&[Array], &[Array]) -> Vec<Array>;

const COMBINE: [Combination; 3] = [
    |a, b| vec![&a[0] + &b[0]],
    |a, b| vec![&a[0] * &b[0]],
    |a, b| vec![a[0].maximum(&b[0])],
];

pub fn combine(g: &mut Grow<'_>) -> Option<()> {
    let number =
        |v: &Value| v.ndim() > 0 && v.small && v.dtype() != DType::Bool && !v.dtype().is_complex();
    let x = g.pick(number)?;
    let (s, d) = (g.shape(x), g.dtype(x));
    let f = *g.r.choose(&COMBINE)?;
    match g.r.below(6) {
        0 => {
            let init = g.like(&[], d);
            let axes: Vec<usize> = (0..s.len()).filter(|_| g.r.chance(0.6)).collect();
            apply(g, "ReduceBy", &[x, init], move |x| {
                op::reduce(&[&x[0]], &[&x[1]], &axes[..], f)
            })
        }
        1 => {
            let init = g.like(&[], d);
            let dilated = g.r.chance(0.3);
            let window = sliding(g, &s, dilated);
            apply(g, "ReduceWindowBy", &[x, init], move |x| {
                op::reduce_window(&[&x[0]], &[&x[1]], window.clone(), f)
            })
        }
        2 => {
            let p = plan(g, &s);
            let i = g.like(&p.positions, DType::I32);
            let updates = g.like(&p.result, d);
            let mode =
                *g.r.choose(&[GatherScatterMode::Clip, GatherScatterMode::FillOrDrop])?;
            let mut scatter = Scatter::new(ScatterKind::Set, (&p.numbers).into()).mode(mode);
            let (mut i, mut updates) = (i, updates);
            if g.options.derivatives && (g.values[x].varies || g.values[updates].varies) {
                (i, updates, scatter.dimension_numbers) = unique(g, x);
                scatter.unique_indices = true;
            }
            apply(g, "ScatterBy", &[x, i, updates], move |x| {
                op::scatter_by(&[&x[0]], &x[1], &[&x[2]], scatter.clone(), f)
            })
        }
        3 => {
            let y = g.like(&s, DType::F32);
            let axis = g.r.below(s.len());
            apply(g, "SortBy", &[x, y], move |x| {
                op::sort_by(&[&x[0], &x[1]], axis, |a, b| a[0].gt(&b[0]))
            })
        }
        4 => {
            let mut window = sliding(g, &s, false);
            window.padding.iter_mut().for_each(|p| *p = (0, 0));
            let count = |i: usize| {
                let room = s[i].checked_sub(window.window_dimensions[i]);
                room.map_or(0, |room| room / window.window_strides[i] + 1)
            };
            let counts: Vec<usize> = (0..s.len()).map(count).collect();
            let (source, init) = (g.like(&counts, d), g.like(&[], d));
            apply(g, "SelectAndScatter", &[x, source, init], move |x| {
                let add = |a: &Array, b: &Array| a + b;
                let y =
                    op::select_and_scatter(&x[0], &x[1], &x[2], window.clone(), Binary::Ge, add);
                Ok(vec![y?])
            })
        }
        _ => solve(g),
    }
}

/// A linear system whose matrix is an operand.
fn solve(g: &mut Grow<'_>) -> Option<()> {
    let b = g.pick(|v| v.dtype() == DType::F64 && v.small && v.ndim() == 1)?;
    let n = g.shape(b)[0];
    let a = g.like(&[n, n], DType::F64);
    let a = g.op(Unary::Tanh, &[a])?;
    let diagonal = g.constant(Array::eye(n, DType::F64) * (n as f64 + 2.0));
    let a = g.op(Binary::Add, &[a, diagonal])?;
    apply(g, "CustomLinearSolve", &[a, b], |x| {
        let (a, b) = (&x[0], &x[1]);
        let transposed = |_: &quaxide::transform::Map<'_, Array>, b: &Array| {
            linalg::solve(&a.t(), b).ok().cloned()
        };
        let solve = |_: &quaxide::transform::Map<'_, Array>, b: &Array| linalg::solve(a, b);
        let transposed = TransposeSolve::By(&transposed);
        Ok(vec![custom_linear_solve(
            |x: &Array| a.dot(x),
            b,
            solve,
            transposed,
        )?])
    })
}
