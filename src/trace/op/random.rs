//! The random number generator, and rejection sampling on top of it, as primitives.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Param, Params, Prim, Primitive, Special,
    Tangent, batch_to_front,
    elementwise::{batch_operands, common_shape},
    not_linear, one, operands,
};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::{bind, bind_all},
};
use smallvec::smallvec;

/// `threefry2x32`
pub const THREEFRY2X32: Prim<Threefry2x32> = Prim::new("threefry2x32");
/// `random_gamma`
pub const RANDOM_GAMMA: Prim<RandomGamma> = Prim::new("random_gamma");

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
