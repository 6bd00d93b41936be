//! Random numbers, bit for bit those of `jax.random` with its default generator.

pub mod threefry;
