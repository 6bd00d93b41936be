//! Dropout.

use super::{Fixed, attempt};
use crate::{
    PyTree,
    array::{Array, DType},
    error::Error,
    random::{self, Key},
    tree,
};

/// Each number zero with probability `p`, the others divided by `1 − p` (Srivastava et al., 2014); in inference, nothing.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::ones([1000], DType::F32);
/// let y = nn::Dropout::new(0.25).call(&x, Some(&random::key(0)));
/// assert!((y.mean(()).item::<f32>().unwrap() - 1.0).abs() < 0.1);
/// assert!(nn::Dropout::new(0.25).call(&x, None).ok().is_err());
/// let same = nn::inference_mode(&nn::Dropout::new(0.25), true).call(&x, None);
/// assert_eq!(same.min(()).item::<f32>().unwrap(), 1.0);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Dropout {
    #[pytree(meta)]
    p: Fixed,
    /// Is it off?
    #[pytree(meta)]
    pub inference: bool,
}

impl Dropout {
    /// With this probability of a zero; Equinox's default is 0.5.
    pub fn new(p: f64) -> Dropout {
        Dropout {
            p: Fixed::new(p),
            inference: false,
        }
    }

    /// The probability of a zero.
    pub fn p(&self) -> f64 {
        self.p.get()
    }

    /// An array of any shape. In the error state without a key, unless the layer is off or `p` is 0, and for a `p` outside of 0 to
    /// 1.
    #[track_caller]
    pub fn call(&self, x: &Array, key: Option<&Key>) -> Array {
        attempt(|| {
            let p = self.p.get();
            if !(0.0..=1.0).contains(&p) {
                return Err(Error::argument(format!(
                    "Dropout: the probability {p} is not between 0 and 1"
                )));
            }
            if self.inference || p == 0.0 {
                return Ok(x.clone());
            }
            let Some(key) = key else {
                return Err(Error::argument("Dropout: it draws, and has no key")
                    .note("give the call a key, or turn the layer off by `nn::inference_mode`"));
            };
            let a = x.aval()?;
            // As XLA computes the division of `f32` by `1 − p`: bit for bit.
            let scale = match a.dtype {
                DType::F64 | DType::C128 => (1.0 - p).recip(),
                _ => f64::from((1.0 - p as f32).recip()),
            };
            let kept = random::bernoulli(key, 1.0 - p, a.shape);
            Ok(kept.select(x * scale, 0.0))
        })
    }
}

/// The tree with every [`Dropout`] in it turned off (or on again).
pub fn inference_mode<T: PyTree>(model: &T, inference: bool) -> T {
    tree::map_nodes(model, |layer: &Dropout| Dropout {
        inference,
        ..layer.clone()
    })
}
