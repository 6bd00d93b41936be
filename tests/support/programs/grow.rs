//! A program grows by steps that are tried on numbers: one whose result is no good is taken back.

use super::{
    combine, contract, elementwise, factor, index,
    lanes::{self, Axes, Lanes},
    matrix,
    nature::{epsilon, is_constant, nature},
    numbers::is_small,
    program::{Program, Step},
    shape, subprograms,
};
use crate::rng::{Numbers, Rng, random_of};
use quaxide::{op::Op, prelude::*};

/// What a generated program may hold.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub steps: usize,
    /// How deep programs within programs go.
    pub depth: usize,
    /// What depends on inputs keeps its precision and has the derivative that differences find.
    pub derivatives: bool,
    /// How often it is differentiated.
    pub orders: usize,
    /// What depends on inputs has no kinks.
    pub smooth: bool,
    /// What depends on inputs may be the carry of a `while_loop`, which has no reverse derivative.
    pub loops: bool,
    /// `custom_vjp`, which has no forward derivative.
    pub custom_vjp: bool,
    /// Infinities, NaN and other odd numbers, where two ways to compute agree bit by bit.
    pub odd: bool,
}

/// What is known of a value.
#[derive(Clone, Debug)]
pub struct Value {
    pub lanes: Lanes,
    pub aval: Aval,
    /// Does it depend on an input by which the program is differentiated?
    pub varies: bool,
    /// How far two ways to compute it may differ: 0 where they agree bit by bit.
    pub precision: f64,
    /// Are all its numbers finite and below 20?
    pub small: bool,
}

impl Value {
    pub fn dtype(&self) -> DType {
        self.aval.dtype
    }
    pub fn shape(&self) -> Vec<usize> {
        self.aval.shape.to_vec()
    }
    pub fn ndim(&self) -> usize {
        self.aval.ndim()
    }
    pub fn is_float(&self) -> bool {
        self.aval.dtype.is_float()
    }
    pub fn is_exact(&self) -> bool {
        self.precision == 0.0
    }
}

/// The most elements of a value.
const MOST: usize = 200;

/// A program that is being made.
pub struct Grow<'a> {
    pub r: &'a mut Rng,
    pub options: Options,
    pub axes: Axes,
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    pub results: Vec<usize>,
    pub inputs: usize,
    pub depth: usize,
}

/// A place to go back to.
pub struct Mark {
    values: usize,
    steps: usize,
}

impl<'a> Grow<'a> {
    pub fn new(r: &'a mut Rng, options: Options, axes: Axes, inputs: Vec<Value>) -> Self {
        Grow {
            r,
            options,
            axes,
            inputs: inputs.len(),
            values: inputs,
            steps: vec![],
            results: vec![],
            depth: 0,
        }
    }

    pub fn mark(&self) -> Mark {
        Mark {
            values: self.values.len(),
            steps: self.steps.len(),
        }
    }

    pub fn back(&mut self, m: &Mark) {
        self.values.truncate(m.values);
        self.steps.truncate(m.steps);
        self.results.truncate(m.steps);
    }

    pub fn lanes(&self) -> usize {
        self.axes.iter().map(|a| a.1).product()
    }

