//! An equation of a program as the algebra sees it.

use super::language::{Label, Labels};
use super::structure::{Band, Structure};
use crate::array::{Aval, DType, Dims, Scalar};
use crate::trace::op::{
    Axes, Binary, Component, Gather, GatherDimensionNumbers, GatherScatterMode, Op, Pad,
    ScatterKind, Slice, Unary,
};
use crate::trace::{Atom, Eqn, Jaxpr, Var};
use smallvec::SmallVec;

/// What an equation does, if that is algebra. Labels are local to the equation.
#[derive(Debug, Clone)]
pub(super) enum Equation {
    /// `coefficient ·` the sum over the labels that are not in `output` of the product of the operands and of what moves them.
    Product {
        coefficient: f64,
        operands: SmallVec<[(Var, Labels); 2]>,
        moves: SmallVec<[Move; 1]>,
        output: Labels,
    },
    /// A linear combination; no variable stands for the number one.
    Sum {
        terms: SmallVec<[(f64, Option<Var>, Labels); 2]>,
        output: Labels,
    },
    /// A direct sum: each part is placed along an axis.
    Concatenate {
        parts: SmallVec<[(Var, Band); 3]>,
        axis: usize,
        output: Labels,
    },
    /// The same elements in the same order along other axes.
    Reshape {
        operand: (Var, Labels),
        from: Dims,
        to: Dims,
        output: Labels,
    },
    /// The same numbers in another element type.
    Convert {
        operand: (Var, Labels),
        output: Labels,
    },
}

/// What moves the elements of a product's operand, as a factor.
#[derive(Debug, Clone)]
pub(super) enum Move {
    /// From the axis of the operand with the second label to the axis of the result with the first.
    Band(Band, [Label; 2]),
    /// To or from the places that an index says, along the axis that has the last label. The index of a window is its start.
    Index {
        index: Var,
        /// The shape of the structure: its last axis is the one that is pointed into.
        shape: Dims,
        kind: Structure,
        labels: Labels,
    },
}

