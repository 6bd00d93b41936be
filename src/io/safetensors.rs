//! Trees as [safetensors](https://huggingface.co/docs/safetensors), each leaf under its path.

use super::{from_bytes, read, to_bytes, write};
use crate::{
    array::{Array, DType, Dims},
    error::{Error, Result},
    tree::{self, PyTree},
};
use indexmap::IndexMap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{collections::HashMap, path::Path};

/// The format's name of an element type. It has none for `complex128`, which is kept as pairs of `f64` under a last axis.
fn format_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 | DType::C128 => Dtype::F64,
        DType::C64 => Dtype::C64,
    }
}

fn own_dtype(dtype: Dtype) -> Option<DType> {
    let all = DType::ALL.into_iter().filter(|d| *d != DType::C128);
    all.into_iter().find(|d| format_dtype(*d) == dtype)
}

fn malformed(e: impl std::fmt::Display) -> Error {
    Error::format(format!("no valid safetensors: {e}"))
}

/// A tree as the bytes of a safetensors file; see [`save_safetensors`].
pub fn safetensors_to_bytes<T: PyTree>(tree: &T, metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    arrays_to_bytes(tree::leaves_with_paths(tree), metadata)
}

fn arrays_to_bytes(
    arrays: impl IntoIterator<Item = (String, Array)>,
    metadata: &[(&str, &str)],
) -> Result<Vec<u8>> {
    let mut all: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = vec![];
    for (path, x) in arrays {
        if x.is_symbolic_zero() {
            continue;
        }
        let at = |e: Error| e.note(format!("at `{path}`"));
        let aval = x.aval().map_err(at)?;
        let mut shape = aval.shape.to_vec();
        if aval.dtype == DType::C128 {
            shape.push(2);
        }
        let bytes = to_bytes(&x).map_err(at)?;
        if all.iter().any(|(other, ..)| *other == path) {
            return Err(Error::tree(format!("two leaves have the path `{path}`")));
        }
        all.push((path, format_dtype(aval.dtype), shape, bytes));
    }
    let views = all
        .iter()
        .map(|(path, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            Ok((path, view.map_err(|e| Error::internal(e.to_string()))?))
        })
        .collect::<Result<Vec<_>>>()?;
    let own = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
    let metadata: HashMap<String, String> = metadata.iter().map(own).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    safetensors::serialize(views, metadata).map_err(|e| Error::internal(e.to_string()))
}

/// Every array of the bytes of a safetensors file under its name, in the order of the names.
///
/// An error for bytes that are no such file, and for element types that arrays do not have (8 bits and fewer).
pub fn safetensors_from_bytes(bytes: &[u8]) -> Result<IndexMap<String, Array>> {
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let mut tensors: Vec<(String, TensorView<'_>)> = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let array = |(name, view): (String, TensorView<'_>)| {
        let dtype = own_dtype(view.dtype()).ok_or_else(|| {
            Error::dtype(format!(
                "`{name}` holds {:?}, which arrays do not",
                view.dtype()
            ))
        })?;
        let shape = Dims::from_slice(view.shape());
        let x =
            from_bytes(dtype, shape, view.data()).map_err(|e| e.note(format!("in `{name}`")))?;
        Ok((name, x))
    };
    tensors.into_iter().map(array).collect()
}

/// Pairs of `f64` as `complex128`.
fn paired(x: &Array) -> Option<Array> {
    let a = x.aval().ok()?;
    let (last, shape) = a.shape.split_last()?;
    if a.dtype != DType::F64 || *last != 2 {
        return None;
    }
    from_bytes(DType::C128, Dims::from_slice(shape), &to_bytes(x).ok()?).ok()
}

/// A tree like `like` with the arrays that have its leaves' paths for names.
fn fill<T: PyTree>(mut found: IndexMap<String, Array>, like: &T) -> Result<T> {
    let (mut new, mut wrong) = (vec![], vec![]);
    for (path, old) in tree::leaves_with_paths(like) {
        if old.is_symbolic_zero() {
            new.push(old);
            continue;
        }
        let want = old.aval()?.strong();
        let Some(x) = found.shift_remove(&path) else {
            wrong.push(format!("`{path}` ({want}) is not there"));
            continue;
        };
        let x = match want.dtype {
            DType::C128 => paired(&x).unwrap_or(x),
            _ => x,
        };
        let have = x.aval()?;
        if !have.same_type(&want) {
            wrong.push(format!("`{path}` is {have}, not {want}"));
        }
        new.push(x);
    }
    for (name, x) in &found {
        wrong.push(format!("`{name}` ({}) has no place in the tree", x.aval()?));
    }
    if wrong.is_empty() {
        return tree::unflatten(like, new);
    }
    const SHOWN: usize = 12;
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Err(Error::format(format!(
        "the file does not fit the tree: {}",
        wrong.join("; ")
    )))
}

/// Write a tree: each leaf under its path, such as `.layers[0].weight`. Components of array-ish values are leaves.
///
/// A part of a tree ([`tree::partition`], [`crate::rules::adapters`]) makes a file of that part; symbolic zeros are left out.
/// Static fields are not written: [`load_safetensors`] takes them from a tree. `complex128` is written as pairs of `f64`.
///
/// An error for traced arrays and for what the operating system refuses; then no file appears, and one that was there stays.
///
/// ```
/// use quaxide::prelude::*;
/// let path = std::env::temp_dir().join(format!("quaxide-{}.safetensors", std::process::id()));
/// let layer = nn::Linear::new(3, 2, &random::key(0));
/// io::save_safetensors(&path, &layer).unwrap();
/// let other = nn::Linear::new(3, 2, &random::key(1));
/// let back = io::load_safetensors(&path, &other).unwrap();
/// assert_eq!(back.weight.to_vec::<f32>().unwrap(), layer.weight.to_vec::<f32>().unwrap());
/// # std::fs::remove_file(&path).unwrap();
/// ```
pub fn save_safetensors<T: PyTree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    write(path.as_ref(), &safetensors_to_bytes(tree, &[])?)
}

/// Read a tree like `like`: each leaf from under its path, in its shape and element type. Symbolic zeros in `like` stay.
///
/// An error that lists all of them for leaves that the file lacks, has in another type, or has too much; and for a file that is no
/// safetensors.
pub fn load_safetensors<T: PyTree>(path: impl AsRef<Path>, like: &T) -> Result<T> {
    fill(read_safetensors(path.as_ref())?, like)
        .map_err(|e| e.note(format!("in {}", path.as_ref().display())))
}

/// Write arrays under names of one's own: the inverse of [`read_safetensors`].
/// An error for a name that stands twice, and for an array that is no plain one.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (String, Array)>,
) -> Result<()> {
    write(path.as_ref(), &arrays_to_bytes(arrays, &[])?)
}

/// Read every array of a file under its name, in the order of the names: for files that others wrote.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<IndexMap<String, Array>> {
    let path = path.as_ref();
    safetensors_from_bytes(&read(path)?).map_err(|e| e.note(format!("in {}", path.display())))
}
