//! Programs: equations over typed variables.

use super::{bind_at, op::Op};
use crate::{
    array::{Array, Aval, Buffer, Scalar},
    error::{Error, Result},
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::{ops::Deref, panic::Location, sync::Arc};

/// A variable of a program: an index into its table of types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Var(pub(crate) u32);

impl Var {
    /// The index of the variable in tables that have one entry for each.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an equation takes, or a program returns: a variable, or a number that is part of the program.
#[derive(Clone, Debug)]
pub enum Atom {
    /// A variable.
    Var(Var),
    /// A number of rank 0.
    Lit(Literal),
}

impl Atom {
    /// The variable, if it is one.
    pub fn var(&self) -> Option<Var> {
        match self {
            Atom::Var(v) => Some(*v),
            Atom::Lit(_) => None,
        }
    }
}

/// Equal variables, or literals of one type and value (a NaN is equal to itself here).
impl PartialEq for Atom {
    fn eq(&self, other: &Atom) -> bool {
        match (self, other) {
            (Atom::Var(a), Atom::Var(b)) => a == b,
            (Atom::Lit(a), Atom::Lit(b)) => {
                a.aval() == b.aval()
                    && (a.value() == b.value()
                        || format!("{:?}", a.value()) == format!("{:?}", b.value()))
            }
            _ => false,
        }
    }
}

/// A number that is part of a program.
#[derive(Clone, Debug)]
pub struct Literal(Arc<Buffer>);

impl Literal {
    /// The literal of a buffer of rank 0; `None` for any other.
    pub fn new(buffer: Arc<Buffer>) -> Option<Literal> {
        buffer.shape().is_empty().then_some(Literal(buffer))
    }

    /// Its type.
    pub fn aval(&self) -> &Aval {
        self.0.aval()
    }

    /// Its value.
    pub fn value(&self) -> Scalar {
        self.0.item().unwrap_or(Scalar::Int(0))
    }

    /// As an array.
    pub fn array(&self) -> Array {
        Array::from_shared(self.0.clone())
    }

    /// As a buffer.
    pub fn buffer(&self) -> &Arc<Buffer> {
        &self.0
    }
}

/// The operands of an equation.
pub type Atoms = SmallVec<[Atom; 2]>;
/// The results of an equation.
pub type Vars = SmallVec<[Var; 1]>;

/// One step of a program.
#[derive(Clone, Debug)]
pub struct Eqn {
    /// The primitive, with its parameters.
    pub op: Op,
    /// What it takes.
    pub inputs: Atoms,
    /// The variables that it defines.
    pub outputs: Vars,
    /// Where the user's program asked for it.
    pub at: &'static Location<'static>,
}

/// A program: a list of equations from input variables to results, in the order in which they run.
///
/// Its text follows `jax.make_jaxpr`.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::zeros([3], DType::F32);
/// let program = make_jaxpr(|x: &Array| x.sin() * 2.0)(&x).unwrap();
/// assert_eq!(
///     program.to_string(),
///     "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b 2.0:f32[] in (c,) }"
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct Jaxpr {
    pub(crate) invars: Vec<Var>,
    /// Arrays captured from outside: concrete ones, variables of an enclosing trace, array-ish values.
    pub(crate) consts: Vec<(Var, Array)>,
    pub(crate) eqns: Vec<Eqn>,
    pub(crate) outs: Vec<Atom>,
    pub(crate) avals: Vec<Arc<Aval>>,
    /// Names of types that say more than shape and element type, by variable: array-ish values in a `traced` program.
    pub(crate) labels: FxHashMap<Var, Arc<str>>,
}

impl Jaxpr {
    /// The input variables.
    pub fn invars(&self) -> &[Var] {
        &self.invars
    }

    /// The captured arrays with their variables.
    pub fn consts(&self) -> &[(Var, Array)] {
        &self.consts
    }

    /// The equations, in order.
    pub fn eqns(&self) -> &[Eqn] {
        &self.eqns
    }

    /// The results.
    pub fn outs(&self) -> &[Atom] {
        &self.outs
    }

    /// The type of a variable.
    pub fn aval(&self, v: Var) -> &Arc<Aval> {
        static MISSING: std::sync::LazyLock<Arc<Aval>> = std::sync::LazyLock::new(|| {
            Arc::new(Aval::new(
                crate::array::Dims::new(),
                crate::array::DType::Bool,
            ))
        });
        self.avals.get(v.index()).unwrap_or(&MISSING)
    }

    /// The type of a variable or a literal.
    pub fn atom_aval<'a>(&'a self, a: &'a Atom) -> &'a Aval {
        match a {
            Atom::Var(v) => self.aval(*v),
            Atom::Lit(l) => l.aval(),
        }
    }

    /// The types of the inputs.
    pub fn in_avals(&self) -> impl Iterator<Item = &Aval> {
        self.invars.iter().map(|v| &**self.aval(*v))
    }

    /// The types of the results.
    pub fn out_avals(&self) -> Vec<Aval> {
        self.outs
            .iter()
            .map(|a| self.atom_aval(a).clone())
            .collect()
    }

    /// The number of variables, for tables with one entry for each.
    pub fn var_count(&self) -> usize {
        self.avals.len()
    }

    /// A new variable of a type.
    pub(crate) fn fresh(&mut self, aval: Arc<Aval>) -> Var {
        self.avals.push(aval);
        Var((self.avals.len() - 1) as u32)
    }

    /// An error if these are not the types of the inputs.
    pub(crate) fn check_arguments<'a>(
        &self,
        given: impl ExactSizeIterator<Item = &'a Aval>,
    ) -> Result<()> {
        if given.len() != self.invars.len() {
            return Err(Error::tree(format!(
                "the program takes {} arrays, {} were given",
                self.invars.len(),
                given.len()
            )));
        }
        for (i, (g, w)) in given.zip(self.in_avals()).enumerate() {
            if !g.same_type(w) {
                return Err(Error::shape(format!(
                    "argument {i} of the program is {w}, {g} was given"
                )));
            }
        }
        Ok(())
    }

    /// Run the equations by `bind`: at once, into the current trace, or through dispatch, as the current trace says.
    /// An error if the arguments are not as many as the inputs, or an operation fails.
    pub fn eval(&self, args: &[Array]) -> Result<Vec<Array>> {
        self.eval_with(args, |eqn, x| bind_at(&eqn.op, x, eqn.at))
    }

    /// As [`Jaxpr::eval`], but each equation's operands are given to `apply`, which returns its results.
    pub(crate) fn eval_with(
        &self,
        args: &[Array],
        mut apply: impl FnMut(&Eqn, &[&Array]) -> Result<SmallVec<[Array; 1]>>,
    ) -> Result<Vec<Array>> {
        let mut env: Env<Array> = Env::new(self, args.iter().cloned())?;
        for (v, c) in &self.consts {
            env.set(*v, c.clone());
        }
        for eqn in &self.eqns {
            let literals: SmallVec<[Array; 2]> =
                eqn.inputs.iter().filter_map(literal_array).collect();
            let mut literals = literals.iter();
            let mut x: SmallVec<[&Array; 4]> = SmallVec::new();
            for a in &eqn.inputs {
                match a {
                    Atom::Var(v) => x.push(env.get(*v)?),
                    Atom::Lit(_) => x.extend(literals.next()),
                }
            }
            let results = apply(eqn, &x)?;
            drop(x);
            for (v, y) in eqn.outputs.iter().zip(results) {
                y.ok()?;
                env.set(*v, y);
            }
        }
        self.outs.iter().map(|a| env.atom(a)).collect()
    }
}

fn literal_array(a: &Atom) -> Option<Array> {
    match a {
        Atom::Lit(l) => Some(l.array()),
        Atom::Var(_) => None,
    }
}

/// What each variable of a program stands for while the program is being interpreted.
pub(crate) struct Env<T>(Vec<Option<T>>);

impl<T: Clone> Env<T> {
    /// The inputs stand for these. An error if there are too few or too many.
    pub(crate) fn new(j: &Jaxpr, inputs: impl ExactSizeIterator<Item = T>) -> Result<Env<T>> {
        if inputs.len() != j.invars.len() {
            return Err(Error::tree(format!(
                "the program takes {} arrays, {} were given",
                j.invars.len(),
                inputs.len()
            )));
        }
        let mut env = Env(vec![None; j.avals.len()]);
        for (v, x) in j.invars.iter().zip(inputs) {
            env.set(*v, x);
        }
        Ok(env)
    }

    /// Nothing is known yet.
    pub(crate) fn empty(j: &Jaxpr) -> Env<T> {
        Env(vec![None; j.avals.len()])
    }

    pub(crate) fn set(&mut self, v: Var, x: T) {
        if let Some(slot) = self.0.get_mut(v.index()) {
            *slot = Some(x);
        }
    }

    pub(crate) fn get(&self, v: Var) -> Result<&T> {
        self.peek(v)
            .ok_or_else(|| Error::internal("a program reads a variable before it is set"))
    }

    pub(crate) fn peek(&self, v: Var) -> Option<&T> {
        self.0.get(v.index()).and_then(Option::as_ref)
    }

    pub(crate) fn take(&mut self, v: Var) -> Option<T> {
        self.0.get_mut(v.index()).and_then(Option::take)
    }
}

impl Env<Array> {
    /// The array of a variable or of a literal.
    pub(crate) fn atom(&self, a: &Atom) -> Result<Array> {
        match a {
            Atom::Var(v) => self.get(*v).cloned(),
            Atom::Lit(l) => Ok(l.array()),
        }
    }
}

/// A program inside an equation: shared, equal only to itself, free of captured arrays.
#[derive(Clone, Debug)]
pub struct Program(Arc<Jaxpr>);

impl Deref for Program {
    type Target = Jaxpr;
    fn deref(&self) -> &Jaxpr {
        &self.0
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Jaxpr> for Program {
    fn from(j: Jaxpr) -> Program {
        Program(Arc::new(j))
    }
}

impl Program {
    /// The address of the program, by which it is known.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Jaxpr {
    /// The program with what it captured as leading inputs: where the arrays are not known, as in a program that was read from text.
    pub fn lifted(self) -> Jaxpr {
        self.close().0
    }

    /// The program with its captured arrays as leading inputs, and those arrays: what programs inside equations look like.
    pub(crate) fn close(mut self) -> (Jaxpr, Vec<Array>) {
        let (vars, arrays): (Vec<Var>, Vec<Array>) = self.consts.drain(..).unzip();
        self.invars.splice(0..0, vars);
        (self, arrays)
    }
}

impl Jaxpr {
    /// The program of one equation, for operands of these types.
    #[track_caller]
    pub(crate) fn of_op(op: Op, operands: impl IntoIterator<Item = Aval>) -> Result<Jaxpr> {
        let operands: Vec<Aval> = operands.into_iter().collect();
        let at = super::here();
        super::stage(&operands, None, &mut |x| {
            let x: Vec<&Array> = x.iter().collect();
            Ok(bind_at(&op, &x, at)?.into_vec())
        })
    }

    /// The program with its inputs and its results in another order: entry `i` of a list says which comes `i`-th.
    pub(crate) fn reordered(mut self, inputs: &[usize], outs: &[usize]) -> Jaxpr {
        self.invars = inputs
            .iter()
            .filter_map(|i| self.invars.get(*i).copied())
            .collect();
        self.outs = outs
            .iter()
            .filter_map(|i| self.outs.get(*i).cloned())
            .collect();
        self
    }
}
