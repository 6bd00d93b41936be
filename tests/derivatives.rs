//! Elementwise, structural, reducing and contracting primitives: first and second derivatives against finite differences, and
//! batches against their examples.

mod support;

use quaxide::{Dims, op, prelude::*, trace::bind};
use support::check::{check_grads, check_vmap, noises};

type Function = fn(&Array) -> Array;

fn check(name: &str, f: impl Fn(&[Array]) -> Array + Send + Sync, x: &[Array]) {
    check_grads(name, &f, x, 2);
    check_vmap(name, &f, x);
}

/// Numbers between two bounds.
fn between(shape: &[usize], low: f64, high: f64) -> Array {
    (noises(shape, 5) + 1.0) * ((high - low) / 2.0) + low
}

#[test]
fn functions_of_one_number() {
    let functions: &[(&str, Function, f64, f64)] = &[
        ("neg", |x| -x, -2.0, 2.0),
        ("sign", |x| x.sign() * x, 0.2, 2.0),
        ("floor", |x| x.floor() * x, 0.1, 0.9),
        ("ceil", |x| x.ceil() * x, 0.1, 0.9),
        ("exp", Array::exp, -2.0, 2.0),
        ("exp2", Array::exp2, -2.0, 2.0),
        ("log", Array::log, 0.3, 3.0),
        ("log1p", Array::log1p, -0.6, 2.0),
        ("expm1", Array::expm1, -1.0, 2.0),
        ("tanh", Array::tanh, -2.0, 2.0),
        ("logistic", Array::logistic, -3.0, 3.0),
        ("sin", Array::sin, -3.0, 3.0),
        ("cos", Array::cos, -3.0, 3.0),
        ("tan", Array::tan, -1.2, 1.2),
        ("asin", Array::arcsin, -0.8, 0.8),
        ("acos", Array::arccos, -0.8, 0.8),
        ("atan", Array::arctan, -3.0, 3.0),
        ("sinh", Array::sinh, -2.0, 2.0),
        ("cosh", Array::cosh, -2.0, 2.0),
        ("asinh", Array::arcsinh, -2.0, 2.0),
        ("acosh", Array::arccosh, 1.3, 3.0),
        ("atanh", Array::arctanh, -0.7, 0.7),
        ("sqrt", Array::sqrt, 0.3, 3.0),
        ("rsqrt", Array::rsqrt, 0.3, 3.0),
        ("cbrt", Array::cbrt, 0.3, 3.0),
        ("square", Array::square, -2.0, 2.0),
        ("abs", Array::abs, -2.0, -0.3),
        ("erf", Array::erf, -2.0, 2.0),
        ("erfc", Array::erfc, -2.0, 2.0),
        ("erf_inv", Array::erf_inv, -0.7, 0.7),
        ("lgamma", Array::lgamma, 0.6, 4.0),
        ("digamma", Array::digamma, 0.6, 4.0),
        ("bessel_i0e", Array::bessel_i0e, 0.4, 4.0),
        ("bessel_i1e", Array::bessel_i1e, 0.4, 4.0),
        ("cube", |x| x.integer_pow(3), -2.0, 2.0),
        ("power -2", |x| x.integer_pow(-2), 0.4, 2.0),
        ("power 1", |x| x.integer_pow(1), -2.0, 2.0),
    ];
    for (name, f, low, high) in functions {
        for shape in [&[][..], &[3], &[2, 2]] {
            check(name, |x| f(&x[0]), &[between(shape, *low, *high)]);
        }
    }
}

#[test]
fn functions_of_two_numbers() {
    use op::Binary::*;
    let operators = [
        Add, Sub, Mul, Div, Rem, Max, Min, Pow, Atan2, Igamma, Igammac,
    ];
    for b in operators {
        let name = op::Op::from(b).name();
        for (left, right) in [
            (&[][..], &[][..]),
            (&[3], &[3]),
            (&[], &[2, 3]),
            (&[2, 3], &[]),
        ] {
            let x = noises(left, 1) * 0.1 + 2.7;
            let y = noises(right, 2) * 0.1 + 1.3;
            let f = |x: &[Array]| bind(b, &[&x[0], &x[1]]);
            // The derivative in the first operand has itself none.
            let order = if matches!(b, Igamma | Igammac) { 1 } else { 2 };
            check_grads(name, f, &[x.clone(), y.clone()], order);
            check_vmap(name, f, &[x, y]);
        }
    }
    let clamp = |x: &[Array]| bind(op::Clamp, &[&x[0], &x[1], &x[2]]);
    let bounds = |shape: &[usize]| [noises(shape, 1) * 0.01 - 0.5, noises(shape, 2) * 0.01 + 0.5];
    for shape in [&[][..], &[4]] {
        let [low, high] = bounds(shape);
        check("clamp", clamp, &[low, noises(&[4], 3), high]);
    }
    let which = noises(&[4], 6).gt(0.0);
    let select = |x: &[Array]| bind(op::SelectN, &[&x[0], &x[1], &x[2]]);
    check(
        "select_n",
        select,
        &[which, noises(&[4], 1), noises(&[4], 2)],
    );
    let scalar = Array::scalar(true);
    check(
        "select_n, scalar",
        select,
        &[scalar, noises(&[4], 1), noises(&[4], 2)],
    );
}

