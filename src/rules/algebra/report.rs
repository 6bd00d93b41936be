//! What became of a program's islands, for people to read.

use super::account::{self, Beaten};
use super::cost::CostModel;
use super::equation::mark;
use super::import::{Island, islands};
use super::memo::solved;
use super::oracle::{self, Optimum};
use super::plan::Plan;
use super::program::refused;
use super::solve::explore;
use crate::error::Result;
use crate::trace::passes::{CSE, DCE, INLINE};
use crate::trace::{Atom, Jaxpr};
use std::fmt;
use std::panic::Location;

/// What became of an island, a piece of linear algebra: what it cost as written, what was chosen instead.
#[derive(Debug, Clone)]
pub struct PlannedIsland {
    /// Where the user's program asks for its first result.
    pub at: &'static Location<'static>,
    /// Number of its equations.
    pub equations: usize,
    /// The cost of the program as written, in microseconds, whether it is allowed or not.
    pub cost_as_written: f64,
    /// The cost of the plan; infinite if there is none.
    pub cost: f64,
    /// Whether the program as written forms what a value forbids.
    pub written_is_forbidden: bool,
    /// Multiplications and additions of the plan's contractions.
    pub flops: f64,
    /// Elements of the largest array that the plan forms.
    pub peak_elements: f64,
    /// Whether the plan is known to be the cheapest that the rules lead to.
    pub proven: bool,
    /// Whether a limit stopped the rules, so that there may be other plans.
    pub stopped: bool,
    /// The plan in the notation of einsum, a step a line; or why there is none.
    pub plan: String,
    /// What the leaves of the plan are: `x0`, `x1`, …
    pub leaves: Vec<String>,
    /// The plans that it was chosen over, dearest first; only where they are asked for, by [`explained`].
    pub beaten: Vec<Beaten>,
    /// The laws that lead from the program as written to the plan, by its steps, or what was tried where it is refused; only where
    /// they are asked for, by [`explained`].
    pub rewrites: Vec<String>,
}

impl fmt::Display for PlannedIsland {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = match self.written_is_forbidden {
            true => ", refused as written",
            false => "",
        };
        write!(
            f,
            "{}:{}: {} equations, {:.1} µs as written{refused}",
            self.at.file(),
            self.at.line(),
            self.equations,
            self.cost_as_written,
        )?;
        if self.cost.is_finite() {
            write!(f, ", {:.1} µs planned", self.cost)?;
        }
        if self.stopped {
            f.write_str(", the search was cut short")?;
        }
        writeln!(f)?;
        for (number, leaf) in self.leaves.iter().enumerate() {
            writeln!(f, "  x{number} is {leaf}")?;
        }
        for line in self.plan.trim_end().lines() {
            writeln!(f, "  {line}")?;
        }
        let (over, by) = match self.cost.is_finite() {
            true => ("beats", "by"),
            false => ("would run", "tried"),
        };
        for beaten in &self.beaten {
            writeln!(f, "  {over}: {beaten}")?;
            for line in beaten.plan.lines().filter(|line| line.starts_with('t')) {
                writeln!(f, "    {line}")?;
            }
        }
        for line in &self.rewrites {
            writeln!(f, "  {by} {line}")?;
        }
        Ok(())
    }
}

/// The program as it runs: calls inlined, common subexpressions shared, and each island as its plan computes it.
///
/// # Errors
///
/// If a value that must not be materialised is needed as an array.
pub fn rewritten(program: &Jaxpr) -> Result<Jaxpr> {
    super::rewrite(&prepared(program)?)?.through(&[DCE])
}

pub(super) fn prepared(program: &Jaxpr) -> Result<Jaxpr> {
    program.clone().through(&[INLINE, CSE, DCE])
}

/// The islands of a program that has not been rewritten, and their plans.
///
/// # Errors
///
/// If a value's definition forms by itself what the value does not allow.
pub fn plans(program: &Jaxpr) -> Result<Vec<PlannedIsland>> {
    let program = prepared(program)?;
    let islands = islands(&program)?;
    let planned = |island: &Island| planned(&program, island);
    Ok(islands.iter().filter_map(planned).collect())
}

