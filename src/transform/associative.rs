//! Running combinations by an associative function, and functions mapped over slices.

use super::{Output, control::avals_of, leaves_of, rebuild, scan, typed, view};
use crate::{
    array::Array,
    error::{Error, Result},
    trace::op::Pad,
    tree::PyTree,
};

/// The running combination of the slices of `xs` along an axis by an associative function: slice `i` of the result combines the slices
/// 0 to `i`. From the end with `reverse`. `f` combines two trees of equally many slices at once, elementwise along the axis.
///
/// The combinations are made in a tree of logarithmic depth (Blelloch, 1990), as `lax.associative_scan` does. `Err` if the arrays are
/// not equally long along the axis, or if `f` fails or changes their types.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1f32, 2., 3., 4.]);
/// let sums = associative_scan(|a: &Array, b: &Array| a + b, &x, false, 0).unwrap();
/// assert_eq!(sums.to_vec::<f32>().unwrap(), [1.0, 3.0, 6.0, 10.0]);
/// ```
#[track_caller]
pub fn associative_scan<X: PyTree, O: Output<Tree = X>>(
    f: impl Fn(&X, &X) -> O,
    xs: &X,
    reverse: bool,
    axis: i32,
) -> Result<X> {
    let view = view();
    let mut leaves = leaves_of(xs, view);
    let mut length = None;
    for x in &leaves {
        let a = x.aval()?;
        let k = crate::array::normalise_axis(axis.into(), a.ndim())?;
        let n = a.shape.get(k).copied().unwrap_or(0);
        if *length.get_or_insert(n) != n {
            return Err(Error::shape(format!(
                "`associative_scan` along axis {axis}: {a} is not {} long",
                length.unwrap_or(0)
            )));
        }
    }
    let Some(length) = length else {
        return Err(Error::argument("`associative_scan` of no arrays"));
    };
    if reverse {
        leaves = leaves.iter().map(|x| x.flip(axis)).collect();
    }
    let combine = |a: Vec<Array>, b: Vec<Array>| -> Result<Vec<Array>> {
        let wanted = avals_of(&a)?;
        let of = |x: Vec<Array>| typed::<X>(rebuild(xs, view, x));
        let y = f(&of(a)?, &of(b)?).into_result()?;
        let y = leaves_of(&y, view);
        let found = avals_of(&y)?;
        let same =
            wanted.len() == found.len() && wanted.iter().zip(&found).all(|(w, f)| w.same_type(f));
        if !same {
            return Err(Error::shape(format!(
                "the function of `associative_scan` gives {} for {}",
                list(&found),
                list(&wanted)
            ))
            .note("it combines several slices at once, and keeps their types"));
        }
        Ok(y)
    };
    let mut scanned = running(leaves, length, axis, &combine)?;
    if reverse {
        scanned = scanned.iter().map(|x| x.flip(axis)).collect();
    }
    typed(rebuild(xs, view, scanned))
}

fn list(avals: &[crate::Aval]) -> String {
    let all: Vec<String> = avals.iter().map(ToString::to_string).collect();
    all.join(" ")
}

type Combine<'f> = &'f dyn Fn(Vec<Array>, Vec<Array>) -> Result<Vec<Array>>;

/// Every second slice from `start` up to `stop`.
fn every_second(x: &[Array], start: usize, stop: usize, axis: i32) -> Vec<Array> {
    x.iter()
        .map(|x| crate::lax::slice_in_dim(x, start.min(stop), stop, 2, axis))
        .collect()
}

fn part(x: &[Array], start: usize, stop: usize, axis: i32) -> Vec<Array> {
    x.iter()
        .map(|x| crate::lax::slice_in_dim(x, start, stop, 1, axis))
        .collect()
}

/// Neighbours are combined in pairs; the running combinations of the pairs are those at odd places; those at even places need one more
/// slice each.
fn running(x: Vec<Array>, n: usize, axis: i32, combine: Combine<'_>) -> Result<Vec<Array>> {
    if n < 2 {
        return Ok(x);
    }
    let pairs = combine(
        every_second(&x, 0, n - 1, axis),
        every_second(&x, 1, n, axis),
    )?;
    let half = n / 2;
    let odd = running(pairs, half, axis, combine)?;
    let before = if n.is_multiple_of(2) {
        part(&odd, 0, half - 1, axis)
    } else {
        odd.clone()
    };
    let rest = combine(before, every_second(&x, 2, n, axis))?;
    let first = part(&x, 0, 1, axis);
    let even: Vec<Array> = first
        .iter()
        .zip(&rest)
        .map(|(a, b)| crate::numpy::concatenate(&[a, b], axis))
        .collect();
    even.iter()
        .zip(&odd)
        .map(|(a, b)| interleaved(a, b, axis))
        .collect()
}

/// `a[0], b[0], a[1], …`: both spread by zeros and added, or joined by "or" where they are not numbers.
fn interleaved(a: &Array, b: &Array, axis: i32) -> Result<Array> {
    let shape = a.aval()?;
    let k = crate::array::normalise_axis(axis.into(), shape.ndim())?;
    let size = |x: &Array| x.shape().get(k).copied().unwrap_or(0) as i64;
    let (m, n) = (size(a), size(b));
    let spread = |x: &Array, low: i64, high: i64| {
        let padding_config = (0..shape.ndim())
            .map(|i| if i == k { (low, high, 1) } else { (0, 0, 0) })
            .collect();
        let zero = Array::from_scalar(0.into(), shape.dtype, false);
        crate::trace::bind(Pad { padding_config }, &[x, &zero])
    };
    // `a` stands at even places: one more follows if both are equally long.
    let a = spread(a, 0, i64::from(m == n));
    let b = spread(b, 1, i64::from(m != n));
    Ok((a + b).ok()?.clone())
}

/// A function applied to each slice of `xs` along the first axis, one after another; the results are stacked. `lax.map`, a `scan` without
/// a carry: it needs less memory than `vmap`, and time for each slice.
///
/// ```
/// use quaxide::prelude::*;
/// let y = lax::map(|x: &Array| x.sum(()), &Array::from([[1f32, 2.], [3., 4.]])).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 7.0]);
/// ```
#[track_caller]
pub fn map<X: PyTree, Y: PyTree, O: Output<Tree = Y>>(f: impl Fn(&X) -> O, xs: &X) -> Result<Y> {
    let ((), ys) = scan(
        |(): &(), x: &X| f(x).into_result().map(|y| ((), y)),
        &(),
        xs,
    )?;
    Ok(ys)
}
