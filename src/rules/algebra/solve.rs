//! From an island to its plan.

use super::analysis::{Algebra, Graph, Zeal};
use super::apply;
use super::construct::whole;
use super::cost::CostModel;
use super::exact;
use super::extract::{Choice, ClassGraph};
use super::language::Labels;
use super::lower::{Built, Refusal, build, lower};
use super::plan::Plan;
use super::problem::{Operation, Problem};
use super::residual;
use super::rules::{DISTRIBUTE, EXPAND, FACTOR, FLATTEN, GATHER, ORDER, Rule, rewrites};
use egg::{Id, Runner, SimpleScheduler};
use rustc_hash::FxHashMap;
use std::sync::LazyLock;
use std::time::Duration;

/// Units of work that the rules may do for each step of an island; a unit is about half a microsecond.
const WORK_PER_STEP: u64 = 500;
/// Units of work that the rules may do for one island at least, and at most.
const WORK: std::ops::RangeInclusive<u64> = 3_000..=20_000;
/// Nodes beyond which no iteration is begun.
const MOST_NODES: usize = 4_000;
/// Up to so many nodes, sums are multiplied out where that pays even if others have to be.
const FEW_NODES: usize = 1_000;
/// Up to so many nodes, everything is tried: what pays only together with something else is found as well.
const FEWEST_NODES: usize = 150;
/// How often what users know may open the way for more of it.
const APPLICATION_ROUNDS: usize = 4;
/// Islands of more steps are only lowered.
const MOST_STEPS: usize = 3_000;

static COMMON_FACTORS: LazyLock<Vec<Rule>> = LazyLock::new(|| rewrites(&[EXPAND, FACTOR]));
static SATURATE: LazyLock<Vec<Rule>> =
    LazyLock::new(|| rewrites(&[FLATTEN, DISTRIBUTE, GATHER, ORDER]));
static FACTOR_ONCE: LazyLock<Vec<Rule>> = LazyLock::new(|| rewrites(&[FACTOR]));

/// A plan and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The plan.
    pub plan: Plan,
    /// The plan that is closest to the program as written: sums are taken apart only where they must not be formed.
    pub lowered: Plan,
    /// Its cost, in microseconds.
    pub cost: f64,
    /// The cost of the program as written.
    pub cost_as_written: f64,
    /// Whether the program as written forms what must not be formed.
    pub written_is_forbidden: bool,
    /// Whether the plan is the cheapest in the e-graph.
    pub proven: bool,
    /// Whether a limit stopped the rules.
    pub stopped: bool,
    /// Nodes of the e-graph.
    pub nodes: usize,
    /// Classes of the e-graph.
    pub classes: usize,
}

impl Solution {
    /// Whether the plan is another than the program as written.
    pub fn improves(&self) -> bool {
        let again = self.plan.steps.iter().any(|step| step.again.is_some());
        self.written_is_forbidden || again || self.cost < self.cost_as_written * (1.0 - 1e-9)
    }
}

/// Finds a plan for an island: the cheapest that the search meets, and never costlier than the program as written if that is
/// allowed.
///
/// # Errors
///
/// If no plan avoids to materialise a value that must not be.
pub fn solve(problem: &Problem, model: &CostModel) -> Result<Solution, Refusal> {
    let mut solution = explore(problem, model, false)?.solution;
    let kept = std::mem::take(&mut solution.plan);
    solution.plan = residual::computed_again(kept, problem, model);
    solution.cost = solution.plan.cost(model, problem.itemsize);
    Ok(solution)
}

/// A solution with the e-graph in which it was found.
pub struct Explored {
    /// The solution.
    pub solution: Solution,
    /// The e-graph, the part of it that plans may use, and what is chosen there; `None` if the island was not searched.
    pub found: Option<(Graph, ClassGraph, Choice)>,
    /// The step of the plan that each class is, if the plan comes from there.
    pub steps: FxHashMap<usize, usize>,
    /// The cheapest plan in which nothing is shared on purpose.
    pub trees: Option<(f64, Plan)>,
}

