//! How weights are adapted.

use crate::{
    array::Aval,
    error::{Error, Result},
    nn,
};
use std::{fmt, sync::Arc};

pub(super) type Filter = dyn Fn(&str, &nn::Linear) -> bool + Send + Sync;

/// How weights become [`LoraArray`](super::LoraArray)s: `LoraConfig::rank(8).scale(0.02)`.
#[derive(Clone)]
pub struct LoraConfig {
    pub(super) rank: usize,
    pub(super) scale: f64,
    pub(super) alpha: Option<f64>,
    rank_stabilised: bool,
    pub(super) start: LoraStart,
    pub(super) allow_materialise: bool,
    pub(super) stop_gradient: bool,
    pub(super) convolutions: bool,
    pub(super) decomposed: bool,
    pub(super) filter: Option<Arc<Filter>>,
}

/// How the factors of an update start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LoraStart {
    /// `a` normal, `b` zero, as in Quax.
    #[default]
    Normal,
    /// `b` uniform as a layer's weight is, `a` zero, as in PEFT.
    Uniform,
    /// The leading singular vectors of the weight, which leave the base (PiSSA: Meng and others, 2024): the sum is the weight, and what is
    /// trained is what matters most of it.
    Pissa,
}

impl fmt::Debug for LoraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoraConfig")
            .field("rank", &self.rank)
            .field("scale", &self.scale)
            .field("allow_materialise", &self.allow_materialise)
            .field("stop_gradient", &self.stop_gradient)
            .finish_non_exhaustive()
    }
}

impl LoraConfig {
    /// Updates of this rank, with a scale of 0.01, a frozen base and no materialising.
    pub fn rank(rank: usize) -> LoraConfig {
        LoraConfig {
            rank,
            scale: 0.01,
            alpha: None,
            rank_stabilised: false,
            start: LoraStart::Normal,
            allow_materialise: false,
            stop_gradient: true,
            convolutions: false,
            decomposed: false,
            filter: None,
        }
    }

    /// The standard deviation of `a` at the start.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// The update counts `alpha / rank` times; 1 time if not said.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let w = Array::ones([4, 3], DType::F32);
    /// let lora = LoraArray::new(&w, &LoraConfig::rank(2).alpha(16.0), &random::key(0)).unwrap();
    /// assert_eq!(lora.scaling, 8.0);
    /// ```
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = Some(alpha);
        self
    }

    /// With [`LoraConfig::alpha`], `alpha / √rank` times (rsLoRA: Kalajdzievski, 2023), which keeps updates of a high rank from vanishing.
    #[must_use]
    pub fn rank_stabilised(mut self, yes: bool) -> Self {
        self.rank_stabilised = yes;
        self
    }

    /// How the factors start.
    #[must_use]
    pub fn start(mut self, start: LoraStart) -> Self {
        self.start = start;
        self
    }

    /// Does [`loraify`](super::loraify) take convolutions too? Their kernels become [`LoraKernel`](super::LoraKernel)s.
    #[must_use]
    pub fn convolutions(mut self, yes: bool) -> Self {
        self.convolutions = yes;
        self
    }

    /// Does [`loraify`](super::loraify) make [`DoraArray`](super::DoraArray)s, whose rows keep a size of their own?
    #[must_use]
    pub fn decomposed(mut self, yes: bool) -> Self {
        self.decomposed = yes;
        self
    }

    /// How many times the update counts.
    pub(super) fn scaling(&self) -> f64 {
        let rank = self.rank as f64;
        match (self.alpha, self.rank_stabilised) {
            (None, _) => 1.0,
            (Some(alpha), false) => alpha / rank,
            (Some(alpha), true) => alpha / rank.sqrt(),
        }
    }

    /// May plans form the sum `w + a·b`? If not, programs that need it are refused.
    #[must_use]
    pub fn allow_materialise(mut self, yes: bool) -> Self {
        self.allow_materialise = yes;
        self
    }

    /// Is `w` frozen? Its derivative is then zero, in both modes.
    #[must_use]
    pub fn stop_gradient(mut self, yes: bool) -> Self {
        self.stop_gradient = yes;
        self
    }

    /// Which layers [`loraify`](super::loraify) takes, by path and layer; all if not said.
    #[must_use]
    pub fn filter(
        mut self,
        keep: impl Fn(&str, &nn::Linear) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Arc::new(keep));
        self
    }

    /// An error unless the weight at a place can be wrapped so.
    pub(super) fn check(&self, place: &str, weight: &Aval) -> Result<()> {
        let LoraConfig { rank, scale, .. } = self;
        if self.alpha.is_some_and(|a| !a.is_finite()) {
            return Err(Error::argument(format!(
                "{place}: the scaling's alpha is not a finite number"
            )));
        }
        let [.., n, m] = weight.shape[..] else {
            return Err(Error::shape(format!(
                "{place}: a low-rank update needs a matrix, found {weight}"
            )));
        };
        if !weight.dtype.is_float() {
            return Err(Error::dtype(format!(
                "{place}: a low-rank update needs real floating-point numbers, found {weight}"
            )));
        }
        if *rank == 0 {
            return Err(Error::argument(format!(
                "{place}: a low-rank update of rank 0 is none"
            )));
        }
        if *rank > n.min(m) {
            return Err(Error::argument(format!(
                "{place}: rank {rank} is above that of {weight}, which is {} at most",
                n.min(m)
            )));
        }
        if !scale.is_finite() || *scale < 0.0 {
            return Err(Error::argument(format!(
                "{place}: the scale {scale} is not a finite number from 0 upwards"
            )));
        }
        Ok(())
    }
}
