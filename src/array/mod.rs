//! [`Array`]: what programs compute with.

pub(crate) mod aval;
pub(crate) mod buffer;
mod construct;
mod convolution;
mod display;
pub(crate) mod dtype;
mod index;
pub mod linalg;
mod methods;
pub mod numpy;
mod operators;
mod selection;
mod sorting;
mod special;
mod value;

pub use aval::{Aval, Dims, IntoDims, Shape};
pub use buffer::{Buffer, Data, Stored};
pub use convolution::{Convolution, Pads};
pub use dtype::{DType, Element, Kind, Scalar, promote_types};
pub use index::{At, Ellipsis, Index, IndexPart, IntoIndex, NewAxis, Slice};
pub use methods::IntoAxes;
pub(crate) use methods::normalise_axis;
pub(crate) use methods::promoted;
pub use operators::Operand;
pub(crate) use operators::{
    attempt, broadcast_shapes, broadcasting, fail, harmonise, inexact_together, of_floats,
    of_numbers, promoted_strictly,
};
pub use sorting::sort_together;
pub(crate) use value::DynValue;

use crate::{
    error::{Error, ErrorKind, Result},
    trace::{self, Identity, Traced},
};
use dtype::with_dtype;
use std::sync::Arc;

/// An n-dimensional array: numbers, a variable of a program that is being traced, an array-ish value, a symbolic zero, or an error.
///
/// Cloning counts a reference. Operations never panic; one that fails yields an array in the error state, which [`Array::ok`]
/// tells and every transformed function returns.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32, 2.], [3., 4.]]);
/// let y = (&x * 2.0 + 1.0).sum(0);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [10.0, 14.0]);
/// ```
#[derive(Clone)]
#[must_use = "an array operation has no effect but its result"]
pub struct Array(pub(crate) Repr);

#[derive(Clone)]
pub(crate) enum Repr {
    Dense(Arc<Buffer>),
    Traced(Traced),
    Value(Arc<dyn DynValue>),
    Zero(Arc<Aval>),
    Error(Error),
}

impl Array {
    /// An array in the error state.
    pub fn error(e: Error) -> Array {
        Array(Repr::Error(e))
    }

    /// The result of something that may have failed, as an array that is in the error state if it has.
    pub fn from_result(r: Result<Array>) -> Array {
        r.unwrap_or_else(Array::error)
    }

    /// A zero without a buffer: what derivatives give for arguments that they do not depend on.
    pub fn symbolic_zero(aval: Aval) -> Array {
        Array(Repr::Zero(Arc::new(aval)))
    }

    pub(crate) fn from_shared(b: Arc<Buffer>) -> Array {
        Array(Repr::Dense(b))
    }

    pub(crate) fn from_dyn_value(v: Arc<dyn DynValue>) -> Array {
        Array(Repr::Value(v))
    }

    /// Is it a zero without a buffer?
    pub fn is_symbolic_zero(&self) -> bool {
        matches!(self.0, Repr::Zero(_))
    }

    /// Is it a variable of a program that is being traced?
    pub fn is_traced(&self) -> bool {
        matches!(self.0, Repr::Traced(_))
    }

    /// The numbers, if there are any.
    pub fn buffer(&self) -> Option<&Arc<Buffer>> {
        if let Repr::Dense(b) = &self.0 {
            Some(b)
        } else {
            None
        }
    }

    pub(crate) fn as_dyn_value(&self) -> Option<&Arc<dyn DynValue>> {
        if let Repr::Value(v) = &self.0 {
            Some(v)
        } else {
            None
        }
    }

