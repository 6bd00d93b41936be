//! Functions that bring their own derivatives, on values that wrap arrays: they keep their rules, and give such values.

use quaxide::{
    prelude::*,
    rules::{
        Format, Masked, Named, Quantised, Unitful, axes_of, bounds, filled, in_unit, interval,
        mask_of, masked, named, quantity,
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
    // A rule that is about numbers alone: the function has no derivative, and the error says why.
    let odd = custom_jvp(|x: &Array| x * x, |(x,), (t,)| (x * x, x.exp() * t));
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>(odd(x)?.sum(())))(x)?,
            "m^2",
        )
    };
    close(&loss(&q).unwrap(), &(x() * x()).sum(()));
    let e = grad(loss)(&q).unwrap_err().to_string();
    assert!(e.contains("says nothing of these operands"), "{e}");
    assert!(
        e.contains("`exp` takes numbers, not quantities in m"),
        "{e}"
    );
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

/// Three times the derivative of the square, backwards.
fn back_square() -> Call<'static, (Array,), Array> {
    custom_vjp(
        |x: &Array| x * x,
        |x: &Array| (x * x, x.clone()),
        |x: &Array, ct: &Array| (x * ct * 6.0,),
    )
}

/// The identity, whose cotangents are clipped.
fn clipped() -> Call<'static, (Array,), Array> {
    custom_vjp(
        |x: &Array| x.clone(),
        |x: &Array| (x.clone(), ()),
        |_: &(), ct: &Array| (ct.clip(-1.0, 1.0),),
    )
}

#[test]
fn reverse_rules_keep_names() {
    let n = named(x(), ["row", "column"]).unwrap();
    let f = back_square();
    let y = quaxify(|x: &Array| f(x))(&n).unwrap();
    assert_eq!(words(&y), ["row", "column"]);
    let loss = |x: &Array| Ok::<_, Error>(f(x)?.sum(()));
    for g in [
        grad(quaxify(loss))(&n).unwrap(),
        quaxify(grad(loss))(&n).unwrap(),
        jit(grad(quaxify(jit(loss))))(&n).unwrap(),
    ] {
        assert_eq!(words(&g), ["row", "column"]);
        close(&g.value::<Named>().unwrap().array, &(x() * 6.0));
    }
    // A cotangent without names is one by positions.
    let ones = custom_vjp(
        |x: &Array| x.sin(),
        |x: &Array| (x.sin(), ()),
        |_: &(), ct: &Array| (Array::full(ct.shape(), 7.0, DType::F64),),
    );
    let g = grad(quaxify(|x: &Array| Ok::<_, Error>(ones(x)?.sum(()))))(&n).unwrap();
    close(
        &g.value::<Named>().unwrap().array,
        &Array::full([2, 3], 7.0, DType::F64),
    );
    // Of two operands, one plain.
    let product = custom_vjp(
        |w: &Array, x: &Array| x.dot(w),
        |w: &Array, x: &Array| (x.dot(w), (w.clone(), x.clone())),
        |(w, x): &(Array, Array), ct: &Array| (x.t().dot(ct) * 2.0, ct.expand_dims(1) * w * 3.0),
    );
    let w = Array::from([1f64, -2.0, 0.5]);
    let loss = |(w, x): &(Array, Array)| Ok::<_, Error>(product(w, x)?.sum(()));
    let (of_w, of_x) = grad(quaxify(loss))(&(w.clone(), n.clone())).unwrap();
    close(&of_w, &(x().sum(0) * 2.0));
    assert_eq!(words(&of_x), ["row", "column"]);
    close(
        &of_x.value::<Named>().unwrap().array,
        &(w.broadcast_to([2, 3]) * 3.0),
    );
}

#[test]
fn reverse_rules_keep_masks() {
    let hidden = Array::from([[true, false, false], [false, false, true]]);
    let m = masked(x(), hidden.clone()).unwrap();
    let f = back_square();
    let y = quaxify(|x: &Array| f(x))(&m).unwrap();
    assert_eq!(
        mask_of(&y).unwrap().to_vec::<bool>().unwrap(),
        hidden.to_vec::<bool>().unwrap()
    );
    let loss = |x: &Array| filled(&quaxify(|x: &Array| Ok::<_, Error>(f(x)?.sum(())))(x)?, 0.0);
    let g = grad(loss)(&m).unwrap();
    close(
        &g.value::<Masked>().unwrap().data,
        &hidden.select(0.0, x() * 6.0),
    );
    // Weights beside masked data: what is hidden moves nothing.
    let scale = custom_vjp(
        |w: &Array, x: &Array| w * x,
        |w: &Array, x: &Array| (w * x, (w.clone(), x.clone())),
        |(w, x): &(Array, Array), ct: &Array| (x * ct * 2.0, w * ct),
    );
    let w = Array::full([2, 3], 3.0, DType::F64);
    let loss = |w: &Array, x: &Array| {
        filled(
            &quaxify(|w: &Array, x: &Array| Ok::<_, Error>(scale(w, x)?.sum(())))(w, x)?,
            0.0,
        )
    };
    let g = grad(loss)(&w, &m).unwrap();
    close(&g, &hidden.select(0.0, x() * 2.0));
}

