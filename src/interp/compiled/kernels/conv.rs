//! Convolution as matrix products: for some places of the window, what lies under it at each is packed as a column, and the kernel,
//! as a matrix, multiplies that ("im2col", block by block, so that no more of it exists than the caches hold).

use super::gemm::{Matrix, Packed, pack, packed_len, panel_width, times_packed};
use crate::{
    array::{Stored, buffer::try_vec},
    error::{Error, Result},
    interp::compiled::parallel,
};
use smallvec::SmallVec;
use std::{ops::Range, sync::Mutex};

/// A spatial axis: lengths and steps.
#[derive(Clone, Copy, Debug)]
pub(in crate::interp::compiled) struct Space {
    /// The length in the image, the kernel and the result.
    pub image: usize,
    pub kernel: usize,
    pub out: usize,
    /// The distance between windows, between neighbours of the image and of the kernel, and what is added before the image.
    pub stride: usize,
    pub image_dilation: usize,
    pub kernel_dilation: usize,
    pub low: isize,
    /// Steps in the storage of the image and of the result.
    pub image_step: isize,
    pub out_step: isize,
}

impl Space {
    /// The element of the image that is under the window at a place, as steps of storage from the first.
    fn at(&self, place: usize, tap: usize) -> Option<isize> {
        let at = (place * self.stride + tap * self.kernel_dilation) as isize - self.low;
        let at = usize::try_from(at).ok()?;
        let inside = at % self.image_dilation == 0 && at / self.image_dilation < self.image;
        inside.then(|| (at / self.image_dilation) as isize * self.image_step)
    }

    /// The places at which an element of the kernel is over the image: from the first to past the last, if nothing lies between.
    fn places(&self, tap: usize) -> (usize, usize) {
        let (low, tap) = (self.low, (tap * self.kernel_dilation) as isize);
        let stride = self.stride as isize;
        let from = (low - tap).max(0) as usize;
        let to = self.image as isize - 1 + low - tap;
        let from = from.div_ceil(self.stride);
        let to = if to < 0 {
            0
        } else {
            (to / stride) as usize + 1
        };
        (from.min(self.out), to.min(self.out).max(from.min(self.out)))
    }
}

/// A convolution: sizes, and steps of storage.
#[derive(Clone, Debug)]
pub(in crate::interp::compiled) struct Convolve {
    /// Batch entries and features of a group: of the result, and of the kernel's second axis.
    pub batch: usize,
    pub features: usize,
    pub channels: usize,
    pub groups: usize,
    /// Steps of storage from group to group, from batch entry to batch entry and from channel to channel.
    pub image: [isize; 3],
    /// The same in the result, where channels are features.
    pub out: [isize; 3],
    pub space: SmallVec<[Space; 3]>,
}

/// Neighbouring places that differ along the last axis only, or in nothing.
struct Run {
    /// Where they begin in their panel, and how many they are.
    from: usize,
    n: usize,
    /// The steps to their batch entry, in the image and in the result.
    image: isize,
    out: isize,
    /// The place along each axis but the last, and the first along the last.
    outer: SmallVec<[usize; 2]>,
    place: usize,
}

/// An element of the kernel for one feature: its channel's steps in the image, and its place in the window.
struct Tap {
    channel: isize,
    taps: SmallVec<[usize; 3]>,
}

/// How much is computed at once: places, and products for each.
const PLACES: usize = 256;
const DEPTH: usize = 256;

/// The result, which threads write at places of their own.
struct Target<T> {
    start: *mut T,
    len: usize,
}
// SAFETY: it is only an address; those who write there divide it among them.
unsafe impl<T> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Target<T> {}

fn broken() -> Error {
    Error::internal("a convolution does not fit its operands")
}

impl Convolve {
    fn places(&self) -> usize {
        self.batch * self.space.iter().map(|s| s.out).product::<usize>()
    }

    /// How many products each element of the result is the sum of.
    pub fn depth(&self) -> usize {
        self.channels * self.space.iter().map(|s| s.kernel).product::<usize>()
    }

    /// Some elements of the kernel for one feature, in the order in which they are summed.
    fn taps(&self, range: Range<usize>) -> Vec<Tap> {
        let tap = |i: usize| {
            let mut rest = i;
            let mut taps: SmallVec<[usize; 3]> = SmallVec::new();
            for s in self.space.iter().rev() {
                taps.insert(0, rest % s.kernel);
                rest /= s.kernel;
            }
            Tap {
                channel: rest as isize * self.image[2],
                taps,
            }
        };
        range.map(tap).collect()
    }

    /// The same with places and elements of the kernel in each other's role, as far as the image is concerned.
    fn turned(&self) -> Convolve {
        let [group, entry, channel] = self.image;
        let turned = |s: &Space| Space {
            kernel: s.out,
            out: s.kernel,
            stride: s.kernel_dilation,
            kernel_dilation: s.stride,
            ..*s
        };
        Convolve {
            batch: self.channels,
            channels: self.batch,
            image: [group, channel, entry],
            space: self.space.iter().map(turned).collect(),
            ..self.clone()
        }
    }

