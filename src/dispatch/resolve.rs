//! The choice of a rule for one equation.

use super::{
    programs,
    record::{Decision, Recorder},
    rules::{Body, Results, Rule, Rules, choose},
    value::{rules_of, zero_rules},
};
use crate::{
    array::{Array, Aval, DynValue, Repr, Scalar},
    error::{Error, ErrorKind, Result},
    rules::Terms,
    trace::{
        self, Identity, Trace, bind, bind_at,
        op::{Component, Op},
    },
    tree::{Leaves, View},
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};
use std::{
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a dispatching trace carries.
pub(crate) struct Context {
    /// The caller's rules, which come before those of the types.
    pub(super) rules: Arc<Rules>,
    /// Values that a filter passes through untouched.
    pub(super) untouched: Mutex<FxHashSet<Identity>>,
    /// How many rules deep the current operation is: 0 for what the user's function says itself.
    depth: AtomicUsize,
    /// The caller's rules whose bodies are running: they do not apply to the plain arrays that they compute with.
    running: Mutex<Vec<Body>>,
    /// The `traced` program and the choices, if someone wants to see them.
    pub(super) recorder: Option<Mutex<Recorder>>,
    /// Values that are sums, with their terms.
    terms: Mutex<FxHashMap<Identity, (Array, Array)>>,
}

/// A rule may call for others to this depth.
const MAX_DEPTH: usize = 200;

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    pub(super) fn new(rules: Arc<Rules>, recorder: Option<Recorder>) -> Context {
        Context {
            rules,
            untouched: Mutex::default(),
            depth: AtomicUsize::new(0),
            running: Mutex::default(),
            recorder: recorder.map(Mutex::new),
            terms: Mutex::default(),
        }
    }

    /// The context of a program within the one that is being dispatched: the same rules apply, and those that are running are.
    pub(super) fn nested(&self) -> Context {
        Context {
            rules: self.rules.clone(),
            untouched: Mutex::new(lock(&self.untouched).clone()),
            depth: AtomicUsize::new(self.depth.load(Ordering::Relaxed)),
            running: Mutex::new(lock(&self.running).clone()),
            recorder: None,
            terms: Mutex::default(),
        }
    }

    pub(super) fn of(t: &Trace) -> Option<Arc<Context>> {
        t.context()?.clone().downcast::<Context>().ok()
    }

    /// Run the body of a rule.
    fn during<R>(&self, rule: &Rule, f: impl FnOnce() -> R) -> R {
        struct Done<'c>(&'c Mutex<Vec<Body>>);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                lock(self.0).pop();
            }
        }
        lock(&self.running).push(rule.body.clone());
        let _done = Done(&self.running);
        f()
    }

    fn is_running(&self, rule: &Rule) -> bool {
        lock(&self.running)
            .iter()
            .any(|body| Arc::ptr_eq(body, &rule.body))
    }

    /// Run what the user's function does not say itself: its equations are not part of the `traced` program.
    pub(super) fn deeper<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        struct Leave<'c>(&'c AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let depth = self.depth.fetch_add(1, Ordering::Relaxed);
        let _leave = Leave(&self.depth);
        if depth > MAX_DEPTH {
            return Err(Error::unsupported(format!(
                "rules call for each other more than {MAX_DEPTH} deep"
            ))
            .note("a rule that computes with its own operands, not with their components, calls itself"));
        }
        f()
    }
}

/// Apply a primitive in a dispatching trace.
pub(crate) fn resolve(
    t: &Arc<Trace>,
    op: &Op,
    args: &[&Array],
    at: &'static Location<'static>,
) -> Result<Results> {
    let Some(context) = Context::of(t) else {
        return t.record(op, args, at);
    };
    let outermost = context.depth.load(Ordering::Relaxed) == 0;
    let recorder = context.recorder.as_ref().filter(|_| outermost);
    let mut considered = recorder.map(|_| vec![]);
    let (results, decision) =
        decide(t, &context, op, args, at, &mut considered).map_err(|e| match outermost {
            true => between_types(e, op, args),
            false => e,
        })?;
    if let Some(recorder) = recorder.filter(|_| decision != Decision::Defined) {
        let considered = considered.unwrap_or_default();
        lock(recorder).equation(op, args, &results, at, (decision, considered))?;
    }
    Ok(results)
}

