//! Buffers: the numbers of a concrete array, shared, with strides.

use super::{Aval, DType, Dims, Element, IntoDims, Scalar, aval::size_of, dtype::with_dtype};
use crate::error::{Error, Result};
use half::{bf16, f16};
use num_complex::Complex;
use std::sync::Arc;

/// Contiguous storage of one element type.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `bool`
    Bool(Vec<bool>),
    /// `i8`
    I8(Vec<i8>),
    /// `i16`
    I16(Vec<i16>),
    /// `i32`
    I32(Vec<i32>),
    /// `i64`
    I64(Vec<i64>),
    /// `u8`
    U8(Vec<u8>),
    /// `u16`
    U16(Vec<u16>),
    /// `u32`
    U32(Vec<u32>),
    /// `u64`
    U64(Vec<u64>),
    /// `f16`
    F16(Vec<f16>),
    /// `bf16`
    BF16(Vec<bf16>),
    /// `f32`
    F32(Vec<f32>),
    /// `f64`
    F64(Vec<f64>),
    /// `complex64`
    C64(Vec<Complex<f32>>),
    /// `complex128`
    C128(Vec<Complex<f64>>),
}

/// A Rust type whose vectors are [`Data`].
pub trait Stored: Element {
    /// The elements, where the storage is of this type.
    fn slice(data: &Data) -> Option<&[Self]>;
    /// The vector, where the storage is of this type.
    fn vec_mut(data: &mut Data) -> Option<&mut Vec<Self>>;
    /// Wrap a vector.
    fn data(v: Vec<Self>) -> Data;
}

macro_rules! stored {
    ($($T:ty = $V:ident;)*) => {
        $(impl Stored for $T {
            fn slice(data: &Data) -> Option<&[Self]> {
                if let Data::$V(v) = data { Some(v) } else { None }
            }
            fn vec_mut(data: &mut Data) -> Option<&mut Vec<Self>> {
                if let Data::$V(v) = data { Some(v) } else { None }
            }
            fn data(v: Vec<Self>) -> Data {
                Data::$V(v)
            }
        })*
        impl Data {
            /// The element type.
            pub fn dtype(&self) -> DType {
                match self { $(Data::$V(_) => DType::$V,)* }
            }
            /// The number of elements.
            pub fn len(&self) -> usize {
                match self { $(Data::$V(v) => v.len(),)* }
            }
        }
    };
}
stored! {
    bool = Bool; i8 = I8; i16 = I16; i32 = I32; i64 = I64; u8 = U8; u16 = U16; u32 = U32; u64 = U64;
    f16 = F16; bf16 = BF16; f32 = F32; f64 = F64; Complex<f32> = C64; Complex<f64> = C128;
}

impl Data {
    /// Are there no elements?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An empty vector with room for `n` elements, or an error instead of an abort.
pub(crate) fn try_vec<T>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| {
        Error::memory(format!(
            "{n} elements of {} bytes do not fit in memory",
            size_of::<T>()
        ))
    })?;
    return Ok(v);

    fn size_of<T>() -> usize {
        std::mem::size_of::<T>()
    }
}

/// A vector of `n` copies.
pub(crate) fn try_filled<T: Clone>(n: usize, x: T) -> Result<Vec<T>> {
    let mut v = try_vec(n)?;
    v.resize(n, x);
    Ok(v)
}

/// Row-major strides, in elements.
pub(crate) fn row_major(shape: &[usize]) -> SmallStrides {
    let mut strides: SmallStrides = shape.iter().map(|_| 0).collect();
    let mut step = 1isize;
    for (s, n) in strides.iter_mut().zip(shape).rev() {
        *s = step;
        step = step.saturating_mul(isize::try_from(*n).unwrap_or(isize::MAX));
    }
    strides
}

/// Strides, one for each axis, in elements.
pub type SmallStrides = smallvec::SmallVec<[isize; 4]>;

/// The numbers of a concrete array: shared storage seen through a shape, strides and an offset.
#[derive(Clone, Debug)]
pub struct Buffer {
    data: Arc<Data>,
    aval: Arc<Aval>,
    strides: SmallStrides,
    offset: usize,
    contiguous: bool,
}

impl Buffer {
    /// A row-major buffer. An error if the number of elements is not that of the shape.
    pub fn new<T: Stored>(shape: impl IntoDims, elements: Vec<T>) -> Result<Buffer> {
        Buffer::from_data(Aval::new(shape, T::DTYPE), T::data(elements))
    }

