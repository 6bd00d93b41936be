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
    let part = adapters(model);
    let paths = tree::leaves_with_paths(&part).into_iter();
    let new = paths.enumerate().map(|(i, (path, x))| {
        if !path.ends_with(".b") {
            return x;
        }
        random::normal(&random::key(1000 + i as u64), x.shape())
    });
    let part = tree::unflatten(&part, new.collect()).unwrap();
    part.onto(model).unwrap()
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
            match path.ends_with(".b") {
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
    same("attention", &|k, l| {
        let base = nn::MultiheadAttention::new(2, 8, k);
        tree::leaves_with_paths(&loraify(&base, LoraConfig::rank(2), l).unwrap())
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

/// Checks what the file holds of a network: output, gradients both ways round, tangents.
fn network<M: PyTree>(case: &str, base: M, call: fn(&M, &Array) -> Array) {
    let file = Golden::open("lora");
    let x = file.get(&format!("{case}/in/x"));
    let loss = |m: &M, x: &Array| call(m, x).square().sum(());
    for (mode, frozen) in [("stop_gradient", true), ("trained", false)] {
        let config = LoraConfig::rank(2).stop_gradient(frozen);
        let like = loraify(&base, config, &random::key(1)).unwrap();
        let model = file.fill(&format!("{case}/param"), &like);
        let y = quaxify(call)(&model, &x).unwrap();
        file.check(&format!("{case}/out"), &y, F32);
        let g = grad(quaxify(loss))(&model, &x).unwrap();
        for (path, g) in tree::leaves_with_paths(&g) {
            let zero = frozen && path.ends_with(".weight.w");
            assert_eq!(g.is_symbolic_zero(), zero, "{path}");
            file.check(&format!("{case}/{mode}/grad{path}"), &g, F32);
        }
        let cosines = |x: &Array| {
            let n: Vec<f32> = (0..x.size()).map(|i| (i as f32).cos()).collect();
            Array::new(x.shape(), n)
        };
        let tangents = (&tree::map(&model, cosines), &cosines(&x));
        let (_, t) = jvp(quaxify(call), (&model, &x), tangents).unwrap();
        file.check(&format!("{case}/{mode}/jvp"), &t, F32);
        let dense = quaxify(grad(loss))(&model, &x).unwrap();
        file.check_tree(&format!("{case}/dense_grad"), &dense, F32);
    }
}

#[test]
fn networks_give_quax_s_numbers() {
    let key = random::key(0);
    network("linear", nn::Linear::new(10, 12, &key), nn::Linear::call);
    network("mlp", nn::Mlp::new(4, 3, 8, 2, &key), nn::Mlp::call);
    network(
        "attention",
        nn::MultiheadAttention::new(2, 8, &key),
        |m, x| m.call(x, x, x),
    );
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
        let ones = tree::map(m, Array::ones_like);
        let (of_w, _) = tree::partition(&ones, |path, _| path == ".weight.w");
        let t = of_w.onto(&tree::map(m, Array::zeros_like)).unwrap();
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
    let part = adapters(&model);
    assert_eq!(tree::count(&base), 3 * 8 + 8 + 8 * 2 + 2);
    assert_eq!(tree::count(&part), 2 * (3 + 8) + 2 * (8 + 2));
    assert_eq!(tree::count(&adapters(&base)), 0);

    type Part = tree::Part<nn::Mlp>;
    let (x, y) = (random::normal(&k3, [16, 3]), random::normal(&k4, [16, 2]));
    let batch = (x.clone(), y);
    let loss = |part: &Part, m: &nn::Mlp, (x, y): &(Array, Array)| -> Result<Array> {
        let z = quaxify(nn::Mlp::call)(&part.onto(m)?, x)?;
        Ok(nn::losses::mean_squared_error(&z, y))
    };
    let optimiser = optim::adamw(0.05).weight_decay(0.1);
    let step = jit(
        |part: &Part, s: &optim::State<Part>, m: &nn::Mlp, batch: &(Array, Array)| {
            let (value, g) = value_and_grad(loss)(part, m, batch)?;
            let (updates, s) = optimiser.update(&g, s, part)?;
            Ok((value, optim::apply_updates(part, &updates)?, s))
        },
    );
    let (mut now, mut state) = (part.clone(), optimiser.init(&part).unwrap());
    // No moments for what is frozen.
    assert_eq!(tree::count(&state), 1 + 2 * tree::count(&part));
    let (mut first, mut last) = (None, 0.0);
    for _ in 0..30 {
        let value;
        (value, now, state) = step(&now, &state, &model, &batch).unwrap();
        last = value.item::<f32>().unwrap();
        first.get_or_insert(last);
    }
    assert!(last < 0.7 * first.unwrap(), "{first:?} → {last}");
    let now = now.onto(&model).unwrap();
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

/// A weight `[..batch, 4, 3]` whose adapter is not zero, and the array that it equals.
fn weight(batch: &[usize], materialise: bool) -> (Array, Array) {
    let shape: Vec<usize> = batch.iter().copied().chain([4, 3]).collect();
    let w = random::normal(&random::key(7), shape);
    let config = LoraConfig::rank(2)
        .scale(0.5)
        .allow_materialise(materialise);
    let lora = LoraArray::new(&w, &config, &random::key(8)).unwrap();
    let lora = stirred(&lora);
    let merged = lora.merge().unwrap();
    (Array::from_value(lora), merged)
}

fn numbers(seed: u64, shape: &[usize]) -> Array {
    random::normal(&random::key(seed), shape)
}

#[test]
fn every_product_is_planned_around_the_sum() {
    type Dims = (Vec<usize>, Vec<usize>);
    // Axes of the weight to contract and to batch; the other operand has them in this order, and one axis more.
    let plain: [Dims; 3] = [(vec![1], vec![]), (vec![0], vec![]), (vec![0, 1], vec![])];
    let stacked: [Dims; 8] = [
        (vec![2], vec![0]),
        (vec![1], vec![0]),
        (vec![2], vec![]),
        (vec![1], vec![]),
        (vec![0], vec![]),
        (vec![0, 2], vec![]),
        (vec![0], vec![1]),
        (vec![0], vec![2, 1]),
    ];
    let cases = plain.into_iter().map(|d| (vec![], d));
    let cases = cases.chain(stacked.into_iter().map(|d| (vec![5], d)));
    for (batch, (contracted, batched)) in cases {
        let (lora, merged) = weight(&batch, false);
        let sizes = merged.shape();
        let shared = contracted.iter().chain(&batched).map(|i| sizes[*i]);
        let x = numbers(9, &shared.chain([6]).collect::<Vec<_>>());
        let n = contracted.len();
        let other: Dims = ((0..n).collect(), (n..n + batched.len()).collect());
        let left = |w: &Array, x: &Array| {
            let dims = op::DotGeneral::new(
                (contracted.clone(), other.0.clone()),
                (batched.clone(), other.1.clone()),
            );
            w.dot_general(x, dims)
        };
        let right = |w: &Array, x: &Array| {
            let dims = op::DotGeneral::new(
                (other.0.clone(), contracted.clone()),
                (other.1.clone(), batched.clone()),
            );
            x.dot_general(w, dims)
        };
        close(&quaxify(left)(&lora, &x).unwrap(), &left(&merged, &x));
        close(&quaxify(right)(&lora, &x).unwrap(), &right(&merged, &x));
        // Forwards and backwards, the sum is not formed.
        let forms = "component[field=definition";
        let loss = |w: &Array, x: &Array| left(w, x).square().sum(());
        for f in [
            quaxify(left).stages((&lora, &x)).unwrap().rewritten,
            quaxify(right).stages((&lora, &x)).unwrap().rewritten,
        ] {
            assert!(!f.to_string().contains(forms), "{f}");
        }
        let g = grad(quaxify(loss))(&lora, &x).unwrap();
        let dense = |l: &LoraArray, x: &Array| -> Result<Array> { Ok(loss(&l.merge()?, x)) };
        let expected = grad(dense)(lora_of(&lora), &x).unwrap();
        close(&lora_of(&g).a, &expected.a);
        close(&lora_of(&g).b, &expected.b);
        if batched.len() == 2 {
            // Backwards it is a product elementwise, which no plan of the size of the weight computes: refused.
            continue;
        }
        let dx = grad(|x: &Array, w: &Array| quaxify(loss)(w, x))(&x, &lora).unwrap();
        close(&dx, &grad(|x: &Array| loss(&merged, x))(&x).unwrap());
    }
}

#[test]
fn what_is_linear_is_planned_too() {
    let (lora, merged) = weight(&[], false);
    let (x, y) = (numbers(1, &[3]), numbers(2, &[4]));
    type Program = fn(&Array, &Array, &Array) -> Array;
    let programs: [Program; 7] = [
        |w, x, _| w.t().t().dot(x),
        |w, _, y| w.t().dot(y),
        |w, x, y| y.dot(&w.dot(x)),
        |w, x, _| (w * 2.0).dot(x),
        |w, x, _| (w + w).dot(x) - w.dot(x),
        |w, _, _| w.sum(()),
        |w, x, y| (y.expand_dims(1) * w * x).sum(()),
    ];
    for (i, f) in programs.into_iter().enumerate() {
        let z = quaxify(f)(&lora, &x, &y).unwrap_or_else(|e| panic!("program {i}: {e}"));
        close(&z, &f(&merged, &x, &y));
    }
    // Two weights, each an adapter.
    let other =
        LoraArray::new(&numbers(3, &[3, 5]), &LoraConfig::rank(2), &random::key(4)).unwrap();
    let other = Array::from_value(stirred(&other));
    let dense = lora_of(&other).merge().unwrap();
    let both = |v: &Array, w: &Array, x: &Array| v.dot(&w.dot(x));
    let x = numbers(5, &[5]);
    close(
        &quaxify(both)(&lora, &other, &x).unwrap(),
        &both(&merged, &dense, &x),
    );
}

#[test]
fn what_needs_the_sum_is_refused() {
    let (lora, _) = weight(&[], false);
    let (free, merged) = weight(&[], true);
    type Program = fn(&Array) -> Array;
    let programs: [(&str, Program); 6] = [
        ("relu", |w| nn::relu(w)),
        ("sin", |w| w.sin()),
        ("scaled", |w| w * 2.0),
        ("shifted", |w| w + 1.0),
        ("squared", |w| (w * w).sum(())),
        ("product", |w| w.t().dot(w)),
    ];
    for (name, f) in programs {
        close(&quaxify(f)(&free).unwrap(), &f(&merged));
        let refused = quaxify(f)(&lora);
        if matches!(name, "squared" | "product") {
            // A square of a sum is a sum of products, none of which needs it.
            close(&refused.unwrap(), &f(&merged));
            continue;
        }
        let text = refused.err().map(|e| e.to_string());
        let text = text.unwrap_or_else(|| panic!("{name} is not refused"));
        assert!(text.contains("lora[f32[4,3], rank=2]"), "{name}: {text}");
        assert!(text.contains("tests/lora.rs"), "{name}: {text}");
    }
    // The value itself passes through as it is.
    let same = quaxify(|w: &Array| w.clone())(&lora).unwrap();
    assert!(same.value::<LoraArray>().is_some());
    assert!(
        lora.materialise()
            .unwrap_err()
            .to_string()
            .contains("refusing")
    );
    close(&free.materialise().unwrap(), &merged);
}

#[test]
fn transformations_compose_with_adapters() {
    let base = nn::Mlp::new(3, 2, 5, 1, &random::key(0));
    let lora = stirred(&loraify(&base, LoraConfig::rank(2), &random::key(1)).unwrap());
    let merged = unloraify(&lora).unwrap();
    let xs = numbers(2, &[6, 3]);
    let expected = merged.call(&xs);
    let call = nn::Mlp::call;
    close(&quaxify(call)(&lora, &xs).unwrap(), &expected);
    close(&jit(quaxify(call))(&lora, &xs).unwrap(), &expected);
    close(&quaxify(jit(call))(&lora, &xs).unwrap(), &expected);
    let rows = (None, 0);
    close(
        &vmap(quaxify(call)).in_axes(rows)(&lora, &xs).unwrap(),
        &expected,
    );
    close(
        &quaxify(vmap(call).in_axes(rows))(&lora, &xs).unwrap(),
        &expected,
    );
    // Adapters of several tasks over one base: an axis for each component.
    let tasks = tree::map(&adapters(&lora), |x| {
        numbers(3, &[&[4], &x.shape()[..]].concat())
    });
    let many = tasks.onto(&lora).unwrap();
    let of_task = by_path(|path: &str| (path.ends_with(".a") || path.ends_with(".b")).then_some(0));
    let y = vmap(quaxify(call)).in_axes((of_task, None))(&many, &xs).unwrap();
    assert_eq!(y.shape(), [4, 6, 2]);

    let loss = |m: &nn::Mlp, x: &Array| m.call(x).square().sum(());
    let dense = grad(loss)(&merged, &xs).unwrap();
    for g in [
        quaxify(grad(loss))(&lora, &xs).unwrap(),
        quaxify(jit(grad(loss)))(&lora, &xs).unwrap(),
        jit(quaxify(grad(loss)))(&lora, &xs).unwrap(),
    ] {
        for (x, y) in tree::leaves(&g).iter().zip(tree::leaves(&dense)) {
            close(x, &y);
        }
    }
}

#[test]
fn a_frozen_base_stays_symbolic_through_jit() {
    let base = nn::Mlp::new(3, 2, 5, 1, &random::key(0));
    let lora = loraify(&base, LoraConfig::rank(2), &random::key(1)).unwrap();
    let x = numbers(2, &[6, 3]);
    let loss = |m: &nn::Mlp, x: &Array| m.call(x).square().sum(());
    let g = jit(grad(quaxify(loss)))(&lora, &x).unwrap();
    let frozen = |path: &str| path.ends_with(".w");
    for (path, g) in tree::leaves_with_paths(&g) {
        assert_eq!(g.is_symbolic_zero(), frozen(&path), "{path}");
    }
    // The step may be a program of its own: what is frozen stays, weight decay or not.
    let optimiser = optim::adamw(0.1).weight_decay(0.5);
    let step = jit(|g: &nn::Mlp, s: &optim::State<nn::Mlp>, m: &nn::Mlp| {
        let (updates, s) = optimiser.update(g, s, m)?;
        Ok((optim::apply_updates(m, &updates)?, s))
    });
    let (next, _) = step(&g, &optimiser.init(&lora).unwrap(), &lora).unwrap();
    for ((path, old), new) in tree::leaves_with_paths(&lora)
        .iter()
        .zip(tree::leaves(&next))
    {
        let same = old.to_vec::<f32>().unwrap() == new.to_vec::<f32>().unwrap();
        // `a` has a gradient of zero at first, and decays.
        assert_eq!(same, frozen(path), "{path}");
    }
    // A symbolic zero and a plain one are different programs, with the same result.
    let f = jit(|x: &Array, y: &Array| x + y);
    let zero = Array::symbolic_zero(Aval::new(vec![2], DType::F32));
    let one = Array::from([1f32, 2.0]);
    for z in [zero.clone(), Array::zeros([2], DType::F32)] {
        assert_eq!(f(&one, &z).unwrap().to_vec::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(f(&z, &one).unwrap().to_vec::<f32>().unwrap(), [1.0, 2.0]);
    }
    let both = jit(|x: &Array, y: &Array| (y.clone(), x.clone(), y.clone()));
    let (a, b, c) = both(&one, &zero).unwrap();
    assert!(a.is_symbolic_zero() && !b.is_symbolic_zero() && c.is_symbolic_zero());
    let slope = grad(|x: &Array| Array::from_result(f(x, &zero)).sum(()));
    assert_eq!(slope(&zero).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0]);
}

#[test]
fn adapters_are_made_inside_of_transformations() {
    let base = nn::Linear::new(4, 3, &random::key(0));
    let make = |k: &Key, base: &nn::Linear| loraify(base, LoraConfig::rank(2), k);
    let keys = random::key(1).split_n(5);
    let many = vmap(make).in_axes((0, None))(&keys, &base).unwrap();
    assert_eq!(lora_of(&many.weight).a.shape(), [5, 3, 2]);
    let one = jit(make)(&random::key(2), &base).unwrap();
    let same = make(&random::key(2), &base).unwrap();
    close(&lora_of(&one.weight).a, &lora_of(&same.weight).a);
    // Cells hold weights of their own, not layers: there is nothing to adapt.
    let cell = nn::GruCell::new(3, 4, &random::key(3));
    assert!(loraify(&cell, LoraConfig::rank(2), &random::key(4)).is_err());
}
