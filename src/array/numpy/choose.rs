//! Elements by condition or position, put and taken; bits as bytes.

use crate::{
    array::{Array, DType, Dims, IntoDims, Operand, attempt, broadcast_shapes, normalise_axis},
    error::{Error, Result},
    trace::op::{Scatter, ScatterDimensionNumbers, ScatterKind, remaining},
};
use smallvec::smallvec;

/// For each place the choice of the first condition that is true there, else `default`: `jnp.select`.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([-2f32, 0., 3.]);
/// let y = numpy::select(&[&x.lt(0), &x.gt(1)], &[&-&x, &(&x * 10.0)], 7.0);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 7.0, 30.0]);
/// ```
#[track_caller]
pub fn select(conditions: &[&Array], choices: &[&Array], default: impl Operand) -> Array {
    attempt(|| {
        let Some(first) = choices.first() else {
            return Err(Error::argument("select needs at least one condition"));
        };
        if conditions.len() != choices.len() {
            return Err(Error::argument(format!(
                "select: {} conditions for {} choices",
                conditions.len(),
                choices.len()
            )));
        }
        let mut y = default.operand(first).into_owned();
        for (c, x) in conditions.iter().zip(choices).rev() {
            y = c.select(*x, &y);
        }
        Ok(y)
    })
}

/// A function of an array.
pub type Piece<'f> = &'f dyn Fn(&Array) -> Array;

/// For each place the function of the last condition that is true there; where none is, the function that follows the conditions', or 0.
/// Each function is of the whole array.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([-2f32, 3.]);
/// let y = numpy::piecewise(&x, &[&x.lt(0)], &[&|x| -x, &|x| x * 2.0]);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 6.0]);
/// ```
#[track_caller]
pub fn piecewise(x: &Array, conditions: &[&Array], functions: &[Piece<'_>]) -> Array {
    attempt(|| {
        let (n, m) = (conditions.len(), functions.len());
        if m != n && m != n + 1 {
            return Err(Error::argument(format!(
                "piecewise: {m} functions for {n} conditions; there may be one more"
            )));
        }
        let mut y = match functions.get(n) {
            Some(f) => f(x),
            None => Array::zeros_like(x),
        };
        for (c, f) in conditions.iter().zip(functions) {
            y = c.select(f(x), &y);
        }
        Ok(y.convert_weak(x.dtype()?, false))
    })
}

/// What becomes of positions outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OutOfBounds {
    /// They are counted on from the other end.
    Wrap,
    /// They become the nearest position.
    #[default]
    Clip,
}

/// For each place the element of the choice that `which` numbers there; all broadcast.
///
/// ```
/// use quaxide::{numpy::OutOfBounds, prelude::*};
/// let which = Array::from([1i32, 0, 9]);
/// let (a, b) = (Array::from([1i32, 2, 3]), Array::from([10i32, 20, 30]));
/// let y = numpy::choose(&which, &[&a, &b], OutOfBounds::Clip);
/// assert_eq!(y.to_vec::<i32>().unwrap(), [10, 2, 30]);
/// ```
#[track_caller]
pub fn choose(which: &Array, choices: &[&Array], outside: OutOfBounds) -> Array {
    attempt(|| {
        let n = choices.len();
        let Some((first, rest)) = choices.split_first() else {
            return Err(Error::argument("choose needs at least one choice"));
        };
        let which = match outside {
            OutOfBounds::Wrap => which.modulo(n),
            OutOfBounds::Clip => which.maximum(0).minimum(n - 1),
        };
        let shape = broadcast_shapes(&which.aval()?.shape, &first.aval()?.shape)
            .ok_or_else(|| Error::shape("choose: positions and choices do not broadcast"))?;
        let mut y = first.broadcast_to(shape);
        for (i, x) in rest.iter().enumerate() {
            y = which.eq(i + 1).select(*x, &y);
        }
        Ok(y)
    })
}

