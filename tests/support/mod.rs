//! What the tests share.
#![allow(dead_code, reason = "each file of tests uses its own part")]

pub mod check;
pub mod golden;
