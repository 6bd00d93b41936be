//! Ways to run a program of plain arrays.
//!
//! The reference interpreter is simple and right: one plain function a primitive. The compiled one is fast, and tested against it.

pub(crate) mod compiled;
pub mod reference;

use crate::array::Buffer;
use smallvec::SmallVec;

pub(crate) use compiled::{Executable, eager};

/// The results of one primitive.
pub type Buffers = SmallVec<[Buffer; 1]>;
