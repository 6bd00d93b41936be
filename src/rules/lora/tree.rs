//! Whole models: every layer adapted, merged, or picked out.

use super::{LoraArray, LoraConfig};
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
