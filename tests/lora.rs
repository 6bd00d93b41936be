//! LoRA on networks: what `loraify` makes, refuses and guarantees, and training with it.

mod support;

use quaxide::prelude::*;
use quaxide::random::Key;
use support::golden::{EXACT, F32, Golden};

fn key(file: &Golden, name: &str) -> Key {
    Key::from_data(file.get(name)).unwrap()
}

fn lora_of(x: &Array) -> &LoraArray {
    x.value::<LoraArray>().expect("a LoraArray")
}

fn close(x: &Array, y: &Array) {
    assert_eq!(x.shape(), y.shape());
    for (x, y) in x.to_f64_vec().unwrap().iter().zip(y.to_f64_vec().unwrap()) {
        assert!((x - y).abs() <= 1e-5 + 1e-5 * y.abs(), "{x} and {y}");
    }
}

/// Adapters whose `b` is not zero, so that all of them matters.
fn stirred<T: PyTree>(model: &T) -> T {
    let (some, rest) = tree::partition(&adapters(model), |path, _| path.ends_with(".b"));
    let mut n = 0;
    let some = tree::map(&some, |b| {
        if b.is_symbolic_zero() {
            return b.clone();
        }
        n += 1;
        random::normal(&random::key(1000 + n), b.shape())
    });
    let new = tree::combine(&some, &rest).unwrap();
    tree::combine(&new, model).unwrap()
}

#[test]
fn what_is_drawn_is_quax_s() {
    let file = Golden::open("lora");
    // `b` is recorded as something else than zero there.
    type Made<'f> = &'f dyn Fn(&Key, &Key) -> Vec<(String, Array)>;
    let same = |case: &str, made: Made<'_>| {
        let made = made(
            &key(&file, &format!("{case}/key")),
            &key(&file, &format!("{case}/lora_key")),
        );
        for (path, leaf) in made {
            match path.ends_with(".weight.b") {
                true => assert!(leaf.to_f64_vec().unwrap().iter().all(|x| *x == 0.0)),
                false => file.check(&format!("{case}/param{path}"), &leaf, EXACT),
            }
        }
    };
    same("linear", &|k, l| {
        let lora = loraify(&nn::Linear::new(10, 12, k), LoraConfig::rank(2), l).unwrap();
        tree::leaves_with_paths(&lora)
    });
    same("mlp", &|k, l| {
        let lora = loraify(&nn::Mlp::new(4, 3, 8, 2, k), LoraConfig::rank(2), l).unwrap();
        tree::leaves_with_paths(&lora)
    });
    let lora_key = |case: &str| key(&file, &format!("drawn/{case}/lora_key"));
    let one = nn::Linear::new(4, 3, &random::key(441));
    let one = loraify(&one, LoraConfig::rank(1).scale(0.5), &lora_key("scale")).unwrap();
    file.check_tree("drawn/scale/param", &one, EXACT);
    let stack = vmap(|k: &Key| nn::Linear::new(4, 3, k))(&random::key(443).split_n(2)).unwrap();
    let stack = loraify(&stack, LoraConfig::rank(2), &lora_key("stack")).unwrap();
    file.check_tree("drawn/stack/param", &stack, EXACT);
    let list = vec![
        nn::Linear::new(4, 3, &random::key(445)),
        nn::Linear::new(3, 4, &random::key(446)),
    ];
    let list = loraify(&list, LoraConfig::rank(2), &lora_key("list")).unwrap();
    file.check_tree("drawn/list/param", &list, EXACT);
}

#[test]
fn networks_give_quax_s_numbers() {
    let file = Golden::open("lora");
    let base = nn::Mlp::new(4, 3, 8, 2, &random::key(0));
    let like = loraify(&base, LoraConfig::rank(2), &random::key(1)).unwrap();
    let model = file.fill("mlp/param", &like);
    let x = file.get("mlp/in/x");
    let y = quaxify(nn::Mlp::call)(&model, &x).unwrap();
    file.check("mlp/out", &y, F32);
    let loss = |m: &nn::Mlp, x: &Array| m.call(x).square().sum(());
    let g = grad(quaxify(loss))(&model, &x).unwrap();
    for (path, g) in tree::leaves_with_paths(&g) {
        assert_eq!(g.is_symbolic_zero(), path.ends_with(".weight.w"), "{path}");
        file.check(&format!("mlp/stop_gradient/grad{path}"), &g, F32);
    }
    let dense = quaxify(grad(loss))(&model, &x).unwrap();
    file.check_tree("mlp/dense_grad", &dense, F32);
}