    /// A row-major buffer of an abstract value. An error if the storage does not fit it.
    pub fn from_data(aval: Aval, data: Data) -> Result<Buffer> {
        if data.dtype() != aval.dtype || data.len() != size_of(&aval.shape) {
            return Err(Error::shape(format!(
                "{} elements of {} do not fill {aval}",
                data.len(),
                data.dtype()
            )));
        }
        Ok(Buffer {
            strides: row_major(&aval.shape),
            data: Arc::new(data),
            aval: Arc::new(aval),
            offset: 0,
            contiguous: true,
        })
    }

    /// A row-major buffer of an abstract value that may be shared, from storage of as many elements of its type.
    pub(crate) fn from_storage(aval: Arc<Aval>, data: Arc<Data>) -> Buffer {
        debug_assert!(data.dtype() == aval.dtype && data.len() == size_of(&aval.shape));
        Buffer {
            strides: row_major(&aval.shape),
            data,
            aval,
            offset: 0,
            contiguous: true,
        }
    }

    /// The storage, if this buffer sees all of it in order and nobody else holds it.
    pub(crate) fn into_storage(mut self) -> Result<Arc<Data>, Buffer> {
        let whole = self.contiguous && self.offset == 0 && self.data.len() == self.len();
        if whole && Arc::get_mut(&mut self.data).is_some() {
            Ok(self.data)
        } else {
            Err(self)
        }
    }

    /// The storage, whatever this buffer sees of it.
    pub(crate) fn into_data(self) -> Arc<Data> {
        self.data
    }

    /// One number, of rank 0.
    pub fn scalar(x: Scalar, dtype: DType, weak_type: bool) -> Buffer {
        let data = with_dtype!(dtype, T => T::data(vec![T::from_scalar(x)]));
        Buffer {
            data: Arc::new(data),
            aval: Arc::new(Aval {
                shape: Dims::new(),
                dtype,
                weak_type,
            }),
            strides: SmallStrides::new(),
            offset: 0,
            contiguous: true,
        }
    }

    /// The same number everywhere.
    /// An error if it does not fit in memory.
    pub fn full(aval: Aval, x: Scalar) -> Result<Buffer> {
        let n = size_of(&aval.shape);
        let data = with_dtype!(aval.dtype, T => T::data(try_filled(n, T::from_scalar(x))?));
        Buffer::from_data(aval, data)
    }

    /// Shape and element type.
    pub fn aval(&self) -> &Arc<Aval> {
        &self.aval
    }

