//! Optimisers and schedules against optax, and what becomes of leaves that are not trained.

mod support;

use optim::{Optimiser, State};
use quaxide::prelude::*;
use support::golden::{EXACT, F32, Golden, STEPS};

/// The parameters of the golden runs.
#[derive(Clone, Debug, PyTree)]
struct Params {
    b: Array,
    w: Array,
}

fn golden() -> (Golden, Params) {
    let file = Golden::open("optim");
    let like = Params {
        b: Array::zeros([2], DType::F32),
        w: Array::zeros([3, 2], DType::F32),
    };
    let start = file.fill("start", &like);
    (file, start)
}

/// Row `i` of an array.
fn row(x: &Array, i: usize) -> Array {
    let shape = x.shape();
    let size: usize = shape[1..].iter().product();
    let all = x.to_vec::<f32>().unwrap();
    Array::new(&shape[1..], all[i * size..(i + 1) * size].to_vec())
}

/// Runs 20 steps, eagerly or compiled, and compares the parameters after each.
#[track_caller]
fn run(name: &str, optimiser: impl Optimiser) {
    let (file, start) = golden();
    let grads = ["b", "w"].map(|leaf| file.get(&format!("grads.{leaf}")));
    let after = ["b", "w"].map(|leaf| file.get(&format!("run/{name}/after.{leaf}")));
    let step = |params: &Params, state: &State<Params>, g: &Params| -> Result<_> {
        let (updates, state) = optimiser.update(g, state, params)?;
        Ok((optim::apply_updates(params, &updates)?, state))
    };
    let compiled = jit(step);
    let mut now = (start.clone(), optimiser.init(&start).unwrap());
    let mut fast = now.clone();
    let mut seen = vec![];
    for i in 0..20 {
        let g = Params {
            b: row(&grads[0], i),
            w: row(&grads[1], i),
        };
        now = step(&now.0, &now.1, &g).unwrap();
        fast = compiled(&fast.0, &fast.1, &g).unwrap();
        assert_eq!(tree::structure(&now), tree::structure(&fast));
        seen.push(now.0.clone());
    }
    let leaf = |which: &dyn Fn(&Params) -> Array, golden: &Array, key: &str| {
        let all: Vec<f32> = seen
            .iter()
            .flat_map(|p| which(p).to_vec::<f32>().unwrap())
            .collect();
        file.check(key, &Array::new(golden.shape(), all), STEPS);
    };
    leaf(&|p| p.b.clone(), &after[0], &format!("run/{name}/after.b"));
    leaf(&|p| p.w.clone(), &after[1], &format!("run/{name}/after.w"));
    let last = |x: &Array| x.to_vec::<f32>().unwrap();
    for (x, y) in last(&now.0.w).iter().zip(last(&fast.0.w)) {
        assert!(
            (x - y).abs() <= 1e-5 + 1e-4 * y.abs(),
            "{name}: {x} eager, {y} compiled"
        );
    }
}

#[test]
fn runs_are_optax_s() {
    use optim::*;
    run("sgd", sgd(0.1));
    run("sgd_momentum", sgd(0.1).momentum(0.9));
    run("sgd_nesterov", sgd(0.1).nesterov(0.9));
    run("adam", adam(1e-2));
    run("adam_options", adam(1e-2).betas(0.8, 0.95).eps(1e-4, 1e-6));
    run("adam_nesterov", adam(1e-2).nesterov());
    let warm = warmup_cosine_decay_schedule(0.0, 0.1, 5, 20, 0.01).unwrap();
    run("adamw", adamw(warm).weight_decay(0.1));
    run("adamw_default", adamw(1e-2));
    run(
        "adamw_mask",
        adamw(1e-2).weight_decay(0.1).mask(|path, _| path == ".w"),
    );
    run("lion", lion(1e-2));
    run("lion_options", lion(1e-2).betas(0.8, 0.9).weight_decay(0.1));
    run("rmsprop", rmsprop(1e-2));
    run("adagrad", adagrad(1e-1));
    let decayed = || adamw(1e-2).weight_decay(0.1);
    run(
        "clip_by_global_norm_adamw",
        chain((clip_by_global_norm(1.0), decayed())),
    );
    run(
        "clip_by_global_norm_sgd",
        chain((clip_by_global_norm(1.0), sgd(0.1).momentum(0.9))),
    );
    run("clip_sgd", chain((clip(0.5), sgd(0.1))));
    run(
        "decay_chain",
        chain((add_decayed_weights(0.1), scale_by_adam(), scale(-1e-2))),
    );
    run(
        "masked_sgd",
        chain((masked(scale(0.0), |path, _| path == ".b"), sgd(0.1))),
    );
}

