//! Whole optimisers, with optax's names and defaults.

use super::{
    AddDecayedWeights, Chain, Mask, Memory, Optimiser, Param, Rate, ScaleByAdam, ScaleByLion,
    Trace, add_decayed_weights, chain, scale_by_adam, scale_by_learning_rate, scale_by_lion,
    scale_by_rms, scale_by_rss, trace,
};
use crate::{
    array::{Array, DType},
    error::Result,
};

macro_rules! made_of_parts {
    ($($T:ty)*) => {$(
        impl Optimiser for $T {
            fn start(&self, params: &[Param]) -> Result<Memory> {
                self.parts().start(params)
            }
            fn step(&self, updates: Vec<Array>, memory: Memory, params: &[Param]) -> Result<(Vec<Array>, Memory)> {
                self.parts().step(updates, memory, params)
            }
        }
    )*};
}
made_of_parts!(Sgd Adam AdamW Lion RmsProp AdaGrad);

/// Stochastic gradient descent. See [`sgd`].
#[derive(Clone, Debug)]
pub struct Sgd {
    rate: Rate,
    momentum: Option<Trace>,
}

/// Stochastic gradient descent, without momentum if not said.
pub fn sgd(learning_rate: impl Into<Rate>) -> Sgd {
    Sgd {
        rate: learning_rate.into(),
        momentum: None,
    }
}

impl Sgd {
    /// With momentum of this decay.
    #[must_use]
    pub fn momentum(mut self, decay: f64) -> Self {
        self.momentum = Some(trace(decay, false));
        self
    }

    /// With Nesterov's momentum of this decay.
    #[must_use]
    pub fn nesterov(mut self, decay: f64) -> Self {
        self.momentum = Some(trace(decay, true));
        self
    }

    fn parts(&self) -> Chain {
        let step = scale_by_learning_rate(self.rate.clone());
        match &self.momentum {
            Some(m) => chain((m.clone(), step)),
            None => chain((step,)),
        }
    }
}

macro_rules! adam_options {
    ($T:ident) => {
        impl $T {
            /// How slowly the moments change, the first and the second; 0.9 and 0.999 if not said.
            #[must_use]
            pub fn betas(mut self, b1: f64, b2: f64) -> Self {
                self.scaling = self.scaling.betas(b1, b2);
                self
            }

            /// What is added to the denominator, outside and inside of the square root; 10⁻⁸ and 0 if not said.
            #[must_use]
            pub fn eps(mut self, eps: f64, eps_root: f64) -> Self {
                self.scaling = self.scaling.eps(eps, eps_root);
                self
            }

            /// With Nesterov's momentum.
            #[must_use]
            pub fn nesterov(mut self) -> Self {
                self.scaling = self.scaling.nesterov();
                self
            }

            /// The element type of the first moment; if not said, that of the parameter.
            #[must_use]
            pub fn mu_dtype(mut self, dtype: DType) -> Self {
                self.scaling = self.scaling.mu_dtype(dtype);
                self
            }
        }
    };
}
adam_options!(Adam);
adam_options!(AdamW);

macro_rules! decay_options {
    ($T:ident, $default:literal) => {
        impl $T {
            #[doc = concat!("The weight decay; ", $default, " if not said.")]
            #[must_use]
            pub fn weight_decay(mut self, rate: impl Into<Rate>) -> Self {
                self.decay.rate = rate.into();
                self
            }

            /// Which parameters decay, by path and value; all if not said.
            #[must_use]
            pub fn mask(
                mut self,
                mask: impl Fn(&str, &Array) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.decay.mask = Some(Mask::new(mask));
                self
            }
        }
    };
}
decay_options!(AdamW, "10⁻⁴");
decay_options!(Lion, "10⁻³");

/// Adam. See [`adam`].
#[derive(Clone, Debug)]
pub struct Adam {
    rate: Rate,
    scaling: ScaleByAdam,
}

/// Adam (Kingma and Ba, 2015).
pub fn adam(learning_rate: impl Into<Rate>) -> Adam {
    Adam {
        rate: learning_rate.into(),
        scaling: scale_by_adam(),
    }
}

