//! Primitives that put elements elsewhere: gather and scatter, concatenation, padding, updates of windows.
//!
//! Each is a list of regions of elements that go from one storage to another by strides; runs that lie in order on both sides are
//! copied as such. What changes a part of its first operand does so in place where nobody else reads that operand.

use super::{
    kernels::{
        reduce::{Fold, Foldable},
        strided::{self, Pairs, runs},
        threads,
    },
    parallel,
    storage::Pool,
    tiled::Operand,
};
use crate::{
    array::{
        Aval, Buffer, DType, Data, Dims, Element, Stored, buffer::row_major, dtype::with_dtype,
    },
    error::{Error, Result},
    interp::reference::{index::Windows, slicing::starts, window::Combine},
    trace::op::{
        Concatenate, Gather, GatherDimensionNumbers, Pad, Scatter, ScatterKind, default_fill,
    },
};
use std::sync::Arc;

fn broken() -> Error {
    Error::internal("elements are moved to where there is no room")
}

/// A primitive that moves elements.
#[derive(Clone, Debug)]
pub(super) enum Move {
    Gather(Arc<Gather>),
    Scatter(Arc<Scatter>),
    Concatenate(Arc<Concatenate>),
    Pad(Arc<Pad>),
    Update,
}

/// Elements of one storage that go to another: sizes with both steps, and where the first is.
struct Region<'a> {
    axes: &'a [(usize, isize, isize)],
    from: isize,
    to: isize,
}

/// Copy a region.
fn copy<T: Copy>(b: &Region<'_>, x: &[T], z: &mut [T]) -> Option<()> {
    let mut whole = Some(());
    runs(
        b.axes,
        b.from,
        b.to,
        &mut |n, [from, to], [step, stride]| {
            if strided::transfer(n, (x, from, step), (z, to, stride)).is_none() {
                whole = None;
            }
        },
    );
    whole
}

/// Sizes with the steps on both sides; neighbours merged.
fn pairs(sizes: &[usize], from: &[isize], to: &[isize]) -> Pairs {
    strided::merged_pairs(
        sizes
            .iter()
            .zip(from)
            .zip(to)
            .map(|((n, s), t)| (*n, *s, *t)),
    )
}

fn storage<T: Stored>(x: &Buffer) -> Result<&[T]> {
    x.storage::<T>().ok_or_else(broken)
}

impl Move {
    /// Does the result begin as the first operand?
    pub(super) fn updates(&self) -> bool {
        matches!(self, Move::Scatter(_) | Move::Update)
    }

    /// Run it. An operand that is given up may become the result.
    pub(super) fn run(
        &self,
        first: Operand<'_>,
        rest: &[&Buffer],
        out: &Arc<Aval>,
        pool: &mut Pool,
    ) -> Result<Buffer> {
        let operand = |i: usize| rest.get(i).copied().ok_or_else(broken);
        let mut data = match first {
            Operand::Owned(b) if self.updates() => match b.into_storage() {
                Ok(data) => data,
                Err(b) => copied(&b, out, pool)?,
            },
            ref x if self.updates() => copied(x.buffer(), out, pool)?,
            ref x => {
                let x = x.buffer();
                let mut data = pool.take_for(out)?;
                let z = Arc::get_mut(&mut data).ok_or_else(broken)?;
                match self {
                    Move::Gather(p) => gather(p, x, operand(0)?, out, z)?,
                    Move::Concatenate(p) => concatenate(p, x, rest, out, z)?,
                    Move::Pad(p) => pad(p, x, operand(0)?, out, z)?,
                    Move::Scatter(_) | Move::Update => return Err(broken()),
                }
                return Ok(Buffer::from_storage(out.clone(), data));
            }
        };
        let z = Arc::get_mut(&mut data).ok_or_else(broken)?;
        match self {
            Move::Scatter(p) => scatter(p, operand(0)?, operand(1)?, out, z)?,
            Move::Update => {
                let (update, at) = rest.split_first().ok_or_else(broken)?;
                self::update(update, at, out, z)?;
            }
            _ => return Err(broken()),
        }
        Ok(Buffer::from_storage(out.clone(), data))
    }
}

/// The elements in storage of their own.
fn copied(x: &Buffer, out: &Arc<Aval>, pool: &mut Pool) -> Result<Arc<Data>> {
    let mut data = pool.take_for(out)?;
    let axes = strided::merged(x.shape(), x.strides());
    with_dtype!(x.dtype(), T => {
        let z = Arc::get_mut(&mut data).and_then(T::vec_mut).ok_or_else(broken)?;
        strided::copy(storage::<T>(x)?, x.offset(), &axes, z);
    });
    Ok(data)
}

