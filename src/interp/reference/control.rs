//! Primitives that run programs more than once, or not at all. How a program runs is the caller's: each interpreter has its own.

use crate::{
    array::{Aval, Buffer, Dims, Scalar, dtype::with_dtype},
    error::{Error, Result},
    interp::Buffers,
    trace::{
        Program,
        op::{Cond, Scan, While},
    },
};
use std::sync::Arc;

/// The slice of an array at an index of its first axis: a view.
fn slice(x: &Buffer, i: usize) -> Result<Buffer> {
    let outside = || Error::internal("a slice lies outside of its array");
    let (Some((n, shape)), Some((step, strides))) =
        (x.shape().split_first(), x.strides().split_first())
    else {
        return Err(outside());
    };
    if i >= *n {
        return Err(outside());
    }
    let at = x.offset() as isize + i as isize * step;
    let at = usize::try_from(at).map_err(|_| outside())?;
    x.view(Dims::from_slice(shape), strides.into(), at)
}

/// Slices along a new first axis.
fn stack(aval: &Aval, slices: &[Arc<Buffer>]) -> Result<Buffer> {
    let data = with_dtype!(aval.dtype, T => {
        let mut all: Vec<T> = crate::array::buffer::try_vec(aval.size())?;
        for s in slices {
            match s.as_slice::<T>() {
                Some(s) => all.extend_from_slice(s),
                None => all.extend(s.to_vec::<T>()?),
            }
        }
        <T as crate::array::Stored>::data(all)
    });
    Buffer::from_data(aval.clone(), data)
}

/// How a program that stands in a primitive is run.
pub(crate) type Run<'r> = dyn Fn(Vec<Arc<Buffer>>) -> Result<Vec<Arc<Buffer>>> + 'r;

/// The steps of a scan, one after the other.
pub(crate) fn scan(
    p: &Scan,
    step: &Run<'_>,
    x: &[Arc<Buffer>],
    results: &[Aval],
) -> Result<Buffers> {
    let (consts, rest) = x.split_at(p.num_consts.min(x.len()));
    let (carry, xs) = rest.split_at(p.num_carry.min(rest.len()));
    let mut carry = carry.to_vec();
    let mut ys: Vec<Vec<Arc<Buffer>>> =
        vec![vec![]; results.len() - p.num_carry.min(results.len())];
    for i in 0..p.length {
        let i = if p.reverse { p.length - 1 - i } else { i };
        let mut args = consts.to_vec();
        args.append(&mut carry);
        for x in xs {
            args.push(Arc::new(slice(x, i)?));
        }
        let mut outs = step(args)?;
        let slices = outs.split_off(p.num_carry.min(outs.len()));
        carry = outs;
        for (all, y) in ys.iter_mut().zip(slices) {
            all.push(y);
        }
    }
    let mut all: Buffers = carry.iter().map(|b| (**b).clone()).collect();
    for (slices, aval) in ys.iter_mut().zip(results.iter().skip(p.num_carry)) {
        if p.reverse {
            slices.reverse();
        }
        all.push(stack(aval, slices)?);
    }
    Ok(all)
}

/// One of several programs.
pub(crate) fn program(programs: &[Program], i: usize) -> Result<&Program> {
    programs
        .get(i)
        .ok_or_else(|| Error::internal("a branch is missing"))
}

/// The branch that the first operand says.
pub(crate) fn cond(
    p: &Cond,
    branch: &dyn Fn(usize, Vec<Arc<Buffer>>) -> Result<Vec<Arc<Buffer>>>,
    x: &[Arc<Buffer>],
) -> Result<Buffers> {
    let Some((index, x)) = x.split_first() else {
        return Err(Error::internal(
            "`cond` has no operand that says which branch",
        ));
    };
    let last = p.branches.len().saturating_sub(1);
    let i = match index.item() {
        Some(Scalar::Int(i)) => usize::try_from(i).unwrap_or(0).min(last),
        _ => return Err(Error::internal("`cond` chooses by an integer")),
    };
    let results = branch(i, x.to_vec())?;
    Ok(results.iter().map(|b| (**b).clone()).collect())
}

/// The steps of a `while`.
pub(crate) fn while_loop(
    p: &While,
    cond: &Run<'_>,
    body: &Run<'_>,
    x: &[Arc<Buffer>],
) -> Result<Buffers> {
    let (cond_consts, rest) = x.split_at(p.cond_nconsts.min(x.len()));
    let (body_consts, carry) = rest.split_at(p.body_nconsts.min(rest.len()));
    let mut carry = carry.to_vec();
    loop {
        let going = cond([cond_consts, &carry].concat())?;
        match going.first().and_then(|b| b.item()) {
            Some(Scalar::Bool(true)) => {}
            Some(Scalar::Bool(false)) => break,
            _ => return Err(Error::internal("the condition of `while` is no bool")),
        }
        let mut args = body_consts.to_vec();
        args.append(&mut carry);
        carry = body(args)?;
    }
    Ok(carry.iter().map(|b| (**b).clone()).collect())
}
