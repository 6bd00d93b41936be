//! Parts of arrays, read and written, at fixed and at computed places.

use crate::{
    array::{Array, Dims, IntoDims, Operand, attempt, normalise_axis},
    error::{Error, Result},
    trace::{
        bind,
        op::{
            DynamicSlice, DynamicUpdateSlice, Gather, Scatter, ScatterDimensionNumbers,
            ScatterKind, Slice,
        },
    },
};

/// The elements from `start` up to `limit` along each axis, every `strides`-th.
#[track_caller]
pub fn slice(
    x: &Array,
    start: impl IntoDims,
    limit: impl IntoDims,
    strides: Option<&[usize]>,
) -> Array {
    bind(
        Slice {
            start_indices: start.into_dims(),
            limit_indices: limit.into_dims(),
            strides: strides.map(Dims::from_slice),
        },
        &[x],
    )
}

/// The elements from `start` up to `limit` along one axis, every `stride`-th.
#[track_caller]
pub fn slice_in_dim(x: &Array, start: usize, limit: usize, stride: usize, axis: i32) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let mut from = Dims::from_elem(0, a.ndim());
        let mut to = a.shape;
        let mut by = Dims::from_elem(1, to.len());
        for (all, one) in [(&mut from, start), (&mut to, limit), (&mut by, stride)] {
            if let Some(i) = all.get_mut(k) {
                *i = one;
            }
        }
        Ok(slice(x, from, to, Some(&by)))
    })
}

/// The element at a place along an axis; the axis stays, at size 1, if `keepdims`.
#[track_caller]
pub fn index_in_dim(x: &Array, index: i64, axis: i32, keepdims: bool) -> Array {
    attempt(|| {
        let a = x.aval()?;
        let k = normalise_axis(axis.into(), a.ndim())?;
        let n = a.shape.get(k).copied().unwrap_or(0);
        let i = if index < 0 { index + n as i64 } else { index };
        let i = usize::try_from(i).ok().filter(|i| *i < n).ok_or_else(|| {
            Error::index(format!("index_in_dim: place {index} of axis {axis} of {a}"))
        })?;
        let y = slice_in_dim(x, i, i + 1, 1, axis);
        Ok(if keepdims { y } else { y.squeeze(axis) })
    })
}

/// A place: negative ones count from the end of an axis of this size.
fn place(i: &Array, size: usize) -> Result<Array> {
    let d = i.dtype()?;
    if !d.is_integer() {
        return Err(Error::dtype(format!(
            "places are integers, got {}",
            i.aval()?
        )));
    }
    if let Some(number) = i.buffer().and_then(|b| b.item()) {
        let number = number.as_f64().unwrap_or(0.0) as i64;
        let number = if number < 0 {
            number + size as i64
        } else {
            number
        };
        return Ok(Array::from_scalar(number.into(), d, false));
    }
    Ok(if d.is_unsigned() {
        i.clone()
    } else {
        i.lt(0).select(i + size, i)
    })
}

/// The window of these sizes that starts at computed places, one for each axis: moved inwards where it would reach outside.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([1f32, 2., 3., 4.]);
/// let y = lax::dynamic_slice(&x, &[&Array::from(9i32)], [2]);
/// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0, 4.0]);
/// ```
#[track_caller]
pub fn dynamic_slice(x: &Array, start: &[&Array], sizes: impl IntoDims) -> Array {
    let slice_sizes = sizes.into_dims();
    attempt(|| {
        let starts = places("dynamic_slice", x, start)?;
        let all: Vec<&Array> = std::iter::once(x).chain(&starts).collect();
        Ok(bind(DynamicSlice { slice_sizes }, &all))
    })
}

fn places(name: &str, x: &Array, start: &[&Array]) -> Result<Vec<Array>> {
    let a = x.aval()?;
    if start.len() != a.ndim() {
        return Err(Error::argument(format!(
            "{name} of {a}: {} places for {} axes",
            start.len(),
            a.ndim()
        )));
    }
    start
        .iter()
        .zip(&a.shape)
        .map(|(i, n)| place(i, *n))
        .collect()
}

/// The places of a window that starts at `at` along one axis, and at 0 along the others.
fn along(x: &Array, at: &Array, axis: i32) -> Result<(Vec<Array>, usize)> {
    let a = x.aval()?;
    let k = normalise_axis(axis.into(), a.ndim())?;
    let d = at.dtype()?;
    let starts = (0..a.ndim()).map(|i| match i == k {
        true => at.clone(),
        false => Array::from_scalar(0.into(), d, false),
    });
    Ok((starts.collect(), k))
}

