//! A text with a name: where a mistake in it is, for people.

use crate::error::{Error, ErrorKind};

/// A text that is being read, and what to call it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'t> {
    /// The file, or `<text>`.
    pub(crate) name: &'t str,
    /// All of it.
    pub(crate) text: &'t str,
}

/// How much of a line an error shows on either side of its place.
const CONTEXT: usize = 60;

impl<'t> Source<'t> {
    /// Line and column of a byte, both from 1; columns count characters.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let (start, _) = self.line(at);
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = self.text.get(start..at).unwrap_or_default();
        (line, column.chars().count() + 1)
    }

    /// Where the line of a byte starts and ends.
    fn line(&self, at: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let at = at.min(bytes.len());
        let newline = |b: &u8| *b == b'\n';
        let start = bytes
            .get(..at)
            .and_then(|b| b.iter().rposition(newline))
            .map_or(0, |i| i + 1);
        let end = bytes
            .get(at..)
            .and_then(|b| b.iter().position(newline))
            .map_or(bytes.len(), |i| at + i);
        (start, end)
    }

    /// An error at a byte of the text: `file:line:column`, what is wrong, the line, and a caret under the place.
    pub(crate) fn error(&self, kind: ErrorKind, at: usize, message: &str) -> Error {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let (line, column) = self.place(at);
        let (start, end) = self.line(at);
        let boundary = |mut i: usize| {
            while !self.text.is_char_boundary(i) {
                i -= 1;
            }
            i
        };
        let from = boundary(start.max(at.saturating_sub(CONTEXT)));
        let to = boundary(end.min(at.saturating_add(CONTEXT)));
        let shown = self.text.get(from..to).unwrap_or_default();
        let tabless: String = shown
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let (left, right) = (
            if from > start { "…" } else { "" },
            if to < end { "…" } else { "" },
        );
        let under =
            self.text.get(from..at).unwrap_or_default().chars().count() + left.chars().count();
        Error::new(
            kind,
            format!(
                "{}:{line}:{column}: {message}\n  {left}{}{right}\n  {}^",
                self.name,
                tabless.trim_end(),
                " ".repeat(under)
            ),
        )
    }

    /// An error of form.
    pub(crate) fn malformed(&self, at: usize, message: impl AsRef<str>) -> Error {
        self.error(ErrorKind::Format, at, message.as_ref())
    }

    #[cfg(feature = "stablehlo")]
    /// An error about something that is well-formed, but that this crate does not do.
    pub(crate) fn unsupported(&self, at: usize, message: impl AsRef<str>) -> Error {
        self.error(ErrorKind::Unsupported, at, message.as_ref())
    }
}
