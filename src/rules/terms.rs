//! Sums that are not formed: what is linear meets each term by itself.

use super::families::IDENTITY;
use crate::{
    array::{Array, Aval, Scalar},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    trace::{
        bind, bind_all,
        op::{self, Binary, ConvGeneralDilated, DotGeneral, Gather, Op, Pad},
    },
    tree::{Flat, Leaves, PyTree},
};

/// A sum of arrays of one type, of which some are values, that is not formed.
///
/// It is what a value with [`terms`](ArrayValue::terms) becomes where one of them has a rule of its own: an adapter over a sparse weight is a
/// sparse array and a product of low rank, and a product with it is a product with each. What moves or scales elements gives such a sum
/// again; contractions, sums along axes and vectors are added up.
#[derive(Clone, Debug)]
pub struct Terms(Vec<Array>);

impl PyTree for Terms {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Terms");
        self.0.flatten(out);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Terms(self.0.unflatten(leaves))
    }
}

impl Terms {
    /// The sum of these; an error unless they have one shape and one element type, and there is one at least.
    pub fn new(terms: Vec<Array>) -> Result<Terms> {
        let avals = terms.iter().map(Array::aval).collect::<Result<Vec<_>>>()?;
        match avals.split_first() {
            Some((first, rest)) if rest.iter().all(|a| a.same_type(first)) => Ok(Terms(terms)),
            _ => {
                let all: Vec<String> = avals.iter().map(Aval::to_string).collect();
                Err(Error::shape(format!(
                    "a sum takes arrays of one type, got {}",
                    all.join(", ")
                )))
            }
        }
    }

    /// What is summed.
    pub fn terms(&self) -> &[Array] {
        &self.0
    }
}

fn total(terms: &[Array]) -> Result<Array> {
    let mut all = terms.iter();
    let first = all
        .next()
        .ok_or_else(|| Error::internal("a sum of nothing"))?;
    all.fold(first.clone(), |x, y| x + y).ok().cloned()
}

impl ArrayValue for Terms {
    fn aval(&self) -> Result<Aval> {
        match self.0.first() {
            Some(x) => Ok(x.aval()?.strong()),
            None => Err(Error::internal("a sum of nothing")),
        }
    }

    fn materialise(&self) -> Result<Array> {
        let plain = self.0.iter().map(Array::definition);
        total(&plain.collect::<Result<Vec<_>>>()?)
    }

    fn describe(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(Array::describe).collect();
        format!("terms[{}]", parts.join(" + "))
    }

    fn rules(r: &mut Rules) {
        rules(r);
    }
}

/// Linear in the first operand, whatever the others are; the result is a sum of as many terms.
const LINEAR: &[&str] = &[
    "broadcast_in_dim",
    "conj",
    "convert_element_type",
    "div",
    "dynamic_slice",
    "gather",
    "imag",
    "neg",
    "real",
    "reshape",
    "rev",
    "slice",
    "split",
    "squeeze",
    "tile",
    "transpose",
];

/// Linear, and smaller than what it takes: the terms of the result are added up.
const SUMMING: &[&str] = &["reduce_sum", "cumsum"];

/// The terms of a result: added up if they are plain, if they are vectors, or if that is asked for.
fn joined(terms: Vec<Array>, add: bool) -> Result<Array> {
    let vector = |x: &Array| x.shape().iter().filter(|n| **n != 1).count() < 2;
    let add = add
        || terms.iter().all(|x| x.as_dyn_value().is_none())
        || terms.first().is_some_and(vector);
    match add {
        true => total(&terms),
        false => Ok(Array::from_value(Terms::new(terms)?)),
    }
}

/// A primitive of each term of operand `at`, with the other operands as they are.
fn each(op: &Op, x: &[&Array], at: usize, add: bool) -> Result<Vec<Array>> {
    let Some(terms) = x.get(at).and_then(|x| x.value::<Terms>()) else {
        return plain(op, x);
    };
    let mut results: Vec<Vec<Array>> = vec![];
    // What fills a window that reaches outside is no sum: one term has it, the others have nothing.
    let op_of_others = match op {
        Op::Gather(p) => Gather {
            fill_value: Some(Scalar::Int(0)),
            ..(**p).clone()
        }
        .into(),
        op => op.clone(),
    };
    for (k, term) in terms.0.iter().enumerate() {
        let op = if k == 0 { op } else { &op_of_others };
        let args: Vec<Array> = x
            .iter()
            .enumerate()
            .map(|(i, x)| if i == at { term.clone() } else { (*x).clone() })
            .collect();
        for (i, y) in bind_all(op.clone(), &args)?.into_iter().enumerate() {
            match results.get_mut(i) {
                Some(slot) => slot.push(y),
                None => results.push(vec![y]),
            }
        }
    }
    results.into_iter().map(|t| joined(t, add)).collect()
}

