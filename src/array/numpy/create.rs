//! Making arrays.

use crate::{
    array::{
        Array, DType, Dims, IntoDims, Scalar, attempt,
        linalg::function::{Diagonal, Triangle},
        normalise_axis, promote_types,
    },
    error::{Error, Result},
    trace::op::{answerable_one, remaining},
};

/// `start`, `start + step`, … below `stop` (above, for a negative step).
///
/// ```
/// use quaxide::prelude::*;
/// let x = numpy::arange(1.0, 2.0, 0.25, DType::F32);
/// assert_eq!(x.to_vec::<f32>().unwrap(), [1.0, 1.25, 1.5, 1.75]);
/// ```
#[track_caller]
pub fn arange(
    start: impl Into<Scalar>,
    stop: impl Into<Scalar>,
    step: impl Into<Scalar>,
    dtype: DType,
) -> Array {
    attempt(|| {
        let real = |x: Scalar| {
            x.as_f64()
                .filter(|x| x.is_finite())
                .ok_or_else(|| Error::argument("arange counts in finite real numbers"))
        };
        let (start, stop, step) = (real(start.into())?, real(stop.into())?, real(step.into())?);
        if step == 0.0 {
            return Err(Error::argument("arange: a step of 0"));
        }
        let n = ((stop - start) / step).ceil().max(0.0) as usize;
        let counted = Array::arange(n, dtype);
        let scaled = if step == 1.0 {
            counted
        } else {
            counted * Array::from_scalar(step.into(), dtype, false)
        };
        Ok(if start == 0.0 {
            scaled
        } else {
            scaled + Array::from_scalar(start.into(), dtype, false)
        })
    })
}

/// `n` numbers at equal distances from `start` to `stop`, both included.
#[track_caller]
pub fn linspace(start: f64, stop: f64, n: usize, dtype: DType) -> Array {
    let t = Array::arange(n, DType::F64) / (n.max(2) - 1) as f64;
    (start * (1.0 - &t) + stop * t).astype(dtype)
}

/// The lower triangle: elements above diagonal `k` become zero.
#[track_caller]
pub fn tril(x: &Array, k: i64) -> Array {
    triangle(x, k, true)
}

/// The upper triangle: elements below diagonal `k` become zero.
#[track_caller]
pub fn triu(x: &Array, k: i64) -> Array {
    triangle(x, k, false)
}

#[track_caller]
fn triangle(x: &Array, k: i64, lower: bool) -> Array {
    attempt(|| answerable_one(Triangle { k, lower }, &[x.ok()?.clone()]))
}

pub(crate) fn triangle_of(x: &Array, k: i64, lower: bool) -> Result<Array> {
    let a = x.aval()?;
    let [.., n, m] = a.shape[..] else {
        return Err(Error::shape(format!(
            "a triangle of {a}, which has fewer than two axes"
        )));
    };
    let rows = Array::iota([n, m], 0, DType::I32);
    let columns = Array::iota([n, m], 1, DType::I32);
    let below = (rows + k as i32).ge(columns);
    let keep = if lower {
        below
    } else {
        (Array::iota([n, m], 0, DType::I32) + k as i32).le(Array::iota([n, m], 1, DType::I32))
    };
    Ok(keep.select(x, Array::zeros_like(x)))
}

/// A matrix of zeros with a vector on its `k`-th diagonal (0 the main one, positive ones above it); of a matrix, that diagonal.
///
/// ```
/// use quaxide::prelude::*;
/// let y = numpy::diag(&Array::from([1i32, 2]), 1);
/// assert_eq!(y.to_vec::<i32>().unwrap(), [0, 1, 0, 0, 0, 2, 0, 0, 0]);
/// assert_eq!(numpy::diag(&y, 1).to_vec::<i32>().unwrap(), [1, 2]);
/// ```
#[track_caller]
pub fn diag(x: &Array, k: i64) -> Array {
    attempt(|| {
        let a = x.aval()?;
        match a.shape[..] {
            [n] => {
                let far = k.unsigned_abs() as usize;
                let m = n + far;
                let wide = if k >= 0 {
                    x.pad(&[(0, far)], 0)
                } else {
                    x.pad(&[(far, 0)], 0)
                };
                let rows = Array::iota([m, m], 0, DType::I32);
                let columns = Array::iota([m, m], 1, DType::I32);
                let on = (columns - rows).eq(k);
                let spread = wide.broadcast_in_dim([m, m], [0]);
                Ok(on.select(spread, Array::zeros([m, m], a.dtype)))
            }
            [_, _] => Ok(diagonal(x, k, 0, 1)),
            _ => Err(Error::shape(format!(
                "diag takes a vector or a matrix, not {a}"
            ))),
        }
    })
}

/// The array as one sequence on the `k`-th diagonal of a matrix.
#[track_caller]
pub fn diagflat(x: &Array, k: i64) -> Array {
    diag(&x.ravel(), k)
}

