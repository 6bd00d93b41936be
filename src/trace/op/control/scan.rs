//! `scan`: a program run for each slice of some arrays, with a state carried along.

use super::{avals_of, count, either, one_program, parts, single, somes, transpose_split, zero};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::{
        self, Jaxpr, Program, bind_all,
        op::{
            Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Op, Param, Params, Prim, Primitive,
            Pruned, Split, SplitOperand, Tangent, batch_to_front, marked, move_axis,
        },
    },
    transform::{
        batch, jvp,
        partial_eval::{Halves, partial_eval},
        transpose,
    },
};

/// `scan`
pub const SCAN: Prim<Scan> = Prim::new("scan");

/// A program run `length` times. Its inputs are constants, the carry, and a slice of each scanned operand; its results are the next
/// carry, and a slice of each stacked result.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// What one step does.
    pub jaxpr: Program,
    /// The number of steps.
    pub length: usize,
    /// How many results, and operands behind the constants, are the carry.
    pub num_carry: usize,
    /// How many operands are the same for every step.
    pub num_consts: usize,
    /// Does it start with the last slice?
    pub reverse: bool,
    /// How many steps a compiler may lay out in a row.
    pub unroll: usize,
}

impl Scan {
    fn around(&self, jaxpr: Program, num_consts: usize, num_carry: usize) -> Op {
        Scan {
            jaxpr,
            num_carry,
            num_consts,
            ..self.clone()
        }
        .into()
    }

    /// A list with an entry for each operand: those of the constants, of the carry, of the scanned operands.
    fn by_role<'a, T>(&self, x: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
        parts(x, self.num_consts, self.num_carry)
    }

    fn stacked(&self, slice: &Aval) -> Aval {
        let mut shape = Dims::from_elem(self.length, 1);
        shape.extend_from_slice(&slice.shape);
        slice.with_shape(shape)
    }

    /// The step split by what is known, and which of the carry is not: what an unknown carry makes unknown is unknown, too.
    fn settle(&self, unknown: &[bool]) -> Result<(Halves, Vec<bool>)> {
        let (consts, carry, xs) = self.by_role(unknown);
        let mut carry = carry.to_vec();
        loop {
            let inputs = [consts, &carry, xs].concat();
            let halves = partial_eval(&self.jaxpr, &inputs, &carry)?;
            let next: Vec<bool> = halves
                .unknown_outs
                .iter()
                .take(self.num_carry)
                .copied()
                .collect();
            if next == carry {
                return Ok((halves, carry));
            }
            carry = next;
        }
    }
}