    /// The size of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.aval.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.aval.dtype
    }

    /// Steps between neighbours along each axis, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// Where the first element lies in the storage.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The storage, of which this buffer may see a part.
    pub fn data(&self) -> &Arc<Data> {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        size_of(&self.aval.shape)
    }

    /// Are there no elements?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do the elements lie in row-major order without gaps?
    pub fn is_contiguous(&self) -> bool {
        self.contiguous
    }

    /// The elements in row-major order, where they lie so. `None` for a strided view or another type.
    pub fn as_slice<T: Stored>(&self) -> Option<&[T]> {
        if !self.contiguous {
            return None;
        }
        T::slice(&self.data)?.get(self.offset..self.offset.checked_add(self.len())?)
    }

    /// The whole storage, for kernels that walk it by strides.
    pub fn storage<T: Stored>(&self) -> Option<&[T]> {
        T::slice(&self.data)
    }

    /// The elements in row-major order.
    /// An error for another element type.
    pub fn to_vec<T: Stored>(&self) -> Result<Vec<T>> {
        if let Some(s) = self.as_slice::<T>() {
            let mut v = try_vec(s.len())?;
            v.extend_from_slice(s);
            return Ok(v);
        }
        let storage = self.storage::<T>().ok_or_else(|| {
            Error::dtype(format!(
                "{} holds {}, not {}",
                self.aval,
                self.dtype(),
                T::DTYPE
            ))
        })?;
        let mut v = try_vec(self.len())?;
        self.for_each_offset(|i| v.push(storage.get(i).copied().unwrap_or_default()));
        Ok(v)
    }

    /// Call `f` with the storage index of every element, in row-major order.
    pub fn for_each_offset(&self, mut f: impl FnMut(usize)) {
        let shape = &self.aval.shape;
        if size_of(shape) == 0 {
            return;
        }
        let Some((last, outer)) = shape.split_last() else {
            return f(self.offset);
        };
        let step = self.strides.last().copied().unwrap_or(0);
        let mut index = Dims::from_elem(0, outer.len());
        let mut base = self.offset as isize;
        loop {
            let mut at = base;
            for _ in 0..*last {
                f(at as usize);
                at += step;
            }
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                let (Some(i), Some(n), Some(s)) =
                    (index.get_mut(axis), outer.get(axis), self.strides.get(axis))
                else {
                    return;
                };
                *i += 1;
                base += s;
                if *i < *n {
                    break;
                }
                base -= s * *n as isize;
                *i = 0;
            }
        }
    }

    /// The same elements in row-major order without gaps; free where they lie so.
    pub fn contiguous(&self) -> Result<Buffer> {
        if self.contiguous {
            return Ok(self.clone());
        }
        let data = with_dtype!(self.dtype(), T => T::data(self.to_vec::<T>()?));
        Buffer::from_data((*self.aval).clone(), data)
    }

    /// The only element, of a buffer that has just one.
    pub fn item(&self) -> Option<Scalar> {
        if self.len() != 1 {
            return None;
        }
        with_dtype!(self.dtype(), T => T::slice(&self.data)?.get(self.offset).map(|x| (*x).into()))
    }

    /// A view of the same storage. An error if it would reach outside of it.
    pub fn view(&self, shape: Dims, strides: SmallStrides, offset: usize) -> Result<Buffer> {
        self.view_as(Arc::new(self.aval.with_shape(shape)), strides, offset)
    }

    /// A view of an abstract value, whose element type is this buffer's.
    pub(crate) fn view_as(
        &self,
        aval: Arc<Aval>,
        strides: SmallStrides,
        offset: usize,
    ) -> Result<Buffer> {
        let shape = &aval.shape;
        let outside = || Error::internal("a view reaches outside of its buffer");
        if shape.len() != strides.len() {
            return Err(outside());
        }
        if size_of(shape) > 0 {
            let (mut low, mut high) = (offset as i128, offset as i128);
            for (n, s) in shape.iter().zip(&strides) {
                let reach = (*n as i128 - 1) * *s as i128;
                low += reach.min(0);
                high += reach.max(0);
            }
            if low < 0 || high >= self.data.len() as i128 {
                return Err(outside());
            }
        }
        let empty = size_of(shape) == 0;
        let contiguous = {
            let mut step = 1isize;
            let mut ok = true;
            for (n, s) in shape.iter().zip(&strides).rev() {
                ok &= *n <= 1 || *s == step;
                step = step.saturating_mul(*n as isize);
            }
            ok || empty
        };
        Ok(Buffer {
            data: self.data.clone(),
            aval,
            strides,
            offset: if empty { 0 } else { offset },
            contiguous,
        })
    }

    /// The same elements under another shape of as many; free where they lie in row-major order.
    pub fn reshape(&self, shape: impl IntoDims) -> Result<Buffer> {
        let shape = shape.into_dims();
        if size_of(&shape) != self.len() {
            return Err(Error::shape(format!(
                "cannot reshape {} to {:?}",
                self.aval,
                &shape[..]
            )));
        }
        let mut b = self.contiguous()?;
        b.strides = row_major(&shape);
        b.aval = Arc::new(b.aval.with_shape(shape));
        Ok(b)
    }

    /// The same elements with the type's weakness set.
    pub fn with_weak_type(&self, weak_type: bool) -> Buffer {
        if self.aval.weak_type == weak_type {
            return self.clone();
        }
        Buffer {
            aval: Arc::new(Aval {
                weak_type,
                ..(*self.aval).clone()
            }),
            ..self.clone()
        }
    }

    /// The storage itself, if nobody else holds it and this buffer sees all of it in order; for kernels that work in place.
    pub fn into_unique_data(self) -> Result<Data, Buffer> {
        if !self.contiguous || self.offset != 0 || self.data.len() != self.len() {
            return Err(self);
        }
        let Buffer {
            data,
            aval,
            strides,
            offset,
            contiguous,
        } = self;
        Arc::try_unwrap(data).map_err(|data| Buffer {
            data,
            aval,
            strides,
            offset,
            contiguous,
        })
    }
}

/// Equal shapes, types and elements (NaN differs from itself).
impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        self.aval.same_type(&other.aval)
            && with_dtype!(self.dtype(), T => match (self.to_vec::<T>(), other.to_vec::<T>()) {
                (Ok(a), Ok(b)) => a == b,
                _ => false,
            })
    }
}
