//! Functions of each element.

use super::binary;
use crate::{
    array::{Array, DType, Operand},
    trace::{
        bind,
        op::{self, Binary, Clamp, RoundingMethod, SelectN, Special, Unary},
    },
};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Array) -> Array {
            bind(Unary::$op, &[x])
        }
    )*};
}
unary! {
    /// The absolute value; real for complex numbers.
    abs = Abs;
    /// The inverse cosine, in radians.
    acos = Acos;
    /// The inverse hyperbolic cosine.
    acosh = Acosh;
    /// The inverse sine, in radians.
    asin = Asin;
    /// The inverse hyperbolic sine.
    asinh = Asinh;
    /// The inverse tangent, in radians.
    atan = Atan;
    /// The inverse hyperbolic tangent.
    atanh = Atanh;
    /// The modified Bessel function of order 0, times `exp(−|x|)`.
    bessel_i0e = BesselI0e;
    /// The modified Bessel function of order 1, times `exp(−|x|)`.
    bessel_i1e = BesselI1e;
    /// The complement of each bit, or of each truth value.
    bitwise_not = Not;
    /// The cube root.
    cbrt = Cbrt;
    /// The smallest integer that is not smaller.
    ceil = Ceil;
    /// The number of leading bits that are zero, of integers.
    clz = Clz;
    /// The complex conjugate.
    conj = Conj;
    /// The cosine, of radians.
    cos = Cos;
    /// The hyperbolic cosine.
    cosh = Cosh;
    /// The derivative of [`lgamma`].
    digamma = Digamma;
    /// The error function.
    erf = Erf;
    /// The inverse of the error function.
    erf_inv = ErfInv;
    /// One minus the error function.
    erfc = Erfc;
    /// The exponential function.
    exp = Exp;
    /// 2 to the power of each element.
    exp2 = Exp2;
    /// `exp(x) − 1`, exact for small `x`.
    expm1 = Expm1;
    /// The largest integer that is not larger.
    floor = Floor;
    /// The imaginary part of complex numbers.
    imag = Imag;
    /// Is each element finite?
    is_finite = IsFinite;
    /// The logarithm of the absolute value of the gamma function.
    lgamma = Lgamma;
    /// The natural logarithm.
    log = Log;
    /// `log(1 + x)`, exact for small `x`.
    log1p = Log1p;
    /// `1 / (1 + exp(−x))`.
    logistic = Logistic;
    /// The negative.
    neg = Neg;
    /// The number of bits that are one, of integers.
    population_count = PopulationCount;
    /// The real part of complex numbers.
    real = Real;
    /// One over the square root.
    rsqrt = Rsqrt;
    /// −1, 0 or 1; of a complex number, the number divided by its absolute value.
    sign = Sign;
    /// The sine, of radians.
    sin = Sin;
    /// The hyperbolic sine.
    sinh = Sinh;
    /// The square root.
    sqrt = Sqrt;
    /// The square.
    square = Square;
    /// The tangent, of radians.
    tan = Tan;
    /// The hyperbolic tangent.
    tanh = Tanh;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(x: impl Operand, y: impl Operand) -> Array {
            binary($op, x, y)
        }
    )*};
}
binary! {
    /// The sum.
    add = Binary::Add;
    /// The angle of the point (`y`, `x`), in radians.
    atan2 = Binary::Atan2;
    /// The bits, or truth values, that both have.
    bitwise_and = Binary::And;
    /// The bits, or truth values, that one of them has.
    bitwise_or = Binary::Or;
    /// The bits, or truth values, that just one of them has.
    bitwise_xor = Binary::Xor;
    /// The complex number of a real and an imaginary part.
    complex = Binary::Complex;
    /// The quotient; of integers, towards zero.
    div = Binary::Div;
    /// Equal?
    eq = Binary::Eq;
    /// Greater or equal?
    ge = Binary::Ge;
    /// Greater?
    gt = Binary::Gt;
    /// The regularised lower incomplete gamma function `P(x, y)`.
    igamma = Binary::Igamma;
    /// The regularised upper incomplete gamma function `Q(x, y)`.
    igammac = Binary::Igammac;
    /// Less or equal?
    le = Binary::Le;
    /// Less?
    lt = Binary::Lt;
    /// The larger; NaN if either is.
    max = Binary::Max;
    /// The smaller; NaN if either is.
    min = Binary::Min;
    /// The product.
    mul = Binary::Mul;
    /// Not equal?
    ne = Binary::Ne;
    /// The next number after `x` towards `y`.
    nextafter = Binary::Nextafter;
    /// `x` to the power of `y`.
    pow = Binary::Pow;
    /// The remainder with the sign of `x`.
    rem = Binary::Rem;
    /// Bits moved towards the highest.
    shift_left = Binary::ShiftLeft;
    /// Bits moved towards the lowest, with copies of the sign bit coming in.
    shift_right_arithmetic = Binary::ShiftRightArithmetic;
    /// Bits moved towards the lowest, with zeros coming in.
    shift_right_logical = Binary::ShiftRightLogical;
    /// The difference.
    sub = Binary::Sub;
    /// The upper half of the product's bits, of integers.
    mulhi = Binary::Mulhi;
    /// The derivative of [`igamma`] by its first operand.
    igamma_grad_a = Special::IgammaGradA;
    /// The derivative of a gamma random number `y` by the shape `x` that it was drawn for.
    random_gamma_grad = Special::RandomGammaGrad;
    /// The `x`-th derivative of [`digamma`] at `y`.
    polygamma = Special::Polygamma;
    /// The Hurwitz zeta function.
    zeta = Special::Zeta;
}

