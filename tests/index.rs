//! Indexing, order, windows and linear algebra: values and gradients equal JAX's, both modes of differentiation agree, and a
//! mapped function does what a loop does.

mod support;

use quaxide::{
    array::{
        Convolution, Dims, Ellipsis, Index, IntoIndex, NewAxis, Pads, Slice, linalg, sort_together,
    },
    op::{
        CumulativeKind, Gather, GatherDimensionNumbers, GatherScatterMode, Scatter,
        ScatterDimensionNumbers, ScatterKind, TriangularSolve, Window, WindowReducer,
    },
    prelude::*,
};
use std::sync::Arc;
use support::golden::{Golden, Tolerance};

const NEAR: Tolerance = Tolerance {
    relative: 2e-5,
    absolute: 2e-5,
};

/// For sums that JAX rounds more coarsely.
const SUMS: Tolerance = Tolerance {
    relative: 2e-4,
    absolute: 2e-4,
};

type Case = Arc<dyn Fn(&Vec<Array>) -> Result<Vec<Array>> + Send + Sync>;

fn numbers(x: &Array) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

fn is_float(x: &Array) -> bool {
    matches!(x.dtype(), Ok(DType::F32 | DType::F64))
}

/// The sum of the outputs' elements, each with its own weight.
fn loss(f: &Case, x: &Vec<Array>) -> Result<Array> {
    let mut sum = Array::from(0.0);
    for y in f(x)? {
        y.ok()?;
        if is_float(&y) {
            let weights = (Array::arange(y.size(), y.dtype()?) * 1.3).cos();
            sum += (&y * weights.reshape(y.shape())).sum(());
        }
    }
    Ok(sum)
}

fn near(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-4 * (1.0 + a.abs() + b.abs())
}

/// The input of example `k` of a batch: floats change a little, positions are taken in another order.
fn example(x: &Array, k: usize, positions: bool) -> Array {
    let shape: Vec<usize> = x.shape().to_vec();
    if is_float(x) {
        let v: Vec<f32> = x.to_vec::<f32>().unwrap();
        let moved = v
            .iter()
            .enumerate()
            .map(|(i, v)| v * (1.0 + 0.1 * k as f32) + 0.01 * (k * i) as f32);
        Array::new(shape, moved.collect::<Vec<f32>>())
    } else {
        let mut v: Vec<i32> = x.to_vec::<i32>().unwrap();
        if positions && k % 2 == 1 && shape.len() == 2 {
            v = v.chunks(shape[1]).rev().flatten().copied().collect();
        }
        Array::new(shape, v)
    }
}

fn stacked(x: &[Array]) -> Array {
    let mut shape = vec![x.len()];
    shape.extend_from_slice(&x[0].shape());
    if is_float(&x[0]) {
        let all: Vec<f32> = x.iter().flat_map(|x| x.to_vec::<f32>().unwrap()).collect();
        Array::new(shape, all)
    } else {
        let all: Vec<i32> = x.iter().flat_map(|x| x.to_vec::<i32>().unwrap()).collect();
        Array::new(shape, all)
    }
}

