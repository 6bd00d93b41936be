//! Counting: covariance, histograms and bins.

use super::{concatenate, linspace};
use crate::{
    array::{Array, DType, attempt, inexact_together},
    error::{Error, Result},
    trace::op::{Scatter, ScatterDimensionNumbers, ScatterKind},
};
use smallvec::smallvec;

/// The covariance of variables, one a row, with observations as columns: `jnp.cov`. The sums of products are divided by the number
/// of observations less `ddof` (1: without bias).
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[0f32, 1., 2.], [2., 1., 0.]]);
/// assert_eq!(numpy::cov(&x, 1).to_vec::<f32>().unwrap(), [1.0, -1.0, -1.0, 1.0]);
/// ```
#[track_caller]
pub fn cov(x: &Array, ddof: usize) -> Array {
    attempt(|| covariance(x, None, ddof))
}

/// As [`cov`], with a weight for each observation, of which larger ones count more.
#[track_caller]
pub fn cov_weighted(x: &Array, weights: &Array, ddof: usize) -> Array {
    attempt(|| covariance(x, Some(weights), ddof))
}

fn covariance(x: &Array, weights: Option<&Array>, ddof: usize) -> Result<Array> {
    let x = x.inexact();
    let a = x.aval()?;
    let rows = match a.shape[..] {
        [_, _] => x.clone(),
        [_] => x.expand_dims(0),
        [] => x.reshape([1, 1]),
        _ => {
            return Err(Error::shape(format!(
                "cov takes a matrix whose rows are variables, got {a}"
            )));
        }
    };
    let n = rows.shape().last().copied().unwrap_or(0);
    let (centre, scaled, degrees) = match weights {
        None => {
            let centred = &rows - rows.keepdims(1, |x, a| x.mean(a));
            let d = Array::from(n as f64 - ddof as f64);
            (centred.clone(), centred, d)
        }
        Some(w) => {
            let w = w.astype(a.dtype.real());
            let total = w.sum(());
            let mean = (&rows * &w).sum(1) / &total;
            let centred = &rows - mean.expand_dims(-1);
            let degrees = if ddof == 0 {
                total
            } else {
                &total - ddof as f64 * w.square().sum(()) / &total
            };
            (centred.clone(), centred * w, degrees)
        }
    };
    let y = centre.dot(&scaled.t().conj()) / degrees;
    Ok(match a.ndim() {
        0 | 1 => y.squeeze([0, 1]),
        _ => y,
    })
}

/// The correlation coefficients of variables, one a row.
#[track_caller]
pub fn corrcoef(x: &Array) -> Array {
    attempt(|| {
        let c = cov(x, 1);
        let a = c.aval()?;
        if a.ndim() == 0 {
            let same = c.clone();
            return Ok(c / same);
        }
        let n = a.shape.first().copied().unwrap_or(0);
        let deviation = c.take_along_axis(&Array::arange(n, DType::I32).expand_dims(-1), 1);
        let deviation = deviation.squeeze(-1).real().sqrt();
        let y = c / deviation.expand_dims(-1) / deviation.expand_dims(0);
        Ok(if a.dtype.is_complex() {
            y
        } else {
            y.clip(-1.0, 1.0)
        })
    })
}

/// The edges of `bins` equal bins from the smallest to the largest element, or over a range.
#[track_caller]
pub fn histogram_bin_edges(x: &Array, bins: usize, range: Option<(f64, f64)>) -> Array {
    attempt(|| {
        let x = x.inexact();
        let d = x.dtype()?;
        let (low, high) = match range {
            Some((low, high)) if low == high => (low - 0.5, high + 0.5),
            Some(ends) => ends,
            None if x.size() == 0 => (0.0, 1.0),
            None => {
                let (low, high) = (x.min(()), x.max(()));
                let point = low.eq(&high);
                let (low, high) = (
                    point.select(&low - 0.5, &low),
                    point.select(&high + 0.5, &high),
                );
                let t = linspace(0.0, 1.0, bins + 1, d);
                let edges = &low * (1.0 - &t) + &high * &t;
                let last = Array::arange(bins + 1, DType::I32).eq(bins as i32);
                return Ok(last.select(&high, edges));
            }
        };
        Ok(linspace(low, high, bins + 1, d))
    })
}

