//! Keys of pseudo-random numbers as a type of their own, for several algorithms.

use super::families;
use crate::{
    PyTree,
    array::{Array, Aval, DType, Dims, IntoDims, numpy},
    dispatch::{ArrayValue, Rules},
    error::{Error, ErrorKind, Result},
    random::Key,
    trace::{
        bind, bind_all,
        op::{BatchAxis, Binary, BitcastConvertType, Op, RandomAlgorithm, RngBitGenerator},
    },
    transform::vmap,
};
use std::{cell::RefCell, collections::HashMap, fmt, panic::Location};

/// How a [`Prng`]'s numbers are made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// Threefry-2x32: JAX's default, the numbers of [`random`](crate::random). Keys of two words.
    ThreeFry,
    /// Philox-4x32 in counter mode, as XLA's generator has it; keys of four words are split and folded by Threefry. JAX's `rbg` on processors.
    Rbg,
    /// As `Rbg`, with a Philox of its own for splitting, too: cheap, and weaker. JAX's `unsafe_rbg`.
    Philox,
}

impl Algorithm {
    fn words(self) -> usize {
        match self {
            Algorithm::ThreeFry => 2,
            Algorithm::Rbg | Algorithm::Philox => 4,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::ThreeFry => "threefry2x32",
            Algorithm::Rbg => "rbg",
            Algorithm::Philox => "unsafe_rbg",
        })
    }
}

/// An array of keys: what its shape says is how many, not of which words they are made.
///
/// Keys can be moved, indexed, joined and chosen among like elements of any array, and nothing else: no program adds to them. Numbers are drawn
/// with the methods, which equal `jax.random` with the same `impl`, bit for bit.
///
/// ```
/// use quaxide::{prelude::*, rules::{Algorithm, Prng}};
/// let key = Prng::new(7, Algorithm::Rbg);
/// let keys = Array::from_value(key.split([4, 2]).unwrap());
/// assert_eq!(format!("{keys:?}"), "prng[4,2, rbg]");
/// let picked = quaxify(|k: &Array| k.index((1, 0)))(&keys).unwrap();
/// let x = picked.value::<Prng>().unwrap().normal([3]).unwrap();
/// assert_eq!(x.shape(), [3]);
/// let e = quaxify(|k: &Array| k + 1)(&keys).unwrap_err();
/// assert!(e.message().contains("keys are not numbers"));
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct Prng {
    data: Array,
    #[pytree(meta)]
    algorithm: Algorithm,
}

type Seen = HashMap<Vec<u32>, &'static Location<'static>>;

thread_local! {
    static CHECKING: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Run a function in which no key may be used twice: drawing from one, or splitting it, a second time is an error that says where the first was.
///
/// Keys inside of `jit` and the other transformations have no words yet, and are not looked at.
///
/// ```
/// use quaxide::rules::{Algorithm, Prng, check_key_reuse};
/// let key = Prng::new(0, Algorithm::ThreeFry);
/// check_key_reuse(|| {
///     assert!(key.uniform([2]).is_ok());
///     let e = key.normal([2]).unwrap_err();
///     assert!(e.message().contains("used already"));
/// });
/// assert!(key.normal([2]).is_ok());
/// ```
pub fn check_key_reuse<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Seen>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CHECKING.with_borrow_mut(|c| *c = self.0.take());
        }
    }
    let before = CHECKING.with_borrow_mut(|c| c.replace(Seen::new()));
    let _restore = Restore(before);
    f()
}

impl Prng {
    /// The key of a seed.
    pub fn new(seed: u64, algorithm: Algorithm) -> Prng {
        let pair = crate::random::key(seed).data().clone();
        let data = match algorithm.words() {
            2 => pair,
            _ => numpy::concatenate(&[&pair, &pair], 0),
        };
        Prng { data, algorithm }
    }

    /// Keys of words: `u32[.., words]`, 2 of Threefry and 4 of the others. An error for any other type.
    pub fn from_words(words: Array, algorithm: Algorithm) -> Result<Prng> {
        let a = words.aval()?;
        let n = algorithm.words();
        if a.dtype != DType::U32 || a.shape.last() != Some(&n) {
            return Err(Error::shape(format!(
                "keys of {algorithm} are u32[.., {n}], not {a}"
            )));
        }
        Ok(Prng {
            data: words,
            algorithm,
        })
    }

    /// The words: `u32[.., words]`.
    pub fn words(&self) -> &Array {
        &self.data
    }

