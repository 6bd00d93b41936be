//! Elementary functions of a complex argument, in `f64`, with the signed zeros and infinities of
//! C99's Annex G deciding the side of every branch cut.
//!
//! The inverse functions and the hyperbolic tangent follow W. Kahan, "Branch cuts for complex
//! elementary functions, or much ado about nothing's sign bit" (1987).

use num_complex::{Complex, Complex64};
use std::f64::consts::{FRAC_PI_2, LN_2};

/// `i z`, without the products of zeros and infinities of a complex multiplication.
fn times_i(z: Complex64) -> Complex64 {
    Complex64::new(-z.im, z.re)
}

/// `−i z`.
fn over_i(z: Complex64) -> Complex64 {
    Complex64::new(z.im, -z.re)
}

/// `factor · e^x · (c + i s)`, where `e^x` alone may overflow.
fn scaled(factor: f64, x: f64, c: f64, s: f64) -> Complex64 {
    // A zero component stays zero beside an infinite exponential.
    let part = |v: f64, e: f64, rest: f64| if v == 0.0 { v } else { e * v * rest };
    if x > 709.0 {
        let half = (0.5 * x).exp();
        Complex64::new(part(c, half, factor * half), part(s, half, factor * half))
    } else {
        let e = factor * x.exp();
        Complex64::new(part(c, e, 1.0), part(s, e, 1.0))
    }
}

/// The quotient, with the zeros and infinities of C99's Annex G (whose example this follows): scaled, so that only a quotient that
/// is too large overflows.
#[must_use]
pub fn quotient(x: Complex64, y: Complex64) -> Complex64 {
    let (mut a, mut b, mut c, mut d) = (x.re, x.im, y.re, y.im);
    let largest = c.abs().max(d.abs());
    let mut scale = 0;
    if largest.is_finite() && largest > 0.0 {
        scale = -libm::ilogb(largest);
        c = libm::scalbn(c, scale);
        d = libm::scalbn(d, scale);
    }
    let norm = c * c + d * d;
    let re = libm::scalbn((a * c + b * d) / norm, scale);
    let im = libm::scalbn((b * c - a * d) / norm, scale);
    if !(re.is_nan() && im.is_nan()) {
        return Complex64::new(re, im);
    }
    let unit = |v: f64| f64::from(u8::from(v.is_infinite())).copysign(v);
    if norm == 0.0 && !(a.is_nan() && b.is_nan()) {
        let infinity = f64::INFINITY.copysign(c);
        return Complex64::new(infinity * a, infinity * b);
    }
    if (a.is_infinite() || b.is_infinite()) && c.is_finite() && d.is_finite() {
        (a, b) = (unit(a), unit(b));
        let infinity = f64::INFINITY;
        return Complex64::new(infinity * (a * c + b * d), infinity * (b * c - a * d));
    }
    if (c.is_infinite() || d.is_infinite()) && a.is_finite() && b.is_finite() {
        (c, d) = (unit(c), unit(d));
        return Complex64::new(0.0 * (a * c + b * d), 0.0 * (b * c - a * d));
    }
    Complex64::new(re, im)
}

/// `1 / √z`.
#[must_use]
pub fn rsqrt(z: Complex64) -> Complex64 {
    quotient(Complex64::new(1.0, 0.0), sqrt(z))
}

/// `e^z`.
#[must_use]
pub fn exp(z: Complex64) -> Complex64 {
    if z.im == 0.0 {
        return Complex64::new(z.re.exp(), z.im);
    }
    if z.re.is_infinite() && !z.im.is_finite() {
        return if z.re < 0.0 {
            Complex64::new(0.0, 0.0)
        } else {
            Complex64::new(z.re, f64::NAN)
        };
    }
    let (s, c) = z.im.sin_cos();
    scaled(1.0, z.re, c, s)
}

/// `e^z − 1`.
#[must_use]
pub fn expm1(z: Complex64) -> Complex64 {
    if z.im == 0.0 {
        return Complex64::new(z.re.exp_m1(), z.im);
    }
    if !z.im.is_finite() || z.re.abs() > 700.0 {
        return exp(z) - 1.0;
    }
    let half = (0.5 * z.im).sin();
    let (s, c) = z.im.sin_cos();
    // e^x cos y − 1 = (e^x − 1) cos y − 2 sin² (y/2), its rounding error small beside the terms.
    let (a, b) = (z.re.exp_m1() * c, 2.0 * half * half);
    Complex64::new(a - b, z.re.exp() * s)
}

/// `a·b` as an unevaluated sum of a rounded product and its error.
fn product(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    (p, a.mul_add(b, -p))
}

