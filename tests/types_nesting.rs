//! Values within values, with each other and with every transformation.

use quaxide::{
    prelude::*,
    rules::{
        Bcoo, Format, Interval, Masked, Named, Quantised, Unitful, Zero, axes_of, bounds, filled,
        in_unit, interval, mask_of, masked, named, quantity,
    },
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
#[path = "../examples/support/types_table/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the example uses another part")]
mod types_table;

use types_table::{KINDS, plain};

fn array(shape: &[usize], seed: u64) -> Array {
    rng::random_array(&mut rng::Rng(seed), shape)
}

#[track_caller]
fn close(a: &Array, b: &Array) {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
    assert!(a.iter().zip(&b).all(near), "{a:?} for {b:?}");
}

fn layer(w: &Array, x: &Array) -> Array {
    w.dot(x).tanh()
}

fn loss(w: &Array, x: &Array) -> Array {
    layer(w, x).square().sum(())
}

/// A layer whose weight is a low-rank update of something, forwards and backwards, against the weight that it equals.
fn adapted(base: Array, equals: &Array) {
    let [n, m] = equals.dims::<2>().unwrap();
    let (a, b) = (array(&[n, 2], 5), array(&[2, m], 6));
    let x = array(&[m], 7);
    let value = LoraArray::from_parts(base, a.clone(), b.clone()).unwrap();
    let value = Array::from_value(value);
    let dense = equals + a.dot(&b);
    close(&quaxify(layer)(&value, &x).unwrap(), &layer(&dense, &x));
    let g = grad(quaxify(loss))(&value, &x).unwrap();
    let g = g.value::<LoraArray>().unwrap();
    let dw = grad(loss)(&dense, &x).unwrap();
    close(&g.a, &dw.dot(&b.t()));
    close(&g.b, &a.t().dot(&dw));
    // Inside, the weight is one array, whose gradient is dense.
    close(&quaxify(grad(loss))(&value, &x).unwrap(), &dw);
    // A batch of inputs, either way round.
    let xs = array(&[3, m], 8);
    let one = vmap(quaxify(layer)).in_axes((None, 0))(&value, &xs).unwrap();
    let other = quaxify(vmap(layer).in_axes((None, 0)))(&value, &xs).unwrap();
    close(&one, &xs.dot(&dense.t()).tanh());
    close(&other, &one);
    let by_input = |w: &Array, x: &Array| grad(|x: &Array| loss(w, x))(x).unwrap();
    let one = vmap(quaxify(by_input)).in_axes((None, 0))(&value, &xs).unwrap();
    let other = quaxify(vmap(by_input).in_axes((None, 0)))(&value, &xs).unwrap();
    close(&one, &other);
}

#[test]
fn low_rank_over_quantised() {
    for (format, n) in [(Format::Int8, 6), (Format::Q8_0, 32), (Format::Nf4, 64)] {
        let w = array(&[5, n], 1);
        let q = Quantised::new(&w, format).unwrap();
        let equals = q.materialise().unwrap();
        adapted(Array::from_value(q), &equals);
    }
}

#[test]
fn low_rank_over_sparse() {
    let w = array(&[5, 6], 2);
    let w = w.gt(0.3).select(&w, 0.0);
    adapted(Array::from_value(Bcoo::from_dense(&w, 0).unwrap()), &w);
}

#[test]
fn low_rank_over_low_rank() {
    let (w, a, b) = (array(&[5, 6], 2), array(&[5, 1], 3), array(&[1, 6], 4));
    let inner = LoraArray::from_parts(w.clone(), a.clone(), b.clone()).unwrap();
    adapted(Array::from_value(inner), &(w + a.dot(&b)));
}

#[test]
fn low_rank_over_zero() {
    adapted(
        Zero::new([5, 6], DType::F64),
        &Array::zeros([5, 6], DType::F64),
    );
}

fn words(x: &Array) -> Vec<String> {
    let names = axes_of(x).unwrap();
    names
        .iter()
        .map(|n| n.as_deref().unwrap_or("_").to_string())
        .collect()
}

#[test]
fn names_over_units() {
    let (v, t) = (array(&[2, 3], 1), array(&[2, 3], 2));
    let value =
        |x: &Array, unit: &str| named(quantity(x.clone(), unit).unwrap(), ["run", "time"]).unwrap();
    let (speed, time) = (value(&v, "km/h"), value(&t, "h"));
    let distance = |v: &Array, t: &Array| (v * t).sum(1);
    let y = quaxify(distance)(&speed, &time).unwrap();
    assert_eq!(words(&y), ["run"]);
    let inner = y.value::<Named>().unwrap().array.clone();
    close(&in_unit(&inner, "km").unwrap(), &distance(&v, &t));
    // Both say what does not fit.
    let e = quaxify(|v: &Array, t: &Array| v + t)(&speed, &time).unwrap_err();
    assert!(e.message().contains("quantities in h"), "{e}");
    let other = named(quantity(t.t(), "h").unwrap(), ["time", "walk"]).unwrap();
    let e = quaxify(|v: &Array, t: &Array| v.dot(&t.t()))(&speed, &other).unwrap_err();
    assert!(e.message().contains("axis `time` meets axis `walk`"), "{e}");
    // The gradient has the names of what it is by, and its unit per that.
    let g = quaxify(grad(|v: &Array, t: &Array| (v * t).sum(())))(&speed, &time).unwrap();
    assert_eq!(words(&g), ["run", "time"]);
    close(
        &in_unit(&g.value::<Named>().unwrap().array, "h").unwrap(),
        &t,
    );
}

#[test]
fn masks_over_names() {
    let x = array(&[2, 3], 1);
    let hidden = Array::from([[true, false, false], [false, true, false]]);
    let value = masked(named(x.clone(), ["row", "column"]).unwrap(), hidden.clone()).unwrap();
    let y = quaxify(|x: &Array| nn::relu(&x.t()).sum(0))(&value).unwrap();
    let m = y.value::<Masked>().unwrap();
    assert_eq!(words(&m.data), ["row"]);
    let want = nn::relu(&hidden.select(0.0, &x)).sum(1);
    close(&m.data.value::<Named>().unwrap().array, &want);
    let other = named(array(&[3, 2], 2), ["row", "time"]).unwrap();
    let e = quaxify(|x: &Array, y: &Array| x.dot(y))(&value, &other).unwrap_err();
    assert!(
        e.message().contains("axis `column` meets axis `row`"),
        "{e}"
    );
    // A mean over the names counts what is there.
    let y = quaxify(|x: &Array| x.mean(1))(&value).unwrap();
    let m = y.value::<Masked>().unwrap();
    let there = (!&hidden).astype(DType::F64);
    close(
        &m.data.value::<Named>().unwrap().array,
        &((&x * &there).sum(1) / there.sum(1)),
    );
}

#[test]
fn sparse_of_intervals() {
    let w = array(&[4, 5], 3);
    let w = w.gt(0.2).select(&w, 0.0);
    let exact = Bcoo::from_dense(&w, 0).unwrap();
    let entries = interval(exact.data() - 0.01, exact.data() + 0.01).unwrap();
    let b = Bcoo::new(entries, exact.indices().clone(), [4, 5]).unwrap();
    let x = array(&[5], 4);
    let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(b), &x).unwrap();
    let (low, high) = bounds(&y).unwrap();
    let (low, high) = (low.to_f64_vec().unwrap(), high.to_f64_vec().unwrap());
    for moved in [-0.01, 0.0, 0.007, 0.01] {
        let there = w.ne(0.0).astype(DType::F64);
        let y = (&w + there * moved).dot(&x).to_f64_vec().unwrap();
        for k in 0..4 {
            assert!(low[k] <= y[k] && y[k] <= high[k], "{y:?}");
        }
    }
    assert!((0..4).all(|k| high[k] - low[k] <= 0.02 * 5.0 + 1e-9));
}

