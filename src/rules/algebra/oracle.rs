//! The cheapest plan of a small island, found by exhaustion.
//!
//! This shares no code with the e-graph, its rules or its extraction; it exists to judge them. Each root is multiplied out to a
//! sum of products of leaves. Every tensor that can stand in a plan is then reached from the roots by three steps backwards: a
//! sum is split into sums, a factor that all terms share is taken out, a product is split in two. What remains is to choose for
//! each tensor one of its steps so that the whole costs least, each tensor counted once: a shortest path over the sets of tensors
//! that are still wanted, the largest first (A*, Hart, Nilsson and Raphael, 1968).

use super::cost::{Addend, CostModel, Factor, Made};
use super::language::{Label, Labels, Shape, elements};
use super::problem::{Operation, Problem};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The most terms of a root.
const MOST_TERMS: usize = 24;
/// Sums of more terms are not split in all ways.
const MOST_PARTED: usize = 6;
/// The most tensors that are reached.
const MOST_TENSORS: usize = 6_000;
/// The most sets of wanted tensors that are looked at.
const MOST_STATES: usize = 150_000;
/// The most axes of a tensor.
const MOST_AXES: usize = 5;

/// A leaf with the label of each of its axes.
type Occurrence = (u32, Labels);

/// A product of leaves; labels below the rank of its tensor are axes, the others are summed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Term {
    factors: Vec<Occurrence>,
}

/// A sum of products up to a coefficient and the order of its axes. Coefficients are relative to the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Tensor {
    shape: Shape,
    terms: Vec<(Term, u64)>,
}

/// One way to compute a tensor.
#[derive(Debug, Clone)]
struct Step {
    cost: f64,
    /// Tensors, and whether they are added into this one's memory as they are made.
    children: SmallVec<[(usize, bool); 4]>,
    contracts: bool,
}

/// What the search came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimum {
    /// The cost of the cheapest plan.
    Cost(f64),
    /// No plan avoids what is forbidden.
    Refused,
    /// The island is too large to be searched.
    Unknown,
}

/// The cost of the cheapest plan of a problem.
pub fn optimum(problem: &Problem, model: &CostModel) -> Optimum {
    let largest = problem
        .steps
        .iter()
        .filter(|step| !problem.is_structure(step))
        .map(|step| elements(&step.shape))
        .fold(0.0, f64::max);
    let mut search = Search {
        problem,
        model,
        largest,
        ids: FxHashMap::default(),
        tensors: Vec::new(),
        steps: Vec::new(),
    };
    match search.run() {
        Some(cost) if cost.is_finite() => Optimum::Cost(cost),
        Some(_) => Optimum::Refused,
        None => Optimum::Unknown,
    }
}

/// Terms with coefficients, before they are made canonical.
type Sum = Vec<(f64, Vec<Occurrence>)>;

struct Search<'a> {
    problem: &'a Problem,
    model: &'a CostModel,
    largest: f64,
    ids: FxHashMap<Tensor, usize>,
    tensors: Vec<Tensor>,
    steps: Vec<Vec<Step>>,
}