impl Adam {
    fn parts(&self) -> Chain {
        chain((
            self.scaling.clone(),
            scale_by_learning_rate(self.rate.clone()),
        ))
    }
}

/// Adam with decoupled weight decay. See [`adamw`].
#[derive(Clone, Debug)]
pub struct AdamW {
    rate: Rate,
    scaling: ScaleByAdam,
    decay: AddDecayedWeights,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), of 10⁻⁴ if not said.
pub fn adamw(learning_rate: impl Into<Rate>) -> AdamW {
    AdamW {
        rate: learning_rate.into(),
        scaling: scale_by_adam(),
        decay: add_decayed_weights(1e-4),
    }
}

impl AdamW {
    fn parts(&self) -> Chain {
        chain((
            self.scaling.clone(),
            self.decay.clone(),
            scale_by_learning_rate(self.rate.clone()),
        ))
    }
}

/// Lion. See [`lion`].
#[derive(Clone, Debug)]
pub struct Lion {
    rate: Rate,
    scaling: ScaleByLion,
    decay: AddDecayedWeights,
}

/// Lion (Chen et al., 2023), with a weight decay of 10⁻³ if not said.
pub fn lion(learning_rate: impl Into<Rate>) -> Lion {
    Lion {
        rate: learning_rate.into(),
        scaling: scale_by_lion(0.9, 0.99),
        decay: add_decayed_weights(1e-3),
    }
}

impl Lion {
    /// The weights of what is remembered, in the update and in the memory; 0.9 and 0.99 if not said.
    #[must_use]
    pub fn betas(mut self, b1: f64, b2: f64) -> Self {
        self.scaling = scale_by_lion(b1, b2);
        self
    }

    fn parts(&self) -> Chain {
        chain((
            self.scaling.clone(),
            self.decay.clone(),
            scale_by_learning_rate(self.rate.clone()),
        ))
    }
}

/// RMSProp. See [`rmsprop`].
#[derive(Clone, Debug)]
pub struct RmsProp {
    rate: Rate,
    decay: f64,
    eps: f64,
    momentum: Option<Trace>,
}

/// RMSProp (Hinton, 2012), without momentum if not said.
pub fn rmsprop(learning_rate: impl Into<Rate>) -> RmsProp {
    RmsProp {
        rate: learning_rate.into(),
        decay: 0.9,
        eps: 1e-8,
        momentum: None,
    }
}

impl RmsProp {
    /// How slowly the average square changes; 0.9 if not said.
    #[must_use]
    pub fn decay(mut self, decay: f64) -> Self {
        self.decay = decay;
        self
    }

    /// What is added to the average square; 10⁻⁸ if not said.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// With momentum of this decay.
    #[must_use]
    pub fn momentum(mut self, decay: f64) -> Self {
        self.momentum = Some(trace(decay, false));
        self
    }

    fn parts(&self) -> Chain {
        let (scaling, step) = (
            scale_by_rms(self.decay, self.eps),
            scale_by_learning_rate(self.rate.clone()),
        );
        match &self.momentum {
            Some(m) => chain((scaling, step, m.clone())),
            None => chain((scaling, step)),
        }
    }
}

/// AdaGrad. See [`adagrad`].
#[derive(Clone, Debug)]
pub struct AdaGrad {
    rate: Rate,
    initial: f64,
    eps: f64,
}

/// AdaGrad (Duchi et al., 2011).
pub fn adagrad(learning_rate: impl Into<Rate>) -> AdaGrad {
    AdaGrad {
        rate: learning_rate.into(),
        initial: 0.1,
        eps: 1e-7,
    }
}

impl AdaGrad {
    /// What the sum of squares starts from; 0.1 if not said.
    #[must_use]
    pub fn initial_accumulator_value(mut self, x: f64) -> Self {
        self.initial = x;
        self
    }

    /// What is added to the sum of squares; 10⁻⁷ if not said.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    fn parts(&self) -> Chain {
        chain((
            scale_by_rss(self.initial, self.eps),
            scale_by_learning_rate(self.rate.clone()),
        ))
    }
}
