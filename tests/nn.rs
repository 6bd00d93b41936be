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

#[test]
fn embeddings_are_equinox_s() {
    let one = |m: &nn::Embedding, x: &Vec<Array>| vec![m.call(&x[0])];
    layer("embedding", |k| nn::Embedding::new(7, 4, k), &["x"], one);
    let rope = |m: &nn::RotaryEmbedding, x: &Vec<Array>| vec![m.call(&x[0])];
    layer("rotary", |_| nn::RotaryEmbedding::new(4), &["x"], rope);

    let table = nn::Embedding::new(3, 2, &random::key(0));
    let y = table
        .call(&Array::from([3i32, -1]))
        .to_vec::<f32>()
        .unwrap();
    assert!(y[0].is_nan() && y[2] == table.weight.to_vec::<f32>().unwrap()[4]);
    assert!(table.call(&Array::from([0f32])).ok().is_err());
    assert!(nn::Embedding::from_weight(Array::from([0f32])).is_err());
    let x = Array::ones([5, 3], DType::F32);
    assert!(nn::RotaryEmbedding::new(3).call(&x).ok().is_err());
    assert!(nn::RotaryEmbedding::new(4).call(&x).ok().is_err());
    // Angles belong to the program, and batches of sequences are turned alike.
    let x = random::normal(&random::key(1), [2, 5, 4]);
    let rope = nn::RotaryEmbedding::new(4);
    let one = vmap(|x: &Array| rope.call(x))(&x).unwrap();
    assert_eq!(
        one.to_vec::<f32>().unwrap(),
        rope.call(&x).to_vec::<f32>().unwrap()
    );
}

#[test]
fn normalisations_are_equinox_s() {
    use nn::{LayerNorm, RmsNorm};
    let layer_norm = |m: &LayerNorm, x: &Vec<Array>| vec![m.call(&x[0])];
    let rms_norm = |m: &RmsNorm, x: &Vec<Array>| vec![m.call(&x[0])];
    layer("layer_norm", |_| LayerNorm::new(6), &["x"], layer_norm);
    layer(
        "layer_norm_2d",
        |_| LayerNorm::new([2, 3]).eps(1e-3),
        &["x"],
        layer_norm,
    );
    let plain = |_: &random::Key| LayerNorm::new(6).use_weight(false).use_bias(false);
    layer("layer_norm_plain", plain, &["x"], layer_norm);
    layer("rms_norm", |_| RmsNorm::new(6), &["x"], rms_norm);
    let plain = |_: &random::Key| RmsNorm::new(6).use_weight(false).use_bias(false);
    layer("rms_norm_plain", plain, &["x"], rms_norm);

    let e = LayerNorm::new(6).call(&Array::ones([2, 5], DType::F32));
    assert!(e.ok().unwrap_err().to_string().contains("[6]"));
    let half = LayerNorm::new(4)
        .dtype(DType::F16)
        .call(&Array::ones([4], DType::F16));
    assert_eq!(half.dtype().unwrap(), DType::F16);
}

