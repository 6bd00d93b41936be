//! The recursive lowering: decides whether an island has a plan at all, and gives the first one.
//!
//! Steps are taken in the order of the program. A step whose tensor may be formed, from operands that are formed, is formed. A
//! step that must not be (its class is forbidden) is kept as a sum of products of formed tensors, and a step with such an operand
//! pushes its product into the sum; if each of the products then has an order of contraction without forbidden
//! intermediates, the step is formed by it, otherwise it is kept as a sum again. An island is refused if and only if a root
//! is left as a sum. No limit of the search takes part in this.
//!
//! Each sum and product that comes up is put into the e-graph and equated with the step, so that saturation starts where
//! the lowering ends.

use super::analysis::{Algebra, Dependence, Graph, Provenance, sorted};
use super::construct::{
    Level, Operand, View, constant, equate_views, gathered, product, renamed, scaled, sum, whole,
};
use super::cost::{CostModel, one_step};
use super::language::{Label, Labels, Shape, Term, elements};
use super::network::{Network, Orders, Subset};
use super::plan::{Action, Plan, PlanStep, Root};
use super::problem::{Operation, Problem};
use super::structure::{Structure, Summed, band, settle};
use egg::Id;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// The most products that an unformed step may be a sum of. Beyond it the island is refused, saying so.
const MOST_MONOMIALS: usize = 1024;

/// Unformed sums of more terms are not put into the e-graph.
const LARGEST_SUM: usize = 16;

/// Why an island has no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The root (index into [`Problem::roots`]) that cannot be had.
    pub root: usize,
    /// The step that would have to be formed.
    pub step: u32,
    /// Whether that step is nothing but the value's own content; otherwise it mixes the value with something else.
    pub step_is_content: bool,
    /// The value that would be materialised.
    pub value: Option<u32>,
    /// The step mixes the value with other things in so many ways that they were not all tried.
    pub too_large: bool,
}

/// The problem in the e-graph.
pub struct Built {
    /// The e-graph.
    pub graph: Graph,
    /// The class of each step, as a view with the step's axes as labels.
    pub views: Vec<View>,
}

/// Puts the program as written into a fresh e-graph.
pub fn build(problem: &Problem, model: &CostModel, work: u64) -> Built {
    let built = build_with(problem, model, work, vec![]);
    match parts_asked_for(problem, &built) {
        parts if parts.is_empty() => built,
        parts => build_with(problem, model, work, parts),
    }
}

/// The parts of values that are results and no more than half of what they are parts of.
fn parts_asked_for(problem: &Problem, built: &Built) -> Vec<(u32, Shape)> {
    let algebra = &built.graph.analysis;
    let mut parts = vec![];
    for root in &problem.roots {
        let Some(view) = built.views.get(*root as usize) else {
            continue;
        };
        let data = &built.graph[view.id].data;
        let Some(value) = algebra.forbids(&data.provenance, &data.shape) else {
            continue;
        };
        let size = problem.values.get(value as usize).map_or(0, |v| v.size);
        if 2.0 * elements(&data.shape) <= size as f64 {
            parts.push((value, sorted(&data.shape)));
        }
    }
    parts
}

