//! What becomes of every primitive that meets a value, or values of two types: found out by trying.

mod cases;
mod families;
mod kinds;
mod render;

pub use cases::{Case, cases};
#[allow(unused_imports, reason = "each program uses its own part")]
pub use families::{FAMILIES, WITHOUT_OPERANDS};
pub use kinds::{KINDS, Kind, plain};
pub use render::{full, markdown, summary};

use quaxide::{
    ErrorKind,
    dispatch::{Decision, Explanation},
    op::Op,
    prelude::*,
    rules::{Bcoo, Csr, Structured},
    trace::{Atom, bind_all},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The axis over which collectives speak, and how many examples it has.
pub const AXIS: &str = "examples";
pub const EXAMPLES: usize = 2;

/// What became of one try.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// A rule gave the result, or a plan around the definition that never forms what the value equals.
    Works,
    /// The array that the value equals was formed, or would be if the value allowed it.
    Materialises,
    /// There is no meaning, or none that a type or a plan gives.
    Refuses,
    /// The result is not what it should be.
    Wrong,
    /// A panic.
    Panics,
}

/// One try: which values stood where, what became of it, and how that is known.
#[derive(Clone, Debug)]
pub struct Try {
    /// One type, or two.
    pub types: Vec<&'static str>,
    /// The operands where they stood.
    pub places: Vec<usize>,
    pub outcome: Outcome,
    pub why: String,
}

/// What was found out, for each primitive.
pub type Table = BTreeMap<&'static str, Vec<Try>>;

fn apply(op: &Op, x: &[Array]) -> Result<Vec<Array>> {
    let run = |x: &Vec<Array>| bind_all(op.clone(), x);
    let x = x.to_vec();
    if !matches!(op, Op::Collective(_) | Op::Exchange(_)) {
        return quaxify(run)(&x);
    }
    let y = vmap(|_: &Array| quaxify(run)(&x)).axis_name(AXIS);
    y(&Array::arange(EXAMPLES, DType::F32))
}

fn explain(op: &Op, x: &[Array]) -> Result<Explanation> {
    let run = |x: &Vec<Array>| bind_all(op.clone(), x);
    quaxify(run).explain((&x.to_vec(),))
}

/// Does the program make an array of zeros?
fn makes_zeros(op: &Op, x: &[Array]) -> Result<bool> {
    let run = |x: &Vec<Array>| bind_all(op.clone(), x);
    let program = quaxify(run).stages((&x.to_vec(),))?.dispatched;
    let zero = |a: &Atom| matches!(a, Atom::Lit(l) if l.value().as_f64() == Some(0.0));
    Ok(program
        .eqns()
        .iter()
        .any(|e| matches!(e.op, Op::BroadcastInDim(_)) && e.inputs.iter().any(zero)))
}

fn numbers(x: &Array) -> Result<Vec<f64>> {
    let x = plain(x)?;
    let x = match x.dtype()? {
        DType::Bool => x.astype(DType::I32),
        d if d.is_complex() => x.real(),
        _ => x,
    };
    x.to_f64_vec()
}

/// What differs between the results and those for plain arrays.
fn differs(op: &Op, x: &[Array], got: &[Array]) -> Result<Option<String>> {
    let dense = x.iter().map(plain).collect::<Result<Vec<_>>>()?;
    let structural = |x: &Array| {
        x.is_symbolic_zero()
            || x.holds::<Bcoo>()
            || x.value::<Csr>().is_some()
            || x.value::<Structured>().is_some()
    };
    let zeros = x.iter().any(structural);
    let want = apply(op, &dense)?;
    for (got, want) in got.iter().zip(&want) {
        if got.shape() != want.shape() {
            return Ok(Some(format!("{} for {}", got.describe(), want.describe())));
        }
        let (a, b) = (numbers(got)?, numbers(want)?);
        let near = |a: f64, b: f64| {
            a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-4 * (1.0 + b.abs())
        };
        // Zero by nothing, or by infinity, is zero where no number is held: it is none that happens to be zero.
        let free = |a: f64, b: f64| zeros && a == 0.0 && b.is_nan();
        let wrong = |(a, b): &(&f64, &f64)| !near(**a, **b) && !free(**a, **b);
        if let Some((a, b)) = a.iter().zip(&b).find(wrong) {
            return Ok(Some(format!("{a} for {b}")));
        }
    }
    Ok(None)
}

