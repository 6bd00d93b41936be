//! Sorting and the largest few, lane by lane along an axis: by unsigned integers that are in the order of the numbers.

use super::{
    kernels::{
        strided::{self, axes_of, merge},
        threads,
    },
    parallel,
    storage::zeros,
};
use crate::{
    array::{Aval, Buffer, DType, Dims, Element, Stored, buffer::row_major, dtype::with_dtype},
    error::{Error, Result},
    interp::Buffers,
    trace::op::{Sort, TopK},
};
use half::{bf16, f16};
use std::sync::Arc;

fn broken() -> Error {
    Error::internal("a sort does not fit its operands")
}

/// Numbers that can be told apart by an unsigned integer.
trait Key: Stored {
    /// An integer of no more than this many bits, larger for larger numbers, with negative NaN first and positive NaN last:
    /// IEEE 754's `totalOrder`.
    const WIDTH: u32;
    fn total(self) -> u64;
    /// The same with all NaN last and equal, and zeros equal.
    fn partial(self) -> u64 {
        self.total()
    }
}

macro_rules! floats {
    ($($T:ty, $U:ty;)*) => {$(impl Key for $T {
        const WIDTH: u32 = <$U>::BITS;
        fn total(self) -> u64 {
            let bits = self.to_bits();
            let sign: $U = 1 << (<$U>::BITS - 1);
            let ordered = if bits & sign == 0 { bits | sign } else { !bits };
            u64::from(ordered)
        }
        fn partial(self) -> u64 {
            if self.is_nan() {
                u64::from(<$U>::MAX)
            } else if self == <$T>::ZERO {
                <$T as Key>::total(<$T>::ZERO)
            } else {
                self.total()
            }
        }
    })*};
}
floats! { f16, u16; bf16, u16; f32, u32; f64, u64; }

macro_rules! ints {
    ($($T:ty, $U:ty, $flip:expr;)*) => {$(impl Key for $T {
        const WIDTH: u32 = <$U>::BITS;
        fn total(self) -> u64 {
            u64::from(self as $U ^ $flip)
        }
    })*};
}
ints! {
    bool, u8, 0; u8, u8, 0; u16, u16, 0; u32, u32, 0; u64, u64, 0;
    i8, u8, 1 << 7; i16, u16, 1 << 15; i32, u32, 1 << 31; i64, u64, 1 << 63;
}

/// [`with_dtype!`] without the complex numbers, of which there is `None`.
macro_rules! with_key {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::C64 | DType::C128 => None,
            DType::Bool => {
                type $T = bool;
                Some($body)
            }
            DType::I8 => {
                type $T = i8;
                Some($body)
            }
            DType::I16 => {
                type $T = i16;
                Some($body)
            }
            DType::I32 => {
                type $T = i32;
                Some($body)
            }
            DType::I64 => {
                type $T = i64;
                Some($body)
            }
            DType::U8 => {
                type $T = u8;
                Some($body)
            }
            DType::U16 => {
                type $T = u16;
                Some($body)
            }
            DType::U32 => {
                type $T = u32;
                Some($body)
            }
            DType::U64 => {
                type $T = u64;
                Some($body)
            }
            DType::F16 => {
                type $T = f16;
                Some($body)
            }
            DType::BF16 => {
                type $T = bf16;
                Some($body)
            }
            DType::F32 => {
                type $T = f32;
                Some($body)
            }
            DType::F64 => {
                type $T = f64;
                Some($body)
            }
        }
    };
}

/// The axes with one of them last.
fn order(rank: usize, axis: usize) -> Dims {
    (0..rank).filter(|i| *i != axis).chain([axis]).collect()
}

/// The elements in row-major order of the axes, with one of them last.
fn lanes<T: Stored>(x: &Buffer, axis: usize) -> Result<Vec<T>> {
    let axes = merge(axes_of(
        (x.shape(), x.strides()),
        &order(x.shape().len(), axis),
    ));
    let mut v = zeros::<T>(x.len())?;
    strided::copy(
        x.storage::<T>().ok_or_else(broken)?,
        x.offset(),
        &axes,
        &mut v,
    );
    Ok(v)
}

/// A buffer of elements that are in row-major order of its axes with one of them last.
fn from_lanes<T: Stored>(v: Vec<T>, axis: usize, out: &Aval) -> Result<Buffer> {
    let order = order(out.ndim(), axis);
    let turned: Dims = order
        .iter()
        .filter_map(|i| out.shape.get(*i).copied())
        .collect();
    let mut strides: smallvec::SmallVec<[isize; 4]> = row_major(&out.shape).as_slice().into();
    for (i, step) in order.iter().zip(row_major(&turned)) {
        if let Some(s) = strides.get_mut(*i) {
            *s = step;
        }
    }
    let flat = Buffer::from_data(out.with_shape(Dims::from_slice(&[v.len()])), T::data(v))?;
    flat.view(out.shape.clone(), strides, 0)?.contiguous()
}

