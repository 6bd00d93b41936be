//! Symbolic zeros: arrays whose elements are all zero, and that have no buffer.
//!
//! They are what derivatives give for arguments that they do not depend on, what programs under `quaxify` make with `Array::zeros`,
//! and what [`Zero::new`] makes. Here is what each primitive does with one: zero stays zero, or drops out.

use super::families;
use crate::{
    array::{Array, Aval, DType, Dims, IntoDims, Scalar},
    dispatch::{PatternOf, RuleOperand, Rules},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{
            self, Binary, Concatenate, DotGeneral, Factor, Gather, GatherScatterMode, IntegerPow,
            Op, OptimizationBarrier, Pad, Prim, Primitive, Reduce, ReduceWindow, Reducer, Scatter,
            ScatterKind, SelectN, Stack, TopK, Unary,
        },
    },
};

/// In a rule: an operand that is a symbolic zero. And the function that makes such arrays.
///
/// Outside of `quaxify` a symbolic zero computes as the array of zeros that it is. Inside, a primitive that gives zero for it gives a
/// symbolic zero again, whatever the other operand holds (`0·∞` and `0·NaN` are zero), and sums drop it; everything else works as
/// for an array of zeros, which is then made.
///
/// ```
/// use quaxide::{prelude::*, rules::Zero};
/// let w = Zero::new([1000, 1000], DType::F32); // no buffer
/// let x = Array::ones([1000], DType::F32);
/// let y = quaxify(|w: &Array, x: &Array| w.dot(x) + x)(&w, &x).unwrap(); // nothing is multiplied
/// assert_eq!(y.sum(()).item::<f32>().unwrap(), 1000.0);
/// let y = quaxify(|w: &Array, x: &Array| w.dot(x).tanh())(&w, &x).unwrap();
/// assert!(y.is_symbolic_zero());
/// assert_eq!(y.to_vec::<f32>().unwrap()[3], 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct Zero(Array);

impl RuleOperand for Zero {
    fn pattern() -> PatternOf {
        PatternOf::ZERO
    }
    fn with<R>(x: &Array, f: impl FnOnce(&Zero) -> R) -> Option<R> {
        x.is_symbolic_zero().then(|| f(&Zero(x.clone())))
    }
}

/// The type of the only result.
fn result(op: &dyn Primitive, operands: &[&Array]) -> Result<Aval> {
    let avals: Vec<Aval> = operands.iter().map(|x| x.aval()).collect::<Result<_>>()?;
    let results = op.infer(&avals.iter().collect::<Vec<_>>())?;
    results
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal(format!("`{}` has no result", op.name())))
}

/// Symbolic zeros of the results' types, which checks the operands.
fn vanish_all(op: &dyn Primitive, operands: &[&Array]) -> Result<Vec<Array>> {
    let avals: Vec<Aval> = operands.iter().map(|x| x.aval()).collect::<Result<_>>()?;
    let results = op.infer(&avals.iter().collect::<Vec<_>>())?;
    Ok(results.into_iter().map(Array::symbolic_zero).collect())
}

/// A symbolic zero of the result's type.
fn vanish(op: &dyn Primitive, operands: &[&Array]) -> Result<Array> {
    Ok(Array::symbolic_zero(result(op, operands)?))
}

/// Another type's rule, or the arrays of zeros: a rule of this table that is running is not asked again.
fn decline(op: impl Into<Op>, operands: &[&Array]) -> Result<Array> {
    bind(op, operands).ok().cloned()
}

/// As [`decline`], for any number of results.
fn decline_all(op: impl Into<Op>, operands: &[&Array]) -> Result<Vec<Array>> {
    let operands: Vec<Array> = operands.iter().map(|x| (*x).clone()).collect();
    bind_all(op, &operands)
}

fn is_zero(operands: &[&Array], i: usize) -> bool {
    operands.get(i).is_some_and(|x| x.is_symbolic_zero())
}