/// In double precision, first and second derivatives along a direction against central differences.
fn check_differences(name: &str, inputs: &[Array], f: &Case) {
    let wide = |x: &Array| {
        if is_float(x) {
            x.astype(DType::F64)
        } else {
            x.clone()
        }
    };
    let x: Vec<Array> = inputs.iter().map(wide).collect();
    let direction: Vec<Array> = x
        .iter()
        .map(|x| match is_float(x) {
            true => (Array::arange(x.size(), DType::F64) * 2.1 + 0.4)
                .sin()
                .reshape(x.shape()),
            false => Array::zeros_like(x),
        })
        .collect();
    let moved = |h: f64| -> Vec<Array> {
        let step = |(x, d): (&Array, &Array)| if is_float(x) { x + d * h } else { x.clone() };
        x.iter().zip(&direction).map(step).collect()
    };
    let value = {
        let f = f.clone();
        move |x: &Vec<Array>| loss(&f, x)
    };
    let slope = {
        let (value, direction) = (value.clone(), direction.clone());
        move |x: &Vec<Array>| -> Result<Array> {
            let g = grad(value.clone())(x)?;
            let terms = g.iter().zip(&direction).filter(|(_, d)| is_float(d));
            Ok(terms.fold(Array::from(0.0), |sum, (g, d)| sum + (g * d).sum(())))
        }
    };
    let h = 1e-5;
    let number = |y: Result<Array>| -> f64 {
        y.and_then(|y| y.item())
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let compare = |order: &str, low: f64, high: f64, along: Result<(Array, Array)>| {
        let difference = (high - low) / (2.0 * h);
        let along = number(along.map(|y| y.1));
        if difference.is_finite() {
            assert!(
                near(along, difference),
                "{name}: {order} {along}, differences {difference}"
            );
        }
    };
    let (low, high) = (number(value(&moved(-h))), number(value(&moved(h))));
    let along = jvp(value, (&x,), (&direction,));
    compare("derivative", low, high, along);
    let (low, high) = (number(slope(&moved(-h))), number(slope(&moved(h))));
    let along = jvp(slope, (&x,), (&direction,));
    compare("second derivative", low, high, along);
}

/// A function of the inputs of a golden case against the values, against itself under `jit`, `jvp`, `grad` and `vmap`.
fn check(golden: &Golden, name: &str, tolerance: Tolerance, f: Case) {
    let inputs: Vec<Array> = (0..)
        .map(|i| format!("{name}/in{i}"))
        .take_while(|key| golden.has(key))
        .map(|key| golden.get(&key))
        .collect();
    assert!(!inputs.is_empty(), "no such case: {name}");
    let outs = f(&inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (i, y) in outs.iter().enumerate() {
        y.ok().unwrap_or_else(|e| panic!("{name}: {e}"));
        golden.check(&format!("{name}/out{i}"), y, tolerance);
    }
    assert!(!golden.has(&format!("{name}/out{}", outs.len())), "{name}");

    if golden
        .keys()
        .iter()
        .any(|k| k.starts_with(&format!("{name}/grad")))
    {
        let g = {
            let f = f.clone();
            grad(move |x: &Vec<Array>| loss(&f, x))(&inputs)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        for (i, g) in g.iter().enumerate().filter(|(i, _)| is_float(&inputs[*i])) {
            golden.check(&format!("{name}/grad{i}"), g, tolerance);
        }
        // ⟨gradient, direction⟩ is the derivative along it.
        let directions: Vec<Array> = inputs
            .iter()
            .map(|x| {
                if is_float(x) {
                    (Array::arange(x.size(), DType::F32) * 2.1 + 0.4)
                        .sin()
                        .reshape(x.shape())
                } else {
                    Array::zeros_like(x)
                }
            })
            .collect();
        let along = {
            let f = f.clone();
            jvp(
                move |x: &Vec<Array>| loss(&f, x),
                (&inputs,),
                (&directions,),
            )
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .1
        };
        let product: f64 = g
            .iter()
            .zip(&directions)
            .filter(|(g, _)| is_float(g))
            .map(|(g, d)| {
                numbers(g)
                    .iter()
                    .zip(numbers(d))
                    .map(|(g, d)| g * d)
                    .sum::<f64>()
            })
            .sum();
        let along: f64 = along.item().unwrap();
        assert!(near(product, along), "{name}: jvp {along}, vjp {product}");
    }

    let finite = |x: &Array| numbers(x).iter().all(|x| x.is_finite());
    if inputs.iter().any(is_float) && inputs.iter().all(finite) {
        check_differences(name, &inputs, &f);
    }

    for positions in [false, true] {
        let examples: Vec<Vec<Array>> = (0..3)
            .map(|k| inputs.iter().map(|x| example(x, k, positions)).collect())
            .collect();
        let mapped: Vec<bool> = inputs.iter().map(|x| is_float(x) || positions).collect();
        let batch: Vec<Array> = (0..inputs.len())
            .map(|i| {
                if mapped[i] {
                    stacked(&examples.iter().map(|e| e[i].clone()).collect::<Vec<_>>())
                } else {
                    inputs[i].clone()
                }
            })
            .collect();
        if !mapped.contains(&true) {
            continue;
        }
        let g = f.clone();
        let axes = by_path(move |path| {
            let i: usize = path.trim_matches(['[', ']']).parse().unwrap();
            mapped[i].then_some(0)
        });
        let y = jit(vmap(move |x: &Vec<Array>| g(x)).in_axes((axes,)))(&batch)
            .unwrap_or_else(|e| panic!("{name}: vmap: {e}"));
        for (k, e) in examples.iter().enumerate() {
            for (all, one) in y.iter().zip(f(e).unwrap()) {
                let (all, one) = (numbers(all), numbers(&one));
                for (i, x) in one.iter().enumerate() {
                    let y = all[k * one.len() + i];
                    assert!(near(*x, y), "{name}: example {k}: loop {x}, vmap {y}");
                }
            }
        }
    }
}

fn dims(d: &[usize]) -> Dims {
    d.into()
}

const MODES: [(&str, GatherScatterMode); 3] = [
    ("clip", GatherScatterMode::Clip),
    ("fill", GatherScatterMode::FillOrDrop),
    ("promise", GatherScatterMode::PromiseInBounds),
];

fn gathering(numbers: GatherDimensionNumbers, sizes: &[usize], mode: GatherScatterMode) -> Case {
    let mut gather = Gather::new(numbers, dims(sizes)).mode(mode);
    gather.fill_value = Some(0.5.into());
    Arc::new(move |x| Ok(vec![x[0].gather(&x[1], gather.clone())]))
}

#[test]
fn gather_in_every_mode() {
    let golden = Golden::open("index");
    let points = GatherDimensionNumbers {
        collapsed_slice_dims: dims(&[0, 1]),
        start_index_map: dims(&[0, 1]),
        ..Default::default()
    };
    let windows = GatherDimensionNumbers {
        offset_dims: dims(&[0, 2]),
        start_index_map: dims(&[1, 0]),
        ..Default::default()
    };
    for (label, mode) in MODES {
        let f = gathering(points.clone(), &[1, 1], mode);
        check(&golden, &format!("gather/points/{label}"), NEAR, f);
        let f = gathering(windows.clone(), &[2, 3], mode);
        check(&golden, &format!("gather/windows/{label}"), NEAR, f);
    }
    let batched = GatherDimensionNumbers {
        offset_dims: dims(&[1]),
        start_index_map: dims(&[1]),
        operand_batching_dims: dims(&[0]),
        start_indices_batching_dims: dims(&[1]),
        ..Default::default()
    };
    let f = gathering(batched, &[1, 2], GatherScatterMode::Clip);
    check(&golden, "gather/batched", NEAR, f);
}

#[test]
fn scatter_in_every_mode() {
    let golden = Golden::open("index");
    let kinds = [
        ("set", ScatterKind::Set),
        ("add", ScatterKind::Add),
        ("sub", ScatterKind::Sub),
        ("mul", ScatterKind::Mul),
        ("min", ScatterKind::Min),
        ("max", ScatterKind::Max),
    ];
    let scattering = |kind, numbers: &ScatterDimensionNumbers, mode, unique| -> Case {
        let mut scatter = Scatter::new(kind, numbers.clone()).mode(mode);
        scatter.unique_indices = unique;
        Arc::new(move |x| Ok(vec![x[0].scatter(&x[1], &x[2], scatter.clone())]))
    };
    let points = ScatterDimensionNumbers {
        inserted_window_dims: dims(&[0, 1]),
        scatter_dims_to_operand_dims: dims(&[0, 1]),
        ..Default::default()
    };
    let windows = ScatterDimensionNumbers {
        update_window_dims: dims(&[0, 2]),
        scatter_dims_to_operand_dims: dims(&[1, 0]),
        ..Default::default()
    };
    for (label, mode) in MODES {
        for (name, kind) in kinds {
            // The promise of uniqueness changes the derivative's program, not its value.
            for unique in [false, true] {
                if unique && !matches!(kind, ScatterKind::Set | ScatterKind::Mul) {
                    continue;
                }
                let f = scattering(kind, &points, mode, unique);
                check(&golden, &format!("scatter/{name}/{label}"), NEAR, f);
                let f = scattering(kind, &windows, mode, unique);
                check(&golden, &format!("scatter_windows/{name}/{label}"), NEAR, f);
            }
        }
    }
    let batched = ScatterDimensionNumbers {
        update_window_dims: dims(&[1]),
        scatter_dims_to_operand_dims: dims(&[1]),
        operand_batching_dims: dims(&[0]),
        scatter_indices_batching_dims: dims(&[1]),
        ..Default::default()
    };
    let f = scattering(ScatterKind::Add, &batched, GatherScatterMode::Clip, false);
    check(&golden, "scatter/batched", NEAR, f);
}

#[test]
fn products_of_several_updates_differentiate_through_zeros() {
    let numbers = ScatterDimensionNumbers {
        inserted_window_dims: dims(&[0]),
        scatter_dims_to_operand_dims: dims(&[0]),
        ..Default::default()
    };
    let at = Array::from([[0i32], [0], [1], [1], [2]]);
    let f = move |u: &Array| {
        let x = Array::from([2f32, 3., 5.]);
        let y = x.scatter(&at, u, Scatter::new(ScatterKind::Mul, numbers.clone()));
        (y * Array::from([1f32, 10., 100.])).sum(())
    };
    // 2·u0·u1 + 30·u2·u3 + 500·u4
    let g = grad(f)(&Array::from([3f32, 0., 4., 7., 0.])).unwrap();
    assert_eq!(g.to_vec::<f32>().unwrap(), [0.0, 6.0, 210.0, 120.0, 500.0]);
}

#[test]
fn the_last_of_several_updates_stays_and_has_the_gradient() {
    let numbers = ScatterDimensionNumbers {
        inserted_window_dims: dims(&[0]),
        scatter_dims_to_operand_dims: dims(&[0]),
        ..Default::default()
    };
    let f = move |x: &Array, u: &Array| {
        let at = Array::from([[1i32], [1], [9]]);
        x.scatter(&at, u, Scatter::new(ScatterKind::Set, numbers.clone()))
    };
    let (x, u) = (Array::from([1f32, 2., 3.]), Array::from([7f32, 8., 9.]));
    assert_eq!(f(&x, &u).to_vec::<f32>().unwrap(), [1.0, 8.0, 3.0]);
    let (_, back) = vjp(f, (&x, &u)).unwrap();
    let (dx, du) = back(&Array::from([1f32, 10., 100.])).unwrap();
    assert_eq!(dx.to_vec::<f32>().unwrap(), [1.0, 0.0, 100.0]);
    assert_eq!(du.to_vec::<f32>().unwrap(), [0.0, 10.0, 0.0]);
}

#[test]
fn order_along_an_axis() {
    let golden = Golden::open("index");
    let one = |f: fn(&Array, i32) -> Array, axis: i32| -> Case {
        Arc::new(move |x| Ok(vec![f(&x[0], axis)]))
    };
    for axis in [0, 1] {
        check(
            &golden,
            &format!("sort/{axis}"),
            NEAR,
            one(Array::sort, axis),
        );
        check(
            &golden,
            &format!("argsort/{axis}"),
            NEAR,
            one(Array::argsort, axis),
        );
        for (name, kind) in [
            ("sum", CumulativeKind::Sum),
            ("prod", CumulativeKind::Prod),
            ("max", CumulativeKind::Max),
            ("min", CumulativeKind::Min),
            ("logsumexp", CumulativeKind::LogSumExp),
        ] {
            for reverse in [false, true] {
                let name = format!("cum{name}/{axis}/{}", u8::from(reverse));
                let f: Case = Arc::new(move |x| Ok(vec![x[0].cumulative(kind, axis, reverse)]));
                check(&golden, &name, NEAR, f);
            }
        }
    }
    check(&golden, "sort/special", NEAR, one(Array::sort, 0));
    check(
        &golden,
        "sort/keys",
        NEAR,
        Arc::new(|x| sort_together(x, 0, 2)),
    );
    let top = |k| -> Case {
        Arc::new(move |x: &Vec<Array>| {
            let (values, positions) = x[0].top_k(k);
            Ok(vec![values, positions])
        })
    };
    check(&golden, "top_k", NEAR, top(3));
    check(
        &golden,
        "top_k/special",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].top_k(4).0])),
    );
    check(
        &golden,
        "median",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].median(1)])),
    );
    let q = Array::from([0f32, 0.3, 0.77, 1.0]);
    check(
        &golden,
        "quantile",
        NEAR,
        Arc::new(move |x| Ok(vec![x[0].quantile(&q, 0)])),
    );
    check(
        &golden,
        "quantile/all",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].quantile(0.4, ())])),
    );
    check(
        &golden,
        "percentile",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].percentile(35.0, 1)])),
    );
    for (side, right) in [("left", false), ("right", true)] {
        let f: Case = Arc::new(move |x| Ok(vec![x[0].searchsorted(&x[1], right)]));
        check(&golden, &format!("searchsorted/{side}"), NEAR, f);
    }
}

