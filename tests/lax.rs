//! The functions of `lax`: strict, and equal to the lenient ones where both apply; running combinations and mapped functions.

use quaxide::{array::Pads, op, prelude::*};

fn numbers(x: &Array) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

#[test]
fn operands_neither_promote_nor_broadcast() {
    let x = Array::from([1f32, 2., 3.]);
    let row = Array::from([[1f32, 2., 3.]]);
    let whole = Array::from([1i32, 2, 3]);
    for (what, y) in [
        ("types", lax::add(&x, &whole)),
        ("ranks", lax::mul(&x, &row)),
        ("sizes", lax::sub(&x, Array::from([1f32]))),
        ("a float beside integers", lax::add(&whole, 0.5)),
        ("sin of integers", lax::sin(&whole)),
        ("ranks of select", lax::select(&row.gt(0), &x, &x)),
        ("types of select", lax::select(&x.gt(0), &x, &whole)),
        ("types joined", lax::concatenate(&[&x, &whole], 0)),
        ("clamp between floats", lax::clamp(0.0, &whole, 1.0)),
        ("contracted types", lax::dot(&x, &whole)),
        ("sum of bool", lax::reduce_sum(&x.gt(0), [0])),
        ("a negative axis", lax::rev(&x, [1])),
        ("a batch", lax::batch_matmul(&row, &x)),
        ("axes", lax::collapse(&row, 1, 3)),
        ("a place", lax::index_in_dim(&x, 3, 0, true)),
        (
            "places",
            lax::dynamic_slice(&row, &[&Array::from(0i32)], [1, 1]),
        ),
        (
            "a place that is no integer",
            lax::dynamic_slice_in_dim(&x, 0.5, 1, 0),
        ),
    ] {
        let e = y.ok().map(|_| ()).expect_err(what);
        let here = |at: &std::panic::Location<'_>| at.file().ends_with("lax.rs");
        assert!(e.location().is_some_and(here), "{what}: {e}");
    }
    assert_eq!(numbers(&lax::add(&x, 1.0)), [2.0, 3.0, 4.0]);
    assert_eq!(numbers(&lax::sub(1, &x)), [0.0, -1.0, -2.0]);
    assert_eq!(numbers(&lax::mul(&x, Array::scalar(2f32))), [2.0, 4.0, 6.0]);
    assert_eq!(numbers(&lax::div(&whole, 2)), [0.0, 1.0, 1.0]);
    assert_eq!(
        lax::reduce_sum(&whole.astype(DType::I8), [0])
            .dtype()
            .unwrap(),
        DType::I8
    );
}

#[test]
fn places_count_from_the_end_and_stay_inside() {
    let x = Array::arange(12, DType::F32).reshape([3, 4]);
    let f = |x: &Array, i: &Array| lax::dynamic_index_in_dim(x, i, 0, false);
    let rows = vmap(f).in_axes((None, 0))(&x, &Array::from([-1i32, 0, 7])).unwrap();
    let wanted = [8., 9., 10., 11., 0., 1., 2., 3., 8., 9., 10., 11.];
    assert_eq!(numbers(&rows), wanted);
    assert_eq!(
        numbers(&lax::dynamic_index_in_dim(&x, -3, 0, true)),
        [0., 1., 2., 3.]
    );
    let y = lax::dynamic_update_index_in_dim(&x, &Array::zeros([3], DType::F32), -1, 1);
    assert_eq!(numbers(&y.index((.., 3))), [0.0, 0.0, 0.0]);
    assert_eq!(
        numbers(&lax::index_in_dim(&x, -1, 1, false)),
        [3.0, 7.0, 11.0]
    );
    let y = lax::slice_in_dim(&x, 0, 4, 2, -1);
    assert_eq!(numbers(&y), [0., 2., 4., 6., 8., 10.]);
    let parts = lax::split(&x, [1, 3], 1).unwrap();
    assert_eq!(parts[1].shape(), [3, 3]);
    assert_eq!(lax::broadcast(&x, [2, 5]).shape(), [2, 5, 3, 4]);
    assert_eq!(lax::broadcast_to_rank(&x, 4).shape(), [1, 1, 3, 4]);
    assert_eq!(lax::collapse(&x, 0, 2).shape(), [12]);
}

#[test]
fn transposed_convolutions_have_the_sizes_of_jax() {
    // Sizes from jax.lax.conv_transpose, for kernels of 3 and 2 and strides of 2 and 3.
    let x = Array::ones([1, 5, 1], DType::F32);
    for (k, s, padding, n) in [
        (3, 2, Pads::Same, 10),
        (3, 2, Pads::Valid, 11),
        (2, 3, Pads::Same, 15),
        (2, 3, Pads::Valid, 15),
        (3, 1, Pads::Valid, 7),
    ] {
        let kernel = Array::ones([k, 1, 1], DType::F32);
        let y = lax::conv_transpose(&x, &kernel, [s], padding.clone());
        assert_eq!(y.shape(), [1, n, 1], "{k} {s} {padding:?}");
    }
}

