//! The text of programs, read: the inverse of their printing.

mod build;
mod value;

use super::{Atom, Atoms, Eqn, Jaxpr, Literal, Program, Var, Vars};
use crate::{
    array::{Array, Aval, Buffer, DType, Dims, Scalar},
    error::{Error, ErrorKind, Result},
    source::Source,
};
use build::Build;
use std::{collections::HashMap, panic::Location, str::FromStr, sync::Arc};
use value::{Value, scalar};

/// How deeply programs and values may be nested.
const DEPTH: usize = 64;

/// From the text that a program prints, or that `jax.make_jaxpr` prints.
///
/// An error names line and column. The text does not hold everything: of the arrays that a program captures it has the types alone
/// (to run such a program is an error that says so), and of functions that bring their own derivatives (`custom_vjp_call`) what they
/// compute (to differentiate them is one).
///
/// ```
/// use quaxide::prelude::*;
/// let text = "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b 2.0:f32[] in (c,) }";
/// let program: Jaxpr = text.parse().unwrap();
/// assert_eq!(program.to_string(), text);
/// assert!("{ lambda ; a:f32[3]. let b:f32[3] = sine a in (b,) }".parse::<Jaxpr>().is_err());
/// ```
impl FromStr for Jaxpr {
    type Err = Error;
    fn from_str(text: &str) -> Result<Jaxpr> {
        Jaxpr::parse("<text>", text)
    }
}

impl Jaxpr {
    /// As `str::parse`; `name` is what errors call the text.
    pub fn parse(name: &str, text: &str) -> Result<Jaxpr> {
        let mut reader = Reader {
            source: Source { name, text },
            at: 0,
            depth: 0,
            named: HashMap::new(),
        };
        let j = reader.bound()?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.wrong("the text goes on behind the program"));
        }
        Ok(j)
    }
}

/// Reads a text from its start.
pub(super) struct Reader<'t> {
    pub(super) source: Source<'t>,
    at: usize,
    depth: usize,
    /// Programs that have names, as `let f = { lambda … } in` gives them.
    named: HashMap<&'t str, Named>,
}

/// A program that has a name: where it stands, and what it is once it has been read.
#[derive(Clone)]
struct Named {
    at: usize,
    program: Option<Program>,
}

/// Names of variables in a program, and their types.
#[derive(Default)]
struct Scope<'t> {
    jaxpr: Jaxpr,
    names: HashMap<&'t str, Var>,
}

impl<'t> Reader<'t> {
    fn wrong(&self, why: impl AsRef<str>) -> Error {
        self.source.malformed(self.at, why)
    }

