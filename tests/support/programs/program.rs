//! Programs, and how they are run: by the functions that a user would call.

use quaxide::{op::Op, prelude::*, trace::bind_all};
use std::{fmt, sync::Arc};

/// One step of a program; operands are numbers of earlier values.
#[derive(Clone, Debug)]
pub enum Step {
    Constant(Array),
    Op(Op, Vec<usize>),
    /// A function of `Array` that is more than one primitive.
    Function(&'static str, Vec<usize>),
    Call(Call, Vec<Program>, Vec<usize>),
}

/// How programs inside another are called.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    Jit,
    Checkpoint,
    /// With the derivative that the program has anyway.
    CustomJvp,
    CustomVjp,
    /// Operands: carry, slices, constants. The program: (carry, slice, constants) → (carry, slice).
    Scan {
        carry: usize,
        length: usize,
        xs: usize,
        reverse: bool,
    },
    /// Operands: carry, constants. The program: (number of the step, carry, constants) → carry.
    Fori {
        carry: usize,
        steps: usize,
    },
    /// Operands: a number of steps, carry, constants. The programs: (number of the step, carry, constants) → carry, → bool.
    While {
        carry: usize,
    },
    /// Operands: predicate, the rest. Two programs of the rest.
    Cond,
    /// Operands: index, the rest. Programs of the rest.
    Switch,
    /// Some operands along their first axis; `name` names it.
    Vmap {
        name: Arc<str>,
        size: usize,
        mapped: Vec<bool>,
    },
    /// Primals, then their tangents; results, then theirs.
    Jvp,
    /// The gradient of the sum of all results, for each operand.
    Grad,
}

/// Inputs, steps, and results.
#[derive(Clone, Debug)]
pub struct Program {
    pub inputs: Vec<Aval>,
    pub steps: Vec<Step>,
    /// The type of every value: inputs first, then the results of each step.
    pub types: Vec<Aval>,
    /// The number of results of each step.
    pub results: Vec<usize>,
    pub outs: Vec<usize>,
}

impl Program {
    pub fn run(&self, x: &[Array]) -> Result<Vec<Array>> {
        let mut values = x.to_vec();
        for step in &self.steps {
            let y = step.run(&values)?;
            values.extend(y);
        }
        Ok(self.outs.iter().map(|i| values[*i].clone()).collect())
    }

    pub fn out_avals(&self) -> Vec<Aval> {
        self.outs.iter().map(|i| self.types[*i].clone()).collect()
    }

    /// Of every primitive and kind of call, at any depth, its name.
    pub fn names(&self, tell: &mut dyn FnMut(&str, &Step)) {
        for s in &self.steps {
            match s {
                Step::Constant(_) => tell("constant", s),
                Step::Op(op, _) => tell(op.name(), s),
                Step::Function(name, _) => tell(name, s),
                Step::Call(how, programs, _) => {
                    let how = format!("{how:?}");
                    tell(how.split([' ', '{']).next().unwrap_or_default(), s);
                    programs.iter().for_each(|p| p.names(tell));
                }
            }
        }
    }
}

impl Step {
    pub fn operands(&self) -> &[usize] {
        match self {
            Step::Constant(_) => &[],
            Step::Op(_, x) | Step::Function(_, x) | Step::Call(_, _, x) => x,
        }
    }

    pub fn operands_mut(&mut self) -> &mut [usize] {
        match self {
            Step::Constant(_) => &mut [],
            Step::Op(_, x) | Step::Function(_, x) | Step::Call(_, _, x) => x,
        }
    }

    pub fn run(&self, values: &[Array]) -> Result<Vec<Array>> {
        let x: Vec<Array> = self.operands().iter().map(|i| values[*i].clone()).collect();
        match self {
            Step::Constant(c) => Ok(vec![c.clone()]),
            Step::Op(op, _) => bind_all(op.clone(), &x),
            Step::Function(name, _) => Ok(vec![function(name, &x).ok()?.clone()]),
            Step::Call(how, programs, _) => call(how, programs, x),
        }
    }
}

