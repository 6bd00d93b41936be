//! Operators: broadcasting, promoting, between arrays and numbers.

use super::{Array, Aval, DType, Dims, Repr, Scalar, dtype::promote_types};
use crate::{
    error::{Error, Result},
    trace::{
        self, bind, bind_op,
        op::{Binary, BroadcastInDim, ConvertElementType, Op, Unary},
    },
};
use std::{borrow::Cow, ops};

/// What may stand beside an array in an operation: an array, a reference to one, or a Rust number, which is weakly typed.
pub trait Operand {
    /// As an array, given the one that it stands beside.
    fn operand(&self, beside: &Array) -> Cow<'_, Array>;
}

impl Operand for Array {
    fn operand(&self, _: &Array) -> Cow<'_, Array> {
        Cow::Borrowed(self)
    }
}
impl Operand for &Array {
    fn operand(&self, _: &Array) -> Cow<'_, Array> {
        Cow::Borrowed(self)
    }
}

macro_rules! numbers {
    ($($T:ty)*) => {$(
        impl Operand for $T {
            fn operand(&self, beside: &Array) -> Cow<'_, Array> {
                Cow::Owned(number((*self).into(), beside))
            }
        }
    )*};
}
numbers!(bool i8 i16 i32 i64 u8 u16 u32 u64 usize isize f32 f64 num_complex::Complex<f32> num_complex::Complex<f64>);

/// A number beside an array takes the array's element type directly, if that type is of its kind or above (so `0.1` beside `f64`
/// is not rounded to `f32` first).
fn number(x: Scalar, beside: &Array) -> Array {
    let default = DType::default_of(x.kind());
    match beside.aval() {
        Ok(a) => {
            let (dtype, weak) = promote_types((a.dtype, a.weak_type), (default, true));
            Array::from_scalar(x, dtype, weak)
        }
        Err(_) => Array::from_scalar(x, default, true),
    }
}

/// The shape that two shapes broadcast to, as NumPy does.
pub(crate) fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Dims> {
    let n = a.len().max(b.len());
    let size = |s: &[usize], i: usize| {
        (i + s.len())
            .checked_sub(n)
            .and_then(|j| s.get(j).copied())
            .unwrap_or(1)
    };
    (0..n)
        .map(|i| match (size(a, i), size(b, i)) {
            (p, q) if p == q => Some(p),
            (1, q) => Some(q),
            (p, 1) => Some(p),
            _ => None,
        })
        .collect()
}

/// Operands of one shape (or rank 0) and one element type, from operands that broadcast and promote.
pub(crate) fn harmonise(name: &str, x: &[&Array], promote: bool) -> Result<Vec<Array>> {
    let avals: Vec<Aval> = x.iter().map(|x| x.aval()).collect::<Result<_>>()?;
    let mut shape = Dims::new();
    for a in &avals {
        shape = broadcast_shapes(&shape, &a.shape).ok_or_else(|| {
            let types: Vec<String> = avals.iter().map(|a| a.to_string()).collect();
            Error::shape(format!(
                "`{name}`: the shapes of {} do not broadcast",
                types.join(" and ")
            ))
            .note("sizes must be equal or 1, counted from the last axis")
        })?;
    }
    let dtype = avals
        .iter()
        .map(|a| (a.dtype, a.weak_type))
        .reduce(promote_types)
        .unwrap_or((DType::F32, true));
    Ok(x.iter()
        .zip(&avals)
        .map(|(x, a)| {
            let x = if promote && a.dtype != dtype.0 {
                x.convert_weak(dtype.0, dtype.1)
            } else {
                (*x).clone()
            };
            if a.ndim() == 0 || a.shape == shape {
                return x;
            }
            broadcast_trailing(&x, &a.shape, &shape)
        })
        .collect())
}

/// NumPy's broadcasting: axes line up at the end; an axis of size 1 is dropped before it grows, so that growth is a new axis.
fn broadcast_trailing(x: &Array, from: &[usize], to: &[usize]) -> Array {
    let offset = to.len() - from.len();
    let kept: Dims = from
        .iter()
        .enumerate()
        .filter(|(i, n)| **n != 1 || to.get(offset + i) == Some(&1))
        .map(|(i, _)| i)
        .collect();
    let x = if kept.len() == from.len() {
        x.clone()
    } else {
        x.reshape(
            kept.iter()
                .filter_map(|i| from.get(*i).copied())
                .collect::<Dims>(),
        )
    };
    let broadcast_dimensions = kept.iter().map(|i| i + offset).collect();
    bind(
        BroadcastInDim {
            shape: Dims::from_slice(to),
            broadcast_dimensions,
        },
        &[&x],
    )
}