#[test]
fn functions_of_complex_numbers() {
    let functions: &[(&str, Function)] = &[
        ("exp", Array::exp),
        ("log", Array::log),
        ("log1p", Array::log1p),
        ("expm1", Array::expm1),
        ("tanh", Array::tanh),
        ("logistic", Array::logistic),
        ("sin", Array::sin),
        ("cos", Array::cos),
        ("tan", Array::tan),
        ("asin", Array::arcsin),
        ("acos", Array::arccos),
        ("atan", Array::arctan),
        ("sinh", Array::sinh),
        ("cosh", Array::cosh),
        ("asinh", Array::arcsinh),
        ("acosh", Array::arccosh),
        ("atanh", Array::arctanh),
        ("sqrt", Array::sqrt),
        ("rsqrt", Array::rsqrt),
        ("square", Array::square),
        ("abs", Array::abs),
        ("conj", Array::conj),
        ("real", Array::real),
        ("imag", Array::imag),
        ("sign", Array::sign),
        ("cube", |z| z.integer_pow(3)),
        ("quotient", |z| z / (z + 2.0)),
        ("power", |z| z.pow(z * 0.5)),
        ("matrix", |z| z.reshape([1, 2]).dot(&z.reshape([2, 1]))),
        ("product", |z| z.prod(())),
    ];
    for (name, f) in functions {
        let f = |x: &[Array]| f(&bind(op::Binary::Complex, &[&x[0], &x[1]]));
        let x = noises(&[2], 1) * 0.3 + 0.6;
        let y = noises(&[2], 2) * 0.3 + 0.7;
        check(&format!("complex {name}"), f, &[x, y]);
    }
}

#[test]
fn moving_elements() {
    let d = |x: &[usize]| Dims::from_slice(x);
    let apply = |op: op::Op| move |x: &[Array]| bind(op.clone(), &x.iter().collect::<Vec<_>>());
    let square = |op: op::Op| {
        let f = apply(op);
        move |x: &[Array]| f(x).square()
    };
    let x = noises(&[3, 4], 1);
    let ops: Vec<(&str, op::Op)> = vec![
        (
            "transpose",
            op::Transpose {
                permutation: d(&[1, 0]),
            }
            .into(),
        ),
        (
            "reshape",
            op::Reshape {
                new_sizes: d(&[2, 6]),
            }
            .into(),
        ),
        (
            "broadcast_in_dim",
            op::BroadcastInDim {
                shape: d(&[3, 2, 4]),
                broadcast_dimensions: d(&[0, 2]),
            }
            .into(),
        ),
        (
            "slice",
            op::Slice {
                start_indices: d(&[0, 1]),
                limit_indices: d(&[3, 4]),
                strides: Some(d(&[2, 2])),
            }
            .into(),
        ),
        (
            "rev",
            op::Rev {
                dimensions: d(&[1]),
            }
            .into(),
        ),
        (
            "dynamic_slice",
            op::DynamicSlice {
                slice_sizes: d(&[2, 2]),
            }
            .into(),
        ),
        ("dynamic_update_slice", op::DynamicUpdateSlice.into()),
        ("concatenate", op::Concatenate { dimension: 1 }.into()),
        (
            "pad",
            op::Pad {
                padding_config: vec![(1, 2, 0), (-1, 3, 1)],
            }
            .into(),
        ),
        (
            "pad, cut",
            op::Pad {
                padding_config: vec![(-1, -1, 1), (2, -2, 2)],
            }
            .into(),
        ),
        (
            "pad, cut beyond",
            op::Pad {
                padding_config: vec![(-2, 1, 0), (0, -1, 0)],
            }
            .into(),
        ),
    ];
    let index = |i: i32| Array::scalar(i);
    for (name, op) in ops {
        let args = match op.name() {
            "dynamic_slice" => vec![x.clone(), index(1), index(9)],
            "dynamic_update_slice" => vec![x.clone(), noises(&[2, 2], 2), index(2), index(1)],
            "concatenate" => vec![x.clone(), noises(&[3, 1], 2), noises(&[3, 2], 3)],
            "pad" => vec![x.clone(), noises(&[], 2)],
            _ => vec![x.clone()],
        };
        check(name, square(op), &args);
    }
    let one = noises(&[3, 1, 1], 4);
    check(
        "squeeze",
        square(
            op::Squeeze {
                dimensions: d(&[1, 2]),
            }
            .into(),
        ),
        std::slice::from_ref(&one),
    );
    let grow = op::BroadcastInDim {
        shape: d(&[3, 4, 2]),
        broadcast_dimensions: d(&[0, 1, 2]),
    };
    check("broadcast of ones", square(grow.into()), &[one]);
}

