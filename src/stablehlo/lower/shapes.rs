//! Operations that move elements.

use super::{apply, given::Given};
use crate::{
    array::{Array, Dims},
    error::Result,
    trace::op::{
        BroadcastInDim, Concatenate, DynamicSlice, DynamicUpdateSlice, Iota, Pad, Reshape, Rev,
        Slice, Transpose,
    },
};

impl Given<'_, '_, '_> {
    pub(super) fn shapes(&self) -> Result<Option<Vec<Array>>> {
        let y = match self.name() {
            "broadcast_in_dim" => {
                let [x] = self.operands()?;
                self.broadcast(x, &self.dims(&["dims", "broadcast_dimensions"])?)?
            }
            // The type of the result is written, so that the shape operand says nothing new.
            "dynamic_broadcast_in_dim" => {
                let [x, _] = self.operands()?;
                self.broadcast(x, &self.dims(&["dims", "broadcast_dimensions"])?)?
            }
            "broadcast" => {
                let [x] = self.operands()?;
                let out = self.out(0)?;
                let first = out.ndim().saturating_sub(x.ndim());
                self.broadcast(x, &(first..out.ndim()).collect::<Dims>())?
            }
            "reshape" => self.reshaped(&self.operands::<1>()?[0])?,
            "dynamic_reshape" => self.reshaped(&self.operands::<2>()?[0])?,
            "transpose" => {
                let [x] = self.operands()?;
                let permutation = self.dims(&["dims", "permutation"])?;
                apply(Transpose { permutation }, &[x])?
            }
            "reverse" => {
                let [x] = self.operands()?;
                let dimensions = self.dims(&["dims", "dimensions"])?;
                apply(Rev { dimensions }, &[x])?
            }
            "iota" | "dynamic_iota" => {
                let out = self.out(0)?;
                let real = out.dtype.real();
                let op = Iota {
                    dtype: real,
                    shape: out.shape.clone(),
                    dimension: self.number(&["dim", "iota_dimension"])?,
                };
                self.convert(&apply(op, &[])?, out.dtype)?
            }
            "concatenate" => {
                let x: Vec<&Array> = self.x.iter().collect();
                let dimension = self.number(&["dim", "dimension"])?;
                apply(Concatenate { dimension }, &x)?
            }
            "slice" => self.slice()?,
            "dynamic_slice" => {
                let x: Vec<&Array> = self.x.iter().collect();
                let slice_sizes = self.dims(&["sizes", "slice_sizes"])?;
                apply(DynamicSlice { slice_sizes }, &x)?
            }
            "dynamic_update_slice" => {
                let x: Vec<&Array> = self.x.iter().collect();
                apply(DynamicUpdateSlice, &x)?
            }
            "pad" => {
                let [x, value] = self.operands()?;
                let list = |names: &[&str]| -> Result<Vec<i64>> {
                    Ok(self.ints(names)?.unwrap_or_else(|| vec![0; x.ndim()]))
                };
                let low = list(&["low", "edge_padding_low"])?;
                let high = list(&["high", "edge_padding_high"])?;
                let interior = list(&["interior", "interior_padding"])?;
                if low.len() != x.ndim() || high.len() != x.ndim() || interior.len() != x.ndim() {
                    return Err(self.wrong("the padding is not given for each axis"));
                }
                let each = low.iter().zip(&high).zip(&interior);
                let padding_config = each.map(|((l, h), i)| (*l, *h, *i)).collect();
                apply(Pad { padding_config }, &[x, value])?
            }
            "get_dimension_size" => {
                let [x] = self.operands()?;
                let axis = self.number(&["dim", "dimension"])?;
                let n = x.aval()?.shape.get(axis).copied();
                let n = n.ok_or_else(|| self.wrong("there is no such axis"))?;
                super::elementwise::number(n as u64, self.out(0)?.dtype)
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![y]))
    }

    fn reshaped(&self, x: &Array) -> Result<Array> {
        let new_sizes = self.out(0)?.shape.clone();
        if x.aval()?.shape == new_sizes {
            return Ok(x.clone());
        }
        apply(Reshape { new_sizes }, &[x])
    }

    /// Axes of size 1 spread; the axes of the result may come in any order.
    fn broadcast(&self, x: &Array, dims: &Dims) -> Result<Array> {
        let (a, out) = (x.aval()?, self.out(0)?);
        if dims.len() != a.ndim() {
            return Err(self.wrong(format!("{} axes are named for {a}", dims.len())));
        }
        if a.shape == out.shape && dims.iter().enumerate().all(|(i, d)| i == *d) {
            return Ok(x.clone());
        }
        let mut permutation: Dims = (0..dims.len()).collect();
        permutation.sort_by_key(|i| dims.get(*i).copied());
        let broadcast_dimensions = permutation
            .iter()
            .filter_map(|i| dims.get(*i).copied())
            .collect();
        let sorted = if permutation.is_sorted() {
            x.clone()
        } else {
            apply(Transpose { permutation }, &[x])?
        };
        let op = BroadcastInDim {
            shape: out.shape.clone(),
            broadcast_dimensions,
        };
        apply(op, &[&sorted])
    }

    fn slice(&self) -> Result<Array> {
        let [x] = self.operands()?;
        let n = x.ndim();
        let (mut start_indices, mut limit_indices) = (Dims::new(), Dims::new());
        let mut strides = Dims::new();
        if let Some(super::Attr::List(ranges)) = self.op.attr("ranges") {
            for range in ranges {
                let range = range.ints().unwrap_or_default();
                let part = |i: usize| range.get(i).and_then(|i| usize::try_from(*i).ok());
                match (part(0), part(1), range.len()) {
                    (Some(a), Some(b), 2 | 3) => {
                        start_indices.push(a);
                        limit_indices.push(b);
                        let step = if range.len() == 3 { part(2) } else { Some(1) };
                        strides.push(step.unwrap_or(0));
                    }
                    _ => return Err(self.wrong("a range is `start:limit` or `start:limit:step`")),
                }
            }
        } else {
            start_indices = self.dims(&["start_indices"])?;
            limit_indices = self.dims(&["limit_indices"])?;
            strides = self.each(&["strides"], n, 1)?;
        }
        if start_indices.len() != n || limit_indices.len() != n || strides.len() != n {
            return Err(self.wrong("it names one range for each axis"));
        }
        let plain = strides.iter().all(|s| *s == 1);
        let op = Slice {
            start_indices,
            limit_indices,
            strides: (!plain).then_some(strides),
        };
        apply(op, &[x])
    }
}