impl Array {
    /// The array with values put at positions along an axis, where positions have the array's number of axes, as
    /// [`Array::take_along_axis`] takes them. Of several values for one place, the last stays.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::zeros([2, 3], DType::F32);
    /// let at = Array::from([[1i32], [2]]);
    /// let y = x.put_along_axis(&at, 5.0, 1);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [0., 5., 0., 0., 0., 5.]);
    /// ```
    #[track_caller]
    pub fn put_along_axis(&self, positions: &Array, values: impl Operand, axis: i32) -> Array {
        let values = values.operand(self);
        attempt(|| {
            let (a, b) = (self.aval()?, positions.aval()?);
            let k = normalise_axis(axis.into(), a.ndim())?;
            if a.ndim() != b.ndim() {
                return Err(Error::shape(format!(
                    "put_along_axis: {a} and positions {b} differ in their number of axes"
                )));
            }
            let along: Dims = (0..a.ndim())
                .filter_map(|i| {
                    if i == k {
                        b.shape.get(i)
                    } else {
                        a.shape.get(i)
                    }
                })
                .copied()
                .collect();
            let size = a.shape.get(k).copied().unwrap_or(0);
            let positions = positions.lt(0).select(positions + size, positions);
            let mut wide = along.clone();
            wide.push(1);
            let positions = positions.broadcast_to(&along).reshape(wide);
            let values = values.convert_weak(a.dtype, false).broadcast_to(&along);
            let rest = remaining(a.ndim(), &[k], &[]);
            let numbers = ScatterDimensionNumbers {
                update_window_dims: Dims::new(),
                inserted_window_dims: smallvec![k],
                scatter_dims_to_operand_dims: smallvec![k],
                operand_batching_dims: rest.clone(),
                scatter_indices_batching_dims: rest,
            };
            Ok(self.scatter(&positions, &values, Scatter::new(ScatterKind::Set, numbers)))
        })
    }

    /// The array with values put at positions in it as one sequence; those outside are dropped.
    #[track_caller]
    pub fn put(&self, positions: &Array, values: impl Operand) -> Array {
        let values = values.operand(self);
        attempt(|| {
            let a = self.aval()?;
            let positions = positions.ravel();
            let values = values.convert_weak(a.dtype, false).ravel();
            let values = if values.size() == positions.size() {
                values
            } else {
                super::resize(&values, [positions.size()])
            };
            Ok(self
                .ravel()
                .put_along_axis(&positions, values, 0)
                .reshape(a.shape))
        })
    }

    /// The array with one number on the main diagonal of its last two axes.
    #[track_caller]
    pub fn fill_diagonal(&self, value: impl Operand) -> Array {
        attempt(|| {
            let a = self.aval()?;
            let [.., n, m] = a.shape[..] else {
                return Err(Error::shape(format!("fill_diagonal of {a}")));
            };
            Ok(super::eye(n, m, 0, DType::Bool)
                .select(value, self)
                .astype(a.dtype))
        })
    }

