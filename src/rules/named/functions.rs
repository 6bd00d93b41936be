//! Programs by names. Every function here takes arrays with named axes, and works inside `quaxify` and outside.

use super::{Name, Named, check_unique, shown, wrap};
use crate::{
    array::{Array, Dims},
    dispatch::quaxify,
    error::{Error, Result},
    trace::op::DotGeneral,
    transform::vmap,
};
use std::sync::Arc;

/// An array with a name for each axis.
///
/// An error if their number is not that of the axes, and for a name that occurs twice.
///
/// ```
/// use quaxide::{prelude::*, rules::named};
/// let x = named(Array::ones([2, 3], DType::F32), ["row", "column"]).unwrap();
/// assert_eq!(format!("{x:?}"), "named[f32[2,3], row column]");
/// assert!(named(Array::ones([2, 3], DType::F32), ["row", "row"]).is_err());
/// ```
pub fn named<N: Into<Arc<str>>>(
    array: impl Into<Array>,
    names: impl IntoIterator<Item = N>,
) -> Result<Array> {
    let names = names.into_iter().map(|n| Some(n.into())).collect();
    Ok(Array::from_value(Named::new(array.into(), names)?))
}

/// The positional array and the names of its axes. An error for an array in error.
fn apart(x: &Array) -> Result<(Array, Vec<Name>)> {
    Ok(super::apart(x.ok()?))
}

/// The name of each axis; `None` for one that has none. An error for an array in error.
pub fn axes_of(x: &Array) -> Result<Vec<Option<Arc<str>>>> {
    Ok(apart(x)?.1)
}

fn place(names: &[Name], name: &str) -> Result<usize> {
    let found = names.iter().position(|n| n.as_deref() == Some(name));
    found.ok_or_else(|| {
        let all: Vec<String> = names.iter().map(shown).collect();
        Error::argument(format!(
            "no axis is named `{name}`; the axes are {}",
            all.join(", ")
        ))
    })
}

fn places(names: &[Name], wanted: &[&str]) -> Result<Dims> {
    let places = wanted
        .iter()
        .map(|name| place(names, name))
        .collect::<Result<Dims>>()?;
    if let Some((i, _)) = places
        .iter()
        .enumerate()
        .find(|(i, p)| places.iter().take(*i).any(|q| q == *p))
    {
        return Err(Error::argument(format!(
            "`{}` is named twice",
            wanted.get(i).copied().unwrap_or_default()
        )));
    }
    Ok(places)
}

/// The axes of an array, which may be a value, in another order.
fn turned(array: &Array, order: &Dims) -> Result<Array> {
    match order.iter().copied().eq(0..order.len()) {
        true => Ok(array.clone()),
        false => quaxify(|x: &Array| x.transpose(order))(array),
    }
}

/// Other names for some axes: `rename(&x, &[("out", "in")])`. An error for a name that no axis has, and for one that two would.
pub fn rename(x: &Array, names: &[(&str, &str)]) -> Result<Array> {
    let (array, old) = apart(x)?;
    let mut new = old.clone();
    for (from, to) in names {
        let i = place(&old, from)?;
        if let Some(slot) = new.get_mut(i) {
            *slot = Some((*to).into());
        }
    }
    wrap(array, new)
}

/// The axes in another order. The names must be all that there are.
///
/// ```
/// use quaxide::{prelude::*, rules::{named, order_as, positional}};
/// let x = named(Array::from([[1f32, 2.0, 3.0]]), ["a", "b"]).unwrap();
/// assert_eq!(order_as(&x, &["b", "a"]).unwrap().shape(), [3, 1]);
/// assert!(order_as(&x, &["b"]).unwrap_err().message().contains("`a`"));
/// ```
pub fn order_as(x: &Array, names: &[&str]) -> Result<Array> {
    let (array, old) = apart(x)?;
    let order = places(&old, names)?;
    if let Some(left) = (0..old.len()).find(|i| !order.contains(i)) {
        return Err(Error::argument(format!(
            "the new order lacks an axis {}",
            old.get(left).map(shown).unwrap_or_default()
        )));
    }
    let new = order.iter().filter_map(|i| old.get(*i).cloned()).collect();
    wrap(turned(&array, &order)?, new)
}

/// The plain array with its axes in the order of the names, which must be all that there are: the way back.
pub fn positional(x: &Array, names: &[&str]) -> Result<Array> {
    Ok(apart(&order_as(x, names)?)?.0)
}

