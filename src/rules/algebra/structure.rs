//! Tensors of zeros and ones that say how elements move: slices, padding, concatenation, rows picked by an index.
//!
//! A slice of `x` is `Σᵢ s[j,i]·x[i]` with `s[j,i]` one where place `j` of the result is place `i` of `x`. So moving elements is
//! a product like any other: that a slice of a product is the product of a slice is associativity, that it distributes over
//! sums is distributivity, and no rule has to know of slices. What is special about these tensors:
//!
//! - No plan forms one. A product with one is a step of its own (a slice, a `pad`, a `gather`, a `scatter-add`).
//! - Two that meet are composed when the product is made, so that a slice of a concatenation is the part that it falls into.
//! - They are functions: what is moved may be multiplied before or after, `s·(a∘b) = (s·a)∘(s·b)`. The product is kept in the
//!   second form, in which each factor can be moved by itself.

use super::analysis::Graph;
use super::construct::Operand;
use super::language::{Label, Term};
use smallvec::SmallVec;
use std::fmt;

/// A matrix that is one at the places `(starts[0] + t·steps[0], starts[1] + t·steps[1])` for `t < count`, and zero elsewhere:
/// one axis is cut, strided, reversed, padded, or several of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Band {
    /// The sizes of its axes.
    pub sizes: [usize; 2],
    /// The first place.
    pub starts: [usize; 2],
    /// From one place to the next.
    pub steps: [i64; 2],
    /// How many places.
    pub count: usize,
}

impl Band {
    /// The band from these places on, in the form in which equal bands are equal as data.
    pub fn new(sizes: [usize; 2], starts: [usize; 2], steps: [i64; 2], count: usize) -> Band {
        let mut band = Band {
            sizes,
            starts,
            steps,
            count,
        };
        match count {
            0 => (band.starts, band.steps) = ([0, 0], [1, 1]),
            1 => band.steps = [1, 1],
            _ if steps[0] < 0 => {
                let last = |side: usize| band.at(side, count - 1);
                band = Band {
                    starts: [last(0), last(1)],
                    steps: [-steps[0], -steps[1]],
                    ..band
                };
            }
            _ => {}
        }
        band
    }

    /// Place `t` on one side.
    pub fn at(&self, side: usize, t: usize) -> usize {
        (self.starts[side] as i64 + self.steps[side] * t as i64) as usize
    }

    /// The same with its axes exchanged.
    pub fn transposed(&self) -> Band {
        let swap = |[a, b]: [usize; 2]| [b, a];
        Band::new(
            swap(self.sizes),
            swap(self.starts),
            [self.steps[1], self.steps[0]],
            self.count,
        )
    }

    /// Whether it moves nothing.
    pub fn is_identity(&self) -> bool {
        let whole = self.sizes == [self.count; 2] && self.starts == [0, 0];
        whole && (self.count < 2 || self.steps == [1, 1])
    }

    /// The product of two matrices, `self[j,i]·other[i,k]` summed over `i`.
    pub fn then(&self, other: &Band) -> Band {
        let sizes = [self.sizes[0], other.sizes[1]];
        let nothing = Band::new(sizes, [0, 0], [1, 1], 0);
        if self.count == 0 || other.count == 0 {
            return nothing;
        }
        // Places of both on the common axis: starts[1] + t·a = other.starts[0] + u·b.
        let (a, b) = (self.steps[1], other.steps[0]);
        let apart = |t: i64| self.starts[1] as i64 + t * a - other.starts[0] as i64;
        let first = (0..b.abs().min(self.count as i64)).find(|t| apart(*t) % b == 0);
        let Some(t0) = first else {
            return nothing;
        };
        let u0 = apart(t0) / b;
        let mut m = 1;
        while (a * m) % b != 0 {
            m += 1;
        }
        let n = a * m / b;
        // t = t0 + k·m and u = u0 + k·n, both in range.
        let (count, limit) = (self.count as i64, other.count as i64);
        let (mut low, mut high) = (0, (count - 1 - t0).div_euclid(m));
        if n > 0 {
            low = low.max((-u0 + n - 1).div_euclid(n));
            high = high.min((limit - 1 - u0).div_euclid(n));
        } else {
            low = low.max((u0 - limit + 1 + (-n) - 1).div_euclid(-n));
            high = high.min(u0.div_euclid(-n));
        }
        if low > high {
            return nothing;
        }
        let (t, u) = ((t0 + low * m) as usize, (u0 + low * n) as usize);
        Band::new(
            sizes,
            [self.at(0, t), other.at(1, u)],
            [self.steps[0] * m, other.steps[1] * n],
            (high - low + 1) as usize,
        )
    }
}