#[test]
fn every_linear_of_a_tree_is_found() {
    #[derive(Clone, PyTree)]
    struct Block {
        norm: Array,
        inner: Option<Box<nn::Mlp>>,
        out: (nn::Linear, Vec<nn::Linear>),
    }
    let [k1, k2, k3, k4] = random::key(0).split();
    let block = Block {
        norm: Array::ones([3], DType::F32),
        inner: Some(Box::new(nn::Mlp::new(3, 3, 5, 1, &k1))),
        out: (nn::Linear::new(3, 2, &k2), vec![nn::Linear::new(3, 2, &k3)]),
    };
    let lora = loraify(&block, LoraConfig::rank(2), &k4).unwrap();
    let wrapped: Vec<String> = tree::leaves_with_paths(&lora)
        .into_iter()
        .filter_map(|(path, _)| path.strip_suffix(".a").map(str::to_string))
        .collect();
    let expected = [
        ".inner.layers[0].weight",
        ".inner.layers[1].weight",
        ".out[0].weight",
        ".out[1][0].weight",
    ];
    assert_eq!(wrapped, expected);
    assert_eq!(lora.norm.to_vec::<f32>().unwrap(), [1.0; 3]);

    // What a layer draws does not depend on which others are picked.
    let config = LoraConfig::rank(2)
        .filter(|path, layer| path.starts_with(".out") && layer.in_features.size() == 3);
    let some = loraify(&block, config, &k4).unwrap();
    assert!(
        some.inner.as_ref().unwrap().layers[0]
            .weight
            .value::<LoraArray>()
            .is_none()
    );
    let a = |x: &Array| lora_of(x).a.to_vec::<f32>().unwrap();
    assert_eq!(a(&some.out.0.weight), a(&lora.out.0.weight));
    assert_ne!(a(&lora.out.0.weight), a(&lora.out.1[0].weight));
}

#[test]
fn a_layer_that_occurs_twice_keeps_one_adapter() {
    let [k1, k2, k3] = random::key(0).split();
    let (tied, other) = (nn::Linear::new(3, 3, &k1), nn::Linear::new(3, 3, &k2));
    let twice = vec![tied.clone(), other, tied];
    let lora = loraify(&twice, LoraConfig::rank(2), &k3).unwrap();
    let a = |i: usize| lora_of(&lora[i].weight).a.to_vec::<f32>().unwrap();
    assert_eq!(a(0), a(2));
    assert_ne!(a(0), a(1));
}

#[test]
fn mistakes_are_told_with_the_path() {
    let model = (Array::from([1f32]), nn::Linear::new(4, 3, &random::key(0)));
    let k = random::key(1);
    let text = |config: LoraConfig| loraify(&model, config, &k).unwrap_err().to_string();
    for (config, says) in [
        (LoraConfig::rank(0), "rank 0"),
        (LoraConfig::rank(4), "rank 4 is above"),
        (LoraConfig::rank(2).scale(f64::NAN), "NaN"),
        (LoraConfig::rank(2).scale(f64::INFINITY), "inf"),
        (LoraConfig::rank(2).scale(-0.1), "-0.1"),
    ] {
        let text = text(config);
        assert!(
            text.contains("`[1].weight`") && text.contains(says),
            "{text}"
        );
        assert!(text.contains("tests/lora.rs"), "{text}");
    }
    assert!(text(LoraConfig::rank(2).filter(|_, _| false)).contains("picks none of 1"));
    assert!(loraify(&vec![Array::from([1f32])], LoraConfig::rank(2), &k).is_err());
    let empty: Vec<nn::Linear> = vec![];
    let e = loraify(&empty, LoraConfig::rank(2), &k).unwrap_err();
    assert!(e.to_string().contains("no `nn::Linear`"), "{e}");

    let of = |w: Array| {
        LoraArray::new(&w, &LoraConfig::rank(1), &k)
            .unwrap_err()
            .to_string()
    };
    assert!(of(Array::from([1f32, 2.0])).contains("f32[2]"));
    assert!(of(Array::from([[1i32], [2]])).contains("i32[2,1]"));
    assert!(of(Array::zeros([0, 3], DType::F32)).contains("rank 1 is above"));
    of(Array::new([1], vec![1f32, 2.0]));
    let (w, a, b) = ([3, 4], [3, 2], [1, 4]);
    let zeros = |s: [usize; 2]| Array::zeros(s, DType::F32);
    assert!(LoraArray::from_parts(zeros(w), zeros(a), zeros(b)).is_err());
}