/// The regularised incomplete beta function `Iₓ(a, b)`.
#[track_caller]
pub fn betainc(a: &Array, b: &Array, x: &Array) -> Array {
    bind(Special::RegularizedIncompleteBeta, &[a, b, x])
}

/// The nearest integer; `method` says what halves become.
#[track_caller]
pub fn round(x: &Array, method: RoundingMethod) -> Array {
    bind(Unary::Round(method), &[x])
}

/// `x` to the power of a fixed integer.
#[track_caller]
pub fn integer_pow(x: &Array, y: i32) -> Array {
    x.integer_pow(y)
}

/// `x`, but no less than `low` and no more than `high`: of its shape, or without axes.
#[track_caller]
pub fn clamp(low: impl Operand, x: &Array, high: impl Operand) -> Array {
    bind(Clamp, &[&low.operand(x), x, &high.operand(x)])
}

/// Where `which` is true the element of `on_true`, else that of `on_false`: arrays of one type, and `which` of their shape or without
/// axes.
#[track_caller]
pub fn select(which: &Array, on_true: &Array, on_false: &Array) -> Array {
    bind(SelectN, &[which, on_false, on_true])
}

/// Where `which` is `i` the element of `cases[i]`: `bool` for two cases, `i32` for any number.
#[track_caller]
pub fn select_n(which: &Array, cases: &[&Array]) -> Array {
    let all: Vec<&Array> = std::iter::once(which)
        .chain(cases.iter().copied())
        .collect();
    bind(SelectN, &all)
}

/// The numbers in another element type.
#[track_caller]
pub fn convert_element_type(x: &Array, dtype: DType) -> Array {
    x.astype(dtype)
}

/// The bits read as another element type; one of another width changes the last axis.
#[track_caller]
pub fn bitcast_convert_type(x: &Array, dtype: DType) -> Array {
    bind(op::BitcastConvertType { new_dtype: dtype }, &[x])
}

/// The array, whose derivative is zero.
#[track_caller]
pub fn stop_gradient(x: &Array) -> Array {
    x.stop_gradient()
}

/// Rounded to floats of so many bits of exponent and mantissa, in the same element type.
#[track_caller]
pub fn reduce_precision(x: &Array, exponent_bits: u8, mantissa_bits: u8) -> Array {
    bind(
        Unary::ReducePrecision {
            exponent_bits,
            mantissa_bits,
        },
        &[x],
    )
}
