//! Tables of rules, keyed on (primitive, operand types).

use super::{ArrayValue, value::short_name};
use crate::{
    array::Array,
    error::{Error, Result},
    trace::op::{Op, Prim},
};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use std::{any::TypeId, fmt, ops::Deref, panic::Location, sync::Arc};

/// What an operand must be for a rule to fit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pattern {
    /// A value of this type.
    Is(TypeId, &'static str),
    /// A plain array.
    Dense,
    /// Anything.
    Any,
}

impl Pattern {
    pub(super) fn fits(&self, x: &Array) -> bool {
        match self {
            Pattern::Is(t, _) => x.as_dyn_value().is_some_and(|v| v.as_any().type_id() == *t),
            Pattern::Dense => x.as_dyn_value().is_none(),
            Pattern::Any => true,
        }
    }

    /// Does everything that fits `self` fit `other`?
    fn within(&self, other: &Pattern) -> bool {
        self == other || *other == Pattern::Any
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pattern::Is(_, name) => name,
            Pattern::Dense => "Dense",
            Pattern::Any => "Any",
        })
    }
}

/// What a rule's function may take in the place of an operand: a value's type, [`Dense`] or [`Any`].
pub trait RuleOperand: Sized + 'static {
    #[doc(hidden)]
    fn pattern() -> PatternOf;
    #[doc(hidden)]
    fn with<R>(x: &Array, f: impl FnOnce(&Self) -> R) -> Option<R>;
}

/// The pattern of a type, opaque to callers.
#[doc(hidden)]
pub struct PatternOf(pub(crate) Pattern);

impl<T: ArrayValue> RuleOperand for T {
    fn pattern() -> PatternOf {
        PatternOf(Pattern::Is(TypeId::of::<T>(), short_name::<T>()))
    }
    fn with<R>(x: &Array, f: impl FnOnce(&T) -> R) -> Option<R> {
        x.value::<T>().map(f)
    }
}

macro_rules! array_patterns {
    ($($(#[$doc:meta])* $P:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $P(Array);
        impl Deref for $P {
            type Target = Array;
            fn deref(&self) -> &Array {
                &self.0
            }
        }
        impl RuleOperand for $P {
            fn pattern() -> PatternOf {
                PatternOf(Pattern::$P)
            }
            fn with<R>(x: &Array, f: impl FnOnce(&$P) -> R) -> Option<R> {
                Some(f(&$P(x.clone())))
            }
        }
    )*};
}
array_patterns! {
    /// In a rule: an operand that is a plain array.
    Dense
    /// In a rule: an operand that may be anything, array-ish values included.
    Any
}

/// The results of a primitive, as rules give them.
pub type Results = SmallVec<[Array; 1]>;

/// What a rule may return: an array, a value, several arrays, or a `Result` of one of these.
pub trait RuleOutput {
    /// The results of the equation.
    fn into_results(self) -> Result<Results>;
}
impl RuleOutput for Array {
    fn into_results(self) -> Result<Results> {
        Ok(smallvec![self])
    }
}
impl RuleOutput for Vec<Array> {
    fn into_results(self) -> Result<Results> {
        Ok(self.into())
    }
}
impl<T: ArrayValue> RuleOutput for T {
    fn into_results(self) -> Result<Results> {
        Ok(smallvec![Array::from_value(self)])
    }
}
impl<T: RuleOutput> RuleOutput for Result<T, Error> {
    fn into_results(self) -> Result<Results> {
        self?.into_results()
    }
}

pub(crate) type Body = Arc<dyn Fn(&Op, &[&Array]) -> Result<Results> + Send + Sync>;

/// One rule.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(super) patterns: SmallVec<[Pattern; 2]>,
    /// Does the last pattern stand for any number of operands (at least one of which must be what it says, if it names a type)?
    pub(super) variadic: bool,
    pub(super) precedence: i32,
    pub(super) body: Body,
    pub(super) at: &'static Location<'static>,
}

impl Rule {
    pub(super) fn fits(&self, args: &[&Array]) -> bool {
        if self.variadic {
            let Some(p) = self.patterns.first() else {
                return false;
            };
            return args.iter().any(|x| p.fits(x))
                && args.iter().all(|x| p.fits(x) || Pattern::Dense.fits(x));
        }
        self.patterns.len() == args.len() && self.patterns.iter().zip(args).all(|(p, x)| p.fits(x))
    }

    /// Is it at least as specific as the other, operand by operand?
    fn at_least_as_specific(&self, other: &Rule) -> bool {
        match (self.variadic, other.variadic) {
            (false, false) => self
                .patterns
                .iter()
                .zip(&other.patterns)
                .all(|(a, b)| a.within(b)),
            (false, true) => true,
            (true, false) => false,
            (true, true) => self.patterns == other.patterns,
        }
    }

    pub(super) fn describe(&self, primitive: &str) -> String {
        let types: Vec<String> = self.patterns.iter().map(|p| p.to_string()).collect();
        let dots = if self.variadic { ", …" } else { "" };
        format!(
            "{primitive}({}{dots}) at {}:{}",
            types.join(", "),
            self.at.file(),
            self.at.line()
        )
    }
}

/// What a primitive does with a type's values when no rule fits.
pub(crate) type DefaultBody = Arc<dyn Fn(&Op, &[Array]) -> Result<Results> + Send + Sync>;

/// A table of rules: for each primitive, what to do with operands of certain types.
///
/// The most specific rule wins; `&T` is more specific than `&Any`, and so is `&Dense`. A rule's body runs in the same trace, so
/// that values in its operands' components dispatch again.
#[derive(Clone)]
pub struct Rules {
    owner: &'static str,
    rules: FxHashMap<&'static str, Vec<Rule>>,
    pub(super) default: Option<(DefaultBody, &'static Location<'static>)>,
    precedence: i32,
}

