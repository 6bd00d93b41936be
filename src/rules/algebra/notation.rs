//! Equalities as text: products over named axes, in the notation in which plans are printed.
//!
//! ```text
//! equality = sum "=" sum
//! sum      = ["-"] product { ("+" | "-") product } ["->" axes]
//! product  = factor { ["·" | "*"] factor }
//! factor   = number | operand [axes]
//! operand  = name | name "(" sum { "," sum } ")" | "(" sum ")"
//! axes     = "[" { letter } "]"
//! ```
//!
//! An axis that does not stand behind `->` is summed over; without `->` those remain that stand once, in alphabetical order, as in
//! `einsum`. A number or an array without axes is a factor too. What stands alone, without axes, is the array as it is.

use super::equality::{Equality, Side};
use crate::array::{Array, DType, numpy};
use crate::error::{Error, ErrorKind, Result};
use crate::lax;
use crate::source::Source;
use crate::trace::op::FftType;
use crate::transform::eval_shape;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Sizes of axes that nothing else says, on which both sides are compared.
const SIZES: [usize; 8] = [3, 4, 5, 2, 6, 7, 8, 9];
/// How deep parentheses may be nested.
const DEEPEST: usize = 64;

/// An equality in text, before it is checked: what [`Equality::text`] makes.
#[derive(Clone)]
pub struct Notation {
    name: String,
    text: String,
    functions: FxHashMap<String, Side>,
    shapes: FxHashMap<String, Vec<usize>>,
}

impl std::fmt::Debug for Notation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notation({}: {})", self.name, self.text)
    }
}

impl Equality {
    /// An equality in the notation of `einsum`, with axes in brackets: the product on the left is what is looked for, what stands
    /// on the right is used in its place where that is cheaper.
    ///
    /// ```text
    /// circulant(c)[ij]·x[j] -> [i] = irfft(rfft(c)[k]·rfft(x)[k] -> [k])[i]
    /// ```
    ///
    /// Axes that do not stand behind `->` are summed over; without `->` those remain that stand once, in alphabetical order. Sums and
    /// differences of products, numbers as factors and parentheses are allowed on both sides; `*`, or nothing, may stand for `·`. What
    /// stands alone without axes is the array as it is.
    ///
    /// Functions are those that [`Notation::function`] adds, and `abs`, `conj`, `cos`, `exp`, `imag`, `log`, `neg`, `real`, `rsqrt`,
    /// `sign`, `sin`, `sqrt`, `square`, `tanh` of each element, `max`, `min` and `div` of two arrays, `diag` of a vector, `t`
    /// (transposed), and `fft`, `ifft`, `rfft`, `irfft`, `flip`, `cumsum` along the last axis; the axes behind `irfft` say how
    /// long its result is.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::algebra::{Equality, Options}};
    /// let outer = Equality::text("sum of an outer product", "a[i]·b[j] -> [] = (a[i] -> [])·(b[j] -> [])").check().unwrap();
    /// let f = |a: &Array, b: &Array| (a.expand_dims(1) * b.expand_dims(0)).sum(());
    /// let (a, b) = (Array::ones([500], DType::F32), Array::ones([400], DType::F32));
    /// let y = Options::new().equality(outer).scope(|| jit(f)(&a, &b)).unwrap();
    /// assert_eq!(y.item::<f32>().unwrap(), 200_000.0);
    ///
    /// let error = Equality::text("wrong", "a[ij]·b[jk] = b[ij]·a[jk").check().unwrap_err();
    /// assert!(error.to_string().contains("1:25"), "{error}");
    /// ```
    pub fn text(name: &str, text: &str) -> Notation {
        Notation {
            name: name.into(),
            text: text.into(),
            functions: FxHashMap::default(),
            shapes: FxHashMap::default(),
        }
    }
}

impl Notation {
    /// What a name in front of parentheses stands for: a function of arrays.
    #[must_use]
    pub fn function(
        mut self,
        name: &str,
        f: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
    ) -> Notation {
        self.functions.insert(name.into(), Arc::new(f));
        self
    }

