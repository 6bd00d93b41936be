//! Joining, splitting and rearranging.

use crate::{
    array::{
        Array, Dims, IntoAxes, IntoDims, attempt, broadcast_shapes, normalise_axis, promote_types,
    },
    error::{Error, Result},
    trace::{
        bind,
        op::{Concatenate, Pad, Rev, Slice, Squeeze, move_axis},
    },
};
use std::borrow::Borrow;

/// The arrays in their joint element type.
fn joined<A: Borrow<Array>>(name: &str, arrays: &[A]) -> Result<Vec<Array>> {
    let avals = arrays
        .iter()
        .map(|x| x.borrow().aval())
        .collect::<Result<Vec<_>>>()?;
    let joint = avals
        .iter()
        .map(|a| (a.dtype, a.weak_type))
        .reduce(promote_types);
    let (dtype, weak) =
        joint.ok_or_else(|| Error::argument(format!("{name} needs at least one array")))?;
    let convert = |(x, a): (&A, &crate::array::Aval)| {
        let x = x.borrow();
        if a.dtype == dtype {
            x.clone()
        } else {
            x.convert_weak(dtype, weak)
        }
    };
    Ok(arrays.iter().zip(&avals).map(convert).collect())
}

/// Arrays one after another along an existing axis.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32, 2.]]);
/// let y = numpy::concatenate(&[&x, &x], 0);
/// assert_eq!(y.shape(), [2, 2]);
/// ```
#[track_caller]
pub fn concatenate<A: Borrow<Array>>(arrays: &[A], axis: i32) -> Array {
    attempt(|| {
        let x = joined("concatenate", arrays)?;
        let rank = x.first().map_or(0, Array::ndim);
        let dimension = normalise_axis(axis.into(), rank)?;
        match &x[..] {
            [one] => Ok(one.clone()),
            _ => Ok(bind(
                Concatenate { dimension },
                &x.iter().collect::<Vec<_>>(),
            )),
        }
    })
}

/// Arrays of one shape along a new axis.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1f32, 2.]);
/// assert_eq!(numpy::stack(&[&x, &x, &x], 1).shape(), [2, 3]);
/// ```
#[track_caller]
pub fn stack<A: Borrow<Array>>(arrays: &[A], axis: i32) -> Array {
    attempt(|| {
        let first = arrays
            .first()
            .ok_or_else(|| Error::argument("stack needs at least one array"))?;
        let first = first.borrow().aval()?;
        normalise_axis(axis.into(), first.ndim() + 1)?;
        for x in arrays {
            let a = x.borrow().aval()?;
            if a.shape != first.shape {
                return Err(Error::shape(format!(
                    "stack needs arrays of one shape, got {first} and {a}"
                )));
            }
        }
        let wide: Vec<Array> = arrays
            .iter()
            .map(|x| x.borrow().expand_dims(axis))
            .collect();
        Ok(concatenate(&wide, axis))
    })
}

