//! `dot_general` by as few matrix products as the strides of its operands allow.

use super::{
    kernels::{
        Level,
        elementwise::Function,
        gemm::{Gemm, Matrix, Multiply},
        strided::{self, Axes, Pairs, axes_of, count, merge, merged_pairs, offset, offsets},
        threads,
    },
    parallel,
    storage::{Pool, zeros},
    tiled::{Operand, Program},
};
use crate::{
    array::{Aval, Buffer, DType, Dims, buffer::row_major},
    error::{Error, Result},
    trace::op::{DotGeneral, remaining},
};
use num_complex::Complex;
use smallvec::{SmallVec, smallvec};
use std::{borrow::Cow, sync::Arc};

/// One operand: what a stack of matrices is read from.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    pub storage: &'a [T],
    pub offset: usize,
}

fn broken() -> Error {
    Error::internal("a contraction does not fit its operands")
}

/// A contraction whose axes have been sorted out, for operands of certain strides.
#[derive(Clone, Debug)]
pub(super) struct Contraction {
    pub batch: Pairs,
    pub own: [Axes; 2],
    pub sum: Pairs,
    /// The one matrix product that it is, if it is one.
    single: Option<Single>,
}

/// One matrix product: its sizes, and the steps of the operands' rows and columns.
#[derive(Clone, Copy, Debug)]
struct Single {
    size: [usize; 3],
    x: [isize; 2],
    y: [isize; 2],
}

/// A `dot_general` of operands of certain shapes, planned once.
#[derive(Debug)]
pub(super) struct Contract {
    params: Arc<DotGeneral>,
    shapes: [Dims; 2],
    /// For operands in row-major order.
    dense: Contraction,
}

impl Contract {
    /// Plan for operands of these shapes.
    pub(super) fn new(params: &Arc<DotGeneral>, x: &[usize], y: &[usize]) -> Contract {
        let (s, t) = (row_major(x), row_major(y));
        Contract {
            dense: Contraction::new(params, (x, &s), (y, &t)),
            params: params.clone(),
            shapes: [x.into(), y.into()],
        }
    }

    /// How many products each element of the result is the sum of.
    pub(super) fn terms(&self) -> usize {
        let [x, _] = &self.shapes;
        let size = |i: &usize| x.get(*i).copied().unwrap_or(1);
        self.params.lhs_contract.iter().map(size).product()
    }

    /// The sizes of the stack, and of the matrices in it: rows, columns, products.
    pub(super) fn sizes(&self) -> (usize, [usize; 3]) {
        let Contraction {
            batch, own, sum, ..
        } = &self.dense;
        let pairs = |a: &Pairs| a.iter().map(|(n, _, _)| *n).product::<usize>();
        let [x, y] = own;
        (pairs(batch), [count(x), count(y), pairs(sum)])
    }

    /// The sizes of the matrix products that it consists of, for operands in row-major order.
    pub(super) fn inner_sizes(&self) -> [usize; 3] {
        let Contraction { own, sum, .. } = &self.dense;
        let last = |a: &Axes| a.last().map_or(1, |(n, _)| *n);
        let [x, y] = own;
        [last(x), last(y), sum.last().map_or(1, |s| s.0)]
    }

    /// The plan for operands in row-major order, if these are.
    fn dense(&self, x: &Buffer, y: &Buffer) -> Option<&Contraction> {
        let [s, t] = &self.shapes;
        let dense = x.is_contiguous() && y.is_contiguous();
        (dense && x.shape() == &s[..] && y.shape() == &t[..]).then_some(&self.dense)
    }

    /// The axes sorted out for these operands.
    pub(super) fn planned(&self, x: &Buffer, y: &Buffer) -> Cow<'_, Contraction> {
        if let Some(dense) = self.dense(x, y) {
            return Cow::Borrowed(dense);
        }
        let (x, y) = ((x.shape(), x.strides()), (y.shape(), y.strides()));
        Cow::Owned(Contraction::new(&self.params, x, y))
    }

    /// Run it.
    pub(super) fn run(
        &self,
        x: &Buffer,
        y: &Buffer,
        out: &Arc<Aval>,
        pool: &mut Pool,
    ) -> Result<Buffer> {
        dot_general(&self.params, self.dense(x, y), x, y, out, pool)
    }
}

