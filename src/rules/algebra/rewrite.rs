//! The whole pass: a program in, the cheapest program that equals it out.

use super::cost::CostModel;
use super::export::Writer;
use super::import::{Island, import};
use super::lower::Refusal;
use super::plan::Action;
use super::problem::Problem;
use super::solve::{Solution, solve};
use crate::{
    error::{Error, Result},
    trace::{
        Atom, Eqn, Jaxpr, Program, Var,
        op::{Component, Op},
    },
};
use rustc_hash::FxHashMap;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// Solved islands are kept up to this number; then the memo starts anew.
const MOST_KEPT: usize = 4096;

type Solved = Arc<std::result::Result<Solution, Refusal>>;

/// The solution of an island; islands that are equal up to names are solved once in a process.
fn solved(problem: &Problem) -> Solved {
    static MEMO: LazyLock<Mutex<FxHashMap<Problem, Solved>>> = LazyLock::new(Mutex::default);
    let lock = || MEMO.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(s) = lock().get(problem) {
        return s.clone();
    }
    let solution = Arc::new(solve(problem, &CostModel::default()));
    let mut memo = lock();
    if memo.len() >= MOST_KEPT {
        memo.clear();
    }
    memo.insert(problem.clone(), solution.clone());
    solution
}

/// May there be something to gain, or something that must be done?
fn is_of_interest(j: &Jaxpr) -> bool {
    let mut contractions = 0;
    j.eqns().iter().any(|e| {
        contractions += usize::from(matches!(e.op, Op::DotGeneral(_)));
        contractions >= 2 || matches!(e.op, Op::Component(_)) || e.op.inner().is_some()
    })
}

/// The cheapest program that equals this one, under the cost model; never costlier than it. Programs inside are rewritten too.
/// Marks of components are gone from the result.
///
/// An error if every plan would form an array that a value forbids.
pub(crate) fn rewrite(j: &Jaxpr) -> Result<Jaxpr> {
    if !is_of_interest(j) {
        return Ok(j.clone());
    }
    let j = inside(j.clone().inline())?.dce();
    let mut chosen = vec![];
    for island in import(&j).islands {
        let solution = solved(&island.problem);
        match &*solution {
            Ok(s) if s.improves() => chosen.push((island, solution)),
            Ok(_) => {}
            Err(refusal) => return Err(refused(&j, &island, refusal)),
        }
    }
    if chosen.is_empty() {
        return Ok(unmarked(j));
    }
    let program = match schedule(&j, &chosen)? {
        Some(p) => p,
        None => {
            // Plans of different islands wait for each other: only those that must be are kept.
            chosen.retain(|(_, s)| matches!(&**s, Ok(s) if s.written_is_forbidden));
            let Some(p) = schedule(&j, &chosen)? else {
                return Err(Error::internal(
                    "plans of different islands wait for each other",
                ));
            };
            p
        }
    };
    let program = program.dce();
    #[cfg(debug_assertions)]
    program.check()?;
    Ok(program)
}

/// Rewrite the programs inside equations.
fn inside(mut j: Jaxpr) -> Result<Jaxpr> {
    for eqn in &mut j.eqns {
        let Some(inner) = eqn.op.inner() else {
            continue;
        };
        let programs = inner
            .programs()
            .into_iter()
            .map(|p| rewrite(p).map(Program::from).map_err(|e| e.at(eqn.at)))
            .collect::<Result<Vec<_>>>()?;
        eqn.op = inner.with_programs(programs)?;
    }
    Ok(j)
}

/// The program without the marks of components.
fn unmarked(mut j: Jaxpr) -> Jaxpr {
    let mut names: FxHashMap<Var, Atom> = FxHashMap::default();
    let read = |names: &FxHashMap<Var, Atom>, a: &Atom| match a.var().and_then(|v| names.get(&v)) {
        Some(b) => b.clone(),
        None => a.clone(),
    };
    let eqns = std::mem::take(&mut j.eqns);
    for mut eqn in eqns {
        eqn.inputs = eqn.inputs.iter().map(|a| read(&names, a)).collect();
        if let (Op::Component(_), [v], [a]) = (&eqn.op, &eqn.outputs[..], &eqn.inputs[..]) {
            names.insert(*v, a.clone());
            continue;
        }
        j.eqns.push(eqn);
    }
    j.outs = j.outs.iter().map(|a| read(&names, a)).collect();
    j
}

