//! Collectives that exchange parts between the examples of a `vmap` whose axis has a name: `all_gather`, `all_to_all`, `ppermute`,
//! `reduce_scatter`, `pbroadcast`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Concatenate, Inner, Jvp, Param, Params, Prim, Primitive,
    Tangent, axis_index, batch_to_front, check_axes, cotangent, linear_jvp, move_axis, operands,
    psum, unbound,
};
use crate::{
    array::{Array, Aval, Dims, fail},
    error::{Error, Result},
    trace::bind,
    transform::batch::axis_size,
};
use smallvec::smallvec;
use std::sync::Arc;

/// `all_gather`
pub const ALL_GATHER: Prim<Exchange> = Prim::new("all_gather");
/// `all_to_all`
pub const ALL_TO_ALL: Prim<Exchange> = Prim::new("all_to_all");
/// `ppermute`
pub const PPERMUTE: Prim<Exchange> = Prim::new("ppermute");
/// `reduce_scatter`
pub const REDUCE_SCATTER: Prim<Exchange> = Prim::new("reduce_scatter");
/// `pbroadcast`
pub const PBROADCAST: Prim<Exchange> = Prim::new("pbroadcast");

/// What examples give each other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Parts {
    /// Each gets the arrays of all along an axis.
    AllGather {
        /// The axis of the result: a new one, or, if `tiled`, one that exists.
        dimension: usize,
        /// Do the arrays lie one after another along an axis that they have?
        tiled: bool,
    },
    /// Each splits its array along one axis, and gets one part from each, along another.
    AllToAll {
        /// The axis that is split.
        split_axis: usize,
        /// The axis along which parts come together.
        concat_axis: usize,
        /// Is it more than one element of the axis that each gets?
        tiled: bool,
    },
    /// Some give their array to another; who gets none has zeros.
    Permute {
        /// From whom to whom; each at most once.
        perm: Vec<(usize, usize)>,
    },
    /// Each gets a part of the sum of all arrays.
    ReduceScatter {
        /// The axis along which the sum is split.
        dimension: usize,
        /// Does the result keep that axis?
        tiled: bool,
    },
    /// All get the array of one.
    Broadcast {
        /// Whose.
        source: usize,
    },
}

/// An exchange of parts along a named axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Exchange {
    /// What is exchanged.
    pub parts: Parts,
    /// The axis.
    pub axis: Arc<str>,
    /// The number of examples.
    pub axis_size: usize,
}

impl Exchange {
    fn with(&self, parts: Parts) -> Exchange {
        Exchange {
            parts,
            axis: self.axis.clone(),
            axis_size: self.axis_size,
        }
    }

    /// The same for arrays with one more axis in front.
    fn shifted(&self) -> Exchange {
        let mut parts = self.parts.clone();
        match &mut parts {
            Parts::AllGather { dimension, .. } | Parts::ReduceScatter { dimension, .. } => {
                *dimension += 1;
            }
            Parts::AllToAll {
                split_axis,
                concat_axis,
                ..
            } => {
                *split_axis += 1;
                *concat_axis += 1;
            }
            Parts::Permute { .. } | Parts::Broadcast { .. } => {}
        }
        self.with(parts)
    }
}

/// Axis `axis` and the next one as one.
fn merged(x: &Array, axis: usize) -> Array {
    let mut shape: Dims = x.shape().iter().copied().collect();
    let outer = shape.remove(axis);
    if let Some(n) = shape.get_mut(axis) {
        *n *= outer;
    }
    x.reshape(shape)
}

/// An axis as two, of which the first is this long.
fn parted(x: &Array, axis: usize, outer: usize) -> Array {
    let mut shape: Dims = x.shape().iter().copied().collect();
    if let Some(n) = shape.get_mut(axis) {
        *n /= outer.max(1);
    }
    shape.insert(axis, outer);
    x.reshape(shape)
}

