//! Arrays from numbers, and numbers from arrays.

use super::{
    Array, Aval, Buffer, DType, Dims, IntoDims, Repr, Scalar, Stored, aval::size_of, dtype::Kind,
};
use crate::{
    error::{Error, Result},
    trace::{
        bind,
        op::{BroadcastInDim, Iota},
    },
};
use std::sync::Arc;

impl Array {
    /// An array of this shape with these elements in row-major order. In the error state if their number is not the shape's.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// assert_eq!(Array::new([2, 2], vec![1i64, 2, 3, 4]).shape(), [2, 2]);
    /// assert!(Array::new([3], vec![1.0]).ok().is_err());
    /// ```
    #[track_caller]
    pub fn new<T: Stored>(shape: impl IntoDims, elements: impl Into<Vec<T>>) -> Array {
        let at = std::panic::Location::caller();
        Array::from_buffer(Buffer::new(shape.into_dims(), elements.into()).map_err(|e| e.at(at)))
    }

    pub(crate) fn from_buffer(b: Result<Buffer>) -> Array {
        match b {
            Ok(b) => Array(Repr::Dense(Arc::new(b))),
            Err(e) => {
                crate::trace::poison(&e);
                Array::error(e)
            }
        }
    }

    /// One strongly typed number.
    pub fn scalar<T: Stored>(x: T) -> Array {
        Array::from_scalar(x.into(), T::DTYPE, false)
    }

    /// One number in an element type of one's choice.
    pub fn from_scalar(x: Scalar, dtype: DType, weak_type: bool) -> Array {
        Array(Repr::Dense(Arc::new(Buffer::scalar(x, dtype, weak_type))))
    }

    /// The same number everywhere.
    #[track_caller]
    pub fn full(shape: impl IntoDims, x: impl Into<Scalar>, dtype: DType) -> Array {
        let number = Array::from_scalar(x.into(), dtype, false);
        let shape = shape.into_dims();
        if shape.is_empty() {
            return number;
        }
        bind(
            BroadcastInDim {
                shape,
                broadcast_dimensions: Dims::new(),
            },
            &[&number],
        )
    }

    /// Zeros.
    #[track_caller]
    pub fn zeros(shape: impl IntoDims, dtype: DType) -> Array {
        Array::full(shape, 0, dtype)
    }

    /// Ones.
    #[track_caller]
    pub fn ones(shape: impl IntoDims, dtype: DType) -> Array {
        Array::full(shape, 1, dtype)
    }

    /// The same number everywhere, in the shape and element type of another array.
    #[track_caller]
    pub fn full_like(like: &Array, x: impl Into<Scalar>) -> Array {
        match like.aval() {
            Ok(a) => Array::full(a.shape, x, a.dtype),
            Err(e) => Array::error(e),
        }
    }

    /// Zeros in the shape and element type of another array.
    #[track_caller]
    pub fn zeros_like(like: &Array) -> Array {
        Array::full_like(like, 0)
    }

    /// Ones in the shape and element type of another array.
    #[track_caller]
    pub fn ones_like(like: &Array) -> Array {
        Array::full_like(like, 1)
    }

    /// 0, 1, …, n − 1.
    #[track_caller]
    pub fn arange(n: usize, dtype: DType) -> Array {
        Array::iota([n], 0, dtype)
    }

    /// 0, 1, 2, … along one axis of a shape, as `lax.broadcasted_iota`.
    #[track_caller]
    pub fn iota(shape: impl IntoDims, dimension: usize, dtype: DType) -> Array {
        bind(
            Iota {
                dtype,
                shape: shape.into_dims(),
                dimension,
            },
            &[],
        )
    }

    /// The identity matrix.
    #[track_caller]
    pub fn eye(n: usize, dtype: DType) -> Array {
        Array::iota([n, n], 0, DType::I32)
            .eq(Array::iota([n, n], 1, DType::I32))
            .convert(dtype)
    }

    /// The array with its number of elements checked against memory: for shapes that come from outside.
    pub(crate) fn checked_size(aval: &Aval) -> Result<usize> {
        let n = size_of(&aval.shape);
        if n.checked_mul(aval.dtype.size())
            .is_none_or(|bytes| bytes > isize::MAX as usize)
        {
            return Err(Error::memory(format!("{aval} does not fit in memory")));
        }
        Ok(n)
    }
}

macro_rules! from_number {
    ($($T:ty)*) => {$(
        /// A weakly typed number, as a Python scalar is to JAX: its element type gives way to that of other operands.
        impl From<$T> for Array {
            fn from(x: $T) -> Array {
                let x = Scalar::from(x);
                let dtype = match x {
                    Scalar::Int(i) if i32::try_from(i).is_err() => DType::I64,
                    x => DType::default_of(x.kind()),
                };
                Array::from_scalar(x, dtype, x.kind() != Kind::Bool)
            }
        }
    )*};
}
from_number!(bool i32 i64 u32 usize f32 f64);

/// The array of a buffer, shared with whoever else holds it: what [`Array::buffer`] gives, back.
impl From<Arc<Buffer>> for Array {
    fn from(b: Arc<Buffer>) -> Array {
        Array::from_shared(b)
    }
}

impl<T: Stored> From<Vec<T>> for Array {
    fn from(v: Vec<T>) -> Array {
        Array::new([v.len()], v)
    }
}
impl<T: Stored> From<&[T]> for Array {
    fn from(v: &[T]) -> Array {
        Array::from(v.to_vec())
    }
}
impl<T: Stored, const N: usize> From<[T; N]> for Array {
    fn from(v: [T; N]) -> Array {
        Array::from(v.to_vec())
    }
}
impl<T: Stored, const N: usize, const M: usize> From<[[T; M]; N]> for Array {
    fn from(v: [[T; M]; N]) -> Array {
        Array::new([N, M], v.concat())
    }
}
impl<T: Stored, const N: usize, const M: usize, const K: usize> From<[[[T; K]; M]; N]> for Array {
    fn from(v: [[[T; K]; M]; N]) -> Array {
        Array::new([N, M, K], v.concat().concat())
    }
}

impl<T: Stored, D: ndarray::Dimension> From<ndarray::Array<T, D>> for Array {
    fn from(v: ndarray::Array<T, D>) -> Array {
        let shape = v.shape().to_vec();
        let v = v.as_standard_layout().into_owned();
        let (elements, offset) = v.into_raw_vec_and_offset();
        let n = size_of(&shape);
        let start = offset.unwrap_or(0);
        let elements = match elements.get(start..start + n) {
            Some(all) if all.len() == elements.len() => elements,
            Some(part) => part.to_vec(),
            None => vec![],
        };
        Array::new(shape, elements)
    }
}
impl<T: Stored, D: ndarray::Dimension> From<&ndarray::Array<T, D>> for Array {
    fn from(v: &ndarray::Array<T, D>) -> Array {
        Array::new(v.shape().to_vec(), v.iter().copied().collect::<Vec<T>>())
    }
}

impl Array {
    /// The elements as an `ndarray` of dynamic dimension. An error for another element type, and for a traced array.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[1f32, 2.], [3., 4.]]).to_ndarray::<f32>().unwrap();
    /// assert_eq!(x[[1, 0]], 3.0);
    /// ```
    #[track_caller]
    pub fn to_ndarray<T: Stored>(&self) -> Result<ndarray::ArrayD<T>> {
        let elements = self.to_vec::<T>()?;
        ndarray::ArrayD::from_shape_vec(ndarray::IxDyn(&self.shape()), elements)
            .map_err(|e| Error::shape(e.to_string()))
    }
}
