//! Quantities with a unit of measurement.

mod parse;
mod ratio;
mod table;
mod unit;
mod value;

pub use ratio::Ratio;
use unit::{Factor, Factors};
pub use unit::{IntoUnit, Unit};
pub use value::{Unitful, in_unit, quantity};
