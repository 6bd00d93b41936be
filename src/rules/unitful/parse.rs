//! Units as text: `kg m s^-2`, `kg·m/s²`, `W/(m^2 K)`, `m^(1/2)`, `1000 m`.
//!
//! A product is written with a space, `*` or `·`; `/` divides by what stands next to it alone, from left to right; `^` or `**`
//! raises to a whole number, a decimal one, or a fraction in parentheses; superscripts do, too.

use super::{Factor, Factors, Ratio, Unit};
use crate::error::{Error, ErrorKind, Result};
use std::{iter::Peekable, str::Chars};

const SUPERSCRIPTS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const DEPTH: usize = 32;

struct Parser<'t> {
    text: &'t str,
    rest: Peekable<Chars<'t>>,
    lookup: &'t dyn Fn(&str) -> Result<Unit>,
    depth: usize,
}

pub(super) fn parse(text: &str, lookup: &dyn Fn(&str) -> Result<Unit>) -> Result<Unit> {
    let mut p = Parser {
        text,
        rest: text.chars().peekable(),
        lookup,
        depth: 0,
    };
    p.spaces();
    if p.rest.peek().is_none() {
        return Ok(Unit::one());
    }
    let unit = p.product()?;
    match p.rest.next() {
        None => Ok(unit),
        Some(c) => Err(p.error(&format!("`{c}` was not expected"))),
    }
}

/// A positive number as a product of powers of primes. `None` where a prime factor is too large to be found.
pub(super) fn factorise(n: u128, power: Ratio, into: &mut Factors) -> Option<()> {
    let mut add = |p: u128| -> Option<()> {
        let slot = into
            .entry(Factor::Prime(u64::try_from(p).ok()?))
            .or_insert(Ratio::ZERO);
        *slot = slot.plus(power)?;
        Some(())
    };
    let mut n = n;
    let mut p = 2u128;
    while p * p <= n {
        if p > 1_000_000 {
            return None;
        }
        while n.is_multiple_of(p) {
            add(p)?;
            n /= p;
        }
        p += 1;
    }
    if n > 1 {
        add(n)?;
    }
    into.retain(|_, e| *e != Ratio::ZERO);
    Some(())
}

/// A decimal number, as text, exactly. `None` if it is none, or not positive.
pub(super) fn decimal(text: &str) -> Option<Factors> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    if digits == 0 || exponent.abs() > 400 {
        return None;
    }
    let shift = exponent - i32::try_from(fraction.len()).ok()?;
    let mut factors = Factors::new();
    factorise(digits, Ratio::ONE, &mut factors)?;
    factorise(10, Ratio::integer(shift), &mut factors)?;
    Some(factors)
}

impl Parser<'_> {
    fn error(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Format,
            format!("the unit {:?}: {what}", self.text),
        )
    }

    fn spaces(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn product(&mut self) -> Result<Unit> {
        let mut unit = self.power()?;
        loop {
            self.spaces();
            let Some(c) = self.rest.peek().copied() else {
                return Ok(unit);
            };
            let sign = match c {
                ')' => return Ok(unit),
                '/' => -1,
                _ => 1,
            };
            if "/*·⋅×".contains(c) {
                self.rest.next();
                self.spaces();
            }
            let next = self.power()?;
            unit = unit.combine(&next, Ratio::integer(sign))?;
        }
    }

    fn power(&mut self) -> Result<Unit> {
        let base = self.atom()?;
        self.spaces();
        let mut ahead = self.rest.clone();
        let double = ahead.next() == Some('*') && ahead.next() == Some('*');
        if self.rest.next_if_eq(&'^').is_some() || double {
            if double {
                self.rest.next();
                self.rest.next();
            }
            self.spaces();
            let exponent = self.exponent()?;
            return base.pow(exponent);
        }
        let mut digits = String::new();
        while let Some(c) = self.rest.peek().copied() {
            let digit = SUPERSCRIPTS.chars().position(|s| s == c);
            match digit.and_then(|d| char::from_digit(d as u32, 10)) {
                Some(d) => digits.push(d),
                None if c == '⁻' && digits.is_empty() => digits.push('-'),
                None => break,
            }
            self.rest.next();
        }
        match digits.as_str() {
            "" => Ok(base),
            n => match n.parse() {
                Ok(n) => base.powi(n),
                Err(_) => Err(self.error("a superscript is not a number")),
            },
        }
    }

    fn number(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.peek().copied() {
            let sign = "+-".contains(c) && (text.is_empty() || text.ends_with(['e', 'E']));
            // An `e` belongs to the number only before digits: `2eV` is two electronvolts.
            let mut ahead = self.rest.clone();
            ahead.next();
            let digits = ahead.next_if(|c| "+-".contains(*c)).is_some()
                | ahead.peek().is_some_and(char::is_ascii_digit);
            let exponent = "eE".contains(c)
                && text.ends_with(|c: char| c.is_ascii_digit() || c == '.')
                && digits;
            if !(c.is_ascii_digit() || c == '.' || sign || exponent) {
                break;
            }
            text.push(c);
            self.rest.next();
        }
        text
    }

    fn exponent(&mut self) -> Result<Ratio> {
        let closing = self.rest.next_if_eq(&'(').is_some();
        self.spaces();
        let whole = self.number();
        self.spaces();
        let mut ratio = whole.parse().ok().and_then(Ratio::from_f64);
        if closing {
            if self.rest.next_if_eq(&'/').is_some() {
                self.spaces();
                let below = self.number().parse::<i64>().ok();
                let above = whole.parse::<i64>().ok();
                ratio = above.zip(below).and_then(|(n, d)| Ratio::new(n, d));
                self.spaces();
            }
            if self.rest.next_if_eq(&')').is_none() {
                return Err(self.error("a parenthesis is not closed"));
            }
        }
        ratio.ok_or_else(|| self.error("an exponent is not a number or a simple fraction"))
    }

    fn atom(&mut self) -> Result<Unit> {
        let Some(c) = self.rest.peek().copied() else {
            return Err(self.error("it ends where a unit was expected"));
        };
        if c == '(' {
            self.rest.next();
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(self.error("parentheses are nested too deep"));
            }
            self.spaces();
            let inner = self.product()?;
            self.depth -= 1;
            return match self.rest.next() {
                Some(')') => Ok(inner),
                _ => Err(self.error("a parenthesis is not closed")),
            };
        }
        if c.is_ascii_digit() || c == '.' {
            let text = self.number();
            let factors = decimal(&text).ok_or_else(|| {
                self.error(&format!(
                    "`{text}` is not a positive number that is a product of small primes"
                ))
            })?;
            return Ok(match factors.is_empty() {
                true => Unit::one(),
                false => Unit::symbol(&text, factors),
            });
        }
        let mut name = String::new();
        let part = |c: &char| c.is_alphabetic() || "_%°".contains(*c);
        while let Some(c) = self.rest.next_if(part) {
            name.push(c);
        }
        if name.is_empty() {
            return Err(self.error(&format!("`{c}` was not expected")));
        }
        (self.lookup)(&name).map_err(|e| {
            let all = self.error(e.message());
            e.notes().iter().fold(all, |all, note| all.note(note))
        })
    }
}
