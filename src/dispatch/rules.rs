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
    /// A symbolic zero, which is a plain array too.
    Zero,
    /// A plain array.
    Dense,
    /// Anything.
    Any,
}

impl Pattern {
    pub(super) fn fits(&self, x: &Array) -> bool {
        match self {
            Pattern::Is(t, _) => x.as_dyn_value().is_some_and(|v| v.as_any().type_id() == *t),
            Pattern::Zero => x.is_symbolic_zero(),
            Pattern::Dense => x.as_dyn_value().is_none(),
            Pattern::Any => true,
        }
    }

    /// Does everything that fits `self` fit `other`?
    fn within(&self, other: &Pattern) -> bool {
        self == other
            || *other == Pattern::Any
            || (*self, *other) == (Pattern::Zero, Pattern::Dense)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pattern::Is(_, name) => name,
            Pattern::Zero => "Zero",
            Pattern::Dense => "Dense",
            Pattern::Any => "Any",
        })
    }
}

/// What a rule's function may take in the place of an operand: a value's type, [`Dense`], [`Any`] or [`Zero`](crate::rules::Zero).
pub trait RuleOperand: Sized + 'static {
    #[doc(hidden)]
    fn pattern() -> PatternOf;
    #[doc(hidden)]
    fn with<R>(x: &Array, f: impl FnOnce(&Self) -> R) -> Option<R>;
    /// Is it another value, which holds one of these?
    #[doc(hidden)]
    fn is_inside(_: &Array) -> bool {
        false
    }
}

/// The pattern of a type, opaque to callers.
#[doc(hidden)]
pub struct PatternOf(pub(crate) Pattern);

impl PatternOf {
    /// That of symbolic zeros.
    pub(crate) const ZERO: PatternOf = PatternOf(Pattern::Zero);
}

impl<T: ArrayValue> RuleOperand for T {
    fn pattern() -> PatternOf {
        PatternOf(Pattern::Is(TypeId::of::<T>(), short_name::<T>()))
    }
    fn with<R>(x: &Array, f: impl FnOnce(&T) -> R) -> Option<R> {
        x.value::<T>().map(f)
    }
    fn is_inside(x: &Array) -> bool {
        x.value::<T>().is_none() && x.holds::<T>()
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

/// How many operands the patterns of a rule stand for.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub(super) enum Arity {
    /// One each.
    Fixed,
    /// The only pattern stands for any number of operands: plain arrays, or what it says, which at least one of them is.
    Variadic,
    /// The only pattern stands for at least one operand among any number; the others may be anything.
    Mixed,
}

/// One rule.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(super) patterns: SmallVec<[Pattern; 2]>,
    pub(super) arity: Arity,
    pub(super) precedence: i32,
    /// Are these the parameters that it takes? Primitives of different parameters share a name.
    takes: fn(&Op) -> bool,
    pub(super) body: Body,
    pub(super) at: &'static Location<'static>,
}

impl Rule {
    pub(super) fn fits(&self, args: &[&Array]) -> bool {
        let one = || {
            self.patterns
                .first()
                .is_some_and(|p| args.iter().any(|x| p.fits(x)))
        };
        let or_plain =
            |x: &&Array| Pattern::Dense.fits(x) || self.patterns.first().is_some_and(|p| p.fits(x));
        match self.arity {
            Arity::Mixed => one(),
            Arity::Variadic => one() && args.iter().all(or_plain),
            Arity::Fixed => {
                self.patterns.len() == args.len()
                    && self.patterns.iter().zip(args).all(|(p, x)| p.fits(x))
            }
        }
    }

    /// Is it at least as specific as the other, operand by operand?
    fn at_least_as_specific(&self, other: &Rule) -> bool {
        match (self.arity, other.arity) {
            (Arity::Fixed, Arity::Fixed) => self
                .patterns
                .iter()
                .zip(&other.patterns)
                .all(|(a, b)| a.within(b)),
            (a, b) if a == b => self.patterns == other.patterns,
            (a, b) => a < b,
        }
    }

    /// Is it the more specific one?
    pub(super) fn beats(&self, other: &Rule) -> bool {
        self.at_least_as_specific(other) && !other.at_least_as_specific(self)
    }

