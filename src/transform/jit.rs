//! `jit`, `make_jaxpr`, `eval_shape`.

use super::{
    Args, Call, DynTree, FlatArgs, Fun, Function, Tree, compile, function::function_name, rebuild,
    run::Executable, stage, view,
};
use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{self, Jaxpr, Program, bind_all, op::Jit},
    tree::View,
};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The program that a function is, for arguments of these types: `make_jaxpr(f)(&x, &y)?`.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::zeros([2], DType::F32);
/// let program = make_jaxpr(|x: &Array| x.sin())(&x).unwrap();
/// assert_eq!(program.to_string(), "{ lambda ; a:f32[2]. let b:f32[2] = sin a in (b,) }");
/// ```
#[track_caller]
pub fn make_jaxpr<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Call<'f, A, Jaxpr> {
    let f = f.erase();
    Call::new(Arc::new(move |args| {
        let view = view();
        let avals = FlatArgs::new(args, view).avals()?;
        Ok(Box::new(stage(&f, args, &avals, None, view)?.0))
    }))
}

/// What a function returns for arguments of these types, with symbolic zeros in the place of numbers: nothing is computed.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::zeros([2, 3], DType::F32);
/// assert_eq!(eval_shape(|x: &Array| x.sum(0))(&x).unwrap().shape(), [3]);
/// ```
#[track_caller]
pub fn eval_shape<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Call<'f, A, F::Out> {
    let f = f.erase();
    Call::new(Arc::new(move |args| {
        let view = view();
        let avals = FlatArgs::new(args, view).avals()?;
        let (program, like) = stage(&f, args, &avals, None, view)?;
        Ok(rebuild(
            &*like,
            view,
            program.out_avals().into_iter().map(Array::symbolic_zero),
        ))
    }))
}

/// A function that is traced, rewritten and compiled once for each combination of argument types, and then runs from the cache.
///
/// The cache is keyed on the structure of the arguments (static parts included) and on the types of their leaves.
///
/// ```
/// use quaxide::prelude::*;
/// let f = jit(|x: &Array| (x * 2.0).sin());
/// let y = f(&Array::from([0f32, 1.0])).unwrap();
/// assert_eq!(y.shape(), [2]);
/// ```
#[track_caller]
pub fn jit<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Call<'f, A, F::Out> {
    Call::new(jit_dyn(function_name::<F>(), f.erase()))
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    structure: u64,
    view: View,
    avals: Vec<Aval>,
}

struct Entry {
    program: Program,
    /// The arrays that the function captured.
    captured: Vec<Array>,
    like: Arc<dyn DynTree>,
    /// Made at the first call from outside of every trace.
    executable: Mutex<Option<Arc<Executable>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn jit_dyn<'f>(name: &'static str, f: Fun<'f>) -> Fun<'f> {
    let cache: Mutex<FxHashMap<Key, Arc<Entry>>> = Mutex::default();
    let name: Arc<str> = name.into();
    Arc::new(move |args| {
        let view = view();
        let flat = FlatArgs::new(args, view);
        let key = Key {
            structure: flat.structure,
            view,
            avals: flat.avals()?,
        };
        let hit = lock(&cache).get(&key).cloned();
        let entry = match hit {
            Some(entry) => entry,
            None => {
                let (program, like) = stage(&f, args, &key.avals, None, view)?;
                let (program, captured) = program.close();
                // A program that captured a variable of an enclosing trace belongs to that trace.
                let keep = !captured.iter().any(Array::is_traced);
                let entry = Arc::new(Entry {
                    program: program.into(),
                    captured,
                    like: like.into(),
                    executable: Mutex::default(),
                });
                if keep {
                    lock(&cache).insert(key, entry.clone());
                }
                entry
            }
        };
        let outs = entry.call(&name, flat.leaves)?;
        let tree: Tree = rebuild(&*entry.like, view, outs);
        Ok(tree)
    })
}

impl Entry {
    fn call(&self, name: &Arc<str>, leaves: Vec<Array>) -> Result<Vec<Array>> {
        let args: Vec<Array> = if self.captured.is_empty() {
            leaves
        } else {
            self.captured.iter().cloned().chain(leaves).collect()
        };
        if trace::is_tracing() {
            return bind_all(
                Jit {
                    name: name.clone(),
                    jaxpr: self.program.clone(),
                },
                &args,
            );
        }
        let ready = lock(&self.executable).clone();
        let executable = match ready {
            Some(e) => e,
            None => {
                let e = Arc::new(compile(&(*self.program).clone().dce())?);
                *lock(&self.executable) = Some(e.clone());
                e
            }
        };
        executable.run(&args)
    }
}