/// The `offset`-th diagonals of the matrices on two axes, along a new last axis.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1i32, 2, 3], [4, 5, 6]]);
/// assert_eq!(numpy::diagonal(&x, 1, 0, 1).to_vec::<i32>().unwrap(), [2, 6]);
/// ```
#[track_caller]
pub fn diagonal(x: &Array, offset: i64, axis1: i32, axis2: i32) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let (i, j) = (
            normalise_axis(axis1.into(), a.ndim())?,
            normalise_axis(axis2.into(), a.ndim())?,
        );
        if i == j {
            return Err(Error::argument(format!(
                "the diagonal of {a}: axis {axis1} is named twice"
            )));
        }
        let diagonal = Diagonal {
            offset,
            axis1: i,
            axis2: j,
        };
        answerable_one(diagonal, std::slice::from_ref(x))
    })
}

pub(crate) fn diagonal_of(x: &Array, of: Diagonal) -> Result<Array> {
    let (a, i, j, offset) = (x.aval()?, of.axis1, of.axis2, of.offset);
    let order: Dims = remaining(a.ndim(), &[i, j], &[])
        .into_iter()
        .chain([i, j])
        .collect();
    let x = x.transpose(order);
    let (n, m) = (
        a.shape.get(i).copied().unwrap_or(0),
        a.shape.get(j).copied().unwrap_or(0),
    );
    let far = offset.unsigned_abs() as usize;
    let (above, below) = if offset >= 0 { (0, far) } else { (far, 0) };
    let k = n.saturating_sub(above).min(m.saturating_sub(below));
    if k == 0 {
        let mut shape = x.shape().into_dims();
        shape.truncate(a.ndim() - 2);
        shape.push(0);
        return Ok(Array::zeros(shape, a.dtype));
    }
    let square = x
        .slice_in_dim(above, above + k, -2)
        .slice_in_dim(below, below + k, -1);
    // Each row's own place.
    let mut places = Dims::from_elem(1, a.ndim());
    if let Some(last) = places.iter_mut().rev().nth(1) {
        *last = k;
    }
    let at = Array::arange(k, DType::I32).reshape(places);
    Ok(square.take_along_axis(&at, -1).squeeze(-1))
}

/// The sum of the `offset`-th diagonals of the matrices on two axes; small integers count as `i32`.
#[track_caller]
pub fn trace(x: &Array, offset: i64, axis1: i32, axis2: i32) -> Array {
    diagonal(x, offset, axis1, axis2).sum(-1)
}

/// Ones on and below the `k`-th diagonal of a matrix, zeros above.
#[track_caller]
pub fn tri(n: usize, m: usize, k: i64, dtype: DType) -> Array {
    let rows = Array::iota([n, m], 0, DType::I32) + k;
    rows.ge(Array::iota([n, m], 1, DType::I32)).astype(dtype)
}

/// The positions, row and column, where a matrix of `n` × `m` satisfies a condition of both.
fn positions(n: usize, m: usize, keep: impl Fn(i64, i64) -> bool) -> [Array; 2] {
    let all = (0..n).flat_map(|i| (0..m).map(move |j| (i, j)));
    let (rows, columns): (Vec<i32>, Vec<i32>) = all
        .filter(|(i, j)| keep(*i as i64, *j as i64))
        .map(|(i, j)| (i as i32, j as i32))
        .unzip();
    [Array::from(rows), Array::from(columns)]
}

/// The rows and columns of the lower triangle of an `n` × `m` matrix, the `k`-th diagonal included.
pub fn tril_indices(n: usize, k: i64, m: usize) -> [Array; 2] {
    positions(n, m, |i, j| j <= i + k)
}

/// The rows and columns of the upper triangle of an `n` × `m` matrix, the `k`-th diagonal included.
pub fn triu_indices(n: usize, k: i64, m: usize) -> [Array; 2] {
    positions(n, m, |i, j| j >= i + k)
}

/// The positions along each of `ndim` axes of the main diagonal of an array of sizes `n`.
pub fn diag_indices(n: usize, ndim: usize) -> Vec<Array> {
    vec![Array::arange(n, DType::I32); ndim]
}

/// Coordinate arrays of a grid, the first along the second axis and the second along the first, as in a picture: `jnp.meshgrid` with its
/// default `indexing="xy"`.
///
/// ```
/// use quaxide::prelude::*;
/// let (x, y) = (Array::from([1i32, 2, 3]), Array::from([10i32, 20]));
/// let grid = numpy::meshgrid(&[&x, &y]).unwrap();
/// assert_eq!(grid[0].to_vec::<i32>().unwrap(), [1, 2, 3, 1, 2, 3]);
/// ```
pub fn meshgrid(axes: &[&Array]) -> Result<Vec<Array>> {
    grid(axes, true)
}

