//! The norms of the rows of a low-rank update, `‖w + s·a·b‖`, which DoRA needs at every step: from `w`, `a` and `b`, without their sum.
//!
//! `cargo bench --bench dora_norm -- [--n 4096 --m 4096 --rank 16 --steps 30]` prints one line of `key=value` pairs: the median and the
//! least time of a step, what the peak of memory grew by while stepping, and the sum of the norms. `benches/peers/dora_norm.py` runs it
//! beside PEFT's implementation.

mod support;

use quaxide::prelude::*;
use std::{process::ExitCode, time::Instant};
use support::{Options, exit, status_mb};

/// The same numbers as the peer has: small, and of both signs.
fn ramp(shape: [usize; 2], step: f32, size: f32) -> Array {
    let count = shape[0] * shape[1];
    let numbers: Vec<f32> = (0..count)
        .map(|i| (i as f32 % 997.0 * step).sin() * size)
        .collect();
    Array::from(numbers).reshape(shape)
}

fn run(o: &Options) -> Result<()> {
    let get = |name: &str| o.size(name).max(1);
    let (n, m, rank) = (get("n"), get("m"), get("rank"));
    let scale = 16.0 / rank as f64;
    let w = ramp([n, m], 0.7, 0.02);
    let a = ramp([n, rank], 0.3, 0.02) * scale;
    let b = ramp([rank, m], 0.11, 0.02);
    let value = Array::from_value(LoraArray::from_parts(w, a, b)?);
    let norms = jit(quaxify(|w: &Array| w.square().sum(1).sqrt()));
    // What making the operands took is no part of it: the peak counts from here.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = status_mb("VmRSS").unwrap_or(0.0);
    let (mut times, mut last) = (vec![], Array::from(0f32));
    for _ in 0..=get("steps") {
        let start = Instant::now();
        last = norms(&value)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let peak = status_mb("VmHWM").unwrap_or(0.0);
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    let nth = |n: usize| times.get(n).copied().unwrap_or(f64::NAN);
    println!(
        "system=quaxide first_ms={first:.2} median_ms={:.3} min_ms={:.3} extra_mb={:.1} sum={:.4}",
        nth(times.len() / 2),
        nth(0),
        peak - before,
        last.sum(()).item::<f32>()?
    );
    Ok(())
}

fn main() -> ExitCode {
    let defaults = [("n", 4096), ("m", 4096), ("rank", 16), ("steps", 30)];
    let options = Options::parse(&defaults, &[]);
    exit(options.and_then(|o| run(&o).map_err(|e| e.to_string())))
}
