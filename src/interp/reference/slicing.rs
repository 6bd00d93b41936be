//! Slices, concatenation, padding, reversal, clamping, bits.

use crate::{
    array::{
        Aval, Buffer, DType, Dims, Element, Scalar, Stored,
        buffer::{SmallStrides, try_filled, try_vec},
        dtype::with_dtype,
    },
    error::{Error, Result},
    trace::op::{Binary, Concatenate, Pad, Slice, remaining},
};
use std::{borrow::Borrow, sync::Arc};

/// A view without axes of size 1.
pub(super) fn squeeze(x: &Buffer, dimensions: &[usize]) -> Result<Buffer> {
    let keep = remaining(x.shape().len(), dimensions, &[]);
    let shape: Dims = keep
        .iter()
        .filter_map(|i| x.shape().get(*i).copied())
        .collect();
    let strides = keep
        .iter()
        .filter_map(|i| x.strides().get(*i).copied())
        .collect();
    x.view(shape, strides, x.offset())
}

/// A view.
pub(super) fn slice(p: &Slice, x: &Buffer, out: &Aval) -> Result<Buffer> {
    window(x, &p.start_indices, &out.shape, |i| p.stride(i))
}

fn window(
    x: &Buffer,
    start: &[usize],
    shape: &[usize],
    step: impl Fn(usize) -> usize,
) -> Result<Buffer> {
    let mut offset = x.offset() as isize;
    let mut strides = SmallStrides::new();
    for (i, (s, at)) in x.strides().iter().zip(start).enumerate() {
        offset += s * *at as isize;
        strides.push(s * step(i) as isize);
    }
    x.view(
        Dims::from_slice(shape),
        strides,
        usize::try_from(offset).unwrap_or(0),
    )
}

/// Start indices, moved so that a window of these sizes fits.
pub(in crate::interp) fn starts(
    shape: &[usize],
    sizes: &[usize],
    indices: &[impl Borrow<Buffer>],
) -> Result<Dims> {
    indices
        .iter()
        .zip(shape)
        .zip(sizes)
        .map(|((i, n), size)| match i.borrow().item() {
            Some(Scalar::Int(i)) => Ok(i.clamp(0, n.saturating_sub(*size) as i128) as usize),
            _ => Err(Error::internal("a start index is no integer")),
        })
        .collect()
}

/// A view.
pub(super) fn dynamic_slice(x: &Buffer, indices: &[Arc<Buffer>], out: &Aval) -> Result<Buffer> {
    window(
        x,
        &starts(x.shape(), &out.shape, indices)?,
        &out.shape,
        |_| 1,
    )
}

pub(super) fn dynamic_update_slice(
    x: &Buffer,
    update: &Buffer,
    indices: &[Arc<Buffer>],
    out: &Aval,
) -> Result<Buffer> {
    let at = starts(x.shape(), update.shape(), indices)?;
    let data = with_dtype!(x.dtype(), T => {
        let mut y = x.to_vec::<T>()?;
        place(&mut y, &out.shape, &update.to_vec::<T>()?, update.shape(), |i, k| {
            at.get(i).copied().unwrap_or(0) as i64 + k as i64
        });
        T::data(y)
    });
    Buffer::from_data(out.clone(), data)
}

/// Write the elements of an array of shape `from` into one of shape `to`, axis by axis where `at(axis, index)` says; what lies
/// outside is left out.
fn place<T: Copy>(
    y: &mut [T],
    to: &[usize],
    x: &[T],
    from: &[usize],
    at: impl Fn(usize, usize) -> i64,
) {
    for (flat, v) in x.iter().enumerate() {
        let (mut rest, mut index, mut step, mut inside) = (flat, 0usize, 1usize, true);
        for (axis, (n, m)) in from.iter().zip(to).enumerate().rev() {
            let k = at(axis, rest % n.max(&1));
            rest /= n.max(&1);
            inside &= (0..*m as i64).contains(&k);
            index += if inside { k as usize * step } else { 0 };
            step *= m;
        }
        if let (true, Some(slot)) = (inside, y.get_mut(index)) {
            *slot = *v;
        }
    }
}

