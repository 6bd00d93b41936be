//! Batching: a program for one example becomes one for many.

use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{
        self, Atom, Env, Jaxpr, bind_at,
        op::{BatchAxis, batch_to_front, move_axis},
        passes::DCE,
        with_location,
    },
};

/// The batched program. `dims` says where the batch axis of each input is; the list that comes back says it of each result.
/// `wanted` asks for result axes instead of taking them as they come.
pub(crate) fn batch(
    j: &Jaxpr,
    dims: &[Option<usize>],
    axis: &BatchAxis,
    wanted: Option<&[Option<usize>]>,
) -> Result<(Jaxpr, Vec<Option<usize>>)> {
    let inputs: Vec<Aval> = j
        .in_avals()
        .zip(dims)
        .map(|(a, d)| {
            let mut a = a.clone();
            if let Some(d) = d {
                a.shape.insert((*d).min(a.shape.len()), axis.size);
            }
            a
        })
        .collect();
    let mut out_dims = vec![];
    let program = trace::stage(&inputs, None, &mut |x| {
        let (mut outs, mut at) = eval_batched(j, x, dims, axis)?;
        if let Some(wanted) = wanted {
            for ((y, d), w) in outs.iter_mut().zip(&mut at).zip(wanted) {
                if let Some(w) = w {
                    *y = move_axis(&batch_to_front(y, *d, axis.size), 0, *w);
                    *d = Some(*w);
                }
            }
        }
        out_dims = at;
        Ok(outs)
    })?;
    Ok((program.through(&[DCE])?, out_dims))
}

/// Run a program on a batch: the results, and where the batch axis of each is.
pub(crate) fn eval_batched(
    j: &Jaxpr,
    x: Vec<Array>,
    dims: &[Option<usize>],
    axis: &BatchAxis,
) -> Result<(Vec<Array>, Vec<Option<usize>>)> {
    type Entry = (Array, Option<usize>);
    let entries: Vec<Entry> = x.into_iter().zip(dims.iter().copied()).collect();
    let mut env: Env<Entry> = Env::new(j, entries.into_iter())?;
    for (v, c) in &j.consts {
        env.set(*v, (c.clone(), None));
    }
    let read = |env: &Env<Entry>, a: &Atom| match a {
        Atom::Var(v) => env.get(*v).cloned(),
        Atom::Lit(l) => Ok((l.array(), None)),
    };
    for eqn in &j.eqns {
        let mut x = Vec::with_capacity(eqn.inputs.len());
        let mut d = Vec::with_capacity(eqn.inputs.len());
        for a in &eqn.inputs {
            let (y, at) = read(&env, a)?;
            x.push(y);
            d.push(at);
        }
        let (y, at) = if d.iter().all(Option::is_none) && !eqn.op.reads_axis(axis) {
            let y = bind_at(&eqn.op, &x.iter().collect::<Vec<_>>(), eqn.at)?;
            let none = vec![None; y.len()];
            (y.into_vec(), none)
        } else {
            with_location(eqn.at, || eqn.op.batch(&x, &d, axis)).map_err(|e| e.at(eqn.at))?
        };
        for ((v, y), at) in eqn.outputs.iter().zip(y).zip(at) {
            y.ok()?;
            env.set(*v, (y, at));
        }
    }
    Ok(j.outs
        .iter()
        .map(|a| read(&env, a))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip())
}

thread_local! {
    static AXES: std::cell::RefCell<Vec<BatchAxis>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Run `f`, which traces the function of one example, with the axis known by its name.
pub(crate) fn within<R>(axis: &BatchAxis, f: impl FnOnce() -> R) -> R {
    struct Pop;
    impl Drop for Pop {
        fn drop(&mut self) {
            AXES.with_borrow_mut(|a| a.pop());
        }
    }
    AXES.with_borrow_mut(|a| a.push(axis.clone()));
    let _pop = Pop;
    f()
}

/// The size of the innermost mapped axis of this name.
pub(crate) fn axis_size(name: &str) -> Option<usize> {
    AXES.with_borrow(|a| {
        a.iter()
            .rev()
            .find(|a| a.name.as_deref() == Some(name))
            .map(|a| a.size)
    })
}

/// The array with its first axis moved to the end.
pub(crate) fn last(x: &Array) -> Array {
    move_axis(x, 0, x.ndim().saturating_sub(1))
}
