//! Derivatives of functions: `jvp`, `linearize`, `vjp`, `grad` and what is made of them.

use super::{
    Args, Call, DynTree, FlatArgs, Fun, Function, IntoRefs, Tree, jvp as forward, partial_eval,
    rebuild, run, stage, transpose, typed, view,
};
use crate::{
    array::{Array, Aval, Dims},
    error::{Error, Result},
    trace::{
        self, Jaxpr,
        op::{Arg, Tangent},
        passes::DCE,
    },
    tree::{Leaves, PyTree, View},
};
use std::sync::Arc;

/// What `grad` differentiates: a function that returns one scalar `Array`, or `(Array, aux)`.
#[diagnostic::on_unimplemented(
    message = "`grad` differentiates a function that returns one scalar `Array`, or `(Array, aux)`; this one returns `{Self}`"
)]
pub trait Loss: PyTree {}
impl Loss for Array {}
impl<T: PyTree> Loss for (Array, T) {}

/// The gradient of a scalar function with respect to its first argument (a tuple, for several).
///
/// The gradient has the argument's structure. Leaves that are not floats, and leaves that the result does not depend on, have
/// symbolic zeros. `Err` if the function's first result is not a real scalar.
///
/// ```
/// use quaxide::prelude::*;
/// let g = grad(|x: &Array| x.square().sum(()))(&Array::from([1f32, 2.])).unwrap();
/// assert_eq!(g.to_vec::<f32>().unwrap(), [2.0, 4.0]);
/// ```
#[track_caller]
pub fn grad<'f, A: Args, F>(f: F) -> Call<'f, A, A::First>
where
    F: Function<A, Out: Loss> + Send + Sync + 'f,
{
    Call::new(grad_dyn(f.erase(), |_, g| Ok(g)))
}

/// The function's result, and its gradient with respect to the first argument.
///
/// ```
/// use quaxide::prelude::*;
/// let f = |x: &Array| (x.square().sum(()), x * 2.0); // a scalar, and something besides
/// let ((loss, aux), g) = value_and_grad(f)(&Array::from([3f32])).unwrap();
/// assert_eq!((loss.item::<f32>().unwrap(), aux.item::<f32>().unwrap()), (9.0, 6.0));
/// assert_eq!(g.item::<f32>().unwrap(), 6.0);
/// ```
#[track_caller]
pub fn value_and_grad<'f, A: Args, F>(f: F) -> Call<'f, A, (F::Out, A::First)>
where
    F: Function<A, Out: Loss> + Send + Sync + 'f,
{
    Call::new(grad_dyn(f.erase(), |y, g| {
        Ok(Box::new((typed::<F::Out>(y)?, typed::<A::First>(g)?)))
    }))
}

/// A program for the results and for the linear map between tangents, and the residuals that it needs.
struct Linearized {
    known: Jaxpr,
    linear: Jaxpr,
    /// Which results have a tangent that is not always zero.
    nonzero: Vec<bool>,
}

/// Linearize with respect to the inputs that `wrt` marks.
fn linearize_program(j: &Jaxpr, wrt: &[bool]) -> Result<Linearized> {
    let (program, nonzero) = forward::jvp(j, wrt, None)?;
    let unknown: Vec<bool> = (0..program.invars.len())
        .map(|i| i >= j.invars.len())
        .collect();
    let mut halves = partial_eval::partial_eval(&program, &unknown, &[])?;
    // A tangent that came out known is constant: as a linear map it can only be zero.
    let outs = j.outs.len();
    let mut linear = vec![];
    let mut flags = halves.unknown_outs.iter().skip(outs);
    for n in &nonzero {
        linear.push(*n && flags.next().copied().unwrap_or(false));
    }
    let known_tangents = halves
        .unknown_outs
        .iter()
        .skip(outs)
        .filter(|u| !**u)
        .count();
    halves.known.outs.drain(outs..outs + known_tangents);
    Ok(Linearized {
        known: halves.known,
        linear: halves.unknown,
        nonzero: linear,
    })
}

