//! Layers, activations and losses against JAX, Equinox and optax.

mod support;

use quaxide::prelude::*;
use support::golden::{EXACT, F32, F64, Golden, Tolerance};

/// Checks everything that the file holds of a layer: initialisation bit for bit, output, gradients.
#[track_caller]
fn layer<M: PyTree>(
    case: &str,
    init: impl Fn(&random::Key) -> M,
    inputs: &[&str],
    call: impl Fn(&M, &Vec<Array>) -> Vec<Array> + Send + Sync,
) {
    let file = Golden::open("nn");
    let key = match file.has(&format!("{case}/key")) {
        true => random::Key::from_data(file.get(&format!("{case}/key"))).unwrap(),
        false => random::key(0),
    };
    let made = init(&key);
    let model = file.fill(&format!("{case}/param"), &made);
    if file.has(&format!("{case}/key")) {
        file.check_tree(&format!("{case}/param"), &made, EXACT);
    }
    let x: Vec<Array> = inputs
        .iter()
        .map(|name| file.get(&format!("{case}/in/{name}")))
        .collect();
    // The file keeps numbers without axes as arrays of one.
    let call = |m: &M, x: &Vec<Array>| match case {
        "linear_scalar_in" => call(m, &vec![x[0].reshape(())]),
        "linear_scalar_out" | "mlp_plain" => call(m, x).iter().map(|y| y.reshape([1])).collect(),
        _ => call(m, x),
    };
    let out = call(&model, &x);
    if let [out] = &out[..] {
        file.check(&format!("{case}/out"), out, F32);
    } else {
        for (i, out) in out.iter().enumerate() {
            file.check(&format!("{case}/out/{i}"), out, F32);
        }
    }
    let loss = |(m, x): &(M, Vec<Array>)| {
        let squares = call(m, x)
            .iter()
            .map(|y| y.square().sum(()))
            .reduce(|a, b| a + b);
        squares.unwrap()
    };
    let (dm, dx) = grad(loss)(&(model, x)).unwrap();
    file.check_tree(&format!("{case}/grad"), &dm, F32);
    for (name, g) in inputs.iter().zip(&dx) {
        if file.has(&format!("{case}/grad_in/{name}")) {
            file.check(&format!("{case}/grad_in/{name}"), g, F32);
        }
    }
}

#[test]
fn linear_maps_are_equinox_s() {
    use nn::{Features::Scalar, LinearConfig};
    let one = |m: &nn::Linear, x: &Vec<Array>| vec![m.call(&x[0])];
    layer("linear", |k| nn::Linear::new(5, 3, k), &["x"], one);
    layer("linear_batch", |k| nn::Linear::new(5, 3, k), &["x"], one);
    layer(
        "linear_batch",
        |k| nn::Linear::new(5, 3, k),
        &["x"],
        |m, x| vec![vmap(|x: &Array| m.call(x))(&x[0]).unwrap()],
    );
    let plain = |k: &random::Key| LinearConfig::new(4, 6).use_bias(false).init(k);
    layer("linear_no_bias", plain, &["x"], one);
    layer(
        "linear_scalar_in",
        |k| nn::Linear::new(Scalar, 3, k),
        &["x"],
        one,
    );
    layer(
        "linear_scalar_out",
        |k| nn::Linear::new(3, Scalar, k),
        &["x"],
        one,
    );
}

#[test]
fn perceptrons_are_equinox_s() {
    use nn::MlpConfig;
    let one = |m: &nn::Mlp, x: &Vec<Array>| vec![m.call(&x[0])];
    layer("mlp", |k| nn::Mlp::new(4, 3, 8, 2, k), &["x"], one);
    let gelu = |k: &random::Key| MlpConfig::new(4, 3, 8, 1).activation(nn::gelu).init(k);
    layer("mlp_batch", gelu, &["x"], one);
    let plain = |k: &random::Key| {
        MlpConfig::new(3, nn::Features::Scalar, 8, 3)
            .activation(nn::tanh)
            .final_activation(nn::sigmoid)
            .use_bias(false)
            .use_final_bias(false)
            .init(k)
    };
    layer("mlp_plain", plain, &["x"], one);
    layer("mlp_depth_0", |k| nn::Mlp::new(3, 2, 8, 0, k), &["x"], one);
}

