//! What users know to be equal: two programs, of which the cheaper is used wherever the first is found.

use super::cost::CostModel;
use super::equation::mark;
use super::estimate::cost;
use super::form::Form;
use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::trace::op::Op;
use crate::trace::passes::{CSE, DCE, INLINE};
use crate::trace::{Atom, Eqn, Jaxpr, Var, stage};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Replacements in one program; a rewrite that makes room for itself ends here.
const MOST_REPLACEMENTS: usize = 64;
/// Candidates that are traced for one program.
const MOST_CANDIDATES: usize = 1_000;
/// Random inputs on which both sides are compared before an equality is used.
const CHECKS: u64 = 3;
/// Inputs of more elements are not compared anew for their shapes.
const MOST_ELEMENTS: usize = 1 << 16;

pub(super) type Side = Arc<dyn Fn(&[Array]) -> Array + Send + Sync>;
/// The pattern and what it equals, traced.
pub(super) type Sides = Arc<(Jaxpr, Jaxpr)>;

/// A pattern and what it equals, for all values of the inputs.
///
/// Both are programs: they are traced for the shapes that are found. Before an equality is used it is compared on random
/// inputs, and refused with them if its sides differ.
///
/// ```
/// use quaxide::{prelude::*, rules::algebra::{Equality, Options}};
/// // Somebody who knows that q is the identity: the pattern is q·x, which is x.
/// let wrong = Equality::new("identity", &[&[3, 3], &[3, 2]], |x| x[0].dot(&x[1]), |x| x[1].clone());
/// assert!(wrong.unwrap_err().to_string().contains("differ"));
///
/// let outer = Equality::new(
///     "sum of an outer product",
///     &[&[5], &[4]],
///     |x| (x[0].expand_dims(1) * x[1].expand_dims(0)).sum(()),
///     |x| x[0].sum(()) * x[1].sum(()),
/// ).unwrap();
/// let f = |a: &Array, b: &Array| (a.expand_dims(1) * b.expand_dims(0)).sum(());
/// let (a, b) = (Array::ones([500], DType::F32), Array::ones([400], DType::F32));
/// let y = Options::new().equality(outer).scope(|| jit(f)(&a, &b)).unwrap();
/// assert_eq!(y.item::<f32>().unwrap(), 200_000.0);
/// ```
pub struct Equality {
    name: String,
    pattern: Side,
    replacement: Side,
    /// The pattern for the sample shapes, by which candidates are recognised.
    sample: Jaxpr,
    /// The text of both sides for the sample shapes with what they capture: equalities of which it is the same are one.
    identity: String,
    /// The pattern as a product that the e-graph can be searched for, if it is one.
    form: Option<Form>,
    /// Both sides for types of inputs that have come up; `None` where they do not fit or do not agree.
    known: Mutex<FxHashMap<Vec<Aval>, Option<Sides>>>,
}

impl PartialEq for Equality {
    fn eq(&self, other: &Equality) -> bool {
        std::ptr::eq(self, other) || (self.name == other.name && self.identity == other.identity)
    }
}

impl Eq for Equality {}

impl std::hash::Hash for Equality {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl fmt::Debug for Equality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Equality({})", self.name)
    }
}

fn traced(side: &Side, avals: &[Aval]) -> Result<Jaxpr> {
    let program = stage(avals, None, &mut |x| {
        let y = side(&x);
        Ok(vec![y.ok()?.clone()])
    })?;
    program.through(&[INLINE, CSE, DCE])
}