impl Linearized {
    /// Run the known half: the results, and the residuals.
    fn values(&self, outs: usize, x: &[Array]) -> Result<(Vec<Array>, Vec<Array>)> {
        let mut results = self.known.eval(x)?;
        let residuals = results.split_off(outs);
        Ok((results, residuals))
    }

    /// The cotangents of the inputs that the linear half takes, in order.
    fn backward(&self, residuals: &[Array], cotangents: &[Tangent]) -> Result<Vec<Tangent>> {
        let given: Vec<Tangent> = cotangents
            .iter()
            .zip(&self.nonzero)
            .filter(|(_, n)| **n)
            .map(|(c, _)| c.clone())
            .collect();
        let args: Vec<Arg> = self
            .linear
            .invars
            .iter()
            .enumerate()
            .map(|(i, v)| match residuals.get(i) {
                Some(x) => Arg::Known(x.clone()),
                None => Arg::Linear(self.linear.aval(*v).clone()),
            })
            .collect();
        let all = transpose::backward(&self.linear, &args, &given)?;
        Ok(all.into_iter().skip(residuals.len()).collect())
    }
}

/// Marks the inexact leaves of the first `n`.
fn differentiable(avals: &[Aval], n: usize) -> Vec<bool> {
    avals
        .iter()
        .enumerate()
        .map(|(i, a)| i < n && a.dtype.is_inexact())
        .collect()
}

fn grad_dyn<'f>(f: Fun<'f>, assemble: fn(Tree, Tree) -> Result<Tree>) -> Fun<'f> {
    Arc::new(move |args| {
        let view = view();
        let flat = FlatArgs::new(args, view);
        let avals = flat.avals()?;
        let (j, like) = stage(&f, args, &avals, None, view)?;
        let outs = j.outs.len();
        let loss = j.out_avals().first().cloned();
        match &loss {
            Some(a) if a.ndim() == 0 && a.dtype.is_float() => {}
            Some(a) => {
                return Err(Error::shape(format!("`grad` needs a real scalar, the function returned {a}"))
                    .note("sum or average the result; for all derivatives of an array use `jacrev` or `jacfwd`"));
            }
            None => {
                return Err(Error::tree(
                    "`grad` needs a scalar, the function returned no array",
                ));
            }
        }
        let first = flat.per_argument.first().copied().unwrap_or(0);
        let wrt = differentiable(&avals, first);
        let linearized = linearize_program(&j, &wrt)?;
        let mut nonzero = vec![];
        let program = trace::stage(&avals, None, &mut |x| {
            let (mut results, residuals) = linearized.values(outs, &x)?;
            let mut cts: Vec<Tangent> = vec![None; outs];
            if let (Some(ct), Some(y)) = (cts.first_mut(), results.first()) {
                *ct = Some(Array::from_scalar(1.0.into(), y.dtype()?, false));
            }
            let grads = linearized.backward(&residuals, &cts)?;
            nonzero = grads.iter().map(Option::is_some).collect();
            results.extend(grads.into_iter().flatten());
            Ok(results)
        })?
        .through(&[DCE])?;
        let mut results = run(program, &flat.leaves)?;
        let mut given = results.split_off(outs).into_iter();
        let mut nonzero = nonzero.into_iter();
        let grads = avals.iter().zip(&wrt).take(first).map(|(a, w)| {
            let hit = *w && nonzero.next().unwrap_or(false);
            given
                .next_if(hit)
                .unwrap_or_else(|| Array::symbolic_zero(a.strong()))
        });
        let grads: Vec<Array> = grads.collect();
        let Some(argument) = args.first() else {
            return Err(Error::internal("`grad` of a function without arguments"));
        };
        assemble(
            rebuild(&*like, view, results),
            rebuild(*argument, view, grads),
        )
    })
}

trait NextIf {
    fn next_if(&mut self, wanted: bool) -> Option<Array>;
}
impl<I: Iterator<Item = Array>> NextIf for I {
    fn next_if(&mut self, wanted: bool) -> Option<Array> {
        if wanted { self.next() } else { None }
    }
}

