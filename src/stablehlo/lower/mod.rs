//! From syntax to programs: every operation is bound, under a trace, as the primitive that it is.

mod bodies;
mod chlo;
mod control;
mod custom;
mod elementwise;
mod given;
mod indexing;
mod lapack;
mod linear;
mod meaning;
mod shapes;
mod sorting;

use super::{
    check::{Check, Expect},
    read::syntax::{Attr, Block, Dense, Function, Operation, Type, Use},
};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, ErrorKind, Result},
    source::Source,
    trace::{
        Jaxpr, Program, bind, bind_all,
        op::{Binary, BroadcastInDim, Jit, Op},
        stage,
    },
};
use given::Given;
use std::collections::{HashMap, HashSet};

/// How deeply calls and regions may be nested when functions call functions.
const DEPTH: usize = 64;
/// How many equations a program may have with all its calls written out.
const EQUATIONS: usize = 1 << 21;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Array(Array),
    Tuple(Vec<Value>),
    Token,
}

/// A value without its arrays.
#[derive(Clone, Debug)]
enum Form {
    Array,
    Tuple(Vec<Form>),
    Token,
}

impl Value {
    fn form(&self) -> Form {
        match self {
            Value::Array(_) => Form::Array,
            Value::Tuple(all) => Form::Tuple(all.iter().map(Value::form).collect()),
            Value::Token => Form::Token,
        }
    }

    fn flatten(&self, out: &mut Vec<Array>) {
        match self {
            Value::Array(a) => out.push(a.clone()),
            Value::Tuple(all) => all.iter().for_each(|v| v.flatten(out)),
            Value::Token => {}
        }
    }
}

impl Form {
    fn fill(&self, arrays: &mut impl Iterator<Item = Array>) -> Result<Value> {
        Ok(match self {
            Form::Array => Value::Array(arrays.next().ok_or_else(few)?),
            Form::Tuple(all) => {
                Value::Tuple(all.iter().map(|f| f.fill(arrays)).collect::<Result<_>>()?)
            }
            Form::Token => Value::Token,
        })
    }
}

fn few() -> Error {
    Error::internal("fewer arrays than values")
}

/// Apply a primitive with one result.
fn apply(op: impl Into<Op>, x: &[&Array]) -> Result<Array> {
    let y = bind(op, x);
    y.ok()?;
    Ok(y)
}

/// Integers of so few bits, in a wider type: the bits above are those of the sign.
fn wrapped(x: &Array, bits: u32) -> Result<Array> {
    let dtype = x.dtype()?;
    let unused = elementwise::number(u64::from(8 - bits.min(8)), dtype);
    let up = apply(Binary::ShiftLeft, &[x, &unused])?;
    let down = if dtype.is_unsigned() {
        Binary::ShiftRightLogical
    } else {
        Binary::ShiftRightArithmetic
    };
    apply(down, &[&up, &unused])
}

/// A program with the arrays that it needs besides its operands; they are its first inputs.
#[derive(Clone)]
struct Closed {
    program: Program,
    captured: Vec<Array>,
    forms: Vec<Form>,
}

pub(super) struct Lowering<'m, 't> {
    source: Source<'t>,
    functions: HashMap<&'t str, &'m Function<'t>>,
    done: HashMap<&'t str, (Closed, usize)>,
    active: Vec<&'t str>,
    scopes: Vec<HashMap<&'t str, Vec<Value>>>,
    /// What the program expects, where that is asked for.
    checks: Option<Vec<(Check, Array, Array)>>,
    /// The first thing that was wrong, with its place.
    failure: Option<Error>,
    depth: usize,
    equations: usize,
    /// Arrays that count along an axis.
    iotas: HashMap<(u64, usize), usize>,
}

