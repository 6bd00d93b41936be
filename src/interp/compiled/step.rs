//! One step of a plan, and running it.

use super::{
    Executable,
    blocks::Blocks,
    contract::{Contract, dot_general},
    conv,
    moves::Move,
    plan::{Place, Plan},
    profile::{Profile, profile},
    reduce, sort,
    storage::Pool,
    tiled::{Operand, Program, function},
    view,
};
use crate::{
    array::{Aval, Buffer},
    error::{Error, Result},
    interp::{Buffers, reference},
    trace::op::{BroadcastInDim, ConvGeneralDilated, Op, Reduce, Sort, TopK, Transpose},
};
use smallvec::{SmallVec, smallvec};
use std::{panic::Location, sync::Arc, time::Instant};

/// How a step is computed.
pub(super) enum Kernel {
    Tiled(Box<Program>),
    /// The same with matrix products computed on the way.
    Blocks(Box<Blocks>),
    Transpose(Arc<Transpose>),
    Broadcast(Arc<BroadcastInDim>),
    Reshape,
    Contract(Box<Contract>),
    /// A convolution, and how many products each element of its result is the sum of.
    Conv(Arc<ConvGeneralDilated>, usize),
    Reduce(Arc<Reduce>),
    Sort(Arc<Sort>),
    TopK(Arc<TopK>),
    Move(Move),
    /// A primitive that runs programs, and those programs, ready to run.
    Control(Op, Vec<Executable>),
    /// As the reference interpreter does.
    Reference(Op),
}

impl Kernel {
    /// The kernel of a primitive. Each new primitive chooses here.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub(super) fn of(op: &Op, operands: &[&Aval]) -> Result<Kernel> {
        Ok(match op {
            Op::Transpose(p) => Kernel::Transpose(p.clone()),
            Op::BroadcastInDim(p) => Kernel::Broadcast(p.clone()),
            Op::Reshape(_) | Op::Squeeze(_) => Kernel::Reshape,
            Op::DotGeneral(p) => {
                let [x, y] = operands else {
                    return Err(broken());
                };
                Kernel::Contract(Contract::new(p, &x.shape, &y.shape).into())
            }
            Op::ConvGeneralDilated(p) => match operands {
                [_, kernel] if conv::fits(p, operands) => {
                    Kernel::Conv(p.clone(), conv::terms(p, kernel))
                }
                _ => Kernel::Reference(op.clone()),
            },
            Op::Reduce(p) => Kernel::Reduce(p.clone()),
            Op::Sort(p) => Kernel::Sort(p.clone()),
            Op::TopK(p) => Kernel::TopK(p.clone()),
            Op::DynamicUpdateSlice(_) => Kernel::Move(Move::Update),
            Op::Pad(p) => Kernel::Move(Move::Pad(p.clone())),
            Op::Concatenate(p) => Kernel::Move(Move::Concatenate(p.clone())),
            Op::Scatter(p) => Kernel::Move(Move::Scatter(p.clone())),
            Op::Gather(p) => Kernel::Move(Move::Gather(p.clone())),
            Op::Scan(_)
            | Op::Cond(_)
            | Op::While(_)
            | Op::CustomJvp(_)
            | Op::CustomVjp(_)
            | Op::Checkpoint(_) => {
                let programs = op.inner().map(|i| i.programs()).unwrap_or_default();
                let ready = programs.into_iter().map(|p| Executable::new(p));
                Kernel::Control(op.clone(), ready.collect::<Result<_>>()?)
            }
            Op::ReduceBy(_)
            | Op::ReduceWindowBy(_)
            | Op::SelectAndScatter(_)
            | Op::RaggedDotGeneral(_) => {
                let operands: Vec<Aval> = operands.iter().map(|a| (*a).clone()).collect();
                let program = op.definition(&operands).ok_or_else(broken)??;
                Kernel::Control(op.clone(), vec![Executable::new(&program)?])
            }
            Op::CustomLinearSolve(p) => {
                Kernel::Control(op.clone(), vec![Executable::new(&p.solve.jaxpr)?])
            }
            // Elementwise ones come here only where their operands are not of one shape, which the reference knows to refuse.
            Op::Unary(_)
            | Op::Binary(_)
            | Op::IntegerPow(_)
            | Op::SelectN(_)
            | Op::ConvertElementType(_)
            | Op::StopGradient(_)
            | Op::Component(_)
            | Op::Copied(_)
            | Op::OptimizationBarrier(_)
            | Op::Iota(_)
            | Op::Threefry2x32(_)
            | Op::RandomGamma(_)
            | Op::Special(_)
            | Op::Clamp(_)
            | Op::Slice(_)
            | Op::DynamicSlice(_)
            | Op::Rev(_)
            | Op::BitcastConvertType(_)
            | Op::ReduceWindow(_)
            | Op::SelectAndGatherAdd(_)
            | Op::SelectAndScatterAdd(_)
            | Op::Linalg(_)
            | Op::Factor(_)
            | Op::Cumulative(_)
            | Op::Jit(_)
            | Op::CustomLinear(_)
            | Op::Collective(_)
            | Op::AxisIndex(_)
            | Op::Exchange(_)
            | Op::SplitAlong(_)
            | Op::ScatterBy(_)
            | Op::SortBy(_)
            | Op::Stack(_)
            | Op::Unstack(_)
            | Op::Tile(_)
            | Op::Fft(_)
            | Op::RngBitGenerator(_)
            | Op::Custom(_) => Kernel::Reference(op.clone()),
        })
    }
}

