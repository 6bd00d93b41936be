//! The only way nodes are made: canonical, so that equal terms meet.
//!
//! Factors and terms are sorted by class and by the pattern of their labels, labels are numbered by first occurrence, and ties
//! (a product of a tensor with itself) are broken by trying the orders, a bounded number of them. The order of the
//! result's axes is thereby the constructor's choice, and what it returns is a *view*: a class, the label of each of its
//! axes, a coefficient. Transposes, broadcasts and multiples of a tensor are views of one class and no nodes.

use super::analysis::{Equated, Graph};
use super::language::{Coefficient, Label, Labels, Product, Shape, Sum, Term};
use super::structure::{Summed, settle};
use egg::Id;
use smallvec::{SmallVec, smallvec};

/// Orders tried for the sake of a canonical form; with more ties than that, equal terms may miss each other.
const MOST_ORDERS: usize = 120;

/// A tensor as an expression sees it: `coefficient ·` a class, broadcast along the labels that are not in `axes`.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The class.
    pub id: Id,
    /// The label of each axis of the class.
    pub axes: Labels,
    /// What the class is multiplied by.
    pub coefficient: f64,
}

impl View {
    /// The class as an operand with these labels, and its coefficient.
    pub fn operand(&self) -> Operand {
        Operand {
            id: self.id,
            labels: self.axes.clone(),
        }
    }

    /// The same view with each label `l` replaced by `names[l]`; labels without a name stay.
    pub fn renamed(&self, names: &[Label]) -> View {
        View {
            axes: renamed(&self.axes, names),
            ..self.clone()
        }
    }
}

/// Each label `l` replaced by `names[l]`; labels without a name stay.
pub fn renamed(labels: &[Label], names: &[Label]) -> Labels {
    labels
        .iter()
        .map(|label| names.get(*label as usize).copied().unwrap_or(*label))
        .collect()
}

/// A factor: a class and the label of each of its axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The class.
    pub id: Id,
    /// The label of each axis.
    pub labels: Labels,
}

/// Whether a product is for the rules to work on or stands for an executable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Any number of factors.
    Logical,
    /// Two factors, and scalars.
    Physical,
}

/// `Σ_bound Π operands`, where `free` are the labels that are not summed. Free labels that no operand carries are broadcast.
pub fn product(graph: &mut Graph, operands: &[Operand], free: &[Label], level: Level) -> View {
    let mut coefficient = 1.0;
    let mut kept: SmallVec<[Operand; 4]> = SmallVec::new();
    let mut summed = Summed::new();
    for operand in operands {
        let id = graph.find(operand.id);
        let data = &graph[id].data;
        match data.constant {
            None => kept.push(Operand {
                id,
                labels: operand.labels.clone(),
            }),
            Some(constant) => {
                coefficient *= constant;
                for (label, size) in operand.labels.iter().zip(&data.shape) {
                    if !free.contains(label) && !summed.iter().any(|(l, _)| l == label) {
                        summed.push((*label, *size));
                    }
                }
            }
        }
    }
    if !settle(graph, &mut kept, free, &mut summed) {
        return constant(graph, 0.0);
    }
    for (label, size) in summed {
        if !kept.iter().any(|operand| operand.labels.contains(&label)) {
            coefficient *= size as f64;
        }
    }
    if kept.is_empty() || coefficient == 0.0 {
        return constant(graph, coefficient);
    }
    if let [only] = kept.as_slice()
        && is_view(&only.labels, free)
    {
        return View {
            id: only.id,
            axes: only.labels.clone(),
            coefficient,
        };
    }
    let free: Labels = free
        .iter()
        .copied()
        .filter(|label| kept.iter().any(|operand| operand.labels.contains(label)))
        .collect();
    let order = canonical(graph, &kept, &[], &free);
    let product = Product {
        outputs: free.len() as Label,
        children: order.permutation.iter().map(|&i| kept[i].id).collect(),
        labels: order.labels,
    };
    let id = graph.add(match level {
        Level::Logical => Term::Prod(product),
        Level::Physical => Term::Dot(product),
    });
    View {
        id,
        axes: order.axes,
        coefficient,
    }
}

/// The terms of `Σ views`: like ones added up, those that cancel dropped.
pub fn gathered(graph: &mut Graph, views: &[View]) -> SmallVec<[View; 4]> {
    let mut terms: SmallVec<[View; 4]> = SmallVec::new();
    for view in views {
        let mut view = view.clone();
        view.id = graph.find(view.id);
        // All constants are multiples of the number one.
        if let Some(value) = graph[view.id].data.constant {
            view = constant(graph, view.coefficient * value);
        }
        match terms
            .iter_mut()
            .find(|term| term.id == view.id && term.axes == view.axes)
        {
            Some(term) => term.coefficient += view.coefficient,
            None => terms.push(view),
        }
    }
    terms.retain(|term| term.coefficient != 0.0);
    terms
}

