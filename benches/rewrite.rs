//! What planning costs, phase by phase: the e-graph is built, saturated, a plan is extracted; and what is left of all that when
//! the islands have been planned before.
//!
//! `cargo bench --bench rewrite`. A training step of one low-rank updated layer, the three projections of attention with their
//! gradients, and a training step of a transformer of 24 layers with seven such layers in each.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quaxide::{
    PyTree, nn,
    prelude::*,
    rules::algebra::{self, Phases},
};

fn zeros<const N: usize>(shape: [usize; N]) -> Array {
    Array::zeros(shape, DType::F32)
}

fn lora(n: usize, m: usize) -> Array {
    let parts = LoraArray::from_parts(zeros([n, m]), zeros([n, 8]), zeros([8, m]));
    Array::from_value(parts.expect("the shapes fit"))
}

/// A step of training: what a sum of squares has for gradients.
fn training<F>(f: F, weights: &Vec<Array>, x: &Array) -> Jaxpr
where
    F: Fn(&Vec<Array>, &Array) -> Array + Copy + Send + Sync,
{
    let loss = quaxify(move |w: &Vec<Array>, x: &Array| f(w, x).square().sum(()));
    make_jaxpr(value_and_grad(loss))(weights, x).expect("it is traced")
}

#[derive(Clone, PyTree)]
struct Block(Vec<Array>);

fn transformer(layers: usize, d: usize, tokens: usize) -> Jaxpr {
    let block = || {
        let square = (0..4).map(|_| lora(d, d));
        let wide = [lora(2 * d, d), lora(2 * d, d), lora(d, 2 * d)];
        Block(square.chain(wide).collect())
    };
    let blocks: Vec<Block> = (0..layers).map(|_| block()).collect();
    let loss = quaxify(|blocks: &Vec<Block>, x: &Array| {
        let linear = |w: &Array, h: &Array| h.dot(&w.t());
        let norm = |h: &Array| h / ((h * h).mean(()) + 1e-6).sqrt();
        let mut h = x.clone();
        for Block(w) in blocks {
            let n = norm(&h);
            let (q, k, v) = (linear(&w[0], &n), linear(&w[1], &n), linear(&w[2], &n));
            let seen = nn::softmax(&q.tanh().dot(&k.tanh().t()), -1).dot(&v).tanh();
            h += linear(&w[3], &seen);
            let n = norm(&h);
            let inner = linear(&w[4], &n).tanh() * linear(&w[5], &n);
            h = &h + linear(&w[6], &inner);
        }
        h.sum(())
    });
    make_jaxpr(value_and_grad(loss))(&blocks, &zeros([tokens, d])).expect("it is traced")
}

fn phases(c: &mut Criterion) {
    let (d, tokens) = (512, 64);
    let product = |w: &Vec<Array>, x: &Array| x.dot(&w[0].t());
    let attention = |w: &Vec<Array>, x: &Array| {
        let [q, k, v] = [0, 1, 2].map(|i| x.dot(&w[i].t()));
        q.tanh() * k.tanh() * v.tanh()
    };
    let x = zeros([tokens, d]);
    let weights: Vec<Array> = (0..3).map(|_| lora(d, d)).collect();
    let programs = [
        ("lora_train", training(product, &weights[..1].to_vec(), &x)),
        ("qkv", training(attention, &weights, &x)),
        ("transformer24", transformer(24, d, tokens)),
    ];
    for (name, program) in &programs {
        let phases = Phases::new(program).expect("it has islands");
        let built = phases.build();
        let saturated = phases.saturate(built.clone());
        let mut group = c.benchmark_group(*name);
        group.sample_size(20);
        group.bench_function("build", |b| b.iter(|| phases.build()));
        group.bench_function("saturate", |b| {
            b.iter_batched(
                || built.clone(),
                |g| phases.saturate(g),
                BatchSize::LargeInput,
            );
        });
        group.bench_function("extract", |b| b.iter(|| phases.extract(&saturated)));
        group.bench_function("all, nothing known", |b| {
            b.iter(|| {
                algebra::forget();
                algebra::rewritten(program)
            });
        });
        let _ = algebra::rewritten(program);
        group.bench_function("all, islands known", |b| {
            b.iter(|| algebra::rewritten(program))
        });
        group.finish();
    }
}

criterion_group!(benches, phases);
criterion_main!(benches);
