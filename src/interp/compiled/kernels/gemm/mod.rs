//! Matrix products over strided slices.
//!
//! The way of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008): the right operand is packed into
//! panels as wide as a tile, which the caches keep while the left one passes by; a tile of the result stays in registers
//! ([`tile`]). The left operand is read where it is if its rows run along the summed axis. Products with few rows read the right
//! operand where it is, too, and those of which the result is a tall stack of few columns are computed transposed.

mod loops;
mod tile;

pub(in crate::interp::compiled) use loops::Multiply;

use super::Level;
use crate::{
    array::{Stored, buffer::try_vec},
    error::{Error, Result},
    interp::compiled::parallel,
};
use num_complex::Complex;
use std::{cell::Cell, ops::Range, sync::Mutex};
use tile::{Kernels, SQUARE, Tile, Turn};

/// A matrix in a slice: where it begins, and the steps from row to row and from column to column.
#[derive(Clone, Copy)]
pub(in crate::interp::compiled) struct Matrix<'a, T> {
    pub storage: &'a [T],
    pub offset: usize,
    pub rows: isize,
    pub columns: isize,
}

impl<T: Copy> Matrix<'_, T> {
    /// Do the corners of a matrix of this size lie in the storage?
    fn holds(&self, m: usize, n: usize) -> bool {
        let (mut low, mut high) = (self.offset as i128, self.offset as i128);
        for (n, s) in [(m, self.rows), (n, self.columns)] {
            let reach = (n as i128 - 1) * s as i128;
            low += reach.min(0);
            high += reach.max(0);
        }
        low >= 0 && high < self.storage.len() as i128
    }

    fn at(&self, i: usize, j: usize) -> usize {
        (self.offset as isize + i as isize * self.rows + j as isize * self.columns) as usize
    }

    fn get(&self, i: usize, j: usize) -> Option<T> {
        self.storage.get(self.at(i, j)).copied()
    }

    /// Rows as columns.
    pub fn turned(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    fn from(&self, i: usize, j: usize) -> *const T {
        self.storage.as_ptr().wrapping_add(self.at(i, j))
    }
}

/// The types of which large products are computed in blocks.
pub(in crate::interp::compiled) trait Gemm: Multiply {
    /// The rows of `z`, which begin `step` apart, become those of `x · y` (of `m · n` elements, `k` products each), or have them
    /// added. An error where an operand does not hold as much, or there is no memory to pack.
    fn gemm(
        size: [usize; 3],
        x: Matrix<'_, Self>,
        y: Matrix<'_, Self>,
        z: &mut [Self],
        step: usize,
        accumulate: bool,
        threads: usize,
    ) -> Result<()>;
}

/// How many elements a right operand of `k` rows and `n` columns takes when it is [packed](pack).
pub(in crate::interp::compiled) fn packed_len<T: Kernels>(k: usize, n: usize) -> usize {
    n.next_multiple_of(T::kernel(Level::get()).columns) * k
}

/// How many columns a panel of a [packed](pack) operand has. Panels follow each other, each row by row.
pub(in crate::interp::compiled) fn panel_width<T: Kernels>() -> usize {
    T::kernel(Level::get()).columns
}

/// Pack a right operand of `k` rows and `n` columns, for any number of [products](times_packed).
pub(in crate::interp::compiled) fn pack<T: Packed>(
    y: Matrix<'_, T>,
    [k, n]: [usize; 2],
    packed: &mut [T],
    threads: usize,
) -> Result<()> {
    if !y.holds(k, n) || packed.len() < packed_len::<T>(k, n) {
        return Err(outside());
    }
    Job::of([0, n, k], y, y, nowhere(), false).pack(packed, threads);
    Ok(())
}

/// The rows of `z`, which begin `step` apart, become those of `x · y`, or have them added, in this thread. `y` is packed.
pub(in crate::interp::compiled) fn times_packed<T: Packed>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, T>,
    packed: &[T],
    z: &mut [T],
    step: usize,
    accumulate: bool,
) -> Result<()> {
    let room = m > 0 && step >= n && z.len() >= (m - 1) * step + n;
    if !room || !x.holds(m, k) || packed.len() < packed_len::<T>(k, n) {
        return Err(outside());
    }
    let target = Target {
        start: z.as_mut_ptr(),
        rows: step as isize,
        columns: 1,
    };
    let job = Job::of([m, n, k], x, x, target, accumulate);
    let panels = job.panels();
    let pack_rows = pays_to_pack(x, panels);
    job.part(packed, 0..m, 0..panels, pack_rows)
}

