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
mod oracle;
pub mod plan;
pub mod problem;
mod program;
mod refine;
mod report;
pub mod rules;
pub mod solve;
pub mod structure;
mod view;

#[cfg(test)]
mod tests;

pub use memo::forget;
pub(crate) use program::rewrite;
pub use report::{PlannedIsland, optimum, plans, rewritten};
pub use view::{EClass, EGraph, ENode, egraphs};