fn all_zero(operands: &[&Array]) -> bool {
    operands.iter().all(|x| x.is_symbolic_zero())
}

/// Zero, where `when` holds.
#[track_caller]
fn keep<P: Primitive + Clone + Into<Op>>(
    r: &mut Rules,
    primitive: Prim<P>,
    when: impl Fn(&P, &[&Array]) -> bool + Send + Sync + 'static,
) {
    r.mixed::<P, Zero, _>(primitive, move |p, x| match when(p, x) {
        true => vanish_all(p, x),
        false => decline_all(p.clone(), x),
    });
}

/// Of an elementwise primitive, the operand in the shape of the result.
fn spread(op: &dyn Primitive, operands: &[&Array], x: &Array) -> Result<Array> {
    let shape = result(op, operands)?.shape;
    let from = shape.len() - x.ndim().min(shape.len());
    let dimensions: Dims = (from..shape.len()).collect();
    x.broadcast_in_dim(shape, dimensions).ok().cloned()
}

/// The number in the place of a symbolic zero; another array as it is.
fn number(x: &Array) -> Array {
    match x.aval() {
        Ok(a) if x.is_symbolic_zero() => Array::from_scalar(Scalar::Int(0), a.dtype, a.weak_type),
        _ => x.clone(),
    }
}

/// An elementwise primitive with scalars in the place of zeros.
fn with_scalars(op: impl Into<Op>, operands: &[&Array]) -> Result<Array> {
    let op = op.into();
    let scalars: Vec<Array> = operands.iter().map(|x| number(x)).collect();
    let y = bind(op.clone(), &scalars.iter().collect::<Vec<_>>());
    spread(&*op, operands, y.ok()?)
}

fn binary(op: Binary, x: &[&Array]) -> Result<Array> {
    use Binary::*;
    let [a, b] = x else {
        return decline(op, x);
    };
    let (left, right) = (a.is_symbolic_zero(), b.is_symbolic_zero());
    match op {
        Mul | Mulhi | And => vanish(&op, x),
        Add | Or | Xor | Sub | ShiftLeft | ShiftRightLogical | ShiftRightArithmetic | Max | Min
        | Complex | Atan2
            if left && right =>
        {
            vanish(&op, x)
        }
        Add | Or | Xor if left => spread(&op, x, b),
        Add | Or | Xor | Sub | ShiftLeft | ShiftRightLogical | ShiftRightArithmetic if right => {
            spread(&op, x, a)
        }
        Sub => spread(&op, x, (-*b).ok()?),
        Div | Rem | ShiftLeft | ShiftRightLogical | ShiftRightArithmetic if left && !right => {
            vanish(&op, x)
        }
        _ => with_scalars(op, x),
    }
}

const UNARY: &[Prim<Unary>] = &[
    op::NEG,
    op::SIGN,
    op::FLOOR,
    op::CEIL,
    op::ROUND,
    op::EXPM1,
    op::LOG1P,
    op::TANH,
    op::SIN,
    op::TAN,
    op::ASIN,
    op::ATAN,
    op::SINH,
    op::ASINH,
    op::ATANH,
    op::SQRT,
    op::CBRT,
    op::SQUARE,
    op::ABS,
    op::REAL,
    op::IMAG,
    op::CONJ,
    op::POPULATION_COUNT,
    op::REDUCE_PRECISION,
    op::ERF,
    op::ERF_INV,
    op::BESSEL_I1E,
];

const BINARY: &[Prim<Binary>] = &[
    op::ADD,
    op::SUB,
    op::MUL,
    op::MULHI,
    op::DIV,
    op::REM,
    op::MAX,
    op::MIN,
    op::POW,
    op::ATAN2,
    op::COMPLEX,
    op::AND,
    op::OR,
    op::XOR,
    op::SHIFT_LEFT,
    op::SHIFT_RIGHT_LOGICAL,
    op::SHIFT_RIGHT_ARITHMETIC,
    op::EQ,
    op::NE,
    op::LT,
    op::LE,
    op::GT,
    op::GE,
];

