//! Islands: maximal pieces of a program that are algebra and where a better plan may be found.
//!
//! Not every equation that is algebra is worth a search. An island grows from contractions and from the definitions of values,
//! along variables where a law may apply: through products, through renamings and scalings, into sums of products, and through
//! anything that is made of a value before it is contracted. A tensor that has to be formed anyway (the sums of a residual
//! stream) bounds islands, so that each layer is an island of its own and equal layers are solved once.

use super::definition::{Definition, Reading};
use super::equation::{Equation, Kind, mark};
use super::language::{Coefficient, Labels, Shape};
use super::problem::{Leaf, Mark, Operation, Problem};
use crate::trace::{Atom, Jaxpr, Var};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

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
}

/// All islands of a program, in the order of their first equations.
pub(super) fn islands(program: &Jaxpr) -> Vec<Island> {
    let reading = Reading::new(program);
    let definitions = reading.definitions();
    let groups = Groups::new(&reading, &definitions);
    let count = groups.members.len();
    let users = users(program, &groups);
    let mut islands: Vec<Island> = Vec::with_capacity(count);
    for eqns in groups.members {
        let builder = Builder {
            reading: &reading,
            step_of: FxHashMap::default(),
            component_of: FxHashMap::default(),
            island: Island {
                problem: Problem::new(itemsize(program, &eqns)),
                eqns,
                leaves: Vec::new(),
                roots: Vec::new(),
                origin: Vec::new(),
                values: Vec::new(),
            },
        };
        islands.push(builder.build(&definitions, &users));
    }
    islands
}

fn itemsize(program: &Jaxpr, eqns: &[usize]) -> u32 {
    let eqn = eqns.first().and_then(|eqn| program.eqns().get(*eqn));
    let var = eqn.and_then(|eqn| eqn.outputs.first().copied());
    var.map_or(4, |var| program.aval(var).dtype.size() as u32)
}

/// Whether a variable is read outside of the group that makes it.
fn users(program: &Jaxpr, groups: &Groups) -> Vec<bool> {
    let mut maker = vec![u32::MAX; program.var_count()];
    for (index, eqn) in program.eqns().iter().enumerate() {
        for var in &eqn.outputs {
            if let Some(slot) = maker.get_mut(var.index()) {
                *slot = groups.group_of[index];
            }
        }
    }
    let mut outside = vec![false; program.var_count()];
    let mut read = |atom: &Atom, group: u32| {
        if let Some(var) = atom.var()
            && maker.get(var.index()).is_some_and(|maker| *maker != group)
            && let Some(slot) = outside.get_mut(var.index())
        {
            *slot = true;
        }
    };
    for (index, eqn) in program.eqns().iter().enumerate() {
        for atom in &eqn.inputs {
            read(atom, groups.group_of[index]);
        }
    }
    for atom in program.outs() {
        read(atom, u32::MAX - 1);
    }
    outside
}

/// The equations of a program in groups that are worth a search.
struct Groups {
    /// The equations of each group, in order.
    members: Vec<Vec<usize>>,
    /// The group of each equation, `u32::MAX` for none.
    group_of: Vec<u32>,
}

impl Groups {
    fn new(reading: &Reading, definitions: &[Definition]) -> Groups {
        let program = reading.program;
        let count = program.eqns().len();
        let kinds: Vec<Option<Kind>> = reading
            .equations
            .iter()
            .map(|equation| equation.as_ref().map(Equation::kind))
            .collect();
        // The equations of definitions, and what is made of them before it is contracted.
        let mut inside = vec![false; count];
        for definition in definitions {
            for eqn in &definition.eqns {
                inside[*eqn] = true;
            }
        }
        let is_component = |index: usize| {
            let mark = program.eqns().get(index).and_then(mark);
            mark.is_some_and(|mark| mark.field.is_some())
        };
        let mut unformed = vec![false; program.var_count()];
        let mut touched = inside.clone();
        let mut uses = vec![0u32; program.var_count()];
        for (index, eqn) in program.eqns().iter().enumerate() {
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                if let Some(uses) = uses.get_mut(var.index()) {
                    *uses += 1;
                }
            }
            let (Some(equation), Some(output)) = (&reading.equations[index], eqn.outputs.first())
            else {
                continue;
            };
            let mut stays = inside[index] && !is_component(index);
            for (var, _) in equation.operands() {
                if unformed[var.index()] {
                    touched[index] = true;
                    stays |= !equation.sums_over(var);
                }
            }
            unformed[output.index()] = stays;
        }
        for var in program.outs().iter().filter_map(Atom::var) {
            if let Some(uses) = uses.get_mut(var.index()) {
                *uses += 1;
            }
        }