impl Primitive for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn params(&self) -> Params {
        vec![
            ("jaxpr", Param::Program(self.jaxpr.clone())),
            ("length", Param::text(self.length)),
            ("num_carry", Param::text(self.num_carry)),
            ("num_consts", Param::text(self.num_consts)),
            ("reverse", Param::bool(self.reverse)),
            ("unroll", Param::text(self.unroll)),
        ]
    }

    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let wanted: Vec<&Aval> = self.jaxpr.in_avals().collect();
        let outs = self.jaxpr.out_avals();
        if wanted.len() != x.len()
            || self.num_consts + self.num_carry > x.len()
            || self.num_carry > outs.len()
        {
            return Err(Error::internal("`scan` has too few or too many operands"));
        }
        for (i, (given, wanted)) in x.iter().zip(&wanted).enumerate() {
            let fits = if i < self.num_consts + self.num_carry {
                given.same_type(wanted)
            } else {
                given.same_type(&self.stacked(wanted))
            };
            if !fits {
                return Err(Error::shape(format!(
                    "operand {i} of a `scan` of {} steps is {given}; a step takes {wanted}",
                    self.length
                )));
            }
        }
        let (_, carry, _) = self.by_role(&wanted);
        if let Some((before, after)) = carry.iter().zip(&outs).find(|(a, b)| !a.same_type(b)) {
            return Err(Error::shape(format!(
                "the carry of a `scan` must keep its type: it was {before}, a step makes it {after}"
            )));
        }
        let (carry, ys) = outs.split_at(self.num_carry);
        let ys = ys.iter().map(|y| self.stacked(y));
        Ok(carry.iter().cloned().chain(ys).collect())
    }

    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let (tc, tk, tx) = self.by_role(t);
        // What a nonzero tangent of the carry makes nonzero is nonzero, too.
        let mut carry = somes(tk);
        let ys = self.jaxpr.outs().len() - self.num_carry;
        let (program, nonzero) = loop {
            let inputs = [&somes(tc), &carry[..], &somes(tx)].concat();
            let wanted = [&carry[..], &vec![false; ys]].concat();
            let (program, nonzero) = jvp::jvp(&self.jaxpr, &inputs, Some(&wanted))?;
            let next: Vec<bool> = nonzero.iter().take(self.num_carry).copied().collect();
            if next == carry {
                break (program, nonzero);
            }
            carry = next;
        };
        let (nc, nk, nx) = (count(&somes(tc)), count(&carry), count(&somes(tx)));
        let n = self.jaxpr.invars().len();
        let (c, k) = (self.num_consts, self.num_carry);
        let inputs: Vec<usize> = (0..c)
            .chain(n..n + nc)
            .chain(c..c + k)
            .chain(n + nc..n + nc + nk)
            .chain(c + k..n)
            .chain(n + nc + nk..n + nc + nk + nx)
            .collect();
        let m = self.jaxpr.outs().len();
        let outs: Vec<usize> = (0..k)
            .chain(m..m + nk)
            .chain(k..m)
            .chain(m + nk..program.outs().len())
            .collect();
        let program = program.reordered(&inputs, &outs);
        let (xc, xk, xx) = self.by_role(x);
        let mut args = xc.to_vec();
        args.extend(tc.iter().flatten().cloned());
        args.extend(xk.iter().cloned());
        for ((x, t), nonzero) in xk.iter().zip(tk).zip(&carry) {
            if *nonzero {
                args.push(match t {
                    Some(t) => t.clone(),
                    None => zero(&x.aval()?),
                });
            }
        }
        args.extend(xx.iter().cloned());
        args.extend(tx.iter().flatten().cloned());
        let results = bind_all(self.around(program.into(), c + nc, k + nk), &args)?;
        let mut results = results.into_iter();
        let mut primals: Vec<Array> = results.by_ref().take(k).collect();
        let carried: Vec<Array> = results.by_ref().take(nk).collect();
        primals.extend(results.by_ref().take(m - k));
        let mut given = carried.into_iter().chain(results);
        let tangents = nonzero
            .iter()
            .map(|n| if *n { given.next() } else { None })
            .collect();
        Ok((primals, tangents))
    }

    fn transpose(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let linear: Vec<bool> = x.iter().map(Arg::is_linear).collect();
        let (_, carry) = self.settle(&linear)?;
        if carry.contains(&false) {
            // A part of the carry does not depend on the linear operands: it runs forwards first.
            let avals = avals_of(x)?;
            let split = self.partial_eval(&linear, &avals.iter().collect::<Vec<_>>())?;
            return transpose_split(split, ct, x);
        }
        Backward::new(self, &linear, ct)?.bind(ct, x)
    }

    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (_, dk, dx) = self.by_role(d);
        let scanned: Vec<Option<usize>> = dx.iter().map(|d| d.map(|_| 0)).collect();
        let dc = d.get(..self.num_consts).unwrap_or_default();
        // What a batched carry makes batched is batched, too.
        let mut carry: Vec<Option<usize>> = dk.iter().map(|d| d.map(|_| 0)).collect();
        let out_dims = loop {
            let dims = [dc, &carry, &scanned].concat();
            let (_, out_dims) = batch::batch(&self.jaxpr, &dims, axis, None)?;
            let next: Vec<Option<usize>> = carry
                .iter()
                .zip(&out_dims)
                .map(|(a, b)| a.or(b.map(|_| 0)))
                .collect();
            if next == carry {
                break out_dims;
            }
            carry = next;
        };
        let dims = [dc, &carry, &scanned].concat();
        let ys = out_dims.iter().skip(self.num_carry).map(|d| d.map(|_| 0));
        let wanted: Vec<Option<usize>> = carry.iter().copied().chain(ys).collect();
        let (program, _) = batch::batch(&self.jaxpr, &dims, axis, Some(&wanted))?;
        let mut args = vec![];
        for (i, (x, d)) in x.iter().zip(d).enumerate() {
            let k = i.wrapping_sub(self.num_consts);
            args.push(match (d, carry.get(k)) {
                _ if i < self.num_consts => x.clone(),
                (d, Some(Some(_))) => batch_to_front(x, *d, axis.size),
                (_, Some(None)) | (None, None) => x.clone(),
                // A slice has its batch axis at the front.
                (Some(d), None) => move_axis(x, *d, 1),
            });
        }
        let op = self.around(program.into(), self.num_consts, self.num_carry);
        let results = bind_all(op, &args)?;
        let dims = wanted
            .iter()
            .enumerate()
            .map(|(i, w)| w.map(|_| usize::from(i >= self.num_carry)))
            .collect();
        Ok((results, dims))
    }

    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }

    fn inner(&self) -> Option<&dyn Inner> {
        Some(self)
    }
}

