//! Array programs, reinterpreted.
//!
//! A function of [`Array`]s is traced into a program ([`make_jaxpr`]); [`quaxify`] reinterprets it on values that are not plain arrays;
//! equality saturation plans it; an interpreter runs it. [`grad`], [`vmap`], [`jit`] and the other transformations compose with it
//! in any order.
//!
#![doc = concat!("```\n", include_str!("../examples/readme.rs"), "```")]
//!
//! Where to go from here:
//!
//! - `use quaxide::prelude::*;` brings in what programs usually need: see [`prelude`].
//! - [`Array`] has the operators and the functions of `jax.numpy`, [`transform`] what takes functions, [`tree`] what a model is.
//! - [`dispatch`] is about values and their rules: [`ArrayValue`] shows a small one.
//! - [`nn`], [`optim`], [`random`]: layers, optimisers, random numbers.
//! - [`Error`] says what failed, where in your file, and what would work.
//!
//! The guide in `docs/guide` tells all of Quaxide on one page, and how to come from JAX.

// Derived code names the crate by its name, in the crate's own tests too.
extern crate self as quaxide;

pub mod array;
pub mod dispatch;
pub mod error;
pub mod interp;
pub mod io;
pub mod lax;
pub mod nn;
pub mod optim;
pub mod random;
pub mod rules;
mod source;
#[cfg(feature = "stablehlo")]
pub mod stablehlo;
pub mod trace;
pub mod transform;
pub mod tree;

pub use array::{Array, Aval, DType, Dims, linalg, numpy};
pub use dispatch::{ArrayValue, Rules, quaxify};
pub use error::{Error, ErrorKind, Result};
pub use quaxide_derive::PyTree;
pub use trace::{Jaxpr, eager, op};
pub use transform::{
    associative_scan, checkpoint, cond, custom_jvp, custom_linear_solve, custom_root, custom_vjp,
    eval_shape, fori_loop, grad, hessian, jacfwd, jacrev, jit, jvp, linearize, make_jaxpr, scan,
    scan_with, switch, value_and_grad, vjp, vmap, while_loop,
};
pub use tree::{PyTree, Static};

/// What programs usually need: `use quaxide::prelude::*;`.
pub mod prelude {
    pub use crate::{
        array::{Array, Aval, DType, Ellipsis, NewAxis, Slice, linalg, numpy},
        dispatch::{Any, ArrayValue, Dense, Rules, quaxify},
        error::{Error, Result},
        io, lax, nn,
        optim::{self, Optimiser},
        random,
        rules::{LoraArray, LoraConfig, adapters, loraify, unloraify},
        trace::{
            Jaxpr, op,
            op::{axis_index, pmax, pmean, pmin, psum},
        },
        transform::{
            Call, ScanOptions, associative_scan, by_path, checkpoint, cond, custom_jvp, custom_vjp,
            eval_shape, fori_loop, grad, hessian, jacfwd, jacrev, jit, jvp, linearize, make_jaxpr,
            scan, scan_with, switch, value_and_grad, vjp, vmap, while_loop,
        },
        tree::{self, PyTree, Static},
    };
    pub use quaxide_derive::PyTree;
}

/// The guide's code is compiled and run with the tests.
#[cfg(doctest)]
mod guide {
    macro_rules! chapters {
        ($($file:literal)*) => {$(
            #[doc = include_str!(concat!("../docs/guide/src/", $file))]
            const _: () = ();
        )*};
    }
    chapters! {
        "all-of-quaxide.md"
        "from-jax.md"
        "from-python.md"
        "transformations.md"
        "types.md"
        "types-table.md"
        "write-an-array-type.md"
        "add-a-primitive.md"
        "rewriting.md"
        "ir.md"
        "errors.md"
    }
}
