//! Functions, blocks and operations, in the generic form and in the pretty one.
//!
//! The pretty forms of most operations are made of the same few parts (operands, words, `name = value`, a dictionary, types), so
//! that one reader of such parts reads them all; only those that bind names of their own (`reduce`, `while`) have one to themselves.

use super::{
    lexer::{Lexer, Token},
    syntax::{Attr, Block, Function, Label, Operation, Parameter, Type, Use},
};
use crate::{
    error::{Error, Result},
    source::Source,
};
use std::collections::HashMap;

/// How deeply types, attributes and regions may be nested.
pub(crate) const DEPTH: usize = 64;

/// A module as it is written.
pub(crate) struct Parsed<'t> {
    pub(crate) functions: Vec<Function<'t>>,
    /// Locations with names of their own.
    pub(crate) locations: HashMap<&'t str, &'t str>,
}

/// Reads a module.
pub(crate) struct Parser<'t> {
    pub(crate) lexer: Lexer<'t>,
    pub(crate) aliases: HashMap<&'t str, Attr<'t>>,
    pub(crate) resources: Option<HashMap<&'t str, (usize, &'t str)>>,
    locations: HashMap<&'t str, &'t str>,
    functions: Vec<Function<'t>>,
}

/// Read a module: `module { … }`, or its functions alone.
pub(crate) fn parse(source: Source<'_>) -> Result<Parsed<'_>> {
    let mut parser = Parser {
        lexer: Lexer::new(source),
        aliases: HashMap::new(),
        resources: None,
        locations: HashMap::new(),
        functions: vec![],
    };
    parser.module(false, 0)?;
    Ok(Parsed {
        functions: parser.functions,
        locations: parser.locations,
    })
}

/// An operation's name without the name of a dialect that may be left out.
fn full_name(name: &str) -> &str {
    match name {
        "call" => "func.call",
        "return" => "func.return",
        _ => name,
    }
}

impl<'t> Parser<'t> {
    pub(crate) fn unexpected(&mut self, wanted: &str) -> Error {
        let at = self.lexer.start();
        match self.lexer.peek() {
            Ok(token) => self.lexer.source.malformed(
                at,
                format!("{wanted} is expected, found {}", token.describe()),
            ),
            Err(e) => e,
        }
    }

    /// Read a sign if it is next.
    pub(crate) fn take(&mut self, sign: u8) -> Result<bool> {
        if self.lexer.peek()? != Token::Sign(sign) {
            return Ok(false);
        }
        self.lexer.next()?;
        Ok(true)
    }

    /// Read a sign, or say that it is missing.
    pub(crate) fn sign(&mut self, sign: u8) -> Result<()> {
        if self.take(sign)? {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", char::from(sign))))
    }

    fn word(&mut self, word: &str) -> Result<bool> {
        if self.lexer.peek()? != Token::Word(word) {
            return Ok(false);
        }
        self.lexer.next()?;
        Ok(true)
    }

    /// What stands in a module, up to its closing brace or to the end of the text.
    fn module(&mut self, braced: bool, depth: usize) -> Result<()> {
        loop {
            let at = self.lexer.start();
            match self.lexer.peek()? {
                Token::End if !braced => return Ok(()),
                Token::Sign(b'}') if braced => {
                    self.lexer.next()?;
                    self.location()?;
                    return Ok(());
                }
                Token::Sign(b'{') if self.lexer.slice(at, at + 3) == "{-#" => {
                    // Resources stand last.
                    self.lexer.seek(self.lexer.source.text.len());
                }
                Token::Hash(name) => {
                    self.lexer.next()?;
                    self.sign(b'=')?;
                    self.alias(name)?;
                }
                Token::Bang(_) => {
                    return Err(self.lexer.source.unsupported(at, "names for types"));
                }
                Token::Word("module" | "builtin.module") if depth < DEPTH => {
                    self.lexer.next()?;
                    if let Token::Symbol(_) = self.lexer.peek()? {
                        self.lexer.next()?;
                    }
                    if self.word("attributes")? {
                        self.dictionary(0)?;
                    }
                    self.sign(b'{')?;
                    self.module(true, depth + 1)?;
                }
                Token::Word("func.func" | "func") => {
                    let function = self.function()?;
                    self.functions.push(function);
                }
                Token::Text("builtin.module" | "func.func" | "module") => {
                    self.generic_container(depth)?;
                }
                Token::Word(_) => {
                    // Something that describes devices, and no function.
                    self.operation(depth + 1)?;
                }
                _ => return Err(self.unexpected("a function")),
            }
        }
    }

    /// `"builtin.module"() ({ … })` and `"func.func"() <{ … }> ({ … })`
    fn generic_container(&mut self, depth: usize) -> Result<()> {
        let at = self.lexer.start();
        if depth >= DEPTH {
            return Err(self.lexer.source.malformed(at, "modules nested too deeply"));
        }
        let Token::Text(name) = self.lexer.next()? else {
            return Err(self.unexpected("the name of an operation"));
        };
        self.sign(b'(')?;
        self.sign(b')')?;
        let mut attrs = vec![];
        if self.take(b'<')? {
            attrs = self.dictionary(0)?;
            self.sign(b'>')?;
        }
        let mut body = None;
        if self.take(b'(')? {
            if name == "func.func" {
                body = Some(self.region(1)?);
            } else {
                self.sign(b'{')?;
                if let Token::Block(_) = self.lexer.peek()? {
                    self.block_header()?;
                }
                self.module(true, depth + 1)?;
            }
            self.sign(b')')?;
        }
        if self.lexer.peek()? == Token::Sign(b'{') {
            attrs.extend(self.dictionary(0)?);
        }
        self.sign(b':')?;
        self.signature()?;
        self.location()?;
        if name != "func.func" {
            return Ok(());
        }
        let find = |wanted: &str| attrs.iter().find(|(n, _)| *n == wanted).map(|(_, a)| a);
        let Some(name) = find("sym_name").and_then(Attr::word) else {
            return Err(self
                .lexer
                .source
                .malformed(at, "a function without `sym_name`"));
        };
        // The types of the results are those of what is returned.
        self.functions.push(Function {
            name,
            at,
            public: find("sym_visibility").and_then(Attr::word) != Some("private"),
            results: vec![],
            labels: vec![],
            body: body.filter(|b| !b.operations.is_empty()),
        });
        Ok(())
    }

    /// What a name of a module stands for.
    fn alias(&mut self, name: &'t str) -> Result<()> {
        if self.word("loc")? {
            let within = self.parenthesised()?;
            if let Some(label) = quoted(within) {
                self.locations.insert(name, label);
            }
            return Ok(());
        }
        let value = self.attribute(0)?;
        self.aliases.insert(name, value);
        Ok(())
    }

    fn parenthesised(&mut self) -> Result<&'t str> {
        if self.lexer.peek()? != Token::Sign(b'(') {
            return Err(self.unexpected("`(`"));
        }
        self.lexer.skip_balanced()
    }

    /// `loc("x")`, where there is one.
    fn location(&mut self) -> Result<Option<Label<'t>>> {
        if self.lexer.peek()? != Token::Word("loc") {
            return Ok(None);
        }
        self.lexer.next()?;
        let within = self.parenthesised()?;
        let alias = within.trim().strip_prefix('#').map(Label::Alias);
        Ok(quoted(within).map(Label::Name).or(alias))
    }

    /// `func.func public @main(%arg0: tensor<f32>) -> tensor<f32> { … }`
    fn function(&mut self) -> Result<Function<'t>> {
        let at = self.lexer.start();
        self.lexer.next()?;
        let mut public = true;
        if self.word("private")? {
            public = false;
        } else if !self.word("public")? {
            self.word("nested")?;
        }
        let Token::Symbol(name) = self.lexer.next()? else {
            return Err(self.lexer.source.malformed(at, "a function without a name"));
        };
        let parameters = self.parameters()?;
        let (mut results, mut labels) = (vec![], vec![]);
        if self.lexer.peek()? == Token::Arrow {
            self.lexer.next()?;
            let several = self.take(b'(')?;
            while !(several && self.take(b')')?) {
                results.push(self.parse_type(0)?);
                let mut label = None;
                if several && self.lexer.peek()? == Token::Sign(b'{') {
                    let attrs = self.dictionary(0)?;
                    label = attrs
                        .iter()
                        .find(|(n, _)| *n == "jax.result_info")
                        .and_then(|(_, a)| a.word())
                        .filter(|s| !s.is_empty());
                }
                labels.push(label);
                if !several {
                    break;
                }
                if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b')') {
                    return Err(self.unexpected("`,` or `)`"));
                }
            }
        }
        if self.word("attributes")? {
            self.dictionary(0)?;
        }
        let mut body = None;
        if self.lexer.peek()? == Token::Sign(b'{') {
            let mut block = self.region(1)?;
            if !block.parameters.is_empty() {
                return Err(self
                    .lexer
                    .source
                    .malformed(at, "a function of several blocks"));
            }
            block.parameters = parameters;
            body = Some(block);
        }
        self.location()?;
        Ok(Function {
            name,
            at,
            public,
            results,
            labels,
            body,
        })
    }

    /// `(%a: t {…} loc(…), %b: t)`
    fn parameters(&mut self) -> Result<Vec<Parameter<'t>>> {
        self.sign(b'(')?;
        let mut all = vec![];
        while !self.take(b')')? {
            let Token::Value(name) = self.lexer.peek()? else {
                // A declaration gives types alone.
                self.parse_type(0)?;
                self.take(b',')?;
                continue;
            };
            self.lexer.next()?;
            self.sign(b':')?;
            let kind = self.parse_type(0)?;
            let mut label = None;
            if self.lexer.peek()? == Token::Sign(b'{') {
                let attrs = self.dictionary(0)?;
                label = attrs
                    .iter()
                    .find(|(n, _)| matches!(*n, "jax.arg_info" | "jax.arg_name"))
                    .and_then(|(_, a)| a.word())
                    .map(Label::Name);
            }
            let location = self.location()?;
            all.push(Parameter {
                name,
                kind,
                label: location.or(label),
            });
            if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b')') {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(all)
    }

    /// `^bb0(%a: t):`
    fn block_header(&mut self) -> Result<Vec<Parameter<'t>>> {
        self.lexer.next()?;
        let parameters = if self.lexer.peek()? == Token::Sign(b'(') {
            self.parameters()?
        } else {
            vec![]
        };
        self.sign(b':')?;
        Ok(parameters)
    }

    /// `{ ^bb0(%a: t): … }`
    fn region(&mut self, depth: usize) -> Result<Block<'t>> {
        let at = self.lexer.start();
        if depth > DEPTH {
            return Err(self.lexer.source.malformed(at, "regions nested too deeply"));
        }
        self.sign(b'{')?;
        let mut block = Block::default();
        if let Token::Block(_) = self.lexer.peek()? {
            block.parameters = self.block_header()?;
        }
        while !self.take(b'}')? {
            match self.lexer.peek()? {
                Token::Block(_) => {
                    let at = self.lexer.start();
                    return Err(self
                        .lexer
                        .source
                        .unsupported(at, "a region of several blocks"));
                }
                Token::End => return Err(self.unexpected("`}`")),
                _ => block.operations.push(self.operation(depth + 1)?),
            }
        }
        Ok(block)
    }

    fn operation(&mut self, depth: usize) -> Result<Operation<'t>> {
        let mut results = vec![];
        while let Token::Value(name) = self.lexer.peek()? {
            let at = self.lexer.start();
            self.lexer.next()?;
            let mut count = 1;
            if self.take(b':')? {
                let Token::Number(n) = self.lexer.next()? else {
                    return Err(self
                        .lexer
                        .source
                        .malformed(at, "a number of results is expected"));
                };
                count = n
                    .parse()
                    .ok()
                    .filter(|n| (1..=1 << 20).contains(n))
                    .ok_or_else(|| self.lexer.source.malformed(at, "so many results"))?;
            }
            results.push((name, count));
            if !self.take(b',')? {
                self.sign(b'=')?;
                break;
            }
        }
        let at = self.lexer.start();
        let mut op = Operation {
            name: "",
            at,
            operands: vec![],
            results,
            attrs: vec![],
            words: vec![],
            regions: vec![],
            out_types: vec![],
        };
        match self.lexer.next()? {
            Token::Text(name) => {
                op.name = full_name(name);
                self.generic(&mut op, depth)?;
            }
            Token::Word(name) => {
                op.name = full_name(name);
                match op.name {
                    "stablehlo.reduce" => self.reduce(&mut op, depth)?,
                    "stablehlo.while" => self.while_loop(&mut op, depth)?,
                    "chlo.scan" => self.scan(&mut op, depth)?,
                    _ => self.pretty(&mut op)?,
                }
            }
            other => {
                return Err(self.lexer.source.malformed(
                    at,
                    format!("an operation is expected, found {}", other.describe()),
                ));
            }
        }
        self.location()?;
        Ok(op)
    }

    /// `%a` or `%a#1`
    fn operand(&mut self) -> Result<Use<'t>> {
        let at = self.lexer.start();
        let Token::Value(name) = self.lexer.next()? else {
            return Err(self.lexer.source.malformed(at, "a value is expected"));
        };
        let mut number = 0;
        // No space stands before the number of a result.
        if let Token::Hash(digits) = self.lexer.peek()?
            && let Ok(n) = digits.parse()
        {
            self.lexer.next()?;
            number = n;
        }
        Ok(Use { name, number, at })
    }

    fn operands(&mut self, op: &mut Operation<'t>) -> Result<()> {
        self.sign(b'(')?;
        while !self.take(b')')? {
            let operand = self.operand()?;
            op.operands.push(operand);
            if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b')') {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(())
    }

    /// `"op"(%a, %b) <{…}> ({…}, {…}) {…} : (t, t) -> t`
    fn generic(&mut self, op: &mut Operation<'t>, depth: usize) -> Result<()> {
        self.operands(op)?;
        if self.lexer.peek()? == Token::Sign(b'[') {
            let at = self.lexer.start();
            return Err(self.lexer.source.unsupported(at, "a jump between blocks"));
        }
        if self.take(b'<')? {
            op.attrs = self.dictionary(0)?;
            self.sign(b'>')?;
        }
        if self.take(b'(')? {
            loop {
                op.regions.push(self.region(depth)?);
                if !self.take(b',')? {
                    break;
                }
            }
            self.sign(b')')?;
        }
        if self.lexer.peek()? == Token::Sign(b'{') {
            op.attrs.extend(self.dictionary(0)?);
        }
        self.sign(b':')?;
        op.out_types = self.signature()?;
        Ok(())
    }

    /// The parts of a pretty form, as they come.
    fn pretty(&mut self, op: &mut Operation<'t>) -> Result<()> {
        loop {
            match self.lexer.peek()? {
                Token::Value(_) => {
                    let operand = self.operand()?;
                    op.operands.push(operand);
                    // A number, without a comma, would start the next operation.
                    if matches!(self.lexer.peek()?, Token::Value(_)) {
                        return Err(self.unexpected("`,` or `:`"));
                    }
                }
                Token::Sign(b',' | b'(' | b')') => {
                    self.lexer.next()?;
                }
                Token::Sign(b'=') => {
                    self.lexer.next()?;
                    let value = self.attribute(0)?;
                    op.attrs.push(("value", value));
                }
                Token::Sign(b'[') => {
                    let value = self.ranges()?;
                    op.attrs.push(("ranges", value));
                }
                Token::Sign(b'{') => {
                    let attrs = self.dictionary(0)?;
                    op.attrs.extend(attrs);
                }
                Token::Sign(b':') => {
                    self.lexer.next()?;
                    op.out_types = self.signature()?;
                    if op.name.starts_with("check.") && self.lexer.peek()? == Token::Sign(b'{') {
                        let attrs = self.dictionary(0)?;
                        op.attrs.extend(attrs);
                    }
                    return Ok(());
                }
                Token::Symbol(s) => {
                    self.lexer.next()?;
                    op.attrs.push(("symbol", Attr::Symbol(s)));
                }
                Token::Text(s) => {
                    self.lexer.next()?;
                    op.attrs.push(("name", Attr::Text(s)));
                }
                Token::Word("dense" | "dense_resource") => {
                    let value = self.attribute(0)?;
                    if let Attr::Dense(d) = &value {
                        op.out_types = vec![Type::Tensor(d.aval.clone())];
                    } else if let Attr::Type(t) = &value {
                        op.out_types = vec![t.clone()];
                    }
                    op.attrs.push(("value", value));
                    if self.lexer.peek()? == Token::Sign(b',') {
                        continue;
                    }
                    if op.name.starts_with("check.") && self.lexer.peek()? == Token::Sign(b'{') {
                        let attrs = self.dictionary(0)?;
                        op.attrs.extend(attrs);
                    }
                    return Ok(());
                }
                Token::Word("loc") if !op.operands.is_empty() || op.name.ends_with("return") => {
                    return Ok(());
                }
                Token::Word(w) => {
                    self.lexer.next()?;
                    if self.take(b'=')? {
                        let value = self.named_value(w)?;
                        op.attrs.push((w, value));
                    } else {
                        op.words.push(w);
                    }
                }
                // Operations without results or types end where the next begins.
                _ if op.name.ends_with("return")
                    || op.out_types.is_empty() && op.results.is_empty() =>
                {
                    return Ok(());
                }
                _ => return Err(self.unexpected("a type or more of the operation")),
            }
            let done = op.name.ends_with("return") && op.operands.is_empty();
            if done && self.lexer.peek()? == Token::Sign(b'}') {
                return Ok(());
            }
        }
    }

    /// A value in a pretty form: of the window of a convolution, whose names stand without a dialect, or any attribute.
    fn named_value(&mut self, name: &str) -> Result<Attr<'t>> {
        if name == "window" {
            return Ok(Attr::Dict(self.dictionary(0)?));
        }
        self.attribute(0)
    }

    /// `[0:1, 1:8:2]` or `[1]`
    fn ranges(&mut self) -> Result<Attr<'t>> {
        self.sign(b'[')?;
        let mut all = vec![];
        while !self.take(b']')? {
            let mut range = vec![];
            loop {
                let at = self.lexer.start();
                let Token::Number(n) = self.lexer.next()? else {
                    return Err(self.lexer.source.malformed(at, "a number is expected"));
                };
                let n = n.parse().map_err(|_| {
                    self.lexer
                        .source
                        .malformed(at, "a number that is too large")
                })?;
                range.push(Attr::Int(n));
                if !self.take(b':')? {
                    break;
                }
            }
            all.push(Attr::List(range));
            if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b']') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
        Ok(Attr::List(all))
    }

    /// `(%a init: %b), (%c init: %d) applies stablehlo.add across dimensions = [0] : …`, or a reducer written out.
    fn reduce(&mut self, op: &mut Operation<'t>, depth: usize) -> Result<()> {
        let mut starts = vec![];
        loop {
            self.sign(b'(')?;
            let operand = self.operand()?;
            op.operands.push(operand);
            if !self.word("init")? {
                return Err(self.unexpected("`init:`"));
            }
            self.sign(b':')?;
            starts.push(self.operand()?);
            self.sign(b')')?;
            if !self.take(b',')? {
                break;
            }
        }
        op.operands.append(&mut starts);
        if self.word("applies")? {
            let Token::Word(name) = self.lexer.next()? else {
                return Err(self.unexpected("the name of an operation"));
            };
            op.attrs.push(("applies", Attr::Word(name)));
        }
        if !self.word("across")? || !self.word("dimensions")? {
            return Err(self.unexpected("`across dimensions`"));
        }
        self.sign(b'=')?;
        let dimensions = self.attribute(0)?;
        op.attrs.push(("dimensions", dimensions));
        if self.lexer.peek()? == Token::Sign(b'{') {
            op.attrs.extend(self.dictionary(0)?);
        }
        self.sign(b':')?;
        op.out_types = self.signature()?;
        if op.attr("applies").is_some() {
            return Ok(());
        }
        if !self.word("reducer")? {
            return Err(self.unexpected("`reducer`"));
        }
        let (mut left, mut right) = (vec![], vec![]);
        while self.lexer.peek()? == Token::Sign(b'(') {
            let at = self.lexer.start();
            let mut pair = self.parameters()?.into_iter();
            match (pair.next(), pair.next(), pair.next()) {
                (Some(a), Some(b), None) => {
                    left.push(a);
                    right.push(b);
                }
                _ => return Err(self.lexer.source.malformed(at, "a reducer takes pairs")),
            }
        }
        let mut body = self.region(depth)?;
        left.append(&mut right);
        body.parameters = left;
        op.regions.push(body);
        Ok(())
    }

    /// `(%a = %x, %b = %y) : t, t cond { … } do { … }`
    fn while_loop(&mut self, op: &mut Operation<'t>, depth: usize) -> Result<()> {
        self.sign(b'(')?;
        let mut names = vec![];
        while !self.take(b')')? {
            let Token::Value(name) = self.lexer.next()? else {
                return Err(self.unexpected("a name"));
            };
            names.push(name);
            self.sign(b'=')?;
            let operand = self.operand()?;
            op.operands.push(operand);
            if !self.take(b',')? && self.lexer.peek()? != Token::Sign(b')') {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        if self.take(b':')? {
            op.out_types = self.signature()?;
        }
        if self.word("attributes")? {
            op.attrs = self.dictionary(0)?;
        }
        for word in ["cond", "do"] {
            if !self.word(word)? {
                return Err(self.unexpected(&format!("`{word}`")));
            }
            let mut body = self.region(depth)?;
            body.parameters = names
                .iter()
                .zip(&op.out_types)
                .map(|(name, kind)| Parameter {
                    name,
                    kind: kind.clone(),
                    label: None,
                })
                .collect();
            op.regions.push(body);
        }
        if names.len() != op.out_types.len() {
            return Err(self.lexer.source.malformed(
                op.at,
                format!(
                    "{} values in the loop, {} types",
                    names.len(),
                    op.out_types.len()
                ),
            ));
        }
        Ok(())
    }

    /// `chlo.scan (%xs) inits (%c) dimension = 0 { ^bb0(…): … } : (t, t) -> (t, t)`
    fn scan(&mut self, op: &mut Operation<'t>, depth: usize) -> Result<()> {
        self.operands(op)?;
        let inputs = op.operands.len() as i128;
        op.attrs.push(("inputs", Attr::Int(inputs)));
        if !self.word("inits")? {
            return Err(self.unexpected("`inits`"));
        }
        self.operands(op)?;
        loop {
            match self.lexer.peek()? {
                Token::Word("attributes") => {
                    self.lexer.next()?;
                    op.attrs.extend(self.dictionary(0)?);
                }
                Token::Word(w) => {
                    self.lexer.next()?;
                    self.sign(b'=')?;
                    let value = self.attribute(0)?;
                    op.attrs.push((w, value));
                }
                Token::Sign(b',') => {
                    self.lexer.next()?;
                }
                _ => break,
            }
        }
        op.regions.push(self.region(depth)?);
        if self.lexer.peek()? == Token::Sign(b'{') {
            op.attrs.extend(self.dictionary(0)?);
        }
        self.sign(b':')?;
        op.out_types = self.signature()?;
        Ok(())
    }
}

/// The string that a location starts with.
fn quoted(within: &str) -> Option<&str> {
    let rest = within.trim_start().strip_prefix('"')?;
    rest.split_once('"').map(|(name, _)| name)
}
