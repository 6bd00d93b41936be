//! From a plan to equations of plain arrays.

use super::language::{Label, Labels};
use super::plan::{Action, PlanStep};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::{
        Atom, Atoms, Eqn, Jaxpr, Literal, Vars,
        op::{
            Binary, BroadcastInDim, ConvertElementType, DotGeneral, Iota, Op, Reduce, Reducer,
            Transpose, Unary,
        },
    },
};
use smallvec::SmallVec;
use std::{panic::Location, sync::Arc};

/// An array that is being computed, and a label for each of its axes.
#[derive(Clone)]
struct Named {
    atom: Atom,
    labels: Labels,
}

/// Appends equations to a program.
pub struct Writer<'p> {
    /// The program.
    pub program: &'p mut Jaxpr,
    /// The element type of the island.
    pub dtype: DType,
    /// The place in the user's program that the equations stand for.
    pub at: &'static Location<'static>,
}

fn broken() -> Error {
    Error::internal("a plan does not fit its island")
}

impl Writer<'_> {
    fn emit(&mut self, op: impl Into<Op>, inputs: &[&Atom]) -> Result<Atom> {
        let op = op.into();
        let aval = {
            let operands: SmallVec<[&Aval; 2]> =
                inputs.iter().map(|a| self.program.atom_aval(a)).collect();
            op.infer(&operands)?.into_iter().next().ok_or_else(broken)?
        };
        let out = self.program.fresh(Arc::new(aval));
        let inputs: Atoms = inputs.iter().map(|a| (*a).clone()).collect();
        self.program.eqns.push(Eqn {
            op,
            inputs,
            outputs: Vars::from_iter([out]),
            at: self.at,
        });
        Ok(Atom::Var(out))
    }

    fn shape(&self, a: &Atom) -> Dims {
        self.program.atom_aval(a).shape.clone()
    }

    fn literal(&self, x: f64) -> Result<Atom> {
        let number = Array::from_scalar(x.into(), self.dtype, false);
        let literal = number.buffer().cloned().and_then(Literal::new);
        literal.map(Atom::Lit).ok_or_else(broken)
    }

    fn transposed(&mut self, x: Named, order: &[Label]) -> Result<Named> {
        let permutation: Dims = order
            .iter()
            .filter_map(|l| x.labels.iter().position(|o| o == l))
            .collect();
        if permutation.iter().enumerate().all(|(i, p)| i == *p) {
            return Ok(x);
        }
        let atom = self.emit(Transpose { permutation }, &[&x.atom])?;
        Ok(Named {
            atom,
            labels: order.iter().copied().collect(),
        })
    }

    /// The array with axes in the order of `output`, repeated along those that it lacks.
    fn spread(&mut self, x: Named, shape: &[usize]) -> Result<Atom> {
        let mut order = x.labels.clone();
        order.sort_unstable();
        let x = self.transposed(x, &order)?;
        if x.labels.len() == shape.len() {
            return Ok(x.atom);
        }
        let broadcast_dimensions = x.labels.iter().map(|l| *l as usize).collect();
        self.emit(
            BroadcastInDim {
                shape: Dims::from_slice(shape),
                broadcast_dimensions,
            },
            &[&x.atom],
        )
    }

    fn summed(&mut self, x: Named, keep: impl Fn(Label) -> bool) -> Result<Named> {
        let axes: Dims = (0..x.labels.len())
            .filter(|i| !keep(x.labels[*i]))
            .collect();
        if axes.is_empty() {
            return Ok(x);
        }
        let labels = x.labels.iter().copied().filter(|l| keep(*l)).collect();
        let atom = self.emit(
            Reduce {
                reducer: Reducer::Sum,
                axes,
            },
            &[&x.atom],
        )?;
        Ok(Named { atom, labels })
    }

    /// An operand that carries a label twice, with only its diagonal along those axes.
    fn diagonal(&mut self, mut x: Named) -> Result<Named> {
        while let Some((i, k)) = repeated(&x.labels) {
            let shape = self.shape(&x.atom);
            let n = shape.get(i).copied().ok_or_else(broken)?;
            let square: Dims = SmallVec::from_slice(&[n, n]);
            let count = |dimension| Iota {
                dtype: DType::I32,
                shape: square.clone(),
                dimension,
            };
            let (rows, columns) = (self.emit(count(0), &[])?, self.emit(count(1), &[])?);
            let eye = self.emit(Binary::Eq, &[&rows, &columns])?;
            let convert = ConvertElementType {
                new_dtype: self.dtype,
                weak_type: false,
            };
            let eye = self.emit(convert, &[&eye])?;
            let spread = BroadcastInDim {
                shape: shape.clone(),
                broadcast_dimensions: SmallVec::from_slice(&[i, k]),
            };
            let eye = self.emit(spread, &[&eye])?;
            let kept = self.emit(Binary::Mul, &[&x.atom, &eye])?;
            let op = Reduce {
                reducer: Reducer::Sum,
                axes: SmallVec::from_slice(&[k]),
            };
            x.atom = self.emit(op, &[&kept])?;
            x.labels.remove(k);
        }
        Ok(x)
    }

    fn product(&mut self, operands: Vec<Named>, shape: &[usize]) -> Result<Atom> {
        let rank = shape.len() as Label;
        let (scalars, tensors): (Vec<Named>, Vec<Named>) =
            operands.into_iter().partition(|x| x.labels.is_empty());
        let tensors = tensors
            .into_iter()
            .map(|x| self.diagonal(x))
            .collect::<Result<Vec<_>>>()?;
        let mut y = match <[Named; 2]>::try_from(tensors) {
            Ok([x, y]) => Some(self.pair(x, y, shape)?),
            Err(mut fewer) => match (fewer.pop(), fewer.is_empty()) {
                (Some(x), true) => Some(self.summed(x, |l| l < rank)?),
                (None, _) => None,
                _ => return Err(broken()),
            },
        };
        for s in scalars {
            y = Some(match y {
                None => s,
                Some(y) => Named {
                    atom: self.emit(Binary::Mul, &[&y.atom, &s.atom])?,
                    labels: y.labels,
                },
            });
        }
        let y = match y {
            Some(y) => y,
            None => Named {
                atom: self.literal(1.0)?,
                labels: Labels::new(),
            },
        };
        self.spread(y, shape)
    }

    /// The product of two tensors: elementwise where one's axes are among the other's and none is summed, else a contraction.
    fn pair(&mut self, x: Named, y: Named, shape: &[usize]) -> Result<Named> {
        let rank = shape.len() as Label;
        let x = {
            let other = y.labels.clone();
            self.summed(x, |l| l < rank || other.contains(&l))?
        };
        let y = {
            let other = x.labels.clone();
            self.summed(y, |l| l < rank || other.contains(&l))?
        };
        let shared: Labels = x
            .labels
            .iter()
            .copied()
            .filter(|l| y.labels.contains(l))
            .collect();
        let within = |a: &Labels, b: &Labels| a.iter().all(|l| b.contains(l));
        let elementwise = shared.iter().all(|l| *l < rank)
            && (within(&x.labels, &y.labels) || within(&y.labels, &x.labels));
        if elementwise {
            let (wide, narrow) = if within(&y.labels, &x.labels) {
                (x, y)
            } else {
                (y, x)
            };
            let order = wide.labels.clone();
            let kept: Labels = order
                .iter()
                .copied()
                .filter(|l| narrow.labels.contains(l))
                .collect();
            let narrow = self.transposed(narrow, &kept)?;
            let mut atom = narrow.atom;
            if kept.len() < order.len() && !kept.is_empty() {
                let broadcast_dimensions = kept
                    .iter()
                    .filter_map(|l| order.iter().position(|o| o == l))
                    .collect();
                let op = BroadcastInDim {
                    shape: self.shape(&wide.atom),
                    broadcast_dimensions,
                };
                atom = self.emit(op, &[&atom])?;
            }
            let atom = self.emit(Binary::Mul, &[&wide.atom, &atom])?;
            return Ok(Named {
                atom,
                labels: order,
            });
        }
        let places = |x: &Named, which: &dyn Fn(Label) -> bool| -> Dims {
            shared
                .iter()
                .filter(|l| which(**l))
                .filter_map(|l| x.labels.iter().position(|o| o == l))
                .collect()
        };
        let (batch, summed) = (|l: Label| l < rank, |l: Label| l >= rank);
        let op = DotGeneral::new(
            (places(&x, &summed), places(&y, &summed)),
            (places(&x, &batch), places(&y, &batch)),
        );
        let own = |x: &Named| -> Labels {
            x.labels
                .iter()
                .copied()
                .filter(|l| !shared.contains(l))
                .collect()
        };
        let labels = shared
            .iter()
            .copied()
            .filter(|l| batch(*l))
            .chain(own(&x))
            .chain(own(&y));
        let labels: Labels = labels.collect();
        let atom = self.emit(op, &[&x.atom, &y.atom])?;
        Ok(Named { atom, labels })
    }

    fn sum(&mut self, terms: Vec<(f64, Named)>, shape: &[usize]) -> Result<Atom> {
        let mut total: Option<Atom> = None;
        // A term with a positive coefficient first, so that the others can be subtracted.
        let mut terms = terms;
        if let Some(i) = terms.iter().position(|(c, _)| *c > 0.0) {
            terms.swap(0, i);
        }
        let many = terms.len() > 1;
        for (c, x) in terms {
            let scalar = x.labels.is_empty();
            let minus = total.is_some() && c < 0.0;
            let factor = if minus { -c } else { c };
            let mut atom = x.atom.clone();
            if factor == -1.0 {
                atom = self.emit(Unary::Neg, &[&atom])?;
            } else if factor != 1.0 {
                let literal = self.literal(factor)?;
                atom = match &atom {
                    Atom::Lit(l) => {
                        self.literal(factor * l.value().as_f64().unwrap_or(f64::NAN))?
                    }
                    Atom::Var(_) => self.emit(Binary::Mul, &[&atom, &literal])?,
                };
            }
            // A number beside an array of the full shape needs no broadcast.
            if !(scalar && many && total.is_some()) {
                atom = self.spread(
                    Named {
                        atom,
                        labels: x.labels,
                    },
                    shape,
                )?;
            }
            total = Some(match total {
                None => atom,
                Some(t) => {
                    let op = if minus { Binary::Sub } else { Binary::Add };
                    self.emit(op, &[&t, &atom])?
                }
            });
        }
        match total {
            Some(t) => Ok(t),
            None => {
                let zero = Named {
                    atom: self.literal(0.0)?,
                    labels: Labels::new(),
                };
                self.spread(zero, shape)
            }
        }
    }

    /// The array of a step, for those of its operands.
    pub fn step(&mut self, step: &PlanStep, read: impl Fn(usize) -> Result<Atom>) -> Result<Atom> {
        match &step.action {
            Action::Leaf(_) => Err(broken()),
            Action::Product(operands) => {
                let operands = operands
                    .iter()
                    .map(|(i, l)| {
                        Ok(Named {
                            atom: read(*i)?,
                            labels: l.clone(),
                        })
                    })
                    .collect::<Result<Vec<_>>>()?;
                self.product(operands, &step.shape)
            }
            Action::Sum(terms) => {
                let terms = terms
                    .iter()
                    .map(|(c, i, l)| {
                        Ok((
                            *c,
                            Named {
                                atom: read(*i)?,
                                labels: l.clone(),
                            },
                        ))
                    })
                    .collect::<Result<Vec<_>>>()?;
                self.sum(terms, &step.shape)
            }
        }
    }

    /// A root, from the step that it is read from: `axes` are the root's axis for each of the step's.
    pub fn root(&mut self, x: Atom, axes: &[Label]) -> Result<Atom> {
        let order: Labels = (0..axes.len() as Label).collect();
        Ok(self
            .transposed(
                Named {
                    atom: x,
                    labels: axes.iter().copied().collect(),
                },
                &order,
            )?
            .atom)
    }
}

/// Two axes with one label.
fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len())
        .flat_map(|i| (i + 1..labels.len()).map(move |k| (i, k)))
        .find(|(i, k)| labels[*i] == labels[*k])
}