#[test]
fn attention_is_equinox_s() {
    use nn::{Attend, MultiheadAttention, MultiheadAttentionConfig};
    let itself = |m: &MultiheadAttention, x: &Vec<Array>| vec![m.call(&x[0], &x[0], &x[0])];
    layer(
        "attention",
        |k| MultiheadAttention::new(2, 8, k),
        &["x"],
        itself,
    );
    let cross = |k: &random::Key| {
        MultiheadAttentionConfig::new(3, 6)
            .key_size(5)
            .value_size(4)
            .output_size(7)
            .qk_size(2)
            .vo_size(3)
            .use_bias(true, true, true, true)
            .init(k)
    };
    layer(
        "attention_cross",
        cross,
        &["query", "key", "value"],
        |m, x| vec![m.call(&x[0], &x[1], &x[2])],
    );
    layer(
        "attention_causal",
        |k| MultiheadAttention::new(2, 8, k),
        &["x"],
        |m, x| {
            let rope = nn::RotaryEmbedding::new(4);
            let how = Attend::new().causal().rotary(&rope);
            vec![m.call_with(&x[0], &x[0], &x[0], &how)]
        },
    );

    let m = MultiheadAttention::new(2, 8, &random::key(0));
    let x = random::normal(&random::key(1), [5, 8]);
    let causal = m.call_with(&x, &x, &x, &Attend::new().causal());
    let mask = nn::causal_mask(5, 5);
    let masked = m.call_with(&x, &x, &x, &Attend::new().mask(&mask));
    assert_eq!(
        causal.to_vec::<f32>().unwrap(),
        masked.to_vec::<f32>().unwrap()
    );
    let each = mask.broadcast_to([2, 5, 5]);
    let masked = m.call_with(&x, &x, &x, &Attend::new().mask(&each));
    assert_eq!(
        causal.to_vec::<f32>().unwrap(),
        masked.to_vec::<f32>().unwrap()
    );
    for wrong in [
        nn::causal_mask(4, 5),
        Array::ones([5, 5], DType::F32),
        Array::from(true),
    ] {
        assert!(
            m.call_with(&x, &x, &x, &Attend::new().mask(&wrong))
                .ok()
                .is_err()
        );
    }
    assert!(
        m.call(&x, &x, &Array::ones([4, 8], DType::F32))
            .ok()
            .is_err()
    );
    let dropped = MultiheadAttentionConfig::new(2, 8)
        .dropout_p(0.5)
        .init(&random::key(0));
    assert!(dropped.call(&x, &x, &x).ok().is_err());
    let key = random::key(2);
    let y = dropped.call_with(&x, &x, &x, &Attend::new().key(&key));
    assert_ne!(
        y.to_vec::<f32>().unwrap(),
        m.call(&x, &x, &x).to_vec::<f32>().unwrap()
    );
    let off = nn::inference_mode(&dropped, true);
    assert_eq!(
        off.call(&x, &x, &x).to_vec::<f32>().unwrap(),
        m.call(&x, &x, &x).to_vec::<f32>().unwrap()
    );
}

#[test]
fn cells_are_equinox_s() {
    layer(
        "gru_cell",
        |k| nn::GruCell::new(3, 4, k),
        &["x", "h"],
        |m, x| vec![m.call(&x[0], &x[1])],
    );
    layer(
        "lstm_cell",
        |k| nn::LstmCell::new(3, 4, k),
        &["x", "h", "c"],
        |m, x| {
            let (h, c) = m.call(&x[0], (&x[1], &x[2]));
            vec![h, c]
        },
    );
    let cell = nn::CellConfig::new(3, 4)
        .use_bias(false)
        .gru(&random::key(0));
    assert!(cell.bias.is_none() && cell.bias_n.is_none());
    let (x, h) = (
        Array::ones([2, 3], DType::F32),
        Array::ones([2, 4], DType::F32),
    );
    assert_eq!(cell.call(&x, &h).shape(), [2, 4]);
    assert!(cell.call(&h, &h).ok().is_err());
    let (h, c) = nn::LstmCell::new(3, 4, &random::key(0)).call(&h, (&h, &h));
    assert!(h.ok().is_err() && c.ok().is_err());
}

#[test]
fn dropout_is_equinox_s() {
    let file = Golden::open("nn");
    let key = random::Key::from_data(file.get("dropout/key")).unwrap();
    let x = file.get("dropout/in/x");
    let layer = nn::Dropout::new(0.4);
    file.check("dropout/out", &layer.call(&x, Some(&key)), EXACT);
    assert!(
        layer
            .call(&x, None)
            .ok()
            .unwrap_err()
            .to_string()
            .contains("key")
    );
    for p in [-0.1, 1.5, f64::NAN] {
        assert!(nn::Dropout::new(p).call(&x, Some(&key)).ok().is_err());
    }
    let all = nn::Dropout::new(1.0).call(&x, Some(&key));
    assert_eq!(all.abs().max(()).item::<f32>().unwrap(), 0.0);
}

