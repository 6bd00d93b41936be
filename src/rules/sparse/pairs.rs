//! The product of two sparse arrays: an entry for each pair that meets.

use super::{Bcoo, entries::Entries};
use crate::{
    array::{Array, DType, Dims},
    error::{Error, Result},
    trace::op::{DotGeneral, remaining},
};

/// More entries than this are refused: their number is known before the program runs, and is then no longer that of a sparse array.
const MOST: usize = 1 << 28;

/// How many entries of an array at most share their places on some axes.
fn shared(e: &Entries, axes: &[usize]) -> usize {
    let count = e.count();
    let known = axes.iter().filter_map(|i| e.most.get(*i).copied()).min();
    let rest = remaining(e.shape.len(), axes, &[]);
    let free = rest.iter().filter_map(|i| e.shape.get(*i)).product();
    // Entries of one place are one where each place has at most one.
    let places = if e.unique { free } else { count };
    count.min(known.unwrap_or(count)).min(places)
}

/// A contraction of two sparse arrays. How many entries the result has is bounded before the program runs: by the entries of one, times how
/// many of the other meet one of them, and by the size of the result.
pub(super) fn product(p: &DotGeneral, s: &Bcoo, t: &Bcoo) -> Result<Array> {
    let (a, b) = (Entries::of(s), Entries::of(t));
    let both = |a: &Dims, b: &Dims| a.iter().chain(b).copied().collect::<Dims>();
    let (own, other) = (
        both(&p.lhs_batch, &p.lhs_contract),
        both(&p.rhs_batch, &p.rhs_contract),
    );
    let free_a = remaining(a.shape.len(), &p.lhs_contract, &p.lhs_batch);
    let free_b = remaining(b.shape.len(), &p.rhs_contract, &p.rhs_batch);
    let sizes = |e: &Entries, axes: &[usize]| -> Dims {
        axes.iter()
            .filter_map(|i| e.shape.get(*i).copied())
            .collect()
    };
    let shape: Dims = [
        sizes(&a, &p.lhs_batch),
        sizes(&a, &free_a),
        sizes(&b, &free_b),
    ]
    .concat()
    .into();
    let dtype = p.preferred_element_type.unwrap_or(a.data.dtype()?);
    let allow_materialise = s.allow_materialise && t.allow_materialise;
    // The side whose entries are each met by fewer of the other.
    let (m, n) = (shared(&a, &own), shared(&b, &other));
    let forwards = a.count().saturating_mul(n) <= b.count().saturating_mul(m);
    let (left, right, left_axes, right_axes, most) = match forwards {
        true => (&a, &b, &own, &other, n),
        false => (&b, &a, &other, &own, m),
    };
    let pairs = left.count().saturating_mul(most);
    if pairs > MOST {
        return Err(Error::refused(format!(
            "`dot_general` of {} and {} may have {pairs} entries",
            crate::ArrayValue::describe(s),
            crate::ArrayValue::describe(t)
        ))
        .note("`Bcoo::bounded` bounds them where the places are known; `Bcoo::to_dense` makes one operand dense"));
    }
    if pairs == 0 {
        let none = Entries {
            data: Array::zeros([0], dtype),
            places: Array::zeros([0, shape.len()], DType::I64),
            shape,
            unique: true,
            most: Dims::new(),
            allow_materialise,
        };
        return Ok(Array::from_value(none.value()));
    }
    // The right side's entries in the order of what they share with the left's; those outside come first and meet nothing.
    let ((p_left, _), (p_right, _)) = (left.linear(left_axes), right.linear(right_axes));
    let order = p_right.argsort(0);
    let sorted = p_right.take(&order, 0);
    let first = sorted.searchsorted(&p_left, false).astype(DType::I32);
    let count = left.count();
    let slots = [count, most];
    let at = first.broadcast_in_dim(slots, [0]) + Array::iota(slots, 1, DType::I32);
    let last = right.count() as i32 - 1;
    let within = at.le(last);
    let at = at.minimum(last).reshape([pairs]);
    let key = p_left.broadcast_in_dim(slots, [0]).reshape([pairs]);
    let meets = sorted.take(&at, 0).eq(&key) & key.ge(0) & within.reshape([pairs]);
    let from = order.take(&at, 0);
    let spread = |x: &Array| x.broadcast_in_dim(slots, [0]).reshape([pairs]);
    let data = spread(&left.data) * right.data.take(&from, 0);
    let data = meets.select(&data, Array::zeros_like(&data));
    let of_left = |axis: usize| meets.select(spread(&left.along(axis)), -1);
    let of_right = |axis: usize| meets.select(right.along(axis).take(&from, 0), -1);
    let column = |of_a: bool, axis: usize| match of_a == forwards {
        true => of_left(axis),
        false => of_right(axis),
    };
    let mut columns: Vec<Array> = p.lhs_batch.iter().map(|i| column(true, *i)).collect();
    columns.extend(free_a.iter().map(|i| column(true, *i)));
    columns.extend(free_b.iter().map(|i| column(false, *i)));
    let data = match data.dtype()? == dtype {
        true => data,
        false => data.astype(dtype),
    };
    let full = Entries {
        data: data.clone(),
        places: Array::zeros([pairs, 0], DType::I64),
        shape: Dims::new(),
        unique: false,
        most: Dims::new(),
        allow_materialise,
    };
    if shape.is_empty() {
        return Ok(data.sum(()));
    }
    let size: usize = shape.iter().product();
    let moved = full.moved(columns, shape, false);
    // No more entries than places.
    let moved = match pairs > size {
        true => moved.summed()?.first(size),
        false => moved,
    };
    Ok(Array::from_value(moved.value()))
}
