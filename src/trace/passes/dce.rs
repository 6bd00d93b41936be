//! Dead code.

use crate::trace::{Jaxpr, Var};

impl Jaxpr {
    /// The program without the equations and captured arrays that no result depends on.
    pub(crate) fn dce(mut self) -> Jaxpr {
        let mut live = vec![false; self.avals.len()];
        let mark = |live: &mut Vec<bool>, v: Var| {
            if let Some(slot) = live.get_mut(v.index()) {
                *slot = true;
            }
        };
        self.outs
            .iter()
            .filter_map(|a| a.var())
            .for_each(|v| mark(&mut live, v));
        let mut keep = Vec::with_capacity(self.eqns.len());
        for eqn in self.eqns.drain(..).rev() {
            if eqn
                .outputs
                .iter()
                .any(|v| live.get(v.index()).copied().unwrap_or(false))
            {
                eqn.inputs
                    .iter()
                    .filter_map(|a| a.var())
                    .for_each(|v| mark(&mut live, v));
                keep.push(eqn);
            }
        }
        keep.reverse();
        self.eqns = keep;
        self.consts
            .retain(|(v, _)| live.get(v.index()).copied().unwrap_or(false));
        self
    }
}