fn outside() -> Error {
    Error::internal("a matrix product reaches outside of its operands")
}

/// With few panels packing a column of `x` costs more than reading it where it is.
fn pays_to_pack<T>(x: Matrix<'_, T>, panels: usize) -> bool {
    x.columns != 1 && !(x.rows == 1 && panels <= 2)
}

/// Where nothing is written.
fn nowhere<T>() -> Target<T> {
    Target {
        start: std::ptr::null_mut(),
        rows: 0,
        columns: 0,
    }
}

/// Numbers with kernels of their own, and memory of each thread to pack them in.
pub(in crate::interp::compiled) trait Packed:
    Multiply + Kernels + Send + Sync
{
    /// Run `f` with memory of so many elements, of any value.
    fn with_scratch<R>(of: Side, n: usize, f: impl FnOnce(&mut [Self]) -> R) -> Result<R>;
}

/// Which operand is packed: each has memory of its own.
#[derive(Clone, Copy)]
pub(in crate::interp::compiled) enum Side {
    Left,
    Right,
}

macro_rules! packed {
    ($($T:ident)*) => {$(
        impl Packed for $T {
            fn with_scratch<R>(of: Side, n: usize, f: impl FnOnce(&mut [$T]) -> R) -> Result<R> {
                thread_local! {
                    static LEFT: Cell<Vec<$T>> = const { Cell::new(Vec::new()) };
                    static RIGHT: Cell<Vec<$T>> = const { Cell::new(Vec::new()) };
                }
                let scratch = match of {
                    Side::Left => &LEFT,
                    Side::Right => &RIGHT,
                };
                // A panel begins on a line of the cache.
                const LINE: usize = 64;
                let room = n + LINE / size_of::<$T>();
                let mut memory = scratch.take();
                if memory.len() < room {
                    memory = try_vec(room)?;
                    memory.resize(room, 0.0);
                }
                let from = memory.as_ptr().align_offset(LINE).min(room - n);
                let result = f(memory.get_mut(from..from + n).unwrap_or_default());
                if memory.len() <= 2 * BLOCK {
                    scratch.set(memory);
                }
                Ok(result)
            }
        }

        impl Gemm for $T {
            fn gemm(
                size: [usize; 3],
                x: Matrix<'_, $T>,
                y: Matrix<'_, $T>,
                z: &mut [$T],
                step: usize,
                accumulate: bool,
                threads: usize,
            ) -> Result<()> {
                real(size, x, y, z, step, accumulate, threads)
            }
        }

        impl Gemm for Complex<$T> {
            fn gemm(
                size: [usize; 3],
                x: Matrix<'_, Self>,
                y: Matrix<'_, Self>,
                z: &mut [Self],
                step: usize,
                accumulate: bool,
                threads: usize,
            ) -> Result<()> {
                complex::<$T>(size, x, y, z, step, accumulate, threads)
            }
        }
    )*};
}
packed!(f32 f64);

/// How far along the summed axis a tile goes: a panel of `y` of that many rows stays in the first level of cache.
const DEPTH: usize = 384;
/// The same where `y` is read in place: so many of its rows are streams that the processor reads ahead of.
const STREAMS: usize = 16;
/// How many rows of `x` are read again for each panel: they stay in the second.
const ROWS: usize = 192;
/// How many elements of `y` are packed at once, and how many columns at most.
const BLOCK: usize = 1 << 20;
const COLUMNS: usize = 2048;

/// A result that several threads write, each its own part.
#[derive(Clone, Copy)]
struct Target<T> {
    start: *mut T,
    rows: isize,
    columns: isize,
}
// SAFETY: it is only an address; those who write there divide it among them.
unsafe impl<T> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Target<T> {}

fn real<T: Packed>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: &mut [T],
    step: usize,
    accumulate: bool,
    threads: usize,
) -> Result<()> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    if step < n || z.len() < (m - 1) * step + n || (k > 0 && !(x.holds(m, k) && y.holds(k, n))) {
        return Err(outside());
    }
    if k == 0 {
        if !accumulate {
            let rows = z.chunks_mut(step).filter_map(|z| z.get_mut(..n));
            rows.for_each(|z| z.fill(T::ZERO));
        }
        return Ok(());
    }
    let z = Target {
        start: z.as_mut_ptr(),
        rows: step as isize,
        columns: 1,
    };
    let turned = Target {
        rows: 1,
        columns: z.rows,
        ..z
    };
    // What is packed is read and written once: it should be the smaller operand, if the other can be read where it is.
    let few_rows = m <= IN_PLACE * T::kernel(Level::get()).rows;
    let packed = if few_rows && y.columns == 1 { 0 } else { n };
    if y.rows == 1 && k * packed > k * m + m * n {
        return blocks(
            [n, m, k],
            y.turned(),
            x.turned(),
            turned,
            accumulate,
            threads,
        );
    }
    blocks([m, n, k], x, y, z, accumulate, threads)
}

