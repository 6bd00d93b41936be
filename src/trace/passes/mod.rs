//! Passes over programs: valid program in, valid program out, the same inputs and results.

mod cse;
mod dce;
mod fold;
mod inline;
mod stream;

use super::{Jaxpr, Program};
use crate::error::Result;
use rustc_hash::FxHashMap;

/// A pass with its name.
pub(crate) type Pass = (&'static str, fn(Jaxpr) -> Result<Jaxpr>);

/// Calls replaced by what they call.
pub(crate) const INLINE: Pass = ("inline", Jaxpr::inline);
/// What is known before the program runs, computed now.
pub(crate) const FOLD: Pass = ("fold", Jaxpr::fold);
/// What is computed twice, computed once.
pub(crate) const CSE: Pass = ("cse", Jaxpr::cse);
/// Large operands that are unpacked from fewer bits, taken in by rows.
pub(crate) const STREAM: Pass = ("stream", Jaxpr::stream);
/// What no result depends on, left out.
pub(crate) const DCE: Pass = ("dce", |j| Ok(j.dce()));

impl Jaxpr {
    /// The program after these passes, one after the other. Debug builds check it after each.
    pub(crate) fn through(self, passes: &[Pass]) -> Result<Jaxpr> {
        passes.iter().try_fold(self, |j, (name, pass)| {
            let j = pass(j)?;
            if cfg!(debug_assertions) {
                j.check()
                    .map_err(|e| e.note(format!("after the pass `{name}`")))?;
            }
            Ok(j)
        })
    }

    /// The program with a pass applied to each program inside its equations, at any depth. Programs that were shared stay shared.
    fn within(mut self, pass: fn(Jaxpr) -> Result<Jaxpr>) -> Result<Jaxpr> {
        let mut known: FxHashMap<usize, Program> = FxHashMap::default();
        for eqn in &mut self.eqns {
            let Some(inner) = eqn.op.inner() else {
                continue;
            };
            let mut programs = Vec::new();
            for old in inner.programs() {
                let new = match known.get(&old.id()) {
                    Some(new) => new.clone(),
                    None => Program::from(pass((**old).clone()).map_err(|e| e.at(eqn.at))?),
                };
                known.insert(old.id(), new.clone());
                programs.push(new);
            }
            eqn.op = inner.with_programs(programs)?;
        }
        Ok(self)
    }
}
