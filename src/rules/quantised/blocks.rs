//! The formats: how their blocks are laid out, and what they mean, in array operations.

use super::tables;
use crate::{
    array::{Array, Aval, DType, Dims, numpy::concatenate},
    error::{Error, Result},
    trace::{
        bind,
        op::{Binary, BitcastConvertType},
    },
};
use std::fmt;

/// How numbers are held in few bits. All errors are relative to the largest magnitude of a block, and bounds for what [`Quantised::new`] makes of
/// finite numbers in the range of `f16` scales.
///
/// [`Quantised::new`]: super::Quantised::new
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Format {
    /// 8 bits, one scale for each row (the last axis): `code · absmax / 127`, as bitsandbytes' LLM.int8 has it. Error ≤ 1/254.
    Int8,
    /// NormalFloat 4 in blocks of 64, whose scales are 8-bit themselves, in blocks of 256 with a common offset: QLoRA's double
    /// quantisation, 4.127 bits an element. Error about 1/6, half of the widest gap of the table.
    Nf4,
    /// GGUF's 4 bits in blocks of 32, symmetric: `(code − 8) · d`. Error about 1/8.
    Q4_0,
    /// GGUF's 4 bits in blocks of 32, from the smallest to the largest: `code · d + m`. Error about 1/30 of the range.
    Q4_1,
    /// GGUF's 8 bits in blocks of 32: `code · d`. Error about 1/254.
    Q8_0,
    /// GGUF's 4 bits in blocks of 32, eight of which share a scale for their 6-bit scales and minima.
    Q4K,
    /// GGUF's 6 bits in blocks of 16, sixteen of which share a scale for their 8-bit scales.
    Q6K,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Int8 => "int8",
            Format::Nf4 => "nf4",
            Format::Q4_0 => "q4_0",
            Format::Q4_1 => "q4_1",
            Format::Q8_0 => "q8_0",
            Format::Q4K => "q4_K",
            Format::Q6K => "q6_K",
        })
    }
}

/// Some bytes of each block.
fn bytes(x: &Array, from: usize, to: usize) -> Array {
    x.slice_in_dim(from, to, -1)
}

/// A number of 16 bits in each block, as a block of one.
fn half(x: &Array, at: usize) -> Array {
    let new_dtype = DType::F16;
    let pair = bytes(x, at, at + 2).expand_dims(-2);
    bind(BitcastConvertType { new_dtype }, &[&pair]).astype(DType::F32)
}

fn low(x: &Array) -> Array {
    x & 15u8
}

fn shifted(x: &Array, bits: u8) -> Array {
    let bits = Array::from_scalar(bits.into(), DType::U8, false);
    bind(Binary::ShiftRightLogical, &[x, &bits])
}

/// Both halves of each byte of a block, the low ones first.
fn nibbles(x: &Array) -> Array {
    concatenate(&[low(x), shifted(x, 4)], -1)
}

fn floats(x: &Array) -> Array {
    x.astype(DType::F32)
}

/// Axes `[.., a, b]` as one.
fn merged(x: &Array) -> Array {
    let mut shape = x.shape().to_vec();
    let last = shape.pop().unwrap_or(1);
    if let Some(n) = shape.last_mut() {
        *n *= last;
    }
    x.reshape(shape)
}

/// The last axis in groups of `n`.
fn grouped(x: &Array, n: usize) -> Array {
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last /= n;
    }
    shape.push(n);
    x.reshape(shape)
}

/// The 6-bit scales and minima of a Q4_K block, eight of each, from its twelve bytes.
fn six_bits(x: &Array) -> (Array, Array) {
    let [a, b, c] = [0, 4, 8].map(|i| bytes(x, i, i + 4));
    let high = |x: &Array| (shifted(x, 6)) * 16u8;
    let scales = concatenate(&[&a & 63u8, low(&c) | high(&a)], -1);
    let minima = concatenate(&[&b & 63u8, shifted(&c, 4) | high(&b)], -1);
    (floats(&scales), floats(&minima))
}

fn q4_k(x: &Array) -> Array {
    let (d, dmin) = (half(x, 0), half(x, 2));
    let (scales, minima) = six_bits(&bytes(x, 4, 16));
    let (scales, minima) = (d * scales, dmin * minima);
    // 32 bytes hold two blocks: their low halves and their high ones.
    let codes = nibbles(&grouped(&bytes(x, 16, 144), 32));
    let codes = merged(&codes);
    let codes = floats(&grouped(&codes, 32));
    merged(&(scales.expand_dims(-1) * codes - minima.expand_dims(-1)))
}

