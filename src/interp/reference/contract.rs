//! `dot_general`: sums of products, accumulated in the widest type of their kind.

use super::shape;
use crate::{
    array::{
        Aval, Buffer, DType, Dims, Element, Scalar, Stored, aval::size_of, buffer::try_vec,
        dtype::with_dtype,
    },
    error::Result,
    trace::op::{DotGeneral, remaining},
};
use num_complex::Complex;

/// An operand as a stack of matrices: batch, own axes, contracted axes.
fn matrices(
    x: &Buffer,
    batch: &[usize],
    contract: &[usize],
    contract_last: bool,
) -> Result<(Buffer, [usize; 3])> {
    let own = remaining(x.shape().len(), batch, contract);
    let size = |axes: &[usize]| {
        size_of(
            &axes
                .iter()
                .filter_map(|i| x.shape().get(*i).copied())
                .collect::<Dims>(),
        )
    };
    let (b, m, k) = (size(batch), size(&own), size(contract));
    let order: Dims = if contract_last {
        batch.iter().chain(&own).chain(contract).copied().collect()
    } else {
        batch.iter().chain(contract).chain(&own).copied().collect()
    };
    Ok((shape::transpose(x, &order)?.contiguous()?, [b, m, k]))
}

pub(super) fn dot_general(p: &DotGeneral, x: &Buffer, y: &Buffer, out: &Aval) -> Result<Buffer> {
    let (x, [b, m, k]) = matrices(x, &p.lhs_batch, &p.lhs_contract, true)?;
    let (y, [_, n, _]) = matrices(y, &p.rhs_batch, &p.rhs_contract, true)?;
    let data = match out.dtype {
        DType::Bool => products(&x, &y, [b, m, n, k], |s: &[bool], t: &[bool]| {
            s.iter().zip(t).any(|(a, b)| *a && *b)
        }),
        d if d.is_complex() => {
            let (x, y) = (widened::<Complex<f64>>(&x)?, widened::<Complex<f64>>(&y)?);
            with_dtype!(d, T => products(&x, &y, [b, m, n, k], |s: &[Complex<f64>], t: &[Complex<f64>]| {
                let sum: Complex<f64> = s.iter().zip(t).map(|(a, b)| a * b).sum();
                T::from_scalar(Scalar::Complex(sum))
            }))
        }
        d if d.is_float() => {
            let (x, y) = (widened::<f64>(&x)?, widened::<f64>(&y)?);
            with_dtype!(d, T => products(&x, &y, [b, m, n, k], |s: &[f64], t: &[f64]| {
                let sum: f64 = s.iter().zip(t).map(|(a, b)| a * b).sum();
                T::from_scalar(Scalar::Float(sum))
            }))
        }
        d => {
            let (x, y) = (widened::<i64>(&x)?, widened::<i64>(&y)?);
            with_dtype!(d, T => products(&x, &y, [b, m, n, k], |s: &[i64], t: &[i64]| {
                let sum = s.iter().zip(t).fold(0i64, |c, (a, b)| c.wrapping_add(a.wrapping_mul(*b)));
                T::from_scalar(Scalar::Int(i128::from(sum)))
            }))
        }
    }?;
    Buffer::from_data(out.clone(), data)
}

pub(super) fn widened<W: Stored>(x: &Buffer) -> Result<Buffer> {
    super::elementwise::convert(x, &x.aval().with_dtype(W::DTYPE))
}

fn products<T: Stored, U: Stored>(
    x: &Buffer,
    y: &Buffer,
    [b, m, n, k]: [usize; 4],
    dot: impl Fn(&[T], &[T]) -> U,
) -> Result<crate::array::Data> {
    let (x, y) = (x.to_vec::<T>()?, y.to_vec::<T>()?);
    let mut z = try_vec(b * m * n)?;
    let row = |v: &[T], i: usize| {
        v.get(i * k..(i + 1) * k)
            .map(<[T]>::to_vec)
            .unwrap_or_default()
    };
    for batch in 0..b {
        for i in 0..m {
            let left = row(&x, batch * m + i);
            for j in 0..n {
                let right = y
                    .get((batch * n + j) * k..(batch * n + j + 1) * k)
                    .unwrap_or_default();
                z.push(dot(&left, right));
            }
        }
    }
    Ok(U::data(z))
}