const REDUCTIONS: &[Prim<Reduce>] = &[
    op::REDUCE_SUM,
    op::REDUCE_PROD,
    op::REDUCE_MAX,
    op::REDUCE_MIN,
    op::REDUCE_AND,
    op::REDUCE_OR,
    op::REDUCE_XOR,
    op::ARGMAX,
    op::ARGMIN,
];

/// Does a reduction of zeros give zero? That of nothing may not.
fn reduces_to_zero(p: &Reduce, x: &[&Array]) -> bool {
    let shape = x.first().map(|x| x.shape());
    let size = |i: &usize| shape.as_ref().and_then(|s| s.get(*i)).copied();
    matches!(p.reducer, Reducer::Sum | Reducer::Or | Reducer::Xor)
        || p.axes.iter().all(|i| size(i) != Some(0))
}

/// What a gather puts in the place of windows that reach outside.
fn fills_with_zero(p: &Gather) -> bool {
    p.mode != GatherScatterMode::FillOrDrop || p.fill_value.and_then(Scalar::as_f64) == Some(0.0)
}

fn scatter(p: &Scatter, x: &[&Array]) -> Result<Array> {
    let (operand, updates) = (is_zero(x, 0), is_zero(x, 2));
    match (p.kind, x.first()) {
        (ScatterKind::Add | ScatterKind::Sub, Some(first)) if updates => {
            result(p, x)?;
            Ok((*first).clone())
        }
        (ScatterKind::Mul, _) if operand => vanish(p, x),
        (_, Some(_)) if operand && updates => vanish(p, x),
        _ => decline(p.clone(), x),
    }
}

fn select(p: &SelectN, x: &[&Array]) -> Result<Array> {
    match x {
        [which, first, ..] if which.is_symbolic_zero() => {
            result(p, x)?;
            Ok((*first).clone())
        }
        [_, cases @ ..] if all_zero(cases) => vanish(p, x),
        _ => decline(*p, x),
    }
}

/// Is it zero everywhere, as a scalar that is written out may be?
fn is_nothing(x: &Array) -> bool {
    let scalar = x.buffer().filter(|b| b.shape().is_empty());
    let number = scalar.and_then(|b| b.item()).and_then(Scalar::as_f64);
    x.is_symbolic_zero() || number == Some(0.0)
}

/// An array beside zeros is an array with zeros around it.
fn concatenate(p: &Concatenate, x: &[&Array]) -> Result<Array> {
    let all = result(p, x)?;
    let mut others = x.iter().enumerate().filter(|(_, x)| !x.is_symbolic_zero());
    let (Some((at, y)), None) = (others.next(), others.next()) else {
        return match all_zero(x) {
            true => Ok(Array::symbolic_zero(all)),
            false => decline(p.clone(), x),
        };
    };
    let size = |x: &&Array| x.shape().get(p.dimension).copied().unwrap_or(0);
    let (before, after) = x.split_at(at);
    let before: usize = before.iter().map(size).sum();
    let after: usize = after.iter().skip(1).map(size).sum();
    let config = (0..all.ndim()).map(|i| match i == p.dimension {
        true => (before as i64, after as i64, 0),
        false => (0, 0, 0),
    });
    let padding_config = config.collect();
    let zero = Array::from_scalar(Scalar::Int(0), all.dtype, false);
    bind(Pad { padding_config }, &[y, &zero]).ok().cloned()
}

fn stack(p: &Stack, x: &[&Array]) -> Result<Array> {
    if all_zero(x) {
        return vanish(p, x);
    }
    let along = |x: &&Array| x.expand_dims(p.axis as i32);
    let parts: Vec<Array> = x.iter().map(along).collect();
    let dimension = p.axis;
    decline(Concatenate { dimension }, &parts.iter().collect::<Vec<_>>())
}

