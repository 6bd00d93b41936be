//! What each primitive does with sparse arrays.

use super::{
    Bcoo,
    entries::Entries,
    product::{CooProduct, rows_of},
};
use crate::{
    array::{Array, DType, Dims, numpy::concatenate},
    dispatch::Rules,
    error::{Error, Result},
    trace::{
        bind,
        op::{
            self, Binary, BroadcastInDim, Concatenate, DotGeneral, IntegerPow, Op, Pad, Prim,
            Reduce, Reshape, Rev, Slice, Squeeze, Transpose, Unary, remaining,
        },
    },
};

/// Functions that keep zero, and how: those that are linear take the entries of one place apart.
pub(super) const LINEAR: &[Prim<Unary>] = &[op::NEG, op::REAL, op::IMAG, op::CONJ];
pub(super) const ZERO_TO_ZERO: &[Prim<Unary>] = &[
    op::SIGN,
    op::FLOOR,
    op::CEIL,
    op::ROUND,
    op::EXPM1,
    op::LOG1P,
    op::TANH,
    op::SIN,
    op::TAN,
    op::ASIN,
    op::ATAN,
    op::SINH,
    op::ASINH,
    op::ATANH,
    op::SQRT,
    op::CBRT,
    op::SQUARE,
    op::ABS,
    op::ERF,
    op::ERF_INV,
    op::BESSEL_I1E,
    op::REDUCE_PRECISION,
];

fn value(e: Entries) -> Array {
    Array::from_value(e.value())
}

/// The same places, in the same batches, with other data.
fn with_data(b: &Bcoo, data: Array) -> Array {
    Array::from_value(Bcoo {
        data: data.reshape(b.data.shape()),
        ..b.clone()
    })
}

/// A primitive on the entries alone.
fn on_data(b: &Bcoo, op: impl Into<Op>) -> Array {
    with_data(b, bind(op, &[&b.data]))
}

/// A function that keeps zero: entries of one place are summed first.
fn keeping_zero(b: &Bcoo, op: impl Into<Op>) -> Result<Array> {
    if b.unique {
        return Ok(on_data(b, op));
    }
    let e = Entries::of(b).summed()?;
    let data = bind(op, &[&e.data]);
    Ok(value(e.with_data(data)))
}

/// The scalar that stands for every element.
fn times(b: &Bcoo, x: &Array, op: Binary) -> Array {
    let e = Entries::of(b);
    if x.ndim() > e.shape.len() + e.data.ndim().saturating_sub(1) {
        // A scalar beside an array.
        return Array::from_result(e.to_dense().map(|s| bind(op, &[&s, x])));
    }
    let factor = e.at(x);
    let data = match factor.ndim() {
        0 => bind(op, &[&e.data, &factor]),
        // A place outside has no factor, and no entry.
        _ if op == Binary::Div => {
            let safe = e.inside().select(&factor, Array::ones_like(&factor));
            bind(op, &[&e.data, &safe])
        }
        _ => bind(op, &[&e.data, &factor]),
    };
    with_data(b, data)
}

/// A product, element by element, with any operand on either side.
fn mul(x: &[&Array]) -> Result<Array> {
    let [a, b] = x else {
        return Err(Error::internal("a product takes two operands"));
    };
    match (a.value::<Bcoo>(), b.value::<Bcoo>()) {
        (Some(s), None) => Ok(times(s, b, Binary::Mul)),
        (None, Some(s)) => Ok(times(s, a, Binary::Mul)),
        (Some(s), Some(t)) => {
            let (s, t) = (Entries::of(s).summed()?, Entries::of(t).summed()?);
            Ok(value(matched(&s, &t)?))
        }
        (None, None) => Err(Error::internal("no sparse operand")),
    }
}

/// The product of two arrays of which each has every place once: the entries of one, by those of the other that stand where they do.
fn matched(s: &Entries, t: &Entries) -> Result<Entries> {
    let all: Vec<usize> = (0..s.shape.len()).collect();
    let ((p, _), (q, _)) = (s.linear(&all), t.linear(&all));
    let n = t.count();
    if n == 0 {
        return Ok(s.with_data(Array::zeros_like(&s.data)));
    }
    // Those outside come first, and match nothing.
    let order = q.argsort(0);
    let (q, data) = (q.take(&order, 0), t.data.take(&order, 0));
    let at = numpy_searchsorted(&q, &p).minimum(n as i32 - 1);
    let found = q.take(&at, 0).eq(&p) & p.ge(0);
    let factor = data.take(&at, 0);
    let zero = Array::zeros_like(&factor);
    Ok(s.with_data(&s.data * found.select(&factor, &zero)))
}