#[test]
fn schedules_are_optax_s() {
    use optim::*;
    let (file, _) = golden();
    let check = |name: &str, schedule: Schedule| {
        let values: Vec<f32> = (0..26).map(|i| schedule.at(i).unwrap() as f32).collect();
        file.check(
            &format!("schedule/{name}/values"),
            &Array::from(values),
            F32,
        );
    };
    check("constant", constant_schedule(0.1));
    check("linear", linear_schedule(0.1, 0.01, 10, 5));
    check("polynomial", polynomial_schedule(0.1, 0.01, 2.0, 10, 5));
    check("cosine", cosine_decay_schedule(0.1, 20, 0.05).unwrap());
    check("exponential", exponential_decay(0.1, 5, 0.5).build());
    let stairs = exponential_decay(0.1, 5, 0.5)
        .transition_begin(3)
        .staircase()
        .end_value(0.02);
    check("exponential_staircase", stairs.build());
    check(
        "piecewise_constant",
        piecewise_constant_schedule(0.1, &[(5, 0.5), (12, 0.1)]).unwrap(),
    );
    check("warmup_constant", warmup_constant_schedule(0.0, 0.1, 5));
    check(
        "warmup_cosine",
        warmup_cosine_decay_schedule(0.0, 0.1, 5, 20, 0.01).unwrap(),
    );
    let warm = warmup_exponential_decay_schedule(0.0, 5, exponential_decay(0.1, 4, 0.5));
    check("warmup_exponential", warm.unwrap());
    let two = [
        linear_schedule(0.0, 0.1, 4, 0),
        cosine_decay_schedule(0.1, 10, 0.0).unwrap(),
    ];
    check("join", join_schedules(two, [4]).unwrap());
}

#[test]
fn a_network_is_trained_as_in_optax() {
    let (file, _) = golden();
    let key = random::Key::from_data(file.get("train/key")).unwrap();
    let mut model = nn::MlpConfig::new(2, 1, 8, 2)
        .activation(nn::silu)
        .init(&key);
    file.check_tree("train/param", &model, EXACT);
    let (x, y) = (file.get("train/x"), file.get("train/y"));
    let loss = |m: &nn::Mlp, x: &Array, y: &Array| nn::losses::mean_squared_error(&m.call(x), y);
    let warm = optim::warmup_cosine_decay_schedule(0.0, 0.03, 5, 20, 0.0).unwrap();
    let optimiser = optim::adamw(warm).weight_decay(0.01);
    let step = jit(|m: &nn::Mlp, s: &State<nn::Mlp>, x: &Array, y: &Array| {
        let (value, g) = value_and_grad(loss)(m, x, y)?;
        let (updates, s) = optimiser.update(&g, s, m)?;
        Ok((value, optim::apply_updates(m, &updates)?, s))
    });
    let mut state = optimiser.init(&model).unwrap();
    let mut losses = vec![];
    for _ in 0..20 {
        let value;
        (value, model, state) = step(&model, &state, &x, &y).unwrap();
        losses.push(value.item::<f32>().unwrap());
    }
    losses.push(loss(&model, &x, &y).item::<f32>().unwrap());
    file.check("train/losses", &Array::from(losses), STEPS);
    file.check_tree("train/after", &model, STEPS);
}

/// A weight, a frozen weight, and a table of integers.
type Mixed = (Array, Array, Array);

fn mixed() -> Mixed {
    (
        Array::from([1f32, 2.0]),
        Array::from([3f32, 4.0]),
        Array::from([5i32, 6]),
    )
}

#[test]
fn what_has_no_gradient_stays() {
    let start = mixed();
    let loss = |p: &Mixed| p.0.square().sum(()) + p.1.stop_gradient().sum(());
    let all: [std::sync::Arc<dyn Optimiser>; 5] = [
        std::sync::Arc::new(optim::adamw(0.1).weight_decay(0.5)),
        std::sync::Arc::new(optim::lion(0.1).weight_decay(0.5)),
        std::sync::Arc::new(optim::sgd(0.1).momentum(0.9)),
        std::sync::Arc::new(optim::chain((
            optim::clip_by_global_norm(0.1),
            optim::sgd(1.0),
        ))),
        std::sync::Arc::new(optim::chain((
            optim::add_decayed_weights(0.5),
            optim::scale(-1.0),
        ))),
    ];
    for optimiser in all {
        let step = |p: &Mixed, s: &State<Mixed>| -> Result<_> {
            let g = grad(loss)(p)?;
            assert!(g.1.is_symbolic_zero() && g.2.is_symbolic_zero());
            let (updates, s) = optimiser.update(&g, s, p)?;
            assert!(updates.1.is_symbolic_zero() && updates.2.is_symbolic_zero());
            Ok((optim::apply_updates(p, &updates)?, s))
        };
        let fast = jit(step);
        let mut now = (start.clone(), optimiser.init(&start).unwrap());
        let mut compiled = now.clone();
        for _ in 0..3 {
            now = step(&now.0, &now.1).unwrap();
            compiled = fast(&compiled.0, &compiled.1).unwrap();
        }
        for p in [&now.0, &compiled.0] {
            assert_ne!(p.0.to_vec::<f32>().unwrap(), [1.0, 2.0]);
            assert_eq!(p.1.to_vec::<f32>().unwrap(), [3.0, 4.0]);
            assert_eq!(p.2.to_vec::<i32>().unwrap(), [5, 6]);
        }
    }
}

