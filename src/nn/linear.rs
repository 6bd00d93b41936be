//! Affine maps, and networks of them.

use super::{Activation, attempt, relu};
use crate::{
    PyTree,
    array::{Array, DType, Dims},
    error::{Error, Result},
    random::{self, Key},
    trace::op::DotGeneral,
};
use std::fmt;

/// The features that a layer takes or gives: so many under an axis of their own, or one without.
///
/// A plain number means the former: `Linear::new(3, nn::Features::Scalar, &key)` maps `[3]` to `[]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Features {
    /// One number, without an axis.
    Scalar,
    /// An axis of this size.
    Vector(usize),
}

impl Features {
    /// How many there are.
    pub fn size(self) -> usize {
        match self {
            Features::Scalar => 1,
            Features::Vector(n) => n,
        }
    }
}
impl From<usize> for Features {
    fn from(n: usize) -> Features {
        Features::Vector(n)
    }
}
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Features::Scalar => f.write_str("scalar"),
            Features::Vector(n) => write!(f, "{n}"),
        }
    }
}

/// Uniform numbers between −`limit` and `limit`; a complex number has two.
#[track_caller]
pub(super) fn uniform(key: &Key, shape: Dims, dtype: DType, limit: f64) -> Array {
    if dtype.is_complex() {
        let [real, imaginary] = key.split();
        let part = |k: &Key| {
            random::uniform_range(k, (shape.clone(), dtype.real()), -limit, limit).astype(dtype)
        };
        let i = num_complex::Complex::new(0.0f64, 1.0);
        return part(&real) + part(&imaginary) * i;
    }
    random::uniform_range(key, (shape, dtype), -limit, limit)
}

/// The affine map `weight · x + bias`.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let layer = nn::Linear::new(3, 2, &k1);
/// let x = random::normal(&k2, [3]);
/// assert_eq!(layer.call(&x).shape(), [2]);
/// assert_eq!(layer.call(&random::normal(&k2, [5, 4, 3])).shape(), [5, 4, 2]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Array,
    /// `[out]`
    pub bias: Option<Array>,
    /// What it takes.
    #[pytree(meta)]
    pub in_features: Features,
    /// What it gives.
    #[pytree(meta)]
    pub out_features: Features,
}

/// The options of a [`Linear`]: those of `equinox.nn.Linear`.
#[derive(Clone, Debug)]
pub struct LinearConfig {
    in_features: Features,
    out_features: Features,
    use_bias: bool,
    dtype: DType,
}

impl LinearConfig {
    /// With a bias, in `f32`.
    pub fn new(in_features: impl Into<Features>, out_features: impl Into<Features>) -> Self {
        LinearConfig {
            in_features: in_features.into(),
            out_features: out_features.into(),
            use_bias: true,
            dtype: DType::F32,
        }
    }

    /// With a bias?
    #[must_use]
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self
    }

    /// The element type of weight and bias.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The layer, with weight and bias uniform between ±1/√in. For an element type that is neither float nor complex, they are in
    /// the error state.
    #[track_caller]
    pub fn init(&self, key: &Key) -> Linear {
        let (n, m) = (self.in_features.size(), self.out_features.size());
        let limit = if n == 0 { 1.0 } else { 1.0 / (n as f64).sqrt() };
        let [wkey, bkey] = key.split();
        Linear {
            weight: uniform(&wkey, Dims::from_slice(&[m, n]), self.dtype, limit),
            bias: (self.use_bias)
                .then(|| uniform(&bkey, Dims::from_slice(&[m]), self.dtype, limit)),
            in_features: self.in_features,
            out_features: self.out_features,
        }
    }
}

impl Linear {
    /// A layer with a bias, in `f32`, initialised as `equinox.nn.Linear(in, out, key=key)`, bit for bit. For other options see
    /// [`LinearConfig`].
    #[track_caller]
    pub fn new(
        in_features: impl Into<Features>,
        out_features: impl Into<Features>,
        key: &Key,
    ) -> Linear {
        LinearConfig::new(in_features, out_features).init(key)
    }