fn numpy_searchsorted(sorted: &Array, x: &Array) -> Array {
    sorted.searchsorted(x, false).astype(DType::I32)
}

fn joined(a: &Bcoo, b: &Bcoo, sign: bool) -> Result<Array> {
    let (a, b) = (Entries::of(a), Entries::of(b));
    let second = if sign { -&b.data } else { b.data.clone() };
    let sum = Entries {
        data: concatenate(&[a.data, second], 0),
        places: concatenate(&[a.places, b.places], 0),
        shape: a.shape,
        unique: false,
        most: Dims::new(),
        allow_materialise: a.allow_materialise && b.allow_materialise,
    };
    sum.data.ok()?;
    Ok(value(sum))
}

/// Sums and differences. With a dense array the result is dense.
fn add(x: &[&Array], minus: bool) -> Result<Array> {
    let [a, b] = x else {
        return Err(Error::internal("a sum takes two operands"));
    };
    let negated = |s: &Bcoo| match minus {
        true => Entries::of(s).with_data(-Entries::of(s).data),
        false => Entries::of(s),
    };
    match (a.value::<Bcoo>(), b.value::<Bcoo>()) {
        (Some(s), Some(t)) => joined(s, t, minus),
        (None, Some(t)) => spread(&negated(t), a)?.pipe(|d| negated(t).added_to(&d)),
        (Some(s), None) => {
            let other = if minus { -*b } else { (*b).clone() };
            let e = Entries::of(s);
            spread(&e, &other)?.pipe(|d| e.added_to(&d))
        }
        (None, None) => Err(Error::internal("no sparse operand")),
    }
}

trait Pipe: Sized {
    fn pipe<R>(self, f: impl FnOnce(Self) -> R) -> R {
        f(self)
    }
}
impl Pipe for Array {}

/// A dense operand in the shape of the sparse one, for which a scalar may stand.
fn spread(e: &Entries, x: &Array) -> Result<Array> {
    match x.ndim() {
        0 => x.broadcast_in_dim(&e.shape, ()).ok().cloned(),
        _ => Ok(x.clone()),
    }
}

fn dot(p: &DotGeneral, left: &Array, right: &Array) -> Result<Array> {
    let (sparse, dense, is_left) = match (left.value::<Bcoo>(), right.value::<Bcoo>()) {
        (Some(s), Some(t)) => return super::pairs::product(p, s, t),
        (Some(s), None) => (s, right, true),
        (None, Some(s)) => (s, left, false),
        (None, None) => return Err(Error::internal("no sparse operand")),
    };
    let e = Entries::of(sparse);
    let (own, other) = match is_left {
        true => (
            (&p.lhs_contract, &p.lhs_batch),
            (&p.rhs_contract, &p.rhs_batch),
        ),
        false => (
            (&p.rhs_contract, &p.rhs_batch),
            (&p.lhs_contract, &p.lhs_batch),
        ),
    };
    let free = remaining(e.shape.len(), own.0, own.1);
    let other_free = remaining(dense.ndim(), other.0, other.1);
    let both = |a: &Dims, b: &Dims| a.iter().chain(b).copied().collect::<Dims>();
    let size = |axes: &[usize]| {
        axes.iter()
            .filter_map(|i| e.shape.get(*i))
            .product::<usize>()
    };
    let (m, k) = (size(&both(own.1, &free)), size(&both(own.1, own.0)));
    let order: Dims = both(&both(other.1, other.0), &other_free);
    let shape = dense.shape();
    let n: usize = other_free.iter().filter_map(|i| shape.get(*i)).product();
    let matrix = dense.transpose(order).reshape([k, n]);
    let (dtype, other_dtype) = (e.data.dtype()?, matrix.dtype()?);
    // Halves are summed as singles.
    let wide = match (dtype, other_dtype) {
        (DType::F64, d) | (d, DType::F64) if d.is_float() => Some(DType::F64),
        (a, b) if a.is_float() && b.is_float() => Some(DType::F32),
        _ => None,
    };
    let product = match wide {
        Some(wide) => {
            let (data, matrix) = (e.data.astype(wide), matrix.astype(wide));
            match (
                sparse.data.ndim(),
                sparse.shape.len(),
                &own.0[..],
                own.1.is_empty(),
            ) {
                // A matrix as it is.
                (1, 2, [at], true) => {
                    let transposed = *at == 0;
                    CooProduct { m, transposed }.of([&data, &sparse.indices, &matrix])
                }
                _ => {
                    let (rows, _) = e.linear(&both(own.1, &free));
                    let (columns, _) = e.linear(&both(own.1, own.0));
                    let both = concatenate(&[rows.expand_dims(1), columns.expand_dims(1)], 1);
                    let product = CooProduct {
                        m,
                        transposed: false,
                    };
                    product.of([&data, &both.astype(DType::I32), &matrix])
                }
            }
        }
        _ => {
            let (rows, _) = e.linear(&both(own.1, &free));
            let (columns, _) = e.linear(&both(own.1, own.0));
            let each = rows_of(&matrix, &columns) * e.data.expand_dims(1);
            let zeros = Array::zeros([m, n], each.dtype()?);
            let rows = rows.lt(0).select(m as i64, &rows);
            match m {
                0 => zeros,
                _ => zeros
                    .at(rows)
                    .mode(op::GatherScatterMode::FillOrDrop)
                    .add(&each),
            }
        }
    };
    let sizes = |of: &[usize], axes: &Dims| -> Dims {
        axes.iter().filter_map(|i| of.get(*i).copied()).collect()
    };
    let (b, f, g) = (
        sizes(&e.shape, own.1),
        sizes(&e.shape, &free),
        sizes(&shape, &other_free),
    );
    let product = product.reshape(both(&both(&b, &f), &g));
    let product = match is_left {
        true => product,
        false => {
            let (b, f, g) = (b.len(), f.len(), g.len());
            let order: Dims = (0..b).chain(b + f..b + f + g).chain(b..b + f).collect();
            product.transpose(order)
        }
    };
    let joint = DType::promote(dtype, other_dtype);
    product
        .astype(p.preferred_element_type.unwrap_or(joint))
        .ok()
        .cloned()
}

