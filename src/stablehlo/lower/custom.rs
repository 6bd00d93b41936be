//! Custom calls that JAX emits.

use super::{Attr, given::Given};
use crate::{array::Array, error::Result};

impl Given<'_, '_, '_> {
    /// A custom call; `None` for another operation.
    pub(super) fn custom(&self) -> Result<Option<Vec<Array>>> {
        if self.name() != "custom_call" {
            return Ok(None);
        }
        let target = self
            .attr(&["call_target_name", "symbol"])
            .and_then(Attr::word)
            .unwrap_or_default();
        Ok(Some(match target {
            "Sharding"
            | "SPMDFullToShardShape"
            | "SPMDShardToFullShape"
            | "annotate_device_placement"
            | "LayoutConstraint"
            | "xla.sdy.FuncResultSharding" => self.x.to_vec(),
            "mhlo.topk" => self.top_k_call()?,
            _ => match self.lapack(target)? {
                Some(y) => y,
                None => return Err(self.unsupported(format!("the target `{target}`"))),
            },
        }))
    }

    fn top_k_call(&self) -> Result<Vec<Array>> {
        let [x] = self.operands()?;
        let attributes = self.attr(&["mhlo.attributes"]);
        let k = attributes.and_then(|a| a.field("k")).and_then(Attr::int);
        let largest = attributes
            .and_then(|a| a.field("largest"))
            .and_then(Attr::bool);
        if largest == Some(false) {
            return Err(self.unsupported("the smallest elements"));
        }
        let k = k
            .and_then(|k| usize::try_from(k).ok())
            .ok_or_else(|| self.wrong("`k` is missing"))?;
        let op = crate::trace::op::TopK {
            axis: x.ndim().saturating_sub(1),
            k,
        };
        let y = crate::trace::bind_all(op, std::slice::from_ref(x))?;
        match &y[..] {
            [values, places] => Ok(vec![
                values.clone(),
                self.convert(places, self.out(1)?.dtype)?,
            ]),
            _ => Err(super::few()),
        }
    }
}
