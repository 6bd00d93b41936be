//! One plain function a primitive: the oracle that every other interpreter is compared with.

mod combine;
mod contract;
pub(crate) mod control;
mod conv;
pub(super) mod elementwise;
mod factor;
mod fft;
pub(super) mod index;
mod linalg;
mod random;
pub(in crate::interp) mod reduce;
mod shape;
pub(super) mod slicing;
mod sort;
pub mod special;
mod stacking;
mod triangular;
pub(super) mod window;

use super::Buffers;
use crate::{
    array::{Array, Aval, Buffer, Repr, Scalar},
    error::{Error, Result},
    trace::{Atom, Env, Jaxpr, op::Op},
};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// Run one primitive. `results` are the types that its type rule gives.
#[deny(clippy::wildcard_enum_match_arm)]
pub fn apply(op: &Op, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let missing = || {
        Error::internal(format!(
            "`{}` has fewer operands or results than it should",
            op.name()
        ))
    };
    let operand = |i: usize| x.get(i).map(|b| &**b).ok_or_else(missing);
    let out = results.first().ok_or_else(missing);
    let y = match op {
        Op::Unary(u) => elementwise::unary(*u, operand(0)?, out?)?,
        Op::Binary(b) => elementwise::binary(*b, operand(0)?, operand(1)?, out?)?,
        Op::IntegerPow(p) => elementwise::integer_pow(operand(0)?, p.y)?,
        Op::SelectN(_) => elementwise::select_n(x, out?)?,
        Op::ConvertElementType(_) => elementwise::convert(operand(0)?, out?)?,
        Op::StopGradient(_) | Op::Component(_) | Op::Copied(_) => operand(0)?.clone(),
        Op::Transpose(p) => shape::transpose(operand(0)?, &p.permutation)?,
        Op::BroadcastInDim(p) => shape::broadcast_in_dim(operand(0)?, p)?,
        Op::Reshape(p) => operand(0)?.reshape(p.new_sizes.clone())?,
        Op::Iota(p) => shape::iota(p)?,
        Op::Reduce(p) => reduce::reduce(p, operand(0)?, out?)?,
        Op::DotGeneral(p) => contract::dot_general(p, operand(0)?, operand(1)?, out?)?,
        Op::Squeeze(p) => slicing::squeeze(operand(0)?, &p.dimensions)?,
        Op::Slice(p) => slicing::slice(p, operand(0)?, out?)?,
        Op::DynamicSlice(_) => {
            slicing::dynamic_slice(operand(0)?, x.get(1..).unwrap_or_default(), out?)?
        }
        Op::DynamicUpdateSlice(_) => {
            let starts = x.get(2..).unwrap_or_default();
            slicing::dynamic_update_slice(operand(0)?, operand(1)?, starts, out?)?
        }
        Op::Concatenate(p) => slicing::concatenate(p, x, out?)?,
        Op::Pad(p) => slicing::pad(p, operand(0)?, operand(1)?, out?)?,
        Op::Rev(p) => slicing::rev(operand(0)?, &p.dimensions)?,
        Op::Clamp(_) => slicing::clamp(operand(0)?, operand(1)?, operand(2)?, out?)?,
        Op::BitcastConvertType(_) => slicing::bitcast(operand(0)?, out?)?,
        Op::Threefry2x32(_) => return random::threefry2x32(x, results),
        Op::RandomGamma(p) => random::gamma(*p, operand(0)?, operand(1)?, out?)?,
        Op::ReduceBy(_)
        | Op::ReduceWindowBy(_)
        | Op::SelectAndScatter(_)
        | Op::RaggedDotGeneral(_) => {
            let operands: Vec<Aval> = x.iter().map(|b| (**b.aval()).clone()).collect();
            let program = op.definition(&operands).ok_or_else(missing)??;
            return Ok(owned(run(&program, x.to_vec())?));
        }
        Op::ScatterBy(p) => return combine::scatter(p, x, results),
        Op::SortBy(p) => return combine::sort(p, x, results),
        Op::RngBitGenerator(p) => return random::bits(p, operand(0)?, results),
        Op::OptimizationBarrier(_) => return Ok(owned(x.to_vec())),
        Op::SplitAlong(p) => return stacking::split(p, operand(0)?, results),
        Op::Unstack(p) => return stacking::unstack(p, operand(0)?, results),
        Op::Stack(p) => stacking::stack(p, x, out?)?,
        Op::Tile(p) => stacking::tile(p, operand(0)?, out?)?,
        Op::Fft(p) => fft::fft(p, operand(0)?, out?)?,
        Op::Special(p) => special::apply(*p, x, out?)?,
        Op::Gather(p) => index::gather(p, operand(0)?, operand(1)?, out?)?,
        Op::Scatter(p) => index::scatter(p, operand(0)?, operand(1)?, operand(2)?, out?)?,
        Op::ConvGeneralDilated(p) => conv::conv_general_dilated(p, operand(0)?, operand(1)?, out?)?,
        Op::ReduceWindow(p) => window::reduce_window(p, operand(0)?, out?)?,
        Op::SelectAndGatherAdd(p) => {
            window::select_and_gather_add(p, operand(0)?, operand(1)?, out?)?
        }
        Op::SelectAndScatterAdd(p) => {
            window::select_and_scatter_add(p, operand(0)?, operand(1)?, out?)?
        }
        Op::Factor(p) => {
            let operands: Vec<Aval> = x.iter().map(|b| (**b.aval()).clone()).collect();
            return match op.definition(&operands) {
                Some(program) => Ok(owned(run(&program?, x.to_vec())?)),
                None => factor::factor(**p, x, results),
            };
        }
        Op::Linalg(p) => return linalg::linalg(*p, x, results),
        Op::Sort(p) => return sort::sort(p, x, results),
        Op::TopK(p) => return sort::top_k(p, operand(0)?, results),
        Op::Cumulative(p) => sort::cumulative(p, operand(0)?, out?)?,
        Op::Jit(p) => {
            let y = run(&p.jaxpr, x.to_vec())?;
            return Ok(y.iter().map(|b| (**b).clone()).collect());
        }
        Op::Scan(p) => {
            let plan = Plan::new(&p.jaxpr);
            return control::scan(p, &|args| plan.run(&p.jaxpr, args), x, results);
        }
        Op::CustomJvp(p) => return Ok(owned(run(&p.call_jaxpr, x.to_vec())?)),
        Op::CustomVjp(p) => return Ok(owned(run(&p.call_jaxpr, x.to_vec())?)),
        Op::Checkpoint(p) => return Ok(owned(run(&p.jaxpr, x.to_vec())?)),
        Op::CustomLinearSolve(p) => return Ok(owned(run(&p.solve.jaxpr, p.solve_operands(x))?)),
        Op::CustomLinear(p) => return Err(p.forwards()),
        Op::Collective(p) => return Err(crate::trace::op::unbound(op.name(), &p.axis)),
        Op::Exchange(p) => return Err(crate::trace::op::unbound(op.name(), &p.axis)),
        Op::AxisIndex(p) => return Err(crate::trace::op::unbound(op.name(), &p.axis)),
        Op::Cond(p) => {
            return control::cond(
                p,
                &|i, args| run(control::program(&p.branches, i)?, args),
                x,
            );
        }
        Op::While(p) => {
            let (cond, body) = (Plan::new(&p.cond_jaxpr), Plan::new(&p.body_jaxpr));
            let cond = |args| cond.run(&p.cond_jaxpr, args);
            return control::while_loop(p, &cond, &|args| body.run(&p.body_jaxpr, args), x);
        }
        Op::Custom(p) => {
            let x: Vec<Array> = x.iter().map(|b| Array::from_shared(b.clone())).collect();
            let y = p.eval(&x)?;
            return y
                .iter()
                .map(|y| y.concrete("a result").map(|b| (*b).clone()))
                .collect();
        }
    };
    let weak_type = results.first().is_some_and(|a| a.weak_type);
    Ok(smallvec![y.with_weak_type(weak_type)])
}

