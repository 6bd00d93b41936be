//! Choosing a plan from the e-graph.
//!
//! A choice gives each class that is needed one of its nodes, without cycles; its cost is the sum over the classes that the
//! roots need, each counted once. Greedy extraction over cost sets gives a first choice, flipping single classes improves
//! it, and [`super::exact`] proves or improves the result where it can. Budgets count steps, never time, so the same island
//! always gets the same plan.

use super::analysis::Graph;
use super::cost::{Addend, Factor, Made};
use super::language::{Labels, Term, elements};
use super::plan::{Action, Plan, PlanStep, Root};
use egg::{Id, Language};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Beyond so many classes only the cheapest tree is looked for: cost sets would take quadratic space.
const MOST_CLASSES_GREEDY: usize = 1500;
/// Classes visited while single choices are flipped.
const POLISH_VISITS: usize = 200_000;
/// What a tree's cost is cut off at, so that sharing counted many times does not reach infinity.
const MOST_TREE_COST: f64 = 1e200;

/// One way to compute a class.
#[derive(Debug, Clone)]
pub struct Node {
    /// The cost of this step alone.
    pub cost: f64,
    /// The classes that it reads, each once.
    pub children: SmallVec<[usize; 4]>,
    /// What it does.
    pub term: Term,
}

/// The part of the e-graph that the roots can reach, with finite costs, numbered from 0.
#[derive(Debug)]
pub struct ClassGraph {
    /// The classes.
    pub ids: Vec<Id>,
    /// The nodes of each class, cheapest first.
    pub nodes: Vec<Vec<Node>>,
    /// The classes of the roots, each once.
    pub roots: Vec<usize>,
    index: FxHashMap<Id, usize>,
}

/// The cost of a plan, and the classes that it needs with the cost of each, in order.
type Needs = (f64, Vec<(usize, f64)>);

/// For each class the number of the node that is chosen.
pub type Choice = Vec<Option<usize>>;

/// How classes can be made, as far as they have been asked for.
type Contractions = FxHashMap<Id, Made>;

/// The cost of a node as a step of its own; infinite where the class must not be formed or the node is no single step.
fn node_cost(graph: &Graph, known: &mut Contractions, class: Id, term: &Term) -> f64 {
    let algebra = &graph.analysis;
    let data = &graph[class].data;
    let applied = match term {
        Term::Leaf(leaf) => algebra.applications.get(leaf),
        _ => None,
    };
    let given = matches!(term, Term::Leaf(_) | Term::Band(_)) && applied.is_none();
    if !given && !algebra.admits(&data.provenance, &data.shape) {
        return f64::INFINITY;
    }
    match term {
        Term::Leaf(_) | Term::Ones(_) | Term::Band(_) => {
            applied.map_or(0.0, |applied| applied.cost)
        }
        Term::Prod(product) | Term::Dot(product) => {
            let factors: SmallVec<[Factor; 4]> = product
                .children
                .iter()
                .zip(&product.labels)
                .filter(|(child, _)| !graph[**child].data.is_ones())
                .map(|(child, labels)| graph[*child].data.factor(labels))
                .collect();
            algebra
                .model
                .product(algebra.itemsize, &factors, &data.shape)
        }
        Term::Add(sum)
            if sum
                .children
                .iter()
                .any(|c| graph[*c].data.structure.is_some()) =>
        {
            f64::INFINITY
        }
        Term::Add(sum) => {
            let addends: SmallVec<[Addend; 4]> = sum
                .children
                .iter()
                .map(|child| Addend {
                    elements: elements(&graph[*child].data.shape),
                    made: *known
                        .entry(graph.find(*child))
                        .or_insert_with(|| made(graph, *child)),
                })
                .collect();
            algebra
                .model
                .sum(algebra.itemsize, &addends, elements(&data.shape))
        }
    }
}

/// Whether a class can be computed by multiplying two tensors and summing, or by placing a tensor in a larger one.
fn made(graph: &Graph, class: Id) -> Made {
    let of_node = |node: &Term| match node {
        Term::Prod(product) | Term::Dot(product) => {
            let child = |child: &Id| &graph[*child].data;
            super::plan::made(
                product
                    .children
                    .iter()
                    .zip(&product.labels)
                    .map(|(id, labels)| child(id).factor(labels)),
                product.outputs as usize,
            )
        }
        _ => Made::Apart,
    };
    // Only what can be computed counts.
    let feasible = |node: &&Term| {
        let children = node.children();
        children.iter().all(|child| graph[*child].data.feasible)
    };
    let nodes = graph[class].nodes.iter().filter(feasible).map(of_node);
    nodes
        .filter(|made| *made != Made::Apart)
        .min_by_key(|made| *made == Made::Contracted)
        .unwrap_or(Made::Apart)
}

