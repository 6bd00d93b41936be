//! Means, variances, positions of extrema, and sums that do not overflow.

use crate::{
    array::{Array, DType, Dims, IntoAxes, attempt},
    error::Result,
    trace::op::{Reducer, remaining},
};

impl Array {
    /// The result of a reduction over `axes` with those axes kept at size 1.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[1f32, 2.], [3., 4.]]);
    /// let y = &x - x.keepdims(-1, |x, axes| x.mean(axes));
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [-0.5, 0.5, -0.5, 0.5]);
    /// ```
    #[track_caller]
    pub fn keepdims(
        &self,
        axes: impl IntoAxes,
        reduce: impl FnOnce(&Array, Dims) -> Array,
    ) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let axes = axes.axes(a.ndim())?;
            let keep = remaining(a.ndim(), &axes, &[]);
            let shape: Dims = (0..a.ndim())
                .map(|i| {
                    if axes.contains(&i) {
                        1
                    } else {
                        a.shape.get(i).copied().unwrap_or(1)
                    }
                })
                .collect();
            Ok(reduce(self, axes).broadcast_in_dim(shape, keep))
        })
    }

    /// The variance over axes: the mean of squared distances from the mean.
    #[track_caller]
    pub fn var(&self, axes: impl IntoAxes) -> Array {
        let x = self.inexact();
        let centred = &x - x.keepdims(&axes, |x, a| x.mean(a));
        centred.abs().square().mean(axes)
    }

    /// The standard deviation over axes.
    #[track_caller]
    pub fn std(&self, axes: impl IntoAxes) -> Array {
        self.var(axes).sqrt()
    }

    /// `log(sum(exp(x)))` over axes, without overflow.
    #[track_caller]
    pub fn logsumexp(&self, axes: impl IntoAxes) -> Array {
        attempt(|| {
            let x = self.inexact();
            x.ok()?;
            let axes: Dims = axes.axes(x.ndim())?;
            let top = x.max(&axes).stop_gradient();
            let top = top.is_finite().select(&top, Array::zeros_like(&top));
            let spread = x.keepdims(&axes, |_, _| top.clone());
            Ok((x - spread).exp().sum(&axes).log() + top)
        })
    }

    /// The position of the largest element along an axis, `i32`; the first of several.
    #[track_caller]
    pub fn argmax(&self, axis: i32) -> Array {
        self.reduce(Reducer::Argmax(DType::I32), axis)
    }

    /// The position of the smallest element along an axis, `i32`; the first of several.
    #[track_caller]
    pub fn argmin(&self, axis: i32) -> Array {
        self.reduce(Reducer::Argmin(DType::I32), axis)
    }

    /// Is some element along the axes true (not zero)?
    #[track_caller]
    pub fn any(&self, axes: impl IntoAxes) -> Array {
        self.truth().reduce(Reducer::Or, axes)
    }

    /// Are all elements along the axes true (not zero)?
    #[track_caller]
    pub fn all(&self, axes: impl IntoAxes) -> Array {
        self.truth().reduce(Reducer::And, axes)
    }

    fn truth(&self) -> Array {
        match self.dtype() {
            Ok(DType::Bool) | Err(_) => self.clone(),
            Ok(_) => self.ne(0),
        }
    }
}

/// The average over an axis with a weight for each of its elements.
pub fn average(x: &Array, weights: &Array, axis: i32) -> Result<Array> {
    let total = weights.sum(());
    let axis = crate::array::normalise_axis(axis.into(), x.ndim())?;
    let wide = weights.broadcast_in_dim(x.shape(), [axis]);
    ((x * wide).sum(axis) / total).ok().cloned()
}
