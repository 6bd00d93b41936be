//! The parts that optimisers are made of, as in `optax.transforms`.

use super::{Memory, Optimiser, Param, Rate};
use crate::{
    array::{Array, DType},
    error::{Error, Result},
};
use std::{fmt, sync::Arc};

/// The squares of absolute values: real, for complex numbers too.
fn squares(x: &Array) -> Array {
    match x.dtype() {
        Ok(d) if d.is_complex() => x.real().square() + x.imag().square(),
        _ => x.square(),
    }
}

pub(super) fn norm(leaves: &[Array]) -> Array {
    let total = leaves
        .iter()
        .filter(|x| !x.is_symbolic_zero())
        .map(|x| squares(x).sum(()))
        .reduce(|a, b| a + b);
    total.unwrap_or_else(|| Array::scalar(0f32)).sqrt()
}

fn no_steps() -> Option<Array> {
    Some(Array::scalar(0i32))
}

/// One more step; at the largest `i32` the count stays.
fn next(count: &Option<Array>) -> Array {
    let count = count.clone().unwrap_or_else(|| Array::scalar(0i32));
    count.lt(i32::MAX).select(&count + 1, &count)
}

fn zeros(params: &[Param], dtype: Option<DType>) -> Vec<Array> {
    let zero = |p: &Param| match (p.value.aval(), dtype) {
        (Ok(a), Some(d)) if a.dtype.is_float() => Array::zeros(a.shape, d),
        (Ok(a), _) => Array::zeros(a.shape, a.dtype),
        (Err(e), _) => Array::error(e),
    };
    params.iter().map(zero).collect()
}

fn like(x: &Array, model: &Array) -> Array {
    match model.dtype() {
        Ok(d) => x.astype(d),
        Err(e) => Array::error(e),
    }
}

fn each(x: &[Array], y: &[Array], f: impl Fn(&Array, &Array) -> Array) -> Vec<Array> {
    x.iter().zip(y).map(|(x, y)| f(x, y)).collect()
}

/// The moving average `decay · m + (1 − decay) · x`.
fn average(x: &Array, m: &Array, decay: f64) -> Array {
    x * (1.0 - decay) + m * decay
}

/// A moving average that began with zeros, as if it had not.
fn unbiased(moment: &[Array], decay: f64, count: &Array) -> Vec<Array> {
    let weight = 1.0 - Array::from(decay).pow(count);
    moment.iter().map(|m| m / like(&weight, m)).collect()
}

fn within(name: &str, x: f64, fits: bool, range: &str) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::argument(format!(
        "optimiser: `{name}` is {x}, but must be {range}"
    )))
}

fn decay_rate(name: &str, x: f64) -> Result<()> {
    within(name, x, (0.0..1.0).contains(&x), "at least 0 and below 1")
}

fn not_negative(name: &str, x: f64) -> Result<()> {
    within(
        name,
        x,
        x >= 0.0 && x.is_finite(),
        "finite and not negative",
    )
}

fn moments<const N: usize>(memory: &Memory) -> Result<&[Vec<Array>; N]> {
    memory.moments.as_slice().try_into().map_err(|_| {
        Error::tree(format!(
            "optimiser: a state with {} moments where {N} are needed",
            memory.moments.len()
        ))
        .note("the state was made by another optimiser")
    })
}

/// The updates as they are.
#[derive(Clone, Copy, Debug)]
pub struct Identity;

impl Optimiser for Identity {
    fn start(&self, _: &[Param]) -> Result<Memory> {
        Ok(Memory::default())
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        Ok((updates, memory))
    }
}

/// Updates times a number. See [`scale`] and [`scale_by_learning_rate`].
#[derive(Clone, Debug)]
pub struct Scale {
    rate: Rate,
    sign: f64,
}

/// Updates times a number or a schedule.
pub fn scale(by: impl Into<Rate>) -> Scale {
    Scale {
        rate: by.into(),
        sign: 1.0,
    }
}

/// Updates times a learning rate, with the sign turned, so that they go downhill.
pub fn scale_by_learning_rate(rate: impl Into<Rate>) -> Scale {
    Scale {
        rate: rate.into(),
        sign: -1.0,
    }
}

