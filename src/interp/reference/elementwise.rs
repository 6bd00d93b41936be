//! Elementwise primitives.

use super::special;
use crate::{
    array::{
        Aval, Buffer, DType, Data, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype,
    },
    error::{Error, Result},
    trace::op::{Binary, RoundingMethod, Unary},
};
use half::{bf16, f16};
use num_complex::Complex;
use std::sync::Arc;

fn mismatch(name: &str) -> Error {
    Error::internal(format!(
        "`{name}` was given an element type that its type rule refuses"
    ))
}

// Functions are passed as `dyn`, which keeps the crate quick to compile: this is the simple interpreter, not the fast one.

/// The elements, as many as the result has: a buffer of rank 0 stands for every element.
struct Stretched<T> {
    elements: Vec<T>,
    every: bool,
}

impl<T: Stored> Stretched<T> {
    fn new(x: &Buffer, out: &[usize]) -> Result<Stretched<T>> {
        Ok(Stretched {
            elements: x.to_vec()?,
            every: x.shape().is_empty() && !out.is_empty(),
        })
    }

    fn at(&self, i: usize) -> T {
        self.elements
            .get(if self.every { 0 } else { i })
            .copied()
            .unwrap_or_default()
    }
}

fn map<T: Stored, U: Stored>(x: &Buffer, out: &Aval, f: &dyn Fn(T) -> U) -> Result<Buffer> {
    let elements = x.to_vec::<T>()?;
    let mut y = try_vec(elements.len())?;
    y.extend(elements.into_iter().map(f));
    Buffer::from_data(out.clone(), U::data(y))
}

fn zip<T: Stored, U: Stored>(
    x: &Buffer,
    y: &Buffer,
    out: &Aval,
    f: &dyn Fn(T, T) -> U,
) -> Result<Buffer> {
    let n = out.size();
    let (x, y) = (
        Stretched::<T>::new(x, &out.shape)?,
        Stretched::<T>::new(y, &out.shape)?,
    );
    let mut z = try_vec(n)?;
    z.extend((0..n).map(|i| f(x.at(i), y.at(i))));
    Buffer::from_data(out.clone(), U::data(z))
}

/// Real functions of one real number, in `f32` and `f64`. Narrower floats go through `f32`.
pub(in crate::interp) trait Real: Stored {
    fn unary(u: Unary, x: Self) -> Option<Self>;
    fn is_finite(self) -> bool;
    fn binary(b: Binary, x: Self, y: Self) -> Option<Self>;
    fn compare(self, other: Self) -> Option<std::cmp::Ordering>;
}