    /// A value that satisfies a condition; late ones are likelier, so that programs are deep.
    pub fn pick(&mut self, fits: impl Fn(&Value) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.values.len())
            .filter(|i| fits(&self.values[*i]))
            .collect();
        let back = self.r.below(all.len()).min(self.r.below(all.len()));
        all.len().checked_sub(1 + back).map(|k| all[k])
    }

    pub fn aval(&self, i: usize) -> &Aval {
        &self.values[i].aval
    }

    pub fn shape(&self, i: usize) -> Vec<usize> {
        self.values[i].shape()
    }

    pub fn dtype(&self, i: usize) -> DType {
        self.values[i].dtype()
    }

    pub fn constant(&mut self, x: Array) -> usize {
        let value = Value {
            aval: x.aval().expect("a constant is an array"),
            varies: false,
            precision: 0.0,
            small: is_small(&x) || !x.dtype().is_ok_and(DType::is_inexact),
            lanes: vec![x.clone(); self.lanes()],
        };
        self.values.push(value);
        self.steps.push(Step::Constant(x));
        self.results.push(1);
        self.values.len() - 1
    }

    /// A constant of a type, of small numbers.
    pub fn random(&mut self, shape: &[usize], dtype: DType) -> usize {
        let x = random_of(self.r, &Aval::new(shape, dtype), Numbers::Small);
        self.constant(x)
    }

    /// A number as a constant.
    pub fn number(&mut self, x: f64, dtype: DType) -> usize {
        self.constant(Array::full((), x, dtype))
    }

    /// A value of this type, or a constant.
    pub fn like(&mut self, shape: &[usize], dtype: DType) -> usize {
        let fits = |v: &Value| v.dtype() == dtype && v.aval.shape[..] == *shape;
        match self.pick(fits) {
            Some(i) if self.r.chance(0.8) => i,
            _ => self.random(shape, dtype),
        }
    }

    /// Apply a primitive that has one result.
    pub fn op(&mut self, op: impl Into<Op>, x: &[usize]) -> Option<usize> {
        self.ops(op, x)?.first().copied()
    }

    /// Apply a primitive.
    pub fn ops(&mut self, op: impl Into<Op>, x: &[usize]) -> Option<Vec<usize>> {
        self.checked(op.into(), x, true)
    }

    /// Apply a primitive that is steady on these operands, whatever it is elsewhere.
    pub fn in_domain(&mut self, op: impl Into<Op>, x: &[usize]) -> Option<usize> {
        self.checked(op.into(), x, false)?.first().copied()
    }

    fn checked(&mut self, op: Op, x: &[usize], steady: bool) -> Option<Vec<usize>> {
        let avals: Vec<Aval> = x.iter().map(|i| self.aval(*i).clone()).collect();
        let n = nature(&op, &avals);
        let mut precision = 0.0f64;
        let mut varies = false;
        for (k, i) in x.iter().enumerate() {
            let v = &self.values[*i];
            precision = precision.max(v.precision);
            varies |= v.varies;
            let constant =
                self.options.derivatives && is_constant(&op, k, &avals, self.options.orders);
            if v.varies && (constant || self.options.smooth && !n.smooth) {
                return None;
            }
            if (n.rounds || v.precision > 0.0) && !v.small {
                return None;
            }
        }
        if precision > 0.0 && !n.steady && steady {
            return None;
        }
        self.push(Step::Op(op, x.to_vec()), varies, precision, n.rounds)
    }

    /// Apply a function that is steady and may round.
    pub fn function(&mut self, name: &'static str, x: &[usize]) -> Option<usize> {
        let values: Vec<&Value> = x.iter().map(|i| &self.values[*i]).collect();
        if values.iter().any(|v| !v.small) {
            return None;
        }
        let precision = values.iter().fold(0.0f64, |m, v| m.max(v.precision));
        let varies = values.iter().any(|v| v.varies);
        let step = Step::Function(name, x.to_vec());
        self.push(step, varies, precision, true)?.first().copied()
    }

    /// Run a step and keep its results, unless they are no good.
    pub fn push(
        &mut self,
        step: Step,
        varies: bool,
        precision: f64,
        rounds: bool,
    ) -> Option<Vec<usize>> {
        let operands: Vec<Lanes> = step
            .operands()
            .iter()
            .map(|i| self.values[*i].lanes.clone())
            .collect();
        let results = match lanes::step(&step, &operands, &self.axes) {
            Ok(results) => results,
            Err(e) => panic!("the generator made a step that fails: {step:?}\n{e}"),
        };
        let mut values = vec![];
        for lanes in results {
            let aval = lanes.first().map(|x| x.aval());
            let aval = match aval {
                Some(Ok(aval)) => aval,
                Some(Err(e)) => panic!("the generator made a step that fails: {step:?}\n{e}"),
                None => return None,
            };
            let inexact = aval.dtype.is_inexact();
            let small = !inexact || lanes.iter().all(is_small);
            let precision = if inexact && (rounds || precision > 0.0) {
                precision.max(epsilon(aval.dtype))
            } else {
                0.0
            };
            let own = varies && inexact;
            let full = matches!(aval.dtype, DType::F64 | DType::C128);
            if aval.size() > MOST
                || !small && (precision > 0.0 || own || !self.options.odd)
                || own && self.options.derivatives && !full
            {
                return None;
            }
            values.push(Value {
                lanes,
                aval,
                varies: own,
                precision,
                small,
            });
        }
        let first = self.values.len();
        self.results.push(values.len());
        self.values.extend(values);
        self.steps.push(step);
        Some((first..self.values.len()).collect())
    }

    /// Add steps until there are enough.
    pub fn grow(&mut self) {
        let (count, start) = (1 + self.r.below(self.options.steps), self.steps.len());
        for _ in 0..4 * count + 20 {
            if self.steps.len() >= start + count {
                break;
            }
            let mark = self.mark();
            if self.propose().is_none() {
                self.back(&mark);
            }
        }
    }

    fn propose(&mut self) -> Option<()> {
        match self.r.below(28) {
            0..=4 => elementwise::unary(self),
            5..=8 => elementwise::binary(self),
            9 => elementwise::other(self),
            10 => elementwise::convert(self),
            11 => elementwise::function(self),
            12 | 13 => shape::shape(self),
            14 => shape::slicing(self),
            15 => shape::joining(self),
            16 => index::gather(self),
            17 => index::scatter(self),
            18 => index::order(self),
            19 => contract::reduce(self),
            20 => contract::dot(self),
            21 => contract::window(self),
            22 => matrix::linalg(self),
            23 => matrix::random(self),
            24 => combine::combine(self),
            25 => factor::factor(self),
            _ => subprograms::call(self),
        }
    }

    /// The program with these results.
    pub fn program(self, outs: Vec<usize>) -> Program {
        Program {
            inputs: self.values[..self.inputs]
                .iter()
                .map(|v| v.aval.clone())
                .collect(),
            steps: self.steps,
            types: self.values.into_iter().map(|v| v.aval).collect(),
            results: self.results,
            outs,
        }
    }
}

