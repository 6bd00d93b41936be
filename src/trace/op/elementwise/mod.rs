//! Elementwise primitives. Operands have one shape, or rank 0 (which stands for every element), and one element type.

mod binary;
mod select;
mod unary;

pub use binary::*;
pub use select::*;
pub use unary::*;

use super::{Arg, Axes, BatchAxis, Batched, Labels, Op, move_axis, not_linear};
use crate::{
    array::{Array, Aval, DType, Kind},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

macro_rules! tokens {
    ($P:ty: $($NAME:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $NAME: Prim<$P> = Prim::new($name);)*
    };
}
use tokens;

/// The element types that a primitive takes.
#[derive(Clone, Copy)]
enum Takes {
    Number,
    RealNumber,
    Inexact,
    Float,
    Complex,
    Bits,
    Integer,
    Anything,
}

impl Takes {
    fn accepts(self, d: DType) -> bool {
        match self {
            Takes::Number => d != DType::Bool,
            Takes::RealNumber => d != DType::Bool && !d.is_complex(),
            Takes::Inexact => d.is_inexact(),
            Takes::Float => d.is_float(),
            Takes::Complex => d.is_complex(),
            Takes::Bits => matches!(d.kind(), Kind::Bool | Kind::Int),
            Takes::Integer => d.is_integer(),
            Takes::Anything => true,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Takes::Number => "numbers (not bool)",
            Takes::RealNumber => "real numbers (not bool, not complex)",
            Takes::Inexact => "floating-point or complex numbers",
            Takes::Float => "floating-point numbers",
            Takes::Complex => "complex numbers",
            Takes::Bits => "integers or bool",
            Takes::Integer => "integers",
            Takes::Anything => "anything",
        }
    }

    fn check(self, name: &str, d: DType) -> Result<()> {
        if self.accepts(d) {
            return Ok(());
        }
        Err(Error::dtype(format!(
            "`{name}` takes {}, not {d}",
            self.words()
        )))
    }
}

/// The common shape of elementwise operands, of which those of rank 0 fit everywhere.
pub(super) fn common_shape(name: &str, x: &[&Aval]) -> Result<Aval> {
    let widest = x
        .iter()
        .max_by_key(|a| a.ndim())
        .ok_or_else(|| not_linear(name))?;
    for a in x {
        if a.ndim() > 0 && a.shape != widest.shape {
            return Err(Error::shape(format!(
                "`{name}` needs operands of one shape, got {} and {}",
                x.first().map(|a| a.to_string()).unwrap_or_default(),
                x.iter()
                    .skip(1)
                    .map(|a| a.to_string())
                    .collect::<Vec<_>>()
                    .join(" and ")
            )));
        }
    }
    Ok((**widest).clone())
}

fn common_dtype(name: &str, x: &[&Aval]) -> Result<()> {
    let Some(first) = x.first() else {
        return Ok(());
    };
    match x.iter().find(|a| a.dtype != first.dtype) {
        None => Ok(()),
        Some(other) => Err(Error::dtype(format!(
            "`{name}` needs operands of one element type, got {first} and {other}"
        ))
        .note("the operators of `Array` promote; `lax`-level functions take what they are given")),
    }
}

/// The batching rule of every elementwise primitive.
pub(crate) fn batch_elementwise(
    op: Op,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    let (x, at) = batch_operands(x, dims, axis);
    let y = bind(op, &x.iter().collect::<Vec<_>>());
    Ok((vec![y], vec![Some(at)]))
}

/// The operands of an elementwise primitive over a whole batch, and where the batch axis of its results is.
pub(super) fn batch_operands(
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> (Vec<Array>, usize) {
    let ranks: Vec<usize> = x
        .iter()
        .zip(dims)
        .map(|(x, d)| x.ndim() - usize::from(d.is_some()))
        .collect();
    let rank = ranks.iter().copied().max().unwrap_or(0);
    let first = dims.iter().flatten().next().copied();
    let aligned = x.iter().zip(dims).zip(&ranks).all(|((x, d), r)| match d {
        Some(_) => *d == first && *r == rank,
        None => x.ndim() == 0,
    });
    if let (true, Some(first)) = (aligned, first) {
        return (x.to_vec(), first);
    }
    let mut shape = smallvec![axis.size];
    if let Some((x, d)) = x
        .iter()
        .zip(dims)
        .zip(&ranks)
        .find(|(_, r)| **r == rank)
        .map(|p| p.0)
    {
        shape.extend(
            x.shape()
                .iter()
                .enumerate()
                .filter(|(i, _)| Some(*i) != *d)
                .map(|(_, n)| *n),
        );
    }
    let x: Vec<Array> = x
        .iter()
        .zip(dims)
        .zip(&ranks)
        .map(|((x, d), r)| match d {
            Some(d) if *r == rank => move_axis(x, *d, 0),
            Some(_) => x.broadcast_in_dim(&shape, [0]),
            None if *r == 0 => x.clone(),
            None => x.broadcast_in_dim(&shape, (1..=rank).collect::<Vec<_>>()),
        })
        .collect();
    (x, 0)
}

/// The cotangent of an operand that may have stood for every element.
fn unbroadcast(ct: &Array, operand: &Arg) -> Result<Array> {
    let a = operand.aval()?;
    Ok(if a.ndim() == 0 && ct.ndim() > 0 {
        ct.reduce_sum((0..ct.ndim()).collect::<crate::Dims>())
    } else {
        ct.clone()
    })
}

/// Labels of elementwise operands: the result's axes, or none for rank 0.
fn elementwise_labels(x: &[&Aval]) -> (Vec<Labels>, Labels) {
    let rank = x.iter().map(|a| a.ndim()).max().unwrap_or(0);
    let all: Labels = (0..rank as u16).collect();
    let operands = x
        .iter()
        .map(|a| {
            if a.ndim() == 0 {
                Labels::new()
            } else {
                all.clone()
            }
        })
        .collect();
    (operands, all)
}

fn sum_axes(x: &[&Aval], coefficients: &[f64]) -> Axes {
    let (operands, output) = elementwise_labels(x);
    Axes::Sum {
        coefficients: coefficients.to_vec(),
        operands,
        output,
    }
}
