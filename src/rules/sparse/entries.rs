//! Entries without a batch: what every rule computes with.

use super::{Bcoo, product::rows_of};
use crate::{
    array::{Array, DType, Dims, numpy::concatenate, sort_together},
    error::{Error, Result},
    trace::op::GatherScatterMode,
};

/// A list of entries: `data [e]`, `places i64[e, axes]`, for an array of this shape.
#[derive(Clone)]
pub(super) struct Entries {
    pub(super) data: Array,
    pub(super) places: Array,
    pub(super) shape: Dims,
    pub(super) unique: bool,
    /// For each axis, how many entries at most share a place on it; empty if that is not known.
    pub(super) most: Dims,
    pub(super) allow_materialise: bool,
}

/// Places and sizes beyond `i32` are not expected of memory.
fn size(shape: &[usize]) -> i64 {
    shape.iter().fold(1i64, |n, k| n.saturating_mul(*k as i64))
}

impl Entries {
    /// Batch axes become axes of the places.
    pub(super) fn of(b: &Bcoo) -> Entries {
        let batch = b.data.shape();
        let (n, lead) = match batch.split_last() {
            Some((n, lead)) => (*n, Dims::from_slice(lead)),
            None => (0, Dims::new()),
        };
        let mut full: Dims = lead.clone();
        full.extend([n, 1]);
        let mut columns: Vec<Array> = (0..lead.len())
            .map(|i| Array::iota(&full, i, DType::I64))
            .collect();
        columns.push(b.indices.astype(DType::I64));
        let places = match columns.len() {
            1 => columns.swap_remove(0),
            _ => concatenate(&columns, -1),
        };
        let columns_of_batch = lead.len();
        let mut shape = lead;
        shape.extend_from_slice(&b.shape);
        let total = b.data.size();
        let batches: usize = shape.iter().take(columns_of_batch).product();
        let most = match b.most.is_empty() {
            true => Dims::new(),
            false => {
                let lead = shape.iter().take(columns_of_batch);
                let lead = lead.map(|n| total.checked_div(*n).unwrap_or(0));
                lead.chain(b.most.iter().map(|m| m * batches)).collect()
            }
        };
        Entries {
            data: b.data.reshape([total]),
            places: places.reshape([total, shape.len()]),
            shape,
            unique: b.unique,
            most,
            allow_materialise: b.allow_materialise,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.data.size()
    }

    /// The coordinates along an axis.
    pub(super) fn along(&self, axis: usize) -> Array {
        self.places
            .slice_in_dim(axis, axis + 1, 1)
            .reshape([self.count()])
    }

    fn with(&self, data: Array, places: Array, shape: Dims, unique: bool) -> Entries {
        Entries {
            data,
            places,
            shape,
            unique,
            most: Dims::new(),
            allow_materialise: self.allow_materialise,
        }
    }

    /// The same entries at coordinates of another array.
    pub(super) fn moved(&self, columns: Vec<Array>, shape: Dims, unique: bool) -> Entries {
        let count = self.count();
        let columns: Vec<Array> = columns.iter().map(|c| c.reshape([count, 1])).collect();
        let places = match columns.is_empty() {
            true => Array::zeros([count, 0], DType::I64),
            false => concatenate(&columns, 1),
        };
        self.with(self.data.clone(), places, shape, unique)
    }

    pub(super) fn with_data(&self, data: Array) -> Entries {
        Entries {
            data,
            ..self.clone()
        }
    }

    /// Is each entry inside?
    pub(super) fn inside(&self) -> Array {
        let all = Array::full([self.count()], true, DType::Bool);
        (0..self.shape.len()).fold(all, |all, i| {
            let c = self.along(i);
            let n = self.shape.get(i).copied().unwrap_or(0);
            all & c.ge(0) & c.lt(n as i64)
        })
    }

    /// The entries' numbers in row-major order over some axes; −1 for those outside.
    pub(super) fn linear(&self, axes: &[usize]) -> (Array, usize) {
        let mut total = Array::zeros([self.count()], DType::I64);
        let mut sizes = vec![];
        for i in axes {
            let n = self.shape.get(*i).copied().unwrap_or(0);
            total = total * n as i64 + self.along(*i);
            sizes.push(n);
        }
        (self.inside().select(total, -1), sizes.iter().product())
    }

    /// The coordinates of such numbers, outside for −1.
    pub(super) fn unravel(number: &Array, shape: &[usize]) -> Vec<Array> {
        let outside = number.lt(0);
        let mut rest = number.clone();
        let mut columns = vec![];
        for n in shape.iter().rev() {
            let n = (*n).max(1) as i64;
            columns.push(outside.select(-1, &(&rest % n)));
            rest = (&rest - &rest % n) / n;
            rest = rest.astype(DType::I64);
        }
        columns.reverse();
        columns
    }

    /// Every place at most once.
    pub(super) fn summed(&self) -> Result<Entries> {
        if self.unique {
            return Ok(self.clone());
        }
        let n = self.count();
        let all: Vec<usize> = (0..self.shape.len()).collect();
        let (number, _) = self.linear(&all);
        let last = i64::MAX;
        let key = number.lt(0).select(last, &number);
        let sorted = sort_together(&[key, self.data.clone()], -1, 1)?;
        let [key, data] = &sorted[..] else {
            return Err(Error::internal("sorting lost an array"));
        };
        if n == 0 {
            return Ok(self.clone());
        }
        let starts = concatenate(
            &[
                Array::full([1], true, DType::Bool),
                key.slice_in_dim(1, n, 0).ne(key.slice_in_dim(0, n - 1, 0)),
            ],
            0,
        );
        let group = starts.astype(DType::I32).cumsum(0) - 1;
        let sums = Array::zeros_like(data).at(group.clone()).add(data);
        let keys = Array::full([n], last, DType::I64).at(group).set(key);
        let number = keys.eq(last).select(-1, &keys);
        let columns = Entries::unravel(&number, &self.shape);
        let moved = self.moved(columns, self.shape.clone(), true);
        Ok(moved.with_data(sums))
    }

    /// The first of the entries.
    pub(super) fn first(&self, count: usize) -> Entries {
        let data = self.data.slice_in_dim(0, count, 0);
        let places = self.places.slice_in_dim(0, count, 0);
        self.with(data, places, self.shape.clone(), self.unique)
    }

    /// Elements of a dense array of the same shape where the entries are, zero for those outside.
    pub(super) fn at(&self, dense: &Array) -> Array {
        if dense.ndim() == 0 {
            return dense.clone();
        }
        let all: Vec<usize> = (0..self.shape.len()).collect();
        let (number, n) = self.linear(&all);
        rows_of(&dense.reshape([n]), &number)
    }

    /// A dense array of the same shape with the entries added.
    pub(super) fn added_to(&self, dense: &Array) -> Result<Array> {
        let all: Vec<usize> = (0..self.shape.len()).collect();
        let (number, n) = self.linear(&all);
        if size(&self.shape) == 0 || self.count() == 0 {
            return Ok(dense.clone());
        }
        let number = number.lt(0).select(n as i64, &number);
        let flat = dense.reshape([n]);
        let sum = flat
            .at(number)
            .mode(GatherScatterMode::FillOrDrop)
            .add(&self.data);
        sum.reshape(&self.shape).ok().cloned()
    }

    pub(super) fn to_dense(&self) -> Result<Array> {
        let dtype = self.data.dtype()?;
        self.added_to(&Array::zeros(&self.shape, dtype))
    }

    /// As a value.
    pub(super) fn value(self) -> Bcoo {
        Bcoo {
            data: self.data,
            indices: self.places.astype(DType::I32),
            shape: self.shape,
            unique: self.unique,
            most: self.most,
            allow_materialise: self.allow_materialise,
        }
    }
}
