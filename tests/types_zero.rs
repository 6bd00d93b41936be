//! Symbolic zeros: what stays zero, what drops out, and that nothing is allocated.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{Zero, quantity},
    trace::bind,
};

fn zero(shape: &[usize]) -> Array {
    Zero::new(shape, DType::F32)
}

#[test]
fn zero_stays_zero() {
    // Were a buffer made anywhere here, it would not fit in memory.
    let n = 1 << 20;
    let huge = zero(&[n, n, n]);
    let y = quaxify(|z: &Array| {
        let moved = z.transpose([2, 0, 1]).reshape([n * n, n]).expand_dims(0);
        let sliced = moved.slice_in_dim(0, n, 1).broadcast_to([3, n, n]);
        let again = numpy::concatenate(&[&sliced, &sliced], 1);
        (-again).tanh().sum(0).astype(DType::F64) * f64::INFINITY
    })(&huge)
    .unwrap();
    assert!(y.is_symbolic_zero());
    assert_eq!(y.aval().unwrap().to_string(), "f64[2097152,1048576]");
    let y = quaxify(|z: &Array| z.dot(&Array::full([n], f32::NAN, DType::F32)))(&huge).unwrap();
    assert_eq!((y.is_symbolic_zero(), &y.shape()[..]), (true, &[n, n][..]));
    let both = quaxify(|z: &Array| z.max(()) + z.sort(0).index(3).index(0).index(7))(&huge);
    assert!(both.unwrap().is_symbolic_zero());
    assert!(Zero::new([usize::MAX, 3], DType::F32).ok().is_err());
}

#[test]
fn zero_drops_out() {
    let x = Array::from([[1f32, -2.0], [3.0, 4.0]]);
    let z = zero(&[2, 2]);
    let numbers = |f: fn(&Array, &Array) -> Array| {
        let y = quaxify(f)(&z, &x).unwrap();
        (y.is_symbolic_zero(), y.to_vec::<f32>().unwrap())
    };
    let whole = vec![1f32, -2.0, 3.0, 4.0];
    let minus: Vec<f32> = whole.iter().map(|x| -x).collect();
    assert_eq!(numbers(|z, x| z + x), (false, whole.clone()));
    assert_eq!(numbers(|z, x| x + z), (false, whole.clone()));
    assert_eq!(numbers(|z, x| x - z), (false, whole.clone()));
    assert_eq!(numbers(|z, x| z - x), (false, minus));
    assert_eq!(numbers(|z, x| z * (x / 0.0)), (true, vec![0.0; 4]));
    assert_eq!(numbers(|z, x| z / x), (true, vec![0.0; 4]));
    assert_eq!(
        numbers(|z, x| z.maximum(x)),
        (false, vec![1.0, 0.0, 3.0, 4.0])
    );
    assert_eq!(
        numbers(|z, x| x.gt(z).astype(DType::F32)),
        (false, vec![1.0, 0.0, 1.0, 1.0])
    );
    assert_eq!(
        numbers(|z, x| x.gt(0.0).select(x, z)),
        (false, vec![1.0, 0.0, 3.0, 4.0])
    );
    assert_eq!(numbers(|z, x| z.integer_pow(0) * x), (false, whole.clone()));
    assert_eq!(numbers(|z, _| z.integer_pow(2)), (true, vec![0.0; 4]));
    assert_eq!(numbers(|z, _| z.cos()), (false, vec![1.0; 4]));
    assert_eq!(
        numbers(|z, x| x.at(0).add(z.index(0))),
        (false, whole.clone())
    );
    assert_eq!(
        numbers(|z, x| z.at(0).set(x.index(0))),
        (false, vec![1.0, -2.0, 0.0, 0.0])
    );
    assert_eq!(numbers(|z, x| z.sum(()) + x), (false, whole));
    // Joint shapes and types.
    let y = quaxify(|z: &Array, x: &Array| z + x)(&zero(&[3, 1]), &Array::from([1i32, 2])).unwrap();
    assert_eq!(y.aval().unwrap().to_string(), "f32[3,2]");
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    let y = quaxify(|z: &Array| z * 2.5)(&Zero::new([2], DType::I32)).unwrap();
    assert_eq!(y.aval().unwrap().to_string(), "f32[2]");
}

#[test]
fn powers_are_those_of_zero() {
    for (y, want) in [(-2, f32::INFINITY), (-1, f32::INFINITY), (0, 1.0), (2, 0.0)] {
        let got = quaxify(|z: &Array| z.integer_pow(y))(&zero(&[2])).unwrap();
        assert_eq!(got.to_vec::<f32>().unwrap(), [want; 2], "power {y}");
        assert_eq!(got.is_symbolic_zero(), y > 0);
    }
    let e = quaxify(|z: &Array| z.integer_pow(-1))(&Zero::new([2], DType::I32)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DType);
    let y = quaxify(|z: &Array| z.pow(z))(&zero(&[2])).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0; 2]);
    let y = quaxify(|z: &Array| Array::full([2], 3f32, DType::F32).pow(z))(&zero(&[2])).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0; 2]);
}

