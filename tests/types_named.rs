//! Named axes: how names follow positional programs, and programs by names.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{
        Zero, along, axes_of, combine, contract, in_unit, named, order_as, positional, quantity,
        reduce_named, rename,
    },
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
use rng::Rng;

fn array(shape: &[usize], seed: u64) -> Array {
    rng::random_array(&mut Rng(seed), shape)
}

fn n(shape: &[usize], names: &str) -> Array {
    named(array(shape, 1), names.split(' ')).unwrap()
}

/// The names, `_` for none; `-` for a plain array.
fn names(x: &Array) -> String {
    let names = axes_of(x).unwrap();
    if names.iter().all(Option::is_none) {
        return "-".into();
    }
    let all: Vec<&str> = names.iter().map(|n| n.as_deref().unwrap_or("_")).collect();
    all.join(" ")
}

#[test]
fn names_follow_the_axes() {
    let x = n(&[2, 3, 4], "a b c");
    let run = |f: fn(&Array) -> Array| names(&quaxify(f)(&x).unwrap());
    assert_eq!(run(|x| x.transpose([2, 0, 1])), "c a b");
    assert_eq!(run(|x| x.sum(1)), "a c");
    assert_eq!(run(|x| x.sum(())), "-");
    assert_eq!(run(|x| x.argmax(0)), "b c");
    assert_eq!(run(|x| x.expand_dims(1)), "a _ b c");
    assert_eq!(run(|x| x.index(0)), "b c");
    assert_eq!(run(|x| x.slice_in_dim(0, 2, 2)), "a b c");
    assert_eq!(run(|x| x.reshape([6, 4])), "_ c");
    assert_eq!(run(|x| x.reshape([2, 3, 2, 2])), "a b _ _");
    assert_eq!(run(|x| x.reshape([1, 2, 3, 1, 4])), "_ a b _ c");
    assert_eq!(run(|x| numpy::concatenate(&[x, x], 1)), "a b c");
    assert_eq!(run(|x| x.sin().astype(DType::F32)), "a b c");
    assert_eq!(run(|x| x * 2.0 + x), "a b c");
    assert_eq!(run(|x| x.gt(0.0).select(x, 0.0)), "a b c");
    assert_eq!(run(|x| x.sort(-1)), "a b c");
    assert_eq!(run(|x| numpy::stack(&[x, x], 0)), "_ a b c");
    assert_eq!(run(|x| x.index(Array::from([1i32, 0]))), "_ b c");
    assert_eq!(run(|x| x.at(0).set(1.0)), "a b c");
    assert_eq!(run(|x| nn::softmax(x, -1)), "a b c");
    assert_eq!(run(|x| x.flip(0)), "a b c");
}

#[test]
fn products_pair_names() {
    let (w, x) = (n(&[4, 3], "out in"), n(&[5, 3], "batch in"));
    let f = |w: &Array, x: &Array| x.dot(&w.t());
    let y = quaxify(f)(&w, &x).unwrap();
    assert_eq!(names(&y), "batch out");
    let plain = f(&array(&[4, 3], 1), &array(&[5, 3], 1));
    assert_eq!(
        positional(&y, &["batch", "out"])
            .unwrap()
            .to_f64_vec()
            .unwrap(),
        plain.to_f64_vec().unwrap()
    );
    let e = quaxify(|w: &Array, x: &Array| x.dot(w))(&n(&[3, 4], "out in"), &x).unwrap_err();
    assert_eq!(e.message(), "`dot_general`: axis `in` meets axis `out`");
    assert!(
        e.location().unwrap().file().ends_with("types_named.rs"),
        "{e}"
    );
    let e = quaxify(|w: &Array| w.dot(&w.t()))(&w).unwrap_err();
    assert_eq!(e.message(), "`dot_general`: two axes would be named `out`");
    // Batch axes pair, too.
    let (a, b) = (n(&[2, 3, 4], "i j k"), n(&[2, 4, 5], "i k l"));
    let y = quaxify(|a: &Array, b: &Array| a.matmul(b))(&a, &b).unwrap();
    assert_eq!(names(&y), "i j l");
    let e = quaxify(|a: &Array, b: &Array| a.matmul(b))(&a, &n(&[2, 4, 5], "q k l")).unwrap_err();
    assert_eq!(e.message(), "`dot_general`: axis `i` meets axis `q`");
    let linear = nn::Linear {
        weight: w,
        bias: Some(n(&[4], "out")),
        ..nn::Linear::new(3, 4, &random::key(0))
    };
    let y = quaxify(nn::Linear::call)(&linear, &n(&[3], "in")).unwrap();
    assert_eq!(names(&y), "out");
    let e = quaxify(nn::Linear::call)(&linear, &n(&[3], "features")).unwrap_err();
    assert!(
        e.message().contains("`in`") && e.message().contains("`features`"),
        "{e}"
    );
    let (a, b) = (n(&[3, 3], "row column"), n(&[3, 2], "row rhs"));
    let y =
        quaxify(|a: &Array, b: &Array| linalg::solve(&(a + 3.0 * Array::eye(3, DType::F64)), b))(
            &a, &b,
        )
        .unwrap();
    assert_eq!(names(&y).rsplit(' ').next(), Some("rhs"));
}