/// As [`solve`], with all that was found, and with a log of what laws have equated if that is asked for.
///
/// # Errors
///
/// As [`solve`].
pub fn explore(problem: &Problem, model: &CostModel, log: bool) -> Result<Explored, Refusal> {
    let written = Plan::as_written(problem).trimmed();
    let cost_as_written = written.cost(model, problem.itemsize);
    let mut built = build(problem, model, work(problem));
    built.graph.analysis.log = log.then(Vec::new);
    let lowered = lower(problem, &mut built);
    let written_is_forbidden = written_is_forbidden(problem, &built);
    // A result that is nothing but where elements go (ones added up at an index) is no product: it stays as it is written.
    let is_structure = |root: &u32| {
        let view = built.views.get(*root as usize);
        view.is_some_and(|view| built.graph[view.id].data.structure.is_some())
    };
    let structural = problem.roots.iter().any(is_structure);
    let lowered = match lowered {
        Ok(_) if structural && !written_is_forbidden => Ok(written.clone()),
        lowered => lowered,
    };
    let lowered = match lowered {
        // A bound of the search is no reason to refuse what may run as it is written.
        Err(_) if !written_is_forbidden => written.clone(),
        lowered => lowered?,
    };
    let mut best = lowered.clone();
    let mut cost = best.cost(model, problem.itemsize);
    if !written_is_forbidden && cost_as_written <= cost {
        best = written;
        cost = cost_as_written;
    }
    let mut solution = Solution {
        plan: best,
        lowered,
        cost,
        cost_as_written,
        written_is_forbidden,
        proven: false,
        stopped: true,
        nodes: built.graph.total_size(),
        classes: built.graph.number_of_classes(),
    };
    let alone = |solution| {
        Ok(Explored {
            solution,
            found: None,
            steps: FxHashMap::default(),
            trees: None,
        })
    };
    if problem.steps.len() > MOST_STEPS || structural {
        return alone(solution);
    }

    let roots = rooted(problem, &mut built);
    built.graph.analysis.known = apply::known(&built.graph, problem, &built.views);
    let mut graph = saturate(problem, built.graph);
    if !problem.equalities.is_empty() && !graph.analysis.broken {
        let mut seen = apply::Seen::default();
        for _ in 0..APPLICATION_ROUNDS {
            if !apply::apply(&mut graph, problem, &built.views, &mut seen) {
                break;
            }
        }
    }
    if graph.analysis.broken {
        return alone(solution);
    }
    let asked: Vec<Id> = roots.iter().map(|(id, _)| *id).collect();
    let classes = ClassGraph::new(&graph, &asked);
    solution.stopped = graph.analysis.stopped;
    solution.nodes = graph.total_size();
    solution.classes = graph.number_of_classes();
    if !classes.is_feasible() {
        return alone(solution);
    }
    let (choice, choice_cost) = classes.good_choice();
    let found = exact::search(&classes, choice, choice_cost);
    let mut steps = FxHashMap::default();
    let trees = log.then(|| {
        let plan = classes.plan(&graph, &classes.cheapest_trees(), &roots)?;
        Some((plan.cost(model, problem.itemsize), plan))
    });
    solution.proven = found.proven;
    if let Some(plan) = classes.plan(&graph, &found.choice, &roots) {
        let mut plan = plan;
        let mut cost = plan.cost(model, problem.itemsize);
        let (flat, places) = plan.clone().with_flat_sums();
        let flat_cost = flat.cost(model, problem.itemsize);
        let mut place: Vec<Option<usize>> = (0..plan.steps.len()).map(Some).collect();
        if flat_cost < cost {
            (plan, cost, place) = (flat, flat_cost, places);
        }
        // What is to be explained comes from the graph, if it costs the same.
        let as_good = log && written_is_forbidden && cost <= solution.cost * (1.0 + 1e-9);
        if as_good || cost < solution.cost * (1.0 - 1e-9) {
            let order = classes.sorted(&found.choice).unwrap_or_default();
            let named = order.iter().zip(&place);
            steps = named
                .filter_map(|(c, place)| Some((*c, (*place)?)))
                .collect();
            solution.plan = plan;
            solution.cost = cost;
        }
    }
    Ok(Explored {
        solution,
        found: Some((graph, classes, found.choice)),
        steps,
        trees: trees.flatten(),
    })
}

/// The units of work that the rules may do for an island.
pub(super) fn work(problem: &Problem) -> u64 {
    let work = WORK_PER_STEP * problem.steps.len() as u64;
    work.clamp(*WORK.start(), *WORK.end())
}

/// The class of each root, with the axes of the root that its are.
pub(super) fn rooted(problem: &Problem, built: &mut Built) -> Vec<(Id, Labels)> {
    let roots = problem.roots.iter().map(|&root| {
        let view = built.views[root as usize].clone();
        let view = whole(&mut built.graph, view, problem.shape(root));
        (view.id, view.axes)
    });
    let roots = roots.collect();
    built.graph.rebuild();
    roots
}

/// Whether a step that the roots need is forbidden.
fn written_is_forbidden(problem: &Problem, built: &Built) -> bool {
    let mut live = vec![false; problem.steps.len()];
    for &root in &problem.roots {
        live[root as usize] = true;
    }
    for (index, step) in problem.steps.iter().enumerate().rev() {
        if !live[index] {
            continue;
        }
        match &step.operation {
            Operation::Leaf(_) | Operation::Band(_) => continue,
            Operation::Product { operands, .. } => {
                operands.iter().for_each(|o| live[o.0 as usize] = true);
            }
            Operation::Sum { terms, .. } => {
                terms.iter().for_each(|t| live[t.1 as usize] = true);
            }
        }
        let data = &built.graph[built.views[index].id].data;
        let algebra = &built.graph.analysis;
        if algebra.forbids(&data.provenance, &data.shape).is_some() {
            return true;
        }
    }
    false
}

/// The e-graph with all that the rules find to be equal, within their budgets.
pub(super) fn saturate(problem: &Problem, graph: Graph) -> Graph {
    let sums = problem
        .steps
        .iter()
        .any(|step| matches!(&step.operation, Operation::Sum { terms, .. } if terms.len() > 1));
    let mut graph = graph;
    if sums {
        graph = run(graph, &COMMON_FACTORS, 3);
    }
    graph = run(graph, &SATURATE, 12);
    if sums {
        graph = run(graph, &FACTOR_ONCE, 1);
        graph = run(graph, &SATURATE, 3);
        if graph.analysis.zeal == Zeal::Needed && graph.total_size() < FEW_NODES {
            graph.analysis.zeal = Zeal::Pays;
            graph = run(graph, &SATURATE, 3);
        }
        if graph.total_size() < FEWEST_NODES {
            graph.analysis.zeal = Zeal::All;
            graph.analysis.tried.clear();
            graph = run(graph, &SATURATE, 3);
        }
    }
    graph
}

fn run(graph: Graph, rules: &[Rule], iterations: usize) -> Graph {
    Runner::<_, _, ()>::new(Algebra::default())
        .with_egraph(graph)
        .with_scheduler(SimpleScheduler)
        .with_iter_limit(iterations)
        .with_node_limit(MOST_NODES)
        // No timer decides what plan comes out.
        .with_time_limit(Duration::from_secs(u64::from(u32::MAX)))
        .run(rules)
        .egraph
}
