//! Random numbers for tests, the same everywhere and every time; arrays of them, of every element type.

use quaxide::prelude::*;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }
    /// The numbers below `n` in a random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut p: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            p.swap(i, self.below(i + 1));
        }
        p
    }
}

/// An array of this shape with elements in (−1, 1).
pub fn random_array(r: &mut Rng, shape: &[usize]) -> Array {
    let n: usize = shape.iter().product();
    let elements: Vec<f64> = (0..n).map(|_| r.uniform() * 2.0 - 1.0).collect();
    Array::new(shape, elements)
}

/// Which numbers an array of a type holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Numbers {
    /// In (−1, 1), and integers near zero.
    Small,
    /// Those too, and what is odd: infinities, NaN, signed zeros, subnormal numbers, extreme integers.
    Odd,
}

const ODD: &[f64] = &[
    0.0,
    -0.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e-310,
    -1e-40,
    6e-8,
    1e4,
    -3e38,
    1e300,
    0.5,
    -1.5,
    2.5,
    1.0,
    -1.0,
];

/// An array of any element type.
pub fn random_of(r: &mut Rng, aval: &Aval, numbers: Numbers) -> Array {
    let n = aval.size();
    let odd = numbers == Numbers::Odd;
    let mut float = |r: &mut Rng| match r.choose(ODD) {
        Some(x) if odd && r.chance(0.3) => *x,
        _ => r.uniform() * 2.0 - 1.0,
    };
    let dtype = aval.dtype;
    if dtype.is_inexact() {
        let part = |r: &mut Rng, float: &mut dyn FnMut(&mut Rng) -> f64| {
            let x: Vec<f64> = (0..n).map(|_| float(r)).collect();
            Array::new(&aval.shape, x).astype(dtype.real())
        };
        let real = part(r, &mut float);
        if !dtype.is_complex() {
            return real;
        }
        let imaginary = part(r, &mut float);
        return quaxide::trace::bind(op::Binary::Complex, &[&real, &imaginary]);
    }
    let low = if dtype.is_unsigned() { 0 } else { -3 };
    let words: Vec<u64> = (0..n)
        .map(|_| match r.below(8) {
            0 if odd => r.next(),
            1 if odd => *r
                .choose(&[0, 1, u64::MAX, 1 << 63, (1 << 63) - 1])
                .unwrap_or(&0),
            _ => (low + r.below(7) as i64) as u64,
        })
        .collect();
    match dtype {
        DType::Bool => Array::new(
            &aval.shape,
            words.iter().map(|w| w & 1 == 1).collect::<Vec<_>>(),
        ),
        _ if dtype.is_unsigned() => Array::new(&aval.shape, words).astype(dtype),
        _ => {
            let signed: Vec<i64> = words.iter().map(|w| *w as i64).collect();
            Array::new(&aval.shape, signed).astype(dtype)
        }
    }
}
