//! Intervals: arrays known to lie between two bounds, with arithmetic that never loses the true value.

mod order;
mod special;

use super::families;
use crate::{
    PyTree,
    array::{Array, Aval, DType, Dims},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{
            Across, Binary, Collective, ConvertElementType, CumulativeKind, DotGeneral, Factor, Op,
            OptimizationBarrier, Parts, Reducer, Scatter, ScatterKind, SelectN, Unary,
            WindowReducer,
        },
    },
};
use std::f64::consts::{FRAC_PI_2, PI, TAU};

/// An array of which each element lies between two bounds.
///
/// A program on intervals gives bounds of what it can give for any numbers inside: every operation rounds its bounds outwards (Moore, Interval
/// Analysis, 1966; contractions by midpoint and radius as Rump, Fast and Parallel Interval Arithmetic, 1999). Monotone functions are tight,
/// sums and products nearly so; that an operand occurs twice is not seen, so that `x − x` is not zero. A comparison is an interval of `bool`, from
/// what is certain to what is possible, and a choice by one gives both cases where it is neither.
///
/// ```
/// use quaxide::{prelude::*, rules::{bounds, interval}};
/// let net = |x: &Array, w: &Array| nn::relu(&w.dot(x)).sum(());
/// let w = Array::from([[1f32, -2.0], [0.5, 1.0]]);
/// let x = interval(Array::from([0.9f32, 0.0]), Array::from([1.1f32, 0.1])).unwrap();
/// let y = quaxify(net)(&x, &w).unwrap();
/// let (low, high) = bounds(&y).unwrap();
/// assert!(low.item::<f32>().unwrap() > 1.14 && high.item::<f32>().unwrap() < 1.76);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Interval {
    /// No element is below.
    pub lower: Array,
    /// No element is above.
    pub upper: Array,
}

/// An array between two bounds.
///
/// An error if they differ in shape or element type, are neither `f32` nor `f64`, and if a lower bound is above the upper one or NaN (of arrays that have
/// numbers).
///
/// ```
/// use quaxide::{prelude::*, rules::interval};
/// let e = interval(Array::from([0f32, 2.0]), Array::from([1f32, 1.0])).unwrap_err();
/// assert_eq!(e.message(), "an interval from 2 to 1: the lower bound is above the upper one");
/// ```
pub fn interval(lower: impl Into<Array>, upper: impl Into<Array>) -> Result<Array> {
    families::array(Interval::new(lower.into(), upper.into()))
}

/// The bounds of an array; of a plain one, itself twice. An error for an array in error.
pub fn bounds(x: &Array) -> Result<(Array, Array)> {
    Ok(both(x.ok()?))
}

/// A plain array is its own bounds.
fn both(x: &Array) -> (Array, Array) {
    families::apart(
        x,
        |i: &Interval| (i.lower.clone(), i.upper.clone()),
        |x| (x.clone(), x.clone()),
    )
}

impl Interval {
    /// From its bounds, as [`interval`].
    pub fn new(lower: Array, upper: Array) -> Result<Interval> {
        let (l, u) = (lower.aval()?, upper.aval()?);
        if !l.same_type(&u) || !matches!(l.dtype, DType::F32 | DType::F64) {
            return Err(Error::shape(format!(
                "the bounds of an interval are f32 or f64 of one shape, not {l} and {u}"
            )));
        }
        if lower.buffer().is_some() && upper.buffer().is_some() {
            let (a, b) = (lower.to_f64_vec()?, upper.to_f64_vec()?);
            let wrong = a
                .iter()
                .zip(&b)
                .find(|(a, b)| a > b || a.is_nan() || b.is_nan());
            if let Some((a, b)) = wrong.filter(|(a, b)| a.is_nan() || b.is_nan()) {
                return Err(Error::argument(format!(
                    "an interval from {a} to {b}: NaN bounds nothing"
                )));
            }
            if let Some((a, b)) = wrong {
                return Err(Error::argument(format!(
                    "an interval from {a} to {b}: the lower bound is above the upper one"
                )));
            }
        }
        Ok(Interval { lower, upper })
    }
}

/// The numbers of an operand: a plain one is its own bounds.
struct Operand {
    lower: Array,
    upper: Array,
    exact: bool,
}

impl Operand {
    fn new(x: &Array) -> Operand {
        let exact = x.value::<Interval>().is_none();
        let (lower, upper) = both(x);
        Operand {
            lower,
            upper,
            exact,
        }
    }

