//! Array-ish values, the rules by which primitives act on them, and `quaxify`, which runs ordinary programs on them.

mod coverage;
mod custom;
mod programs;
mod quaxify;
mod record;
mod resolve;
mod rules;
mod value;

pub use coverage::{Coverage, Handling};
pub use quaxify::{Quaxify, Stages, quaxify};
pub use record::{Decision, Explained, Explanation};
pub(crate) use resolve::resolve;
pub(crate) use rules::PatternOf;
pub use rules::{Any, Dense, RuleOperand, RuleOutput, Rules};
pub use value::ArrayValue;
