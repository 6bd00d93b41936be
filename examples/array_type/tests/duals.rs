//! Dual numbers in use: every primitive by the default, other types beside them, and transformations.

use array_type::{Dual, dual};
use quaxide::{prelude::*, rules::quantity};

fn x() -> Array {
    Array::from([[0.5f64, -1.0, 2.0], [1.5, 0.25, -0.5]])
}

/// A program with no thought of derivatives, of primitives that have no rule.
fn program(x: &Array) -> Array {
    nn::softmax(x, -1).dot(&x.t()).tanh().sum(())
}

fn apart(y: &Array) -> Vec<Array> {
    assert!(y.value::<Dual>().is_some());
    tree::leaves(y)
}

#[test]
fn the_default_takes_what_has_no_rule() {
    let t = Array::ones([2, 3], DType::F64);
    let y = quaxify(program)(&dual(x(), t.clone())).unwrap();
    let (value, slope) = jvp(program, (&x(),), (&t,)).unwrap();
    let number = |x: &Array| x.item::<f64>().unwrap();
    assert!((number(&apart(&y)[0]) - number(&value)).abs() < 1e-12);
    assert!((number(&apart(&y)[1]) - number(&slope)).abs() < 1e-12);
    let coverage = Rules::coverage::<Dual>();
    assert_eq!(coverage.with_rules(), ["add", "mul", "sin"]);
    assert!(coverage.materialising().is_empty());
}

#[test]
fn transformations_compose() {
    let d = dual(x(), Array::ones([2, 3], DType::F64));
    let each = |x: &Array| (x * x).sin().sum(());
    let one = vmap(quaxify(each))(&d).unwrap();
    let other = quaxify(vmap(each))(&d).unwrap();
    let jitted = jit(quaxify(vmap(each)))(&d).unwrap();
    for y in [&other, &jitted] {
        let pairs = apart(&one).into_iter().zip(apart(y));
        for (a, b) in pairs {
            let (a, b) = (a.to_vec::<f64>().unwrap(), b.to_vec::<f64>().unwrap());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
    // A derivative of the tangent is a second derivative.
    let slope = |p: &Array| {
        let y = quaxify(|x: &Array| x.sin())(&dual(p.clone(), Array::scalar(1f64)))?;
        Ok::<_, Error>(apart(&y)[1].clone())
    };
    let second = grad(slope)(&Array::scalar(0.3f64)).unwrap();
    assert!((second.item::<f64>().unwrap() + 0.3f64.sin()).abs() < 1e-12);
}

#[test]
fn what_fits_nothing_is_an_error_with_the_users_line() {
    let d = dual(x(), Array::ones([2, 3], DType::F64));
    let e = quaxify(|x: &Array| x.dot(x))(&d).unwrap_err();
    assert!(
        e.location()
            .is_some_and(|at| at.file().ends_with("duals.rs")),
        "{e}"
    );
    // A rule and a type with units are strangers: the one that has a rule for whatever stands beside it speaks.
    let q = quantity(x(), "m").unwrap();
    let e = quaxify(|x: &Array, q: &Array| x + q)(&d, &q).unwrap_err();
    assert!(
        e.to_string().contains("Dual") && e.to_string().contains("Unitful"),
        "{e}"
    );
}
