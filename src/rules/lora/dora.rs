//! Weight-decomposed low-rank adaptation (DoRA: Liu and others, 2024).

use super::LoraArray;
use crate::{
    array::{Array, Aval},
    dispatch::ArrayValue,
    error::{Error, Result},
    tree::{Flat, Leaves, PyTree},
};

/// A weight `[.., n, m]` as a size for each row and a direction, of which the direction is adapted:
/// `magnitude · (w + a·b) / ‖w + a·b‖`, with norms of rows.
///
/// Products are planned as those of a [`LoraArray`] are; the norms are found from `w`, `a` and `b`, without their sum. As the paper proposes
/// (4.3), norms count as constants in derivatives, unless `norm_gradient` says otherwise.
///
/// ```
/// use quaxide::{prelude::*, rules::DoraArray};
/// let w = random::normal(&random::key(0), [4, 3]);
/// let lora = LoraArray::new(&w, &LoraConfig::rank(2), &random::key(1)).unwrap();
/// let dora = DoraArray::new(lora).unwrap();
/// let x = Array::ones([3], DType::F32);
/// // At the start it is the weight.
/// let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(dora), &x).unwrap();
/// assert!(y.allclose(&w.dot(&x), 1e-5, 1e-5, false).item::<bool>().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct DoraArray {
    /// The size of each row, `[.., n]`.
    pub magnitude: Array,
    /// The direction.
    pub direction: LoraArray,
    /// Do derivatives see that the norms change? Not by default.
    pub norm_gradient: bool,
}

impl PyTree for DoraArray {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("DoraArray");
        out.meta("norm_gradient", &self.norm_gradient);
        out.child("magnitude", &self.magnitude);
        out.child("direction", &self.direction);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        DoraArray {
            magnitude: self.magnitude.unflatten(leaves),
            direction: self.direction.unflatten(leaves),
            norm_gradient: self.norm_gradient,
        }
    }
}

impl DoraArray {
    /// An adapted weight whose rows have the sizes that they have now. An error if a component is one.
    #[track_caller]
    pub fn new(direction: LoraArray) -> Result<DoraArray> {
        let magnitude = direction.merge()?.square().sum(-1).sqrt();
        Ok(DoraArray {
            magnitude: magnitude.ok()?.clone(),
            direction,
            norm_gradient: false,
        })
    }

    /// From its parts. An error unless there is a size for each row.
    pub fn from_parts(magnitude: Array, direction: LoraArray) -> Result<DoraArray> {
        let (m, d) = (magnitude.aval()?, direction.aval()?);
        let rows = d.ndim().saturating_sub(1);
        if m.shape.iter().ne(d.shape.iter().take(rows)) || m.dtype != d.dtype {
            return Err(Error::shape(format!(
                "a weight of directions {d} needs a size for each row, got {m}"
            )));
        }
        Ok(DoraArray {
            magnitude,
            direction,
            norm_gradient: false,
        })
    }

    /// The plain array that it equals, whatever `allow_materialise` says. An error if a component is one.
    pub fn merge(&self) -> Result<Array> {
        let sum = self.direction.merge()?;
        let norm = sum.square().sum(-1).sqrt();
        let scale = &self.magnitude / norm;
        (scale.expand_dims(-1) * sum).ok().cloned()
    }
}

impl ArrayValue for DoraArray {
    fn aval(&self) -> Result<Aval> {
        self.direction.aval()
    }

    fn materialise(&self) -> Result<Array> {
        let sum = self.direction.sum()?;
        let norm = sum.square().sum(-1).sqrt();
        let norm = match self.norm_gradient {
            true => norm,
            false => norm.stop_gradient(),
        };
        let scale = &self.magnitude / norm;
        (scale.expand_dims(-1) * sum).ok().cloned()
    }

    fn may_materialise(&self) -> bool {
        self.direction.allow_materialise
    }

    fn describe(&self) -> String {
        match (self.aval(), self.direction.rank()) {
            (Ok(a), Some(rank)) => format!("dora[{a}, rank={rank}]"),
            _ => "dora".into(),
        }
    }
}
