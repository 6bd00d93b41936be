//! Elements picked by position or by condition, as `jax.numpy` names it: `take`, `nonzero`, `unique`, `bincount`.

use super::{
    Array, DType, Dims, IntoDims, Scalar, broadcast_shapes, normalise_axis,
    operators::{attempt, broadcasting},
};
use crate::{
    error::{Error, ErrorKind, Result},
    trace::{
        here,
        op::{
            Binary, Gather, GatherDimensionNumbers, GatherScatterMode, default_fill, remaining,
            rows,
        },
        poison, with_location,
    },
};
use smallvec::smallvec;

/// Positions counted from the end made positions from the beginning.
fn from_the_front(i: &Array, size: usize) -> Result<Array> {
    let a = i.aval()?;
    if !a.dtype.is_integer() {
        return Err(Error::dtype(format!("positions are integers, got {a}")));
    }
    if a.dtype.is_unsigned() {
        return Ok(i.clone());
    }
    let size = Array::from_scalar(size.into(), a.dtype, false);
    let zero = Array::from_scalar(Scalar::Int(0), a.dtype, false);
    Ok(i.lt(&zero).select(&(i + &size), i))
}

impl Array {
    /// The slices at positions along an axis, whose axes stand in the place of that axis: `jnp.take`. Negative positions count
    /// from the end; for those outside of the array the result is NaN (of integers the lowest, of `bool` true).
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let table = Array::from([[1f32, 2.], [3., 4.], [5., 6.]]);
    /// let y = table.take(&Array::from([2i32, 0, -1]), 0);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    /// ```
    #[track_caller]
    pub fn take(&self, positions: &Array, axis: i32) -> Array {
        self.take_mode(positions, axis, GatherScatterMode::FillOrDrop)
    }

    /// As [`Array::take`], with a choice of what happens with positions outside of the array. Only with
    /// [`GatherScatterMode::FillOrDrop`] do negative positions count from the end.
    #[track_caller]
    pub fn take_mode(&self, positions: &Array, axis: i32, mode: GatherScatterMode) -> Array {
        attempt(|| take(self, positions, axis, mode))
    }

    /// Along an axis, the element at each position, where positions have the array's other axes (or broadcast with them):
    /// `jnp.take_along_axis`. Positions outside give NaN, as in [`Array::take`].
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[3f32, 1.], [5., 9.]]);
    /// let y = x.take_along_axis(&x.argsort(1), 1);
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 3.0, 5.0, 9.0]);
    /// ```
    #[track_caller]
    pub fn take_along_axis(&self, positions: &Array, axis: i32) -> Array {
        attempt(|| take_along_axis(self, positions, axis))
    }

    /// The slices along an axis where a concrete condition of one axis is true: `jnp.compress`. An error for a traced condition,
    /// since the size of the result must be known.
    #[track_caller]
    pub fn compress(&self, condition: &Array, axis: i32) -> Array {
        attempt(|| {
            known(condition, "use `select`, or a concrete condition").and_then(|c| {
                let axis = normalise_axis(axis.into(), self.aval()?.ndim())?;
                let n = self.shape().get(axis).copied().unwrap_or(0);
                let kept: Vec<i32> = c
                    .iter()
                    .enumerate()
                    .filter(|(_, c)| **c)
                    .map(|(i, _)| i as i32)
                    .collect();
                if c.len() > n && kept.last().is_some_and(|i| *i as usize >= n) {
                    return Err(Error::index(format!(
                        "compress: the condition is longer than axis {axis} of size {n}"
                    )));
                }
                Ok(rows(self, &Array::from(kept), axis))
            })
        })
    }

    /// The positions of the elements that are not zero, one array for each axis: `jnp.nonzero`. With a size, that many, the rest
    /// zeros; without, the array must be concrete.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([[0i32, 7], [0, 8]]);
    /// let at = x.nonzero(None).unwrap();
    /// assert_eq!(at[0].to_vec::<i32>().unwrap(), [0, 1]);
    /// assert_eq!(x.nonzero(3).unwrap()[1].to_vec::<i32>().unwrap(), [1, 1, 0]);
    /// ```
    #[track_caller]
    pub fn nonzero(&self, size: impl Into<Option<usize>>) -> Result<Vec<Array>> {
        let (size, at) = (size.into(), here());
        with_location(at, || nonzero(self, size)).map_err(|e| {
            let e = e.at(at);
            poison(&e);
            e
        })
    }

    /// The distinct elements, ascending: `jnp.unique`. With a size, that many, the rest filled with the smallest; without, the
    /// array must be concrete.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([3i32, 1, 3, 2]);
    /// assert_eq!(x.unique(None).to_vec::<i32>().unwrap(), [1, 2, 3]);
    /// assert_eq!(x.unique(5).to_vec::<i32>().unwrap(), [1, 2, 3, 1, 1]);
    /// ```
    #[track_caller]
    pub fn unique(&self, size: impl Into<Option<usize>>) -> Array {
        attempt(|| unique(self, size.into()))
    }

    /// How often each of 0, 1, …, length − 1 occurs among integers: `jnp.bincount`. Larger ones are left out, negative ones count
    /// as 0. `i32`.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1i32, 3, 1, 9]);
    /// assert_eq!(x.bincount(4).to_vec::<i32>().unwrap(), [0, 2, 0, 1]);
    /// ```
    #[track_caller]
    pub fn bincount(&self, length: usize) -> Array {
        attempt(|| {
            self.aval().and_then(|a| {
                if !a.dtype.is_integer() {
                    return Err(Error::dtype(format!("bincount of {a}: not integers")));
                }
                let at = self.reshape([a.size()]).maximum(0);
                let ones = Array::ones([a.size()], DType::I32);
                Ok(super::numpy::add_at(
                    &Array::zeros([length], DType::I32),
                    &at,
                    &ones,
                ))
            })
        })
    }
}