/// As [`build`], where plans may form some parts of values.
fn build_with(problem: &Problem, model: &CostModel, work: u64, parts: Vec<(u32, Shape)>) -> Built {
    let largest = problem
        .steps
        .iter()
        .filter(|step| !problem.is_structure(step))
        .map(|step| elements(&step.shape))
        .fold(0.0, f64::max);
    let mut provenances = vec![Provenance::mixed(); problem.leaves.len()];
    for mark in &problem.marks {
        if let Some(Operation::Leaf(leaf)) = problem
            .steps
            .get(mark.step as usize)
            .map(|step| &step.operation)
            && let Some(Provenance::Within(list)) = provenances.get_mut(*leaf as usize)
        {
            match list.iter_mut().find(|known| known.value == mark.value) {
                Some(known) => {
                    known.components |= mark.components;
                    for (a, b) in known.origins.iter_mut().zip(&mark.origins) {
                        *a |= b;
                    }
                }
                None => list.push(Dependence {
                    value: mark.value,
                    components: mark.components,
                    origins: mark.origins.clone(),
                }),
            }
        }
    }
    let mut graph = Graph::new(Algebra {
        leaves: problem.leaves.clone(),
        provenances,
        values: problem.values.clone(),
        parts,
        model: *model,
        itemsize: f64::from(problem.itemsize),
        largest,
        step: 0,
        tried: FxHashSet::default(),
        seen: FxHashMap::default(),
        applications: FxHashMap::default(),
        known: FxHashSet::default(),
        law: "lower",
        log: None,
        work,
        generous: problem.values.iter().all(|value| value.allow_materialise),
        stopped: false,
        broken: false,
    });
    let mut views: Vec<View> = Vec::with_capacity(problem.steps.len());
    for (index, step) in problem.steps.iter().enumerate() {
        graph.analysis.step = index as u32;
        let view = match &step.operation {
            Operation::Leaf(leaf) => View {
                id: graph.add(Term::Leaf(*leaf)),
                axes: (0..step.shape.len() as Label).collect(),
                coefficient: 1.0,
            },
            Operation::Band(of) => {
                let operand = band(&mut graph, *of, [0, 1]);
                View {
                    id: operand.id,
                    axes: operand.labels,
                    coefficient: 1.0,
                }
            }
            Operation::Product { operands, output } => {
                let names = Names::new(output);
                let factors: SmallVec<[View; 4]> = operands
                    .iter()
                    .map(|(operand, labels)| names.view(&views[*operand as usize], labels))
                    .collect();
                let mut coefficient: f64 = factors.iter().map(|view| view.coefficient).product();
                coefficient *= names.unsummed(operands, problem, |label| {
                    factors.iter().any(|view| view.axes.contains(&label))
                });
                let operands: SmallVec<[Operand; 4]> = factors.iter().map(View::operand).collect();
                let view = product(&mut graph, &operands, &names.free, Level::Logical);
                scaled(&mut graph, view, coefficient)
            }
            Operation::Sum { terms, output } => {
                let names = Names::new(output);
                let terms: SmallVec<[View; 4]> = terms
                    .iter()
                    .map(|(coefficient, operand, labels)| {
                        let mut view = names.view(&views[*operand as usize], labels);
                        view.coefficient *= coefficient.0;
                        view
                    })
                    .collect();
                sum(&mut graph, &terms)
            }
        };
        views.push(view);
        mark_class(&mut graph, problem, index as u32, &views[index]);
    }
    Built { graph, views }
}

/// Tells the class of a step that is no leaf what the marks say about it.
fn mark_class(graph: &mut Graph, problem: &Problem, step: u32, view: &View) {
    for mark in problem.marks.iter().filter(|mark| mark.step == step) {
        let mut data = graph[view.id].data.clone();
        if matches!(problem.steps[step as usize].operation, Operation::Leaf(_))
            || data.constant.is_some()
        {
            continue;
        }
        let origins = view
            .axes
            .iter()
            .map(|axis| mark.origins.get(*axis as usize).copied().unwrap_or(0))
            .collect();
        let mut list = SmallVec::new();
        list.push(Dependence {
            value: mark.value,
            components: mark.components,
            origins,
        });
        // A component counts as one, whatever it was made of.
        if let Provenance::Within(known) = &mut data.provenance {
            known.retain(|dependence| dependence.value != mark.value);
        }
        data.provenance.meet(&Provenance::Within(list));
        graph.set_analysis_data(view.id, data);
    }
}

/// How the labels of a step are renamed: the result's axes are `0..rank`, in order, all other labels lie beyond.
struct Names {
    output: Labels,
    free: Labels,
}

impl Names {
    fn new(output: &Labels) -> Names {
        Names {
            output: output.clone(),
            free: (0..output.len() as Label).collect(),
        }
    }

