//! Splitting work among threads.

use super::kernels::threads;
use std::sync::atomic::{AtomicBool, Ordering};

/// Run a program with the pool entered once for all of it: while it runs the other threads look for work instead of sleeping, since to
/// wake one takes as long as many a step. One program at a time has this; others, and programs within programs, share out their work
/// as they go.
pub(super) fn together<R: Send>(program: impl FnOnce() -> R + Send) -> R {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    /// Sets it when the program ends, by a panic too.
    struct Ends<'a>(&'a AtomicBool, bool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(self.1, Ordering::Release);
        }
    }
    let alone = threads() == 1 || rayon::current_thread_index().is_some();
    if alone || TAKEN.swap(true, Ordering::Acquire) {
        return program();
    }
    let _free = Ends(&TAKEN, false);
    let done = AtomicBool::new(false);
    let run = || {
        let _ends = Ends(&done, true);
        program()
    };
    rayon::join(run, || help(threads() - 1, &done)).0
}

/// So many threads take what work there is until all is done.
fn help(threads: usize, done: &AtomicBool) {
    /// How often a thread looks in vain before it lets others have the processor.
    const PATIENCE: usize = 2_000;
    let one = || {
        let mut idle = 0;
        while !done.load(Ordering::Acquire) {
            match rayon::yield_now() {
                Some(rayon::Yield::Executed) => idle = 0,
                _ if idle < PATIENCE => {
                    idle += 1;
                    std::hint::spin_loop();
                }
                _ => std::thread::yield_now(),
            }
        }
    };
    match threads {
        0 => {}
        1 => one(),
        n => {
            rayon::join(one, || help(n - 1, done));
        }
    }
}

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
