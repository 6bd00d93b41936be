//! Programs within programs.

use super::{
    grow::{Grow, Options, Value},
    lanes::{Axes, Lanes, slice},
    nature::epsilon,
    program::{Call, Program, Step},
};
use crate::rng::{Numbers, random_of};
use quaxide::{
    op::{self, Across, Parts},
    prelude::*,
};

/// What a program inside is made for.
struct Inside {
    options: Options,
    axes: Axes,
    inputs: Vec<Value>,
}

/// Grow a program, and let it end with values of these types (any, where there are none).
fn inside(g: &mut Grow<'_>, how: Inside, wanted: &[Option<Aval>], more: usize) -> Option<Program> {
    let depth = g.depth + 1;
    let mut inner = Grow::new(g.r, how.options, how.axes, how.inputs);
    inner.depth = depth;
    if !inner.axes.is_empty() {
        collective(&mut inner);
    }
    inner.grow();
    let mut outs = vec![];
    for w in wanted {
        outs.push(match w {
            Some(aval) => end_with(&mut inner, aval)?,
            None => inner.pick(|_| true)?,
        });
    }
    for _ in 0..more {
        outs.push(inner.pick(|_| true)?);
    }
    Some(inner.program(outs))
}

/// A step that looks across the examples of a batch.
fn collective(g: &mut Grow<'_>) -> Option<()> {
    let axes = g.axes.clone();
    let (axis, size) = g.r.choose(&axes)?.clone();
    if g.r.chance(0.5) {
        return exchange(g, axis, size);
    }
    let across = match g.r.below(4) {
        0 => return g.op(op::AxisIndex { axis }, &[]).map(drop),
        1 => Across::Max,
        2 => Across::Min,
        _ => Across::Sum,
    };
    let x = g.pick(|v| v.dtype() != DType::Bool && !v.dtype().is_complex())?;
    g.op(op::Collective { across, axis }, &[x]).map(drop)
}

/// A step by which examples give each other parts.
fn exchange(g: &mut Grow<'_>, axis: std::sync::Arc<str>, n: usize) -> Option<()> {
    let tiled = g.r.chance(0.5);
    let split = |v: &Value| (0..v.ndim()).find(|i| v.aval.shape[*i].is_multiple_of(n));
    let (x, parts) = match g.r.below(5) {
        0 => {
            let x = g.pick(|v| v.ndim() > 0)?;
            let dimension = g.r.below(g.shape(x).len());
            (x, Parts::AllGather { dimension, tiled })
        }
        1 => {
            let adds = |v: &Value| v.dtype() != DType::Bool && v.small;
            let x = g.pick(|v| adds(v) && split(v).is_some())?;
            let dimension = split(&g.values[x])?;
            let tiled = tiled || g.shape(x)[dimension] != n;
            (x, Parts::ReduceScatter { dimension, tiled })
        }
        2 => {
            let x = g.pick(|v| split(v).is_some())?;
            let split_axis = split(&g.values[x])?;
            let concat_axis = g.r.below(g.shape(x).len());
            let tiled = true;
            (
                x,
                Parts::AllToAll {
                    split_axis,
                    concat_axis,
                    tiled,
                },
            )
        }
        3 => {
            let (from, to) = (g.r.permutation(n), g.r.permutation(n));
            let k = g.r.below(n + 1);
            let perm = from.into_iter().zip(to).take(k).collect();
            (g.pick(|_| true)?, Parts::Permute { perm })
        }
        _ => {
            let source = g.r.below(n);
            (g.pick(|_| true)?, Parts::Broadcast { source })
        }
    };
    let op = op::Exchange {
        parts,
        axis,
        axis_size: n,
    };
    g.op(op, &[x]).map(drop)
}

/// A value of this type: the last that there is, or one made of the last value.
fn end_with(g: &mut Grow<'_>, aval: &Aval) -> Option<usize> {
    let fits = |v: &Value| v.aval.same_type(aval);
    if let Some(i) = (0..g.values.len()).rev().find(|i| fits(&g.values[*i])) {
        return Some(i);
    }
    let shape = aval.shape.to_vec();
    if !aval.dtype.is_inexact() {
        return Some(g.random(&shape, aval.dtype));
    }
    let d = aval.dtype;
    let Some(x) = g.pick(|v| v.dtype() == d && v.small) else {
        return Some(g.random(&shape, d));
    };
    let axes = (0..g.shape(x).len()).collect();
    let reducer = op::Reducer::Sum;
    let sum = g.op(op::Reduce { reducer, axes }, &[x])?;
    let y = g.op(op::Unary::Tanh, &[sum])?;
    let spread = op::BroadcastInDim {
        shape: shape.into(),
        broadcast_dimensions: quaxide::Dims::new(),
    };
    g.op(spread, &[y])
}

