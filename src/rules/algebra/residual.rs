//! Residuals: what the forward pass leaves for the backward pass is kept, or computed again where it is needed.
//!
//! A leaf that opaque equations make of an island's own roots (the gradient that comes back through an activation) parts the
//! island in two: steps that need such a leaf are *late*. What an early step makes and a late one reads has to be held in between.
//! With a price on that ([`Options::residual_price`](super::Options::residual_price)) steps are taken again where it saves more
//! than it costs, alone or with all that they are made of (Griewank and Walther, "Revolve", 2000, choose so for chains of steps).

use super::cost::CostModel;
use super::language::elements;
use super::plan::{Action, Plan, PlanStep};
use super::problem::Problem;

/// How often steps are taken up to be computed again.
const MOST_ROUNDS: usize = 64;
/// Plans of more steps keep what they have.
const MOST_STEPS: usize = 1_000;

/// The plan with those residuals computed again that cost more to be held.
pub fn computed_again(plan: Plan, problem: &Problem, model: &CostModel) -> Plan {
    let price = problem.residual_price.0;
    let parted = problem.leaves.iter().any(|leaf| !leaf.after.is_empty());
    if price <= 0.0 || !parted || plan.steps.len() > MOST_STEPS {
        return plan;
    }
    let mut best = early_first(plan, problem);
    let whole = |plan: &Plan| plan.cost(model, problem.itemsize) + price * held(plan, problem);
    let mut least = whole(&best);
    for _ in 0..MOST_ROUNDS {
        let mut better: Option<Plan> = None;
        for step in (0..best.steps.len()).filter(|step| is_residual(&best, problem, *step)) {
            for deep in [false, true] {
                let other = again(&best, problem, step, deep);
                let cost = whole(&other);
                if cost < least * (1.0 - 1e-9) {
                    least = cost;
                    better = Some(other);
                }
            }
        }
        match better {
            Some(other) => best = other,
            None => break,
        }
    }
    best
}

/// For each step a leaf that it has to wait for, if it is late.
fn waits(plan: &Plan, problem: &Problem) -> Vec<Option<u32>> {
    let mut waits: Vec<Option<u32>> = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let own = match step.action {
            Action::Leaf(leaf) => {
                let of = problem.leaves.get(leaf as usize);
                of.is_some_and(|of| !of.after.is_empty()).then_some(leaf)
            }
            _ => step.again,
        };
        let operands = step.action.operands();
        let inherited = operands.iter().find_map(|operand| waits[*operand]);
        waits.push(own.or(inherited));
    }
    waits
}

/// The same with all early steps before the first late one.
fn early_first(plan: Plan, problem: &Problem) -> Plan {
    let waits = waits(&plan, problem);
    let (early, late): (Vec<usize>, Vec<usize>) =
        (0..plan.steps.len()).partition(|step| waits[*step].is_none());
    let mut place = vec![0; plan.steps.len()];
    let mut steps = Vec::with_capacity(plan.steps.len());
    for old in early.into_iter().chain(late) {
        place[old] = steps.len();
        let mut step = plan.steps[old].clone();
        step.action.rename(|operand| place[operand]);
        steps.push(step);
    }
    let mut roots = plan.roots;
    roots
        .iter_mut()
        .for_each(|root| root.step = place[root.step]);
    Plan { steps, roots }
}

/// The late steps that read a step.
fn late_readers(plan: &Plan, waits: &[Option<u32>], step: usize) -> Vec<usize> {
    let reads = |reader: &usize| plan.steps[*reader].action.operands().contains(&step);
    let readers = (step + 1..plan.steps.len()).filter(|reader| waits[*reader].is_some());
    readers.filter(reads).collect()
}

/// Whether a step's result is held for late ones and for nobody else.
fn is_residual(plan: &Plan, problem: &Problem, step: usize) -> bool {
    let waits = waits(plan, problem);
    let made = matches!(plan.steps[step].action, Action::Product(_) | Action::Sum(_));
    let asked = plan.roots.iter().any(|root| root.step == step);
    made && !asked && waits[step].is_none() && !late_readers(plan, &waits, step).is_empty()
}

/// Megabytes that are held from early steps to late ones; results are held by whoever asks for them.
fn held(plan: &Plan, problem: &Problem) -> f64 {
    let waits = waits(plan, problem);
    let is_held = |step: &usize| {
        let asked = plan.roots.iter().any(|root| root.step == *step);
        let given = |leaf: u32| problem.leaves.get(leaf as usize).is_some_and(|l| l.given);
        let there = plan.steps[*step].structure.is_some()
            || matches!(plan.steps[*step].action, Action::Leaf(leaf) if given(leaf));
        waits[*step].is_none() && !asked && !there && !late_readers(plan, &waits, *step).is_empty()
    };
    let bytes = |step: usize| elements(&plan.steps[step].shape) * f64::from(problem.itemsize);
    let held = (0..plan.steps.len()).filter(is_held).map(bytes);
    held.sum::<f64>() / 1e6
}

/// The plan in which late steps read a step that is taken again: it alone, or with the early ones that it is made of and that are
/// not held anyway.
fn again(plan: &Plan, problem: &Problem, step: usize, deep: bool) -> Plan {
    let waits = waits(plan, problem);
    let readers = late_readers(plan, &waits, step);
    let Some(first) = readers.first().copied() else {
        return plan.clone();
    };
    let mut taken = vec![false; plan.steps.len()];
    taken[step] = true;
    for index in (0..=step).rev().filter(|_| deep) {
        if taken[index] {
            for operand in plan.steps[index].action.operands() {
                let made = &plan.steps[operand].action;
                let held = plan.roots.iter().any(|root| root.step == operand)
                    || !late_readers(plan, &waits, operand).is_empty();
                taken[operand] |= !held && matches!(made, Action::Product(_) | Action::Sum(_));
            }
        }
    }
    let mut place = vec![0; plan.steps.len()];
    let mut copy = vec![0; plan.steps.len()];
    let mut steps: Vec<PlanStep> = Vec::with_capacity(plan.steps.len() + 1);
    for (old, own) in plan.steps.iter().enumerate() {
        if old == first {
            for member in (0..first).filter(|member| taken[*member]) {
                let mut own = plan.steps[member].clone();
                own.action.rename(|operand| match taken[operand] {
                    true => copy[operand],
                    false => place[operand],
                });
                own.again = waits[first];
                copy[member] = steps.len();
                steps.push(own);
            }
        }
        let mut own = own.clone();
        let late = waits[old].is_some();
        own.action.rename(|operand| match late && operand == step {
            true => copy[operand],
            false => place[operand],
        });
        place[old] = steps.len();
        steps.push(own);
    }
    let mut roots = plan.roots.clone();
    roots
        .iter_mut()
        .for_each(|root| root.step = place[root.step]);
    Plan { steps, roots }.trimmed()
}