impl Array {
    /// The array repeated to a larger shape, as `jnp.broadcast_to`.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl super::IntoDims) -> Array {
        let shape = shape.into_dims();
        match self.aval() {
            Err(e) => Array::error(e),
            Ok(a) if a.shape == shape => self.clone(),
            Ok(a) if broadcast_shapes(&a.shape, &shape).as_ref() == Some(&shape) => {
                broadcast_trailing(self, &a.shape, &shape)
            }
            Ok(a) => fail(Error::shape(format!(
                "{a} does not broadcast to {:?}",
                &shape[..]
            ))),
        }
    }

    #[track_caller]
    pub(crate) fn convert_weak(&self, dtype: DType, weak_type: bool) -> Array {
        match &self.0 {
            // A concrete number is converted, not traced: literals stay literals.
            Repr::Dense(b) if b.shape().is_empty() => match b.item() {
                Some(x) => Array::from_scalar(x, dtype, weak_type),
                None => self.clone(),
            },
            _ => bind(
                ConvertElementType {
                    new_dtype: dtype,
                    weak_type,
                },
                &[self],
            ),
        }
    }

    /// The numbers in another element type; the array itself if it has that type.
    #[track_caller]
    pub(crate) fn convert(&self, dtype: DType) -> Array {
        match self.aval() {
            Ok(a) if a.dtype == dtype && !a.weak_type => self.clone(),
            _ => self.convert_weak(dtype, false),
        }
    }
}

/// An error at the caller's line, noted in the trace in progress.
#[track_caller]
pub(crate) fn fail(e: Error) -> Array {
    let e = e.at(trace::here());
    trace::poison(&e);
    Array::error(e)
}

/// The array that `f` makes, with all that it is made of attributed to the caller's line; in the error state if `f` fails.
#[track_caller]
pub(crate) fn attempt(f: impl FnOnce() -> Result<Array>) -> Array {
    trace::with_location(trace::here(), || f().unwrap_or_else(fail))
}

/// A binary primitive on operands that broadcast and promote.
#[track_caller]
pub(crate) fn broadcasting(op: Binary, a: &Array, b: &Array) -> Array {
    let at = trace::here();
    match (&a.0, &b.0) {
        (Repr::Traced(x), Repr::Traced(y)) if x.aval == y.aval => {
            return bind_op(&op.into(), &[a, b], at);
        }
        (Repr::Dense(x), Repr::Dense(y)) if x.aval() == y.aval() => {
            return bind_op(&op.into(), &[a, b], at);
        }
        _ => {}
    }
    let op: Op = op.into();
    match harmonise(op.name(), &[a, b], true) {
        Ok(x) => bind_op(&op, &x.iter().collect::<Vec<_>>(), at),
        Err(e) => {
            let e = a.err().or(b.err()).cloned().unwrap_or(e).at(at);
            trace::poison(&e);
            Array::error(e)
        }
    }
}

/// The element type, and weakness, that operands meet in.
fn joint_type(x: &[&Array]) -> Result<(DType, bool)> {
    let mut joint = None;
    for x in x {
        let a = x.aval()?;
        let own = (a.dtype, a.weak_type);
        joint = Some(joint.map_or(own, |j| promote_types(j, own)));
    }
    Ok(joint.unwrap_or((DType::F32, true)))
}

/// The operands in an element type: those that have another are converted.
fn all_as(x: &[&Array], (dtype, weak): (DType, bool)) -> Vec<Array> {
    x.iter()
        .map(|x| match x.aval() {
            Ok(a) if a.dtype == dtype && (weak || !a.weak_type) => (*x).clone(),
            _ => x.convert_weak(dtype, weak),
        })
        .collect()
}

/// The operands in the floating-point type that they meet in. An error if one is in the error state.
pub(crate) fn inexact_together(x: &[&Array]) -> Result<Vec<Array>> {
    let (dtype, weak) = joint_type(x)?;
    Ok(all_as(x, (dtype.to_inexact(), weak)))
}

/// The operands in the type that they meet in, weakness included.
pub(crate) fn promoted_strictly(x: &[&Array]) -> Result<Vec<Array>> {
    Ok(all_as(x, joint_type(x)?))
}

/// A primitive of floats on operands that broadcast and promote; integers become floats first.
#[track_caller]
pub(crate) fn of_floats(op: impl Into<Op>, x: &[&Array]) -> Array {
    let op = op.into();
    attempt(|| {
        let x = inexact_together(x)?;
        let x = harmonise(op.name(), &x.iter().collect::<Vec<_>>(), true)?;
        Ok(bind(op, &x.iter().collect::<Vec<_>>()))
    })
}

