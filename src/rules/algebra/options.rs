//! How programs are planned within a scope: in which order sums may be taken, and what users know to be equal.

use super::equality::Equality;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// How programs are planned. The default is to look for the cheapest plan.
///
/// ```
/// use quaxide::{prelude::*, rules::algebra::Options};
/// let (a, b) = (Array::ones([8, 8], DType::F32), Array::ones([8], DType::F32));
/// // As it is written: the product of matrices first.
/// let y = Options::new().keep_order(true).scope(|| jit(|a: &Array, b: &Array| a.dot(a).dot(b))(&a, &b)).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [64.0; 8]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Options {
    keep_order: bool,
    equalities: Vec<Arc<Equality>>,
}

thread_local! {
    static CURRENT: RefCell<Vec<Options>> = const { RefCell::new(Vec::new()) };
}

static EVERYWHERE: LazyLock<Mutex<Vec<Arc<Equality>>>> = LazyLock::new(Mutex::default);

impl Options {
    /// The default.
    pub fn new() -> Options {
        Options::default()
    }

    /// Are sums and products computed in the order in which they are written? Floating-point results then do not depend on the
    /// optimiser, except where a value may not be formed and its terms have to be taken apart.
    #[must_use]
    pub fn keep_order(mut self, yes: bool) -> Self {
        self.keep_order = yes;
        self
    }

    /// Something that is equal, to be used where it is cheaper.
    #[must_use]
    pub fn equality(mut self, equality: Equality) -> Self {
        self.equalities.push(Arc::new(equality));
        self
    }

    /// Runs a function; programs that are planned in it, on this thread, are planned so. A jitted function keeps the plan of the
    /// first call with arguments of a kind.
    pub fn scope<R>(self, f: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(|stack| stack.pop());
            }
        }
        CURRENT.with_borrow_mut(|stack| stack.push(self));
        let _leave = Leave;
        f()
    }

    pub(super) fn keeps_order() -> bool {
        CURRENT.with_borrow(|stack| stack.last().is_some_and(|options| options.keep_order))
    }

    /// What is known to be equal here, the innermost scope's first.
    pub(super) fn equalities() -> Vec<Arc<Equality>> {
        let mut all: Vec<Arc<Equality>> = CURRENT.with_borrow(|stack| {
            let scopes = stack.iter().rev();
            scopes
                .flat_map(|options| options.equalities.clone())
                .collect()
        });
        let everywhere = EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(everywhere.iter().cloned());
        all
    }
}

/// States an equality for the whole process, for programs that are planned from now on: for a type to call in
/// [`ArrayValue::rules`](crate::dispatch::ArrayValue::rules). One of the same name is replaced.
pub fn state(equality: Equality) {
    let mut everywhere = EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    everywhere.retain(|known| known.name() != equality.name());
    everywhere.push(Arc::new(equality));
}
