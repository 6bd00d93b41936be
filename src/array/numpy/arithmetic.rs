//! Elementwise arithmetic that is made of primitives: powers, remainders, rounding, logarithms.
//!
//! Formulas, conventions at zero and at infinities, and derivatives are those of `jax.numpy`.

use crate::{
    array::{
        Array, DType, Operand, Repr, Scalar, attempt, broadcasting, harmonise, inexact_together,
        of_floats, of_numbers,
    },
    error::{Error, Result},
    trace::{
        bind,
        op::{Binary, BitcastConvertType, RoundingMethod, Unary},
    },
    transform::{
        named::{WithRule, with_rule},
        while_loop,
    },
};
use num_complex::Complex;

/// A concrete integer without axes, which `pow` takes as a fixed exponent.
fn fixed_exponent(y: &Array) -> Option<i32> {
    let Repr::Dense(b) = &y.0 else { return None };
    match (b.shape().is_empty() && b.dtype().is_integer(), b.item()) {
        (true, Some(Scalar::Int(i))) => i32::try_from(i).ok(),
        _ => None,
    }
}

/// `x` to the power of `y`, as `jnp.power`: integers stay integers, and a fixed integer exponent becomes `integer_pow`.
#[track_caller]
pub(crate) fn power(x: &Array, y: &Array) -> Array {
    if let Some(y) = fixed_exponent(y) {
        return match x.dtype() {
            Ok(DType::Bool) => x.astype(DType::I32).integer_pow(y),
            _ => x.integer_pow(y),
        };
    }
    let exact = |x: &Array| x.dtype().is_ok_and(|d| !d.is_inexact());
    if exact(x) && exact(y) {
        return attempt(|| power_of_integers(x, y));
    }
    of_floats(Binary::Pow, &[x, y])
}

/// By squaring: six steps, for exponents below 64. Negative exponents give what their lowest bits do.
fn power_of_integers(x: &Array, y: &Array) -> Result<Array> {
    // `1 + 0·(x + y)` is a one of the right shape and type.
    let joint = of_numbers(Binary::Add, x, y);
    let a = joint.aval()?;
    if a.dtype.is_inexact() {
        return Ok(of_floats(Binary::Pow, &[x, y]));
    }
    let mut base = x.broadcast_to(&a.shape).convert_weak(a.dtype, a.weak_type);
    let mut exponent = y.broadcast_to(&a.shape).convert_weak(a.dtype, a.weak_type);
    let mut result = Array::ones_like(&joint).convert_weak(a.dtype, a.weak_type);
    let one = Array::from_scalar(Scalar::Int(1), a.dtype, a.weak_type);
    for _ in 0..6 {
        let odd = (&exponent & &one).ne(0);
        result = odd.select(&result * &base, &result);
        base = &base * &base;
        exponent = broadcasting(Binary::ShiftRightLogical, &exponent, &one);
    }
    Ok(result)
}

/// The operands in one element type: the joint one, `i32` for `bool`.
fn numbers(x: &Array, y: &Array) -> Result<(Array, Array)> {
    let (x, y) = crate::array::promoted(x, y)?;
    Ok(match x.dtype()? {
        DType::Bool => (x.astype(DType::I32), y.astype(DType::I32)),
        _ => (x, y),
    })
}

/// Quotient rounded down, and remainder with the divisor's sign, of floats.
fn float_divmod(x: &Array, y: &Array) -> (Array, Array) {
    let r = x % y;
    let q = (x - &r) / y;
    let other_sign = r.ne(0) & y.sign().ne(r.sign());
    let q = other_sign.select(&q - 1, &q);
    let r = other_sign.select(&r + y, &r);
    (q.rint(), r)
}

fn exactly(x: &Array) -> bool {
    x.dtype().is_ok_and(|d| !d.is_inexact())
}

