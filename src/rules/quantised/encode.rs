//! Rounding to each format, as its reference does: bitsandbytes for `int8` and NF4, ggml's `quantize_row_*_ref` for GGUF.

use super::{Format, tables};
use crate::{
    array::{Array, Dims},
    error::{Error, Result},
};
use half::f16;

/// The components for rows of numbers, whose length is a multiple of the format's block.
pub(super) fn encode(format: Format, x: &[f32], rows: &Dims, columns: usize) -> Result<Vec<Array>> {
    let with = |rest: &[usize]| -> Dims { rows.iter().chain(rest).copied().collect() };
    Ok(match format {
        Format::Int8 => {
            let (codes, absmax) = int8(x, rows.iter().product(), columns);
            vec![
                Array::new(with(&[columns]), codes),
                Array::new(rows, absmax),
            ]
        }
        Format::Nf4 => return nf4(x, rows, columns),
        _ => {
            let block = format.block();
            let size = format.block_bytes().unwrap_or(0);
            let mut bytes = Vec::with_capacity(x.len() / block * size);
            for x in x.chunks_exact(block) {
                match format {
                    Format::Q4_0 => q4_0(x, &mut bytes),
                    Format::Q4_1 => q4_1(x, &mut bytes),
                    Format::Q8_0 => q8_0(x, &mut bytes),
                    Format::Q4K => q4_k(x, &mut bytes),
                    _ => q6_k(x, &mut bytes),
                }
            }
            vec![Array::new(with(&[columns / block, size]), bytes)]
        }
    })
}

fn magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0f32, |m, x| m.max(x.abs()))
}

fn int8(x: &[f32], rows: usize, columns: usize) -> (Vec<i8>, Vec<f32>) {
    let mut absmax = Vec::with_capacity(rows);
    let mut codes = Vec::with_capacity(x.len());
    if columns == 0 {
        return (codes, vec![0.0; rows]);
    }
    for row in x.chunks_exact(columns) {
        let m = magnitude(row);
        let scale = if m > 0.0 { 127.0 / m } else { 0.0 };
        absmax.push(m);
        codes.extend(row.iter().map(|x| (x * scale).round_ties_even() as i8));
    }
    (codes, absmax)
}

/// The nearest entries of a table for blocks that are scaled to ±1, and the scales.
fn blockwise(x: &[f32], table: &[f32], size: usize) -> (Vec<u8>, Vec<f32>) {
    let (mut codes, mut absmax) = (Vec::with_capacity(x.len()), vec![]);
    for block in x.chunks(size) {
        let m = magnitude(block);
        let scale = if m > 0.0 { 1.0 / m } else { 0.0 };
        absmax.push(m);
        let code = |x: &f32| tables::nearest(table, (x * scale).clamp(-1.0, 1.0));
        codes.extend(block.iter().map(code));
    }
    (codes, absmax)
}

fn nf4(x: &[f32], rows: &Dims, columns: usize) -> Result<Vec<Array>> {
    let Some((n, lead)) = rows.split_last() else {
        return Err(Error::internal("nf4 of a vector"));
    };
    let blocks = columns / 64;
    let matrices: usize = lead.iter().product();
    let table = tables::dynamic();
    let (mut codes, mut scales, mut nested, mut offsets) = (vec![], vec![], vec![], vec![]);
    let size = (n * columns).max(1);
    for matrix in (0..matrices).map(|i| x.get(i * size..(i + 1) * size).unwrap_or_default()) {
        let (c, absmax) = blockwise(matrix, &tables::NF4, 64);
        let pairs = c.chunks_exact(2);
        codes.extend(pairs.map(|p| p.iter().fold(0u8, |byte, code| byte << 4 | code)));
        let sum: f64 = absmax.iter().map(|x| f64::from(*x)).sum();
        let offset = (sum / absmax.len().max(1) as f64) as f32;
        let centred: Vec<f32> = absmax.iter().map(|x| x - offset).collect();
        let (c, n) = blockwise(&centred, &table, 256);
        scales.extend(c);
        nested.extend(n);
        offsets.push(offset);
    }
    let shape = |front: &[usize], rest: &[usize]| [front, rest].concat();
    Ok(vec![
        Array::new(shape(rows, &[columns / 2]), codes),
        Array::new(shape(rows, &[blocks]), scales),
        Array::new(shape(lead, &[(n * blocks).div_ceil(256)]), nested),
        Array::new(lead, offsets),
    ])
}

fn push_half(x: f32, out: &mut Vec<u8>) -> f32 {
    let x = f16::from_f32(x);
    out.extend(x.to_le_bytes());
    x.to_f32()
}

fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// Codes of 4 bits: the first half of them low, the second high.
fn push_nibbles(codes: &[u8], out: &mut Vec<u8>) {
    let (low, high) = codes.split_at(codes.len() / 2);
    out.extend(low.iter().zip(high).map(|(l, h)| l | h << 4));
}

