//! Properties of the transformations and interpreters on programs made at random.
//!
//! Each failure prints its seed and the smallest program that still fails. `QUAXIDE_PROGRAMS=100000 cargo test --release --test
//! random_programs` runs more of them, `QUAXIDE_SEED=…` starts elsewhere.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

#[path = "support/programs/mod.rs"]
mod programs;

use programs::{Made, Options, Program, Step, agree, difference, generate, oracle, shrink, slice};
use quaxide::{interp::reference, prelude::*};
use rng::{Numbers, Rng, random_array, random_of};
use std::collections::BTreeMap;

fn variable(name: &str, default: u64) -> u64 {
    let n = std::env::var(name).ok().and_then(|n| n.parse().ok());
    n.unwrap_or(default)
}

/// Of `default` programs that a property is checked on in an ordinary run, how many in this one?
fn count(default: u64) -> u64 {
    variable("QUAXIDE_PROGRAMS", 10_000) * default / 10_000
}

/// What became of a property on one program.
enum Verdict {
    Holds,
    /// The program has a kink or a jump nearby, where finite differences say nothing.
    Inconclusive,
    Fails(String),
}
use Verdict::*;

/// Where two arrays do not agree, that is the end of the property.
macro_rules! agree {
    ($what:expr, $a:expr, $b:expr, $tolerance:expr) => {
        if let Some(why) = agree($what, $a, $b, $tolerance)? {
            return Ok(Fails(why));
        }
    };
}

type Property = fn(&Made, u64) -> Result<Verdict>;

fn verdict(property: Property, made: &Made, seed: u64) -> Verdict {
    property(made, seed).unwrap_or_else(|e| Fails(e.to_string()))
}

/// The smallest program that fails as this one does, and why.
fn report(property: Property, made: &Made, seed: u64, failure: String) -> String {
    let coarsest = made.precision.iter().fold(0.0f64, |m, p| m.max(*p));
    let with = |p: &Program| Made {
        program: p.clone(),
        x: made.x.clone(),
        precision: vec![coarsest; p.outs.len()],
    };
    let fails = |p: &Program| matches!(verdict(property, &with(p), seed), Fails(_));
    let small = shrink(&made.program, fails);
    let why = match verdict(property, &with(&small), seed) {
        Fails(why) => why,
        _ => failure,
    };
    let jaxpr = match make_jaxpr(|x: &Vec<Array>| small.run(x))(&made.x) {
        Ok(jaxpr) => jaxpr.to_string(),
        Err(e) => e.to_string(),
    };
    format!("seed {seed}\n{small}{jaxpr}\non {:?}\n{why}\n\n", made.x)
}

