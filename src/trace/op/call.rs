//! Primitives that call a program once: `jit`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive, Pruned,
    Split, SplitOperand, Tangent,
};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{Jaxpr, Program, bind_all},
    transform::{batch, jvp, partial_eval, transpose},
};
use std::sync::Arc;

/// `jit`
pub const JIT: Prim<Jit> = Prim::new("jit");

/// A call of a program that `jit` made of a function.
#[derive(Clone, PartialEq, Debug)]
pub struct Jit {
    /// The function's name.
    pub name: Arc<str>,
    /// What it does.
    pub jaxpr: Program,
}

impl Jit {
    fn around(&self, jaxpr: Program) -> Op {
        Jit {
            name: self.name.clone(),
            jaxpr,
        }
        .into()
    }
}

/// The operand types of a call against those of the program.
pub(crate) fn check_call(name: &str, program: &Program, operands: &[&Aval]) -> Result<()> {
    let wanted: Vec<&Aval> = program.in_avals().collect();
    if wanted.len() != operands.len() {
        return Err(Error::internal(format!(
            "`{name}` calls a program of {} operands with {}",
            wanted.len(),
            operands.len()
        )));
    }
    match wanted.iter().zip(operands).find(|(w, g)| !w.same_type(g)) {
        None => Ok(()),
        Some((w, g)) => Err(Error::internal(format!(
            "`{name}` calls a program that takes {w} with {g}"
        ))),
    }
}

/// The operands of the tangent program: primals, then the tangents that are not zero.
pub(crate) fn with_tangents(primals: &[Array], tangents: &[Tangent]) -> Vec<Array> {
    primals
        .iter()
        .cloned()
        .chain(tangents.iter().flatten().cloned())
        .collect()
}

/// Deal the results of a tangent program out again.
pub(crate) fn deal_tangents(mut results: Vec<Array>, nonzero: &[bool]) -> Jvp {
    let mut given = results
        .split_off(nonzero.len().min(results.len()))
        .into_iter();
    let tangents = nonzero
        .iter()
        .map(|n| if *n { given.next() } else { None })
        .collect();
    (results, tangents)
}

/// The operands of a transposed call: known operands, then the cotangents that are not zero.
pub(crate) fn known_and_cotangents(operands: &[Arg], cotangents: &[Tangent]) -> Vec<Array> {
    let known = operands.iter().filter_map(|a| match a {
        Arg::Known(x) => Some(x.clone()),
        Arg::Linear(_) => None,
    });
    known.chain(cotangents.iter().flatten().cloned()).collect()
}

/// Deal the results of a transposed program (the nonzero cotangents of linear operands, in order) out to all operands.
pub(crate) fn deal_cotangents(
    results: Vec<Array>,
    operands: &[Arg],
    nonzero: &[bool],
) -> Vec<Tangent> {
    let (mut given, mut nonzero) = (results.into_iter(), nonzero.iter());
    operands
        .iter()
        .map(|a| {
            let hit = a.is_linear() && *nonzero.next()?;
            if hit { given.next() } else { None }
        })
        .collect()
}

impl Primitive for Jit {
    fn name(&self) -> &'static str {
        "jit"
    }
    fn params(&self) -> Params {
        vec![
            ("name", Param::text(&self.name)),
            ("jaxpr", Param::Program(self.jaxpr.clone())),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        check_call("jit", &self.jaxpr, x)?;
        Ok(self.jaxpr.out_avals().into_iter().collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let nonzero: Vec<bool> = t.iter().map(Option::is_some).collect();
        let (program, nonzero_out) = jvp::jvp(&self.jaxpr, &nonzero, None)?;
        let args = with_tangents(x, t);
        let results = bind_all(self.around(program.into()), &args)?;
        Ok(deal_tangents(results, &nonzero_out))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let linear: Vec<bool> = x.iter().map(Arg::is_linear).collect();
        let given: Vec<bool> = ct.iter().map(Option::is_some).collect();
        let (program, nonzero) = transpose::transpose(&self.jaxpr, &linear, &given)?;
        let results = bind_all(self.around(program.into()), &known_and_cotangents(x, ct))?;
        Ok(deal_cotangents(results, x, &nonzero))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (program, dims) = batch::batch(&self.jaxpr, d, axis, None)?;
        Ok((bind_all(self.around(program.into()), x)?, dims))
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for Jit {
    fn programs(&self) -> Vec<&Program> {
        vec![&self.jaxpr]
    }
    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        match <[Program; 1]>::try_from(programs) {
            Ok([jaxpr]) => Ok(self.around(jaxpr)),
            Err(_) => Err(Error::internal("`jit` calls one program")),
        }
    }
    fn partial_eval(&self, unknown: &[bool], _: &[&Aval]) -> Result<Split> {
        let halves = partial_eval::partial_eval(&self.jaxpr, unknown, &[])?;
        split_call(unknown, halves, |p| self.around(p))
    }
    fn prune(&self, used: &[bool]) -> Option<Pruned> {
        prune_call(&self.jaxpr, used, |p| self.around(p))
    }
}

/// The split of a call whose program has been split.
pub(crate) fn split_call(
    unknown: &[bool],
    halves: partial_eval::Halves,
    around: impl Fn(Program) -> Op,
) -> Result<Split> {
    let numbered = |wanted: bool| {
        unknown
            .iter()
            .enumerate()
            .filter(move |(_, u)| **u == wanted)
            .map(|(i, _)| i)
    };
    let operands = (0..halves.residuals)
        .map(SplitOperand::Residual)
        .chain(numbered(true).map(SplitOperand::Operand))
        .collect();
    let call = |p: Jaxpr| {
        let avals: Vec<Aval> = p.in_avals().cloned().collect();
        Jaxpr::of_op(around(p.into()), avals)
    };
    Ok(Split {
        known: (call(halves.known)?, numbered(false).collect()),
        unknown: (call(halves.unknown)?, operands),
        unknown_outs: halves.unknown_outs,
    })
}

/// A call without the results that nobody uses, and without the operands that only those need.
pub(crate) fn prune_call(
    program: &Program,
    used: &[bool],
    around: impl Fn(Program) -> Op,
) -> Option<Pruned> {
    let (pruned, operands) = program.prune(used);
    let fewer = operands.len() < program.invars().len() || used.contains(&false);
    fewer.then(|| Pruned {
        op: around(pruned.into()),
        operands,
        results: marked(used),
    })
}

/// The numbers of the marked.
pub(crate) fn marked(flags: &[bool]) -> Vec<usize> {
    let hit = |(i, f): (usize, &bool)| f.then_some(i);
    flags.iter().enumerate().filter_map(hit).collect()
}
