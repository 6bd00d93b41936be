//! `while`: a program run as long as another one says so.

use super::{count, indices, parts, somes, with_inputs, zero};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{
        self, Jaxpr, Program, bind, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive,
            Pruned, SelectN, Split, Tangent, batch_to_front, marked,
        },
    },
    transform::{batch, jvp, partial_eval::partial_eval},
};

/// `while`
pub const WHILE: Prim<While> = Prim::new("while");

/// A program that changes a carry, run as long as another one says so. The operands are the constants of the condition, those of the
/// body, and the carry.
#[derive(Clone, PartialEq, Debug)]
pub struct While {
    /// From the body's constants and the carry to the next carry.
    pub body_jaxpr: Program,
    /// How many constants the body has.
    pub body_nconsts: usize,
    /// From the condition's constants and the carry to a bool.
    pub cond_jaxpr: Program,
    /// How many constants the condition has.
    pub cond_nconsts: usize,
}

impl While {
    /// A list with an entry for each operand: those of the condition's constants, of the body's, of the carry.
    fn by_role<'a, T>(&self, x: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
        parts(x, self.cond_nconsts, self.body_nconsts)
    }
}

impl Primitive for While {
    fn name(&self) -> &'static str {
        "while"
    }

    fn params(&self) -> Params {
        vec![
            ("body_jaxpr", Param::Program(self.body_jaxpr.clone())),
            ("body_nconsts", Param::text(self.body_nconsts)),
            ("cond_jaxpr", Param::Program(self.cond_jaxpr.clone())),
            ("cond_nconsts", Param::text(self.cond_nconsts)),
        ]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let (cond_consts, body_consts, carry) = self.by_role(x);
        let fits = |p: &Program, x: &[&[&Aval]]| {
            let x = x.concat();
            p.invars().len() == x.len() && p.in_avals().zip(&x).all(|(a, b)| a.same_type(b))
        };
        if !fits(&self.cond_jaxpr, &[cond_consts, carry])
            || !fits(&self.body_jaxpr, &[body_consts, carry])
        {
            return Err(Error::internal(
                "the operands of `while` are not those of its programs",
            ));
        }
        match &self.cond_jaxpr.out_avals()[..] {
            [p] if p.ndim() == 0 && p.dtype == DType::Bool => {}
            [p] => {
                return Err(Error::shape(format!(
                    "the condition of `while` must be a bool scalar, not {p}"
                )));
            }
            _ => return Err(Error::tree("the condition of `while` must be one array")),
        }
        let outs = self.body_jaxpr.out_avals();
        if outs.len() != carry.len() {
            return Err(Error::internal(
                "the body of `while` changes the carry's size",
            ));
        }
        if let Some((a, b)) = carry.iter().zip(&outs).find(|(a, b)| !a.same_type(b)) {
            return Err(Error::shape(format!(
                "the carry of `while` must keep its type: it was {a}, a step makes it {b}"
            )));
        }
        Ok(outs.into_iter().collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let (_, tb, tk) = self.by_role(t);
        let (xc, xb, xk) = self.by_role(x);
        // What a nonzero tangent of the carry makes nonzero is nonzero, too.
        let mut carry = somes(tk);
        let program = loop {
            let inputs = [somes(tb), carry.clone()].concat();
            let (program, nonzero) = jvp::jvp(&self.body_jaxpr, &inputs, Some(&carry))?;
            if nonzero == carry {
                break program;
            }
            carry = nonzero;
        };
        let (b, k, nb, nk) = (xb.len(), xk.len(), count(&somes(tb)), count(&carry));
        let inputs: Vec<usize> = (0..b)
            .chain(b + k..b + k + nb)
            .chain(b..b + k)
            .chain(b + k + nb..b + k + nb + nk)
            .collect();
        let outs: Vec<usize> = (0..k + nk).collect();
        let body = program.reordered(&inputs, &outs);
        // The condition is given the tangents, too, and ignores them.
        let c = self.cond_nconsts;
        let sources: Vec<Option<usize>> =
            (0..c + k).map(Some).chain((0..nk).map(|_| None)).collect();
        let mut avals: Vec<Aval> = self.cond_jaxpr.in_avals().cloned().collect();
        avals.extend(body.in_avals().skip(b + nb + k).cloned());
        let cond = with_inputs((*self.cond_jaxpr).clone(), &sources, &avals);
        let mut args = [xc, xb].concat();
        args.extend(tb.iter().flatten().cloned());
        args.extend(xk.iter().cloned());
        for ((x, t), nonzero) in xk.iter().zip(tk).zip(&carry) {
            if *nonzero {
                args.push(match t {
                    Some(t) => t.clone(),
                    None => zero(&x.aval()?),
                });
            }
        }
        let op = While {
            body_jaxpr: body.into(),
            body_nconsts: b + nb,
            cond_jaxpr: cond.into(),
            cond_nconsts: c,
        };
        let mut results = bind_all(op, &args)?;
        let mut given = results.split_off(k.min(results.len())).into_iter();
        let tangents = carry
            .iter()
            .map(|n| if *n { given.next() } else { None })
            .collect();
        Ok((results, tangents))
    }

    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(Error::unsupported(
            "a `while_loop` cannot be differentiated in reverse: it does not know how many steps it takes",
        )
        .note("`fori_loop` with bounds that are numbers, and `scan`, can be; `jvp` and `jacfwd` work through a `while_loop`"))
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (dc, db, dk) = self.by_role(d);
        let front = |d: &Option<usize>| d.map(|_| 0);
        let mut carry: Vec<Option<usize>> = dk.iter().map(front).collect();
        let mut differs = false;
        // What a batched carry makes batched is batched, too; everything is if examples stop at different times.
        loop {
            let (_, out) = batch::batch(&self.body_jaxpr, &[db, &carry].concat(), axis, None)?;
            let (_, stop) = batch::batch(&self.cond_jaxpr, &[dc, &carry].concat(), axis, None)?;
            differs |= stop.iter().any(Option::is_some);
            let next: Vec<Option<usize>> = carry
                .iter()
                .zip(&out)
                .map(|(a, b)| if differs { Some(0) } else { a.or(front(b)) })
                .collect();
            if next == carry {
                break;
            }
            carry = next;
        }
        let (body, _) = batch::batch(&self.body_jaxpr, &[db, &carry].concat(), axis, Some(&carry))?;
        let wanted = [differs.then_some(0)];
        let (cond, _) = batch::batch(
            &self.cond_jaxpr,
            &[dc, &carry].concat(),
            axis,
            Some(&wanted),
        )?;
        let (xc, xb, xk) = self.by_role(x);
        let xk: Vec<Array> = xk
            .iter()
            .zip(dk)
            .zip(&carry)
            .map(|((x, d), to)| match to {
                Some(_) => batch_to_front(x, *d, axis.size),
                None => x.clone(),
            })
            .collect();
        if !differs {
            let op = While {
                body_jaxpr: body.into(),
                cond_jaxpr: cond.into(),
                ..self.clone()
            };
            return Ok((bind_all(op, &[xc, xb, &xk].concat())?, carry));
        }
        // It runs until all are done; those that are done keep what they have.
        let carried: Vec<Aval> = xk.iter().map(Array::aval).collect::<Result<_>>()?;
        let with = |consts: &[&[Array]]| -> Result<Vec<Aval>> {
            let consts = consts.concat();
            let consts: Vec<Aval> = consts.iter().map(Array::aval).collect::<Result<_>>()?;
            Ok([consts, carried.clone()].concat())
        };
        let any = trace::stage(&with(&[xc])?, None, &mut |x| {
            let p = cond.eval(&x)?;
            Ok(p.iter().map(|p| p.any(())).collect())
        })?;
        let (c, b) = (xc.len(), xb.len());
        let masked = trace::stage(&with(&[xc, xb])?, None, &mut |x| {
            let (xc, xb, old) = parts(&x, c, b);
            let going = cond.eval(&[xc, old].concat())?;
            let new = body.eval(&[xb, old].concat())?;
            let Some(going) = going.first() else {
                return Err(Error::internal("the condition of `while` is missing"));
            };
            let keep = |(old, new): (&Array, &Array)| {
                let which = going.broadcast_in_dim(new.shape(), [0]);
                bind(SelectN, &[&which, old, new])
            };
            Ok(old.iter().zip(&new).map(keep).collect())
        })?;
        let op = While {
            body_jaxpr: masked.into(),
            body_nconsts: c + b,
            cond_jaxpr: any.into(),
            cond_nconsts: c,
        };
        Ok((bind_all(op, &[xc, xc, xb, &xk].concat())?, carry))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

impl Inner for While {
    fn programs(&self) -> Vec<&Program> {
        vec![&self.body_jaxpr, &self.cond_jaxpr]
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        let Ok([body_jaxpr, cond_jaxpr]) = <[Program; 2]>::try_from(programs) else {
            return Err(Error::internal("`while` holds two programs"));
        };
        Ok(While {
            body_jaxpr,
            cond_jaxpr,
            ..self.clone()
        }
        .into())
    }

    /// The known part of the carry runs on its own, if it is what the condition reads; the unknown half runs all again.
    fn partial_eval(&self, unknown: &[bool], operands: &[&Aval]) -> Result<Split> {
        let (uc, ub, uk) = self.by_role(unknown);
        let mut carry = uk.to_vec();
        let halves = loop {
            let halves = partial_eval(&self.body_jaxpr, &[ub, &carry].concat(), &carry)?;
            if halves.unknown_outs == carry {
                break halves;
            }
            carry = halves.unknown_outs;
        };
        let needs = self.cond_jaxpr.needed_inputs();
        let reads_unknown = needs
            .iter()
            .skip(self.cond_nconsts)
            .zip(&carry)
            .any(|(n, u)| *n && *u);
        let whole = || Split::nothing_known(self.clone().into(), operands);
        if uc.contains(&true) || reads_unknown || !carry.contains(&false) {
            return whole();
        }
        let mut body = halves.known;
        body.outs
            .truncate(body.outs.len() - halves.residuals.min(body.outs.len()));
        let known = |flags: &[bool]| -> Vec<usize> {
            let hits = flags.iter().enumerate().filter(|(_, u)| !**u);
            hits.map(|(i, _)| i).collect()
        };
        let (b, k) = (known(ub), known(&carry));
        let c = self.cond_nconsts;
        let sources: Vec<Option<usize>> = (0..c).chain(k.iter().map(|i| i + c)).map(Some).collect();
        let avals: Vec<Aval> = self.cond_jaxpr.in_avals().cloned().collect();
        let avals = indices(
            &avals,
            &sources.iter().flatten().copied().collect::<Vec<_>>(),
        );
        let cond = with_inputs((*self.cond_jaxpr).clone(), &sources, &avals);
        let op = While {
            body_nconsts: b.len(),
            body_jaxpr: body.into(),
            cond_jaxpr: cond.into(),
            cond_nconsts: c,
        };
        let numbers: Vec<usize> = (0..c)
            .chain(b.iter().map(|i| i + c))
            .chain(k.iter().map(|i| i + c + self.body_nconsts))
            .collect();
        let avals: Vec<Aval> = numbers
            .iter()
            .filter_map(|i| operands.get(*i).map(|a| (*a).clone()))
            .collect();
        let Split {
            unknown: (mut rest, sources),
            ..
        } = whole()?;
        rest.outs = indices(&rest.outs, &marked(&carry));
        Ok(Split {
            known: (Jaxpr::of_op(op.into(), avals)?, numbers),
            unknown: (rest, sources),
            unknown_outs: carry,
        })
    }

    fn prune(&self, used: &[bool]) -> Option<Pruned> {
        let (b, c) = (self.body_nconsts, self.cond_nconsts);
        let reads = self.cond_jaxpr.needed_inputs();
        let mut carry: Vec<bool> = used
            .iter()
            .zip(reads.iter().skip(c))
            .map(|(a, b)| *a || *b)
            .collect();
        let (program, inputs) = loop {
            let (program, inputs) = self.body_jaxpr.prune(&carry);
            let next: Vec<bool> = carry
                .iter()
                .enumerate()
                .map(|(i, u)| *u || inputs.contains(&(b + i)))
                .collect();
            if next == carry {
                break (program, inputs);
            }
            carry = next;
        };
        if !carry.contains(&false) {
            return None;
        }
        let kept = marked(&carry);
        let consts: Vec<usize> = inputs.iter().copied().filter(|i| *i < b).collect();
        let body_inputs: Vec<usize> = consts
            .iter()
            .copied()
            .chain(kept.iter().map(|i| i + b))
            .collect();
        let avals: Vec<Aval> = self.body_jaxpr.in_avals().cloned().collect();
        let sources: Vec<Option<usize>> = body_inputs
            .iter()
            .map(|k| inputs.iter().position(|i| i == k))
            .collect();
        let body = with_inputs(program, &sources, &indices(&avals, &body_inputs));
        let cond_inputs: Vec<usize> = (0..c).chain(kept.iter().map(|i| i + c)).collect();
        let avals: Vec<Aval> = self.cond_jaxpr.in_avals().cloned().collect();
        let cond = with_inputs(
            (*self.cond_jaxpr).clone(),
            &cond_inputs.iter().copied().map(Some).collect::<Vec<_>>(),
            &indices(&avals, &cond_inputs),
        );
        let operands = (0..c)
            .chain(consts.iter().map(|i| i + c))
            .chain(kept.iter().map(|i| i + c + b))
            .collect();
        Some(Pruned {
            op: While {
                body_jaxpr: body.into(),
                body_nconsts: consts.len(),
                cond_jaxpr: cond.into(),
                cond_nconsts: c,
            }
            .into(),
            operands,
            results: kept,
        })
    }
}
