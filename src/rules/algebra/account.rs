//! How a plan came about: what it was chosen over, and the laws that lead to it.

use super::analysis::{Equated, Graph};
use super::cost::CostModel;
use super::language::{Coefficient, Label, Term};
use super::lower::{build, lower};
use super::plan::{Action, Plan, letters};
use super::problem::Problem;
use super::solve::{Explored, rooted, saturate, work};
use egg::{Id, Language};
use std::fmt;

/// How deep a tensor that the plan does not form is spelled out.
const DEEPEST: usize = 3;
/// The most laws that are told for one step.
const MOST_LAWS: usize = 6;

/// A plan that was not chosen.
#[derive(Debug, Clone)]
pub struct Beaten {
    /// Which one.
    pub what: &'static str,
    /// Its cost, in microseconds.
    pub cost: f64,
    /// Whether it forms what a value forbids.
    pub is_forbidden: bool,
    /// The plan in the notation of einsum.
    pub plan: String,
}

impl fmt::Display for Beaten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forbidden = if self.is_forbidden { ", refused" } else { "" };
        write!(f, "{}, {:.1} µs{forbidden}", self.what, self.cost)
    }
}

/// The plans that a solution was chosen over, dearest first.
pub(super) fn beaten(problem: &Problem, model: &CostModel, explored: &Explored) -> Vec<Beaten> {
    let solution = &explored.solution;
    let written = Plan::as_written(problem).trimmed();
    let lowered = &solution.lowered;
    let mut all = vec![(
        "as written",
        solution.cost_as_written,
        solution.written_is_forbidden,
        &written,
    )];
    let cost = lowered.cost(model, problem.itemsize);
    all.push((
        "sums taken apart only where they must be",
        cost,
        false,
        lowered,
    ));
    if let Some((cost, trees)) = &explored.trees {
        all.push((
            "each result as cheap as it can be alone",
            *cost,
            false,
            trees,
        ));
    }
    let mut beaten: Vec<Beaten> = Vec::new();
    for (what, cost, is_forbidden, plan) in all {
        let text = plan.to_string();
        let worse = is_forbidden || cost > solution.cost * (1.0 + 1e-9);
        if worse && *plan != solution.plan && !beaten.iter().any(|known| known.plan == text) {
            beaten.push(Beaten {
                what,
                cost,
                is_forbidden,
                plan: text,
            });
        }
    }
    beaten.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    beaten
}

/// The laws that lead from the program as written to the plan, a line each, by the steps of the plan.
pub(super) fn rewrites(explored: &Explored) -> Vec<String> {
    let Some((graph, classes, choice)) = &explored.found else {
        return Vec::new();
    };
    let Some(log) = &graph.analysis.log else {
        return Vec::new();
    };
    let mut steps: Vec<(usize, usize)> = explored.steps.iter().map(|(c, s)| (*s, *c)).collect();
    steps.sort_unstable();
    let name_of = |id: Id| -> Option<String> {
        let id = graph.find(id);
        let class = classes.ids.iter().position(|known| *known == id)?;
        let step = *explored.steps.get(&class)?;
        Some(match &explored.solution.plan.steps.get(step)?.action {
            Action::Leaf(leaf) => format!("x{leaf}"),
            _ => format!("t{step}"),
        })
    };
    let names = Names { graph, name_of };
    let mut lines = Vec::new();
    for (step, class) in steps {
        let id = classes.ids[class];
        let chosen = choice[class].and_then(|k| classes.nodes[class].get(k));
        let Some(chosen) = chosen.filter(|node| !matches!(node.term, Term::Leaf(_))) else {
            continue;
        };
        let own: Vec<&Equated> = log
            .iter()
            .filter(|entry| graph.find(entry.class) == id)
            .collect();
        let made_by = own
            .iter()
            .position(|entry| canonical(graph, &entry.term) == canonical(graph, &chosen.term));
        let Some(last) = made_by else {
            continue;
        };
        // The laws of that tensor up to the one that gives what is computed.
        let mut told: Vec<String> = Vec::new();
        for entry in own.iter().take(last + 1) {
            let line = format!(
                "{}: t{step} = {}",
                entry.law,
                names.term(&entry.term, DEEPEST)
            );
            if !told.contains(&line) {
                told.push(line);
            }
        }
        let skipped = told.len().saturating_sub(MOST_LAWS);
        lines.extend(told.drain(skipped..));
    }
    lines
}

