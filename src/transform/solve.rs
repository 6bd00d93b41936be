//! `custom_linear_solve`, `custom_root`: solutions whose derivatives follow from the equation that they solve.

use super::{
    DynTree, Output, Tree, argument,
    control::{apply, avals_of, close_together},
    jvp::eval_jvp,
    leaves_of, rebuild, stage_all,
    transpose::transpose,
    typed, view,
};
use crate::{
    array::{Array, Aval},
    error::{Error, Result},
    trace::{
        self, Jaxpr,
        op::{self, Captured, CustomLinearSolve, Tangent, inexact},
    },
    tree::{PyTree, View},
};

/// A function of vectors, as it is handed to what solves.
pub type Map<'m, X> = dyn Fn(&X) -> Result<X> + Send + Sync + 'm;

/// A function that is given a map and a right side, and finds the solution.
pub type Solver<'s, X> = dyn Fn(&Map<'_, X>, &X) -> Result<X> + 's;

/// How [`custom_linear_solve`] solves the transposed system, which reverse derivatives need.
#[derive(Clone, Copy, Default)]
pub enum TransposeSolve<'s, X> {
    /// It does not: only forward derivatives.
    #[default]
    None,
    /// The map is its own transpose, so that what solves one system solves the other.
    Symmetric,
    /// By a function that is given the transpose of the map.
    By(&'s Solver<'s, X>),
}

impl<X> std::fmt::Debug for TransposeSolve<'_, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TransposeSolve::None => "None",
            TransposeSolve::Symmetric => "Symmetric",
            TransposeSolve::By(_) => "By(..)",
        })
    }
}

/// The types of what a function gives must be those of the vectors that it takes.
fn check_like(name: &str, what: &str, outs: &[Aval], wanted: &[Aval]) -> Result<()> {
    let fits = outs.len() == wanted.len() && outs.iter().zip(wanted).all(|(a, b)| a.same_type(b));
    if fits {
        return Ok(());
    }
    let list = |all: &[Aval]| {
        let all: Vec<String> = all.iter().map(Aval::to_string).collect();
        all.join(", ")
    };
    Err(Error::shape(format!(
        "`{name}`: {what} must give what it takes, ({}), it gives ({})",
        list(wanted),
        list(outs)
    )))
}

/// A function of trees like one, staged.
struct Stager<'t> {
    name: &'static str,
    like: &'t (dyn DynTree + Send + Sync),
    avals: Vec<Aval>,
    view: View,
}

impl Stager<'_> {
    /// The program of a function that maps trees like this one to such trees.
    fn stage<X: PyTree>(&self, what: &str, f: &dyn Fn(&X) -> Result<X>) -> Result<Jaxpr> {
        let f = |x: &[&dyn DynTree]| Ok(vec![Box::new(f(argument::<X>(x, 0)?)?) as Tree]);
        let (program, _) = stage_all(&f, &[self.like], &self.avals, None, self.view)?;
        check_like(self.name, what, &program.out_avals(), &self.avals)?;
        Ok(program)
    }

    fn tree<X: PyTree>(&self, leaves: Vec<Array>) -> Result<X> {
        typed(rebuild(self.like, self.view, leaves))
    }
}

/// What was given back for each, zeros for the rest.
fn instantiated(given: Vec<Tangent>, avals: &[Aval]) -> Vec<Array> {
    let each = given.into_iter().zip(avals);
    each.map(|(t, a)| t.unwrap_or_else(|| Array::symbolic_zero(a.strong())))
        .collect()
}

