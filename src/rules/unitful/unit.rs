//! Units: products of powers of symbols, and what they are in SI.

use super::{Ratio, parse, table};
use crate::error::{Error, Result};
use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

/// What units are made of: base units, and the numbers that derived ones differ by. Powers of primes keep those numbers exact.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Factor {
    Base(Arc<str>),
    Prime(u64),
    Pi,
}

pub(super) type Factors = BTreeMap<Factor, Ratio>;

/// A unit of measurement: `"kg m s^-2"`.
///
/// It is known by what it is in SI, with rational exponents: `N` and `kg m s^-2` are equal, `km` and `m` are not but convert. It
/// prints by the symbols that it was made of.
///
/// ```
/// use quaxide::rules::Unit;
/// let newton: Unit = "N".parse().unwrap();
/// assert_eq!(newton, "kg m/s²".parse().unwrap());
/// let speed: Unit = "km/h".parse().unwrap();
/// assert_eq!(speed.to_string(), "km h^-1");
/// assert!((speed.factor_to(&"m/s".parse().unwrap()).unwrap() - 1.0 / 3.6).abs() < 1e-15);
/// assert_eq!("m^(1/2)".parse::<Unit>().unwrap().powi(2).unwrap(), "m".parse().unwrap());
/// assert!("degC".parse::<Unit>().unwrap_err().to_string().contains("offset"));
/// ```
#[derive(Clone, Default)]
pub struct Unit {
    symbols: BTreeMap<Arc<str>, Ratio>,
    factors: Factors,
}

fn too_large() -> Error {
    Error::argument("an exponent of a unit is out of range")
}

/// `left · right^power`.
fn multiply<K: Ord + Clone>(
    left: &BTreeMap<K, Ratio>,
    right: &BTreeMap<K, Ratio>,
    power: Ratio,
) -> Result<BTreeMap<K, Ratio>> {
    let mut product = left.clone();
    for (key, exponent) in right {
        let more = exponent.times(power).ok_or_else(too_large)?;
        let old = product.get(key).copied().unwrap_or(Ratio::ZERO);
        let new = old.plus(more).ok_or_else(too_large)?;
        if new == Ratio::ZERO {
            product.remove(key);
        } else {
            product.insert(key.clone(), new);
        }
    }
    Ok(product)
}

/// The number that the factors without a dimension make. Whole powers of ten are applied last, in one correctly rounded step.
fn number(factors: &Factors) -> f64 {
    let whole = |p| {
        let exponent = factors.get(&Factor::Prime(p)).copied();
        exponent.and_then(Ratio::as_integer).unwrap_or(0)
    };
    let (twos, fives) = (whole(2), whole(5));
    let tens = match (twos, fives) {
        (1.., 1..) => twos.min(fives),
        (..=-1, ..=-1) => twos.min(fives),
        _ => 0,
    };
    let (mut above, mut below) = (1.0, 1.0);
    for (factor, exponent) in factors {
        let base = match factor {
            Factor::Base(_) => continue,
            Factor::Prime(p) => *p as f64,
            Factor::Pi => std::f64::consts::PI,
        };
        match (factor, exponent.as_integer()) {
            (_, None) => above *= base.powf(exponent.to_f64()),
            (f, Some(n)) => {
                let ten = matches!(f, Factor::Prime(2 | 5));
                let n = n - if ten { tens } else { 0 };
                if n < 0 {
                    below *= base.powi(-n);
                } else {
                    above *= base.powi(n);
                }
            }
        }
    }
    let shifted = |x: f64| format!("{x}e{tens}").parse().unwrap_or(x);
    match tens {
        1.. => shifted(above) / below,
        0 => above / below,
        _ if below == 1.0 => shifted(above),
        _ => above / (below / shifted(1.0)),
    }
}

impl Unit {
    /// No unit: the number 1.
    pub fn one() -> Unit {
        Unit::default()
    }

    /// A base unit of one's own, such as a currency; equal to every other of this name.
    pub fn base(name: &str) -> Unit {
        Unit::symbol(name, [(Factor::Base(name.into()), Ratio::ONE)].into())
    }

    pub(super) fn symbol(name: &str, factors: Factors) -> Unit {
        Unit {
            symbols: [(name.into(), Ratio::ONE)].into(),
            factors,
        }
    }

