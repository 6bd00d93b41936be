//! A plan: executable steps in order, and what they cost.

use super::apply::Application;
use super::cost::{Addend, CostModel, Factor, Made};
use super::language::{Label, Labels, Shape, elements};
use super::problem::{Operation, Problem};
use super::structure::{Band, Structure};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// What a step of a plan does. Operands are indices of earlier steps with the labels of their axes; labels `0..rank` are the
/// axes of the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Reads a leaf of the problem.
    Leaf(u32),
    /// A matrix of zeros and ones that moves elements. Nothing is formed: a product with it is a slice or a padding.
    Band(Band),
    /// A product of at most two tensors, or of a tensor and the structure that moves it, and any scalars, summed over the labels that are not in the result, and broadcast
    /// along the axes of the result that no operand carries. No operands: ones.
    Product(SmallVec<[(usize, Labels); 2]>),
    /// A linear combination, each operand broadcast along the axes that it lacks.
    Sum(SmallVec<[(f64, usize, Labels); 2]>),
    /// What users know to be equal, of these operands: for each axis of an argument, the axis of the step that it is.
    Call(Arc<Application>, SmallVec<[(usize, Labels); 3]>),
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanStep {
    /// What it does.
    pub action: Action,
    /// Sizes of the result's axes.
    pub shape: Shape,
    /// How it moves elements, if that is all it is for.
    pub structure: Option<Structure>,
    /// The step of the problem that it stands for.
    pub stands_for: u32,
    /// The leaf that it waits for, if it is computed again where a residual would have been kept.
    pub again: Option<u32>,
}

/// How a root of the problem is read from the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// The step.
    pub step: usize,
    /// For each axis of the step's result, the axis of the root that it is.
    pub axes: Labels,
}

/// Steps in an order in which they can run, and where the roots of the problem come out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlanStep>,
    /// One for each root of the problem.
    pub roots: Vec<Root>,
}

impl Plan {
    /// The program as it was written.
    pub fn as_written(problem: &Problem) -> Plan {
        let mut plan = Plan::default();
        for (index, step) in problem.steps.iter().enumerate() {
            let action = match &step.operation {
                Operation::Leaf(leaf) => Action::Leaf(*leaf),
                Operation::Band(band) => Action::Band(*band),
                Operation::Product { operands, output } => Action::Product(
                    operands
                        .iter()
                        .map(|(operand, labels)| (*operand as usize, numbered(labels, output)))
                        .collect(),
                ),
                Operation::Sum { terms, output } => Action::Sum(
                    terms
                        .iter()
                        .map(|(coefficient, operand, labels)| {
                            (coefficient.0, *operand as usize, numbered(labels, output))
                        })
                        .collect(),
                ),
            };
            plan.steps.push(PlanStep {
                structure: match action {
                    Action::Band(band) => Some(Structure::Band(band)),
                    Action::Leaf(leaf) => problem
                        .leaves
                        .get(leaf as usize)
                        .and_then(|leaf| leaf.moves),
                    _ => None,
                },
                action,
                shape: step.shape.clone(),
                stands_for: index as u32,
                again: None,
            });
        }
        plan.roots = problem
            .roots
            .iter()
            .map(|&root| Root {
                step: root as usize,
                axes: (0..problem.shape(root).len() as Label).collect(),
            })
            .collect();
        plan
    }

    /// Drops the steps that no root needs.
    pub fn trimmed(self) -> Plan {
        self.trimmed_to().0
    }

    /// The same, with the new place of each step that is kept.
    fn trimmed_to(mut self) -> (Plan, Vec<Option<usize>>) {
        let mut live = vec![false; self.steps.len()];
        for root in &self.roots {
            if let Some(flag) = live.get_mut(root.step) {
                *flag = true;
            }
        }
        for index in (0..self.steps.len()).rev() {
            if live[index] {
                for operand in self.steps[index].action.operands() {
                    live[operand] = true;
                }
            }
        }
        let mut place = vec![0; self.steps.len()];
        let mut kept = 0;
        for (index, live) in live.iter().enumerate() {
            place[index] = kept;
            kept += usize::from(*live);
        }
        let places = live.iter().zip(&place);
        let places = places.map(|(live, place)| live.then_some(*place)).collect();
        let mut flags = live.iter();
        self.steps
            .retain(|_| flags.next().copied().unwrap_or(false));
        for step in &mut self.steps {
            step.action.rename(|operand| place[operand]);
        }
        for root in &mut self.roots {
            root.step = place[root.step];
        }
        (self, places)
    }