/// How an equation takes part in islands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A product of two tensors that sums over some label.
    Contraction,
    /// A product of two tensors, element by element.
    Elementwise,
    /// One tensor: renamed, scaled, its elements moved.
    View,
    /// One tensor in another element type.
    Convert,
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
    ///
    /// `is_zero` says whether a variable is known to be zero, `known` what integers a variable holds, if that can be told.
    pub(super) fn read(
        program: &Jaxpr,
        eqn: &Eqn,
        is_zero: impl Fn(Var) -> bool,
        known: impl Fn(Var) -> Option<Vec<i64>>,
    ) -> Option<Equation> {
        let [result] = eqn.outputs.as_slice() else {
            return None;
        };
        let result = program.aval(*result);
        if !result.dtype.is_inexact() {
            return None;
        }
        let avals: SmallVec<[&Aval; 4]> = eqn.inputs.iter().map(|a| program.atom_aval(a)).collect();
        match &eqn.op {
            Op::ConvertElementType(_) => return convert(eqn, avals.first()?, result),
            Op::Gather(gather) => return gathered(eqn, gather, &avals, result, known),
            Op::DynamicSlice(_) => return window(eqn, avals.first()?, result),
            Op::DynamicUpdateSlice(_) => {
                let zero = eqn.inputs.first()?.var().is_some_and(is_zero);
                return zero.then(|| window_placed(eqn, &avals)).flatten();
            }
            Op::Scatter(scatter) if scatter.kind == ScatterKind::Add => {
                let zero = eqn.inputs.first()?.var().is_some_and(is_zero);
                let numbers = GatherDimensionNumbers::from(&scatter.dimension_numbers);
                return zero.then(|| scattered(eqn, &numbers, &avals)).flatten();
            }
            Op::SelectN(_) => return masked(eqn, &avals, is_zero),
            _ => {}
        }
        if avals.iter().any(|aval| aval.dtype != result.dtype) {
            return None;
        }
        match &eqn.op {
            Op::Binary(Binary::Div) => return quotient(eqn, avals.first()?.ndim()),
            Op::Unary(Unary::Square) => return square(eqn, result.ndim()),
            Op::IntegerPow(power) if power.y == 2 => return square(eqn, result.ndim()),
            Op::Slice(slice) => return sliced(eqn, slice, avals.first()?),
            Op::Pad(pad) => return padded(eqn, pad, avals.first()?, result),
            Op::Rev(rev) => {
                let reversed = |axis: usize, size: usize| {
                    let back = || Band::new([size; 2], [0, size - 1], [1, -1], size);
                    (size > 1 && rev.dimensions.contains(&axis)).then(back)
                };
                return banded(eqn, avals.first()?, reversed);
            }
            Op::Concatenate(along) => return concatenated(eqn, along.dimension, &avals, result),
            _ => {}
        }
        match eqn.op.axes(&avals) {
            Axes::Opaque => match &eqn.op {
                Op::Reshape(_) => reshaped(eqn, avals.first()?, result),
                Op::BroadcastInDim(grown) => {
                    grown_ones(eqn, avals.first()?, result, &grown.broadcast_dimensions)
                }
                _ => None,
            },
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
                    moves: SmallVec::new(),
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
            Equation::Concatenate { parts, output, .. } => {
                parts.iter().map(|(var, _)| (*var, output)).collect()
            }
            Equation::Reshape { operand, .. } | Equation::Convert { operand, .. } => {
                SmallVec::from_iter([(operand.0, &operand.1)])
            }
        }
    }

    /// What moves its operands.
    fn moves(&self) -> &[Move] {
        match self {
            Equation::Product { moves, .. } => moves,
            _ => &[],
        }
    }

    /// Whether no axis of the result comes from an operand's axis with this label.
    fn sums(&self, label: &Label) -> bool {
        let output = self.output();
        let moved = |m: &Move| match m {
            Move::Band(_, labels) => labels[1] == *label && output.contains(&labels[0]),
            Move::Index { .. } => false,
        };
        !matches!(self, Equation::Reshape { .. })
            && !output.contains(label)
            && !self.moves().iter().any(moved)
    }

    /// The labels of its result.
    pub(super) fn output(&self) -> &Labels {
        match self {
            Equation::Product { output, .. }
            | Equation::Sum { output, .. }
            | Equation::Concatenate { output, .. }
            | Equation::Reshape { output, .. }
            | Equation::Convert { output, .. } => output,
        }
    }

    /// How it takes part in islands.
    pub(super) fn kind(&self) -> Kind {
        let output = self.output();
        match self {
            Equation::Sum { terms, .. } if terms.len() > 1 => Kind::Sum,
            Equation::Sum { .. } | Equation::Reshape { .. } => Kind::View,
            Equation::Concatenate { .. } => Kind::Sum,
            Equation::Convert { .. } => Kind::Convert,
            Equation::Product { moves, .. } if !moves.is_empty() => Kind::View,
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
                moves,
                output,
            } if *coefficient == 1.0 && moves.is_empty() => match operands.as_slice() {
                [(var, labels)] if labels == output => Some(*var),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it sums over an axis of this variable.
    pub(super) fn sums_over(&self, var: Var) -> bool {
        self.operands()
            .iter()
            .any(|(v, labels)| *v == var && labels.iter().any(|label| self.sums(label)))
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
        moves: SmallVec::new(),
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
        moves: SmallVec::new(),
        output: labels,
    })
}

/// One operand, each of whose axes `0..rank` may be moved; `band(axis, size)` says how.
fn banded(
    eqn: &Eqn,
    operand: &Aval,
    band: impl Fn(usize, usize) -> Option<Band>,
) -> Option<Equation> {
    let var = eqn.inputs.first()?.var()?;
    let rank = operand.ndim() as Label;
    let output: Labels = (0..rank).collect();
    let mut labels = output.clone();
    let mut moves = SmallVec::new();
    for (axis, size) in operand.shape.iter().enumerate() {
        if let Some(band) = band(axis, *size) {
            let moved = rank + axis as Label;
            labels[axis] = moved;
            moves.push(Move::Band(band, [axis as Label, moved]));
        }
    }
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(var, labels)]),
        moves,
        output,
    })
}

fn sliced(eqn: &Eqn, slice: &Slice, operand: &Aval) -> Option<Equation> {
    if operand.size() == 0 {
        return None;
    }
    banded(eqn, operand, |axis, size| {
        let (start, limit) = (
            slice.start_indices.get(axis)?,
            slice.limit_indices.get(axis)?,
        );
        let step = slice.strides.as_ref().map_or(1, |strides| strides[axis]);
        let count = limit.checked_sub(*start)?.div_ceil(step);
        let band = Band::new([count, size], [0, *start], [1, step as i64], count);
        (!band.is_identity()).then_some(band)
    })
}

