//! Elementwise primitives.

use super::grow::{Grow, Value};
use quaxide::{
    op::{self, Binary, RoundingMethod, Special, Unary},
    prelude::*,
};

/// Where a function is defined, and its derivative small.
#[derive(Clone, Copy, PartialEq)]
enum Domain {
    All,
    Positive,
    /// Between −1 and 1.
    Unit,
    AboveOne,
}
use Domain::*;

/// What each function takes.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Number,
    Inexact,
    Float,
    Complex,
    Bits,
    Integer,
}

const UNARY: &[(Unary, Takes, Domain)] = &[
    (Unary::Neg, Takes::Number, All),
    (Unary::Sign, Takes::Number, All),
    (Unary::Floor, Takes::Float, All),
    (Unary::Ceil, Takes::Float, All),
    (
        Unary::Round(RoundingMethod::AwayFromZero),
        Takes::Float,
        All,
    ),
    (
        Unary::Round(RoundingMethod::ToNearestEven),
        Takes::Float,
        All,
    ),
    (
        Unary::ReducePrecision {
            exponent_bits: 5,
            mantissa_bits: 7,
        },
        Takes::Float,
        All,
    ),
    (Unary::IsFinite, Takes::Float, All),
    (Unary::Exp, Takes::Inexact, All),
    (Unary::Exp2, Takes::Inexact, All),
    (Unary::Log, Takes::Inexact, Positive),
    (Unary::Log1p, Takes::Inexact, Positive),
    (Unary::Expm1, Takes::Inexact, All),
    (Unary::Tanh, Takes::Inexact, All),
    (Unary::Logistic, Takes::Inexact, All),
    (Unary::Sin, Takes::Inexact, All),
    (Unary::Cos, Takes::Inexact, All),
    (Unary::Tan, Takes::Inexact, Unit),
    (Unary::Asin, Takes::Inexact, Unit),
    (Unary::Acos, Takes::Inexact, Unit),
    (Unary::Atan, Takes::Inexact, Unit),
    (Unary::Sinh, Takes::Inexact, All),
    (Unary::Cosh, Takes::Inexact, All),
    (Unary::Asinh, Takes::Inexact, Unit),
    (Unary::Acosh, Takes::Inexact, AboveOne),
    (Unary::Atanh, Takes::Inexact, Unit),
    (Unary::Sqrt, Takes::Inexact, Positive),
    (Unary::Rsqrt, Takes::Inexact, Positive),
    (Unary::Cbrt, Takes::Float, Positive),
    (Unary::Square, Takes::Number, All),
    (Unary::Abs, Takes::Number, All),
    (Unary::Real, Takes::Complex, All),
    (Unary::Imag, Takes::Complex, All),
    (Unary::Conj, Takes::Inexact, All),
    (Unary::Not, Takes::Bits, All),
    (Unary::PopulationCount, Takes::Integer, All),
    (Unary::Clz, Takes::Integer, All),
    (Unary::Erf, Takes::Float, All),
    (Unary::Erfc, Takes::Float, All),
    (Unary::ErfInv, Takes::Float, Unit),
    (Unary::Lgamma, Takes::Float, Positive),
    (Unary::Digamma, Takes::Float, Positive),
    (Unary::BesselI0e, Takes::Float, Positive),
    (Unary::BesselI1e, Takes::Float, Positive),
];

impl Takes {
    fn accepts(self, d: DType) -> bool {
        match self {
            Takes::Number => d != DType::Bool,
            Takes::Inexact => d.is_inexact(),
            Takes::Float => d.is_float(),
            Takes::Complex => d.is_complex(),
            Takes::Bits => !d.is_inexact(),
            Takes::Integer => d.is_integer(),
        }
    }
    fn dtypes(self) -> Vec<DType> {
        DType::ALL
            .into_iter()
            .filter(|d| self.accepts(*d))
            .collect()
    }
}

/// A value of a type that is accepted, or a constant of one.
fn operand(g: &mut Grow<'_>, takes: Takes) -> Option<usize> {
    match g.pick(|v| takes.accepts(v.dtype())) {
        Some(i) if g.r.chance(0.9) => Some(i),
        _ => {
            let like = g.pick(|_| true)?;
            let (shape, dtypes) = (g.shape(like), takes.dtypes());
            let dtype = *g.r.choose(&dtypes)?;
            Some(g.random(&shape, dtype))
        }
    }
}

