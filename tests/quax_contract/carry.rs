//! What a carry may become.

use super::support::*;
use quaxide::prelude::*;

/// «squaring units raises in while, fori, scan».
#[test]
fn a_carry_whose_unit_changes() {
    let x = metres(Array::scalar(2f64), 1);
    let by_scan = |x: &Array| {
        let steps = quaxide::transform::ScanOptions::new().length(3);
        scan_with(steps, |x: &Array, _: &()| (x * x, ()), x, &()).map(|p| p.0)
    };
    let by_fori = |x: &Array| fori_loop(0, 3, |_, x: &Array| x * x, x);
    let by_while = |x: &Array| {
        let body = |(i, x): &(Array, Array)| (i + 1, x * x);
        while_loop(
            |(i, _): &(Array, Array)| i.lt(3),
            body,
            &(Array::scalar(0i32), x.clone()),
        )
        .map(|p| p.1)
    };
    for e in [
        quaxify(by_scan)(&x).unwrap_err(),
        quaxify(by_fori)(&x).unwrap_err(),
        quaxify(by_while)(&x).unwrap_err(),
    ] {
        let text = e.to_string();
        assert!(
            text.contains("must keep its type") && text.contains("Metres"),
            "{text}"
        );
        assert!(
            text.contains("static fields or components of the two differ"),
            "{text}"
        );
    }
}

/// «doubling runs».
#[test]
fn a_carry_that_keeps_its_unit() {
    let double = |x: &Array| fori_loop(0, 3, |_, x: &Array| x + x, x);
    let y = quaxify(double)(&metres(Array::scalar(2f64), 1)).unwrap();
    assert_eq!(number(&in_metres(&y).x), 16.0);
}

/// «a materialised carry comes back plain and correct in scan and while»; in Quax only if the value has one leaf.
#[test]
fn a_carry_that_becomes_plain() {
    let x = Array::from_value(Pair(vector(&[0.25]), vector(&[0.5])));
    let wanted = vector(&[0.75]).sin().sin();
    let by_scan = |x: &Array| fori_loop(0, 2, |_, x: &Array| x.sin(), x);
    let by_while = |x: &Array| {
        let body = |(i, x): &(Array, Array)| (i + 1, x.sin());
        while_loop(
            |(i, _): &(Array, Array)| i.lt(2),
            body,
            &(Array::scalar(0i32), x.clone()),
        )
        .map(|p| p.1)
    };
    for y in [
        quaxify(by_scan)(&x).unwrap(),
        quaxify(by_while)(&x).unwrap(),
    ] {
        assert!(y.value::<Pair>().is_none());
        close(&y, &wanted);
    }
}

/// «LoRA through while_loop unchanged, as counter carry and alone»; and where it materialises, which is an internal error in Quax.
#[test]
fn an_adapted_weight_is_carried() {
    let part = |shape: [usize; 2]| Array::ones(shape, DType::F64);
    let mut value = LoraArray::from_parts(part([2, 3]), part([2, 1]), part([1, 3])).unwrap();
    let w = Array::from_value(value.clone());
    let counted = |w: &Array| {
        let body = |(i, w): &(Array, Array)| (i + 1, w.clone());
        while_loop(
            |(i, _): &(Array, Array)| i.lt(3),
            body,
            &(Array::scalar(0i32), w.clone()),
        )
        .map(|p| p.1)
    };
    let y = quaxify(counted)(&w).unwrap();
    close(&y.value::<LoraArray>().unwrap().a, &part([2, 1]));
    let alone = |w: &Array| while_loop(|_: &Array| Array::from(false), |w: &Array| w.clone(), w);
    let y = quaxify(alone)(&w).unwrap();
    close(&y.value::<LoraArray>().unwrap().b, &part([1, 3]));
    value.allow_materialise = true;
    let w = Array::from_value(value);
    let y = quaxify(|w: &Array| fori_loop(0, 2, |_, w: &Array| w * 2.0, w))(&w).unwrap();
    let y = y
        .value::<LoraArray>()
        .map_or(y.clone(), |l| l.materialise().unwrap());
    close(&y, &(part([2, 3]) * 8.0));
}
