//! Forward derivatives: a program becomes one that carries tangents along.

use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{self, Atom, Env, Jaxpr, bind_at, op::Tangent, passes::DCE, with_location},
};

/// The tangent program. Its inputs are those of `j`, then a tangent for each that `nonzero` marks; its results are those of `j`,
/// then a tangent for each that the returned list marks. `instantiate` marks results whose tangents are wanted even if zero.
pub(crate) fn jvp(
    j: &Jaxpr,
    nonzero: &[bool],
    instantiate: Option<&[bool]>,
) -> Result<(Jaxpr, Vec<bool>)> {
    let mut inputs: Vec<Aval> = j.in_avals().cloned().collect();
    let tangent_avals: Vec<Aval> = inputs
        .iter()
        .zip(nonzero)
        .filter(|(_, n)| **n)
        .map(|(a, _)| a.clone())
        .collect();
    inputs.extend(tangent_avals);
    let mut nonzero_out = vec![];
    let program = trace::stage(&inputs, None, &mut |mut x| {
        let mut tangents = x.split_off(j.invars.len()).into_iter();
        let tangents: Vec<Tangent> = nonzero
            .iter()
            .map(|n| if *n { tangents.next() } else { None })
            .collect();
        let (mut outs, tangents) = eval_jvp(j, x, tangents)?;
        nonzero_out = tangents.iter().map(Option::is_some).collect();
        for (i, t) in tangents.into_iter().enumerate() {
            let wanted = instantiate.is_some_and(|w| w.get(i).copied().unwrap_or(false));
            match t {
                Some(t) => outs.push(t),
                None if wanted => {
                    if let Some(slot) = nonzero_out.get_mut(i) {
                        *slot = true;
                    }
                    let zero = outs.get(i).map(Array::zeros_like);
                    outs.extend(zero);
                }
                None => {}
            }
        }
        Ok(outs)
    })?;
    Ok((program.through(&[DCE])?, nonzero_out))
}

/// Run a program on primals and tangents.
pub(crate) fn eval_jvp(
    j: &Jaxpr,
    primals: Vec<Array>,
    tangents: Vec<Tangent>,
) -> Result<(Vec<Array>, Vec<Tangent>)> {
    let mut env: Env<(Array, Tangent)> = Env::new(
        j,
        primals
            .into_iter()
            .zip(tangents)
            .collect::<Vec<_>>()
            .into_iter(),
    )?;
    for (v, c) in &j.consts {
        env.set(*v, (c.clone(), None));
    }
    let read = |env: &Env<(Array, Tangent)>, a: &Atom| match a {
        Atom::Var(v) => env.get(*v).cloned(),
        Atom::Lit(l) => Ok((l.array(), None)),
    };
    for eqn in &j.eqns {
        let mut x = Vec::with_capacity(eqn.inputs.len());
        let mut t = Vec::with_capacity(eqn.inputs.len());
        for a in &eqn.inputs {
            let (p, dp) = read(&env, a)?;
            x.push(p);
            t.push(dp);
        }
        let (y, dy) = if t.iter().all(Option::is_none) {
            let y = bind_at(&eqn.op, &x.iter().collect::<Vec<_>>(), eqn.at)?;
            let none = vec![None; y.len()];
            (y.into_vec(), none)
        } else {
            with_location(eqn.at, || eqn.op.jvp(&x, &t)).map_err(|e| e.at(eqn.at))?
        };
        for ((v, y), dy) in eqn.outputs.iter().zip(y).zip(dy) {
            y.ok()?;
            if let Some(dy) = &dy {
                dy.ok()?;
            }
            // Only inexact numbers have tangents.
            let dy = dy.filter(|_| j.aval(*v).dtype.is_inexact());
            env.set(*v, (y, dy));
        }
    }
    Ok(j.outs
        .iter()
        .map(|a| read(&env, a))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip())
}
