//! `scan`, `while_loop`, `fori_loop`, `cond`, `switch`: loops and branches as parts of programs. Each function is applied at once; its closures need no annotations.

use super::{
    DynTree, Output, Tree, argument, leaves_of, paths, rebuild, run, stage_all, typed, view,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::{Identity, Jaxpr, Program, op, op::Op},
    tree::{PyTree, Structure, View},
};
use std::panic::Location;

/// How a [`scan_with`] runs.
///
/// ```
/// use quaxide::prelude::*;
/// let reverse = ScanOptions::new().reverse();
/// let (_, sums) = scan_with(reverse, |sum, x| (sum + x, sum + x), &Array::from(0f32), &Array::from([1f32, 2., 3.])).unwrap();
/// assert_eq!(sums.to_vec::<f32>().unwrap(), [6.0, 5.0, 3.0]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    reverse: bool,
    length: Option<usize>,
    unroll: Option<usize>,
    /// What messages call the loop.
    called: Option<&'static str>,
}

impl ScanOptions {
    /// From the first slice to the last, as many steps as there are slices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Start with the last slice. Results stand where their slices stand.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// How many steps a backend may lay out one after another: a hint that programs carry, without effect on results. At least 1.
    #[must_use]
    pub fn unroll(mut self, steps: usize) -> Self {
        self.unroll = Some(steps.max(1));
        self
    }

    /// The number of steps, for scans over no arrays.
    #[must_use]
    pub fn length(mut self, steps: usize) -> Self {
        self.length = Some(steps);
        self
    }
}

/// A function run for each slice of `xs` along the first axis, with a state carried along: `f(&carry, &x)` gives the next carry and
/// a slice of the stacked results. What comes back is the last carry, and all results.
///
/// One step is traced; the carry keeps its structure and types. It is differentiable either way. `Err` if the slices of `xs` are not
/// equally many, if the carry changes its type, or if `f` fails.
///
/// ```
/// use quaxide::prelude::*;
/// let xs = Array::from([1f32, 2., 3.]);
/// let (sum, sums) = scan(|sum, x| (sum + x, sum + x), &Array::from(0f32), &xs).unwrap();
/// assert_eq!(sum.item::<f32>().unwrap(), 6.0);
/// assert_eq!(sums.to_vec::<f32>().unwrap(), [1.0, 3.0, 6.0]);
/// ```
#[track_caller]
pub fn scan<C: PyTree, X: PyTree, Y: PyTree, O: Output<Tree = (C, Y)>>(
    f: impl Fn(&C, &X) -> O,
    init: &C,
    xs: &X,
) -> Result<(C, Y)> {
    scan_with(ScanOptions::new(), f, init, xs)
}

/// As [`scan`], with options. Without arrays to scan over (`&()`) the options say the number of steps.
///
/// ```
/// use quaxide::prelude::*;
/// let steps = ScanOptions::new().length(4);
/// let (x, ()) = scan_with(steps, |x, _: &()| (x * 2.0, ()), &Array::from(1f32), &()).unwrap();
/// assert_eq!(x.item::<f32>().unwrap(), 16.0);
/// ```
#[track_caller]
pub fn scan_with<C: PyTree, X: PyTree, Y: PyTree, O: Output<Tree = (C, Y)>>(
    options: ScanOptions,
    f: impl Fn(&C, &X) -> O,
    init: &C,
    xs: &X,
) -> Result<(C, Y)> {
    let at = Location::caller();
    let f = |x: &[&dyn DynTree]| {
        let (carry, y) = f(argument(x, 0)?, argument(x, 1)?).into_result()?;
        Ok(vec![Box::new(carry) as Tree, Box::new(y) as Tree])
    };
    let (carry, y) = scan_dyn(&f, &options, init, xs).map_err(|e| e.at(at))?;
    Ok((typed(carry)?, typed(y)?))
}

/// A function of trees without types.
type Body<'f> = dyn Fn(&[&dyn DynTree]) -> Result<Vec<Tree>> + 'f;

/// `.a f32[2], .b lora[…]`: what is in a tree.
fn outline(t: &dyn DynTree) -> String {
    let mut items = vec![];
    t.flatten_dyn(&mut crate::tree::Flat::new(View::Values, &mut |path, x| {
        let what = match (x.as_dyn_value(), x.aval()) {
            (Some(v), _) => v.describe(),
            (None, Ok(a)) => a.to_string(),
            (None, Err(e)) => e.message().to_string(),
        };
        items.push(if path.is_empty() {
            what
        } else {
            format!("{path} {what}")
        });
    }));
    format!("({})", items.join(", "))
}