fn q4_0(x: &[f32], out: &mut Vec<u8>) {
    // The first number of the largest magnitude, with its sign.
    let (mut most, mut max) = (0f32, 0f32);
    for x in x {
        if most < x.abs() {
            (most, max) = (x.abs(), *x);
        }
    }
    let d = max / -8.0;
    let scale = inverse(d);
    push_half(d, out);
    let codes: Vec<u8> = x
        .iter()
        .map(|x| ((x * scale + 8.5) as i8).min(15) as u8)
        .collect();
    push_nibbles(&codes, out);
}

fn q4_1(x: &[f32], out: &mut Vec<u8>) {
    let min = x.iter().copied().fold(f32::MAX, f32::min);
    let max = x.iter().copied().fold(-f32::MAX, f32::max);
    let d = (max - min) / 15.0;
    let scale = inverse(d);
    push_half(d, out);
    push_half(min, out);
    let codes: Vec<u8> = x
        .iter()
        .map(|x| (((x - min) * scale + 0.5) as i8).min(15) as u8)
        .collect();
    push_nibbles(&codes, out);
}

fn q8_0(x: &[f32], out: &mut Vec<u8>) {
    let d = magnitude(x) / 127.0;
    let scale = inverse(d);
    push_half(d, out);
    out.extend(
        x.iter()
            .map(|x| ((x * scale).round() as i8).cast_unsigned()),
    );
}