impl Array {
    /// The array without axes of size 1: those named, or all with `()`.
    #[track_caller]
    pub fn squeeze(&self, axes: impl IntoAxes) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let named = axes.axes(a.ndim())?;
            let all = axes.unnamed();
            let dimensions: Dims = named
                .into_iter()
                .filter(|i| !all || a.shape.get(*i) == Some(&1))
                .collect();
            Ok(if dimensions.is_empty() {
                self.clone()
            } else {
                bind(Squeeze { dimensions }, &[self])
            })
        })
    }

    /// One dimension, in row-major order.
    #[track_caller]
    pub fn ravel(&self) -> Array {
        self.reshape([self.size()])
    }

    /// Two axes exchanged.
    #[track_caller]
    pub fn swapaxes(&self, a: i32, b: i32) -> Array {
        attempt(|| {
            self.ok()?;
            let n = self.ndim();
            let (a, b) = (normalise_axis(a.into(), n)?, normalise_axis(b.into(), n)?);
            let mut p: Dims = (0..n).collect();
            p.swap(a, b);
            Ok(self.transpose(p))
        })
    }

    /// One axis moved to another place; the others keep their order.
    #[track_caller]
    pub fn moveaxis(&self, from: i32, to: i32) -> Array {
        attempt(|| {
            self.ok()?;
            let n = self.ndim();
            Ok(move_axis(
                self,
                normalise_axis(from.into(), n)?,
                normalise_axis(to.into(), n)?,
            ))
        })
    }

    /// The elements along axes in reverse order.
    #[track_caller]
    pub fn flip(&self, axes: impl IntoAxes) -> Array {
        attempt(|| {
            self.ok()?;
            let dimensions = axes.axes(self.ndim())?;
            Ok(if dimensions.is_empty() {
                self.clone()
            } else {
                bind(Rev { dimensions }, &[self])
            })
        })
    }

    /// The elements from `start` up to but not including `stop` along an axis.
    #[track_caller]
    pub fn slice_in_dim(&self, start: usize, stop: usize, axis: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let axis = normalise_axis(axis.into(), a.ndim())?;
            let mut start_indices = Dims::from_elem(0, a.ndim());
            let mut limit_indices = a.shape;
            if let (Some(s), Some(l)) = (start_indices.get_mut(axis), limit_indices.get_mut(axis)) {
                (*s, *l) = (start, stop);
            }
            Ok(bind(
                Slice {
                    start_indices,
                    limit_indices,
                    strides: None,
                },
                &[self],
            ))
        })
    }

    /// Elements moved along an axis by `shift` places; those that fall off come in again at the other end.
    #[track_caller]
    pub fn roll(&self, shift: i64, axis: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let k = normalise_axis(axis.into(), a.ndim())?;
            let n = a.shape.get(k).copied().unwrap_or(0);
            if n == 0 {
                return Ok(self.clone());
            }
            let cut = (-shift).rem_euclid(n as i64) as usize;
            if cut == 0 {
                return Ok(self.clone());
            }
            Ok(concatenate(
                &[
                    self.slice_in_dim(cut, n, axis),
                    self.slice_in_dim(0, cut, axis),
                ],
                axis,
            ))
        })
    }

    /// Each element repeated `n` times along an axis.
    #[track_caller]
    pub fn repeat(&self, n: usize, axis: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let k = normalise_axis(axis.into(), a.ndim())?;
            let mut wide = a.shape.clone();
            wide.insert(k + 1, n);
            let kept: Dims = (0..wide.len()).filter(|i| *i != k + 1).collect();
            let mut shape = a.shape;
            if let Some(m) = shape.get_mut(k) {
                *m = m.saturating_mul(n);
            }
            Ok(self.broadcast_in_dim(wide, kept).reshape(shape))
        })
    }

    /// The whole array repeated along its axes, as `jnp.tile`: one number of repetitions for each of the last axes.
    #[track_caller]
    pub fn tile(&self, repetitions: impl IntoDims) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let mut reps = repetitions.into_dims();
            let rank = reps.len().max(a.ndim());
            while reps.len() < rank {
                reps.insert(0, 1);
            }
            let mut own = a.shape.clone();
            while own.len() < rank {
                own.insert(0, 1);
            }
            let wide: Dims = reps.iter().zip(&own).flat_map(|(r, n)| [*r, *n]).collect();
            let shape: Dims = reps
                .iter()
                .zip(&own)
                .map(|(r, n)| r.saturating_mul(*n))
                .collect();
            let kept: Dims = (0..rank).map(|i| 2 * i + 1).collect();
            Ok(self
                .reshape(own)
                .broadcast_in_dim(wide, kept)
                .reshape(shape))
        })
    }

    /// The array with more elements of one value before and after, along each axis.
    #[track_caller]
    pub fn pad(&self, widths: &[(usize, usize)], value: impl crate::array::Operand) -> Array {
        attempt(|| {
            let dtype = self.dtype()?;
            let value = value.operand(self).convert(dtype);
            let padding_config = widths
                .iter()
                .map(|(low, high)| (*low as i64, *high as i64, 0))
                .collect();
            Ok(bind(Pad { padding_config }, &[self, &value]))
        })
    }
}

/// `sections` equal parts along an axis. An error if the axis does not divide.
pub fn split(x: &Array, sections: usize, axis: i32) -> Result<Vec<Array>> {
    let a = x.aval()?;
    let k = normalise_axis(axis.into(), a.ndim())?;
    let n = a.shape.get(k).copied().unwrap_or(0);
    if sections == 0 || n % sections != 0 {
        return Err(Error::argument(format!(
            "axis {k} of {a} does not divide into {sections} parts"
        )));
    }
    let m = n / sections;
    Ok((0..sections)
        .map(|i| x.slice_in_dim(i * m, (i + 1) * m, axis))
        .collect())
}

/// The parts between `indices` along an axis.
pub fn split_at(x: &Array, indices: &[usize], axis: i32) -> Result<Vec<Array>> {
    let a = x.aval()?;
    let k = normalise_axis(axis.into(), a.ndim())?;
    let n = a.shape.get(k).copied().unwrap_or(0);
    let mut parts = vec![];
    let mut from = 0;
    for to in indices.iter().copied().chain([n]) {
        let y = x.slice_in_dim(from, to, axis);
        parts.push(y.ok()?.clone());
        from = to;
    }
    Ok(parts)
}

