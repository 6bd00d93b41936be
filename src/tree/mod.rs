//! Trees: the structures of arrays that functions take and return.
//!
//! [`PyTree::flatten`] visits the leaves in order, with their paths; [`PyTree::unflatten`] rebuilds a tree from a prototype and new
//! leaves, so that static fields need no description of their own. `#[derive(PyTree)]` writes both.

mod edit;
mod impls;
mod structure;
mod summary;

pub use edit::*;
pub use impls::Static;
pub use structure::{Structure, structure};
pub use summary::summary;

use crate::{
    array::{Array, DynValue},
    error::{Error, Result},
};
use std::{any::Any, fmt::Debug, hash::Hash};
use structure::Watch;

/// What an array-ish value is to a walk over a tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum View {
    /// A container: its components are the leaves. So it is outside of every `quaxify`.
    Components,
    /// One leaf. So it is inside of one.
    Values,
}

/// A tree of arrays.
///
/// ```
/// use quaxide::prelude::*;
/// #[derive(Clone, PyTree)]
/// struct Affine {
///     weight: Array,
///     bias: Option<Array>,
///     #[pytree(meta)]
///     name: String,
/// }
/// let layer = Affine { weight: Array::ones([2], DType::F32), bias: None, name: "a".into() };
/// let doubled = tree::map(&layer, |x| x * 2.0);
/// assert_eq!(doubled.weight.to_vec::<f32>().unwrap(), [2.0, 2.0]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tree of arrays",
    label = "not a `PyTree`",
    note = "derive it: `#[derive(Clone, PyTree)]`; mark a field that holds no arrays `#[pytree(meta)]`",
    note = "numbers and flags are not leaves: make it an `Array` to trace it, or `Static(..)` / `#[pytree(meta)]` to fix it at trace time"
)]
pub trait PyTree: Clone + Send + Sync + 'static {
    /// Visit the leaves in order.
    fn flatten(&self, out: &mut Flat<'_>);
    /// A tree of the same structure with other leaves, taken in the same order.
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self;
}

/// What a static part of a tree must be able to do: it is part of the tree's structure.
pub trait Meta: Debug + Send + Sync + Hash + Eq + Clone + 'static {}
impl<T: Debug + Send + Sync + Hash + Eq + Clone + 'static> Meta for T {}

/// The visitor that [`PyTree::flatten`] reports to.
pub struct Flat<'a> {
    view: View,
    leaf: &'a mut dyn FnMut(&str, &Array),
    watch: Watch<'a>,
    path: String,
    wants_path: bool,
    /// Does nobody hear of the leaves?
    silent: bool,
    count: usize,
    depth: usize,
}

/// Values nest to this depth, and no deeper.
pub const MAX_VALUE_DEPTH: usize = 64;

impl<'a> Flat<'a> {
    /// A visitor that calls `leaf` with each leaf and its path.
    pub fn new(view: View, leaf: &'a mut dyn FnMut(&str, &Array)) -> Self {
        Flat {
            view,
            leaf,
            watch: Watch::Nothing,
            path: String::new(),
            wants_path: true,
            silent: false,
            count: 0,
            depth: 0,
        }
    }

    /// Enter the type (and variant) of a node into the structure.
    pub fn node(&mut self, kind: &str) {
        self.watch.node(kind);
    }

    /// Enter a number of children into the structure.
    pub fn length(&mut self, n: usize) {
        self.watch.length(n);
    }

    /// Enter a static part into the structure.
    pub fn meta<T: Meta>(&mut self, label: &str, value: &T) {
        let _ = label;
        self.watch.meta(value);
    }

    /// Visit a child under its name.
    pub fn child<T: PyTree>(&mut self, label: &str, child: &T) {
        self.under(
            |path| {
                path.push('.');
                path.push_str(label);
            },
            child,
        );
    }

    /// Visit a child under its number.
    pub fn element<T: PyTree>(&mut self, index: usize, child: &T) {
        self.under(|path| path.push_str(&format!("[{index}]")), child);
    }

    /// Visit a child under its key.
    pub fn entry<K: Meta, T: PyTree>(&mut self, key: &K, child: &T) {
        self.meta("key", key);
        self.under(|path| path.push_str(&format!("[{key:?}]")), child);
    }

    fn under<T: PyTree>(&mut self, name: impl FnOnce(&mut String), child: &T) {
        let n = self.path.len();
        if self.wants_path {
            name(&mut self.path);
        }
        child.flatten(self);
        self.path.truncate(n);
    }

    fn leaf(&mut self, x: &Array) {
        self.watch.leaf();
        if !self.silent {
            self.count += 1;
            (self.leaf)(&self.path, x);
        }
    }