/// What lies in a domain, made of any inexact value.
fn moved(g: &mut Grow<'_>, x: usize, domain: Domain) -> Option<usize> {
    let d = g.dtype(x);
    let shifted = |g: &mut Grow<'_>, by: f64| {
        let square = g.op(Unary::Square, &[x])?;
        let by = g.number(by, d);
        g.op(Binary::Add, &[square, by])
    };
    match domain {
        All => Some(x),
        // Only numbers with odd operands may leave their domains, where they stay what they are.
        _ if g.options.odd && g.values[x].is_exact() && g.r.chance(0.5) => Some(x),
        Unit => {
            let y = g.op(Unary::Tanh, &[x])?;
            let scale = g.number(0.75, d);
            g.op(Binary::Mul, &[y, scale])
        }
        Positive => shifted(g, 0.5),
        AboveOne => shifted(g, 1.5),
    }
}

pub fn unary(g: &mut Grow<'_>) -> Option<()> {
    let (u, takes, domain) = *g.r.choose(UNARY)?;
    let x = operand(g, takes)?;
    if !g.dtype(x).is_inexact() {
        return g.op(u, &[x]).map(drop);
    }
    let x = moved(g, x, domain)?;
    match domain {
        All => g.op(u, &[x]).map(drop),
        // Complex numbers may still be near a branch cut.
        _ if g.dtype(x).is_complex() => g.op(u, &[x]).map(drop),
        _ => g.in_domain(u, &[x]).map(drop),
    }
}

const BINARY: &[(Binary, Takes)] = &[
    (Binary::Add, Takes::Number),
    (Binary::Sub, Takes::Number),
    (Binary::Mul, Takes::Number),
    (Binary::Div, Takes::Number),
    (Binary::Rem, Takes::Number),
    (Binary::Max, Takes::Number),
    (Binary::Min, Takes::Number),
    (Binary::Max, Takes::Bits),
    (Binary::Min, Takes::Bits),
    (Binary::Pow, Takes::Inexact),
    (Binary::Atan2, Takes::Float),
    (Binary::Nextafter, Takes::Float),
    (Binary::Complex, Takes::Float),
    (Binary::And, Takes::Bits),
    (Binary::Or, Takes::Bits),
    (Binary::Xor, Takes::Bits),
    (Binary::ShiftLeft, Takes::Integer),
    (Binary::ShiftRightLogical, Takes::Integer),
    (Binary::ShiftRightArithmetic, Takes::Integer),
    (Binary::Mulhi, Takes::Integer),
    (Binary::EqTo, Takes::Float),
    (Binary::LeTo, Takes::Float),
    (Binary::LtTo, Takes::Float),
    (Binary::Eq, Takes::Number),
    (Binary::Ne, Takes::Bits),
    (Binary::Lt, Takes::Number),
    (Binary::Le, Takes::Number),
    (Binary::Gt, Takes::Bits),
    (Binary::Ge, Takes::Number),
    (Binary::Igamma, Takes::Float),
    (Binary::Igammac, Takes::Float),
];

/// A second operand of the first one's type; sometimes of rank 0, which fits everywhere.
fn partner(g: &mut Grow<'_>, x: usize) -> usize {
    let (shape, d) = (g.shape(x), g.dtype(x));
    if g.r.chance(0.15) {
        return g.like(&[], d);
    }
    g.like(&shape, d)
}

pub fn binary(g: &mut Grow<'_>) -> Option<()> {
    let (b, takes) = *g.r.choose(BINARY)?;
    let x = operand(g, takes)?;
    let y = partner(g, x);
    let inexact = g.dtype(x).is_inexact();
    let complex = g.dtype(x).is_complex();
    match b {
        Binary::Rem | Binary::Lt | Binary::Le | Binary::Ge | Binary::Max | Binary::Min
            if complex =>
        {
            return None;
        }
        Binary::Complex if !matches!(g.dtype(x), DType::F32 | DType::F64) => return None,
        Binary::Div | Binary::Rem if inexact => {
            let y = moved(g, y, Positive)?;
            return g.op(b, &[x, y]).map(drop);
        }
        Binary::Atan2 => {
            let y = moved(g, y, Positive)?;
            return g.in_domain(b, &[x, y]).map(drop);
        }
        Binary::Pow => {
            let (x, y) = (moved(g, x, Positive)?, moved(g, y, Unit)?);
            return if complex {
                g.op(b, &[x, y]).map(drop)
            } else {
                g.in_domain(b, &[x, y]).map(drop)
            };
        }
        Binary::Igamma | Binary::Igammac => {
            let (x, y) = (moved(g, x, AboveOne)?, moved(g, y, Positive)?);
            return g.op(b, &[x, y]).map(drop);
        }
        _ => {}
    }
    if g.r.chance(0.5) {
        g.op(b, &[x, y]).map(drop)
    } else {
        g.op(b, &[y, x]).map(drop)
    }
}