#[test]
fn element_types_and_stacks() {
    let half = nn::LinearConfig::new(4, 3)
        .dtype(DType::BF16)
        .init(&random::key(0));
    let lora = loraify(&half, LoraConfig::rank(2), &random::key(1)).unwrap();
    for x in tree::leaves(&lora) {
        assert_eq!(x.dtype().unwrap(), DType::BF16);
    }
    let w = random::normal(&random::key(2), [5, 2, 3, 4]);
    let lora = LoraArray::new(&w, &LoraConfig::rank(2), &random::key(3)).unwrap();
    assert_eq!(lora.a.shape(), [5, 2, 3, 2]);
    assert_eq!(lora.b.shape(), [5, 2, 2, 4]);
    let x = random::normal(&random::key(4), [5, 2, 4]);
    let product =
        |w: &Array, x: &Array| w.dot_general(x, op::DotGeneral::new(([3], [2]), ([0, 1], [0, 1])));
    let lora = Array::from_value(stirred(&lora));
    let merged = lora_of(&lora).merge().unwrap();
    close(&quaxify(product)(&lora, &x).unwrap(), &product(&merged, &x));
}

#[test]
fn a_frozen_base_has_no_derivative() {
    let base = nn::Linear::new(4, 3, &random::key(0));
    let x = random::normal(&random::key(1), [4]);
    let loss = |m: &nn::Linear, x: &Array| m.call(x).square().sum(());
    let wrap = |frozen: bool| {
        let config = LoraConfig::rank(2).stop_gradient(frozen);
        loraify(&base, config, &random::key(2)).unwrap()
    };
    let (frozen, free) = (wrap(true), wrap(false));
    let g = grad(quaxify(loss))(&frozen, &x).unwrap();
    assert!(lora_of(&g.weight).w.is_symbolic_zero());
    assert!(!g.bias.unwrap().is_symbolic_zero());
    // `b` is zero at first: then so is the gradient of `a`, and that of `b` is not.
    let size = |x: &Array| optim::global_norm(x).item::<f32>().unwrap();
    assert_eq!(size(&lora_of(&g.weight).a), 0.0);
    assert!(size(&lora_of(&g.weight).b) > 0.0);
    let g = grad(quaxify(loss))(&free, &x).unwrap();
    assert!(size(&lora_of(&g.weight).w) > 0.0);

    // Forward mode drops the tangent of a frozen base.
    let tangent = |m: &nn::Linear| {
        let only_w = tree::map(m, |x| Array::zeros_like(x));
        let path = ".weight.w";
        let (_, rest) = tree::partition(&only_w, |p, _| p == path);
        let ones = tree::partition(&tree::map(m, Array::ones_like), |p, _| p == path).0;
        let t = tree::combine(&ones, &rest).unwrap();
        let zero = Array::zeros_like(&x);
        jvp(quaxify(nn::Linear::call), (m, &x), (&t, &zero))
            .unwrap()
            .1
    };
    assert!(
        tangent(&frozen)
            .to_vec::<f32>()
            .unwrap()
            .iter()
            .all(|t| *t == 0.0)
    );
    assert!(
        tangent(&free)
            .to_vec::<f32>()
            .unwrap()
            .iter()
            .all(|t| *t != 0.0)
    );
}

