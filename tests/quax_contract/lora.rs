//! LoRA, as Quax's tests of it say.

use super::support::*;
use quaxide::{ErrorKind, op::DotGeneral, prelude::*};

fn normal(seed: u64, shape: &[usize]) -> Array {
    random::normal(&random::key(seed), (shape, DType::F64))
}

/// With a factor `b` that is not zero.
fn adapted(seed: u64, shape: &[usize]) -> LoraArray {
    let (lead, own) = shape.split_at(shape.len() - 2);
    let part = |i: u64, n, m| normal(seed + i, &[lead, &[n, m]].concat());
    let [n, m] = [own[0], own[1]];
    LoraArray::from_parts(part(0, n, m), part(1, n, 2), part(2, 2, m)).unwrap()
}

fn merged(w: &LoraArray) -> Array {
    ArrayValue::materialise(w).unwrap()
}

/// «Linear runs plain and jitted · MLP(2,2,64,3) loraified, same».
#[test]
fn networks_run() {
    let key = random::key(0);
    let layer = nn::Linear::new(10, 12, &key);
    let x = Array::ones([10], DType::F32);
    let wrapped = loraify(&layer, LoraConfig::rank(2), &key).unwrap();
    let wanted = layer.call(&x);
    for y in [
        quaxify(nn::Linear::call)(&wrapped, &x),
        jit(quaxify(nn::Linear::call))(&wrapped, &x),
        quaxify(jit(nn::Linear::call))(&wrapped, &x),
    ] {
        close(&y.unwrap(), &wanted);
    }
    let mlp = nn::Mlp::new(2, 2, 64, 3, &key);
    let wrapped = loraify(&mlp, LoraConfig::rank(2), &key).unwrap();
    let x = Array::ones([2], DType::F32);
    for y in [
        quaxify(nn::Mlp::call)(&wrapped, &x),
        jit(quaxify(nn::Mlp::call))(&wrapped, &x),
    ] {
        close(&y.unwrap(), &mlp.call(&x));
    }
}

/// «5-d × 7-d dot_general, both sides, shape equals the dense one's (values are not checked anywhere)»: here they are.
#[test]
fn products_of_many_axes() {
    let w = adapted(1, &[2, 3, 4, 5, 6]);
    let other = normal(9, &[3, 6, 2, 1, 2, 2, 4]);
    let left = DotGeneral::new(([4], [1]), ([1, 2], [0, 6]));
    let right = DotGeneral::new(([1], [4]), ([0, 6], [1, 2]));
    let dense = merged(&w);
    let value = Array::from_value(w);
    let f = |a: &Array, b: &Array| a.dot_general(b, left.clone());
    close(&quaxify(f)(&value, &other).unwrap(), &f(&dense, &other));
    let f = |a: &Array, b: &Array| b.dot_general(a, right.clone());
    close(&quaxify(f)(&value, &other).unwrap(), &f(&dense, &other));
}

/// «jit(grad(quaxify)): stop_gradient → w grad 0, a grad 0, b and bias not; without → w not 0».
#[test]
fn what_is_trained() {
    let key = random::key(1);
    let layer = nn::Linear::new(3, 2, &key);
    let x = Array::ones([3], DType::F32);
    let loss = |l: &nn::Linear, x: &Array| l.call(x).square().sum(());
    for stop in [true, false] {
        let wrapped = loraify(&layer, LoraConfig::rank(1).stop_gradient(stop), &key).unwrap();
        let g = jit(grad(quaxify(loss)))(&wrapped, &x).unwrap();
        let zero =
            |x: &Array| x.is_symbolic_zero() || x.to_f64_vec().unwrap().iter().all(|x| *x == 0.0);
        let weight = g.weight.value::<LoraArray>().unwrap();
        assert_eq!(zero(&weight.w), stop);
        assert!(zero(&weight.a), "`b` is zero at first");
        assert!(!zero(&weight.b) && !zero(g.bias.as_ref().unwrap()));
        assert_eq!(weight.w.is_symbolic_zero(), stop);
    }
}