/// The elements of a concrete condition, on whose number of true ones a shape depends.
pub(crate) fn known(condition: &Array, instead: &str) -> Result<Vec<bool>> {
    if condition.is_traced() {
        return Err(Error::new(
            ErrorKind::Escaped,
            "how many elements of a traced condition are true is not known, and a shape depends on it",
        )
        .note(instead));
    }
    condition.to_vec::<bool>()
}

fn take(x: &Array, positions: &Array, axis: i32, mode: GatherScatterMode) -> Result<Array> {
    let (a, b) = (x.aval()?, positions.aval()?);
    let axis = normalise_axis(axis.into(), a.ndim())?;
    let size = a.shape.get(axis).copied().unwrap_or(0);
    if !b.dtype.is_integer() {
        return Err(Error::dtype(format!(
            "take: positions are integers, got {b}"
        )));
    }
    let mut shape: Dims = a.shape.iter().take(axis).copied().collect();
    shape.extend_from_slice(&b.shape);
    shape.extend(a.shape.iter().skip(axis + 1).copied());
    if b.size() == 0 {
        return Ok(Array::zeros(shape, a.dtype));
    }
    if size == 0 {
        return Err(Error::index(format!(
            "take: positions {b} along axis {axis} of {a}, which is empty"
        )));
    }
    let positions = match mode {
        GatherScatterMode::FillOrDrop => from_the_front(positions, size)?,
        GatherScatterMode::Clip | GatherScatterMode::PromiseInBounds => positions.clone(),
    };
    let mut sizes = a.shape.clone();
    if let Some(n) = sizes.get_mut(axis) {
        *n = 1;
    }
    let numbers = GatherDimensionNumbers {
        offset_dims: (0..axis)
            .chain(axis + b.ndim()..a.ndim() + b.ndim() - 1)
            .collect(),
        collapsed_slice_dims: smallvec![axis],
        start_index_map: smallvec![axis],
        ..Default::default()
    };
    let mut indices = b.shape.clone();
    indices.push(1);
    let indices = positions.broadcast_in_dim(indices, (0..b.ndim()).collect::<Dims>());
    Ok(x.gather(&indices, Gather::new(numbers, sizes).mode(mode)))
}

