//! The compiled interpreter against the reference one: element types, shapes around the sizes of tiles and lanes, strides,
//! broadcasts, operands that are one array, NaN and infinities.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{
    Dims, Result,
    array::{Buffer, Convolution, Kind, Pads, Stored},
    interp::reference,
    prelude::*,
    trace::{
        bind,
        op::{
            Binary, DotGeneral, Primitive, Reduce, Reducer, RoundingMethod, Unary, Window,
            WindowReducer,
        },
    },
};
use rng::Rng;

/// Numbers of a type: small ones, and now and then one of the edges.
fn random(r: &mut Rng, shape: &[usize], dtype: DType) -> Array {
    const EDGES: [f64; 10] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e30,
        -1e-30,
        88.9,
    ];
    let n: usize = shape.iter().product();
    let floats = dtype.kind() >= Kind::Float;
    let x: Vec<f64> = (0..n)
        .map(|_| match r.choose(&EDGES) {
            Some(e) if floats && r.chance(0.05) => *e,
            _ if floats => (r.uniform() - 0.5) * 8.0,
            _ => (r.below(21) as f64) - if dtype.is_unsigned() { 0.0 } else { 10.0 },
        })
        .collect();
    let x = Array::new(shape, x).astype(if floats { DType::F64 } else { DType::I64 });
    if dtype == DType::Bool {
        return x.gt(0);
    }
    if dtype.is_complex() {
        let y = Array::new(shape, (0..n).map(|_| r.uniform()).collect::<Vec<f64>>());
        return bind(Binary::Complex, &[&x, &y]).astype(dtype);
    }
    x.astype(dtype)
}

/// A view of the same shape: as it is, transposed storage, or one row repeated.
fn viewed(r: &mut Rng, shape: &[usize], dtype: DType) -> Array {
    let rank = shape.len();
    match r.below(3) {
        0 if rank > 1 => {
            let turned: Vec<usize> = shape.iter().rev().copied().collect();
            let order: Vec<usize> = (0..rank).rev().collect();
            random(r, &turned, dtype).transpose(order)
        }
        1 if rank > 1 => {
            let row = random(r, &shape[rank - 1..], dtype);
            row.broadcast_in_dim(shape, [rank - 1])
        }
        _ => random(r, shape, dtype),
    }
}

/// The elements as pairs of real numbers.
fn numbers(b: &Buffer) -> Vec<[f64; 2]> {
    fn of<T: Stored>(b: &Buffer) -> Vec<[f64; 2]> {
        let pair = |x: T| {
            let z = x.into().as_complex();
            [z.re, z.im]
        };
        b.to_vec::<T>().unwrap().into_iter().map(pair).collect()
    }
    match b.dtype() {
        DType::Bool => of::<bool>(b),
        DType::I8 => of::<i8>(b),
        DType::I16 => of::<i16>(b),
        DType::I32 => of::<i32>(b),
        DType::I64 => of::<i64>(b),
        DType::U8 => of::<u8>(b),
        DType::U16 => of::<u16>(b),
        DType::U32 => of::<u32>(b),
        DType::U64 => of::<u64>(b),
        DType::F16 => of::<half::f16>(b),
        DType::BF16 => of::<half::bf16>(b),
        DType::F32 => of::<f32>(b),
        DType::F64 => of::<f64>(b),
        DType::C64 => of::<num_complex::Complex<f32>>(b),
        DType::C128 => of::<num_complex::Complex<f64>>(b),
    }
}

fn same(a: f64, b: f64, tolerance: f64, scale: f64) -> bool {
    a.to_bits() == b.to_bits()
        || a.is_nan() && b.is_nan()
        || tolerance > 0.0 && (a == b || (a - b).abs() <= tolerance * scale)
}

/// Both interpreters give the same for `f`; exactly so if `tolerance` is zero. The operands stay what they were.
#[track_caller]
fn agree(
    what: &str,
    tolerance: f64,
    x: &Vec<Array>,
    f: impl Fn(&Vec<Array>) -> Vec<Array> + Send + Sync,
) {
    let before: Vec<_> = x.iter().map(|x| numbers(x.buffer().unwrap())).collect();
    let program = make_jaxpr(&f)(x).unwrap_or_else(|e| panic!("{what}: {e}"));
    let args = x.iter().map(|x| x.buffer().unwrap().clone()).collect();
    let expected = reference::run(&program, args).unwrap_or_else(|e| panic!("{what}: {e}"));
    let compiled = jit(&f);
    // Twice: the second run takes storage that the first one left.
    for _ in 0..2 {
        let given = compiled(x).unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
        for (g, e) in given.iter().zip(&expected) {
            let g = g.buffer().unwrap();
            assert_eq!(g.aval(), e.aval(), "{what}\n{program}");
            let (g, e) = (numbers(g), numbers(e));
            let finite = |v: f64| if v.is_finite() { v.abs() } else { 0.0 };
            let scale = e.iter().flatten().fold(1.0f64, |m, v| m.max(finite(*v)));
            for (i, (a, b)) in g.iter().zip(&e).enumerate() {
                assert!(
                    same(a[0], b[0], tolerance, scale) && same(a[1], b[1], tolerance, scale),
                    "{what}, element {i}: {a:?}, the reference gives {b:?}\n{program}"
                );
            }
        }
    }
    for (x, b) in x.iter().zip(&before) {
        let kept = numbers(x.buffer().unwrap())
            .iter()
            .flatten()
            .zip(b.iter().flatten())
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(kept, "{what}: an operand was written to");
    }
}

