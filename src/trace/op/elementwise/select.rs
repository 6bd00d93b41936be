//! Powers, selection, conversion, and the identities that say something.

use super::{Takes, batch_elementwise, elementwise_labels};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive,
            Tangent, cotangent, move_axis, not_linear, one, operands,
        },
    },
};
use smallvec::smallvec;

/// `integer_pow`
pub const INTEGER_POW: Prim<IntegerPow> = Prim::new("integer_pow");
/// `select_n`
pub const SELECT_N: Prim<SelectN> = Prim::new("select_n");
/// `convert_element_type`
pub const CONVERT_ELEMENT_TYPE: Prim<ConvertElementType> = Prim::new("convert_element_type");
/// `stop_gradient`
pub const STOP_GRADIENT: Prim<StopGradient> = Prim::new("stop_gradient");
/// `copy`
pub const COPY: Prim<Copied> = Prim::new("copy");
/// `component`
pub const COMPONENT: Prim<Component> = Prim::new("component");

/// `x` to the power of the integer `y`.
#[derive(Clone, PartialEq, Debug)]
pub struct IntegerPow {
    /// The exponent; negative ones need inexact operands.
    pub y: i32,
}

impl Primitive for IntegerPow {
    fn name(&self) -> &'static str {
        "integer_pow"
    }
    fn params(&self) -> Params {
        vec![("y", Param::text(self.y))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        Takes::Number.check(self.name(), x.dtype)?;
        if self.y < 0 && !x.dtype.is_inexact() {
            return Err(Error::dtype(format!(
                "integers cannot be raised to negative powers, got {x} to the power {}",
                self.y
            )));
        }
        Ok(smallvec![(**x).clone()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let t = match (t.first().and_then(Option::as_ref), self.y) {
            (None, _) | (_, 0) => None,
            (Some(t), n) => Some(t * (x.integer_pow(n.saturating_sub(1)) * f64::from(n))),
        };
        one(y, t)
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise(self.clone().into(), x, d, axis)
    }
    opaque!();
}

/// Element by element, the case that the predicate says: `which, case 0, case 1, …`.
/// `which` is `bool` for two cases, else `i32`, of the cases' shape or of rank 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SelectN;

impl Primitive for SelectN {
    fn name(&self) -> &'static str {
        "select_n"
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let Some((which, cases)) = x.split_first() else {
            return Err(Error::argument("`select_n` needs a predicate and cases"));
        };
        let Some(first) = cases.first() else {
            return Err(Error::argument("`select_n` needs at least one case"));
        };
        if let Some(other) = cases.iter().find(|c| !c.same_type(first)) {
            return Err(Error::shape(format!(
                "`select_n` needs cases of one type, got {first} and {other}"
            )));
        }
        let ok = which.dtype == DType::Bool && cases.len() <= 2 || which.dtype == DType::I32;
        if !ok {
            return Err(Error::dtype(format!(
                "`select_n` chooses among two cases by bool, among any number by int32; got {which} for {} cases",
                cases.len()
            )));
        }
        if which.ndim() > 0 && which.shape != first.shape {
            return Err(Error::shape(format!(
                "`select_n` needs a predicate of rank 0 or of the cases' shape, got {which} for {first}"
            )));
        }
        let weak_type = cases.iter().all(|c| c.weak_type);
        Ok(smallvec![Aval {
            weak_type,
            ..(**first).clone()
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let y = bind(*self, &x.iter().collect::<Vec<_>>());
        let (Some(which), Some(cases)) = (x.first(), t.get(1..)) else {
            return one(y, None);
        };
        if cases.iter().all(Option::is_none) {
            return one(y, None);
        }
        let t: Vec<Array> = cases
            .iter()
            .map(|t| t.clone().unwrap_or_else(|| Array::zeros_like(&y)))
            .collect();
        let args: Vec<&Array> = std::iter::once(which).chain(&t).collect();
        one(y, Some(bind(*self, &args)))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; x.len()]);
        };
        let Some(Arg::Known(which)) = x.first() else {
            return Err(not_linear(self.name()));
        };
        let zero = Array::zeros_like(ct);
        let mut out = vec![None];
        for i in 1..x.len() {
            if x.get(i).is_some_and(Arg::is_linear) {
                let args: Vec<&Array> = std::iter::once(which)
                    .chain((1..x.len()).map(|j| if i == j { ct } else { &zero }))
                    .collect();
                out.push(Some(bind(*self, &args)));
            } else {
                out.push(None);
            }
        }
        Ok(out)
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        // A scalar predicate may stand before cases of any shape, but the cases need one shape among themselves.
        let case_rank =
            x.get(1).map_or(0, |c| c.ndim()) - usize::from(d.get(1).copied().flatten().is_some());
        let mut x: Vec<Array> = x.to_vec();
        let mut d: Vec<Option<usize>> = d.to_vec();
        for (x, d) in x.iter_mut().zip(&mut d).skip(1) {
            if d.is_none() && case_rank == 0 {
                *x = x.broadcast_in_dim([axis.size], ());
                *d = Some(0);
            }
        }
        if let (Some(which), Some(at)) = (x.first(), d.first().copied().flatten())
            && which.ndim() == 1
            && case_rank > 0
            && let Some(case) = x.get(1)
        {
            let mut shape: crate::array::Dims = smallvec![axis.size];
            let own = d.get(1).copied().flatten();
            shape.extend(
                case.shape()
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| Some(*i) != own)
                    .map(|p| *p.1),
            );
            let wide = move_axis(which, at, 0).broadcast_in_dim(&shape, [0]);
            if let (Some(x), Some(d)) = (x.first_mut(), d.first_mut()) {
                (*x, *d) = (wide, Some(0));
            }
        }
        batch_elementwise((*self).into(), &x, &d, axis)
    }
    opaque!();
}

