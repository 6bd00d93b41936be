//! What is equal to what: the algebra that equality saturation works on.

pub mod algebra;