/// As [`plans`], with the plans that each was chosen over, and the laws that lead to it.
///
/// # Errors
///
/// Where [`plans`] has one.
pub fn explained(program: &Jaxpr) -> Result<Vec<PlannedIsland>> {
    let program = prepared(program)?;
    let model = CostModel::current();
    let mut all = Vec::new();
    for island in islands(&program)? {
        let Some(mut report) = planned(&program, &island) else {
            continue;
        };
        match explore(&island.problem, &model, true) {
            Ok(explored) => {
                report.plan = explored.solution.plan.to_string();
                report.beaten = account::beaten(&island.problem, &model, &explored);
                report.rewrites = account::rewrites(&explored);
            }
            // What is refused would have been computed so.
            Err(_) => {
                report.beaten.push(Beaten {
                    what: "as written",
                    cost: report.cost_as_written,
                    is_forbidden: true,
                    plan: Plan::as_written(&island.problem).trimmed().to_string(),
                });
                report.rewrites = account::tried(&island.problem, &model);
            }
        }
        all.push(report);
    }
    Ok(all)
}

/// What the leaves of an island are.
fn leaves(program: &Jaxpr, island: &Island) -> Vec<String> {
    let eqns = || {
        island
            .eqns
            .iter()
            .filter_map(|index| program.eqns().get(*index))
    };
    let of = |var: &crate::trace::Var| {
        let aval = program.aval(*var);
        let component = eqns()
            .filter(|eqn| eqn.inputs.first().and_then(Atom::var) == Some(*var))
            .find_map(|eqn| mark(eqn).and_then(|mark| Some((mark, mark.field?))));
        let maker = program.eqns().iter().find(|eqn| eqn.outputs.contains(var));
        let input = program.invars().iter().position(|input| input == var);
        match (component, input, maker) {
            (Some((mark, field)), _, _) => format!("{aval}, component {field} of {}", mark.what),
            (_, Some(input), _) => format!("{aval}, input {input}"),
            (_, _, Some(eqn)) => {
                let (file, line) = (eqn.at.file(), eqn.at.line());
                format!("{aval}, made by `{}` at {file}:{line}", eqn.op.name())
            }
            _ => aval.to_string(),
        }
    };
    island.leaves.iter().map(of).collect()
}

fn planned(program: &Jaxpr, island: &Island) -> Option<PlannedIsland> {
    let result = island.roots.first()?;
    let made = |eqn: &&crate::trace::Eqn| eqn.outputs.contains(result);
    let first = program.eqns().iter().find(made)?;
    let model = CostModel::current();
    let as_written = Plan::as_written(&island.problem).trimmed();
    let cost_as_written = as_written.cost(&model, island.problem.itemsize);
    let mut report = PlannedIsland {
        at: first.at,
        equations: island.eqns.len(),
        cost_as_written,
        cost: f64::INFINITY,
        written_is_forbidden: true,
        flops: 0.0,
        peak_elements: 0.0,
        proven: false,
        stopped: false,
        plan: String::new(),
        leaves: leaves(program, island),
        beaten: Vec::new(),
        rewrites: Vec::new(),
    };
    match solved(&island.problem).as_ref() {
        Ok(solution) => {
            report.cost = solution.cost;
            report.written_is_forbidden = solution.written_is_forbidden;
            report.flops = solution.plan.flops();
            report.peak_elements = solution.plan.peak_elements();
            report.proven = solution.proven;
            report.stopped = solution.stopped;
            report.plan = solution.plan.to_string();
        }
        Err(refusal) => report.plan = refused(program, island, refusal).to_string(),
    }
    Some(report)
}

/// The least that a plan for all islands of a program can cost, in microseconds: by exhaustion, apart from the rules and the
/// search that make plans, to judge them by. Infinite if there is no plan; `None` if an island is too large to be searched.
///
/// # Errors
///
/// Where [`plans`] has one.
pub fn optimum(program: &Jaxpr) -> Result<Option<f64>> {
    let mut known: Vec<(super::problem::Problem, Optimum)> = Vec::new();
    let mut sum = 0.0;
    for island in islands(&prepared(program)?)? {
        let problem = island.problem;
        let found = match known.iter().find(|(other, _)| *other == problem) {
            Some((_, found)) => *found,
            None => oracle::optimum(&problem, &CostModel::current()),
        };
        known.push((problem, found));
        match found {
            Optimum::Cost(cost) => sum += cost,
            Optimum::Refused => return Ok(Some(f64::INFINITY)),
            Optimum::Unknown => return Ok(None),
        }
    }
    Ok(Some(sum))
}
