//! Whether an island has a plan at all, decided apart from everything that makes plans.
//!
//! What is asked for is multiplied out to sums of products of leaves. Such a tensor *can be had* if it may be formed and
//!
//! - it is a leaf, or a leaf summed over axes;
//! - or it is a product of two that can be had;
//! - or it is a sum of two that can be had;
//! - or all its terms have a leaf in common, and what is left of them can be had;
//! - or it is the diagonal of a moved tensor that can be had;
//! - or it moves a product and can be had if each factor is moved by itself.
//!
//! It may be formed if it holds no value that it must not hold and is no larger than the largest tensor of the program, unless
//! it is on the way to a product that sums over an axis of a value. A part of a value, of half its elements or fewer, may be formed
//! if the program asks for one of that shape. Nothing here knows of costs or of an order of steps, and
//! nothing is shared with the rest of the algebra but the definition of a single step.

use super::super::cost::{Factor as Operand, one_step};
use super::super::language::{Label, elements};
use super::super::problem::{Operation, Problem};
use super::super::structure::Structure;
use super::{Plan, Random};
use std::collections::{BTreeSet, HashMap};

/// The most terms of a tensor, and factors of a term.
const MOST_TERMS: usize = 8;
const MOST_FACTORS: usize = 7;
/// The most tensors that are looked at.
const MOST_TENSORS: usize = 20_000;

/// A leaf, by its step, under these labels: those below the rank are axes of the tensor, the others are summed.
type Factor = (u32, Vec<Label>);
type Product = Vec<Factor>;

/// Whether all roots can be had; `None` if the island is too large to tell.
pub fn has_plan(problem: &Problem) -> Option<bool> {
    let sizes = problem.steps.iter().filter(|s| !problem.is_structure(s));
    let mut decide = Decide {
        problem,
        largest: sizes.map(|s| elements(&s.shape)).fold(0.0, f64::max),
        parts: Vec::new(),
        known: HashMap::new(),
    };
    let sums = decide.multiplied_out()?;
    let of_root = |root: &u32| {
        let terms: Vec<Product> = sums[*root as usize].keys().cloned().collect();
        carried(&terms, problem.shape(*root).len() as Label)
    };
    let roots: Vec<(Vec<Product>, Label)> = problem.roots.iter().map(of_root).collect();
    for (terms, rank) in &roots {
        if let Some(value) = decide.held(terms, *rank) {
            let sizes = decide.sizes(terms, *rank);
            if 2.0 * elements(&sizes) <= problem.values[value].size as f64 {
                decide.parts.push((value, sorted(sizes)));
            }
        }
    }
    let mut all = true;
    for (terms, rank) in roots {
        all &= decide.can_be_had(terms, rank, false)?;
    }
    Some(all)
}

/// Terms and their coefficients.
type Sum = std::collections::BTreeMap<Product, f64>;

struct Decide<'a> {
    problem: &'a Problem,
    largest: f64,
    /// Parts of values that are asked for: of which one, and the sizes of their axes.
    parts: Vec<(usize, Vec<usize>)>,
    known: HashMap<(BTreeSet<Product>, Label, bool), bool>,
}

