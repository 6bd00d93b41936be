//! Quantities with units: their text, their arithmetic, and programs on them.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{Ratio, Unit, Unitful, Zero, in_unit, quantity},
};

#[path = "support/rng.rs"]
#[allow(dead_code, reason = "each file of tests uses its own part")]
mod rng;
use rng::Rng;

fn unit(text: &str) -> Unit {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn q(x: impl Into<Array>, u: &str) -> Array {
    quantity(x, u).unwrap()
}

fn shown(x: &Array) -> String {
    match x.value::<Unitful>() {
        Some(u) => format!("{:?} {}", u.array.to_f64_vec().unwrap(), u.unit),
        None => format!("{:?}", x.to_f64_vec().unwrap()),
    }
}

#[test]
fn units_print_and_parse() {
    for (text, printed) in [
        ("kg m s^-2", "kg m s^-2"),
        ("kg·m/s²", "kg m s^-2"),
        ("kg*m/s**2", "kg m s^-2"),
        ("W/(m^2 K)", "W K^-1 m^-2"),
        ("m^(1/2)", "m^(1/2)"),
        ("m^0.5", "m^(1/2)"),
        ("s⁻¹", "s^-1"),
        ("1/s", "s^-1"),
        ("km/h", "km h^-1"),
        ("1000 m", "1000 m"),
        ("", "1"),
        ("1", "1"),
        ("m/m", "1"),
        ("2 eV", "2 eV"),
        ("%", "%"),
        ("µm", "µm"),
        ("dam", "dam"),
        ("min", "min"),
    ] {
        let u = unit(text);
        assert_eq!(u.to_string(), printed);
        assert_eq!(unit(&u.to_string()), u, "{text} comes back");
    }
    for (a, b) in [
        ("N", "kg m s^-2"),
        ("J", "N m"),
        ("W", "V A"),
        ("Pa", "N/m^2"),
        ("Ω", "V/A"),
        ("Hz", "s^-1"),
        ("L", "dm^3"),
        ("kWh", "3.6 MJ"),
        ("psi", "lbf/in^2"),
        ("hp", "550 ft lbf/s"),
        ("kn", "nmi/h"),
        ("rad", "1"),
        ("Mg", "t"),
        ("T", "V s/m^2"),
    ] {
        assert_eq!(unit(a), unit(b), "{a} is {b}");
    }
    assert_ne!(unit("m"), unit("km"));
    let factor = |a: &str, b: &str| unit(a).factor_to(&unit(b)).unwrap();
    assert_eq!(factor("km", "m"), 1000.0);
    assert_eq!(factor("m", "km"), 0.001);
    assert_eq!(factor("h", "s"), 3600.0);
    assert_eq!(factor("deg", "rad"), std::f64::consts::PI / 180.0);
    assert_eq!(factor("eV", "J"), 1.602176634e-19);
    assert_eq!(factor("lbf", "N"), 4.4482216152605);
    assert_eq!(factor("mi", "km"), 1.609344);
    assert!((factor("hp", "W") - 745.6998715822702).abs() < 1e-12);
}

#[test]
fn text_that_is_no_unit_says_why() {
    for (text, part) in [
        ("meter", "`meter` is no unit"),
        ("KG", "did you mean `g`?"),
        ("°C", "offset"),
        ("degF", "offset"),
        ("dB", "logarithmic"),
        ("m^", "exponent"),
        ("m^(1/0)", "exponent"),
        ("(m", "parenthesis"),
        ("m)", "`)` was not expected"),
        ("m/", "ends"),
        ("0 m", "not a positive number"),
        ("m^99999999999", "exponent"),
        ("kmin", "no unit"),
        ("m & s", "`&`"),
    ] {
        let e = text.parse::<Unit>().unwrap_err();
        let all = format!("{e}");
        let near = text == "KG" || all.contains(part);
        assert!(near, "{text}: {all}");
    }
    assert!(unit("m^100000").powi(1_000_000).is_err());
    assert_eq!(Ratio::new(2, -4), Ratio::new(-1, 2));
    assert_eq!(Ratio::new(1, 0), None);
    assert!("(".repeat(100_000).parse::<Unit>().is_err());
}

#[test]
fn arithmetic_follows_the_units() {
    let (x, t) = (q([1f64, 2.0], "km"), q([10f64, 20.0], "s"));
    let two = |f: fn(&Array, &Array) -> Array| shown(&quaxify(f)(&x, &t).unwrap());
    assert_eq!(two(|x, t| x / t), "[0.1, 0.1] km s^-1");
    assert_eq!(two(|x, t| x + x / t * t), "[2.0, 4.0] km");
    assert_eq!(two(|x, t| (x * t) / (t * x)), "[1.0, 1.0]");
    let one = |f: fn(&Array) -> Array| shown(&quaxify(f)(&x).unwrap());
    assert_eq!(one(|x| x.square().sqrt()), "[1.0, 2.0] km");
    assert_eq!(
        one(|x| x.sqrt()),
        format!("[1.0, {}] km^(1/2)", 2f64.sqrt())
    );
    assert_eq!(
        one(|x| x.pow(1.5) / x.sqrt()),
        format!("[1.0, {:?}] km", 2.0f64.powf(1.5) / 2f64.sqrt())
    );
    assert_eq!(one(|x| x.integer_pow(-2)), "[1.0, 0.25] km^-2");
    assert_eq!(one(|x| x.prod(())), "[2.0] km^2");
    assert_eq!(one(|x| x.dot(x)), "[5.0] km^2");
    assert_eq!(one(|x| x.sign()), "[1.0, 1.0]");
    assert_eq!(one(|x| x.argmax(0)), "[1.0]");
    assert_eq!(one(|x| (x / x).exp().floor()), "[2.0, 2.0]");
    assert_eq!(one(|x| x.maximum(0.0)), "[1.0, 2.0] km");
    assert_eq!(one(nn::relu), "[1.0, 2.0] km");
    assert_eq!(one(|x| x.gt(0.0).select(x, 0.0)), "[1.0, 2.0] km");
    assert_eq!(one(|x| x.mean(())), "[1.5] km");
    assert_eq!(one(|x| x.std(0)), "[0.5] km");
    assert_eq!(
        one(|x| numpy::concatenate(&[x, x], 0)),
        "[1.0, 2.0, 1.0, 2.0] km"
    );
    assert_eq!(one(|x| x.index(1)), "[2.0] km");
    assert_eq!(one(|x| x.at(0).set(0.0)), "[0.0, 2.0] km");
    assert_eq!(one(|x| x.sort(0)), "[1.0, 2.0] km");
    assert_eq!(one(|x| linalg::det(&numpy::outer(x, x))), "[0.0] km^4");
    let (m, km) = (q([500f64, 3000.0], "m"), x.clone());
    let mix = |f: fn(&Array, &Array) -> Array| shown(&quaxify(f)(&km, &m).unwrap());
    assert_eq!(mix(|a, b| a + b), "[1.5, 5.0] km");
    assert_eq!(mix(|a, b| b - a), "[-500.0, 1000.0] m");
    assert_eq!(mix(|a, b| a.gt(b)), "[1.0, 0.0]");
    assert_eq!(mix(|a, b| (a / b - 1.0).sign()), "[1.0, -1.0]");
    assert_eq!(mix(|a, b| a.maximum(b)), "[1.0, 3.0] km");
}

#[test]
fn energy_of_a_ball() {
    // The example of Quax's tutorial: kinetic and potential energy.
    let energy = |mass: &Array, speed: &Array, height: &Array, g: &Array| {
        0.5 * mass * speed.square() + mass * g * height
    };
    let e = quaxify(energy)(
        &q(1f32, "kg"),
        &q(3f32, "m/s"),
        &q(3.28f32, "m"),
        &q(9.81f32, "m s^-2"),
    );
    let e = e.unwrap();
    assert_eq!(e.value::<Unitful>().unwrap().unit, unit("J"));
    assert!((in_unit(&e, "J").unwrap().item::<f32>().unwrap() - 36.6768).abs() < 1e-4);
}

#[test]
fn what_does_not_fit_is_refused_at_the_users_line() {
    let (m, s) = (q([1f32, 2.0], "m"), q([1f32, 2.0], "s"));
    let e = quaxify(|a: &Array, b: &Array| a + b)(&m, &s).unwrap_err();
    assert_eq!(
        e.message(),
        "`add`: quantities in m and quantities in s do not fit"
    );
    assert!(
        e.location().unwrap().file().ends_with("types_unitful.rs"),
        "{e}"
    );
    let e = quaxify(|a: &Array| a + 1.0)(&m).unwrap_err();
    assert_eq!(
        e.message(),
        "`add`: quantities in m and plain numbers do not fit"
    );
    assert!(e.to_string().contains("`quantity` gives"), "{e}");
    let e = quaxify(|a: &Array| (a * 3.0).exp())(&m).unwrap_err();
    assert_eq!(e.message(), "`exp` takes numbers, not quantities in m");
    assert!(
        e.location().unwrap().file().ends_with("types_unitful.rs"),
        "{e}"
    );
    for f in [
        (|a: &Array, _: &Array| a.floor()) as fn(&Array, &Array) -> Array,
        |a, b| a.gt(b),
        |a, b| a.pow(b),
        |a, _| a.pow(a),
        |a, b| numpy::concatenate(&[a, b], 0),
        |a, b| a.gt(0.0).select(a, b),
        |a, _| a.cumulative_product(),
        |a, b| a.at(0).set(b.index(0)),
        |a, b| a.index(b.astype(DType::I32)),
        |a, b| a.igamma(b),
    ] {
        let e = quaxify(f)(&m, &s).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Argument, "{e}");
    }
    // Outside of `quaxify` a quantity has no numbers of its own.
    assert_eq!((&m + &m).ok().unwrap_err().kind(), ErrorKind::NotQuaxified);
    assert!(m.materialise().is_err());
    assert_eq!(
        q([50f32], "%")
            .materialise()
            .unwrap()
            .to_vec::<f32>()
            .unwrap(),
        [0.5]
    );
    assert!(in_unit(&m, "s").is_err());
    assert!(quantity([1f32], "parsec-ish").is_err());
    let i = q(Array::from([1i32]), "m");
    assert!(in_unit(&i, "km").is_err());
    assert_eq!(in_unit(&i, "mm").unwrap().to_vec::<i32>().unwrap(), [1000]);
}