/// The same numbers in another element type.
#[derive(Clone, PartialEq, Debug)]
pub struct ConvertElementType {
    /// The element type of the result.
    pub new_dtype: DType,
    /// Its weakness.
    pub weak_type: bool,
}

impl Primitive for ConvertElementType {
    fn name(&self) -> &'static str {
        "convert_element_type"
    }
    fn params(&self) -> Params {
        vec![
            ("new_dtype", Param::text(self.new_dtype.name())),
            ("weak_type", Param::bool(self.weak_type)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        Ok(smallvec![Aval {
            shape: x.shape.clone(),
            dtype: self.new_dtype,
            weak_type: self.weak_type
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [x] = operands(self.name(), x)?;
        let y = bind(self.clone(), &[x]);
        let t = match t.first().and_then(Option::as_ref) {
            Some(t) if self.new_dtype.is_inexact() => Some(bind(self.clone(), &[t])),
            _ => None,
        };
        one(y, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        let a = x.aval()?;
        let back = ConvertElementType {
            new_dtype: a.dtype,
            weak_type: a.weak_type,
        };
        Ok(vec![Some(bind(back, &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_elementwise(self.clone().into(), x, d, axis)
    }
    opaque!();
}

/// The identity, whose derivative is zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StopGradient;

/// The identity, for which new storage is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Copied;

/// The identity, which says that its operand is part of an array-ish value. Linear, and passed on by every transformation, so
/// that the rewriter knows in the end which arrays must not be merged.
#[derive(Clone, PartialEq, Debug)]
pub struct Component {
    /// A number that the value has for itself in this process.
    pub value: u64,
    /// Which part: the number of the component, or `None` for the array that the value's definition yields.
    pub field: Option<u32>,
    /// May a plan hold the array that the definition yields?
    pub allow_materialise: bool,
    /// The value's type and where it stands in the arguments, for messages.
    pub what: std::sync::Arc<str>,
}

macro_rules! identity {
    ($P:ty, $name:literal, $params:expr, $tangent:expr) => {
        impl Primitive for $P {
            fn name(&self) -> &'static str {
                $name
            }
            fn params(&self) -> Params {
                let params: fn(&$P) -> Params = $params;
                params(self)
            }
            fn infer(&self, x: &[&Aval]) -> Result<Avals> {
                let [x] = operands(self.name(), x)?;
                Ok(smallvec![(**x).clone()])
            }
            fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
                let [x] = operands(self.name(), x)?;
                let tangent: fn(&$P, &Array) -> Tangent = $tangent;
                let t = t
                    .first()
                    .and_then(Option::as_ref)
                    .and_then(|t| tangent(self, t));
                one(bind(self.clone(), &[x]), t)
            }
            fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
                Ok(vec![cotangent(ct).cloned()])
            }
            fn batch(&self, x: &[Array], d: &[Option<usize>], _: &BatchAxis) -> Result<Batched> {
                let [x] = operands(self.name(), x)?;
                Ok((vec![bind(self.clone(), &[x])], d.to_vec()))
            }
            fn axes(&self, x: &[&Aval]) -> Axes {
                let (operands, output) = elementwise_labels(x);
                Axes::Product { operands, output }
            }
            fn inner(&self) -> Option<&dyn Inner> {
                None
            }
        }
    };
}
identity!(StopGradient, "stop_gradient", |_| vec![], |_, _| None);
identity!(Copied, "copy", |_| vec![], |p, t| Some(bind(*p, &[t])));
identity!(
    Component,
    "component",
    |c| vec![
        (
            "field",
            Param::text(c.field.map_or("definition".into(), |f| f.to_string()))
        ),
        ("value", Param::text(format!("'{}'", c.what))),
    ],
    |_, t| Some(t.clone())
);
