//! What an array-ish type says of itself.

use super::{Rules, resolve::definition};
use crate::{
    array::{Array, Aval, DynValue},
    error::Result,
    trace,
    tree::{Flat, Leaves, PyTree, View},
};
use rustc_hash::FxHashMap;
use std::{
    any::{Any, TypeId, type_name},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// A type that programs written for plain arrays can run on.
///
/// A type says what it *equals* ([`ArrayValue::materialise`]); that alone makes every primitive work on it, and the optimiser
/// finds out how to compute without forming what it equals. [`ArrayValue::rules`] is for what is not algebra, and for results that
/// are values themselves.
///
/// ```
/// use quaxide::prelude::*;
///
/// /// Metres: lengths add, and have no unit-free value.
/// #[derive(Clone, PyTree)]
/// struct Metres(Array);
///
/// impl ArrayValue for Metres {
///     fn aval(&self) -> Result<Aval> {
///         self.0.aval()
///     }
///     fn materialise(&self) -> Result<Array> {
///         Err(Error::refused("a length is not a number"))
///     }
///     fn rules(r: &mut Rules) {
///         r.binary(op::ADD, |_, x: &Metres, y: &Metres| Metres(&x.0 + &y.0));
///     }
/// }
///
/// let x = Array::from_value(Metres(Array::from([1f32])));
/// let y = quaxify(|x: &Array| x + x)(&x).unwrap();
/// assert_eq!(y.value::<Metres>().unwrap().0.item::<f32>().unwrap(), 2.0);
/// assert!(quaxify(|x: &Array| x.sin())(&x).is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an array-ish value",
    note = "implement `ArrayValue` for it, or take `&Dense` (a plain array) or `&Any` (whatever is there)"
)]
pub trait ArrayValue: PyTree {
    /// Shape and element type of the array that it equals. Pure, and cheap.
    fn aval(&self) -> Result<Aval>;

    /// The array that it equals, written in array operations on its components; traced, not run, under `quaxify`. An error, if
    /// there is no such array.
    fn materialise(&self) -> Result<Array>;

    /// May a plan hold the array that it equals? If not, programs that need it are refused, and the others are planned around it.
    fn may_materialise(&self) -> bool {
        true
    }

    /// Is the tangent of a value a value of its kind, in which the tangents of the components stand, and those that are no numbers stay as
    /// they are? So it is of a type that wraps an array and says something of it, as `Named` does; a function that brings its own
    /// derivative then keeps it where it is applied to such values, and gives such values. Of all other types the tangent is that of the array that they equal.
    fn is_own_tangent(&self) -> bool {
        false
    }

    /// For a type that is its own tangent: this value with what it says of its cotangent, whatever the numbers. So that of metres is per
    /// metre; names and masks stay as they are.
    fn cotangent(&self) -> Self {
        self.clone()
    }

    /// The plain array that this value is where a plain array's cotangent is asked for: that of weights beside masked data, say.
    fn as_cotangent(&self) -> Result<Array> {
        self.materialise()
    }

    /// The arrays of which it is the sum, for a value whose components are values: where the type of one has a rule for what is linear, the
    /// rule meets that term, and the others are added ([`Terms`](crate::rules::Terms)). So an adapter over a sparse weight stays sparse.
    fn terms(&self) -> Option<Vec<Array>> {
        None
    }

    /// The type with what matters of it, as messages and `traced` programs write it.
    fn describe(&self) -> String {
        match self.aval() {
            Ok(a) => format!("{}({a})", short_name::<Self>()),
            Err(_) => short_name::<Self>().to_string(),
        }
    }

    /// The rules that the type brings with it.
    fn rules(_rules: &mut Rules) {}
}

/// The name of a type without its path.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let full = type_name::<T>();
    let head = full.split('<').next().unwrap_or(full);
    head.rsplit("::").next().unwrap_or(head)
}

