//! Equality saturation over sums of products.

mod account;
mod analysis;
mod apply;
mod calibrate;
mod choose;
mod construct;
mod cost;
mod definition;
mod equality;
mod equation;
mod estimate;
mod exact;
mod export;
mod extract;
mod form;
mod groups;
mod import;
mod language;
mod lower;
mod memo;
mod moving;
mod network;
mod notation;
mod options;
mod oracle;
mod phases;
mod plan;
mod problem;
mod program;
mod refine;
mod report;
mod residual;
mod rules;
mod solve;
mod store;
mod structure;
mod view;
mod waits;

#[cfg(test)]
mod tests;

pub use account::Beaten;
pub use calibrate::calibrate;
pub use choose::{Way, cheapest};
pub use cost::CostModel;
pub use equality::Equality;
pub use memo::forget;
pub use notation::Notation;
pub(crate) use options::Planning;
pub use options::{Options, state};
pub use phases::{Graphs, Phases};
pub(crate) use program::rewrite;
pub use report::{PlannedIsland, explained, optimum, plans, rewritten};
pub use store::{load_plans, save_plans};
pub use view::{EClass, EGraph, ENode, egraphs, page};
