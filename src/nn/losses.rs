//! Losses, one number an example, with the names of `optax.losses`.

use super::{attempt, log_sigmoid, log_softmax};
use crate::{
    array::{Array, DType, Operand},
    error::Error,
};

/// The cross entropy of `softmax(logits)` and the right classes: `logits [.., classes]`, integer `labels [..]`, to `[..]`.
///
/// A label outside of 0 to `classes` − 1 gives NaN. In the error state if the shapes or element types do not fit.
///
/// ```
/// use quaxide::prelude::*;
/// let loss = nn::losses::softmax_cross_entropy_with_integer_labels(&Array::from([[0f32, 0.0]]), &Array::from([1i32]));
/// assert!((loss.item::<f32>().unwrap() - 2f32.ln()).abs() < 1e-6);
/// ```
#[track_caller]
pub fn softmax_cross_entropy_with_integer_labels(logits: &Array, labels: &Array) -> Array {
    attempt(|| {
        let (x, y) = (logits.aval()?, labels.aval()?);
        let Some((classes, examples)) = x.shape.split_last() else {
            return Err(Error::shape(format!(
                "cross entropy: logits need an axis of classes, found {x}"
            )));
        };
        if !x.dtype.is_float() || !y.dtype.is_integer() {
            return Err(Error::dtype(format!(
                "cross entropy: logits are floats and labels integers, found {x} and {y}"
            )));
        }
        if examples != &y.shape[..] {
            return Err(Error::shape(format!(
                "cross entropy: logits [.., classes] and labels [..], found {x} and {y}"
            )));
        }
        let right = super::one_hot(labels, *classes, DType::Bool)
            .select(logits, 0.0)
            .sum(-1);
        let known = labels.ge(0) & labels.lt(*classes);
        let right = known.select(right, f64::NAN);
        Ok(super::logsumexp(logits, -1) - right)
    })
}

/// The cross entropy of `softmax(logits)` and a distribution over the classes, both `[.., classes]`, to `[..]`.
#[track_caller]
pub fn softmax_cross_entropy(logits: &Array, labels: &Array) -> Array {
    -(labels * log_softmax(logits, -1)).sum(-1)
}

/// The cross entropy of `sigmoid(logits)` and labels between 0 and 1, elementwise.
#[track_caller]
pub fn sigmoid_binary_cross_entropy(logits: &Array, labels: &Array) -> Array {
    -(labels * log_sigmoid(logits)) - (1.0 - labels) * log_sigmoid(&-logits)
}

/// The square of the error, elementwise.
#[track_caller]
pub fn squared_error(predictions: &Array, targets: &Array) -> Array {
    (predictions - targets).square()
}

/// Half the square of the error, elementwise.
#[track_caller]
pub fn l2_loss(predictions: &Array, targets: &Array) -> Array {
    squared_error(predictions, targets) * 0.5
}

/// The mean of the squares of all errors, one number.
#[track_caller]
pub fn mean_squared_error(predictions: &Array, targets: &Array) -> Array {
    squared_error(predictions, targets).mean(())
}

/// Half the square of the error up to `delta`, linear beyond (Huber, 1964), elementwise; optax's default `delta` is 1.
#[track_caller]
pub fn huber_loss(predictions: &Array, targets: &Array, delta: impl Operand + Copy) -> Array {
    let size = (predictions - targets).abs();
    let quadratic = size.minimum(delta);
    let linear = size - &quadratic;
    quadratic.square() * 0.5 + linear * delta
}

/// `log(cosh(error))`, without overflow, elementwise.
#[track_caller]
pub fn log_cosh(predictions: &Array, targets: &Array) -> Array {
    let e = (predictions - targets).inexact();
    // log(exp(e) + exp(−e)) is smooth at 0, where |e| is not: softplus makes it so.
    &e + super::softplus(&(&e * -2.0)) - std::f64::consts::LN_2
}

/// `max(0, 1 − outputs · targets)` for targets of −1 and 1, elementwise.
#[track_caller]
pub fn hinge_loss(predictor_outputs: &Array, targets: &Array) -> Array {
    (1.0 - predictor_outputs * targets).maximum(0)
}

/// The divergence of the distribution `targets` from the one whose logarithms are `log_predictions`, both `[.., n]`, to `[..]`.
#[track_caller]
pub fn kl_divergence(log_predictions: &Array, targets: &Array) -> Array {
    let logs = targets.eq(0).select(0.0, targets.log());
    (targets * (logs - log_predictions)).sum(-1)
}

/// The cosine of the angle between vectors, `[.., n]` to `[..]`; squared lengths below `epsilon` count as `epsilon`.
#[track_caller]
pub fn cosine_similarity(predictions: &Array, targets: &Array, epsilon: f64) -> Array {
    let unit = |x: &Array| {
        let size = x.square().sum(-1).maximum(epsilon).sqrt();
        x / size.expand_dims(-1)
    };
    (unit(predictions) * unit(targets)).sum(-1)
}

/// One minus the [`cosine_similarity`].
#[track_caller]
pub fn cosine_distance(predictions: &Array, targets: &Array, epsilon: f64) -> Array {
    1.0 - cosine_similarity(predictions, targets, epsilon)
}

/// Labels `[.., classes]` mixed with the uniform distribution: `(1 − alpha) · labels + alpha / classes`.
#[track_caller]
pub fn smooth_labels(labels: &Array, alpha: f64) -> Array {
    attempt(|| {
        let a = labels.aval()?;
        let Some(classes) = a.shape.last() else {
            return Err(Error::shape(format!(
                "smooth_labels: labels need an axis of classes, found {a}"
            )));
        };
        Ok(labels * (1.0 - alpha) + alpha / *classes as f64)
    })
}