fn take_along_axis(x: &Array, positions: &Array, axis: i32) -> Result<Array> {
    let (a, b) = (x.aval()?, positions.aval()?);
    if a.ndim() != b.ndim() {
        return Err(Error::shape(format!(
            "take_along_axis: {a} and positions {b} differ in their number of axes"
        )));
    }
    let axis = normalise_axis(axis.into(), a.ndim())?;
    let others = |s: &[usize]| -> Dims {
        s.iter()
            .enumerate()
            .map(|(i, n)| if i == axis { 1 } else { *n })
            .collect()
    };
    let Some(shared) = broadcast_shapes(&others(&a.shape), &others(&b.shape)) else {
        return Err(Error::shape(format!(
            "take_along_axis: the axes of {a} and of positions {b} do not broadcast (axis {axis} aside)"
        )));
    };
    let along = |s: &[usize]| -> Dims {
        let own = s.get(axis).copied().unwrap_or(1);
        shared
            .iter()
            .enumerate()
            .map(|(i, n)| if i == axis { own } else { *n })
            .collect()
    };
    let size = a.shape.get(axis).copied().unwrap_or(0);
    let x = x.broadcast_to(along(&a.shape));
    let positions = from_the_front(positions, size)?.broadcast_to(along(&b.shape));
    if positions.size() == 0 {
        return Ok(Array::zeros(positions.shape(), a.dtype));
    }
    if size == 0 {
        return Err(Error::index(format!(
            "take_along_axis: axis {axis} of {a} is empty"
        )));
    }
    let rest = remaining(a.ndim(), &[axis], &[]);
    let mut shape: Dims = positions.shape().into_dims();
    shape.push(1);
    let numbers = GatherDimensionNumbers {
        offset_dims: Dims::new(),
        collapsed_slice_dims: smallvec![axis],
        start_index_map: smallvec![axis],
        operand_batching_dims: rest.clone(),
        start_indices_batching_dims: rest,
    };
    let gather = Gather {
        fill_value: Some(default_fill(a.dtype)),
        ..Gather::new(numbers, Dims::from_elem(1, a.ndim()))
    };
    Ok(x.gather(&positions.reshape(shape), gather))
}

/// The first `size` positions at which a vector of conditions is true, and which of them there are.
fn first_true(mask: &Array, size: usize) -> (Array, Array) {
    let n = mask.size();
    // A stable sort by "is it false" puts the true ones first, in order.
    let order = (!mask).argsort(0);
    let place = Array::arange(size, DType::I32);
    let count = mask.sum(());
    let at = rows(&order, &place.minimum(n.saturating_sub(1)), 0);
    (at, place.lt(&count))
}

fn nonzero(x: &Array, size: Option<usize>) -> Result<Vec<Array>> {
    let a = x.aval()?;
    let mask = match a.dtype {
        DType::Bool => x.clone(),
        _ => x.ne(0),
    };
    let flat = mask.reshape([a.size()]);
    let size = match size {
        Some(size) => size,
        None => {
            let all = known(&flat, "give `nonzero` a size")?;
            all.iter().filter(|x| **x).count()
        }
    };
    if a.size() == 0 || size == 0 {
        let zeros = Array::zeros([size], DType::I32);
        return Ok(vec![zeros; a.ndim()]);
    }
    let (at, there) = first_true(&flat, size);
    let mut step = a.size();
    a.shape
        .iter()
        .map(|n| {
            step /= (*n).max(1);
            let number = |n: usize| Array::from_scalar(n.into(), DType::I32, false);
            let along = broadcasting(Binary::Div, &at, &number(step.max(1)));
            let along = broadcasting(Binary::Rem, &along, &number((*n).max(1)));
            let y = there.select(&along, 0);
            y.ok().cloned()
        })
        .collect()
}

fn unique(x: &Array, size: Option<usize>) -> Result<Array> {
    let a = x.aval()?;
    let n = a.size();
    if n == 0 {
        return match size {
            None | Some(0) => Ok(x.reshape([0])),
            Some(_) => Err(Error::argument(
                "unique of no elements has none to fill with",
            )),
        };
    }
    let sorted = x.reshape([n]).sort(0);
    let place = Array::arange(n, DType::I32);
    let before = rows(&sorted, &(&place - 1).maximum(0), 0);
    // Elements that differ from the one before; NaN, which differs from itself, only once.
    let mut new = sorted.ne(&before);
    if a.dtype.is_inexact() {
        new = new & !(sorted.ne(&sorted) & before.ne(&before));
    }
    let new = new | place.eq(0);
    let size = match size {
        Some(size) => size,
        None => {
            let all = known(&new, "give `unique` a size")?;
            all.iter().filter(|x| **x).count()
        }
    };
    if size == 0 {
        return Ok(Array::zeros([0], a.dtype));
    }
    let (at, there) = first_true(&new, size);
    Ok(rows(&sorted, &there.select(&at, 0), 0))
}