/// As [`split`], but the first parts are one longer where the axis does not divide.
pub fn array_split(x: &Array, sections: usize, axis: i32) -> Result<Vec<Array>> {
    let a = x.aval()?;
    let n = a
        .shape
        .get(normalise_axis(axis.into(), a.ndim())?)
        .copied()
        .unwrap_or(0);
    if sections == 0 {
        return Err(Error::argument("array_split into no parts"));
    }
    let ends: Vec<usize> = (1..sections)
        .map(|i| i * (n / sections) + i.min(n % sections))
        .collect();
    split_at(x, &ends, axis)
}

/// [`split`] along the second axis, or the only one.
pub fn hsplit(x: &Array, sections: usize) -> Result<Vec<Array>> {
    split(x, sections, if x.ndim() == 1 { 0 } else { 1 })
}

/// [`split`] along the first axis of arrays of two axes or more.
pub fn vsplit(x: &Array, sections: usize) -> Result<Vec<Array>> {
    at_least("vsplit", x, 2)?;
    split(x, sections, 0)
}

/// [`split`] along the third axis.
pub fn dsplit(x: &Array, sections: usize) -> Result<Vec<Array>> {
    at_least("dsplit", x, 3)?;
    split(x, sections, 2)
}

fn at_least(name: &str, x: &Array, n: usize) -> Result<()> {
    let a = x.aval()?;
    if a.ndim() < n {
        return Err(Error::shape(format!(
            "{name} needs {n} axes or more, got {a}"
        )));
    }
    Ok(())
}

/// The slices along an axis, each without it.
pub fn unstack(x: &Array, axis: i32) -> Result<Vec<Array>> {
    let a = x.aval()?;
    let n = a
        .shape
        .get(normalise_axis(axis.into(), a.ndim())?)
        .copied()
        .unwrap_or(0);
    Ok((0..n)
        .map(|i| x.slice_in_dim(i, i + 1, axis).squeeze(axis))
        .collect())
}

/// The array with axes of size 1 put in front until there are `n` (of three, after the last two as `jnp.atleast_3d` does).
#[track_caller]
fn widened(x: &Array, n: usize) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let shape: Dims = match (&a.shape[..], n) {
            (s, n) if s.len() >= n => return Ok(x.clone()),
            ([], n) => Dims::from_elem(1, n),
            ([k], 1) => Dims::from_slice(&[*k]),
            ([k], 2) => Dims::from_slice(&[1, *k]),
            ([k], _) => Dims::from_slice(&[1, *k, 1]),
            (s, _) => s.iter().copied().chain([1]).collect(),
        };
        Ok(x.reshape(shape))
    })
}

/// A number as an array of one axis; other arrays as they are.
#[track_caller]
pub fn atleast_1d(x: &Array) -> Array {
    widened(x, 1)
}

/// An array of at least two axes: a vector becomes a row.
#[track_caller]
pub fn atleast_2d(x: &Array) -> Array {
    widened(x, 2)
}

/// An array of at least three axes: a vector becomes `[1, n, 1]`, a matrix `[n, m, 1]`.
#[track_caller]
pub fn atleast_3d(x: &Array) -> Array {
    widened(x, 3)
}

#[track_caller]
fn joined_as<A: Borrow<Array>>(
    arrays: &[A],
    axis: i32,
    as_what: impl Fn(&Array) -> Array,
) -> Array {
    let wide: Vec<Array> = arrays.iter().map(|x| as_what(x.borrow())).collect();
    concatenate(&wide, axis)
}

/// Arrays one below the other: along the first axis, vectors being rows.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1f32, 2.]);
/// assert_eq!(numpy::vstack(&[&x, &x]).shape(), [2, 2]);
/// assert_eq!(numpy::hstack(&[&x, &x]).shape(), [4]);
/// assert_eq!(numpy::column_stack(&[&x, &x]).shape(), [2, 2]);
/// ```
#[track_caller]
pub fn vstack<A: Borrow<Array>>(arrays: &[A]) -> Array {
    joined_as(arrays, 0, atleast_2d)
}

/// Arrays side by side: along the second axis, vectors along their only one.
#[track_caller]
pub fn hstack<A: Borrow<Array>>(arrays: &[A]) -> Array {
    let vectors = arrays.first().is_some_and(|x| x.borrow().ndim() <= 1);
    joined_as(arrays, if vectors { 0 } else { 1 }, atleast_1d)
}

