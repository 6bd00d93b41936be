//! Reading elements by strides.

use crate::array::Dims;
use smallvec::SmallVec;

/// Axes as pairs of size and stride, the fastest last.
pub(in crate::interp::compiled) type Axes = SmallVec<[(usize, isize); 6]>;

/// The axes of a view with neighbours merged where their strides allow it, and those of size 1 left out.
pub(in crate::interp::compiled) fn merged(shape: &[usize], strides: &[isize]) -> Axes {
    let mut axes = Axes::new();
    for (&n, &s) in shape.iter().zip(strides) {
        if n == 1 {
            continue;
        }
        match axes.last_mut() {
            Some((m, t)) if *t == s * n as isize => {
                *m *= n;
                *t = s;
            }
            _ => axes.push((n, s)),
        }
    }
    axes
}

/// The axes of a list, with their strides.
pub(in crate::interp::compiled) fn axes_of(
    (shape, strides): (&[usize], &[isize]),
    list: &[usize],
) -> Axes {
    let at = |i: &usize| Some((*shape.get(*i)?, *strides.get(*i)?));
    list.iter().filter_map(at).collect()
}

/// Neighbours merged, as by [`merged`].
pub(in crate::interp::compiled) fn merge(axes: Axes) -> Axes {
    let (shape, strides): (Dims, SmallVec<[isize; 4]>) = axes.into_iter().unzip();
    merged(&shape, &strides)
}

/// How many elements there are along axes.
pub(in crate::interp::compiled) fn count(axes: &[(usize, isize)]) -> usize {
    axes.iter().map(|(n, _)| *n).product()
}

/// Where the element of this number, in row-major order, lies.
pub(in crate::interp::compiled) fn offset(axes: &[(usize, isize)], mut index: usize) -> isize {
    let mut at = 0;
    for (n, s) in axes.iter().rev() {
        at += (index % n) as isize * s;
        index /= n;
    }
    at
}

/// Where it lies on both sides.
pub(in crate::interp::compiled) fn offsets(
    axes: &[(usize, isize, isize)],
    mut index: usize,
) -> [isize; 2] {
    let mut at = [0; 2];
    for (n, s, t) in axes.iter().rev() {
        let i = (index % n) as isize;
        at = [at[0] + i * s, at[1] + i * t];
        index /= n;
    }
    at
}

/// Axes of two views at once: sizes with both strides, the fastest last.
pub(in crate::interp::compiled) type Pairs = SmallVec<[(usize, isize, isize); 4]>;

/// The same with neighbours merged where both strides allow it, and without those of size 1.
pub(in crate::interp::compiled) fn merged_pairs(
    axes: impl IntoIterator<Item = (usize, isize, isize)>,
) -> Pairs {
    let mut merged = Pairs::new();
    for (n, s, t) in axes {
        if n == 1 {
            continue;
        }
        match merged.last_mut() {
            Some((m, p, q)) if *p == s * n as isize && *q == t * n as isize => {
                *m *= n;
                (*p, *q) = (s, t);
            }
            _ => merged.push((n, s, t)),
        }
    }
    merged
}

/// Call `f` for each run along the last axis: its length, where it begins on both sides, and both steps.
pub(in crate::interp::compiled) fn runs(
    axes: &[(usize, isize, isize)],
    from: isize,
    to: isize,
    f: &mut dyn FnMut(usize, [isize; 2], [isize; 2]),
) {
    match axes {
        [] => f(1, [from, to], [1, 1]),
        [(n, s, t)] => f(*n, [from, to], [*s, *t]),
        [(n, s, t), inner @ ..] => {
            for i in 0..*n as isize {
                runs(inner, from + i * s, to + i * t, f);
            }
        }
    }
}

/// Where a run of `n` elements lies in a slice of this length; `None` where it reaches outside.
fn span(n: usize, from: isize, step: isize, len: usize) -> Option<usize> {
    let last = from.checked_add(step.checked_mul(n as isize - 1)?)?;
    let (first, last) = (usize::try_from(from).ok()?, usize::try_from(last).ok()?);
    (first.max(last) < len).then_some(first)
}

/// Combine a run of `n` elements into another: `z = f(z, x)`. Each is a slice, where the run begins, and its step. `None` where one
/// reaches outside.
#[inline(always)]
pub(in crate::interp::compiled) fn combine<T: Copy>(
    n: usize,
    (x, from, step): (&[T], isize, isize),
    (z, to, stride): (&mut [T], isize, isize),
    f: impl Fn(T, T) -> T,
) -> Option<()> {
    if n == 0 {
        return Some(());
    }
    let (a, b) = (span(n, from, step, x.len())?, span(n, to, stride, z.len())?);
    if step == 1 && stride == 1 {
        let (x, z) = (x.get(a..a + n)?, z.get_mut(b..b + n)?);
        z.iter_mut().zip(x).for_each(|(z, x)| *z = f(*z, *x));
        return Some(());
    }
    let (mut a, mut b) = (a, b);
    for _ in 0..n {
        let slot = z.get_mut(b)?;
        *slot = f(*slot, *x.get(a)?);
        (a, b) = (a.wrapping_add_signed(step), b.wrapping_add_signed(stride));
    }
    Some(())
}

