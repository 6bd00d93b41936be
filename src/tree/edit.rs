//! Changing trees: nodes of a type, leaves at a path, parts.

use super::{Flat, Leaves, PyTree, View};
use crate::{
    array::Array,
    error::{Error, Result},
};
use std::{any::Any, sync::Arc};

/// The tree with every node of type `N` replaced, wherever it sits.
///
/// ```
/// use quaxide::prelude::*;
/// let model = (nn::Linear::new(2, 3, &random::key(0)), Some(nn::Linear::new(3, 1, &random::key(1))));
/// let frozen = tree::map_nodes(&model, |l: &nn::Linear| tree::map(l, |x| x.stop_gradient()));
/// assert_eq!(tree::leaves(&frozen).len(), 4);
/// ```
pub fn map_nodes<T: PyTree, N: PyTree>(t: &T, mut f: impl FnMut(&N) -> N) -> T {
    let mut node =
        |x: &dyn Any| -> Option<Box<dyn Any>> { Some(Box::new(f(x.downcast_ref::<N>()?))) };
    t.unflatten(&mut Leaves::replacing(
        View::Values,
        &mut |x| x.clone(),
        &mut node,
    ))
}

/// Combine trees of one structure leaf by leaf. An error if their leaves do not pair up.
pub fn map2<T: PyTree>(a: &T, b: &T, mut f: impl FnMut(&Array, &Array) -> Array) -> Result<T> {
    let (xs, ys) = (super::leaves(a), super::leaves(b));
    if xs.len() != ys.len() || super::structure(a) != super::structure(b) {
        return Err(Error::tree(format!(
            "trees of {} and {} leaves have different structures",
            xs.len(),
            ys.len()
        )));
    }
    super::unflatten(a, xs.iter().zip(&ys).map(|(x, y)| f(x, y)).collect())
}

/// A part of a tree: a tree whose leaves are some of another's, under the same paths.
///
/// It is differentiated, optimised, compiled and saved as what it is, with no room for what it does not hold. Made by [`partition`];
/// [`Part::onto`] and [`combine`] make it whole.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// With symbolic zeros for the leaves that are not in it.
    tree: T,
    kept: Arc<[bool]>,
}

impl<T: PyTree> PyTree for Part<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Part");
        out.meta("kept", &self.kept);
        out.part(&self.tree, &self.kept);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Part {
            tree: leaves.part(&self.tree, &self.kept),
            kept: self.kept.clone(),
        }
    }
}

impl<T: PyTree> Part<T> {
    /// The tree, with symbolic zeros for the leaves that are not in the part. Of gradients, these are what an optimiser leaves alone.
    pub fn tree(&self) -> &T {
        &self.tree
    }

    /// A whole tree with the part's leaves in the place of its own. An error if the structures differ.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// // Only the bias is trained.
    /// let layer = nn::Linear::new(2, 3, &random::key(0));
    /// let (bias, _) = tree::partition(&layer, |path, _| path == ".bias");
    /// let loss = |bias: &tree::Part<nn::Linear>, layer: &nn::Linear, x: &Array| -> Result<Array> {
    ///     Ok(bias.onto(layer)?.call(x).sum(()))
    /// };
    /// let g = grad(loss)(&bias, &layer, &Array::ones([2], DType::F32)).unwrap();
    /// assert_eq!(tree::leaves(&g).len(), 1);
    /// ```
    pub fn onto(&self, whole: &T) -> Result<T> {
        let mut kept = self.kept.iter();
        map2(&self.tree, whole, |x, y| match kept.next() {
            Some(true) => x.clone(),
            _ => y.clone(),
        })
    }
}