impl Search<'_> {
    fn run(&mut self) -> Option<f64> {
        let expanded = self.expanded()?;
        let written = self.written(&expanded)?;
        let roots = self.problem.roots.iter();
        let roots: Vec<(Shape, Sum)> = roots
            .map(|root| {
                let shape = Shape::from_slice(self.problem.shape(*root));
                Some((shape, expanded.get(*root as usize)?.clone()))
            })
            .collect::<Option<_>>()?;
        let mut wanted: Vec<(usize, bool)> = Vec::new();
        let mut fixed = 0.0;
        for (shape, sum) in roots {
            let carried = |label: &Label| {
                let carries = |(_, factors): &(f64, Vec<Occurrence>)| {
                    factors.iter().any(|(_, labels)| labels.contains(label))
                };
                sum.iter().any(carries)
            };
            let axes: Labels = (0..shape.len() as Label).filter(carried).collect();
            if sum.iter().all(|(_, factors)| factors.is_empty()) {
                continue;
            }
            let id = self.tensor(&sum, &axes)?;
            if axes.len() < shape.len() {
                let own = elements(&self.tensors[id].shape);
                let itemsize = f64::from(self.problem.itemsize);
                fixed += self.model.kernel(itemsize * (own + elements(&shape)));
            }
            if !self.is_leaf(id) && !wanted.contains(&(id, false)) {
                wanted.push((id, false));
            }
        }
        let mut next = 0;
        while next < self.tensors.len() {
            if self.tensors.len() > MOST_TENSORS {
                return None;
            }
            let mut steps = self.decompose(next)?;
            if !steps.is_empty() {
                let own = written.iter().filter(|(id, _)| *id == next);
                steps.extend(own.map(|(_, step)| step.clone()));
            }
            self.steps.push(steps);
            next += 1;
        }
        Some(fixed + self.cheapest(wanted)?)
    }

    /// The steps of the program as written, where nothing is broadcast: what the other ways to compute a tensor compete with.
    fn written(&mut self, expanded: &[Sum]) -> Option<Vec<(usize, Step)>> {
        let problem = self.problem;
        let itemsize = f64::from(problem.itemsize);
        let mut all = Vec::new();
        for (number, step) in problem.steps.iter().enumerate() {
            let carried = |output: &Labels, lists: &[&Labels]| {
                let by_any = |label: &Label| lists.iter().any(|labels| labels.contains(label));
                output.iter().all(by_any)
            };
            let (operands, made) = match &step.operation {
                Operation::Leaf(_) | Operation::Band(_) => continue,
                Operation::Product { operands, output } => {
                    let lists: SmallVec<[&Labels; 2]> = operands.iter().map(|o| &o.1).collect();
                    if !carried(output, &lists) {
                        continue;
                    }
                    let renamed: SmallVec<[Labels; 2]> =
                        lists.iter().map(|labels| under(labels, output)).collect();
                    let factors: SmallVec<[Factor; 2]> = operands
                        .iter()
                        .zip(&renamed)
                        .map(|((operand, _), labels)| Factor {
                            labels,
                            shape: problem.shape(*operand),
                            structure: self.structure(*operand),
                        })
                        .collect();
                    let cost = self.model.product(itemsize, &factors, &step.shape);
                    let sums = lists.iter().any(|l| l.iter().any(|l| !output.contains(l)));
                    let tensors = factors.iter().filter(|f| !f.labels.is_empty());
                    let contracts = sums
                        && tensors.clone().count() == 2
                        && tensors.clone().all(|f| f.structure.is_none());
                    let operands: SmallVec<[u32; 4]> = operands.iter().map(|o| o.0).collect();
                    (operands, (cost, contracts))
                }
                Operation::Sum { terms, output } => {
                    if terms
                        .iter()
                        .any(|(_, _, labels)| labels.len() != output.len())
                    {
                        continue;
                    }
                    let addends: SmallVec<[Addend; 4]> = terms
                        .iter()
                        .map(|(_, operand, _)| Addend {
                            elements: elements(problem.shape(*operand)),
                            made: Made::Apart,
                        })
                        .collect();
                    let cost = self.model.sum(itemsize, &addends, elements(&step.shape));
                    (terms.iter().map(|t| t.1).collect(), (cost, false))
                }
            };
            let mut id_of = |number: u32| -> Option<Option<usize>> {
                let sum = expanded.get(number as usize)?;
                let axes: Labels = (0..problem.shape(number).len() as Label).collect();
                let carries = |label: &Label| {
                    sum.iter()
                        .flat_map(|(_, factors)| factors)
                        .any(|(_, labels)| labels.contains(label))
                };
                // Zero, a number, or something broadcast: no tensor that can be wanted.
                match sum.iter().any(|(_, f)| f.is_empty()) || !axes.iter().all(carries) {
                    true => Some(None),
                    false => Some(Some(self.tensor(sum, &axes)?)),
                }
            };
            let Some(own) = id_of(number as u32)? else {
                continue;
            };
            let ids: Option<SmallVec<[usize; 4]>> = operands
                .iter()
                .map(|operand| id_of(*operand))
                .collect::<Option<SmallVec<[Option<usize>; 4]>>>()?
                .into_iter()
                .collect();
            let Some(ids) = ids.filter(|ids| !ids.contains(&own)) else {
                continue;
            };
            let mut children: SmallVec<[(usize, bool); 4]> = SmallVec::new();
            for id in ids {
                if !self.is_leaf(id) && !children.contains(&(id, false)) {
                    children.push((id, false));
                }
            }
            let (cost, contracts) = made;
            if cost.is_finite() {
                let step = Step {
                    cost,
                    children,
                    contracts,
                };
                all.push((own, step));
            }
        }
        Some(all)
    }

    /// All steps multiplied out.
    fn expanded(&self) -> Option<Vec<Sum>> {
        let mut sums: Vec<Sum> = Vec::new();
        let mut fresh: Label = 1000;
        for (number, step) in self.problem.steps.iter().enumerate() {
            let mut summed: FxHashMap<Label, Label> = FxHashMap::default();
            let rank = step.shape.len() as Label;
            let sum: Sum = match &step.operation {
                Operation::Leaf(_) | Operation::Band(_) => {
                    vec![(1.0, vec![(number as u32, (0..rank).collect())])]
                }
                Operation::Product { operands, output } => {
                    let mut sum: Sum = vec![(1.0, Vec::new())];
                    for (operand, labels) in operands {
                        let mut next = Sum::new();
                        for (c, factors) in &sum {
                            for (d, own) in sums.get(*operand as usize)? {
                                let own = inlined(own, labels, output, &mut summed, &mut fresh);
                                let all = factors.iter().cloned().chain(own).collect();
                                next.push((c * d, all));
                            }
                        }
                        sum = next;
                    }
                    for (c, factors) in &mut sum {
                        *c *= self.repeats(operands, output, &summed, factors);
                    }
                    sum
                }
                Operation::Sum { terms, output } => {
                    let mut sum = Sum::new();
                    for (c, operand, labels) in terms {
                        for (d, own) in sums.get(*operand as usize)? {
                            let own = inlined(own, labels, output, &mut summed, &mut fresh);
                            sum.push((c.0 * d, own));
                        }
                    }
                    sum
                }
            };
            let sum = gathered(sum, rank);
            if sum.len() > MOST_TERMS {
                return None;
            }
            sums.push(sum);
        }
        Some(sums)
    }

    /// How often a term counts: it is added up along summed labels that none of its factors carries.
    fn repeats(
        &self,
        operands: &[(u32, Labels)],
        output: &Labels,
        summed: &FxHashMap<Label, Label>,
        factors: &[Occurrence],
    ) -> f64 {
        let mut seen = Labels::new();
        let mut times = 1.0;
        for (operand, labels) in operands {
            for (label, size) in labels.iter().zip(self.problem.shape(*operand)) {
                let name = summed.get(label);
                let carried = |name| factors.iter().any(|(_, labels)| labels.contains(name));
                if !output.contains(label) && !seen.contains(label) && !name.is_some_and(carried) {
                    times *= *size as f64;
                }
                seen.push(*label);
            }
        }
        times
    }

    fn size(&self, leaf: u32, axis: usize) -> usize {
        self.problem.shape(leaf).get(axis).copied().unwrap_or(1)
    }

    fn is_leaf(&self, id: usize) -> bool {
        match self.tensors[id].terms.as_slice() {
            [(term, _)] => match term.factors.as_slice() {
                [(_, labels)] => distinct(labels) && labels.len() == self.tensors[id].shape.len(),
                _ => false,
            },
            _ => false,
        }
    }

    fn structure(&self, leaf: u32) -> Option<super::structure::Structure> {
        match self.problem.steps.get(leaf as usize)?.operation {
            Operation::Band(band) => Some(super::structure::Structure::Band(band)),
            Operation::Leaf(leaf) => self.problem.leaves.get(leaf as usize)?.moves,
            _ => None,
        }
    }

    /// The canonical tensor with these axes, in whatever order.
    fn tensor(&mut self, sum: &Sum, axes: &[Label]) -> Option<usize> {
        if axes.len() > MOST_AXES {
            return None;
        }
        let mut best: Option<Tensor> = None;
        for order in permutations(axes) {
            let rank = order.len() as Label;
            let named: Sum = sum
                .iter()
                .map(|(c, factors)| {
                    let rename = |label: &Label| match order.iter().position(|l| l == label) {
                        Some(axis) => axis as Label,
                        None => label.saturating_add(rank),
                    };
                    let factors = factors
                        .iter()
                        .map(|(leaf, labels)| (*leaf, labels.iter().map(rename).collect()))
                        .collect();
                    (*c, factors)
                })
                .collect();
            let mut terms: Vec<(Term, f64)> = named
                .into_iter()
                .map(|(c, factors)| (canonical(factors, rank), c))
                .collect();
            terms.sort_by(|a, b| a.0.cmp(&b.0));
            let first = terms.first().map_or(1.0, |(_, c)| *c);
            let mut shape: Shape = SmallVec::from_elem(1, order.len());
            for (leaf, labels) in terms.iter().flat_map(|(term, _)| &term.factors) {
                for (axis, label) in labels.iter().enumerate() {
                    if let Some(slot) = shape.get_mut(*label as usize) {
                        *slot = self.size(*leaf, axis);
                    }
                }
            }
            let tensor = Tensor {
                shape,
                terms: terms
                    .into_iter()
                    .map(|(term, c)| (term, (c / first).to_bits()))
                    .collect(),
            };
            if best.as_ref().is_none_or(|best| tensor < *best) {
                best = Some(tensor);
            }
        }
        let tensor = best?;
        let next = self.tensors.len();
        let id = *self.ids.entry(tensor.clone()).or_insert(next);
        if id == next {
            self.tensors.push(tensor);
        }
        Some(id)
    }

    /// Whether a plan may hold this tensor: as the definition in `analysis` says, from the leaves alone.
    fn admits(&self, tensor: &Tensor) -> bool {
        let single = |term: &Term| match term.factors.as_slice() {
            [(leaf, _)] => self.structure(*leaf).is_some(),
            _ => false,
        };
        if tensor.terms.iter().any(|(term, _)| single(term)) {
            return false;
        }
        if elements(&tensor.shape) > self.largest {
            return false;
        }
        for (number, value) in self.problem.values.iter().enumerate() {
            if value.allow_materialise {
                continue;
            }
            let (mut within, mut components) = (true, 0u64);
            let mut origins_of_axes: Vec<u32> = vec![0; tensor.shape.len()];
            for (term, _) in &tensor.terms {
                let mut origins: FxHashMap<Label, u32> = FxHashMap::default();
                for (leaf, labels) in &term.factors {
                    let mark = self
                        .problem
                        .marks
                        .iter()
                        .find(|mark| mark.step == *leaf && mark.value == number as u32);
                    match mark {
                        Some(mark) => {
                            components |= mark.components;
                            for (label, origin) in labels.iter().zip(&mark.origins) {
                                *origins.entry(*label).or_insert(0) |= origin;
                            }
                        }
                        None => {
                            let operation = self.problem.steps.get(*leaf as usize);
                            within &= operation
                                .is_some_and(|s| matches!(s.operation, Operation::Band(_)));
                        }
                    }
                }
                for _ in 0..term.factors.len() {
                    for (leaf, labels) in &term.factors {
                        let step = self.problem.steps.get(*leaf as usize);
                        if step.is_some_and(|s| matches!(s.operation, Operation::Band(_))) {
                            let all = labels.iter().filter_map(|l| origins.get(l));
                            let all = all.fold(0, |all, o| all | o);
                            for label in labels {
                                origins.insert(*label, all);
                            }
                        }
                    }
                }
                for (axis, size) in tensor.shape.iter().enumerate() {
                    if *size != 1 {
                        origins_of_axes[axis] |= origins.get(&(axis as Label)).unwrap_or(&0);
                    }
                }
            }
            if within && components.count_ones() >= 2 && each_apart(value.axes, &origins_of_axes) {
                return false;
            }
        }
        true
    }

    /// All steps that compute a tensor.
    fn decompose(&mut self, id: usize) -> Option<Vec<Step>> {
        let tensor = self.tensors[id].clone();
        if self.is_leaf(id) || !self.admits(&tensor) {
            return Some(Vec::new());
        }
        let rank = tensor.shape.len() as Label;
        let sum: Sum = tensor
            .terms
            .iter()
            .map(|(term, c)| (f64::from_bits(*c), term.factors.clone()))
            .collect();
        let mut steps = Vec::new();
        if let [(_, factors)] = sum.as_slice() {
            self.split(factors, rank, &tensor.shape, &mut steps)?;
        } else {
            self.part(&sum, rank, &tensor.shape, &mut steps)?;
            self.take_out(&sum, rank, &tensor.shape, &mut steps)?;
        }
        Some(steps)
    }

    /// A product as a product of two.
    fn split(
        &mut self,
        factors: &[Occurrence],
        rank: Label,
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        if let [(leaf, labels)] = factors {
            let own: Shape = Shape::from_slice(self.problem.shape(*leaf));
            let cost = self.product(&[(labels, &own, *leaf)], shape);
            steps.push(Step {
                cost,
                children: SmallVec::new(),
                contracts: false,
            });
            return Some(());
        }
        if factors.len() > 12 {
            return None;
        }
        for subset in 1usize..1 << (factors.len() - 1) {
            let side = |take: bool| -> Vec<Occurrence> {
                let taken = |i: &usize| (subset >> i & 1 == 1) == take;
                let places = (0..factors.len()).filter(taken);
                places.map(|i| factors[i].clone()).collect()
            };
            let (left, right) = (side(true), side(false));
            let carries = |side: &[Occurrence], label: Label| {
                side.iter().any(|(_, labels)| labels.contains(&label))
            };
            let open = |own: &[Occurrence], other: &[Occurrence]| -> Labels {
                let mut open = Labels::new();
                for label in own.iter().flat_map(|(_, labels)| labels) {
                    if !open.contains(label) && (*label < rank || carries(other, *label)) {
                        open.push(*label);
                    }
                }
                open
            };
            let axes = [open(&left, &right), open(&right, &left)];
            // A leaf may be read as it is, its own axes summed on the way.
            let ways = |side: &[Occurrence], axes: &Labels| -> Vec<Labels> {
                match side {
                    [(_, labels)] if distinct(labels) && labels.len() != axes.len() => {
                        vec![axes.clone(), labels.clone()]
                    }
                    _ => vec![axes.clone()],
                }
            };
            for left_axes in ways(&left, &axes[0]) {
                for right_axes in ways(&right, &axes[1]) {
                    let sides = [(&left, &left_axes), (&right, &right_axes)];
                    self.product_step(sides, shape, steps)?;
                }
            }
        }
        Some(())
    }

    fn product_step(
        &mut self,
        sides: [(&Vec<Occurrence>, &Labels); 2],
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        let sums = sides.map(|(side, axes)| (vec![(1.0, side.clone())], axes.clone()));
        self.product_of(
            [(&sums[0].0, &sums[0].1), (&sums[1].0, &sums[1].1)],
            shape,
            steps,
        )
    }

    /// The step that multiplies two tensors.
    fn product_of(
        &mut self,
        sides: [(&Sum, &Labels); 2],
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        let sizes = sides.map(|(sum, axes)| self.sizes(sum, axes));
        // A structure that is summed by itself is a tensor like others.
        let leaf = |(sum, axes): (&Sum, &Labels)| match sum.as_slice() {
            [(_, factors)] if factors.len() == 1 && factors[0].1.len() == axes.len() => {
                factors[0].0
            }
            _ => u32::MAX,
        };
        let cost = self.product(
            &[
                (sides[0].1, &sizes[0], leaf(sides[0])),
                (sides[1].1, &sizes[1], leaf(sides[1])),
            ],
            shape,
        );
        if !cost.is_finite() {
            return Some(());
        }
        let fits = |sizes: &Shape, side: (&Sum, &Labels)| {
            leaf(side) != u32::MAX || elements(sizes) <= self.largest
        };
        if !fits(&sizes[0], sides[0]) || !fits(&sizes[1], sides[1]) {
            return Some(());
        }
        let mut children = SmallVec::new();
        for (sum, axes) in sides {
            let id = self.tensor(sum, axes)?;
            let moves = self.is_leaf(id);
            if !moves && !children.contains(&(id, false)) {
                children.push((id, false));
            }
        }
        let rank = shape.len() as Label;
        let both = sides.iter().all(|(_, axes)| !axes.is_empty());
        let sums = sides
            .iter()
            .any(|(_, axes)| axes.iter().any(|l| *l >= rank));
        let moves = sides
            .iter()
            .any(|side| self.structure(leaf(*side)).is_some());
        steps.push(Step {
            cost,
            children,
            contracts: both && sums && !moves,
        });
        Some(())
    }

    fn sizes(&self, sum: &Sum, axes: &[Label]) -> Shape {
        let size = |label: &Label| {
            let occurrences = sum.iter().flat_map(|(_, factors)| factors);
            let mut places = occurrences.filter_map(|(leaf, labels)| {
                let axis = labels.iter().position(|l| l == label)?;
                Some(self.size(*leaf, axis))
            });
            places.next().unwrap_or(1)
        };
        axes.iter().map(size).collect()
    }

    /// The model's time of one product; the leaf says whether a factor is a structure.
    fn product(&self, factors: &[(&Labels, &Shape, u32)], shape: &[usize]) -> f64 {
        let factors: SmallVec<[Factor; 2]> = factors
            .iter()
            .map(|(labels, shape, leaf)| Factor {
                labels,
                shape,
                structure: self.structure(*leaf),
            })
            .collect();
        let itemsize = f64::from(self.problem.itemsize);
        self.model.product(itemsize, &factors, shape)
    }

    /// A sum as a sum of sums.
    fn part(
        &mut self,
        sum: &Sum,
        rank: Label,
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        if sum.len() > MOST_PARTED {
            return None;
        }
        for groups in partitions(sum.len()) {
            if groups.len() < 2 {
                continue;
            }
            let mut parts: SmallVec<[(usize, bool); 4]> = SmallVec::new();
            for group in &groups {
                let own: Sum = group.iter().map(|i| sum[*i].clone()).collect();
                let axes: Labels = (0..rank)
                    .filter(|label| {
                        own.iter()
                            .flat_map(|(_, factors)| factors)
                            .any(|(_, labels)| labels.contains(label))
                    })
                    .collect();
                let id = self.tensor(&own, &axes)?;
                parts.push((id, self.is_leaf(id)));
            }
            // Which parts are added into the result as they are made.
            let makable: SmallVec<[usize; 4]> = (0..parts.len()).filter(|i| !parts[*i].1).collect();
            for chosen in 0usize..1 << makable.len() {
                let is_chosen = |i: usize| {
                    let place = makable.iter().position(|m| *m == i);
                    place.is_some_and(|place| chosen >> place & 1 == 1)
                };
                let addends: SmallVec<[Addend; 4]> = (0..parts.len())
                    .map(|i| Addend {
                        elements: elements(&self.tensors[parts[i].0].shape),
                        made: match is_chosen(i) {
                            true => Made::Contracted,
                            false => Made::Apart,
                        },
                    })
                    .collect();
                let itemsize = f64::from(self.problem.itemsize);
                steps.push(Step {
                    cost: self.model.sum(itemsize, &addends, elements(shape)),
                    children: makable
                        .iter()
                        .map(|i| (parts[*i].0, is_chosen(*i)))
                        .collect(),
                    contracts: false,
                });
            }
            // Parts that structures place, if all are so.
            let placed: Option<SmallVec<[(usize, bool); 4]>> = parts
                .iter()
                .map(|(id, leaf)| (!leaf && self.is_placed(*id)).then_some((*id, false)))
                .collect();
            if let Some(children) = placed {
                steps.push(Step {
                    cost: 0.0,
                    children,
                    contracts: false,
                });
            }
        }
        Some(())
    }

    /// Whether a tensor may be something placed in a larger one: some structure of all its terms has an axis of the result.
    fn is_placed(&self, id: usize) -> bool {
        let tensor = &self.tensors[id];
        let rank = tensor.shape.len() as Label;
        tensor.terms.iter().all(|(term, _)| {
            term.factors
                .iter()
                .any(|(leaf, labels)| match self.structure(*leaf) {
                    Some(super::structure::Structure::Band(band)) => (0..2).any(|side| {
                        labels[side] < rank
                            && labels[1 - side] >= rank
                            && band.count < band.sizes[side]
                    }),
                    _ => false,
                })
        })
    }

    /// A sum with what all terms share taken out.
    fn take_out(
        &mut self,
        sum: &Sum,
        rank: Label,
        shape: &[usize],
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        let Some(((first_c, first), others)) = sum.split_first() else {
            return Some(());
        };
        if first.len() > 10 {
            return None;
        }
        for subset in 1usize..(1 << first.len()) - 1 {
            let common: Vec<Occurrence> = (0..first.len())
                .filter(|i| subset >> i & 1 == 1)
                .map(|i| first[i].clone())
                .collect();
            let rest: Vec<Occurrence> = (0..first.len())
                .filter(|i| subset >> i & 1 == 0)
                .map(|i| first[i].clone())
                .collect();
            // The ways in which the other terms have the same factors; each is tried.
            let mut choices: Vec<Sum> = vec![vec![(*first_c, rest)]];
            for (c, factors) in others {
                let mut next = Vec::new();
                for matched in matches(&common, factors, rank) {
                    for choice in &choices {
                        let mut choice = choice.clone();
                        choice.push((*c, matched.clone()));
                        next.push(choice);
                    }
                }
                choices = next;
                if choices.len() > 16 {
                    return None;
                }
            }
            for rests in choices {
                let of_common =
                    |label: &Label| common.iter().any(|(_, labels)| labels.contains(label));
                let axes_of = |factors: &[Occurrence]| -> Labels {
                    let mut axes: Labels = factors
                        .iter()
                        .flat_map(|(_, labels)| labels.iter().copied())
                        .filter(|label| *label < rank || of_common(label))
                        .collect();
                    axes.sort_unstable();
                    axes.dedup();
                    axes
                };
                let axes = axes_of(&rests[0].1);
                if rests.iter().any(|(_, factors)| axes_of(factors) != axes) {
                    continue;
                }
                let mut own: Labels = Labels::new();
                for label in common.iter().flat_map(|(_, labels)| labels) {
                    if !own.contains(label) && (*label < rank || axes.contains(label)) {
                        own.push(*label);
                    }
                }
                let common: Sum = vec![(1.0, common.clone())];
                self.product_of([(&common, &own), (&rests, &axes)], shape, steps)?;
            }
        }
        Some(())
    }

    /// The least cost of computing all that is wanted.
    fn cheapest(&self, wanted: Vec<(usize, bool)>) -> Option<f64> {
        let feasible = self.feasible();
        if wanted.iter().any(|(id, _)| !feasible[*id]) {
            return Some(f64::INFINITY);
        }
        let usable = |item: (usize, bool), step: &Step| {
            (!item.1 || step.contracts) && step.children.iter().all(|(c, _)| feasible[*c])
        };
        let least = |item: &(usize, bool)| {
            let steps = self.steps[item.0].iter();
            let costs = steps.filter(|step| usable(*item, step)).map(|s| s.cost);
            costs.fold(f64::INFINITY, f64::min)
        };
        let size = |id: usize| -> usize {
            let terms = &self.tensors[id].terms;
            let factors: usize = terms.iter().map(|(term, _)| term.factors.len()).sum();
            factors + terms.len()
        };
        let mut wanted = wanted;
        wanted.sort_unstable();
        let mut best: FxHashMap<Vec<(usize, bool)>, f64> = FxHashMap::default();
        let mut done: FxHashSet<Vec<(usize, bool)>> = FxHashSet::default();
        let mut queue = BinaryHeap::new();
        let bound = |state: &[(usize, bool)]| state.iter().map(least).sum::<f64>();
        best.insert(wanted.clone(), 0.0);
        queue.push(Reverse((Ordered(bound(&wanted)), wanted)));
        while let Some(Reverse((_, state))) = queue.pop() {
            let so_far = best.get(&state).copied()?;
            // The largest tensor, of equals what is summed most: nothing that is wanted later can want it again.
            let last = |i: &usize| {
                let id = state[*i].0;
                (size(id), Reverse(self.tensors[id].shape.len()), *i)
            };
            let Some(place) = (0..state.len()).max_by_key(last) else {
                return Some(so_far);
            };
            if !done.insert(state.clone()) {
                continue;
            }
            if done.len() > MOST_STATES {
                return None;
            }
            let item = state[place];
            for step in self.steps[item.0].iter().filter(|step| usable(item, step)) {
                let mut next = state.clone();
                next.remove(place);
                for child in &step.children {
                    // One that is added into its sum is nobody else's.
                    if child.1 || !next.contains(child) {
                        next.push(*child);
                    }
                }
                next.sort_unstable();
                let cost = so_far + step.cost;
                if best.get(&next).is_none_or(|known| cost < *known) {
                    best.insert(next.clone(), cost);
                    let bound = cost + bound(&next);
                    if bound.is_finite() {
                        queue.push(Reverse((Ordered(bound), next)));
                    }
                }
            }
        }
        Some(f64::INFINITY)
    }

    fn feasible(&self) -> Vec<bool> {
        let mut feasible: Vec<bool> = (0..self.tensors.len()).map(|id| self.is_leaf(id)).collect();
        loop {
            let mut changed = false;
            for id in 0..feasible.len() {
                let possible = |step: &Step| {
                    step.cost.is_finite() && step.children.iter().all(|(c, _)| feasible[*c])
                };
                if !feasible[id] && self.steps[id].iter().any(possible) {
                    feasible[id] = true;
                    changed = true;
                }
            }
            if !changed {
                return feasible;
            }
        }
    }
}

