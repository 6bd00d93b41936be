//! Functions that bring their own derivatives: `custom_jvp_call`, `custom_vjp_call`.

use super::zero;
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{
        self, Program, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive,
            Pruned, Split, Tangent, batch_to_front, check_call, move_axis, not_linear,
        },
    },
    transform::batch,
};
use std::sync::Arc;

/// `custom_jvp_call`
pub const CUSTOM_JVP_CALL: Prim<CustomJvp> = Prim::new("custom_jvp_call");
/// `custom_vjp_call`
pub const CUSTOM_VJP_CALL: Prim<CustomVjp> = Prim::new("custom_vjp_call");

/// A function with its own forward derivative. Its first operands are what it captured.
#[derive(Clone, PartialEq, Debug)]
pub struct CustomJvp {
    /// The function's name.
    pub name: Arc<str>,
    /// What it does.
    pub call_jaxpr: Program,
    /// The rule's name.
    pub jvp: Arc<str>,
    /// The rule. It takes the operands, and the tangents of those that are inexact and not captured; it returns the results, and the
    /// tangents of those that are inexact.
    pub rule: Program,
    /// How many operands the function and the rule captured.
    pub num_consts: usize,
    /// Why there is no rule, where there is none.
    pub no_rule: Option<Arc<str>>,
}

/// Which of these have derivatives.
pub(crate) fn inexact<'a>(avals: impl IntoIterator<Item = &'a Aval>) -> Vec<bool> {
    avals.into_iter().map(|a| a.dtype.is_inexact()).collect()
}

fn pick<T: Clone>(x: &[T], flags: &[bool]) -> Vec<T> {
    let hit = |(x, f): (&T, &bool)| f.then(|| x.clone());
    x.iter().zip(flags).filter_map(hit).collect()
}

/// The tangents of the inexact operands that are not captured, with zeros as arrays. An error if a captured one has a tangent.
fn tangents(name: &str, consts: usize, x: &[Array], t: &[Tangent]) -> Result<Vec<Array>> {
    if t.iter().take(consts).any(Option::is_some) {
        return Err(Error::unsupported(format!(
            "`{name}`, which brings its own derivative, captured an array that is being differentiated"
        ))
        .note("give it to the function as an argument"));
    }
    let mut all = vec![];
    for (x, t) in x.iter().zip(t).skip(consts) {
        let aval = x.aval()?;
        if aval.dtype.is_inexact() {
            all.push(t.clone().unwrap_or_else(|| zero(&aval)));
        }
    }
    Ok(all)
}

/// A program that stands for a rule that nobody knows: it gives nothing. Programs that were read from their text have such rules, and
/// functions of values of which their rules say nothing.
fn is_unknown(rule: &Program, call: &Program) -> bool {
    rule.outs().is_empty() && !call.outs().is_empty()
}

/// The refusal to differentiate a function whose rule is not known.
fn no_rule(name: &str, why: Option<&str>) -> Error {
    if let Some(why) = why {
        return Error::unsupported(format!(
            "`{name}` brings its own derivative, which says nothing of these operands"
        ))
        .note(why);
    }
    Error::unsupported(format!(
        "`{name}` brings its own derivative, which is a function that the text of a program does not hold"
    ))
    .note("the program runs, and is batched; it is differentiated where it was traced")
}

/// The parameter that says how many operands are captured; JAX leaves it out where there are none.
fn captured(n: usize) -> Option<(&'static str, Param)> {
    (n > 0).then(|| ("num_consts", Param::text(n)))
}

impl CustomJvp {
    fn around(&self, call: Program, rule: Program) -> Op {
        CustomJvp {
            call_jaxpr: call,
            rule,
            ..self.clone()
        }
        .into()
    }
}

impl CustomJvp {
    /// Has it no rule, as a function that was read from a text?
    pub(crate) fn rule_is_unknown(&self) -> bool {
        is_unknown(&self.rule, &self.call_jaxpr)
    }
}

impl CustomVjp {
    /// Has it no rule, as a function that was read from a text?
    pub(crate) fn rule_is_unknown(&self) -> bool {
        is_unknown(&self.fwd, &self.call_jaxpr)
    }
}

