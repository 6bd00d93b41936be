//! What a program means, by an interpreter that is independent of the crate's transformations: control flow is Rust's own, a
//! `vmap` runs its examples side by side ("lanes"), and collectives look across them.

use super::program::{Call, Program, Step, function};
use quaxide::{
    op::{Across, Op, Parts, Slice},
    prelude::*,
    trace::{bind, bind_all},
};
use std::sync::Arc;

/// A value of every example that is being run: outer axes vary slowest.
pub type Lanes = Vec<Array>;

/// The named axes that are being mapped over, and how many examples each has, outermost first.
pub type Axes = Vec<(Arc<str>, usize)>;

/// The results of a program.
pub fn oracle(p: &Program, x: &[Array]) -> Result<Vec<Array>> {
    let x: Vec<Lanes> = x.iter().map(|x| vec![x.clone()]).collect();
    let y = run(p, &x, &vec![])?;
    Ok(y.into_iter().flatten().collect())
}

pub fn run(p: &Program, x: &[Lanes], axes: &Axes) -> Result<Vec<Lanes>> {
    let mut values = x.to_vec();
    for s in &p.steps {
        let operands: Vec<Lanes> = s.operands().iter().map(|i| values[*i].clone()).collect();
        values.extend(step(s, &operands, axes)?);
    }
    Ok(p.outs.iter().map(|i| values[*i].clone()).collect())
}

fn count(axes: &Axes) -> usize {
    axes.iter().map(|a| a.1).product()
}

/// From the values of each lane to the lanes of each value.
fn turned(per_lane: Vec<Vec<Array>>) -> Vec<Lanes> {
    let n = per_lane.first().map_or(0, Vec::len);
    (0..n)
        .map(|i| per_lane.iter().map(|y| y[i].clone()).collect())
        .collect()
}

/// One lane's operands.
fn lane(x: &[Lanes], k: usize) -> Vec<Array> {
    x.iter().map(|x| x[k].clone()).collect()
}

pub fn step(s: &Step, x: &[Lanes], axes: &Axes) -> Result<Vec<Lanes>> {
    let each = |f: &dyn Fn(Vec<Array>) -> Result<Vec<Array>>| -> Result<Vec<Lanes>> {
        let all: Result<Vec<_>> = (0..count(axes)).map(|k| f(lane(x, k))).collect();
        Ok(turned(all?))
    };
    match s {
        Step::Constant(c) => Ok(vec![vec![c.clone(); count(axes)]]),
        Step::Op(Op::AxisIndex(p), _) => {
            let (stride, size) = position(axes, &p.axis)?;
            let index = |k: usize| Array::scalar((k / stride % size) as i32);
            Ok(vec![(0..count(axes)).map(index).collect()])
        }
        Step::Op(Op::Collective(p), _) => {
            let (stride, size) = position(axes, &p.axis)?;
            let across = |k: usize| {
                let first = k - k / stride % size * stride;
                let members = (0..size).map(|i| &x[0][first + i * stride]);
                let join = |a: Array, b: &Array| match p.across {
                    Across::Sum => a + b,
                    Across::Max => a.maximum(b),
                    Across::Min => a.minimum(b),
                };
                members.clone().skip(1).fold(x[0][first].clone(), join)
            };
            Ok(vec![(0..count(axes)).map(across).collect()])
        }
        Step::Op(Op::Exchange(p), _) => {
            let (stride, size) = position(axes, &p.axis)?;
            let one = |k: usize| {
                let own = k / stride % size;
                let first = k - own * stride;
                let all: Lanes = (0..size)
                    .map(|i| x[0][first + i * stride].clone())
                    .collect();
                exchanged(&p.parts, &all, own)
            };
            Ok(vec![(0..count(axes)).map(one).collect()])
        }
        Step::Op(op, _) => each(&|x| bind_all(op.clone(), &x)),
        Step::Function(name, _) => each(&|x| Ok(vec![function(name, &x).ok()?.clone()])),
        Step::Call(how, programs, _) => call(s, how, programs, x, axes),
    }
}

/// What example `own` gets of all of them.
fn exchanged(parts: &Parts, all: &[Array], own: usize) -> Array {
    // Part `i` of an axis that is as many parts.
    let part = |x: &Array, axis: usize, i: usize| {
        let n = x.shape()[axis] / all.len();
        x.slice_in_dim(i * n, (i + 1) * n, axis as i32)
    };
    match parts {
        Parts::AllGather { dimension, tiled } if *tiled => {
            numpy::concatenate(all, *dimension as i32)
        }
        Parts::AllGather { dimension, .. } => numpy::stack(all, *dimension as i32),
        Parts::ReduceScatter { dimension, tiled } => {
            let sum = all[1..].iter().fold(all[0].clone(), |s, x| s + x);
            let y = part(&sum, *dimension, own);
            if *tiled {
                y
            } else {
                y.squeeze(*dimension as i32)
            }
        }
        Parts::AllToAll {
            split_axis,
            concat_axis,
            ..
        } => {
            let given: Lanes = all.iter().map(|x| part(x, *split_axis, own)).collect();
            numpy::concatenate(&given, *concat_axis as i32)
        }
        Parts::Permute { perm } => match perm.iter().find(|p| p.1 == own) {
            Some((from, _)) => all[*from].clone(),
            None => Array::zeros_like(&all[own]),
        },
        Parts::Broadcast { source } => all[*source].clone(),
    }
}