fn owned(results: Vec<Arc<Buffer>>) -> Buffers {
    results.iter().map(|b| (**b).clone()).collect()
}

/// Run a program. Buffers are dropped after their last use.
pub fn run(j: &Jaxpr, args: Vec<Arc<Buffer>>) -> Result<Vec<Arc<Buffer>>> {
    Plan::new(j).run(j, args)
}

/// What is worked out once for a program that may run many times.
struct Plan {
    /// The number of the equation that reads a variable last; `usize::MAX` for results.
    last_use: Vec<usize>,
}

impl Plan {
    fn new(j: &Jaxpr) -> Plan {
        let mut last_use: Vec<usize> = vec![0; j.var_count()];
        for (i, eqn) in j.eqns().iter().enumerate() {
            for v in eqn.inputs.iter().filter_map(Atom::var) {
                if let Some(slot) = last_use.get_mut(v.index()) {
                    *slot = i;
                }
            }
        }
        for v in j.outs().iter().filter_map(Atom::var) {
            if let Some(slot) = last_use.get_mut(v.index()) {
                *slot = usize::MAX;
            }
        }
        Plan { last_use }
    }

    fn run(&self, j: &Jaxpr, args: Vec<Arc<Buffer>>) -> Result<Vec<Arc<Buffer>>> {
        let last_use = &self.last_use;
        let mut env: Env<Arc<Buffer>> = Env::new(j, args.into_iter())?;
        for (v, c) in j.consts() {
            env.set(*v, constant(c)?);
        }
        let read = |env: &Env<Arc<Buffer>>, a: &Atom| match a {
            Atom::Var(v) => env.get(*v).cloned(),
            Atom::Lit(l) => Ok(l.buffer().clone()),
        };
        for (i, eqn) in j.eqns().iter().enumerate() {
            let mut x: SmallVec<[Arc<Buffer>; 4]> = SmallVec::new();
            for a in &eqn.inputs {
                x.push(read(&env, a)?);
            }
            for v in eqn.inputs.iter().filter_map(Atom::var) {
                if last_use.get(v.index()) == Some(&i) {
                    env.take(v);
                }
            }
            let avals: SmallVec<[Aval; 2]> =
                eqn.outputs.iter().map(|v| (**j.aval(*v)).clone()).collect();
            let y = apply(&eqn.op, &x, &avals).map_err(|e| e.at(eqn.at))?;
            for (v, y) in eqn.outputs.iter().zip(y) {
                env.set(*v, Arc::new(y));
            }
        }
        j.outs().iter().map(|a| read(&env, a)).collect()
    }
}

/// The numbers of a captured array.
pub(crate) fn constant(c: &Array) -> Result<Arc<Buffer>> {
    match &c.0 {
        Repr::Dense(b) => Ok(b.clone()),
        Repr::Zero(a) => Ok(Arc::new(Buffer::full((**a).clone(), Scalar::Int(0))?)),
        _ => Err(Error::internal(format!("{c:?} reached the interpreter"))),
    }
}
