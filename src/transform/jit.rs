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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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

/// What a program was traced for.
struct Key {
    structure: u64,
    view: View,
    avals: Vec<Aval>,
}

impl Key {
    fn fits(&self, flat: &FlatArgs, view: View) -> bool {
        self.structure == flat.structure
            && self.view == view
            && self.avals.len() == flat.leaves.len()
            && self
                .avals
                .iter()
                .zip(&flat.leaves)
                .all(|(a, x)| x.has_aval(a))
    }
}

struct Entry {
    key: Key,
    program: Program,
    /// The arrays that the function captured.
    captured: Vec<Array>,
    like: Arc<dyn DynTree>,
    /// Made at the first call from outside of every trace.
    executable: OnceLock<Executable>,
}

/// The programs of one function, by a hash of structure and types.
type Cache = Mutex<FxHashMap<u64, Vec<Arc<Entry>>>>;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash that equal keys share; types are left to the comparison, shapes being what tells calls apart.
fn bucket(flat: &FlatArgs) -> u64 {
    flat.leaves.iter().fold(flat.structure, |h, x| {
        let size = x.aval_ref().map_or(0, |a| a.size() as u64);
        (h ^ size)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23)
    })
}

fn jit_dyn<'f>(name: &'static str, f: Fun<'f>) -> Fun<'f> {
    let cache = Cache::default();
    let name: Arc<str> = name.into();
    Arc::new(move |args| {
        let view = view();
        let flat = FlatArgs::new(args, view);
        let bucket = bucket(&flat);
        let hit = lock(&cache)
            .get(&bucket)
            .and_then(|b| b.iter().find(|e| e.key.fits(&flat, view)))
            .cloned();
        let entry = match hit {
            Some(entry) => entry,
            None => {
                let key = Key {
                    structure: flat.structure,
                    view,
                    avals: flat.avals()?,
                };
                let (program, like) = stage(&f, args, &key.avals, None, view)?;
                let (program, captured) = program.close();
                // A program that captured a variable of an enclosing trace belongs to that trace.
                let keep = !captured.iter().any(Array::is_traced);
                let entry = Arc::new(Entry {
                    key,
                    program: program.into(),
                    captured,
                    like: like.into(),
                    executable: OnceLock::new(),
                });
                if keep {
                    lock(&cache).entry(bucket).or_default().push(entry.clone());
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
        if let Some(e) = self.executable.get() {
            return e.run(args);
        }
        let made = compile(&(*self.program).clone().dce())?;
        self.executable.get_or_init(|| made).run(args)
    }
}