fn transpose(p: &Transpose, b: &Bcoo) -> Array {
    let batch = b.data.ndim().saturating_sub(1);
    let (lead, rest) = p.permutation.split_at(batch.min(p.permutation.len()));
    if lead.iter().all(|i| *i < batch) {
        // Batches stay in front.
        let order = |more: &[usize]| [lead, more].concat();
        let columns = rest.iter().map(|i| i - batch);
        let places: Vec<Array> = columns
            .clone()
            .map(|i| b.indices.slice_in_dim(i, i + 1, -1))
            .collect();
        let indices = match places.is_empty() {
            true => b.indices.clone(),
            false => concatenate(&places, -1),
        };
        return Array::from_value(Bcoo {
            data: b.data.transpose(order(&[batch])),
            indices: indices.transpose(order(&[batch, batch + 1])),
            shape: columns
                .clone()
                .filter_map(|i| b.shape.get(i).copied())
                .collect(),
            most: columns.filter_map(|i| b.most.get(i).copied()).collect(),
            ..b.clone()
        });
    }
    let e = Entries::of(b);
    let columns = p.permutation.iter().map(|i| e.along(*i)).collect();
    let shape = p
        .permutation
        .iter()
        .filter_map(|i| e.shape.get(*i).copied());
    let unique = e.unique;
    let most = p.permutation.iter().filter_map(|i| e.most.get(*i).copied());
    value(Entries {
        most: most.collect(),
        ..e.moved(columns, shape.collect(), unique)
    })
}

fn reshape(to: &Dims, b: &Bcoo) -> Array {
    let e = Entries::of(b);
    let all: Vec<usize> = (0..e.shape.len()).collect();
    let (number, _) = e.linear(&all);
    let unique = e.unique;
    value(e.moved(Entries::unravel(&number, to), to.clone(), unique))
}

fn broadcast(p: &BroadcastInDim, b: &Bcoo) -> Array {
    let mut e = Entries::of(b);
    // Along each axis that is new or grows, the entries once for each place.
    let mut columns: Vec<Option<Array>> = vec![None; p.shape.len()];
    for (i, d) in p.broadcast_dimensions.iter().enumerate() {
        let grows = e.shape.get(i) == Some(&1) && p.shape.get(*d) != Some(&1);
        if let (Some(slot), false) = (columns.get_mut(*d), grows) {
            *slot = Some(e.along(i));
        }
    }
    let inside = e.inside();
    let missing: Vec<usize> = (0..columns.len())
        .filter(|i| columns.get(*i).is_some_and(Option::is_none))
        .collect();
    let times: usize = missing.iter().filter_map(|i| p.shape.get(*i)).product();
    let count = e.count();
    let repeated = |x: &Array| {
        x.broadcast_in_dim([times, count], [1])
            .reshape([times * count])
    };
    let inside = repeated(&inside);
    let number = Array::iota([times, count], 0, DType::I64).reshape([times * count]);
    let sizes: Vec<usize> = missing
        .iter()
        .filter_map(|i| p.shape.get(*i).copied())
        .collect();
    let mut new = Entries::unravel(&number, &sizes).into_iter();
    e = e.with_data(repeated(&e.data));
    let columns: Vec<Array> = columns
        .into_iter()
        .map(|c| match c {
            Some(c) => repeated(&c),
            None => {
                let c = new.next().unwrap_or_else(|| number.clone());
                inside.select(&c, -1)
            }
        })
        .collect();
    let unique = e.unique;
    value(e.moved(columns, p.shape.clone(), unique))
}

