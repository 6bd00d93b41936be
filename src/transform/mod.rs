//! Transformations of functions. Each has a typed front of a line, and beneath it works from program to program.

pub(crate) mod batch;
mod derivative;
mod function;
mod jit;
pub(crate) mod jvp;
pub(crate) mod partial_eval;
mod run;
pub(crate) mod transpose;
mod vmap;

pub use derivative::{Loss, grad, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp};
pub use function::{Args, Call, DynTree, Fun, Function, IntoRefs, Output, Tree};
pub(crate) use function::{FlatArgs, leaves_of, paths, rebuild, stage, typed, view};
pub use jit::{eval_shape, jit, make_jaxpr};
pub(crate) use run::{compile, rewrite, run};
pub use vmap::{Axes, Axis, ByPath, Vmap, by_path, vmap};