const UNARY: [Unary; 43] = [
    Unary::Neg,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round(RoundingMethod::ToNearestEven),
    Unary::Round(RoundingMethod::AwayFromZero),
    Unary::IsFinite,
    Unary::Exp,
    Unary::Exp2,
    Unary::Log,
    Unary::Log1p,
    Unary::Expm1,
    Unary::Tanh,
    Unary::Logistic,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Cbrt,
    Unary::Square,
    Unary::Abs,
    Unary::Real,
    Unary::Imag,
    Unary::Conj,
    Unary::Not,
    Unary::PopulationCount,
    Unary::Clz,
    Unary::Erf,
    Unary::Erfc,
    Unary::ErfInv,
    Unary::Lgamma,
    Unary::Digamma,
    Unary::BesselI0e,
    Unary::BesselI1e,
];

const BINARY: [Binary; 25] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Rem,
    Binary::Max,
    Binary::Min,
    Binary::Pow,
    Binary::Atan2,
    Binary::Nextafter,
    Binary::Complex,
    Binary::And,
    Binary::Or,
    Binary::Xor,
    Binary::ShiftLeft,
    Binary::ShiftRightLogical,
    Binary::ShiftRightArithmetic,
    Binary::Eq,
    Binary::Ne,
    Binary::Lt,
    Binary::Le,
    Binary::Gt,
    Binary::Ge,
    Binary::Igamma,
    Binary::Igammac,
];

#[test]
fn functions_of_one_number() {
    let mut r = Rng(1);
    for dtype in DType::ALL {
        for u in UNARY {
            let accepts = u.infer(&[&Aval::new([3].as_slice(), dtype)]).is_ok();
            if !accepts {
                continue;
            }
            for shape in [&[][..], &[0], &[1], &[37], &[5, 7]] {
                let x = vec![viewed(&mut r, shape, dtype)];
                agree(&format!("{u:?} of {dtype}{shape:?}"), 0.0, &x, |x| {
                    vec![bind(u, &[&x[0]])]
                });
            }
        }
    }
}

#[test]
fn functions_of_two_numbers() {
    let mut r = Rng(2);
    for dtype in DType::ALL {
        for b in BINARY {
            let aval = Aval::new([3].as_slice(), dtype);
            if b.infer(&[&aval, &aval]).is_err() {
                continue;
            }
            for (s, t) in [
                (&[37][..], &[37][..]),
                (&[5, 7], &[5, 7]),
                (&[], &[33]),
                (&[33], &[]),
                (&[], &[]),
                (&[0], &[0]),
            ] {
                let x = vec![viewed(&mut r, s, dtype), viewed(&mut r, t, dtype)];
                agree(&format!("{b:?} of {dtype}{s:?}"), 0.0, &x, |x| {
                    vec![bind(b, &[&x[0], &x[1]])]
                });
                if s == t {
                    agree(&format!("{b:?} of {dtype}{s:?} twice"), 0.0, &x, |x| {
                        vec![bind(b, &[&x[0], &x[0]])]
                    });
                }
            }
        }
    }
}

#[test]
fn conversions_and_powers() {
    let mut r = Rng(3);
    for from in DType::ALL {
        for to in DType::ALL {
            let x = vec![random(&mut r, &[41], from)];
            agree(&format!("{from} to {to}"), 0.0, &x, |x| {
                vec![x[0].astype(to)]
            });
        }
        if from.is_inexact() {
            for y in [-3, -2, -1, 0, 1, 2, 3, 4, 7] {
                let x = vec![random(&mut r, &[41], from)];
                agree(&format!("{from} to the power of {y}"), 0.0, &x, |x| {
                    vec![x[0].integer_pow(y)]
                });
            }
        }
    }
}

