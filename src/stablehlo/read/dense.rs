//! Numbers of constant arrays: nested lists, splats, and strings of hexadecimal digits.

use super::syntax::Dense;
use crate::{
    array::{Aval, Buffer, DType, Dims, Scalar, Stored, aval::size_of, dtype::with_dtype},
    error::Result,
    source::Source,
};
use half::{bf16, f16};
use num_complex::Complex;

/// A number as a literal has it.
pub(crate) trait Number: Stored {
    /// From decimal or hexadecimal text; `None` where no number of the type is written so, or it does not fit.
    fn parse(text: &str) -> Option<Self>;
    /// From its bytes, the least significant first; as many as the type has.
    fn of_bytes(bytes: &[u8]) -> Option<Self>;
}

fn hex(text: &str) -> Option<u128> {
    u128::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

macro_rules! integers {
    ($($T:ty as $U:ty;)*) => {$(impl Number for $T {
        fn parse(text: &str) -> Option<Self> {
            if let Ok(x) = text.parse::<$T>() {
                return Some(x);
            }
            // A signless integer may be written as the unsigned one of the same bits.
            if let Ok(x) = text.parse::<$U>() {
                return Some(x as $T);
            }
            match text {
                "true" => Some(1),
                "false" => Some(0),
                _ => <$U>::try_from(hex(text)?).ok().map(|x| x as $T),
            }
        }
        fn of_bytes(bytes: &[u8]) -> Option<Self> {
            Some(<$T>::from_le_bytes(bytes.try_into().ok()?))
        }
    })*};
}
integers! { i8 as u8; i16 as u16; i32 as u32; i64 as u64; u8 as u8; u16 as u16; u32 as u32; u64 as u64; }

macro_rules! floats {
    ($($T:ty, $bits:ty, $decimal:expr;)*) => {$(impl Number for $T {
        fn parse(text: &str) -> Option<Self> {
            if text.starts_with("0x") {
                return <$bits>::try_from(hex(text)?).ok().map(<$T>::from_bits);
            }
            $decimal(text)
        }
        fn of_bytes(bytes: &[u8]) -> Option<Self> {
            Some(<$T>::from_le_bytes(bytes.try_into().ok()?))
        }
    })*};
}
floats! {
    f16, u16, |t: &str| t.parse().ok().map(f16::from_f64);
    bf16, u16, |t: &str| t.parse().ok().map(bf16::from_f64);
    f32, u32, |t: &str| t.parse::<f32>().ok();
    f64, u64, |t: &str| t.parse::<f64>().ok();
}

impl Number for bool {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "1" | "-1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.first().map(|b| *b != 0)
    }
}

macro_rules! complex {
    ($($T:ty)*) => {$(impl Number for Complex<$T> {
        fn parse(text: &str) -> Option<Self> {
            let within = text.strip_prefix('(')?.strip_suffix(')')?;
            let (re, im) = within.split_once(',')?;
            Some(Complex::new(<$T>::parse(re.trim())?, <$T>::parse(im.trim())?))
        }
        fn of_bytes(bytes: &[u8]) -> Option<Self> {
            let (re, im) = bytes.split_at_checked(bytes.len() / 2)?;
            Some(Complex::new(<$T as Number>::of_bytes(re)?, <$T as Number>::of_bytes(im)?))
        }
    })*};
}
complex!(f32 f64);

/// The array that `source[from..to]`, the text within `dense<…>`, says.
pub(crate) fn literal(source: Source<'_>, from: usize, to: usize, aval: Aval) -> Result<Dense> {
    let elements = with_dtype!(aval.dtype, T => elements::<T>(source, from, to, &aval)?);
    Ok(Dense { aval, elements })
}

/// The array whose bytes are written in hexadecimal, without `0x`.
pub(crate) fn blob(source: Source<'_>, at: usize, digits: &str, aval: Aval) -> Result<Dense> {
    let elements = with_dtype!(aval.dtype, T => hexadecimal::<T>(source, at, digits, &aval)?);
    Ok(Dense { aval, elements })
}

fn one<T: Stored>(x: T) -> Result<Buffer> {
    Buffer::new(Dims::new(), vec![x])
}

fn elements<T: Number>(source: Source<'_>, from: usize, to: usize, aval: &Aval) -> Result<Buffer> {
    let text = source.text.get(from..to).unwrap_or_default();
    let trimmed = text.trim();
    if let Some(quoted) = trimmed.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        let Some(digits) = quoted.strip_prefix("0x") else {
            return Err(source.malformed(from, "bytes are written as \"0x…\""));
        };
        return hexadecimal::<T>(source, from, digits, aval);
    }
    if trimmed.is_empty() {
        return if aval.size() == 0 {
            Buffer::new(&aval.shape, Vec::<T>::new())
        } else {
            Err(source.malformed(from, format!("no elements for {aval}")))
        };
    }
    if !trimmed.starts_with('[') {
        let x = T::parse(trimmed).ok_or_else(|| not_a(source, from, trimmed, T::DTYPE))?;
        return one(x);
    }
    list::<T>(source, from, text, aval)
}

