//! Element types, their promotion, and the Rust types that hold them.

use crate::error::{Error, Result};
use half::{bf16, f16};
use num_complex::Complex;
use std::fmt;

/// The element type of an array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DType {
    /// `bool`
    Bool,
    /// `i8`
    I8,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// IEEE half precision, `half::f16`
    F16,
    /// Brain floating point, `half::bf16`
    BF16,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// Two `f32`: `Complex<f32>`
    C64,
    /// Two `f64`: `Complex<f64>`
    C128,
}

/// The kinds of element types, in the order in which they promote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Truth values.
    Bool,
    /// Signed and unsigned integers.
    Int,
    /// Real floating-point numbers.
    Float,
    /// Complex floating-point numbers.
    Complex,
}

use DType::*;

impl DType {
    /// Every element type.
    pub const ALL: [DType; 15] = [
        Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64, C64, C128,
    ];

    /// The kind: boolean, integer, float or complex.
    pub fn kind(self) -> Kind {
        match self {
            Bool => Kind::Bool,
            I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 => Kind::Int,
            F16 | BF16 | F32 | F64 => Kind::Float,
            C64 | C128 => Kind::Complex,
        }
    }

    /// Is it a real floating-point type?
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Is it a complex type?
    pub fn is_complex(self) -> bool {
        self.kind() == Kind::Complex
    }

    /// Is it an integer type (not `bool`)?
    pub fn is_integer(self) -> bool {
        self.kind() == Kind::Int
    }

    /// Is it a signed integer type?
    pub fn is_signed(self) -> bool {
        matches!(self, I8 | I16 | I32 | I64)
    }

    /// Is it an unsigned integer type?
    pub fn is_unsigned(self) -> bool {
        matches!(self, U8 | U16 | U32 | U64)
    }

    /// Float or complex: the types that derivatives flow through.
    pub fn is_inexact(self) -> bool {
        self.kind() >= Kind::Float
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Bool | I8 | U8 => 1,
            I16 | U16 | F16 | BF16 => 2,
            I32 | U32 | F32 => 4,
            I64 | U64 | F64 | C64 => 8,
            C128 => 16,
        }
    }

    /// The real type of a complex type's parts; a real type is its own.
    pub fn real(self) -> DType {
        match self {
            C64 => F32,
            C128 => F64,
            other => other,
        }
    }

    /// The complex type whose parts are of this type (`f16`, `bf16` and `f32` give `complex64`).
    pub fn complex(self) -> DType {
        match self {
            F64 | C128 => C128,
            _ => C64,
        }
    }

    /// The floating-point type that functions such as `sin` compute integers of this type in: `f64` for those of 64 bits, else
    /// `f32`; a floating-point or complex type is its own.
    pub fn to_inexact(self) -> DType {
        match self {
            I64 | U64 => F64,
            d if d.is_inexact() => d,
            _ => F32,
        }
    }

    /// The lowest and the highest finite number of a floating-point or integer type.
    pub(crate) fn finite_range(self) -> (f64, f64) {
        let most = match self {
            F16 => f64::from(f16::MAX),
            BF16 => f64::from(bf16::MAX),
            F32 | C64 => f64::from(f32::MAX),
            F64 | C128 => f64::MAX,
            Bool => return (0.0, 1.0),
            d => {
                let bits = 8 * d.size() as i32;
                return if d.is_unsigned() {
                    (0.0, 2f64.powi(bits) - 1.0)
                } else {
                    (-2f64.powi(bits - 1), 2f64.powi(bits - 1) - 1.0)
                };
            }
        };
        (-most, most)
    }

    /// The type that sums of this type have: at least 32 bits for integers, `i32` for `bool`; a float is its own.
    pub(crate) fn of_sums(self) -> DType {
        match self {
            Bool | I8 | I16 => I32,
            U8 | U16 => U32,
            d => d,
        }
    }

    /// The name that jaxprs print: `f32`, `i64`, `bool`, `c64`.
    pub fn short_name(self) -> &'static str {
        match self {
            Bool => "bool",
            I8 => "i8",
            I16 => "i16",
            I32 => "i32",
            I64 => "i64",
            U8 => "u8",
            U16 => "u16",
            U32 => "u32",
            U64 => "u64",
            F16 => "f16",
            BF16 => "bf16",
            F32 => "f32",
            F64 => "f64",
            C64 => "c64",
            C128 => "c128",
        }
    }

    /// NumPy's name: `float32`, `int64`, `bool`, `complex64`.
    pub fn name(self) -> &'static str {
        match self {
            Bool => "bool",
            I8 => "int8",
            I16 => "int16",
            I32 => "int32",
            I64 => "int64",
            U8 => "uint8",
            U16 => "uint16",
            U32 => "uint32",
            U64 => "uint64",
            F16 => "float16",
            BF16 => "bfloat16",
            F32 => "float32",
            F64 => "float64",
            C64 => "complex64",
            C128 => "complex128",
        }
    }

    /// The type of either name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL
            .into_iter()
            .find(|d| d.name() == name || d.short_name() == name)
    }

    /// The type that a Rust number of a kind takes where nothing else decides: `i32`, `f32`, `c64`.
    pub fn default_of(kind: Kind) -> DType {
        match kind {
            Kind::Bool => Bool,
            Kind::Int => I32,
            Kind::Float => F32,
            Kind::Complex => C64,
        }
    }

    /// The type that two element types promote to, by JAX's lattice (both strongly typed).
    ///
    /// ```
    /// use quaxide::DType;
    /// assert_eq!(DType::I64.promote(DType::F16), DType::F16);
    /// assert_eq!(DType::BF16.promote(DType::F16), DType::F32);
    /// assert_eq!(DType::U32.promote(DType::I32), DType::I64);
    /// ```
    pub fn promote(self, other: DType) -> DType {
        promote_types((self, false), (other, false)).0
    }

    /// May a value of this type be converted to the other without `convert_element_type`'s losing its kind?
    pub fn converts_to(self, other: DType) -> bool {
        self.kind() <= other.kind()
    }
}

