//! Elements of structured matrices: single ones, diagonals, rows, windows, all.

use super::{
    Structure, Structured,
    apply::{apply, column, stored},
    of, solve,
};
use crate::{
    array::{Array, DType, Dims},
    error::{Error, Result},
    numpy,
    trace::op::transposed,
};

/// Some rows of a matrix.
pub(super) fn rows(x: &Array, from: usize, to: usize) -> Array {
    x.slice_in_dim(from, to, -2)
}

fn size(x: &Array, back: usize) -> usize {
    x.shape().iter().rev().nth(back).copied().unwrap_or(0)
}

fn lead(x: &Array, own: usize) -> Dims {
    let shape = x.shape();
    let k = shape.len().saturating_sub(own);
    shape.iter().take(k).copied().collect()
}

/// Positions along the last axis of a vector, those outside anywhere.
fn pick(x: &Array, at: &Array) -> Array {
    match size(x, 0) {
        0 => {
            let mut shape = lead(x, 1);
            shape.extend_from_slice(&at.shape());
            Array::zeros(shape, x.dtype().unwrap_or(DType::F32))
        }
        n => x.take(&at.clip(0, n as i32 - 1), -1),
    }
}

/// `x` where a condition on places holds, zero elsewhere.
fn only(condition: &Array, x: &Array) -> Array {
    condition
        .broadcast_to(x.shape())
        .select(x, Array::zeros_like(x))
}

/// Elements of a plain matrix, or of a structured one.
fn elements(x: &Array, r: &Array, c: &Array) -> Result<Array> {
    if let Some(s) = of(x) {
        return at(s, r, c);
    }
    let (n, m) = (size(x, 1), size(x, 0));
    let mut shape = lead(x, 2);
    shape.push(n * m);
    Ok(pick(&x.reshape(shape), &(r * m as i32 + c)))
}

/// The elements at places `(r, c)`, `i32[l]` both, inside of the matrix: `[.., l]`.
pub(super) fn at(s: &Structured, r: &Array, c: &Array) -> Result<Array> {
    let dtype = s.dtype()?;
    let y = match &s.structure {
        Structure::Identity { batch, .. } => {
            let y = r.eq(c).astype(dtype);
            let shape: Dims = batch.iter().chain(y.shape().iter()).copied().collect();
            y.broadcast_to(shape)
        }
        Structure::Diagonal(d) => only(&r.eq(c), &pick(d, r)),
        Structure::Tridiagonal { lower, main, upper } => {
            let off = r - c;
            only(&off.eq(0), &pick(main, r))
                + only(&off.eq(1), &pick(lower, c))
                + only(&off.eq(-1), &pick(upper, r))
        }
        Structure::Triangular { matrix, lower } => {
            let kept = match lower {
                true => r.ge(c),
                false => r.le(c),
            };
            only(&kept, &elements(matrix, r, c)?)
        }
        Structure::Symmetric { matrix, .. } => elements(matrix, &r.maximum(c), &r.minimum(c))?,
        Structure::Toeplitz { column, row } => {
            let off = r - c;
            let below = pick(column, &off);
            let above = pick(row, &-&off);
            off.ge(0).broadcast_to(below.shape()).select(&below, &above)
        }
        Structure::Circulant(x) => {
            let n = size(x, 0).max(1) as i32;
            pick(x, &((r - c + n) % n))
        }
        Structure::Kronecker(factors) => {
            let (mut rest_r, mut rest_c) = (r.clone(), c.clone());
            let mut y: Option<Array> = None;
            for x in factors.iter().rev() {
                let (n, m) = (size(x, 1).max(1) as i32, size(x, 0).max(1) as i32);
                let part = elements(x, &(&rest_r % n), &(&rest_c % m))?;
                rest_r = rest_r.floor_divide(n);
                rest_c = rest_c.floor_divide(m);
                y = Some(match y {
                    Some(y) => part * y,
                    None => part,
                });
            }
            y.ok_or_else(|| Error::internal("a product of nothing"))?
        }
        Structure::BlockDiagonal(groups) => {
            let (mut from_r, mut from_c) = (0i32, 0i32);
            let mut y: Option<Array> = None;
            for g in groups {
                let (k, p, q) = (size(g, 2) as i32, size(g, 1) as i32, size(g, 0) as i32);
                let (i, j) = (r - from_r, c - from_c);
                let (p1, q1) = (p.max(1), q.max(1));
                let block = i.floor_divide(p1);
                let inside =
                    i.ge(0) & i.lt(k * p) & j.ge(0) & j.lt(k * q) & block.eq(j.floor_divide(q1));
                let mut shape = lead(g, 3);
                shape.push((k * p * q) as usize);
                let place = &block * (p * q) + (&i - &block * p) * q + (&j - &block * q);
                let part = only(&inside, &pick(&g.reshape(shape), &place));
                from_r += k * p;
                from_c += k * q;
                y = Some(match y {
                    Some(y) => y + part,
                    None => part,
                });
            }
            y.ok_or_else(|| Error::internal("a matrix without blocks"))?
        }
        Structure::Permutation { from, .. } => {
            let where_one = pick(from, r);
            let shape = where_one.shape();
            where_one.eq(c.broadcast_to(shape)).astype(dtype)
        }
        Structure::LowRank { base, u, v } => {
            let y = (u.take(r, -2) * transposed(v).take(c, -2)).sum(-1);
            match base {
                Some(b) => elements(b, r, c)? + y,
                None => y,
            }
        }
        Structure::Sum(parts) => {
            let mut y: Option<Array> = None;
            for p in parts {
                let part = elements(p, r, c)?;
                y = Some(match y {
                    Some(y) => y + part,
                    None => part,
                });
            }
            y.ok_or_else(|| Error::internal("a sum of nothing"))?
        }
        Structure::Product(parts) => return of_product(s, parts, r, c),
        Structure::Inverse(_) => return by_columns(s, r, c),
    };
    y.ok().cloned()
}

