//! What is known about each class: its shape, which values it depends on and how, whether it is constant, and whether
//! some plan for it has been seen.
//!
//! # When a class materialises a value
//!
//! Let `v` be a value that must not be materialised. A class is *forbidden* if
//!
//! 1. it depends on nothing but components of `v` (and what the definition of `v` uses besides),
//! 2. on at least two distinct components, and
//! 3. every axis of `v` that is longer than one has an axis of the class, longer than one and not shared with another, that
//!    originates from it.
//!
//! So `w + a·b`, its multiples and transposes and `a·b` are forbidden; `w·x`, `b·x`, `w·bᵀ`, the norm of the rows, the diagonal
//! and the trace are not. A result that is a part of the value, of half its elements or fewer, is what the program asks for and no
//! intermediate: a slice of rows may be formed where it is returned, not on the way to a product. This is a property of the tensor,
//! not of the way it is written: of two equal terms the class keeps what both
//! depend on.

use super::apply::Application;
use super::cost::{CostModel, Factor, one_step};
use super::language::{Label, Labels, Shape, Term, elements};
use super::problem::{Leaf, Value};
use super::structure::Structure;
use egg::{Analysis, DidMerge, EGraph, Id};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::sync::Arc;

/// The e-graph of an island.
pub type Graph = EGraph<Term, Algebra>;

/// How a class depends on one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    /// The value.
    pub value: u32,
    /// The components that the class depends on, one bit each.
    pub components: u64,
    /// For each axis of the class, the axes of the value that come from it, one bit each.
    pub origins: SmallVec<[u32; 4]>,
}

/// What a class depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// On no leaf: a constant.
    Nothing,
    /// The values to whose definitions every leaf below belongs. None of them: on something that belongs to no value, or on
    /// more than one.
    Within(SmallVec<[Dependence; 1]>),
}

impl Provenance {
    /// Depends on something that is no component.
    pub fn mixed() -> Self {
        Provenance::Within(SmallVec::new())
    }

    /// The dependence on `value`, if the class depends on nothing else.
    pub fn on(&self, value: u32) -> Option<&Dependence> {
        match self {
            Provenance::Nothing => None,
            Provenance::Within(list) => list.iter().find(|d| d.value == value),
        }
    }

    /// Whether the class depends on two or more components of a single value and on nothing else.
    pub fn several_components(&self) -> bool {
        match self {
            Provenance::Nothing => false,
            Provenance::Within(list) => list.iter().any(|d| d.components.count_ones() >= 2),
        }
    }

