//! `quaxify`.

use super::{
    Explanation, Rules,
    record::Recorder,
    resolve::{Context, lock},
};
use crate::{
    array::Array,
    error::{Error, Result},
    trace::{self, Jaxpr, passes::DCE},
    transform::{
        Args, Call, DynTree, Fun, Function, IntoRefs, Tree, leaves_of, rebuild, rewrite, run,
    },
    tree::{self, Flat, Leaves, PyTree, View},
};
use std::{fmt, ops::Deref, sync::Arc};

/// What [`quaxify`] returns: callable, with options.
pub struct Quaxify<'f, A: Args, R: 'f> {
    inner: Fun<'f>,
    options: Options,
    call: Call<'f, A, R>,
}

type Filter = Arc<dyn Fn(&str, &Array) -> bool + Send + Sync>;

#[derive(Clone, Default)]
struct Options {
    rules: Arc<Rules>,
    filter: Option<Filter>,
}

/// A program written for plain arrays as one that runs on array-ish values.
///
/// Every operation on a value is looked up by (primitive, operand types): the most specific rule, else the type's default, else
/// the array that the value equals, which the optimiser then plans around. Composes with every transformation, either way.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2, k3] = random::key(0).split();
/// let linear = nn::Linear::new(10, 12, &k1);
/// let x = random::normal(&k2, [10]);
/// let lora = loraify(&linear, LoraConfig::rank(2), &k3).unwrap();
/// let y = quaxify(nn::Linear::call)(&lora, &x).unwrap();
/// assert_eq!(y.shape(), [12]);
/// ```
#[track_caller]
pub fn quaxify<'f, A: Args, F: Function<A> + Send + Sync + 'f>(f: F) -> Quaxify<'f, A, F::Out> {
    Quaxify::new(f.erase(), Options::default())
}

impl<'f, A: Args, R: PyTree> Quaxify<'f, A, R> {
    #[track_caller]
    fn new(inner: Fun<'f>, options: Options) -> Self {
        let (f, o) = (inner.clone(), options.clone());
        let call: Fun<'f> = Arc::new(move |args| {
            let d = dispatch(&f, &o, args, false)?;
            let mut outs = run(d.program, &d.leaves)?;
            for (at, zero) in d.zeros {
                outs.insert(at.min(outs.len()), zero);
            }
            Ok(rebuild(&*d.like, View::Components, outs))
        });
        Quaxify {
            inner,
            options,
            call: Call::new(call),
        }
    }

    /// Rules for this call, before those of the types; one for the same primitive and types replaces theirs.
    ///
    /// In the body of such a rule, plain arrays meet the primitives themselves.
    #[must_use]
    #[track_caller]
    pub fn rules(self, add: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = (*self.options.rules).clone();
        add(&mut rules);
        Quaxify::new(
            self.inner,
            Options {
                rules: Arc::new(rules),
                ..self.options
            },
        )
    }

    /// Which values to take up, by path and value; the others pass through untouched, for a `quaxify` inside.
    ///
    /// A path starts with the number of the argument: `0.layers[1].weight`.
    #[must_use]
    #[track_caller]
    pub fn filter(self, keep: impl Fn(&str, &Array) -> bool + Send + Sync + 'static) -> Self {
        Quaxify::new(
            self.inner,
            Options {
                filter: Some(Arc::new(keep)),
                ..self.options
            },
        )
    }

    /// The program in its three stages, for arguments as in a call: `quaxify(f).stages((&model, &x))?`.
    /// An error where the call gives one.
    pub fn stages<'a>(&self, args: impl IntoRefs<'a, A>) -> Result<Stages> {
        let d = dispatch(&self.inner, &self.options, &args.refs(), true)?;
        let (traced, _) = d
            .recorded
            .ok_or_else(|| Error::internal("nothing was recorded"))?;
        let dispatched = d.program.through(&[DCE])?;
        let rewritten = rewrite(dispatched.clone())?;
        Ok(Stages {
            traced,
            dispatched,
            rewritten,
        })
    }

    /// For each operation of the function: which rule fired, with file and line. For each piece of linear algebra that comes of it:
    /// what it costs as written, and the plan that is chosen, which plans that beats and by which laws it comes about; or why there is
    /// none.
    /// An error where dispatch ends in one, or a definition forms what its value does not allow.
    pub fn explain<'a>(&self, args: impl IntoRefs<'a, A>) -> Result<Explanation> {
        let d = dispatch(&self.inner, &self.options, &args.refs(), true)?;
        let (_, mut explanation) = d
            .recorded
            .ok_or_else(|| Error::internal("nothing was recorded"))?;
        explanation.plans = crate::rules::algebra::explained(&d.program)?;
        Ok(explanation)
    }
}

impl<'f, A: Args, R: 'f> Clone for Quaxify<'f, A, R> {
    fn clone(&self) -> Self {
        Quaxify {
            inner: self.inner.clone(),
            options: self.options.clone(),
            call: self.call.clone(),
        }
    }
}
impl<'f, A: Args, R: 'f> fmt::Debug for Quaxify<'f, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quaxify({:?})", self.call)
    }
}
impl<'f, A: Args, R: 'f> Deref for Quaxify<'f, A, R> {
    type Target = A::Dyn<'f, R>;
    fn deref(&self) -> &Self::Target {
        &self.call
    }
}
#[diagnostic::do_not_recommend]
impl<'c, A: Args, R: PyTree> Function<A> for Quaxify<'c, A, R> {
    type Out = R;
    fn erase<'f>(self) -> Fun<'f>
    where
        Self: Send + Sync + 'f,
    {
        self.call.fun
    }
}