impl ClassGraph {
    /// The graph below the roots. `asked` are the roots of the problem, in order: leaves refer to them.
    pub fn new(graph: &Graph, asked: &[Id]) -> ClassGraph {
        let mut result = ClassGraph {
            ids: Vec::new(),
            nodes: Vec::new(),
            roots: Vec::new(),
            index: FxHashMap::default(),
        };
        for root in asked {
            let root = result.number(graph.find(*root));
            if !result.roots.contains(&root) {
                result.roots.push(root);
            }
        }
        let mut known = Contractions::default();
        let mut next = 0;
        while next < result.ids.len() {
            let nodes = result.nodes_of(graph, &mut known, next, asked);
            result.nodes.push(nodes);
            next += 1;
        }
        result.drop_infeasible();
        result
    }

    fn number(&mut self, class: Id) -> usize {
        let ids = &mut self.ids;
        *self.index.entry(class).or_insert_with(|| {
            ids.push(class);
            ids.len() - 1
        })
    }

    fn nodes_of(
        &mut self,
        graph: &Graph,
        known: &mut Contractions,
        class: usize,
        asked: &[Id],
    ) -> Vec<Node> {
        let id = self.ids[class];
        let mut nodes: Vec<Node> = Vec::new();
        for term in &graph[id].nodes {
            let cost = node_cost(graph, known, id, term);
            if !cost.is_finite() {
                continue;
            }
            let mut children: SmallVec<[usize; 4]> = term
                .children()
                .iter()
                .map(|child| self.number(graph.find(*child)))
                .collect();
            // A leaf that comes out of roots through opaque equations needs them.
            if let Term::Leaf(leaf) = term
                && let Some(leaf) = graph.analysis.leaves.get(*leaf as usize)
            {
                let after = leaf
                    .after
                    .iter()
                    .filter_map(|root| asked.get(*root as usize));
                children.extend(after.map(|root| self.number(graph.find(*root))));
            }
            if let Term::Leaf(leaf) = term
                && let Some(applied) = graph.analysis.applications.get(leaf)
            {
                let operands = applied.operands.iter();
                children.extend(operands.map(|(id, _)| self.number(graph.find(*id))));
            }
            children.sort_unstable();
            children.dedup();
            if children.contains(&class) {
                continue;
            }
            match nodes.iter_mut().find(|node| node.children == children) {
                Some(node) if node.cost <= cost => {}
                Some(node) => {
                    node.cost = cost;
                    node.term = term.clone();
                }
                None => nodes.push(Node {
                    cost,
                    children,
                    term: term.clone(),
                }),
            }
        }
        nodes.sort_by(|a, b| {
            a.cost
                .total_cmp(&b.cost)
                .then_with(|| a.children.cmp(&b.children))
                .then_with(|| a.term.cmp(&b.term))
        });
        nodes
    }

