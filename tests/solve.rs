//! Solutions whose derivatives follow from the equation that they solve.

mod support;

use quaxide::{
    prelude::*,
    transform::{Map, TransposeSolve, custom_linear_solve, custom_root},
};
use support::check::{check_grads, check_vmap, noises};

fn matrix(x: &Array) -> Array {
    x * 0.3 + Array::eye(3, DType::F64) * 2.0
}

/// By the matrix of the map, column by column.
fn dense(map: &Map<'_, Array>, b: &Array) -> Result<Array> {
    let columns: Vec<Array> = (0..3)
        .map(|i| {
            let unit = Array::eye(3, DType::F64).slice_in_dim(i, i + 1, 0);
            map(&unit.reshape([3]))
        })
        .collect::<Result<_>>()?;
    let a = numpy::stack(&columns.iter().collect::<Vec<_>>(), -1);
    Ok(linalg::solve(&a, b))
}

/// Conjugate gradients, until the residual is small: no reverse derivative of its own.
fn conjugate_gradients(map: &Map<'_, Array>, b: &Array) -> Result<Array> {
    let start = (Array::zeros_like(b), b.clone(), b.clone(), (b * b).sum(()));
    let (x, _, _, _) = while_loop(
        |(_, _, _, rr)| rr.gt(1e-30),
        |(x, r, p, rr)| -> Result<_> {
            let ap = map(p)?;
            let alpha = rr / (p * &ap).sum(());
            let (x, r) = (x + &alpha * p, r - &alpha * ap);
            let next = (&r * &r).sum(());
            let p = &r + (&next / rr) * p;
            Ok((x, r, p, next))
        },
        &start,
    )?;
    Ok(x)
}

fn or_error(y: Result<Array>) -> Array {
    y.unwrap_or_else(Array::error)
}

#[test]
fn linear_systems_have_the_derivatives_of_their_solutions() {
    let (a, b) = (noises(&[3, 3], 1), noises(&[3], 2));
    let solve = |x: &[Array]| {
        let a = matrix(&x[0]);
        let y = custom_linear_solve(
            |x: &Array| a.dot(x),
            &x[1],
            dense,
            TransposeSolve::By(&dense),
        );
        or_error(y)
    };
    let x = [a.clone(), b.clone()];
    let residual = matrix(&a).dot(&solve(&x)) - &b;
    assert!(residual.abs().max(()).item::<f64>().unwrap() < 1e-14);
    check_grads("linear solve", solve, &x, 2);
    check_vmap("linear solve", solve, &x);

    let symmetric = |x: &[Array]| {
        let half = matrix(&x[0]);
        let a = half.dot(&half.t());
        let y = custom_linear_solve(
            |x: &Array| a.dot(x),
            &x[1],
            conjugate_gradients,
            TransposeSolve::Symmetric,
        );
        or_error(y)
    };
    check_grads("conjugate gradients", symmetric, &x, 2);
    check_vmap("conjugate gradients", symmetric, &x);
}

#[test]
fn what_is_missing_is_said() {
    let f = |b: &Array| custom_linear_solve(|x| x * 2.0, b, |_, b| b / 2.0, TransposeSolve::None);
    let b = Array::from([1.0f64, 2.0]);
    let (_, t) = jvp(f, (&b,), (&b,)).unwrap();
    assert_eq!(t.to_vec::<f64>().unwrap(), [0.5, 1.0]);
    let e = grad(move |b: &Array| Ok(f(b)?.sum(())))(&b).unwrap_err();
    assert!(e.to_string().contains("solve the transposed system"), "{e}");
    let wrong = custom_linear_solve(
        |x: &Array| x.sum(()),
        &b,
        |_, b| b.clone(),
        TransposeSolve::None,
    );
    let e = wrong.unwrap_err().to_string();
    assert!(e.contains("the map must give what it takes"), "{e}");
}

#[test]
fn trees_are_vectors() {
    let b = (Array::from([1.0f64, 2.0]), Array::from(3.0f64));
    let f = |a: &Array| -> Result<Array> {
        let (x, y) = custom_linear_solve(
            |(x, y): &(Array, Array)| (x * a, y * a * 2.0),
            &b,
            |_, (x, y)| (x / a, y / (a * 2.0)),
            TransposeSolve::Symmetric,
        )?;
        Ok(x.sum(()) + y)
    };
    check_grads("trees", |x| or_error(f(&x[0])), &[Array::from(1.7f64)], 2);
}

