//! The language of the e-graph: tensors as sums of products, with labels local to each node.
//!
//! An e-class is a tensor with ordered axes. A node gives each child a list of labels, one for each of the child's axes;
//! labels below `outputs` are the axes of the result, in order, all others are summed over. Nothing outside a node
//! knows its labels, so there is no question of renaming them, and `x·xᵀ`, a trace and a transpose are different lists on
//! the same child.

use super::structure::Band;
use egg::{Id, Language};
use smallvec::SmallVec;

/// The name of an axis within one node.
pub type Label = u16;

/// One label for each axis of an operand.
pub type Labels = SmallVec<[Label; 8]>;

/// The sizes of a tensor's axes.
pub type Shape = SmallVec<[usize; 4]>;

/// Number of elements of a tensor, as a float: sizes of formal tensors may overflow an integer.
pub fn elements(shape: &[usize]) -> f64 {
    shape.iter().map(|&size| size as f64).product()
}

/// A real coefficient, compared and hashed by its bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coefficient(pub f64);

impl Coefficient {
    fn bits(self) -> u64 {
        // The order of the bits is the order of the numbers, so that plans print their terms in a natural order.
        let bits = self.0.to_bits();
        if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        }
    }
}

impl PartialEq for Coefficient {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Coefficient {}

impl PartialOrd for Coefficient {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Coefficient {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl std::hash::Hash for Coefficient {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

/// `Σ_bound Π children`: the sum over the labels that are no outputs of the product of the children.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product {
    /// Rank of the result; labels below it are its axes.
    pub outputs: Label,
    /// The labels of each child's axes.
    pub labels: SmallVec<[Labels; 3]>,
    /// The factors.
    pub children: SmallVec<[Id; 4]>,
}

/// `Σᵢ coefficientᵢ · childᵢ`, each child broadcast along the outputs that it lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum {
    /// Rank of the result; all labels are below it.
    pub outputs: Label,
    /// The coefficient of each child.
    pub coefficients: SmallVec<[Coefficient; 3]>,
    /// The labels of each child's axes.
    pub labels: SmallVec<[Labels; 3]>,
    /// The terms.
    pub children: SmallVec<[Id; 4]>,
}

/// A node of the e-graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// A tensor that the island is given.
    Leaf(u32),
    /// A vector of ones: what an axis is filled with that no factor carries.
    Ones(usize),
    /// A product of any number of factors: what the rules work on. With no factor it is the number one.
    Prod(Product),
    /// A product of two factors (and scalars) that stands for an executable step; the rules leave it alone.
    Dot(Product),
    /// A linear combination.
    Add(Sum),
    /// A matrix of zeros and ones that moves elements.
    Band(Band),
}

impl Term {
    /// The labels of the children, empty for leaves.
    pub fn labels(&self) -> &[Labels] {
        match self {
            Term::Prod(product) | Term::Dot(product) => &product.labels,
            Term::Add(sum) => &sum.labels,
            Term::Leaf(_) | Term::Ones(_) | Term::Band(_) => &[],
        }
    }
}

impl Language for Term {
    type Discriminant = (u8, u16);

    fn discriminant(&self) -> Self::Discriminant {
        match self {
            Term::Leaf(_) => (0, 0),
            Term::Ones(_) => (1, 0),
            Term::Prod(product) => (2, product.children.len() as u16),
            Term::Dot(product) => (3, product.children.len() as u16),
            Term::Add(sum) => (4, sum.children.len() as u16),
            Term::Band(_) => (5, 0),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Term::Leaf(a), Term::Leaf(b)) => a == b,
            (Term::Ones(a), Term::Ones(b)) => a == b,
            (Term::Band(a), Term::Band(b)) => a == b,
            (Term::Prod(a), Term::Prod(b)) | (Term::Dot(a), Term::Dot(b)) => {
                a.outputs == b.outputs && a.labels == b.labels
            }
            (Term::Add(a), Term::Add(b)) => {
                a.outputs == b.outputs && a.labels == b.labels && a.coefficients == b.coefficients
            }
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Term::Prod(product) | Term::Dot(product) => &product.children,
            Term::Add(sum) => &sum.children,
            Term::Leaf(_) | Term::Ones(_) | Term::Band(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Term::Prod(product) | Term::Dot(product) => &mut product.children,
            Term::Add(sum) => &mut sum.children,
            Term::Leaf(_) | Term::Ones(_) | Term::Band(_) => &mut [],
        }
    }
}
