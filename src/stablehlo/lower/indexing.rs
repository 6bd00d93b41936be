//! `gather` and its kin.

use super::{apply, given::Given};
use crate::{
    array::{Array, Dims},
    error::Result,
    trace::op::{Gather, GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers},
};

impl Given<'_, '_, '_> {
    pub(super) fn indexing(&self) -> Result<Option<Vec<Array>>> {
        let y = match self.name() {
            "gather" | "dynamic_gather" => self.gather()?,
            "torch_index_select" => {
                let [x, indices] = self.operands()?;
                let axis = self.number(&["dim"])?;
                let batch = self.number(&["batch_dims"])?;
                self.index_select(x, indices, axis, batch)?
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![y]))
    }

    /// The indices with the parts of an index along the last axis, and their axes under their new numbers.
    pub(super) fn indices(&self, x: &Array, vector: usize, axes: Dims) -> Result<(Array, Dims)> {
        let n = x.ndim();
        if vector > n {
            return Err(self.wrong(format!(
                "`index_vector_dim` is {vector}, the indices have {n} axes"
            )));
        }
        let renamed = axes.iter().map(|d| d - usize::from(*d > vector)).collect();
        if vector == n {
            let mut shape: Dims = x.aval()?.shape;
            shape.push(1);
            let y = x.reshape(shape);
            y.ok()?;
            return Ok((y, renamed));
        }
        if vector + 1 == n {
            return Ok((x.clone(), renamed));
        }
        let order: Dims = (0..n).filter(|i| *i != vector).chain([vector]).collect();
        let y = x.transpose(&order);
        y.ok()?;
        Ok((y, renamed))
    }

    fn gather(&self) -> Result<Array> {
        let (Some(x), Some(indices)) = (self.x.first(), self.x.get(1)) else {
            return Err(self.wrong("it takes an array and indices"));
        };
        let numbers = self.attr(&["dimension_numbers"]);
        let part = |name: &str| self.field(numbers, name);
        let vector = numbers
            .and_then(|a| a.field("index_vector_dim"))
            .and_then(super::Attr::int)
            .unwrap_or(0);
        let vector = usize::try_from(vector).map_err(|_| self.wrong("a negative axis"))?;
        let (indices, batching) =
            self.indices(indices, vector, part("start_indices_batching_dims")?)?;
        let numbers = GatherDimensionNumbers {
            offset_dims: part("offset_dims")?,
            collapsed_slice_dims: part("collapsed_slice_dims")?,
            start_index_map: part("start_index_map")?,
            operand_batching_dims: part("operand_batching_dims")?,
            start_indices_batching_dims: batching,
        };
        let sizes = if self.op.attr("slice_sizes").is_some() {
            self.dims(&["slice_sizes"])?
        } else {
            self.sizes_from_result(x, &numbers)?
        };
        let mut op = Gather::new(numbers, sizes).mode(GatherScatterMode::Clip);
        op.indices_are_sorted = self.flag("indices_are_sorted", false);
        apply(op, &[x, &indices])
    }

    /// The sizes of the slices where an operand gives them: those of the result's axes.
    fn sizes_from_result(&self, x: &Array, d: &GatherDimensionNumbers) -> Result<Dims> {
        let out = self.out(0)?;
        let mut offset = d.offset_dims.iter();
        Ok((0..x.ndim())
            .map(|i| {
                if d.in_window(i) {
                    let axis = offset.next().copied().unwrap_or(usize::MAX);
                    out.shape.get(axis).copied().unwrap_or(1)
                } else {
                    1
                }
            })
            .collect())
    }

    /// `x[…, indices, …]`, the first axes of both together.
    fn index_select(&self, x: &Array, indices: &Array, axis: usize, batch: usize) -> Result<Array> {
        let (a, i) = (x.aval()?, indices.aval()?);
        if axis >= a.ndim() || batch > axis || batch > i.ndim() {
            return Err(self.wrong("there is no such axis"));
        }
        let mut shape = i.shape.clone();
        shape.push(1);
        let indices = indices.reshape(shape);
        let count = i.ndim() - batch;
        let offset = (batch..axis).chain(axis + count..a.ndim() + count - 1);
        let numbers = GatherDimensionNumbers {
            offset_dims: offset.collect(),
            collapsed_slice_dims: Dims::from_elem(axis, 1),
            start_index_map: Dims::from_elem(axis, 1),
            operand_batching_dims: (0..batch).collect(),
            start_indices_batching_dims: (0..batch).collect(),
        };
        let sizes: Dims = a
            .shape
            .iter()
            .enumerate()
            .map(|(i, n)| if i == axis || i < batch { 1 } else { *n })
            .collect();
        apply(
            Gather::new(numbers, sizes).mode(GatherScatterMode::Clip),
            &[x, &indices],
        )
    }

    /// What a scatter says of its axes, the indices with the parts of an index last.
    pub(super) fn scatter_numbers(
        &self,
        indices: &Array,
    ) -> Result<(Array, ScatterDimensionNumbers)> {
        let numbers = self.attr(&["scatter_dimension_numbers"]);
        let part = |name: &str| self.field(numbers, name);
        let vector = numbers
            .and_then(|a| a.field("index_vector_dim"))
            .and_then(super::Attr::int)
            .unwrap_or(0);
        let vector = usize::try_from(vector).map_err(|_| self.wrong("a negative axis"))?;
        let (indices, batching) =
            self.indices(indices, vector, part("scatter_indices_batching_dims")?)?;
        let numbers = ScatterDimensionNumbers {
            update_window_dims: part("update_window_dims")?,
            inserted_window_dims: part("inserted_window_dims")?,
            scatter_dims_to_operand_dims: part("scatter_dims_to_operand_dims")?,
            operand_batching_dims: part("input_batching_dims")?,
            scatter_indices_batching_dims: batching,
        };
        Ok((indices, numbers))
    }
}
