//! Ways to run a program.

pub mod reference;