#[test]
fn options_and_trees_are_checked() {
    let p = Array::from([1f32, 2.0]);
    let refused = |o: &dyn Fn() -> Result<State<Array>>| o().unwrap_err().to_string();
    let text = refused(&|| optim::adam(0.1).betas(1.0, 0.9).init(&p));
    assert!(text.contains("`b1` is 1"), "{text}");
    refused(&|| optim::adam(f64::NAN).init(&p));
    refused(&|| optim::adam(0.1).eps(-1.0, 0.0).init(&p));
    refused(&|| optim::clip_by_global_norm(f64::NAN).init(&p));
    refused(&|| optim::sgd(0.1).momentum(f64::INFINITY).init(&p));
    assert!(optim::cosine_decay_schedule(0.1, 0, 0.0).is_err());
    assert!(optim::warmup_cosine_decay_schedule(0.0, 0.1, 5, 5, 0.0).is_err());
    assert!(optim::join_schedules([], []).is_err());
    assert!(optim::join_schedules([optim::constant_schedule(1.0)], [3]).is_err());
    assert!(optim::piecewise_constant_schedule(0.1, &[(3, -1.0)]).is_err());

    let adam = optim::adam(0.1);
    let state = adam.init(&p).unwrap();
    let e = adam.update(&Array::from([1f32]), &state, &p).unwrap_err();
    assert!(
        e.to_string().contains("f32[1]") && e.to_string().contains("f32[2]"),
        "{e}"
    );
    let e = optim::sgd(0.1)
        .momentum(0.9)
        .update(&p, &state, &p)
        .unwrap_err();
    assert!(e.to_string().contains("another optimiser"), "{e}");
    let two = vec![p.clone(), p.clone()];
    let state = adam.init(&two).unwrap();
    let one = vec![p.clone()];
    assert!(adam.update(&one, &state, &two).is_err());
    assert!(adam.update(&one, &state, &one).is_err());
    assert!(optim::apply_updates(&one, &two).is_err());
}

#[test]
fn element_types_are_kept() {
    let half = Array::from([1f32, -2.0]).astype(DType::BF16);
    let rate = optim::linear_schedule(0.1, 0.2, 5, 0);
    let adam = optim::adamw(rate).mu_dtype(DType::F32);
    let state = adam.init(&half).unwrap();
    let (u, next) = adam.update(&half, &state, &half).unwrap();
    let moved = optim::apply_updates(&half, &u).unwrap();
    assert_eq!(moved.dtype().unwrap(), DType::BF16);
    let types = |s: &State<Array>| -> Vec<DType> {
        tree::leaves(s).iter().map(|x| x.dtype().unwrap()).collect()
    };
    assert_eq!(types(&state), types(&next));
    assert!(types(&state).contains(&DType::F32) && types(&state).contains(&DType::BF16));

    let z = Array::new([1], vec![num_complex::Complex::new(3f32, 4.0)]);
    assert_eq!(optim::global_norm(&z).item::<f32>().unwrap(), 5.0);
    let adam = optim::adam(0.1);
    let (u, _) = adam.update(&z, &adam.init(&z).unwrap(), &z).unwrap();
    assert_eq!(u.dtype().unwrap(), DType::C64);
}

/// The state of an optimiser is a carry like any other: a whole run as one scan, compiled or not, is the loop.
#[test]
fn a_run_is_a_scan() {
    let (_, start) = golden();
    let optimiser = optim::chain((
        optim::clip_by_global_norm(1.0),
        optim::adamw(0.1).weight_decay(0.01),
    ));
    let xs = random::normal(&random::key(3), ([6, 3], DType::F32));
    let loss = |p: &Params, x: &Array| (x.dot(&p.w) + &p.b - 1.0).square().sum(());
    let step = |(p, state): &(Params, State<Params>), x: &Array| -> Result<_> {
        let (value, g) = value_and_grad(loss)(p, x)?;
        let (updates, state) = optimiser.update(&g, state, p)?;
        Ok(((optim::apply_updates(p, &updates)?, state), value))
    };
    let run = |p: &Params, xs: &Array| scan(step, &(p.clone(), optimiser.init(p)?), xs);
    let mut now = (start.clone(), optimiser.init(&start).unwrap());
    let mut losses = vec![];
    for i in 0..6 {
        let (next, value) = step(&now, &row(&xs, i)).unwrap();
        now = next;
        losses.push(value.item::<f32>().unwrap());
    }
    for ((last, state), values) in [run(&start, &xs).unwrap(), jit(run)(&start, &xs).unwrap()] {
        let close = |x: &Array, y: &Array| {
            let (x, y) = (x.to_f64_vec().unwrap(), y.to_f64_vec().unwrap());
            assert_eq!(x.len(), y.len());
            let near = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-5 + 1e-4 * y.abs();
            assert!(x.iter().zip(&y).all(near), "{x:?} for {y:?}");
        };
        close(&last.w, &now.0.w);
        close(&last.b, &now.0.b);
        close(&values, &Array::from(losses.clone()));
        assert_eq!(tree::structure(&state), tree::structure(&now.1));
        for (x, y) in tree::leaves(&state).iter().zip(tree::leaves(&now.1)) {
            close(x, &y);
        }
    }
}