pub(super) fn concatenate(p: &Concatenate, x: &[Arc<Buffer>], out: &Aval) -> Result<Buffer> {
    let data = with_dtype!(out.dtype, T => {
        let mut y = try_filled(out.size(), T::ZERO)?;
        let mut before = 0;
        for b in x {
            place(&mut y, &out.shape, &b.to_vec::<T>()?, b.shape(), |i, k| {
                (k + if i == p.dimension { before } else { 0 }) as i64
            });
            before += b.shape().get(p.dimension).copied().unwrap_or(0);
        }
        T::data(y)
    });
    Buffer::from_data(out.clone(), data)
}

pub(super) fn pad(p: &Pad, x: &Buffer, value: &Buffer, out: &Aval) -> Result<Buffer> {
    let data = with_dtype!(out.dtype, T => {
        let value = value.item().map_or(T::ZERO, T::from_scalar);
        let mut y = try_filled(out.size(), value)?;
        place(&mut y, &out.shape, &x.to_vec::<T>()?, x.shape(), |i, k| {
            p.padding_config.get(i).map_or(0, |(low, _, between)| low + k as i64 * (between + 1))
        });
        T::data(y)
    });
    Buffer::from_data(out.clone(), data)
}

/// A view with negative strides.
pub(super) fn rev(x: &Buffer, dimensions: &[usize]) -> Result<Buffer> {
    let mut offset = x.offset() as isize;
    let mut strides = SmallStrides::new();
    for (i, (s, n)) in x.strides().iter().zip(x.shape()).enumerate() {
        let turned = dimensions.contains(&i);
        offset += if turned {
            s * (*n as isize - 1).max(0)
        } else {
            0
        };
        strides.push(if turned { -s } else { *s });
    }
    x.view(
        Dims::from_slice(x.shape()),
        strides,
        usize::try_from(offset).unwrap_or(0),
    )
}

pub(super) fn clamp(low: &Buffer, x: &Buffer, high: &Buffer, out: &Aval) -> Result<Buffer> {
    let above = super::elementwise::binary(Binary::Max, low, x, out)?;
    super::elementwise::binary(Binary::Min, &above, high, out)
}

pub(super) fn bitcast(x: &Buffer, out: &Aval) -> Result<Buffer> {
    let mut bytes: Vec<u8> = try_vec(x.len() * x.dtype().size())?;
    macro_rules! to_bytes {
        ($($D:ident $T:ty;)*) => {
            match x.dtype() {
                $(DType::$D => x.to_vec::<$T>()?.iter().for_each(|v| bytes.extend(v.to_le_bytes())),)*
                d => return if d == out.dtype { Ok(x.clone()) } else { Err(Error::dtype(format!("the bits of {d}"))) },
            }
        };
    }
    to_bytes! { I8 i8; I16 i16; I32 i32; I64 i64; U8 u8; U16 u16; U32 u32; U64 u64; F16 half::f16; BF16 half::bf16; F32 f32; F64 f64; }
    macro_rules! from_bytes {
        ($($D:ident $T:ty;)*) => {
            match out.dtype {
                $(DType::$D => <$T>::data(
                    bytes
                        .chunks_exact(size_of::<$T>())
                        .map(|c| <$T>::from_le_bytes(c.try_into().unwrap_or_default()))
                        .collect(),
                ),)*
                d => return Err(Error::dtype(format!("the bits of {d}"))),
            }
        };
    }
    let data = from_bytes! { I8 i8; I16 i16; I32 i32; I64 i64; U8 u8; U16 u16; U32 u32; U64 u64; F16 half::f16; BF16 half::bf16; F32 f32; F64 f64; };
    Buffer::from_data(out.clone(), data)
}