/// Coordinate arrays of a grid: the `i`-th varies along axis `i` (`indexing="ij"`).
pub fn meshgrid_ij(axes: &[&Array]) -> Result<Vec<Array>> {
    grid(axes, false)
}

fn grid(axes: &[&Array], picture: bool) -> Result<Vec<Array>> {
    let place = |i: usize| match i {
        0 | 1 if picture && axes.len() > 1 => 1 - i,
        _ => i,
    };
    let mut shape = Dims::from_elem(0, axes.len());
    for (i, x) in axes.iter().enumerate() {
        if let Some(n) = shape.get_mut(place(i)) {
            [*n] = x.dims::<1>()?;
        }
    }
    let wide = |(i, x): (usize, &&Array)| x.broadcast_in_dim(&shape, [place(i)]);
    Ok(axes.iter().enumerate().map(wide).collect())
}

/// The position of each element along each axis of a shape: one array of the shape for each axis, stacked.
#[track_caller]
pub fn indices(shape: impl IntoDims, dtype: DType) -> Array {
    let shape = shape.into_dims();
    let all: Vec<Array> = (0..shape.len())
        .map(|i| Array::iota(&shape, i, dtype))
        .collect();
    if all.is_empty() {
        return Array::zeros([0], dtype);
    }
    super::stack(&all, 0)
}

/// Positions along each axis of a shape, one array each, as positions in the array as one sequence. Positions outside are moved to
/// the nearest place.
#[track_caller]
pub fn ravel_multi_index(positions: &[&Array], shape: impl IntoDims) -> Array {
    let shape = shape.into_dims();
    attempt(|| {
        if positions.len() != shape.len() {
            return Err(Error::argument(format!(
                "ravel_multi_index: {} arrays of positions for {} axes",
                positions.len(),
                shape.len()
            )));
        }
        let mut flat = Array::scalar(0i32);
        for (x, n) in positions.iter().zip(&shape) {
            let last = (*n).saturating_sub(1);
            flat = flat * *n + x.maximum(0).minimum(last);
        }
        Ok(flat)
    })
}

/// Positions in an array as one sequence, as positions along each axis of its shape. Negative ones count from the end.
#[track_caller]
pub fn unravel_index(positions: &Array, shape: impl IntoDims) -> Result<Vec<Array>> {
    let shape = shape.into_dims();
    let total: usize = shape.iter().product();
    let positions = positions.lt(0).select(positions + total, positions);
    let mut rest = positions.maximum(0).minimum(total.saturating_sub(1));
    let mut all = vec![];
    for n in shape.iter().rev() {
        let n = (*n).max(1);
        all.push(rest.modulo(n).ok()?.clone());
        rest = rest.floor_divide(n);
    }
    all.reverse();
    Ok(all)
}

/// `n` numbers from `base^start` to `base^stop`, whose exponents stand at equal distances.
#[track_caller]
pub fn logspace(start: f64, stop: f64, n: usize, base: f64, dtype: DType) -> Array {
    let exponents = linspace(start, stop, n, DType::F64);
    Array::from(base)
        .astype(DType::F64)
        .pow(exponents)
        .astype(dtype)
}

/// `n` numbers from `start` to `stop`, each the same multiple of the one before. `start` and `stop` have one sign.
#[track_caller]
pub fn geomspace(start: f64, stop: f64, n: usize, dtype: DType) -> Array {
    let sign = start.signum();
    let exponents = linspace(start.abs().ln(), stop.abs().ln(), n, DType::F64);
    let inner = exponents.exp() * sign;
    // The ends exactly.
    let place = Array::arange(n, DType::I32);
    let inner = place.eq(n as i32 - 1).select(stop, inner);
    place.eq(0).select(start, inner).astype(dtype)
}

/// The identity matrix.
#[track_caller]
pub fn identity(n: usize, dtype: DType) -> Array {
    Array::eye(n, dtype)
}

/// An `n` × `m` matrix with ones on its `k`-th diagonal.
#[track_caller]
pub fn eye(n: usize, m: usize, k: i64, dtype: DType) -> Array {
    let rows = Array::iota([n, m], 0, DType::I32) + k;
    rows.eq(Array::iota([n, m], 1, DType::I32)).astype(dtype)
}

/// Arrays of one axis as arrays that broadcast to a grid: the `i`-th along axis `i`.
pub fn ix(axes: &[&Array]) -> Result<Vec<Array>> {
    let along = |(i, x): (usize, &&Array)| {
        let [n] = x.dims::<1>()?;
        let mut shape = Dims::from_elem(1, axes.len());
        if let Some(size) = shape.get_mut(i) {
            *size = n;
        }
        Ok(x.reshape(shape))
    };
    axes.iter().enumerate().map(along).collect()
}

/// The element type that operands of these types meet in.
pub fn result_type(dtypes: &[DType]) -> Option<DType> {
    dtypes
        .iter()
        .map(|d| (*d, false))
        .reduce(promote_types)
        .map(|(d, _)| d)
}
