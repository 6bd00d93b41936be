//! Whole programs: each island is planned and written back, marks go, programs inside are rewritten likewise.

use super::equality::applied;
use super::equation::mark;
use super::export::{Placed, export};
use super::import::{Island, islands};
use super::lower::Refusal;
use super::memo::{Outcome, solved};
use super::options::Options;
use crate::error::{Error, Result};
use crate::trace::op::Op;
use crate::trace::{Atom, Eqn, Jaxpr, Program, Var};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The cheapest program that is found to equal this one: a valid one, with the same inputs and results. Calls should have been
/// inlined, for they bound what is seen at once.
///
/// # Errors
///
/// If a value that must not be materialised is needed as an array.
pub(crate) fn rewrite(program: &Jaxpr) -> Result<Jaxpr> {
    let equalities = Options::equalities();
    let applied = match equalities.is_empty() {
        true => None,
        false => applied(program, &equalities)?,
    };
    let stated = applied.as_ref().unwrap_or(program);
    let rewritten = rewritten(stated, &mut FxHashMap::default())?;
    Ok(rewritten.unwrap_or_else(|| stated.clone()))
}

/// Programs inside that have been looked at, by identity; `None` for those that stay as they are.
type Inner = FxHashMap<usize, Option<Program>>;

/// The rewritten program; `None` if it stays as it is.
fn rewritten(program: &Jaxpr, inner: &mut Inner) -> Result<Option<Jaxpr>> {
    let (mut contractions, mut marks, mut calls) = (false, false, false);
    for eqn in program.eqns() {
        match &eqn.op {
            Op::DotGeneral(_) => contractions = true,
            Op::Component(_) => marks = true,
            op => calls |= op.inner().is_some(),
        }
    }
    let mut result: Option<Jaxpr> = None;
    if marks || contractions {
        result = with_islands_planned(program)?;
    }
    if calls {
        let current = result.as_ref().unwrap_or(program);
        if let Some(with_calls) = with_calls_rewritten(current, inner)? {
            result = Some(with_calls);
        }
    }
    Ok(result)
}

fn with_calls_rewritten(program: &Jaxpr, known: &mut Inner) -> Result<Option<Jaxpr>> {
    let mut result: Option<Jaxpr> = None;
    for (index, eqn) in program.eqns().iter().enumerate() {
        let Some(call) = eqn.op.inner() else {
            continue;
        };
        let mut changed = false;
        let mut programs: Vec<Program> = Vec::new();
        for program in call.programs() {
            let new = match known.get(&program.id()) {
                Some(new) => new.clone(),
                None => {
                    let new = rewritten(program, known).map_err(|e| e.at(eqn.at))?;
                    let new = new.map(Jaxpr::dce);
                    let new = new.map(Program::from);
                    known.insert(program.id(), new.clone());
                    new
                }
            };
            changed |= new.is_some();
            programs.push(new.unwrap_or_else(|| program.clone()));
        }
        if changed {
            let op = call.with_programs(programs)?;
            let result = result.get_or_insert_with(|| program.clone());
            if let Some(eqn) = result.eqns.get_mut(index) {
                eqn.op = op;
            }
        }
    }
    Ok(result)
}

fn with_islands_planned(program: &Jaxpr) -> Result<Option<Jaxpr>> {
    let islands = islands(program)?;
    let keeps_order = Options::keeps_order();
    let mut planned: Vec<(Island, Outcome)> = Vec::with_capacity(islands.len());
    for island in islands {
        let outcome = solved(&island.problem);
        match &*outcome {
            Err(refusal) => return Err(refused(program, &island, refusal)),
            // Where the order of operations is kept, only what is forbidden is computed in another.
            Ok(solution) if keeps_order && !solution.written_is_forbidden => {}
            Ok(solution) if solution.improves() => planned.push((island, outcome)),
            Ok(_) => {}
        }
    }
    let marks = program.eqns().iter().any(|eqn| mark(eqn).is_some());
    if planned.is_empty() && !marks {
        return Ok(None);
    }
    if let Some(result) = assembled(program, &planned)? {
        return Ok(Some(result));
    }
    // Two plans wait for each other, which only a plan that was chosen for its cost can cause: keep to those that are needed.
    planned.retain(|(_, outcome)| {
        outcome
            .as_ref()
            .as_ref()
            .is_ok_and(|s| s.written_is_forbidden)
    });
    match assembled(program, &planned)? {
        Some(result) => Ok(Some(result)),
        None => Err(Error::internal("plans of two islands wait for each other")),
    }
}

