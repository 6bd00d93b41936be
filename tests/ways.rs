//! One corpus of programs with inputs and results, run in every way that there is of running a program.
//!
//! The corpus is what JAX exported and what it computed (`tests/golden/make_corpus.py`). Which programs do not run in which way is a
//! list with reasons, and the list is tested: what stands there must fail, and what does not must pass.
#![cfg(feature = "stablehlo")]

use quaxide::{
    interp::{self, Interpreter},
    prelude::*,
    stablehlo::{Check, Expect, Module},
};

/// An array that is no plain array, and equals one: whatever meets it goes through its definition.
#[derive(Clone, PyTree)]
struct Wrapped(Array);

impl ArrayValue for Wrapped {
    fn aval(&self) -> Result<quaxide::Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.0.clone())
    }
}

struct Case {
    name: String,
    expect: Option<Expect>,
    program: Jaxpr,
    inputs: Vec<Array>,
    expected: Vec<Array>,
}

fn corpus() -> Vec<Case> {
    let text = include_str!("golden/corpus.mlir");
    text.split("// -----\n")
        .map(|part| {
            let (first, module) = part.split_once('\n').unwrap();
            let words: Vec<&str> = first.split_whitespace().collect();
            let [_, name, how] = words[..] else {
                panic!("{first}")
            };
            let module = Module::parse(name, module).unwrap_or_else(|e| panic!("{e}"));
            let constants = |f: &str| {
                let j = module.function(f).unwrap_or_else(|e| panic!("{e}")).program;
                interp::run(&j, &[], Interpreter::Reference).unwrap()
            };
            let tolerance: Option<f64> = how.parse().ok();
            Case {
                name: name.into(),
                expect: tolerance.map(|tolerance| Expect::AlmostEqual { tolerance }),
                program: module
                    .function("program")
                    .unwrap_or_else(|e| panic!("{e}"))
                    .program,
                inputs: constants("inputs"),
                expected: constants("expected"),
            }
        })
        .collect()
}

/// Where results are not what is expected.
fn difference(case: &Case, results: &[Array]) -> Option<String> {
    if results.len() != case.expected.len() {
        return Some(format!("{} results", results.len()));
    }
    results.iter().zip(&case.expected).find_map(|(y, wanted)| {
        let exact = !wanted.dtype().unwrap().is_inexact();
        let close = Expect::Close {
            min_ulp: 0,
            max_ulp: 3,
        };
        let expect = if exact {
            Expect::Equal
        } else {
            case.expect.unwrap_or(close)
        };
        match (Check { expect, line: 0 }).compare(y, wanted) {
            Ok(None) => None,
            Ok(Some(m)) => Some(format!("{} for {} at {}", m.actual, m.expected, m.place)),
            Err(e) => Some(e.to_string()),
        }
    })
}

/// A way to run a program.
type Way = fn(&Jaxpr, &[Array]) -> Result<Vec<Array>>;

/// Each equation by itself, inner programs included.
fn by_equation(j: &Jaxpr, x: &[Array]) -> Result<Vec<Array>> {
    quaxide::eager(|| j.eval(x))
}

fn jitted(j: &Jaxpr, x: &[Array]) -> Result<Vec<Array>> {
    jit(move |x: &Vec<Array>| j.eval(x))(&x.to_vec())
}

/// On values that stand for the inputs: by their definitions, through every primitive.
fn quaxified(j: &Jaxpr, x: &[Array]) -> Result<Vec<Array>> {
    let values: Vec<Array> = x
        .iter()
        .map(|x| Array::from_value(Wrapped(x.clone())))
        .collect();
    let y = quaxify(move |x: &Vec<Array>| j.eval(x))(&values)?;
    // What passes through untouched is still the value.
    let plain = |y: Array| y.value::<Wrapped>().map(|v| v.0.clone()).unwrap_or(y);
    Ok(y.into_iter().map(plain).collect())
}

/// From the text that the program prints, where that holds all of it.
fn printed(j: &Jaxpr, x: &[Array]) -> Result<Vec<Array>> {
    let again: Jaxpr = j.clone().lifted().to_string().parse()?;
    let captured = j.consts().iter().map(|(_, c)| c.clone());
    let all: Vec<Array> = captured.chain(x.iter().cloned()).collect();
    interp::run(&again, &all, Interpreter::Compiled)
}

/// Several copies at once, of which the first is taken.
fn batched(j: &Jaxpr, x: &[Array]) -> Result<Vec<Array>> {
    let twice: Vec<Array> = x.iter().map(|x| lax::stack(&[x, x], 0)).collect();
    if twice.is_empty() {
        return j.eval(x);
    }
    let y = vmap(move |x: &Vec<Array>| j.eval(x))(&twice)?;
    Ok(y.iter()
        .map(|y| lax::index_in_dim(y, 0, 0, false))
        .collect())
}

const WAYS: [(&str, Way); 7] = [
    ("reference", |j, x| {
        interp::run(j, x, Interpreter::Reference)
    }),
    ("compiled", |j, x| interp::run(j, x, Interpreter::Compiled)),
    ("eager", by_equation),
    ("jitted", jitted),
    ("quaxified", quaxified),
    ("printed", printed),
    ("batched", batched),
];

/// A way, the beginning of a program's name, and why that program does not run that way. There is none.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

#[test]
fn every_program_runs_in_every_way() {
    let cases = corpus();
    assert!(cases.len() > 150, "{}", cases.len());
    let (mut wrong, mut used) = (vec![], vec![false; EXCEPTIONS.len()]);
    for case in &cases {
        for (way, run) in WAYS {
            let found = match run(&case.program, &case.inputs) {
                Ok(results) => difference(case, &results),
                Err(e) => Some(e.to_string()),
            };
            let excepted = EXCEPTIONS
                .iter()
                .position(|(w, name, _)| *w == way && case.name.starts_with(name));
            match (found, excepted) {
                (None, None) => {}
                (Some(_), Some(i)) => used[i] = true,
                (Some(why), None) => wrong.push(format!("{} {way}: {why}", case.name)),
                (None, Some(i)) => wrong.push(format!(
                    "{} {way}: it runs, though {}",
                    case.name, EXCEPTIONS[i].2
                )),
            }
        }
    }
    for ((way, name, _), used) in EXCEPTIONS.iter().zip(used) {
        if !used {
            wrong.push(format!("no program {name} in the corpus ({way})"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
