//! Functions of arrays that types may answer as a whole.
//!
//! A function such as `linalg::solve` is a program of primitives. Where dispatch is at work it is an operation of its own first, so that
//! a type whose values it meets can have a rule for *solving*, not only for the pieces of an elimination. Where no rule answers, and
//! wherever nothing dispatches, it is what it is defined to be, and no trace of it is left.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, CustomPrimitive, Inner, Jvp, Op, Params, Primitive,
    Tangent,
    defined::{batch_defined, jvp_defined, transpose_defined},
};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{self, Jaxpr, bind_all, eager, here, with_location},
};
use std::{any::Any, fmt, sync::Arc};

/// A function of arrays, defined by operations, that array-ish types may answer as a whole: `r.binary(SOLVE, |_, a: &MyMatrix, b: &Any| …)`.
///
/// Its derivative, its transpose and its batched form follow from the definition. One that says them in terms of functions again, as
/// that of a solution is another solution, lets types answer those as well when a derivative is quaxified: `quaxify(grad(f))`.
///
/// ```
/// use quaxide::{op::{ArrayFunction, Prim, answerable}, prelude::*};
///
/// /// The sum of the squares of all elements.
/// #[derive(Debug)]
/// struct Energy;
/// impl ArrayFunction for Energy {
///     fn name(&self) -> &'static str {
///         "energy"
///     }
///     fn define(&self, x: &[Array]) -> Result<Vec<Array>> {
///         Ok(vec![x[0].square().sum(())])
///     }
/// }
/// const ENERGY: Prim<Energy> = Prim::new("energy");
/// let energy = |x: &Array| answerable(Energy, &[x.clone()]).map(|mut y| y.remove(0));
///
/// /// A vector of one number, many times.
/// #[derive(Clone, PyTree)]
/// struct Constant(Array, Static<usize>);
/// impl ArrayValue for Constant {
///     fn aval(&self) -> Result<Aval> {
///         Ok(self.0.aval()?.with_shape([*self.1]))
///     }
///     fn materialise(&self) -> Result<Array> {
///         Ok(self.0.broadcast_to([*self.1]))
///     }
///     fn rules(r: &mut Rules) {
///         r.unary(ENERGY, |_, x: &Constant| x.0.square() * *x.1 as f32);
///     }
/// }
/// let x = Array::from_value(Constant(Array::scalar(2f32), Static(100)));
/// let stages = quaxify(energy).stages((&x,)).unwrap();
/// assert!(stages.traced.to_string().contains("energy"));
/// assert!(!stages.dispatched.to_string().contains("reduce_sum"));
/// assert_eq!(quaxify(energy)(&x).unwrap().item::<f32>().unwrap(), 400.0);
/// // Of plain arrays it is its definition.
/// assert_eq!(energy(&Array::from([1f32, 2.0])).unwrap().item::<f32>().unwrap(), 5.0);
/// ```
pub trait ArrayFunction: fmt::Debug + Send + Sync + 'static {
    /// The name by which rules know it.
    fn name(&self) -> &'static str;
    /// What it means. An error if the operands do not fit.
    fn define(&self, operands: &[Array]) -> Result<Vec<Array>>;
    /// Its parameters, as programs print them.
    fn params(&self) -> Params {
        vec![]
    }
    /// Results and tangents, if they are better said than by the definition.
    fn jvp(&self, _primals: &[Array], _tangents: &[Tangent]) -> Option<Result<Jvp>> {
        None
    }
    /// Cotangents, if they are better said than by the definition.
    fn transpose(
        &self,
        _cotangents: &[Tangent],
        _operands: &[Arg],
    ) -> Option<Result<Vec<Tangent>>> {
        None
    }
    /// Results for operands with a batch axis, if they are better said than by the definition.
    fn batch(
        &self,
        _operands: &[Array],
        _dims: &[Option<usize>],
        _axis: &BatchAxis,
    ) -> Option<Result<Batched>> {
        None
    }
}

/// Apply a function: where dispatch is at work a type's rule for it if there is one, else what it is defined to be.
#[track_caller]
pub fn answerable(f: impl ArrayFunction, operands: &[Array]) -> Result<Vec<Array>> {
    if trace::is_dispatching() {
        let op: Arc<dyn CustomPrimitive> = Arc::new(Answerable(f));
        return bind_all(Op::Custom(op), operands);
    }
    match operands.iter().find_map(Array::err) {
        Some(e) => Err(e.clone()),
        None => with_location(here(), || f.define(operands)),
    }
}

/// As [`answerable`], for a function of one result.
#[track_caller]
pub(crate) fn answerable_one(f: impl ArrayFunction, operands: &[Array]) -> Result<Array> {
    answerable(f, operands)?
        .pop()
        .ok_or_else(|| Error::internal("a function without a result"))
}

/// A function as a primitive.
#[derive(Debug)]
struct Answerable<F>(F);

impl<F: ArrayFunction> Answerable<F> {
    fn definition_of(&self, operands: &[Aval]) -> Result<Jaxpr> {
        trace::stage(operands, None, &mut |x| self.0.define(&x))
    }
}

fn avals(x: &[Array]) -> Result<Vec<Aval>> {
    x.iter().map(Array::aval).collect()
}

impl<F: ArrayFunction> Primitive for Answerable<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn params(&self) -> Params {
        self.0.params()
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let x: Vec<Aval> = x.iter().map(|a| (*a).clone()).collect();
        Ok(self.definition_of(&x)?.out_avals().into_iter().collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        match self.0.jvp(x, t) {
            Some(y) => y,
            None => jvp_defined(&self.definition_of(&avals(x)?)?, x, t),
        }
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        if let Some(y) = self.0.transpose(ct, x) {
            return y;
        }
        let operands = x.iter().map(Arg::aval).collect::<Result<Vec<_>>>()?;
        transpose_defined(&self.definition_of(&operands)?, ct, x)
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        if let Some(y) = self.0.batch(x, dims, axis) {
            return y;
        }
        batch_defined(|a| self.definition_of(a), x, dims, axis)
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

impl<F: ArrayFunction> CustomPrimitive for Answerable<F> {
    fn eval(&self, x: &[Array]) -> Result<Vec<Array>> {
        eager(|| self.0.define(x))
    }
    fn define(&self, x: &[Array]) -> Option<Result<Vec<Array>>> {
        Some(self.0.define(x))
    }
    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}
