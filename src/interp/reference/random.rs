//! The random number generator.

use super::special;
use crate::{
    array::{
        Aval, Buffer, DType, Data, Element, Scalar, Stored, buffer::try_vec, dtype::with_dtype,
    },
    error::{Error, Result},
    interp::Buffers,
    random::threefry::{self, KeyData, threefry2x32 as block},
    trace::op::{RandomAlgorithm, RandomGamma, RngBitGenerator, operands},
};
use half::{bf16, f16};
use smallvec::smallvec;
use std::sync::Arc;

/// One word for each element of the result; a buffer of rank 0 stands for every element.
fn words(x: &Buffer, n: usize) -> Result<Vec<u32>> {
    let words: Vec<u32> = x.to_vec()?;
    match words[..] {
        [word] if x.shape().is_empty() => {
            let mut all = try_vec(n)?;
            all.resize(n, word);
            Ok(all)
        }
        _ => Ok(words),
    }
}

pub(super) fn threefry2x32(x: &[Arc<Buffer>], results: &[Aval]) -> Result<Buffers> {
    let [k0, k1, c0, c1] = operands("threefry2x32", x)?;
    let [first, second] = results else {
        return Err(Error::internal("`threefry2x32` has two results"));
    };
    let n = first.size();
    let (k0, k1, c0, c1) = (words(k0, n)?, words(k1, n)?, words(c0, n)?, words(c1, n)?);
    let (mut a, mut b) = (try_vec(n)?, try_vec(n)?);
    for (((k0, k1), c0), c1) in k0.into_iter().zip(k1).zip(c0).zip(c1) {
        let (x, y) = block(k0, k1, c0, c1);
        a.push(x);
        b.push(y);
    }
    Ok(smallvec![
        Buffer::from_data(first.clone(), u32::data(a))?,
        Buffer::from_data(second.clone(), u32::data(b))?,
    ])
}

/// The floats in which gamma samples are drawn; narrower ones go through `f32`.
trait Sampled: Stored {
    /// Uniform on [0, 1), the first element of a key's draw.
    fn unit(key: KeyData) -> Self;
    /// A sample, or its logarithm.
    fn draw_gamma(key: KeyData, alpha: Self, log_space: bool) -> Self;
}

macro_rules! sampled {
    ($F:ident, $bits:ident >> $shift:literal, $root:expr) => {
        impl Sampled for $F {
            fn unit(key: KeyData) -> $F {
                // As many bits as the mantissa has: both steps are exact.
                (threefry::$bits(key, 0) >> $shift) as $F * ($F::EPSILON)
            }

            /// G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (2000), with the keys and the roundings
            /// of `jax.random.gamma`; a shape below 1 is raised by 1, and the sample brought down by a power of a uniform number.
            fn draw_gamma(key: KeyData, alpha: $F, log_space: bool) -> $F {
                const THIRD: $F = 1.0 / 3.0;
                if alpha.is_nan() {
                    return alpha;
                }
                let boosted = alpha < 1.0;
                let d = if boosted { alpha + 1.0 } else { alpha } - THIRD;
                // XLA has the reciprocal root from an estimate that the CPU makes, refined: this is its correct rounding.
                let c = THIRD * ((1.0 / (d as f64).sqrt()) as $F);
                let (mut key, boost_key) = (threefry::split(key, 0), threefry::split(key, 1));
                let mut volume: $F;
                loop {
                    let (mut x_key, u_key) = (threefry::split(key, 1), threefry::split(key, 2));
                    key = threefry::split(key, 0);
                    // A normal number for which 1 + c x is positive.
                    let (x, v) = loop {
                        let u = <$F>::unit(threefry::split(x_key, 1));
                        x_key = threefry::split(x_key, 0);
                        let x = special::erf_inv(u.mul_add(2.0, $F::EPSILON / 2.0 - 1.0)) * $root;
                        let v = x.mul_add(c, 1.0);
                        if v > 0.0 || v.is_nan() {
                            break (x, v);
                        }
                    };
                    let square = x * x;
                    volume = v * v * v;
                    let u = <$F>::unit(u_key);
                    let rejected = u >= (-0.0331 as $F).mul_add(square * square, 1.0)
                        && special::log(u)
                            >= square * 0.5 + d * ((1.0 - volume) + special::log(volume));
                    if !rejected {
                        break;
                    }
                }
                if log_space {
                    let log = special::log1p(-<$F>::unit(boost_key));
                    let boost = if boosted && log != 0.0 {
                        log * (1.0 / alpha)
                    } else {
                        0.0
                    };
                    (special::log(d) + special::log(volume)) + boost
                } else {
                    let u = 1.0 - <$F>::unit(boost_key);
                    let boost = if boosted { u.powf(1.0 / alpha) } else { 1.0 };
                    d * volume * boost
                }
            }
        }
    };
}

