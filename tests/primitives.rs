//! Primitives of `jax.lax` against JAX.

mod support;

use quaxide::{
    op::{
        self, Binary, FftType, Gather, GatherDimensionNumbers, GatherScatterMode, RandomAlgorithm,
        Scatter, ScatterKind, Unary, Window,
    },
    prelude::*,
    trace::{bind, bind_all},
};
use support::golden::{EXACT, F32, F64, Golden, Tolerance};

/// Asserts that `found` is what the file holds; complex numbers are two arrays there.
#[track_caller]
fn check(golden: &Golden, name: &str, found: &Array, tolerance: Tolerance) {
    if found.dtype().is_ok_and(DType::is_complex) {
        golden.check(&format!("{name}.re"), &found.real(), tolerance);
        golden.check(&format!("{name}.im"), &found.imag(), tolerance);
    } else {
        golden.check(name, found, tolerance);
    }
}

/// `sin(by · 1), sin(by · 2), …`
fn wave(shape: &[usize], by: f64) -> Array {
    let n: usize = shape.iter().product();
    Array::new(
        shape,
        (1..=n).map(|i| (by * i as f64).sin()).collect::<Vec<_>>(),
    )
}

fn complex(re: &Array, im: &Array) -> Array {
    bind(Binary::Complex, &[re, im])
}

