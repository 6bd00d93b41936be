//! Products by plain loops: small ones, of a matrix and a vector, and of integers.

use super::{
    super::{Level, levels, tile::Part},
    Matrix,
};
use num_complex::Complex;

/// Sums of products.
pub(in crate::interp::compiled) trait Multiply: Part {
    /// `a · b + c`.
    fn multiply_add(a: Self, b: Self, c: Self) -> Self;
    /// `a + b`.
    fn plus(a: Self, b: Self) -> Self;
    /// As [`gemm`](super::gemm), by loops of our own: for small products, matrix–vector products and integers.
    fn product(
        level: Level,
        size: [usize; 3],
        x: Matrix<'_, Self>,
        y: Matrix<'_, Self>,
        z: &mut [Self],
        step: usize,
        accumulate: bool,
    );
}
macro_rules! multiply {
    (@vector) => {
        fn product(level: Level, size: [usize; 3], x: Matrix<'_, Self>, y: Matrix<'_, Self>, z: &mut [Self], step: usize, accumulate: bool) {
            vector_product(level, size, x, y, z, step, accumulate);
        }
    };
    (@plain) => {
        fn product(_: Level, size: [usize; 3], x: Matrix<'_, Self>, y: Matrix<'_, Self>, z: &mut [Self], step: usize, accumulate: bool) {
            product_body(size, x, y, z, step, accumulate);
        }
    };
    ($($T:ty: $loops:ident $a:ident $b:ident $c:ident => $product:expr, $sum:expr;)*) => {$(
        impl Multiply for $T {
            #[inline(always)]
            fn multiply_add($a: Self, $b: Self, $c: Self) -> Self { $product }
            #[inline(always)]
            fn plus($a: Self, $c: Self) -> Self { $sum }
            multiply!(@$loops);
        }
    )*};
}
multiply! {
    f32: vector a b c => a * b + c, a + c;
    f64: vector a b c => a * b + c, a + c;
    Complex<f32>: plain a b c => a * b + c, a + c;
    Complex<f64>: plain a b c => a * b + c, a + c;
    i8: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    i16: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    i32: vector a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    i64: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    u8: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    u16: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    u32: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    u64: plain a b c => a.wrapping_mul(b).wrapping_add(c), a.wrapping_add(c);
    bool: plain a b c => (a & b) | c, a | c;
}

/// As [`gemm`](super::gemm), by loops of our own: for small products, matrix–vector products and integers.
#[inline(always)]
fn product_body<T: Multiply>(
    [m, n, k]: [usize; 3],
    x: Matrix<'_, T>,
    y: Matrix<'_, T>,
    z: &mut [T],
    step: usize,
    accumulate: bool,
) {
    if !accumulate {
        z.chunks_mut(step.max(1))
            .take(m)
            .filter_map(|z| z.get_mut(..n))
            .for_each(|z| z.fill(T::ZERO));
    }
    if k == 0 || n == 0 || !x.holds(m, k) || !y.holds(k, n) {
        return;
    }
    let rows = z.chunks_mut(step.max(1)).take(m);
    let rows = rows.map(|z| z.get_mut(..n).unwrap_or_default());
    let across_x = x.columns == 1;
    if across_x && y.rows == 1 {
        // Both run along the summed axis: dot products of slices.
        for (i, z) in rows.enumerate() {
            let a = &x.storage.get(x.at(i, 0)..).unwrap_or_default();
            let a = a.get(..k).unwrap_or_default();
            for (j, z) in z.iter_mut().enumerate() {
                let b = y.storage.get(y.at(0, j)..).unwrap_or_default();
                *z = T::plus(*z, dot(a, b.get(..k).unwrap_or_default()));
            }
        }
    } else if y.columns == 1 && n > 1 {
        // Rows of `y` scaled and added up.
        for (i, z) in rows.enumerate() {
            for l in 0..k {
                let a = x.storage.get(x.at(i, l)).copied().unwrap_or_default();
                let b = y.storage.get(y.at(l, 0)..).unwrap_or_default();
                add_scaled(a, b.get(..n).unwrap_or_default(), z);
            }
        }
    } else if n == 1 && step == 1 && x.rows == 1 {
        // Columns of `x` scaled and added up.
        for l in 0..k {
            let b = y.storage.get(y.at(l, 0)).copied().unwrap_or_default();
            let a = x.storage.get(x.at(0, l)..).unwrap_or_default();
            add_scaled(b, a.get(..m).unwrap_or_default(), &mut *z);
        }
    } else {
        for (i, z) in rows.enumerate() {
            for (j, z) in z.iter_mut().enumerate() {
                let mut sum = T::ZERO;
                for l in 0..k {
                    let a = x.storage.get(x.at(i, l)).copied().unwrap_or_default();
                    let b = y.storage.get(y.at(l, j)).copied().unwrap_or_default();
                    sum = T::multiply_add(a, b, sum);
                }
                *z = T::plus(*z, sum);
            }
        }
    }
}
levels! {
    fn vector_product<T: Multiply>(size: [usize; 3], x: Matrix<'_, T>, y: Matrix<'_, T>, z: &mut [T], step: usize, accumulate: bool) = product_body;
}

#[inline(always)]
fn add_scaled<T: Multiply>(a: T, x: &[T], z: &mut [T]) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = T::multiply_add(a, *x, *z);
    }
}

/// In sixteen running sums, so that the additions do not wait for each other.
#[inline(always)]
fn dot<T: Multiply>(x: &[T], y: &[T]) -> T {
    const LANES: usize = 16;
    let mut sums = [T::ZERO; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (mut rest, others) = (T::ZERO, xs.remainder().iter().zip(ys.remainder()));
    for (x, y) in xs.zip(ys) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s = T::multiply_add(*x, *y, *s);
        }
    }
    for (x, y) in others {
        rest = T::multiply_add(*x, *y, rest);
    }
    if x.len() < LANES {
        return rest;
    }
    sums.into_iter().fold(rest, T::plus)
}
