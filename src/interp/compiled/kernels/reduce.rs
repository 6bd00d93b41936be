//! Reductions of slices. Long ones are split in halves, so that rounding errors grow with the logarithm of the length.

use super::{Level, elementwise::Lane, levels};
use crate::array::{DType, Stored, dtype::with_dtype};
use half::{bf16, f16};
use num_complex::Complex;

/// How elements are combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::interp::compiled) enum Fold {
    Sum,
    Prod,
    Max,
    Min,
    And,
    Or,
    Xor,
}

/// A type whose elements combine, in a type in which they do so.
pub(in crate::interp::compiled) trait Foldable: Stored {
    /// The type of running values.
    type Wide: Stored;
    /// Into the wide type.
    fn widen(self) -> Self::Wide;
    /// Back.
    fn narrow(x: Self::Wide) -> Self;
    /// Two running values combined.
    fn combine(f: Fold, x: Self::Wide, y: Self::Wide) -> Self::Wide;
    /// What changes nothing; `None` where there is no such value.
    fn neutral(f: Fold) -> Option<Self::Wide>;
    /// A short slice.
    fn block(level: Level, f: Fold, x: &[Self]) -> Option<Self::Wide>;
    /// A few rows.
    fn some_rows(
        level: Level,
        f: Fold,
        sums: &mut [Self::Wide],
        x: &[Self],
        rows: usize,
        step: usize,
    );
}

/// The types that programs are mostly made of have vector loops, the others plain ones.
macro_rules! vector_loops {
    () => {
        fn block(level: Level, f: Fold, x: &[Self]) -> Option<Self::Wide> {
            vector_block(level, f, x)
        }
        fn some_rows(
            level: Level,
            f: Fold,
            sums: &mut [Self::Wide],
            x: &[Self],
            rows: usize,
            step: usize,
        ) {
            vector_rows(level, f, sums, x, rows, step);
        }
    };
}
macro_rules! plain_loops {
    () => {
        fn block(_: Level, f: Fold, x: &[Self]) -> Option<Self::Wide> {
            slice_with(f, x)
        }
        fn some_rows(
            _: Level,
            f: Fold,
            sums: &mut [Self::Wide],
            x: &[Self],
            rows: usize,
            step: usize,
        ) {
            rows_with(f, sums, x, rows, step);
        }
    };
}

macro_rules! foldable_float {
    ($($T:ty, $W:ident, $widen:expr, $narrow:expr, $loops:ident;)*) => {$(
        impl Foldable for $T {
            type Wide = $W;
            $loops!();
            #[inline(always)]
            fn widen(self) -> $W { $widen(self) }
            #[inline(always)]
            fn narrow(x: $W) -> $T { $narrow(x) }
            #[inline(always)]
            fn combine(f: Fold, x: $W, y: $W) -> $W {
                match f {
                    Fold::Sum => x + y,
                    Fold::Prod => x * y,
                    // NaN wins; of two zeros the positive one is larger.
                    Fold::Max => if x.is_nan() | (x > y) | ((x == y) & x.is_sign_positive()) { x } else { y },
                    Fold::Min => if x.is_nan() | (x < y) | ((x == y) & x.is_sign_negative()) { x } else { y },
                    Fold::And | Fold::Or | Fold::Xor => x,
                }
            }
            #[inline(always)]
            fn neutral(f: Fold) -> Option<$W> {
                Some(match f {
                    Fold::Sum => 0.0,
                    Fold::Prod => 1.0,
                    Fold::Max => $W::NEG_INFINITY,
                    Fold::Min => $W::INFINITY,
                    Fold::And | Fold::Or | Fold::Xor => return None,
                })
            }
        }
    )*};
}
foldable_float! {
    f32, f32, |x| x, |x| x, vector_loops;
    f64, f64, |x| x, |x| x, vector_loops;
    f16, f32, f16::to_f32, f16::from_f32, plain_loops;
    bf16, f32, bf16::to_f32, bf16::from_f32, plain_loops;
}

