//! Exact exponents.

use std::fmt;

/// A fraction in lowest terms.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: i64,
    denominator: i64,
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Ratio {
    /// No power at all.
    pub const ZERO: Ratio = Ratio::integer(0);
    /// The first power.
    pub const ONE: Ratio = Ratio::integer(1);
    /// The square root.
    pub const HALF: Ratio = Ratio {
        numerator: 1,
        denominator: 2,
    };

    /// A whole number.
    pub const fn integer(n: i32) -> Ratio {
        Ratio {
            numerator: n as i64,
            denominator: 1,
        }
    }

    /// `numerator / denominator`; `None` for a denominator of 0 and for numbers beyond `i32`.
    pub fn new(numerator: i64, denominator: i64) -> Option<Ratio> {
        let g = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let g = i64::try_from(g).ok().filter(|g| *g != 0)?;
        if denominator == 0 {
            return None;
        }
        let sign = denominator.signum();
        let (n, d) = (
            numerator.checked_div(g)?.checked_mul(sign)?,
            denominator.checked_div(g)?.checked_mul(sign)?,
        );
        let fits = i32::try_from(n).is_ok() && i32::try_from(d).is_ok();
        fits.then_some(Ratio {
            numerator: n,
            denominator: d,
        })
    }

    /// The fraction of a small denominator that a number is, to within rounding.
    pub fn from_f64(x: f64) -> Option<Ratio> {
        (1..=24).find_map(|d| {
            let n = x * f64::from(d);
            let near = (n - n.round()).abs() <= 1e-6 * n.abs().max(1e-3);
            (near && n.abs() < 1e6)
                .then(|| Ratio::new(n.round() as i64, i64::from(d)))
                .flatten()
        })
    }

    /// The sum; `None` beyond `i32`.
    pub fn plus(self, other: Ratio) -> Option<Ratio> {
        Ratio::new(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )
    }

    /// The product; `None` beyond `i32`.
    pub fn times(self, other: Ratio) -> Option<Ratio> {
        Ratio::new(
            self.numerator * other.numerator,
            self.denominator * other.denominator,
        )
    }

    /// As a number.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// The number, if it is a whole one.
    pub fn as_integer(self) -> Option<i32> {
        i32::try_from(self.numerator)
            .ok()
            .filter(|_| self.denominator == 1)
    }

    pub(super) fn is_negative(self) -> bool {
        self.numerator < 0
    }
}

/// `-2` or `(1/2)`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            d => write!(f, "({}/{d})", self.numerator),
        }
    }
}
impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
