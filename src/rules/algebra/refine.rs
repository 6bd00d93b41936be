//! The common refinement of axes that reshapes take apart and put together.
//!
//! Within an island a reshape is nothing but other names for the same axes, once every axis is taken apart as far as any reshape
//! does it. An axis is taken apart at *boundaries*: `24` with the boundaries 12 and 4 is `2·3·4`. Boundaries spread along equal
//! labels and through reshapes until nothing changes; those of one axis must divide one another. A reshape that asks for what is
//! not to be had (`2·6` on one side, `3·4` on the other; a heads' axis cut across) bounds islands instead.

use super::equation::{Equation, Move};
use super::language::{Label, Shape};
use super::structure::Band;
use crate::trace::{Jaxpr, Var};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

/// The parts of an axis, outermost first.
pub(super) type Parts = SmallVec<[usize; 2]>;

/// Rounds after which the refinement is given up.
const MOST_ROUNDS: usize = 64;

/// How the axes of the variables of an island are taken apart.
#[derive(Debug, Default)]
pub(super) struct Refinement {
    /// Empty if all axes stay whole.
    parts: FxHashMap<(Var, usize), Parts>,
}

impl Refinement {
    /// The refinement of these equations, or the reshapes among them that allow none.
    pub(super) fn new(
        program: &Jaxpr,
        equations: &[(usize, Var, &Equation)],
    ) -> Result<Refinement, Vec<usize>> {
        let reshapes = equations
            .iter()
            .filter(|(_, _, equation)| matches!(equation, Equation::Reshape { .. }));
        let reshapes: Vec<usize> = reshapes.map(|(index, _, _)| *index).collect();
        if reshapes.is_empty() {
            return Ok(Refinement::default());
        }
        let mut axes = Classes::default();
        for (_, result, equation) in equations {
            axes.unite(program, *result, equation);
        }
        for _ in 0..MOST_ROUNDS {
            let mut changed = false;
            for (index, result, equation) in equations {
                changed |= match axes.spread(*index, *result, equation) {
                    Ok(changed) => changed,
                    Err(class) => return Err(axes.blamed(class, equations, reshapes)),
                };
            }
            if !changed {
                return Ok(Refinement {
                    parts: axes.parts(),
                });
            }
        }
        Err(reshapes)
    }

    /// The parts of an axis of this size.
    pub(super) fn parts(&self, var: Var, axis: usize, size: usize) -> Parts {
        let parts = self.parts.get(&(var, axis)).cloned();
        parts.unwrap_or_else(|| smallvec![size])
    }

    /// The shape of a variable with all axes taken apart.
    pub(super) fn shape(&self, program: &Jaxpr, var: Var) -> Shape {
        let shape = &program.aval(var).shape;
        if self.parts.is_empty() {
            return Shape::from_slice(shape);
        }
        let parts = |(axis, size): (usize, &usize)| self.parts(var, axis, *size);
        shape.iter().enumerate().flat_map(parts).collect()
    }
}

/// The band on the outermost part of an axis whose inner parts, of this many elements, it leaves alone.
pub(super) fn in_units(band: &Band, inner: usize) -> Band {
    if inner <= 1 {
        return *band;
    }
    let units = |size: [usize; 2]| [size[0] / inner, size[1] / inner];
    Band::new(
        units(band.sizes),
        units(band.starts),
        band.steps,
        band.count / inner,
    )
}

/// Whether a band moves blocks of this many elements as wholes.
fn moves_blocks(band: &Band, inner: usize) -> bool {
    let whole = |n: usize| n.is_multiple_of(inner);
    let places = band.sizes.iter().chain(&band.starts);
    inner == 1 || band.steps == [1, 1] && whole(band.count) && places.copied().all(whole)
}

/// Maximal runs of axes that a reshape takes to each other: the axes on both sides.
pub(super) fn runs(
    from: &[usize],
    to: &[usize],
) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut runs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (first_i, first_j) = (i, j);
        let (mut a, mut b) = (1, 1);
        if i < from.len() {
            a = from[i];
            i += 1;
        }
        if j < to.len() {
            b = to[j];
            j += 1;
        }
        while a != b {
            if a < b && i < from.len() {
                a *= from[i];
                i += 1;
            } else if j < to.len() {
                b *= to[j];
                j += 1;
            } else if i < from.len() {
                a *= from[i];
                i += 1;
            } else {
                break;
            }
        }
        runs.push((first_i..i, first_j..j));
    }
    runs
}

