//! Islands as problems: the equations of each group as steps, variables from elsewhere as leaves, the definitions of values as
//! marks.

use super::definition::{Definition, Reading};
use super::equality::Equality;
use super::equation::{Equation, Move, mark};
use super::form::{Fact, Form, Known, Stated, facts};
use super::groups::{Groups, users};
use super::language::{Coefficient, Label, Labels, Shape};
use super::options::Options;
use super::problem::{Leaf, Mark, Operation, Problem, Value};
use super::refine::{Parts, Refinement, in_units, runs};
use super::structure::Structure;
use super::waits::note_waits;
use crate::array::DType;
use crate::error::{Error, Result};
use crate::trace::op::Op;
use crate::trace::{Jaxpr, Var};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// A piece of a program, and the problem that it poses.
#[derive(Debug)]
pub(super) struct Island {
    /// Its equations, in order.
    pub(super) eqns: Vec<usize>,
    /// The problem.
    pub(super) problem: Problem,
    /// The variable of each leaf.
    pub(super) leaves: Vec<Var>,
    /// The variable of each root.
    pub(super) roots: Vec<Var>,
    /// The equation of each step.
    pub(super) origin: Vec<usize>,
    /// The mark that ends each value's definition.
    pub(super) values: Vec<usize>,
    /// For each leaf that says where elements go, the operation that reads it.
    pub(super) moving: FxHashMap<u32, Op>,
    /// The element type in which the island computes.
    pub(super) dtype: DType,
    /// Whether its contractions name the element type of their result.
    pub(super) preferred: bool,
}

/// All islands of a program, in the order of their first equations.
///
/// # Errors
///
/// If an operation that is no algebra forms, within a value's definition, what the value does not allow.
pub(super) fn islands(program: &Jaxpr) -> Result<Vec<Island>> {
    let stated: Vec<(Arc<Equality>, Vec<Fact>)> = Options::equalities()
        .into_iter()
        .filter(|equality| equality.form().is_some())
        .map(|equality| (equality.clone(), facts(program, &equality)))
        .collect();
    let mut reading = Reading::new(program);
    let (definitions, groups, refinements) = loop {
        let definitions = reading.definitions();
        let groups = Groups::new(&reading, &definitions, !stated.is_empty());
        let mut refinements = Vec::with_capacity(groups.members.len());
        let mut refused = Vec::new();
        for members in &groups.members {
            let equations: Vec<(usize, Var, &Equation)> = members
                .iter()
                .filter_map(|index| {
                    let result = program.eqns()[*index].outputs.first().copied()?;
                    Some((*index, result, reading.equations[*index].as_ref()?))
                })
                .collect();
            match Refinement::new(program, &equations) {
                Ok(refinement) => refinements.push(refinement),
                Err(reshapes) => refused.extend(reshapes),
            }
        }
        if refused.is_empty() {
            break (definitions, groups, refinements);
        }
        for reshape in refused {
            reading.equations[reshape] = None;
        }
    };
    for definition in &definitions {
        if let (Some(opaque), false) = (definition.opaque, definition.allow_materialise) {
            return Err(forms_in_definition(program, definition.eqn, opaque));
        }
    }
    let count = groups.members.len();
    let users = users(program, &groups);
    let mut islands: Vec<Island> = Vec::with_capacity(count);
    for (eqns, refinement) in groups.members.into_iter().zip(refinements) {
        let mut builder = builder(&reading, refinement, eqns);
        builder.stated = &stated;
        islands.push(builder.build(&definitions, &users));
    }
    note_waits(program, &mut islands);
    if Options::price() > 0.0 {
        for island in &mut islands {
            for (leaf, var) in island.problem.leaves.iter_mut().zip(&island.leaves) {
                leaf.given = program.invars().contains(var)
                    || program.consts().iter().any(|(own, _)| own == var);
            }
        }
    }
    Ok(islands)
}