#[test]
fn running_sums_of_exponentials_bear_infinities() {
    let x = Array::from([f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 1.0]);
    let f = |x: &Array| {
        let y = x.cumlogsumexp(0);
        (y.gt(-1e30).select(&y, 0.0)).sum(())
    };
    let g = grad(f)(&x).unwrap().to_vec::<f32>().unwrap();
    assert!(g.iter().all(|g| g.is_finite()), "{g:?}");
}

#[test]
fn elements_picked_by_position() {
    let golden = Golden::open("index");
    for axis in [0, 1] {
        let clip: Case =
            Arc::new(move |x| Ok(vec![x[0].take_mode(&x[1], axis, GatherScatterMode::Clip)]));
        check(&golden, &format!("take/{axis}/clip"), NEAR, clip);
        let inside: Case = Arc::new(move |x| Ok(vec![x[0].take(&x[1], axis)]));
        check(&golden, &format!("take/{axis}/inside"), NEAR, inside);
        let filled: Case = Arc::new(move |x| {
            let y = x[0].take(&x[1], axis);
            Ok(vec![y.eq(&y).select(&y, 0.25)])
        });
        check(&golden, &format!("take/{axis}"), NEAR, filled);
    }
    let along = |axis| -> Case { Arc::new(move |x| Ok(vec![x[0].take_along_axis(&x[1], axis)])) };
    check(&golden, "take_along/0", NEAR, along(0));
    check(&golden, "take_along/broadcast", NEAR, along(1));
    check(
        &golden,
        "one_hot",
        NEAR,
        Arc::new(|x| Ok(vec![nn::one_hot(&x[0], 4, DType::F32)])),
    );
    check(
        &golden,
        "bincount",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].bincount(5)])),
    );
    check(
        &golden,
        "nonzero",
        NEAR,
        Arc::new(|x| x[0].gt(0.5).nonzero(9)),
    );
    check(
        &golden,
        "unique",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].unique(6)])),
    );
    check(
        &golden,
        "unique/nan",
        NEAR,
        Arc::new(|x| Ok(vec![x[0].unique(4)])),
    );
    let condition = Array::from([true, false, false, true]);
    let x = Array::from([[1f32, 2.], [3., 4.], [5., 6.], [7., 8.]]);
    let y = x.compress(&condition, 0).to_vec::<f32>().unwrap();
    assert_eq!(y, [1.0, 2.0, 7.0, 8.0]);
    let e = jit(|c: &Array| Ok(c.nonzero(None)?[0].clone()))(&condition).unwrap_err();
    assert!(
        e.to_string().contains("size") && e.to_string().contains("index.rs"),
        "{e}"
    );
}