    /// The array-ish value of type `T` that this is, if it is one.
    pub fn value<T: 'static>(&self) -> Option<&T> {
        self.as_dyn_value()?.as_any().downcast_ref()
    }

    pub(crate) fn err(&self) -> Option<&Error> {
        if let Repr::Error(e) = &self.0 {
            Some(e)
        } else {
            None
        }
    }

    /// The array, or the error that it is in.
    pub fn ok(&self) -> Result<&Array> {
        match self.err() {
            Some(e) => Err(e.clone()),
            None => Ok(self),
        }
    }

    /// By which the array is known as the same object.
    pub(crate) fn identity(&self) -> Identity {
        match &self.0 {
            Repr::Traced(t) => t.identity(),
            Repr::Dense(b) => (0, Arc::as_ptr(b) as usize),
            Repr::Value(v) => (0, Arc::as_ptr(v).cast::<()>() as usize),
            Repr::Zero(a) => (0, Arc::as_ptr(a) as usize),
            Repr::Error(_) => (0, 0),
        }
    }

    /// Shape, element type and weakness.
    /// The error, of an array in the error state.
    pub fn aval(&self) -> Result<Aval> {
        Ok(match &self.0 {
            Repr::Dense(b) => (**b.aval()).clone(),
            Repr::Traced(t) => (*t.aval).clone(),
            Repr::Value(v) => return v.aval_dyn(),
            Repr::Zero(a) => (**a).clone(),
            Repr::Error(e) => return Err(e.clone()),
        })
    }

    /// Shape, element type and weakness, of what holds them; `None` of a value, which works them out, and of an error.
    pub(crate) fn aval_ref(&self) -> Option<&Aval> {
        match &self.0 {
            Repr::Dense(b) => Some(b.aval()),
            Repr::Traced(t) => Some(&t.aval),
            Repr::Zero(a) => Some(a),
            Repr::Value(_) | Repr::Error(_) => None,
        }
    }

    /// Is this its shape, element type and weakness?
    pub(crate) fn has_aval(&self, aval: &Aval) -> bool {
        match self.aval_ref() {
            Some(a) => a == aval,
            None => self.aval().is_ok_and(|a| a == *aval),
        }
    }

    /// The size of each axis. Of an array in error: no axes, and 0 for each that is asked for by number.
    pub fn shape(&self) -> Shape {
        match self.aval() {
            Ok(a) => Shape {
                dims: a.shape,
                error: false,
            },
            Err(_) => Shape {
                dims: Dims::new(),
                error: true,
            },
        }
    }

    /// The sizes of exactly `N` axes: `let [batch, features] = x.dims()?;`.
    /// An error if it has another number of axes.
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        let at = std::panic::Location::caller();
        let a = self.aval()?;
        <[usize; N]>::try_from(&a.shape[..]).map_err(|_| {
            let e = Error::shape(format!("expected an array of {N} axes, found {a}")).at(at);
            trace::poison(&e);
            e
        })
    }

    /// Number of axes; 0 for an array in error.
    pub fn ndim(&self) -> usize {
        match &self.0 {
            Repr::Dense(b) => b.shape().len(),
            Repr::Traced(t) => t.aval.ndim(),
            _ => self.shape().len(),
        }
    }

    /// Number of elements; 0 for an array in error.
    pub fn size(&self) -> usize {
        self.aval().map_or(0, |a| a.size())
    }

    /// The element type.
    /// The error, of an array in the error state.
    pub fn dtype(&self) -> Result<DType> {
        match &self.0 {
            Repr::Dense(b) => Ok(b.dtype()),
            Repr::Traced(t) => Ok(t.aval.dtype),
            _ => Ok(self.aval()?.dtype),
        }
    }

    /// The numbers of a concrete array, or the error that says why there are none.
    #[track_caller]
    pub(crate) fn concrete(&self, what: &str) -> Result<Arc<Buffer>> {
        let at = std::panic::Location::caller();
        match &self.0 {
            Repr::Dense(b) => Ok(b.clone()),
            Repr::Zero(a) => Ok(Arc::new(Buffer::full((**a).clone(), Scalar::Int(0))?)),
            Repr::Error(e) => Err(e.clone()),
            Repr::Traced(t) => {
                let e = Error::new(
                    ErrorKind::Escaped,
                    format!("{what} of a traced {}, which has no numbers yet", t.aval),
                )
                .at(at)
                .note("inside a transformed function use `cond`, `select` or `while_loop` in the place of Rust's `if` and `while`");
                trace::poison(&e);
                Err(e)
            }
            Repr::Value(v) => Err(Error::new(
                ErrorKind::NotQuaxified,
                format!("{what} of {}, which is not a plain array", v.describe()),
            )
            .at(at)
            .note(
                "its components are arrays; `materialise` makes it one where its type allows it",
            )),
        }
    }

    /// The elements in row-major order. An error for another element type than the array's, and for a traced array.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// assert_eq!(Array::from([1i32, 2]).to_vec::<i32>().unwrap(), [1, 2]);
    /// assert!(Array::from([1i32, 2]).to_vec::<f32>().is_err());
    /// ```
    #[track_caller]
    pub fn to_vec<T: Stored>(&self) -> Result<Vec<T>> {
        self.concrete("the elements")?.to_vec()
    }

    /// The only element, converted to `T`. An error for any other number of elements, and for a traced array.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x: f64 = Array::from([1f32, 2.]).sum(()).item().unwrap();
    /// assert_eq!(x, 3.0);
    /// ```
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let b = self.concrete("`item()`")?;
        match b.item() {
            Some(x) => Ok(T::from_scalar(x)),
            None => Err(
                Error::shape(format!("`item()` of {}: not one element", b.aval()))
                    .at(std::panic::Location::caller()),
            ),
        }
    }

    /// The elements as `f64`, whatever their element type (the real parts of complex ones).
    /// An error for an array without numbers, such as a traced one.
    #[track_caller]
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        let b = self.concrete("the elements")?;
        with_dtype!(b.dtype(), T => {
            Ok(b.to_vec::<T>()?.into_iter().map(|x| f64::from_scalar(x.into())).collect())
        })
    }
}