/// By the name that NumPy or a jaxpr gives it, `float32` or `f32`. An error that lists the names.
impl std::str::FromStr for DType {
    type Err = Error;
    fn from_str(name: &str) -> Result<DType> {
        let short = |d: &DType| d.short_name() == name;
        let found = DType::from_name(name).or_else(|| DType::ALL.into_iter().find(short));
        found.ok_or_else(|| {
            let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
            Error::dtype(format!("there is no element type `{name}`"))
                .note(format!("there are {}", names.join(", ")))
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// The lattice of JAX's "type promotion semantics": the fifteen types and the three weak ones. A node is a bit; `UP[n]` holds the
// nodes that are at or above n. The join of two nodes is the least of their common upper bounds.
const WEAK_INT: usize = 15;
const WEAK_FLOAT: usize = 16;
const WEAK_COMPLEX: usize = 17;
const NODES: usize = 18;

const fn edges(node: usize) -> &'static [usize] {
    const BOOL: usize = Bool as usize;
    const I8_: usize = I8 as usize;
    const I16_: usize = I16 as usize;
    const I32_: usize = I32 as usize;
    const I64_: usize = I64 as usize;
    const U8_: usize = U8 as usize;
    const U16_: usize = U16 as usize;
    const U32_: usize = U32 as usize;
    const U64_: usize = U64 as usize;
    const F16_: usize = F16 as usize;
    const BF16_: usize = BF16 as usize;
    const F32_: usize = F32 as usize;
    const F64_: usize = F64 as usize;
    const C64_: usize = C64 as usize;
    const C128_: usize = C128 as usize;
    match node {
        BOOL => &[WEAK_INT],
        WEAK_INT => &[I8_, U8_],
        I8_ => &[I16_],
        I16_ => &[I32_],
        I32_ => &[I64_],
        I64_ => &[WEAK_FLOAT],
        U8_ => &[I16_, U16_],
        U16_ => &[I32_, U32_],
        U32_ => &[I64_, U64_],
        U64_ => &[WEAK_FLOAT],
        WEAK_FLOAT => &[F16_, BF16_, WEAK_COMPLEX],
        F16_ | BF16_ => &[F32_],
        F32_ => &[F64_, C64_],
        F64_ => &[C128_],
        WEAK_COMPLEX => &[C64_],
        C64_ => &[C128_],
        _ => &[],
    }
}

const UP: [u32; NODES] = {
    let mut up = [0u32; NODES];
    let mut i = 0;
    while i < NODES {
        up[i] = 1 << i;
        i += 1;
    }
    // The longest path has fewer than NODES edges.
    let mut round = 0;
    while round < NODES {
        let mut n = 0;
        while n < NODES {
            let e = edges(n);
            let mut k = 0;
            while k < e.len() {
                up[n] |= up[e[k]];
                k += 1;
            }
            n += 1;
        }
        round += 1;
    }
    up
};

fn node((dtype, weak): (DType, bool)) -> usize {
    match (weak, dtype.kind()) {
        (true, Kind::Int) => WEAK_INT,
        (true, Kind::Float) => WEAK_FLOAT,
        (true, Kind::Complex) => WEAK_COMPLEX,
        _ => dtype as usize,
    }
}

/// The join of two types, each with its weakness; the result is weak where both are, or where they meet in no type of their own.
pub fn promote_types(a: (DType, bool), b: (DType, bool)) -> (DType, bool) {
    if a.0 == b.0 {
        return (a.0, a.1 && b.1);
    }
    let (m, n) = (node(a), node(b));
    let common = UP.get(m).copied().unwrap_or(0) & UP.get(n).copied().unwrap_or(0);
    let least = (0..NODES)
        .find(|i| common >> i & 1 == 1 && UP.get(*i) == Some(&common))
        .unwrap_or(C128 as usize);
    match least {
        WEAK_INT => (wider(a.0, b.0, Kind::Int), true),
        // Weakly typed even where neither operand is, as `i8` with `u64`.
        WEAK_FLOAT => (wider(a.0, b.0, Kind::Float), true),
        WEAK_COMPLEX => (wider(a.0, b.0, Kind::Complex), true),
        strong => (DType::ALL.get(strong).copied().unwrap_or(C128), false),
    }
}

// A weak node that two operands meet at: its type is that of the operand of that kind (f64 for a weak `f64`), else the default.
fn wider(a: DType, b: DType, kind: Kind) -> DType {
    match (a.kind() == kind, b.kind() == kind) {
        (true, true) => a.max(b),
        (true, false) => a,
        (false, true) => b,
        (false, false) => DType::default_of(kind),
    }
}

/// One number of any kind: a Rust literal in an operator, a literal of a jaxpr, a fill value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer; wide enough for `i64` and `u64`.
    Int(i128),
    /// A real number.
    Float(f64),
    /// A complex number.
    Complex(Complex<f64>),
}

impl Scalar {
    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Scalar::Bool(_) => Kind::Bool,
            Scalar::Int(_) => Kind::Int,
            Scalar::Float(_) => Kind::Float,
            Scalar::Complex(_) => Kind::Complex,
        }
    }