/// The indices of `make_index.py`, under the same names.
fn index(label: &str, i: &Array, j: &Array) -> Vec<Index> {
    match label {
        "int" => 1.into_index(),
        "ints" => (1, -2, 3).into_index(),
        "slice" => (1..3, .., -2..).into_index(),
        "steps" => (
            Slice::every(2),
            Slice::new(4, 0, -3),
            Slice::new(-1, None, -1),
        )
            .into_index(),
        "ellipsis" => (0, Ellipsis, ..-1).into_index(),
        "newaxis" => (NewAxis, .., 2, NewAxis).into_index(),
        "array" => i.into_index(),
        "arrays" => (i, j).into_index(),
        "together" => (.., i, j).into_index(),
        "apart" => (i, .., j).into_index(),
        "scalar_apart" => (i, 1..4, 2).into_index(),
        "new_between" => (i, NewAxis, j).into_index(),
        "with_slice" => (i, Slice::new(1, None, 2), 0..4).into_index(),
        "backwards" => (Slice::every(-2), i).into_index(),
        "scalars" => (i.index((0, 0)), .., j.index((1, 0))).into_index(),
        "scalar" => (Ellipsis, j.index((0, 0))).into_index(),
        "scalar_and_slice" => (1..3, j.index((0, 0)), Slice::every(-1)).into_index(),
        "empty" => (2..2, i).into_index(),
        other => panic!("no such index: {other}"),
    }
}