impl Decide<'_> {
    /// Each step as a sum of products of leaves.
    fn multiplied_out(&self) -> Option<Vec<Sum>> {
        let mut sums: Vec<Sum> = Vec::new();
        for (number, step) in self.problem.steps.iter().enumerate() {
            let mut fresh: Label = 100;
            let mut terms: Vec<(f64, Product)> = Vec::new();
            match &step.operation {
                Operation::Leaf(_) | Operation::Band(_) => {
                    let labels = (0..step.shape.len() as Label).collect();
                    terms.push((1.0, vec![(number as u32, labels)]));
                }
                Operation::Sum { terms: of, output } => {
                    for (c, operand, labels) in of {
                        let names = named(labels, output);
                        for (term, d) in &sums[*operand as usize] {
                            terms.push((c.0 * d, inlined(term, &names, &mut fresh)));
                        }
                    }
                }
                Operation::Product { operands, output } => {
                    terms.push((1.0, Product::new()));
                    let mut summed: HashMap<Label, f64> = HashMap::new();
                    for (operand, labels) in operands {
                        let names = named(labels, output);
                        let sizes = self.problem.shape(*operand);
                        summed.extend(names.iter().copied().zip(sizes.iter().map(|s| *s as f64)));
                        let mut longer = Vec::new();
                        for (c, product) in &terms {
                            for (term, d) in &sums[*operand as usize] {
                                let own = inlined(term, &names, &mut fresh);
                                longer.push((c * d, [product.clone(), own].concat()));
                            }
                        }
                        terms = longer;
                    }
                    // What no factor of a term carries is summed as often as it is long.
                    for (c, product) in &mut terms {
                        let carried = |l: &Label| product.iter().any(|(_, own)| own.contains(l));
                        let lost = summed
                            .iter()
                            .filter(|(l, _)| **l >= output.len() as Label && !carried(l));
                        *c *= lost.map(|(_, size)| size).product::<f64>();
                    }
                }
            }
            let mut sum = Sum::new();
            for (c, product) in terms {
                if product.len() > MOST_FACTORS {
                    return None;
                }
                *sum.entry(canonical(product, step.shape.len() as Label))
                    .or_insert(0.0) += c;
            }
            sum.retain(|_, c| *c != 0.0);
            if sum.len() > MOST_TERMS {
                return None;
            }
            sums.push(sum);
        }
        Some(sums)
    }

    /// Whether the sum of the terms, with `rank` axes of which some may be missing, can be had; `roomy` if it may be large.
    fn can_be_had(&mut self, terms: Vec<Product>, rank: Label, roomy: bool) -> Option<bool> {
        let (terms, rank) = carried(&terms, rank);
        let terms: BTreeSet<Product> = terms.into_iter().map(|t| canonical(t, rank)).collect();
        let key = (terms.clone(), rank, roomy);
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        if self.known.len() > MOST_TENSORS {
            return None;
        }
        let terms: Vec<Product> = terms.into_iter().collect();
        let yes = match terms.as_slice() {
            [] => true,
            [term] if term.is_empty() => true,
            [term] if self.is_leaf(term, rank) => true,
            _ if !self.may_be_formed(&terms, rank, roomy) => false,
            [term] if term.len() == 1 => self.is_step(&[(&term[0].1, Some(term[0].0))], rank),
            [term] => {
                self.by_product(term, rank, roomy)?
                    || self.by_diagonal(term, rank, roomy)?
                    || self.by_moving_each(term, rank, roomy)?
            }
            terms => self.by_sum(terms, rank)? || self.by_common_leaf(terms, rank, roomy)?,
        };
        self.known.insert(key, yes);
        Some(yes)
    }

    fn by_product(&mut self, term: &Product, rank: Label, roomy: bool) -> Option<bool> {
        let roomy = roomy || self.sums_over_a_value(term, rank);
        for subset in 1usize..1 << (term.len() - 1) {
            let side = |take: usize| -> Product {
                let taken = |i: &usize| subset >> i & 1 == take;
                (0..term.len())
                    .filter(taken)
                    .map(|i| term[i].clone())
                    .collect()
            };
            let (left, right) = (side(1), side(0));
            for left_axes in self.ways(&left, &right, rank) {
                for right_axes in self.ways(&right, &left, rank) {
                    let structure = |side: &Product, axes: &[Label]| match side.as_slice() {
                        [(leaf, labels)] if labels == axes => Some(*leaf),
                        _ => None,
                    };
                    let sides = [
                        (left_axes.as_slice(), structure(&left, &left_axes)),
                        (right_axes.as_slice(), structure(&right, &right_axes)),
                    ];
                    if self.is_step(&sides, rank)
                        && self.part(&left, &left_axes, roomy)?
                        && self.part(&right, &right_axes, roomy)?
                    {
                        return Some(true);
                    }
                }
            }
        }
        Some(false)
    }

    fn by_moving_each(&mut self, term: &Product, rank: Label, roomy: bool) -> Option<bool> {
        for place in 0..term.len() {
            let own = term[place].clone();
            let sides = match self.structure(own.0) {
                Some(Structure::Band(_)) => 0..2,
                Some(Structure::Gather) => own.1.len() - 1..own.1.len(),
                Some(Structure::Scatter) | None => continue,
            };
            for side in sides {
                let inner = own.1[side];
                let carries = |i: &usize| *i != place && term[*i].1.contains(&inner);
                let carriers: Vec<usize> = (0..term.len()).filter(carries).collect();
                if inner < rank || carriers.len() < 2 {
                    continue;
                }
                let mut apart = term.clone();
                for (fresh, carrier) in (26_000..).zip(&carriers[1..]) {
                    let renamed = |l: &Label| if *l == inner { fresh } else { *l };
                    apart[*carrier].1 = term[*carrier].1.iter().map(renamed).collect();
                    apart.push((own.0, own.1.iter().map(renamed).collect()));
                }
                if apart.len() <= MOST_FACTORS && self.can_be_had(vec![apart], rank, roomy)? {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    fn by_diagonal(&mut self, term: &Product, rank: Label, roomy: bool) -> Option<bool> {
        const APART: Label = 25_000;
        for place in 0..term.len() {
            if self.structure(term[place].0).is_none() {
                continue;
            }
            for label in term[place].1.clone() {
                let others = term.iter().enumerate().filter(|(other, _)| *other != place);
                let mut others = others.map(|(_, (_, labels))| labels);
                if !others.any(|labels| labels.contains(&label)) {
                    continue;
                }
                let mut wider = term.clone();
                let own = wider[place].1.iter_mut();
                own.for_each(|l| *l = if *l == label { APART } else { *l });
                let mut axes: Vec<Label> = (0..rank).collect();
                axes.extend([label].into_iter().filter(|l| *l >= rank));
                axes.push(APART);
                if self.part(&wider, &axes, roomy)? {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    /// The axes with which a factor may stand: those that are needed elsewhere, and all of a leaf's.
    fn ways(&self, own: &Product, other: &Product, rank: Label) -> Vec<Vec<Label>> {
        let needed = |l: &Label| *l < rank || other.iter().any(|(_, labels)| labels.contains(l));
        let mut open: Vec<Label> = Vec::new();
        for label in own.iter().flat_map(|(_, labels)| labels) {
            if needed(label) && !open.contains(label) {
                open.push(*label);
            }
        }
        match own.as_slice() {
            [(_, labels)] if *labels != open && distinct(labels) => vec![open, labels.clone()],
            _ => vec![open],
        }
    }

    /// Whether a product can be had that keeps these labels.
    fn part(&mut self, term: &Product, axes: &[Label], roomy: bool) -> Option<bool> {
        self.can_be_had(vec![with_axes(term, axes)], axes.len() as Label, roomy)
    }

    fn by_sum(&mut self, terms: &[Product], rank: Label) -> Option<bool> {
        for subset in 1usize..1 << (terms.len() - 1) {
            let side = |take: usize| -> Vec<Product> {
                let taken = |i: &usize| subset >> i & 1 == take;
                (0..terms.len())
                    .filter(taken)
                    .map(|i| terms[i].clone())
                    .collect()
            };
            if self.can_be_had(side(1), rank, false)? && self.can_be_had(side(0), rank, false)? {
                return Some(true);
            }
        }
        Some(false)
    }

    fn by_common_leaf(&mut self, terms: &[Product], rank: Label, roomy: bool) -> Option<bool> {
        let (first, others) = terms.split_first()?;
        for place in 0..first.len() {
            let (leaf, labels) = first[place].clone();
            let mut rest = first.clone();
            rest.remove(place);
            let mut choices: Vec<Vec<Product>> = vec![vec![rest]];
            for term in others {
                let ways: Vec<Product> = (0..term.len())
                    .filter(|i| term[*i].0 == leaf)
                    .filter_map(|i| without(term, i, &labels, rank))
                    .collect();
                choices = choices
                    .iter()
                    .flat_map(|c| {
                        ways.iter()
                            .map(move |w| [c.clone(), vec![w.clone()]].concat())
                    })
                    .collect();
            }
            for rests in choices {
                let axes_of = |term: &Product| -> BTreeSet<Label> {
                    let all = term.iter().flat_map(|(_, own)| own.iter().copied());
                    all.filter(|l| *l < rank || labels.contains(l)).collect()
                };
                let axes: Vec<Label> = axes_of(&rests[0]).into_iter().collect();
                let sides = [(labels.as_slice(), Some(leaf)), (axes.as_slice(), None)];
                if rests.iter().any(|r| axes_of(r) != axes_of(&rests[0]))
                    || !self.is_step(&sides, rank)
                {
                    continue;
                }
                let rests = rests.iter().map(|r| with_axes(r, &axes)).collect();
                if self.can_be_had(rests, axes.len() as Label, roomy)? {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    fn structure(&self, leaf: u32) -> Option<Structure> {
        match self.problem.steps[leaf as usize].operation {
            Operation::Band(band) => Some(Structure::Band(band)),
            Operation::Leaf(leaf) => self.problem.leaves[leaf as usize].moves,
            _ => None,
        }
    }

    /// Whether a term is a leaf as it is; what moves elements counts as one.
    fn is_leaf(&self, term: &Product, rank: Label) -> bool {
        matches!(term.as_slice(), [(_, labels)] if distinct(labels) && labels.len() == rank as usize
            && labels.iter().all(|l| *l < rank))
    }

    /// Whether the product of tensors with these labels (leaves are named) that keeps those below `rank` is one step.
    fn is_step(&self, sides: &[(&[Label], Option<u32>)], rank: Label) -> bool {
        let shape = |labels: &[Label], leaf: Option<u32>| match leaf {
            Some(leaf) => self.problem.shape(leaf).to_vec(),
            None => vec![2; labels.len()],
        };
        let shapes: Vec<Vec<usize>> = sides.iter().map(|(l, leaf)| shape(l, *leaf)).collect();
        let operands = sides
            .iter()
            .zip(&shapes)
            .map(|((labels, leaf), shape)| Operand {
                labels,
                shape,
                structure: leaf.and_then(|leaf| self.structure(leaf)),
            });
        one_step(&operands.collect::<Vec<_>>(), rank as usize, false)
    }

    fn size(&self, label: Label, terms: &[Product]) -> usize {
        let mut factors = terms.iter().flatten();
        let size = |(leaf, labels): &Factor| {
            let axis = labels.iter().position(|l| *l == label)?;
            Some(self.problem.shape(*leaf)[axis])
        };
        factors.find_map(size).unwrap_or(1)
    }

    /// The components of a value that a leaf is, and where its axes come from; `None` if it is no part of the value.
    fn mark(&self, leaf: u32, value: usize) -> Option<(u64, &[u32])> {
        let mut marks = self.problem.marks.iter();
        let mark = marks.find(|m| m.step == leaf && m.value == value as u32)?;
        Some((mark.components, &mark.origins))
    }

    fn may_be_formed(&self, terms: &[Product], rank: Label, roomy: bool) -> bool {
        let sizes = self.sizes(terms, rank);
        // A matrix of zeros and ones by itself is no tensor.
        let is_structure = |t: &Product| t.len() == 1 && self.structure(t[0].0).is_some();
        if (terms.len() > 1 && terms.iter().any(is_structure))
            || (!roomy && elements(&sizes) > self.largest)
        {
            return false;
        }
        let part = |value| self.parts.contains(&(value, sorted(sizes)));
        self.held(terms, rank).is_none_or(part)
    }

    /// The value that a tensor holds against its will.
    fn held(&self, terms: &[Product], rank: Label) -> Option<usize> {
        let sizes = self.sizes(terms, rank);
        let mut values = self.problem.values.iter().enumerate();
        let held = values.find(|(number, value)| {
            let number = *number;
            let (mut components, mut origins) = (0, vec![0; rank as usize]);
            for term in terms {
                let mut of_label: HashMap<Label, u32> = HashMap::new();
                for (leaf, labels) in term {
                    let is_band = matches!(self.structure(*leaf), Some(Structure::Band(_)));
                    match self.mark(*leaf, number) {
                        Some((own, from)) => {
                            components |= own;
                            for (label, origin) in labels.iter().zip(from) {
                                *of_label.entry(*label).or_insert(0) |= origin;
                            }
                        }
                        None if is_band => {}
                        None => return false,
                    }
                }
                // What is moved along an axis still comes from there.
                for _ in term {
                    for (leaf, labels) in term {
                        if let Some(Structure::Band(_)) = self.structure(*leaf) {
                            let both = labels.iter().filter_map(|l| of_label.get(l));
                            let both = both.fold(0, |all, origin| all | origin);
                            of_label.extend(labels.iter().map(|l| (*l, both)));
                        }
                    }
                }
                for (axis, origin) in origins.iter_mut().enumerate() {
                    *origin |= of_label.get(&(axis as Label)).unwrap_or(&0);
                }
            }
            let long = origins.iter().zip(&sizes).filter(|(_, size)| **size != 1);
            let long: Vec<u32> = long.map(|(origin, _)| *origin).collect();
            !value.allow_materialise && components.count_ones() >= 2 && apart(value.axes, &long)
        });
        held.map(|(number, _)| number)
    }

    fn sizes(&self, terms: &[Product], rank: Label) -> Vec<usize> {
        (0..rank).map(|axis| self.size(axis, terms)).collect()
    }

    /// Whether not every axis of some value comes out of a product with its components.
    fn sums_over_a_value(&self, term: &Product, rank: Label) -> bool {
        (0..self.problem.values.len()).any(|number| {
            let (mut involved, mut kept) = (false, 0);
            for (leaf, labels) in term {
                if let Some((_, origins)) = self.mark(*leaf, number) {
                    involved = true;
                    let axes = labels.iter().zip(origins).filter(|(l, _)| **l < rank);
                    kept |= axes.fold(0, |all, (_, origin)| all | origin);
                }
            }
            let axes = self.problem.values[number].axes;
            involved && kept & axes != axes
        })
    }
}

/// Whether the axes of a value, one bit each, come out along axes of a tensor that are all different.
fn apart(axes: u32, origins: &[u32]) -> bool {
    let first = axes & axes.wrapping_neg();
    axes == 0
        || (0..origins.len()).any(|axis| {
            let mut rest = origins.to_vec();
            rest.swap_remove(axis) & first != 0 && apart(axes & !first, &rest)
        })
}

fn sorted(mut sizes: Vec<usize>) -> Vec<usize> {
    sizes.sort_unstable();
    sizes
}

/// Terms without the axes that none of them has: those come for nothing.
fn carried(terms: &[Product], rank: Label) -> (Vec<Product>, Label) {
    let all = terms.iter().flatten();
    let axes = (0..rank).filter(|l| all.clone().any(|(_, labels)| labels.contains(l)));
    let axes: Vec<Label> = axes.collect();
    let terms = terms.iter().map(|term| with_axes(term, &axes)).collect();
    (terms, axes.len() as Label)
}

fn distinct(labels: &[Label]) -> bool {
    (0..labels.len()).all(|i| !labels[..i].contains(&labels[i]))
}

/// The labels of an operand where those of the result are `0..rank`: its others lie beyond.
fn named(labels: &[Label], output: &[Label]) -> Vec<Label> {
    let name = |label: &Label| match output.iter().position(|l| l == label) {
        Some(axis) => axis as Label,
        None => 30_000 + label,
    };
    labels.iter().map(name).collect()
}

/// A term with its axes renamed and new names for what it sums over.
fn inlined(term: &Product, names: &[Label], fresh: &mut Label) -> Product {
    let base = *fresh;
    let mut rename = |label: &Label| match names.get(*label as usize) {
        Some(name) => *name,
        None => {
            let name = base + label;
            *fresh = (*fresh).max(name + 1);
            name
        }
    };
    let factor = |(leaf, labels): &Factor| (*leaf, labels.iter().map(&mut rename).collect());
    term.iter().map(factor).collect()
}

/// A term with these of its labels as axes, in this order, and the others beyond.
fn with_axes(term: &Product, axes: &[Label]) -> Product {
    let rename = |label: &Label| match axes.iter().position(|l| l == label) {
        Some(axis) => axis as Label,
        None => label.saturating_add(axes.len() as Label),
    };
    let factor = |(leaf, labels): &Factor| (*leaf, labels.iter().map(rename).collect());
    term.iter().map(factor).collect()
}

/// What is left of a term without one of its leaves, whose labels become these; `None` if they cannot.
fn without(term: &Product, place: usize, labels: &[Label], rank: Label) -> Option<Product> {
    let own = &term[place].1;
    let mut names: HashMap<Label, Label> = HashMap::new();
    for (from, to) in own.iter().zip(labels) {
        let bound = *from >= rank && *to >= rank;
        let taken = names.iter().any(|(f, t)| (f == from) != (t == to));
        if (!bound && from != to) || taken {
            return None;
        }
        names.insert(*from, *to);
    }
    // Other summed labels must not meet those.
    let rename = |l: &Label| match names.get(l) {
        Some(name) => *name,
        None if *l < rank => *l,
        None => l.saturating_add(10_000),
    };
    let mut rest = term.clone();
    rest.remove(place);
    let factor = |(leaf, labels): Factor| (leaf, labels.iter().map(rename).collect());
    Some(rest.into_iter().map(factor).collect())
}

/// The factors in an order, and the summed labels under names, that do not depend on how the term was written.
fn canonical(term: Product, rank: Label) -> Product {
    fn arranged(mut rest: Product, done: Product, rank: Label, best: &mut Option<Product>) {
        let Some(least) = rest.iter().map(|(leaf, _)| *leaf).min() else {
            let mut bound: Vec<Label> = Vec::new();
            let mut number = |label: &Label| {
                if *label < rank {
                    return *label;
                }
                let place = bound.iter().position(|l| l == label);
                rank + place.unwrap_or_else(|| {
                    bound.push(*label);
                    bound.len() - 1
                }) as Label
            };
            let numbered = done
                .iter()
                .map(|(leaf, l)| (*leaf, l.iter().map(&mut number).collect()));
            let numbered: Product = numbered.collect();
            if best.as_ref().is_none_or(|best| numbered < *best) {
                *best = Some(numbered);
            }
            return;
        };
        for place in 0..rest.len() {
            if rest[place].0 == least {
                let factor = rest.remove(place);
                let longer = [done.clone(), vec![factor.clone()]].concat();
                arranged(rest.clone(), longer, rank, best);
                rest.insert(place, factor);
            }
        }
    }
    let mut best = None;
    arranged(term, Product::new(), rank, &mut best);
    best.unwrap_or_default()
}

/// Compares refusals on random islands; returns how many were decided, and how many of them are refused.
pub fn compare(sizes: &[usize], seed: u64, programs: u64) -> (u64, u64) {
    let (mut decided, mut refused) = (0, 0);
    for program in 0..programs {
        let mut random = Random::new(seed + program);
        let operations = 1 + random.below(6);
        let island = super::random::island(&mut random, sizes, operations);
        let Some(possible) = has_plan(&island.problem) else {
            continue;
        };
        decided += 1;
        refused += u64::from(!possible);
        let found = island.solve();
        assert_eq!(
            found.is_ok(),
            possible,
            "program {program} of {sizes:?} from {seed}: {found:?}\n{}",
            Plan::as_written(&island.problem)
        );
    }
    (decided, refused)
}

#[test]
fn islands_are_refused_exactly_if_nothing_can_be_had() {
    let programs = super::random::PROGRAMS;
    for (seed, sizes) in [(8 << 32, &[2, 3, 1][..]), (9 << 32, &[8, 64, 512])] {
        let (decided, refused) = compare(sizes, seed, programs);
        println!("{decided} of {programs} decided, {refused} refused");
        assert!(decided > programs / 2 && refused > programs / 50);
    }
}