/// The result of a function and its derivative along tangents, one for each leaf of the arguments, in one pass.
/// An error if a tangent is not of its primal's type.
///
/// ```
/// use quaxide::prelude::*;
/// let (y, dy) = jvp(|x: &Array| x.sin(), (&Array::from([0f32]),), (&Array::from([1f32]),)).unwrap();
/// assert_eq!((y.item::<f32>().unwrap(), dy.item::<f32>().unwrap()), (0.0, 1.0));
/// ```
#[track_caller]
pub fn jvp<'a, A: Args, F: Function<A> + Send + Sync>(
    f: F,
    primals: impl IntoRefs<'a, A>,
    tangents: impl IntoRefs<'a, A>,
) -> Result<(F::Out, F::Out)> {
    let f = f.erase();
    let at = std::panic::Location::caller();
    let (y, dy) = jvp_dyn(&f, &primals.refs(), &tangents.refs()).map_err(|e| e.at(at))?;
    Ok((typed(y)?, typed(dy)?))
}

/// Tangents that fit the primals, `None` for symbolic zeros and for leaves that have none.
fn tangents_for(avals: &[Aval], tangents: &FlatArgs) -> Result<Vec<Tangent>> {
    if avals.len() != tangents.leaves.len() {
        return Err(Error::tree(format!(
            "{} tangents for {} primals",
            tangents.leaves.len(),
            avals.len()
        )));
    }
    avals
        .iter()
        .zip(&tangents.leaves)
        .map(|(a, t)| {
            let got = t.aval()?;
            if !a.dtype.is_inexact() || t.is_symbolic_zero() {
                return Ok(None);
            }
            if !got.same_type(a) {
                return Err(Error::shape(format!(
                    "a tangent of type {got} for a primal of type {a}"
                )));
            }
            Ok(Some(t.clone()))
        })
        .collect()
}

fn jvp_dyn(
    f: &Fun<'_>,
    primals: &[&dyn DynTree],
    tangents: &[&dyn DynTree],
) -> Result<(Tree, Tree)> {
    let view = view();
    let flat = FlatArgs::new(primals, view);
    let avals = flat.avals()?;
    let tangents = tangents_for(&avals, &FlatArgs::new(tangents, view))?;
    let (j, like) = stage(f, primals, &avals, None, view)?;
    let nonzero: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    let (program, nonzero_out) = forward::jvp(&j, &nonzero, None)?;
    let args: Vec<Array> = flat
        .leaves
        .into_iter()
        .chain(tangents.into_iter().flatten())
        .collect();
    let mut results = run(program, &args)?;
    let mut given = results.split_off(j.outs.len()).into_iter();
    let tangents: Vec<Array> = j
        .out_avals()
        .into_iter()
        .zip(nonzero_out)
        .map(|(a, n)| {
            given
                .next_if(n)
                .unwrap_or_else(|| Array::symbolic_zero(a.strong()))
        })
        .collect();
    Ok((
        rebuild(&*like, view, results),
        rebuild(&*like, view, tangents),
    ))
}

/// What linearizing a function at a point gives, before types are put back on.
struct Point {
    linearized: Arc<Linearized>,
    residuals: Vec<Array>,
    like: Tree,
    out_avals: Vec<Aval>,
    in_avals: Vec<Aval>,
    wrt: Vec<bool>,
    results: Vec<Array>,
    view: View,
}

fn at_point(f: &Fun<'_>, args: &[&dyn DynTree]) -> Result<Point> {
    let view = view();
    let flat = FlatArgs::new(args, view);
    let in_avals = flat.avals()?;
    let (j, like) = stage(f, args, &in_avals, None, view)?;
    let wrt = differentiable(&in_avals, in_avals.len());
    let linearized = linearize_program(&j, &wrt)?;
    let mut results = run(linearized.known.clone(), &flat.leaves)?;
    let residuals = results.split_off(j.outs.len());
    Ok(Point {
        linearized: Arc::new(linearized),
        residuals,
        like,
        out_avals: j.out_avals(),
        in_avals,
        wrt,
        results,
        view,
    })
}