/// The solution `x` of `matvec(x) = b`, where `matvec` is linear, as `solve` finds it. The derivative is that of the solution, by one
/// more solve, and not that of what `solve` does: it may run a `while_loop` until it is content.
///
/// `solve(&matvec, &b)` and the function of [`TransposeSolve::By`] are given the map to use as they like. What the functions
/// capture may be differentiated. `Err` if a function does not give a tree like `b`.
///
/// ```
/// use quaxide::{prelude::*, transform::{TransposeSolve, custom_linear_solve}};
/// let f = |a: &Array| {
///     let b = Array::from([2f32, 3.]);
///     custom_linear_solve(|x| a * x, &b, |_, b| b / a, TransposeSolve::Symmetric)
/// };
/// let a = Array::from([2f32, 4.]);
/// assert_eq!(f(&a).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.75]);
/// let g = grad(move |a: &Array| Ok(f(a)?.sum(())))(&a).unwrap();
/// assert_eq!(g.to_vec::<f32>().unwrap(), [-0.5, -0.1875]);
/// ```
#[track_caller]
pub fn custom_linear_solve<X: PyTree, M: Output<Tree = X>, S: Output<Tree = X>>(
    matvec: impl Fn(&X) -> M + Send + Sync,
    b: &X,
    solve: impl Fn(&Map<'_, X>, &X) -> S,
    transposed: TransposeSolve<'_, X>,
) -> Result<X> {
    let view = view();
    let leaves = leaves_of(b, view);
    let stager = Stager {
        name: "custom_linear_solve",
        like: b,
        avals: avals_of(&leaves)?,
        view,
    };
    let matvec = &|x: &X| matvec(x).into_result();
    let solve = &|b: &X| solve(matvec, b).into_result();
    let matvec_program = stager.stage("the map", matvec)?;
    let solve_program = stager.stage("`solve`", solve)?;
    let (vecmat, transpose_solve) = match transposed {
        TransposeSolve::None => (None, None),
        TransposeSolve::Symmetric => (Some(matvec_program.clone()), Some(solve_program.clone())),
        TransposeSolve::By(solve) => {
            let (program, captured) = matvec_program.clone().close();
            let n = captured.len();
            let linear: Vec<bool> = (0..program.invars().len()).map(|i| i >= n).collect();
            let given = vec![true; stager.avals.len()];
            let (program, nonzero) = transpose(&program, &linear, &given)?;
            let vecmat = &|ct: &X| -> Result<X> {
                let args = [captured.clone(), leaves_of(ct, view)].concat();
                let mut given = program.eval(&args)?.into_iter();
                let given = nonzero.iter().map(|n| if *n { given.next() } else { None });
                stager.tree(instantiated(given.collect(), &stager.avals))
            };
            (
                Some(stager.stage("the transposed map", vecmat)?),
                Some(stager.stage("`transpose_solve`", &|b: &X| solve(vecmat, b))?),
            )
        }
    };
    let mut args = vec![];
    let mut close = |p: Jaxpr| {
        let (jaxpr, captured) = p.close();
        let num_consts = captured.len();
        args.extend(captured);
        Captured {
            jaxpr: jaxpr.into(),
            num_consts,
        }
    };
    let op = CustomLinearSolve {
        matvec: close(matvec_program),
        vecmat: vecmat.map(&mut close),
        solve: close(solve_program),
        transpose_solve: transpose_solve.map(&mut close),
    };
    args.extend(leaves);
    stager.tree(apply(op.into(), &args)?)
}

/// The `x` with `f(x) = 0`, as `solve` finds it from a first guess. Its derivative, with respect to what `f` captures, is that of the
/// solution by the implicit function theorem, and not that of what `solve` does.
///
/// `solve(&f, &guess)` finds the root. `tangent_solve(&g, &y)` finds the `v` with `g(&v) = y`, where `g` is `f` linearised at the root:
/// for a single number `y / g(1)`; in general a linear solve, such as [`custom_linear_solve`]. It must be linear in `y`. `Err` if a
/// function does not give a tree like the guess.
///
/// ```
/// use quaxide::{prelude::*, transform::custom_root};
/// let root = |a: &Array| {
///     let newton = |x: &Array| (x + a / x) * 0.5;
///     custom_root(
///         |x| x.square() - a,
///         &Array::scalar(1f64),
///         |_, x| (0..6).fold(x.clone(), |x, _| newton(&x)),
///         |g, y| Ok(y / g(&Array::scalar(1f64))?),
///     )
/// };
/// let a = Array::scalar(2f64);
/// assert!((root(&a).unwrap().item::<f64>().unwrap() - 2f64.sqrt()).abs() < 1e-12);
/// let slope = grad(root)(&a).unwrap().item::<f64>().unwrap();
/// assert!((slope - 0.5 / 2f64.sqrt()).abs() < 1e-12);
/// ```
#[track_caller]
pub fn custom_root<X, F, S, T>(
    f: impl Fn(&X) -> F + Send + Sync,
    guess: &X,
    solve: impl Fn(&Map<'_, X>, &X) -> S,
    tangent_solve: impl Fn(&Map<'_, X>, &X) -> T,
) -> Result<X>
where
    X: PyTree,
    F: Output<Tree = X>,
    S: Output<Tree = X>,
    T: Output<Tree = X>,
{
    let view = view();
    let leaves = leaves_of(guess, view);
    let stager = Stager {
        name: "custom_root",
        like: guess,
        avals: avals_of(&leaves)?,
        view,
    };
    let f = &|x: &X| f(x).into_result();
    let program = stager.stage("the function", f)?;
    let solve = stager.stage("`solve`", &|x: &X| solve(f, x).into_result())?;
    let avals = &stager.avals;
    let n = avals.len();
    // At the root that comes first, the solution for the right side that comes second.
    let both = [&avals[..], avals].concat();
    let linearised = trace::stage(&both, None, &mut |mut x| {
        let y = x.split_off(n.min(x.len()));
        let g = |v: &X| -> Result<X> {
            let v = leaves_of(v, view).into_iter().map(Some).collect();
            let (_, along) = eval_jvp(&program, x.clone(), v)?;
            stager.tree(instantiated(along, avals))
        };
        let v = tangent_solve(&g, &stager.tree(y)?).into_result()?;
        let v = leaves_of(&v, view);
        check_like("custom_root", "`tangent_solve`", &avals_of(&v)?, avals)?;
        Ok(v)
    })?;
    let (programs, captured) = close_together(vec![program, solve, linearised])?;
    let Ok([program, solve, linearised]) = <[_; 3]>::try_from(programs) else {
        return Err(Error::internal("a program is missing"));
    };
    let args = [captured, leaves].concat();
    let operands = avals_of(&args)?;
    let consts = args.len() - n;
    let tangents = operands.iter().filter(|a| a.dtype.is_inexact());
    let inputs: Vec<Aval> = operands
        .iter()
        .cloned()
        .chain(tangents.map(Aval::strong))
        .collect();
    let rule = trace::stage(&inputs, None, &mut |mut x| {
        let mut given = x.split_off(operands.len()).into_iter();
        let root = solve.eval(&x)?;
        let flags = inexact(&operands);
        let mut along: Vec<Tangent> = flags
            .iter()
            .map(|f| if *f { given.next() } else { None })
            .collect();
        along.truncate(consts);
        along.resize(operands.len(), None);
        let fixed = x.get(..consts).unwrap_or_default();
        let (_, rhs) = eval_jvp(&program, [fixed, &root].concat(), along)?;
        let rhs = instantiated(rhs, avals);
        let v = linearised.eval(&[fixed, &root, &rhs].concat())?;
        let moved = v.iter().zip(inexact(avals)).filter(|(_, f)| *f);
        let moved: Vec<Array> = moved.map(|(v, _)| -v).collect();
        Ok([root, moved].concat())
    })?;
    let (rule, beside) = rule.close();
    if !beside.is_empty() {
        return Err(Error::internal("the rule of `custom_root` captures arrays"));
    }
    let op = op::CustomJvp {
        name: "_custom_root".into(),
        call_jaxpr: solve,
        jvp: "_root_jvp".into(),
        rule: rule.into(),
        num_consts: 0,
        no_rule: None,
    };
    stager.tree(apply(op.into(), &args)?)
}