/// The window of one size along one axis that starts at a computed place.
#[track_caller]
pub fn dynamic_slice_in_dim(x: &Array, start: impl Operand, size: usize, axis: i32) -> Array {
    let start = start.operand(&Array::scalar(0i32));
    attempt(|| {
        let (starts, k) = along(x, &start, axis)?;
        let mut sizes = x.shape().into_dims();
        if let Some(n) = sizes.get_mut(k) {
            *n = size;
        }
        Ok(dynamic_slice(x, &starts.iter().collect::<Vec<_>>(), sizes))
    })
}

/// The element at a computed place along an axis; the axis stays, at size 1, if `keepdims`.
#[track_caller]
pub fn dynamic_index_in_dim(x: &Array, index: impl Operand, axis: i32, keepdims: bool) -> Array {
    let y = dynamic_slice_in_dim(x, index, 1, axis);
    if keepdims { y } else { y.squeeze(axis) }
}

/// The array with a window replaced that starts at computed places, one for each axis.
#[track_caller]
pub fn dynamic_update_slice(x: &Array, update: &Array, start: &[&Array]) -> Array {
    attempt(|| {
        let starts = places("dynamic_update_slice", x, start)?;
        let all: Vec<&Array> = [x, update].into_iter().chain(&starts).collect();
        Ok(bind(DynamicUpdateSlice, &all))
    })
}

/// The array with a window replaced that starts at a computed place along one axis.
#[track_caller]
pub fn dynamic_update_slice_in_dim(
    x: &Array,
    update: &Array,
    start: impl Operand,
    axis: i32,
) -> Array {
    let start = start.operand(&Array::scalar(0i32));
    attempt(|| {
        let (starts, _) = along(x, &start, axis)?;
        Ok(dynamic_update_slice(
            x,
            update,
            &starts.iter().collect::<Vec<_>>(),
        ))
    })
}

/// The array with what stands at a computed place along one axis replaced: by an array that has the axis at size 1, or lacks it.
#[track_caller]
pub fn dynamic_update_index_in_dim(
    x: &Array,
    update: &Array,
    index: impl Operand,
    axis: i32,
) -> Array {
    let update = if update.ndim() + 1 == x.ndim() {
        update.expand_dims(axis)
    } else {
        update.clone()
    };
    dynamic_update_slice_in_dim(x, &update, index, axis)
}

/// Windows of an array at computed places.
#[track_caller]
pub fn gather(x: &Array, indices: &Array, how: Gather) -> Array {
    x.gather(indices, how)
}

macro_rules! scatters {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name(
            x: &Array,
            indices: &Array,
            updates: &Array,
            numbers: ScatterDimensionNumbers,
        ) -> Array {
            x.scatter(indices, updates, Scatter::new(ScatterKind::$kind, numbers))
        }
    )*};
}
scatters! {
    /// The array with windows at computed places replaced by updates. Windows that reach outside are left out.
    scatter = Set;
    /// The array with updates added to windows at computed places.
    scatter_add = Add;
    /// The array with updates subtracted from windows at computed places.
    scatter_sub = Sub;
    /// The array with windows at computed places multiplied by updates.
    scatter_mul = Mul;
    /// The array with the smaller of it and updates in windows at computed places.
    scatter_min = Min;
    /// The array with the larger of it and updates in windows at computed places.
    scatter_max = Max;
}

/// The elements at positions along axes, one array of positions for each: `lax.index_take`.
#[track_caller]
pub fn index_take(x: &Array, positions: &[&Array], axes: &[i32]) -> Array {
    attempt(|| {
        if positions.len() != axes.len() {
            return Err(Error::argument(format!(
                "index_take: {} arrays of positions for {} axes",
                positions.len(),
                axes.len()
            )));
        }
        // The named axes in front, in their order, taken one after another along with the positions.
        let n = x.aval()?.ndim();
        let named = axes
            .iter()
            .map(|i| normalise_axis((*i).into(), n))
            .collect::<Result<Dims>>()?;
        let rest = crate::trace::op::remaining(n, &named, &[]);
        let moved = x.transpose(named.iter().chain(&rest).copied().collect::<Dims>());
        let sizes: Dims = moved.shape().iter().take(named.len()).copied().collect();
        let flat = crate::numpy::ravel_multi_index(positions, sizes.clone());
        let others: Dims = moved.shape().iter().skip(named.len()).copied().collect();
        let shape: Dims = std::iter::once(sizes.iter().product::<usize>())
            .chain(others)
            .collect();
        Ok(moved.reshape(shape).take(&flat, 0))
    })
}
