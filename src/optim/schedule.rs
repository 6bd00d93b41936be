//! Learning rates that change from step to step, as in `optax.schedules`.

use crate::{
    array::{Array, DType},
    error::{Error, Result},
};
use std::{fmt, sync::Arc};

/// A number for each step.
///
/// ```
/// use quaxide::optim;
/// let warm = optim::warmup_cosine_decay_schedule(0.0, 0.1, 5, 20, 0.01).unwrap();
/// assert_eq!(warm.at(0).unwrap(), 0.0);
/// assert!((warm.at(5).unwrap() - 0.1).abs() < 1e-7);
/// let own = optim::Schedule::new(|count| 1.0 / (count + 1));
/// assert_eq!(own.at(3).unwrap(), 0.25);
/// ```
#[derive(Clone)]
pub struct Schedule(Arc<dyn Fn(&Array) -> Array + Send + Sync>);

impl Schedule {
    /// From a function of the number of steps so far (`i32[]`).
    pub fn new(f: impl Fn(&Array) -> Array + Send + Sync + 'static) -> Schedule {
        Schedule(Arc::new(f))
    }

    /// The value at a step that is counted in an array (`i32[]`).
    pub fn call(&self, count: &Array) -> Array {
        (self.0)(count)
    }

    /// The value at a step. An error inside of a transformed function, where nothing has a value yet.
    pub fn at(&self, step: usize) -> Result<f64> {
        let step = i32::try_from(step)
            .map_err(|_| Error::argument(format!("schedule: step {step} is too large")))?;
        self.call(&Array::scalar(step)).item()
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule(..)")
    }
}

/// A number that stays or one that changes: what a learning rate may be.
#[derive(Clone, Debug)]
pub enum Rate {
    /// The same at each step.
    Constant(f64),
    /// One for each step.
    Schedule(Schedule),
}
impl From<f64> for Rate {
    fn from(x: f64) -> Rate {
        Rate::Constant(x)
    }
}
impl From<Schedule> for Rate {
    fn from(s: Schedule) -> Rate {
        Rate::Schedule(s)
    }
}
impl From<&Schedule> for Rate {
    fn from(s: &Schedule) -> Rate {
        Rate::Schedule(s.clone())
    }
}

