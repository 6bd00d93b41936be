//! What depends on the order of elements, and products along axes.

use super::{Operand, mul, refused, value};
use crate::{
    array::{Array, DType, Dims},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{Op, Reduce, Reducer},
    },
};

/// Certain of two finite bounds; impossible of two that are one infinity.
pub(super) fn is_finite(x: &Operand) -> Operand {
    let (l, u) = (x.lower.is_finite(), x.upper.is_finite());
    Operand::pair(&l & &u, l | u | x.lower.lt(&x.upper))
}

/// The product of the elements along axes: halves are multiplied until one is left.
pub(super) fn product_along(x: &Operand, axes: &[usize]) -> Result<Operand> {
    let mut y = Operand::pair(x.lower.clone(), x.upper.clone());
    let mut axes: Vec<usize> = axes.to_vec();
    axes.sort_unstable();
    for axis in axes.into_iter().rev() {
        let at = axis as i32;
        let part = |y: &Operand, from: usize, to: usize| {
            Operand::pair(
                y.lower.slice_in_dim(from, to, at),
                y.upper.slice_in_dim(from, to, at),
            )
        };
        let size = |y: &Operand| y.lower.shape().get(axis).copied().unwrap_or(0);
        while size(&y) > 1 {
            let n = size(&y);
            let half = n / 2;
            let product = mul(&part(&y, 0, half), &part(&y, half, 2 * half));
            y = match n % 2 {
                0 => product,
                _ => {
                    let last = part(&y, n - 1, n);
                    let first = mul(&part(&product, 0, 1), &last);
                    let join = |a: &Array, b: Array| match half {
                        1 => a.clone(),
                        _ => {
                            crate::array::numpy::concatenate(&[a, &b.slice_in_dim(1, half, at)], at)
                        }
                    };
                    Operand::pair(
                        join(&first.lower, product.lower),
                        join(&first.upper, product.upper),
                    )
                }
            };
        }
        let one = |x: &Array| x.prod(axis);
        y = Operand::pair(one(&y.lower), one(&y.upper));
    }
    Ok(y)
}

/// Where the largest element can be, from the first place to the last.
pub(super) fn arg(x: &Operand, axes: &[usize], dtype: DType, largest: bool) -> Result<Operand> {
    let [axis] = axes else {
        return Err(Error::internal("the place of an element is along one axis"));
    };
    let shape = x.lower.shape();
    let kept: Dims = (0..shape.len()).filter(|i| i != axis).collect();
    let spread = |x: Array| x.broadcast_in_dim(&shape, &kept);
    let at = Dims::from_slice(&[*axis]);
    let possible = match largest {
        true => x.upper.ge(spread(x.lower.max(*axis))),
        false => x.lower.le(spread(x.upper.min(*axis))),
    };
    let first = |x: &Array| {
        let place = Reduce {
            reducer: Reducer::Argmax(dtype),
            axes: at.clone(),
        };
        bind(place, &[&x.astype(DType::F32)])
    };
    let last = shape.get(*axis).copied().unwrap_or(0).saturating_sub(1);
    let last = Array::from_scalar((last as i64).into(), dtype, false);
    Ok(Operand::pair(
        first(&possible),
        last - first(&possible.flip(*axis)),
    ))
}

/// The largest elements lie between those of the bounds; their places may be any.
pub(super) fn top_k(op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    let (Op::TopK(p), [x]) = (op, x) else {
        return Err(refused(op));
    };
    let of = |x: &Array| bind_all(op.clone(), std::slice::from_ref(x));
    let (lower, upper) = (of(&x.lower)?, of(&x.upper)?);
    let (Some(l), Some(u), Some(places)) = (lower.first(), upper.first(), lower.get(1)) else {
        return Err(Error::internal("`top_k` gives two arrays"));
    };
    let n = x.lower.shape().get(p.axis).copied().unwrap_or(0);
    let anywhere = Operand::pair(
        Array::full_like(places, 0),
        Array::full_like(places, n.saturating_sub(1) as i64),
    );
    Ok(vec![
        value(&Operand::pair(l.clone(), u.clone()))?,
        value(&anywhere)?,
    ])
}
