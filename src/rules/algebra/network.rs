//! The factors of a product as a tensor network: its subsets, and the cheapest order of contraction.
//!
//! Subsets of factors and sets of labels are bit sets. The search over orders is the textbook dynamic program over
//! subsets (Pfeifer, Haegeman and Verstraete, "Faster identification of optimal contraction sequences", 2014).

use super::analysis::{Algebra, Graph};
use super::construct::Operand;
use super::language::{Label, Labels};
use super::structure::Structure;
use smallvec::SmallVec;

/// A subset of the factors.
pub type Subset = usize;

/// The most factors for which all subsets are looked at.
pub const MOST_FACTORS: usize = 12;

/// Factors that are no scalars, and which of their labels the result has.
pub struct Network {
    labels: SmallVec<[Label; 8]>,
    sizes: SmallVec<[f64; 8]>,
    factors: SmallVec<[u64; 6]>,
    /// What moves elements, and the bits of its axes in order.
    structures: SmallVec<[Option<Moves>; 6]>,
    free: u64,
}

type Moves = (Structure, SmallVec<[u32; 4]>);

/// For each subset, how the cheapest order splits it: one of the two parts, or 0 if it is a single factor or out of reach.
pub struct Orders {
    /// The cost of the cheapest order of all factors.
    pub cost: f64,
    splits: Vec<Subset>,
}

impl Orders {
    /// The two parts into which the subset is split.
    pub fn split(&self, subset: Subset) -> Option<(Subset, Subset)> {
        match self.splits.get(subset).copied().unwrap_or(0) {
            0 => None,
            part => Some((part, subset ^ part)),
        }
    }
}

impl Network {
    /// The network of these operands; `None` if there are too many labels for a bit set or too many factors.
    pub fn new(graph: &Graph, operands: &[Operand], free: &[Label]) -> Option<Network> {
        let mut network = Network {
            labels: SmallVec::new(),
            sizes: SmallVec::new(),
            factors: SmallVec::new(),
            structures: SmallVec::new(),
            free: 0,
        };
        if operands.len() > MOST_FACTORS {
            return None;
        }
        for operand in operands {
            let data = &graph[operand.id].data;
            let shape = &data.shape;
            let mut axes: SmallVec<[u32; 4]> = SmallVec::new();
            let mut mask = 0;
            for (label, size) in operand.labels.iter().zip(shape) {
                let bit = match network.labels.iter().position(|l| l == label) {
                    Some(bit) => bit,
                    None => {
                        network.labels.push(*label);
                        network.sizes.push(*size as f64);
                        network.labels.len() - 1
                    }
                };
                if bit >= 64 {
                    return None;
                }
                if free.contains(label) {
                    network.free |= 1 << bit;
                }
                mask |= 1 << bit;
                axes.push(bit as u32);
            }
            network.factors.push(mask);
            network
                .structures
                .push(data.structure.map(|structure| (structure, axes)));
        }
        Some(network)
    }

    /// The subset of all factors.
    pub fn all(&self) -> Subset {
        (1 << self.factors.len()) - 1
    }