impl Primitive for CustomJvp {
    fn name(&self) -> &'static str {
        "custom_jvp_call"
    }

    fn params(&self) -> Params {
        let mut all = vec![
            ("name", Param::text(&self.name)),
            ("call_jaxpr", Param::Program(self.call_jaxpr.clone())),
            ("jvp", Param::text(&self.jvp)),
        ];
        all.extend(captured(self.num_consts));
        all.push(("symbolic_zeros", Param::bool(false)));
        all
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        check_call("custom_jvp_call", &self.call_jaxpr, x)?;
        Ok(self.call_jaxpr.out_avals().into_iter().collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        if self.rule_is_unknown() {
            return Err(no_rule(&self.name, self.no_rule.as_deref()));
        }
        let mut args = x.to_vec();
        args.extend(tangents(&self.name, self.num_consts, x, t)?);
        let mut results = self.rule.eval(&args)?;
        let outs = self.call_jaxpr.out_avals();
        let mut given = results.split_off(outs.len().min(results.len())).into_iter();
        let tangents = inexact(&outs)
            .into_iter()
            .map(|f| if f { given.next() } else { None })
            .collect();
        Ok((results, tangents))
    }

    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear("custom_jvp_call"))
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        if self.rule_is_unknown() {
            let (call, dims) = batch::batch(&self.call_jaxpr, d, axis, None)?;
            let op = self.around(call.into(), self.rule.clone());
            return Ok((bind_all(op, x)?, dims));
        }
        let avals: Vec<Aval> = self.call_jaxpr.in_avals().cloned().collect();
        let c = self.num_consts.min(avals.len());
        let of_tangents = pick(
            d.get(c..).unwrap_or_default(),
            &inexact(avals.iter().skip(c)),
        );
        let rule_dims = [d, &of_tangents].concat();
        let outs = self.call_jaxpr.out_avals();
        let (_, dims) = batch::batch(&self.call_jaxpr, d, axis, None)?;
        let (_, of_rule) = batch::batch(&self.rule, &rule_dims, axis, None)?;
        // A result is batched if its tangent is.
        let mut of_tangents = of_rule.iter().skip(outs.len());
        let wanted: Vec<Option<usize>> = dims
            .iter()
            .zip(&of_rule)
            .zip(inexact(&outs))
            .map(|((a, b), f)| {
                let t = if f {
                    of_tangents.next().copied().flatten()
                } else {
                    None
                };
                a.or(*b).or(t).map(|_| 0)
            })
            .collect();
        let all = [&wanted[..], &pick(&wanted, &inexact(&outs))].concat();
        let (call, _) = batch::batch(&self.call_jaxpr, d, axis, Some(&wanted))?;
        let (rule, _) = batch::batch(&self.rule, &rule_dims, axis, Some(&all))?;
        Ok((bind_all(self.around(call.into(), rule.into()), x)?, wanted))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for CustomJvp {
    /// The rule is not among them: it does not run.
    fn programs(&self) -> Vec<&Program> {
        vec![&self.call_jaxpr]
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        let call = super::one_program("custom_jvp_call", programs)?;
        Ok(self.around(call, self.rule.clone()))
    }

    fn partial_eval(&self, _: &[bool], operands: &[&Aval]) -> Result<Split> {
        Split::nothing_known(self.clone().into(), operands)
    }

    fn prune(&self, _: &[bool]) -> Option<Pruned> {
        None
    }
}

/// A function with its own reverse derivative. Its first operands are what it and its rules captured.
#[derive(Clone, PartialEq, Debug)]
pub struct CustomVjp {
    /// The function's name.
    pub name: Arc<str>,
    /// What it does.
    pub call_jaxpr: Program,
    /// The name of the forward rule.
    pub fwd_name: Arc<str>,
    /// From the operands to the results and the residuals.
    pub fwd: Program,
    /// The name of the backward rule.
    pub bwd_name: Arc<str>,
    /// From the residuals and the cotangents of the inexact results to those of the inexact operands that are not captured.
    pub bwd: Program,
    /// How many operands are captured.
    pub num_consts: usize,
    /// Why there are no rules, where there are none.
    pub no_rule: Option<Arc<str>>,
}