/// What becomes of a primitive on these operands, values of these types among them.
fn tried(op: &Op, x: &[Array], kinds: &[Kind]) -> Result<(Outcome, String)> {
    let result = apply(op, x)?;
    let explained = explain(op, x)?;
    let Some(equation) = explained.equations.first() else {
        return Err(Error::internal("nothing was explained"));
    };
    let why = equation.decision.to_string();
    if kinds.iter().all(|k| k.equal)
        && let Some(difference) = differs(op, x, &result)?
    {
        return Ok((Outcome::Wrong, difference));
    }
    let formed = match &equation.decision {
        // A value that forbids it was planned around.
        Decision::Definition(_) => kinds.iter().any(|k| k.open.is_none() && k.name != "Zero"),
        _ => false,
    };
    let zeros = kinds.iter().any(|k| k.name == "Zero") && makes_zeros(op, x)?;
    Ok(match formed || zeros {
        true => (Outcome::Materialises, why),
        false => (Outcome::Works, why),
    })
}

fn outcome(op: &Op, x: &[Array], kinds: &[Kind]) -> (Outcome, String) {
    match catch_unwind(AssertUnwindSafe(|| tried(op, x, kinds))) {
        Ok(Ok(found)) => found,
        Ok(Err(e)) if e.kind() == ErrorKind::Internal => (Outcome::Wrong, e.to_string()),
        Ok(Err(e)) => (Outcome::Refuses, e.to_string()),
        Err(_) => (Outcome::Panics, "a panic".into()),
    }
}

/// One try with values of these types at these places; `None` if a type holds no such array.
fn attempt(case: &Case, kinds: &[Kind], places: &[usize]) -> Option<Try> {
    let mut best: Option<(Outcome, String)> = None;
    let first = kinds.first()?;
    // Each type's first value beside each of the other's, and all of the first beside the other's first.
    let last = kinds.last()?;
    for a in first.make {
        for b in last.make {
            let mut x = case.operands.clone();
            for (k, place) in places.iter().enumerate() {
                let make = if k == 0 { a } else { b };
                *x.get_mut(*place)? = make(case.operands.get(*place)?)?;
            }
            let found = outcome(&case.op, &x, kinds);
            if best
                .as_ref()
                .is_none_or(|b| found.0 < b.0 || b.0 < Outcome::Wrong && found.0 >= Outcome::Wrong)
            {
                best = Some(found);
            }
            if kinds.len() == 1 {
                break;
            }
        }
    }
    let mut best = best?;
    // What is refused may be allowed.
    if best.0 == Outcome::Refuses && kinds.iter().any(|k| k.open.is_some()) {
        let mut x = case.operands.clone();
        for (k, place) in kinds.iter().zip(places) {
            let make = k.open.or(k.make.first().copied())?;
            *x.get_mut(*place)? = make(case.operands.get(*place)?)?;
        }
        let allowed = outcome(&case.op, &x, kinds);
        if allowed.0 != Outcome::Refuses {
            best = (allowed.0.max(Outcome::Materialises), allowed.1);
        }
    }
    let (outcome, why) = best;
    Some(Try {
        types: kinds.iter().map(|k| k.name).collect(),
        places: places.to_vec(),
        outcome,
        why,
    })
}

/// Every type, or every pair of types, on every primitive.
pub fn table(pairs: bool) -> Result<Table> {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let made = (cases(DType::F32)?, cases(DType::U32)?);
    let mut table = Table::new();
    for (i, first) in KINDS.iter().enumerate() {
        let others: Vec<Option<&Kind>> = match pairs {
            false => vec![None],
            true => KINDS.iter().skip(i).map(Some).collect(),
        };
        for second in others {
            let kinds: Vec<Kind> = std::iter::once(first).chain(second).copied().collect();
            let integers = kinds.iter().any(|k| k.elements == DType::U32);
            for case in if integers { &made.1 } else { &made.0 } {
                let found = table.entry(case.name()).or_default();
                for a in &case.elements {
                    if kinds.len() == 1 {
                        found.extend(attempt(case, &kinds, &[*a]));
                        continue;
                    }
                    for b in case.elements.iter().filter(|b| *b != a) {
                        // Two of one type are the same either way round.
                        if kinds[0].name != kinds[1].name || a < b {
                            found.extend(attempt(case, &kinds, &[*a, *b]));
                        }
                    }
                }
            }
        }
    }
    std::panic::set_hook(quiet);
    Ok(table)
}