/// Axes of variables in classes of those that are one and the same, each with its boundaries.
#[derive(Default)]
struct Classes {
    number: FxHashMap<(Var, usize), usize>,
    parent: Vec<usize>,
    sizes: Vec<usize>,
    /// Numbers of elements within which an axis is taken apart, ascending.
    boundaries: Vec<SmallVec<[usize; 2]>>,
}

impl Classes {
    fn axis(&mut self, var: Var, axis: usize, size: usize) -> usize {
        let count = self.parent.len();
        let number = *self.number.entry((var, axis)).or_insert(count);
        if number == count {
            self.parent.push(count);
            self.sizes.push(size);
            self.boundaries.push(SmallVec::new());
        }
        self.find(number)
    }

    fn find(&self, axis: usize) -> usize {
        let mut root = axis;
        while self.parent[root] != root {
            root = self.parent[root];
        }
        root
    }

    fn known(&self, var: Var, axis: usize) -> usize {
        let number = self.number.get(&(var, axis)).copied();
        self.find(number.unwrap_or(0))
    }

    /// Gives all axes of an equation numbers, and unites those with the same label.
    fn unite(&mut self, program: &Jaxpr, result: Var, equation: &Equation) {
        let mut of_label: FxHashMap<Label, usize> = FxHashMap::default();
        let is_reshape = matches!(equation, Equation::Reshape { .. });
        let concatenated = match equation {
            Equation::Concatenate { axis, .. } => Some(*axis),
            _ => None,
        };
        let operands = equation.operands();
        let sides = operands.iter().map(|(var, labels)| (*var, *labels, false));
        for (var, labels, is_result) in sides.chain([(result, equation.output(), true)]) {
            for (axis, (label, size)) in labels.iter().zip(&program.aval(var).shape).enumerate() {
                let number = self.axis(var, axis, *size);
                if is_reshape || (concatenated == Some(axis) && !is_result) {
                    continue;
                }
                let other = *of_label.entry(*label).or_insert(number);
                let (a, b) = (self.find(other), self.find(number));
                self.parent[a.max(b)] = a.min(b);
            }
        }
        if let Equation::Product { moves, .. } = equation {
            for moved in moves {
                if let Move::Index { index, labels, .. } = moved {
                    let shape = &program.aval(*index).shape;
                    for (axis, (label, size)) in labels.iter().zip(shape).enumerate() {
                        let number = self.axis(*index, axis, *size);
                        if let Some(other) = of_label.get(label).filter(|_| axis + 1 < labels.len())
                        {
                            let (a, b) = (self.find(*other), self.find(number));
                            self.parent[a.max(b)] = a.min(b);
                        }
                    }
                }
            }
        }
    }

    fn add(&mut self, class: usize, boundary: usize) -> Result<bool, usize> {
        let size = self.sizes[class];
        let known = &mut self.boundaries[class];
        let Err(place) = known.binary_search(&boundary) else {
            return Ok(false);
        };
        let divides = |a: usize, b: usize| a != 0 && b.is_multiple_of(a);
        let fits = place == 0 || divides(known[place - 1], boundary);
        let next = known.get(place).copied().unwrap_or(size);
        if !fits || !divides(boundary, next) {
            return Err(class);
        }
        known.insert(place, boundary);
        Ok(true)
    }

