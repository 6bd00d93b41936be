//! Primitives that move elements without computing: transpose, broadcast_in_dim, reshape; and iota, which makes them.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Labels, Param, Params, Prim, Primitive,
    Tangent, batch_in_front, check_axes, cotangent, linear_jvp, operands, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims, aval::size_of},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `transpose`
pub const TRANSPOSE: Prim<Transpose> = Prim::new("transpose");
/// `broadcast_in_dim`
pub const BROADCAST_IN_DIM: Prim<BroadcastInDim> = Prim::new("broadcast_in_dim");
/// `reshape`
pub const RESHAPE: Prim<Reshape> = Prim::new("reshape");
/// `iota`
pub const IOTA: Prim<Iota> = Prim::new("iota");

/// The array with axis `from` moved to stand at `to`; the others keep their order.
pub(crate) fn move_axis(x: &Array, from: usize, to: usize) -> Array {
    if from == to {
        return x.clone();
    }
    let mut permutation: Dims = (0..x.ndim()).filter(|i| *i != from).collect();
    permutation.insert(to.min(permutation.len()), from);
    x.transpose(permutation)
}

/// The operand with its batch axis at the front; one that has none is repeated along it.
pub(crate) fn batch_to_front(x: &Array, dim: Option<usize>, size: usize) -> Array {
    match dim {
        Some(d) => move_axis(x, d, 0),
        None => {
            let mut shape: Dims = smallvec![size];
            shape.extend_from_slice(&x.shape());
            x.broadcast_in_dim(shape, (1..=x.ndim()).collect::<Dims>())
        }
    }
}

/// Axis numbers of an example, as they stand in a batch whose axis is at the front.
pub(crate) fn shifted(axes: &[usize]) -> Dims {
    axes.iter().map(|a| a + 1).collect()
}

/// The permutation that undoes this one.
pub(crate) fn inverse(permutation: &[usize]) -> Dims {
    let mut inverse = Dims::from_elem(0, permutation.len());
    for (i, p) in permutation.iter().enumerate() {
        if let Some(slot) = inverse.get_mut(*p) {
            *slot = i;
        }
    }
    inverse
}

/// Axes in another order: axis `i` of the result is axis `permutation[i]` of the operand.
#[derive(Clone, PartialEq, Debug)]
pub struct Transpose {
    /// The operand's axis for each axis of the result.
    pub permutation: Dims,
}

impl Primitive for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }
    fn params(&self) -> Params {
        vec![("permutation", Param::tuple(&self.permutation))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        if self.permutation.len() != x.ndim() {
            return Err(Error::argument(format!(
                "transpose: {} is not a permutation of the axes of {x}",
                tuple_text(&self.permutation)
            )));
        }
        check_axes("transpose", "the permutation", &self.permutation, x.ndim())?;
        let shape: Dims = self
            .permutation
            .iter()
            .filter_map(|p| x.shape.get(*p).copied())
            .collect();
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![
            cotangent(ct).map(|ct| ct.transpose(inverse(&self.permutation))),
        ])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let [x] = operands(self.name(), x)?;
        let Some(d) = d.first().copied().flatten() else {
            return Ok((vec![batch_to_front(x, None, axis.size)], vec![Some(0)]));
        };
        let permutation = std::iter::once(d)
            .chain(
                self.permutation
                    .iter()
                    .map(|p| if *p >= d { p + 1 } else { *p }),
            )
            .collect::<Dims>();
        Ok((vec![bind(Transpose { permutation }, &[x])], vec![Some(0)]))
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Product {
            operands: vec![(0..self.permutation.len() as u16).collect()],
            output: self.permutation.iter().map(|p| *p as u16).collect(),
        }
    }
    no_programs!();
}

/// A larger array in which axis `i` of the operand has become axis `broadcast_dimensions[i]`; along the other axes, and along
/// those where the operand's size is 1, elements repeat.
#[derive(Clone, PartialEq, Debug)]
pub struct BroadcastInDim {
    /// The shape of the result.
    pub shape: Dims,
    /// The result's axis for each axis of the operand, ascending.
    pub broadcast_dimensions: Dims,
}

impl BroadcastInDim {
    /// The axes of the result along which elements repeat, for an operand of this shape.
    pub(crate) fn repeated(&self, operand: &[usize]) -> Dims {
        (0..self.shape.len())
            .filter(|i| {
                !self
                    .broadcast_dimensions
                    .iter()
                    .zip(operand)
                    .any(|(d, n)| d == i && self.shape.get(*i) == Some(n))
            })
            .collect()
    }
}