        // Sums of products that only contractions read: to multiply them out may be cheaper.
        let mut only_contracted = vec![true; program.var_count()];
        for (index, eqn) in program.eqns().iter().enumerate() {
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                let viewed = kinds[index] == Some(Kind::View)
                    && eqn.outputs.iter().all(|var| uses[var.index()] == 1);
                only_contracted[var.index()] &= viewed || kinds[index] == Some(Kind::Contraction);
            }
        }
        for var in program.outs().iter().filter_map(Atom::var) {
            only_contracted[var.index()] = false;
        }
        let sums_products = |index: usize| {
            let inputs = program.eqns()[index].inputs.iter().filter_map(Atom::var);
            let mut makers = inputs.filter_map(|var| reading.producer(var));
            makers.any(|maker| matches!(kinds[maker], Some(Kind::Contraction | Kind::View)))
        };

        let mut sets = Sets::new(count);
        // A definition may stand there more than once, but it is about the same components.
        let mut first_of: FxHashMap<u64, usize> = FxHashMap::default();
        for (index, eqn) in program.eqns().iter().enumerate() {
            if inside[index]
                && let Some(mark) = mark(eqn)
            {
                let first = *first_of.entry(mark.value).or_insert(index);
                sets.join(first, index);
            }
        }
        for (index, eqn) in program.eqns().iter().enumerate() {
            let Some(kind) = kinds[index] else { continue };
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                let Some((maker, _)) = reading.algebra(var) else {
                    continue;
                };
                let Some(made_by) = kinds[maker] else {
                    continue;
                };
                let joins = unformed[var.index()]
                    || inside[maker]
                    || match (made_by, kind) {
                        (Kind::Elementwise, _) | (_, Kind::Elementwise) => {
                            touched[index] && matches!(made_by, Kind::Broadcast | Kind::View)
                        }
                        (Kind::Broadcast, _) => {
                            touched[index] || matches!(kind, Kind::Contraction | Kind::View)
                        }
                        (_, Kind::Broadcast) => touched[index],
                        (Kind::Sum, Kind::Sum) => uses[var.index()] == 1,
                        (Kind::Sum, Kind::Contraction | Kind::View) => {
                            only_contracted[var.index()] && sums_products(maker)
                        }
                        (Kind::Sum, _) => false,
                        (Kind::Contraction | Kind::View | Kind::Reduction, _) => true,
                    };
                if joins {
                    sets.join(maker, index);
                }
            }
        }

        // A group is worth it if it holds a definition, or two contractions.
        let mut worth: FxHashMap<usize, u32> = FxHashMap::default();
        for (index, kind) in kinds.iter().enumerate() {
            let weight = match kind {
                _ if inside[index] => 2,
                Some(Kind::Contraction) => 1,
                _ => continue,
            };
            *worth.entry(sets.find(index)).or_insert(0) += weight;
        }
        let mut groups = Groups {
            members: Vec::new(),
            group_of: vec![u32::MAX; count],
        };
        let mut numbers: FxHashMap<usize, u32> = FxHashMap::default();
        for (index, kind) in kinds.iter().enumerate() {
            let set = sets.find(index);
            if kind.is_none() || worth.get(&set).is_none_or(|worth| *worth < 2) {
                continue;
            }
            let number = *numbers.entry(set).or_insert_with(|| {
                groups.members.push(Vec::new());
                groups.members.len() as u32 - 1
            });
            groups.group_of[index] = number;
            groups.members[number as usize].push(index);
        }
        groups
    }
}