    fn label(&self, label: Label) -> Label {
        match self.output.iter().position(|l| *l == label) {
            Some(axis) => axis as Label,
            None => label.saturating_add(self.output.len() as Label),
        }
    }

    /// The view of an operand, whose axes have the given labels in the step.
    fn view(&self, view: &View, labels: &[Label]) -> View {
        let names: Labels = labels.iter().map(|label| self.label(*label)).collect();
        view.renamed(&names)
    }

    /// The product of the sizes of the summed labels that no factor carries: the operands are broadcast along them.
    fn unsummed(
        &self,
        operands: &[(u32, Labels)],
        problem: &Problem,
        carried: impl Fn(Label) -> bool,
    ) -> f64 {
        let mut seen = Labels::new();
        let mut factor = 1.0;
        for (operand, labels) in operands {
            for (label, size) in labels.iter().zip(problem.shape(*operand)) {
                let name = self.label(*label);
                if !seen.contains(&name) && !self.free.contains(&name) && !carried(name) {
                    factor *= *size as f64;
                }
                seen.push(name);
            }
        }
        factor
    }
}

/// What the lowering has made of a step.
enum Form {
    /// It is formed.
    Dense(View),
    /// It is not, and is kept as a sum of products of formed tensors.
    Formal(Formal),
}

struct Formal {
    terms: Vec<Monomial>,
    /// The value whose materialisation is in the way.
    value: Option<u32>,
    /// The first step on the way here that is more than the value's own content.
    since: Option<u32>,
    too_large: bool,
}

/// A product of formed tensors. Labels below the rank of the step are its axes.
#[derive(Clone)]
struct Monomial {
    coefficient: f64,
    factors: SmallVec<[Operand; 4]>,
}

impl Monomial {
    /// Numbers the bound labels from `rank` on, so that they stay small however deep the program is.
    fn renumber(&mut self, rank: Label) {
        let mut bound = Labels::new();
        for label in self.factors.iter_mut().flat_map(|f| f.labels.iter_mut()) {
            if *label >= rank {
                let position = bound.iter().position(|l| l == label).unwrap_or(bound.len());
                if position == bound.len() {
                    bound.push(*label);
                }
                *label = rank + position as Label;
            }
        }
    }
}

struct Lowering<'a> {
    problem: &'a Problem,
    graph: &'a mut Graph,
    plan: Plan,
    /// The step of the plan that forms a class, in the order of the class's axes.
    formed: FxHashMap<Id, usize>,
    step: u32,
}

/// Lowers a problem that has been built to a plan without forbidden intermediates, and adds what it finds to the e-graph.
pub fn lower(problem: &Problem, built: &mut Built) -> Result<Plan, Refusal> {
    let Built { graph, views } = built;
    let mut lowering = Lowering {
        problem,
        graph,
        plan: Plan::default(),
        formed: FxHashMap::default(),
        step: 0,
    };
    let mut forms: Vec<Form> = Vec::with_capacity(problem.steps.len());
    for (index, view) in views.iter().enumerate() {
        lowering.step = index as u32;
        lowering.graph.analysis.step = index as u32;
        let form = lowering.lower(view, &forms);
        forms.push(form);
    }
    for (root, &step) in problem.roots.iter().enumerate() {
        match &forms[step as usize] {
            Form::Dense(view) => {
                let root = lowering.root(view, problem.shape(step));
                lowering.plan.roots.push(root);
            }
            Form::Formal(formal) => {
                return Err(Refusal {
                    root,
                    step: formal.since.unwrap_or(step),
                    step_is_content: formal.since.is_none(),
                    value: formal.value,
                    too_large: formal.too_large,
                });
            }
        }
    }
    Ok(lowering.plan.trimmed())
}