/// Integers in the order of the elements, lane by lane; and how many bits they have.
fn keys(x: &Buffer, axis: usize, total: bool) -> Option<Result<(Vec<u64>, u32)>> {
    with_key!(x.dtype(), T => {
        let of = |x: T| if total { x.total() } else { x.partial() };
        lanes::<T>(x, axis).map(|v| (v.into_iter().map(of).collect(), T::WIDTH))
    })
}

/// For each lane the places of its elements in their order, the first `k` of them; a stable order, from the smallest or the largest.
fn places(keys: &[(Vec<u64>, u32)], n: usize, k: usize, descending: bool) -> Result<Vec<u32>> {
    let (first, bits) = keys.first().ok_or_else(broken)?;
    let count = first.len() / n.max(1);
    let mut places = zeros::<u32>(count * k)?;
    let flip = |key: u64| if descending { !key } else { key };
    let lane = |(i, z): (usize, &mut [u32])| {
        let of = |keys: &'_ [u64]| keys.get(i * n..(i + 1) * n).unwrap_or_default().to_vec();
        if let ([_], 0..=32) = (keys, *bits) {
            // The number and its place in one integer.
            let mask = u64::from(u32::MAX);
            let mut lane: Vec<u64> = of(first)
                .into_iter()
                .zip(0u64..)
                .map(|(key, i)| (flip(key) & mask) << 32 | i)
                .collect();
            if k < lane.len() && k > 0 {
                lane.select_nth_unstable(k - 1);
                lane.truncate(k);
            }
            lane.sort_unstable();
            z.iter_mut()
                .zip(lane)
                .for_each(|(z, x)| *z = (x & mask) as u32);
            return;
        }
        let all: Vec<Vec<u64>> = keys.iter().map(|(keys, _)| of(keys)).collect();
        let key = |i: u32| {
            let at = i as usize;
            all.iter().map(move |keys| keys.get(at).copied().map(flip))
        };
        let mut lane: Vec<u32> = (0..n as u32).collect();
        lane.sort_by(|a, b| key(*a).cmp(key(*b)));
        z.iter_mut().zip(lane).for_each(|(z, x)| *z = x);
    };
    let items: Vec<(usize, &mut [u32])> = places.chunks_mut(k.max(1)).enumerate().collect();
    let parts = parallel::parts(first.len() as f64 * 20.0).min(items.len().max(1));
    if parts > 1 && threads() > 1 {
        parallel::in_parts(items, parts, &lane);
    } else {
        items.into_iter().for_each(lane);
    }
    Ok(places)
}

/// The elements of each lane at its places.
fn picked(
    x: &Buffer,
    axis: usize,
    n: usize,
    places: &[u32],
    k: usize,
    out: &Aval,
) -> Result<Buffer> {
    with_dtype!(x.dtype(), T => {
        let v = lanes::<T>(x, axis)?;
        let mut z = zeros::<T>(places.len())?;
        for ((z, places), lane) in z.chunks_mut(k.max(1)).zip(places.chunks(k.max(1))).zip(v.chunks(n.max(1))) {
            for (z, place) in z.iter_mut().zip(places) {
                *z = lane.get(*place as usize).copied().unwrap_or_default();
            }
        }
        from_lanes(z, axis, out)
    })
}

/// Operands in the order of the first ones; `None` where it is not computed here.
pub(super) fn sort(p: &Sort, x: &[&Buffer], avals: &[Arc<Aval>]) -> Result<Option<Buffers>> {
    let Some(first) = x.first() else {
        return Ok(None);
    };
    let n = first.shape().get(p.dimension).copied().unwrap_or(1);
    let keys: Option<Result<Vec<_>>> = x
        .iter()
        .take(p.num_keys)
        .map(|x| keys(x, p.dimension, false))
        .collect();
    let Some(keys) = keys.filter(|_| u32::try_from(n).is_ok()) else {
        return Ok(None);
    };
    let places = places(&keys?, n, n, false)?;
    let all = x
        .iter()
        .zip(avals)
        .map(|(x, out)| picked(x, p.dimension, n, &places, n, out));
    all.collect::<Result<Buffers>>().map(Some)
}

/// The largest few, and their places; `None` where it is not computed here.
pub(super) fn top_k(p: &TopK, x: &Buffer, avals: &[Arc<Aval>]) -> Result<Option<Buffers>> {
    let n = x.shape().get(p.axis).copied().unwrap_or(1);
    let (Some(keys), [values, indices]) = (keys(x, p.axis, true), avals) else {
        return Ok(None);
    };
    if u32::try_from(n).is_err() || indices.dtype != DType::I32 {
        return Ok(None);
    }
    let places = places(&[keys?], n, p.k, true)?;
    let numbers = places.iter().map(|i| *i as i32).collect::<Vec<i32>>();
    Ok(Some(Buffers::from_vec(vec![
        picked(x, p.axis, n, &places, p.k, values)?,
        from_lanes(numbers, p.axis, indices)?,
    ])))
}