    /// The shape of an array in the random inputs on which both sides are compared: needed where no axes stand behind its name.
    #[must_use]
    pub fn shape(mut self, name: &str, shape: &[usize]) -> Notation {
        self.shapes.insert(name.into(), shape.into());
        self
    }

    /// The equality, once both sides have been compared on random inputs.
    ///
    /// # Errors
    ///
    /// With the place in the text: if it is not of the grammar, the right side names what the left one does not, a function is
    /// unknown, or sizes or axes do not fit. As [`Equality::new`] if the sides differ, with the inputs on which they do.
    #[track_caller]
    pub fn check(self) -> Result<Equality> {
        let Notation {
            name,
            text,
            functions,
            shapes,
        } = self;
        let mut reader = Reader {
            source: Source {
                name: &name,
                text: &text,
            },
            at: 0,
            depth: 0,
        };
        let left = reader.sum()?;
        reader.expect("=")?;
        let right = reader.sum()?;
        reader.end()?;
        let mut names: Vec<(String, usize)> = Vec::new();
        left.names(&mut names);
        let mut others = Vec::new();
        right.names(&mut others);
        if let Some((other, at)) = others
            .iter()
            .find(|(o, _)| !names.iter().any(|(n, _)| n == o))
        {
            let message = format!("`{other}` does not stand on the left side");
            return Err(reader.fail(*at, &message));
        }
        if let Some(extra) = shapes.keys().find(|s| !names.iter().any(|(n, _)| n == *s)) {
            return Err(Error::argument(format!(
                "`{name}`: there is no `{extra}` to have a shape"
            )));
        }
        let sides = Arc::new(Sides {
            name: name.clone(),
            text: text.clone(),
            left,
            right,
            names: names.into_iter().map(|(name, _)| name).collect(),
            functions,
        });
        let samples = sides.samples(&shapes)?;
        let samples: Vec<&[usize]> = samples.iter().map(Vec::as_slice).collect();
        let of_left = sides.clone();
        Equality::new(
            &name,
            &samples,
            move |x| value_or_error(of_left.evaluated(x, false)),
            move |x| value_or_error(sides.evaluated(x, true)),
        )
    }
}

fn value_or_error(value: Result<Array>) -> Array {
    value.unwrap_or_else(Array::error)
}

#[derive(Debug)]
enum Expression {
    Number(f64),
    Name(String),
    Call(String, Vec<Expression>),
    /// With names for its axes.
    Axes(Box<Expression>, Vec<char>),
    /// Products with their signs, and the axes that remain.
    Sum(Vec<(f64, Vec<At>)>, Option<Vec<char>>),
}

/// An expression and the byte at which it begins.
type At = (usize, Expression);

impl Expression {
    /// The arrays that it names, each once, with the place of the first.
    fn names(&self, all: &mut Vec<(String, usize)>) {
        self.names_at(0, all);
    }

    fn names_at(&self, at: usize, all: &mut Vec<(String, usize)>) {
        match self {
            Expression::Number(_) => {}
            Expression::Name(name) => {
                if !all.iter().any(|(known, _)| known == name) {
                    all.push((name.clone(), at));
                }
            }
            Expression::Call(_, of) => of.iter().for_each(|e| e.names_at(at, all)),
            Expression::Axes(of, _) => of.names_at(at, all),
            Expression::Sum(terms, _) => {
                for (at, factor) in terms.iter().flat_map(|(_, factors)| factors) {
                    factor.names_at(*at, all);
                }
            }
        }
    }
}

