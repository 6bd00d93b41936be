//! What belongs to the definition of a value, and which axes of it come from which of the value's.
//!
//! A definition is what lies between the marks of a value's components and the mark of the array that they yield. Walking up
//! from that array, each axis carries its label to the axes of the operands that have it; so for a low-rank update
//! `w[i,k] + Σᵣ a[i,r]·b[r,k]` the second axis of `a` comes from nowhere and the first from the value's first. Nothing of
//! this knows of any particular type, and a batched definition has one axis more in the same way.
//!
//! Where a component is itself a value, the walk goes on into its definition: all of that belongs to one component of the
//! outer value.

use super::equation::{Equation, mark};
use super::problem::Value;
use crate::trace::{Jaxpr, Var};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// For each axis of a variable, the axes of the value that come from it, one bit each.
pub(super) type Origins = SmallVec<[u32; 4]>;

/// A variable that belongs to a definition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// The variable: the result of a mark, or something that comes from outside.
    pub(super) var: Var,
    /// The components that it is, one bit each; none for what is no component.
    pub(super) components: u64,
    /// Which axes of the value come from it.
    pub(super) origins: Origins,
}

/// The definition of a value in a program.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// The equation that marks the array that it yields.
    pub(super) eqn: usize,
    /// The equations that it consists of, that one included.
    pub(super) eqns: Vec<usize>,
    /// What it is made of.
    pub(super) members: Vec<Member>,
    /// What the algebra needs to know of the value.
    pub(super) value: Value,
}

/// The equations of a program, and who makes which variable.
pub(super) struct Reading<'a> {
    pub(super) program: &'a Jaxpr,
    /// The equations that are algebra.
    pub(super) equations: Vec<Option<Equation>>,
    /// For each variable the equation that makes it, if there is one.
    producer: Vec<u32>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(program: &'a Jaxpr) -> Reading<'a> {
        let mut producer = vec![u32::MAX; program.var_count()];
        for (index, eqn) in program.eqns().iter().enumerate() {
            for var in &eqn.outputs {
                if let Some(slot) = producer.get_mut(var.index()) {
                    *slot = index as u32;
                }
            }
        }
        let equations = program
            .eqns()
            .iter()
            .map(|eqn| Equation::read(program, eqn))
            .collect();
        Reading {
            program,
            equations,
            producer,
        }
    }

    /// The equation that makes a variable.
    pub(super) fn producer(&self, var: Var) -> Option<usize> {
        let index = *self.producer.get(var.index())?;
        (index != u32::MAX).then_some(index as usize)
    }

    /// The equation that makes a variable, if it is algebra.
    pub(super) fn algebra(&self, var: Var) -> Option<(usize, &Equation)> {
        let index = self.producer(var)?;
        Some((index, self.equations.get(index)?.as_ref()?))
    }

    /// All definitions, in the order of the program.
    pub(super) fn definitions(&self) -> Vec<Definition> {
        let eqns = self.program.eqns().iter().enumerate();
        eqns.filter(|(_, eqn)| mark(eqn).is_some_and(|mark| mark.field.is_none()))
            .filter_map(|(index, _)| self.definition(index))
            .collect()
    }

    /// The definition that ends in this mark; `None` if it is not algebra, or no component is in it.
    fn definition(&self, end: usize) -> Option<Definition> {
        let eqn = self.program.eqns().get(end)?;
        let own = mark(eqn)?;
        self.equations.get(end)?.as_ref()?;
        let whole = self.program.aval(*eqn.outputs.first()?);
        if whole.ndim() > 32 {
            return None;
        }
        let mut walk = Walk {
            reading: self,
            value: own.value,
            pending: BTreeSet::new(),
            known: FxHashMap::default(),
            eqns: FxHashSet::default(),
            members: Vec::new(),
            component_found: false,
        };
        walk.eqns.insert(end);
        let origins: Origins = (0..whole.ndim()).map(|axis| 1 << axis).collect();
        walk.reach(eqn.inputs.first()?.var()?, 0, &origins);
        while let Some(index) = walk.pending.pop_last() {
            walk.visit(index);
        }
        if !walk.component_found {
            return None;
        }
        let long = |axis: &usize| whole.shape.get(*axis).is_some_and(|size| *size != 1);
        let axes = (0..whole.ndim())
            .filter(long)
            .fold(0, |all, i| all | 1 << i);
        let mut eqns: Vec<usize> = walk.eqns.into_iter().collect();
        eqns.sort_unstable();
        walk.members.sort_by_key(|member| member.var);
        Some(Definition {
            eqn: end,
            eqns,
            members: walk.members,
            value: Value {
                axes,
                allow_materialise: own.allow_materialise,
            },
        })
    }
}

struct Walk<'a> {
    reading: &'a Reading<'a>,
    value: u64,
    /// Equations to visit, the last of the program first.
    pending: BTreeSet<usize>,
    /// What is known of the variables that were reached: of which components they are part, and where axes go.
    known: FxHashMap<Var, (u64, Origins)>,
    eqns: FxHashSet<usize>,
    members: Vec<Member>,
    component_found: bool,
}

impl Walk<'_> {
    fn reach(&mut self, var: Var, components: u64, origins: &[u32]) {
        let known = self
            .known
            .entry(var)
            .or_insert_with(|| (0, SmallVec::from_elem(0, origins.len())));
        known.0 |= components;
        for (slot, origin) in known.1.iter_mut().zip(origins) {
            *slot |= origin;
        }
        match self.reading.algebra(var) {
            Some((index, _)) => {
                self.pending.insert(index);
            }
            None => self.member(var),
        }
    }

    /// Notes a variable as part of the definition, with what is known of it by now.
    fn member(&mut self, var: Var) {
        let Some((components, origins)) = self.known.get(&var).cloned() else {
            return;
        };
        self.members.retain(|member| member.var != var);
        self.members.push(Member {
            var,
            components,
            origins,
        });
    }

    fn visit(&mut self, index: usize) {
        let Some(eqn) = self.reading.program.eqns().get(index) else {
            return;
        };
        let Some(Some(equation)) = self.reading.equations.get(index) else {
            return;
        };
        let Some(output) = eqn.outputs.first().copied() else {
            return;
        };
        let Some((mut components, origins)) = self.known.get(&output).cloned() else {
            return;
        };
        self.eqns.insert(index);
        if let Some(mark) = mark(eqn)
            && let Some(field) = mark.field
        {
            if mark.value == self.value && components == 0 {
                components = 1 << field.min(63);
                self.component_found = true;
                if let Some(known) = self.known.get_mut(&output) {
                    known.0 = components;
                }
            }
            self.member(output);
            // What a component is made of is nobody's business, unless it is a value itself.
            if !self.leads_to_value(eqn.inputs.first().and_then(|a| a.var())) {
                return;
            }
        }
        for (var, labels) in equation.operands() {
            let passed: Origins = labels
                .iter()
                .map(|label| {
                    let axis = equation.output().iter().position(|l| l == label);
                    axis.and_then(|axis| origins.get(axis).copied())
                        .unwrap_or(0)
                })
                .collect();
            self.reach(var, components, &passed);
        }
    }

    /// Whether a variable is, but for identities, the array that a value's definition yields.
    fn leads_to_value(&self, var: Option<Var>) -> bool {
        let mut var = var;
        while let Some(current) = var {
            let Some((index, equation)) = self.reading.algebra(current) else {
                return false;
            };
            let Some(eqn) = self.reading.program.eqns().get(index) else {
                return false;
            };
            if mark(eqn).is_some_and(|mark| mark.field.is_none()) {
                return true;
            }
            var = equation.identity();
        }
        false
    }
}
