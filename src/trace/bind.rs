//! The one way in for every operation. Two of the core's three doors are here: to the interpreter, and to dispatch.

use super::{Error, Result, current, op::Op, poison};
use crate::{
    array::{Array, Buffer, DynValue, Repr, Scalar},
    error::ErrorKind,
};
use smallvec::SmallVec;
use std::{cell::Cell, panic::Location, sync::Arc, thread::LocalKey};

thread_local! {
    static LOCATION: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
    static TRANSFORMED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

struct Restore(
    &'static LocalKey<Cell<Option<&'static Location<'static>>>>,
    Option<&'static Location<'static>>,
);
impl Drop for Restore {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Run `f` with every operation in it attributed to `at`: the equation whose rule `f` is, not a line of this crate.
pub(crate) fn with_location<R>(at: &'static Location<'static>, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(&LOCATION, LOCATION.replace(Some(at)));
    f()
}

/// Run a function that was given to a transformation at `at`.
pub(crate) fn transformed_at<R>(at: &'static Location<'static>, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(&TRANSFORMED, TRANSFORMED.replace(Some(at)));
    f()
}

/// The place itself, but where a function such as `nn::Linear::call` was given to a transformation as it is: its caller is then a
/// line of Rust's own library, and the user's line is that of the transformation.
pub(crate) fn place(at: &'static Location<'static>) -> &'static Location<'static> {
    let file = at.file();
    if file.ends_with("function.rs") && file.contains("library") && file.contains("core") {
        return TRANSFORMED.get().unwrap_or(at);
    }
    at
}

/// The line of the user's program that is being run: the caller's, if no rule is at work.
#[track_caller]
pub(crate) fn here() -> &'static Location<'static> {
    match LOCATION.get() {
        Some(at) => at,
        None => place(Location::caller()),
    }
}

/// Apply a primitive that has one result.
///
/// The result is in the error state if the operands do not fit. With no trace in progress it is computed at once.
#[track_caller]
pub fn bind(op: impl Into<Op>, args: &[&Array]) -> Array {
    bind_op(&op.into(), args, here())
}

/// As [`bind`], for a place in the user's program that is known.
pub(crate) fn bind_op(op: &Op, args: &[&Array], at: &'static Location<'static>) -> Array {
    let at = LOCATION.get().unwrap_or(at);
    match bind_at(op, args, at) {
        Ok(mut results) => match (results.pop(), results.is_empty()) {
            (Some(y), true) => y,
            _ => Array::error(Error::internal(format!(
                "`{}` has not just one result",
                op.name()
            ))),
        },
        Err(e) => Array::error(e),
    }
}

/// Apply a primitive that has any number of results. An error if the operands do not fit.
#[track_caller]
pub fn bind_all(op: impl Into<Op>, args: &[Array]) -> Result<Vec<Array>> {
    let args: SmallVec<[&Array; 8]> = args.iter().collect();
    Ok(bind_at(&op.into(), &args, here())?.into_vec())
}

/// As [`bind_all`], for a place in the user's program that is known. A failure poisons the trace in progress.
pub(crate) fn bind_at(
    op: &Op,
    args: &[&Array],
    at: &'static Location<'static>,
) -> Result<SmallVec<[Array; 1]>> {
    if let Some(e) = args.iter().find_map(|a| a.err()) {
        return Err(e.clone());
    }
    let at = place(at);
    let results = match current() {
        None => eager(op, args),
        Some(t) if t.context().is_some() => crate::dispatch::resolve(&t, op, args, at),
        Some(t) => t.record(op, args, at),
    };
    results.map_err(|e| {
        let e = e.at(at);
        poison(&e);
        e
    })
}

fn eager(op: &Op, args: &[&Array]) -> Result<SmallVec<[Array; 1]>> {
    let mut buffers: SmallVec<[Arc<Buffer>; 4]> = SmallVec::new();
    for a in args {
        buffers.push(match &a.0 {
            Repr::Dense(b) => b.clone(),
            Repr::Zero(aval) => Arc::new(Buffer::full((**aval).clone(), Scalar::Int(0))?),
            Repr::Value(v) => return Err(not_quaxified(&**v)),
            Repr::Traced(t) => return Err(t.escaped()),
            Repr::Error(e) => return Err(e.clone()),
        });
    }
    let operands: SmallVec<[&crate::array::Aval; 4]> =
        buffers.iter().map(|b| &**b.aval()).collect();
    let avals = op
        .infer(&operands)
        .map_err(|e| e.operation(|| op.describe(&operands)))?;
    let results = crate::interp::eager(op, &buffers, &avals)
        .map_err(|e| e.operation(|| op.describe(&operands)))?;
    Ok(results
        .into_iter()
        .map(|b| Array::from_shared(Arc::new(b)))
        .collect())
}

/// The error of computing with a value outside of every `quaxify`.
pub(super) fn not_quaxified(v: &dyn DynValue) -> Error {
    Error::new(
        ErrorKind::NotQuaxified,
        format!(
            "{} is not a plain array: computing with it needs `quaxify`",
            v.describe()
        ),
    )
    .note("write `quaxify(f)(..)` around the function that computes with it")
}
