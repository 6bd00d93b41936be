//! Sequences: convolution, interpolation, integrals, differences, windows.

use crate::{
    array::{Array, Convolution, DType, Dims, Pads, attempt, inexact_together, normalise_axis},
    error::{Error, Result},
    trace::op::rows,
};
use std::f64::consts::PI;

/// How much of a convolution is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ConvolveMode {
    /// Wherever the sequences overlap: `n + m − 1` numbers.
    #[default]
    Full,
    /// As many as the longer sequence has, from the middle.
    Same,
    /// Where they overlap completely.
    Valid,
}

fn sequence(name: &str, x: &Array) -> Result<usize> {
    let a = x.aval()?;
    match a.shape[..] {
        [n] if n > 0 => Ok(n),
        _ => Err(Error::shape(format!(
            "{name} takes arrays of one axis that are not empty, got {a}"
        ))),
    }
}

fn slide(x: &Array, kernel: &Array, mode: ConvolveMode) -> Result<Array> {
    let m = kernel.size();
    let padding = match mode {
        ConvolveMode::Full => (m as isize - 1, m as isize - 1),
        ConvolveMode::Same => (m as isize / 2, m as isize - m as isize / 2 - 1),
        ConvolveMode::Valid => (0, 0),
    };
    let how = Convolution::new([1]).padding(Pads::Explicit(vec![padding]));
    let (x, kernel) = (x.expand_dims([0, 1]), kernel.expand_dims([0, 1]));
    Ok(x.conv_general_dilated(&kernel, &how).squeeze([0, 1]))
}

/// The convolution of two sequences: `jnp.convolve`. Floats.
///
/// ```
/// use quaxide::{numpy::ConvolveMode, prelude::*};
/// let (x, y) = (Array::from([1f32, 2., 3.]), Array::from([1f32, 10.]));
/// let z = numpy::convolve(&x, &y, ConvolveMode::Full);
/// assert_eq!(z.to_vec::<f32>().unwrap(), [1.0, 12.0, 23.0, 30.0]);
/// ```
#[track_caller]
pub fn convolve(x: &Array, y: &Array, mode: ConvolveMode) -> Array {
    attempt(|| {
        let (n, m) = (sequence("convolve", x)?, sequence("convolve", y)?);
        let both = inexact_together(&[x, y])?;
        match &both[..] {
            [x, y] if n < m => slide(y, &x.flip(()), mode),
            [x, y] => slide(x, &y.flip(()), mode),
            _ => Err(Error::internal("convolve takes two arrays")),
        }
    })
}

/// The correlation of two sequences, the second conjugated: `jnp.correlate`, whose default mode is `Valid`. Floats.
#[track_caller]
pub fn correlate(x: &Array, y: &Array, mode: ConvolveMode) -> Array {
    attempt(|| {
        let (n, m) = (sequence("correlate", x)?, sequence("correlate", y)?);
        let both = inexact_together(&[x, y])?;
        match &both[..] {
            [x, y] if n < m => Ok(slide(&y.conj(), x, mode)?.flip(())),
            [x, y] => slide(x, &y.conj(), mode),
            _ => Err(Error::internal("correlate takes two arrays")),
        }
    })
}

/// The integral along an axis by the trapezoidal rule, over samples at distances `dx`.
///
/// ```
/// use quaxide::prelude::*;
/// let y = Array::from([1f32, 2., 3.]);
/// assert_eq!(numpy::trapezoid(&y, 1.0, -1).item::<f32>().unwrap(), 4.0);
/// ```
#[track_caller]
pub fn trapezoid(y: &Array, dx: f64, axis: i32) -> Array {
    attempt(|| {
        let y = y.inexact().ok()?.clone();
        let n = y.aval()?;
        let n = n.shape.get(normalise_axis(axis.into(), n.ndim())?).copied();
        let n = n.unwrap_or(0);
        let later = y.slice_in_dim(n.min(1), n, axis);
        let earlier = y.slice_in_dim(0, n.saturating_sub(1), axis);
        Ok(((later + earlier) * dx).sum(axis) * 0.5)
    })
}