fn structure(t: &dyn DynTree, view: View) -> Structure {
    super::structure_of(&[t], view)
}

/// The carry of a loop after a step against what it was before. True if a weakly typed part has to start with the type that a step
/// gives it; `avals` has that type then.
fn settle_carry(
    name: &str,
    before: &dyn DynTree,
    after: &dyn DynTree,
    avals: &mut [Aval],
    outs: &[Aval],
    view: View,
) -> Result<bool> {
    if structure(before, view) != structure(after, view) || avals.len() != outs.len() {
        let (a, b) = (outline(before), outline(after));
        let e = Error::tree(format!(
            "the carry of `{name}` must keep its structure: it was {a}, a step makes it {b}"
        ));
        return Err(if a == b {
            e.note("the static parts of the two differ")
        } else {
            e.note("what grows from step to step is returned beside the carry, by `scan`")
        });
    }
    let mut paths = paths(&[before], view).into_iter().flatten();
    let mut changed = false;
    for (was, is) in avals.iter_mut().zip(outs) {
        let path = paths.next().unwrap_or_default();
        if was.weak_type && !is.weak_type && was.shape == is.shape {
            *was = is.clone();
            changed = true;
        } else if !was.same_type(is) {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" at `{path}`")
            };
            return Err(Error::shape(format!(
                "the carry of `{name}` must keep its type: it was {was}{place}, a step makes it {is}"
            ))
            .note("start with what a step makes, or let the step give the type that it started with"));
        }
    }
    Ok(changed)
}

/// The leaves with the types that a loop starts with.
fn started(leaves: Vec<Array>, avals: &[Aval]) -> Vec<Array> {
    leaves
        .into_iter()
        .zip(avals)
        .map(|(x, a)| {
            let weak = x.aval().is_ok_and(|b| b.weak_type && !a.weak_type);
            if weak { x.astype(a.dtype) } else { x }
        })
        .collect()
}

pub(super) fn avals_of(leaves: &[Array]) -> Result<Vec<Aval>> {
    leaves.iter().map(Array::aval).collect()
}

/// Apply a primitive that holds programs: within a trace it is recorded, outside of every trace it is rewritten, compiled and run.
#[track_caller]
pub(super) fn apply(op: Op, args: &[Array]) -> Result<Vec<Array>> {
    run(Jaxpr::of_op(op, avals_of(args)?)?, args)
}

#[track_caller]
fn scan_dyn(
    f: &Body<'_>,
    options: &ScanOptions,
    init: &dyn DynTree,
    xs: &dyn DynTree,
) -> Result<(Tree, Tree)> {
    let view = view();
    let (carry, scanned) = (leaves_of(init, view), leaves_of(xs, view));
    let mut length = options.length.map(|n| (n, "`length`".to_string()));
    let mut slices = vec![];
    for (path, x) in paths(&[xs], view).into_iter().flatten().zip(&scanned) {
        let aval = x.aval()?;
        let place = if path.is_empty() {
            "xs".to_string()
        } else {
            format!("xs at `{path}`")
        };
        let Some((n, rest)) = aval.shape.split_first() else {
            return Err(Error::shape(format!(
                "`scan` takes slices along the first axis; {place} is {aval}, which has no axis"
            )));
        };
        match &length {
            Some((m, first)) if m != n => {
                return Err(Error::shape(format!(
                    "`scan` has {m} steps by {first}, and {n} by {place}, which is {aval}"
                )));
            }
            Some(_) => {}
            None => length = Some((*n, place)),
        }
        slices.push(aval.with_shape(Dims::from_slice(rest)));
    }
    let (length, _) = length.ok_or_else(|| {
        Error::argument("`scan` has no arrays to take slices of")
            .note("`scan_with(ScanOptions::new().length(n), ..)` says the number of steps")
    })?;
    let mut carried = avals_of(&carry)?;
    let (program, mut trees) = loop {
        let avals = [&carried[..], &slices].concat();
        let (program, trees) = stage_all(f, &[init, xs], &avals, None, view)?;
        let outs = program.out_avals();
        let Some(after) = trees.first() else {
            return Err(Error::internal("a step of `scan` returned nothing"));
        };
        let n = leaves_of(&**after, view).len().min(outs.len());
        let outs = outs.get(..n).unwrap_or_default();
        if !settle_carry(
            options.called.unwrap_or("scan"),
            init,
            &**after,
            &mut carried,
            outs,
            view,
        )? {
            break (program, trees);
        }
    };
    let (program, captured) = program.close();
    let (num_consts, num_carry) = (captured.len(), carry.len());
    let args = [captured, started(carry, &carried), scanned].concat();
    let scan = op::Scan {
        jaxpr: program.into(),
        length,
        num_carry,
        num_consts,
        reverse: options.reverse,
        unroll: options.unroll.unwrap_or(1),
    };
    let mut results = apply(scan.into(), &args)?;
    let ys = results.split_off(num_carry.min(results.len()));
    let (Some(y), Some(carry)) = (trees.pop(), trees.pop()) else {
        return Err(Error::internal("a step of `scan` returned too little"));
    };
    Ok((rebuild(&*carry, view, results), rebuild(&*y, view, ys)))
}