    pub(super) fn renamed(self, name: &str) -> Unit {
        Unit::symbol(name, self.factors)
    }

    /// `self · other^power`.
    pub(super) fn combine(&self, other: &Unit, power: Ratio) -> Result<Unit> {
        let factors = multiply(&self.factors, &other.factors, power)?;
        let mut symbols = multiply(&self.symbols, &other.symbols, power)?;
        if factors.is_empty() {
            symbols.clear();
        }
        Ok(Unit { symbols, factors })
    }

    /// The product. An error if an exponent is out of range.
    pub fn times(&self, other: &Unit) -> Result<Unit> {
        self.combine(other, Ratio::ONE)
    }

    /// The quotient. An error if an exponent is out of range.
    pub fn per(&self, other: &Unit) -> Result<Unit> {
        self.combine(other, Ratio::integer(-1))
    }

    /// A power. An error if an exponent is out of range.
    pub fn pow(&self, power: Ratio) -> Result<Unit> {
        Unit::one().combine(self, power)
    }

    /// A power. An error if an exponent is out of range.
    pub fn powi(&self, power: i32) -> Result<Unit> {
        self.pow(Ratio::integer(power))
    }

    /// Is it the number 1?
    pub fn is_one(&self) -> bool {
        self.factors.is_empty()
    }

    fn dimension(&self) -> impl Iterator<Item = (&Factor, &Ratio)> {
        self.factors
            .iter()
            .filter(|(f, _)| matches!(f, Factor::Base(_)))
    }

    /// Is it a number, as per cent are?
    pub fn is_dimensionless(&self) -> bool {
        self.dimension().next().is_none()
    }

    /// Do quantities of the two units add and compare?
    pub fn converts_to(&self, other: &Unit) -> bool {
        self.dimension().eq(other.dimension())
    }

    /// The number by which a quantity in this unit is multiplied to have it in another. An error if they do not convert.
    pub fn factor_to(&self, other: &Unit) -> Result<f64> {
        if self == other {
            return Ok(1.0);
        }
        if !self.converts_to(other) {
            return Err(Error::argument(format!(
                "{} do not convert to {}",
                self.named(),
                other.named()
            )));
        }
        Ok(number(&self.per(other)?.factors))
    }

    /// For messages: the unit, or the words for none.
    pub(super) fn named(&self) -> String {
        match self.is_one() {
            true => "plain numbers".into(),
            false => format!("quantities in {self}"),
        }
    }

    /// The base units that it is in SI, without its factor: what messages about dimensions say.
    pub fn to_si(&self) -> Unit {
        let mut symbols = BTreeMap::new();
        let mut factors = Factors::new();
        for (factor, exponent) in self.dimension() {
            if let Factor::Base(name) = factor {
                symbols.insert(name.clone(), *exponent);
                factors.insert(factor.clone(), *exponent);
            }
        }
        Unit { symbols, factors }
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Unit) -> bool {
        self.factors == other.factors
    }
}
impl Eq for Unit {}
impl Hash for Unit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.factors.hash(state);
    }
}

impl FromStr for Unit {
    type Err = Error;
    fn from_str(text: &str) -> Result<Unit> {
        parse::parse(text, &table::lookup)
    }
}

/// What may name a unit: a [`Unit`] or its text.
pub trait IntoUnit {
    /// The unit. An error for text that names none.
    fn into_unit(self) -> Result<Unit>;
}
impl IntoUnit for Unit {
    fn into_unit(self) -> Result<Unit> {
        Ok(self)
    }
}
impl IntoUnit for &Unit {
    fn into_unit(self) -> Result<Unit> {
        Ok(self.clone())
    }
}
impl IntoUnit for &str {
    fn into_unit(self) -> Result<Unit> {
        self.parse()
    }
}

/// `kg m s^-2`: positive exponents first; `1` for none.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.symbols.is_empty() {
            return f.write_str("1");
        }
        let (below, above): (Vec<_>, Vec<_>) =
            self.symbols.iter().partition(|(_, e)| e.is_negative());
        let one = |(symbol, exponent): (&Arc<str>, &Ratio)| match *exponent {
            Ratio::ONE => symbol.to_string(),
            e => format!("{symbol}^{e}"),
        };
        let words: Vec<String> = above.into_iter().chain(below).map(one).collect();
        f.write_str(&words.join(" "))
    }
}
impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