/// The sum of products, in the type of the result; `f16` and `bf16` are summed in `f32`. `plan` is that of operands of these strides,
/// where it has been made.
pub(super) fn dot_general(
    p: &DotGeneral,
    plan: Option<&Contraction>,
    x: &Buffer,
    y: &Buffer,
    out: &Arc<Aval>,
    pool: &mut Pool,
) -> Result<Buffer> {
    let wide = match out.dtype {
        DType::F16 | DType::BF16 => DType::F32,
        d => d,
    };
    let (mut wide_x, mut wide_y) = (None, None);
    if x.dtype() != wide {
        wide_x = Some(converted(x, wide, pool)?);
    }
    if y.dtype() != wide {
        wide_y = Some(converted(y, wide, pool)?);
    }
    let (x, y) = (wide_x.as_ref().unwrap_or(x), wide_y.as_ref().unwrap_or(y));
    let planned;
    let c = match plan {
        Some(c) => c,
        None => {
            planned = Contraction::new(p, (x.shape(), x.strides()), (y.shape(), y.strides()));
            &planned
        }
    };
    let aval = if wide == out.dtype {
        out.clone()
    } else {
        Arc::new(out.with_dtype(wide))
    };
    let mut data = pool.take_for(&aval)?;
    {
        let data = Arc::get_mut(&mut data).ok_or_else(broken)?;
        macro_rules! run {
            ($T:ty, $by:expr) => {{
                let z = <$T as crate::array::Stored>::vec_mut(data).ok_or_else(broken)?;
                contract::<$T>(p, c, x, y, z, $by)?
            }};
        }
        match wide {
            DType::F32 => run!(f32, by_gemm::<f32>),
            DType::F64 => run!(f64, by_gemm::<f64>),
            DType::C64 => run!(Complex<f32>, by_gemm::<Complex<f32>>),
            DType::C128 => run!(Complex<f64>, by_gemm::<Complex<f64>>),
            DType::Bool => run!(bool, by_loops::<bool>),
            DType::I8 => run!(i8, by_loops::<i8>),
            DType::I16 => run!(i16, by_loops::<i16>),
            DType::I32 => run!(i32, by_loops::<i32>),
            DType::I64 => run!(i64, by_loops::<i64>),
            DType::U8 => run!(u8, by_loops::<u8>),
            DType::U16 => run!(u16, by_loops::<u16>),
            DType::U32 => run!(u32, by_loops::<u32>),
            DType::U64 => run!(u64, by_loops::<u64>),
            DType::F16 | DType::BF16 => return Err(broken()),
        }
    }
    for b in [wide_x, wide_y].into_iter().flatten() {
        pool.give(b);
    }
    let z = Buffer::from_storage(aval, data);
    if wide == out.dtype {
        return Ok(z);
    }
    let narrow = Program::single(Function::Convert, wide, out.dtype, 1);
    let z = narrow.run(
        smallvec![Operand::Owned(z)],
        std::slice::from_ref(out),
        pool,
    )?;
    z.into_iter().next().ok_or_else(broken)
}

/// The same numbers in another type.
pub(super) fn converted(x: &Buffer, dtype: DType, pool: &mut Pool) -> Result<Buffer> {
    let convert = Program::single(Function::Convert, x.dtype(), dtype, 1);
    let out = Arc::new(x.aval().with_dtype(dtype));
    let y = convert.run(smallvec![Operand::Shared(x)], &[out], pool)?;
    y.into_iter().next().ok_or_else(broken)
}

type Product<T> =
    fn([usize; 3], Matrix<'_, T>, Matrix<'_, T>, &mut [T], usize, bool, usize) -> Result<()>;

fn by_loops<T: Multiply>(
    size: [usize; 3],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: &mut [T],
    step: usize,
    accumulate: bool,
    _: usize,
) -> Result<()> {
    T::product(Level::get(), size, x, y, z, step, accumulate);
    Ok(())
}

fn by_gemm<T: Gemm>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: &mut [T],
    step: usize,
    accumulate: bool,
    threads: usize,
) -> Result<()> {
    const SMALL: usize = 4096;
    if m * n * k <= SMALL {
        return by_loops([m, n, k], x, y, z, step, accumulate, 1);
    }
    if m == 1 {
        return by_vector([n, k], y.turned(), x.turned(), z, 1, accumulate);
    }
    if n == 1 {
        return by_vector([m, k], x, y, z, step, accumulate);
    }
    T::gemm([m, n, k], x, y, z, step, accumulate, threads)
}

/// A matrix times a vector.
fn by_vector<T: Gemm>(
    [m, k]: [usize; 2],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: &mut [T],
    step: usize,
    accumulate: bool,
) -> Result<()> {
    let parts = parallel::parts(m as f64 * k as f64 * 0.08);
    if parts == 1 || step != 1 {
        return by_loops([m, 1, k], x, y, z, step, accumulate, 1);
    }
    let rows = m.div_ceil(parts);
    let chunks: Vec<(usize, &mut [T])> = z.chunks_mut(rows).enumerate().collect();
    parallel::each(chunks, &|(i, z)| {
        let x = Matrix {
            offset: x.offset.wrapping_add_signed((i * rows) as isize * x.rows),
            ..x
        };
        T::product(Level::get(), [z.len(), 1, k], x, y, z, 1, accumulate);
    });
    Ok(())
}

