//! What belongs to the definition of a value.
//!
//! A definition is what lies between the marks of a value's components and the mark of the array that they yield. Nothing of
//! this knows of any particular type, and a batched definition is one in the same way.
//!
//! Where a component is itself a value, the walk goes on into its definition: all of that belongs to one component of the
//! outer value.

use super::equation::{Equation, mark};
use crate::array::{Array, DType};
use crate::trace::{Atom, Eqn, Jaxpr, Var, bind_all, eager, op::Op};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// An index is known if it follows from at most so many equations in a row …
const MOST_KNOWN: usize = 6;
/// … of arrays of at most so many elements.
const MOST_KNOWN_ELEMENTS: usize = 1 << 16;

/// A variable that belongs to a definition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// The variable: the result of a mark, or something that comes from outside.
    pub(super) var: Var,
    /// The components that it is, one bit each; none for what is no component.
    pub(super) components: u64,
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
    /// May a plan hold that array?
    pub(super) allow_materialise: bool,
    /// An operation that is no algebra and gives, from two components or more, something as large as that array: whatever the
    /// plan, it is formed.
    pub(super) opaque: Option<usize>,
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
        let mut reading = Reading {
            program,
            equations: Vec::new(),
            producer,
        };
        let is_zero = |var: Var| {
            let made = reading
                .producer(var)
                .and_then(|made| program.eqns().get(made));
            let blank = made.filter(|eqn| matches!(eqn.op, Op::BroadcastInDim(_)));
            let literal = blank.and_then(|eqn| eqn.inputs.first());
            literal.is_some_and(|atom| match atom {
                Atom::Lit(literal) => literal.value().as_f64() == Some(0.0),
                Atom::Var(_) => false,
            })
        };
        let known = |var: Var| {
            let places = reading.known(var, MOST_KNOWN)?;
            eager(|| places.astype(DType::I64)).to_vec().ok()
        };
        let eqns = program.eqns().iter();
        let equations = eqns
            .map(|eqn| Equation::read(program, eqn, is_zero, known))
            .collect();
        reading.equations = equations;
        reading
    }

    /// The integers or truth values that a variable holds, if they follow from so few equations without operands.
    fn known(&self, var: Var, equations: usize) -> Option<Array> {
        let eqn = self.program.eqns().get(self.producer(var)?)?;
        let aval = self.program.aval(var);
        let discrete = aval.dtype.is_integer() || aval.dtype == DType::Bool;
        let large = equations == 0 || aval.size() > MOST_KNOWN_ELEMENTS;
        if large || !discrete || eqn.op.inner().is_some() || matches!(eqn.op, Op::Custom(_)) {
            return None;
        }
        let inputs = eqn.inputs.iter().map(|atom| match atom {
            Atom::Lit(literal) => Some(literal.array()),
            Atom::Var(var) => self.known(*var, equations - 1),
        });
        let inputs: Vec<Array> = inputs.collect::<Option<_>>()?;
        eager(|| bind_all(eqn.op.clone(), &inputs))
            .ok()?
            .into_iter()
            .next()
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
        let mut walk = Walk {
            reading: self,
            value: own.value,
            elements: self.program.aval(*eqn.outputs.first()?).size(),
            pending: BTreeSet::new(),
            known: FxHashMap::default(),
            eqns: FxHashSet::default(),
            members: Vec::new(),
            component_found: false,
            opaque: None,
        };
        walk.eqns.insert(end);
        walk.reach(eqn.inputs.first()?.var()?, 0);
        while let Some(index) = walk.pending.pop_last() {
            walk.visit(index);
        }
        if !walk.component_found && walk.opaque.is_none() {
            return None;
        }
        let mut eqns: Vec<usize> = walk.eqns.into_iter().collect();
        eqns.sort_unstable();
        walk.members.sort_by_key(|member| member.var);
        Some(Definition {
            eqn: end,
            eqns,
            members: walk.members,
            allow_materialise: own.allow_materialise,
            opaque: walk.opaque,
        })
    }

    /// The components of a value on which a variable depends through whatever equations, one bit each.
    fn components_below(&self, var: Var, value: u64) -> u64 {
        let field = |eqn: &Eqn| mark(eqn).filter(|m| m.value == value).and_then(|m| m.field);
        let eqns = self.program.eqns();
        let Some(first) = eqns.iter().position(|eqn| field(eqn).is_some()) else {
            return 0;
        };
        let mut components = 0;
        let mut seen = FxHashSet::default();
        let mut pending = vec![var];
        while let Some(var) = pending.pop() {
            let Some(index) = self.producer(var).filter(|index| *index >= first) else {
                continue;
            };
            let Some(eqn) = eqns.get(index).filter(|_| seen.insert(index)) else {
                continue;
            };
            match field(eqn) {
                Some(field) => components |= 1 << field.min(63),
                None => pending.extend(eqn.inputs.iter().filter_map(Atom::var)),
            }
        }
        components
    }
}

struct Walk<'a> {
    reading: &'a Reading<'a>,
    value: u64,
    /// Number of elements of what the definition yields.
    elements: usize,
    /// Equations to visit, the last of the program first.
    pending: BTreeSet<usize>,
    /// Of which components the variables that were reached are part.
    known: FxHashMap<Var, u64>,
    eqns: FxHashSet<usize>,
    members: Vec<Member>,
    component_found: bool,
    opaque: Option<usize>,
}

impl Walk<'_> {
    fn reach(&mut self, var: Var, components: u64) {
        *self.known.entry(var).or_insert(0) |= components;
        match self.reading.algebra(var) {
            Some((index, _)) => {
                self.pending.insert(index);
            }
            None => {
                if components == 0 {
                    let below = self.reading.components_below(var, self.value);
                    let size = self.reading.program.aval(var).size();
                    if below.count_ones() > 1 && size >= self.elements {
                        self.opaque = self.reading.producer(var);
                    }
                    *self.known.entry(var).or_insert(0) |= below;
                    self.component_found |= below != 0;
                }
                self.member(var);
            }
        }
    }

    /// Notes a variable as part of the definition, with what is known of it by now.
    fn member(&mut self, var: Var) {
        let Some(components) = self.known.get(&var).copied() else {
            return;
        };
        self.members.retain(|member| member.var != var);
        self.members.push(Member { var, components });
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
        let Some(mut components) = self.known.get(&output).copied() else {
            return;
        };
        self.eqns.insert(index);
        if let Some(mark) = mark(eqn)
            && let Some(field) = mark.field
        {
            if mark.value == self.value && components == 0 {
                components = 1 << field.min(63);
                self.component_found = true;
                self.known.insert(output, components);
            }
            self.member(output);
            // What a component is made of is nobody's business, unless it is a value itself.
            if !self.leads_to_value(eqn.inputs.first().and_then(|a| a.var())) {
                return;
            }
        }
        for (var, _) in equation.operands() {
            self.reach(var, components);
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
