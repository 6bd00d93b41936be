//! An equation of a program as the algebra sees it.

use super::language::{Label, Labels};
use crate::array::{Aval, Scalar};
use crate::trace::op::{Axes, Binary, Component, Op, Unary};
use crate::trace::{Atom, Eqn, Jaxpr, Var};
use smallvec::SmallVec;

/// What an equation does, if that is algebra. Labels are local to the equation.
#[derive(Debug, Clone)]
pub(super) enum Equation {
    /// `coefficient ·` the sum over the labels that are not in `output` of the product of the operands.
    Product {
        coefficient: f64,
        operands: SmallVec<[(Var, Labels); 2]>,
        output: Labels,
    },
    /// A linear combination; no variable stands for the number one.
    Sum {
        terms: SmallVec<[(f64, Option<Var>, Labels); 2]>,
        output: Labels,
    },
}

/// How an equation takes part in islands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A product of two tensors that sums over some label.
    Contraction,
    /// A product of two tensors, element by element.
    Elementwise,
    /// One tensor: renamed, scaled, or both.
    View,
    /// One tensor, summed over some axes.
    Reduction,
    /// One tensor or none, broadcast.
    Broadcast,
    /// A sum of two terms or more.
    Sum,
}

impl Equation {
    /// Reads an equation; `None` if it bounds islands. All operands and the result must be of one floating-point type, and
    /// literals must be finite real numbers.
    pub(super) fn read(program: &Jaxpr, eqn: &Eqn) -> Option<Equation> {
        let [result] = eqn.outputs.as_slice() else {
            return None;
        };
        let result = program.aval(*result);
        if !result.dtype.is_inexact() {
            return None;
        }
        let avals: SmallVec<[&Aval; 4]> = eqn.inputs.iter().map(|a| program.atom_aval(a)).collect();
        if avals.iter().any(|aval| aval.dtype != result.dtype) {
            return None;
        }
        match &eqn.op {
            Op::Binary(Binary::Div) => return quotient(eqn, avals.first()?.ndim()),
            Op::Unary(Unary::Square) => return square(eqn, result.ndim()),
            Op::IntegerPow(power) if power.y == 2 => return square(eqn, result.ndim()),
            _ => {}
        }
        match eqn.op.axes(&avals) {
            Axes::Opaque => None,
            Axes::Product { operands, output } => {
                let mut coefficient = 1.0;
                let mut kept = SmallVec::new();
                for (atom, labels) in eqn.inputs.iter().zip(&operands) {
                    if !distinct(labels) {
                        return None;
                    }
                    match atom {
                        Atom::Lit(_) => coefficient *= number(atom)?,
                        Atom::Var(var) => kept.push((*var, Labels::from_slice(labels))),
                    }
                }
                Some(Equation::Product {
                    coefficient,
                    operands: kept,
                    output: Labels::from_slice(&output),
                })
            }
            Axes::Sum {
                coefficients,
                operands,
                output,
            } => {
                let mut terms = SmallVec::new();
                for ((atom, labels), coefficient) in
                    eqn.inputs.iter().zip(&operands).zip(&coefficients)
                {
                    if !distinct(labels) {
                        return None;
                    }
                    terms.push(match atom {
                        Atom::Lit(_) => (coefficient * number(atom)?, None, Labels::new()),
                        Atom::Var(var) => (*coefficient, Some(*var), Labels::from_slice(labels)),
                    });
                }
                Some(Equation::Sum {
                    terms,
                    output: Labels::from_slice(&output),
                })
            }
        }
    }

    /// The variables that it reads, with the labels of their axes.
    pub(super) fn operands(&self) -> SmallVec<[(Var, &Labels); 2]> {
        match self {
            Equation::Product { operands, .. } => operands.iter().map(|(v, l)| (*v, l)).collect(),
            Equation::Sum { terms, .. } => terms
                .iter()
                .filter_map(|(_, var, labels)| Some(((*var)?, labels)))
                .collect(),
        }
    }

    /// The labels of its result.
    pub(super) fn output(&self) -> &Labels {
        match self {
            Equation::Product { output, .. } | Equation::Sum { output, .. } => output,
        }
    }

    /// How it takes part in islands.
    pub(super) fn kind(&self) -> Kind {
        let output = self.output();
        match self {
            Equation::Sum { terms, .. } if terms.len() > 1 => Kind::Sum,
            Equation::Sum { .. } => Kind::View,
            Equation::Product { operands, .. } => {
                let tensors = operands.iter().filter(|(_, labels)| !labels.is_empty());
                let tensors = tensors.count();
                let sums = operands
                    .iter()
                    .any(|(_, labels)| labels.iter().any(|label| !output.contains(label)));
                let fills = output
                    .iter()
                    .any(|label| !operands.iter().any(|(_, l)| l.contains(label)));
                match (tensors, sums) {
                    (2.., true) => Kind::Contraction,
                    (2.., false) => Kind::Elementwise,
                    (_, true) => Kind::Reduction,
                    (_, false) if fills => Kind::Broadcast,
                    (_, false) => Kind::View,
                }
            }
        }
    }

    /// The variable that the result equals, if the equation is an identity.
    pub(super) fn identity(&self) -> Option<Var> {
        match self {
            Equation::Product {
                coefficient,
                operands,
                output,
            } if *coefficient == 1.0 => match operands.as_slice() {
                [(var, labels)] if labels == output => Some(*var),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it sums over an axis of this variable.
    pub(super) fn sums_over(&self, var: Var) -> bool {
        let output = self.output();
        self.operands()
            .iter()
            .any(|(v, labels)| *v == var && labels.iter().any(|label| !output.contains(label)))
    }
}

/// Division by a number.
fn quotient(eqn: &Eqn, rank: usize) -> Option<Equation> {
    let [Atom::Var(var), divisor @ Atom::Lit(_)] = eqn.inputs.as_slice() else {
        return None;
    };
    let coefficient = 1.0 / number(divisor)?;
    if !coefficient.is_finite() {
        return None;
    }
    let labels: Labels = (0..rank as Label).collect();
    Some(Equation::Product {
        coefficient,
        operands: SmallVec::from_iter([(*var, labels.clone())]),
        output: labels,
    })
}

/// A product with itself; islands take it in only where its factor must not be formed.
fn square(eqn: &Eqn, rank: usize) -> Option<Equation> {
    let var = eqn.inputs.first()?.var()?;
    let labels: Labels = (0..rank as Label).collect();
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(var, labels.clone()), (var, labels.clone())]),
        output: labels,
    })
}

fn distinct(labels: &[Label]) -> bool {
    labels
        .iter()
        .enumerate()
        .all(|(i, label)| !labels[..i].contains(label))
}

/// The literal as a finite real number.
fn number(atom: &Atom) -> Option<f64> {
    let Atom::Lit(literal) = atom else {
        return None;
    };
    let number = match literal.value() {
        Scalar::Float(number) => Some(number),
        other => other.as_f64(),
    };
    number.filter(|number| number.is_finite())
}

/// The mark that the equation is, if it is one.
pub(super) fn mark(eqn: &Eqn) -> Option<&Component> {
    match &eqn.op {
        Op::Component(component) => Some(component),
        _ => None,
    }
}