#[test]
fn names_that_clash_are_named() {
    let (x, y) = (n(&[3, 3], "a b"), n(&[3, 3], "a c"));
    for f in [
        (|x: &Array, y: &Array| x + y) as fn(&Array, &Array) -> Array,
        |x, y| x * y,
        |x, y| x - y,
        |x, y| x.gt(y),
        |x, y| numpy::concatenate(&[x, y], 0),
        |x, y| x.gt(0.0).select(x, y),
    ] {
        let e = quaxify(f)(&x, &y).unwrap_err();
        assert!(e.message().contains("axis `b` meets axis `c`"), "{e}");
        assert_eq!(e.kind(), ErrorKind::Argument);
    }
    // The same axes in another order are brought into one.
    let z = n(&[3, 3], "b a");
    let sum = quaxify(|x: &Array, z: &Array| x + z)(&x, &z).unwrap();
    let (a, t) = (array(&[3, 3], 1), array(&[3, 3], 1).t());
    assert_eq!(names(&sum), "a b");
    assert_eq!(
        positional(&sum, &["a", "b"]).unwrap().to_f64_vec().unwrap(),
        (a + t).to_f64_vec().unwrap()
    );
    for (shape, all) in [
        (&[2usize, 3][..], "a"),
        (&[2, 3], "a b c"),
        (&[2, 3], "a a"),
    ] {
        assert!(named(array(shape, 1), all.split(' ')).is_err(), "{all}");
    }
}

#[test]
fn programs_by_names() {
    let (x, y) = (n(&[2, 3], "a b"), n(&[3, 4], "b c"));
    assert_eq!(
        names(&rename(&x, &[("a", "b"), ("b", "a")]).unwrap()),
        "b a"
    );
    assert!(
        rename(&x, &[("a", "b")])
            .unwrap_err()
            .message()
            .contains("two axes")
    );
    assert!(
        rename(&x, &[("z", "b")])
            .unwrap_err()
            .message()
            .contains("no axis is named `z`; the axes are `a`, `b`")
    );
    assert_eq!(names(&order_as(&x, &["b", "a"]).unwrap()), "b a");
    for wrong in [&["a"][..], &["a", "a"], &["a", "c"], &["a", "b", "c"]] {
        assert!(order_as(&x, wrong).is_err());
    }
    let sum = combine(&[&x, &y], |v| &v[0] + &v[1]).unwrap();
    assert_eq!(names(&sum), "a b c");
    let (p, q) = (array(&[2, 3], 1), array(&[3, 4], 1));
    let want = p.expand_dims(2) + q.expand_dims(0);
    assert_eq!(
        positional(&sum, &["a", "b", "c"])
            .unwrap()
            .to_f64_vec()
            .unwrap(),
        want.to_f64_vec().unwrap()
    );
    let scaled = combine(&[&x, &Array::scalar(2.0f64)], |v| &v[0] * &v[1]).unwrap();
    assert_eq!(names(&scaled), "a b");
    assert!(
        combine(&[&x, &n(&[7], "b")], |v| &v[0] + &v[1])
            .unwrap_err()
            .message()
            .contains("axis `b` has size 3 and size 7")
    );
    assert!(combine(&[&x, &array(&[3], 1)], |v| &v[0] + &v[1]).is_err());
    assert!(combine(&[&x], |v| v[0].sum(0)).is_err());
    assert_eq!(
        names(&reduce_named(&x, &["a"], |x, axes| x.mean(axes)).unwrap()),
        "b"
    );
    assert!(reduce_named(&x, &["c"], |x, axes| x.sum(axes)).is_err());
    let product = contract(&x, &y, &["b"]).unwrap();
    assert_eq!(names(&product), "a c");
    assert_eq!(
        positional(&product, &["a", "c"])
            .unwrap()
            .to_f64_vec()
            .unwrap(),
        p.dot(&q).to_f64_vec().unwrap()
    );
    // A shared name that is not summed over stays in its place.
    let (x3, y3) = (n(&[2, 3, 5], "i k h"), n(&[5, 3, 4], "h k j"));
    let batched = contract(&x3, &y3, &["k"]).unwrap();
    assert_eq!(names(&batched), "i h j");
    let want = numpy::einsum(
        "ikh,hkj->ihj",
        &[&array(&[2, 3, 5], 1), &array(&[5, 3, 4], 1)],
    );
    let got = positional(&batched, &["i", "h", "j"])
        .unwrap()
        .to_f64_vec()
        .unwrap();
    assert!(
        got.iter()
            .zip(want.to_f64_vec().unwrap())
            .all(|(a, b)| (a - b).abs() < 1e-12)
    );
    let soft = along(&[&x3], &["k"], &["k"], |v| nn::softmax(&v[0], 0)).unwrap();
    assert_eq!(names(&soft), "i h k");
    let want = nn::softmax(&array(&[2, 3, 5], 1), 1)
        .transpose([0, 2, 1])
        .to_f64_vec()
        .unwrap();
    let got = positional(&soft, &["i", "h", "k"])
        .unwrap()
        .to_f64_vec()
        .unwrap();
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12));
    assert!(along(&[&x3], &["k"], &[], |v| v[0].clone()).is_err());
    assert!(along(&[&x3], &["nothing"], &[], |v| v[0].clone()).is_err());
}