/// As [`trapezoid`], over samples at the places `x`: of one axis, or of the shape of `y`.
#[track_caller]
pub fn trapezoid_at(y: &Array, x: &Array, axis: i32) -> Array {
    attempt(|| {
        let both = inexact_together(&[y, x])?;
        let [y, x] = &both[..] else {
            return Err(Error::internal("trapezoid takes two arrays"));
        };
        let (a, b) = (y.aval()?, x.aval()?);
        normalise_axis(axis.into(), a.ndim())?;
        let y = y.moveaxis(axis, -1);
        let x = if b.ndim() == 1 {
            x.clone()
        } else {
            x.moveaxis(axis, -1)
        };
        let n = y.shape().last().copied().unwrap_or(0);
        let later = y.slice_in_dim(n.min(1), n, -1);
        let earlier = y.slice_in_dim(0, n.saturating_sub(1), -1);
        Ok((x.diff(1, -1) * (later + earlier)).sum(-1) * 0.5)
    })
}

/// Neighbours' differences in the array as one sequence, with numbers put before and after.
#[track_caller]
pub fn ediff1d(x: &Array, begin: Option<&Array>, end: Option<&Array>) -> Array {
    attempt(|| {
        let d = x.dtype()?;
        let mut parts = vec![x.ravel().diff(1, 0)];
        if let Some(begin) = begin {
            parts.insert(0, begin.ravel().astype(d));
        }
        if let Some(end) = end {
            parts.push(end.ravel().astype(d));
        }
        Ok(super::concatenate(&parts, 0))
    })
}

/// The derivative along an axis by central differences, one-sided at the ends: samples stand at distances `spacing`, or at the
/// places that it holds, if it has an axis. Floats.
///
/// ```
/// use quaxide::prelude::*;
/// let y = Array::from([1f32, 4., 9., 16.]);
/// let slope = numpy::gradient(&y, &Array::from(1f64), -1);
/// assert_eq!(slope.to_vec::<f32>().unwrap(), [3.0, 4.0, 6.0, 7.0]);
/// ```
#[track_caller]
pub fn gradient(y: &Array, spacing: &Array, axis: i32) -> Array {
    attempt(|| {
        let y = y.inexact().ok()?.clone();
        let a = y.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let n = a.shape.get(k).copied().unwrap_or(0);
        if n < 2 {
            return Err(Error::shape(format!(
                "gradient of {a}: axis {axis} needs two samples or more"
            )));
        }
        let places = spacing.aval()?;
        let part = |x: &Array, from: usize, to: usize| x.slice_in_dim(from, to, axis);
        let along = |x: &Array| {
            x.broadcast_in_dim(
                (0..a.ndim())
                    .map(|i| if i == k { x.size() } else { 1 })
                    .collect::<Dims>(),
                [k],
            )
        };
        match places.shape[..] {
            [] => {
                let inner = (part(&y, 2, n) - part(&y, 0, n - 2)) * 0.5;
                let first = part(&y, 1, 2) - part(&y, 0, 1);
                let last = part(&y, n - 1, n) - part(&y, n - 2, n - 1);
                Ok(super::concatenate(&[first, inner, last], axis) / spacing)
            }
            [m] if m == n => {
                let steps = along(&spacing.astype(a.dtype.real()).diff(1, 0));
                let (before, after) = (part(&steps, 0, n - 2), part(&steps, 1, n - 1));
                let total = &before + &after;
                let inner = part(&y, 0, n - 2) * (-(&after / (&before * &total)))
                    + part(&y, 1, n - 1) * ((&after - &before) / (&before * &after))
                    + part(&y, 2, n) * (&before / (&after * &total));
                let first = (part(&y, 1, 2) - part(&y, 0, 1)) / part(&steps, 0, 1);
                let last =
                    (part(&y, n - 1, n) - part(&y, n - 2, n - 1)) / part(&steps, n - 2, n - 1);
                Ok(super::concatenate(&[first, inner, last], axis))
            }
            _ => Err(Error::shape(format!(
                "gradient of {a} along axis {axis}: {places} is neither a distance nor a place for each sample"
            ))),
        }
    })
}

/// Linear interpolation at `x` between the points (`xp`, `fp`), `xp` ascending; outside, the first and the last value. Floats.
///
/// ```
/// use quaxide::prelude::*;
/// let (xp, fp) = (Array::from([0f32, 2.]), Array::from([10f32, 20.]));
/// let y = numpy::interp(&Array::from([1f32, -1., 9.]), &xp, &fp);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [15.0, 10.0, 20.0]);
/// ```
#[track_caller]
pub fn interp(x: &Array, xp: &Array, fp: &Array) -> Array {
    interp_with(x, xp, fp, None, None)
}

