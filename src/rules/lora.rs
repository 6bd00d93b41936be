//! Low-rank adaptation: a weight that stands for `w + a·b` (Hu et al., 2021).
//!
//! There is no rule here beyond the definition: how a product with a [`LoraArray`] is computed, forwards and backwards, on either
//! side and batched, is for equality saturation to find.

use crate::{
    array::{Array, Aval, Dims},
    dispatch::ArrayValue,
    error::{Error, Result},
    nn,
    random::{self, Key},
    trace::{Identity, op::DotGeneral},
    tree::{self, Flat, Leaves, Part, PyTree, View},
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{cell::Cell, fmt, sync::Arc};

type Filter = dyn Fn(&str, &nn::Linear) -> bool + Send + Sync;

/// How weights become [`LoraArray`]s: `LoraConfig::rank(8).scale(0.02)`.
#[derive(Clone)]
pub struct LoraConfig {
    rank: usize,
    scale: f64,
    allow_materialise: bool,
    stop_gradient: bool,
    filter: Option<Arc<Filter>>,
}

impl fmt::Debug for LoraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoraConfig")
            .field("rank", &self.rank)
            .field("scale", &self.scale)
            .field("allow_materialise", &self.allow_materialise)
            .field("stop_gradient", &self.stop_gradient)
            .finish_non_exhaustive()
    }
}

impl LoraConfig {
    /// Updates of this rank, with a scale of 0.01, a frozen base and no materialising.
    pub fn rank(rank: usize) -> LoraConfig {
        LoraConfig {
            rank,
            scale: 0.01,
            allow_materialise: false,
            stop_gradient: true,
            filter: None,
        }
    }

    /// The standard deviation of `a` at the start.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// May plans form the sum `w + a·b`? If not, programs that need it are refused.
    #[must_use]
    pub fn allow_materialise(mut self, yes: bool) -> Self {
        self.allow_materialise = yes;
        self
    }

    /// Is `w` frozen? Its derivative is then zero, in both modes.
    #[must_use]
    pub fn stop_gradient(mut self, yes: bool) -> Self {
        self.stop_gradient = yes;
        self
    }