/// `logaddexp` of real numbers of one shape.
const LOGADDEXP: WithRule = WithRule {
    name: "logaddexp",
    jvp: "_logaddexp_jvp",
    f: logaddexp,
    smooth: logaddexp,
    rule: |x, t| {
        let ([x, y], [dx, dy]) = (x, t) else {
            return Err(Error::internal("logaddexp takes two arrays"));
        };
        // Infinities cancel: their differences would be NaN.
        let finite = |x: &Array| x.eq(f64::INFINITY).select(0.0, x);
        let sum = finite(&logaddexp(&[x.clone(), y.clone()])?);
        let part = |x: &Array, t: &Array| t * (finite(x) - &sum).exp();
        Ok(match (dx.is_symbolic_zero(), dy.is_symbolic_zero()) {
            (false, true) => part(x, dx),
            (true, false) => part(y, dy),
            _ => part(x, dx) + part(y, dy),
        })
    },
    jit: false,
};

fn logaddexp(x: &[Array]) -> Result<Array> {
    let [x, y] = x else {
        return Err(Error::internal("logaddexp takes two arrays"));
    };
    let top = x.maximum(y);
    let gap = x - y;
    let differ = gap.is_nan();
    let plain = x + y;
    let sum = top + (-gap.abs()).exp().log1p();
    // Equal infinities have no difference.
    Ok(differ.select(plain, sum))
}

/// The refusal of complex numbers by a function that orders its arguments.
fn ordered(name: &str, x: &[&Array]) -> Result<()> {
    for x in x {
        let a = x.aval()?;
        if a.dtype.is_complex() {
            return Err(Error::dtype(format!(
                "`{name}` of {a}: it takes real numbers"
            )));
        }
    }
    Ok(())
}