#[test]
fn numpys_indexing_to_read_and_to_write() {
    let golden = Golden::open("index");
    let labels: Vec<String> = golden
        .keys()
        .iter()
        .filter_map(|k| {
            k.strip_prefix("index/")?
                .strip_suffix("/out0")
                .map(str::to_owned)
        })
        .collect();
    assert!(labels.len() > 15);
    for label in labels {
        let l = label.clone();
        let read: Case = Arc::new(move |x| Ok(vec![x[0].index(index(&l, &x[1], &x[2]))]));
        check(&golden, &format!("index/{label}"), NEAR, read);
        for kind in ["set", "add", "multiply", "min", "max"] {
            let l = label.clone();
            if !golden.has(&format!("{kind}/{label}/out0")) {
                continue;
            }
            let write: Case = Arc::new(move |x| {
                let places = x[0].at(index(&l, &x[1], &x[2]));
                Ok(vec![match kind {
                    "set" => places.set(&x[3]),
                    "add" => places.add(&x[3]),
                    "multiply" => places.multiply(&x[3]),
                    "min" => places.min(&x[3]),
                    _ => places.max(&x[3]),
                }])
            });
            check(&golden, &format!("{kind}/{label}"), NEAR, write);
        }
    }
}

#[test]
fn convolutions_of_every_kind() {
    let golden = Golden::open("index");
    let one = Convolution::new([1, 1]);
    let cases = [
        ("valid", one.clone()),
        ("same", Convolution::new([2, 1]).padding(Pads::Same)),
        (
            "dilated",
            Convolution::new([2, 1])
                .padding([(1, 2), (-1, 3)])
                .lhs_dilation([2, 3])
                .rhs_dilation([3, 2]),
        ),
        (
            "groups",
            Convolution::new([1, 2])
                .padding(Pads::Same)
                .feature_groups(2),
        ),
        ("depthwise", Convolution::new([1]).feature_groups(3)),
        (
            "batch_groups",
            Convolution::new([1, 2])
                .padding([(1, 1), (0, 1)])
                .batch_groups(2),
        ),
        (
            "layouts",
            Convolution::new([2, 2])
                .padding(Pads::SameLower)
                .layouts("NHWC", "HWIO", "NHWC"),
        ),
        (
            "mixed",
            Convolution::new([1])
                .padding([(1, 2)])
                .layouts("CWN", "WIO", "NWC"),
        ),
        ("none", Convolution::new(())),
    ];
    for (label, how) in cases {
        let f: Case = Arc::new(move |x| Ok(vec![x[0].conv_general_dilated(&x[1], &how)]));
        check(&golden, &format!("conv/{label}"), SUMS, f);
    }
}

#[test]
fn windows_that_slide() {
    let golden = Golden::open("index");
    for (name, reducer) in [
        ("sum", WindowReducer::Sum),
        ("max", WindowReducer::Max),
        ("min", WindowReducer::Min),
        ("prod", WindowReducer::Prod),
    ] {
        let mut window = Window::new(dims(&[2, 3]), dims(&[1, 2]));
        window.padding = [(1, 0), (0, 2)].as_slice().into();
        let f: Case = Arc::new(move |x| Ok(vec![x[0].reduce_window(reducer, &window)]));
        check(&golden, &format!("window/{name}"), NEAR, f);
        let mut window = Window::new(dims(&[2, 2]), dims(&[2, 1]));
        window.padding = [(1, 2), (3, 0)].as_slice().into();
        window.base_dilation = dims(&[2, 3]);
        window.window_dilation = dims(&[3, 2]);
        let f: Case = Arc::new(move |x| Ok(vec![x[0].reduce_window(reducer, &window)]));
        check(&golden, &format!("window_dilated/{name}"), NEAR, f);
    }
    let average: Case = Arc::new(|x| Ok(vec![x[0].avg_pool([2, 2], [2, 2], Pads::Same)]));
    check(&golden, "avg_pool", NEAR, average);
    let largest: Case = Arc::new(|x| Ok(vec![x[0].max_pool([3, 2], [2, 1], Pads::Valid)]));
    check(&golden, "max_pool", NEAR, largest);
}