/// Disjoint sets of equations.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Sets {
        Sets((0..count).collect())
    }

    fn find(&mut self, index: usize) -> usize {
        let mut root = index;
        while self.0[root] != root {
            self.0[root] = self.0[self.0[root]];
            root = self.0[root];
        }
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

struct Builder<'a> {
    reading: &'a Reading<'a>,
    island: Island,
    step_of: FxHashMap<Var, u32>,
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
        self.island.eqns = eqns;
        self.order_leaves();
        self.island
    }

    fn push(&mut self, index: usize, operation: Operation, shape: Shape) -> u32 {
        self.island.origin.push(index);
        self.island.problem.push(operation, shape)
    }

    fn shape(&self, var: Var) -> Shape {
        Shape::from_slice(&self.reading.program.aval(var).shape)
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
            after: SmallVec::new(),
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
        match equation {
            Equation::Product {
                coefficient,
                operands,
                output,
            } => {
                let operands = operands
                    .iter()
                    .map(|(var, labels)| (self.operand(index, *var), labels.clone()))
                    .collect();
                let product = Operation::Product {
                    operands,
                    output: output.clone(),
                };
                let step = self.push(index, product, shape.clone());
                if *coefficient == 1.0 {
                    return step;
                }
                let terms =
                    SmallVec::from_iter([(Coefficient(*coefficient), step, output.clone())]);
                let output = output.clone();
                self.push(index, Operation::Sum { terms, output }, shape)
            }
            Equation::Sum { terms, output } => {
                let terms = terms
                    .iter()
                    .map(|(coefficient, var, labels)| {
                        let step = match var {
                            Some(var) => self.operand(index, *var),
                            None => self.one(index),
                        };
                        (Coefficient(*coefficient), step, labels.clone())
                    })
                    .collect();
                let output = output.clone();
                self.push(index, Operation::Sum { terms, output }, shape)
            }
        }
    }

    fn one(&mut self, index: usize) -> u32 {
        let number = Operation::Product {
            operands: SmallVec::new(),
            output: Labels::new(),
        };
        self.push(index, number, Shape::new())
    }

    /// Marks the steps of a definition.
    fn value(&mut self, definition: &Definition) {
        let problem = &mut self.island.problem;
        let value = problem.values.len() as u32;
        problem.values.push(definition.value.clone());
        self.island.values.push(definition.eqn);
        for member in &definition.members {
            if let Some(step) = self.step_of.get(&member.var) {
                problem.marks.push(Mark {
                    step: *step,
                    value,
                    components: member.components,
                    origins: member.origins.clone(),
                });
            }
        }
    }

    /// Notes which leaves come out of which roots, through equations outside of the island.
    fn order_leaves(&mut self) {
        let program = self.reading.program;
        let makers: SmallVec<[Option<usize>; 8]> = self
            .island
            .leaves
            .iter()
            .map(|var| self.reading.producer(*var))
            .collect();
        let first = self.island.roots.first();
        let first = first.and_then(|root| self.reading.producer(*root));
        let last = makers.iter().copied().flatten().max();
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        if last < first {
            return;
        }
        let mut depends: FxHashMap<Var, SmallVec<[u32; 2]>> = FxHashMap::default();
        for (number, root) in self.island.roots.iter().enumerate() {
            depends.insert(*root, SmallVec::from_iter([number as u32]));
        }
        for (index, eqn) in program.eqns().iter().enumerate().take(last + 1).skip(first) {
            if self.island.eqns.binary_search(&index).is_ok() {
                continue;
            }
            let mut all: SmallVec<[u32; 2]> = SmallVec::new();
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                if let Some(roots) = depends.get(&var) {
                    all.extend(roots.iter().copied());
                }
            }
            if !all.is_empty() {
                all.sort_unstable();
                all.dedup();
                for var in &eqn.outputs {
                    depends.insert(*var, all.clone());
                }
            }
        }
        for (leaf, var) in self
            .island
            .problem
            .leaves
            .iter_mut()
            .zip(&self.island.leaves)
        {
            if let Some(roots) = depends.get(var)
                && !self.island.roots.contains(var)
            {
                leaf.after.clone_from(roots);
            }
        }
    }
}