impl Step {
    /// About how long it takes in one thread.
    pub(super) fn nanoseconds(&self) -> f64 {
        let n = self.avals.first().map_or(0, |a| a.size());
        match &self.kernel {
            Kernel::Transpose(_) | Kernel::Broadcast(_) => 0.0,
            Kernel::Tiled(p) => p.space(n) as f64 * p.nanoseconds,
            Kernel::Blocks(b) => {
                b.program.space(n) as f64 * (b.program.nanoseconds + b.nanoseconds())
            }
            Kernel::Contract(p) => n as f64 * p.terms() as f64 * 0.01,
            Kernel::Conv(_, terms) => n as f64 * *terms as f64 * 0.02,
            Kernel::Control(op, programs) => {
                let times = match op {
                    Op::Scan(p) => p.length as f64,
                    Op::While(_) => 100.0,
                    _ => 1.0,
                };
                times * programs.iter().map(Executable::nanoseconds).sum::<f64>()
            }
            Kernel::Sort(_) | Kernel::TopK(_) => n as f64 * 20.0,
            Kernel::Reshape | Kernel::Reduce(_) | Kernel::Move(_) | Kernel::Reference(_) => {
                n as f64
            }
        }
    }
}

/// One step of a plan.
pub(super) struct Step {
    pub kernel: Kernel,
    pub operands: SmallVec<[Place; 4]>,
    /// The slots of the results, and their types.
    pub results: SmallVec<[u32; 1]>,
    pub avals: SmallVec<[Arc<Aval>; 1]>,
    /// Slots that are not read after this step.
    pub dead: SmallVec<[u32; 2]>,
    pub at: &'static Location<'static>,
}

/// What a plan needs while it runs; kept between runs.
#[derive(Default)]
pub(super) struct Machine {
    slots: Vec<Option<Buffer>>,
    pool: Pool,
}

fn broken() -> Error {
    Error::internal("a plan reads an empty slot")
}

fn only(b: Buffer) -> Buffers {
    smallvec![b]
}

