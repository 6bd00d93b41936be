//! The rules: each a named value with its law above it.
//!
//! egg's patterns cannot say "any number of factors with labels", so each rule has a searcher and an applier of its own. Laws
//! for rule writers:
//!
//! - A rule makes nodes only through [`super::construct`], and equates a class only with what is equal for all values of the
//!   leaves: the harness in the tests instantiates each rule on random shapes and compares both sides.
//! - A guard may only save work. No guard decides whether a program is refused: that is [`super::lower`]'s alone.
//! - A rule pays for what it does from the budget in [`Algebra`], and stops when that is spent; egg looks at its own limits
//!   between rules only.
//! - A rule tries each pair of nodes once.

use super::analysis::{Algebra, Graph, Zeal};
use super::construct::{Level, Operand, View, equate, product, sum};
use super::cost::{Addend, Made};
use super::language::{Label, Labels, Product, Sum, Term, elements};
use super::network::Network;
use egg::{
    Applier, EGraph, Id, Language, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var,
};
use rustc_hash::FxHasher;
use smallvec::{SmallVec, smallvec};
use std::hash::{Hash, Hasher};

/// The most factors of a product that a rule makes of its own accord.
const MOST_FACTORS: usize = 5;
/// The most factors of a product that a rule makes to dissolve a tensor without a plan.
const MOST_FORCED_FACTORS: usize = 9;
/// The most terms of a sum that a rule makes of its own accord.
const MOST_TERMS: usize = 4;
/// The most terms of a sum that a rule takes apart because it has no plan.
const MOST_FORCED_TERMS: usize = 32;
/// The most logical nodes of a class before rules stop to add to it of their own accord.
const MOST_NODES: usize = 16;
/// The most logical nodes of a class before rules stop to take apart what has no plan: the lowering has one by then, if there is any.
const MOST_FORCED_NODES: usize = 32;
/// The most values whose components a product brings together of a rule's own accord.
const MOST_VALUES: usize = 2;

/// A rewrite of the algebra.
pub type Rule = Rewrite<Term, Algebra>;

/// A law and how it is applied.
#[derive(Debug, Clone, Copy)]
pub struct Law {
    /// Its name, in logs and explanations.
    pub name: &'static str,
    nodes: Nodes,
    action: Action,
}

/// `Σ a·(Σ b·c) = Σ a·b·c`: products are associative.
pub const FLATTEN: Law = Law::new("flatten", Nodes::Products, flatten);

/// `Σ a·(βb + γc) = β·Σ a·b + γ·Σ a·c`: products distribute over sums.
pub const DISTRIBUTE: Law = Law::new("distribute", Nodes::Products, distribute);

/// `αa + β(γb + δc) = αa + βγ·b + βδ·c`: sums are associative.
pub const GATHER: Law = Law::new("gather", Nodes::Sums, gather);

/// `Σ a·b·c = Σ (Σ a·b)·(Σ c)`, for each way to split the factors in two: products can be taken in any order.
pub const ORDER: Law = Law::new("order", Nodes::Products, order);

/// `α·Σ a·b + β·Σ a·c = Σ a·(α·b + β·c)`: common factors come out of sums.
pub const FACTOR: Law = Law::new("factor", Nodes::Sums, factor);

/// `α·Σ a·(Σ b·c) + … = α·Σ a·b·c + …`: the terms of a sum are flattened whether it pays or not, so that [`FACTOR`] sees what
/// they share.
pub const EXPAND: Law = Law::new("expand", Nodes::Sums, expand);

/// All laws.
#[cfg(test)]
pub const LAWS: [Law; 6] = [FLATTEN, DISTRIBUTE, GATHER, ORDER, FACTOR, EXPAND];

/// The laws as rewrites.
pub fn rewrites(laws: &[Law]) -> Vec<Rule> {
    laws.iter()
        .filter_map(|law| Rewrite::new(law.name, law.nodes, Act(*law)).ok())
        .collect()
}

/// What a law does with a class: equates it with other terms, and says whether that was news.
type Action = fn(&mut Graph, Id) -> bool;

/// Which classes a law looks at.
#[derive(Debug, Clone, Copy)]
enum Nodes {
    /// Those with a product.
    Products,
    /// Those with a sum.
    Sums,
}

impl Law {
    const fn new(name: &'static str, nodes: Nodes, action: Action) -> Law {
        Law {
            name,
            nodes,
            action,
        }
    }

