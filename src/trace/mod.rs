//! Tracing: functions of arrays become programs.
//!
//! While a trace is current (on top of its thread's stack), every operation is recorded instead of run. A traced [`Array`] holds
//! its trace; one of an enclosing trace is captured as a constant, and one of a trace that has ended is an error.

mod bind;
mod check;
mod jaxpr;
pub mod op;
mod parse;
pub(crate) mod passes;
pub(crate) mod print;

pub use bind::{bind, bind_all};
pub(crate) use bind::{bind_at, bind_op, here, place, transformed_at, with_location};
pub(crate) use jaxpr::Env;
pub use jaxpr::{Atom, Atoms, Eqn, Jaxpr, Literal, Program, Var, Vars};

use crate::{
    array::{Array, Aval, Dims, Repr, Scalar},
    error::{Error, ErrorKind, Result},
};
use op::{BroadcastInDim, Op};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::{
    any::Any,
    cell::RefCell,
    panic::{self, AssertUnwindSafe, Location},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

/// What a dispatching trace carries for `dispatch::resolve`; the trace itself does not look inside.
pub(crate) type Context = Arc<dyn Any + Send + Sync>;

/// A variable of a trace in progress.
#[derive(Clone)]
pub(crate) struct Traced {
    trace: Arc<Trace>,
    var: Var,
    pub(crate) aval: Arc<Aval>,
}

/// A trace in progress.
pub(crate) struct Trace {
    id: u64,
    parent: Option<Arc<Trace>>,
    context: Option<Context>,
    thread: ThreadId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    jaxpr: Jaxpr,
    lifted: FxHashMap<Identity, Var>,
    first_error: Option<Error>,
    once: FxHashMap<Identity, (Array, Array)>,
}

/// By which an array is known as the same: its trace and variable, or the address of what it shares.
pub(crate) type Identity = (u64, usize);

thread_local! {
    static STACK: RefCell<Vec<Arc<Trace>>> = const { RefCell::new(Vec::new()) };
}
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that nothing else in this process has.
pub(crate) fn fresh_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// The innermost trace of this thread.
pub(crate) fn current() -> Option<Arc<Trace>> {
    STACK.with_borrow(|s| s.last().cloned())
}

/// Is some trace in progress on this thread?
pub(crate) fn is_tracing() -> bool {
    STACK.with_borrow(|s| !s.is_empty())
}

/// Is some trace of this thread a dispatching one? Then array-ish values are single arrays; else they are trees of components.
pub(crate) fn is_dispatching() -> bool {
    STACK.with_borrow(|s| s.iter().any(|t| t.context.is_some()))
}

/// Note a failed operation: the first one fails the trace, whatever becomes of its result. What is said of it later is heard.
pub(crate) fn poison(e: &Error) {
    let Some(t) = current() else {
        return;
    };
    let mut state = t.state();
    let first = state.first_error.get_or_insert_with(|| e.clone());
    if e.says_more_than(first) {
        *first = e.clone();
    }
}

/// Run `f` as if no trace were in progress: operations on concrete arrays compute at once.
///
/// ```
/// use quaxide::prelude::*;
/// let f = jit(|x: &Array| {
///     let table = quaxide::eager(|| Array::arange(3, DType::F32).square()); // computed now, not traced
///     x * table
/// });
/// assert_eq!(f(&Array::from([1f32, 1., 1.])).unwrap().to_vec::<f32>().unwrap(), [0., 1., 4.]);
/// ```
pub fn eager<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(Vec<Arc<Trace>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STACK.with_borrow_mut(|s| std::mem::swap(s, &mut self.0));
        }
    }
    let _restore = Restore(STACK.with_borrow_mut(std::mem::take));
    f()
}

impl Traced {
    pub(crate) fn identity(&self) -> Identity {
        (self.trace.id, self.var.index())
    }

    /// The error of using it where its trace is not in progress.
    pub(crate) fn escaped(&self) -> Error {
        let message = if self.trace.thread == thread::current().id() {
            format!(
                "a traced {} was used outside of the function that it was traced in",
                self.aval
            )
        } else {
            format!(
                "a traced {} was used on another thread than its trace",
                self.aval
            )
        };
        Error::new(ErrorKind::Escaped, message)
            .note("return it from the function instead of storing it or sending it to a thread")
    }
}

