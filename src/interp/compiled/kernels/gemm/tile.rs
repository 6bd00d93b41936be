//! The innermost product: a tile of the result, kept in registers while the summed axis passes by.

use crate::interp::compiled::kernels::Level;

/// One tile: `a` is `rows` × `k`, `b` is `k` rows of vectors, `z` is `rows` × `columns`. Steps count elements.
pub(in crate::interp::compiled) struct Tile<T> {
    pub k: usize,
    pub rows: usize,
    pub columns: usize,
    pub a: *const T,
    pub a_row: isize,
    pub a_column: isize,
    /// A row begins every `b_row` elements; whole vectors are read.
    pub b: *const T,
    pub b_row: usize,
    pub z: *mut T,
    pub z_row: isize,
    pub z_column: isize,
    pub accumulate: bool,
}

/// The side of the squares that are turned at once.
pub(super) const SQUARE: usize = 8;

/// Turns a square: its lines, which begin so many elements apart, become the columns of a square whose lines begin so many apart.
///
/// # Safety
///
/// The CPU has the features of the level that the kernel was asked for; the square may be read where it is, and written where it goes.
pub(super) type Turn<T> = unsafe fn(*const T, usize, *mut T, usize);

/// The kernel for a level of CPU features: the largest tile, and what computes one.
pub(in crate::interp::compiled) struct Kernel<T> {
    /// What turns squares, if it is faster than plain loops.
    pub turn: Option<Turn<T>>,
    pub rows: usize,
    pub columns: usize,
    /// Computes a tile, which is no larger than that.
    ///
    /// # Safety
    ///
    /// The CPU has the features of the level that the kernel was asked for; every element that the tile speaks of may be read
    /// (`a`, `b` and, to accumulate, `z`) and written (`z`), and no other thread touches those of `z`.
    pub run: unsafe fn(&Tile<T>),
}

/// Numbers side by side in a register.
trait Vector: Copy {
    type T: Copy + std::ops::Add<Output = Self::T>;
    const LANES: usize;
    fn zero() -> Self;
    /// One number in every lane.
    unsafe fn splat(x: *const Self::T) -> Self;
    unsafe fn load(x: *const Self::T) -> Self;
    unsafe fn store(self, x: *mut Self::T);
    fn add(self, other: Self) -> Self;
    /// `self · b + c`.
    fn multiply_add(self, b: Self, c: Self) -> Self;
}

/// The body of every kernel. Rows past the last are computed as copies of it and not stored.
///
/// # Safety
///
/// As [`Kernel::run`].
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(t: &Tile<V::T>) {
    // SAFETY: the caller says that the elements of `a`, `b` and `z` may be touched; the pointers below stay among them.
    unsafe {
        let last = t.rows.saturating_sub(1);
        let mut a: [*const V::T; ROWS] =
            std::array::from_fn(|i| t.a.wrapping_offset(i.min(last) as isize * t.a_row));
        let mut b = t.b;
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for _ in 0..t.k {
            let mut row = [V::zero(); VECTORS];
            for (v, row) in row.iter_mut().enumerate() {
                *row = V::load(b.wrapping_add(v * V::LANES));
            }
            for (a, sums) in a.iter_mut().zip(&mut sums) {
                let x = V::splat(*a);
                for (sum, row) in sums.iter_mut().zip(&row) {
                    *sum = x.multiply_add(*row, *sum);
                }
                *a = a.wrapping_offset(t.a_column);
            }
            b = b.wrapping_add(t.b_row);
        }
        if t.rows == ROWS && t.columns == VECTORS * V::LANES && t.z_column == 1 {
            for (i, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let z =
                        t.z.wrapping_offset(i as isize * t.z_row)
                            .wrapping_add(v * V::LANES);
                    let sum = if t.accumulate {
                        V::load(z).add(*sum)
                    } else {
                        *sum
                    };
                    sum.store(z);
                }
            }
            return;
        }
        let sums = sums;
        for (i, sums) in sums.iter().enumerate().take(t.rows) {
            let sums: *const V::T = sums.as_ptr().cast();
            for j in 0..t.columns {
                let at = i as isize * t.z_row + j as isize * t.z_column;
                let (z, sum) = (t.z.wrapping_offset(at), *sums.wrapping_add(j));
                *z = if t.accumulate { *z + sum } else { sum };
            }
        }
    }
}

/// A vector that any CPU has, or that its compiler makes do with.
#[derive(Clone, Copy)]
struct Plain<T, const N: usize>([T; N]);

/// Types that kernels multiply.
pub(in crate::interp::compiled) trait Kernels: Sized {
    /// The kernel for a level.
    fn kernel(level: Level) -> Kernel<Self>;
}

macro_rules! plain {
    ($($T:ident x $n:literal;)*) => {$(
        impl Vector for Plain<$T, $n> {
            type T = $T;
            const LANES: usize = $n;
            #[inline(always)]
            fn zero() -> Self {
                Plain([0.0; $n])
            }
            #[inline(always)]
            unsafe fn splat(x: *const $T) -> Self {
                // SAFETY: the caller says that it may be read.
                Plain([unsafe { *x }; $n])
            }
            #[inline(always)]
            unsafe fn load(x: *const $T) -> Self {
                // SAFETY: the caller says that the lanes may be read; arrays of floats need no more alignment than a float.
                Plain(unsafe { *x.cast() })
            }
            #[inline(always)]
            unsafe fn store(self, x: *mut $T) {
                // SAFETY: the caller says that the lanes may be written.
                unsafe { *x.cast() = self.0 }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Plain(std::array::from_fn(|i| self.0[i] + other.0[i]))
            }
            #[inline(always)]
            fn multiply_add(self, b: Self, c: Self) -> Self {
                Plain(std::array::from_fn(|i| self.0[i] * b.0[i] + c.0[i]))
            }
        }
    )*};
}
plain! { f32 x 4; f64 x 2; }