impl Primitive for BroadcastInDim {
    fn name(&self) -> &'static str {
        "broadcast_in_dim"
    }
    fn params(&self) -> Params {
        // The shape stands in the type of the result, and no dimensions in that of the operand.
        match &self.broadcast_dimensions[..] {
            [] => vec![],
            dims => vec![("broadcast_dimensions", Param::tuple(dims))],
        }
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        let fits = self.broadcast_dimensions.len() == x.ndim()
            && self.broadcast_dimensions.is_sorted_by(|a, b| a < b)
            && self
                .broadcast_dimensions
                .iter()
                .zip(&x.shape)
                .all(|(d, n)| self.shape.get(*d).is_some_and(|m| m == n || *n == 1));
        if !fits {
            return Err(Error::shape(format!(
                "{x} cannot be broadcast to {} along axes {}",
                tuple_text(&self.shape),
                tuple_text(&self.broadcast_dimensions)
            )));
        }
        Ok(smallvec![x.with_shape(self.shape.clone())])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        let a = x.aval()?;
        let gone = self.repeated(&a.shape);
        let summed = if gone.is_empty() {
            ct.clone()
        } else {
            ct.reduce_sum(gone)
        };
        Ok(vec![Some(summed.reshape(a.shape))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let mut shape: Dims = smallvec![axis.size];
        shape.extend_from_slice(&self.shape);
        let mut broadcast_dimensions: Dims = smallvec![0];
        broadcast_dimensions.extend(shifted(&self.broadcast_dimensions));
        let op = BroadcastInDim {
            shape,
            broadcast_dimensions,
        };
        batch_in_front(op, x, d, axis)
    }
    fn axes(&self, x: &[&Aval]) -> Axes {
        let Some(x) = x.first() else {
            return Axes::Opaque;
        };
        let mut operand = Labels::new();
        for (d, n) in self.broadcast_dimensions.iter().zip(&x.shape) {
            // An axis of size 1 that grows is another axis than the one it becomes: outside of the algebra.
            if self.shape.get(*d) != Some(n) {
                return Axes::Opaque;
            }
            operand.push(*d as u16);
        }
        Axes::Product {
            operands: vec![operand],
            output: (0..self.shape.len() as u16).collect(),
        }
    }
    no_programs!();
}

/// The same elements, in row-major order, under another shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Reshape {
    /// The shape of the result.
    pub new_sizes: Dims,
}

impl Primitive for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn params(&self) -> Params {
        vec![
            ("dimensions", Param::text("None")),
            ("new_sizes", Param::tuple(&self.new_sizes)),
            ("sharding", Param::text("None")),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        if size_of(&self.new_sizes) != x.size() {
            return Err(Error::shape(format!(
                "cannot reshape {x} with {} elements to {}",
                x.size(),
                tuple_text(&self.new_sizes)
            )));
        }
        Ok(smallvec![x.with_shape(self.new_sizes.clone())])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let [x] = operands(self.name(), x)?;
        Ok(vec![Some(ct.reshape(x.aval()?.shape))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let mut new_sizes: Dims = smallvec![axis.size];
        new_sizes.extend_from_slice(&self.new_sizes);
        batch_in_front(Reshape { new_sizes }, x, d, axis)
    }
    fn axes(&self, x: &[&Aval]) -> Axes {
        // Adding or dropping axes of size 1 is a renaming; splitting and merging is not expressed yet.
        let Some(x) = x.first() else {
            return Axes::Opaque;
        };
        let long = |s: &[usize]| s.iter().copied().filter(|n| *n != 1).collect::<Dims>();
        if long(&x.shape) != long(&self.new_sizes) {
            return Axes::Opaque;
        }
        // Long axes are numbered alike on both sides; each axis of size 1 has a label of its own.
        let labels = |shape: &[usize], ones: u16| -> Labels {
            let mut next = 0u16;
            let label = |(i, n): (usize, &usize)| {
                if *n == 1 {
                    return ones + i as u16;
                }
                next += 1;
                next - 1
            };
            shape.iter().enumerate().map(label).collect()
        };
        let rank = x.ndim() as u16 + self.new_sizes.len() as u16;
        let (operand, output) = (labels(&x.shape, rank), labels(&self.new_sizes, 2 * rank));
        Axes::Product {
            operands: vec![operand],
            output,
        }
    }
    no_programs!();
}

/// 0, 1, 2, … along one axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Iota {
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: Dims,
    /// The axis along which numbers count.
    pub dimension: usize,
}

impl Primitive for Iota {
    fn name(&self) -> &'static str {
        "iota"
    }
    fn params(&self) -> Params {
        vec![
            ("dimension", Param::text(self.dimension)),
            ("dtype", Param::text(self.dtype.name())),
            ("shape", Param::tuple(&self.shape)),
            ("sharding", Param::text("None")),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [] = operands(self.name(), x)?;
        check_axes("iota", "`dimension`", &[self.dimension], self.shape.len())?;
        if self.dtype == DType::Bool {
            return Err(Error::dtype("`iota` counts in numbers, not bool"));
        }
        Ok(smallvec![Aval::new(self.shape.clone(), self.dtype)])
    }
    fn jvp(&self, _: &[Array], _: &[Tangent]) -> Result<Jvp> {
        Ok((vec![bind(self.clone(), &[])], vec![None]))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![])
    }
    fn batch(&self, _: &[Array], _: &[Option<usize>], _: &BatchAxis) -> Result<Batched> {
        Ok((vec![bind(self.clone(), &[])], vec![None]))
    }
    opaque!();
}