/// A function of a carry, applied as long as a test of the carry, a bool scalar, says so.
///
/// The carry keeps its structure and types. Derivatives are forward only: in reverse it is refused, since the number of steps is not
/// known; `fori_loop` and `scan` have both. `Err` if the test is not a bool scalar or the carry changes its type.
///
/// ```
/// use quaxide::prelude::*;
/// let x = while_loop(|x| x.lt(100.0), |x| x * 2.0, &Array::from(3f32)).unwrap();
/// assert_eq!(x.item::<f32>().unwrap(), 192.0);
/// ```
#[track_caller]
pub fn while_loop<C: PyTree, O: Output<Tree = C>>(
    test: impl Fn(&C) -> Array,
    body: impl Fn(&C) -> O,
    init: &C,
) -> Result<C> {
    let at = Location::caller();
    let test = |x: &[&dyn DynTree]| {
        Ok(vec![
            Box::new(test(argument::<C>(x, 0)?).ok()?.clone()) as Tree
        ])
    };
    let body = |x: &[&dyn DynTree]| {
        Ok(vec![
            Box::new(body(argument::<C>(x, 0)?).into_result()?) as Tree
        ])
    };
    typed(while_dyn(&test, &body, init).map_err(|e| e.at(at))?)
}

#[track_caller]
fn while_dyn(test: &Body<'_>, body: &Body<'_>, init: &dyn DynTree) -> Result<Tree> {
    let view = view();
    let carry = leaves_of(init, view);
    let mut carried = avals_of(&carry)?;
    let (program, mut trees) = loop {
        let (program, trees) = stage_all(body, &[init], &carried, None, view)?;
        let Some(after) = trees.first() else {
            return Err(Error::internal("a step of `while_loop` returned nothing"));
        };
        let outs = program.out_avals();
        if !settle_carry("while_loop", init, &**after, &mut carried, &outs, view)? {
            break (program, trees);
        }
    };
    let (cond, _) = stage_all(test, &[init], &carried, None, view)?;
    match &cond.out_avals()[..] {
        [p] if p.ndim() == 0 && p.dtype == DType::Bool => {}
        outs => {
            let outs: Vec<String> = outs.iter().map(Aval::to_string).collect();
            return Err(Error::shape(format!(
                "the test of `while_loop` must be a bool scalar, it is {}",
                outs.join(", ")
            ))
            .note("compare numbers, and reduce the result: `x.lt(1.0).all(())`"));
        }
    }
    let ((cond, of_cond), (body, of_body)) = (cond.close(), program.close());
    let op = op::While {
        body_jaxpr: body.into(),
        body_nconsts: of_body.len(),
        cond_jaxpr: cond.into(),
        cond_nconsts: of_cond.len(),
    };
    let args = [of_cond, of_body, started(carry, &carried)].concat();
    let results = apply(op.into(), &args)?;
    match trees.pop() {
        Some(like) => Ok(rebuild(&*like, view, results)),
        None => Err(Error::internal("a step of `while_loop` returned nothing")),
    }
}