    pub(super) fn describe(&self, primitive: &str) -> String {
        let types: Vec<String> = self.patterns.iter().map(|p| p.to_string()).collect();
        let dots = match self.arity {
            Arity::Fixed => "",
            Arity::Variadic => ", …",
            Arity::Mixed => ", Any …",
        };
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

fn takes<P: 'static>(op: &Op) -> bool {
    op.get::<P>().is_some()
}

fn mismatch(op: &Op) -> Error {
    Error::internal(format!(
        "a rule for `{}` does not take its operands",
        op.name()
    ))
}

/// The body of a rule that takes its operands as a list.
fn many<P: 'static, O: RuleOutput>(f: impl Fn(&P, &[&Array]) -> O + Send + Sync + 'static) -> Body {
    Arc::new(move |op: &Op, x: &[&Array]| {
        let p = op.get::<P>().ok_or_else(|| mismatch(op))?;
        f(p, x).into_results()
    })
}

/// The body of a rule for operands among which are `T`s, one of which may be inside of another value: what that value equals is
/// then a `T`.
fn among<T: RuleOperand>(
    f: impl Fn(&Op, &[&Array]) -> Result<Results> + Send + Sync + 'static,
) -> Body {
    Arc::new(move |op: &Op, x: &[&Array]| {
        if !x.iter().any(|x| T::is_inside(x)) {
            return f(op, x);
        }
        let meant = |x: &&Array| match T::is_inside(x) {
            true => x.definition(),
            false => Ok((*x).clone()),
        };
        let x = x.iter().map(meant).collect::<Result<Vec<_>>>()?;
        f(op, &x.iter().collect::<Vec<_>>())
    })
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
            Arity::Fixed,
            takes::<P>,
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
            Arity::Fixed,
            takes::<P>,
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
        self.push(
            primitive.name,
            patterns,
            Arity::Fixed,
            takes::<P>,
            Arc::new(body),
        )
    }

    /// A rule for any number of operands, each a `T` or a plain array, at least one a `T`: `concatenate` and its like.
    #[track_caller]
    pub fn variadic<P: 'static, T: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &[&Array]) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = many(f);
        self.push(
            primitive.name,
            smallvec![T::pattern().0],
            Arity::Variadic,
            takes::<P>,
            body,
        )
    }

    /// A rule for any number of operands, at least one a `T`, the others whatever they are, values of other types included. It is
    /// less specific than every other rule: what a type that wraps others does with a primitive, wherever it stands.
    ///
    /// Two such rules of different types tie; [`Rules::precedence`] says which type is outermost.
    #[track_caller]
    pub fn mixed<P: 'static, T: RuleOperand, O: RuleOutput>(
        &mut self,
        primitive: Prim<P>,
        f: impl Fn(&P, &[&Array]) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = many(f);
        let body = among::<T>(move |op, x| body(op, x));
        self.push(
            primitive.name,
            smallvec![T::pattern().0],
            Arity::Mixed,
            takes::<P>,
            body,
        )
    }

    /// As [`Rules::mixed`], for several primitives, by the names that `jax.lax` gives them ([`op::NAMES`](crate::op::NAMES)).
    #[track_caller]
    pub fn family<T: RuleOperand, O: RuleOutput>(
        &mut self,
        primitives: &[&'static str],
        f: impl Fn(&Op, &[&Array]) -> O + Send + Sync + 'static,
    ) -> &mut Self {
        let body = among::<T>(move |op, x| f(op, x).into_results());
        for primitive in primitives {
            let pattern = smallvec![T::pattern().0];
            self.push(primitive, pattern, Arity::Mixed, |_| true, body.clone());
        }
        self
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
        arity: Arity,
        takes: fn(&Op) -> bool,
        body: Body,
    ) -> &mut Self {
        let rule = Rule {
            patterns,
            arity,
            precedence: self.precedence,
            takes,
            body,
            at: Location::caller(),
        };
        let list = self.rules.entry(primitive).or_default();
        // The same signature again replaces the rule.
        list.retain(|r| r.patterns != rule.patterns || r.arity != rule.arity);
        list.push(rule);
        self
    }

    /// The rules that fit.
    pub(super) fn candidates<'r>(
        &'r self,
        op: &Op,
        args: &[&Array],
    ) -> impl Iterator<Item = &'r Rule> {
        let all = self.all(op.name()).iter();
        let fitting: Vec<&Rule> = all.filter(|r| (r.takes)(op) && r.fits(args)).collect();
        fitting.into_iter()
    }

    /// All rules for a primitive, whatever they fit.
    pub(super) fn all(&self, primitive: &str) -> &[Rule] {
        self.rules
            .get(primitive)
            .map(Vec::as_slice)
            .unwrap_or_default()
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