    /// The provenance of a node from its children's and their labels: values that all children share.
    ///
    /// What `bands` are among the children pass on where their axes come from: places moved along an axis of a value are still of
    /// that axis.
    pub fn join<'a>(
        children: impl Iterator<Item = (&'a Provenance, &'a [Label])> + Clone,
        outputs: usize,
        bands: &[&[Label]],
    ) -> Provenance {
        match bands.is_empty() {
            true => Provenance::joined(children, outputs),
            false => Provenance::joined_through(children, outputs, bands),
        }
    }

    fn joined<'a>(
        children: impl Iterator<Item = (&'a Provenance, &'a [Label])>,
        outputs: usize,
    ) -> Provenance {
        let mut joined: Option<SmallVec<[Dependence; 1]>> = None;
        for (provenance, labels) in children {
            let Provenance::Within(list) = provenance else {
                continue;
            };
            let moved = |dependence: &Dependence, into: &mut [u32]| {
                for (label, origin) in labels.iter().zip(&dependence.origins) {
                    if let Some(slot) = into.get_mut(*label as usize) {
                        *slot |= origin;
                    }
                }
            };
            match &mut joined {
                None => {
                    joined = Some(
                        list.iter()
                            .map(|dependence| {
                                let mut origins = SmallVec::from_elem(0, outputs);
                                moved(dependence, &mut origins);
                                Dependence {
                                    origins,
                                    ..*dependence
                                }
                            })
                            .collect(),
                    );
                }
                Some(joined) => joined.retain(|kept| match provenance.on(kept.value) {
                    None => false,
                    Some(dependence) => {
                        kept.components |= dependence.components;
                        moved(dependence, &mut kept.origins);
                        true
                    }
                }),
            }
        }
        joined.map_or(Provenance::Nothing, Provenance::Within)
    }

    fn joined_through<'a>(
        children: impl Iterator<Item = (&'a Provenance, &'a [Label])> + Clone,
        outputs: usize,
        bands: &[&[Label]],
    ) -> Provenance {
        // With all labels as outputs, each label has its origins.
        let labels = || children.clone().flat_map(|(_, labels)| labels);
        let mut names: Labels = (0..outputs as Label).collect();
        for label in labels() {
            if !names.contains(label) {
                names.push(*label);
            }
        }
        let place = |label: &Label| names.iter().position(|l| l == label).unwrap_or(0);
        let placed: SmallVec<[(&Provenance, Labels); 4]> = children
            .clone()
            .map(|(provenance, labels)| {
                let labels = labels.iter().map(|label| place(label) as Label);
                (provenance, labels.collect())
            })
            .collect();
        let placed = placed.iter().map(|(p, labels)| (*p, labels.as_slice()));
        let mut joined = Provenance::joined(placed, names.len());
        if let Provenance::Within(list) = &mut joined {
            for dependence in list {
                for _ in bands {
                    for band in bands {
                        let ends = || band.iter().map(place);
                        let both = ends().fold(0, |all, end| all | dependence.origins[end]);
                        ends().for_each(|end| dependence.origins[end] = both);
                    }
                }
                dependence.origins.truncate(outputs);
            }
        }
        joined
    }

    /// The provenance of a class that is equal to two terms: it depends on no more than either does.
    /// Also says whether the result differs from the first and from the second.
    pub fn meet(&mut self, other: &Provenance) -> (bool, bool) {
        let (mine, theirs) = match (&mut *self, other) {
            (Provenance::Nothing, Provenance::Nothing) => return (false, false),
            (Provenance::Nothing, _) => return (false, true),
            (_, Provenance::Nothing) => {
                *self = Provenance::Nothing;
                return (true, false);
            }
            (Provenance::Within(mine), Provenance::Within(theirs)) => (mine, theirs),
        };
        let (mut changed, mut differs) = (false, false);
        for dependence in theirs {
            match mine.iter_mut().find(|d| d.value == dependence.value) {
                None => {
                    mine.push(dependence.clone());
                    changed = true;
                }
                Some(kept) => {
                    let components = kept.components & dependence.components;
                    changed |= components != kept.components;
                    differs |= components != dependence.components;
                    kept.components = components;
                    for (a, b) in kept.origins.iter_mut().zip(&dependence.origins) {
                        let both = *a | b;
                        changed |= both != *a;
                        differs |= both != *b;
                        *a = both;
                    }
                }
            }
        }
        differs |= mine.len() != theirs.len();
        (changed, differs)
    }
}

/// What is known about a class.
#[derive(Debug, Clone)]
pub struct Data {
    /// Sizes of its axes.
    pub shape: Shape,
    /// What it depends on.
    pub provenance: Provenance,
    /// The number that each of its elements is, if that is known.
    pub constant: Option<f64>,
    /// How it moves elements, if it is no tensor that plans may form but a structure.
    pub structure: Option<Structure>,
    /// Whether a plan for it is in the e-graph, as far as known: never claimed wrongly, perhaps missed until the next rebuild.
    pub feasible: bool,
    /// The step of the problem for which the class was made.
    pub step: u32,
}

impl Data {
    /// Whether all elements are one, so that a product with it only broadcasts.
    pub fn is_ones(&self) -> bool {
        self.constant == Some(1.0)
    }

    /// The class as a factor of a product.
    pub fn factor<'a>(&'a self, labels: &'a [Label]) -> Factor<'a> {
        Factor {
            labels,
            shape: &self.shape,
            structure: self.structure,
        }
    }

    /// Whether it is a constant structure.
    pub fn is_band(&self) -> bool {
        matches!(self.structure, Some(Structure::Band(_)))
    }
}

/// The island around the e-graph: facts and limits that rules need, and the account of their work.
#[derive(Debug, Clone, Default)]
pub struct Algebra {
    /// What comes from outside.
    pub leaves: Vec<Leaf>,
    /// The provenance of each leaf.
    pub provenances: Vec<Provenance>,
    /// The values whose definitions the island holds.
    pub values: Vec<Value>,
    /// Parts of values that the program itself asks for, by the sizes of their axes: plans may form those.
    pub parts: Vec<(u32, Shape)>,
    /// The machine.
    pub model: CostModel,
    /// Bytes of an element.
    pub itemsize: f64,
    /// No plan forms a tensor of more elements than the largest that the program as written has.
    pub largest: f64,
    /// The step for which classes are being made.
    pub step: u32,
    /// Rewrites that have been tried, by hash.
    pub tried: FxHashSet<u64>,
    /// What each law saw of each class when it last looked at it.
    pub seen: FxHashMap<(&'static str, Id), u64>,
    /// What users know to be equal, by the leaf that stands for it.
    pub applications: FxHashMap<u32, Arc<Application>>,
    /// Classes that users know something about, so that sums with them are multiplied out.
    pub known: FxHashSet<Id>,
    /// The law that is being applied.
    pub law: &'static str,
    /// What laws have equated, in order, if that is kept.
    pub log: Option<Vec<Equated>>,
    /// Units of work that the rules may still do.
    pub work: u64,
    /// What is tried beyond what has to be.
    pub zeal: Zeal,
    /// Whether a rule was stopped by a limit.
    pub stopped: bool,
    /// Whether a rule equated what cannot be equal.
    pub broken: bool,
}

/// What rules try beyond what has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Zeal {
    /// Sums are multiplied out only where they must not be formed.
    #[default]
    Needed,
    /// And where that pays, as far as can be seen from a sum and what reads it.
    Pays,
    /// And wherever it can be done, and products are flattened likewise: others may share what comes of it.
    All,
}

