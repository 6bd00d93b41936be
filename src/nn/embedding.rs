//! Embeddings: of integers, and of positions.

use super::{Fixed, attempt};
use crate::{
    PyTree,
    array::{Array, DType, Dims, numpy::concatenate},
    error::{Error, Result},
    random::{self, Key},
    trace,
};

/// A table of vectors, one for each integer.
///
/// ```
/// use quaxide::prelude::*;
/// let table = nn::Embedding::new(7, 4, &random::key(0));
/// assert_eq!(table.call(&Array::from([[1i32, 2], [0, 6]])).shape(), [2, 2, 4]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Embedding {
    /// `[number, size]`
    pub weight: Array,
}

impl Embedding {
    /// A table of normal numbers in `f32`, those of `equinox.nn.Embedding(number, size, key=key)`, bit for bit.
    #[track_caller]
    pub fn new(number: usize, size: usize, key: &Key) -> Embedding {
        Embedding {
            weight: random::normal(key, [number, size]),
        }
    }

    /// The same in another floating-point type.
    #[track_caller]
    pub fn with_dtype(number: usize, size: usize, dtype: DType, key: &Key) -> Embedding {
        Embedding {
            weight: random::normal(key, ([number, size], dtype)),
        }
    }

    /// A table that is there already, `[number, size]`. An error for any other number of axes.
    pub fn from_weight(weight: Array) -> Result<Embedding> {
        let a = weight.aval()?;
        if a.ndim() != 2 {
            return Err(Error::shape(format!(
                "Embedding: a table is [number, size], found {a}"
            )));
        }
        Ok(Embedding { weight })
    }

    /// Integers `[..]` to vectors `[.., size]`. Negative ones count from the end; one outside of the table gives NaN.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| {
            let a = x.aval()?;
            if !a.dtype.is_integer() {
                return Err(Error::dtype(format!(
                    "Embedding: positions are integers, found {a}"
                )));
            }
            Ok(self.weight.take(x, 0))
        })
    }
}

/// Rotary embedding of positions (Su et al., 2021): each pair of features turned by an angle that grows with the position.
///
/// ```
/// use quaxide::prelude::*;
/// let rope = nn::RotaryEmbedding::new(4);
/// let x = Array::ones([7, 4], DType::F32);
/// let y = rope.call(&x);
/// assert_eq!(y.shape(), [7, 4]);
/// assert_eq!(y.to_vec::<f32>().unwrap()[..4], [1.0; 4]); // position 0 is not turned
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct RotaryEmbedding {
    #[pytree(meta)]
    size: usize,
    #[pytree(meta)]
    theta: Fixed,
}

impl RotaryEmbedding {
    /// For `size` features, an even number, with a `theta` of 10,000.
    pub fn new(size: usize) -> RotaryEmbedding {
        RotaryEmbedding {
            size,
            theta: Fixed::new(10_000.0),
        }
    }

    /// The base of the angles' geometric sequence.
    #[must_use]
    pub fn theta(mut self, theta: f64) -> Self {
        self.theta = Fixed::new(theta);
        self
    }

    /// Sequences `[.., positions, size]`, in the input's element type. In the error state for another size or an odd one.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        attempt(|| {
            let a = x.aval()?;
            let [.., positions, size] = a.shape[..] else {
                return Err(Error::shape(format!(
                    "RotaryEmbedding: [.., positions, size], found {a}"
                )));
            };
            if size != self.size || !size.is_multiple_of(2) {
                return Err(Error::shape(format!(
                    "RotaryEmbedding of an even {} features, found {a}",
                    self.size
                )));
            }
            // They depend on no data, so they are numbers of the program.
            let (cos, sin) = trace::eager(|| self.angles(positions));
            let half = size / 2;
            let (left, right) = (x.slice_in_dim(0, half, -1), x.slice_in_dim(half, size, -1));
            let turned = concatenate(&[-right, left], -1);
            Ok((x * cos + turned * sin).astype(a.dtype))
        })
    }

    /// The cosines and sines, `f32[positions, size]`, the second half of the features as the first.
    fn angles(&self, positions: usize) -> (Array, Array) {
        let half = self.size / 2;
        let steps = Array::arange(half, DType::F32) * 2.0 / self.size as f64;
        let rates = 1.0 / Array::from(self.theta.get()).pow(&steps);
        let at = Array::arange(positions, DType::F32).expand_dims(1);
        let angles = at * rates.broadcast_in_dim([1, half], [1]);
        let twice = |x: Array| concatenate(&[x.clone(), x], -1);
        (twice(angles.cos()), twice(angles.sin()))
    }
}

/// Which positions may see which: `bool[queries, keys]`, each query up to its own place, counted from the end of the keys.
///
/// ```
/// use quaxide::prelude::*;
/// let mask = nn::causal_mask(2, 3);
/// assert_eq!(mask.to_vec::<bool>().unwrap(), [true, true, false, true, true, true]);
/// ```
#[track_caller]
pub fn causal_mask(queries: usize, keys: usize) -> Array {
    attempt(|| {
        let shape = Dims::from_slice(&[queries, keys]);
        let (q, k) = (
            Array::iota(&shape, 0, DType::I64),
            Array::iota(&shape, 1, DType::I64),
        );
        Ok((q + keys).ge(k + queries))
    })
}
