//! Elementwise functions over slices.
//!
//! What a function gives for one number is written once, in the reference interpreter; here it is inlined into loops, one for each
//! function, element type and [`Level`], which the compiler vectorises. So both interpreters agree bit for bit.

use super::{Level, levels, tile::Part};
use crate::{
    array::{DType, Element, Scalar, Stored, dtype::with_dtype},
    interp::reference::elementwise::{Int, Pair, Real, by_kind, complex_unary, narrowed, wide},
    trace::op::{Binary, RoundingMethod, Unary},
};
use num_complex::Complex;

/// An operand: a number for each element, or one for all.
#[derive(Clone, Copy)]
pub(in crate::interp::compiled) enum Lane<'a, T> {
    /// A number for each element.
    Each(&'a [T]),
    /// One for all.
    Every(T),
}

impl<T: Copy> Lane<'_, T> {
    fn at(&self, i: usize) -> Option<T> {
        match self {
            Lane::Each(x) => x.get(i).copied(),
            Lane::Every(x) => Some(*x),
        }
    }
}

#[inline(always)]
fn map<T: Copy, U: Copy>(x: Lane<'_, T>, z: &mut [U], f: impl Fn(T) -> U) {
    match x {
        Lane::Each(x) => z.iter_mut().zip(x).for_each(|(z, x)| *z = f(*x)),
        Lane::Every(x) => z.fill(f(x)),
    }
}

#[inline(always)]
fn zip<T: Copy, U: Copy>(x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [U], f: impl Fn(T, T) -> U) {
    match (x, y) {
        (Lane::Each(x), Lane::Each(y)) => z
            .iter_mut()
            .zip(x)
            .zip(y)
            .for_each(|((z, x), y)| *z = f(*x, *y)),
        (Lane::Each(x), Lane::Every(y)) => z.iter_mut().zip(x).for_each(|(z, x)| *z = f(*x, y)),
        (Lane::Every(x), Lane::Each(y)) => z.iter_mut().zip(y).for_each(|(z, y)| *z = f(x, *y)),
        (Lane::Every(x), Lane::Every(y)) => z.fill(f(x, y)),
    }
}

/// A function that exists for the type (the type rules have seen to it); `x` itself otherwise.
#[inline(always)]
fn or<T>(y: Option<T>, x: T) -> T {
    y.unwrap_or(x)
}

/// The loops are written out: a closure that is called from several places is compiled apart from the loop, without its CPU features.
#[inline(always)]
fn real_unary_body<T: Real>(u: Unary, x: Lane<'_, T>, z: &mut [T]) {
    let x = match x {
        Lane::Each(x) => x,
        Lane::Every(x) => return z.fill(or(T::unary(u, x), x)),
    };
    macro_rules! loops {
        ($($f:pat => $g:expr,)*) => {
            match u {
                $($f => for (z, x) in z.iter_mut().zip(x) {
                    *z = or(T::unary($g, *x), *x);
                },)*
                _ => for (z, x) in z.iter_mut().zip(x) {
                    *z = or(T::unary(u, *x), *x);
                },
            }
        };
    }
    use RoundingMethod::{AwayFromZero, ToNearestEven};
    loops! {
        Unary::Neg => Unary::Neg,
        Unary::Sign => Unary::Sign,
        Unary::Floor => Unary::Floor,
        Unary::Ceil => Unary::Ceil,
        Unary::Round(ToNearestEven) => Unary::Round(ToNearestEven),
        Unary::Round(AwayFromZero) => Unary::Round(AwayFromZero),
        Unary::Exp => Unary::Exp,
        Unary::Log => Unary::Log,
        Unary::Log1p => Unary::Log1p,
        Unary::Expm1 => Unary::Expm1,
        Unary::Tanh => Unary::Tanh,
        Unary::Logistic => Unary::Logistic,
        Unary::Sqrt => Unary::Sqrt,
        Unary::Rsqrt => Unary::Rsqrt,
        Unary::Square => Unary::Square,
        Unary::Abs => Unary::Abs,
        Unary::Erf => Unary::Erf,
        Unary::Erfc => Unary::Erfc,
        Unary::ErfInv => Unary::ErfInv,
    }
}
levels! { fn real_unary<T: Real>(u: Unary, x: Lane<'_, T>, z: &mut [T]) = real_unary_body; }

#[inline(always)]
fn real_binary_body<T: Real>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [T]) {
    macro_rules! loops {
        ($($f:ident)*) => {
            match b {
                $(Binary::$f => zip(x, y, z, |x, y| or(T::binary(Binary::$f, x, y), x)),)*
                _ => zip(x, y, z, |x, y| or(T::binary(b, x, y), x)),
            }
        };
    }
    loops!(Add Sub Mul Div Max Min);
}
levels! { fn real_binary<T: Real>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [T]) = real_binary_body; }

