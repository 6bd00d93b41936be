//! Intervals: the true value is always inside, and monotone functions are tight.

use quaxide::{
    ErrorKind,
    op::{Binary, Cumulative, CumulativeKind, Special, Unary},
    prelude::*,
    rules::{Bcoo, Interval, Zero, bounds, interval, quantity},
    trace::bind,
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
use rng::{Rng, random_array};

fn i(low: f64, high: f64) -> Array {
    interval(
        Array::from([low]).astype(DType::F64),
        Array::from([high]).astype(DType::F64),
    )
    .unwrap()
}

fn of(f: impl Fn(&Array) -> Array + Send + Sync, x: &Array) -> (f64, f64) {
    let y = quaxify(move |x: &Array| f(x))(x).unwrap();
    let (l, u) = bounds(&y).unwrap();
    (l.to_f64_vec().unwrap()[0], u.to_f64_vec().unwrap()[0])
}

/// Are these the bounds, but for a few units in the last place outwards?
#[track_caller]
fn is((l, u): (f64, f64), (low, high): (f64, f64)) {
    let near = |x: f64, y: f64| x == y || (x - y).abs() <= 1e-13 * (1.0 + y.abs());
    assert!(
        l <= low && u >= high && near(l, low) && near(u, high),
        "[{l}, {u}] for [{low}, {high}]"
    );
}

#[test]
fn functions_of_one_number_are_tight() {
    let e = 1f64.exp();
    is(of(Array::exp, &i(0.0, 1.0)), (1.0, e));
    is(
        of(Array::tanh, &i(-1.0, 0.5)),
        ((-1f64).tanh(), 0.5f64.tanh()),
    );
    is(of(|x| -x, &i(-1.0, 0.5)), (-0.5, 1.0));
    is(of(Array::abs, &i(-3.0, 2.0)), (0.0, 3.0));
    is(of(Array::abs, &i(-3.0, -2.0)), (2.0, 3.0));
    is(of(Array::square, &i(-3.0, 2.0)), (0.0, 9.0));
    is(of(|x| x.integer_pow(3), &i(-3.0, 2.0)), (-27.0, 8.0));
    is(of(|x| x.integer_pow(4), &i(-3.0, 2.0)), (0.0, 81.0));
    is(of(|x| x.integer_pow(-2), &i(2.0, 4.0)), (0.0625, 0.25));
    is(
        of(|x| x.integer_pow(-1), &i(-1.0, 4.0)),
        (f64::NEG_INFINITY, f64::INFINITY),
    );
    is(of(Array::sin, &i(0.0, 1.0)), (0.0, 1f64.sin()));
    is(of(Array::sin, &i(0.0, 3.0)), (0.0, 1.0));
    is(of(Array::sin, &i(3.0, 6.0)), (-1.0, 3f64.sin()));
    is(of(Array::sin, &i(-50.0, 50.0)), (-1.0, 1.0));
    is(of(Array::cos, &i(-1.0, 2.0)), (2f64.cos(), 1.0));
    is(
        of(Array::cos, &i(100.0, 101.0)),
        (100f64.cos().min(101f64.cos()), 1.0),
    );
    is(of(Array::tan, &i(0.5, 1.0)), (0.5f64.tan(), 1f64.tan()));
    is(
        of(Array::tan, &i(1.0, 2.0)),
        (f64::NEG_INFINITY, f64::INFINITY),
    );
    is(of(Array::log, &i(1.0, e)), (0.0, 1.0));
    is(of(Array::rsqrt, &i(4.0, 16.0)), (0.25, 0.5));
    is(
        of(Array::arccos, &i(-0.5, 0.5)),
        (0.5f64.acos(), (-0.5f64).acos()),
    );
    is(of(Array::cosh, &i(-2.0, 1.0)), (1.0, 2f64.cosh()));
    is(of(Array::floor, &i(1.2, 2.7)), (1.0, 2.0));
    is(of(nn::relu, &i(-1.0, 2.0)), (0.0, 2.0));
    is(of(|x| x.pow(0.5), &i(4.0, 9.0)), (2.0, 3.0));
    is(
        of(|x| x.arctan2(2.0), &i(-2.0, 2.0)),
        (-std::f64::consts::FRAC_PI_4, std::f64::consts::FRAC_PI_4),
    );
}

#[test]
fn operations_hold_every_combination() {
    let two = |f: fn(&Array, &Array) -> Array, x: (f64, f64), y: (f64, f64)| {
        let y = quaxify(f)(&i(x.0, x.1), &i(y.0, y.1)).unwrap();
        let (l, u) = bounds(&y).unwrap();
        (l.to_f64_vec().unwrap()[0], u.to_f64_vec().unwrap()[0])
    };
    is(two(|x, y| x + y, (1.0, 2.0), (-4.0, 3.0)), (-3.0, 5.0));
    is(two(|x, y| x - y, (1.0, 2.0), (-4.0, 3.0)), (-2.0, 6.0));
    is(two(|x, y| x * y, (-1.0, 2.0), (-4.0, 3.0)), (-8.0, 6.0));
    is(two(|x, y| x / y, (1.0, 2.0), (-4.0, -2.0)), (-1.0, -0.25));
    is(
        two(|x, y| x / y, (1.0, 2.0), (-4.0, 2.0)),
        (f64::NEG_INFINITY, f64::INFINITY),
    );
    is(
        two(|x, y| x * y, (0.0, 0.0), (f64::NEG_INFINITY, f64::INFINITY)),
        (0.0, 0.0),
    );
    is(
        two(|x, y| x.maximum(y), (-1.0, 2.0), (0.0, 1.0)),
        (0.0, 2.0),
    );
    // Certain, impossible, and open.
    for (x, y, want) in [
        ((0.0, 1.0), (2.0, 3.0), (1.0, 1.0)),
        ((2.0, 3.0), (0.0, 1.0), (0.0, 0.0)),
        ((0.0, 2.0), (1.0, 3.0), (0.0, 1.0)),
    ] {
        assert_eq!(two(|x, y| x.lt(y), x, y), want);
        let (l, u) = two(|x, y| x.lt(y).select(x * 0.0 + 10.0, x * 0.0 + 20.0), x, y);
        is(
            (l, u),
            (
                if want.1 == 1.0 { 10.0 } else { 20.0 },
                if want.0 == 1.0 { 10.0 } else { 20.0 },
            ),
        );
    }
    let x = interval(
        Array::from([[1f64, -1.0], [0.0, 2.0]]),
        Array::from([[2f64, 1.0], [0.5, 3.0]]),
    )
    .unwrap();
    let y = quaxify(|x: &Array| x.sum(0))(&x).unwrap();
    let (l, u) = bounds(&y).unwrap();
    is(
        (l.to_f64_vec().unwrap()[0], u.to_f64_vec().unwrap()[0]),
        (1.0, 2.5),
    );
    let y = quaxify(|x: &Array| x.dot(&Array::from([1f64, -2.0])))(&x).unwrap();
    let (l, u) = bounds(&y).unwrap();
    is(
        (l.to_f64_vec().unwrap()[0], u.to_f64_vec().unwrap()[0]),
        (-1.0, 4.0),
    );
    is(
        (l.to_f64_vec().unwrap()[1], u.to_f64_vec().unwrap()[1]),
        (-6.0, -3.5),
    );
}

/// What a network may say for any input in a box.
#[test]
fn a_networks_output_is_bounded() {
    let mlp = nn::Mlp::new(3, 2, 16, 2, &random::key(1));
    let call = |m: &nn::Mlp, x: &Array| m.call(x);
    let centre = random::normal(&random::key(2), [3]);
    let box_ = interval(&centre - 0.05, &centre + 0.05).unwrap();
    let y = quaxify(call)(&mlp, &box_).unwrap();
    let (l, u) = bounds(&y).unwrap();
    let (l, u) = (l.to_f64_vec().unwrap(), u.to_f64_vec().unwrap());
    let mut r = Rng(1);
    for _ in 0..300 {
        let x = &centre + (random_array(&mut r, &[3]) * 0.05).astype(DType::F32);
        let y = mlp.call(&x).to_f64_vec().unwrap();
        for k in 0..2 {
            assert!(l[k] <= y[k] && y[k] <= u[k], "{y:?}");
        }
    }
    assert!(u[0] - l[0] < 3.0, "{}", u[0] - l[0]);
}

type Step = fn(&Array, &Array) -> Array;

/// Their constants are numbers of both types.
const STEPS: &[Step] = &[
    |x, y| x + y,
    |x, y| x - y,
    |x, y| x * y,
    |x, y| x / (y.square() + 0.5),
    |x, _| x.sin(),
    |x, _| x.cos() * 3.0,
    |x, _| x.tanh(),
    |x, _| x.exp().log1p(),
    |x, _| (x.abs() + 0.125).sqrt(),
    |x, y| x.maximum(y),
    |x, y| x.gt(y).select(x, y),
    |x, _| x.sum(1).expand_dims(1).broadcast_to(x.shape()) * 0.25,
    |x, y| x.dot(&y.t()),
    |x, _| x.t(),
    |x, _| x.cumsum(0) * 0.25,
    |x, _| nn::softmax(x, -1),
    |x, _| x.integer_pow(3) * 0.125,
    |x, _| x.sort(0),
    |x, _| x.logistic(),
    |x, _| x.erf(),
    |x, y| (x.square() + 0.25).pow(&(y * 0.5)),
    |x, y| numpy::concatenate(&[&x.slice_in_dim(0, 2, 0), &y.slice_in_dim(1, 3, 0)], 0),
    |x, _| x * 0.0009765625 + 1024.0,
    |x, _| (x.abs() + 0.0625).lgamma(),
    |x, _| (x.abs() + 0.25).digamma() * 0.125,
    |x, y| (x + 0.125) % (y + 0.25),
    |x, _| x.prod(1).expand_dims(1).broadcast_to(x.shape()),
    |x, _| bind(Unary::BesselI0e, &[x]) - bind(Unary::BesselI1e, &[x]),
    |x, y| bind(Binary::Igamma, &[&(x.abs() + 0.125), &y.abs()]),
    |x, y| bind(Binary::Igammac, &[&(x.abs() + 0.125), &y.abs()]),
    |x, y| bind(Special::Zeta, &[&(x.abs() + 1.125), &(y.abs() + 0.5)]) * 0.125,
    |x, y| lax::betainc(&(x.abs() + 0.25), &(y.abs() + 0.25), &x.logistic()),
    |x, _| {
        let kind = CumulativeKind::LogSumExp;
        let (axis, reverse) = (0, false);
        bind(
            Cumulative {
                kind,
                axis,
                reverse,
            },
            &[x],
        )
    },
    |x, _| x.top_k(4).0,
    |x, _| (x.argmax(0).astype(x.dtype().unwrap()) * 0.125).broadcast_to(x.shape()),
];

/// Intervals in `f32`, the truth in `f64`.
#[test]
fn the_true_value_is_inside() {
    for seed in 0..programs() {
        let mut r = Rng(seed);
        let radius = *r.choose(&[0.0, 1e-7, 1e-3, 0.1, 1.0]).unwrap();
        let x: Vec<Array> = (0..2)
            .map(|_| random_array(&mut r, &[4, 4]).astype(DType::F32))
            .collect();
        let boxes: Vec<Array> = x
            .iter()
            .map(|x| interval(x - radius, x + radius).unwrap())
            .collect();
        let names: Vec<(usize, usize, usize)> = (0..5)
            .map(|k| (r.below(STEPS.len()), r.below(k + 2), r.below(k + 2)))
            .collect();
        let run = |x: &Vec<Array>| {
            let mut v = x.clone();
            for (f, a, b) in &names {
                let y = STEPS[*f](&v[*a], &v[*b]);
                v.push(y);
            }
            v
        };
        let got = quaxify(run)(&boxes).unwrap_or_else(|e| panic!("{seed}: {e}"));
        for point in 0..3 {
            let inside: Vec<Array> = boxes
                .iter()
                .map(|b| {
                    let (l, u) = bounds(b).unwrap();
                    let (l, u) = (l.astype(DType::F64), u.astype(DType::F64));
                    match point {
                        0 => l,
                        1 => u,
                        _ => &l + (u - &l) * (random_array(&mut r, &[4, 4]) * 0.5 + 0.5),
                    }
                })
                .collect();
            let truth = quaxify(run)(&inside).unwrap();
            for (k, (got, truth)) in got.iter().zip(&truth).enumerate() {
                let (l, u) = bounds(got).unwrap();
                let (l, u) = (l.to_f64_vec().unwrap(), u.to_f64_vec().unwrap());
                for ((l, u), t) in l.iter().zip(&u).zip(truth.to_f64_vec().unwrap()) {
                    // The truth is itself rounded, in its last digits.
                    let slack = 1e-13 * (1.0 + t.abs());
                    assert!(
                        l - slack <= t && t <= u + slack || !t.is_finite(),
                        "{seed}, value {k} of steps {names:?}: {t} is not in [{l}, {u}]"
                    );
                }
            }
        }
    }
}

/// How many random programs are tried: `QUAXIDE_PROGRAMS`, or 5,000 in release builds and fewer in others.
fn programs() -> u64 {
    let asked = std::env::var("QUAXIDE_PROGRAMS").ok();
    let usual = if cfg!(debug_assertions) { 300 } else { 5000 };
    asked.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// The derivative at every point inside lies between the bounds of the derivative.
#[test]
fn the_true_gradient_is_inside() {
    for seed in 0..programs() {
        let mut r = Rng(seed ^ 0x6AD);
        let radius = *r.choose(&[0.0, 1e-4, 1e-2]).unwrap();
        let x = random_array(&mut r, &[4, 4]).astype(DType::F32);
        let box_ = interval(&x - radius, &x + radius).unwrap();
        let smooth = &STEPS[..STEPS.len().min(23)];
        let steps: Vec<(Step, usize, usize)> = (0..3)
            .map(|k| (*r.choose(smooth).unwrap(), r.below(k + 1), r.below(k + 1)))
            .collect();
        let loss = |x: &Array| {
            let mut v = vec![x.clone()];
            for (f, a, b) in &steps {
                let y = f(&v[*a], &v[*b]);
                v.push(y);
            }
            v.last().unwrap_or(x).sum(())
        };
        // What has no bounds for its derivative is refused: never is a bound wrong.
        let g = match quaxify(grad(loss))(&box_) {
            Ok(g) => g,
            Err(e) if e.kind() == ErrorKind::Refused => continue,
            Err(e) => panic!("{seed}: {e}"),
        };
        let (l, u) = bounds(&g).unwrap();
        let (l, u) = (l.to_f64_vec().unwrap(), u.to_f64_vec().unwrap());
        let (low, high) = bounds(&box_).unwrap();
        let (low, high) = (low.astype(DType::F64), high.astype(DType::F64));
        for share in [0.0, 0.37, 1.0] {
            let point = &low + (&high - &low) * share;
            let truth = grad(loss)(&point).unwrap().to_f64_vec().unwrap();
            for (k, t) in truth.iter().enumerate() {
                let inside = l[k] <= *t && *t <= u[k] || t.is_nan();
                assert!(inside, "{seed}: {t} is not in [{}, {}]", l[k], u[k]);
            }
        }
    }
}

#[test]
fn transformations_compose() {
    let mut r = Rng(3);
    let (a, b) = (random_array(&mut r, &[5, 3]), random_array(&mut r, &[3]));
    let x = interval(&a - 0.1, &a + 0.1).unwrap();
    let f = |x: &Array, w: &Array| (x * w).tanh().sum(());
    let one = vmap(quaxify(f)).in_axes((0, None))(&x, &b).unwrap();
    let other = quaxify(vmap(f).in_axes((0, None)))(&x, &b).unwrap();
    let third = jit(quaxify(jit(vmap(f).in_axes((0, None)))))(&x, &b).unwrap();
    for y in [&other, &third] {
        let ((l, u), (m, v)) = (bounds(&one).unwrap(), bounds(y).unwrap());
        for (a, b) in [(l, m), (u, v)] {
            for (a, b) in a.to_f64_vec().unwrap().iter().zip(b.to_f64_vec().unwrap()) {
                assert!((a - b).abs() < 1e-12);
            }
        }
    }
    // Bounds of the gradient hold the gradient of every point inside.
    let g = quaxify(grad(f))(&x, &b).unwrap();
    let (l, u) = bounds(&g).unwrap();
    let at = grad(f)(&(&a + 0.05), &b).unwrap().to_f64_vec().unwrap();
    for ((l, u), t) in l
        .to_f64_vec()
        .unwrap()
        .iter()
        .zip(u.to_f64_vec().unwrap())
        .zip(at)
    {
        assert!(*l <= t && t <= u && u - l < 1.0);
    }
    // The gradient of a bound, by both bounds of the input.
    let width = |x: &Array| {
        let (l, u) = bounds(&quaxify(|x: &Array| (x * 2.0).tanh().sum(()))(x)?)?;
        (u - l).ok().cloned()
    };
    let g = grad(width)(&x).unwrap();
    let g = g.value::<Interval>().unwrap();
    let want = ((&a + 0.1) * 2.0).tanh().square() * -2.0 + 2.0;
    for (x, y) in g
        .upper
        .to_f64_vec()
        .unwrap()
        .iter()
        .zip(want.to_f64_vec().unwrap())
    {
        assert!((x - y).abs() < 1e-9, "{x} for {y}");
    }
    let steps = |x: &Array| {
        scan(
            |c: &Array, x: &Array| ((c * 0.5 + x), c.clone()),
            &i(0.0, 0.0).clone(),
            &x.sum(1).expand_dims(1),
        )
    };
    let (last, all) = quaxify(steps)(&x).unwrap();
    assert_eq!(
        (last.shape().to_vec(), all.shape().to_vec()),
        (vec![1], vec![5, 1])
    );
}

#[test]
fn values_nest() {
    let x = interval(Array::from([1f64, 2.0]), Array::from([1.5f64, 2.0])).unwrap();
    let metres = quantity(x.clone(), "m").unwrap();
    let y = quaxify(|x: &Array| x.square().sum(()))(&metres).unwrap();
    assert_eq!(y.describe(), "unitful[interval[f64[]], m^2]");
    // Sparse of intervals.
    let places = Array::from([[0i32, 1], [1, 0]]);
    let sparse = Array::from_value(Bcoo::new(x.clone(), places, [2, 2]).unwrap());
    let y = quaxify(|s: &Array| (s * 2.0).sum(1))(&sparse).unwrap();
    assert!(
        y.value::<Bcoo>()
            .unwrap()
            .data()
            .value::<Interval>()
            .is_some()
    );
    let z = Zero::new([2], DType::F64);
    let y = quaxify(|x: &Array, z: &Array| (x + z, x * z))(&x, &z).unwrap();
    assert!(y.0.value::<Interval>().is_some() && y.1.is_symbolic_zero());
    let w = LoraArray::new(
        &Array::ones([3, 2], DType::F64),
        &LoraConfig::rank(1).allow_materialise(true),
        &random::key(0),
    )
    .unwrap();
    let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(w), &x).unwrap();
    let (l, u) = bounds(&y).unwrap();
    is(
        (l.to_f64_vec().unwrap()[0], u.to_f64_vec().unwrap()[0]),
        (3.0, 3.5),
    );
}

#[test]
fn what_has_no_bounds_is_refused() {
    for (l, u, part) in [
        (
            Array::from([1f32, 0.0]),
            Array::from([0.5f32, 1.0]),
            "from 1 to 0.5",
        ),
        (
            Array::from([f32::NAN]),
            Array::from([1f32]),
            "NaN bounds nothing",
        ),
        (
            Array::from([0f32]),
            Array::from([1f64, 2.0]),
            "of one shape",
        ),
        (Array::from([0i32]), Array::from([1i32]), "f32 or f64"),
    ] {
        let e = interval(l, u).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
    let x = i(0.0, 1.0);
    for f in [
        (|x: &Array| x.cumprod(0)) as fn(&Array) -> Array,
        |x| x.astype(DType::I32),
        |x| lax::complex(x, x),
    ] {
        let e = quaxify(f)(&x).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(
            e.location().unwrap().file().ends_with("types_interval.rs"),
            "{e}"
        );
    }
    assert!(x.materialise().is_err());
}
