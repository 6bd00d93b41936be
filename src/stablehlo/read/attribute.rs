//! Types and attributes.

use super::{
    dense,
    lexer::Token,
    parser::{DEPTH, Parser},
    syntax::{Attr, Type},
};
use crate::{
    array::{Aval, DType, Dims},
    error::Result,
};

/// The element type of a name of MLIR's.
pub(crate) fn element_type(name: &str) -> Option<DType> {
    Some(match name {
        "i1" => DType::Bool,
        "i8" | "si8" => DType::I8,
        "i16" | "si16" => DType::I16,
        "i32" | "si32" => DType::I32,
        "i64" | "si64" => DType::I64,
        "ui8" => DType::U8,
        "ui16" => DType::U16,
        "ui32" => DType::U32,
        "ui64" => DType::U64,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        "f32" => DType::F32,
        "f64" => DType::F64,
        "complex<f32>" => DType::C64,
        "complex<f64>" => DType::C128,
        _ => return None,
    })
}

/// Integers of fewer than eight bits: the type that holds them, and how many.
fn narrow_type(name: &str) -> Option<(DType, u32)> {
    Some(match name {
        "i2" | "si2" => (DType::I8, 2),
        "i4" | "si4" => (DType::I8, 4),
        "ui2" => (DType::U8, 2),
        "ui4" => (DType::U8, 4),
        _ => return None,
    })
}

