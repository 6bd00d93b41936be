//! The methods of [`Array`] as functions, and `jax.numpy`'s other names for them.

use crate::array::{Array, DType, IntoAxes, IntoDims, Operand};

macro_rules! unary {
    ($($name:ident = $method:ident;)*) => {$(
        #[doc = concat!("[`Array::", stringify!($method), "`].")]
        #[track_caller]
        pub fn $name(x: &Array) -> Array {
            x.$method()
        }
    )*};
}
unary! {
    abs = abs; absolute = abs; acos = arccos; acosh = arccosh; angle = angle; arccos = arccos; arccosh = arccosh; arcsin = arcsin;
    arcsinh = arcsinh; arctan = arctan; arctanh = arctanh; asin = arcsin; asinh = arcsinh; atan = arctan; atanh = arctanh;
    bitwise_count = population_count; cbrt = cbrt; ceil = ceil; conj = conj; conjugate = conj; cos = cos; cosh = cosh;
    deg2rad = deg2rad; degrees = degrees; exp = exp; exp2 = exp2; expm1 = expm1; fabs = fabs; floor = floor; i0 = i0; imag = imag;
    iscomplex = iscomplex; isfinite = is_finite; isinf = is_inf; isnan = is_nan; isneginf = isneginf; isposinf = isposinf;
    isreal = isreal; log = log; log10 = log10; log1p = log1p; log2 = log2; logical_not = logical_not; rad2deg = rad2deg;
    radians = radians; ravel = ravel; real = real; reciprocal = reciprocal; rint = rint; sign = sign; signbit = signbit; sin = sin;
    sinc = sinc; sinh = sinh; spacing = spacing; sqrt = sqrt; square = square; tan = tan; tanh = tanh; trunc = trunc;
}

macro_rules! binary {
    ($($name:ident = $method:ident;)*) => {$(
        #[doc = concat!("[`Array::", stringify!($method), "`].")]
        #[track_caller]
        pub fn $name(x: &Array, y: impl Operand) -> Array {
            x.$method(y)
        }
    )*};
}
binary! {
    arctan2 = arctan2; atan2 = arctan2; copysign = copysign; equal = eq; float_power = float_power; floor_divide = floor_divide;
    fmax = fmax; fmin = fmin; fmod = fmod; gcd = gcd; greater = gt; greater_equal = ge; heaviside = heaviside; hypot = hypot;
    lcm = lcm; less = lt; less_equal = le; logaddexp = logaddexp; logaddexp2 = logaddexp2; logical_and = logical_and;
    logical_or = logical_or; logical_xor = logical_xor; maximum = maximum; minimum = minimum; mod_ = modulo; nextafter = nextafter;
    not_equal = ne; pow = pow; power = pow; remainder = modulo;
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident = $op:tt;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Array, y: impl Operand) -> Array {
            x $op y
        }
    )*};
}
operators! {
    /// The sum; of `bool`, "or".
    add = +;
    /// The bits, or truth values, that both have.
    bitwise_and = &;
    /// Bits moved towards the highest.
    bitwise_left_shift = <<;
    /// The bits, or truth values, that one of them has.
    bitwise_or = |;
    /// Bits moved towards the lowest.
    bitwise_right_shift = >>;
    /// The bits, or truth values, that just one of them has.
    bitwise_xor = ^;
    /// The quotient, as floats.
    divide = /;
    /// Bits moved towards the highest.
    left_shift = <<;
    /// The product; of `bool`, "and".
    multiply = *;
    /// Bits moved towards the lowest.
    right_shift = >>;
    /// The difference.
    subtract = -;
    /// The quotient, as floats.
    true_divide = /;
}

macro_rules! reductions {
    ($($name:ident = $method:ident;)*) => {$(
        #[doc = concat!("[`Array::", stringify!($method), "`].")]
        #[track_caller]
        pub fn $name(x: &Array, axes: impl IntoAxes) -> Array {
            x.$method(axes)
        }
    )*};
}
reductions! {
    all = all; amax = max; amin = min; any = any; count_nonzero = count_nonzero; expand_dims = expand_dims; flip = flip; max = max;
    mean = mean; median = median; min = min; nanmax = nanmax; nanmean = nanmean; nanmedian = nanmedian; nanmin = nanmin;
    nanprod = nanprod; nansum = nansum; prod = prod; ptp = ptp; squeeze = squeeze; std = std; sum = sum; var = var;
}