/// A primitive of what the sums equal.
fn plain(op: &Op, x: &[&Array]) -> Result<Vec<Array>> {
    let plain = |x: &&Array| match x.value::<Terms>() {
        Some(_) => x.definition(),
        None => Ok((*x).clone()),
    };
    bind_all(
        op.clone(),
        &x.iter().map(plain).collect::<Result<Vec<_>>>()?,
    )
}

/// The first operand that is a sum.
fn place(x: &[&Array]) -> usize {
    let is = |x: &&Array| x.value::<Terms>().is_some();
    x.iter().position(is).unwrap_or(0)
}

/// `a ± b`: a number or an array is one more term.
fn added(op: Binary, x: &[&Array]) -> Result<Array> {
    let [a, b] = x else {
        return Err(Error::internal("a sum takes two operands"));
    };
    let full = if a.ndim() >= b.ndim() { a } else { b }.shape();
    let terms = |x: &Array, minus: bool| -> Vec<Array> {
        let all = match x.value::<Terms>() {
            Some(t) => t.0.clone(),
            None if x.ndim() == 0 => vec![x.broadcast_to(&full)],
            None => vec![x.clone()],
        };
        all.into_iter()
            .map(|x| if minus { -x } else { x })
            .collect()
    };
    joined(
        [terms(a, false), terms(b, op == Binary::Sub)].concat(),
        false,
    )
}

fn is_zero(x: &Array) -> bool {
    let number = || x.buffer()?.item()?.as_f64();
    x.is_symbolic_zero()
        || x.buffer().is_some_and(|b| b.shape().is_empty()) && number() == Some(0.0)
}

fn rules(r: &mut Rules) {
    r.precedence(25);
    let linear: Vec<&'static str> = LINEAR.iter().chain(IDENTITY).copied().collect();
    let into_float = |op: &Op, x: &[&Array]| {
        let aval = x.first().map(|x| x.aval());
        let Some(Ok(aval)) = aval else { return true };
        // What is rounded to integers is not linear.
        let y = op.infer(&[&aval]);
        op.name() != "convert_element_type"
            || y.is_ok_and(|y| y.first().is_some_and(|y| y.dtype.is_inexact()))
    };
    r.family::<Terms, _>(&linear, move |op: &Op, x: &[&Array]| {
        // Zero by zero in one term would hide what another one is by zero.
        let by_zero = op.name() == "div" && x.get(1).is_some_and(|d| is_zero(d));
        match place(x) == 0 && into_float(op, x) && !by_zero {
            true => each(op, x, 0, false),
            false => plain(op, x),
        }
    });
    r.family::<Terms, _>(SUMMING, |op: &Op, x: &[&Array]| each(op, x, 0, true));
    r.mixed::<Binary, Terms, _>(op::MUL, |p, x| each(&(*p).into(), x, place(x), false));
    r.mixed::<DotGeneral, Terms, _>(op::DOT_GENERAL, |p, x| {
        each(&p.clone().into(), x, place(x), true)
    });
    r.mixed::<ConvGeneralDilated, Terms, _>(op::CONV_GENERAL_DILATED, |p, x| {
        each(&p.clone().into(), x, place(x), true)
    });
    r.mixed::<Binary, Terms, _>(op::ADD, |p, x| added(*p, x));
    r.mixed::<Binary, Terms, _>(op::SUB, |p, x| added(*p, x));
    r.mixed::<Pad, Terms, _>(op::PAD, |p, x| {
        let op: Op = p.clone().into();
        match x {
            [a, with] if is_zero(with) && a.value::<Terms>().is_some() => each(&op, x, 0, false),
            _ => plain(&op, x),
        }
    });
    // A square of a sum is a sum of products, none of which needs it.
    r.unary(op::SQUARE, |_, x: &Terms| {
        let x = Array::from_value(x.clone());
        bind(Binary::Mul, &[&x, &x])
    });
}
