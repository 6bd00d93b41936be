//! Windows that slide over arrays; and how two elements combine.

use super::{reduce, sort::order};
use crate::{
    array::{Aval, Buffer, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype},
    error::Result,
    trace::op::{Binary, ReduceWindow, SelectAndGatherAdd, SelectAndScatterAdd, Window},
};
use half::{bf16, f16};
use num_complex::Complex;

/// How two elements of a type combine.
pub(in crate::interp) trait Combine: Stored {
    /// The function of a binary primitive, as the elementwise ones define it: integers wrap, NaN wins over every number.
    /// With `None`, and with a primitive that the type rules refuse, the second element replaces the first.
    fn combiner(op: Option<Binary>) -> fn(Self, Self) -> Self;
}

macro_rules! combine_float {
    ($($T:ty)*) => {$(
        impl Combine for $T {
            fn combiner(op: Option<Binary>) -> fn($T, $T) -> $T {
                match op {
                    Some(Binary::Add) => |x, y| x + y,
                    Some(Binary::Sub) => |x, y| x - y,
                    Some(Binary::Mul) => |x, y| x * y,
                    Some(Binary::Max) => |x, y| if x.is_nan() || x > y || (x == y && x.is_sign_positive()) { x } else { y },
                    Some(Binary::Min) => |x, y| if x.is_nan() || x < y || (x == y && x.is_sign_negative()) { x } else { y },
                    _ => |_, y| y,
                }
            }
        }
    )*};
}
combine_float!(f32 f64 f16 bf16);

macro_rules! combine_int {
    ($($T:ty)*) => {$(
        impl Combine for $T {
            fn combiner(op: Option<Binary>) -> fn($T, $T) -> $T {
                match op {
                    Some(Binary::Add) => <$T>::wrapping_add,
                    Some(Binary::Sub) => <$T>::wrapping_sub,
                    Some(Binary::Mul) => <$T>::wrapping_mul,
                    Some(Binary::Max) => Ord::max,
                    Some(Binary::Min) => Ord::min,
                    Some(Binary::And) => |x, y| x & y,
                    Some(Binary::Or) => |x, y| x | y,
                    Some(Binary::Xor) => |x, y| x ^ y,
                    _ => |_, y| y,
                }
            }
        }
    )*};
}
combine_int!(i8 i16 i32 i64 u8 u16 u32 u64);

impl Combine for bool {
    fn combiner(op: Option<Binary>) -> fn(bool, bool) -> bool {
        match op {
            Some(Binary::Add | Binary::Max | Binary::Or) => |x, y| x || y,
            Some(Binary::Mul | Binary::Min | Binary::And) => |x, y| x && y,
            Some(Binary::Xor) => |x, y| x ^ y,
            _ => |_, y| y,
        }
    }
}

macro_rules! combine_complex {
    ($($T:ty)*) => {$(
        impl Combine for Complex<$T> {
            fn combiner(op: Option<Binary>) -> fn(Self, Self) -> Self {
                match op {
                    Some(Binary::Add) => |x, y| x + y,
                    Some(Binary::Sub) => |x, y| x - y,
                    // Each part is rounded twice, not thrice: compilers fuse so, XLA's among them.
                    Some(Binary::Mul) => |x, y| {
                        Complex::new(
                            x.re.mul_add(y.re, -(x.im * y.im)),
                            x.im.mul_add(y.re, x.re * y.im),
                        )
                    },
                    _ => |_, y| y,
                }
            }
        }
    )*};
}
combine_complex!(f32 f64);

pub(super) fn reduce_window(p: &ReduceWindow, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let empty = reduce::identity(p.reducer.reducer(), out);
    with_dtype!(out.dtype, T => {
        let x = x.to_vec::<T>().map(|v| (v, x.shape().to_vec()))?;
        let combine = <T as Combine>::combiner(Some(p.reducer.combiner()));
        let mut y: Vec<T> = try_vec(out.size())?;
        for window in p.window.places(&x.1) {
            let elements = window.iter().flatten().filter_map(|i| x.0.get(*i).copied());
            y.push(elements.reduce(combine).unwrap_or_else(|| T::from_scalar(empty)));
        }
        Buffer::from_data(out.clone(), T::data(y))
    })
}

/// For each window, the place of the largest or smallest element under it, the first of several; NaN wins.
fn selected(window: &Window, x: &Buffer, largest: bool) -> Result<Vec<Option<usize>>> {
    let elements: Vec<Scalar> = with_dtype!(x.dtype(), T => {
        x.to_vec::<T>()?.into_iter().map(Into::into).collect()
    });
    let is_nan = |x: Scalar| matches!(x, Scalar::Float(x) if x.is_nan());
    let better = |a: Scalar, b: Scalar| {
        if is_nan(b) {
            false
        } else if is_nan(a) {
            true
        } else if largest {
            order(a, b).is_gt()
        } else {
            order(a, b).is_lt()
        }
    };
    Ok(window
        .places(x.shape())
        .iter()
        .map(|w| {
            w.iter().flatten().copied().reduce(|best, i| {
                match (elements.get(i), elements.get(best)) {
                    (Some(a), Some(b)) if better(*a, *b) => i,
                    _ => best,
                }
            })
        })
        .collect())
}

pub(super) fn select_and_gather_add(
    p: &SelectAndGatherAdd,
    source: &Buffer,
    x: &Buffer,
    out: &Aval,
) -> Result<Buffer> {
    let places = selected(&p.window, x, p.largest)?;
    with_dtype!(out.dtype, T => {
        let s = source.to_vec::<T>()?;
        let pick = |i: &Option<usize>| i.and_then(|i| s.get(i).copied()).unwrap_or_default();
        Buffer::from_data(out.clone(), T::data(places.iter().map(pick).collect()))
    })
}

pub(super) fn select_and_scatter_add(
    p: &SelectAndScatterAdd,
    source: &Buffer,
    x: &Buffer,
    out: &Aval,
) -> Result<Buffer> {
    let places = selected(&p.window, x, p.largest)?;
    with_dtype!(out.dtype, T => {
        let mut y = vec![T::ZERO; x.len()];
        let add = <T as Combine>::combiner(Some(Binary::Add));
        for (i, s) in places.iter().zip(source.to_vec::<T>()?) {
            if let Some(slot) = i.and_then(|i| y.get_mut(i)) {
                *slot = add(*slot, s);
            }
        }
        Buffer::from_data(out.clone(), T::data(y))
    })
}
