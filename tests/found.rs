//! What random programs have found, each as the smallest program that failed.

mod support;

use quaxide::{
    op::{self, Padding, ReduceWindow, Unary, Window, WindowReducer},
    prelude::*,
    trace::bind,
};
use smallvec::smallvec;
use support::check::{check_grads, check_vmap, noises};

/// The complex conjugate of a real number is complex, and so is its tangent.
#[test]
fn conj_of_real_numbers_has_complex_tangents() {
    let x = noises(&[3], 1);
    let (y, dy) = jvp(|x: &Array| bind(Unary::Conj, &[x]), (&x,), (&x,)).unwrap();
    assert_eq!(y.aval().unwrap(), dy.aval().unwrap());
    check_grads("conj", |x| bind(Unary::Conj, &[&x[0]]), &[x], 1);
}

/// Bounds that differ between examples, around an array that does not.
#[test]
fn clamp_between_mapped_bounds() {
    let f = |x: &[Array]| bind(op::Clamp, &[&x[0], &x[1], &x[2]]);
    let [low, x, high] = [-0.5, 0.25, 0.5].map(Array::scalar::<f64>);
    check_vmap("clamp", f, &[low, x.clone(), high]);
    let wide = [
        noises(&[2], 1) - 1.0,
        noises(&[2], 2),
        noises(&[2], 3) + 1.0,
    ];
    check_vmap("clamp", f, &wide);
    check_vmap("clamp", f, &[Array::scalar(-0.5), noises(&[2], 4), x]);
}

/// The derivative of a dilated window captured an array, which programs within equations must not.
#[test]
fn windows_inside_a_scan() {
    for reducer in [WindowReducer::Max, WindowReducer::Min, WindowReducer::Prod] {
        let mut window = Window::new([1, 2].as_slice(), [2, 1].as_slice());
        window.base_dilation = [1, 2].as_slice().into();
        window.window_dilation = [2, 2].as_slice().into();
        window.padding = smallvec![(0, 0), (1, 1)];
        let op = ReduceWindow { reducer, window };
        let pool = move |x: &[Array]| {
            let step = |c: &Array, x: &Array| (c + bind(op.clone(), &[x]).max(()), c.clone());
            let result = scan(step, &Array::scalar(0.0f64), &x[0]);
            result.map_or_else(Array::error, |(c, ys)| c + ys.sum(()))
        };
        // No window is without an element.
        let x = (noises(&[2, 3, 3], 7) + 1.5).square();
        if reducer == WindowReducer::Prod {
            check_grads("pool in scan", pool.clone(), std::slice::from_ref(&x), 2);
            check_vmap("pool in scan", pool, &[x]);
        } else {
            let program =
                make_jaxpr(|x: &Array| grad(|x: &Array| pool(std::slice::from_ref(x)))(x))(&x);
            program.unwrap().check().unwrap();
        }
    }
}

/// There is nothing to gather from an array without elements.
#[test]
fn windows_over_nothing() {
    let mut window = Window::new([1].as_slice(), [1].as_slice());
    window.padding = Padding::from_elem((1, 0), 1);
    let op = ReduceWindow {
        reducer: WindowReducer::Prod,
        window,
    };
    let x = Array::zeros([0], DType::F64);
    let (y, dy) = jvp(|x: &Array| bind(op.clone(), &[x]), (&x,), (&x,)).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), [1.0]);
    assert_eq!(dy.to_vec::<f64>().unwrap(), [0.0]);
}

fn lora(shape: [usize; 2], rank: usize) -> LoraArray {
    let [n, m] = shape;
    LoraArray::from_parts(
        noises(&[n, m], 1),
        noises(&[n, rank], 2),
        noises(&[rank, m], 3),
    )
    .unwrap()
}

/// The rows of a product are not the products of rows, even where the rank is the number of rows.
#[test]
fn a_scan_over_the_rows_of_an_adapted_matrix() {
    for rank in [2, 3] {
        let mut value = lora([2, 4], rank);
        value.allow_materialise = true;
        let merged = value.materialise().unwrap();
        let rows = |w: &Array| {
            let step = |c: &Array, row: &Array| (c + row.sin(), row * 2.0);
            scan(step, &Array::zeros([4], DType::F64), w)
                .map(|(c, ys)| c.sum(()) + ys.square().sum(()))
        };
        let found = quaxify(rows)(&Array::from_value(value)).unwrap();
        let gap: f64 = (found - rows(&merged).unwrap()).item().unwrap();
        assert!(gap.abs() < 1e-12);
    }
}

/// A frozen weight has no gradient behind a function with its own derivative, either.
#[test]
fn a_frozen_weight_behind_a_custom_derivative() {
    let mut value = lora([3, 4], 2);
    value.allow_materialise = true;
    let double = custom_vjp(
        |x: &Array| x * 2.0,
        |x: &Array| (x * 2.0, ()),
        |(), ct: &Array| (ct * 2.0,),
    );
    let twice = custom_jvp(|x: &Array| x * 2.0, |(x,), (t,)| (x * 2.0, t * 2.0));
    for f in [double, twice] {
        let loss = |w: &Array| Ok(f(w)?.square().sum(()));
        let g = grad(quaxify(loss))(&Array::from_value(value.clone())).unwrap();
        let g = g.value::<LoraArray>().unwrap();
        assert!(g.w.is_symbolic_zero() && !g.a.is_symbolic_zero());
    }
}

/// There is no value in this program, so that nothing is refused.
#[test]
fn second_derivatives_of_products_of_nothing() {
    let x = Array::zeros([2, 0, 2], DType::F64);
    let f = |x: &Array| {
        let dims = op::DotGeneral::new(([0], [0]), ((), ()));
        let y = |x: &Array| x.dot_general(x, dims.clone()).sum(());
        jvp(y, (x,), (x,)).map(|(a, b)| a + b)
    };
    let slope = |x: &Array| Ok((grad(f)(x)? * x).sum(()));
    for y in [grad(slope)(&x), jvp(slope, (&x,), (&x,)).map(|p| p.1)] {
        assert_eq!(y.unwrap().sum(()).item::<f64>().unwrap(), 0.0);
    }
}

/// Rules that made constants captured them, which a program inside an equation must not.
#[test]
fn exchanges_and_transforms_inside_programs() {
    let shift = |x: &Array| op::ppermute(x, "i", &[(0, 1), (1, 2)]);
    let f = |x: &Array| jit(shift)(x);
    let y = vmap(f).axis_name("i")(&Array::from([1f64, 2.0, 3.0])).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), [0.0, 1.0, 2.0]);
    for n in [4, 5] {
        let back = move |x: &[Array]| {
            let step = |c: &Array, x: &Array| {
                let x = x.astype(DType::C128).lax_fft(op::FftType::Irfft, [n]);
                (c + x.square().sum(()), ())
            };
            let result = scan(step, &Array::scalar(0f64), &x[0]);
            result.map_or_else(Array::error, |(c, ())| c)
        };
        check_grads("irfft in scan", back, &[noises(&[2, n / 2 + 1], 3)], 2);
    }
}