/// Elements of a product: factors at its ends that only scale or move rows and columns are looked through.
fn of_product(s: &Structured, parts: &[Array], r: &Array, c: &Array) -> Result<Array> {
    let ends = |x: &Array| of(x).map(|s| s.structure.clone());
    match parts {
        [one] => return elements(one, r, c),
        [first, rest @ ..] => {
            let inner = |r: &Array| of_product(s, rest, r, c);
            match ends(first) {
                Some(Structure::Diagonal(d)) => return Ok(pick(&d, r) * inner(r)?),
                Some(Structure::Permutation { from, .. }) if from.ndim() == 1 => {
                    return inner(&pick(&from, r));
                }
                _ => {}
            }
        }
        [] => return Err(Error::internal("a product of nothing")),
    }
    if let Some((last, rest)) = parts.split_last() {
        match ends(last) {
            Some(Structure::Diagonal(d)) => return Ok(of_product(s, rest, r, c)? * pick(&d, c)),
            Some(Structure::Permutation { from, .. }) if from.ndim() == 1 => {
                return of_product(s, rest, r, &pick(&from.argsort(0), c));
            }
            _ => {}
        }
    }
    by_columns(&s.with(Structure::Product(parts.to_vec())), r, c)
}

/// Elements by the columns that they stand in, which must be fewer than all.
fn by_columns(s: &Structured, r: &Array, c: &Array) -> Result<Array> {
    let ([_, m], l) = (s.size()?, c.size());
    if l >= m && m > 1 && !s.allow_materialise {
        return Err(Error::refused(format!(
            "so many elements of {} ask for the whole matrix",
            crate::dispatch::ArrayValue::describe(s)
        ))
        .note("`allow_materialise(true)` lets programs form it"));
    }
    let columns = units(s, m, Some(c))?;
    let y = apply(s, &columns)?;
    let own = Array::arange(l, DType::I32);
    elements(&y, r, &own)
}

/// Columns of the identity, all or some, with the leading axes of a matrix.
fn units(s: &Structured, m: usize, which: Option<&Array>) -> Result<Array> {
    let dtype = s.dtype()?;
    let one = match which {
        None => Array::eye(m, dtype),
        Some(c) => column(&Array::arange(m, DType::I32))
            .eq(c.expand_dims(0))
            .astype(dtype),
    };
    let shape: Dims = s
        .batch()?
        .iter()
        .chain(one.shape().iter())
        .copied()
        .collect();
    Ok(one.broadcast_to(shape))
}