#[test]
fn chains_cross_tiles() {
    let mut r = Rng(4);
    for n in [1, 2, 2047, 2048, 2049, 4096, 6007] {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let x = vec![
                random(&mut r, &[n], dtype),
                random(&mut r, &[n], dtype),
                random(&mut r, &[], dtype),
            ];
            agree(&format!("a chain of {n}"), 0.0, &x, |x| {
                let y = (&x[0] * &x[1] + &x[2]).tanh();
                let z = y.gt(0.0).select(&(&y * 2.0), &(&x[0] - &y));
                // A value that leaves, and is read within.
                let w = &z + &y;
                vec![w.exp() * &x[2], z, w]
            });
        }
    }
    for (m, n) in [(3, 700), (700, 3), (129, 131)] {
        let x = vec![
            random(&mut r, &[m, n], DType::F32),
            random(&mut r, &[n], DType::F32),
            random(&mut r, &[m], DType::F32),
            random(&mut r, &[n, m], DType::F32),
        ];
        agree(&format!("broadcasts to {m} × {n}"), 0.0, &x, move |x| {
            let rows = x[2].broadcast_in_dim([m, n], [0]);
            let y = (&x[0] + &x[1]) * rows - x[3].transpose([1, 0]);
            vec![y.square(), y.transpose([1, 0]) + 1.0]
        });
    }
}

#[test]
fn large_chains_in_threads() {
    let mut r = Rng(5);
    let x = vec![
        random(&mut r, &[300_001], DType::F32),
        random(&mut r, &[300_001], DType::F32),
    ];
    agree("a long chain", 0.0, &x, |x| {
        let y = (&x[0] * 0.9 + &x[1] * 0.1).exp();
        vec![&y / (y.sqrt() + 1.0), y]
    });
}

#[test]
fn reductions() {
    let mut r = Rng(6);
    let all = [
        Reducer::Sum,
        Reducer::Prod,
        Reducer::Max,
        Reducer::Min,
        Reducer::And,
        Reducer::Or,
        Reducer::Xor,
    ];
    for dtype in DType::ALL {
        let tolerance = match dtype {
            DType::F16 => 1e-2,
            DType::BF16 => 1e-1,
            DType::F32 | DType::C64 => 1e-5,
            DType::F64 | DType::C128 => 1e-12,
            _ => 0.0,
        };
        for reducer in all {
            for shape in [&[5, 3, 7][..], &[1, 70, 2], &[67], &[2, 0, 3], &[]] {
                let rank = shape.len();
                for mask in 0..1usize << rank {
                    let axes: Dims = (0..rank).filter(|i| mask >> i & 1 == 1).collect();
                    let op = Reduce { reducer, axes };
                    let exact = matches!(reducer, Reducer::Max | Reducer::Min);
                    if op.infer(&[&Aval::new(shape, dtype)]).is_err() {
                        continue;
                    }
                    // Sums of numbers without edges: infinities of both signs depend on the order.
                    let x = if exact || !dtype.is_inexact() {
                        viewed(&mut r, shape, dtype)
                    } else {
                        let n: usize = shape.iter().product();
                        let x: Vec<f64> = (0..n).map(|_| 0.5 + r.uniform()).collect();
                        Array::new(shape, x).astype(dtype)
                    };
                    let tolerance = if exact { 0.0 } else { tolerance };
                    agree(
                        &format!("{op:?} of {dtype}{shape:?}"),
                        tolerance,
                        &vec![x],
                        |x| vec![bind(op.clone(), &[&x[0]])],
                    );
                }
            }
        }
    }
}

/// A random program of values of a shape and of their rows, in which reductions, functions and broadcasts follow each other; some of
/// all that it makes are its results.
fn over_rows(r: &mut Rng, shape: &[usize], lead: usize, dtype: DType, x: &[Array]) -> Vec<Array> {
    let rows = &shape[..lead];
    let last: Vec<usize> = (lead..shape.len()).collect();
    let kept: Vec<usize> = (0..shape.len())
        .map(|i| if i < lead { shape[i] } else { 1 })
        .collect();
    let (mut full, mut row) = (x.to_vec(), vec![]);
    let inexact = dtype.is_inexact();
    for _ in 0..4 + r.below(14) {
        match r.below(6) {
            0 | 1 => {
                let x = r.choose(&full).unwrap();
                let reducers = [Reducer::Sum, Reducer::Max, Reducer::Min];
                let reducer = *r.choose(&reducers).unwrap();
                let axes: Dims = last.iter().copied().collect();
                let y = bind(Reduce { reducer, axes }, &[x]);
                // Sums of sums would leave the range in which a tolerance means something.
                row.push(if inexact { y.tanh() } else { y });
            }
            2 if !row.is_empty() => {
                let x: &Array = r.choose(&row).unwrap();
                let axes: Vec<usize> = (0..x.shape().len()).collect();
                full.push(x.broadcast_in_dim(shape, axes));
            }
            3 if !row.is_empty() => {
                let x: &Array = r.choose(&row).unwrap();
                let to = if r.chance(0.5) { &kept[..] } else { rows };
                let y = x.reshape(to);
                row.push(if r.chance(0.5) { y } else { y.clone() * y });
            }
            4 if row.len() > 1 => {
                let (x, y) = (r.choose(&row).unwrap(), r.choose(&row).unwrap());
                row.push(x.reshape(rows) - y.reshape(rows));
            }
            _ => {
                let (x, y) = (r.choose(&full).unwrap(), r.choose(&full).unwrap());
                full.push(match r.below(4) {
                    0 if inexact => x.sin(),
                    1 => bind(Binary::Max, &[x, y]),
                    2 => x * 2 - y,
                    _ => x + y,
                });
            }
        }
    }
    let mut results: Vec<Array> = row.into_iter().filter(|_| r.chance(0.3)).collect();
    results.extend(full.last().cloned());
    results.extend(full.into_iter().filter(|_| r.chance(0.15)));
    results
}