/// Labels under which those of the result are `0..rank`, in order, and the others lie beyond.
fn under(labels: &[Label], output: &[Label]) -> Labels {
    let rank = output.len() as Label;
    let name = |label: &Label| match output.iter().position(|l| l == label) {
        Some(axis) => axis as Label,
        None => label.saturating_add(rank),
    };
    labels.iter().map(name).collect()
}

/// Costs in the order of their size.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Ordered(f64);

impl Eq for Ordered {}

#[expect(clippy::derive_ord_xor_partial_ord, reason = "costs are never NaN")]
impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn distinct(labels: &[Label]) -> bool {
    (0..labels.len()).all(|i| !labels[..i].contains(&labels[i]))
}

/// The factors of an operand under the labels of its consumer: axes get the consumer's names, bound labels new ones.
fn inlined(
    factors: &[Occurrence],
    labels: &[Label],
    output: &[Label],
    summed: &mut FxHashMap<Label, Label>,
    fresh: &mut Label,
) -> Vec<Occurrence> {
    let mut names: FxHashMap<Label, Label> = FxHashMap::default();
    let rank = labels.len() as Label;
    // Labels are numbered anew after each step, so that these do not run out.
    let mut new = || {
        *fresh = fresh.wrapping_add(1).max(1000);
        *fresh
    };
    let mut all = Vec::with_capacity(factors.len());
    for (leaf, own) in factors {
        let mut renamed = Labels::new();
        for label in own {
            let name = match labels.get(*label as usize).filter(|_| *label < rank) {
                Some(outside) => match output.iter().position(|l| l == outside) {
                    Some(axis) => axis as Label,
                    None => *summed.entry(*outside).or_insert_with(&mut new),
                },
                None => *names.entry(*label).or_insert_with(&mut new),
            };
            renamed.push(name);
        }
        all.push((*leaf, renamed));
    }
    all
}

