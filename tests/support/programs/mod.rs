//! Well-typed programs at random: made from a seed over every primitive, run by the functions that a user would call or by an
//! independent interpreter, shrunk when a property fails.

mod combine;
mod contract;
mod elementwise;
mod factor;
mod grow;
mod index;
mod lanes;
mod matrix;
mod nature;
mod numbers;
mod program;
mod shape;
mod shrink;
mod subprograms;

pub use grow::{Made, Options, generate};
pub use lanes::{oracle, slice};
pub use numbers::{agree, difference};
pub use program::{Program, Step};
pub use shrink::shrink;
