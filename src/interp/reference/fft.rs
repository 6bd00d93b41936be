//! Discrete Fourier transforms, in `f64`.
//!
//! A length is split into its prime factors, the transforms of its parts combined with roots of unity (Cooley and Tukey, "An
//! algorithm for the machine calculation of complex Fourier series", 1965). A length with a large prime factor becomes a convolution,
//! and that a transform of a power of two (Bluestein, "A linear filtering approach to the computation of the discrete Fourier
//! transform", 1970).

use super::contract::widened;
use crate::{
    array::{Aval, Buffer, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype},
    error::Result,
    trace::op::{Fft, FftType},
};
use num_complex::Complex64;
use std::f64::consts::PI;

/// Above this, a prime factor is not summed up directly.
const LARGEST_FACTOR: usize = 31;

/// `e^(−2πi k / n)`, exact where a part is 0 or ±1, and symmetric: the angle is brought into an eighth of the circle.
fn root(k: usize, n: usize) -> Complex64 {
    let k = k % n;
    // 8 k / n, as eighth and rest.
    let eighth = 8 * k as u128 / n as u128;
    let angle = |num: u128| 2.0 * PI * (num as f64) / (8.0 * n as f64);
    let rest = 8 * k as u128 - eighth * n as u128;
    let (a, swapped) = if eighth.is_multiple_of(2) {
        (angle(rest), false)
    } else {
        (angle(n as u128 - rest), true)
    };
    let (s, c) = a.sin_cos();
    let (c, s) = if swapped { (s, c) } else { (c, s) };
    match eighth / 2 {
        0 => Complex64::new(c, -s),
        1 => Complex64::new(-s, -c),
        2 => Complex64::new(-c, s),
        _ => Complex64::new(s, c),
    }
}

/// Times a root of unity; by those on the axes parts stay apart, as they do where butterflies are written out: a NaN in one of them is
/// none in the other.
fn turned(x: Complex64, by: Complex64) -> Complex64 {
    if by.im == 0.0 {
        return x.scale(by.re);
    }
    if by.re == 0.0 {
        return Complex64::new(-x.im * by.im, x.re * by.im);
    }
    x * by
}

fn factors(mut n: usize) -> Vec<usize> {
    let mut all = vec![];
    let mut p = 2;
    while p * p <= n {
        while n.is_multiple_of(p) {
            all.push(p);
            n /= p;
        }
        p += 1;
    }
    if n > 1 {
        all.push(n);
    }
    all
}

/// What transforms of one length share.
enum Plan {
    /// By factors, with all roots of unity.
    Factors {
        factors: Vec<usize>,
        roots: Vec<Complex64>,
    },
    /// As a convolution: the chirp, the transform of its conjugate, and the plan for the power of two.
    Convolution {
        chirp: Vec<Complex64>,
        kernel: Vec<Complex64>,
        plan: Box<Plan>,
    },
}

impl Plan {
    fn new(n: usize) -> Plan {
        let factors = factors(n);
        if factors.iter().all(|p| *p <= LARGEST_FACTOR) {
            let roots = (0..n).map(|k| root(k, n)).collect();
            return Plan::Factors { factors, roots };
        }
        // k² modulo 2n, so that the angle stays small.
        let chirp: Vec<Complex64> = (0..n)
            .map(|k| {
                let square = k as u128 * k as u128 % (2 * n as u128);
                root(square as usize, 2 * n)
            })
            .collect();
        let m = (2 * n - 1).next_power_of_two();
        let mut kernel = vec![Complex64::ZERO; m];
        for (k, c) in chirp.iter().enumerate() {
            for at in [k, (m - k) % m] {
                if let Some(slot) = kernel.get_mut(at) {
                    *slot = c.conj();
                }
            }
        }
        let plan = Box::new(Plan::new(m));
        let kernel = plan.transform(&kernel);
        Plan::Convolution {
            chirp,
            kernel,
            plan,
        }
    }

    fn transform(&self, x: &[Complex64]) -> Vec<Complex64> {
        match self {
            Plan::Factors { factors, roots } => {
                let mut y = vec![Complex64::ZERO; x.len()];
                combine(x, 1, &mut y, factors, roots, &mut vec![]);
                y
            }
            Plan::Convolution {
                chirp,
                kernel,
                plan,
            } => {
                let mut a: Vec<Complex64> = x.iter().zip(chirp).map(|(x, c)| x * c).collect();
                a.resize(kernel.len(), Complex64::ZERO);
                let product: Vec<Complex64> = plan
                    .transform(&a)
                    .iter()
                    .zip(kernel)
                    .map(|(a, b)| (a * b).conj())
                    .collect();
                let scale = 1.0 / kernel.len() as f64;
                let back = plan.transform(&product);
                back.iter()
                    .zip(chirp)
                    .map(|(y, c)| y.conj() * c * scale)
                    .collect()
            }
        }
    }
}