impl Primitive for CustomVjp {
    fn name(&self) -> &'static str {
        "custom_vjp_call"
    }

    fn params(&self) -> Params {
        let mut all = vec![
            ("name", Param::text(&self.name)),
            ("bwd", Param::text(&self.bwd_name)),
            ("call_jaxpr", Param::Program(self.call_jaxpr.clone())),
            ("fwd", Param::text(&self.fwd_name)),
        ];
        all.extend(captured(self.num_consts));
        all.push(("symbolic_zeros", Param::bool(false)));
        all
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        check_call("custom_vjp_call", &self.call_jaxpr, x)?;
        Ok(self.call_jaxpr.out_avals().into_iter().collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        if self.rule_is_unknown() {
            return Err(no_rule(&self.name, self.no_rule.as_deref()));
        }
        let tangents = tangents(&self.name, self.num_consts, x, t)?;
        let outs = self.call_jaxpr.out_avals();
        let mut results = self.fwd.eval(x)?;
        let mut args = results.split_off(outs.len().min(results.len()));
        let linear = CustomLinear {
            name: self.name.clone(),
            bwd: self.bwd.clone(),
            num_res: args.len(),
            out_avals: pick(&outs, &inexact(&outs))
                .iter()
                .map(Aval::strong)
                .collect(),
        };
        args.extend(tangents);
        let mut given = bind_all(linear, &args)?.into_iter();
        let tangents = inexact(&outs)
            .into_iter()
            .map(|f| if f { given.next() } else { None })
            .collect();
        Ok((results, tangents))
    }

    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear("custom_vjp_call"))
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        if self.rule_is_unknown() {
            let (call, dims) = batch::batch(&self.call_jaxpr, d, axis, None)?;
            let op = CustomVjp {
                call_jaxpr: call.into(),
                ..self.clone()
            };
            return Ok((bind_all(op, x)?, dims));
        }
        let avals: Vec<Aval> = self.call_jaxpr.in_avals().cloned().collect();
        let c = self.num_consts.min(avals.len());
        let of_args = pick(
            d.get(c..).unwrap_or_default(),
            &inexact(avals.iter().skip(c)),
        );
        let outs = self.call_jaxpr.out_avals();
        let (_, dims) = batch::batch(&self.call_jaxpr, d, axis, None)?;
        let (_, of_fwd) = batch::batch(&self.fwd, d, axis, None)?;
        let n = outs.len();
        let wanted: Vec<Option<usize>> = dims
            .iter()
            .zip(&of_fwd)
            .map(|(a, b)| a.or(*b).map(|_| 0))
            .collect();
        let residuals: Vec<Option<usize>> = of_fwd.iter().skip(n).map(|d| d.map(|_| 0)).collect();
        let (call, _) = batch::batch(&self.call_jaxpr, d, axis, Some(&wanted))?;
        let all = [&wanted[..], &residuals].concat();
        let (fwd, _) = batch::batch(&self.fwd, d, axis, Some(&all))?;
        let bwd_dims = [&residuals[..], &pick(&wanted, &inexact(&outs))].concat();
        let (bwd, of_bwd) = batch::batch(&self.bwd, &bwd_dims, axis, None)?;
        let inputs: Vec<Aval> = bwd.in_avals().cloned().collect();
        // The cotangent of an operand that all examples share is the sum of theirs.
        let bwd = trace::stage(&inputs, None, &mut |x| {
            let cts = bwd.eval(&x)?;
            let placed = |((ct, at), d): ((&Array, &Option<usize>), &Option<usize>)| {
                let front = batch_to_front(ct, *at, axis.size);
                match d {
                    Some(d) => move_axis(&front, 0, *d),
                    None => front.sum(0),
                }
            };
            Ok(cts.iter().zip(&of_bwd).zip(&of_args).map(placed).collect())
        })?;
        let op = CustomVjp {
            call_jaxpr: call.into(),
            fwd: fwd.into(),
            bwd: bwd.into(),
            ..self.clone()
        };
        Ok((bind_all(op, x)?, wanted))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for CustomVjp {
    /// The rules are not among them: they do not run.
    fn programs(&self) -> Vec<&Program> {
        vec![&self.call_jaxpr]
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        Ok(CustomVjp {
            call_jaxpr: super::one_program("custom_vjp_call", programs)?,
            ..self.clone()
        }
        .into())
    }

    fn partial_eval(&self, _: &[bool], operands: &[&Aval]) -> Result<Split> {
        Split::nothing_known(self.clone().into(), operands)
    }

    fn prune(&self, _: &[bool]) -> Option<Pruned> {
        None
    }
}

