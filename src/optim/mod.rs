//! Optimisers, composed as optax composes them: gradients in, updates out, and a state that is a tree.
//!
//! ```
//! use quaxide::prelude::*;
//! let loss = |x: &Array| (x - 3.0).square().sum(());
//! let optimiser = optim::chain((optim::clip_by_global_norm(1.0), optim::adamw(0.1)));
//! let mut x = Array::from([0f32, 5.0]);
//! let mut state = optimiser.init(&x).unwrap();
//! let step = jit(|x: &Array, state: &optim::State<Array>| {
//!     let g = grad(loss)(x)?;
//!     let (updates, state) = optimiser.update(&g, state, x)?;
//!     Ok((optim::apply_updates(x, &updates)?, state))
//! });
//! for _ in 0..100 {
//!     (x, state) = step(&x, &state).unwrap();
//! }
//! assert!(loss(&x).item::<f32>().unwrap() < 0.01);
//! ```
//!
//! A leaf whose gradient is a symbolic zero, because nothing depends on it or because it is frozen, is left alone: no step moves
//! it, weight decay included. So are leaves that are not floats.

mod alias;
mod schedule;
mod transforms;

pub use alias::*;
pub use schedule::*;
pub use transforms::*;

use crate::{
    array::Array,
    error::{Error, Result},
    tree::{self, PyTree},
};
use std::sync::Arc;

/// One leaf of the parameters: where it is, and what it holds.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its path in the tree, such as `.layers[0].weight`.
    pub path: String,
    /// Its present value.
    pub value: Array,
}

/// What an optimiser remembers between steps, with trees flattened to their leaves.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The number of steps so far, `i32[]`, where it matters.
    pub count: Option<Array>,
    /// For each moment, one array for each parameter.
    pub moments: Vec<Vec<Array>>,
    /// What the optimisers that this one is made of remember.
    pub parts: Vec<Memory>,
}

impl Memory {
    fn select(&self, which: &[usize]) -> Memory {
        let pick = |all: &Vec<Array>| {
            let of = |i: &usize| all.get(*i).cloned();
            which.iter().filter_map(of).collect()
        };
        Memory {
            count: self.count.clone(),
            moments: self.moments.iter().map(pick).collect(),
            parts: self.parts.iter().map(|p| p.select(which)).collect(),
        }
    }

    /// The memory with the chosen parameters' part of it replaced.
    fn replace(&self, which: &[usize], new: Memory) -> Memory {
        let put = |(all, new): (&Vec<Array>, Vec<Array>)| {
            let mut all = all.clone();
            for (i, x) in which.iter().zip(new) {
                if let Some(slot) = all.get_mut(*i) {
                    *slot = x;
                }
            }
            all
        };
        Memory {
            count: new.count,
            moments: self.moments.iter().zip(new.moments).map(put).collect(),
            parts: (self.parts.iter().zip(new.parts))
                .map(|(old, new)| old.replace(which, new))
                .collect(),
        }
    }
}

/// What an optimiser remembers between steps: a tree, which goes through `jit`, `scan` and files.
#[derive(Clone, Debug)]
pub struct State<P> {
    /// The number of steps so far, `i32[]`, where it matters.
    pub count: Option<Array>,
    /// The moments, each in the structure of the parameters.
    pub moments: Vec<P>,
    /// The states of the optimisers that this one is made of.
    pub parts: Vec<State<P>>,
}

impl<P: PyTree> PyTree for State<P> {
    fn flatten(&self, out: &mut tree::Flat<'_>) {
        out.node("State");
        out.child("count", &self.count);
        out.child("moments", &self.moments);
        out.child("parts", &self.parts);
    }
    fn unflatten(&self, leaves: &mut tree::Leaves<'_>) -> Self {
        State {
            count: self.count.unflatten(leaves),
            moments: self.moments.unflatten(leaves),
            parts: self.parts.unflatten(leaves),
        }
    }
}

impl<P: PyTree> State<P> {
    fn new(like: &P, memory: Memory) -> Result<State<P>> {
        let structured = |leaves| tree::unflatten(like, leaves);
        let part = |m| State::new(like, m);
        Ok(State {
            count: memory.count,
            moments: (memory.moments.into_iter().map(structured)).collect::<Result<_>>()?,
            parts: (memory.parts.into_iter().map(part)).collect::<Result<_>>()?,
        })
    }

    fn memory(&self) -> Memory {
        Memory {
            count: self.count.clone(),
            moments: self.moments.iter().map(tree::leaves).collect(),
            parts: self.parts.iter().map(State::memory).collect(),
        }
    }
}