fn q6_k(x: &Array) -> Array {
    let d = half(x, 208);
    let scales = bind(
        BitcastConvertType {
            new_dtype: DType::I8,
        },
        &[&bytes(x, 192, 208)],
    );
    // Each half of the block: 64 bytes of low parts, 32 of high ones, for four runs of 32.
    let low_parts = grouped(&bytes(x, 0, 128), 64);
    let high_parts = grouped(&bytes(x, 128, 192), 32);
    let high = |bits: u8| (shifted(&high_parts, bits) & 3u8) * 16u8;
    let (first, second) = (bytes(&low_parts, 0, 32), bytes(&low_parts, 32, 64));
    let runs = [
        low(&first) | high(0),
        low(&second) | high(2),
        shifted(&first, 4) | high(4),
        shifted(&second, 4) | high(6),
    ];
    let codes = merged(&concatenate(&runs, -1));
    let codes = floats(&grouped(&codes, 16)) - 32.0;
    let scales = d * floats(&scales);
    merged(&(scales.expand_dims(-1) * codes))
}

/// The entries of a table.
fn look_up(table: &[f32], codes: &Array) -> Array {
    let table = Array::from(table.to_vec());
    table.take(&codes.astype(DType::I32), 0)
}

/// The scale of each scale of a whole array.
fn spread(absmax: &Array, nested: &Array) -> Array {
    let shape = absmax.shape();
    let lead = nested.ndim().saturating_sub(1);
    // The scales of one matrix, row after row, in blocks of 256.
    let rows: usize = shape.iter().skip(lead).product();
    let mut spread = nested.shape().to_vec();
    spread.push(256);
    let repeated = merged(&nested.expand_dims(-1).broadcast_to(spread));
    repeated.slice_in_dim(0, rows, -1).reshape(&shape)
}

/// Elements from their codes and the codes of their scales; `nested` is the scale of each scale.
pub(super) fn nf4(codes: &Array, absmax: &Array, nested: &Array, offset: &Array) -> Result<Array> {
    let offset = offset.broadcast_in_dim(absmax.shape(), (0..offset.ndim()).collect::<Dims>());
    let scales = look_up(&tables::dynamic(), absmax) * nested + offset;
    let pair = |x: Array| x.expand_dims(-1);
    let codes = merged(&concatenate(
        &[pair(shifted(codes, 4)), pair(low(codes))],
        -1,
    ));
    let numbers = grouped(&look_up(&tables::NF4, &codes), 64);
    merged(&(numbers * scales.expand_dims(-1))).ok().cloned()
}

impl Format {
    /// How many elements of the last axis belong together.
    pub fn block(self) -> usize {
        match self {
            Format::Int8 => 1,
            Format::Nf4 => 64,
            Format::Q4_0 | Format::Q4_1 | Format::Q8_0 => 32,
            Format::Q4K | Format::Q6K => 256,
        }
    }

    /// The size of a block of a GGUF format in bytes; `None` for the others.
    pub fn block_bytes(self) -> Option<usize> {
        match self {
            Format::Int8 | Format::Nf4 => None,
            Format::Q4_0 => Some(18),
            Format::Q4_1 => Some(20),
            Format::Q8_0 => Some(34),
            Format::Q4K => Some(144),
            Format::Q6K => Some(210),
        }
    }

