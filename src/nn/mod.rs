//! Networks: layers as plain trees, with Equinox's constructors and initialisation; activations; losses.

mod activation;
mod function;
mod linear;
pub mod losses;

use crate::{
    array::{Array, fail},
    error::Result,
    trace::{here, with_location},
};

pub use activation::*;
pub use function::Activation;
pub use linear::{Features, Linear, LinearConfig, Mlp, MlpConfig};

/// What a function of this module computes, attributed to the caller's line with all that it is made of.
#[track_caller]
fn made(f: impl FnOnce() -> Result<Array>) -> Array {
    with_location(here(), || f().unwrap_or_else(fail))
}