macro_rules! real {
    ($F:ident) => {
        impl Real for $F {
            #[inline(always)]
            fn unary(u: Unary, x: $F) -> Option<$F> {
                Some(match u {
                    Unary::Neg => -x,
                    Unary::Sign => {
                        if x.is_nan() || x == 0.0 {
                            x
                        } else {
                            x.signum()
                        }
                    }
                    Unary::Floor => x.floor(),
                    Unary::Ceil => x.ceil(),
                    Unary::Round(RoundingMethod::AwayFromZero) => x.round(),
                    Unary::Round(RoundingMethod::ToNearestEven) => x.round_ties_even(),
                    Unary::ReducePrecision {
                        exponent_bits,
                        mantissa_bits,
                    } => special::Bits::reduce_precision(x, exponent_bits, mantissa_bits),
                    Unary::Exp => special::exp(x),
                    Unary::Exp2 => x.exp2(),
                    Unary::Log => special::log(x),
                    Unary::Log1p => special::log1p(x),
                    Unary::Expm1 => special::expm1(x),
                    Unary::Tanh => special::tanh(x),
                    Unary::Logistic => special::logistic(x),
                    Unary::Sin => x.sin(),
                    Unary::Cos => x.cos(),
                    Unary::Tan => x.tan(),
                    Unary::Asin => x.asin(),
                    Unary::Acos => x.acos(),
                    Unary::Atan => x.atan(),
                    Unary::Sinh => special::sinh(x),
                    Unary::Cosh => special::cosh(x),
                    Unary::Asinh => x.asinh(),
                    Unary::Acosh => x.acosh(),
                    Unary::Atanh => special::atanh(f64::from(x)) as $F,
                    Unary::Sqrt => x.sqrt(),
                    Unary::Rsqrt => 1.0 / x.sqrt(),
                    Unary::Cbrt => x.cbrt(),
                    Unary::Square => x * x,
                    Unary::Abs => x.abs(),
                    Unary::Erf => special::erf(x),
                    Unary::Erfc => special::erfc(x),
                    Unary::ErfInv => special::erf_inv(x),
                    Unary::Lgamma => special::gamma::lgamma(f64::from(x)) as $F,
                    Unary::Digamma => special::gamma::digamma(f64::from(x)) as $F,
                    Unary::BesselI0e => special::bessel::bessel_i0e(f64::from(x)) as $F,
                    Unary::BesselI1e => special::bessel::bessel_i1e(f64::from(x)) as $F,
                    Unary::IsFinite
                    | Unary::Real
                    | Unary::Imag
                    | Unary::Conj
                    | Unary::Not
                    | Unary::PopulationCount
                    | Unary::Clz => return None,
                })
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $F::is_finite(self)
            }
            #[inline(always)]
            fn binary(b: Binary, x: $F, y: $F) -> Option<$F> {
                Some(match b {
                    Binary::Add => x + y,
                    Binary::Sub => x - y,
                    Binary::Mul => x * y,
                    Binary::Div => x / y,
                    Binary::Rem => x % y,
                    Binary::Max => {
                        if x.is_nan() | (x > y) | ((x == y) & x.is_sign_positive()) {
                            x
                        } else {
                            y
                        }
                    }
                    Binary::Min => {
                        if x.is_nan() | (x < y) | ((x == y) & x.is_sign_negative()) {
                            x
                        } else {
                            y
                        }
                    }
                    Binary::Pow => x.powf(y),
                    Binary::Atan2 => x.atan2(y),
                    Binary::Nextafter => special::Bits::next_after(x, y),
                    Binary::Igamma => special::gamma::igamma(f64::from(x), f64::from(y)) as $F,
                    Binary::Igammac => special::gamma::igammac(f64::from(x), f64::from(y)) as $F,
                    Binary::Complex
                    | Binary::And
                    | Binary::Or
                    | Binary::Xor
                    | Binary::ShiftLeft
                    | Binary::ShiftRightLogical
                    | Binary::ShiftRightArithmetic
                    | Binary::Eq
                    | Binary::Ne
                    | Binary::Lt
                    | Binary::Le
                    | Binary::Gt
                    | Binary::Ge
                    | Binary::EqTo
                    | Binary::LeTo
                    | Binary::LtTo
                    | Binary::Mulhi => return None,
                })
            }
            #[inline(always)]
            fn compare(self, other: $F) -> Option<std::cmp::Ordering> {
                self.partial_cmp(&other)
            }
        }
    };
}
real!(f32);
real!(f64);

macro_rules! narrow {
    ($($F:ident)*) => {$(
        impl Real for $F {
            #[inline(always)]
            fn unary(u: Unary, x: $F) -> Option<$F> {
                if let Unary::ReducePrecision { exponent_bits, mantissa_bits } = u {
                    return Some(special::Bits::reduce_precision(x, exponent_bits, mantissa_bits));
                }
                f32::unary(u, x.to_f32()).map($F::from_f32)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $F::is_finite(self)
            }
            #[inline(always)]
            fn binary(b: Binary, x: $F, y: $F) -> Option<$F> {
                if b == Binary::Nextafter {
                    return Some(special::Bits::next_after(x, y));
                }
                f32::binary(b, x.to_f32(), y.to_f32()).map($F::from_f32)
            }
            #[inline(always)]
            fn compare(self, other: $F) -> Option<std::cmp::Ordering> {
                self.partial_cmp(&other)
            }
        }
    )*};
}
narrow!(f16 bf16);

/// Integers, as XLA defines their operations: they wrap; division by zero gives −1 (all ones), a remainder by zero the dividend;
/// shifts past the width give 0, or the sign.
pub(in crate::interp) trait Int: Stored + Ord {
    fn unary(u: Unary, x: Self) -> Option<Self>;
    fn binary(b: Binary, x: Self, y: Self) -> Option<Self>;
}