/// Whether the axes of a value, one bit each, come out along axes of a tensor that are all different.
fn each_apart(axes: u32, origins: &[u32]) -> bool {
    if axes == 0 {
        return true;
    }
    let first = axes & axes.wrapping_neg();
    (0..origins.len()).any(|axis| {
        let mut rest = origins.to_vec();
        let own = rest.swap_remove(axis);
        own & first != 0 && each_apart(axes & !first, &rest)
    })
}

/// Like terms added up, and all in canonical form.
fn gathered(sum: Sum, rank: Label) -> Sum {
    let mut terms: Vec<(Term, f64)> = Vec::new();
    for (c, factors) in sum {
        let term = canonical(factors, rank);
        match terms.iter_mut().find(|(known, _)| *known == term) {
            Some((_, known)) => *known += c,
            None => terms.push((term, c)),
        }
    }
    terms.retain(|(_, c)| *c != 0.0);
    terms.into_iter().map(|(t, c)| (c, t.factors)).collect()
}

/// The product with its factors in the least order and its bound labels numbered by first occurrence.
fn canonical(factors: Vec<Occurrence>, rank: Label) -> Term {
    let mut factors = factors;
    factors.sort_by_key(|(leaf, labels)| {
        let open: Vec<Label> = labels.iter().map(|l| (*l).min(rank)).collect();
        (*leaf, open)
    });
    let mut orders: Vec<Vec<Occurrence>> = vec![Vec::new()];
    let mut start = 0;
    while start < factors.len() {
        let same = factors[start..]
            .iter()
            .take_while(|(leaf, _)| *leaf == factors[start].0);
        let end = start + same.count();
        let run = &factors[start..end];
        let ways: Vec<Vec<Occurrence>> = match run.len() {
            0..=4 => permutations(run),
            _ => vec![run.to_vec()],
        };
        orders = orders
            .iter()
            .flat_map(|order| ways.iter().map(move |way| [order.as_slice(), way].concat()))
            .collect();
        start = end;
    }
    let numbered = |order: Vec<Occurrence>| {
        let mut bound: Labels = Labels::new();
        let mut number = |label: &Label| {
            if *label < rank {
                return *label;
            }
            let place = bound.iter().position(|l| l == label).unwrap_or(bound.len());
            if place == bound.len() {
                bound.push(*label);
            }
            rank + place as Label
        };
        let factors = order
            .iter()
            .map(|(leaf, labels)| (*leaf, labels.iter().map(&mut number).collect()))
            .collect();
        Term { factors }
    };
    let least = orders.into_iter().map(numbered).min();
    least.unwrap_or(Term {
        factors: Vec::new(),
    })
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let mut all = vec![Vec::new()];
    for item in items {
        all = all
            .iter()
            .flat_map(|order: &Vec<T>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, item.clone());
                    longer
                })
            })
            .collect();
    }
    all
}

