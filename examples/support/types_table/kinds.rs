//! The types that ship, each by one line: how a value of it is made of the numbers of an array.

use quaxide::{
    prelude::*,
    rules::{
        Algorithm, Bcoo, Csr, DoraArray, Format, Interval, LoraKernel, Masked, Named, Prng,
        Quantised, Structured, Terms, Unitful, Zero, interval, masked, quantity,
    },
};

type Make = fn(&Array) -> Option<Array>;

/// A type of arrays.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// The element type of arrays that it holds.
    pub elements: DType,
    /// Values that stand for the numbers of an array, or for numbers near them; the first that an operation takes counts. None if the type
    /// holds no such array.
    pub make: &'static [Make],
    /// Such a value that may be materialised, of a type that forbids it unless asked.
    pub open: Option<Make>,
    /// Does a program give for it what it gives for the array that it stands for?
    pub equal: bool,
}

/// Every type. To add one is to add a line.
pub const KINDS: &[Kind] = &[
    Kind::new("LoraArray", &[|x| lora(x, false)]).open(|x| lora(x, true)),
    Kind::new(
        "Zero",
        &[|x| x.dtype().ok()?.is_inexact().then(|| Zero::like(x))],
    ),
    Kind::new("Unitful", &[|x| quantity(x.clone(), "m").ok()]).its_own(),
    Kind::new(
        "Named",
        &[
            |x| named(x, &["a", "b", "c", "d"]),
            |x| named(x, &["b", "c", "d", "e"]),
            |x| named(x, &["b", "a"]),
            |x| named(x, &["e", "b", "f", "g"]),
            |x| named(x, &["a"]),
        ],
    ),
    Kind::new(
        "Quantised",
        &[|x| {
            let q = Quantised::new(x, Format::Int8).ok()?;
            Some(Array::from_value(q))
        }],
    ),
    Kind::new("Masked", &[|x| masked(x.clone(), odd(x)).ok()]).its_own(),
    Kind::new(
        "Interval",
        &[|x| {
            let float = matches!(x.dtype().ok()?, DType::F32 | DType::F64);
            float.then(|| interval(x - 0.01, x + 0.01).ok())?
        }],
    )
    .its_own(),
    Kind::new("Prng", &[keys]).of(DType::U32),
    Kind::new("Bcoo", &[|x| sparse(x, false)]).open(|x| sparse(x, true)),
    Kind::new(
        "Structured",
        &[
            |x| diagonal(x, false),
            |x| structured(Structured::lower_triangular(&numpy::tril(x, 0)), false),
        ],
    )
    .open(|x| diagonal(x, true)),
    Kind::new("Csr", &[|x| rows(x, false)]).open(|x| rows(x, true)),
    Kind::new("DoraArray", &[|x| dora(x, false)]).open(|x| dora(x, true)),
    Kind::new("LoraKernel", &[|x| kernel(x, false)]).open(|x| kernel(x, true)),
    Kind::new("Terms", &[|x| terms(x, false)]).open(|x| terms(x, true)),
];

impl Kind {
    const fn new(name: &'static str, make: &'static [Make]) -> Kind {
        Kind {
            name,
            elements: DType::F32,
            make,
            open: None,
            equal: true,
        }
    }

    const fn open(self, open: Make) -> Kind {
        Kind {
            open: Some(open),
            ..self
        }
    }

    const fn of(self, elements: DType) -> Kind {
        Kind { elements, ..self }
    }

    /// What a program gives for it is defined by the type, not by an array that it equals.
    const fn its_own(self) -> Kind {
        Kind {
            equal: false,
            ..self
        }
    }
}

/// True at every second element.
fn odd(x: &Array) -> Array {
    let shape = x.shape();
    let size = shape.iter().product();
    let flags: Vec<bool> = (0..size).map(|i: usize| i % 2 == 1).collect();
    Array::new(&shape, flags)
}

fn lora(x: &Array, allow_materialise: bool) -> Option<Array> {
    let (shape, dtype) = (x.shape(), x.dtype().ok()?);
    let [lead @ .., n, m] = &shape[..] else {
        return None;
    };
    if !dtype.is_float() {
        return None;
    }
    let with = |tail: [usize; 2]| Array::full([lead, &tail].concat(), 0.125, dtype);
    let parts = LoraArray::from_parts(x.clone(), with([*n, 1]), with([1, *m])).ok()?;
    Some(Array::from_value(LoraArray {
        allow_materialise,
        ..parts
    }))
}

fn named(x: &Array, names: &[&str]) -> Option<Array> {
    let names = (0..x.ndim()).map(|i| names.get(i).map(|n| (*n).into()));
    let n = Named::new(x.clone(), names.collect()).ok()?;
    (x.ndim() > 0).then(|| Array::from_value(n))
}

fn keys(x: &Array) -> Option<Array> {
    let words = numpy::stack(&[x, &(x ^ 7u32)], x.ndim() as i32);
    let keys = Prng::from_words(words.ok().ok()?.clone(), Algorithm::ThreeFry).ok()?;
    Some(Array::from_value(keys))
}

