//! What a plan costs: an estimate from measurements.
//!
//! Each executable step takes a fixed charge for its kernel, and the longer of its arithmetic and its traffic of memory. What
//! products of matrices take is measured at a grid of sizes and interpolated, so that skinny and small ones cost what they do;
//! memory is slower where an operand does not fit in a cache; reductions have a speed of their own. Pure renamings of axes are
//! free, since a contraction reads its operands in any order; so are scalings, which are moved to the smallest operand. A sum is
//! charged for its passes over memory, which are fewer for contractions where they are added into their destination.
//!
//! Extraction charges the nodes of the e-graph and whole plans are charged at the end by [`super::plan::Plan::cost`]; both use
//! the functions here.

use super::language::{Label, Labels, elements};
use super::structure::Structure;
use smallvec::SmallVec;

/// The sizes at which products of matrices are measured.
pub(super) const GRID: [usize; 6] = [1, 4, 16, 64, 256, 1024];

/// What one product of matrices takes beside the charge for its kernel, in microseconds, as natural logarithms: by the larger and
/// the smaller of the result's sizes and by the size that is summed over, as indices into [`GRID`].
pub(super) type Products = [[[f32; GRID.len()]; GRID.len()]; GRID.len()];

/// The machine, in operations, bytes and kernels a microsecond.
///
/// [`CostModel::current`] is the one that plans are made with; [`calibrate`](super::calibrate()) measures another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// Floating-point operations of a large product of `f32` matrices in a microsecond.
    pub flops_per_us: f64,
    /// Bytes that go to or come from memory in a microsecond.
    pub bytes_per_us: f64,
    /// Bytes that go to or come from caches in a microsecond.
    pub cached_bytes_per_us: f64,
    /// Bytes that caches hold.
    pub cache_bytes: f64,
    /// Bytes that are read in a microsecond where their sum is what is made of them.
    pub summed_bytes_per_us: f64,
    /// Bytes that are read and written in a microsecond where elements are moved: slices, paddings, gathers.
    pub moved_bytes_per_us: f64,
    /// Operations of a Fourier transform in a microsecond, of which there are `5·n·log₂ n`.
    pub transform_flops_per_us: f64,
    /// What starting a kernel costs, in microseconds.
    pub kernel_us: f64,
    /// What a product of `f64` takes, over the same of `f32`.
    pub wide: f64,
    /// What a product of two-byte numbers takes, over the same of `f32`.
    pub narrow: f64,
    /// What a product within a batch takes, over the same alone.
    pub batched: f64,
    /// How often the result's bytes move where a contraction is added to what is there.
    pub accumulated: f64,
    /// What adding a contraction to what is there costs besides, in microseconds.
    pub accumulating_us: f64,
    pub(super) products: Products,
}

/// An operand of a product as the model sees it.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a> {
    /// Labels of its axes.
    pub labels: &'a [Label],
    /// Sizes of its axes.
    pub shape: &'a [usize],
    /// Whether it is no tensor but says how elements of one move.
    pub structure: Option<Structure>,
}

/// A term of a sum as the model sees it.
#[derive(Debug, Clone, Copy)]
pub struct Addend {
    /// Its number of elements.
    pub elements: f64,
    /// How it is added into its destination as it is made, if it is.
    pub made: Made,
}

/// How the term of a sum comes about, if nothing else uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// By a contraction, which can add to its destination.
    Contracted,
    /// By writing a tensor to a part of its destination, which is otherwise zero.
    Placed,
    /// In another way, or it is used elsewhere too.
    Apart,
}

impl CostModel {
    /// The time that bytes take to move, without a kernel's charge.
    fn traffic(&self, bytes: f64) -> f64 {
        // What does not fit in the caches goes at the speed of memory.
        let cached = bytes.min(self.cache_bytes);
        cached / self.cached_bytes_per_us + (bytes - cached) / self.bytes_per_us
    }

    /// The time of one kernel that reads and writes so many bytes; its arithmetic hides behind them.
    pub fn kernel(&self, bytes: f64) -> f64 {
        self.kernel_us + self.traffic(bytes)
    }

    /// The time of `batch` products of matrices, `m × k` by `k × n` each.
    pub fn contraction(&self, itemsize: f64, [batch, m, n, k]: [f64; 4]) -> f64 {
        if batch * m * n * k == 0.0 {
            return self.kernel_us;
        }
        let by_size = match itemsize {
            i if i > 4.0 => self.wide,
            i if i < 4.0 => self.narrow,
            _ => 1.0,
        };
        let each = self.product_us(m.max(n), m.min(n), k) * by_size;
        let all = match batch > 1.0 {
            true => each * batch * self.batched,
            false => each,
        };
        let bytes = itemsize * batch * (m * k + k * n + m * n);
        self.kernel_us + all.max(self.traffic(bytes))
    }

