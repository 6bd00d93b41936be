//! Programs within programs, when a value is among their operands: they are interpreted again with the real types inside.
//!
//! The program of an equation is traced again under a dispatching trace with the same rules, on values whose components are fresh
//! variables. What comes out is a program of components, and the equation is put around that.

use super::{
    resolve::{Context, definition_for},
    rules::Results,
};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::{
        self, Jaxpr, Program, Trace,
        op::{Captured, Checkpoint, Cond, CustomLinearSolve, Op, Scan, While},
    },
    transform::close_together,
    tree::{self, Flat, View},
};
use std::{panic::Location, sync::Arc};

/// The results of a primitive with programs inside; `None` for every other primitive.
pub(super) fn dispatch(
    t: &Arc<Trace>,
    context: &Context,
    op: &Op,
    args: &[&Array],
    at: &'static Location<'static>,
) -> Result<Option<Results>> {
    let args: Vec<Array> = args.iter().map(|a| (*a).clone()).collect();
    let inside = Inside { t, context, op, at };
    match op {
        Op::Jit(call) => Ok(Some(call.jaxpr.eval(&args)?.into())),
        Op::Scan(p) => inside.scan(p, &args).map(Some),
        Op::Cond(p) => inside.cond(p, &args).map(Some),
        Op::While(p) => inside.while_loop(p, &args).map(Some),
        Op::CustomJvp(p) => inside.custom_jvp(p, &args).map(Some),
        Op::CustomVjp(p) => inside.custom_vjp(p, &args).map(Some),
        Op::CustomLinearSolve(p) => inside.linear_solve(p, &args).map(Some),
        Op::Checkpoint(p) => inside.checkpoint(p, &args).map(Some),
        _ => Ok(None),
    }
}

pub(super) struct Inside<'i> {
    t: &'i Arc<Trace>,
    context: &'i Context,
    pub(super) op: &'i Op,
    at: &'static Location<'static>,
}

/// A program of components.
pub(super) struct Restaged {
    pub(super) program: Jaxpr,
    /// The results as they were, values with their structure.
    pub(super) outs: Vec<Array>,
}

/// What matters of a value to a loop: its structure and the types of its components.
pub(super) fn kind(x: &Array) -> Result<(tree::Structure, Vec<Aval>)> {
    let mut components = vec![];
    let mut push = |_: &str, c: &Array| components.push(c.clone());
    let mut flat = Flat::keeping(View::Components, &mut push);
    tree::PyTree::flatten(x, &mut flat);
    let structure = flat.structure();
    let avals = components
        .iter()
        .map(|c| Ok(c.aval()?.strong()))
        .collect::<Result<_>>()?;
    Ok((structure, avals))
}

/// Values of these structures, of these components.
pub(super) fn together(like: &[Array], components: Vec<Array>) -> Vec<Array> {
    let mut components = components.into_iter();
    like.iter()
        .map(|x| {
            tree::map(x, |_| {
                components
                    .next()
                    .unwrap_or_else(|| Array::error(Error::internal("too few components")))
            })
        })
        .collect()
}

/// All components.
pub(super) fn apart(x: &[Array]) -> Vec<Array> {
    x.iter().flat_map(tree::leaves).collect()
}

pub(super) fn avals(x: &[Array]) -> Result<Vec<Aval>> {
    x.iter().map(Array::aval).collect()
}

