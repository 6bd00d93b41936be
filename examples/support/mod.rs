//! What the examples share.

pub mod digits;
pub mod progress;
pub mod svg;
