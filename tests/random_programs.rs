//! Properties of the transformations and interpreters on programs made at random.
//!
//! Each failure prints its seed and the smallest program that still fails. `QUAXIDE_PROGRAMS=100000 cargo test --release --test
//! random_programs` runs more of them, `QUAXIDE_SEED=…` starts elsewhere.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/programs.rs"]
mod programs;

use programs::{Options, Program, Rng, generate, random_array, shrink};
use quaxide::{interp::reference, prelude::*};

fn count(default: u64) -> u64 {
    std::env::var("QUAXIDE_PROGRAMS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn first_seed() -> u64 {
    std::env::var("QUAXIDE_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}

/// What became of a property on one program.
enum Verdict {
    Holds,
    /// The program has a kink or a jump nearby, where finite differences say nothing.
    Inconclusive,
    Fails(String),
}

fn check(
    name: &str,
    programs: u64,
    options: Options,
    property: impl Fn(&Program, &[Array], u64) -> Verdict,
) {
    let (mut inconclusive, start) = (0u64, first_seed());
    for seed in start..start + programs {
        if std::env::var("QUAXIDE_TRACE").is_ok() {
            eprintln!("seed {seed}");
        }
        let (program, x) = generate(seed, options);
        match property(&program, &x, seed) {
            Verdict::Holds => {}
            Verdict::Inconclusive => inconclusive += 1,
            Verdict::Fails(why) => {
                let fails =
                    |p: &Program, x: &[Array]| matches!(property(p, x, seed), Verdict::Fails(_));
                let small = shrink(&program, x.as_slice(), fails);
                let why = match property(&small, &x, seed) {
                    Verdict::Fails(why) => why,
                    _ => why,
                };
                let jaxpr = make_jaxpr(|x: &Vec<Array>| small.run(x))(&x);
                panic!("{name}: seed {seed}\n{small}{jaxpr:?}\n{why}");
            }
        }
    }
    assert!(
        inconclusive * 5 <= programs,
        "{name}: {inconclusive} of {programs} programs say nothing"
    );
}

/// The largest difference, relative to the size of the numbers.
fn difference(a: &Array, b: &Array) -> Result<f64> {
    let (s, t) = (a.aval()?, b.aval()?);
    if s.shape != t.shape || s.dtype != t.dtype {
        return Err(Error::shape(format!("{s} against {t}")));
    }
    let (x, y) = (a.to_f64_vec()?, b.to_f64_vec()?);
    let scale = x.iter().chain(&y).fold(1.0f64, |m, v| m.max(v.abs()));
    Ok(x.iter()
        .zip(&y)
        .fold(0.0f64, |m, (p, q)| m.max((p - q).abs()))
        / scale)
}

fn verdict(r: Result<Verdict>) -> Verdict {
    r.unwrap_or_else(|e| Verdict::Fails(e.to_string()))
}

fn agree(what: &str, a: &Array, b: &Array, tolerance: f64) -> Result<Verdict> {
    let d = difference(a, b).map_err(|e| e.note(what.to_string()))?;
    if d <= tolerance {
        return Ok(Verdict::Holds);
    }
    Ok(Verdict::Fails(format!(
        "{what}: differ by {d:e}\n{a:?}\n{b:?}"
    )))
}

fn directions(x: &[Array], seed: u64) -> Vec<Array> {
    let mut r = Rng(seed ^ 0xD1EC);
    x.iter().map(|x| random_array(&mut r, &x.shape())).collect()
}

fn stepped(x: &[Array], t: &[Array], h: f64) -> Vec<Array> {
    x.iter().zip(t).map(|(x, t)| x + t * h).collect()
}

/// A scalar of the program's result, with weights so that no element is lost.
fn scalar(p: &Program, x: &[Array], seed: u64) -> Array {
    let y = p.run(x);
    let w = random_array(&mut Rng(seed ^ 0x5CA1), &y.shape());
    (y * w).sum(())
}

/// The derivative along a direction by central differences, or `None` where two step sizes disagree.
fn finite_difference(f: impl Fn(f64) -> Result<Array>) -> Result<Option<Array>> {
    let central = |h: f64| -> Result<Array> { Ok((f(h)? - f(-h)?) / (2.0 * h)) };
    let (coarse, fine) = (central(1e-4)?, central(5e-5)?);
    // Richardson's extrapolation; the two agree unless something is not smooth here.
    let better = (&fine * 4.0 - &coarse) / 3.0;
    Ok((difference(&coarse, &fine)? < 1e-5).then_some(better))
}

const SMOOTH: Options = Options {
    smooth: true,
    steps: 6,
    calls: true,
};
const ANY: Options = Options {
    smooth: false,
    steps: 8,
    calls: true,
};

fn forward(p: &Program, x: &[Array], seed: u64) -> Result<Verdict> {
    let (x, t) = (x.to_vec(), directions(x, seed));
    let Some(numeric) = finite_difference(|h| p.run(&stepped(&x, &t, h)).ok().cloned())? else {
        return Ok(Verdict::Inconclusive);
    };
    let (_, tangent) = jvp(|x: &Vec<Array>| p.run(x), (&x,), (&t,))?;
    agree("jvp against finite differences", &tangent, &numeric, 1e-6)
}

fn reverse(p: &Program, x: &[Array], seed: u64) -> Result<Verdict> {
    let (x, t) = (x.to_vec(), directions(x, seed));
    let f = |x: &Vec<Array>| scalar(p, x, seed);
    let (_, along) = jvp(f, (&x,), (&t,))?;
    let g = grad(f)(&x)?;
    let inner = g
        .iter()
        .zip(&t)
        .fold(Array::scalar(0.0f64), |s, (g, t)| s + (g * t).sum(()));
    let along = if along.is_symbolic_zero() {
        Array::scalar(0.0f64)
    } else {
        along
    };
    agree("grad against jvp", &inner, &along, 1e-9)
}

fn second_order(p: &Program, x: &[Array], seed: u64) -> Result<Verdict> {
    let (x, t) = (x.to_vec(), directions(x, seed));
    let slope = |x: &Vec<Array>| -> Result<Array> {
        let g = grad(|x: &Vec<Array>| scalar(p, x, seed))(x)?;
        Ok(g.iter()
            .zip(&t)
            .fold(Array::scalar(0.0f64), |s, (g, t)| s + (g * t).sum(())))
    };
    let Some(numeric) = finite_difference(|h| slope(&stepped(&x, &t, h)))? else {
        return Ok(Verdict::Inconclusive);
    };
    let (_, curvature) = jvp(slope, (&x,), (&t,))?;
    let curvature = if curvature.is_symbolic_zero() {
        Array::scalar(0.0f64)
    } else {
        curvature
    };
    match agree("forward over reverse", &curvature, &numeric, 1e-5)? {
        Verdict::Holds => {}
        other => return Ok(other),
    }
    let twice = grad(slope)(&x)?;
    let twice = twice
        .iter()
        .zip(&t)
        .fold(Array::scalar(0.0f64), |s, (g, t)| s + (g * t).sum(()));
    agree("reverse over reverse", &twice, &curvature, 1e-8)
}

fn batched(p: &Program, x: &[Array], seed: u64) -> Result<Verdict> {
    let mut r = Rng(seed ^ 0xBA7C);
    let n = 1 + r.below(3);
    // Some inputs have a batch axis, somewhere; the first one always has.
    let axes: Vec<Option<usize>> = (0..x.len())
        .map(|i| (i == 0 || r.chance(0.6)).then(|| r.below(x[i].ndim() + 1)))
        .collect();
    let xs: Vec<Array> = x
        .iter()
        .zip(&axes)
        .map(|(x, d)| match d {
            None => x.clone(),
            Some(d) => {
                let mut s = x.shape().to_vec();
                s.insert(*d, n);
                random_array(&mut r, &s)
            }
        })
        .collect();
    let of = axes.clone();
    let axis = move |path: &str| {
        let i: usize = path.trim_matches(['[', ']']).parse().ok()?;
        Some(*of.get(i)?.as_ref()? as i32)
    };
    let all = vmap(|x: &Vec<Array>| p.run(x)).in_axes((quaxide::transform::by_path(axis),))(&xs)?;
    let shape = p.run(x).shape();
    let size: usize = shape.iter().product();
    let flat = all.to_f64_vec()?;
    for k in 0..n {
        let one: Vec<Array> = xs
            .iter()
            .zip(&axes)
            .map(|(x, d)| match d {
                None => x.clone(),
                Some(d) => example(x, *d, k),
            })
            .collect();
        let wanted = p.run(&one);
        let got = Array::new(&shape, flat[k * size..(k + 1) * size].to_vec());
        match agree(
            &format!("vmap against a loop, example {k}"),
            &got,
            &wanted,
            1e-12,
        )? {
            Verdict::Holds => {}
            other => return Ok(other),
        }
    }
    Ok(Verdict::Holds)
}

/// Example `k` of a batch, by its elements.
fn example(x: &Array, axis: usize, k: usize) -> Array {
    let mut order: Vec<usize> = (0..x.ndim()).filter(|i| *i != axis).collect();
    order.insert(0, axis);
    let front = x.transpose(&order);
    let shape = front.shape()[1..].to_vec();
    let size: usize = shape.iter().product();
    let all = front.to_vec::<f64>().unwrap_or_default();
    Array::new(shape, all[k * size..(k + 1) * size].to_vec())
}

fn interpreters(p: &Program, x: &[Array], _: u64) -> Result<Verdict> {
    let x = x.to_vec();
    for dtype in [DType::F64, DType::F32] {
        let x: Vec<Array> = x.iter().map(|x| x.astype(dtype)).collect();
        let program = make_jaxpr(|x: &Vec<Array>| p.run(x))(&x)?;
        program.check()?;
        let args = x.iter().filter_map(|x| x.buffer().cloned()).collect();
        let slow = reference::run(&program, args)?;
        let slow: Vec<f64> = match slow.first() {
            Some(b) if dtype == DType::F64 => b.to_vec::<f64>()?,
            Some(b) => b.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
            None => vec![],
        };
        let fast = jit(|x: &Vec<Array>| p.run(x))(&x)?;
        let slow = Array::new(fast.shape(), slow).astype(dtype);
        let tolerance = if dtype == DType::F64 { 1e-12 } else { 2e-5 };
        match agree(
            &format!("compiled against reference in {dtype}"),
            &fast,
            &slow,
            tolerance,
        )? {
            Verdict::Holds => {}
            other => return Ok(other),
        }
    }
    Ok(Verdict::Holds)
}

/// One input of at least two axes as a LoRA value: the program gives what it gives on the merged array, gradients too, or (where
/// the sum must not be formed) is refused.
fn adapted(p: &Program, x: &[Array], seed: u64) -> Result<Verdict> {
    let mut r = Rng(seed ^ 0x10BA);
    let Some(at) = (0..x.len()).find(|i| x[*i].ndim() >= 2 && x[*i].size() > 0) else {
        return Ok(Verdict::Holds);
    };
    let shape = x[at].shape().to_vec();
    let (lead, own) = shape.split_at(shape.len() - 2);
    let rank = 1 + r.below(2);
    let part = |r: &mut Rng, n: usize, m: usize| random_array(r, &[lead, &[n, m]].concat());
    let w = part(&mut r, own[0], own[1]);
    let (a, b) = (part(&mut r, own[0], rank), part(&mut r, rank, own[1]));
    let mut value = LoraArray::from_parts(w, a, b)?;
    value.stop_gradient = r.chance(0.5);
    value.allow_materialise = r.chance(0.5);
    let with = |v: Array| -> Vec<Array> {
        let mut all = x.to_vec();
        all[at] = v;
        all
    };
    let f = |x: &Vec<Array>| scalar(p, x, seed);
    let outcome = grad(quaxify(f))(&with(Array::from_value(value.clone())));
    let g = match outcome {
        Err(e) if e.kind() == quaxide::ErrorKind::Refused && !value.allow_materialise => {
            return Ok(Verdict::Holds);
        }
        // A carry that starts as a value and becomes an array is refused.
        Err(e) if e.message().contains("must keep its type") => return Ok(Verdict::Inconclusive),
        outcome => outcome?,
    };
    let merged = |l: &(Array, Array, Array)| -> Result<Array> {
        let v = LoraArray::from_parts(l.0.clone(), l.1.clone(), l.2.clone())?;
        Ok(f(&with(ArrayValue::materialise(&v)?)))
    };
    let dense = grad(merged)(&(value.w.clone(), value.a.clone(), value.b.clone()))?;
    let found = g[at]
        .value::<LoraArray>()
        .ok_or_else(|| Error::tree("no gradient of the value"))?;
    for (what, one, other) in [("da", &found.a, &dense.1), ("db", &found.b, &dense.2)] {
        match agree(&format!("LoRA, {what}"), one, other, 1e-9)? {
            Verdict::Holds => {}
            other => return Ok(other),
        }
    }
    if value.stop_gradient && !found.w.is_symbolic_zero() {
        return Ok(Verdict::Fails("a frozen weight has a gradient".into()));
    }
    Ok(Verdict::Holds)
}

#[test]
fn a_lora_value_is_what_it_equals() {
    check("lora", count(1000), ANY, |p, x, s| {
        verdict(adapted(p, x, s))
    });
}

#[test]
fn forward_derivatives_are_finite_differences() {
    check("forward", count(2000), SMOOTH, |p, x, s| {
        verdict(forward(p, x, s))
    });
}

#[test]
fn rough_functions_too() {
    check("rough", count(1000), ANY, |p, x, s| {
        verdict(forward(p, x, s))
    });
}

#[test]
fn reverse_derivatives_are_forward_ones() {
    check("reverse", count(2000), ANY, |p, x, s| {
        verdict(reverse(p, x, s))
    });
}

#[test]
fn second_derivatives_are_finite_differences() {
    check("second order", count(1000), SMOOTH, |p, x, s| {
        verdict(second_order(p, x, s))
    });
}

#[test]
fn vmap_is_a_loop() {
    check("vmap", count(2000), ANY, |p, x, s| {
        verdict(batched(p, x, s))
    });
}

#[test]
fn compiled_is_reference() {
    check("interpreters", count(2000), ANY, |p, x, s| {
        verdict(interpreters(p, x, s))
    });
}