sampled!(f32, bits32 >> 9, std::f32::consts::SQRT_2);
sampled!(f64, bits64 >> 12, std::f64::consts::SQRT_2);

macro_rules! narrow {
    ($($F:ident)*) => {$(
        impl Sampled for $F {
            fn unit(key: KeyData) -> $F {
                $F::from_f32(f32::unit(key))
            }
            fn draw_gamma(key: KeyData, alpha: $F, log_space: bool) -> $F {
                $F::from_f32(f32::draw_gamma(key, alpha.to_f32(), log_space))
            }
        }
    )*};
}
narrow!(f16 bf16);

fn gammas<F: Sampled>(p: RandomGamma, keys: &[u32], alpha: &Buffer) -> Result<Data> {
    let alpha: Vec<F> = alpha.to_vec()?;
    let keys: Vec<KeyData> = keys
        .chunks_exact(2)
        .filter_map(|w| w.try_into().ok())
        .collect();
    // The numbers under one key are drawn with the keys that it splits into.
    let each = (alpha.len() / keys.len().max(1)).max(1);
    let mut out = try_vec(alpha.len())?;
    for (key, alpha) in keys.into_iter().zip(alpha.chunks(each)) {
        let drawn = alpha
            .iter()
            .zip(0u64..)
            .map(|(a, i)| F::draw_gamma(threefry::split(key, i), *a, p.log_space));
        out.extend(drawn);
    }
    Ok(F::data(out))
}

pub(super) fn gamma(p: RandomGamma, keys: &Buffer, alpha: &Buffer, out: &Aval) -> Result<Buffer> {
    let keys: Vec<u32> = keys.to_vec()?;
    let data = match out.dtype {
        DType::F16 => gammas::<f16>(p, &keys, alpha)?,
        DType::BF16 => gammas::<bf16>(p, &keys, alpha)?,
        DType::F64 => gammas::<f64>(p, &keys, alpha)?,
        _ => gammas::<f32>(p, &keys, alpha)?,
    };
    Buffer::from_data(out.clone(), data)
}

