//! The search in its phases, for measurements.

use super::analysis::Graph;
use super::cost::CostModel;
use super::exact;
use super::extract::ClassGraph;
use super::import::islands;
use super::language::Labels;
use super::lower::build;
use super::problem::Problem;
use super::report::prepared;
use super::solve::{rooted, saturate, work};
use crate::error::Result;
use crate::trace::Jaxpr;
use egg::Id;

/// What planning a program does, one phase at a time; nothing is remembered.
///
/// ```
/// use quaxide::{prelude::*, rules::algebra::Phases};
/// let (a, x) = (Array::zeros([64, 64], DType::F32), Array::zeros([64], DType::F32));
/// let phases = Phases::new(&make_jaxpr(|a: &Array, x: &Array| a.dot(a).dot(x))(&a, &x).unwrap()).unwrap();
/// let graphs = phases.saturate(phases.build());
/// assert!(phases.extract(&graphs) > 0.0);
/// ```
#[derive(Debug)]
pub struct Phases {
    problems: Vec<Problem>,
}

/// The e-graphs of a program's islands.
#[derive(Debug, Clone)]
pub struct Graphs(Vec<(Graph, Vec<(Id, Labels)>)>);

impl Phases {
    /// Those of a program's islands. An error where [`super::plans`] has one.
    pub fn new(program: &Jaxpr) -> Result<Phases> {
        let islands = islands(&prepared(program)?)?;
        let problems = islands.into_iter().map(|island| island.problem).collect();
        Ok(Phases { problems })
    }

    /// The programs as they are written, in fresh e-graphs.
    pub fn build(&self) -> Graphs {
        let model = CostModel::current();
        let built = self.problems.iter().map(|problem| {
            let mut built = build(problem, &model, work(problem));
            let roots = rooted(problem, &mut built);
            (built.graph, roots)
        });
        Graphs(built.collect())
    }

    /// The e-graphs with all that the rules find to be equal, within their budgets.
    pub fn saturate(&self, graphs: Graphs) -> Graphs {
        let all = self.problems.iter().zip(graphs.0);
        Graphs(
            all.map(|(problem, (graph, roots))| (saturate(problem, graph), roots))
                .collect(),
        )
    }

    /// What the cheapest plans that are found cost, in microseconds.
    pub fn extract(&self, graphs: &Graphs) -> f64 {
        let model = CostModel::current();
        let all = self.problems.iter().zip(&graphs.0);
        all.filter_map(|(problem, (graph, roots))| {
            let asked: Vec<Id> = roots.iter().map(|(id, _)| *id).collect();
            let classes = ClassGraph::new(graph, &asked);
            let (choice, cost) = classes.good_choice();
            let found = exact::search(&classes, choice, cost);
            let plan = classes.plan(graph, &found.choice, roots)?;
            Some(plan.cost(&model, problem.itemsize))
        })
        .sum()
    }
}