#[inline(always)]
fn int_binary_body<T: Int>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [T]) {
    macro_rules! loops {
        ($($f:ident)*) => {
            match b {
                $(Binary::$f => zip(x, y, z, |x, y| or(T::binary(Binary::$f, x, y), x)),)*
                _ => zip(x, y, z, |x, y| or(T::binary(b, x, y), x)),
            }
        };
    }
    loops!(Add Sub Mul Max Min And Or Xor ShiftLeft ShiftRightLogical);
}
levels! { fn int_binary<T: Int>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [T]) = int_binary_body; }

#[inline(always)]
fn compare_body<T: PartialOrd + Copy>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [bool]) {
    match b {
        Binary::Eq => zip(x, y, z, |x, y| x == y),
        Binary::Ne => zip(x, y, z, |x, y| x != y),
        Binary::Lt => zip(x, y, z, |x, y| x < y),
        Binary::Le => zip(x, y, z, |x, y| x <= y),
        Binary::Gt => zip(x, y, z, |x, y| x > y),
        _ => zip(x, y, z, |x, y| x >= y),
    }
}
#[inline(always)]
fn holds<T: PartialOrd>(b: Binary, x: &T, y: &T) -> bool {
    match b {
        Binary::Eq => x == y,
        Binary::Ne => x != y,
        Binary::Lt => x < y,
        Binary::Le => x <= y,
        Binary::Gt => x > y,
        _ => x >= y,
    }
}
/// Types that compare.
pub(in crate::interp::compiled) trait Comparable:
    PartialOrd + Copy
{
}
impl<T: PartialOrd + Copy> Comparable for T {}
levels! { fn compare<T: Comparable>(b: Binary, x: Lane<'_, T>, y: Lane<'_, T>, z: &mut [bool]) = compare_body; }

