//! Functions with their own derivatives, applied to values: function and rules are both interpreted again.
//!
//! A rule is written for the array that a value equals. So the tangent that it sees is the derivative of that array along the
//! tangents of the components, and the cotangent that it gives is pulled back to the components through the value's definition.
//!
//! Of a type that wraps an array and says something of it, the tangent is a value of the same kind, and so is the cotangent
//! ([`ArrayValue::is_own_tangent`](super::ArrayValue::is_own_tangent)). The rules then work on such values as on arrays, by the
//! types' rules, and give such values. A rule that cannot, since it is about numbers alone, leaves the function without a derivative.

use super::{
    programs::{Inside, Restaged, apart, avals, kind, together},
    resolve::definition_for,
    rules::Results,
};
use crate::{
    array::{Array, Aval, DynValue},
    error::{Error, ErrorKind, Result},
    trace::{
        self, Jaxpr,
        op::{Binary, CustomJvp, CustomVjp, StopGradient, Tangent, inexact, one_program},
    },
    transform::{CustomVjpParts, close_together, jvp, transpose},
    tree::{self, Flat, Leaves, View},
};
use std::sync::Arc;

/// The results of a custom function are the arrays that they equal.
fn plain(inside: &Inside<'_>, x: Array) -> Result<Array> {
    if x.as_dyn_value().is_none() {
        return Ok(x);
    }
    let t = trace::current().ok_or_else(|| Error::internal("no trace is in progress"))?;
    definition_for(&t, &x, inside.op).map_err(|e| {
        e.note("a function with its own derivative gives the array that its result equals, since its rule is about that array")
    })
}

/// As [`plain`], but that what wraps an array keeps what it says of it.
fn wrapped(inside: &Inside<'_>, x: Array) -> Result<Array> {
    match x.as_dyn_value() {
        Some(v) if v.is_own_tangent_dyn() => {
            let made = parts(&x).into_iter().map(|x| wrapped(inside, x));
            Ok(made_of(&**v, made.collect::<Result<Vec<_>>>()?))
        }
        Some(_) => {
            let y = plain(inside, x)?;
            match y.as_dyn_value() {
                Some(v) if v.is_own_tangent_dyn() => wrapped(inside, y),
                _ => Ok(y),
            }
        }
        None => Ok(x),
    }
}

/// The value with other parts.
fn made_of(v: &dyn DynValue, parts: Vec<Array>) -> Array {
    let mut parts = parts.into_iter();
    let mut leaf = |_: &Array| {
        let missing = || Array::error(Error::internal("too few components"));
        parts.next().unwrap_or_else(missing)
    };
    Array::from_dyn_value(v.unflatten_dyn(&mut Leaves::new(View::Values, &mut leaf)))
}

/// A value as the tangent of another, or its cotangent: of these numbers, or of zeros, and of `like`'s components that are no numbers.
fn derivative_of(
    like: &Array,
    back: bool,
    numbers: Option<&mut dyn Iterator<Item = Array>>,
) -> Result<Array> {
    fn part(x: &Array, back: bool, numbers: &mut dyn FnMut(&Aval) -> Array) -> Result<Array> {
        // The derivative of what wraps no array is that of the array that it equals.
        let Some(v) = x.as_dyn_value().filter(|v| v.is_own_tangent_dyn()) else {
            let a = x.aval()?;
            return Ok(match a.dtype.is_inexact() {
                true => numbers(&a.strong()),
                false => x.clone(),
            });
        };
        let of = parts(x).into_iter().map(|x| part(&x, back, numbers));
        let of = of.collect::<Result<Vec<_>>>()?;
        let v = if back { v.cotangent_dyn() } else { v.clone() };
        Ok(made_of(&*v, of))
    }
    let zero = |a: &Aval| Array::symbolic_zero(a.clone());
    match numbers {
        Some(numbers) => part(like, back, &mut |a| {
            numbers.next().unwrap_or_else(|| zero(a))
        }),
        None => part(like, back, &mut |a| zero(a)),
    }
}