/// A law has made a class equal a term.
#[derive(Debug, Clone)]
pub struct Equated {
    /// The law.
    pub law: &'static str,
    /// The class.
    pub class: Id,
    /// What it equals.
    pub term: Term,
}

impl Algebra {
    /// The value that a tensor with this provenance and shape would materialise against its will, if any.
    pub fn forbids(&self, provenance: &Provenance, shape: &[usize]) -> Option<u32> {
        let Provenance::Within(list) = provenance else {
            return None;
        };
        list.iter()
            .find(|dependence| {
                let Some(value) = self.values.get(dependence.value as usize) else {
                    return false;
                };
                let long = dependence.origins.iter().zip(shape);
                let long = long.filter(|(_, size)| **size != 1).map(|(o, _)| *o);
                let asked = |(part, sizes): &(u32, Shape)| {
                    *part == dependence.value && *sizes == sorted(shape)
                };
                !value.allow_materialise
                    && dependence.components.count_ones() >= 2
                    && have_their_own(value.axes, &long.collect::<SmallVec<[u32; 4]>>())
                    && !self.parts.iter().any(asked)
            })
            .map(|dependence| dependence.value)
    }

    /// Whether a plan may hold a tensor with this provenance and shape.
    pub fn admits(&self, provenance: &Provenance, shape: &[usize]) -> bool {
        elements(shape) <= self.largest && self.forbids(provenance, shape).is_none()
    }

    /// Takes `units` from the budget; false, from then on, if there are not so many left.
    pub fn spend(&mut self, units: u64) -> bool {
        if self.work < units {
            self.work = 0;
            self.stopped = true;
            return false;
        }
        self.work -= units;
        true
    }
}

/// Whether each of these axes, one bit each, has one of `origins` to itself: a matching, by augmenting paths.
fn have_their_own(axes: u32, origins: &[u32]) -> bool {
    fn place(axis: u32, origins: &[u32], taken: &mut [Option<u32>], seen: &mut u64) -> bool {
        (0..origins.len().min(64)).any(|slot| {
            if origins[slot] >> axis & 1 == 0 || *seen >> slot & 1 == 1 {
                return false;
            }
            *seen |= 1 << slot;
            let free = taken[slot].is_none_or(|other| place(other, origins, taken, seen));
            if free {
                taken[slot] = Some(axis);
            }
            free
        })
    }
    let mut taken: SmallVec<[Option<u32>; 4]> = SmallVec::from_elem(None, origins.len());
    let mut wanted = (0..u32::BITS).filter(|axis| axes >> axis & 1 == 1);
    wanted.all(|axis| place(axis, origins, &mut taken, &mut 0))
}

/// The sizes of axes, whatever their order.
pub fn sorted(shape: &[usize]) -> Shape {
    let mut sizes: Shape = shape.into();
    sizes.sort_unstable();
    sizes
}

/// The shape of a node from its children's shapes and labels.
pub fn shape_of<'a>(
    children: impl Iterator<Item = (&'a [usize], &'a [Label])>,
    outputs: usize,
) -> Shape {
    let mut shape = Shape::from_elem(1, outputs);
    for (sizes, labels) in children {
        for (label, size) in labels.iter().zip(sizes) {
            if let Some(slot) = shape.get_mut(*label as usize) {
                *slot = *size;
            }
        }
    }
    shape
}

fn joined(
    graph: &Graph,
    labels: &[Labels],
    children: &[Id],
    outputs: usize,
) -> (Shape, Provenance) {
    let data = || {
        children
            .iter()
            .zip(labels)
            .map(|(child, labels)| (&graph[*child].data, labels.as_slice()))
    };
    let bands: SmallVec<[&[Label]; 2]> = data()
        .filter(|(data, _)| data.is_band())
        .map(|(_, labels)| labels)
        .collect();
    (
        shape_of(data().map(|(d, l)| (d.shape.as_slice(), l)), outputs),
        Provenance::join(data().map(|(d, l)| (&d.provenance, l)), outputs, &bands),
    )
}

