//! What users know to be equal, in the e-graph: where a product is found that a pattern describes, what it equals joins the class
//! as one more way to compute it, with a cost of its own. Extraction then chooses.
//!
//! What an equality computes is opaque here: a leaf that needs classes. Axes of a product that the pattern does not know, and
//! that the result keeps, are mapped over: a product is linear in each factor.

use super::analysis::{Dependence, Graph, Provenance};
use super::construct::{Level, Operand, View, equate, product};
use super::cost::CostModel;
use super::equality::{Equality, Match};
use super::estimate;
use super::form::{Form, Source, Stated};
use super::language::{Label, Labels, Product, Shape, Term};
use super::problem::{Leaf, Problem};
use crate::array::{Array, Aval, DType};
use crate::error::{Error, Result};
use crate::trace::passes::{CSE, DCE, INLINE};
use crate::trace::{Jaxpr, stage};
use crate::transform::{by_path, vmap};
use egg::{Id, Language};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::sync::Arc;

/// Applications in one island.
const MOST_APPLICATIONS: usize = 64;

/// A user's way to compute a class.
#[derive(Debug)]
pub struct Application {
    /// What the equality is called.
    pub name: String,
    /// What is computed; it takes the operands, in order.
    pub program: Jaxpr,
    /// What it takes, in microseconds.
    pub cost: f64,
    /// The classes of its operands, and for each axis of an operand the axis of the class that it is.
    pub operands: SmallVec<[(Id, Labels); 3]>,
}

impl PartialEq for Application {
    fn eq(&self, other: &Application) -> bool {
        self.name == other.name && self.program.to_string() == other.program.to_string()
    }
}

/// What has been looked at.
#[derive(Default)]
pub(super) struct Seen(FxHashSet<(usize, Id, Term)>);

/// The classes for which functions of equalities stand, so that sums that hide them are multiplied out.
pub(super) fn known(graph: &Graph, problem: &Problem, views: &[View]) -> FxHashSet<Id> {
    let known = problem.equalities.iter().flat_map(|stated| &stated.known);
    let views = known.filter_map(|known| views.get(known.step as usize));
    views.map(|view| graph.find(view.id)).collect()
}

/// Adds what users know to be equal wherever it is found. Whether anything is new.
pub(super) fn apply(graph: &mut Graph, problem: &Problem, views: &[View], seen: &mut Seen) -> bool {
    let mut news = false;
    graph.analysis.law = "stated";
    for (number, stated) in problem.equalities.iter().enumerate() {
        let Some(form) = stated.equality.form() else {
            continue;
        };
        let mut classes: Vec<Id> = graph.classes().map(|class| class.id).collect();
        classes.sort_unstable();
        for class in classes {
            let nodes = graph[class].nodes.iter();
            let nodes: Vec<Term> = nodes
                .filter(|node| matches!(node, Term::Prod(_) | Term::Dot(_)))
                .filter(|node| node.children().len() >= form.factors.len())
                .cloned()
                .collect();
            for node in nodes {
                let (Term::Prod(inner) | Term::Dot(inner)) = &node else {
                    continue;
                };
                let inner = inner.clone();
                if !seen.0.insert((number, class, node)) {
                    continue;
                }
                let search = Search {
                    graph,
                    form,
                    stated,
                    views,
                    node: &inner,
                };
                let mut found = Vec::new();
                search.factor(0, &Bindings::new(form), &mut found);
                for bindings in found {
                    if graph.analysis.applications.len() < MOST_APPLICATIONS {
                        news |= add(graph, stated, form, class, &inner, &bindings).unwrap_or(false);
                    }
                }
            }
        }
    }
    graph.rebuild();
    news
}

/// What an input of the pattern stands for: a class, the axis of it that each axis of the input is, and the axes that the pattern
/// does not know, by their labels in the node.
#[derive(Debug, Clone, PartialEq)]
struct Bound {
    class: Id,
    axes: Labels,
    further: SmallVec<[(Label, Label); 2]>,
}