struct Reader<'t> {
    source: Source<'t>,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn fail(&self, at: usize, message: &str) -> Error {
        self.source.error(ErrorKind::Argument, at, message)
    }

    fn rest(&mut self) -> &str {
        let rest = self.source.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        match self.takes(token) {
            true => Ok(()),
            false => Err(self.fail(self.at, &format!("`{token}` is expected here"))),
        }
    }

    fn end(&mut self) -> Result<()> {
        match self.rest().is_empty() {
            true => Ok(()),
            false => Err(self.fail(self.at, "nothing more is expected here")),
        }
    }

    fn sum(&mut self) -> Result<Expression> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fail(self.at, "parentheses are nested too deeply"));
        }
        let mut terms = Vec::new();
        let mut sign = if self.takes("-") && !self.rest().starts_with('>') {
            -1.0
        } else {
            1.0
        };
        loop {
            terms.push((sign, self.product()?));
            let rest = self.rest();
            if rest.starts_with("->") || !rest.starts_with(['+', '-']) {
                break;
            }
            sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
            self.at += 1;
        }
        let out = match self.takes("->") {
            true => Some(self.axes()?.ok_or_else(|| {
                self.fail(self.at, "`[` and the axes that remain are expected here")
            })?),
            false => None,
        };
        self.depth -= 1;
        Ok(Expression::Sum(terms, out))
    }

    fn product(&mut self) -> Result<Vec<At>> {
        let mut factors = vec![self.factor()?];
        loop {
            let joined = self.takes("·") || self.takes("*");
            let begins = |c: char| c.is_alphanumeric() || c == '_' || c == '(';
            if !joined && !self.rest().starts_with(begins) {
                return Ok(factors);
            }
            factors.push(self.factor()?);
        }
    }

    fn factor(&mut self) -> Result<At> {
        let rest = self.rest().to_string();
        let at = self.at;
        let length = |within: fn(char) -> bool| rest.find(|c| !within(c)).unwrap_or(rest.len());
        let operand = match rest.chars().next() {
            Some(c) if c.is_ascii_digit() => {
                let length = length(|c| c.is_ascii_digit() || c == '.');
                let number = rest.get(..length).and_then(|text| text.parse().ok());
                self.at += length;
                let number = number.ok_or_else(|| self.fail(at, "this is no number"))?;
                return Ok((at, Expression::Number(number)));
            }
            Some(c) if c.is_alphabetic() || c == '_' => {
                let length = length(|c| c.is_alphanumeric() || c == '_');
                let name = rest.get(..length).unwrap_or_default().to_string();
                self.at += length;
                match self.takes("(") {
                    false => Expression::Name(name),
                    true => {
                        let mut of = vec![self.sum()?];
                        while self.takes(",") {
                            of.push(self.sum()?);
                        }
                        self.expect(")")?;
                        Expression::Call(name, of)
                    }
                }
            }
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.expect(")")?;
                inner
            }
            _ => return Err(self.fail(at, "a number, a name or `(` is expected here")),
        };
        Ok(match self.axes()? {
            Some(axes) => (at, Expression::Axes(Box::new(operand), axes)),
            None => (at, operand),
        })
    }

    fn axes(&mut self) -> Result<Option<Vec<char>>> {
        if !self.takes("[") {
            return Ok(None);
        }
        let mut axes = Vec::new();
        loop {
            let next = self.rest().chars().next();
            match next {
                Some(']') => {
                    self.at += 1;
                    return Ok(Some(axes));
                }
                Some(c) if c.is_alphabetic() => {
                    self.at += c.len_utf8();
                    axes.push(c);
                }
                _ => {
                    return Err(
                        self.fail(self.at, "a letter for an axis, or `]`, is expected here")
                    );
                }
            }
        }
    }
}

/// Both sides, and what their names stand for.
struct Sides {
    name: String,
    text: String,
    left: Expression,
    right: Expression,
    names: Vec<String>,
    functions: FxHashMap<String, Side>,
}

/// An array, with the names of its axes if it has any.
type Value = (Array, Option<Vec<char>>);

/// What is known while a side is evaluated.
struct Scope<'a> {
    sides: &'a Sides,
    arrays: FxHashMap<&'a str, Array>,
    sizes: FxHashMap<char, usize>,
}

impl Sides {
    fn fail(&self, at: usize, message: &str) -> Error {
        let source = Source {
            name: &self.name,
            text: &self.text,
        };
        source.error(ErrorKind::Argument, at, message)
    }