#[test]
fn random_programs_over_rows() {
    let mut r = Rng(23);
    let shapes: [(&[usize], usize); 12] = [
        (&[5, 7], 1),
        (&[3, 4, 33], 2),
        (&[2, 3, 4, 5], 2),
        (&[2, 2], 1),
        (&[300, 17], 1),
        (&[2, 1, 9], 2),
        (&[7, 1, 3], 1),
        (&[3, 2049], 1),
        (&[2, 40000], 1),
        (&[64, 1024], 1),
        (&[1, 6], 1),
        (&[0, 4], 1),
    ];
    for case in 0..240u64 {
        let (shape, lead) = shapes[r.below(shapes.len())];
        let types = [DType::F32, DType::F64, DType::BF16, DType::I32];
        let dtype = *r.choose(&types).unwrap();
        let tolerance = match dtype {
            DType::F32 => 1e-4,
            DType::F64 => 1e-11,
            // A sum of many in another order may be rounded to the next of few digits.
            DType::BF16 => 0.1,
            _ => 0.0,
        };
        let x: Vec<Array> = (0..2)
            .map(|_| {
                let x = viewed(&mut r, shape, DType::I32);
                // Small integers: what depends on rounding is made of them by the program.
                if dtype == DType::I32 {
                    x
                } else {
                    (x.astype(dtype) / 16).astype(dtype)
                }
            })
            .collect();
        agree(
            &format!("case {case}: {dtype}{shape:?}"),
            tolerance,
            &x,
            |x| over_rows(&mut Rng(case), shape, lead, dtype, x),
        );
    }
}

#[test]
fn long_sums_keep_their_digits() {
    let n = 4_000_003;
    let x = Array::full([n], 0.1f32, DType::F32);
    for (x, axis) in [(x.clone(), 0), (x.reshape([n, 1]).broadcast_to([n, 2]), 0)] {
        let y = jit(move |x: &Array| x.sum(axis))(&x).unwrap();
        for y in y.to_f64_vec().unwrap() {
            let exact = f64::from(0.1f32) * n as f64;
            assert!((y - exact).abs() < 1e-6 * exact, "{y} for {exact}");
        }
    }
}

#[test]
fn contractions_of_any_form() {
    let mut r = Rng(7);
    for round in 0..600 {
        // Axes: shared (batch), summed, and each operand's own, in any order.
        let sizes = [1, 2, 3, 5, 7, 16, 17, 33];
        let pick = |r: &mut Rng, most: usize| -> Vec<usize> {
            (0..r.below(most + 1))
                .map(|_| sizes[r.below(sizes.len())])
                .collect()
        };
        let (mut batch, sum) = (pick(&mut r, 1), pick(&mut r, 2));
        if batch.first().is_some_and(|b| *b > 7) {
            batch.clear();
        }
        let own = [pick(&mut r, 2), pick(&mut r, 2)];
        let side = |r: &mut Rng, own: &[usize]| {
            let mut axes: Vec<(u8, usize, usize)> = vec![];
            axes.extend(batch.iter().enumerate().map(|(i, n)| (0, i, *n)));
            axes.extend(sum.iter().enumerate().map(|(i, n)| (1, i, *n)));
            axes.extend(own.iter().enumerate().map(|(i, n)| (2, i, *n)));
            for i in (1..axes.len()).rev() {
                axes.swap(i, r.below(i + 1));
            }
            let at = |kind: u8, n: usize| -> Dims {
                (0..n)
                    .filter_map(|i| axes.iter().position(|a| a.0 == kind && a.1 == i))
                    .collect()
            };
            let shape: Vec<usize> = axes.iter().map(|a| a.2).collect();
            (shape, at(0, batch.len()), at(1, sum.len()))
        };
        let (s, lhs_batch, lhs_contract) = side(&mut r, &own[0]);
        let (t, rhs_batch, rhs_contract) = side(&mut r, &own[1]);
        if s.iter().product::<usize>() > 60_000 || t.iter().product::<usize>() > 60_000 {
            continue;
        }
        let dtypes = [
            DType::F32,
            DType::F32,
            DType::F64,
            DType::C64,
            DType::C128,
            DType::BF16,
            DType::F16,
            DType::I32,
            DType::U8,
            DType::I64,
        ];
        let dtype = dtypes[r.below(dtypes.len())];
        let preferred = (dtype == DType::BF16 && r.chance(0.5)).then_some(DType::F32);
        let p = DotGeneral {
            lhs_contract,
            rhs_contract,
            lhs_batch,
            rhs_batch,
            preferred_element_type: preferred,
            ..DotGeneral::default()
        };
        let plain = |r: &mut Rng, shape: &[usize]| {
            let n: usize = shape.iter().product();
            let x: Vec<f64> = (0..n)
                .map(|_| ((r.uniform() - 0.5) * 8.0).round())
                .collect();
            Array::new(shape, x).astype(dtype)
        };
        let turned = |r: &mut Rng, shape: &[usize]| {
            if r.chance(0.3) && shape.len() > 1 {
                let order: Vec<usize> = (0..shape.len()).rev().collect();
                let back: Vec<usize> = shape.iter().rev().copied().collect();
                plain(r, &back).transpose(order)
            } else {
                plain(r, shape)
            }
        };
        let x = vec![turned(&mut r, &s), turned(&mut r, &t)];
        let tolerance = match preferred.unwrap_or(dtype) {
            DType::BF16 => 1e-2,
            DType::F16 => 2e-3,
            DType::F32 | DType::C64 => 1e-5,
            _ => 1e-12,
        };
        agree(
            &format!("round {round}: {p:?} of {dtype}"),
            tolerance,
            &x,
            |x| vec![bind(p.clone(), &[&x[0], &x[1]])],
        );
    }
}