impl Plan {
    pub(super) fn run(
        &self,
        machine: &mut Machine,
        args: &[Arc<Buffer>],
    ) -> Result<Vec<Arc<Buffer>>> {
        if args.len() != self.arguments {
            return Err(Error::tree(format!(
                "the program takes {} arrays, {} were given",
                self.arguments,
                args.len()
            )));
        }
        machine.slots.resize(self.slots, None);
        let profile = profile();
        for step in &self.steps {
            let done = match profile {
                None => self.step(step, machine, args),
                Some(profile) => self.noted(profile, step, machine, args),
            };
            if let Err(e) = done {
                machine.slots.clear();
                return Err(e.at(step.at));
            }
        }
        profile.inspect(|p| p.flush());
        let mut results = Vec::with_capacity(self.results.len());
        for out in &self.results {
            let shared = |b: &Arc<Buffer>| {
                if b.aval().weak_type == out.weak_type {
                    b.clone()
                } else {
                    Arc::new(b.with_weak_type(out.weak_type))
                }
            };
            results.push(match out.place {
                Place::Argument(i) => shared(args.get(i as usize).ok_or_else(broken)?),
                Place::Constant(i) => shared(self.constants.get(i as usize).ok_or_else(broken)?),
                Place::Slot(s) => {
                    let slot = machine.slots.get_mut(s as usize).ok_or_else(broken)?;
                    let b = if out.last { slot.take() } else { slot.clone() };
                    Arc::new(b.ok_or_else(broken)?.with_weak_type(out.weak_type))
                }
            });
        }
        Ok(results)
    }

    /// Run a step, and note what it took.
    fn noted(
        &self,
        profile: &Profile,
        step: &Step,
        machine: &mut Machine,
        args: &[Arc<Buffer>],
    ) -> Result<()> {
        let operands = step.operands.iter().map(|p| {
            let x = read(*p, &machine.slots, args, &self.constants)?;
            Ok(x.aval().clone())
        });
        let operands: Vec<Arc<Aval>> = operands.collect::<Result<_>>()?;
        let began = Instant::now();
        self.step(step, machine, args)?;
        profile.note(step, &operands, began);
        Ok(())
    }