/// One thing to be emitted.
enum Item<'c> {
    /// An equation as it is.
    Equation(&'c Eqn),
    /// A step of the plan of an island.
    Step(usize, usize),
    /// A root of an island.
    Root(usize, usize),
}

/// The program with the islands' equations replaced by their plans, everything in an order in which it can run, as near to the
/// old one as can be. `None` if there is no such order.
fn schedule(j: &Jaxpr, chosen: &[(Island, Solved)]) -> Result<Option<Jaxpr>> {
    let plans: Vec<(&Island, &Solution)> = chosen
        .iter()
        .filter_map(|(i, s)| Some((i, s.as_ref().as_ref().ok()?)))
        .collect();
    let mut replaced = vec![false; j.eqns().len()];
    for (island, _) in &plans {
        for i in &island.equations {
            if let Some(slot) = replaced.get_mut(*i) {
                *slot = true;
            }
        }
    }
    // Items, where in the old program each belongs, and who makes each variable.
    let mut items: Vec<(usize, Item<'_>)> = vec![];
    let mut maker: FxHashMap<Var, usize> = FxHashMap::default();
    for (i, e) in j.eqns().iter().enumerate().filter(|(i, _)| !replaced[*i]) {
        maker.extend(e.outputs.iter().map(|v| (*v, items.len())));
        items.push((i, Item::Equation(e)));
    }
    let mut step_item: Vec<Vec<usize>> = vec![];
    for (k, (island, s)) in plans.iter().enumerate() {
        let place = |step: &super::plan::PlanStep| {
            island
                .stands_for
                .get(step.stands_for as usize)
                .copied()
                .unwrap_or(0)
        };
        let mut of = vec![];
        for (n, step) in s.plan.steps.iter().enumerate() {
            of.push(items.len());
            items.push((place(step), Item::Step(k, n)));
        }
        for (n, (root, v)) in s.plan.roots.iter().zip(&island.roots).enumerate() {
            maker.insert(*v, items.len());
            items.push((
                s.plan.steps.get(root.step).map_or(0, place),
                Item::Root(k, n),
            ));
        }
        step_item.push(of);
    }
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|(_, item)| match item {
            Item::Equation(e) => e
                .inputs
                .iter()
                .filter_map(Atom::var)
                .filter_map(|v| maker.get(&v).copied())
                .collect(),
            Item::Step(k, n) => {
                let (island, s) = &plans[*k];
                let step = &s.plan.steps[*n];
                match step.action {
                    Action::Leaf(l) => {
                        let v = island.leaves.get(l as usize);
                        v.and_then(|v| maker.get(v)).copied().into_iter().collect()
                    }
                    _ => step
                        .action
                        .operands()
                        .iter()
                        .map(|o| step_item[*k][*o])
                        .collect(),
                }
            }
            Item::Root(k, n) => vec![step_item[*k][plans[*k].1.plan.roots[*n].step]],
        })
        .collect();
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut feeds: Vec<Vec<usize>> = vec![vec![]; items.len()];
    for (i, n) in needs.iter().enumerate() {
        for k in n {
            feeds[*k].push(i);
        }
    }
    let mut ready: BinaryHeap<Reverse<(usize, usize)>> = (0..items.len())
        .filter(|i| waiting[*i] == 0)
        .map(|i| Reverse((items[i].0, i)))
        .collect();
    let mut program = Jaxpr {
        eqns: vec![],
        ..j.clone()
    };
    let mut names: FxHashMap<Var, Atom> = FxHashMap::default();
    let mut made: Vec<Option<Atom>> = vec![None; items.len()];
    let mut done = 0;
    while let Some(Reverse((_, i))) = ready.pop() {
        done += 1;
        made[i] = emit(
            j,
            &mut program,
            &plans,
            &items[i],
            &mut names,
            &made,
            &step_item,
        )?;
        for k in &feeds[i] {
            waiting[*k] -= 1;
            if waiting[*k] == 0 {
                ready.push(Reverse((items[*k].0, *k)));
            }
        }
    }
    if done < items.len() {
        return Ok(None);
    }
    program.outs = j.outs().iter().map(|a| renamed(&names, a)).collect();
    Ok(Some(unmarked(program)))
}