/// `body(&i, &carry)` for each integer `i` from `lower` up to but not including `upper`.
///
/// With bounds that are numbers it is a [`scan`], and differentiable either way; with a traced bound it is a [`while_loop`].
/// `Err` if the bounds are not integer scalars or the carry changes its type.
///
/// ```
/// use quaxide::prelude::*;
/// let f = |x: &Array| fori_loop(0, 3, |_, y| y * x, &Array::from(1f32));
/// assert_eq!(f(&Array::from(2f32)).unwrap().item::<f32>().unwrap(), 8.0);
/// assert_eq!(grad(f)(&Array::from(2f32)).unwrap().item::<f32>().unwrap(), 12.0);
/// ```
#[track_caller]
pub fn fori_loop<C: PyTree, O: Output<Tree = C>>(
    lower: impl Into<Array>,
    upper: impl Into<Array>,
    body: impl Fn(&Array, &C) -> O,
    init: &C,
) -> Result<C> {
    let (lower, upper) = (lower.into(), upper.into());
    for bound in [&lower, &upper] {
        let aval = bound.aval()?;
        if aval.ndim() != 0 || !aval.dtype.is_integer() {
            return Err(Error::shape(format!(
                "the bounds of `fori_loop` must be integer scalars, got {aval}"
            ))
            .at(Location::caller()));
        }
    }
    // A traced bound of a wider type decides the type of the counter.
    let dtype = match (lower.dtype()?, upper.dtype()?) {
        (DType::I64, _) | (_, DType::I64) => DType::I64,
        _ => DType::I32,
    };
    let (lower, upper) = (lower.astype(dtype), upper.astype(dtype));
    let number = |x: &Array| {
        let b = x.buffer()?;
        match b.item()? {
            crate::array::Scalar::Int(i) => Some(i),
            _ => None,
        }
    };
    let step = |i: &Array, x: &C| -> Result<(Array, C)> {
        let next = body(i, x).into_result()?;
        Ok((i + &Array::from_scalar(1.into(), dtype, false), next))
    };
    let start = (lower.clone(), init.clone());
    let (_, last) = match (number(&lower), number(&upper)) {
        (Some(a), Some(b)) => {
            let steps = usize::try_from(b.saturating_sub(a)).unwrap_or(0);
            let options = ScanOptions {
                called: Some("fori_loop"),
                ..ScanOptions::new().length(steps)
            };
            let ((i, x), ()) = scan_with(
                options,
                |(i, x), (): &()| Ok((step(i, x)?, ())),
                &start,
                &(),
            )?;
            (i, x)
        }
        _ => while_loop(|(i, _)| i.lt(&upper), |(i, x)| step(i, x), &start)?,
    };
    Ok(last)
}

/// `yes(&x)` if the predicate, a scalar, is true, else `no(&x)`; only one of them runs, unless under a `vmap` whose examples differ.
///
/// Both are traced, and return the same structure and types; an error says where they differ.
///
/// ```
/// use quaxide::prelude::*;
/// let f = |x: &Array| cond(&x.gt(0.0), |x| x.sin(), |x| -x, x);
/// assert_eq!(f(&Array::from(-2f32)).unwrap().item::<f32>().unwrap(), 2.0);
/// ```
#[track_caller]
pub fn cond<X: PyTree, O: Output, P: Output<Tree = O::Tree>>(
    predicate: &Array,
    yes: impl Fn(&X) -> O,
    no: impl Fn(&X) -> P,
    x: &X,
) -> Result<O::Tree> {
    let aval = predicate.aval()?;
    if aval.ndim() != 0 {
        return Err(Error::shape(format!(
            "the predicate of `cond` must be a scalar, it is {aval}"
        ))
        .at(Location::caller())
        .note("`select` chooses for each element"));
    }
    let predicate = if aval.dtype == DType::Bool {
        predicate.clone()
    } else {
        predicate.ne(0)
    };
    let yes = |x: &[&dyn DynTree]| {
        Ok(vec![
            Box::new(yes(argument::<X>(x, 0)?).into_result()?) as Tree
        ])
    };
    let no = |x: &[&dyn DynTree]| {
        Ok(vec![
            Box::new(no(argument::<X>(x, 0)?).into_result()?) as Tree
        ])
    };
    typed(branch_dyn(
        "cond",
        &["no", "yes"],
        &predicate.astype(DType::I32),
        &[&no, &yes],
        x,
    )?)
}

