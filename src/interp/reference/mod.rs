//! One plain function a primitive: the oracle that every other interpreter is compared with.

pub mod special;
