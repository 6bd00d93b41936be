//! The text of programs equals `jax.make_jaxpr`'s, character for character.

use quaxide::{op, prelude::*, trace::bind, trace::bind_all};
use std::collections::BTreeMap;

fn golden(text: &str) -> BTreeMap<String, String> {
    let cases = text.split("== ").skip(1).filter_map(|c| c.split_once('\n'));
    cases
        .map(|(name, body)| (name.to_string(), body.trim_end_matches('\n').to_string()))
        .collect()
}

/// Shapes and axes.
fn d(x: &[usize]) -> quaxide::Dims {
    x.into()
}

type Case = (
    &'static str,
    Box<dyn Fn(&Array) -> Vec<Array> + Send + Sync>,
);

fn one(name: &'static str, f: impl Fn(&Array) -> Array + Send + Sync + 'static) -> Case {
    (name, Box::new(move |x| vec![f(x)]))
}

fn cases() -> Vec<Case> {
    use op::{Binary, RoundingMethod, Unary};
    let unary = |name, u: Unary| one(name, move |x| bind(u, &[x]));
    let twice = |name, b: Binary| one(name, move |x| bind(b, &[x, x]));
    let slice = |x: &Array, from: &[usize], to: &[usize], strides: Option<&[usize]>| {
        bind(
            op::Slice {
                start_indices: d(from),
                limit_indices: d(to),
                strides: strides.map(d),
            },
            &[x],
        )
    };
    let index = |i: i32| Array::scalar(i);
    vec![
        unary("sin", Unary::Sin),
        unary("neg", Unary::Neg),
        unary("exp", Unary::Exp),
        unary("log", Unary::Log),
        unary("tanh", Unary::Tanh),
        unary("logistic", Unary::Logistic),
        unary("rsqrt", Unary::Rsqrt),
        unary("erf", Unary::Erf),
        unary("abs", Unary::Abs),
        unary("is_finite", Unary::IsFinite),
        unary("round", Unary::Round(RoundingMethod::AwayFromZero)),
        one("stop_gradient", Array::stop_gradient),
        one("integer_pow", |x| x.integer_pow(3)),
        one("chain", |x| (x.sin() + x) * x.exp()),
        one("literal", |x| x * 2.0),
        one("rsub", |x| 1 - x),
        one("pow", |x| x.pow(1.5)),
        twice("compare", Binary::Gt),
        twice("max", Binary::Max),
        twice("rem", Binary::Rem),
        twice("nextafter", Binary::Nextafter),
        one("select_n", |x| bind(op::SelectN, &[&x.gt(x), x, x])),
        one("clamp", |x| {
            bind(op::Clamp, &[&Array::scalar(0f32), x, &Array::scalar(1f32)])
        }),
        one("convert", |x| x.astype(DType::I32)),
        one("bitcast", |x| {
            bind(
                op::BitcastConvertType {
                    new_dtype: DType::I32,
                },
                &[x],
            )
        }),
        one("transpose", |x| x.transpose([1, 0])),
        one("reshape", |x| x.reshape([12])),
        one("squeeze", move |x| {
            slice(x, &[0, 0], &[1, 4], None).squeeze(0)
        }),
        one("slice_strides", move |x| {
            slice(x, &[0, 1], &[3, 4], Some(&[2, 1]))
        }),
        one("broadcast_in_dim", |x| {
            x.broadcast_in_dim([3, 1, 4], [0, 2])
        }),
        one("full", |_| Array::full([3], 2.0, DType::F32)),
        one("iota", |_| Array::iota([3, 4], 1, DType::I32)),
        one("concatenate", |x| numpy::concatenate(&[x, x], 0)),
        one("pad", |x| {
            let padding_config = vec![(1, 1, 0), (0, 0, 1)];
            bind(op::Pad { padding_config }, &[x, &Array::scalar(0f32)])
        }),
        one("rev", |x| x.flip(0)),
        one("dynamic_slice", move |x| {
            bind(
                op::DynamicSlice {
                    slice_sizes: d(&[2, 2]),
                },
                &[x, &index(1), &index(2)],
            )
        }),
        one("dynamic_update_slice", move |x| {
            let update = slice(x, &[0, 0], &[1, 4], None);
            bind(op::DynamicUpdateSlice, &[x, &update, &index(1), &index(0)])
        }),
        ("reductions", Box::new(|x| vec![x.sum(0), x.argmax(0)])),
        one("dot_general", |x| {
            x.dot_general(x, op::DotGeneral::new(([1], [1]), ((), ())))
        }),
        one("dot_batched", |x| {
            x.dot_general(x, op::DotGeneral::new(((), ()), ([0], [0])))
        }),
        one("sort", |x| x.sort(-1)),
        (
            "top_k",
            Box::new(|x| {
                bind_all(op::TopK { axis: 1, k: 2 }, std::slice::from_ref(x)).unwrap_or_default()
            }),
        ),
        one("cumsum", |x| x.cumsum(1)),
        one("jit", |x| {
            let y = x.clone();
            Array::from_result(jit(move |z: &Array| z.sin() + &y)(x))
        }),
    ]
}

/// Functions of `jax.nn` and `jax.numpy`.
fn square_plus(x: &Array) -> Array {
    x * x + 1
}