/// The zero that a program writes out, as `Array::zeros` does, without its numbers.
fn written_zero(op: &Op, args: &[&Array]) -> Option<Array> {
    let (Op::BroadcastInDim(p), [x]) = (op, args) else {
        return None;
    };
    let b = x.buffer().filter(|b| b.shape().is_empty())?;
    let zero = match b.item()? {
        Scalar::Bool(b) => !b,
        x => x.as_f64().is_some_and(|x| x == 0.0 && x.is_sign_positive()),
    };
    zero.then(|| Array::symbolic_zero(b.aval().with_shape(p.shape.clone())))
}

/// Where values of two types met and nothing came of it, what one may write for them.
#[cold]
fn between_types(e: Error, op: &Op, args: &[&Array]) -> Error {
    let kinds = [
        ErrorKind::Refused,
        ErrorKind::Argument,
        ErrorKind::Unsupported,
    ];
    let name = |x: &&Array| match x.as_dyn_value() {
        Some(v) => v.type_name(),
        None if x.is_symbolic_zero() => "Zero",
        None => "Dense",
    };
    let names: Vec<&str> = args.iter().map(name).collect();
    let mut types: Vec<&str> = names.iter().copied().filter(|n| *n != "Dense").collect();
    types.dedup();
    if types.len() < 2 || op.inner().is_some() || !kinds.contains(&e.kind()) {
        return e;
    }
    let how = match names[..] {
        [x, y] => format!("r.binary({}, |_, x: &{x}, y: &{y}| ..)", token(op)),
        [x, y, z] => format!(
            "r.ternary({}, |_, x: &{x}, y: &{y}, z: &{z}| ..)",
            token(op)
        ),
        _ => format!(
            "r.mixed::<_, {}, _>({}, |_, x| ..)",
            types.first().copied().unwrap_or_default(),
            token(op)
        ),
    };
    e.note(format!(
        "no rule is for just `{}` of {}: `{how}` in one of the types, or in `quaxify(f).rules(..)`, would say what it means",
        op.name(),
        types.join(" and ")
    ))
}

/// How a primitive is named in rules.
fn token(op: &Op) -> String {
    format!("op::{}", op.name().to_uppercase().replace('-', "_"))
}

/// Is it a call that zeros go through as such?
fn carries_zeros(op: &Op, args: &[&Array]) -> bool {
    matches!(op, Op::Jit(_)) && args.iter().any(|x| x.is_symbolic_zero())
}

/// For someone who asks: what became of the rules that could have been meant.
fn weigh(
    considered: &mut Option<Vec<String>>,
    op: &Op,
    args: &[&Array],
    tables: &[&Rules],
    chosen: Option<&Rule>,
) {
    let Some(considered) = considered else {
        return;
    };
    for table in tables {
        let owner = match table.owner() {
            "" => "the caller".to_string(),
            owner => format!("`{owner}`"),
        };
        let rules = table.all(op.name());
        if rules.is_empty() && chosen.is_none() {
            considered.push(format!("{owner} has no rule for `{}`", op.name()));
        }
        for rule in rules {
            if chosen.is_some_and(|c| std::ptr::eq(c, rule)) {
                continue;
            }
            let why = match chosen {
                _ if !rule.fits(args) => "does not fit the operands",
                Some(c) if c.beats(rule) => "is less specific",
                Some(c) if c.precedence > rule.precedence => "has a lower precedence",
                Some(_) => "comes after the caller's rules",
                None => "is running already",
            };
            considered.push(format!("{} {why}", rule.describe(op.name())));
        }
    }
}

