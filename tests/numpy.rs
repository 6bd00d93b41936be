//! Functions named as in `jax.numpy`, against JAX.

mod support;

use quaxide::prelude::*;
use support::golden::{F32, Golden};

fn x() -> Array {
    Array::new(
        [2, 3, 4],
        (0..24).map(|i| (i as f32).sin()).collect::<Vec<f32>>(),
    )
}

fn m() -> Array {
    Array::new(
        [3, 4],
        (0..12).map(|i| (i as f32).cos()).collect::<Vec<f32>>(),
    )
}

fn v() -> Array {
    Array::from([1.0f32, -2.0, 0.5, 3.0])
}

#[test]
fn functions_equal_jax() {
    let golden = Golden::open("numpy");
    let (x, m, v) = (&x(), &m(), &v());
    let (i, j) = (
        &Array::from([7i32, -7, 5, -5]),
        &Array::from([2i32, 2, -3, -3]),
    );
    let w = &v.flip(());
    let mm = &m.dot(&m.t());
    let cases: Vec<(&str, Array)> = vec![
        ("concatenate", numpy::concatenate(&[x, &(x * 2.0)], 1)),
        ("stack", numpy::stack(&[m, &(m + 1.0)], -1)),
        ("flip", x.flip([0, 2])),
        ("roll", x.roll(3, 2)),
        ("roll_negative", x.roll(-1, 1)),
        ("tile", m.tile([2, 1, 2])),
        ("repeat", m.repeat(2, 0)),
        ("swapaxes", x.swapaxes(0, 2)),
        ("moveaxis", x.moveaxis(0, -1)),
        ("pad", m.pad(&[(1, 2), (0, 1)], 5.0)),
        (
            "squeeze",
            x.slice_in_dim(0, 1, 2).expand_dims(0).squeeze(()),
        ),
        ("tril", numpy::tril(x, 1)),
        ("triu", numpy::triu(x, -1)),
        ("diag", numpy::diag(v, 0)),
        ("trace", numpy::trace(mm, 0, 0, 1)),
        ("var", x.var([0, 2])),
        ("std", x.std(())),
        ("logsumexp", nn::logsumexp(&(x * 50.0), -1)),
        ("argmax", x.argmax(1)),
        ("argmin", x.argmin(-1)),
        ("any", x.gt(0.9).any(2)),
        ("all", x.gt(-0.9).all(2)),
        ("clip", v.clip(-1.0, 1.0)),
        ("floor_divide", i.floor_divide(j)),
        ("mod", i.modulo(j)),
        ("float_mod", v.modulo(0.75)),
        ("logaddexp", (v * 40.0).logaddexp(w * 40.0)),
        ("hypot", v.hypot(w)),
        ("arange", numpy::arange(1.0, 2.0, 0.25, DType::F32)),
        ("linspace", numpy::linspace(-1.0, 2.0, 7, DType::F32)),
        ("einsum_matmul", numpy::einsum("ij,kj->ik", &[m, m])),
        (
            "einsum_three",
            numpy::einsum("bij,kj,b->kib", &[x, m, &v.slice_in_dim(0, 2, 0)]),
        ),
        ("einsum_diagonal", numpy::einsum("ii->i", &[mm])),
        ("einsum_implicit", numpy::einsum("bij,ij", &[x, m])),
        ("outer", numpy::outer(v, v)),
        ("tensordot", numpy::tensordot(x, m, 2)),
        ("matmul_batched", x.matmul(&x.swapaxes(1, 2))),
        ("matmul_broadcast", x.matmul(&m.t())),
        ("matmul_vector", v.matmul(&x.swapaxes(1, 2))),
        ("prod", x.prod(1)),
        ("where", x.gt(0.0).select(x, 0.0)),
        ("average", numpy::average(m, v, 1)),
    ];
    for (name, got) in &cases {
        golden.check(name, got, F32);
    }
}

