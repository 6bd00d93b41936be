//! The order in which formed factors are contracted, without forming what must not be.

use super::super::analysis::{Graph, Provenance, shape_of};
use super::super::construct::{Level, Operand, View, product};
use super::super::cost::one_step;
use super::super::language::{Label, Labels, Shape, elements};
use super::super::network::{Network, Orders, Subset};
use super::{Lowering, equate_named, positions};
use smallvec::SmallVec;

impl Lowering<'_> {
    /// Forms a product of formed factors in the cheapest order that has no forbidden intermediate; false if there is none.
    pub(super) fn contract(&mut self, class: &View, factors: &[Operand], free: &[Label]) -> bool {
        if self.is_formed(class.id) || self.graph[class.id].data.constant.is_some() {
            return true;
        }
        let data = &self.graph[class.id].data;
        if !self.graph.analysis.admits(&data.provenance, &data.shape) {
            return false;
        }
        let factors: SmallVec<[Operand; 4]> = factors
            .iter()
            .filter(|factor| self.graph[factor.id].data.constant.is_none())
            .cloned()
            .collect();
        let (tensors, scalars): (SmallVec<[Operand; 4]>, SmallVec<[Operand; 4]>) =
            factors.into_iter().partition(|f| !f.labels.is_empty());
        if tensors.len() < 2 {
            let operands: SmallVec<[Operand; 4]> = tensors.into_iter().chain(scalars).collect();
            self.multiply(class, &operands);
            return true;
        }
        let Some(network) = Network::new(self.graph, &tensors, free) else {
            return self.contract_greedily(class, tensors, &scalars, free);
        };
        let orders = {
            let graph = &*self.graph;
            network.cheapest(&graph.analysis, |subset, open| {
                subset == network.all() || admits(graph, &network, &tensors, subset, open)
            })
        };
        let Some(orders) = orders else {
            return false;
        };
        self.realise(class, &network, &orders, &tensors, &scalars, network.all());
        true
    }

    /// Follows the order of contraction that was found; returns the class of the subset.
    fn realise(
        &mut self,
        class: &View,
        network: &Network,
        orders: &Orders,
        tensors: &[Operand],
        scalars: &[Operand],
        subset: Subset,
    ) -> View {
        let free = network.names(network.open(subset));
        let members: SmallVec<[Operand; 4]> = network
            .members(subset)
            .map(|i| tensors[i].clone())
            .collect();
        let Some((left, right)) = orders.split(subset) else {
            let view = product(self.graph, &members, &free, Level::Logical);
            if !self.is_formed(view.id) {
                self.multiply(&view, &members);
            }
            return view;
        };
        let parts: SmallVec<[Operand; 4]> = [left, right]
            .into_iter()
            .map(|part| {
                self.realise(class, network, orders, tensors, scalars, part)
                    .operand()
            })
            .chain(scalars.iter().filter(|_| subset == network.all()).cloned())
            .collect();
        let view = match subset == network.all() {
            true => class.clone(),
            false => product(self.graph, &members, &free, Level::Logical),
        };
        if self.is_formed(view.id) {
            return view;
        }
        if members.len() > 2 || parts[..2] != members[..] {
            let step = product(self.graph, &parts, &view.axes.clone(), Level::Physical);
            let plain = View {
                coefficient: 1.0,
                ..view.clone()
            };
            equate_named(self.graph, &plain, &step);
        }
        self.multiply(&view, &parts);
        view
    }

    /// Contracts the pair whose product is smallest, among those that may be formed, until two are left: for products of too
    /// many factors for the search over subsets.
    fn contract_greedily(
        &mut self,
        class: &View,
        tensors: SmallVec<[Operand; 4]>,
        scalars: &[Operand],
        free: &[Label],
    ) -> bool {
        let mut rest: Vec<Operand> = tensors.into_vec();
        while rest.len() > 2 {
            let mut best: Option<(f64, usize, usize, Labels)> = None;
            for i in 0..rest.len() {
                for j in i + 1..rest.len() {
                    let outside = |label: &Label| {
                        free.contains(label)
                            || rest
                                .iter()
                                .enumerate()
                                .any(|(k, f)| k != i && k != j && f.labels.contains(label))
                    };
                    let mut open = Labels::new();
                    for label in rest[i].labels.iter().chain(&rest[j].labels) {
                        if outside(label) && !open.contains(label) {
                            open.push(*label);
                        }
                    }
                    let pair = [&rest[i], &rest[j]];
                    if !is_one_step(self.graph, &pair, &open) {
                        continue;
                    }
                    let shape = shape_of_product(self.graph, &pair, &open);
                    let size = elements(&shape);
                    if best.as_ref().is_some_and(|(least, ..)| *least <= size) {
                        continue;
                    }
                    let provenance = provenance_of_product(self.graph, &pair, &open);
                    if self.graph.analysis.admits(&provenance, &shape) {
                        best = Some((size, i, j, open));
                    }
                }
            }
            let Some((_, i, j, open)) = best else {
                return false;
            };
            let right = rest.remove(j);
            let left = rest.remove(i);
            let pair = [left, right];
            let view = product(self.graph, &pair, &open, Level::Logical);
            if !self.is_formed(view.id) {
                self.multiply(&view, &pair);
            }
            rest.push(view.operand());
        }
        rest.extend(scalars.iter().cloned());
        let step = product(self.graph, &rest, free, Level::Physical);
        let plain = View {
            coefficient: 1.0,
            ..class.clone()
        };
        equate_named(self.graph, &plain, &step);
        self.multiply(class, &rest);
        true
    }
}