/// What kind of tensor a class is, if it only moves elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Structure {
    /// A constant band.
    Band(Band),
    /// `g[b…,i]`: for each `b`, one where `i` is the index there. To multiply with it is to gather rows.
    Gather,
    /// The same, for adding rows up where the index says.
    Scatter,
}

impl Structure {
    /// Which axis of the structure a single step sums over when it multiplies the structure with a tensor, `carried` saying which
    /// of the structure's labels the tensor has and `kept` which the result has; `None` if that is no single step.
    pub fn moves<L: Copy>(
        &self,
        labels: &[L],
        carried: impl Fn(L) -> bool,
        kept: impl Fn(L) -> bool,
    ) -> Option<usize> {
        let (inner, outer) = labels.split_last()?;
        match self {
            Structure::Band(_) => {
                let sides = [1, 0];
                let moved = |side: &usize| carried(labels[*side]) && !kept(labels[*side]);
                sides.into_iter().find(moved)
            }
            Structure::Gather => {
                // What the tensor has in common with the index besides runs along with it.
                let moved = carried(*inner) && !kept(*inner);
                moved.then_some(outer.len())
            }
            Structure::Scatter => {
                let moved = outer.iter().all(|l| carried(*l));
                (moved && !carried(*inner)).then_some(0)
            }
        }
    }

    /// The labels of the structure that the moved tensor lacks: those that the step sums over. `None` if it is no single step.
    pub fn gives_way<L: Copy>(
        &self,
        labels: &[L],
        carried: impl Fn(L) -> bool,
        kept: impl Fn(L) -> bool,
    ) -> Option<SmallVec<[L; 4]>> {
        let axis = self.moves(labels, carried, &kept)?;
        let gone = match self {
            Structure::Band(_) => labels.get(axis..=axis)?,
            Structure::Gather => labels.get(axis..)?,
            Structure::Scatter => labels.split_last()?.1,
        };
        Some(gone.iter().copied().filter(|label| !kept(*label)).collect())
    }
}

/// The band as a factor: it and its transpose are one class.
pub fn band(graph: &mut Graph, band: Band, labels: [Label; 2]) -> Operand {
    let transposed = band.transposed();
    let (band, labels) = match transposed < band {
        true => (transposed, [labels[1], labels[0]]),
        false => (band, labels),
    };
    Operand {
        id: graph.add(Term::Band(band)),
        labels: SmallVec::from_slice(&labels),
    }
}

/// Labels that constants had, with their sizes: what is summed over them counts as often as they are long.
pub type Summed = SmallVec<[(Label, usize); 4]>;

/// Simplifies the structures among the factors of a product; false if nothing is left of it.
pub fn settle(
    graph: &mut Graph,
    factors: &mut SmallVec<[Operand; 4]>,
    free: &[Label],
    summed: &mut Summed,
) -> bool {
    let structural = |factor: &Operand| graph[factor.id].data.structure.is_some();
    if !factors.iter().any(structural) {
        return true;
    }
    // Each round removes a structure, or gives each of the factors that shared one a structure of its own.
    while let Some(change) = (0..factors.len()).find_map(|s| change(graph, factors, free, s)) {
        match change {
            Change::Vanishes => return false,
            Change::Alone { structure, side } => {
                let gone = factors.remove(structure);
                let (inner, outer) = (gone.labels[side], gone.labels[1 - side]);
                summed.retain(|(label, _)| *label != inner);
                let size = graph[gone.id].data.shape[1 - side];
                if !free.contains(&outer) && !summed.iter().any(|(label, _)| *label == outer) {
                    summed.push((outer, size));
                }
            }
            Change::Compose {
                first,
                second,
                band: composed,
                labels,
            } => {
                factors.remove(first.max(second));
                factors.remove(first.min(second));
                factors.push(band(graph, composed, labels));
            }
            Change::Rename {
                structure,
                from,
                to,
            } => {
                factors.remove(structure);
                for label in factors.iter_mut().flat_map(|f| f.labels.iter_mut()) {
                    if *label == from {
                        *label = to;
                    }
                }
                summed.retain(|(label, _)| *label != from);
            }
            Change::Split { structure, side } => {
                let fresh = factors
                    .iter()
                    .flat_map(|f| f.labels.iter())
                    .chain(free)
                    .chain(summed.iter().map(|(label, _)| label))
                    .fold(0, |most, label| most.max(label + 1));
                let own = factors[structure].clone();
                let inner = own.labels[side];
                let shares = |(place, factor): (usize, &Operand)| {
                    (place != structure && factor.labels.contains(&inner)).then_some(place)
                };
                let sharers: SmallVec<[usize; 4]> =
                    factors.iter().enumerate().filter_map(shares).collect();
                for (fresh, sharer) in (fresh..).zip(sharers.into_iter().skip(1)) {
                    let mut copy = own.clone();
                    copy.labels[side] = fresh;
                    for label in factors[sharer].labels.iter_mut() {
                        if *label == inner {
                            *label = fresh;
                        }
                    }
                    factors.push(copy);
                }
            }
        }
    }
    true
}