macro_rules! foldable_int {
    ($loops:ident: $($T:ty)*) => {$(
        impl Foldable for $T {
            type Wide = $T;
            $loops!();
            #[inline(always)]
            fn widen(self) -> $T { self }
            #[inline(always)]
            fn narrow(x: $T) -> $T { x }
            #[inline(always)]
            fn combine(f: Fold, x: $T, y: $T) -> $T {
                match f {
                    Fold::Sum => x.wrapping_add(y),
                    Fold::Prod => x.wrapping_mul(y),
                    Fold::Max => x.max(y),
                    Fold::Min => x.min(y),
                    Fold::And => x & y,
                    Fold::Or => x | y,
                    Fold::Xor => x ^ y,
                }
            }
            #[inline(always)]
            fn neutral(f: Fold) -> Option<$T> {
                Some(match f {
                    Fold::Sum | Fold::Or | Fold::Xor => 0,
                    Fold::Prod => 1,
                    Fold::Max => <$T>::MIN,
                    Fold::Min => <$T>::MAX,
                    Fold::And => !0,
                })
            }
        }
    )*};
}
foldable_int!(vector_loops: i32);
foldable_int!(plain_loops: i8 i16 i64 u8 u16 u32 u64);

impl Foldable for bool {
    type Wide = bool;
    plain_loops!();
    #[inline(always)]
    fn widen(self) -> bool {
        self
    }
    #[inline(always)]
    fn narrow(x: bool) -> bool {
        x
    }
    #[inline(always)]
    fn combine(f: Fold, x: bool, y: bool) -> bool {
        match f {
            Fold::And | Fold::Min | Fold::Prod => x & y,
            Fold::Or | Fold::Max | Fold::Sum => x | y,
            Fold::Xor => x ^ y,
        }
    }
    #[inline(always)]
    fn neutral(f: Fold) -> Option<bool> {
        Some(matches!(f, Fold::And | Fold::Min | Fold::Prod))
    }
}

macro_rules! foldable_complex {
    ($($T:ty)*) => {$(
        impl Foldable for $T {
            type Wide = $T;
            plain_loops!();
            #[inline(always)]
            fn widen(self) -> $T { self }
            #[inline(always)]
            fn narrow(x: $T) -> $T { x }
            #[inline(always)]
            fn combine(f: Fold, x: $T, y: $T) -> $T {
                let later = (x.re, x.im).partial_cmp(&(y.re, y.im));
                match f {
                    Fold::Prod => x * y,
                    Fold::Max => if later == Some(std::cmp::Ordering::Less) { y } else { x },
                    Fold::Min => if later == Some(std::cmp::Ordering::Greater) { y } else { x },
                    _ => x + y,
                }
            }
            #[inline(always)]
            fn neutral(f: Fold) -> Option<$T> {
                match f {
                    Fold::Sum => Some(Complex::new(0.0, 0.0)),
                    Fold::Prod => Some(Complex::new(1.0, 0.0)),
                    _ => None,
                }
            }
        }
    )*};
}
foldable_complex!(Complex<f32> Complex<f64>);

const LANES: usize = 32;
/// Slices up to this length are folded lane by lane, longer ones by halves.
const BLOCK: usize = 1024;

#[inline(always)]
fn slice_with<T: Foldable>(f: Fold, x: &[T]) -> Option<T::Wide> {
    let (first, rest) = x.split_first()?;
    if x.len() < 2 * LANES {
        return Some(
            rest.iter()
                .fold(first.widen(), |a, b| T::combine(f, a, b.widen())),
        );
    }
    let mut chunks = x.chunks_exact(LANES);
    let mut lanes = [first.widen(); LANES];
    for (l, x) in lanes.iter_mut().zip(chunks.next()?) {
        *l = x.widen();
    }
    let tail = chunks.remainder();
    for chunk in chunks {
        for (l, x) in lanes.iter_mut().zip(chunk) {
            *l = T::combine(f, *l, x.widen());
        }
    }
    for (l, x) in lanes.iter_mut().zip(tail) {
        *l = T::combine(f, *l, x.widen());
    }
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        let (low, high) = lanes.split_at_mut(n);
        for (a, b) in low.iter_mut().zip(high) {
            *a = T::combine(f, *a, *b);
        }
    }
    lanes.first().copied()
}

