//! The product of a sparse matrix, given by its entries, with a dense one; and its derivative by the entries.

use crate::{
    array::{Array, Aval, DType, Stored, numpy::concatenate},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, CustomPrimitive, Inner, Jvp, Op, Param, Params,
            Primitive, Tangent, batch_to_front,
        },
    },
};
use rayon::prelude::*;
use std::{
    any::Any,
    borrow::Cow,
    ops::{AddAssign, Mul},
    sync::Arc,
};

/// `data [e], places i32[e, 2], dense [k, n]` to the `[m, n]` whose row `places[e, 0]` has `data[e] · dense[places[e, 1]]` added; the other way
/// around if it is `transposed`. Entries outside are dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct CooProduct {
    /// The number of rows of the result.
    pub(super) m: usize,
    /// Do the places say the column first?
    pub(super) transposed: bool,
}

/// `left [m, n], places i32[e, 2], right [k, n]` to the `[e]` products of row `places[e, 0]` of one with row `places[e, 1]` of the other; zero for
/// entries outside.
#[derive(Clone, Copy, Debug)]
struct CooSampled;

fn apply(op: impl CustomPrimitive, x: [&Array; 3]) -> Array {
    let op: Arc<dyn CustomPrimitive> = Arc::new(op);
    bind(Op::Custom(op), &x)
}

impl CooProduct {
    pub(super) fn of(self, x: [&Array; 3]) -> Array {
        apply(self, x)
    }
}

fn three<T>(x: &[T]) -> Result<&[T; 3]> {
    x.try_into()
        .map_err(|_| Error::internal("a sparse product takes three operands"))
}

/// Rows of a matrix, zeros where there are none.
pub(super) fn rows_of(x: &Array, rows: &Array) -> Array {
    let n = x.shape().first().copied().unwrap_or(0);
    let inside = rows.ge(0) & rows.lt(n as i64);
    let safe = inside.select(rows, 0);
    let taken = match n {
        0 => {
            let mut shape = rows.shape().to_vec();
            shape.extend(x.shape().iter().skip(1));
            Array::zeros(shape, x.dtype().unwrap_or(DType::F32))
        }
        _ => x.take(&safe, 0),
    };
    let mut mask = inside;
    while mask.ndim() < taken.ndim() {
        mask = mask.expand_dims(-1);
    }
    mask.select(&taken, Array::zeros_like(&taken))
}

/// Are these the places of so many entries?
fn are_places(places: &Aval) -> bool {
    places.ndim() == 2 && places.shape.last() == Some(&2) && places.dtype == DType::I32
}

fn is_real(a: &Aval) -> bool {
    matches!(a.dtype, DType::F32 | DType::F64)
}

fn unfit(name: &str, x: &[&Aval]) -> Error {
    let all: Vec<String> = x.iter().map(|a| a.to_string()).collect();
    Error::shape(format!("`{name}` of {}", all.join(", ")))
}

fn both(a: Tangent, b: Tangent) -> Tangent {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// The entries of all examples as those of one block-diagonal matrix, `rows` and `columns` of each block.
fn blocks(places: &Array, size: usize, rows: usize, columns: usize) -> Result<Array> {
    let [_, e, _] = places.dims()?;
    let column = |i: usize, n: usize| {
        let p = places.slice_in_dim(i, i + 1, -1);
        let block = Array::iota([size, e, 1], 0, DType::I32) * n as i32;
        (p.ge(0) & p.lt(n as i32)).select(p + block, -1)
    };
    let all = concatenate(&[column(0, rows), column(1, columns)], -1);
    all.reshape([size * e, 2]).ok().cloned()
}

/// The rows of all examples, one below the other.
fn below(x: &Array, d: Option<usize>, size: usize) -> Result<(Array, usize)> {
    let x = batch_to_front(x, d, size);
    let [_, rows, n] = x.dims()?;
    Ok((x.reshape([size * rows, n]), rows))
}

macro_rules! names {
    ($name:literal) => {
        fn name(&self) -> &'static str {
            $name
        }
        fn axes(&self, _: &[&Aval]) -> Axes {
            Axes::Opaque
        }
        fn inner(&self) -> Option<&dyn Inner> {
            None
        }
    };
}