#[test]
fn zeros_that_a_program_writes_are_recognised() {
    let f = |x: &Array| x.dot(&Array::zeros([2, 100], DType::F32)) + Array::zeros_like(x).sum(());
    let x = Array::from([[1f32, 2.0]]);
    let stages = quaxify(f).stages((&x,)).unwrap();
    assert!(
        !stages.dispatched.to_string().contains("dot_general"),
        "{}",
        stages.dispatched
    );
    assert!(quaxify(f)(&x).unwrap().is_symbolic_zero());
    // Minus zero is another number, and so are ones.
    let y = quaxify(|x: &Array| x * Array::full([1, 2], -0.0, DType::F32))(&x).unwrap();
    assert!(!y.is_symbolic_zero());
    let why = quaxify(f).explain((&x,)).unwrap().to_string();
    assert!(
        why.contains("rule dot_general(Zero, Any …) at src/rules/zero.rs"),
        "{why}"
    );
}

#[test]
fn operations_are_checked_all_the_same() {
    let f: fn(&Array) -> Array = |z| z.dot(&Array::zeros([3], DType::F32));
    for f in [
        f,
        |z| z + Array::zeros([3], DType::F32),
        |z| z.slice_in_dim(0, 9, 0),
        |z| z.transpose([0, 0]),
        |z| {
            bind(
                op::Slice {
                    start_indices: [1, 0].as_slice().into(),
                    limit_indices: [0, 2].as_slice().into(),
                    strides: None,
                },
                &[z],
            )
        },
    ] {
        assert!(quaxify(f)(&zero(&[2, 2])).is_err());
    }
    let y = quaxify(|z: &Array| {
        bind(
            op::Slice {
                start_indices: [0].as_slice().into(),
                limit_indices: [3].as_slice().into(),
                strides: Some([2].as_slice().into()),
            },
            &[z],
        )
    })(&zero(&[3]))
    .unwrap();
    assert_eq!(y.shape(), [2]);
}

#[test]
fn zeros_and_transformations() {
    let f = |z: &Array, x: &Array| (z * x + x.square()).sum(());
    let (z, x) = (zero(&[3]), Array::from([1f32, 2.0, 3.0]));
    let g = quaxify(grad(f))(&z, &x).unwrap();
    assert_eq!(g.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
    let g = grad(quaxify(f))(&z, &x).unwrap();
    assert!(g.to_vec::<f32>().unwrap() == [1.0, 2.0, 3.0] || g.is_symbolic_zero());
    for y in [
        jit(quaxify(f))(&z, &x),
        quaxify(jit(f))(&z, &x),
        jit(quaxify(jit(f)))(&z, &x),
    ] {
        assert_eq!(y.unwrap().item::<f32>().unwrap(), 14.0);
    }
    assert!(
        jit(quaxify(|z: &Array| z.sin()))(&z)
            .unwrap()
            .is_symbolic_zero()
    );
    let xs = Array::from([[1f32, 2.0, 3.0], [0.0, 1.0, 0.0]]);
    let a =
        vmap(grad(quaxify(|x: &Array, z: &Array| f(z, x)))).in_axes((0, None))(&xs, &z).unwrap();
    let b =
        quaxify(vmap(grad(|x: &Array, z: &Array| f(z, x))).in_axes((0, None)))(&xs, &z).unwrap();
    assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
    // What nothing depends on has a derivative of this same kind.
    let g = grad(|(a, _): &(Array, Array)| a.sum(()))(&(x.clone(), x.clone())).unwrap();
    let y = quaxify(|g: &Array, x: &Array| g * x)(&g.1, &x).unwrap();
    assert!(g.1.is_symbolic_zero() && y.is_symbolic_zero());
    let sums =
        quaxify(|z: &Array, xs: &Array| scan(|c, x| (c + x, c * 1.0), z, xs))(&zero(&[3]), &xs)
            .unwrap();
    assert_eq!(sums.0.to_vec::<f32>().unwrap(), [1.0, 3.0, 3.0]);
}

#[test]
fn zero_meets_other_values() {
    let w = Array::ones([3, 2], DType::F32);
    let lora = LoraArray::new(&w, &LoraConfig::rank(1), &random::key(0)).unwrap();
    let lora = Array::from_value(lora);
    let y = quaxify(|w: &Array, z: &Array| w.dot(z))(&lora, &zero(&[2])).unwrap();
    assert!(y.is_symbolic_zero());
    let y = quaxify(|w: &Array, z: &Array| (w + z).dot(&Array::ones([2], DType::F32)))(
        &lora,
        &zero(&[3, 2]),
    )
    .unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.0; 3]);
    // An update of nothing.
    let (a, b) = (
        Array::ones([3, 1], DType::F32),
        Array::ones([1, 2], DType::F32),
    );
    let only = Array::from_value(LoraArray::from_parts(zero(&[3, 2]), a, b).unwrap());
    for y in [
        quaxify(|w: &Array, x: &Array| w.dot(x))(&only, &Array::ones([2], DType::F32)),
        jit(quaxify(|w: &Array, x: &Array| w.dot(x)))(&only, &Array::ones([2], DType::F32)),
    ] {
        assert_eq!(y.unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);
    }
    let metres = quantity([1f32, 2.0], "m").unwrap();
    let y = quaxify(|x: &Array, z: &Array| x.maximum(z) + z)(&metres, &zero(&[2])).unwrap();
    assert_eq!(y.describe(), "unitful[f32[2], m]");
    let model = nn::Linear {
        weight: zero(&[3, 2]),
        bias: Some(Array::ones([3], DType::F32)),
        ..nn::Linear::new(2, 3, &random::key(0))
    };
    let y = quaxify(nn::Linear::call)(&model, &Array::ones([2], DType::F32)).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0; 3]);
}