/// A value whose numbers a loop may change: as inexact as its type.
fn loose(v: &Value) -> Value {
    let mut v = v.clone();
    if v.dtype().is_inexact() {
        v.precision = v.precision.max(epsilon(v.dtype()));
    }
    v
}

/// Push a call, whose results are as inexact as what its program makes of its operands.
fn push(g: &mut Grow<'_>, how: Call, programs: Vec<Program>, x: Vec<usize>) -> Option<()> {
    let of = |f: &dyn Fn(&Value) -> f64| x.iter().fold(0.0f64, |m, i| m.max(f(&g.values[*i])));
    let varies = x.iter().any(|i| g.values[*i].varies);
    let precision =
        of(&|v| v.precision).max(programs.iter().fold(0.0, |m, p| f64::max(m, coarsest(p))));
    g.push(Step::Call(how, programs, x), varies, precision, true)
        .map(drop)
}

/// The rounding of the coarsest type in a program.
fn coarsest(p: &Program) -> f64 {
    let own = p.types.iter().fold(0.0f64, |m, a| m.max(epsilon(a.dtype)));
    let inner = p.steps.iter().map(|s| match s {
        Step::Call(_, programs, _) => programs.iter().fold(0.0, |m, p| f64::max(m, coarsest(p))),
        _ => 0.0,
    });
    inner.fold(own, f64::max)
}

/// Some values for a program to take.
fn some(g: &mut Grow<'_>, n: usize, fits: impl Fn(&Value) -> bool + Copy) -> Vec<usize> {
    (0..n)
        .filter_map(|_| g.pick(|v| v.small && fits(v)))
        .collect()
}

fn values(g: &Grow<'_>, x: &[usize]) -> Vec<Value> {
    x.iter().map(|i| g.values[*i].clone()).collect()
}

/// What the first step of a loop takes of an array along its first axis.
fn first_slice(g: &mut Grow<'_>, i: usize) -> Value {
    let v = g.values[i].clone();
    let aval = Aval::new(&v.aval.shape[1..], v.dtype());
    let empty = v.aval.shape[0] == 0;
    let lanes: Lanes = v
        .lanes
        .iter()
        .map(|x| {
            if empty {
                random_of(g.r, &aval, Numbers::Small)
            } else {
                slice(x, 0)
            }
        })
        .collect();
    Value { lanes, aval, ..v }
}

pub fn call(g: &mut Grow<'_>) -> Option<()> {
    if g.depth >= g.options.depth {
        return None;
    }
    let options = Options {
        steps: 3,
        odd: false,
        ..g.options
    };
    let count = 1 + g.r.below(3);
    match g.r.below(14) {
        k @ 0..=4 => {
            let how = [
                Call::Jit,
                Call::Jit,
                Call::Checkpoint,
                Call::CustomJvp,
                Call::CustomVjp,
            ][k]
                .clone();
            let mut options = options;
            match how {
                // The rule is a derivative, which must exist whatever the program is for.
                Call::CustomJvp | Call::CustomVjp => {
                    options.orders = options.orders.max(1);
                    options.derivatives = true;
                    options.custom_vjp = false;
                    options.loops &= how == Call::CustomJvp;
                    if how == Call::CustomVjp && !g.options.custom_vjp {
                        return None;
                    }
                }
                _ => {}
            }
            let custom = options.derivatives && !g.options.derivatives;
            let x = some(g, count, |v| {
                !custom || !v.dtype().is_inexact() || v.dtype() == DType::F64
            });
            let mut inputs = values(g, &x);
            if custom {
                inputs
                    .iter_mut()
                    .for_each(|v| v.varies = v.dtype().is_inexact());
            }
            if x.is_empty() {
                return None;
            }
            let axes = match how {
                Call::CustomJvp | Call::CustomVjp => {
                    if !g.axes.is_empty() {
                        return None;
                    }
                    vec![]
                }
                _ => g.axes.clone(),
            };
            let more = g.r.below(2);
            let p = inside(
                g,
                Inside {
                    options,
                    axes,
                    inputs,
                },
                &[None],
                more,
            )?;
            push(g, how, vec![p], x)
        }
        5 | 6 => scan(g, options),
        7 => {
            let carry = some(g, count, |_| true);
            let constants = some(g, 1, |_| true);
            if carry.is_empty() {
                return None;
            }
            let wanted: Vec<Option<Aval>> =
                carry.iter().map(|i| Some(g.aval(*i).clone())).collect();
            let counter = counter(g);
            let mut inputs = vec![counter];
            inputs.extend(values(g, &carry).iter().map(loose));
            inputs.extend(values(g, &constants));
            spread_variation(&mut inputs);
            let axes = g.axes.clone();
            let p = inside(
                g,
                Inside {
                    options,
                    axes,
                    inputs,
                },
                &wanted,
                0,
            )?;
            let how = Call::Fori {
                carry: carry.len(),
                steps: g.r.below(4),
            };
            push(g, how, vec![p], [carry, constants].concat())
        }
        8 => repeat(g, options),
        9 | 10 => branch(g, options),
        11 | 12 => map(g, options),
        _ => derivative(g, options),
    }
}