impl Primitive for CooProduct {
    names!("coo_product");
    fn params(&self) -> Params {
        vec![
            ("rows", Param::text(self.m)),
            ("transposed", Param::bool(self.transposed)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [data, places, dense] = three(x)?;
        let fits = data.ndim() == 1
            && are_places(places)
            && places.shape.first() == data.shape.first()
            && dense.ndim() == 2
            && data.dtype == dense.dtype
            && is_real(data);
        match (fits, dense.shape.last()) {
            (true, Some(n)) => Ok(Avals::from_iter([Aval::new([self.m, *n], data.dtype)])),
            _ => Err(unfit(self.name(), x)),
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let ([data, places, dense], [dt, _, st]) = (three(x)?, three(t)?);
        let y = self.of([data, places, dense]);
        let by_data = dt.as_ref().map(|t| self.of([t, places, dense]));
        let by_dense = st.as_ref().map(|t| self.of([data, places, t]));
        Ok((vec![y], vec![both(by_data, by_dense)]))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = ct.first().and_then(Option::as_ref) else {
            return Ok(vec![None; 3]);
        };
        let [data, Arg::Known(places), dense] = three(x)? else {
            return Err(Error::internal("positions are not linear"));
        };
        let m = dense.aval()?.shape.first().copied().unwrap_or(0);
        Ok(match (data, dense) {
            (Arg::Known(data), Arg::Linear(_)) => {
                let back = CooProduct {
                    m,
                    transposed: !self.transposed,
                };
                vec![None, None, Some(back.of([data, places, ct]))]
            }
            (Arg::Linear(_), Arg::Known(dense)) => {
                let pair = match self.transposed {
                    true => [dense, places, ct],
                    false => [ct, places, dense],
                };
                vec![Some(apply(CooSampled, pair)), None, None]
            }
            _ => return Err(Error::internal("a product of two linear operands")),
        })
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([data, places, dense], [d, p, s]) = (three(x)?, three(dims)?);
        let size = axis.size;
        if let (None, None) = (d, p) {
            // More columns.
            let x = batch_to_front(dense, *s, size);
            let [_, k, n] = x.dims()?;
            let wide = x.transpose([1, 0, 2]).reshape([k, size * n]);
            let y = self.of([data, places, &wide]);
            return Ok((vec![y.reshape([self.m, size, n])], vec![Some(1)]));
        }
        // A block-diagonal matrix of all examples.
        let (dense, k) = below(dense, *s, size)?;
        let (rows, columns) = match self.transposed {
            true => (k, self.m),
            false => (self.m, k),
        };
        let data = batch_to_front(data, *d, size);
        let data = data.reshape([data.size()]);
        let places = blocks(&batch_to_front(places, *p, size), size, rows, columns)?;
        let [_, n] = dense.dims()?;
        let y = CooProduct {
            m: self.m * size,
            ..*self
        };
        let y = y.of([&data, &places, &dense]);
        Ok((vec![y.reshape([size, self.m, n])], vec![Some(0)]))
    }
}

impl Primitive for CooSampled {
    names!("coo_sampled");
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [left, places, right] = three(x)?;
        let fits = left.ndim() == 2
            && right.ndim() == 2
            && left.shape.last() == right.shape.last()
            && left.dtype == right.dtype
            && is_real(left)
            && are_places(places);
        match (fits, places.shape.first()) {
            (true, Some(e)) => Ok(Avals::from_iter([Aval::new([*e], left.dtype)])),
            _ => Err(unfit(self.name(), x)),
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let ([left, places, right], [lt, _, rt]) = (three(x)?, three(t)?);
        let y = apply(*self, [left, places, right]);
        let by_left = lt.as_ref().map(|t| apply(*self, [t, places, right]));
        let by_right = rt.as_ref().map(|t| apply(*self, [left, places, t]));
        Ok((vec![y], vec![both(by_left, by_right)]))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = ct.first().and_then(Option::as_ref) else {
            return Ok(vec![None; 3]);
        };
        let [left, Arg::Known(places), right] = three(x)? else {
            return Err(Error::internal("positions are not linear"));
        };
        let rows = |x: &Arg| -> Result<usize> { Ok(x.aval()?.shape.first().copied().unwrap_or(0)) };
        Ok(match (left, right) {
            (Arg::Linear(_), Arg::Known(right)) => {
                let back = CooProduct {
                    m: rows(left)?,
                    transposed: false,
                };
                vec![Some(back.of([ct, places, right])), None, None]
            }
            (Arg::Known(left), Arg::Linear(_)) => {
                let back = CooProduct {
                    m: rows(right)?,
                    transposed: true,
                };
                vec![None, None, Some(back.of([ct, places, left]))]
            }
            _ => return Err(Error::internal("a product of two linear operands")),
        })
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([left, places, right], [l, p, r]) = (three(x)?, three(dims)?);
        let size = axis.size;
        let ((left, m), (right, k)) = (below(left, *l, size)?, below(right, *r, size)?);
        let places = batch_to_front(places, *p, size);
        let [_, e, _] = places.dims()?;
        let places = blocks(&places, size, m, k)?;
        let y = apply(*self, [&left, &places, &right]);
        Ok((vec![y.reshape([size, e])], vec![Some(0)]))
    }
}

/// Where entries stand: rows of the result, columns of the matrix.
struct Places<'a> {
    all: &'a [[i32; 2]],
    transposed: bool,
    m: usize,
    k: usize,
}

impl Places<'_> {
    /// Row and column of an entry that is inside.
    fn get(&self, e: usize) -> Option<(usize, usize)> {
        let [a, b] = self.all.get(e)?;
        let (r, c) = if self.transposed { (b, a) } else { (a, b) };
        let r = usize::try_from(*r).ok().filter(|r| *r < self.m)?;
        let c = usize::try_from(*c).ok().filter(|c| *c < self.k)?;
        Some((r, c))
    }

    /// The entries of each row: `starts` of the rows in an order, which is left out where entries stand row by row already. Those outside
    /// are left out.
    fn by_row(&self) -> (Vec<usize>, Option<Vec<u32>>) {
        let mut starts = vec![0usize; self.m + 1];
        let (mut ordered, mut last) = (true, 0);
        for e in 0..self.all.len() {
            let Some((r, _)) = self.get(e) else {
                ordered = false;
                continue;
            };
            ordered &= last <= r;
            last = r;
            if let Some(n) = starts.get_mut(r + 1) {
                *n += 1;
            }
        }
        let mut sum = 0;
        for n in &mut starts {
            sum += *n;
            *n = sum;
        }
        if ordered {
            return (starts, None);
        }
        let mut next = starts.clone();
        let mut order = vec![0u32; sum];
        for e in 0..self.all.len() {
            let Some(at) = self.get(e).and_then(|(r, _)| next.get_mut(r)) else {
                continue;
            };
            if let Some(slot) = order.get_mut(*at) {
                *slot = e as u32;
            }
            *at += 1;
        }
        (starts, Some(order))
    }
}

/// How many columns are summed at a time, in registers.
const WIDTH: usize = 32;
/// About how many rows one thread takes at a time.
const ROWS: usize = 32;

/// The sum of an entry's number times a row of the dense matrix, over the entries of one row.
fn one_row<T>(
    entries: impl Iterator<Item = (T, usize)> + Clone,
    dense: &[T],
    n: usize,
    out: &mut [T],
) where
    T: Copy + Default + AddAssign + Mul<Output = T>,
{
    let (blocks, rest) = out.as_chunks_mut::<WIDTH>();
    let mut from = 0;
    for block in blocks {
        let mut sums = [T::default(); WIDTH];
        for (x, c) in entries.clone() {
            let source = dense
                .get(c * n + from..)
                .and_then(|s| s.first_chunk::<WIDTH>());
            if let Some(source) = source {
                for (o, s) in sums.iter_mut().zip(source) {
                    *o += x * *s;
                }
            }
        }
        *block = sums;
        from += WIDTH;
    }
    if rest.is_empty() {
        return;
    }
    for (x, c) in entries {
        let source = dense.get(c * n + from..(c + 1) * n).unwrap_or_default();
        for (o, s) in rest.iter_mut().zip(source) {
            *o += x * *s;
        }
    }
}

fn product<T>(data: &[T], places: &Places<'_>, dense: &[T], n: usize) -> Vec<T>
where
    T: Copy + Default + Send + Sync + AddAssign + Mul<Output = T>,
{
    let mut out = vec![T::default(); places.m * n];
    if n == 0 {
        return out;
    }
    let (starts, order) = places.by_row();
    let column = usize::from(!places.transposed);
    let row = |r: usize, out: &mut [T]| {
        let range = starts.get(r).copied().zip(starts.get(r + 1).copied());
        let (from, to) = range.unwrap_or_default();
        match &order {
            None => {
                let all = data.get(from..to).zip(places.all.get(from..to));
                let (data, places) = all.unwrap_or_default();
                let at = |p: &[i32; 2]| if column == 1 { p[1] } else { p[0] };
                let entries = data.iter().zip(places).map(|(x, p)| (*x, at(p) as usize));
                one_row(entries, dense, n, out);
            }
            Some(order) => {
                let order = order.get(from..to).unwrap_or_default();
                let entries = order.iter().filter_map(|e| {
                    let e = *e as usize;
                    Some((*data.get(e)?, places.get(e)?.1))
                });
                one_row(entries, dense, n, out);
            }
        }
    };
    out.par_chunks_mut(ROWS * n)
        .enumerate()
        .for_each(|(i, chunk)| {
            for (j, out) in chunk.chunks_mut(n).enumerate() {
                row(i * ROWS + j, out);
            }
        });
    out
}

/// The product of two rows, in sums of eight.
fn row_product<T>(a: &[T], b: &[T]) -> T
where
    T: Copy + Default + AddAssign + Mul<Output = T>,
{
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [T::default(); 8];
    for (a, b) in a.iter().zip(b) {
        for ((s, x), y) in sums.iter_mut().zip(a).zip(b) {
            *s += *x * *y;
        }
    }
    let mut total = T::default();
    for s in sums {
        total += s;
    }
    for (x, y) in a_rest.iter().zip(b_rest) {
        total += *x * *y;
    }
    total
}

/// The numbers of an array in order, where they are if they stand so.
fn numbers<T: Stored>(x: &Array) -> Result<Cow<'_, [T]>> {
    match x.buffer().and_then(|b| b.as_slice::<T>()) {
        Some(all) => Ok(Cow::Borrowed(all)),
        None => Ok(Cow::Owned(x.to_vec::<T>()?)),
    }
}

fn run<T>(x: &[Array; 3], m: usize, transposed: bool) -> Result<Array>
where
    T: Stored + Copy + Default + Send + Sync + AddAssign + Mul<Output = T>,
{
    let [data, places, dense] = x;
    let [k, n] = dense.dims()?;
    let places = numbers::<i32>(places)?;
    let places = Places {
        all: places.as_chunks::<2>().0,
        transposed,
        m,
        k,
    };
    let y = product(&numbers::<T>(data)?, &places, &numbers::<T>(dense)?, n);
    Ok(Array::new([m, n], y))
}

fn sampled<T>(x: &[Array; 3]) -> Result<Array>
where
    T: Stored + Copy + Default + Send + Sync + AddAssign + Mul<Output = T>,
{
    let [left, places, right] = x;
    let ([m, n], [k, _]) = (left.dims()?, right.dims()?);
    let (left, right) = (numbers::<T>(left)?, numbers::<T>(right)?);
    let places = numbers::<i32>(places)?;
    let places = Places {
        all: places.as_chunks::<2>().0,
        transposed: false,
        m,
        k,
    };
    let one = |e: usize| -> T {
        let rows = places.get(e).and_then(|(r, c)| {
            let a = left.get(r * n..(r + 1) * n)?;
            Some((a, right.get(c * n..(c + 1) * n)?))
        });
        rows.map_or(T::default(), |(a, b)| row_product(a, b))
    };
    let count = places.all.len();
    let y: Vec<T> = (0..count)
        .into_par_iter()
        .with_min_len(1024)
        .map(one)
        .collect();
    Ok(Array::new([count], y))
}

impl CustomPrimitive for CooProduct {
    fn eval(&self, x: &[Array]) -> Result<Vec<Array>> {
        let x = three(x)?;
        Ok(vec![match x[0].dtype()? {
            DType::F64 => run::<f64>(x, self.m, self.transposed)?,
            _ => run::<f32>(x, self.m, self.transposed)?,
        }])
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl CustomPrimitive for CooSampled {
    fn eval(&self, x: &[Array]) -> Result<Vec<Array>> {
        let x = three(x)?;
        Ok(vec![match x[0].dtype()? {
            DType::F64 => sampled::<f64>(x)?,
            _ => sampled::<f32>(x)?,
        }])
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