    /// The places `from..from + n` as runs.
    fn runs(&self, from: usize, n: usize) -> SmallVec<[Run; 4]> {
        let mut runs = SmallVec::new();
        let (mut at, end) = (from, from + n);
        while at < end {
            let mut rest = at;
            let mut places: SmallVec<[usize; 2]> = SmallVec::new();
            for s in self.space.iter().rev() {
                places.insert(0, rest % s.out);
                rest /= s.out;
            }
            let place = places.pop().unwrap_or(0);
            let last = self.space.last().map_or(1, |s| s.out);
            let n = (last - place).min(end - at);
            let entry = rest as isize;
            let mut out = entry * self.out[1];
            for (s, p) in self.space.iter().zip(&places) {
                out += *p as isize * s.out_step;
            }
            out += place as isize * self.space.last().map_or(0, |s| s.out_step);
            runs.push(Run {
                from: at - from,
                n,
                image: entry * self.image[1],
                out,
                outer: places,
                place,
            });
            at += n;
        }
        runs
    }

    /// What lies under an element of the kernel at some places; zeros beside the image.
    fn under<T: Stored>(&self, image: &[T], start: isize, tap: &Tap, run: &Run, z: &mut [T]) {
        let mut base = Some(start + run.image + tap.channel);
        for ((s, place), tap) in self.space.iter().zip(&run.outer).zip(&tap.taps) {
            base = base.zip(s.at(*place, *tap)).map(|(base, at)| base + at);
        }
        let Some(base) = base else {
            z.fill(T::ZERO);
            return;
        };
        let get = |at: isize| {
            let x = usize::try_from(base + at).ok().and_then(|at| image.get(at));
            x.copied().unwrap_or(T::ZERO)
        };
        let (Some(s), Some(tap)) = (self.space.last(), tap.taps.last()) else {
            z.fill(get(0));
            return;
        };
        if s.image_dilation != 1 {
            for (z, place) in z.iter_mut().zip(run.place..) {
                *z = s.at(place, *tap).map_or(T::ZERO, get);
            }
            return;
        }
        let (from, to) = s.places(*tap);
        let (from, to) = (
            from.clamp(run.place, run.place + z.len()) - run.place,
            to.clamp(run.place, run.place + z.len()) - run.place,
        );
        let (before, rest) = z.split_at_mut(from);
        let (inside, after) = rest.split_at_mut(to.max(from) - from);
        before.fill(T::ZERO);
        after.fill(T::ZERO);
        let Some(first) = s.at(run.place + from, *tap).filter(|_| !inside.is_empty()) else {
            return;
        };
        let step = s.stride as isize * s.image_step;
        let start = usize::try_from(base + first).unwrap_or(usize::MAX);
        let reach = start.saturating_add(inside.len());
        match image.get(start..reach) {
            Some(row) if step == 1 => inside.copy_from_slice(row),
            _ => {
                for (i, z) in inside.iter_mut().enumerate() {
                    *z = get(first + i as isize * step);
                }
            }
        }
    }

    /// What lies under an element of the kernel at the places of runs that follow each other.
    fn row<T: Stored>(&self, image: &[T], start: isize, tap: &Tap, runs: &[Run], z: &mut [T]) {
        let mut z = z;
        for run in runs {
            let (these, others) = z.split_at_mut(run.n.min(z.len()));
            self.under(image, start, tap, run, these);
            z = others;
        }
    }

    /// The convolution of an image, whose elements begin at `start`, with kernels: a matrix of as many rows as there are features, for
    /// each group after the other. `z` is the result's storage, all of which is written.
    pub fn run<T: Packed>(
        &self,
        image: &[T],
        start: isize,
        kernels: &[T],
        z: &mut [T],
        threads: usize,
    ) -> Result<()> {
        let (all, depth, features) = (self.places(), self.depth(), self.features);
        if z.is_empty() || depth == 0 {
            z.fill(T::ZERO);
            return Ok(());
        }
        if kernels.len() != self.groups * features * depth
            || z.len() != self.groups * features * all
        {
            return Err(broken());
        }
        let width = panel_width::<T>();
        let work = z.len() as f64 * depth as f64;
        let threads = if work > 1e6 { threads } else { 1 };
        let blocks = all.div_ceil(PLACES).next_multiple_of(threads);
        let size = all.div_ceil(blocks).next_multiple_of(width);
        let target = Target {
            start: z.as_mut_ptr(),
            len: z.len(),
        };
        let items: Vec<(usize, usize)> = (0..self.groups)
            .flat_map(|g| (0..all).step_by(size).map(move |from| (g, from)))
            .collect();
        let failed = Mutex::new(None);
        let run = |(group, from): (usize, usize)| {
            let n = size.min(all - from);
            let block = Block {
                group,
                places: from..from + n,
                image,
                start: start + group as isize * self.image[0],
                kernels: Matrix {
                    storage: kernels,
                    offset: group * features * depth,
                    rows: depth as isize,
                    columns: 1,
                },
            };
            let done = block.run(self, &target);
            if let (Err(e), Ok(mut failed)) = (done, failed.lock()) {
                *failed = Some(e);
            }
        };
        if threads > 1 {
            parallel::in_parts(items, threads * 4, &run);
        } else {
            items.into_iter().for_each(run);
        }
        match failed.into_inner() {
            Ok(Some(e)) => Err(e),
            _ => Ok(()),
        }
    }
}