fn counter(g: &Grow<'_>) -> Value {
    Value {
        lanes: vec![Array::scalar(0i32); g.lanes()],
        aval: Aval::new((), DType::I32),
        varies: false,
        precision: 0.0,
        small: true,
    }
}

/// What one carry depends on, all may depend on after a step.
fn spread_variation(inputs: &mut [Value]) {
    if inputs.iter().any(|v| v.varies) {
        inputs
            .iter_mut()
            .for_each(|v| v.varies = v.dtype().is_inexact());
    }
}

fn scan(g: &mut Grow<'_>, options: Options) -> Option<()> {
    let n = 1 + g.r.below(2);
    let carry = some(g, n, |_| true);
    let first = g.pick(|v| v.ndim() > 0 && v.small && v.aval.shape[0] < 5)?;
    let length = g.shape(first)[0];
    let mut xs = vec![first];
    if g.r.chance(0.4) {
        xs.extend(g.pick(|v| v.small && v.aval.shape.first() == Some(&length)));
    }
    let constants = some(g, 1, |_| true);
    let wanted: Vec<Option<Aval>> = carry.iter().map(|i| Some(g.aval(*i).clone())).collect();
    let mut inputs: Vec<Value> = values(g, &carry).iter().map(loose).collect();
    for x in &xs {
        inputs.push(first_slice(g, *x));
    }
    inputs.extend(values(g, &constants));
    spread_variation(&mut inputs);
    let axes = g.axes.clone();
    let more = g.r.below(3);
    let p = inside(
        g,
        Inside {
            options,
            axes,
            inputs,
        },
        &wanted,
        more,
    )?;
    let how = Call::Scan {
        carry: carry.len(),
        length,
        xs: xs.len(),
        reverse: g.r.chance(0.4),
    };
    push(g, how, vec![p], [carry, xs, constants].concat())
}

/// `while_loop`.
fn repeat(g: &mut Grow<'_>, mut options: Options) -> Option<()> {
    options.custom_vjp &= g.options.loops;
    let loops = g.options.loops;
    let fits = move |v: &Value| loops || !v.varies;
    let limit = match g.pick(|v| v.dtype() == DType::I32 && v.ndim() == 0) {
        Some(i) if g.r.chance(0.6) => {
            let most = g.number(3.0, DType::I32);
            let zero = g.number(0.0, DType::I32);
            g.op(op::Clamp, &[zero, i, most])?
        }
        _ => {
            let n = g.r.below(4) as f64;
            g.number(n, DType::I32)
        }
    };
    let n = 1 + g.r.below(2);
    let carry = some(g, n, fits);
    let constants = some(g, 1, fits);
    if carry.is_empty() {
        return None;
    }
    let wanted: Vec<Option<Aval>> = carry.iter().map(|i| Some(g.aval(*i).clone())).collect();
    let mut inputs = vec![counter(g)];
    inputs.extend(values(g, &carry).iter().map(loose));
    inputs.extend(values(g, &constants));
    spread_variation(&mut inputs);
    let body = Inside {
        options,
        axes: vec![],
        inputs: inputs.iter().map(alone).collect(),
    };
    let body = inside(g, body, &wanted, 0)?;
    let test = Inside {
        options: Options {
            steps: 2,
            ..options
        },
        axes: vec![],
        inputs: inputs.iter().map(alone).collect(),
    };
    let test = inside(g, test, &[Some(Aval::new((), DType::Bool))], 0)?;
    let how = Call::While { carry: carry.len() };
    push(
        g,
        how,
        vec![body, test],
        [vec![limit], carry, constants].concat(),
    )
}

