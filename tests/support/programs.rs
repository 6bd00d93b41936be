//! Well-typed programs at random: made from a seed, run by `Array` operations, shrunk when a property fails.

use quaxide::prelude::*;
use std::fmt;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            None
        } else {
            items.get(self.below(items.len()))
        }
    }
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }
}

/// Functions of one array that keep its shape.
pub const SMOOTH: &[&str] = &[
    "sin",
    "cos",
    "tanh",
    "logistic",
    "exp",
    "arctan",
    "sinh",
    "square",
    "neg",
    "erf",
    "expm1",
    "arcsinh",
    "softlog",
    "rsqrt1",
    "sqrt1",
    "cube",
    "reciprocal1",
];
/// The same with kinks or jumps.
pub const ROUGH: &[&str] = &["abs", "sign", "floor", "ceil", "relu"];

pub fn unary(name: &str, x: &Array) -> Array {
    match name {
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tanh" => x.tanh(),
        "logistic" => x.logistic(),
        "exp" => x.exp(),
        "arctan" => x.arctan(),
        "sinh" => x.sinh(),
        "square" => x.square(),
        "neg" => -x,
        "erf" => x.erf(),
        "expm1" => x.expm1(),
        "arcsinh" => x.arcsinh(),
        "softlog" => (x.square() + 1.0).log(),
        "rsqrt1" => (x.square() + 1.0).rsqrt(),
        "sqrt1" => (x.square() + 1.0).sqrt(),
        "cube" => x.integer_pow(3),
        "reciprocal1" => 1.0 / (x.square() + 1.0),
        "abs" => x.abs(),
        "sign" => x.sign(),
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "relu" => x.maximum(0.0),
        _ => x.clone(),
    }
}

