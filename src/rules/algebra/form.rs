//! What users know to be equal, as the e-graph can find it: a pattern as a product of inputs and of what functions make of them.
//!
//! `circulant(c)·x` is a product of two factors: what a function makes of `c`, and `x`. Where the function stands in a program is
//! looked for there ([`facts`]), since functions need not be algebra; the product is looked for in the e-graph
//! ([`super::apply`]), where sums have been multiplied out and other orders found.

use super::definition::Reading;
use super::equality::{Equality, Match};
use super::equation::Equation;
use super::language::{Label, Labels};
use crate::array::DType;
use crate::trace::passes::DCE;
use crate::trace::{Atom, Jaxpr, Var};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The most factors of a pattern.
const MOST_FACTORS: usize = 5;
/// The most places in a program where functions of equalities are noted.
const MOST_FACTS: usize = 256;

/// A part of a program that makes one array of its inputs.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// The part.
    pub(super) program: Jaxpr,
    text: String,
}

impl Slice {
    /// What makes `out` of `inputs` in a program.
    fn new(program: &Jaxpr, out: Var, inputs: &[Var]) -> Option<Slice> {
        let mut part = program.clone();
        part.outs = vec![Atom::Var(out)];
        part.invars = inputs.to_vec();
        part.eqns
            .retain(|eqn| !eqn.outputs.iter().any(|var| inputs.contains(var)));
        part.labels.clear();
        let program = part.through(&[DCE]).ok()?;
        let text = program.to_string();
        Some(Slice { program, text })
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Slice) -> bool {
        let (a, b) = (self.program.consts(), other.program.consts());
        let same = |((_, a), (_, b)): (&(_, _), &(_, _))| super::equality::same_numbers(a, b);
        self.text == other.text && a.len() == b.len() && a.iter().zip(b).all(same)
    }
}

impl Eq for Slice {}

impl Hash for Slice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// What a factor of a pattern is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// An input, by its number.
    Input(usize),
    /// What a function makes of inputs; the part takes all inputs of the pattern.
    Function(Slice),
}

/// A pattern as a product; labels below `rank` are the axes of the result, in order, all others are summed over.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// The factors, with the labels of their axes.
    pub(super) factors: SmallVec<[(Source, Labels); 3]>,
    /// The rank of the result.
    pub(super) rank: Label,
}

impl Form {
    /// The product that a pattern is, if it is one of several factors; `None` for what only a program can be searched for.
    pub(super) fn of(pattern: &Jaxpr) -> Option<Form> {
        let reading = Reading::new(pattern);
        let out = pattern.outs().first()?.var()?;
        let rank = pattern.aval(out).ndim() as Label;
        let mut form = Form {
            factors: SmallVec::new(),
            rank,
        };
        let mut next = rank;
        form.expand(&reading, out, (0..rank).collect(), &mut next)?;
        (form.factors.len() >= 2).then_some(form)
    }

    fn expand(
        &mut self,
        reading: &Reading,
        var: Var,
        labels: Labels,
        next: &mut Label,
    ) -> Option<()> {
        let pattern = reading.program;
        if self.factors.len() >= MOST_FACTORS {
            return None;
        }
        if let Some(number) = pattern.invars().iter().position(|input| *input == var) {
            self.factors.push((Source::Input(number), labels));
            return Some(());
        }
        let product = reading
            .algebra(var)
            .and_then(|(_, equation)| match equation {
                Equation::Product {
                    coefficient,
                    operands,
                    moves,
                    output,
                } if *coefficient == 1.0 && moves.is_empty() => Some((operands, output)),
                _ => None,
            })
            .filter(|(operands, output)| {
                let carried = |label| operands.iter().any(|(_, labels)| labels.contains(label));
                output.iter().all(carried)
            });
        let Some((operands, output)) = product else {
            let slice = Slice::new(pattern, var, pattern.invars())?;
            self.factors.push((Source::Function(slice), labels));
            return Some(());
        };
        let mut names: SmallVec<[(Label, Label); 8]> =
            output.iter().copied().zip(labels.iter().copied()).collect();
        for (operand, own) in operands.clone() {
            let mut outer = Labels::new();
            for label in own {
                let known = names.iter().find(|(name, _)| *name == label);
                outer.push(match known {
                    Some((_, known)) => *known,
                    None => {
                        *next += 1;
                        names.push((label, *next - 1));
                        *next - 1
                    }
                });
            }
            self.expand(reading, operand, outer, next)?;
        }
        Some(())
    }

    /// Whether every factor is an input.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |(source, _): &(Source, Labels)| matches!(source, Source::Input(_));
        self.factors.iter().all(plain)
    }

    /// Whether another pattern is this one for other shapes.
    pub(super) fn is_like(&self, other: &Form) -> bool {
        let like = |((a, p), (b, q)): (&(Source, Labels), &(Source, Labels))| {
            p == q
                && match (a, b) {
                    (Source::Input(a), Source::Input(b)) => a == b,
                    (Source::Function(_), Source::Function(_)) => true,
                    _ => false,
                }
        };
        self.rank == other.rank
            && self.factors.len() == other.factors.len()
            && self.factors.iter().zip(&other.factors).all(like)
    }
}

/// A variable of a program is what a factor of a pattern makes of others.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    /// The number of the factor.
    pub(super) factor: usize,
    /// The variable.
    pub(super) var: Var,
    /// Numbers of the pattern's inputs, and the variables that stand for them.
    pub(super) inputs: SmallVec<[(usize, Var); 2]>,
    /// How the program makes the one of the others; it takes them in this order.
    pub(super) slice: Arc<Slice>,
}

/// Where the functions of an equality may stand in a program, by the names of operations.
pub(super) fn facts(program: &Jaxpr, equality: &Equality) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(form) = equality.form() else {
        return facts;
    };
    for (factor, (source, _)) in form.factors.iter().enumerate() {
        let Source::Function(function) = source else {
            continue;
        };
        for (root, eqn) in program.eqns().iter().enumerate() {
            let Some(matched) = Match::names(program, &function.program, root) else {
                continue;
            };
            let Some(var) = eqn.outputs.first().copied() else {
                continue;
            };
            let numbered = matched.inputs.iter().enumerate();
            let bound = numbered.filter_map(|(number, atom)| Some((number, atom.as_ref()?.var())));
            let inputs: Option<SmallVec<[(usize, Var); 2]>> =
                bound.map(|(number, var)| Some((number, var?))).collect();
            let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else {
                continue;
            };
            let of: SmallVec<[Var; 2]> = inputs.iter().map(|(_, var)| *var).collect();
            if facts.len() < MOST_FACTS
                && let Some(slice) = Slice::new(program, var, &of)
            {
                facts.push(Fact {
                    factor,
                    var,
                    inputs,
                    slice: Arc::new(slice),
                });
            }
        }
    }
    facts
}

/// A [`Fact`] among the steps of an island.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// The number of the factor.
    pub(super) factor: usize,
    /// The step that is what the factor makes.
    pub(super) step: u32,
    /// Numbers of the pattern's inputs, and the steps that stand for them.
    pub(super) inputs: SmallVec<[(usize, u32); 2]>,
    /// How the program makes the one of the others.
    pub(super) slice: Arc<Slice>,
}

/// An equality as far as it concerns an island.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stated {
    /// The equality.
    pub(super) equality: Arc<Equality>,
    /// The element type of the island.
    pub(super) dtype: DType,
    /// Where its functions stand.
    pub(super) known: Vec<Known>,
}