fn not_a(source: Source<'_>, at: usize, text: &str, dtype: DType) -> crate::Error {
    let shown: String = text.chars().take(40).collect();
    source.malformed(at, format!("`{shown}` is no {dtype}"))
}

/// A nested list. Its depth is kept in a vector, not on the stack.
fn list<T: Number>(source: Source<'_>, from: usize, text: &str, aval: &Aval) -> Result<Buffer> {
    let (bytes, n) = (text.as_bytes(), aval.size());
    // A lie about the size costs no memory: every element takes two bytes of text, the last but one.
    let mut all: Vec<T> = Vec::with_capacity(n.min(bytes.len() / 2 + 1));
    let mut counts: Vec<usize> = vec![];
    let mut at = 0;
    let mut done = false;
    let wrong = |at: usize, why: String| Err(source.malformed(from + at, why));
    while let Some(b) = bytes.get(at) {
        match b {
            b' ' | b'\n' | b'\t' | b'\r' | b',' => at += 1,
            b'[' if !done && counts.len() < aval.ndim() => {
                if let Some(n) = counts.last_mut() {
                    *n += 1;
                }
                counts.push(0);
                at += 1;
            }
            b'[' => return wrong(at, format!("a list deeper than {aval}")),
            b']' => {
                let Some(count) = counts.pop() else {
                    return wrong(at, "a list ends that has not begun".into());
                };
                let wanted = aval.shape.get(counts.len()).copied().unwrap_or(0);
                if count != wanted {
                    return wrong(
                        at,
                        format!("{count} elements along axis {} of {aval}", counts.len()),
                    );
                }
                done = counts.is_empty();
                at += 1;
            }
            _ => {
                let end = if *b == b'(' {
                    bytes
                        .iter()
                        .skip(at)
                        .position(|b| *b == b')')
                        .map(|i| at + i + 1)
                } else {
                    let ends =
                        |b: &u8| matches!(b, b',' | b']' | b'[' | b' ' | b'\n' | b'\r' | b'\t');
                    bytes.iter().skip(at).position(ends).map(|i| at + i)
                };
                let Some(word) = end.and_then(|end| text.get(at..end)) else {
                    return wrong(at, "a number that does not end".into());
                };
                if counts.len() != aval.ndim() || done {
                    return wrong(
                        at,
                        format!("an element at depth {} of {aval}", counts.len()),
                    );
                }
                let Some(x) = T::parse(word) else {
                    return Err(not_a(source, from + at, word, T::DTYPE));
                };
                if all.len() >= n {
                    return wrong(at, format!("more than the {n} elements of {aval}"));
                }
                all.push(x);
                if let Some(n) = counts.last_mut() {
                    *n += 1;
                }
                at += word.len();
            }
        }
    }
    if !done || all.len() != n {
        return wrong(
            bytes.len(),
            format!(
                "the list ends after {} of {n} elements of {aval}",
                all.len()
            ),
        );
    }
    Buffer::new(&aval.shape, all)
}

fn hexadecimal<T: Number>(
    source: Source<'_>,
    at: usize,
    digits: &str,
    aval: &Aval,
) -> Result<Buffer> {
    let wrong = || {
        source.malformed(
            at,
            format!(
                "{} hexadecimal digits are not the bytes of {aval}",
                digits.len()
            ),
        )
    };
    let (bytes, n) = (digits.len() / 2, size_of(&aval.shape));
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let nibble = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let pairs = digits.as_bytes().chunks_exact(2).map(|p| match p {
        [a, b] => Some(nibble(*a)? << 4 | nibble(*b)?),
        _ => None,
    });
    if aval.dtype == DType::Bool && n > 1 && bytes == n.div_ceil(8) {
        // Packed, the first element in the lowest bit; all equal is also how a splat is written.
        let packed: Vec<u8> = pairs.collect::<Option<_>>().ok_or_else(wrong)?;
        let bit = |i: usize| packed.get(i / 8).is_some_and(|b| b >> (i % 8) & 1 == 1);
        return Buffer::new(
            &aval.shape,
            (0..n)
                .map(bit)
                .map(|b| T::from_scalar(Scalar::Bool(b)))
                .collect::<Vec<T>>(),
        );
    }
    let width = aval.dtype.size();
    let splat = bytes == width;
    if !splat && Some(bytes) != n.checked_mul(width) {
        return Err(wrong());
    }
    let mut all: Vec<T> = Vec::with_capacity(bytes / width.max(1));
    let mut element = [0u8; 16];
    let mut filled = 0;
    for byte in pairs {
        if let Some(slot) = element.get_mut(filled) {
            *slot = byte.ok_or_else(wrong)?;
        }
        filled += 1;
        if filled == width {
            let bytes = element.get(..width).unwrap_or_default();
            all.push(T::of_bytes(bytes).ok_or_else(wrong)?);
            filled = 0;
        }
    }
    match (splat, all.first()) {
        (true, Some(x)) => one(*x),
        _ => Buffer::new(&aval.shape, all),
    }
}
