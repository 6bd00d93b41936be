//! Collectives: what examples of a `vmap` whose axis has a name say to each other.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Binary, Inner, Iota, Jvp, Param, Params, Prim, Primitive,
    Tangent, cotangent, not_linear, one, operands,
};
use crate::{
    array::{Array, Aval, DType, Dims, fail},
    error::{Error, Result},
    trace::bind,
    transform::batch::axis_size,
};
use smallvec::smallvec;
use std::sync::Arc;

/// `psum`
pub const PSUM: Prim<Collective> = Prim::new("psum");
/// `pmax`
pub const PMAX: Prim<Collective> = Prim::new("pmax");
/// `pmin`
pub const PMIN: Prim<Collective> = Prim::new("pmin");
/// `axis_index`
pub const AXIS_INDEX: Prim<AxisIndex> = Prim::new("axis_index");

/// How the examples' arrays become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Across {
    /// Their sum.
    Sum,
    /// The largest, element by element.
    Max,
    /// The smallest, element by element.
    Min,
}

/// An array of all examples along a named axis, the same for each.
#[derive(Clone, PartialEq, Debug)]
pub struct Collective {
    /// How they become one.
    pub across: Across,
    /// The axis.
    pub axis: Arc<str>,
}

/// The number of the example along a named axis, an int32 scalar.
#[derive(Clone, PartialEq, Debug)]
pub struct AxisIndex {
    /// The axis.
    pub axis: Arc<str>,
}

/// The error of a name that no `vmap` in progress gives to its axis.
pub(crate) fn unbound(name: &str, axis: &str) -> Error {
    Error::argument(format!("{name}: no axis is named `{axis}` here")).note(format!(
        "`vmap(f).axis_name(\"{axis}\")` names the axis that it maps over"
    ))
}

impl Primitive for Collective {
    fn name(&self) -> &'static str {
        match self.across {
            Across::Sum => PSUM.name,
            Across::Max => PMAX.name,
            Across::Min => PMIN.name,
        }
    }
    fn params(&self) -> Params {
        vec![
            ("axes", Param::text(format!("('{}',)", self.axis))),
            ("axis_index_groups", Param::text("None")),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        Ok(smallvec![x.strong()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let ([x], [t]) = (operands(self.name(), x)?, operands(self.name(), t)?);
        let y = bind(self.clone(), &[x]);
        let Some(t) = t else {
            return one(y, None);
        };
        let sum = Collective {
            across: Across::Sum,
            axis: self.axis.clone(),
        };
        if self.across == Across::Sum {
            return one(y, Some(bind(sum, &[t])));
        }
        // Those that attain the extremum share its derivative.
        let hit = bind(Binary::Eq, &[x, &y]).astype(t.dtype()?);
        let along = bind(sum.clone(), &[&(&hit * t)]);
        let count = bind(sum, &[&hit]);
        one(y, Some(along / count))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; x.len()]);
        };
        if self.across != Across::Sum {
            return Err(not_linear(self.name()));
        }
        Ok(vec![Some(bind(self.clone(), &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([x], [d]) = (operands(self.name(), x)?, operands(self.name(), d)?);
        if axis.name.as_ref() != Some(&self.axis) {
            return Ok((vec![bind(self.clone(), &[x])], vec![*d]));
        }
        let y = match (d, self.across) {
            (Some(d), across) => match across {
                Across::Sum => x.reduce_sum([*d]),
                Across::Max => x.max(*d),
                Across::Min => x.min(*d),
            },
            (None, Across::Sum) => {
                let n = Array::from_scalar((axis.size as f64).into(), DType::F64, false);
                x * n.astype(x.dtype()?)
            }
            (None, Across::Max | Across::Min) => x.clone(),
        };
        Ok((vec![y], vec![None]))
    }
    opaque!();
}

impl Primitive for AxisIndex {
    fn name(&self) -> &'static str {
        AXIS_INDEX.name
    }
    fn params(&self) -> Params {
        vec![("axis_name", Param::text(&self.axis))]
    }
    fn infer(&self, _: &[&Aval]) -> Result<Avals> {
        Ok(smallvec![Aval::new(Dims::new(), DType::I32)])
    }
    fn jvp(&self, _: &[Array], _: &[Tangent]) -> Result<Jvp> {
        one(bind(self.clone(), &[]), None)
    }
    fn transpose(&self, _: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![None; x.len()])
    }
    fn batch(&self, _: &[Array], _: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        if axis.name.as_ref() != Some(&self.axis) {
            return Ok((vec![bind(self.clone(), &[])], vec![None]));
        }
        let iota = Iota {
            dtype: DType::I32,
            shape: Dims::from_elem(axis.size, 1),
            dimension: 0,
        };
        Ok((vec![bind(iota, &[])], vec![Some(0)]))
    }
    opaque!();
}

#[track_caller]
fn collective(across: Across, x: &Array, axis: &str) -> Array {
    let op = Collective {
        across,
        axis: axis.into(),
    };
    if axis_size(axis).is_none() {
        return fail(unbound(op.name(), axis));
    }
    bind(op, &[x])
}

/// The sum of `x` over all examples of the `vmap` whose axis has this name. In the error state if none has.
///
/// ```
/// use quaxide::prelude::*;
/// let share = vmap(|x: &Array| x / psum(x, "i")).axis_name("i");
/// assert_eq!(share(&Array::from([1f32, 3.])).unwrap().to_vec::<f32>().unwrap(), [0.25, 0.75]);
/// ```
#[track_caller]
pub fn psum(x: &Array, axis: &str) -> Array {
    collective(Across::Sum, x, axis)
}

/// The mean of `x` over all examples of the `vmap` whose axis has this name. In the error state if none has.
///
/// ```
/// use quaxide::prelude::*;
/// let centred = vmap(|x: &Array| x - pmean(x, "i")).axis_name("i");
/// assert_eq!(centred(&Array::from([1f32, 3.])).unwrap().to_vec::<f32>().unwrap(), [-1.0, 1.0]);
/// ```
#[track_caller]
pub fn pmean(x: &Array, axis: &str) -> Array {
    match axis_size(axis) {
        Some(n) => psum(x, axis) / n as f64,
        None => fail(unbound("pmean", axis)),
    }
}

/// The largest `x` of all examples of the `vmap` whose axis has this name, element by element. In the error state if none has.
#[track_caller]
pub fn pmax(x: &Array, axis: &str) -> Array {
    collective(Across::Max, x, axis)
}

/// The smallest `x` of all examples of the `vmap` whose axis has this name, element by element. In the error state if none has.
#[track_caller]
pub fn pmin(x: &Array, axis: &str) -> Array {
    collective(Across::Min, x, axis)
}

/// The number of the example within the `vmap` whose axis has this name: an int32 scalar. In the error state if none has.
///
/// ```
/// use quaxide::prelude::*;
/// let f = vmap(|x: &Array| x + axis_index("i")).axis_name("i");
/// assert_eq!(f(&Array::from([10f32, 10.])).unwrap().to_vec::<f32>().unwrap(), [10.0, 11.0]);
/// ```
#[track_caller]
pub fn axis_index(axis: &str) -> Array {
    if axis_size(axis).is_none() {
        return fail(unbound("axis_index", axis));
    }
    bind(AxisIndex { axis: axis.into() }, &[])
}
