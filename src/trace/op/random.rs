//! The random number generator as a primitive.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Params, Prim, Primitive, Tangent,
    elementwise::{batch_operands, common_shape},
    operands,
};
use crate::{
    array::{Array, Aval, DType},
    error::{Error, Result},
    trace::bind_all,
};
use smallvec::smallvec;

/// `threefry2x32`
pub const THREEFRY2X32: Prim<Threefry2x32> = Prim::new("threefry2x32");

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
    fn axes(&self, _: &[&Aval]) -> Axes {
        Axes::Opaque
    }
    fn inner(&self) -> Option<&dyn Inner> {
        None
    }
}
