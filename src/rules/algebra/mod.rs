//! Equality saturation over sums of products.

pub mod analysis;
pub mod construct;
pub mod cost;
mod definition;
mod equation;
pub mod exact;
mod export;
pub mod extract;
mod import;
pub mod language;
pub mod lower;
mod memo;
mod moving;
pub mod network;
pub mod plan;
pub mod problem;
mod program;
mod refine;
pub mod rules;
pub mod solve;
pub mod structure;

#[cfg(test)]
mod tests;

pub(crate) use program::rewrite;
pub use program::{PlannedIsland, plans};
