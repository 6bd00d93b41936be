//! Primitives that move elements.

use crate::{
    array::{
        Aval, Buffer, Element, Scalar, Stored, aval::size_of, buffer::try_vec, dtype::with_dtype,
    },
    error::Result,
    trace::op::{BroadcastInDim, Iota},
};

/// A view: nothing is copied.
pub(super) fn transpose(x: &Buffer, permutation: &[usize]) -> Result<Buffer> {
    let shape = permutation
        .iter()
        .filter_map(|p| x.shape().get(*p).copied())
        .collect();
    let strides = permutation
        .iter()
        .filter_map(|p| x.strides().get(*p).copied())
        .collect();
    x.view(shape, strides, x.offset())
}

/// A view, in which repeated axes have a stride of 0.
pub(super) fn broadcast_in_dim(x: &Buffer, p: &BroadcastInDim) -> Result<Buffer> {
    let strides = (0..p.shape.len())
        .map(|i| {
            let at = p.broadcast_dimensions.iter().position(|d| *d == i);
            match at.and_then(|k| Some((x.shape().get(k)?, x.strides().get(k)?))) {
                Some((n, s)) if Some(n) == p.shape.get(i) => *s,
                _ => 0,
            }
        })
        .collect();
    if size_of(&p.shape) == 0 {
        return Buffer::full(x.aval().with_shape(p.shape.clone()), Scalar::Int(0));
    }
    x.view(p.shape.clone(), strides, x.offset())
}

pub(super) fn iota(p: &Iota) -> Result<Buffer> {
    let aval = Aval::new(p.shape.clone(), p.dtype);
    crate::array::Array::checked_size(&aval)?;
    let n = aval.size();
    let inner: usize = size_of(p.shape.get(p.dimension + 1..).unwrap_or_default());
    let along = p.shape.get(p.dimension).copied().unwrap_or(1);
    let data = with_dtype!(p.dtype, T => {
        let mut v: Vec<T> = try_vec(n)?;
        v.extend((0..n).map(|i| T::from_scalar(Scalar::Int((i / inner.max(1) % along.max(1)) as i128))));
        T::data(v)
    });
    Buffer::from_data(aval, data)
}
