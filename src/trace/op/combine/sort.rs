//! `sort` with any order.

use super::check_scalars;
use crate::{
    array::{Array, Aval, DType, IntoDims},
    error::{Error, Result},
    trace::{
        self, Program, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive,
            Tangent, along_axis, batch_in_front, check_axes, not_linear,
        },
    },
};

/// `sort`, by any program
pub const SORT_BY: Prim<SortBy> = Prim::new("sort");

/// Several arrays of one shape, sorted together along one axis, in an order that a program says.
#[derive(Clone, PartialEq, Debug)]
pub struct SortBy {
    /// Does the first of two come before the second? From an element of each of two positions of the first array, then of the
    /// second, and so on, to a bool: a strict weak order.
    pub comparator: Program,
    /// The axis.
    pub dimension: usize,
    /// Do equal elements keep their order?
    pub is_stable: bool,
}

impl SortBy {
    /// The same order with one more array that it does not look at.
    fn with_positions(&self) -> Result<SortBy> {
        let mut inputs: Vec<Aval> = self.comparator.in_avals().cloned().collect();
        let n = inputs.len();
        let position = Aval::new((), DType::I32);
        inputs.extend([position.clone(), position]);
        let comparator = trace::stage(&inputs, None, &mut |x| {
            self.comparator.eval(x.get(..n).unwrap_or_default())
        })?;
        Ok(SortBy {
            comparator: comparator.into(),
            ..self.clone()
        })
    }
}

impl Primitive for SortBy {
    fn name(&self) -> &'static str {
        SORT_BY.name
    }
    fn params(&self) -> Params {
        vec![
            ("comparator", Param::Program(self.comparator.clone())),
            ("dimension", Param::text(self.dimension)),
            ("is_stable", Param::bool(self.is_stable)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let Some(first) = x.first() else {
            return Err(Error::argument("sort: there is nothing to sort"));
        };
        check_axes("sort", "`dimension`", &[self.dimension], first.ndim())?;
        if let Some(other) = x.iter().find(|a| a.shape != first.shape) {
            return Err(Error::shape(format!(
                "sort: {first} and {other} differ in shape"
            )));
        }
        let pairs: Vec<DType> = x.iter().flat_map(|a| [a.dtype, a.dtype]).collect();
        check_scalars(
            "sort",
            "the order",
            &self.comparator,
            &pairs,
            &[DType::Bool],
        )?;
        Ok(x.iter().map(|a| (*a).clone()).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let shape = x.first().map(|x| x.shape().into_dims()).unwrap_or_default();
        let mut all = x.to_vec();
        all.push(Array::iota(shape, self.dimension, DType::I32));
        let mut y = bind_all(self.with_positions()?, &all)?;
        let positions = y
            .pop()
            .ok_or_else(|| Error::internal("sort lost an operand"))?;
        let moved = |t: &Tangent| {
            t.as_ref()
                .map(|t| along_axis(t, &positions, self.dimension))
        };
        Ok((y, t.iter().map(moved).collect()))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = SortBy {
            dimension: self.dimension + 1,
            ..self.clone()
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}
