//! Attention.

use super::{Dropout, Linear, LinearConfig, RotaryEmbedding, attempt, causal_mask, softmax};
use crate::{
    PyTree,
    array::{Array, DType, Scalar},
    error::{Error, Result},
    random::Key,
    trace::op::DotGeneral,
    transform::vmap,
};
use std::fmt;

/// Attention with several heads (Vaswani et al., 2017).
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let attention = nn::MultiheadAttention::new(2, 8, &k1);
/// let x = random::normal(&k2, [5, 8]);
/// assert_eq!(attention.call(&x, &x, &x).shape(), [5, 8]);
/// let rope = nn::RotaryEmbedding::new(4);
/// let how = nn::Attend::new().causal().rotary(&rope);
/// assert_eq!(attention.call_with(&x, &x, &x, &how).shape(), [5, 8]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct MultiheadAttention {
    /// From queries to the heads' queries.
    pub query_proj: Linear,
    /// From keys to the heads' keys.
    pub key_proj: Linear,
    /// From values to the heads' values.
    pub value_proj: Linear,
    /// From what the heads see to the output.
    pub output_proj: Linear,
    /// On the weights of attention.
    pub dropout: Dropout,
    /// How many heads there are.
    #[pytree(meta)]
    pub num_heads: usize,
}

/// The options of a [`MultiheadAttention`]: those of `equinox.nn.MultiheadAttention`.
#[derive(Clone, Debug)]
pub struct MultiheadAttentionConfig {
    num_heads: usize,
    query_size: usize,
    key_size: usize,
    value_size: usize,
    output_size: usize,
    qk_size: usize,
    vo_size: usize,
    biases: [bool; 4],
    dropout_p: f64,
    dtype: DType,
}

impl MultiheadAttentionConfig {
    /// All sizes those of the query, heads of `query_size / num_heads`, no biases, no dropout, in `f32`.
    pub fn new(num_heads: usize, query_size: usize) -> Self {
        let head = query_size.checked_div(num_heads).unwrap_or(0);
        MultiheadAttentionConfig {
            num_heads,
            query_size,
            key_size: query_size,
            value_size: query_size,
            output_size: query_size,
            qk_size: head,
            vo_size: head,
            biases: [false; 4],
            dropout_p: 0.0,
            dtype: DType::F32,
        }
    }

    /// The features of keys.
    #[must_use]
    pub fn key_size(mut self, n: usize) -> Self {
        self.key_size = n;
        self
    }

    /// The features of values.
    #[must_use]
    pub fn value_size(mut self, n: usize) -> Self {
        self.value_size = n;
        self
    }

    /// The features of the output.
    #[must_use]
    pub fn output_size(mut self, n: usize) -> Self {
        self.output_size = n;
        self
    }

    /// The features in which each head compares queries and keys.
    #[must_use]
    pub fn qk_size(mut self, n: usize) -> Self {
        self.qk_size = n;
        self
    }

    /// The features that each head takes from values.
    #[must_use]
    pub fn vo_size(mut self, n: usize) -> Self {
        self.vo_size = n;
        self
    }

    /// With biases in the maps of query, key, value and output?
    #[must_use]
    pub fn use_bias(mut self, query: bool, key: bool, value: bool, output: bool) -> Self {
        self.biases = [query, key, value, output];
        self
    }

    /// The probability with which a weight of attention is dropped.
    #[must_use]
    pub fn dropout_p(mut self, p: f64) -> Self {
        self.dropout_p = p;
        self
    }

    /// The element type of weights and biases.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The layer, its four maps initialised as [`LinearConfig::init`] says, with the keys that Equinox gives them.
    #[track_caller]
    pub fn init(&self, key: &Key) -> MultiheadAttention {
        let [qkey, kkey, vkey, okey] = key.split();
        let [query, key, value, output] = self.biases;
        let map = |from: usize, to: usize, bias: bool, key: &Key| {
            LinearConfig::new(from, to)
                .use_bias(bias)
                .dtype(self.dtype)
                .init(key)
        };
        let (compared, seen) = (self.num_heads * self.qk_size, self.num_heads * self.vo_size);
        MultiheadAttention {
            query_proj: map(self.query_size, compared, query, &qkey),
            key_proj: map(self.key_size, compared, key, &kkey),
            value_proj: map(self.value_size, seen, value, &vkey),
            output_proj: map(seen, self.output_size, output, &okey),
            dropout: Dropout::new(self.dropout_p),
            num_heads: self.num_heads,
        }
    }
}

type Heads = dyn Fn([Array; 3]) -> [Array; 3] + Send + Sync;

/// How a call of [`MultiheadAttention`] attends: masked or not, with rotary embeddings, with a key for dropout.
#[derive(Clone, Copy, Default)]
pub struct Attend<'a> {
    mask: Option<&'a Array>,
    causal: bool,
    rotary: Option<&'a RotaryEmbedding>,
    process_heads: Option<&'a Heads>,
    key: Option<&'a Key>,
}

impl fmt::Debug for Attend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attend")
            .field("mask", &self.mask)
            .field("causal", &self.causal)
            .field("rotary", &self.rotary)
            .finish_non_exhaustive()
    }
}

impl<'a> Attend<'a> {
    /// Every query to every key, with no key for dropout.
    pub fn new() -> Self {
        Attend::default()
    }

    /// Which query may see which key: `bool[queries, keys]`, or one for each head, `bool[heads, queries, keys]`.
    #[must_use]
    pub fn mask(mut self, mask: &'a Array) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Each query sees the keys up to its own position only, besides what a mask says.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.causal = true;
        self
    }

