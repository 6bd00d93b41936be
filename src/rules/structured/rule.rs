//! What each primitive, and each function that types answer as a whole, does with structured matrices.

use super::{
    Structure, Structured,
    apply::apply,
    element::{diagonal, window},
    elementwise::{binary, inner, map, triangle, with_number},
    of,
    product::{multiplied, transpose},
    scalars, solve, sum,
};
use crate::{
    array::{
        Array, DType, Dims, broadcast_shapes,
        linalg::function::{
            self, Cholesky, Det, Diagonal, EigVals, Eigh, Inv, Kron, MatrixPower, SlogDet, Solve,
            SvdVals, Triangle,
        },
    },
    dispatch::Rules,
    error::{Error, Result},
    rules::families::{ELEMENTWISE_UNARY, IDENTITY},
    trace::{
        bind, bind_all,
        op::{
            self, Binary, BroadcastInDim, Concatenate, DotGeneral, DynamicSlice, Gather,
            GatherScatterMode, Linalg, Op, Reduce, Reshape, Slice, Squeeze, Stack, Transpose,
            remaining,
        },
    },
};

/// A primitive of what its operands equal, if they may be formed.
fn plainly(op: impl Into<Op>, x: &[&Array]) -> Result<Array> {
    let x: Vec<Array> = x.iter().map(|x| x.definition()).collect::<Result<_>>()?;
    bind_all(op, &x)?
        .pop()
        .ok_or_else(|| Error::internal("a primitive without a result"))
}

fn two<'a>(x: &[&'a Array]) -> Result<[&'a Array; 2]> {
    match x {
        [a, b] => Ok([a, b]),
        _ => Err(Error::internal("this takes two operands")),
    }
}

/// The components with each one's leading axes changed.
fn each_batch(
    s: &Structured,
    f: impl Fn(&Array, usize) -> Array,
    batch: Dims,
) -> Result<Structured> {
    let parts = s.structure.parts();
    let new: Vec<Array> = parts.iter().map(|(x, own)| f(x, *own)).collect();
    let structure = match &s.structure {
        Structure::Identity { n, dtype, .. } => Structure::Identity {
            n: *n,
            batch,
            dtype: *dtype,
        },
        other => other.with_parts(new),
    };
    structure.aval()?;
    Ok(s.with(structure))
}

/// The same matrices, with leading axes that theirs broadcast to.
pub(super) fn with_batch(s: &Structured, batch: &Dims) -> Result<Structured> {
    if s.batch()? == *batch {
        return Ok(s.clone());
    }
    let widened = |x: &Array, own: usize| {
        let shape = x.shape();
        let own = shape.iter().skip(shape.len().saturating_sub(own)).copied();
        x.broadcast_to(batch.iter().copied().chain(own).collect::<Dims>())
    };
    each_batch(s, widened, batch.clone())
}

/// A matrix, plain or structured, with leading axes that its own broadcast to.
fn widened(x: &Array, batch: &Dims) -> Result<Array> {
    match of(x) {
        Some(s) => Ok(with_batch(s, batch)?.array()),
        None => {
            let shape = x.shape();
            let own = shape.iter().skip(shape.len().saturating_sub(2)).copied();
            Ok(x.broadcast_to(batch.iter().copied().chain(own).collect::<Dims>()))
        }
    }
}

fn transposition(p: &Transpose, x: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return Err(Error::internal("no structured operand"));
    };
    let k = p.permutation.len().saturating_sub(2);
    let (lead, own) = p.permutation.split_at(k.min(p.permutation.len()));
    let swapped = match own {
        [a, b] if (*a, *b) == (k, k + 1) => false,
        [a, b] if (*a, *b) == (k + 1, k) => true,
        _ => return plainly(p.clone(), &[x]),
    };
    let s = match lead.iter().enumerate().all(|(i, j)| i == *j) {
        true => s.clone(),
        false => {
            let own_batch = s.batch()?;
            let batch = lead.iter().filter_map(|i| own_batch.get(*i).copied());
            let order = |x: &Array, own: usize| {
                x.transpose(lead.iter().copied().chain(k..k + own).collect::<Dims>())
            };
            each_batch(s, order, batch.collect())?
        }
    };
    Ok(match swapped {
        true => transpose(&s)?.array(),
        false => s.array(),
    })
}