/// The backward pass of a scan whose whole carry is linear: a scan in the other direction, whose carry is the cotangents of the
/// constants, summed up, and those of the carry.
struct Backward<'s> {
    scan: &'s Scan,
    /// One step. Its inputs: known constants and slices, then the cotangents of the carry and of the stacked results that are not
    /// zero. Its results: the cotangents that are not zero of the linear constants, of the carry, of the linear slices.
    step: Jaxpr,
    linear_consts: Vec<bool>,
    linear_xs: Vec<bool>,
    /// Which have a cotangent that is not zero: linear constants, carry, linear slices, stacked results.
    consts: Vec<bool>,
    carry: Vec<bool>,
    step_carry: Vec<bool>,
    xs: Vec<bool>,
    ys: Vec<bool>,
}

impl<'s> Backward<'s> {
    fn new(scan: &'s Scan, linear: &[bool], ct: &[Tangent]) -> Result<Self> {
        let (linear_consts, _, linear_xs) = scan.by_role(linear);
        let (carry, ys) = ct.split_at(scan.num_carry.min(ct.len()));
        let (mut carry, ys) = (somes(carry), somes(ys));
        let inputs = [linear_consts, &vec![true; scan.num_carry], linear_xs].concat();
        let consts = count(linear_consts);
        // A cotangent that is not zero for one step is not for those before.
        loop {
            let given = [&carry[..], &ys].concat();
            let (step, nonzero) = transpose::transpose(&scan.jaxpr, &inputs, &given)?;
            let (of_consts, step_carry, xs) = parts(&nonzero, consts, scan.num_carry);
            let next = either(&carry, step_carry);
            if next == carry {
                return Ok(Backward {
                    scan,
                    step,
                    linear_consts: linear_consts.to_vec(),
                    linear_xs: linear_xs.to_vec(),
                    consts: of_consts.to_vec(),
                    step_carry: step_carry.to_vec(),
                    carry,
                    xs: xs.to_vec(),
                    ys,
                });
            }
            carry = next;
        }
    }