#[inline(always)]
fn select_body<T: Stored>(which: Lane<'_, bool>, no: Lane<'_, T>, yes: Lane<'_, T>, z: &mut [T]) {
    match (which, no, yes) {
        (Lane::Every(w), no, yes) => map(if w { yes } else { no }, z, |x| x),
        (Lane::Each(w), Lane::Each(no), Lane::Each(yes)) => z
            .iter_mut()
            .zip(w)
            .zip(no)
            .zip(yes)
            .for_each(|(((z, w), n), y)| *z = if *w { *y } else { *n }),
        (Lane::Each(w), Lane::Every(n), Lane::Each(yes)) => z
            .iter_mut()
            .zip(w)
            .zip(yes)
            .for_each(|((z, w), y)| *z = if *w { *y } else { n }),
        (Lane::Each(w), Lane::Each(no), Lane::Every(y)) => z
            .iter_mut()
            .zip(w)
            .zip(no)
            .for_each(|((z, w), n)| *z = if *w { y } else { *n }),
        (Lane::Each(w), Lane::Every(n), Lane::Every(y)) => z
            .iter_mut()
            .zip(w)
            .for_each(|(z, w)| *z = if *w { y } else { n }),
    }
}
levels! {
    /// `yes` where `which` holds, `no` elsewhere.
    fn select<T: Stored>(which: Lane<'_, bool>, no: Lane<'_, T>, yes: Lane<'_, T>, z: &mut [T]) = select_body;
}

#[inline(always)]
fn convert_body<T: Stored, U: Stored>(x: Lane<'_, T>, z: &mut [U]) {
    map(x, z, |x| U::from_scalar(x.into()));
}

/// Numbers of one type as numbers of another, by way of [`Scalar`]: the pairs are too many for a loop of its own for each.
fn store(
    to: DType,
    z: super::tile::SliceMut<'_>,
    number: &dyn Fn(usize) -> Option<Scalar>,
) -> Option<()> {
    use super::tile::Lanes;
    with_dtype!(to, U => {
        for (i, z) in U::slice_mut(z)?.iter_mut().enumerate() {
            *z = U::from_scalar(number(i)?);
        }
    });
    Some(())
}
levels! { fn convert<T: Stored, U: Stored>(x: Lane<'_, T>, z: &mut [U]) = convert_body; }

/// In `f64`, as the reference does.
#[inline(always)]
fn one_power<T: Stored>(x: T, y: i32) -> T {
    let s: Scalar = x.into();
    T::from_scalar(Scalar::Float(s.as_f64().unwrap_or(f64::NAN).powi(y)))
}

#[inline(always)]
fn power_body<T: Stored>(y: i32, x: Lane<'_, T>, z: &mut [T]) {
    match y {
        2 => map(x, z, |x| one_power(x, 2)),
        3 => map(x, z, |x| one_power(x, 3)),
        4 => map(x, z, |x| one_power(x, 4)),
        -1 => map(x, z, |x| one_power(x, -1)),
        -2 => map(x, z, |x| one_power(x, -2)),
        _ => map(x, z, |x| one_power(x, y)),
    }
}
levels! { fn real_power<T: Stored>(y: i32, x: Lane<'_, T>, z: &mut [T]) = power_body; }

/// As [`by_kind`], with the types that programs are mostly made of apart: those have vector loops, the others plain ones, which
/// keeps the crate quick to compile.
macro_rules! by_speed {
    ($dtype:expr, $T:ident, int => $int:expr, real => $real:expr, other => $other:expr) => {
        match $dtype {
            DType::I32 => {
                type $T = i32;
                $int
            }
            DType::I64 => {
                type $T = i64;
                $int
            }
            DType::U32 => {
                type $T = u32;
                $int
            }
            DType::F32 => {
                type $T = f32;
                $real
            }
            DType::F64 => {
                type $T = f64;
                $real
            }
            _ => $other,
        }
    };
}

/// Floats, with vector loops or plain ones.
trait Loops: Real {
    fn unary_loop(level: Level, u: Unary, x: Lane<'_, Self>, z: &mut [Self]);
    fn power(level: Level, y: i32, x: Lane<'_, Self>, z: &mut [Self]);
}
macro_rules! vector_loops {
    ($($T:ty)*) => {$(impl Loops for $T {
        fn unary_loop(level: Level, u: Unary, x: Lane<'_, $T>, z: &mut [$T]) {
            real_unary(level, u, x, z);
        }
        fn power(level: Level, y: i32, x: Lane<'_, $T>, z: &mut [$T]) {
            real_power(level, y, x, z);
        }
    })*};
}
macro_rules! plain_loops {
    ($($T:ty)*) => {$(impl Loops for $T {
        fn unary_loop(_: Level, u: Unary, x: Lane<'_, $T>, z: &mut [$T]) {
            map(x, z, |x| or(<$T as Real>::unary(u, x), x));
        }
        fn power(_: Level, y: i32, x: Lane<'_, $T>, z: &mut [$T]) {
            map(x, z, |x| one_power(x, y));
        }
    })*};
}
vector_loops!(f32 f64);
plain_loops!(half::f16 half::bf16);

/// Reading operands and the place of the result, as one elementwise instruction needs them.
pub(in crate::interp::compiled) trait Operands {
    /// An operand; `None` if it is not of this type.
    fn lane<T: Part>(&self, i: usize) -> Option<Lane<'_, T>>;
}

/// An elementwise function.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::interp::compiled) enum Function {
    Unary(Unary),
    Binary(Binary),
    IntegerPow(i32),
    /// Operands as those of `select_n`: which, the case of `false`, the case of `true`.
    Select,
    Convert,
}

/// Apply a function to operands of type `from`, with results of type `to`. `None` if a type is not what it was said to be.
pub(in crate::interp::compiled) fn apply(
    level: Level,
    f: Function,
    from: DType,
    to: DType,
    x: &impl Operands,
    z: super::tile::SliceMut<'_>,
) -> Option<()> {
    use super::tile::Lanes;
    match f {
        Function::Unary(u) => unary(level, u, from, to, x, z)?,
        Function::Binary(b) if b.is_comparison() => {
            let z = bool::slice_mut(z)?;
            by_speed!(from, T,
                int => compare::<T>(level, b, x.lane(0)?, x.lane(1)?, z),
                real => compare::<T>(level, b, x.lane(0)?, x.lane(1)?, z),
                other => by_kind!(from, T,
                    int => zip::<T, bool>(x.lane(0)?, x.lane(1)?, z, |x, y| holds(b, &x, &y)),
                    real => zip::<T, bool>(x.lane(0)?, x.lane(1)?, z, |x, y| holds(b, &x, &y)),
                    complex => zip::<T, bool>(x.lane(0)?, x.lane(1)?, z, |x, y| (x == y) == (b == Binary::Eq)),
                    bool => zip::<bool, bool>(x.lane(0)?, x.lane(1)?, z, |x, y| holds(b, &x, &y))));
        }
        Function::Binary(Binary::Complex) => {
            if from == DType::F32 {
                zip(
                    x.lane(0)?,
                    x.lane(1)?,
                    Lanes::slice_mut(z)?,
                    Complex::<f32>::new,
                );
            } else {
                zip(
                    x.lane(0)?,
                    x.lane(1)?,
                    Lanes::slice_mut(z)?,
                    Complex::<f64>::new,
                );
            }
        }
        Function::Binary(b) => by_speed!(from, T,
        int => int_binary::<T>(level, b, x.lane(0)?, x.lane(1)?, T::slice_mut(z)?),
        real => real_binary::<T>(level, b, x.lane(0)?, x.lane(1)?, T::slice_mut(z)?),
        other => by_kind!(from, T,
        int => zip::<T, T>(x.lane(0)?, x.lane(1)?, T::slice_mut(z)?, |v, w| or(<T as Int>::binary(b, v, w), v)),
        real => zip::<T, T>(x.lane(0)?, x.lane(1)?, T::slice_mut(z)?, |v, w| or(<T as Real>::binary(b, v, w), v)),
        complex => zip::<T, T>(x.lane(0)?, x.lane(1)?, T::slice_mut(z)?, |v, w| {
            or(<T as Pair>::binary(b, v, w), v)
        }),
        bool => zip::<bool, bool>(x.lane(0)?, x.lane(1)?, bool::slice_mut(z)?, |v, w| match b {
            Binary::And | Binary::Min => v & w,
            Binary::Or | Binary::Max => v | w,
            _ => v ^ w,
        }))),
        Function::IntegerPow(y) => by_kind!(from, T,
            int => map::<T, T>(x.lane(0)?, T::slice_mut(z)?, |v| v.wrapping_pow(y.unsigned_abs())),
            real => T::power(level, y, x.lane(0)?, T::slice_mut(z)?),
            complex => map::<T, T>(x.lane(0)?, T::slice_mut(z)?, |v| narrowed(wide(v).powi(y))),
            bool => return None),
        Function::Select => by_speed!(to, T,
        int => select::<T>(level, x.lane(0)?, x.lane(1)?, x.lane(2)?, T::slice_mut(z)?),
        real => select::<T>(level, x.lane(0)?, x.lane(1)?, x.lane(2)?, T::slice_mut(z)?),
        other => with_dtype!(to, T => {
            select_body::<T>(x.lane(0)?, x.lane(1)?, x.lane(2)?, T::slice_mut(z)?);
        })),
        Function::Convert => match (from, to) {
            (DType::BF16, DType::F32) => {
                convert::<half::bf16, f32>(level, x.lane(0)?, f32::slice_mut(z)?);
            }
            (DType::F32, DType::BF16) => {
                convert::<f32, half::bf16>(level, x.lane(0)?, Lanes::slice_mut(z)?);
            }
            (DType::Bool, DType::F32) => {
                convert::<bool, f32>(level, x.lane(0)?, f32::slice_mut(z)?);
            }
            (DType::I32, DType::F32) => {
                convert::<i32, f32>(level, x.lane(0)?, f32::slice_mut(z)?);
            }
            (DType::F32, DType::F64) => {
                convert::<f32, f64>(level, x.lane(0)?, f64::slice_mut(z)?);
            }
            (DType::F64, DType::F32) => {
                convert::<f64, f32>(level, x.lane(0)?, f32::slice_mut(z)?);
            }
            (_, DType::F32) => with_dtype!(from, T => {
                convert_body::<T, f32>(x.lane(0)?, f32::slice_mut(z)?);
            }),
            _ => with_dtype!(from, T => {
                let x = x.lane::<T>(0)?;
                store(to, z, &|i| x.at(i).map(Into::into))?;
            }),
        },
    }
    Some(())
}

fn unary(
    level: Level,
    u: Unary,
    from: DType,
    to: DType,
    x: &impl Operands,
    z: super::tile::SliceMut<'_>,
) -> Option<()> {
    use super::tile::Lanes;
    match u {
        Unary::IsFinite => {
            let z = bool::slice_mut(z)?;
            by_kind!(from, T,
                int => map::<T, bool>(x.lane(0)?, z, |_| true),
                real => map::<T, bool>(x.lane(0)?, z, Real::is_finite),
                complex => map::<T, bool>(x.lane(0)?, z, |v| v.re.is_finite() && v.im.is_finite()),
                bool => map::<bool, bool>(x.lane(0)?, z, |_| true));
            return Some(());
        }
        Unary::Real | Unary::Imag | Unary::Abs if from.is_complex() => {
            let part = |z: Complex<f64>| match u {
                Unary::Real => z.re,
                Unary::Imag => z.im,
                _ => z.norm(),
            };
            if from == DType::C64 {
                map(x.lane(0)?, f32::slice_mut(z)?, |v: Complex<f32>| {
                    part(wide(v)) as f32
                });
            } else {
                map(x.lane(0)?, f64::slice_mut(z)?, part);
            }
            return Some(());
        }
        Unary::Conj if !from.is_complex() => {
            return apply(level, Function::Convert, from, to, x, z);
        }
        _ => {}
    }
    by_kind!(from, T,
        int => map::<T, T>(x.lane(0)?, T::slice_mut(z)?, |v| or(<T as Int>::unary(u, v), v)),
        real => T::unary_loop(level, u, x.lane(0)?, T::slice_mut(z)?),
        complex => map::<T, T>(x.lane(0)?, T::slice_mut(z)?, |v| or(complex_unary(u, wide(v)).map(narrowed), v)),
        bool => map::<bool, bool>(x.lane(0)?, bool::slice_mut(z)?, |v| !v));
    Some(())
}
