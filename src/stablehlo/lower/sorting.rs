//! Sorting by a comparator.

use super::{
    Closed, Lowering, apply,
    control::{move_axis, scalars},
    elementwise::number,
    given::Given,
    meaning::alike,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::Result,
    trace::{
        Jaxpr, bind_all,
        op::{Binary, Iota, Pad, Rev, SelectN, Slice, Sort, TopK, Unary},
        stage,
    },
};

/// How JAX writes that a number of keys is less: zeros and NaNs alike whatever their bits, then by total order.
fn less(types: &[DType], keys: usize, ascending: bool) -> Result<Jaxpr> {
    let avals: Vec<Aval> = types
        .iter()
        .flat_map(|d| [*d, *d])
        .map(|d| Aval::new((), d))
        .collect();
    stage(&avals, None, &mut |x| {
        let mut found: Option<Array> = None;
        for pair in x.chunks_exact(2).take(keys).rev() {
            let [a, b] = pair else { continue };
            let (parts_a, parts_b) = (parts(a)?, parts(b)?);
            for (a, b) in parts_a.iter().zip(&parts_b).rev() {
                let float = a.dtype()?.is_float();
                let (lt, eq) = if float {
                    (Binary::LtTo, Binary::EqTo)
                } else {
                    (Binary::Lt, Binary::Eq)
                };
                let less = if ascending {
                    apply(lt, &[a, b])?
                } else if float {
                    apply(lt, &[b, a])?
                } else {
                    apply(Binary::Gt, &[a, b])?
                };
                found = Some(match found {
                    None => less,
                    Some(rest) => {
                        let tie = apply(Binary::And, &[&apply(eq, &[a, b])?, &rest])?;
                        apply(Binary::Or, &[&less, &tie])?
                    }
                });
            }
        }
        Ok(found.into_iter().collect())
    })
}

/// The real numbers by which a number is compared.
fn parts(x: &Array) -> Result<Vec<Array>> {
    let dtype = x.dtype()?;
    let canonical = |x: &Array| -> Result<Array> {
        let dtype = x.dtype()?;
        let zero = apply(Binary::Eq, &[x, &number(0.0, dtype)])?;
        let y = apply(SelectN, &[&zero, x, &number(0.0, dtype)])?;
        let nan = apply(Binary::Ne, &[x, x])?;
        apply(SelectN, &[&nan, &y, &number(f64::NAN, dtype)])
    };
    Ok(if dtype.is_complex() {
        vec![
            canonical(&apply(Unary::Real, &[x])?)?,
            canonical(&apply(Unary::Imag, &[x])?)?,
        ]
    } else if dtype.is_float() {
        vec![canonical(x)?]
    } else {
        vec![x.clone()]
    })
}

impl<'m, 't> Lowering<'m, 't> {
    pub(super) fn sort(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let first = given
            .x
            .first()
            .ok_or_else(|| given.wrong("there is nothing to sort"))?;
        let n = first.ndim();
        let axis = given
            .attr(&["dimension"])
            .and_then(super::Attr::int)
            .unwrap_or(-1);
        let axis = if axis < 0 { axis + n as i64 } else { axis };
        let dimension = usize::try_from(axis)
            .ok()
            .filter(|a| *a < n)
            .ok_or_else(|| given.wrong("there is no such axis"))?;
        let is_stable = given.flag("is_stable", false);
        // The comparator takes pairs: of the first operand, of the second, …
        let elements = scalars(given.x)?;
        let avals: Vec<Aval> = elements
            .iter()
            .flat_map(|a| [a.clone(), a.clone()])
            .collect();
        let body = self.body(given, 0, &avals)?;
        let types: Vec<DType> = elements.iter().map(|a| a.dtype).collect();
        if body.captured.is_empty() {
            for keys in 1..=types.len() {
                let op = Sort {
                    dimension,
                    is_stable,
                    num_keys: keys,
                };
                if alike(&less(&types, keys, true)?, &body.program) {
                    return bind_all(op, given.x);
                }
                if alike(&less(&types, keys, false)?, &body.program)
                    && types.iter().take(keys).all(|d| d.is_integer())
                {
                    // Descending and stable: the reverse, sorted, reversed.
                    let rev = |x: &Array| {
                        apply(
                            Rev {
                                dimensions: Dims::from_elem(dimension, 1),
                            },
                            &[x],
                        )
                    };
                    let reversed = given.x.iter().map(rev).collect::<Result<Vec<_>>>()?;
                    return bind_all(op, &reversed)?.iter().map(rev).collect();
                }
            }
        }
        network(given.x, dimension, &body)
    }
}