    fn bind(&self, ct: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        let (xc, xk, xx) = self.scan.by_role(x);
        let known = |x: &[Arg]| -> Vec<Array> {
            let known = |a: &Arg| match a {
                Arg::Known(x) => Some(x.clone()),
                Arg::Linear(_) => None,
            };
            x.iter().filter_map(known).collect()
        };
        let (known_consts, known_xs) = (known(xc), known(xx));
        // Operands: known constants; sums and cotangents of the carry; known slices and cotangents of stacked results.
        let mut args = known_consts.clone();
        let mut hit = self.consts.iter();
        for (a, linear) in xc.iter().zip(&self.linear_consts) {
            if *linear && hit.next().copied().unwrap_or(false) {
                args.push(zero(&a.aval()?));
            }
        }
        let sums = count(&self.consts);
        for ((a, ct), nonzero) in xk.iter().zip(ct).zip(&self.carry) {
            if *nonzero {
                args.push(match ct {
                    Some(ct) => ct.clone(),
                    None => zero(&a.aval()?),
                });
            }
        }
        args.extend(known_xs.iter().cloned());
        args.extend(ct.iter().skip(self.scan.num_carry).flatten().cloned());
        let program = self.program(known_consts.len(), known_xs.len())?;
        let op = Scan {
            jaxpr: program.into(),
            num_consts: known_consts.len(),
            num_carry: sums + count(&self.carry),
            reverse: !self.scan.reverse,
            ..self.scan.clone()
        };
        let mut results = bind_all(op, &args)?.into_iter();
        let mut deal = |operands: &[Arg], nonzero: &[bool]| -> Vec<Tangent> {
            let mut nonzero = nonzero.iter();
            operands
                .iter()
                .map(|a| {
                    if a.is_linear() && *nonzero.next()? {
                        results.next()
                    } else {
                        None
                    }
                })
                .collect()
        };
        let mut out = deal(xc, &self.consts);
        // The carry is linear even where the operand is a known zero, whose cotangent nobody wants.
        let everywhere: Vec<Arg> = xk
            .iter()
            .map(|a| Ok(Arg::Linear(a.aval()?.into())))
            .collect::<Result<_>>()?;
        let carry = deal(&everywhere, &self.carry);
        out.extend(
            carry
                .into_iter()
                .zip(xk)
                .map(|(ct, a)| ct.filter(|_| a.is_linear())),
        );
        out.extend(deal(xx, &self.xs));
        Ok(out)
    }

    /// The step with the sums in its carry.
    fn program(&self, known_consts: usize, known_xs: usize) -> Result<Jaxpr> {
        let j = &self.scan.jaxpr;
        let avals: Vec<Aval> = j.in_avals().map(Aval::strong).collect();
        let as_they_are: Vec<Aval> = j.in_avals().cloned().collect();
        let (ac, ak, _) = self.scan.by_role(&avals);
        let (rc, _, rx) = self.scan.by_role(&as_they_are);
        let pick = |avals: &[Aval], flags: &[bool], wanted: bool| -> Vec<Aval> {
            avals
                .iter()
                .zip(flags)
                .filter(|(_, f)| **f == wanted)
                .map(|(a, _)| a.clone())
                .collect()
        };
        let sums = pick(&pick(ac, &self.linear_consts, true), &self.consts, true);
        let carried = pick(ak, &self.carry, true);
        let outs: Vec<Aval> = j.out_avals().iter().map(Aval::strong).collect();
        let ys = pick(
            outs.get(self.scan.num_carry..).unwrap_or_default(),
            &self.ys,
            true,
        );
        let inputs = [
            pick(rc, &self.linear_consts, false),
            sums.clone(),
            carried.clone(),
            pick(rx, &self.linear_xs, false),
            ys,
        ]
        .concat();
        trace::stage(&inputs, None, &mut |x| {
            let (consts, rest) = x.split_at(known_consts.min(x.len()));
            let (so_far, cts, rest) = parts(rest, sums.len(), carried.len());
            let (xs, ys) = rest.split_at(known_xs.min(rest.len()));
            let args = [consts, xs, cts, ys].concat();
            let mut results = self.step.eval(&args)?.into_iter();
            let mut outs: Vec<Array> = so_far
                .iter()
                .zip(results.by_ref())
                .map(|(sum, ct)| trace::bind(crate::trace::op::Binary::Add, &[sum, &ct]))
                .collect();
            let mut carried = carried.iter();
            for (nonzero, given) in self.carry.iter().zip(&self.step_carry) {
                if *nonzero {
                    let aval = carried.next();
                    let ct = if *given { results.next() } else { None };
                    outs.extend(ct.or_else(|| aval.map(zero)));
                }
            }
            outs.extend(results);
            Ok(outs)
        })
    }
}

impl Inner for Scan {
    fn programs(&self) -> Vec<&Program> {
        vec![&self.jaxpr]
    }

    fn with_programs(&self, programs: Vec<Program>) -> Result<Op> {
        let jaxpr = one_program("scan", programs)?;
        Ok(self.around(jaxpr, self.num_consts, self.num_carry))
    }