/// «jit∘quaxify∘grad and quaxify∘jit∘grad run, twice»: inside, the value is one array, and so is its gradient.
#[test]
fn the_gradient_inside_is_that_of_one_array() {
    let w = adapted(3, &[2, 3]);
    let x = normal(7, &[3]);
    let loss = |w: &Array, x: &Array| w.dot(x).square().sum(());
    let wanted = grad(loss)(&merged(&w), &x).unwrap();
    let value = Array::from_value(w);
    let (one, two) = (jit(quaxify(grad(loss))), quaxify(jit(grad(loss))));
    for _ in 0..2 {
        close(&one(&value, &x).unwrap(), &wanted);
        close(&two(&value, &x).unwrap(), &wanted);
    }
}

/// «relu materialises or raises "Refusing to materialise"».
#[test]
fn what_needs_the_sum() {
    let mut w = adapted(5, &[2, 3]);
    let f = quaxify(|w: &Array| w.maximum(0.0));
    let e = f(&Array::from_value(w.clone())).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused);
    assert!(
        e.message()
            .starts_with("refusing to materialise lora[f64[2,3], rank=2]"),
        "{e}"
    );
    w.allow_materialise = true;
    close(
        &f(&Array::from_value(w.clone())).unwrap(),
        &merged(&w).maximum(0.0),
    );
}

/// «while cache separates stop_gradient True/False (tangent 0 against not 0)».
#[test]
fn caches_tell_frozen_weights_apart() {
    let looped = |w: &Array, x: &Array| fori_loop(0, 2, |_, y: &Array| w.dot(y), x);
    let f = jit(quaxify(looped));
    for stop in [true, false, true] {
        let mut w = adapted(8, &[3, 3]);
        w.stop_gradient = stop;
        let mut t = w.clone();
        t.a = Array::zeros_like(&t.a);
        t.b = Array::zeros_like(&t.b);
        let x = normal(2, &[3]);
        let along = |w: &Array| f(w, &x);
        let (_, dy) = jvp(along, (&Array::from_value(w),), (&Array::from_value(t),)).unwrap();
        let zero = dy.is_symbolic_zero() || dy.to_f64_vec().unwrap().iter().all(|x| *x == 0.0);
        assert_eq!(zero, stop);
    }
}

/// Section 6, holes: products of two adapted matrices, a batch axis on some components, values within values, on either side.
#[test]
fn what_quax_s_rules_leave_out() {
    let (v, w) = (adapted(1, &[3, 4]), adapted(11, &[4, 2]));
    let both = quaxify(|v: &Array, w: &Array| v.dot(w))(
        &Array::from_value(v.clone()),
        &Array::from_value(w.clone()),
    );
    close(&both.unwrap(), &merged(&v).dot(&merged(&w)));
    let mut outer = w.clone();
    outer.w = Array::from_value(adapted(21, &[4, 2]));
    let dense = merged(&adapted(21, &[4, 2])) + outer.a.dot(&outer.b);
    let x = normal(4, &[4]);
    let value = Array::from_value(outer);
    close(
        &quaxify(|w: &Array, x: &Array| x.dot(w))(&value, &x).unwrap(),
        &x.dot(&dense),
    );
    close(
        &quaxify(|w: &Array, x: &Array| w.t().dot(x))(&value, &x).unwrap(),
        &dense.t().dot(&x),
    );
    // One base for many adapters.
    let many = (normal(1, &[5, 3, 2]), normal(2, &[5, 2, 4]));
    let y = vmap(|a: &Array, b: &Array| {
        let w = LoraArray::from_parts(v.w.clone(), a.clone(), b.clone())?;
        quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(w), &x)
    })(&many.0, &many.1);
    assert_eq!(y.unwrap().shape(), [5, 3]);
}

/// Section 6: «loraify does not call quaxify: calling the result directly is a TypeError».
#[test]
fn a_layer_that_is_not_quaxified() {
    let key = random::key(0);
    let layer = loraify(&nn::Linear::new(3, 2, &key), LoraConfig::rank(1), &key).unwrap();
    let e = layer
        .call(&Array::ones([3], DType::F32))
        .ok()
        .unwrap_err()
        .clone();
    assert_eq!(e.kind(), ErrorKind::NotQuaxified);
}
