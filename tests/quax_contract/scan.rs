//! `scan`.

use super::support::*;
use quaxide::prelude::*;

/// Sums of distances, each times a constant that the step closes over.
fn travel(start: &Array, steps: &Array, scale: &Array) -> Result<(Array, Array)> {
    let step = |at: &Array, x: &Array| {
        let next = at + x * scale;
        (next.clone(), next)
    };
    scan(step, start, steps)
}

fn inputs() -> (Array, Array, Array) {
    let steps = Array::from([[1f64], [2.0], [3.0]]);
    (
        metres(vector(&[10.0]), 1),
        metres(steps, 1),
        Array::scalar(2f64),
    )
}

#[track_caller]
fn travelled(result: (Array, Array)) {
    let (last, all) = result;
    assert_eq!(in_metres(&last).power, 1);
    close(&in_metres(&last).x, &vector(&[22.0]));
    close(&in_metres(&all).x, &Array::from([[12f64], [16.0], [22.0]]));
}

/// «carry/ys values and units with closed-over const, jit».
#[test]
fn carries_and_results_are_values() {
    let (start, steps, scale) = inputs();
    travelled(quaxify(travel)(&start, &steps, &scale).unwrap());
    travelled(jit(quaxify(travel))(&start, &steps, &scale).unwrap());
    travelled(quaxify(jit(travel))(&start, &steps, &scale).unwrap());
}

/// «unit mismatch raises».
#[test]
fn units_that_do_not_agree() {
    let (start, steps, scale) = inputs();
    let square = metres(in_metres(&steps).x.clone(), 2);
    let e = quaxify(travel)(&start, &square, &scale).unwrap_err();
    assert!(e.message().contains("cannot add m^1 and m^2"), "{e}");
}

/// «vmap».
#[test]
fn batches() {
    let (start, steps, _) = inputs();
    let scales = vector(&[2.0, 1.0]);
    let f = vmap(quaxify(travel)).in_axes((None, None, 0));
    let (last, all) = f(&start, &steps, &scales).unwrap();
    close(&in_metres(&last).x, &Array::from([[22f64], [16.0]]));
    assert_eq!(in_metres(&all).x.shape(), [2, 3, 1]);
}

/// «two-leaf Value».
#[test]
fn a_value_of_two_leaves() {
    let pair = |a: &[f64], b: &[f64]| Array::from_value(Pair(vector(a), vector(b)));
    let step = |c: &Array, x: &Array| (c + c, x * 2.0);
    let f = |c: &Array, xs: &Array| scan(step, c, xs);
    let (c, ys) = quaxify(f)(&pair(&[1.0], &[0.5]), &vector(&[1.0, 2.0])).unwrap();
    let c = c.value::<Pair>().unwrap();
    assert_eq!((number(&c.0), number(&c.1)), (4.0, 2.0));
    close(&ys, &vector(&[2.0, 4.0]));
}

/// «length 0».
#[test]
fn nothing_to_scan() {
    let (start, _, scale) = inputs();
    let none = metres(Array::zeros([0, 1], DType::F64), 1);
    let (last, all) = quaxify(travel)(&start, &none, &scale).unwrap();
    close(&in_metres(&last).x, &vector(&[10.0]));
    assert_eq!(in_metres(&all).x.shape(), [0, 1]);
}

/// «jvp».
#[test]
fn derivatives() {
    let (start, steps, scale) = inputs();
    let along =
        |scale: &Array| quaxify(travel)(&start, &steps, scale).map(|p| in_metres(&p.0).x.sum(()));
    let (_, t) = jvp(along, (&scale,), (&Array::scalar(1f64),)).unwrap();
    assert_eq!(number(&t), 6.0);
    assert_eq!(number(&grad(along)(&scale).unwrap()), 6.0);
}