/// Sizes on both sides of a tile, of a block of rows, of the summed axis and of columns; operands as they are and transposed.
#[test]
fn large_products() {
    let mut r = Rng(8);
    let sizes = [
        (1, 300, 400),
        (300, 400, 1),
        (257, 129, 65),
        (64, 64, 256),
        (9, 385, 33),
        (193, 770, 9),
        (17, 390, 2049),
        (16, 400, 700),
        (3, 800, 300),
        (300, 500, 3),
        (500, 7, 8),
        (33, 1, 65),
    ];
    for (m, k, n) in sizes {
        let dtypes = [DType::F32, DType::F64, DType::C64, DType::C128];
        let cheap = m * k * n < 1 << 20;
        for dtype in dtypes.into_iter().take(if cheap { 4 } else { 1 }) {
            let mut plain = |shape: [usize; 2]| {
                let mut part = || -> Vec<f64> {
                    let n = shape[0] * shape[1];
                    (0..n).map(|_| r.uniform() - 0.5).collect()
                };
                let x = Array::new(shape, part());
                if dtype.is_complex() {
                    return bind(Binary::Complex, &[&x, &Array::new(shape, part())]).astype(dtype);
                }
                x.astype(dtype)
            };
            let x = vec![plain([m, k]), plain([k, n]), plain([n, k]), plain([k, m])];
            agree(&format!("{m} × {k} × {n} of {dtype}"), 1e-5, &x, |x| {
                let turned = |x: &Array| x.transpose([1, 0]);
                vec![
                    x[0].matmul(&x[1]),
                    x[0].matmul(&turned(&x[2])),
                    turned(&x[3]).matmul(&x[1]),
                    turned(&x[3]).matmul(&turned(&x[2])),
                ]
            });
        }
    }
}

#[test]
fn calls_are_flattened_and_results_may_repeat() {
    let mut r = Rng(9);
    let x = vec![random(&mut r, &[4, 3], DType::F32)];
    agree("nested calls", 0.0, &x, |x| {
        let inner = jit(|x: &Array| jit(|x: &Array| x.stop_gradient() * 2.0)(x).map(|y| y + 1.0));
        let y = Array::from_result(inner(&x[0]));
        vec![
            y.clone(),
            x[0].clone(),
            y,
            x[0].reshape([3, 4]).transpose([1, 0]),
        ]
    });
}

#[test]
fn an_executable_serves_many_threads() -> Result<()> {
    let f = jit(|x: &Array| (x * 2.0 + 1.0).tanh().sum(0));
    let x = Array::arange(5000, DType::F32);
    let expected = f(&x)?.item::<f32>()?;
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(f(&x).unwrap().item::<f32>().unwrap(), expected);
                }
            });
        }
    });
    Ok(())
}

#[test]
fn transposes_are_copied_in_blocks() {
    let mut r = Rng(10);
    for shape in [
        &[15, 17][..],
        &[16, 16],
        &[33, 5],
        &[1, 40],
        &[3, 19, 35],
        &[0, 4],
    ] {
        for dtype in [DType::F32, DType::U8, DType::C128] {
            let x = vec![random(&mut r, shape, dtype)];
            let rank = shape.len();
            let size: usize = shape.iter().product();
            agree(&format!("{shape:?} turned"), 0.0, &x, |x| {
                let mut order: Vec<usize> = (0..rank).collect();
                order.swap(rank - 1, rank - 2);
                vec![x[0].transpose(order).reshape([size])]
            });
        }
    }
}

