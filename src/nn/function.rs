//! Functions and numbers as parts of a network.

use crate::{
    array::Array,
    tree::{Flat, Leaves, PyTree},
};
use std::{
    any::TypeId,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A number that is part of a layer's structure: equal to another if all bits are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fixed(u64);

impl Fixed {
    pub(super) fn new(x: f64) -> Fixed {
        Fixed(x.to_bits())
    }
    pub(super) fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}
impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

type Function = dyn Fn(&Array) -> Array + Send + Sync;

/// A function from array to array that is part of a network's structure: `nn::relu`, or a closure.
///
/// Two are equal if they were made from the same function; a closure that captures something equals only its own clones.
///
/// ```
/// use quaxide::prelude::*;
/// let double = nn::Activation::new(|x: &Array| x * 2.0);
/// assert_eq!(double.call(&Array::from([1f32])).item::<f32>().unwrap(), 2.0);
/// assert_eq!(nn::Activation::new(nn::relu), nn::Activation::new(nn::relu));
/// assert_eq!(format!("{:?}", nn::Activation::new(nn::relu)), "relu");
/// ```
#[derive(Clone)]
pub struct Activation {
    name: &'static str,
    identity: (TypeId, usize),
    f: Arc<Function>,
}

impl Activation {
    /// From a function or closure.
    pub fn new<F: Fn(&Array) -> Array + Send + Sync + 'static>(f: F) -> Activation {
        static CLOSURES: AtomicUsize = AtomicUsize::new(1);
        // What captures nothing is told apart by its type alone.
        let number = match size_of::<F>() {
            0 => 0,
            _ => CLOSURES.fetch_add(1, Ordering::Relaxed),
        };
        Activation {
            name: short(std::any::type_name::<F>()),
            identity: (TypeId::of::<F>(), number),
            f: Arc::new(f),
        }
    }

    /// The function's value.
    #[track_caller]
    pub fn call(&self, x: &Array) -> Array {
        (self.f)(x)
    }
}

fn short(full: &'static str) -> &'static str {
    if full.contains('{') || full.contains('<') || full.contains('(') {
        return "<lambda>";
    }
    full.rsplit("::").next().unwrap_or(full)
}

impl<F: Fn(&Array) -> Array + Send + Sync + 'static> From<F> for Activation {
    fn from(f: F) -> Activation {
        Activation::new(f)
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Activation) -> bool {
        self.identity == other.identity
    }
}
impl Eq for Activation {}
impl Hash for Activation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}
impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// It holds no leaves.
impl PyTree for Activation {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.meta("activation", self);
    }
    fn unflatten(&self, _: &mut Leaves<'_>) -> Self {
        self.clone()
    }
}