    fn pair(lower: Array, upper: Array) -> Operand {
        Operand {
            lower,
            upper,
            exact: false,
        }
    }
}

/// The next number above or below, with the derivative of the number itself.
fn step(x: &Array, up: bool) -> Array {
    let end = if up { f64::INFINITY } else { f64::NEG_INFINITY };
    // What is moved is not regrouped with what it was computed from.
    let barrier = bind_all(OptimizationBarrier, std::slice::from_ref(x));
    let x = &Array::from_result(barrier.and_then(|mut x| {
        x.pop()
            .ok_or_else(|| Error::internal("a barrier without a result"))
    }));
    let fixed = x.stop_gradient();
    let limit = Array::full_like(&fixed, end);
    let next = bind(Binary::Nextafter, &[&fixed, &limit]);
    // Infinite bounds stay, but what overflowed may be finite still, and what came out as NaN is any number.
    let known = fixed.is_finite();
    let moved = known.select(&next - &fixed, 0.0);
    let lost = fixed.ne(&fixed);
    let over = fixed.eq(-&limit);
    lost.select(&limit, over.select(&next, x + moved))
}

fn epsilon(d: DType) -> f64 {
    match d {
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

/// The bounds of a result that was rounded once.
fn rounded(lower: &Array, upper: &Array) -> Operand {
    Operand::pair(step(lower, false), step(upper, true))
}

/// The bounds of a result whose error is at most some units in the last place.
fn within(lower: &Array, upper: &Array, units: f64) -> Result<Operand> {
    let d = lower.dtype()?;
    let slack = |x: &Array| x.stop_gradient().abs() * (units * epsilon(d));
    Ok(rounded(&(lower - slack(lower)), &(upper + slack(upper))))
}

/// How many units in the last place the library's functions may be off.
const FUNCTION: f64 = 8.0;

fn value(o: &Operand) -> Result<Array> {
    Ok(Array::from_value(Interval {
        lower: o.lower.ok()?.clone(),
        upper: o.upper.ok()?.clone(),
    }))
}

fn smallest([a, b, c, d]: &[Array; 4]) -> Array {
    a.minimum(b).minimum(c.minimum(d))
}

fn largest([a, b, c, d]: &[Array; 4]) -> Array {
    a.maximum(b).maximum(c.maximum(d))
}

fn whole(like: &Array) -> Operand {
    Operand::pair(
        Array::full_like(like, f64::NEG_INFINITY),
        Array::full_like(like, f64::INFINITY),
    )
}

/// Where a condition holds, these bounds; else those.
fn choose(c: &Array, yes: &Operand, no: &Operand) -> Operand {
    Operand::pair(
        c.select(&yes.lower, &no.lower),
        c.select(&yes.upper, &no.upper),
    )
}

fn mul(x: &Operand, y: &Operand) -> Operand {
    let products = [
        (&x.lower, &y.lower),
        (&x.lower, &y.upper),
        (&x.upper, &y.lower),
        (&x.upper, &y.upper),
    ]
    .map(|(a, b)| {
        let p = a * b;
        // Zero by infinity bounds nothing but zero.
        p.ne(&p).select(0.0, &p)
    });
    rounded(&smallest(&products), &largest(&products))
}

fn div(x: &Operand, y: &Operand) -> Operand {
    let quotients = [
        (&x.lower, &y.lower),
        (&x.lower, &y.upper),
        (&x.upper, &y.lower),
        (&x.upper, &y.upper),
    ]
    .map(|(a, b)| {
        let zero = b.eq(0.0);
        let q = a / zero.select(1.0, b);
        q.ne(&q).select(0.0, &q)
    });
    let inner = rounded(&smallest(&quotients), &largest(&quotients));
    let has_zero = y.lower.le(0.0) & y.upper.ge(0.0);
    let has_zero = has_zero.broadcast_to(inner.lower.shape());
    let everything = whole(&inner.lower);
    choose(&has_zero, &everything, &inner)
}

/// The interval of absolute values.
fn abs(x: &Operand) -> Operand {
    let (l, u) = (x.lower.abs(), x.upper.abs());
    let across = x.lower.lt(0.0) & x.upper.gt(0.0);
    Operand::pair(across.select(0.0, l.minimum(&u)), l.maximum(&u))
}

/// A function that grows.
fn growing(u: Unary, x: &Operand) -> Result<Operand> {
    within(&bind(u, &[&x.lower]), &bind(u, &[&x.upper]), FUNCTION)
}

/// Bounds that a function never leaves.
fn clamped(x: &Operand, low: f64, high: f64) -> Operand {
    Operand::pair(
        x.lower.maximum(low).minimum(high),
        x.upper.minimum(high).maximum(low),
    )
}

fn turned(x: &Operand) -> Operand {
    Operand::pair(x.upper.clone(), x.lower.clone())
}

/// Is one of the points `offset + k · period` inside, or so near that rounding leaves it open?
fn contains(x: &Operand, offset: f64, period: f64) -> Result<Array> {
    let d = x.lower.dtype()?;
    let slack = |x: &Array| (x.abs() + 1.0) * (8.0 * epsilon(d));
    let first = ((&x.lower - slack(&x.lower) - offset) / period).ceil();
    let last = ((&x.upper + slack(&x.upper) - offset) / period).floor();
    Ok(first.le(&last))
}

/// Beyond this, periods are not told apart.
fn is_far(x: &Operand) -> Result<Array> {
    let far = match x.lower.dtype()? {
        DType::F64 => 1e12,
        _ => 1e4,
    };
    Ok(x.lower.abs().gt(far) | x.upper.abs().gt(far) | (&x.upper - &x.lower).ge(TAU))
}

/// A wave between −1 and 1 with its crest at `crest`.
fn wave(u: Unary, x: &Operand, crest: f64) -> Result<Operand> {
    let x = &Operand::pair(x.lower.clone(), x.upper.clone());
    let far = is_far(x)?;
    let near = |b: &Array| far.select(0.0, b);
    let (a, b) = (bind(u, &[&near(&x.lower)]), bind(u, &[&near(&x.upper)]));
    let ends = within(&a.minimum(&b), &a.maximum(&b), FUNCTION)?;
    let ends = clamped(&ends, -1.0, 1.0);
    let top = &far | contains(x, crest, TAU)?;
    let bottom = &far | contains(x, crest + PI, TAU)?;
    Ok(Operand::pair(
        bottom.select(-1.0, &ends.lower),
        top.select(1.0, &ends.upper),
    ))
}

fn unary(u: Unary, x: &Operand, op: &Op) -> Result<Operand> {
    use Unary::*;
    let both = |x: &Operand| Operand::pair(bind(u, &[&x.lower]), bind(u, &[&x.upper]));
    Ok(match u {
        Neg => Operand::pair(-&x.upper, -&x.lower),
        // Exact, and growing.
        Floor | Ceil | Round(_) | Sign | ReducePrecision { .. } => both(x),
        Not if x.lower.dtype()? == DType::Bool => turned(&both(x)),
        Exp | Exp2 => clamped(&growing(u, x)?, 0.0, f64::INFINITY),
        Sqrt => {
            let y = growing(u, &clamped(x, 0.0, f64::INFINITY))?;
            clamped(&y, 0.0, f64::INFINITY)
        }
        Expm1 => clamped(&growing(u, x)?, -1.0, f64::INFINITY),
        Tanh | Erf => clamped(&growing(u, x)?, -1.0, 1.0),
        Logistic => clamped(&growing(u, x)?, 0.0, 1.0),
        Log | Log1p | Sinh | Asinh | Atan | Cbrt | Asin | Acosh | Atanh | ErfInv => growing(u, x)?,
        Acos => growing(u, &turned(x))?,
        Erfc => clamped(&growing(u, &turned(x))?, 0.0, 2.0),
        Rsqrt => clamped(&growing(u, &turned(x))?, 0.0, f64::INFINITY),
        Abs => abs(x),
        Square => {
            let a = abs(x);
            clamped(
                &rounded(&a.lower.square(), &a.upper.square()),
                0.0,
                f64::INFINITY,
            )
        }
        Cosh => clamped(&growing(u, &abs(x))?, 1.0, f64::INFINITY),
        Sin => wave(u, x, FRAC_PI_2)?,
        Cos => wave(u, x, 0.0)?,
        Tan => {
            let pole = is_far(x)? | contains(x, FRAC_PI_2, PI)?;
            let near = |b: &Array| pole.select(0.0, b);
            let y = growing(u, &Operand::pair(near(&x.lower), near(&x.upper)))?;
            choose(&pole, &whole(&y.lower), &y)
        }
        Conj | Real => Operand::pair(x.lower.clone(), x.upper.clone()),
        IsFinite => order::is_finite(x),
        Lgamma | Digamma | BesselI0e | BesselI1e => special::unary(u, x)?,
        _ => return Err(refused(op)),
    })
}

fn refused(op: &Op) -> Error {
    Error::refused(format!("`{}` has no bounds for intervals", op.name()))
        .note("`bounds` gives the two arrays that an interval lies between")
}

/// What is certain, and what is possible.
fn compare(b: Binary, x: &Operand, y: &Operand) -> Option<Operand> {
    Some(match b {
        Binary::Lt => Operand::pair(x.upper.lt(&y.lower), x.lower.lt(&y.upper)),
        Binary::Le => Operand::pair(x.upper.le(&y.lower), x.lower.le(&y.upper)),
        Binary::Gt => Operand::pair(x.lower.gt(&y.upper), x.upper.gt(&y.lower)),
        Binary::Ge => Operand::pair(x.lower.ge(&y.upper), x.upper.ge(&y.lower)),
        Binary::Eq => Operand::pair(
            x.lower.eq(&y.upper) & x.upper.eq(&y.lower),
            x.lower.le(&y.upper) & y.lower.le(&x.upper),
        ),
        Binary::Ne => {
            let equal = compare(Binary::Eq, x, y)?;
            Operand::pair(!equal.upper, !equal.lower)
        }
        _ => return None,
    })
}

fn binary(b: Binary, x: &Operand, y: &Operand, op: &Op) -> Result<Operand> {
    use Binary::*;
    if let Some(c) = compare(b, x, y) {
        return Ok(c);
    }
    let both = || {
        Operand::pair(
            bind(b, &[&x.lower, &y.lower]),
            bind(b, &[&x.upper, &y.upper]),
        )
    };
    Ok(match b {
        Add => {
            let sum = both();
            rounded(&sum.lower, &sum.upper)
        }
        Sub => rounded(&(&x.lower - &y.upper), &(&x.upper - &y.lower)),
        Mul => mul(x, y),
        Div => div(x, y),
        Max | Min => both(),
        And | Or if x.lower.dtype()? == DType::Bool => both(),
        Pow => {
            // Of positive numbers; what a power of others is, depends on the exponent's every bit.
            let positive = x.lower.gt(0.0);
            let safe = |x: &Array| positive.select(x, 1.0);
            let log = growing(Unary::Log, &Operand::pair(safe(&x.lower), safe(&x.upper)))?;
            let power = mul(y, &log);
            let y = clamped(&growing(Unary::Exp, &power)?, 0.0, f64::INFINITY);
            let positive = positive.broadcast_to(y.lower.shape());
            choose(&positive, &y, &whole(&y.lower))
        }
        Atan2 => {
            let right = y.lower.gt(0.0);
            let ones = |x: &Array| right.select(x, 1.0);
            let slope = div(x, &Operand::pair(ones(&y.lower), ones(&y.upper)));
            let angle = growing(Unary::Atan, &slope)?;
            let right = right.broadcast_to(angle.lower.shape());
            let any = Array::full_like(&angle.lower, PI);
            let any = within(&-&any, &any, FUNCTION)?;
            choose(&right, &angle, &any)
        }
        Rem => special::rem(x, y)?,
        Igamma | Igammac => special::igamma(b, x, y)?,
        Nextafter => {
            let shape = both().lower.shape();
            let spread = |x: Array| x.broadcast_to(&shape);
            Operand::pair(spread(step(&x.lower, false)), spread(step(&x.upper, true)))
        }
        // In the order in which −0 comes before 0.
        LtTo | LeTo => Operand::pair(
            bind(b, &[&x.upper, &y.lower]),
            bind(b, &[&x.lower, &y.upper]),
        ),
        EqTo => Operand::pair(
            bind(b, &[&x.lower, &y.upper]) & bind(b, &[&x.upper, &y.lower]),
            bind(LeTo, &[&x.lower, &y.upper]) & bind(LeTo, &[&y.lower, &x.upper]),
        ),
        _ => return Err(refused(op)),
    })
}

fn power(n: i32, x: &Operand) -> Result<Operand> {
    let base = if n % 2 == 0 {
        abs(x)
    } else {
        Operand::pair(x.lower.clone(), x.upper.clone())
    };
    let k = n.unsigned_abs().min(i32::MAX as u32) as i32;
    let y = within(
        &base.lower.integer_pow(k),
        &base.upper.integer_pow(k),
        2.0 * f64::from(k),
    )?;
    let y = if n % 2 == 0 {
        clamped(&y, 0.0, f64::INFINITY)
    } else {
        y
    };
    Ok(match n {
        0.. => y,
        _ => {
            let one = Array::ones_like(&y.lower);
            div(&Operand::pair(one.clone(), one), &y)
        }
    })
}

/// A linear primitive that adds `terms` numbers into each of its results: on the bounds, and on their magnitudes for the rounding.
fn summed(op: &Op, x: &Operand, terms: usize, rest: &[Array]) -> Result<Operand> {
    let of = |x: &Array| {
        let mut all = vec![x.clone()];
        all.extend_from_slice(rest);
        bind(op.clone(), &all.iter().collect::<Vec<_>>())
    };
    let d = x.lower.dtype()?;
    let slack = |x: &Array| of(&x.stop_gradient().abs()) * (terms as f64 * epsilon(d));
    let lower = of(&x.lower) - slack(&x.lower);
    let upper = of(&x.upper) + slack(&x.upper);
    Ok(rounded(&lower, &upper))
}

/// A primitive of two operands as a function.
fn pairs(op: &Op) -> impl Fn(&Array, &Array) -> Array {
    |a: &Array, b: &Array| bind(op.clone(), &[a, b])
}

/// Sums of products by midpoint and radius: `|x·y − m·n| ≤ |m|·s + r·|n| + r·s`, with every rounding on top.
fn product(
    dot: &dyn Fn(&Array, &Array) -> Array,
    x: &Operand,
    y: &Operand,
    terms: usize,
) -> Result<Operand> {
    let d = x.lower.dtype()?;
    let centre = |o: &Operand| match o.exact {
        true => (o.lower.clone(), None),
        false => {
            let m = &o.lower * 0.5 + &o.upper * 0.5;
            let r = (&o.upper - &m).maximum(&m - &o.lower);
            (m, Some(step(&r, true)))
        }
    };
    let ((m, r), (n, s)) = (centre(x), centre(y));
    let middle = dot(&m, &n);
    let (am, an) = (m.abs(), n.abs());
    let full = |a: &Array, r: &Option<Array>| match r {
        Some(r) => a + r,
        None => a.clone(),
    };
    // The sums may be regrouped, so that their rounding is that of the largest magnitudes.
    let most = dot(&full(&am, &r), &full(&an, &s)).stop_gradient();
    let mut radius = most * ((2 * terms + 8) as f64 * epsilon(d));
    if let Some(r) = &r {
        radius += dot(r, &full(&an, &s));
    }
    if let Some(s) = &s {
        radius += dot(&am, s);
    }
    // The radius is itself a sum that was rounded, of positive numbers.
    let radius = radius * (1.0 + 2.0 * (terms + 8) as f64 * epsilon(d));
    Ok(rounded(&(&middle - &radius), &(&middle + &radius)))
}

/// The sum over the examples of a `vmap`.
fn across(p: &Collective, x: &Operand) -> Result<Operand> {
    let d = x.lower.dtype()?;
    let of = |x: &Array| bind(p.clone(), &[x]);
    let terms = of(&Array::ones((), d));
    let slack = |x: &Array| of(&x.stop_gradient().abs()) * &terms * epsilon(d);
    let lower = of(&x.lower) - slack(&x.lower);
    let upper = of(&x.upper) + slack(&x.upper);
    Ok(rounded(&lower, &upper))
}

fn size_of(x: &Array, axes: &[usize]) -> usize {
    let shape = x.shape();
    axes.iter().filter_map(|i| shape.get(*i)).product()
}

fn convert(p: &ConvertElementType, x: &Operand, op: &Op) -> Result<Operand> {
    let (from, to) = (x.lower.dtype()?, p.new_dtype);
    let both = Operand::pair(bind(op.clone(), &[&x.lower]), bind(op.clone(), &[&x.upper]));
    if from == DType::Bool || from == to {
        return Ok(both);
    }
    if to == DType::Bool {
        let certain = x.lower.gt(0.0) | x.upper.lt(0.0);
        let possible = !(x.lower.eq(0.0) & x.upper.eq(0.0));
        return Ok(Operand::pair(certain, possible));
    }
    match to {
        DType::F64 if from == DType::F32 => Ok(both),
        DType::F32 | DType::F64 => Ok(rounded(&both.lower, &both.upper)),
        _ => Err(refused(op)),
    }
}

fn select(p: &SelectN, x: &[Operand], op: &Op) -> Result<Operand> {
    let [which, cases @ ..] = x else {
        return Err(refused(op));
    };
    let pick = |bound: fn(&Operand) -> &Array| {
        let all: Vec<&Array> = std::iter::once(&which.lower)
            .chain(cases.iter().map(bound))
            .collect();
        bind(*p, &all)
    };
    if which.exact {
        return Ok(Operand::pair(pick(|x| &x.lower), pick(|x| &x.upper)));
    }
    let [no, yes] = cases else {
        return Err(refused(op));
    };
    let hull = Operand::pair(no.lower.minimum(&yes.lower), no.upper.maximum(&yes.upper));
    let (certain, possible) = (&which.lower, &which.upper);
    Ok(choose(certain, yes, &choose(possible, &hull, no)))
}

/// A primitive that moves elements, on both bounds.
fn moved(op: &Op, x: &[Operand]) -> Result<Vec<Array>> {
    let lower: Vec<Array> = x.iter().map(|x| x.lower.clone()).collect();
    let upper: Vec<Array> = x.iter().map(|x| x.upper.clone()).collect();
    let (lower, upper) = (bind_all(op.clone(), &lower)?, bind_all(op.clone(), &upper)?);
    lower
        .into_iter()
        .zip(upper)
        .map(|(l, u)| value(&Operand::pair(l, u)))
        .collect()
}

fn rule(op: &Op, operands: &[&Array]) -> Result<Vec<Array>> {
    let x: Vec<Operand> = operands.iter().map(|x| Operand::new(x)).collect();
    let first = x.first().ok_or_else(|| refused(op))?;
    let places_known = |from: usize| x.iter().skip(from).all(|x| x.exact);
    let one = |o: Operand| Ok(vec![value(&o)?]);
    match (op, &x[..]) {
        (Op::Unary(u), [x]) => one(unary(*u, x, op)?),
        (Op::Binary(b), [x, y]) => one(binary(*b, x, y, op)?),
        (Op::IntegerPow(p), [x]) => one(power(p.y, x)?),
        (Op::ConvertElementType(p), [x]) => one(convert(p, x, op)?),
        (Op::SelectN(p), x) => one(select(p, x, op)?),
        (Op::Clamp(_), _) => moved(op, &x),
        (Op::DotGeneral(p), [l, r]) => {
            let n = size_of(&l.lower, &p.lhs_contract);
            one(product(&pairs(op), l, r, n)?)
        }
        (Op::ConvGeneralDilated(_), [l, r]) => {
            let n = r.lower.size();
            one(product(&pairs(op), l, r, n)?)
        }
        // Each row of a sparse array is a sum over its entries.
        (Op::Custom(_), [entries, places, dense]) if places.exact => {
            let of = |a: &Array, b: &Array| bind(op.clone(), &[a, &places.lower, b]);
            one(product(&of, entries, dense, entries.lower.size())?)
        }
        (Op::Custom(_), _) => Err(refused(op)),
        (Op::Reduce(p), [x]) => match p.reducer {
            Reducer::Sum => one(summed(op, x, size_of(&x.lower, &p.axes), &[])?),
            Reducer::Max | Reducer::Min | Reducer::And | Reducer::Or => {
                moved(op, std::slice::from_ref(x))
            }
            Reducer::Prod => one(order::product_along(x, &p.axes)?),
            Reducer::Argmax(d) => one(order::arg(x, &p.axes, d, true)?),
            Reducer::Argmin(d) => one(order::arg(x, &p.axes, d, false)?),
            Reducer::Xor => Err(refused(op)),
        },
        (Op::Cumulative(p), [x]) => match p.kind {
            // It grows with each, and its error with their number.
            CumulativeKind::LogSumExp => {
                let both = |x: &Array| bind(op.clone(), &[x]);
                let units = FUNCTION + 2.0 * size_of(&x.lower, &[p.axis]) as f64;
                one(special::wide(&both(&x.lower), &both(&x.upper), units)?)
            }
            CumulativeKind::Sum => one(summed(op, x, size_of(&x.lower, &[p.axis]), &[])?),
            CumulativeKind::Max | CumulativeKind::Min => moved(op, std::slice::from_ref(x)),
            _ => Err(refused(op)),
        },
        (Op::ReduceWindow(p), [x]) => match p.reducer {
            WindowReducer::Sum => {
                let n = p.window.window_dimensions.iter().product();
                one(summed(op, x, n, &[])?)
            }
            WindowReducer::Max | WindowReducer::Min => moved(op, std::slice::from_ref(x)),
            _ => Err(refused(op)),
        },
        (Op::Sort(_), [_]) | (Op::OptimizationBarrier(_), _) => moved(op, &x),
        (Op::TopK(_), [_]) => order::top_k(op, &x),
        (Op::Collective(p), [x]) if p.across == Across::Sum => one(across(p, x)?),
        (Op::Collective(_), _) => moved(op, &x),
        (Op::Exchange(p), [x]) => match p.parts {
            Parts::ReduceScatter { .. } => one(summed(op, x, p.axis_size, &[])?),
            _ => moved(op, std::slice::from_ref(x)),
        },
        (Op::Factor(p), _) => match (&**p, operands) {
            (Factor::SymmetricProduct { alpha, beta }, [a, c]) => {
                let last = a.ndim().saturating_sub(1);
                let lead = || (0..last.saturating_sub(1)).collect::<Dims>();
                let dims = DotGeneral::new(([last], [last]), (lead(), lead()));
                let y = bind(dims, &[a, a]) * *alpha + *c * *beta;
                Ok(vec![y.ok()?.clone()])
            }
            _ => Err(refused(op)),
        },
        (Op::Sort(_) | Op::SortBy(_) | Op::ScatterBy(_), _) => Err(refused(op)),
        (Op::Scatter(p), [operand, places, updates]) if places.exact => match p.kind {
            ScatterKind::Set | ScatterKind::Max | ScatterKind::Min => moved(op, &x),
            ScatterKind::Add => {
                // The order in which updates are added is not known.
                let n = updates.lower.size() + 1;
                let sum = |o: fn(&Operand) -> &Array, sign: f64| {
                    let of = |a: &Array, b: &Array| bind(op.clone(), &[a, &places.lower, b]);
                    let (a, b) = (o(operand), o(updates));
                    let size = of(&a.stop_gradient().abs(), &b.stop_gradient().abs());
                    of(a, b) + size * (sign * n as f64 * epsilon(p.dtype))
                };
                one(rounded(&sum(|x| &x.lower, -1.0), &sum(|x| &x.upper, 1.0)))
            }
            ScatterKind::Sub => {
                let [operand, places, updates] = operands else {
                    return Err(refused(op));
                };
                let add = Scatter {
                    kind: ScatterKind::Add,
                    ..(**p).clone()
                };
                Ok(vec![bind(add, &[operand, places, &-*updates])])
            }
            ScatterKind::Mul => Err(refused(op)),
        },
        (Op::Pad(_), [_, _]) => moved(op, &x),
        (Op::DynamicUpdateSlice(_), _) if places_known(2) => moved(op, &x),
        (Op::Concatenate(_) | Op::Stack(_), _) => moved(op, &x),
        (Op::Special(s), x) => one(special::several(*s, x).unwrap_or_else(|| Err(refused(op)))?),
        _ if places_known(1) && !first.exact => moved(op, &x),
        _ => Err(refused(op)),
    }
}

const OTHERS: &[&str] = &[
    "all_gather",
    "all_to_all",
    "clamp",
    "concatenate",
    "conv_general_dilated",
    "coo_product",
    "dot_general",
    "dynamic_update_slice",
    "optimization_barrier",
    "pad",
    "pbroadcast",
    "pmax",
    "pmin",
    "ppermute",
    "psum",
    "reduce_scatter",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_sum",
    "scatter",
    "scatter-add",
    "scatter-max",
    "scatter-min",
    "scatter-sub",
    "select_n",
    "sort",
    "stack",
    "symmetric_product",
    "top_k",
];

impl ArrayValue for Interval {
    fn aval(&self) -> Result<Aval> {
        self.lower.aval()
    }

    fn materialise(&self) -> Result<Array> {
        Err(Error::refused("an interval is not one array")
            .note("`bounds` gives the two that it lies between"))
    }

    fn describe(&self) -> String {
        format!("interval[{}]", self.lower.describe())
    }

    fn rules(r: &mut Rules) {
        r.precedence(20);
        families::all::<Interval>(r, OTHERS, rule);
    }
}