fn gather(p: &Gather, x: &Buffer, indices: &Buffer, out: &Aval, data: &mut Data) -> Result<()> {
    let steps = row_major(&out.shape);
    let windows = Windows::new(
        &p.dimension_numbers,
        &p.slice_sizes,
        (x.shape(), x.strides()),
        (&out.shape, &steps),
        indices,
        p.mode,
        false,
    )?;
    let axes = strided::merged_pairs(windows.axes.iter().copied());
    let fill = p.fill_value.unwrap_or_else(|| default_fill(out.dtype));
    let each: usize = axes.iter().map(|a| a.0).product();
    with_dtype!(out.dtype, T => {
        let z = T::vec_mut(data).ok_or_else(broken)?;
        let x_data = storage::<T>(x)?;
        let offset = x.offset() as isize;
        let fill = T::from_scalar(fill);
        // Where windows lie one after the other, each thread has some of them; else one thread has all.
        let in_order = each > 0
            && windows.starts.iter().enumerate().all(|(i, (_, to))| *to == (i * each) as isize);
        let place = |starts: &[(Option<isize>, isize)], before: isize, z: &mut [T]| {
            for (start, to) in starts {
                let to = to - before;
                match start {
                    Some(start) => {
                        copy(&Region { axes: &axes, from: offset + start, to }, x_data, z)?;
                    }
                    // A step of 0 repeats the one number.
                    None => {
                        let axes: Pairs = axes.iter().map(|(n, _, t)| (*n, 0, *t)).collect();
                        copy(&Region { axes: &axes, from: 0, to }, &[fill], z)?;
                    }
                }
            }
            Some(())
        };
        let parts = parallel::parts(z.len() as f64 * 0.3);
        if !in_order || parts == 1 {
            return place(&windows.starts, 0, z).ok_or_else(broken);
        }
        let some = windows.starts.len().div_ceil(parts);
        let chunks = windows.starts.chunks(some).zip(z.chunks_mut(some * each));
        parallel::all(chunks.enumerate().collect(), &|(i, (starts, z))| {
            place(starts, (i * some * each) as isize, z)
        }).ok_or_else(broken)?;
    });
    Ok(())
}

fn scatter(
    p: &Scatter,
    indices: &Buffer,
    updates: &Buffer,
    out: &Aval,
    data: &mut Data,
) -> Result<()> {
    let numbers = GatherDimensionNumbers::from(&p.dimension_numbers);
    let sizes: Dims = numbers.window_sizes(out.shape.len(), updates.shape());
    let windows = Windows::new(
        &numbers,
        &sizes,
        (&out.shape, &row_major(&out.shape)),
        (updates.shape(), updates.strides()),
        indices,
        p.mode,
        true,
    )?;
    // From the updates to the operand.
    let axes = strided::merged_pairs(windows.axes.iter().map(|(n, to, from)| (*n, *from, *to)));
    let reach: isize = axes.iter().map(|(n, _, t)| (*n as isize - 1) * t).sum();
    with_dtype!(out.dtype, T => {
        let z = T::vec_mut(data).ok_or_else(broken)?;
        let u = storage::<T>(updates)?;
        let offset = updates.offset() as isize;
        let combine = <T as Combine>::combiner(p.kind.combiner());
        let sum = p.kind == ScatterKind::Add && out.dtype != DType::Bool;
        let one = |start: isize, from: isize, z: &mut [T]| {
            let b = Region { axes: &axes, from: offset + from, to: start };
            if p.kind == ScatterKind::Set {
                return copy(&b, u, z);
            }
            let mut whole = Some(());
            runs(b.axes, b.from, b.to, &mut |n, [from, to], [step, stride]| {
                let (from, to) = ((u, from, step), (&mut *z, to, stride));
                let done = if sum {
                    strided::combine(n, from, to, |z, x| {
                        T::narrow(T::combine(Fold::Sum, z.widen(), x.widen()))
                    })
                } else {
                    strided::combine(n, from, to, combine)
                };
                if done.is_none() {
                    whole = None;
                }
            });
            whole
        };
        // Each thread has a part of the operand, and of all updates those that go there; a window that lies in two parts leaves
        // the work to one thread.
        let work = updates.len() as f64 * 0.6;
        let parts = parallel::parts(work).min(z.len());
        let size = z.len().div_ceil(parts.max(1)).max(1);
        let whole = |start: isize| start / size as isize == (start + reach) / size as isize;
        let apart = parts > 1
            && windows.starts.len() > threads()
            && windows.starts.iter().all(|(s, _)| s.is_none_or(whole));
        if !apart {
            let all = windows.starts.iter().filter_map(|(s, from)| Some(((*s)?, *from)));
            return all.map(|(s, from)| one(s, from, z)).collect::<Option<()>>().ok_or_else(broken);
        }
        parallel::all(z.chunks_mut(size).enumerate().collect(), &|(i, z)| {
            let begin = (i * size) as isize;
            let mine = begin..begin + z.len() as isize;
            for (start, from) in &windows.starts {
                if let Some(s) = start && mine.contains(s) {
                    one(s - begin, *from, z)?;
                }
            }
            Some(())
        }).ok_or_else(broken)?;
    });
    Ok(())
}