#[test]
fn roots_have_the_derivatives_of_the_equation() {
    // x³ + a x = b, by Newton's method for each element.
    let root = |x: &[Array]| {
        let (a, b) = (&x[0], &x[1]);
        let y = custom_root(
            |x: &Array| x.integer_pow(3) + a * x - b,
            &Array::ones([3], DType::F64),
            |f, guess| -> Result<Array> {
                let mut x = guess.clone();
                for _ in 0..12 {
                    let slope = x.square() * 3.0 + a;
                    x = &x - f(&x)? / slope;
                }
                Ok(x)
            },
            |g, y| -> Result<Array> { Ok(y / g(&Array::ones([3], DType::F64))?) },
        );
        or_error(y)
    };
    let x = [noises(&[3], 1) * 0.2 + 1.5, noises(&[3], 2)];
    check_grads("root", root, &x, 2);
    check_vmap("root", root, &x);

    // A system, its tangents by a linear solve.
    let system = |x: &[Array]| {
        let a = matrix(&x[0]);
        let y = custom_root(
            |v: &Array| a.dot(v) + v.integer_pow(3) * 0.1 - 1.0,
            &Array::zeros([3], DType::F64),
            |f, guess| -> Result<Array> {
                let mut v = guess.clone();
                for _ in 0..12 {
                    let at = &v;
                    let map = |t: &Array| jvp(|v: &Array| f(v), (at,), (t,)).map(|(_, t)| t);
                    v = &v - dense(&map, &f(&v)?)?;
                }
                Ok(v)
            },
            |g, y| custom_linear_solve(|v: &Array| g(v), y, dense, TransposeSolve::By(&dense)),
        );
        or_error(y)
    };
    let a = [noises(&[3, 3], 4)];
    check_grads("system", system, &a, 2);
    check_vmap("system", system, &a);
}

#[test]
fn values_are_seen_inside_of_a_solve() {
    let w = matrix(&noises(&[3, 3], 1));
    let (a, b) = (noises(&[3, 1], 3) * 0.1, noises(&[1, 3], 4) * 0.1);
    let plain = &w + a.matmul(&b);
    let w = Array::from_value(LoraArray::from_parts(w, a, b).unwrap());
    let rhs = noises(&[3], 2);
    let f = |w: &Array, b: &Array| {
        custom_linear_solve(|x: &Array| w.dot(x), b, dense, TransposeSolve::By(&dense))
    };
    let dense_solution = f(&plain, &rhs).unwrap();
    let solution = quaxify(f)(&w, &rhs).unwrap();
    let error = (solution - dense_solution).abs().max(());
    assert!(error.item::<f64>().unwrap() < 1e-13);
    let program = quaxify(f)
        .stages((&w, &rhs))
        .unwrap()
        .dispatched
        .to_string();
    assert!(program.contains("custom_linear_solve"), "{program}");
}

#[test]
fn it_prints_as_jax_prints_it() {
    let f = |b: &Array, a: &Array| {
        custom_linear_solve(
            |x| a * x,
            b,
            |_, b| b / a,
            TransposeSolve::By(&|_, b| Ok(b / a)),
        )
    };
    let text = make_jaxpr(f)(&Array::zeros([6], DType::F32), &Array::from(2f32)).unwrap();
    assert_eq!(
        text.to_string(),
        "{ lambda ; a:f32[6] b:f32[]. let
    c:f32[6] = custom_linear_solve[
      const_lengths=_LinearSolveTuple(matvec=1, vecmat=1, solve=1, transpose_solve=1)
      jaxprs=_LinearSolveTuple(matvec={ lambda ; a:f32[] b:f32[6]. let c:f32[6] = mul a b in (c,) }, vecmat={ lambda ; a:f32[] b:f32[6]. let c:f32[6] = mul a b in (c,) }, solve={ lambda ; a:f32[] b:f32[6]. let c:f32[6] = div b a in (c,) }, transpose_solve={ lambda ; a:f32[] b:f32[6]. let c:f32[6] = div b a in (c,) })
    ] b b b b a
  in (c,) }"
    );
}
