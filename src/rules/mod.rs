//! What is equal to what: the algebra of equality saturation, and one file for each array-ish type.

pub mod algebra;
mod lora;

pub use lora::{LoraArray, LoraConfig, adapters, loraify, unloraify};