    /// A scan of what is known, then one of the rest. Residuals that are the same in every step are computed before the loop, or
    /// are operands already; the others are stacked.
    fn partial_eval(&self, unknown: &[bool], operands: &[&Aval]) -> Result<Split> {
        let (mut halves, carry) = self.settle(unknown)?;
        let (uc, _, ux) = self.by_role(unknown);
        let number = |flags: &[bool], from: usize, wanted: bool| -> Vec<usize> {
            let hits = flags.iter().enumerate().filter(|(_, f)| **f == wanted);
            hits.map(|(i, _)| i + from).collect()
        };
        let first_x = self.num_consts + self.num_carry;
        let known_consts = number(uc, 0, false);
        let known_carry = number(&carry, self.num_consts, false);
        let known_xs = number(ux, first_x, false);
        let numbers = [&known_consts[..], &known_carry, &known_xs].concat();

        // Residuals that are slices of an operand: no need to stack what is there already.
        let known_outs = halves.known.outs.len() - halves.residuals;
        let slices = halves
            .known
            .invars
            .get(known_consts.len() + known_carry.len()..)
            .unwrap_or_default();
        let forwarded: Vec<Option<usize>> = halves
            .known
            .outs
            .iter()
            .skip(known_outs)
            .map(|a| {
                let at = slices.iter().position(|v| Some(*v) == a.var())?;
                known_xs.get(at).copied()
            })
            .collect();
        let mut at = 0;
        halves.known.outs.retain(|_| {
            let keep = at < known_outs || forwarded.get(at - known_outs) == Some(&None);
            at += 1;
            keep
        });

        // The known half again, split by what changes from step to step.
        let changes: Vec<bool> = (0..numbers.len())
            .map(|i| i >= known_consts.len())
            .collect();
        let looped = vec![true; known_outs];
        let known = partial_eval(&halves.known, &changes, &looped)?;
        let mut varies = known.unknown_outs.iter().skip(known_outs).copied();
        let residuals: Vec<Residual> = forwarded
            .iter()
            .map(|f| match f {
                Some(i) => Residual::Slices(*i),
                None if varies.next().unwrap_or(true) => Residual::Stacked,
                None => Residual::Fixed,
            })
            .collect();
        let known = self.known_half(&known, &numbers, operands, known_carry.len(), &residuals)?;

        // The unknown half: fixed residuals are constants, the others are scanned.
        let n = halves.residuals;
        let (mut consts, mut xs, mut next) = (vec![], vec![], 0..);
        let mut number_of = vec![0; n];
        for (i, r) in residuals.iter().enumerate() {
            match r {
                Residual::Fixed => consts.push(i),
                Residual::Slices(_) | Residual::Stacked => xs.push(i),
            }
            if !matches!(r, Residual::Slices(_))
                && let (Some(slot), Some(k)) = (number_of.get_mut(i), next.next())
            {
                *slot = k;
            }
        }
        let source = |i: &usize| match residuals.get(*i) {
            Some(Residual::Slices(x)) => SplitOperand::Operand(*x),
            _ => SplitOperand::Residual(number_of.get(*i).copied().unwrap_or(0)),
        };
        let (unknown_consts, unknown_carry, unknown_xs) = (
            number(uc, 0, true),
            number(&carry, self.num_consts, true),
            number(ux, first_x, true),
        );
        let (c, k) = (unknown_consts.len(), unknown_carry.len());
        let inputs: Vec<usize> = consts
            .iter()
            .copied()
            .chain(n..n + c + k)
            .chain(xs.iter().copied())
            .chain(n + c + k..n + c + k + unknown_xs.len())
            .collect();
        let sources: Vec<SplitOperand> = (consts.iter().map(source))
            .chain(unknown_consts.iter().map(|i| SplitOperand::Operand(*i)))
            .chain(unknown_carry.iter().map(|i| SplitOperand::Operand(*i)))
            .chain(xs.iter().map(source))
            .chain(unknown_xs.iter().map(|i| SplitOperand::Operand(*i)))
            .collect();
        let outs: Vec<usize> = (0..halves.unknown.outs.len()).collect();
        let program = halves.unknown.reordered(&inputs, &outs);
        let avals: Vec<Aval> = program
            .in_avals()
            .enumerate()
            .map(|(i, a)| {
                if i < consts.len() + c + k {
                    a.clone()
                } else {
                    self.stacked(a)
                }
            })
            .collect();
        let op = self.around(program.into(), consts.len() + c, k);
        Ok(Split {
            known: (known, numbers),
            unknown: (single(op, avals)?, sources),
            unknown_outs: halves.unknown_outs,
        })
    }

