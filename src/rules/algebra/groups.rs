//! Which equations make an island: maximal pieces of a program that are algebra and where a better plan may be found.
//!
//! Not every equation that is algebra is worth a search. An island grows from contractions and from the definitions of values,
//! along variables where a law may apply: through products, through renamings and scalings, into sums of products, and through
//! anything that is made of a value before it is contracted. A tensor that has to be formed anyway (the sums of a residual
//! stream) bounds islands, so that each layer is an island of its own and equal layers are solved once.

use super::definition::{Definition, Reading};
use super::equation::{Equation, Kind, mark};
use super::language::Label;
use crate::trace::{Atom, Eqn, Jaxpr};
use rustc_hash::FxHashMap;

/// Whether a variable is read outside of the group that makes it.
pub(super) fn users(program: &Jaxpr, groups: &Groups) -> Vec<bool> {
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
pub(super) struct Groups {
    /// The equations of each group, in order.
    pub(super) members: Vec<Vec<usize>>,
    /// The group of each equation, `u32::MAX` for none.
    pub(super) group_of: Vec<u32>,
}

impl Groups {
    /// A single contraction is worth a search if something is `stated` about products.
    pub(super) fn new(reading: &Reading, definitions: &[Definition], stated: bool) -> Groups {
        let program = reading.program;
        let count = program.eqns().len();
        let kinds: Vec<Option<Kind>> = (reading.equations.iter().zip(program.eqns()))
            .map(|(equation, eqn)| {
                let equation = equation.as_ref()?;
                match equation.kind() {
                    // Axes of length one come and go.
                    Kind::Broadcast | Kind::Reduction if only_units(program, eqn, equation) => {
                        Some(Kind::View)
                    }
                    kind => Some(kind),
                }
            })
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

        // Sums of products that only contractions and reductions read: to multiply them out may be cheaper.
        let mut only_contracted = vec![true; program.var_count()];
        for (index, eqn) in program.eqns().iter().enumerate() {
            for var in eqn.inputs.iter().filter_map(Atom::var) {
                let viewed = kinds[index] == Some(Kind::View)
                    && eqn.outputs.iter().all(|var| uses[var.index()] == 1);
                let contracted = matches!(kinds[index], Some(Kind::Contraction | Kind::Reduction));
                only_contracted[var.index()] &= viewed || contracted;
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
                        // What is rounded in between is not the same, but for values that must not be formed.
                        (Kind::Convert, _) | (_, Kind::Convert) => false,
                        // A product of tensors that is multiplied with something made of a value need not be formed either.
                        (Kind::Elementwise, _) | (_, Kind::Elementwise) => {
                            let product = Kind::Contraction;
                            touched[index]
                                && (matches!(made_by, Kind::Broadcast | Kind::View)
                                    || made_by == product && kind == Kind::Elementwise)
                        }
                        (Kind::Broadcast, _) => {
                            touched[index] || matches!(kind, Kind::Contraction | Kind::View)
                        }
                        (_, Kind::Broadcast) => touched[index],
                        (Kind::Sum, Kind::Sum) => uses[var.index()] == 1,
                        (Kind::Sum, Kind::Contraction | Kind::View | Kind::Reduction) => {
                            only_contracted[var.index()] && sums_products(maker)
                        }
                        (Kind::Contraction | Kind::View | Kind::Reduction, _) => true,
                    };
                if joins {
                    sets.join(maker, index);
                }
            }
        }

        // A group is worth it if it holds a definition, two contractions, or one that something sums over or takes a part of.
        let mut worth: FxHashMap<usize, Worth> = FxHashMap::default();
        for (index, kind) in kinds.iter().enumerate() {
            let own = worth.entry(sets.find(index)).or_default();
            match kind {
                _ if inside[index] => own.defines = true,
                Some(Kind::Contraction) => own.contractions += 1,
                Some(Kind::Reduction) => own.asks_for_less = true,
                Some(Kind::View) => {
                    let equation = reading.equations[index].as_ref();
                    own.asks_for_less |= matches!(equation, Some(Equation::Product { moves, .. }) if !moves.is_empty());
                }
                _ => {}
            }
        }
        let mut groups = Groups {
            members: Vec::new(),
            group_of: vec![u32::MAX; count],
        };
        let mut numbers: FxHashMap<usize, u32> = FxHashMap::default();
        for (index, kind) in kinds.iter().enumerate() {
            let set = sets.find(index);
            if kind.is_none() || worth.get(&set).is_none_or(|worth| !worth.search(stated)) {
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

/// Whether the axes that a product of one tensor fills or sums over are all of length one.
fn only_units(program: &Jaxpr, eqn: &Eqn, equation: &Equation) -> bool {
    let Equation::Product {
        operands, output, ..
    } = equation
    else {
        return false;
    };
    let [(var, labels)] = operands.as_slice() else {
        return false;
    };
    let Some(result) = eqn.outputs.first() else {
        return false;
    };
    let (from, to) = (&program.aval(*var).shape, &program.aval(*result).shape);
    let units = |own: &[Label], shape: &[usize], others: &[Label]| {
        let mut axes = own.iter().zip(shape);
        axes.all(|(label, size)| *size == 1 || others.contains(label))
    };
    units(labels, from, output) && units(output, to, labels)
}

/// What a group holds that a search may improve.
#[derive(Default)]
struct Worth {
    defines: bool,
    contractions: u32,
    /// Something is summed, or a part of it is taken.
    asks_for_less: bool,
}

impl Worth {
    fn search(&self, stated: bool) -> bool {
        let least = match stated || self.asks_for_less {
            true => 1,
            false => 2,
        };
        self.defines || self.contractions >= least
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
