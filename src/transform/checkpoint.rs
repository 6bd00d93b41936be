//! `checkpoint`.

use super::{Args, Call, FlatArgs, Function, control::apply, rebuild, stage, view};
use crate::{trace::op, tree::PyTree};
use std::sync::Arc;

/// A function whose intermediate results are not kept for its derivative, but computed again: less memory, more time.
///
/// ```
/// use quaxide::prelude::*;
/// let f = checkpoint(|x: &Array| x.sin().sin().sum(()));
/// let g = grad(f)(&Array::from([0f32])).unwrap();
/// assert_eq!(g.to_vec::<f32>().unwrap(), [1.0]);
/// ```
pub fn checkpoint<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Call<'f, A, F::Out>
where
    F::Out: PyTree,
{
    let f = f.erase();
    Call::new(Arc::new(move |args| {
        let view = view();
        let flat = FlatArgs::new(args, view);
        let (program, like) = stage(&f, args, &flat.avals()?, None, view)?;
        let (program, captured) = program.close();
        let op = op::Checkpoint {
            differentiated: false,
            jaxpr: program.into(),
        };
        let results = apply(op.into(), &[captured, flat.leaves].concat())?;
        Ok(rebuild(&*like, view, results))
    }))
}
