//! Linear algebra beyond the usual decompositions: against JAX, by what defines it, and its derivatives.

mod support;

use quaxide::{
    linalg, numpy,
    op::{self, Factor, Linalg, TriangularSolve},
    prelude::*,
    trace::{bind, bind_all},
};
use support::{
    check::{check_grads, check_vmap, noises},
    golden::{Golden, Tolerance},
};

const CLOSE: Tolerance = Tolerance {
    relative: 1e-11,
    absolute: 1e-12,
};

fn check(golden: &Golden, name: &str, found: &Array) {
    if found.dtype().is_ok_and(DType::is_complex) {
        golden.check(&format!("{name}.re"), &found.real(), CLOSE);
        golden.check(&format!("{name}.im"), &found.imag(), CLOSE);
    } else {
        golden.check(name, found, CLOSE);
    }
}

fn wave(shape: &[usize], by: f64) -> Array {
    let n: usize = shape.iter().product();
    Array::new(
        shape,
        (1..=n)
            .map(|i| (by * (i * i) as f64).sin())
            .collect::<Vec<_>>(),
    )
}

fn complex(re: &Array, im: &Array) -> Array {
    bind(op::Binary::Complex, &[re, im])
}

fn adjoint(x: &Array) -> Array {
    x.swapaxes(-1, -2).conj()
}

fn of(p: Factor, x: &[Array]) -> Vec<Array> {
    bind_all(p, x).unwrap_or_else(|e| panic!("{p:?}: {e}"))
}

fn small(what: &str, x: &Array) {
    let size = x.abs().max(()).item::<f64>().unwrap();
    assert!(size < 1e-12, "{what}: {size}");
}