/// The result of a function at a point, and the linear map from tangents of its arguments to that of its result.
/// The map gives an error for tangents of other types than the arguments'.
///
/// ```
/// use quaxide::prelude::*;
/// let (y, df) = linearize(|x: &Array| x.square(), (&Array::from([3f32]),)).unwrap();
/// assert_eq!(y.item::<f32>().unwrap(), 9.0);
/// assert_eq!(df(&Array::from([1f32])).unwrap().item::<f32>().unwrap(), 6.0);
/// ```
#[allow(
    clippy::type_complexity,
    reason = "a result and a function, each with its types"
)]
#[track_caller]
pub fn linearize<'a, A: Args, F: Function<A> + Send + Sync>(
    f: F,
    args: impl IntoRefs<'a, A>,
) -> Result<(F::Out, Call<'static, A, F::Out>)> {
    let at = std::panic::Location::caller();
    let p = at_point(&f.erase(), &args.refs()).map_err(|e| e.at(at))?;
    let y = typed(rebuild(&*p.like, p.view, p.results.clone()))?;
    let map: Fun<'static> = Arc::new(move |tangents| {
        let tangents = tangents_for(&p.in_avals, &FlatArgs::new(tangents, p.view))?;
        let dense = tangents
            .into_iter()
            .zip(&p.in_avals)
            .zip(&p.wrt)
            .filter(|(_, w)| **w)
            .map(|((t, a), _)| t.unwrap_or_else(|| Array::symbolic_zero(a.strong())));
        let args: Vec<Array> = p.residuals.iter().cloned().chain(dense).collect();
        let mut given = run(p.linearized.linear.clone(), &args)?.into_iter();
        let tangents = p.out_avals.iter().zip(&p.linearized.nonzero).map(|(a, n)| {
            given
                .next_if(*n)
                .unwrap_or_else(|| Array::symbolic_zero(a.strong()))
        });
        let tangents: Vec<Array> = tangents.collect();
        Ok(rebuild(&*p.like, p.view, tangents))
    });
    Ok((y, Call::new(map)))
}

/// The result of a function at a point, and the map from a cotangent of its result to those of its arguments (a tuple).
/// The map gives an error for a cotangent of another type than the result's.
///
/// ```
/// use quaxide::prelude::*;
/// let (y, pullback) = vjp(|x: &Array| x.square(), (&Array::from([3f32]),)).unwrap();
/// assert_eq!(y.item::<f32>().unwrap(), 9.0);
/// let (dx,) = pullback(&Array::from([1f32])).unwrap();
/// assert_eq!(dx.item::<f32>().unwrap(), 6.0);
/// ```
#[allow(
    clippy::type_complexity,
    reason = "a result and a function, each with its types"
)]
#[track_caller]
pub fn vjp<'a, A: Args, F: Function<A> + Send + Sync>(
    f: F,
    args: impl IntoRefs<'a, A>,
) -> Result<(F::Out, Call<'static, (F::Out,), A>)> {
    let args = args.refs();
    let at = std::panic::Location::caller();
    let p = at_point(&f.erase(), &args).map_err(|e| e.at(at))?;
    let y = typed(rebuild(&*p.like, p.view, p.results.clone()))?;
    let mut keep = |x: &Array| x.clone();
    let mut leaves = Leaves::new(p.view, &mut keep);
    let prototypes: Vec<Tree> = args.iter().map(|a| a.unflatten_dyn(&mut leaves)).collect();
    let map: Fun<'static> = Arc::new(move |cotangent| {
        let cotangents = tangents_for(&p.out_avals, &FlatArgs::new(cotangent, p.view))?;
        let given: Vec<bool> = cotangents.iter().map(Option::is_some).collect();
        let mut avals: Vec<Aval> = p
            .residuals
            .iter()
            .map(Array::aval)
            .collect::<Result<Vec<_>>>()?;
        let residuals = avals.len();
        avals.extend(
            p.out_avals
                .iter()
                .zip(&given)
                .filter(|(_, g)| **g)
                .map(|(a, _)| a.clone()),
        );
        let mut nonzero = vec![];
        let program = trace::stage(&avals, None, &mut |x| {
            let (known, cts) = x.split_at(residuals);
            let mut cts = cts.iter().cloned();
            let cts: Vec<Tangent> = given
                .iter()
                .map(|g| if *g { cts.next() } else { None })
                .collect();
            let grads = p.linearized.backward(known, &cts)?;
            nonzero = grads.iter().map(Option::is_some).collect();
            Ok(grads.into_iter().flatten().collect())
        })?;
        let args: Vec<Array> = p
            .residuals
            .iter()
            .cloned()
            .chain(cotangents.into_iter().flatten())
            .collect();
        let mut results = run(program, &args)?.into_iter();
        let mut nonzero = nonzero.into_iter();
        let grads = p.in_avals.iter().zip(&p.wrt).map(|(a, w)| {
            let hit = *w && nonzero.next().unwrap_or(false);
            results
                .next_if(hit)
                .unwrap_or_else(|| Array::symbolic_zero(a.strong()))
        });
        let mut grads = grads.collect::<Vec<_>>().into_iter();
        let mut next = |_: &Array| {
            grads
                .next()
                .unwrap_or_else(|| Array::error(Error::internal("too few cotangents")))
        };
        let mut leaves = Leaves::new(p.view, &mut next);
        let trees = prototypes
            .iter()
            .map(|t| t.unflatten_dyn(&mut leaves))
            .collect();
        Ok(Box::new(A::assemble(trees)?))
    });
    Ok((y, Call::new(map)))
}

