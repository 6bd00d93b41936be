//! Sparse arrays against the dense ones that they stand for.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{Bcoo, Csr, Zero, quantity},
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
use rng::{Rng, random_array};

fn sparse(x: &Array, batch: usize) -> Array {
    Array::from_value(Bcoo::from_dense(x, batch).unwrap())
}

/// An array most elements of which are zero.
fn mostly_zero(r: &mut Rng, shape: &[usize]) -> Array {
    let x = random_array(r, shape);
    let keep = random_array(r, shape);
    keep.gt(0.3).select(&x, 0.0)
}

fn dense(x: &Array) -> Array {
    match x.value::<Bcoo>() {
        Some(b) => b.to_dense().unwrap(),
        None => x.clone(),
    }
}

#[track_caller]
fn close(a: &Array, b: &Array) {
    let (a, b) = (dense(a), dense(b));
    assert_eq!(a.aval().unwrap().to_string(), b.aval().unwrap().to_string());
    for (x, y) in a.to_f64_vec().unwrap().iter().zip(b.to_f64_vec().unwrap()) {
        assert!((x - y).abs() <= 1e-9 * (1.0 + y.abs()), "{a} for {b}");
    }
}

type Program = fn(&Array, &Array) -> Array;

/// What keeps sparse arrays sparse, of one and of a dense array of the same shape `[2, 3, 4]`.
const STAY: &[Program] = &[
    |s, _| -s,
    |s, _| s * 2.0,
    |s, _| s / 4.0,
    |s, d| s * d,
    |s, d| d * s,
    |s, d| s / (d + 3.0),
    |s, _| s + s,
    |s, _| s - s * 2.0,
    |s, _| s * s,
    |s, _| s.sin(),
    |s, _| (s + s).tanh(),
    |s, _| s.abs().sqrt(),
    |s, _| s.square() + s.integer_pow(3),
    |s, _| s.transpose([2, 0, 1]),
    |s, _| s.transpose([0, 2, 1]),
    |s, _| s.reshape([6, 4]),
    |s, _| s.reshape([4, 2, 3]).sin(),
    |s, _| s.sum(1),
    |s, _| s.sum([0, 2]).sin(),
    |s, _| s.expand_dims(1),
    |s, _| s.broadcast_to([5, 2, 3, 4]),
    |s, _| s.sum(0).expand_dims(0).broadcast_to([2, 3, 4]),
    |s, _| s.slice_in_dim(1, 3, 1),
    |s, _| s.index((0, .., quaxide::array::Slice::every(2))),
    |s, _| s.flip([0, 2]),
    |s, _| numpy::concatenate(&[s, &(s * 2.0), s], 1),
    |s, _| s.astype(DType::F32).astype(DType::F64),
    |s, _| s.index(1).squeeze(()),
    // Products of two sparse arrays.
    |s, _| s.dot(&s.transpose([0, 2, 1])),
    |s, _| s.matmul(&s.transpose([0, 2, 1])),
    |s, _| s.sum(0).dot(&s.sum(0).t()),
    |s, _| numpy::einsum("abc,adc->abd", &[s, s]),
    |s, _| numpy::einsum("abc,dbc->bda", &[s, &(s * 2.0)]),
    |s, _| numpy::einsum("abc,abc->b", &[s, s]),
    |s, _| numpy::einsum("abc,bc->ac", &[s, &s.sum(0)]),
];

