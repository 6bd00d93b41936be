//! Arrays in parts: `split`, `stack`, `unstack`, `tile`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Concatenate, Inner, Jvp, Param, Params, Prim, Primitive,
    Tangent, batch_in_front, check_axes, cotangent, linear_jvp, operands, tuple_text,
};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::{bind, bind_all},
};
use smallvec::smallvec;

/// `split`
pub const SPLIT: Prim<SplitAlong> = Prim::new("split");
/// `stack`
pub const STACK: Prim<Stack> = Prim::new("stack");
/// `unstack`
pub const UNSTACK: Prim<Unstack> = Prim::new("unstack");
/// `tile`
pub const TILE: Prim<Tile> = Prim::new("tile");

/// The most results of an equation, so that a type alone asks for no memory without bounds.
const MOST: usize = 1 << 16;

/// The parts of an array along an axis, one after another.
#[derive(Clone, PartialEq, Debug)]
pub struct SplitAlong {
    /// The axis.
    pub axis: usize,
    /// The size of each part; together that of the axis.
    pub sizes: Dims,
}

/// Arrays of one type along a new axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Stack {
    /// Where the new axis stands in the result.
    pub axis: usize,
}

/// The slices of an array along an axis, which they lack.
#[derive(Clone, PartialEq, Debug)]
pub struct Unstack {
    /// The axis.
    pub axis: usize,
}

/// The array several times along each axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Tile {
    /// How often, along each axis.
    pub reps: Dims,
}

/// The cotangents of several results, with zeros where there is none; `None` if all are zero.
fn filled(cts: &[Tangent], avals: &[Aval]) -> Option<Vec<Array>> {
    if cts.iter().all(Option::is_none) {
        return None;
    }
    let each = cts.iter().zip(avals);
    let filled = each.map(|(ct, a)| {
        ct.clone()
            .unwrap_or_else(|| Array::symbolic_zero(a.strong()))
    });
    Some(filled.collect())
}

/// The forward derivative of a linear primitive of one operand and several results.
fn linear_parts(op: impl Into<super::Op>, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
    let op = op.into();
    let y = bind_all(op.clone(), x)?;
    let t = match t {
        [Some(t)] => {
            let parts = bind_all(op, std::slice::from_ref(t))?;
            parts.into_iter().map(Some).collect()
        }
        _ => vec![None; y.len()],
    };
    Ok((y, t))
}

impl Primitive for SplitAlong {
    fn name(&self) -> &'static str {
        "split"
    }
    fn params(&self) -> Params {
        vec![
            ("axis", Param::text(self.axis)),
            ("sizes", Param::tuple(&self.sizes)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes("split", "`axis`", &[self.axis], x.ndim())?;
        let total = self.sizes.iter().try_fold(0usize, |n, m| n.checked_add(*m));
        if total != x.shape.get(self.axis).copied() {
            return Err(Error::shape(format!(
                "split: parts of {} do not make up axis {} of {x}",
                tuple_text(&self.sizes),
                self.axis
            )));
        }
        let part = |n: &usize| {
            let mut shape = x.shape.clone();
            if let Some(size) = shape.get_mut(self.axis) {
                *size = *n;
            }
            x.with_shape(shape)
        };
        Ok(self.sizes.iter().map(part).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_parts(self.clone(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let [x] = operands(self.name(), x)?;
        let parts = self.infer(&[&x.aval()?])?;
        Ok(vec![filled(ct, &parts).map(|parts| {
            let dimension = self.axis;
            bind(Concatenate { dimension }, &parts.iter().collect::<Vec<_>>())
        })])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = SplitAlong {
            axis: self.axis + 1,
            sizes: self.sizes.clone(),
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

impl Primitive for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }
    fn params(&self) -> Params {
        vec![("axis", Param::text(self.axis))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let first = x
            .first()
            .ok_or_else(|| Error::argument("stack needs at least one array"))?;
        check_axes("stack", "`axis`", &[self.axis], first.ndim() + 1)?;
        if let Some(other) = x.iter().find(|a| !a.same_type(first)) {
            return Err(Error::shape(format!(
                "stack needs arrays of one type, got {first} and {other}"
            )));
        }
        let mut shape = first.shape.clone();
        shape.insert(self.axis, x.len());
        Ok(smallvec![Aval {
            shape,
            dtype: first.dtype,
            weak_type: x.iter().all(|a| a.weak_type),
        }])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None; x.len()]);
        };
        let parts = bind_all(Unstack { axis: self.axis }, std::slice::from_ref(ct))?;
        let parts = parts.into_iter().zip(x);
        Ok(parts.map(|(p, x)| x.is_linear().then_some(p)).collect())
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = Stack {
            axis: self.axis + 1,
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

impl Primitive for Unstack {
    fn name(&self) -> &'static str {
        "unstack"
    }
    fn params(&self) -> Params {
        vec![("axis", Param::text(self.axis))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        check_axes("unstack", "`axis`", &[self.axis], x.ndim())?;
        let mut shape = x.shape.clone();
        let n = shape.remove(self.axis);
        if n > MOST {
            return Err(Error::unsupported(format!(
                "`unstack` along an axis of {n} of {x}: an equation has at most {MOST} results"
            )));
        }
        Ok((0..n).map(|_| x.with_shape(shape.clone())).collect())
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_parts(self.clone(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let [x] = operands(self.name(), x)?;
        let parts = self.infer(&[&x.aval()?])?;
        let axis = self.axis;
        Ok(vec![filled(ct, &parts).map(|parts| {
            bind(Stack { axis }, &parts.iter().collect::<Vec<_>>())
        })])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let op = Unstack {
            axis: self.axis + 1,
        };
        batch_in_front(op, x, d, axis)
    }
    opaque!();
}

impl Primitive for Tile {
    fn name(&self) -> &'static str {
        "tile"
    }
    fn params(&self) -> Params {
        vec![("reps", Param::tuple(&self.reps))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        if self.reps.len() != x.ndim() {
            return Err(Error::argument(format!(
                "tile: reps={} is not one number for each axis of {x}",
                tuple_text(&self.reps)
            )));
        }
        let sizes = x.shape.iter().zip(&self.reps);
        let shape = sizes.map(|(n, r)| n.saturating_mul(*r)).collect::<Dims>();
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        let mut shape = Dims::new();
        for (n, r) in x.aval()?.shape.iter().zip(&self.reps) {
            shape.extend([*r, *n]);
        }
        let copies: Dims = (0..self.reps.len()).map(|i| 2 * i).collect();
        Ok(vec![Some(ct.reshape(shape).reduce_sum(copies))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let mut reps: Dims = smallvec![1];
        reps.extend_from_slice(&self.reps);
        batch_in_front(Tile { reps }, x, d, axis)
    }
    opaque!();
}
