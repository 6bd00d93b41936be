//! The one error type: what was asked, what was found, where, and what would work.

use std::{fmt, panic::Location, sync::Arc};

/// A result whose error is Quaxide's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of mistake an [`Error`] reports, for programs that want to react to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit each other or the operation.
    Shape,
    /// Element types do not fit each other or the operation.
    DType,
    /// An argument has a value that the operation cannot take.
    Argument,
    /// An index or a slice lies outside of its array.
    Index,
    /// A value refuses to become a plain array, or a rule refuses its operands.
    Refused,
    /// Several rules, defaults or definitions fit and none is the most specific.
    Ambiguous,
    /// A traced array was used outside of its trace, on another thread, or as if it held numbers.
    Escaped,
    /// A value that is not a plain array met an operation outside of `quaxify`.
    NotQuaxified,
    /// The operation has no meaning for these operands, or no derivative.
    Unsupported,
    /// The structure of a tree is not what it has to be.
    Tree,
    /// A text or a file is not what it has to be.
    Format,
    /// The operating system said no.
    Io,
    /// Memory could not be had.
    Memory,
    /// A broken promise inside Quaxide or inside a user's rule.
    Internal,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    at: Option<&'static Location<'static>>,
    operation: Option<String>,
    notes: Vec<String>,
}

/// An error of any Quaxide operation. Cheap to clone; prints as a compiler's message does.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::zeros([2], DType::F32) + Array::zeros([3], DType::F32);
/// let e = x.ok().unwrap_err();
/// assert!(e.to_string().contains("f32[2]") && e.to_string().contains("f32[3]"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        #[cold]
        pub fn $name(message: impl Into<String>) -> Error {
            Error::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of a kind, with its message.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            at: None,
            operation: None,
            notes: vec![],
        }))
    }

    constructors! {
        /// Shapes do not fit.
        shape => Shape;
        /// Element types do not fit.
        dtype => DType;
        /// An argument has an impossible value.
        argument => Argument;
        /// An index lies outside.
        index => Index;
        /// A value or a rule refuses; array-ish types say so from `materialise`.
        refused => Refused;
        /// The operation has no meaning here.
        unsupported => Unsupported;
        /// A tree has another structure than it has to have.
        tree => Tree;
        /// A text or a file is malformed.
        format => Format;
        /// Memory could not be had.
        memory => Memory;
        /// A promise was broken inside Quaxide or inside a rule.
        internal => Internal;
    }

    /// The sort of mistake.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone, without place, operation and notes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The place in the caller's source that the error belongs to, if known.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.at
    }

    /// The notes, in order.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Is it the same error with more notes?
    pub(crate) fn says_more_than(&self, other: &Error) -> bool {
        let (a, b) = (&self.0, &other.0);
        (a.kind, &a.message) == (b.kind, &b.message)
            && a.notes.len() > b.notes.len()
            && a.notes.starts_with(&b.notes)
    }

    fn edit(mut self, f: impl FnOnce(&mut Inner)) -> Error {
        f(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error with the place it belongs to, unless it has one already.
    #[must_use]
    pub fn at(self, at: &'static Location<'static>) -> Error {
        if self.0.at.is_some() {
            return self;
        }
        self.edit(|e| e.at = Some(crate::trace::place(at)))
    }

    /// The same error with the operation and its operand types, unless it has one already.
    #[must_use]
    pub fn operation(self, operation: impl FnOnce() -> String) -> Error {
        if self.0.operation.is_some() {
            return self;
        }
        self.edit(|e| e.operation = Some(operation()))
    }

    /// The same error with one more note: a reason, or what would work.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Error {
        let note = note.into();
        if self.0.notes.contains(&note) {
            return self;
        }
        self.edit(|e| e.notes.push(note))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(at) = self.0.at {
            write!(f, "\n  --> {}:{}:{}", at.file(), at.line(), at.column())?;
        }
        if let Some(operation) = &self.0.operation {
            write!(f, "\n  in: {operation}")?;
        }
        for note in &self.0.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, e.to_string())
    }
}