/// Has the type of a term, or of a term of it, a rule for this operand?
fn answers(op: &Op, args: &[&Array], i: usize, term: &Array) -> bool {
    let Some(v) = term.as_dyn_value() else {
        return false;
    };
    let mut with = args.to_vec();
    if let Some(slot) = with.get_mut(i) {
        *slot = term;
    }
    let table = v.table_dyn().downcast::<Rules>();
    table.is_ok_and(|t| t.candidates(op, &with).next().is_some())
        || v.terms_dyn()
            .is_some_and(|terms| terms.iter().any(|t| answers(op, args, i, t)))
}

/// The operands with sums in the place of values that are some, where a term has a rule; and what those are called.
fn taken_apart(context: &Context, op: &Op, args: &[&Array]) -> Option<(Vec<Array>, String)> {
    let mut names = vec![];
    let mut apart: Vec<Array> = args.iter().map(|a| (*a).clone()).collect();
    for (i, x) in args.iter().enumerate() {
        let Some(v) = x.as_dyn_value() else { continue };
        if v.as_any().is::<Terms>() {
            continue;
        }
        let known = lock(&context.terms).get(&x.identity()).cloned();
        let sum = match known {
            Some((_, sum)) => sum,
            None => {
                let Some(sum) = v.terms_dyn().and_then(|t| Terms::new(t).ok()) else {
                    continue;
                };
                let sum = Array::from_value(sum);
                // Keeping `x` keeps its address from being used again.
                lock(&context.terms).insert(x.identity(), ((*x).clone(), sum.clone()));
                sum
            }
        };
        let Some(terms) = sum.value::<Terms>() else {
            continue;
        };
        if terms.terms().iter().any(|t| answers(op, args, i, t)) {
            names.push(v.type_name());
            if let Some(slot) = apart.get_mut(i) {
                *slot = sum.clone();
            }
        }
    }
    let refs: Vec<&Array> = apart.iter().collect();
    let fits = !names.is_empty() && rules_of::<Terms>().candidates(op, &refs).next().is_some();
    fits.then(|| (apart, names.join(", ")))
}

/// What a function that no rule answers is defined to be.
fn defined(op: &Op, args: &[&Array], at: &'static Location<'static>) -> Option<Result<Results>> {
    let Op::Custom(p) = op else {
        return None;
    };
    let args: Vec<Array> = args.iter().map(|a| (*a).clone()).collect();
    let results = trace::with_location(at, || p.define(&args))?;
    Some(results.map(Results::from))
}

/// A primitive of plain arrays; a dispatching trace around this one may yet have an answer to a function.
fn plain(
    t: &Arc<Trace>,
    op: &Op,
    args: &[&Array],
    at: &'static Location<'static>,
) -> Result<(Results, Decision)> {
    if let Op::Custom(_) = op
        && !t.is_within_dispatch()
        && let Some(results) = defined(op, args, at)
    {
        return Ok((results?, Decision::Defined));
    }
    Ok((t.record(op, args, at)?, Decision::Plain))
}

