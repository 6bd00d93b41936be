//! Low-rank adaptation: a weight that stands for `w + a·b` (Hu et al., 2021).
//!
//! There is no rule here beyond the definition: how a product with a [`LoraArray`] is computed, forwards and backwards, on either
//! side and batched, is for equality saturation to find.

mod config;
mod dora;
mod kernel;
mod tree;

pub use config::{LoraConfig, LoraStart};
pub use dora::DoraArray;
pub use kernel::LoraKernel;
pub use tree::{adapters, loraify, unloraify};

use crate::{
    array::{Array, Aval, DType, Dims, linalg, numpy::concatenate},
    dispatch::ArrayValue,
    error::{Error, Result},
    random::{self, Key},
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
    /// How many times the update counts: `w + scaling·a·b`.
    pub scaling: f64,
}

impl PyTree for LoraArray {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("LoraArray");
        out.meta("stop_gradient", &self.stop_gradient);
        out.meta("allow_materialise", &self.allow_materialise);
        out.meta("scaling", &self.scaling.to_bits());
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
    #[track_caller]
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
            ))
            .at(std::panic::Location::caller()));
        }
        Ok(LoraArray {
            w,
            a,
            b,
            stop_gradient: true,
            allow_materialise: false,
            scaling: 1.0,
        })
    }

    /// A weight `[.., n, m]` with an update that is zero at first: `a` of shape `[.., n, rank]` normal with the configuration's
    /// scale, `b` of shape `[.., rank, m]` zero, both in the weight's element type.
    ///
    /// An error for a weight of fewer than two axes or of another type than float, for a rank of 0 or above the matrix's, and for a
    /// scale that is negative or not finite.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let w = Array::ones([4, 3], DType::F32);
    /// let lora = LoraArray::new(&w, &LoraConfig::rank(2), &random::key(0)).unwrap();
    /// let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(lora), &Array::ones([3], DType::F32)).unwrap();
    /// assert_eq!(y.to_vec::<f32>().unwrap(), [3.0; 4]);
    /// ```
    #[track_caller]
    pub fn new(weight: &Array, config: &LoraConfig, key: &Key) -> Result<LoraArray> {
        let at = std::panic::Location::caller();
        LoraArray::at("LoraArray", weight, config, key).map_err(|e| e.at(at))
    }

    pub(super) fn at(
        place: &str,
        weight: &Array,
        config: &LoraConfig,
        key: &Key,
    ) -> Result<LoraArray> {
        let aval = weight.aval()?;
        config.check(place, &aval)?;
        let (batch, [n, m]) = match &aval.shape[..] {
            [batch @ .., n, m] => (batch, [*n, *m]),
            _ => return Err(Error::internal("a matrix of fewer than two axes")),
        };
        let shape = |last: [usize; 2]| batch.iter().copied().chain(last).collect::<Dims>();
        let (left, right) = (shape([n, config.rank]), shape([config.rank, m]));
        let (mut w, scaling) = (weight.clone(), config.scaling());
        let (a, b) = match config.start {
            LoraStart::Normal => {
                let a = random::normal(key, (left, aval.dtype)) * config.scale;
                (a, Array::zeros(right, aval.dtype))
            }
            LoraStart::Uniform => {
                let bound = 1.0 / (m as f64).sqrt();
                let b = random::uniform_range(key, (right, aval.dtype), -bound, bound);
                (Array::zeros(left, aval.dtype), b)
            }
            LoraStart::Pissa => {
                let (a, b) = principal(weight, config.rank, scaling)?;
                w = less(&w, &a, &b, scaling)?;
                (a, b)
            }
        };
        Ok(LoraArray {
            w,
            a: a.ok()?.clone(),
            b: b.ok()?.clone(),
            stop_gradient: config.stop_gradient,
            allow_materialise: config.allow_materialise,
            scaling,
        })
    }

    /// The plain array `w + a·b`, whatever `allow_materialise` says: for leaving LoRA behind.
    ///
    /// An error if a component is a value that refuses.
    #[track_caller]
    pub fn merge(&self) -> Result<Array> {
        let plain = |x: &Array| match x.value::<LoraArray>() {
            Some(inner) => inner.merge(),
            None => x.materialise(),
        };
        let parts = LoraArray {
            w: plain(&self.w)?,
            a: plain(&self.a)?,
            b: plain(&self.b)?,
            stop_gradient: false,
            ..*self
        };
        parts.sum()
    }

    /// What it equals.
    fn sum(&self) -> Result<Array> {
        let w = if self.stop_gradient {
            self.w.stop_gradient()
        } else {
            self.w.clone()
        };
        (w + scaled(product(&self.a, &self.b), self.scaling))
            .ok()
            .cloned()
    }

    /// The same adapter over the base that has this merged weight: what [`LoraArray::merge`] gave, or what became of it. A merged weight
    /// runs without the adapter's cost; taken apart again it trains on.
    ///
    /// An error unless the shapes fit.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let w = random::normal(&random::key(0), [4, 3]);
    /// let lora = LoraArray::new(&w, &LoraConfig::rank(2), &random::key(1)).unwrap();
    /// let back = lora.unmerge(&lora.merge().unwrap()).unwrap();
    /// assert!(back.w.allclose(&w, 1e-6, 1e-6, false).item::<bool>().unwrap());
    /// ```
    #[track_caller]
    pub fn unmerge(&self, merged: &Array) -> Result<LoraArray> {
        let (own, new) = (self.w.aval()?, merged.aval()?);
        if own.shape != new.shape {
            return Err(Error::shape(format!(
                "the merged weight of {own} has its shape, got {new}"
            ))
            .at(std::panic::Location::caller()));
        }
        Ok(LoraArray {
            w: less(merged, &self.a, &self.b, self.scaling)?,
            ..self.clone()
        })
    }

    /// One adapter of the rank of all together, over the base that they share: `w + Σᵢ weightᵢ·aᵢ·bᵢ`.
    ///
    /// An error for no adapter, and if their bases differ.
    ///
    /// ```
    /// use quaxide::prelude::*;
    /// let w = random::normal(&random::key(0), [4, 3]);
    /// let adapter = |key: u64| LoraArray::new(&w, &LoraConfig::rank(2), &random::key(key)).unwrap();
    /// let (one, two) = (adapter(1), adapter(2));
    /// let both = LoraArray::combine(&[(&one, 0.5), (&two, 0.5)]).unwrap();
    /// assert_eq!(both.a.shape(), [4, 4]);
    /// ```
    #[track_caller]
    pub fn combine(adapters: &[(&LoraArray, f64)]) -> Result<LoraArray> {
        let at = std::panic::Location::caller();
        let Some((first, _)) = adapters.first() else {
            return Err(Error::argument("adapters are combined, but there is none").at(at));
        };
        let base = first.w.ok()?.identity();
        if let Some((other, _)) = adapters.iter().find(|(x, _)| x.w.identity() != base) {
            return Err(Error::argument(format!(
                "adapters that are combined share their base: {} and {} have two",
                first.describe(),
                other.describe()
            ))
            .at(at));
        }
        let a: Vec<Array> = adapters
            .iter()
            .map(|(x, weight)| scaled(x.a.clone(), weight * x.scaling))
            .collect();
        let b: Vec<&Array> = adapters.iter().map(|(x, _)| &x.b).collect();
        Ok(LoraArray {
            a: concatenate(&a, -1).ok()?.clone(),
            b: concatenate(&b, -2).ok()?.clone(),
            scaling: 1.0,
            ..(*first).clone()
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
        self.sum()
    }

    fn may_materialise(&self) -> bool {
        self.allow_materialise
    }

    /// A base that is a value keeps its rules: it is one term, what adapts it another.
    fn terms(&self) -> Option<Vec<Array>> {
        self.w.as_dyn_value()?;
        let w = match self.stop_gradient {
            true => self.w.stop_gradient(),
            false => self.w.clone(),
        };
        let adapter = LoraArray {
            w: Array::symbolic_zero(self.w.aval().ok()?),
            ..self.clone()
        };
        Some(vec![w, Array::from_value(adapter)])
    }

    fn describe(&self) -> String {
        match (self.aval(), self.rank()) {
            (Ok(a), Some(rank)) => format!("lora[{a}, rank={rank}]"),
            _ => "lora".into(),
        }
    }
}

/// `a·b`, along the leading axes.
fn product(a: &Array, b: &Array) -> Array {
    let k = a.ndim().saturating_sub(2);
    let batch: Dims = (0..k).collect();
    let dims = DotGeneral::new(([k + 1], [k]), (batch.clone(), batch));
    a.dot_general(b, dims)
}

fn scaled(x: Array, by: f64) -> Array {
    match by == 1.0 {
        true => x,
        false => x * by,
    }
}

/// A weight without an update.
fn less(w: &Array, a: &Array, b: &Array, scaling: f64) -> Result<Array> {
    (w - scaled(product(a, b), scaling)).ok().cloned()
}

/// The leading singular vectors of a matrix as factors that, `scaling` times, are the nearest matrix of that rank.
fn principal(w: &Array, rank: usize, scaling: f64) -> Result<(Array, Array)> {
    if scaling <= 0.0 {
        return Err(Error::argument(
            "an update that starts from singular vectors counts a positive number of times",
        ));
    }
    let dtype = w.dtype()?;
    let wide = match dtype {
        DType::F32 | DType::F64 => w.clone(),
        _ => w.astype(DType::F32),
    };
    let [u, s, vh] = linalg::svd(&wide, false)?;
    let root = (s.slice_in_dim(0, rank, -1) / scaling).sqrt();
    let a = u.slice_in_dim(0, rank, -1) * root.expand_dims(-2);
    let b = vh.slice_in_dim(0, rank, -2) * root.expand_dims(-1);
    Ok((a.convert(dtype), b.convert(dtype)))
}