/// The diagonal `offset` above the main one.
pub(super) fn diagonal(s: &Structured, offset: i64) -> Result<Array> {
    let [n, m] = s.size()?;
    let far = offset.unsigned_abs() as usize;
    let (above, beside) = match offset {
        0.. => (0, far),
        _ => (far, 0),
    };
    let k = n.saturating_sub(above).min(m.saturating_sub(beside));
    match (&s.structure, offset) {
        (Structure::Diagonal(d), 0) => return Ok(d.clone()),
        (Structure::Tridiagonal { main, .. }, 0) => return Ok(main.clone()),
        (Structure::Tridiagonal { upper, .. }, 1) => return Ok(upper.clone()),
        (Structure::Tridiagonal { lower, .. }, -1) => return Ok(lower.clone()),
        (Structure::Sum(parts), _) => {
            let mut y: Option<Array> = None;
            for p in parts {
                let d = match of(p) {
                    Some(s) => diagonal(s, offset)?,
                    None => numpy::diagonal(p, offset, -2, -1),
                };
                y = Some(match y {
                    Some(y) => y + d,
                    None => d,
                });
            }
            return y.ok_or_else(|| Error::internal("a sum of nothing"));
        }
        _ => {}
    }
    let r = Array::arange(k, DType::I32);
    at(s, &(&r + above as i32), &(&r + beside as i32))
}

/// The elements of a window: rows and columns by their numbers.
pub(super) fn window(s: &Structured, r: &Array, c: &Array) -> Result<Array> {
    let (k, l) = (r.size(), c.size());
    let all = [k, l];
    let spread = |x: &Array, axis: usize| x.broadcast_in_dim(all, [axis]).reshape([k * l]);
    let part = |x: &Array| match of(x) {
        Some(s) => window(s, r, c),
        None => Ok(x.take(r, -2).take(c, -1)),
    };
    let y = match &s.structure {
        Structure::Sum(parts) => {
            let mut all = parts.iter().map(part);
            let first = all
                .next()
                .ok_or_else(|| Error::internal("a sum of nothing"))??;
            return all.try_fold(first, |x, y| Ok(x + y?));
        }
        Structure::LowRank { base, u, v } => {
            let y = u.take(r, -2).matmul(&v.take(c, -1));
            return match base {
                Some(b) => Ok(part(b)? + y),
                None => Ok(y),
            };
        }
        // Columns of what has no elements of its own, at once.
        Structure::Product(_) | Structure::Inverse(_) => {
            let [n, m] = s.size()?;
            if (k >= n && n > 1) && (l >= m && m > 1) && !s.allow_materialise {
                return by_columns(s, &spread(r, 0), &spread(c, 1));
            }
            return match k < l {
                true => {
                    let t = super::product::transpose(s)?;
                    let all = apply(&t, &units(&t, n, Some(r))?)?;
                    Ok(transposed(&all.take(c, -2)))
                }
                false => Ok(apply(s, &units(s, m, Some(c))?)?.take(r, -2)),
            };
        }
        _ => at(s, &spread(r, 0), &spread(c, 1))?,
    };
    let mut shape = lead(&y, 1);
    shape.extend(all);
    y.reshape(shape).ok().cloned()
}

/// All elements.
pub(super) fn dense(s: &Structured) -> Result<Array> {
    let [n, m] = s.size()?;
    let plain = |x: &Array| match of(x) {
        Some(s) => dense(s),
        None => Ok(x.clone()),
    };
    let y = match &s.structure {
        Structure::Diagonal(d) => {
            let on = Array::eye(n, DType::Bool);
            let wide: Dims = d.shape().iter().copied().chain([n]).collect();
            only(&on, &column(d).broadcast_to(wide))
        }
        Structure::Identity { .. } => units(s, n, None)?,
        Structure::Triangular { .. } | Structure::Symmetric { .. } => stored(s)?,
        Structure::LowRank { base, u, v } => {
            let y = u.matmul(v);
            match base {
                Some(b) => plain(b)? + y,
                None => y,
            }
        }
        Structure::Sum(parts) => {
            let mut all = parts.iter().map(plain);
            let first = all
                .next()
                .ok_or_else(|| Error::internal("a sum of nothing"))??;
            all.try_fold(first, |x, y| Ok::<_, Error>(x + y?))?
        }
        Structure::Product(parts) => {
            let (last, rest) = parts
                .split_last()
                .ok_or_else(|| Error::internal("a product of nothing"))?;
            let x = plain(last)?;
            rest.iter()
                .rev()
                .try_fold(x, |x, p| super::apply::times(p, &x))?
        }
        Structure::Inverse(a) => solve::solution(a, &units(s, m, None)?)?,
        _ => {
            let (r, c) = (Array::arange(n, DType::I32), Array::arange(m, DType::I32));
            window(s, &r, &c)?
        }
    };
    y.ok().cloned()
}
