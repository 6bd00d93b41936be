//! Calls replaced by what they call.

use crate::trace::{Atom, Atoms, Eqn, Jaxpr, Var, Vars, op::Op};

impl Jaxpr {
    /// The program with every call, however deep, of `jit`, `custom_jvp` and `custom_vjp` replaced by the equations of its program.
    pub(crate) fn inline(mut self) -> Jaxpr {
        let eqns = std::mem::take(&mut self.eqns);
        let mut names: Names = vec![None; self.avals.len()];
        for eqn in &eqns {
            self.append(eqn, &mut names, None);
        }
        self.outs = self.outs.iter().map(|a| read(&names, a)).collect();
        self
    }

    /// Append an equation, of a called program if `callee` is given, with its variables renamed.
    fn append(&mut self, eqn: &Eqn, names: &mut Names, callee: Option<&Jaxpr>) {
        let inputs: Atoms = eqn.inputs.iter().map(|a| read(names, a)).collect();
        let body = match &eqn.op {
            Op::Jit(p) => Some(&p.jaxpr),
            // Derivatives have been taken by now.
            Op::CustomJvp(p) => Some(&p.call_jaxpr),
            Op::CustomVjp(p) => Some(&p.call_jaxpr),
            _ => None,
        };
        let Some(body) = body else {
            let mut outputs = Vars::new();
            for v in &eqn.outputs {
                let new = match callee {
                    Some(body) => self.fresh(body.aval(*v).clone()),
                    None => *v,
                };
                set(names, *v, Atom::Var(new));
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
        let mut inner: Names = vec![None; body.avals.len()];
        for (v, a) in body.invars.iter().zip(inputs) {
            set(&mut inner, *v, a);
        }
        for e in &body.eqns {
            self.append(e, &mut inner, Some(body));
        }
        for (v, a) in eqn.outputs.iter().zip(&body.outs) {
            let result = read(&inner, a);
            set(names, *v, result);
        }
    }
}

/// What each variable of a program has become.
type Names = Vec<Option<Atom>>;

fn set(names: &mut Names, v: Var, a: Atom) {
    if let Some(slot) = names.get_mut(v.index()) {
        *slot = Some(a);
    }
}

fn read(names: &[Option<Atom>], a: &Atom) -> Atom {
    match a {
        Atom::Var(v) => names
            .get(v.index())
            .cloned()
            .flatten()
            .unwrap_or_else(|| a.clone()),
        Atom::Lit(_) => a.clone(),
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
        let program = make_jaxpr(f)(&x).unwrap().inline();
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
