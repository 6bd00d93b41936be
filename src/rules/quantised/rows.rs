//! Rows of a quantised matrix: only those that are asked for are decoded.
//!
//! Whatever picks rows whole picks them from each component; what it picks is decoded as a smaller array. An embedding's look-up costs what its
//! rows cost.

use super::{Format, Quantised, blocks::nf4};
use crate::{
    array::{Array, DType, Dims, Scalar},
    error::{Error, Result},
    trace::{
        bind,
        op::{Binary, DynamicSlice, Gather, GatherScatterMode, Op, Slice},
    },
};

/// The primitive, for a component that has other axes in the place of the last; `None` if it does not take rows whole.
fn on_component(op: &Op, shape: &[usize], tail: &[usize]) -> Option<Op> {
    let last = shape.len().checked_sub(1)?;
    let columns = *shape.get(last)?;
    let lead = |x: &Dims| -> Dims { x.iter().take(last).copied().collect() };
    let with =
        |x: &Dims, tail: &[usize]| -> Dims { x.iter().take(last).chain(tail).copied().collect() };
    match op {
        Op::Slice(p) => {
            let strides = p.strides.clone().unwrap_or(Dims::from_elem(1, last + 1));
            let whole = p.start_indices.get(last) == Some(&0)
                && p.limit_indices.get(last) == Some(&columns)
                && strides.get(last) == Some(&1);
            let op = Slice {
                start_indices: with(&p.start_indices, &vec![0; tail.len()]),
                limit_indices: with(&p.limit_indices, tail),
                strides: Some(with(&strides, &vec![1; tail.len()])),
            };
            whole.then(|| op.into())
        }
        Op::DynamicSlice(p) => {
            let whole = p.slice_sizes.get(last) == Some(&columns);
            let slice_sizes = with(&p.slice_sizes, tail);
            whole.then(|| DynamicSlice { slice_sizes }.into())
        }
        Op::Gather(p) => {
            let d = &p.dimension_numbers;
            let picked = [
                &d.collapsed_slice_dims,
                &d.start_index_map,
                &d.operand_batching_dims,
            ];
            let whole = p.slice_sizes.get(last) == Some(&columns)
                && picked.iter().all(|axes| !axes.contains(&last));
            let place = *d.offset_dims.last()?;
            let mut numbers = d.clone();
            numbers.offset_dims.pop();
            numbers.offset_dims.extend(place..place + tail.len());
            let op = Gather {
                dimension_numbers: numbers,
                slice_sizes: lead(&p.slice_sizes)
                    .into_iter()
                    .chain(tail.iter().copied())
                    .collect(),
                mode: GatherScatterMode::Clip,
                fill_value: None,
                ..(**p).clone()
            };
            whole.then(|| op.into())
        }
        _ => None,
    }
}

/// How many rows there are in an array of this shape.
fn rows(shape: &[usize]) -> usize {
    shape.iter().rev().skip(1).product()
}

/// What of rows this primitive takes, decoded; `None` if it does not take a part of them whole.
pub(super) fn taken(op: &Op, q: &Quantised, at: &[&Array]) -> Result<Option<Array>> {
    let aval = crate::dispatch::ArrayValue::aval(q)?;
    let shape = &aval.shape;
    let at_avals = at.iter().map(|x| x.aval()).collect::<Result<Vec<_>>>()?;
    let operands: Vec<_> = std::iter::once(&aval).chain(&at_avals).collect();
    let Some(result) = op.infer(&operands)?.pop() else {
        return Ok(None);
    };
    // The last axis must stay the last, and what is decoded must be less than there is.
    let kept = match op {
        Op::Gather(p) => {
            p.dimension_numbers.offset_dims.last().copied() == result.ndim().checked_sub(1)
        }
        _ => true,
    };
    if !kept || rows(&result.shape) >= rows(shape) || on_component(op, shape, &[]).is_none() {
        return Ok(None);
    }
    let pick = |x: &Array, tail: &[usize]| -> Result<Array> {
        let op = on_component(op, shape, tail)
            .ok_or_else(|| Error::internal("rows are not taken whole"))?;
        let mut places: Vec<Array> = at.iter().map(|x| (*x).clone()).collect();
        if matches!(op, Op::DynamicSlice(_)) {
            let zero = match places.pop() {
                Some(x) => Array::zeros((), x.dtype()?),
                None => return Err(Error::internal("a slice without places")),
            };
            places.extend(tail.iter().map(|_| zero.clone()));
        }
        let operands: Vec<&Array> = std::iter::once(x).chain(&places).collect();
        bind(op, &operands).ok().cloned()
    };
    let tail = |x: &Array| -> Result<Dims> {
        Ok(x.aval()?
            .shape
            .iter()
            .skip(shape.len().saturating_sub(1))
            .copied()
            .collect())
    };
    let y = match (q.format, q.components()) {
        (Format::Nf4, [codes, absmax, nested, offset]) => {
            // The scales of one matrix are in blocks that rows share: which block a scale is of follows from its row.
            if shape.len() != 2 {
                return Ok(None);
            }
            let per_row = tail(absmax)?.iter().product::<usize>();
            let all = Array::arange(rows(shape), DType::I32);
            let row = pick(&all, &[])?.expand_dims(-1);
            let scale = row * per_row as i32 + Array::arange(per_row, DType::I32);
            let block = bind(Binary::Div, &[&scale, &Array::full_like(&scale, 256)]);
            let scales = nested.take(&block, 0);
            nf4(
                &pick(codes, &tail(codes)?)?,
                &pick(absmax, &tail(absmax)?)?,
                &scales,
                offset,
            )?
        }
        (Format::Nf4, _) => return Ok(None),
        (format, components) => {
            let parts = components.iter().map(|x| pick(x, &tail(x)?));
            format.decode(&parts.collect::<Result<Vec<_>>>()?)?
        }
    };
    let y = y.astype(q.dtype);
    // Windows that reach outside are filled, as those of plain arrays are.
    let Op::Gather(p) = op else {
        return y.ok().cloned().map(Some);
    };
    if p.mode != GatherScatterMode::FillOrDrop {
        return y.ok().cloned().map(Some);
    }
    let Some(Op::Gather(inside)) = on_component(op, shape, &[]) else {
        return Ok(None);
    };
    let inside = Gather {
        mode: GatherScatterMode::FillOrDrop,
        fill_value: Some(Scalar::Int(0)),
        ..(*inside).clone()
    };
    let lead: Dims = shape
        .iter()
        .take(shape.len().saturating_sub(1))
        .copied()
        .collect();
    let ones = Array::ones(lead, DType::I32);
    let operands: Vec<&Array> = std::iter::once(&ones).chain(at.iter().copied()).collect();
    let there = bind(inside, &operands).eq(1).expand_dims(-1);
    let fill = p.fill_value.unwrap_or(Scalar::Float(f64::NAN));
    let fill = Array::from_scalar(fill, q.dtype, false);
    there
        .broadcast_to(y.shape())
        .select(y, fill)
        .ok()
        .cloned()
        .map(Some)
}