fn reshaped(to: &Dims, op: Op, x: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return Err(Error::internal("no structured operand"));
    };
    let size = s.size()?;
    match to.split_at_checked(to.len().wrapping_sub(2)) {
        Some((batch, own)) if own == size => {
            let batch = Dims::from_slice(batch);
            let f = |x: &Array, own: usize| {
                let shape = x.shape();
                let own = shape.iter().skip(shape.len().saturating_sub(own)).copied();
                x.reshape(batch.iter().copied().chain(own).collect::<Dims>())
            };
            Ok(each_batch(s, f, batch.clone())?.array())
        }
        _ => plainly(op, &[x]),
    }
}

fn broadcast(p: &BroadcastInDim, x: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return Err(Error::internal("no structured operand"));
    };
    let (r, k) = (p.shape.len(), p.broadcast_dimensions.len());
    let own = p.broadcast_dimensions.get(k.wrapping_sub(2)..);
    let size = s.size()?;
    if r < 2 || own != Some(&[r - 2, r - 1][..]) || p.shape.get(r - 2..) != Some(&size[..]) {
        return plainly(p.clone(), &[x]);
    }
    let batch: Dims = p.shape.iter().take(r - 2).copied().collect();
    let f = |x: &Array, own: usize| {
        let shape = x.shape();
        let own_sizes = shape.iter().skip(shape.len().saturating_sub(own)).copied();
        let to = BroadcastInDim {
            shape: batch.iter().copied().chain(own_sizes).collect(),
            broadcast_dimensions: p
                .broadcast_dimensions
                .iter()
                .take(k - 2)
                .copied()
                .chain(r - 2..r - 2 + own)
                .collect(),
        };
        bind(to, &[x])
    };
    Ok(each_batch(s, f, batch.clone())?.array())
}

/// A window of rows and columns, `start` and `step` and how many, after one of the leading axes.
fn sliced(p: &Slice, x: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return Err(Error::internal("no structured operand"));
    };
    let k = p.start_indices.len().saturating_sub(2);
    let at = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(0);
    let stride = |i: usize| p.strides.as_ref().map_or(1, |s| at(s, i)).max(1);
    let batch = s.batch()?;
    let whole = (0..k).all(|i| {
        at(&p.start_indices, i) == 0 && at(&p.limit_indices, i) == at(&batch, i) && stride(i) == 1
    });
    let s = match whole {
        true => s.clone(),
        false => {
            let cut = |x: &Array, own: usize| {
                let shape = x.shape();
                let own = shape.iter().skip(shape.len().saturating_sub(own));
                let part = |d: &Dims| -> Dims { d.iter().take(k).copied().collect() };
                let mut q = Slice {
                    start_indices: part(&p.start_indices),
                    limit_indices: part(&p.limit_indices),
                    strides: p.strides.as_ref().map(part),
                };
                for n in own {
                    q.start_indices.push(0);
                    q.limit_indices.push(*n);
                    if let Some(s) = &mut q.strides {
                        s.push(1);
                    }
                }
                bind(q, &[x])
            };
            let sizes = (0..k).map(|i| {
                let n = at(&p.limit_indices, i).saturating_sub(at(&p.start_indices, i));
                n.div_ceil(stride(i))
            });
            each_batch(s, cut, sizes.collect())?
        }
    };
    let [n, m] = s.size()?;
    let range = |i: usize| (at(&p.start_indices, i), at(&p.limit_indices, i), stride(i));
    let ((a, b, step), (c, d, over)) = (range(k), range(k + 1));
    if (a, b, step, c, d, over) == (0, n, 1, 0, m, 1) {
        return Ok(s.array());
    }
    if (step, over) == (1, 1)
        && b > a
        && d > c
        && let Some(y) = corner(&s, (a, b), (c, d))
    {
        return Ok(y.array());
    }
    let numbers = |from: usize, to: usize, step: usize| {
        let count = to.saturating_sub(from).div_ceil(step);
        Array::arange(count, DType::I32) * step as i32 + from as i32
    };
    window(&s, &numbers(a, b, step), &numbers(c, d, over))
}