#[derive(Debug, Clone)]
struct Bindings {
    /// The label in the node of each label of the pattern.
    labels: Vec<Option<Label>>,
    inputs: Vec<Option<Bound>>,
    /// Which factors of the node are taken, one bit each.
    taken: u64,
    /// How the functions are made in the program, by factor.
    slices: SmallVec<[(usize, usize); 2]>,
}

impl Bindings {
    fn new(form: &Form) -> Bindings {
        let labels = form.factors.iter().flat_map(|(_, labels)| labels);
        let labels = labels.map(|label| *label as usize + 1).max().unwrap_or(0);
        Bindings {
            labels: vec![None; labels.max(form.rank as usize)],
            inputs: Vec::new(),
            taken: 0,
            slices: SmallVec::new(),
        }
    }

    /// Notes that a label of the pattern is one of the node; false if it is another.
    fn bind(&mut self, label: Label, as_label: Label) -> bool {
        let taken = self.labels.contains(&Some(as_label));
        match self.labels.get_mut(label as usize) {
            Some(slot) => match slot {
                Some(known) => *known == as_label,
                None if taken => false,
                None => {
                    *slot = Some(as_label);
                    true
                }
            },
            None => false,
        }
    }

    fn input(&mut self, number: usize, bound: Bound) -> bool {
        if self.inputs.len() <= number {
            self.inputs.resize(number + 1, None);
        }
        match &mut self.inputs[number] {
            Some(known) => *known == bound,
            slot => {
                *slot = Some(bound);
                true
            }
        }
    }
}

struct Search<'a> {
    graph: &'a Graph,
    form: &'a Form,
    stated: &'a Stated,
    views: &'a [View],
    node: &'a Product,
}

impl Search<'_> {
    /// All ways in which the factors from this one on fit those of the node that are left.
    fn factor(&self, number: usize, so_far: &Bindings, found: &mut Vec<Bindings>) {
        let Some((source, labels)) = self.form.factors.get(number) else {
            if self.is_whole(so_far) && found.len() < MOST_APPLICATIONS {
                found.push(so_far.clone());
            }
            return;
        };
        for (place, (child, own)) in self.node.children.iter().zip(&self.node.labels).enumerate() {
            let class = self.graph.find(*child);
            if place >= 64
                || so_far.taken >> place & 1 == 1
                || self.graph[class].data.structure.is_some()
            {
                continue;
            }
            let mut taken = so_far.clone();
            taken.taken |= 1 << place;
            match source {
                Source::Function(_) => {
                    for (which, known) in self.stated.known.iter().enumerate() {
                        let mut next = taken.clone();
                        if known.factor == number
                            && self.function(class, own, labels, known, &mut next)
                        {
                            next.slices.push((number, which));
                            self.factor(number + 1, &next, found);
                        }
                    }
                }
                Source::Input(input) => {
                    let axes = Labels::new();
                    self.input(number, (*input, class, own), labels, axes, &taken, found);
                }
            }
        }
    }

    /// Whether a factor is what a function is known to make.
    fn function(
        &self,
        class: Id,
        own: &Labels,
        labels: &Labels,
        known: &super::form::Known,
        bindings: &mut Bindings,
    ) -> bool {
        let axes = |step: u32| -> Option<(Id, Labels)> {
            let view = self.views.get(step as usize)?;
            let count = view.axes.len() as Label;
            let axis = |label: Label| view.axes.iter().position(|l| *l == label);
            let axes: Option<Labels> = (0..count).map(|l| Some(axis(l)? as Label)).collect();
            (view.coefficient == 1.0).then_some((self.graph.find(view.id), axes?))
        };
        let Some((id, order)) = axes(known.step) else {
            return false;
        };
        if id != class || order.len() != labels.len() || own.len() != labels.len() {
            return false;
        }
        let bound = labels
            .iter()
            .zip(&order)
            .all(|(label, axis)| bindings.bind(*label, own[*axis as usize]));
        bound
            && known.inputs.iter().all(|(number, step)| {
                axes(*step).is_some_and(|(class, axes)| {
                    let further = SmallVec::new();
                    let bound = Bound {
                        class,
                        axes,
                        further,
                    };
                    bindings.input(*number, bound)
                })
            })
    }

    /// All ways in which a factor of the node is an input: which axis is which.
    fn input(
        &self,
        number: usize,
        (input, class, own): (usize, Id, &Labels),
        labels: &Labels,
        axes: Labels,
        so_far: &Bindings,
        found: &mut Vec<Bindings>,
    ) {
        let Some(label) = labels.get(axes.len()) else {
            let mut next = so_far.clone();
            let rest = (0..own.len() as Label).filter(|axis| !axes.contains(axis));
            let further = rest.map(|axis| (own[axis as usize], axis)).collect();
            let bound = Bound {
                class,
                axes,
                further,
            };
            if next.input(input, bound) {
                self.factor(number + 1, &next, found);
            }
            return;
        };
        for axis in 0..own.len() as Label {
            let mut next = so_far.clone();
            if !axes.contains(&axis) && next.bind(*label, own[axis as usize]) {
                let mut axes = axes.clone();
                axes.push(axis);
                self.input(number, (input, class, own), labels, axes, &next, found);
            }
        }
    }

    /// Whether the node is nothing but the pattern, mapped over further axes and times numbers.
    fn is_whole(&self, bindings: &Bindings) -> bool {
        let outputs = self.node.outputs;
        let rest = |place: &usize| bindings.taken >> place & 1 == 0;
        let scalars = (0..self.node.children.len())
            .filter(rest)
            .all(|place| self.node.labels[place].is_empty());
        let sides = bindings.labels.iter().enumerate().all(|(label, bound)| {
            let kept = label < self.form.rank as usize;
            bound.is_none_or(|bound| (bound < outputs) == kept)
        });
        let further = || bindings.inputs.iter().flatten().flat_map(|b| &b.further);
        let free = further()
            .all(|(label, _)| *label < outputs && !bindings.labels.contains(&Some(*label)));
        let covered = (0..outputs).all(|label| {
            bindings.labels.contains(&Some(label)) || further().any(|(l, _)| *l == label)
        });
        let bound = bindings
            .labels
            .iter()
            .take(self.form.rank as usize)
            .all(Option::is_some);
        scalars && sides && free && covered && bound
    }
}

