//! Convolution: for every place of the window, the products under it, summed in the widest type of their kind.

use super::{contract::widened, elementwise::convert, shape};
use crate::{
    array::{Aval, Buffer, Dims, Stored, aval::size_of, buffer::try_vec},
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
    let wide = match out.dtype {
        d if d.is_complex() => sums::<Complex<f64>>(p, &x, &y, &canonical, |c, a, b| c + a * b),
        d if d.is_float() => sums::<f64>(p, &x, &y, &canonical, |c, a, b| c + a * b),
        _ => sums::<i64>(p, &x, &y, &canonical, |c, a, b| {
            c.wrapping_add(a.wrapping_mul(b))
        }),
    }?;
    shape::transpose(&convert(&wide, &canonical)?, &inverse(&d.out_spec))
}

/// The sums of products, in a wide type.
fn sums<W: Stored>(
    p: &ConvGeneralDilated,
    x: &Buffer,
    y: &Buffer,
    out: &Aval,
    step: impl Fn(W, W, W) -> W,
) -> Result<Buffer> {
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
    let (x, y) = (widened::<W>(x)?, widened::<W>(y)?);
    let mut z: Vec<W> = try_vec(out.size())?;
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
                            sum = step(sum, *a, *b);
                        }
                    }
                }
                z.push(sum);
            }
        }
    }
    Buffer::from_data(out.with_dtype(W::DTYPE), W::data(z))
}
