//! Masked arrays: what takes part, and what is masked afterwards, as in NumPy's `numpy.ma`.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{
        Masked, filled, in_unit, mask_of, masked, masked_count, masked_mean, masked_var, named,
        quantity,
    },
};

const NAN: f64 = f64::NAN;

/// A masked array: NaN stands for no element.
fn m(x: &[f64]) -> Array {
    let mask: Vec<bool> = x.iter().map(|x| x.is_nan()).collect();
    masked(x.to_vec(), mask).unwrap()
}

fn matrix() -> Array {
    let x = Array::from([[1f64, NAN, 3.0], [4.0, 5.0, NAN]]);
    let mask = x.ne(&x);
    masked(x, mask).unwrap()
}

/// The elements, NaN for none.
fn shown(x: &Array) -> Vec<f64> {
    let v = filled(x, 0.0).unwrap().to_f64_vec().unwrap();
    let mask = mask_of(x).unwrap().to_vec::<bool>().unwrap();
    v.into_iter()
        .zip(mask)
        .map(|(x, m)| if m { NAN } else { x })
        .collect()
}

#[track_caller]
fn is(x: &Array, want: &[f64]) {
    let got = shown(x);
    let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12 || a.is_nan() && b.is_nan();
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(same),
        "{got:?} for {want:?}"
    );
}