/// Up to how many tiles one above the other the right operand is not worth packing for.
const IN_PLACE: usize = 2;

/// What all threads know of a block.
struct Job<'a, T> {
    kernel: tile::Kernel<T>,
    x: Matrix<'a, T>,
    y: Matrix<'a, T>,
    z: Target<T>,
    m: usize,
    /// The columns and the part of the summed axis that the block is of.
    columns: Range<usize>,
    depth: Range<usize>,
    in_place: bool,
    accumulate: bool,
}

fn blocks<T: Packed>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: Target<T>,
    accumulate: bool,
    threads: usize,
) -> Result<()> {
    let kernel = || T::kernel(Level::get());
    let width = kernel().columns;
    let columns = n.next_multiple_of(width).min(COLUMNS);
    let depth = (BLOCK / columns).max(DEPTH) / DEPTH * DEPTH;
    let panels = columns / width;
    let in_place = y.columns == 1 && m <= IN_PLACE * kernel().rows;
    let flops = m as f64 * n as f64 * k as f64;
    let threads = if flops > 2e6 { threads.max(1) } else { 1 };
    let pack_rows = pays_to_pack(x, panels);
    T::with_scratch(
        Side::Right,
        depth.min(k) * columns,
        |packed| -> Result<()> {
            for from in (0..n).step_by(columns) {
                for top in (0..k).step_by(depth) {
                    let job = Job {
                        kernel: kernel(),
                        x,
                        y,
                        z,
                        m,
                        columns: from..n.min(from + columns),
                        depth: top..k.min(top + depth),
                        in_place,
                        accumulate: accumulate || top > 0,
                    };
                    job.pack(packed, threads);
                    job.run(packed, threads, pack_rows)?;
                }
            }
            Ok(())
        },
    )?
}

impl<'a, T: Packed> Job<'a, T> {
    /// All of a product, with `y` packed.
    fn of(
        [m, n, k]: [usize; 3],
        x: Matrix<'a, T>,
        y: Matrix<'a, T>,
        z: Target<T>,
        accumulate: bool,
    ) -> Self {
        Job {
            kernel: T::kernel(Level::get()),
            x,
            y,
            z,
            m,
            columns: 0..n,
            depth: 0..k,
            in_place: false,
            accumulate,
        }
    }

    fn panels(&self) -> usize {
        self.columns.len().div_ceil(self.kernel.columns)
    }

    /// The elements of `y`: one panel after the other, of each the rows, as wide as a tile. Columns past the last are zeros.
    fn pack(&self, packed: &mut [T], threads: usize) {
        let size = self.depth.len() * self.kernel.columns;
        let panels: Vec<(usize, &mut [T])> = packed
            .chunks_mut(size)
            .enumerate()
            .take(self.panels())
            .collect();
        let fill = |(p, packed): (usize, &mut [T])| {
            if self.is_in_place(p) {
                return;
            }
            let from = self.columns.start + p * self.kernel.columns;
            let n = self
                .columns
                .end
                .saturating_sub(from)
                .min(self.kernel.columns);
            let y = Matrix {
                offset: self.y.at(self.depth.start, from),
                ..self.y
            };
            copy(
                y,
                [self.depth.len(), n],
                packed,
                self.kernel.columns,
                self.kernel.turn,
            );
        };
        if threads > 1 && panels.len() > 1 && size * panels.len() > 1 << 15 {
            parallel::in_parts(panels, threads, &fill);
        } else {
            panels.into_iter().for_each(fill);
        }
    }

    /// Is a panel read where it is?
    fn is_in_place(&self, panel: usize) -> bool {
        let end = self.columns.start + (panel + 1) * self.kernel.columns;
        self.in_place && end <= self.columns.end
    }

