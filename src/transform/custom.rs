//! `custom_jvp`, `custom_vjp`: functions that bring their own derivatives.

use super::{
    Args, Call, DynTree, FlatArgs, Fun, Function, Output, Tree,
    control::{apply, avals_of, close_together},
    function::function_name,
    leaves_of, paths, rebuild, stage_all, typed, view,
};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{
        self, Atom, Jaxpr,
        op::{self, inexact},
    },
    tree::{PyTree, View},
};
use std::sync::Arc;

/// A rule may call the function that it belongs to. Derivatives up to this order then follow the rule; higher ones are those of the
/// function as it is written.
const MOST_ORDERS: usize = 4;

thread_local! {
    /// The functions whose rules are being traced, from the outermost one in.
    static IN_RULE: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(vec![]) };
}

/// By which a function is known while it lives.
fn identity(f: &Fun<'_>) -> usize {
    Arc::as_ptr(f).cast::<()>() as usize
}

/// How many rules of this function are being traced.
fn orders(f: &Fun<'_>) -> usize {
    IN_RULE.with_borrow(|all| all.iter().filter(|id| **id == identity(f)).count())
}

/// Trace a rule of a function.
fn in_rule<R>(f: &Fun<'_>, trace: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            IN_RULE.with_borrow_mut(|all| all.pop());
        }
    }
    IN_RULE.with_borrow_mut(|all| all.push(identity(f)));
    let _leave = Leave;
    trace()
}

type Rule<'f> = Arc<dyn Fn(Vec<Tree>, Vec<Tree>) -> Result<Vec<Tree>> + Send + Sync + 'f>;

/// A function with its own forward derivative, from which the reverse one follows.
///
/// `rule(&primals, &tangents)`, each a tuple like the arguments, gives the result and its tangent, linear in the tangents; both have the
/// result's structure and types, else `Err`. Leaves that are not inexact have symbolic zeros as tangents. What the function and the
/// rule capture is constant: arrays that are to be differentiated are arguments.
///
/// ```
/// use quaxide::prelude::*;
/// let softplus = custom_jvp(
///     |x: &Array| (x.exp() + 1.0).log(),
///     |(x,), (dx,)| ((x.exp() + 1.0).log(), x.logistic() * dx),
/// );
/// let y = grad(softplus)(&Array::from(0f32)).unwrap();
/// assert_eq!(y.item::<f32>().unwrap(), 0.5);
/// ```
#[track_caller]
pub fn custom_jvp<'f, A: Args, F, O>(
    f: F,
    rule: impl Fn(&A, &A) -> O + Send + Sync + 'f,
) -> Call<'f, A, F::Out>
where
    F: Function<A> + Send + Sync + 'f,
    O: Output<Tree = (F::Out, F::Out)>,
{
    let names = [function_name::<F>(), "rule"];
    let rule: Rule<'f> = Arc::new(move |primals, tangents| {
        let (y, dy) = rule(&A::assemble(primals)?, &A::assemble(tangents)?).into_result()?;
        Ok(vec![Box::new(y), Box::new(dy)])
    });
    Call::new(custom_jvp_dyn(names, f.erase(), rule))
}

/// Trees like the arguments, of these leaves.
fn trees(args: &[&dyn DynTree], flat: &FlatArgs, view: View, leaves: Vec<Array>) -> Vec<Tree> {
    let mut leaves = leaves.into_iter();
    args.iter()
        .zip(&flat.per_argument)
        .map(|(a, n)| rebuild(*a, view, leaves.by_ref().take(*n).collect::<Vec<_>>()))
        .collect()
}

/// Leaves for all of these types: given ones for the inexact, symbolic zeros for the others.
fn with_zeros(avals: &[Aval], given: &mut dyn Iterator<Item = Array>) -> Vec<Array> {
    avals
        .iter()
        .map(|a| {
            let x = if a.dtype.is_inexact() {
                given.next()
            } else {
                None
            };
            x.unwrap_or_else(|| Array::symbolic_zero(a.strong()))
        })
        .collect()
}

/// What a rule returned must be of these types; its leaves.
fn like_results(
    what: &str,
    got: &dyn DynTree,
    avals: &[Aval],
    tangents: bool,
    view: View,
) -> Result<Vec<Array>> {
    let leaves = leaves_of(got, view);
    if leaves.len() != avals.len() {
        return Err(Error::tree(format!(
            "{what} has {} arrays instead of {}",
            leaves.len(),
            avals.len()
        )));
    }
    let paths = paths(&[got], view).into_iter().flatten();
    for ((x, wanted), path) in leaves.iter().zip(avals).zip(paths) {
        let is = x.aval()?;
        let free = tangents && (!wanted.dtype.is_inexact() || x.is_symbolic_zero());
        if !free && !is.same_type(wanted) {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" at `{path}`")
            };
            return Err(Error::shape(format!(
                "{what} is {is}{place} instead of {wanted}"
            )));
        }
    }
    Ok(leaves)
}