/// Shape and strides.
type Layout<'a> = (&'a [usize], &'a [isize]);

impl Contraction {
    fn new(p: &DotGeneral, x: Layout<'_>, y: Layout<'_>) -> Contraction {
        let pairs = |a: &[usize], b: &[usize]| -> Pairs {
            let (a, b) = (axes_of(x, a), axes_of(y, b));
            a.into_iter()
                .zip(b)
                .map(|((n, s), (_, t))| (n, s, t))
                .collect()
        };
        let mut sum = pairs(&p.lhs_contract, &p.rhs_contract);
        // The order of summation is free: slowest first, so that neighbours merge.
        sum.sort_by_key(|(_, s, t)| std::cmp::Reverse((s.unsigned_abs(), t.unsigned_abs())));
        let own_x = remaining(x.0.len(), &p.lhs_contract, &p.lhs_batch);
        let own_y = remaining(y.0.len(), &p.rhs_contract, &p.rhs_batch);
        let mut c = Contraction {
            batch: merged_pairs(pairs(&p.lhs_batch, &p.rhs_batch)),
            own: [merge(axes_of(x, &own_x)), merge(axes_of(y, &own_y))],
            sum: merged_pairs(sum),
            single: None,
        };
        let [own_x, own_y] = &c.own;
        if c.batch.is_empty() && own_x.len() <= 1 && own_y.len() <= 1 && c.sum.len() <= 1 {
            let (m, rows) = own_x.first().copied().unwrap_or((1, 1));
            let (n, columns) = own_y.first().copied().unwrap_or((1, 1));
            let (k, across, down) = c.sum.first().copied().unwrap_or((1, 1, 1));
            c.single = Some(Single {
                size: [m, n, k],
                x: [rows, across],
                y: [down, columns],
            });
        }
        c
    }

    /// How many elements the innermost matrix products multiply, and whether there are loops around them besides the batch.
    fn inner(&self) -> (usize, bool) {
        let last = |a: &Axes| a.last().map_or(1, |(n, _)| *n);
        let [x, y] = &self.own;
        let k = self.sum.last().map_or(1, |s| s.0);
        let loops = x.len() > 1 || y.len() > 1 || self.sum.len() > 1;
        (last(x) * last(y) * k, loops)
    }
}

fn contract<T: Multiply>(
    p: &DotGeneral,
    c: &Contraction,
    x: &Buffer,
    y: &Buffer,
    z: &mut [T],
    multiply: Product<T>,
) -> Result<()> {
    if z.is_empty() {
        return Ok(());
    }
    if c.sum.iter().any(|s| s.0 == 0) {
        z.fill(T::ZERO);
        return Ok(());
    }
    if let Some(s) = c.single {
        let [[rows, across], [down, columns]] = [s.x, s.y];
        let a = Matrix {
            storage: x.storage::<T>().ok_or_else(broken)?,
            offset: x.offset(),
            rows,
            columns: across,
        };
        let b = Matrix {
            storage: y.storage::<T>().ok_or_else(broken)?,
            offset: y.offset(),
            rows: down,
            columns,
        };
        let [_, n, _] = s.size;
        return multiply(s.size, a, b, z, n, false, threads());
    }
    // Products too small to be worth calls of their own are made large by a copy.
    const WORTH: usize = 1 << 15;
    if let (size, true) = c.inner()
        && size < WORTH
    {
        let mut copies: [Option<Vec<T>>; 2] = [None, None];
        let mut strides: [SmallVec<[isize; 4]>; 2] = [x.strides().into(), y.strides().into()];
        for (i, b) in [x, y].into_iter().enumerate() {
            let (batch, sum) = if i == 0 {
                (&p.lhs_batch, &p.lhs_contract)
            } else {
                (&p.rhs_batch, &p.rhs_contract)
            };
            let own = remaining(b.shape().len(), sum, batch);
            let order: Dims = batch.iter().chain(&own).chain(sum).copied().collect();
            let axes = axes_of((b.shape(), b.strides()), &order);
            let mut copy = zeros::<T>(b.len())?;
            let storage = b.storage::<T>().ok_or_else(broken)?;
            strided::copy(storage, b.offset(), &merge(axes.clone()), &mut copy);
            let mut step = 1;
            for (axis, (n, _)) in order.iter().zip(&axes).rev() {
                if let Some(s) = strides.get_mut(i).and_then(|s| s.get_mut(*axis)) {
                    *s = step;
                }
                step *= *n as isize;
            }
            if let Some(slot) = copies.get_mut(i) {
                *slot = Some(copy);
            }
        }
        let [a, b] = copies;
        let [s, t] = strides;
        let dense = |v: Option<Vec<T>>, like: &Buffer, s: SmallVec<[isize; 4]>| {
            let v = v.ok_or_else(broken)?;
            let flat = Buffer::new([v.len()].as_slice(), v)?;
            flat.view(like.shape().into(), s, 0)
        };
        let (x, y) = (dense(a, x, s)?, dense(b, y, t)?);
        let c = Contraction::new(p, (x.shape(), x.strides()), (y.shape(), y.strides()));
        return stacked(&c, &x, &y, z, multiply);
    }
    stacked(c, x, y, z, multiply)
}

