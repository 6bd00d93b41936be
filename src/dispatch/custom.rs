//! Functions with their own derivatives, applied to values: function and rules are both interpreted again.
//!
//! A rule is written for the array that a value equals. So the tangent that it sees is the derivative of that array along the
//! tangents of the components, and the cotangent that it gives is pulled back to the components through the value's definition.

use super::{
    programs::{Inside, Restaged, apart, avals, together},
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
        let Some(call) = self.plain_call(&p.call_jaxpr, args)? else {
            return Ok(p.call_jaxpr.eval(args)?.into());
        };
        if p.rule_is_unknown() {
            let (programs, captured) = close_together(vec![call.program])?;
            let op = CustomJvp {
                call_jaxpr: one_program("custom_jvp_call", programs)?,
                num_consts: captured.len() + apart(consts).len(),
                ..p.clone()
            };
            return self.record(op.into(), &[captured, apart(args)].concat(), &call.outs);
        }
        let operands = x
            .iter()
            .map(|x| Operand::new(self, x))
            .collect::<Result<Vec<_>>>()?;
        let components = avals(&apart(args))?;
        let of_consts = apart(consts).len();
        let mut inputs = components.clone();
        inputs.extend(tangent_avals(
            components.get(of_consts..).unwrap_or_default(),
        ));
        let rule = self.stage(&inputs, &mut |mut all| {
            let mut given = all.split_off(components.len()).into_iter();
            let mut operand = all.iter().skip(of_consts).cloned();
            let mut tangents = vec![];
            for (o, x) in operands.iter().zip(x) {
                let c = next(&mut operand, o.inexact.len());
                let t = o
                    .inexact
                    .iter()
                    .map(|f| if *f { given.next() } else { None })
                    .collect();
                let t = o.tangent(&c, t)?;
                if o.differentiable {
                    tangents.push(match t {
                        Some(t) => t,
                        None => Array::symbolic_zero(x.aval()?.strong()),
                    });
                }
            }
            let values = together(args, all);
            let results = p.rule.eval(&[values, tangents].concat())?;
            results.into_iter().map(|y| plain(self, y)).collect()
        })?;
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
        self.record(op.into(), &[captured, apart(args)].concat(), &call.outs)
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