fn decide(
    t: &Arc<Trace>,
    context: &Context,
    op: &Op,
    args: &[&Array],
    at: &'static Location<'static>,
    considered: &mut Option<Vec<String>>,
) -> Result<(Results, Decision)> {
    let values: SmallVec<[&Arc<dyn DynValue>; 4]> =
        args.iter().filter_map(|a| a.as_dyn_value()).collect();
    // Without values, the caller's rules apply within programs, too.
    let inside = op.inner().is_some() && (!context.rules.is_empty() || carries_zeros(op, args));
    if context.rules.is_empty()
        && let Some(zero) = written_zero(op, args)
    {
        return Ok((smallvec![zero], Decision::Plain));
    }
    let zeros = args.iter().any(|x| x.is_symbolic_zero());
    if values.is_empty() && !zeros && context.rules.is_empty() {
        return plain(t, op, args, at);
    }
    let untouched =
        |x: &&Array| x.as_dyn_value().is_some() && lock(&context.untouched).contains(&x.identity());
    if let Some(v) = args
        .iter()
        .find(|x| untouched(x))
        .and_then(|x| x.as_dyn_value())
    {
        return Err(Error::new(
            ErrorKind::NotQuaxified,
            format!(
                "{} was passed through by the filter of this `quaxify`",
                v.describe()
            ),
        )
        .note("a `quaxify` inside may take it up"));
    }
    let mut tables: SmallVec<[Arc<Rules>; 4]> = SmallVec::new();
    for v in &values {
        if let Ok(table) = v.table_dyn().downcast::<Rules>()
            && !tables.iter().any(|t| Arc::ptr_eq(t, &table))
        {
            tables.push(table);
        }
    }
    if zeros {
        tables.push(zero_rules());
    }
    // The caller's rules come first, and replace a type's own.
    let own: Vec<&Rule> = context
        .rules
        .candidates(op, args)
        .filter(|r| !values.is_empty() || !context.is_running(r))
        .collect();
    // A rule for zeros that asks for its own primitive again declines.
    let theirs = || {
        let of = |t: &Arc<Rules>| {
            let zero = zeros && Arc::ptr_eq(t, &zero_rules());
            move |r: &&Rule| !zero || !context.is_running(r)
        };
        tables
            .iter()
            .flat_map(|t| t.candidates(op, args).filter(of(t)))
            .collect::<Vec<_>>()
    };
    let candidates = if own.is_empty() { theirs() } else { own };
    let asked = |considered: &mut _, chosen: Option<&Rule>| {
        let own = std::iter::once(&*context.rules).filter(|r| !r.is_empty());
        let all: Vec<&Rules> = own.chain(tables.iter().map(|t| &**t)).collect();
        weigh(considered, op, args, &all, chosen);
    };
    if !candidates.is_empty() {
        let rule = choose(&candidates).map_err(|tied| ambiguous(op, args, &tied))?;
        asked(considered, Some(rule));
        let results = apply(context, op, args, rule, at)?;
        return Ok((results, Decision::Rule(rule.describe(op.name()))));
    }
    asked(considered, None);
    if values.is_empty() && !inside {
        return plain(t, op, args, at);
    }
    if let Some(results) = defined(op, args, at) {
        return Ok((results?, Decision::Defined));
    }
    if let Some((apart, names)) = taken_apart(context, op, args) {
        let results = context.deeper(|| bind_at(op, &apart.iter().collect::<Vec<_>>(), at))?;
        return Ok((results, Decision::Terms(names)));
    }
    let defaults: SmallVec<[&Arc<Rules>; 2]> =
        tables.iter().filter(|t| t.default.is_some()).collect();
    match defaults[..] {
        [] => {}
        [table] => {
            let Some((default, place)) = &table.default else {
                return Err(Error::internal("a default is missing"));
            };
            let owned: Vec<Array> = args.iter().map(|a| (*a).clone()).collect();
            let results = context
                .deeper(|| trace::with_location(at, || default(op, &owned)))
                .map_err(|e| in_rule(e, op, place))?;
            check(op, args, &results, place)?;
            return Ok((results, Decision::Default(table.owner().to_string())));
        }
        _ => {
            let owners: Vec<&str> = defaults.iter().map(|t| t.owner()).collect();
            let mut e = Error::new(
                ErrorKind::Ambiguous,
                format!(
                    "`{}`: {} both override the default",
                    op.name(),
                    owners.join(" and ")
                ),
            );
            for (_, place) in defaults.iter().filter_map(|t| t.default.as_ref()) {
                e = e.note(format!("a default at {}:{}", place.file(), place.line()));
            }
            return Err(e.note("add a rule for this primitive and these types"));
        }
    }
    if let Some(results) = context.deeper(|| programs::dispatch(t, context, op, args, at))? {
        return Ok((results, Decision::Inside));
    }
    if values.is_empty() {
        return Ok((t.record(op, args, at)?, Decision::Plain));
    }
    let names: Vec<&str> = values.iter().map(|v| v.type_name()).collect();
    let results = context.deeper(|| {
        let dense = args
            .iter()
            .map(|a| definition_for(t, a, op))
            .collect::<Result<Vec<_>>>()?;
        bind_at(op, &dense.iter().collect::<Vec<_>>(), at)
    })?;
    Ok((results, Decision::Definition(names.join(", "))))
}

