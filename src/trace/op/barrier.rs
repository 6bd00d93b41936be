//! `optimization_barrier`.

use super::{Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Params, Prim, Primitive, Tangent};
use crate::{
    array::{Array, Aval},
    error::Result,
    trace::bind_all,
};

/// `optimization_barrier`
pub const OPTIMIZATION_BARRIER: Prim<OptimizationBarrier> = Prim::new("optimization_barrier");

/// The identity of several arrays, which no pass looks through: what comes out is computed after everything that goes in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OptimizationBarrier;

/// Those that are not zero behind a barrier of their own.
fn behind(all: &[Tangent]) -> Result<Vec<Tangent>> {
    let some: Vec<Array> = all.iter().flatten().cloned().collect();
    if some.is_empty() {
        return Ok(all.to_vec());
    }
    let mut behind = bind_all(OptimizationBarrier, &some)?.into_iter();
    let each = all.iter().map(|t| t.as_ref().and_then(|_| behind.next()));
    Ok(each.collect())
}

impl Primitive for OptimizationBarrier {
    fn name(&self) -> &'static str {
        OPTIMIZATION_BARRIER.name
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        Ok(x.iter().map(|a| (*a).clone()).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        Ok((bind_all(*self, x)?, behind(t)?))
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        behind(ct)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], _: &BatchAxis) -> Result<Batched> {
        Ok((bind_all(*self, x)?, d.to_vec()))
    }
    opaque!();
}
