//! Structures of trees: all that a tree is besides its leaves.

use super::{Flat, Meta, PyTree, View};
use crate::array::Array;
use rustc_hash::FxHasher;
use std::{
    any::Any,
    fmt::{self, Debug},
    hash::{Hash, Hasher},
    sync::Arc,
};

/// The structure of a tree: types of nodes, lengths, keys, static fields, and where its leaves are. Trees of one structure differ in
/// their leaves alone.
///
/// ```
/// use quaxide::prelude::*;
/// let pair = |x: f32| (Array::from(x), Static(3));
/// assert_eq!(tree::structure(&pair(1.0)), tree::structure(&pair(2.0)));
/// assert_ne!(tree::structure(&(Array::from(1f32), Static(4))), tree::structure(&pair(1.0)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Structure(Arc<[Token]>);

impl Debug for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

/// A static part that is kept.
pub(super) trait Kept: Debug + Send + Sync {
    fn is(&self, other: &dyn Any) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<T: Meta> Kept for T {
    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a walk over a tree meets besides the leaves' numbers.
pub(super) enum Token {
    Node(Box<str>),
    Length(usize),
    Meta(Box<dyn Kept>),
    Leaf,
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        match (self, other) {
            (Token::Node(a), Token::Node(b)) => a == b,
            (Token::Length(a), Token::Length(b)) => a == b,
            (Token::Meta(a), Token::Meta(b)) => a.is((**b).as_any()),
            (Token::Leaf, Token::Leaf) => true,
            _ => false,
        }
    }
}

impl Eq for Token {}

impl Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Node(kind) => f.write_str(kind),
            Token::Length(n) => write!(f, "{n}"),
            Token::Meta(value) => write!(f, "{value:?}"),
            Token::Leaf => f.write_str("*"),
        }
    }
}

/// What a walk makes of the structure that it meets.
pub(super) enum Watch<'a> {
    Nothing,
    /// A number that equal structures share.
    Hash(FxHasher),
    Keep(Vec<Token>),
    /// Is it this one? What is still to come of it.
    Compare(&'a [Token]),
    /// It is not.
    Differs,
}

impl Watch<'_> {
    fn see(
        &mut self,
        hash: impl FnOnce(&mut FxHasher),
        token: impl FnOnce() -> Token,
        is: impl FnOnce(&Token) -> bool,
    ) {
        match self {
            Watch::Nothing | Watch::Differs => {}
            Watch::Hash(h) => hash(h),
            Watch::Keep(all) => all.push(token()),
            Watch::Compare(rest) => match rest.split_first() {
                Some((first, after)) if is(first) => *rest = after,
                _ => *self = Watch::Differs,
            },
        }
    }

    pub(super) fn node(&mut self, kind: &str) {
        self.see(
            |h| kind.hash(h),
            || Token::Node(kind.into()),
            |t| matches!(t, Token::Node(k) if **k == *kind),
        );
    }

    pub(super) fn length(&mut self, n: usize) {
        self.see(
            |h| n.hash(h),
            || Token::Length(n),
            |t| matches!(t, Token::Length(m) if *m == n),
        );
    }

    pub(super) fn meta<T: Meta>(&mut self, value: &T) {
        self.see(
            |h| {
                value.type_id().hash(h);
                value.hash(h);
            },
            || Token::Meta(Box::new(value.clone())),
            |t| matches!(t, Token::Meta(kept) if (**kept).as_any().downcast_ref() == Some(value)),
        );
    }

    pub(super) fn leaf(&mut self) {
        self.see(
            |h| 1u8.hash(h),
            || Token::Leaf,
            |t| matches!(t, Token::Leaf),
        );
    }
}

impl<'a> Flat<'a> {
    /// A visitor that makes no paths.
    pub(crate) fn plain(view: View, leaf: &'a mut dyn FnMut(&str, &Array)) -> Self {
        Flat {
            wants_path: false,
            ..Flat::new(view, leaf)
        }
    }

    /// A visitor that also hashes the structure, and makes no paths.
    pub(crate) fn hashing(view: View, leaf: &'a mut dyn FnMut(&str, &Array)) -> Self {
        Flat {
            watch: Watch::Hash(FxHasher::default()),
            ..Flat::plain(view, leaf)
        }
    }

    /// A visitor that also keeps the structure, and makes no paths.
    pub(crate) fn keeping(view: View, leaf: &'a mut dyn FnMut(&str, &Array)) -> Self {
        Flat {
            watch: Watch::Keep(vec![]),
            ..Flat::plain(view, leaf)
        }
    }

    /// A visitor that also compares the structure with another one, and makes no paths.
    pub(crate) fn comparing(
        view: View,
        leaf: &'a mut dyn FnMut(&str, &Array),
        with: &'a Structure,
    ) -> Self {
        Flat {
            watch: Watch::Compare(&with.0),
            ..Flat::plain(view, leaf)
        }
    }

    /// The hash of the structure so far, which equal structures share.
    pub(crate) fn hash(&self) -> u64 {
        match &self.watch {
            Watch::Hash(h) => h.finish(),
            _ => 0,
        }
    }

    /// The structure.
    pub(crate) fn structure(self) -> Structure {
        match self.watch {
            Watch::Keep(all) => Structure(all.into()),
            _ => Structure(Arc::from([])),
        }
    }

    /// Was it the structure that it was compared with?
    pub(crate) fn is_same(&self) -> bool {
        matches!(self.watch, Watch::Compare([]))
    }

    /// Meet a tree's structure, whatever its leaves are.
    pub(super) fn structure_of<T: PyTree>(&mut self, tree: &T) {
        let before = (self.view, self.wants_path, self.silent);
        (self.view, self.wants_path, self.silent) = (View::Components, false, true);
        tree.flatten(self);
        (self.view, self.wants_path, self.silent) = before;
    }
}

/// The structure of a tree.
pub fn structure<T: PyTree>(t: &T) -> Structure {
    let mut ignore = |_: &str, _: &Array| {};
    let mut flat = Flat::keeping(View::Components, &mut ignore);
    t.flatten(&mut flat);
    flat.structure()
}
