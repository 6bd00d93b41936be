//! Equality saturation over sums of products.

pub mod analysis;
mod calibrate;
pub mod construct;
pub mod cost;
mod definition;
mod equality;
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
mod options;
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

pub use calibrate::calibrate;
pub use cost::CostModel;
pub use equality::Equality;
pub use memo::forget;
pub use options::{Options, state};
pub(crate) use program::rewrite;
pub use report::{PlannedIsland, optimum, plans, rewritten};
pub use view::{EClass, EGraph, ENode, egraphs};