/// Axes that go have one place, and nothing to tell apart.
fn squeeze(p: &Squeeze, b: &Bcoo) -> Array {
    let e = Entries::of(b);
    let kept = remaining(e.shape.len(), &p.dimensions, &[]);
    drop_axes(&e, &kept, e.unique)
}

/// The entries with fewer coordinates. Entries that were outside stay so.
fn drop_axes(e: &Entries, kept: &[usize], unique: bool) -> Array {
    let inside = e.inside();
    let columns = kept
        .iter()
        .map(|i| inside.select(e.along(*i), -1))
        .collect();
    let shape: Dims = kept
        .iter()
        .filter_map(|i| e.shape.get(*i).copied())
        .collect();
    let zero = Array::zeros_like(&e.data);
    let e = e.with_data(inside.select(&e.data, &zero));
    value(e.moved(columns, shape, unique))
}

fn reduce_sum(p: &Reduce, b: &Bcoo) -> Array {
    let e = Entries::of(b);
    let kept = remaining(e.shape.len(), &p.axes, &[]);
    if kept.is_empty() {
        let zero = Array::zeros_like(&e.data);
        return e.inside().select(&e.data, &zero).sum(());
    }
    drop_axes(&e, &kept, false)
}

/// New coordinates along each axis; those of entries that are gone are −1.
fn remapped(b: &Bcoo, shape: Dims, f: impl Fn(usize, Array) -> Array) -> Array {
    let e = Entries::of(b);
    let inside = e.inside();
    let columns = (0..shape.len())
        .map(|i| inside.select(f(i, e.along(i)), -1))
        .collect();
    let unique = e.unique;
    value(e.moved(columns, shape, unique))
}

fn slice(p: &Slice, b: &Bcoo) -> Result<Array> {
    let at = |d: &Dims, i: usize| d.get(i).copied().unwrap_or(0) as i64;
    let stride = |i: usize| p.strides.as_ref().map_or(1, |s| at(s, i)).max(1);
    let shape: Dims = (0..p.start_indices.len())
        .map(|i| {
            let n = at(&p.limit_indices, i) - at(&p.start_indices, i);
            ((n + stride(i) - 1) / stride(i)).max(0) as usize
        })
        .collect();
    Ok(remapped(b, shape, |i, c| {
        let (from, step) = (at(&p.start_indices, i), stride(i));
        let c = c - from;
        let inside = c.ge(0) & (&c % step).eq(0) & c.lt(at(&p.limit_indices, i) - from);
        let place = (&c - &c % step) / step;
        inside.select(place.astype(DType::I64), -1)
    }))
}

fn rev(p: &Rev, b: &Bcoo) -> Array {
    let shape = Entries::of(b).shape;
    let sizes = shape.clone();
    remapped(b, shape, |i, c| {
        let last = sizes.get(i).copied().unwrap_or(0) as i64 - 1;
        match p.dimensions.contains(&i) {
            true => -(c - last),
            false => c,
        }
    })
}

fn concat(p: &Concatenate, x: &[&Array]) -> Result<Array> {
    let mut parts = vec![];
    let mut offset = 0i64;
    for x in x {
        let Some(b) = x.value::<Bcoo>() else {
            return Err(
                Error::refused("`concatenate` of sparse and dense arrays would be dense")
                    .note("`Bcoo::from_dense` makes a sparse array, `Bcoo::to_dense` a dense one"),
            );
        };
        let e = Entries::of(b);
        let inside = e.inside();
        let columns = (0..e.shape.len())
            .map(|i| match i == p.dimension {
                true => inside.select(e.along(i) + offset, -1),
                false => e.along(i),
            })
            .collect();
        offset += e.shape.get(p.dimension).copied().unwrap_or(0) as i64;
        let (shape, unique) = (e.shape.clone(), e.unique);
        parts.push(e.moved(columns, shape, unique));
    }
    let Some(first) = parts.first().cloned() else {
        return Err(Error::argument("`concatenate` of nothing"));
    };
    let mut shape = first.shape.clone();
    if let Some(n) = shape.get_mut(p.dimension) {
        *n = offset as usize;
    }
    let all = |f: fn(&Entries) -> Array| -> Array {
        concatenate(&parts.iter().map(f).collect::<Vec<_>>(), 0)
    };
    Ok(value(Entries {
        data: all(|e| e.data.clone()),
        places: all(|e| e.places.clone()),
        shape,
        unique: parts.iter().all(|e| e.unique),
        most: Dims::new(),
        allow_materialise: parts.iter().all(|e| e.allow_materialise),
    }))
}