/// The first lane: of programs that never look across lanes.
fn alone(v: &Value) -> Value {
    let mut v = v.clone();
    v.lanes.truncate(1);
    v
}

/// `cond` and `switch`.
fn branch(g: &mut Grow<'_>, options: Options) -> Option<()> {
    let two = g.r.chance(0.6);
    let (count, dtype) = if two {
        (2, DType::Bool)
    } else {
        (1 + g.r.below(3), DType::I32)
    };
    let which = match g.pick(|v| v.dtype() == dtype && v.ndim() == 0) {
        Some(i) => i,
        None => g.random(&[], dtype),
    };
    let n = 1 + g.r.below(3);
    let x = some(g, n, |_| true);
    if x.is_empty() {
        return None;
    }
    let mut inputs: Vec<Value> = values(g, &x).iter().map(alone).collect();
    spread_variation(&mut inputs);
    let mut programs: Vec<Program> = vec![];
    for _ in 0..count {
        let wanted = match programs.first() {
            Some(p) => p.out_avals().into_iter().map(Some).collect(),
            None => vec![None],
        };
        let more = if programs.is_empty() { g.r.below(2) } else { 0 };
        let how = Inside {
            options,
            axes: vec![],
            inputs: inputs.clone(),
        };
        programs.push(inside(g, how, &wanted, more)?);
    }
    let how = if two { Call::Cond } else { Call::Switch };
    push(g, how, programs, [vec![which], x].concat())
}

/// `vmap` under a name, so that there are collectives.
fn map(g: &mut Grow<'_>, options: Options) -> Option<()> {
    let first = g.pick(|v| v.small && v.ndim() > 0 && (1..5).contains(&v.aval.shape[0]))?;
    let size = g.shape(first)[0];
    let mut x = vec![first];
    let n = g.r.below(3);
    x.extend(some(g, n, |_| true));
    let mut mapped = vec![];
    let mut inputs = vec![];
    for i in &x {
        let v = g.values[*i].clone();
        let along = v.aval.shape.first() == Some(&size) && (mapped.is_empty() || g.r.chance(0.6));
        mapped.push(along);
        let examples = |x: &Array| -> Lanes {
            (0..size)
                .map(|k| if along { slice(x, k) } else { x.clone() })
                .collect()
        };
        let lanes: Lanes = v.lanes.iter().flat_map(examples).collect();
        let aval = lanes.first()?.aval().ok()?;
        inputs.push(Value { lanes, aval, ..v });
    }
    let mut axes = g.axes.clone();
    let name: std::sync::Arc<str> = format!("i{}", g.depth).into();
    axes.push((name.clone(), size));
    let more = g.r.below(2);
    let p = inside(
        g,
        Inside {
            options,
            axes,
            inputs,
        },
        &[None],
        more,
    )?;
    push(g, Call::Vmap { name, size, mapped }, vec![p], x)
}

/// Derivatives of a program within another.
fn derivative(g: &mut Grow<'_>, options: Options) -> Option<()> {
    let forward = g.r.chance(0.5);
    let n = 1 + g.r.below(2);
    let x = some(g, n, |v| v.dtype() == DType::F64);
    if x.is_empty() || g.options.derivatives && g.options.smooth && g.r.chance(0.5) {
        return None;
    }
    let mut inputs: Vec<Value> = values(g, &x).iter().map(alone).collect();
    inputs.iter_mut().for_each(|v| v.varies = true);
    let options = Options {
        derivatives: true,
        smooth: true,
        orders: if options.derivatives {
            options.orders + 1
        } else {
            1
        },
        loops: options.loops && forward,
        custom_vjp: options.custom_vjp && !forward,
        ..options
    };
    let how = Inside {
        options,
        axes: vec![],
        inputs,
    };
    let p = inside(g, how, &[Some(Aval::new((), DType::F64))], 0)?;
    let mut operands = x.clone();
    if forward {
        for i in &x {
            let shape = g.shape(*i);
            operands.push(g.like(&shape, DType::F64));
        }
        return push(g, Call::Jvp, vec![p], operands);
    }
    push(g, Call::Grad, vec![p], operands)
}