/// What gives dense arrays.
const LEAVE: &[Program] = &[
    |s, d| s + d,
    |s, d| d - s,
    |s, d| s - d,
    |s, _| s + 1.0,
    |s, _| s.sum(()),
    |s, _| s.mean(()),
    |s, d| s.dot(&d.transpose([0, 2, 1])),
    |s, d| d.dot(&s.transpose([0, 2, 1])),
    |s, d| s.matmul(&d.transpose([0, 2, 1])),
    |s, d| d.matmul(&s.transpose([0, 2, 1])),
    |s, d| numpy::einsum("abc,adc->bda", &[s, d]),
    |s, d| numpy::einsum("abc,abc->", &[s, d]),
    |s, d| numpy::einsum("abc,abc->b", &[d, s]),
    |s, d| numpy::einsum("abc,dbc->da", &[s, d]),
    |s, _| numpy::einsum("abc,abc->", &[s, s]),
    |s, _| s.dot(&Array::from([1f64, 2.0, 3.0, 4.0])),
    |s, _| numpy::einsum("abc,de->abcde", &[s, &Array::ones([2, 2], DType::F64)]),
];

#[test]
fn every_program_gives_what_it_gives_for_dense_arrays() {
    let mut r = Rng(1);
    for batch in 0..3 {
        for _ in 0..3 {
            let (x, d) = (
                mostly_zero(&mut r, &[2, 3, 4]),
                random_array(&mut r, &[2, 3, 4]),
            );
            let s = sparse(&x, batch);
            for (i, f) in STAY.iter().chain(LEAVE).enumerate() {
                let at = |e: Error| -> Array { panic!("program {i}, batch {batch}: {e}") };
                let y = quaxify(*f)(&s, &d).unwrap_or_else(at);
                close(&y, &f(&x, &d));
                assert_eq!(y.value::<Bcoo>().is_some(), i < STAY.len(), "program {i}");
                close(
                    &jit(quaxify(jit(*f)))(&s, &d).unwrap_or_else(at),
                    &f(&x, &d),
                );
                // Derivatives by the dense array, and by the entries.
                let loss = |d: &Array, s: &Array| f(s, d).square().sum(());
                let g = grad(quaxify(loss))(&d, &s).unwrap_or_else(at);
                close(&g, &grad(loss)(&d, &x).unwrap());
                let by_sparse = |s: &Array, d: &Array| f(s, d).square().sum(());
                let g = grad(quaxify(by_sparse))(&s, &d).unwrap_or_else(at);
                let want = grad(by_sparse)(&x, &d).unwrap() * x.ne(0.0).astype(DType::F64);
                // The places are those of the array itself: they have no derivative.
                let data = g.value::<Bcoo>().unwrap().data().clone();
                let finite = want.is_finite().all(()).item::<bool>().unwrap();
                if finite && !data.is_symbolic_zero() {
                    let own = s.value::<Bcoo>().unwrap();
                    let mut leaves = tree::leaves(&s);
                    leaves[0] = data;
                    let g = tree::unflatten(own, leaves).unwrap();
                    close(&g.to_dense().unwrap(), &want);
                }
            }
        }
    }
}

#[test]
fn duplicates_add_and_outside_entries_are_none() {
    let data = Array::from([1f64, 2.0, 3.0, 4.0]);
    let indices = Array::from([[0i32, 1], [0, 1], [1, 0], [1, 2]]);
    let b = Bcoo::new(data, indices, [2, 3]).unwrap();
    let s = Array::from_value(b.clone());
    assert_eq!(
        b.to_dense().unwrap().to_vec::<f64>().unwrap(),
        [0.0, 3.0, 0.0, 3.0, 0.0, 4.0]
    );
    let y = quaxify(|s: &Array| s.square())(&s).unwrap();
    assert_eq!(
        dense(&y).to_vec::<f64>().unwrap(),
        [0.0, 9.0, 0.0, 9.0, 0.0, 16.0]
    );
    let y = quaxify(|s: &Array| s * s)(&s).unwrap();
    assert_eq!(
        dense(&y).to_vec::<f64>().unwrap(),
        [0.0, 9.0, 0.0, 9.0, 0.0, 16.0]
    );
    let y = jit(quaxify(|s: &Array| (s + s).abs().sum(1)))(&s).unwrap();
    assert_eq!(dense(&y).to_vec::<f64>().unwrap(), [6.0, 14.0]);
    // A slice leaves entries that are outside of it.
    let y =
        quaxify(|s: &Array| s.slice_in_dim(0, 2, 1).dot(&Array::from([1f64, 1.0])))(&s).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), [3.0, 3.0]);
}

