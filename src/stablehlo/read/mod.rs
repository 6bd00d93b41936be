//! From text to syntax.

mod attribute;
mod dense;
mod lexer;
mod parser;

pub(super) mod syntax;

pub(super) use parser::{Parsed, parse};