/// A quaxified program, stage by stage. Each stage prints, is valid, and can be run.
#[derive(Clone, Debug)]
pub struct Stages {
    /// As the function says it: one variable for each value, labelled with its type.
    pub traced: Jaxpr,
    /// After the rules: plain arrays only, components of values marked.
    pub dispatched: Jaxpr,
    /// After equality saturation: what runs.
    pub rewritten: Jaxpr,
}

struct Dispatched {
    program: Jaxpr,
    /// What the program takes.
    leaves: Vec<Array>,
    /// The tree that the function returned.
    like: Tree,
    /// Those of its leaves that are symbolic zeros, with their places: they are no results of the program.
    zeros: Vec<(usize, Array)>,
    recorded: Option<(Jaxpr, Explanation)>,
}

/// What becomes of a leaf of the arguments.
#[derive(Clone, Copy, PartialEq)]
enum Treatment {
    /// One variable: a plain array, or a value that an outer `quaxify` takes up.
    Whole,
    /// A value whose components are variables, and which dispatches.
    Apart,
    /// The same, but it does not dispatch here.
    Untouched,
}

/// What becomes of each leaf, in order.
fn treatments(args: &[&dyn DynTree], filter: Option<&Filter>) -> Vec<(Array, Treatment)> {
    let outer = trace::current().and_then(|t| Context::of(&t));
    let mut all = vec![];
    for (i, argument) in args.iter().enumerate() {
        argument.flatten_dyn(&mut Flat::new(View::Values, &mut |path, x| {
            let treatment = if x.as_dyn_value().is_none() {
                Treatment::Whole
            } else if filter.is_none_or(|keep| keep(&format!("{i}{path}"), x)) {
                Treatment::Apart
            } else if outer
                .as_ref()
                .is_some_and(|c| !lock(&c.untouched).contains(&x.identity()))
            {
                Treatment::Whole
            } else {
                Treatment::Untouched
            };
            all.push((x.clone(), treatment));
        }));
    }
    all
}

fn dispatch(
    f: &Fun<'_>,
    options: &Options,
    args: &[&dyn DynTree],
    record: bool,
) -> Result<Dispatched> {
    let context = Arc::new(Context::new(
        options.rules.clone(),
        record.then(Recorder::default),
    ));
    let treatments = treatments(args, options.filter.as_ref());
    let leaves: Vec<Array> = treatments
        .iter()
        .flat_map(|(x, treatment)| match treatment {
            Treatment::Whole => vec![x.clone()],
            Treatment::Apart | Treatment::Untouched => tree::leaves(x),
        })
        // A symbolic zero is no variable: what it stands for costs nothing inside either.
        .filter(|x| !x.is_symbolic_zero())
        .collect();
    let avals = leaves.iter().map(Array::aval).collect::<Result<Vec<_>>>()?;
    let (mut like, mut zeros) = (None, vec![]);
    let program = trace::stage(&avals, Some(context.clone()), &mut |variables| {
        let mut variables = variables.into_iter();
        let mut variable = |x: &Array| {
            if x.is_symbolic_zero() {
                return x.clone();
            }
            variables
                .next()
                .unwrap_or_else(|| Array::error(Error::internal("too few leaves")))
        };
        let mut treatments = treatments.iter();
        let mut next = |x: &Array| {
            let treatment = treatments.next().map(|(_, t)| *t);
            if matches!(treatment, None | Some(Treatment::Whole)) {
                return variable(x);
            }
            let apart = tree::map(x, &mut variable);
            if treatment == Some(Treatment::Untouched) {
                lock(&context.untouched).insert(apart.identity());
            }
            apart
        };
        let mut leaves = Leaves::new(View::Values, &mut next);
        let traced: Vec<Tree> = args.iter().map(|a| a.unflatten_dyn(&mut leaves)).collect();
        let traced: Vec<&dyn DynTree> = traced.iter().map(|t| &**t).collect();
        let note = |f: &dyn Fn(&mut Recorder) -> Result<()>| match &context.recorder {
            Some(r) => f(&mut lock(r)),
            None => Ok(()),
        };
        let whole = |t: &dyn DynTree| leaves_of(t, View::Values);
        note(&|r| r.inputs(&traced.iter().flat_map(|a| whole(*a)).collect::<Vec<_>>()))?;
        let y = f(&traced)?;
        note(&|r| r.outputs(&whole(&*y)))?;
        let mut outs = leaves_of(&*y, View::Components);
        let places = outs.iter().enumerate();
        zeros.extend(
            places
                .filter(|(_, x)| x.is_symbolic_zero())
                .map(|(i, x)| (i, x.clone())),
        );
        outs.retain(|x| !x.is_symbolic_zero());
        like = Some(y);
        Ok(outs)
    })?;
    Ok(Dispatched {
        program,
        leaves,
        like: like.ok_or_else(|| Error::internal("the function was not traced"))?,
        zeros,
        recorded: context.recorder.as_ref().map(|r| lock(r).finish()),
    })
}