#[test]
fn batches_are_mapped_over() {
    let mut r = Rng(2);
    let x = mostly_zero(&mut r, &[5, 3, 4]);
    let (s, v) = (sparse(&x, 1), random_array(&mut r, &[5, 4]));
    let f = |m: &Array, v: &Array| m.dot(v).sin();
    let want = vmap(f)(&x, &v).unwrap();
    close(&vmap(quaxify(f))(&s, &v).unwrap(), &want);
    close(&quaxify(vmap(f))(&s, &v).unwrap(), &want);
    let loss = |v: &Array, m: &Array| f(m, v).sum(());
    let a = vmap(grad(quaxify(loss)))(&v, &s).unwrap();
    let b = quaxify(vmap(grad(loss)))(&v, &s).unwrap();
    close(&a, &b);
    close(&a, &vmap(grad(loss))(&v, &x).unwrap());
    let shared = sparse(&mostly_zero(&mut r, &[3, 4]), 0);
    close(
        &vmap(quaxify(f)).in_axes((None, 0))(&shared, &v).unwrap(),
        &vmap(f).in_axes((None, 0))(&dense(&shared), &v).unwrap(),
    );
    // Stacked matrices, one for each step of a loop.
    let steps = |ms: &Array, v: &Array| {
        scan(
            |v: &Array, m: &Array| (m.dot(v).slice_in_dim(0, 1, 0).broadcast_to([4]), ()),
            v,
            ms,
        )
    };
    let v = random_array(&mut r, &[4]);
    close(
        &quaxify(steps)(&s, &v).unwrap().0,
        &steps(&x, &v).unwrap().0,
    );
}

#[test]
fn what_would_be_dense_is_refused_unless_allowed() {
    let mut r = Rng(3);
    let x = mostly_zero(&mut r, &[3, 3]);
    let s = sparse(&x, 0);
    for f in [
        (|s: &Array| s.exp()) as fn(&Array) -> Array,
        |s| s.cos(),
        |s| s.max(()),
        |s| 1.0 / s,
        |s| s.integer_pow(-1),
        |s| s.sort(0),
        |s| s.gt(0.0).astype(DType::F32),
        |s| numpy::concatenate(&[s, &Array::ones([3, 3], DType::F64)], 0),
    ] {
        let e = quaxify(f)(&s).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(
            e.location().unwrap().file().ends_with("types_sparse.rs"),
            "{e}"
        );
    }
    let allowed = Array::from_value(Bcoo::from_dense(&x, 0).unwrap().allow_materialise(true));
    for f in [
        (|s: &Array| s.exp()) as fn(&Array) -> Array,
        |s| s.max(0),
        |s| s.dot(s),
        |s| s.sort(0),
    ] {
        close(&quaxify(f)(&allowed).unwrap(), &f(&x));
    }
    let e = (&s + &s).ok().cloned().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotQuaxified);
}