#[test]
fn running_combinations_of_any_length() {
    for n in 0..=9usize {
        let x = Array::arange(n, DType::F64) * 0.3 + 1.0;
        for reverse in [false, true] {
            let product = |a: &Array, b: &Array| a * b;
            let y = associative_scan(product, &x, reverse, 0).unwrap();
            let wanted = lax::cumprod(&x, 0, reverse);
            for (a, b) in numbers(&y).iter().zip(numbers(&wanted)) {
                assert!((a - b).abs() < 1e-12 * b.abs(), "{n} {reverse}");
            }
        }
    }
    let flags = Array::from([false, true, false, false]);
    let any = associative_scan(|a: &Array, b: &Array| a | b, &flags, false, -1).unwrap();
    assert_eq!(any.to_vec::<bool>().unwrap(), [false, true, true, true]);
}

/// `x[i] = a[i]·x[i − 1] + b[i]`: composition of linear maps, which does not commute.
fn recurrence(a: &Array, b: &Array) -> Array {
    let compose = |(a, b): &(Array, Array), (c, d): &(Array, Array)| (a * c, c * b + d);
    let all = associative_scan(compose, &(a.clone(), b.clone()), false, 0);
    Array::from_result(all.map(|(_, x)| x))
}

fn by_scan(a: &Array, b: &Array) -> Array {
    let step = |x: &Array, (a, b): &(Array, Array)| {
        let next = a * x + b;
        (next.clone(), next)
    };
    let all = scan(step, &Array::scalar(0f64), &(a.clone(), b.clone()));
    Array::from_result(all.map(|(_, x)| x))
}

#[test]
fn running_combinations_differentiate_and_batch() {
    let a = Array::from([0.5f64, -0.3, 1.1, 0.7, 0.2]);
    let b = Array::from([1.0f64, 2.0, -1.0, 0.5, 3.0]);
    let near = |x: &Array, y: &Array| {
        for (x, y) in numbers(x).iter().zip(numbers(y)) {
            assert!((x - y).abs() < 1e-12, "{x} {y}");
        }
    };
    near(&recurrence(&a, &b), &by_scan(&a, &b));
    let loss = |f: fn(&Array, &Array) -> Array| move |a: &Array, b: &Array| f(a, b).sin().sum(());
    let (x, y) = (
        grad(loss(recurrence))(&a, &b).unwrap(),
        grad(loss(by_scan))(&a, &b).unwrap(),
    );
    near(&x, &y);
    let tangent =
        |f: fn(&Array, &Array) -> Array| jvp(f, (&a, &b), (&b, &a)).map(|(_, t)| t).unwrap();
    near(&tangent(recurrence), &tangent(by_scan));
    let many = numpy::stack(&[&a, &b, &(&a * &b)], 0);
    let (x, y) = (
        vmap(recurrence).in_axes((0, None))(&many, &b).unwrap(),
        vmap(by_scan).in_axes((0, None))(&many, &b).unwrap(),
    );
    near(&x, &y);
    let x = jit(recurrence)(&a, &b).unwrap();
    near(&x, &by_scan(&a, &b));
}

