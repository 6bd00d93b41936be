//! Attention by scaled products of queries and keys: `jax.nn.dot_product_attention`.

use super::{attempt, softmax};
use crate::{
    array::{Array, DType},
    error::{Error, Result},
    numpy::einsum,
};

/// What [`dot_product_attention`] takes besides queries, keys and values.
#[derive(Clone, Debug, Default)]
pub struct DotProduct {
    bias: Option<Array>,
    mask: Option<Array>,
    scale: Option<f64>,
    causal: bool,
}

impl DotProduct {
    /// Every query sees every key; products are divided by the root of their length.
    pub fn new() -> Self {
        Self::default()
    }

    /// An array that is added to the scaled products: it broadcasts to `[batch, heads, queries, keys]`.
    #[must_use]
    pub fn bias(mut self, bias: &Array) -> Self {
        self.bias = Some(bias.clone());
        self
    }

    /// Which query sees which key, as `bool`: it broadcasts to `[batch, heads, queries, keys]`.
    #[must_use]
    pub fn mask(mut self, mask: &Array) -> Self {
        self.mask = Some(mask.clone());
        self
    }

    /// Products times this number.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }

    /// No query sees a key after it.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.causal = true;
        self
    }
}

/// Means of values with weights from products of queries and keys, of many heads: queries `[batch, queries, heads, size]`, keys and
/// values `[batch, keys, heads, size]`, all perhaps without the first axis. Keys and values may have fewer heads, each for several of
/// the queries' (grouped queries). Sums and weights are in `f32` at least.
///
/// In the error state where sizes do not fit.
///
/// ```
/// use quaxide::prelude::*;
/// let x = random::normal(&random::key(0), [1, 5, 2, 4]);
/// let y = nn::dot_product_attention(&x, &x, &x, &nn::DotProduct::new().causal());
/// assert_eq!(y.shape(), [1, 5, 2, 4]);
/// // The first query sees itself alone.
/// assert!(y.index((0, 0)).allclose(x.index((0, 0)), 1e-6, 1e-6, false).item::<bool>().unwrap());
/// ```
#[track_caller]
pub fn dot_product_attention(query: &Array, key: &Array, value: &Array, how: &DotProduct) -> Array {
    attempt(|| {
        let single = query.aval()?.ndim() == 3;
        let wide = |x: &Array| if single { x.expand_dims(0) } else { x.clone() };
        let y = attention(&wide(query), &wide(key), &wide(value), how)?;
        Ok(if single { y.squeeze(0) } else { y })
    })
}

fn attention(q: &Array, k: &Array, v: &Array, how: &DotProduct) -> Result<Array> {
    let (a, b, c) = (q.aval()?, k.aval()?, v.aval()?);
    let refuse = || {
        Error::shape(format!(
            "dot_product_attention: queries {a}, keys {b} and values {c} do not fit"
        ))
        .note(
            "queries are [batch, queries, heads, size], keys and values [batch, keys, heads, size]",
        )
    };
    let (Ok([batch, t, heads, size]), Ok([m, s, groups, l]), true) = (
        <[usize; 4]>::try_from(&a.shape[..]),
        <[usize; 4]>::try_from(&b.shape[..]),
        c.ndim() == 4 && b.shape.get(..3) == c.shape.get(..3),
    ) else {
        return Err(refuse());
    };
    if m != batch || l != size || groups == 0 || heads % groups != 0 {
        return Err(refuse());
    }
    let d = a.dtype;
    let sums = match d {
        DType::F16 | DType::BF16 => DType::F32,
        d => d,
    };
    let each = |x: &Array| match heads / groups {
        1 => x.clone(),
        n => x.repeat(n, 2),
    };
    let (k, v) = (each(k), each(v));
    let logits = einsum("BTNH,BSNH->BNTS", &[&q.astype(sums), &k.astype(sums)]);
    let logits = logits * how.scale.unwrap_or((size as f64).sqrt().recip());
    let logits = match &how.bias {
        Some(bias) => logits + bias.astype(sums),
        None => logits,
    };
    let lowest = -0.7 * sums.finite_range().1;
    let logits = match &how.mask {
        Some(mask) => mask.select(&logits, lowest),
        None => logits,
    };
    let logits = if how.causal {
        let rows = Array::iota([t, s], 0, DType::I32);
        let seen = rows.ge(Array::iota([t, s], 1, DType::I32));
        seen.select(&logits, lowest)
    } else {
        logits
    };
    let weights = softmax(&logits, -1).astype(d);
    Ok(einsum("BNTS,BSNH->BTNH", &[&weights, &v]).ok()?.clone())
}
