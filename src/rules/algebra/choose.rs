//! Several ways to compute one thing, of which the cheapest is taken.

use super::cost::CostModel;
use super::estimate::cost;
use super::report::{prepared, rewritten};
use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::trace::stage;

/// A way to compute something from arrays.
pub type Way<'a> = &'a dyn Fn(&[Array]) -> Result<Array>;

/// The result of the way that is cheapest for operands of these types, each planned as a program of its own: for a rule that can
/// offer several results and cannot know which one the machine does best. The first of equally cheap ones is taken.
///
/// The choice depends on the types of the operands and on [`CostModel::current`] alone, so equal calls choose equally; it does not
/// see what the result is used for. What may be cheaper in one place and not in another is better stated as an
/// [`Equality`](super::Equality).
///
/// ```
/// use quaxide::{prelude::*, rules::algebra::cheapest};
/// // A diagonal times a matrix, as a product of matrices or of elements.
/// let (d, x) = (Array::ones([64], DType::F32), Array::ones([64, 8], DType::F32));
/// let y = jit(|d: &Array, x: &Array| {
///     cheapest(&[d, x], &[
///         &|of| Ok(numpy::diag(&of[0], 0).dot(&of[1])),
///         &|of| Ok(of[0].expand_dims(1) * &of[1]),
///     ])
/// });
/// assert_eq!(y(&d, &x).unwrap().shape(), [64, 8]);
/// ```
///
/// # Errors
///
/// If there is no way, every way fails (the error is the first one's), or two give results of different types.
#[track_caller]
pub fn cheapest(operands: &[&Array], ways: &[Way<'_>]) -> Result<Array> {
    let avals: Vec<Aval> = operands.iter().map(|x| x.aval()).collect::<Result<_>>()?;
    let model = CostModel::current();
    let mut best: Option<(f64, usize)> = None;
    let mut result: Option<Aval> = None;
    let mut failed: Option<Error> = None;
    for (number, way) in ways.iter().enumerate() {
        let program = stage(&avals, None, &mut |x| {
            let y = way(&x)?;
            Ok(vec![y.ok()?.clone()])
        });
        let planned = program.and_then(|program| {
            let cost = cost(&prepared(&rewritten(&program)?)?, &model);
            Ok((cost, program.out_avals()))
        });
        match planned {
            Err(e) => failed = failed.or(Some(e)),
            Ok((cost, outs)) => {
                let own = outs
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Aval::new((), crate::array::DType::F32));
                match &result {
                    Some(known) if !known.same_type(&own) => {
                        return Err(Error::shape(format!(
                            "ways to compute one thing give {known} and {own}"
                        )));
                    }
                    _ => result = Some(own),
                }
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, number));
                }
            }
        }
    }
    let chosen = best.and_then(|(_, number)| ways.get(number));
    match (chosen, failed) {
        (Some(way), _) => {
            let operands: Vec<Array> = operands.iter().map(|x| (*x).clone()).collect();
            way(&operands)
        }
        (None, Some(e)) => Err(e),
        (None, None) => Err(Error::argument("there is no way to choose from")),
    }
}
