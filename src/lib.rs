//! Quaxide: array programs, reinterpreted.

pub mod rules;