/// `Σ views`, like terms gathered. Labels of the result that no view carries are broadcast.
pub fn sum(graph: &mut Graph, views: &[View]) -> View {
    let terms = gathered(graph, views);
    match terms.as_slice() {
        [] => return constant(graph, 0.0),
        [only] => return only.clone(),
        _ => {}
    }
    let operands: SmallVec<[Operand; 4]> = terms.iter().map(View::operand).collect();
    let coefficients: SmallVec<[Coefficient; 4]> = terms
        .iter()
        .map(|term| Coefficient(term.coefficient))
        .collect();
    let mut free = Labels::new();
    for label in operands.iter().flat_map(|operand| &operand.labels) {
        if !free.contains(label) {
            free.push(*label);
        }
    }
    let order = canonical(graph, &operands, &coefficients, &free);
    let id = graph.add(Term::Add(Sum {
        outputs: free.len() as Label,
        coefficients: order.permutation.iter().map(|&i| coefficients[i]).collect(),
        children: order.permutation.iter().map(|&i| operands[i].id).collect(),
        labels: order.labels,
    }));
    View {
        id,
        axes: order.axes,
        coefficient: 1.0,
    }
}

/// The view times a number; nothing is left of it if that is zero.
pub fn scaled(graph: &mut Graph, view: View, factor: f64) -> View {
    match view.coefficient * factor {
        0.0 => constant(graph, 0.0),
        coefficient => View {
            coefficient,
            ..view
        },
    }
}

/// A number, of no axes.
pub fn constant(graph: &mut Graph, value: f64) -> View {
    let id = graph.add(Term::Prod(Product {
        outputs: 0,
        labels: SmallVec::new(),
        children: SmallVec::new(),
    }));
    View {
        id,
        axes: Labels::new(),
        coefficient: value,
    }
}

/// The view as a class of its own, with all the axes `0..shape.len()` and no coefficient; its axes may be permuted.
pub fn whole(graph: &mut Graph, view: View, shape: &[usize]) -> View {
    let mut view = view;
    let missing: SmallVec<[Label; 4]> = (0..shape.len() as Label)
        .filter(|label| !view.axes.contains(label))
        .collect();
    if !missing.is_empty() {
        let mut children: SmallVec<[Id; 4]> = SmallVec::new();
        let mut labels: SmallVec<[Labels; 3]> = SmallVec::new();
        if graph[view.id].data.constant.is_none() {
            children.push(view.id);
            labels.push((0..view.axes.len() as Label).collect());
        } else {
            view.coefficient *= graph[view.id].data.constant.unwrap_or(1.0);
            view.axes.clear();
        }
        for label in &missing {
            children.push(graph.add(Term::Ones(shape[*label as usize])));
            labels.push(smallvec![view.axes.len() as Label]);
            view.axes.push(*label);
        }
        view.id = graph.add(Term::Prod(Product {
            outputs: view.axes.len() as Label,
            labels,
            children,
        }));
    }
    if view.coefficient != 1.0 {
        let rank = view.axes.len() as Label;
        view.id = graph.add(Term::Add(Sum {
            outputs: rank,
            coefficients: smallvec![Coefficient(view.coefficient)],
            labels: smallvec![(0..rank).collect()],
            children: smallvec![view.id],
        }));
        view.coefficient = 1.0;
    }
    view
}

/// Records that two views of a tensor with the axes `0..shape.len()` are equal.
pub fn equate_views(graph: &mut Graph, a: &View, b: &View, shape: &[usize]) -> bool {
    let same_axes = a.axes.len() == b.axes.len() && a.axes.iter().all(|l| b.axes.contains(l));
    // Zero times anything is zero: that says nothing of the classes.
    let (a, b) = if same_axes && a.coefficient == b.coefficient && a.coefficient != 0.0 {
        let plain = |view: &View| View {
            coefficient: 1.0,
            ..view.clone()
        };
        (plain(a), plain(b))
    } else {
        (whole(graph, a.clone(), shape), b.clone())
    };
    let mut names: Labels = SmallVec::from_elem(0, shape.len());
    for (axis, label) in a.axes.iter().enumerate() {
        names[*label as usize] = axis as Label;
    }
    equate(graph, a.id, b.renamed(&names))
}