/// Arrays one behind the other: along the third axis.
#[track_caller]
pub fn dstack<A: Borrow<Array>>(arrays: &[A]) -> Array {
    joined_as(arrays, 2, atleast_3d)
}

/// Vectors as the columns of a matrix; matrices side by side.
#[track_caller]
pub fn column_stack<A: Borrow<Array>>(arrays: &[A]) -> Array {
    joined_as(arrays, 1, |x| match x.ndim() {
        0 | 1 => atleast_2d(x).t(),
        _ => x.clone(),
    })
}

/// A matrix of matrices as one: those of a row side by side, the rows one below the other.
#[track_caller]
pub fn block<A: Borrow<Array>>(rows: &[&[A]]) -> Array {
    let rows: Vec<Array> = rows
        .iter()
        .map(|row| joined_as(row, -1, atleast_2d))
        .collect();
    concatenate(&rows, -2)
}

/// An array with another after it along an axis.
#[track_caller]
pub fn append(x: &Array, values: &Array, axis: i32) -> Array {
    concatenate(&[x, values], axis)
}

/// An array turned `k` times by 90 degrees in the plane of two axes, from the first towards the second.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1i32, 2], [3, 4]]);
/// assert_eq!(numpy::rot90(&x, 1, (0, 1)).to_vec::<i32>().unwrap(), [2, 4, 1, 3]);
/// ```
#[track_caller]
pub fn rot90(x: &Array, k: i32, (i, j): (i32, i32)) -> Array {
    match k.rem_euclid(4) {
        0 => x.clone(),
        1 => x.flip(j).swapaxes(i, j),
        2 => x.flip([i, j]),
        _ => x.swapaxes(i, j).flip(j),
    }
}

/// The rows in reverse order.
#[track_caller]
pub fn flipud(x: &Array) -> Array {
    x.flip(0)
}

/// The columns in reverse order.
#[track_caller]
pub fn fliplr(x: &Array) -> Array {
    x.flip(1)
}

/// The elements again and again in another shape, as many as it takes.
#[track_caller]
pub fn resize(x: &Array, shape: impl IntoDims) -> Array {
    let shape = shape.into_dims();
    attempt(|| {
        let a = x.aval()?;
        let n: usize = shape.iter().product();
        if n == 0 || a.size() == 0 {
            return Ok(Array::zeros(shape, a.dtype));
        }
        let times = n.div_ceil(a.size());
        Ok(x.ravel().tile([times]).slice_in_dim(0, n, 0).reshape(shape))
    })
}

/// Slices put in before the place `at` along an axis, counted in the array before.
#[track_caller]
pub fn insert(x: &Array, at: usize, values: &Array, axis: i32) -> Array {
    attempt(|| match &split_at(x, &[at], axis)?[..] {
        [before, after] => {
            let values = values.astype(x.dtype()?);
            Ok(concatenate(&[before, &values, after], axis))
        }
        _ => Err(Error::internal("insert cuts an array in two")),
    })
}

/// The array without the slices at these places along an axis.
#[track_caller]
pub fn delete(x: &Array, at: &[usize], axis: i32) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let n = a.shape.get(k).copied().unwrap_or(0);
        if let Some(i) = at.iter().find(|i| **i >= n) {
            return Err(Error::index(format!(
                "delete: place {i} of axis {axis} of {a}"
            )));
        }
        let kept: Vec<i32> = (0..n)
            .filter(|i| !at.contains(i))
            .map(|i| i as i32)
            .collect();
        Ok(x.take(&Array::from(kept), axis))
    })
}

/// Where `condition` is true the element of `x`, else that of `y`; all three broadcast. [`Array::select`] as a function.
#[track_caller]
pub fn where_(
    condition: &Array,
    x: impl crate::array::Operand,
    y: impl crate::array::Operand,
) -> Array {
    condition.select(x, y)
}

/// Arrays repeated to their joint shape.
pub fn broadcast_arrays<A: Borrow<Array>>(arrays: &[A]) -> Result<Vec<Array>> {
    let mut shape = Dims::new();
    for x in arrays {
        let a = x.borrow().aval()?;
        shape = broadcast_shapes(&shape, &a.shape)
            .ok_or_else(|| Error::shape(format!("{a} does not broadcast with {:?}", &shape[..])))?;
    }
    Ok(arrays
        .iter()
        .map(|x| x.borrow().broadcast_to(&shape))
        .collect())
}