    /// Which layers [`loraify`] takes, by path and layer; all if not said.
    #[must_use]
    pub fn filter(
        mut self,
        keep: impl Fn(&str, &nn::Linear) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Arc::new(keep));
        self
    }

    /// An error unless the weight at a place can be wrapped so.
    fn check(&self, place: &str, weight: &Aval) -> Result<()> {
        let LoraConfig { rank, scale, .. } = self;
        let [.., n, m] = weight.shape[..] else {
            return Err(Error::shape(format!(
                "{place}: a low-rank update needs a matrix, found {weight}"
            )));
        };
        if !weight.dtype.is_float() {
            return Err(Error::dtype(format!(
                "{place}: a low-rank update needs real floating-point numbers, found {weight}"
            )));
        }
        if *rank == 0 {
            return Err(Error::argument(format!(
                "{place}: a low-rank update of rank 0 is none"
            )));
        }
        if *rank > n.min(m) {
            return Err(Error::argument(format!(
                "{place}: rank {rank} is above that of {weight}, which is {} at most",
                n.min(m)
            )));
        }
        if !scale.is_finite() || *scale < 0.0 {
            return Err(Error::argument(format!(
                "{place}: the scale {scale} is not a finite number from 0 upwards"
            )));
        }
        Ok(())
    }
}

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

    fn at(place: &str, weight: &Array, config: &LoraConfig, key: &Key) -> Result<LoraArray> {
        let aval = weight.aval()?;
        config.check(place, &aval)?;
        let (batch, [n, m]) = match &aval.shape[..] {
            [batch @ .., n, m] => (batch, [*n, *m]),
            _ => return Err(Error::internal("a matrix of fewer than two axes")),
        };
        let shape = |last: [usize; 2]| batch.iter().copied().chain(last).collect::<Dims>();
        let a = random::normal(key, (shape([n, config.rank]), aval.dtype)) * config.scale;
        Ok(LoraArray {
            w: weight.clone(),
            a: a.ok()?.clone(),
            b: Array::zeros(shape([config.rank, m]), aval.dtype),
            stop_gradient: config.stop_gradient,
            allow_materialise: config.allow_materialise,
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
        let k = self.a.ndim().saturating_sub(2);
        let batch: Dims = (0..k).collect();
        let dims = DotGeneral::new(([k + 1], [k]), (batch.clone(), batch));
        (w + self.a.dot_general(&self.b, dims)).ok().cloned()
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

    fn describe(&self) -> String {
        match (self.aval(), self.rank()) {
            (Ok(a), Some(rank)) => format!("lora[{a}, rank={rank}]"),
            _ => "lora".into(),
        }
    }
}

/// The tree with the weight of every [`nn::Linear`] in it (or of those that the configuration's filter picks) turned into a
/// [`LoraArray`]; all else stays. `quaxify` runs it.
///
/// The layers are visited in the tree's order; each takes the next key, `key, subkey = key.split()`, picked or not, so that what a
/// layer draws does not depend on the others. A layer that occurs again, which is one whose weight is the same buffer (or the same
/// traced variable, or the same value), gets the adapter of its first occurrence.
///
/// An error if no layer is found or picked, and where [`LoraArray::new`] has one; it says the path.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let mlp = nn::Mlp::new(4, 3, 8, 2, &k1);
/// let last = LoraConfig::rank(2).filter(|path, _| path == ".layers[2]");
/// let lora = loraify(&mlp, last, &k2).unwrap();
/// assert!(lora.layers[2].weight.value::<LoraArray>().is_some());
/// assert!(lora.layers[0].weight.value::<LoraArray>().is_none());
/// assert!(loraify(&mlp, LoraConfig::rank(4), &k2).unwrap_err().to_string().contains(".layers[2].weight"));
/// ```
#[track_caller]
pub fn loraify<T: PyTree>(model: &T, config: LoraConfig, key: &Key) -> Result<T> {
    let at = std::panic::Location::caller();
    let mut paths = vec![];
    model.flatten(&mut Flat::new(View::Values, &mut |path, _| {
        paths.push(path.to_string());
    }));
    let (seen, mut failed) = (Cell::new(0), None);
    let (mut key, mut layers, mut picked) = (key.clone(), 0, 0);
    let mut adapters: FxHashMap<Identity, Array> = FxHashMap::default();
    let mut wrap = |layer: &nn::Linear, first: usize| -> Result<nn::Linear> {
        layers += 1;
        let [next, subkey] = key.split();
        key = next;
        let place = paths.get(first).map_or("", String::as_str);
        let node = place.strip_suffix(".weight").unwrap_or(place);
        if config
            .filter
            .as_ref()
            .is_some_and(|keep| !keep(node, layer))
        {
            return Ok(layer.clone());
        }
        picked += 1;
        let identity = layer.weight.ok()?.identity();
        let weight = match adapters.get(&identity) {
            Some(adapter) => adapter.clone(),
            None => {
                let lora = LoraArray::at(&format!("`{place}`"), &layer.weight, &config, &subkey)?;
                let weight = Array::from_value(lora);
                adapters.insert(identity, weight.clone());
                weight
            }
        };
        Ok(nn::Linear {
            weight,
            ..layer.clone()
        })
    };
    let new = {
        let mut leaf = |x: &Array| {
            seen.set(seen.get() + 1);
            x.clone()
        };
        let mut node = |x: &dyn std::any::Any| -> Option<Box<dyn std::any::Any>> {
            let layer: &nn::Linear = x.downcast_ref()?;
            let first = seen.get();
            seen.set(first + tree::leaves_in(layer, View::Values).len());
            match wrap(layer, first) {
                Ok(layer) => Some(Box::new(layer)),
                Err(e) => {
                    failed.get_or_insert(e);
                    Some(Box::new(layer.clone()))
                }
            }
        };
        model.unflatten(&mut Leaves::replacing(View::Values, &mut leaf, &mut node))
    };
    match failed {
        Some(e) => Err(e.at(at)),
        None if layers == 0 => Err(Error::tree("loraify: the tree holds no `nn::Linear`")
            .note("`LoraArray::new` wraps one array, which `tree::at(..).set(..)` puts into a tree")
            .at(at)),
        None if picked == 0 => {
            Err(Error::tree(format!("loraify: the filter picks none of {layers} layers")).at(at))
        }
        None => Ok(new),
    }
}

/// The tree with every [`LoraArray`] in it merged into the plain array that it equals: [`LoraArray::merge`].
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let layer = nn::Linear::new(4, 3, &k1);
/// let back = unloraify(&loraify(&layer, LoraConfig::rank(2), &k2).unwrap()).unwrap();
/// assert_eq!(back.weight.to_vec::<f32>().unwrap(), layer.weight.to_vec::<f32>().unwrap());
/// ```
#[track_caller]
pub fn unloraify<T: PyTree>(model: &T) -> Result<T> {
    let mut failed = None;
    let mut merged = |x: &Array| {
        let Some(lora) = x.value::<LoraArray>() else {
            return x.clone();
        };
        lora.merge().unwrap_or_else(|e| {
            failed.get_or_insert(e);
            x.clone()
        })
    };
    let new = model.unflatten(&mut Leaves::new(View::Values, &mut merged));
    failed.map_or(Ok(new), Err)
}

/// The part of a tree that is adapters: the leaves `a` and `b` of every [`LoraArray`] in it.
///
/// It is what is trained where the rest is frozen, biases too, and what is saved. Of an adapter whose base is not frozen and holds
/// another adapter, that one counts as well.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let lora = loraify(&nn::Linear::new(4, 3, &k1), LoraConfig::rank(2), &k2).unwrap();
/// let part = adapters(&lora);
/// assert_eq!(tree::count(&part), 2 * (4 + 3));
/// let loss = |part: &tree::Part<nn::Linear>, lora: &nn::Linear, x: &Array| -> Result<Array> {
///     Ok(quaxify(nn::Linear::call)(&part.onto(lora)?, x)?.square().sum(()))
/// };
/// let g = grad(loss)(&part, &lora, &Array::ones([4], DType::F32)).unwrap();
/// assert_eq!(tree::leaves(&g).len(), 2);
/// ```
pub fn adapters<T: PyTree>(model: &T) -> Part<T> {
    fn collect(path: &str, x: &Array, found: &mut FxHashSet<String>) {
        let Some(lora) = x.value::<LoraArray>() else {
            return;
        };
        for (name, part) in [("a", &lora.a), ("b", &lora.b)] {
            for (inner, _) in tree::leaves_with_paths(part) {
                found.insert(format!("{path}.{name}{inner}"));
            }
        }
        if !lora.stop_gradient {
            collect(&format!("{path}.w"), &lora.w, found);
        }
    }
    let mut found = FxHashSet::default();
    model.flatten(&mut Flat::new(View::Values, &mut |path, x| {
        collect(path, x, &mut found);
    }));
    tree::partition(model, |path, _| found.contains(path)).0
}