trait CumulativeProduct {
    fn cumulative_product(&self) -> Array;
}
impl CumulativeProduct for Array {
    fn cumulative_product(&self) -> Array {
        quaxide::trace::bind(
            op::Cumulative {
                kind: op::CumulativeKind::Prod,
                axis: 0,
                reverse: false,
            },
            &[self],
        )
    }
}

#[test]
fn units_of_ones_own() {
    let euro = Unit::base("EUR");
    let price = quantity([3f64, 4.0], euro.clone()).unwrap();
    let per = quantity([2f64, 1.0], "kg").unwrap();
    let y = quaxify(|p: &Array, w: &Array| p / w)(&price, &per).unwrap();
    assert_eq!(shown(&y), "[1.5, 4.0] EUR kg^-1");
    assert!(quaxify(|p: &Array, w: &Array| p + w)(&price, &per).is_err());
    assert!(euro.converts_to(&Unit::base("EUR")));
}

#[test]
fn gradients_have_units() {
    let f = |x: &Array, k: &Array| (k * x.square()).sum(());
    let (x, k) = (q([1f64, 2.0], "m"), q(3f64, "N/m"));
    // The derivative of an energy by a length is a force.
    let g = quaxify(grad(f))(&x, &k).unwrap();
    let u = g.value::<Unitful>().unwrap();
    assert_eq!(u.unit, unit("N"));
    assert_eq!(u.array.to_vec::<f64>().unwrap(), [6.0, 12.0]);
    // Outside, a value is a container, and its gradient has its structure.
    let numbers = |x: &Array, k: &Array| in_unit(&quaxify(f)(x, k)?, "mJ");
    let g = grad(numbers)(&x, &k).unwrap();
    let u = g.value::<Unitful>().unwrap();
    assert_eq!(u.unit, unit("m"));
    assert_eq!(u.array.to_vec::<f64>().unwrap(), [6000.0, 12000.0]);
    // Mixed units of one dimension, second derivatives, and a function with branches.
    let h = |x: &Array, y: &Array| {
        let z = x + y;
        z.gt(0.0)
            .select(z.sqrt() * x, x.square().sqrt() * y.sqrt())
            .sum(())
    };
    let (a, b) = (q([1f64, 2.0], "m"), q([1f64, 2.0], "km"));
    let g = quaxify(grad(h))(&a, &b).unwrap();
    let want = grad(h)(&Array::from([1f64, 2.0]), &Array::from([1000f64, 2000.0])).unwrap();
    let got = in_unit(&g, "m^(1/2)").unwrap();
    let close = |a: &Array, b: &Array| {
        let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        a.iter()
            .zip(&b)
            .all(|(x, y)| (x - y).abs() <= 1e-12 * y.abs())
    };
    assert!(close(&got, &want));
    let second = quaxify(grad(|x: &Array| {
        grad(|x: &Array| x.integer_pow(3).sum(()))(x)
            .unwrap()
            .sum(())
    }))(&a)
    .unwrap();
    assert_eq!(shown(&second), "[6.0, 12.0] m");
}

