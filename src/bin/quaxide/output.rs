//! Standard output, and what is written there.

use quaxide::Result;
use std::io::{StdoutLock, Write};

/// Standard output.
pub(crate) struct Output(StdoutLock<'static>);

impl Output {
    pub(crate) fn new() -> Output {
        Output(std::io::stdout().lock())
    }

    /// Write a line. An error if nobody reads any more, which `main` passes over in silence.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.0, "{text}")?;
        Ok(())
    }
}

/// A text as JSON has it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
