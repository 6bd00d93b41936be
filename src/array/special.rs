//! Special functions of several numbers, as `jax.scipy.special` has them.

use super::{Array, Operand, operators::of_floats};
use crate::trace::op::{Binary, Special};

impl Array {
    /// The regularised lower incomplete gamma function `P(self, x)`: `jax.scipy.special.gammainc`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let p = Array::scalar(1f64).igamma(2.0).item::<f64>().unwrap();
    /// assert!((p - (1.0 - (-2f64).exp())).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn igamma(&self, x: impl Operand) -> Array {
        of_floats(Binary::Igamma, &[self, &x.operand(self)])
    }

    /// The regularised upper incomplete gamma function `Q(self, x) = 1 − P(self, x)`: `jax.scipy.special.gammaincc`.
    #[track_caller]
    pub fn igammac(&self, x: impl Operand) -> Array {
        of_floats(Binary::Igammac, &[self, &x.operand(self)])
    }

    /// The Hurwitz zeta function `ζ(self, q)`, for exponents above 1.
    #[track_caller]
    pub fn zeta(&self, q: impl Operand) -> Array {
        of_floats(Special::Zeta, &[self, &q.operand(self)])
    }

    /// The `n`-th derivative of [`Array::digamma`] at the elements; NaN unless `n` is a natural number.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::scalar(1f64).polygamma(1).item::<f64>().unwrap();
    /// assert!((x - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
    /// ```
    #[track_caller]
    pub fn polygamma(&self, n: impl Operand) -> Array {
        of_floats(Special::Polygamma, &[&n.operand(self), self])
    }

    /// The regularised incomplete beta function `Iₓ(a, b)` at the elements `x`: `jax.scipy.special.betainc(a, b, x)`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::scalar(0.25f64).betainc(1.0, 1.0).item::<f64>().unwrap();
    /// assert!((x - 0.25).abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn betainc(&self, a: impl Operand, b: impl Operand) -> Array {
        let (a, b) = (a.operand(self), b.operand(self));
        of_floats(Special::RegularizedIncompleteBeta, &[&a, &b, self])
    }
}