#[test]
fn layers_in_sequence() {
    let [k1, k2, k3] = random::key(0).split();
    let net = nn::Sequential::new()
        .then(nn::Linear::new(3, 8, &k1))
        .then(nn::LayerNorm::new(8))
        .then(nn::Activation::new(nn::silu))
        .then(nn::Sequential::new().then(nn::Linear::new(8, 2, &k2)))
        .then(nn::Dropout::new(0.5));
    let x = random::normal(&k3, [4, 3]);
    assert!(net.call(&x).ok().is_err());
    assert_eq!(net.call_with_key(&x, &k3).shape(), [4, 2]);
    let net = nn::inference_mode(&net, true);
    // A sequence is a tree: it is differentiated, compiled, adapted.
    let g = grad(|n: &nn::Sequential, x: &Array| n.call(x).square().sum(()))(&net, &x).unwrap();
    assert_eq!(tree::structure(&g), tree::structure(&net));
    let y = jit(nn::Sequential::call)(&net, &x).unwrap();
    let lora = loraify(&net, LoraConfig::rank(2), &k1).unwrap();
    let z = quaxify(nn::Sequential::call)(&lora, &x).unwrap();
    for (y, z) in y
        .to_vec::<f32>()
        .unwrap()
        .iter()
        .zip(z.to_vec::<f32>().unwrap())
    {
        assert!((y - z).abs() < 1e-5);
    }
    let wrapped = tree::leaves_with_paths(&lora).into_iter().map(|(p, _)| p);
    let wrapped: Vec<String> = wrapped.filter(|p| p.ends_with(".a")).collect();
    assert_eq!(wrapped, ["[0].weight.a", "[3][0].weight.a"]);
}

#[test]
fn convolutions_are_equinox_s() {
    use nn::{ConvConfig, PaddingMode};
    use quaxide::array::Pads;
    fn check<const N: usize>(case: &str, how: ConvConfig<N>) {
        let one = |m: &nn::Conv<N>, x: &Vec<Array>| vec![m.call(&x[0])];
        layer(case, |k| how.init(k), &["x"], one);
    }
    check("conv1d", ConvConfig::<1>::new(4, 3, 3));
    let strided = ConvConfig::<1>::new(4, 2, 3)
        .stride(2)
        .padding(2)
        .dilation(2);
    check("conv1d_strided", strided.use_bias(false));
    check(
        "conv1d_groups",
        ConvConfig::<1>::new(4, 6, 2).padding([(1, 0)]).groups(2),
    );
    check(
        "conv1d_same",
        ConvConfig::<1>::new(4, 2, 4).padding(Pads::Same),
    );
    let circular = ConvConfig::<1>::new(4, 2, 3).padding(1);
    check(
        "conv1d_circular",
        circular.padding_mode(PaddingMode::Circular),
    );
    check("conv2d", ConvConfig::<2>::new(4, 3, 3));
    let mixed = ConvConfig::<2>::new(4, 2, [3, 2])
        .stride([2, 1])
        .padding([1, 2]);
    check("conv2d_mixed", mixed.dilation([1, 2]));
    check(
        "conv2d_depthwise",
        ConvConfig::<2>::new(4, 4, 3).padding(1).groups(4),
    );
    let groups = ConvConfig::<2>::new(4, 6, 3)
        .stride(2)
        .padding([(0, 1), (1, 0)]);
    check("conv2d_groups", groups.groups(2).use_bias(false));
    check(
        "conv2d_same",
        ConvConfig::<2>::new(4, 2, [2, 3])
            .stride(2)
            .padding(Pads::Same),
    );
    let padded = || ConvConfig::<2>::new(4, 2, 3).padding(1);
    check(
        "conv2d_reflect",
        padded().padding_mode(PaddingMode::Reflect),
    );
    check(
        "conv2d_replicate",
        padded().padding_mode(PaddingMode::Replicate),
    );
}