#[test]
fn elements_are_moved() {
    let mut r = Rng(29);
    for case in 0..160 {
        let types = [
            DType::F32,
            DType::F32,
            DType::BF16,
            DType::I8,
            DType::Bool,
            DType::C64,
        ];
        let dtype = *r.choose(&types).unwrap();
        // Now and then enough for several threads.
        let long = if r.chance(0.1) { 300 } else { 1 };
        let shape = [1 + r.below(6) * long, 1 + r.below(5), 1 + r.below(4) * 7];
        let axis = if long > 1 { 0 } else { r.below(3) };
        let x = viewed(&mut r, &shape, dtype);
        let count = 1 + r.below(9) * long;
        let places: Vec<f64> = (0..count)
            .map(|_| r.below(shape[axis] + 3) as f64 - 1.0)
            .collect();
        let places = Array::new([count], places).astype(DType::I32);
        let mut updates = shape;
        updates[axis] = count;
        let u = viewed(&mut r, &updates, dtype);
        let what = format!("case {case}: {dtype}{shape:?} at {count} of axis {axis}");
        let (what, args) = (what.as_str(), vec![x, places, u]);
        let front = |x: &Array| x.swapaxes(0, axis as i32);
        agree(&format!("{what}, gathered"), 0.0, &args, |x| {
            vec![x[0].take(&x[1], axis as i32), front(&x[0]).at(&x[1]).get()]
        });
        agree(&format!("{what}, set"), 0.0, &args, |x| {
            let set = |x: &Array, at: &Array, u: &Array| front(x).at(at).set(front(u));
            let fresh = bind(Binary::Max, &[&x[0], &x[0]]);
            // One operand that is read again, and one that dies.
            if dtype == DType::C64 {
                return vec![set(&x[0], &x[1], &x[2])];
            }
            vec![
                set(&x[0], &x[1], &x[2]),
                set(&fresh, &x[1], &x[2]),
                x[0].clone(),
            ]
        });
        if dtype.is_inexact() {
            agree(&format!("{what}, added"), 0.0, &args, |x| {
                vec![front(&x[0]).at(&x[1]).add(front(&x[2]))]
            });
        }
        if dtype == DType::F32 {
            let config = vec![(2, -1, 0), (-1, 3, 2), (0, 0, 1)];
            agree(&format!("{what}, moved"), 0.0, &args, |x| {
                let pad = quaxide::trace::op::Pad {
                    padding_config: config.clone(),
                };
                let both = quaxide::array::numpy::concatenate(&[&x[0], &x[2], &x[0]], axis as i32);
                let small = x[0].index((0..1, 0..1));
                let at = x[1].index(0);
                let zero = Array::zeros_like(&at);
                let updated = bind(
                    quaxide::trace::op::DynamicUpdateSlice,
                    &[&x[0], &small, &at, &at, &zero],
                );
                vec![bind(pad, &[&x[0], &Array::from(1.5f32)]), both, updated]
            });
        }
    }
}

#[test]
fn products_under_programs() {
    type Axes<'a> = ([&'a [usize]; 2], [&'a [usize]; 2]);
    let mut r = Rng(31);
    for case in 0..90u64 {
        let m = *r.choose(&[32, 33, 64, 100, 391]).unwrap();
        let n = *r.choose(&[16, 17, 40, 96]).unwrap();
        let k = *r.choose(&[4, 5, 33, 400]).unwrap();
        let (b, h) = (1 + r.below(3), 2 + r.below(2));
        let dtype = *r.choose(&[DType::F32, DType::F32, DType::F64]).unwrap();
        let forms: [(Vec<usize>, Vec<usize>, Axes); 6] = [
            (vec![m, k], vec![k, n], ([&[1], &[0]], [&[], &[]])),
            (vec![m, k], vec![n, k], ([&[1], &[1]], [&[], &[]])),
            (vec![k, m], vec![k, n], ([&[0], &[0]], [&[], &[]])),
            (vec![b, m, k], vec![b, n, k], ([&[2], &[2]], [&[0], &[0]])),
            (
                vec![b, h, m, k],
                vec![h, k, n],
                ([&[1, 3], &[0, 1]], [&[], &[]]),
            ),
            (vec![b, m, k], vec![h, n, k], ([&[2], &[2]], [&[], &[]])),
        ];
        let (left, right, (sum, batch)) = r.choose(&forms).unwrap().clone();
        let dot = move |x: &Array, y: &Array| {
            let d = DotGeneral::new((sum[0], sum[1]), (batch[0], batch[1]));
            x.dot_general(y, d)
        };
        let number = |r: &mut Rng, shape: &[usize]| {
            (viewed(r, shape, DType::I32).astype(dtype) / 64).astype(dtype)
        };
        let args: Vec<Array> = [&left, &right, &left, &right]
            .iter()
            .map(|s| number(&mut r, s))
            .collect();
        let shape: Vec<usize> = dot(&args[0], &args[1]).shape().to_vec();
        let lead = shape.len() - 1;
        let tolerance = if dtype == DType::F32 { 1e-4 } else { 1e-11 };
        let what = format!("case {case}: {dtype}{left:?} · {right:?}");
        agree(&what, tolerance, &args, |x| {
            let mut r = Rng(case);
            let (y, z) = (dot(&x[0], &x[1]), dot(&x[2], &x[3]));
            let scale = |y: &Array| y * (1.0 / k as f64);
            match r.below(4) {
                // One product, two of a sum, a sum that is read twice, one that others read, too.
                0 => over_rows(&mut r, &shape, lead, dtype, &[scale(&y)]),
                1 => over_rows(&mut r, &shape, lead, dtype, &[scale(&(y + z))]),
                2 => {
                    let s = y + z;
                    vec![scale(&s).sin(), scale(&(&s * 2 + &s))]
                }
                _ => {
                    let mut all = over_rows(&mut r, &shape, lead, dtype, &[scale(&y), scale(&z)]);
                    all.push(z);
                    all
                }
            }
        });
    }
}

