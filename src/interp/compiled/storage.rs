//! Storage that is used again: pages that were touched before are many times faster than fresh ones.

use crate::{
    array::{Aval, Buffer, DType, Data, Stored, dtype::with_dtype},
    error::Result,
};
use rustc_hash::FxHashMap;
use std::{cell::RefCell, sync::Arc};

/// Storage that nobody uses, by element type and length.
#[derive(Default)]
pub(super) struct Pool(FxHashMap<(DType, usize), Vec<Arc<Data>>>);

impl Pool {
    /// Storage of `n` elements of any value, which nobody else holds.
    pub(super) fn take(&mut self, dtype: DType, n: usize) -> Result<Arc<Data>> {
        if let Some(data) = self.0.get_mut(&(dtype, n)).and_then(Vec::pop) {
            return Ok(data);
        }
        Ok(Arc::new(with_dtype!(dtype, T => T::data(zeros::<T>(n)?))))
    }

    /// Storage for an abstract value.
    pub(super) fn take_for(&mut self, aval: &Aval) -> Result<Arc<Data>> {
        self.take(aval.dtype, aval.size())
    }

    /// Give a buffer up; its storage is kept if nobody else holds it.
    pub(super) fn give(&mut self, buffer: Buffer) {
        self.put(buffer.into_data());
    }

    /// The same for bare storage.
    pub(super) fn put(&mut self, mut data: Arc<Data>) {
        if Arc::get_mut(&mut data).is_some() && !data.is_empty() {
            let key = (data.dtype(), data.len());
            self.0.entry(key).or_default().push(data);
        }
    }
}

/// Zeros, which the system gives without writing them; an error where they do not fit in memory.
pub(super) fn zeros<T: Stored>(n: usize) -> Result<Vec<T>> {
    const LARGE: usize = 1 << 26;
    if n >= LARGE {
        drop(crate::array::buffer::try_vec::<T>(n)?);
    }
    Ok(vec![T::ZERO; n])
}

/// The number of elements of a tile: intermediate values of a fused chain stay in the first two levels of cache.
pub(super) const TILE: usize = 2048;

thread_local! {
    static REGISTERS: RefCell<FxHashMap<DType, Vec<Data>>> = RefCell::default();
}

/// A tile of this thread's, of at least `n` elements. `None` where there is no memory for it.
pub(super) fn register(dtype: DType, n: usize) -> Option<Data> {
    let held = REGISTERS.with_borrow_mut(|r| r.get_mut(&dtype).and_then(Vec::pop));
    match held {
        Some(data) if data.len() >= n => Some(data),
        _ => with_dtype!(dtype, T => zeros::<T>(n.max(TILE)).ok().map(T::data)),
    }
}

/// Give a tile back.
pub(super) fn give_register(data: Data) {
    REGISTERS.with_borrow_mut(|r| r.entry(data.dtype()).or_default().push(data));
}
