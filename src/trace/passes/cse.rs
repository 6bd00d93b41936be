//! Common subexpressions.

use crate::{
    array::Aval,
    error::Result,
    trace::{Atom, Atoms, Jaxpr, Var, passes::inline::Names},
};
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};

impl Jaxpr {
    /// The program in which an equation that says what an earlier one says is replaced by that one's results, in the programs
    /// inside, too. A program inside is a world of its own: what a `checkpoint` computes again stays apart from what was computed
    /// first.
    pub(crate) fn cse(self) -> Result<Jaxpr> {
        let mut j = self.within(Jaxpr::cse)?;
        let mut names = Names::new(j.avals.len());
        // Earlier equations, by a hash of primitive and operands.
        let mut earlier: FxHashMap<u64, SmallVec<[usize; 1]>> = FxHashMap::default();
        let mut kept = Vec::with_capacity(j.eqns.len());
        for mut eqn in std::mem::take(&mut j.eqns) {
            names.rename(&mut eqn.inputs);
            let same = earlier.entry(hash(eqn.op.name(), &eqn.inputs)).or_default();
            let twin = same.iter().find_map(|i| {
                let twin: &crate::trace::Eqn = kept.get(*i)?;
                let aval = |v: &Var| -> Option<&Aval> { Some(j.avals.get(v.index())?) };
                let types = twin.outputs.iter().map(aval);
                (twin.inputs == eqn.inputs
                    && twin.op == eqn.op
                    && types.eq(eqn.outputs.iter().map(aval)))
                .then_some(twin)
            });
            match twin {
                Some(twin) => {
                    for (v, first) in eqn.outputs.iter().zip(&twin.outputs) {
                        names.set(*v, Atom::Var(*first));
                    }
                }
                None => {
                    same.push(kept.len());
                    kept.push(eqn);
                }
            }
        }
        j.eqns = kept;
        names.rename(&mut j.outs);
        Ok(j)
    }
}

fn hash(name: &str, inputs: &Atoms) -> u64 {
    let mut h = FxHasher::default();
    name.hash(&mut h);
    for a in inputs {
        match a {
            Atom::Var(v) => v.hash(&mut h),
            // Literals are few, and compared by value.
            Atom::Lit(l) => l.aval().dtype.hash(&mut h),
        }
    }
    h.finish()
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    #[test]
    fn what_is_said_twice_is_computed_once() {
        let x = Array::zeros([2], DType::F32);
        let f = |x: &Array| {
            let a = x.exp() * 2.0 + x.exp() * 2.0;
            let b = x.exp() * 3.0;
            (a, b.sum(()) + (x.exp() * 3.0).sum(0))
        };
        let program = make_jaxpr(f)(&x).unwrap().cse().unwrap();
        program.check().unwrap();
        insta::assert_snapshot!(program, @r"
        { lambda ; a:f32[2]. let
            b:f32[2] = exp a
            c:f32[2] = mul b 2.0:f32[]
            d:f32[2] = add c c
            e:f32[2] = mul b 3.0:f32[]
            f:f32[] = reduce_sum[axes=(0,) out_sharding=None] e
            g:f32[] = add f f
          in (d, g) }
        ");
    }

    #[test]
    fn programs_inside_are_worlds_of_their_own() {
        let x = Array::zeros([2], DType::F32);
        let f = |x: &Array| {
            let again = checkpoint(|x: &Array| x.exp() * x.exp())(x)?;
            Ok(again + x.exp())
        };
        let program = make_jaxpr(f)(&x).unwrap().cse().unwrap();
        program.check().unwrap();
        insta::assert_snapshot!(program, @r"
        { lambda ; a:f32[2]. let
            b:f32[2] = remat2[
              differentiated=False
              jaxpr={ lambda ; c:f32[2]. let
                  d:f32[2] = exp c
                  e:f32[2] = mul d d
                in (e,) }
              policy=None
              prevent_cse=True
            ] a
            f:f32[2] = exp a
            g:f32[2] = add b f
          in (g,) }
        ");
    }
}