/// The transform of every `step`-th element of `x`, as many as `y` has room for.
fn combine(
    x: &[Complex64],
    step: usize,
    y: &mut [Complex64],
    factors: &[usize],
    roots: &[Complex64],
    parts: &mut Vec<Complex64>,
) {
    let Some((p, rest)) = factors.split_first() else {
        if let (Some(y), Some(x)) = (y.first_mut(), x.first()) {
            *y = *x;
        }
        return;
    };
    let m = y.len() / p;
    for (r, part) in y.chunks_mut(m).enumerate() {
        combine(
            x.get(r * step..).unwrap_or_default(),
            step * p,
            part,
            rest,
            roots,
            parts,
        );
    }
    // The roots of this length and of the factor stand among those of the whole, so many apart.
    let (within, across) = (roots.len() / y.len(), roots.len() / p);
    let at = |roots: &[Complex64], i: usize| roots.get(i).copied().unwrap_or_default();
    for k in 0..m {
        parts.clear();
        parts.extend((0..*p).map(|r| turned(at(y, r * m + k), at(roots, r * k * within))));
        for q in 0..*p {
            let terms = parts.iter().enumerate();
            let sum = terms.fold(Complex64::ZERO, |sum, (r, t)| {
                sum + turned(*t, at(roots, r * q % p * across))
            });
            if let Some(slot) = y.get_mut(q * m + k) {
                *slot = sum;
            }
        }
    }
}

/// Transform the lanes along an axis of an array of this shape in row-major order.
fn along(
    v: &mut [Complex64],
    shape: &[usize],
    axis: usize,
    lane: impl Fn(&[Complex64]) -> Vec<Complex64>,
) {
    let n = shape.get(axis).copied().unwrap_or(1);
    let inner: usize = shape.get(axis + 1..).unwrap_or_default().iter().product();
    if n == 0 || inner == 0 {
        return;
    }
    let mut x = vec![Complex64::ZERO; n];
    for block in v.chunks_mut(n * inner) {
        for i in 0..inner {
            for (x, b) in x.iter_mut().zip(block.iter().skip(i).step_by(inner)) {
                *x = *b;
            }
            let y = lane(&x);
            for (b, y) in block.iter_mut().skip(i).step_by(inner).zip(y) {
                *b = y;
            }
        }
    }
}

pub(super) fn fft(p: &Fft, x: &Buffer, out: &Aval) -> Result<Buffer> {
    let mut v: Vec<Complex64> = widened::<Complex64>(x)?;
    let mut shape = x.shape().to_vec();
    let rank = shape.len();
    let first = rank - p.fft_lengths.len().min(rank);
    let last = rank.saturating_sub(1);
    let length = p.fft_lengths.last().copied().unwrap_or(1);
    let half = length / 2 + 1;
    let inverse = matches!(p.fft_type, FftType::Ifft | FftType::Irfft);
    let complete = |axes: std::ops::Range<usize>, v: &mut Vec<Complex64>, shape: &[usize]| {
        for axis in axes.rev() {
            let n = shape.get(axis).copied().unwrap_or(1);
            let plan = Plan::new(n);
            let scale = 1.0 / n as f64;
            along(v, shape, axis, |x| {
                if !inverse {
                    return plan.transform(x);
                }
                let x: Vec<Complex64> = x.iter().map(Complex64::conj).collect();
                let y = plan.transform(&x);
                y.iter().map(|y| y.conj() * scale).collect()
            });
        }
    };
    match p.fft_type {
        FftType::Fft | FftType::Ifft => complete(first..rank, &mut v, &shape),
        FftType::Rfft => {
            complete(last..rank, &mut v, &shape);
            let mut kept = try_vec(v.len() / length * half)?;
            for lane in v.chunks(length) {
                kept.extend_from_slice(lane.get(..half).unwrap_or_default());
            }
            v = kept;
            if let Some(n) = shape.last_mut() {
                *n = half;
            }
            complete(first..last, &mut v, &shape);
        }
        FftType::Irfft => {
            complete(first..last, &mut v, &shape);
            let mut whole = try_vec(v.len() / half * length)?;
            for lane in v.chunks(half) {
                whole.extend((0..length).map(|k| {
                    let at = |k: usize| lane.get(k).copied().unwrap_or_default();
                    match k {
                        _ if k == 0 || 2 * k == length => Complex64::new(at(k).re, 0.0),
                        _ if k < half => at(k),
                        _ => at(length - k).conj(),
                    }
                }));
            }
            v = whole;
            if let Some(n) = shape.last_mut() {
                *n = length;
            }
            complete(last..rank, &mut v, &shape);
        }
    }
    let data = with_dtype!(out.dtype, T => {
        T::data(v.into_iter().map(|z| T::from_scalar(if out.dtype.is_complex() {
            Scalar::Complex(z)
        } else {
            Scalar::Float(z.re)
        })).collect())
    });
    Buffer::from_data(out.clone(), data)
}