impl Default for Rules {
    fn default() -> Self {
        Rules::new("")
    }
}

fn mismatch(op: &Op) -> Error {
    Error::internal(format!(
        "a rule for `{}` does not take its operands",
        op.name()
    ))
}

impl Rules {
    pub(crate) fn new(owner: &'static str) -> Rules {
        Rules {
            owner,
            rules: FxHashMap::default(),
            default: None,
            precedence: 0,
        }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.default.is_none()
    }

    /// The type that the rules belong to; empty for a caller's rules.
    pub(super) fn owner(&self) -> &'static str {
        self.owner
    }

    /// Give the rules that follow a precedence (0 at first), which decides among rules of which none is the most specific.
    pub fn precedence(&mut self, precedence: i32) -> &mut Self {
        self.precedence = precedence;
        self
    }

    /// A rule for a primitive of one operand: `|params, x: &T| …`.
    #[track_caller]
    pub fn unary<P: 'static, A: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &A) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = move |op: &Op, x: &[&Array]| {
            let (Some(p), [x]) = (op.get::<P>(), x) else {
                return Err(mismatch(op));
            };
            A::with(x, |x| f(p, x))
                .ok_or_else(|| mismatch(op))?
                .into_results()
        };
        self.push(
            primitive.name,
            smallvec![A::pattern().0],
            false,
            Arc::new(body),
        )
    }

    /// A rule for a primitive of two operands: `|params, x: &T, y: &U| …`.
    #[track_caller]
    pub fn binary<P: 'static, A: RuleOperand, B: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &A, &B) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = move |op: &Op, x: &[&Array]| {
            let (Some(p), [x, y]) = (op.get::<P>(), x) else {
                return Err(mismatch(op));
            };
            A::with(x, |x| B::with(y, |y| f(p, x, y)))
                .flatten()
                .ok_or_else(|| mismatch(op))?
                .into_results()
        };
        self.push(
            primitive.name,
            smallvec![A::pattern().0, B::pattern().0],
            false,
            Arc::new(body),
        )
    }

    /// A rule for a primitive of three operands.
    #[track_caller]
    pub fn ternary<P: 'static, A: RuleOperand, B: RuleOperand, C: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &A, &B, &C) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = move |op: &Op, x: &[&Array]| {
            let (Some(p), [x, y, z]) = (op.get::<P>(), x) else {
                return Err(mismatch(op));
            };
            A::with(x, |x| {
                B::with(y, |y| C::with(z, |z| f(p, x, y, z))).flatten()
            })
            .flatten()
            .ok_or_else(|| mismatch(op))?
            .into_results()
        };
        let patterns = smallvec![A::pattern().0, B::pattern().0, C::pattern().0];
        self.push(primitive.name, patterns, false, Arc::new(body))
    }

    /// A rule for any number of operands, each a `T` or a plain array, at least one a `T`: `concatenate` and its like.
    #[track_caller]
    pub fn variadic<P: 'static, T: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &[&Array]) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = move |op: &Op, x: &[&Array]| {
            let p = op.get::<P>().ok_or_else(|| mismatch(op))?;
            f(p, x).into_results()
        };
        self.push(
            primitive.name,
            smallvec![T::pattern().0],
            true,
            Arc::new(body),
        )
    }

    /// What any primitive does with the type's values when no rule fits, in the place of computing what they equal.
    #[track_caller]
    pub fn default<O: RuleOutput>(
        &mut self,
        f: impl Fn(&Op, &[Array]) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body: DefaultBody = Arc::new(move |op, x| f(op, x).into_results());
        self.default = Some((body, Location::caller()));
        self
    }

    #[track_caller]
    fn push(
        &mut self,
        primitive: &'static str,
        patterns: SmallVec<[Pattern; 2]>,
        variadic: bool,
        body: Body,
    ) -> &mut Self {
        let rule = Rule {
            patterns,
            variadic,
            precedence: self.precedence,
            body,
            at: Location::caller(),
        };
        let list = self.rules.entry(primitive).or_default();
        // The same signature again replaces the rule.
        list.retain(|r| r.patterns != rule.patterns || r.variadic != rule.variadic);
        list.push(rule);
        self
    }

    /// The rules that fit.
    pub(super) fn candidates<'r>(
        &'r self,
        primitive: &str,
        args: &[&Array],
    ) -> impl Iterator<Item = &'r Rule> {
        let list = self
            .rules
            .get(primitive)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fitting: Vec<&Rule> = list.iter().filter(|r| r.fits(args)).collect();
        fitting.into_iter()
    }

    /// The primitives that some rule is for, sorted.
    pub fn primitives(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self.rules.keys().copied().collect();
        names.sort_unstable();
        names
    }
}

/// The most specific of some rules that fit, or all of those that tie.
pub(super) fn choose<'r>(candidates: &[&'r Rule]) -> std::result::Result<&'r Rule, Vec<&'r Rule>> {
    let best: Vec<&Rule> = candidates
        .iter()
        .copied()
        .filter(|r| {
            candidates
                .iter()
                .all(|o| !o.at_least_as_specific(r) || r.at_least_as_specific(o))
        })
        .collect();
    let highest = best.iter().map(|r| r.precedence).max();
    let best: Vec<&Rule> = best
        .into_iter()
        .filter(|r| Some(r.precedence) == highest)
        .collect();
    match best[..] {
        [rule] => Ok(rule),
        _ => Err(best),
    }
}