    fn prune(&self, used: &[bool]) -> Option<Pruned> {
        let (carry, ys) = used.split_at(self.num_carry.min(used.len()));
        let mut carry = carry.to_vec();
        // What a carry that is used needs of the carry is used, too.
        let (program, inputs) = loop {
            let (program, inputs) = self.jaxpr.prune(&[&carry[..], ys].concat());
            let needs = |k: usize| inputs.contains(&(self.num_consts + k));
            let next: Vec<bool> = (0..self.num_carry)
                .map(|k| carry.get(k).copied().unwrap_or(false) || needs(k))
                .collect();
            if next == carry {
                break (program, inputs);
            }
            carry = next;
        };
        // A carry that is used but not read stays an input, because it is an operand for as many steps as none.
        let is_carry = |i: usize| {
            i.checked_sub(self.num_consts)
                .and_then(|k| carry.get(k).copied())
                .unwrap_or(false)
        };
        let operands: Vec<usize> = (0..self.jaxpr.invars().len())
            .filter(|i| inputs.contains(i) || is_carry(*i))
            .collect();
        let results = marked(&[&carry[..], ys].concat());
        if operands.len() == self.jaxpr.invars().len() && results.len() == used.len() {
            return None;
        }
        let mut program = program;
        program.invars = operands
            .iter()
            .filter_map(|i| self.jaxpr.invars().get(*i).copied())
            .collect();
        let consts = operands.iter().filter(|i| **i < self.num_consts).count();
        Some(Pruned {
            op: self.around(program.into(), consts, count(&carry)),
            operands,
            results,
        })
    }
}

/// How a residual gets from the known scan to the unknown one.
enum Residual {
    /// It is the same in every step, and computed before the loop.
    Fixed,
    /// It is a slice of this operand.
    Slices(usize),
    /// The known scan stacks it.
    Stacked,
}

impl Scan {
    /// What is known, as a program of the known operands: first what no step changes, then a scan. Its results are the known
    /// results, then the residuals that are not operands, in order.
    fn known_half(
        &self,
        halves: &Halves,
        numbers: &[usize],
        operands: &[&Aval],
        carry: usize,
        residuals: &[Residual],
    ) -> Result<Jaxpr> {
        let avals: Vec<Aval> = numbers
            .iter()
            .filter_map(|i| operands.get(*i).map(|a| (*a).clone()))
            .collect();
        let consts = halves.known.invars.len();
        let fixed = halves.known.outs.len() - halves.residuals;
        trace::stage(&avals, None, &mut |x| {
            let (consts, rest) = x.split_at(consts.min(x.len()));
            let mut before = halves.known.eval(consts)?;
            let inner = before.split_off(fixed.min(before.len()));
            let op = self.around(halves.unknown.clone().into(), inner.len(), carry);
            let mut results = if halves.unknown.outs.is_empty() {
                vec![]
            } else {
                bind_all(op, &[&inner, rest].concat())?
            };
            let stacked = residuals
                .iter()
                .filter(|r| matches!(r, Residual::Stacked))
                .count();
            let at = results.len() - stacked.min(results.len());
            let mut stacked = results.split_off(at).into_iter();
            let mut fixed = before.into_iter();
            for r in residuals {
                match r {
                    Residual::Fixed => results.extend(fixed.next()),
                    Residual::Slices(_) => {}
                    Residual::Stacked => results.extend(stacked.next()),
                }
            }
            Ok(results)
        })
    }
}
