//! What a dispatching trace did: the program as the user said it, and the choice made for each equation.

use crate::rules::algebra::PlannedIsland;
use crate::{
    array::Array,
    error::Result,
    trace::{Atom, Atoms, Eqn, Identity, Jaxpr, Literal, Var, Vars, op::Op},
};
use rustc_hash::FxHashMap;
use std::{fmt, panic::Location, sync::Arc};

/// How an equation's meaning was found.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Only plain arrays: the primitive itself.
    Plain,
    /// A rule, with its signature and place.
    Rule(String),
    /// The default of a type.
    Default(String),
    /// The programs inside the primitive were interpreted with the values.
    Inside,
    /// The terms of values of this type, one by one, since the type of one has a rule.
    Terms(String),
    /// A function that no rule answers: the operations that define it are what the program says.
    Defined,
    /// The arrays that values of these types equal; the optimiser plans around them.
    Definition(String),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Plain => f.write_str("plain arrays"),
            Decision::Rule(r) => write!(f, "rule {r}"),
            Decision::Default(t) => write!(f, "default of {t}"),
            Decision::Terms(t) => write!(f, "term by term of {t}"),
            Decision::Defined => f.write_str("the operations that define it"),
            Decision::Inside => f.write_str("interpreted inside"),
            Decision::Definition(t) => write!(f, "definition of {t}, planned by the algebra"),
        }
    }
}

/// What was decided for one equation of a `traced` program, and why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The primitive and the types of its operands.
    pub equation: String,
    /// Where it stands in the user's program.
    pub at: &'static Location<'static>,
    /// How its meaning was found.
    pub decision: Decision,
    /// The rules that could have been meant and were not chosen, each with the reason.
    pub considered: Vec<String>,
}

/// For each equation of a `traced` program: what it is, where it stands, and what was decided.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The equations, in order.
    pub equations: Vec<Explained>,
    /// The pieces of linear algebra in the dispatched program: what each costs as written, what is computed instead, and what that
    /// costs.
    pub plans: Vec<PlannedIsland>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.equations.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let (what, at, decision) = (&e.equation, e.at, &e.decision);
            write!(f, "{what}  [{}:{}]  {decision}", at.file(), at.line())?;
            for reason in &e.considered {
                write!(f, "\n    {reason}")?;
            }
        }
        for plan in &self.plans {
            write!(f, "\n{}", plan.to_string().trim_end())?;
        }
        Ok(())
    }
}

/// Writes the `traced` program down.
#[derive(Default)]
pub(crate) struct Recorder {
    program: Jaxpr,
    known: FxHashMap<Identity, Var>,
    /// Arrays are kept, so that their addresses mean them for as long as the trace runs.
    held: Vec<Array>,
    explanation: Vec<Explained>,
}

impl Recorder {
    fn define(&mut self, x: &Array) -> Result<Var> {
        let v = self.program.fresh(Arc::new(x.aval()?));
        if let Some(value) = x.as_dyn_value() {
            self.program.labels.insert(v, value.describe().into());
        }
        self.known.insert(x.identity(), v);
        self.held.push(x.clone());
        Ok(v)
    }

    pub(super) fn inputs(&mut self, x: &[Array]) -> Result<()> {
        for x in x {
            let v = self.define(x)?;
            self.program.invars.push(v);
        }
        Ok(())
    }

    fn read(&mut self, x: &Array) -> Result<Atom> {
        if let Some(l) = x.buffer().and_then(|b| Literal::new(b.clone())) {
            return Ok(Atom::Lit(l));
        }
        if let Some(v) = self.known.get(&x.identity()) {
            return Ok(Atom::Var(*v));
        }
        let v = self.define(x)?;
        self.program.consts.push((v, x.clone()));
        Ok(Atom::Var(v))
    }

    pub(super) fn equation(
        &mut self,
        op: &Op,
        args: &[&Array],
        results: &[Array],
        at: &'static Location<'static>,
        (decision, considered): (Decision, Vec<String>),
    ) -> Result<()> {
        let inputs = args
            .iter()
            .map(|a| self.read(a))
            .collect::<Result<Atoms>>()?;
        let types: Vec<String> = args.iter().map(|a| a.describe()).collect();
        self.explanation.push(Explained {
            equation: format!("{} {}", op.name(), types.join(" ")),
            at,
            decision,
            considered,
        });
        let outputs = results
            .iter()
            .map(|y| self.define(y))
            .collect::<Result<Vars>>()?;
        self.program.eqns.push(Eqn {
            op: op.clone(),
            inputs,
            outputs,
            at,
        });
        Ok(())
    }

    pub(super) fn outputs(&mut self, y: &[Array]) -> Result<()> {
        for y in y {
            let a = self.read(y)?;
            self.program.outs.push(a);
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> (Jaxpr, Explanation) {
        (
            self.program.clone(),
            Explanation {
                plans: Vec::new(),
                equations: self.explanation.clone(),
            },
        )
    }
}
