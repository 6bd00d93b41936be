//! `gather` and the scatters: a list of windows, and the places of the elements within one.

use super::window::Combine;
use crate::{
    array::{
        Aval, Buffer, Dims, Scalar, Stored, aval::size_of, buffer::row_major, dtype::with_dtype,
    },
    error::Result,
    trace::op::{Gather, GatherDimensionNumbers, GatherScatterMode, Scatter, default_fill},
};

/// The places of the elements of a box of these sizes in storage with these steps, in row-major order.
pub(super) fn places(sizes: &[usize], steps: &[isize]) -> Vec<isize> {
    let mut all = vec![0isize];
    if size_of(sizes) == 0 {
        return vec![];
    }
    for (n, step) in sizes.iter().zip(steps) {
        all = all
            .iter()
            .flat_map(|base| (0..*n).map(move |i| base + i as isize * step))
            .collect();
    }
    all
}

fn pick<T: Copy>(from: &[T], which: impl Iterator<Item = usize>) -> Vec<T> {
    which.filter_map(|i| from.get(i).copied()).collect()
}

/// Where windows lie: in the operand (`None`: dropped), and in the array of windows.
pub(super) struct Windows {
    /// The start of each window in the operand, and in the array of windows.
    starts: Vec<(Option<isize>, isize)>,
    /// The place of each element of a window, counted from those starts.
    within: Vec<(isize, isize)>,
}

impl Windows {
    pub(super) fn new(
        numbers: &GatherDimensionNumbers,
        sizes: &[usize],
        operand: &[usize],
        windows: &[usize],
        indices: &Buffer,
        mode: GatherScatterMode,
        scatter: bool,
    ) -> Result<Windows> {
        let steps = row_major(operand);
        let out_steps = row_major(windows);
        let shown = || (0..operand.len()).filter(|i| numbers.in_window(*i));
        let inner: Vec<usize> = pick(sizes, shown());
        let from = places(&inner, &pick(&steps, shown()));
        let to = places(
            &inner,
            &pick(&out_steps, numbers.offset_dims.iter().copied()),
        );
        let batch = numbers.batch_dims(windows.len());
        let lead: Vec<usize> = pick(windows, batch.iter().copied());
        let outer = places(&lead, &pick(&out_steps, batch.iter().copied()));

        let parts = numbers.start_index_map.len();
        let positions: Vec<i128> = with_dtype!(indices.dtype(), T => {
            indices.to_vec::<T>()?.into_iter().map(|i| match i.into() {
                Scalar::Int(i) => i,
                _ => 0,
            }).collect()
        });
        let lead_steps = row_major(&lead);
        let mut starts = Vec::with_capacity(outer.len());
        for (k, out) in outer.into_iter().enumerate() {
            let mut start = Some(0isize);
            for (p, axis) in numbers.start_index_map.iter().enumerate() {
                let at = positions.get(k * parts + p).copied().unwrap_or(0);
                let n = operand.get(*axis).copied().unwrap_or(0) as i128;
                let last = n - sizes.get(*axis).copied().unwrap_or(0) as i128;
                let inside = (0..=last).contains(&at);
                let step = steps.get(*axis).copied().unwrap_or(0);
                let moved = match mode {
                    _ if inside => Some(at),
                    GatherScatterMode::Clip => Some(at.clamp(0, last.max(0))),
                    GatherScatterMode::PromiseInBounds if !scatter => {
                        Some(at.clamp(0, last.max(0)))
                    }
                    GatherScatterMode::PromiseInBounds | GatherScatterMode::FillOrDrop => None,
                };
                start = start.zip(moved).map(|(s, at)| s + at as isize * step);
            }
            for (axis, along) in numbers
                .operand_batching_dims
                .iter()
                .zip(&numbers.start_indices_batching_dims)
            {
                let step = lead_steps.get(*along).copied().unwrap_or(1).max(1) as usize;
                let n = lead.get(*along).copied().unwrap_or(1).max(1);
                let at = k / step % n;
                start = start.map(|s| s + (at as isize) * steps.get(*axis).copied().unwrap_or(0));
            }
            starts.push((start, out));
        }
        Ok(Windows {
            starts,
            within: from.into_iter().zip(to).collect(),
        })
    }

    /// The place of each element in the operand, and in the array of windows; without those that are dropped.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.starts.iter().flat_map(|(start, other)| {
            let within = start.map(|start| (start, &self.within));
            within.into_iter().flat_map(move |(start, within)| {
                let each = within.iter();
                each.map(move |(a, b)| ((start + a) as usize, (other + b) as usize))
            })
        })
    }
}

pub(super) fn gather(p: &Gather, x: &Buffer, indices: &Buffer, out: &Aval) -> Result<Buffer> {
    let mut y = Buffer::full(
        out.clone(),
        p.fill_value.unwrap_or_else(|| default_fill(out.dtype)),
    )?;
    if out.size() == 0 {
        return Ok(y);
    }
    let windows = Windows::new(
        &p.dimension_numbers,
        &p.slice_sizes,
        x.shape(),
        &out.shape,
        indices,
        p.mode,
        false,
    )?;
    with_dtype!(out.dtype, T => {
        let x = x.to_vec::<T>()?;
        let mut v = y.to_vec::<T>()?;
        for (start, to) in &windows.starts {
            let Some(start) = start else { continue };
            for (from, at) in &windows.within {
                if let (Some(slot), Some(e)) = (v.get_mut((to + at) as usize), x.get((start + from) as usize)) {
                    *slot = *e;
                }
            }
        }
        y = Buffer::from_data(out.clone(), T::data(v))?;
    });
    Ok(y)
}

pub(super) fn scatter(
    p: &Scatter,
    x: &Buffer,
    indices: &Buffer,
    updates: &Buffer,
    out: &Aval,
) -> Result<Buffer> {
    let numbers = GatherDimensionNumbers::from(&p.dimension_numbers);
    let sizes: Dims = numbers.window_sizes(x.shape().len(), updates.shape());
    let windows = Windows::new(
        &numbers,
        &sizes,
        x.shape(),
        updates.shape(),
        indices,
        p.mode,
        true,
    )?;
    with_dtype!(out.dtype, T => {
        let mut v = x.to_vec::<T>()?;
        let u = updates.to_vec::<T>()?;
        let combine = <T as Combine>::combiner(p.kind.combiner());
        for (start, from) in &windows.starts {
            let Some(start) = start else { continue };
            for (at, within) in &windows.within {
                if let (Some(slot), Some(e)) = (v.get_mut((start + at) as usize), u.get((from + within) as usize)) {
                    *slot = combine(*slot, *e);
                }
            }
        }
        Buffer::from_data(out.clone(), T::data(v))
    })
}
