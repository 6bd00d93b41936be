//! Splitting work among threads.

use super::kernels::threads;

/// Run `f` on `items` at once, in up to as many threads as the program may use.
pub(super) fn each<T: Send>(mut items: Vec<T>, f: &(dyn Fn(T) + Sync)) {
    if items.len() > 1 {
        let others = items.split_off(items.len() / 2);
        rayon::join(|| each(items, f), || each(others, f));
    } else {
        items.into_iter().for_each(f);
    }
}

/// Into how many parts to split work of so many nanoseconds: waking a thread costs a few thousand.
pub(super) fn parts(nanoseconds: f64) -> usize {
    const WORTH: f64 = 30_000.0;
    let parts = (nanoseconds / WORTH) as usize;
    parts.clamp(1, threads())
}