/// Windows of zeros that hold an element of the array each.
fn window_of_zeros(p: &ReduceWindow, _: &[&Array]) -> bool {
    p.window.padding.iter().all(|pad| *pad == (0, 0))
}

fn factor(p: &Factor, x: &[&Array]) -> Result<Vec<Array>> {
    match (p, x) {
        (Factor::TridiagonalSolve, [_, _, _, b]) if b.is_symbolic_zero() => vanish_all(p, x),
        (Factor::SymmetricProduct { .. }, _) if all_zero(x) => vanish_all(p, x),
        (Factor::SymmetricProduct { beta, .. }, [a, c]) if a.is_symbolic_zero() => {
            Ok(vec![(*c * *beta).ok()?.clone()])
        }
        (Factor::SymmetricProduct { alpha, .. }, [a, c]) if c.is_symbolic_zero() => {
            let last = a.ndim().saturating_sub(1);
            let lead = || (0..last.saturating_sub(1)).collect::<Dims>();
            let dims = DotGeneral::new(([last], [last]), (lead(), lead()));
            Ok(vec![(bind(dims, &[a, a]) * *alpha).ok()?.clone()])
        }
        _ => decline_all(*p, x),
    }
}

/// Those that are zero stay zero; a barrier is around the others.
fn barrier(x: &[&Array]) -> Result<Vec<Array>> {
    let some: Vec<Array> = (x.iter())
        .filter(|x| !x.is_symbolic_zero())
        .map(|x| (*x).clone())
        .collect();
    let behind = match some.is_empty() {
        true => vec![],
        false => bind_all(OptimizationBarrier, &some)?,
    };
    let mut behind = behind.into_iter();
    let each = x.iter().map(|x| match x.is_symbolic_zero() {
        true => Some((*x).clone()),
        false => behind.next(),
    });
    Ok(each.flatten().collect())
}

/// The first of equal elements come first.
fn top_k(p: &TopK, x: &Zero) -> Result<Vec<Array>> {
    let mut results = vanish_all(p, &[&x.0])?;
    if let Some(places) = results.get_mut(1) {
        let a = places.aval()?;
        *places = Array::arange(p.k, a.dtype).broadcast_in_dim(a.shape, [p.axis]);
    }
    Ok(results)
}

impl Zero {
    /// A symbolic zero of a shape and an element type.
    ///
    /// An error, in the array, if so many elements could never be held.
    #[expect(clippy::new_ret_no_self, reason = "the array is the value")]
    #[track_caller]
    pub fn new(shape: impl IntoDims, dtype: DType) -> Array {
        let aval = Aval::new(shape.into_dims(), dtype);
        match Array::checked_size(&aval) {
            Ok(_) => Array::symbolic_zero(aval),
            Err(e) => Array::error(e.at(std::panic::Location::caller())),
        }
    }

    /// A symbolic zero in the shape and element type of an array, or the error that it is in.
    pub fn like(x: &Array) -> Array {
        Array::from_result(x.aval().map(|a| Array::symbolic_zero(a.strong())))
    }

