//! Arrays with a physical unit: an array type made outside of Quaxide, with its public API alone.

use quaxide::prelude::*;
use std::collections::BTreeMap;

/// A product of powers of base units: metres per second is `{"m": 1, "s": -1}`.
pub type Unit = BTreeMap<&'static str, i32>;

/// An array of quantities of one unit.
#[derive(Clone, PyTree)]
pub struct Unitful {
    /// The numbers.
    pub array: Array,
    /// What they count.
    #[pytree(meta)]
    pub unit: Unit,
}

impl Unitful {
    /// Quantities of a unit, as an array that programs take.
    pub fn array(array: Array, unit: &[(&'static str, i32)]) -> Array {
        Array::from_value(Unitful {
            array,
            unit: unit.iter().copied().collect(),
        })
    }

    fn with(&self, array: Array) -> Unitful {
        Unitful {
            array,
            unit: self.unit.clone(),
        }
    }

    fn times(&self, other: &Unitful, array: Array) -> Unitful {
        let mut unit = self.unit.clone();
        for (name, power) in &other.unit {
            *unit.entry(name).or_default() += power;
        }
        unit.retain(|_, power| *power != 0);
        Unitful { array, unit }
    }
}

impl ArrayValue for Unitful {
    fn aval(&self) -> Result<Aval> {
        self.array.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Err(Error::refused(format!(
            "a quantity in {:?} is not a plain array",
            self.unit
        )))
    }
    fn rules(r: &mut Rules) {
        r.binary(op::ADD, |_, x: &Unitful, y: &Unitful| {
            if x.unit != y.unit {
                return Err(Error::argument(format!(
                    "cannot add {:?} and {:?}",
                    x.unit, y.unit
                )));
            }
            Ok(x.with(&x.array + &y.array))
        });
        r.binary(op::MUL, |_, x: &Unitful, y: &Unitful| {
            x.times(y, &x.array * &y.array)
        });
        r.binary(op::MUL, |_, x: &Unitful, y: &Dense| x.with(&x.array * &**y));
        r.binary(op::MUL, |_, x: &Dense, y: &Unitful| y.with(&**x * &y.array));
    }
}
