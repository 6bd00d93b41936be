//! Quantised arrays: bit for bit those of the reference, planned around, and under low-rank adaptation.

mod support;

use quaxide::{
    prelude::*,
    rules::{Format, Quantised, quantity},
};
use support::golden::Golden;

const GGUF: [(Format, usize); 5] = [
    (Format::Q4_0, 18),
    (Format::Q4_1, 20),
    (Format::Q8_0, 34),
    (Format::Q4K, 144),
    (Format::Q6K, 210),
];

const ALL: [Format; 7] = [
    Format::Int8,
    Format::Nf4,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q8_0,
    Format::Q4K,
    Format::Q6K,
];

fn value(w: &Array, format: Format) -> Array {
    Array::from_value(Quantised::new(w, format).unwrap())
}

fn bits(x: &Array) -> Vec<u32> {
    let x = x.to_vec::<f32>().unwrap();
    // The reference's zeros have signs of their own.
    x.into_iter().map(|x| (x + 0.0).to_bits()).collect()
}

fn normal(seed: u64, shape: &[usize]) -> Array {
    random::normal(&random::key(seed), shape)
}

fn close(a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.aval().unwrap().shape, b.aval().unwrap().shape);
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    let scale = b.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let worst = a
        .iter()
        .zip(&b)
        .fold(0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst <= tolerance * scale, "{worst:e} of {scale:e}");
}

#[test]
fn blocks_are_those_of_ggml() {
    let golden = Golden::open("quantised");
    let x = golden.get("x");
    for (format, size) in GGUF {
        let q = Quantised::new(&x, format).unwrap();
        let bytes = q.components()[0].to_vec::<u8>().unwrap();
        let want = golden
            .get(&format!("{format}.blocks"))
            .to_vec::<u8>()
            .unwrap();
        for (i, (a, b)) in bytes.chunks(size).zip(want.chunks(size)).enumerate() {
            assert_eq!(a, b, "{format}, block {i}");
        }
        assert_eq!(bytes.len(), want.len());
        let values = Array::from_value(q).materialise().unwrap();
        assert_eq!(
            bits(&values),
            bits(&golden.get(&format!("{format}.values"))),
            "{format}"
        );
        let read = Quantised::from_gguf(format, [6, 512], &want).unwrap();
        let again = Array::from_value(read).materialise().unwrap();
        assert_eq!(bits(&again), bits(&values));
    }
}

#[test]
fn codes_are_those_of_bitsandbytes() {
    let golden = Golden::open("quantised");
    let x = golden.get("x");
    for (format, names) in [
        (Format::Int8, &["codes", "absmax"][..]),
        (Format::Nf4, &["codes", "absmax", "nested", "offset"]),
    ] {
        let q = Quantised::new(&x, format).unwrap();
        for (name, got) in names.iter().zip(q.components()) {
            let want = golden.get(&format!("{format}.{name}"));
            assert_eq!(
                got.to_f64_vec().unwrap(),
                want.to_f64_vec().unwrap(),
                "{format}.{name}"
            );
        }
        let values = Array::from_value(q).materialise().unwrap();
        assert_eq!(
            bits(&values),
            bits(&golden.get(&format!("{format}.values"))),
            "{format}"
        );
    }
}

/// The bounds that `Format` states.
#[test]
fn errors_are_within_bounds() {
    let x = normal(1, &[64, 512]);
    for (format, block, bound) in [
        (Format::Int8, 512, 1.0 / 254.0 + 1e-3),
        (Format::Nf4, 64, 1.0 / 6.0),
        (Format::Q4_0, 32, 1.0 / 7.9),
        (Format::Q4_1, 32, 2.0 / 29.0),
        (Format::Q8_0, 32, 1.0 / 254.0 + 1e-3),
        (Format::Q4K, 32, 0.1),
        (Format::Q6K, 16, 0.04),
    ] {
        let y = value(&x, format).materialise().unwrap();
        let (x, y) = (x.to_f64_vec().unwrap(), y.to_f64_vec().unwrap());
        let mut square = 0.0;
        for (x, y) in x.chunks(block).zip(y.chunks(block)) {
            let most = x.iter().fold(0f64, |m, x| m.max(x.abs()));
            for (x, y) in x.iter().zip(y) {
                assert!(
                    (x - y).abs() <= bound * most,
                    "{format}: {x} became {y}, of {most}"
                );
                square += (x - y).powi(2);
            }
        }
        let rms = (square / x.len() as f64).sqrt();
        let limit = match format {
            Format::Int8 | Format::Q8_0 => 0.008,
            Format::Q6K => 0.02,
            _ => 0.12,
        };
        assert!(rms < limit, "{format}: {rms}");
    }
}