/// A window that has the structure of the whole.
fn corner(s: &Structured, (a, b): (usize, usize), (c, d): (usize, usize)) -> Option<Structured> {
    let part = |x: &Array, from: usize, to: usize| x.slice_in_dim(from, to, -1);
    let block = |x: &Array| x.slice_in_dim(a, b, -2).slice_in_dim(c, d, -1);
    let same = (a, b) == (c, d);
    Some(s.with(match &s.structure {
        Structure::Diagonal(x) if same => Structure::Diagonal(part(x, a, b)),
        Structure::Identity { batch, dtype, .. } if same => Structure::Identity {
            n: b - a,
            batch: batch.clone(),
            dtype: *dtype,
        },
        Structure::Tridiagonal { lower, main, upper } if same => Structure::Tridiagonal {
            lower: part(lower, a, b - 1),
            main: part(main, a, b),
            upper: part(upper, a, b - 1),
        },
        Structure::Triangular { matrix, lower } if same => Structure::Triangular {
            matrix: block(matrix),
            lower: *lower,
        },
        Structure::Symmetric { matrix, positive } if same => Structure::Symmetric {
            matrix: block(matrix),
            positive: *positive,
        },
        Structure::LowRank { base: None, u, v } if b - a > 1 && d - c > 1 => Structure::LowRank {
            base: None,
            u: u.slice_in_dim(a, b, -2),
            v: part(v, c, d),
        },
        Structure::Toeplitz { column, row } if same => Structure::Toeplitz {
            column: part(column, 0, b - a),
            row: part(row, 0, b - a),
        },
        _ => return None,
    }))
}

fn dynamically_sliced(p: &DynamicSlice, x: &[&Array]) -> Result<Array> {
    let Some((s, starts)) = x.split_first().and_then(|(x, rest)| Some((of(x)?, rest))) else {
        return plainly(p.clone(), x);
    };
    let [n, m] = s.size()?;
    let (batch, [.., k, l]) = (s.batch()?, &p.slice_sizes[..]) else {
        return plainly(p.clone(), x);
    };
    let [.., r, c] = starts else {
        return plainly(p.clone(), x);
    };
    if p.slice_sizes.iter().zip(&batch).any(|(a, b)| a != b) {
        return plainly(p.clone(), x);
    }
    let numbers = |from: &Array, count: usize, n: usize| {
        let last = n.saturating_sub(count) as i32;
        Array::arange(count, DType::I32) + from.astype(DType::I32).clip(0, last)
    };
    window(s, &numbers(r, *k, n), &numbers(c, *l, m))
}