#[test]
fn transformations_compose() {
    let f = |x: &Array, v: &Array| (x / v).sum(());
    let (x, v) = (q([[1f64, 2.0], [3.0, 4.0]], "km"), q([1f64, 2.0], "m/s"));
    let a = vmap(quaxify(f)).in_axes((0, None))(&x, &v).unwrap();
    let b = quaxify(vmap(f).in_axes((0, None)))(&x, &v).unwrap();
    let c = jit(quaxify(jit(vmap(f).in_axes((0, None)))))(&x, &v).unwrap();
    for y in [&a, &b, &c] {
        assert_eq!(shown(y), "[2.0, 5.0] km s m^-1");
        assert_eq!(
            in_unit(y, "s").unwrap().to_vec::<f64>().unwrap(),
            [2000.0, 5000.0]
        );
    }
    let a = vmap(grad(|x: &Array, v: &Array| {
        in_unit(&quaxify(f)(x, v)?, "ks")
    }))
    .in_axes((0, None))(&x, &v)
    .unwrap();
    let b = quaxify(grad(|x: &Array, v: &Array| {
        vmap(f).in_axes((0, None))(x, v).unwrap().sum(())
    }))(&x, &v)
    .unwrap();
    assert_eq!(
        in_unit(&b, "s/m").unwrap().to_vec::<f64>().unwrap(),
        a.value::<Unitful>().unwrap().array.to_vec::<f64>().unwrap()
    );
}

