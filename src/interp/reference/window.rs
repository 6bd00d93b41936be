//! Windows that slide over arrays: reductions within them, convolutions; and how two elements combine.

use crate::{array::Stored, trace::op::Binary};
use half::{bf16, f16};
use num_complex::Complex;

/// How two elements of a type combine.
pub(super) trait Combine: Stored {
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
                    Some(Binary::Mul) => |x, y| x * y,
                    _ => |_, y| y,
                }
            }
        }
    )*};
}
combine_complex!(f32 f64);