/// Copy a run of `n` elements to another.
pub(in crate::interp::compiled) fn transfer<T: Copy>(
    n: usize,
    (x, from, step): (&[T], isize, isize),
    (z, to, stride): (&mut [T], isize, isize),
) -> Option<()> {
    if n > 0 && step == 1 && stride == 1 {
        let (a, b) = (span(n, from, 1, x.len())?, span(n, to, 1, z.len())?);
        z.get_mut(b..b + n)?.copy_from_slice(x.get(a..a + n)?);
        return Some(());
    }
    combine(n, (x, from, step), (z, to, stride), |_, x| x)
}

/// Elements `start..` in row-major order of a view on `storage`, as many as `z` holds. Positions outside of the storage are
/// left as they are.
pub(in crate::interp::compiled) fn read<T: Copy>(
    storage: &[T],
    offset: usize,
    axes: &[(usize, isize)],
    start: usize,
    z: &mut [T],
) {
    let Some((&(inner, step), outer)) = axes.split_last() else {
        if let Some(x) = storage.get(offset) {
            z.fill(*x);
        }
        return;
    };
    if axes.iter().any(|(n, _)| *n == 0) {
        return;
    }
    // Where `start` lies.
    let (mut rest, mut at) = (start / inner, offset as isize);
    let mut position = start % inner;
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, outer.len());
    for (i, (n, s)) in index.iter_mut().zip(outer).rev() {
        *i = rest % n;
        rest /= n;
        at += *i as isize * s;
    }
    let mut z = z;
    while !z.is_empty() {
        let n = (inner - position).min(z.len());
        let (run, others) = z.split_at_mut(n);
        run_of(storage, at + position as isize * step, step, run);
        z = others;
        position = 0;
        for (i, (n, s)) in index.iter_mut().zip(outer).rev() {
            *i += 1;
            at += s;
            if *i < *n {
                break;
            }
            at -= s * *n as isize;
            *i = 0;
        }
    }
}

fn run_of<T: Copy>(storage: &[T], from: isize, step: isize, z: &mut [T]) {
    let Ok(start) = usize::try_from(from) else {
        return;
    };
    match step {
        1 => {
            if let Some(x) = storage.get(start..start + z.len()) {
                z.copy_from_slice(x);
            }
        }
        0 => {
            if let Some(x) = storage.get(start) {
                z.fill(*x);
            }
        }
        step if step > 0 => {
            let x = storage.get(start..).unwrap_or_default();
            for (z, x) in z.iter_mut().zip(x.iter().step_by(step as usize)) {
                *z = *x;
            }
        }
        step => {
            let x = storage.get(..=start).unwrap_or_default();
            for (z, x) in z
                .iter_mut()
                .zip(x.iter().rev().step_by(step.unsigned_abs()))
            {
                *z = *x;
            }
        }
    }
}

/// A view as a row-major copy. A transpose goes block by block, each turned in a corner of the cache of its own, so that whole cache
/// lines are read and written.
pub(in crate::interp::compiled) fn copy<T: Copy>(
    storage: &[T],
    offset: usize,
    axes: &[(usize, isize)],
    z: &mut [T],
) {
    const BLOCK: usize = 16;
    let [outer @ .., (rows, 1), (columns, stride)] = axes else {
        return read(storage, offset, axes, 0, z);
    };
    let (rows, columns, stride) = (*rows, *columns, *stride);
    if stride <= 1 || rows * columns == 0 {
        return read(storage, offset, axes, 0, z);
    }
    let plane = rows * columns;
    for (p, z) in z.chunks_exact_mut(plane).enumerate() {
        let mut at = offset as isize;
        let mut rest = p;
        for (n, s) in outer.iter().rev() {
            at += (rest % n) as isize * s;
            rest /= n;
        }
        let Ok(at) = usize::try_from(at) else {
            return;
        };
        let Some(first) = storage.get(at) else {
            return;
        };
        let mut block = [[*first; BLOCK]; BLOCK];
        for i in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - i);
            for j in (0..columns).step_by(BLOCK) {
                let width = BLOCK.min(columns - j);
                for (jj, line) in block.iter_mut().enumerate().take(width) {
                    let from = at + (j + jj) * stride as usize + i;
                    let Some(x) = storage.get(from..from + height) else {
                        return;
                    };
                    for (b, x) in line.iter_mut().zip(x) {
                        *b = *x;
                    }
                }
                for ii in 0..height {
                    let to = (i + ii) * columns + j;
                    let to = z.get_mut(to..to + width).unwrap_or_default();
                    for (z, line) in to.iter_mut().zip(&block) {
                        if let Some(b) = line.get(ii) {
                            *z = *b;
                        }
                    }
                }
            }
        }
    }
}
