//! What a plan costs: a roofline estimate.
//!
//! Each executable step takes a fixed charge for its kernel and the longer of its arithmetic and its traffic of memory.
//! Pure renamings of axes are free, since a contraction reads its operands in any order; so are scalings, which a contraction
//! takes as its alpha. A sum adds contractions into their destination and is then charged for reading it again.
//!
//! Extraction charges the nodes of the e-graph and whole plans are charged at the end by [`super::plan::Plan::cost`]; both use
//! the functions here.

use super::language::{Label, elements};
use smallvec::SmallVec;

/// The machine, in operations, bytes and kernels a microsecond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// Floating-point operations of a contraction in a microsecond.
    pub flops_per_us: f64,
    /// Bytes moved in a microsecond.
    pub bytes_per_us: f64,
    /// What starting a kernel costs, in microseconds.
    pub kernel_us: f64,
}

impl Default for CostModel {
    /// A desktop processor of a few cores.
    fn default() -> Self {
        CostModel {
            flops_per_us: 330e3,
            bytes_per_us: 20e3,
            kernel_us: 1.0,
        }
    }
}

/// An operand of a product as the model sees it.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a> {
    /// Labels of its axes.
    pub labels: &'a [Label],
    /// Sizes of its axes.
    pub shape: &'a [usize],
}

/// A term of a sum as the model sees it.
#[derive(Debug, Clone, Copy)]
pub struct Addend {
    /// Its number of elements.
    pub elements: f64,
    /// Whether a contraction that nothing else uses makes it, so that it can be added into its destination.
    pub accumulates: bool,
}

impl CostModel {
    /// The time of one kernel.
    pub fn kernel(&self, flops: f64, bytes: f64) -> f64 {
        self.kernel_us + (flops / self.flops_per_us).max(bytes / self.bytes_per_us)
    }

    /// The time of a product, infinite where more than one step is needed. Labels below `shape.len()` are the axes of the
    /// result, which is broadcast along those that no factor carries.
    pub fn product(&self, itemsize: f64, factors: &[Factor], shape: &[usize]) -> f64 {
        let carried = |axis: usize| factors.iter().any(|f| f.labels.contains(&(axis as Label)));
        // Axes of size 1 come and go for nothing.
        let broadcasts = !(0..shape.len()).all(|axis| shape[axis] == 1 || carried(axis));
        if !executable(factors.iter().map(|f| f.labels.len()), broadcasts) {
            return f64::INFINITY;
        }
        let mut labels: SmallVec<[Label; 8]> = SmallVec::new();
        let (mut read, mut iterations, mut tensors, mut sums) = (0.0, 1.0, 0, false);
        for factor in factors {
            tensors += usize::from(!factor.labels.is_empty());
            read += elements(factor.shape);
            for (label, size) in factor.labels.iter().zip(factor.shape) {
                if !labels.contains(label) {
                    labels.push(*label);
                    iterations *= *size as f64;
                    sums |= *label as usize >= shape.len() && *size != 1;
                }
            }
        }
        let number = factors.is_empty() && shape.is_empty();
        if number || (factors.len() == 1 && !sums && !broadcasts) {
            return 0.0;
        }
        let flops = if tensors == 2 && sums {
            2.0 * iterations
        } else {
            iterations
        };
        self.kernel(flops, itemsize * (read + elements(shape)))
    }

    /// The time of a linear combination with a result of so many elements.
    pub fn sum(&self, itemsize: f64, addends: &[Addend], result: f64) -> f64 {
        if let [only] = addends {
            // Scaling is free, broadcasting is not.
            return match only.elements < result {
                true => self.kernel(0.0, itemsize * (only.elements + result)),
                false => 0.0,
            };
        }
        let accumulated = addends.iter().filter(|a| a.accumulates).count() as f64;
        let read: f64 = addends
            .iter()
            .filter(|a| !a.accumulates)
            .map(|a| a.elements)
            .sum();
        if accumulated == 0.0 {
            let flops = (addends.len() - 1) as f64 * result;
            return self.kernel(flops, itemsize * (read + result));
        }
        // The first contraction writes the result, which its own cost says; each further one reads it again.
        let first = if read == 0.0 { 1.0 } else { 0.0 };
        itemsize * (read + result * (accumulated - first)) / self.bytes_per_us
    }
}

/// Whether a product of factors with these ranks is a single step: at most two tensors, and one if it is broadcast.
pub fn executable(ranks: impl Iterator<Item = usize>, broadcasts: bool) -> bool {
    ranks.filter(|rank| *rank > 0).count() <= if broadcasts { 1 } else { 2 }
}