#[test]
fn combining_elements() {
    use op::Reducer::*;
    let x = noises(&[2, 3, 2], 1) + 0.1;
    for reducer in [Sum, Prod, Max, Min] {
        for axes in [&[][..], &[1], &[0, 2], &[0, 1, 2]] {
            let op = op::Reduce {
                reducer,
                axes: Dims::from_slice(axes),
            };
            let name = format!("{reducer:?} {axes:?}");
            check(
                &name,
                |x| bind(op.clone(), &[&x[0]]).square(),
                std::slice::from_ref(&x),
            );
        }
    }
    let zero = Array::from([2.0f64, 0.0, 3.0]);
    check_grads("product with a zero", |x| x[0].prod(()), &[zero], 2);
    check_grads(
        "products with zeros",
        |x| x[0].prod(()),
        &[Array::from([2.0f64, 0.0, 0.0])],
        2,
    );
    let products = [
        (
            op::DotGeneral::new(([1], [0]), ((), ())),
            &[2, 3][..],
            &[3, 4][..],
        ),
        (op::DotGeneral::new(([0], [1]), ((), ())), &[3, 2], &[4, 3]),
        (
            op::DotGeneral::new(([2], [1]), ([0], [0])),
            &[2, 3, 4],
            &[2, 4, 1],
        ),
        (
            op::DotGeneral::new(([0, 2], [2, 0]), ([1], [1])),
            &[2, 3, 4],
            &[4, 3, 2],
        ),
        (op::DotGeneral::new(((), ()), ((), ())), &[2], &[3]),
        (op::DotGeneral::new(([0], [0]), ((), ())), &[2], &[2]),
    ];
    for (op, left, right) in products {
        check(
            &format!("{op:?}"),
            |x| bind(op.clone(), &[&x[0], &x[1]]),
            &[noises(left, 1), noises(right, 2)],
        );
    }
}

#[test]
fn functions_of_numpy() {
    let x = noises(&[3, 4], 1);
    let functions: &[(&str, Function)] = &[
        ("var", |x| x.var(0)),
        ("std", |x| x.std(-1)),
        ("logsumexp", |x| nn::logsumexp(x, -1)),
        ("median", |x| x.median(1)),
        ("logaddexp", |x| x.logaddexp(x * 0.5)),
        ("hypot", |x| x.hypot(1.5)),
        ("modulo", |x| (x + 5.1).modulo(1.7)),
        ("tril", |x| numpy::tril(x, 0).square()),
        ("diag", |x| numpy::diag(x, 0).square()),
        ("trace", |x| numpy::trace(x, 0, 0, 1).square()),
        ("roll", |x| x.roll(1, -1).square()),
        ("tile", |x| x.tile([2, 1]).square()),
        ("repeat", |x| x.repeat(2, 0).square()),
        ("outer", |x| numpy::einsum("ij,ik,il->jkl", &[x, x, x])),
        ("clip", |x| x.clip(-0.5, 0.5).square()),
        ("matmul", |x| x.matmul(&x.t())),
    ];
    for (name, f) in functions {
        check(name, |x| f(&x[0]), std::slice::from_ref(&x));
    }
}

/// The sum of several results, each with a weight of its own.
fn mixed(y: quaxide::Result<Vec<Array>>) -> Array {
    let y = match y {
        Ok(y) => y,
        Err(e) => return Array::error(e),
    };
    let part = |(i, y): (usize, &Array)| (y.square() * (1.0 + i as f64)).sum(());
    y.iter()
        .enumerate()
        .map(part)
        .fold(Array::scalar(0.0), |a, b| a + b)
}