    fn step(&self, step: &Step, machine: &mut Machine, args: &[Arc<Buffer>]) -> Result<()> {
        let Machine { slots, pool } = machine;
        let results = match &step.kernel {
            Kernel::Tiled(program) => {
                // Operands that die here are given up, so that their storage may become that of a result.
                let mut taken: SmallVec<[(u32, Buffer); 2]> = SmallVec::new();
                for s in &step.dead {
                    if let Some(b) = slots.get_mut(*s as usize).and_then(Option::take) {
                        taken.push((*s, b));
                    }
                }
                let mut operands: SmallVec<[Operand<'_>; 4]> = SmallVec::new();
                for p in &step.operands {
                    let own = match p {
                        Place::Slot(s) => taken.iter().position(|(t, _)| t == s),
                        _ => None,
                    };
                    operands.push(match own {
                        Some(i) => Operand::Owned(taken.swap_remove(i).1),
                        None => Operand::Shared(read(*p, slots, args, &self.constants)?),
                    });
                }
                program.run(operands, &step.avals, pool)?
            }
            Kernel::Blocks(blocks) => {
                // As above, but for what the products read.
                let mut operands: SmallVec<[Operand<'_>; 4]> = SmallVec::new();
                let mut taken: SmallVec<[Option<Buffer>; 4]> = SmallVec::new();
                for (i, p) in step.operands.iter().take(blocks.own()).enumerate() {
                    taken.push(match p {
                        Place::Slot(s) if step.dead.contains(s) && !blocks.multiplies(i) => {
                            slots.get_mut(*s as usize).and_then(Option::take)
                        }
                        _ => None,
                    });
                }
                let mut all: SmallVec<[Option<&Buffer>; 8]> = SmallVec::new();
                let mut own = taken.into_iter();
                for (i, p) in step.operands.iter().enumerate() {
                    let given = own.next().flatten();
                    let shared = match given {
                        Some(_) => None,
                        None => Some(read(*p, slots, args, &self.constants)?),
                    };
                    all.push(shared);
                    if i < blocks.own() {
                        operands.extend(given.map(Operand::Owned));
                        operands.extend(shared.map(Operand::Shared));
                    }
                }
                blocks.run(operands, &all, &step.avals, pool)?
            }
            Kernel::Move(m) => {
                let (first, rest) = step.operands.split_first().ok_or_else(broken)?;
                // What dies here, and is not read as another operand as well, is given up.
                let own = match first {
                    Place::Slot(s) if step.dead.contains(s) && !rest.contains(first) => {
                        slots.get_mut(*s as usize).and_then(Option::take)
                    }
                    _ => None,
                };
                let mut others: SmallVec<[&Buffer; 4]> = SmallVec::new();
                for p in rest {
                    others.push(read(*p, slots, args, &self.constants)?);
                }
                let first = match own {
                    Some(b) => Operand::Owned(b),
                    None => Operand::Shared(read(*first, slots, args, &self.constants)?),
                };
                only(m.run(first, &others, step.avals.first().ok_or_else(broken)?, pool)?)
            }
            kernel => {
                let mut operands: SmallVec<[&Buffer; 4]> = SmallVec::new();
                for p in &step.operands {
                    operands.push(read(*p, slots, args, &self.constants)?);
                }
                kernel.run(&operands, &step.avals, pool)?
            }
        };
        for s in &step.dead {
            if let Some(b) = slots.get_mut(*s as usize).and_then(Option::take) {
                pool.give(b);
            }
        }
        for (s, y) in step.results.iter().zip(results) {
            if step.dead.contains(s) {
                continue;
            }
            *slots.get_mut(*s as usize).ok_or_else(broken)? = Some(y);
        }
        Ok(())
    }
}

fn read<'a>(
    p: Place,
    slots: &'a [Option<Buffer>],
    args: &'a [Arc<Buffer>],
    constants: &'a [Arc<Buffer>],
) -> Result<&'a Buffer> {
    let b = match p {
        Place::Argument(i) => args.get(i as usize).map(|b| &**b),
        Place::Constant(i) => constants.get(i as usize).map(|b| &**b),
        Place::Slot(i) => slots.get(i as usize).and_then(Option::as_ref),
    };
    b.ok_or_else(broken)
}

impl Kernel {
    /// Compute the results of a step that is not elementwise.
    fn run(&self, x: &[&Buffer], avals: &[Arc<Aval>], pool: &mut Pool) -> Result<Buffers> {
        let out = avals.first().ok_or_else(broken);
        let operand = |i: usize| x.get(i).copied().ok_or_else(broken);
        Ok(match self {
            Kernel::Transpose(p) => only(view::transpose(operand(0)?, &p.permutation, out?)?),
            Kernel::Broadcast(p) => {
                only(view::broadcast(operand(0)?, &p.broadcast_dimensions, out?)?)
            }
            Kernel::Reshape => only(view::reshape(operand(0)?, out?, pool)?),
            Kernel::Contract(p) => only(p.run(operand(0)?, operand(1)?, out?, pool)?),
            Kernel::Conv(p, _) => only(conv::conv(p, operand(0)?, operand(1)?, out?, pool)?),
            Kernel::Reduce(p) => match reduce::reduce(p, operand(0)?, out?, pool)? {
                Some(y) => only(y),
                None => by_reference(&Op::Reduce(p.clone()), x, avals)?,
            },
            Kernel::Sort(p) => match sort::sort(p, x, avals)? {
                Some(y) => y,
                None => by_reference(&Op::Sort(p.clone()), x, avals)?,
            },
            Kernel::TopK(p) => match sort::top_k(p, operand(0)?, avals)? {
                Some(y) => y,
                None => by_reference(&Op::TopK(p.clone()), x, avals)?,
            },
            Kernel::Move(m) => {
                let (first, rest) = x.split_first().ok_or_else(broken)?;
                only(m.run(Operand::Shared(first), rest, out?, pool)?)
            }
            Kernel::Control(op, programs) => control(op, programs, x, avals)?,
            Kernel::Reference(op) => by_reference(op, x, avals)?,
            Kernel::Tiled(program) => {
                let operands = x.iter().map(|b| Operand::Shared(b)).collect();
                program.run(operands, avals, pool)?
            }
            Kernel::Blocks(blocks) => {
                let operands = x.iter().take(blocks.own());
                let operands = operands.map(|b| Operand::Shared(b)).collect();
                let all: SmallVec<[Option<&Buffer>; 8]> = x.iter().map(|b| Some(*b)).collect();
                blocks.run(operands, &all, avals, pool)?
            }
        })
    }
}