fn steps(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The same value at every step.
pub fn constant_schedule(value: f64) -> Schedule {
    Schedule::new(move |_| Array::from(value))
}

/// From `init` to `end` in `transition_steps` steps that begin after `transition_begin`, along a power of the way left. With no
/// steps, `init` for ever.
pub fn polynomial_schedule(
    init: f64,
    end: f64,
    power: f64,
    transition_steps: usize,
    transition_begin: usize,
) -> Schedule {
    if transition_steps == 0 {
        return constant_schedule(init);
    }
    Schedule::new(move |count| {
        let done = (count - steps(transition_begin))
            .maximum(0)
            .minimum(steps(transition_steps));
        let left = 1.0 - done.astype(DType::F32) / transition_steps as f64;
        let left = if power == 1.0 { left } else { left.pow(power) };
        left * (init - end) + end
    })
}

/// From `init` to `end` in equal parts, over `transition_steps` steps that begin after `transition_begin`.
pub fn linear_schedule(
    init: f64,
    end: f64,
    transition_steps: usize,
    transition_begin: usize,
) -> Schedule {
    polynomial_schedule(init, end, 1.0, transition_steps, transition_begin)
}

/// `init` times `decay_rate` to the power of `count / transition_steps`.
pub fn exponential_decay(init: f64, transition_steps: usize, decay_rate: f64) -> ExponentialDecay {
    ExponentialDecay {
        init,
        transition_steps,
        decay_rate,
        transition_begin: 0,
        staircase: false,
        end_value: None,
    }
}

/// What [`exponential_decay`] returns: the options of optax, and [`ExponentialDecay::build`].
#[derive(Clone, Debug)]
pub struct ExponentialDecay {
    init: f64,
    transition_steps: usize,
    decay_rate: f64,
    transition_begin: usize,
    staircase: bool,
    end_value: Option<f64>,
}

impl ExponentialDecay {
    /// Steps before it begins; 0 if not said.
    #[must_use]
    pub fn transition_begin(mut self, steps: usize) -> Self {
        self.transition_begin = steps;
        self
    }

    /// Decay at whole multiples of `transition_steps` only.
    #[must_use]
    pub fn staircase(mut self) -> Self {
        self.staircase = true;
        self
    }

    /// The value that it does not pass.
    #[must_use]
    pub fn end_value(mut self, value: f64) -> Self {
        self.end_value = Some(value);
        self
    }

    /// The schedule. With no transition steps or a rate of 0, `init` for ever.
    pub fn build(self) -> Schedule {
        let d = self;
        if d.transition_steps == 0 || d.decay_rate == 0.0 {
            return constant_schedule(d.init);
        }
        Schedule::new(move |count| {
            let done = count - steps(d.transition_begin);
            let mut p = done.astype(DType::F32) / d.transition_steps as f64;
            if d.staircase {
                p = p.floor();
            }
            let decayed = Array::from(d.decay_rate).pow(&p) * d.init;
            let value = done.le(0).select(d.init, decayed);
            match d.end_value {
                Some(end) if d.decay_rate < 1.0 => value.maximum(end),
                Some(end) => value.minimum(end),
                None => value,
            }
        })
    }
}

impl From<ExponentialDecay> for Schedule {
    fn from(d: ExponentialDecay) -> Schedule {
        d.build()
    }
}
impl From<ExponentialDecay> for Rate {
    fn from(d: ExponentialDecay) -> Rate {
        Rate::Schedule(d.build())
    }
}

/// From `init` along half a cosine to `alpha · init`, in `decay_steps` steps. An error for no steps.
pub fn cosine_decay_schedule(init: f64, decay_steps: usize, alpha: f64) -> Result<Schedule> {
    if decay_steps == 0 {
        return Err(Error::argument("cosine decay needs at least one step"));
    }
    Ok(Schedule::new(move |count| {
        let n = decay_steps as f64;
        let done = count.astype(DType::F32).minimum(n);
        let cosine = ((done * std::f64::consts::PI / n).cos() + 1.0) * 0.5;
        (cosine * (1.0 - alpha) + alpha) * init
    }))
}

/// From `init` to `peak` in equal parts over `warmup_steps` steps, then `peak`.
pub fn warmup_constant_schedule(init: f64, peak: f64, warmup_steps: usize) -> Schedule {
    linear_schedule(init, peak, warmup_steps, 0)
}

/// From `init` to `peak` in equal parts over `warmup_steps` steps, then along half a cosine to `end`, which it reaches at step
/// `decay_steps` (the warm-up included). An error if the warm-up leaves no step for the decay.
pub fn warmup_cosine_decay_schedule(
    init: f64,
    peak: f64,
    warmup_steps: usize,
    decay_steps: usize,
    end: f64,
) -> Result<Schedule> {
    let alpha = if peak == 0.0 { 0.0 } else { end / peak };
    let decay = decay_steps.saturating_sub(warmup_steps);
    if decay == 0 {
        return Err(Error::argument(format!(
            "a warm-up of {warmup_steps} steps leaves none of {decay_steps} for the decay"
        ))
        .note("`decay_steps` counts the warm-up too"));
    }
    join_schedules(
        [
            linear_schedule(init, peak, warmup_steps, 0),
            cosine_decay_schedule(peak, decay, alpha)?,
        ],
        [warmup_steps],
    )
}

/// From `init` to `peak` in equal parts over `warmup_steps` steps, then an [`exponential_decay`] whose `init` is `peak`.
pub fn warmup_exponential_decay_schedule(
    init: f64,
    warmup_steps: usize,
    decay: ExponentialDecay,
) -> Result<Schedule> {
    join_schedules(
        [
            linear_schedule(init, decay.init, warmup_steps, 0),
            decay.build(),
        ],
        [warmup_steps],
    )
}

/// `init`, multiplied by each scale from its step on.
pub fn piecewise_constant_schedule(
    init: f64,
    boundaries_and_scales: &[(usize, f64)],
) -> Result<Schedule> {
    let mut at = boundaries_and_scales.to_vec();
    at.sort_by_key(|(step, _)| *step);
    if let Some((step, scale)) = at.iter().find(|(_, s)| s.is_nan() || *s < 0.0) {
        return Err(Error::argument(format!(
            "a scale must not be negative; at step {step} it is {scale}"
        )));
    }
    Ok(Schedule::new(move |count| {
        at.iter().fold(Array::from(init), |v, (step, scale)| {
            count.lt(steps(*step)).select(&v, &v * *scale)
        })
    }))
}

/// One schedule after the other: from each boundary on the next one, which then counts from its own 0. An error unless there is
/// one boundary between each two schedules.
pub fn join_schedules(
    schedules: impl Into<Vec<Schedule>>,
    boundaries: impl Into<Vec<usize>>,
) -> Result<Schedule> {
    let (schedules, boundaries) = (schedules.into(), boundaries.into());
    let Some((first, rest)) = schedules.split_first() else {
        return Err(Error::argument("join_schedules: no schedules"));
    };
    if rest.len() != boundaries.len() {
        return Err(Error::argument(format!(
            "join_schedules: {} schedules need {} boundaries, {} were given",
            schedules.len(),
            rest.len(),
            boundaries.len()
        )));
    }
    let (first, rest) = (first.clone(), rest.to_vec());
    Ok(Schedule::new(move |count| {
        rest.iter()
            .zip(&boundaries)
            .fold(first.call(count), |v, (s, b)| {
                let after = s.call(&(count - steps(*b)));
                count.lt(steps(*b)).select(v, after)
            })
    }))
}
