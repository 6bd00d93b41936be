//! `jit`, `make_jaxpr`, `eval_shape`.

use super::{
    Args, Call, DynTree, FlatArgs, Fun, Function, Tree, compile,
    function::function_name,
    leaves_of, rebuild,
    run::{Executable, Planning},
    stage, structure_of, view,
};
use crate::{
    array::{Array, Aval},
    error::Result,
    trace::{self, Jaxpr, Program, bind_all, op::Jit},
    tree::{Leaves, Structure, View},
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
/// The cache is keyed on the structure of the arguments (static parts included), on the types of their leaves, and on the
/// [`Options`](crate::rules::algebra::Options) of the scope. A symbolic zero stays one, on the way in and on the way out.
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
    structure: Structure,
    view: View,
    avals: Vec<Aval>,
    /// Which leaves are symbolic zeros: they are no variables, so that what they stand for costs nothing inside either.
    zeros: Vec<usize>,
    /// How it is planned.
    planning: Planning,
}

impl Key {
    /// Are leaves (of the same structure) what the program was traced for?
    fn fits(&self, flat: &FlatArgs, planning: &Planning) -> bool {
        self.avals.len() == flat.leaves.len()
            && self.planning == *planning
            && self
                .avals
                .iter()
                .zip(&flat.leaves)
                .enumerate()
                .all(|(i, (a, x))| x.has_aval(a) && x.is_symbolic_zero() == self.zeros.contains(&i))
    }
}

struct Entry {
    key: Key,
    program: Program,
    /// The arrays that the function captured.
    captured: Vec<Array>,
    like: Arc<dyn DynTree>,
    /// The results that are symbolic zeros, by their place among all.
    zeros: Vec<(usize, Aval)>,
    /// Made at the first call from outside of every trace.
    executable: OnceLock<Executable>,
}

/// The programs of one function.
#[derive(Default)]
struct Programs {
    /// The one that was called last, most likely the next too: a look at it needs no hash.
    last: Option<Arc<Entry>>,
    /// All, by a hash of structure and sizes.
    all: FxHashMap<u64, Vec<Arc<Entry>>>,
}

type Cache = Mutex<Programs>;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash that equal keys share; types are left to the comparison, shapes being what tells calls apart.
fn bucket(structure: u64, leaves: &[Array]) -> u64 {
    leaves.iter().fold(structure, |h, x| {
        let size = x.aval_ref().map_or(0, |a| a.size() as u64);
        (h ^ size)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23)
    })
}

/// The arguments, and the program that was made for such ones, if there is one; else the bucket that it belongs into.
fn look_up(
    cache: &Cache,
    args: &[&dyn DynTree],
    view: View,
    planning: &Planning,
) -> (FlatArgs, std::result::Result<Arc<Entry>, u64>) {
    let last = lock(cache).last.clone();
    if let Some(e) = last.filter(|e| e.key.view == view)
        && let Some(flat) = FlatArgs::of(args, view, &e.key.structure)
        && e.key.fits(&flat, planning)
    {
        return (flat, Ok(e));
    }
    let (flat, structure) = FlatArgs::hashed(args, view);
    let bucket = bucket(structure, &flat.leaves);
    let candidates = lock(cache).all.get(&bucket).cloned().unwrap_or_default();
    let hit = candidates.into_iter().find(|e| {
        e.key.view == view
            && e.key.fits(&flat, planning)
            && FlatArgs::of(args, view, &e.key.structure).is_some()
    });
    if let Some(e) = &hit {
        lock(cache).last = Some(e.clone());
    }
    (flat, hit.ok_or(bucket))
}

fn jit_dyn<'f>(name: &'static str, f: Fun<'f>) -> Fun<'f> {
    let cache = Cache::default();
    let name: Arc<str> = name.into();
    Arc::new(move |args| {
        let view = view();
        let planning = Planning::here();
        let (flat, hit) = look_up(&cache, args, view, &planning);
        let entry = match hit {
            Ok(entry) => entry,
            Err(bucket) => {
                let key = Key {
                    structure: structure_of(args, view),
                    view,
                    avals: flat.avals()?,
                    zeros: places_of_zeros(&flat.leaves),
                    planning,
                };
                let (mut program, like) = if key.zeros.is_empty() {
                    stage(&f, args, &key.avals, None, view)?
                } else {
                    stage(&keeping_zeros(&f, &key), args, &key.avals, None, view)?
                };
                let mut places = 0..;
                program.invars.retain(|_| {
                    let at = places.next();
                    at.is_none_or(|at| !key.zeros.contains(&at))
                });
                let results = leaves_of(&*like, view);
                let zeros = places_of_zeros(&results);
                let mut places = 0..;
                program.outs.retain(|_| {
                    let at = places.next();
                    at.is_none_or(|at| !zeros.contains(&at))
                });
                let zeros = zeros.into_iter().filter_map(|at| {
                    let aval = results.get(at)?.aval().ok()?;
                    Some((at, aval.strong()))
                });
                let zeros = zeros.collect();
                let (program, captured) = program.close();
                // A program that captured a variable of an enclosing trace belongs to that trace.
                let keep = !captured.iter().any(Array::is_traced);
                let entry = Arc::new(Entry {
                    key,
                    program: program.into(),
                    captured,
                    like: like.into(),
                    executable: OnceLock::new(),
                    zeros,
                });
                if keep {
                    let mut programs = lock(&cache);
                    programs.last = Some(entry.clone());
                    let fellows = programs.all.entry(bucket).or_default();
                    fellows.push(entry.clone());
                }
                entry
            }
        };
        let mut leaves = flat.leaves;
        leaves.retain(|x| !x.is_symbolic_zero());
        let mut outs = entry.call(&name, leaves)?;
        for (at, aval) in &entry.zeros {
            outs.insert((*at).min(outs.len()), Array::symbolic_zero(aval.clone()));
        }
        let tree: Tree = rebuild(&*entry.like, view, outs);
        Ok(tree)
    })
}

fn places_of_zeros(leaves: &[Array]) -> Vec<usize> {
    let zero = |(i, x): (usize, &Array)| x.is_symbolic_zero().then_some(i);
    leaves.iter().enumerate().filter_map(zero).collect()
}

/// The function, called with symbolic zeros where the caller has them, whatever stands in their place.
fn keeping_zeros<'a>(f: &Fun<'a>, key: &Key) -> Fun<'a> {
    let (f, zeros, view) = (f.clone(), key.zeros.clone(), key.view);
    Arc::new(move |args| {
        let mut place = 0;
        let mut next = |x: &Array| {
            place += 1;
            match x.aval() {
                Ok(a) if zeros.contains(&(place - 1)) => Array::symbolic_zero(a),
                _ => x.clone(),
            }
        };
        let mut leaves = Leaves::new(view, &mut next);
        let args: Vec<Tree> = args.iter().map(|a| a.unflatten_dyn(&mut leaves)).collect();
        f(&args.iter().map(|a| &**a).collect::<Vec<_>>())
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
        let made = compile((*self.program).clone())?;
        self.executable.get_or_init(|| made).run(args)
    }
}