impl Trace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What dispatch put here, if it is a dispatching trace.
    pub(crate) fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// Does a trace around this one dispatch?
    pub(crate) fn is_within_dispatch(&self) -> bool {
        std::iter::successors(self.parent.as_ref(), |t| t.parent.as_ref())
            .any(|t| t.context.is_some())
    }

    fn encloses(&self, id: u64) -> bool {
        std::iter::successors(self.parent.as_ref(), |t| t.parent.as_ref()).any(|t| t.id == id)
    }

    /// `f()`, computed once in this trace for an array.
    pub(crate) fn once(&self, x: &Array, f: impl FnOnce() -> Result<Array>) -> Result<Array> {
        let key = x.identity();
        if let Some((_, y)) = self.state().once.get(&key) {
            return Ok(y.clone());
        }
        let y = f()?;
        // Keeping `x` keeps its address from being used again.
        self.state().once.insert(key, (x.clone(), y.clone()));
        Ok(y)
    }

    /// The variable or literal that stands for an array in this trace.
    fn lift(self: &Arc<Self>, state: &mut State, x: &Array) -> Result<Atom> {
        let key = match &x.0 {
            Repr::Traced(t) if t.trace.id == self.id => return Ok(Atom::Var(t.var)),
            Repr::Traced(t) if !self.encloses(t.trace.id) => return Err(t.escaped()),
            Repr::Error(e) => return Err(e.clone()),
            Repr::Dense(b) => {
                if let Some(l) = Literal::new(b.clone()) {
                    return Ok(Atom::Lit(l));
                }
                x.identity()
            }
            Repr::Zero(a) => return self.zeros(state, a),
            Repr::Value(v) if !is_dispatching() => return Err(bind::not_quaxified(&**v)),
            Repr::Traced(_) | Repr::Value(_) => x.identity(),
        };
        if let Some(v) = state.lifted.get(&key) {
            return Ok(Atom::Var(*v));
        }
        let v = state.jaxpr.fresh(Arc::new(x.aval()?));
        state.jaxpr.consts.push((v, x.clone()));
        state.lifted.insert(key, v);
        Ok(Atom::Var(v))
    }

    /// A symbolic zero that has to be a variable after all: a broadcast literal, not a buffer.
    fn zeros(self: &Arc<Self>, state: &mut State, aval: &Arc<Aval>) -> Result<Atom> {
        let zero = Array::from_scalar(Scalar::Int(0), aval.dtype, aval.weak_type);
        if aval.ndim() == 0 {
            return self.lift(state, &zero);
        }
        let op = BroadcastInDim {
            shape: aval.shape.clone(),
            broadcast_dimensions: Dims::new(),
        };
        let literal = self.lift(state, &zero)?;
        let v = state.jaxpr.fresh(aval.clone());
        state.jaxpr.eqns.push(Eqn {
            op: op.into(),
            inputs: SmallVec::from_iter([literal]),
            outputs: SmallVec::from_iter([v]),
            at: Location::caller(),
        });
        Ok(Atom::Var(v))
    }

    /// Record an equation.
    pub(crate) fn record(
        self: &Arc<Self>,
        op: &Op,
        args: &[&Array],
        at: &'static Location<'static>,
    ) -> Result<SmallVec<[Array; 1]>> {
        if self.thread != thread::current().id() {
            return Err(Error::internal(
                "a trace is current on a thread that is not its own",
            ));
        }
        let mut guard = self.state();
        let state = &mut *guard;
        if state.closed {
            return Err(Error::internal("the trace has ended"));
        }
        let mut inputs = Atoms::new();
        for a in args {
            inputs.push(self.lift(state, a)?);
        }
        let avals = {
            let operands: SmallVec<[&Aval; 4]> =
                inputs.iter().map(|a| state.jaxpr.atom_aval(a)).collect();
            op.infer(&operands)
                .map_err(|e| e.operation(|| op.describe(&operands)))?
        };
        let mut results = SmallVec::new();
        let mut outputs = Vars::new();
        for aval in avals {
            let aval = Arc::new(aval);
            let var = state.jaxpr.fresh(aval.clone());
            outputs.push(var);
            results.push(Array(Repr::Traced(Traced {
                trace: self.clone(),
                var,
                aval,
            })));
        }
        state.jaxpr.eqns.push(Eqn {
            op: op.clone(),
            inputs,
            outputs,
            at,
        });
        Ok(results)
    }
}

/// Run `f` on fresh variables of these types and return the program that it makes; `context` makes the trace a dispatching one.
///
/// The first failed operation fails the whole. A panic passes through, unless an operation had failed before it.
pub(crate) fn stage(
    inputs: &[Aval],
    context: Option<Context>,
    f: &mut dyn FnMut(Vec<Array>) -> Result<Vec<Array>>,
) -> Result<Jaxpr> {
    let trace = Arc::new(Trace {
        id: fresh_id(),
        parent: current(),
        context,
        thread: thread::current().id(),
        state: Mutex::default(),
    });
    let vars: Vec<Array> = {
        let mut state = trace.state();
        let fresh = |aval: &Aval| {
            let aval = Arc::new(aval.clone());
            let var = state.jaxpr.fresh(aval.clone());
            state.jaxpr.invars.push(var);
            Array(Repr::Traced(Traced {
                trace: trace.clone(),
                var,
                aval,
            }))
        };
        inputs.iter().map(fresh).collect()
    };
    let outs = {
        struct Pop;
        impl Drop for Pop {
            fn drop(&mut self) {
                STACK.with_borrow_mut(|s| s.pop());
            }
        }
        STACK.with_borrow_mut(|s| s.push(trace.clone()));
        let _pop = Pop;
        let outs = panic::catch_unwind(AssertUnwindSafe(|| f(vars)));
        let mut state = trace.state();
        let first_error = state.first_error.take();
        let outs = match (outs, first_error) {
            (Err(_), Some(e)) => Err(e.note("the function then panicked")),
            (Ok(_), Some(e)) => Err(e),
            (Ok(outs), None) => outs,
            (Err(panic), None) => {
                state.closed = true;
                drop(state);
                panic::resume_unwind(panic)
            }
        };
        let lifted = outs.and_then(|outs| {
            outs.iter()
                .map(|o| trace.lift(&mut state, o))
                .collect::<Result<Vec<Atom>>>()
        });
        state.closed = true;
        lifted.map(|atoms| state.jaxpr.outs = atoms)
    };
    // What the state holds may hold the trace: taking it out breaks the circle.
    let state = std::mem::take(&mut *trace.state());
    trace.state().closed = true;
    outs?;
    let jaxpr = state.jaxpr;
    #[cfg(debug_assertions)]
    jaxpr.check()?;
    Ok(jaxpr)
}
