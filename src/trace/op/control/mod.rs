//! Primitives that run programs more than once, or not at all: `scan`, `while`, `cond`.

mod checkpoint;
mod cond;
mod custom;
mod linear_solve;
mod scan;
mod while_loop;

pub use checkpoint::*;
pub use cond::*;
pub use custom::*;
pub use linear_solve::*;
pub use scan::*;
pub use while_loop::*;

use super::{Arg, Op, Split, SplitOperand, Tangent};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{Jaxpr, Program},
    transform::transpose,
};

/// A list in three parts, of which the first two have these lengths.
fn parts<T>(x: &[T], first: usize, second: usize) -> (&[T], &[T], &[T]) {
    let (a, rest) = x.split_at(first.min(x.len()));
    let (b, c) = rest.split_at(second.min(rest.len()));
    (a, b, c)
}

/// The flags of either list.
fn either(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

fn somes<T>(x: &[Option<T>]) -> Vec<bool> {
    x.iter().map(Option::is_some).collect()
}

fn count(flags: &[bool]) -> usize {
    flags.iter().filter(|f| **f).count()
}

fn avals_of(operands: &[Arg]) -> Result<Vec<Aval>> {
    operands.iter().map(Arg::aval).collect()
}

pub(crate) fn one_program(name: &str, programs: Vec<Program>) -> Result<Program> {
    match <[Program; 1]>::try_from(programs) {
        Ok([p]) => Ok(p),
        Err(_) => Err(Error::internal(format!("`{name}` holds one program"))),
    }
}

/// The cotangents of the linear operands of a primitive that has been split by what is linear: the known half is run, the unknown
/// one transposed.
fn transpose_split(split: Split, ct: &[Tangent], operands: &[Arg]) -> Result<Vec<Tangent>> {
    let missing = || Error::internal("a split equation names an operand that it lacks");
    let (known, numbers) = split.known;
    let x = numbers
        .iter()
        .map(|i| match operands.get(*i) {
            Some(Arg::Known(x)) => Ok(x.clone()),
            _ => Err(missing()),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut residuals = known.eval(&x)?;
    let known_outs = split.unknown_outs.iter().filter(|u| !**u).count();
    let residuals = residuals.split_off(known_outs.min(residuals.len()));
    let (unknown, sources) = split.unknown;
    let args = sources
        .iter()
        .map(|s| match s {
            SplitOperand::Operand(i) => operands.get(*i).cloned(),
            SplitOperand::Residual(i) => residuals.get(*i).cloned().map(Arg::Known),
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(missing)?;
    let ct: Vec<Tangent> = ct
        .iter()
        .zip(&split.unknown_outs)
        .filter(|(_, u)| **u)
        .map(|(ct, _)| ct.clone())
        .collect();
    let given = transpose::backward(&unknown, &args, &ct)?;
    let mut out = vec![None; operands.len()];
    for (source, ct) in sources.iter().zip(given) {
        if let SplitOperand::Operand(i) = source
            && let Some(slot) = out.get_mut(*i)
        {
            *slot = super::add_tangents(slot.take(), ct);
        }
    }
    Ok(out)
}

/// A zero for the cotangent or tangent of an array of this type.
fn zero(aval: &Aval) -> Array {
    Array::symbolic_zero(aval.strong())
}

/// The program of one equation around a program made from another one.
fn single(op: Op, avals: Vec<Aval>) -> Result<Jaxpr> {
    Jaxpr::of_op(op, avals)
}

/// The entries with these numbers.
fn indices<T: Clone>(x: &[T], which: &[usize]) -> Vec<T> {
    which.iter().filter_map(|i| x.get(*i).cloned()).collect()
}

/// The program with other inputs, of these types: each stands for one of those that it has, or for none, and is ignored then.
fn with_inputs(mut j: Jaxpr, sources: &[Option<usize>], avals: &[Aval]) -> Jaxpr {
    let inputs = sources
        .iter()
        .zip(avals)
        .map(|(source, aval)| {
            let own = source.and_then(|i| j.invars.get(i).copied());
            own.unwrap_or_else(|| j.fresh(aval.clone().into()))
        })
        .collect();
    j.invars = inputs;
    j
}
