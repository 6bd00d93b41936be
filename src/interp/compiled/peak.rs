//! How fast the processor multiplies and adds, as a measure for everything else.

use super::{
    kernels::{
        gemm::{Matrix, pack, packed_len, times_packed},
        threads,
    },
    parallel,
};
use crate::error::Result;
use std::{sync::Mutex, time::Instant};

/// The size of a product whose operands, packed, stay in the first level of the cache.
const SIZE: [usize; 3] = [32, 32, 128];

/// The most additions and multiplications of `f32` in a nanosecond (GFLOP/s) that all threads together reach on operands that the first
/// level of the cache holds: the best of some tries, of a few hundredths of a second in all.
pub(crate) fn gflops() -> Result<f64> {
    let [m, n, k] = SIZE;
    let left = vec![1.0_f32; m * k];
    let right = vec![0.5_f32; k * n];
    let matrix = |storage, columns: usize| Matrix {
        storage,
        offset: 0,
        rows: columns as isize,
        columns: 1,
    };
    let mut packed = vec![0.0; packed_len::<f32>(k, n)];
    pack(matrix(&right, n), [k, n], &mut packed, 1)?;
    /// How many products each thread computes in a try: about a millisecond's.
    const CALLS: usize = 1000;
    const TRIES: usize = 12;
    let failed = Mutex::new(None);
    let run = |z: Vec<f32>| {
        let mut z = z;
        let all = (0..CALLS)
            .try_for_each(|_| times_packed(SIZE, matrix(&left, k), &packed, &mut z, n, false));
        if let (Err(e), Ok(mut failed)) = (all, failed.lock()) {
            *failed = Some(e);
        }
    };
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let results: Vec<Vec<f32>> = (0..threads()).map(|_| vec![0.0; m * n]).collect();
        best = parallel::together(|| {
            let start = Instant::now();
            parallel::each(results, &run);
            best.min(start.elapsed().as_secs_f64())
        });
    }
    if let Ok(Some(e)) = failed.into_inner() {
        return Err(e);
    }
    let flops = 2.0 * (m * n * k * CALLS * threads()) as f64;
    Ok(flops / best * 1e-9)
}