#[test]
fn transformations_compose() {
    let loss = |w: &Array, x: &Array| x.dot(&w.t()).tanh().sum(());
    let (w, x) = (n(&[4, 3], "out in"), n(&[5, 3], "batch in"));
    let (pw, px) = (array(&[4, 3], 1), array(&[5, 3], 1));
    let want = grad(loss)(&pw, &px).unwrap().to_f64_vec().unwrap();
    let close = |x: &Array| {
        let x = positional(x, &["out", "in"]).unwrap().to_f64_vec().unwrap();
        assert!(x.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12));
    };
    close(&grad(quaxify(loss))(&w, &x).unwrap());
    close(&quaxify(grad(loss))(&w, &x).unwrap());
    close(&jit(quaxify(jit(grad(loss))))(&w, &x).unwrap());
    // Inside, the mapped axis is one of those of the batch; outside, it is taken from the components.
    let f = |w: &Array, x: &Array| w.dot(x);
    let a = vmap(quaxify(f)).in_axes((None, 0))(&w, &x).unwrap();
    let b = quaxify(vmap(f).in_axes((None, 0)))(&w, &x).unwrap();
    assert_eq!((names(&a), names(&b)), ("_ out".into(), "batch out".into()));
    let plain = |x: &Array| {
        x.value::<quaxide::rules::Named>()
            .unwrap()
            .array
            .to_f64_vec()
            .unwrap()
    };
    assert_eq!(plain(&a), plain(&b));
    let steps = |xs: &Array| scan(|c, x| (c + x, x.sin()), &Array::zeros([3], DType::F64), xs);
    let (sum, ys) = quaxify(steps)(&x).unwrap();
    assert_eq!((names(&sum), names(&ys)), ("-".into(), "_ in".into()));
}