impl Optimiser for Scale {
    fn start(&self, _: &[Param]) -> Result<Memory> {
        let count = match self.rate {
            Rate::Constant(x) => {
                within("rate", x, x.is_finite(), "finite")?;
                None
            }
            Rate::Schedule(_) => no_steps(),
        };
        Ok(Memory {
            count,
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        match &self.rate {
            Rate::Constant(x) => {
                let scaled = updates.iter().map(|g| g * (x * self.sign));
                Ok((scaled.collect(), memory))
            }
            Rate::Schedule(s) => {
                let now = memory.count.clone().unwrap_or_else(|| Array::scalar(0i32));
                let size = s.call(&now) * self.sign;
                let scaled = updates.iter().map(|g| g * like(&size, g));
                Ok((
                    scaled.collect(),
                    Memory {
                        count: Some(next(&memory.count)),
                        ..memory
                    },
                ))
            }
        }
    }
}

/// Momentum. See [`trace`].
#[derive(Clone, Debug)]
pub struct Trace {
    decay: f64,
    nesterov: bool,
    dtype: Option<DType>,
}

/// The decaying sum of the updates so far: momentum. With `nesterov`, the sum as the next step will see it.
pub fn trace(decay: f64, nesterov: bool) -> Trace {
    Trace {
        decay,
        nesterov,
        dtype: None,
    }
}

impl Trace {
    /// The element type of the sum; if not said, that of the parameter.
    #[must_use]
    pub fn accumulator_dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }
}

impl Optimiser for Trace {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        not_negative("momentum", self.decay)?;
        Ok(Memory {
            moments: vec![zeros(params, self.dtype)],
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let [old] = moments(&memory)?;
        let add = |g: &Array, t: &Array| g + t * self.decay;
        let sum = each(&updates, old, add);
        let out = if self.nesterov {
            each(&updates, &sum, add)
        } else {
            sum.clone()
        };
        let kept = each(&sum, old, like);
        Ok((
            out,
            Memory {
                moments: vec![kept],
                ..memory
            },
        ))
    }
}

/// The scaling of Adam. See [`scale_by_adam`].
#[derive(Clone, Debug)]
pub struct ScaleByAdam {
    pub(super) b1: f64,
    pub(super) b2: f64,
    pub(super) eps: f64,
    pub(super) eps_root: f64,
    pub(super) nesterov: bool,
    pub(super) mu_dtype: Option<DType>,
}

/// The first moment over the square root of the second (Kingma and Ba, 2015), with optax's defaults.
pub fn scale_by_adam() -> ScaleByAdam {
    ScaleByAdam {
        b1: 0.9,
        b2: 0.999,
        eps: 1e-8,
        eps_root: 0.0,
        nesterov: false,
        mu_dtype: None,
    }
}

impl ScaleByAdam {
    /// How slowly the moments change, the first and the second; 0.9 and 0.999 if not said.
    #[must_use]
    pub fn betas(mut self, b1: f64, b2: f64) -> Self {
        (self.b1, self.b2) = (b1, b2);
        self
    }

    /// What is added to the denominator, outside and inside of the square root; 10⁻⁸ and 0 if not said.
    #[must_use]
    pub fn eps(mut self, eps: f64, eps_root: f64) -> Self {
        (self.eps, self.eps_root) = (eps, eps_root);
        self
    }

