//! What a small program means, whatever the order in which it is written: by this, bodies that JAX emits are recognised.

use crate::{
    array::Array,
    trace::{
        Atom, Jaxpr,
        op::{Binary, Op, Param},
    },
};
use std::collections::HashMap;

/// Numbers for expressions: equal ones have equal numbers.
#[derive(Default)]
pub(super) struct Meanings {
    known: HashMap<String, usize>,
}

/// An operation whose operands may change places.
fn commutes(op: &Op) -> bool {
    matches!(
        op,
        Op::Binary(
            Binary::Add
                | Binary::Mul
                | Binary::Max
                | Binary::Min
                | Binary::And
                | Binary::Or
                | Binary::Xor
                | Binary::Eq
                | Binary::Ne
        )
    )
}

impl Meanings {
    fn number(&mut self, text: String) -> usize {
        let next = self.known.len();
        *self.known.entry(text).or_insert(next)
    }

    /// A number for each result of a program, whose inputs stand for themselves. `None` for a program that captures arrays or
    /// holds programs: it is not looked into.
    pub(super) fn of(&mut self, j: &Jaxpr) -> Option<Vec<usize>> {
        if !j.consts().is_empty() {
            return None;
        }
        let mut env: HashMap<usize, usize> = HashMap::new();
        for (i, v) in j.invars().iter().enumerate() {
            let n = self.number(format!("input {i} {}", j.aval(*v)));
            env.insert(v.index(), n);
        }
        for e in j.eqns() {
            let mut parts = vec![];
            for a in &e.inputs {
                parts.push(self.atom(&env, a)?);
            }
            if commutes(&e.op) {
                parts.sort_unstable();
            }
            let mut text = format!("{} {parts:?}", e.op.name());
            for (name, value) in e.op.params() {
                match value {
                    Param::Text(t) => text.push_str(&format!(" {name}={t}")),
                    Param::Program(_) | Param::Programs(_) => return None,
                }
            }
            for (k, v) in e.outputs.iter().enumerate() {
                let n = self.number(format!("{k} of {text}"));
                env.insert(v.index(), n);
            }
        }
        j.outs().iter().map(|a| self.atom(&env, a)).collect()
    }

    fn atom(&mut self, env: &HashMap<usize, usize>, a: &Atom) -> Option<usize> {
        match a {
            Atom::Var(v) => env.get(&v.index()).copied(),
            Atom::Lit(l) => {
                let sign = l.value().as_f64().is_some_and(f64::is_sign_negative);
                Some(self.number(format!("literal {l} {sign}")))
            }
        }
    }
}

/// Do two programs mean the same?
pub(super) fn alike(a: &Jaxpr, b: &Jaxpr) -> bool {
    let mut meanings = Meanings::default();
    let a = meanings.of(a);
    a.is_some() && a == meanings.of(b)
}

/// The primitive of a program that applies just one to its two inputs, in either order where that is the same.
pub(super) fn combiner(j: &Jaxpr) -> Option<Binary> {
    let ([a, b], [e], [Atom::Var(out)]) = (j.invars(), j.eqns(), j.outs()) else {
        return None;
    };
    let Op::Binary(op) = &e.op else {
        return None;
    };
    let inputs = (e.inputs.first()?.var()?, e.inputs.get(1)?.var()?);
    let straight = inputs == (*a, *b);
    let fits = straight || commutes(&e.op) && inputs == (*b, *a);
    (j.consts().is_empty() && fits && e.outputs.first() == Some(out)).then_some(*op)
}

/// Is an array a literal of this value?
pub(super) fn is_literal(x: &Array, value: f64) -> bool {
    use crate::array::Repr;
    match &x.0 {
        Repr::Dense(b) => b.item().and_then(|s| s.as_f64()) == Some(value),
        _ => false,
    }
}
