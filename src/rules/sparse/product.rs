//! The product of a sparse matrix, given by its entries, with a dense one.

use crate::{
    array::{Array, Aval, DType, Dims, Stored},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, CustomPrimitive, Inner, Jvp, Op, Param, Params,
            Primitive, Tangent,
        },
    },
};
use rayon::prelude::*;
use std::{any::Any, ops::AddAssign, ops::Mul, sync::Arc};

/// `data [e], rows i64[e], columns i64[e], dense [k, n]` to the `[m, n]` whose row `rows[e]` has `data[e] · dense[columns[e]]` added.
/// Entries outside are dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct CooProduct {
    /// The number of rows of the result.
    pub(super) m: usize,
}

impl CooProduct {
    pub(super) fn of(self, x: [&Array; 4]) -> Array {
        let op: Arc<dyn CustomPrimitive> = Arc::new(self);
        bind(Op::Custom(op), &x)
    }
}

fn four<T>(x: &[T]) -> Result<&[T; 4]> {
    x.try_into()
        .map_err(|_| Error::internal("a sparse product takes four operands"))
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

impl Primitive for CooProduct {
    fn name(&self) -> &'static str {
        "coo_product"
    }
    fn params(&self) -> Params {
        vec![("rows", Param::text(self.m))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [data, rows, columns, dense] = four(x)?;
        let entries = data.shape.as_slice();
        let fits = entries.len() == 1
            && dense.ndim() == 2
            && data.dtype == dense.dtype
            && matches!(data.dtype, DType::F32 | DType::F64)
            && [rows, columns]
                .iter()
                .all(|i| i.shape == data.shape && i.dtype == DType::I64);
        match (fits, dense.shape.last()) {
            (true, Some(n)) => Ok(Avals::from_iter([Aval::new([self.m, *n], data.dtype)])),
            _ => Err(Error::shape(format!(
                "`coo_product` of {data}, {rows}, {columns} and {dense}"
            ))),
        }
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let ([data, rows, columns, dense], [dt, _, _, st]) = (four(x)?, four(t)?);
        let y = self.of([data, rows, columns, dense]);
        let by_data = dt.as_ref().map(|t| self.of([t, rows, columns, dense]));
        let by_dense = st.as_ref().map(|t| self.of([data, rows, columns, t]));
        let t = match (by_data, by_dense) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Ok((vec![y], vec![t]))
    }
    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = ct.first().and_then(Option::as_ref) else {
            return Ok(vec![None; 4]);
        };
        let [data, rows, columns, dense] = four(x)?;
        let (Arg::Known(rows), Arg::Known(columns)) = (rows, columns) else {
            return Err(Error::internal("positions are not linear"));
        };
        let m = dense.aval()?.shape.first().copied().unwrap_or(0);
        Ok(match (data, dense) {
            (Arg::Known(data), Arg::Linear(_)) => {
                let back = CooProduct { m }.of([data, columns, rows, ct]);
                vec![None, None, None, Some(back)]
            }
            (Arg::Linear(_), Arg::Known(dense)) => {
                let at = (rows_of(ct, rows) * rows_of(dense, columns)).sum(1);
                vec![Some(at), None, None, None]
            }
            _ => return Err(Error::internal("a product of two linear operands")),
        })
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (x, dims) = (four(x)?, four(dims)?);
        let front = |i: usize| -> Result<Array> {
            let (x, d) = x
                .get(i)
                .zip(dims.get(i))
                .ok_or_else(|| Error::internal("an operand is missing"))?;
            Ok(match d {
                Some(d) => {
                    let rest = (0..x.ndim()).filter(|j| j != d);
                    x.transpose(std::iter::once(*d).chain(rest).collect::<Dims>())
                }
                None => {
                    let mut shape = vec![axis.size];
                    shape.extend(x.shape().iter());
                    x.broadcast_in_dim(shape, (1..=x.ndim()).collect::<Dims>())
                }
            })
        };
        let [data, rows, columns, dense] = x;
        let [k, n] = match (dense.ndim(), dims) {
            (3, [.., Some(_)]) => {
                let x = front(3)?;
                let [_, k, n] = x.dims()?;
                [k, n]
            }
            _ => dense.dims()?,
        };
        if let [None, None, None, _] = dims {
            // More columns.
            let wide = front(3)?.transpose([1, 0, 2]).reshape([k, axis.size * n]);
            let y = self.of([data, rows, columns, &wide]);
            return Ok((vec![y.reshape([self.m, axis.size, n])], vec![Some(1)]));
        }
        // A block-diagonal matrix of all examples.
        let entries = front(0)?.size();
        let place = |i: usize, size: usize| -> Result<Array> {
            let p = front(i)?;
            let inside = p.ge(0) & p.lt(size as i64);
            let block = Array::iota(p.shape(), 0, DType::I64) * size as i64;
            Ok(inside.select(p + block, -1).reshape([entries]))
        };
        let y = CooProduct {
            m: self.m * axis.size,
        }
        .of([
            &front(0)?.reshape([entries]),
            &place(1, self.m)?,
            &place(2, k)?,
            &front(3)?.reshape([axis.size * k, n]),
        ]);
        Ok((vec![y.reshape([axis.size, self.m, n])], vec![Some(0)]))
    }
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}