/// All algebra of a program as one island, for what it costs as it stands, and the equations that are no algebra.
pub(super) fn whole(program: &Jaxpr) -> (Island, Vec<usize>) {
    let mut reading = Reading::new(program);
    let mut eqns: Vec<usize> = Vec::new();
    let refinement = loop {
        eqns.clear();
        let mut equations: Vec<(usize, Var, &Equation)> = Vec::new();
        for (index, eqn) in program.eqns().iter().enumerate() {
            if let (Some(equation), Some(result)) =
                (&reading.equations[index], eqn.outputs.first().copied())
            {
                eqns.push(index);
                equations.push((index, result, equation));
            }
        }
        match Refinement::new(program, &equations) {
            Ok(refinement) => break refinement,
            Err(reshapes) if reshapes.is_empty() => break Refinement::default(),
            Err(reshapes) => {
                for reshape in reshapes {
                    reading.equations[reshape] = None;
                }
            }
        }
    };
    let mut groups = Groups {
        group_of: vec![u32::MAX; program.eqns().len()],
        members: Vec::new(),
    };
    let mut rest = Vec::new();
    for index in 0..program.eqns().len() {
        match eqns.binary_search(&index) {
            Ok(_) => groups.group_of[index] = 0,
            Err(_) => rest.push(index),
        }
    }
    let users = users(program, &groups);
    let island = builder(&reading, refinement, eqns).build(&[], &users);
    (island, rest)
}

fn builder<'a>(reading: &'a Reading<'a>, refinement: Refinement, eqns: Vec<usize>) -> Builder<'a> {
    let program = reading.program;
    let dtype = dtype(program, &eqns);
    Builder {
        reading,
        refinement,
        step_of: FxHashMap::default(),
        component_of: FxHashMap::default(),
        index_of: FxHashMap::default(),
        stated: &[],
        island: Island {
            problem: Problem {
                residual_price: Coefficient(Options::price()),
                ..Problem::new(dtype.size() as u32)
            },
            preferred: prefers(program, &eqns),
            eqns,
            leaves: Vec::new(),
            roots: Vec::new(),
            origin: Vec::new(),
            values: Vec::new(),
            moving: FxHashMap::default(),
            dtype,
        },
    }
}

/// Whether contractions name the element type of their result.
fn prefers(program: &Jaxpr, eqns: &[usize]) -> bool {
    eqns.iter().any(|eqn| match &program.eqns()[*eqn].op {
        Op::DotGeneral(dot) => dot.preferred_element_type.is_some(),
        _ => false,
    })
}

/// A definition that is refused whatever is asked of the value.
fn forms_in_definition(program: &Jaxpr, end: usize, opaque: usize) -> Error {
    let what = program.eqns().get(end).and_then(mark);
    let what = what.map_or_else(|| "a value".to_string(), |mark| mark.what.to_string());
    match program.eqns().get(opaque) {
        Some(eqn) => Error::refused(format!(
            "refusing to materialise {what}: its own definition forms the array by `{}`, which is no algebra",
            eqn.op.name()
        ))
        .at(eqn.at)
        .note("set `allow_materialise` on the value to allow it, or define it by sums of products"),
        None => Error::internal("a definition has an operation that is not there"),
    }
}

/// The element type in which an island computes: that of its last equation.
fn dtype(program: &Jaxpr, eqns: &[usize]) -> DType {
    let eqn = eqns.last().and_then(|eqn| program.eqns().get(*eqn));
    let var = eqn.and_then(|eqn| eqn.outputs.first().copied());
    var.map_or(DType::F32, |var| program.aval(var).dtype)
}

struct Builder<'a> {
    reading: &'a Reading<'a>,
    refinement: Refinement,
    /// What users know to be equal, and where its functions stand.
    stated: &'a [(Arc<Equality>, Vec<Fact>)],
    island: Island,
    step_of: FxHashMap<Var, u32>,
    /// The leaf of each index, by the shape of the structure that it stands for.
    index_of: FxHashMap<(Var, Shape, Structure), u32>,
    /// The leaf of each component, by its array, value and number.
    component_of: FxHashMap<(Var, u64, u32), u32>,
}

