//! Types that Quax's tests use.

use quaxide::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn vector(x: &[f64]) -> Array {
    Array::from(x)
}

pub fn number(x: &Array) -> f64 {
    x.item().unwrap()
}

#[track_caller]
pub fn close(a: &Array, b: &Array) {
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    assert_eq!(a.shape(), b.shape());
    for (x, y) in x.iter().zip(&y) {
        assert!((x - y).abs() <= 1e-9 * (1.0 + y.abs()), "{a} for {b}");
    }
}

/// A number of metres to a power, as the unit library of Quax's examples, in small: never plain, units must agree in sums.
#[derive(Clone, PyTree)]
pub struct Metres {
    pub x: Array,
    #[pytree(meta)]
    pub power: i32,
}

impl ArrayValue for Metres {
    fn aval(&self) -> Result<Aval> {
        self.x.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Err(Error::refused("a length is not a number"))
    }
    fn rules(r: &mut Rules) {
        let of = |x: Array, power| Array::from_value(Metres { x, power });
        r.binary(op::ADD, move |_, a: &Metres, b: &Metres| {
            if a.power != b.power {
                let (a, b) = (a.power, b.power);
                return Err(Error::refused(format!("cannot add m^{a} and m^{b}")));
            }
            Ok(of(&a.x + &b.x, a.power))
        });
        r.binary(op::MUL, move |_, a: &Metres, b: &Metres| {
            of(&a.x * &b.x, a.power + b.power)
        });
        r.binary(op::MUL, move |_, a: &Metres, b: &Dense| {
            of(&a.x * &**b, a.power)
        });
        r.binary(op::MUL, move |_, a: &Dense, b: &Metres| {
            of(&**a * &b.x, b.power)
        });
        r.binary(op::LT, |_, a: &Metres, b: &Metres| a.x.lt(&b.x));
        r.unary(op::INTEGER_POW, move |p, a: &Metres| {
            of(a.x.integer_pow(p.y), a.power * p.y)
        });
    }
}

pub fn metres(x: Array, power: i32) -> Array {
    Array::from_value(Metres { x, power })
}

#[track_caller]
pub fn in_metres(x: &Array) -> &Metres {
    x.value::<Metres>()
        .unwrap_or_else(|| panic!("{x:?} is no length"))
}

/// Equals what it holds; has no rules.
#[derive(Clone, PyTree)]
pub struct Wrapped(pub Array);

impl ArrayValue for Wrapped {
    fn aval(&self) -> Result<Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.0.clone())
    }
}

/// The sum of two arrays, held apart: a value of two leaves whose type has rules for what is linear.
#[derive(Clone, PyTree)]
pub struct Pair(pub Array, pub Array);

impl ArrayValue for Pair {
    fn aval(&self) -> Result<Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(&self.0 + &self.1)
    }
    fn rules(r: &mut Rules) {
        let of = |a: Array, b: Array| Array::from_value(Pair(a, b));
        r.binary(op::ADD, move |_, x: &Pair, y: &Pair| {
            of(&x.0 + &y.0, &x.1 + &y.1)
        });
        r.binary(op::MUL, move |_, x: &Pair, y: &Dense| {
            of(&x.0 * &**y, &x.1 * &**y)
        });
    }
}

/// Its type's own default for every primitive, which counts.
#[derive(Clone, PyTree)]
pub struct Tagged(pub Array);

pub static SEEN: AtomicUsize = AtomicUsize::new(0);

impl ArrayValue for Tagged {
    fn aval(&self) -> Result<Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.0.clone())
    }
    fn rules(r: &mut Rules) {
        r.unary(op::NEG, |_, x: &Tagged| Array::from_value(Tagged(-&x.0)));
        r.default(|op, args| -> Result<Vec<Array>> {
            SEEN.fetch_add(1, Ordering::Relaxed);
            let plain = |x: &Array| x.value::<Tagged>().map_or(x.clone(), |t| t.0.clone());
            let results =
                quaxide::trace::bind_all(op.clone(), &args.iter().map(plain).collect::<Vec<_>>())?;
            Ok(results
                .into_iter()
                .map(|y| Array::from_value(Tagged(y)))
                .collect())
        });
    }
}

/// Another type with a default of its own.
#[derive(Clone, PyTree)]
pub struct Other(pub Array);

impl ArrayValue for Other {
    fn aval(&self) -> Result<Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.0.clone())
    }
    fn rules(r: &mut Rules) {
        r.default(|_, args| args[0].clone());
    }
}
