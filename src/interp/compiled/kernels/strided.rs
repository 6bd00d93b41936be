//! Reading elements by strides.

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
    if inner == 0 {
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