/// Anything that makes updates from gradients: a whole optimiser, or a part of one.
///
/// Users call [`Optimiser::init`] and [`Optimiser::update`]. To write one, write the other two, on leaves; they are never shown
/// parameters that are frozen or not floats.
///
/// ```
/// use quaxide::prelude::*;
/// /// Steps of one size, whatever the gradient's.
/// struct SignDescent(f64);
/// impl optim::Optimiser for SignDescent {
///     fn start(&self, _: &[optim::Param]) -> Result<optim::Memory> {
///         Ok(optim::Memory::default())
///     }
///     fn step(&self, g: Vec<Array>, memory: optim::Memory, _: &[optim::Param]) -> Result<(Vec<Array>, optim::Memory)> {
///         Ok((g.iter().map(|g| g.sign() * -self.0).collect(), memory))
///     }
/// }
/// let x = Array::from([1f32, -2.0]);
/// let state = SignDescent(0.5).init(&x).unwrap();
/// let (updates, _) = SignDescent(0.5).update(&x, &state, &x).unwrap();
/// assert_eq!(updates.to_vec::<f32>().unwrap(), [-0.5, 0.5]);
/// ```
pub trait Optimiser: Send + Sync {
    /// What to remember before the first step. An error for options that make no sense.
    fn start(&self, params: &[Param]) -> Result<Memory>;

    /// Updates from gradients (or from the updates of the optimiser before this one), one for each parameter, and what to
    /// remember.
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        params: &[Param],
    ) -> Result<(Vec<Array>, Memory)>;

    /// The state before the first step. An error for options that make no sense.
    fn init<P: PyTree>(&self, params: &P) -> Result<State<P>>
    where
        Self: Sized,
    {
        State::new(params, self.start(&described(params))?)
    }

    /// What to add to the parameters, and the next state. Where the gradient is a symbolic zero, or the parameter is not a float,
    /// the update is a symbolic zero. An error if the trees do not fit.
    fn update<P: PyTree>(&self, grads: &P, state: &State<P>, params: &P) -> Result<(P, State<P>)>
    where
        Self: Sized,
    {
        let all = described(params);
        let mut updates = tree::leaves(grads);
        let mut moving = vec![];
        if updates.len() != all.len() {
            return Err(Error::tree(format!(
                "optimiser: {} gradients for {} parameters",
                updates.len(),
                all.len()
            )));
        }
        for (i, (g, p)) in updates.iter().zip(&all).enumerate() {
            let (have, want) = (g.aval()?, p.value.aval()?);
            if have.shape != want.shape {
                return Err(Error::shape(format!(
                    "optimiser: the gradient of `{}` is {have}, the parameter {want}",
                    p.path
                )));
            }
            if want.dtype.is_inexact() && !g.is_symbolic_zero() {
                moving.push(i);
            }
        }
        let memory = state.memory();
        let (start, count) = (memory.select(&moving), all.len());
        if memory.moments.iter().any(|m| m.len() != count) {
            return Err(
                Error::tree("optimiser: the state was made for other parameters")
                    .note("`init` makes a state for parameters of one structure"),
            );
        }
        let of = |i: &usize| updates.get(*i).cloned();
        let grads_now: Vec<Array> = moving.iter().filter_map(of).collect();
        let params_now: Vec<Param> = moving.iter().filter_map(|i| all.get(*i).cloned()).collect();
        let (new, next) = self.step(grads_now, start, &params_now)?;
        if new.len() != moving.len() {
            return Err(Error::internal(format!(
                "an optimiser made {} updates for {} gradients",
                new.len(),
                moving.len()
            )));
        }
        let mut new = moving.iter().zip(new).peekable();
        for (i, (slot, p)) in updates.iter_mut().zip(&all).enumerate() {
            *slot = match new.next_if(|(at, _)| **at == i) {
                Some((_, update)) => update,
                None => Array::symbolic_zero(p.value.aval()?.strong()),
            };
        }
        let state = State::new(params, memory.replace(&moving, next))?;
        Ok((tree::unflatten(params, updates)?, state))
    }
}

impl Optimiser for Arc<dyn Optimiser> {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        (**self).start(params)
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        params: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        (**self).step(updates, memory, params)
    }
}

fn described<P: PyTree>(params: &P) -> Vec<Param> {
    let all = tree::leaves_with_paths(params).into_iter();
    all.map(|(path, value)| Param { path, value }).collect()
}

/// The parameters after a step: each plus its update, in the parameter's element type. Symbolic zeros leave a leaf as it is.
///
/// An error if the trees do not fit.
pub fn apply_updates<P: PyTree>(params: &P, updates: &P) -> Result<P> {
    let moved = tree::map2(params, updates, |p, u| match p.dtype() {
        Ok(dtype) if !u.is_symbolic_zero() && dtype.is_inexact() => (p + u).astype(dtype),
        _ => p.clone(),
    })?;
    for (path, x) in tree::leaves_with_paths(&moved) {
        x.ok()
            .map_err(|e| e.note(format!("in the update of `{path}`")))?;
    }
    Ok(moved)
}

/// The square root of the sum of squares over all leaves, `f32[]` (`f64[]` if a leaf is).
///
/// ```
/// use quaxide::prelude::*;
/// let tree = (Array::from([3f32]), vec![Array::from([[4f32]])]);
/// assert_eq!(optim::global_norm(&tree).item::<f32>().unwrap(), 5.0);
/// ```
#[track_caller]
pub fn global_norm<P: PyTree>(tree: &P) -> Array {
    transforms::norm(&tree::leaves(tree))
}