/// All ways to deal `0..count` into groups.
fn partitions(count: usize) -> Vec<Vec<Vec<usize>>> {
    let mut all: Vec<Vec<Vec<usize>>> = vec![Vec::new()];
    for item in 0..count {
        all = all
            .iter()
            .flat_map(|groups| {
                (0..=groups.len()).map(move |group| {
                    let mut groups = groups.clone();
                    match groups.get_mut(group) {
                        Some(group) => group.push(item),
                        None => groups.push(vec![item]),
                    }
                    groups
                })
            })
            .collect();
    }
    all
}

/// What is left of a product when factors equal to `common` are taken away, under the labels of `common`: one for each way.
fn matches(common: &[Occurrence], factors: &[Occurrence], rank: Label) -> Vec<Vec<Occurrence>> {
    type Partial = (Vec<usize>, FxHashMap<Label, Label>);
    let mut partial: Vec<Partial> = vec![(Vec::new(), FxHashMap::default())];
    for (leaf, labels) in common {
        let mut next: Vec<Partial> = Vec::new();
        for (taken, names) in &partial {
            for (place, (other, own)) in factors.iter().enumerate() {
                if other != leaf || taken.contains(&place) {
                    continue;
                }
                let mut names = names.clone();
                let agrees = own.iter().zip(labels).all(|(from, to)| {
                    let bound = (*from >= rank, *to >= rank);
                    let known = names.get(from).copied();
                    let new = known.is_none() && !names.values().any(|n| n == to);
                    match bound {
                        (false, false) => from == to,
                        (true, true) => {
                            known == Some(*to) || (new && names.insert(*from, *to).is_none())
                        }
                        _ => false,
                    }
                });
                if agrees {
                    let mut taken = taken.clone();
                    taken.push(place);
                    next.push((taken, names));
                }
            }
        }
        partial = next;
    }
    // Labels that the rest has to itself must not meet those of `common`.
    let apart: Label = 1 << 14;
    partial
        .into_iter()
        .map(|(taken, names)| {
            let rest = (0..factors.len()).filter(|place| !taken.contains(place));
            rest.map(|place| {
                let (leaf, labels) = &factors[place];
                let renamed = labels.iter().map(|label| match names.get(label) {
                    Some(name) => *name,
                    None if *label < rank => *label,
                    None => label.saturating_add(apart),
                });
                (*leaf, renamed.collect())
            })
            .collect()
        })
        .collect()
}
