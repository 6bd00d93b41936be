//! Parameters as Python prints them.

use super::Reader;
use crate::{
    array::Scalar,
    error::{Error, Result},
    trace::Program,
};
use num_complex::Complex;

/// The value of a parameter.
#[derive(Debug)]
pub(super) enum Value<'t> {
    Number(Scalar),
    /// `float32`, `None`, `GatherScatterMode.CLIP`, a function's name.
    Word(&'t str),
    List(Vec<Value<'t>>),
    /// `GatherDimensionNumbers(offset_dims=(0,), …)`
    Call(Vec<(&'t str, Value<'t>)>),
    Program(Program),
}

/// A number as Python writes it.
pub(super) fn scalar(r: &mut Reader<'_>) -> Result<Scalar> {
    r.space();
    let bracketed = r.take("(");
    let start = r.at;
    for (word, value) in [("True", true), ("False", false)] {
        if r.rest().starts_with(word) {
            r.at += word.len();
            return Ok(Scalar::Bool(value));
        }
    }
    let first = real(r)?;
    let is_imaginary = |r: &mut Reader<'_>| {
        let yes = r.rest().starts_with('j');
        r.at += usize::from(yes);
        yes
    };
    if is_imaginary(r) {
        return Ok(Scalar::Complex(Complex::new(0.0, float(first))));
    }
    if bracketed {
        if r.rest().starts_with('+') {
            r.at += 1;
        }
        let second = real(r)?;
        if !is_imaginary(r) || !r.take(")") {
            return Err(r.wrong("a complex number is written as `(1+2j)`"));
        }
        return Ok(Scalar::Complex(Complex::new(float(first), float(second))));
    }
    if r.at == start {
        return Err(r.wrong("a number is expected"));
    }
    Ok(first)
}

fn float(x: Scalar) -> f64 {
    match x {
        // Python writes −0 as an imaginary part without a point.
        Scalar::Float(x) => x,
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

/// An integer or a float.
fn real(r: &mut Reader<'_>) -> Result<Scalar> {
    let rest = r.rest();
    let sign = usize::from(rest.starts_with('-'));
    let digits = rest.get(sign..).unwrap_or_default();
    for (word, value) in [("nan", f64::NAN), ("inf", f64::INFINITY)] {
        if digits.starts_with(word) {
            r.at += sign + word.len();
            return Ok(Scalar::Float(if sign == 1 { -value } else { value }));
        }
    }
    let mut end = 0;
    let mut before = ' ';
    for c in digits.chars() {
        let exponent = matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent) {
            break;
        }
        before = c;
        end += 1;
    }
    let text = rest.get(..sign + end).unwrap_or_default();
    let parsed = match text.parse::<i128>() {
        // −0 is a float.
        Ok(0) if sign == 1 => Some(Scalar::Float(-0.0)),
        Ok(i) => Some(Scalar::Int(i)),
        Err(_) => text.parse().ok().map(Scalar::Float),
    };
    match parsed {
        Some(x) => {
            r.at += sign + end;
            Ok(x)
        }
        None => Err(r.wrong("a number is expected")),
    }
}

impl<'t> Reader<'t> {
    /// The value of a parameter of this name.
    pub(super) fn value(&mut self, key: &str) -> Result<Value<'t>> {
        // Names of functions may hold anything but space.
        if matches!(key, "name" | "jvp" | "fwd" | "bwd") {
            return Ok(Value::Word(self.run(|c| !c.is_whitespace() && c != ']')));
        }
        let value = self.any()?;
        if key.ends_with("jaxpr") || matches!(key, "jaxprs" | "branches" | "comparator") {
            return self.resolved(value);
        }
        Ok(value)
    }

    /// With programs in the place of their names.
    fn resolved(&mut self, value: Value<'t>) -> Result<Value<'t>> {
        Ok(match value {
            Value::Word(name) => match self.named(name)? {
                Some(program) => Value::Program(program),
                None => Value::Word(name),
            },
            Value::List(all) => {
                let each = all.into_iter().map(|v| self.resolved(v));
                Value::List(each.collect::<Result<_>>()?)
            }
            Value::Call(all) => {
                let each = all.into_iter().map(|(k, v)| Ok((k, self.resolved(v)?)));
                Value::Call(each.collect::<Result<_>>()?)
            }
            other => other,
        })
    }

    fn any(&mut self) -> Result<Value<'t>> {
        self.deeper()?;
        self.space();
        let rest = self.rest();
        let value = if rest.starts_with('{') || rest.starts_with("let ") {
            Value::Program(self.bound()?.into())
        } else if rest.starts_with(['(', '[']) {
            self.list()?
        } else if rest.starts_with('\'') {
            self.at += 1;
            let word = self.run(|c| c != '\'');
            self.expect("'")?;
            Value::Word(word)
        } else if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            Value::Number(scalar(self)?)
        } else {
            let word = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            match word {
                "" => return Err(self.wrong("the value of a parameter is expected")),
                "True" => Value::Number(Scalar::Bool(true)),
                "False" => Value::Number(Scalar::Bool(false)),
                "nan" => Value::Number(Scalar::Float(f64::NAN)),
                "inf" => Value::Number(Scalar::Float(f64::INFINITY)),
                _ if self.rest().starts_with('(') => self.call()?,
                _ => Value::Word(word),
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    /// `(1, 2)`, `[1, 2]`, and programs with spaces between them.
    fn list(&mut self) -> Result<Value<'t>> {
        // A complex number starts as a list does.
        let before = self.at;
        if let Ok(x @ Scalar::Complex(_)) = scalar(self) {
            return Ok(Value::Number(x));
        }
        self.at = before;
        let close = if self.take("(") { ")" } else { "]" };
        if close == "]" {
            self.expect("[")?;
        }
        let mut all = vec![];
        while !self.take(close) {
            let item = self.any()?;
            // Programs stand with spaces between them, and so do their names.
            let program = matches!(item, Value::Program(_) | Value::Word(_));
            all.push(item);
            self.space();
            if !self.take(",") && !program && !self.rest().starts_with(close) {
                return Err(self.wrong(format!("`,` or `{close}` is expected")));
            }
        }
        Ok(Value::List(all))
    }

    fn call(&mut self) -> Result<Value<'t>> {
        self.expect("(")?;
        let mut all = vec![];
        while !self.take(")") {
            let key = self.word();
            self.expect("=")?;
            all.push((key, self.any()?));
            self.space();
            if !self.take(",") && !self.rest().starts_with(')') {
                return Err(self.wrong("`,` or `)` is expected"));
            }
        }
        Ok(Value::Call(all))
    }
}

impl<'t> Value<'t> {
    pub(super) fn int(&self) -> Option<i128> {
        match self {
            Value::Number(Scalar::Int(i)) => Some(*i),
            // `-0` reads as a float.
            Value::Number(Scalar::Float(x)) if *x == 0.0 => Some(0),
            _ => None,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Value::Word("None"))
    }

    pub(super) fn list(&self) -> Option<&[Value<'t>]> {
        match self {
            Value::List(all) => Some(all),
            _ => None,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value<'t>> {
        match self {
            Value::Call(all) => all.iter().find(|(n, _)| *n == name).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// A parameter is not what it has to be.
pub(super) fn misfit(name: &str, key: &str) -> Error {
    Error::format(format!(
        "`{name}`: the parameter `{key}` is missing, or is no such value"
    ))
}