/// Padding by zeros. Negative padding cuts.
fn padded(eqn: &Eqn, pad: &Pad, operand: &Aval, result: &Aval) -> Option<Equation> {
    let by_zero = number(eqn.inputs.get(1)?)? == 0.0;
    if !by_zero || operand.size() == 0 || result.size() == 0 {
        return None;
    }
    banded(eqn, operand, |axis, size| {
        let (low, _, between) = *pad.padding_config.get(axis)?;
        let new = *result.shape.get(axis)?;
        let step = between + 1;
        let place = |i: i64| low + i * step;
        let inside = |i: &i64| (0..new as i64).contains(&place(*i));
        let first = (0..size as i64).find(inside);
        let count = (0..size as i64).filter(inside).count();
        let first = first.unwrap_or(0);
        let at = place(first).max(0) as usize;
        let band = Band::new([new, size], [at, first as usize], [step, 1], count);
        (!band.is_identity()).then_some(band)
    })
}

fn concatenated(eqn: &Eqn, axis: usize, avals: &[&Aval], result: &Aval) -> Option<Equation> {
    let whole = *result.shape.get(axis)?;
    if result.size() == 0 || result.ndim() > Label::MAX as usize / 4 {
        return None;
    }
    let mut start = 0;
    let mut parts = SmallVec::new();
    for (atom, aval) in eqn.inputs.iter().zip(avals) {
        let size = *aval.shape.get(axis)?;
        if size > 0 {
            let band = Band::new([whole, size], [start, 0], [1, 1], size);
            parts.push((atom.var()?, band));
        }
        start += size;
    }
    Some(Equation::Concatenate {
        parts,
        axis,
        output: (0..result.ndim() as Label).collect(),
    })
}

fn reshaped(eqn: &Eqn, operand: &Aval, result: &Aval) -> Option<Equation> {
    if operand.size() == 0 {
        return None;
    }
    let var = eqn.inputs.first()?.var()?;
    Some(Equation::Reshape {
        operand: (var, (0..operand.ndim() as Label).collect()),
        from: operand.shape.clone(),
        to: result.shape.clone(),
        output: (0..result.ndim() as Label).collect(),
    })
}

/// A broadcast in which axes of size 1 grow: they go, and others come.
fn grown_ones(eqn: &Eqn, operand: &Aval, result: &Aval, dimensions: &[usize]) -> Option<Equation> {
    let var = eqn.inputs.first()?.var()?;
    let rank = result.ndim() as Label;
    let mut labels = Labels::new();
    for (axis, (place, size)) in dimensions.iter().zip(&operand.shape).enumerate() {
        labels.push(match result.shape.get(*place)? == size {
            true => *place as Label,
            false => rank + axis as Label,
        });
    }
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(var, labels)]),
        moves: SmallVec::new(),
        output: (0..rank).collect(),
    })
}

/// A conversion to a floating-point type, unless it drops imaginary parts.
fn convert(eqn: &Eqn, operand: &Aval, result: &Aval) -> Option<Equation> {
    if operand.dtype.is_complex() && !result.dtype.is_complex() {
        return None;
    }
    let labels: Labels = (0..operand.ndim() as Label).collect();
    Some(Equation::Convert {
        operand: (eqn.inputs.first()?.var()?, labels.clone()),
        output: labels,
    })
}

/// Whether windows are whole but for one axis, along which one place each is picked; which axis.
fn picks_rows(numbers: &GatherDimensionNumbers) -> Option<usize> {
    match (
        numbers.start_index_map.as_slice(),
        numbers.collapsed_slice_dims.as_slice(),
    ) {
        ([axis], [collapsed]) if axis == collapsed => Some(*axis),
        _ => None,
    }
}