    /// `[in]` to `[out]`; or with leading axes, `[.., in]` to `[.., out]`. In the error state if the last axis is not `in`.
    ///
    /// The leading axes are in one product; `vmap(Linear::call)` gives the same.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| self.apply(x))
    }

    fn apply(&self, x: &Array) -> Result<Array> {
        let (given, weight) = (x.aval()?, self.weight.aval()?);
        if weight.ndim() != 2 {
            return Err(
                Error::shape(format!("Linear: the weight is {weight}, not [out, in]"))
                    .note("a stack of layers is applied with `vmap`"),
            );
        }
        let x = match self.in_features {
            Features::Scalar => &x.expand_dims(-1),
            Features::Vector(_) => x,
        };
        let (n, [m, k]) = (x.ndim(), self.weight.dims()?);
        if n == 0 || x.shape().last() != Some(&k) {
            return Err(Error::shape(format!(
                "Linear({} → {}): expected [.., {k}], found {given}",
                self.in_features, self.out_features
            )));
        }
        let mut y = if n == 1 {
            self.weight.dot(x)
        } else {
            x.dot_general(&self.weight, DotGeneral::new(([n - 1], [1]), ((), ())))
        };
        if let Some(bias) = &self.bias {
            y += bias;
        }
        if self.out_features == Features::Scalar && m == 1 {
            let lead = y.shape().iter().take(n - 1).copied().collect::<Dims>();
            y = y.reshape(lead);
        }
        Ok(y)
    }
}

/// A multi-layer perceptron: affine maps with activations between.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let net = nn::MlpConfig::new(2, 1, 16, 2).activation(nn::silu).init(&k1);
/// assert_eq!(net.call(&random::normal(&k2, [2])).shape(), [1]);
/// assert_eq!(tree::leaves(&net).len(), 6);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Mlp {
    /// The affine maps, the first one first.
    pub layers: Vec<Linear>,
    /// What follows each of them but the last.
    pub activation: Activation,
    /// What follows the last, if anything.
    pub final_activation: Option<Activation>,
}

/// The options of an [`Mlp`]: those of `equinox.nn.MLP`.
#[derive(Clone, Debug)]
pub struct MlpConfig {
    in_size: Features,
    out_size: Features,
    width: usize,
    depth: usize,
    activation: Activation,
    final_activation: Option<Activation>,
    use_bias: bool,
    use_final_bias: bool,
    dtype: DType,
}

impl MlpConfig {
    /// `depth` hidden layers of `width`, so `depth + 1` affine maps; with relu and biases, in `f32`.
    pub fn new(
        in_size: impl Into<Features>,
        out_size: impl Into<Features>,
        width: usize,
        depth: usize,
    ) -> Self {
        MlpConfig {
            in_size: in_size.into(),
            out_size: out_size.into(),
            width,
            depth,
            activation: Activation::new(relu),
            final_activation: None,
            use_bias: true,
            use_final_bias: true,
            dtype: DType::F32,
        }
    }

    /// The function between the layers.
    #[must_use]
    pub fn activation(mut self, f: impl Into<Activation>) -> Self {
        self.activation = f.into();
        self
    }

    /// The function after the last layer.
    #[must_use]
    pub fn final_activation(mut self, f: impl Into<Activation>) -> Self {
        self.final_activation = Some(f.into());
        self
    }

    /// With biases before the last layer?
    #[must_use]
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self
    }

    /// With a bias in the last layer?
    #[must_use]
    pub fn use_final_bias(mut self, yes: bool) -> Self {
        self.use_final_bias = yes;
        self
    }

    /// The element type of weights and biases.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The network, each layer initialised as [`LinearConfig::init`] says, with the key that Equinox gives it.
    #[track_caller]
    pub fn init(&self, key: &Key) -> Mlp {
        let keys = key.split_vec(self.depth + 1);
        let layers = keys.iter().enumerate().map(|(i, k)| {
            let last = i == self.depth;
            let from = if i == 0 {
                self.in_size
            } else {
                self.width.into()
            };
            let to = if last {
                self.out_size
            } else {
                self.width.into()
            };
            let bias = if last {
                self.use_final_bias
            } else {
                self.use_bias
            };
            LinearConfig::new(from, to)
                .use_bias(bias)
                .dtype(self.dtype)
                .init(k)
        });
        Mlp {
            layers: layers.collect(),
            activation: self.activation.clone(),
            final_activation: self.final_activation.clone(),
        }
    }
}

impl Mlp {
    /// A network with relu and biases, in `f32`, initialised as `equinox.nn.MLP(in, out, width, depth, key=key)`, bit for bit. For
    /// other options see [`MlpConfig`].
    #[track_caller]
    pub fn new(
        in_size: impl Into<Features>,
        out_size: impl Into<Features>,
        width: usize,
        depth: usize,
        key: &Key,
    ) -> Mlp {
        MlpConfig::new(in_size, out_size, width, depth).init(key)
    }

    /// `[in]` to `[out]`, or with leading axes.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        let Some((last, hidden)) = self.layers.split_last() else {
            return x.clone();
        };
        let mut x = x.clone();
        for layer in hidden {
            x = self.activation.call(&layer.call(&x));
        }
        let x = last.call(&x);
        match &self.final_activation {
            // As in Equinox, a single layer has no activation at all.
            Some(f) if !hidden.is_empty() => f.call(&x),
            _ => x,
        }
    }
}
