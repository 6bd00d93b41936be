//! Primitives that are defined by others: what they mean is a program, from which their derivatives follow.

use super::{Arg, BatchAxis, Batched, Factor, Jvp, Op, Primitive, Tangent};
use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{self, Jaxpr, Program},
    transform::{
        batch::{batch, eval_batched},
        jvp::eval_jvp,
        transpose::backward,
    },
};

/// A primitive that is defined by others.
pub(crate) trait Defined: Primitive {
    /// What it gives, by other primitives.
    fn define(&self, x: &[Array]) -> Result<Vec<Array>>;

    /// The same as a program for operands of these types.
    fn definition(&self, operands: &[Aval]) -> Result<Jaxpr> {
        trace::stage(operands, None, &mut |x| self.define(&x))
    }
}

fn avals(x: &[Array]) -> Result<Vec<Aval>> {
    x.iter().map(Array::aval).collect()
}

pub(super) fn jvp_of(p: &impl Defined, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
    jvp_defined(&p.definition(&avals(x)?)?, x, t)
}

/// The derivative of what a program means.
pub(super) fn jvp_defined(program: &Jaxpr, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
    eval_jvp(program, x.to_vec(), t.to_vec())
}

pub(super) fn transpose_of(p: &impl Defined, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
    let operands = x.iter().map(Arg::aval).collect::<Result<Vec<_>>>()?;
    transpose_defined(&p.definition(&operands)?, ct, x)
}

/// The transpose of what a program means.
pub(super) fn transpose_defined(
    program: &Jaxpr,
    ct: &[Tangent],
    x: &[Arg],
) -> Result<Vec<Tangent>> {
    backward(program, x, ct)
}

pub(super) fn batch_of(
    p: &impl Defined,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    batch_defined(|a| p.definition(a), x, dims, axis)
}

/// The batched form of what a program means, which is made for the types of one example.
pub(super) fn batch_defined(
    definition: impl FnOnce(&[Aval]) -> Result<Jaxpr>,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    let example = |(a, d): (Aval, &Option<usize>)| {
        let mut a = a;
        if let Some(d) = d {
            a.shape.remove((*d).min(a.shape.len().saturating_sub(1)));
        }
        a
    };
    let operands: Vec<Aval> = avals(x)?.into_iter().zip(dims).map(example).collect();
    eval_batched(&definition(&operands)?, x.to_vec(), dims, axis)
}

/// A program of scalars as one of vectors of a length, element by element.
pub(crate) fn elementwise_program(program: &Program, size: usize) -> Result<Jaxpr> {
    let (dims, outs) = (program.invars().len(), program.outs().len());
    let axis = BatchAxis { size, name: None };
    let (batched, _) = batch(
        program,
        &vec![Some(0); dims],
        &axis,
        Some(&vec![Some(0); outs]),
    )?;
    Ok(batched)
}

impl Op {
    /// What it means, if it is defined by other primitives.
    pub(crate) fn definition(&self, operands: &[Aval]) -> Option<Result<Jaxpr>> {
        match self {
            Op::ReduceBy(p) => Some(p.definition(operands)),
            Op::ReduceWindowBy(p) => Some(p.definition(operands)),
            Op::SelectAndScatter(p) => Some(p.definition(operands)),
            Op::RaggedDotGeneral(p) => Some(p.definition(operands)),
            Op::Factor(p)
                if matches!(
                    **p,
                    Factor::SymmetricProduct { .. } | Factor::CholeskyUpdate | Factor::Ormqr { .. }
                ) =>
            {
                Some(p.definition(operands))
            }
            _ => None,
        }
    }
}
