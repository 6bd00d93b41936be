//! Order and running reductions, as `jax.numpy` names them: `sort`, `argsort`, `top_k`, `searchsorted`, `cumsum`.

use super::{
    Array, Aval, DType, normalise_axis,
    operators::{attempt, fail},
};
use crate::{
    error::{Error, Result},
    trace::{
        bind, bind_all, here,
        op::{Binary, Cumulative, CumulativeKind, Sort, TopK, rows},
        with_location,
    },
};

#[track_caller]
fn both_fail(e: Error) -> (Array, Array) {
    let e = fail(e);
    (e.clone(), e)
}

macro_rules! cumulative_methods {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => {
        impl Array {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, axis: i32) -> Array {
                self.cumulative(CumulativeKind::$kind, axis, false)
            }
        )*}
    };
}
cumulative_methods! {
    /// The running sum along an axis; of `bool`, the running count.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[1f32, 2.], [3., 4.]]);
    /// assert_eq!(x.cumsum(-1).to_vec::<f32>().unwrap(), [1.0, 3.0, 3.0, 7.0]);
    /// ```
    cumsum = Sum;
    /// The running product along an axis.
    cumprod = Prod;
    /// The largest element so far, along an axis.
    cummax = Max;
    /// The smallest element so far, along an axis.
    cummin = Min;
    /// The logarithm of the running sum of exponentials, along an axis.
    cumlogsumexp = LogSumExp;
}

impl Array {
    /// A running reduction along an axis (counted from the end if negative), from its end backwards if `reverse`:
    /// `lax.cumsum(x, axis, reverse)` and its kin.
    #[track_caller]
    pub fn cumulative(&self, kind: CumulativeKind, axis: i32, reverse: bool) -> Array {
        let x = match self.dtype() {
            Ok(DType::Bool) if matches!(kind, CumulativeKind::Sum | CumulativeKind::Prod) => {
                self.astype(DType::I32)
            }
            Ok(d) if kind == CumulativeKind::LogSumExp && !d.is_inexact() => self.inexact(),
            Ok(_) => self.strong(),
            Err(e) => return Array::error(e),
        };
        attempt(|| {
            normalise_axis(axis.into(), x.ndim()).map(|axis| {
                bind(
                    Cumulative {
                        kind,
                        axis,
                        reverse,
                    },
                    &[&x],
                )
            })
        })
    }

    /// The elements in ascending order along an axis: NaN last; complex numbers by real, then imaginary part.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([3i32, 1, 2]);
    /// assert_eq!(x.sort(-1).to_vec::<i32>().unwrap(), [1, 2, 3]);
    /// assert_eq!(x.argsort(-1).to_vec::<i32>().unwrap(), [1, 2, 0]);
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: i32) -> Array {
        attempt(|| {
            self.sorted_with(&[], axis).and_then(|mut y| {
                y.pop()
                    .ok_or_else(|| Error::internal("sort lost its operand"))
            })
        })
    }

    /// The positions of the elements in ascending order along an axis; equal ones in the order in which they stand.
    #[track_caller]
    pub fn argsort(&self, axis: i32) -> Array {
        attempt(|| {
            self.aval().and_then(|a| {
                let along = normalise_axis(axis.into(), a.ndim())?;
                let positions = Array::iota(&a.shape, along, DType::I32);
                self.sorted_with(&[positions], axis)?
                    .pop()
                    .ok_or_else(|| Error::internal("sort lost its operand"))
            })
        })
    }

    fn sorted_with(&self, others: &[Array], axis: i32) -> Result<Vec<Array>> {
        let dimension = normalise_axis(axis.into(), self.aval()?.ndim())?;
        let operands: Vec<Array> = std::iter::once(self).chain(others).cloned().collect();
        let sort = Sort {
            dimension,
            is_stable: true,
            num_keys: 1,
        };
        bind_all(sort, &operands)
    }

    /// The `k` largest elements along the last axis, the largest first, and their positions: `lax.top_k`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let (values, at) = Array::from([1f32, 3., 2.]).top_k(2);
    /// assert_eq!(values.to_vec::<f32>().unwrap(), [3.0, 2.0]);
    /// assert_eq!(at.to_vec::<i32>().unwrap(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn top_k(&self, k: usize) -> (Array, Array) {
        let both = with_location(here(), || {
            let axis = normalise_axis(-1, self.aval()?.ndim())?;
            bind_all(TopK { axis, k }, std::slice::from_ref(self))
        });
        match both.as_deref() {
            Ok([values, positions]) => (values.clone(), positions.clone()),
            Ok(_) => both_fail(Error::internal("top_k has two results")),
            Err(e) => both_fail(e.clone()),
        }
    }

    /// Where each of `values` would have to stand in this ascending array of one axis: before equal elements, or after them if
    /// `right`. `i32`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1f32, 2., 2., 4.]);
    /// let v = Array::from([2f32, 5., 0.]);
    /// assert_eq!(x.searchsorted(&v, false).to_vec::<i32>().unwrap(), [1, 4, 0]);
    /// assert_eq!(x.searchsorted(&v, true).to_vec::<i32>().unwrap(), [3, 4, 0]);
    /// ```
    #[track_caller]
    pub fn searchsorted(&self, values: &Array, right: bool) -> Array {
        attempt(|| searchsorted(self, values, right))
    }
}

