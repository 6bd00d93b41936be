//! The outermost boundary: the one place where a finished program is rewritten, compiled and run.

use crate::{
    array::{Array, Buffer, Repr, Scalar},
    error::{Error, Result},
    trace::{
        self, Jaxpr,
        passes::{CSE, DCE, FOLD, INLINE, STREAM},
    },
};
use smallvec::SmallVec;
use std::sync::Arc;

use crate::rules::algebra::{self, Planning as Scoped};

/// The options that a program is planned under.
pub(crate) type Planning = Scoped;

/// A program that is ready to run.
pub(crate) struct Executable(crate::interp::Executable);

/// The plan of a program: what the passes leave of it, as equality saturation would have it.
pub(crate) fn rewrite(j: Jaxpr) -> Result<Jaxpr> {
    let j = j.through(&[INLINE, CSE, DCE])?;
    // Folding comes after, so that a refusal names what the user wrote.
    algebra::rewrite(&j)?.through(&[FOLD, INLINE, CSE, DCE, STREAM, DCE])
}

/// Rewrite and compile a program that captures nothing but numbers.
pub(crate) fn compile(j: Jaxpr) -> Result<Executable> {
    Ok(Executable(crate::interp::Executable::new(&rewrite(j)?)?))
}

impl Executable {
    pub(crate) fn run(&self, args: Vec<Array>) -> Result<Vec<Array>> {
        let mut buffers: SmallVec<[Arc<Buffer>; 8]> = SmallVec::with_capacity(args.len());
        for x in args {
            buffers.push(numbers(x)?);
        }
        let results = self.0.run(&buffers)?;
        Ok(results.into_iter().map(Array::from_shared).collect())
    }
}

fn numbers(x: Array) -> Result<Arc<Buffer>> {
    match x.0 {
        Repr::Dense(b) => Ok(b),
        Repr::Zero(a) => Ok(Arc::new(Buffer::full((*a).clone(), Scalar::Int(0))?)),
        Repr::Error(e) => Err(e),
        Repr::Traced(t) => Err(t.escaped()),
        Repr::Value(v) => Err(Error::internal(format!(
            "{} reached the interpreter",
            v.describe()
        ))),
    }
}

/// Within a trace a program is inlined into it; outside of every trace it is rewritten, compiled and run.
pub(crate) fn run(j: Jaxpr, args: &[Array]) -> Result<Vec<Array>> {
    if trace::is_tracing() {
        return j.eval(args);
    }
    compile(j)?.run(args.to_vec())
}
