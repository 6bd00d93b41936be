//! Functions as arguments of transformations, and the callable things that transformations return.
//!
//! A function is erased once, on entry, to [`Fun`]: trees in, tree out, no types. Every transformation is `Fun → Fun`, compiled
//! once in this crate; [`Call`] puts the types back on where the user calls.

use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{self, Context, Jaxpr},
    tree::{Flat, Leaves, PyTree, Structure, View},
};
use std::{
    any::{Any, type_name},
    ops::Deref,
    panic::Location,
    sync::Arc,
};

/// A tree without its type.
pub trait DynTree: Send + Sync {
    /// [`PyTree::flatten`].
    fn flatten_dyn(&self, out: &mut Flat<'_>);
    /// [`PyTree::unflatten`].
    fn unflatten_dyn(&self, leaves: &mut Leaves<'_>) -> Tree;
    /// For getting the type back.
    fn as_any(&self) -> &dyn Any;
    /// For getting the type back.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: PyTree> DynTree for T {
    fn flatten_dyn(&self, out: &mut Flat<'_>) {
        self.flatten(out);
    }
    fn unflatten_dyn(&self, leaves: &mut Leaves<'_>) -> Tree {
        Box::new(self.unflatten(leaves))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// An owned tree without its type.
pub type Tree = Box<dyn DynTree>;
/// A function without its types.
pub type Fun<'f> = Arc<dyn Fn(&[&dyn DynTree]) -> Result<Tree> + Send + Sync + 'f>;

/// What a function that is transformed may return: a tree, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "a transformed function must return a tree of arrays or a `Result` of one, not `{Self}`",
    label = "this return type"
)]
pub trait Output {
    /// The tree.
    type Tree: PyTree;
    /// The tree, or the error.
    fn into_result(self) -> Result<Self::Tree>;
}
impl<T: PyTree> Output for T {
    type Tree = T;
    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}
impl<T: PyTree> Output for Result<T, Error> {
    type Tree = T;
    fn into_result(self) -> Result<T> {
        self
    }
}

/// The types of a function's arguments, as a tuple.
pub trait Args: PyTree {
    /// The type of the first argument.
    type First: PyTree;
    /// The type of a callable that takes references to the arguments.
    type Dyn<'f, R: 'f>: ?Sized + Send + Sync + 'f;
    /// Put the types back on.
    fn wrap<'f, R: PyTree>(f: Fun<'f>) -> Arc<Self::Dyn<'f, R>>;
    /// The arguments from trees of their types.
    fn assemble(trees: Vec<Tree>) -> Result<Self>;
}

/// A function that can be transformed: `Fn(&A, &B, …) -> R`, of up to six trees.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that can be transformed",
    label = "expected a function from references to trees, `Fn(&A, &B, ..) -> R`",
    note = "parameters are references: `fn loss(model: &Model, x: &Array) -> Array`",
    note = "closures say their types: `|x: &Array| x.sin()`",
    note = "parameters and result are trees of arrays (`#[derive(PyTree)]`); the result may be a `Result` of one",
    note = "a number is no tree: make it an `Array`, or `Static(..)` to fix it at trace time"
)]
pub trait Function<A: Args> {
    /// The tree that it returns.
    type Out: PyTree;
    /// Take the types off.
    fn erase<'f>(self) -> Fun<'f>
    where
        Self: Send + Sync + 'f;
}

/// An argument, with its type back on.
pub(crate) fn argument<'a, T: 'static>(x: &[&'a dyn DynTree], i: usize) -> Result<&'a T> {
    x.get(i)
        .and_then(|x| x.as_any().downcast_ref())
        .ok_or_else(|| Error::internal(format!("argument {i} is not a {}", type_name::<T>())))
}

/// Put the type back on a tree.
pub(crate) fn typed<R: 'static>(t: Tree) -> Result<R> {
    t.into_any()
        .downcast::<R>()
        .map(|b| *b)
        .map_err(|_| Error::internal(format!("a result is not a {}", type_name::<R>())))
}

macro_rules! arity {
    ($First:ident; $($T:ident $x:ident $i:tt),+) => {
        impl<$($T: PyTree),+> Args for ($($T,)+) {
            type First = $First;
            type Dyn<'f, R: 'f> = dyn Fn($(&$T),+) -> Result<R> + Send + Sync + 'f;
            fn wrap<'f, R: PyTree>(f: Fun<'f>) -> Arc<Self::Dyn<'f, R>> {
                Arc::new(move |$($x: &$T),+| typed(f(&[$($x),+])?))
            }
            fn assemble(trees: Vec<Tree>) -> Result<Self> {
                let mut trees = trees.into_iter();
                let mut next = || trees.next().ok_or_else(|| Error::internal("too few trees"));
                Ok(($(typed::<$T>(next()?)?,)+))
            }
        }
        #[diagnostic::do_not_recommend]
        impl<Func, $($T: PyTree,)+ O: Output> Function<($($T,)+)> for Func
        where
            Func: Fn($(&$T),+) -> O,
        {
            type Out = O::Tree;
            #[track_caller]
            fn erase<'f>(self) -> Fun<'f>
            where
                Self: Send + Sync + 'f,
            {
                let at = Location::caller();
                Arc::new(move |x| {
                    trace::transformed_at(at, || {
                        Ok(Box::new(self($(argument::<$T>(x, $i)?),+).into_result()?) as Tree)
                    })
                })
            }
        }
        impl<'a, $($T: PyTree),+> IntoRefs<'a, ($($T,)+)> for ($(&'a $T,)+) {
            fn refs(self) -> Vec<&'a dyn DynTree> {
                vec![$(self.$i as &dyn DynTree),+]
            }
        }
    };
}
arity!(A; A a 0);
arity!(A; A a 0, B b 1);
arity!(A; A a 0, B b 1, C c 2);
arity!(A; A a 0, B b 1, C c 2, D d 3);
arity!(A; A a 0, B b 1, C c 2, D d 3, E e 4);
arity!(A; A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);

