//! The random number generator, and rejection sampling on top of it, as primitives.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive, Special,
    Stack, Tangent, Unstack, batch_to_front,
    elementwise::{batch_operands, common_shape},
    not_linear, one, operands,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::{bind, bind_all},
};
use smallvec::smallvec;

/// `threefry2x32`
pub const THREEFRY2X32: Prim<Threefry2x32> = Prim::new("threefry2x32");
/// `random_gamma`
pub const RANDOM_GAMMA: Prim<RandomGamma> = Prim::new("random_gamma");

/// `rng_bit_generator`
pub const RNG_BIT_GENERATOR: Prim<RngBitGenerator> = Prim::new("rng_bit_generator");

/// The Threefry-2x32 block function, element by element: `key 0, key 1, counter 0, counter 1`, all `u32` of one shape or of rank 0
/// (which stands for every element), to two `u32`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threefry2x32;

impl Primitive for Threefry2x32 {
    fn name(&self) -> &'static str {
        "threefry2x32"
    }
    fn params(&self) -> Params {
        vec![]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let x: &[&Aval; 4] = operands(self.name(), x)?;
        if let Some(other) = x.iter().find(|a| a.dtype != DType::U32) {
            return Err(Error::dtype(format!(
                "`threefry2x32` takes u32 words, got {other}"
            )));
        }
        let result = common_shape(self.name(), x)?.strong();
        Ok(smallvec![result.clone(), result])
    }
    fn jvp(&self, x: &[Array], _: &[Tangent]) -> Result<Jvp> {
        // Words have no tangents.
        Ok((bind_all(*self, x)?, vec![None, None]))
    }
    fn transpose(&self, _: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![None; x.len()])
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let (x, at) = batch_operands(x, dims, axis);
        Ok((bind_all(*self, &x)?, vec![Some(at), Some(at)]))
    }
    opaque!();
}

/// Samples of gamma distributions: `keys u32[…, 2], shape parameters float[…, …]`, each key for the shape parameters under its
/// leading axes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RandomGamma {
    /// Is it the samples' logarithms that are drawn? They are accurate for shapes so small that the samples underflow.
    pub log_space: bool,
}

impl Primitive for RandomGamma {
    fn name(&self) -> &'static str {
        "random_gamma"
    }
    fn params(&self) -> Params {
        vec![("log_space", Param::bool(self.log_space))]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [keys, a] = operands(self.name(), x)?;
        if keys.dtype != DType::U32 || !a.dtype.is_float() {
            return Err(Error::dtype(format!(
                "`random_gamma` takes keys of u32 and floats, got {keys} and {a}"
            )));
        }
        let fits = match keys.shape.split_last() {
            Some((2, leading)) => a.shape.starts_with(leading),
            _ => false,
        };
        if !fits {
            return Err(Error::shape(format!(
                "`random_gamma` takes keys u32[…, 2] and floats with the same leading axes, got {keys} and {a}"
            )));
        }
        Ok(smallvec![a.strong()])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        let [keys, a] = operands(self.name(), x)?;
        let y = bind(*self, &[keys, a]);
        let Some(Some(t)) = t.get(1) else {
            return one(y, None);
        };
        // The quantile held fixed; the sample's logarithm has the slope over the sample.
        let slope = if self.log_space {
            let sample = y.exp();
            let tiny = match a.dtype()? {
                DType::F64 => f64::MIN_POSITIVE,
                DType::F16 => 2f64.powi(-14),
                _ => f64::from(f32::MIN_POSITIVE),
            };
            let sample = sample.eq(0.0).select(tiny, sample);
            bind(Special::RandomGammaGrad, &[a, &sample]) / sample
        } else {
            bind(Special::RandomGammaGrad, &[a, &y])
        };
        one(y, Some(slope * t))
    }
    fn transpose(&self, _: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        Err(not_linear(self.name()))
    }
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([keys, a], [dk, da]) = (operands(self.name(), x)?, operands(self.name(), dims)?);
        let keys = batch_to_front(keys, *dk, axis.size);
        let a = batch_to_front(a, *da, axis.size);
        Ok((vec![bind(*self, &[&keys, &a])], vec![Some(0)]))
    }
    opaque!();
}

