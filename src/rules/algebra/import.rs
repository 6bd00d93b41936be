//! From a program to its islands: the maximal pieces of algebra between opaque equations, forward and backward pass in one.

use super::language::{Coefficient, Labels, Shape};
use super::problem::{Mark, Operation, Problem, Value};
use crate::{
    array::{Aval, Dims},
    trace::{
        Atom, Eqn, Jaxpr, Literal, Var,
        op::{Axes, Binary, Component, Op, Unary},
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// An island and where it came from.
pub struct Island {
    /// The island as the algebra is given it.
    pub problem: Problem,
    /// The variable of each leaf.
    pub leaves: Vec<Var>,
    /// The variable of each root.
    pub roots: Vec<Var>,
    /// The equations that the island stands for, by number.
    pub equations: Vec<usize>,
    /// For each step, the equation that it stands for.
    pub stands_for: Vec<usize>,
    /// For each value of the problem, its number in the program.
    pub values: Vec<u64>,
}

/// What an equation is to the algebra: factors or terms by operand, and a factor for the whole.
enum Form {
    /// The operand itself.
    Same(Atom),
    /// The sum over labels that are not in the output of the product of the operands.
    Product {
        factors: Vec<(Atom, Labels)>,
        output: Labels,
        scale: f64,
    },
    /// A linear combination.
    Sum {
        terms: Vec<(f64, Atom, Labels)>,
        output: Labels,
    },
}

/// A literal as a real factor.
fn real(l: &Literal) -> Option<f64> {
    l.value().as_f64().filter(|x| x.is_finite())
}

fn labels(l: &[u16]) -> Labels {
    l.iter().copied().collect()
}

/// The form of an equation, or `None` if it bounds islands. `tainted`: an operand is made of components of a value.
fn form(j: &Jaxpr, eqn: &Eqn, tainted: bool) -> Option<Form> {
    let [out] = eqn.outputs[..] else { return None };
    let result = j.aval(out);
    if !result.dtype.is_inexact() {
        return None;
    }
    let operands: SmallVec<[&Aval; 4]> = eqn.inputs.iter().map(|a| j.atom_aval(a)).collect();
    if operands.iter().any(|a| a.dtype != result.dtype) {
        return None;
    }
    if matches!(eqn.op, Op::Component(_) | Op::StopGradient(_)) {
        return eqn.inputs.first().cloned().map(Form::Same);
    }
    let square = match &eqn.op {
        Op::Unary(Unary::Square) => true,
        Op::IntegerPow(p) => p.y == 2,
        _ => false,
    };
    // Only where a value forces it: a plain square must not be multiplied out.
    if square {
        let x = eqn.inputs.first().filter(|_| tainted)?;
        let all: Labels = (0..result.ndim() as u16).collect();
        let factors = vec![(x.clone(), all.clone()), (x.clone(), all.clone())];
        return Some(Form::Product {
            factors,
            output: all,
            scale: 1.0,
        });
    }
    if let (Op::Binary(Binary::Div), [x, Atom::Lit(l)]) = (&eqn.op, &eqn.inputs[..]) {
        let divisor = real(l).filter(|c| *c != 0.0)?;
        let all: Labels = (0..result.ndim() as u16).collect();
        let own = if j.atom_aval(x).ndim() == 0 {
            Labels::new()
        } else {
            all.clone()
        };
        return Some(Form::Sum {
            terms: vec![(1.0 / divisor, x.clone(), own)],
            output: all,
        });
    }
    match eqn.op.axes(&operands) {
        Axes::Opaque => None,
        Axes::Product { operands, output } => {
            let (mut factors, mut scale) = (vec![], 1.0);
            for (a, l) in eqn.inputs.iter().zip(operands) {
                match a {
                    Atom::Lit(c) => scale *= real(c)?,
                    Atom::Var(_) => factors.push((a.clone(), labels(&l))),
                }
            }
            Some(Form::Product {
                factors,
                output: labels(&output),
                scale,
            })
        }
        Axes::Sum {
            coefficients,
            operands,
            output,
        } => {
            let terms = eqn.inputs.iter().zip(operands).zip(coefficients);
            let terms = terms
                .map(|((a, l), c)| (c, a.clone(), labels(&l)))
                .collect();
            Some(Form::Sum {
                terms,
                output: labels(&output),
            })
        }
    }
}

/// The components of values that each variable is made of, and nothing else; `None` for variables made of other things too.
fn components(j: &Jaxpr) -> Vec<FxHashMap<u64, u64>> {
    let mut made: Vec<FxHashMap<u64, u64>> = vec![FxHashMap::default(); j.var_count()];
    for eqn in j.eqns() {
        let mut of: FxHashMap<u64, u64> = FxHashMap::default();
        for v in eqn.inputs.iter().filter_map(Atom::var) {
            for (value, fields) in made.get(v.index()).into_iter().flatten() {
                *of.entry(*value).or_default() |= fields;
            }
        }
        if let Op::Component(c) = &eqn.op
            && let Some(field) = c.field
        {
            *of.entry(c.value).or_default() |= 1 << field.min(63);
        }
        if of.is_empty() {
            continue;
        }
        for v in &eqn.outputs {
            if let Some(slot) = made.get_mut(v.index()) {
                *slot = of.clone();
            }
        }
    }
    made
}

/// The marks of one value: each component or other ingredient of its definition, with the value's axes that come from each of
/// its axes.
struct Definition {
    aval: Aval,
    allow_materialise: bool,
    ingredients: Vec<(Var, u64, SmallVec<[u32; 4]>)>,
}

/// A program taken apart.
pub struct Parts {
    /// The islands that something may be gained from.
    pub islands: Vec<Island>,
}

/// Take a program apart. Its calls have been inlined and its dead code is gone.
pub fn import(j: &Jaxpr) -> Parts {
    let made = components(j);
    let tainted = |v: Var| made.get(v.index()).is_some_and(|m| !m.is_empty());
    let forms: Vec<Option<Form>> = j
        .eqns()
        .iter()
        .map(|e| form(j, e, e.inputs.iter().filter_map(Atom::var).any(tainted)))
        .collect();
    let mut producer: Vec<Option<usize>> = vec![None; j.var_count()];
    for (i, e) in j.eqns().iter().enumerate() {
        for v in &e.outputs {
            if let Some(slot) = producer.get_mut(v.index()) {
                *slot = Some(i);
            }
        }
    }
    let definitions = definitions(j, &forms, &producer, &made);
    let groups = groups(j, &forms, &producer);
    let mut islands = vec![];
    for members in groups {
        let contractions = members
            .iter()
            .filter(|i| matches!(j.eqns().get(**i).map(|e| &e.op), Some(Op::DotGeneral(_))));
        let marked = members
            .iter()
            .any(|i| matches!(j.eqns().get(*i).map(|e| &e.op), Some(Op::Component(_))));
        if marked || contractions.count() >= 2 {
            islands.push(island(j, &members, &forms, &definitions));
        }
    }
    Parts { islands }
}

/// Equations of algebra that share a result, by number, ascending; the groups by their first equation.
fn groups(j: &Jaxpr, forms: &[Option<Form>], producer: &[Option<usize>]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..forms.len()).collect();
    fn find(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for (i, e) in j.eqns().iter().enumerate() {
        if forms.get(i).is_none_or(Option::is_none) {
            continue;
        }
        for v in e.inputs.iter().filter_map(Atom::var) {
            let Some(k) = producer.get(v.index()).copied().flatten() else {
                continue;
            };
            if forms.get(k).is_some_and(Option::is_some) {
                let (a, b) = (find(&mut parent, i), find(&mut parent, k));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let mut members: Vec<Vec<usize>> = vec![vec![]; forms.len()];
    for (i, f) in forms.iter().enumerate() {
        if f.is_some() {
            let root = find(&mut parent, i);
            members[root].push(i);
        }
    }
    members.retain(|m| !m.is_empty());
    members
}

/// For each value whose definition the program holds, what the definition is made of.
fn definitions(
    j: &Jaxpr,
    forms: &[Option<Form>],
    producer: &[Option<usize>],
    made: &[FxHashMap<u64, u64>],
) -> FxHashMap<u64, Definition> {
    let mut found: FxHashMap<u64, Definition> = FxHashMap::default();
    for eqn in j.eqns() {
        let Op::Component(c) = &eqn.op else { continue };
        let (None, Some(x), false) = (c.field, eqn.inputs.first(), found.contains_key(&c.value))
        else {
            continue;
        };
        let aval = j.atom_aval(x).clone();
        let mut origins: FxHashMap<Var, SmallVec<[u32; 4]>> = FxHashMap::default();
        if let Atom::Var(v) = x {
            origins.insert(*v, (0..aval.ndim()).map(|i| 1 << i.min(31)).collect());
        }
        // Equations are visited from the last to the first: a variable's origins are complete before its own equation is.
        let mut ingredients = vec![];
        for (i, e) in j.eqns().iter().enumerate().rev() {
            let Some(own) = e.outputs.first().and_then(|v| origins.get(v)).cloned() else {
                continue;
            };
            let out = e.outputs[0];
            let is_component =
                matches!(&e.op, Op::Component(d) if d.value == c.value && d.field.is_some());
            let fields = |v: Var| {
                made.get(v.index())
                    .and_then(|m| m.get(&c.value))
                    .copied()
                    .unwrap_or(0)
            };
            if is_component {
                ingredients.push((out, fields(out), own));
                continue;
            }
            match forms.get(i).and_then(Option::as_ref) {
                None => ingredients.push((out, fields(out), own)),
                Some(form) => spread(j, form, &own, &mut origins),
            }
        }
        // What no equation makes: inputs and captured arrays that the definition uses besides its components.
        for (v, own) in origins {
            if producer.get(v.index()).copied().flatten().is_none() {
                ingredients.push((v, 0, own));
            }
        }
        ingredients.sort_by_key(|(v, _, _)| *v);
        let allow_materialise = c.allow_materialise;
        found.insert(
            c.value,
            Definition {
                aval,
                allow_materialise,
                ingredients,
            },
        );
    }
    found
}

/// Pass the origins of a result on to the operands.
fn spread(j: &Jaxpr, form: &Form, own: &[u32], origins: &mut FxHashMap<Var, SmallVec<[u32; 4]>>) {
    let mut give = |a: &Atom, of: &dyn Fn(usize) -> u32| {
        let Atom::Var(v) = a else { return };
        let rank = j.aval(*v).ndim();
        let entry = origins
            .entry(*v)
            .or_insert_with(|| SmallVec::from_elem(0, rank));
        for (i, slot) in entry.iter_mut().enumerate() {
            *slot |= of(i);
        }
    };
    let through = |l: &Labels, output: &Labels, i: usize| {
        let at = l
            .get(i)
            .and_then(|label| output.iter().position(|o| o == label));
        at.and_then(|k| own.get(k).copied()).unwrap_or(0)
    };
    match form {
        Form::Same(a) => give(a, &|i| own.get(i).copied().unwrap_or(0)),
        Form::Product {
            factors, output, ..
        } => {
            for (a, l) in factors {
                give(a, &|i| through(l, output, i));
            }
        }
        Form::Sum { terms, output } => {
            for (_, a, l) in terms {
                give(a, &|i| through(l, output, i));
            }
        }
    }
}

/// Builds one island.
struct Builder<'j> {
    j: &'j Jaxpr,
    island: Island,
    step_of: FxHashMap<Var, u32>,
}

impl Builder<'_> {
    fn push(&mut self, operation: Operation, shape: &[usize], equation: usize) -> u32 {
        self.island.stands_for.push(equation);
        self.island
            .problem
            .push(operation, Shape::from_slice(shape))
    }

    /// The step of a variable: a leaf, if no equation of the island makes it.
    fn step(&mut self, v: Var, equation: usize) -> u32 {
        if let Some(s) = self.step_of.get(&v) {
            return *s;
        }
        let shape = Dims::from_slice(&self.j.aval(v).shape);
        self.island.stands_for.push(equation);
        let s = self.island.problem.leaf(&shape);
        self.island.leaves.push(v);
        self.step_of.insert(v, s);
        s
    }

    /// The number one, of rank 0.
    fn one(&mut self, equation: usize) -> u32 {
        let operation = Operation::Product {
            operands: SmallVec::new(),
            output: Labels::new(),
        };
        self.push(operation, &[], equation)
    }

    fn equation(&mut self, number: usize, out: Var, form: &Form) {
        let shape = Dims::from_slice(&self.j.aval(out).shape);
        let step = match form {
            Form::Same(Atom::Var(v)) => self.step(*v, number),
            Form::Same(Atom::Lit(l)) => self.literal(l, number),
            Form::Product {
                factors,
                output,
                scale,
            } => {
                let operands = factors
                    .iter()
                    .filter_map(|(a, l)| Some((self.step(a.var()?, number), l.clone())))
                    .collect();
                let operation = Operation::Product {
                    operands,
                    output: output.clone(),
                };
                let product = self.push(operation, &shape, number);
                if *scale == 1.0 {
                    product
                } else {
                    let terms =
                        SmallVec::from_iter([(Coefficient(*scale), product, output.clone())]);
                    self.push(
                        Operation::Sum {
                            terms,
                            output: output.clone(),
                        },
                        &shape,
                        number,
                    )
                }
            }
            Form::Sum { terms, output } => {
                let terms = terms
                    .iter()
                    .map(|(c, a, l)| match a {
                        Atom::Var(v) => (Coefficient(*c), self.step(*v, number), l.clone()),
                        Atom::Lit(lit) => {
                            let c = c * real(lit).unwrap_or(f64::NAN);
                            (Coefficient(c), self.one(number), Labels::new())
                        }
                    })
                    .collect();
                self.push(
                    Operation::Sum {
                        terms,
                        output: output.clone(),
                    },
                    &shape,
                    number,
                )
            }
        };
        self.step_of.insert(out, step);
    }

    fn literal(&mut self, l: &Literal, number: usize) -> u32 {
        let one = self.one(number);
        let c = Coefficient(real(l).unwrap_or(f64::NAN));
        let terms = SmallVec::from_iter([(c, one, Labels::new())]);
        self.push(
            Operation::Sum {
                terms,
                output: Labels::new(),
            },
            &[],
            number,
        )
    }
}

fn island(
    j: &Jaxpr,
    members: &[usize],
    forms: &[Option<Form>],
    definitions: &FxHashMap<u64, Definition>,
) -> Island {
    let itemsize = members
        .first()
        .and_then(|i| j.eqns().get(*i)?.outputs.first())
        .map_or(4, |v| j.aval(*v).dtype.size() as u32);
    let mut b = Builder {
        j,
        island: Island {
            problem: Problem::new(itemsize),
            leaves: vec![],
            roots: vec![],
            equations: members.to_vec(),
            stands_for: vec![],
            values: vec![],
        },
        step_of: FxHashMap::default(),
    };
    let mut made: FxHashSet<Var> = FxHashSet::default();
    let mut values: Vec<u64> = vec![];
    for i in members {
        let (Some(eqn), Some(Some(form))) = (j.eqns().get(*i), forms.get(*i)) else {
            continue;
        };
        let Some(out) = eqn.outputs.first().copied() else {
            continue;
        };
        b.equation(*i, out, form);
        made.insert(out);
        if let Some(c) = eqn.op.get::<Component>()
            && !values.contains(&c.value)
        {
            values.push(c.value);
        }
    }
    // What is needed outside: by other equations, or as a result.
    let inside: FxHashSet<usize> = members.iter().copied().collect();
    let outside = j
        .eqns()
        .iter()
        .enumerate()
        .filter(|(i, _)| !inside.contains(i));
    let wanted: FxHashSet<Var> = outside
        .flat_map(|(_, e)| e.inputs.iter().filter_map(Atom::var))
        .chain(j.outs().iter().filter_map(Atom::var))
        .collect();
    for i in members {
        if let Some(v) = j.eqns().get(*i).and_then(|e| e.outputs.first())
            && wanted.contains(v)
            && let Some(step) = b.step_of.get(v)
        {
            b.island.roots.push(*v);
            b.island.problem.roots.push(*step);
        }
    }
    for value in values {
        let Some(d) = definitions.get(&value) else {
            continue;
        };
        let number = b.island.problem.values.len() as u32;
        let axes = d.aval.shape.iter().enumerate().filter(|(_, n)| **n > 1);
        b.island.problem.values.push(Value {
            axes: axes.fold(0, |bits, (i, _)| bits | 1 << i.min(31)),
            allow_materialise: d.allow_materialise,
        });
        b.island.values.push(value);
        for (v, components, origins) in &d.ingredients {
            if let Some(step) = b.step_of.get(v) {
                b.island.problem.marks.push(Mark {
                    step: *step,
                    value: number,
                    components: *components,
                    origins: origins.clone(),
                });
            }
        }
    }
    order(j, &mut b.island, &made);
    b.island
}

/// Say of each leaf which roots must be there before it: those that the equations outside compute it from.
fn order(j: &Jaxpr, island: &mut Island, made: &FxHashSet<Var>) {
    let roots: FxHashMap<Var, u32> = island
        .roots
        .iter()
        .enumerate()
        .map(|(i, v)| (*v, i as u32))
        .collect();
    let mut after: FxHashMap<Var, SmallVec<[u32; 2]>> = FxHashMap::default();
    for e in j.eqns() {
        let inside = e.outputs.first().is_some_and(|v| made.contains(v));
        let mut all: SmallVec<[u32; 2]> = SmallVec::new();
        for v in e.inputs.iter().filter_map(Atom::var) {
            all.extend(after.get(&v).into_iter().flatten().copied());
            if !inside {
                all.extend(roots.get(&v).copied());
            }
        }
        if all.is_empty() {
            continue;
        }
        all.sort_unstable();
        all.dedup();
        for v in &e.outputs {
            after.insert(*v, all.clone());
        }
    }
    for (v, leaf) in island.leaves.iter().zip(&mut island.problem.leaves) {
        if let Some(all) = after.get(v) {
            leaf.after = all.clone();
        }
    }
}