#[test]
fn linear_algebra() {
    let golden = Golden::open("index");
    let transposed = |x: &Array| x.swapaxes(-1, -2);
    let spectral: Case = Arc::new(move |x| {
        let [w, v] = linalg::eigh(&(&x[0] + transposed(&x[0])))?;
        let y = (&v * w.sin().expand_dims(-2)).matmul(&transposed(&v));
        // The matrix is made symmetric twice: the derivative is the same.
        Ok(vec![w, y])
    });
    let singular: Case = Arc::new(|x| {
        let [u, s, vh] = linalg::svd(&x[0], false)?;
        let y = (&u * s.sin().expand_dims(-2)).matmul(&vh);
        Ok(vec![s, y])
    });
    let lu: Case = Arc::new(|x| Ok(linalg::lu(&x[0])?.to_vec()));
    let qr: Case = Arc::new(|x| Ok(linalg::qr(&x[0], false)?.to_vec()));
    for label in ["one", "several"] {
        let positive: Case = Arc::new(move |x| {
            let n = x[0].shape().last().copied().unwrap_or(0);
            let a = x[0].matmul(&transposed(&x[0])) + Array::eye(n, x[0].dtype()?) * 2.0;
            Ok(vec![linalg::cholesky(&a)])
        });
        check(&golden, &format!("cholesky/{label}"), SUMS, positive);
        check(&golden, &format!("lu/{label}"), SUMS, lu.clone());
        check(&golden, &format!("qr/{label}"), SUMS, qr.clone());
        check(
            &golden,
            &format!("inv/{label}"),
            SUMS,
            Arc::new(|x| Ok(vec![linalg::inv(&x[0])])),
        );
        check(
            &golden,
            &format!("det/{label}"),
            SUMS,
            Arc::new(|x| Ok(vec![linalg::det(&x[0])])),
        );
        let logarithm: Case = Arc::new(|x| Ok(linalg::slogdet(&x[0])?.to_vec()));
        check(&golden, &format!("slogdet/{label}"), SUMS, logarithm);
        check(&golden, &format!("eigh/{label}"), SUMS, spectral.clone());
        check(&golden, &format!("svd/{label}"), SUMS, singular.clone());
    }
    for label in ["high", "wide"] {
        check(&golden, &format!("lu/{label}"), SUMS, lu.clone());
        check(&golden, &format!("qr/{label}"), SUMS, qr.clone());
        check(&golden, &format!("svd/{label}"), SUMS, singular.clone());
        let values: Case = Arc::new(|x| Ok(vec![linalg::svdvals(&x[0])]));
        check(&golden, &format!("svdvals/{label}"), SUMS, values);
        check(
            &golden,
            &format!("pinv/{label}"),
            SUMS,
            Arc::new(|x| Ok(vec![linalg::pinv(&x[0])])),
        );
    }
    let [q, r] = linalg::qr(&golden.get("qr/full/in0"), true).unwrap();
    golden.check("qr/full/out0", &q, SUMS);
    golden.check("qr/full/out1", &r, SUMS);
    let solve: Case = Arc::new(|x| Ok(vec![linalg::solve(&x[0], &x[1])]));
    check(&golden, "solve/matrix", SUMS, solve.clone());
    check(&golden, "solve/vector", SUMS, solve);
    for bits in 0..16 {
        let bit = |k: u32| bits >> (3 - k) & 1 == 1;
        let how = TriangularSolve {
            conjugate_a: false,
            left_side: bit(0),
            lower: bit(1),
            transpose_a: bit(2),
            unit_diagonal: bit(3),
        };
        let f: Case = Arc::new(move |x| Ok(vec![linalg::triangular_solve(&x[0], &x[1], how)]));
        check(&golden, &format!("triangular/{bits:04b}"), SUMS, f);
    }
}

#[test]
fn complex_matrices_are_put_together_again() {
    let adjoint = |x: &Array| x.swapaxes(-1, -2).conj();
    let wave = |k: f64| {
        (Array::arange(24, DType::F64) * k + 0.3)
            .sin()
            .reshape([2, 4, 3])
    };
    let x = wave(0.7)
        + wave(1.9).astype(DType::C128) * Array::scalar(num_complex::Complex::new(0.0, 1.0));
    let same = |name: &str, a: &Array, b: &Array| {
        let error = (a - b).abs().max(()).item::<f64>().unwrap();
        assert!(error < 1e-12, "{name}: {error}");
    };
    let diagonal = |s: &Array| s.expand_dims(-2).astype(DType::C128);
    for (name, x) in [("high", x.clone()), ("wide", adjoint(&x))] {
        for full in [false, true] {
            let [q, r] = linalg::qr(&x, full).unwrap();
            same(name, &q.matmul(&r), &x);
            let k = q.shape()[2];
            same(
                "orthonormal",
                &adjoint(&q).matmul(&q),
                &Array::eye(k, DType::C128).broadcast_to([2, k, k]),
            );
        }
        let [u, s, vh] = linalg::svd(&x, false).unwrap();
        same(name, &(u * diagonal(&s)).matmul(&vh), &x);
        let [u, _, _] = linalg::svd(&x, true).unwrap();
        let k = u.shape()[2];
        same(
            "orthonormal",
            &adjoint(&u).matmul(&u),
            &Array::eye(k, DType::C128).broadcast_to([2, k, k]),
        );
    }
    let a = adjoint(&x).matmul(&x) + Array::eye(3, DType::C128);
    let l = linalg::cholesky(&a);
    same("cholesky", &l.matmul(&adjoint(&l)), &a);
    let [w, v] = linalg::eigh(&a).unwrap();
    same("eigh", &(&v * diagonal(&w)).matmul(&adjoint(&v)), &a);
    let b = adjoint(&x);
    same("solve", &a.matmul(&linalg::solve(&a, &b)), &b);
    let [sign, size] = linalg::slogdet(&a).unwrap();
    same(
        "slogdet",
        &(sign * size.exp().astype(DType::C128)),
        &linalg::det(&a),
    );
}

