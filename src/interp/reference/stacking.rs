//! Arrays in parts.

use super::slicing::{concatenate, slice, squeeze};
use crate::{
    array::{Aval, Buffer, Dims},
    error::Result,
    interp::Buffers,
    trace::op::{BroadcastInDim, Concatenate, Slice, SplitAlong, Stack, Tile, Unstack},
};
use std::sync::Arc;

/// The part of an array along an axis that starts somewhere: a view.
fn part(x: &Buffer, axis: usize, from: usize, out: &Aval) -> Result<Buffer> {
    let mut start_indices = Dims::from_elem(0, x.shape().len());
    if let Some(s) = start_indices.get_mut(axis) {
        *s = from;
    }
    let window = Slice {
        start_indices,
        limit_indices: Dims::new(),
        strides: None,
    };
    slice(&window, x, out)
}

/// Views.
pub(super) fn split(p: &SplitAlong, x: &Buffer, results: &[Aval]) -> Result<Buffers> {
    let mut from = 0;
    let mut parts = Buffers::new();
    for (out, n) in results.iter().zip(&p.sizes) {
        parts.push(part(x, p.axis, from, out)?.with_weak_type(out.weak_type));
        from += n;
    }
    Ok(parts)
}

/// Views.
pub(super) fn unstack(p: &Unstack, x: &Buffer, results: &[Aval]) -> Result<Buffers> {
    let mut parts = Buffers::new();
    for (i, out) in results.iter().enumerate() {
        let mut shape = out.shape.clone();
        shape.insert(p.axis.min(shape.len()), 1);
        let one = part(x, p.axis, i, &out.with_shape(shape))?;
        parts.push(squeeze(&one, &[p.axis])?.with_weak_type(out.weak_type));
    }
    Ok(parts)
}

pub(super) fn stack(p: &Stack, x: &[Arc<Buffer>], out: &Aval) -> Result<Buffer> {
    let mut shape = out.shape.clone();
    if let Some(n) = shape.get_mut(p.axis) {
        *n = 1;
    }
    let slices = x.iter().map(|x| Ok(Arc::new(x.reshape(shape.clone())?)));
    let dimension = p.axis;
    concatenate(
        &Concatenate { dimension },
        &slices.collect::<Result<Vec<_>>>()?,
        out,
    )
}

pub(super) fn tile(p: &Tile, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let mut shape = Dims::new();
    for (n, r) in x.shape().iter().zip(&p.reps) {
        shape.extend([*r, *n]);
    }
    let repeat = BroadcastInDim {
        shape,
        broadcast_dimensions: (0..p.reps.len()).map(|i| 2 * i + 1).collect(),
    };
    super::shape::broadcast_in_dim(x, &repeat)?.reshape(out.shape.clone())
}