    /// All tiles of the block, by rows or by columns among the threads.
    fn run(&self, packed: &[T], threads: usize, pack_rows: bool) -> Result<()> {
        let tiles = self.m.div_ceil(self.kernel.rows);
        let panels = self.panels();
        let by_rows = tiles >= 2 * threads || tiles >= panels;
        let all = if by_rows { tiles } else { panels };
        let size = all.div_ceil(threads.min(all).max(1));
        let parts = (0..all)
            .step_by(size)
            .map(|from| from..all.min(from + size));
        let failed = Mutex::new(None);
        let run = |part: Range<usize>| {
            let rows = part.start * self.kernel.rows..self.m.min(part.end * self.kernel.rows);
            let done = if by_rows {
                self.part(packed, rows, 0..panels, pack_rows)
            } else {
                self.part(packed, 0..self.m, part, pack_rows)
            };
            if let (Err(e), Ok(mut failed)) = (done, failed.lock()) {
                *failed = Some(e);
            }
        };
        if threads > 1 {
            parallel::each(parts.collect(), &run);
        } else {
            parts.for_each(run);
        }
        match failed.into_inner() {
            Ok(Some(e)) => Err(e),
            _ => Ok(()),
        }
    }

    fn part(
        &self,
        packed: &[T],
        rows: Range<usize>,
        panels: Range<usize>,
        pack_rows: bool,
    ) -> Result<()> {
        let scratch = if pack_rows {
            ROWS.next_multiple_of(self.kernel.rows) * DEPTH
        } else {
            0
        };
        let step = if self.in_place { STREAMS } else { DEPTH };
        T::with_scratch(Side::Left, scratch, |left| {
            for from in rows.clone().step_by(ROWS) {
                let rows = from..rows.end.min(from + ROWS);
                for top in self.depth.clone().step_by(step) {
                    let depth = top..self.depth.end.min(top + step);
                    self.rows(
                        packed,
                        rows.clone(),
                        depth,
                        panels.clone(),
                        pack_rows.then_some(&mut *left),
                    );
                }
            }
        })
    }

    /// A few rows of the result, and a part of the sum: the panels one after the other.
    fn rows(
        &self,
        packed: &[T],
        rows: Range<usize>,
        depth: Range<usize>,
        panels: Range<usize>,
        left: Option<&mut [T]>,
    ) {
        let (height, width) = (self.kernel.rows, self.kernel.columns);
        let (k, top) = (depth.len(), depth.start - self.depth.start);
        // Packed rows: tile by tile, of each the columns.
        let left = left.map(|left| {
            for (tile, left) in left
                .chunks_mut(height * k)
                .enumerate()
                .take(rows.len().div_ceil(height))
            {
                let from = rows.start + tile * height;
                let x = Matrix {
                    offset: self.x.at(from, depth.start),
                    ..self.x.turned()
                };
                copy(
                    x,
                    [k, height.min(rows.end - from)],
                    left,
                    height,
                    self.kernel.turn,
                );
            }
            &*left
        });
        for panel in panels {
            let column = self.columns.start + panel * width;
            let (b, b_row) = if self.is_in_place(panel) {
                (self.y.from(depth.start, column), self.y.rows as usize)
            } else {
                let at = panel * self.depth.len() * width + top * width;
                (packed.as_ptr().wrapping_add(at), width)
            };
            for (tile, row) in rows.clone().step_by(height).enumerate() {
                let (a, a_row, a_column) = match left {
                    Some(left) => (
                        left.as_ptr().wrapping_add(tile * height * k),
                        1,
                        height as isize,
                    ),
                    None => (self.x.from(row, depth.start), self.x.rows, self.x.columns),
                };
                let at = row as isize * self.z.rows + column as isize * self.z.columns;
                let tile = Tile {
                    k,
                    rows: height.min(rows.end - row),
                    columns: width.min(self.columns.end - column),
                    a,
                    a_row,
                    a_column,
                    b,
                    b_row,
                    z: self.z.start.wrapping_offset(at),
                    z_row: self.z.rows,
                    z_column: self.z.columns,
                    accumulate: self.accumulate || top > 0,
                };
                // SAFETY: the kernel is that of the level that was found. `real` has checked that the corners of the operands
                // and of the result lie in their slices; packed panels hold whole vectors, and only whole panels are read in
                // place. Threads have rows or columns of `z` to themselves.
                unsafe { (self.kernel.run)(&tile) };
            }
        }
    }
}