/// The labels of the rows' tensor (whose picked axis has the label `rank`) and of the structure, where the array with the rows
/// has the axes `0..rank` in order.
fn row_labels(
    numbers: &GatherDimensionNumbers,
    axis: usize,
    tensor_rank: usize,
    rank: usize,
) -> Option<(Labels, Labels)> {
    let picked = rank as Label;
    let mut structure: Labels = (0..picked)
        .filter(|d| !numbers.offset_dims.contains(&(*d as usize)))
        .collect();
    let mut window = numbers.offset_dims.iter();
    let mut tensor = Labels::new();
    for own in 0..tensor_rank {
        let along = numbers.operand_batching_dims.iter().position(|d| *d == own);
        tensor.push(match along {
            // An axis that runs along with one of the index.
            Some(along) => *structure.get(*numbers.start_indices_batching_dims.get(along)?)?,
            None if own == axis => picked,
            None => *window.next()? as Label,
        });
    }
    structure.push(picked);
    Some((tensor, structure))
}

/// What a known index picks, as a band from the picked axis to the one axis along which the index varies: places at equal distances.
fn known_band(places: &[i64], size: usize) -> Option<Band> {
    let first = *places.first()?;
    let step = places.get(1).map_or(1, |second| second - first);
    let even = (0i64..)
        .zip(places)
        .all(|(t, place)| *place == first + t * step);
    let inside = places.iter().all(|place| (0..size as i64).contains(place));
    (even && inside && step != 0).then(|| {
        Band::new(
            [places.len(), size],
            [0, first as usize],
            [1, step],
            places.len(),
        )
    })
}

/// A window at a computed place, zero or more of its axes shorter than the array's.
fn window(eqn: &Eqn, operand: &Aval, result: &Aval) -> Option<Equation> {
    let rank = operand.ndim() as Label;
    let output: Labels = (0..rank).collect();
    let (labels, moves) = window_moves(
        eqn.inputs.get(1..)?,
        &operand.shape,
        &result.shape,
        Structure::Gather,
    )?;
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(eqn.inputs.first()?.var()?, labels)]),
        moves,
        output,
    })
}

/// A window at a computed place in an array of zeros.
fn window_placed(eqn: &Eqn, avals: &[&Aval]) -> Option<Equation> {
    let [operand, update, ..] = avals else {
        return None;
    };
    let (output, moves) = window_moves(
        eqn.inputs.get(2..)?,
        &operand.shape,
        &update.shape,
        Structure::Scatter,
    )?;
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(
            eqn.inputs.get(1)?.var()?,
            (0..update.ndim() as Label).collect(),
        )]),
        moves,
        output,
    })
}

/// The labels of the axes of an array (those of its window are `0..rank`), and what moves them.
fn window_moves(
    starts: &[Atom],
    whole: &[usize],
    window: &[usize],
    kind: Structure,
) -> Option<(Labels, SmallVec<[Move; 1]>)> {
    let rank = whole.len() as Label;
    let mut labels: Labels = (0..rank).collect();
    let mut moves = SmallVec::new();
    for (axis, (size, cut)) in whole.iter().zip(window).enumerate() {
        // A window of an axis' whole length starts at its first place.
        if size == cut {
            continue;
        }
        let (inner, outer) = (axis as Label, rank + axis as Label);
        labels[axis] = outer;
        moves.push(match starts.get(axis)? {
            Atom::Var(start) => Move::Index {
                index: *start,
                shape: Dims::from_slice(&[*cut, *size]),
                kind,
                labels: Labels::from_slice(&[inner, outer]),
            },
            start => {
                let last = size.checked_sub(*cut)? as f64;
                let start = number(start)?.clamp(0.0, last) as usize;
                let band = Band::new([*cut, *size], [0, start], [1, 1], *cut);
                match kind {
                    Structure::Scatter => Move::Band(band.transposed(), [outer, inner]),
                    _ => Move::Band(band, [inner, outer]),
                }
            }
        });
    }
    (whole.iter().chain(window).all(|size| *size > 0)).then_some((labels, moves))
}