/// What a rule gave as a value of this kind, the derivative of another: names that it lacks, or another unit, follow from a sum.
fn as_kind(zero: Array, t: Array) -> Result<Option<Array>> {
    if t.is_symbolic_zero() {
        return Ok(Some(zero));
    }
    if kind(&t)? == kind(&zero)? {
        return Ok(Some(t));
    }
    // Of what an axis was taken from, names are settled by the next operation.
    let add = |x: &Array| trace::bind(Binary::Add, &[&zero, x]);
    match (add(&t).ok(), add(&zero).ok()) {
        (Ok(sum), Ok(settled)) if kind(sum)? == kind(settled)? => Ok(Some(sum.clone())),
        _ => Ok(None),
    }
}

/// The arrays and values that a value is directly made of.
fn parts(x: &Array) -> Vec<Array> {
    let mut all = vec![];
    if let Some(v) = x.as_dyn_value() {
        let mut push = |_: &str, c: &Array| all.push(c.clone());
        v.flatten_dyn(&mut Flat::new(View::Values, &mut push));
    }
    all
}

/// Is its tangent a value of its kind?
fn wraps(x: &Array) -> bool {
    x.as_dyn_value().is_some_and(|v| v.is_own_tangent_dyn())
}

/// Why a rule that ran is none.
const ANOTHER_KIND: &str =
    "what its rule gives is of another kind than the operands and the results";

/// Why a rule that failed is none.
fn why(e: &Error) -> Arc<str> {
    format!("its rule fails: {e}").into()
}

/// The rules of a function with its own reverse derivative.
struct ReverseRules {
    forward: Jaxpr,
    backward: Jaxpr,
    /// The components of the operands that have no cotangent.
    constant: Vec<bool>,
}

/// An operand of a forward rule.
struct Primal {
    /// What an own tangent is made of, if the operand has one.
    parts: Option<Vec<Primal>>,
    like: Array,
    operand: Operand,
}

impl Primal {
    fn new(inside: &Inside<'_>, x: &Array) -> Result<Primal> {
        let own = x.as_dyn_value().is_some_and(|v| v.is_own_tangent_dyn());
        let parts = match own {
            true => Some(
                parts(x)
                    .iter()
                    .map(|x| Primal::new(inside, x))
                    .collect::<Result<_>>()?,
            ),
            false => None,
        };
        let operand = match own {
            true => Operand {
                definition: None,
                inexact: inexact(&avals(&apart(std::slice::from_ref(x)))?),
                differentiable: x.aval()?.dtype.is_inexact(),
            },
            false => Operand::new(inside, x)?,
        };
        Ok(Primal {
            parts,
            like: x.clone(),
            operand,
        })
    }

    /// Its tangent, of its components and theirs.
    fn tangent(&self, components: &[Array], tangents: Vec<Tangent>) -> Result<Tangent> {
        let Some(parts) = &self.parts else {
            return self.operand.tangent(components, tangents);
        };
        if tangents.iter().all(Option::is_none) {
            return Ok(None);
        }
        let (mut components, mut tangents) = (components.iter().cloned(), tangents.into_iter());
        let mut made = vec![];
        for part in parts {
            let n = part.operand.inexact.len();
            let of_part = next(&mut components, n);
            let t = part.tangent(&of_part, tangents.by_ref().take(n).collect())?;
            made.push(match t {
                Some(t) => t,
                None if part.operand.differentiable => {
                    Array::symbolic_zero(part.like.aval()?.strong())
                }
                None => together(std::slice::from_ref(&part.like), of_part)
                    .pop()
                    .ok_or_else(|| Error::internal("a component is missing"))?,
            });
        }
        let v = self.like.as_dyn_value();
        let v = v.ok_or_else(|| Error::internal("a tangent of no value"))?;
        Ok(Some(made_of(&**v, made)))
    }

