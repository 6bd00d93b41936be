//! `cond`: one of several programs, chosen by a number.

use super::{avals_of, either, indices, somes, with_inputs, zero};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        self, Jaxpr, Program, bind, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Clamp, Inner, Jvp, Op, Param, Params, Prim,
            Primitive, Pruned, SelectN, Split, SplitOperand, Tangent, batch_to_front, check_call,
            deal_cotangents, deal_tangents, known_and_cotangents, marked, with_tangents,
        },
    },
    transform::{batch, jvp, partial_eval::partial_eval, transpose},
};

/// `cond`
pub const COND: Prim<Cond> = Prim::new("cond");

/// One of several programs of the same type. The first operand, an int32 scalar, says which; it is clamped to what there is. The
/// others are the program's operands.
#[derive(Clone, PartialEq, Debug)]
pub struct Cond {
    /// The programs.
    pub branches: Vec<Program>,
}

fn no_index() -> Error {
    Error::internal("`cond` has no operand that says which branch")
}

impl Cond {
    fn around(branches: Vec<Jaxpr>) -> Op {
        let branches = branches.into_iter().map(Program::from).collect();
        Cond { branches }.into()
    }

    fn all<T>(&self, f: impl FnMut(&Program) -> Result<T>) -> Result<Vec<T>> {
        self.branches.iter().map(f).collect()
    }

    fn results(&self) -> usize {
        self.branches.first().map_or(0, |b| b.outs().len())
    }
}

/// What is marked in any of the lists.
fn union(lists: impl IntoIterator<Item = Vec<bool>>) -> Vec<bool> {
    let mut lists = lists.into_iter();
    let first = lists.next().unwrap_or_default();
    lists.fold(first, |a, b| either(&a, &b))
}

/// A batch of which the examples that `mask` does not mark have no derivative. A branch that an example does not take may be
/// singular there: its cotangent is zero, but zero times infinity is not. Operands that are the same for all examples stay as they
/// are (unless they are single numbers), because repeating a matrix for each example would cost more than it saves.
fn taken(x: &Array, mask: &Array) -> Array {
    if !x.dtype().is_ok_and(|d| d.is_inexact()) {
        return x.clone();
    }
    let mask = mask.broadcast_in_dim(x.shape(), [0]);
    bind(SelectN, &[&mask, &x.stop_gradient(), x])
}