/// All features of a group at some places.
struct Block<'a, T> {
    group: usize,
    places: Range<usize>,
    image: &'a [T],
    /// Where the image begins for this group.
    start: isize,
    /// A row for each feature.
    kernels: Matrix<'a, T>,
}

/// Memory for so many numbers.
fn memory<T: Stored>(n: usize) -> Result<Vec<T>> {
    let mut v = try_vec(n)?;
    v.resize(n, T::ZERO);
    Ok(v)
}

impl<T: Packed> Block<'_, T> {
    fn run(&self, c: &Convolve, target: &Target<T>) -> Result<()> {
        let (n, features) = (self.places.len(), c.features);
        let mut sums = memory(features * n)?;
        // Long runs of what lies side by side: along places, or along the kernel if that is the longer.
        let along_kernel = c.space.last().is_some_and(|s| s.kernel > s.out);
        let [feature, place] = if along_kernel {
            self.along_kernel(c, &mut sums)?;
            [1, features]
        } else {
            self.along_places(c, &mut sums)?;
            [n, 1]
        };
        let last = c.space.last().map_or(1, |s| s.out_step);
        for run in c.runs(self.places.start, n) {
            for f in 0..features {
                let from = self.group as isize * c.out[0] + f as isize * c.out[2] + run.out;
                for i in 0..run.n {
                    let x = sums.get(f * feature + (run.from + i) * place);
                    let at = usize::try_from(from + i as isize * last).ok();
                    let at = at.filter(|at| *at < target.len).ok_or_else(broken)?;
                    // SAFETY: the place lies in the result, and no other block writes there: each place of the window in each
                    // group is of one block.
                    unsafe { target.start.wrapping_add(at).write(*x.ok_or_else(broken)?) };
                }
            }
        }
        Ok(())
    }

    /// The kernel times what lies under its elements: a row for each feature.
    fn along_places(&self, c: &Convolve, sums: &mut [T]) -> Result<()> {
        let (n, depth, width) = (self.places.len(), c.depth(), panel_width::<T>());
        let mut packed = memory(packed_len::<T>(depth.min(DEPTH), n))?;
        for from in (0..depth).step_by(DEPTH) {
            let taps = c.taps(from..depth.min(from + DEPTH));
            let panels = packed.chunks_mut(taps.len() * width).enumerate();
            for (p, panel) in panels.take(n.div_ceil(width)) {
                let columns = width.min(n.saturating_sub(p * width));
                let runs = c.runs(self.places.start + p * width, columns);
                for (tap, z) in taps.iter().zip(panel.chunks_exact_mut(width)) {
                    let (z, rest) = z.split_at_mut(columns);
                    rest.fill(T::ZERO);
                    c.row(self.image, self.start, tap, &runs, z);
                }
            }
            let kernels = Matrix {
                offset: self.kernels.offset + from,
                ..self.kernels
            };
            let size = [c.features, n, taps.len()];
            times_packed(size, kernels, &packed, sums, n, from > 0)?;
        }
        Ok(())
    }

    /// What lies under the elements of the kernel times those: a row for each place.
    fn along_kernel(&self, c: &Convolve, sums: &mut [T]) -> Result<()> {
        let (n, depth, features) = (self.places.len(), c.depth(), c.features);
        let turned = c.turned();
        let places = turned.taps(self.places.clone());
        let mut packed = memory(packed_len::<T>(depth.min(DEPTH), features))?;
        let mut under = memory(n * depth.min(DEPTH))?;
        for from in (0..depth).step_by(DEPTH) {
            let k = DEPTH.min(depth - from);
            let runs = turned.runs(from, k);
            for (place, z) in places.iter().zip(under.chunks_exact_mut(k)) {
                turned.row(self.image, self.start, place, &runs, z);
            }
            let kernels = Matrix {
                offset: self.kernels.offset + from,
                ..self.kernels
            };
            pack(kernels.turned(), [k, features], &mut packed, 1)?;
            let under = Matrix {
                storage: &under,
                offset: 0,
                rows: k as isize,
                columns: 1,
            };
            times_packed([n, features, k], under, &packed, sums, features, from > 0)?;
        }
        Ok(())
    }
}
