//! An island as the algebra is given it: leaves, steps in the order of the program, roots, and the marks of values.
//!
//! A `Problem` is free of names, variables and dtypes, and leaves and steps are numbered in the order of first use, so two
//! islands that differ by renaming alone are equal as data: the memo's key is the `Problem` itself.

use super::form::Stated;
use super::language::{Coefficient, Labels, Shape};
use super::structure::{Band, Structure};
use smallvec::SmallVec;

/// A tensor that comes from outside the island.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Leaf {
    /// Sizes of its axes.
    pub shape: Shape,
    /// [`Structure::Gather`] or [`Structure::Scatter`] if it says where elements go; what comes from outside is then the index,
    /// and the last axis is the one that it points into.
    pub moves: Option<Structure>,
    /// The roots (indices into [`Problem::roots`]) that must be there before this leaf can be: opaque equations outside
    /// the island compute the one from the others.
    pub after: SmallVec<[u32; 2]>,
    /// Whether it is there all the time, being given to the program. Known only where residuals have a price.
    pub given: bool,
}

/// What one equation of the island does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A leaf, by its index.
    Leaf(u32),
    /// A matrix of zeros and ones that moves elements.
    Band(Band),
    /// The sum over the labels that are not in `output` of the product of the operands. An output label that no operand
    /// carries is broadcast.
    Product {
        /// Steps and the labels of their axes.
        operands: SmallVec<[(u32, Labels); 2]>,
        /// The labels of the result.
        output: Labels,
    },
    /// A linear combination, each operand broadcast along the output labels that it lacks.
    Sum {
        /// Coefficients, steps and the labels of their axes.
        terms: SmallVec<[(Coefficient, u32, Labels); 2]>,
        /// The labels of the result.
        output: Labels,
    },
}

/// An operation and the shape of its result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// What it does.
    pub operation: Operation,
    /// Sizes of the result's axes.
    pub shape: Shape,
}

/// A step's result is part of a value's definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The step.
    pub step: u32,
    /// Index into [`Problem::values`].
    pub value: u32,
    /// The components of the value that the step is, one bit each. None for what the definition uses besides.
    pub components: u64,
    /// For each axis of the step, the axes of the value that come from it, one bit each.
    pub origins: SmallVec<[u32; 4]>,
}

/// A value that is not a plain array, of which the island sees the definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Value {
    /// The axes of what it equals that are longer than one, one bit each.
    pub axes: u32,
    /// How many elements it has; 0 if that is not known.
    pub size: usize,
    /// Whether plans may form what it equals.
    pub allow_materialise: bool,
}

/// An island: what is given, what is computed, what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Problem {
    /// What comes from outside.
    pub leaves: Vec<Leaf>,
    /// The equations, each using only earlier ones.
    pub steps: Vec<Step>,
    /// The steps whose results are needed outside.
    pub roots: Vec<u32>,
    /// What is known about the definitions of values.
    pub marks: Vec<Mark>,
    /// The values.
    pub values: Vec<Value>,
    /// What users know to be equal, as far as it may be found here.
    pub(super) equalities: Vec<Stated>,
    /// Bytes of an element.
    pub itemsize: u32,
    /// What it costs to hold a megabyte from the forward to the backward pass, in microseconds.
    pub residual_price: Coefficient,
}

impl Problem {
    /// An island of elements of `itemsize` bytes, empty as yet.
    pub fn new(itemsize: u32) -> Self {
        Problem {
            itemsize,
            ..Problem::default()
        }
    }

    /// Appends a step and returns its index.
    pub fn push(&mut self, operation: Operation, shape: Shape) -> u32 {
        self.steps.push(Step { operation, shape });
        (self.steps.len() - 1) as u32
    }

    /// Appends a leaf and the step that reads it.
    #[cfg(test)]
    pub fn leaf(&mut self, shape: &[usize]) -> u32 {
        let leaf = self.leaves.len() as u32;
        self.leaves.push(Leaf {
            shape: shape.into(),
            ..Leaf::default()
        });
        self.push(Operation::Leaf(leaf), shape.into())
    }

    /// Whether a step is nothing that plans form.
    pub fn is_structure(&self, step: &Step) -> bool {
        match step.operation {
            Operation::Band(_) => true,
            Operation::Leaf(leaf) => {
                let leaf = self.leaves.get(leaf as usize);
                leaf.is_some_and(|leaf| leaf.moves.is_some())
            }
            Operation::Product { .. } | Operation::Sum { .. } => false,
        }
    }

    /// The shape of a step's result; empty for a step that does not exist.
    pub fn shape(&self, step: u32) -> &[usize] {
        self.steps
            .get(step as usize)
            .map_or(&[], |step| &step.shape)
    }
}
