//! The functions that make these primitives of closures.

use super::{ReduceBy, ReduceWindowBy, ScatterBy, SelectAndScatter, SortBy, scalar_program};
use crate::{
    array::{Array, DType, IntoDims},
    error::{Error, Result},
    trace::{
        bind_all,
        op::{Binary, Scatter, Window},
    },
};

fn dtypes(x: &[&Array]) -> Result<Vec<DType>> {
    x.iter().map(|x| x.dtype()).collect()
}

fn operands(parts: &[&[&Array]]) -> Vec<Array> {
    parts.concat().into_iter().cloned().collect()
}

/// From elements of all arrays and other ones to what they give together.
type Combination<'f> = dyn Fn(&[Array], &[Array]) -> Vec<Array> + 'f;

/// The results of a function of pairs: elements of all arrays, then other ones.
fn pairs(
    name: &str,
    first: &[DType],
    second: &[DType],
    f: &Combination<'_>,
) -> Result<crate::trace::Program> {
    scalar_program(name, &[first, second].concat(), &mut |x| {
        let (a, b) = x.split_at(first.len().min(x.len()));
        let results = f(a, b);
        // A weakly typed number, such as a literal, takes the type that is asked for.
        let each = results.into_iter().zip(first);
        each.map(|(y, d)| {
            Ok(if y.aval()?.weak_type {
                y.convert(*d)
            } else {
                y
            })
        })
        .collect()
    })
}

/// Elements of arrays of one shape combined along some axes by a function of one element of each and another one of each, which gives
/// one of each: `lax.reduce`. The function must be associative and captures no array; each initial value is a scalar, and combined
/// first.
///
/// ```
/// use quaxide::prelude::*;
/// let (x, i) = (Array::from([3f32, 9., 4.]), Array::from([0i32, 1, 2]));
/// let best = op::reduce(&[&x, &i], &[&Array::from(f32::MIN), &Array::from(-1)], [0], |a, b| {
///     let first = a[0].ge(&b[0]);
///     vec![first.select(&a[0], &b[0]), first.select(&a[1], &b[1])]
/// });
/// assert_eq!(best.unwrap()[1].item::<i32>().unwrap(), 1);
/// ```
#[track_caller]
pub fn reduce(
    arrays: &[&Array],
    inits: &[&Array],
    dimensions: impl IntoDims,
    f: impl Fn(&[Array], &[Array]) -> Vec<Array>,
) -> Result<Vec<Array>> {
    let types = dtypes(inits)?;
    let op = ReduceBy {
        dimensions: dimensions.into_dims(),
        jaxpr: pairs("reduce", &types, &types, &f)?,
    };
    bind_all(op, &operands(&[arrays, inits]))
}

/// As [`reduce`], of the elements under a window, for each place of the window: `lax.reduce_window`. The initial value also stands
/// where the window reaches outside.
#[track_caller]
pub fn reduce_window(
    arrays: &[&Array],
    inits: &[&Array],
    window: Window,
    f: impl Fn(&[Array], &[Array]) -> Vec<Array>,
) -> Result<Vec<Array>> {
    let types = dtypes(inits)?;
    let jaxpr = pairs("reduce_window", &types, &types, &f)?;
    bind_all(
        ReduceWindowBy { jaxpr, window },
        &operands(&[arrays, inits]),
    )
}

/// Arrays of one shape with windows of them combined with updates by a function of one element of each array and one of each update:
/// `lax.scatter` with a function of one's own. What `scatter` says of its kind is not read.
#[track_caller]
pub fn scatter_by(
    arrays: &[&Array],
    indices: &Array,
    updates: &[&Array],
    scatter: Scatter,
    f: impl Fn(&[Array], &[Array]) -> Vec<Array>,
) -> Result<Vec<Array>> {
    let op = ScatterBy {
        update_jaxpr: pairs("scatter", &dtypes(arrays)?, &dtypes(updates)?, &f)?,
        dimension_numbers: scatter.dimension_numbers,
        indices_are_sorted: scatter.indices_are_sorted,
        mode: scatter.mode,
        unique_indices: scatter.unique_indices,
    };
    bind_all(op, &operands(&[arrays, &[indices], updates]))
}

/// Arrays of one shape sorted together along an axis, in the order of a function that says of elements at two positions whether the
/// first comes before the second. Equal elements keep their order.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([3i32, 9, 4]);
/// let y = op::sort_by(&[&x], 0, |a, b| a[0].gt(&b[0])).unwrap();
/// assert_eq!(y[0].to_vec::<i32>().unwrap(), [9, 4, 3]);
/// ```
#[track_caller]
pub fn sort_by(
    arrays: &[&Array],
    dimension: usize,
    before: impl Fn(&[Array], &[Array]) -> Array,
) -> Result<Vec<Array>> {
    let types: Vec<DType> = dtypes(arrays)?.iter().flat_map(|d| [*d, *d]).collect();
    let comparator = scalar_program("sort", &types, &mut |x| {
        let (a, b): (Vec<Array>, Vec<Array>) = x
            .chunks_exact(2)
            .filter_map(|p| Some((p.first()?.clone(), p.last()?.clone())))
            .unzip();
        Ok(vec![before(&a, &b)])
    })?;
    let op = SortBy {
        comparator,
        dimension,
        is_stable: true,
    };
    bind_all(op, &operands(&[arrays]))
}

/// The initial value everywhere, into which each element of `source` is combined where `x` has, under the window of that element, the
/// one that a comparison selects.
#[track_caller]
pub fn select_and_scatter(
    x: &Array,
    source: &Array,
    init: &Array,
    window: Window,
    select: Binary,
    f: impl Fn(&Array, &Array) -> Array,
) -> Result<Array> {
    let (d, s) = (x.dtype()?, source.dtype()?);
    let missing = || Error::internal("an argument is missing");
    let select_jaxpr = scalar_program("select_and_scatter", &[d, d], &mut |x| {
        Ok(vec![crate::trace::bind(
            select,
            &x.iter().collect::<Vec<_>>(),
        )])
    })?;
    let scatter_jaxpr = scalar_program("select_and_scatter", &[s, s], &mut |x| {
        let (Some(a), Some(b)) = (x.first(), x.get(1)) else {
            return Err(missing());
        };
        Ok(vec![f(a, b)])
    })?;
    let op = SelectAndScatter {
        select_jaxpr,
        scatter_jaxpr,
        window,
    };
    let y = bind_all(op, &operands(&[&[x, source, init]]))?;
    y.into_iter().next().ok_or_else(missing)
}