/// A primitive of numbers on operands that broadcast and promote; `bool` becomes `i32` first.
#[track_caller]
pub(crate) fn of_numbers(op: Binary, x: &Array, y: &Array) -> Array {
    match (x.dtype(), y.dtype()) {
        (Ok(DType::Bool), Ok(DType::Bool)) => broadcasting(
            op,
            &x.convert_weak(DType::I32, false),
            &y.convert_weak(DType::I32, false),
        ),
        _ => broadcasting(op, x, y),
    }
}

/// The arithmetic operators. Division of integers gives floats, as `/` does in NumPy; sums and products of `bool` are its "or" and
/// "and"; shifts of `bool` are those of integers.
#[track_caller]
fn arithmetic(op: Binary, a: &Array, b: &Array) -> Array {
    let exact = |x: &Array| x.dtype().ok().filter(|d| !d.is_inexact());
    match op {
        Binary::Div if exact(a).is_some() && exact(b).is_some() => of_floats(op, &[a, b]),
        Binary::Add | Binary::Mul
            if matches!((a.dtype(), b.dtype()), (Ok(DType::Bool), Ok(DType::Bool))) =>
        {
            let logical = if op == Binary::Add {
                Binary::Or
            } else {
                Binary::And
            };
            broadcasting(logical, a, b)
        }
        Binary::ShiftLeft | Binary::ShiftRightArithmetic => {
            let unsigned = match joint_type(&[a, b]) {
                Ok((d, _)) => d.is_unsigned(),
                Err(_) => false,
            };
            match op {
                Binary::ShiftRightArithmetic if unsigned => {
                    broadcasting(Binary::ShiftRightLogical, a, b)
                }
                _ => of_numbers(op, a, b),
            }
        }
        _ => broadcasting(op, a, b),
    }
}

macro_rules! binary_operators {
    ($($Trait:ident $method:ident $op:expr;)*) => {$(
        impl<T: Operand> ops::$Trait<T> for &Array {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: T) -> Array {
                arithmetic($op, self, &other.operand(self))
            }
        }
        impl<T: Operand> ops::$Trait<T> for Array {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: T) -> Array {
                arithmetic($op, &self, &other.operand(&self))
            }
        }
        binary_operators!(@numbers $Trait $method $op; i32 f64);
    )*};
    // One integer and one float type, so that `1.0 - x` infers even where a method is called on it.
    (@numbers $Trait:ident $method:ident $op:expr; $($T:ty)*) => {$(
        impl ops::$Trait<&Array> for $T {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: &Array) -> Array {
                arithmetic($op, &self.operand(other), other)
            }
        }
        impl ops::$Trait<Array> for $T {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: Array) -> Array {
                arithmetic($op, &self.operand(&other), &other)
            }
        }
    )*};
}
macro_rules! assigning_operators {
    ($($Trait:ident $method:ident $op:expr;)*) => {$(
        /// The array is replaced by the result; arrays that shared its numbers keep theirs.
        impl<T: Operand> ops::$Trait<T> for Array {
            #[track_caller]
            fn $method(&mut self, other: T) {
                *self = arithmetic($op, self, &other.operand(self));
            }
        }
    )*};
}
assigning_operators! {
    AddAssign add_assign Binary::Add;
    SubAssign sub_assign Binary::Sub;
    MulAssign mul_assign Binary::Mul;
    DivAssign div_assign Binary::Div;
    RemAssign rem_assign Binary::Rem;
}

binary_operators! {
    Add add Binary::Add;
    Sub sub Binary::Sub;
    Mul mul Binary::Mul;
    Div div Binary::Div;
    Rem rem Binary::Rem;
    BitAnd bitand Binary::And;
    BitOr bitor Binary::Or;
    BitXor bitxor Binary::Xor;
    Shl shl Binary::ShiftLeft;
    Shr shr Binary::ShiftRightArithmetic;
}

macro_rules! unary_operators {
    ($($Trait:ident $method:ident $op:expr;)*) => {$(
        impl ops::$Trait for &Array {
            type Output = Array;
            #[track_caller]
            fn $method(self) -> Array {
                bind($op, &[self])
            }
        }
        impl ops::$Trait for Array {
            type Output = Array;
            #[track_caller]
            fn $method(self) -> Array {
                bind($op, &[&self])
            }
        }
    )*};
}
unary_operators! {
    Neg neg Unary::Neg;
    Not not Unary::Not;
}