impl Lowering<'_> {
    fn lower(&mut self, view: &View, forms: &[Form]) -> Form {
        let problem = self.problem;
        let step = &problem.steps[self.step as usize];
        match &step.operation {
            Operation::Leaf(leaf) => {
                self.emit(view.id, Action::Leaf(*leaf));
                Form::Dense(view.clone())
            }
            Operation::Band(_) => {
                self.band(view.id);
                Form::Dense(view.clone())
            }
            Operation::Product { operands, output } => {
                let names = Names::new(output);
                let forms: SmallVec<[&Form; 2]> =
                    operands.iter().map(|o| &forms[o.0 as usize]).collect();
                let count = forms
                    .iter()
                    .map(|form| form.len())
                    .fold(1, usize::saturating_mul);
                if count > MOST_MONOMIALS {
                    return self.formal(view, Vec::new(), &forms, true);
                }
                // One monomial of each operand, in all combinations.
                let mut products = vec![Monomial {
                    coefficient: 1.0,
                    factors: SmallVec::new(),
                }];
                let mut fresh = 1 + operands
                    .iter()
                    .flat_map(|(_, labels)| labels.iter().map(|label| names.label(*label)))
                    .fold(names.free.len() as Label, Label::max);
                for (form, (operand, labels)) in forms.iter().zip(operands) {
                    let names: Labels = labels.iter().map(|label| names.label(*label)).collect();
                    let rank = problem.shape(*operand).len();
                    let (renamed, next) = form.monomials(&names, rank, fresh);
                    fresh = next;
                    products = products
                        .iter()
                        .flat_map(|product| {
                            renamed.iter().map(|factor| Monomial {
                                coefficient: product.coefficient * factor.coefficient,
                                factors: product
                                    .factors
                                    .iter()
                                    .chain(&factor.factors)
                                    .cloned()
                                    .collect(),
                            })
                        })
                        .collect();
                }
                for product in &mut products {
                    product.coefficient *= names.unsummed(operands, problem, |label| {
                        product.factors.iter().any(|f| f.labels.contains(&label))
                    });
                }
                self.form(view, products, &forms)
            }
            Operation::Sum { terms, output } => {
                let names = Names::new(output);
                let operands: SmallVec<[&Form; 2]> =
                    terms.iter().map(|t| &forms[t.1 as usize]).collect();
                let count = operands.iter().map(|form| form.len()).sum::<usize>();
                if count > MOST_MONOMIALS && operands.iter().any(|form| form.is_formal()) {
                    return self.formal(view, Vec::new(), &operands, true);
                }
                let mut monomials = Vec::with_capacity(count);
                for (form, (coefficient, operand, labels)) in operands.iter().zip(terms) {
                    let names: Labels = labels.iter().map(|label| names.label(*label)).collect();
                    let rank = problem.shape(*operand).len();
                    let fresh = step.shape.len() as Label;
                    let (mut renamed, _) = form.monomials(&names, rank, fresh);
                    for monomial in &mut renamed {
                        monomial.coefficient *= coefficient.0;
                    }
                    monomials.append(&mut renamed);
                }
                self.form(view, monomials, &operands)
            }
        }
    }

    /// Forms the step, which equals the sum of the monomials, if that may be and can be done.
    fn form(&mut self, view: &View, monomials: Vec<Monomial>, operands: &[&Form]) -> Form {
        let shape = self.problem.steps[self.step as usize].shape.clone();
        let free: Labels = (0..shape.len() as Label).collect();
        // Products of the same factors are one term, whatever the order in which they were written.
        let mut classes: Vec<View> = Vec::with_capacity(monomials.len());
        let mut terms: Vec<Monomial> = Vec::with_capacity(monomials.len());
        for mut monomial in monomials {
            let mut class = product(self.graph, &monomial.factors, &free, Level::Logical);
            class.coefficient *= monomial.coefficient;
            match classes
                .iter()
                .position(|known| known.id == class.id && known.axes == class.axes)
            {
                Some(known) => classes[known].coefficient += class.coefficient,
                None => {
                    settle(self.graph, &mut monomial.factors, &free, &mut Summed::new());
                    classes.push(class);
                    terms.push(monomial);
                }
            }
        }
        for (term, class) in terms.iter_mut().zip(&classes) {
            term.coefficient = class.coefficient;
        }
        let mut cancelled = classes.iter().map(|class| class.coefficient == 0.0);
        terms.retain(|_| !cancelled.next().unwrap_or(false));
        classes.retain(|class| class.coefficient != 0.0);
        for term in &mut terms {
            term.renumber(free.len() as Label);
        }

        let data = &self.graph[view.id].data;
        let forbidden = self
            .graph
            .analysis
            .forbids(&data.provenance, &data.shape)
            .is_some();
        let formed = !forbidden
            && terms
                .iter()
                .zip(&classes)
                .all(|(term, class)| self.contract(class, &term.factors, &free));
        if !formed {
            if classes.len() <= LARGEST_SUM {
                let written = sum(self.graph, &classes);
                equate_views(self.graph, view, &written, &shape);
            }
            return self.formal(view, terms, operands, false);
        }
        let result = self.add(&classes);
        equate_views(self.graph, view, &result, &shape);
        // The union may have chosen another id for the class.
        self.form_known(&result);
        Form::Dense(result)
    }

    fn formal(
        &mut self,
        view: &View,
        terms: Vec<Monomial>,
        operands: &[&Form],
        too_large: bool,
    ) -> Form {
        let data = &self.graph[view.id].data;
        let own = self.graph.analysis.forbids(&data.provenance, &data.shape);
        let inherited = operands.iter().find_map(|form| match form {
            Form::Formal(formal) => Some(formal),
            Form::Dense(_) => None,
        });
        Form::Formal(Formal {
            terms,
            value: own.or(inherited.and_then(|formal| formal.value)),
            since: match own {
                Some(_) => None,
                None => inherited
                    .and_then(|formal| formal.since)
                    .or(Some(self.step)),
            },
            too_large: too_large || inherited.is_some_and(|formal| formal.too_large),
        })
    }

    /// Forms a sum of formed classes.
    fn add(&mut self, views: &[View]) -> View {
        let result = sum(self.graph, views);
        let terms = gathered(self.graph, views);
        if terms.len() > 1 && !self.is_formed(result.id) {
            let addends = terms
                .iter()
                .map(|term| {
                    let labels = positions(&term.axes, &result.axes);
                    (term.coefficient, self.place(term.id), labels)
                })
                .collect();
            self.emit(result.id, Action::Sum(addends));
        }
        result
    }

    /// Forms a product of formed factors in the cheapest order that has no forbidden intermediate; false if there is none.
    fn contract(&mut self, class: &View, factors: &[Operand], free: &[Label]) -> bool {
        if self.is_formed(class.id) || self.graph[class.id].data.constant.is_some() {
            return true;
        }
        let data = &self.graph[class.id].data;
        if !self.graph.analysis.admits(&data.provenance, &data.shape) {
            return false;
        }
        let factors: SmallVec<[Operand; 4]> = factors
            .iter()
            .filter(|factor| self.graph[factor.id].data.constant.is_none())
            .cloned()
            .collect();
        let (tensors, scalars): (SmallVec<[Operand; 4]>, SmallVec<[Operand; 4]>) =
            factors.into_iter().partition(|f| !f.labels.is_empty());
        if tensors.len() < 2 {
            let operands: SmallVec<[Operand; 4]> = tensors.into_iter().chain(scalars).collect();
            self.multiply(class, &operands);
            return true;
        }
        let Some(network) = Network::new(self.graph, &tensors, free) else {
            return self.contract_greedily(class, tensors, &scalars, free);
        };
        let orders = {
            let graph = &*self.graph;
            network.cheapest(&graph.analysis, |subset, open| {
                subset == network.all() || admits(graph, &network, &tensors, subset, open)
            })
        };
        let Some(orders) = orders else {
            return false;
        };
        self.realise(class, &network, &orders, &tensors, &scalars, network.all());
        true
    }

    /// Follows the order of contraction that was found; returns the class of the subset.
    fn realise(
        &mut self,
        class: &View,
        network: &Network,
        orders: &Orders,
        tensors: &[Operand],
        scalars: &[Operand],
        subset: Subset,
    ) -> View {
        let free = network.names(network.open(subset));
        let members: SmallVec<[Operand; 4]> = network
            .members(subset)
            .map(|i| tensors[i].clone())
            .collect();
        let Some((left, right)) = orders.split(subset) else {
            let view = product(self.graph, &members, &free, Level::Logical);
            if !self.is_formed(view.id) {
                self.multiply(&view, &members);
            }
            return view;
        };
        let parts: SmallVec<[Operand; 4]> = [left, right]
            .into_iter()
            .map(|part| {
                self.realise(class, network, orders, tensors, scalars, part)
                    .operand()
            })
            .chain(scalars.iter().filter(|_| subset == network.all()).cloned())
            .collect();
        let view = match subset == network.all() {
            true => class.clone(),
            false => product(self.graph, &members, &free, Level::Logical),
        };
        if self.is_formed(view.id) {
            return view;
        }
        if members.len() > 2 || parts[..2] != members[..] {
            let step = product(self.graph, &parts, &view.axes.clone(), Level::Physical);
            let plain = View {
                coefficient: 1.0,
                ..view.clone()
            };
            equate_named(self.graph, &plain, &step);
        }
        self.multiply(&view, &parts);
        view
    }

    /// Contracts the pair whose product is smallest, among those that may be formed, until two are left: for products of too
    /// many factors for the search over subsets.
    fn contract_greedily(
        &mut self,
        class: &View,
        tensors: SmallVec<[Operand; 4]>,
        scalars: &[Operand],
        free: &[Label],
    ) -> bool {
        let mut rest: Vec<Operand> = tensors.into_vec();
        while rest.len() > 2 {
            let mut best: Option<(f64, usize, usize, Labels)> = None;
            for i in 0..rest.len() {
                for j in i + 1..rest.len() {
                    let outside = |label: &Label| {
                        free.contains(label)
                            || rest
                                .iter()
                                .enumerate()
                                .any(|(k, f)| k != i && k != j && f.labels.contains(label))
                    };
                    let mut open = Labels::new();
                    for label in rest[i].labels.iter().chain(&rest[j].labels) {
                        if outside(label) && !open.contains(label) {
                            open.push(*label);
                        }
                    }
                    let pair = [&rest[i], &rest[j]];
                    if !is_one_step(self.graph, &pair, &open) {
                        continue;
                    }
                    let shape = shape_of_product(self.graph, &pair, &open);
                    let size = elements(&shape);
                    if best.as_ref().is_some_and(|(least, ..)| *least <= size) {
                        continue;
                    }
                    let provenance = provenance_of_product(self.graph, &pair, &open);
                    if self.graph.analysis.admits(&provenance, &shape) {
                        best = Some((size, i, j, open));
                    }
                }
            }
            let Some((_, i, j, open)) = best else {
                return false;
            };
            let right = rest.remove(j);
            let left = rest.remove(i);
            let pair = [left, right];
            let view = product(self.graph, &pair, &open, Level::Logical);
            if !self.is_formed(view.id) {
                self.multiply(&view, &pair);
            }
            rest.push(view.operand());
        }
        rest.extend(scalars.iter().cloned());
        let step = product(self.graph, &rest, free, Level::Physical);
        let plain = View {
            coefficient: 1.0,
            ..class.clone()
        };
        equate_named(self.graph, &plain, &step);
        self.multiply(class, &rest);
        true
    }

    /// Adds the step that forms a class as the product of formed factors.
    fn multiply(&mut self, view: &View, operands: &[Operand]) {
        let factors = operands
            .iter()
            .map(|operand| {
                let labels = positions(&operand.labels, &view.axes);
                (self.place(operand.id), labels)
            })
            .collect();
        self.emit(view.id, Action::Product(factors));
    }

    /// The root in the plan: with all its axes and without a coefficient.
    fn root(&mut self, view: &View, shape: &[usize]) -> Root {
        let step = self.place(view.id);
        let complete = view.axes.len() == shape.len();
        if complete && view.coefficient == 1.0 {
            return Root {
                step,
                axes: view.axes.clone(),
            };
        }
        let class = whole(self.graph, view.clone(), shape);
        if !self.is_formed(class.id) {
            let labels = positions(&view.axes, &class.axes);
            let action = match view.coefficient == 1.0 {
                true => Action::Product(SmallVec::from_iter([(step, labels)])),
                false => Action::Sum(SmallVec::from_iter([(view.coefficient, step, labels)])),
            };
            self.emit(class.id, action);
        }
        Root {
            step: self.place(class.id),
            axes: class.axes,
        }
    }

    /// Notes a structure, which is there without being formed.
    fn band(&mut self, class: Id) {
        if !self.is_formed(class)
            && let Some(Structure::Band(band)) = self.graph[class].data.structure
        {
            self.emit(class, Action::Band(band));
        }
    }

    fn emit(&mut self, class: Id, action: Action) {
        let class = self.graph.find(class);
        let data = &self.graph[class].data;
        self.plan.steps.push(PlanStep {
            action,
            shape: data.shape.clone(),
            structure: data.structure,
            stands_for: self.step,
        });
        self.formed.insert(class, self.plan.steps.len() - 1);
    }

    /// Notes under the class's present id where it is formed.
    fn form_known(&mut self, view: &View) {
        if let Some(step) = self.formed.get(&view.id).copied() {
            let id = self.graph.find(view.id);
            self.formed.entry(id).or_insert(step);
        }
    }

    fn is_formed(&self, class: Id) -> bool {
        self.formed.contains_key(&class) || self.formed.contains_key(&self.graph.find(class))
    }

    /// Where a class is formed; constants are formed when they are first asked for.
    fn place(&mut self, class: Id) -> usize {
        let canonical = self.graph.find(class);
        if let Some(step) = self.formed.get(&class).or(self.formed.get(&canonical)) {
            return *step;
        }
        // Structures may have been composed on the way.
        self.band(canonical);
        if let Some(step) = self.formed.get(&canonical) {
            return *step;
        }
        // Only ones are ever asked for unformed: all other constants are coefficients.
        let unit = constant(self.graph, 1.0);
        debug_assert_eq!(
            self.graph.find(unit.id),
            canonical,
            "an operand was not formed"
        );
        self.emit(canonical, Action::Product(SmallVec::new()));
        self.plan.steps.len() - 1
    }
}

