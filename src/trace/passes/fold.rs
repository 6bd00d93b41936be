//! Constants, and equations that give back what they were given.

use crate::{
    array::{Array, Aval, Scalar},
    error::Result,
    trace::{
        Atom, Eqn, Jaxpr, Literal, bind_all, eager,
        op::{Binary, Jit, Op, Reshape, Transpose},
        passes::inline::Names,
    },
};

impl Jaxpr {
    /// The program in which what depends on nothing but literals is a literal, a `cond` by a literal is a call of its branch, and
    /// an equation that changes nothing is gone; in the programs inside, too. Results stay as they are bit for bit: `x + 0.0` is
    /// not `x`, for `x` may be -0.
    pub(crate) fn fold(self) -> Result<Jaxpr> {
        let mut j = self.within(Jaxpr::fold)?;
        let mut names = Names::new(j.avals.len());
        // The equation that makes a variable, for those that undo each other.
        let mut maker: Vec<Option<usize>> = vec![None; j.avals.len()];
        for i in 0..j.eqns.len() {
            let Some(eqn) = j.eqns.get_mut(i) else { break };
            names.rename(&mut eqn.inputs);
            let Some(eqn) = j.eqns.get(i) else { break };
            let made_by = |a: &Atom| {
                let at = a.var().and_then(|v| *maker.get(v.index())?)?;
                j.eqns.get(at)
            };
            if let Some(simpler) = simpler(eqn, made_by)
                && let Some(eqn) = j.eqns.get_mut(i)
            {
                *eqn = simpler;
            }
            let Some(eqn) = j.eqns.get(i) else { break };
            let known = match same(&j, eqn) {
                Some(a) => Some(vec![a]),
                None => literals(&j, eqn),
            };
            for (n, v) in eqn.outputs.iter().enumerate() {
                if let Some(slot) = maker.get_mut(v.index()) {
                    *slot = Some(i);
                }
                if let Some(a) = known.as_ref().and_then(|k| k.get(n)) {
                    names.set(*v, a.clone());
                }
            }
        }
        // A result keeps its type, of which the weakness is part.
        for out in 0..j.outs.len() {
            if let Some(a) = j.outs.get(out)
                && let new = names.read(a)
                && j.atom_aval(&new) == j.atom_aval(a)
                && let Some(slot) = j.outs.get_mut(out)
            {
                *slot = new;
            }
        }
        Ok(j.dce())
    }
}

/// The operand that an equation gives back as it is.
fn same(j: &Jaxpr, eqn: &Eqn) -> Option<Atom> {
    let aval = |n: usize| eqn.inputs.get(n).map(|a| j.atom_aval(a));
    let is = |n: usize, x: f64| match eqn.inputs.get(n) {
        Some(Atom::Lit(l)) => match l.value() {
            Scalar::Bool(_) => false,
            Scalar::Int(i) => i as f64 == x,
            Scalar::Float(f) => f == x,
            Scalar::Complex(_) => false,
        },
        _ => false,
    };
    let (first, out) = (aval(0)?, j.aval(*eqn.outputs.first()?));
    let kept = match &eqn.op {
        Op::StopGradient(_) => 0,
        op if gives_back(op, first) => 0,
        Op::Binary(Binary::Mul) if is(1, 1.0) => 0,
        Op::Binary(Binary::Mul) if is(0, 1.0) => 1,
        Op::Binary(Binary::Div | Binary::Pow) if is(1, 1.0) => 0,
        Op::Binary(Binary::Add | Binary::Sub) if is(1, 0.0) && first.dtype.is_integer() => 0,
        Op::Binary(Binary::Add) if is(0, 0.0) && first.dtype.is_integer() => 1,
        Op::IntegerPow(p) if p.y == 1 => 0,
        Op::SelectN(_) => 1 + index(eqn.inputs.first()?, eqn.inputs.len() - 1)?,
        _ => return None,
    };
    let a = eqn.inputs.get(kept)?;
    j.atom_aval(a).same_type(out).then(|| a.clone())
}

/// Does a primitive give back its only operand, of this type, as it is?
pub(crate) fn gives_back(op: &Op, operand: &Aval) -> bool {
    match op {
        Op::ConvertElementType(p) => p.new_dtype == operand.dtype,
        Op::Reshape(p) => p.new_sizes == operand.shape,
        Op::BroadcastInDim(p) => p.shape == operand.shape,
        Op::Transpose(p) => p.permutation.iter().enumerate().all(|(i, p)| i == *p),
        _ => false,
    }
}

/// The case that a literal chooses, of so many.
fn index(which: &Atom, cases: usize) -> Option<usize> {
    match which {
        Atom::Lit(l) => match l.value() {
            Scalar::Bool(b) => Some(b as usize),
            Scalar::Int(i) => Some(i.clamp(0, cases as i128 - 1) as usize),
            _ => None,
        },
        Atom::Var(_) => None,
    }
}