#[test]
fn functions_mapped_over_slices() {
    let x = Array::arange(6, DType::F64).reshape([3, 2]) * 0.4;
    let f = |x: &Array| (x.sin().sum(()), x * 2.0);
    let (sums, twice) = lax::map(f, &x).unwrap();
    let (wanted, doubled) = vmap(f)(&x).unwrap();
    assert_eq!(numbers(&sums), numbers(&wanted));
    assert_eq!(numbers(&twice), numbers(&doubled));
    let loss = |x: &Array| lax::map(|x: &Array| x.sin().sum(()), x).map(|y| y.square().sum(()));
    let plain = |x: &Array| x.sin().sum(1).square().sum(());
    let (g, h) = (grad(loss)(&x).unwrap(), grad(plain)(&x).unwrap());
    for (a, b) in numbers(&g).iter().zip(numbers(&h)) {
        assert!((a - b).abs() < 1e-12);
    }
    let batched = vmap(loss)(&numpy::stack(&[&x, &(&x + 1.0)], 0)).unwrap();
    assert_eq!(batched.shape(), [2]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = Array::from([1f64, 2., 3.]);
    let pair = (x.clone(), Array::from([1f64, 2.]));
    let add = |a: &(Array, Array), b: &(Array, Array)| (&a.0 + &b.0, &a.1 + &b.1);
    let e = associative_scan(add, &pair, false, 0).unwrap_err();
    assert!(e.message().contains("long"), "{e}");
    let e = associative_scan(|a: &Array, _: &Array| a.gt(0), &x, false, 0).unwrap_err();
    assert!(e.message().contains("gives bool[1] for f64[1]"), "{e}");
    assert!(associative_scan(|a: &Array, _: &Array| a.clone(), &x, false, 1).is_err());
    let e = lax::map(|x: &Array| x.clone(), &Array::scalar(1f32)).unwrap_err();
    assert!(e.message().contains("no axis"), "{e}");
}

#[test]
fn collectives_by_their_names_in_lax() {
    let f = vmap(|x: &Array| {
        let all = lax::all_gather(x, "i", 0, false);
        lax::psum(x, "i") + all.max(()) + lax::axis_size("i").astype(DType::F32)
    })
    .axis_name("i");
    assert_eq!(numbers(&f(&Array::from([1f32, 3.])).unwrap()), [9.0, 9.0]);
    let windows = op::Window::new([2], [1]);
    let sums = lax::reduce_window(
        &[&Array::from([1f32, 2., 3.])],
        &[&Array::scalar(0f32)],
        windows,
        |a, b| vec![&a[0] + &b[0]],
    );
    assert_eq!(numbers(&sums.unwrap()[0]), [3.0, 5.0]);
}

/// With one kernel at every place it is the convolution.
#[test]
fn local_convolutions_have_kernels_at_every_place() {
    use quaxide::array::Convolution;
    let wave = |shape: &[usize]| {
        let n = shape.iter().product();
        lax::iota(DType::F64, n).sin().reshape(shape)
    };
    let (x, kernel) = (wave(&[2, 3, 5, 4]), wave(&[4, 3, 2, 3]));
    let how = || Convolution::new([2, 1]).padding(vec![(1, 0), (1, 1)]);
    let wanted = x.conv_general_dilated(&kernel, &how());
    let patches = lax::conv_general_dilated_patches(&x, [2, 3], how());
    assert_eq!(patches.shape(), [2, 18, 3, 4]);
    let kernels = kernel.reshape([4, 18, 1, 1]).broadcast_to([4, 18, 3, 4]);
    let found = lax::conv_general_dilated_local(&x, &kernels, [2, 3], how());
    assert_eq!(found.shape(), wanted.shape());
    let apart = (found - wanted).abs().max(()).item::<f64>().unwrap();
    assert!(apart < 1e-12, "{apart}");
}

/// Each group of rows times a matrix of its own, by a loop; both modes, and the derivative by a difference.
#[test]
fn ragged_products_are_products_of_groups() {
    let wave = |shape: &[usize], by: f64| {
        let n = shape.iter().product();
        (lax::iota(DType::F64, n) * by).sin().reshape(shape)
    };
    let (x, w) = (wave(&[6, 3], 0.7), wave(&[3, 3, 2], 0.9));
    let sizes = Array::from([2i32, 0, 3]);
    let y = lax::ragged_dot(&x, &w, &sizes);
    let rows = |a: usize, b: usize| lax::slice_in_dim(&x, a, b, 1, 0);
    let wanted = [
        rows(0, 2).dot(&w.index(0)),
        rows(2, 5).dot(&w.index(2)),
        Array::zeros([1, 2], DType::F64),
    ];
    let wanted = lax::concatenate(&wanted.iter().collect::<Vec<_>>(), 0);
    let largest = |x: Array| x.abs().max(()).item::<f64>().unwrap();
    assert!(largest(&y - &wanted) < 1e-14);
    let how = op::RaggedDotGeneral {
        dot: op::DotGeneral::new(([0], [0]), ((), ())),
        lhs_ragged: 0,
        rhs_group: None,
    };
    let z = wave(&[6, 2], 1.1);
    let each = lax::ragged_dot_general(&x, &z, &sizes, how);
    assert_eq!(each.shape(), [3, 3, 2]);
    let part = |a: usize, b: usize| rows(a, b).t().dot(&lax::slice_in_dim(&z, a, b, 1, 0));
    assert!(largest(each.index(0) - part(0, 2)) < 1e-14);
    assert!(largest(each.index(1)) == 0.0);
    assert!(largest(each.index(2) - part(2, 5)) < 1e-14);
    let loss = |w: &Array| lax::ragged_dot(&x, w, &sizes).square().sum(());
    let g = grad(loss)(&w).unwrap();
    let step = wave(&[3, 3, 2], 1.3) * 1e-6;
    let slope = (loss(&(&w + &step)) - loss(&(&w - &step))) / 2.0;
    assert!(largest(slope - (g * step).sum(())) < 1e-12);
    assert!(lax::ragged_dot(&x, &w, &Array::from([6i32])).ok().is_err());
}
