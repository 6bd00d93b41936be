//! Keys as a type: JAX's numbers for each algorithm, and no arithmetic.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{Algorithm, Prng, check_key_reuse},
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
use rng::Rng;

const ALL: [Algorithm; 3] = [Algorithm::ThreeFry, Algorithm::Rbg, Algorithm::Philox];

fn words(x: &Array) -> Vec<u32> {
    match x.dtype().unwrap() {
        DType::F32 => x
            .to_vec::<f32>()
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect(),
        _ => x.to_vec::<u32>().unwrap(),
    }
}

#[test]
fn numbers_are_those_of_jax() {
    let golden = include_str!("golden/prng.txt");
    let mut checked = 0;
    for line in golden.lines() {
        let mut parts = line.split(' ');
        let (name, what) = (parts.next().unwrap(), parts.next().unwrap());
        let want: Vec<u32> = parts.map(|x| x.parse().unwrap()).collect();
        let algorithm = *ALL.iter().find(|a| a.to_string() == name).unwrap();
        let key = Prng::new(7, algorithm);
        let got = match what {
            "key" => key.words().clone(),
            "split" => key.split(3).unwrap().words().clone(),
            "split_2x2" => key.split([2, 2]).unwrap().words().clone(),
            "fold_in" => key.fold_in(5).unwrap().words().clone(),
            "bits" => key.bits(5, DType::U32).unwrap(),
            "bits_2x3" => key.bits([2, 3], DType::U32).unwrap(),
            "uniform" => key.uniform(4).unwrap(),
            "normal" => key.normal(4).unwrap(),
            "normal_of_split" => {
                let second = key.split(2).unwrap().words().index(1);
                Prng::from_words(second, algorithm)
                    .unwrap()
                    .normal(3)
                    .unwrap()
            }
            other => panic!("{other}"),
        };
        let got = words(&got);
        if what.starts_with("normal") {
            // The inverse error function may be off in its last bit.
            let near = |(a, b): (&u32, &u32)| a.abs_diff(*b) <= 2;
            assert!(
                got.len() == want.len() && got.iter().zip(&want).all(near),
                "{name} {what}: {got:?} for {want:?}"
            );
        } else {
            assert_eq!(got, want, "{name} {what}");
        }
        checked += 1;
    }
    assert_eq!(checked, 27);
}

#[test]
fn keys_move_as_elements_do() {
    for algorithm in ALL {
        let keys = Prng::new(1, algorithm).split([2, 3]).unwrap();
        let w = keys.words().clone();
        let k = Array::from_value(keys);
        let n = w.shape()[2];
        let same = |f: fn(&Array) -> Array, want: Array| {
            let y = quaxify(f)(&k).unwrap();
            let y = y.value::<Prng>().unwrap();
            assert_eq!(words(y.words()), words(&want), "{algorithm}");
            assert_eq!(y.words().shape(), want.shape());
        };
        same(|k| k.t(), w.transpose([1, 0, 2]));
        same(|k| k.reshape([3, 2]), w.reshape([3, 2, n]));
        same(|k| k.index((1, 2)), w.index((1, 2)));
        same(
            |k| k.index(Array::from([1i32, 0, 1])),
            w.index(Array::from([1i32, 0, 1])),
        );
        same(|k| k.slice_in_dim(1, 3, 1), w.slice_in_dim(1, 3, 1));
        same(|k| k.flip(0), w.flip(0));
        same(
            |k| numpy::concatenate(&[k, k], 1),
            numpy::concatenate(&[&w, &w], 1),
        );
        same(|k| k.broadcast_to([4, 2, 3]), w.broadcast_to([4, 2, 3, n]));
        same(
            |k| Array::from([[true, false, true], [false, false, true]]).select(k, k.flip(0)),
            {
                let which = Array::from([[true, false, true], [false, false, true]]).expand_dims(2);
                which.select(&w, w.flip(0))
            },
        );
        same(|k| Array::scalar(true).select(k, k.flip(0)), w);
    }
}

