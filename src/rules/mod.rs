//! What is equal to what: the algebra of equality saturation, and one file for each array-ish type.

pub mod algebra;
mod families;
mod interval;
mod lora;
mod masked;
mod named;
mod prng;
mod quantised;
mod sparse;
mod structured;
mod terms;
mod unitful;
mod zero;

pub use interval::{Interval, bounds, interval};
pub use lora::{
    DoraArray, LoraArray, LoraConfig, LoraKernel, LoraStart, adapters, loraify, unloraify,
};
pub use masked::{Masked, filled, mask_of, masked, masked_count, masked_mean, masked_var};
pub use named::{
    Named, along, axes_of, combine, contract, named, order_as, positional, reduce_named, rename,
};
pub use prng::{Algorithm, Prng, check_key_reuse};
pub use quantised::{Format, Quantised};
pub use sparse::{Bcoo, Csr};
pub use structured::{Structure, Structured};
pub use terms::Terms;
pub use unitful::{IntoUnit, Ratio, Unit, Unitful, in_unit, quantity};
pub use zero::Zero;
