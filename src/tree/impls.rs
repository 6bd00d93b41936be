//! Trees of the standard library's making.

use super::{Flat, Leaves, Meta, PyTree};
use crate::trace::Jaxpr;
use indexmap::IndexMap;
use std::{
    any::TypeId,
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    marker::PhantomData,
    ops::Deref,
    sync::Arc,
};

macro_rules! tuples {
    ($(($($T:ident $i:tt),*))*) => {$(
        impl<$($T: PyTree),*> PyTree for ($($T,)*) {
            fn flatten(&self, out: &mut Flat<'_>) {
                out.node("()");
                $(out.element($i, &self.$i);)*
            }
            #[allow(clippy::unused_unit, reason = "the empty tuple is one of them")]
            fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
                let _ = &leaves;
                ($(self.$i.unflatten(leaves),)*)
            }
        }
    )*};
}
tuples! {
    ()
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

impl<T: PyTree> PyTree for Vec<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Vec");
        out.length(self.len());
        for (i, x) in self.iter().enumerate() {
            out.element(i, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.iter().map(|x| x.unflatten(leaves)).collect()
    }
}

impl<T: PyTree, const N: usize> PyTree for [T; N] {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("[]");
        out.length(N);
        for (i, x) in self.iter().enumerate() {
            out.element(i, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.each_ref().map(|x| x.unflatten(leaves))
    }
}

impl<T: PyTree> PyTree for Option<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        match self {
            Some(x) => {
                out.node("Some");
                x.flatten(out);
            }
            None => out.node("None"),
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.as_ref().map(|x| x.unflatten(leaves))
    }
}

impl<T: PyTree> PyTree for Box<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        (**self).flatten(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Box::new((**self).unflatten(leaves))
    }
}

impl<T: PyTree> PyTree for Arc<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        (**self).flatten(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Arc::new((**self).unflatten(leaves))
    }
}

impl<K: Meta + Clone + Ord, T: PyTree> PyTree for BTreeMap<K, T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("BTreeMap");
        out.length(self.len());
        for (k, x) in self {
            out.entry(k, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.iter()
            .map(|(k, x)| (k.clone(), x.unflatten(leaves)))
            .collect()
    }
}

impl<K: Meta + Clone, T: PyTree, S> PyTree for IndexMap<K, T, S>
where
    S: BuildHasher + Default + Clone + Send + Sync + 'static,
{
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("IndexMap");
        out.length(self.len());
        for (k, x) in self {
            out.entry(k, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.iter()
            .map(|(k, x)| (k.clone(), x.unflatten(leaves)))
            .collect()
    }
}

/// Entries are visited in the order of their keys.
impl<K: Meta + Clone + Ord, T: PyTree, S> PyTree for HashMap<K, T, S>
where
    S: BuildHasher + Default + Clone + Send + Sync + 'static,
{
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("HashMap");
        out.length(self.len());
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(k, _)| *k);
        for (k, x) in entries {
            out.entry(k, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(k, _)| *k);
        entries
            .into_iter()
            .map(|(k, x)| (k.clone(), x.unflatten(leaves)))
            .collect()
    }
}

/// A type that a tree is about holds no leaves.
impl<T: Send + Sync + 'static> PyTree for PhantomData<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.meta("type", &TypeId::of::<T>());
    }
    fn unflatten(&self, _: &mut Leaves<'_>) -> Self {
        PhantomData
    }
}

/// An argument that is part of the program, not of its data: a new value means a new trace.
///
/// ```
/// use quaxide::prelude::*;
/// let power = jit(|x: &Array, n: &Static<usize>| {
///     let mut y = x.clone();
///     for _ in 1..**n {
///         y = y * x;
///     }
///     y
/// });
/// assert_eq!(power(&Array::from([2f32]), &Static(3)).unwrap().to_vec::<f32>().unwrap(), [8.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Static<T>(pub T);

impl<T: Meta + Clone> PyTree for Static<T> {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.meta("0", &self.0);
    }
    fn unflatten(&self, _: &mut Leaves<'_>) -> Self {
        self.clone()
    }
}

impl<T> Deref for Static<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A program holds no leaves: it is what `make_jaxpr` returns.
impl PyTree for Jaxpr {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Jaxpr");
    }
    fn unflatten(&self, _: &mut Leaves<'_>) -> Self {
        self.clone()
    }
}