/// Symbolic zeros beside a value of each type: they drop out of sums, and products with them are zeros.
#[test]
fn zero_with_each() {
    for kind in KINDS
        .iter()
        .filter(|k| k.elements == DType::F32 && k.name != "Zero")
    {
        let value = (kind.make[0])(&array(&[4, 4], 9)).unwrap();
        let z = Zero::new([4, 4], DType::F64);
        let sum = quaxify(|x: &Array, z: &Array| x + z)(&value, &z);
        let sum = sum.unwrap_or_else(|e| panic!("{}: {e}", kind.name));
        assert_eq!(sum.describe(), value.describe(), "{}", kind.name);
        for f in [
            (|x: &Array, z: &Array| x * z) as fn(&Array, &Array) -> Array,
            |x, z| x.dot(z),
            |x, z| z.dot(x),
        ] {
            let y = quaxify(f)(&value, &z).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
            assert!(y.is_symbolic_zero(), "{}: {y:?}", kind.name);
        }
        // A zero as a component: nothing is made of it until someone asks.
        let y = quaxify(|z: &Array| (z * 2.0).sum(0))(&z).unwrap();
        assert!(y.is_symbolic_zero());
    }
    // And inside of those that wrap arrays.
    let z = || Zero::new([2, 3], DType::F64);
    let n = named(z(), ["a", "b"]).unwrap();
    let y = quaxify(|x: &Array| x.t() * 3.0)(&n).unwrap();
    assert!(y.value::<Named>().unwrap().array.is_symbolic_zero());
    assert_eq!(words(&y), ["b", "a"]);
    let q = quantity(z(), "m").unwrap();
    let y = quaxify(|x: &Array| x * x)(&q).unwrap();
    let u = y.value::<Unitful>().unwrap();
    assert!(u.array.is_symbolic_zero() && u.unit.to_string() == "m^2");
    let m = masked(z(), Array::zeros([2, 3], DType::Bool)).unwrap();
    let y = quaxify(|x: &Array| x.tanh())(&m).unwrap();
    assert!(y.value::<Masked>().unwrap().data.is_symbolic_zero());
}

