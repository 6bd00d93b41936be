//! Reductions, by the way that the reduced axes lie in memory.

use super::{
    kernels::{
        Level,
        reduce::{Fold, Foldable, rows, slice},
        strided::{self, Axes, axes_of, count, merge, offset},
    },
    parallel,
    storage::{Pool, zeros},
};
use crate::{
    array::{Aval, Buffer, Data, dtype::with_dtype},
    error::{Error, Result},
    trace::op::{Reduce, Reducer, remaining},
};
use smallvec::SmallVec;
use std::sync::Arc;

fn broken() -> Error {
    Error::internal("a reduction does not fit its operand")
}

pub(super) fn fold_of(r: Reducer) -> Option<Fold> {
    Some(match r {
        Reducer::Sum => Fold::Sum,
        Reducer::Prod => Fold::Prod,
        Reducer::Max => Fold::Max,
        Reducer::Min => Fold::Min,
        Reducer::And => Fold::And,
        Reducer::Or => Fold::Or,
        Reducer::Xor => Fold::Xor,
        Reducer::Argmax(_) | Reducer::Argmin(_) => return None,
    })
}

/// The reduction, or `None` where it is left to the reference interpreter.
pub(super) fn reduce(
    p: &Reduce,
    x: &Buffer,
    out: &Arc<Aval>,
    pool: &mut Pool,
) -> Result<Option<Buffer>> {
    let Some(fold) = fold_of(p.reducer) else {
        return Ok(None);
    };
    if x.is_empty() || x.dtype() != out.dtype {
        return Ok(None);
    }
    let keep = remaining(x.shape().len(), &p.axes, &[]);
    let layout = (x.shape(), x.strides());
    let kept = axes_of(layout, &keep);
    let mut gone = axes_of(layout, &p.axes);
    gone.sort_by_key(|(_, s)| std::cmp::Reverse(s.unsigned_abs()));
    let (kept, gone) = (merge(kept), merge(gone));
    let mut data = pool.take_for(out)?;
    let done = {
        let data = Arc::get_mut(&mut data).ok_or_else(broken)?;
        with_dtype!(x.dtype(), T => typed::<T>(fold, x, &kept, &gone, data)?)
    };
    let y = Buffer::from_storage(out.clone(), data);
    if done {
        return Ok(Some(y));
    }
    pool.give(y);
    Ok(None)
}

fn typed<T: Foldable>(
    fold: Fold,
    x: &Buffer,
    kept: &Axes,
    gone: &Axes,
    data: &mut Data,
) -> Result<bool> {
    let Some(neutral) = T::neutral(fold) else {
        return Ok(false);
    };
    let storage = x.storage::<T>().ok_or_else(broken)?;
    let z = T::vec_mut(data).ok_or_else(broken)?;
    let view = Stack {
        fold,
        storage,
        offset: x.offset(),
        kept,
        gone,
        neutral,
    };
    let unit = |a: &Axes| a.last().is_none_or(|(_, s)| *s == 1);
    if unit(gone) {
        view.lanes(z);
    } else if !kept.is_empty() && unit(kept) && gone.iter().all(|(_, s)| *s > 0) {
        view.columns(z)?;
    } else {
        // Neither lies side by side: a copy in which the reduced axes do.
        let mut copy = zeros::<T>(x.len())?;
        let order: Axes = kept.iter().chain(gone).copied().collect();
        strided::copy(storage, x.offset(), &merge(order), &mut copy);
        let (rows, lane) = (count(kept), count(gone));
        let view = Stack {
            storage: &copy,
            offset: 0,
            kept: &[(rows, lane as isize)].into_iter().collect(),
            gone: &[(lane, 1)].into_iter().collect(),
            ..view
        };
        view.lanes(z);
    }
    Ok(true)
}

struct Stack<'a, T: Foldable> {
    fold: Fold,
    storage: &'a [T],
    offset: usize,
    kept: &'a Axes,
    gone: &'a Axes,
    neutral: T::Wide,
}

impl<T: Foldable> Stack<'_, T> {
    /// The innermost reduced axis lies in order: each element of the result is a combination of slices.
    fn lanes(&self, z: &mut [T]) {
        let nanoseconds = count(self.kept) as f64 * count(self.gone) as f64 * 0.1;
        let size = z.len().div_ceil(parallel::parts(nanoseconds));
        let (lane, outer) = match self.gone.split_last() {
            Some((last, outer)) => (last.0, outer),
            None => (1, &[][..]),
        };
        let level = Level::get();
        let run = |from: usize, z: &mut [T]| {
            for (i, z) in z.iter_mut().enumerate() {
                let base = self.offset as isize + offset(self.kept, from + i);
                let all = self.slices(level, outer, base, lane, 0, count(outer));
                *z = T::narrow(all.unwrap_or(self.neutral));
            }
        };
        if size >= z.len() {
            return run(0, z);
        }
        parallel::each(z.chunks_mut(size).enumerate().collect(), &|(i, z)| {
            run(i * size, z)
        });
    }

    /// Slices `from..to` of the outer reduced axes, combined by halves.
    fn slices(
        &self,
        level: Level,
        outer: &[(usize, isize)],
        base: isize,
        lane: usize,
        from: usize,
        to: usize,
    ) -> Option<T::Wide> {
        if to - from > 1 {
            let half = from + (to - from) / 2;
            let a = self.slices(level, outer, base, lane, from, half)?;
            let b = self.slices(level, outer, base, lane, half, to)?;
            return Some(T::combine(self.fold, a, b));
        }
        let start = usize::try_from(base + offset(outer, from)).ok()?;
        slice(level, self.fold, self.storage.get(start..start + lane)?)
    }

    /// The innermost kept axis lies in order: rows are combined element by element.
    fn columns(&self, z: &mut [T]) -> Result<()> {
        const WIDTH: usize = 1024;
        let (Some(((width, _), outer_kept)), Some(((n, step), outer))) =
            (self.kept.split_last(), self.gone.split_last())
        else {
            return Err(broken());
        };
        let level = Level::get();
        let run = |(i, z): (usize, &mut [T])| {
            let tiles = width.div_ceil(WIDTH);
            let base = self.offset as isize
                + offset(outer_kept, i / tiles)
                + ((i % tiles) * WIDTH) as isize;
            let mut sums: SmallVec<[T::Wide; 256]> = SmallVec::from_elem(self.neutral, z.len());
            for o in 0..count(outer) {
                let at = usize::try_from(base + offset(outer, o)).unwrap_or(usize::MAX);
                let x = self.storage.get(at..).unwrap_or_default();
                let step = step.unsigned_abs();
                rows::<T>(level, self.fold, &mut sums, x, *n, step, self.neutral);
            }
            for (z, s) in z.iter_mut().zip(sums) {
                *z = T::narrow(s);
            }
        };
        // Tiles of columns, none of which crosses a row of the result.
        let tiles = z
            .chunks_mut(*width)
            .flat_map(|row| row.chunks_mut(WIDTH))
            .enumerate();
        let nanoseconds = count(self.kept) as f64 * count(self.gone) as f64 * 0.1;
        if parallel::parts(nanoseconds) == 1 {
            tiles.for_each(run);
        } else {
            parallel::each(tiles.collect(), &run);
        }
        Ok(())
    }
}
