//! Sorting, the largest few, and running reductions: each along one axis, lane by lane.

use super::{Buffers, window::Combine};
use crate::{
    array::{
        Aval, Buffer, DType, Data, Dims, Element, Scalar, Stored, buffer::row_major,
        dtype::with_dtype,
    },
    error::Result,
    trace::op::{Cumulative, CumulativeKind, Sort, TopK},
};
use std::{cmp::Ordering, sync::Arc};

/// The order of `sort`: NaN last and equal to each other, zeros equal; complex numbers by real part, then by imaginary part.
pub(super) fn order(a: Scalar, b: Scalar) -> Ordering {
    let real = |x: f64, y: f64| {
        x.partial_cmp(&y)
            .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
    };
    match (a, b) {
        (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(&b),
        (Scalar::Int(a), Scalar::Int(b)) => a.cmp(&b),
        (Scalar::Float(a), Scalar::Float(b)) => real(a, b),
        (a, b) => {
            let (a, b) = (a.as_complex(), b.as_complex());
            real(a.re, b.re).then(real(a.im, b.im))
        }
    }
}

/// The order of `top_k`: floats by IEEE 754's `totalOrder`.
fn total_order(a: Scalar, b: Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(&b),
        _ => order(a, b),
    }
}

/// Where each lane along an axis starts in row-major storage, its length, and the step within it.
fn lanes(shape: &[usize], axis: usize) -> (Vec<usize>, usize, usize) {
    let steps = row_major(shape);
    let n = shape.get(axis).copied().unwrap_or(1);
    let step = steps.get(axis).copied().unwrap_or(1) as usize;
    let (sizes, others): (Dims, Vec<isize>) = shape
        .iter()
        .zip(&steps)
        .enumerate()
        .filter(|(i, _)| *i != axis)
        .map(|(_, (n, s))| (*n, *s))
        .unzip();
    let starts = super::index::places(&sizes, &others)
        .into_iter()
        .map(|s| s as usize)
        .collect();
    (starts, n, step)
}

/// The elements at the places that `from` lists.
fn picked(x: &Buffer, from: &[usize], out: &Aval) -> Result<Buffer> {
    with_dtype!(x.dtype(), T => {
        let v = x.to_vec::<T>()?;
        let y: Vec<T> = from.iter().map(|i| v.get(*i).copied().unwrap_or_default()).collect();
        Buffer::from_data(out.clone(), T::data(y))
    })
}

fn scalars(x: &Buffer) -> Result<Vec<Scalar>> {
    with_dtype!(x.dtype(), T => {
        Ok(x.to_vec::<T>()?.into_iter().map(Into::into).collect())
    })
}

pub(super) fn sort(p: &Sort, x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let Some(first) = x.first() else {
        return Ok(Buffers::new());
    };
    let keys = x
        .iter()
        .take(p.num_keys)
        .map(|x| scalars(x))
        .collect::<Result<Vec<_>>>()?;
    let (starts, n, step) = lanes(first.shape(), p.dimension);
    let mut from: Vec<usize> = (0..first.len()).collect();
    for start in starts {
        let mut lane: Vec<usize> = (0..n).map(|i| start + i * step).collect();
        lane.sort_by(|a, b| {
            keys.iter()
                .map(|k| match (k.get(*a), k.get(*b)) {
                    (Some(x), Some(y)) => order(*x, *y),
                    _ => Ordering::Equal,
                })
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        for (i, source) in lane.into_iter().enumerate() {
            if let Some(slot) = from.get_mut(start + i * step) {
                *slot = source;
            }
        }
    }
    x.iter()
        .zip(results)
        .map(|(x, out)| picked(x, &from, out))
        .collect()
}

pub(super) fn top_k(p: &TopK, x: &Buffer, results: &[Aval]) -> Result<Buffers> {
    let keys = scalars(x)?;
    let (starts, n, step) = lanes(x.shape(), p.axis);
    let mut kept: Dims = x.shape().iter().copied().collect();
    if let Some(n) = kept.get_mut(p.axis) {
        *n = p.k;
    }
    let (to, _, to_step) = lanes(&kept, p.axis);
    let total = kept.iter().product();
    let (mut from, mut positions) = (vec![0usize; total], vec![0usize; total]);
    for (start, to) in starts.into_iter().zip(to) {
        let key = |i: usize| {
            keys.get(start + i * step)
                .copied()
                .unwrap_or(Scalar::Int(0))
        };
        let mut lane: Vec<usize> = (0..n).collect();
        lane.sort_by(|a, b| total_order(key(*b), key(*a)));
        for (k, i) in lane.into_iter().take(p.k).enumerate() {
            let at = to + k * to_step;
            if let (Some(f), Some(p)) = (from.get_mut(at), positions.get_mut(at)) {
                *f = start + i * step;
                *p = i;
            }
        }
    }
    let values = results
        .first()
        .cloned()
        .unwrap_or_else(|| x.aval().with_shape(kept.clone()));
    let positions = positions.into_iter().map(|i| i as i32).collect();
    Ok(Buffers::from_vec(vec![
        picked(x, &from, &values)?,
        Buffer::from_data(Aval::new(kept, DType::I32), Data::I32(positions))?,
    ]))
}

pub(super) fn cumulative(p: &Cumulative, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let (starts, n, step) = lanes(x.shape(), p.axis);
    let place = |start: usize, i: usize| start + if p.reverse { n - 1 - i } else { i } * step;
    with_dtype!(x.dtype(), T => {
        let mut v = x.to_vec::<T>()?;
        let combine = <T as Combine>::combiner(p.kind.combiner());
        for start in starts {
            // Sums of logarithms keep what they have in double precision from one element to the next.
            let mut sum = f64::NEG_INFINITY;
            let mut before: Option<T> = None;
            for i in 0..n {
                let Some(slot) = v.get_mut(place(start, i)) else { continue };
                if p.kind == CumulativeKind::LogSumExp {
                    sum = log_add_exp(sum, Into::<Scalar>::into(*slot).as_f64().unwrap_or(f64::NAN));
                    *slot = T::from_scalar(Scalar::Float(sum));
                } else {
                    if let Some(before) = before {
                        *slot = combine(before, *slot);
                    }
                    before = Some(*slot);
                }
            }
        }
        Buffer::from_data(out.clone(), T::data(v))
    })
}

fn log_add_exp(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    let (low, high) = (a.min(b), a.max(b));
    if high.is_infinite() {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}