impl Equality {
    /// An equality of two functions of arrays. `samples` are shapes of `f32` inputs that both take, on which they are compared.
    ///
    /// # Errors
    ///
    /// If a side fails on the samples, the types of the results differ, the pattern is a mere input, or the sides differ on random
    /// inputs; the message gives the inputs.
    #[track_caller]
    pub fn new(
        name: &str,
        samples: &[&[usize]],
        pattern: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
        replacement: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
    ) -> Result<Equality> {
        let (pattern, replacement): (Side, Side) = (Arc::new(pattern), Arc::new(replacement));
        let avals: Vec<Aval> = samples
            .iter()
            .map(|shape| Aval::new(*shape, crate::array::DType::F32))
            .collect();
        let sample = traced(&pattern, &avals)?;
        let other = traced(&replacement, &avals)?;
        if sample.eqns().is_empty() {
            return Err(Error::argument(format!(
                "`{name}`: the pattern does nothing, so it would be found everywhere"
            )));
        }
        compare(name, &sample, &other, &avals)?;
        let mut identity = format!("{sample}\n{other}");
        for (_, captured) in sample.consts().iter().chain(other.consts()) {
            identity.push_str(&format!("\n{:?}", captured.to_f64_vec()?));
        }
        Ok(Equality {
            identity,
            form: Form::of(&sample),
            name: name.into(),
            pattern,
            replacement,
            sample,
            known: Mutex::default(),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pattern as a product, if it is one.
    pub(super) fn form(&self) -> Option<&Form> {
        self.form.as_ref()
    }

    /// What the pattern equals, of these inputs.
    pub(super) fn replacement(&self, inputs: &[Array]) -> Array {
        (self.replacement)(inputs)
    }

    /// Both sides for inputs of these types, if they take them and agree.
    pub(super) fn sides(&self, avals: Vec<Aval>) -> Option<Sides> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&avals) {
            return known.clone();
        }
        let make = || -> Result<Sides> {
            let sides = (
                traced(&self.pattern, &avals)?,
                traced(&self.replacement, &avals)?,
            );
            let elements: usize = avals.iter().map(Aval::size).sum();
            if elements <= MOST_ELEMENTS {
                compare(&self.name, &sides.0, &sides.1, &avals)?;
            } else if sides.0.out_avals() != sides.1.out_avals() {
                return Err(Error::shape("the sides give different types"));
            }
            Ok(Arc::new(sides))
        };
        let sides = make().ok();
        lock().insert(avals, sides.clone());
        sides
    }
}

/// An error, with the inputs, unless both programs give the same on random inputs.
fn compare(name: &str, a: &Jaxpr, b: &Jaxpr, avals: &[Aval]) -> Result<()> {
    let (one, other) = (a.out_avals(), b.out_avals());
    let same = one.iter().zip(&other).all(|(a, b)| a.same_type(b));
    if one.len() != other.len() || !same {
        let show = |avals: &[Aval]| avals.first().map_or("nothing".into(), Aval::to_string);
        return Err(Error::shape(format!(
            "`{name}`: the pattern gives {}, what it shall equal {}",
            show(&one),
            show(&other)
        )));
    }
    for seed in 0..CHECKS {
        let inputs: Vec<Array> = avals
            .iter()
            .enumerate()
            .map(|(place, aval)| random(aval, 1 + seed * 31 + place as u64))
            .collect();
        crate::eager(|| {
            let (x, y) = (a.eval(&inputs)?, b.eval(&inputs)?);
            for (x, y) in x.iter().zip(&y) {
                let (p, q) = (x.to_f64_vec()?, y.to_f64_vec()?);
                let scale = p.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
                let differ =
                    |(p, q): (&f64, &f64)| (p - q).is_nan() || (p - q).abs() > 1e-4 * scale;
                if p.iter().zip(&q).any(differ) {
                    let inputs: Vec<String> = inputs.iter().map(Array::to_string).collect();
                    return Err(Error::argument(format!(
                        "`{name}`: the two sides differ: {x} and {y}, on\n{}",
                        inputs.join("\n")
                    )));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Numbers between -1 and 1 that depend on the seed alone.
fn random(aval: &Aval, seed: u64) -> Array {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let numbers: Vec<f64> = (0..aval.size())
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let bits = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
            bits as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect();
    Array::from(numbers).reshape(&aval.shape).astype(aval.dtype)
}

pub(super) fn same_numbers(a: &Array, b: &Array) -> bool {
    let same_type = || Ok::<_, Error>(a.aval()?.same_type(&b.aval()?));
    same_type().unwrap_or(false)
        && matches!((a.to_f64_vec(), b.to_f64_vec()), (Ok(a), Ok(b)) if a == b)
}

/// The program with what users know to be equal put in wherever that makes it cheaper, or where the pattern forms what a value
/// forbids; `None` if it stays as it is.
pub(super) fn applied(program: &Jaxpr, equalities: &[Arc<Equality>]) -> Result<Option<Jaxpr>> {
    let mut current: Option<Jaxpr> = None;
    let mut candidates = 0;
    let model = CostModel::current();
    for _ in 0..MOST_REPLACEMENTS {
        let program = current.as_ref().unwrap_or(program);
        let before = cost(program, &model);
        let mut found = None;
        'search: for equality in equalities {
            for root in (0..program.eqns().len()).rev() {
                let Some(matched) = Match::names(program, &equality.sample, root) else {
                    continue;
                };
                candidates += 1;
                if candidates > MOST_CANDIDATES {
                    break 'search;
                }
                let aval = |atom: &Option<Atom>| Some(strong(program.atom_aval(atom.as_ref()?)));
                let avals: Option<Vec<Aval>> = matched.inputs.iter().map(aval).collect();
                let Some(sides) = avals.and_then(|avals| equality.sides(avals)) else {
                    continue;
                };
                let Some(exact) = Match::exactly(program, &sides.0, root) else {
                    continue;
                };
                let replaced = exact.replaced(program, &sides.1)?.through(&[DCE])?;
                // What the e-graph can find is weighed there, against all else.
                let weighed = equality.form.is_none();
                if exact.forbidden || weighed && cost(&replaced, &model) < before * (1.0 - 1e-9) {
                    found = Some(replaced);
                    break 'search;
                }
            }
        }
        match found {
            Some(replaced) => current = Some(replaced),
            None => break,
        }
    }
    Ok(current)
}

fn strong(aval: &Aval) -> Aval {
    Aval::new(aval.shape.clone(), aval.dtype)
}

/// A place in a program where a pattern is.
pub(super) struct Match {
    root: usize,
    /// What stands for each input of the pattern that it reads.
    pub(super) inputs: Vec<Option<Atom>>,
    /// Whether the pattern contains an array that a value's type forbids to form.
    forbidden: bool,
}

impl Match {
    pub(super) fn names(program: &Jaxpr, pattern: &Jaxpr, root: usize) -> Option<Match> {
        Match::with(
            program,
            pattern,
            root,
            |a, b| a.name() == b.name(),
            |_, _| true,
            false,
        )
    }

    pub(super) fn exactly(program: &Jaxpr, pattern: &Jaxpr, root: usize) -> Option<Match> {
        Match::with(program, pattern, root, |a, b| a == b, same_numbers, true)
    }

    fn with(
        program: &Jaxpr,
        pattern: &Jaxpr,
        root: usize,
        same: impl Fn(&Op, &Op) -> bool,
        same_array: impl Fn(&Array, &Array) -> bool,
        same_literals: bool,
    ) -> Option<Match> {
        let maker = |j: &Jaxpr, var: Var| j.eqns().iter().position(|e| e.outputs.contains(&var));
        let mut bound: FxHashMap<Var, Atom> = FxHashMap::default();
        let mut forbidden = false;
        let first = program.eqns().get(root)?;
        let out = pattern.outs().first()?.var()?;
        let mut pending = vec![(out, Atom::Var(*first.outputs.first()?))];
        while let Some((wanted, atom)) = pending.pop() {
            if pattern.invars().contains(&wanted) {
                match bound.get(&wanted) {
                    Some(known) if *known != atom => return None,
                    Some(_) => {}
                    None => {
                        bound.insert(wanted, atom);
                    }
                }
                continue;
            }
            let captured = |j: &Jaxpr, var: Var| {
                let mut consts = j.consts().iter();
                consts.find_map(|(v, array)| (*v == var).then(|| array.clone()))
            };
            if let Some(array) = captured(pattern, wanted) {
                let found = captured(program, atom.var()?)?;
                if !same_array(&array, &found) {
                    return None;
                }
                continue;
            }
            let pattern_eqn: &Eqn = pattern.eqns().get(maker(pattern, wanted)?)?;
            let mut eqn = program.eqns().get(maker(program, atom.var()?)?)?;
            // Marks of values are identities.
            while let Some(mark) = mark(eqn) {
                forbidden |= mark.field.is_none() && !mark.allow_materialise;
                eqn = program
                    .eqns()
                    .get(maker(program, eqn.inputs.first()?.var()?)?)?;
            }
            if !same(&pattern_eqn.op, &eqn.op) || pattern_eqn.inputs.len() != eqn.inputs.len() {
                return None;
            }
            for (wanted, atom) in pattern_eqn.inputs.iter().zip(&eqn.inputs) {
                match wanted {
                    Atom::Lit(_) if wanted == atom => {}
                    // Sizes may stand in literals.
                    Atom::Lit(_) if !same_literals && atom.var().is_none() => {}
                    Atom::Lit(_) => return None,
                    Atom::Var(var) => pending.push((*var, atom.clone())),
                }
            }
        }
        let inputs = pattern.invars().iter().map(|var| bound.get(var).cloned());
        Some(Match {
            root,
            inputs: inputs.collect(),
            forbidden,
        })
    }

    /// The program with the other side computed in the pattern's place.
    fn replaced(&self, program: &Jaxpr, other: &Jaxpr) -> Result<Jaxpr> {
        let mut result = program.clone();
        let internal = || Error::internal("an equality has no result");
        let place = result.eqns.get(self.root).cloned().ok_or_else(internal)?;
        let mut names: FxHashMap<Var, Atom> = other
            .invars()
            .iter()
            .copied()
            .zip(&self.inputs)
            .filter_map(|(var, atom)| Some((var, atom.clone()?)))
            .collect();
        for (var, value) in other.consts() {
            let own = result.fresh(other.aval(*var).clone());
            result.consts.push((own, value.clone()));
            names.insert(*var, Atom::Var(own));
        }
        let named = |names: &FxHashMap<Var, Atom>, atom: &Atom| match atom.var() {
            Some(var) => names.get(&var).cloned().ok_or_else(internal),
            None => Ok(atom.clone()),
        };
        let mut eqns: Vec<Eqn> = Vec::with_capacity(other.eqns().len());
        for eqn in other.eqns() {
            let inputs = eqn.inputs.iter().map(|a| named(&names, a));
            let inputs = inputs.collect::<Result<_>>()?;
            let mut outputs = SmallVec::new();
            for var in &eqn.outputs {
                let own = result.fresh(other.aval(*var).clone());
                names.insert(*var, Atom::Var(own));
                outputs.push(own);
            }
            eqns.push(Eqn {
                op: eqn.op.clone(),
                inputs,
                outputs,
                at: place.at,
            });
        }
        let old = place.outputs.first().copied().ok_or_else(internal)?;
        let new = named(&names, other.outs().first().ok_or_else(internal)?)?;
        let rename = |atom: &mut Atom| {
            if atom.var() == Some(old) {
                *atom = new.clone();
            }
        };
        for eqn in result.eqns.iter_mut().skip(self.root + 1) {
            eqn.inputs.iter_mut().for_each(rename);
        }
        result.outs.iter_mut().for_each(rename);
        result.eqns.splice(self.root + 1..self.root + 1, eqns);
        if cfg!(debug_assertions) {
            result.check()?;
        }
        Ok(result)
    }
}