/// Row `to` is row `from`, and zeros where none is given: runs of rows that stay neighbours are moved as they are. (Positions as an
/// array would be captured, which a program inside an equation must not.)
fn permuted(x: &Array, perm: &[(usize, usize)], n: usize) -> Array {
    let mut source: Vec<Option<usize>> = vec![None; n];
    for (from, to) in perm {
        if let Some(slot) = source.get_mut(*to) {
            *slot = Some(*from);
        }
    }
    let mut runs: Vec<(Option<usize>, usize)> = vec![];
    for from in source {
        match (runs.last_mut(), from) {
            (Some((Some(first), count)), Some(from)) if *first + *count == from => *count += 1,
            (Some((None, count)), None) => *count += 1,
            _ => runs.push((from, 1)),
        }
    }
    let run = |(from, count): &(Option<usize>, usize)| {
        let first = from.unwrap_or(0);
        match from {
            Some(_) => x.slice_in_dim(first, first + count, 0),
            None => Array::zeros_like(&x.slice_in_dim(0, *count, 0)),
        }
    };
    let runs: Vec<Array> = runs.iter().map(run).collect();
    match &runs[..] {
        [] => x.clone(),
        [one] => one.clone(),
        _ => bind(
            Concatenate { dimension: 0 },
            &runs.iter().collect::<Vec<_>>(),
        ),
    }
}

