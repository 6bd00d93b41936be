//! `checkpoint`: a call whose intermediate results are computed again for the derivative, not kept.

use super::one_program;
use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{
        Jaxpr, Program, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive,
            Pruned, Split, SplitOperand, Tangent, check_call, deal_cotangents, deal_tangents,
            known_and_cotangents, marked, prune_call, with_tangents,
        },
        passes::DCE,
    },
    transform::{batch, jvp, partial_eval::partial_eval, transpose},
};

/// `remat2`, as the primitive of `checkpoint` is called.
pub const CHECKPOINT: Prim<Checkpoint> = Prim::new("remat2");

/// A call of which nothing but the operands is kept for the derivative. It stays one equation, so that no pass merges what is
/// computed again with what was computed first.
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    /// Is it what a derivative made of one?
    pub differentiated: bool,
    /// What it does.
    pub jaxpr: Program,
}

impl Checkpoint {
    fn around(&self, jaxpr: Jaxpr, differentiated: bool) -> Op {
        Checkpoint {
            differentiated: differentiated || self.differentiated,
            jaxpr: jaxpr.into(),
        }
        .into()
    }
}

impl Primitive for Checkpoint {
    fn name(&self) -> &'static str {
        CHECKPOINT.name
    }

    fn params(&self) -> Params {
        vec![
            ("differentiated", Param::bool(self.differentiated)),
            ("jaxpr", Param::Program(self.jaxpr.clone())),
            ("policy", Param::text("None")),
            ("prevent_cse", Param::bool(true)),
        ]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        check_call("checkpoint", &self.jaxpr, x)?;
        Ok(self.jaxpr.out_avals().into_iter().collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let nonzero: Vec<bool> = t.iter().map(Option::is_some).collect();
        let (program, nonzero) = jvp::jvp(&self.jaxpr, &nonzero, None)?;
        let results = bind_all(self.around(program, false), &with_tangents(x, t))?;
        Ok(deal_tangents(results, &nonzero))
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let linear: Vec<bool> = x.iter().map(Arg::is_linear).collect();
        let given: Vec<bool> = ct.iter().map(Option::is_some).collect();
        let (program, nonzero) = transpose::transpose(&self.jaxpr, &linear, &given)?;
        let results = bind_all(self.around(program, true), &known_and_cotangents(x, ct))?;
        Ok(deal_cotangents(results, x, &nonzero))
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (program, dims) = batch::batch(&self.jaxpr, d, axis, None)?;
        Ok((bind_all(self.around(program, false), x)?, dims))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for Checkpoint {
    fn programs(&self) -> Vec<&Program> {
        vec![&self.jaxpr]
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        Ok(Checkpoint {
            jaxpr: one_program("checkpoint", programs)?,
            ..self.clone()
        }
        .into())
    }

    /// What is known is computed now, but only the operands are handed on: the unknown half computes the rest again.
    fn partial_eval(&self, unknown: &[bool], operands: &[&Aval]) -> Result<Split> {
        let halves = partial_eval(&self.jaxpr, unknown, &[])?;
        let mut known = halves.known;
        known
            .outs
            .truncate(known.outs.len() - halves.residuals.min(known.outs.len()));
        let known_numbers = marked(&unknown.iter().map(|u| !*u).collect::<Vec<_>>());
        let (rest, numbers) = self.jaxpr.prune(&halves.unknown_outs);
        let rest_avals: Vec<Aval> = numbers
            .iter()
            .filter_map(|i| operands.get(*i).map(|a| (*a).clone()))
            .collect();
        Ok(Split {
            known: (known.through(&[DCE])?, known_numbers),
            unknown: (
                Jaxpr::of_op(self.around(rest, true), rest_avals)?,
                numbers.into_iter().map(SplitOperand::Operand).collect(),
            ),
            unknown_outs: halves.unknown_outs,
        })
    }

    fn prune(&self, used: &[bool]) -> Option<Pruned> {
        prune_call(&self.jaxpr, used, |p| {
            Checkpoint {
                jaxpr: p,
                ..self.clone()
            }
            .into()
        })
    }
}
