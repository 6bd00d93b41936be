//! `cond` and `switch`.

use super::support::*;
use quaxide::prelude::*;

fn choose(which: &Array, x: &Array) -> Result<Array> {
    cond(which, |x: &Array| x + x, |x: &Array| x * 3.0, x)
}

/// «both branches, jit, vmap».
#[test]
fn both_branches() {
    let x = metres(vector(&[1.0, 2.0]), 1);
    for (which, factor) in [(true, 2.0), (false, 3.0)] {
        let wanted = vector(&[1.0, 2.0]) * factor;
        let which = Array::from(which);
        for y in [
            quaxify(choose)(&which, &x),
            jit(quaxify(choose))(&which, &x),
            quaxify(jit(choose))(&which, &x),
        ] {
            close(&in_metres(&y.unwrap()).x, &wanted);
        }
    }
    let both = vmap(quaxify(choose)).in_axes((0, None))(&Array::from([true, false]), &x).unwrap();
    close(&in_metres(&both).x, &Array::from([[2f64, 4.0], [3.0, 6.0]]));
}

/// «unit mismatch raises, different out trees raise».
#[test]
fn branches_must_agree() {
    let x = metres(vector(&[1.0]), 1);
    let f = |which: &Array, x: &Array| cond(which, |x: &Array| x * x, |x: &Array| x.clone(), x);
    let e = quaxify(f)(&Array::from(true), &x).unwrap_err();
    assert!(e.to_string().contains("the branches of `cond`"), "{e}");
}

/// Later Quax materialises both where a value meets a plain array: so do we, where the type allows it.
#[test]
fn a_value_and_an_array_meet_in_the_array() {
    let x = Array::from_value(Pair(vector(&[1.0]), vector(&[0.5])));
    let f = |which: &Array, x: &Array| cond(which, |x: &Array| x + x, |x: &Array| x.sin(), x);
    let y = quaxify(f)(&Array::from(true), &x).unwrap();
    close(&y, &vector(&[3.0]));
    close(
        &quaxify(f)(&Array::from(false), &x).unwrap(),
        &vector(&[1.5]).sin(),
    );
}

/// «switch».
#[test]
fn one_of_three() {
    let f = |i: &Array, x: &Array| {
        switch(
            i,
            &[&|x: &Array| x * 1.0, &|x: &Array| x * 2.0, &|x: &Array| {
                x * 3.0
            }],
            x,
        )
    };
    for i in 0..3i32 {
        let y = quaxify(f)(&Array::from(i), &metres(vector(&[1.0]), 1)).unwrap();
        assert_eq!(number(&in_metres(&y).x), f64::from(i) + 1.0);
    }
}

/// «jvp with closure».
#[test]
fn a_derivative_by_what_is_closed_over() {
    let x = metres(vector(&[1.0, 2.0]), 1);
    let f = |k: &Array| {
        let scaled = quaxify(|k: &Array, x: &Array| {
            cond(
                &Array::from(true),
                |x: &Array| x * k,
                |x: &Array| x.clone(),
                x,
            )
        });
        Ok(in_metres(&scaled(k, &x)?).x.sum(()))
    };
    let (y, t) = jvp(f, (&Array::scalar(2f64),), (&Array::scalar(1f64),)).unwrap();
    assert_eq!((number(&y), number(&t)), (6.0, 3.0));
}

/// Section 4: a value as the predicate makes Quax materialise every operand; here only the predicate is.
#[test]
fn a_value_may_be_the_predicate() {
    let which = Array::from_value(Wrapped(Array::from(true)));
    let y = quaxify(choose)(&which, &metres(vector(&[1.0]), 1)).unwrap();
    assert_eq!(number(&in_metres(&y).x), 2.0);
}
