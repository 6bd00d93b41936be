//! Tests of the algebra on islands built by hand, checked by evaluating plans in plain loops.

mod decide;
mod language;
mod laws;
mod oracle;
mod programs;
mod random;
mod scenarios;

use super::cost::CostModel;
use super::language::{Coefficient, Label, Labels, Shape};
use super::lower::Refusal;
use super::plan::{Action, Plan};
use super::problem::{Leaf, Mark, Operation, Problem, Value};
use super::solve::{Solution, solve};
use super::structure::{Band, Structure};
use smallvec::SmallVec;

/// Builds a problem in the notation of einsum.
struct Island {
    problem: Problem,
}

/// A LoRA value: what it equals, and its components.
#[derive(Clone, Copy)]
struct Lora {
    whole: u32,
    w: u32,
    a: u32,
    b: u32,
}

impl Island {
    fn new() -> Island {
        Island {
            problem: Problem::new(4),
        }
    }

    fn leaf(&mut self, shape: &[usize]) -> u32 {
        self.problem.leaf(shape)
    }

    fn einsum(&mut self, spec: &str, operands: &[u32]) -> u32 {
        let (inputs, output) = spec.split_once("->").expect("an arrow");
        let labels = |text: &str| -> Labels { text.bytes().map(Label::from).collect() };
        let inputs: Vec<Labels> = inputs.split(',').map(labels).collect();
        let output = labels(output);
        let shape: Shape = output
            .iter()
            .map(|label| {
                (0..operands.len())
                    .find_map(|o| {
                        let axis = inputs[o].iter().position(|l| l == label)?;
                        Some(self.problem.shape(operands[o])[axis])
                    })
                    .expect("a size")
            })
            .collect();
        let operands = operands.iter().copied().zip(inputs).collect();
        self.problem
            .push(Operation::Product { operands, output }, shape)
    }

    /// Broadcasts to a shape; `axes` are the places of the operand's axes.
    fn broadcast(&mut self, operand: u32, axes: &[Label], shape: &[usize]) -> u32 {
        let output: Labels = (0..shape.len() as Label).collect();
        let operands = SmallVec::from_iter([(operand, axes.into())]);
        self.problem
            .push(Operation::Product { operands, output }, shape.into())
    }

    /// A tensor whose axis is moved by a band.
    fn banded(&mut self, operand: u32, axis: usize, band: Band) -> u32 {
        let mut shape: Shape = self.problem.shape(operand).into();
        shape[axis] = band.sizes[0];
        let moved = self
            .problem
            .push(Operation::Band(band), Shape::from_slice(&band.sizes));
        let rank = shape.len() as Label;
        let output: Labels = (0..rank).collect();
        let mut labels = output.clone();
        labels[axis] = rank;
        let axes = SmallVec::from_slice(&[axis as Label, rank]);
        let operands = SmallVec::from_iter([(operand, labels), (moved, axes)]);
        self.problem
            .push(Operation::Product { operands, output }, shape)
    }

    fn sum(&mut self, terms: &[(f64, u32)]) -> u32 {
        let shape: Shape = self.problem.shape(terms[0].1).into();
        let output: Labels = (0..shape.len() as Label).collect();
        let terms = terms
            .iter()
            .map(|(c, step)| (Coefficient(*c), *step, output.clone()))
            .collect();
        self.problem.push(Operation::Sum { terms, output }, shape)
    }

    fn mark(&mut self, step: u32, value: u32, components: u64, origins: &[u32]) {
        self.problem.marks.push(Mark {
            step,
            value,
            components,
            origins: origins.into(),
        });
    }

    fn value(&mut self, axes: u32, allow_materialise: bool) -> u32 {
        self.problem.values.push(Value {
            axes,
            size: 0,
            allow_materialise,
        });
        self.problem.values.len() as u32 - 1
    }

    /// `w + scale·a·b`, of shape n×m.
    fn lora(&mut self, n: usize, m: usize, rank: usize, scale: f64) -> Lora {
        let value = self.value(0b11, false);
        let (w, a, b) = (
            self.leaf(&[n, m]),
            self.leaf(&[n, rank]),
            self.leaf(&[rank, m]),
        );
        self.mark(w, value, 1, &[1, 2]);
        self.mark(a, value, 2, &[1, 0]);
        self.mark(b, value, 4, &[0, 2]);
        let ab = self.einsum("ir,rk->ik", &[a, b]);
        let whole = self.sum(&[(1.0, w), (scale, ab)]);
        Lora { whole, w, a, b }
    }

    fn root(&mut self, step: u32) {
        self.problem.roots.push(step);
    }

    fn solve(&self) -> Result<Solution, Refusal> {
        solve(&self.problem, &CostModel::default())
    }

    /// Solves the island, checks the plan against the program as written, and returns it.
    fn solved(&self) -> Solution {
        let solution = self.solve().expect("a plan");
        check(&self.problem, &solution);
        solution
    }
}

