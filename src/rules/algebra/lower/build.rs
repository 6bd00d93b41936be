//! The program as written in a fresh e-graph.

use super::super::analysis::{Algebra, Dependence, Graph, Provenance, Zeal, sorted};
use super::super::construct::{Level, Operand, View, product, scaled, sum};
use super::super::cost::CostModel;
use super::super::language::{Label, Labels, Shape, Term, elements};
use super::super::problem::{Operation, Problem};
use super::super::structure::band;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// The problem in the e-graph.
pub struct Built {
    /// The e-graph.
    pub graph: Graph,
    /// The class of each step, as a view with the step's axes as labels.
    pub views: Vec<View>,
}

/// Puts the program as written into a fresh e-graph.
pub fn build(problem: &Problem, model: &CostModel, work: u64) -> Built {
    let built = build_with(problem, model, work, vec![]);
    match parts_asked_for(problem, &built) {
        parts if parts.is_empty() => built,
        parts => build_with(problem, model, work, parts),
    }
}

/// The parts of values that are results and no more than half of what they are parts of.
fn parts_asked_for(problem: &Problem, built: &Built) -> Vec<(u32, Shape)> {
    let algebra = &built.graph.analysis;
    let mut parts = vec![];
    for root in &problem.roots {
        let Some(view) = built.views.get(*root as usize) else {
            continue;
        };
        let data = &built.graph[view.id].data;
        let Some(value) = algebra.forbids(&data.provenance, &data.shape) else {
            continue;
        };
        let size = problem.values.get(value as usize).map_or(0, |v| v.size);
        if 2.0 * elements(&data.shape) <= size as f64 {
            parts.push((value, sorted(&data.shape)));
        }
    }
    parts
}

/// As [`build`], where plans may form some parts of values.
fn build_with(problem: &Problem, model: &CostModel, work: u64, parts: Vec<(u32, Shape)>) -> Built {
    let largest = problem
        .steps
        .iter()
        .filter(|step| !problem.is_structure(step))
        .map(|step| elements(&step.shape))
        .fold(0.0, f64::max);
    let mut provenances = vec![Provenance::mixed(); problem.leaves.len()];
    for mark in &problem.marks {
        if let Some(Operation::Leaf(leaf)) = problem
            .steps
            .get(mark.step as usize)
            .map(|step| &step.operation)
            && let Some(Provenance::Within(list)) = provenances.get_mut(*leaf as usize)
        {
            match list.iter_mut().find(|known| known.value == mark.value) {
                Some(known) => {
                    known.components |= mark.components;
                    for (a, b) in known.origins.iter_mut().zip(&mark.origins) {
                        *a |= b;
                    }
                }
                None => list.push(Dependence {
                    value: mark.value,
                    components: mark.components,
                    origins: mark.origins.clone(),
                }),
            }
        }
    }
    let mut graph = Graph::new(Algebra {
        leaves: problem.leaves.clone(),
        provenances,
        values: problem.values.clone(),
        parts,
        model: *model,
        itemsize: f64::from(problem.itemsize),
        largest,
        step: 0,
        tried: FxHashSet::default(),
        seen: FxHashMap::default(),
        applications: FxHashMap::default(),
        known: FxHashSet::default(),
        law: "lower",
        log: None,
        work,
        zeal: match problem.values.iter().all(|value| value.allow_materialise) {
            true => Zeal::Pays,
            false => Zeal::Needed,
        },
        stopped: false,
        broken: false,
    });
    let mut views: Vec<View> = Vec::with_capacity(problem.steps.len());
    for (index, step) in problem.steps.iter().enumerate() {
        graph.analysis.step = index as u32;
        let view = match &step.operation {
            Operation::Leaf(leaf) => View {
                id: graph.add(Term::Leaf(*leaf)),
                axes: (0..step.shape.len() as Label).collect(),
                coefficient: 1.0,
            },
            Operation::Band(of) => {
                let operand = band(&mut graph, *of, [0, 1]);
                View {
                    id: operand.id,
                    axes: operand.labels,
                    coefficient: 1.0,
                }
            }
            Operation::Product { operands, output } => {
                let names = Names::new(output);
                let factors: SmallVec<[View; 4]> = operands
                    .iter()
                    .map(|(operand, labels)| names.view(&views[*operand as usize], labels))
                    .collect();
                let mut coefficient: f64 = factors.iter().map(|view| view.coefficient).product();
                coefficient *= names.unsummed(operands, problem, |label| {
                    factors.iter().any(|view| view.axes.contains(&label))
                });
                let operands: SmallVec<[Operand; 4]> = factors.iter().map(View::operand).collect();
                let view = product(&mut graph, &operands, &names.free, Level::Logical);
                scaled(&mut graph, view, coefficient)
            }
            Operation::Sum { terms, output } => {
                let names = Names::new(output);
                let terms: SmallVec<[View; 4]> = terms
                    .iter()
                    .map(|(coefficient, operand, labels)| {
                        let mut view = names.view(&views[*operand as usize], labels);
                        view.coefficient *= coefficient.0;
                        view
                    })
                    .collect();
                sum(&mut graph, &terms)
            }
        };
        views.push(view);
        mark_class(&mut graph, problem, index as u32, &views[index]);
    }
    Built { graph, views }
}