macro_rules! along {
    ($($name:ident = $method:ident;)*) => {$(
        #[doc = concat!("[`Array::", stringify!($method), "`].")]
        #[track_caller]
        pub fn $name(x: &Array, axis: i32) -> Array {
            x.$method(axis)
        }
    )*};
}
along! {
    argmax = argmax; argmin = argmin; argsort = argsort; cumprod = cumprod; cumsum = cumsum; nanargmax = nanargmax;
    nanargmin = nanargmin; nancumprod = nancumprod; nancumsum = nancumsum; sort = sort;
}

/// The negative.
#[track_caller]
pub fn negative(x: &Array) -> Array {
    -x
}

/// The array itself.
pub fn positive(x: &Array) -> Array {
    x.clone()
}

/// The complement of each bit, or of each truth value.
#[track_caller]
pub fn invert(x: &Array) -> Array {
    !x
}

/// The complement of each bit, or of each truth value.
#[track_caller]
pub fn bitwise_not(x: &Array) -> Array {
    !x
}

/// The complement of each bit, or of each truth value.
#[track_caller]
pub fn bitwise_invert(x: &Array) -> Array {
    !x
}

/// [`Array::round`].
#[track_caller]
pub fn round(x: &Array, decimals: i32) -> Array {
    x.round(decimals)
}

/// [`Array::round`].
#[track_caller]
pub fn around(x: &Array, decimals: i32) -> Array {
    x.round(decimals)
}

/// [`Array::clip`].
#[track_caller]
pub fn clip(x: &Array, low: impl Operand, high: impl Operand) -> Array {
    x.clip(low, high)
}

/// [`Array::reshape`].
#[track_caller]
pub fn reshape(x: &Array, shape: impl IntoDims) -> Array {
    x.reshape(shape)
}

/// [`Array::transpose`].
#[track_caller]
pub fn transpose(x: &Array, permutation: impl IntoDims) -> Array {
    x.transpose(permutation)
}

/// [`Array::transpose`].
#[track_caller]
pub fn permute_dims(x: &Array, permutation: impl IntoDims) -> Array {
    x.transpose(permutation)
}

/// [`Array::dot`].
#[track_caller]
pub fn dot(x: &Array, y: &Array) -> Array {
    x.dot(y)
}

/// [`Array::broadcast_to`].
#[track_caller]
pub fn broadcast_to(x: &Array, shape: impl IntoDims) -> Array {
    x.broadcast_to(shape)
}

/// [`Array::zeros`].
#[track_caller]
pub fn zeros(shape: impl IntoDims, dtype: DType) -> Array {
    Array::zeros(shape, dtype)
}

/// [`Array::ones`].
#[track_caller]
pub fn ones(shape: impl IntoDims, dtype: DType) -> Array {
    Array::ones(shape, dtype)
}

/// [`Array::zeros`]: nothing is uninitialised.
#[track_caller]
pub fn empty(shape: impl IntoDims, dtype: DType) -> Array {
    Array::zeros(shape, dtype)
}

/// [`Array::zeros_like`].
#[track_caller]
pub fn zeros_like(x: &Array) -> Array {
    Array::zeros_like(x)
}

/// [`Array::ones_like`].
#[track_caller]
pub fn ones_like(x: &Array) -> Array {
    Array::ones_like(x)
}

/// [`Array::allclose`].
#[track_caller]
pub fn allclose(x: &Array, y: impl Operand, rtol: f64, atol: f64, equal_nan: bool) -> Array {
    x.allclose(y, rtol, atol, equal_nan)
}

/// [`Array::isclose`].
#[track_caller]
pub fn isclose(x: &Array, y: impl Operand, rtol: f64, atol: f64, equal_nan: bool) -> Array {
    x.isclose(y, rtol, atol, equal_nan)
}
