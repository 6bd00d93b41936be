//! Indexing as NumPy does it: `x.at((0, .., 1..3, -1, &positions))`, to read, or to make an array with other elements there.

mod lower;

use super::{Array, Operand, Scalar, operators::attempt};
use crate::{
    error::{Error, Result},
    trace::op::{GatherScatterMode, ScatterKind},
};
use std::ops;

/// Stands for as many full axes as are needed: NumPy's `...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ellipsis;

/// Puts in an axis of size 1: NumPy's `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewAxis;

/// Part of an axis: from `start`, up to but without `stop`, every `step`-th. Negative places count from the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    /// The first place; the beginning, or the end for a negative step, if `None`.
    pub start: Option<isize>,
    /// The place before which it ends; the end, or the beginning for a negative step, if `None`.
    pub stop: Option<isize>,
    /// The distance between neighbours; 1 if `None`.
    pub step: Option<isize>,
}

impl Slice {
    /// `start:stop:step`, with `None` for what Python leaves out.
    ///
    /// ```
    /// use quaxide::{array::Slice, prelude::*};
    /// let x = Array::arange(6, DType::I32);
    /// assert_eq!(x.index(Slice::new(1, None, 2)).to_vec::<i32>().unwrap(), [1, 3, 5]);
    /// assert_eq!(x.index(Slice::new(None, 3, -1)).to_vec::<i32>().unwrap(), [5, 4]);
    /// ```
    pub fn new(
        start: impl Into<Option<isize>>,
        stop: impl Into<Option<isize>>,
        step: isize,
    ) -> Slice {
        Slice {
            start: start.into(),
            stop: stop.into(),
            step: Some(step),
        }
    }

    /// Every `step`-th element, from the end backwards if `step` is negative.
    pub fn every(step: isize) -> Slice {
        Slice::new(None, None, step)
    }

    /// As Python's `slice.indices`, in an axis of size `n`.
    fn resolve(self, n: usize) -> Result<Run> {
        let n = isize::try_from(n).map_err(|_| Error::index(format!("an axis of size {n}")))?;
        let step = self.step.unwrap_or(1);
        if step == 0 {
            return Err(Error::index("a slice with a step of 0"));
        }
        let (low, high) = if step < 0 { (-1, n - 1) } else { (0, n) };
        let place = |p: Option<isize>, default: isize| match p {
            None => default,
            Some(p) if p < 0 => p.saturating_add(n).max(low),
            Some(p) => p.min(high),
        };
        let (from, to) = if step < 0 { (n - 1, -1) } else { (0, n) };
        let (start, stop) = (place(self.start, from), place(self.stop, to));
        let span = if step < 0 { start - stop } else { stop - start };
        let count = if span <= 0 {
            0
        } else {
            (span as usize - 1) / step.unsigned_abs() + 1
        };
        Ok(Run {
            start,
            stop,
            step,
            count,
        })
    }
}

/// A slice laid against an axis: its first place, where it ends, the step, and the number of places.
#[derive(Clone, Copy)]
struct Run {
    start: isize,
    stop: isize,
    step: isize,
    count: usize,
}

/// One part of an index.
#[derive(Clone, Debug)]
pub enum Index {
    /// One place along an axis, which the result lacks.
    Int(i128),
    /// Part of an axis.
    Slice(Slice),
    /// As many full axes as are needed.
    Ellipsis,
    /// A new axis of size 1.
    NewAxis,
    /// Positions along an axis (integers), or a mask of one or more axes (`bool`).
    Array(Array),
}

/// What may stand between the brackets: one part, or a tuple of parts. A part is an integer, a range of integers, a [`Slice`],
/// [`Ellipsis`], [`NewAxis`], an array of integers or of `bool`, or a Rust array or vector of them.
pub trait IntoIndex {
    /// The parts.
    fn into_index(self) -> Vec<Index>;
}

/// One part of an index, before it is one.
pub trait IndexPart {
    /// As an [`Index`].
    fn part(self) -> Index;
}