/// By which algorithm [`RngBitGenerator`] makes bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RandomAlgorithm {
    /// The one that XLA takes where none is named: Philox.
    Default,
    /// Threefry-2x32 in counter mode.
    ThreeFry,
    /// Philox-4x32 in counter mode.
    Philox,
}

/// A state, `u32[4]` or `u64[2]` (or `u64[3]` for Philox), to the next state and unsigned integers, as XLA's `RngBitGenerator`
/// makes them. The first word of 64 bits is the key, the rest the counter.
#[derive(Clone, PartialEq, Debug)]
pub struct RngBitGenerator {
    /// The algorithm.
    pub algorithm: RandomAlgorithm,
    /// The element type of the bits: unsigned.
    pub dtype: DType,
    /// Their shape.
    pub shape: Dims,
}

impl Primitive for RngBitGenerator {
    fn name(&self) -> &'static str {
        RNG_BIT_GENERATOR.name
    }
    fn params(&self) -> Params {
        let algorithm = match self.algorithm {
            RandomAlgorithm::Default => "RNG_DEFAULT",
            RandomAlgorithm::ThreeFry => "RNG_THREE_FRY",
            RandomAlgorithm::Philox => "RNG_PHILOX",
        };
        vec![
            ("algorithm", Param::text(algorithm)),
            ("dtype", Param::text(self.dtype.name())),
            ("out_sharding", Param::text("None")),
            ("shape", Param::tuple(&self.shape)),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [key] = operands(self.name(), x)?;
        let words = match self.algorithm {
            RandomAlgorithm::ThreeFry => 2..=2,
            RandomAlgorithm::Default | RandomAlgorithm::Philox => 2..=3,
        };
        let fits = match (key.dtype, &key.shape[..]) {
            (DType::U32, [4]) => true,
            (DType::U64, [n]) => words.contains(n),
            _ => false,
        };
        if !fits {
            return Err(Error::argument(format!(
                "`{}` takes a state u32[4] or u64[2], got {key}",
                self.name()
            )));
        }
        if !(self.dtype.is_unsigned() || self.dtype.is_integer()) {
            return Err(Error::dtype(format!(
                "`{}` makes unsigned integers, not {}",
                self.name(),
                self.dtype
            )));
        }
        Ok(smallvec![
            key.strong(),
            Aval::new(self.shape.clone(), self.dtype)
        ])
    }
    fn jvp(&self, x: &[Array], _: &[Tangent]) -> Result<Jvp> {
        Ok((bind_all(self.clone(), x)?, vec![None, None]))
    }
    fn transpose(&self, _: &[Tangent], x: &[Arg]) -> Result<Vec<Tangent>> {
        Ok(vec![None; x.len()])
    }
    /// Each example has a state of its own.
    fn batch(&self, x: &[Array], dims: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        let ([x], [d]) = (operands(self.name(), x)?, operands(self.name(), dims)?);
        let keys = batch_to_front(x, *d, axis.size);
        let keys = bind_all(Unstack { axis: 0 }, &[keys])?;
        let (mut states, mut bits) = (vec![], vec![]);
        for key in keys {
            let y = bind_all(self.clone(), &[key])?;
            let [state, words] = operands(self.name(), &y)?;
            states.push(state.clone());
            bits.push(words.clone());
        }
        if states.is_empty() {
            let empty = |a: Aval| {
                let mut shape = a.shape;
                shape.insert(0, 0);
                Array::zeros(shape, a.dtype)
            };
            let key = x.aval()?;
            let mut own = key.shape.clone();
            if let Some(d) = d {
                own.remove((*d).min(own.len().saturating_sub(1)));
            }
            let results = self.infer(&[&key.with_shape(own)])?;
            return Ok((
                results.into_iter().map(empty).collect(),
                vec![Some(0), Some(0)],
            ));
        }
        let stack = |all: &[Array]| bind(Stack { axis: 0 }, &all.iter().collect::<Vec<_>>());
        Ok((vec![stack(&states), stack(&bits)], vec![Some(0), Some(0)]))
    }
    opaque!();
}