#[test]
fn values_nest() {
    // Named over units.
    let x = quantity(array(&[2, 3], 1), "m").unwrap();
    let t = quantity(array(&[3], 2).abs() + 1.0, "s").unwrap();
    let (x, t) = (named(x, ["a", "b"]).unwrap(), named(t, ["b"]).unwrap());
    let y = quaxify(|x: &Array, t: &Array| x / t.broadcast_in_dim([2, 3], [1]))(&x, &t).unwrap();
    assert_eq!(format!("{y:?}"), "named[unitful[f64[2,3], m s^-1], a b]");
    let y = combine(&[&x, &t], |v| &v[0] / &v[1]).unwrap();
    assert_eq!(format!("{y:?}"), "named[unitful[f64[2,3], m s^-1], a b]");
    assert!(in_unit(&positional(&y, &["b", "a"]).unwrap(), "km/h").is_ok());
    let e =
        quaxify(|x: &Array, t: &Array| x + t.broadcast_in_dim([2, 3], [1]))(&x, &t).unwrap_err();
    assert!(
        e.message().contains("quantities in m and quantities in s"),
        "{e}"
    );
    let bare = quantity(2.0f64, "s").unwrap();
    let y = quaxify(|x: &Array, t: &Array| x * t)(&x, &bare).unwrap();
    assert_eq!(format!("{y:?}"), "named[unitful[f64[2,3], m s], a b]");
    // Low-rank adaptation of a named weight, and a named low-rank weight.
    let (w, a, b) = (array(&[4, 3], 1), array(&[4, 1], 2), array(&[1, 3], 3));
    let plain = (&w + a.dot(&b)).dot(&array(&[3], 4)).to_f64_vec().unwrap();
    let outside = LoraArray::from_parts(
        named(w.clone(), ["out", "in"]).unwrap(),
        a.clone(),
        b.clone(),
    )
    .unwrap();
    let inside = named(
        Array::from_value(LoraArray::from_parts(w, a, b).unwrap()),
        ["out", "in"],
    )
    .unwrap();
    let input = named(array(&[3], 4), ["in"]).unwrap();
    for w in [Array::from_value(outside), inside] {
        let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&w, &input).unwrap();
        assert_eq!(names(&y), "out");
        let y = positional(&y, &["out"]).unwrap().to_f64_vec().unwrap();
        assert!(y.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    let z = Zero::new([2, 3], DType::F64);
    let y = quaxify(|x: &Array, z: &Array| x + z)(&n(&[2, 3], "a b"), &z).unwrap();
    assert_eq!(names(&y), "a b");
}

/// Random programs over three named axes: names by names against NumPy's positions.
#[test]
fn random_programs_by_name_agree_with_positions() {
    const ALL: [(&str, usize); 3] = [("a", 2), ("b", 3), ("c", 4)];
    let count = if cfg!(debug_assertions) { 200 } else { 5000 };
    for seed in 0..count {
        let mut r = Rng(seed + 1);
        // Each value, by names and with all three axes in order (of size 1 where it lacks one).
        let mut values: Vec<(Array, Array)> = vec![];
        for k in 0..2 {
            let mut own: Vec<usize> = (0..3).filter(|_| r.chance(0.7)).collect();
            if r.chance(0.5) {
                own.reverse();
            }
            let shape: Vec<usize> = own.iter().map(|i| ALL[*i].1).collect();
            let x = array(&shape, seed * 2 + k);
            let mut order: Vec<usize> = (0..own.len()).collect();
            order.sort_by_key(|i| own[*i]);
            let full: Vec<usize> = (0..3)
                .map(|i| if own.contains(&i) { ALL[i].1 } else { 1 })
                .collect();
            let positional = x.transpose(order).reshape(full);
            let x = named(x, own.iter().map(|i| ALL[*i].0)).unwrap();
            values.push((x, positional));
        }
        for _ in 0..6 {
            let (i, j) = (r.below(values.len()), r.below(values.len()));
            let ((x, p), (y, q)) = (values[i].clone(), values[j].clone());
            let has = |x: &Array, name: &str| {
                axes_of(x)
                    .unwrap()
                    .iter()
                    .any(|n| n.as_deref() == Some(name))
            };
            let k = r.below(3);
            let (name, _) = ALL[k];
            let new = match r.below(5) {
                0 => (combine(&[&x, &y], |v| &v[0] + &v[1]), p + q),
                1 => (combine(&[&x, &y], |v| (&v[0] * &v[1]).sin()), (p * q).sin()),
                2 if has(&x, name) => (
                    reduce_named(&x, &[name], |x, axes| x.sum(axes)),
                    p.sum(k).expand_dims(k),
                ),
                3 if has(&x, name) && has(&y, name) => {
                    (contract(&x, &y, &[name]), (p * q).sum(k).expand_dims(k))
                }
                4 if has(&x, name) => (
                    along(&[&x], &[name], &[name], |v| v[0].cumsum(0)),
                    p.cumsum(k as i32),
                ),
                _ => continue,
            };
            let (got, want) = (
                new.0.unwrap_or_else(|e| panic!("{seed}: {e}")),
                new.1.tanh(),
            );
            let got = quaxify(|x: &Array| x.tanh())(&got).unwrap();
            let order: Vec<&str> = ALL.iter().map(|a| a.0).filter(|n| has(&got, n)).collect();
            let numbers = positional(&got, &order).unwrap().to_f64_vec().unwrap();
            for (a, b) in numbers.iter().zip(want.to_f64_vec().unwrap()) {
                assert!((a - b).abs() < 1e-9, "{seed}: {got:?}");
            }
            assert_eq!(numbers.len(), want.size(), "{seed}");
            values.push((got, want));
        }
    }
}