fn check(name: &str, programs: u64, options: Options, property: Property) {
    let (mut inconclusive, mut failures) = (0u64, String::new());
    let (start, mut left) = (variable("QUAXIDE_SEED", 1), variable("QUAXIDE_FAILURES", 1));
    for seed in start..start + programs {
        if std::env::var("QUAXIDE_TRACE").is_ok() {
            eprintln!("{name}: seed {seed}");
        }
        let made = generate(seed, options);
        match verdict(property, &made, seed) {
            Holds => {}
            Inconclusive => inconclusive += 1,
            Fails(why) => {
                failures += &report(property, &made, seed, why);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{name}: {failures}");
    assert!(
        inconclusive * 4 <= programs,
        "{name}: {inconclusive} of {programs} programs say nothing"
    );
}

/// How far two ways to compute may differ, relative to the size of the numbers.
fn tolerance(precision: f64) -> f64 {
    // Half precision has few steps from one to the next.
    precision * if precision > 1e-4 { 60.0 } else { 5000.0 }
}

fn is_inexact(x: &Array) -> bool {
    x.dtype().is_ok_and(DType::is_inexact)
}

/// A random tangent for each array; zero for those that have none.
fn directions(x: &[Array], seed: u64) -> Vec<Array> {
    let mut r = Rng(seed ^ 0xD1EC);
    let along = |x: &Array| match x.aval() {
        Ok(a) if a.dtype.is_inexact() => random_of(&mut r, &a, Numbers::Small),
        _ => Array::zeros_like(x),
    };
    x.iter().map(along).collect()
}

fn stepped(x: &[Array], t: &[Array], h: f64) -> Vec<Array> {
    let to = |(x, t): (&Array, &Array)| if is_inexact(x) { x + t * h } else { x.clone() };
    x.iter().zip(t).map(to).collect()
}

/// The sum of products, real and imaginary parts alike; a complex product is not conjugated, as in JAX.
fn inner(a: &[Array], b: &[Array]) -> Array {
    let product = |(a, b): (&Array, &Array)| {
        let y = a * b;
        let complex = y.dtype().is_ok_and(DType::is_complex);
        if complex { y.real().sum(()) } else { y.sum(()) }
    };
    let both = a.iter().zip(b).filter(|(a, _)| is_inexact(a));
    both.map(product)
        .fold(Array::scalar(0.0f64), |s, y| s + y.astype(DType::F64))
}

/// A number of the program's results, with weights so that no element is lost.
fn scalar(p: &Program, x: &[Array], seed: u64) -> Result<Array> {
    let y = p.run(x)?;
    Ok(inner(&y, &directions(&y, seed ^ 0x5CA1)))
}

/// The derivative along a direction by central differences, or `None` where two step sizes disagree.
fn finite_difference(f: impl Fn(f64) -> Result<Vec<Array>>) -> Result<Option<Vec<Array>>> {
    let central = |h: f64| -> Result<Vec<Array>> {
        let slope = |(a, b): (Array, Array)| {
            if is_inexact(&a) {
                (a - b) / (2.0 * h)
            } else {
                a
            }
        };
        Ok(f(h)?.into_iter().zip(f(-h)?).map(slope).collect())
    };
    let (coarse, fine) = (central(2e-4)?, central(1e-4)?);
    let mut better = vec![];
    for (coarse, fine) in coarse.iter().zip(&fine) {
        if !is_inexact(fine) {
            better.push(fine.clone());
            continue;
        }
        if difference(coarse, fine)? > 1e-5 {
            return Ok(None);
        }
        // Richardson's extrapolation.
        better.push((fine * 4.0 - coarse) / 3.0);
    }
    Ok(Some(better))
}

/// A symbolic zero as numbers.
fn dense(x: &Array) -> Array {
    if x.is_symbolic_zero() {
        Array::zeros_like(x)
    } else {
        x.clone()
    }
}

const SMOOTH: Options = Options {
    steps: 6,
    depth: 2,
    derivatives: true,
    orders: 1,
    smooth: true,
    loops: true,
    custom_vjp: false,
    odd: false,
};
const ROUGH: Options = Options {
    smooth: false,
    ..SMOOTH
};
const REVERSE: Options = Options {
    smooth: false,
    loops: false,
    ..SMOOTH
};
const BACKWARD: Options = Options {
    loops: false,
    custom_vjp: true,
    ..SMOOTH
};
const ANY: Options = Options {
    steps: 8,
    depth: 2,
    derivatives: false,
    orders: 0,
    smooth: false,
    loops: true,
    custom_vjp: true,
    odd: false,
};
/// Twice differentiable, in reverse too.
const TWICE: Options = Options {
    loops: false,
    orders: 2,
    ..SMOOTH
};
const LORA: Options = Options {
    loops: false,
    custom_vjp: true,
    ..ROUGH
};
const ODD: Options = Options { odd: true, ..ANY };

/// A program of a transformation, type-checked, printed, and read again.
fn sound(program: Result<Jaxpr>) -> Result<()> {
    let program = program?;
    program.check()?;
    let text = program.to_string();
    let again = text.parse::<Jaxpr>()?.to_string();
    if again == text {
        return Ok(());
    }
    Err(Error::internal(format!("{text}\nis read as\n{again}")))
}

fn forward(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let t = directions(x, seed);
    let f = |x: &Vec<Array>| p.run(x);
    let Some(numeric) = finite_difference(|h| oracle(p, &stepped(x, &t, h)))? else {
        return Ok(Inconclusive);
    };
    let (y, tangents) = jvp(f, (x,), (&t,))?;
    for ((y, dy), n) in y.iter().zip(&tangents).zip(&numeric) {
        if is_inexact(y) {
            agree!("jvp against finite differences", &dense(dy), n, 2e-6);
        }
    }
    if seed.is_multiple_of(4) {
        let pushed = |x: &Vec<Array>, t: &Vec<Array>| jvp(f, (x,), (t,));
        sound(make_jaxpr(pushed)(x, &t))?;
        let (_, map) = linearize(f, (x,))?;
        for (a, b) in map(&t)?.iter().zip(&tangents) {
            if is_inexact(a) {
                agree!("linearize against jvp", &dense(a), &dense(b), 1e-9);
            }
        }
    }
    Ok(Holds)
}

/// `<u, J v> = <Jᵀ u, v>`.
fn reverse(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let t = directions(x, seed);
    let f = |x: &Vec<Array>| p.run(x);
    let (_, dy) = jvp(f, (x,), (&t,))?;
    let (y, pullback) = vjp(f, (x,))?;
    let u = directions(&y, seed ^ 0xC07A);
    let (g,) = pullback(&u)?;
    let dy: Vec<Array> = dy.iter().map(dense).collect();
    let g: Vec<Array> = g.iter().map(dense).collect();
    agree!("vjp against jvp", &inner(&g, &t), &inner(&u, &dy), 1e-9);
    if seed.is_multiple_of(4) {
        let pulled = |x: &Vec<Array>| grad(|x: &Vec<Array>| scalar(p, x, seed))(x);
        sound(make_jaxpr(pulled)(x))?;
        let traced = jit(pulled)(x)?;
        let direct = pulled(x)?;
        for (a, b) in traced.iter().zip(&direct) {
            agree!("jit of grad", &dense(a), &dense(b), 1e-9);
        }
    }
    Ok(Holds)
}

/// Where there is no forward derivative, differences are what reverse ones are compared with.
fn backward(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let t = directions(x, seed);
    let along = |h| Ok(vec![scalar(p, &stepped(x, &t, h), seed)?]);
    let Some(numeric) = finite_difference(along)? else {
        return Ok(Inconclusive);
    };
    let g = grad(|x: &Vec<Array>| scalar(p, x, seed))(x)?;
    let g: Vec<Array> = g.iter().map(dense).collect();
    agree!(
        "grad against finite differences",
        &inner(&g, &t),
        &numeric[0],
        2e-6
    );
    Ok(Holds)
}

fn second_order(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let t = directions(x, seed);
    let slope = |x: &Vec<Array>| -> Result<Array> {
        let g = grad(|x: &Vec<Array>| scalar(p, x, seed))(x)?;
        Ok(inner(&g, &t))
    };
    let Some(numeric) = finite_difference(|h| Ok(vec![slope(&stepped(x, &t, h))?]))? else {
        return Ok(Inconclusive);
    };
    let (_, curvature) = jvp(slope, (x,), (&t,))?;
    let curvature = dense(&curvature);
    agree!("forward over reverse", &curvature, &numeric[0], 2e-5);
    let twice = grad(slope)(x)?;
    let twice: Vec<Array> = twice.iter().map(dense).collect();
    agree!("reverse over reverse", &inner(&twice, &t), &curvature, 1e-8);
    Ok(Holds)
}

fn batched(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let mut r = Rng(seed ^ 0xBA7C);
    let n = 1 + r.below(3);
    // Some inputs have a batch axis, somewhere; the first one always has.
    let axes: Vec<Option<usize>> = (0..x.len())
        .map(|i| (i == 0 || r.chance(0.6)).then(|| r.below(x[i].ndim() + 1)))
        .collect();
    let mut examples = vec![x.clone(); n];
    let mut xs = vec![];
    for (i, d) in axes.iter().enumerate() {
        let Some(d) = d else {
            xs.push(x[i].clone());
            continue;
        };
        let each: Vec<Array> = (0..n)
            .map(|_| Ok(random_of(&mut r, &x[i].aval()?, Numbers::Small)))
            .collect::<Result<_>>()?;
        xs.push(numpy::stack(&each, *d as i32));
        for (e, x) in examples.iter_mut().zip(each) {
            e[i] = x;
        }
    }
    let axis = move |path: &str| {
        let i: usize = path.trim_matches(['[', ']']).parse().ok()?;
        Some(*axes.get(i)?.as_ref()? as i32)
    };
    let run = |x: &Vec<Array>| p.run(x);
    let mapped = vmap(run).in_axes((by_path(axis),));
    let all = mapped(&xs)?;
    for (k, example) in examples.iter().enumerate() {
        for ((ys, y), precision) in all.iter().zip(oracle(p, example)?).zip(&m.precision) {
            let what = format!("vmap against a loop, example {k}");
            agree!(&what, &slice(ys, k), &y, tolerance(*precision));
        }
    }
    if seed.is_multiple_of(4) {
        sound(make_jaxpr(|x: &Vec<Array>| mapped(x))(&xs))?;
    }
    Ok(Holds)
}

fn interpreters(m: &Made, _: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let run = |x: &Vec<Array>| p.run(x);
    let program = make_jaxpr(run)(x)?;
    sound(Ok(program.clone()))?;
    let args = x.iter().filter_map(|x| x.buffer().cloned()).collect();
    let slow = reference::run(&program, args)?;
    let fast = jit(run)(x)?;
    let eager = p.run(x)?;
    let meaning = oracle(p, x)?;
    for (i, fast) in fast.iter().enumerate() {
        let t = tolerance(m.precision[i]);
        let slow = Array::from(slow[i].clone());
        agree!("compiled against reference", fast, &slow, t);
        agree!("compiled against eager", fast, &eager[i], t);
        agree!(
            "compiled against the independent interpreter",
            fast,
            &meaning[i],
            t
        );
    }
    Ok(Holds)
}

/// A LoRA value of this shape, and the three arrays that it is made of.
fn adapter(r: &mut Rng, shape: &[usize]) -> Result<LoraArray> {
    let (lead, own) = shape.split_at(shape.len() - 2);
    let rank = 1 + r.below(2);
    let mut part = |n: usize, m: usize| random_array(r, &[lead, &[n, m]].concat());
    let (w, a, b) = (part(own[0], own[1]), part(own[0], rank), part(rank, own[1]));
    let mut value = LoraArray::from_parts(w, a, b)?;
    value.stop_gradient = r.chance(0.5);
    value.allow_materialise = r.chance(0.5);
    Ok(value)
}

/// Inputs of at least two axes as LoRA values: the program gives what it gives on the merged arrays, gradients too, or (where the
/// sum must not be formed) is refused.
fn adapted(m: &Made, seed: u64) -> Result<Verdict> {
    let (p, x) = (&m.program, &m.x);
    let mut r = Rng(seed ^ 0x10BA);
    let mut with = x.clone();
    let mut parts: Vec<Option<(Array, Array, Array)>> = vec![None; x.len()];
    let mut strict = false;
    for i in 0..x.len() {
        let fits = x[i].dtype()? == DType::F64 && x[i].ndim() >= 2 && x[i].size() > 0;
        let chosen = r.chance(0.8) || parts.iter().all(Option::is_none);
        if fits && chosen {
            let value = adapter(&mut r, &x[i].shape())?;
            strict |= !value.allow_materialise;
            parts[i] = Some((value.w.clone(), value.a.clone(), value.b.clone()));
            with[i] = Array::from_value(value);
        }
    }
    if parts.iter().all(Option::is_none) {
        return Ok(Holds);
    }
    let f = |x: &Vec<Array>| scalar(p, x, seed);
    let g = match grad(quaxify(f))(&with) {
        Err(e) if e.kind() == quaxide::ErrorKind::Refused && strict => return Ok(Holds),
        // A carry that starts as a value and becomes an array that is not its definition is refused.
        Err(e) if e.message().contains("must keep its type") => return Ok(Inconclusive),
        outcome => outcome?,
    };
    let merged = |l: &Vec<Option<(Array, Array, Array)>>| -> Result<Array> {
        let mut all = x.clone();
        for (x, l) in all.iter_mut().zip(l) {
            if let Some((w, a, b)) = l {
                let mut v = LoraArray::from_parts(w.clone(), a.clone(), b.clone())?;
                v.stop_gradient = false;
                *x = ArrayValue::materialise(&v)?;
            }
        }
        f(&all)
    };
    let expected = grad(merged)(&parts)?;
    for (i, e) in expected.iter().enumerate() {
        let Some((dw, da, db)) = e else {
            continue;
        };
        let found = g[i].value::<LoraArray>();
        let found = found.ok_or_else(|| Error::tree("no gradient of the value"))?;
        agree!("LoRA, da", &dense(&found.a), &dense(da), 1e-9);
        agree!("LoRA, db", &dense(&found.b), &dense(db), 1e-9);
        if !found.stop_gradient {
            agree!("LoRA, dw", &dense(&found.w), &dense(dw), 1e-9);
        } else if !found.w.is_symbolic_zero() {
            return Ok(Fails("a frozen weight has a gradient".into()));
        }
    }
    Ok(Holds)
}

/// A property, on how many programs of which kind it is checked in an ordinary run.
struct Row {
    name: &'static str,
    programs: u64,
    options: Options,
    property: Property,
}

const fn row(name: &'static str, programs: u64, options: Options, property: Property) -> Row {
    Row {
        name,
        programs,
        options,
        property,
    }
}

const ROWS: [Row; 9] = [
    row("lora", 1000, LORA, adapted),
    row("forward", 1500, SMOOTH, forward),
    row("rough", 1000, ROUGH, forward),
    row("reverse", 1500, REVERSE, reverse),
    row("backward", 500, BACKWARD, backward),
    row("second order", 1000, TWICE, second_order),
    row("vmap", 1500, ANY, batched),
    row("interpreters", 1000, ANY, interpreters),
    row("odd numbers", 1000, ODD, interpreters),
];

fn run(name: &str) {
    let row = ROWS.iter().find(|r| r.name == name);
    let row = row.unwrap_or_else(|| panic!("no property `{name}`"));
    check(row.name, count(row.programs), row.options, row.property);
}

macro_rules! properties {
    ($($test:ident $name:literal)*) => {$(
        #[test]
        fn $test() {
            run($name);
        }
    )*};
}
properties! {
    a_lora_value_is_what_it_equals "lora"
    forward_derivatives_are_finite_differences "forward"
    rough_functions_too "rough"
    reverse_derivatives_are_forward_ones "reverse"
    custom_reverse_derivatives_are_finite_differences "backward"
    second_derivatives_are_finite_differences "second order"
    vmap_is_a_loop "vmap"
    compiled_is_reference "interpreters"
    odd_numbers_too "odd numbers"
}

/// Every primitive occurs in the programs of an ordinary run: one that is new fails this test until the generator makes it.
#[test]
fn every_primitive_is_generated() {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
    for row in &ROWS {
        for seed in 1..=row.programs * 3 / 4 {
            generate(seed, row.options)
                .program
                .names(&mut |name, step| {
                    *seen.entry(name.to_string()).or_default() += 1;
                    if let Step::Op(op, _) = step {
                        *kinds.entry(op.kind()).or_default() += 1;
                    }
                });
        }
    }
    if std::env::var("QUAXIDE_TRACE").is_ok() {
        eprintln!("{seen:#?}");
    }
    let calls = [
        ("jit", "Jit"),
        ("remat2", "Checkpoint"),
        ("custom_jvp_call", "CustomJvp"),
        ("custom_vjp_call", "CustomVjp"),
        ("scan", "Scan"),
        ("while", "While"),
        ("cond", "Cond"),
    ];
    let made = |name: &str| {
        let call = calls.iter().find(|c| c.0 == name || c.1 == name);
        let name = call.map_or(name, |c| c.1);
        seen.get(name).or(kinds.get(name)).copied().unwrap_or(0)
    };
    let few: Vec<String> = [op::NAMES, op::Op::KINDS]
        .concat()
        .into_iter()
        // What only a transformation makes, out of the others: of the calls of `custom_vjp`, and of array-ish values.
        .filter(|name| !["component", "Component", "CustomLinear", "custom_lin"].contains(name))
        .filter(|name| made(name) < 5)
        .map(|name| format!("{name}: {}", made(name)))
        .collect();
    assert!(
        few.is_empty(),
        "in how many steps these primitives occur: {few:#?}"
    );
}