/// What is neither unary nor binary.
pub fn other(g: &mut Grow<'_>) -> Option<()> {
    match g.r.below(10) {
        7 => {
            let x = g.pick(|_| true)?;
            if g.r.chance(0.5) {
                return g.op(op::Copied, &[x]).map(drop);
            }
            let y = g.pick(|_| true)?;
            g.ops(op::OptimizationBarrier, &[x, y]).map(drop)
        }
        0 => {
            let x = operand(g, Takes::Number)?;
            let low = if g.dtype(x).is_inexact() { -2 } else { 0 };
            let y = low + g.r.below(5) as i32;
            let x = if y < 0 { moved(g, x, Positive)? } else { x };
            g.op(op::IntegerPow { y }, &[x]).map(drop)
        }
        1 => {
            let x = operand(g, Takes::Number)?;
            let y = partner(g, x);
            let (shape, d) = (g.shape(x), g.dtype(x));
            if g.shape(y) != shape {
                return None;
            }
            let whole = if g.r.chance(0.8) { &shape[..] } else { &[] };
            if g.r.chance(0.3) {
                // Among three, by numbers.
                let z = g.like(&shape, d);
                let n: usize = whole.iter().product();
                let which: Vec<i32> = (0..n).map(|_| g.r.below(3) as i32).collect();
                let which = g.constant(Array::new(whole, which));
                return g.op(op::SelectN, &[which, x, y, z]).map(drop);
            }
            let which = g.like(whole, DType::Bool);
            g.op(op::SelectN, &[which, x, y]).map(drop)
        }
        2 => {
            let x = operand(g, Takes::Number)?;
            if g.dtype(x).is_complex() {
                return None;
            }
            let (low, high) = (partner(g, x), partner(g, x));
            // Where a bound is attained, for whatever reason, there is no derivative.
            let varying = [low, x, high]
                .iter()
                .filter(|i| g.values[**i].varies)
                .count();
            if g.options.derivatives && varying > 1 {
                return None;
            }
            g.op(op::Clamp, &[low, x, high]).map(drop)
        }
        3 => {
            let x = g.pick(|_| true)?;
            g.op(op::StopGradient, &[x]).map(drop)
        }
        4 | 8 | 9 => {
            let x = operand(g, Takes::Float)?;
            let x = moved(g, x, AboveOne)?;
            let y = partner(g, x);
            let y = moved(g, y, Positive)?;
            match g.r.below(5) {
                0 => g.op(Special::Zeta, &[x, y]).map(drop),
                1 | 4 => {
                    let n = g.number(1.0, g.dtype(x));
                    g.op(Special::Polygamma, &[n, x]).map(drop)
                }
                2 => g.op(Special::IgammaGradA, &[x, y]).map(drop),
                _ => g.op(Special::RandomGammaGrad, &[x, y]).map(drop),
            }
        }
        5 => {
            let x = operand(g, Takes::Float)?;
            let x = moved(g, x, Positive)?;
            let one = g.number(1.0, g.dtype(x));
            // In (0, 1).
            let next = g.op(Binary::Add, &[x, one])?;
            let y = g.op(Binary::Div, &[x, next])?;
            let (a, b) = (g.number(1.5, g.dtype(x)), g.number(0.75, g.dtype(x)));
            g.op(Special::RegularizedIncompleteBeta, &[a, b, y])
                .map(drop)
        }
        _ => {
            let x = g.pick(|v| v.dtype() != DType::Bool && !v.dtype().is_complex())?;
            let own = g.dtype(x);
            let all: Vec<DType> = DType::ALL
                .into_iter()
                .filter(|d| *d != DType::Bool && !d.is_complex())
                .filter(|d| {
                    d.size() <= own.size() || g.shape(x).last() == Some(&(d.size() / own.size()))
                })
                .collect();
            let new_dtype = *g.r.choose(&all)?;
            g.op(op::BitcastConvertType { new_dtype }, &[x]).map(drop)
        }
    }
}

