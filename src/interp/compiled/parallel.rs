//! Splitting work among threads.

use super::kernels::threads;
use std::sync::atomic::{AtomicBool, Ordering};

/// Run `f` on `items` at once, in up to as many threads as the program may use.
pub(super) fn each<T: Send>(mut items: Vec<T>, f: &(dyn Fn(T) + Sync)) {
    if items.len() > 1 {
        let others = items.split_off(items.len() / 2);
        rayon::join(|| each(items, f), || each(others, f));
    } else {
        items.into_iter().for_each(f);
    }
}

/// As [`each`], in so many parts of about the same number of items, in order.
pub(super) fn in_parts<T: Send>(items: Vec<T>, parts: usize, f: &(dyn Fn(T) + Sync)) {
    let size = items.len().div_ceil(parts.max(1)).max(1);
    let mut items = items.into_iter();
    let parts = std::iter::from_fn(|| {
        let part: Vec<T> = items.by_ref().take(size).collect();
        (!part.is_empty()).then_some(part)
    });
    each(parts.collect(), &|part: Vec<T>| {
        part.into_iter().for_each(f)
    });
}

/// As [`each`]; `None` where `f` gives that for one of them.
pub(super) fn all<T: Send>(items: Vec<T>, f: &(dyn Fn(T) -> Option<()> + Sync)) -> Option<()> {
    let failed = AtomicBool::new(false);
    each(items, &|item| {
        if f(item).is_none() {
            failed.store(true, Ordering::Relaxed);
        }
    });
    (!failed.into_inner()).then_some(())
}

/// Into how many parts to split work of so many nanoseconds: waking a thread costs a few thousand.
pub(super) fn parts(nanoseconds: f64) -> usize {
    const WORTH: f64 = 30_000.0;
    let parts = (nanoseconds / WORTH) as usize;
    parts.clamp(1, threads())
}