/// The derivative of an array function with respect to every element of the first argument, by one backward pass for each
/// element of the result. Each leaf of the Jacobian has the result's shape, then the leaf's.
///
/// ```
/// use quaxide::prelude::*;
/// let j = jacrev(|x: &Array| x.square())(&Array::from([1f32, 2.])).unwrap();
/// assert_eq!(j.to_vec::<f32>().unwrap(), [2., 0., 0., 4.]);
/// ```
#[track_caller]
pub fn jacrev<'f, A: Args, F: Function<A, Out = Array> + Send + Sync + 'f>(
    f: F,
) -> Call<'f, A, A::First> {
    let f = f.erase();
    Call::new(Arc::new(move |args| jacobian(&f, args, true)))
}

/// As [`jacrev`], by one forward pass for each element of the first argument.
#[track_caller]
pub fn jacfwd<'f, A: Args, F: Function<A, Out = Array> + Send + Sync + 'f>(
    f: F,
) -> Call<'f, A, A::First> {
    let f = f.erase();
    Call::new(Arc::new(move |args| jacobian(&f, args, false)))
}

/// The second derivatives of a function of one array: `jacfwd(jacrev(f))`.
///
/// ```
/// use quaxide::prelude::*;
/// let h = hessian(|x: &Array| x.integer_pow(3).sum(()))(&Array::from([1f32, 2.])).unwrap();
/// assert_eq!(h.to_vec::<f32>().unwrap(), [6., 0., 0., 12.]);
/// ```
#[track_caller]
pub fn hessian<'f, A: Args<First = Array>, F: Function<A, Out = Array> + Send + Sync + 'f>(
    f: F,
) -> Call<'f, A, Array> {
    jacfwd(jacrev(f))
}

fn jacobian(f: &Fun<'_>, args: &[&dyn DynTree], reverse: bool) -> Result<Tree> {
    let view = view();
    let flat = FlatArgs::new(args, view);
    let avals = flat.avals()?;
    let (j, _) = stage(f, args, &avals, None, view)?;
    let first = flat.per_argument.first().copied().unwrap_or(0);
    let wrt = differentiable(&avals, first);
    let Some(out) = j.out_avals().into_iter().next() else {
        return Err(Error::tree("the function returned no array"));
    };
    let linearized = linearize_program(&j, &wrt)?;
    let wanted: Vec<Aval> = avals
        .iter()
        .zip(&wrt)
        .filter(|(_, w)| **w)
        .map(|(a, _)| a.clone())
        .collect();
    let program = trace::stage(&avals, None, &mut |x| {
        let (_, residuals) = linearized.values(j.outs.len(), &x)?;
        if !linearized.nonzero.contains(&true) {
            return Ok(wanted
                .iter()
                .map(|a| Array::zeros(joined(&out.shape, &a.shape), out.dtype))
                .collect());
        }
        if reverse {
            jacobian_rows(&linearized, &residuals, &out, &wanted)
        } else {
            jacobian_columns(&linearized, &residuals, &out, &wanted)
        }
    })?
    .through(&[DCE])?;
    let mut given = run(program, &flat.leaves)?.into_iter();
    let leaves: Vec<Array> = avals
        .iter()
        .zip(&wrt)
        .take(first)
        .map(|(a, w)| {
            let zero =
                || Array::symbolic_zero(out.with_shape(joined(&out.shape, &a.shape)).strong());
            given.next_if(*w).unwrap_or_else(zero)
        })
        .collect();
    match args.first() {
        Some(argument) => Ok(rebuild(*argument, view, leaves)),
        None => Err(Error::internal(
            "a Jacobian of a function without arguments",
        )),
    }
}

