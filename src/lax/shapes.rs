//! Functions of shapes: elements are moved, repeated and joined.

use crate::{
    array::{Array, DType, Dims, IntoAxes, IntoDims, Operand, Scalar, attempt, normalise_axis},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{self, BroadcastInDim, Concatenate, Pad, Reshape, Rev, Transpose},
    },
};
use std::borrow::Borrow;

/// New axes of these sizes in front.
#[track_caller]
pub fn broadcast(x: &Array, sizes: impl IntoDims) -> Array {
    let sizes = sizes.into_dims();
    attempt(|| {
        let a = x.aval()?;
        let at: Dims = (sizes.len()..sizes.len() + a.ndim()).collect();
        let shape: Dims = sizes.iter().chain(&a.shape).copied().collect();
        Ok(broadcast_in_dim(x, shape, at))
    })
}

/// A larger array in which axis `i` of this one has become axis `dimensions[i]`.
#[track_caller]
pub fn broadcast_in_dim(x: &Array, shape: impl IntoDims, dimensions: impl IntoDims) -> Array {
    bind(
        BroadcastInDim {
            shape: shape.into_dims(),
            broadcast_dimensions: dimensions.into_dims(),
        },
        &[x],
    )
}

/// The array in the shape of another, to which its shape broadcasts.
#[track_caller]
pub fn broadcast_like(x: &Array, like: &Array) -> Array {
    attempt(|| Ok(x.broadcast_to(like.aval()?.shape)))
}

/// New axes of size 1 in front, until there are `rank`.
#[track_caller]
pub fn broadcast_to_rank(x: &Array, rank: usize) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let more = rank.checked_sub(a.ndim()).ok_or_else(|| {
            Error::argument(format!(
                "broadcast_to_rank {rank} of {a}, which has more axes"
            ))
        })?;
        let shape: Dims = std::iter::repeat_n(1, more)
            .chain(a.shape.iter().copied())
            .collect();
        Ok(x.broadcast_in_dim(shape, (more..rank).collect::<Dims>()))
    })
}

/// The shape that shapes broadcast to. An error if they do not.
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Result<Dims> {
    let mut joint = Dims::new();
    for s in shapes {
        joint = crate::array::broadcast_shapes(&joint, s)
            .ok_or_else(|| Error::shape(format!("the shapes {shapes:?} do not broadcast")))?;
    }
    Ok(joint)
}

/// 0, 1, …, size − 1.
#[track_caller]
pub fn iota(dtype: DType, size: usize) -> Array {
    Array::iota([size], 0, dtype)
}

/// 0, 1, 2, … along one axis of a shape.
#[track_caller]
pub fn broadcasted_iota(dtype: DType, shape: impl IntoDims, dimension: usize) -> Array {
    Array::iota(shape, dimension, dtype)
}

/// The same number everywhere.
#[track_caller]
pub fn full(shape: impl IntoDims, x: impl Into<Scalar>, dtype: DType) -> Array {
    Array::full(shape, x, dtype)
}

/// The same number everywhere, in the shape and element type of another array.
#[track_caller]
pub fn full_like(like: &Array, x: impl Into<Scalar>) -> Array {
    Array::full_like(like, x)
}

/// The same elements, in row-major order, under another shape of as many.
#[track_caller]
pub fn reshape(x: &Array, sizes: impl IntoDims) -> Array {
    bind(
        Reshape {
            new_sizes: sizes.into_dims(),
        },
        &[x],
    )
}

/// The axes from `start` up to `stop` made one.
#[track_caller]
pub fn collapse(x: &Array, start: usize, stop: usize) -> Array {
    attempt(|| {
        let a = x.aval()?;
        if start > stop || stop > a.ndim() {
            return Err(Error::argument(format!(
                "collapse of the axes {start} to {stop} of {a}"
            )));
        }
        let part = a.shape.get(start..stop).unwrap_or_default();
        let shape: Dims = a
            .shape
            .iter()
            .take(start)
            .copied()
            .chain([part.iter().product()])
            .chain(a.shape.iter().skip(stop).copied())
            .collect();
        Ok(x.reshape(shape))
    })
}

/// The array without these axes, each of size 1.
#[track_caller]
pub fn squeeze(x: &Array, dimensions: impl IntoAxes) -> Array {
    x.squeeze(dimensions)
}

/// Axes of size 1 put in at these places of the result.
#[track_caller]
pub fn expand_dims(x: &Array, dimensions: impl IntoAxes) -> Array {
    x.expand_dims(dimensions)
}

/// Axes in another order: axis `i` of the result is axis `permutation[i]`.
#[track_caller]
pub fn transpose(x: &Array, permutation: impl IntoDims) -> Array {
    bind(
        Transpose {
            permutation: permutation.into_dims(),
        },
        &[x],
    )
}

/// The elements along these axes in reverse order.
#[track_caller]
pub fn rev(x: &Array, dimensions: impl IntoDims) -> Array {
    bind(
        Rev {
            dimensions: dimensions.into_dims(),
        },
        &[x],
    )
}

/// Arrays of one element type one after another along an axis.
#[track_caller]
pub fn concatenate<A: Borrow<Array>>(arrays: &[A], dimension: usize) -> Array {
    let all: Vec<&Array> = arrays.iter().map(Borrow::borrow).collect();
    bind(Concatenate { dimension }, &all)
}

/// More elements of one value before, after and between, along each axis; negative numbers take away.
#[track_caller]
pub fn pad(x: &Array, value: impl Operand, config: &[(i64, i64, i64)]) -> Array {
    bind(
        Pad {
            padding_config: config.to_vec(),
        },
        &[x, &value.operand(x)],
    )
}

/// Parts of these sizes along an axis.
#[track_caller]
pub fn split(x: &Array, sizes: impl IntoDims, axis: i32) -> Result<Vec<Array>> {
    let axis = normalise_axis(axis.into(), x.aval()?.ndim())?;
    let sizes = sizes.into_dims();
    bind_all(op::SplitAlong { axis, sizes }, std::slice::from_ref(x))
}

/// Arrays of one type along a new axis.
#[track_caller]
pub fn stack(arrays: &[&Array], axis: usize) -> Array {
    bind(op::Stack { axis }, arrays)
}

/// The slices along an axis, which they lack.
#[track_caller]
pub fn unstack(x: &Array, axis: usize) -> Result<Vec<Array>> {
    bind_all(op::Unstack { axis }, std::slice::from_ref(x))
}

/// The array several times along each axis.
#[track_caller]
pub fn tile(x: &Array, reps: impl IntoDims) -> Array {
    bind(
        op::Tile {
            reps: reps.into_dims(),
        },
        &[x],
    )
}
