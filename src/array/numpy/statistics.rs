//! Means, variances, positions of extrema, and sums that do not overflow.

use crate::{
    array::{Array, DType, Dims, IntoAxes, attempt, inexact_together},
    error::Error,
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
        self.var_ddof(axes, 0)
    }

    /// The variance over axes with the sum of squares divided by the number of elements less `ddof` (1: without bias); NaN where
    /// that is not positive.
    #[track_caller]
    pub fn var_ddof(&self, axes: impl IntoAxes, ddof: usize) -> Array {
        let x = self.inexact();
        attempt(|| {
            let a = x.aval()?;
            let axes = axes.axes(a.ndim())?;
            let n: usize = axes.iter().filter_map(|i| a.shape.get(*i)).product();
            let centred = &x - x.keepdims(&axes, |x, a| x.mean(a));
            let squares = if a.dtype.is_complex() {
                (&centred * centred.conj()).real()
            } else {
                centred.square()
            };
            let degrees = match n.checked_sub(ddof) {
                None | Some(0) => f64::NAN,
                Some(degrees) => degrees as f64,
            };
            Ok(match ddof {
                0 => squares.mean(axes),
                _ => squares.sum(axes) / degrees,
            })
        })
    }

    /// The standard deviation over axes.
    #[track_caller]
    pub fn std(&self, axes: impl IntoAxes) -> Array {
        self.var(axes).sqrt()
    }

    /// The standard deviation over axes: the root of [`Array::var_ddof`].
    #[track_caller]
    pub fn std_ddof(&self, axes: impl IntoAxes, ddof: usize) -> Array {
        self.var_ddof(axes, ddof).sqrt()
    }

    /// The largest element less the smallest, over axes.
    #[track_caller]
    pub fn ptp(&self, axes: impl IntoAxes) -> Array {
        self.max(&axes) - self.min(axes)
    }

    /// How many elements are not zero, over axes; `i32`.
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl IntoAxes) -> Array {
        self.truth().sum(axes)
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
}

/// The average over axes with a weight for each element: weights of the array's shape, or of one axis with `axes` naming one.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32, 2.], [3., 4.]]);
/// let y = numpy::average(&x, &Array::from([3f32, 1.]), 1);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [1.25, 3.25]);
/// ```
#[track_caller]
pub fn average(x: &Array, weights: &Array, axes: impl IntoAxes) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let w = weights.aval()?;
        let axes = axes.axes(a.ndim())?;
        let wide = match &axes[..] {
            _ if w.shape == a.shape => weights.clone(),
            [axis] if w.shape[..] == a.shape[*axis..=*axis] => {
                weights.broadcast_in_dim(&a.shape, [*axis])
            }
            _ => {
                return Err(Error::shape(format!(
                    "average of {a} over axes {axes:?}: weights {w} do not fit"
                )));
            }
        };
        let both = inexact_together(&[x, &wide])?;
        let [x, wide] = &both[..] else {
            return Err(Error::internal("average takes two arrays"));
        };
        Ok((x * wide).sum(&axes) / wide.sum(&axes))
    })
}

impl Array {
    /// Neighbours' differences along an axis, `n` times over: `x[i + 1] − x[i]`. Of `bool`, whether they differ.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1i32, 4, 9, 16]);
    /// assert_eq!(x.diff(1, -1).to_vec::<i32>().unwrap(), [3, 5, 7]);
    /// assert_eq!(x.diff(2, -1).to_vec::<i32>().unwrap(), [2, 2]);
    /// ```
    #[track_caller]
    pub fn diff(&self, n: usize, axis: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let k = crate::array::normalise_axis(axis.into(), a.ndim())?;
            let mut x = self.clone();
            for _ in 0..n {
                let size = x.shape().get(k).copied().unwrap_or(0);
                let later = x.slice_in_dim(size.min(1), size, axis);
                let earlier = x.slice_in_dim(0, size.saturating_sub(1), axis);
                x = if a.dtype == DType::Bool {
                    later.ne(&earlier)
                } else {
                    later - earlier
                };
            }
            Ok(x)
        })
    }
}
