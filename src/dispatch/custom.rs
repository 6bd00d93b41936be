//! Functions with their own derivatives, applied to values: function and rules are both interpreted again.
//!
//! A rule is written for the array that a value equals. So the tangent that it sees is the derivative of that array along the
//! tangents of the components, and the cotangent that it gives is pulled back to the components through the value's definition.
//!
//! Of a type that wraps an array and says something of it, the tangent is a value of the same kind
//! ([`ArrayValue::is_own_tangent`](super::ArrayValue::is_own_tangent)). The forward rule then works on such values as on arrays, by the
//! types' rules, and gives such values.

use super::{
    programs::{Inside, Restaged, apart, avals, kind, together},
    resolve::definition_for,
    rules::Results,
};
use crate::{
    array::{Array, Aval},
    error::{Error, ErrorKind, Result},
    trace::{
        self, Jaxpr,
        op::{CustomJvp, CustomVjp, StopGradient, Tangent, inexact, one_program},
    },
    transform::{CustomVjpParts, close_together, jvp, transpose},
    tree::{Flat, Leaves, View},
};

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

/// The arrays and values that a value is directly made of.
fn parts(x: &Array) -> Vec<Array> {
    let mut all = vec![];
    if let Some(v) = x.as_dyn_value() {
        let mut push = |_: &str, c: &Array| all.push(c.clone());
        v.flatten_dyn(&mut Flat::new(View::Values, &mut push));
    }
    all
}