    /// How its numbers are made.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// An error for more than one key, and in [`check_key_reuse`] for one that was used.
    #[track_caller]
    fn single(&self) -> Result<&Array> {
        if self.data.aval()?.ndim() != 1 {
            return Err(Error::shape(format!(
                "{} is more than one key: map over them with `vmap`",
                ArrayValue::describe(self)
            )));
        }
        let at = Location::caller();
        let used =
            CHECKING.with_borrow_mut(|seen| -> Result<Option<&'static Location<'static>>> {
                let Some(seen) = seen.as_mut().filter(|_| self.data.buffer().is_some()) else {
                    return Ok(None);
                };
                Ok(seen.insert(self.data.to_vec::<u32>()?, at))
            })?;
        match used {
            None => Ok(&self.data),
            Some(first) => Err(Error::new(
                ErrorKind::Argument,
                format!(
                    "this key was used already, at {}:{}",
                    first.file(),
                    first.line()
                ),
            )
            .note("`split` it first, and use each of the new keys once")
            .at(at)),
        }
    }

    /// The halves of four words as Threefry keys, each treated alike.
    fn halves(&self, data: &Array, f: impl Fn(&Key) -> Array + Send + Sync) -> Result<Array> {
        let pairs = data.reshape([2, 2]);
        let of = |words: &Array| Ok(f(&Key::from_data(words.clone())?));
        vmap(of)(&pairs)
    }

    /// As many new keys as the shape says. The old one must not be used again.
    ///
    /// An error for more than one key.
    #[track_caller]
    pub fn split(&self, shape: impl IntoDims) -> Result<Prng> {
        let data = self.single()?;
        let shape = shape.into_dims();
        let n: usize = shape.iter().product();
        let words = match self.algorithm {
            Algorithm::ThreeFry => Key::from_data(data.clone())?.split_n(n).data().clone(),
            Algorithm::Rbg => self
                .halves(data, |k| k.split_n(n).data().clone())?
                .transpose([1, 0, 2]),
            Algorithm::Philox => {
                // Every tenth group of four words, as JAX takes them.
                let all = generate(data, &Dims::from_slice(&[10 * n, 4]), DType::U32)?;
                all.reshape([n, 10, 4]).slice_in_dim(0, 1, 1)
            }
        };
        let mut full = shape;
        full.push(self.algorithm.words());
        Prng::from_words(words.reshape(full), self.algorithm)
    }

    /// The key that this one and a number determine. Of Threefry, as in JAX, the numbers below `n` give the keys that [`Prng::split`] into `n` gives.
    ///
    /// An error for more than one key.
    #[track_caller]
    pub fn fold_in(&self, number: u32) -> Result<Prng> {
        if self.data.aval()?.ndim() != 1 {
            return self.single().map(|_| self.clone());
        }
        let fold = |k: &Key| k.fold_in(Array::scalar(number)).data().clone();
        let words = match self.algorithm {
            Algorithm::ThreeFry => fold(&Key::from_data(self.data.clone())?),
            Algorithm::Rbg => self.halves(&self.data, fold)?.reshape([4]),
            Algorithm::Philox => {
                let words = Prng::new(u64::from(number), Algorithm::Rbg).data;
                let bits = generate(&words, &Dims::from_slice(&[10, 4]), DType::U32)?;
                bind(Binary::Xor, &[&self.data, &bits.index(-1)])
            }
        };
        Prng::from_words(words, self.algorithm)
    }

    /// Random bits in an unsigned element type.
    ///
    /// An error for more than one key and for another type.
    #[track_caller]
    pub fn bits(&self, shape: impl IntoDims, dtype: DType) -> Result<Array> {
        let data = self.single()?;
        draw(data, self.algorithm, &shape.into_dims(), dtype)
    }

    /// Numbers from 0 up to but not including 1, `f32`.
    ///
    /// An error for more than one key.
    #[track_caller]
    pub fn uniform(&self, shape: impl IntoDims) -> Result<Array> {
        let data = self.single()?;
        uniform(data, self.algorithm, &shape.into_dims(), 0.0, 1.0)
    }

    /// Numbers of the standard normal distribution, `f32`.
    ///
    /// An error for more than one key.
    #[track_caller]
    pub fn normal(&self, shape: impl IntoDims) -> Result<Array> {
        let data = self.single()?;
        let above = (-1f32).next_up();
        let u = uniform(data, self.algorithm, &shape.into_dims(), above, 1.0)?;
        (u.erf_inv() * Array::scalar(2f32.sqrt())).ok().cloned()
    }
}

fn generate(words: &Array, shape: &Dims, dtype: DType) -> Result<Array> {
    let op = RngBitGenerator {
        algorithm: RandomAlgorithm::Default,
        dtype,
        shape: shape.clone(),
    };
    let results = bind_all(op, std::slice::from_ref(words))?;
    match &results[..] {
        [_, bits] => Ok(bits.clone()),
        _ => Err(Error::internal("a generator gives a state and bits")),
    }
}