impl Inside<'_> {
    /// Trace under a dispatching trace with the same rules.
    pub(super) fn stage(
        &self,
        inputs: &[Aval],
        f: &mut dyn FnMut(Vec<Array>) -> Result<Vec<Array>>,
    ) -> Result<Jaxpr> {
        trace::stage(inputs, Some(Arc::new(self.context.nested())), f)
    }

    /// A program again, on values like these. Results that `dense` marks become the arrays that they equal.
    pub(super) fn restage(
        &self,
        program: &Jaxpr,
        like: &[Array],
        dense: &[bool],
    ) -> Result<Restaged> {
        let inputs = avals(&apart(like))?;
        let mut outs = vec![];
        let program = self.stage(&inputs, &mut |x| {
            outs = program.eval(&together(like, x))?;
            for (y, dense) in outs.iter_mut().zip(dense) {
                if *dense && y.as_dyn_value().is_some() {
                    let t = trace::current()
                        .ok_or_else(|| Error::internal("no trace is in progress"))?;
                    *y = definition_for(&t, y, self.op)?;
                }
            }
            Ok(apart(&outs))
        })?;
        Ok(Restaged { program, outs })
    }

    /// Record an equation of components; its results as values like these.
    pub(super) fn record(&self, op: Op, args: &[Array], like: &[Array]) -> Result<Results> {
        let args: Vec<&Array> = args.iter().collect();
        let results = self.t.record(&op, &args, self.at)?;
        Ok(together(like, results.into_vec()).into())
    }

    /// A carry after a step must be what it was before. Where a value meets a plain array, the carry is the array that the value
    /// equals: `before` is changed to it, or `dense` asks for it of the step. Was there something to change?
    fn settle(&self, before: &mut [Array], after: &[Array], dense: &mut [bool]) -> Result<bool> {
        let mut changed = false;
        for (i, ((a, b), dense)) in before.iter_mut().zip(after).zip(dense).enumerate() {
            if kind(a)? == kind(b)? {
                continue;
            }
            let name = self.op.name();
            let (was, is) = (a.describe(), b.describe());
            match (a.as_dyn_value(), b.as_dyn_value()) {
                (Some(_), None) => {
                    *a = definition_for(self.t, a, self.op).map_err(|e| {
                        e.note(format!(
                            "array {i} of the carry of `{name}` was {was}, a step makes it {is}"
                        ))
                    })?;
                }
                (None, Some(_)) if !*dense => *dense = true,
                _ => {
                    let mut e = Error::tree(format!(
                        "the carry of `{name}` must keep its type: array {i} of it was {was}, a step makes it {is}"
                    ));
                    if was == is {
                        e = e.note("static fields or components of the two differ");
                    }
                    return Err(e.note(
                        "start with what a step makes, or materialise it in the step or before the loop",
                    ));
                }
            }
            changed = true;
        }
        Ok(changed)
    }

    /// What a value equals, by its own definition; `None` if there is none, or if it fails.
    fn defined(&self, x: &Array) -> Option<Aval> {
        let inputs = avals(&apart(std::slice::from_ref(x))).ok()?;
        let program = self.stage(&inputs, &mut |c| {
            let x = together(std::slice::from_ref(x), c).pop();
            let t = trace::current();
            let (Some(x), Some(t)) = (x, t) else {
                return Err(Error::internal("a value is missing"));
            };
            Ok(vec![definition_for(&t, &x, self.op)?])
        });
        program.ok()?.out_avals().pop()
    }

    /// A value with another leading axis on each component, or without one, if that is what it would equal.
    fn with_components(
        &self,
        x: &Array,
        aval: &Aval,
        f: impl Fn(&Aval) -> Option<Aval>,
    ) -> Option<Array> {
        let mut fits = true;
        let y = tree::map(x, |c| match c.aval().ok().as_ref().and_then(&f) {
            Some(a) => Array::symbolic_zero(a),
            None => {
                fits = false;
                c.clone()
            }
        });
        fits &= y.aval().is_ok_and(|a| a.same_type(aval));
        // A value may say of itself that it is such an array though its components no longer make one: the factors of a product
        // of matrices have no slices that are those of the product.
        if fits && y.as_dyn_value().is_some() && self.defined(x).is_some() {
            fits = self.defined(&y).is_some_and(|a| a.same_type(aval));
        }
        fits.then_some(y)
    }

    fn scan(&self, p: &Scan, args: &[Array]) -> Result<Results> {
        let first = p.num_consts + p.num_carry;
        let (fixed, xs) = args.split_at(first.min(args.len()));
        let mut xs = xs.to_vec();
        let mut like = fixed.to_vec();
        for x in &mut xs {
            let slice = |a: &Aval| {
                let (n, rest) = a.shape.split_first()?;
                (*n == p.length).then(|| a.with_shape(Dims::from_slice(rest)))
            };
            let aval = x.aval()?;
            let wanted = slice(&aval)
                .ok_or_else(|| Error::internal("a scanned operand has no axis to scan"))?;
            let value = match self.with_components(x, &wanted, slice) {
                Some(y) => y,
                // Slices of its components are not its slices: what it equals is scanned.
                None => {
                    let what = x.describe();
                    *x = definition_for(self.t, x, self.op).map_err(|e| {
                        e.note(format!(
                            "slices of the components of {what} are not its slices"
                        ))
                    })?;
                    Array::symbolic_zero(wanted)
                }
            };
            like.push(value);
        }
        let mut dense = vec![false; p.jaxpr.outs().len()];
        loop {
            let staged = self.restage(&p.jaxpr, &like, &dense)?;
            let (carry, ys) = staged.outs.split_at(p.num_carry.min(staged.outs.len()));
            let before = like.get_mut(p.num_consts..first).unwrap_or_default();
            if self.settle(before, carry, &mut dense)? {
                continue;
            }
            let before = &*before;
            let stacked = |a: &Aval| {
                let mut shape = Dims::from_elem(p.length, 1);
                shape.extend_from_slice(&a.shape);
                a.with_shape(shape)
            };
            let mut results = carry.to_vec();
            let mut again = false;
            for (y, dense) in ys.iter().zip(dense.iter_mut().skip(p.num_carry)) {
                match self.with_components(y, &stacked(&y.aval()?), |a| Some(stacked(a))) {
                    Some(y) => results.push(y),
                    None => (*dense, again) = (true, true),
                }
            }
            if again {
                continue;
            }
            let carried = apart(before).len();
            let (program, captured) = staged.program.close();
            let consts = apart(fixed.get(..p.num_consts).unwrap_or_default());
            let op = Scan {
                jaxpr: program.into(),
                num_consts: captured.len() + consts.len(),
                num_carry: carried,
                ..p.clone()
            };
            let args = [captured, consts, apart(before), apart(&xs)].concat();
            return self.record(op.into(), &args, &results);
        }
    }

    fn while_loop(&self, p: &While, args: &[Array]) -> Result<Results> {
        let (cond_consts, rest) = args.split_at(p.cond_nconsts.min(args.len()));
        let (body_consts, carry) = rest.split_at(p.body_nconsts.min(rest.len()));
        let mut carry = carry.to_vec();
        let mut dense = vec![false; carry.len()];
        let body = loop {
            let like = [body_consts, &carry].concat();
            let body = self.restage(&p.body_jaxpr, &like, &dense)?;
            if !self.settle(&mut carry, &body.outs, &mut dense)? {
                break body;
            }
        };
        let like = [cond_consts, &carry].concat();
        let cond = self.restage(&p.cond_jaxpr, &like, &[true])?;
        let (body_jaxpr, of_body) = body.program.close();
        let (cond_jaxpr, of_cond) = cond.program.close();
        let of_cond = [of_cond, apart(cond_consts)].concat();
        let of_body = [of_body, apart(body_consts)].concat();
        let op = While {
            body_jaxpr: body_jaxpr.into(),
            body_nconsts: of_body.len(),
            cond_jaxpr: cond_jaxpr.into(),
            cond_nconsts: of_cond.len(),
        };
        self.record(
            op.into(),
            &[of_cond, of_body, apart(&carry)].concat(),
            &carry,
        )
    }

    fn checkpoint(&self, p: &Checkpoint, args: &[Array]) -> Result<Results> {
        let staged = self.restage(&p.jaxpr, args, &[])?;
        let (program, captured) = staged.program.close();
        let op = Checkpoint {
            jaxpr: program.into(),
            ..p.clone()
        };
        let args = [captured, apart(args)].concat();
        self.record(op.into(), &args, &staged.outs)
    }

    /// The maps are interpreted with what they captured; the vectors are arrays, as a value's map may make one a plain array.
    fn linear_solve(&self, p: &CustomLinearSolve, args: &[Array]) -> Result<Results> {
        let parts = p.split(args);
        let plain = |x: &Array| match x.as_dyn_value() {
            Some(_) => definition_for(self.t, x, self.op),
            None => Ok(x.clone()),
        };
        let b = parts.b.iter().map(plain).collect::<Result<Vec<_>>>()?;
        let dense = vec![true; b.len()];
        let mut operands = vec![];
        let mut outs = vec![];
        let mut inside = |p: &Captured, consts: &[Array]| -> Result<Captured> {
            let staged = self.restage(&p.jaxpr, &[consts, &b].concat(), &dense)?;
            let (program, captured) = staged.program.close();
            let consts = [captured, apart(consts)].concat();
            let num_consts = consts.len();
            operands.extend(consts);
            outs = staged.outs;
            Ok(Captured {
                jaxpr: program.into(),
                num_consts,
            })
        };
        let optional = |p: &Option<Captured>, consts| p.as_ref().map(|p| (p.clone(), consts));
        let matvec = inside(&p.matvec, parts.matvec)?;
        let vecmat = optional(&p.vecmat, parts.vecmat);
        let vecmat = vecmat.map(|(p, c)| inside(&p, c)).transpose()?;
        let solve = inside(&p.solve, parts.solve)?;
        let back = optional(&p.transpose_solve, parts.transpose_solve);
        let transpose_solve = back.map(|(p, c)| inside(&p, c)).transpose()?;
        let op = CustomLinearSolve {
            matvec,
            vecmat,
            solve,
            transpose_solve,
        };
        operands.extend(b);
        self.record(op.into(), &operands, &outs)
    }

    /// Branches whose results are of different kinds meet in the arrays that they equal.
    fn cond(&self, p: &Cond, args: &[Array]) -> Result<Results> {
        let Some((index, x)) = args.split_first() else {
            return Err(Error::internal(
                "`cond` has no operand that says which branch",
            ));
        };
        let index = definition_for(self.t, index, self.op)?;
        let results = p.branches.first().map_or(0, |b| b.outs().len());
        let restage = |dense: &[bool]| {
            p.branches
                .iter()
                .map(|b| self.restage(b, x, dense))
                .collect::<Result<Vec<_>>>()
        };
        let mut staged = restage(&vec![false; results])?;
        let mut dense = vec![false; results];
        let mut met = String::new();
        for (i, dense) in dense.iter_mut().enumerate() {
            let outs: Vec<&Array> = staged.iter().filter_map(|s| s.outs.get(i)).collect();
            let kinds = outs.iter().map(|y| kind(y)).collect::<Result<Vec<_>>>()?;
            if kinds.windows(2).any(|w| w.first() != w.last()) {
                *dense = true;
                let all: Vec<String> = outs.iter().map(|y| y.describe()).collect();
                met = all.join(" and ");
            }
        }
        if dense.contains(&true) {
            staged = restage(&dense).map_err(|e| {
                e.note(format!(
                    "the branches of `cond` return different kinds, {met}, which meet only in the arrays that they equal"
                ))
            })?;
        }
        let outs = staged.first().map(|s| s.outs.clone()).unwrap_or_default();
        let programs = staged.into_iter().map(|s| s.program).collect();
        let (branches, captured): (Vec<Program>, _) = close_together(programs)?;
        let args = [vec![index], captured, apart(x)].concat();
        self.record(Cond { branches }.into(), &args, &outs)
    }
}
