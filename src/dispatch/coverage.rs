//! What a type does with each primitive, without running anything.

use super::{ArrayValue, Rules, value::rules_of};
use crate::trace::op::{NAMES, PROGRAMS_INSIDE};
use std::fmt;

/// What becomes of a primitive that meets a value of a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Handling {
    /// Rules: their signatures and places. Operands that fit none of them are handled as the next line of [`Coverage`] says.
    Rules(Vec<String>),
    /// The type's default.
    Default,
    /// The programs inside it are interpreted with the values.
    Inside,
    /// The array that the value equals, around which the optimiser plans; or its refusal.
    Definition,
}

/// For every primitive, how a type handles it: [`Rules::coverage`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// The type.
    pub of: &'static str,
    /// The primitives in alphabetical order.
    pub primitives: Vec<(&'static str, Handling)>,
}

impl Coverage {
    fn named(&self, keep: impl Fn(&Handling) -> bool) -> Vec<&'static str> {
        let kept = self.primitives.iter().filter(|(_, h)| keep(h));
        kept.map(|(name, _)| *name).collect()
    }

    /// The primitives for which the type has rules.
    pub fn with_rules(&self) -> Vec<&'static str> {
        self.named(|h| matches!(h, Handling::Rules(_)))
    }

    /// The primitives that ask for the array that a value equals.
    pub fn materialising(&self) -> Vec<&'static str> {
        self.named(|h| *h == Handling::Definition)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.of)?;
        for (name, handling) in &self.primitives {
            if let Handling::Rules(rules) = handling {
                writeln!(f, "  {name}: {}", rules.join("; "))?;
            }
        }
        let rest = [
            ("default", Handling::Default),
            ("programs inside", Handling::Inside),
            ("definition", Handling::Definition),
        ];
        for (what, handling) in rest {
            let names = self.named(|h| *h == handling);
            if !names.is_empty() {
                writeln!(f, "  {what}: {}", names.join(" "))?;
            }
        }
        Ok(())
    }
}

impl Rules {
    /// What a type does with each primitive: which have rules, which fall to its default, which ask for the array that it equals.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// // Low-rank adaptation is its definition and nothing else.
    /// let coverage = Rules::coverage::<LoraArray>();
    /// assert!(coverage.with_rules().is_empty());
    /// assert!(coverage.materialising().contains(&"dot_general"));
    /// ```
    pub fn coverage<T: ArrayValue>() -> Coverage {
        let table = rules_of::<T>();
        let handling = |name: &str| {
            let rules = table.all(name);
            if !rules.is_empty() {
                return Handling::Rules(rules.iter().map(|r| r.describe(name)).collect());
            }
            match &table.default {
                Some(_) => Handling::Default,
                None if PROGRAMS_INSIDE.contains(&name) => Handling::Inside,
                None => Handling::Definition,
            }
        };
        Coverage {
            of: table.owner(),
            primitives: NAMES.iter().map(|name| (*name, handling(name))).collect(),
        }
    }
}