#[test]
fn adapters_are_what_is_trained() {
    let [k1, k2, k3, k4] = random::key(0).split();
    let base = nn::Mlp::new(3, 2, 8, 1, &k1);
    let model = loraify(&base, LoraConfig::rank(2), &k2).unwrap();
    assert_eq!(tree::count(&base), 3 * 8 + 8 + 8 * 2 + 2);
    assert_eq!(tree::count(&adapters(&model)), 2 * (3 + 8) + 2 * (8 + 2));
    assert_eq!(tree::count(&adapters(&base)), 0);

    let (x, y) = (random::normal(&k3, [16, 3]), random::normal(&k4, [16, 2]));
    let loss = |m: &nn::Mlp, x: &Array, y: &Array| nn::losses::mean_squared_error(&m.call(x), y);
    let optimiser = optim::adamw(0.05).weight_decay(0.1);
    let step = jit(
        |m: &nn::Mlp, s: &optim::State<nn::Mlp>, x: &Array, y: &Array| {
            let (value, g) = value_and_grad(quaxify(loss))(m, x, y)?;
            let (updates, s) = optimiser.update(&adapters(&g), s, m)?;
            Ok((value, optim::apply_updates(m, &updates)?, s))
        },
    );
    let (mut now, mut state) = (model.clone(), optimiser.init(&model).unwrap());
    let (mut first, mut last) = (None, 0.0);
    for _ in 0..30 {
        let value;
        (value, now, state) = step(&now, &state, &x, &y).unwrap();
        last = value.item::<f32>().unwrap();
        first.get_or_insert(last);
    }
    assert!(last < 0.7 * first.unwrap(), "{first:?} → {last}");
    let before = tree::leaves_with_paths(&model);
    for ((path, old), new) in before.iter().zip(tree::leaves(&now)) {
        let same = old.to_vec::<f32>().unwrap() == new.to_vec::<f32>().unwrap();
        assert_eq!(
            same,
            path.ends_with(".w") || path.ends_with(".bias"),
            "{path}"
        );
    }
    // Merged, it is an ordinary network that computes the same.
    let merged = unloraify(&now).unwrap();
    close(&merged.call(&x), &quaxify(nn::Mlp::call)(&now, &x).unwrap());
}

#[test]
fn adapters_nest_and_merge() {
    let base = nn::Linear::new(4, 3, &random::key(0));
    let once = stirred(&loraify(&base, LoraConfig::rank(1), &random::key(1)).unwrap());
    let twice = stirred(&loraify(&once, LoraConfig::rank(2), &random::key(2)).unwrap());
    assert!(lora_of(&lora_of(&twice.weight).w).stop_gradient);
    let x = random::normal(&random::key(3), [4]);
    let merged = unloraify(&twice).unwrap();
    assert!(merged.weight.value::<LoraArray>().is_none());
    close(
        &quaxify(nn::Linear::call)(&twice, &x).unwrap(),
        &merged.call(&x),
    );
    assert_eq!(tree::count(&adapters(&twice)), 2 * 7);
    // The base of a frozen adapter is frozen whole, an adapter in it included.
    let loss = |m: &nn::Linear, x: &Array| m.call(x).square().sum(());
    let g = grad(quaxify(loss))(&twice, &x).unwrap();
    for leaf in tree::leaves(&lora_of(&g.weight).w) {
        assert!(leaf.is_symbolic_zero());
    }
}

#[test]
fn a_layer_that_is_not_quaxified_says_so() {
    let lora = loraify(
        &nn::Linear::new(4, 3, &random::key(0)),
        LoraConfig::rank(2),
        &random::key(1),
    );
    let e = lora.unwrap().call(&Array::ones([4], DType::F32));
    assert!(e.ok().unwrap_err().to_string().contains("quaxify"), "{e:?}");
}
