//! Quax's tests of `sparse.BCOO`, and of the tridiagonal matrix of `structured_matrices`.

use super::support::close;
use quaxide::{
    prelude::*,
    rules::{Bcoo, Structured},
};

/// Two matrices, each with its own entries.
fn sparse() -> Bcoo {
    let data = Array::from([[1f64, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let places = Array::new([2, 3, 2], vec![0i32, 0, 1, 3, 0, 2, 1, 1, 0, 3, 1, 0]);
    Bcoo::new(data, places, [2, 4]).unwrap()
}

fn dense(x: &Array) -> Array {
    match x.value::<Bcoo>() {
        Some(b) => b.to_dense().unwrap(),
        None => x.clone(),
    }
}

/// sparse: sums with a number, and with dense arrays that broadcast.
#[test]
fn sums_with_dense_arrays() {
    let b = sparse();
    let plain = b.to_dense().unwrap();
    let value = Array::from_value(b.allow_materialise(true));
    for shape in [&[][..], &[1, 4], &[3, 2, 1, 4]] {
        let y = Array::full(shape, 2.5, DType::F64);
        let f = |x: &Array, y: &Array| x + y;
        close(&dense(&quaxify(f)(&value, &y).unwrap()), &f(&plain, &y));
        close(
            &dense(&quaxify(|x: &Array, y: &Array| y + x)(&value, &y).unwrap()),
            &f(&plain, &y),
        );
    }
}

/// sparse: sums with a sparse array of more leading axes, and with itself.
#[test]
fn sums_with_sparse_arrays() {
    let value = Array::from_value(sparse());
    let y = quaxify(|x: &Array| x + x)(&value).unwrap();
    assert!(y.value::<Bcoo>().is_some());
    close(&dense(&y), &(dense(&value) * 2.0));
    let more = quaxify(|x: &Array| x.broadcast_to([3, 2, 2, 4]))(&value).unwrap();
    let y = quaxify(|x: &Array, y: &Array| x + y)(&value, &more).unwrap();
    assert!(y.value::<Bcoo>().is_some());
    close(&dense(&y), &(dense(&more) * 2.0));
}

/// sparse: products with a number and with dense arrays that broadcast scale the entries.
#[test]
fn products_with_dense_arrays() {
    let value = Array::from_value(sparse());
    for shape in [&[][..], &[1, 4], &[2, 2, 1, 4]] {
        let y = random::normal(&random::key(1), (shape, DType::F64));
        for f in [
            (|x: &Array, y: &Array| x * y) as fn(&Array, &Array) -> Array,
            |x, y| y * x,
        ] {
            let got = quaxify(f)(&value, &y).unwrap();
            assert!(got.value::<Bcoo>().is_some());
            close(&dense(&got), &f(&dense(&value), &y));
        }
    }
}

fn tridiagonal(batch: &[usize]) -> Structured {
    let v = |n: usize, key: u64| {
        let shape = [batch, &[n]].concat();
        random::normal(&random::key(key), (shape, DType::F64))
    };
    Structured::tridiagonal(&v(4, 1), &v(5, 2), &v(4, 3)).unwrap()
}

/// tridiagonal: a product with a vector; materialise.
#[test]
fn a_tridiagonal_matrix() {
    let t = tridiagonal(&[]);
    let plain = t.to_dense().unwrap();
    let x = Array::arange(5, DType::F64);
    let y = quaxify(|t: &Array, x: &Array| t.dot(x))(&t.clone().array(), &x).unwrap();
    close(&y, &plain.dot(&x));
    assert!(t.clone().array().materialise().is_err());
    close(
        &t.allow_materialise(true).array().materialise().unwrap(),
        &plain,
    );
}

/// tridiagonal: seven layouts of batches and free axes are those of the dense matrix.
#[test]
fn layouts_of_tridiagonal_products() {
    let other = |shape: &[usize]| random::normal(&random::key(7), (shape, DType::F64));
    type Axes = (
        &'static [usize],
        &'static [usize],
        &'static [usize],
        &'static [usize],
    );
    let layouts: [(&[usize], &[usize], Axes); 7] = [
        (&[], &[5], (&[1], &[0], &[], &[])),
        (&[], &[3, 5], (&[1], &[1], &[], &[])),
        (&[], &[5, 3], (&[1], &[0], &[], &[])),
        (&[2], &[2, 5], (&[2], &[1], &[0], &[0])),
        (&[2], &[5, 2], (&[2], &[0], &[0], &[1])),
        (&[2, 3], &[3, 5, 2, 4], (&[3], &[1], &[0, 1], &[2, 0])),
        (&[2, 3], &[3, 4, 5], (&[3], &[2], &[1], &[0])),
    ];
    for (batch, shape, (c, d, b, e)) in layouts {
        let (t, x) = (tridiagonal(batch), other(shape));
        let f = move |t: &Array, x: &Array| t.dot_general(x, op::DotGeneral::new((c, d), (b, e)));
        let want = f(&t.to_dense().unwrap(), &x);
        close(&quaxify(f)(&t.array(), &x).unwrap(), &want);
    }
}