/// `a + b` as an unevaluated sum of a rounded sum and its error.
fn sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `x² + y² + c`, as if in twice the precision.
fn squares_plus(x: f64, y: f64, c: f64) -> f64 {
    let (xx, xe) = product(x, x);
    let (yy, ye) = product(y, y);
    let (s, e1) = sum(c, xx);
    let (s, e2) = sum(s, yy);
    s + (e1 + e2 + xe + ye)
}

/// The principal logarithm, its cut along the negative real axis.
#[must_use]
pub fn log(z: Complex64) -> Complex64 {
    let (x, y) = (z.re.abs(), z.im.abs());
    let (large, small) = if x < y { (y, x) } else { (x, y) };
    let real = if large.is_infinite() {
        f64::INFINITY
    } else if !(1e-150..=1e150).contains(&large) {
        z.re.hypot(z.im).ln().max(
            // Where even the hypotenuse overflows.
            if large > 1e300 {
                (0.5 * x).hypot(0.5 * y).ln() + LN_2
            } else {
                f64::NEG_INFINITY
            },
        )
    } else if (0.5..=3.0).contains(&(large * large + small * small)) {
        0.5 * squares_plus(large, small, -1.0).ln_1p()
    } else {
        large.hypot(small).ln()
    };
    Complex64::new(real, z.im.atan2(z.re))
}

/// `ln(1 + z)`.
#[must_use]
pub fn log1p(z: Complex64) -> Complex64 {
    let (x, y) = (z.re, z.im);
    if !(x.abs() < 1e150 && y.abs() < 1e150) {
        return log(Complex64::new(1.0 + x, y));
    }
    let imaginary = y.atan2(1.0 + x);
    if y == 0.0 && x > -1.0 {
        return Complex64::new(x.ln_1p(), imaginary);
    }
    // |1 + z|² − 1 = x² + y² + 2x.
    let excess = squares_plus(x, y, 2.0 * x);
    let real = if excess > -0.5 {
        0.5 * excess.ln_1p()
    } else {
        let (shifted, error) = sum(1.0, x);
        let modulus = shifted.hypot(y);
        modulus.ln() + shifted * error / (modulus * modulus)
    };
    let real = if x == -1.0 && y == 0.0 {
        f64::NEG_INFINITY
    } else {
        real
    };
    Complex64::new(real, imaginary)
}

/// The principal square root, its cut along the negative real axis.
#[must_use]
pub fn sqrt(z: Complex64) -> Complex64 {
    let (x, y) = (z.re, z.im);
    if y.is_infinite() {
        return Complex64::new(f64::INFINITY, y);
    }
    if x.is_nan() || (y.is_nan() && !x.is_infinite()) {
        return Complex64::new(f64::NAN, f64::NAN);
    }
    if x.is_infinite() {
        return if x > 0.0 {
            let im = if y.is_nan() { y } else { 0f64.copysign(y) };
            Complex64::new(x, im)
        } else {
            let re = if y.is_nan() { y } else { 0.0 };
            Complex64::new(re, f64::INFINITY.copysign(y))
        };
    }
    if x == 0.0 && y == 0.0 {
        return Complex64::new(0.0, y);
    }
    // Scaled by an even power of two away from both ends of the range.
    let large = x.abs().max(y.abs());
    let (scale, back) = if large > 1e290 {
        (0.25, 2.0)
    } else if large < 1e-290 {
        (2f64.powi(108), 2f64.powi(-54))
    } else {
        (1.0, 1.0)
    };
    let (x, y) = (x * scale, y * scale);
    let root = (0.5 * (x.abs() + x.hypot(y))).sqrt();
    let other = y.abs() / (2.0 * root);
    let (re, im) = if x >= 0.0 {
        (root, other)
    } else {
        (other, root)
    };
    Complex64::new(re * back, (im * back).copysign(y))
}

/// Powers of complex numbers in one precision.
pub(in crate::interp) trait Power: Sized {
    /// `z^w`, the principal value; zero to a power with positive real part is zero, and to zero one.
    #[must_use]
    fn power(self, w: Self) -> Self;
}

