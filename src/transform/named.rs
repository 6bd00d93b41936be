//! Functions as parts of programs under their names, as JAX has them: called through `jit`, and with derivatives of their own.

use crate::{
    array::{Array, Aval, attempt, promoted_strictly},
    error::Result,
    trace::{
        Jaxpr, Program, bind_all, is_tracing,
        op::{CustomJvp, Jit, Op},
        stage,
    },
};
use rustc_hash::FxHashMap;
use std::{
    panic::Location,
    sync::{LazyLock, Mutex, PoisonError},
};

/// A function of the operands.
pub(crate) type Body<'f> = &'f dyn Fn(&[Array]) -> Result<Array>;
/// The results' tangent, of the operands and their tangents.
pub(crate) type Rule = fn(&[Array], &[Array]) -> Result<Array>;

/// What a program of such a function was made for: its name, numbers that it captures, the caller's line (which equations keep), and
/// types.
type Key = (
    &'static str,
    Vec<u64>,
    &'static Location<'static>,
    Vec<Aval>,
);

/// Programs of these functions are made once for each caller and types.
static MADE: LazyLock<Mutex<FxHashMap<Key, Op>>> = LazyLock::new(Mutex::default);
/// The most programs that are kept.
const MOST: usize = 1 << 12;

fn made(
    name: &'static str,
    captured: &[u64],
    x: &[&Array],
    make: impl FnOnce(&[Aval]) -> Result<Op>,
) -> Result<Op> {
    let avals = x.iter().map(|x| x.aval()).collect::<Result<Vec<_>>>()?;
    let key = (name, captured.to_vec(), crate::trace::here(), avals);
    let lock = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(op) = lock().get(&key) {
        return Ok(op.clone());
    }
    let op = make(&key.3)?;
    let mut all = lock();
    if all.len() >= MOST {
        all.clear();
    }
    all.insert(key, op.clone());
    Ok(op)
}

fn bind_one(op: Op, x: &[&Array]) -> Result<Array> {
    let x: Vec<Array> = x.iter().map(|x| (*x).clone()).collect();
    let mut y = bind_all(op, &x)?;
    y.pop()
        .ok_or_else(|| crate::Error::internal("a named function has no result"))
}

fn program(avals: &[Aval], f: Body<'_>) -> Result<Jaxpr> {
    stage(avals, None, &mut |x| Ok(vec![f(&x)?]))
}

fn jit_op(name: &'static str, avals: &[Aval], f: Body<'_>) -> Result<Op> {
    Ok(Jit {
        name: name.into(),
        jaxpr: program(avals, f)?.into(),
    }
    .into())
}

/// The function, in programs as a `jit` of this name. `f` captures nothing but `captured`.
#[track_caller]
pub(crate) fn jitted(name: &'static str, captured: &[u64], x: &[&Array], f: Body<'_>) -> Array {
    attempt(|| {
        if !is_tracing() {
            return f(&x.iter().map(|x| (*x).clone()).collect::<Vec<_>>());
        }
        bind_one(made(name, captured, x, |avals| jit_op(name, avals, f))?, x)
    })
}

/// A number that an operand is, as a key of programs that have it inside.
fn number(x: &Array) -> Option<u64> {
    let b = x.buffer()?;
    match (b.shape().is_empty(), b.item()) {
        (true, Some(x)) => x.as_f64().map(f64::to_bits),
        _ => None,
    }
}

/// A function with a parameter, in programs as a `jit` of this name: a number is part of the program, an array is its operand.
#[track_caller]
pub(crate) fn jitted_with(
    name: &'static str,
    x: &Array,
    parameter: &Array,
    f: &dyn Fn(&Array, &Array) -> Array,
) -> Array {
    let given = |x: &[Array]| match x {
        [x] => Ok(f(x, parameter)),
        [x, p] => Ok(f(x, p)),
        _ => Err(crate::Error::internal("a function lost an operand")),
    };
    match number(parameter) {
        Some(bits) => jitted(name, &[bits], &[x], &given),
        None => jitted(name, &[], &[x, parameter], &given),
    }
}

/// `jnp.where`, in programs as the `jit` that it is there.
#[track_caller]
pub(crate) fn jitted_where(condition: &Array, x: &Array, y: &Array) -> Array {
    jitted("_where", &[], &[condition, x, y], &|all| match all {
        [condition, x, y] => {
            let both = promoted_strictly(&[x, y])?;
            match &both[..] {
                [x, y] => Ok(condition.select(x, y)),
                _ => Err(crate::Error::internal("`where` lost an operand")),
            }
        }
        _ => Err(crate::Error::internal("`where` lost an operand")),
    })
}

/// What a function with its own derivative consists of.
pub(crate) struct WithRule {
    pub name: &'static str,
    /// The rule's name.
    pub jvp: &'static str,
    pub f: fn(&[Array]) -> Result<Array>,
    /// The function again, with the right derivatives of higher order.
    pub smooth: fn(&[Array]) -> Result<Array>,
    pub rule: Rule,
    /// Is the function a `jit` inside?
    pub jit: bool,
}

/// The function, in programs as a `custom_jvp_call`.
#[track_caller]
pub(crate) fn with_rule(x: &[&Array], w: &WithRule) -> Array {
    attempt(|| {
        if !is_tracing() {
            return (w.f)(&x.iter().map(|x| (*x).clone()).collect::<Vec<_>>());
        }
        let op = made(w.name, &[], x, |avals| {
            let call_jaxpr: Program = if w.jit {
                Jaxpr::of_op(jit_op(w.name, avals, &w.f)?, avals.iter().cloned())?.into()
            } else {
                program(avals, &w.f)?.into()
            };
            let tangents = avals.iter().filter(|a| a.dtype.is_inexact());
            let inputs: Vec<Aval> = avals
                .iter()
                .cloned()
                .chain(tangents.map(Aval::strong))
                .collect();
            let rule = stage(&inputs, None, &mut |mut x| {
                let given = x.split_off(avals.len());
                let mut given = given.into_iter();
                // Operands that are not inexact have no tangents.
                let tangents: Vec<Array> = avals
                    .iter()
                    .map(|a| {
                        let t = if a.dtype.is_inexact() {
                            given.next()
                        } else {
                            None
                        };
                        t.unwrap_or_else(|| Array::symbolic_zero(a.strong()))
                    })
                    .collect();
                let y = (w.smooth)(&x)?;
                let mut all = vec![y.clone()];
                if y.dtype()?.is_inexact() {
                    all.push((w.rule)(&x, &tangents)?);
                }
                Ok(all)
            })?;
            Ok(CustomJvp {
                name: w.name.into(),
                call_jaxpr,
                jvp: w.jvp.into(),
                rule: rule.into(),
                num_consts: 0,
                no_rule: None,
            }
            .into())
        })?;
        bind_one(op, x)
    })
}
