//! From text to syntax.

mod attribute;
mod dense;
mod lexer;
mod parser;
mod source;
pub(super) mod syntax;

pub(super) use parser::{Parsed, parse};
pub(crate) use source::Source;