impl Form {
    fn len(&self) -> usize {
        match self {
            Form::Dense(_) => 1,
            Form::Formal(formal) => formal.terms.len().max(1),
        }
    }

    fn is_formal(&self) -> bool {
        matches!(self, Form::Formal(_))
    }

    /// The step as monomials under the labels of a consumer: axis `i` becomes `names[i]`, bound labels are numbered from
    /// `fresh` on. Also returns the next label that is free.
    fn monomials(&self, names: &[Label], rank: usize, fresh: Label) -> (Vec<Monomial>, Label) {
        let mut next = fresh;
        let monomials = match self {
            Form::Dense(view) => vec![Monomial {
                coefficient: view.coefficient,
                factors: SmallVec::from_iter([Operand {
                    id: view.id,
                    labels: renamed(&view.axes, names),
                }]),
            }],
            Form::Formal(formal) => formal
                .terms
                .iter()
                .map(|term| Monomial {
                    coefficient: term.coefficient,
                    factors: term
                        .factors
                        .iter()
                        .map(|factor| Operand {
                            id: factor.id,
                            labels: factor
                                .labels
                                .iter()
                                .map(|label| match names.get(*label as usize) {
                                    Some(name) => *name,
                                    None => {
                                        let name = fresh + (*label - rank as Label);
                                        next = next.max(name + 1);
                                        name
                                    }
                                })
                                .collect(),
                        })
                        .collect(),
                })
                .collect(),
        };
        (monomials, next)
    }
}

