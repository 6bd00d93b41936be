//! Permutations and choices.

use super::{
    Key, attempt, constant,
    continuous::{standard_gumbel, unit},
    discrete::integers,
    key::pick,
};
use crate::{
    array::{Array, DType, Dims, IntoDims, normalise_axis, sort_together},
    error::{Error, Result},
    trace::{
        bind,
        op::{Reduce, Reducer, rows},
    },
};

/// The lanes along an axis in random order, each in its own, by sorting by random keys as often as makes collisions harmless.
fn shuffled(key: &Key, x: &Array, axis: usize) -> Result<Array> {
    let a = x.aval()?;
    let rounds = (3.0 * (a.size().max(1) as f64).ln() / f64::from(u32::MAX).ln()).ceil() as usize;
    let (mut key, mut x) = (key.clone(), x.clone());
    for _ in 0..rounds {
        let [next, now] = key.split();
        let order = now.bits(&a.shape, DType::U32);
        x = sort_together(&[order, x], axis as i32, 1)?
            .pop()
            .ok_or_else(|| Error::internal("a sort of two arrays has two results"))?;
        key = next;
    }
    Ok(x)
}

/// The numbers below `n` in random order.
fn order(key: &Key, n: usize) -> Result<Array> {
    shuffled(key, &Array::arange(n, DType::I32), 0)
}

/// The numbers 0, …, n − 1 in random order: `i32`.
///
/// ```
/// use quaxide::prelude::*;
/// let mut x = random::permutation(&random::key(0), 10).to_vec::<i32>().unwrap();
/// x.sort();
/// assert_eq!(x, (0..10).collect::<Vec<_>>());
/// ```
#[track_caller]
pub fn permutation(key: &Key, n: usize) -> Array {
    attempt(|| order(key, n))
}

/// The array with what stands along an axis (counted from the end if negative) in random order: `jax.random.permutation` of an
/// array.
///
/// ```
/// use quaxide::prelude::*;
/// let rows = Array::from([[1f32, 2.], [3., 4.], [5., 6.]]);
/// let x = random::shuffle(&random::key(0), &rows, 0);
/// assert_eq!(x.sum(0).to_vec::<f32>().unwrap(), [9.0, 12.0]);
/// ```
#[track_caller]
pub fn shuffle(key: &Key, x: &Array, axis: i32) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let axis = normalise_axis(axis.into(), a.ndim())?;
        if a.ndim() == 1 {
            return shuffled(key, x, axis);
        }
        let n = a.shape.get(axis).copied().unwrap_or_default();
        Ok(rows(x, &order(key, n)?, axis))
    })
}

/// The array with each lane along an axis in a random order of its own.
#[track_caller]
pub fn shuffle_independent(key: &Key, x: &Array, axis: i32) -> Array {
    attempt(|| {
        let axis = normalise_axis(axis.into(), x.aval()?.ndim())?;
        shuffled(key, x, axis)
    })
}

/// What [`choice`] chooses from, and how: the numbers below a bound (`10.into()`), or what stands along an axis of an array
/// (`(&x).into()`, the first axis).
#[derive(Clone, Debug)]
pub struct Choice {
    from: Population,
    replace: bool,
    weights: Option<Array>,
    axis: i32,
}

#[derive(Clone, Debug)]
enum Population {
    Numbers(usize),
    Array(Array),
}

impl Choice {
    fn new(from: Population) -> Choice {
        Choice {
            from,
            replace: true,
            weights: None,
            axis: 0,
        }
    }

    /// The same choice, in which nothing is chosen twice.
    #[must_use]
    pub fn without_replacement(mut self) -> Choice {
        self.replace = false;
        self
    }

    /// The same choice with the probability of each element: floats, one for each.
    #[must_use]
    pub fn weights(mut self, p: &Array) -> Choice {
        self.weights = Some(p.clone());
        self
    }

    /// The same choice from what stands along this axis, counted from the end if negative.
    #[must_use]
    pub fn axis(mut self, axis: i32) -> Choice {
        self.axis = axis;
        self
    }
}

impl From<usize> for Choice {
    fn from(n: usize) -> Choice {
        Choice::new(Population::Numbers(n))
    }
}

impl From<&Array> for Choice {
    fn from(x: &Array) -> Choice {
        Choice::new(Population::Array(x.clone()))
    }
}

/// Elements chosen at random, in a shape: `jax.random.choice`. `i32` numbers, or parts of the array, in which the chosen axis has
/// become those of the shape. An error where there are too few to choose from.
///
/// ```
/// use quaxide::prelude::*;
/// use quaxide::random::{Choice, choice};
/// let dice = choice(&random::key(0), 6, [100]);
/// let team = choice(&random::key(1), Choice::from(10).without_replacement(), [3]);
/// assert_eq!((dice.shape()[0], team.shape()[0]), (100, 3));
/// ```
#[track_caller]
pub fn choice(key: &Key, from: impl Into<Choice>, shape: impl IntoDims) -> Array {
    attempt(|| {
        let (choice, shape) = (from.into(), shape.into_dims());
        let (n, axis) = match &choice.from {
            Population::Numbers(n) => (*n, 0),
            Population::Array(x) => {
                let a = x.aval()?;
                let axis = normalise_axis(choice.axis.into(), a.ndim())?;
                (a.shape.get(axis).copied().unwrap_or_default(), axis)
            }
        };
        let index = chosen(key, &choice, n, &shape)?;
        match &choice.from {
            Population::Numbers(_) => Ok(index.reshape(shape)),
            Population::Array(x) => {
                let a = x.aval()?;
                let (before, after) = a.shape.split_at(axis);
                let full = before.iter().chain(&shape).chain(after.iter().skip(1));
                let full: Dims = full.copied().collect();
                Ok(rows(x, &index, axis).reshape(full))
            }
        }
    })
}

