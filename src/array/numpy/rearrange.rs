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

/// Where `condition` is true the element of `x`, else that of `y`; all three broadcast.
#[track_caller]
pub fn select(
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