/// Labels as positions in `axes`; those that are not there are numbered beyond.
fn positions(labels: &[Label], axes: &[Label]) -> Labels {
    labels
        .iter()
        .map(|label| match axes.iter().position(|l| l == label) {
            Some(axis) => axis as Label,
            None => label.saturating_add(axes.len() as Label),
        })
        .collect()
}

/// Equates two views that carry the same labels.
pub fn equate_named(graph: &mut Graph, class: &View, view: &View) -> bool {
    let axes = positions(&view.axes, &class.axes);
    super::construct::equate(
        graph,
        class.id,
        View {
            axes,
            ..view.clone()
        },
    )
}

/// Whether a plan may hold the product over a subset of factors.
pub fn admits(
    graph: &Graph,
    network: &Network,
    tensors: &[Operand],
    subset: Subset,
    open: u64,
) -> bool {
    let algebra = &graph.analysis;
    if network.size(open) > algebra.largest && !sums_over_a_value(graph, network, tensors) {
        return false;
    }
    if algebra.values.iter().all(|value| value.allow_materialise) {
        return true;
    }
    let members: SmallVec<[&Operand; 4]> = network.members(subset).map(|i| &tensors[i]).collect();
    let open = network.names(open);
    let provenance = provenance_of_product(graph, &members, &open);
    let shape = shape_of_product(graph, &members, &open);
    algebra.forbids(&provenance, &shape).is_none()
}