#[test]
fn activations_and_their_derivatives_are_jax_s() {
    type Named = (&'static str, fn(&Array) -> Array);
    let all: [Named; 21] = [
        ("relu", nn::relu),
        ("relu6", nn::relu6),
        ("leaky_relu", |x| nn::leaky_relu(x, 0.01)),
        ("gelu_exact", nn::gelu_exact),
        ("gelu_tanh", nn::gelu),
        ("silu", nn::silu),
        ("softplus", nn::softplus),
        ("sigmoid", nn::sigmoid),
        ("log_sigmoid", nn::log_sigmoid),
        ("elu", |x| nn::elu(x, 1.0)),
        ("selu", nn::selu),
        ("celu", |x| nn::celu(x, 0.7)),
        ("tanh", nn::tanh),
        ("hard_tanh", nn::hard_tanh),
        ("hard_sigmoid", nn::hard_sigmoid),
        ("hard_silu", nn::hard_silu),
        ("mish", nn::mish),
        ("soft_sign", nn::soft_sign),
        ("squareplus", |x| nn::squareplus(x, 4.0)),
        ("sparse_plus", nn::sparse_plus),
        ("sparse_sigmoid", nn::sparse_sigmoid),
    ];
    let file = Golden::open("activations");
    for (dtype, tolerance) in [("f32", F32), ("f64", F64)] {
        let x = file.get(&format!("x/{dtype}"));
        for (name, f) in all {
            file.check(&format!("{name}/{dtype}/out"), &f(&x), tolerance);
            let slope = grad(|x: &Array| f(x).sum(()))(&x).unwrap();
            file.check(&format!("{name}/{dtype}/derivative"), &slope, tolerance);
            let (_, slope) = jvp(f, (&x,), (&Array::ones_like(&x),)).unwrap();
            file.check(&format!("{name}/{dtype}/derivative"), &slope, tolerance);
        }
        type OfRows = (&'static str, fn(&Array) -> Array);
        let of_rows: [OfRows; 5] = [
            ("softmax", |x| nn::softmax(x, -1)),
            ("log_softmax", |x| nn::log_softmax(x, -1)),
            ("logsumexp", |x| nn::logsumexp(x, -1)),
            ("glu", |x| nn::glu(x, -1)),
            ("standardize", |x| nn::standardize(x, -1, 1e-5)),
        ];
        let rows = file.get(&format!("rows/{dtype}"));
        for (name, f) in of_rows {
            let tolerance = match name {
                // The variance near 1000 is a difference of large numbers, which differ in their last bits.
                "standardize" if dtype == "f32" => Tolerance {
                    relative: 0.5,
                    absolute: 0.5,
                },
                "standardize" => Tolerance {
                    relative: 1e-6,
                    absolute: 1e-8,
                },
                _ => tolerance,
            };
            let y = f(&rows);
            file.check(&format!("{name}/{dtype}/out"), &y, tolerance);
            let weights: Vec<f64> = (0..y.size()).map(|i| (i as f64).cos()).collect();
            let weights = Array::new(y.shape(), weights).astype(y.dtype().unwrap());
            let g = grad(|x: &Array| (f(x) * &weights).sum(()))(&rows).unwrap();
            file.check(&format!("{name}/{dtype}/vjp"), &g, tolerance);
        }
    }
}

#[test]
fn activations_at_the_ends_of_the_line() {
    let x = Array::from([f32::NEG_INFINITY, f32::INFINITY, f32::NAN]);
    let relu = nn::relu(&x).to_vec::<f32>().unwrap();
    assert!(relu[0] == 0.0 && relu[1] == f32::INFINITY && relu[2].is_nan());
    let softplus = nn::softplus(&x).to_vec::<f32>().unwrap();
    assert!(softplus[0] == 0.0 && softplus[1] == f32::INFINITY && softplus[2].is_nan());
    let low = Array::from([f32::NEG_INFINITY, f32::NEG_INFINITY]);
    assert_eq!(
        nn::logsumexp(&low, ()).item::<f32>().unwrap(),
        f32::NEG_INFINITY
    );
    assert!(nn::softmax(&low, 3).ok().is_err());
    assert_eq!(nn::gelu(&Array::from([1i32])).dtype().unwrap(), DType::F32);
}

#[test]
fn losses_are_optax_s() {
    use nn::losses::*;
    let file = Golden::open("losses");
    let check =
        |name: &str, arguments: [&str; 2], f: &(dyn Fn(&Array, &Array) -> Array + Send + Sync)| {
            let [x, y] = arguments.map(|a| file.get(&format!("{name}/in/{a}")));
            file.check(&format!("{name}/out"), &f(&x, &y), F32);
            let g = grad(|(x, y): &(Array, Array)| f(x, y).sum(()))(&(x, y)).unwrap();
            for (argument, g) in arguments.into_iter().zip([g.0, g.1]) {
                if file.has(&format!("{name}/grad/{argument}")) {
                    file.check(&format!("{name}/grad/{argument}"), &g, F32);
                }
            }
        };
    let classes = ["logits", "labels"];
    check(
        "softmax_cross_entropy_with_integer_labels",
        classes,
        &softmax_cross_entropy_with_integer_labels,
    );
    check("softmax_cross_entropy", classes, &softmax_cross_entropy);
    check(
        "sigmoid_binary_cross_entropy",
        classes,
        &sigmoid_binary_cross_entropy,
    );
    let errors = ["predictions", "targets"];
    check("huber_loss", errors, &|x, y| huber_loss(x, y, 1.0));
    check("huber_loss_half", errors, &|x, y| huber_loss(x, y, 0.5));
    check("l2_loss", errors, &l2_loss);
    check("squared_error", errors, &squared_error);
    check("log_cosh", errors, &log_cosh);
    check("hinge_loss", ["predictor_outputs", "targets"], &hinge_loss);
    check(
        "kl_divergence",
        ["log_predictions", "targets"],
        &kl_divergence,
    );
    check("cosine_distance", errors, &|x, y| {
        cosine_distance(x, y, 0.0)
    });
    let labels = file.get("smooth_labels/in/labels");
    file.check("smooth_labels/out", &smooth_labels(&labels, 0.1), F32);

    let logits = Array::zeros([2, 3], DType::F32);
    let beyond = softmax_cross_entropy_with_integer_labels(&logits, &Array::from([3i32, -1]));
    assert!(beyond.to_vec::<f32>().unwrap().iter().all(|x| x.is_nan()));
    for wrong in [Array::from([1i32]), Array::from([0f32, 1.0])] {
        assert!(
            softmax_cross_entropy_with_integer_labels(&logits, &wrong)
                .ok()
                .is_err()
        );
    }
}

#[test]
fn a_layer_says_what_it_expected() {
    let layer = nn::Linear::new(5, 3, &random::key(0));
    let e = layer
        .call(&Array::zeros([4], DType::F32))
        .ok()
        .unwrap_err()
        .clone();
    let text = e.to_string();
    assert!(
        text.contains("Linear(5 → 3)") && text.contains("f32[4]") && text.contains("nn.rs"),
        "{text}"
    );
    let half = nn::LinearConfig::new(2, 2)
        .dtype(DType::BF16)
        .init(&random::key(0));
    assert_eq!(half.weight.dtype().unwrap(), DType::BF16);
    let whole = nn::LinearConfig::new(2, 2)
        .dtype(DType::I32)
        .init(&random::key(0));
    assert!(whole.weight.ok().is_err());
    let stack =
        vmap(|k: &random::Key| nn::Linear::new(4, 3, k))(&random::key(1).split_n(2)).unwrap();
    assert_eq!(stack.weight.shape(), [2, 3, 4]);
    let x = Array::ones([4], DType::F32);
    assert!(
        stack
            .call(&x)
            .ok()
            .unwrap_err()
            .to_string()
            .contains("vmap")
    );
    let y = vmap(nn::Linear::call).in_axes((0, None))(&stack, &x).unwrap();
    assert_eq!(y.shape(), [2, 3]);
}