/// The linear map from tangents to tangents of which only the transpose is known: `custom_vjp`'s backward rule.
#[derive(Clone, PartialEq, Debug)]
pub struct CustomLinear {
    /// The name of the function whose derivative it is.
    pub name: Arc<str>,
    /// From the residuals and the cotangents of the results to those of the other operands.
    pub bwd: Program,
    /// How many operands are residuals.
    pub num_res: usize,
    /// The types of the results.
    pub out_avals: Vec<Aval>,
}

impl CustomLinear {
    /// The refusal to run forwards.
    pub(crate) fn forwards(&self) -> Error {
        Error::unsupported(format!(
            "`{}` brings its own reverse derivative, and cannot be differentiated forwards",
            self.name
        ))
        .note("`grad`, `vjp` and `jacrev` work; a function made by `custom_jvp` has both modes")
    }
}

impl Primitive for CustomLinear {
    fn name(&self) -> &'static str {
        "custom_lin"
    }

    fn params(&self) -> Params {
        vec![
            ("bwd", Param::text(&self.name)),
            ("num_res", Param::text(self.num_res)),
            ("symbolic_zeros", Param::bool(false)),
        ]
    }

    fn infer(&self, _: &[&Aval]) -> Result<Avals> {
        Ok(self.out_avals.iter().cloned().collect())
    }

    fn jvp(&self, _: &[Array], _: &[Tangent]) -> Result<Jvp> {
        Err(self.forwards())
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let (residuals, linear) = x.split_at(self.num_res.min(x.len()));
        if self.bwd.outs().is_empty() && !linear.is_empty() {
            return Err(no_rule(&self.name, None));
        }
        let mut args = vec![];
        for a in residuals {
            match a {
                Arg::Known(x) => args.push(x.clone()),
                Arg::Linear(_) => return Err(not_linear("custom_lin")),
            }
        }
        for (ct, aval) in ct.iter().zip(&self.out_avals) {
            args.push(ct.clone().unwrap_or_else(|| zero(aval)));
        }
        let given = self.bwd.eval(&args)?;
        let mut all: Vec<Tangent> = vec![None; residuals.len()];
        all.extend(
            linear
                .iter()
                .zip(given)
                .map(|(a, ct)| a.is_linear().then_some(ct)),
        );
        Ok(all)
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (residuals, tangents) = x.split_at(self.num_res.min(x.len()));
        let (of_residuals, of_tangents) = d.split_at(self.num_res.min(d.len()));
        let outs = vec![Some(0); self.out_avals.len()];
        let dims = [of_residuals, &outs].concat();
        let wanted = vec![Some(0); tangents.len()];
        let (bwd, _) = batch::batch(&self.bwd, &dims, axis, Some(&wanted))?;
        let mut args = residuals.to_vec();
        for (t, d) in tangents.iter().zip(of_tangents) {
            args.push(batch_to_front(t, *d, axis.size));
        }
        let op = CustomLinear {
            bwd: bwd.into(),
            out_avals: self
                .out_avals
                .iter()
                .map(|a| {
                    let mut a = a.clone();
                    a.shape.insert(0, axis.size);
                    a
                })
                .collect(),
            ..self.clone()
        };
        Ok((bind_all(op, &args)?, outs))
    }

    opaque!();
}