#[test]
fn programs_are_planned_around_the_definition() {
    let w = normal(2, &[48, 512]);
    let x = normal(3, &[512]);
    let xs = normal(4, &[512, 5]);
    let back = normal(5, &[7, 48]);
    for format in ALL {
        let q = value(&w, format);
        let dense = q.materialise().unwrap();
        type Program = fn(&Array, &Array) -> Array;
        let programs: [(Program, &Array); 5] = [
            (|w, x| w.dot(x), &x),
            (|w, x| w.dot(x).tanh().sum(0), &xs),
            (|w, x| x.dot(w), &back),
            (|w, x| w.t().dot(&x.t()), &back),
            (|w, x| w.index(Array::from([3i32, 40, 3])).dot(x), &x),
        ];
        for (f, x) in programs {
            let want = f(&dense, x);
            close(&quaxify(f)(&q, x).unwrap(), &want, 1e-5);
            close(&jit(quaxify(f))(&q, x).unwrap(), &want, 1e-5);
            let total = |w: &Array, x: &Array| f(w, x).square().sum(());
            let by_x = |x: &Array, w: &Array| total(w, x);
            close(
                &grad(quaxify(by_x))(x, &q).unwrap(),
                &grad(by_x)(x, &dense).unwrap(),
                1e-4,
            );
            close(
                &quaxify(grad(total))(&q, x).unwrap(),
                &grad(total)(&dense, x).unwrap(),
                1e-4,
            );
        }
    }
    let stacked = normal(6, &[3, 8, 256]);
    for format in ALL {
        let q = value(&stacked, format);
        let dense = q.materialise().unwrap();
        let x = normal(7, &[256]);
        let f = |w: &Array, x: &Array| w.dot(x);
        let want = f(&dense, &x);
        close(
            &vmap(quaxify(f)).in_axes((0, None))(&q, &x).unwrap(),
            &want,
            1e-5,
        );
        close(
            &quaxify(vmap(f).in_axes((0, None)))(&q, &x).unwrap(),
            &want,
            1e-5,
        );
        let layers =
            |w: &Array, x: &Array| scan(|x: &Array, w: &Array| (x + w.dot(x).sum(()), ()), x, w);
        let (got, ()) = quaxify(layers)(&q, &x).unwrap();
        close(&got, &layers(&dense, &x).unwrap().0, 1e-4);
    }
}

/// Nothing is written for the pair: QLoRA.
#[test]
fn low_rank_adaptation_of_a_quantised_weight() {
    let (w, x) = (normal(8, &[32, 256]), normal(9, &[256]));
    let (a, b) = (normal(10, &[32, 4]), normal(11, &[4, 256]) * 0.1);
    for format in ALL {
        let q = value(&w, format);
        let dense = q.materialise().unwrap();
        let lora = |w: &Array| {
            Array::from_value(LoraArray::from_parts(w.clone(), a.clone(), b.clone()).unwrap())
        };
        let f = |w: &Array, x: &Array| w.dot(x).tanh().sum(());
        let whole = &dense + a.dot(&b);
        let got = quaxify(f)(&lora(&q), &x).unwrap();
        close(&got, &f(&whole, &x), 1e-4);
        // The adapter is trained, the base is not.
        let g = grad(quaxify(f))(&lora(&q), &x).unwrap();
        let want = grad(quaxify(f))(&lora(&dense), &x).unwrap();
        let (g, want) = (
            g.value::<LoraArray>().unwrap(),
            want.value::<LoraArray>().unwrap(),
        );
        close(&g.a, &want.a, 1e-4);
        close(&g.b, &want.b, 1e-4);
        let base = tree::leaves(&g.w);
        assert!(
            base.iter().all(|x| x.is_symbolic_zero()),
            "{format}: {base:?}"
        );
    }
    let layer = nn::Linear::new(64, 8, &random::key(1));
    let config = LoraConfig::rank(2);
    let layer = nn::Linear {
        weight: value(&layer.weight, Format::Nf4),
        ..layer
    };
    let weight = LoraArray::new(&layer.weight, &config, &random::key(2)).unwrap();
    let layer = nn::Linear {
        weight: Array::from_value(weight),
        ..layer
    };
    let y = quaxify(nn::Linear::call)(&layer, &normal(1, &[64])).unwrap();
    assert_eq!(y.shape(), [8]);
}

