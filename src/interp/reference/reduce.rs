//! Reductions.

use super::shape;
use crate::{
    array::{Aval, Buffer, Dims, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype},
    error::{Error, Result},
    trace::op::{Binary, Reduce, Reducer, remaining},
};

/// The operand with the reduced axes at the end, flattened to one.
fn lanes(x: &Buffer, axes: &[usize]) -> Result<(Buffer, usize)> {
    let keep = remaining(x.shape().len(), axes, &[]);
    let order: Dims = keep.iter().chain(axes).copied().collect();
    let n: usize = axes.iter().filter_map(|i| x.shape().get(*i)).product();
    let mut flat: Dims = keep
        .iter()
        .filter_map(|i| x.shape().get(*i).copied())
        .collect();
    flat.push(n);
    Ok((shape::transpose(x, &order)?.reshape(flat)?, n))
}

pub(super) fn reduce(p: &Reduce, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let (x, n) = lanes(x, &p.axes)?;
    match p.reducer {
        Reducer::Argmax(_) => return extremum(&x, n, out, true),
        Reducer::Argmin(_) => return extremum(&x, n, out, false),
        Reducer::Sum
        | Reducer::Prod
        | Reducer::Max
        | Reducer::Min
        | Reducer::And
        | Reducer::Or
        | Reducer::Xor => {}
    }
    let op = match p.reducer {
        Reducer::Sum => Binary::Add,
        Reducer::Prod => Binary::Mul,
        Reducer::Max => Binary::Max,
        Reducer::Min => Binary::Min,
        Reducer::And => Binary::And,
        Reducer::Or => Binary::Or,
        _ => Binary::Xor,
    };
    if n == 0 {
        return Buffer::full(out.clone(), identity(p.reducer, out));
    }
    // Halves are combined element by element until one is left: pairwise, so that long sums keep their digits.
    let count = out.size();
    let mut v = x.reshape([count, n].as_slice())?;
    let mut n = n;
    while n > 1 {
        let half = n / 2;
        let part = |from: usize, len: usize| {
            let start = v.offset() + from;
            v.contiguous().and_then(|c| {
                let start = start - v.offset() + c.offset();
                c.view(
                    Dims::from_slice(&[count, len]),
                    [n as isize, 1].as_slice().into(),
                    start,
                )
            })
        };
        let wide = Aval::new([count, half].as_slice(), out.dtype);
        let combined = super::elementwise::binary(op, &part(0, half)?, &part(half, half)?, &wide)?;
        v = if n % 2 == 0 {
            combined
        } else {
            join(&combined, &part(n - 1, 1)?, count, half)?
        };
        n = half + n % 2;
    }
    v.reshape(out.shape.clone())
        .map(|b| b.with_weak_type(out.weak_type))
}

fn join(a: &Buffer, b: &Buffer, rows: usize, columns: usize) -> Result<Buffer> {
    let aval = Aval::new([rows, columns + 1].as_slice(), a.dtype());
    let data = with_dtype!(a.dtype(), T => {
        let (x, y) = (a.to_vec::<T>()?, b.to_vec::<T>()?);
        let mut z: Vec<T> = try_vec(rows * (columns + 1))?;
        for i in 0..rows {
            z.extend_from_slice(x.get(i * columns..(i + 1) * columns).unwrap_or_default());
            z.extend(y.get(i));
        }
        T::data(z)
    });
    Buffer::from_data(aval, data)
}

/// What reducing nothing gives.
pub(in crate::interp) fn identity(reducer: Reducer, out: &Aval) -> Scalar {
    let (low, high) = bounds(out);
    match reducer {
        Reducer::Prod => Scalar::Int(1),
        Reducer::Max => low,
        Reducer::Min => high,
        Reducer::And => {
            if out.dtype == crate::array::DType::Bool {
                Scalar::Bool(true)
            } else {
                Scalar::Int(-1)
            }
        }
        _ => Scalar::Int(0),
    }
}

/// The smallest and the largest value of an element type.
fn bounds(a: &Aval) -> (Scalar, Scalar) {
    use crate::array::DType::*;
    let int = |low: i128, high: i128| (Scalar::Int(low), Scalar::Int(high));
    match a.dtype {
        Bool => (Scalar::Bool(false), Scalar::Bool(true)),
        I8 => int(i8::MIN.into(), i8::MAX.into()),
        I16 => int(i16::MIN.into(), i16::MAX.into()),
        I32 => int(i32::MIN.into(), i32::MAX.into()),
        I64 => int(i64::MIN.into(), i64::MAX.into()),
        U8 => int(0, u8::MAX.into()),
        U16 => int(0, u16::MAX.into()),
        U32 => int(0, u32::MAX.into()),
        U64 => int(0, u64::MAX.into()),
        F16 | BF16 | F32 | F64 | C64 | C128 => (
            Scalar::Float(f64::NEG_INFINITY),
            Scalar::Float(f64::INFINITY),
        ),
    }
}

fn extremum(x: &Buffer, n: usize, out: &Aval, largest: bool) -> Result<Buffer> {
    if n == 0 {
        return Err(Error::argument(
            "the position of an extremum along an empty axis",
        ));
    }
    let positions: Vec<usize> = with_dtype!(x.dtype(), T => {
        x.to_vec::<T>()?
            .chunks(n)
            .map(|lane| {
                let key = |v: T| -> Scalar { v.into() };
                let mut best = 0;
                for (i, v) in lane.iter().enumerate().skip(1) {
                    let Some(b) = lane.get(best) else { break };
                    if better(key(*v), key(*b), largest) {
                        best = i;
                    }
                }
                best
            })
            .collect()
    });
    let data = with_dtype!(out.dtype, T => {
        T::data(positions.iter().map(|i| T::from_scalar(Scalar::Int(*i as i128))).collect())
    });
    Buffer::from_data(out.clone(), data)
}

/// Is `a` beyond `b`? NaN is beyond everything but NaN.
fn better(a: Scalar, b: Scalar, largest: bool) -> bool {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => {
            if largest {
                a > b
            } else {
                a < b
            }
        }
        _ => {
            let (a, b) = (
                a.as_f64().unwrap_or(f64::NAN),
                b.as_f64().unwrap_or(f64::NAN),
            );
            !b.is_nan() && (a.is_nan() || if largest { a > b } else { a < b })
        }
    }
}
