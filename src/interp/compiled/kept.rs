//! Packed right operands of products that are kept between runs: those of weights that do not change.
//!
//! A buffer that a program is given again with the same storage is packed for good the second time. What is kept is freed when a
//! program is given another buffer for the first time after the storage is gone; it never takes more than [`MOST`] bytes.

use crate::array::{Buffer, Data};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How many bytes are kept at most.
const MOST: usize = 1 << 30;
/// Below this many elements packing is no work.
const SMALL: usize = 1 << 12;

/// The storage, by address, and how it is read: where it begins, sizes and steps.
type Key = (usize, usize, SmallVec<[isize; 12]>);

struct Entry {
    /// While this lives, no other storage can have the address.
    of: Weak<Data>,
    packed: Option<Arc<Data>>,
}

#[derive(Default)]
struct Kept {
    entries: FxHashMap<Key, Entry>,
    bytes: usize,
}

fn bytes(d: &Data) -> usize {
    d.len() * d.dtype().size()
}

impl Kept {
    /// Forget what belongs to storage that is gone.
    fn sweep(&mut self) {
        let bytes_of = &mut self.bytes;
        self.entries.retain(|_, e| {
            let lives = e.of.strong_count() > 0;
            if let (false, Some(p)) = (lives, &e.packed) {
                *bytes_of = bytes_of.saturating_sub(bytes(p));
            }
            lives
        });
    }
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// What is known of an operand.
pub(super) enum Packed {
    /// It is packed.
    Ready(Arc<Data>),
    /// It has been seen before: [`keep`] it when it is packed.
    Again(Key),
    /// It has not, or is not worth it.
    New,
}

/// Look for an operand that a program was given, read in this way.
pub(super) fn find(y: &Buffer, layout: impl IntoIterator<Item = isize>) -> Packed {
    if y.len() < SMALL {
        return Packed::New;
    }
    let key = (
        Arc::as_ptr(y.data()) as usize,
        y.offset(),
        layout.into_iter().collect(),
    );
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    match kept.entries.get(&key) {
        Some(e) if e.of.as_ptr() == Arc::as_ptr(y.data()) => match &e.packed {
            Some(p) => Packed::Ready(p.clone()),
            None => Packed::Again(key),
        },
        _ => {
            kept.sweep();
            let entry = Entry {
                of: Arc::downgrade(y.data()),
                packed: None,
            };
            kept.entries.insert(key, entry);
            Packed::New
        }
    }
}

/// Keep a packed operand, if there is room.
pub(super) fn keep(key: Key, packed: &Arc<Data>) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    let size = bytes(packed);
    if kept.bytes + size <= MOST
        && let Some(e) = kept.entries.get_mut(&key)
        && e.packed.is_none()
    {
        e.packed = Some(packed.clone());
        kept.bytes += size;
    }
}