#[test]
fn arrays_in_parts() {
    use quaxide::trace::bind_all;
    let d = |x: &[usize]| Dims::from_slice(x);
    let x = noises(&[3, 4], 1);
    let y = noises(&[3, 4], 2);
    let all: Vec<(&str, op::Op, usize)> = vec![
        (
            "split",
            op::SplitAlong {
                axis: 1,
                sizes: d(&[1, 0, 3]),
            }
            .into(),
            1,
        ),
        ("unstack", op::Unstack { axis: 1 }.into(), 1),
        ("stack", op::Stack { axis: 1 }.into(), 2),
        ("tile", op::Tile { reps: d(&[2, 3]) }.into(), 1),
        ("copy", op::Copied.into(), 1),
        ("optimization_barrier", op::OptimizationBarrier.into(), 2),
    ];
    for (name, op, operands) in all {
        let f = |x: &[Array]| mixed(bind_all(op.clone(), x));
        let args = [x.clone(), y.clone()];
        check(name, f, &args[..operands]);
    }
}

#[test]
fn transforms() {
    use op::FftType::*;
    let x = [noises(&[2, 3, 4], 1), noises(&[2, 3, 4], 2)];
    let complex = |x: &[Array]| bind(op::Binary::Complex, &[&x[0], &x[1]]);
    for (kind, lengths) in [
        (Fft, &[4][..]),
        (Fft, &[3, 4]),
        (Ifft, &[3, 4]),
        (Irfft, &[6]),
        (Irfft, &[7]),
        (Irfft, &[3, 6]),
    ] {
        let name = format!("{kind:?} {lengths:?}");
        check(&name, |x| complex(x).lax_fft(kind, lengths), &x);
    }
    for lengths in [&[4][..], &[3, 4], &[2, 3, 4]] {
        let name = format!("Rfft {lengths:?}");
        check(&name, |x| x[0].lax_fft(Rfft, lengths), &x[..1]);
    }
    let odd = [noises(&[5], 3)];
    check("Rfft of 5", |x| x[0].lax_fft(Rfft, [5]), &odd);
}

#[test]
fn programs_that_combine() {
    let first = |y: quaxide::Result<Vec<Array>>| match y {
        Ok(y) => y.into_iter().next().unwrap(),
        Err(e) => Array::error(e),
    };
    let affine = |a: &[Array], b: &[Array]| vec![&a[0] * &b[0], &a[1] * &b[0] + b[1].sin()];
    let x = noises(&[3, 5], 1) * 0.2 + 1.0;
    let y = noises(&[3, 5], 2);
    let start = noises(&[], 3) + 1.0;
    let args = [x.clone(), y.clone(), start.clone()];
    for axes in [&[0][..], &[1], &[0, 1]] {
        let f = |x: &[Array]| mixed(op::reduce(&[&x[0], &x[1]], &[&x[2], &x[2]], axes, affine));
        check(&format!("reduce {axes:?}"), f, &args);
    }
    let window = op::Window {
        padding: [(1, 0), (0, 1)].into_iter().collect(),
        base_dilation: [1, 2].into_iter().collect(),
        window_dilation: [2, 1].into_iter().collect(),
        ..op::Window::new(&[2, 2][..], &[1, 2][..])
    };
    let f = |x: &[Array]| {
        let inits = [&x[2], &x[2]];
        mixed(op::reduce_window(
            &[&x[0], &x[1]],
            &inits,
            window.clone(),
            affine,
        ))
    };
    check("reduce_window", f, &args);
    let sliding = op::Window::new(&[2, 3][..], &[1, 2][..]);
    let source = noises(&[2, 2], 4);
    let f = |x: &[Array]| {
        let ge = op::Binary::Ge;
        let y = op::select_and_scatter(&x[0], &x[1], &x[2], sliding.clone(), ge, |a, b| a + b);
        y.unwrap_or_else(Array::error).square()
    };
    check("select_and_scatter", f, &[x.clone(), source, start]);
    let by = |x: &[Array]| first(op::sort_by(&[&x[0], &x[1]], 1, |a, b| b[0].lt(&a[0]))).square();
    check("sort", by, &[x.clone(), y.clone()]);
    let by = |x: &[Array]| mixed(op::sort_by(&[&x[0], &x[1]], 0, |a, b| a[0].lt(&b[0])));
    check("sort of two", by, &[x.clone(), y]);
    let rows = op::GatherDimensionNumbers {
        offset_dims: [1].into_iter().collect(),
        collapsed_slice_dims: [0].into_iter().collect(),
        start_index_map: [0].into_iter().collect(),
        ..Default::default()
    };
    let scatter = op::Scatter {
        unique_indices: true,
        ..op::Scatter::new(op::ScatterKind::Set, (&rows).into())
    };
    let at = Array::from([[2i32], [0]]);
    let updates = noises(&[2, 5], 6);
    let f = |x: &[Array]| {
        let combine = |a: &[Array], b: &[Array]| vec![&a[0] * b[0].sin()];
        first(op::scatter_by(
            &[&x[0]],
            &at,
            &[&x[1]],
            scatter.clone(),
            combine,
        ))
        .square()
    };
    check("scatter", f, &[x, updates]);
}
