//! Checks that hold for every differentiable function: derivatives against finite differences, batches against their examples.

use quaxide::{prelude::*, transform::by_path};

/// A number that looks random, from −1 to 1.
fn noise(i: usize) -> f64 {
    let x = (i as f64 * 12.9898 + 4.1414).sin() * 43758.5453;
    2.0 * (x - x.floor()) - 1.0
}

/// `f64` numbers from −1 to 1 that are the same every time, other ones for each seed.
pub fn noises(shape: &[usize], seed: usize) -> Array {
    let n = shape.iter().product();
    Array::new(
        shape,
        (0..n).map(|i| noise(i + 1000 * seed)).collect::<Vec<f64>>(),
    )
}

/// The sum of an array's elements, each with a weight of its own, real and imaginary parts alike.
fn weighted(y: &Array) -> Array {
    let part = |y: &Array, seed| (y * noises(&y.shape(), seed)).sum(());
    match y.dtype() {
        Ok(d) if d.is_complex() => part(&y.real(), 77) + part(&y.imag(), 78),
        _ => part(y, 77),
    }
}

fn number(x: Array) -> f64 {
    x.item().unwrap_or(f64::NAN)
}

type Loss<'a> = &'a (dyn Fn(&Vec<Array>) -> Array + Send + Sync);

fn check_loss(name: &str, loss: Loss<'_>, x: &Vec<Array>, order: usize) {
    let differentiable = |x: &Array| x.dtype().is_ok_and(|d| d == DType::F64);
    let direction = |seed: usize| -> Vec<Array> {
        let along = |(i, x): (usize, &Array)| match differentiable(x) {
            true => noises(&x.shape(), seed + i),
            false => Array::zeros_like(x),
        };
        x.iter().enumerate().map(along).collect()
    };
    let v = direction(3);
    let moved = |h: f64| -> f64 {
        let to = |(x, v): (&Array, &Array)| match differentiable(x) {
            true => x + v * h,
            false => x.clone(),
        };
        number(loss(&x.iter().zip(&v).map(to).collect()))
    };
    let slope = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
    // Two steps of central differences, extrapolated: the error is of fourth order.
    let expected = (4.0 * slope(5e-4) - slope(1e-3)) / 3.0;
    let f = |x: &Vec<Array>| loss(x);
    let close = |what: &str, found: f64| {
        let error = (found - expected).abs() / (1.0 + expected.abs());
        assert!(
            error < 1e-6,
            "{name}, order {order}, {what}: {found}, but differences give {expected}"
        );
    };
    let (_, forward) = jvp(f, (x,), (&v,)).unwrap_or_else(|e| panic!("{name}: jvp: {e}"));
    close("jvp", number(forward));
    let dot = |g: &[Array], v: &[Array]| {
        g.iter()
            .zip(v)
            .filter(|(g, _)| differentiable(g))
            .fold(Array::scalar(0.0f64), |sum, (g, v)| sum + (g * v).sum(()))
    };
    let g = grad(f)(x).unwrap_or_else(|e| panic!("{name}: grad: {e}"));
    close("grad", number(dot(&g, &v)));
    if order > 1 {
        let u = direction(9);
        let next = |x: &Vec<Array>| match grad(f)(x) {
            Ok(g) => dot(&g, &u),
            Err(e) => Array::error(e),
        };
        check_loss(name, &next, x, order - 1);
    }
}

/// Forward and reverse derivatives up to an order, by the `f64` arguments, against finite differences.
pub fn check_grads(
    name: &str,
    f: impl Fn(&[Array]) -> Array + Send + Sync,
    x: &[Array],
    order: usize,
) {
    check_loss(name, &|x: &Vec<Array>| weighted(&f(x)), &x.to_vec(), order);
}

/// A batch against its examples, whichever of the arguments are mapped, along their first axis or their last.
pub fn check_vmap(name: &str, f: impl Fn(&[Array]) -> Array + Send + Sync, x: &[Array]) {
    let f = &|x: &Vec<Array>| f(x);
    let examples: Vec<Vec<Array>> = (0..3)
        .map(|k| {
            let vary = |(i, x): (usize, &Array)| match x.dtype() {
                Ok(DType::F64) => x * (1.0 + 0.01 * k as f64 * noise(i)),
                _ => x.clone(),
            };
            x.iter().enumerate().map(vary).collect()
        })
        .collect();
    for mapped in 1..1usize << x.len() {
        for last in [false, true] {
            let is_mapped = |i: usize| mapped >> i & 1 == 1;
            let args: Vec<Array> = (0..x.len())
                .map(|i| {
                    if !is_mapped(i) {
                        return x[i].clone();
                    }
                    let each: Vec<&Array> = examples.iter().map(|e| &e[i]).collect();
                    numpy::stack(&each, if last { x[i].ndim() as i32 } else { 0 })
                })
                .collect();
            let axis = move |path: &str| -> Option<i32> {
                let i: usize = path.trim_matches(['[', ']']).parse().ok()?;
                (mapped >> i & 1 == 1).then_some(if last { -1 } else { 0 })
            };
            let batch = vmap(f).in_axes((by_path(axis),))(&args)
                .unwrap_or_else(|e| panic!("{name}: vmap: {e}"));
            for (k, example) in examples.iter().enumerate() {
                let one: Vec<Array> = (0..x.len())
                    .map(|i| if is_mapped(i) { &example[i] } else { &x[i] }.clone())
                    .collect();
                let expected = f(&one);
                let found = batch.slice_in_dim(k, k + 1, 0).squeeze(0);
                assert_eq!(
                    found.aval().unwrap(),
                    expected.aval().unwrap(),
                    "{name}, mapped {mapped:b}"
                );
                let gap = |part: fn(&Array) -> Array| {
                    let (a, b) = (part(&found), part(&expected));
                    (a.to_f64_vec().unwrap().iter())
                        .zip(b.to_f64_vec().unwrap())
                        .all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()))
                };
                assert!(
                    gap(Array::real) && gap(Array::imag),
                    "{name}, mapped {mapped:b}, example {k}: {found} for {expected}"
                );
            }
        }
    }
}
