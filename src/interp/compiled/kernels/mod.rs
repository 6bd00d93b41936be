//! Loops over plain slices, the only place with `unsafe`: calls of code compiled for CPU features that were found at run time, and
//! matrix products on pointers.

pub(super) mod conv;
pub(super) mod elementwise;
pub(super) mod gemm;
pub(super) mod reduce;
pub(super) mod strided;
pub(super) mod tile;

use std::sync::LazyLock;

/// What the CPU can do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    /// What every CPU of the architecture can.
    Base,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl Level {
    /// What this CPU can do. `QUAXIDE_CPU=base` or `avx2` asks for less.
    pub(super) fn get() -> Level {
        static LEVEL: LazyLock<Level> = LazyLock::new(|| {
            let wanted = match std::env::var("QUAXIDE_CPU").as_deref() {
                Ok("base") => Level::Base,
                Ok("avx2") => Level::Avx2,
                _ => Level::Avx512,
            };
            wanted.min(found())
        });
        *LEVEL
    }
}

#[cfg(target_arch = "x86_64")]
fn found() -> Level {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Base,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn found() -> Level {
    Level::Base
}

/// How many threads a program may use: `QUAXIDE_THREADS`, or as many as the process may run on.
pub(super) fn threads() -> usize {
    static THREADS: LazyLock<usize> = LazyLock::new(|| {
        let asked = std::env::var("QUAXIDE_THREADS")
            .ok()
            .and_then(|n| n.parse().ok())
            .filter(|n| *n > 0);
        asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    });
    *THREADS
}

/// A function whose body is compiled for each [`Level`]: `fn name<T: Bound>(level; arguments) = body;`, where `body` is an
/// `#[inline(always)]` function of the same arguments.
macro_rules! levels {
    ($(#[$meta:meta])* fn $name:ident<$($G:ident: $bound:path),*>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident;) => {
        $(#[$meta])*
        pub(in crate::interp::compiled) fn $name<$($G: $bound),*>(level: $crate::interp::compiled::kernels::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2<$($G: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                fn avx512<$($G: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                match level {
                    // SAFETY: `Level::Avx512` is only made where the CPU was found to have these features.
                    $crate::interp::compiled::kernels::Level::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: `Level::Avx2` is only made where the CPU was found to have these features.
                    $crate::interp::compiled::kernels::Level::Avx2 => unsafe { avx2($($arg),*) },
                    $crate::interp::compiled::kernels::Level::Base => $body($($arg),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = level;
                $body($($arg),*)
            }
        }
    };
}
use levels;