/// What a rule's body computes is attributed to the equation, so that an error in it is found in the user's program.
fn apply(
    context: &Context,
    op: &Op,
    args: &[&Array],
    rule: &Rule,
    at: &'static Location<'static>,
) -> Result<Results> {
    let body = || trace::with_location(at, || (rule.body)(op, args));
    let results = context
        .deeper(|| context.during(rule, body))
        .map_err(|e| in_rule(e, op, rule.at))?;
    for y in &results {
        y.ok().map_err(|e| in_rule(e, op, rule.at))?;
    }
    check(op, args, &results, rule.at)?;
    Ok(results)
}

fn in_rule(e: Error, op: &Op, at: &'static Location<'static>) -> Error {
    e.note(format!(
        "in the rule for `{}` at {}:{}",
        op.name(),
        at.file(),
        at.line()
    ))
}

/// A rule must give what the equation says: as many results, of the same types.
fn check(
    op: &Op,
    args: &[&Array],
    results: &[Array],
    at: &'static Location<'static>,
) -> Result<()> {
    let avals: Vec<Aval> = args.iter().map(|a| a.aval()).collect::<Result<_>>()?;
    let operands: Vec<&Aval> = avals.iter().collect();
    let wanted = op
        .infer(&operands)
        .map_err(|e| e.operation(|| op.describe(&operands)))?;
    let got: Vec<Aval> = results.iter().map(Array::aval).collect::<Result<_>>()?;
    let list = |avals: &[Aval]| {
        avals
            .iter()
            .map(Aval::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if wanted.len() != got.len() || wanted.iter().zip(&got).any(|(w, g)| !w.same_type(g)) {
        return Err(Error::shape(format!(
            "the rule for `{}` at {}:{} returned ({}), the equation needs ({})",
            op.name(),
            at.file(),
            at.line(),
            list(&got),
            list(&wanted)
        )));
    }
    Ok(())
}

fn ambiguous(op: &Op, args: &[&Array], tied: &[&Rule]) -> Error {
    let types: Vec<String> = args.iter().map(|a| a.describe()).collect();
    let mut e = Error::new(
        ErrorKind::Ambiguous,
        format!(
            "`{}` of {}: several rules fit and none is the most specific",
            op.name(),
            types.join(", ")
        ),
    );
    for r in tied {
        e = e.note(r.describe(op.name()));
    }
    e.note("add a rule for exactly these types, here with `.rules(..)` or in one of the types")
}

/// The array that a value equals, traced once a value and trace, with its components and itself marked if it must not be formed.
pub(super) fn definition(t: &Arc<Trace>, x: &Array) -> Result<Array> {
    let Repr::Value(v) = &x.0 else {
        return Ok(x.clone());
    };
    t.once(x, || {
        if v.may_materialise_dyn() {
            return v.materialise_dyn();
        }
        let value = trace::fresh_id();
        let what: Arc<str> = v.describe().into();
        let mark = |x: &Array, field: Option<u32>| {
            bind(
                Component {
                    value,
                    field,
                    allow_materialise: false,
                    what: what.clone(),
                },
                &[x],
            )
        };
        let mut field = 0;
        let mut next = |x: &Array| {
            let marked = mark(x, Some(field));
            field += 1;
            marked
        };
        let marked = v.unflatten_dyn(&mut Leaves::new(View::Values, &mut next));
        let y = marked.materialise_dyn()?;
        y.ok()?;
        Ok(mark(&y, None))
    })
    .and_then(|y| y.ok().cloned())
}

/// As [`definition`], for a primitive that has no rule for the value.
pub(super) fn definition_for(t: &Arc<Trace>, x: &Array, op: &Op) -> Result<Array> {
    definition(t, x).map_err(|e| {
        e.note(format!(
            "`{}` has no rule for {}, so it asks for the array that it equals",
            op.name(),
            x.describe()
        ))
    })
}