fn joined(a: &[usize], b: &[usize]) -> Dims {
    a.iter().chain(b).copied().collect()
}

/// The basis of a type: one example for each element.
fn basis(a: &Aval) -> Array {
    Array::eye(a.size(), a.dtype).reshape(joined(&[a.size()], &a.shape))
}

/// The linear map as a program of a batch of cotangents, run on a basis.
fn jacobian_rows(
    l: &Linearized,
    residuals: &[Array],
    out: &Aval,
    wanted: &[Aval],
) -> Result<Vec<Array>> {
    let mut avals: Vec<Aval> = residuals.iter().map(Array::aval).collect::<Result<_>>()?;
    avals.push(out.strong());
    let mut nonzero = vec![];
    let one = trace::stage(&avals, None, &mut |x| {
        let (known, ct) = x.split_at(residuals.len());
        let grads = l.backward(known, &[ct.first().cloned()])?;
        nonzero = grads.iter().map(Option::is_some).collect();
        Ok(grads.into_iter().flatten().collect())
    })?;
    let mut x = residuals.to_vec();
    x.push(basis(out));
    let mut given = over_basis(&one, &x, residuals.len(), out.size())?.into_iter();
    Ok(wanted
        .iter()
        .zip(nonzero)
        .map(|(a, n)| {
            let shape = joined(&out.shape, &a.shape);
            given
                .next_if(n)
                .map_or_else(|| Array::zeros(&shape, out.dtype), |g| g.reshape(&shape))
        })
        .collect())
}

fn jacobian_columns(
    l: &Linearized,
    residuals: &[Array],
    out: &Aval,
    wanted: &[Aval],
) -> Result<Vec<Array>> {
    let mut columns = vec![];
    for (i, a) in wanted.iter().enumerate() {
        let mut avals: Vec<Aval> = residuals.iter().map(Array::aval).collect::<Result<_>>()?;
        avals.push(a.strong());
        let one = trace::stage(&avals, None, &mut |x| {
            let (known, t) = x.split_at(residuals.len());
            let tangents = wanted.iter().enumerate().map(|(k, b)| match t.first() {
                Some(t) if k == i => t.clone(),
                _ => Array::symbolic_zero(b.strong()),
            });
            let args: Vec<Array> = known.iter().cloned().chain(tangents).collect();
            l.linear.eval(&args)
        })?;
        let mut x = residuals.to_vec();
        x.push(basis(a));
        let y = over_basis(&one, &x, residuals.len(), a.size())?;
        let shape = joined(&out.shape, &a.shape);
        columns.push(match y.first() {
            Some(y) => super::batch::last(y).reshape(&shape),
            None => Array::zeros(&shape, out.dtype),
        });
    }
    Ok(columns)
}

/// A program with its last input mapped over axis 0.
fn over_basis(one: &Jaxpr, x: &[Array], known: usize, size: usize) -> Result<Vec<Array>> {
    let dims: Vec<Option<usize>> = (0..x.len()).map(|i| (i >= known).then_some(0)).collect();
    let axis = trace::op::BatchAxis { size, name: None };
    let wanted = vec![Some(0); one.outs.len()];
    let (program, _) = super::batch::batch(one, &dims, &axis, Some(&wanted))?;
    program.eval(x)
}