fn powers(x: &Array) -> Array {
    (0..12).fold(x.clone(), |x, _| &x * &x)
}

fn functions() -> Vec<Case> {
    vec![
        one("called_twice", |x| {
            let f = jit(square_plus);
            Array::from_result((|| Ok(f(x)? + f(&(x + 1))?))())
        }),
        one("called_twice_each", |x| {
            let f = jit(square_plus);
            let wave = jit(|y: &Array| lax::sin(y));
            let other = jit(|y: &Array| lax::cos(y));
            Array::from_result((|| Ok(wave(&f(x)?)? + other(&f(&wave(&other(x)?)?)?)?))())
        }),
        one("called_in_scan", |x| {
            let f = jit(square_plus);
            let step = |c: &Array, y: &Array| Ok::<_, Error>((f(&f(c)?)? + y, c.clone()));
            Array::from_result(scan(step, &x.index(0), x).map(|(_, y)| y))
        }),
        one("called_once_and_long", |x| {
            Array::from_result(jit(powers)(x))
        }),
        one("relu", nn::relu),
        one("relu6", nn::relu6),
        one("silu", nn::silu),
        one("sigmoid", nn::sigmoid),
        one("softplus", nn::softplus),
        one("log_sigmoid", nn::log_sigmoid),
        one("soft_sign", nn::soft_sign),
        one("gelu", nn::gelu),
        one("celu", |x| nn::celu(x, 1.0)),
        one("hard_silu", nn::hard_silu),
        one("mish", nn::mish),
        one("squareplus", |x| nn::squareplus(x, 4.0)),
        one("elu", |x| nn::elu(x, 1.0)),
        one("leaky_relu", |x| nn::leaky_relu(x, 0.01)),
        one("dot", |x| x.dot(&x.t())),
        one("matmul", |x| x.matmul(&x.t())),
        one("einsum", |x| numpy::einsum("ij,kj->ik", &[x, x])),
        one("tensordot", |x| numpy::tensordot(x, x, 2)),
        one("inner", |x| numpy::inner(x, x)),
        one("vdot", |x| numpy::vdot(x, x)),
        one("power", |x| x.pow(3)),
        one("mean", |x| x.mean(0)),
        one("associative_scan", |x| {
            Array::from_result(associative_scan(
                |a: &Array, b: &Array| lax::add(a, b),
                x,
                false,
                1,
            ))
        }),
        one("associative_scan_reverse", |x| {
            Array::from_result(associative_scan(
                |a: &Array, b: &Array| lax::mul(a, b),
                x,
                true,
                0,
            ))
        }),
        one("map", |x| Array::from_result(lax::map(lax::sin, x))),
        one("scan_unroll", |x| {
            let unroll = ScanOptions::new().unroll(2);
            let first = x.index(0);
            let step = |c: &Array, y: &Array| (c + y, c.clone());
            Array::from_result(scan_with(unroll, step, &first, x).map(|(_, y)| y))
        }),
        one("dynamic_slice_in_dim", |x| {
            let at = lax::convert_element_type(&x.index((0, 0)), DType::I32);
            lax::dynamic_slice_in_dim(x, &at, 2, 1)
        }),
        one("batch_matmul", |x| {
            lax::batch_matmul(x, &lax::transpose(x, [1, 0]))
        }),
        one("lax_select", |x| {
            lax::select(&lax::gt(x, 0.0), x, &lax::neg(x))
        }),
        one("lax_clamp", |x| lax::clamp(0.0, x, 1.0)),
        one("expand_dims", |x| lax::expand_dims(x, [0, 3])),
        one("collapse", |x| lax::collapse(x, 0, 2)),
        one("lax_dot", |x| lax::dot(x, &lax::transpose(x, [1, 0]))),
        one("fft", |x| lax::fft(x, op::FftType::Rfft, [4])),
        one("conv_transpose", |x| {
            let image = lax::reshape(x, [1, 12, 1]);
            let kernel = lax::reshape(&lax::slice(x, [0, 0], [3, 1], None), [3, 1, 1]);
            let same = quaxide::array::Pads::Same;
            lax::conv_transpose(&image, &kernel, [2], same)
        }),
        (
            "sort_key_val",
            Box::new(|x| {
                let both = lax::sort_key_val(x, &lax::neg(x), 0);
                both.map_or(vec![], |(k, v)| vec![k, v])
            }),
        ),
        one("reduce_precision", |x| lax::reduce_precision(x, 5, 10)),
        one("sum_int8", |x| x.astype(DType::I8).sum(())),
    ]
}

#[test]
fn programs_print_as_jax_prints_them() {
    compare(cases(), include_str!("golden/jaxprs.txt"));
    compare(functions(), include_str!("golden/functions_jaxprs.txt"));
}

fn compare(cases: Vec<Case>, text: &str) {
    let golden = golden(text);
    let x = Array::ones([3, 4], DType::F32);
    assert_eq!(cases.len(), golden.len(), "every golden program has a case");
    let mut wrong = vec![];
    for (name, f) in cases {
        let found = make_jaxpr(|x: &Array| f(x))(&x).map(|j| j.to_string());
        let found = found.unwrap_or_else(|e| e.to_string());
        let wanted = &golden[name];
        if found != *wanted {
            wrong.push(format!("{name}:\n{found}\njax:\n{wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