#[test]
fn matrices_without_full_rank() {
    let x = Array::from([[1f64, 2., 3.], [2., 4., 6.], [1., 1., 1.]]);
    let [u, s, vh] = linalg::svd(&x, false).unwrap();
    assert!(s.to_vec::<f64>().unwrap()[2] < 1e-15);
    for q in [u, vh] {
        let error = (q.matmul(&q.t()) - Array::eye(3, DType::F64)).abs().max(());
        assert!(error.item::<f64>().unwrap() < 1e-14);
    }
    // The determinant's derivative is the matrix of cofactors, of rank 1 here.
    let g = grad(|x: &Array| linalg::det(x))(&x).unwrap();
    assert_eq!(
        g.to_vec::<f64>().unwrap(),
        [-2.0, 4.0, -2.0, 1.0, -2.0, 1.0, 0.0, 0.0, 0.0]
    );
    let indefinite = Array::from([[1f32, 2.], [2., 1.]]);
    let l = linalg::cholesky(&indefinite).to_vec::<f32>().unwrap();
    assert!(l[0].is_nan() && l[3].is_nan());
    let e = linalg::inv(&Array::ones([2, 3], DType::F32))
        .ok()
        .unwrap_err();
    assert!(
        e.to_string().contains("square") && e.to_string().contains("index.rs"),
        "{e}"
    );
}