/// One step of a program; operands are numbers of earlier values.
#[derive(Clone, Debug)]
pub enum Step {
    Unary(&'static str, usize),
    Binary(&'static str, usize, usize),
    Scalar(&'static str, f64, usize),
    Reduce(&'static str, Vec<usize>, usize),
    Transpose(Vec<usize>, usize),
    Reshape(Vec<usize>, usize),
    Broadcast(Vec<usize>, Vec<usize>, usize),
    Dot {
        lhs: usize,
        rhs: usize,
        contract: (usize, usize),
        batch: Option<(usize, usize)>,
    },
    Select(usize, usize, usize),
    Call(Call, Box<Program>, Vec<usize>),
}

/// How a program inside another is called. Its inputs and its result have one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    Jit,
    Checkpoint,
    /// The program is the step: carry and slice in, both out.
    Scan,
    /// With a fixed number of steps.
    Fori,
    /// Against the first operand's sum.
    Cond,
    /// With the derivative that it has anyway.
    CustomJvp,
}

const CALLS: &[Call] = &[
    Call::Jit,
    Call::Checkpoint,
    Call::Scan,
    Call::Fori,
    Call::Cond,
    Call::CustomJvp,
];

/// The program of two arrays of one shape, called.
fn call(how: Call, p: &Program, x: &[Array]) -> Result<Array> {
    let run = |x: &Vec<Array>| p.run(x);
    let (Some(a), Some(b)) = (x.first(), x.get(1)) else {
        return Err(Error::argument("a call needs two operands"));
    };
    let pair = |a: &Array, b: &Array| p.run(&[a.clone(), b.clone()]);
    match how {
        Call::Jit => jit(run)(&x.to_vec()),
        Call::Checkpoint => checkpoint(run)(&x.to_vec()),
        Call::Scan => {
            let shape: Vec<usize> = a.shape().to_vec();
            let mut twice = shape.clone();
            twice.insert(0, 2);
            let axes: Vec<usize> = (1..twice.len()).collect();
            let xs = b.broadcast_in_dim(&twice, &axes);
            let step = |c: &Array, x: &Array| {
                let y = pair(c, x).tanh();
                (&y + b * 0.5, y)
            };
            let (c, ys) = scan(step, a, &xs)?;
            Ok((c + ys.sum(0)).tanh())
        }
        Call::Fori => fori_loop(0, 2, |_, c| pair(c, b).tanh(), a),
        Call::Cond => cond(
            &a.sum(()).gt(0.25),
            |x: &Vec<Array>| p.run(x),
            |x: &Vec<Array>| x.iter().fold(a * 1.5, |s, x| s + x.sin()),
            &x.to_vec(),
        ),
        Call::CustomJvp => {
            let rule = |(a, b): &(Array, Array), (da, db): &(Array, Array)| {
                let dense = |t: &Array, x: &Array| t + x * 0.0;
                jvp(pair, (a, b), (&dense(da, a), &dense(db, b)))
            };
            custom_jvp(pair, rule)(a, b)
        }
    }
}

/// Inputs, steps, and the result: the last value.
#[derive(Clone, Debug)]
pub struct Program {
    pub inputs: Vec<Vec<usize>>,
    pub steps: Vec<Step>,
}

impl Program {
    pub fn run(&self, x: &[Array]) -> Array {
        let mut values = x.to_vec();
        for step in &self.steps {
            let y = step.apply(&values);
            values.push(y);
        }
        values.pop().unwrap_or_else(|| Array::from(0.0))
    }

    /// The same program without a step, whose uses read another value of the same shape instead.
    fn without(&self, k: usize, shapes: &[Vec<usize>]) -> Option<Program> {
        let n = self.inputs.len();
        let gone = n + k;
        let replacement = (0..gone)
            .rev()
            .find(|i| shapes.get(*i) == shapes.get(gone))?;
        let rename = |i: usize| match i {
            i if i == gone => replacement,
            i if i > gone => i - 1,
            i => i,
        };
        let mut steps = self.steps.clone();
        steps.remove(k);
        for s in &mut steps {
            s.rename(rename);
        }
        (!steps.is_empty()).then_some(Program {
            inputs: self.inputs.clone(),
            steps,
        })
    }
}

impl Step {
    fn rename(&mut self, f: impl Fn(usize) -> usize) {
        match self {
            Step::Unary(_, a)
            | Step::Scalar(_, _, a)
            | Step::Reduce(_, _, a)
            | Step::Transpose(_, a)
            | Step::Reshape(_, a)
            | Step::Broadcast(_, _, a) => *a = f(*a),
            Step::Binary(_, a, b) => (*a, *b) = (f(*a), f(*b)),
            Step::Dot { lhs, rhs, .. } => (*lhs, *rhs) = (f(*lhs), f(*rhs)),
            Step::Select(a, b, c) => (*a, *b, *c) = (f(*a), f(*b), f(*c)),
            Step::Call(_, _, xs) => xs.iter_mut().for_each(|x| *x = f(*x)),
        }
    }

    fn apply(&self, v: &[Array]) -> Array {
        match self {
            Step::Unary(name, a) => unary(name, &v[*a]),
            Step::Binary(name, a, b) => {
                let (a, b) = (&v[*a], &v[*b]);
                match *name {
                    "add" => a + b,
                    "sub" => a - b,
                    "mul" => a * b,
                    "div1" => a / (b.square() + 1.0),
                    "max" => a.maximum(b),
                    "min" => a.minimum(b),
                    "atan2" => a.arctan2(&(b.square() + 0.5)),
                    _ => (a.square() + 1.0).pow(b.tanh()),
                }
            }
            Step::Scalar(name, c, a) => match *name {
                "add" => &v[*a] + *c,
                "mul" => &v[*a] * *c,
                "rsub" => *c - &v[*a],
                _ => &v[*a] / *c,
            },
            Step::Reduce(name, axes, a) => match *name {
                "sum" => v[*a].sum(axes.as_slice()),
                "mean" => v[*a].mean(axes.as_slice()),
                "max" => v[*a].max(axes.as_slice()),
                "min" => v[*a].min(axes.as_slice()),
                _ => v[*a].prod(axes.as_slice()),
            },
            Step::Transpose(p, a) => v[*a].transpose(p),
            Step::Reshape(s, a) => v[*a].reshape(s),
            Step::Broadcast(s, d, a) => v[*a].broadcast_in_dim(s, d),
            Step::Dot {
                lhs,
                rhs,
                contract,
                batch,
            } => {
                let (lb, rb) = batch.map_or((vec![], vec![]), |(l, r)| (vec![l], vec![r]));
                let dims = op::DotGeneral::new(([contract.0], [contract.1]), (lb, rb));
                v[*lhs].dot_general(&v[*rhs], dims)
            }
            Step::Select(c, a, b) => v[*c].gt(0.0).select(&v[*a], &v[*b]),
            Step::Call(how, p, xs) => {
                let x: Vec<Array> = xs.iter().map(|i| v[*i].clone()).collect();
                Array::from_result(call(*how, p, &x))
            }
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "inputs {:?}", self.inputs)?;
        for (i, s) in self.steps.iter().enumerate() {
            writeln!(f, "  %{} = {s:?}", self.inputs.len() + i)?;
        }
        Ok(())
    }
}

/// What a generated program may hold.
#[derive(Clone, Copy)]
pub struct Options {
    pub smooth: bool,
    pub steps: usize,
    pub calls: bool,
}

fn random_shape(r: &mut Rng, sizes: &[usize]) -> Vec<usize> {
    (0..r.below(4))
        .map(|_| *r.choose(sizes).unwrap_or(&1))
        .collect()
}

/// An array of this shape with elements in (−1, 1).
pub fn random_array(r: &mut Rng, shape: &[usize]) -> Array {
    let n: usize = shape.iter().product();
    Array::new(
        shape,
        (0..n)
            .map(|_| r.uniform() * 2.0 - 1.0)
            .collect::<Vec<f64>>(),
    )
}

/// A program with inputs that it can run on; every value in it is finite and small.
pub fn generate(seed: u64, options: Options) -> (Program, Vec<Array>) {
    let mut r = Rng(seed);
    let sizes: &[usize] = if r.chance(0.1) {
        &[0, 1, 2, 3]
    } else {
        &[1, 2, 3, 4]
    };
    let inputs: Vec<Vec<usize>> = (0..1 + r.below(3))
        .map(|_| random_shape(&mut r, sizes))
        .collect();
    let x: Vec<Array> = inputs.iter().map(|s| random_array(&mut r, s)).collect();
    let program = grow(&mut r, inputs, &x, options, None);
    (program, x)
}

fn small(x: &Array) -> bool {
    x.to_f64_vec()
        .is_ok_and(|v| v.iter().all(|x| x.is_finite() && x.abs() < 20.0))
}

/// Add steps until there are enough; with `wanted`, the last value has that shape.
fn grow(
    r: &mut Rng,
    inputs: Vec<Vec<usize>>,
    x: &[Array],
    options: Options,
    wanted: Option<&[usize]>,
) -> Program {
    let mut values = x.to_vec();
    let mut steps = vec![];
    let count = 1 + r.below(options.steps);
    let mut tries = 0;
    while steps.len() < count && tries < 200 {
        tries += 1;
        let Some(step) = propose(r, &values, options) else {
            continue;
        };
        let y = step.apply(&values);
        if !small(&y) || y.size() > 300 {
            continue;
        }
        values.push(y);
        steps.push(step);
    }
    if let Some(shape) = wanted {
        let fit = (0..values.len())
            .rev()
            .find(|i| values[*i].shape()[..] == *shape);
        let last = values.len() - 1;
        match fit {
            Some(i) => steps.push(Step::Unary("tanh", i)),
            None => steps.extend([
                Step::Reduce("sum", (0..values[last].ndim()).collect(), last),
                Step::Broadcast(shape.to_vec(), vec![], last + 1),
            ]),
        }
    } else if steps.is_empty() {
        steps.push(Step::Unary("tanh", 0));
    }
    Program { inputs, steps }
}

fn propose(r: &mut Rng, v: &[Array], options: Options) -> Option<Step> {
    // Late values are likelier operands, so that programs are deep.
    let pick = |r: &mut Rng| v.len() - 1 - (r.below(v.len()).min(r.below(v.len())));
    let a = pick(r);
    let shape = v[a].shape().to_vec();
    let same: Vec<usize> = (0..v.len())
        .filter(|i| v[*i].shape()[..] == shape[..])
        .collect();
    let step = match r.below(13) {
        0..=2 => {
            let pool = if options.smooth || r.chance(0.7) {
                SMOOTH
            } else {
                ROUGH
            };
            Step::Unary(r.choose(pool)?, a)
        }
        3 | 4 => {
            let pool: &[&str] = if options.smooth {
                &["add", "sub", "mul", "div1", "atan2", "pow"]
            } else {
                &["add", "sub", "mul", "div1", "max", "min", "atan2", "pow"]
            };
            // Any pair that broadcasts will do; a scalar goes with everything.
            let b = if r.chance(0.7) {
                *r.choose(&same)?
            } else {
                pick(r)
            };
            let name = r.choose(pool)?;
            let fits = broadcasts(&shape, &v[b].shape());
            if !fits {
                return None;
            }
            Step::Binary(name, a, b)
        }
        5 => Step::Scalar(
            r.choose(&["add", "mul", "rsub", "div"])?,
            r.uniform() * 2.0 + 0.25,
            a,
        ),
        6 => {
            let axes: Vec<usize> = (0..shape.len()).filter(|_| r.chance(0.5)).collect();
            let empty = axes.iter().any(|i| shape[*i] == 0);
            let pool: &[&str] = if options.smooth || empty {
                &["sum", "prod"]
            } else {
                &["sum", "mean", "prod", "max", "min"]
            };
            if axes.is_empty() {
                return None;
            }
            Step::Reduce(r.choose(pool)?, axes, a)
        }
        7 => {
            let mut p: Vec<usize> = (0..shape.len()).collect();
            for i in (1..p.len()).rev() {
                p.swap(i, r.below(i + 1));
            }
            Step::Transpose(p, a)
        }
        8 => {
            let n: usize = shape.iter().product();
            let split = (1..=n).filter(|k| n.is_multiple_of(*k)).collect::<Vec<_>>();
            let k = *r.choose(&split)?;
            Step::Reshape(
                if r.chance(0.5) {
                    vec![n]
                } else {
                    vec![k, n / k]
                },
                a,
            )
        }
        9 => {
            let mut s = shape.clone();
            let at = r.below(s.len() + 1);
            s.insert(at, 1 + r.below(3));
            if s.len() > 4 {
                return None;
            }
            Step::Broadcast(s.clone(), (0..s.len()).filter(|i| *i != at).collect(), a)
        }
        10 => dot(r, v, a)?,
        11 if !options.smooth => {
            let (b, c) = (*r.choose(&same)?, *r.choose(&same)?);
            Step::Select(a, b, c)
        }
        12 if options.calls => {
            let b = *r.choose(&same)?;
            let inputs = vec![shape.clone(), shape.clone()];
            let x = [v[a].clone(), v[b].clone()];
            let inner = Options {
                steps: 3,
                calls: r.chance(0.3),
                ..options
            };
            let p = grow(r, inputs, &x, inner, Some(&shape));
            Step::Call(*r.choose(CALLS)?, Box::new(p), vec![a, b])
        }
        _ => return None,
    };
    Some(step)
}

fn broadcasts(a: &[usize], b: &[usize]) -> bool {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .all(|(x, y)| x == y || *x == 1 || *y == 1)
}

fn dot(r: &mut Rng, v: &[Array], a: usize) -> Option<Step> {
    let s = v[a].shape().to_vec();
    let mut fits = vec![];
    for (b, y) in v.iter().enumerate() {
        let t = y.shape().to_vec();
        for i in 0..s.len() {
            for j in 0..t.len() {
                if s[i] != t[j] {
                    continue;
                }
                let rank = s.len() + t.len() - 2;
                if rank <= 4 {
                    fits.push((b, (i, j), None));
                }
                for k in (0..s.len()).filter(|k| *k != i) {
                    for l in (0..t.len()).filter(|l| *l != j && t[*l] == s[k]) {
                        fits.push((b, (i, j), Some((k, l))));
                    }
                }
            }
        }
    }
    let (rhs, contract, batch) = *r.choose(&fits)?;
    Some(Step::Dot {
        lhs: a,
        rhs,
        contract,
        batch,
    })
}

/// The smallest program, found by dropping steps, for which the property still fails.
pub fn shrink(
    program: &Program,
    x: &[Array],
    fails: impl Fn(&Program, &[Array]) -> bool,
) -> Program {
    let mut best = program.clone();
    loop {
        let mut values: Vec<Array> = x.to_vec();
        for s in &best.steps {
            let y = s.apply(&values);
            values.push(y);
        }
        let shapes: Vec<Vec<usize>> = values.iter().map(|v| v.shape().to_vec()).collect();
        let shorter = (0..best.steps.len()).rev().find_map(|k| {
            let mut candidate = best.without(k, &shapes)?;
            if k + 1 == best.steps.len() {
                candidate = Program {
                    inputs: best.inputs.clone(),
                    steps: best.steps[..k].to_vec(),
                };
            }
            (!candidate.steps.is_empty() && fails(&candidate, x)).then_some(candidate)
        });
        // The last step alone may go even if nothing of its shape remains.
        let cut = best.steps.len() > 1 && {
            let candidate = Program {
                inputs: best.inputs.clone(),
                steps: best.steps[..best.steps.len() - 1].to_vec(),
            };
            fails(&candidate, x)
        };
        match shorter {
            Some(p) => best = p,
            None if cut => {
                best.steps.pop();
            }
            None => return best,
        }
    }
}
