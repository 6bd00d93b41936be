//! What a plan costs: a roofline estimate.
//!
//! Each executable step takes a fixed charge for its kernel and the longer of its arithmetic and its traffic of memory.
//! Pure renamings of axes are free, since a contraction reads its operands in any order; so are scalings, which a contraction
//! takes as its alpha. A sum adds contractions into their destination and is then charged for reading it again.
//!
//! Extraction charges the nodes of the e-graph and whole plans are charged at the end by [`super::plan::Plan::cost`]; both use
//! the functions here.

use super::language::{Label, elements};
use super::structure::Structure;
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
        if !one_step(factors, shape.len(), broadcasts) {
            return f64::INFINITY;
        }
        let mut labels: SmallVec<[Label; 8]> = SmallVec::new();
        let mut sizes: SmallVec<[f64; 8]> = SmallVec::new();
        let (mut read, mut iterations, mut tensors, mut sums) = (0.0, 1.0, 0, false);
        for factor in factors {
            tensors += usize::from(!factor.labels.is_empty());
            let mut own = 1.0;
            for (axis, (label, size)) in factor.labels.iter().zip(factor.shape).enumerate() {
                // Of axes with the same label only the diagonal is read.
                if !factor.labels[..axis].contains(label) {
                    own *= *size as f64;
                }
                if !labels.contains(label) {
                    labels.push(*label);
                    sizes.push(*size as f64);
                    iterations *= *size as f64;
                    sums |= *label as usize >= shape.len() && *size != 1;
                }
            }
            read += own;
        }
        if let Some(structure) = factors.iter().find(|f| f.structure.is_some()) {
            let all = (labels.iter(), &sizes);
            return self.moving(itemsize, structure, factors, all.0.zip(all.1), shape);
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

    /// The time of moving a tensor as a structure says; `sizes` are those of all labels of both.
    fn moving<'a>(
        &self,
        itemsize: f64,
        structure: &Factor,
        factors: &[Factor],
        sizes: impl Iterator<Item = (&'a Label, &'a f64)>,
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
        let moved = sizes
            .filter(|(label, _)| gone.as_ref().is_none_or(|gone| !gone.contains(*label)))
            .map(|(_, size)| size)
            .product();
        self.movement(itemsize, elements(tensor.shape), moved)
    }

    /// The time of moving the elements of a tensor into another.
    pub fn movement(&self, itemsize: f64, from: f64, to: f64) -> f64 {
        self.kernel(0.0, 2.0 * itemsize * from.min(to))
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
        if accumulated == 0.0 {
            let flops = (addends.len() - 1) as f64 * result;
            return self.kernel(flops, itemsize * (read + result));
        }
        // The first contraction writes the result, which its own cost says; each further one reads it again.
        let first = if read == 0.0 { 1.0 } else { 0.0 };
        itemsize * (read + result * (accumulated - first)) / self.bytes_per_us
    }
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
