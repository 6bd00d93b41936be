//! Elementwise functions that are made of others.

use crate::{
    array::{Array, Operand},
    trace::{
        bind,
        op::{Clamp, Unary},
    },
};

impl Array {
    /// Is each element finite?
    #[track_caller]
    pub fn is_finite(&self) -> Array {
        match self.dtype() {
            Ok(d) if !d.is_inexact() => Array::ones_like(self).eq(1),
            Ok(d) if d.is_complex() => self.real().is_finite() & self.imag().is_finite(),
            _ => bind(Unary::IsFinite, &[self]),
        }
    }

    /// Is each element not a number?
    #[track_caller]
    pub fn is_nan(&self) -> Array {
        self.ne(self)
    }

    /// Is each element infinite?
    #[track_caller]
    pub fn is_inf(&self) -> Array {
        self.abs().eq(f64::INFINITY)
    }

    /// Each element, but no less than `low` and no more than `high`.
    #[track_caller]
    pub fn clip(&self, low: impl Operand, high: impl Operand) -> Array {
        let (low, high) = (low.operand(self), high.operand(self));
        if low.ndim() == 0
            && high.ndim() == 0
            && low.dtype().ok() == self.dtype().ok()
            && high.dtype().ok() == self.dtype().ok()
        {
            return bind(Clamp, &[&low, self, &high]);
        }
        self.maximum(&*low).minimum(&*high)
    }

    /// The quotient rounded down.
    #[track_caller]
    pub fn floor_divide(&self, other: impl Operand) -> Array {
        let other = other.operand(self).into_owned();
        let exact = |x: &Array| x.dtype().is_ok_and(|d| !d.is_inexact());
        if exact(self) && exact(&other) {
            let q = crate::array::broadcasting(crate::trace::op::Binary::Div, self, &other);
            let r = self % &other;
            let adjust = r.ne(0) & (r.lt(0) ^ other.lt(0));
            return adjust.select(&q - 1, &q);
        }
        (self / other).floor()
    }

    /// The remainder with the divisor's sign, as Python's `%`.
    #[track_caller]
    pub fn modulo(&self, other: impl Operand) -> Array {
        let other = other.operand(self).into_owned();
        let r = self % &other;
        let adjust = r.ne(0) & (r.lt(0) ^ other.lt(0));
        adjust.select(&r + &other, &r)
    }

    /// `log(exp(x) + exp(y))` without overflow.
    #[track_caller]
    pub fn logaddexp(&self, other: impl Operand) -> Array {
        let other = other.operand(self).into_owned();
        let top = self.maximum(&other);
        let gap = -(self - &other).abs();
        // Equal infinities have no difference.
        gap.is_nan().select(self + &other, top + gap.exp().log1p())
    }

    /// `sqrt(x² + y²)`.
    #[track_caller]
    pub fn hypot(&self, other: impl Operand) -> Array {
        (self.square() + other.operand(self).square()).sqrt()
    }
}