/// The places of the chosen elements, in one axis.
fn chosen(key: &Key, choice: &Choice, n: usize, shape: &Dims) -> Result<Array> {
    let draws: usize = shape.iter().product();
    if draws > 0 && (n == 0 || (!choice.replace && draws > n)) {
        return Err(Error::argument(format!(
            "`random::choice`: {draws} of {n} elements cannot be chosen{}",
            if n > 0 { " without replacement" } else { "" }
        )));
    }
    let flat = Dims::from_slice(&[draws]);
    let Some(p) = &choice.weights else {
        if choice.replace {
            let (low, high) = (Array::scalar(0i32), Array::scalar(n as i64));
            return integers(key, &flat, DType::I32, &low, &high);
        }
        return Ok(rows(&order(key, n)?, &Array::arange(draws, DType::I32), 0));
    };
    let p = p.inexact();
    let a = p.aval()?;
    if a.shape[..] != [n] || !a.dtype.is_float() {
        return Err(Error::shape(format!(
            "`random::choice`: the weights of {n} elements are as many floats, not {a}"
        )));
    }
    if choice.replace {
        let cumulative = p.cumsum(0);
        let u = constant(1.0, a.dtype) - unit(key, &flat, a.dtype);
        let total = pick(&cumulative, n.saturating_sub(1));
        // Beyond the end only for weights that are no probabilities.
        let index = cumulative.searchsorted(&(total * u), false);
        return Ok(index.minimum(n.saturating_sub(1)));
    }
    let keyed = standard_gumbel(key, &a.shape, a.dtype) + p.log();
    Ok(keyed.top_k(draws).1)
}

/// Categories drawn with the probabilities that logarithms along an axis have after normalisation: `i32` places along it.
///
/// The result has the axes `leading` (`()` for none), and those of `logits` without that axis.
///
/// ```
/// use quaxide::prelude::*;
/// let logits = Array::from([[0f32, f32::NEG_INFINITY], [f32::NEG_INFINITY, 0.]]);
/// let x = random::categorical(&random::key(0), &logits, -1, [3]);
/// assert_eq!(x.to_vec::<i32>().unwrap(), [0, 1, 0, 1, 0, 1]);
/// ```
#[track_caller]
pub fn categorical(key: &Key, logits: &Array, axis: i32, leading: impl IntoDims) -> Array {
    attempt(|| {
        let (shape, axis, dtype) = categories(logits, axis)?;
        let mut full = leading.into_dims();
        let at = full.len() + axis;
        full.extend(shape);
        let noisy = standard_gumbel(key, &full, dtype) + logits;
        let largest = Reduce {
            reducer: Reducer::Argmax(DType::I32),
            axes: Dims::from_slice(&[at]),
        };
        Ok(bind(largest, &[&noisy]))
    })
}

/// Distinct categories, drawn one after the other without replacement by the probabilities of [`categorical`]: `i32` places.
///
/// The result has the axes `leading`, as many places as they have are drawn, and those of `logits` without the axis.
#[track_caller]
pub fn categorical_distinct(key: &Key, logits: &Array, axis: i32, leading: impl IntoDims) -> Array {
    attempt(|| {
        let (shape, axis, dtype) = categories(logits, axis)?;
        let (n, leading) = (
            shape.get(axis).copied().unwrap_or_default(),
            leading.into_dims(),
        );
        let k = leading.iter().product();
        if k > n {
            return Err(Error::argument(format!(
                "`random::categorical_distinct`: {k} of {n} categories cannot be drawn without replacement"
            )));
        }
        let noisy = standard_gumbel(key, &shape, dtype) + logits;
        let rest: Dims = (0..shape.len()).filter(|i| *i != axis).collect();
        let last: Dims = rest.iter().copied().chain([axis]).collect();
        let (_, places) = noisy.transpose(last).top_k(k);
        // The places first.
        let front: Dims = std::iter::once(rest.len()).chain(0..rest.len()).collect();
        let batch = rest.iter().filter_map(|i| shape.get(*i));
        let full: Dims = leading.iter().chain(batch).copied().collect();
        Ok(places.transpose(front).reshape(full))
    })
}

/// The shape, axis and element type of logarithms of probabilities.
fn categories(logits: &Array, axis: i32) -> Result<(Dims, usize, DType)> {
    let a = logits.aval()?;
    if !a.dtype.is_float() {
        return Err(Error::dtype(format!(
            "the logarithms of probabilities are floats, not {a}"
        )));
    }
    let axis = normalise_axis(axis.into(), a.ndim())?;
    Ok((a.shape, axis, a.dtype))
}
