//! What users know to be equal is used where it is cheaper; and programs that are computed in the order in which they are written.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::algebra::{self, Equality, Options},
};

fn ramp(shape: &[usize], step: f64) -> Array {
    let count: usize = shape.iter().product();
    let numbers: Vec<f64> = (0..count).map(|i| (i as f64 * step).sin()).collect();
    Array::from(numbers).reshape(shape).astype(DType::F32)
}

/// The matrix whose every row is the one before, shifted: `m[i,j] = c[(i − j) mod n]`.
fn circulant(c: &Array) -> Array {
    let n = c.shape()[0] as i32;
    let places: Vec<i32> = (0..n * n).map(|k| (k / n - k % n).rem_euclid(n)).collect();
    c.index(Array::from(places).reshape([n as usize, n as usize]))
}

#[derive(Clone, PyTree)]
struct Circulant(Array);

impl ArrayValue for Circulant {
    fn aval(&self) -> Result<Aval> {
        let c = self.0.aval()?;
        let n = c.shape[0];
        Ok(Aval::new([n, n], c.dtype))
    }
    fn materialise(&self) -> Result<Array> {
        Ok(circulant(&self.0))
    }
}

fn by_fft() -> Result<Equality> {
    Equality::new(
        "circulant by fft",
        &[&[6], &[6]],
        |x| circulant(&x[0]).dot(&x[1]),
        |x| {
            let n = x[0].shape()[0];
            let transformed = |x: &Array| lax::fft(x, op::FftType::Rfft, [n]);
            let product = transformed(&x[0]) * transformed(&x[1]);
            lax::fft(&product, op::FftType::Irfft, [n])
        },
    )
}

#[test]
fn a_structured_matrix_is_multiplied_by_what_its_user_knows() {
    let product = |c: &Array, x: &Array| c.dot(x);
    let n = 512;
    let value = Array::from_value(Circulant(ramp(&[n], 0.7)));
    let x = ramp(&[n], 0.3);
    let program = || quaxify(product).stages((&value, &x)).unwrap().rewritten;
    let plain = program();
    let known = Options::new().equality(by_fft().unwrap()).scope(program);
    assert!(known.to_string().contains("fft"), "{known}");
    assert!(!plain.to_string().contains("fft"));
    let y = Options::new()
        .equality(by_fft().unwrap())
        .scope(|| quaxify(product)(&value, &x))
        .unwrap();
    let expected = circulant(&ramp(&[n], 0.7)).dot(&x);
    let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    for (a, b) in y.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-3, "{a} ≠ {b}");
    }
    // It is used where it is cheaper, and not the other way.
    let back = Equality::new(
        "fft by circulant",
        &[&[6], &[6]],
        |x| {
            let n = x[0].shape()[0];
            let transformed = |x: &Array| lax::fft(x, op::FftType::Rfft, [n]);
            let product = transformed(&x[0]) * transformed(&x[1]);
            lax::fft(&product, op::FftType::Irfft, [n])
        },
        |x| circulant(&x[0]).dot(&x[1]),
    );
    let again = Options::new()
        .equality(back.unwrap())
        .scope(|| algebra::rewritten(&known))
        .unwrap();
    assert!(again.to_string().contains("fft"), "{again}");
}

fn fired(program: &Jaxpr) -> usize {
    let transforms = program.eqns().iter();
    transforms.filter(|eqn| eqn.op.name() == "fft").count()
}

#[test]
fn an_equality_is_found_behind_a_sum_that_has_to_be_multiplied_out() {
    // As written no product of the circulant matrix with anything is there.
    let n = 512;
    let value = Array::from_value(Circulant(ramp(&[n], 0.7)));
    let (a, b, x) = (ramp(&[n, 2], 0.1), ramp(&[2, n], 0.2), ramp(&[n], 0.3));
    let f = |c: &Array, ab: &(Array, Array), x: &Array| (c + ab.0.dot(&ab.1)).dot(x);
    let ab = (a, b);
    let options = || Options::new().equality(by_fft().unwrap());
    let program = options()
        .scope(|| quaxify(f).stages((&value, &ab, &x)))
        .unwrap();
    assert_eq!(fired(&program.rewritten), 3, "{}", program.rewritten);
    let y = options().scope(|| quaxify(f)(&value, &ab, &x)).unwrap();
    let expected = f(&circulant(&ramp(&[n], 0.7)), &ab, &x);
    let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    for (a, b) in y.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-2, "{a} ≠ {b}");
    }
}

