//! Normalisation.

use super::{Fixed, attempt};
use crate::{
    PyTree,
    array::{Array, Aval, DType, Dims, IntoDims},
    error::{Error, Result},
};

/// The trailing axes of an input that ends with `shape`, or an error.
fn trailing(layer: &str, shape: &[usize], x: &Aval) -> Result<Dims> {
    if !x.shape.ends_with(shape) {
        return Err(Error::shape(format!(
            "{layer}: the last axes must be {shape:?}, found {x}"
        )));
    }
    Ok((x.ndim() - shape.len()..x.ndim()).collect())
}

/// Half precision is normalised in `f32`, and the result is half again.
fn at_least_f32(x: &Array) -> Result<(Array, DType)> {
    let dtype = x.dtype()?;
    Ok((x.astype(dtype.promote(DType::F32)), dtype))
}

fn affine(x: Array, weight: &Option<Array>, bias: &Option<Array>) -> Array {
    let x = match weight {
        Some(w) => w * x,
        None => x,
    };
    match bias {
        Some(b) => x + b,
        None => x,
    }
}

macro_rules! options {
    ($T:ident) => {
        impl $T {
            /// What is added to the variance; 10⁻⁵ if not said.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.eps = Fixed::new(eps);
                self
            }

            /// With a weight?
            #[must_use]
            pub fn use_weight(mut self, yes: bool) -> Self {
                self.weight = yes.then(|| Array::ones(&self.shape, DType::F32));
                self
            }

            /// With a bias?
            #[must_use]
            pub fn use_bias(mut self, yes: bool) -> Self {
                self.bias = yes.then(|| Array::zeros(&self.shape, DType::F32));
                self
            }

            /// The element type of weight and bias, `f32` if not said.
            #[must_use]
            pub fn dtype(mut self, dtype: DType) -> Self {
                self.weight = self.weight.map(|w| w.astype(dtype));
                self.bias = self.bias.map(|b| b.astype(dtype));
                self
            }
        }
    };
}
options!(LayerNorm);
options!(RmsNorm);

/// Layer normalisation (Ba et al., 2016): mean 0 and variance 1 over the last axes, then a weight and a bias.
///
/// ```
/// use quaxide::prelude::*;
/// let norm = nn::LayerNorm::new(3).use_bias(false);
/// let y = norm.call(&Array::from([[1f32, 2.0, 3.0], [0.0, 0.0, 9.0]]));
/// assert!(y.mean(-1).abs().max(()).item::<f32>().unwrap() < 1e-6);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct LayerNorm {
    /// In the shape of the normalised axes.
    pub weight: Option<Array>,
    /// In the shape of the normalised axes.
    pub bias: Option<Array>,
    #[pytree(meta)]
    shape: Dims,
    #[pytree(meta)]
    eps: Fixed,
}

impl LayerNorm {
    /// Over axes of these sizes, with a weight of ones and a bias of zeros, as `equinox.nn.LayerNorm(shape)`.
    #[track_caller]
    pub fn new(shape: impl IntoDims) -> LayerNorm {
        let shape = shape.into_dims();
        LayerNorm {
            weight: Some(Array::ones(&shape, DType::F32)),
            bias: Some(Array::zeros(&shape, DType::F32)),
            shape,
            eps: Fixed::new(1e-5),
        }
    }

    /// An array whose last axes have the layer's shape; axes before are examples. In the error state for any other.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| {
            let axes = trailing("LayerNorm", &self.shape, &x.aval()?)?;
            let (x, dtype) = at_least_f32(x)?;
            let centred = &x - x.keepdims(&axes, |x, axes| x.mean(axes));
            let variance = centred.square().keepdims(&axes, |x, axes| x.mean(axes));
            let y = centred * (variance + self.eps.get()).rsqrt();
            Ok(affine(y, &self.weight, &self.bias).astype(dtype))
        })
    }
}

/// Normalisation by the root of the mean square over the last axes (Zhang and Sennrich, 2019), then a weight and a bias.
#[derive(Clone, Debug, PyTree)]
pub struct RmsNorm {
    /// In the shape of the normalised axes.
    pub weight: Option<Array>,
    /// In the shape of the normalised axes.
    pub bias: Option<Array>,
    #[pytree(meta)]
    shape: Dims,
    #[pytree(meta)]
    eps: Fixed,
}

impl RmsNorm {
    /// Over axes of these sizes, with a weight of ones and a bias of zeros, as `equinox.nn.RMSNorm(shape)`.
    #[track_caller]
    pub fn new(shape: impl IntoDims) -> RmsNorm {
        let shape = shape.into_dims();
        RmsNorm {
            weight: Some(Array::ones(&shape, DType::F32)),
            bias: Some(Array::zeros(&shape, DType::F32)),
            shape,
            eps: Fixed::new(1e-5),
        }
    }

    /// An array whose last axes have the layer's shape; axes before are examples. In the error state for any other.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| {
            let axes = trailing("RmsNorm", &self.shape, &x.aval()?)?;
            let (x, dtype) = at_least_f32(x)?;
            let square = x.square().keepdims(&axes, |x, axes| x.mean(axes));
            let y = (square + self.eps.get()).rsqrt() * x;
            Ok(affine(y, &self.weight, &self.bias).astype(dtype))
        })
    }
}