#[test]
fn keys_are_not_numbers() {
    let key = Prng::new(0, Algorithm::ThreeFry);
    let k = Array::from_value(key.clone());
    for f in [
        (|k: &Array| k + 1) as fn(&Array) -> Array,
        |k| k.eq(k),
        |k| k.astype(DType::F32),
        |k| k.expand_dims(0).sum(0),
        |k| {
            Array::from([true])
                .sum(())
                .eq(1)
                .select(k, Array::scalar(0u32))
        },
    ] {
        for y in [quaxify(f)(&k), jit(quaxify(f))(&k)] {
            let e = y.unwrap_err();
            assert!(e.to_string().contains("keys are not numbers"), "{e}");
            assert!(
                e.location().unwrap().file().ends_with("types_prng.rs"),
                "{e}"
            );
        }
    }
    let other = Array::from_value(Prng::new(0, Algorithm::Rbg));
    let e =
        quaxify(|a: &Array, b: &Array| Array::scalar(true).select(a, b))(&k, &other).unwrap_err();
    assert!(e.message().contains("different algorithms"), "{e}");
    for (words, algorithm) in [
        (Array::from([1u32, 2]), Algorithm::Rbg),
        (Array::from([1i32, 2]), Algorithm::ThreeFry),
        (Array::scalar(1u32), Algorithm::ThreeFry),
    ] {
        assert_eq!(
            Prng::from_words(words, algorithm).unwrap_err().kind(),
            ErrorKind::Shape
        );
    }
    assert!(key.bits(3, DType::F32).is_err());
    let several = key.split(2).unwrap();
    for e in [
        several.uniform(1).unwrap_err(),
        several.fold_in(1).unwrap_err(),
        several.split(1).unwrap_err(),
    ] {
        assert!(e.message().contains("more than one key"), "{e}");
    }
}

#[test]
fn keys_are_mapped_over_and_carried() {
    for algorithm in ALL {
        let keys = Prng::new(3, algorithm).split(4).unwrap();
        let draws = vmap(|k: &Prng| k.normal(2))(&keys).unwrap();
        for i in 0..4 {
            let one = Prng::from_words(keys.words().index(i), algorithm).unwrap();
            assert_eq!(
                words(&draws.index(i)),
                words(&one.normal(2).unwrap()),
                "{algorithm}"
            );
        }
        let jitted = jit(|k: &Prng| k.uniform(3))(&Prng::new(3, algorithm)).unwrap();
        assert_eq!(
            words(&jitted),
            words(&Prng::new(3, algorithm).uniform(3).unwrap())
        );
        // Brownian motion: a key in the carry.
        let walk = |k: &Prng| {
            let step = |(k, x): &(Prng, Array), _: &()| {
                let keys = k.split(2)?;
                let of = |i: i32| Prng::from_words(keys.words().index(i), algorithm);
                let x = x + of(1)?.normal(())?;
                Ok(((of(0)?, x.clone()), x))
            };
            let start = (k.clone(), Array::scalar(0f32));
            scan_with(ScanOptions::new().length(5), step, &start, &()).map(|(_, xs)| xs)
        };
        let xs = walk(&Prng::new(5, algorithm))
            .unwrap()
            .to_vec::<f32>()
            .unwrap();
        assert!(xs.len() == 5 && xs.windows(2).all(|w| w[0] != w[1]));
        assert_eq!(
            xs,
            jit(walk)(&Prng::new(5, algorithm))
                .unwrap()
                .to_vec::<f32>()
                .unwrap()
        );
    }
    // Low-rank adaptation and keys in one model.
    let f = |m: &(Array, Array), x: &Array| (m.0.dot(x), m.1.index(0));
    let w = LoraArray::new(
        &Array::ones([2, 3], DType::F32),
        &LoraConfig::rank(1),
        &random::key(0),
    )
    .unwrap();
    let k = Array::from_value(Prng::new(0, Algorithm::Philox).split(2).unwrap());
    let y = quaxify(f)(&(Array::from_value(w), k), &Array::ones([3], DType::F32)).unwrap();
    assert_eq!(y.1.describe(), "prng[, unsafe_rbg]");
}