/// Philox-4x32 with ten rounds. (J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011.)
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| {
        let p = u64::from(a) * u64::from(b);
        ((p >> 32) as u32, p as u32)
    };
    for _ in 0..10 {
        let [c0, c1, c2, c3] = counter;
        let ((h0, l0), (h1, l1)) = (product(0xD251_1F53, c0), product(0xCD9E_8D57, c2));
        counter = [h1 ^ c1 ^ key[0], l1, h0 ^ c3 ^ key[1], l0];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// `n` words of 32 bits or of 64, and the counter after them.
fn philox_words(key: u64, counter: u128, n: usize, wide: bool) -> Result<(Vec<u64>, u128)> {
    let key = halves(key);
    let each = if wide { 2 } else { 4 };
    let blocks = n.div_ceil(each);
    let mut words = try_vec(blocks * each)?;
    for i in 0..blocks as u128 {
        let at = counter.wrapping_add(i);
        let ([a, b], [c, d]) = (halves(at as u64), halves((at >> 64) as u64));
        let [a, b, c, d] = philox([a, b, c, d], key);
        if wide {
            words.extend([joined(a, b), joined(c, d)]);
        } else {
            words.extend([a, b, c, d].map(u64::from));
        }
    }
    words.truncate(n);
    Ok((words, counter.wrapping_add(blocks as u128)))
}

/// Words for an array of this shape. A block gives two of 32 bits, which lie next to each other along one axis: the first of even
/// length, else the longest.
fn threefry_words(key: u64, counter: u64, shape: &[usize], wide: bool) -> Result<(Vec<u64>, u64)> {
    let [k0, k1] = halves(key);
    let at = |i: u64| {
        let [c0, c1] = halves(counter.wrapping_add(i));
        block(k0, k1, c0, c1)
    };
    let n: usize = shape.iter().product();
    if wide {
        let mut words = try_vec(n)?;
        words.extend((0..n as u64).map(|i| {
            let (low, high) = at(i);
            joined(low, high)
        }));
        return Ok((words, counter.wrapping_add(n as u64)));
    }
    let longest = || (0..shape.len()).rev().max_by_key(|i| shape.get(*i));
    let axis = shape.iter().position(|n| n % 2 == 0).or_else(longest);
    let (outer, along, inner) = match axis {
        Some(axis) => (
            shape.iter().take(axis).product::<usize>(),
            shape.get(axis).copied().unwrap_or(1),
            shape.iter().skip(axis + 1).product::<usize>(),
        ),
        None => (1, 1, 1),
    };
    let half = along.div_ceil(2);
    let mut words = try_vec(n)?;
    for o in 0..outer {
        for i in 0..along {
            for k in 0..inner {
                let (first, second) = at(((o * half + i / 2) * inner + k) as u64);
                words.push(u64::from(if i % 2 == 0 { first } else { second }));
            }
        }
    }
    let blocks = (outer * half * inner) as u64;
    Ok((words, counter.wrapping_add(blocks)))
}

/// The next state, and bits.
pub(super) fn bits(p: &RngBitGenerator, state: &Buffer, results: &[Aval]) -> Result<Buffers> {
    let [of_state, of_bits] = results else {
        return Err(Error::internal("`rng_bit_generator` has two results"));
    };
    let mut words: Vec<u64> = match state.dtype() {
        DType::U32 => state
            .to_vec::<u32>()?
            .chunks_exact(2)
            .map(|w| match w {
                [low, high] => joined(*low, *high),
                _ => 0,
            })
            .collect(),
        _ => state.to_vec()?,
    };
    let wide = p.dtype.size() == 8;
    let drawn = match &mut words[..] {
        [key, counter] if p.algorithm == RandomAlgorithm::ThreeFry => {
            let (drawn, next) = threefry_words(*key, *counter, &p.shape, wide)?;
            *counter = next;
            drawn
        }
        [key, low, rest @ ..] => {
            // Where the state has no third word, XLA takes the key for it.
            let high = rest.first().copied().unwrap_or(*key);
            let counter = u128::from(*low) | u128::from(high) << 64;
            let n = p.shape.iter().product();
            let (drawn, next) = philox_words(*key, counter, n, wide)?;
            *low = next as u64;
            if let Some(high) = rest.first_mut() {
                *high = (next >> 64) as u64;
            }
            drawn
        }
        _ => {
            return Err(Error::internal(
                "`rng_bit_generator` was given too short a state",
            ));
        }
    };
    let state = match of_state.dtype {
        DType::U32 => u32::data(words.into_iter().flat_map(halves).collect()),
        _ => u64::data(words),
    };
    let data = with_dtype!(p.dtype, T => {
        let bits = p.dtype.size() * 8;
        let cut = |w: u64| if bits < 64 { w & ((1 << bits) - 1) } else { w };
        T::data(drawn.into_iter().map(|w| T::from_scalar(Scalar::Int(i128::from(cut(w))))).collect())
    });
    Ok(smallvec![
        Buffer::from_data(of_state.clone(), state)?,
        Buffer::from_data(of_bits.clone(), data)?,
    ])
}