/// A primitive that runs programs, with the programs planned beforehand.
fn control(
    op: &Op,
    programs: &[Executable],
    x: &[&Buffer],
    avals: &[Arc<Aval>],
) -> Result<Buffers> {
    let x: SmallVec<[Arc<Buffer>; 4]> = x.iter().map(|b| Arc::new((*b).clone())).collect();
    let avals: SmallVec<[Aval; 2]> = avals.iter().map(|a| (**a).clone()).collect();
    let run = |i: usize, args: Vec<Arc<Buffer>>| match programs.get(i) {
        Some(p) => p.run(&args),
        None => Err(broken()),
    };
    match op {
        Op::Scan(p) => reference::control::scan(p, &|args| run(0, args), &x, &avals),
        Op::Cond(p) => reference::control::cond(p, &run, &x),
        Op::While(p) => {
            reference::control::while_loop(p, &|args| run(1, args), &|args| run(0, args), &x)
        }
        Op::CustomLinearSolve(p) => {
            let y = run(0, p.solve_operands(&x))?;
            Ok(y.iter().map(|b| (**b).clone()).collect())
        }
        // The others call their one program once.
        _ => Ok(run(0, x.to_vec())?.iter().map(|b| (**b).clone()).collect()),
    }
}

fn by_reference(op: &Op, x: &[&Buffer], avals: &[Arc<Aval>]) -> Result<Buffers> {
    let x: SmallVec<[Arc<Buffer>; 4]> = x.iter().map(|b| Arc::new((*b).clone())).collect();
    let avals: SmallVec<[Aval; 2]> = avals.iter().map(|a| (**a).clone()).collect();
    reference::apply(op, &x, &avals)
}

/// Run one primitive at once.
pub(crate) fn eager(op: &Op, operands: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    eager_with(op, operands, results, &mut Pool::default())
}

fn eager_with(
    op: &Op,
    operands: &[Arc<Buffer>],
    results: &[Aval],
    pool: &mut Pool,
) -> Result<Buffers> {
    let x: SmallVec<[&Buffer; 4]> = operands.iter().map(|b| &**b).collect();
    let Some(out) = results.first() else {
        return reference::apply(op, operands, results);
    };
    let first = x.first().map(|b| b.dtype());
    let fits = |b: &&Buffer| b.len() == 1 || b.shape() == &out.shape[..];
    if let Some(f) = function(op, x.len(), first)
        && x.iter().all(fits)
    {
        let program = Program::single(f, first.unwrap_or(out.dtype), out.dtype, x.len());
        let avals = [Arc::new(out.clone())];
        let operands = x.into_iter().map(Operand::Shared).collect();
        return program.run(operands, &avals, pool);
    }
    if let (Op::DotGeneral(p), [a, b]) = (op, &x[..]) {
        return Ok(only(dot_general(
            p,
            None,
            a,
            b,
            &Arc::new(out.clone()),
            pool,
        )?));
    }
    let types: SmallVec<[&Aval; 4]> = x.iter().map(|b| &**b.aval()).collect();
    match Kernel::of(op, &types)? {
        Kernel::Reference(op) => reference::apply(&op, operands, results),
        kernel => {
            let avals: SmallVec<[Arc<Aval>; 1]> =
                results.iter().map(|a| Arc::new(a.clone())).collect();
            kernel.run(&x, &avals, pool)
        }
    }
}