    /// What one product takes, interpolated; the logarithms of times are nearly linear in those of sizes.
    fn product_us(&self, large: f64, small: f64, sum: f64) -> f64 {
        let place = |size: f64| {
            let next = GRID.iter().position(|g| *g as f64 > size);
            match next {
                Some(next) => {
                    let low = next.saturating_sub(1);
                    let (a, b) = (GRID[low] as f64, GRID[next] as f64);
                    (low, next, ((size / a).ln() / (b / a).ln()) as f32, 0.0)
                }
                // Beyond the grid time grows as the arithmetic does.
                None => {
                    let last = GRID.len() - 1;
                    (last, last, 0.0, (size / GRID[last] as f64).ln())
                }
            }
        };
        let (l, s, k) = (place(large), place(small), place(sum));
        let between = |a: f32, b: f32, at: f32| a + (b - a) * at;
        let along_sum = |l: usize, s: usize| {
            let row = &self.products[l][s];
            between(row[k.0], row[k.1], k.2)
        };
        let along_small = |l: usize| between(along_sum(l, s.0), along_sum(l, s.1), s.2);
        let log = between(along_small(l.0), along_small(l.1), l.2);
        (f64::from(log) + l.3 + s.3 + k.3).exp()
    }

    /// The time of a product, infinite where more than one step is needed. Labels below `shape.len()` are the axes of the
    /// result, which is broadcast along those that no factor carries.
    pub fn product(&self, itemsize: f64, factors: &[Factor], shape: &[usize]) -> f64 {
        let carried = |axis: usize| factors.iter().any(|f| f.labels.contains(&(axis as Label)));
        // Axes of size 1 come and go for nothing.
        let broadcasts = !(0..shape.len()).all(|axis| shape[axis] == 1 || carried(axis));
        if !one_step(factors, shape.len(), broadcasts) {
            return f64::INFINITY;
        }
        if let Some(structure) = factors.iter().find(|f| f.structure.is_some()) {
            return self.moving(itemsize, structure, factors, shape);
        }
        let tensors: SmallVec<[&Factor; 2]> =
            factors.iter().filter(|f| !f.labels.is_empty()).collect();
        let kept = |label: Label| (label as usize) < shape.len();
        let result = elements(shape);
        match tensors.as_slice() {
            [] if shape.is_empty() => 0.0,
            [] => self.kernel(itemsize * result),
            [only] => {
                let sums = sizes(only).any(|(label, size)| !kept(label) && size != 1);
                let read = sizes(only).map(|(_, size)| size as f64).product();
                match (sums, broadcasts) {
                    (false, false) => 0.0,
                    (false, true) => self.kernel(itemsize * (read + result)),
                    (true, _) => self.reduction(itemsize, read, result),
                }
            }
            [left, right, ..] => self.tensors(itemsize, [left, right], shape),
        }
    }

    /// The time of adding up elements of a tensor.
    pub fn reduction(&self, itemsize: f64, read: f64, result: f64) -> f64 {
        let summed = itemsize * read / self.summed_bytes_per_us;
        self.kernel_us + summed.max(self.traffic(itemsize * (read + result)))
    }

    /// The time of a product of two tensors of which the sizes of the labels are known: those of both that the result has, those
    /// of the first alone, of the second alone, and those that are summed over.
    pub fn pair(&self, itemsize: f64, [batch, m, n, k]: [f64; 4]) -> f64 {
        if k == 1.0 && (m == 1.0 || n == 1.0) {
            // One multiplies the elements of the other.
            return self.kernel(itemsize * batch * (m + n + m * n));
        }
        let apart = self.contraction(itemsize, [batch, m, n, k]);
        match m == 1.0 && n == 1.0 {
            // Elements are multiplied and added up in one pass.
            true => apart.min(self.dots(itemsize, batch, k)),
            false => apart,
        }
    }

    /// The time of `batch` sums of `k` products of the elements of two tensors, in one pass over both.
    fn dots(&self, itemsize: f64, batch: f64, k: f64) -> f64 {
        let summed = itemsize * batch * k / self.summed_bytes_per_us;
        self.kernel_us + summed.max(self.traffic(itemsize * batch * (2.0 * k + 1.0)))
    }

    /// Whether a product of two tensors that has no axis of one alone is computed by multiplying elements and adding them up,
    /// rather than as a product of matrices for each entry of the batch.
    pub fn adds_up(&self, itemsize: f64, batch: f64, k: f64) -> bool {
        batch > 1.0
            && self.dots(itemsize, batch, k) < self.contraction(itemsize, [batch, 1.0, 1.0, k])
    }

    /// The time of a product of two tensors, each summed first over what only it has.
    fn tensors(&self, itemsize: f64, [left, right]: [&Factor; 2], shape: &[usize]) -> f64 {
        let kept = |label: Label| (label as usize) < shape.len();
        let [mut batch, mut m, mut n, mut k] = [1.0; 4];
        let mut before = 0.0;
        for (factor, other, own) in [(left, right, &mut m), (right, left, &mut n)] {
            let (mut alone, mut rest) = (1.0, 1.0);
            for (label, size) in sizes(factor) {
                match (other.labels.contains(&label), kept(label)) {
                    (false, true) => *own *= size as f64,
                    (false, false) => alone *= size as f64,
                    _ => {}
                }
                if other.labels.contains(&label) || kept(label) {
                    rest *= size as f64;
                }
            }
            // What only one of them has and the result has not is summed first.
            if alone > 1.0 {
                before += self.reduction(itemsize, alone * rest, rest);
            }
        }
        for (label, size) in sizes(left) {
            if right.labels.contains(&label) {
                match kept(label) {
                    true => batch *= size as f64,
                    false => k *= size as f64,
                }
            }
        }
        before + self.pair(itemsize, [batch, m, n, k])
    }