    /// One side, of these arrays.
    fn evaluated(&self, x: &[Array], right: bool) -> Result<Array> {
        let names = self.names.iter().map(String::as_str);
        let mut scope = Scope {
            sides: self,
            arrays: names.zip(x.iter().cloned()).collect(),
            sizes: FxHashMap::default(),
        };
        // The left side says how long axes are, and in which order they remain.
        let (value, axes) = scope.value(0, &self.left, None)?;
        if !right {
            return Ok(value);
        }
        let (value, own) = scope.value(0, &self.right, None)?;
        match (axes, own) {
            (Some(axes), Some(own)) if axes != own => {
                let sorted = |axes: &[char]| {
                    let mut axes = axes.to_vec();
                    axes.sort_unstable();
                    axes
                };
                if sorted(&axes) != sorted(&own) {
                    let show = |axes: &[char]| axes.iter().collect::<String>();
                    let message = format!(
                        "[{}] remains on the left side, [{}] on the right one",
                        show(&axes),
                        show(&own)
                    );
                    return Err(self.fail(0, &message));
                }
                let order: Vec<usize> = axes
                    .iter()
                    .filter_map(|c| own.iter().position(|o| o == c))
                    .collect();
                Ok(value.transpose(order))
            }
            _ => Ok(value),
        }
    }

    /// Shapes of the arrays, for random inputs.
    fn samples(&self, given: &FxHashMap<String, Vec<usize>>) -> Result<Vec<Vec<usize>>> {
        let mut axes: FxHashMap<&str, &[char]> = FxHashMap::default();
        let mut calls: Vec<(usize, &Expression, Option<&[char]>)> = Vec::new();
        collect(0, &self.left, None, &mut axes, &mut calls);
        let mut sizes: FxHashMap<char, usize> = FxHashMap::default();
        let mut next = SIZES.iter().cycle();
        for (name, letters) in &axes {
            if let Some(shape) = given.get(*name) {
                sizes.extend(letters.iter().copied().zip(shape.iter().copied()));
            }
        }
        // Inner calls are collected after outer ones.
        for (at, call, letters) in calls.iter().rev() {
            let Expression::Call(_, of) = call else {
                continue;
            };
            let mut names = Vec::new();
            of.iter().for_each(|e| e.names(&mut names));
            let mut arrays = FxHashMap::default();
            for (name, _) in &names {
                let shape = match (given.get(name), axes.get(name.as_str())) {
                    (Some(shape), _) => shape.clone(),
                    (None, Some(letters)) => {
                        let of_letter = |c: &char| {
                            let next = &mut next;
                            *sizes
                                .entry(*c)
                                .or_insert_with(|| next.next().copied().unwrap_or(3))
                        };
                        letters.iter().map(of_letter).collect()
                    }
                    (None, None) => {
                        let message = format!(
                            "which shape `{name}` has is not said: give it axes here, or a `shape`"
                        );
                        return Err(self.fail(*at, &message));
                    }
                };
                let key = self.names.iter().find(|known| *known == name);
                if let Some(key) = key {
                    arrays.insert(key.as_str(), Array::zeros(shape, DType::F32));
                }
            }
            if let Some(letters) = letters {
                let known = sizes.clone();
                let result = eval_shape(|_: &Array| {
                    let mut scope = Scope {
                        sides: self,
                        arrays: arrays.clone(),
                        sizes: known.clone(),
                    };
                    Ok(scope.value(*at, call, None)?.0)
                })(&Array::zeros((), DType::F32))?;
                let shape = result.aval()?.shape;
                for (letter, size) in letters.iter().zip(&shape) {
                    match sizes.get(letter) {
                        Some(known) if known != size => {
                            let message =
                                format!("axis {letter} is {size} long here, and {known} elsewhere");
                            return Err(self.fail(*at, &message));
                        }
                        _ => {
                            sizes.insert(*letter, *size);
                        }
                    }
                }
            }
        }
        let shape = |name: &String| -> Vec<usize> {
            if let Some(shape) = given.get(name) {
                return shape.clone();
            }
            let letters = axes.get(name.as_str()).copied().unwrap_or_default();
            let mut of_letter = |c: &char| {
                let next = &mut next;
                *sizes
                    .entry(*c)
                    .or_insert_with(|| next.next().copied().unwrap_or(3))
            };
            letters.iter().map(&mut of_letter).collect()
        };
        Ok(self.names.iter().map(shape).collect())
    }
}