#[test]
fn an_equality_of_vectors_holds_for_each_column() {
    let n = 512;
    let value = Array::from_value(Circulant(ramp(&[n], 0.7)));
    let x = ramp(&[n, 3], 0.3);
    let product = |c: &Array, x: &Array| c.dot(x);
    let options = || Options::new().equality(by_fft().unwrap());
    let program = options()
        .scope(|| quaxify(product).stages((&value, &x)))
        .unwrap();
    assert!(fired(&program.rewritten) > 0, "{}", program.rewritten);
    let y = options().scope(|| quaxify(product)(&value, &x)).unwrap();
    let expected = circulant(&ramp(&[n], 0.7)).dot(&x);
    let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    for (a, b) in y.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-2, "{a} ≠ {b}");
    }
    // Small ones are multiplied as they are.
    let small = Array::from_value(Circulant(ramp(&[4], 0.7)));
    let program = options().scope(|| quaxify(product).stages((&small, &ramp(&[4], 0.3))));
    assert_eq!(fired(&program.unwrap().rewritten), 0);
}

#[test]
fn a_jitted_function_is_planned_for_the_options_it_is_called_under() {
    let (a, x) = (ramp(&[30, 30], 0.3), ramp(&[30], 0.7));
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = calls.clone();
    let f = jit(move |a: &Array, x: &Array| {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        a.dot(a).dot(x)
    });
    let count = || calls.load(std::sync::atomic::Ordering::Relaxed);
    let _ = f(&a, &x).unwrap();
    let _ = f(&a, &x).unwrap();
    assert_eq!(count(), 1);
    for _ in 0..2 {
        let kept = Options::new().keep_order(true);
        let _ = kept.scope(|| f(&a, &x)).unwrap();
    }
    assert_eq!(count(), 2);
    // Equal equalities are equal options, though they are stated anew.
    for _ in 0..2 {
        let known = Options::new().equality(by_fft().unwrap());
        let _ = known.scope(|| f(&a, &x)).unwrap();
    }
    assert_eq!(count(), 3);
    let _ = f(&a, &x).unwrap();
    assert_eq!(count(), 3);
}

#[test]
fn a_false_equality_is_refused_with_the_counterexample() {
    let transposed = Equality::new(
        "products commute",
        &[&[2, 2], &[2, 2]],
        |x| x[0].dot(&x[1]),
        |x| x[1].dot(&x[0]),
    );
    let error = transposed.unwrap_err();
    assert!(
        error.to_string().contains("differ") && error.to_string().contains("[["),
        "{error}"
    );
    let types = Equality::new("a sum", &[&[3]], |x| &x[0] + 1.0, |x| x[0].sum(()));
    assert_eq!(types.unwrap_err().kind(), ErrorKind::Shape);
    assert!(Equality::new("anything", &[&[3]], |x| x[0].clone(), |x| &x[0] + 0.0).is_err());
}

#[test]
fn a_rewrite_that_makes_room_for_itself_ends() {
    // Each application makes the program larger, none cheaper: nothing is applied.
    let growing = Equality::new(
        "twice half",
        &[&[4]],
        |x| x[0].tanh(),
        |x| (x[0].tanh() + x[0].tanh()) * 0.5,
    );
    // This one is cheaper each time, as long as there is something to take away.
    let shrinking = Equality::new(
        "exp of log",
        &[&[4]],
        |x| x[0].exp().log(),
        |x| x[0].clone(),
    );
    let options = Options::new()
        .equality(growing.unwrap())
        .equality(shrinking.unwrap());
    let f = |x: &Array| (0..100).fold(x.tanh(), |y, _| y.exp().log());
    let x = ramp(&[64], 0.3);
    let y = options.scope(|| jit(f)(&x)).unwrap().to_f64_vec().unwrap();
    for (a, b) in y.iter().zip(x.tanh().to_f64_vec().unwrap()) {
        assert!((a - b).abs() < 1e-4);
    }
}