    /// Positions turned into the heads' queries and keys.
    #[must_use]
    pub fn rotary(mut self, rotary: &'a RotaryEmbedding) -> Self {
        self.rotary = Some(rotary);
        self
    }

    /// A function of the heads' queries, keys and values, each `[positions, heads, features]`, which keeps their shapes.
    #[must_use]
    pub fn process_heads(mut self, f: &'a Heads) -> Self {
        self.process_heads = Some(f);
        self
    }

    /// What dropout draws with.
    #[must_use]
    pub fn key(mut self, key: &'a Key) -> Self {
        self.key = Some(key);
        self
    }
}

/// The most negative finite number of a floating-point type.
fn lowest(dtype: DType) -> Array {
    let x = match dtype {
        DType::F16 => half::f16::MIN.to_f64(),
        DType::BF16 => half::bf16::MIN.to_f64(),
        DType::F64 => f64::MIN,
        _ => f64::from(f32::MIN),
    };
    Array::from_scalar(Scalar::from(x), dtype, false)
}

impl MultiheadAttention {
    /// A layer without biases and dropout, in `f32`, initialised as `equinox.nn.MultiheadAttention(num_heads, query_size,
    /// key=key)`, bit for bit. For other options see [`MultiheadAttentionConfig`].
    #[track_caller]
    pub fn new(num_heads: usize, query_size: usize, key: &Key) -> MultiheadAttention {
        MultiheadAttentionConfig::new(num_heads, query_size).init(key)
    }

    /// Every query to every key: `query [queries, ..]`, `key [keys, ..]` and `value [keys, ..]` to `[queries, ..]`.
    #[track_caller]
    pub fn call(&self, query: &Array, key: &Array, value: &Array) -> Array {
        self.call_with(query, key, value, &Attend::new())
    }

    /// The same, masked, with positions, with a key for dropout. In the error state if the shapes do not fit.
    #[track_caller]
    pub fn call_with(&self, query: &Array, key: &Array, value: &Array, how: &Attend<'_>) -> Array {
        attempt(|| self.apply(query, key, value, how))
    }

    fn apply(&self, query: &Array, key: &Array, value: &Array, how: &Attend<'_>) -> Result<Array> {
        let [queries, _] = query.dims()?;
        let ([keys, _], [values, _]) = (key.dims()?, value.dims()?);
        if keys != values {
            return Err(Error::shape(format!(
                "MultiheadAttention: {keys} keys for {values} values"
            )));
        }
        let heads = |map: &Linear, x: &Array| -> Result<Array> {
            let y = map.call(x);
            let [n, all] = y.dims()?;
            let each = all
                .checked_div(self.num_heads)
                .filter(|k| k * self.num_heads == all);
            let each = each.ok_or_else(|| {
                Error::shape(format!(
                    "MultiheadAttention: {all} features for {} heads",
                    self.num_heads
                ))
            })?;
            Ok(y.reshape([n, self.num_heads, each]))
        };
        let mut all = [
            heads(&self.query_proj, query)?,
            heads(&self.key_proj, key)?,
            heads(&self.value_proj, value)?,
        ];
        if let Some(rope) = how.rotary {
            // Positions stand before heads; the embedding wants them last but one.
            let turned = |x: &Array| rope.call(&x.swapaxes(0, 1)).swapaxes(0, 1);
            let [q, k, v] = &all;
            all = [turned(q), turned(k), v.clone()];
        }
        if let Some(f) = how.process_heads {
            let before = all.each_ref().map(Array::shape);
            all = f(all);
            if all.each_ref().map(Array::shape) != before {
                return Err(Error::shape(
                    "MultiheadAttention: `process_heads` changed the shape of the heads",
                ));
            }
        }
        let [q, k, v] = &all;
        let size = q.shape().last().copied().unwrap_or(1);
        let by_head = |contracted: ([usize; 1], [usize; 1]), batch: ([usize; 1], [usize; 1])| {
            DotGeneral::new(contracted, batch)
        };
        let scaled = q / (size as f64).sqrt();
        let mut logits = scaled.dot_general(k, by_head(([2], [2]), ([1], [1])));
        let dtype = logits.dtype()?;
        let expected = logits.shape();
        let mut hide = |mask: &Array| -> Result<()> {
            let a = mask.aval()?;
            if a.dtype != DType::Bool
                || a.shape[..] != expected[expected.len() - a.ndim().clamp(2, 3)..]
            {
                return Err(Error::shape(format!(
                    "MultiheadAttention: a mask is bool[{queries},{keys}] or bool[{},{queries},{keys}], found {a}",
                    self.num_heads
                )));
            }
            logits = mask.select(&logits, lowest(dtype));
            Ok(())
        };
        if let Some(mask) = how.mask {
            hide(mask)?;
        }
        if how.causal {
            hide(&causal_mask(queries, keys))?;
        }
        let wide = logits.astype(dtype.promote(DType::F32));
        let mut weights = softmax(&wide, -1).astype(dtype);
        if let Some(key) = how.key {
            let each = |w: &Array, k: &Key| self.dropout.call(w, Some(k));
            weights = vmap(each)(&weights, &key.split_n(self.num_heads))?;
        } else {
            weights = self.dropout.call(&weights, None);
        }
        let seen = weights.dot_general(v, by_head(([2], [0]), ([0], [1])));
        let [_, _, features] = seen.dims()?;
        let seen = seen
            .swapaxes(0, 1)
            .reshape([queries, self.num_heads * features]);
        Ok(self.output_proj.call(&seen))
    }
}