macro_rules! power {
    ($($F:ident)*) => {$(
        /// As XLA has it, rounding for rounding, with the products that its code generator fuses into sums:
        /// `|z|^c e^(−d φ) (cos q + i sin q)` of `z` with the angle `φ` and `w = c + i d`, where `q = c φ + d ln |z|`.
        impl Power for Complex<$F> {
            fn power(self, w: Self) -> Self {
                let (z, zero, one) = (self, Complex::new(0.0, 0.0), Complex::new(1.0, 0.0));
                let (a, b) = (z.re.abs(), z.im.abs());
                let (large, small) = if a < b { (b, a) } else { (a, b) };
                let quotient = small / large;
                let modulus = large * quotient.mul_add(quotient, 1.0).sqrt();
                let modulus = if modulus.is_nan() { small } else { modulus };
                let angle = z.im.atan2(z.re);
                let length = modulus.powf(w.re) * super::exp(-w.im * angle);
                let turn = w.re.mul_add(angle, w.im * super::log(modulus));
                if z.re == <$F>::INFINITY && z.im == 0.0 && w.im == 0.0 && w.re != 0.0 {
                    return if w.re > 0.0 { Complex::new(z.re, 0.0) } else { zero };
                }
                if z == one || w == zero {
                    return one;
                }
                if modulus == 0.0 && w.im == 0.0 && w.re > 0.0 {
                    return zero;
                }
                Complex::new(length * turn.cos(), length * turn.sin())
            }
        }
    )*};
}
power!(f32 f64);

/// The hyperbolic sine.
#[must_use]
pub fn sinh(z: Complex64) -> Complex64 {
    let (x, y) = (z.re, z.im);
    if y == 0.0 {
        return Complex64::new(x.sinh(), y);
    }
    if x.abs() > 22.0 && y.is_finite() {
        let (s, c) = y.sin_cos();
        let e = scaled(0.5, x.abs(), c, s);
        return Complex64::new(e.re * x.signum(), e.im);
    }
    if x.is_infinite() {
        return Complex64::new(x, f64::NAN);
    }
    if x == 0.0 && !y.is_finite() {
        return Complex64::new(x, f64::NAN);
    }
    let (s, c) = y.sin_cos();
    Complex64::new(x.sinh() * c, x.cosh() * s)
}

/// The hyperbolic cosine.
#[must_use]
pub fn cosh(z: Complex64) -> Complex64 {
    let (x, y) = (z.re, z.im);
    if y == 0.0 {
        let im = if x.is_nan() { y.abs() } else { y * x.signum() };
        return Complex64::new(x.cosh(), im);
    }
    if x.abs() > 22.0 && y.is_finite() {
        let (s, c) = y.sin_cos();
        let e = scaled(0.5, x.abs(), c, s);
        return Complex64::new(e.re, e.im * x.signum());
    }
    if x.is_infinite() {
        return Complex64::new(f64::INFINITY, f64::NAN);
    }
    if x == 0.0 && !y.is_finite() {
        return Complex64::new(f64::NAN, x);
    }
    let (s, c) = y.sin_cos();
    Complex64::new(x.cosh() * c, x.sinh() * s)
}

/// The hyperbolic tangent.
#[must_use]
pub fn tanh(z: Complex64) -> Complex64 {
    let (x, y) = (z.re, z.im);
    if x.abs() > 22.0 {
        let (s, c) = if y.is_finite() {
            y.sin_cos()
        } else {
            (0f64.copysign(y), 1.0)
        };
        let im = 4.0 * s * c * (-x.abs()).exp() * (-x.abs()).exp();
        return Complex64::new(1f64.copysign(x), im);
    }
    if y == 0.0 {
        return Complex64::new(x.tanh(), y);
    }
    if !y.is_finite() {
        let re = if x == 0.0 { x } else { f64::NAN };
        return Complex64::new(re, f64::NAN);
    }
    let t = y.tan();
    let beta = 1.0 + t * t;
    let s = x.sinh();
    let rho = (1.0 + s * s).sqrt();
    let denominator = 1.0 + beta * s * s;
    Complex64::new(beta * rho * s / denominator, t / denominator)
}

/// The sine.
#[must_use]
pub fn sin(z: Complex64) -> Complex64 {
    over_i(sinh(times_i(z)))
}

/// The cosine.
#[must_use]
pub fn cos(z: Complex64) -> Complex64 {
    cosh(times_i(z))
}

/// The tangent.
#[must_use]
pub fn tan(z: Complex64) -> Complex64 {
    over_i(tanh(times_i(z)))
}

/// `√(1 − z)` and `√(1 + z)`.
fn roots(z: Complex64) -> (Complex64, Complex64) {
    (
        sqrt(Complex64::new(1.0 - z.re, -z.im)),
        sqrt(Complex64::new(1.0 + z.re, z.im)),
    )
}

/// Whether `z` is so large that `1 ± z` is `±z`, and products of roots might overflow.
fn huge(z: Complex64) -> bool {
    !(z.re.abs() < 1e100 && z.im.abs() < 1e100)
}

/// The arcsine, its cuts outside `[−1, 1]` on the real axis.
#[must_use]
pub fn asin(z: Complex64) -> Complex64 {
    over_i(asinh(times_i(z)))
}

