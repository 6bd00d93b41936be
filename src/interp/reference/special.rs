//! Scalar special functions, with the values of XLA at infinities, NaN and signed zeros.
//!
//! The elementary ones of `f32` and `f64` ([`exp`], [`log`], [`log1p`], [`expm1`], [`tanh`],
//! [`logistic`], [`erf`], [`erfc`], [`erf_inv`]) are those of XLA's CPU back end rounding for
//! rounding, so that what is sampled from them equals what `jax.random` samples. (For `f64` XLA takes the logarithm, `erf` and the
//! trigonometric functions from the system; `erf` here is that of glibc to version 2.40, the others are the system's. `erfc` of
//! `f64` is the `libm` crate's.) For `f16` and `bf16` XLA computes in `f32` and rounds.
//! Those of the gamma, beta and Bessel families are computed in `f64` for every dtype.
//!
//! The elementary ones are inlined without a call, and are made of fused multiply-adds, comparisons and integer operations: a loop
//! over one of them in a function with `#[target_feature(enable = "avx2,fma")]` becomes a vector loop of 0.3 to 2 ns an element.
//! Without that feature each multiply-add is a call into the system's library, 20 times slower.

mod apply;
pub mod bessel;
mod bits;
pub mod complex;
mod double;
pub mod gamma;
mod single;
#[cfg(test)]
mod tests;

macro_rules! elementary {
    ($($(#[$doc:meta])* $name:ident = $single:path, $double:path;)*) => {
        /// A type in which the elementary functions are evaluated: `f32` or `f64`.
        pub trait Real: Copy {
            /// `a · b + c`, rounded once.
            #[must_use]
            fn fused(a: Self, b: Self, c: Self) -> Self;
            $($(#[$doc])* #[must_use] fn $name(x: Self) -> Self;)*
        }

        impl Real for f32 {
            #[inline(always)]
            fn fused(a: Self, b: Self, c: Self) -> Self {
                a.mul_add(b, c)
            }
            $(#[inline(always)] fn $name(x: Self) -> Self { $single(x) })*
        }

        impl Real for f64 {
            #[inline(always)]
            fn fused(a: Self, b: Self, c: Self) -> Self {
                a.mul_add(b, c)
            }
            $(#[inline(always)] fn $name(x: Self) -> Self { $double(x) })*
        }

        $(
            $(#[$doc])*
            #[inline(always)]
            #[must_use]
            pub fn $name<T: Real>(x: T) -> T {
                T::$name(x)
            }
        )*
    };
}

elementary! {
    /// `e^x`.
    exp = single::exp, double::exp;
    /// `ln x`: `−∞` at zero, NaN below.
    log = single::log, f64::ln;
    /// `ln(1 + x)`: `−∞` at −1, NaN below.
    log1p = single::log1p, double::log1p;
    /// `e^x − 1`.
    expm1 = single::expm1, double::expm1;
    /// The hyperbolic tangent.
    tanh = single::tanh, double::tanh;
    /// The logistic function `1 / (1 + e^−x)`.
    logistic = single::logistic, double::logistic;
    /// The error function.
    erf = single::erf, double::erf;
    /// The complementary error function `1 − erf x`.
    erfc = single::erfc, libm::erfc;
    /// The inverse of the error function: infinite at `±1`, NaN beyond.
    erf_inv = single::erf_inv, double::erf_inv;
}

pub(super) use apply::apply;
pub use bits::Bits;

/// The inverse of the hyperbolic tangent: infinite at `±1`, NaN beyond. Odd to the last bit.
#[inline(always)]
#[must_use]
pub fn atanh(x: f64) -> f64 {
    let size = x.abs();
    (0.5 * log1p(2.0 * size / (1.0 - size))).copysign(x)
}

/// Hyperbolic functions: of `f32` as XLA makes them of exponentials, of arguments moved by `ln 2`, so that they do not overflow early;
/// of `f64` the system's.
pub trait Hyperbolic: Real {
    /// The hyperbolic sine.
    #[must_use]
    fn sinh(x: Self) -> Self;
    /// The hyperbolic cosine.
    #[must_use]
    fn cosh(x: Self) -> Self;
}

impl Hyperbolic for f32 {
    #[inline(always)]
    fn sinh(x: f32) -> f32 {
        if x.abs() < 1.0 {
            let e = expm1(x);
            return 0.5 * (e + e / (e + 1.0));
        }
        exp(x - std::f32::consts::LN_2) - exp(-std::f32::consts::LN_2 - x)
    }
    #[inline(always)]
    fn cosh(x: f32) -> f32 {
        exp(x - std::f32::consts::LN_2) + exp(-std::f32::consts::LN_2 - x)
    }
}

impl Hyperbolic for f64 {
    #[inline(always)]
    fn sinh(x: f64) -> f64 {
        x.sinh()
    }
    #[inline(always)]
    fn cosh(x: f64) -> f64 {
        x.cosh()
    }
}

/// The hyperbolic sine.
#[inline(always)]
#[must_use]
pub fn sinh<T: Hyperbolic>(x: T) -> T {
    T::sinh(x)
}

/// The hyperbolic cosine.
#[inline(always)]
#[must_use]
pub fn cosh<T: Hyperbolic>(x: T) -> T {
    T::cosh(x)
}

/// `((c₀ x + c₁) x + c₂) x + …`, each step one fused multiply-add.
#[inline(always)]
fn horner<T: Real, const N: usize>(x: T, coefficients: [T; N]) -> T {
    let mut coefficients = coefficients.into_iter();
    let first = coefficients.next().unwrap_or(x);
    coefficients.fold(first, |sum, c| T::fused(sum, x, c))
}