/// A large weight is taken in by rows: no step of the plan holds it unpacked.
#[test]
fn large_weights_are_never_unpacked_whole() {
    let (n, m) = (768, 768);
    let w = normal(12, &[n, m]);
    let x = normal(13, &[m, 3]);
    let (a, b) = (normal(14, &[n, 2]), normal(15, &[2, m]));
    for format in ALL {
        let q = value(&w, format);
        let dense = q.materialise().unwrap();
        let lora = LoraArray::from_parts(q.clone(), a.clone(), b.clone()).unwrap();
        let lora = Array::from_value(lora);
        let f = |w: &Array, x: &Array| w.dot(x);
        let loss = |x: &Array, w: &Array| w.dot(x).tanh().sum(());
        for stages in [
            quaxify(f).stages((&q, &x)).unwrap(),
            quaxify(f).stages((&lora, &x)).unwrap(),
            quaxify(grad(loss)).stages((&x, &q)).unwrap(),
        ] {
            let most = largest(&stages.rewritten);
            assert!(
                most <= n * m / 4,
                "{format}: {most} elements\n{}",
                stages.rewritten
            );
        }
        close(&quaxify(f)(&q, &x).unwrap(), &dense.dot(&x), 1e-4);
        let want = dense.dot(&x) + a.dot(&b.dot(&x));
        close(&quaxify(f)(&lora, &x).unwrap(), &want, 1e-4);
        let g = quaxify(grad(loss))(&x, &q).unwrap();
        close(&g, &grad(loss)(&x, &dense).unwrap(), 1e-4);
    }
}

/// The number of floats in the largest result of a program, at any depth.
fn largest(program: &quaxide::Jaxpr) -> usize {
    let mut most = 0;
    for e in program.eqns() {
        for v in &e.outputs {
            let a = program.aval(*v);
            if a.dtype.is_float() {
                most = most.max(a.size());
            }
        }
        if let Some(inner) = e.op.inner() {
            for p in inner.programs() {
                most = most.max(largest(p));
            }
        }
    }
    most
}