/// Run `$body` with `$g` bound to the constant that `$f` is.
macro_rules! by_fold {
    ($f:expr, $g:ident => $body:expr) => {
        by_fold!(@ $f, $g, $body, Sum Prod Max Min And Or Xor)
    };
    (@ $f:expr, $g:ident, $body:expr, $($V:ident)*) => {
        match $f {
            $(Fold::$V => {
                const $g: Fold = Fold::$V;
                $body
            })*
        }
    };
}

#[inline(always)]
fn block_body<T: Foldable>(f: Fold, x: &[T]) -> Option<T::Wide> {
    by_fold!(f, F => slice_with(F, x))
}
levels! { fn vector_block<T: Foldable>(f: Fold, x: &[T]) -> Option<T::Wide> = block_body; }

/// A whole slice; `None` of an empty one.
pub(in crate::interp::compiled) fn slice<T: Foldable>(
    level: Level,
    f: Fold,
    x: &[T],
) -> Option<T::Wide> {
    if x.len() <= BLOCK {
        return T::block(level, f, x);
    }
    let blocks = x.len().div_ceil(BLOCK);
    let (a, b) = x.split_at(blocks / 2 * BLOCK);
    Some(T::combine(f, slice(level, f, a)?, slice(level, f, b)?))
}

/// Do elements of this type combine so, and is there a value that changes nothing?
pub(in crate::interp::compiled) fn folds(f: Fold, dtype: DType) -> bool {
    with_dtype!(dtype, T => T::neutral(f).is_some())
}

/// Each row of `width` elements to one. `None` where a row is empty.
pub(in crate::interp::compiled) fn fold_rows<T: Foldable>(
    level: Level,
    f: Fold,
    x: Lane<'_, T>,
    width: usize,
    z: &mut [T],
) -> Option<()> {
    match x {
        Lane::Each(x) => {
            for (z, x) in z.iter_mut().zip(x.chunks_exact(width.max(1))) {
                *z = T::narrow(slice(level, f, x)?);
            }
        }
        Lane::Every(x) => {
            let row = vec![x; width];
            z.fill(T::narrow(slice(level, f, &row)?));
        }
    }
    Some(())
}

#[inline(always)]
fn rows_with<T: Foldable>(f: Fold, sums: &mut [T::Wide], x: &[T], rows: usize, step: usize) {
    for r in 0..rows {
        let row = x.get(r * step..).unwrap_or_default();
        for (s, x) in sums.iter_mut().zip(row) {
            *s = T::combine(f, *s, x.widen());
        }
    }
}

#[inline(always)]
fn rows_body<T: Foldable>(f: Fold, sums: &mut [T::Wide], x: &[T], rows: usize, step: usize) {
    by_fold!(f, F => rows_with(F, sums, x, rows, step));
}
levels! { fn vector_rows<T: Foldable>(f: Fold, sums: &mut [T::Wide], x: &[T], rows: usize, step: usize) = rows_body; }

/// Combine `rows` rows that lie `step` apart, element by element, into `sums` (which holds what changes nothing).
pub(in crate::interp::compiled) fn rows<T: Foldable>(
    level: Level,
    f: Fold,
    sums: &mut [T::Wide],
    x: &[T],
    rows_left: usize,
    step: usize,
    neutral: T::Wide,
) {
    const ROWS: usize = 64;
    if rows_left <= ROWS {
        return T::some_rows(level, f, sums, x, rows_left, step);
    }
    let half = rows_left.div_ceil(ROWS) / 2 * ROWS;
    rows(level, f, sums, x, half, step, neutral);
    let mut others: smallvec::SmallVec<[T::Wide; 256]> =
        smallvec::SmallVec::from_elem(neutral, sums.len());
    let below = x.get(half * step..).unwrap_or_default();
    rows(
        level,
        f,
        &mut others,
        below,
        rows_left - half,
        step,
        neutral,
    );
    for (s, o) in sums.iter_mut().zip(&others) {
        *s = T::combine(f, *s, *o);
    }
}