/// The leaves with derivatives, with arrays of the right type for symbolic zeros.
fn derivatives(leaves: Vec<Array>, avals: &[Aval]) -> Vec<Array> {
    leaves
        .into_iter()
        .zip(avals)
        .filter(|(_, a)| a.dtype.is_inexact())
        .map(|(x, a)| {
            if x.is_symbolic_zero() {
                Array::symbolic_zero(a.strong())
            } else {
                x
            }
        })
        .collect()
}

/// The types of the inexact ones.
fn tangent_avals(avals: &[Aval]) -> Vec<Aval> {
    let flags = inexact(avals);
    let all = avals.iter().zip(flags).filter(|(_, f)| *f);
    all.map(|(a, _)| a.strong()).collect()
}

fn custom_jvp_dyn<'f>(names: [&'static str; 2], f: Fun<'f>, rule: Rule<'f>) -> Fun<'f> {
    Arc::new(move |args| {
        if orders(&f) >= MOST_ORDERS {
            return f(args);
        }
        let view = view();
        let flat = FlatArgs::new(args, view);
        let avals = flat.avals()?;
        let (call, mut like) = stage_all(&|x| Ok(vec![f(x)?]), args, &avals, None, view)?;
        let outs = call.out_avals();
        let inputs = [avals.clone(), tangent_avals(&avals)].concat();
        let mut trace_rule = |mut x: Vec<Array>| {
            let mut given = x.split_off(avals.len()).into_iter();
            let primals = trees(args, &flat, view, x);
            let tangents = trees(args, &flat, view, with_zeros(&avals, &mut given));
            let results = rule(primals, tangents)?;
            let [y, dy] = &results[..] else {
                return Err(Error::internal("a rule returned too little"));
            };
            let what = "the result that the rule of `custom_jvp` returns";
            let mut all = like_results(what, &**y, &outs, false, view)?;
            let what = "the tangent that the rule of `custom_jvp` returns";
            let dy = like_results(what, &**dy, &outs, true, view)?;
            all.extend(derivatives(dy, &outs));
            Ok(all)
        };
        let rule = in_rule(&f, || trace::stage(&inputs, None, &mut trace_rule))?;
        let (programs, captured) = close_together(vec![call, rule])?;
        let Ok([call_jaxpr, rule]) = <[_; 2]>::try_from(programs) else {
            return Err(Error::internal("a program is missing"));
        };
        let op = op::CustomJvp {
            name: names[0].into(),
            call_jaxpr,
            jvp: names[1].into(),
            rule,
            num_consts: captured.len(),
            no_rule: None,
        };
        let results = apply(op.into(), &[captured, flat.leaves].concat())?;
        match like.pop() {
            Some(like) => Ok(rebuild(&*like, view, results)),
            None => Err(Error::internal("the function returned nothing")),
        }
    })
}

/// A function with its own reverse derivative.
///
/// `fwd` takes the arguments and gives the result and what the backward pass needs; `bwd(&residuals, &cotangent)` gives the
/// cotangents of the arguments, as a tuple. `Err` if these are not of the arguments' types. There is no forward derivative: `jvp` and
/// `jacfwd` are refused.
///
/// ```
/// use quaxide::prelude::*;
/// let f = custom_vjp(
///     |x: &Array| x.sin(),
///     |x: &Array| (x.sin(), x.cos()),
///     |cos, ct| (cos * ct,),
/// );
/// let g = grad(f)(&Array::from(0f32)).unwrap();
/// assert_eq!(g.item::<f32>().unwrap(), 1.0);
/// ```
#[track_caller]
pub fn custom_vjp<'f, A: Args, Res: PyTree, F, G, O>(
    f: F,
    fwd: G,
    bwd: impl Fn(&Res, &F::Out) -> O + Send + Sync + 'f,
) -> Call<'f, A, F::Out>
where
    F: Function<A> + Send + Sync + 'f,
    G: Function<A, Out = (F::Out, Res)> + Send + Sync + 'f,
    O: Output<Tree = A>,
{
    let names = [function_name::<F>(), function_name::<G>(), "<lambda>"];
    let fwd = fwd.erase();
    let fwd = move |args: &[&dyn DynTree]| {
        let (y, residuals) = typed::<(F::Out, Res)>(fwd(args)?)?;
        Ok(vec![Box::new(y) as Tree, Box::new(residuals) as Tree])
    };
    let bwd: Rule<'f> = Arc::new(move |mut residuals, mut ct| {
        let (Some(residuals), Some(ct)) = (residuals.pop(), ct.pop()) else {
            return Err(Error::internal("a tree is missing"));
        };
        let cts = bwd(&typed::<Res>(residuals)?, &typed::<F::Out>(ct)?).into_result()?;
        Ok(vec![Box::new(cts)])
    });
    Call::new(custom_vjp_dyn(names, f.erase(), Box::new(fwd), bwd))
}