/// `vmap(grad(quaxify(f)))` and `quaxify(grad(vmap(f)))` are the same, whatever the values.
#[test]
fn derivatives_and_batches_in_both_orders() {
    let (w, xs) = (array(&[4, 4], 1), array(&[3, 4], 2));
    let f = |w: &Array, x: &Array| (w.dot(x)).tanh().sum(());
    for kind in KINDS.iter().filter(|k| k.elements == DType::F32) {
        if matches!(kind.name, "Unitful" | "Named" | "Interval" | "Masked") {
            continue;
        }
        let value = (kind.make[0])(&w).unwrap();
        let by_x = |w: &Array, x: &Array| grad(|x: &Array| f(w, x))(x).unwrap();
        let one = vmap(quaxify(by_x)).in_axes((None, 0))(&value, &xs);
        let one = one.unwrap_or_else(|e| panic!("{}: {e}", kind.name));
        let summed = |w: &Array, xs: &Array| {
            let all = |xs: &Array| vmap(|x: &Array| f(w, x))(xs).unwrap().sum(());
            grad(all)(xs).unwrap()
        };
        let other = quaxify(summed)(&value, &xs).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
        close(&one, &other);
        close(&one, &summed(&plain(&value).unwrap(), &xs));
    }
    // Those that are their own kind of array: elementwise, by the value itself.
    let g = |x: &Array| (x * x).sum(());
    let each = |x: &Array| grad(g)(x).unwrap();
    let values = [
        named(xs.clone(), ["a", "b"]).unwrap(),
        masked(xs.clone(), xs.gt(0.5)).unwrap(),
        quantity(xs.clone(), "m").unwrap(),
        interval(&xs - 0.1, &xs + 0.1).unwrap(),
        Zero::new([3, 4], DType::F64),
    ];
    for value in values {
        let outside = vmap(quaxify(each))(&value).unwrap();
        let inside = quaxify(vmap(each))(&value).unwrap();
        close(&plain(&outside).unwrap(), &plain(&inside).unwrap());
        let all = |x: &Array| vmap(g)(x).unwrap().sum(());
        let last = quaxify(grad(all))(&value).unwrap();
        close(&plain(&last).unwrap(), &plain(&inside).unwrap());
        if let Some(i) = inside.value::<Interval>() {
            close(&i.upper, &last.value::<Interval>().unwrap().upper);
        }
        if inside.value::<Masked>().is_some() {
            close(&filled(&inside, 0.0).unwrap(), &filled(&last, 0.0).unwrap());
            let masks = [mask_of(&inside).unwrap(), mask_of(&last).unwrap()];
            close(&masks[0].astype(DType::F64), &masks[1].astype(DType::F64));
        }
    }
}