/// An integer to the power of another; it wraps. Of 1/x nothing is left but for 1 and −1.
macro_rules! int_power {
    ($($T:ty)*) => {$(impl IntPower for $T {
        #[allow(unused_comparisons, reason = "the macro serves unsigned types too")]
        fn power(self, y: $T) -> $T {
            let one: $T = 1;
            if y < 0 {
                return match self {
                    1 => 1,
                    x if x.wrapping_add(1) == 0 => if y & 1 == 0 { 1 } else { x },
                    _ => 0,
                };
            }
            let (mut power, mut base, mut rest) = (one, self, y);
            while rest > 0 {
                if rest & 1 == 1 {
                    power = power.wrapping_mul(base);
                }
                base = base.wrapping_mul(base);
                rest >>= 1;
            }
            power
        }
    })*};
}
trait IntPower: Sized {
    fn power(self, y: Self) -> Self;
}
int_power! { i8 i16 i32 i64 u8 u16 u32 u64 }

fn int_power<T: IntPower>(x: T, y: T) -> T {
    x.power(y)
}

macro_rules! int {
    ($($T:ident, $U:ident, $S:ident;)*) => {$(
        impl Int for $T {
            #[inline(always)]
            fn unary(u: Unary, x: $T) -> Option<$T> {
                Some(match u {
                    Unary::Neg => x.wrapping_neg(),
                    Unary::Sign => if x == 0 { 0 } else if x > 0 { 1 } else { (0 as $T).wrapping_sub(1) },
                    Unary::Square => x.wrapping_mul(x),
                    #[allow(unused_comparisons, reason = "the macro serves unsigned types too")]
                    Unary::Abs => if x < 0 { x.wrapping_neg() } else { x },
                    Unary::Not => !x,
                    Unary::PopulationCount => x.count_ones() as $T,
                    Unary::Clz => x.leading_zeros() as $T,
                    _ => return None,
                })
            }
            #[inline(always)]
            fn binary(b: Binary, x: $T, y: $T) -> Option<$T> {
                let width = $T::BITS as u64;
                let shift = y as $U as u64;
                let within = shift < width;
                Some(match b {
                    Binary::Add => x.wrapping_add(y),
                    Binary::Sub => x.wrapping_sub(y),
                    Binary::Mul => x.wrapping_mul(y),
                    Binary::Mulhi => ((x as i128).wrapping_mul(y as i128) >> $T::BITS) as $T,
                    Binary::Div => if y == 0 { (0 as $T).wrapping_sub(1) } else { x.wrapping_div(y) },
                    Binary::Rem => if y == 0 { x } else { x.wrapping_rem(y) },
                    Binary::Pow => int_power(x, y),
                    Binary::Max => x.max(y),
                    Binary::Min => x.min(y),
                    Binary::And => x & y,
                    Binary::Or => x | y,
                    Binary::Xor => x ^ y,
                    Binary::ShiftLeft => if within { x << shift } else { 0 },
                    Binary::ShiftRightLogical => if within { ((x as $U) >> shift) as $T } else { 0 },
                    Binary::ShiftRightArithmetic => ((x as $S) >> shift.min(width - 1)) as $T,
                    _ => return None,
                })
            }
        }
    )*};
}
int! { i8, u8, i8; i16, u16, i16; i32, u32, i32; i64, u64, i64; u8, u8, i8; u16, u16, i16; u32, u32, i32; u64, u64, i64; }