/// Is its tangent a value of its kind, whatever it is made of?
fn is_own_tangent(x: &Array) -> bool {
    match x.as_dyn_value() {
        None => true,
        Some(v) => v.is_own_tangent_dyn() && parts(x).iter().all(is_own_tangent),
    }
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
        let mut made = made.into_iter();
        let mut leaf = |_: &Array| {
            made.next()
                .unwrap_or_else(|| Array::error(Error::internal("too few components")))
        };
        let t = v.unflatten_dyn(&mut Leaves::new(View::Values, &mut leaf));
        Ok(Some(Array::from_dyn_value(t)))
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
    if t.as_dyn_value().is_none() || kind(&t)? != kind(y)? {
        return Ok(None);
    }
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
    /// The function on values, with plain results; `None` if there are none, since a result's type refuses the array that it equals.
    /// Then the function is what its body does by the types' rules, and its derivative that of the body: a rule about plain arrays
    /// says nothing of such a result.
    fn plain_call(&self, program: &Jaxpr, args: &[Array]) -> Result<Option<Restaged>> {
        match self.restage(program, args, &vec![true; program.outs().len()]) {
            Ok(call) => Ok(Some(call)),
            Err(e) if e.kind() == ErrorKind::Refused => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn custom_jvp(&self, p: &CustomJvp, args: &[Array]) -> Result<Results> {
        let (consts, x) = args.split_at(p.num_consts.min(args.len()));
        if x.iter()
            .any(|x| x.as_dyn_value().is_some_and(|v| v.is_own_tangent_dyn()))
        {
            let call = self.restage(&p.call_jaxpr, args, &[])?;
            if call.outs.iter().all(is_own_tangent) {
                return match self.with_forward_rule(p, consts, x, call) {
                    Ok(Some(results)) => Ok(results),
                    Err(e) if !is_about_types(&e) => Err(e),
                    // The rule says nothing of such values: the function's derivative is that of what it does.
                    _ => Ok(p.call_jaxpr.eval(args)?.into()),
                };
            }
        }
        let Some(call) = self.plain_call(&p.call_jaxpr, args)? else {
            return Ok(p.call_jaxpr.eval(args)?.into());
        };
        match self.with_forward_rule(p, consts, x, call)? {
            Some(results) => Ok(results),
            None => Err(Error::internal(
                "a plain result has a tangent that is a value",
            )),
        }
    }

    /// The function and its rule, around the components of the operands and the results; `None` if what the rule gives is of another kind
    /// than what the function gives.
    fn with_forward_rule(
        &self,
        p: &CustomJvp,
        consts: &[Array],
        x: &[Array],
        call: Restaged,
    ) -> Result<Option<Results>> {
        let args = [consts, x].concat();
        let operands = x
            .iter()
            .map(|x| Primal::new(self, x))
            .collect::<Result<Vec<_>>>()?;
        let components = avals(&apart(&args))?;
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
            let values = together(&args, all);
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
        if !fits {
            return Ok(None);
        }
        let (programs, captured) = close_together(vec![call.program, rule])?;
        let Ok([call_jaxpr, rule]) = <[_; 2]>::try_from(programs) else {
            return Err(Error::internal("a program is missing"));
        };
        let op = CustomJvp {
            call_jaxpr,
            rule,
            num_consts: captured.len() + of_consts,
            ..p.clone()
        };
        let operands = [captured, apart(&args)].concat();
        self.record(op.into(), &operands, &call.outs).map(Some)
    }

    pub(super) fn custom_vjp(&self, p: &CustomVjp, args: &[Array]) -> Result<Results> {
        let (consts, x) = args.split_at(p.num_consts.min(args.len()));
        let outs = p.call_jaxpr.out_avals();
        let Some(call) = self.plain_call(&p.call_jaxpr, args)? else {
            return Ok(p.call_jaxpr.eval(args)?.into());
        };
        if p.rule_is_unknown() {
            let (programs, captured) = close_together(vec![call.program])?;
            let op = CustomVjp {
                call_jaxpr: one_program("custom_vjp_call", programs)?,
                num_consts: captured.len() + apart(consts).len(),
                ..p.clone()
            };
            return self.record(op.into(), &[captured, apart(args)].concat(), &call.outs);
        }
        let operands = x
            .iter()
            .map(|x| Operand::new(self, x))
            .collect::<Result<Vec<_>>>()?;
        // The residuals are those of the rule, and the components that cotangents are pulled back to.
        let mut residuals = vec![];
        let components = avals(&apart(args))?;
        let of_consts = apart(consts).len();
        let forward = self.stage(&components, &mut |c| {
            let mut results = p.fwd.eval(&together(args, c.clone()))?;
            residuals = results.split_off(outs.len().min(results.len()));
            let mut all = results
                .into_iter()
                .map(|y| plain(self, y))
                .collect::<Result<Vec<_>>>()?;
            all.extend(apart(&residuals));
            all.extend(c.into_iter().skip(of_consts));
            Ok(all)
        })?;
        let mut inputs = avals(&apart(&residuals))?;
        let of_residuals = inputs.len();
        let of_operands = components.get(of_consts..).unwrap_or_default();
        inputs.extend(of_operands.iter().cloned());
        inputs.extend(tangent_avals(&outs));
        // Components that the definition gives no cotangent, such as a frozen weight, are constants of the function.
        let mut constant: Vec<bool> = vec![];
        let backward = self.stage(&inputs, &mut |mut all| {
            constant = vec![false; of_consts];
            let cts = all.split_off(of_residuals + of_operands.len());
            let mut operand = all.split_off(of_residuals).into_iter();
            let given = p.bwd.eval(&[together(&residuals, all), cts].concat())?;
            let mut given = given.into_iter();
            let mut results = vec![];
            for o in &operands {
                let c = next(&mut operand, o.inexact.len());
                let ct = if o.differentiable { given.next() } else { None };
                let mut pulled = match ct {
                    Some(ct) => o.pull_back(&c, plain(self, ct)?)?.into_iter(),
                    None => vec![].into_iter(),
                };
                for (c, inexact) in c.iter().zip(&o.inexact) {
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
        let parts = CustomVjpParts {
            call: call.program,
            forward,
            backward,
        };
        let names = [p.name.clone(), p.fwd_name.clone(), p.bwd_name.clone()];
        let (mut op, captured) = parts.close(names)?;
        op.num_consts += of_consts;
        let mut operands = captured;
        for (c, constant) in apart(args).into_iter().zip(constant) {
            operands.push(if constant && c.dtype()?.is_inexact() {
                trace::bind(StopGradient, &[&c])
            } else {
                c
            });
        }
        self.record(op.into(), &operands, &call.outs)
    }
}