    /// With Nesterov's momentum (Dozat, 2016).
    #[must_use]
    pub fn nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// The element type of the first moment; if not said, that of the parameter.
    #[must_use]
    pub fn mu_dtype(mut self, dtype: DType) -> Self {
        self.mu_dtype = Some(dtype);
        self
    }
}

impl Optimiser for ScaleByAdam {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        decay_rate("b1", self.b1)?;
        decay_rate("b2", self.b2)?;
        not_negative("eps", self.eps)?;
        not_negative("eps_root", self.eps_root)?;
        let second = zeros(params, None).iter().map(Array::real).collect();
        Ok(Memory {
            count: no_steps(),
            moments: vec![zeros(params, self.mu_dtype), second],
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let [old_mu, old_nu] = moments(&memory)?;
        let mu = each(&updates, old_mu, |g, m| average(g, m, self.b1));
        let nu = each(&updates, old_nu, |g, v| average(&squares(g), v, self.b2));
        let count = next(&memory.count);
        let mu_hat = if self.nesterov {
            let ahead = unbiased(&mu, self.b1, &next(&Some(count.clone())));
            let now = unbiased(&updates, self.b1, &count);
            each(&now, &ahead, |g, m| average(g, m, self.b1))
        } else {
            unbiased(&mu, self.b1, &count)
        };
        let nu_hat = unbiased(&nu, self.b2, &count);
        let out = each(&mu_hat, &nu_hat, |m, v| {
            // Adding a zero would cost a pass over the array.
            let inside = if self.eps_root == 0.0 {
                v.clone()
            } else {
                v + self.eps_root
            };
            m / (inside.sqrt() + self.eps)
        });
        let kept = vec![each(&mu, old_mu, like), each(&nu, old_nu, like)];
        Ok((
            out,
            Memory {
                count: Some(count),
                moments: kept,
                ..memory
            },
        ))
    }
}

/// The sign of an average of gradients. See [`scale_by_lion`].
#[derive(Clone, Debug)]
pub struct ScaleByLion {
    b1: f64,
    b2: f64,
    mu_dtype: Option<DType>,
}

/// The sign of an average of gradients (Chen et al., 2023): `b1` weighs the update, `b2` what is remembered.
pub fn scale_by_lion(b1: f64, b2: f64) -> ScaleByLion {
    ScaleByLion {
        b1,
        b2,
        mu_dtype: None,
    }
}

impl ScaleByLion {
    /// The element type of the moment; if not said, that of the parameter.
    #[must_use]
    pub fn mu_dtype(mut self, dtype: DType) -> Self {
        self.mu_dtype = Some(dtype);
        self
    }
}

impl Optimiser for ScaleByLion {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        decay_rate("b1", self.b1)?;
        decay_rate("b2", self.b2)?;
        Ok(Memory {
            moments: vec![zeros(params, self.mu_dtype)],
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let [mu] = moments(&memory)?;
        let out = each(&updates, mu, |g, m| average(g, m, self.b1).sign());
        let kept = each(&updates, mu, |g, m| like(&average(g, m, self.b2), m));
        Ok((
            out,
            Memory {
                moments: vec![kept],
                ..memory
            },
        ))
    }
}

/// Division by the root of the average square. See [`scale_by_rms`].
#[derive(Clone, Debug)]
pub struct ScaleByRms {
    decay: f64,
    eps: f64,
}

/// Updates over the root of the moving average of their squares (Hinton, 2012); optax's defaults are 0.9 and 10⁻⁸.
pub fn scale_by_rms(decay: f64, eps: f64) -> ScaleByRms {
    ScaleByRms { decay, eps }
}

impl Optimiser for ScaleByRms {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        decay_rate("decay", self.decay)?;
        not_negative("eps", self.eps)?;
        let second = zeros(params, None).iter().map(Array::real).collect();
        Ok(Memory {
            moments: vec![second],
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let [old] = moments(&memory)?;
        let nu = each(&updates, old, |g, v| {
            like(&average(&squares(g), v, self.decay), v)
        });
        let out = each(&updates, &nu, |g, v| (v + self.eps).rsqrt() * g);
        Ok((
            out,
            Memory {
                moments: vec![nu],
                ..memory
            },
        ))
    }
}

/// Division by the root of the sum of squares. See [`scale_by_rss`].
#[derive(Clone, Debug)]
pub struct ScaleByRss {
    initial: f64,
    eps: f64,
}

/// Updates over the root of the sum of all their squares (Duchi et al., 2011); optax's defaults are 0.1 and 10⁻⁷.
pub fn scale_by_rss(initial_accumulator_value: f64, eps: f64) -> ScaleByRss {
    ScaleByRss {
        initial: initial_accumulator_value,
        eps,
    }
}

impl Optimiser for ScaleByRss {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        not_negative("initial_accumulator_value", self.initial)?;
        not_negative("eps", self.eps)?;
        let filled = zeros(params, None);
        let filled = filled
            .iter()
            .map(|z| Array::full_like(&z.real(), self.initial));
        Ok(Memory {
            moments: vec![filled.collect()],
            ..Memory::default()
        })
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let [old] = moments(&memory)?;
        let sum = each(&updates, old, |g, t| like(&(squares(g) + t), t));
        let out = each(&updates, &sum, |g, t| {
            t.gt(0).select((t + self.eps).rsqrt(), 0.0) * g
        });
        Ok((
            out,
            Memory {
                moments: vec![sum],
                ..memory
            },
        ))
    }
}

type Choice = dyn Fn(&str, &Array) -> bool + Send + Sync;

/// Which parameters something is for, by path and value.
#[derive(Clone)]
pub struct Mask(Arc<Choice>);

impl Mask {
    /// From a function of path and value.
    pub fn new(f: impl Fn(&str, &Array) -> bool + Send + Sync + 'static) -> Mask {
        Mask(Arc::new(f))
    }

