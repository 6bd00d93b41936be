//! Abstract values: what is known of an array without its numbers.

use super::DType;
use smallvec::SmallVec;
use std::{fmt, ops::Deref};

/// Sizes of axes, or axis numbers.
pub type Dims = SmallVec<[usize; 4]>;

/// Shape, element type and weakness of an array.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Aval {
    /// The size of each axis.
    pub shape: Dims,
    /// The element type.
    pub dtype: DType,
    /// Does the element type give way to others, as that of a Rust literal does?
    pub weak_type: bool,
}

impl Aval {
    /// A strongly typed abstract value.
    pub fn new(shape: impl IntoDims, dtype: DType) -> Aval {
        Aval {
            shape: shape.into_dims(),
            dtype,
            weak_type: false,
        }
    }

    /// The same element type, weakness included, with another shape.
    pub fn with_shape(&self, shape: impl IntoDims) -> Aval {
        Aval {
            shape: shape.into_dims(),
            ..self.clone()
        }
    }

    /// The same shape with another element type, strongly typed.
    pub fn with_dtype(&self, dtype: DType) -> Aval {
        Aval {
            dtype,
            weak_type: false,
            ..self.clone()
        }
    }

    /// The same, strongly typed.
    pub fn strong(&self) -> Aval {
        self.with_dtype(self.dtype)
    }

    /// Number of axes.
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements; saturates where the product does not fit.
    pub fn size(&self) -> usize {
        size_of(&self.shape)
    }

    /// Do shapes and element types agree (weakness aside)?
    pub fn same_type(&self, other: &Aval) -> bool {
        self.shape == other.shape && self.dtype == other.dtype
    }
}

/// The product of sizes; saturates where it does not fit.
pub(crate) fn size_of(shape: &[usize]) -> usize {
    if shape.contains(&0) {
        0
    } else {
        shape.iter().fold(1, |n, d| n.saturating_mul(*d))
    }
}

impl fmt::Display for Aval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype.short_name())?;
        for (i, n) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{n}")?;
        }
        f.write_str("]")
    }
}

/// The shape of an array. Of an array in error it has no axes, and indexing it by number gives 0 rather than a panic.
#[derive(Clone, PartialEq, Eq)]
pub struct Shape {
    pub(crate) dims: Dims,
    pub(crate) error: bool,
}

/// The sizes, as a list: `[2, 3]`.
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.error {
            return f.write_str("[an array in error]");
        }
        write!(f, "{:?}", &self.dims[..])
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims
    }
}

impl std::ops::Index<usize> for Shape {
    type Output = usize;
    /// The size of axis `i`.
    ///
    /// # Panics
    /// If the array has no such axis, as indexing does everywhere in Rust; [`super::Array::dims`] gives an error instead.
    #[track_caller]
    fn index(&self, i: usize) -> &usize {
        if self.error { &0 } else { &self.dims[i] }
    }
}

macro_rules! shape_ranges {
    ($($R:ty)*) => {$(
        impl std::ops::Index<$R> for Shape {
            type Output = [usize];
            /// The sizes of a range of axes; none, of an array in error.
            ///
            /// # Panics
            /// If the array has no such axes.
            #[track_caller]
            fn index(&self, range: $R) -> &[usize] {
                if self.error { &[] } else { &self.dims[range] }
            }
        }
    )*};
}
shape_ranges! {
    std::ops::Range<usize> std::ops::RangeFrom<usize> std::ops::RangeTo<usize> std::ops::RangeFull
    std::ops::RangeInclusive<usize> std::ops::RangeToInclusive<usize>
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        !self.error && self.dims[..] == other[..]
    }
}

/// What may name a shape, or a list of axes: `[2, 3]`, `&[2, 3]`, `vec![2, 3]`, `()` for none, a single number for one.
pub trait IntoDims {
    /// The numbers.
    fn into_dims(self) -> Dims;
}

impl IntoDims for () {
    fn into_dims(self) -> Dims {
        Dims::new()
    }
}
impl IntoDims for usize {
    fn into_dims(self) -> Dims {
        Dims::from_slice(&[self])
    }
}
impl<const N: usize> IntoDims for [usize; N] {
    fn into_dims(self) -> Dims {
        Dims::from_slice(&self)
    }
}
impl<const N: usize> IntoDims for &[usize; N] {
    fn into_dims(self) -> Dims {
        Dims::from_slice(self)
    }
}
impl IntoDims for &[usize] {
    fn into_dims(self) -> Dims {
        Dims::from_slice(self)
    }
}
impl IntoDims for Vec<usize> {
    fn into_dims(self) -> Dims {
        self.into()
    }
}
impl IntoDims for &Vec<usize> {
    fn into_dims(self) -> Dims {
        Dims::from_slice(self)
    }
}
impl IntoDims for Dims {
    fn into_dims(self) -> Dims {
        self
    }
}
impl IntoDims for &Dims {
    fn into_dims(self) -> Dims {
        self.clone()
    }
}
impl IntoDims for Shape {
    fn into_dims(self) -> Dims {
        self.dims
    }
}
impl IntoDims for &Shape {
    fn into_dims(self) -> Dims {
        self.dims.clone()
    }
}