fn pair() -> [(&'static str, Array); 2] {
    let real = wave(&[2, 5, 5], 0.37);
    let other = complex(&real, &wave(&[2, 5, 5], 0.23));
    [("real", real), ("complex", other)]
}

#[test]
fn factors_equal_those_of_lapack() {
    let golden = &Golden::open("primitives");
    for (name, a) in &pair() {
        let all = |what: &str, y: &[Array]| {
            for (i, y) in y.iter().enumerate() {
                check(golden, &format!("linalg/{name}/{what}/{i}"), y);
            }
        };
        let s = a + adjoint(a);
        all(
            "hessenberg",
            &of(Factor::Hessenberg, std::slice::from_ref(a)),
        );
        let lower = Factor::Tridiagonal { lower: true };
        all("tridiagonal", &of(lower, std::slice::from_ref(&s)));
        let upper = Factor::Tridiagonal { lower: false };
        all("tridiagonal_upper", &of(upper, std::slice::from_ref(&s)));
        let high = a.slice_in_dim(0, 3, -1);
        let packed = of(Factor::Geqrf, &[high]);
        all("geqrf", &packed);
        let q = of(Factor::HouseholderProduct, &packed);
        check(golden, &format!("linalg/{name}/householder_product"), &q[0]);
        let row = |i: usize| a.slice_in_dim(i, i + 1, 1).squeeze(1);
        let x = of(
            Factor::TridiagonalSolve,
            &[row(0), row(1), row(2), a.slice_in_dim(0, 2, -1)],
        );
        check(golden, &format!("linalg/{name}/tridiagonal_solve"), &x[0]);
        let m = &s + Array::eye(5, DType::F64).astype(s.dtype().unwrap()) * 4.0;
        for i in 0..16 {
            let how = TriangularSolve {
                left_side: i & 1 > 0,
                lower: i & 2 > 0,
                transpose_a: i & 4 > 0,
                conjugate_a: i & 4 > 0,
                unit_diagonal: i & 8 > 0,
            };
            let x = bind(Linalg::TriangularSolve(how), &[&m, a]);
            check(golden, &format!("linalg/{name}/triangular_solve/{i}"), &x);
        }
    }
    let pivots = Array::from([[2i32, 2, 4], [0, 3, 2]]);
    let order = of(Factor::PivotsToPermutation { size: 5 }, &[pivots]);
    check(golden, "linalg/pivots", &order[0]);
    let m = wave(&[2, 5, 5], 0.37);
    let product = Factor::SymmetricProduct {
        alpha: 2.0,
        beta: 0.5,
    };
    check(
        golden,
        "linalg/symmetric_product",
        &of(product, &[m.clone(), m])[0],
    );
}

#[test]
fn eigenvectors_are_eigenvectors() {
    let golden = &Golden::open("primitives");
    for (name, a) in &pair() {
        let full = Factor::Eig {
            left: true,
            right: true,
        };
        let y = of(full, std::slice::from_ref(a));
        let [w, u, v] = &y[..] else { panic!() };
        let a = &a.astype(DType::C128);
        let row = w.expand_dims(-2);
        small("right", &(a.matmul(v) - v * &row));
        small("left", &(adjoint(a).matmul(u) - u * row.conj()));
        let mut all: Vec<Vec<(f64, f64)>> = vec![];
        for k in 0..2 {
            let w = w.slice_in_dim(k, k + 1, 0);
            let (re, im) = (
                w.real().to_vec::<f64>().unwrap(),
                w.imag().to_vec::<f64>().unwrap(),
            );
            let mut w: Vec<(f64, f64)> = re.into_iter().zip(im).collect();
            w.sort_by(|a, b| {
                let close = (a.0 - b.0).abs() < 1e-9;
                if close {
                    a.1.total_cmp(&b.1)
                } else {
                    a.0.total_cmp(&b.0)
                }
            });
            all.push(w);
        }
        let part = |f: fn(&(f64, f64)) -> f64| {
            Array::new([2, 5], all.iter().flatten().map(f).collect::<Vec<_>>())
        };
        golden.check(&format!("linalg/{name}/eig.re"), &part(|w| w.0), CLOSE);
        golden.check(&format!("linalg/{name}/eig.im"), &part(|w| w.1), CLOSE);
        let y = of(Factor::Schur { vectors: true }, std::slice::from_ref(a));
        let [t, z] = &y[..] else { panic!() };
        small("schur", &(z.matmul(t).matmul(&adjoint(z)) - a));
        small("triangle", &numpy::tril(t, -1));
    }
    // A nilpotent matrix, and one of zeros.
    for a in [
        Array::from([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]),
        Array::zeros([3, 3], DType::F64),
    ] {
        let none = Factor::Eig {
            left: false,
            right: false,
        };
        small("eigenvalues", &of(none, &[a])[0]);
    }
}

#[test]
fn factors_have_derivatives() {
    let or_error = |y: quaxide::Result<Vec<Array>>| match y {
        Ok(y) => y.into_iter().next().unwrap(),
        Err(e) => Array::error(e),
    };
    let spread = Array::from([0.0, 1.0, 2.5, 4.5]);
    let a = noises(&[4, 4], 1) * 0.2 + numpy::diag(&spread, 0);
    let none = Factor::Eig {
        left: false,
        right: false,
    };
    let values = |x: &[Array]| or_error(bind_all(none, x)).square().sum(());
    check_grads("eig", values, std::slice::from_ref(&a), 1);
    check_vmap("eig", values, std::slice::from_ref(&a));
    let x = [
        noises(&[4], 1),
        noises(&[4], 2) + 3.0,
        noises(&[4], 3),
        noises(&[4, 2], 4),
    ];
    let solve = |x: &[Array]| or_error(bind_all(Factor::TridiagonalSolve, x));
    check_grads("tridiagonal_solve", solve, &x, 2);
    check_vmap("tridiagonal_solve", solve, &x);
    let q = |x: &[Array]| or_error(bind_all(Factor::HouseholderProduct, x));
    let x = [noises(&[4, 3], 1), noises(&[2], 2)];
    check_grads("householder_product", q, &x, 1);
    check_vmap("householder_product", q, &x);
    let defined = Factor::SymmetricProduct {
        alpha: 2.0,
        beta: 0.5,
    };
    let product = |x: &[Array]| or_error(bind_all(defined, x));
    let x = [noises(&[3, 2], 1), noises(&[3, 3], 2)];
    check_grads("symmetric_product", product, &x, 2);
    check_vmap("symmetric_product", product, &x);
    let update = |x: &[Array]| {
        let r = numpy::triu(&x[0], 0);
        or_error(bind_all(Factor::CholeskyUpdate, &[r, x[1].clone()]))
    };
    let x = [
        noises(&[3, 3], 1) * 0.2 + Array::eye(3, DType::F64),
        noises(&[3], 2),
    ];
    let s = update(&x);
    let r = numpy::triu(&x[0], 0);
    let w = x[1].expand_dims(-1);
    small(
        "cholesky_update",
        &(s.t().matmul(&s) - r.t().matmul(&r) - w.matmul(&w.t())),
    );
    check_grads("cholesky_update", update, &x, 2);
    check_vmap("cholesky_update", update, &x);
}

/// Of real matrices of every size: `z` is orthogonal, `t` has blocks of at most two rows, each with two eigenvalues that are not real.
#[test]
fn the_schur_form_of_a_real_matrix_is_real() {
    for n in 1..12usize {
        for by in [0.7, 1.3, 2.9] {
            let a = wave(&[2, n, n], by * n as f64);
            let [t, z] =
                &bind_all(Factor::Schur { vectors: true }, std::slice::from_ref(&a)).unwrap()[..]
            else {
                panic!("two results")
            };
            let zt = z.swapaxes(-1, -2);
            let error = (z.matmul(t).matmul(&zt) - &a).abs().max(());
            assert!(error.item::<f64>().unwrap() < 1e-12, "{n} {by}");
            let error = (z.matmul(&zt) - Array::eye(n, DType::F64)).abs().max(());
            assert!(error.item::<f64>().unwrap() < 1e-12, "{n} {by}");
            for t in t.to_vec::<f64>().unwrap().chunks(n * n) {
                let at = |i: usize, j: usize| t[i * n + j];
                for i in 0..n {
                    for j in 0..i {
                        let beside = i == j + 1 && (j == 0 || at(j, j - 1) == 0.0);
                        assert!(at(i, j) == 0.0 || beside, "{n} {by}: {i}, {j}");
                        if at(i, j) != 0.0 {
                            assert!(
                                at(i, j) * at(j, i) < 0.0 && at(i, i) == at(j, j),
                                "{n} {by}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Columns in the order of what is left of them; reflections times matrices.
#[test]
fn pivots_and_reflections() {
    for (m, n) in [(3usize, 3usize), (5, 3), (3, 5)] {
        let a = wave(&[m, n], 1.7);
        let none = Array::zeros([n], DType::I32);
        let [r, order, taus] = linalg::geqp3(&a, &none).unwrap();
        let k = m.min(n);
        let places: Vec<i32> = order.to_vec().unwrap();
        let picked: Vec<Array> = places
            .iter()
            .map(|p| a.slice_in_dim(*p as usize - 1, *p as usize, 1))
            .collect();
        let picked = numpy::concatenate(&picked.iter().collect::<Vec<_>>(), 1);
        let upper = numpy::triu(&r, 0);
        let back = linalg::ormqr(&r, &taus, &upper, true, false);
        let error = (back - picked).abs().max(()).item::<f64>().unwrap();
        assert!(error < 1e-13, "{m} {n}: {error}");
        let diagonal: Vec<f64> = numpy::diagonal(&r, 0, 0, 1).to_vec().unwrap();
        assert!(
            diagonal
                .windows(2)
                .all(|w| w[0].abs() >= w[1].abs() - 1e-14)
        );
        let first = Array::iota([n], 0, DType::I32)
            .eq(n as i32 - 1)
            .astype(DType::I32);
        let [_, order, _] = linalg::geqp3(&a, &first).unwrap();
        assert_eq!(order.to_vec::<i32>().unwrap()[0], n as i32);
        // The product of all reflections, on either side, is what forms it.
        let eye = Array::eye(m, DType::F64);
        let q = linalg::ormqr(&r, &taus, &eye, true, false);
        let c = wave(&[m, m], 0.3);
        let t = q.swapaxes(-1, -2);
        for (left, transpose, wanted) in [
            (true, false, q.matmul(&c)),
            (true, true, t.matmul(&c)),
            (false, false, c.matmul(&q)),
            (false, true, c.matmul(&t)),
        ] {
            let y = linalg::ormqr(&r, &taus, &c, left, transpose);
            let error = (y - wanted).abs().max(()).item::<f64>().unwrap();
            assert!(error < 1e-13, "{left} {transpose}: {error}");
            let f = move |x: &[Array]| linalg::ormqr(&x[0], &x[1], &x[2], left, transpose);
            let x = [noises(&[m, k], 1), noises(&[k], 2), noises(&[m, m], 3)];
            check_grads("ormqr", f, &x, 1);
            check_vmap("ormqr", f, &x);
        }
    }
}