/// Whether a plan may hold the product over a subset of factors.
fn admits(
    graph: &Graph,
    network: &Network,
    tensors: &[Operand],
    subset: Subset,
    open: u64,
) -> bool {
    let algebra = &graph.analysis;
    if network.size(open) > algebra.largest && !sums_over_a_value(graph, network, tensors) {
        return false;
    }
    if algebra.values.iter().all(|value| value.allow_materialise) {
        return true;
    }
    let members: SmallVec<[&Operand; 4]> = network.members(subset).map(|i| &tensors[i]).collect();
    let open = network.names(open);
    let provenance = provenance_of_product(graph, &members, &open);
    let shape = shape_of_product(graph, &members, &open);
    algebra.forbids(&provenance, &shape).is_none()
}

/// Whether the product of all factors sums over an axis of a value: it is then a contraction with the value, for which a large
/// intermediate is better than none. (A product that keeps every axis, elementwise say, would hold more than what it avoids.)
fn sums_over_a_value(graph: &Graph, network: &Network, tensors: &[Operand]) -> bool {
    let kept = network.names(network.open(network.all()));
    graph
        .analysis
        .values
        .iter()
        .enumerate()
        .any(|(number, value)| {
            let mut involved = false;
            let mut axes = 0;
            for tensor in tensors {
                let Some(dependence) = graph[tensor.id].data.provenance.on(number as u32) else {
                    continue;
                };
                involved = true;
                let origins = tensor.labels.iter().zip(&dependence.origins);
                axes |= origins
                    .filter(|(label, _)| kept.contains(label))
                    .fold(0, |all, (_, origin)| all | origin);
            }
            involved && axes & value.axes != value.axes
        })
}

fn provenance_of_product(graph: &Graph, operands: &[&Operand], open: &[Label]) -> Provenance {
    let labels: SmallVec<[Labels; 4]> = operands
        .iter()
        .map(|operand| positions(&operand.labels, open))
        .collect();
    let bands: SmallVec<[&[Label]; 2]> = operands
        .iter()
        .zip(&labels)
        .filter(|(operand, _)| graph[operand.id].data.is_band())
        .map(|(_, labels)| labels.as_slice())
        .collect();
    Provenance::join(
        operands
            .iter()
            .zip(&labels)
            .map(|(operand, labels)| (&graph[operand.id].data.provenance, labels.as_slice())),
        open.len(),
        &bands,
    )
}

/// Whether the product of two operands, of which these labels are kept, is a single step.
pub(super) fn is_one_step(graph: &Graph, pair: &[&Operand; 2], open: &[Label]) -> bool {
    let labels = pair.map(|operand| positions(&operand.labels, open));
    let factor = |side: usize| graph[pair[side].id].data.factor(&labels[side]);
    one_step(&[factor(0), factor(1)], open.len(), false)
}

fn shape_of_product(graph: &Graph, operands: &[&Operand], open: &[Label]) -> Shape {
    let labels: SmallVec<[Labels; 4]> = operands
        .iter()
        .map(|operand| positions(&operand.labels, open))
        .collect();
    shape_of(
        operands
            .iter()
            .zip(&labels)
            .map(|(operand, labels)| (graph[operand.id].data.shape.as_slice(), labels.as_slice())),
        open.len(),
    )
}