impl Primitive for Exchange {
    fn name(&self) -> &'static str {
        match self.parts {
            Parts::AllGather { .. } => ALL_GATHER.name,
            Parts::AllToAll { .. } => ALL_TO_ALL.name,
            Parts::Permute { .. } => PPERMUTE.name,
            Parts::ReduceScatter { .. } => REDUCE_SCATTER.name,
            Parts::Broadcast { .. } => PBROADCAST.name,
        }
    }
    fn params(&self) -> Params {
        let groups = ("axis_index_groups", Param::text("None"));
        let name = ("axis_name", Param::text(&self.axis));
        let names = ("axis_name", Param::text(format!("('{}',)", self.axis)));
        let size = ("axis_size", Param::text(self.axis_size));
        match &self.parts {
            Parts::AllGather { dimension, tiled } => vec![
                ("all_gather_dimension", Param::text(dimension)),
                groups,
                names,
                size,
                ("tiled", Param::bool(*tiled)),
            ],
            Parts::AllToAll {
                split_axis,
                concat_axis,
                tiled,
            } => vec![
                groups,
                name,
                ("concat_axis", Param::text(concat_axis)),
                ("split_axis", Param::text(split_axis)),
                ("tiled", Param::bool(*tiled)),
            ],
            Parts::Permute { perm } => {
                let pairs: Vec<String> = perm.iter().map(|(a, b)| format!("({a}, {b})")).collect();
                let perm = match &pairs[..] {
                    [one] => format!("({one},)"),
                    _ => format!("({})", pairs.join(", ")),
                };
                vec![names, ("perm", Param::text(perm))]
            }
            Parts::ReduceScatter { dimension, tiled } => vec![
                groups,
                names,
                size,
                ("scatter_dimension", Param::text(dimension)),
                ("tiled", Param::bool(*tiled)),
            ],
            Parts::Broadcast { source } => vec![name, ("source", Param::text(source))],
        }
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let name = self.name();
        let [x] = operands(name, x)?;
        let n = self.axis_size;
        let mut shape = x.shape.clone();
        let indivisible = |axis: usize| {
            Error::shape(format!(
                "{name}: axis {axis} of {x} does not split into {n} parts, one for each example"
            ))
        };
        match &self.parts {
            Parts::AllGather { dimension, tiled } => {
                let room = x.ndim() + usize::from(!*tiled);
                check_axes(name, "`dimension`", &[*dimension], room)?;
                match shape.get_mut(*dimension) {
                    Some(size) if *tiled => *size = size.saturating_mul(n),
                    _ => shape.insert(*dimension, n),
                }
            }
            Parts::ReduceScatter { dimension, tiled } => {
                check_axes(name, "`dimension`", &[*dimension], x.ndim())?;
                match shape.get_mut(*dimension) {
                    Some(size) if *tiled && size.is_multiple_of(n) && n > 0 => *size /= n,
                    Some(size) if !*tiled && *size == n => {
                        shape.remove(*dimension);
                    }
                    _ => return Err(indivisible(*dimension)),
                }
            }
            Parts::AllToAll {
                split_axis,
                concat_axis,
                ..
            } => {
                check_axes(name, "`split_axis`", &[*split_axis], x.ndim())?;
                check_axes(name, "`concat_axis`", &[*concat_axis], x.ndim())?;
                match shape.get_mut(*split_axis) {
                    Some(size) if size.is_multiple_of(n) && n > 0 => *size /= n,
                    _ => return Err(indivisible(*split_axis)),
                }
                if let Some(size) = shape.get_mut(*concat_axis) {
                    *size = size.saturating_mul(n);
                }
            }
            Parts::Permute { perm } => {
                let twice = |i: usize| {
                    let (a, b) = perm.get(i).copied().unwrap_or_default();
                    let before = perm.get(..i).unwrap_or_default();
                    before.iter().any(|(c, d)| *c == a || *d == b)
                };
                if let Some((a, b)) = perm.iter().find(|(a, b)| *a >= n || *b >= n) {
                    return Err(Error::argument(format!(
                        "{name}: ({a}, {b}) names an example beyond {n}"
                    )));
                }
                if (0..perm.len()).any(twice) {
                    return Err(Error::argument(format!(
                        "{name}: {perm:?} names an example twice"
                    )));
                }
            }
            Parts::Broadcast { source } => {
                if *source >= n {
                    return Err(Error::argument(format!(
                        "{name}: there is no example {source} of {n}"
                    )));
                }
            }
        }
        Ok(smallvec![x.with_shape(shape)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let back = match &self.parts {
            Parts::AllGather { dimension, tiled } => Parts::ReduceScatter {
                dimension: *dimension,
                tiled: *tiled,
            },
            Parts::ReduceScatter { dimension, tiled } => Parts::AllGather {
                dimension: *dimension,
                tiled: *tiled,
            },
            Parts::AllToAll {
                split_axis,
                concat_axis,
                tiled,
            } => Parts::AllToAll {
                split_axis: *concat_axis,
                concat_axis: *split_axis,
                tiled: *tiled,
            },
            Parts::Permute { perm } => Parts::Permute {
                perm: perm.iter().map(|(a, b)| (*b, *a)).collect(),
            },
            Parts::Broadcast { source } => {
                let own = axis_index(&self.axis).eq(*source as i32);
                let sum = psum(ct, &self.axis);
                return Ok(vec![Some(own.select(&sum, Array::zeros_like(&sum)))]);
            }
        };
        Ok(vec![Some(bind(self.with(back), &[ct]))])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([x], [d]) = (operands(self.name(), x)?, operands(self.name(), d)?);
        let n = axis.size;
        if axis.name.as_ref() != Some(&self.axis) {
            let Some(_) = d else {
                return Ok((vec![bind(self.clone(), &[x])], vec![None]));
            };
            let x = batch_to_front(x, *d, n);
            return Ok((vec![bind(self.shifted(), &[&x])], vec![Some(0)]));
        }
        let x = batch_to_front(x, *d, n);
        let (y, at) = match &self.parts {
            Parts::AllGather { dimension, tiled } => {
                let y = move_axis(&x, 0, *dimension);
                (if *tiled { merged(&y, *dimension) } else { y }, None)
            }
            Parts::ReduceScatter { dimension, tiled } => {
                let sum = x.reduce_sum([0]);
                let sum = if *tiled {
                    parted(&sum, *dimension, n)
                } else {
                    sum
                };
                (sum, Some(*dimension))
            }
            Parts::AllToAll {
                split_axis,
                concat_axis,
                ..
            } => {
                // Axes: who gives, …; who gets is the first part of the axis that is split.
                let y = move_axis(&parted(&x, split_axis + 1, n), split_axis + 1, 0);
                let y = move_axis(&y, 1, concat_axis + 1);
                (merged(&y, concat_axis + 1), Some(0))
            }
            Parts::Permute { perm } => (permuted(&x, perm, n), Some(0)),
            Parts::Broadcast { source } => {
                let y = x.slice_in_dim(*source, source + 1, 0).squeeze(0);
                (y, None)
            }
        };
        Ok((vec![y], vec![at]))
    }
    opaque!();
}

#[track_caller]
fn exchange(x: &Array, axis: &str, parts: Parts) -> Array {
    let op = Exchange {
        parts,
        axis: axis.into(),
        axis_size: axis_size(axis).unwrap_or(0),
    };
    if op.axis_size == 0 && axis_size(axis).is_none() {
        return fail(unbound(op.name(), axis));
    }
    bind(op, &[x])
}

/// The arrays of all examples of the `vmap` whose axis has this name, along a new axis of the result, or, if `tiled`, one after
/// another along an axis that they have. In the error state if no axis has the name.
///
/// ```
/// use quaxide::prelude::*;
/// let f = vmap(|x: &Array| x * op::all_gather(x, "i", 0, false).sum(())).axis_name("i");
/// assert_eq!(f(&Array::from([1f32, 3.])).unwrap().to_vec::<f32>().unwrap(), [4.0, 12.0]);
/// ```
#[track_caller]
pub fn all_gather(x: &Array, axis: &str, dimension: usize, tiled: bool) -> Array {
    exchange(x, axis, Parts::AllGather { dimension, tiled })
}

/// Each example's part of the sum of all: element number `i` of an axis for example `i`, or, if `tiled`, as many elements of it as
/// there are for each. In the error state if no axis has the name, or the sizes do not fit.
#[track_caller]
pub fn psum_scatter(x: &Array, axis: &str, dimension: usize, tiled: bool) -> Array {
    exchange(x, axis, Parts::ReduceScatter { dimension, tiled })
}

/// Each example's array is split along one axis, and example `i` gets part `i` of each, along another axis: a new one that stands at
/// `concat_axis` of the result, or, if `tiled`, one that exists. In the error state if no axis has the name, or the sizes do not fit.
#[track_caller]
pub fn all_to_all(
    x: &Array,
    axis: &str,
    split_axis: usize,
    concat_axis: usize,
    tiled: bool,
) -> Array {
    let (mut split, mut concat) = (split_axis, concat_axis);
    let mut x = x.clone();
    if !tiled && split != concat {
        if x.ndim() <= split.max(concat) {
            return fail(Error::argument(format!(
                "all_to_all: {} axes, but axis {} is named",
                x.ndim(),
                split.max(concat)
            )));
        }
        if split < concat {
            concat += 1;
        } else {
            split += 1;
        }
        let mut shape: Dims = x.shape().iter().copied().collect();
        let own: Dims = (0..shape.len())
            .map(|i| i + usize::from(i >= concat))
            .collect();
        shape.insert(concat, 1);
        x = x.broadcast_in_dim(shape, own);
    }
    let parts = Parts::AllToAll {
        split_axis: split,
        concat_axis: concat,
        tiled,
    };
    let y = exchange(&x, axis, parts);
    if tiled || split == concat || y.err().is_some() {
        return y;
    }
    y.squeeze(split as i32)
}

/// Pairs of examples of which the first gives its array to the second; who gets none has zeros. In the error state if no axis has
/// the name, or an example is named twice.
///
/// ```
/// use quaxide::prelude::*;
/// let f = vmap(|x: &Array| op::ppermute(x, "i", &[(0, 1), (1, 2)])).axis_name("i");
/// assert_eq!(f(&Array::from([1f32, 2., 3.])).unwrap().to_vec::<f32>().unwrap(), [0.0, 1.0, 2.0]);
/// ```
#[track_caller]
pub fn ppermute(x: &Array, axis: &str, perm: &[(usize, usize)]) -> Array {
    let perm = perm.to_vec();
    exchange(x, axis, Parts::Permute { perm })
}

/// Example `i` gets the array of example `perm[i]`.
#[track_caller]
pub fn pshuffle(x: &Array, axis: &str, perm: &[usize]) -> Array {
    let pairs: Vec<(usize, usize)> = perm.iter().copied().zip(0..).collect();
    ppermute(x, axis, &pairs)
}

/// The axis of the `vmap` with this name and an axis of the array, of the same size, exchanged.
#[track_caller]
pub fn pswapaxes(x: &Array, axis_name: &str, axis: usize) -> Array {
    all_to_all(x, axis_name, axis, axis, false)
}

/// The array of one example for all. In the error state if no axis has the name, or there is no such example.
#[track_caller]
pub fn pbroadcast(x: &Array, axis: &str, source: usize) -> Array {
    exchange(x, axis, Parts::Broadcast { source })
}
