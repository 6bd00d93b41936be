//! Products with structures as equations: slices, reversals, padding, `gather`, `scatter-add`, concatenation; and diagonals.

use super::export::{Factor, Tensor, Writer};
use super::language::{Label, Labels, Shape};
use super::plan::{Action, PlanStep};
use super::structure::{Band, Structure};
use crate::array::{Buffer, Dims, Scalar};
use crate::error::{Error, Result};
use crate::trace::op::{
    BroadcastInDim, Concatenate, DynamicSlice, DynamicUpdateSlice, Gather, GatherDimensionNumbers,
    Op, Pad, Reshape, Rev, Scatter, ScatterDimensionNumbers, ScatterKind, Slice,
};
use crate::trace::{Atom, Literal};
use smallvec::SmallVec;
use std::sync::Arc;

impl Writer<'_> {
    /// Whether one of the operands is a structure.
    pub(super) fn moves(&self, operands: &[(usize, Labels)]) -> bool {
        operands.iter().any(|(operand, _)| {
            let step = self.plan.steps.get(*operand);
            step.is_some_and(|step| step.structure.is_some())
        })
    }

    /// The product of a structure with the tensor that it moves.
    pub(super) fn moved(
        &mut self,
        index: usize,
        operands: &[(usize, Labels)],
        step: &PlanStep,
    ) -> Result<Tensor> {
        let rank = step.shape.len() as Label;
        let (mut structure, mut tensor): (Option<(usize, Factor, Structure)>, Option<Factor>) =
            (None, None);
        let mut scalars: SmallVec<[Factor; 3]> = SmallVec::new();
        for (operand, labels) in operands {
            let factor = self.factor(*operand, labels);
            match self.plan.steps[*operand].structure {
                Some(kind) => structure = Some((*operand, factor, kind)),
                None if labels.is_empty() => scalars.push(factor),
                None => tensor = Some(self.diagonal(factor)),
            }
        }
        let (own, structure, kind) =
            structure.ok_or_else(|| Error::internal("a plan moves nothing"))?;
        let kept = |label: Label| label < rank;
        let tensor = match tensor {
            Some(tensor) => tensor,
            None => self.ones_to_count(&structure, &kind, kept)?,
        };
        let tensor = match self.scalar_product(&scalars) {
            Some(scale) => self.scaled(tensor, Some(scale)),
            None => tensor,
        };
        let carried = |label: Label| tensor.labels.contains(&label);
        let axis = kind
            .moves(&structure.labels, carried, kept)
            .ok_or_else(|| Error::internal("a plan moves a tensor that lacks the axis"))?;
        let moved = match kind {
            Structure::Band(band) => {
                let (band, labels) = match axis {
                    1 => (band, [structure.labels[0], structure.labels[1]]),
                    _ => (
                        band.transposed(),
                        [structure.labels[1], structure.labels[0]],
                    ),
                };
                self.banded(tensor, &band, labels)?
            }
            Structure::Gather => self.gathered(own, tensor, &structure)?,
            Structure::Scatter => self.scattered(own, tensor, &structure, kept)?,
        };
        let moved = self.diagonal(moved);
        let moved = self.reduced(moved, kept);
        let moved = match self.scale(index) {
            scale if scale != 1.0 => self.times(moved, scale)?,
            _ => moved,
        };
        let moved = match moved.labels.len() == step.shape.len() {
            true => moved,
            false => self.broadcast(moved, &(0..rank).collect::<Labels>(), &step.shape),
        };
        Ok(Tensor {
            atom: moved.atom,
            shape: moved.shape,
            axes: moved.labels,
        })
    }

    /// What a structure that is multiplied with no tensor counts: ones along the axes that are summed.
    fn ones_to_count(
        &mut self,
        structure: &Factor,
        kind: &Structure,
        kept: impl Fn(Label) -> bool,
    ) -> Result<Factor> {
        let last = structure.labels.len().saturating_sub(1);
        let summed = |axis: &usize| !kept(structure.labels[*axis]);
        let gone: SmallVec<[usize; 4]> = match kind {
            Structure::Band(_) => (0..=last).filter(summed).take(1).collect(),
            Structure::Gather => SmallVec::from_elem(last, 1),
            Structure::Scatter => (0..last).collect(),
        };
        let one = Factor {
            atom: self.number(1.0)?,
            shape: Shape::new(),
            labels: Labels::new(),
        };
        let labels: Labels = gone.iter().map(|axis| structure.labels[*axis]).collect();
        let shape: Shape = gone.iter().map(|axis| structure.shape[*axis]).collect();
        Ok(self.broadcast(one, &labels, &shape))
    }

    /// A tensor whose axis `labels[1]` becomes axis `labels[0]` as the band says.
    fn banded(&mut self, tensor: Factor, band: &Band, labels: [Label; 2]) -> Result<Factor> {
        let rank = tensor.labels.len();
        let axis = axis_of(&tensor, labels[1])?;
        let mut moved = tensor;
        moved.labels[axis] = labels[0];
        let (first, last) = (band.at(1, 0), band.at(1, band.count.saturating_sub(1)));
        let step = band.steps[1].unsigned_abs() as usize;
        if band.count != band.sizes[1] || step != 1 {
            let mut slice = Slice {
                start_indices: SmallVec::from_elem(0, rank),
                limit_indices: Dims::from_slice(&moved.shape),
                strides: None,
            };
            slice.start_indices[axis] = first.min(last);
            slice.limit_indices[axis] = first.max(last) + 1;
            if step != 1 {
                let mut strides: Dims = SmallVec::from_elem(1, rank);
                strides[axis] = step;
                slice.strides = Some(strides);
            }
            moved.shape[axis] = band.count;
            moved.atom = self.emit(slice, &[&moved.atom], &moved.shape.clone());
        }
        if band.steps[1] < 0 {
            let dimensions = SmallVec::from_elem(axis, 1);
            moved.atom = self.emit(Rev { dimensions }, &[&moved.atom], &moved.shape.clone());
        }
        if band.count != band.sizes[0] {
            let mut padding_config = vec![(0, 0, 0); rank];
            let last = band.at(0, band.count.saturating_sub(1));
            padding_config[axis] = (
                band.starts[0] as i64,
                band.sizes[0] as i64 - 1 - last as i64,
                band.steps[0] - 1,
            );
            moved.shape[axis] = band.sizes[0];
            let zero = self.number(0.0)?;
            let shape = moved.shape.clone();
            moved.atom = self.emit(Pad { padding_config }, &[&moved.atom, &zero], &shape);
        }
        Ok(moved)
    }

    /// The equation from which the island has a structure.
    fn template(&self, step: usize) -> Result<Op> {
        let leaf = match self.plan.steps[step].action {
            Action::Leaf(leaf) => self.island.moving.get(&leaf),
            _ => None,
        };
        leaf.cloned()
            .ok_or_else(|| Error::internal("a plan moves by an unknown index"))
    }

    /// Rows of a tensor: its axis, the last of the structure's, gives way to the structure's others.
    fn gathered(&mut self, own: usize, tensor: Factor, structure: &Factor) -> Result<Factor> {
        let template = match self.template(own)? {
            Op::Gather(template) => template,
            Op::DynamicSlice(_) => return self.window(tensor, structure),
            _ => return Err(Error::internal("a plan gathers where nothing is gathered")),
        };
        let (inner, outer) = split_last(&structure.labels)?;
        let axis = axis_of(&tensor, inner)?;
        let runs_along = |place: &usize| outer.contains(&tensor.labels[*place]);
        let batching: Dims = (0..tensor.labels.len()).filter(runs_along).collect();
        let index_axis = |place: &usize| outer.iter().position(|l| *l == tensor.labels[*place]);
        let index_batching: Dims = batching.iter().filter_map(index_axis).collect();
        // The windows' axes, with those of the index in the place of the axis that is picked.
        let (mut labels, mut shape) = (Labels::new(), Shape::new());
        let mut offset_dims = Dims::new();
        for (place, label) in tensor.labels.iter().enumerate() {
            if place == axis {
                labels.extend_from_slice(outer);
                shape.extend_from_slice(&structure.shape[..outer.len()]);
            } else if !batching.contains(&place) {
                offset_dims.push(labels.len());
                labels.push(*label);
                shape.push(tensor.shape[place]);
            }
        }
        let mut slice_sizes = Dims::from_slice(&tensor.shape);
        slice_sizes[axis] = 1;
        for place in &batching {
            slice_sizes[*place] = 1;
        }
        let op = Gather {
            dimension_numbers: GatherDimensionNumbers {
                offset_dims,
                collapsed_slice_dims: SmallVec::from_elem(axis, 1),
                start_index_map: SmallVec::from_elem(axis, 1),
                operand_batching_dims: batching,
                start_indices_batching_dims: index_batching,
            },
            slice_sizes,
            ..(*template).clone()
        };
        let atom = self.emit(op, &[&tensor.atom, &structure.atom], &shape);
        Ok(Factor {
            atom,
            shape,
            labels,
        })
    }

    /// Rows added up where the index says: the structure's other axes give way to its last.
    fn scattered(
        &mut self,
        own: usize,
        tensor: Factor,
        structure: &Factor,
        kept: impl Fn(Label) -> bool,
    ) -> Result<Factor> {
        let template = match self.template(own)? {
            Op::Scatter(template) => template,
            Op::DynamicUpdateSlice(_) => return self.window_placed(tensor, structure, kept),
            _ => {
                let what = "a plan scatters where nothing is scattered";
                return Err(Error::internal(what));
            }
        };
        let (inner, outer) = split_last(&structure.labels)?;
        let mut order: Labels = outer.into();
        order.extend(tensor.labels.iter().copied().filter(|l| !outer.contains(l)));
        let updates = self.transposed(tensor, &order);
        // Axes of the index that stay run along.
        let batching: Dims = (0..outer.len()).filter(|i| kept(outer[*i])).collect();
        let mut labels: Labels = batching.iter().map(|i| outer[*i]).collect();
        let mut shape: Shape = batching.iter().map(|i| structure.shape[*i]).collect();
        let along = batching.len();
        labels.push(inner);
        labels.extend_from_slice(&order[outer.len()..]);
        shape.push(structure.shape[outer.len()]);
        shape.extend_from_slice(&updates.shape[outer.len()..]);
        let zero = self.number(0.0)?;
        let blank = BroadcastInDim {
            shape: Dims::from_slice(&shape),
            broadcast_dimensions: Dims::new(),
        };
        let blank = self.emit(blank, &[&zero], &shape);
        let op = Scatter {
            indices_are_sorted: template.indices_are_sorted,
            unique_indices: template.unique_indices,
            mode: template.mode,
            dtype: template.dtype,
            ..Scatter::new(
                ScatterKind::Add,
                ScatterDimensionNumbers {
                    update_window_dims: (outer.len()..order.len()).collect(),
                    inserted_window_dims: SmallVec::from_elem(along, 1),
                    scatter_dims_to_operand_dims: SmallVec::from_elem(along, 1),
                    operand_batching_dims: (0..along).collect(),
                    scatter_indices_batching_dims: batching,
                },
            )
        };
        let atom = self.emit(op, &[&blank, &structure.atom, &updates.atom], &shape);
        Ok(Factor {
            atom,
            shape,
            labels,
        })
    }

    /// A window of a tensor along the structure's last axis, at the place that the structure's variable says.
    fn window(&mut self, tensor: Factor, structure: &Factor) -> Result<Factor> {
        let (inner, outer) = split_last(&structure.labels)?;
        let axis = axis_of(&tensor, inner)?;
        let mut window = tensor;
        window.shape[axis] = structure.shape[0];
        window.labels[axis] = outer.first().copied().unwrap_or(inner);
        let op = DynamicSlice {
            slice_sizes: Dims::from_slice(&window.shape),
        };
        let starts = self.starts(&structure.atom, window.shape.len(), axis)?;
        let inputs: Vec<&Atom> = [&window.atom].into_iter().chain(&starts).collect();
        window.atom = self.emit(op, &inputs, &window.shape.clone());
        Ok(window)
    }

    /// A tensor as a window along the structure's last axis, zeros around it.
    fn window_placed(
        &mut self,
        tensor: Factor,
        structure: &Factor,
        kept: impl Fn(Label) -> bool,
    ) -> Result<Factor> {
        let (inner, outer) = split_last(&structure.labels)?;
        let along = outer.first().copied().unwrap_or(inner);
        let labels = || tensor.labels.iter().chain(&structure.labels);
        let fresh = labels().fold(0, |most, label| most.max(label + 1));
        // An axis that stays is also there for the window to be placed along.
        let (tensor, along) = match kept(along) {
            true => (self.on_diagonal(tensor, along, fresh)?, fresh),
            false => (tensor, along),
        };
        let axis = axis_of(&tensor, along)?;
        let mut placed = tensor;
        placed.shape[axis] = structure.shape[1];
        placed.labels[axis] = inner;
        let shape = placed.shape.clone();
        let zero = self.number(0.0)?;
        let blank = BroadcastInDim {
            shape: Dims::from_slice(&shape),
            broadcast_dimensions: Dims::new(),
        };
        let blank = self.emit(blank, &[&zero], &shape);
        let starts = self.starts(&structure.atom, shape.len(), axis)?;
        let inputs: Vec<&Atom> = [&blank, &placed.atom].into_iter().chain(&starts).collect();
        placed.atom = self.emit(DynamicUpdateSlice, &inputs, &shape);
        Ok(placed)
    }

    /// Where a window starts that is moved along one of so many axes.
    fn starts(&self, start: &Atom, rank: usize, axis: usize) -> Result<Vec<Atom>> {
        let dtype = self.dtype_of(start);
        let zero = Literal::new(Arc::new(Buffer::scalar(Scalar::Int(0), dtype, false)));
        let zero = zero.ok_or_else(|| Error::internal("a number has no axes"))?;
        let at = |other: usize| match other == axis {
            true => start.clone(),
            false => Atom::Lit(zero.clone()),
        };
        Ok((0..rank).map(at).collect())
    }

    /// A tensor whose axis `label` is the diagonal of that axis and another, `other`.
    fn on_diagonal(&mut self, tensor: Factor, label: Label, other: Label) -> Result<Factor> {
        let axis = axis_of(&tensor, label)?;
        let mut order = tensor.labels.clone();
        order.remove(axis);
        order.push(label);
        let mut tensor = self.transposed(tensor, &order);
        let last = order.len() - 1;
        let size = tensor.shape[last];
        // Element t of n comes to place t·(n + 1) of n².
        let mut padding_config = vec![(0, 0, 0); order.len()];
        padding_config[last] = (0, 0, size as i64);
        tensor.shape[last] = size * size;
        let zero = self.number(0.0)?;
        let padded = Pad { padding_config };
        tensor.atom = self.emit(padded, &[&tensor.atom, &zero], &tensor.shape.clone());
        tensor.shape[last] = size;
        tensor.shape.push(size);
        tensor.labels.push(other);
        let new_sizes = Dims::from_slice(&tensor.shape);
        tensor.atom = self.emit(
            Reshape { new_sizes },
            &[&tensor.atom],
            &tensor.shape.clone(),
        );
        Ok(tensor)
    }

    /// A tensor with one axis for each label: where it has a label twice, the diagonal.
    pub(super) fn diagonal(&mut self, tensor: Factor) -> Factor {
        let mut tensor = tensor;
        while let Some((first, second)) = repeated(&tensor.labels) {
            let label = tensor.labels[first];
            // Both axes last, as one, of which each place of the diagonal is n + 1 after the one before.
            let axes = (0..tensor.labels.len()).filter(|a| *a != first && *a != second);
            let rest: SmallVec<[usize; 4]> = axes.collect();
            let mark = tensor.labels.iter().fold(0, |most, l| most.max(l + 1));
            tensor.labels[second] = mark;
            let mut order: Labels = rest.iter().map(|axis| tensor.labels[*axis]).collect();
            order.extend([label, mark]);
            let turned = self.transposed(tensor, &order);
            let size = turned.shape.last().copied().unwrap_or(1);
            let mut shape = turned.shape.clone();
            shape.truncate(rest.len());
            shape.push(size * size);
            let new_sizes = Dims::from_slice(&shape);
            let flat = self.emit(Reshape { new_sizes }, &[&turned.atom], &shape);
            let mut strides: Dims = SmallVec::from_elem(1, shape.len());
            strides[rest.len()] = size + 1;
            let slice = Slice {
                start_indices: SmallVec::from_elem(0, shape.len()),
                limit_indices: Dims::from_slice(&shape),
                strides: Some(strides),
            };
            shape[rest.len()] = size;
            order.pop();
            tensor = Factor {
                atom: self.emit(slice, &[&flat], &shape),
                shape,
                labels: order,
            };
        }
        tensor
    }

    /// A sum as a concatenation, if its terms fill an axis one after the other.
    pub(super) fn direct_sum(
        &mut self,
        terms: &[(f64, usize, Labels)],
        shape: &[usize],
        order: &Labels,
    ) -> Result<Option<Tensor>> {
        let mut parts: Vec<(usize, f64, Factor, Band)> = Vec::with_capacity(terms.len());
        let mut along: Option<Label> = None;
        for (coefficient, step, labels) in terms {
            let Some((axis, band, tensor)) = self.placed(*step, labels) else {
                return Ok(None);
            };
            let cut = Band::new(
                [band.count, band.sizes[1]],
                [0, band.starts[1]],
                [1, band.steps[1]],
                band.count,
            );
            if *along.get_or_insert(axis) != axis || tensor.labels.len() != order.len() {
                return Ok(None);
            }
            parts.push((band.starts[0], *coefficient, tensor, cut));
        }
        let Some(along) = along.filter(|_| parts.len() > 1) else {
            return Ok(None);
        };
        parts.sort_by_key(|(start, ..)| *start);
        let mut end = 0;
        for (start, _, _, cut) in &parts {
            if *start != end {
                return Ok(None);
            }
            end += cut.count;
        }
        if end != shape[along as usize] {
            return Ok(None);
        }
        let mut atoms = Vec::with_capacity(parts.len());
        for (_, coefficient, tensor, cut) in parts {
            let tensor = self.banded(tensor, &cut, [along, along])?;
            let mut part = self.transposed(tensor, order);
            if coefficient != 1.0 {
                part = self.times(part, coefficient)?;
            }
            atoms.push(part.atom);
        }
        let dimension = order.iter().position(|label| *label == along);
        let op = Concatenate {
            dimension: dimension.unwrap_or(0),
        };
        let sizes: Shape = order.iter().map(|label| shape[*label as usize]).collect();
        let atoms: Vec<_> = atoms.iter().collect();
        Ok(Some(Tensor {
            atom: self.emit(op, &atoms, &sizes),
            shape: sizes,
            axes: order.clone(),
        }))
    }

    /// If a step places a tensor, or a slice of it, as one block in a larger one: along which label of the sum, how, and the tensor.
    fn placed(&self, step: usize, labels: &Labels) -> Option<(Label, Band, Factor)> {
        let Action::Product(operands) = &self.plan.steps[step].action else {
            return None;
        };
        let [first, second] = operands.as_slice() else {
            return None;
        };
        let structure = |(operand, _): &&(usize, Labels)| self.plan.steps[*operand].structure;
        let (own, tensor) = match structure(&first) {
            Some(_) => (first, second),
            None => (second, first),
        };
        let (Some(Structure::Band(band)), None) = (structure(&own), structure(&tensor)) else {
            return None;
        };
        let rank = labels.len() as Label;
        let result = own.1.iter().position(|label| *label < rank)?;
        let band = if result == 0 { band } else { band.transposed() };
        let inner = own.1[1 - result];
        let whole = band.count == 1 || band.steps[0] == 1;
        let named = |label: Label| match label == inner {
            true => labels.get(own.1[result] as usize).copied(),
            false => labels.get(label as usize).copied(),
        };
        let names: Labels = tensor.1.iter().map(|l| named(*l)).collect::<Option<_>>()?;
        let fits = whole && inner >= rank && repeated(&names).is_none();
        let axis = named(inner)?;
        let factor = self.factor(tensor.0, &names);
        (fits && names.contains(&axis)).then_some((axis, band, factor))
    }
}

fn axis_of(tensor: &Factor, label: Label) -> Result<usize> {
    let axis = tensor.labels.iter().position(|l| *l == label);
    axis.ok_or_else(|| Error::internal("a plan moves a tensor that lacks the axis"))
}

fn split_last(labels: &[Label]) -> Result<(Label, &[Label])> {
    let parts = labels.split_last().map(|(last, rest)| (*last, rest));
    parts.ok_or_else(|| Error::internal("a structure has no axes"))
}

/// Two axes with the same label.
fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    let first = |second: usize| labels[..second].iter().position(|l| *l == labels[second]);
    (0..labels.len()).find_map(|second| Some((first(second)?, second)))
}