    /// The positions of the factors in a subset.
    pub fn members(&self, subset: Subset) -> impl Iterator<Item = usize> + '_ {
        (0..self.factors.len()).filter(move |i| subset >> i & 1 == 1)
    }

    fn carried(&self, subset: Subset) -> u64 {
        self.members(subset).fold(0, |all, i| all | self.factors[i])
    }

    /// The labels that the product over a subset must keep: those of the result and those that other factors carry.
    pub fn open(&self, subset: Subset) -> u64 {
        self.carried(subset) & (self.free | self.carried(self.all() ^ subset))
    }

    /// Whether a single factor has labels that nothing else carries and that are summed.
    pub fn private(&self, factor: usize) -> bool {
        let subset = 1 << factor;
        self.open(subset) != self.carried(subset)
    }

    /// The structure that a subset is, if it is one and nothing else, unless it only counts.
    fn structure(&self, subset: Subset) -> Option<&Moves> {
        let factor = subset.trailing_zeros() as usize;
        let alone = subset.is_power_of_two() && !self.private(factor);
        self.structures.get(factor)?.as_ref().filter(|_| alone)
    }

    /// Whether the product of two subsets is a step that can be executed.
    pub fn joins(&self, left: Subset, right: Subset) -> bool {
        let kept = self.open(left | right);
        match (self.structure(left), self.structure(right)) {
            (None, None) => true,
            (Some(_), Some(_)) => false,
            (Some(moves), None) => gives_way(moves, self.open(right), kept).is_some(),
            (None, Some(moves)) => gives_way(moves, self.open(left), kept).is_some(),
        }
    }

    /// Whether a subset holds nothing but structures.
    pub fn only_structures(&self, subset: Subset) -> bool {
        self.members(subset)
            .all(|i| self.structures.get(i).is_some_and(Option::is_some))
    }

    /// Number of factors that are no structures.
    pub fn tensors(&self) -> usize {
        self.structures.iter().filter(|s| s.is_none()).count()
    }

    /// The labels of a bit set.
    pub fn names(&self, labels: u64) -> Labels {
        (0..self.labels.len())
            .filter(|bit| labels >> bit & 1 == 1)
            .map(|bit| self.labels[bit])
            .collect()
    }

    /// The number of elements of a tensor with these labels.
    pub fn size(&self, labels: u64) -> f64 {
        (0..self.labels.len())
            .filter(|bit| labels >> bit & 1 == 1)
            .map(|bit| self.sizes[bit])
            .product()
    }

    /// Whether the factors of a subset hang together by shared labels.
    pub fn connected(&self, subset: Subset) -> bool {
        let mut reached: Subset = subset & subset.wrapping_neg();
        loop {
            let labels = self.carried(reached);
            let next = self
                .members(subset)
                .filter(|&i| self.factors[i] & labels != 0)
                .fold(reached, |all, i| all | 1 << i);
            if next == reached {
                return reached == subset;
            }
            reached = next;
        }
    }

    /// The cheapest order whose intermediate results `admits` lets pass; it is asked for each subset of two or more factors,
    /// with the labels that the subset's product keeps.
    pub fn cheapest(
        &self,
        algebra: &Algebra,
        mut admits: impl FnMut(Subset, u64) -> bool,
    ) -> Option<Orders> {
        let count = self.factors.len();
        if count == 0 {
            return None;
        }
        let subsets = 1 << count;
        let open: Vec<u64> = (0..subsets).map(|subset| self.open(subset)).collect();
        let size: Vec<f64> = open.iter().map(|labels| self.size(*labels)).collect();
        let mut best = vec![f64::INFINITY; subsets];
        let mut splits = vec![0; subsets];
        for subset in 1..subsets {
            if subset & (subset - 1) == 0 {
                if self.structure(subset).is_some() {
                    best[subset] = 0.0;
                    continue;
                }
                let whole = self.size(self.carried(subset));
                best[subset] = match whole == size[subset] {
                    true => 0.0,
                    false => algebra
                        .model
                        .reduction(algebra.itemsize, whole, size[subset]),
                };
                continue;
            }
            if self.only_structures(subset) || !admits(subset, open[subset]) {
                continue;
            }
            let mut part = (subset - 1) & subset;
            while part > subset ^ part {
                let other = subset ^ part;
                if best[part].is_finite() && best[other].is_finite() {
                    let moved = match (self.structure(part), self.structure(other)) {
                        (None, None) => None,
                        (Some(_), Some(_)) => {
                            part = (part - 1) & subset;
                            continue;
                        }
                        (Some(moves), None) => Some((moves, other)),
                        (None, Some(moves)) => Some((moves, part)),
                    };
                    if let Some((moves, tensor)) = moved {
                        if let Some(gone) = gives_way(moves, open[tensor], open[subset]) {
                            let gone = gone.iter().fold(0u64, |all, bit| all | 1 << bit);
                            let to = self.size((open[part] | open[other]) & !gone);
                            let model = &algebra.model;
                            let cost =
                                best[tensor] + model.movement(algebra.itemsize, size[tensor], to);
                            if cost < best[subset] {
                                best[subset] = cost;
                                splits[subset] = part;
                            }
                        }
                        part = (part - 1) & subset;
                        continue;
                    }
                    let shared = open[part] & open[other];
                    let of = [
                        shared & open[subset],
                        open[part] & !open[other],
                        open[other] & !open[part],
                        shared & !open[subset],
                    ];
                    let sizes = of.map(|labels| self.size(labels));
                    let cost =
                        best[part] + best[other] + algebra.model.pair(algebra.itemsize, sizes);
                    if cost < best[subset] {
                        best[subset] = cost;
                        splits[subset] = part;
                    }
                }
                part = (part - 1) & subset;
            }
        }
        let cost = best[subsets - 1];
        cost.is_finite().then_some(Orders { cost, splits })
    }
}

/// The bits of the axes that a structure sums over when it moves a tensor with the labels `carried` to one with `kept`.
fn gives_way(moves: &Moves, carried: u64, kept: u64) -> Option<SmallVec<[u32; 4]>> {
    let within = |labels: u64| move |bit: u32| labels >> bit & 1 == 1;
    moves.0.gives_way(&moves.1, within(carried), within(kept))
}
