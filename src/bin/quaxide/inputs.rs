//! What a program is run on: arrays from files, and low-rank updates of them.

use crate::program::{Program, dotted, fits};
use quaxide::{
    Array, Error, Result, io, random,
    rules::{LoraArray, LoraConfig},
};
use std::{collections::BTreeMap, path::Path};

/// Low-rank updates of inputs.
pub(crate) struct Lora<'a> {
    pub(crate) patterns: &'a [String],
    pub(crate) rank: usize,
    pub(crate) adapter: Option<&'a Path>,
}

fn is_npy(path: &str) -> bool {
    path.ends_with(".npy")
}

/// The arrays that `name=file.npy`, `name=file.safetensors:key` and `file.safetensors` say, in the order of the program's inputs.
///
/// An error for an input that is not given, for one that there is not, and for an array of another type.
pub(crate) fn load(program: &Program, given: &[String]) -> Result<Vec<Array>> {
    let mut slots: Vec<Option<Array>> = vec![None; program.inputs.len()];
    let place = |name: &str| {
        let number = name.parse::<usize>().ok();
        let by_name = |n: &String| n == name || dotted(n) == dotted(name);
        let found = program.inputs.iter().position(by_name);
        found.or(number).filter(|i| *i < program.inputs.len())
    };
    for text in given {
        match text.split_once('=') {
            Some((name, source)) if !name.contains('/') => {
                let Some(slot) = place(name).and_then(|i| slots.get_mut(i)) else {
                    return Err(
                        Error::argument(format!("the program has no input `{name}`"))
                            .note(described(program)),
                    );
                };
                *slot = Some(one(source)?);
            }
            _ => {
                for (key, x) in io::read_safetensors(text)? {
                    if let Some(slot) = place(&key).and_then(|i| slots.get_mut(i)) {
                        *slot = Some(x);
                    }
                }
            }
        }
    }
    let mut all = vec![];
    for ((slot, name), wanted) in slots
        .into_iter()
        .zip(&program.inputs)
        .zip(program.jaxpr.in_avals())
    {
        let Some(x) = slot else {
            return Err(Error::argument(format!("the input `{name}` is not given"))
                .note(format!("--input \"{name}=FILE.npy\" gives it"))
                .note(described(program)));
        };
        let found = x.aval()?;
        if !found.same_type(wanted) {
            return Err(Error::shape(format!(
                "the input `{name}` is {wanted}, and the file holds {found}"
            )));
        }
        all.push(x);
    }
    Ok(all)
}

fn described(program: &Program) -> String {
    let each = program.inputs.iter().zip(program.jaxpr.in_avals());
    let all: Vec<String> = each.map(|(n, a)| format!("{n}: {a}")).collect();
    format!("it takes {}", all.join(", "))
}

fn one(source: &str) -> Result<Array> {
    if is_npy(source) {
        return io::load_npy(source);
    }
    let Some((file, key)) = source.rsplit_once(':') else {
        return Err(Error::argument(format!(
            "`{source}` is neither FILE.npy nor FILE.safetensors:KEY"
        )));
    };
    let mut arrays = io::read_safetensors(file)?;
    let keys = || {
        arrays
            .keys()
            .take(8)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    match arrays.get(key) {
        None => Err(Error::argument(format!("{file} holds no `{key}`"))
            .note(format!("it holds {}", keys()))),
        Some(_) => arrays
            .swap_remove(key)
            .ok_or_else(|| Error::internal("an array that was there")),
    }
}

/// The inputs whose names fit become low-rank updates of themselves. How many?
pub(crate) fn adapt(program: &Program, x: &mut [Array], lora: &Lora<'_>) -> Result<usize> {
    let adapter: BTreeMap<String, Array> = match lora.adapter {
        None => BTreeMap::new(),
        Some(file) => io::read_safetensors(file)?
            .into_iter()
            .map(|(k, x)| {
                let k = k
                    .strip_prefix("base_model.model.")
                    .unwrap_or(&k)
                    .to_string();
                (dotted(&k), x)
            })
            .collect(),
    };
    let (mut count, mut key) = (0, random::key(0));
    for (name, x) in program.inputs.iter().zip(x) {
        let fit = |p: &String| fits(p, name) || fits(p, &dotted(name));
        if !lora.patterns.iter().any(fit) {
            continue;
        }
        let [next, own] = key.split();
        key = next;
        let value = match factors(&adapter, name, x)? {
            Some((a, b)) => LoraArray::from_parts(x.clone(), a, b)
                .map_err(|e| Error::argument(format!("`{name}`: {}", e.message())))?,
            None if lora.adapter.is_some() => {
                return Err(Error::argument(format!("the adapter has no factors for `{name}`"))
                    .note(format!(
                        "they are called `{0}.a` and `{0}.b`, or `{0}.lora_A.weight` and `{0}.lora_B.weight`",
                        dotted(name)
                    )));
            }
            None => LoraArray::new(x, &LoraConfig::rank(lora.rank), &own)
                .map_err(|e| Error::argument(format!("`{name}`: {}", e.message())))?,
        };
        let rank = value.a.aval()?.shape.last().copied();
        if rank != Some(lora.rank) {
            return Err(Error::argument(format!(
                "the factors of `{name}` are not of rank {}",
                lora.rank
            )));
        }
        *x = Array::from_value(value);
        count += 1;
    }
    if count == 0 {
        return Err(
            Error::argument(format!("no input fits `{}`", lora.patterns.join("` or `")))
                .note(described(program)),
        );
    }
    Ok(count)
}

/// `w + a·b`: our own names, or those of PEFT, whose `A` comes first; a weight may be stored transposed.
fn factors(
    adapter: &BTreeMap<String, Array>,
    name: &str,
    w: &Array,
) -> Result<Option<(Array, Array)>> {
    let name = dotted(name);
    let stem = name.strip_suffix(".weight").unwrap_or(&name);
    let find = |suffix: &str| {
        let of = |n: &str| adapter.get(&format!("{n}{suffix}")).cloned();
        of(&name).or_else(|| of(stem))
    };
    if let (Some(a), Some(b)) = (find(".a"), find(".b")) {
        return Ok(Some((a, b)));
    }
    let (Some(a), Some(b)) = (find(".lora_A.weight"), find(".lora_B.weight")) else {
        return Ok(None);
    };
    let shape = w.aval()?.shape;
    let straight =
        b.aval()?.shape.first() == shape.first() && a.aval()?.shape.last() == shape.last();
    Ok(Some(if straight { (b, a) } else { (a.t(), b.t()) }))
}