fn renamed(names: &FxHashMap<Var, Atom>, a: &Atom) -> Atom {
    match a.var().and_then(|v| names.get(&v)) {
        Some(b) => b.clone(),
        None => a.clone(),
    }
}

fn emit(
    j: &Jaxpr,
    program: &mut Jaxpr,
    plans: &[(&Island, &Solution)],
    (place, item): &(usize, Item<'_>),
    names: &mut FxHashMap<Var, Atom>,
    made: &[Option<Atom>],
    step_item: &[Vec<usize>],
) -> Result<Option<Atom>> {
    let broken = || Error::internal("a plan reads a step before it is made");
    let (k, n) = match item {
        Item::Equation(e) => {
            let inputs = e.inputs.iter().map(|a| renamed(names, a)).collect();
            program.eqns.push(Eqn {
                inputs,
                ..(*e).clone()
            });
            return Ok(None);
        }
        Item::Step(k, n) | Item::Root(k, n) => (*k, *n),
    };
    let (island, s) = plans[k];
    let read = |step: usize| made[step_item[k][step]].clone().ok_or_else(broken);
    let eqn = j.eqns().get(*place).ok_or_else(broken)?;
    let dtype = island
        .roots
        .first()
        .map_or(crate::array::DType::F32, |v| j.aval(*v).dtype);
    let mut writer = Writer {
        program,
        dtype,
        at: eqn.at,
    };
    if let Item::Root(..) = item {
        let root = &s.plan.roots[n];
        let atom = writer.root(read(root.step)?, &root.axes)?;
        let v = island.roots.get(n).ok_or_else(broken)?;
        names.insert(*v, atom.clone());
        return Ok(Some(atom));
    }
    let step = &s.plan.steps[n];
    if let Action::Leaf(l) = step.action {
        let v = island.leaves.get(l as usize).ok_or_else(broken)?;
        return Ok(Some(renamed(names, &Atom::Var(*v))));
    }
    writer.step(step, read).map(Some)
}

/// The error of an island that has no plan: which value, who needs it, where.
fn refused(j: &Jaxpr, island: &Island, refusal: &Refusal) -> Error {
    let value = refusal.value.and_then(|v| island.values.get(v as usize));
    let mark = j
        .eqns()
        .iter()
        .find_map(|e| e.op.get::<Component>().filter(|c| Some(&c.value) == value));
    let what = mark.map_or("a value".to_string(), |c| c.what.to_string());
    let root = island.roots.get(refusal.root).copied();
    let consumer =
        j.eqns().iter().enumerate().find(|(i, e)| {
            !island.equations.contains(i) && e.inputs.iter().any(|a| a.var() == root)
        });
    let made = island
        .stands_for
        .get(refusal.step as usize)
        .and_then(|i| j.eqns().get(*i));
    let (who, at) = match consumer {
        Some((_, e)) => (
            format!("`{}` needs the array that it equals", e.op.name()),
            Some(e.at),
        ),
        None => (
            "a result is the array that it equals, or a multiple of it".to_string(),
            made.map(|e| e.at),
        ),
    };
    let e = Error::refused(format!("refusing to materialise {what}: {who}"));
    let e = match at {
        Some(at) => e.at(at),
        None => e,
    };
    let e = if refusal.too_large {
        e.note("it is mixed with other arrays in more ways than were tried")
    } else {
        e
    };
    e.note("set `allow_materialise` on the value to allow it, or write the program as products with it")
}
