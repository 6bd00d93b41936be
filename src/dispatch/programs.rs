//! Programs within programs, when a value is among their operands: they are interpreted again with the real types inside.

use super::rules::Results;
use crate::{array::Array, error::Result, trace::op::Op};
use std::panic::Location;

/// The results of a primitive with programs inside; `None` for every other primitive.
pub(super) fn dispatch(
    op: &Op,
    args: &[&Array],
    _at: &'static Location<'static>,
) -> Result<Option<Results>> {
    match op {
        Op::Jit(call) => {
            let args: Vec<Array> = args.iter().map(|a| (*a).clone()).collect();
            Ok(Some(call.jaxpr.eval(&args)?.into()))
        }
        _ => Ok(None),
    }
}
