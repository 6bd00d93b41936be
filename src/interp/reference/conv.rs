//! Convolution: for every place of the window, the products under it, summed in the widest type of their kind.

use super::{contract::widened, shape};
use crate::{
    array::{
        Aval, Buffer, Data, Dims, Element, Scalar, Stored, aval::size_of, buffer::try_vec,
        dtype::with_dtype,
    },
    error::Result,
    trace::op::{ConvGeneralDilated, inverse},
};
use num_complex::Complex;

/// The storage index along the spatial axes of every element under the window, with the kernel's; one list for each place.
fn taps(
    p: &ConvGeneralDilated,
    lhs: &[usize],
    rhs: &[usize],
    out: &[usize],
) -> Vec<Vec<(usize, usize)>> {
    let mut all = vec![vec![(0usize, 0usize)]];
    for i in 0..lhs.len() {
        let get = |d: &[usize]| d.get(i).copied().unwrap_or(1);
        let (n, k, m) = (get(lhs), get(rhs), get(out));
        let (stride, base, hole) = (
            get(&p.window_strides),
            get(&p.lhs_dilation),
            get(&p.rhs_dilation),
        );
        let low = p.padding.get(i).map_or(0, |p| p.0);
        let mut next = Vec::with_capacity(all.len() * m);
        for before in &all {
            for o in 0..m {
                let here: Vec<(usize, usize)> = (0..k)
                    .filter_map(|j| {
                        let at = (o * stride + j * hole) as isize - low;
                        let at = usize::try_from(at).ok()?;
                        (at % base == 0 && at / base < n).then_some((at / base, j))
                    })
                    .collect();
                next.push(
                    before
                        .iter()
                        .flat_map(|(x, y)| here.iter().map(move |(a, b)| (x * n + a, y * k + b)))
                        .collect(),
                );
            }
        }
        all = next;
    }
    all
}

pub(super) fn conv_general_dilated(
    p: &ConvGeneralDilated,
    x: &Buffer,
    y: &Buffer,
    out: &Aval,
) -> Result<Buffer> {
    let d = &p.dimension_numbers;
    let x = shape::transpose(x, &d.lhs_spec)?.contiguous()?;
    let y = shape::transpose(y, &d.rhs_spec)?.contiguous()?;
    let shape: Dims = d
        .out_spec
        .iter()
        .filter_map(|i| out.shape.get(*i).copied())
        .collect();
    let canonical = out.with_shape(shape);
    let data = match out.dtype {
        d if d.is_complex() => {
            let (x, y) = (widened::<Complex<f64>>(&x)?, widened::<Complex<f64>>(&y)?);
            with_dtype!(d, T => sums(p, &x, &y, &canonical, |c: Complex<f64>, (a, b)| c + a * b, |c| T::from_scalar(Scalar::Complex(c))))
        }
        d if d.is_float() => {
            let (x, y) = (widened::<f64>(&x)?, widened::<f64>(&y)?);
            with_dtype!(d, T => sums(p, &x, &y, &canonical, |c: f64, (a, b)| c + a * b, |c| T::from_scalar(Scalar::Float(c))))
        }
        d => {
            let (x, y) = (widened::<i64>(&x)?, widened::<i64>(&y)?);
            with_dtype!(d, T => sums(
                p, &x, &y, &canonical,
                |c: i64, (a, b)| c.wrapping_add(a.wrapping_mul(b)),
                |c| T::from_scalar(Scalar::Int(i128::from(c)))
            ))
        }
    }?;
    let result = Buffer::from_data(canonical, data)?;
    shape::transpose(&result, &inverse(&d.out_spec))
}

fn sums<W: Stored, T: Stored>(
    p: &ConvGeneralDilated,
    x: &Buffer,
    y: &Buffer,
    out: &Aval,
    step: impl Fn(W, (W, W)) -> W,
    narrow: impl Fn(W) -> T,
) -> Result<Data> {
    let get = |s: &[usize], i: usize| s.get(i).copied().unwrap_or(1);
    let (lhs, rhs) = (x.shape(), y.shape());
    let space = |s: &[usize]| s.get(2..).unwrap_or_default().to_vec();
    let (ls, rs) = (space(lhs), space(rhs));
    let (lsize, rsize) = (size_of(&ls), size_of(&rs));
    let (channels, features) = (get(rhs, 1), get(rhs, 0));
    let in_features = get(lhs, 1);
    let per_group = features / p.feature_group_count.max(1);
    let per_batch = features / p.batch_group_count.max(1);
    let batches = get(&out.shape, 0);
    let taps = taps(p, &ls, &rs, &space(&out.shape));
    let (x, y) = (x.to_vec::<W>()?, y.to_vec::<W>()?);
    let mut z: Vec<T> = try_vec(out.size())?;
    for n in 0..batches {
        for o in 0..features {
            let group = o / per_group.max(1);
            let batch = n + o / per_batch.max(1) * batches;
            for places in &taps {
                let mut sum = W::ZERO;
                for c in 0..channels {
                    let left = (batch * in_features + group * channels + c) * lsize;
                    let right = (o * channels + c) * rsize;
                    for (a, b) in places {
                        if let (Some(a), Some(b)) = (x.get(left + a), y.get(right + b)) {
                            sum = step(sum, (*a, *b));
                        }
                    }
                }
                z.push(narrow(sum));
            }
        }
    }
    Ok(T::data(z))
}