    /// The same with each sum that is only a term of another sum taken up into it, and the new place of each step that is kept.
    pub fn with_flat_sums(mut self) -> (Plan, Vec<Option<usize>>) {
        let uses = self.uses();
        for index in 0..self.steps.len() {
            let Action::Sum(terms) = &self.steps[index].action else {
                continue;
            };
            let rank = self.steps[index].shape.len();
            let mut flat: SmallVec<[(f64, usize, Labels); 2]> = SmallVec::new();
            for (coefficient, operand, labels) in terms {
                match &self.steps[*operand].action {
                    // Terms broadcast within the inner sum are broadcast within the outer one.
                    Action::Sum(inner) if uses[*operand] == 1 && labels.len() == rank => {
                        for (own, step, axes) in inner {
                            let axes = axes.iter().map(|axis| labels[*axis as usize]);
                            flat.push((coefficient * own, *step, axes.collect()));
                        }
                    }
                    _ => flat.push((*coefficient, *operand, labels.clone())),
                }
            }
            // A sum has a term with all axes, or it would have to be broadcast as a whole.
            if flat.iter().any(|(_, _, labels)| labels.len() == rank) {
                self.steps[index].action = Action::Sum(flat);
            }
        }
        self.trimmed_to()
    }

    /// How often each step's result is used, by other steps and by roots.
    fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.steps.len()];
        for step in &self.steps {
            for operand in step.action.operands() {
                uses[operand] += 1;
            }
        }
        for root in &self.roots {
            uses[root.step] += 1;
        }
        uses
    }

    /// The cost of each step, in microseconds.
    pub fn costs(&self, model: &CostModel, itemsize: u32) -> Vec<f64> {
        let uses = self.uses();
        let itemsize = f64::from(itemsize);
        self.steps
            .iter()
            .map(|step| match &step.action {
                Action::Leaf(_) | Action::Band(_) => 0.0,
                Action::Call(applied, _) => applied.cost,
                Action::Product(operands) => {
                    let factors: SmallVec<[Factor; 4]> = operands
                        .iter()
                        .map(|(operand, labels)| self.factor(*operand, labels))
                        .collect();
                    model.product(itemsize, &factors, &step.shape)
                }
                Action::Sum(terms) => {
                    let addends: SmallVec<[Addend; 4]> = terms
                        .iter()
                        .map(|(_, operand, _)| Addend {
                            elements: elements(&self.steps[*operand].shape),
                            made: match uses[*operand] {
                                1 => self.made(*operand),
                                _ => Made::Apart,
                            },
                        })
                        .collect();
                    model.sum(itemsize, &addends, elements(&step.shape))
                }
            })
            .collect()
    }

    /// The cost of the whole plan, in microseconds.
    pub fn cost(&self, model: &CostModel, itemsize: u32) -> f64 {
        self.costs(model, itemsize).iter().sum()
    }

    /// Multiplications and additions of all contractions: two for each multiply–add.
    pub fn flops(&self) -> f64 {
        self.steps
            .iter()
            .enumerate()
            .filter(|(index, _)| self.is_contraction(*index))
            .map(|(_, step)| 2.0 * self.iterations(step))
            .sum()
    }

    /// Elements of the largest tensor that a step forms.
    pub fn peak_elements(&self) -> f64 {
        self.steps
            .iter()
            .filter(|step| !matches!(step.action, Action::Leaf(_) | Action::Band(_)))
            .map(|step| elements(&step.shape))
            .fold(0.0, f64::max)
    }

    fn iterations(&self, step: &PlanStep) -> f64 {
        let mut labels = Labels::new();
        let mut iterations = 1.0;
        if let Action::Product(operands) = &step.action {
            for (operand, carried) in operands {
                for (label, size) in carried.iter().zip(&self.steps[*operand].shape) {
                    if !labels.contains(label) {
                        labels.push(*label);
                        iterations *= *size as f64;
                    }
                }
            }
        }
        iterations
    }

    fn factor<'a>(&'a self, step: usize, labels: &'a Labels) -> Factor<'a> {
        Factor {
            labels,
            shape: &self.steps[step].shape,
            structure: self.steps[step].structure,
        }
    }

    /// How a step's result comes about, as the term of a sum.
    pub fn made(&self, step: usize) -> Made {
        let step = &self.steps[step];
        match &step.action {
            Action::Product(operands) => made(
                operands.iter().map(|(o, labels)| self.factor(*o, labels)),
                step.shape.len(),
            ),
            Action::Leaf(_) | Action::Band(_) | Action::Sum(_) | Action::Call(..) => Made::Apart,
        }
    }

    /// Whether a step multiplies two tensors and sums over a label of both.
    pub fn is_contraction(&self, step: usize) -> bool {
        self.made(step) == Made::Contracted
    }
}

