//! Trees and arrays in files: safetensors, and NumPy's npy.
//!
//! Nothing is ever half-written: a file appears under its name once all of it is on the disk. What is read may come from anywhere:
//! a truncated, malformed or hostile file is an error.

mod npy;
mod safetensors;

pub use npy::{load_npy, npy_from_bytes, npy_to_bytes, save_npy};
pub use safetensors::{
    load_safetensors, read_safetensors, safetensors_from_bytes, safetensors_to_bytes,
    save_safetensors, write_safetensors,
};

use crate::{
    array::{Array, Buffer, DType, Dims, Element, Stored},
    error::{Error, ErrorKind, Result},
};
use half::{bf16, f16};
use num_complex::Complex;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

fn io_error(path: &Path, e: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| io_error(path, &e))
}

/// Write a file under another name in the same directory, then rename it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::argument(format!(
            "`{}` does not name a file",
            path.display()
        )));
    };
    let mut temporary = PathBuf::from(path);
    temporary.set_file_name(format!(
        ".{}.{}.{}",
        name.to_string_lossy(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        // It may not exist; then there is nothing to clear away.
        let _ = fs::remove_file(&temporary);
        io_error(path, &e)
    })
}

/// A number as bytes, the least significant first.
trait Bytes: Stored {
    /// Its bytes.
    fn put(self, out: &mut Vec<u8>);
    /// From exactly its number of bytes; `None` where no number has them.
    fn take(bytes: &[u8]) -> Option<Self>;
}

macro_rules! bytes {
    ($($T:ty)*) => {$(
        impl Bytes for $T {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &[u8]) -> Option<Self> {
                Some(<$T>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}
bytes!(i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);

impl Bytes for bool {
    fn put(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
    fn take(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

macro_rules! pairs {
    ($($T:ty)*) => {$(
        impl Bytes for Complex<$T> {
            fn put(self, out: &mut Vec<u8>) {
                self.re.put(out);
                self.im.put(out);
            }
            fn take(bytes: &[u8]) -> Option<Self> {
                let (re, im) = bytes.split_at_checked(bytes.len() / 2)?;
                Some(Complex::new(<$T>::take(re)?, <$T>::take(im)?))
            }
        }
    )*};
}
pairs!(f32 f64);

/// Calls a generic expression with the type of an element type.
macro_rules! typed {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::Bool => {
                type $T = bool;
                $body
            }
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::I16 => {
                type $T = i16;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::U16 => {
                type $T = u16;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
            DType::U64 => {
                type $T = u64;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
            DType::BF16 => {
                type $T = bf16;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            DType::C64 => {
                type $T = Complex<f32>;
                $body
            }
            DType::C128 => {
                type $T = Complex<f64>;
                $body
            }
        }
    };
}

/// The elements in row-major order, the least significant byte of each first.
fn to_bytes(x: &Array) -> Result<Vec<u8>> {
    let dtype = x.dtype()?;
    typed!(dtype, T => {
        let elements = x.to_vec::<T>()?;
        let mut out = Vec::with_capacity(elements.len() * dtype.size());
        for x in elements {
            x.put(&mut out);
        }
        Ok(out)
    })
}

/// An array from what [`to_bytes`] gives. An error if the bytes do not fill the shape, or are no such numbers.
fn from_bytes(dtype: DType, shape: Dims, bytes: &[u8]) -> Result<Array> {
    typed!(dtype, T => {
        let numbers = bytes.chunks_exact(dtype.size()).map(<T as Bytes>::take);
        let elements = numbers.collect::<Option<Vec<T>>>().ok_or_else(|| {
            Error::format(format!("the bytes are not of {}", <T as Element>::DTYPE))
        })?;
        if elements.len() * dtype.size() != bytes.len() {
            return Err(Error::format(format!("{} bytes are no whole number of {dtype}", bytes.len())));
        }
        Ok(Array::from_buffer(Buffer::new(shape, elements)).ok()?.clone())
    })
}