impl Builder<'_> {
    fn build(mut self, definitions: &[Definition], outside: &[bool]) -> Island {
        let program = self.reading.program;
        let eqns = std::mem::take(&mut self.island.eqns);
        for &index in &eqns {
            let eqn = &program.eqns()[index];
            let (Some(equation), Some(output)) =
                (&self.reading.equations[index], eqn.outputs.first().copied())
            else {
                continue;
            };
            let step = self.step(index, equation, output);
            self.step_of.insert(output, step);
            if outside.get(output.index()).copied().unwrap_or(false) {
                self.island.roots.push(output);
                self.island.problem.roots.push(step);
            }
        }
        for definition in definitions {
            if eqns.binary_search(&definition.eqn).is_ok() {
                self.value(definition);
            }
        }
        self.state(eqns.last().copied().unwrap_or(0));
        self.island.eqns = eqns;
        self.island
    }

    /// Notes which steps are what functions of equalities make, and of which steps.
    fn state(&mut self, last: usize) {
        let program = self.reading.program;
        let dtype = self.island.dtype;
        for (equality, facts) in self.stated {
            let mut known = Vec::new();
            for fact in facts {
                let of_type = |var: &Var| program.aval(*var).dtype == dtype;
                let Some(step) = self.step_of.get(&fact.var).copied() else {
                    continue;
                };
                if of_type(&fact.var) && fact.inputs.iter().all(|(_, var)| of_type(var)) {
                    let inputs = fact.inputs.iter();
                    let inputs = inputs.map(|(number, var)| (*number, self.operand(last, *var)));
                    let inputs = inputs.collect();
                    known.push(Known {
                        factor: fact.factor,
                        step,
                        inputs,
                        slice: fact.slice.clone(),
                    });
                }
            }
            let plain = equality.form().is_some_and(Form::is_plain);
            if plain || !known.is_empty() {
                self.island.problem.equalities.push(Stated {
                    equality: equality.clone(),
                    dtype,
                    known,
                });
            }
        }
    }

    fn push(&mut self, index: usize, operation: Operation, shape: Shape) -> u32 {
        self.island.origin.push(index);
        self.island.problem.push(operation, shape)
    }

    fn shape(&self, var: Var) -> Shape {
        self.refinement.shape(self.reading.program, var)
    }

    /// The step of a variable; a leaf if it is made elsewhere.
    fn operand(&mut self, index: usize, var: Var) -> u32 {
        match self.step_of.get(&var) {
            Some(step) => *step,
            None => {
                let step = self.leaf(index, var);
                self.step_of.insert(var, step);
                step
            }
        }
    }

    fn leaf(&mut self, index: usize, var: Var) -> u32 {
        let leaf = self.island.leaves.len() as u32;
        let shape = self.shape(var);
        self.island.leaves.push(var);
        self.island.problem.leaves.push(Leaf {
            shape: shape.clone(),
            ..Leaf::default()
        });
        self.push(index, Operation::Leaf(leaf), shape)
    }

    fn step(&mut self, index: usize, equation: &Equation, output: Var) -> u32 {
        let eqn = &self.reading.program.eqns()[index];
        if let Some(source) = equation.identity() {
            // A component is a leaf of its own, apart from other uses of the same array.
            let component = mark(eqn).and_then(|mark| Some((mark.value, mark.field?)));
            let Some((value, field)) = component else {
                return self.operand(index, source);
            };
            let source = match self.step_of.get(&source) {
                None => source,
                Some(step) => match self.island.problem.steps[*step as usize].operation {
                    Operation::Leaf(leaf) => self.island.leaves[leaf as usize],
                    _ => return *step,
                },
            };
            if let Some(step) = self.component_of.get(&(source, value, field)) {
                return *step;
            }
            let step = self.leaf(index, source);
            self.component_of.insert((source, value, field), step);
            return step;
        }
        let shape = self.shape(output);
        let mut names = Names::default();
        match equation {
            Equation::Product {
                coefficient,
                operands,
                moves,
                output: result,
            } => {
                let mut movers: SmallVec<[(u32, Labels); 1]> = SmallVec::new();
                // The parts of moved axes that move along as wholes have the same names on both sides.
                for moved in moves {
                    if let Move::Band(band, [to, from]) = moved {
                        let axis = result.iter().position(|label| label == to).unwrap_or(0);
                        let parts = self.parts(output, axis);
                        let inner: usize = parts.iter().skip(1).product();
                        let [to, from] = names.moved(*to, *from, parts.len());
                        let band = in_units(band, inner);
                        let shape = Shape::from_slice(&band.sizes);
                        let step = self.push(index, Operation::Band(band), shape);
                        movers.push((step, SmallVec::from_slice(&[to, from])));
                    }
                }
                let mut factors: SmallVec<[(u32, Labels); 2]> = SmallVec::new();
                for (var, labels) in operands {
                    let step = self.operand(index, *var);
                    factors.push((step, self.named(&mut names, *var, labels)));
                }
                let result = self.named(&mut names, output, result);
                for moved in moves {
                    if let Move::Index {
                        index: var,
                        shape,
                        kind,
                        labels,
                    } = moved
                    {
                        let step = self.index(index, *var, shape, *kind);
                        let single = |label: &Label| names.of(*label, 1);
                        movers.push((step, labels.iter().flat_map(single).collect()));
                    }
                }
                let last = movers.pop();
                for mover in movers {
                    factors = SmallVec::from_iter([self.moved(index, factors, mover, &result)]);
                }
                factors.extend(last);
                let product = Operation::Product {
                    operands: factors,
                    output: result.clone(),
                };
                let step = self.push(index, product, shape.clone());
                if *coefficient == 1.0 {
                    return step;
                }
                let terms =
                    SmallVec::from_iter([(Coefficient(*coefficient), step, result.clone())]);
                let output = result;
                self.push(index, Operation::Sum { terms, output }, shape)
            }
            Equation::Sum {
                terms,
                output: result,
            } => {
                let terms = terms
                    .iter()
                    .map(|(coefficient, var, labels)| match var {
                        Some(var) => {
                            let step = self.operand(index, *var);
                            let labels = self.named(&mut names, *var, labels);
                            (Coefficient(*coefficient), step, labels)
                        }
                        None => (Coefficient(*coefficient), self.one(index), Labels::new()),
                    })
                    .collect();
                let output = self.named(&mut names, output, result);
                self.push(index, Operation::Sum { terms, output }, shape)
            }
            Equation::Concatenate {
                parts,
                axis,
                output: result,
            } => {
                let inner: usize = self.parts(output, *axis).iter().skip(1).product();
                let result_labels = self.named(&mut names, output, result);
                let along = names.of(*axis as Label, 1)[0];
                let from = names.fresh();
                let place = result_labels.iter().position(|l| *l == along).unwrap_or(0);
                let mut terms: SmallVec<[(Coefficient, u32, Labels); 2]> = SmallVec::new();
                for (var, band) in parts {
                    let operand = self.operand(index, *var);
                    let band = in_units(band, inner);
                    let sizes = Shape::from_slice(&band.sizes);
                    let band = self.push(index, Operation::Band(band), sizes);
                    let mut labels = result_labels.clone();
                    labels[place] = from;
                    let product = Operation::Product {
                        operands: SmallVec::from_iter([
                            (band, SmallVec::from_slice(&[along, from])),
                            (operand, labels),
                        ]),
                        output: result_labels.clone(),
                    };
                    let step = self.push(index, product, shape.clone());
                    terms.push((Coefficient(1.0), step, result_labels.clone()));
                }
                let output = result_labels;
                self.push(index, Operation::Sum { terms, output }, shape)
            }
            Equation::Convert {
                operand: (var, labels),
                output: result,
            } => {
                let operand = self.operand(index, *var);
                let labels = self.named(&mut names, *var, labels);
                let output = self.named(&mut names, output, result);
                let product = Operation::Product {
                    operands: SmallVec::from_iter([(operand, labels)]),
                    output,
                };
                self.push(index, product, shape)
            }
            Equation::Reshape {
                operand: (var, _),
                from,
                to,
                ..
            } => {
                let operand = self.operand(index, *var);
                let (mut labels, mut result) = (Labels::new(), Labels::new());
                for (ins, outs) in runs(from, to) {
                    // Parts longer than one are the same on both sides, in the same order.
                    let common = names.fresh();
                    let sides = [(*var, ins, &mut labels), (output, outs, &mut result)];
                    let mut most = 0;
                    for (var, run, side) in sides {
                        let mut next = 0;
                        for part in run.flat_map(|axis| self.parts(var, axis)) {
                            match part {
                                1 => side.push(Label::MAX),
                                _ => {
                                    side.push(common + next);
                                    next += 1;
                                }
                            }
                        }
                        most = most.max(next);
                    }
                    names.skip(most);
                }
                for label in labels.iter_mut().chain(&mut result) {
                    if *label == Label::MAX {
                        *label = names.fresh();
                    }
                }
                let product = Operation::Product {
                    operands: SmallVec::from_iter([(operand, labels)]),
                    output: result,
                };
                self.push(index, product, shape)
            }
        }
    }

    fn parts(&self, var: Var, axis: usize) -> Parts {
        let size = self.reading.program.aval(var).shape.get(axis).copied();
        self.refinement.parts(var, axis, size.unwrap_or(1))
    }

    /// The labels of a variable's axes with all of them taken apart.
    fn named(&self, names: &mut Names, var: Var, labels: &[Label]) -> Labels {
        let mut all = Labels::new();
        for (axis, label) in labels.iter().enumerate() {
            all.extend(names.of(*label, self.parts(var, axis).len()));
        }
        all
    }

    /// The product of factors with one of several structures that move them: a single step moves along one axis.
    fn moved(
        &mut self,
        place: usize,
        factors: SmallVec<[(u32, Labels); 2]>,
        mover: (u32, Labels),
        result: &Labels,
    ) -> (u32, Labels) {
        let problem = &self.island.problem;
        let ends = |label: &Label| mover.1.contains(label);
        let (mut output, mut shape) = (Labels::new(), Shape::new());
        let carried = factors.iter().chain([&mover]);
        for (step, labels) in carried {
            for (label, size) in labels.iter().zip(problem.shape(*step)) {
                let stays = !ends(label) || result.contains(label);
                if stays && !output.contains(label) {
                    output.push(*label);
                    shape.push(*size);
                }
            }
        }
        let operands = factors.into_iter().chain([mover]).collect();
        let product = Operation::Product {
            operands,
            output: output.clone(),
        };
        (self.push(place, product, shape), output)
    }

    /// The leaf that says where elements go by an index.
    fn index(&mut self, place: usize, var: Var, shape: &[usize], kind: Structure) -> u32 {
        let shape = Shape::from_slice(shape);
        if let Some(step) = self.index_of.get(&(var, shape.clone(), kind)) {
            return *step;
        }
        let leaf = self.island.leaves.len() as u32;
        self.island.leaves.push(var);
        self.island.problem.leaves.push(Leaf {
            shape: shape.clone(),
            moves: Some(kind),
            given: false,
            after: SmallVec::new(),
        });
        let op = self.reading.program.eqns()[place].op.clone();
        self.island.moving.insert(leaf, op);
        let step = self.push(place, Operation::Leaf(leaf), shape.clone());
        self.index_of.insert((var, shape, kind), step);
        step
    }

    fn one(&mut self, index: usize) -> u32 {
        let number = Operation::Product {
            operands: SmallVec::new(),
            output: Labels::new(),
        };
        self.push(index, number, Shape::new())
    }

    /// Marks the steps of a definition: of which components they are, and which axes of them come from which of the value's.
    fn value(&mut self, definition: &Definition) {
        let eqn = self.reading.program.eqns().get(definition.eqn);
        let whole = eqn.and_then(|eqn| eqn.outputs.first());
        let Some(whole) = whole.and_then(|whole| self.step_of.get(whole)).copied() else {
            return;
        };
        let shape = self.island.problem.shape(whole);
        let long = (0..shape.len().min(32)).filter(|axis| shape[*axis] != 1);
        let axes = long.fold(0, |all, axis| all | 1 << axis);
        let size = shape.iter().product();
        let origins = origins(&self.island.problem, whole);
        let problem = &mut self.island.problem;
        let value = problem.values.len() as u32;
        problem.values.push(Value {
            axes,
            size,
            allow_materialise: definition.allow_materialise,
        });
        self.island.values.push(definition.eqn);
        for member in &definition.members {
            if let Some(step) = self.step_of.get(&member.var)
                && let Some(origins) = origins.get(*step as usize)
            {
                problem.marks.push(Mark {
                    step: *step,
                    value,
                    components: member.components,
                    origins: origins.clone(),
                });
            }
        }
    }
}