impl Primitive for Cond {
    fn name(&self) -> &'static str {
        "cond"
    }

    fn params(&self) -> Params {
        vec![("branches", Param::Programs(self.branches.clone()))]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (index, x) = x.split_first().ok_or_else(no_index)?;
        if index.ndim() != 0 || index.dtype != DType::I32 {
            return Err(Error::shape(format!(
                "`cond` chooses by an int32 scalar, not by {index}"
            )));
        }
        let first = self
            .branches
            .first()
            .ok_or_else(|| Error::argument("`cond` needs at least one branch"))?;
        let outs = first.out_avals();
        for b in &self.branches {
            check_call("cond", b, x)?;
            let same = b.out_avals().iter().zip(&outs).all(|(a, b)| a.same_type(b));
            if !same || b.outs().len() != outs.len() {
                return Err(Error::shape(
                    "the branches of `cond` have different results",
                ));
            }
        }
        Ok(outs.into_iter().collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let t = t.get(1..).unwrap_or_default();
        let nonzero = somes(t);
        let wanted = union(self.all(|b| Ok(jvp::jvp(b, &nonzero, None)?.1))?);
        let branches = self.all(|b| Ok(jvp::jvp(b, &nonzero, Some(&wanted))?.0))?;
        let results = bind_all(Cond::around(branches), &with_tangents(x, t))?;
        Ok(deal_tangents(results, &wanted))
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let (Some(Arg::Known(index)), Some(x)) = (x.first(), x.get(1..)) else {
            return Err(super::super::not_linear("cond"));
        };
        let linear: Vec<bool> = x.iter().map(Arg::is_linear).collect();
        let given = somes(ct);
        let programs = self.all(|b| transpose::transpose(b, &linear, &given))?;
        let wanted = union(programs.iter().map(|(_, nonzero)| nonzero.clone()));
        let avals: Vec<Aval> = avals_of(x)?
            .into_iter()
            .zip(&linear)
            .filter(|(_, l)| **l)
            .map(|(a, _)| a)
            .collect();
        let branches = programs
            .into_iter()
            .map(|(p, nonzero)| {
                let inputs: Vec<Aval> = p.in_avals().cloned().collect();
                trace::stage(&inputs, None, &mut |x| {
                    let mut results = p.eval(&x)?.into_iter();
                    let mut outs = vec![];
                    for ((aval, wanted), nonzero) in avals.iter().zip(&wanted).zip(&nonzero) {
                        let ct = if *nonzero { results.next() } else { None };
                        if *wanted {
                            outs.push(ct.unwrap_or_else(|| zero(aval)));
                        }
                    }
                    Ok(outs)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut args = vec![index.clone()];
        args.extend(known_and_cotangents(x, ct));
        let results = bind_all(Cond::around(branches), &args)?;
        let mut all = vec![None];
        all.extend(deal_cotangents(results, x, &wanted));
        Ok(all)
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (Some((index, x)), Some((chosen, d))) = (x.split_first(), d.split_first()) else {
            return Err(no_index());
        };
        let dims = self.all(|b| Ok(batch::batch(b, d, axis, None)?.1))?;
        if chosen.is_none() {
            let wanted: Vec<Option<usize>> = union(dims.iter().map(|d| somes(d)))
                .into_iter()
                .map(|batched| batched.then_some(0))
                .collect();
            let branches = self.all(|b| Ok(batch::batch(b, d, axis, Some(&wanted))?.0))?;
            let args = [std::slice::from_ref(index), x].concat();
            return Ok((bind_all(Cond::around(branches), &args)?, wanted));
        }
        // Examples differ in the branch that they take: all of them run, and each example takes its own result.
        let wanted = vec![Some(0); self.results()];
        let last = i32::try_from(self.branches.len()).unwrap_or(i32::MAX) - 1;
        let index = bind(Clamp, &[&Array::from(0i32), index, &Array::from(last)]);
        let at_front: Vec<Option<usize>> = d
            .iter()
            .zip(x)
            .map(|(d, x)| (d.is_some() || x.ndim() == 0).then_some(0))
            .collect();
        let results = (0i32..)
            .zip(&self.branches)
            .map(|(i, b)| {
                let mask = index.eq(i);
                let x: Vec<Array> = x
                    .iter()
                    .zip(d)
                    .zip(&at_front)
                    .map(|((x, d), front)| match front {
                        Some(_) => taken(&batch_to_front(x, *d, axis.size), &mask),
                        None => x.clone(),
                    })
                    .collect();
                batch::batch(b, &at_front, axis, Some(&wanted))?.0.eval(&x)
            })
            .collect::<Result<Vec<_>>>()?;
        let select = |i: usize| {
            let cases: Vec<&Array> = results.iter().filter_map(|r| r.get(i)).collect();
            let which = match cases.first() {
                Some(c) => index.broadcast_in_dim(c.shape(), [0]),
                None => index.clone(),
            };
            bind(SelectN, &[&[&which][..], &cases].concat())
        };
        Ok(((0..self.results()).map(select).collect(), wanted))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for Cond {
    fn programs(&self) -> Vec<&Program> {
        self.branches.iter().collect()
    }

    fn with_programs(&self, branches: Vec<Program>) -> Result<Op> {
        Ok(Cond { branches }.into())
    }

    /// The choice is known: each half chooses. Residuals of different branches share their places where types allow.
    fn partial_eval(&self, unknown: &[bool], operands: &[&Aval]) -> Result<Split> {
        let (index, unknown) = unknown.split_first().ok_or_else(no_index)?;
        if *index {
            return Split::nothing_known(self.clone().into(), operands);
        }
        let unknown_outs = union(self.all(|b| Ok(partial_eval(b, unknown, &[])?.unknown_outs))?);
        let halves = self.all(|b| partial_eval(b, unknown, &unknown_outs))?;
        // The place of each residual of each branch.
        let mut slots: Vec<Aval> = vec![];
        let places: Vec<Vec<usize>> = halves
            .iter()
            .map(|h| {
                let mut free: Vec<bool> = vec![true; slots.len()];
                h.unknown
                    .in_avals()
                    .take(h.residuals)
                    .map(|a| {
                        let fits =
                            |i: &usize| free.get(*i) == Some(&true) && slots.get(*i) == Some(a);
                        let at = (0..slots.len()).find(fits).unwrap_or_else(|| {
                            slots.push(a.clone());
                            free.push(true);
                            slots.len() - 1
                        });
                        if let Some(slot) = free.get_mut(at) {
                            *slot = false;
                        }
                        at
                    })
                    .collect()
            })
            .collect();
        let (mut known, mut rest) = (vec![], vec![]);
        for (h, places) in halves.iter().zip(&places) {
            let inputs: Vec<Aval> = h.known.in_avals().cloned().collect();
            known.push(trace::stage(&inputs, None, &mut |x| {
                let mut outs = h.known.eval(&x)?;
                let residuals = outs.split_off(outs.len() - h.residuals.min(outs.len()));
                let first = outs.len();
                outs.extend(slots.iter().map(|a| Array::symbolic_zero(a.clone())));
                for (x, at) in residuals.into_iter().zip(places) {
                    if let Some(slot) = outs.get_mut(first + at) {
                        *slot = x;
                    }
                }
                Ok(outs)
            })?);
            // The unknown half takes all places, and reads its own.
            let own = h.unknown.invars().get(h.residuals..).unwrap_or_default();
            let sources: Vec<Option<usize>> = (0..slots.len())
                .map(|slot| places.iter().position(|p| *p == slot))
                .chain((0..own.len()).map(|i| Some(h.residuals + i)))
                .collect();
            let avals: Vec<Aval> = slots
                .iter()
                .cloned()
                .chain(h.unknown.in_avals().skip(h.residuals).cloned())
                .collect();
            rest.push(with_inputs(h.unknown.clone(), &sources, &avals));
        }
        let numbers = |wanted: bool| {
            let hits = unknown.iter().enumerate();
            hits.filter(move |(_, u)| **u == wanted).map(|(i, _)| i + 1)
        };
        let known_numbers: Vec<usize> = std::iter::once(0).chain(numbers(false)).collect();
        let aval = |i: &usize| operands.get(*i).map(|a| (*a).clone());
        let known_avals: Vec<Aval> = known_numbers.iter().filter_map(aval).collect();
        let sources: Vec<SplitOperand> = std::iter::once(SplitOperand::Operand(0))
            .chain((0..slots.len()).map(SplitOperand::Residual))
            .chain(numbers(true).map(SplitOperand::Operand))
            .collect();
        let rest_avals: Vec<Aval> = std::iter::once(0)
            .filter_map(|i| aval(&i))
            .chain(slots.iter().cloned())
            .chain(numbers(true).filter_map(|i| aval(&i)))
            .collect();
        Ok(Split {
            known: (
                Jaxpr::of_op(Cond::around(known), known_avals)?,
                known_numbers,
            ),
            unknown: (Jaxpr::of_op(Cond::around(rest), rest_avals)?, sources),
            unknown_outs,
        })
    }

    fn prune(&self, used: &[bool]) -> Option<Pruned> {
        let pruned: Vec<(Jaxpr, Vec<usize>)> =
            self.branches.iter().map(|b| b.prune(used)).collect();
        let n = self.branches.first()?.invars().len();
        let kept: Vec<usize> = (0..n)
            .filter(|i| pruned.iter().any(|(_, operands)| operands.contains(i)))
            .collect();
        if kept.len() == n && !used.contains(&false) {
            return None;
        }
        let avals: Vec<Aval> = self.branches.first()?.in_avals().cloned().collect();
        let avals: Vec<Aval> = indices(&avals, &kept);
        let branches = pruned
            .into_iter()
            .map(|(p, operands)| {
                let sources: Vec<Option<usize>> = kept
                    .iter()
                    .map(|k| operands.iter().position(|o| o == k))
                    .collect();
                with_inputs(p, &sources, &avals)
            })
            .collect();
        Some(Pruned {
            op: Cond::around(branches),
            operands: std::iter::once(0)
                .chain(kept.iter().map(|i| i + 1))
                .collect(),
            results: marked(used),
        })
    }
}
