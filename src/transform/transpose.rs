//! Transposition: a program that is linear in some inputs, run backwards.

use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{
        self, Atom, Env, Jaxpr, Var, bind_at,
        op::{Arg, Tangent, add_tangents},
        passes::DCE,
        with_location,
    },
    transform::partial_eval,
};

/// The cotangents of the linear inputs for those of the results: `None` for known inputs, and for zeros.
pub(crate) fn backward(j: &Jaxpr, inputs: &[Arg], cotangents: &[Tangent]) -> Result<Vec<Tangent>> {
    let mut linear = vec![false; j.avals.len()];
    let is_linear = |linear: &[bool], v: Var| linear.get(v.index()).copied().unwrap_or(false);
    let mut env: Env<Array> = Env::empty(j);
    for (v, x) in j.invars.iter().zip(inputs) {
        match x {
            Arg::Known(x) => env.set(*v, x.clone()),
            Arg::Linear(_) => {
                if let Some(slot) = linear.get_mut(v.index()) {
                    *slot = true;
                }
            }
        }
    }
    for (v, c) in &j.consts {
        env.set(*v, c.clone());
    }
    let mut backwards = vec![];
    for eqn in &j.eqns {
        if eqn
            .inputs
            .iter()
            .filter_map(Atom::var)
            .any(|v| is_linear(&linear, v))
        {
            for v in &eqn.outputs {
                if let Some(slot) = linear.get_mut(v.index()) {
                    *slot = true;
                }
            }
            backwards.push(eqn);
            continue;
        }
        let x = eqn
            .inputs
            .iter()
            .map(|a| env.atom(a))
            .collect::<Result<Vec<_>>>()?;
        let y = bind_at(&eqn.op, &x.iter().collect::<Vec<_>>(), eqn.at)?;
        for (v, y) in eqn.outputs.iter().zip(y) {
            env.set(*v, y);
        }
    }
    let mut cts: Env<Array> = Env::empty(j);
    let accumulate = |cts: &mut Env<Array>, v: Var, ct: Tangent| -> Result<()> {
        let sum = add_tangents(cts.take(v), ct);
        if let Some(sum) = sum {
            sum.ok()?;
            cts.set(v, sum);
        }
        Ok(())
    };
    for (a, ct) in j.outs.iter().zip(cotangents) {
        if let Some(v) = a.var()
            && is_linear(&linear, v)
        {
            accumulate(&mut cts, v, ct.clone())?;
        }
    }
    for eqn in backwards.into_iter().rev() {
        let ct: Vec<Tangent> = eqn.outputs.iter().map(|v| cts.take(*v)).collect();
        if ct.iter().all(Option::is_none) {
            continue;
        }
        let args = eqn
            .inputs
            .iter()
            .map(|a| match a {
                Atom::Var(v) if is_linear(&linear, *v) => Ok(Arg::Linear(j.aval(*v).clone())),
                a => env.atom(a).map(Arg::Known),
            })
            .collect::<Result<Vec<_>>>()?;
        let given = with_location(eqn.at, || {
            let given = eqn.op.transpose(&ct, &args)?;
            for (a, ct) in eqn.inputs.iter().zip(given) {
                if let Some(v) = a.var()
                    && is_linear(&linear, v)
                {
                    accumulate(&mut cts, v, ct)?;
                }
            }
            Ok(())
        });
        given.map_err(|e: crate::error::Error| e.at(eqn.at))?;
    }
    Ok(j.invars
        .iter()
        .map(|v| {
            if is_linear(&linear, *v) {
                cts.take(*v)
            } else {
                None
            }
        })
        .collect())
}

/// The transposed program. Its inputs are the known inputs of `j`, then the cotangents that `given` marks; its results are the
/// cotangents of the linear inputs that the returned list (one entry for each linear input) marks.
pub(crate) fn transpose(j: &Jaxpr, linear: &[bool], given: &[bool]) -> Result<(Jaxpr, Vec<bool>)> {
    let known = j
        .in_avals()
        .zip(linear)
        .filter(|(_, l)| !**l)
        .map(|(a, _)| a.clone());
    let outs = j.out_avals();
    let cts = outs
        .iter()
        .zip(given)
        .filter(|(_, g)| **g)
        .map(|(a, _)| a.strong());
    let inputs: Vec<Aval> = known.chain(cts).collect();
    // Equations with programs inside may mix both: what is known runs first.
    let halves = partial_eval::partial_eval(j, linear, &vec![true; outs.len()])?;
    let known_inputs = inputs.len() - given.iter().filter(|g| **g).count();
    let mut nonzero = vec![];
    let program = trace::stage(&inputs, None, &mut |mut x| {
        let mut cts = x.split_off(known_inputs.min(x.len())).into_iter();
        let residuals = halves.known.eval(&x)?;
        let args: Vec<Arg> = halves
            .unknown
            .invars
            .iter()
            .enumerate()
            .map(|(i, v)| match residuals.get(i) {
                Some(x) => Arg::Known(x.clone()),
                None => Arg::Linear(halves.unknown.aval(*v).clone()),
            })
            .collect();
        let cts: Vec<Tangent> = given
            .iter()
            .map(|g| if *g { cts.next() } else { None })
            .collect();
        let results = backward(&halves.unknown, &args, &cts)?;
        let results: Vec<Tangent> = results.into_iter().skip(residuals.len()).collect();
        nonzero = results.iter().map(Option::is_some).collect();
        Ok(results.into_iter().flatten().collect())
    })?;
    Ok((program.through(&[DCE])?, nonzero))
}