/// One simplification.
enum Change {
    /// The product is zero.
    Vanishes,
    /// Nothing else carries the summed axis, and each place of the other has one on it: the structure counts them.
    Alone { structure: usize, side: usize },
    /// Two bands in a row are one.
    Compose {
        first: usize,
        second: usize,
        band: Band,
        labels: [Label; 2],
    },
    /// An identity renames an axis.
    Rename {
        structure: usize,
        from: Label,
        to: Label,
    },
    /// Several factors are moved alike: each by a copy of the structure.
    Split { structure: usize, side: usize },
}

fn change(graph: &Graph, factors: &[Operand], free: &[Label], structure: usize) -> Option<Change> {
    let own = &factors[structure];
    let carriers = |label: Label| -> SmallVec<[usize; 4]> {
        let carries =
            |place: &usize| *place != structure && factors[*place].labels.contains(&label);
        (0..factors.len()).filter(carries).collect()
    };
    let bound = |label: Label| !free.contains(&label);
    let band = match graph[own.id].data.structure? {
        Structure::Band(band) => band,
        Structure::Scatter => return None,
        Structure::Gather => {
            let side = own.labels.len() - 1;
            let inner = own.labels[side];
            let shared = bound(inner) && carriers(inner).len() > 1;
            return shared.then_some(Change::Split { structure, side });
        }
    };
    let labels: [Label; 2] = own.labels.as_slice().try_into().ok()?;
    if labels[0] == labels[1] {
        return None;
    }
    if band.count == 0 {
        return Some(Change::Vanishes);
    }
    if band.is_identity() {
        let rename = |from: usize| Change::Rename {
            structure,
            from: labels[from],
            to: labels[1 - from],
        };
        return (0..2).find(|side| bound(labels[*side])).map(rename);
    }
    for side in [1, 0] {
        let (inner, outer) = (labels[side], labels[1 - side]);
        if !bound(inner) {
            continue;
        }
        let sharers = carriers(inner);
        match sharers.as_slice() {
            [] if band.count == band.sizes[1 - side] => {
                return Some(Change::Alone { structure, side });
            }
            [] => {}
            [other] => {
                let other_labels = &factors[*other].labels;
                let Some(Structure::Band(next)) = graph[factors[*other].id].data.structure else {
                    continue;
                };
                let Some(place) = other_labels.iter().position(|l| *l == inner) else {
                    continue;
                };
                let end = other_labels[1 - place];
                if end == inner || end == outer {
                    continue;
                }
                let from = if side == 1 { band } else { band.transposed() };
                let to = if place == 0 { next } else { next.transposed() };
                return Some(Change::Compose {
                    first: structure,
                    second: *other,
                    band: from.then(&to),
                    labels: [outer, end],
                });
            }
            _ => {
                let other_way = bound(outer) && carriers(outer).len() == 1;
                if !other_way {
                    return Some(Change::Split { structure, side });
                }
            }
        }
    }
    None
}

impl fmt::Display for Band {
    /// `move(0:2 of 6)` for a slice, `move(0:2 → 2:4 of 6)` in general.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: usize| {
            let (start, step) = (self.starts[side], self.steps[side]);
            let last = self.at(side, self.count.saturating_sub(1));
            let step = if step == 1 {
                String::new()
            } else {
                format!(":{step}")
            };
            format!("{start}..{last}{step} of {}", self.sizes[side])
        };
        write!(f, "move({} ← {})", side(0), side(1))
    }
}