#[test]
fn a_key_used_twice_is_caught() {
    let key = Prng::new(9, Algorithm::Rbg);
    check_key_reuse(|| {
        let keys = key.split(2).unwrap();
        let of = |i: i32| Prng::from_words(keys.words().index(i), Algorithm::Rbg).unwrap();
        assert!(of(0).uniform(2).is_ok());
        assert!(of(1).uniform(2).is_ok());
        let e = of(1).normal(2).unwrap_err();
        assert!(
            e.message().contains("used already, at tests/types_prng.rs"),
            "{e}"
        );
        assert!(
            e.location().unwrap().file().ends_with("types_prng.rs"),
            "{e}"
        );
        let e = key.split(2).unwrap_err();
        assert!(e.to_string().contains("`split` it first"), "{e}");
        // Folding numbers in makes a key of its own each time.
        assert!(key.fold_in(11).unwrap().uniform(1).is_ok());
        assert!(key.fold_in(12).unwrap().uniform(1).is_ok());
        check_key_reuse(|| assert!(key.uniform(1).is_ok()));
        assert!(key.uniform(1).is_err());
    });
    assert!(key.uniform(1).is_ok() && key.uniform(1).is_ok());
}

/// One step of a program: what becomes of two arrays of one shape.
fn step(choice: usize, at: usize, x: &Array, y: &Array) -> Array {
    let n = x.ndim().max(1);
    let axis = (at % n) as i32;
    let size = x.shape().get(at % n).copied().unwrap_or(1);
    if x.ndim() == 0 {
        return numpy::stack(&[x, y], 0);
    }
    match choice {
        0 => x.t(),
        1 => x.flip(axis),
        2 => numpy::concatenate(&[x, y], axis).slice_in_dim(0, size, axis),
        3 => numpy::stack(&[x, y], axis).index(-1),
        4 => x
            .expand_dims(axis)
            .broadcast_to(x.expand_dims(axis).shape())
            .squeeze(axis),
        5 => x.reshape([x.size()]).reshape(x.shape()),
        6 => x.slice_in_dim(0, size.max(2) - 1, axis),
        7 => x.index(0),
        8 => x.take(
            &Array::from([0i32, (at % size.clamp(1, 2)) as i32, 0]),
            axis,
        ),
        9 => Array::from(at.is_multiple_of(2)).select(x, y),
        10 => x.at(0).set(y.index(0)),
        11 => x.stop_gradient(),
        _ => numpy::concatenate(&[x, y], axis),
    }
}

/// Keys are moved as their words are, one by one: `QUAXIDE_PROGRAMS` random programs, or 5,000 in release builds and fewer in others.
#[test]
fn random_programs_move_words() {
    let asked = std::env::var("QUAXIDE_PROGRAMS").ok();
    let usual = if cfg!(debug_assertions) { 300 } else { 5000 };
    let count: u64 = asked.and_then(|n| n.parse().ok()).unwrap_or(usual);
    for seed in 0..count {
        let mut r = Rng(seed);
        let algorithm = *r.choose(&ALL).unwrap();
        let keys = Prng::new(seed, algorithm).split([2, 3, 2]).unwrap();
        let steps: Vec<(usize, usize, usize)> = (0..6)
            .map(|k| (r.below(13), r.below(6), r.below(k + 1)))
            .collect();
        let run = |x: &Array| {
            let mut all = vec![x.clone()];
            for (choice, at, back) in &steps {
                let x = all[all.len() - 1].clone();
                let y = &all[*back];
                let y = if y.shape() == x.shape() { y } else { &x };
                if x.size() > 500 {
                    break;
                }
                all.push(step(*choice, *at, &x, y));
            }
            all.pop().unwrap()
        };
        let failed = |e: Error| -> ! { panic!("{seed}: {steps:?}: {e}") };
        let value = Array::from_value(keys.clone());
        let got = quaxify(run)(&value).unwrap_or_else(|e| failed(e));
        let got = got.value::<Prng>().unwrap().words().clone();
        for w in 0..keys.words().shape().last().copied().unwrap() {
            let of = |x: &Array| x.index((quaxide::array::Ellipsis, w as i32));
            let want = run(&of(keys.words()));
            assert_eq!(words(&of(&got)), words(&want), "{seed}: {steps:?}");
        }
    }
}