#[test]
fn gradients_of_activations_between_products() {
    type Activation = fn(&Array) -> Array;
    let activations: [(&str, Activation); 6] = [
        ("gelu_exact", nn::gelu_exact),
        ("gelu", nn::gelu),
        ("silu", nn::silu),
        ("tanh", Array::tanh),
        ("softmax", |x| nn::softmax(x, -1)),
        ("standardize", |x| nn::standardize(x, -1, 1e-5)),
    ];
    let mut r = Rng(37);
    let mut number = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Array::new(
            shape,
            (0..n)
                .map(|_| r.uniform() as f32 - 0.5)
                .collect::<Vec<f32>>(),
        )
    };
    // Large enough that it matters what is kept.
    let args = vec![
        number(&[260, 40]),
        number(&[40, 256]),
        number(&[256]),
        number(&[256, 24]),
    ];
    for (name, activation) in activations {
        agree(name, 1e-4, &args, |x| {
            let loss = |x: &Vec<Array>| {
                let h = activation(&(x[0].matmul(&x[1]) + &x[2]));
                // Read again, so that the backward pass has two products to add.
                (h.matmul(&x[3]).square().mean(()) + (&h * 0.1).matmul(&x[3]).sin().mean(())) * 10
            };
            grad(loss)(x).unwrap()
        });
    }
}

#[test]
fn weights_are_packed_once_and_never_mistaken() {
    let product = jit(|x: &Array, w: &Array| x.matmul(w).tanh() * 2);
    let mut r = Rng(41);
    let mut number = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Array::new(
            shape,
            (0..n).map(|_| r.uniform() - 0.5).collect::<Vec<f64>>(),
        )
    };
    for _ in 0..20 {
        let w = number(&[70, 80]);
        // The same weights a few times, and a view of them; then others, often at the same address.
        for _ in 0..3 {
            let x = number(&[48, 70]);
            for w in [w.clone(), w.reshape([80, 70]).transpose([1, 0])] {
                let given = product(&x, &w).unwrap().to_f64_vec().unwrap();
                let expected = (x.matmul(&w).tanh() * 2).to_f64_vec().unwrap();
                let far = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-5;
                assert!(!given.iter().zip(&expected).any(far));
            }
        }
    }
}

#[test]
fn convolutions() {
    let mut r = Rng(31);
    let mut ran = 0;
    for case in 0..120 {
        let types = [DType::F32, DType::F32, DType::F64, DType::BF16, DType::F16];
        let dtype = *r.choose(&types).unwrap();
        let spaces = r.below(4);
        // Groups of features, or of the batch.
        let groups = 1 + r.below(3);
        let by_batch = groups > 1 && r.chance(0.3);
        let (channels, features) = (1 + r.below(5), 1 + r.below(9));
        let large = case % 10 == 0;
        let batch = (1 + r.below(3)) * if by_batch { groups } else { 1 };
        let mut image = vec![batch, channels * if by_batch { 1 } else { groups }];
        let mut kernel = vec![features * groups, channels];
        let (mut padding, mut strides) = (vec![], vec![]);
        let (mut holes, mut kernel_holes) = (vec![], vec![]);
        for _ in 0..spaces {
            image.push(r.below(8) + if large { 12 } else { 0 });
            kernel.push(1 + r.below(3) + if r.chance(0.1) { 6 } else { 0 });
            padding.push((r.below(5) as isize - 1, r.below(5) as isize - 1));
            strides.push(1 + r.below(3));
            holes.push(1 + r.below(2));
            kernel_holes.push(1 + r.below(2));
        }
        let mut how = Convolution::new(strides.as_slice())
            .padding(Pads::Explicit(padding))
            .lhs_dilation(holes.as_slice())
            .rhs_dilation(kernel_holes.as_slice());
        how = match by_batch {
            true => how.batch_groups(groups),
            false => how.feature_groups(groups),
        };
        let small = |r: &mut Rng, shape: &[usize]| {
            let n = shape.iter().product();
            let x: Vec<f64> = (0..n).map(|_| r.uniform() - 0.5).collect();
            Array::new(shape, x).astype(dtype)
        };
        let (mut x, mut k) = (small(&mut r, &image), small(&mut r, &kernel));
        // Features last, in memory and by name.
        let last = r.chance(0.4);
        let to_last = |x: &Array| {
            let n = x.shape().len();
            let order: Vec<usize> = [0].into_iter().chain(2..n).chain([1]).collect();
            x.transpose(order.as_slice())
        };
        if last {
            (x, k) = (to_last(&x), to_last(&k));
            let names = &"DHW"[3 - spaces..];
            let (left, right) = (format!("N{names}C"), format!("O{names}I"));
            how = how.layouts(&left, &right, &left);
        }
        let tolerance = match dtype {
            DType::F64 => 1e-12,
            DType::F32 => 1e-5,
            _ => 1e-2,
        };
        let what = format!("case {case}: {dtype}{image:?} under {kernel:?}, {how:?}");
        let args = vec![x, k];
        let defined = args[0].conv_general_dilated(&args[1], &how);
        if defined.aval().is_err() {
            continue;
        }
        ran += 1;
        agree(&what, tolerance, &args, |x| {
            vec![x[0].conv_general_dilated(&x[1], &how)]
        });
        if dtype == DType::F64 && spaces == 2 {
            let square = |x: &[Array]| x[0].conv_general_dilated(&x[1], &how).square().sum(());
            agree(&format!("{what}, its gradient"), tolerance, &args, |x| {
                grad(|x: &Vec<Array>| square(x))(&x.to_vec()).unwrap()
            });
        }
    }
    assert!(ran > 80, "only {ran} convolutions were possible");
}

