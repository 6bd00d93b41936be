//! What people write first who come from JAX.

use quaxide::prelude::*;

fn numbers(x: &Array) -> Vec<f32> {
    x.to_vec::<f32>().unwrap()
}

fn close(x: &Array, expected: &[f32], by: f32) {
    let found = numbers(x);
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= by, "{found:?} is not {expected:?}");
    }
}

#[test]
fn linear_regression_by_gradient_descent() {
    let [k1, k2] = random::key(0).split();
    let xs = random::normal(&k1, [100, 3]);
    let truth = [1f32, -2.0, 0.5];
    let ys = xs.dot(&Array::from(truth)) + 0.01 * random::normal(&k2, [100]);
    let loss = |w: &Array, x: &Array, y: &Array| (x.dot(w) - y).square().mean(());
    let step = jit(|w: &Array, x: &Array, y: &Array| {
        let (l, g) = value_and_grad(loss)(w, x, y)?;
        Ok((w - 0.1 * g, l))
    });
    let mut w = Array::zeros([3], DType::F32);
    let mut last = f32::INFINITY;
    for _ in 0..60 {
        let l;
        (w, l) = step(&w, &xs, &ys).unwrap();
        last = l.item().unwrap();
    }
    close(&w, &truth, 0.01);
    assert!(last < 2e-4);
}

#[test]
fn newtons_method_with_a_derivative_in_a_loop() {
    let f = |x: &Array| x.integer_pow(3) - 2.0;
    let mut x = Array::from(1.0);
    for _ in 0..6 {
        x -= f(&x) / grad(f)(&x).unwrap();
    }
    assert_eq!(format!("{x:.4}"), "1.2599");
}

#[test]
fn attention_over_a_batch_of_heads() {
    fn attention(q: &Array, k: &Array, v: &Array) -> Result<Array> {
        let [t, d] = q.dims()?;
        let scores = q.matmul(&k.t()) / (d as f64).sqrt();
        let mask = numpy::tril(&Array::ones([t, t], DType::Bool), 0);
        Ok(nn::softmax(&mask.select(scores, f64::NEG_INFINITY), -1).matmul(v))
    }
    let [k1, k2, k3] = random::key(1).split();
    let (q, k, v) = (
        random::normal(&k1, [2, 4, 8]),
        random::normal(&k2, [2, 4, 8]),
        random::normal(&k3, [2, 4, 8]),
    );
    let y = jit(vmap(attention))(&q, &k, &v).unwrap();
    assert_eq!(y.shape(), [2, 4, 8]);
    // The first place attends to itself alone.
    close(&y.index((.., 0)), &numbers(&v.index((.., 0))), 1e-6);
    let g = grad(|q: &Array| vmap(attention)(q, &k, &v).map(|y| y.sum(())))(&q).unwrap();
    assert!(numbers(&g).iter().all(|x| x.is_finite()));
}

#[test]
fn power_iteration() {
    let a = random::normal(&random::key(2), [5, 5]);
    let a = a.dot(&a.t());
    let mut u = Array::ones([5], DType::F32);
    for _ in 0..200 {
        u = a.dot(&u);
        u /= numpy::norm(&u, ());
    }
    let value = u.dot(&a.dot(&u));
    close(&a.dot(&u), &numbers(&(&u * value)), 1e-3);
}

#[test]
fn a_model_of_ones_own_with_an_optimiser() {
    #[derive(Clone, PyTree, Debug)]
    struct Logistic {
        w: Array,
        b: Array,
    }
    impl Logistic {
        fn call(&self, x: &Array) -> Array {
            x.dot(&self.w) + &self.b
        }
    }
    let xs = random::normal(&random::key(3), [200, 2]);
    let ys = xs.sum(-1).gt(0.0).astype(DType::F32);
    let loss = |m: &Logistic, x: &Array, y: &Array| {
        nn::losses::sigmoid_binary_cross_entropy(&m.call(x), y).mean(())
    };
    let optimiser = optim::adam(0.1);
    let mut model = Logistic {
        w: Array::zeros([2], DType::F32),
        b: Array::scalar(0f32),
    };
    let mut state = optimiser.init(&model).unwrap();
    let step = jit(
        |m: &Logistic, state: &optim::State<Logistic>, x: &Array, y: &Array| {
            let g = grad(loss)(m, x, y)?;
            let (updates, state) = optimiser.update(&g, state, m)?;
            Ok((optim::apply_updates(m, &updates)?, state))
        },
    );
    for _ in 0..100 {
        (model, state) = step(&model, &state, &xs, &ys).unwrap();
    }
    let right = model.call(&xs).gt(0.0).eq(ys.gt(0.0)).mean(());
    assert!(right.item::<f32>().unwrap() > 0.97, "{right} {model:?}");
}

#[test]
fn gradients_of_each_example_and_their_norms() {
    let mlp = nn::Mlp::new(4, nn::Features::Scalar, 8, 1, &random::key(4));
    let xs = random::normal(&random::key(5), [6, 4]);
    let norms = vmap(|m: &nn::Mlp, x: &Array| Ok(optim::global_norm(&grad(nn::Mlp::call)(m, x)?)))
        .in_axes((None, 0));
    let all = jit(norms)(&mlp, &xs).unwrap();
    let one = xs.index(2);
    let third = optim::global_norm(&grad(nn::Mlp::call)(&mlp, &one).unwrap());
    assert!((numbers(&all)[2] - third.item::<f32>().unwrap()).abs() < 1e-5);
}

#[test]
fn a_jacobian_and_a_hessian() {
    let rosenbrock = |x: &Array| {
        let (a, b) = (x.index(0), x.index(1));
        (1.0 - &a).square() + 100.0 * (b - a.square()).square()
    };
    let h = hessian(rosenbrock)(&Array::from([1f32, 1.0])).unwrap();
    close(&h, &[802.0, -400.0, -400.0, 200.0], 1e-3);
    let spiral = |t: &Array| numpy::stack(&[t.cos(), t.sin()], 0);
    let j = jacfwd(spiral)(&Array::from(0.0)).unwrap();
    close(&j, &[0.0, 1.0], 1e-6);
}

#[test]
fn operators_that_assign_replace_the_array() {
    let x = Array::from([1f32, 2.0]);
    let mut y = x.clone();
    y += &x;
    y *= 2.0;
    y -= 1.0;
    y /= &x;
    assert_eq!(numbers(&y), [3.0, 3.5]);
    assert_eq!(numbers(&x), [1.0, 2.0]);
}

#[test]
fn arrays_come_from_ndarray_and_go_back() {
    let there = ndarray::array![[1f32, 2.0], [3.0, 4.0]];
    let here = Array::from(there.t().to_owned());
    assert_eq!(numbers(&here), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(here.t().to_ndarray::<f32>().unwrap(), there.into_dyn());
}

#[test]
fn a_classifier_is_judged_by_its_accuracy() {
    let logits = random::normal(&random::key(6), [5, 3]);
    let labels = logits.argmax(-1);
    let accuracy = logits.argmax(-1).eq(&labels).mean(());
    assert_eq!(accuracy.item::<f32>().unwrap(), 1.0);
    let loss = nn::losses::softmax_cross_entropy_with_integer_labels(&logits, &labels).mean(());
    let by_hand = -(nn::log_softmax(&logits, -1) * nn::one_hot(&labels, 3, DType::F32)).sum(-1);
    close(&loss, &numbers(&by_hand.mean(())), 1e-6);
}
