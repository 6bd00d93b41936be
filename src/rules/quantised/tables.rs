//! Tables of numbers that codes stand for.

/// NormalFloat 4 (Dettmers et al., QLoRA, 2023, appendix E): quantiles of a normal distribution, with an exact zero.
pub(super) const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// `torch.linspace(0.1, 1, n)` in `f32`, which starts from both ends.
fn spaced(n: usize) -> Vec<f32> {
    let (a, b) = (0.1f32, 1f32);
    let step = (b - a) / (n - 1) as f32;
    (0..n)
        .map(|i| match i < n / 2 {
            true => a + step * i as f32,
            false => b - step * (n - 1 - i) as f32,
        })
        .collect()
}

/// The signed 8-bit map with a dynamic exponent (Dettmers, 8-Bit Approximations for Parallelism in Deep Learning, 2015), ascending: seven
/// decades, each with twice as many numbers as the one below it.
pub(super) fn dynamic() -> Vec<f32> {
    let mut all = vec![0.0, 1.0];
    for i in 0..7 {
        let bounds = spaced((1 << i) + 1);
        let decade = 10f64.powi(i - 6) as f32;
        for pair in bounds.windows(2) {
            if let [a, b] = pair {
                let x = decade * ((a + b) / 2.0);
                all.extend([x, -x]);
            }
        }
    }
    all.sort_by(f32::total_cmp);
    all
}

/// The number of the nearest entry, the first of two.
pub(super) fn nearest(table: &[f32], x: f32) -> u8 {
    let mut best = (f32::INFINITY, 0);
    for (i, t) in table.iter().enumerate() {
        let d = (x - t).abs();
        if d < best.0 {
            best = (d, i);
        }
    }
    best.1 as u8
}
