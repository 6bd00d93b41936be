//! Reductions that pass over NaN: `nansum` and its kin.

use crate::{
    array::{Array, IntoAxes, Operand, attempt},
    error::Result,
};

impl Array {
    /// The array with `x` in the place of NaN.
    fn without_nan(&self, x: f64) -> Array {
        match self.dtype() {
            Ok(d) if d.is_inexact() => self.is_nan().select(x, self),
            _ => self.clone(),
        }
    }

    /// The sum over axes of what is not NaN.
    #[track_caller]
    pub fn nansum(&self, axes: impl IntoAxes) -> Array {
        self.without_nan(0.0).sum(axes)
    }

    /// The product over axes of what is not NaN.
    #[track_caller]
    pub fn nanprod(&self, axes: impl IntoAxes) -> Array {
        self.without_nan(1.0).prod(axes)
    }

    /// The running sum along an axis, NaN counted as 0.
    #[track_caller]
    pub fn nancumsum(&self, axis: i32) -> Array {
        self.without_nan(0.0).cumsum(axis)
    }

    /// The running product along an axis, NaN counted as 1.
    #[track_caller]
    pub fn nancumprod(&self, axis: i32) -> Array {
        self.without_nan(1.0).cumprod(axis)
    }

    /// The largest element that is not NaN, over axes; NaN where all are.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1f32, f32::NAN, 3.0]);
    /// assert_eq!(x.nanmax(()).item::<f32>().unwrap(), 3.0);
    /// ```
    #[track_caller]
    pub fn nanmax(&self, axes: impl IntoAxes) -> Array {
        self.nan_extremum(axes, f64::NEG_INFINITY, |x, a| x.max(a))
    }

    /// The smallest element that is not NaN, over axes; NaN where all are.
    #[track_caller]
    pub fn nanmin(&self, axes: impl IntoAxes) -> Array {
        self.nan_extremum(axes, f64::INFINITY, |x, a| x.min(a))
    }

    fn nan_extremum(
        &self,
        axes: impl IntoAxes,
        outside: f64,
        reduce: impl Fn(&Array, &crate::Dims) -> Array,
    ) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let axes = axes.axes(a.ndim())?;
            let y = reduce(&self.without_nan(outside), &axes);
            if !a.dtype.is_inexact() {
                return Ok(y);
            }
            Ok(self.is_nan().all(axes).select(f64::NAN, y))
        })
    }

    /// The position of the largest element that is not NaN along an axis, `i32`; −1 where all are.
    #[track_caller]
    pub fn nanargmax(&self, axis: i32) -> Array {
        let at = self.without_nan(f64::NEG_INFINITY).argmax(axis);
        self.is_nan().all(axis).select(-1, at)
    }

    /// The position of the smallest element that is not NaN along an axis, `i32`; −1 where all are.
    #[track_caller]
    pub fn nanargmin(&self, axis: i32) -> Array {
        let at = self.without_nan(f64::INFINITY).argmin(axis);
        self.is_nan().all(axis).select(-1, at)
    }

    /// How many elements are not NaN, over axes.
    fn present(&self, axes: impl IntoAxes) -> Result<Array> {
        let d = self.dtype()?.real();
        Ok((!self.is_nan()).astype(d).sum(axes))
    }

    /// The mean over axes of what is not NaN; NaN where all is.
    #[track_caller]
    pub fn nanmean(&self, axes: impl IntoAxes) -> Array {
        attempt(|| {
            let x = self.inexact();
            Ok(x.nansum(&axes) / x.present(axes)?)
        })
    }

    /// The variance over axes of what is not NaN, with the divisor of [`Array::var_ddof`].
    #[track_caller]
    pub fn nanvar(&self, axes: impl IntoAxes, ddof: usize) -> Array {
        attempt(|| {
            let x = self.inexact();
            let axes = axes.axes(x.aval()?.ndim())?;
            // What is NaN has no distance; a mean that is NaN makes all NaN.
            let centred = &x - x.keepdims(&axes, |x, a| x.nanmean(a));
            let centred = x.is_nan().select(0.0, centred);
            let squares = if x.dtype()?.is_complex() {
                (&centred * centred.conj()).real()
            } else {
                centred.square()
            };
            let degrees = x.present(&axes)? - ddof as f64;
            let safe = degrees.gt(0).select(&degrees, f64::NAN);
            Ok(squares.sum(&axes) / safe)
        })
    }

    /// The standard deviation over axes of what is not NaN.
    #[track_caller]
    pub fn nanstd(&self, axes: impl IntoAxes, ddof: usize) -> Array {
        self.nanvar(axes, ddof).sqrt()
    }

    /// The median over axes of what is not NaN.
    #[track_caller]
    pub fn nanmedian(&self, axes: impl IntoAxes) -> Array {
        self.nanquantile(0.5, axes)
    }

    /// As [`Array::nanquantile`], with shares in per cent.
    #[track_caller]
    pub fn nanpercentile(&self, q: impl Operand, axes: impl IntoAxes) -> Array {
        let q = q.operand(&self.inexact()).into_owned() / 100.0;
        self.nanquantile(q, axes)
    }
}