#[test]
fn reductions_under_windows() {
    let mut r = Rng(37);
    let mut ran = 0;
    for case in 0..150 {
        let types = [DType::F32, DType::F64, DType::BF16, DType::I8, DType::I32];
        let dtype = *r.choose(&types).unwrap();
        let reducers = [
            WindowReducer::Sum,
            WindowReducer::Prod,
            WindowReducer::Max,
            WindowReducer::Min,
        ];
        let reducer = *r.choose(&reducers).unwrap();
        let rank = 1 + r.below(3);
        let mut each = |most: usize, from: usize| -> Dims {
            (0..rank).map(|_| from + r.below(most)).collect()
        };
        let shape = each(9, 1);
        let (window_dimensions, window_strides) = (each(3, 1), each(2, 1));
        let (base_dilation, window_dilation) = (each(2, 1), each(2, 1));
        let around = |n: &usize| (*n as isize - 1, *n as isize - 1);
        let padding = each(4, 0).iter().map(around).collect();
        let window = Window {
            base_dilation,
            padding,
            window_dilation,
            window_dimensions,
            window_strides,
        };
        let what = format!("case {case}: {reducer:?} of {dtype}{shape:?} under {window:?}");
        // Sums of numbers of the edges depend on their order.
        let ordered = matches!(reducer, WindowReducer::Max | WindowReducer::Min);
        let x = match ordered {
            true => viewed(&mut r, &shape, dtype),
            false => Array::new(
                &shape,
                (0..shape.iter().product())
                    .map(|_| r.uniform())
                    .collect::<Vec<f64>>(),
            )
            .astype(dtype),
        };
        if x.reduce_window(reducer, &window).aval().is_err() {
            continue;
        }
        ran += 1;
        let tolerance = match dtype {
            _ if ordered => 0.0,
            DType::BF16 => 2e-2,
            _ => 1e-5,
        };
        agree(&what, tolerance, &vec![x], |x| {
            vec![x[0].reduce_window(reducer, &window)]
        });
    }
    assert!(ran > 100, "only {ran} windows were possible");
}

#[test]
fn sorted_and_the_largest() {
    let mut r = Rng(41);
    for case in 0..120 {
        let dtype = *r.choose(&DType::ALL).unwrap();
        let shape: Vec<usize> = (0..1 + r.below(3)).map(|_| r.below(12)).collect();
        let axis = r.below(shape.len());
        let x: Vec<Array> = (0..3).map(|_| viewed(&mut r, &shape, dtype)).collect();
        // Few different numbers, so that the second key matters and ties have an order.
        let coarse = bind(Binary::Max, &[&x[0], &x[1]]);
        let coarse = if dtype.is_complex() {
            x[0].clone()
        } else {
            coarse
        };
        let what = format!("case {case}: {dtype}{shape:?} along {axis}");
        let args = vec![coarse, x[1].clone(), x[2].clone()];
        for num_keys in 1..=3 {
            agree(&format!("{what}, {num_keys} keys"), 0.0, &args, |x| {
                lax::sort_together(x, axis as i32, num_keys).unwrap()
            });
        }
        if dtype.is_complex() {
            continue;
        }
        let k = r.below(shape[axis] + 1);
        agree(&format!("{what}, the largest {k}"), 0.0, &args, |x| {
            let (values, places) = lax::top_k(&x[0], k, axis as i32).unwrap();
            vec![values, places]
        });
    }
}