#[test]
fn values_nest_and_convert() {
    let w = normal(16, &[4, 64]);
    let q = Quantised::new(&w, Format::Q8_0).unwrap();
    let metres = quantity(Array::from_value(q.clone()), "m").unwrap();
    let y = quaxify(|w: &Array| w.sum(1))(&metres).unwrap();
    assert_eq!(y.describe(), "unitful[f32[4], m]");
    let half = Array::from_value(q.clone().with_dtype(DType::BF16).unwrap());
    assert_eq!(half.describe(), "quantised[bf16[4,64], q8_0]");
    let y = quaxify(|w: &Array| w.sum(1))(&half).unwrap();
    assert_eq!(y.dtype().unwrap(), DType::BF16);
    assert!(q.with_dtype(DType::I32).is_err());
    let g = grad(quaxify(|w: &Array| w.square().sum(())))(&Array::from_value(
        Quantised::new(&w, Format::Int8).unwrap(),
    ))
    .unwrap();
    // The scales of a format that has floating-point ones are differentiable.
    let scales = &g.value::<Quantised>().unwrap().components()[1];
    assert!(scales.to_f64_vec().unwrap().iter().all(|x| *x > 0.0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let w = normal(17, &[4, 64]);
    for (x, part) in [
        (normal(1, &[4, 100]), "multiple"),
        (Array::ones([4, 64], DType::I32), "floats"),
        (Array::full([4, 256], f32::NAN, DType::F32), "NaN"),
        (Array::scalar(1f32), "last axis"),
    ] {
        let e = Quantised::new(&x, Format::Q4K).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
    assert!(
        Quantised::new(&normal(1, &[64]), Format::Nf4)
            .unwrap_err()
            .message()
            .contains("matrices")
    );
    assert!(
        Quantised::from_gguf(Format::Q4_0, [2, 64], &[0; 71])
            .unwrap_err()
            .message()
            .contains("72 bytes, 71")
    );
    assert!(Quantised::from_gguf(Format::Int8, [2, 64], &[0; 128]).is_err());
    let q = Quantised::new(&w, Format::Int8).unwrap();
    let (codes, absmax) = (&q.components()[0], &q.components()[1]);
    for wrong in [vec![], vec![codes.clone()]] {
        let n = wrong.len();
        let e = Quantised::from_components(Format::Int8, wrong).unwrap_err();
        let expected = format!("int8 has 2 component(s), codes, absmax; {n} were given");
        assert!(e.message().starts_with(&expected), "{e}");
    }
    for wrong in [
        vec![codes.clone(), Array::ones([5], DType::F32)],
        vec![Array::ones([4, 64], DType::U8), absmax.clone()],
    ] {
        let e = Quantised::from_components(Format::Int8, wrong).unwrap_err();
        assert!(
            e.message()
                .starts_with("int8 has the components codes, absmax"),
            "{e}"
        );
    }
    let traced = jit(|w: &Array| Quantised::new(w, Format::Q8_0).map(Array::from_value))(&w);
    assert!(traced.is_err());
    // Empty arrays are fine.
    let none = Quantised::new(&Array::zeros([0, 64], DType::F32), Format::Q4_1).unwrap();
    assert_eq!(
        Array::from_value(none).materialise().unwrap().shape(),
        [0, 64]
    );
}

/// An embedding's look-up: the rows that are asked for are decoded, and no others.
#[test]
fn rows_are_decoded_alone() {
    let w = random::normal(&random::key(3), [128, 512]);
    let places = Array::from([[3i32, 127], [0, 3]]);
    for format in [
        Format::Int8,
        Format::Nf4,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q8_0,
        Format::Q4K,
        Format::Q6K,
    ] {
        let q = Array::from_value(Quantised::new(&w, format).unwrap());
        let dense = q.materialise().unwrap();
        let picks: [fn(&Array, &Array) -> Array; 5] = [
            |w, i| w.take(i, 0),
            |w, _| w.index(7),
            |w, _| w.slice_in_dim(2, 20, 0),
            |w, i| {
                quaxide::lax::dynamic_slice(w, &[&i.index((0, 0)), &Array::scalar(0i32)], [4, 512])
            },
            // Outside: NaN, as of a plain array.
            |w, i| w.take(&(i + 10), 0),
        ];
        for pick in picks {
            let got = quaxify(pick)(&q, &places).unwrap();
            let want = pick(&dense, &places);
            let bits = |x: &Array| {
                let all = x.to_vec::<f32>().unwrap().into_iter();
                all.map(|x| if x.is_nan() { 0 } else { x.to_bits() })
                    .collect::<Vec<_>>()
            };
            assert_eq!(got.shape(), want.shape());
            assert!(bits(&got) == bits(&want), "{format}");
            let program = quaxify(pick).stages((&q, &places)).unwrap().rewritten;
            assert!(
                !program.to_string().contains("f32[128,512]"),
                "{format}\n{program}"
            );
        }
    }
    // As a derivative by what scales the elements.
    let q = Array::from_value(Quantised::new(&w, Format::Nf4).unwrap());
    let loss = |w: &Array, i: &Array| w.take(i, 0).square().sum(());
    let g = grad(quaxify(loss))(&q, &places).unwrap();
    let plain = |w: &Array, i: &Array| Ok::<_, Error>(loss(&w.materialise()?, i));
    let want = grad(plain)(&q, &places).unwrap();
    for (a, b) in tree::leaves(&g).iter().zip(tree::leaves(&want)) {
        if a.dtype().unwrap().is_inexact() {
            assert!(a.allclose(&b, 1e-3, 1e-3, false).item::<bool>().unwrap());
        }
    }
    // Adapted, as in QLoRA.
    let lora = LoraArray::new(&q, &LoraConfig::rank(2), &random::key(4)).unwrap();
    let y =
        quaxify(|w: &Array, i: &Array| w.take(i, 0))(&Array::from_value(lora), &places).unwrap();
    let want = q.materialise().unwrap().take(&places, 0);
    assert!(y.allclose(&want, 1e-5, 1e-5, false).item::<bool>().unwrap());
}
