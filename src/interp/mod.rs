//! Ways to run a program of plain arrays.
//!
//! The reference interpreter is simple and right: one plain function a primitive. The compiled one is fast, and tested against it.

pub(crate) mod compiled;
pub mod reference;

use crate::{
    array::{Array, Buffer},
    error::Result,
    trace::Jaxpr,
};
use smallvec::SmallVec;
use std::sync::Arc;

pub(crate) use compiled::{Executable, eager};

/// The results of one primitive.
pub type Buffers = SmallVec<[Buffer; 1]>;

/// A way to run a program of plain arrays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interpreter {
    /// One plain function a primitive.
    Reference,
    /// A plan of steps, and kernels.
    Compiled,
}

/// Run a program as it stands, not rewritten. An error if the arguments are not those of the program, or do not fit in memory.
///
/// ```
/// use quaxide::{interp::{run, Interpreter}, prelude::*};
/// let x = Array::from([1f32, 2.]);
/// let program = make_jaxpr(|x: &Array| x + 1.0)(&x).unwrap();
/// for way in [Interpreter::Reference, Interpreter::Compiled] {
///     let y = run(&program, &[x.clone()], way).unwrap();
///     assert_eq!(y[0].to_vec::<f32>().unwrap(), [2., 3.]);
/// }
/// ```
pub fn run(program: &Jaxpr, args: &[Array], way: Interpreter) -> Result<Vec<Array>> {
    let numbers = |x: &Array| x.concrete("an argument");
    let args = args
        .iter()
        .map(numbers)
        .collect::<Result<Vec<Arc<Buffer>>>>()?;
    program.check_arguments(args.iter().map(|b| &**b.aval()))?;
    let results = match way {
        Interpreter::Reference => reference::run(program, args)?,
        Interpreter::Compiled => Executable::new(program)?.run(&args)?,
    };
    Ok(results.into_iter().map(Array::from_shared).collect())
}

/// The most additions and multiplications of `f32` in a nanosecond (GFLOP/s) that all threads together reach, measured now on operands
/// that the caches hold: what the speed of a program is a share of.
///
/// ```
/// assert!(quaxide::interp::peak_gflops().unwrap() > 0.0);
/// ```
pub fn peak_gflops() -> Result<f64> {
    compiled::peak::gflops()
}