/// Checks what must hold of every solution.
fn check(problem: &Problem, solution: &Solution) {
    let model = CostModel::default();
    assert_eq!(
        solution.cost,
        solution.plan.cost(&model, problem.itemsize),
        "the cost is the plan's"
    );
    assert!(solution.cost.is_finite(), "{}", solution.plan);
    assert!(
        solution.written_is_forbidden || solution.cost <= solution.cost_as_written,
        "{} > {}\n{}",
        solution.cost,
        solution.cost_as_written,
        solution.plan
    );
    for root in &solution.plan.roots {
        assert!(root.step < solution.plan.steps.len());
    }
    let small: f64 = problem
        .steps
        .iter()
        .map(|step| super::language::elements(&step.shape))
        .sum::<f64>();
    if small > 1e5 {
        return;
    }
    let expected = evaluate(&Plan::as_written(problem), problem);
    let found = evaluate(&solution.plan, problem);
    for (root, (expected, found)) in expected.iter().zip(&found).enumerate() {
        close(expected, found, &format!("root {root}\n{}", solution.plan));
    }
}

fn close(expected: &[f64], found: &[f64], what: &str) {
    assert_eq!(expected.len(), found.len(), "{what}");
    let scale = expected.iter().fold(1e-6f64, |most, x| most.max(x.abs()));
    for (a, b) in expected.iter().zip(found) {
        assert!((a - b).abs() <= 1e-9 * scale, "{a} ≠ {b}: {what}");
    }
}

/// A tensor in row-major order.
#[derive(Clone)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

/// The values of a plan's roots on pseudo-random leaves that depend only on the leaves' numbers.
fn evaluate(plan: &Plan, problem: &Problem) -> Vec<Vec<f64>> {
    let mut values: Vec<Tensor> = Vec::new();
    for step in &plan.steps {
        let value = match &step.action {
            Action::Leaf(leaf) => leaf_value(&problem.leaves[*leaf as usize], *leaf),
            Action::Band(band) => band_value(band),
            Action::Call(applied, _) => {
                panic!("nothing is known to be equal to `{}`", applied.name)
            }
            Action::Product(operands) => {
                let factors: Vec<_> = operands
                    .iter()
                    .map(|(operand, labels)| (1.0, &values[*operand], labels.as_slice()))
                    .collect();
                einsum(&factors, &step.shape, false)
            }
            Action::Sum(terms) => {
                let terms: Vec<_> = terms
                    .iter()
                    .map(|(c, operand, labels)| (*c, &values[*operand], labels.as_slice()))
                    .collect();
                einsum(&terms, &step.shape, true)
            }
        };
        values.push(value);
    }
    plan.roots
        .iter()
        .map(|root| {
            let value = &values[root.step];
            let mut shape = vec![0; root.axes.len()];
            for (axis, place) in root.axes.iter().enumerate() {
                shape[*place as usize] = value.shape[axis];
            }
            einsum(&[(1.0, value, &root.axes)], &shape, true).data
        })
        .collect()
}

/// A leaf's values; those of an index are one-hot rows.
fn leaf_value(leaf: &Leaf, number: u32) -> Tensor {
    let mut value = random_tensor(leaf.shape.to_vec(), u64::from(number));
    if leaf.moves.is_some() {
        let mut random = Random::new(u64::from(number) + 77);
        let size = *leaf.shape.last().expect("an axis");
        for row in value.data.chunks_mut(size) {
            let place = random.below(size);
            for (i, slot) in row.iter_mut().enumerate() {
                *slot = f64::from(u8::from(i == place));
            }
        }
    }
    value
}

fn band_value(band: &Band) -> Tensor {
    let mut data = vec![0.0; band.sizes[0] * band.sizes[1]];
    for t in 0..band.count {
        data[band.at(0, t) * band.sizes[1] + band.at(1, t)] = 1.0;
    }
    Tensor {
        shape: band.sizes.to_vec(),
        data,
    }
}

fn random_tensor(shape: Vec<usize>, seed: u64) -> Tensor {
    let count = shape.iter().product();
    let mut random = Random::new(seed + 1);
    Tensor {
        shape,
        data: (0..count).map(|_| random.unit() - 0.5).collect(),
    }
}

/// The sum of the operands, or the sum over bound labels of their product; labels below the rank are the result's axes.
fn einsum(operands: &[(f64, &Tensor, &[Label])], shape: &[usize], add: bool) -> Tensor {
    let mut sizes: Vec<(Label, usize)> = shape
        .iter()
        .enumerate()
        .map(|(axis, size)| (axis as Label, *size))
        .collect();
    for (_, tensor, labels) in operands {
        for (label, size) in labels.iter().zip(&tensor.shape) {
            match sizes.iter().find(|(l, _)| l == label) {
                Some((_, known)) => assert_eq!(known, size, "sizes of a label differ"),
                None => sizes.push((*label, *size)),
            }
        }
    }
    let total: usize = sizes.iter().map(|(_, size)| size).product();
    let mut data = vec![0.0; shape.iter().product()];
    let mut at = vec![0usize; sizes.len()];
    for _ in 0..total {
        let offset = |labels: &[Label], shape: &[usize]| {
            labels.iter().zip(shape).fold(0, |offset, (label, size)| {
                let place = sizes.iter().position(|(l, _)| l == label).expect("a label");
                offset * size + at[place]
            })
        };
        let elements = operands
            .iter()
            .map(|(c, tensor, labels)| c * tensor.data[offset(labels, &tensor.shape)]);
        let value = match add {
            true => elements.sum::<f64>(),
            false => elements.product(),
        };
        let result: Labels = (0..shape.len() as Label).collect();
        data[offset(&result, shape)] += value;
        for place in (0..at.len()).rev() {
            at[place] += 1;
            if at[place] < sizes[place].1 {
                break;
            }
            at[place] = 0;
        }
    }
    Tensor {
        shape: shape.to_vec(),
        data,
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
