//! Functions that bring their own derivatives, on values that wrap arrays: they keep their rules, and give such values.

use quaxide::{
    prelude::*,
    rules::{
        Named, Unitful, axes_of, bounds, filled, in_unit, interval, mask_of, masked, named,
        quantity,
    },
};

fn x() -> Array {
    Array::from([[-1f64, 2.0, 0.5], [3.0, -0.25, 1.5]])
}

fn close(a: &Array, b: &Array) {
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    assert_eq!(a.len(), b.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
    assert!(a.iter().zip(&b).all(near), "{a:?} for {b:?}");
}

/// Three times the derivative of the square, so that it shows that the rule is used.
fn square() -> Call<'static, (Array,), Array> {
    custom_jvp(|x: &Array| x * x, |(x,), (t,)| (x * x, x * t * 6.0))
}

fn words(x: &Array) -> Vec<String> {
    let names = axes_of(x).unwrap();
    names
        .iter()
        .map(|n| n.as_deref().unwrap_or("_").to_string())
        .collect()
}

#[test]
fn names_pass_through() {
    let n = named(x(), ["row", "column"]).unwrap();
    for f in [
        nn::relu as fn(&Array) -> Array,
        nn::relu6,
        nn::silu,
        nn::softplus,
    ] {
        let y = quaxify(f)(&n).unwrap();
        assert_eq!(words(&y), ["row", "column"]);
        close(&y.value::<Named>().unwrap().array, &f(&x()));
        let y = jit(quaxify(jit(f)))(&n).unwrap();
        assert_eq!(words(&y), ["row", "column"]);
    }
    let f = square();
    let loss = |x: &Array| Ok::<_, Error>(f(x)?.sum(()));
    let g = grad(quaxify(loss))(&n).unwrap();
    assert_eq!(words(&g), ["row", "column"]);
    close(&g.value::<Named>().unwrap().array, &(x() * 6.0));
    let g = quaxify(grad(loss))(&n).unwrap();
    assert_eq!(words(&g), ["row", "column"]);
    close(&g.value::<Named>().unwrap().array, &(x() * 6.0));
    let (_, t) = jvp(quaxify(loss), (&n,), (&n,)).unwrap();
    close(&t, &(x() * x() * 6.0).sum(()));
}

#[test]
fn relu_at_zero_has_the_derivative_of_its_rule() {
    // The body's derivative at 0 is a half of both sides.
    let n = named(Array::from([0f64, 1.0]), ["a"]).unwrap();
    let g = grad(quaxify(|x: &Array| nn::relu(x).sum(())))(&n).unwrap();
    close(
        &g.value::<Named>().unwrap().array,
        &Array::from([0f64, 1.0]),
    );
    let m = masked([0f64, 1.0], [false, false]).unwrap();
    let loss = |x: &Array| filled(&quaxify(|x: &Array| nn::relu(x).sum(()))(x)?, 0.0);
    let g = grad(loss)(&m).unwrap();
    close(&filled(&g, 9.0).unwrap(), &Array::from([0f64, 1.0]));
    let q = quantity([0f64, 1.0], "m").unwrap();
    let loss = |x: &Array| in_unit(&quaxify(|x: &Array| nn::relu(x).sum(()))(x)?, "m");
    let g = grad(loss)(&q).unwrap();
    close(
        &g.value::<Unitful>().unwrap().array,
        &Array::from([0f64, 1.0]),
    );
}

#[test]
fn masks_pass_through() {
    let hidden = Array::from([[true, false, false], [false, false, true]]);
    let m = masked(x(), hidden.clone()).unwrap();
    let f = square();
    let y = quaxify(|x: &Array| f(x))(&m).unwrap();
    assert_eq!(
        mask_of(&y).unwrap().to_vec::<bool>().unwrap(),
        hidden.to_vec::<bool>().unwrap()
    );
    close(&filled(&y, 0.0).unwrap(), &hidden.select(0.0, x() * x()));
    let loss = |x: &Array| filled(&quaxify(|x: &Array| Ok::<_, Error>(f(x)?.sum(())))(x)?, 0.0);
    let g = grad(loss)(&m).unwrap();
    let g = g.value::<quaxide::rules::Masked>().unwrap();
    close(&g.data, &hidden.select(0.0, x() * 6.0));
    // By examples of a batch, either way round.
    let one = vmap(quaxify(|x: &Array| f(x)))(&m).unwrap();
    let other = quaxify(vmap(|x: &Array| f(x)))(&m).unwrap();
    close(&filled(&one, 0.0).unwrap(), &filled(&y, 0.0).unwrap());
    close(&filled(&other, 0.0).unwrap(), &filled(&y, 0.0).unwrap());
}

#[test]
fn units_pass_through() {
    let q = quantity(x(), "m").unwrap();
    let f = square();
    let y = quaxify(|x: &Array| f(x))(&q).unwrap();
    close(&in_unit(&y, "m^2").unwrap(), &(x() * x()));
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>(f(x)?.sum(())))(x)?,
            "m^2",
        )
    };
    let g = grad(loss)(&q).unwrap();
    close(&g.value::<Unitful>().unwrap().array, &(x() * 6.0));
    // A rule that is about numbers alone: then the derivative is that of what the function does.
    let odd = custom_jvp(|x: &Array| x * x, |(x,), (t,)| (x * x, x.exp() * t));
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>(odd(x)?.sum(())))(x)?,
            "m^2",
        )
    };
    let g = grad(loss)(&q).unwrap();
    close(&g.value::<Unitful>().unwrap().array, &(x() * 2.0));
}

/// The tangents of two bounds are no interval: their derivative is that of what the rules compute.
#[test]
fn bounds_are_differentiated_as_they_are_computed() {
    let i = interval(&x() - 0.125, &x() + 0.125).unwrap();
    let y = quaxify(nn::relu)(&i).unwrap();
    let (l, u) = bounds(&y).unwrap();
    close(&l, &nn::relu(&(x() - 0.125)));
    close(&u, &nn::relu(&(x() + 0.125)));
    let width = |i: &Array| {
        let (l, u) = bounds(&quaxify(|x: &Array| nn::relu(x).sum(()))(i)?)?;
        (u - l).ok().cloned()
    };
    let g = grad(width)(&i).unwrap();
    let g = g.value::<quaxide::rules::Interval>().unwrap();
    close(&g.upper, &(x() + 0.125).gt(0.0).astype(DType::F64));
}

/// Names over masks, masks over units: the tangent of each is one of its kind.
#[test]
fn values_within_values_keep_the_rule() {
    let hidden = Array::from([[true, false, false], [false, false, true]]);
    let q = quantity(x(), "m").unwrap();
    let n = named(q, ["row", "column"]).unwrap();
    let m = masked(n, hidden.clone()).unwrap();
    let f = square();
    let loss = |x: &Array| {
        let y = quaxify(|x: &Array| Ok::<_, Error>(f(x)?.sum(())))(x)?;
        in_unit(&filled(&y, 0.0)?, "m^2")
    };
    let g = grad(loss)(&m).unwrap();
    let leaves = tree::leaves(&g);
    close(&leaves[0], &hidden.select(0.0, x() * 6.0));
}
