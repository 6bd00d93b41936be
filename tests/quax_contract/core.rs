//! Dispatch.

use super::support::*;
use quaxide::{ErrorKind, prelude::*};
use std::sync::atomic::Ordering;

/// «quaxified `2*x+1` on plain input has no pjit».
#[test]
fn arithmetic_on_plain_input_holds_no_call() {
    let f = quaxify(|x: &Array| 2.0 * x + 1.0);
    let program = make_jaxpr(f.clone())(&vector(&[1.0])).unwrap();
    assert!(
        program.eqns().iter().all(|e| e.op.inner().is_none()),
        "{program}"
    );
    assert_eq!(number(&f(&vector(&[3.0])).unwrap()), 7.0);
}

/// «`default` override sees exactly the primitives without a rule, also for mixed plain operands».
#[test]
fn a_default_sees_what_has_no_rule() {
    let before = SEEN.load(Ordering::Relaxed);
    let x = Array::from_value(Tagged(vector(&[1.0, 2.0])));
    let y =
        quaxify(|x: &Array, y: &Array| ((-x).sin() + y).cos())(&x, &vector(&[1.0, 1.0])).unwrap();
    let y = &y.value::<Tagged>().unwrap().0;
    close(y, &(((-vector(&[1.0, 2.0])).sin() + 1.0).cos()));
    // Not the negation, which has a rule; the sum of a value and a plain array, too.
    assert_eq!(SEEN.load(Ordering::Relaxed) - before, 3);
}

/// «two overrides TypeError».
#[test]
fn two_defaults_are_an_error() {
    let (x, y) = (
        Array::from_value(Tagged(vector(&[1.0]))),
        Array::from_value(Other(vector(&[2.0]))),
    );
    let e = quaxify(|x: &Array, y: &Array| x * y)(&x, &y).unwrap_err();
    let text = e.to_string();
    assert!(
        text.contains("Tagged") && text.contains("Other") && text.contains("mul"),
        "{text}"
    );
}

/// «betainc on plain arrays equals lax».
#[test]
fn betainc_on_plain_arrays() {
    let f = |x: &Array| x.betainc(1.5, 0.75);
    let x = vector(&[0.1, 0.5, 0.9]);
    close(&quaxify(f)(&x).unwrap(), &f(&x));
}

/// Section 3: a rule that gives the wrong shape, or too little, is accepted by Quax; here it is an error.
#[test]
fn what_a_rule_gives_is_checked() {
    let x = Array::from_value(Wrapped(vector(&[1.0, 2.0])));
    let f = quaxify(|x: &Array| x.sin()).rules(|r| {
        r.unary(op::SIN, |_, x: &Wrapped| x.0.sum(()));
    });
    let e = f(&x).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    assert!(e.message().contains("the rule for `sin`"), "{e}");
}

/// Section 3, 4: a tie is an error that lists the rules; a rule for exactly these types settles it.
#[test]
fn ambiguous_rules_are_listed() {
    let pair = |r: &mut Rules| {
        r.binary(op::ADD, |_, x: &Wrapped, y: &Any| &x.0 + &**y);
        r.binary(op::ADD, |_, x: &Any, y: &Wrapped| &**x + &y.0);
    };
    let x = Array::from_value(Wrapped(vector(&[1.0])));
    let f = |x: &Array, y: &Array| x + y;
    let e = quaxify(f).rules(pair)(&x, &x).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Ambiguous);
    assert_eq!(e.notes().len(), 3, "{e}");
    let settled = quaxify(f).rules(pair).rules(|r| {
        r.binary(op::ADD, |_, x: &Wrapped, y: &Wrapped| &x.0 + &y.0);
    });
    assert_eq!(number(&settled(&x, &x).unwrap()), 2.0);
}

/// Section 2: what comes out untouched is the same value; a nested `quaxify` takes up what a filter left.
#[test]
fn values_pass_and_filters_leave_them() {
    let x = metres(vector(&[1.0, 2.0]), 1);
    let same = quaxify(|x: &Array| x.clone())(&x).unwrap();
    assert_eq!(in_metres(&same).power, 1);
    let inner = quaxify(|x: &Array| x + x);
    let left = quaxify(move |x: &Array| inner(x)).filter(|_, _| false);
    close(&in_metres(&left(&x).unwrap()).x, &vector(&[2.0, 4.0]));
    let e = quaxify(|x: &Array| x + x).filter(|_, _| false)(&x).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotQuaxified);
}