macro_rules! rounding_methods {
    ($($(#[$doc:meta])* $name:ident = $op:expr;)*) => {
        impl Array {$(
            $(#[$doc])*
            /// Integers are their own.
            #[track_caller]
            pub fn $name(&self) -> Array {
                if exactly(self) { self.clone() } else { bind($op, &[self]) }
            }
        )*}
    };
}
rounding_methods! {
    /// The largest integer that is not larger.
    floor = Unary::Floor;
    /// The smallest integer that is not smaller.
    ceil = Unary::Ceil;
}

impl Array {
    /// The absolute value; real for complex numbers.
    #[track_caller]
    pub fn abs(&self) -> Array {
        match self.dtype() {
            Ok(d) if d == DType::Bool || d.is_unsigned() => self.clone(),
            _ => bind(Unary::Abs, &[self]),
        }
    }

    /// The square; of `bool`, `i32`.
    #[track_caller]
    pub fn square(&self) -> Array {
        match self.dtype() {
            Ok(DType::Bool) => bind(Unary::Square, &[&self.astype(DType::I32)]),
            _ => bind(Unary::Square, &[self]),
        }
    }

    /// The nearest integer; halfway, the even one. Integers become floats first.
    #[track_caller]
    pub fn rint(&self) -> Array {
        attempt(|| {
            let x = self.inexact();
            if x.dtype()?.is_complex() {
                return Ok(bind(Binary::Complex, &[&x.real().rint(), &x.imag().rint()]));
            }
            Ok(bind(Unary::Round(RoundingMethod::ToNearestEven), &[&x]))
        })
    }

    /// Rounded to so many decimals (negative: to tens, hundreds, …); halfway, to the even one.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([0.5f32, 1.5, 2.345]);
    /// assert_eq!(x.round(0).to_vec::<f32>().unwrap(), [0.0, 2.0, 2.0]);
    /// assert_eq!(x.round(2).to_vec::<f32>().unwrap(), [0.5, 1.5, 2.34]);
    /// ```
    #[track_caller]
    pub fn round(&self, decimals: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            if a.dtype == DType::Bool {
                return Err(Error::dtype("`round` of bool: there is nothing to round"));
            }
            if a.dtype.is_integer() {
                if decimals >= 0 {
                    return Ok(self.clone());
                }
                let tens = self.astype(DType::F64) * 10f64.powi(decimals);
                return Ok((tens.rint() * 10f64.powi(-decimals)).astype(a.dtype));
            }
            if decimals == 0 {
                return Ok(self.rint());
            }
            // Half precision has too few digits to scale in.
            let wide = match a.dtype {
                DType::F16 | DType::BF16 => self.astype(DType::F32),
                _ => self.clone(),
            };
            let factor = 10f64.powi(decimals);
            Ok(((wide * factor).rint() / factor).convert_weak(a.dtype, a.weak_type))
        })
    }

    /// The integer next to it on the side of zero. Integers are their own.
    #[track_caller]
    pub fn trunc(&self) -> Array {
        attempt(|| {
            ordered("trunc", &[self])?;
            if exactly(self) {
                return Ok(self.clone());
            }
            Ok(self.lt(0).select(self.ceil(), self.floor()))
        })
    }

    /// The fractional and the whole part, both with the sign of the number.
    #[track_caller]
    pub fn modf(&self) -> (Array, Array) {
        let x = self.inexact();
        let whole = x.ge(0).select(x.floor(), x.ceil());
        (&x - &whole, whole)
    }

    /// `self` to the power of `other`, in floating point whatever the operands are.
    #[track_caller]
    pub fn float_power(&self, other: impl Operand) -> Array {
        of_floats(Binary::Pow, &[self, &other.operand(self)])
    }

    /// The remainder with the sign of `self`, as C's `%`. By the integer 0, 0.
    #[track_caller]
    pub fn fmod(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            ordered("fmod", &[self, &other])?;
            let (x, y) = numbers(self, &other)?;
            let y = if exactly(&y) {
                y.eq(0).select(1, &y)
            } else {
                y
            };
            Ok(broadcasting(Binary::Rem, &x, &y))
        })
    }

    /// The remainder with the divisor's sign, as Python's `%`: `jnp.mod`. By the integer 0, 0.
    #[track_caller]
    pub fn modulo(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            ordered("modulo", &[self, &other])?;
            let (x, y) = numbers(self, &other)?;
            let y = if exactly(&y) {
                y.eq(0).select(1, &y)
            } else {
                y
            };
            let r = broadcasting(Binary::Rem, &x, &y);
            let adjust = r.ne(0) & (r.lt(0) ^ y.lt(0));
            Ok(adjust.select(&r + &y, &r))
        })
    }

    /// The same as [`Array::modulo`].
    #[track_caller]
    pub fn remainder(&self, other: impl Operand) -> Array {
        self.modulo(other)
    }

    /// The quotient rounded down.
    #[track_caller]
    pub fn floor_divide(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            ordered("floor_divide", &[self, &other])?;
            let (x, y) = numbers(self, &other)?;
            if !exactly(&x) {
                return Ok(float_divmod(&x, &y).0);
            }
            let q = broadcasting(Binary::Div, &x, &y);
            if x.dtype()?.is_unsigned() {
                return Ok(q);
            }
            let r = broadcasting(Binary::Rem, &x, &y);
            let down = x.sign().ne(y.sign()) & r.ne(0);
            Ok(down.select(&q - 1, &q))
        })
    }

    /// [`Array::floor_divide`] and [`Array::modulo`].
    #[track_caller]
    pub fn divmod(&self, other: impl Operand) -> (Array, Array) {
        let other = other.operand(self).into_owned();
        match numbers(self, &other) {
            Ok((x, y)) if !exactly(&x) && ordered("divmod", &[&x]).is_ok() => float_divmod(&x, &y),
            _ => (self.floor_divide(&other), self.modulo(&other)),
        }
    }

    /// The angle of the point (`other`, `self`), in radians.
    #[track_caller]
    pub fn arctan2(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        let complex = |x: &Array| x.dtype().is_ok_and(DType::is_complex);
        if complex(self) || complex(&other) {
            // −i·log((x + i·y) / √(x² + y²))
            let (x, y) = (&*other, self);
            let i = Complex::new(0.0, 1.0);
            return ((x + y * i) / (x.square() + y.square()).sqrt()).log() * -i;
        }
        of_floats(Binary::Atan2, &[self, &other])
    }

    /// The binary logarithm.
    #[track_caller]
    pub fn log2(&self) -> Array {
        self.inexact().strong().log() / std::f64::consts::LN_2
    }

    /// The decimal logarithm.
    #[track_caller]
    pub fn log10(&self) -> Array {
        self.inexact().strong().log() / std::f64::consts::LN_10
    }

    /// `log(exp(x) + exp(y))` without overflow.
    #[track_caller]
    pub fn logaddexp(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            let both = inexact_together(&[self, &other])?;
            let [x, y] = &both[..] else {
                return Err(Error::internal("logaddexp takes two arrays"));
            };
            if x.dtype()?.is_complex() {
                let larger = x.real().gt(y.real());
                let (top, low) = (larger.select(x, y), larger.select(y, x));
                let sum = &top + (low - &top).exp().log1p();
                // The imaginary part between −π and π.
                let turns = (sum.imag() / std::f64::consts::TAU).rint();
                let angle = sum.imag() - turns * std::f64::consts::TAU;
                return Ok(bind(Binary::Complex, &[&sum.real(), &angle]));
            }
            let shaped = harmonise("logaddexp", &[x, y], true)?;
            Ok(with_rule(&shaped.iter().collect::<Vec<_>>(), &LOGADDEXP))
        })
    }

    /// `log2(2ˣ + 2ʸ)` without overflow.
    #[track_caller]
    pub fn logaddexp2(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        let ln2 = std::f64::consts::LN_2;
        attempt(|| {
            ordered("logaddexp2", &[self, &other])?;
            let both = inexact_together(&[self, &other])?;
            let [x, y] = &both[..] else {
                return Err(Error::internal("logaddexp2 takes two arrays"));
            };
            let gap = x - y;
            let sum = x.maximum(y) + (-gap.abs()).exp2().log1p() / ln2;
            Ok(gap.is_nan().select(x + y, sum))
        })
    }

    /// `1 / x`, of floats.
    #[track_caller]
    pub fn reciprocal(&self) -> Array {
        self.inexact().integer_pow(-1)
    }

    /// 0 below zero, 1 above, and `at_zero` at zero.
    #[track_caller]
    pub fn heaviside(&self, at_zero: impl Operand) -> Array {
        let other = at_zero.operand(self);
        attempt(|| {
            ordered("heaviside", &[self, &other])?;
            let both = inexact_together(&[self, &other])?;
            let [x, y] = &both[..] else {
                return Err(Error::internal("heaviside takes two arrays"));
            };
            // NaN is neither below nor above.
            let steps = x.gt(0).select(1, x);
            let steps = x.lt(0).select(0, steps);
            Ok(x.eq(0).select(y, steps))
        })
    }

    /// `sqrt(x² + y²)`, without overflow between.
    #[track_caller]
    pub fn hypot(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            ordered("hypot", &[self, &other])?;
            let both = inexact_together(&[self, &other])?;
            let [x, y] = &both[..] else {
                return Err(Error::internal("hypot takes two arrays"));
            };
            let (x, y) = (x.abs(), y.abs());
            let infinite = x.is_inf() | y.is_inf();
            let (low, high) = (x.minimum(&y), x.maximum(&y));
            let divisor = high.eq(0).select(1, &high);
            let long = high
                .eq(0)
                .select(&high, &high * ((low / divisor).square() + 1).sqrt());
            Ok(infinite.select(f64::INFINITY, long))
        })
    }

    /// `sin(πx) / (πx)`, 1 at zero.
    #[track_caller]
    pub fn sinc(&self) -> Array {
        let x = self.inexact();
        let zero = x.eq(0);
        let angle = &x * std::f64::consts::PI;
        // At zero the first terms of its series, whose derivatives are the function's.
        let near = &angle.square() * (angle.square() / 120 - 1.0 / 6.0) + 1;
        let safe = zero.select(1, &angle);
        zero.select(near, safe.sin() / &safe)
    }

    /// Degrees in radians.
    #[track_caller]
    pub fn deg2rad(&self) -> Array {
        self.inexact() * (std::f64::consts::PI / 180.0)
    }

    /// Degrees in radians: the same as [`Array::deg2rad`].
    #[track_caller]
    pub fn radians(&self) -> Array {
        self.deg2rad()
    }

    /// Radians in degrees.
    #[track_caller]
    pub fn rad2deg(&self) -> Array {
        self.inexact() * (180.0 / std::f64::consts::PI)
    }

    /// Radians in degrees: the same as [`Array::rad2deg`].
    #[track_caller]
    pub fn degrees(&self) -> Array {
        self.rad2deg()
    }

    /// The absolute value as a float.
    #[track_caller]
    pub fn fabs(&self) -> Array {
        attempt(|| {
            ordered("fabs", &[self])?;
            Ok(self.inexact().abs())
        })
    }

    /// The modified Bessel function of order 0.
    #[track_caller]
    pub fn i0(&self) -> Array {
        let x = self.inexact();
        x.abs().exp() * x.bessel_i0e()
    }

    /// The angle of complex numbers, in radians; of real ones, 0 or π.
    #[track_caller]
    pub fn angle(&self) -> Array {
        let x = self.inexact();
        match x.dtype() {
            Ok(d) if d.is_complex() => x.imag().arctan2(x.real()),
            _ => Array::zeros_like(&x).arctan2(&x),
        }
    }

    /// The absolute value of `self` with the sign of `other`.
    #[track_caller]
    pub fn copysign(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            ordered("copysign", &[self, &other])?;
            let both = inexact_together(&[self, &other])?;
            let [x, y] = &both[..] else {
                return Err(Error::internal("copysign takes two arrays"));
            };
            let size = x.abs();
            Ok(y.signbit().select(-&size, &size))
        })
    }

    /// Is the sign bit set? True for −0 as for negative numbers.
    #[track_caller]
    pub fn signbit(&self) -> Array {
        attempt(|| {
            ordered("signbit", &[self])?;
            let new_dtype = match self.dtype()? {
                DType::F16 | DType::BF16 => DType::I16,
                DType::F32 => DType::I32,
                DType::F64 => DType::I64,
                DType::Bool => return Ok(Array::full(self.shape(), false, DType::Bool)),
                _ => return Ok(self.lt(0)),
            };
            Ok(bind(BitcastConvertType { new_dtype }, &[&self.strong()]).lt(0))
        })
    }

    /// The next number after `self` towards `other` that the element type has.
    #[track_caller]
    pub fn nextafter(&self, other: impl Operand) -> Array {
        of_floats(Binary::Nextafter, &[self, &other.operand(self)])
    }

    /// The distance to the next number that the element type has.
    #[track_caller]
    pub fn spacing(&self) -> Array {
        let x = self.inexact();
        let away = x.abs().nextafter(f64::INFINITY) - x.abs();
        let away = x.is_finite().select(away, f64::NAN);
        x.lt(0).select(-&away, &away)
    }

    /// The larger of two elements; where one is NaN, the other.
    #[track_caller]
    pub fn fmax(&self, other: impl Operand) -> Array {
        let y = other.operand(self);
        (self.gt(&*y) | y.is_nan()).select(self, &*y)
    }

    /// The smaller of two elements; where one is NaN, the other.
    #[track_caller]
    pub fn fmin(&self, other: impl Operand) -> Array {
        let y = other.operand(self);
        (self.lt(&*y) | y.is_nan()).select(self, &*y)
    }

    /// `self · 2ⁿ`, exactly where the result has a place in the element type.
    #[track_caller]
    pub fn ldexp(&self, n: &Array) -> Array {
        attempt(|| {
            ordered("ldexp", &[self, n])?;
            let x = self.inexact();
            // A power of two that is itself too large or too small is made in three.
            let n = n.inexact().convert_weak(x.dtype()?, false);
            let most = if x.dtype()? == DType::F64 {
                1000.0
            } else {
                120.0
            };
            let n = match x.dtype()? {
                DType::F16 | DType::BF16 => n.astype(DType::F32),
                _ => n,
            };
            let first = n.clip(-most, most);
            let second = (&n - &first).clip(-most, most);
            let third = (&n - &first - &second).clip(-most, most);
            let scaled = ((&x * first.exp2()) * second.exp2()) * third.exp2();
            Ok(scaled.astype(x.dtype()?))
        })
    }

    /// The mantissa, between ½ and 1 in size, and the exponent (`i32`) with `self = mantissa · 2^exponent`.
    #[track_caller]
    pub fn frexp(&self) -> (Array, Array) {
        let both = || -> Result<(Array, Array)> {
            ordered("frexp", &[self])?;
            let x = self.inexact().strong();
            let d = x.dtype()?;
            let wide = match d {
                DType::F64 => x.clone(),
                _ => x.astype(DType::F32),
            };
            let (bits, mantissa_bits, bias, lift) = match d {
                DType::F64 => (DType::I64, 52, 1022, 2f64.powi(54)),
                _ => (DType::I32, 23, 126, 2f64.powi(25)),
            };
            // Subnormal numbers are made normal first.
            let least = if d == DType::F64 {
                f64::MIN_POSITIVE
            } else {
                f64::from(f32::MIN_POSITIVE)
            };
            let tiny = wide.abs().lt(least) & wide.ne(0);
            let normal = tiny.select(&wide * lift, &wide);
            let extra = lift.log2() as i32;
            let word = bind(BitcastConvertType { new_dtype: bits }, &[&normal]);
            let mask = (1i64 << (if d == DType::F64 { 11 } else { 8 })) - 1;
            let exponent = ((&word >> mantissa_bits) & mask).astype(DType::I32) - bias;
            let cleared = &word & !(mask << mantissa_bits);
            let half = cleared | (i64::from(bias) << mantissa_bits);
            let mantissa = bind(
                BitcastConvertType {
                    new_dtype: wide.dtype()?,
                },
                &[&half],
            );
            let special = wide.eq(0) | !wide.is_finite();
            let mantissa = special.select(&wide, mantissa).astype(d);
            let exponent = tiny.select(&exponent - extra, &exponent);
            Ok((mantissa, special.select(0, exponent)))
        };
        match both() {
            Ok(pair) => pair,
            Err(e) => {
                let e = crate::array::fail(e);
                (e.clone(), e)
            }
        }
    }

    /// NaN made `nan`, ∞ the largest and −∞ the smallest finite number. Integers are their own.
    #[track_caller]
    pub fn nan_to_num(&self, nan: f64) -> Array {
        self.nan_to_num_with(nan, None, None)
    }

    /// As [`Array::nan_to_num`], with numbers for the infinities.
    #[track_caller]
    pub fn nan_to_num_with(
        &self,
        nan: f64,
        positive: impl Into<Option<f64>>,
        negative: impl Into<Option<f64>>,
    ) -> Array {
        let (positive, negative) = (positive.into(), negative.into());
        attempt(|| {
            if exactly(self) {
                return Ok(self.clone());
            }
            let x = self.strong();
            let d = x.dtype()?;
            if d.is_complex() {
                let part = |x: &Array| x.nan_to_num_with(nan, positive, negative);
                return Ok(bind(Binary::Complex, &[&part(&x.real()), &part(&x.imag())]));
            }
            let (low, high) = d.finite_range();
            let y = x.is_nan().select(nan, &x);
            let y = x.eq(f64::INFINITY).select(positive.unwrap_or(high), &y);
            Ok(x.eq(f64::NEG_INFINITY).select(negative.unwrap_or(low), &y))
        })
    }

    /// The greatest common divisor of integers; of 0 and 0, 0.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// assert_eq!(Array::from([12i32, -18]).gcd(8).to_vec::<i32>().unwrap(), [4, 2]);
    /// ```
    #[track_caller]
    pub fn gcd(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            let (x, y) = integers("gcd", self, &other)?;
            let step = |(a, b): &(Array, Array)| {
                let zero = b.eq(0);
                let next = a.fmod(zero.select(1, b));
                (zero.select(a, b), zero.select(b, next))
            };
            let (a, _) = while_loop(|(_, b)| b.ne(0).any(()), step, &(x.abs(), y.abs()))?;
            Ok(a)
        })
    }

    /// The least common multiple of integers; with 0, 0.
    #[track_caller]
    pub fn lcm(&self, other: impl Operand) -> Array {
        let other = other.operand(self);
        attempt(|| {
            let (x, y) = integers("lcm", self, &other)?;
            let (x, y) = (x.abs(), y.abs());
            let divisor = x.gcd(&y);
            let divisor = divisor.eq(0).select(1, &divisor);
            Ok(broadcasting(Binary::Div, &x, &divisor) * &y)
        })
    }
}

/// Integers of one shape and type.
fn integers(name: &str, x: &Array, y: &Array) -> Result<(Array, Array)> {
    let (x, y) = crate::array::promoted(x, y)?;
    let (a, b) = (x.aval()?, y.aval()?);
    if !a.dtype.is_integer() {
        return Err(Error::dtype(format!(
            "`{name}` takes integers, not {a} and {b}"
        )));
    }
    let shape = crate::array::broadcast_shapes(&a.shape, &b.shape)
        .ok_or_else(|| Error::shape(format!("`{name}`: {a} and {b} do not broadcast")))?;
    Ok((x.broadcast_to(&shape), y.broadcast_to(&shape)))
}