fn gathered(
    eqn: &Eqn,
    gather: &Gather,
    avals: &[&Aval],
    result: &Aval,
    known: impl Fn(Var) -> Option<Vec<i64>>,
) -> Option<Equation> {
    let [operand, places] = avals else {
        return None;
    };
    let axis = picks_rows(&gather.dimension_numbers)?;
    let whole = |(a, (window, size)): (usize, (&usize, &usize))| {
        a == axis || window == size || gather.dimension_numbers.operand_batching_dims.contains(&a)
    };
    let sizes = gather.slice_sizes.iter().zip(&operand.shape);
    // What fills missing rows must be the same for each factor of a product and each term of a sum.
    let fills = match (gather.mode, gather.fill_value) {
        (GatherScatterMode::FillOrDrop, Some(fill)) => match fill {
            Scalar::Float(fill) => fill == 0.0 || fill.is_nan(),
            other => other.as_f64() == Some(0.0),
        },
        _ => true,
    };
    if !sizes.enumerate().all(whole) || !fills || operand.dtype != result.dtype {
        return None;
    }
    let numbers = &gather.dimension_numbers;
    let (mut tensor, structure) = row_labels(numbers, axis, operand.ndim(), result.ndim())?;
    let index = eqn.inputs.get(1)?.var()?;
    let size = *operand.shape.get(axis)?;
    let (picked, outer) = structure.split_last()?;
    let mut long = outer.iter().zip(&places.shape).filter(|(_, n)| **n != 1);
    let varies = match (long.next(), long.next()) {
        (None, _) => outer.first(),
        (Some((label, _)), None) => Some(label),
        _ => None,
    };
    let band = varies.and_then(|_| known_band(&known(index)?, size));
    let moved = match (varies, band) {
        // Every place of the axis in its order: along an axis that the array has already, its diagonal.
        (Some(label), Some(band)) if band.is_identity() => {
            let own = tensor.iter_mut().filter(|own| *own == picked);
            own.for_each(|own| *own = *label);
            None
        }
        (Some(label), Some(band)) => Some(Move::Band(band, [*label, *picked])),
        _ => {
            let mut shape = places.shape.clone();
            *shape.last_mut()? = size;
            let (kind, labels) = (Structure::Gather, structure);
            Some(Move::Index {
                index,
                shape,
                kind,
                labels,
            })
        }
    };
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(eqn.inputs.first()?.var()?, tensor)]),
        moves: moved.into_iter().collect(),
        output: (0..result.ndim() as Label).collect(),
    })
}

/// Rows added up in an array of zeros.
fn scattered(eqn: &Eqn, numbers: &GatherDimensionNumbers, avals: &[&Aval]) -> Option<Equation> {
    let [operand, places, updates] = avals else {
        return None;
    };
    let axis = picks_rows(numbers)?;
    let window = numbers.window_sizes(operand.ndim(), &updates.shape);
    let whole = |(a, (window, size)): (usize, (&usize, &usize))| {
        a == axis || window == size || numbers.operand_batching_dims.contains(&a)
    };
    let mut sizes = window.iter().zip(&operand.shape).enumerate();
    // Without an axis of the index that is summed, the structure of an array of ones would be a tensor.
    let sums = numbers.operand_batching_dims.len() + numbers.offset_dims.len() < updates.ndim();
    if !sizes.all(whole) || operand.dtype != updates.dtype || !(sums || updates.ndim() == 0) {
        return None;
    }
    let (output, structure) = row_labels(numbers, axis, operand.ndim(), updates.ndim())?;
    let mut shape = places.shape.clone();
    *shape.last_mut()? = *operand.shape.get(axis)?;
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(
            eqn.inputs.get(2)?.var()?,
            (0..updates.ndim() as Label).collect(),
        )]),
        moves: SmallVec::from_iter([Move::Index {
            index: eqn.inputs.get(1)?.var()?,
            shape,
            kind: Structure::Scatter,
            labels: structure,
        }]),
        output,
    })
}

/// A choice between zero and a tensor is a product with the mask; islands take it in only where that tensor must not be formed.
fn masked(eqn: &Eqn, avals: &[&Aval], is_zero: impl Fn(Var) -> bool) -> Option<Equation> {
    let [mask, zero, Atom::Var(tensor)] = eqn.inputs.as_slice() else {
        return None;
    };
    let (which, zeros) = (avals.first()?, avals.get(1)?);
    let zero = match zero {
        Atom::Lit(_) => number(zero)? == 0.0,
        Atom::Var(var) => is_zero(*var),
    };
    if which.dtype != DType::Bool || !zero {
        return None;
    }
    let output: Labels = (0..zeros.ndim() as Label).collect();
    let mask_labels: Labels = (0..which.ndim() as Label).collect();
    Some(Equation::Product {
        coefficient: 1.0,
        operands: SmallVec::from_iter([(mask.var()?, mask_labels), (*tensor, output.clone())]),
        moves: SmallVec::new(),
        output,
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