/// Functions that are made of several primitives.
pub fn function(name: &str, x: &[Array]) -> Array {
    match (name, x) {
        ("+", [a, b]) => a + b,
        ("-", [a, b]) => a - b,
        ("*", [a, b]) => a * b,
        ("/", [a, b]) => a / b,
        ("maximum", [a, b]) => a.maximum(b),
        ("matmul", [a, b]) => a.matmul(b),
        ("mean", [a]) => a.mean(()),
        ("softmax", [a]) => nn::softmax(a, -1),
        ("logsumexp", [a]) => nn::logsumexp(a, -1),
        ("softplus", [a]) => nn::softplus(a),
        ("relu", [a]) => nn::relu(a),
        ("argsort", [a]) => a.argsort(-1),
        ("median", [a]) => a.median(()),
        ("take", [a, i]) => a.take(i, 0),
        ("var", [a]) => (a - a.mean(())).square().mean(()),
        ("outer", [a, b]) => a.reshape([a.size(), 1]) * b.reshape([1, b.size()]),
        ("flip", [a]) => a.flip(()),
        ("clip", [a]) => a.maximum(-0.5).minimum(0.75),
        ("where", [c, a, b]) => c.select(a, b),
        ("every other", [a]) => a.index(quaxide::array::Slice::every(2)),
        ("last", [a]) => a.index(-1),
        ("at add", [a, i, u]) => a.at(i).add(u),
        ("first row", [a]) => a.index((0, Ellipsis)),
        ("one hot", [i]) => nn::one_hot(i, 4, DType::F32),
        ("eye", [a]) => a + Array::eye(a.shape()[0], DType::F64),
        _ => Array::error(Error::argument(format!("no function `{name}`"))),
    }
}

/// Split a list of operands at these lengths.
pub fn parts(x: &[Array], lengths: &[usize]) -> Vec<Vec<Array>> {
    let mut rest = x;
    let mut out: Vec<Vec<Array>> = vec![];
    for n in lengths {
        let (a, b) = rest.split_at(*n);
        out.push(a.to_vec());
        rest = b;
    }
    out.push(rest.to_vec());
    out
}

fn sum_of(y: &[Array]) -> Array {
    y.iter().fold(Array::scalar(0.0f64), |s, y| s + y.sum(()))
}

