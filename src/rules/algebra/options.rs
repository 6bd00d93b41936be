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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    keep_order: bool,
    residual_price: f64,
    equalities: Vec<Arc<Equality>>,
}

/// What the scopes around a program come to: what was planned under equal ones is planned alike. Nothing outside of every scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planning(Option<Arc<Options>>);

impl PartialEq for Planning {
    fn eq(&self, other: &Planning) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }
}

impl Planning {
    /// That of this place.
    pub(crate) fn here() -> Planning {
        CURRENT.with_borrow(|stack| stack.last().cloned().unwrap_or_default())
    }
}

thread_local! {
    /// The scopes, each with what those around it know.
    static CURRENT: RefCell<Vec<Planning>> = const { RefCell::new(Vec::new()) };
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

    /// What it costs to hold a megabyte of residuals from the forward to the backward pass, in microseconds. Residuals that cost
    /// more to be held than to be made are computed again in the backward pass. The default is 0, which keeps all of them; what is
    /// no positive number counts as that.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::algebra::Options};
    /// let (a, x) = (Array::ones([8, 8], DType::F32), Array::ones([8], DType::F32));
    /// let loss = |a: &Array, x: &Array| a.dot(&a.dot(x)).tanh().sum(());
    /// let da = Options::new().residual_price(1e3).scope(|| jit(grad(loss))(&a, &x)).unwrap();
    /// assert_eq!(da.shape(), [8, 8]);
    /// ```
    #[must_use]
    pub fn residual_price(mut self, us_per_megabyte: f64) -> Self {
        self.residual_price = if us_per_megabyte > 0.0 {
            us_per_megabyte
        } else {
            0.0
        };
        self
    }

    /// Something that is equal, to be used where it is cheaper.
    #[must_use]
    pub fn equality(mut self, equality: Equality) -> Self {
        self.equalities.push(Arc::new(equality));
        self
    }

    /// Runs a function; programs that are planned in it, on this thread, are planned so. A jitted function is planned once for each
    /// kind of arguments and for each set of options that it is called under.
    pub fn scope<R>(mut self, f: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(|stack| stack.pop());
            }
        }
        CURRENT.with_borrow_mut(|stack| {
            if let Some(Planning(Some(around))) = stack.last() {
                self.equalities.extend(around.equalities.iter().cloned());
            }
            stack.push(Planning(Some(Arc::new(self))));
        });
        let _leave = Leave;
        f()
    }

    pub(super) fn keeps_order() -> bool {
        Planning::here().0.is_some_and(|options| options.keep_order)
    }

    /// What a residual costs here; scopes within others say it anew.
    pub(super) fn price() -> f64 {
        Planning::here()
            .0
            .map_or(0.0, |options| options.residual_price)
    }

    /// What is known to be equal here, the innermost scope's first.
    pub(super) fn equalities() -> Vec<Arc<Equality>> {
        let here = Planning::here().0;
        let mut all = here.map_or_else(Vec::new, |options| options.equalities.clone());
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