/// Adds what an equality makes of these operands to the class; `None` if it does not hold for them.
fn add(
    graph: &mut Graph,
    stated: &Stated,
    form: &Form,
    class: Id,
    node: &Product,
    bindings: &Bindings,
) -> Option<bool> {
    let inputs: Option<Vec<&Bound>> = bindings.inputs.iter().map(Option::as_ref).collect();
    let inputs = inputs?;
    let equality = &stated.equality;
    let size = |bound: &Bound, axis: Label| graph[bound.class].data.shape[axis as usize];
    let aval = |bound: &Bound| {
        let shape: Shape = bound.axes.iter().map(|axis| size(bound, *axis)).collect();
        Aval::new(shape.as_slice(), stated.dtype)
    };
    let sides = equality.sides(inputs.iter().map(|bound| aval(bound)).collect())?;
    let exact = Form::of(&sides.0).filter(|exact| exact.is_like(form))?;
    for (factor, which) in &bindings.slices {
        let Source::Function(function) = &exact.factors.get(*factor)?.0 else {
            return None;
        };
        let known = stated.known.get(*which)?;
        let slice = &known.slice.program;
        let matched = Match::exactly(slice, &function.program, slice.eqns().len().checked_sub(1)?)?;
        for (place, (number, _)) in known.inputs.iter().enumerate() {
            let input = slice.invars().get(place)?;
            if matched.inputs.get(*number)?.as_ref()?.var()? != *input {
                return None;
            }
        }
    }
    // Axes to be mapped over, outermost first.
    let mut further: Labels = inputs
        .iter()
        .flat_map(|bound| bound.further.iter().map(|(label, _)| *label))
        .collect();
    further.sort_unstable();
    further.dedup();
    let mut operands: SmallVec<[(Id, Labels); 3]> = SmallVec::new();
    let mut avals = Vec::new();
    for bound in &inputs {
        let axis = |label: &Label| bound.further.iter().find(|(l, _)| l == label);
        let outer = further.iter().filter_map(axis).map(|(_, axis)| *axis);
        let axes: Labels = outer.chain(bound.axes.iter().copied()).collect();
        let shape: Shape = axes.iter().map(|axis| size(bound, *axis)).collect();
        avals.push(Aval::new(shape.as_slice(), stated.dtype));
        operands.push((bound.class, axes));
    }
    let mapped: Vec<Vec<bool>> = further
        .iter()
        .map(|label| {
            let has = |bound: &&Bound| bound.further.iter().any(|(l, _)| l == label);
            inputs.iter().map(has).collect()
        })
        .collect();
    let program = program(equality, &avals, &mapped, stated.dtype).ok()?;
    let shape = Shape::from_slice(&program.out_avals().first()?.shape);
    let result: Option<Labels> = (0..form.rank as usize)
        .map(|label| bindings.labels.get(label).copied().flatten())
        .collect();
    let labels: Labels = further.iter().copied().chain(result?).collect();
    let of_class = &graph[class].data;
    let fits = labels.len() == shape.len()
        && labels
            .iter()
            .zip(&shape)
            .all(|(label, size)| of_class.shape.get(*label as usize) == Some(size));
    if !fits {
        return None;
    }
    let provenance = match &of_class.provenance {
        Provenance::Nothing => Provenance::mixed(),
        Provenance::Within(list) => Provenance::Within(
            list.iter()
                .map(|dependence| Dependence {
                    origins: labels
                        .iter()
                        .map(|label| {
                            dependence
                                .origins
                                .get(*label as usize)
                                .copied()
                                .unwrap_or(0)
                        })
                        .collect(),
                    ..*dependence
                })
                .collect(),
        ),
    };
    let model: CostModel = graph.analysis.model;
    let application = Application {
        name: equality.name().to_string(),
        cost: estimate::cost(&program, &model),
        program,
        operands,
    };
    let leaf = graph.analysis.leaves.len() as u32;
    graph.analysis.leaves.push(Leaf {
        shape,
        ..Leaf::default()
    });
    graph.analysis.provenances.push(provenance);
    graph
        .analysis
        .applications
        .insert(leaf, Arc::new(application));
    let mut factors: SmallVec<[Operand; 4]> = SmallVec::new();
    factors.push(Operand {
        id: graph.add(Term::Leaf(leaf)),
        labels,
    });
    for (place, (child, own)) in node.children.iter().zip(&node.labels).enumerate() {
        if bindings.taken >> place & 1 == 0 {
            factors.push(Operand {
                id: *child,
                labels: own.clone(),
            });
        }
    }
    let outputs: Labels = (0..node.outputs).collect();
    let view = product(graph, &factors, &outputs, Level::Logical);
    Some(equate(graph, class, view))
}

/// What an equality computes, mapped over further axes: for each, which operands have it in front.
fn program(
    equality: &Equality,
    avals: &[Aval],
    mapped: &[Vec<bool>],
    dtype: DType,
) -> Result<Jaxpr> {
    fn nested(equality: &Equality, x: &Vec<Array>, mapped: &[Vec<bool>]) -> Result<Array> {
        let Some((first, rest)) = mapped.split_first() else {
            return Ok(equality.replacement(x));
        };
        let has = first.clone();
        let axis = by_path(move |path| {
            let number = path.trim_matches(['[', ']']).parse::<usize>().ok();
            let has = number.and_then(|number| has.get(number).copied());
            has.unwrap_or(false).then_some(0)
        });
        vmap(|x: &Vec<Array>| nested(equality, x, rest)).in_axes((axis,))(x)
    }
    let program = stage(avals, None, &mut |x| {
        let y = nested(equality, &x.to_vec(), mapped)?;
        Ok(vec![y.ok()?.clone()])
    })?;
    let program = program.through(&[INLINE, CSE, DCE])?;
    match program.out_avals().first().map(|aval| aval.dtype) {
        Some(own) if own == dtype => Ok(program),
        _ => Err(Error::argument("an equality gives another element type")),
    }
}