#[test]
fn convolutions_take_examples_and_refuse_the_rest() {
    use nn::{Conv2d, ConvConfig};
    let key = random::key(0);
    let layer = Conv2d::new(3, 2, 3, &key);
    let x = random::normal(&key, [4, 5, 3, 6, 6]);
    let y = layer.call(&x);
    assert_eq!(y.shape(), [4, 5, 2, 4, 4]);
    let each = vmap(vmap(|x: &Array| layer.call(x)))(&x).unwrap();
    for (a, b) in y
        .to_vec::<f32>()
        .unwrap()
        .iter()
        .zip(each.to_vec::<f32>().unwrap())
    {
        assert!((a - b).abs() < 1e-5);
    }
    let e = layer.call(&Array::ones([4, 6, 6], DType::F32));
    let e = e.ok().unwrap_err().to_string();
    assert!(e.contains("3 channels") && e.contains("f32[4,6,6]"), "{e}");
    assert!(layer.call(&Array::ones([6, 6], DType::F32)).ok().is_err());
    for groups in [0, 2] {
        let bad = ConvConfig::<2>::new(3, 2, 3).groups(groups).init(&key);
        let e = bad.weight.ok().unwrap_err().to_string();
        assert!(e.contains("groups"), "{e}");
        assert!(bad.call(&x).ok().is_err());
    }
    let still = ConvConfig::<2>::new(3, 2, 3).stride(0).init(&key);
    assert!(still.call(&x).ok().is_err());
}

#[test]
fn pools_are_equinox_s() {
    use nn::Pool;
    use quaxide::array::Pads;
    let x = Array::new([1, 5], vec![1f32, -2.0, 7.0, 4.0, 0.0]);
    let numbers = |y: Array| y.to_vec::<f32>().unwrap();
    assert_eq!(numbers(Pool::<1>::max(2).call(&x)), [1.0, 7.0, 7.0, 4.0]);
    assert_eq!(numbers(Pool::<1>::mean(2).stride(2).call(&x)), [-0.5, 5.5]);
    assert_eq!(
        numbers(Pool::<1>::mean(2).stride(2).padding(1).call(&x)),
        [0.5, 2.5, 2.0]
    );
    let low = Array::new([1, 2], vec![-3f32, -4.0]);
    assert_eq!(
        numbers(Pool::<1>::max(3).padding(Pads::Same).call(&low)),
        [-3.0, -3.0]
    );
    let image = Array::ones([2, 3, 6, 6], DType::F32);
    assert_eq!(
        Pool::<2>::max(2).stride(2).call(&image).shape(),
        [2, 3, 3, 3]
    );
    let g = grad(|x: &Array| Pool::<1>::max(2).stride(2).call(x).sum(()))(&x).unwrap();
    assert_eq!(numbers(g), [1.0, 0.0, 1.0, 0.0, 0.0]);
    let whole = Pool::<1>::mean(2).call(&Array::from([[1i32, 2]]));
    assert_eq!(numbers(whole), [1.5]);
    assert!(Pool::<2>::max(2).call(&x).ok().is_err());
}

#[test]
fn activations_of_a_value_are_refused_with_its_name() {
    let lora = LoraArray::from_parts(
        Array::ones([4, 3], DType::F32),
        Array::ones([4, 1], DType::F32),
        Array::ones([1, 3], DType::F32),
    );
    let lora = Array::from_value(lora.unwrap());
    for f in [nn::relu, nn::silu, nn::softplus] {
        let e = quaxify(move |w: &Array| f(w))(&lora).unwrap_err();
        assert!(e.to_string().contains("lora"), "{e}");
    }
}
