//! Arrays in NumPy's [npy format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

use super::{from_bytes, read, to_bytes, write};
use crate::{
    array::{Array, DType, Dims},
    error::{Error, Result},
};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy's code of an element type, without byte order. It has none for `bf16`.
fn code(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "b1",
        DType::I8 => "i1",
        DType::I16 => "i2",
        DType::I32 => "i4",
        DType::I64 => "i8",
        DType::U8 => "u1",
        DType::U16 => "u2",
        DType::U32 => "u4",
        DType::U64 => "u8",
        DType::F16 => "f2",
        DType::F32 => "f4",
        DType::F64 => "f8",
        DType::C64 => "c8",
        DType::C128 => "c16",
        DType::BF16 => return None,
    })
}

/// An array as the bytes of an npy file. An error for `bf16`, which NumPy does not have, and for a traced array.
pub fn npy_to_bytes(x: &Array) -> Result<Vec<u8>> {
    let aval = x.aval()?;
    let code = code(aval.dtype).ok_or_else(|| {
        Error::dtype(format!("npy: NumPy has no {}", aval.dtype)).note("convert it to f32")
    })?;
    let order = if aval.dtype.size() == 1 { '|' } else { '<' };
    let sizes: String = aval.shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header =
        format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The numbers begin at a multiple of 64 bytes; the header ends with a new line.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.extend(std::iter::repeat_n(
        ' ',
        unpadded.next_multiple_of(64) - unpadded,
    ));
    header.push('\n');
    let length = u16::try_from(header.len())
        .map_err(|_| Error::format("npy: an array with too many axes for its header"))?;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend(to_bytes(x)?);
    Ok(out)
}

fn malformed(what: &str) -> Error {
    Error::format(format!("no valid npy: {what}"))
}

/// What stands after `'name':` in the header.
fn entry<'h>(header: &'h str, name: &str) -> Result<&'h str> {
    let quoted = [format!("'{name}'"), format!("\"{name}\"")];
    let after = quoted.iter().find_map(|q| header.split_once(q.as_str()));
    let value = after.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    value
        .map(str::trim_start)
        .ok_or_else(|| malformed(&format!("the header lacks `{name}`")))
}

/// The array of the bytes of an npy file. An error for bytes that are no such file, or whose element type arrays do not have.
pub fn npy_from_bytes(bytes: &[u8]) -> Result<Array> {
    let short = || malformed("it ends too soon");
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| malformed("it does not begin as one"))?;
    let ([major, _], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (length, rest) = match major {
        1 => {
            let (n, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*n)), rest)
        }
        2 | 3 => {
            let (n, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (u32::from_le_bytes(*n) as usize, rest)
        }
        v => return Err(malformed(&format!("version {v} is unknown"))),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| malformed("the header is no text"))?;

    let descr = entry(header, "descr")?;
    let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let descr = quote
        .and_then(|q| descr.get(1..)?.split_once(q))
        .map(|(inner, _)| inner)
        .ok_or_else(|| malformed("the elements are structured, or not described"))?;
    let (big, name) = match descr.chars().next() {
        Some('<' | '|' | '=') => (false, descr.get(1..)),
        Some('>') => (true, descr.get(1..)),
        _ => (false, Some(descr)),
    };
    let dtype = DType::ALL
        .into_iter()
        .find(|d| code(*d).is_some() && code(*d) == name);
    let dtype = dtype.ok_or_else(|| {
        Error::dtype(format!("npy: elements `{descr}`, which arrays do not have"))
    })?;

    let order = entry(header, "fortran_order")?;
    let fortran = match (order.starts_with("True"), order.starts_with("False")) {
        (false, false) => return Err(malformed("`fortran_order` is neither True nor False")),
        (yes, _) => yes,
    };
    let shape = entry(header, "shape")?
        .strip_prefix('(')
        .and_then(|s| s.split_once(')'));
    let (shape, _) = shape.ok_or_else(|| malformed("`shape` is no tuple"))?;
    let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let mut shape = sizes
        .map(|s| {
            s.parse()
                .map_err(|_| malformed("`shape` holds something else than sizes"))
        })
        .collect::<Result<Dims>>()?;

    let expected = shape
        .iter()
        .try_fold(dtype.size(), |n, d| n.checked_mul(*d));
    if expected != Some(data.len()) {
        return Err(malformed(&format!(
            "{} bytes for {:?} elements of {dtype}",
            data.len(),
            &shape[..]
        )));
    }
    let part = if dtype.is_complex() {
        dtype.size() / 2
    } else {
        dtype.size()
    };
    let swapped: Vec<u8>;
    let data = if big {
        swapped = data
            .chunks(part)
            .flat_map(|n| n.iter().rev().copied())
            .collect();
        &swapped
    } else {
        data
    };
    if fortran {
        shape.reverse();
        return Ok(from_bytes(dtype, shape, data)?.t().ok()?.clone());
    }
    from_bytes(dtype, shape, data)
}

/// Write an array for `numpy.load`. An error for `bf16`, which NumPy does not have, for a traced array, and for what the operating
/// system refuses.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([[1f32, 2.0], [3.0, 4.0]]);
/// let bytes = io::npy_to_bytes(&x).unwrap();
/// let y = io::npy_from_bytes(&bytes).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
/// ```
pub fn save_npy(path: impl AsRef<Path>, x: &Array) -> Result<()> {
    write(path.as_ref(), &npy_to_bytes(x)?)
}

/// Read an array that `numpy.save` wrote, in either byte order and either order of axes.
pub fn load_npy(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    npy_from_bytes(&read(path)?).map_err(|e| e.note(format!("in {}", path.display())))
}
