//! Equality saturation over sums of products.

pub mod analysis;
pub mod construct;
pub mod cost;
pub mod exact;
pub mod export;
pub mod extract;
pub mod import;
pub mod language;
pub mod lower;
pub mod network;
pub mod plan;
pub mod problem;
mod rewrite;
pub mod rules;
pub mod solve;

pub(crate) use rewrite::rewrite;

#[cfg(test)]
mod tests;
