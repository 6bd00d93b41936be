//! Whole models: every layer adapted, merged, or picked out.

use super::{DoraArray, LoraArray, LoraConfig, LoraKernel};
use crate::{
    array::Array,
    error::{Error, Result},
    nn,
    random::Key,
    trace::Identity,
    tree::{self, Flat, Leaves, Part, PyTree, View},
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::Cell;

/// The tree with the weight of every [`nn::Linear`] in it (or of those that the configuration's filter picks) turned into a
/// [`LoraArray`]; all else stays. `quaxify` runs it.
///
/// With [`LoraConfig::decomposed`] it is a [`DoraArray`]; with [`LoraConfig::convolutions`] the kernels of convolutions become
/// [`LoraKernel`]s, whatever the filter, which is for linear layers.
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
    // The adapted weight of a layer, or `None` if it is not picked.
    let mut wrap = |weight: &Array, linear: Option<&nn::Linear>, first: usize| {
        layers += 1;
        let [next, subkey] = key.split();
        key = next;
        let place = paths.get(first).map_or("", String::as_str);
        let node = place.strip_suffix(".weight").unwrap_or(place);
        let passes = |layer| config.filter.as_ref().is_none_or(|keep| keep(node, layer));
        if !linear.is_none_or(passes) {
            return Ok(None);
        }
        picked += 1;
        let identity = weight.ok()?.identity();
        if let Some(adapter) = adapters.get(&identity) {
            return Ok(Some(adapter.clone()));
        }
        let place = format!("`{place}`");
        let adapter = match linear {
            None => Array::from_value(LoraKernel::at(&place, weight, &config, &subkey)?),
            Some(_) => {
                let lora = LoraArray::at(&place, weight, &config, &subkey)?;
                match config.decomposed {
                    true => Array::from_value(DoraArray::new(lora)?),
                    false => Array::from_value(lora),
                }
            }
        };
        adapters.insert(identity, adapter.clone());
        Ok::<_, Error>(Some(adapter))
    };
    let new = {
        let mut leaf = |x: &Array| {
            seen.set(seen.get() + 1);
            x.clone()
        };
        let mut node = |x: &dyn std::any::Any| -> Option<Box<dyn std::any::Any>> {
            let first = seen.get();
            let mut adapted = |weight: &Array, linear: Option<&nn::Linear>, leaves: usize| {
                seen.set(first + leaves);
                wrap(weight, linear, first).unwrap_or_else(|e| {
                    failed.get_or_insert(e);
                    None
                })
            };
            let count = |leaves: Vec<Array>| leaves.len();
            if let Some(layer) = x.downcast_ref::<nn::Linear>() {
                let leaves = count(tree::leaves_in(layer, View::Values));
                let weight = adapted(&layer.weight, Some(layer), leaves);
                let weight = weight.unwrap_or_else(|| layer.weight.clone());
                return Some(Box::new(nn::Linear {
                    weight,
                    ..layer.clone()
                }));
            }
            macro_rules! convolution {
                ($($Conv:ty)*) => {$(
                    if let Some(layer) = x.downcast_ref::<$Conv>() {
                        let leaves = count(tree::leaves_in(layer, View::Values));
                        let weight = adapted(&layer.weight, None, leaves);
                        let mut layer = layer.clone();
                        layer.weight = weight.unwrap_or(layer.weight);
                        return Some(Box::new(layer));
                    }
                )*};
            }
            if config.convolutions {
                convolution!(nn::Conv1d nn::Conv2d nn::Conv3d);
            }
            None
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

/// The tree with every [`LoraArray`], [`DoraArray`] and [`LoraKernel`] in it merged into the plain array that it equals.
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
        let merged = if let Some(x) = x.value::<LoraArray>() {
            x.merge()
        } else if let Some(x) = x.value::<DoraArray>() {
            x.merge()
        } else if let Some(x) = x.value::<LoraKernel>() {
            x.merge()
        } else {
            return x.clone();
        };
        merged.unwrap_or_else(|e| {
            failed.get_or_insert(e);
            x.clone()
        })
    };
    let new = model.unflatten(&mut Leaves::new(View::Values, &mut merged));
    failed.map_or(Ok(new), Err)
}

/// The part of a tree that is adapters: the leaves `a` and `b` of every [`LoraArray`] and [`LoraKernel`] in it, and of every
/// [`DoraArray`] the magnitude besides.
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
        let mut take = |names: &[(&str, &Array)]| {
            for (name, part) in names {
                for (inner, _) in tree::leaves_with_paths(*part) {
                    found.insert(format!("{path}.{name}{inner}"));
                }
            }
        };
        if let Some(kernel) = x.value::<LoraKernel>() {
            take(&[("a", &kernel.a), ("b", &kernel.b)]);
            return;
        }
        let dora = x.value::<DoraArray>();
        if let Some(dora) = dora {
            let (a, b) = (&dora.direction.a, &dora.direction.b);
            take(&[
                ("magnitude", &dora.magnitude),
                ("direction.a", a),
                ("direction.b", b),
            ]);
            return;
        }
        let Some(lora) = x.value::<LoraArray>() else {
            return;
        };
        take(&[("a", &lora.a), ("b", &lora.b)]);
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
