//! Low-rank adaptation: a weight that stands for `w + a·b` (Hu et al., 2021).
//!
//! There is no rule here beyond the definition: how a product with a [`LoraArray`] is computed, forwards and backwards, on either
//! side and batched, is for equality saturation to find.

use crate::{
    array::{Array, Aval, Dims},
    dispatch::ArrayValue,
    error::{Error, Result},
    trace::op::DotGeneral,
    tree::{Flat, Leaves, PyTree},
};

/// The matrix `w + a·b`, with `w` of shape `[..., n, m]`, `a` of `[..., n, rank]` and `b` of `[..., rank, m]`.
#[derive(Clone, Debug)]
pub struct LoraArray {
    /// The base weight.
    pub w: Array,
    /// The left factor.
    pub a: Array,
    /// The right factor.
    pub b: Array,
    /// Is the base frozen? Its derivative is then zero, in both modes.
    pub stop_gradient: bool,
    /// May a plan form the sum? If not, programs that need it are refused.
    pub allow_materialise: bool,
}

impl PyTree for LoraArray {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("LoraArray");
        out.meta("stop_gradient", &self.stop_gradient);
        out.meta("allow_materialise", &self.allow_materialise);
        out.child("w", &self.w);
        out.child("a", &self.a);
        out.child("b", &self.b);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        LoraArray {
            w: self.w.unflatten(leaves),
            a: self.a.unflatten(leaves),
            b: self.b.unflatten(leaves),
            ..*self
        }
    }
}

impl LoraArray {
    /// From its parts, with a frozen base and no materialising. An error if the shapes do not fit.
    pub fn from_parts(w: Array, a: Array, b: Array) -> Result<LoraArray> {
        let (wa, aa, ba) = (w.aval()?, a.aval()?, b.aval()?);
        let fits = wa.ndim() >= 2 && aa.ndim() == wa.ndim() && ba.ndim() == wa.ndim() && {
            let k = wa.ndim() - 2;
            let (s, t, u) = (&wa.shape, &aa.shape, &ba.shape);
            s.iter().take(k).eq(t.iter().take(k))
                && s.iter().take(k).eq(u.iter().take(k))
                && s.get(k) == t.get(k)
                && t.get(k + 1) == u.get(k)
                && s.get(k + 1) == u.get(k + 1)
        };
        if !fits {
            return Err(Error::shape(format!(
                "a low-rank update needs w [.., n, m], a [.., n, rank] and b [.., rank, m]; got {wa}, {aa} and {ba}"
            )));
        }
        Ok(LoraArray {
            w,
            a,
            b,
            stop_gradient: true,
            allow_materialise: false,
        })
    }

    fn rank(&self) -> Option<usize> {
        self.a.shape().last().copied()
    }
}

impl ArrayValue for LoraArray {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }

    fn materialise(&self) -> Result<Array> {
        let w = if self.stop_gradient {
            self.w.stop_gradient()
        } else {
            self.w.clone()
        };
        let k = self.a.ndim().saturating_sub(2);
        let batch: Dims = (0..k).collect();
        let dims = DotGeneral::new(([k + 1], [k]), (batch.clone(), batch));
        (w + self.a.dot_general(&self.b, dims)).ok().cloned()
    }

    fn may_materialise(&self) -> bool {
        self.allow_materialise
    }

    fn describe(&self) -> String {
        match (self.aval(), self.rank()) {
            (Ok(a), Some(rank)) => format!("lora[{a}, rank={rank}]"),
            _ => "lora".into(),
        }
    }
}
