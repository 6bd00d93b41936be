//! What a call costs before any number is touched. Beside each figure: the target, and what peers take on the same work
//! (AMD Zen 5, µs).

use criterion::{Criterion, criterion_group, criterion_main};
use quaxide::{nn, prelude::*, random};
use std::hint::black_box;

fn sum(w: &Array, x: &Array) -> Array {
    w.dot(x)
}

fn linear(w: &Array, b: &Array, x: &Array) -> Array {
    w.dot(x) + b
}

/// A weight of 12 × 10 with a low-rank update, a bias and an input.
fn lora() -> (Array, Array, Array) {
    let [k1, k2, k3] = random::key(0).split();
    let part = |k: &random::Key, shape: [usize; 2]| random::normal(k, (shape, DType::F32));
    let w = LoraArray::from_parts(part(&k1, [12, 10]), part(&k2, [12, 2]), part(&k3, [2, 10]));
    let w = Array::from_value(w.expect("the shapes fit"));
    let b = Array::ones([12], DType::F32);
    (w, b, Array::ones([10], DType::F32))
}

fn overhead(c: &mut Criterion) {
    let (w, b, x) = lora();
    let dense = Array::ones([12, 10], DType::F32);

    // The target is 1 µs for each equation; `jax.make_jaxpr` takes 30.
    c.bench_function("trace 100 equations", |bench| {
        let f = make_jaxpr(|x: &Array| (0..100).fold(x.clone(), |x, _| x.sin()));
        bench.iter(|| f(black_box(&x)));
    });
    // Torch: 4.2 eager. `jax.jit(quaxify(..))`: 4.6. Target: 2.
    c.bench_function("jit a LoRA linear", |bench| {
        let f = jit(quaxify(linear));
        let _ = f(&w, &b, &x).expect("it runs");
        bench.iter(|| f(black_box(&w), &b, &x));
    });
    c.bench_function("jit a dense linear", |bench| {
        let f = jit(linear);
        let _ = f(&dense, &b, &x).expect("it runs");
        bench.iter(|| f(black_box(&dense), &b, &x));
    });
    // Quax: 289. Target: 50.
    c.bench_function("quaxify a LoRA linear", |bench| {
        let f = quaxify(linear);
        bench.iter(|| f(black_box(&w), &b, &x));
    });
    c.bench_function("quaxify a LoRA product", |bench| {
        let f = quaxify(sum);
        bench.iter(|| f(black_box(&w), &x));
    });
    c.bench_function("make_jaxpr of grad of quaxify", |bench| {
        let loss = |w: &Array, b: &Array, x: &Array| linear(w, b, x).sum(());
        let f = make_jaxpr(grad(quaxify(loss)));
        bench.iter(|| f(black_box(&w), &b, &x));
    });
    c.bench_function("eager add", |bench| bench.iter(|| black_box(&b) + &b));
    c.bench_function("eager matrix-vector product", |bench| {
        bench.iter(|| black_box(&dense).dot(&x));
    });
    let layer = nn::Linear::new(10, 12, &random::key(0));
    c.bench_function("jit a layer", |bench| {
        let f = jit(nn::Linear::call);
        let _ = f(&layer, &x).expect("it runs");
        bench.iter(|| f(black_box(&layer), &x));
    });
}

criterion_group!(benches, overhead);
criterion_main!(benches);