/// Whole rows, or whole columns, by their numbers.
fn gathered(p: &Gather, x: &Array, at: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return plainly(p.clone(), &[x, at]);
    };
    let [n, m] = s.size()?;
    let d = &p.dimension_numbers;
    let axis = match (&d.start_index_map[..], &p.slice_sizes[..]) {
        ([0], [1, l]) if *l == m => 0,
        ([1], [k, 1]) if *k == n => 1,
        _ => return plainly(p.clone(), &[x, at]),
    };
    let places = at.ndim().saturating_sub(1);
    let fits = s.batch()?.is_empty()
        && d.collapsed_slice_dims[..] == [axis]
        && d.operand_batching_dims.is_empty()
        && d.offset_dims.len() == 1
        && at.shape().last() == Some(&1);
    if !fits {
        return plainly(p.clone(), &[x, at]);
    }
    // Positions outside are as the primitive says: their rows are gathered from those that are inside, and masked by it.
    let count: usize = at.shape().iter().take(places).product();
    let flat = at.reshape([count]).astype(DType::I32);
    let limit = if axis == 0 { n } else { m };
    let inside = flat.clip(0, limit.saturating_sub(1) as i32);
    let all = |n: usize| Array::arange(n, DType::I32);
    let picked = match axis {
        0 => window(s, &inside, &all(m))?,
        _ => window(s, &all(n), &inside)?,
    };
    // The same gather, of what was picked by places in it; those outside stay outside.
    let own = all(count);
    let own = match p.mode {
        GatherScatterMode::FillOrDrop => {
            let outside = flat.lt(0) | flat.ge(limit as i32);
            outside.select(flat.lt(0).select(-1, count as i32 + 1), &own)
        }
        // The nearest row was picked.
        _ => own,
    };
    let mut q = p.clone();
    if let Some(size) = q.slice_sizes.get_mut(1 - axis) {
        *size = if axis == 0 { m } else { n };
    }
    bind(q, &[&picked, &own.reshape(at.shape()).astype(at.dtype()?)])
        .ok()
        .cloned()
}

/// The sum of all elements.
pub(super) fn total(s: &Structured) -> Result<Array> {
    Ok(row_sums(s)?.sum(-1))
}

fn row_sums(s: &Structured) -> Result<Array> {
    let [_, m] = s.size()?;
    let mut shape = s.batch()?;
    shape.extend([m, 1]);
    Ok(apply(s, &Array::ones(shape, s.dtype()?))?.squeeze(-1))
}

fn reduced(p: &Reduce, x: &Array) -> Result<Array> {
    let Some(s) = of(x) else {
        return Err(Error::internal("no structured operand"));
    };
    let k = s.batch()?.len();
    let over = |i: usize| p.axes.contains(&(k + i));
    let lead: Dims = p.axes.iter().copied().filter(|i| *i < k).collect();
    let y = match (over(0), over(1)) {
        (true, true) => total(s)?,
        (false, true) => row_sums(s)?,
        (true, false) => row_sums(&transpose(s)?)?,
        (false, false) => {
            let linear = matches!(
                s.structure,
                Structure::Diagonal(_)
                    | Structure::Tridiagonal { .. }
                    | Structure::Triangular { .. }
                    | Structure::Symmetric { .. }
                    | Structure::Toeplitz { .. }
                    | Structure::Circulant(_)
                    | Structure::BlockDiagonal(_)
            );
            if !linear {
                return plainly(p.clone(), &[x]);
            }
            let batch = s.batch()?;
            let kept = remaining(k, &lead, &[]);
            let batch = kept.iter().filter_map(|i| batch.get(*i).copied()).collect();
            return Ok(each_batch(s, |x, _| x.sum(&lead), batch)?.array());
        }
    };
    match lead.is_empty() {
        true => Ok(y),
        false => Ok(y.sum(lead)),
    }
}

