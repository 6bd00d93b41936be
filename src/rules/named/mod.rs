//! Arrays whose axes have names.

mod functions;
mod propagate;

pub use functions::{
    along, axes_of, combine, contract, named, order_as, positional, reduce_named, rename,
};

use crate::{
    PyTree,
    array::{Array, Aval},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    rules::families,
};
use std::sync::Arc;

/// The name of an axis, if it has one.
pub(crate) type Name = Option<Arc<str>>;

/// An array whose axes have names; some may have none.
///
/// Under `quaxify` a program sees the positional array, and the names follow what it does with the axes: they are permuted, dropped and
/// joined with them. Where two axes meet they must have the same name, or one of them none; else the error names both. Operands
/// whose axes are the same in another order are brought into the order of the first, where their shapes allow it.
///
/// To write a program by names in the first place, see [`combine`], [`reduce_named`], [`contract`] and [`along`].
///
/// ```
/// use quaxide::{prelude::*, rules::{axes_of, named}};
/// let w = named(Array::ones([3, 2], DType::F32), ["out", "in"]).unwrap();
/// let x = named(Array::ones([5, 2], DType::F32), ["batch", "in"]).unwrap();
/// let y = quaxify(|w: &Array, x: &Array| x.dot(&w.t()).sum(0))(&w, &x).unwrap();
/// assert_eq!(axes_of(&y).unwrap(), [Some("out".into())]);
/// let e = quaxify(|w: &Array, x: &Array| w.t().dot(x))(&w, &named(Array::ones([3], DType::F32), ["in"]).unwrap()).unwrap_err();
/// assert_eq!(e.message(), "`dot_general`: axis `out` meets axis `in`");
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Named {
    /// The numbers.
    pub array: Array,
    /// Name and size of each axis, as they were when the names were given.
    #[pytree(meta)]
    axes: Vec<(Name, usize)>,
}

/// A name as messages write it.
fn shown(name: &Name) -> String {
    match name {
        Some(name) => format!("`{name}`"),
        None => "without a name".into(),
    }
}

/// Every name only once.
fn check_unique(names: &[Name]) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        if name.is_some() && names.iter().take(i).any(|other| other == name) {
            return Err(
                Error::argument(format!("two axes would be named {}", shown(name)))
                    .note("`rename` one of the operands first"),
            );
        }
    }
    Ok(())
}

impl Named {
    /// An array with a name, or none, for each of its axes.
    ///
    /// An error if their number is not that of the axes, and for a name that occurs twice.
    pub fn new(array: Array, names: Vec<Option<Arc<str>>>) -> Result<Named> {
        let aval = array.aval()?;
        if names.len() != aval.ndim() {
            return Err(Error::argument(format!(
                "{} names for the {} axes of {aval}",
                names.len(),
                aval.ndim()
            )));
        }
        check_unique(&names)?;
        let axes = names.into_iter().zip(aval.shape.iter().copied()).collect();
        Ok(Named { array, axes })
    }

    /// The name of each axis.
    ///
    /// A transformation that sees the value from outside may have taken away an axis or put one in front (`vmap`, `scan`). Which it was is
    /// told by the sizes, and where these leave it open, it was the first.
    pub fn names(&self) -> Vec<Option<Arc<str>>> {
        let shape = self.array.shape();
        if shape.len() == self.axes.len() {
            return self.axes.iter().map(|(name, _)| name.clone()).collect();
        }
        let mut names = vec![None; shape.len()];
        let mut axes = self.axes.iter().rev().peekable();
        let fewer = shape.len() < self.axes.len();
        for (slot, size) in names.iter_mut().zip(shape.iter()).rev() {
            // From the end: the longer of the two lists passes over what the other lacks.
            if fewer {
                let found = axes.find(|(_, n)| n == size);
                *slot = found.and_then(|(name, _)| name.clone());
            } else if let Some((name, _)) = axes.next_if(|(_, n)| n == size) {
                *slot = name.clone();
            }
        }
        names
    }
}

/// The positional array, and the name of each axis, if it has one.
fn apart(x: &Array) -> (Array, Vec<Name>) {
    families::apart(
        x,
        |n: &Named| (n.array.clone(), n.names()),
        |x| (x.clone(), vec![None; x.ndim()]),
    )
}

/// A value with these names; a plain array if there are none.
fn wrap(array: Array, names: Vec<Name>) -> Result<Array> {
    let array = array.ok()?.clone();
    if names.iter().all(Option::is_none) {
        return Ok(array);
    }
    Ok(Array::from_value(Named::new(array, names)?))
}

impl ArrayValue for Named {
    fn aval(&self) -> Result<Aval> {
        self.array.aval()
    }

    /// The positional array.
    fn materialise(&self) -> Result<Array> {
        Ok(self.array.clone())
    }

    fn is_own_tangent(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let names: Vec<String> = self
            .names()
            .iter()
            .map(|n| n.as_deref().unwrap_or("_").to_string())
            .collect();
        format!("named[{}, {}]", self.array.describe(), names.join(" "))
    }

    fn rules(r: &mut Rules) {
        r.precedence(50);
        families::all::<Named>(r, propagate::OTHERS, propagate::rule);
    }
}
