//! What a primitive *is*: name, parameters, type rule, derivative, transpose, batching, and what the algebra may know of it.
//!
//! [`Primitive`] has no default methods, so that the compiler lists what a new primitive still lacks. Each family is one file that
//! holds all of it. What a *consumer* does with primitives (each interpreter, an exporter) is one exhaustive `match` over [`Op`]
//! in that consumer.

use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::{Jaxpr, Program},
};
use smallvec::SmallVec;
use std::{any::Any, fmt, marker::PhantomData, ops::Deref, sync::Arc};

/// What a primitive without programs inside answers.
macro_rules! no_programs {
    () => {
        fn inner(&self) -> Option<&dyn Inner> {
            None
        }
    };
}
/// What a primitive without programs inside answers of which the algebra knows nothing.
macro_rules! opaque {
    () => {
        fn axes(&self, _: &[&Aval]) -> Axes {
            Axes::Opaque
        }
        no_programs!();
    };
}

/// An enum of functions, those without parameters first, and the list of those.
macro_rules! functions {
    ($(#[$meta:meta])* pub enum $Name:ident { $($(#[$doc:meta])* $Plain:ident,)* $(; $($rest:tt)*)? }) => {
        $(#[$meta])*
        pub enum $Name {
            $($(#[$doc])* $Plain,)*
            $($($rest)*)?
        }

        impl $Name {
            /// Those that have no parameters, and so are known by their names.
            pub const PLAIN: &'static [$Name] = &[$($Name::$Plain),*];
        }
    };
}

mod barrier;
mod call;
mod collective;
mod combine;
mod contract;
mod control;
mod conv;
pub(crate) mod defined;
mod elementwise;
mod exchange;
mod factor;
mod fft;
mod function;
mod index;
mod linalg;
mod names;
mod precision;
mod ragged;
mod random;
mod reduce;
mod shape;
mod slicing;
mod sort;
mod special;
mod stacking;
mod window;

pub use barrier::*;
pub use call::*;
pub use collective::*;
pub use combine::*;
pub use contract::*;
pub use control::*;
pub use conv::*;
pub use elementwise::*;
pub use exchange::*;
pub use factor::*;
pub use fft::*;
pub use function::*;
pub use index::*;
pub use linalg::*;
pub use names::*;
pub use precision::*;
pub use ragged::*;
pub use random::*;
pub use reduce::*;
pub use shape::*;
pub use slicing::*;
pub use sort::*;
pub use special::*;
pub use stacking::*;
pub use window::*;

/// The types of an equation's results.
pub type Avals = SmallVec<[Aval; 1]>;

/// A tangent or a cotangent; `None` is a zero that nobody has allocated.
pub type Tangent = Option<Array>;

/// What a forward derivative gives: the results, and the tangent of each.
pub type Jvp = (Vec<Array>, Vec<Tangent>);

/// What batching gives: the results, and where the batch axis of each is (`None`: the same for every example).
pub type Batched = (Vec<Array>, Vec<Option<usize>>);

/// An operand of a linear equation that is being transposed.
#[derive(Clone, Debug)]
pub enum Arg {
    /// An operand that does not depend on the tangents.
    Known(Array),
    /// An operand whose cotangent is asked for.
    Linear(Arc<Aval>),
}

impl Arg {
    /// Shape and element type.
    pub fn aval(&self) -> Result<Aval> {
        match self {
            Arg::Known(x) => x.aval(),
            Arg::Linear(a) => Ok((**a).clone()),
        }
    }

    /// Is its cotangent asked for?
    pub fn is_linear(&self) -> bool {
        matches!(self, Arg::Linear(_))
    }
}

/// The axis that `vmap` maps over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchAxis {
    /// The number of examples.
    pub size: usize,
    /// The name by which collectives such as `psum` mean it.
    pub name: Option<Arc<str>>,
}

/// Names of axes, local to one equation.
pub type Labels = SmallVec<[u16; 4]>;

/// What a primitive is to the algebra. Labels that stand in `output` are the result's axes, in order; the others are summed.
/// An output label that no operand carries is an axis along which the result is constant.
#[derive(Clone, PartialEq, Debug)]
pub enum Axes {
    /// The sum over the labels that are not in `output` of the product of the operands.
    Product {
        /// The label of every axis of every operand.
        operands: Vec<Labels>,
        /// The label of every axis of the result.
        output: Labels,
    },
    /// A linear combination; an operand is constant along the output labels that it lacks.
    Sum {
        /// The factor of each operand.
        coefficients: Vec<f64>,
        /// The label of every axis of every operand.
        operands: Vec<Labels>,
        /// The label of every axis of the result.
        output: Labels,
    },
    /// Not algebra: the equation bounds an island.
    Opaque,
}

/// A parameter as jaxprs print it.
#[derive(Clone, Debug)]
pub enum Param {
    /// Text, printed as it stands.
    Text(String),
    /// A program.
    Program(Program),
    /// Several programs.
    Programs(Vec<Program>),
}

impl Param {
    /// A list of numbers, printed as a Python tuple.
    pub fn tuple(items: &[usize]) -> Param {
        Param::Text(tuple_text(items))
    }

    /// A Python boolean.
    pub fn bool(b: bool) -> Param {
        Param::Text(if b { "True" } else { "False" }.into())
    }

    /// Anything that prints.
    pub fn text(x: impl fmt::Display) -> Param {
        Param::Text(x.to_string())
    }
}

/// `(0, 1)`, `(0,)` or `()`.
pub(crate) fn tuple_text(items: &[usize]) -> String {
    match items {
        [one] => format!("({one},)"),
        _ => format!(
            "({})",
            items
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// Names and values, in the order in which `jax.make_jaxpr` prints them.
pub type Params = Vec<(&'static str, Param)>;

/// Everything that the transformations ask of a primitive.
pub trait Primitive: fmt::Debug + Send + Sync + 'static {
    /// The name that `jax.lax` gives it.
    fn name(&self) -> &'static str;
    /// The parameters, as `jax.make_jaxpr` prints them.
    fn params(&self) -> Params;
    /// The type rule: shapes and element types of the results. An error names what does not fit.
    fn infer(&self, operands: &[&Aval]) -> Result<Avals>;
    /// The results, and their tangents for the operands' tangents, of which at least one is not zero.
    fn jvp(&self, primals: &[Array], tangents: &[Tangent]) -> Result<Jvp>;
    /// The cotangents of the linear operands (`None` for the others, and for zeros) for those of the results.
    fn transpose(&self, cotangents: &[Tangent], operands: &[Arg]) -> Result<Vec<Tangent>>;
    /// The results for operands of which some have a batch axis (at least one has).
    fn batch(
        &self,
        operands: &[Array],
        dims: &[Option<usize>],
        axis: &BatchAxis,
    ) -> Result<Batched>;
    /// What the algebra may know.
    fn axes(&self, operands: &[&Aval]) -> Axes;
    /// The programs inside, if it is a primitive that has some.
    fn inner(&self) -> Option<&dyn Inner>;
}

/// What primitives with programs inside answer besides.
pub trait Inner {
    /// The programs. They capture nothing: what their functions captured are operands.
    fn programs(&self) -> Vec<&Program>;
    /// The same primitive around other programs of the same types.
    fn with_programs(&self, programs: Vec<Program>) -> Result<Op>;
    /// Split in two: what can be computed from the operands that are known, and the rest.
    /// `unknown` marks the operands that are not known.
    fn partial_eval(&self, unknown: &[bool], operands: &[&Aval]) -> Result<Split>;
    /// The same without what computes results that `used` does not mark; `None` where nothing can be left out.
    fn prune(&self, used: &[bool]) -> Option<Pruned>;
}

/// A primitive with programs inside, split by what is known of its operands. The halves stand in the place of the equation.
pub struct Split {
    /// The known half and the operands (by number) that it takes. Its results are those of the whole that `unknown_outs` does not
    /// mark, in order, and then the residuals.
    pub known: (Jaxpr, Vec<usize>),
    /// The unknown half and what it takes; its results are those of the whole that `unknown_outs` marks, in order.
    pub unknown: (Jaxpr, Vec<SplitOperand>),
    /// Which results of the whole are not known.
    pub unknown_outs: Vec<bool>,
}

impl Split {
    /// Nothing can be computed early: the whole is unknown.
    pub(crate) fn nothing_known(op: Op, operands: &[&Aval]) -> Result<Split> {
        let whole = Jaxpr::of_op(op, operands.iter().map(|a| (*a).clone()))?;
        Ok(Split {
            known: (Jaxpr::default(), vec![]),
            unknown_outs: vec![true; whole.outs().len()],
            unknown: (
                whole,
                (0..operands.len()).map(SplitOperand::Operand).collect(),
            ),
        })
    }
}

/// A primitive with programs inside, without what computes results that nobody uses.
pub struct Pruned {
    /// What is left of it.
    pub op: Op,
    /// The operands that it still takes, by number.
    pub operands: Vec<usize>,
    /// The results that it still has, by number; at least those that are used.
    pub results: Vec<usize>,
}

/// Where an operand of the unknown half of a [`Split`] comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SplitOperand {
    /// An operand of the whole, by number.
    Operand(usize),
    /// A residual, by number.
    Residual(usize),
}

/// A primitive from outside: everything that a [`Primitive`] is, and how to run it.
pub trait CustomPrimitive: Primitive {
    /// The results for concrete operands.
    fn eval(&self, operands: &[Array]) -> Result<Vec<Array>>;
    /// What it means by other operations, for one that is defined by others: then programs hold these in its place wherever no rule
    /// of a type answers.
    fn define(&self, _operands: &[Array]) -> Option<Result<Vec<Array>>> {
        None
    }
    /// For looking the type up in rules.
    fn as_any(&self) -> &dyn Any;
}

/// A typed name of a primitive, for tables of rules: `r.binary(op::ADD, …)`.
pub struct Prim<P> {
    /// The primitive's name.
    pub name: &'static str,
    params: PhantomData<fn() -> P>,
}

impl<P> Prim<P> {
    /// The token of the primitive of this name, whose parameters are a `P`.
    pub const fn new(name: &'static str) -> Self {
        Prim {
            name,
            params: PhantomData,
        }
    }
}

impl<P> Clone for Prim<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Prim<P> {}

macro_rules! ops {
    (inline { $($Flat:ident),* $(,)? } boxed { $($Boxed:ident),* $(,)? }) => {
        /// A primitive with its parameters: what an equation applies.
        #[derive(Clone, Debug)]
        pub enum Op {
            $(#[doc = concat!("[`", stringify!($Flat), "`]")] $Flat($Flat),)*
            $(#[doc = concat!("[`", stringify!($Boxed), "`]")] $Boxed(Arc<$Boxed>),)*
            /// A primitive defined elsewhere.
            Custom(Arc<dyn CustomPrimitive>),
        }
        $(impl From<$Flat> for Op { fn from(p: $Flat) -> Op { Op::$Flat(p) } })*
        $(impl From<$Boxed> for Op { fn from(p: $Boxed) -> Op { Op::$Boxed(Arc::new(p)) } })*
        impl Deref for Op {
            type Target = dyn Primitive;
            fn deref(&self) -> &(dyn Primitive + 'static) {
                match self {
                    $(Op::$Flat(p) => p,)*
                    $(Op::$Boxed(p) => &**p,)*
                    Op::Custom(p) => &**p as &dyn Primitive,
                }
            }
        }
        impl Op {
            /// The kinds of primitives that there are, by the names of their types; one kind may have several primitives.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($Flat),)* $(stringify!($Boxed),)*];
            /// Of which kind it is.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Op::$Flat(_) => stringify!($Flat),)*
                    $(Op::$Boxed(_) => stringify!($Boxed),)*
                    Op::Custom(_) => "Custom",
                }
            }
            /// The parameters, if they are a `P`.
            pub fn get<P: 'static>(&self) -> Option<&P> {
                let any: &dyn Any = match self {
                    $(Op::$Flat(p) => p,)*
                    $(Op::$Boxed(p) => &**p,)*
                    Op::Custom(p) => p.as_any(),
                };
                any.downcast_ref()
            }
        }
        /// The same primitive with equal parameters; programs and functions inside are equal if they are the same object.
        impl PartialEq for Op {
            fn eq(&self, other: &Op) -> bool {
                match (self, other) {
                    $((Op::$Flat(a), Op::$Flat(b)) => a == b,)*
                    $((Op::$Boxed(a), Op::$Boxed(b)) => Arc::ptr_eq(a, b) || a == b,)*
                    (Op::Custom(a), Op::Custom(b)) => Arc::ptr_eq(a, b),
                    _ => false,
                }
            }
        }
    };
}

ops! {
    inline { Unary, Binary, SelectN, StopGradient, Copied, OptimizationBarrier, DynamicUpdateSlice, Clamp, Threefry2x32, RandomGamma, Special, Linalg }
    boxed {
        IntegerPow, ConvertElementType, Component,
        Transpose, BroadcastInDim, Reshape, Iota, Reduce,
        DotGeneral,
        Squeeze, Slice, DynamicSlice, Concatenate, Pad, Rev, BitcastConvertType,
        Gather, Scatter, Sort, TopK, Cumulative,
        ConvGeneralDilated, ReduceWindow, SelectAndGatherAdd, SelectAndScatterAdd,
        Jit,
        Scan, Cond, While, CustomJvp, CustomVjp, CustomLinear, CustomLinearSolve, Checkpoint,
        Collective, AxisIndex, Exchange, Factor,
        ReduceBy, ReduceWindowBy, SelectAndScatter, ScatterBy, SortBy,
        SplitAlong, Stack, Unstack, Tile, Fft, RngBitGenerator, RaggedDotGeneral,
    }
}

impl From<Arc<dyn CustomPrimitive>> for Op {
    fn from(p: Arc<dyn CustomPrimitive>) -> Op {
        Op::Custom(p)
    }
}

impl Op {
    /// `name a:f32[2] b:f32[3]`, for messages.
    pub(crate) fn describe(&self, operands: &[&Aval]) -> String {
        let types: Vec<String> = operands.iter().map(|a| a.to_string()).collect();
        format!("{} {}", self.name(), types.join(" "))
    }
}

/// The operands of a primitive that takes a fixed number of them.
pub(crate) fn operands<'a, T, const N: usize>(name: &str, x: &'a [T]) -> Result<&'a [T; N]> {
    x.try_into().map_err(|_| {
        Error::internal(format!(
            "`{name}` takes {N} operand(s), {} were given",
            x.len()
        ))
    })
}

/// The only cotangent of a primitive with one result; `None` means that every cotangent is zero.
pub(crate) fn cotangent(ct: &[Tangent]) -> Option<&Array> {
    ct.first().and_then(Option::as_ref)
}

/// The refusal of a primitive that is not linear in the marked operands.
pub(crate) fn not_linear(name: &str) -> Error {
    Error::internal(format!(
        "`{name}` is not linear in the operands whose cotangents are asked for"
    ))
}

/// One result and its tangent.
pub(crate) fn one(y: Array, t: Tangent) -> Result<Jvp> {
    Ok((vec![y], vec![t]))
}

/// The sum of two tangents.
pub(crate) fn add_tangents(a: Tangent, b: Tangent) -> Tangent {
    match (a, b) {
        (Some(a), Some(b)) => Some(crate::trace::bind(Binary::Add, &[&a, &b])),
        (a, b) => a.or(b),
    }
}

/// The jvp of a primitive that is linear in every operand together (a structural one): apply it to the tangents.
pub(crate) fn linear_jvp(op: Op, primals: &[Array], tangents: &[Tangent]) -> Result<Jvp> {
    let x: Vec<&Array> = primals.iter().collect();
    let y = crate::trace::bind(op.clone(), &x);
    let t: Vec<Array> = primals
        .iter()
        .zip(tangents)
        .map(|(p, t)| t.clone().unwrap_or_else(|| Array::zeros_like(p)))
        .collect();
    let t = crate::trace::bind(op, &t.iter().collect::<Vec<_>>());
    one(y, Some(t))
}

/// The batching rule of a primitive that is, for arrays with one more axis in front, another one of its kind: every operand gets
/// the batch axis there.
pub(crate) fn batch_in_front(
    op: impl Into<Op>,
    x: &[Array],
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<Batched> {
    let operands = x.iter().zip(dims);
    let x: Vec<Array> = operands
        .map(|(x, d)| batch_to_front(x, *d, axis.size))
        .collect();
    let y = crate::trace::bind_all(op, &x)?;
    let at = vec![Some(0); y.len()];
    Ok((y, at))
}

/// Axis numbers that are distinct and below `ndim`.
pub(crate) fn check_axes(name: &str, what: &str, axes: &[usize], ndim: usize) -> Result<()> {
    for (i, a) in axes.iter().enumerate() {
        if *a >= ndim {
            return Err(Error::argument(format!(
                "{name}: {what} names axis {a}, but there are {ndim} axes"
            )));
        }
        if axes.get(..i).is_some_and(|before| before.contains(a)) {
            return Err(Error::argument(format!(
                "{name}: {what} names axis {a} twice"
            )));
        }
    }
    Ok(())
}

/// The axes below `ndim` that neither list names, ascending.
pub(crate) fn remaining(ndim: usize, a: &[usize], b: &[usize]) -> Dims {
    (0..ndim)
        .filter(|i| !a.contains(i) && !b.contains(i))
        .collect()
}

impl Op {
    /// Does it mean the batch axis by name, so that batching changes it though none of its operands is batched?
    pub(crate) fn reads_axis(&self, axis: &BatchAxis) -> bool {
        let programs = || self.inner().map(|i| i.programs()).unwrap_or_default();
        let within = |p: &Program| p.eqns().iter().any(|e| e.op.reads_axis(axis));
        match self {
            _ if axis.name.is_none() => false,
            Op::Collective(p) => axis.name.as_ref() == Some(&p.axis),
            Op::AxisIndex(p) => axis.name.as_ref() == Some(&p.axis),
            Op::Exchange(p) => axis.name.as_ref() == Some(&p.axis),
            _ => programs().into_iter().any(within),
        }
    }
}