    /// As a real number; `None` for a complex number with an imaginary part.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Scalar::Bool(b) => Some(f64::from(u8::from(b))),
            Scalar::Int(i) => Some(i as f64),
            Scalar::Float(x) => Some(x),
            Scalar::Complex(z) => (z.im == 0.0).then_some(z.re),
        }
    }

    /// As a complex number.
    pub fn as_complex(self) -> Complex<f64> {
        match self {
            Scalar::Complex(z) => z,
            other => Complex::new(other.as_f64().unwrap_or(f64::NAN), 0.0),
        }
    }
}

macro_rules! from_int {
    ($($T:ty)*) => {$(impl From<$T> for Scalar { fn from(x: $T) -> Scalar { Scalar::Int(x as i128) } })*};
}
from_int!(i8 i16 i32 i64 u8 u16 u32 u64 isize usize);
impl From<bool> for Scalar {
    fn from(x: bool) -> Scalar {
        Scalar::Bool(x)
    }
}
impl From<f32> for Scalar {
    fn from(x: f32) -> Scalar {
        Scalar::Float(f64::from(x))
    }
}
impl From<f64> for Scalar {
    fn from(x: f64) -> Scalar {
        Scalar::Float(x)
    }
}
impl From<f16> for Scalar {
    fn from(x: f16) -> Scalar {
        Scalar::Float(x.to_f64())
    }
}
impl From<bf16> for Scalar {
    fn from(x: bf16) -> Scalar {
        Scalar::Float(x.to_f64())
    }
}
impl From<Complex<f32>> for Scalar {
    fn from(x: Complex<f32>) -> Scalar {
        Scalar::Complex(Complex::new(f64::from(x.re), f64::from(x.im)))
    }
}
impl From<Complex<f64>> for Scalar {
    fn from(x: Complex<f64>) -> Scalar {
        Scalar::Complex(x)
    }
}

/// A Rust type that arrays hold.
pub trait Element:
    Copy + Send + Sync + PartialEq + fmt::Debug + Default + Into<Scalar> + 'static
{
    /// Its element type.
    const DTYPE: DType;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The nearest value of this type: floats round, integers wrap from integers and saturate from floats, `bool` is "not zero",
    /// a complex number gives its real part.
    fn from_scalar(x: Scalar) -> Self;
}