pub fn convert(g: &mut Grow<'_>) -> Option<()> {
    let x = g.pick(|_| true)?;
    let new_dtype = *g.r.choose(&DType::ALL)?;
    if g.dtype(x).is_complex() && !new_dtype.is_complex() {
        return None;
    }
    let op = op::ConvertElementType {
        new_dtype,
        weak_type: false,
    };
    g.op(op, &[x]).map(drop)
}

fn broadcasts(a: &[usize], b: &[usize]) -> bool {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .all(|(x, y)| x == y || *x == 1 || *y == 1)
}

/// Functions of several primitives; operands broadcast and promote.
pub fn function(g: &mut Grow<'_>) -> Option<()> {
    let float = |v: &Value| v.is_float();
    if g.r.chance(0.5) {
        let x = g.pick(|v| v.dtype() != DType::Bool)?;
        let shape = g.shape(x);
        let y = g.pick(|v| v.dtype() != DType::Bool && broadcasts(&v.aval.shape, &shape))?;
        let mixed = g.dtype(x) != g.dtype(y);
        let name = *g.r.choose(&["+", "-", "*"])?;
        if mixed && g.options.odd && !(g.values[x].small && g.values[y].small) {
            return None;
        }
        return g.function(name, &[x, y]).map(drop);
    }
    let name = *g.r.choose(&[
        "mean",
        "softmax",
        "logsumexp",
        "softplus",
        "relu",
        "argsort",
        "median",
        "take",
        "var",
        "outer",
        "flip",
        "clip",
        "where",
        "every other",
        "last",
        "at add",
        "first row",
        "one hot",
        "matmul",
        "eye",
    ])?;
    let rough = ["relu", "median", "clip"].contains(&name);
    let x = g.pick(|v| v.is_float() && v.aval.size() > 0)?;
    if rough && g.options.smooth && g.values[x].varies {
        return None;
    }
    let shape = g.shape(x);
    let (rows, ndim) = (shape.first().copied().unwrap_or(0), shape.len());
    let needs_axis = [
        "softmax",
        "logsumexp",
        "argsort",
        "take",
        "every other",
        "last",
        "at add",
        "first row",
    ];
    if needs_axis.contains(&name) && ndim == 0 {
        return None;
    }
    match name {
        "argsort" if g.values[x].precision > 0.0 || g.values[x].varies => None,
        "take" => {
            let at: Vec<i32> = (0..3).map(|_| g.r.below(rows + 2) as i32 - 1).collect();
            if at.iter().any(|i| *i >= rows as i32 || *i < -(rows as i32)) {
                return None;
            }
            let i = g.constant(Array::new([3], at));
            g.function(name, &[x, i]).map(drop)
        }
        "at add" => {
            let at: Vec<i32> = (0..2).map(|_| g.r.below(rows) as i32).collect();
            let i = g.constant(Array::new([2], at));
            let mut update = shape.clone();
            update[0] = 2;
            let u = g.like(&update, g.dtype(x));
            g.function(name, &[x, i, u]).map(drop)
        }
        "one hot" => {
            let i = g.constant(Array::from([0i32, 3, 1]));
            g.function(name, &[i]).map(drop)
        }
        "where" => {
            let c = g.like(&shape, DType::Bool);
            let y = g.like(&shape, g.dtype(x));
            g.function(name, &[c, x, y]).map(drop)
        }
        "matmul" => {
            let inner = *shape.last()?;
            let y =
                g.pick(|v| float(v) && matches!(v.aval.shape[..], [n, _] | [n] if n == inner))?;
            g.function(name, &[x, y]).map(drop)
        }
        "outer" => {
            let y = g.pick(|v| float(v) && v.aval.size() < 10)?;
            g.function(name, &[x, y]).map(drop)
        }
        "eye" => (ndim == 2 && shape[0] == shape[1])
            .then(|| g.function(name, &[x]))?
            .map(drop),
        _ => g.function(name, &[x]).map(drop),
    }
}
