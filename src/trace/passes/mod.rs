//! Passes over programs: valid program in, valid program out, the same inputs and results.

mod dce;
mod inline;
