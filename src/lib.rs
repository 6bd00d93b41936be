//! Quaxide: array programs, reinterpreted.

pub mod interp;
pub mod random;
pub mod rules;
