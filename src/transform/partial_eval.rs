//! Partial evaluation: a program is split by what is known of its inputs. Surgery on equations, nothing is traced.

use crate::{
    array::Aval,
    error::{Error, Result},
    trace::{
        Atom, Atoms, Eqn, Jaxpr, Var, Vars,
        op::{Split, SplitOperand},
    },
};
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
    // What the unknown half reads from outside of itself, in order of first use. Captured arrays it captures itself.
    let mut own = vec![false; halves.avals.len()];
    let mut claim = |v: Var| match own.get_mut(v.index()) {
        Some(slot) => std::mem::replace(slot, true),
        None => true,
    };
    for (v, u) in j.invars.iter().zip(unknown) {
        if *u {
            claim(*v);
        }
    }
    for (v, _) in &j.consts {
        claim(*v);
    }
    let mut residuals: Vec<Var> = vec![];
    // Dead equations must not ask for residuals.
    let pruned = Jaxpr {
        eqns: std::mem::take(&mut halves.unknown),
        outs: chosen(true),
        avals: halves.avals.clone(),
        ..Jaxpr::default()
    }
    .dce();
    for eqn in &pruned.eqns {
        for v in eqn.inputs.iter().filter_map(Atom::var) {
            if !claim(v) {
                residuals.push(v);
            }
        }
        for v in &eqn.outputs {
            claim(*v);
        }
    }
    for v in pruned.outs.iter().filter_map(Atom::var) {
        if !claim(v) {
            residuals.push(v);
        }
    }
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