/// Tells the class of a step that is no leaf what the marks say about it.
fn mark_class(graph: &mut Graph, problem: &Problem, step: u32, view: &View) {
    for mark in problem.marks.iter().filter(|mark| mark.step == step) {
        let mut data = graph[view.id].data.clone();
        if matches!(problem.steps[step as usize].operation, Operation::Leaf(_))
            || data.constant.is_some()
        {
            continue;
        }
        let origins = view
            .axes
            .iter()
            .map(|axis| mark.origins.get(*axis as usize).copied().unwrap_or(0))
            .collect();
        let mut list = SmallVec::new();
        list.push(Dependence {
            value: mark.value,
            components: mark.components,
            origins,
        });
        // A component counts as one, whatever it was made of.
        if let Provenance::Within(known) = &mut data.provenance {
            known.retain(|dependence| dependence.value != mark.value);
        }
        data.provenance.meet(&Provenance::Within(list));
        graph.set_analysis_data(view.id, data);
    }
}

/// How the labels of a step are renamed: the result's axes are `0..rank`, in order, all other labels lie beyond.
pub(super) struct Names {
    output: Labels,
    pub(super) free: Labels,
}

impl Names {
    pub(super) fn new(output: &Labels) -> Names {
        Names {
            output: output.clone(),
            free: (0..output.len() as Label).collect(),
        }
    }

    pub(super) fn label(&self, label: Label) -> Label {
        match self.output.iter().position(|l| *l == label) {
            Some(axis) => axis as Label,
            None => label.saturating_add(self.output.len() as Label),
        }
    }

    /// The view of an operand, whose axes have the given labels in the step.
    pub(super) fn view(&self, view: &View, labels: &[Label]) -> View {
        let names: Labels = labels.iter().map(|label| self.label(*label)).collect();
        view.renamed(&names)
    }

    /// The product of the sizes of the summed labels that no factor carries: the operands are broadcast along them.
    pub(super) fn unsummed(
        &self,
        operands: &[(u32, Labels)],
        problem: &Problem,
        carried: impl Fn(Label) -> bool,
    ) -> f64 {
        let mut seen = Labels::new();
        let mut factor = 1.0;
        for (operand, labels) in operands {
            for (label, size) in labels.iter().zip(problem.shape(*operand)) {
                let name = self.label(*label);
                if !seen.contains(&name) && !self.free.contains(&name) && !carried(name) {
                    factor *= *size as f64;
                }
                seen.push(name);
            }
        }
        factor
    }
}