    /// Keeps the nodes whose children all have a node.
    fn drop_infeasible(&mut self) {
        let mut feasible = vec![false; self.ids.len()];
        loop {
            let mut changed = false;
            // Children mostly have higher numbers.
            for class in (0..self.ids.len()).rev() {
                if !feasible[class]
                    && self.nodes[class]
                        .iter()
                        .any(|node| node.children.iter().all(|&child| feasible[child]))
                {
                    feasible[class] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        for nodes in &mut self.nodes {
            nodes.retain(|node| node.children.iter().all(|&child| feasible[child]));
        }
    }

    /// Whether every root has a plan.
    pub fn is_feasible(&self) -> bool {
        self.roots.iter().all(|&root| !self.nodes[root].is_empty())
    }

    /// The cost of a choice; infinite if it lacks a class or has a cycle. `visits` counts the classes looked at.
    pub fn cost(&self, choice: &Choice, visits: &mut usize) -> f64 {
        match self.sorted(choice) {
            None => f64::INFINITY,
            Some(order) => {
                *visits += order.len();
                let chosen = |class: &usize| {
                    choice[*class].map_or(f64::INFINITY, |k| self.nodes[*class][k].cost)
                };
                order.iter().map(chosen).sum()
            }
        }
    }

    /// The classes that the roots need, children first; `None` if a class has no node chosen or if there is a cycle.
    pub fn sorted(&self, choice: &Choice) -> Option<Vec<usize>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Open,
            Done,
        }
        let mut seen = vec![Seen::No; self.ids.len()];
        let mut order = Vec::new();
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for &root in &self.roots {
            if seen[root] == Seen::No {
                seen[root] = Seen::Open;
                stack.push((root, 0));
            }
            while let Some((class, child)) = stack.pop() {
                let node = &self.nodes[class][choice[class]?];
                match node.children.get(child) {
                    None => {
                        seen[class] = Seen::Done;
                        order.push(class);
                    }
                    Some(&next) => {
                        stack.push((class, child + 1));
                        match seen[next] {
                            Seen::Open => return None,
                            Seen::Done => {}
                            Seen::No => {
                                seen[next] = Seen::Open;
                                stack.push((next, 0));
                            }
                        }
                    }
                }
            }
        }
        Some(order)
    }

    /// What each class costs at least, sharing counted as often as it is used.
    pub fn least(&self) -> Vec<f64> {
        self.trees().1
    }

    /// The cheapest tree of each class: sharing is counted as often as it is used.
    pub fn cheapest_trees(&self) -> Choice {
        self.trees().0
    }

    fn trees(&self) -> (Choice, Vec<f64>) {
        let mut cost = vec![f64::INFINITY; self.ids.len()];
        let mut choice: Choice = vec![None; self.ids.len()];
        loop {
            let mut changed = false;
            for class in (0..self.ids.len()).rev() {
                for (k, node) in self.nodes[class].iter().enumerate() {
                    let below: f64 = node.children.iter().map(|&child| cost[child]).sum();
                    let total = match below.is_finite() {
                        true => (node.cost + below).min(MOST_TREE_COST),
                        false => f64::INFINITY,
                    };
                    if total < cost[class] - 1e-12 {
                        cost[class] = total;
                        choice[class] = Some(k);
                        changed = true;
                    }
                }
            }
            if !changed {
                return (choice, cost);
            }
        }
    }

    /// Greedy extraction of a DAG: each class takes the node whose set of needed classes is cheapest (the "faster greedy dag"
    /// of the extraction gym).
    fn greedy(&self) -> Choice {
        let count = self.ids.len();
        let mut parents: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
        let mut queue: VecDeque<(usize, usize)> = VecDeque::new();
        let mut queued: Vec<Vec<bool>> = self
            .nodes
            .iter()
            .map(|nodes| vec![false; nodes.len()])
            .collect();
        for (class, nodes) in self.nodes.iter().enumerate() {
            for (k, node) in nodes.iter().enumerate() {
                for &child in &node.children {
                    parents[child].push((class, k));
                }
                if node.children.is_empty() {
                    queue.push_back((class, k));
                    queued[class][k] = true;
                }
            }
        }
        // For each class the classes that its plan needs, with the cost of each.
        let mut needs: Vec<Option<Needs>> = vec![None; count];
        let mut choice: Choice = vec![None; count];
        while let Some((class, k)) = queue.pop_front() {
            queued[class][k] = false;
            let node = &self.nodes[class][k];
            let before = needs[class]
                .as_ref()
                .map_or(f64::INFINITY, |(cost, _)| *cost);
            let Some(children) = node
                .children
                .iter()
                .map(|&child| needs[child].as_ref())
                .collect::<Option<SmallVec<[&Needs; 4]>>>()
            else {
                continue;
            };
            if let [only] = children.as_slice()
                && only.0 + node.cost >= before
            {
                continue;
            }
            let mut all: Vec<(usize, f64)> = vec![(class, node.cost)];
            let mut cyclic = false;
            for (_, set) in children {
                cyclic |= set.binary_search_by_key(&class, |(c, _)| *c).is_ok();
                all = merged(&all, set);
            }
            let total: f64 = all.iter().map(|(_, cost)| cost).sum();
            if cyclic || total >= before - 1e-9 {
                continue;
            }
            needs[class] = Some((total, all));
            choice[class] = Some(k);
            for &(parent, k) in &parents[class] {
                if !queued[parent][k] {
                    queued[parent][k] = true;
                    queue.push_back((parent, k));
                }
            }
        }
        choice
    }

    /// Flips the choice of one class at a time while the whole cost falls.
    fn polish(&self, choice: &mut Choice) -> f64 {
        let mut visits = 0;
        let mut best = self.cost(choice, &mut visits);
        loop {
            let mut better = false;
            let Some(live) = self.sorted(choice) else {
                return best;
            };
            for class in live {
                for k in 0..self.nodes[class].len() {
                    let current = choice[class];
                    if current == Some(k) {
                        continue;
                    }
                    choice[class] = Some(k);
                    let cost = self.cost(choice, &mut visits);
                    if cost < best - 1e-9 {
                        best = cost;
                        better = true;
                    } else {
                        choice[class] = current;
                    }
                    if visits > POLISH_VISITS {
                        return best;
                    }
                }
            }
            if !better {
                return best;
            }
        }
    }

    /// A good choice, and its cost.
    pub fn good_choice(&self) -> (Choice, f64) {
        let trees = self.cheapest_trees();
        let mut visits = 0;
        let tree_cost = self.cost(&trees, &mut visits);
        if self.ids.len() > MOST_CLASSES_GREEDY {
            return (trees, tree_cost);
        }
        let mut choice = self.greedy();
        for (chosen, tree) in choice.iter_mut().zip(&trees) {
            // Classes that greedy extraction did not reach may still be flipped to.
            *chosen = chosen.or(*tree);
        }
        if tree_cost < self.cost(&choice, &mut visits) {
            choice = trees;
        }
        let cost = self.polish(&mut choice);
        (choice, cost)
    }

    /// The plan that a choice stands for. `asked` are the roots of the problem with the axes that theirs are.
    pub fn plan(&self, graph: &Graph, choice: &Choice, asked: &[(Id, Labels)]) -> Option<Plan> {
        let mut plan = Plan::default();
        let mut place: Vec<Option<usize>> = vec![None; self.ids.len()];
        let at = |place: &[Option<usize>], id: &Id| -> Option<usize> {
            place[*self.index.get(&graph.find(*id))?]
        };
        for class in self.sorted(choice)? {
            let id = self.ids[class];
            let data = &graph[id].data;
            let action = match &self.nodes[class][choice[class]?].term {
                Term::Leaf(leaf) => match graph.analysis.applications.get(leaf) {
                    None => Action::Leaf(*leaf),
                    Some(applied) => Action::Call(
                        applied.clone(),
                        applied
                            .operands
                            .iter()
                            .map(|(id, axes)| Some((at(&place, id)?, axes.clone())))
                            .collect::<Option<_>>()?,
                    ),
                },
                Term::Ones(_) => Action::Product(SmallVec::new()),
                Term::Band(band) => Action::Band(*band),
                Term::Prod(product) | Term::Dot(product) => Action::Product(
                    product
                        .children
                        .iter()
                        .zip(&product.labels)
                        .filter(|(child, _)| !graph[**child].data.is_ones())
                        .map(|(child, labels)| Some((at(&place, child)?, labels.clone())))
                        .collect::<Option<_>>()?,
                ),
                Term::Add(sum) => Action::Sum(
                    (0..sum.children.len())
                        .map(|term| {
                            Some((
                                sum.coefficients[term].0,
                                at(&place, &sum.children[term])?,
                                sum.labels[term].clone(),
                            ))
                        })
                        .collect::<Option<_>>()?,
                ),
            };
            place[class] = Some(plan.steps.len());
            plan.steps.push(PlanStep {
                action,
                shape: data.shape.clone(),
                structure: data.structure,
                stands_for: data.step,
                again: None,
            });
        }
        plan.roots = asked
            .iter()
            .map(|(id, axes)| {
                Some(Root {
                    step: at(&place, id)?,
                    axes: axes.clone(),
                })
            })
            .collect::<Option<_>>()?;
        Some(plan.trimmed())
    }
}

/// Two sorted sets as one; where both have a class, the first's cost is kept.
fn merged(a: &[(usize, f64)], b: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].0.cmp(&b[j].0) {
            std::cmp::Ordering::Less => {
                all.push(a[i]);
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                all.push(b[j]);
                j += 1;
            }
            std::cmp::Ordering::Equal => {
                all.push(a[i]);
                i += 1;
                j += 1;
            }
        }
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}