impl<T: ArrayValue> DynValue for T {
    fn type_name(&self) -> &'static str {
        short_name::<T>()
    }
    fn describe(&self) -> String {
        ArrayValue::describe(self)
    }
    fn aval_dyn(&self) -> Result<Aval> {
        self.aval()
    }
    fn materialise_dyn(&self) -> Result<Array> {
        self.materialise()
    }
    fn may_materialise_dyn(&self) -> bool {
        self.may_materialise()
    }
    fn is_own_tangent_dyn(&self) -> bool {
        self.is_own_tangent()
    }
    fn cotangent_dyn(&self) -> Arc<dyn DynValue> {
        Arc::new(self.cotangent())
    }
    fn as_cotangent_dyn(&self) -> Result<Array> {
        self.as_cotangent()
    }

    fn terms_dyn(&self) -> Option<Vec<Array>> {
        self.terms()
    }
    fn flatten_dyn(&self, out: &mut Flat<'_>) {
        self.flatten(out);
    }
    fn unflatten_dyn(&self, leaves: &mut Leaves<'_>) -> Arc<dyn DynValue> {
        Arc::new(self.unflatten(leaves))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn table_dyn(&self) -> Arc<dyn Any + Send + Sync> {
        rules_of::<T>()
    }
}

/// The rules that a type brings, collected once in a process.
pub(crate) fn rules_of<T: ArrayValue>() -> Arc<Rules> {
    static TABLES: LazyLock<Mutex<FxHashMap<TypeId, Arc<Rules>>>> = LazyLock::new(Mutex::default);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let collect = || {
        let mut rules = Rules::new(short_name::<T>());
        T::rules(&mut rules);
        Arc::new(rules)
    };
    tables
        .entry(TypeId::of::<T>())
        .or_insert_with(collect)
        .clone()
}

/// The rules of symbolic zeros.
pub(crate) fn zero_rules() -> Arc<Rules> {
    static TABLE: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        let mut rules = Rules::new("Zero");
        crate::rules::Zero::rules(&mut rules);
        Arc::new(rules)
    });
    TABLE.clone()
}

impl Array {
    /// An array-ish value as an array: what `quaxify` takes, and what a field of a model may hold.
    pub fn from_value(v: impl ArrayValue) -> Array {
        Array::from_dyn_value(Arc::new(v))
    }

    /// What it is, as messages and `traced` programs write it: `f32[2]`, or an array-ish value's description.
    pub fn describe(&self) -> String {
        match (self.as_dyn_value(), self.aval()) {
            (Some(v), _) => v.describe(),
            (None, Ok(a)) => a.to_string(),
            (None, Err(e)) => e.message().to_string(),
        }
    }

    /// Is it a value of type `T`, or a value that has one among its components, at any depth?
    pub fn holds<T: ArrayValue>(&self) -> bool {
        let Some(v) = self.as_dyn_value() else {
            return false;
        };
        if v.as_any().is::<T>() {
            return true;
        }
        let mut found = false;
        let mut look = |_: &str, x: &Array| found |= x.holds::<T>();
        v.flatten_dyn(&mut Flat::new(View::Values, &mut look));
        found
    }

    /// What an array-ish value equals, as a rule may compute with it: traced once for each value under `quaxify`, and marked if no
    /// plan may form it. A plain array equals itself.
    ///
    /// An error if the value's type refuses.
    pub fn definition(&self) -> Result<Array> {
        match trace::current() {
            Some(t) if self.as_dyn_value().is_some() => definition(&t, self),
            _ => self.materialise(),
        }
    }

    /// The plain array that this equals: the array itself, or what an array-ish value's definition yields.
    ///
    /// An error if the value's type refuses.
    pub fn materialise(&self) -> Result<Array> {
        let mut x = self.clone();
        for _ in 0..crate::tree::MAX_VALUE_DEPTH {
            x = match x.as_dyn_value() {
                None => return x.ok().cloned(),
                Some(v) if !v.may_materialise_dyn() => return Err(refusal(&**v)),
                Some(v) => v.materialise_dyn()?,
            };
        }
        Err(crate::tree::too_deep())
    }
}

/// The refusal of a value to become a plain array.
pub(crate) fn refusal(v: &dyn DynValue) -> crate::error::Error {
    crate::error::Error::refused(format!("refusing to materialise {}", v.describe()))
        .note("its type or its `allow_materialise` forbids the array that it equals")
}