/// How a product comes about, as the term of a sum: by multiplying two tensors and summing over a label, or by placing a tensor
/// in a larger one.
pub fn made<'a>(factors: impl Iterator<Item = Factor<'a>>, rank: usize) -> Made {
    let (mut tensors, mut placed, mut moved, mut sums) = (0, false, false, false);
    for factor in factors {
        tensors += usize::from(!factor.labels.is_empty());
        sums |= factor.labels.iter().any(|l| *l as usize >= rank);
        moved |= factor.structure.is_some();
        if let Some(Structure::Band(band)) = factor.structure {
            let result = factor.labels.iter().position(|l| (*l as usize) < rank);
            placed |= result.is_some_and(|side| band.count < band.sizes[side]);
        }
    }
    match (tensors, sums) {
        (2, true) if placed => Made::Placed,
        (2, true) if !moved => Made::Contracted,
        _ => Made::Apart,
    }
}

impl Action {
    /// Gives the steps that this one reads other numbers.
    pub fn rename(&mut self, number: impl Fn(usize) -> usize) {
        match self {
            Action::Leaf(_) | Action::Band(_) => {}
            Action::Product(operands) => {
                operands
                    .iter_mut()
                    .for_each(|(operand, _)| *operand = number(*operand));
            }
            Action::Sum(terms) => {
                terms
                    .iter_mut()
                    .for_each(|(_, operand, _)| *operand = number(*operand));
            }
            Action::Call(_, operands) => {
                operands
                    .iter_mut()
                    .for_each(|(operand, _)| *operand = number(*operand));
            }
        }
    }

    /// The steps that this one reads.
    pub fn operands(&self) -> SmallVec<[usize; 3]> {
        match self {
            Action::Leaf(_) | Action::Band(_) => SmallVec::new(),
            Action::Product(operands) => operands.iter().map(|(operand, _)| *operand).collect(),
            Action::Sum(terms) => terms.iter().map(|(_, operand, _)| *operand).collect(),
            Action::Call(_, operands) => operands.iter().map(|(operand, _)| *operand).collect(),
        }
    }
}

/// Labels renumbered so that those of the result are `0..rank`, in order.
fn numbered(labels: &[Label], output: &[Label]) -> Labels {
    labels
        .iter()
        .map(|label| match output.iter().position(|l| l == label) {
            Some(axis) => axis as Label,
            // Beyond all axes, and still distinct.
            None => label.saturating_add(output.len() as Label),
        })
        .collect()
}

/// A label as a letter of an einsum: `i`, `j`, … and numbers when letters run out.
fn letter(label: Label) -> String {
    match u8::try_from(label).ok().filter(|l| *l < 18) {
        Some(label) => char::from(b'i' + label).to_string(),
        None => format!("i{label}"),
    }
}

/// Labels as letters of an einsum.
pub fn letters(labels: impl IntoIterator<Item = Label>) -> String {
    labels.into_iter().map(letter).collect()
}

impl fmt::Display for Plan {
    /// One line a step: name, shape, what it does in the notation of einsum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |step: usize| match &self.steps[step].action {
            Action::Leaf(leaf) => format!("x{leaf}"),
            Action::Band(band) => band.to_string(),
            Action::Product(_) | Action::Sum(_) | Action::Call(..) => format!("t{step}"),
        };
        let term = |step: usize, labels: &Labels| match labels.is_empty() {
            true => name(step),
            false => format!("{}[{}]", name(step), letters(labels.iter().copied())),
        };
        for (index, step) in self.steps.iter().enumerate() {
            let body: Vec<String> = match &step.action {
                Action::Leaf(_) | Action::Band(_) => continue,
                Action::Call(applied, operands) => {
                    let operands: Vec<String> = operands
                        .iter()
                        .map(|(o, labels)| term(*o, labels))
                        .collect();
                    vec![format!("`{}` of {}", applied.name, operands.join(", "))]
                }
                Action::Product(operands) => operands
                    .iter()
                    .map(|(operand, labels)| term(*operand, labels))
                    .collect(),
                Action::Sum(terms) => terms
                    .iter()
                    .map(|(coefficient, operand, labels)| {
                        let term = term(*operand, labels);
                        match *coefficient == 1.0 {
                            true => term,
                            false => format!("{coefficient}·{term}"),
                        }
                    })
                    .collect(),
            };
            let joint = match &step.action {
                Action::Sum(_) => " + ",
                _ => "·",
            };
            let body = match body.is_empty() {
                true => "1".to_string(),
                false => body.join(joint),
            };
            let body = match step.again {
                Some(_) => format!("{body}, again"),
                None => body,
            };
            let axes = letters(0..step.shape.len() as Label);
            writeln!(f, "t{index}{:?}[{axes}] = {body}", step.shape.as_slice())?;
        }
        let roots: Vec<String> = self
            .roots
            .iter()
            .map(|root| {
                format!(
                    "{}[{}]",
                    name(root.step),
                    letters(root.axes.iter().copied())
                )
            })
            .collect();
        writeln!(f, "out {}", roots.join(", "))
    }
}