/// The distance between neighbours along an axis, and their number.
fn position(axes: &Axes, name: &str) -> Result<(usize, usize)> {
    let at = axes.iter().position(|a| &*a.0 == name);
    let at = at.ok_or_else(|| Error::argument(format!("no axis `{name}`")))?;
    Ok((axes[at + 1..].iter().map(|a| a.1).product(), axes[at].1))
}

/// Slice `i` along the first axis.
pub fn slice(x: &Array, i: usize) -> Array {
    let shape: Vec<usize> = x.shape().to_vec();
    let mut start = vec![0; shape.len()];
    let mut limit = shape.clone();
    (start[0], limit[0]) = (i, i + 1);
    let op = Slice {
        start_indices: start.into(),
        limit_indices: limit.into(),
        strides: None,
    };
    bind(op, &[x]).reshape(&shape[1..])
}

fn stacked(slices: Vec<Array>, aval: &Aval) -> Array {
    if slices.is_empty() {
        let shape: Vec<usize> = [&[0], &aval.shape[..]].concat();
        return Array::zeros(shape, aval.dtype);
    }
    numpy::stack(&slices, 0)
}

fn true_or_false(x: &Array) -> Result<bool> {
    x.item::<bool>()
}

fn call(
    whole: &Step,
    how: &Call,
    programs: &[Program],
    x: &[Lanes],
    axes: &Axes,
) -> Result<Vec<Lanes>> {
    let p = &programs[0];
    let lanes = count(axes);
    match how {
        Call::Jit | Call::Checkpoint | Call::CustomJvp | Call::CustomVjp => run(p, x, axes),
        Call::Scan {
            carry,
            length,
            xs,
            reverse,
        } => {
            let (mut c, rest) = (x[..*carry].to_vec(), &x[*carry..]);
            let (xs, constants) = rest.split_at(*xs);
            let mut ys: Vec<Vec<Lanes>> = vec![];
            for i in 0..*length {
                let i = if *reverse { length - 1 - i } else { i };
                let now = |x: &Lanes| x.iter().map(|x| slice(x, i)).collect();
                let now: Vec<Lanes> = xs.iter().map(now).collect();
                let mut y = run(p, &[&c[..], &now[..], constants].concat(), axes)?;
                ys.push(y.split_off(*carry));
                c = y;
            }
            if *reverse {
                ys.reverse();
            }
            for (i, aval) in p.out_avals()[*carry..].iter().enumerate() {
                let of_lane =
                    |k: usize| stacked(ys.iter().map(|y| y[i][k].clone()).collect(), aval);
                c.push((0..lanes).map(of_lane).collect());
            }
            Ok(c)
        }
        Call::Fori { carry, steps } => {
            let (mut c, constants) = (x[..*carry].to_vec(), &x[*carry..]);
            for i in 0..*steps {
                let i = vec![Array::scalar(i as i32); lanes];
                c = run(p, &[&[i], &c[..], constants].concat(), axes)?;
            }
            Ok(c)
        }
        Call::While { carry } => {
            let one = |x: Vec<Array>| -> Result<Vec<Array>> {
                let limit = x[0].item::<i32>()?;
                let (mut c, constants) = (x[1..=*carry].to_vec(), &x[carry + 1..]);
                for i in 0..limit.max(0) {
                    let all = [&[Array::scalar(i)], &c[..], constants].concat();
                    if !true_or_false(&oracle(&programs[1], &all)?[0])? {
                        break;
                    }
                    c = oracle(p, &all)?;
                }
                Ok(c)
            };
            let all: Result<Vec<_>> = (0..lanes).map(|k| one(lane(x, k))).collect();
            Ok(turned(all?))
        }
        Call::Cond | Call::Switch => {
            let one = |x: Vec<Array>| {
                let branch = match how {
                    Call::Cond => usize::from(!true_or_false(&x[0])?),
                    _ => (x[0].item::<i32>()?.max(0) as usize).min(programs.len() - 1),
                };
                oracle(&programs[branch], &x[1..])
            };
            let all: Result<Vec<_>> = (0..lanes).map(|k| one(lane(x, k))).collect();
            Ok(turned(all?))
        }
        Call::Vmap { name, size, mapped } => {
            let wide = |(x, mapped): (&Lanes, &bool)| -> Lanes {
                let examples = |x: &Array| -> Lanes {
                    let of = |i| if *mapped { slice(x, i) } else { x.clone() };
                    (0..*size).map(of).collect()
                };
                x.iter().flat_map(examples).collect()
            };
            let x: Vec<Lanes> = x.iter().zip(mapped).map(wide).collect();
            let mut inner = axes.clone();
            inner.push((name.clone(), *size));
            let y = run(p, &x, &inner)?;
            let narrow = |y: &Lanes| y.chunks(*size).map(|y| numpy::stack(y, 0)).collect();
            Ok(y.iter().map(narrow).collect())
        }
        // Derivatives have other tests; here they are what the crate says.
        Call::Jvp | Call::Grad => {
            let of = |k: usize| -> Result<Vec<Array>> {
                let x = lane(x, k);
                let mut alone = whole.clone();
                for (i, o) in alone.operands_mut().iter_mut().enumerate() {
                    *o = i;
                }
                alone.run(&x)
            };
            let all: Result<Vec<_>> = (0..lanes).map(of).collect();
            Ok(turned(all?))
        }
    }
}