#[test]
fn programs_print_as_in_jax() {
    let golden = include_str!("golden/index_jaxprs.txt");
    let x = Array::ones([4, 5], DType::F32);
    let at = Array::from([1i32, 2]);
    let both = |name: &str, x: &Array, i: &Array| -> Vec<Array> {
        let one = |y: Array| vec![y];
        match name {
            "int" => one(x.index(-1)),
            "slice" => one(x.index((1..3, 0))),
            "steps" => one(x.index((Slice::every(2), NewAxis))),
            "backwards" => one(x.index(Slice::every(-1))),
            "scalar" => one(x.index(i.index(0))),
            "array" => one(x.index(i)),
            "array_behind" => one(x.index((.., i))),
            "arrays" => one(x.index((i, i))),
            "array_and_int" => one(x.index((i, 2))),
            "array_and_slice" => one(x.index((1..3, i))),
            "clip" => one(x.at(i).mode(GatherScatterMode::Clip).get()),
            "fill" => one(x.at(i).fill_value(0).get()),
            "set_row" => one(x.at(0).set(1.0)),
            "set_slice" => one(x.at(1..3).set(0.0)),
            "set_steps" => one(x.at(Slice::every(2)).multiply(2.0)),
            "add" => one(x.at(i).add(1.0)),
            "set_array" => one(x.at((i, i)).set(0.0)),
            "sort" => one(x.sort(-1)),
            "sort_keys" => sort_together(&[x.clone(), x.clone()], 0, 2).unwrap(),
            "top_k" => {
                let (values, positions) = x.top_k(2);
                vec![values, positions]
            }
            "cumsum" => one(x.cumulative(CumulativeKind::Sum, 1, true)),
            "cumlogsumexp" => one(x.cumlogsumexp(0)),
            "conv" => {
                let image = x.index(NewAxis);
                let kernel = Array::ones([3, 4, 2], DType::F32);
                let how = Convolution::new([2]).padding(Pads::Same);
                one(image.conv_general_dilated(&kernel, &how))
            }
            "reduce_window" => {
                let window = Window::new(dims(&[2, 2]), dims(&[1, 2]));
                one(x.reduce_window(WindowReducer::Max, &window))
            }
            "lu" => linalg::lu(x).unwrap().to_vec(),
            "qr" => linalg::qr(x, false).unwrap().to_vec(),
            "svd" => linalg::svd(x, false).unwrap().to_vec(),
            "triangular_solve" => {
                let a = x.index((.., ..4));
                one(linalg::solve_triangular(&a, x, false))
            }
            other => panic!("no such program: {other}"),
        }
    };
    let mut wrong = vec![];
    for section in golden.split("## ").filter(|s| !s.is_empty()) {
        let (name, text) = section.split_once('\n').unwrap();
        let f = move |x: &Array, i: &Array| both(name, x, i);
        let found = make_jaxpr(f)(&x, &at).unwrap().to_string();
        if found.trim() != text.trim() {
            wrong.push(format!("{name}: JAX\n{text}\nfound\n{found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_input_is_an_error_at_the_users_line() {
    let x = Array::ones([2, 3], DType::F32);
    let i = Array::from([0i32, 1]);
    let refused = |y: Array, words: &[&str]| {
        let e = y.ok().expect_err("this should be refused");
        assert!(
            e.location()
                .is_some_and(|at| at.file().ends_with("index.rs")),
            "{e}"
        );
        for word in words {
            assert!(e.message().contains(word), "`{word}` is missing: {e}");
        }
    };
    refused(x.index((0, 0, 0)), &["too many", "f32[2,3]"]);
    refused(x.index((2, ..)), &["index 2", "axis 0", "size 2"]);
    refused(x.at((0, -4)).set(1.0), &["index -4", "axis 1", "size 3"]);
    refused(x.index((Ellipsis, Ellipsis)), &["Ellipsis"]);
    refused(x.index(Slice::every(0)), &["step"]);
    refused(x.index(&x), &["f32[2,3]"]);
    refused(x.index([true, false, true]), &["bool[3]", "axes 0"]);
    refused(x.index((&i, &Array::from([0i32, 1, 2]))), &["broadcast"]);
    refused(
        x.at(&i).set(Array::ones([4], DType::F32)),
        &["f32[4]", "[2, 3]"],
    );
    refused(x.take(&x, 0), &["f32[2,3]"]);
    refused(x.take(&i, 2), &["axis 2"]);
    refused(x.take_along_axis(&i, 0), &["i32[2]"]);
    refused(x.sort(-3), &["axis -3"]);
    refused(x.bincount(3), &["integers"]);
    refused(x.cumsum(5), &["axis 5"]);
    refused(x.top_k(4).0, &["4", "f32[2,3]"]);
    refused(x.searchsorted(&i, false), &["one axis"]);
    refused(x.max_pool([2], [1, 1], Pads::Valid), &["stride"]);
    refused(
        x.conv_general_dilated(&x, &Convolution::new([1])),
        &["3 axes"],
    );
    refused(linalg::solve(&x, &x), &["square"]);
    refused(linalg::cholesky(&x), &["f32[2,3]"]);
    let image = Array::ones([1, 2, 4], DType::F32);
    let kernel = Array::ones([3, 5, 2], DType::F32);
    refused(
        image.conv_general_dilated(&kernel, &Convolution::new([1])),
        &["features", "f32[1,2,4]"],
    );
    // Positions in arrays are not known beforehand: they are moved inside, filled, or dropped.
    let far = Array::from([7i32]);
    assert_eq!(x.index(&far).shape(), [1, 3]);
    assert_eq!(x.at(&far).set(5.0).sum(()).item::<f32>().unwrap(), 6.0);
    let traced = jit(|x: &Array| x.index(x.gt(0.0)))(&x).unwrap_err();
    assert!(traced.to_string().contains("index.rs"), "{traced}");
}

#[test]
fn derivatives_of_complex_decompositions() {
    let wave = |k: f64| {
        (Array::arange(9, DType::F64) * k + 0.3)
            .sin()
            .reshape([3, 3])
    };
    let inputs = [wave(0.7), wave(1.9)];
    let matrix = |x: &[Array]| {
        let i = Array::scalar(num_complex::Complex::new(0.0, 1.0));
        x[0].astype(DType::C128) + x[1].astype(DType::C128) * i
    };
    let parts =
        |y: &[Array]| -> Vec<Array> { y.iter().flat_map(|y| [y.real(), y.imag()]).collect() };
    let adjoint = |x: &Array| x.swapaxes(-1, -2).conj();
    let check = |name: &str, f: Case| check_differences(name, &inputs, &f);
    check(
        "qr",
        Arc::new(move |x| Ok(parts(&linalg::qr(&matrix(x), false)?))),
    );
    check(
        "lu",
        Arc::new(move |x| Ok(parts(&linalg::lu(&matrix(x))?[..1]))),
    );
    check(
        "inv",
        Arc::new(move |x| Ok(parts(&[linalg::inv(&matrix(x))]))),
    );
    check(
        "det",
        Arc::new(move |x| Ok(parts(&[linalg::det(&matrix(x))]))),
    );
    check(
        "cholesky",
        Arc::new(move |x| {
            let a = matrix(x);
            let a = a.matmul(&adjoint(&a)) + Array::eye(3, DType::C128);
            Ok(parts(&[linalg::cholesky(&a)]))
        }),
    );
    check(
        "eigh",
        Arc::new(move |x| {
            let a = matrix(x);
            let [w, v] = linalg::eigh(&(&a + adjoint(&a)))?;
            let y = (&v * w.sin().expand_dims(-2).astype(DType::C128)).matmul(&adjoint(&v));
            Ok([vec![w], parts(&[y])].concat())
        }),
    );
    check(
        "svd",
        Arc::new(move |x| {
            let [u, s, vh] = linalg::svd(&matrix(x), false)?;
            let y = (&u * s.sin().expand_dims(-2).astype(DType::C128)).matmul(&vh);
            Ok([vec![s], parts(&[y])].concat())
        }),
    );
}