/// Batcher's odd–even merge sort ("Sorting networks and their applications", 1968): n log² n comparisons, all of a layer at once.
/// Equal elements are told apart by their places, so that it is stable.
fn network(x: &[Array], axis: usize, less: &Closed) -> Result<Vec<Array>> {
    let mut rows = vec![];
    for x in x {
        rows.push(move_axis(x, axis, 0)?);
    }
    let shape: Dims = rows
        .first()
        .map(Array::aval)
        .transpose()?
        .map_or_else(Dims::new, |a| a.shape);
    let n = shape.first().copied().unwrap_or(0);
    if n < 2 {
        return Ok(x.to_vec());
    }
    let width = n.next_power_of_two();
    rows.push(apply(
        Iota {
            dtype: DType::I64,
            shape: shape.clone(),
            dimension: 0,
        },
        &[],
    )?);
    // Places from `n` on are of nothing, which comes last.
    let mut config = vec![(0, 0, 0); shape.len()];
    if let Some(first) = config.first_mut() {
        first.1 = (width - n) as i64;
    }
    let nothing = rows.len() - 1;
    for (i, row) in rows.iter_mut().enumerate() {
        let dtype = row.dtype()?;
        let fill = if i == nothing {
            number(n as i64, dtype)
        } else {
            number(0i64, dtype)
        };
        let op = Pad {
            padding_config: config.clone(),
        };
        *row = apply(op, &[row, &fill])?;
    }
    let mut p = 1;
    while p < width {
        let mut k = p;
        while k >= 1 {
            let mut swaps: Vec<Option<usize>> = vec![None; width];
            for j in (k % p..width.saturating_sub(k)).step_by(2 * k) {
                for i in 0..k {
                    let (a, b) = (i + j, i + j + k);
                    if b < width && a / (2 * p) == b / (2 * p) {
                        if let Some(s) = swaps.get_mut(a) {
                            *s = Some(b);
                        }
                        if let Some(s) = swaps.get_mut(b) {
                            *s = Some(a);
                        }
                    }
                }
            }
            rows = layer(&rows, &swaps, n, less)?;
            k /= 2;
        }
        p *= 2;
    }
    rows.pop();
    let mut sorted = vec![];
    for row in &rows {
        let a = row.aval()?;
        let mut limit = a.shape.clone();
        if let Some(first) = limit.first_mut() {
            *first = n;
        }
        let op = Slice {
            start_indices: Dims::from_elem(0, limit.len()),
            limit_indices: limit,
            strides: None,
        };
        sorted.push(move_axis(&apply(op, &[row])?, 0, axis)?);
    }
    Ok(sorted)
}

/// One layer: each row with a partner keeps the lesser of both if it is the upper one, else the greater.
fn layer(rows: &[Array], swaps: &[Option<usize>], n: usize, less: &Closed) -> Result<Vec<Array>> {
    let order: Vec<i64> = swaps
        .iter()
        .enumerate()
        .map(|(i, s)| s.unwrap_or(i) as i64)
        .collect();
    let upper: Vec<bool> = swaps
        .iter()
        .enumerate()
        .map(|(i, s)| s.is_none_or(|s| i < s))
        .collect();
    let order = Array::from(order);
    let partners: Vec<Array> = rows
        .iter()
        .map(|r| crate::trace::op::rows(r, &order, 0))
        .collect();
    let shape: Dims = rows
        .first()
        .map(Array::aval)
        .transpose()?
        .map_or_else(Dims::new, |a| a.shape);
    let upper = Array::from(upper).broadcast_in_dim(&shape, [0usize]);
    let (Some((place, own)), Some((other_place, other))) =
        (rows.split_last(), partners.split_last())
    else {
        return Err(super::few());
    };
    let mut forth = vec![];
    let mut back = vec![];
    for (a, b) in own.iter().zip(other) {
        forth.extend([a.clone(), b.clone()]);
        back.extend([b.clone(), a.clone()]);
    }
    let first = |y: Vec<Array>| y.into_iter().next().ok_or_else(super::few);
    let (forth, back) = (
        first(less.elementwise(&forth)?)?,
        first(less.elementwise(&back)?)?,
    );
    let op = |op: Binary, a: &Array, b: &Array| apply(op, &[a, b]);
    let not = |a: &Array| apply(Unary::Not, &[a]);
    let end = number(n as i64, DType::I64);
    let (real, other_real) = (
        op(Binary::Lt, place, &end)?,
        op(Binary::Lt, other_place, &end)?,
    );
    // Less among what there is; by place where neither is less; and nothing is less than what is not there.
    let earlier = op(Binary::Lt, place, other_place)?;
    let tie = op(
        Binary::And,
        &not(&op(Binary::Or, &forth, &back)?)?,
        &earlier,
    )?;
    let among = op(Binary::Or, &forth, &tie)?;
    let both = op(Binary::And, &real, &other_real)?;
    let is_less = op(
        Binary::Or,
        &op(Binary::And, &both, &among)?,
        &op(Binary::And, &real, &not(&other_real)?)?,
    )?;
    let greater = op(
        Binary::Or,
        &op(Binary::And, &both, &not(&among)?)?,
        &op(Binary::And, &not(&real)?, &other_real)?,
    )?;
    // Without a partner a row meets itself: it stays, whichever it takes.
    let stays = apply(SelectN, &[&upper, &not(&is_less)?, &not(&greater)?])?;
    rows.iter()
        .zip(&partners)
        .map(|(a, b)| apply(SelectN, &[&stays, b, a]))
        .collect()
}

impl Given<'_, '_, '_> {
    pub(super) fn top_k(&self) -> Result<Vec<Array>> {
        let [x] = self.operands()?;
        let op = TopK {
            axis: x.ndim().saturating_sub(1),
            k: self.number(&["k"])?,
        };
        let y = bind_all(op, &[x.clone()])?;
        match &y[..] {
            [values, places] => Ok(vec![values.clone(), self.convert(places, DType::I32)?]),
            _ => Err(super::few()),
        }
    }
}
