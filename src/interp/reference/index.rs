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

/// A shape, and the steps of its axes in storage.
type Layout<'a> = (&'a [usize], &'a [isize]);

/// Where windows lie: in the operand (`None`: dropped), and in the array of windows.
pub(in crate::interp) struct Windows {
    /// The start of each window in the operand, and in the array of windows.
    pub(in crate::interp) starts: Vec<(Option<isize>, isize)>,
    /// The axes of a window: its size, and the step in the operand and in the array of windows.
    pub(in crate::interp) axes: Vec<(usize, isize, isize)>,
}

impl Windows {
    pub(in crate::interp) fn new(
        numbers: &GatherDimensionNumbers,
        sizes: &[usize],
        (operand, steps): Layout<'_>,
        (windows, out_steps): Layout<'_>,
        indices: &Buffer,
        mode: GatherScatterMode,
        scatter: bool,
    ) -> Result<Windows> {
        let shown = || (0..operand.len()).filter(|i| numbers.in_window(*i));
        let inner: Vec<usize> = pick(sizes, shown());
        let from = pick(steps, shown());
        let to = pick(out_steps, numbers.offset_dims.iter().copied());
        let axes = inner.into_iter().zip(from).zip(to);
        let axes = axes.map(|((n, s), t)| (n, s, t)).collect();
        let batch = numbers.batch_dims(windows.len());
        let lead: Vec<usize> = pick(windows, batch.iter().copied());
        let outer = places(&lead, &pick(out_steps, batch.iter().copied()));

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
        Ok(Windows { starts, axes })
    }

    /// The places of the elements of a window, counted from where it starts.
    fn within(&self) -> Vec<(isize, isize)> {
        let sizes: Vec<usize> = self.axes.iter().map(|a| a.0).collect();
        let from: Vec<isize> = self.axes.iter().map(|a| a.1).collect();
        let to: Vec<isize> = self.axes.iter().map(|a| a.2).collect();
        places(&sizes, &from)
            .into_iter()
            .zip(places(&sizes, &to))
            .collect()
    }

    /// Call `f` with the place of each element in the operand and in the array of windows, but for those that are dropped.
    pub(super) fn each(&self, mut f: impl FnMut(usize, usize)) {
        let within = self.within();
        for (start, other) in &self.starts {
            let Some(start) = start else { continue };
            for (a, b) in &within {
                f((start + a) as usize, (other + b) as usize);
            }
        }
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
        (x.shape(), x.strides()),
        (&out.shape, &row_major(&out.shape)),
        indices,
        p.mode,
        false,
    )?;
    with_dtype!(out.dtype, T => {
        let storage = x.storage::<T>().unwrap_or_default();
        let mut v = y.to_vec::<T>()?;
        windows.each(|from, to| {
            if let (Some(slot), Some(e)) = (v.get_mut(to), storage.get(x.offset().wrapping_add(from))) {
                *slot = *e;
            }
        });
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
        (x.shape(), &row_major(x.shape())),
        (updates.shape(), &row_major(updates.shape())),
        indices,
        p.mode,
        true,
    )?;
    with_dtype!(out.dtype, T => {
        let mut v = x.to_vec::<T>()?;
        let u = updates.to_vec::<T>()?;
        let combine = <T as Combine>::combiner(p.kind.combiner());
        windows.each(|at, from| {
            if let (Some(slot), Some(e)) = (v.get_mut(at), u.get(from)) {
                *slot = combine(*slot, *e);
            }
        });
        Buffer::from_data(out.clone(), T::data(v))
    })
}