/// References to a function's arguments, as a tuple: `.stages((&model, &x))`.
#[diagnostic::on_unimplemented(
    message = "expected a tuple of references to the function's arguments",
    note = "one argument: `(&x,)`; two: `(&model, &x)`"
)]
pub trait IntoRefs<'a, A> {
    /// The arguments, each without its type.
    fn refs(self) -> Vec<&'a dyn DynTree>;
}

/// A transformed function. Call it as one: it derefs to `dyn Fn(&A, &B, ..) -> Result<R>`.
pub struct Call<'f, A: Args, R: 'f> {
    pub(crate) fun: Fun<'f>,
    call: Arc<A::Dyn<'f, R>>,
}

impl<'f, A: Args, R: PyTree> Call<'f, A, R> {
    /// An error without a place in the user's program belongs to where the function was transformed.
    #[track_caller]
    pub(crate) fn new(fun: Fun<'f>) -> Self {
        let at = Location::caller();
        let fun: Fun<'f> = Arc::new(move |args| fun(args).map_err(|e| e.at(at)));
        Call {
            call: A::wrap(fun.clone()),
            fun,
        }
    }
}
impl<'f, A: Args, R: 'f> Deref for Call<'f, A, R> {
    type Target = A::Dyn<'f, R>;
    fn deref(&self) -> &Self::Target {
        &self.call
    }
}
#[diagnostic::do_not_recommend]
impl<'c, A: Args, R: PyTree> Function<A> for Call<'c, A, R> {
    type Out = R;
    fn erase<'f>(self) -> Fun<'f>
    where
        Self: Send + Sync + 'f,
    {
        self.fun
    }
}
impl<'f, A: Args, R: 'f> Clone for Call<'f, A, R> {
    fn clone(&self) -> Self {
        Call {
            fun: self.fun.clone(),
            call: self.call.clone(),
        }
    }
}
impl<'f, A: Args, R: 'f> std::fmt::Debug for Call<'f, A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call<{}, {}>", type_name::<A>(), type_name::<R>())
    }
}

/// The last part of a function's type name, for `jit`'s `name` parameter; a closure is `<lambda>`.
pub(crate) fn function_name<F: ?Sized>() -> &'static str {
    let full = type_name::<F>();
    if full.contains("{{closure}}") || full.contains('<') {
        return "<lambda>";
    }
    full.rsplit("::").next().unwrap_or(full)
}

// ---- without types from here on ----

/// The arguments of a call, flattened.
pub(crate) struct FlatArgs {
    pub leaves: Vec<Array>,
    /// How many leaves each argument has.
    pub per_argument: Vec<usize>,
}

/// What a walk over arguments looks for besides their leaves.
enum For<'s> {
    Nothing,
    /// A number that equal structures share.
    Hash,
    /// Is it this structure?
    Structure(&'s Structure),
}

impl FlatArgs {
    fn walk(args: &[&dyn DynTree], view: View, wanted: For<'_>) -> (FlatArgs, u64, bool) {
        let (mut leaves, mut per_argument) = (vec![], Vec::with_capacity(args.len()));
        let mut push = |_: &str, x: &Array| leaves.push(x.clone());
        let mut flat = match wanted {
            For::Nothing => Flat::plain(view, &mut push),
            For::Hash => Flat::hashing(view, &mut push),
            For::Structure(s) => Flat::comparing(view, &mut push, s),
        };
        let mut seen = 0;
        for a in args {
            a.flatten_dyn(&mut flat);
            per_argument.push(flat.count() - seen);
            seen = flat.count();
        }
        let (hash, same) = (flat.hash(), flat.is_same());
        let flat = FlatArgs {
            leaves,
            per_argument,
        };
        (flat, hash, same)
    }

