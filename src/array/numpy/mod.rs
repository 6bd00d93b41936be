//! Functions named as in `jax.numpy`, for what reads better as a function than as a method of [`Array`](crate::Array).
//!
//! Operands broadcast and promote; axes may be counted from the end; a function that is given operands that do not fit returns
//! an array in the error state, at the caller's line.

mod along;
mod arithmetic;
mod choose;
mod create;
mod einsum;
mod functions;
mod histogram;
mod logic;
mod mean;
mod nan;
mod polynomial;
mod products;
mod quantile;
mod rearrange;
mod signal;
mod statistics;

pub use along::*;
pub(crate) use arithmetic::power as raised;
pub use choose::*;
pub use create::*;
pub(crate) use create::{diagonal_of, triangle_of};
pub use einsum::*;
pub use functions::*;
pub(crate) use histogram::add_at;
pub use histogram::{
    corrcoef, cov, cov_weighted, digitize, histogram, histogram_bin_edges, histogram2d, histogramdd,
};
pub use mean::{MEAN, MEAN_BACK, Mean, MeanBack};
pub use polynomial::*;
pub(crate) use products::kron_of;
pub use products::*;
pub use quantile::QuantileMethod;
pub use rearrange::*;
pub use signal::*;
pub use statistics::average;