macro_rules! parts {
    ($([$($generic:tt)*] $T:ty, $x:ident => $e:expr;)*) => {$(
        impl<$($generic)*> IndexPart for $T {
            fn part(self) -> Index {
                let $x = self;
                $e
            }
        }
        impl<$($generic)*> IntoIndex for $T {
            fn into_index(self) -> Vec<Index> {
                vec![self.part()]
            }
        }
    )*};
}
parts! {
    [] Index, x => x;
    [] Slice, x => Index::Slice(x);
    [] Ellipsis, _x => Index::Ellipsis;
    [] NewAxis, _x => Index::NewAxis;
    [] ops::RangeFull, _x => Index::Slice(Slice::default());
    [] Array, x => Index::Array(x);
    [] &Array, x => Index::Array(x.clone());
    [] Vec<bool>, x => Index::Array(Array::from(x));
    [] &[bool], x => Index::Array(Array::from(x));
    [const N: usize] [bool; N], x => Index::Array(Array::from(x));
}

/// Places that do not fit saturate: they lie outside of every array.
fn place<T: TryInto<isize> + PartialOrd + Default>(x: T) -> isize {
    let negative = x < T::default();
    x.try_into()
        .unwrap_or(if negative { isize::MIN } else { isize::MAX })
}

macro_rules! integer_parts {
    ($($T:ty)*) => {$(
        parts! {
            [] $T, x => Index::Int(x as i128);
            [] ops::Range<$T>, x => Index::Slice(between(Some(place(x.start)), Some(place(x.end))));
            [] ops::RangeFrom<$T>, x => Index::Slice(between(Some(place(x.start)), None));
            [] ops::RangeTo<$T>, x => Index::Slice(between(None, Some(place(x.end))));
            [] ops::RangeInclusive<$T>, x => Index::Slice(between(Some(place(*x.start())), after(place(*x.end()))));
            [] ops::RangeToInclusive<$T>, x => Index::Slice(between(None, after(place(x.end))));
            [] Vec<$T>, x => Index::Array(positions(x.into_iter().map(|i| i as i128)));
            [] &[$T], x => Index::Array(positions(x.iter().map(|i| *i as i128)));
            [const N: usize] [$T; N], x => Index::Array(positions(x.into_iter().map(|i| i as i128)));
        }
    )*};
}
integer_parts!(i32 i64 isize usize);

fn between(start: Option<isize>, stop: Option<isize>) -> Slice {
    Slice {
        start,
        stop,
        step: None,
    }
}

/// The place after an inclusive end; after the last place there is none.
fn after(end: isize) -> Option<isize> {
    if end == -1 {
        None
    } else {
        Some(end.saturating_add(1))
    }
}

fn positions(x: impl Iterator<Item = i128>) -> Array {
    let x: Vec<i128> = x.collect();
    let narrow: std::result::Result<Vec<i32>, _> = x.iter().map(|i| i32::try_from(*i)).collect();
    match narrow {
        Ok(x) => Array::from(x),
        Err(_) => Array::from(x.into_iter().map(|i| i as i64).collect::<Vec<_>>()),
    }
}

impl IntoIndex for () {
    fn into_index(self) -> Vec<Index> {
        vec![]
    }
}
impl IntoIndex for Vec<Index> {
    fn into_index(self) -> Vec<Index> {
        self
    }
}
impl IntoIndex for &[Index] {
    fn into_index(self) -> Vec<Index> {
        self.to_vec()
    }
}
macro_rules! tuples {
    ($($($T:ident)+;)*) => {$(
        impl<$($T: IndexPart),+> IntoIndex for ($($T,)+) {
            fn into_index(self) -> Vec<Index> {
                #[allow(non_snake_case, reason = "the macro names values after their types")]
                let ($($T,)+) = self;
                vec![$($T.part()),+]
            }
        }
    )*};
}
tuples! { A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H; }

/// Places in an array, to be read or written: what [`Array::at`] returns.
#[derive(Clone, Debug)]
#[must_use = "places alone have no effect: read them with `get`, or make an array with `set`"]
pub struct At<'a> {
    array: &'a Array,
    index: Vec<Index>,
    options: Options,
}

/// How indices are taken.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    mode: Option<GatherScatterMode>,
    fill_value: Option<Scalar>,
    indices_are_sorted: bool,
    unique_indices: bool,
}

