//! Functions named and strict as those of `jax.lax`: each is one primitive, or little more.
//!
//! Nothing promotes, and nothing broadcasts but numbers and arrays without axes: operands of an operation are of one shape and one
//! element type, else the result is in the error state. [`numpy`](crate::numpy) and the operators of [`Array`] are the lenient
//! side. Loops, branches and collectives are the crate's own, under their names in `jax.lax`.
//!
//! ```
//! use quaxide::prelude::*;
//! let x = Array::from([1f32, 2.]);
//! assert_eq!(lax::add(&x, 1.0).to_vec::<f32>().unwrap(), [2.0, 3.0]);
//! assert!(lax::add(&x, &Array::from([1i32, 2])).ok().is_err());
//! assert!(lax::add(&x, &Array::from([[1f32, 2.]])).ok().is_err());
//! ```

mod elementwise;
mod products;
mod reductions;
mod shapes;
mod slices;

pub use elementwise::*;
pub use products::*;
pub use reductions::*;
pub use shapes::*;
pub use slices::*;

pub use crate::trace::op::{
    DotAlgorithm, Precision, all_gather, all_to_all, axis_index, pbroadcast, pmax, pmean, pmin,
    ppermute, pshuffle, psum, psum_scatter, pswapaxes, reduce, reduce_window, scatter_by,
    select_and_scatter, sort_by,
};
pub use crate::transform::{
    associative_scan, cond, custom_linear_solve, custom_root, fori_loop, map, scan, scan_with,
    switch, while_loop,
};
use crate::{
    array::{Array, DType, IntoDims, Operand},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{self, Op, RandomAlgorithm},
    },
    tree::{self, PyTree},
};

/// Two operands, of which numbers take the other's element type.
fn both(x: &impl Operand, y: &impl Operand) -> (Array, Array) {
    let first = y.operand(&Array::scalar(false)).into_owned();
    let x = x.operand(&first).into_owned();
    let y = y.operand(&x).into_owned();
    (x, y)
}

/// A primitive of two operands.
#[track_caller]
fn binary(op: impl Into<Op>, x: impl Operand, y: impl Operand) -> Array {
    let (x, y) = both(&x, &y);
    bind(op, &[&x, &y])
}

/// The size of the axis of the `vmap` in progress that has this name. In the error state if none has.
#[track_caller]
pub fn axis_size(axis: &str) -> Array {
    psum(&Array::scalar(1i32), axis)
}

/// A state to the next state and unsigned integers, as XLA's `RngBitGenerator` makes them; see [`RngBitGenerator`](op::RngBitGenerator).
#[track_caller]
pub fn rng_bit_generator(
    key: &Array,
    shape: impl IntoDims,
    dtype: DType,
    algorithm: RandomAlgorithm,
) -> Result<[Array; 2]> {
    let op = op::RngBitGenerator {
        algorithm,
        dtype,
        shape: shape.into_dims(),
    };
    let both = bind_all(op, std::slice::from_ref(key))?;
    both.try_into()
        .map_err(|_| Error::internal("a generator lost a result"))
}

/// The arrays of a tree behind a barrier, which no pass looks through: what comes out is computed after everything that goes in.
#[track_caller]
pub fn optimization_barrier<T: PyTree>(tree: &T) -> Result<T> {
    let leaves = tree::leaves(tree);
    if leaves.is_empty() {
        return tree::unflatten(tree, leaves);
    }
    tree::unflatten(tree, bind_all(op::OptimizationBarrier, &leaves)?)
}