    fn holds(&self, p: &Param) -> bool {
        (self.0)(&p.path, &p.value)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(..)")
    }
}

/// Weight decay. See [`add_decayed_weights`].
#[derive(Clone, Debug)]
pub struct AddDecayedWeights {
    pub(super) rate: Rate,
    pub(super) mask: Option<Mask>,
}

/// Updates plus the parameter times a number or a schedule: weight decay.
pub fn add_decayed_weights(rate: impl Into<Rate>) -> AddDecayedWeights {
    AddDecayedWeights {
        rate: rate.into(),
        mask: None,
    }
}

impl AddDecayedWeights {
    /// Which parameters decay, by path and value; all if not said.
    #[must_use]
    pub fn mask(mut self, mask: impl Fn(&str, &Array) -> bool + Send + Sync + 'static) -> Self {
        self.mask = Some(Mask::new(mask));
        self
    }
}

impl Optimiser for AddDecayedWeights {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        scale(self.rate.clone()).start(params)
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        params: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let values: Vec<Array> = params.iter().map(|p| p.value.clone()).collect();
        let (decay, memory) = scale(self.rate.clone()).step(values, memory, params)?;
        let none = matches!(self.rate, Rate::Constant(0.0));
        let add = |((g, d), p): ((&Array, &Array), &Param)| {
            if none || self.mask.as_ref().is_some_and(|m| !m.holds(p)) {
                g.clone()
            } else {
                g + d
            }
        };
        let out = updates.iter().zip(&decay).zip(params).map(add);
        Ok((out.collect(), memory))
    }
}

/// Clipping of each number. See [`clip`].
#[derive(Clone, Copy, Debug)]
pub struct Clip(f64);

/// Every number of the updates brought between −`max_delta` and `max_delta`.
pub fn clip(max_delta: f64) -> Clip {
    Clip(max_delta)
}

impl Optimiser for Clip {
    fn start(&self, _: &[Param]) -> Result<Memory> {
        not_negative("max_delta", self.0)?;
        Ok(Memory::default())
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let clipped = updates.iter().map(|g| g.maximum(-self.0).minimum(self.0));
        Ok((clipped.collect(), memory))
    }
}

/// Clipping of the whole. See [`clip_by_global_norm`].
#[derive(Clone, Copy, Debug)]
pub struct ClipByGlobalNorm(f64);

/// All updates scaled by one number, where needed, so that their [`super::global_norm`] is at most `max_norm`.
pub fn clip_by_global_norm(max_norm: f64) -> ClipByGlobalNorm {
    ClipByGlobalNorm(max_norm)
}

impl Optimiser for ClipByGlobalNorm {
    fn start(&self, _: &[Param]) -> Result<Memory> {
        not_negative("max_norm", self.0)?;
        Ok(Memory::default())
    }
    fn step(
        &self,
        updates: Vec<Array>,
        memory: Memory,
        _: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let size = norm(&updates);
        let fits = size.lt(self.0);
        let clipped = updates.iter().map(|g| {
            // One pass over the array: a scalar is chosen, not an array.
            let one = fits.select(1.0, &size);
            let most = fits.select(1.0, self.0);
            g / like(&one, g) * like(&most, g)
        });
        Ok((clipped.collect(), memory))
    }
}

/// An optimiser for some of the parameters. See [`masked`].
#[derive(Clone, Debug)]
pub struct Masked<O> {
    inner: O,
    mask: Mask,
}

/// An optimiser for the parameters that a function of path and value picks; the updates of the others pass through.
///
/// ```
/// use quaxide::prelude::*;
/// // Biases stay where they are.
/// let frozen = optim::masked(optim::scale(0.0), |path, _| path.ends_with(".bias"));
/// let optimiser = optim::chain((frozen, optim::sgd(0.1)));
/// ```
pub fn masked<O: Optimiser>(
    inner: O,
    mask: impl Fn(&str, &Array) -> bool + Send + Sync + 'static,
) -> Masked<O> {
    Masked {
        inner,
        mask: Mask::new(mask),
    }
}

impl<O: Optimiser> Optimiser for Masked<O> {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        self.inner.start(params)
    }
    fn step(
        &self,
        mut updates: Vec<Array>,
        memory: Memory,
        params: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        let chosen: Vec<usize> = (0..params.len())
            .filter(|i| params.get(*i).is_some_and(|p| self.mask.holds(p)))
            .collect();
        let of = |i: &usize| updates.get(*i).cloned();
        let some: Vec<Array> = chosen.iter().filter_map(of).collect();
        let those: Vec<Param> = chosen
            .iter()
            .filter_map(|i| params.get(*i).cloned())
            .collect();
        let (new, next) = self.inner.step(some, memory.select(&chosen), &those)?;
        for (i, update) in chosen.iter().zip(new) {
            if let Some(slot) = updates.get_mut(*i) {
                *slot = update;
            }
        }
        Ok((updates, memory.replace(&chosen, next)))
    }
}

/// One optimiser after the other. See [`chain`].
#[derive(Clone)]
pub struct Chain(Vec<Arc<dyn Optimiser>>);

/// One optimiser after the other, each on the updates of the one before: a tuple of up to eight, or a vector.
pub fn chain(links: impl Links) -> Chain {
    Chain(links.links())
}

/// What [`chain`] takes.
pub trait Links {
    /// The optimisers in order.
    fn links(self) -> Vec<Arc<dyn Optimiser>>;
}
impl Links for Vec<Arc<dyn Optimiser>> {
    fn links(self) -> Vec<Arc<dyn Optimiser>> {
        self
    }
}
macro_rules! links {
    ($(($($T:ident $i:tt),*))*) => {$(
        impl<$($T: Optimiser + 'static),*> Links for ($($T,)*) {
            fn links(self) -> Vec<Arc<dyn Optimiser>> {
                vec![$(Arc::new(self.$i)),*]
            }
        }
    )*};
}
links! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain of {}", self.0.len())
    }
}

impl Optimiser for Chain {
    fn start(&self, params: &[Param]) -> Result<Memory> {
        let parts = self.0.iter().map(|o| o.start(params));
        Ok(Memory {
            parts: parts.collect::<Result<_>>()?,
            ..Memory::default()
        })
    }
    fn step(
        &self,
        mut updates: Vec<Array>,
        memory: Memory,
        params: &[Param],
    ) -> Result<(Vec<Array>, Memory)> {
        if memory.parts.len() != self.0.len() {
            return Err(Error::tree(format!(
                "optimiser: a state of {} parts for a chain of {}",
                memory.parts.len(),
                self.0.len()
            ))
            .note("the state was made by another optimiser"));
        }
        let mut parts = vec![];
        for (o, m) in self.0.iter().zip(memory.parts) {
            let (new, next) = o.step(updates, m, params)?;
            if new.len() != params.len() {
                return Err(Error::internal(format!(
                    "an optimiser made {} updates for {} parameters",
                    new.len(),
                    params.len()
                )));
            }
            updates = new;
            parts.push(next);
        }
        Ok((
            updates,
            Memory {
                parts,
                ..Memory::default()
            },
        ))
    }
}