#[test]
fn products_that_grow_or_go_round_in_the_graph_end_with_the_best_plan() {
    // Each side holds the other, and what comes out of one is where the next is found; the graph would grow without end.
    let texts = [
        "a[ij]·b[jk] -> [ik] = 0.5·((a[ij] + a[ij])·(b[jk] + b[jk] - b[jk]) -> [ik])",
        "a[ij]·b[jk] -> [ik] = t(t(b)[kj]·t(a)[ji] -> [ki])[ik]",
        "a[ij]·b[jk] -> [ik] = t(t(t(t(a))[ij]·t(t(b))[jk] -> [ik]))[ik]",
    ];
    let known = |texts: &[&str]| {
        let sizes = |n: algebra::Notation| n.shape("a", &[3, 4]).shape("b", &[4, 5]);
        let all = texts
            .iter()
            .map(|text| sizes(Equality::text(text, text)).check().unwrap());
        all.fold(Options::new(), Options::equality)
    };
    let matrices: Vec<Array> = (0..10)
        .map(|i| {
            ramp(
                &[16 + 8 * (i % 3), 16 + 8 * ((i + 1) % 3)],
                0.1 + 0.1 * i as f64,
            )
        })
        .collect();
    let chain = |all: &Vec<Array>| all[1..].iter().fold(all[0].clone(), |y, x| y.dot(x));
    let program = make_jaxpr(chain)(&matrices).unwrap();
    let cost = |options: Options| {
        let islands = options.scope(|| algebra::plans(&program)).unwrap();
        islands.iter().map(|island| island.cost).sum::<f64>()
    };
    let plain = cost(Options::new());
    for texts in [&texts[..1], &texts[1..2], &texts[..]] {
        assert!(cost(known(texts)) <= plain * (1.0 + 1e-9), "{texts:?}");
    }
    let y = known(&texts).scope(|| jit(chain)(&matrices)).unwrap();
    let (y, expected) = (y.to_f64_vec().unwrap(), program.eval(&matrices).unwrap());
    for (a, b) in y.iter().zip(expected[0].to_f64_vec().unwrap()) {
        assert!((a - b).abs() <= 1e-2 * (1.0 + b.abs()), "{a} ≠ {b}");
    }
}

#[test]
fn the_order_of_operations_is_kept_where_that_is_asked_for() {
    let chain = |a: &Array, x: &Array| a.dot(a).dot(x);
    let (a, x) = (ramp(&[30, 30], 0.3), ramp(&[30], 0.7));
    let program = make_jaxpr(chain)(&a, &x).unwrap();
    let cheap = algebra::rewritten(&program).unwrap();
    let kept = Options::new()
        .keep_order(true)
        .scope(|| algebra::rewritten(&program))
        .unwrap();
    assert_ne!(cheap.to_string(), kept.to_string());
    assert_eq!(program.to_string(), kept.to_string());
    // What is forbidden is taken apart all the same.
    let lora = LoraArray::from_parts(
        ramp(&[30, 30], 0.3),
        ramp(&[30, 2], 0.1),
        ramp(&[2, 30], 0.2),
    );
    let lora = Array::from_value(lora.unwrap());
    let stages = Options::new()
        .keep_order(true)
        .scope(|| quaxify(|w: &Array, x: &Array| w.dot(x)).stages((&lora, &x)))
        .unwrap();
    let products = stages.rewritten.eqns().iter();
    assert_eq!(
        products
            .filter(|eqn| eqn.op.name() == "dot_general")
            .count(),
        3
    );
}