    /// Visit those leaves of a tree that are kept; components of values are leaves in it.
    fn part<T: PyTree>(&mut self, tree: &T, kept: &[bool]) {
        self.structure_of(tree);
        let mut kept = kept.iter();
        tree.flatten(&mut Flat::new(View::Components, &mut |path, x| {
            if kept.next() == Some(&true) {
                let n = self.path.len();
                self.path.push_str(path);
                self.leaf(x);
                self.path.truncate(n);
            }
        }));
    }

    fn value(&mut self, v: &dyn DynValue) {
        self.node(v.type_name());
        self.depth += 1;
        if self.depth > MAX_VALUE_DEPTH {
            self.leaf(&Array::error(too_deep()));
        } else {
            v.flatten_dyn(self);
        }
        self.depth -= 1;
    }

    /// The number of leaves so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

pub(crate) fn too_deep() -> Error {
    Error::unsupported(format!(
        "array-ish values are nested more than {MAX_VALUE_DEPTH} deep"
    ))
}

type Replace<'a> = &'a mut dyn FnMut(&dyn Any) -> Option<Box<dyn Any>>;

/// The source of new leaves that [`PyTree::unflatten`] draws from.
pub struct Leaves<'a> {
    view: View,
    next: &'a mut dyn FnMut(&Array) -> Array,
    node: Option<Replace<'a>>,
    depth: usize,
}

impl<'a> Leaves<'a> {
    /// A source that gives, for each old leaf, the new one.
    pub fn new(view: View, next: &'a mut dyn FnMut(&Array) -> Array) -> Self {
        Leaves {
            view,
            next,
            node: None,
            depth: 0,
        }
    }

    pub(crate) fn replacing(
        view: View,
        next: &'a mut dyn FnMut(&Array) -> Array,
        node: Replace<'a>,
    ) -> Self {
        Leaves {
            node: Some(node),
            ..Leaves::new(view, next)
        }
    }

    /// A tree with other leaves where they are kept; components of values are leaves in it.
    fn part<T: PyTree>(&mut self, tree: &T, kept: &[bool]) -> T {
        let mut kept = kept.iter();
        let mut next = |x: &Array| match kept.next() {
            Some(true) => (self.next)(x),
            _ => x.clone(),
        };
        tree.unflatten(&mut Leaves::new(View::Components, &mut next))
    }

    /// What the walk puts in the place of this whole node, if anything. Derived code asks first.
    pub fn replacement<T: 'static>(&mut self, node: &T) -> Option<T> {
        (self.node.as_mut()?)(node)?.downcast().ok().map(|b| *b)
    }
}

impl PyTree for Array {
    fn flatten(&self, out: &mut Flat<'_>) {
        match self.as_dyn_value() {
            Some(v) if out.view == View::Components => out.value(&**v),
            _ => out.leaf(self),
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        match self.as_dyn_value() {
            Some(v) if leaves.view == View::Components => {
                leaves.depth += 1;
                let rebuilt = if leaves.depth > MAX_VALUE_DEPTH {
                    (leaves.next)(self)
                } else {
                    Array::from_dyn_value(v.unflatten_dyn(leaves))
                };
                leaves.depth -= 1;
                rebuilt
            }
            _ => (leaves.next)(self),
        }
    }
}

/// The leaves, in order. Array-ish values are containers.
pub fn leaves<T: PyTree>(t: &T) -> Vec<Array> {
    leaves_in(t, View::Components)
}

pub(crate) fn leaves_in<T: PyTree>(t: &T, view: View) -> Vec<Array> {
    let mut all = vec![];
    t.flatten(&mut Flat::new(view, &mut |_, x| all.push(x.clone())));
    all
}

/// The leaves with their paths: `.layers[0].weight`.
pub fn leaves_with_paths<T: PyTree>(t: &T) -> Vec<(String, Array)> {
    let mut all = vec![];
    t.flatten(&mut Flat::new(View::Components, &mut |path, x| {
        all.push((path.to_string(), x.clone()));
    }));
    all
}

/// A tree of the same structure with other leaves. An error if their number is not the tree's.
pub fn unflatten<T: PyTree>(like: &T, leaves: Vec<Array>) -> Result<T> {
    let mut given = leaves.into_iter();
    let mut missing = 0usize;
    let mut next = |_: &Array| {
        given.next().unwrap_or_else(|| {
            missing += 1;
            Array::error(Error::tree("too few leaves"))
        })
    };
    let t = like.unflatten(&mut Leaves::new(View::Components, &mut next));
    let over = given.len();
    if missing + over > 0 {
        return Err(Error::tree(format!(
            "the tree has {} leaves, {} were given",
            leaves_in(like, View::Components).len(),
            leaves_in(like, View::Components).len() + over - missing
        )));
    }
    Ok(t)
}

/// The tree with `f` applied to each leaf. Array-ish values are containers.
pub fn map<T: PyTree>(t: &T, mut f: impl FnMut(&Array) -> Array) -> T {
    t.unflatten(&mut Leaves::new(View::Components, &mut f))
}
