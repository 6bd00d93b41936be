//! Primitives that combine elements by any program: `reduce`, `reduce_window`, `select_and_scatter`, `scatter`, `sort`.
//!
//! The programs take scalars. They capture nothing, so that they run for many elements at once.

mod functions;
mod reduce;
mod scatter;
mod sort;
mod window;

pub use functions::*;
pub use reduce::*;
pub use scatter::*;
pub use sort::*;
pub use window::*;

use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::{self, Program},
};

/// The program of a function of scalars of these types. An error if it captures an array.
pub(crate) fn scalar_program(
    name: &str,
    inputs: &[DType],
    f: &mut dyn FnMut(&[Array]) -> Result<Vec<Array>>,
) -> Result<Program> {
    let scalar = |d: &DType| Aval::new(Dims::new(), *d);
    let inputs: Vec<Aval> = inputs.iter().map(scalar).collect();
    let program = trace::stage(&inputs, None, &mut |x| f(&x))?;
    if let Some((_, captured)) = program.consts().first() {
        return Err(Error::argument(format!(
            "{name}: the function that combines elements captures {captured:?}"
        ))
        .note("it may use its arguments and numbers, but no other arrays"));
    }
    Ok(program.into())
}

/// A program of scalars must take and give these types.
fn check_scalars(
    name: &str,
    what: &str,
    program: &Program,
    inputs: &[DType],
    results: &[DType],
) -> Result<()> {
    let is = |avals: &mut dyn Iterator<Item = &Aval>, wanted: &[DType]| {
        let avals: Vec<&Aval> = avals.collect();
        avals.len() == wanted.len()
            && avals
                .iter()
                .zip(wanted)
                .all(|(a, d)| a.ndim() == 0 && a.dtype == *d)
    };
    let list = |d: &[DType]| {
        let all: Vec<&str> = d.iter().map(|d| d.short_name()).collect();
        all.join(", ")
    };
    let outs = program.out_avals();
    if is(&mut program.in_avals(), inputs) && is(&mut outs.iter(), results) {
        return Ok(());
    }
    let types = |avals: &mut dyn Iterator<Item = &Aval>| {
        let all: Vec<String> = avals.map(Aval::to_string).collect();
        all.join(", ")
    };
    Err(Error::argument(format!(
        "{name}: {what} goes from scalars ({}) to ({}), got ({}) to ({})",
        list(inputs),
        list(results),
        types(&mut program.in_avals()),
        types(&mut outs.iter())
    )))
}

/// Arrays of one shape in the first half of the operands, and a scalar for each in the second.
fn halves<'a>(name: &str, x: &'a [&'a Aval]) -> Result<(&'a [&'a Aval], &'a [&'a Aval])> {
    let n = x.len() / 2;
    let (arrays, inits) = x.split_at(n);
    let Some(first) = arrays.first().filter(|_| x.len() == 2 * n) else {
        return Err(Error::argument(format!(
            "{name}: {} operands are not arrays and as many initial values",
            x.len()
        )));
    };
    if let Some(other) = arrays.iter().find(|a| a.shape != first.shape) {
        return Err(Error::shape(format!(
            "{name}: {first} and {other} differ in shape"
        )));
    }
    for (a, init) in arrays.iter().zip(inits) {
        if init.ndim() > 0 || a.dtype.kind() > init.dtype.kind() {
            return Err(Error::argument(format!(
                "{name}: the initial value for {a} is {init}, not a scalar of its element type"
            )));
        }
    }
    Ok((arrays, inits))
}