pub(in crate::interp) fn complex_unary(u: Unary, z: Complex<f64>) -> Option<Complex<f64>> {
    Some(match u {
        Unary::Neg => -z,
        Unary::Sign => {
            if z.norm() == 0.0 {
                Complex::new(0.0, 0.0)
            } else {
                z / z.norm()
            }
        }
        Unary::Exp => special::complex::exp(z),
        Unary::Exp2 => z.exp2(),
        Unary::Log => special::complex::log(z),
        Unary::Log1p => special::complex::log1p(z),
        Unary::Expm1 => special::complex::expm1(z),
        Unary::Tanh => special::complex::tanh(z),
        Unary::Logistic => special::complex::logistic(z),
        Unary::Sin => special::complex::sin(z),
        Unary::Cos => special::complex::cos(z),
        Unary::Tan => special::complex::tan(z),
        Unary::Asin => special::complex::asin(z),
        Unary::Acos => special::complex::acos(z),
        Unary::Atan => special::complex::atan(z),
        Unary::Sinh => special::complex::sinh(z),
        Unary::Cosh => special::complex::cosh(z),
        Unary::Asinh => special::complex::asinh(z),
        Unary::Acosh => special::complex::acosh(z),
        Unary::Atanh => special::complex::atanh(z),
        Unary::Sqrt => special::complex::sqrt(z),
        Unary::Rsqrt => special::complex::rsqrt(z),
        Unary::Square => z * z,
        Unary::Conj => z.conj(),
        _ => return None,
    })
}

/// Complex numbers. Sums, products and powers are rounded in their own precision, as XLA has them; the others once, from `f64`.
pub(in crate::interp) trait Pair: Stored {
    fn binary(b: Binary, x: Self, y: Self) -> Option<Self>;
}

macro_rules! pair {
    ($($F:ident)*) => {$(
        impl Pair for Complex<$F> {
            #[inline(always)]
            fn binary(b: Binary, x: Self, y: Self) -> Option<Self> {
                match b {
                    Binary::Add => Some(x + y),
                    Binary::Sub => Some(x - y),
                    // Each part is rounded twice, not thrice: XLA's code generator fuses so.
                    Binary::Mul => Some(Complex::new(
                        x.re.mul_add(y.re, -(x.im * y.im)),
                        x.im.mul_add(y.re, x.re * y.im),
                    )),
                    Binary::Pow => Some(special::complex::Power::power(x, y)),
                    _ => complex_binary(b, wide(x), wide(y)).map(narrowed),
                }
            }
        }
    )*};
}
pair!(f32 f64);

fn complex_binary(b: Binary, x: Complex<f64>, y: Complex<f64>) -> Option<Complex<f64>> {
    let later = (x.re, x.im).partial_cmp(&(y.re, y.im));
    Some(match b {
        Binary::Div => special::complex::quotient(x, y),
        Binary::Max => {
            if later == Some(std::cmp::Ordering::Less) {
                y
            } else {
                x
            }
        }
        Binary::Min => {
            if later == Some(std::cmp::Ordering::Greater) {
                y
            } else {
                x
            }
        }
        _ => return None,
    })
}

/// Apply a partial function to every element; `None` anywhere is a broken type rule.
fn try_map<T: Stored, U: Stored>(
    name: &str,
    x: &Buffer,
    out: &Aval,
    f: &dyn Fn(T) -> Option<U>,
) -> Result<Buffer> {
    let elements = x.to_vec::<T>()?;
    let mut y = try_vec(elements.len())?;
    for e in elements {
        y.push(f(e).ok_or_else(|| mismatch(name))?);
    }
    Buffer::from_data(out.clone(), U::data(y))
}

fn try_zip<T: Stored, U: Stored>(
    name: &str,
    x: &Buffer,
    y: &Buffer,
    out: &Aval,
    f: &dyn Fn(T, T) -> Option<U>,
) -> Result<Buffer> {
    let n = out.size();
    let (x, y) = (
        Stretched::<T>::new(x, &out.shape)?,
        Stretched::<T>::new(y, &out.shape)?,
    );
    let mut z = try_vec(n)?;
    for i in 0..n {
        z.push(f(x.at(i), y.at(i)).ok_or_else(|| mismatch(name))?);
    }
    Buffer::from_data(out.clone(), U::data(z))
}