/// The axes of several arrays, in the order in which their names occur first, and each array with these axes.
fn line_up(x: &[&Array]) -> Result<(Vec<Array>, Vec<Name>)> {
    let parts = x.iter().map(|x| apart(x)).collect::<Result<Vec<_>>>()?;
    let mut names: Vec<Name> = vec![];
    let mut sizes = Dims::new();
    for (array, own) in &parts {
        check_unique(own)?;
        for (name, size) in own.iter().zip(array.shape().iter()) {
            if name.is_none() {
                return Err(Error::argument(
                    "an axis without a name does not line up with others",
                )
                .note("`named` gives names to the axes of a plain array; one of rank 0 needs none"));
            }
            match names.iter().position(|n| n == name) {
                None => {
                    names.push(name.clone());
                    sizes.push(*size);
                }
                Some(i) if sizes.get(i) == Some(size) => {}
                Some(i) => {
                    return Err(Error::shape(format!(
                        "axis {} has size {} and size {size}",
                        shown(name),
                        sizes.get(i).copied().unwrap_or_default()
                    )));
                }
            }
        }
    }
    let spread = |(array, own): &(Array, Vec<Name>)| -> Result<Array> {
        // Their own order first, as it is among all names; then the axes that they lack.
        let mut order: Vec<(usize, usize)> = own
            .iter()
            .enumerate()
            .filter_map(|(i, name)| Some((names.iter().position(|n| n == name)?, i)))
            .collect();
        order.sort_unstable();
        let dimensions: Dims = order.iter().map(|(p, _)| *p).collect();
        let order: Dims = order.iter().map(|(_, i)| *i).collect();
        if own.is_empty() {
            return Ok(array.clone());
        }
        quaxify(|x: &Array| x.transpose(&order).broadcast_in_dim(&sizes, &dimensions))(array)
    };
    Ok((parts.iter().map(spread).collect::<Result<_>>()?, names))
}

/// An elementwise function of arrays whose axes line up by name: axes that one of them lacks are repeated along.
///
/// The result has every axis, in the order in which the names occur. An error if an axis has two sizes, for an axis without a name, and if the
/// function's result has another shape than its operands.
///
/// ```
/// use quaxide::{prelude::*, rules::{axes_of, combine, named, positional}};
/// let x = named(Array::from([[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]]), ["time", "channel"]).unwrap();
/// let bias = named(Array::from([10f32, 20.0, 30.0]), ["time"]).unwrap();
/// let y = combine(&[&bias, &x], |v| &v[1] + &v[0]).unwrap();
/// assert_eq!(positional(&y, &["channel", "time"]).unwrap().index(0).to_vec::<f32>().unwrap(), [11.0, 23.0, 35.0]);
/// ```
pub fn combine(arrays: &[&Array], f: impl Fn(&[Array]) -> Array + Send + Sync) -> Result<Array> {
    let (lined, names) = line_up(arrays)?;
    let shape = lined.iter().map(Array::shape).max_by_key(|s| s.len());
    let run = |x: &Vec<Array>| f(x);
    let y = quaxify(run)(&lined)?;
    if Some(y.shape()) != shape {
        return Err(Error::shape(format!(
            "an elementwise function returned {}",
            y.describe()
        )));
    }
    wrap(y, names)
}

/// A function that reduces axes given by number, on axes given by name: `reduce_named(&x, &["time"], |x, axes| x.mean(axes))`.
///
/// An error for a name that no axis has, and if the result does not lack just these axes.
pub fn reduce_named(
    x: &Array,
    names: &[&str],
    f: impl Fn(&Array, Dims) -> Array + Send + Sync,
) -> Result<Array> {
    let (array, old) = apart(x)?;
    let mut axes = places(&old, names)?;
    axes.sort_unstable();
    let y = quaxify(|x: &Array| f(x, axes.clone()))(&array)?;
    let left = old.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    wrap(y, left.map(|(_, name)| name.clone()).collect())
}

/// The sum of products over the axes of these names, which both arrays have. Other names that both have line up, and the result keeps
/// them; it has the axes of the left array and then those of the right.
///
/// An error for a name that one of the arrays lacks.
///
/// ```
/// use quaxide::{prelude::*, rules::{axes_of, contract, named}};
/// let w = named(Array::ones([4, 3], DType::F32), ["out", "in"]).unwrap();
/// let x = named(Array::ones([3, 8], DType::F32), ["in", "batch"]).unwrap();
/// assert_eq!(format!("{:?}", contract(&w, &x, &["in"]).unwrap()), "named[f32[4,8], out batch]");
/// ```
pub fn contract(x: &Array, y: &Array, names: &[&str]) -> Result<Array> {
    let ((a, l), (b, r)) = (apart(x)?, apart(y)?);
    let (lhs_contract, rhs_contract) = (places(&l, names)?, places(&r, names)?);
    let (mut lhs_batch, mut rhs_batch) = (Dims::new(), Dims::new());
    for (i, name) in l.iter().enumerate() {
        if name.is_none() || lhs_contract.contains(&i) {
            continue;
        }
        if let Some(j) = r.iter().position(|n| n == name) {
            lhs_batch.push(i);
            rhs_batch.push(j);
        }
    }
    let kept = |names: &[Name], gone: &[usize]| -> Vec<(usize, Name)> {
        let all = names.iter().cloned().enumerate();
        all.filter(|(i, _)| !gone.contains(i)).collect()
    };
    let (left, right) = (
        kept(&l, &lhs_contract),
        kept(&r, &[&rhs_contract[..], &rhs_batch].concat()),
    );
    let (batch, contracted) = (lhs_batch.clone(), lhs_contract.clone());
    let dims = DotGeneral::new((lhs_contract, rhs_contract), (lhs_batch, rhs_batch));
    // The batch axes come out first; they go back among the left array's.
    let free: Vec<usize> = (0..l.len())
        .filter(|i| !batch.contains(i) && !contracted.contains(i))
        .collect();
    let at = |i: &usize| match batch.iter().position(|b| b == i) {
        Some(k) => Some(k),
        None => free.iter().position(|f| f == i).map(|k| k + batch.len()),
    };
    let mut order: Dims = left.iter().filter_map(|(i, _)| at(i)).collect();
    order.extend(left.len()..left.len() + right.len());
    let names = left
        .into_iter()
        .chain(right)
        .map(|(_, name)| name)
        .collect();
    let product = |a: &Array, b: &Array| a.dot_general(b, dims.clone()).transpose(&order);
    wrap(quaxify(product)(&a, &b)?, names)
}

