//! The recursive lowering: decides whether an island has a plan at all, and gives the first one.
//!
//! Steps are taken in the order of the program. A step whose tensor may be formed, from operands that are formed, is formed. A
//! step that must not be (its class is forbidden) is kept as a sum of products of formed tensors, and a step with such an operand
//! pushes its product into the sum; if each of the products then has an order of contraction without forbidden
//! intermediates, the step is formed by it, otherwise it is kept as a sum again. An island is refused if and only if a root
//! is left as a sum. No limit of the search takes part in this.
//!
//! Terms that cannot be formed by themselves are formed together where they have a factor in common and the rest can be formed.
//!
//! Each sum and product that comes up is put into the e-graph and equated with the step, so that saturation starts where
//! the lowering ends.

mod build;
mod common;
mod contract;

pub use build::{Built, build};

use super::analysis::Graph;
use super::construct::{
    Level, Operand, View, constant, equate_views, gathered, product, renamed, sum, whole,
};
use super::language::{Label, Labels};
use super::plan::{Action, Plan, PlanStep, Root};
use super::problem::{Operation, Problem, Step};
use super::structure::{Structure, Summed, settle};
use build::Names;
use egg::Id;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// The most products that an unformed step may be a sum of. Beyond it the island is refused, saying so.
const MOST_MONOMIALS: usize = 1024;

/// How many common factors are taken out of one another.
const MOST_COMMON: usize = 2;

/// Formed steps that are products of more leaves are not looked into.
const MOST_LEAVES: usize = 9;

/// Unformed sums of more terms are not put into the e-graph, and formed ones not looked into.
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

/// What the lowering has made of a step.
enum Form {
    /// It is formed. It is this sum of products of leaves; of none if it is a leaf, or if they are too many.
    Dense(View, Vec<Monomial>),
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
            Form::Dense(view, _) => {
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
        let operands: SmallVec<[&Form; 2]> = match &step.operation {
            Operation::Leaf(leaf) => {
                self.emit(view.id, Action::Leaf(*leaf));
                return Form::Dense(view.clone(), Vec::new());
            }
            Operation::Band(_) => {
                self.band(view.id);
                return Form::Dense(view.clone(), Vec::new());
            }
            Operation::Product { operands, .. } => {
                operands.iter().map(|o| &forms[o.0 as usize]).collect()
            }
            Operation::Sum { terms, .. } => terms.iter().map(|t| &forms[t.1 as usize]).collect(),
        };
        let Some(monomials) = multiplied_out(problem, step, &operands, false) else {
            return self.formal(view, Vec::new(), &operands, true);
        };
        let form = self.form(view, monomials, &operands);
        if problem.values.iter().all(|value| value.allow_materialise) {
            return form;
        }
        let rank = step.shape.len() as Label;
        let mut leaves = multiplied_out(problem, step, &operands, true).unwrap_or_default();
        let small = |term: &Monomial| term.factors.len() <= MOST_LEAVES;
        if leaves.len() > LARGEST_SUM || !leaves.iter().all(small) {
            leaves.clear();
        }
        leaves.iter_mut().for_each(|term| term.renumber(rank));
        match form {
            Form::Dense(view, _) => Form::Dense(view, leaves),
            // What formed operands are made of may have factors in common with what cannot be formed.
            Form::Formal(_) if !leaves.is_empty() && !self.is_forbidden(view) => {
                match self.form(view, leaves.clone(), &operands) {
                    Form::Dense(view, _) => Form::Dense(view, leaves),
                    Form::Formal(_) => form,
                }
            }
            form => form,
        }
    }