/// NumPy: `np.ma.array([[1, 2, 4], [3, 5, 7]], mask=[[0, 0, 1], [1, 1, 1]])`, its mean and variance, and what they depend on.
#[test]
fn means_count_what_is_there() {
    let data = Array::from([[1f64, 2.0, 4.0], [3.0, 5.0, 7.0]]);
    let mask = Array::from([[false, false, true], [true, true, true]]);
    let x = masked(data.clone(), mask).unwrap();
    let along = |x: &Array| x.mean(1);
    let y = quaxify(along)(&x).unwrap();
    assert_eq!(
        mask_of(&y).unwrap().to_vec::<bool>().unwrap(),
        [false, true]
    );
    assert_eq!(
        filled(&y, -1.0).unwrap().to_vec::<f64>().unwrap(),
        [1.5, -1.0]
    );
    let of = |f: fn(&Array) -> Array| {
        filled(&quaxify(f)(&x).unwrap(), -1.0)
            .unwrap()
            .to_f64_vec()
            .unwrap()
    };
    assert_eq!(of(|x| x.mean(())), [1.5]);
    assert_eq!(of(|x| x.mean(0)), [1.0, 2.0, -1.0]);
    assert_eq!(of(|x| x.var(())), [0.25]);
    assert_eq!(of(|x| x.std(1)), [0.5, -1.0]);
    assert_eq!(
        of(|x| x - x.keepdims(1, |x, a| x.mean(a)))[..3],
        [-0.5, 0.5, -1.0]
    );
    // By rows of a batch, either way round, and inside of `jit`.
    for y in [
        vmap(quaxify(|x: &Array| x.mean(())))(&x).unwrap(),
        quaxify(vmap(|x: &Array| x.mean(())))(&x).unwrap(),
        jit(quaxify(jit(along)))(&x).unwrap(),
    ] {
        assert_eq!(
            filled(&y, -1.0).unwrap().to_vec::<f64>().unwrap(),
            [1.5, -1.0]
        );
    }
    // The derivative is that of the mean of two.
    let loss = |x: &Array| (x * x).mean(());
    let inside = quaxify(grad(loss))(&x).unwrap();
    let outside = grad(|x: &Array| filled(&quaxify(loss)(x)?, 0.0))(&x).unwrap();
    for g in [inside, outside] {
        let g = filled(&g, 0.0).unwrap().to_vec::<f64>().unwrap();
        assert_eq!(g[..2], [1.0, 2.0]);
    }
    let variance = quaxify(grad(|x: &Array| x.var(())))(&x).unwrap();
    let variance = filled(&variance, 0.0).unwrap().to_vec::<f64>().unwrap();
    assert_eq!(variance, [-0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
    // Of plain arrays nothing changed.
    assert_eq!(data.mean(1).to_vec::<f64>().unwrap(), [7.0 / 3.0, 5.0]);
    let y = quaxify(|x: &Array| x.mean(()))(&data).unwrap();
    assert_eq!(y.item::<f64>().unwrap(), 22.0 / 6.0);
}

#[test]
fn operations_mask_what_their_operands_mask() {
    let (x, y) = (m(&[1.0, NAN, 3.0, 4.0]), m(&[10.0, 20.0, NAN, 0.0]));
    let two = |f: fn(&Array, &Array) -> Array| quaxify(f)(&x, &y).unwrap();
    is(&two(|x, y| x + y), &[11.0, NAN, NAN, 4.0]);
    is(&two(|x, y| x * 2.0 - y), &[-8.0, NAN, NAN, 8.0]);
    is(&two(|x, y| x / y), &[0.1, NAN, NAN, NAN]);
    is(&two(|x, y| x.maximum(y)), &[10.0, NAN, NAN, 4.0]);
    is(&two(|x, y| x.gt(y)), &[0.0, NAN, NAN, 1.0]);
    is(&two(|x, y| x.gt(2.0).select(x, y)), &[10.0, NAN, 3.0, 4.0]);
    is(&two(|x, _| (x - 3.0).sqrt()), &[NAN, NAN, 0.0, 1.0]);
    is(&two(|x, _| (x - 3.0).log()), &[NAN, NAN, NAN, 0.0]);
    is(&two(|_, y| y.integer_pow(-1)), &[0.1, 0.05, NAN, NAN]);
    is(&two(|x, _| x.at(1).set(7.0)), &[1.0, 7.0, 3.0, 4.0]);
    is(&two(|x, y| x.at(0).set(y.index(2))), &[NAN, NAN, 3.0, 4.0]);
    is(&two(|x, _| x.index(Array::from([1i32, 3]))), &[NAN, 4.0]);
    is(
        &two(|x, y| numpy::concatenate(&[x, y, &Array::from([5f64])], 0)),
        &[1.0, NAN, 3.0, 4.0, 10.0, 20.0, NAN, 0.0, 5.0],
    );
    is(&two(|x, _| x.flip(0)), &[4.0, 3.0, NAN, 1.0]);
    is(&two(|x, _| (-x).sort(0)), &[-4.0, -3.0, -1.0, NAN]);
    is(&two(|x, _| x.cumsum(0)), &[1.0, NAN, 4.0, 8.0]);
    is(
        &two(|x, _| x.pad(&[(1, 1)], 0.0)),
        &[0.0, 1.0, NAN, 3.0, 4.0, 0.0],
    );
}

#[test]
fn reductions_pass_over_what_is_masked() {
    let x = matrix();
    let run = |f: fn(&Array) -> Array| quaxify(f)(&x).unwrap();
    is(&run(|x| x.sum(())), &[13.0]);
    is(&run(|x| x.sum(0)), &[5.0, 5.0, 3.0]);
    is(&run(|x| x.prod(1)), &[3.0, 20.0]);
    is(&run(|x| x.max(1)), &[3.0, 5.0]);
    is(&run(|x| x.min(0)), &[1.0, 5.0, 3.0]);
    is(&run(|x| x.argmax(1)), &[2.0, 1.0]);
    is(&run(|x| x.gt(2.0).all(1)), &[0.0, 1.0]);
    is(&run(|x| x.gt(2.0).any(1)), &[1.0, 1.0]);
    let row = m(&[NAN, NAN]);
    for f in [
        (|x: &Array| x.sum(())) as fn(&Array) -> Array,
        |x| x.max(()),
        |x| x.prod(()),
        |x| x.argmin(0),
    ] {
        is(&quaxify(f)(&row).unwrap(), &[NAN]);
    }
    let whole = masked(Array::from([3i32, -7, 5]), Array::from([true, true, false])).unwrap();
    is(&quaxify(|x: &Array| x.max(()))(&whole).unwrap(), &[5.0]);
    is(&quaxify(|x: &Array| x.min(()))(&whole).unwrap(), &[5.0]);
    is(&masked_count(&x, 1).unwrap(), &[2.0, 2.0]);
    is(&masked_mean(&x, 1).unwrap(), &[2.0, 4.5]);
    is(&masked_var(&x, 1).unwrap(), &[1.0, 0.25]);
    is(&masked_mean(&x, ()).unwrap(), &[3.25]);
    is(&masked_mean(&row, ()).unwrap(), &[NAN]);
    is(&masked_mean(&Array::from([1f64, 3.0]), ()).unwrap(), &[2.0]);
    assert!(masked_mean(&x, 5).is_err());
    is(&run(pooled), &[1.0, 3.0, 5.0, 5.0]);
}

/// The larger of neighbours in a row.
fn pooled(x: &Array) -> Array {
    let window = op::Window::new([1usize, 2].as_slice(), [1usize, 1].as_slice());
    let reducer = op::WindowReducer::Max;
    quaxide::trace::bind(op::ReduceWindow { reducer, window }, &[x])
}

#[test]
fn contractions_and_softmax() {
    let x = matrix();
    let w = Array::from([[1f64, 10.0], [100.0, 1000.0], [1e4, 1e5]]);
    is(
        &quaxify(|x: &Array, w: &Array| x.dot(w))(&x, &w).unwrap(),
        &[30001.0, 300010.0, 504.0, 5040.0],
    );
    is(
        &quaxify(|x: &Array| x.dot(&x.t()))(&x).unwrap(),
        &[10.0, 4.0, 4.0, 41.0],
    );
    let none = masked(
        Array::from([[1f64, 2.0], [3.0, 4.0]]),
        Array::from([[true, true], [false, false]]),
    )
    .unwrap();
    is(
        &quaxify(|x: &Array| x.dot(&Array::from([1f64, 1.0])))(&none).unwrap(),
        &[NAN, 7.0],
    );
    let soft = quaxify(|x: &Array| nn::softmax(x, -1))(&x).unwrap();
    let (a, b) = (1.0 / (1.0 + 2f64.exp()), 1.0 / (1.0 + 1f64.exp()));
    is(&soft, &[a, NAN, 1.0 - a, b, 1.0 - b, NAN]);
    let all = quaxify(|x: &Array| nn::softmax(x, -1))(&none).unwrap();
    assert!(shown(&all)[..2].iter().all(|x| x.is_nan()));
    assert!((shown(&all)[2..].iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn derivatives_pass_over_what_is_masked() {
    let x = m(&[1.0, NAN, 3.0]);
    let loss = |x: &Array| {
        let y = quaxify(|x: &Array| (x.log() * x).sum(()))(x)?;
        filled(&y, 0.0)
    };
    let g = grad(loss)(&x).unwrap();
    let g = g.value::<Masked>().unwrap().data.to_vec::<f64>().unwrap();
    assert_eq!(g[1], 0.0);
    assert!((g[0] - 1.0).abs() < 1e-12 && (g[2] - (3f64.ln() + 1.0)).abs() < 1e-12);
    let inside = quaxify(grad(|x: &Array| (x.log() * x).sum(())))(&x).unwrap();
    is(&inside, &[1.0, NAN, 3f64.ln() + 1.0]);
    let xs = matrix();
    let f = |x: &Array| nn::softmax(x, -1).max(());
    let a = vmap(quaxify(f))(&xs).unwrap();
    let b = quaxify(vmap(f))(&xs).unwrap();
    let c = jit(quaxify(jit(vmap(f))))(&xs).unwrap();
    is(&a, &shown(&b));
    is(&c, &shown(&b));
    let a = vmap(quaxify(grad(f)))(&xs).unwrap();
    let b = quaxify(vmap(grad(f)))(&xs).unwrap();
    is(&a, &shown(&b));
    let steps = |xs: &Array| {
        scan(
            |c: &Array, x: &Array| (c + x.sum(()), ()),
            &Array::scalar(0f64),
            xs,
        )
    };
    // The sum of a step may be masked, the start is not: the carry starts masked nowhere.
    let start = masked(Array::scalar(0f64), Array::scalar(false)).unwrap();
    assert!(quaxify(steps)(&xs).is_err());
    let steps =
        |start: &Array, xs: &Array| scan(|c: &Array, x: &Array| (c + x.sum(()), ()), start, xs);
    is(&quaxify(steps)(&start, &xs).unwrap().0, &[13.0]);
}

#[test]
fn values_nest() {
    let x = matrix();
    let inner = x.value::<Masked>().unwrap();
    // Masked over named, and the other way round.
    let over = masked(
        named(inner.data.clone(), ["row", "column"]).unwrap(),
        inner.mask.clone(),
    )
    .unwrap();
    let y = quaxify(|x: &Array| x.t().sum(1))(&over).unwrap();
    assert_eq!(y.describe(), "masked[named[f64[3], column]]");
    let mixed = quaxify(|x: &Array, w: &Array| x.dot(w))(
        &over,
        &named(Array::ones([3, 2], DType::F64), ["column", "out"]).unwrap(),
    )
    .unwrap();
    assert_eq!(mixed.describe(), "masked[named[f64[2,2], row out]]");
    let e = quaxify(|x: &Array, w: &Array| x.dot(w))(
        &over,
        &named(Array::ones([3], DType::F64), ["row"]).unwrap(),
    )
    .unwrap_err();
    assert!(
        e.message().contains("axis `column` meets axis `row`"),
        "{e}"
    );
    let units = masked(
        quantity(inner.data.clone(), "m").unwrap(),
        inner.mask.clone(),
    )
    .unwrap();
    let y = quaxify(|x: &Array| x.square().sum(()))(&units).unwrap();
    assert_eq!(y.describe(), "masked[unitful[f64[], m^2]]");
    let data = &y.value::<Masked>().unwrap().data;
    assert_eq!(in_unit(data, "m^2").unwrap().item::<f64>().unwrap(), 51.0);
    let w = LoraArray::new(
        &Array::ones([2, 3], DType::F64),
        &LoraConfig::rank(1),
        &random::key(0),
    )
    .unwrap();
    let y = quaxify(|w: &Array, x: &Array| w.dot(&x.t()))(&Array::from_value(w), &x).unwrap();
    is(&y, &[4.0, 9.0, 4.0, 9.0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    for (mask, part) in [
        (
            Array::from([true, false, true]),
            "must be bool[2], not bool[3]",
        ),
        (Array::from([1i32, 0]), "must be bool[2], not i32[2]"),
        (Array::scalar(true), "must be bool[2], not bool[]"),
    ] {
        let e = masked(Array::from([1f32, 2.0]), mask).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
    let x = matrix();
    for f in [
        (|x: &Array| linalg::cholesky(&x.dot(&x.t()))) as fn(&Array) -> Array,
        |x| Array::ones([9], DType::F32).index(x.index(0).astype(DType::I32)),
    ] {
        let e = quaxify(f)(&x).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        assert!(
            e.location().unwrap().file().ends_with("types_masked.rs"),
            "{e}"
        );
    }
    assert!(x.materialise().is_err());
}