macro_rules! by_kind {
    ($dtype:expr, $T:ident, int => $int:expr, real => $real:expr, complex => $complex:expr, bool => $bool:expr) => {
        match $dtype {
            $crate::array::DType::Bool => $bool,
            $crate::array::DType::I8 => {
                type $T = i8;
                $int
            }
            $crate::array::DType::I16 => {
                type $T = i16;
                $int
            }
            $crate::array::DType::I32 => {
                type $T = i32;
                $int
            }
            $crate::array::DType::I64 => {
                type $T = i64;
                $int
            }
            $crate::array::DType::U8 => {
                type $T = u8;
                $int
            }
            $crate::array::DType::U16 => {
                type $T = u16;
                $int
            }
            $crate::array::DType::U32 => {
                type $T = u32;
                $int
            }
            $crate::array::DType::U64 => {
                type $T = u64;
                $int
            }
            $crate::array::DType::F16 => {
                type $T = half::f16;
                $real
            }
            $crate::array::DType::BF16 => {
                type $T = half::bf16;
                $real
            }
            $crate::array::DType::F32 => {
                type $T = f32;
                $real
            }
            $crate::array::DType::F64 => {
                type $T = f64;
                $real
            }
            $crate::array::DType::C64 => {
                type $T = num_complex::Complex<f32>;
                $complex
            }
            $crate::array::DType::C128 => {
                type $T = num_complex::Complex<f64>;
                $complex
            }
        }
    };
}
pub(in crate::interp) use by_kind;

pub(in crate::interp) fn wide<T: Stored>(x: T) -> Complex<f64> {
    let s: Scalar = x.into();
    s.as_complex()
}
pub(in crate::interp) fn narrowed<T: Stored>(z: Complex<f64>) -> T {
    T::from_scalar(Scalar::Complex(z))
}

pub(super) fn unary(u: Unary, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let name = crate::trace::op::Op::from(u).name();
    match u {
        Unary::IsFinite => {
            return by_kind!(x.dtype(), T,
                int => map::<T, bool>(x, out, &|_| true),
                real => map::<T, bool>(x, out, &Real::is_finite),
                complex => map::<T, bool>(x, out, &|z| z.re.is_finite() && z.im.is_finite()),
                bool => map::<bool, bool>(x, out, &|_| true));
        }
        Unary::Real | Unary::Imag | Unary::Abs if x.dtype().is_complex() => {
            let part = |z: Complex<f64>| match u {
                Unary::Real => z.re,
                Unary::Imag => z.im,
                _ => z.norm(),
            };
            return match x.dtype() {
                DType::C64 => map::<Complex<f32>, f32>(x, out, &|z| part(wide(z)) as f32),
                _ => map::<Complex<f64>, f64>(x, out, &part),
            };
        }
        Unary::Conj if !x.dtype().is_complex() => return convert(x, out),
        _ => {}
    }
    by_kind!(x.dtype(), T,
        int => try_map::<T, T>(name, x, out, &|v| <T as Int>::unary(u, v)),
        real => try_map::<T, T>(name, x, out, &|v| <T as Real>::unary(u, v)),
        complex => try_map::<T, T>(name, x, out, &|z| complex_unary(u, wide(z)).map(narrowed)),
        bool => try_map::<bool, bool>(name, x, out, &|v| (u == Unary::Not).then_some(!v)))
}