/// For each step up to `whole`, the axes of `whole` that come from each of its axes, one bit each. Walking up, each axis carries
/// its label to the axes of the operands that have it; so for a low-rank update `w[i,k] + Σᵣ a[i,r]·b[r,k]` the second axis of
/// `a` comes from nowhere and the first from the value's first.
fn origins(problem: &Problem, whole: u32) -> Vec<SmallVec<[u32; 4]>> {
    let count = whole as usize + 1;
    let steps = problem.steps.get(..count).unwrap_or(&[]);
    let mut origins: Vec<SmallVec<[u32; 4]>> = steps
        .iter()
        .map(|step| SmallVec::from_elem(0, step.shape.len()))
        .collect();
    if let Some(own) = origins.last_mut() {
        for (axis, slot) in own.iter_mut().enumerate().take(32) {
            *slot = 1 << axis;
        }
    }
    for (index, step) in steps.iter().enumerate().rev() {
        let (operands, output): (SmallVec<[(u32, &Labels); 3]>, &Labels) = match &step.operation {
            Operation::Leaf(_) | Operation::Band(_) => continue,
            Operation::Product { operands, output } => {
                (operands.iter().map(|(o, l)| (*o, l)).collect(), output)
            }
            Operation::Sum { terms, output } => {
                (terms.iter().map(|(_, o, l)| (*o, l)).collect(), output)
            }
        };
        let mut of_label: FxHashMap<Label, u32> = FxHashMap::default();
        for (label, origin) in output.iter().zip(&origins[index]) {
            *of_label.entry(*label).or_insert(0) |= origin;
        }
        // Through a band an axis of the operand is an axis of the result.
        for (operand, labels) in &operands {
            let band = matches!(steps[*operand as usize].operation, Operation::Band(_));
            if let (true, [to, from]) = (band, labels.as_slice()) {
                let origin = of_label.get(to).copied().unwrap_or(0);
                *of_label.entry(*from).or_insert(0) |= origin;
            }
        }
        for (operand, labels) in operands {
            for (axis, label) in labels.iter().enumerate() {
                if let Some(slot) = origins[operand as usize].get_mut(axis) {
                    *slot |= of_label.get(label).copied().unwrap_or(0);
                }
            }
        }
    }
    origins
}

/// The names of the parts of an equation's axes.
#[derive(Default)]
struct Names {
    of_label: FxHashMap<Label, Labels>,
    next: Label,
}

impl Names {
    /// The names of an axis of so many parts.
    fn of(&mut self, label: Label, parts: usize) -> Labels {
        if let Some(known) = self.of_label.get(&label) {
            return known.clone();
        }
        let names: Labels = (0..parts).map(|_| self.fresh()).collect();
        self.of_label.insert(label, names.clone());
        names
    }

    /// Names for both sides of a moved axis, which differ in the outermost part only; those of that part.
    fn moved(&mut self, to: Label, from: Label, parts: usize) -> [Label; 2] {
        let mut names = self.of(to, parts);
        let outermost = names.first().copied().unwrap_or(0);
        let moved = self.fresh();
        if let Some(first) = names.first_mut() {
            *first = moved;
        }
        self.of_label.insert(from, names);
        [outermost, moved]
    }

    fn fresh(&mut self) -> Label {
        self.skip(1);
        self.next - 1
    }

    fn skip(&mut self, count: Label) {
        self.next += count;
    }
}
