//! Partial evaluation: a program is split by what is known of its inputs. Surgery on equations, nothing is traced.

use crate::{
    array::Aval,
    error::{Error, Result},
    trace::{
        Atom, Atoms, Eqn, Jaxpr, Var, Vars,
        op::{Component, Split, SplitOperand},
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

impl Halves {
    /// The types of the residuals.
    pub(crate) fn residual_avals(&self) -> Vec<Aval> {
        self.unknown
            .in_avals()
            .take(self.residuals)
            .cloned()
            .collect()
    }
}

/// Split a program: `unknown` marks the inputs that are not known.
pub(crate) fn partial_eval(j: &Jaxpr, unknown: &[bool]) -> Result<Halves> {
    let mut halves = Surgery {
        is_unknown: vec![false; j.avals.len()],
        avals: j.avals.clone(),
        known: vec![],
        unknown: vec![],
    };
    for (v, u) in j.invars.iter().zip(unknown) {
        halves.mark(*v, *u);
    }
    for eqn in &j.eqns {
        halves.equation(eqn)?;
    }
    let unknown_outs: Vec<bool> = j.outs.iter().map(|a| halves.depends(a)).collect();
    let chosen = |wanted: bool| {
        let pick = |(a, u): (&Atom, &bool)| (*u == wanted).then(|| a.clone());
        j.outs
            .iter()
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
        .chain(j.consts.iter().map(|(v, _)| *v))
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
        consts: j.consts.clone(),
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
        consts: j.consts.clone(),
        avals: halves.avals,
        ..pruned
    };
    Ok(Halves {
        known: known.dce(),
        unknown: unknown.dce(),
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

    fn fresh(&mut self, aval: Aval) -> Var {
        self.avals.push(Arc::new(aval));
        self.is_unknown.push(false);
        Var((self.avals.len() - 1) as u32)
    }

    fn equation(&mut self, eqn: &Eqn) -> Result<()> {
        let unknown: Vec<bool> = eqn.inputs.iter().map(|a| self.depends(a)).collect();
        if !unknown.contains(&true) {
            self.known.push(eqn.clone());
            return Ok(());
        }
        let Some(inner) = eqn.op.inner() else {
            for v in &eqn.outputs {
                self.mark(*v, true);
            }
            self.unknown.push(eqn.clone());
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
        self.split(eqn, split)
    }

    fn split(&mut self, eqn: &Eqn, split: Split) -> Result<()> {
        let missing = || Error::internal("a split equation names an operand that it lacks");
        let residuals: Vec<Var> = split.residuals.into_iter().map(|a| self.fresh(a)).collect();
        let mut known_outs = Vars::new();
        let mut unknown_outs = Vars::new();
        for (v, u) in eqn.outputs.iter().zip(&split.unknown_outs) {
            self.mark(*v, *u);
            if *u {
                unknown_outs.push(*v);
            } else {
                known_outs.push(*v);
            }
        }
        if let Some((op, operands)) = split.known {
            let inputs = operands
                .iter()
                .map(|i| eqn.inputs.get(*i).cloned().ok_or_else(missing))
                .collect::<Result<Atoms>>()?;
            known_outs.extend(residuals.iter().copied());
            self.known.push(Eqn {
                op,
                inputs,
                outputs: known_outs,
                at: eqn.at,
            });
        }
        let (op, operands) = split.unknown;
        let inputs = operands
            .iter()
            .map(|o| match o {
                SplitOperand::Operand(i) => eqn.inputs.get(*i).cloned().ok_or_else(missing),
                SplitOperand::Residual(i) => {
                    residuals.get(*i).map(|v| Atom::Var(*v)).ok_or_else(missing)
                }
            })
            .collect::<Result<Atoms>>()?;
        if !unknown_outs.is_empty() {
            self.unknown.push(Eqn {
                op,
                inputs,
                outputs: unknown_outs,
                at: eqn.at,
            });
        }
        Ok(())
    }
}