/// How many elements (or how much weight) fall into each of `bins` equal bins, and the bins' edges; the last bin holds its right edge.
/// With `density`, divided by the total and the bins' widths.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1f32, 2., 2., 5.]);
/// let (counts, edges) = numpy::histogram(&x, 2, None, None, false).unwrap();
/// assert_eq!(counts.to_vec::<f32>().unwrap(), [3.0, 1.0]);
/// assert_eq!(edges.to_vec::<f32>().unwrap(), [1.0, 3.0, 5.0]);
/// ```
pub fn histogram(
    x: &Array,
    bins: usize,
    range: Option<(f64, f64)>,
    weights: Option<&Array>,
    density: bool,
) -> Result<(Array, Array)> {
    if bins == 0 {
        return Err(Error::argument("histogram: at least one bin"));
    }
    let edges = histogram_bin_edges(x, bins, range);
    let both = inexact_together(&[x, &edges])?;
    let [x, edges] = &both[..] else {
        return Err(Error::internal("histogram takes two arrays"));
    };
    let x = x.ravel();
    let weights = match weights {
        Some(w) => w.inexact().ravel(),
        None => Array::ones([x.size()], x.dtype()?),
    };
    let last = edges.slice_in_dim(bins, bins + 1, 0);
    let place = edges.searchsorted(&x, true);
    let place = x.eq(&last).select(bins as i32, &place);
    let counts = add_at(
        &Array::zeros([bins + 2], weights.dtype()?),
        &place,
        &weights,
    );
    let counts = counts.slice_in_dim(1, bins + 1, 0);
    let counts = if density {
        &counts / edges.diff(1, 0) / counts.sum(())
    } else {
        counts
    };
    Ok((counts.ok()?.clone(), edges.ok()?.clone()))
}

/// The vector with values added at positions; those outside are dropped.
pub(crate) fn add_at(x: &Array, at: &Array, values: &Array) -> Array {
    let numbers = ScatterDimensionNumbers {
        inserted_window_dims: smallvec![0],
        scatter_dims_to_operand_dims: smallvec![0],
        ..Default::default()
    };
    let at = at.broadcast_in_dim([at.size(), 1], [0]);
    x.scatter(&at, values, Scatter::new(ScatterKind::Add, numbers))
}

/// The counts of points, one a row, in a grid of bins, and the edges along each axis. An error unless there is a number of bins for
/// each column.
pub fn histogramdd(
    points: &Array,
    bins: &[usize],
    ranges: Option<&[(f64, f64)]>,
    weights: Option<&Array>,
) -> Result<(Array, Vec<Array>)> {
    let [n, d] = points.dims::<2>()?;
    if bins.len() != d || bins.contains(&0) || ranges.is_some_and(|r| r.len() != d) {
        return Err(Error::argument(format!(
            "histogramdd of points of {d} numbers: {} numbers of bins",
            bins.len()
        )));
    }
    let points = points.inexact();
    let mut edges = vec![];
    let mut flat = Array::zeros([n], DType::I32);
    let mut inside = Array::full([n], true, DType::Bool);
    for (i, bins) in bins.iter().enumerate() {
        let x = points.slice_in_dim(i, i + 1, 1).squeeze(1);
        let range = ranges.and_then(|r| r.get(i).copied());
        let own = histogram_bin_edges(&x, *bins, range);
        let last = own.slice_in_dim(*bins, bins + 1, 0);
        let place = own.searchsorted(&x, true);
        let place = x.eq(&last).select(*bins as i32, &place) - 1;
        inside = inside & place.ge(0) & place.lt(*bins as i32);
        flat = flat * *bins as i32 + place;
        edges.push(own.ok()?.clone());
    }
    let weights = match weights {
        Some(w) => w.inexact(),
        None => Array::ones([n], points.dtype()?),
    };
    let total: usize = bins.iter().product();
    let flat = inside.select(flat, total as i32);
    let counts = add_at(&Array::zeros([total], weights.dtype()?), &flat, &weights);
    let counts = counts.reshape(crate::Dims::from_slice(bins));
    Ok((counts.ok()?.clone(), edges))
}

/// The counts of points (`x`, `y`) in a grid of bins, and the edges along both axes.
pub fn histogram2d(
    x: &Array,
    y: &Array,
    bins: [usize; 2],
    ranges: Option<[(f64, f64); 2]>,
    weights: Option<&Array>,
) -> Result<(Array, Array, Array)> {
    let points = concatenate(&[x.expand_dims(-1), y.expand_dims(-1)], 1);
    let ranges = ranges.as_ref().map(|r| &r[..]);
    let (counts, edges) = histogramdd(&points, &bins, ranges, weights)?;
    match <[Array; 2]>::try_from(edges) {
        Ok([x, y]) => Ok((counts, x, y)),
        Err(_) => Err(Error::internal("histogram2d lost its edges")),
    }
}

/// The number of the bin that each element falls into, bins being between neighbours of `bins`, ascending or descending: `i32`, 0
/// before the first edge. A bin holds its left edge, or its right one if `right`.
#[track_caller]
pub fn digitize(x: &Array, bins: &Array, right: bool) -> Array {
    attempt(|| {
        let [n] = bins.dims::<1>()?;
        if n == 0 {
            return Ok(Array::zeros(x.shape(), DType::I32));
        }
        let end = |i: usize| bins.slice_in_dim(i, i + 1, 0).squeeze(0);
        let up = bins.searchsorted(x, !right);
        let down = n as i32 - bins.flip(()).searchsorted(x, !right);
        Ok(end(n - 1).ge(end(0)).select(up, down))
    })
}
