//! Transformations of functions. Each has a typed front of a line, and beneath it works from program to program.

mod associative;
pub(crate) mod batch;
mod checkpoint;
mod control;
mod custom;
mod derivative;
mod function;
mod jit;
pub(crate) mod jvp;
pub(crate) mod named;
pub(crate) mod partial_eval;
mod run;
mod solve;
pub(crate) mod transpose;
mod vmap;

pub use associative::{associative_scan, map};
pub use checkpoint::checkpoint;
pub(crate) use control::close_together;
pub use control::{ScanOptions, cond, fori_loop, scan, scan_with, switch, while_loop};
pub(crate) use custom::CustomVjpParts;
pub use custom::{custom_jvp, custom_vjp};
pub use derivative::{Loss, grad, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp};
pub use function::{Args, Call, DynTree, Fun, Function, IntoRefs, Output, Tree};
pub(crate) use function::{
    FlatArgs, argument, leaves_of, paths, rebuild, stage, stage_all, structure_of, typed, view,
};
pub use jit::{eval_shape, jit, make_jaxpr};
pub(crate) use run::{compile, rewrite, run};
pub use solve::{Map, Solver, TransposeSolve, custom_linear_solve, custom_root};
pub use vmap::{Axes, Axis, ByPath, Vmap, by_path, vmap};