/// What was tried for an island that is refused: the laws that applied, how often, and what each gave last.
pub(super) fn tried(problem: &Problem, model: &CostModel) -> Vec<String> {
    let mut built = build(problem, model, work(problem));
    built.graph.analysis.log = Some(Vec::new());
    // That it is refused is known; what the lowering found out is in the graph.
    let _ = lower(problem, &mut built);
    rooted(problem, &mut built);
    let graph = &saturate(problem, built.graph);
    let name_of = |id: Id| {
        graph[id].nodes.iter().find_map(|node| match node {
            Term::Leaf(leaf) => Some(format!("x{leaf}")),
            _ => None,
        })
    };
    let names = Names { graph, name_of };
    let mut laws: Vec<(&str, usize, &Equated)> = Vec::new();
    for entry in graph.analysis.log.iter().flatten() {
        match laws.iter_mut().find(|(law, ..)| *law == entry.law) {
            Some((_, count, last)) => (*count, *last) = (*count + 1, entry),
            None => laws.push((entry.law, 1, entry)),
        }
    }
    let line = |(law, count, last): &(&str, usize, &Equated)| {
        format!("{law}, {count}×, last {}", names.term(&last.term, DEEPEST))
    };
    laws.iter().map(line).collect()
}

fn canonical(graph: &Graph, term: &Term) -> Term {
    term.clone().map_children(|id| graph.find(id))
}

/// The law by which a class got a node; `None` for one that the program has as written.
pub(super) fn law(graph: &Graph, class: Id, term: &Term) -> Option<&'static str> {
    let log = graph.analysis.log.as_ref()?;
    let of_class = |entry: &&Equated| graph.find(entry.class) == class;
    let term = canonical(graph, term);
    let same = |entry: &&Equated| canonical(graph, &entry.term) == term;
    log.iter()
        .filter(of_class)
        .find(same)
        .map(|entry| entry.law)
}

/// How terms are written: tensors of the plan by their names, others spelled out.
struct Names<'a, N> {
    graph: &'a Graph,
    name_of: N,
}

impl<N: Fn(Id) -> Option<String>> Names<'_, N> {
    fn term(&self, term: &Term, depth: usize) -> String {
        written(self.graph, term, &|id| self.class(id, depth))
    }

    fn class(&self, id: Id, depth: usize) -> String {
        if let Some(name) = (self.name_of)(id) {
            return name;
        }
        let id = self.graph.find(id);
        if depth == 0 {
            return "…".into();
        }
        // The first node is the oldest.
        match self.graph[id].nodes.first() {
            Some(Term::Leaf(leaf)) => format!("x{leaf}"),
            Some(node) => format!("({})", self.term(node, depth - 1)),
            None => "…".into(),
        }
    }
}

/// A term in the notation of einsum, with names for its children.
pub(super) fn written(graph: &Graph, term: &Term, name: &dyn Fn(Id) -> String) -> String {
    let operand = |place: usize| {
        let id = term.children().get(place);
        let labels = term.labels().get(place);
        let id = id.map_or_else(String::new, |id| name(*id));
        match labels {
            Some(labels) if !labels.is_empty() => {
                format!("{id}[{}]", letters(labels.iter().copied()))
            }
            _ => id,
        }
    };
    let axes = |rank: Label| letters(0..rank);
    let operands = |joint: &str, coefficient: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..term.children().len())
            .map(|place| coefficient(place) + &operand(place))
            .collect();
        all.join(joint)
    };
    match term {
        Term::Leaf(leaf) => match graph.analysis.applications.get(leaf) {
            Some(applied) => {
                let of = applied.operands.iter();
                let of: Vec<String> = of
                    .map(|(id, axes)| format!("{}[{}]", name(*id), letters(axes.iter().copied())))
                    .collect();
                format!("`{}` of {}", applied.name, of.join(", "))
            }
            None => format!("x{leaf}"),
        },
        Term::Ones(size) => format!("ones[{size}]"),
        Term::Band(band) => band.to_string(),
        Term::Prod(product) | Term::Dot(product) => {
            let body = operands("·", &|_| String::new());
            let body = if body.is_empty() { "1" } else { &body };
            format!("{body} → [{}]", axes(product.outputs))
        }
        Term::Add(sum) => {
            let coefficient = |place: usize| match sum.coefficients.get(place) {
                Some(Coefficient(c)) if *c == -1.0 => "−".into(),
                Some(Coefficient(c)) if *c != 1.0 => format!("{c}·"),
                _ => String::new(),
            };
            let body = operands(" + ", &coefficient);
            format!("{body} → [{}]", axes(sum.outputs))
        }
    }
}