/// The arccosine, its cuts outside `[−1, 1]` on the real axis.
#[must_use]
pub fn acos(z: Complex64) -> Complex64 {
    if z.re.is_nan() || z.im.is_nan() {
        if z.re.is_infinite() || z.im.is_infinite() {
            return Complex64::new(f64::NAN, -f64::INFINITY.copysign(z.im));
        }
        return Complex64::new(if z.re == 0.0 { FRAC_PI_2 } else { f64::NAN }, f64::NAN);
    }
    if huge(z) {
        let im = log(Complex64::new(z.re.abs(), z.im.abs())).re + LN_2;
        return Complex64::new(z.im.abs().atan2(z.re), -im.copysign(z.im));
    }
    let (minus, plus) = roots(z);
    let real = 2.0 * minus.re.atan2(plus.re);
    let imaginary = (plus.re * minus.im - plus.im * minus.re).asinh();
    Complex64::new(real, imaginary)
}

/// The inverse hyperbolic sine, its cuts outside `[−i, i]` on the imaginary axis.
#[must_use]
pub fn asinh(z: Complex64) -> Complex64 {
    // With v = iz, √(1 − v) and √(1 + v).
    if z.re.is_nan() || z.im.is_nan() {
        if z.im == 0.0 {
            return Complex64::new(f64::NAN, z.im);
        }
        return Complex64::new(
            if z.re.is_infinite() || z.im.is_infinite() {
                f64::INFINITY.copysign(z.re)
            } else {
                f64::NAN
            },
            f64::NAN,
        );
    }
    if huge(z) {
        let re = log(Complex64::new(z.re.abs(), z.im.abs())).re + LN_2;
        return Complex64::new(re.copysign(z.re), z.im.atan2(z.re.abs()));
    }
    let (minus, plus) = roots(times_i(z));
    // asin v = atan(x / Re(√(1−v) √(1+v))) + i asinh(Im(√(1−v)* √(1+v))).
    let tangent = minus.re * plus.re - minus.im * plus.im;
    let imaginary = z.im.atan2(tangent);
    let real = (minus.re * plus.im - minus.im * plus.re).asinh();
    Complex64::new(real.copysign(z.re), imaginary)
}

/// The inverse hyperbolic cosine, its cut along the real axis below 1.
#[must_use]
pub fn acosh(z: Complex64) -> Complex64 {
    let w = acos(z);
    if z.re.is_nan() && z.im == 0.0 {
        return Complex64::new(f64::NAN, f64::NAN);
    }
    // ±i acos z, the sign that makes the real part positive.
    if z.im.is_sign_negative() {
        Complex64::new(w.im, -w.re)
    } else {
        Complex64::new(-w.im, w.re)
    }
}

/// The inverse hyperbolic tangent, its cuts outside `(−1, 1)` on the real axis.
#[must_use]
pub fn atanh(z: Complex64) -> Complex64 {
    let (x, y) = (z.re.abs(), z.im.abs());
    let (re, im) = if x.is_nan() || y.is_nan() {
        if x.is_infinite() || y.is_infinite() {
            (0.0, if y.is_infinite() { FRAC_PI_2 } else { f64::NAN })
        } else {
            (if x == 0.0 { 0.0 } else { f64::NAN }, f64::NAN)
        }
    } else if x > 1e100 || y > 1e100 {
        // Re(1/z), without overflow.
        let re = if x.is_infinite() || y.is_infinite() {
            0.0
        } else if x > y {
            (1.0 / x) / (1.0 + (y / x) * (y / x))
        } else {
            (x / y) / y / (1.0 + (x / y) * (x / y))
        };
        (re, FRAC_PI_2)
    } else if x == 1.0 && y < 1e-100 {
        // Where (1 − x)² + y² would underflow.
        let re = if y == 0.0 {
            f64::INFINITY
        } else {
            0.5 * (LN_2 - y.ln())
        };
        let im = if y == 0.0 {
            0.0
        } else {
            0.5 * FRAC_PI_2 + 0.25 * y
        };
        (re, im)
    } else {
        let gap = 1.0 - x;
        let re = 0.25 * (4.0 * x / (gap * gap + y * y)).ln_1p();
        let im = 0.5 * (2.0 * y).atan2(gap * (1.0 + x) - y * y);
        (re, im)
    };
    Complex64::new(re.copysign(z.re), im.copysign(z.im))
}

/// The arctangent, its cuts outside `(−i, i)` on the imaginary axis.
#[must_use]
pub fn atan(z: Complex64) -> Complex64 {
    over_i(atanh(times_i(z)))
}

/// The logistic function `1 / (1 + e^−z)`.
#[must_use]
pub fn logistic(z: Complex64) -> Complex64 {
    if z.re < 0.0 {
        let e = exp(z);
        e / (e + 1.0)
    } else {
        quotient(Complex64::new(1.0, 0.0), exp(-z) + 1.0)
    }
}