/// The leaves that `keep` picks by path and value, and the others.
///
/// ```
/// use quaxide::prelude::*;
/// let layer = nn::Linear::new(2, 3, &random::key(0));
/// let (weights, biases) = tree::partition(&layer, |path, _| path.ends_with(".weight"));
/// assert_eq!((tree::count(&weights), tree::count(&biases)), (6, 3));
/// let whole = tree::combine(&weights, &biases).unwrap();
/// assert_eq!(tree::count(&whole), 9);
/// ```
pub fn partition<T: PyTree>(
    t: &T,
    mut keep: impl FnMut(&str, &Array) -> bool,
) -> (Part<T>, Part<T>) {
    let mut picked = vec![];
    t.flatten(&mut Flat::new(View::Components, &mut |path, x| {
        picked.push(keep(path, x));
    }));
    let side = |wanted: bool| {
        let kept: Arc<[bool]> = picked.iter().map(|flag| *flag == wanted).collect();
        let mut flags = kept.iter();
        let tree = super::map(t, |x| match (flags.next(), x.aval()) {
            (Some(false), Ok(a)) => Array::symbolic_zero(a),
            _ => x.clone(),
        });
        Part { tree, kept }
    };
    (side(true), side(false))
}

/// The tree that two parts make together. An error if a leaf is in both or in none, or if the structures differ.
pub fn combine<T: PyTree>(a: &Part<T>, b: &Part<T>) -> Result<T> {
    let paths = super::leaves_with_paths(&a.tree);
    for ((path, _), (in_a, in_b)) in paths.iter().zip(a.kept.iter().zip(b.kept.iter())) {
        if in_a == in_b {
            let where_found = if *in_a { "both parts" } else { "neither part" };
            return Err(Error::tree(format!(
                "the leaf `{path}` is in {where_found}"
            )));
        }
    }
    a.onto(&b.tree)
}

/// The number of elements of all leaves, symbolic zeros left out: of a model, how many parameters it has.
pub fn count<T: PyTree>(t: &T) -> usize {
    let sizes = super::leaves(t).into_iter();
    sizes
        .filter(|x| !x.is_symbolic_zero())
        .map(|x| x.size())
        .sum()
}

/// A place in a tree, by its path as [`super::leaves_with_paths`] writes it. Made by [`at`].
#[derive(Clone, Debug)]
pub struct At<'t, T> {
    tree: &'t T,
    path: String,
}

/// The leaf of a tree at a path: a whole array-ish value (`.weight`), or a component of one (`.weight.a`).
///
/// ```
/// use quaxide::prelude::*;
/// let pair = (Array::from([1f32]), vec![Array::from([2f32])]);
/// let changed = tree::at(&pair, "[1][0]").set(&Array::from([5f32])).unwrap();
/// assert_eq!(changed.1[0].to_vec::<f32>().unwrap(), [5.0]);
/// ```
pub fn at<'t, T: PyTree>(tree: &'t T, path: &str) -> At<'t, T> {
    At {
        tree,
        path: path.to_string(),
    }
}

impl<T: PyTree> At<'_, T> {
    /// The leaf, and its number among the leaves that a view shows.
    fn find(&self) -> Result<(View, usize, Array)> {
        let mut all = vec![];
        for view in [View::Values, View::Components] {
            let (mut found, mut count) = (None, 0);
            all.clear();
            self.tree.flatten(&mut Flat::new(view, &mut |path, x| {
                if path == self.path {
                    found = Some((view, count, x.clone()));
                }
                all.push(path.to_string());
                count += 1;
            }));
            if let Some(found) = found {
                return Ok(found);
            }
        }
        let near: Vec<String> = all.into_iter().take(12).collect();
        Err(
            Error::tree(format!("the tree has no leaf at `{}`", self.path))
                .note(format!("its leaves are {}", near.join(", "))),
        )
    }

    /// The leaf there. An error if there is none.
    pub fn get(&self) -> Result<Array> {
        Ok(self.find()?.2)
    }

    /// The tree with another leaf there. An error if there is none.
    pub fn set(&self, x: &Array) -> Result<T> {
        self.apply(|_| x.clone())
    }

    /// The tree with `f` applied to the leaf there. An error if there is none.
    pub fn apply(&self, f: impl FnOnce(&Array) -> Array) -> Result<T> {
        let (view, wanted, old) = self.find()?;
        let new = f(&old);
        let mut count = 0;
        let mut next = |x: &Array| {
            count += 1;
            if count - 1 == wanted {
                new.clone()
            } else {
                x.clone()
            }
        };
        Ok(self.tree.unflatten(&mut Leaves::new(view, &mut next)))
    }
}