/// The program with the equations of each island replaced by its plan and all marks gone; `None` if no order of the
/// equations works.
fn assembled(program: &Jaxpr, planned: &[(Island, Outcome)]) -> Result<Option<Jaxpr>> {
    let mut result = program.clone();
    let mut replaced = vec![false; program.eqns().len()];
    let mut placed: Vec<Placed> = Vec::new();
    let mut substitute: FxHashMap<Var, Atom> = FxHashMap::default();
    for (island, outcome) in planned {
        let Ok(solution) = outcome.as_ref() else {
            continue;
        };
        let plan = match Options::keeps_order() {
            true => &solution.lowered,
            false => &solution.plan,
        };
        let exported = export(&mut result, island, plan)?;
        for eqn in &island.eqns {
            replaced[*eqn] = true;
        }
        placed.extend(exported.eqns);
        for (root, atom) in exported.roots {
            if atom != Atom::Var(root) {
                substitute.insert(root, atom);
            }
        }
    }
    for (place, eqn) in result.eqns.drain(..).enumerate() {
        if replaced[place] {
            continue;
        }
        match (
            mark(&eqn).is_some(),
            eqn.inputs.first(),
            eqn.outputs.first(),
        ) {
            (true, Some(source), Some(marked)) => {
                substitute.insert(*marked, source.clone());
            }
            _ => placed.push(Placed { place, eqn }),
        }
    }
    if !substitute.is_empty() {
        let resolve = |atom: &mut Atom| {
            // Chains end: each step leads to an earlier variable or out of an island.
            let mut left = substitute.len();
            while let Some(next) = atom.var().and_then(|var| substitute.get(&var))
                && left > 0
            {
                *atom = next.clone();
                left -= 1;
            }
        };
        for placed in &mut placed {
            placed.eqn.inputs.iter_mut().for_each(resolve);
        }
        result.outs.iter_mut().for_each(resolve);
    }
    let Some(eqns) = in_order(&result, placed) else {
        return Ok(None);
    };
    result.eqns = eqns;
    Ok(Some(result))
}

/// The equations so that each comes after those that it reads, and otherwise in the order of their places.
fn in_order(program: &Jaxpr, placed: Vec<Placed>) -> Option<Vec<Eqn>> {
    let mut maker = vec![usize::MAX; program.var_count()];
    for (index, placed) in placed.iter().enumerate() {
        for var in &placed.eqn.outputs {
            *maker.get_mut(var.index())? = index;
        }
    }
    let mut waits = vec![0u32; placed.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); placed.len()];
    for (index, placed) in placed.iter().enumerate() {
        for var in placed.eqn.inputs.iter().filter_map(Atom::var) {
            let maker = *maker.get(var.index())?;
            if maker != usize::MAX {
                readers[maker].push(index);
                waits[index] += 1;
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<(usize, usize)>> = (0..placed.len())
        .filter(|index| waits[*index] == 0)
        .map(|index| Reverse((placed[index].place, index)))
        .collect();
    let mut eqns: Vec<Option<Placed>> = placed.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(eqns.len());
    while let Some(Reverse((_, index))) = ready.pop() {
        if let Some(placed) = eqns[index].take() {
            sorted.push(placed.eqn);
        }
        for &reader in &readers[index] {
            waits[reader] -= 1;
            if waits[reader] == 0
                && let Some(placed) = &eqns[reader]
            {
                ready.push(Reverse((placed.place, reader)));
            }
        }
    }
    (sorted.len() == eqns.len()).then_some(sorted)
}

/// The refusal as the user sees it: which value, which operation wanted it as an array, where, and what would work.
pub(super) fn refused(program: &Jaxpr, island: &Island, refusal: &Refusal) -> Error {
    let value = refusal
        .value
        .and_then(|value| island.values.get(value as usize))
        .and_then(|eqn| program.eqns().get(*eqn));
    let what = value
        .and_then(mark)
        .map_or("a value", |mark| &mark.what)
        .to_string();
    let step = island.origin.get(refusal.step as usize).copied();
    // The step that mixes the value with something else asked for it; if there is none, whoever reads the value's array.
    let own = step.and_then(|step| program.eqns().get(step));
    let root = island.roots.get(refusal.root).copied();
    let is_content = refusal.step_is_content;
    let asker = match own {
        Some(eqn) if !is_content => Some(eqn),
        _ => root.and_then(|root| {
            let outside = |(index, eqn): &(usize, &Eqn)| {
                island.eqns.binary_search(index).is_err()
                    && eqn.inputs.iter().any(|atom| atom.var() == Some(root))
            };
            program
                .eqns()
                .iter()
                .enumerate()
                .find(outside)
                .map(|(_, eqn)| eqn)
        }),
    };
    let error = match asker {
        Some(eqn) => {
            let operands: Vec<_> = eqn.inputs.iter().map(|a| program.atom_aval(a)).collect();
            Error::refused(format!(
                "refusing to materialise {what}: `{}` needs the array that it equals",
                eqn.op.name()
            ))
            .at(eqn.at)
            .operation(|| eqn.op.describe(&operands))
        }
        None => {
            let error = Error::refused(format!(
                "refusing to materialise {what}: the array that it equals is a result"
            ));
            let maker = |eqn: &&Eqn| root.is_some_and(|root| eqn.outputs.contains(&root));
            match program.eqns().iter().find(maker) {
                Some(eqn) => error.at(eqn.at),
                None => error,
            }
        }
    };
    let error = match refusal.too_large {
        true => error.note("it is mixed with so many other terms that not every plan was tried"),
        false => error,
    };
    error.note(
        "set `allow_materialise` on the value to allow it, or write the program as products with it",
    )
}