impl<'m, 't> Lowering<'m, 't> {
    pub(super) fn new(source: Source<'t>, functions: &'m [Function<'t>]) -> Self {
        Lowering {
            source,
            functions: functions.iter().map(|f| (f.name, f)).collect(),
            done: HashMap::new(),
            active: vec![],
            scopes: vec![],
            checks: None,
            failure: None,
            depth: 0,
            equations: 0,
            iotas: HashMap::new(),
        }
    }

    /// The program of a function.
    pub(super) fn function(mut self, f: &'m Function<'t>) -> Result<Jaxpr> {
        let avals = self.parameters(f)?;
        let staged = crate::trace::eager(|| {
            stage(&avals, None, &mut |x| {
                let values = self.enter(f, x.into_iter().map(Value::Array).collect())?;
                let mut out = vec![];
                values.iter().for_each(|v| v.flatten(&mut out));
                Ok(out)
            })
        });
        let j = staged.map_err(|e| self.failure.take().unwrap_or(e))?;
        Ok(j.dce())
    }

    /// The program of a function that computes what the function expects, and what that is expected to be.
    pub(super) fn checks(mut self, f: &'m Function<'t>) -> Result<(Jaxpr, Vec<Check>)> {
        self.checks = Some(vec![]);
        let avals = self.parameters(f)?;
        let mut expected = vec![];
        let staged = crate::trace::eager(|| {
            stage(&avals, None, &mut |x| {
                self.enter(f, x.into_iter().map(Value::Array).collect())?;
                let mut out = vec![];
                for (check, a, b) in self.checks.take().unwrap_or_default() {
                    expected.push(check);
                    out.extend([a, b]);
                }
                Ok(out)
            })
        });
        let j = staged.map_err(|e| self.failure.take().unwrap_or(e))?;
        Ok((j.dce(), expected))
    }

    fn parameters(&self, f: &Function<'t>) -> Result<Vec<Aval>> {
        let Some(body) = &f.body else {
            return Err(self
                .source
                .malformed(f.at, format!("`{}` has no body", f.name)));
        };
        let aval = |t: &Type<'t>| match t {
            Type::Tensor(a) | Type::Narrow(a, _) => Ok(a.clone()),
            other => Err(self.unknown_type(f.at, other)),
        };
        body.parameters.iter().map(|p| aval(&p.kind)).collect()
    }

    fn unknown_type(&self, at: usize, t: &Type<'t>) -> Error {
        let text = match t {
            Type::Other(text) => text,
            Type::Tuple(_) => "a tuple here",
            Type::Token => "a token here",
            Type::Tensor(_) | Type::Narrow(..) => "",
        };
        self.source.unsupported(at, format!("the type {text}"))
    }

    /// Run the body of a function on values.
    fn enter(&mut self, f: &'m Function<'t>, arguments: Vec<Value>) -> Result<Vec<Value>> {
        let Some(body) = &f.body else {
            return Err(self
                .source
                .malformed(f.at, format!("`{}` has no body", f.name)));
        };
        if self.active.contains(&f.name) {
            return Err(self.fail(f.at, Error::format(format!("`{}` calls itself", f.name))));
        }
        self.deeper(f.at)?;
        self.active.push(f.name);
        let outer = std::mem::take(&mut self.scopes);
        let values = self.block(body, arguments);
        self.scopes = outer;
        self.active.pop();
        self.depth -= 1;
        let values = values?;
        if values.len() != f.results.len() && !f.results.is_empty() {
            let e = Error::format(format!(
                "`{}` returns {} value(s), {} are written",
                f.name,
                values.len(),
                f.results.len()
            ));
            return Err(self.fail(f.at, e));
        }
        for (t, v) in f.results.iter().zip(&values) {
            if let (Some(t), Value::Array(v)) = (t.aval(), v) {
                let a = v.aval()?;
                if !a.same_type(t) {
                    let e = Error::format(format!("`{}` returns {a}, but {t} is written", f.name));
                    return Err(self.fail(f.at, e));
                }
            }
        }
        Ok(values)
    }

    fn deeper(&mut self, at: usize) -> Result<()> {
        if self.depth >= DEPTH {
            let e = Error::format("calls and regions are nested too deeply");
            return Err(self.fail(at, e));
        }
        self.depth += 1;
        Ok(())
    }

    /// The error with its place; the first one stays.
    fn fail(&mut self, at: usize, e: Error) -> Error {
        let first = self.failure.get_or_insert_with(|| {
            if e.message().starts_with(&format!("{}:", self.source.name)) {
                return e.clone();
            }
            // What is wrong is in this text, not in this crate.
            let kind = match e.kind() {
                ErrorKind::Unsupported | ErrorKind::Memory => e.kind(),
                _ => ErrorKind::Format,
            };
            self.source.error(kind, at, e.message())
        });
        first.clone()
    }