#[test]
fn loops_keep_units() {
    let fall = |x: &Array, v: &Array, dt: &Array| -> Result<Array> {
        let step = |(x, v): &(Array, Array), _: &()| ((x + v * dt, v.clone()), ());
        let three = ScanOptions::new().length(3);
        let ((x, _), ()) = scan_with(three, step, &(x.clone(), v.clone()), &())?;
        Ok(x)
    };
    let y = quaxify(fall)(&q(1f64, "m"), &q(2f64, "m/s"), &q(0.5f64, "s")).unwrap();
    assert_eq!(shown(&y), "[4.0] m");
}

#[test]
fn values_nest() {
    // Low-rank adaptation of a weight in newtons per metre.
    let n = |x: &Array| q(x.clone(), "N/m");
    let [k1, k2, k3, k4] = random::key(3).split();
    let (w, a, b) = (
        random::normal(&k1, [4, 3]),
        random::normal(&k2, [4, 1]),
        random::normal(&k3, [1, 3]),
    );
    let x = random::normal(&k4, [3]);
    let lora = LoraArray::from_parts(w.clone(), a.clone(), b.clone()).unwrap();
    let inside = q(Array::from_value(lora), "N/m");
    let outside = Array::from_value(LoraArray::from_parts(n(&w), n(&a), b.clone()).unwrap());
    let f = |w: &Array, x: &Array| w.dot(x);
    let want = (w + a.dot(&b)).dot(&x).to_vec::<f32>().unwrap();
    for lora in [inside, outside] {
        let y = quaxify(f)(&lora, &q(x.clone(), "m")).unwrap();
        let y = in_unit(&y, "N").unwrap().to_vec::<f32>().unwrap();
        assert!(y.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    let zero = Zero::new([3], DType::F32);
    let y = quaxify(|z: &Array, x: &Array| (z + x, z * x))(&zero, &q(x.clone(), "m")).unwrap();
    assert_eq!(y.0.value::<Unitful>().unwrap().unit, unit("m"));
    assert!(y.1.is_symbolic_zero());
}

/// A quantity in three units of its dimension, and what it is in SI.
const UNITS: &[&[&str]] = &[&["m", "km", "in"], &["s", "h", "ms"], &["kg", "g", "lb"]];

fn dimension(e: [i32; 3]) -> Unit {
    let mut u = Unit::one();
    for (i, e) in e.into_iter().enumerate() {
        u = u.times(&unit(UNITS[i][0]).powi(e).unwrap()).unwrap();
    }
    u
}

/// A random program, on quantities and on their numbers in SI.
fn random_program(seed: u64) {
    let mut r = Rng(seed);
    let shape = [1 + r.below(3), 1 + r.below(3)];
    let mut inputs = vec![];
    for units in UNITS {
        let x = rng::random_array(&mut r, &shape).abs() + 0.5;
        let u = *r.choose(units).unwrap();
        let factor = unit(u).factor_to(&unit(units[0])).unwrap();
        inputs.push((q(x.clone() / factor, u), x));
    }
    // Each step: its kind and its operands by number; the dimensions decide what is possible.
    let mut steps = vec![];
    let mut kinds: Vec<[i32; 3]> = vec![[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    while steps.len() < 8 {
        let (a, b) = (r.below(kinds.len()), r.below(kinds.len()));
        let (da, db) = (kinds[a], kinds[b]);
        let step = r.below(9);
        let bounded = |d: [i32; 3]| d.iter().all(|e| e.abs() <= 4);
        let new = match step {
            0 => std::array::from_fn(|i| da[i] + db[i]),
            1 => std::array::from_fn(|i| da[i] - db[i]),
            2..=4 if da == db => da,
            5 if da.iter().all(|e| e % 2 == 0) => da.map(|e| e / 2),
            6 => da.map(|e| 2 * e),
            7 => da,
            8 if da == [0; 3] => da,
            _ => continue,
        };
        if bounded(new) {
            kinds.push(new);
            steps.push((step, a, b));
        }
    }
    let run = |x: &Vec<Array>| -> Vec<Array> {
        let mut v = x.clone();
        for (step, a, b) in &steps {
            let (a, b) = (&v[*a], &v[*b]);
            let y = match step {
                0 => a * b,
                1 => a / b,
                2 => a + b,
                3 => a.maximum(b),
                4 => a.gt(b).select(a, b),
                5 => a.sqrt(),
                6 => a.square(),
                7 => a
                    .transpose([1, 0])
                    .sum(1)
                    .expand_dims(0)
                    .broadcast_to(a.shape()),
                _ => a.log1p(),
            };
            v.push(y);
        }
        v
    };
    let (quantities, plain): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
    let got = quaxify(run)(&quantities).unwrap_or_else(|e| panic!("{seed}: {e}\n{steps:?}"));
    let want = run(&plain);
    for ((y, w), d) in got.iter().zip(&want).zip(&kinds) {
        let y = in_unit(y, dimension(*d)).unwrap_or_else(|e| panic!("{seed}: {e}\n{steps:?}"));
        for (y, w) in y.to_f64_vec().unwrap().iter().zip(w.to_f64_vec().unwrap()) {
            assert!(
                (y - w).abs() <= 1e-9 * w.abs(),
                "{seed}: {y} for {w}\n{steps:?}"
            );
        }
    }
    // The gradient of the last quantity by the first, in SI.
    let scalar = |x: &Vec<Array>| run(x).last().unwrap().sum(());
    let g = quaxify(grad(scalar))(&quantities).unwrap_or_else(|e| panic!("{seed}: {e}\n{steps:?}"));
    let w = grad(scalar)(&plain).unwrap();
    let last = kinds.last().unwrap();
    for (i, (g, w)) in g.iter().zip(&w).enumerate() {
        if w.is_symbolic_zero() || g.is_symbolic_zero() {
            continue;
        }
        let of = dimension(*last).per(&unit(UNITS[i][0])).unwrap();
        let g = in_unit(g, of).unwrap_or_else(|e| panic!("{seed}: {e}\n{steps:?}"));
        let w = w.to_f64_vec().unwrap();
        let scale = w.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (g, w) in g.to_f64_vec().unwrap().iter().zip(&w) {
            assert!(
                (g - w).abs() <= 1e-8 * scale,
                "{seed}: {g} for {w}\n{steps:?}"
            );
        }
    }
}

#[test]
fn random_programs_do_not_depend_on_the_units_chosen() {
    let n = if cfg!(debug_assertions) { 300 } else { 5000 };
    (0..n).for_each(random_program);
}