/// An equation that gives the same from an earlier value, or without a choice.
fn simpler<'a>(eqn: &Eqn, made_by: impl Fn(&Atom) -> Option<&'a Eqn>) -> Option<Eqn> {
    let operand = eqn.inputs.first()?;
    let (op, inputs): (Op, _) = match &eqn.op {
        Op::Cond(p) => {
            let which = index(operand, p.branches.len())?;
            let call = Jit {
                name: "branch".into(),
                jaxpr: p.branches.get(which)?.clone(),
            };
            (call.into(), eqn.inputs.get(1..)?.into())
        }
        Op::Transpose(outer) => {
            let before = made_by(operand)?;
            let Op::Transpose(inner) = &before.op else {
                return None;
            };
            let permutation = outer.permutation.iter();
            let permutation = permutation.map(|i| inner.permutation.get(*i).copied());
            let permutation = permutation.collect::<Option<_>>()?;
            (Transpose { permutation }.into(), before.inputs.clone())
        }
        Op::Reshape(outer) => {
            let before = made_by(operand)?;
            if !matches!(before.op, Op::Reshape(_) | Op::Squeeze(_)) {
                return None;
            }
            let reshape = Reshape {
                new_sizes: outer.new_sizes.clone(),
            };
            (reshape.into(), before.inputs.clone())
        }
        _ => return None,
    };
    Some(Eqn {
        op,
        inputs,
        outputs: eqn.outputs.clone(),
        at: eqn.at,
    })
}

/// The results of an equation that depends on nothing but literals and gives nothing but numbers.
fn literals(j: &Jaxpr, eqn: &Eqn) -> Option<Vec<Atom>> {
    let literal = |a: &Atom| match a {
        Atom::Lit(l) => Some(l.array()),
        Atom::Var(_) => None,
    };
    let numbers = eqn.outputs.iter().all(|v| j.aval(*v).ndim() == 0);
    if !numbers || eqn.inputs.is_empty() || eqn.op.inner().is_some() {
        return None;
    }
    if let Op::Custom(_) | Op::Component(_) = eqn.op {
        return None;
    }
    let operands: Vec<Array> = eqn.inputs.iter().map(literal).collect::<Option<_>>()?;
    let results = eager(|| bind_all(eqn.op.clone(), &operands)).ok()?;
    let atom = |y: &Array| Some(Atom::Lit(Literal::new(y.buffer()?.clone())?));
    results.iter().map(atom).collect()
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    fn folded(program: Result<Jaxpr>) -> Jaxpr {
        let program = program.unwrap().fold().unwrap();
        program.check().unwrap();
        program
    }

    fn x() -> Array {
        Array::zeros([2, 3], DType::F32)
    }

    #[test]
    fn what_depends_on_literals_alone_is_a_literal() {
        let f = |x: &Array| {
            let half = Array::from(1f32) / Array::from(2f32);
            x * (half.sqrt() + 1.0)
        };
        insta::assert_snapshot!(folded(make_jaxpr(f)(&x())), @r"{ lambda ; a:f32[2,3]. let b:f32[2,3] = mul a 1.7071068286895752:f32[] in (b,) }");
    }

    #[test]
    fn what_changes_nothing_is_gone() {
        let f = |x: &Array| {
            let y = (x.t().t() * 1.0 / 1.0).reshape([3, 2]).reshape([6]);
            (y.stop_gradient(), y + 0.0)
        };
        insta::assert_snapshot!(folded(make_jaxpr(f)(&x())), @r"
        { lambda ; a:f32[2,3]. let
            b:f32[6] = reshape[dimensions=None new_sizes=(6,) sharding=None] a
            c:f32[6] = add b 0.0:f32[]
          in (b, c) }
        ");
    }

    #[test]
    fn a_branch_that_is_known_is_called() {
        let f = |x: &Array| {
            let (sin, cos) = (|x: &Array| x.sin(), |x: &Array| x.cos());
            cond(&Array::from(true), sin, cos, x)
        };
        insta::assert_snapshot!(folded(make_jaxpr(f)(&x())), @r"
        { lambda ; a:f32[2,3]. let
            b:f32[2,3] = jit[
              name=branch
              jaxpr={ lambda ; a:f32[2,3]. let b:f32[2,3] = sin a in (b,) }
            ] a
          in (b,) }
        ");
    }

    #[test]
    fn a_result_stays_weak_or_strong() {
        let f = |x: &Array| (x.clone(), Array::from(1f32).astype(DType::F32));
        let program = make_jaxpr(f)(&x()).unwrap();
        assert_eq!(folded(Ok(program.clone())).out_avals(), program.out_avals());
    }
}