#[test]
fn bad_components_are_errors() {
    let data = || Array::from([1f64, 2.0]);
    for (data, indices, shape, part) in [
        (
            data(),
            Array::from([[0i32, 0], [0, 3]]),
            vec![2usize, 3],
            "an entry at 3 of axis 1, whose size is 3",
        ),
        (
            data(),
            Array::from([[0i32, 0], [-1, 0]]),
            vec![2, 3],
            "an entry at -1 of axis 0",
        ),
        (data(), Array::from([[0i32, 0]]), vec![2, 3], "needs data"),
        (data(), Array::from([[0i32], [1]]), vec![2, 3], "needs data"),
        (
            data(),
            Array::from([[0f32, 0.0], [1.0, 1.0]]),
            vec![2, 3],
            "places are integers",
        ),
        (
            Array::scalar(1f64),
            Array::from([0i32]),
            vec![2],
            "needs data",
        ),
    ] {
        let e = Bcoo::new(data, indices, shape).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
    for (columns, starts, part) in [
        (&[0usize, 1][..], &[0usize, 1][..], "starts"),
        (&[0, 1], &[0, 2, 1, 2], "starts"),
        (&[0, 1], &[1, 1, 1, 2], "starts"),
        (&[1, 0], &[0, 2, 2, 2], "column 0 comes after column 1"),
        (&[1, 1], &[0, 2, 2, 2], "column 1 comes after column 1"),
        (&[0, 9], &[0, 1, 2, 2], "column 9 of 4, in row 1"),
    ] {
        let e = Bcoo::from_csr(data(), columns, starts, [3, 4]).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
    assert!(Bcoo::from_dense(&Array::scalar(1f64), 0).is_err());
    assert!(
        jit(|x: &Array| Bcoo::from_dense(x, 0).map(|b| b.data().clone()))(&Array::ones(
            [2],
            DType::F32
        ))
        .is_err()
    );
    let empty = sparse(&Array::zeros([2, 0], DType::F64), 0);
    assert_eq!(
        quaxify(|m: &Array| m.dot(&Array::zeros([0, 3], DType::F64)))(&empty)
            .unwrap()
            .shape(),
        [2, 3]
    );
    let nothing = sparse(&Array::zeros([2, 3], DType::F64), 0);
    assert_eq!(
        quaxify(|m: &Array| (m + m).sin().dot(&Array::ones([3], DType::F64)))(&nothing)
            .unwrap()
            .to_vec::<f64>()
            .unwrap(),
        [0.0; 2]
    );
}

#[test]
fn values_nest() {
    let mut r = Rng(4);
    let x = mostly_zero(&mut r, &[3, 4]);
    let s = sparse(&x, 0);
    let v = random_array(&mut r, &[4]);
    let metres = quantity(s.clone(), "m").unwrap();
    let y = quaxify(|m: &Array, v: &Array| (m * 2.0).dot(v))(&metres, &v).unwrap();
    assert_eq!(y.describe(), "unitful[f64[3], m]");
    let y = quaxify(|m: &Array, z: &Array| m + z)(&s, &Zero::new([3, 4], DType::F64)).unwrap();
    close(&y, &x);
    assert!(y.value::<Bcoo>().is_some());
    let half = sparse(&x.astype(DType::F16), 0);
    let y = quaxify(|m: &Array, v: &Array| m.dot(v))(&half, &v.astype(DType::F16)).unwrap();
    assert_eq!(y.dtype().unwrap(), DType::F16);
    let whole = sparse(&(x * 5.0).astype(DType::I32), 0);
    let y = quaxify(|m: &Array| m.dot(&Array::ones([4, 2], DType::I32)))(&whole).unwrap();
    close(&y, &dense(&whole).dot(&Array::ones([4, 2], DType::I32)));
}

/// Chains of programs that keep sparse arrays sparse, of random arrays.
#[test]
fn random_programs() {
    let count = if cfg!(debug_assertions) { 150 } else { 5000 };
    for seed in 0..count {
        let mut r = Rng(seed);
        let x = mostly_zero(&mut r, &[2, 3, 4]);
        let d = random_array(&mut r, &[2, 3, 4]);
        let s = sparse(&x, r.below(3));
        // Programs that keep the shape, one after another, and then any.
        let same: Vec<Program> = STAY
            .iter()
            .copied()
            .filter(|f| f(&x, &d).shape() == x.shape())
            .collect();
        let chain: Vec<Program> = (0..r.below(4))
            .filter_map(|_| r.choose(&same).copied())
            .collect();
        let last = *r.choose(&[STAY, LEAVE].concat()).unwrap();
        let run = |s: &Array, d: &Array| last(&chain.iter().fold(s.clone(), |s, f| f(&s, d)), d);
        let y = quaxify(run)(&s, &d).unwrap_or_else(|e| panic!("{seed}: {e}"));
        let want = run(&x, &d);
        let (y, want) = (dense(&y), want.to_f64_vec().unwrap());
        let scale = want.iter().fold(1f64, |m, x| m.max(x.abs()));
        for (a, b) in y.to_f64_vec().unwrap().iter().zip(&want) {
            assert!(
                (a - b).abs() <= 1e-6 * scale || a.is_nan() && b.is_nan(),
                "{seed}: {a} for {b}"
            );
        }
    }
}

/// The entries of a product are bounded by what meets, before it runs.
#[test]
fn products_of_two_sparse_arrays() {
    let mut r = Rng(5);
    // A band of three: each row meets three rows of three.
    let n = 40;
    let places: Vec<[i32; 2]> = (0..n as i32)
        .flat_map(|i| (i - 1..=i + 1).map(move |j| [i, j]))
        .filter(|p| (0..n as i32).contains(&p[1]))
        .collect();
    let data = random_array(&mut r, &[places.len()]);
    let band = Bcoo::new(data, Array::new([places.len(), 2], places.concat()), [n, n]).unwrap();
    let band = band.bounded().unwrap();
    let (s, x) = (Array::from_value(band.clone()), band.to_dense().unwrap());
    let y = quaxify(|s: &Array| s.matmul(s))(&s).unwrap();
    close(&y, &x.dot(&x));
    let entries = y.value::<Bcoo>().unwrap().entries();
    assert!(entries <= 4 * places.len(), "{entries}");
    let program = quaxify(|s: &Array| s.matmul(s).dot(&Array::ones([40], DType::F64)));
    let program = program.stages((&s,)).unwrap().rewritten;
    assert!(!program.to_string().contains("[40,40]"), "{program}");
    let cube = |s: &Array| s.matmul(s).matmul(&s.t());
    close(&jit(quaxify(cube))(&s).unwrap(), &cube(&x));
    // By the entries of either, and of both.
    let loss = |s: &Array| s.matmul(s).square().sum(());
    let g = grad(quaxify(loss))(&s).unwrap();
    let want = grad(loss)(&x).unwrap();
    let at: Vec<f64> = {
        let all = want.to_f64_vec().unwrap();
        places
            .iter()
            .map(|p| all[p[0] as usize * n + p[1] as usize])
            .collect()
    };
    let got = g.value::<Bcoo>().unwrap().data().to_f64_vec().unwrap();
    for (a, b) in got.iter().zip(&at) {
        assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} for {b}");
    }
    // No entries, and entries that are outside.
    let nothing = sparse(&Array::zeros([n, n], DType::F64), 0);
    let y = quaxify(|s: &Array, t: &Array| s.matmul(t))(&s, &nothing).unwrap();
    close(&y, &Array::zeros([n, n], DType::F64));
    let f = |s: &Array| s.slice_in_dim(0, 5, 0).matmul(&s.slice_in_dim(3, 9, 1));
    close(&quaxify(f)(&s).unwrap(), &f(&x));
    // Batches, both ways around.
    let stack = mostly_zero(&mut r, &[4, 5, 5]);
    let (b, square) = (sparse(&stack, 1), |m: &Array| m.matmul(m).sum(1));
    let want = vmap(square)(&stack).unwrap();
    close(&quaxify(vmap(square))(&b).unwrap(), &want);
    let inside = vmap(quaxify(|m: &Array| {
        m.matmul(m).dot(&Array::ones([5], DType::F64))
    }))(&b);
    close(&inside.unwrap(), &want);
    let other = sparse(&mostly_zero(&mut r, &[6, 7]), 0);
    let e = quaxify(|s: &Array, t: &Array| s.matmul(t))(&s, &other).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape, "{e}");
}