    /// Spreads the boundaries of an equation's axes; the class of axes that cannot be taken apart so is the error.
    fn spread(&mut self, _index: usize, result: Var, equation: &Equation) -> Result<bool, usize> {
        let mut changed = false;
        match equation {
            Equation::Reshape {
                operand, from, to, ..
            } => {
                for (ins, outs) in runs(from, to) {
                    let mut all: Vec<usize> = self.flat(operand.0, from, ins.clone());
                    all.extend(self.flat(result, to, outs.clone()));
                    changed |= self.deal(operand.0, from, ins, &all)?;
                    changed |= self.deal(result, to, outs, &all)?;
                }
            }
            Equation::Concatenate { parts, axis, .. } => {
                let whole = self.known(result, *axis);
                for (var, band) in parts {
                    let part = self.known(*var, *axis);
                    changed |= self.through(whole, part, band)?;
                }
            }
            Equation::Product {
                moves,
                operands,
                output,
                ..
            } => {
                let place = |labels: &[Label], label| labels.iter().position(|l| *l == label);
                for moved in moves {
                    match moved {
                        Move::Band(band, [to, from]) => {
                            let (Some((var, labels)), Some(to)) =
                                (operands.first(), place(output, *to))
                            else {
                                continue;
                            };
                            let Some(from) = place(labels, *from) else {
                                continue;
                            };
                            let (to, from) = (self.known(result, to), self.known(*var, from));
                            changed |= self.through(to, from, band)?;
                        }
                        Move::Index { labels, .. } => {
                            // An index picks whole places.
                            let sides = operands.iter().map(|(var, labels)| (*var, labels));
                            for (var, own) in sides.chain([(result, output)]) {
                                for label in labels {
                                    let Some(axis) = place(own, *label) else {
                                        continue;
                                    };
                                    let class = self.known(var, axis);
                                    if !self.boundaries[class].is_empty() {
                                        return Err(class);
                                    }
                                }
                            }
                        }
                    }
                }
            }
            Equation::Sum { .. } | Equation::Convert { .. } => {}
        }
        Ok(changed)
    }

    /// Spreads boundaries between the two sides of a band.
    fn through(&mut self, to: usize, from: usize, band: &Band) -> Result<bool, usize> {
        let mut changed = false;
        for (a, b) in [(to, from), (from, to)] {
            for boundary in self.boundaries[a].clone() {
                if !moves_blocks(band, boundary) {
                    return Err(a);
                }
                changed |= self.add(b, boundary)?;
            }
        }
        Ok(changed)
    }

    /// The boundaries of a run of axes, as if it were one.
    fn flat(&self, var: Var, shape: &[usize], run: std::ops::Range<usize>) -> Vec<usize> {
        let mut flat = Vec::new();
        let mut inner = 1;
        for axis in run.rev() {
            let class = self.known(var, axis);
            flat.extend(self.boundaries[class].iter().map(|b| b * inner));
            inner *= shape[axis];
            flat.push(inner);
        }
        flat.pop();
        flat
    }

    /// Gives each axis of a run its share of boundaries.
    fn deal(
        &mut self,
        var: Var,
        shape: &[usize],
        run: std::ops::Range<usize>,
        boundaries: &[usize],
    ) -> Result<bool, usize> {
        let mut changed = false;
        let mut inner = 1;
        for axis in run.rev() {
            let outer = inner * shape[axis];
            let class = self.known(var, axis);
            for boundary in boundaries.iter().filter(|b| **b > inner && **b < outer) {
                if boundary % inner != 0 {
                    return Err(class);
                }
                changed |= self.add(class, boundary / inner)?;
            }
            inner = outer;
        }
        Ok(changed)
    }

    fn parts(&self) -> FxHashMap<(Var, usize), Parts> {
        let parts = |number: usize| -> Parts {
            let class = self.find(number);
            let mut inner = 1;
            let ends = self.boundaries[class].iter().chain([&self.sizes[class]]);
            let mut parts: Parts = ends
                .map(|end| {
                    let part = end / inner.max(1);
                    inner = *end;
                    part
                })
                .collect();
            parts.reverse();
            parts
        };
        let axes = self.number.iter();
        axes.map(|(axis, number)| (*axis, parts(*number))).collect()
    }

    /// The reshapes to blame if this class of axes cannot be taken apart as is asked: those of its axes; all if there are none.
    fn blamed(
        &self,
        class: usize,
        equations: &[(usize, Var, &Equation)],
        all: Vec<usize>,
    ) -> Vec<usize> {
        let of_class = |var: Var, rank: usize| (0..rank).any(|axis| self.known(var, axis) == class);
        let blamed: Vec<usize> = equations
            .iter()
            .filter_map(|(index, result, equation)| match equation {
                Equation::Reshape {
                    operand, from, to, ..
                } => (of_class(operand.0, from.len()) || of_class(*result, to.len()))
                    .then_some(*index),
                _ => None,
            })
            .collect();
        if blamed.is_empty() { all } else { blamed }
    }
}