fn concatenate(
    p: &Concatenate,
    first: &Buffer,
    rest: &[&Buffer],
    out: &Aval,
    data: &mut Data,
) -> Result<()> {
    let steps = row_major(&out.shape);
    let step = steps.get(p.dimension).copied().unwrap_or(1);
    with_dtype!(out.dtype, T => {
        let z = T::vec_mut(data).ok_or_else(broken)?;
        let mut to = 0;
        for x in std::iter::once(&first).chain(rest) {
            let axes = pairs(x.shape(), x.strides(), &steps);
            if !x.is_empty() {
                copy(&Region { axes: &axes, from: x.offset() as isize, to }, storage::<T>(x)?, z)
                    .ok_or_else(broken)?;
            }
            to += step * x.shape().get(p.dimension).copied().unwrap_or(0) as isize;
        }
    });
    Ok(())
}

fn pad(p: &Pad, x: &Buffer, value: &Buffer, out: &Aval, data: &mut Data) -> Result<()> {
    let steps = row_major(&out.shape);
    let (mut from, mut to) = (x.offset() as isize, 0);
    let mut axes = Pairs::new();
    for (i, (low, _, between)) in p.padding_config.iter().enumerate() {
        let size = |shape: &[usize]| shape.get(i).copied().unwrap_or(0) as i64;
        let (s, t) = (x.strides().get(i).copied(), steps.get(i).copied());
        let (s, t) = (s.unwrap_or(0), t.unwrap_or(0));
        // Those elements that lie inside: `low + k · step` is at least 0 and below the size.
        let step = between.saturating_add(1);
        // How many steps it is to a place that is not before it.
        let steps_to = |place: i64| {
            let place = u64::try_from(place).unwrap_or(0);
            place.div_ceil(step.max(1) as u64) as i64
        };
        let begin = steps_to(low.saturating_neg());
        let end = steps_to(size(&out.shape).saturating_sub(*low)).min(size(x.shape()));
        let n = (end - begin).max(0) as usize;
        if n == 0 {
            axes.push((0, 0, 0));
            continue;
        }
        axes.push((n, s, t * step as isize));
        from += s * begin as isize;
        to += t * (low + begin * step) as isize;
    }
    let axes = strided::merged_pairs(axes);
    with_dtype!(out.dtype, T => {
        let z = T::vec_mut(data).ok_or_else(broken)?;
        z.fill(value.storage::<T>().and_then(|v| v.get(value.offset())).copied().ok_or_else(broken)?);
        if axes.iter().all(|a| a.0 > 0) {
            copy(&Region { axes: &axes, from, to }, storage::<T>(x)?, z).ok_or_else(broken)?;
        }
    });
    Ok(())
}

fn update(x: &Buffer, at: &[&Buffer], out: &Aval, data: &mut Data) -> Result<()> {
    let steps = row_major(&out.shape);
    let at = starts(&out.shape, x.shape(), at)?;
    let to = at.iter().zip(&steps).map(|(i, s)| *i as isize * s).sum();
    let axes = pairs(x.shape(), x.strides(), &steps);
    if x.is_empty() {
        return Ok(());
    }
    with_dtype!(out.dtype, T => {
        let z = T::vec_mut(data).ok_or_else(broken)?;
        copy(&Region { axes: &axes, from: x.offset() as isize, to }, storage::<T>(x)?, z)
            .ok_or_else(broken)?;
    });
    Ok(())
}