/// A program, what it runs on, and how far two ways to compute each result may differ.
pub struct Made {
    pub program: Program,
    pub x: Vec<Array>,
    pub precision: Vec<f64>,
}

fn random_shape(r: &mut Rng, sizes: &[usize]) -> Vec<usize> {
    (0..r.below(4))
        .map(|_| *r.choose(sizes).unwrap_or(&1))
        .collect()
}

/// A program with inputs that it can run on.
pub fn generate(seed: u64, options: Options) -> Made {
    let mut r = Rng(seed);
    let sizes: &[usize] = if r.chance(0.12) {
        &[0, 1, 2, 3]
    } else {
        &[1, 2, 3, 4]
    };
    let numbers = if options.odd && r.chance(0.5) {
        Numbers::Odd
    } else {
        Numbers::Small
    };
    let inputs: Vec<Value> = (0..1 + r.below(3))
        .map(|i| {
            let dtype = match r.below(10) {
                _ if i == 0 && options.derivatives => DType::F64,
                0..=5 => DType::F64,
                6 => DType::C128,
                _ if options.derivatives => {
                    *r.choose(&[DType::I32, DType::Bool]).unwrap_or(&DType::I32)
                }
                _ => *r.choose(&DType::ALL).unwrap_or(&DType::F64),
            };
            let aval = Aval::new(random_shape(&mut r, sizes), dtype);
            let x = random_of(&mut r, &aval, numbers);
            Value {
                aval,
                varies: dtype.is_inexact(),
                precision: 0.0,
                small: is_small(&x) || !dtype.is_inexact(),
                lanes: vec![x],
            }
        })
        .collect();
    let x: Vec<Array> = inputs.iter().map(|v| v.lanes[0].clone()).collect();
    let mut g = Grow::new(&mut r, options, vec![], inputs);
    g.grow();
    // The last value, and sometimes another; a program that is differentiated has a result that can be.
    let inexact = |v: &Value| v.dtype().is_inexact() || !options.derivatives;
    let last = (0..g.values.len()).rev().find(|i| inexact(&g.values[*i]));
    let mut outs = vec![last.unwrap_or(0)];
    if g.r.chance(0.3) {
        outs.extend(g.pick(|_| true));
    }
    let precision = outs.iter().map(|i| g.values[*i].precision).collect();
    Made {
        program: g.program(outs),
        x,
        precision,
    }
}