    /// Is each element among those of `others`?
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1i32, 2, 3]);
    /// assert_eq!(x.isin(&Array::from([3i32, 1])).to_vec::<bool>().unwrap(), [true, false, true]);
    /// ```
    #[track_caller]
    pub fn isin(&self, others: &Array) -> Array {
        attempt(|| {
            others.ok()?;
            let wide = self.ok()?.expand_dims(-1);
            Ok(wide.eq(others.ravel()).any(-1))
        })
    }

    /// The elements where a concrete condition of the same shape is true, as one sequence: `jnp.extract`.
    #[track_caller]
    pub fn extract(&self, condition: &Array) -> Array {
        attempt(|| {
            self.ok()?;
            Ok(self.ravel().compress(&condition.ok()?.truth().ravel(), 0))
        })
    }

    /// The positions in the array as one sequence of what is not zero; with a size that many, the rest zeros.
    #[track_caller]
    pub fn flatnonzero(&self, size: impl Into<Option<usize>>) -> Array {
        attempt(|| {
            let mut all = self.ok()?.ravel().nonzero(size)?;
            all.pop()
                .ok_or_else(|| Error::internal("flatnonzero has one result"))
        })
    }

    /// The positions of what is not zero, one a row; with a size that many rows, the rest zeros.
    #[track_caller]
    pub fn argwhere(&self, size: impl Into<Option<usize>>) -> Array {
        attempt(|| {
            let all = self.nonzero(size)?;
            if all.is_empty() {
                let n = self.truth().astype(DType::I32).item::<i32>()?;
                return Ok(Array::zeros([n as usize, 0], DType::I32));
            }
            Ok(super::stack(&all, -1))
        })
    }

    /// Bits (what is not zero) along an axis as bytes, eight to each, the first the highest: `jnp.packbits`. The last is filled with
    /// zeros.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([true, false, true, false, false, false, false, true, true]);
    /// assert_eq!(x.packbits(-1).to_vec::<u8>().unwrap(), [0b1010_0001, 0b1000_0000]);
    /// ```
    #[track_caller]
    pub fn packbits(&self, axis: i32) -> Array {
        attempt(|| {
            let a = self.aval()?;
            if a.dtype.is_inexact() {
                return Err(Error::dtype(format!("packbits of {a}: integers or bool")));
            }
            normalise_axis(axis.into(), a.ndim())?;
            let bits = self.truth().moveaxis(axis, -1).astype(DType::U8);
            let shape = bits.shape();
            let n = shape.last().copied().unwrap_or(0);
            let mut widths = vec![(0, 0); shape.len()];
            if let Some(last) = widths.last_mut() {
                last.1 = n.next_multiple_of(8) - n;
            }
            let mut eights: Dims = shape.iter().take(shape.len() - 1).copied().collect();
            eights.extend([n.div_ceil(8), 8]);
            let bits = bits.pad(&widths, 0).reshape(eights);
            let weights = Array::from([128u8, 64, 32, 16, 8, 4, 2, 1]);
            let last = bits.ndim() - 1;
            Ok((bits * weights).reduce_sum([last]).moveaxis(-1, axis))
        })
    }

    /// Bytes along an axis as bits, the highest first: `jnp.unpackbits`. With a count, so many of them.
    #[track_caller]
    pub fn unpackbits(&self, count: impl Into<Option<usize>>, axis: i32) -> Array {
        let count = count.into();
        attempt(|| {
            let a = self.aval()?;
            if a.dtype != DType::U8 {
                return Err(Error::dtype(format!("unpackbits of {a}: bytes are u8")));
            }
            normalise_axis(axis.into(), a.ndim())?;
            let bytes = self.moveaxis(axis, -1).expand_dims(-1);
            let places = Array::from([7u8, 6, 5, 4, 3, 2, 1, 0]);
            let bits = (bytes >> places) & 1;
            let shape = bits.shape();
            let n = shape.iter().rev().take(2).product();
            let mut flat: Dims = shape.iter().take(shape.len() - 2).copied().collect();
            flat.push(n);
            let bits = bits.reshape(flat);
            let bits = bits.slice_in_dim(0, count.unwrap_or(n).min(n), -1);
            Ok(bits.moveaxis(-1, axis))
        })
    }
}

/// The distinct elements that stand in both arrays, ascending. Both must be concrete.
pub fn intersect1d(x: &Array, y: &Array) -> Result<Array> {
    let (x, y) = crate::array::promoted(x, y)?;
    let x = x.unique(None);
    Ok(x.extract(&x.isin(&y)).ok()?.clone())
}

/// The distinct elements of two arrays, ascending; with a size that many, the rest filled with the smallest.
#[track_caller]
pub fn union1d(x: &Array, y: &Array, size: impl Into<Option<usize>>) -> Array {
    super::concatenate(&[x.ravel(), y.ravel()], 0).unique(size)
}

/// The distinct elements of the first array that are not in the second, ascending. Both must be concrete.
pub fn setdiff1d(x: &Array, y: &Array) -> Result<Array> {
    let (x, y) = crate::array::promoted(x, y)?;
    let x = x.unique(None);
    Ok(x.extract(&!x.isin(&y)).ok()?.clone())
}

/// The distinct elements that stand in just one of two arrays, ascending. Both must be concrete.
pub fn setxor1d(x: &Array, y: &Array) -> Result<Array> {
    let all = super::concatenate(&[setdiff1d(x, y)?, setdiff1d(y, x)?], 0);
    Ok(all.sort(0).ok()?.clone())
}