/// By halving: after k steps, the place is known up to n / 2ᵏ.
fn searchsorted(x: &Array, values: &Array, right: bool) -> Result<Array> {
    let (a, b) = (x.aval()?, values.aval()?);
    let [n] = a.shape[..] else {
        return Err(Error::shape(format!(
            "searchsorted looks into an array of one axis, got {a}"
        )));
    };
    let (dtype, weak) = super::promote_types((a.dtype, a.weak_type), (b.dtype, b.weak_type));
    let x = x.convert_weak(dtype, weak);
    let v = values.convert_weak(dtype, weak).reshape([b.size()]);
    let missing = |v: &Array| v.ne(v);
    let mut low = Array::zeros([b.size()], DType::I32);
    let mut high = Array::full([b.size()], n, DType::I32);
    let two = Array::from_scalar(2.into(), DType::I32, false);
    let steps = usize::BITS - n.leading_zeros();
    for _ in 0..steps {
        let middle = super::operators::broadcasting(Binary::Div, &(&low + &high), &two);
        let found = rows(&x, &middle.minimum(n.saturating_sub(1)), 0);
        // NaN stands after all numbers.
        let before = if right {
            found.le(&v) | missing(&v)
        } else {
            found.lt(&v) | (missing(&v) & !missing(&found))
        };
        let open = low.lt(&high);
        let up = &open & &before;
        let down = &open & !&before;
        low = up.select(&middle + 1, &low);
        high = down.select(&middle, &high);
    }
    Ok(low.reshape(b.shape))
}

/// The lanes of several arrays of one shape sorted together by the first `num_keys` of them: `lax.sort` of a tuple. An error where
/// shapes differ.
///
/// ```
/// use quaxide::{array::sort_together, prelude::*};
/// let names = Array::from([0i32, 1, 2]);
/// let ages = Array::from([30i32, 20, 30]);
/// let y = sort_together(&[ages, names], -1, 1).unwrap();
/// assert_eq!(y[1].to_vec::<i32>().unwrap(), [1, 0, 2]);
/// ```
#[track_caller]
pub fn sort_together(operands: &[Array], axis: i32, num_keys: usize) -> Result<Vec<Array>> {
    let ndim = operands
        .first()
        .map(Array::aval)
        .transpose()?
        .map_or(0, |a: Aval| a.ndim());
    let sort = Sort {
        dimension: normalise_axis(axis.into(), ndim)?,
        is_stable: true,
        num_keys,
    };
    bind_all(sort, operands)
}