    /// Whether the step itself is a value that must not be formed.
    fn is_forbidden(&self, view: &View) -> bool {
        let data = &self.graph[view.id].data;
        let algebra = &self.graph.analysis;
        algebra.forbids(&data.provenance, &data.shape).is_some()
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

        // Terms that cancel say more of the step than how it is written.
        let written = classes;
        let mut whole = view.clone();
        if written.len() <= LARGEST_SUM {
            let sum = sum(self.graph, &written);
            equate_views(self.graph, view, &sum, &shape);
            // What is left may be without an axis, along which it is then filled.
            if sum.axes.len() < view.axes.len() {
                whole = sum;
            }
        }
        let forbidden = self.is_forbidden(&whole);
        let formed = !forbidden
            && terms
                .iter()
                .zip(&written)
                .all(|(term, class)| self.contract(class, &term.factors, &free));
        let classes = match formed || forbidden {
            true => formed.then(|| written.clone()),
            false => self.by_common_factors(&terms, &written, &free, MOST_COMMON),
        };
        let Some(classes) = classes else {
            return self.formal(view, terms, operands, false);
        };
        let result = self.add(&classes);
        equate_views(self.graph, view, &result, &shape);
        // The union may have chosen another id for the class.
        self.form_known(&result);
        Form::Dense(result, Vec::new())
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
            Form::Dense(..) => None,
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
            again: None,
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

/// A step as a sum of products of what its operands are: of formed tensors as they are, or `deep` of the leaves that those are made of.
/// `None` if that is too much.
fn multiplied_out(
    problem: &Problem,
    step: &Step,
    forms: &[&Form],
    deep: bool,
) -> Option<Vec<Monomial>> {
    match &step.operation {
        Operation::Leaf(_) | Operation::Band(_) => None,
        Operation::Product { operands, output } => {
            let names = Names::new(output);
            let counts = forms.iter().map(|form| form.len(deep));
            if counts.fold(1, usize::saturating_mul) > MOST_MONOMIALS {
                return None;
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
                let (renamed, next) = form.monomials(&names, rank, fresh, deep);
                fresh = next;
                let times = |product: &Monomial, factor: &Monomial| Monomial {
                    coefficient: product.coefficient * factor.coefficient,
                    factors: product
                        .factors
                        .iter()
                        .chain(&factor.factors)
                        .cloned()
                        .collect(),
                };
                products = products
                    .iter()
                    .flat_map(|product| renamed.iter().map(move |factor| times(product, factor)))
                    .collect();
            }
            for product in &mut products {
                product.coefficient *= names.unsummed(operands, problem, |label| {
                    product.factors.iter().any(|f| f.labels.contains(&label))
                });
            }
            Some(products)
        }
        Operation::Sum { terms, output } => {
            let names = Names::new(output);
            let count: usize = forms.iter().map(|form| form.len(deep)).sum();
            if count > MOST_MONOMIALS && forms.iter().any(|form| form.is_formal()) {
                return None;
            }
            let mut monomials = Vec::with_capacity(count);
            for (form, (coefficient, operand, labels)) in forms.iter().zip(terms) {
                let names: Labels = labels.iter().map(|label| names.label(*label)).collect();
                let rank = problem.shape(*operand).len();
                let fresh = step.shape.len() as Label;
                let (mut renamed, _) = form.monomials(&names, rank, fresh, deep);
                for monomial in &mut renamed {
                    monomial.coefficient *= coefficient.0;
                }
                monomials.append(&mut renamed);
            }
            Some(monomials)
        }
    }
}

impl Form {
    fn len(&self, deep: bool) -> usize {
        match self {
            Form::Dense(_, made_of) if deep => made_of.len().max(1),
            Form::Dense(..) => 1,
            Form::Formal(formal) => formal.terms.len().max(1),
        }
    }

    fn is_formal(&self) -> bool {
        matches!(self, Form::Formal(_))
    }

    /// The step as monomials under the labels of a consumer: axis `i` becomes `names[i]`, bound labels are numbered from
    /// `fresh` on. Also returns the next label that is free.
    fn monomials(
        &self,
        names: &[Label],
        rank: usize,
        fresh: Label,
        deep: bool,
    ) -> (Vec<Monomial>, Label) {
        let terms = match self {
            Form::Dense(_, made_of) if deep && !made_of.is_empty() => made_of,
            Form::Dense(view, _) => {
                let factor = Operand {
                    id: view.id,
                    labels: renamed(&view.axes, names),
                };
                let whole = Monomial {
                    coefficient: view.coefficient,
                    factors: SmallVec::from_iter([factor]),
                };
                return (vec![whole], fresh);
            }
            Form::Formal(formal) => &formal.terms,
        };
        let mut next = fresh;
        let mut rename = |label: &Label| match names.get(*label as usize) {
            Some(name) => *name,
            None => {
                let name = fresh + (*label - rank as Label);
                next = next.max(name + 1);
                name
            }
        };
        let monomial = |term: &Monomial| Monomial {
            coefficient: term.coefficient,
            factors: (term.factors.iter())
                .map(|factor| Operand {
                    id: factor.id,
                    labels: factor.labels.iter().map(&mut rename).collect(),
                })
                .collect(),
        };
        let monomials = terms.iter().map(monomial).collect();
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
fn equate_named(graph: &mut Graph, class: &View, view: &View) -> bool {
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