pub(super) fn binary(b: Binary, x: &Buffer, y: &Buffer, out: &Aval) -> Result<Buffer> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let name = crate::trace::op::Op::from(b).name();
    if b.is_total() {
        let holds = |o: std::cmp::Ordering| match b {
            Binary::EqTo => o == Equal,
            Binary::LeTo => o != Greater,
            _ => o == Less,
        };
        return match x.dtype() {
            DType::F16 => zip::<f16, bool>(x, y, out, &|a, b| holds(a.total_cmp(&b))),
            DType::BF16 => zip::<bf16, bool>(x, y, out, &|a, b| holds(a.total_cmp(&b))),
            DType::F32 => zip::<f32, bool>(x, y, out, &|a, b| holds(a.total_cmp(&b))),
            _ => zip::<f64, bool>(x, y, out, &|a, b| holds(a.total_cmp(&b))),
        };
    }
    if b.is_comparison() {
        let holds = |o: Option<std::cmp::Ordering>| match b {
            Binary::Eq => o == Some(Equal),
            Binary::Ne => o != Some(Equal),
            Binary::Lt => o == Some(Less),
            Binary::Le => matches!(o, Some(Less | Equal)),
            Binary::Gt => o == Some(Greater),
            _ => matches!(o, Some(Greater | Equal)),
        };
        return by_kind!(x.dtype(), T,
            int => zip::<T, bool>(x, y, out, &|a, b| holds(Some(a.cmp(&b)))),
            real => zip::<T, bool>(x, y, out, &|a, b| holds(a.compare(b))),
            complex => zip::<T, bool>(x, y, out, &|a, b| holds(if a == b { Some(Equal) } else { None })),
            bool => zip::<bool, bool>(x, y, out, &|a, b| holds(Some(a.cmp(&b)))));
    }
    if b == Binary::Complex {
        return match x.dtype() {
            DType::F32 => zip::<f32, Complex<f32>>(x, y, out, &Complex::new),
            _ => zip::<f64, Complex<f64>>(x, y, out, &Complex::new),
        };
    }
    by_kind!(x.dtype(), T,
    int => try_zip::<T, T>(name, x, y, out, &|v, w| <T as Int>::binary(b, v, w)),
    real => try_zip::<T, T>(name, x, y, out, &|v, w| <T as Real>::binary(b, v, w)),
    complex => try_zip::<T, T>(name, x, y, out, &|v, w| <T as Pair>::binary(b, v, w)),
    bool => try_zip::<bool, bool>(name, x, y, out, &|v, w| Some(match b {
        Binary::And | Binary::Min => v & w,
        Binary::Or | Binary::Max => v | w,
        Binary::Xor => v ^ w,
        _ => return None,
    })))
}

/// By repeated squaring; one over it for negative exponents.
pub(super) fn integer_pow(x: &Buffer, y: i32) -> Result<Buffer> {
    let out = x.aval();
    let n = y.unsigned_abs();
    by_kind!(x.dtype(), T,
        int => map::<T, T>(x, out, &|v| v.wrapping_pow(n)),
        real => map::<T, T>(x, out, &|v| {
            let s: Scalar = v.into();
            T::from_scalar(Scalar::Float(s.as_f64().unwrap_or(f64::NAN).powi(y)))
        }),
        complex => map::<T, T>(x, out, &|z| narrowed(wide(z).powi(y))),
        bool => Err(mismatch("integer_pow")))
}

pub(super) fn select_n(x: &[Arc<Buffer>], out: &Aval) -> Result<Buffer> {
    let (Some(which), cases) = (x.first(), x.get(1..).unwrap_or_default()) else {
        return Err(mismatch("select_n"));
    };
    let n = out.size();
    let last = cases.len().saturating_sub(1);
    let index: Vec<usize> = match which.dtype() {
        DType::Bool => {
            let w = Stretched::<bool>::new(which, &out.shape)?;
            (0..n).map(|i| usize::from(w.at(i)).min(last)).collect()
        }
        _ => {
            let w = Stretched::<i32>::new(which, &out.shape)?;
            (0..n)
                .map(|i| usize::try_from(w.at(i)).unwrap_or(0).min(last))
                .collect()
        }
    };
    let data: Data = with_dtype!(out.dtype, T => {
        let cases: Vec<Vec<T>> = cases.iter().map(|c| c.to_vec::<T>()).collect::<Result<_>>()?;
        let pick = |(i, k): (usize, &usize)| {
            cases.get(*k).and_then(|c| c.get(i)).copied().unwrap_or_default()
        };
        T::data(index.iter().enumerate().map(pick).collect())
    });
    Buffer::from_data(out.clone(), data)
}

pub(super) fn convert(x: &Buffer, out: &Aval) -> Result<Buffer> {
    if x.dtype() == out.dtype {
        return Ok(x.clone());
    }
    with_dtype!(x.dtype(), T => {
        let elements = x.to_vec::<T>()?;
        numbers(out, &|i| elements.get(i).copied().unwrap_or_default().into())
    })
}

/// A buffer of numbers given one by one.
fn numbers(out: &Aval, number: &dyn Fn(usize) -> Scalar) -> Result<Buffer> {
    let n = out.size();
    let data = with_dtype!(out.dtype, T => {
        let mut y = try_vec(n)?;
        y.extend((0..n).map(|i| T::from_scalar(number(i))));
        T::data(y)
    });
    Buffer::from_data(out.clone(), data)
}
