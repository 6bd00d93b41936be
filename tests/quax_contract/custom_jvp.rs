//! Functions with a forward derivative of their own. Quax passes tangents as values of tangent leaves, which is wrong for LoRA; here
//! a rule is about the array that a value equals.

use super::support::*;
use quaxide::prelude::*;

fn tripled() -> Call<'static, (Array,), Array> {
    // The rule says another slope than the function has, so that it shows.
    custom_jvp(|x: &Array| x.sin(), |(x,), (t,)| (x.sin(), t * 3.0))
}

fn pair() -> Array {
    Array::from_value(Pair(vector(&[1.0, 2.0]), vector(&[0.5, 0.25])))
}

/// «forward 1 and 2 args».
#[test]
fn forward() {
    let f = tripled();
    close(
        &quaxify(move |x: &Array| f(x))(&pair()).unwrap(),
        &vector(&[1.5, 2.25]).sin(),
    );
    let two = custom_jvp(
        |x: &Array, y: &Array| x * y,
        |(x, y), (s, t)| (x * y, s * y + x * t),
    );
    let y = quaxify(move |x: &Array, y: &Array| two(x, y))(&pair(), &vector(&[2.0, 3.0])).unwrap();
    let product = y
        .value::<Pair>()
        .map_or(y.clone(), |p| p.materialise().unwrap());
    close(&product, &vector(&[3.0, 6.75]));
}

/// «jvp, grad, both argnums, mixed plain operand»: derivatives by the components, through the definition.
#[test]
fn derivatives_use_the_rule() {
    let f = tripled();
    let loss = quaxify(move |x: &Array, y: &Array| Ok((f(x)? * y).sum(())));
    let y = vector(&[1.0, 10.0]);
    let g = grad(loss.clone())(&pair(), &y).unwrap();
    let g = g.value::<Pair>().unwrap();
    for component in [&g.0, &g.1] {
        close(component, &vector(&[3.0, 30.0]));
    }
    let (_, dy) = jvp(loss.clone(), (&pair(), &y), (&pair(), &vector(&[0.0, 0.0]))).unwrap();
    assert_eq!(number(&dy), 3.0 * 1.5 + 30.0 * 2.25);
    let swapped = move |y: &Array, x: &Array| loss(x, y);
    close(
        &grad(swapped)(&y, &pair()).unwrap(),
        &vector(&[1.5, 2.25]).sin(),
    );
}

/// «symbolic zeros in», of arguments that have no derivative.
#[test]
fn integers_have_symbolic_zeros_for_tangents() {
    let f = custom_jvp(
        |x: &Array, n: &Array| x * n,
        |(x, n), (t, none)| {
            assert!(none.is_symbolic_zero() && !t.is_symbolic_zero());
            (x * n, t * n)
        },
    );
    let n = Array::from([2i32, 3]);
    let along = quaxify(move |x: &Array| f(x, &n));
    let x = Array::from_value(Wrapped(vector(&[1.0, 1.0])));
    let (_, t) = jvp(along, (&x,), (&x,)).unwrap();
    close(&t, &vector(&[2.0, 3.0]));
}

/// «vmap».
#[test]
fn batches() {
    let (a, b) = (
        Array::from([[1.0, 2.0], [3.0, 4.0]]),
        Array::from([[0.5, 0.0], [0.0, 0.5]]),
    );
    let x = Array::from_value(Pair(a.astype(DType::F64), b.astype(DType::F64)));
    let wanted = (a + b).astype(DType::F64).sin();
    let f = tripled();
    close(&vmap(quaxify(move |x: &Array| f(x)))(&x).unwrap(), &wanted);
    let f = tripled();
    close(&quaxify(vmap(move |x: &Array| f(x)))(&x).unwrap(), &wanted);
}

/// «an aborted trace leaves no damage».
#[test]
fn a_failure_leaves_nothing_behind() {
    let fails = custom_jvp(
        |_: &Array| -> Result<Array> { Err(Error::argument("no")) },
        |(x,), (t,): &(Array,)| (x.clone(), t.clone()),
    );
    let e = quaxify(move |x: &Array| fails(x))(&pair()).unwrap_err();
    assert_eq!(e.message(), "no");
    let f = tripled();
    close(
        &quaxify(move |x: &Array| f(x))(&pair()).unwrap(),
        &vector(&[1.5, 2.25]).sin(),
    );
}

/// Section 4, hole: `jvp(quaxify(relu))` of a LoRA value gives wrong numbers in Quax, `grad` crashes.
#[test]
fn relu_of_an_adapted_weight_has_the_right_derivative() {
    let (w, a, b) = (
        Array::from([[1.0, -2.0], [0.5, 3.0]]),
        Array::from([[1.0], [0.5]]),
        Array::from([[-1.0, 2.0]]),
    );
    let [w, a, b] = [w, a, b].map(|x| x.astype(DType::F64));
    let mut value = LoraArray::from_parts(w.clone(), a.clone(), b.clone()).unwrap();
    (value.allow_materialise, value.stop_gradient) = (true, false);
    let relu = custom_jvp(
        |x: &Array| x.maximum(0.0),
        |(x,), (t,)| (x.maximum(0.0), x.gt(0.0).select(t, Array::zeros_like(x))),
    );
    let f = relu.clone();
    let loss = quaxify(move |w: &Array| Ok(f(w)?.square().sum(())));
    let g = grad(loss)(&Array::from_value(value)).unwrap();
    let g = g.value::<LoraArray>().unwrap();
    let dense = |(w, a, b): &(Array, Array, Array)| Ok(relu(&(w + a.matmul(b)))?.square().sum(()));
    let (dw, da, db) = grad(dense)(&(w, a, b)).unwrap();
    close(&g.w, &dw);
    close(&g.a, &da);
    close(&g.b, &db);
}

/// Section 4: `custom_vjp`, `checkpoint` and linear solves with values, which Quax refuses or materialises.
#[test]
fn custom_vjp_and_checkpoint_work_with_values() {
    let f = custom_vjp(
        |x: &Array| x.sin(),
        |x: &Array| (x.sin(), ()),
        |(), ct: &Array| (ct * 3.0,),
    );
    let g = grad(quaxify(move |x: &Array| Ok(f(x)?.sum(()))))(&pair()).unwrap();
    close(&g.value::<Pair>().unwrap().1, &vector(&[3.0, 3.0]));
    let g = grad(quaxify(|x: &Array| {
        Ok(checkpoint(|x: &Array| x.sin())(x)?.sum(()))
    }))(&pair())
    .unwrap();
    close(&g.value::<Pair>().unwrap().0, &vector(&[1.5, 2.25]).cos());
}
