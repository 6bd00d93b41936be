//! Primitives that only look at elements in another way.

use super::{
    kernels::strided::{copy, merged},
    storage::Pool,
};
use crate::{
    array::{Aval, Buffer, Data, Dims, Scalar, Stored, buffer::SmallStrides, dtype::with_dtype},
    error::{Error, Result},
};
use std::sync::Arc;

/// Axes in another order.
pub(super) fn transpose(x: &Buffer, permutation: &[usize], out: &Arc<Aval>) -> Result<Buffer> {
    let strides = permutation
        .iter()
        .filter_map(|p| x.strides().get(*p).copied())
        .collect();
    x.view_as(out.clone(), strides, x.offset())
}

/// Axis `i` becomes axis `dims[i]`; along the others elements repeat.
pub(super) fn broadcast(x: &Buffer, dims: &[usize], out: &Arc<Aval>) -> Result<Buffer> {
    if out.size() == 0 {
        return Buffer::full((**out).clone(), Scalar::Int(0));
    }
    let mut strides = SmallStrides::from_elem(0, out.ndim());
    for ((d, n), s) in dims.iter().zip(x.shape()).zip(x.strides()) {
        if let (Some(m), Some(slot)) = (out.shape.get(*d), strides.get_mut(*d))
            && m == n
            && *n != 1
        {
            *slot = *s;
        }
    }
    x.view_as(out.clone(), strides, x.offset())
}

/// The same elements in row-major order under another shape: a view where strides allow it, else a copy.
pub(super) fn reshape(x: &Buffer, out: &Arc<Aval>, pool: &mut Pool) -> Result<Buffer> {
    if let Some(strides) = strides_for(x, &out.shape) {
        return x.view_as(out.clone(), strides, x.offset());
    }
    let mut data = pool.take_for(out)?;
    fill(x, &mut data)?;
    Ok(Buffer::from_storage(out.clone(), data))
}

/// Copy the elements in row-major order.
fn fill(x: &Buffer, data: &mut Arc<Data>) -> Result<()> {
    let held = || Error::internal("storage to write to is held elsewhere");
    let data = Arc::get_mut(data).ok_or_else(held)?;
    let axes = merged(x.shape(), x.strides());
    with_dtype!(x.dtype(), T => {
        let z = T::vec_mut(data).ok_or_else(held)?;
        copy(x.storage::<T>().ok_or_else(held)?, x.offset(), &axes, z);
    });
    Ok(())
}

/// The strides by which a buffer is seen under another shape, if there are any.
fn strides_for(x: &Buffer, shape: &Dims) -> Option<SmallStrides> {
    if x.is_contiguous() {
        return Some(crate::array::buffer::row_major(shape));
    }
    // Each merged axis is dealt out to consecutive axes of the new shape, from the last.
    let mut axes = merged(x.shape(), x.strides());
    let mut strides = SmallStrides::from_elem(0, shape.len());
    let mut current = axes.pop();
    for (n, s) in shape.iter().zip(&mut strides).rev() {
        if *n == 1 {
            continue;
        }
        let (size, stride) = current?;
        if size % n != 0 {
            return None;
        }
        *s = stride;
        current = match size / n {
            1 => axes.pop(),
            rest => Some((rest, stride * *n as isize)),
        };
    }
    Some(strides)
}