/// The axes behind names, and the calls with the axes behind them.
fn collect<'e>(
    at: usize,
    of: &'e Expression,
    axes_behind: Option<&'e [char]>,
    axes: &mut FxHashMap<&'e str, &'e [char]>,
    calls: &mut Vec<(usize, &'e Expression, Option<&'e [char]>)>,
) {
    match of {
        Expression::Number(_) => {}
        Expression::Name(name) => {
            if let Some(letters) = axes_behind {
                axes.insert(name, letters);
            }
        }
        Expression::Call(_, inner) => {
            calls.push((at, of, axes_behind));
            for inner in inner {
                collect(at, inner, None, axes, calls);
            }
        }
        Expression::Axes(inner, letters) => collect(at, inner, Some(letters), axes, calls),
        Expression::Sum(terms, _) => {
            for (at, factor) in terms.iter().flat_map(|(_, factors)| factors) {
                collect(*at, factor, None, axes, calls);
            }
        }
    }
}

impl Scope<'_> {
    /// The value of an expression; `wanted` is its shape as the axes behind it have it, where that is known.
    fn value(&mut self, at: usize, of: &Expression, wanted: Option<&[usize]>) -> Result<Value> {
        Ok(match of {
            Expression::Number(number) => (Array::from(*number as f32), None),
            Expression::Name(name) => {
                let array = self.arrays.get(name.as_str()).cloned();
                let unknown = || self.sides.fail(at, &format!("`{name}` is unknown"));
                (array.ok_or_else(unknown)?, None)
            }
            Expression::Call(name, of) => {
                let mut arguments = Vec::new();
                for argument in of {
                    arguments.push(self.value(at, argument, None)?.0);
                }
                let result = match self.sides.functions.get(name) {
                    Some(f) => f(&arguments),
                    None => known_function(name, &arguments, wanted).ok_or_else(|| {
                        let message = format!(
                            "there is no function `{name}` of {} arrays; `Notation::function` adds one",
                            arguments.len()
                        );
                        self.sides.fail(at, &message)
                    })?,
                };
                (result.ok()?.clone(), None)
            }
            Expression::Axes(inner, letters) => {
                let sizes: Option<Vec<usize>> =
                    letters.iter().map(|c| self.sizes.get(c).copied()).collect();
                let (value, _) = self.value(at, inner, sizes.as_deref())?;
                let shape = value.aval()?.shape;
                if shape.len() != letters.len() {
                    let message = format!(
                        "{} axes are named, and there are {}",
                        letters.len(),
                        shape.len()
                    );
                    return Err(self.sides.fail(at, &message));
                }
                for (letter, size) in letters.iter().zip(&shape) {
                    let known = *self.sizes.entry(*letter).or_insert(*size);
                    if known != *size {
                        let message =
                            format!("axis {letter} is {size} long here, and {known} elsewhere");
                        return Err(self.sides.fail(at, &message));
                    }
                }
                (value, Some(letters.clone()))
            }
            Expression::Sum(terms, out) => {
                if let ([(sign, factors)], None) = (terms.as_slice(), out)
                    && let ([(at, only)], 1.0) = (factors.as_slice(), *sign)
                {
                    return self.value(*at, only, wanted);
                }
                let mut total: Option<Value> = None;
                for (sign, factors) in terms {
                    let axes = total.as_ref().and_then(|(_, axes)| axes.as_ref());
                    let (term, axes) = self.product(factors, out.as_ref().or(axes))?;
                    let term = if *sign < 0.0 { -term } else { term };
                    total = Some(match total {
                        None => (term, axes),
                        Some((sum, _)) => (sum + term, axes),
                    });
                }
                let (value, axes) = total.ok_or_else(|| self.sides.fail(at, "an empty sum"))?;
                (value.ok()?.clone(), axes)
            }
        })
    }

    /// A product of factors, with these axes, if they are said.
    fn product(&mut self, factors: &[At], out: Option<&Vec<char>>) -> Result<Value> {
        let (mut number, mut arrays, mut texts) = (1.0, Vec::new(), Vec::<String>::new());
        let mut axes_known = true;
        for (at, factor) in factors {
            if let Expression::Number(n) = factor {
                number *= n;
                continue;
            }
            let (value, axes) = self.value(*at, factor, None)?;
            let rank = value.aval()?.shape.len();
            match axes {
                Some(axes) => texts.push(axes.iter().collect()),
                None if rank == 0 => texts.push(String::new()),
                None if factors.len() == 1 && out.is_none() => axes_known = false,
                None => {
                    let message = format!("its {rank} axes need names to be a factor: `[…]`");
                    return Err(self.sides.fail(*at, &message));
                }
            }
            arrays.push(value);
        }
        let scaled = |array: Array| if number == 1.0 { array } else { array * number };
        if !axes_known {
            let array = arrays.pop().unwrap_or_else(|| Array::from(1f32));
            return Ok((scaled(array), None));
        }
        let place = factors.first().map_or(0, |(at, _)| *at);
        let all: String = texts.concat();
        let remain: Vec<char> = match out {
            Some(out) => out.clone(),
            None => {
                let once = |c: &char| all.matches(*c).count() == 1;
                let mut remain: Vec<char> = all.chars().filter(once).collect();
                remain.sort_unstable();
                remain
            }
        };
        if let Some(c) = remain.iter().find(|c| !all.contains(**c)) {
            let message = format!("axis {c} remains, but no factor has it");
            return Err(self.sides.fail(place, &message));
        }
        if arrays.is_empty() {
            return Ok((Array::from(number as f32), Some(remain)));
        }
        let result: String = remain.iter().collect();
        let text = format!("{}->{result}", texts.join(","));
        Ok((scaled(numpy::einsum(&text, &arrays)), Some(remain)))
    }
}