#[test]
fn reverse_rules_keep_units() {
    let q = quantity(x(), "m").unwrap();
    let f = back_square();
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>(f(x)?.sum(())))(x)?,
            "m^2",
        )
    };
    let g = grad(loss)(&q).unwrap();
    close(&g.value::<Unitful>().unwrap().array, &(x() * 6.0));
    // Another unit of the same dimension in the rule.
    let rate = custom_vjp(
        |x: &Array, t: &Array| x / t,
        |x: &Array, t: &Array| (x / t, (x.clone(), t.clone())),
        |(x, t): &(Array, Array), ct: &Array| (ct / t, -x * ct / t.square()),
    );
    let t = quantity(Array::full([2, 3], 2.0, DType::F64), "min").unwrap();
    let loss = |x: &Array, t: &Array| {
        in_unit(
            &quaxify(|x: &Array, t: &Array| Ok::<_, Error>(rate(x, t)?.sum(())))(x, t)?,
            "m s^-1",
        )
    };
    let g = grad(loss)(&q, &t).unwrap();
    close(
        &g.value::<Unitful>().unwrap().array,
        &Array::full([2, 3], 1.0 / 120.0, DType::F64),
    );
    // Clipped as numbers are.
    let f = clipped();
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>((f(x)? * 5.0).sum(())))(x)?,
            "m",
        )
    };
    let g = grad(loss)(&q).unwrap();
    close(
        &g.value::<Unitful>().unwrap().array,
        &Array::ones([2, 3], DType::F64),
    );
    // A rule that no reading of units fits.
    let odd = custom_vjp(
        |x: &Array| x * x,
        |x: &Array| (x * x, x.clone()),
        |x: &Array, ct: &Array| (x.exp() * ct,),
    );
    let loss = |x: &Array| {
        in_unit(
            &quaxify(|x: &Array| Ok::<_, Error>(odd(x)?.sum(())))(x)?,
            "m^2",
        )
    };
    close(&loss(&q).unwrap(), &(x() * x()).sum(()));
    let e = grad(loss)(&q).unwrap_err().to_string();
    assert!(e.contains("says nothing of these operands"), "{e}");
}

/// What equals an array has the derivative of that array: the rule's, pulled back to the components.
#[test]
fn reverse_rules_reach_components() {
    let [k1, k2] = random::key(0).split();
    let w = random::normal(&k1, ([4, 3], DType::F64));
    let quantised = Array::from_value(Quantised::new(&w.astype(DType::F32), Format::Int8).unwrap());
    let lora = LoraArray::from_parts(
        w.clone(),
        random::normal(&k2, ([4, 1], DType::F64)),
        Array::full([1, 3], 0.5, DType::F64),
    )
    .unwrap();
    let lora = LoraArray {
        allow_materialise: true,
        ..lora
    };
    let f = back_square();
    let loss = |x: &Array| Ok::<_, Error>(f(x)?.sum(()));
    let value = Array::from_value(lora.clone());
    let g = grad(quaxify(loss))(&value).unwrap();
    let g = g.value::<LoraArray>().unwrap();
    let ct = value.materialise().unwrap() * 6.0;
    close(&g.a, &ct.dot(&lora.b.t()));
    close(&g.b, &lora.a.t().dot(&ct));
    let g = quaxify(grad(loss))(&value).unwrap();
    close(&g, &ct);
    let g = grad(quaxify(loss))(&quantised).unwrap();
    let scales = tree::leaves(&g)
        .into_iter()
        .find(|x| x.dtype().is_ok_and(|d| d.is_inexact()));
    let plain = |x: &Array| Ok::<_, Error>((x.materialise()?.square() * 3.0).sum(()));
    let want = grad(plain)(&quantised).unwrap();
    let wanted = tree::leaves(&want)
        .into_iter()
        .find(|x| x.dtype().is_ok_and(|d| d.is_inexact()));
    assert!(
        scales
            .unwrap()
            .allclose(wanted.unwrap(), 1e-4, 1e-4, false)
            .item::<bool>()
            .unwrap()
    );
    // Names over a low-rank update: both.
    let n = named(value, ["row", "column"]).unwrap();
    let g = grad(quaxify(loss))(&n).unwrap();
    let inner = g.value::<Named>().unwrap().array.clone();
    close(&inner.value::<LoraArray>().unwrap().a, &ct.dot(&lora.b.t()));
}

/// By examples of a batch, either way round.
#[test]
fn reverse_rules_in_batches() {
    let n = named(x(), ["row", "column"]).unwrap();
    let f = back_square();
    let loss = |x: &Array| Ok::<_, Error>(f(x)?.sum(()));
    let one = vmap(grad(quaxify(loss)))(&n).unwrap();
    let other = quaxify(vmap(grad(loss)))(&n).unwrap();
    for g in [one, other] {
        close(&g.value::<Named>().unwrap().array, &(x() * 6.0));
    }
}
