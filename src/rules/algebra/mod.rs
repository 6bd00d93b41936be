//! Equality saturation over sums of products.

pub mod analysis;
pub mod construct;
pub mod cost;
pub mod exact;
pub mod extract;
pub mod language;
pub mod lower;
pub mod network;
pub mod plan;
pub mod problem;
pub mod rules;
pub mod solve;

#[cfg(test)]
mod tests;

use crate::{error::Result, trace::Jaxpr};

/// The cheapest program that equals this one.
pub(crate) fn rewrite(j: &Jaxpr) -> Result<Jaxpr> {
    Ok(j.clone())
}
