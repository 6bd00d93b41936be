//! Calls replaced by what they call.

use crate::{
    array::Aval,
    error::Result,
    trace::{
        Atom, Eqn, Jaxpr, Program, Var, Vars, eager,
        op::{Jit, Op},
        stage,
    },
};

impl Jaxpr {
    /// The program with every call of `jit`, `custom_jvp` and `custom_vjp` replaced by the equations of its program; in the
    /// programs inside, too.
    pub(crate) fn inline(self) -> Result<Jaxpr> {
        let mut j = self.within(Jaxpr::inline)?;
        j.call_definitions()?;
        if !j.eqns.iter().any(|eqn| callee(&eqn.op).is_some()) {
            return Ok(j);
        }
        let eqns = std::mem::take(&mut j.eqns);
        let mut names = Names::new(j.avals.len());
        for eqn in &eqns {
            j.append(eqn, &mut names, None);
        }
        names.rename(&mut j.outs);
        Ok(j)
    }

    /// Functions that no type answered become calls of what they are defined to be.
    fn call_definitions(&mut self) -> Result<()> {
        for i in 0..self.eqns.len() {
            let Some(eqn) = self.eqns.get(i) else {
                continue;
            };
            let Op::Custom(p) = &eqn.op else {
                continue;
            };
            let (p, at) = (p.clone(), eqn.at);
            let operands: Vec<Aval> = eqn
                .inputs
                .iter()
                .map(|a| self.atom_aval(a).clone())
                .collect();
            let mut defined = true;
            let program = eager(|| {
                stage(&operands, None, &mut |x| match p.define(&x) {
                    Some(y) => y,
                    None => {
                        defined = false;
                        Ok(vec![])
                    }
                })
            });
            if !defined {
                continue;
            }
            let (program, captured) = program.map_err(|e| e.at(at))?.close();
            let call = Jit {
                name: p.name().into(),
                jaxpr: Program::from(program.inline()?),
            };
            if let (true, Some(eqn)) = (captured.is_empty(), self.eqns.get_mut(i)) {
                eqn.op = call.into();
            }
        }
        Ok(())
    }

    /// Append an equation, of a called program if `caller` is given, with its variables renamed.
    fn append(&mut self, eqn: &Eqn, names: &mut Names, caller: Option<&Jaxpr>) {
        let mut inputs = eqn.inputs.clone();
        names.rename(&mut inputs);
        let Some(body) = callee(&eqn.op) else {
            let mut outputs = Vars::new();
            for v in &eqn.outputs {
                let new = match caller {
                    Some(body) => self.fresh(body.aval(*v).clone()),
                    None => *v,
                };
                names.set(*v, Atom::Var(new));
                outputs.push(new);
            }
            self.eqns.push(Eqn {
                op: eqn.op.clone(),
                inputs,
                outputs,
                at: eqn.at,
            });
            return;
        };
        let body = &**body;
        let mut inner = Names::new(body.avals.len());
        for (v, a) in body.invars.iter().zip(inputs) {
            inner.set(*v, a);
        }
        for e in &body.eqns {
            self.append(e, &mut inner, Some(body));
        }
        for (v, a) in eqn.outputs.iter().zip(&body.outs) {
            names.set(*v, inner.read(a));
        }
    }
}

/// The program that an equation does nothing but call.
fn callee(op: &Op) -> Option<&Program> {
    match op {
        Op::Jit(p) => Some(&p.jaxpr),
        // Derivatives have been taken by now.
        Op::CustomJvp(p) => Some(&p.call_jaxpr),
        Op::CustomVjp(p) => Some(&p.call_jaxpr),
        _ => None,
    }
}

/// What each variable of a program has become; those of which nothing is said stay.
pub(super) struct Names(Vec<Option<Atom>>);

impl Names {
    pub(super) fn new(variables: usize) -> Names {
        Names(vec![None; variables])
    }

    pub(super) fn set(&mut self, v: Var, a: Atom) {
        if let Some(slot) = self.0.get_mut(v.index()) {
            *slot = Some(a);
        }
    }

    pub(super) fn read(&self, a: &Atom) -> Atom {
        let new = a.var().and_then(|v| self.0.get(v.index()));
        new.cloned().flatten().unwrap_or_else(|| a.clone())
    }

    pub(super) fn rename(&self, atoms: &mut [Atom]) {
        for a in atoms {
            if let Some(Some(new)) = a.var().and_then(|v| self.0.get(v.index())) {
                *a = new.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    #[test]
    fn calls_within_calls_are_replaced() {
        let x = Array::zeros([2], DType::F32);
        let f = |x: &Array| {
            let g = jit(|y: &Array| jit(|z: &Array| (z.sin(), z.clone()))(y));
            let (a, b) = g(x)?;
            Ok((a * b, jit(|w: &Array| w.cos())(x)?))
        };
        let program = make_jaxpr(f)(&x).unwrap().inline().unwrap();
        program.check().unwrap();
        insta::assert_snapshot!(program, @r"
        { lambda ; a:f32[2]. let
            b:f32[2] = sin a
            c:f32[2] = mul b a
            d:f32[2] = cos a
          in (c, d) }
        ");
    }
}