fn draw(words: &Array, algorithm: Algorithm, shape: &Dims, dtype: DType) -> Result<Array> {
    if !matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64) {
        return Err(Error::dtype(format!("bits are unsigned, not {dtype}")));
    }
    match algorithm {
        Algorithm::ThreeFry => {
            let key = Key::from_data(words.clone())?;
            crate::random::bits(&key, (shape.clone(), dtype))
                .ok()
                .cloned()
        }
        _ => generate(words, shape, dtype),
    }
}

/// As `jax.random.uniform`: 23 random bits behind the exponent of 1.
fn uniform(
    words: &Array,
    algorithm: Algorithm,
    shape: &Dims,
    low: f32,
    high: f32,
) -> Result<Array> {
    let bits = draw(words, algorithm, shape, DType::U32)?;
    let shifted = bind(Binary::ShiftRightLogical, &[&bits, &Array::scalar(9u32)]);
    let ones = shifted | Array::scalar(0x3F80_0000u32);
    let new_dtype = DType::F32;
    let floats = bind(BitcastConvertType { new_dtype }, &[&ones]) - Array::scalar(1f32);
    let spread = floats * Array::scalar(high - low) + Array::scalar(low);
    spread.maximum(Array::scalar(low)).ok().cloned()
}

/// Keys move as elements do: the axis of their words is a batch axis, which comes last again.
fn rule(op: &Op, operands: &[&Array]) -> Result<Vec<Array>> {
    let mut algorithm = None;
    let (mut data, mut dims) = (vec![], vec![]);
    for x in operands {
        match x.value::<Prng>() {
            Some(keys) => {
                if algorithm.is_some_and(|a| a != keys.algorithm) {
                    return Err(Error::argument(format!(
                        "`{}`: keys of different algorithms",
                        op.name()
                    )));
                }
                algorithm = Some(keys.algorithm);
                dims.push(Some(keys.data.ndim().saturating_sub(1)));
                data.push(keys.data.clone());
            }
            None => {
                dims.push(None);
                data.push((*x).clone());
            }
        }
    }
    let algorithm = algorithm.ok_or_else(|| Error::internal("no keys"))?;
    // Places are numbers; what is joined with keys, or chosen beside them, is keys.
    let elements = match op {
        Op::SelectN(_) => 1..operands.len(),
        Op::Concatenate(_) | Op::Stack(_) | Op::OptimizationBarrier(_) => 0..operands.len(),
        Op::DynamicUpdateSlice(_) => 0..2,
        _ => 0..1,
    };
    let holds = |i: usize| match op {
        Op::Scatter(_) => i != 1,
        _ => elements.contains(&i),
    };
    if dims
        .iter()
        .enumerate()
        .any(|(i, d)| d.is_some() != holds(i))
    {
        return Err(
            Error::argument(format!("`{}` of keys beside numbers", op.name()))
                .note("keys are not numbers: `Prng::words` has theirs"),
        );
    }
    let axis = BatchAxis {
        size: algorithm.words(),
        name: None,
    };
    let (results, at) = op.batch(&data, &dims, &axis)?;
    results
        .into_iter()
        .zip(at)
        .map(|(y, at)| {
            let y = y.ok()?;
            let last = y.ndim().saturating_sub(1);
            let at = at.ok_or_else(|| Error::internal("keys without words"))?;
            let order: Dims = (0..=last).filter(|i| *i != at).chain([at]).collect();
            Ok(Array::from_value(Prng::from_words(
                y.transpose(order),
                algorithm,
            )?))
        })
        .collect()
}

const OTHERS: &[&str] = &[
    "all_gather",
    "all_to_all",
    "concatenate",
    "dynamic_update_slice",
    "optimization_barrier",
    "pbroadcast",
    "ppermute",
    "scatter",
    "select_n",
    "stack",
];

impl ArrayValue for Prng {
    fn aval(&self) -> Result<Aval> {
        let mut a = self.data.aval()?;
        a.shape.pop();
        Ok(a)
    }

    fn materialise(&self) -> Result<Array> {
        Err(Error::refused("keys are not numbers")
            .note("they can be moved, indexed, joined and chosen among; `Prng::words` has the words of them"))
    }

    fn describe(&self) -> String {
        let shape: Vec<String> = self
            .aval()
            .map(|a| a.shape.iter().map(usize::to_string).collect())
            .unwrap_or_default();
        format!("prng[{}, {}]", shape.join(","), self.algorithm)
    }

    fn rules(r: &mut Rules) {
        r.precedence(35);
        for family in [families::MOVING, families::IDENTITY, OTHERS] {
            r.family::<Prng, _>(family, rule);
        }
    }
}