impl Array {
    /// Elements, as NumPy's `x[…]` picks them. Integers and ends of ranges may be negative; `..` is a full axis, [`Ellipsis`] as many
    /// as are needed. Arrays of positions broadcast, and their axes stand where NumPy puts them.
    ///
    /// A constant position outside of the array is an error that names axis and size; positions in arrays are moved inside.
    ///
    /// ```
    /// use quaxide::{array::{Ellipsis, NewAxis}, prelude::*};
    /// let x = Array::arange(24, DType::I32).reshape([2, 3, 4]);
    /// assert_eq!(x.index((0, -1)).to_vec::<i32>().unwrap(), [8, 9, 10, 11]);
    /// assert_eq!(x.index((.., 1..=2, Ellipsis, NewAxis)).shape(), [2, 2, 4, 1]);
    /// assert_eq!(x.index((0, 1, [0, -1])).to_vec::<i32>().unwrap(), [4, 7]);
    /// let e = x.index((0, 3)).ok().unwrap_err().to_string();
    /// assert!(e.contains("index 3") && e.contains("axis 1") && e.contains("size 3"), "{e}");
    /// ```
    #[track_caller]
    pub fn index(&self, index: impl IntoIndex) -> Array {
        self.at(index).get()
    }

    /// Places in the array, to be read with options, or to be given other elements in a new array; see [`Array::index`] for what
    /// names them.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let x = Array::from([1f32, 2., 3.]);
    /// assert_eq!(x.at(1..).set(0.0).to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
    /// assert_eq!(x.at([0, 0, 2]).add(1.0).to_vec::<f32>().unwrap(), [3.0, 2.0, 4.0]);
    /// ```
    pub fn at(&self, index: impl IntoIndex) -> At<'_> {
        At {
            array: self,
            index: index.into_index(),
            options: Options::default(),
        }
    }
}

impl At<'_> {
    /// What happens with positions outside of the array. Without it, constant ones are an error, those in arrays are moved
    /// inside when reading and dropped when writing.
    pub fn mode(mut self, mode: GatherScatterMode) -> Self {
        self.options.mode = Some(mode);
        self
    }

    /// What stands for elements outside of the array when reading with [`GatherScatterMode::FillOrDrop`].
    pub fn fill_value(mut self, x: impl Into<Scalar>) -> Self {
        self.options.mode = Some(GatherScatterMode::FillOrDrop);
        self.options.fill_value = Some(x.into());
        self
    }

    /// A promise that positions ascend.
    pub fn indices_are_sorted(mut self) -> Self {
        self.options.indices_are_sorted = true;
        self
    }

    /// A promise that no place is named twice.
    pub fn unique_indices(mut self) -> Self {
        self.options.unique_indices = true;
        self
    }

    /// The elements.
    #[track_caller]
    pub fn get(&self) -> Array {
        attempt(|| {
            self.array.ok()?;
            lower::get(self.array, &self.index, self.options)
        })
    }

    /// The array with `values` there, broadcast to the places; of several for one place, the last.
    #[track_caller]
    pub fn set(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Set, values)
    }

    /// The array with `values` added there, each as often as its place is named.
    #[track_caller]
    pub fn add(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Add, values)
    }

    /// The array with `values` subtracted there.
    #[track_caller]
    pub fn subtract(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Sub, values)
    }

    /// The array multiplied by `values` there.
    #[track_caller]
    pub fn multiply(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Mul, values)
    }

    /// The array divided by `values` there.
    #[track_caller]
    pub fn divide(&self, values: impl Operand) -> Array {
        let divisor = At {
            array: &Array::ones_like(self.array),
            ..self.clone()
        };
        self.array / &divisor.multiply(values)
    }

    /// The array with the smaller of what is there and `values`.
    #[track_caller]
    pub fn min(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Min, values)
    }

    /// The array with the larger of what is there and `values`.
    #[track_caller]
    pub fn max(&self, values: impl Operand) -> Array {
        self.update(ScatterKind::Max, values)
    }

    #[track_caller]
    fn update(&self, kind: ScatterKind, values: impl Operand) -> Array {
        let values = values.operand(self.array);
        attempt(|| {
            self.array.ok()?;
            lower::update(self.array, &self.index, self.options, kind, &values)
        })
    }
}