#[test]
fn a_cost_model_is_kept_in_a_file() {
    let folder = std::env::temp_dir().join(format!("quaxide-cost-{}", std::process::id()));
    let path = folder.join("model");
    let model = algebra::CostModel::default();
    model.save(&path).unwrap();
    assert_eq!(algebra::CostModel::load(&path).unwrap(), model);
    std::fs::write(
        &path,
        "quaxide cost model 2\nflops_per_us 3\nbytes_per_us NaN\n",
    )
    .unwrap();
    let error = algebra::CostModel::load(&path).unwrap_err();
    assert!(error.to_string().contains("bytes_per_us"), "{error}");
    std::fs::write(&path, "flops_per_us 3\n").unwrap();
    let error = algebra::CostModel::load(&path).unwrap_err();
    assert!(error.to_string().contains("first line"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

fn written(text: &str) -> Result<Equality> {
    Equality::text("circulant by fft", text)
        .function("circulant", |x| circulant(&x[0]))
        .shape("c", &[6])
        .check()
}

#[test]
fn equalities_are_written_as_text() {
    let n = 512;
    let text = "circulant(c)[ij]·x[j] -> [i] = irfft(rfft(c)[k]·rfft(x)[k] -> [k])[i]";
    let value = Array::from_value(Circulant(ramp(&[n], 0.7)));
    let product = |c: &Array, x: &Array| c.dot(x);
    for x in [ramp(&[n], 0.3), ramp(&[n, 2], 0.3)] {
        let options = || Options::new().equality(written(text).unwrap());
        let program = options().scope(|| quaxify(product).stages((&value, &x)));
        assert!(fired(&program.unwrap().rewritten) > 0);
        let y = options().scope(|| quaxify(product)(&value, &x)).unwrap();
        let expected = circulant(&ramp(&[n], 0.7)).dot(&x);
        let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        for (a, b) in y.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-2, "{a} ≠ {b}");
        }
    }
    type Sizes<'a> = &'a [(&'a str, &'a [usize])];
    let fine: [(&str, Sizes); 4] = [
        ("a[ij] b[jk] = b[jk]·a[ij]", &[("a", &[3, 4])]),
        ("2·a[ij]·b[j] - a[ij]*b[j] -> [i] = a[ij]·b[j]", &[]),
        ("diag(d[i])[ij]·x[j] = d[i]·x[i] -> [i]", &[]),
        (
            "(exp(a))[i]·exp(b)[i] -> [i] = exp(a[i] + b[i] -> [i])",
            &[("a", &[3]), ("b", &[3])],
        ),
    ];
    for (text, shapes) in fine {
        let notation = Equality::text("fine", text);
        let notation = shapes
            .iter()
            .fold(notation, |n, (name, s)| n.shape(name, s));
        let equality = notation.check();
        assert!(equality.is_ok(), "{text}: {}", equality.unwrap_err());
    }
}

#[test]
fn a_text_that_is_wrong_says_where() {
    let wrong = [
        ("a[ij]·b[jk] = ", "1:15"),
        ("a[ij]·b[jk]", "`=` is expected"),
        (
            "a[ij]·b[jk] = c[ik]",
            "1:15: `c` does not stand on the left",
        ),
        ("a[i1]·b[jk] = a[ij]", "1:4"),
        ("f(a[ij])·b[jk] = a[ij]", "there is no function `f`"),
        ("circulant(c)[ij]·x[j] = x[i]", "differ"),
        ("circulant(z)[ij]·x[j] = x[i]", "which shape `z` has"),
        (
            "circulant(c)[ijk]·x[j] = x[i]",
            "3 axes are named, and there are 2",
        ),
        ("a[ij]·b[jk] = a[ij]·b[jk] -> [ij]", "remains on the left"),
        ("a[ij]·b[jk] -> [il] = a[ij]", "axis l remains"),
        ("a·b[jk] = a[ij]", ""),
        ("((((", "expected here"),
    ];
    for (text, message) in wrong {
        let error = match text.contains("circulant(c)") {
            true => written(text).unwrap_err(),
            false => Equality::text("wrong", text).check().unwrap_err(),
        };
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
    let deep = format!("{}a", "(".repeat(100_000));
    assert!(Equality::text("deep", &deep).check().is_err());
}

#[test]
fn plans_are_kept_in_a_file() {
    let (a, x) = (ramp(&[30, 30], 0.3), ramp(&[30], 0.7));
    let lora = LoraArray::from_parts(
        ramp(&[30, 30], 0.3),
        ramp(&[30, 2], 0.1),
        ramp(&[2, 30], 0.2),
    );
    let lora = Array::from_value(lora.unwrap());
    let program = make_jaxpr(quaxify(|w: &Array, a: &Array, x: &Array| {
        w.dot(&a.dot(a).dot(x))
    }))(&lora, &a, &x);
    let program = program.unwrap();
    let planned = algebra::rewritten(&program).unwrap().to_string();
    let path = std::env::temp_dir().join(format!("quaxide-plans-{}", std::process::id()));
    assert!(algebra::save_plans(&path).unwrap() > 0);
    algebra::forget();
    assert!(algebra::load_plans(&path).unwrap() > 0);
    assert_eq!(algebra::rewritten(&program).unwrap().to_string(), planned);
    // Whatever byte is wrong, nothing is taken, and programs are planned as without the file.
    let bytes = std::fs::read(&path).unwrap();
    for place in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x41;
        std::fs::write(&path, &damaged).unwrap();
        let error = algebra::load_plans(&path).unwrap_err();
        assert!(error.to_string().contains("not used"), "{error}");
    }
    for length in [0, 5, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(algebra::load_plans(&path).is_err());
    }
    let other = [
        b"quaxide plans 1, release 0.0.1, cost model 00\n".as_slice(),
        &bytes[40..],
    ]
    .concat();
    std::fs::write(&path, other).unwrap();
    let error = algebra::load_plans(&path).unwrap_err().to_string();
    assert!(error.contains("another release"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        algebra::load_plans(&path).unwrap_err().kind(),
        ErrorKind::Io
    );
    algebra::forget();
    assert_eq!(algebra::rewritten(&program).unwrap().to_string(), planned);
}