/// As Python writes a tuple.
fn tuple(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!(
            "({})",
            shape
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

#[test]
fn bits_of_generators() {
    let golden = Golden::open("primitives");
    let key = Array::from([1u32, 2, 0xFFFF_FFFE, 0xFFFF_FFFF]);
    let algorithms = [
        ("RNG_DEFAULT", RandomAlgorithm::Default),
        ("RNG_THREE_FRY", RandomAlgorithm::ThreeFry),
        ("RNG_PHILOX", RandomAlgorithm::Philox),
    ];
    let draw = |algorithm, dtype, shape: &[usize], key: &Array| {
        let shape = shape.into();
        let op = op::RngBitGenerator {
            algorithm,
            dtype,
            shape,
        };
        bind_all(op, std::slice::from_ref(key)).unwrap()
    };
    for (name, algorithm) in algorithms {
        for dtype in [DType::U8, DType::U16, DType::U32, DType::U64] {
            for shape in [&[][..], &[5], &[3, 4], &[3, 5], &[2, 3, 2]] {
                let name = format!("rng/{name}/{dtype}/{}", tuple(shape));
                for (i, y) in draw(algorithm, dtype, shape, &key).iter().enumerate() {
                    golden.check(&format!("{name}/{i}"), y, EXACT);
                }
            }
        }
        let key = Array::from([7u64, u64::MAX - 1]);
        for (i, y) in draw(algorithm, DType::U32, &[5], &key).iter().enumerate() {
            golden.check(&format!("rng64/{name}/{i}"), y, EXACT);
        }
    }
}

#[test]
fn transforms() {
    let golden = Golden::open("primitives");
    let close = Tolerance {
        relative: 1e-13,
        absolute: 2e-14,
    };
    let lengths = |n: &[usize]| n.to_vec();
    for n in [1, 2, 3, 4, 5, 6, 8, 12, 17, 30, 37, 64, 101] {
        let x = complex(&wave(&[2, n], 1.0), &wave(&[2, n], 0.7));
        let h = n / 2 + 1;
        let half = x.slice_in_dim(0, 1, 1) * wave(&[h], 1.0).astype(DType::C128);
        let cases = [
            ("fft", FftType::Fft, x.clone()),
            ("ifft", FftType::Ifft, x.clone()),
            ("rfft", FftType::Rfft, x.real()),
            ("irfft", FftType::Irfft, half),
        ];
        for (name, kind, x) in cases {
            check(
                &golden,
                &format!("{name}/{n}"),
                &x.lax_fft(kind, lengths(&[n])),
                close,
            );
        }
    }
    let x = complex(&wave(&[3, 4, 5], 1.0), &wave(&[3, 4, 5], 0.7));
    check(&golden, "fft3", &x.lax_fft(FftType::Fft, [3, 4, 5]), close);
    check(
        &golden,
        "ifft2",
        &x.astype(DType::C64).lax_fft(FftType::Ifft, [4, 5]),
        F32,
    );
    check(
        &golden,
        "rfft3",
        &x.real().lax_fft(FftType::Rfft, [3, 4, 5]),
        close,
    );
    check(&golden, "irfft2", &x.lax_fft(FftType::Irfft, [4, 8]), close);
}

#[test]
fn floats_of_fewer_bits() {
    let golden = Golden::open("primitives");
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5,
        1.0625,
        1.09375,
        3.2516,
        65504.0,
        65519.0,
        65520.0,
        7e4,
        1e-7,
        6.1e-5,
        6e-8,
        3e-8,
        1e30,
        1e-30,
        1e-40,
        255.0,
        448.0,
        480.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let x = Array::from(edges).astype(dtype);
        for (e, m) in [
            (8, 7),
            (5, 10),
            (5, 2),
            (4, 3),
            (2, 1),
            (1, 3),
            (11, 52),
            (8, 23),
        ] {
            let op = Unary::ReducePrecision {
                exponent_bits: e,
                mantissa_bits: m,
            };
            let name = format!("reduce_precision/{dtype}/{e}/{m}");
            golden.check(&name, &bind(op, &[&x]), EXACT);
        }
    }
}

/// The lowest and the highest integer of a type.
fn limits(dtype: DType) -> (i128, i128) {
    let bits = dtype.size() as u32 * 8;
    if dtype.is_signed() {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn integers(dtype: DType, x: &[i128]) -> Array {
    if dtype == DType::U64 {
        return Array::from(x.iter().map(|x| *x as u64).collect::<Vec<_>>());
    }
    Array::from(x.iter().map(|x| *x as i64).collect::<Vec<_>>()).astype(dtype)
}

#[test]
fn integers_wrap() {
    use Binary::*;
    let golden = Golden::open("primitives");
    for dtype in [
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
    ] {
        let (min, max) = limits(dtype);
        let x = integers(dtype, &[0, 1, 2, 3, 100, 127, min, max, max - 1, max / 3]);
        let y = integers(dtype, &[7, max, min, 0, 3, 1, max, min, 5, 2]);
        let unary = [
            ("popcnt", Unary::PopulationCount),
            ("clz", Unary::Clz),
            ("neg", Unary::Neg),
            ("abs", Unary::Abs),
            ("sign", Unary::Sign),
        ];
        for (name, op) in unary {
            if op == Unary::Abs && dtype.is_unsigned() {
                continue;
            }
            golden.check(&format!("{name}/{dtype}"), &bind(op, &[&x]), EXACT);
        }
        for op in [
            Mul,
            Mulhi,
            Div,
            Rem,
            Add,
            Sub,
            ShiftLeft,
            ShiftRightLogical,
            ShiftRightArithmetic,
            Max,
            Min,
        ] {
            let name = format!("{}/{dtype}", op::Op::from(op).name());
            golden.check(&name, &bind(op, &[&x, &y]), EXACT);
        }
    }
}

#[test]
fn conversions_saturate() {
    let golden = Golden::open("primitives");
    let wide = Array::from([
        0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        127.5,
        128.0,
        -129.0,
        255.9,
        256.0,
        3e4,
        7e4,
        -7e4,
        2.2e9,
        -2.2e9,
        4.3e9,
        1e19,
        -1e19,
        2e19,
        1e30,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ]);
    let narrow = wide.astype(DType::F32);
    let whole = Array::from([
        0,
        1,
        -1,
        300,
        -300,
        (1i64 << 33) + 5,
        -(1i64 << 40) - 1,
        i64::MAX,
        i64::MIN,
    ]);
    let unsigned = Array::from([0, 1, 300, (1u64 << 33) + 5, 1 << 63, u64::MAX]);
    for to in DType::ALL.into_iter().filter(|d| !d.is_complex()) {
        for (from, x) in [
            ("float64", &wide),
            ("float32", &narrow),
            ("int64", &whole),
            ("uint64", &unsigned),
        ] {
            golden.check(&format!("convert/{to}/{from}"), &x.astype(to), EXACT);
        }
    }
}

/// One map `x ↦ a·x + b` after another: associative, but not commutative.
fn affine(x: &[Array], y: &[Array]) -> Vec<Array> {
    vec![&x[0] * &y[0], &x[1] * &y[0] + &y[1]]
}

fn sliding() -> Window {
    Window::new(&[2, 3][..], &[1, 2][..])
}

fn dilated() -> Window {
    Window {
        padding: [(1, 2), (0, -1)].into_iter().collect(),
        base_dilation: [2, 1].into_iter().collect(),
        window_dilation: [1, 2].into_iter().collect(),
        ..sliding()
    }
}

#[track_caller]
fn check_all(golden: &Golden, name: &str, found: Result<Vec<Array>>, tolerance: Tolerance) {
    let found = found.unwrap_or_else(|e| panic!("{name}: {e}"));
    for (i, y) in found.iter().enumerate() {
        let key = match found.len() {
            1 => name.to_string(),
            _ => format!("{name}/{i}"),
        };
        check(golden, &key, y, tolerance);
    }
}

#[test]
fn functions_combine_elements() {
    let golden = &Golden::open("primitives");
    let x = &wave(&[4, 6], 1.0);
    let (y, one, zero) = (&(x + 1.0), &Array::scalar(1.0), &Array::scalar(0.0));
    for dims in [&[1][..], &[0], &[0, 1], &[]] {
        let found = op::reduce(&[x, y], &[one, zero], dims, affine);
        check_all(golden, &format!("reduce/{}", tuple(dims)), found, F64);
    }
    let start = [&Array::scalar(2.0), &Array::scalar(3.0)];
    let found = op::reduce(&[x, y], &start, [1], affine);
    check_all(golden, "reduce/start", found, F64);
    let none = &x.slice_in_dim(0, 0, 1);
    let found = op::reduce(&[none, none], &start, [1], affine);
    check_all(golden, "reduce/empty", found, F64);

    let found = op::reduce_window(&[x, y], &[one, zero], sliding(), affine);
    check_all(golden, "reduce_window/plain", found, F64);
    let found = op::reduce_window(&[x, y], &[one, zero], dilated(), affine);
    check_all(golden, "reduce_window/dilated", found, F64);
    let found = op::reduce_window(&[x], &[zero], dilated(), |a, b| vec![a[0].maximum(&b[0])]);
    check_all(golden, "reduce_window/max", found, F64);
    let found = op::reduce_window(&[x], &[zero], dilated(), |a, b| vec![&a[0] + &b[0]]);
    check_all(golden, "reduce_window/sum", found, F64);
    let source = &wave(&[3, 2], 0.3);
    let found =
        op::select_and_scatter(x, source, one, sliding(), Binary::Ge, |a, b| a + b).unwrap();
    golden.check("select_and_scatter/add", &found, F64);
    let found =
        op::select_and_scatter(x, source, one, sliding(), Binary::Lt, |a, b| a * b).unwrap();
    golden.check("select_and_scatter/mul", &found, F64);
}

#[test]
fn gathers_and_scatters() {
    let golden = &Golden::open("primitives");
    let x = &wave(&[4, 6], 1.0);
    let rows = GatherDimensionNumbers {
        offset_dims: [1].into_iter().collect(),
        collapsed_slice_dims: [0].into_iter().collect(),
        start_index_map: [0].into_iter().collect(),
        ..Default::default()
    };
    let at = Array::from([[1i64], [3], [1], [9]]);
    let set = Scatter::new(ScatterKind::Set, (&rows).into());
    let found = x.scatter_apply(&at, |x| x * 2.0 + 1.0, [4, 6], set);
    golden.check("scatter_apply", &found, F64);
    let kinds = [
        ("add", ScatterKind::Add),
        ("mul", ScatterKind::Mul),
        ("min", ScatterKind::Min),
        ("max", ScatterKind::Max),
        ("sub", ScatterKind::Sub),
    ];
    let modes = [
        ("clip", GatherScatterMode::Clip, [9, -2]),
        ("drop", GatherScatterMode::FillOrDrop, [9, 2]),
        (
            "promise_in_bounds",
            GatherScatterMode::PromiseInBounds,
            [0, 2],
        ),
    ];
    let updates = &wave(&[5, 6], 0.9);
    for (name, kind) in kinds {
        for (mode_name, mode, [a, b]) in modes {
            let at = Array::from([[1i64], [3], [1], [a], [b]]);
            let scatter = Scatter::new(kind, (&rows).into()).mode(mode);
            let found = x.scatter(&at, updates, scatter.clone());
            golden.check(&format!("scatter_{name}/{mode_name}"), &found, F64);
            // The same by a program.
            let op = kind.combiner().unwrap();
            let found = op::scatter_by(&[x], &at, &[updates], scatter, |a, b| {
                vec![bind(op, &[&a[0], &b[0]])]
            });
            check_all(golden, &format!("scatter_{name}/{mode_name}"), found, F64);
        }
    }
    let windows = GatherDimensionNumbers {
        start_index_map: [0, 1].into_iter().collect(),
        ..rows
    };
    let at = Array::from([[0i64, 1], [3, 3], [4, 0], [-1, 5], [2, 4]]);
    for (name, mode) in [
        ("clip", GatherScatterMode::Clip),
        ("fill", GatherScatterMode::FillOrDrop),
    ] {
        let gather = Gather::new(windows.clone(), [1, 3].as_slice()).mode(mode);
        golden.check(
            &format!("gather/{name}"),
            &x.gather(&at, gather.clone()),
            F64,
        );
        let bytes = (x * 100.0).astype(DType::I8);
        golden.check(
            &format!("gather/{name}/int8"),
            &bytes.gather(&at, gather),
            EXACT,
        );
    }
}

#[test]
fn orders() {
    let golden = &Golden::open("primitives");
    let ties = &Array::from([3.0, 1.0, 2.0, 3.0, 1.0, 0.0, f64::NAN, -0.0, 2.0, 3.0]);
    let (up, down) = (
        &Array::arange(10, DType::I64),
        &-Array::arange(10, DType::F64),
    );
    let sort = |num_keys| op::Sort {
        dimension: 0,
        is_stable: true,
        num_keys,
    };
    let two = [ties.clone(), down.clone(), up.clone()];
    check_all(golden, "sort/two", bind_all(sort(2), &two), EXACT);
    let one = [ties.clone(), up.clone()];
    check_all(golden, "sort/stable", bind_all(sort(1), &one), EXACT);
    let less = |a: &Array, b: &Array| a.lt(b) | (b.ne(b) & a.eq(a));
    let by = op::sort_by(&[ties, down, up], 0, |a, b| {
        let equal = !less(&a[0], &b[0]) & !less(&b[0], &a[0]);
        less(&a[0], &b[0]) | (equal & less(&a[1], &b[1]))
    });
    check_all(golden, "sort/two", by, EXACT);
    let by = op::sort_by(&[ties, up], 0, |a, b| less(&a[0], &b[0]));
    check_all(golden, "sort/stable", by, EXACT);
    let top = op::TopK { axis: 0, k: 4 };
    check_all(
        golden,
        "top_k",
        bind_all(top, std::slice::from_ref(ties)),
        EXACT,
    );
}

/// Along which axis of the argument, and the function of one example.
type Across = (
    &'static str,
    i32,
    Box<dyn Fn(&Array) -> Array + Send + Sync>,
);

fn across() -> Vec<Across> {
    let mut all: Vec<Across> = vec![
        (
            "all_gather",
            0,
            Box::new(|x| op::all_gather(x, "i", 1, false)),
        ),
        (
            "all_gather_tiled",
            2,
            Box::new(|x| op::all_gather(x, "i", 1, true)),
        ),
        (
            "psum_scatter",
            0,
            Box::new(|x| op::psum_scatter(x, "i", 0, false)),
        ),
        (
            "psum_scatter_tiled",
            0,
            Box::new(|x| op::psum_scatter(x, "i", 1, true)),
        ),
        (
            "ppermute",
            0,
            Box::new(|x| op::ppermute(x, "i", &[(0, 2), (3, 1), (1, 0), (2, 3)])),
        ),
        (
            "pshuffle",
            0,
            Box::new(|x| op::pshuffle(x, "i", &[1, 0, 3, 2])),
        ),
        ("pswapaxes", 0, Box::new(|x| op::pswapaxes(x, "i", 0))),
        ("pbroadcast", 0, Box::new(|x| op::pbroadcast(x, "i", 2))),
    ];
    let axes = [
        ("all_to_all/0/1", "all_to_all_tiled/0/1", 0, 1),
        ("all_to_all/1/0", "all_to_all_tiled/1/0", 1, 0),
        ("all_to_all/0/0", "all_to_all_tiled/0/0", 0, 0),
    ];
    for (plain, tiled, split, concat) in axes {
        let f =
            move |x: &Array| op::all_to_all(&x.slice_in_dim(0, 4, 1), "i", split, concat, false);
        all.push((plain, 0, Box::new(f)));
        let f = move |x: &Array| op::all_to_all(x, "i", split, concat, true);
        all.push((tiled, 0, Box::new(f)));
    }
    all
}

#[test]
fn examples_exchange_parts() {
    let golden = &Golden::open("primitives");
    let x = &wave(&[4, 4, 8], 1.0);
    for (name, axis, f) in &across() {
        let mapped = |x: &Array| {
            let y = vmap(|x: &Array| f(x)).in_axes((*axis,)).axis_name("i")(x);
            y.unwrap_or_else(Array::error)
        };
        golden.check(&format!("across/{name}"), &mapped(x), F64);
        let small = x.slice_in_dim(0, 4, 2).slice_in_dim(0, 4, 0);
        let tiled = name.contains("tiled/1") || name.contains("scatter_tiled");
        let x = if *axis == 2 || tiled { x } else { &small };
        support::check::check_grads(name, |x| mapped(&x[0]), std::slice::from_ref(x), 1);
        support::check::check_vmap(name, |x| mapped(&x[0]), std::slice::from_ref(x));
    }
    let e = op::ppermute(x, "j", &[]).ok().unwrap_err().to_string();
    assert!(e.contains("no axis is named `j`"), "{e}");
    let twice = vmap(|x: &Array| op::ppermute(x, "i", &[(0, 1), (2, 1)])).axis_name("i")(x);
    assert!(twice.unwrap_err().to_string().contains("twice"));
}