/// Derivatives by entries and by the dense matrix, of a matrix in any order of entries, in both modes and again.
#[test]
fn products_are_differentiated_by_entries() {
    let mut r = Rng(6);
    let x = mostly_zero(&mut r, &[7, 5]);
    let v = random_array(&mut r, &[5, 70]);
    let ordered = Bcoo::from_dense(&x, 0).unwrap();
    let count = ordered.entries();
    let shuffle = Array::from(
        r.permutation(count)
            .iter()
            .map(|i| *i as i64)
            .collect::<Vec<_>>(),
    );
    let (data, places) = (
        ordered.data().take(&shuffle, 0),
        ordered.indices().take(&shuffle, 0),
    );
    let shuffled = Bcoo::new(data, places, [7, 5]).unwrap();
    for b in [ordered, shuffled] {
        let value = |data: &Array| {
            let mut leaves = tree::leaves(&b);
            leaves[0] = data.clone();
            Ok::<_, Error>(Array::from_value(tree::unflatten(&b, leaves)?))
        };
        let of = |data: &Array, v: &Array| {
            quaxify(|s: &Array, v: &Array| s.dot(v).sin().sum(()))(&value(data)?, v)
        };
        let by_dense = |s: &Array, v: &Array| s.dot(v).sin().sum(());
        let dense_of = |data: &Array| -> Result<Array> {
            let v = value(data)?;
            v.value::<Bcoo>()
                .ok_or_else(|| Error::argument("no value"))?
                .to_dense()
        };
        let reference = |data: &Array, v: &Array| Ok::<_, Error>(by_dense(&dense_of(data)?, v));
        close(
            &grad(of)(b.data(), &v).unwrap(),
            &grad(reference)(b.data(), &v).unwrap(),
        );
        let by_v = |v: &Array, data: &Array| of(data, v);
        let want = grad(|v: &Array| by_dense(&x, v))(&v).unwrap();
        close(&grad(by_v)(&v, b.data()).unwrap(), &want);
        // A derivative along a direction, and of the gradient.
        let along = random_array(&mut r, &[count]);
        let (_, t) = jvp(|d: &Array| of(d, &v), (b.data(),), (&along,)).unwrap();
        let (_, want) = jvp(|d: &Array| reference(d, &v), (b.data(),), (&along,)).unwrap();
        close(&t, &want);
        let twice = |d: &Array| Ok::<_, Error>((grad(|d: &Array| of(d, &v))(d)? * &along).sum(()));
        let want =
            |d: &Array| Ok::<_, Error>((grad(|d: &Array| reference(d, &v))(d)? * &along).sum(()));
        close(
            &grad(twice)(b.data()).unwrap(),
            &grad(want)(b.data()).unwrap(),
        );
        let stack = random_array(&mut r, &[3, count]);
        let each = |d: &Array| grad(|d: &Array| of(d, &v))(d);
        let want = |d: &Array| grad(|d: &Array| reference(d, &v))(d);
        close(&vmap(each)(&stack).unwrap(), &vmap(want)(&stack).unwrap());
        let transposed = |s: &Array, v: &Array| v.t().dot(&s.t()).sin().sum(());
        let s = Array::from_value(b.clone());
        close(&quaxify(transposed)(&s, &v).unwrap(), &transposed(&x, &v));
    }
}