/// The positions of entries, row by row; those outside are left out.
fn by_row(rows: &[i64], columns: &[i64], m: usize, k: usize) -> (Vec<usize>, Vec<u32>) {
    let inside = |(r, c): (&i64, &i64)| {
        let r = usize::try_from(*r).ok().filter(|r| *r < m)?;
        usize::try_from(*c).ok().filter(|c| *c < k).map(|_| r)
    };
    let places: Vec<Option<usize>> = rows.iter().zip(columns).map(inside).collect();
    let mut starts = vec![0usize; m + 1];
    for r in places.iter().flatten() {
        if let Some(n) = starts.get_mut(r + 1) {
            *n += 1;
        }
    }
    let mut sum = 0;
    for n in &mut starts {
        sum += *n;
        *n = sum;
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; sum];
    for (e, r) in places.iter().enumerate() {
        let Some(at) = r.and_then(|r| next.get_mut(r)) else {
            continue;
        };
        if let Some(slot) = order.get_mut(*at) {
            *slot = e as u32;
        }
        *at += 1;
    }
    (starts, order)
}

/// How many rows one thread takes at a time.
const ROWS: usize = 64;

fn product<T>(
    data: &[T],
    rows: &[i64],
    columns: &[i64],
    dense: &[T],
    [m, k, n]: [usize; 3],
) -> Vec<T>
where
    T: Copy + Default + Send + Sync + AddAssign + Mul<Output = T>,
{
    let mut out = vec![T::default(); m * n];
    if n == 0 {
        return out;
    }
    let (starts, order) = by_row(rows, columns, m, k);
    let row = |r: usize, out: &mut [T]| {
        let range = starts.get(r).copied().zip(starts.get(r + 1).copied());
        let entries = range.and_then(|(a, b)| order.get(a..b)).unwrap_or_default();
        for e in entries {
            let e = *e as usize;
            let (Some(x), Some(c)) = (data.get(e), columns.get(e)) else {
                continue;
            };
            let from = *c as usize * n;
            let Some(source) = dense.get(from..from + n) else {
                continue;
            };
            for (o, s) in out.iter_mut().zip(source) {
                *o += *x * *s;
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

fn run<T>(x: &[Array; 4], m: usize) -> Result<Array>
where
    T: Stored + Copy + Default + Send + Sync + AddAssign + Mul<Output = T>,
{
    let [data, rows, columns, dense] = x;
    let [k, n] = dense.dims()?;
    let y = product(
        &data.to_vec::<T>()?,
        &rows.to_vec::<i64>()?,
        &columns.to_vec::<i64>()?,
        &dense.to_vec::<T>()?,
        [m, k, n],
    );
    Ok(Array::new([m, n], y))
}

impl CustomPrimitive for CooProduct {
    fn eval(&self, x: &[Array]) -> Result<Vec<Array>> {
        let x = four(x)?;
        Ok(vec![match x[0].dtype()? {
            DType::F64 => run::<f64>(x, self.m)?,
            _ => run::<f32>(x, self.m)?,
        }])
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
