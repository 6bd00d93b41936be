//! The cost of dispatch: small programs on a value of each type, at once and under `jit`.
//!
//! `benches/peers/dispatch.py` runs this and Quax on the same programs and prints the ratios.

use criterion::{Criterion, criterion_group, criterion_main};
use quaxide::{
    prelude::*,
    rules::{
        Algorithm, Bcoo, Format, Prng, Quantised, Structured, Zero, interval, masked, named,
        quantity,
    },
};
use std::hint::black_box;

type Program = fn(&Array, &Array) -> Array;

fn numbers(shape: &[usize]) -> Array {
    random::normal(&random::key(0), (shape, DType::F32))
}

/// A name, a program, and its two operands. The first seven are those that Quax has a type for.
fn cases() -> Result<Vec<(&'static str, Program, Array, Array)>> {
    let (w, x) = (numbers(&[12, 10]), numbers(&[10]));
    let square = numbers(&[10, 10]);
    let product: Program = |w, x| w.dot(x);
    let energy: Program = |m, v| m * v.square();
    let lora = LoraArray::from_parts(w.clone(), numbers(&[12, 2]), numbers(&[2, 10]))?;
    let sparse = Bcoo::from_dense(&square.gt(1.0).select(&square, 0.0), 0)?;
    let band = Structured::tridiagonal(&numbers(&[9]), &x, &numbers(&[9]))?;
    let key = |seed| Array::from_value(Prng::new(seed, Algorithm::ThreeFry));
    let hidden = w.gt(0.5);
    Ok(vec![
        ("dense", product, w.clone(), x.clone()),
        ("lora", product, Array::from_value(lora), x.clone()),
        (
            "unitful",
            energy,
            quantity(x.clone(), "kg")?,
            quantity(x.clone(), "m s^-1")?,
        ),
        (
            "named",
            product,
            named(w.clone(), ["out", "in"])?,
            named(x.clone(), ["in"])?,
        ),
        ("sparse", |s, x| s * x, Array::from_value(sparse), square),
        (
            "zero",
            |z, x| z * x + x,
            Zero::new([10], DType::F32),
            x.clone(),
        ),
        ("tridiagonal", product, band.array(), x.clone()),
        (
            "prng",
            |a, b| Array::from(true).select(a, b),
            key(0),
            key(1),
        ),
        (
            "quantised",
            product,
            Array::from_value(Quantised::new(&w, Format::Int8)?),
            x.clone(),
        ),
        ("masked", product, masked(w.clone(), hidden)?, x.clone()),
        ("interval", product, interval(&w - 0.1, &w + 0.1)?, x),
    ])
}

fn dispatch(c: &mut Criterion) {
    for (name, f, a, b) in cases().expect("the operands fit") {
        let eager = quaxify(f);
        let _ = eager(&a, &b).unwrap_or_else(|e| panic!("{name}: {e}"));
        c.bench_function(&format!("quaxify {name}"), |bench| {
            bench.iter(|| eager(black_box(&a), &b));
        });
        let compiled = jit(quaxify(f));
        let _ = compiled(&a, &b).unwrap_or_else(|e| panic!("{name}: {e}"));
        c.bench_function(&format!("jit {name}"), |bench| {
            bench.iter(|| compiled(black_box(&a), &b));
        });
    }
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