/// The function of this number, applied to `x`; the index, an integer scalar, is clamped to what there is.
///
/// All are traced, and return the same structure and types; an error says where they differ.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from(3f32);
/// let y = switch(&Array::from(1), &[&|x: &Array| x * 2.0, &|x| -x, &|x| x.clone()], &x).unwrap();
/// assert_eq!(y.item::<f32>().unwrap(), -3.0);
/// ```
#[track_caller]
pub fn switch<X: PyTree, O: Output>(
    index: &Array,
    branches: &[&dyn Fn(&X) -> O],
    x: &X,
) -> Result<O::Tree> {
    let aval = index.aval()?;
    if aval.ndim() != 0 || !(aval.dtype.is_integer() || aval.dtype == DType::Bool) {
        return Err(Error::shape(format!(
            "the index of `switch` must be an integer scalar, it is {aval}"
        ))
        .at(Location::caller()));
    }
    type Erased<'f> = Box<Body<'f>>;
    let erased: Vec<Erased<'_>> = branches
        .iter()
        .map(|f| {
            let f = move |x: &[&dyn DynTree]| {
                Ok(vec![
                    Box::new(f(argument::<X>(x, 0)?).into_result()?) as Tree
                ])
            };
            Box::new(f) as Erased<'_>
        })
        .collect();
    let names: Vec<String> = (0..branches.len()).map(|i| i.to_string()).collect();
    typed(branch_dyn(
        "switch",
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        &index.astype(DType::I32),
        &erased.iter().map(|f| &**f).collect::<Vec<_>>(),
        x,
    )?)
}

#[track_caller]
fn branch_dyn(
    name: &str,
    names: &[&str],
    index: &Array,
    branches: &[&Body<'_>],
    x: &dyn DynTree,
) -> Result<Tree> {
    let at = Location::caller();
    branch(name, names, index, branches, x).map_err(|e| e.at(at))
}

#[track_caller]
fn branch(
    name: &str,
    names: &[&str],
    index: &Array,
    branches: &[&Body<'_>],
    x: &dyn DynTree,
) -> Result<Tree> {
    let view = view();
    let leaves = leaves_of(x, view);
    let avals = avals_of(&leaves)?;
    let mut programs = vec![];
    let mut first: Option<(Tree, Vec<Aval>)> = None;
    for (i, f) in branches.iter().enumerate() {
        let (program, mut trees) = stage_all(*f, &[x], &avals, None, view)?;
        let tree = trees
            .pop()
            .ok_or_else(|| Error::internal("a branch returned nothing"))?;
        let outs = program.out_avals();
        if let Some((like, wanted)) = &first {
            let (a, b) = (names.first().unwrap_or(&""), names.get(i).unwrap_or(&""));
            if structure(&**like, view) != structure(&*tree, view) || wanted.len() != outs.len() {
                return Err(Error::tree(format!(
                    "the branches of `{name}` must return one structure: `{a}` gives {}, `{b}` gives {}",
                    outline(&**like),
                    outline(&*tree)
                )));
            }
            let paths = paths(&[&**like], view).into_iter().flatten();
            for ((was, is), path) in wanted.iter().zip(&outs).zip(paths) {
                if !was.same_type(is) {
                    let place = if path.is_empty() {
                        String::new()
                    } else {
                        format!(" at `{path}`")
                    };
                    return Err(Error::shape(format!(
                        "the branches of `{name}` must return one type{place}: `{a}` gives {was}, `{b}` gives {is}"
                    ))
                    .note("`.astype(..)`, `.reshape(..)` or `.broadcast_to(..)` make them agree"));
                }
            }
        } else {
            first = Some((tree, outs));
        }
        programs.push(program);
    }
    let Some((like, _)) = first else {
        return Err(Error::argument(format!(
            "`{name}` needs at least one branch"
        )));
    };
    let (branches, captured) = close_together(programs)?;
    let args = [vec![index.clone()], captured, leaves].concat();
    let results = apply(op::Cond { branches }.into(), &args)?;
    Ok(rebuild(&*like, view, results))
}

/// Programs of the same inputs with the arrays that any of them captures as leading inputs, and those arrays.
pub(crate) fn close_together(programs: Vec<Jaxpr>) -> Result<(Vec<Program>, Vec<Array>)> {
    let mut captured: Vec<Array> = vec![];
    let mut places: Vec<Identity> = vec![];
    for (_, c) in programs.iter().flat_map(|p| &p.consts) {
        if !places.contains(&c.identity()) {
            places.push(c.identity());
            captured.push(c.clone());
        }
    }
    let programs = programs
        .into_iter()
        .map(|mut p| {
            let own: Vec<_> = p.consts.drain(..).collect();
            let mut inputs = vec![];
            for c in &captured {
                let found = own.iter().find(|(_, x)| x.identity() == c.identity());
                inputs.push(match found {
                    Some((v, _)) => *v,
                    None => p.fresh(c.aval()?.into()),
                });
            }
            p.invars.splice(0..0, inputs);
            Ok(p.into())
        })
        .collect::<Result<_>>()?;
    Ok((programs, captured))
}