/// A function of positional arrays along the axes of these names, in this order, mapped over every other axis by name: `vmap` for
/// names.
///
/// The result has the axes mapped over, in the order in which they occur, and then one for each name in `gives`. An error for a
/// name that no array has, and if the function's result has another number of axes than `gives` has names.
///
/// ```
/// use quaxide::{prelude::*, rules::{along, named}};
/// let x = named(Array::ones([8, 4, 3], DType::F32), ["batch", "feature", "time"]).unwrap();
/// let w = named(Array::ones([5, 4], DType::F32), ["out", "feature"]).unwrap();
/// let y = along(&[&w, &x], &["out", "feature"], &["out"], |v| v[0].dot(&v[1])).unwrap();
/// assert_eq!(format!("{y:?}"), "named[f32[8,3,5], batch time out]");
/// ```
pub fn along(
    arrays: &[&Array],
    names: &[&str],
    gives: &[&str],
    f: impl Fn(&[Array]) -> Array + Send + Sync,
) -> Result<Array> {
    let parts = arrays
        .iter()
        .map(|x| apart(x))
        .collect::<Result<Vec<_>>>()?;
    for name in names {
        let has = |(_, own): &(Array, Vec<Name>)| own.iter().any(|n| n.as_deref() == Some(*name));
        if !parts.iter().any(has) {
            return Err(Error::argument(format!(
                "no array has an axis named `{name}`"
            )));
        }
    }
    let is_own = |n: &Name| n.as_deref().is_some_and(|n| names.contains(&n));
    // Each array with the axes to map in front, and its own axes in the order of `names`.
    let mut mapped: Vec<Name> = vec![];
    for (_, own) in &parts {
        for name in own {
            if name.is_none() {
                return Err(Error::argument("an axis without a name is not mapped over"));
            }
            if !is_own(name) && !mapped.contains(name) {
                mapped.push(name.clone());
            }
        }
    }
    let mut operands = vec![];
    let mut has: Vec<Vec<bool>> = vec![];
    for (array, own) in &parts {
        let at = |name: &Name| own.iter().position(|n| n == name);
        let last = names.iter().filter_map(|n| at(&Some((*n).into())));
        let order: Dims = mapped.iter().filter_map(at).chain(last).collect();
        operands.push(turned(array, &order)?);
        has.push(mapped.iter().map(|name| at(name).is_some()).collect());
    }
    fn over(
        f: &(dyn Fn(&[Array]) -> Array + Send + Sync),
        has: &[Vec<bool>],
        depth: usize,
        x: &Vec<Array>,
    ) -> Result<Array> {
        if has.first().is_none_or(|h| depth == h.len()) {
            return f(x).ok().cloned();
        }
        let inner = |x: &Vec<Array>| over(f, has, depth + 1, x);
        let axes = has
            .iter()
            .map(|h| h.get(depth) == Some(&true))
            .collect::<Vec<_>>();
        let axis = move |path: &str| -> Option<i32> {
            let i = path
                .trim_start_matches('[')
                .split(']')
                .next()?
                .parse::<usize>()
                .ok()?;
            (axes.get(i) == Some(&true)).then_some(0)
        };
        vmap(inner).in_axes((crate::transform::by_path(axis),))(x)
    }
    let y = quaxify(|x: &Vec<Array>| over(&f, &has, 0, x))(&operands)?;
    let all: Vec<Name> = mapped
        .into_iter()
        .chain(gives.iter().map(|n| Some((*n).into())))
        .collect();
    if y.ndim() != all.len() {
        return Err(Error::shape(format!(
            "the function gives {} axes, but {} names for them were given",
            (y.ndim() + gives.len()).saturating_sub(all.len()),
            gives.len()
        )));
    }
    wrap(y, all)
}