/// Copy `rows` × `columns` elements to where rows begin `step` apart; the rest of each row becomes zeros.
fn copy<T: Stored>(
    from: Matrix<'_, T>,
    [rows, columns]: [usize; 2],
    to: &mut [T],
    step: usize,
    turn: Option<Turn<T>>,
) {
    let columns = columns.min(step);
    for to in to.chunks_mut(step).take(rows) {
        to.iter_mut().skip(columns).for_each(|to| *to = T::ZERO);
    }
    if from.columns == 1 {
        for (i, to) in to.chunks_exact_mut(step).enumerate().take(rows) {
            let row = from
                .storage
                .get(from.at(i, 0)..)
                .and_then(|row| row.get(..columns));
            if let (Some(to), Some(row)) = (to.get_mut(..columns), row) {
                to.copy_from_slice(row);
            }
        }
        return;
    }
    // Along the rows of the source, which run down here: a square at a time where there is a kernel for it.
    let turn = turn.filter(|_| {
        from.rows == 1 && from.columns > 0 && from.holds(rows, columns) && rows * step <= to.len()
    });
    let square = |n: usize| n / SQUARE * SQUARE;
    let (high, wide) = turn.map_or((0, 0), |_| (square(rows), square(columns)));
    if let Some(turn) = turn {
        for i in (0..high).step_by(SQUARE) {
            for j in (0..wide).step_by(SQUARE) {
                let target = to.as_mut_ptr().wrapping_add(i * step + j);
                // SAFETY: the corners of the source lie in its storage, and `rows` whole rows in the target; squares are whole.
                // The kernel is that of a level that was found.
                unsafe { turn(from.from(i, j), from.columns as usize, target, step) };
            }
        }
    }
    for i in 0..rows {
        let done = if i < high { wide } else { 0 };
        let row = to.get_mut(i * step..).unwrap_or_default();
        for (j, to) in row.iter_mut().enumerate().take(columns).skip(done) {
            *to = from.get(i, j).unwrap_or_default();
        }
    }
}

/// By real products of the parts: `(a + bi)(c + di)` is `ac − bd + (ad + bc)i`.
fn complex<R>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, Complex<R>>,
    y: Matrix<'_, Complex<R>>,
    z: &mut [Complex<R>],
    step: usize,
    accumulate: bool,
    threads: usize,
) -> Result<()>
where
    R: Packed + std::ops::Neg<Output = R> + std::ops::AddAssign,
    Complex<R>: Stored,
{
    if k > 0 && !(x.holds(m, k) && y.holds(k, n)) {
        return Err(outside());
    }
    type Part<R> = fn(Complex<R>) -> R;
    let parts = |z: Matrix<'_, Complex<R>>, [m, n]: [usize; 2], part: Part<R>| -> Result<Vec<R>> {
        let mut v = try_vec(m * n)?;
        for i in 0..m {
            v.extend((0..n).map(|j| z.get(i, j).map_or(R::ZERO, part)));
        }
        Ok(v)
    };
    let (re, im, minus_im): (Part<R>, Part<R>, Part<R>) = (|z| z.re, |z| z.im, |z| -z.im);
    let (a, b) = (parts(x, [m, k], re)?, parts(x, [m, k], im)?);
    let minus_b = parts(x, [m, k], minus_im)?;
    let (c, d) = (parts(y, [k, n], re)?, parts(y, [k, n], im)?);
    let sum = |left: [&[R]; 2], right: [&[R]; 2]| -> Result<Vec<R>> {
        let mut sum = try_vec(m * n)?;
        sum.resize(m * n, R::ZERO);
        for (i, (x, y)) in left.into_iter().zip(right).enumerate() {
            let matrix = |storage, rows: usize| Matrix {
                storage,
                offset: 0,
                rows: rows as isize,
                columns: 1,
            };
            real(
                [m, n, k],
                matrix(x, k),
                matrix(y, n),
                &mut sum,
                n,
                i > 0,
                threads,
            )?;
        }
        Ok(sum)
    };
    let (real_part, imaginary) = (sum([&a, &minus_b], [&c, &d])?, sum([&a, &b], [&d, &c])?);
    let rows = z.chunks_mut(step.max(1)).zip(real_part.chunks(n.max(1)));
    for ((z, re), im) in rows.zip(imaginary.chunks(n.max(1))) {
        for ((z, re), im) in z.iter_mut().zip(re).zip(im) {
            if accumulate {
                z.re += *re;
                z.im += *im;
            } else {
                *z = Complex::new(*re, *im);
            }
        }
    }
    Ok(())
}