    /// The cotangents of its inexact components, for its own, which is a value of its kind if `wrapped` says so; `None` if it is of
    /// another.
    fn pull_back(
        &self,
        inside: &Inside<'_>,
        components: &[Array],
        ct: Array,
        wrapped: bool,
    ) -> Result<Option<Vec<Tangent>>> {
        let flags = &self.operand.inexact;
        if ct.is_symbolic_zero() {
            return Ok(Some(flags.iter().filter(|f| **f).map(|_| None).collect()));
        }
        let Some(parts) = &self.parts else {
            let ct = match ct.as_dyn_value() {
                Some(v) if v.is_own_tangent_dyn() => v.as_cotangent_dyn()?,
                _ => ct,
            };
            return self
                .operand
                .pull_back(components, plain(inside, ct)?)
                .map(Some);
        };
        if !wrapped {
            return Ok(match ct.as_dyn_value() {
                None if flags.iter().filter(|f| **f).count() == 1 => Some(vec![Some(ct)]),
                _ => None,
            });
        }
        let mine = together(std::slice::from_ref(&self.like), components.to_vec());
        let mine = mine
            .first()
            .ok_or_else(|| Error::internal("a value is missing"))?;
        let Some(ct) = as_kind(derivative_of(mine, true, None)?, ct)? else {
            return Ok(None);
        };
        let mut components = components.iter().cloned();
        let mut all = vec![];
        for (part, ct) in parts.iter().zip(self::parts(&ct)) {
            let n = part.operand.inexact.len();
            let of_part = next(&mut components, n);
            if !part.operand.differentiable {
                all.extend(part.operand.inexact.iter().filter(|f| **f).map(|_| None));
                continue;
            }
            match part.pull_back(inside, &of_part, ct, wrapped)? {
                Some(cts) => all.extend(cts),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }
}

/// The tangents of a result's components; `None` if the result's tangent is of another kind than the result.
fn of_components(inside: &Inside<'_>, y: &Array, t: Array) -> Result<Option<Vec<Array>>> {
    let components = apart(std::slice::from_ref(y));
    let flags = inexact(&avals(&components)?);
    if t.is_symbolic_zero() {
        let zeros = components.iter().zip(flags).filter(|(_, f)| *f);
        let zero = |(x, _): (&Array, bool)| Ok(Array::symbolic_zero(x.aval()?.strong()));
        return Ok(Some(zeros.map(zero).collect::<Result<_>>()?));
    }
    if y.as_dyn_value().is_none() {
        return Ok(Some(vec![plain(inside, t)?]));
    }
    let Some(t) = as_kind(derivative_of(y, false, None)?, t)? else {
        return Ok(None);
    };
    let of_t = apart(std::slice::from_ref(&t)).into_iter().zip(flags);
    Ok(Some(of_t.filter(|(_, f)| *f).map(|(t, _)| t).collect()))
}

/// Whether an operand is a value, what it equals as a program of its components, and how many these are.
struct Operand {
    definition: Option<Jaxpr>,
    inexact: Vec<bool>,
    /// Has the array that it equals a derivative?
    differentiable: bool,
}

impl Operand {
    fn new(inside: &Inside<'_>, x: &Array) -> Result<Operand> {
        let components = avals(&apart(std::slice::from_ref(x)))?;
        let definition = match x.as_dyn_value() {
            None => None,
            Some(_) => Some(inside.stage(&components, &mut |c| {
                let x = together(std::slice::from_ref(x), c).pop();
                let x = x.ok_or_else(|| Error::internal("a value is missing"))?;
                Ok(vec![plain(inside, x)?])
            })?),
        };
        Ok(Operand {
            definition,
            inexact: inexact(&components),
            differentiable: x.aval()?.dtype.is_inexact(),
        })
    }

    /// The tangent of what it equals.
    fn tangent(&self, components: &[Array], tangents: Vec<Tangent>) -> Result<Tangent> {
        match &self.definition {
            None => Ok(tangents.into_iter().next().flatten()),
            Some(j) => {
                if tangents.iter().all(Option::is_none) {
                    return Ok(None);
                }
                let (_, t) = jvp::eval_jvp(j, components.to_vec(), tangents)?;
                Ok(t.into_iter().next().flatten())
            }
        }
    }

    /// The cotangents of its inexact components, for that of what it equals; `None` for zeros.
    fn pull_back(&self, components: &[Array], ct: Array) -> Result<Vec<Tangent>> {
        let Some(j) = &self.definition else {
            return Ok(vec![Some(ct)]);
        };
        let (program, nonzero) = jvp::jvp(j, &self.inexact, None)?;
        if nonzero.first() != Some(&true) {
            return Ok(self.inexact.iter().filter(|f| **f).map(|_| None).collect());
        }
        let inputs = program.invars().len();
        let linear: Vec<bool> = (0..inputs).map(|i| i >= components.len()).collect();
        let (program, nonzero) = transpose::transpose(&program, &linear, &[false, true])?;
        let mut results = program
            .eval(&[components, std::slice::from_ref(&ct)].concat())?
            .into_iter();
        let given = nonzero
            .into_iter()
            .map(|n| if n { results.next() } else { None });
        Ok(given.collect())
    }
}

/// The next `n` of a list.
fn next(x: &mut dyn Iterator<Item = Array>, n: usize) -> Vec<Array> {
    x.take(n).collect()
}

fn tangent_avals(components: &[Aval]) -> Vec<Aval> {
    let all = components.iter().zip(inexact(components));
    all.filter(|(_, f)| *f).map(|(a, _)| a.strong()).collect()
}

/// Is it what a type's rules say of its values?
fn is_about_types(e: &Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::Refused | ErrorKind::Argument | ErrorKind::Unsupported
    )
}

impl Inside<'_> {
    /// The function on values, with plain results, or results that wrap plain arrays if operands do; `None` if there are none, since a
    /// result's type refuses the array that it equals. Then the function is what its body does by the types' rules, and its derivative
    /// that of the body: a rule about plain arrays says nothing of such a result.
    fn call(&self, program: &Jaxpr, args: &[Array], wraps: bool) -> Result<Option<Restaged>> {
        let mut outs = vec![];
        let staged = self.stage(&avals(&apart(args))?, &mut |x| {
            let y = program.eval(&together(args, x))?.into_iter();
            let end = if wraps { wrapped } else { plain };
            outs = y.map(|y| end(self, y)).collect::<Result<Vec<_>>>()?;
            Ok(apart(&outs))
        });
        match staged {
            Ok(program) => Ok(Some(Restaged { program, outs })),
            Err(e) if e.kind() == ErrorKind::Refused => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn custom_jvp(&self, p: &CustomJvp, args: &[Array]) -> Result<Results> {
        let wraps = args.iter().any(wraps);
        let Some(call) = self.call(&p.call_jaxpr, args, wraps)? else {
            return Ok(p.call_jaxpr.eval(args)?.into());
        };
        if p.rule_is_unknown() {
            return self.without_forward_rule(p, args, call, p.no_rule.clone());
        }
        let why = match self.forward_rule(p, args, &call) {
            Ok(Some(rule)) => return self.with_forward_rule(p, args, call, rule),
            Ok(None) => ANOTHER_KIND.into(),
            Err(e) if wraps && is_about_types(&e) => why(&e),
            Err(e) => return Err(e),
        };
        self.without_forward_rule(p, args, call, Some(why))
    }

    fn with_forward_rule(
        &self,
        p: &CustomJvp,
        args: &[Array],
        call: Restaged,
        rule: Jaxpr,
    ) -> Result<Results> {
        let (programs, captured) = close_together(vec![call.program, rule])?;
        let Ok([call_jaxpr, rule]) = <[_; 2]>::try_from(programs) else {
            return Err(Error::internal("a program is missing"));
        };
        let consts = args.get(..p.num_consts).unwrap_or(args);
        let op = CustomJvp {
            call_jaxpr,
            rule,
            num_consts: captured.len() + apart(consts).len(),
            ..p.clone()
        };
        self.record(op.into(), &[captured, apart(args)].concat(), &call.outs)
    }

    /// The function alone: it has no derivative.
    fn without_forward_rule(
        &self,
        p: &CustomJvp,
        args: &[Array],
        call: Restaged,
        why: Option<Arc<str>>,
    ) -> Result<Results> {
        let (programs, captured) = close_together(vec![call.program])?;
        let consts = args.get(..p.num_consts).unwrap_or(args);
        let op = CustomJvp {
            call_jaxpr: one_program("custom_jvp_call", programs)?,
            rule: Jaxpr::default().into(),
            num_consts: captured.len() + apart(consts).len(),
            no_rule: why,
            ..p.clone()
        };
        self.record(op.into(), &[captured, apart(args)].concat(), &call.outs)
    }

    /// The rule, as a program of components and their tangents; `None` if what it gives is of another kind than what the function gives.
    fn forward_rule(
        &self,
        p: &CustomJvp,
        args: &[Array],
        call: &Restaged,
    ) -> Result<Option<Jaxpr>> {
        let (consts, x) = args.split_at(p.num_consts.min(args.len()));
        let operands = x
            .iter()
            .map(|x| Primal::new(self, x))
            .collect::<Result<Vec<_>>>()?;
        let components = avals(&apart(args))?;
        let of_consts = apart(consts).len();
        let mut inputs = components.clone();
        inputs.extend(tangent_avals(
            components.get(of_consts..).unwrap_or_default(),
        ));
        let kinds = call.outs.iter().map(kind).collect::<Result<Vec<_>>>()?;
        let mut fits = true;
        let rule = self.stage(&inputs, &mut |mut all| {
            let mut given = all.split_off(components.len()).into_iter();
            let mut operand = all.iter().skip(of_consts).cloned();
            let mut tangents = vec![];
            for (o, x) in operands.iter().zip(x) {
                let c = next(&mut operand, o.operand.inexact.len());
                let t = (o.operand.inexact.iter())
                    .map(|f| if *f { given.next() } else { None })
                    .collect();
                let t = o.tangent(&c, t)?;
                if o.operand.differentiable {
                    tangents.push(match t {
                        Some(t) => t,
                        None => Array::symbolic_zero(x.aval()?.strong()),
                    });
                }
            }
            let values = together(args, all);
            let mut results = p.rule.eval(&[values, tangents].concat())?;
            let mut given = results
                .split_off(call.outs.len().min(results.len()))
                .into_iter();
            let mut primals = vec![];
            let mut of_results = vec![];
            for ((y, out), wanted) in results.into_iter().zip(&call.outs).zip(&kinds) {
                let y = match out.as_dyn_value() {
                    Some(_) => y,
                    None => plain(self, y)?,
                };
                fits &= kind(&y)? == *wanted;
                let t = match out.aval()?.dtype.is_inexact() {
                    true => given.next(),
                    false => None,
                };
                let zero = || Ok::<_, Error>(Array::symbolic_zero(out.aval()?.strong()));
                let t = t.map_or_else(zero, Ok)?;
                match of_components(self, &y, t)? {
                    Some(t) => of_results.extend(t),
                    None => fits = false,
                }
                primals.push(y);
            }
            let mut all = apart(&primals);
            all.extend(of_results);
            Ok(all)
        })?;
        Ok(fits.then_some(rule))
    }

    pub(super) fn custom_vjp(&self, p: &CustomVjp, args: &[Array]) -> Result<Results> {
        let wraps = args.iter().any(wraps);
        let Some(call) = self.call(&p.call_jaxpr, args, wraps)? else {
            return Ok(p.call_jaxpr.eval(args)?.into());
        };
        if p.rule_is_unknown() {
            return self.without_reverse_rule(p, args, call, p.no_rule.clone());
        }
        // Cotangents are values of the operands' and results' kinds; where a rule is about numbers alone, as one that clips them is, they
        // are numbers, if all are of the same kind.
        let mut reason: Option<Arc<str>> = None;
        for wrapped in [true, false] {
            if !wrapped && !self.is_of_one_kind(p, args, &call.outs)? {
                continue;
            }
            match self.reverse_rule(p, args, &call, wrapped) {
                Ok(Some(rules)) => return self.with_reverse_rule(p, args, call, rules),
                Ok(None) => reason = reason.or_else(|| Some(ANOTHER_KIND.into())),
                Err(e) if wraps && is_about_types(&e) => reason = reason.or_else(|| Some(why(&e))),
                Err(e) => return Err(e),
            }
        }
        self.without_reverse_rule(p, args, call, reason)
    }

    fn without_reverse_rule(
        &self,
        p: &CustomVjp,
        args: &[Array],
        call: Restaged,
        why: Option<Arc<str>>,
    ) -> Result<Results> {
        let (programs, captured) = close_together(vec![call.program])?;
        let consts = args.get(..p.num_consts).unwrap_or(args);
        let op = CustomVjp {
            call_jaxpr: one_program("custom_vjp_call", programs)?,
            fwd: Jaxpr::default().into(),
            bwd: Jaxpr::default().into(),
            num_consts: captured.len() + apart(consts).len(),
            no_rule: why,
            ..p.clone()
        };
        self.record(op.into(), &[captured, apart(args)].concat(), &call.outs)
    }

    /// Are the wrapped operands that have derivatives all of the kind of the only result, but for their shapes?
    fn is_of_one_kind(&self, p: &CustomVjp, args: &[Array], outs: &[Array]) -> Result<bool> {
        let [y] = outs else {
            return Ok(false);
        };
        let numbers = apart(outs)
            .iter()
            .filter(|x| x.dtype().is_ok_and(|d| d.is_inexact()))
            .count();
        let wanted = kind(y)?.0;
        let mut x = args.iter().skip(p.num_consts).filter(|x| wraps(x));
        Ok(wraps(y) && numbers == 1 && x.all(|x| kind(x).is_ok_and(|k| k.0 == wanted)))
    }

    fn with_reverse_rule(
        &self,
        p: &CustomVjp,
        args: &[Array],
        call: Restaged,
        rules: ReverseRules,
    ) -> Result<Results> {
        let of_consts = apart(args.get(..p.num_consts).unwrap_or(args)).len();
        let parts = CustomVjpParts {
            call: call.program,
            forward: rules.forward,
            backward: rules.backward,
        };
        let names = [p.name.clone(), p.fwd_name.clone(), p.bwd_name.clone()];
        let (mut op, captured) = parts.close(names)?;
        op.num_consts += of_consts;
        let mut operands = captured;
        for (c, constant) in apart(args).into_iter().zip(rules.constant) {
            operands.push(if constant && c.dtype()?.is_inexact() {
                trace::bind(StopGradient, &[&c])
            } else {
                c
            });
        }
        self.record(op.into(), &operands, &call.outs)
    }

    /// The rules, as programs of components; `None` if what they give is of another kind than the operands or the results.
    fn reverse_rule(
        &self,
        p: &CustomVjp,
        args: &[Array],
        call: &Restaged,
        wrapped_cts: bool,
    ) -> Result<Option<ReverseRules>> {
        let (consts, x) = args.split_at(p.num_consts.min(args.len()));
        let outs = &call.outs;
        let operands = x
            .iter()
            .map(|x| Primal::new(self, x))
            .collect::<Result<Vec<_>>>()?;
        let kinds = outs.iter().map(kind).collect::<Result<Vec<_>>>()?;
        let mut fits = true;
        // The residuals are those of the rule, the components that cotangents are pulled back to, and what the results are made of beside
        // numbers.
        let mut residuals = vec![];
        let components = avals(&apart(args))?;
        let of_consts = apart(consts).len();
        let of_outs = avals(&apart(outs))?;
        let fixed: Vec<Aval> = of_outs
            .iter()
            .filter(|a| !a.dtype.is_inexact())
            .cloned()
            .collect();
        let forward = self.stage(&components, &mut |c| {
            let mut results = p.fwd.eval(&together(args, c.clone()))?;
            residuals = results.split_off(outs.len().min(results.len()));
            let mut all = vec![];
            for ((y, out), wanted) in results.into_iter().zip(outs).zip(&kinds) {
                let y = if wraps(out) {
                    wrapped(self, y)?
                } else {
                    plain(self, y)?
                };
                fits &= kind(&y)? == *wanted;
                all.extend(apart(std::slice::from_ref(&y)));
            }
            let mut beside = vec![];
            for x in &all {
                if !x.dtype()?.is_inexact() {
                    beside.push(x.clone());
                }
            }
            all.extend(apart(&residuals));
            all.extend(c.into_iter().skip(of_consts));
            all.extend(beside);
            Ok(all)
        })?;
        if !fits {
            return Ok(None);
        }
        let mut inputs = avals(&apart(&residuals))?;
        let of_residuals = inputs.len();
        let of_operands = components.get(of_consts..).unwrap_or_default();
        inputs.extend(of_operands.iter().cloned());
        inputs.extend(fixed.iter().cloned());
        inputs.extend(tangent_avals(&of_outs));
        // Components that the definition gives no cotangent, such as a frozen weight, are constants of the function.
        let mut constant: Vec<bool> = vec![];
        let backward = self.stage(&inputs, &mut |mut all| {
            constant = vec![false; of_consts];
            let mut numbers = all
                .split_off(of_residuals + of_operands.len() + fixed.len())
                .into_iter();
            let mut beside = all.split_off(of_residuals + of_operands.len()).into_iter();
            let mut operand = all.split_off(of_residuals).into_iter();
            let mut cts = vec![];
            for y in outs {
                if !y.dtype()?.is_inexact() {
                    next(&mut beside, apart(std::slice::from_ref(y)).len());
                    continue;
                }
                cts.push(match wrapped_cts {
                    true => {
                        // The result's own components are those of another trace.
                        let mine = tree::map(y, |x| match x.dtype() {
                            Ok(d) if !d.is_inexact() => beside.next().unwrap_or_else(|| x.clone()),
                            _ => x.clone(),
                        });
                        derivative_of(&mine, true, Some(&mut numbers))?
                    }
                    false => numbers
                        .next()
                        .ok_or_else(|| Error::internal("a cotangent is missing"))?,
                });
            }
            let given = p.bwd.eval(&[together(&residuals, all), cts].concat())?;
            let mut given = given.into_iter();
            let mut results = vec![];
            for o in &operands {
                let flags = &o.operand.inexact;
                let c = next(&mut operand, flags.len());
                let ct = if o.operand.differentiable {
                    given.next()
                } else {
                    None
                };
                let pulled = match ct {
                    Some(ct) => o.pull_back(self, &c, ct, wrapped_cts)?,
                    None => Some(vec![]),
                };
                fits &= pulled.is_some();
                let mut pulled = pulled.unwrap_or_default().into_iter();
                for (c, inexact) in c.iter().zip(flags) {
                    let ct = if *inexact {
                        pulled.next().flatten()
                    } else {
                        None
                    };
                    constant.push(ct.is_none());
                    if *inexact {
                        let zero = Array::symbolic_zero(c.aval()?.strong());
                        results.push(ct.unwrap_or(zero));
                    }
                }
            }
            Ok(results)
        })?;
        Ok(fits.then_some(ReverseRules {
            forward,
            backward,
            constant,
        }))
    }
}