    /// What primitives do with symbolic zeros. Every other primitive takes arrays of zeros.
    pub(crate) fn rules(r: &mut Rules) {
        r.precedence(100);
        // What is one number for every zero is that number, spread out.
        for family in [families::ELEMENTWISE_UNARY, families::ELEMENTWISE_NARY] {
            r.family::<Zero, _>(family, |op, x| with_scalars(op.clone(), x));
        }
        for p in UNARY {
            keep(r, *p, |_, _| true);
        }
        for p in BINARY {
            r.mixed::<Binary, Zero, _>(*p, |p, x| binary(*p, x));
        }
        for p in REDUCTIONS {
            keep(r, *p, reduces_to_zero);
        }
        keep(r, op::COPY, |_, _| true);
        keep(r, op::SPLIT, |_, _| true);
        keep(r, op::UNSTACK, |_, _| true);
        keep(r, op::TILE, |_, _| true);
        keep(r, op::FFT, |_, _| true);
        r.mixed::<Stack, Zero, _>(op::STACK, stack);
        r.mixed::<Concatenate, Zero, _>(op::CONCATENATE, concatenate);
        r.mixed::<OptimizationBarrier, Zero, _>(op::OPTIMIZATION_BARRIER, |_, x| barrier(x));
        r.unary(op::TOP_K, top_k);
        r.mixed::<Factor, Zero, _>(op::SYMMETRIC_PRODUCT, factor);
        r.mixed::<Factor, Zero, _>(op::TRIDIAGONAL_SOLVE, factor);
        keep(r, op::SELECT_AND_GATHER_ADD, |_, x| is_zero(x, 0));
        keep(r, op::SELECT_AND_SCATTER_ADD, |_, x| is_zero(x, 0));
        for p in [
            op::REDUCE_WINDOW_PROD,
            op::REDUCE_WINDOW_MAX,
            op::REDUCE_WINDOW_MIN,
        ] {
            keep(r, p, window_of_zeros);
        }
        for p in [
            op::ALL_GATHER,
            op::ALL_TO_ALL,
            op::PPERMUTE,
            op::REDUCE_SCATTER,
            op::PBROADCAST,
        ] {
            keep(r, p, |_, _| true);
        }
        r.mixed::<op::Clamp, Zero, _>(op::CLAMP, |p, x| match x {
            _ if all_zero(x) => vanish(p, x),
            [low, y, high] => decline(*p, &[&number(low), y, &number(high)]),
            _ => decline(*p, x),
        });
        keep(r, op::CONVERT_ELEMENT_TYPE, |_, _| true);
        keep(r, op::STOP_GRADIENT, |_, _| true);
        keep(r, op::COMPONENT, |_, _| true);
        keep(r, op::TRANSPOSE, |_, _| true);
        keep(r, op::BROADCAST_IN_DIM, |_, _| true);
        keep(r, op::RESHAPE, |_, _| true);
        keep(r, op::SQUEEZE, |_, _| true);
        keep(r, op::SLICE, |_, _| true);
        keep(r, op::REV, |_, _| true);
        keep(r, op::BITCAST_CONVERT_TYPE, |_, _| true);
        keep(r, op::DYNAMIC_SLICE, |_, x| is_zero(x, 0));
        keep(r, op::DYNAMIC_UPDATE_SLICE, |_, x| {
            is_zero(x, 0) && is_zero(x, 1)
        });
        keep(r, op::PAD, |_, x| x.iter().all(|x| is_nothing(x)));
        keep(r, op::GATHER, |p, x| is_zero(x, 0) && fills_with_zero(p));
        keep(r, op::SORT, |_, x| x.len() == 1);
        for p in [op::CUMSUM, op::CUMPROD, op::CUMMAX, op::CUMMIN] {
            keep(r, p, |_, _| true);
        }
        keep(r, op::REDUCE_WINDOW_SUM, |_, _| true);
        keep(r, op::DOT_GENERAL, |_, _| true);
        keep(r, op::CONV_GENERAL_DILATED, |_, _| true);
        keep(r, op::TRIANGULAR_SOLVE, |_, x| is_zero(x, 1));
        for p in [op::PSUM, op::PMAX, op::PMIN] {
            keep(r, p, |_, _| true);
        }
        r.mixed::<SelectN, Zero, _>(op::SELECT_N, select);
        for p in [
            op::SCATTER,
            op::SCATTER_ADD,
            op::SCATTER_SUB,
            op::SCATTER_MUL,
            op::SCATTER_MIN,
            op::SCATTER_MAX,
        ] {
            r.mixed::<Scatter, Zero, _>(p, scatter);
        }
        r.unary(op::INTEGER_POW, |p: &IntegerPow, x: &Zero| match p.y {
            1.. => vanish(p, &[&x.0]),
            _ => with_scalars(p.clone(), &[&x.0]),
        });
    }
}