/// Whether the product of all factors sums over an axis of a value: it is then a contraction with the value, for which a large
/// intermediate is better than none. (A product that keeps every axis, elementwise say, would hold more than what it avoids.)
fn sums_over_a_value(graph: &Graph, network: &Network, tensors: &[Operand]) -> bool {
    let kept = network.names(network.open(network.all()));
    graph
        .analysis
        .values
        .iter()
        .enumerate()
        .any(|(number, value)| {
            let mut involved = false;
            let mut axes = 0;
            for tensor in tensors {
                let Some(dependence) = graph[tensor.id].data.provenance.on(number as u32) else {
                    continue;
                };
                involved = true;
                let origins = tensor.labels.iter().zip(&dependence.origins);
                axes |= origins
                    .filter(|(label, _)| kept.contains(label))
                    .fold(0, |all, (_, origin)| all | origin);
            }
            involved && axes & value.axes != value.axes
        })
}

fn provenance_of_product(graph: &Graph, operands: &[&Operand], open: &[Label]) -> Provenance {
    let labels: SmallVec<[Labels; 4]> = operands
        .iter()
        .map(|operand| positions(&operand.labels, open))
        .collect();
    let bands: SmallVec<[&[Label]; 2]> = operands
        .iter()
        .zip(&labels)
        .filter(|(operand, _)| graph[operand.id].data.is_band())
        .map(|(_, labels)| labels.as_slice())
        .collect();
    Provenance::join(
        operands
            .iter()
            .zip(&labels)
            .map(|(operand, labels)| (&graph[operand.id].data.provenance, labels.as_slice())),
        open.len(),
        &bands,
    )
}

/// Whether the product of two operands, of which these labels are kept, is a single step.
fn is_one_step(graph: &Graph, pair: &[&Operand; 2], open: &[Label]) -> bool {
    let labels = pair.map(|operand| positions(&operand.labels, open));
    let factor = |side: usize| graph[pair[side].id].data.factor(&labels[side]);
    one_step(&[factor(0), factor(1)], open.len(), false)
}

fn shape_of_product(graph: &Graph, operands: &[&Operand], open: &[Label]) -> Shape {
    let labels: SmallVec<[Labels; 4]> = operands
        .iter()
        .map(|operand| positions(&operand.labels, open))
        .collect();
    super::analysis::shape_of(
        operands
            .iter()
            .zip(&labels)
            .map(|(operand, labels)| (graph[operand.id].data.shape.as_slice(), labels.as_slice())),
        open.len(),
    )
}