    fn rest(&self) -> &'t str {
        self.source.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("programs and values are nested too deeply"));
        }
        Ok(())
    }

    /// Read these characters, behind any space, if they are next.
    fn take(&mut self, text: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.take(text) {
            return Ok(());
        }
        let found: String = self.rest().chars().take(12).collect();
        Err(self.wrong(format!("`{text}` is expected, found `{found}`")))
    }

    /// The longest run of characters that fit.
    fn run(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn word(&mut self) -> &'t str {
        self.space();
        self.run(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// `f32[2,3]`
    fn aval(&mut self) -> Result<Aval> {
        let start = self.at;
        let name = self.word();
        let dtype = DType::ALL.into_iter().find(|d| d.short_name() == name);
        let Some(dtype) = dtype else {
            self.at = start;
            return Err(self.wrong(format!("`{name}` is no element type")));
        };
        self.expect("[")?;
        let mut shape = Dims::new();
        while !self.take("]") {
            self.space();
            let digits = self.run(|c| c.is_ascii_digit());
            let n = digits.parse::<i64>().ok();
            match n.and_then(|n| usize::try_from(n).ok()) {
                Some(n) => shape.push(n),
                None => return Err(self.wrong("the size of an axis is expected")),
            }
            if !self.take(",") && !self.rest().starts_with(']') {
                return Err(self.wrong("`,` or `]` is expected"));
            }
        }
        Ok(Aval::new(shape, dtype))
    }

    /// A program behind names for programs: `let f = { lambda … } in { lambda … }`. One may use another that stands behind it.
    pub(super) fn bound(&mut self) -> Result<Jaxpr> {
        let outer = self.named.clone();
        loop {
            let start = self.at;
            if self.word() != "let" {
                self.at = start;
                break;
            }
            self.space();
            let name = self.run(|c| !c.is_whitespace() && c != '=');
            self.expect("=")?;
            self.space();
            let at = self.at;
            self.pass_braces()?;
            self.expect("in")?;
            self.named.insert(name, Named { at, program: None });
        }
        let j = self.program()?;
        self.named = outer;
        Ok(j)
    }

    /// Go behind what stands in braces.
    fn pass_braces(&mut self) -> Result<()> {
        let mut open = 0usize;
        for (i, c) in self.rest().char_indices() {
            match c {
                '{' => open += 1,
                '}' if open > 1 => open -= 1,
                '}' if open == 1 => {
                    self.at += i + 1;
                    return Ok(());
                }
                _ if open == 0 => break,
                _ => {}
            }
        }
        Err(self.wrong("a program in braces is expected"))
    }

    /// The program of a name, if it has one.
    pub(super) fn named(&mut self, name: &str) -> Result<Option<Program>> {
        let Some(found) = self.named.get(name).cloned() else {
            return Ok(None);
        };
        if let Some(program) = found.program {
            return Ok(Some(program));
        }
        let back = std::mem::replace(&mut self.at, found.at);
        let program: Program = self.program()?.into();
        self.at = back;
        if let Some(slot) = self.named.get_mut(name) {
            slot.program = Some(program.clone());
        }
        Ok(Some(program))
    }

    /// `{ lambda a:f32[3]; b:f32[2]. let … in (c,) }`
    pub(super) fn program(&mut self) -> Result<Jaxpr> {
        self.deeper()?;
        let mut scope = Scope::default();
        self.expect("{")?;
        self.expect("lambda")?;
        while !self.take(";") {
            let at = self.at;
            let (v, aval) = self.binder(&mut scope)?;
            let error = self.source.error(
                ErrorKind::Argument,
                at,
                &format!("the text of a program does not hold the {aval} that it captured here"),
            );
            scope.jaxpr.consts.push((v, Array::error(error)));
        }
        while !self.take(".") {
            let (v, _) = self.binder(&mut scope)?;
            scope.jaxpr.invars.push(v);
        }
        self.expect("let")?;
        loop {
            self.space();
            if self.ends() {
                break;
            }
            self.equation(&mut scope)?;
            self.take(";");
        }
        self.expect("in")?;
        self.expect("(")?;
        while !self.take(")") {
            let a = self.atom(&scope)?;
            scope.jaxpr.outs.push(a);
            if !self.take(",") && !self.rest().starts_with(')') {
                return Err(self.wrong("`,` or `)` is expected"));
            }
        }
        self.expect("}")?;
        self.depth -= 1;
        Ok(scope.jaxpr)
    }

    /// Does `in (` come next?
    fn ends(&self) -> bool {
        let after = self.rest().strip_prefix("in");
        after.is_some_and(|r| r.trim_start().starts_with('('))
    }

    /// `a:f32[3]`, as a new variable.
    fn binder(&mut self, scope: &mut Scope<'t>) -> Result<(Var, Aval)> {
        self.space();
        let start = self.at;
        let name = self.word();
        if name.is_empty() {
            return Err(self.wrong("the name of a variable is expected"));
        }
        self.expect(":")?;
        let aval = self.aval()?;
        let v = scope.jaxpr.fresh(Arc::new(aval.clone()));
        if name != "_" && scope.names.insert(name, v).is_some() {
            self.at = start;
            return Err(self.wrong(format!("`{name}` is defined twice")));
        }
        Ok((v, aval))
    }

    /// A variable that has been defined, or a number with its type.
    fn atom(&mut self, scope: &Scope<'t>) -> Result<Atom> {
        self.space();
        let start = self.at;
        if self.is_literal() {
            let x = scalar(self)?;
            self.expect(":")?;
            let aval = self.aval()?;
            let fits = match x {
                Scalar::Bool(_) => true,
                Scalar::Int(_) => aval.dtype != DType::Bool,
                Scalar::Float(_) => aval.dtype.is_inexact(),
                Scalar::Complex(_) => aval.dtype.is_complex(),
            };
            let buffer = Arc::new(Buffer::scalar(x, aval.dtype, false));
            return match Literal::new(buffer) {
                Some(l) if fits && aval.ndim() == 0 => Ok(Atom::Lit(l)),
                _ => {
                    self.at = start;
                    Err(self.wrong(format!("no number of type {aval}")))
                }
            };
        }
        let name = self.word();
        match scope.names.get(name) {
            Some(v) => Ok(Atom::Var(*v)),
            None => {
                self.at = start;
                Err(self.wrong(format!("`{name}` is not defined here")))
            }
        }
    }

    /// Does a number come next?
    fn is_literal(&self) -> bool {
        let rest = self.rest();
        let named = ["True", "False", "nan:", "inf:"];
        rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '('))
            || named.iter().any(|n| rest.starts_with(n))
    }

    /// Does a definition come next: a name and a colon?
    fn is_binder(&self) -> bool {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        end.is_some_and(|n| n > 0 && rest.get(n..n + 1) == Some(":"))
    }

    /// Does an equation without results come next: a primitive and its parameters?
    fn is_call(&self) -> bool {
        let rest = self.rest();
        let name =
            rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        name.len() < rest.len() && name.starts_with('[')
    }

    /// `c:f32[3] = mul a b`
    fn equation(&mut self, scope: &mut Scope<'t>) -> Result<()> {
        // What is defined here is not yet defined for its own operands.
        let mut results = vec![];
        let (start, mut defined) = (self.at, Scope::default());
        self.space();
        if !self.is_call() {
            while !self.take("=") {
                results.push(self.binder(&mut defined)?);
            }
            self.space();
        }
        let at = self.at;
        let name = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let mut params: Vec<(&'t str, Value<'t>)> = vec![];
        if self.rest().starts_with('[') {
            self.expect("[")?;
            while !self.take("]") {
                let key = self.word();
                self.expect("=")?;
                let value = self.value(key)?;
                params.push((key, value));
            }
        }
        let mut inputs = Atoms::new();
        loop {
            self.space();
            let done = self.rest().starts_with([';', '}']) || self.rest().is_empty();
            let done = done || self.is_call();
            if done || self.ends() || (!self.is_literal() && self.is_binder()) {
                break;
            }
            inputs.push(self.atom(scope)?);
        }
        if let [(_, result)] = &results[..] {
            stretch(&mut scope.jaxpr, name, &mut inputs, result);
        }
        let operands: Vec<&Aval> = inputs.iter().map(|a| scope.jaxpr.atom_aval(a)).collect();
        let written: Vec<&Aval> = results.iter().map(|(_, a)| a).collect();
        let build = Build {
            name,
            params,
            operands: &operands,
            results: &written,
        };
        let located = |e: Error| {
            let kind = match e.kind() {
                ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Format,
            };
            self.source.error(kind, at, e.message())
        };
        let op = build.op().map_err(located)?;
        let avals = op.infer(&operands).map_err(located)?;
        let same =
            avals.len() == written.len() && avals.iter().zip(&written).all(|(a, b)| a.same_type(b));
        if !same {
            let list = |avals: &mut dyn Iterator<Item = &Aval>| {
                avals.map(Aval::to_string).collect::<Vec<_>>().join(" ")
            };
            let why = format!(
                "`{name}` gives {}, but {} is written",
                list(&mut avals.iter()),
                list(&mut written.iter().copied())
            );
            return Err(self.source.malformed(start, why));
        }
        let mut names: Vec<(Var, &'t str)> =
            defined.names.into_iter().map(|(n, v)| (v, n)).collect();
        names.sort_unstable();
        let mut outputs = Vars::new();
        for ((old, _), aval) in results.iter().zip(avals) {
            let v = scope.jaxpr.fresh(Arc::new(aval));
            outputs.push(v);
            for (_, name) in names.iter().filter(|(w, _)| w == old) {
                if scope.names.insert(name, v).is_some() {
                    return Err(self
                        .source
                        .malformed(start, format!("`{name}` is defined twice")));
                }
            }
        }
        scope.jaxpr.eqns.push(Eqn {
            op,
            inputs,
            outputs,
            at: Location::caller(),
        });
        Ok(())
    }
}

/// In JAX's text axes of size 1 stretch without a word where two arrays meet; here an equation says it.
fn stretch(j: &mut Jaxpr, name: &str, inputs: &mut Atoms, result: &Aval) {
    if inputs.len() < 2 || !build::is_elementwise(name) {
        return;
    }
    for a in inputs.iter_mut() {
        let aval = j.atom_aval(a);
        let same = aval.shape == result.shape || aval.ndim() == 0;
        let fits = aval.ndim() == result.ndim()
            && aval
                .shape
                .iter()
                .zip(&result.shape)
                .all(|(m, n)| m == n || *m == 1);
        if same || !fits {
            continue;
        }
        let wide = Arc::new(aval.with_shape(&result.shape));
        let v = j.fresh(wide);
        j.eqns.push(Eqn {
            op: super::op::BroadcastInDim {
                shape: result.shape.clone(),
                broadcast_dimensions: (0..result.ndim()).collect(),
            }
            .into(),
            inputs: Atoms::from_iter([a.clone()]),
            outputs: Vars::from_iter([v]),
            at: Location::caller(),
        });
        *a = Atom::Var(v);
    }
}