/// Several matrices of one structure as one, along an axis of the batch; `None` for others.
fn together(x: &[&Array], axis: usize, join: impl Fn(&[&Array]) -> Array) -> Result<Option<Array>> {
    let all: Option<Vec<&Structured>> = x.iter().map(|x| of(x)).collect();
    let Some([first, rest @ ..]) = all.as_deref() else {
        return Ok(None);
    };
    let own = |s: &Structured| -> Vec<Vec<usize>> {
        let one = |(x, own): &(&Array, usize)| {
            let shape = x.shape();
            shape
                .iter()
                .skip(shape.len().saturating_sub(*own))
                .copied()
                .collect()
        };
        s.structure.parts().iter().map(one).collect()
    };
    let positive = |s: &Structured| match &s.structure {
        Structure::Symmetric { positive, .. } => *positive,
        _ => true,
    };
    let like = |s: &&Structured| {
        s.structure.name() == first.structure.name()
            && own(s) == own(first)
            && positive(s) == positive(first)
    };
    let nested = matches!(
        first.structure,
        Structure::Kronecker(_) | Structure::Sum(_) | Structure::Product(_) | Structure::Inverse(_)
    ) || matches!(first.structure, Structure::LowRank { base: Some(_), .. });
    if axis > first.batch()?.len() || nested || !rest.iter().all(like) {
        return Ok(None);
    }
    let [n, _] = first.size()?;
    let structure = match &first.structure {
        Structure::Identity { dtype, .. } => {
            let batches = x.iter().map(|x| {
                let batch: Dims = x.shape().iter().take(x.ndim() - 2).copied().collect();
                Array::zeros(batch, *dtype)
            });
            let batches: Vec<Array> = batches.collect();
            let shape = join(&batches.iter().collect::<Vec<_>>()).ok()?.shape();
            Structure::Identity {
                n,
                batch: shape.iter().copied().collect(),
                dtype: *dtype,
            }
        }
        other => {
            let parts: Vec<_> = all.iter().flatten().map(|s| s.structure.parts()).collect();
            let part = |i: usize| {
                let each: Vec<&Array> =
                    parts.iter().filter_map(|p| p.get(i)).map(|p| p.0).collect();
                join(&each)
            };
            let count = other.parts().len();
            other.with_parts((0..count).map(part).collect())
        }
    };
    structure.aval()?;
    let allow = all.iter().flatten().all(|s| s.allow_materialise);
    Ok(Some(first.with(structure).allow_materialise(allow).array()))
}

/// A contraction with one structured operand, or two. Those that are products of matrices, batch by batch, cost what the structure costs.
fn dot(p: &DotGeneral, left: &Array, right: &Array) -> Result<Array> {
    let y = match (of(left), of(right)) {
        (Some(_), Some(_)) => match matrices(p, left, right)? {
            Some(y) => y,
            None => plainly(p.clone(), &[left, right])?,
        },
        (Some(s), None) => match columns(
            s,
            right,
            [&p.lhs_contract, &p.lhs_batch],
            [&p.rhs_contract, &p.rhs_batch],
            true,
        )? {
            Some(y) => y,
            None => plainly(p.clone(), &[left, right])?,
        },
        (None, Some(s)) => match columns(
            s,
            left,
            [&p.rhs_contract, &p.rhs_batch],
            [&p.lhs_contract, &p.lhs_batch],
            false,
        )? {
            Some(y) => y,
            None => plainly(p.clone(), &[left, right])?,
        },
        (None, None) => plainly(p.clone(), &[left, right])?,
    };
    let wanted = p.preferred_element_type.unwrap_or(y.dtype()?);
    match y.dtype()? == wanted {
        true => Ok(y),
        false => y.astype(wanted).ok().cloned(),
    }
}

/// Two matrices, batch by batch.
fn matrices(p: &DotGeneral, left: &Array, right: &Array) -> Result<Option<Array>> {
    let (Ok(n), Ok(m)) = (left.aval(), right.aval()) else {
        return Ok(None);
    };
    let (k, l) = (n.ndim() - 2, m.ndim() - 2);
    let front = |d: &Dims, k: usize| d.iter().copied().eq(0..k);
    let aligned = front(&p.lhs_batch, k) && front(&p.rhs_batch, l);
    let ([i], [j]) = (&p.lhs_contract[..], &p.rhs_contract[..]) else {
        return Ok(None);
    };
    if !aligned || *i < k || *j < l {
        return Ok(None);
    }
    let turned = |x: &Array, yes: bool| match (of(x), yes) {
        (Some(s), true) => Ok(transpose(s)?.array()),
        _ => Ok::<_, Error>(x.clone()),
    };
    let (a, b) = (turned(left, *i == k)?, turned(right, *j == l + 1)?);
    multiplied(&a, &b).map(Some)
}

