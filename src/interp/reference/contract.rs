//! `dot_general`: sums of products, accumulated in the widest type of their kind.

use super::{elementwise::convert, shape};
use crate::{
    array::{Aval, Buffer, DType, Data, Dims, Stored, aval::size_of, buffer::try_vec},
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
    let sizes = [b, m, n, k];
    let wide = match out.dtype {
        DType::Bool => {
            products::<bool>(&x, &y, sizes, |s, t| s.iter().zip(t).any(|(a, b)| *a && *b))
        }
        d if d.is_complex() => products::<Complex<f64>>(&x, &y, sizes, |s, t| {
            s.iter().zip(t).map(|(a, b)| a * b).sum()
        }),
        d if d.is_float() => products::<f64>(&x, &y, sizes, |s, t| {
            s.iter().zip(t).map(|(a, b)| a * b).sum()
        }),
        _ => products::<i64>(&x, &y, sizes, |s, t| {
            let step = |c: i64, (a, b): (&i64, &i64)| c.wrapping_add(a.wrapping_mul(*b));
            s.iter().zip(t).fold(0, step)
        }),
    }?;
    convert(&Buffer::from_data(out.with_dtype(wide.dtype()), wide)?, out)
}

/// The elements in a wider type.
pub(super) fn widened<W: Stored>(x: &Buffer) -> Result<Vec<W>> {
    convert(x, &x.aval().with_dtype(W::DTYPE))?.to_vec()
}

fn products<W: Stored>(
    x: &Buffer,
    y: &Buffer,
    [b, m, n, k]: [usize; 4],
    dot: impl Fn(&[W], &[W]) -> W,
) -> Result<Data> {
    let (x, y) = (widened::<W>(x)?, widened::<W>(y)?);
    let mut z = try_vec(b * m * n)?;
    let row = |v: &[W], i: usize| {
        v.get(i * k..(i + 1) * k)
            .map(<[W]>::to_vec)
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
    Ok(W::data(z))
}