    pub(crate) fn new(args: &[&dyn DynTree], view: View) -> FlatArgs {
        FlatArgs::walk(args, view, For::Nothing).0
    }

    /// The arguments, and a number that those of one structure share.
    pub(crate) fn hashed(args: &[&dyn DynTree], view: View) -> (FlatArgs, u64) {
        let (flat, hash, _) = FlatArgs::walk(args, view, For::Hash);
        (flat, hash)
    }

    /// The arguments, if they are of this structure.
    pub(crate) fn of(args: &[&dyn DynTree], view: View, s: &Structure) -> Option<FlatArgs> {
        let (flat, _, same) = FlatArgs::walk(args, view, For::Structure(s));
        same.then_some(flat)
    }

    /// The types of the leaves.
    pub(crate) fn avals(&self) -> Result<Vec<Aval>> {
        self.leaves.iter().map(Array::aval).collect()
    }
}

/// The structure of the arguments together.
pub(crate) fn structure_of(args: &[&dyn DynTree], view: View) -> Structure {
    let mut ignore = |_: &str, _: &Array| {};
    let mut flat = Flat::keeping(view, &mut ignore);
    for a in args {
        a.flatten_dyn(&mut flat);
    }
    flat.structure()
}

/// The paths of the leaves of the arguments, each behind the number of its argument.
pub(crate) fn paths(args: &[&dyn DynTree], view: View) -> Vec<Vec<String>> {
    let of = |a: &dyn DynTree| {
        let mut all = vec![];
        a.flatten_dyn(&mut Flat::new(view, &mut |path, _| {
            all.push(path.to_string())
        }));
        all
    };
    args.iter().map(|a| of(*a)).collect()
}

/// A tree of the same structure with these leaves.
pub(crate) fn rebuild(
    like: &dyn DynTree,
    view: View,
    leaves: impl IntoIterator<Item = Array>,
) -> Tree {
    let mut given = leaves.into_iter();
    let mut next = |_: &Array| {
        given
            .next()
            .unwrap_or_else(|| Array::error(Error::internal("too few leaves")))
    };
    like.unflatten_dyn(&mut Leaves::new(view, &mut next))
}

/// The leaves of a tree.
pub(crate) fn leaves_of(t: &dyn DynTree, view: View) -> Vec<Array> {
    let mut leaves = vec![];
    t.flatten_dyn(&mut Flat::new(view, &mut |_, x| leaves.push(x.clone())));
    leaves
}

/// Trace a function on leaves of these types; its program, and the tree that it returned (a prototype for results).
pub(crate) fn stage(
    f: &Fun<'_>,
    args: &[&dyn DynTree],
    avals: &[Aval],
    context: Option<Context>,
    view: View,
) -> Result<(Jaxpr, Tree)> {
    let (program, mut out) = stage_all(&|x| Ok(vec![f(x)?]), args, avals, context, view)?;
    let out = out
        .pop()
        .ok_or_else(|| Error::internal("the function was not traced"))?;
    Ok((program, out))
}

/// A function of trees that returns several.
pub(crate) type Branches<'f> = &'f dyn Fn(&[&dyn DynTree]) -> Result<Vec<Tree>>;

/// As [`stage`], for a function that returns several trees; the results of the program are the leaves of one after the other.
pub(crate) fn stage_all(
    f: Branches<'_>,
    args: &[&dyn DynTree],
    avals: &[Aval],
    context: Option<Context>,
    view: View,
) -> Result<(Jaxpr, Vec<Tree>)> {
    let mut out = vec![];
    let program = trace::stage(avals, context, &mut |variables| {
        let mut given = variables.into_iter();
        let mut next = |_: &Array| {
            given
                .next()
                .unwrap_or_else(|| Array::error(Error::internal("too few leaves")))
        };
        let mut leaves = Leaves::new(view, &mut next);
        let traced: Vec<Tree> = args.iter().map(|a| a.unflatten_dyn(&mut leaves)).collect();
        out = f(&traced.iter().map(|t| &**t).collect::<Vec<_>>())?;
        Ok(out.iter().flat_map(|t| leaves_of(&**t, view)).collect())
    })?;
    Ok((program, out))
}

/// Inside some `quaxify`, array-ish values are single arrays to the transformations; outside they are trees of components.
pub(crate) fn view() -> View {
    if trace::is_dispatching() {
        View::Values
    } else {
        View::Components
    }
}