/// A function that every text may use.
fn known_function(name: &str, x: &[Array], wanted: Option<&[usize]>) -> Option<Array> {
    let transformed = |x: &Array, kind: FftType, length: usize| lax::fft(x, kind, [length]);
    let complex = |x: &Array| match x.dtype() {
        Ok(dtype) if !dtype.is_complex() => x.astype(match dtype {
            DType::F64 => DType::C128,
            _ => DType::C64,
        }),
        _ => x.clone(),
    };
    Some(match x {
        [x] => {
            let shape = x.aval().map(|aval| aval.shape).unwrap_or_default();
            let last = shape.last().copied().unwrap_or(1);
            match name {
                "abs" => x.abs(),
                "conj" => x.conj(),
                "cos" => x.cos(),
                "exp" => x.exp(),
                "imag" => x.imag(),
                "log" => x.log(),
                "neg" => -x,
                "real" => x.real(),
                "rsqrt" => x.rsqrt(),
                "sign" => x.sign(),
                "sin" => x.sin(),
                "sqrt" => x.sqrt(),
                "square" => x.square(),
                "tanh" => x.tanh(),
                "diag" => numpy::diag(x, 0),
                "t" => x.t(),
                "flip" => x.flip(-1),
                "cumsum" => x.cumsum(-1),
                "fft" => transformed(&complex(x), FftType::Fft, last),
                "ifft" => transformed(&complex(x), FftType::Ifft, last),
                "rfft" => transformed(x, FftType::Rfft, last),
                "irfft" => {
                    let length = wanted.and_then(|shape| shape.last().copied());
                    let even = last.saturating_sub(1) * 2;
                    transformed(x, FftType::Irfft, length.unwrap_or(even))
                }
                _ => return None,
            }
        }
        [x, y] => match name {
            "max" => x.maximum(y),
            "min" => x.minimum(y),
            "div" => x / y,
            _ => return None,
        },
        _ => return None,
    })
}
