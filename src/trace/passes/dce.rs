//! Dead code.

use crate::trace::{
    Atom, Eqn, Jaxpr, Var,
    op::{Pruned, marked},
};

impl Jaxpr {
    /// The program without the equations and captured arrays that no result depends on. An equation with programs inside loses
    /// the results that nobody uses, and what only they need.
    pub(crate) fn dce(mut self) -> Jaxpr {
        let mut live = vec![false; self.avals.len()];
        let mark = |live: &mut Vec<bool>, v: Var| {
            if let Some(slot) = live.get_mut(v.index()) {
                *slot = true;
            }
        };
        let is_live = |live: &[bool], v: &Var| live.get(v.index()).copied().unwrap_or(false);
        self.outs
            .iter()
            .filter_map(|a| a.var())
            .for_each(|v| mark(&mut live, v));
        let mut keep = Vec::with_capacity(self.eqns.len());
        for mut eqn in self.eqns.drain(..).rev() {
            let used: Vec<bool> = eqn.outputs.iter().map(|v| is_live(&live, v)).collect();
            if !used.contains(&true) {
                continue;
            }
            if used.contains(&false)
                && let Some(pruned) = eqn.op.inner().and_then(|inner| inner.prune(&used))
            {
                eqn = pruned_equation(&eqn, pruned);
            }
            eqn.inputs
                .iter()
                .filter_map(|a| a.var())
                .for_each(|v| mark(&mut live, v));
            keep.push(eqn);
        }
        keep.reverse();
        self.eqns = keep;
        self.consts.retain(|(v, _)| is_live(&live, v));
        self
    }

    /// The program with the marked results only, without the inputs that they do not need; the numbers of the inputs that stay.
    pub(crate) fn prune(&self, used: &[bool]) -> (Jaxpr, Vec<usize>) {
        let mut j = self.clone();
        j.outs = marked(used)
            .into_iter()
            .filter_map(|i| self.outs.get(i).cloned())
            .collect();
        let mut j = j.dce();
        let needed = j.needed_inputs();
        let operands = marked(&needed);
        j.invars = operands
            .iter()
            .filter_map(|i| j.invars.get(*i).copied())
            .collect();
        (j, operands)
    }

    /// Which inputs some equation or result reads.
    pub(crate) fn needed_inputs(&self) -> Vec<bool> {
        let mut read = vec![false; self.avals.len()];
        let operands = self.eqns.iter().flat_map(|e| &e.inputs);
        for v in operands.chain(&self.outs).filter_map(Atom::var) {
            if let Some(slot) = read.get_mut(v.index()) {
                *slot = true;
            }
        }
        self.invars
            .iter()
            .map(|v| read.get(v.index()).copied().unwrap_or(false))
            .collect()
    }
}

fn pruned_equation(eqn: &Eqn, pruned: Pruned) -> Eqn {
    Eqn {
        op: pruned.op,
        inputs: pruned
            .operands
            .iter()
            .filter_map(|i| eqn.inputs.get(*i).cloned())
            .collect(),
        outputs: pruned
            .results
            .iter()
            .filter_map(|i| eqn.outputs.get(*i).copied())
            .collect(),
        at: eqn.at,
    }
}