impl<'t> Parser<'t> {
    /// `tensor<2x3xf32>`, `tuple<…>`, `!stablehlo.token`, and whatever else is written as a type.
    pub(crate) fn parse_type(&mut self, depth: usize) -> Result<Type<'t>> {
        let at = self.lexer.start();
        if depth > DEPTH {
            return Err(self.lexer.source.malformed(at, "types nested too deeply"));
        }
        match self.lexer.next()? {
            Token::Word("tensor") => {
                let within = self.lexer.start();
                let text = self.angled()?;
                self.tensor(at, within + 1, text)
            }
            Token::Word("tuple") => {
                self.sign(b'<')?;
                let mut all = vec![];
                while !self.take(b'>')? {
                    all.push(self.parse_type(depth + 1)?);
                    self.take(b',')?;
                }
                Ok(Type::Tuple(all))
            }
            Token::Bang("stablehlo.token" | "mhlo.token") => Ok(Type::Token),
            Token::Bang(_) | Token::Word(_) => {
                if self.lexer.peek()? == Token::Sign(b'<') {
                    self.angled()?;
                }
                let end = self.lexer.start();
                Ok(Type::Other(self.lexer.slice(at, end).trim()))
            }
            Token::Sign(b'(') => {
                self.lexer.seek(at);
                self.lexer.skip_balanced()?;
                if self.lexer.peek()? == Token::Arrow {
                    self.lexer.next()?;
                    self.parse_type(depth + 1)?;
                }
                let end = self.lexer.start();
                Ok(Type::Other(self.lexer.slice(at, end).trim()))
            }
            other => Err(self.lexer.source.malformed(
                at,
                format!("a type is expected, found {}", other.describe()),
            )),
        }
    }

    /// What stands between `<` and `>`.
    pub(crate) fn angled(&mut self) -> Result<&'t str> {
        let at = self.lexer.start();
        match self.lexer.byte(at) {
            Some(b'<') => self.lexer.skip_balanced(),
            _ => Err(self.lexer.source.malformed(at, "`<` is expected")),
        }
    }

    /// `2x3xf32`
    fn tensor(&self, start: usize, at: usize, text: &'t str) -> Result<Type<'t>> {
        let (mut shape, mut rest) = (Dims::new(), text.trim());
        let whole = Type::Other(self.lexer.slice(start, at + text.len() + 1));
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            if rest.starts_with('?') {
                return Ok(whole);
            }
            if digits == 0 {
                break;
            }
            let Some(next) = after.strip_prefix('x') else {
                return Err(self
                    .lexer
                    .source
                    .malformed(at, format!("`{text}` is no shape and element type")));
            };
            let n = number
                .parse::<i64>()
                .ok()
                .and_then(|n| usize::try_from(n).ok());
            let Some(n) = n else {
                return Err(self
                    .lexer
                    .source
                    .malformed(at, format!("an axis of {number} elements")));
            };
            shape.push(n);
            rest = next;
        }
        if rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!') {
            return Err(self
                .lexer
                .source
                .malformed(at, format!("`{text}` names no element type")));
        }
        if let Some((dtype, bits)) = narrow_type(rest) {
            return Ok(Type::Narrow(Aval::new(shape, dtype), bits));
        }
        Ok(element_type(rest).map_or(whole, |d| Type::Tensor(Aval::new(shape, d))))
    }

    /// `: (t, t) -> t`, `: t, t`, `: t -> (t, t)`; the colon has been read. Gives the types of the results.
    pub(crate) fn signature(&mut self) -> Result<Vec<Type<'t>>> {
        let types = self.types()?;
        if self.lexer.peek()? == Token::Arrow {
            self.lexer.next()?;
            return self.types();
        }
        Ok(types)
    }

    /// One type, several with commas, or several in parentheses.
    fn types(&mut self) -> Result<Vec<Type<'t>>> {
        let mut all = vec![];
        if self.take(b'(')? {
            while !self.take(b')')? {
                all.push(self.parse_type(0)?);
                if self.lexer.peek()? == Token::Sign(b'{') {
                    self.dictionary(0)?;
                }
                if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b')') {
                    return Err(self.unexpected("`,` or `)`"));
                }
            }
            return Ok(all);
        }
        loop {
            all.push(self.parse_type(0)?);
            if !self.take(b',')? {
                return Ok(all);
            }
        }
    }

    /// `{a = 1 : i32, b}`
    pub(crate) fn dictionary(&mut self, depth: usize) -> Result<Vec<(&'t str, Attr<'t>)>> {
        self.sign(b'{')?;
        self.entries(b'}', depth)
    }

    /// `a = 1, b = 2`, up to a closing bracket, which is read.
    fn entries(&mut self, close: u8, depth: usize) -> Result<Vec<(&'t str, Attr<'t>)>> {
        let mut all = vec![];
        while !self.take(close)? {
            let name = match self.lexer.next()? {
                Token::Word(s) | Token::Text(s) => s,
                _ => return Err(self.unexpected("the name of an attribute")),
            };
            let value = if self.take(b'=')? {
                self.attribute(depth + 1)?
            } else {
                Attr::Unit
            };
            all.push((name, value));
            if !self.take(b',')? && self.lexer.peek()? != Token::Sign(close) {
                return Err(self.unexpected("`,` or the end of the attributes"));
            }
        }
        Ok(all)
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&mut self, depth: usize) -> Result<Attr<'t>> {
        let at = self.lexer.start();
        if depth > DEPTH {
            return Err(self
                .lexer
                .source
                .malformed(at, "attributes nested too deeply"));
        }
        match self.lexer.peek()? {
            Token::Number(text) => {
                self.lexer.next()?;
                let value = self.number(at, text)?;
                self.typed()?;
                Ok(value)
            }
            Token::Text(s) => {
                self.lexer.next()?;
                self.typed()?;
                Ok(Attr::Text(s))
            }
            Token::Symbol(s) => {
                self.lexer.next()?;
                // `@a::@b` names something within something.
                let colon = self.lexer.start();
                if self.lexer.slice(colon, colon + 3) == "::@" {
                    self.lexer.seek(colon + 2);
                    self.lexer.next()?;
                }
                Ok(Attr::Symbol(s))
            }
            Token::Sign(b'[') => {
                self.lexer.next()?;
                let mut items = vec![];
                while !self.take(b']')? {
                    items.push(self.attribute(depth + 1)?);
                    if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b']') {
                        return Err(self.unexpected("`,` or `]`"));
                    }
                }
                self.pair_of_lists(Attr::List(items), depth)
            }
            Token::Sign(b'{') => Ok(Attr::Dict(self.dictionary(depth + 1)?)),
            Token::Sign(b'<') => {
                self.lexer.skip_balanced()?;
                Ok(Attr::Other)
            }
            // The type of a function.
            Token::Sign(b'(') => Ok(Attr::Type(self.parse_type(depth + 1)?)),
            Token::Hash(name) => {
                self.lexer.next()?;
                self.dialect(name, depth)
            }
            Token::Word(word) => self.named(word, at, depth),
            Token::Bang(_) => Ok(Attr::Type(self.parse_type(depth + 1)?)),
            _ => Err(self.unexpected("the value of an attribute")),
        }
    }

    /// `: i64` behind a value.
    fn typed(&mut self) -> Result<()> {
        // An operation's signature also starts with a colon; a number's type is one plain word.
        if self.lexer.peek()? != Token::Sign(b':') {
            return Ok(());
        }
        let colon = self.lexer.start();
        self.lexer.next()?;
        if let Token::Word(w) = self.lexer.peek()?
            && (element_type(w).is_some() || matches!(w, "index" | "none"))
        {
            self.lexer.next()?;
            return Ok(());
        }
        self.lexer.seek(colon);
        Ok(())
    }

    fn number(&self, at: usize, text: &str) -> Result<Attr<'t>> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let value = if let Some(hex) = digits.strip_prefix("0x") {
            i128::from_str_radix(hex, 16).ok().map(Attr::Int)
        } else if text.contains('.') {
            text.parse().ok().map(Attr::Float)
        } else {
            text.parse().ok().map(Attr::Int)
        };
        value.ok_or_else(|| {
            self.lexer
                .source
                .malformed(at, "a number that is too large")
        })
    }

    /// `[0] x [1]`: two lists, as a dictionary; `[b, 0]x[i, o]->[b, 0]`: three.
    fn pair_of_lists(&mut self, first: Attr<'t>, depth: usize) -> Result<Attr<'t>> {
        if self.lexer.peek()? != Token::Word("x") {
            return Ok(first);
        }
        self.lexer.next()?;
        let second = self.attribute(depth + 1)?;
        let (rhs, out) = match second {
            // `x[…]->[…]` reads from the right: the second list is followed by the arrow.
            list if self.lexer.peek()? == Token::Arrow => {
                self.lexer.next()?;
                (list, self.attribute(depth + 1)?)
            }
            list => (list, Attr::Unit),
        };
        Ok(Attr::Dict(vec![("lhs", first), ("rhs", rhs), ("out", out)]))
    }

    /// `#stablehlo.gather<…>`, `#stablehlo<precision DEFAULT>`, or a name that the text gave to an attribute.
    fn dialect(&mut self, name: &'t str, depth: usize) -> Result<Attr<'t>> {
        if let Some(known) = self.aliases.get(name) {
            return Ok(known.clone());
        }
        if self.lexer.peek()? != Token::Sign(b'<') {
            return Ok(Attr::Other);
        }
        let start = self.lexer.start();
        let read = match name {
            "stablehlo" | "chlo" | "mhlo" => {
                self.lexer.next()?;
                let mut last = Attr::Other;
                while let Token::Word(w) = self.lexer.peek()? {
                    self.lexer.next()?;
                    last = Attr::Word(w);
                }
                self.take(b'>')?.then_some(last)
            }
            "stablehlo.conv" | "mhlo.conv" => {
                self.lexer.next()?;
                let lists = self.attribute(depth + 1)?;
                self.take(b'>')?.then_some(lists)
            }
            _ if name.starts_with("stablehlo.")
                || name.starts_with("mhlo.")
                || name.starts_with("chlo.") =>
            {
                self.lexer.next()?;
                Some(Attr::Dict(self.entries(b'>', depth + 1)?))
            }
            _ => None,
        };
        match read {
            Some(a) => Ok(a),
            None => {
                self.lexer.seek(start);
                self.lexer.skip_balanced()?;
                Ok(Attr::Other)
            }
        }
    }

    /// A value that starts with a word: `true`, `dense<…>`, `array<…>`, a type, a word of an enumeration.
    fn named(&mut self, word: &'t str, at: usize, depth: usize) -> Result<Attr<'t>> {
        self.lexer.next()?;
        let angled = self.lexer.peek()? == Token::Sign(b'<');
        Ok(match word {
            "true" => Attr::Bool(true),
            "false" => Attr::Bool(false),
            "unit" => Attr::Unit,
            "dense" if angled => {
                let from = self.lexer.start() + 1;
                let text = self.dense_text()?;
                let aval = self.dense_type()?;
                match aval {
                    Ok(aval) => {
                        let source = self.lexer.source;
                        let dense = dense::literal(source, from, from + text.len(), aval)?;
                        Attr::Dense(Box::new(dense))
                    }
                    Err(other) => Attr::Type(Type::Other(other)),
                }
            }
            "dense_resource" if angled => {
                let key = self.angled()?.trim().trim_matches('"');
                match self.dense_type()? {
                    Ok(aval) => {
                        let (at, digits) = self.resource(key, at)?;
                        let dense = dense::blob(self.lexer.source, at, digits, aval)?;
                        Attr::Dense(Box::new(dense))
                    }
                    Err(other) => Attr::Type(Type::Other(other)),
                }
            }
            "array" if angled => {
                self.sign(b'<')?;
                self.lexer.next()?;
                self.take(b':')?;
                let mut items = vec![];
                while !self.take(b'>')? {
                    items.push(self.attribute(depth + 1)?);
                    if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b'>') {
                        return Err(self.unexpected("`,` or `>`"));
                    }
                }
                Attr::List(items)
            }
            "tensor" | "tuple" if angled => {
                self.lexer.seek(at);
                Attr::Type(self.parse_type(depth + 1)?)
            }
            "loc" if self.lexer.peek()? == Token::Sign(b'(') => {
                self.lexer.skip_balanced()?;
                Attr::Other
            }
            _ if angled => {
                self.lexer.skip_balanced()?;
                Attr::Other
            }
            _ => match element_type(word) {
                Some(d) => Attr::Type(Type::Tensor(Aval::new((), d))),
                None => Attr::Word(word),
            },
        })
    }

    /// The text within `dense<…>`. It holds no brackets of that kind, but for those in strings.
    fn dense_text(&mut self) -> Result<&'t str> {
        let from = self.lexer.start() + 1;
        let rest = self
            .lexer
            .source
            .text
            .as_bytes()
            .get(from..)
            .unwrap_or_default();
        match rest.iter().position(|b| *b == b'>') {
            Some(n) => {
                self.lexer.seek(from + n + 1);
                Ok(self.lexer.slice(from, from + n))
            }
            None => Err(self
                .lexer
                .source
                .malformed(from, "`dense<` that is not closed")),
        }
    }

    /// `: tensor<2xf32>` behind a literal; the text of a type that there are no arrays of.
    fn dense_type(&mut self) -> Result<Result<Aval, &'t str>> {
        self.sign(b':')?;
        let at = self.lexer.start();
        Ok(match self.parse_type(0)? {
            Type::Tensor(aval) | Type::Narrow(aval, _) => Ok(aval),
            Type::Other(text) => Err(text),
            Type::Tuple(_) | Type::Token => {
                return Err(self.lexer.source.malformed(at, "a literal of no array"));
            }
        })
    }

    /// The digits of an entry of `{-# dialect_resources: … #-}`, and where they stand.
    fn resource(&mut self, key: &str, at: usize) -> Result<(usize, &'t str)> {
        let source = self.lexer.source;
        if self.resources.is_none() {
            self.resources = Some(resources(source.text));
        }
        let found = self.resources.as_ref().and_then(|r| r.get(key).copied());
        let Some((at, digits)) = found else {
            return Err(source.malformed(at, format!("there is no resource `{key}`")));
        };
        // Four bytes say how the rest is aligned.
        match digits.split_at_checked(8) {
            Some((_, rest)) => Ok((at + 8, rest)),
            None => Err(source.malformed(at, "a resource without its alignment")),
        }
    }
}

/// Name and digits of every resource at the end of a text.
fn resources(text: &str) -> std::collections::HashMap<&str, (usize, &str)> {
    let mut all = std::collections::HashMap::new();
    let Some(mut at) = text.rfind("{-#") else {
        return all;
    };
    while let Some(n) = text.get(at..).and_then(|t| t.find(": \"0x")) {
        let from = at + n + 5;
        let before = text.get(at..at + n).unwrap_or_default().trim_end();
        let name = before
            .rsplit(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | ':'))
            .next()
            .unwrap_or_default()
            .trim_matches('"');
        let digits = text
            .get(from..)
            .and_then(|t| t.split_once('"'))
            .map_or("", |(digits, _)| digits);
        all.insert(name, (from, digits));
        at = from + digits.len();
    }
    all
}