/// The distinct elements, ascending; where each first stands; which of them each element is (in the array's shape); and how often each
/// occurs. With a size that many distinct ones, the rest filled with the smallest and counted as 0; without, the array must be concrete.
///
/// ```
/// use quaxide::prelude::*;
/// let [values, first, inverse, counts] = numpy::unique_all(&Array::from([3i32, 1, 3]), None).unwrap();
/// assert_eq!(values.to_vec::<i32>().unwrap(), [1, 3]);
/// assert_eq!(first.to_vec::<i32>().unwrap(), [1, 0]);
/// assert_eq!(inverse.to_vec::<i32>().unwrap(), [1, 0, 1]);
/// assert_eq!(counts.to_vec::<i32>().unwrap(), [1, 2]);
/// ```
pub fn unique_all(x: &Array, size: impl Into<Option<usize>>) -> Result<[Array; 4]> {
    let size = size.into();
    let a = x.aval()?;
    let flat = x.ravel();
    let values = flat.unique(size);
    let values = values.ok()?.clone();
    let n = values.size();
    // How many are distinct: the elements that differ from the one before, in order.
    let distinct = match size {
        None => Array::from(n as i32),
        Some(_) if a.size() < 2 => Array::from(a.size() as i32),
        Some(_) => {
            let sorted = flat.sort(0);
            let (before, after) = (
                sorted.slice_in_dim(0, a.size() - 1, 0),
                sorted.slice_in_dim(1, a.size(), 0),
            );
            let both_nan = after.ne(&after) & before.ne(&before);
            (after.ne(&before) & !both_nan).sum(()) + 1
        }
    };
    let real = Array::arange(n, DType::I32).lt(&distinct);
    // Positions in the ascending part; what fills up the rest is never found.
    let same = flat.expand_dims(-1).eq(&values);
    let same = if a.dtype.is_inexact() {
        same | (flat.is_nan().expand_dims(-1) & values.is_nan())
    } else {
        same
    };
    let same = same & &real;
    let counts = same.astype(DType::I32).sum(0);
    let (first, inverse) = if n == 0 || a.size() == 0 {
        (
            Array::zeros([n], DType::I32),
            Array::zeros(&a.shape, DType::I32),
        )
    } else {
        let first = same.argmax(0);
        // The rest stands where the smallest does.
        let smallest = first.slice_in_dim(0, 1, 0);
        (
            real.select(&first, smallest),
            same.argmax(1).reshape(&a.shape),
        )
    };
    Ok([
        values,
        first.ok()?.clone(),
        inverse.ok()?.clone(),
        counts.ok()?.clone(),
    ])
}

/// The distinct elements, ascending, and how often each occurs: see [`unique_all`].
pub fn unique_counts(x: &Array, size: impl Into<Option<usize>>) -> Result<(Array, Array)> {
    let [values, _, _, counts] = unique_all(x, size)?;
    Ok((values, counts))
}

/// The distinct elements, ascending, and which of them each element is: see [`unique_all`].
pub fn unique_inverse(x: &Array, size: impl Into<Option<usize>>) -> Result<(Array, Array)> {
    let [values, _, inverse, _] = unique_all(x, size)?;
    Ok((values, inverse))
}

/// The positions that sort by several keys along an axis, the last key first: `jnp.lexsort`.
#[track_caller]
pub fn lexsort(keys: &[&Array], axis: i32) -> Array {
    attempt(|| {
        let Some(first) = keys.first() else {
            return Err(Error::argument("lexsort needs at least one key"));
        };
        let a = first.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let mut all: Vec<Array> = keys.iter().rev().map(|x| (*x).clone()).collect();
        all.push(Array::iota(&a.shape, k, DType::I32));
        let mut sorted = crate::array::sort_together(&all, axis, keys.len())?;
        sorted
            .pop()
            .ok_or_else(|| Error::internal("lexsort lost its positions"))
    })
}

/// An array of the shape, made by a function of the positions along each axis.
#[track_caller]
pub fn fromfunction(f: impl Fn(&[Array]) -> Array, shape: impl IntoDims, dtype: DType) -> Array {
    let shape = shape.into_dims();
    let all: Vec<Array> = (0..shape.len())
        .map(|i| Array::iota(&shape, i, dtype))
        .collect();
    f(&all)
}