/// The structured operand times the columns of the other; `None` if it is not such a product. The axes are those that are contracted,
/// and those of the batch, of the structured operand and of the other.
fn columns(
    s: &Structured,
    x: &Array,
    [contract, batch]: [&Dims; 2],
    [other_contract, other_batch]: [&Dims; 2],
    is_left: bool,
) -> Result<Option<Array>> {
    let own_batch = s.batch()?;
    let k = own_batch.len();
    let matrix_axes: Vec<usize> = contract.iter().copied().filter(|i| *i >= k).collect();
    if batch.iter().any(|i| *i >= k) {
        return Ok(None);
    }
    let shape = x.shape();
    let free = remaining(x.ndim(), other_contract, other_batch);
    let size = |i: &usize| shape.get(*i).copied().unwrap_or(1);
    // Where the other operand has each leading axis of the structured one.
    let partner = |i: usize| {
        let of = |a: &Dims, b: &Dims| {
            let at = a.iter().position(|j| *j == i)?;
            b.get(at).copied()
        };
        of(batch, other_batch).or_else(|| of(contract, other_contract))
    };
    let places: Vec<Option<usize>> = (0..k).map(partner).collect();
    let count: usize = free.iter().map(size).product();
    let inner_sum = match matrix_axes[..] {
        [_] => false,
        [_, _] => true,
        _ => return Ok(None),
    };
    // Axes: those leading ones that the other has, what is contracted of the matrix, the rest.
    let mut order: Dims = places.iter().flatten().copied().collect();
    let mut inner_axes = matrix_axes.clone();
    inner_axes.sort_unstable();
    for i in &inner_axes {
        let at = contract.iter().position(|j| j == i);
        order.extend(at.and_then(|at| other_contract.get(at)).copied());
    }
    order.extend(free.iter().copied());
    let is_identity = order.iter().enumerate().all(|(i, j)| i == *j);
    let arranged = match is_identity {
        true => x.clone(),
        false => x.transpose(&order),
    };
    let lead: Dims = (0..k)
        .map(|i| {
            if places.get(i).is_some_and(Option::is_some) {
                own_batch.get(i).copied().unwrap_or(1)
            } else {
                1
            }
        })
        .collect();
    let [n, m] = s.size()?;
    let joined = |own: &[usize]| -> Dims { lead.iter().chain(own).copied().collect() };
    if inner_sum {
        if !free.is_empty() {
            return Ok(None);
        }
        let plain = arranged.reshape(joined(&[n, m]));
        let plain = widened(&plain, &own_batch)?;
        let sums = inner(s, &plain)?;
        return finish(sums, s, contract, batch, &[], &[], is_left).map(Some);
    }
    let turned = matrix_axes.first() == Some(&k);
    let s = if turned { transpose(s)? } else { s.clone() };
    let [n, m] = s.size()?;
    let plain = widened(&arranged.reshape(joined(&[m, count])), &own_batch)?;
    let y = apply(&s, &plain)?;
    let sizes: Vec<usize> = free.iter().map(size).collect();
    finish(y, &s, contract, batch, &[n], &sizes, is_left).map(Some)
}

/// From `[leading axes.., n, columns]` to the axes of the contraction: batch, the left operand's, the right one's.
fn finish(
    y: Array,
    s: &Structured,
    contract: &Dims,
    batch: &Dims,
    own: &[usize],
    free: &[usize],
    is_left: bool,
) -> Result<Array> {
    let lead = s.batch()?;
    let k = lead.len();
    let summed: Dims = contract.iter().copied().filter(|i| *i < k).collect();
    let full: Dims = lead.iter().chain(own).chain(free).copied().collect();
    let y = y.reshape(full);
    let y = match summed.is_empty() {
        true => y,
        false => y.sum(&summed),
    };
    // Places of the leading axes that are left.
    let kept = remaining(k, &summed, &[]);
    let place = |i: &usize| kept.iter().position(|j| j == i).unwrap_or(0);
    let shared: Dims = batch.iter().map(place).collect();
    let alone: Dims = kept
        .iter()
        .filter(|i| !batch.contains(i))
        .map(place)
        .collect();
    let matrix: Dims = (kept.len()..kept.len() + own.len()).collect();
    let others: Dims = (kept.len() + own.len()..kept.len() + own.len() + free.len()).collect();
    let order: Dims = match is_left {
        true => [shared, alone, matrix, others].concat().into(),
        false => [shared, others, alone, matrix].concat().into(),
    };
    let y = match order.iter().enumerate().all(|(i, j)| i == *j) {
        true => y,
        false => y.transpose(order),
    };
    y.ok().cloned()
}