    /// Applies the law to a class; says whether anything new came of it.
    #[cfg(test)]
    pub fn apply(&self, graph: &mut Graph, class: Id) -> bool {
        (self.action)(graph, class)
    }
}

impl Searcher<Term, Algebra> for Nodes {
    fn search_eclass_with_limit(
        &self,
        graph: &Graph,
        class: Id,
        _limit: usize,
    ) -> Option<SearchMatches<'_, Term>> {
        let matches = graph[class].nodes.iter().any(|node| match (self, node) {
            (Nodes::Products, Term::Prod(product)) => !product.children.is_empty(),
            (Nodes::Sums, Term::Add(_)) => true,
            _ => false,
        });
        matches.then(|| SearchMatches {
            eclass: class,
            substs: vec![Subst::default()],
            ast: None,
        })
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

#[derive(Clone, Copy)]
struct Act(Law);

/// What a law may see of a class: its nodes, and how many nodes their children have. Where that is as it was, the law has nothing
/// to add.
fn stamp(graph: &Graph, class: Id) -> u64 {
    let mut hasher = FxHasher::default();
    graph.analysis.zeal.hash(&mut hasher);
    for node in &graph[class].nodes {
        if let Term::Prod(_) | Term::Add(_) = node {
            for child in node.children() {
                let child = &graph[*child];
                (child.id, child.nodes.len(), child.data.feasible).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

impl Applier<Term, Algebra> for Act {
    fn apply_one(
        &self,
        graph: &mut EGraph<Term, Algebra>,
        class: Id,
        _subst: &Subst,
        _ast: Option<&PatternAst<Term>>,
        _rule: Symbol,
    ) -> Vec<Id> {
        // The laws that look at more than the children are the last to run, and once.
        if !matches!(self.0.name, "expand" | "factor") {
            let stamp = stamp(graph, class);
            let key = (self.0.name, class);
            if graph.analysis.seen.insert(key, stamp) == Some(stamp) {
                return Vec::new();
            }
        }
        graph.analysis.step = graph[class].data.step;
        graph.analysis.law = self.0.name;
        match (self.0.action)(graph, class) {
            true => vec![class],
            false => Vec::new(),
        }
    }
}

/// Whether this is the first time that a rule meets this combination.
fn first_time(graph: &mut Graph, what: impl Hash) -> bool {
    let mut hasher = FxHasher::default();
    what.hash(&mut hasher);
    graph.analysis.tried.insert(hasher.finish())
}

/// The nodes of `child` of a kind that a rule has not yet met at this place of this node, each with the key to note that it has.
fn untried(
    graph: &Graph,
    place: (u8, Id, &impl Hash, usize),
    child: Id,
    kind: impl Fn(&Term) -> bool,
) -> SmallVec<[(Term, u64); 2]> {
    let (rule, class, node, position) = place;
    let mut hasher = FxHasher::default();
    (rule, graph.find(class), node, position).hash(&mut hasher);
    let nodes = graph[child].nodes.iter().filter(|node| kind(node));
    let keyed = nodes.map(|node| {
        let mut hasher = hasher.clone();
        node.hash(&mut hasher);
        (node, hasher.finish())
    });
    keyed
        .filter(|(_, key)| !graph.analysis.tried.contains(key))
        .map(|(node, key)| (node.clone(), key))
        .collect()
}

/// Whether a node is a product for the rules to work on.
fn is_product(node: &Term) -> bool {
    matches!(node, Term::Prod(product) if !product.children.is_empty())
}

fn products(graph: &Graph, class: Id) -> SmallVec<[Product; 4]> {
    let nodes = graph[class].nodes.iter();
    nodes
        .filter_map(|node| match node {
            Term::Prod(product) if is_product(node) => Some(product.clone()),
            _ => None,
        })
        .collect()
}

fn sums(graph: &Graph, class: Id) -> SmallVec<[Sum; 4]> {
    let nodes = graph[class].nodes.iter();
    nodes
        .filter_map(|node| match node {
            Term::Add(sum) => Some(sum.clone()),
            _ => None,
        })
        .collect()
}

/// Number of nodes of a class that the rules work on.
fn logical(graph: &Graph, class: Id) -> usize {
    let nodes = graph[class].nodes.iter();
    nodes
        .filter(|node| matches!(node, Term::Prod(_) | Term::Add(_)))
        .count()
}

fn operands(product: &Product) -> SmallVec<[Operand; 4]> {
    product
        .children
        .iter()
        .zip(&product.labels)
        .map(|(id, labels)| Operand {
            id: *id,
            labels: labels.clone(),
        })
        .collect()
}

fn outputs(rank: Label) -> Labels {
    (0..rank).collect()
}

/// A label beyond all those of the node.
fn fresh(labels: &[Labels], outputs: Label) -> Label {
    labels
        .iter()
        .flatten()
        .map(|label| label + 1)
        .fold(outputs, Label::max)
}

/// The labels of a node inside another: its outputs are the labels of the axes outside, its bound ones are numbered from
/// `base` on.
fn inlined(labels: &[Label], outputs: Label, outside: &[Label], base: Label) -> Labels {
    labels
        .iter()
        .map(|label| match outside.get(*label as usize) {
            Some(name) if *label < outputs => *name,
            _ => base + (*label - outputs),
        })
        .collect()
}

/// The factors with the one at `position` replaced by the factors of the product that it is.
fn substituted(outer: &Product, position: usize, inner: &Product) -> SmallVec<[Operand; 4]> {
    let base = fresh(&outer.labels, outer.outputs);
    let mut all = operands(outer);
    let replaced = all.remove(position);
    all.extend(operands(inner).into_iter().map(|operand| Operand {
        labels: inlined(&operand.labels, inner.outputs, &replaced.labels, base),
        ..operand
    }));
    all
}

/// Number of values on whose components the operands depend.
fn values(graph: &Graph, operands: &[Operand]) -> usize {
    let mut values: SmallVec<[u32; 4]> = SmallVec::new();
    for operand in operands {
        if let super::analysis::Provenance::Within(list) = &graph[operand.id].data.provenance
            && let Some(dependence) = list.first()
            && !values.contains(&dependence.value)
        {
            values.push(dependence.value);
        }
    }
    values.len()
}

fn flatten(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in products(graph, class) {
        news |= renormalise(graph, class, &node);
        for (position, child) in node.children.iter().enumerate() {
            let place = (0, class, &node, position);
            for (inner, key) in untried(graph, place, *child, is_product) {
                let Term::Prod(inner) = inner else { continue };
                if !graph.analysis.spend(1) {
                    return news;
                }
                let factors = tensors(graph, &node) - 1 + tensors(graph, &inner);
                let forced = !graph[*child].data.feasible;
                let renaming = inner.children.len() == 1;
                // What a product costs cannot be told while one of its factors has no plan.
                let unknown = |child: &Id| !graph[*child].data.feasible;
                let reduced = node.children.len() == 1 && inner.children.iter().any(unknown);
                if factors
                    > if forced {
                        MOST_FORCED_FACTORS
                    } else {
                        MOST_FACTORS
                    }
                    || !graph.analysis.tried.insert(key)
                {
                    continue;
                }
                let flat = substituted(&node, position, &inner);
                if logical(graph, class) >= MOST_FORCED_NODES {
                    graph.analysis.stopped = true;
                    continue;
                }
                if !forced && !renaming && !reduced {
                    if logical(graph, class) >= MOST_NODES || values(graph, &flat) > MOST_VALUES {
                        graph.analysis.stopped = true;
                        continue;
                    }
                    if graph.analysis.zeal != Zeal::All && !pays(graph, &node, &inner, &flat) {
                        continue;
                    }
                }
                if !graph.analysis.spend(flat.len() as u64) {
                    return news;
                }
                let view = product(graph, &flat, &outputs(node.outputs), Level::Logical);
                news |= equate(graph, class, view);
            }
        }
    }
    news
}

/// Number of factors that are no structures.
fn tensors(graph: &Graph, node: &Product) -> usize {
    let structural = |child: &&Id| graph[**child].data.structure.is_some();
    node.children.len() - node.children.iter().filter(structural).count()
}

/// Unions may have changed the order in which the factors belong.
fn renormalise(graph: &mut Graph, class: Id, node: &Product) -> bool {
    if node.children.len() < 2 || !first_time(graph, (1u8, graph.find(class), node)) {
        return false;
    }
    let view = product(
        graph,
        &operands(node),
        &outputs(node.outputs),
        Level::Logical,
    );
    equate(graph, class, view)
}

/// The cost of the cheapest order of a product; within the island's limit of size, if asked for.
fn cheapest(graph: &Graph, operands: &[Operand], rank: Label, limited: bool) -> Option<f64> {
    let tensors: SmallVec<[Operand; 4]> = operands
        .iter()
        .filter(|operand| !operand.labels.is_empty())
        .cloned()
        .collect();
    if tensors.is_empty() {
        return Some(0.0);
    }
    let network = Network::new(graph, &tensors, &outputs(rank))?;
    let orders = network.cheapest(&graph.analysis, |subset, open| {
        !limited || subset == network.all() || network.size(open) <= graph.analysis.largest
    });
    orders.map(|orders| orders.cost)
}

/// Whether the flat product has a strictly cheaper order than the two products one after the other.
fn pays(graph: &mut Graph, outer: &Product, inner: &Product, flat: &[Operand]) -> bool {
    if !graph.analysis.spend(3u64.saturating_pow(flat.len() as u32)) {
        return false;
    }
    let apart = cheapest(graph, &operands(outer), outer.outputs, false).zip(cheapest(
        graph,
        &operands(inner),
        inner.outputs,
        false,
    ));
    let together = cheapest(graph, flat, outer.outputs, true);
    match (apart, together) {
        (Some((outer, inner)), Some(together)) => together < (outer + inner) * (1.0 - 1e-6),
        _ => false,
    }
}

/// The factors of a class, and the factors of those as long as they are no more than `most`: what it is made of, under labels of
/// which the first are its axes.
fn taken_apart(graph: &Graph, class: Id, most: usize) -> SmallVec<[Operand; 4]> {
    let rank = graph[class].data.shape.len() as Label;
    let mut whole: SmallVec<[Operand; 4]> = smallvec![Operand {
        id: class,
        labels: outputs(rank),
    }];
    let mut position = 0;
    while position < whole.len() {
        // Of several ways to compute a factor the cheapest is what is compared.
        let cost = |p: &Product| cheapest(graph, &operands(p), p.outputs, false);
        let ways = products(graph, whole[position].id).into_iter();
        let ways = ways.filter(|p| (2..=most + 1 - whole.len()).contains(&p.children.len()));
        let way = ways
            .filter_map(|p| Some((cost(&p)?, p)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        match way {
            None => position += 1,
            Some((_, way)) => {
                let labels: SmallVec<[Labels; 4]> =
                    whole.iter().map(|operand| operand.labels.clone()).collect();
                let base = fresh(&labels, rank);
                let replaced = whole.remove(position);
                whole.extend(operands(&way).into_iter().map(|operand| Operand {
                    labels: inlined(&operand.labels, way.outputs, &replaced.labels, base),
                    ..operand
                }));
            }
        }
    }
    whole
}

/// Whether multiplying out a sum of products is cheaper than to form the sum: so it is for a low-rank update and few columns.
fn pays_multiplied_out(graph: &mut Graph, node: &Product, position: usize, inner: &Sum) -> bool {
    let mut rest = operands(node);
    let replaced = rest.remove(position);
    let Some(outer) = cheapest(graph, &operands(node), node.outputs, false) else {
        return false;
    };
    let algebra = &graph.analysis;
    let own = elements(&graph[replaced.id].data.shape);
    let shape = super::analysis::shape_of(
        node.children
            .iter()
            .zip(&node.labels)
            .map(|(child, labels)| (graph[*child].data.shape.as_slice(), labels.as_slice())),
        node.outputs as usize,
    );
    let added = |size: f64| {
        let addends: SmallVec<[Addend; 4]> = (0..inner.children.len())
            .map(|_| Addend {
                elements: size,
                made: Made::Contracted,
            })
            .collect();
        algebra.model.sum(algebra.itemsize, &addends, size)
    };
    let (mut formed, mut multiplied) = (added(own), added(elements(&shape)));
    let mut products_found = false;
    for (child, labels) in inner.children.iter().zip(&inner.labels) {
        let labels = inlined(labels, inner.outputs, &replaced.labels, 0);
        let mut flat = rest.clone();
        let term = taken_apart(graph, *child, MOST_FACTORS.saturating_sub(rest.len()));
        if term.len() > 1 {
            products_found = true;
            let Some(cost) = cheapest(graph, &term, graph[*child].data.shape.len() as Label, false)
            else {
                return false;
            };
            formed += cost;
        }
        let base = fresh(&node.labels, node.outputs);
        let own = labels.len() as Label;
        flat.extend(term.into_iter().map(|operand| Operand {
            labels: inlined(&operand.labels, own, &labels, base),
            ..operand
        }));
        if flat.len() > MOST_FACTORS
            || !graph.analysis.spend(3u64.saturating_pow(flat.len() as u32))
        {
            return false;
        }
        match cheapest(graph, &flat, node.outputs, true) {
            Some(cost) => multiplied += cost,
            None => return false,
        }
    }
    products_found && multiplied < outer + formed
}

fn distribute(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in products(graph, class) {
        for (position, child) in node.children.iter().enumerate() {
            let place = (2, class, &node, position);
            for (inner, key) in untried(graph, place, *child, |t| matches!(t, Term::Add(_))) {
                let Term::Add(inner) = inner else { continue };
                if !graph.analysis.spend(1) {
                    return news;
                }
                let data = &graph[*child].data;
                let forced = !data.feasible;
                let scaling = inner.children.len() == 1;
                let algebra = &graph.analysis;
                let known = |term: &Id| algebra.known.contains(&graph.find(*term));
                let known = !algebra.known.is_empty() && inner.children.iter().any(known);
                let wanted = forced || scaling || known || data.provenance.several_components();
                // Where sums must not be formed they are multiplied out anyway; that goes first, for room is dear.
                if !wanted && graph.analysis.zeal == Zeal::Needed {
                    continue;
                }
                let most = match (forced, wanted) {
                    (true, _) => MOST_FORCED_TERMS,
                    (false, true) => 2 * MOST_TERMS,
                    (false, false) => MOST_TERMS,
                };
                if inner.children.len() > most
                    || !graph.analysis.tried.insert(key)
                    || !(wanted
                        || graph.analysis.zeal == Zeal::All
                        || pays_multiplied_out(graph, &node, position, &inner))
                {
                    continue;
                }
                let most = match forced || scaling {
                    true => MOST_FORCED_NODES,
                    false => MOST_NODES,
                };
                if logical(graph, class) >= most {
                    graph.analysis.stopped = true;
                    continue;
                }
                let work = inner.children.len() * node.children.len();
                if !graph.analysis.spend(work as u64) {
                    return news;
                }
                let view = distributed(graph, &node, position, &inner);
                news |= equate(graph, class, view);
            }
        }
    }
    news
}

/// The product with the sum at `position` multiplied out.
fn distributed(graph: &mut Graph, node: &Product, position: usize, inner: &Sum) -> View {
    let free = outputs(node.outputs);
    let mut rest = operands(node);
    let replaced = rest.remove(position);
    let terms: SmallVec<[View; 4]> = (0..inner.children.len())
        .map(|term| {
            let mut factors = rest.clone();
            factors.push(Operand {
                id: inner.children[term],
                labels: inlined(&inner.labels[term], inner.outputs, &replaced.labels, 0),
            });
            let lost = lost_sums(graph, &replaced, &factors, &free);
            let mut view = product(graph, &factors, &free, Level::Logical);
            view.coefficient *= inner.coefficients[term].0 * lost;
            view
        })
        .collect();
    sum(graph, &terms)
}

/// The sizes of the summed labels that only the replaced operand carried: a term that lacks them is added up that many times.
fn lost_sums(graph: &Graph, replaced: &Operand, factors: &[Operand], free: &[Label]) -> f64 {
    let mut lost = 1.0;
    let mut seen = Labels::new();
    for (label, size) in replaced.labels.iter().zip(&graph[replaced.id].data.shape) {
        let carried = factors.iter().any(|factor| factor.labels.contains(label));
        if !carried && !free.contains(label) && !seen.contains(label) {
            lost *= *size as f64;
        }
        seen.push(*label);
    }
    lost
}

/// The terms of a sum as views.
fn views(node: &Sum) -> SmallVec<[View; 4]> {
    (0..node.children.len())
        .map(|term| View {
            id: node.children[term],
            axes: node.labels[term].clone(),
            coefficient: node.coefficients[term].0,
        })
        .collect()
}

fn gather(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in sums(graph, class) {
        if !graph.analysis.spend(1 + node.children.len() as u64) {
            return news;
        }
        if node.children.len() > 1 && first_time(graph, (3u8, graph.find(class), &node)) {
            let view = sum(graph, &views(&node));
            news |= equate(graph, class, view);
        }
        for (position, child) in node.children.iter().enumerate() {
            let place = (4, class, &node, position);
            for (inner, key) in untried(graph, place, *child, is_sum_or_renaming) {
                let inner = match &inner {
                    Term::Add(sum) => views(sum),
                    Term::Prod(product) => renaming(product).into_iter().collect(),
                    _ => continue,
                };
                let terms = node.children.len() - 1 + inner.len();
                let forced = !graph[*child].data.feasible;
                let most = if forced {
                    MOST_FORCED_TERMS
                } else {
                    MOST_TERMS
                };
                if (inner.len() > 1 && terms > most) || !graph.analysis.tried.insert(key) {
                    continue;
                }
                let most = match forced || inner.len() == 1 {
                    true => MOST_FORCED_NODES,
                    false => MOST_NODES,
                };
                if logical(graph, class) >= most {
                    graph.analysis.stopped = true;
                    continue;
                }
                if !graph.analysis.spend(terms as u64) {
                    return news;
                }
                let mut all = views(&node);
                let replaced = all.remove(position);
                all.extend(inner.into_iter().map(|view| View {
                    axes: inlined(&view.axes, replaced.axes.len() as Label, &replaced.axes, 0),
                    coefficient: view.coefficient * replaced.coefficient,
                    ..view
                }));
                let view = sum(graph, &all);
                news |= equate(graph, class, view);
            }
        }
    }
    news
}

fn is_sum_or_renaming(node: &Term) -> bool {
    match node {
        Term::Add(_) => true,
        Term::Prod(product) => renaming(product).is_some(),
        _ => false,
    }
}

/// A product of one factor that only renames or fills axes, as the term of a sum.
fn renaming(node: &Product) -> Option<View> {
    match (node.children.as_slice(), node.labels.as_slice()) {
        ([child], [labels]) if super::construct::is_view(labels, &outputs(node.outputs)) => {
            Some(View {
                id: *child,
                axes: labels.clone(),
                coefficient: 1.0,
            })
        }
        _ => None,
    }
}

fn order(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in products(graph, class) {
        if node.children.len() < 2 || !first_time(graph, (5u8, graph.find(class), &node)) {
            continue;
        }
        news |= order_node(graph, class, &node);
    }
    news
}

/// Makes a class of each connected subset of the factors, and a step of each split of the whole.
fn order_node(graph: &mut Graph, class: Id, node: &Product) -> bool {
    let free = outputs(node.outputs);
    let constant = |operand: &Operand| graph[operand.id].data.constant.is_some();
    let all = operands(node);
    if all.iter().any(constant) {
        return false;
    }
    let (tensors, scalars): (SmallVec<[Operand; 4]>, SmallVec<[Operand; 4]>) = all
        .into_iter()
        .partition(|operand| !operand.labels.is_empty());
    let Some(network) = Network::new(graph, &tensors, &free) else {
        return false;
    };
    let private = (0..tensors.len()).any(|i| network.private(i));
    if tensors.len() < 2
        || (tensors.len() == 2 && !private)
        || tensors.len() > MOST_FORCED_FACTORS + 2
        || network.tensors() > MOST_FORCED_FACTORS
    {
        return false;
    }
    if !graph.analysis.spend(1 << (2 + tensors.len())) {
        return false;
    }
    let whole = network.all();
    let mut parts: Vec<Option<View>> = vec![None; whole + 1];
    for (subset, part) in parts.iter_mut().enumerate().take(whole).skip(1) {
        let open = network.open(subset);
        let single = subset & (subset - 1) == 0;
        if !single
            && (!network.connected(subset)
                || network.only_structures(subset)
                || network.size(open) > graph.analysis.largest)
        {
            continue;
        }
        let members: SmallVec<[Operand; 4]> = network
            .members(subset)
            .map(|i| tensors[i].clone())
            .collect();
        let view = product(graph, &members, &network.names(open), Level::Logical);
        *part = Some(view);
    }
    let mut news = false;
    for subset in 1..whole {
        if let (Some(left), Some(right)) = (&parts[subset], &parts[whole ^ subset])
            && subset > whole ^ subset
            && network.joins(subset, whole ^ subset)
        {
            // A factor may also be read as it is, its own labels summed on the way.
            let plain = |side: usize| match side.is_power_of_two() {
                true => Some(side.trailing_zeros() as usize).filter(|i| network.private(*i)),
                false => None,
            };
            let ways = [
                (None, None),
                (plain(subset), None),
                (None, plain(whole ^ subset)),
            ];
            for (place, (raw_left, raw_right)) in ways.into_iter().enumerate() {
                if place > 0 && raw_left.or(raw_right).is_none() {
                    continue;
                }
                let side = |view: &View, raw: Option<usize>| match raw {
                    Some(factor) => (tensors[factor].clone(), 1.0),
                    None => (view.operand(), view.coefficient),
                };
                let (left, right) = (side(left, raw_left), side(right, raw_right));
                let coefficient = left.1 * right.1;
                let mut factors: SmallVec<[Operand; 4]> = smallvec![left.0, right.0];
                factors.extend(scalars.iter().cloned());
                let mut view = product(graph, &factors, &free, Level::Physical);
                view.coefficient *= coefficient;
                news |= equate(graph, class, view);
            }
        }
    }
    news
}

/// A factor of a term of a sum, under the labels of the sum.
struct Occurrence {
    /// The factor's class.
    factor: Id,
    /// For each of its axes the label in the sum, or (negative) which of the factor's own bound axes it is.
    pattern: SmallVec<[i32; 4]>,
    /// The term of the sum.
    term: usize,
    /// All factors of the term.
    factors: SmallVec<[Operand; 4]>,
    /// Which of them it is.
    position: usize,
}

/// Bound labels of a term lie from here on while common factors are looked for …
const TERM_BOUND: Label = 1 << 12;
/// … and those of the common factor from here on.
const FACTOR_BOUND: Label = 1 << 13;

fn factor(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in sums(graph, class) {
        let rank = node.outputs as usize;
        if node.children.len() < 2 || node.labels.iter().any(|labels| labels.len() != rank) {
            continue;
        }
        let mut occurrences = occurrences(graph, &node);
        occurrences
            .sort_by(|a, b| (a.factor, &a.pattern, a.term).cmp(&(b.factor, &b.pattern, b.term)));
        if !graph.analysis.spend(1 + occurrences.len() as u64) {
            return news;
        }
        let mut start = 0;
        while start < occurrences.len() {
            let same = |o: &&Occurrence| {
                o.factor == occurrences[start].factor && o.pattern == occurrences[start].pattern
            };
            let end = start + occurrences[start..].iter().take_while(same).count();
            let group: SmallVec<[&Occurrence; 4]> = occurrences[start..end].iter().collect();
            news |= factor_group(graph, class, &node, &group);
            // Where the rest of a term would be a value's own product, the other terms may still be taken together.
            let harmless: SmallVec<[&Occurrence; 4]> = group
                .iter()
                .copied()
                .filter(|o| !rest_is_several_components(graph, o))
                .collect();
            if harmless.len() != group.len() {
                news |= factor_group(graph, class, &node, &harmless);
            }
            start = end;
        }
    }
    news
}

fn occurrences(graph: &Graph, node: &Sum) -> Vec<Occurrence> {
    let mut found = Vec::new();
    for (term, child) in node.children.iter().enumerate() {
        for inner in products(graph, *child) {
            if inner.children.len() < 2 {
                continue;
            }
            let factors: SmallVec<[Operand; 4]> = operands(&inner)
                .into_iter()
                .map(|operand| Operand {
                    id: graph.find(operand.id),
                    labels: inlined(
                        &operand.labels,
                        inner.outputs,
                        &node.labels[term],
                        TERM_BOUND,
                    ),
                })
                .collect();
            for (position, factor) in factors.iter().enumerate() {
                let labels = &factor.labels;
                let pattern = labels
                    .iter()
                    .map(|label| match *label < TERM_BOUND {
                        true => i32::from(*label),
                        false => -1 - labels.iter().position(|l| l == label).unwrap_or(0) as i32,
                    })
                    .collect();
                found.push(Occurrence {
                    factor: factor.id,
                    pattern,
                    term,
                    factors: factors.clone(),
                    position,
                });
            }
        }
    }
    found
}

fn rest_is_several_components(graph: &Graph, occurrence: &Occurrence) -> bool {
    let others = occurrence
        .factors
        .iter()
        .enumerate()
        .filter(|(position, _)| *position != occurrence.position)
        .map(|(_, factor)| (&graph[factor.id].data.provenance, factor.labels.as_slice()));
    super::analysis::Provenance::join(others, 0, &[]).several_components()
}

/// Takes the factor that all of the group have in common out of their terms.
fn factor_group(graph: &mut Graph, class: Id, node: &Sum, group: &[&Occurrence]) -> bool {
    let Some(first) = group.first() else {
        return false;
    };
    let common = Operand {
        id: first.factor,
        labels: first
            .pattern
            .iter()
            .map(|mark| match Label::try_from(*mark) {
                Ok(label) => label,
                Err(_) => FACTOR_BOUND + (-1 - *mark) as Label,
            })
            .collect(),
    };
    let mut open: Option<Labels> = None;
    let mut taken: SmallVec<[usize; 4]> = SmallVec::new();
    let mut rests: SmallVec<[SmallVec<[Operand; 4]>; 4]> = SmallVec::new();
    for occurrence in group {
        if taken.contains(&occurrence.term) {
            continue;
        }
        let own = &occurrence.factors[occurrence.position].labels;
        let rest: SmallVec<[Operand; 4]> = occurrence
            .factors
            .iter()
            .enumerate()
            .filter(|(position, _)| *position != occurrence.position)
            .map(|(_, factor)| Operand {
                id: factor.id,
                labels: factor
                    .labels
                    .iter()
                    .map(|label| match own.iter().position(|l| l == label) {
                        Some(axis) if *label >= TERM_BOUND => FACTOR_BOUND + axis as Label,
                        _ => *label,
                    })
                    .collect(),
            })
            .collect();
        let mut labels: Labels = rest
            .iter()
            .flat_map(|factor| factor.labels.iter().copied())
            .filter(|label| !(TERM_BOUND..FACTOR_BOUND).contains(label))
            .collect();
        labels.sort_unstable();
        labels.dedup();
        // A sum of structures cannot be formed.
        let moves = |factor: &Operand| graph[factor.id].data.structure.is_some();
        if rest.iter().all(moves) {
            continue;
        }
        if open.get_or_insert_with(|| labels.clone()) == &labels {
            taken.push(occurrence.term);
            rests.push(rest);
        }
    }
    let Some(open) = open.filter(|_| taken.len() >= 2) else {
        return false;
    };
    let key: SmallVec<[&Operand; 8]> = rests.iter().flatten().collect();
    let key: Vec<(Id, &Labels)> = key.iter().map(|o| (o.id, &o.labels)).collect();
    if !first_time(
        graph,
        (6u8, graph.find(class), node, &common.labels, common.id, key),
    ) {
        return false;
    }
    let size: f64 = open
        .iter()
        .map(|label| {
            rests
                .iter()
                .flatten()
                .find_map(|factor| {
                    let axis = factor.labels.iter().position(|l| l == label)?;
                    Some(graph[factor.id].data.shape[axis] as f64)
                })
                .unwrap_or(1.0)
        })
        .product();
    if size > graph.analysis.largest || !graph.analysis.spend(4 * rests.len() as u64) {
        return false;
    }
    let terms: SmallVec<[View; 4]> = taken
        .iter()
        .zip(&rests)
        .map(|(term, rest)| {
            let mut view = product(graph, rest, &open, Level::Logical);
            view.coefficient *= node.coefficients[*term].0;
            view
        })
        .collect();
    let inner = sum(graph, &terms);
    let free = outputs(node.outputs);
    let mut view = product(graph, &[common, inner.operand()], &free, Level::Logical);
    view.coefficient *= inner.coefficient;
    let others = views(node);
    let mut all: SmallVec<[View; 4]> = smallvec![view];
    all.extend(
        others
            .into_iter()
            .enumerate()
            .filter(|(term, _)| !taken.contains(term))
            .map(|(_, view)| view),
    );
    let view = sum(graph, &all);
    equate(graph, class, view)
}

fn expand(graph: &mut Graph, class: Id) -> bool {
    let mut news = false;
    for node in sums(graph, class) {
        if node.children.len() > MOST_TERMS {
            continue;
        }
        for child in &node.children {
            for outer in products(graph, *child) {
                for (position, factor) in outer.children.iter().enumerate() {
                    let child = graph.find(*child);
                    let place = (7, child, &outer, position);
                    for (inner, key) in untried(graph, place, *factor, is_product) {
                        let Term::Prod(inner) = inner else { continue };
                        let factors = outer.children.len() - 1 + inner.children.len();
                        if factors > MOST_FACTORS
                            || !graph.analysis.spend(factors as u64)
                            || !graph.analysis.tried.insert(key)
                        {
                            continue;
                        }
                        let flat = substituted(&outer, position, &inner);
                        let free = outputs(outer.outputs);
                        let view = product(graph, &flat, &free, Level::Logical);
                        news |= equate(graph, child, view);
                    }
                }
            }
        }
    }
    news
}
