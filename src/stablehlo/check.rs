//! What test programs expect of what they compute.

use crate::{
    array::{Array, DType, Scalar, Stored, dtype::with_dtype},
    error::{Error, Result},
};
use half::{bf16, f16};
use num_complex::Complex;

/// How close two arrays are expected to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Expect {
    /// The same numbers; zeros are equal whatever their sign, and a NaN is equal to a NaN.
    Equal,
    /// So many units in the last place apart.
    Close {
        /// At least.
        min_ulp: u64,
        /// At most.
        max_ulp: u64,
    },
    /// At most so far apart.
    AlmostEqual {
        /// How far.
        tolerance: f64,
    },
}

/// One expectation of a program.
#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    /// How close the arrays are to be.
    pub expect: Expect,
    /// The line of the text that says so.
    pub line: usize,
}

/// The first element that is not as expected.
#[derive(Clone, PartialEq, Debug)]
pub struct Mismatch {
    /// Its row-major place.
    pub place: usize,
    /// What was computed.
    pub actual: Scalar,
    /// What was expected.
    pub expected: Scalar,
    /// How many elements are not as expected.
    pub count: usize,
}

/// The distance of two numbers in units in the last place, and of two numbers as such.
trait Distance: Stored {
    fn ulp(self, other: Self) -> Option<u64>;
    fn far(self, other: Self) -> f64;
}

macro_rules! floats {
    ($($T:ty, $bits:ty, $wide:expr;)*) => {$(impl Distance for $T {
        fn ulp(self, other: Self) -> Option<u64> {
            if self.is_nan() && other.is_nan() || self.to_bits() == other.to_bits() {
                return Some(0);
            }
            if !self.is_finite() || !other.is_finite() {
                return Some(u64::MAX);
            }
            let sign = 1 << (<$bits>::BITS - 1);
            let from_zero = |x: $T| u64::from(x.to_bits() & !sign);
            let (a, b) = (from_zero(self), from_zero(other));
            let across = (self.to_bits() ^ other.to_bits()) & sign != 0;
            Some(if across { a.saturating_add(b) } else { a.abs_diff(b) })
        }
        fn far(self, other: Self) -> f64 {
            let (a, b): (f64, f64) = ($wide(self), $wide(other));
            if a == b || a.is_nan() && b.is_nan() {
                0.0
            } else if a.is_finite() && b.is_finite() {
                (a - b).abs()
            } else {
                f64::INFINITY
            }
        }
    })*};
}
floats! { f16, u16, f64::from; bf16, u16, f64::from; f32, u32, f64::from; f64, u64, |x| x; }

macro_rules! complex {
    ($($T:ty)*) => {$(impl Distance for Complex<$T> {
        fn ulp(self, other: Self) -> Option<u64> {
            Some(self.re.ulp(other.re)?.max(self.im.ulp(other.im)?))
        }
        fn far(self, other: Self) -> f64 {
            self.re.far(other.re).max(self.im.far(other.im))
        }
    })*};
}
complex!(f32 f64);

macro_rules! exact {
    ($($T:ty)*) => {$(impl Distance for $T {
        fn ulp(self, _: Self) -> Option<u64> {
            None
        }
        fn far(self, other: Self) -> f64 {
            if self == other {
                return 0.0;
            }
            let wide = |x: $T| Into::<Scalar>::into(x).as_f64().unwrap_or(f64::NAN);
            (wide(self) - wide(other)).abs().max(f64::MIN_POSITIVE)
        }
    })*};
}
exact!(bool i8 i16 i32 i64 u8 u16 u32 u64);

impl Check {
    /// Is it as expected? `None` if it is. An error if the arrays differ in shape or element type, or are not such numbers.
    pub fn compare(&self, actual: &Array, expected: &Array) -> Result<Option<Mismatch>> {
        let (a, e) = (actual.aval()?, expected.aval()?);
        if !a.same_type(&e) {
            return Err(Error::shape(format!("{e} is expected, {a} was computed")));
        }
        with_dtype!(a.dtype, T => self.elements(&actual.to_vec::<T>()?, &expected.to_vec::<T>()?, a.dtype))
    }

    fn elements<T: Distance>(
        &self,
        actual: &[T],
        expected: &[T],
        dtype: DType,
    ) -> Result<Option<Mismatch>> {
        let mut first: Option<Mismatch> = None;
        for (place, (a, e)) in actual.iter().zip(expected).enumerate() {
            let fits = match self.expect {
                Expect::Equal => a.far(*e) == 0.0,
                Expect::AlmostEqual { tolerance } => a.far(*e) <= tolerance,
                Expect::Close { min_ulp, max_ulp } => {
                    let ulp = a.ulp(*e).ok_or_else(|| {
                        Error::dtype(format!("{dtype} has no units in the last place"))
                    })?;
                    (min_ulp..=max_ulp).contains(&ulp)
                }
            };
            if fits {
                continue;
            }
            let mismatch = first.get_or_insert_with(|| Mismatch {
                place,
                actual: (*a).into(),
                expected: (*e).into(),
                count: 0,
            });
            mismatch.count += 1;
        }
        Ok(first)
    }
}

impl Expect {
    /// As the text calls it.
    pub fn name(self) -> &'static str {
        match self {
            Expect::Equal => "expect_eq",
            Expect::Close { .. } => "expect_close",
            Expect::AlmostEqual { .. } => "expect_almost_eq",
        }
    }
}