/// Compressed rows compute as the entries that they are.
#[test]
fn compressed_rows() {
    let mut r = Rng(7);
    let x = mostly_zero(&mut r, &[6, 5]);
    let s = Array::from_value(Csr::from_dense(&x).unwrap());
    let d = random_array(&mut r, &[6, 5]);
    let plain = |x: &Array| match x.value::<Csr>() {
        Some(csr) => csr.to_dense().unwrap(),
        None => dense(x),
    };
    close(&plain(&s), &x);
    let programs: &[(Program, &str)] = &[
        (|s, _| -s, "csr"),
        (|s, _| s * 2.0, "csr"),
        (|s, _| (s / 4.0).tanh(), "csr"),
        (|s, _| s.abs().sqrt(), "csr"),
        (|s, _| s + s, "bcoo"),
        (|s, d| s * d, "bcoo"),
        (|s, _| s.t(), "bcoo"),
        (|s, _| s.sum(1), "bcoo"),
        (|s, _| s.matmul(&s.t()), "bcoo"),
        (|s, _| s.slice_in_dim(1, 4, 0), "bcoo"),
        (|s, _| numpy::concatenate(&[s, s], 0), "bcoo"),
        (|s, d| s + d, "f64"),
        (|s, d| s.dot(&d.t()), "f64"),
        (|s, d| d.t().dot(s), "f64"),
        (|s, d| s.t().dot(d), "f64"),
        (|s, _| s.sum(()), "f64"),
    ];
    for (i, (f, kind)) in programs.iter().enumerate() {
        let y = quaxify(*f)(&s, &d).unwrap_or_else(|e| panic!("program {i}: {e}"));
        assert!(
            y.describe().starts_with(kind),
            "program {i}: {}",
            y.describe()
        );
        close(&plain(&y), &f(&x, &d));
        let loss = |s: &Array, d: &Array| f(s, d).square().sum(());
        let g = grad(quaxify(loss))(&s, &d).unwrap_or_else(|e| panic!("program {i}: {e}"));
        let want = grad(loss)(&x, &d).unwrap() * x.ne(0.0).astype(DType::F64);
        let mut leaves = tree::leaves(&s);
        leaves[0] = g.value::<Csr>().unwrap().data().clone();
        let g = tree::unflatten(&s, leaves).unwrap();
        // A root has no derivative at the zeros of the dense matrix.
        if want.is_finite().all(()).item::<bool>().unwrap() {
            close(&plain(&g), &want);
        }
        close(&plain(&jit(quaxify(jit(*f)))(&s, &d).unwrap()), &f(&x, &d));
    }
    // A stack of matrices with as many entries each.
    let stack: Vec<Array> = (0..3).map(|i| &x * (i + 1) as f64).collect();
    let parts: Vec<Vec<Array>> = stack
        .iter()
        .map(|x| tree::leaves(&Array::from_value(Csr::from_dense(x).unwrap())))
        .collect();
    let stacked = (0..3).map(|j| numpy::stack(&parts.iter().map(|p| &p[j]).collect::<Vec<_>>(), 0));
    let batch = tree::unflatten(&s, stacked.collect()).unwrap();
    let (v, f) = (random_array(&mut r, &[5]), |s: &Array, v: &Array| {
        s.dot(v).sin()
    });
    let want = vmap(f).in_axes((0, None))(&numpy::stack(&stack, 0), &v).unwrap();
    close(
        &vmap(quaxify(f)).in_axes((0, None))(&batch, &v).unwrap(),
        &want,
    );
    close(
        &quaxify(vmap(f).in_axes((0, None)))(&batch, &v).unwrap(),
        &want,
    );
    assert_eq!(
        quaxify(|s: &Array| s.exp())(&s).unwrap_err().kind(),
        ErrorKind::Refused
    );
    let whole = Array::from_value(Csr::from_dense(&x).unwrap().allow_materialise(true));
    close(&quaxify(|s: &Array| s.exp())(&whole).unwrap(), &x.exp());
    let of = |columns: &[i32], starts: &[i32]| {
        let data = Array::ones([columns.len()], DType::F32);
        Csr::new(
            data,
            Array::from(columns.to_vec()),
            Array::from(starts.to_vec()),
            [2, 3],
        )
    };
    for (columns, starts, part) in [
        (
            &[0, 1][..],
            &[0, 2][..],
            "compressed rows of a matrix 2 by 3",
        ),
        (&[0, 1], &[0, 1, 3], "starts"),
        (&[1, 0], &[0, 2, 2], "column 0 comes after column 1"),
        (&[0, 3], &[0, 1, 2], "column 3 of 3, in row 1"),
        (&[0, -1], &[0, 1, 2], "-1 is no place"),
    ] {
        let e = of(columns, starts).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
}