/// Over the batch, in threads where one product is too small to be split.
fn stacked<T: Multiply>(
    c: &Contraction,
    x: &Buffer,
    y: &Buffer,
    z: &mut [T],
    multiply: Product<T>,
) -> Result<()> {
    let x = View {
        storage: x.storage::<T>().ok_or_else(broken)?,
        offset: x.offset(),
    };
    let y = View {
        storage: y.storage::<T>().ok_or_else(broken)?,
        offset: y.offset(),
    };
    let stack: usize = c.batch.iter().map(|b| b.0).product();
    let plane = z.len() / stack.max(1);
    let sum: usize = c.sum.iter().map(|s| s.0).product();
    let each = plane as f64 * sum as f64;
    let parts = if each > 4e6 {
        1
    } else {
        parallel::parts(each * stack as f64 * 0.02).min(stack.max(1))
    };
    let run = |from: usize, z: &mut [T], threads: usize| -> Result<()> {
        for (i, z) in z.chunks_exact_mut(plane.max(1)).enumerate() {
            let (mut a, mut b) = (x, y);
            let [s, t] = offsets(&c.batch, from + i);
            a.offset = a.offset.wrapping_add_signed(s);
            b.offset = b.offset.wrapping_add_signed(t);
            matrices(c, a, b, z, multiply, threads)?;
        }
        Ok(())
    };
    if parts == 1 {
        return run(0, z, threads());
    }
    let size = stack.div_ceil(parts);
    let chunks: Vec<(usize, &mut [T])> = z.chunks_mut(size * plane).enumerate().collect();
    let failed = std::sync::Mutex::new(None);
    parallel::each(chunks, &|(i, z)| {
        if let Err(e) = run(i * size, z, 1)
            && let Ok(mut first) = failed.lock()
        {
            *first = Some(e);
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(e)) => Err(e),
        Err(_) => Err(broken()),
    }
}

/// One entry of the batch: loops over the axes that did not merge, around matrix products.
fn matrices<T: Multiply>(
    c: &Contraction,
    x: View<'_, T>,
    y: View<'_, T>,
    z: &mut [T],
    multiply: Product<T>,
    threads: usize,
) -> Result<()> {
    let split = |a: &Axes| -> (Axes, (usize, isize)) {
        match a.split_last() {
            Some((last, outer)) => (outer.iter().copied().collect(), *last),
            None => (Axes::new(), (1, 1)),
        }
    };
    let [own_x, own_y] = &c.own;
    let ((outer_x, (m, row)), (outer_y, (n, column))) = (split(own_x), split(own_y));
    let (outer_sum, (k, across, down)) = match c.sum.split_last() {
        Some((last, outer)) => (outer, *last),
        None => (&[][..], (1, 1, 1)),
    };
    let sums: usize = outer_sum.iter().map(|s| s.0).product();
    let (rows, columns) = (count(&outer_x), count(&outer_y));
    let step = n * columns;
    for i in 0..rows {
        for j in 0..columns {
            let from = i * m * step + j * n;
            let z = z.get_mut(from..).ok_or_else(broken)?;
            let z = z.get_mut(..(m - 1) * step + n).ok_or_else(broken)?;
            for l in 0..sums {
                let [across_x, down_y] = offsets(outer_sum, l);
                let s = offset(&outer_x, i) + across_x;
                let t = offset(&outer_y, j) + down_y;
                let a = Matrix {
                    storage: x.storage,
                    offset: x.offset.wrapping_add_signed(s),
                    rows: row,
                    columns: across,
                };
                let b = Matrix {
                    storage: y.storage,
                    offset: y.offset.wrapping_add_signed(t),
                    rows: down,
                    columns: column,
                };
                multiply([m, n, k], a, b, z, step, l > 0, threads)?;
            }
        }
    }
    Ok(())
}