type Forward<'f> = Box<dyn Fn(&[&dyn DynTree]) -> Result<Vec<Tree>> + Send + Sync + 'f>;

fn custom_vjp_dyn<'f>(
    names: [&'static str; 3],
    f: Fun<'f>,
    fwd: Forward<'f>,
    bwd: Rule<'f>,
) -> Fun<'f> {
    Arc::new(move |args| {
        if orders(&f) >= MOST_ORDERS {
            return f(args);
        }
        let view = view();
        let flat = FlatArgs::new(args, view);
        let avals = flat.avals()?;
        let (call, mut like) = stage_all(&|x| Ok(vec![f(x)?]), args, &avals, None, view)?;
        let outs = call.out_avals();
        let (forward, trees) = in_rule(&f, || stage_all(&*fwd, args, &avals, None, view))?;
        let [y, residuals] = &trees[..] else {
            return Err(Error::internal("the forward rule returned too little"));
        };
        let what = "the result that the forward rule of `custom_vjp` returns";
        like_results(what, &**y, &outs, false, view)?;
        let residual_avals = avals_of(&leaves_of(&**residuals, view))?;
        let inputs = [residual_avals.clone(), tangent_avals(&outs)].concat();
        let mut trace_backward = |mut x: Vec<Array>| {
            let mut given = x.split_off(residual_avals.len()).into_iter();
            let residuals = rebuild(&**residuals, view, x);
            let ct = rebuild(&**y, view, with_zeros(&outs, &mut given));
            let cts = bwd(vec![residuals], vec![ct])?;
            let Some(cts) = cts.first() else {
                return Err(Error::internal("a rule returned too little"));
            };
            let what = "the cotangent that the backward rule of `custom_vjp` returns";
            let cts = like_results(what, &**cts, &avals, true, view)?;
            Ok(derivatives(cts, &avals))
        };
        let backward = in_rule(&f, || trace::stage(&inputs, None, &mut trace_backward))?;
        let (op, captured) = CustomVjpParts {
            call,
            forward,
            backward,
        }
        .close(names.map(Arc::from))?;
        let results = apply(op.into(), &[captured, flat.leaves].concat())?;
        match like.pop() {
            Some(like) => Ok(rebuild(&*like, view, results)),
            None => Err(Error::internal("the function returned nothing")),
        }
    })
}

/// The programs of a `custom_vjp` that may still capture arrays.
pub(crate) struct CustomVjpParts {
    pub call: Jaxpr,
    pub forward: Jaxpr,
    pub backward: Jaxpr,
}

impl CustomVjpParts {
    /// What the programs capture becomes operands, and is handed on to the backward rule.
    pub(crate) fn close(self, names: [Arc<str>; 3]) -> Result<(op::CustomVjp, Vec<Array>)> {
        let outs = self.call.outs.len();
        let (programs, captured) = close_together(vec![self.call, self.forward, self.backward])?;
        let Ok([call_jaxpr, forward, bwd]) = <[_; 3]>::try_from(programs) else {
            return Err(Error::internal("a program is missing"));
        };
        let mut forward: Jaxpr = (*forward).clone();
        let own: Vec<Atom> = forward
            .invars
            .iter()
            .take(captured.len())
            .map(|v| Atom::Var(*v))
            .collect();
        let at = outs.min(forward.outs.len());
        forward.outs.splice(at..at, own);
        let [name, fwd_name, bwd_name] = names;
        let op = op::CustomVjp {
            name,
            call_jaxpr,
            fwd_name,
            fwd: forward.into(),
            bwd_name,
            bwd,
            num_consts: captured.len(),
            no_rule: None,
        };
        Ok((op, captured))
    }
}
