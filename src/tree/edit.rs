//! Changing trees: nodes of a type, leaves at a path, parts.

use super::{Flat, Leaves, PyTree, View};
use crate::{
    array::Array,
    error::{Error, Result},
};
use std::any::Any;

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

/// The leaves that `keep` picks by path and value, and the others: two trees of the same structure, with symbolic zeros where a leaf
/// is in the other tree.
///
/// ```
/// use quaxide::prelude::*;
/// let layer = nn::Linear::new(2, 3, &random::key(0));
/// let (weights, biases) = tree::partition(&layer, |path, _| path.ends_with(".weight"));
/// assert_eq!((tree::count(&weights), tree::count(&biases)), (6, 3));
/// let whole = tree::combine(&weights, &biases).unwrap();
/// assert_eq!(tree::count(&whole), 9);
/// ```
pub fn partition<T: PyTree>(t: &T, mut keep: impl FnMut(&str, &Array) -> bool) -> (T, T) {
    let mut picked = vec![];
    t.flatten(&mut Flat::new(View::Components, &mut |path, x| {
        picked.push(keep(path, x));
    }));
    let side = |wanted: bool| {
        let mut flags = picked.iter();
        super::map(t, |x| match (flags.next(), x.aval()) {
            (Some(flag), Ok(a)) if *flag != wanted => Array::symbolic_zero(a),
            _ => x.clone(),
        })
    };
    (side(true), side(false))
}

/// One tree from two: each leaf of the first, or of the second where the first has a symbolic zero. An error if their structures
/// differ.
pub fn combine<T: PyTree>(a: &T, b: &T) -> Result<T> {
    map2(a, b, |x, y| {
        if x.is_symbolic_zero() { y } else { x }.clone()
    })
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