fn call(how: &Call, programs: &[Program], x: Vec<Array>) -> Result<Vec<Array>> {
    let p = &programs[0];
    let run = |x: &Vec<Array>| p.run(x);
    match how {
        Call::Jit => jit(run)(&x),
        Call::Checkpoint => checkpoint(run)(&x),
        Call::CustomJvp => {
            let rule = |(x,): &(Vec<Array>,), (t,): &(Vec<Array>,)| jvp(run, (x,), (t,));
            custom_jvp(run, rule)(&x)
        }
        Call::CustomVjp => {
            let forward = |x: &Vec<Array>| Ok((p.run(x)?, x.clone()));
            let backward = |x: &Vec<Array>, ct: &Vec<Array>| vjp(run, (x,))?.1(ct);
            custom_vjp(run, forward, backward)(&x)
        }
        Call::Scan {
            carry,
            length,
            xs,
            reverse,
        } => {
            let [init, xs, constants] = &parts(&x, &[*carry, *xs])[..] else {
                return Err(Error::internal("parts"));
            };
            let mut options = ScanOptions::new().length(*length);
            if *reverse {
                options = options.reverse();
            }
            let step = |c: &Vec<Array>, x: &Vec<Array>| -> Result<(Vec<Array>, Vec<Array>)> {
                let mut y = p.run(&[&c[..], &x[..], &constants[..]].concat())?;
                let ys = y.split_off(*carry);
                Ok((y, ys))
            };
            let (c, ys) = scan_with(options, step, init, xs)?;
            Ok([c, ys].concat())
        }
        Call::Fori { carry, steps } => {
            let [init, constants] = &parts(&x, &[*carry])[..] else {
                return Err(Error::internal("parts"));
            };
            let body = |i: &Array, c: &Vec<Array>| {
                p.run(&[std::slice::from_ref(i), &c[..], &constants[..]].concat())
            };
            fori_loop(0, *steps as i32, body, init)
        }
        Call::While { carry } => {
            let [limit, init, constants] = &parts(&x, &[1, *carry])[..] else {
                return Err(Error::internal("parts"));
            };
            let all = |(i, c): &(Array, Vec<Array>)| {
                [std::slice::from_ref(i), &c[..], &constants[..]].concat()
            };
            let test = |c: &(Array, Vec<Array>)| match programs[1].run(&all(c)) {
                Ok(y) => c.0.lt(&limit[0]) & &y[0],
                Err(e) => Array::error(e),
            };
            let body = |c: &(Array, Vec<Array>)| Ok((&c.0 + 1, p.run(&all(c))?));
            let start = (Array::scalar(0i32), init.clone());
            Ok(while_loop(test, body, &start)?.1)
        }
        Call::Cond => {
            let no = |x: &Vec<Array>| programs[1].run(x);
            cond(&x[0], run, no, &x[1..].to_vec())
        }
        Call::Switch => {
            type Branch<'a> = Box<dyn Fn(&Vec<Array>) -> Result<Vec<Array>> + 'a>;
            let branches: Vec<Branch<'_>> = programs
                .iter()
                .map(|p| Box::new(|x: &Vec<Array>| p.run(x)) as Branch<'_>)
                .collect();
            let branches: Vec<_> = branches.iter().map(|b| &**b).collect();
            switch(&x[0], &branches, &x[1..].to_vec())
        }
        Call::Vmap { name, size, mapped } => {
            let mapped = mapped.clone();
            let axis = move |path: &str| {
                let i: usize = path.trim_matches(['[', ']']).parse().ok()?;
                mapped.get(i)?.then_some(0)
            };
            vmap(run)
                .in_axes((by_path(axis),))
                .axis_name(name)
                .axis_size(*size)(&x)
        }
        Call::Jvp => {
            let (x, t) = x.split_at(x.len() / 2);
            let (y, dy) = jvp(run, (&x.to_vec(),), (&t.to_vec(),))?;
            Ok([y, dy].concat())
        }
        Call::Grad => grad(|x: &Vec<Array>| Ok(sum_of(&p.run(x)?)))(&x),
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, 0, f)
    }
}

fn show(p: &Program, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let pad = "    ".repeat(depth);
    let inputs: Vec<String> = p.inputs.iter().map(|a| a.to_string()).collect();
    writeln!(f, "{pad}inputs %0.. = {}", inputs.join(" "))?;
    let mut at = p.inputs.len();
    for (s, n) in p.steps.iter().zip(&p.results) {
        let types: Vec<String> = (at..at + n)
            .map(|i| format!("%{i}:{}", p.types[i]))
            .collect();
        let types = types.join(" ");
        match s {
            Step::Constant(c) => {
                let text = format!("{c:?}").replace('\n', "");
                writeln!(f, "{pad}  {types} = {text}")?;
            }
            Step::Op(op, x) => writeln!(f, "{pad}  {types} = {} {op:?} {x:?}", op.name())?,
            Step::Function(name, x) => writeln!(f, "{pad}  {types} = {name} {x:?}")?,
            Step::Call(how, programs, x) => {
                writeln!(f, "{pad}  {types} = {how:?} {x:?}")?;
                for p in programs {
                    show(p, depth + 1, f)?;
                }
            }
        }
        at += n;
    }
    writeln!(f, "{pad}  in {:?}", p.outs)
}