    /// The names of the components of an array of shape `[.., n, m]`.
    ///
    /// `int8`: `codes i8[.., n, m]`, `absmax f32[.., n]`. `nf4`: `codes u8[.., n, m/2]` (the first of two elements in the high half of a
    /// byte), `absmax u8[.., n, m/64]`, `nested f32[.., ⌈n·m/64/256⌉]`, `offset f32[..]`. GGUF: `blocks u8[.., n, blocks, bytes]`.
    pub fn components(self) -> &'static [&'static str] {
        match self {
            Format::Int8 => &["codes", "absmax"],
            Format::Nf4 => &["codes", "absmax", "nested", "offset"],
            _ => &["blocks"],
        }
    }

    /// The shape of the array, from that of the first component.
    pub(super) fn shape(self, first: &[usize]) -> Dims {
        let mut shape = Dims::from_slice(first);
        match self {
            Format::Int8 => {}
            Format::Nf4 => {
                if let Some(n) = shape.last_mut() {
                    *n *= 2;
                }
            }
            _ => {
                shape.pop();
                if let Some(n) = shape.last_mut() {
                    *n *= self.block();
                }
            }
        }
        shape
    }

    pub(super) fn check(self, aval: &Aval) -> Result<()> {
        let fits = aval.shape.last().is_some_and(|n| n % self.block() == 0);
        let matrix = self != Format::Nf4 || aval.ndim() >= 2;
        if fits && matrix {
            return Ok(());
        }
        Err(match fits {
            _ if aval.ndim() == 0 => Error::shape(format!(
                "{self} splits the last axis into blocks: {aval} has no axis"
            )),
            true => Error::shape(format!("{self} holds matrices, not {aval}")),
            false => Error::shape(format!(
                "{self} has blocks of {} elements: {aval} has no last axis that is a multiple of it",
                self.block()
            )),
        })
    }

    pub(super) fn check_components(self, x: &[Aval]) -> Result<()> {
        let wanted: Option<Vec<Aval>> = x.first().and_then(|first| {
            let shape = self.shape(&first.shape);
            let (last, rows) = shape.split_last()?;
            let (n, lead) = match rows.split_last() {
                Some((n, lead)) => (*n, lead),
                None => (1, rows),
            };
            let with = |rest: &[usize], dtype| Aval::new([rows, rest].concat(), dtype);
            Some(match self {
                Format::Int8 => vec![with(&[*last], DType::I8), with(&[], DType::F32)],
                Format::Nf4 => {
                    let blocks = last / 64;
                    let nested = (n * blocks).div_ceil(256);
                    vec![
                        with(&[blocks * 32], DType::U8),
                        with(&[blocks], DType::U8),
                        Aval::new([lead, &[nested]].concat(), DType::F32),
                        Aval::new(lead, DType::F32),
                    ]
                }
                _ => vec![with(&[last / self.block(), self.block_bytes()?], DType::U8)],
            })
        });
        let same =
            |w: &Vec<Aval>| w.len() == x.len() && w.iter().zip(x).all(|(a, b)| a.same_type(b));
        if wanted.as_ref().is_some_and(same) {
            return Ok(());
        }
        if x.len() != self.components().len() {
            return Err(Error::argument(format!(
                "{self} has {} component(s), {}; {} were given",
                self.components().len(),
                self.components().join(", "),
                x.len()
            )));
        }
        let list = |x: &[Aval]| x.iter().map(Aval::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::shape(format!(
            "{self} has the components {} ({}), not ({})",
            self.components().join(", "),
            wanted.map(|w| list(&w)).unwrap_or_default(),
            list(x)
        )))
    }

    /// The array that the components stand for, in `f32`.
    pub(super) fn decode(self, x: &[Array]) -> Result<Array> {
        let missing = || Error::internal(format!("{self} lacks components"));
        let first = x.first().ok_or_else(missing)?;
        let y = match (self, x) {
            (Format::Int8, [codes, absmax]) => {
                // The order of the two products is the reference's.
                let scaled = floats(codes) * absmax.expand_dims(-1);
                scaled * Array::scalar(0.007_874_016f32)
            }
            (Format::Nf4, [codes, absmax, nested, offset]) => {
                nf4(codes, absmax, &spread(absmax, nested), offset)?
            }
            (Format::Q4_0, _) => {
                let codes = floats(&nibbles(&bytes(first, 2, 18))) - 8.0;
                merged(&(codes * half(first, 0)))
            }
            (Format::Q4_1, _) => {
                let codes = floats(&nibbles(&bytes(first, 4, 20)));
                merged(&(codes * half(first, 0) + half(first, 2)))
            }
            (Format::Q8_0, _) => {
                let new_dtype = DType::I8;
                let codes = bind(BitcastConvertType { new_dtype }, &[&bytes(first, 2, 34)]);
                merged(&(floats(&codes) * half(first, 0)))
            }
            (Format::Q4K, _) => merged(&q4_k(first)),
            (Format::Q6K, _) => merged(&q6_k(first)),
            _ => return Err(missing()),
        };
        y.ok().cloned()
    }
}
