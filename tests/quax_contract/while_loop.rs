//! `while_loop` and `fori_loop`.

use super::support::*;
use quaxide::{ErrorKind, prelude::*};

/// Steps of a length until a limit is passed.
fn walk(start: &Array, step: &Array, limit: &Array) -> Result<Array> {
    while_loop(|x: &Array| x.lt(limit), |x: &Array| x + step, start)
}

fn m(x: f64) -> Array {
    metres(Array::scalar(x), 1)
}

/// «basic, jit».
#[test]
fn a_loop_over_lengths() {
    for y in [
        quaxify(walk)(&m(0.0), &m(3.0), &m(10.0)),
        jit(quaxify(walk))(&m(0.0), &m(3.0), &m(10.0)),
        quaxify(jit(walk))(&m(0.0), &m(3.0), &m(10.0)),
    ] {
        assert_eq!(number(&in_metres(&y.unwrap()).x), 12.0);
    }
}

/// «unit mismatch raises».
#[test]
fn units_that_do_not_agree() {
    let area = metres(Array::scalar(3f64), 2);
    let e = quaxify(walk)(&m(0.0), &area, &m(10.0)).unwrap_err();
    assert!(e.message().contains("cannot add m^1 and m^2"), "{e}");
}

/// «vmap with different trip counts».
#[test]
fn batches_of_different_lengths() {
    let steps = metres(vector(&[1.0, 3.0, 20.0]), 1);
    let f = vmap(quaxify(walk)).in_axes((None, 0, None));
    let y = f(&m(0.0), &steps, &m(10.0)).unwrap();
    close(&in_metres(&y).x, &vector(&[10.0, 12.0, 20.0]));
}

/// «jvp with closed-over differentiated variable (p = 10 m, t = 1 m)».
#[test]
fn a_forward_derivative_by_what_is_closed_over() {
    let p = m(10.0);
    let thrice = |p: &Array| {
        let body = |(i, x): &(Array, Array)| (i + 1, x + p);
        while_loop(
            |(i, _): &(Array, Array)| i.lt(3),
            body,
            &(Array::scalar(0i32), m(0.0)),
        )
    };
    let f = quaxify(move |p: &Array| Ok(thrice(p)?.1));
    let (y, t) = jvp(f, (&p,), (&m(1.0),)).unwrap();
    assert_eq!(
        (number(&in_metres(&y).x), number(&in_metres(&t).x)),
        (30.0, 3.0)
    );
}

/// Section 4: in reverse it is refused, with a reason.
#[test]
fn in_reverse_it_is_refused() {
    let f = quaxify(|x: &Array| walk(x, &m(1.0), &m(3.0)));
    let loss = move |x: &Array| f(&metres(x.clone(), 1)).map(|y| in_metres(&y).x.clone());
    let e = grad(loss)(&Array::scalar(0f64)).unwrap_err();
    assert!(
        matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::NotQuaxified),
        "{e:?}"
    );
}
