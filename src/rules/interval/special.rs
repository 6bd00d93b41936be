//! Special functions: where each grows, where it falls, and what it never leaves.

use super::{
    FUNCTION, Operand, abs, choose, clamped, largest, rounded, smallest, turned, whole, within,
};
use crate::{
    array::Array,
    error::Result,
    trace::{
        bind,
        op::{Binary, Special, Unary},
    },
};

/// How many units in the last place functions that are computed by long series may be off.
const SERIES: f64 = 256.0;
/// Where `lgamma` is smallest on the positive numbers, and a number that it is not below.
const LGAMMA_VALLEY: (f64, f64) = (1.461_632_144_968_362_3, -0.121_486_4);
/// `i1e` grows between the negative of this and this, and is never further from zero than that.
const I1E_CREST: (f64, f64) = (1.545, 0.22);

/// As [`within`], for results near zero that come of larger numbers.
pub(super) fn wide(lower: &Array, upper: &Array, units: f64) -> Result<Operand> {
    let by = units * super::epsilon(lower.dtype()?);
    let slack = |x: &Array| (x.stop_gradient().abs() + 1.0) * by;
    Ok(rounded(&(lower - slack(lower)), &(upper + slack(upper))))
}

/// Bounds where both operands' bounds are above a number, and no bounds elsewhere.
fn above(x: &Operand, least: f64, f: impl Fn(&Operand) -> Result<Operand>) -> Result<Operand> {
    let inside = x.lower.gt(least);
    let safe = |b: &Array| inside.select(b, least + 1.0);
    let y = f(&Operand::pair(safe(&x.lower), safe(&x.upper)))?;
    Ok(choose(&inside, &y, &whole(&y.lower)))
}

pub(super) fn unary(u: Unary, x: &Operand) -> Result<Operand> {
    let of = |x: &Array| bind(u, &[x]);
    match u {
        Unary::Digamma => above(x, 0.0, |x| wide(&of(&x.lower), &of(&x.upper), SERIES)),
        Unary::Lgamma => above(x, 0.0, |x| {
            let (a, b) = (of(&x.lower), of(&x.upper));
            let ends = wide(&a.minimum(&b), &a.maximum(&b), SERIES)?;
            let (at, valley) = LGAMMA_VALLEY;
            let across = x.lower.lt(at + 1e-3) & x.upper.gt(at - 1e-3);
            Ok(Operand::pair(
                across.select(ends.lower.minimum(valley), &ends.lower),
                ends.upper,
            ))
        }),
        Unary::BesselI0e => {
            let y = turned(&abs(x));
            let y = within(&of(&y.lower), &of(&y.upper), SERIES)?;
            Ok(clamped(&y, 0.0, 1.0))
        }
        _ => {
            let (crest, most) = I1E_CREST;
            let grows = x.lower.gt(-crest) & x.upper.lt(crest);
            let safe = |b: &Array| grows.select(b, 0.0);
            let y = within(&of(&safe(&x.lower)), &of(&safe(&x.upper)), SERIES)?;
            let any = Array::full_like(&y.lower, most);
            Ok(choose(&grows, &y, &Operand::pair(-&any, any)))
        }
    }
}

/// The remainder has the sign of the dividend and is smaller than both.
pub(super) fn rem(x: &Operand, y: &Operand) -> Result<Operand> {
    let (small, large) = (abs(y), abs(y).upper);
    let zero = Array::zeros_like(&x.lower);
    let outer = Operand::pair(
        x.lower.minimum(&zero).maximum(-&large),
        x.upper.maximum(&zero).minimum(&large),
    );
    // What is smaller than every divisor is its own remainder.
    let own = abs(x).upper.lt(&small.lower);
    let own = own.broadcast_to(outer.lower.shape());
    let y = choose(&own, x, &outer);
    let nothing = small.lower.le(0.0).broadcast_to(y.lower.shape());
    Ok(choose(&nothing, &whole(&y.lower), &y))
}

/// The share of the gamma distribution of shape `a` below `x` grows with `x` and falls with `a`; that above the other way round.
pub(super) fn igamma(b: Binary, a: &Operand, x: &Operand) -> Result<Operand> {
    let of = |a: &Array, x: &Array| bind(b, &[a, x]);
    let low = of(&a.upper, &x.lower);
    let high = of(&a.lower, &x.upper);
    let (low, high) = match b {
        Binary::Igamma => (low, high),
        _ => (high, low),
    };
    let domain = a.lower.gt(0.0) & x.lower.ge(0.0);
    let y = clamped(&wide(&low, &high, SERIES)?, 0.0, 1.0);
    let domain = domain.broadcast_to(y.lower.shape());
    Ok(choose(&domain, &y, &whole(&y.lower)))
}

/// Functions of several numbers; `None` for those whose direction is not known.
pub(super) fn several(s: Special, x: &[Operand]) -> Option<Result<Operand>> {
    match (s, x) {
        (Special::Zeta, [x, q]) => Some(zeta(x, q)),
        (Special::RegularizedIncompleteBeta, [a, b, x]) => Some(beta(a, b, x)),
        _ => None,
    }
}

/// `q⁻ˣ + ζ(x, q + 1)`: the second falls with both, the first is monotone in each. Where `x > 1` and `q > 0`.
fn zeta(x: &Operand, q: &Operand) -> Result<Operand> {
    let domain = x.lower.gt(1.0) & q.lower.gt(0.0);
    let safe = |o: &Operand, number: f64| {
        Operand::pair(
            domain.select(&o.lower, number),
            domain.select(&o.upper, number),
        )
    };
    let (x, q) = (safe(x, 2.0), safe(q, 1.0));
    let power = |x: &Array, q: &Array| q.pow(&-x);
    let corners = [
        power(&x.lower, &q.lower),
        power(&x.lower, &q.upper),
        power(&x.upper, &q.lower),
        power(&x.upper, &q.upper),
    ];
    let rest = |x: &Array, q: &Array| bind(Special::Zeta, &[x, &(q + 1.0)]);
    let low = smallest(&corners) + rest(&x.upper, &q.upper);
    let high = largest(&corners) + rest(&x.lower, &q.lower);
    let y = within(&low, &high, SERIES)?;
    Ok(choose(&domain, &y, &whole(&y.lower)))
}

/// The share of the beta distribution below `x` grows with `x` and `b`, and falls with `a`.
fn beta(a: &Operand, b: &Operand, x: &Operand) -> Result<Operand> {
    let of = |a: &Array, b: &Array, x: &Array| {
        bind(
            Special::RegularizedIncompleteBeta,
            &[a, b, &x.maximum(0.0).minimum(1.0)],
        )
    };
    let low = of(&a.upper, &b.lower, &x.lower);
    let high = of(&a.lower, &b.upper, &x.upper);
    let y = clamped(&wide(&low, &high, FUNCTION * SERIES)?, 0.0, 1.0);
    let domain = a.lower.gt(0.0) & b.lower.gt(0.0);
    let domain = domain.broadcast_to(y.lower.shape());
    Ok(choose(&domain, &y, &whole(&y.lower)))
}