fn sparse(x: &Array, allow_materialise: bool) -> Option<Array> {
    if x.dtype().ok()? == DType::Bool {
        return None;
    }
    let some = odd(x).select(Array::zeros_like(x), x);
    let b = Bcoo::from_dense(&some, 0).ok()?;
    Some(Array::from_value(b.allow_materialise(allow_materialise)))
}

fn rows(x: &Array, allow_materialise: bool) -> Option<Array> {
    if x.ndim() != 2 || x.dtype().ok()? == DType::Bool {
        return None;
    }
    let some = odd(x).select(Array::zeros_like(x), x);
    let rows = Csr::from_dense(&some).ok()?;
    Some(Array::from_value(rows.allow_materialise(allow_materialise)))
}

fn dora(x: &Array, allow_materialise: bool) -> Option<Array> {
    let direction = lora(x, allow_materialise)?;
    let magnitude = x.square().sum(-1).sqrt() + 0.5;
    let dora = DoraArray::from_parts(magnitude, direction.value::<LoraArray>()?.clone()).ok()?;
    Some(Array::from_value(DoraArray {
        norm_gradient: true,
        ..dora
    }))
}

fn kernel(x: &Array, allow_materialise: bool) -> Option<Array> {
    let (shape, dtype) = (x.shape(), x.dtype().ok()?);
    let [n, rest @ ..] = &shape[..] else {
        return None;
    };
    if !dtype.is_float() || rest.is_empty() {
        return None;
    }
    let b = Array::full([&[1], rest].concat(), 0.125, dtype);
    Some(Array::from_value(LoraKernel {
        w: x.clone(),
        a: Array::full([*n, 1], 0.25, dtype),
        b,
        stop_gradient: true,
        allow_materialise,
        scaling: 2.0,
    }))
}

/// A sparse array, and a plain one with the other elements.
fn terms(x: &Array, allow_materialise: bool) -> Option<Array> {
    let sparse = sparse(x, allow_materialise)?;
    let others = odd(x).select(x, Array::zeros_like(x));
    let sum = Terms::new(vec![sparse, others]).ok()?;
    Some(Array::from_value(sum))
}

fn structured(s: Result<Structured>, allow_materialise: bool) -> Option<Array> {
    Some(s.ok()?.allow_materialise(allow_materialise).array())
}

fn diagonal(x: &Array, allow_materialise: bool) -> Option<Array> {
    let square = matches!(x.shape()[..], [n, m] if n == m);
    let float = x.dtype().ok()?.is_float();
    (square && float).then(|| {
        structured(
            Structured::diagonal(&numpy::diagonal(x, 0, 0, 1)),
            allow_materialise,
        )
    })?
}

/// The plain array that a value, or a result of a program on values, stands for: numbers without their unit, names or mask.
pub fn plain(x: &Array) -> Result<Array> {
    if let Some(v) = x.value::<LoraArray>() {
        let update = v.a.materialise()?.matmul(&v.b.materialise()?);
        let w = plain(&v.w)?;
        let w = if v.stop_gradient {
            w.stop_gradient()
        } else {
            w
        };
        return (w + update).ok().cloned();
    }
    if let Some(v) = x.value::<DoraArray>() {
        let mut open = v.clone();
        open.direction.allow_materialise = true;
        return Array::from_value(open).materialise();
    }
    if let Some(v) = x.value::<LoraKernel>() {
        let update = LoraKernel {
            w: Array::zeros_like(&v.w),
            ..v.clone()
        };
        let w = plain(&v.w)?;
        let w = if v.stop_gradient {
            w.stop_gradient()
        } else {
            w
        };
        return (w + update.merge()?).ok().cloned();
    }
    if let Some(v) = x.value::<Terms>() {
        let terms = v.terms().iter().map(plain);
        let terms = terms.collect::<Result<Vec<_>>>()?;
        return Ok(terms.into_iter().reduce(|x, y| x + y).unwrap_or(x.clone()));
    }
    if let Some(v) = x.value::<Csr>() {
        return plain(&v.to_dense()?);
    }
    if let Some(v) = x.value::<Bcoo>() {
        return plain(&v.to_dense()?);
    }
    if let Some(v) = x.value::<Structured>() {
        return plain(&v.to_dense()?);
    }
    if let Some(v) = x.value::<Unitful>() {
        return plain(&v.array);
    }
    if let Some(v) = x.value::<Named>() {
        return plain(&v.array);
    }
    if let Some(v) = x.value::<Masked>() {
        return plain(&v.data);
    }
    if let Some(v) = x.value::<Interval>() {
        return plain(&v.lower);
    }
    if let Some(v) = x.value::<Prng>() {
        let words = plain(v.words())?;
        return words.index((quaxide::array::Ellipsis, 0)).ok().cloned();
    }
    x.materialise()
}