#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($($V:ident of $T:ident x $n:literal: $zero:ident $splat:ident $load:ident $store:ident $add:ident $fma:ident;)*) => {$(
        impl Vector for $V {
            type T = $T;
            const LANES: usize = $n;
            #[inline(always)]
            fn zero() -> Self {
                // SAFETY: only kernels of a level that has this register make one.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(x: *const $T) -> Self {
                // SAFETY: the caller says that it may be read, and is a kernel of a level that has this register.
                unsafe { $splat(*x) }
            }
            #[inline(always)]
            unsafe fn load(x: *const $T) -> Self {
                // SAFETY: as above, of all lanes.
                unsafe { $load(x) }
            }
            #[inline(always)]
            unsafe fn store(self, x: *mut $T) {
                // SAFETY: as above, written.
                unsafe { $store(x, self) }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: only kernels of a level that has this register have one.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            fn multiply_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                unsafe { $fma(self, b, c) }
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
vectors! {
    __m256 of f32 x 8: _mm256_setzero_ps _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_fmadd_ps;
    __m256d of f64 x 4: _mm256_setzero_pd _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_fmadd_pd;
    __m512 of f32 x 16: _mm512_setzero_ps _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_fmadd_ps;
    __m512d of f64 x 8: _mm512_setzero_pd _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_fmadd_pd;
}

/// # Safety
///
/// As [`Turn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn turn(x: *const f32, x_step: usize, z: *mut f32, z_step: usize) {
    // SAFETY: the caller says that eight elements of each of eight lines may be read and written.
    unsafe {
        let line = |i: usize| _mm256_loadu_ps(x.wrapping_add(i * x_step));
        let lines: [__m256; SQUARE] = std::array::from_fn(line);
        let [a, b, c, d, e, f, g, h] = lines;
        // Pairs of elements, then fours, then the halves of registers change places.
        let low = |a, b| _mm256_unpacklo_ps(a, b);
        let high = |a, b| _mm256_unpackhi_ps(a, b);
        let two = [
            low(a, b),
            high(a, b),
            low(c, d),
            high(c, d),
            low(e, f),
            high(e, f),
            low(g, h),
            high(g, h),
        ];
        let [a, b, c, d, e, f, g, h] = two;
        let first = |a, b| _mm256_shuffle_ps::<0x44>(a, b);
        let second = |a, b| _mm256_shuffle_ps::<0xee>(a, b);
        let four = [
            first(a, c),
            second(a, c),
            first(b, d),
            second(b, d),
            first(e, g),
            second(e, g),
            first(f, h),
            second(f, h),
        ];
        for i in 0..SQUARE / 2 {
            let (above, below) = (four[i], four[i + SQUARE / 2]);
            _mm256_storeu_ps(
                z.wrapping_add(i * z_step),
                _mm256_permute2f128_ps::<0x20>(above, below),
            );
            let row = i + SQUARE / 2;
            _mm256_storeu_ps(
                z.wrapping_add(row * z_step),
                _mm256_permute2f128_ps::<0x31>(above, below),
            );
        }
    }
}

/// Sizes of tiles: as many sums as registers allow beside a row of `b` and an element of `a`, and enough of them that additions
/// do not wait for each other.
macro_rules! kernels {
    ($($T:ident: $plain:literal, $avx2:ident, $avx512:ident, $turn:expr;)*) => {$(
        impl Kernels for $T {
            fn kernel(level: Level) -> Kernel<$T> {
                /// # Safety
                ///
                /// As [`Kernel::run`].
                unsafe fn base(t: &Tile<$T>) {
                    // SAFETY: the caller's promise.
                    unsafe { tile::<Plain<$T, $plain>, 4, 2>(t) }
                }
                #[cfg(target_arch = "x86_64")]
                {
                    /// # Safety
                    ///
                    /// As [`Kernel::run`].
                    #[target_feature(enable = "avx2,fma")]
                    unsafe fn avx2(t: &Tile<$T>) {
                        // SAFETY: the caller's promise.
                        unsafe { tile::<$avx2, 6, 2>(t) }
                    }
                    /// # Safety
                    ///
                    /// As [`Kernel::run`].
                    #[target_feature(enable = "avx512f")]
                    unsafe fn avx512(t: &Tile<$T>) {
                        // SAFETY: the caller's promise.
                        unsafe { tile::<$avx512, 8, 2>(t) }
                    }
                    match level {
                        Level::Avx512 => return Kernel { turn: $turn, rows: 8, columns: 2 * <$avx512 as Vector>::LANES, run: avx512 },
                        Level::Avx2 => return Kernel { turn: $turn, rows: 6, columns: 2 * <$avx2 as Vector>::LANES, run: avx2 },
                        Level::Base => {}
                    }
                }
                let _ = level;
                Kernel { turn: None, rows: 4, columns: 2 * $plain, run: base }
            }
        }
    )*};
}
kernels! {
    f32: 4, __m256, __m512, Some(turn);
    f64: 2, __m256d, __m512d, None;
}
