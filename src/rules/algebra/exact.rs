//! Exact extraction by branch and bound, under a budget of visits.
//!
//! The pending class with the fewest nodes is decided first. A branch is cut when the cost so far and the cheapest nodes of
//! all classes that every plan for the pending ones must hold reach the best plan known. Cycles are refused by reachability
//! among what is decided.

use super::extract::{Choice, ClassGraph};

/// Partial choices looked at before the search gives up.
const MOST_VISITS: usize = 10_000;
/// Larger graphs are not tried.
const MOST_CLASSES: usize = 600;

/// What the search came to.
pub struct Exact {
    /// The best choice, or the one it was given.
    pub choice: Choice,
    /// Whether no cheaper choice exists.
    pub proven: bool,
}

/// Looks for a choice cheaper than the given one.
pub fn search(graph: &ClassGraph, choice: Choice, cost: f64) -> Exact {
    let count = graph.ids.len();
    if count > MOST_CLASSES {
        return Exact {
            choice,
            proven: false,
        };
    }
    let cheapest: Vec<f64> = graph
        .nodes
        .iter()
        .map(|nodes| nodes.first().map_or(f64::INFINITY, |node| node.cost))
        .collect();
    let mut search = Search {
        graph,
        must: must_hold(graph, &cheapest),
        cheapest,
        best: choice,
        best_cost: cost,
        decided: vec![None; count],
        pending: graph.roots.clone(),
        marks: vec![0; count],
        epoch: 0,
        visits: 0,
    };
    search.decide(0.0);
    Exact {
        proven: search.visits <= MOST_VISITS,
        choice: search.best,
    }
}

/// For each class the classes with a cost that every plan for it holds, itself included.
fn must_hold(graph: &ClassGraph, cheapest: &[f64]) -> Vec<Vec<usize>> {
    let count = graph.ids.len();
    let words = count.div_ceil(64);
    let mut must: Vec<Option<Vec<u64>>> = vec![None; count];
    loop {
        let mut changed = false;
        for class in (0..count).rev() {
            let mut common: Option<Vec<u64>> = None;
            for node in &graph.nodes[class] {
                let mut all = vec![0u64; words];
                let mut known = true;
                for &child in &node.children {
                    match &must[child] {
                        None => known = false,
                        Some(set) => all.iter_mut().zip(set).for_each(|(a, b)| *a |= b),
                    }
                }
                if !known {
                    continue;
                }
                match &mut common {
                    None => common = Some(all),
                    Some(common) => common.iter_mut().zip(&all).for_each(|(a, b)| *a &= b),
                }
            }
            if let Some(mut set) = common {
                set[class / 64] |= 1 << (class % 64);
                if must[class].as_ref() != Some(&set) {
                    must[class] = Some(set);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    must.into_iter()
        .map(|set| {
            let set = set.unwrap_or_default();
            let holds = |class: &usize| {
                set.get(class / 64)
                    .is_some_and(|w| w >> (class % 64) & 1 == 1)
            };
            (0..count)
                .filter(|class| holds(class) && cheapest[*class] > 0.0)
                .collect()
        })
        .collect()
}

struct Search<'a> {
    graph: &'a ClassGraph,
    must: Vec<Vec<usize>>,
    cheapest: Vec<f64>,
    best: Choice,
    best_cost: f64,
    decided: Choice,
    pending: Vec<usize>,
    /// Classes seen in the present walk carry its number.
    marks: Vec<u32>,
    epoch: u32,
    visits: usize,
}

impl Search<'_> {
    /// What the pending classes will cost at least.
    fn bound(&mut self) -> f64 {
        self.epoch += 1;
        let mut bound = 0.0;
        for class in &self.pending {
            for &needed in &self.must[*class] {
                if self.decided[needed].is_none() && self.marks[needed] != self.epoch {
                    self.marks[needed] = self.epoch;
                    bound += self.cheapest[needed];
                }
            }
        }
        bound
    }

    fn reaches(&mut self, from: &[usize], target: usize) -> bool {
        self.epoch += 1;
        let mut stack = from.to_vec();
        while let Some(class) = stack.pop() {
            if class == target {
                return true;
            }
            if self.marks[class] == self.epoch {
                continue;
            }
            self.marks[class] = self.epoch;
            if let Some(k) = self.decided[class] {
                stack.extend(&self.graph.nodes[class][k].children);
            }
        }
        false
    }

    fn decide(&mut self, cost: f64) {
        self.visits += 1;
        if self.visits > MOST_VISITS || cost + self.bound() >= self.best_cost - 1e-9 {
            return;
        }
        let graph = self.graph;
        let fewest = (0..self.pending.len()).min_by_key(|&p| graph.nodes[self.pending[p]].len());
        let Some(position) = fewest else {
            self.best_cost = cost;
            self.best = self.decided.clone();
            return;
        };
        let class = self.pending.swap_remove(position);
        let pending = self.pending.clone();
        for (k, node) in graph.nodes[class].iter().enumerate() {
            if cost + node.cost >= self.best_cost || self.reaches(&node.children, class) {
                continue;
            }
            self.decided[class] = Some(k);
            for &child in &node.children {
                if self.decided[child].is_none() && !self.pending.contains(&child) {
                    self.pending.push(child);
                }
            }
            self.decide(cost + node.cost);
            self.pending.clone_from(&pending);
            self.decided[class] = None;
        }
        self.pending.push(class);
        let last = self.pending.len() - 1;
        self.pending.swap(position, last);
    }
}