/// Padding with zero moves the entries; so does what cuts off.
fn pad(p: &Pad, b: &Bcoo, with: &Array) -> Result<Array> {
    let zero = with.is_symbolic_zero()
        || with
            .buffer()
            .and_then(|x| x.item())
            .and_then(|x| x.as_f64())
            == Some(0.0);
    if !zero {
        return Err(Error::refused(
            "`pad` of a sparse array with something else than zero would be dense",
        ));
    }
    let e = Entries::of(b);
    let size = |(n, (low, high, inner)): (&usize, &(i64, i64, i64))| {
        let n = *n as i64;
        (n + (n - 1).max(0) * inner + low + high).max(0) as usize
    };
    let shape: Dims = e.shape.iter().zip(&p.padding_config).map(size).collect();
    let sizes = shape.clone();
    Ok(remapped(b, shape, |i, c| {
        let (low, _, inner) = p.padding_config.get(i).copied().unwrap_or((0, 0, 0));
        let c = c * (inner + 1) + low;
        let n = sizes.get(i).copied().unwrap_or(0) as i64;
        let inside = c.ge(0) & c.lt(n);
        inside.select(c, -1)
    }))
}

pub(super) fn rules(r: &mut Rules) {
    r.precedence(30);
    for p in LINEAR {
        r.unary(*p, |p: &Unary, b: &Bcoo| on_data(b, *p));
    }
    for p in ZERO_TO_ZERO {
        r.unary(*p, |p: &Unary, b: &Bcoo| keeping_zero(b, *p));
    }
    r.unary(op::INTEGER_POW, |p: &IntegerPow, b: &Bcoo| match p.y {
        1.. => keeping_zero(b, p.clone()),
        _ => Err(Error::refused(
            "a power below 1 of a sparse array would be dense",
        )),
    });
    r.unary(op::CONVERT_ELEMENT_TYPE, |p, b: &Bcoo| {
        match p.new_dtype.is_inexact() {
            true => Ok(on_data(b, p.clone())),
            false => keeping_zero(b, p.clone()),
        }
    });
    r.unary(op::STOP_GRADIENT, |p, b: &Bcoo| on_data(b, *p));
    r.unary(op::COPY, |p, b: &Bcoo| on_data(b, *p));
    r.unary(op::COMPONENT, |p, b: &Bcoo| on_data(b, p.clone()));
    r.mixed::<Binary, Bcoo, _>(op::MUL, |_, x| mul(x));
    r.mixed::<Binary, Bcoo, _>(op::ADD, |_, x| add(x, false));
    r.mixed::<Binary, Bcoo, _>(op::SUB, |_, x| add(x, true));
    r.mixed::<Binary, Bcoo, _>(op::DIV, |_, x| match x {
        [a, b] if b.value::<Bcoo>().is_none() => match a.value::<Bcoo>() {
            Some(s) => Ok(times(s, b, Binary::Div)),
            None => Err(Error::internal("no sparse operand")),
        },
        _ => Err(Error::refused(
            "a quotient by a sparse array divides by zero",
        )),
    });
    r.mixed::<DotGeneral, Bcoo, _>(op::DOT_GENERAL, |p, x| match x {
        [a, b] => dot(p, a, b),
        _ => Err(Error::internal("a contraction takes two operands")),
    });
    r.unary(op::TRANSPOSE, transpose);
    r.unary(op::RESHAPE, |p: &Reshape, b: &Bcoo| {
        reshape(&p.new_sizes, b)
    });
    r.unary(op::BROADCAST_IN_DIM, broadcast);
    r.unary(op::SQUEEZE, squeeze);
    r.unary(op::SLICE, slice);
    r.unary(op::REV, rev);
    r.unary(op::REDUCE_SUM, reduce_sum);
    r.mixed::<Concatenate, Bcoo, _>(op::CONCATENATE, concat);
    r.mixed::<Pad, Bcoo, _>(op::PAD, |p, x| match x {
        [b, with] => match b.value::<Bcoo>() {
            Some(b) => pad(p, b, with),
            None => Err(Error::refused("`pad` with a sparse number")),
        },
        _ => Err(Error::internal("`pad` takes two operands")),
    });
}
