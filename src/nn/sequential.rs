//! Layers one after the other.

use super::{
    Activation, Conv, Dropout, Embedding, LayerNorm, Linear, Mlp, Pool, RmsNorm, RotaryEmbedding,
};
use crate::{
    array::Array,
    random::Key,
    tree::{Flat, Leaves, PyTree},
};
use std::{fmt, sync::Arc};

/// A layer from one array to one array.
pub trait Layer: PyTree {
    /// The layer's value. What draws, draws with the key.
    fn forward(&self, x: &Array, key: Option<&Key>) -> Array;
}

macro_rules! layers {
    ($($T:ty)*) => {$(
        impl Layer for $T {
            #[track_caller]
            fn forward(&self, x: &Array, _: Option<&Key>) -> Array {
                self.call(x)
            }
        }
    )*};
}
layers!(Linear Mlp Activation Embedding LayerNorm RmsNorm RotaryEmbedding);

impl<const N: usize> Layer for Conv<N> {
    #[track_caller]
    fn forward(&self, x: &Array, _: Option<&Key>) -> Array {
        self.call(x)
    }
}
impl<const N: usize> Layer for Pool<N> {
    #[track_caller]
    fn forward(&self, x: &Array, _: Option<&Key>) -> Array {
        self.call(x)
    }
}
impl Layer for Dropout {
    #[track_caller]
    fn forward(&self, x: &Array, key: Option<&Key>) -> Array {
        self.call(x, key)
    }
}
impl Layer for Sequential {
    #[track_caller]
    fn forward(&self, x: &Array, key: Option<&Key>) -> Array {
        self.apply(x, key)
    }
}

/// A layer without its type.
trait Erased: Send + Sync {
    fn forward(&self, x: &Array, key: Option<&Key>) -> Array;
    fn flatten(&self, out: &mut Flat<'_>);
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Boxed;
    fn name(&self) -> &'static str;
}
impl<L: Layer> Erased for L {
    fn forward(&self, x: &Array, key: Option<&Key>) -> Array {
        Layer::forward(self, x, key)
    }
    fn flatten(&self, out: &mut Flat<'_>) {
        PyTree::flatten(self, out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Boxed {
        Boxed(Arc::new(PyTree::unflatten(self, leaves)))
    }
    fn name(&self) -> &'static str {
        let full = std::any::type_name::<L>();
        full.rsplit("::").next().unwrap_or(full)
    }
}

#[derive(Clone)]
struct Boxed(Arc<dyn Erased>);

impl PyTree for Boxed {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node(self.0.name());
        self.0.flatten(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        self.0.unflatten(leaves)
    }
}

/// Layers one after the other, each on the result of the one before.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2, k3] = random::key(0).split();
/// let net = nn::Sequential::new()
///     .then(nn::Linear::new(4, 8, &k1))
///     .then(nn::Activation::new(nn::gelu))
///     .then(nn::Dropout::new(0.1))
///     .then(nn::Linear::new(8, 2, &k2));
/// let x = Array::ones([4], DType::F32);
/// assert_eq!(net.call_with_key(&x, &k3).shape(), [2]);
/// let trained = nn::inference_mode(&net, true);
/// assert_eq!(trained.call(&x).shape(), [2]);
/// assert_eq!(tree::leaves_with_paths(&net)[2].0, "[3].weight");
/// ```
#[derive(Clone, Default)]
pub struct Sequential {
    layers: Vec<Boxed>,
}

impl Sequential {
    /// No layers: the identity.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// With one layer more at the end.
    #[must_use]
    pub fn then(mut self, layer: impl Layer) -> Sequential {
        self.layers.push(Boxed(Arc::new(layer)));
        self
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The last layer's result. In the error state if a layer that is on needs a key.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        self.apply(x, None)
    }

    /// The same, with a key, from which each layer gets its own.
    #[track_caller]
    pub fn call_with_key(&self, x: &Array, key: &Key) -> Array {
        self.apply(x, Some(key))
    }

    #[track_caller]
    fn apply(&self, x: &Array, key: Option<&Key>) -> Array {
        let keys = key.map(|k| k.split_vec(self.layers.len()));
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.0.forward(&x, keys.as_ref().and_then(|k| k.get(i)));
        }
        x
    }
}

impl PyTree for Sequential {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Sequential");
        self.layers.flatten(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Sequential {
            layers: self.layers.unflatten(leaves),
        }
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.layers.iter().map(|l| l.0.name()))
            .finish()
    }
}