    /// Run a block on values, in a scope of its own.
    fn block(&mut self, block: &'m Block<'t>, arguments: Vec<Value>) -> Result<Vec<Value>> {
        let mut scope = HashMap::new();
        for (p, v) in block.parameters.iter().zip(arguments) {
            scope.insert(p.name, vec![v]);
        }
        self.scopes.push(scope);
        let values = self.operations(&block.operations);
        self.scopes.pop();
        values
    }

    fn operations(&mut self, operations: &'m [Operation<'t>]) -> Result<Vec<Value>> {
        for op in operations {
            let operands = op
                .operands
                .iter()
                .map(|u| self.value(u))
                .collect::<Result<Vec<_>>>()?;
            if op.name.ends_with(".return") {
                return Ok(operands);
            }
            let values = match self.operation(op, operands) {
                Ok(values) => values,
                Err(e) => return Err(self.fail(op.at, e)),
            };
            self.define(op, values)?;
        }
        Ok(vec![])
    }

    fn value(&mut self, u: &Use<'t>) -> Result<Value> {
        let found = self.scopes.iter().rev().find_map(|s| s.get(u.name));
        let why = match found.map(|v| (v.get(u.number).cloned(), v.len())) {
            Some((Some(v), _)) => return Ok(v),
            Some((None, n)) => format!("`%{}` has {n} result(s)", u.name),
            None => format!("`%{}` is not defined here", u.name),
        };
        let e = Error::format(why);
        Err(self.fail(u.at, e))
    }

    /// Name the results of an operation.
    fn define(&mut self, op: &Operation<'t>, values: Vec<Value>) -> Result<()> {
        let (given, wanted) = (values.len(), op.result_count());
        if given != wanted && !(wanted == 0 && op.results.is_empty()) {
            let e = Error::format(format!(
                "`{}` has {given} result(s), and {wanted} name(s)",
                op.name
            ));
            return Err(self.fail(op.at, e));
        }
        if op.out_types.len() == given {
            for (t, v) in op.out_types.iter().zip(&values) {
                if let (Some(t), Value::Array(v)) = (t.aval(), v) {
                    let a = v.aval()?;
                    if !a.same_type(t) {
                        let e =
                            Error::format(format!("`{}` gives {a}, but {t} is written", op.name));
                        return Err(self.fail(op.at, e));
                    }
                }
            }
        }
        let narrow = |(i, v): (usize, Value)| match (op.out_types.get(i), v) {
            (Some(Type::Narrow(_, bits)), Value::Array(x)) => Ok(Value::Array(wrapped(&x, *bits)?)),
            (_, v) => Ok(v),
        };
        let narrowed: Result<Vec<Value>> = values.into_iter().enumerate().map(narrow).collect();
        let mut values = narrowed?.into_iter();
        if let Some(scope) = self.scopes.last_mut() {
            for (name, count) in &op.results {
                scope.insert(name, values.by_ref().take(*count).collect());
            }
        }
        Ok(())
    }

    /// The program of a region, for operands of these types.
    fn region(&mut self, at: usize, block: &'m Block<'t>, avals: &[Aval]) -> Result<Closed> {
        if block.parameters.len() != avals.len() {
            return Err(Error::format(format!(
                "a region of {} parameter(s) is given {}",
                block.parameters.len(),
                avals.len()
            )));
        }
        self.deeper(at)?;
        let mut forms = vec![];
        let staged = stage(avals, None, &mut |x| {
            let values = self.block(block, x.into_iter().map(Value::Array).collect())?;
            forms = values.iter().map(Value::form).collect();
            let mut out = vec![];
            values.iter().for_each(|v| v.flatten(&mut out));
            Ok(out)
        });
        self.depth -= 1;
        let (j, captured) = staged?.dce().close();
        Ok(Closed {
            program: j.into(),
            captured,
            forms,
        })
    }

    /// A call of a function.
    fn call(&mut self, at: usize, name: &str, arguments: Vec<Value>) -> Result<Vec<Value>> {
        let Some(f) = self.functions.get(name).copied() else {
            return Err(Error::format(format!("there is no function `{name}`")));
        };
        let parameters = f.body.as_ref().map_or(0, |b| b.parameters.len());
        if parameters != arguments.len() {
            return Err(Error::format(format!(
                "`{name}` takes {parameters} operand(s), {} are given",
                arguments.len()
            )));
        }
        let arrays: Option<Vec<Array>> = arguments
            .iter()
            .map(|v| match v {
                Value::Array(a) => Some(a.clone()),
                _ => None,
            })
            .collect();
        let inline = self.checks.is_some() && self.expects(f, &mut HashSet::new());
        let (Some(arrays), false) = (arrays, inline) else {
            return self.enter(f, arguments);
        };
        if !self.done.contains_key(f.name) {
            let closed = self.closed(f)?;
            self.done.insert(f.name, closed);
        }
        let Some((closed, equations)) = self.done.get(f.name).cloned() else {
            return Err(few());
        };
        self.equations = self.equations.saturating_add(equations);
        if self.equations > EQUATIONS {
            let e = Error::format("the program is too large with all its calls written out");
            return Err(self.fail(at, e));
        }
        let operands: Vec<Array> = closed.captured.iter().cloned().chain(arrays).collect();
        let op = Jit {
            name: f.name.into(),
            jaxpr: closed.program.clone(),
        };
        let mut results = bind_all(op, &operands)?.into_iter();
        closed
            .forms
            .iter()
            .map(|form| form.fill(&mut results))
            .collect()
    }

    /// The program of a function that is called, and how many equations it has with all its calls written out.
    fn closed(&mut self, f: &'m Function<'t>) -> Result<(Closed, usize)> {
        let avals = self.parameters(f)?;
        let before = std::mem::take(&mut self.equations);
        let checks = self.checks.take();
        let mut forms = vec![];
        let staged = stage(&avals, None, &mut |x| {
            let values = self.enter(f, x.into_iter().map(Value::Array).collect())?;
            forms = values.iter().map(Value::form).collect();
            let mut out = vec![];
            values.iter().for_each(|v| v.flatten(&mut out));
            Ok(out)
        });
        self.checks = checks;
        let (j, captured) = staged?.dce().close();
        let equations = self.equations.saturating_add(j.eqns().len());
        self.equations = before;
        let closed = Closed {
            program: j.into(),
            captured,
            forms,
        };
        Ok((closed, equations))
    }

    /// Does a function, or one that it calls, expect something?
    fn expects(&self, f: &Function<'t>, seen: &mut HashSet<&'t str>) -> bool {
        if !seen.insert(f.name) {
            return false;
        }
        f.body.iter().flat_map(|b| &b.operations).any(|op| {
            let symbol = op
                .attrs
                .iter()
                .find(|(n, _)| matches!(*n, "symbol" | "call_target_name" | "callee"))
                .and_then(|(_, a)| a.word());
            op.name.starts_with("check.")
                || symbol.is_some_and(|s| s.starts_with("check."))
                || symbol
                    .and_then(|s| self.functions.get(s))
                    .is_some_and(|f| self.expects(f, seen))
        })
    }

    /// Note an expectation.
    fn expect(&mut self, op: &Operation<'t>, expect: Expect, actual: &Array, expected: &Array) {
        let (line, _) = self.source.place(op.at);
        if let Some(checks) = &mut self.checks {
            let check = Check { expect, line };
            checks.push((check, actual.clone(), expected.clone()));
        }
    }

    /// What an operation of this name expects; how close, if it does not say. `None` if it expects nothing.
    fn expectation(op: &Operation<'t>, name: &str, ulp: u64, tolerance: f64) -> Option<Expect> {
        let number = |name: &str, default: u64| {
            let given = op.attr(name).and_then(Attr::int);
            given.and_then(|n| u64::try_from(n).ok()).unwrap_or(default)
        };
        Some(match name {
            "check.expect_eq" | "check.expect_eq_const" => Expect::Equal,
            "check.expect_close" => Expect::Close {
                min_ulp: number("min_ulp_difference", 0),
                max_ulp: number("max_ulp_difference", ulp),
            },
            "check.expect_almost_eq" | "check.expect_almost_eq_const" => {
                let given = op.attr("tolerance").and_then(Attr::float);
                Expect::AlmostEqual {
                    tolerance: given.unwrap_or(tolerance),
                }
            }
            _ => return None,
        })
    }

    /// A constant: a literal, a broadcast literal, or an array.
    fn constant(&self, d: &Dense) -> Result<Array> {
        let x = Array::from_buffer(Ok(d.elements.clone()));
        if !d.is_splat() {
            return Ok(x);
        }
        let op = BroadcastInDim {
            shape: d.aval.shape.clone(),
            broadcast_dimensions: Dims::new(),
        };
        apply(op, &[&x])
    }

    /// What an operation gives.
    fn operation(&mut self, op: &'m Operation<'t>, operands: Vec<Value>) -> Result<Vec<Value>> {
        if let Some(other) = op.out_types.iter().find(|t| matches!(t, Type::Other(_))) {
            return Err(self.unknown_type(op.at, other));
        }
        if let Some(values) = self.structural(op, &operands)? {
            return Ok(values);
        }
        let arrays = operands
            .into_iter()
            .map(|v| match v {
                Value::Array(a) => Ok(a),
                _ => Err(Error::unsupported(format!(
                    "`{}` of what is no array",
                    op.name
                ))),
            })
            .collect::<Result<Vec<Array>>>()?;
        let given = Given { op, x: &arrays };
        let results = match self.with_regions(&given)? {
            Some(results) => results,
            None => given.plain()?,
        };
        for y in &results {
            y.ok()?;
        }
        if let ("iota", [y]) = (given.name(), &results[..]) {
            let axis = given.number(&["dim", "iota_dimension"])?;
            self.iotas.insert(y.identity(), axis);
        }
        Ok(results.into_iter().map(Value::Array).collect())
    }

    /// Calls, constants, tuples, expectations: what is not only arrays.
    fn structural(&mut self, op: &'m Operation<'t>, x: &[Value]) -> Result<Option<Vec<Value>>> {
        let symbol = |name: &str| {
            op.attr(name)
                .or_else(|| op.attr("symbol"))
                .and_then(Attr::word)
                .ok_or_else(|| Error::format(format!("`{}` without `{name}`", op.name)))
        };
        Ok(Some(match op.name {
            "func.call" => self.call(op.at, symbol("callee")?, x.to_vec())?,
            "stablehlo.composite" => {
                let name = op.attr("decomposition").and_then(Attr::word);
                let name = name.ok_or_else(|| {
                    Error::format("`stablehlo.composite` without `decomposition`")
                })?;
                self.call(op.at, name, x.to_vec())?
            }
            "stablehlo.constant" | "chlo.constant" | "mhlo.constant" => match op.attr("value") {
                Some(Attr::Dense(d)) => vec![Value::Array(self.constant(d)?)],
                Some(Attr::Type(t)) => return Err(self.unknown_type(op.at, t)),
                _ => return Err(Error::format("a constant without elements")),
            },
            "stablehlo.tuple" => vec![Value::Tuple(x.to_vec())],
            "stablehlo.get_tuple_element" => {
                let index = op.attr("index").and_then(Attr::int);
                let index = index.or_else(|| op.attr("ranges")?.ints()?.first().copied());
                let part = match (x, index) {
                    ([Value::Tuple(all)], Some(i)) => {
                        usize::try_from(i).ok().and_then(|i| all.get(i).cloned())
                    }
                    _ => None,
                };
                vec![part.ok_or_else(|| Error::format("the tuple has no such element"))?]
            }
            "stablehlo.optimization_barrier" => x.to_vec(),
            "stablehlo.after_all" | "stablehlo.create_token" => vec![Value::Token],
            "stablehlo.custom_call" => {
                let target = symbol("call_target_name")?;
                let ([Value::Array(a), Value::Array(b)], Some(expect)) =
                    (x, Self::expectation(op, target, 3, 1e-3))
                else {
                    return Ok(None);
                };
                self.expect(op, expect, a, b);
                vec![]
            }
            name if name.starts_with("check.") => {
                let actual = match x.first() {
                    Some(Value::Array(a)) => a.clone(),
                    _ => return Err(Error::format(format!("`{name}` takes arrays"))),
                };
                let expected = match (x.get(1), op.attr("value")) {
                    (Some(Value::Array(a)), _) => a.clone(),
                    (None, Some(Attr::Dense(d))) => self.constant(d)?,
                    _ => return Err(Error::format(format!("`{name}` without what is expected"))),
                };
                let Some(expect) = Self::expectation(op, name, 1, 1e-4) else {
                    return Ok(None);
                };
                self.expect(op, expect, &actual, &expected);
                vec![]
            }
            _ => return Ok(None),
        }))
    }
}
