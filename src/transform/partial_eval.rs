//! Partial evaluation: a program is split by what is known of its inputs. Surgery on equations, nothing is traced.

use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{
        Atom, Atoms, Env, Eqn, Jaxpr, Var, Vars,
        op::{Component, Split, SplitOperand},
        passes::DCE,
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// The halves of a program.
pub(crate) struct Halves {
    /// From the known inputs to the known results, and then the residuals.
    pub known: Jaxpr,
    /// From the residuals and the unknown inputs to the unknown results.
    pub unknown: Jaxpr,
    /// Which results are not known.
    pub unknown_outs: Vec<bool>,
    /// How many residuals there are.
    pub residuals: usize,
}

/// Split a program: `unknown` marks the inputs that are not known, `instantiate` results that count as unknown even if they are
/// known (an empty list marks none).
pub(crate) fn partial_eval(j: &Jaxpr, unknown: &[bool], instantiate: &[bool]) -> Result<Halves> {
    let mut halves = Surgery {
        is_unknown: vec![false; j.avals.len()],
        avals: j.avals.clone(),
        consts: j.consts.clone(),
        stands_for: FxHashMap::default(),
        known: vec![],
        unknown: vec![],
    };
    for (v, u) in j.invars.iter().zip(unknown) {
        halves.mark(*v, *u);
    }
    for eqn in &j.eqns {
        halves.equation(eqn)?;
    }
    let outs: Vec<Atom> = j.outs.iter().map(|a| halves.resolve(a)).collect();
    let unknown_outs: Vec<bool> = outs
        .iter()
        .enumerate()
        .map(|(i, a)| halves.depends(a) || instantiate.get(i).copied().unwrap_or(false))
        .collect();
    let chosen = |wanted: bool| {
        let pick = |(a, u): (&Atom, &bool)| (*u == wanted).then(|| a.clone());
        outs.iter()
            .zip(&unknown_outs)
            .filter_map(pick)
            .collect::<Vec<_>>()
    };
    // Dead equations must not ask for residuals.
    let mut pruned = Jaxpr {
        eqns: std::mem::take(&mut halves.unknown),
        outs: chosen(true),
        avals: halves.avals.clone(),
        ..Jaxpr::default()
    }
    .dce();
    let unknown_inputs = j.invars.iter().zip(unknown).filter(|(_, u)| **u);
    // Captured arrays the unknown half captures itself.
    let own: Vec<Var> = unknown_inputs
        .map(|(v, _)| *v)
        .chain(halves.consts.iter().map(|(v, _)| *v))
        .collect();
    let repeated = definitions(&halves.known, &free(&pruned, &own));
    pruned.eqns.splice(0..0, repeated);
    let residuals = free(&pruned, &own);
    let inputs = |wanted: bool| {
        j.invars
            .iter()
            .zip(unknown)
            .filter(move |(_, u)| **u == wanted)
            .map(|(v, _)| *v)
    };
    let known = Jaxpr {
        invars: inputs(false).collect(),
        consts: halves.consts.clone(),
        eqns: halves.known,
        outs: chosen(false)
            .into_iter()
            .chain(residuals.iter().map(|v| Atom::Var(*v)))
            .collect(),
        avals: halves.avals.clone(),
        ..Jaxpr::default()
    };
    let unknown = Jaxpr {
        invars: residuals.iter().copied().chain(inputs(true)).collect(),
        consts: halves.consts,
        avals: halves.avals,
        ..pruned
    };
    Ok(Halves {
        known: known.through(&[DCE])?,
        unknown: unknown.through(&[DCE])?,
        unknown_outs,
        residuals: residuals.len(),
    })
}

/// The variables that a program reads but does not set, in order of first use.
fn free(j: &Jaxpr, own: &[Var]) -> Vec<Var> {
    let mut seen = vec![false; j.avals.len()];
    let mut claim = |v: Var| match seen.get_mut(v.index()) {
        Some(slot) => std::mem::replace(slot, true),
        None => true,
    };
    own.iter().for_each(|v| {
        claim(*v);
    });
    let mut free = vec![];
    let mut read = |a: &Atom, claim: &mut dyn FnMut(Var) -> bool| {
        free.extend(a.var().filter(|v| !claim(*v)));
    };
    for eqn in &j.eqns {
        eqn.inputs.iter().for_each(|a| read(a, &mut claim));
        eqn.outputs.iter().for_each(|v| {
            claim(*v);
        });
    }
    j.outs.iter().for_each(|a| read(a, &mut claim));
    free
}

/// The equations that must be repeated where these variables are read, because keeping them would keep an array that a value
/// forbids: those from the components of such a value to what is made of nothing else.
fn definitions(known: &[Eqn], wanted: &[Var]) -> Vec<Eqn> {
    let mark = |eqn: &Eqn| match eqn.op.get::<Component>() {
        Some(c) if !c.allow_materialise => Some(c.field.is_some()),
        _ => None,
    };
    if known.iter().all(|e| mark(e) != Some(false)) {
        return vec![];
    }
    let mut producer: FxHashMap<Var, usize> = FxHashMap::default();
    // Made of a forbidden array and nothing else.
    let mut tainted: FxHashSet<Var> = FxHashSet::default();
    for (i, eqn) in known.iter().enumerate() {
        producer.extend(eqn.outputs.iter().map(|v| (*v, i)));
        let mut read = eqn.inputs.iter().filter_map(Atom::var).peekable();
        let spoilt = read.peek().is_some() && read.all(|v| tainted.contains(&v));
        if mark(eqn) == Some(false) || spoilt {
            tainted.extend(eqn.outputs.iter().copied());
        }
    }
    let mut repeat = vec![false; known.len()];
    let mut agenda: Vec<Var> = wanted
        .iter()
        .copied()
        .filter(|v| tainted.contains(v))
        .collect();
    while let Some(v) = agenda.pop() {
        let Some(i) = producer.get(&v) else { continue };
        let (Some(slot), Some(eqn)) = (repeat.get_mut(*i), known.get(*i)) else {
            continue;
        };
        if std::mem::replace(slot, true) || mark(eqn) == Some(true) {
            continue;
        }
        agenda.extend(eqn.inputs.iter().filter_map(Atom::var));
    }
    let chosen = known.iter().zip(repeat).filter(|(_, r)| *r);
    chosen.map(|(e, _)| e.clone()).collect()
}

struct Surgery {
    is_unknown: Vec<bool>,
    avals: Vec<Arc<Aval>>,
    consts: Vec<(Var, Array)>,
    /// Results of split equations, and what computes them in one of the halves.
    stands_for: FxHashMap<Var, Atom>,
    known: Vec<Eqn>,
    unknown: Vec<Eqn>,
}

impl Surgery {
    fn mark(&mut self, v: Var, unknown: bool) {
        if let Some(slot) = self.is_unknown.get_mut(v.index()) {
            *slot = unknown;
        }
    }

    fn depends(&self, a: &Atom) -> bool {
        a.var()
            .is_some_and(|v| self.is_unknown.get(v.index()).copied().unwrap_or(false))
    }

    fn fresh(&mut self, aval: Arc<Aval>, unknown: bool) -> Var {
        self.avals.push(aval);
        self.is_unknown.push(unknown);
        Var((self.avals.len() - 1) as u32)
    }

    fn resolve(&self, a: &Atom) -> Atom {
        let found = a.var().and_then(|v| self.stands_for.get(&v));
        found.unwrap_or(a).clone()
    }

    fn equation(&mut self, eqn: &Eqn) -> Result<()> {
        let inputs: Atoms = eqn.inputs.iter().map(|a| self.resolve(a)).collect();
        let unknown: Vec<bool> = inputs.iter().map(|a| self.depends(a)).collect();
        let eqn = Eqn {
            inputs,
            ..eqn.clone()
        };
        if !unknown.contains(&true) {
            self.known.push(eqn);
            return Ok(());
        }
        let Some(inner) = eqn.op.inner() else {
            for v in &eqn.outputs {
                self.mark(*v, true);
            }
            self.unknown.push(eqn);
            return Ok(());
        };
        let operands: Vec<&Aval> = eqn
            .inputs
            .iter()
            .filter_map(|a| match a {
                Atom::Var(v) => self.avals.get(v.index()).map(|a| &**a),
                Atom::Lit(l) => Some(l.aval()),
            })
            .collect();
        let split = inner
            .partial_eval(&unknown, &operands)
            .map_err(|e| e.at(eqn.at))?;
        self.split(&eqn, split)
    }

    /// Put the halves of an equation into the halves of the program.
    fn split(&mut self, eqn: &Eqn, split: Split) -> Result<()> {
        let missing = || Error::internal("a split equation names an operand that it lacks");
        let operand = |i: usize| eqn.inputs.get(i).cloned().ok_or_else(missing);
        let (known, operands) = split.known;
        let inputs = operands
            .into_iter()
            .map(operand)
            .collect::<Result<Atoms>>()?;
        let mut known_outs = self.inline(&known, &inputs, false, eqn)?;
        let unmarked = split.unknown_outs.iter().filter(|u| !**u).count();
        let residuals = known_outs.split_off(unmarked.min(known_outs.len()));
        let (unknown, operands) = split.unknown;
        let inputs = operands
            .into_iter()
            .map(|o| match o {
                SplitOperand::Operand(i) => operand(i),
                SplitOperand::Residual(i) => residuals.get(i).cloned().ok_or_else(missing),
            })
            .collect::<Result<Atoms>>()?;
        let unknown_outs = self.inline(&unknown, &inputs, true, eqn)?;
        let (mut known_outs, mut unknown_outs) = (known_outs.into_iter(), unknown_outs.into_iter());
        for (v, u) in eqn.outputs.iter().zip(&split.unknown_outs) {
            let out = if *u {
                unknown_outs.next()
            } else {
                known_outs.next()
            };
            self.stands_for.insert(*v, out.ok_or_else(missing)?);
        }
        Ok(())
    }

    /// Append a program's equations to a half; its results.
    fn inline(
        &mut self,
        j: &Jaxpr,
        inputs: &[Atom],
        unknown: bool,
        whole: &Eqn,
    ) -> Result<Vec<Atom>> {
        let mut env: Env<Atom> = Env::new(j, inputs.iter().cloned())?;
        for (v, c) in &j.consts {
            let fresh = self.fresh(j.aval(*v).clone(), false);
            self.consts.push((fresh, c.clone()));
            env.set(*v, Atom::Var(fresh));
        }
        let read = |env: &Env<Atom>, a: &Atom| match a {
            Atom::Var(v) => env.get(*v).cloned(),
            Atom::Lit(_) => Ok(a.clone()),
        };
        for eqn in &j.eqns {
            let inputs = eqn
                .inputs
                .iter()
                .map(|a| read(&env, a))
                .collect::<Result<Atoms>>()?;
            let outputs = eqn
                .outputs
                .iter()
                .map(|v| {
                    let fresh = self.fresh(j.aval(*v).clone(), unknown);
                    env.set(*v, Atom::Var(fresh));
                    fresh
                })
                .collect::<Vars>();
            let eqn = Eqn {
                op: eqn.op.clone(),
                inputs,
                outputs,
                at: whole.at,
            };
            if unknown {
                self.unknown.push(eqn);
            } else {
                self.known.push(eqn);
            }
        }
        j.outs.iter().map(|a| read(&env, a)).collect()
    }
}
