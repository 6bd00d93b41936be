//! The type check of a whole program.

use super::{Atom, Jaxpr};
use crate::{
    array::Aval,
    error::{Error, Result},
};
use smallvec::SmallVec;

impl Jaxpr {
    /// Check that every variable is set once and before it is read, that every equation has the types that its primitive's rule
    /// says, and the same for the programs inside. An error names the equation.
    pub fn check(&self) -> Result<()> {
        let mut set = vec![false; self.avals.len()];
        for v in self.invars.iter().chain(self.consts.iter().map(|(v, _)| v)) {
            match set.get_mut(v.index()) {
                Some(slot) if !*slot => *slot = true,
                _ => {
                    return Err(Error::internal(
                        "an input variable is set twice or has no type",
                    ));
                }
            }
        }
        for (v, c) in &self.consts {
            let aval = c.aval()?;
            if !self.aval(*v).same_type(&aval) {
                return Err(Error::internal(format!(
                    "a captured {aval} has the type {}",
                    self.aval(*v)
                )));
            }
        }
        for eqn in &self.eqns {
            let fail = |why: String| Err(Error::internal(why).at(eqn.at));
            for a in &eqn.inputs {
                if let Atom::Var(v) = a
                    && !set.get(v.index()).copied().unwrap_or(false)
                {
                    return fail(format!(
                        "`{}` reads a variable before it is set",
                        eqn.op.name()
                    ));
                }
            }
            let operands: SmallVec<[&Aval; 4]> =
                eqn.inputs.iter().map(|a| self.atom_aval(a)).collect();
            let avals = eqn.op.infer(&operands).map_err(|e| e.at(eqn.at))?;
            if avals.len() != eqn.outputs.len() {
                return fail(format!(
                    "`{}` has {} results, the equation names {}",
                    eqn.op.name(),
                    avals.len(),
                    eqn.outputs.len()
                ));
            }
            for (v, aval) in eqn.outputs.iter().zip(&avals) {
                if !self.aval(*v).same_type(aval) {
                    return fail(format!(
                        "`{}` gives {aval}, the equation says {}",
                        eqn.op.name(),
                        self.aval(*v)
                    ));
                }
                match set.get_mut(v.index()) {
                    Some(slot) if !*slot => *slot = true,
                    _ => return fail(format!("a result of `{}` is set twice", eqn.op.name())),
                }
            }
            for program in eqn.op.inner().map(|i| i.programs()).unwrap_or_default() {
                if !program.consts.is_empty() {
                    return fail(format!(
                        "a program inside `{}` captures arrays",
                        eqn.op.name()
                    ));
                }
                program.check().map_err(|e| e.at(eqn.at))?;
            }
        }
        for a in &self.outs {
            if let Atom::Var(v) = a
                && !set.get(v.index()).copied().unwrap_or(false)
            {
                return Err(Error::internal("a result is never set"));
            }
        }
        Ok(())
    }
}
