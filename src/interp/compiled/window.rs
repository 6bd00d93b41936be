//! Reductions under sliding windows as functions of slices: what lies under each element of the window, at all places at once, is a
//! view by strides, and combining these views is one tiled program. Axis by axis, since combining is associative.

use super::plan::{Planner, Value, broken};
use crate::{
    array::{Array, Aval, Dims},
    error::Result,
    interp::reference,
    trace::op::{Op, Pad, ReduceWindow, Slice},
};
use std::{panic::Location, sync::Arc};

/// Windows with more elements along their axes than this stay one step.
const LONGEST: usize = 64;

impl Planner {
    /// Append what a reduction under windows is; `None` where it had better stay what it is.
    pub(super) fn windows(
        &mut self,
        p: &ReduceWindow,
        x: Value,
        out: &Aval,
        at: &'static Location<'static>,
    ) -> Result<Option<Value>> {
        let w = &p.window;
        let lengths = w.window_dimensions.iter();
        if out.size() == 0 || lengths.clone().sum::<usize>() - lengths.len() > LONGEST {
            return Ok(None);
        }
        let mut value = x;
        let mut aval = self.aval(x)?.clone();
        let padded = w.padding.iter().any(|p| *p != (0, 0));
        if padded || w.base_dilation.iter().any(|n| *n != 1) {
            let identity = reference::reduce::identity(p.reducer.reducer(), out);
            let identity = Array::from_scalar(identity, aval.dtype, false);
            let identity = self.constant(&identity.concrete("an identity")?);
            let around = w.padding.iter().zip(&w.base_dilation).map(|(p, base)| {
                let holes = i64::try_from(*base).unwrap_or(1) - 1;
                (p.0 as i64, p.1 as i64, holes)
            });
            let pad = Pad {
                padding_config: around.collect(),
            };
            let Some(shape) = pad.sizes(&aval.shape) else {
                return Ok(None);
            };
            aval = Arc::new(aval.with_shape(shape));
            value = self.made(Op::Pad(pad.into()), [value, identity], &aval, at);
        }
        for axis in 0..aval.ndim() {
            let get = |d: &Dims| d.get(axis).copied().unwrap_or(1);
            let (n, stride) = (get(&w.window_dimensions), get(&w.window_strides));
            let length = get(&out.shape);
            let reach = (length - 1) * stride + 1;
            let mut shape = aval.shape.clone();
            if let Some(n) = shape.get_mut(axis) {
                *n = length;
            }
            let smaller = Arc::new(aval.with_shape(shape));
            let mut all = None;
            for tap in 0..n {
                let (mut start, mut limit) = (Dims::from_elem(0, aval.ndim()), aval.shape.clone());
                let mut strides = Dims::from_elem(1, aval.ndim());
                let from = tap * get(&w.window_dilation);
                if let (Some(s), Some(l), Some(step)) = (
                    start.get_mut(axis),
                    limit.get_mut(axis),
                    strides.get_mut(axis),
                ) {
                    (*s, *l, *step) = (from, from + reach, stride);
                }
                let whole = start.iter().all(|s| *s == 0) && limit == aval.shape && stride == 1;
                let slice = Slice {
                    start_indices: start,
                    limit_indices: limit,
                    strides: (stride != 1).then_some(strides),
                };
                let part = match whole {
                    true => value,
                    false => self.made(Op::Slice(slice.into()), [value], &smaller, at),
                };
                all = Some(match all {
                    None => part,
                    Some(before) => {
                        let op = Op::Binary(p.reducer.combiner());
                        self.made(op, [before, part], &smaller, at)
                    }
                });
            }
            value = all.ok_or_else(broken)?;
            aval = smaller;
        }
        Ok(Some(value))
    }
}
