//! Elementwise functions that are made of others.

use crate::{
    array::{Array, DType, Operand, attempt, broadcast_shapes, promoted},
    trace::{bind, op::Unary},
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
        low.maximum(self).minimum(&*high)
    }

    /// Is each element +∞?
    #[track_caller]
    pub fn isposinf(&self) -> Array {
        self.eq(f64::INFINITY)
    }

    /// Is each element −∞?
    #[track_caller]
    pub fn isneginf(&self) -> Array {
        self.eq(f64::NEG_INFINITY)
    }

    /// Is the imaginary part of each element zero?
    #[track_caller]
    pub fn isreal(&self) -> Array {
        self.imag().eq(0)
    }

    /// Has each element an imaginary part?
    #[track_caller]
    pub fn iscomplex(&self) -> Array {
        self.imag().ne(0)
    }

    /// The elements as truth values: is each not zero?
    #[track_caller]
    pub(crate) fn truth(&self) -> Array {
        match self.dtype() {
            Ok(DType::Bool) | Err(_) => self.clone(),
            Ok(_) => self.ne(0),
        }
    }

    /// Are both true (not zero)?
    #[track_caller]
    pub fn logical_and(&self, other: impl Operand) -> Array {
        self.truth() & other.operand(self).truth()
    }

    /// Is one of them true (not zero)?
    #[track_caller]
    pub fn logical_or(&self, other: impl Operand) -> Array {
        self.truth() | other.operand(self).truth()
    }

    /// Is just one of them true (not zero)?
    #[track_caller]
    pub fn logical_xor(&self, other: impl Operand) -> Array {
        self.truth() ^ other.operand(self).truth()
    }

    /// Is each false (zero)?
    #[track_caller]
    pub fn logical_not(&self) -> Array {
        !self.truth()
    }

    /// Is each within `atol + rtol·|other|` of the other's? `jnp.isclose`, whose defaults are 10⁻⁵ and 10⁻⁸. Equal infinities are
    /// close; NaN is close to nothing, unless `equal_nan` and the other is NaN too.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1f32, f32::NAN]);
    /// assert_eq!(x.isclose(&(&x + 1e-7), 1e-5, 1e-8, false).to_vec::<bool>().unwrap(), [true, false]);
    /// ```
    #[track_caller]
    pub fn isclose(&self, other: impl Operand, rtol: f64, atol: f64, equal_nan: bool) -> Array {
        let other = other.operand(self);
        attempt(|| {
            let (x, y) = promoted(self, &other)?;
            if !x.dtype()?.is_inexact() {
                // Integers are compared as floats, whose differences do not wrap.
                let (x, y) = (x.astype(DType::F64), y.astype(DType::F64));
                return Ok((&x - &y).abs().le(y.abs() * rtol + atol));
            }
            let near = (&x - &y).abs().le(y.abs() * rtol + atol);
            let finite = x.is_finite() & y.is_finite();
            let close = finite.select(near, x.eq(&y));
            Ok(if equal_nan {
                close | (x.is_nan() & y.is_nan())
            } else {
                close
            })
        })
    }

    /// Is every element close to the other's? See [`Array::isclose`].
    #[track_caller]
    pub fn allclose(&self, other: impl Operand, rtol: f64, atol: f64, equal_nan: bool) -> Array {
        self.isclose(other, rtol, atol, equal_nan).all(())
    }

    /// Have both the same shape and equal elements? NaN equals nothing.
    #[track_caller]
    pub fn array_equal(&self, other: &Array) -> Array {
        attempt(|| {
            let (a, b) = (self.aval()?, other.aval()?);
            if a.shape != b.shape {
                return Ok(Array::scalar(false));
            }
            Ok(self.eq(other).all(()))
        })
    }

    /// Do both broadcast to one shape with equal elements?
    #[track_caller]
    pub fn array_equiv(&self, other: &Array) -> Array {
        attempt(|| {
            let (a, b) = (self.aval()?, other.aval()?);
            if broadcast_shapes(&a.shape, &b.shape).is_none() {
                return Ok(Array::scalar(false));
            }
            Ok(self.eq(other).all(()))
        })
    }
}