/// Records that `class`, whose axes carry the labels `0..rank`, equals the view. Says whether that is news.
pub fn equate(graph: &mut Graph, class: Id, view: View) -> bool {
    let shape: Shape = graph[class].data.shape.clone();
    let view = whole(graph, view, &shape);
    log(graph, class, &view);
    let aligned = view
        .axes
        .iter()
        .enumerate()
        .all(|(axis, label)| axis == *label as usize);
    if aligned {
        return graph.union(class, view.id);
    }
    let renaming = graph.add(Term::Prod(Product {
        outputs: view.axes.len() as Label,
        labels: smallvec![view.axes],
        children: smallvec![view.id],
    }));
    graph.union(class, renaming)
}

/// Notes an equality, if that is asked for.
fn log(graph: &mut Graph, class: Id, view: &View) {
    let law = graph.analysis.law;
    let known = graph.find(view.id) == graph.find(class);
    if known || graph.analysis.log.is_none() {
        return;
    }
    let term = graph[view.id].nodes.last().cloned();
    if let (Some(log), Some(term)) = (&mut graph.analysis.log, term) {
        log.push(Equated { law, class, term });
    }
}

/// Whether an operand with these labels is a mere renaming of axes.
pub fn is_view(labels: &[Label], free: &[Label]) -> bool {
    labels
        .iter()
        .enumerate()
        .all(|(axis, label)| free.contains(label) && !labels[..axis].contains(label))
}

/// A canonical order of operands: which operand comes where, the labels of the result's axes, the operands' labels
/// numbered by first occurrence.
struct Order {
    permutation: SmallVec<[usize; 4]>,
    axes: Labels,
    labels: SmallVec<[Labels; 3]>,
}

/// What the sorting sees of an operand: its class, where its labels are free and where they repeat, its coefficient.
type Signature = (Id, SmallVec<[u16; 8]>, Option<Coefficient>);

fn canonical(
    graph: &mut Graph,
    operands: &[Operand],
    coefficients: &[Coefficient],
    free: &[Label],
) -> Order {
    let signatures: SmallVec<[Signature; 4]> = operands
        .iter()
        .enumerate()
        .map(|(i, operand)| {
            let pattern = operand.labels.iter().map(|label| {
                let first = operand.labels.iter().position(|l| l == label).unwrap_or(0) as u16;
                2 * first + u16::from(!free.contains(label))
            });
            (operand.id, pattern.collect(), coefficients.get(i).copied())
        })
        .collect();
    let mut permutation: SmallVec<[usize; 4]> = (0..operands.len()).collect();
    permutation.sort_by(|&a, &b| signatures[a].cmp(&signatures[b]));

    // Runs of operands that the signature cannot tell apart.
    let mut ties: SmallVec<[std::ops::Range<usize>; 2]> = SmallVec::new();
    let mut orders: usize = 1;
    let mut start = 0;
    while start < permutation.len() {
        let mut end = start + 1;
        while end < permutation.len()
            && signatures[permutation[end]] == signatures[permutation[start]]
        {
            end += 1;
            orders = orders.saturating_mul(end - start);
        }
        if end - start > 1 {
            ties.push(start..end);
        }
        start = end;
    }
    let mut best = numbered(operands, &permutation, free);
    if orders == 1 || orders > MOST_ORDERS || !graph.analysis.spend(orders as u64) {
        return best;
    }
    let mut candidates: Vec<SmallVec<[usize; 4]>> = vec![permutation];
    for tie in ties {
        candidates = candidates
            .iter()
            .flat_map(|candidate| orders_of_run(candidate, tie.clone()))
            .collect();
    }
    for candidate in &candidates {
        let order = numbered(operands, candidate, free);
        if order.labels < best.labels {
            best = order;
        }
    }
    best
}

/// All orders of the elements in `run`, the others staying where they are.
fn orders_of_run(order: &[usize], run: std::ops::Range<usize>) -> Vec<SmallVec<[usize; 4]>> {
    let mut all: Vec<SmallVec<[usize; 4]>> = vec![order.into()];
    for position in run.clone() {
        all = all
            .iter()
            .flat_map(|order| {
                (position..run.end).map(|other| {
                    let mut swapped = order.clone();
                    swapped.swap(position, other);
                    swapped
                })
            })
            .collect();
    }
    all
}

fn numbered(operands: &[Operand], permutation: &[usize], free: &[Label]) -> Order {
    let outputs = free.len() as Label;
    let (mut axes, mut bound) = (Labels::new(), Labels::new());
    let number = |known: &mut Labels, label: Label| match known.iter().position(|l| *l == label) {
        Some(position) => position as Label,
        None => {
            known.push(label);
            known.len() as Label - 1
        }
    };
    let labels = permutation
        .iter()
        .map(|&i| {
            operands[i]
                .labels
                .iter()
                .map(|label| match free.contains(label) {
                    true => number(&mut axes, *label),
                    false => outputs + number(&mut bound, *label),
                })
                .collect()
        })
        .collect();
    Order {
        permutation: permutation.into(),
        axes,
        labels,
    }
}
