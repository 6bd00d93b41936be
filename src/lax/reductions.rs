//! Reductions, running reductions, order.

use crate::{
    array::{Array, DType, IntoDims, attempt},
    error::Result,
    trace::{
        bind, bind_all,
        op::{CumulativeKind, Reduce, Reducer, Sort, TopK},
    },
};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident = $reducer:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Array, axes: impl IntoDims) -> Array {
            bind(Reduce { reducer: Reducer::$reducer, axes: axes.into_dims() }, &[x])
        }
    )*};
}
reductions! {
    /// The bits, or truth values, that all have.
    reduce_and = And;
    /// The largest element; NaN if one is.
    reduce_max = Max;
    /// The smallest element; NaN if one is.
    reduce_min = Min;
    /// The bits, or truth values, that some have.
    reduce_or = Or;
    /// The product, in the array's element type.
    reduce_prod = Prod;
    /// The sum, in the array's element type.
    reduce_sum = Sum;
    /// The bits, or truth values, that an odd number has.
    reduce_xor = Xor;
}

/// The position of the largest element along an axis, the first of several; NaN counts as the largest.
#[track_caller]
pub fn argmax(x: &Array, axis: usize, index_dtype: DType) -> Array {
    let reducer = Reducer::Argmax(index_dtype);
    bind(
        Reduce {
            reducer,
            axes: [axis].into_dims(),
        },
        &[x],
    )
}

/// The position of the smallest element along an axis, the first of several; NaN counts as the smallest.
#[track_caller]
pub fn argmin(x: &Array, axis: usize, index_dtype: DType) -> Array {
    let reducer = Reducer::Argmin(index_dtype);
    bind(
        Reduce {
            reducer,
            axes: [axis].into_dims(),
        },
        &[x],
    )
}

macro_rules! cumulative {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(x: &Array, axis: i32, reverse: bool) -> Array {
            x.cumulative(CumulativeKind::$kind, axis, reverse)
        }
    )*};
}
cumulative! {
    /// The running sum along an axis, from its end if `reverse`.
    cumsum = Sum;
    /// The running product along an axis, from its end if `reverse`.
    cumprod = Prod;
    /// The largest element so far along an axis, from its end if `reverse`.
    cummax = Max;
    /// The smallest element so far along an axis, from its end if `reverse`.
    cummin = Min;
    /// The logarithm of the running sum of exponentials along an axis, from its end if `reverse`.
    cumlogsumexp = LogSumExp;
}

/// The elements in ascending order along an axis; equal ones keep their order.
#[track_caller]
pub fn sort(x: &Array, dimension: i32) -> Array {
    x.sort(dimension)
}

/// Keys in ascending order along an axis, and values in the order of their keys.
#[track_caller]
pub fn sort_key_val(keys: &Array, values: &Array, dimension: i32) -> Result<(Array, Array)> {
    let dimension = crate::array::normalise_axis(dimension.into(), keys.aval()?.ndim())?;
    let sort = Sort {
        dimension,
        is_stable: true,
        num_keys: 1,
    };
    let both = bind_all(sort, &[keys.clone(), values.clone()])?;
    match <[Array; 2]>::try_from(both) {
        Ok([keys, values]) => Ok((keys, values)),
        Err(_) => Err(crate::Error::internal("sort lost an operand")),
    }
}

/// Arrays of one shape sorted together by the first `num_keys` of them.
#[track_caller]
pub fn sort_together(operands: &[Array], dimension: i32, num_keys: usize) -> Result<Vec<Array>> {
    crate::array::sort_together(operands, dimension, num_keys)
}

/// The `k` largest elements along an axis, the largest first, and their positions.
#[track_caller]
pub fn top_k(x: &Array, k: usize, axis: i32) -> Result<(Array, Array)> {
    let axis = crate::array::normalise_axis(axis.into(), x.aval()?.ndim())?;
    let both = bind_all(TopK { axis, k }, std::slice::from_ref(x))?;
    match <[Array; 2]>::try_from(both) {
        Ok([values, positions]) => Ok((values, positions)),
        Err(_) => Err(crate::Error::internal("top_k has two results")),
    }
}

/// As [`top_k`] along the last axis; exact, where JAX may approximate: `lax.approx_max_k`.
#[track_caller]
pub fn approx_max_k(x: &Array, k: usize) -> Result<(Array, Array)> {
    top_k(x, k, -1)
}

/// The `k` smallest elements along the last axis, the smallest first, and their positions; exact: `lax.approx_min_k`.
#[track_caller]
pub fn approx_min_k(x: &Array, k: usize) -> Result<(Array, Array)> {
    let (values, positions) = top_k(&-x, k, -1)?;
    Ok((attempt(|| Ok(-&values)), positions))
}
