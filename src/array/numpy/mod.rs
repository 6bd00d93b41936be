//! Functions named as in `jax.numpy`, for what reads better as a function than as a method of [`Array`](crate::Array).
//!
//! Operands broadcast and promote; axes may be counted from the end; a function that is given operands that do not fit returns
//! an array in the error state, at the caller's line.

mod arithmetic;
mod create;
mod einsum;
mod logic;
mod nan;
mod products;
mod quantile;
mod rearrange;
mod statistics;

pub(crate) use arithmetic::power;
pub use create::*;
pub use einsum::*;
pub use products::*;
pub use quantile::QuantileMethod;
pub use rearrange::*;
pub use statistics::average;