macro_rules! element_int {
    ($($T:ty = $D:ident;)*) => {$(
        impl Element for $T {
            const DTYPE: DType = DType::$D;
            const ZERO: Self = 0;
            const ONE: Self = 1;
            fn from_scalar(x: Scalar) -> Self {
                match x {
                    Scalar::Bool(b) => b as $T,
                    Scalar::Int(i) => i as $T,
                    Scalar::Float(x) => x as $T,
                    Scalar::Complex(z) => z.re as $T,
                }
            }
        }
    )*};
}
element_int! { i8 = I8; i16 = I16; i32 = I32; i64 = I64; u8 = U8; u16 = U16; u32 = U32; u64 = U64; }

macro_rules! element_float {
    ($($T:ty = $D:ident, $zero:expr, $one:expr, $from:expr, $from_int:expr;)*) => {$(
        impl Element for $T {
            const DTYPE: DType = DType::$D;
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            fn from_scalar(x: Scalar) -> Self {
                match x {
                    Scalar::Bool(b) => if b { $one } else { $zero },
                    Scalar::Int(i) => $from_int(i),
                    Scalar::Float(x) => $from(x),
                    Scalar::Complex(z) => $from(z.re),
                }
            }
        }
    )*};
}
element_float! {
    f16 = F16, f16::ZERO, f16::ONE, f16::from_f64, |i| f16::from_f64(i as f64);
    bf16 = BF16, bf16::ZERO, bf16::ONE, bf16::from_f64, |i| bf16::from_f64(i as f64);
    f32 = F32, 0.0, 1.0, |x: f64| x as f32, |i| i as f32;
    f64 = F64, 0.0, 1.0, |x: f64| x, |i| i as f64;
}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    const ZERO: Self = false;
    const ONE: Self = true;
    fn from_scalar(x: Scalar) -> Self {
        match x {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Float(x) => x != 0.0,
            Scalar::Complex(z) => z.re != 0.0 || z.im != 0.0,
        }
    }
}
impl Element for Complex<f32> {
    const DTYPE: DType = DType::C64;
    const ZERO: Self = Complex { re: 0.0, im: 0.0 };
    const ONE: Self = Complex { re: 1.0, im: 0.0 };
    fn from_scalar(x: Scalar) -> Self {
        let z = x.as_complex();
        Complex::new(z.re as f32, z.im as f32)
    }
}
impl Element for Complex<f64> {
    const DTYPE: DType = DType::C128;
    const ZERO: Self = Complex { re: 0.0, im: 0.0 };
    const ONE: Self = Complex { re: 1.0, im: 0.0 };
    fn from_scalar(x: Scalar) -> Self {
        x.as_complex()
    }
}

/// Run `$body` with the type alias `$T` bound to the Rust type of `$dtype`.
macro_rules! with_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::array::DType::Bool => {
                type $T = bool;
                $body
            }
            $crate::array::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::array::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::array::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::array::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::array::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::array::DType::U16 => {
                type $T = u16;
                $body
            }
            $crate::array::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::array::DType::U64 => {
                type $T = u64;
                $body
            }
            $crate::array::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::array::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::array::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::array::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::array::DType::C64 => {
                type $T = num_complex::Complex<f32>;
                $body
            }
            $crate::array::DType::C128 => {
                type $T = num_complex::Complex<f64>;
                $body
            }
        }
    };
}
pub(crate) use with_dtype;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_follows_the_lattice() {
        let strong = |a: DType, b: DType| a.promote(b);
        assert_eq!(strong(U8, I8), I16);
        assert_eq!(strong(U64, I64), F32);
        assert_eq!(strong(I64, BF16), BF16);
        assert_eq!(strong(F16, BF16), F32);
        assert_eq!(strong(F64, C64), C128);
        assert_eq!(strong(Bool, U8), U8);
        assert_eq!(promote_types((F32, true), (F16, false)), (F16, false));
        assert_eq!(promote_types((I32, true), (U8, false)), (U8, false));
        assert_eq!(promote_types((F32, true), (I64, false)), (F32, true));
        assert_eq!(promote_types((F32, true), (Bool, false)), (F32, true));
        assert_eq!(promote_types((I32, true), (F32, true)), (F32, true));
        assert_eq!(promote_types((C64, true), (F64, false)), (C128, false));
        for a in DType::ALL {
            for b in DType::ALL {
                assert_eq!(strong(a, b), strong(b, a));
                assert!(a.kind().max(b.kind()) <= strong(a, b).kind());
            }
        }
    }
}
