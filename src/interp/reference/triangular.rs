//! Triangular systems, as XLA solves them: diagonal blocks are inverted, and multiplied with.
//!
//! A block is scaled so that its diagonal is 1; row by row, what a row of the inverse is follows from the rows that are known. Sums
//! run in the element type, fused, in XLA's order, so that results are those of XLA's CPU back end rounding for rounding.

use crate::{
    array::{Aval, Buffer, DType, Dims, Stored, buffer::try_vec},
    error::{Error, Result},
    trace::op::TriangularSolve,
};
use half::{bf16, f16};
use num_complex::Complex;

/// Matrices up to this size are one block.
const BLOCK: usize = 256;

/// The numbers that systems are made of.
trait Field: Stored {
    /// `a·b + c`.
    fn fused(a: Self, b: Self, c: Self) -> Self;
    fn over(self, by: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn negated(self) -> Self;
    fn conjugate(self) -> Self;
}

macro_rules! field {
    ($($F:ident)*) => {$(
        impl Field for $F {
            fn fused(a: $F, b: $F, c: $F) -> $F {
                a.mul_add(b, c)
            }
            fn over(self, by: $F) -> $F {
                self / by
            }
            fn plus(self, other: $F) -> $F {
                self + other
            }
            fn negated(self) -> $F {
                -self
            }
            fn conjugate(self) -> $F {
                self
            }
        }
        impl Field for Complex<$F> {
            fn fused(a: Self, b: Self, c: Self) -> Self {
                let re = a.re.mul_add(b.re, -(a.im * b.im));
                let im = a.im.mul_add(b.re, a.re * b.im);
                Complex::new(re, im) + c
            }
            fn over(self, by: Self) -> Self {
                self / by
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn negated(self) -> Self {
                -self
            }
            fn conjugate(self) -> Self {
                self.conj()
            }
        }
    )*};
}
field!(f32 f64);

/// A square matrix in row-major order; outside of it there are zeros.
struct Square<T> {
    n: usize,
    elements: Vec<T>,
}

impl<T: Field> Square<T> {
    fn get(&self, i: usize, j: usize) -> T {
        self.elements
            .get(i * self.n + j)
            .copied()
            .unwrap_or(T::ZERO)
    }

    fn set(&mut self, i: usize, j: usize, x: T) {
        if let Some(slot) = self.elements.get_mut(i * self.n + j) {
            *slot = x;
        }
    }

    /// A block on the diagonal.
    fn block(&self, from: usize, size: usize) -> Square<T> {
        let elements = (0..size * size)
            .map(|k| self.get(from + k / size, from + k % size))
            .collect();
        Square { n: size, elements }
    }

    /// The inverse of the triangle, each element rounded.
    fn inverse(&self, lower: bool, unit: bool, round: fn(T) -> T) -> Square<T> {
        let n = self.n;
        let diagonal = |i: usize| if unit { T::ONE } else { self.get(i, i) };
        let mut y = Square {
            n,
            elements: vec![T::ZERO; n * n],
        };
        for step in 0..n {
            let i = if lower { step } else { n - 1 - step };
            let known = if lower { 0..i } else { i + 1..n };
            for j in known.clone() {
                let sum = known.clone().fold(T::ZERO, |sum, k| {
                    T::fused(round(self.get(i, k).over(diagonal(k))), y.get(k, j), sum)
                });
                y.set(i, j, round(sum.negated()));
            }
            y.set(i, i, T::ONE);
        }
        for i in 0..n {
            for j in 0..n {
                y.set(i, j, round(y.get(i, j).over(diagonal(i))));
            }
        }
        y
    }
}

/// A sum of products in two lanes, of even and of odd number.
fn dot<T: Field>(terms: impl Iterator<Item = (T, T)>) -> T {
    let mut lanes = [T::ZERO; 2];
    for (k, (a, b)) in terms.enumerate() {
        if let Some(lane) = lanes.get_mut(k % 2) {
            *lane = T::fused(a, b, *lane);
        }
    }
    let [even, odd] = lanes;
    even.plus(odd)
}

/// `op(a)·x = b`, or `x·op(a) = b`, of matrices of `rows` rows and `columns` columns.
fn solve<T: Field>(
    p: TriangularSolve,
    a: &Square<T>,
    b: &[T],
    columns: usize,
    round: fn(T) -> T,
) -> Vec<T> {
    let n = a.n;
    // In the end the system has the matrix on its left.
    let transposed = p.transpose_a == p.left_side;
    let lower = p.lower != transposed;
    let of = |m: &Square<T>, i: usize, k: usize| {
        let x = if transposed { m.get(k, i) } else { m.get(i, k) };
        if p.conjugate_a { x.conjugate() } else { x }
    };
    let mut x = b.to_vec();
    let at = |k: usize, c: usize| {
        if p.left_side {
            k * columns + c
        } else {
            c * columns + k
        }
    };
    let read = |x: &[T], k: usize, c: usize| x.get(at(k, c)).copied().unwrap_or(T::ZERO);
    let sides = b.len().checked_div(n).unwrap_or(0);
    let blocks: Vec<usize> = (0..n).step_by(BLOCK).collect();
    for step in 0..blocks.len() {
        let number = if lower { step } else { blocks.len() - 1 - step };
        let from = blocks.get(number).copied().unwrap_or(0);
        let size = BLOCK.min(n - from);
        let inverse = a.block(from, size).inverse(p.lower, p.unit_diagonal, round);
        let known = if lower { 0..from } else { from + size..n };
        for c in 0..sides {
            let rest: Vec<T> = (from..from + size)
                .map(|i| {
                    let sum = dot(known.clone().map(|k| (of(a, i, k), read(&x, k, c))));
                    round(read(&x, i, c).plus(round(sum).negated()))
                })
                .collect();
            for i in 0..size {
                let within = if lower { 0..i + 1 } else { i..size };
                // The lanes count from the block's first element on.
                let terms = (0..size).map(|k| {
                    if !within.contains(&k) {
                        return (T::ZERO, T::ZERO);
                    }
                    let right = rest.get(k).copied().unwrap_or(T::ZERO);
                    (of(&inverse, i, k), right)
                });
                let y = round(dot(terms));
                if let Some(slot) = x.get_mut(at(from + i, c)) {
                    *slot = y;
                }
            }
        }
    }
    x
}

fn all<T: Field>(p: TriangularSolve, a: &Buffer, b: &Buffer, round: fn(T) -> T) -> Result<Vec<T>> {
    let ([.., n, _], [.., rows, columns]) = (a.shape(), b.shape()) else {
        return Err(Error::internal("triangular systems need matrices"));
    };
    let (n, size) = (*n, rows * columns);
    let (a, b) = (a.to_vec::<T>()?, b.to_vec::<T>()?);
    let mut x = try_vec(b.len())?;
    if size == 0 {
        return Ok(x);
    }
    for (a, b) in a.chunks(n * n).zip(b.chunks(size)) {
        let a = Square {
            n,
            elements: a.to_vec(),
        };
        x.extend(solve(p, &a, b, *columns, round));
    }
    Ok(x)
}

/// Systems on the last two axes. Narrow floats are solved in `f32`, each step rounded.
pub(super) fn triangular_solve(
    p: TriangularSolve,
    a: &Buffer,
    b: &Buffer,
    out: &Aval,
) -> Result<Buffer> {
    let data = match out.dtype {
        DType::F64 => f64::data(all(p, a, b, |x| x)?),
        DType::C64 => Complex::<f32>::data(all(p, a, b, |x| x)?),
        DType::C128 => Complex::<f64>::data(all(p, a, b, |x| x)?),
        DType::F32 => f32::data(all(p, a, b, |x| x)?),
        narrow => {
            let wide = |x: &Buffer| {
                let aval = Aval::new(Dims::from_slice(x.shape()), DType::F32);
                super::elementwise::convert(x, &aval)
            };
            let round: fn(f32) -> f32 = match narrow {
                DType::F16 => |x| f16::from_f32(x).to_f32(),
                _ => |x| bf16::from_f32(x).to_f32(),
            };
            let x = f32::data(all(p, &wide(a)?, &wide(b)?, round)?);
            let x = Buffer::from_data(out.with_dtype(DType::F32), x)?;
            return super::elementwise::convert(&x, out);
        }
    };
    Buffer::from_data(out.clone(), data)
}
