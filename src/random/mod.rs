//! Random numbers, bit for bit those of `jax.random` with its default generator.
//!
//! There is no hidden state: a [`Key`] determines what is drawn with it, wherever and whenever, so a key is used once and
//! [split](Key::split) for more. Every function here is made of [`Array`] operators and of two primitives, `threefry2x32` and
//! `random_gamma`; keys are trees; so all of it works under `jit`, `vmap`, `grad` and `scan`.
//!
//! ```
//! use quaxide::prelude::*;
//! let [k1, k2] = random::key(0).split();
//! let x = random::normal(&k1, [2, 3]);
//! let n = random::randint(&k2, ([4], DType::I64), 0, 100);
//! assert_eq!((x.dtype().unwrap(), n.dtype().unwrap()), (DType::F32, DType::I64));
//! ```
//!
//! A function takes `shape`, and draws in its default element type (`f32`, or `i32`), or `(shape, dtype)`.
//! The order of the other arguments is `jax.random`'s.
//!
//! # What equals JAX
//!
//! Keys, bits, integers, truth values, permutations and choices equal JAX 0.10.2's on every machine. So do, to the last bit, the
//! floats of `f16`, `bf16`, `f32` and `f64` drawn from [`uniform`], [`normal`], [`truncated_normal`], [`exponential`], [`gumbel`],
//! [`laplace`], [`logistic`], [`cauchy`], [`weibull_min`], [`rayleigh`], [`lognormal`] and [`triangular`], wherever JAX runs on a CPU
//! with fused multiply-add and both take the `f64` logarithm and the tangent from the same system library. [`gamma`] and its family
//! do for most shapes: JAX starts from a reciprocal root that the CPU estimates. [`maxwell`], [`wald`] and [`ball`] differ in the last
//! bits here and there, where XLA fuses products into sums. `tests/random.rs` says which is which.

mod choice;
mod continuous;
mod counts;
mod discrete;
mod gamma;
mod key;
mod matrices;
mod rng;
pub mod threefry;

pub use choice::{
    Choice, categorical, categorical_distinct, choice, permutation, shuffle, shuffle_independent,
};
pub use continuous::*;
pub use counts::*;
pub use discrete::*;
pub use gamma::*;
pub use key::{Key, key};
pub use matrices::*;
pub use rng::{KeyRng, sample};

use crate::{
    array::{Array, DType, Dims, IntoDims, Operand, Scalar, attempt, broadcast_shapes},
    error::{Error, Result},
};

/// What may say what is drawn: a shape, or a shape and an element type.
pub trait Draw {
    /// The shape, and the element type if one is asked for.
    fn shape_and_dtype(self) -> (Dims, Option<DType>);
}

impl<S: IntoDims> Draw for S {
    fn shape_and_dtype(self) -> (Dims, Option<DType>) {
        (self.into_dims(), None)
    }
}

impl<S: IntoDims> Draw for (S, DType) {
    fn shape_and_dtype(self) -> (Dims, Option<DType>) {
        (self.0.into_dims(), Some(self.1))
    }
}

/// The shape and element type of a draw of floats.
fn floats(name: &str, draw: impl Draw) -> Result<(Dims, DType)> {
    let (shape, dtype) = draw.shape_and_dtype();
    let dtype = dtype.unwrap_or(DType::F32);
    if dtype.is_float() {
        Ok((shape, dtype))
    } else {
        Err(Error::dtype(format!(
            "`random::{name}` draws floating-point numbers, not {dtype}"
        )))
    }
}

/// A parameter of a distribution, in the element type of the draw.
fn parameter(x: impl Operand, dtype: DType) -> Array {
    x.operand(&constant(0.0, dtype)).astype(dtype)
}

/// The shape that is asked for, or the one that the parameters broadcast to; an error if they do not fit the former.
fn check_shape(name: &str, shape: &Dims, parameters: &[&Array]) -> Result<()> {
    for p in parameters {
        let a = p.aval()?;
        if broadcast_shapes(shape, &a.shape).as_ref() != Some(shape) {
            return Err(Error::shape(format!(
                "`random::{name}` of shape {:?}: a parameter {a} does not broadcast to it",
                &shape[..]
            )));
        }
    }
    Ok(())
}

/// A number of an element type.
fn constant(x: f64, dtype: DType) -> Array {
    Array::from_scalar(Scalar::Float(x), dtype, false)
}