#[test]
fn they_trace_differentiate_and_batch() {
    let f = |x: &Array| {
        let y = numpy::concatenate(&[x.flip(0), x.roll(1, 0)], 0).pad(&[(1, 0)], 2.0);
        (y.var(()) + nn::logsumexp(x, ()) + numpy::einsum("i,i->", &[x, &x.clip(-0.5, 0.5)])).sin()
    };
    let x = Array::from([0.3f64, -0.2, 0.9]);
    let g = grad(f)(&x).unwrap().to_vec::<f64>().unwrap();
    for (k, g) in g.iter().enumerate() {
        let step = |h: f64| {
            let mut v = x.to_vec::<f64>().unwrap();
            v[k] += h;
            f(&Array::from(v)).item::<f64>().unwrap()
        };
        let numeric = (step(1e-6) - step(-1e-6)) / 2e-6;
        assert!(
            (g - numeric).abs() < 1e-8,
            "element {k}: {g} against {numeric}"
        );
    }
    let xs = Array::from([[0.3f64, -0.2, 0.9], [1.0, 0.1, -0.7]]);
    let all = vmap(f)(&xs).unwrap().to_vec::<f64>().unwrap();
    for (k, y) in all.iter().enumerate() {
        let one = f(&xs.slice_in_dim(k, k + 1, 0).squeeze(0))
            .item::<f64>()
            .unwrap();
        assert!((y - one).abs() < 1e-14);
    }
}

#[test]
fn dynamic_slices_batch_and_differentiate() {
    use quaxide::{op, trace::bind};
    let x = Array::from([1.0f64, 2.0, 3.0, 4.0, 5.0]);
    let at = |x: &Array, i: &Array| {
        bind(
            op::DynamicSlice {
                slice_sizes: [2].as_slice().into(),
            },
            &[x, i],
        )
    };
    let i = Array::from([0i32, 3, 9]);
    let y = vmap(at).in_axes((None, 0))(&x, &i).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), [1.0, 2.0, 4.0, 5.0, 4.0, 5.0]);
    let g =
        grad(|x: &Array, i: &Array| at(x, i).square().sum(()))(&x, &Array::scalar(1i32)).unwrap();
    assert_eq!(g.to_vec::<f64>().unwrap(), [0.0, 4.0, 6.0, 0.0, 0.0]);
    let set = |x: &Array, u: &Array, i: &Array| bind(op::DynamicUpdateSlice, &[x, u, i]);
    let u = Array::from([[7.0f64, 8.0], [9.0, 10.0]]);
    let y = vmap(set).in_axes((None, 0, 0))(&x, &u, &Array::from([0i32, 4])).unwrap();
    assert_eq!(
        y.to_vec::<f64>().unwrap(),
        [7., 8., 3., 4., 5., 1., 2., 3., 9., 10.]
    );
    let (gx, gu) = grad(|(x, u): &(Array, Array), i: &Array| set(x, u, i).square().sum(()))(
        &(x.clone(), Array::from([7.0f64, 8.0])),
        &Array::scalar(1i32),
    )
    .unwrap();
    assert_eq!(gx.to_vec::<f64>().unwrap(), [2., 0., 0., 8., 10.]);
    assert_eq!(gu.to_vec::<f64>().unwrap(), [14., 16.]);
}

#[test]
fn bad_arguments_are_errors() {
    let (x, m) = (x(), m());
    for (what, y) in [
        ("concatenate", numpy::concatenate(&[&x, &m], 0)),
        ("nothing", numpy::concatenate::<Array>(&[], 0)),
        ("stack", numpy::stack(&[&x, &m], 0)),
        ("squeeze", m.squeeze(0)),
        ("squeeze all", m.expand_dims(0).squeeze([0, 1, 2])),
        ("axis", m.flip(3)),
        ("slice", m.slice_in_dim(2, 9, 0)),
        ("einsum names", numpy::einsum("ij,jk", &[&m])),
        ("einsum sizes", numpy::einsum("ij,ij->i", &[&m, &m.t()])),
        ("einsum output", numpy::einsum("ij->ik", &[&m])),
        ("tril", numpy::tril(&Array::from([1f32]), 0)),
        ("step", numpy::arange(0, 1, 0, DType::I32)),
        ("pad", m.pad(&[(1, 1)], 0.0)),
    ] {
        let e = y.ok().map(|_| ()).expect_err(what);
        assert!(
            e.location()
                .is_some_and(|at| at.file().ends_with("numpy.rs")),
            "{what}: {e}"
        );
    }
    assert!(numpy::split(&m, 5, 0).is_err());
}