/// As [`interp`], with values for what lies outside.
#[track_caller]
pub fn interp_with(
    x: &Array,
    xp: &Array,
    fp: &Array,
    left: Option<f64>,
    right: Option<f64>,
) -> Array {
    attempt(|| {
        let n = sequence("interp", xp)?;
        if sequence("interp", fp)? != n {
            return Err(Error::shape(format!(
                "interp: {} places, {} values",
                n,
                fp.size()
            )));
        }
        let both = inexact_together(&[x, xp])?;
        let [x, xp] = &both[..] else {
            return Err(Error::internal("interp takes three arrays"));
        };
        let fp = fp.inexact();
        let shape = x.shape();
        let x = x.ravel();
        let ends = |v: &Array, i: usize| v.slice_in_dim(i, i + 1, 0).squeeze(0);
        if n == 1 {
            let y = ends(&fp, 0).broadcast_to(x.shape());
            return Ok(y.reshape(shape));
        }
        let after = xp.searchsorted(&x, true).maximum(1).minimum(n - 1);
        let before = &after - 1;
        let at = |v: &Array, i: &Array| rows(v, i, 0);
        let (f0, f1) = (at(&fp, &before), at(&fp, &after));
        let (x0, x1) = (at(xp, &before), at(xp, &after));
        let step = &x1 - &x0;
        let flat = step.abs().le(f64::MIN_POSITIVE);
        let safe = flat.select(1, &step);
        let y = flat.select(&f0, &f0 + ((&x - &x0) / safe) * (&f1 - &f0));
        let outside = |given: Option<f64>, i: usize| match given {
            Some(v) => Array::from(v),
            None => ends(&fp, i),
        };
        let y = x.lt(ends(xp, 0)).select(outside(left, 0), y);
        let y = x.gt(ends(xp, n - 1)).select(outside(right, n - 1), y);
        Ok(y.reshape(shape))
    })
}

/// Angles without jumps along an axis: where neighbours differ by half a `period` or more, whole periods are added. JAX's default
/// period is 2π.
#[track_caller]
pub fn unwrap(x: &Array, period: f64, axis: i32) -> Array {
    attempt(|| {
        let x = x.inexact().ok()?.clone();
        let n = x.aval()?;
        let n = n.shape.get(normalise_axis(axis.into(), n.ndim())?).copied();
        if n == Some(0) {
            return Ok(x);
        }
        let half = period / 2.0;
        let step = x.diff(1, axis);
        let short = (&step + half).modulo(period) - half;
        let short = (short.eq(-half) & step.gt(0)).select(half, short);
        let correction = step.abs().lt(half).select(0, short - &step);
        let first = x.slice_in_dim(0, 1, axis);
        let rest = x.slice_in_dim(1, n.unwrap_or(0), axis) + correction.cumsum(axis);
        Ok(super::concatenate(&[first, rest], axis))
    })
}

/// A window of `n` numbers from a function of the place, 0 to 1 along it.
#[track_caller]
fn window(n: usize, f: impl Fn(&Array) -> Array) -> Array {
    if n <= 1 {
        return Array::ones([n], DType::F32);
    }
    let place = Array::arange(n, DType::F64) / (n - 1) as f64;
    f(&place).astype(DType::F32)
}

/// Bartlett's window, a triangle.
#[track_caller]
pub fn bartlett(n: usize) -> Array {
    window(n, |t| 1 - (2 * t - 1).abs())
}

/// Blackman's window.
#[track_caller]
pub fn blackman(n: usize) -> Array {
    window(n, |t| {
        0.42 - 0.5 * (t * (2.0 * PI)).cos() + 0.08 * (t * (4.0 * PI)).cos()
    })
}

/// Hamming's window.
#[track_caller]
pub fn hamming(n: usize) -> Array {
    window(n, |t| 0.54 - 0.46 * (t * (2.0 * PI)).cos())
}

/// Hann's window: `jnp.hanning`.
#[track_caller]
pub fn hanning(n: usize) -> Array {
    window(n, |t| 0.5 * (1.0 - (t * (2.0 * PI)).cos()))
}

/// Kaiser's window with the shape parameter `beta`.
#[track_caller]
pub fn kaiser(n: usize, beta: f64) -> Array {
    window(n, |t| {
        let root = (1.0 - (2.0 * t - 1.0).square()).maximum(0.0).sqrt();
        (root * beta).i0() / Array::from(beta).astype(DType::F64).i0()
    })
}