/// Sums and differences.
fn added(op: Binary, a: &Array, b: &Array) -> Result<Array> {
    let negated = |x: &Array| match op {
        Binary::Sub => -x,
        _ => x.clone(),
    };
    match (of(a), of(b)) {
        (Some(s), None) if b.ndim() == 0 => match with_number(op, s, b, false) {
            Some(y) => Ok(y.array()),
            None => plainly(op, &[a, b]),
        },
        (None, Some(t)) if a.ndim() == 0 => match with_number(op, t, a, true) {
            Some(y) => Ok(y.array()),
            None => plainly(op, &[a, b]),
        },
        _ => {
            let b = negated(b);
            let lead = |x: &Array| -> Dims {
                x.shape()
                    .iter()
                    .take(x.ndim().saturating_sub(2))
                    .copied()
                    .collect()
            };
            let shared = broadcast_shapes(&lead(a), &lead(&b))
                .ok_or_else(|| Error::internal("a sum of different batches"))?;
            sum::added(&widened(a, &shared)?, &widened(&b, &shared)?)
        }
    }
}

/// Stacks of structured matrices of one structure, along the leading axes.
fn structured(x: &Array) -> Result<&Structured> {
    of(x).ok_or_else(|| Error::internal("no structured operand"))
}

pub(super) fn rules(r: &mut Rules) {
    r.precedence(28);
    let unary: Vec<&'static str> = ELEMENTWISE_UNARY.iter().chain(IDENTITY).copied().collect();
    r.family::<Structured, _>(&unary, |op: &Op, x: &[&Array]| match x {
        [x] => match map(op, structured(x)?)? {
            Some(y) => Ok(y.array()),
            None => plainly(op.clone(), &[x]),
        },
        _ => Err(Error::internal("this takes one operand")),
    });
    r.mixed::<Binary, Structured, _>(op::MUL, |p, x| two(x).and_then(|[a, b]| binary(*p, a, b)));
    r.mixed::<Binary, Structured, _>(op::DIV, |p, x| two(x).and_then(|[a, b]| binary(*p, a, b)));
    r.mixed::<Binary, Structured, _>(op::ADD, |p, x| two(x).and_then(|[a, b]| added(*p, a, b)));
    r.mixed::<Binary, Structured, _>(op::SUB, |p, x| two(x).and_then(|[a, b]| added(*p, a, b)));
    r.mixed::<DotGeneral, Structured, _>(op::DOT_GENERAL, |p, x| {
        two(x).and_then(|[a, b]| dot(p, a, b))
    });
    let one = |x: &Structured| x.clone().array();
    r.unary(op::TRANSPOSE, move |p, x: &Structured| {
        transposition(p, &one(x))
    });
    r.unary(op::RESHAPE, move |p: &Reshape, x: &Structured| {
        reshaped(&p.new_sizes, p.clone().into(), &one(x))
    });
    r.unary(op::SQUEEZE, move |p: &Squeeze, x: &Structured| {
        let shape = crate::ArrayValue::aval(x)?.shape;
        let kept = remaining(shape.len(), &p.dimensions, &[]);
        let to = kept.iter().filter_map(|i| shape.get(*i).copied()).collect();
        // Axes of the matrix are not those of a batch.
        match p.dimensions.iter().any(|i| i + 2 >= shape.len()) {
            true => match x.size()? {
                [1, 1] | [1, _] | [_, 1] => Ok(super::element::dense(x)?.reshape(to)),
                _ => plainly(p.clone(), &[&one(x)]),
            },
            false => reshaped(&to, p.clone().into(), &one(x)),
        }
    });
    r.unary(op::BROADCAST_IN_DIM, move |p, x: &Structured| {
        broadcast(p, &one(x))
    });
    r.unary(op::SLICE, move |p, x: &Structured| sliced(p, &one(x)));
    r.mixed::<DynamicSlice, Structured, _>(op::DYNAMIC_SLICE, dynamically_sliced);
    r.mixed::<Gather, Structured, _>(op::GATHER, |p, x| {
        two(x).and_then(|[a, b]| gathered(p, a, b))
    });
    r.unary(op::REDUCE_SUM, move |p, x: &Structured| reduced(p, &one(x)));
    for reducer in [op::REDUCE_MAX, op::REDUCE_MIN] {
        r.unary(
            reducer,
            move |p: &Reduce, x: &Structured| match super::extrema::extremum(x, p)? {
                Some(y) => Ok(y),
                None => plainly(p.clone(), &[&one(x)]),
            },
        );
    }
    r.mixed::<Concatenate, Structured, _>(op::CONCATENATE, |p, x| {
        let within = x.first().is_some_and(|x| p.dimension + 2 < x.ndim());
        let joined = match within {
            true => together(x, p.dimension, |x| bind(p.clone(), x))?,
            false => None,
        };
        joined.map_or_else(|| plainly(p.clone(), x), Ok)
    });
    r.mixed::<Stack, Structured, _>(op::STACK, |p, x| {
        let joined = together(x, p.axis, |x| bind(p.clone(), x))?;
        joined.map_or_else(|| plainly(p.clone(), x), Ok)
    });
    r.mixed::<Linalg, Structured, _>(op::TRIANGULAR_SOLVE, |p, x| match (p, two(x)?) {
        (Linalg::TriangularSolve(p), [a, b]) => solve::triangular(p, a, b),
        (_, _) => plainly(*p, x),
    });
    r.mixed::<Solve, Structured, _>(function::SOLVE, |_, x| {
        two(x).and_then(|[a, b]| solve::solve(a, b))
    });
    r.unary(function::INV, |_: &Inv, x: &Structured| solve::inverse(x));
    r.unary(function::DET, |_: &Det, x: &Structured| {
        scalars::determinant(x)
    });
    r.unary(function::SLOGDET, |_: &SlogDet, x: &Structured| {
        scalars::log_determinant(x).map(|(sign, log)| vec![sign, log])
    });
    r.unary(function::CHOLESKY, |_: &Cholesky, x: &Structured| {
        scalars::cholesky(x)
    });
    r.unary(function::EIGH, |_: &Eigh, x: &Structured| {
        scalars::hermitian(x).map(|y| y.to_vec())
    });
    r.unary(function::EIGVALS, |_: &EigVals, x: &Structured| {
        scalars::eigenvalues(x)
    });
    r.unary(function::SVDVALS, |_: &SvdVals, x: &Structured| {
        scalars::singular_values(x)
    });
    r.unary(function::MATRIX_POWER, |p: &MatrixPower, x: &Structured| {
        scalars::matrix_power(x, p.n)
    });
    r.mixed::<Kron, Structured, _>(function::KRON, |_, x| {
        two(x).and_then(|[a, b]| scalars::kron(a, b))
    });
    r.unary(function::DIAGONAL, |p: &Diagonal, x: &Structured| {
        let k = x.batch()?.len();
        match (p.axis1, p.axis2) {
            (a, b) if (a, b) == (k, k + 1) => diagonal(x, p.offset),
            (a, b) if (a, b) == (k + 1, k) => diagonal(x, -p.offset),
            _ => crate::array::numpy::diagonal_of(&x.clone().array().definition()?, *p),
        }
    });
    r.unary(
        function::TRIANGLE,
        |p: &Triangle, x: &Structured| match triangle(x, p.k, p.lower)? {
            Some(y) => Ok(y.array()),
            None => {
                let x = x.clone().array().definition()?;
                crate::array::numpy::triangle_of(&x, p.k, p.lower)
            }
        },
    );
}