    /// The time of moving a tensor as a structure says.
    fn moving(
        &self,
        itemsize: f64,
        structure: &Factor,
        factors: &[Factor],
        shape: &[usize],
    ) -> f64 {
        let result = elements(shape);
        let tensor = factors
            .iter()
            .find(|f| f.structure.is_none() && !f.labels.is_empty());
        let (Some(tensor), Some(kind)) = (tensor, structure.structure) else {
            return self.movement(itemsize, result, result);
        };
        let gone = kind.gives_way(
            structure.labels,
            |label| tensor.labels.contains(&label),
            |l| (l as usize) < shape.len(),
        );
        let (mut seen, mut moved) = (Labels::new(), 1.0);
        for (label, size) in factors.iter().flat_map(sizes) {
            if !seen.contains(&label) && gone.as_ref().is_none_or(|gone| !gone.contains(&label)) {
                moved *= size as f64;
            }
            seen.push(label);
        }
        self.movement(itemsize, elements(tensor.shape), moved)
    }

    /// The time of moving the elements of a tensor into another.
    pub fn movement(&self, itemsize: f64, from: f64, to: f64) -> f64 {
        let bytes = itemsize * (from.min(to) + to);
        self.kernel_us + (bytes / self.moved_bytes_per_us).max(self.traffic(bytes))
    }

    /// The time of Fourier transforms of so many numbers, `length` in each.
    pub fn transform(&self, numbers: f64, length: f64) -> f64 {
        self.kernel_us + 5.0 * numbers * length.max(2.0).log2() / self.transform_flops_per_us
    }

    /// The time of a linear combination with a result of so many elements.
    pub fn sum(&self, itemsize: f64, addends: &[Addend], result: f64) -> f64 {
        if let [only] = addends {
            // Scaling is free, broadcasting is not.
            return match only.elements < result {
                true => self.kernel(itemsize * (only.elements + result)),
                false => 0.0,
            };
        }
        if addends.iter().all(|a| a.made == Made::Placed) {
            // The parts of a direct sum are written to their places as they are made.
            return 0.0;
        }
        let contracted = |a: &&Addend| a.made == Made::Contracted;
        let accumulated = addends.iter().filter(contracted).count() as f64;
        let read: f64 = addends
            .iter()
            .filter(|a| a.made != Made::Contracted)
            .map(|a| a.elements)
            .sum();
        let all: f64 = addends.iter().map(|a| a.elements).sum();
        let apart = self.kernel(itemsize * (all + result));
        if accumulated == 0.0 {
            return apart;
        }
        // The first contraction writes the result, which its own cost says.
        let further = accumulated - if read == 0.0 { 1.0 } else { 0.0 };
        let pass = self.traffic(itemsize * result);
        let added = self.accumulating_us + self.accumulated * pass;
        // Several small contractions are added faster in one pass when all are there.
        apart.min(self.traffic(itemsize * read) + further * added)
    }
}

/// The labels of a factor's axes, and their sizes. Of axes with the same label only the diagonal is read.
fn sizes<'a>(factor: &'a Factor) -> impl Iterator<Item = (Label, usize)> + 'a {
    let axes = factor.labels.iter().zip(factor.shape).enumerate();
    let first = |(axis, (label, _)): &(usize, (&Label, _))| !factor.labels[..*axis].contains(label);
    axes.filter(first).map(|(_, (label, size))| (*label, *size))
}

/// Whether a product is a single step: of at most two tensors and any scalars, of one tensor if it is broadcast, or of one
/// structure with the tensor that it moves. Labels below `rank` are the axes of the result.
pub fn one_step(factors: &[Factor], rank: usize, broadcasts: bool) -> bool {
    let tensors = || factors.iter().filter(|f| !f.labels.is_empty());
    let count = tensors().count();
    let Some(structure) = tensors().find(|f| f.structure.is_some()) else {
        return count <= if broadcasts { 1 } else { 2 };
    };
    let Some(kind) = structure.structure else {
        return false;
    };
    let kept = |label: Label| (label as usize) < rank;
    if count == 1 {
        // A structure alone counts what it would move.
        return structure.labels.iter().any(|label| !kept(*label)) && !broadcasts;
    }
    let Some(tensor) = tensors().find(|f| f.structure.is_none()) else {
        return false;
    };
    let carried = |label: Label| tensor.labels.contains(&label);
    count == 2 && !broadcasts && kind.moves(structure.labels, carried, kept).is_some()
}