/// The number that a product of constants is.
fn constant_product(
    graph: &Graph,
    outputs: Label,
    labels: &[Labels],
    children: &[Id],
) -> Option<f64> {
    let mut value = 1.0;
    let mut summed: Labels = Labels::new();
    for (child, labels) in children.iter().zip(labels) {
        let data = &graph[*child].data;
        value *= data.constant?;
        for (label, size) in labels.iter().zip(&data.shape) {
            if *label >= outputs && !summed.contains(label) {
                summed.push(*label);
                value *= *size as f64;
            }
        }
    }
    Some(value)
}

impl Analysis<Term> for Algebra {
    type Data = Data;

    fn make(graph: &mut Graph, term: &Term, _id: Id) -> Data {
        let step = graph.analysis.step;
        let (shape, provenance, constant, executable) = match term {
            Term::Leaf(leaf) => {
                let leaf = *leaf as usize;
                let shape = graph.analysis.leaves.get(leaf).map(|l| l.shape.clone());
                let provenance = graph.analysis.provenances.get(leaf).cloned();
                let structure = graph.analysis.leaves.get(leaf).and_then(|leaf| leaf.moves);
                return Data {
                    shape: shape.unwrap_or_default(),
                    provenance: provenance.unwrap_or_else(Provenance::mixed),
                    constant: None,
                    structure,
                    feasible: true,
                    step,
                };
            }
            Term::Ones(size) => {
                return Data {
                    shape: SmallVec::from_slice(&[*size]),
                    provenance: Provenance::Nothing,
                    constant: Some(1.0),
                    structure: None,
                    feasible: true,
                    step,
                };
            }
            Term::Band(band) => {
                return Data {
                    shape: SmallVec::from_slice(&band.sizes),
                    provenance: Provenance::Nothing,
                    constant: None,
                    structure: Some(Structure::Band(*band)),
                    feasible: true,
                    step,
                };
            }
            Term::Prod(product) | Term::Dot(product) => {
                let outputs = product.outputs as usize;
                let (shape, provenance) =
                    joined(graph, &product.labels, &product.children, outputs);
                let constant = match provenance {
                    Provenance::Nothing => {
                        constant_product(graph, product.outputs, &product.labels, &product.children)
                    }
                    Provenance::Within(_) => None,
                };
                let fills = |child: &Id| graph[*child].data.is_ones();
                let factors: SmallVec<[Factor; 4]> = product
                    .children
                    .iter()
                    .zip(&product.labels)
                    .filter(|(child, _)| !fills(child))
                    .map(|(child, labels)| graph[*child].data.factor(labels))
                    .collect();
                let broadcasts = product.children.iter().any(fills);
                let one_step = one_step(&factors, outputs, broadcasts);
                (shape, provenance, constant, one_step)
            }
            Term::Add(sum) => {
                let outputs = sum.outputs as usize;
                let (shape, provenance) = joined(graph, &sum.labels, &sum.children, outputs);
                let constant = sum
                    .children
                    .iter()
                    .zip(&sum.coefficients)
                    .map(|(child, coefficient)| {
                        graph[*child].data.constant.map(|c| c * coefficient.0)
                    })
                    .sum::<Option<f64>>();
                // Structures are no tensors, so their sum cannot be formed.
                let formed = |child: &Id| graph[*child].data.structure.is_none();
                let one_step = sum.children.iter().all(formed);
                (shape, provenance, constant, one_step)
            }
        };
        let feasible = executable
            && graph.analysis.admits(&provenance, &shape)
            && egg::Language::children(term)
                .iter()
                .all(|child| graph[*child].data.feasible);
        Data {
            shape,
            provenance,
            constant,
            structure: None,
            feasible,
            step,
        }
    }

    fn merge(&mut self, a: &mut Data, b: Data) -> DidMerge {
        // A rule that is no law: found by tests, which stop here; elsewhere the search ends, and nothing of it is used.
        debug_assert_eq!(
            a.shape, b.shape,
            "a rule equated tensors of different shapes"
        );
        if a.shape != b.shape {
            self.broken = true;
            self.work = 0;
            return DidMerge(false, false);
        }
        let (mut changed, mut differs) = a.provenance.meet(&b.provenance);
        match (a.constant, b.constant) {
            (None, Some(_)) => {
                a.constant = b.constant;
                changed = true;
            }
            (Some(_), None) => differs = true,
            _ => {}
        }
        let feasible = (a.feasible || b.feasible) && self.admits(&a.provenance, &a.shape);
        changed |= feasible != a.feasible;
        differs |= feasible != b.feasible;
        a.feasible = feasible;
        // The step says which line of the program an equation stands for; parents do not depend on it.
        a.step = a.step.min(b.step);
        DidMerge(changed, differs)
    }
}
