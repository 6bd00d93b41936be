//! Ways to run a program of plain arrays.
//!
//! The reference interpreter is simple and right: one plain function a primitive. The compiled one is fast, and tested against it.

pub mod reference;

use crate::{
    array::{Aval, Buffer},
    error::Result,
    trace::{Jaxpr, op::Op},
};
use smallvec::SmallVec;
use std::sync::Arc;

/// The results of one primitive.
pub type Buffers = SmallVec<[Buffer; 1]>;

/// Run one primitive at once.
pub(crate) fn eager(op: &Op, operands: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    reference::apply(op, operands, results)
}

/// A program that is ready to run.
pub(crate) struct Executable(Jaxpr);

impl Executable {
    pub(crate) fn new(j: &Jaxpr) -> Result<Executable> {
        Ok(Executable(j.clone()))
    }

    pub(crate) fn run(&self, args: Vec<Arc<Buffer>>) -> Result<Vec<Arc<Buffer>>> {
        reference::run(&self.0, args)
    }
}