/// The nearest integer, of two the even one: what adding 1.5·2²³ in `f32` gives.
fn nearest_integer(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// Scale and minimum (negated) by which 32 numbers are closest to codes of 0 to 15, the weighted squares of the errors summed: the best of 21
/// scales, each with the least-squares fit for the codes that it gives.
fn scale_and_minimum(x: &[f32], weights: &[f32]) -> (f32, f32, Vec<u8>) {
    const MOST: f32 = 15.0;
    let pairs = || x.iter().zip(weights);
    let min = x
        .iter()
        .copied()
        .fold(f32::INFINITY, |a, b| if b < a { b } else { a });
    let max = x
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut min = min;
    let (mut sum_w, mut sum_x) = (0f32, 0f32);
    for (x, w) in pairs() {
        sum_w += w;
        sum_x += w * x;
    }
    if min > 0.0 {
        min = 0.0;
    }
    if max == min {
        return (0.0, -min, vec![0; x.len()]);
    }
    let codes = |inverse: f32, min: f32| -> Vec<u8> {
        let code = |x: &f32| nearest_integer(inverse * (x - min)).clamp(0, 15) as u8;
        x.iter().map(code).collect()
    };
    let error = |codes: &[u8], scale: f32, min: f32| {
        let mut sum = 0f32;
        for ((x, w), l) in pairs().zip(codes) {
            let d = scale * f32::from(*l) + min - x;
            sum += w * (d * d);
        }
        sum
    };
    let inverse = MOST / (max - min);
    let mut scale = 1.0 / inverse;
    let mut best = codes(inverse, min);
    let mut least = error(&best, scale, min);
    for step in 0..=20 {
        // The range is that of the best minimum so far.
        let tried = codes((-1.0 + 0.1 * step as f32 + MOST) / (max - min), min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0f32, 0f32, 0f32);
        for ((x, w), l) in pairs().zip(&tried) {
            let l = f32::from(*l);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut this = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut from = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if from > 0.0 {
            from = 0.0;
            this = sum_xl / sum_l2;
        }
        let e = error(&tried, this, from);
        if e < least {
            (best, least, scale, min) = (tried, e, this, from);
        }
    }
    (scale, -min, best)
}

fn q4_k(x: &[f32], out: &mut Vec<u8>) {
    let mut parts = vec![];
    for x in x.chunks_exact(32) {
        let mut squares = 0f32;
        for x in x {
            squares += x * x;
        }
        let average = (squares / 32.0).sqrt();
        let weights: Vec<f32> = x.iter().map(|x| average + x.abs()).collect();
        parts.push(scale_and_minimum(x, &weights));
    }
    let largest = |of: fn(&(f32, f32, Vec<u8>)) -> f32| {
        parts
            .iter()
            .map(of)
            .fold(0f32, |m, x| if x > m { x } else { m })
    };
    let (max_scale, max_min) = (largest(|p| p.0), largest(|p| p.1));
    let by = |m: f32| if m > 0.0 { 63.0 / m } else { 0.0 };
    let six = |x: f32| (nearest_integer(x) as u8).min(63);
    let bits: Vec<(u8, u8)> = parts
        .iter()
        .map(|p| (six(by(max_scale) * p.0), six(by(max_min) * p.1)))
        .collect();
    let d = push_half(max_scale / 63.0, out);
    let dmin = push_half(max_min / 63.0, out);
    // The upper two bits of the last four scales and minima are above the first four's.
    let mut packed = [0u8; 12];
    for (j, (scale, min)) in bits.iter().enumerate() {
        let (at, bits): (usize, [(usize, u8); 2]) = match j {
            0..4 => (j + 8, [(j, *scale), (j + 4, *min)]),
            _ => (j + 4, [(j - 4, scale >> 4 << 6), (j, min >> 4 << 6)]),
        };
        for (i, b) in bits {
            if let Some(byte) = packed.get_mut(i) {
                *byte |= b;
            }
        }
        if let (4.., Some(byte)) = (j, packed.get_mut(at)) {
            *byte = (scale & 15) | (min & 15) << 4;
        }
    }
    out.extend(packed);
    let mut codes: Vec<u8> = vec![];
    for ((x, (scale, min)), p) in x.chunks_exact(32).zip(&bits).zip(parts) {
        let d = d * f32::from(*scale);
        if d == 0.0 {
            codes.extend(p.2);
            continue;
        }
        let m = dmin * f32::from(*min);
        codes.extend(
            x.iter()
                .map(|x| nearest_integer((x + m) / d).clamp(0, 15) as u8),
        );
    }
    for pair in codes.chunks_exact(64) {
        push_nibbles(pair, out);
    }
}

/// Below it, all numbers of a group count as zero.
const SMALLEST: f32 = 1e-15;

/// The scale by which 16 numbers are closest to codes of −32 to 31, errors weighted by the numbers' squares.
fn scale_alone(x: &[f32]) -> (f32, Vec<i32>) {
    let (mut most, mut max) = (0f32, 0f32);
    for x in x {
        if x.abs() > most {
            (most, max) = (x.abs(), *x);
        }
    }
    if most < SMALLEST {
        return (0.0, vec![0; x.len()]);
    }
    let codes = |inverse: f32| -> Vec<i32> {
        let code = |x: &f32| nearest_integer(inverse * x).clamp(-32, 31);
        x.iter().map(code).collect()
    };
    let sums = |codes: &[i32]| {
        let (mut xl, mut l2) = (0f32, 0f32);
        for (x, l) in x.iter().zip(codes) {
            let (w, l) = (x * x, *l as f32);
            xl += w * x * l;
            l2 += w * l * l;
        }
        (xl, l2)
    };
    let mut found = codes(-32.0 / max);
    let (xl, l2) = sums(&found);
    let mut scale = if l2 == 0.0 { 0.0 } else { xl / l2 };
    let mut best = scale * xl;
    for step in (-9..=9).filter(|s| *s != 0) {
        let tried = codes(-(32.0 + 0.1 * step as f32) / max);
        let (xl, l2) = sums(&tried);
        if l2 > 0.0 && xl * xl > best * l2 {
            scale = xl / l2;
            best = scale * xl;
            found = tried;
        }
    }
    (scale, found.into_iter().map(|l| l + 32).collect())
}

fn q6_k(x: &[f32], out: &mut Vec<u8>) {
    let parts: Vec<(f32, Vec<i32>)> = x.chunks_exact(16).map(scale_alone).collect();
    let (mut most, mut max) = (0f32, 0f32);
    for (scale, _) in &parts {
        if scale.abs() > most {
            (most, max) = (scale.abs(), *scale);
        }
    }
    if most < SMALLEST {
        out.extend([0; 210]);
        return;
    }
    let inverse = -128.0 / max;
    let d = f16::from_f32(1.0 / inverse);
    let scales: Vec<i8> = parts
        .iter()
        .map(|(s, _)| nearest_integer(inverse * s).min(127) as i8)
        .collect();
    let mut codes: Vec<u8> = vec![];
    for ((x, (_, old)), scale) in x.chunks_exact(16).zip(&parts).zip(&scales) {
        let d = d.to_f32() * f32::from(*scale);
        if d == 0.0 {
            codes.extend(old.iter().map(|l| *l as u8));
            continue;
        }
        let code = |x: &f32| (nearest_integer(x / d).clamp(-32, 31) + 32) as u8;
        codes.extend(x.iter().map(code));
    }
    let mut high = vec![];
    for codes in codes.chunks_exact(128) {
        let runs: Vec<&[u8]> = codes.chunks_exact(32).collect();
        let [a, b, c, d] = runs[..] else { return };
        out.extend(a.iter().zip(c).map(|(a, c)| (a & 15) | (c & 15) << 4));
        out.extend(b.iter().zip(d).map(|(b, d)| (b & 15) | (d & 15) << 4));
        let both = a.iter().zip(b).zip(c.iter().zip(d));
        high.extend(both.map(|((a, b), (c, d))| a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6));
    }
    out.extend(high);
    out.extend(scales.iter().map(|s| s.cast_unsigned()));
    out.extend(d.to_le_bytes());
}
