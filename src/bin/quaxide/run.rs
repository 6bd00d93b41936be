//! `quaxide run`: a program on arrays from files.

use crate::{
    inputs::{self, Lora},
    json,
    output::Output,
    program::load,
};
use quaxide::{Array, Error, Result, interp, interp::Interpreter, io, quaxify};
use std::path::{Path, PathBuf};

/// How results are given.
pub(crate) enum Form {
    Text,
    Json,
    File(PathBuf),
}

/// Run a program, and print or write what it gives.
pub(crate) fn run(
    file: &Path,
    given: &[String],
    to: &Form,
    lora: Option<&Lora<'_>>,
    way: Interpreter,
    out: &mut Output,
) -> Result<()> {
    let program = load(file)?;
    let mut x = inputs::load(&program, given)?;
    let results = match lora {
        None => interp::run(&program.jaxpr, &x, way)?,
        Some(lora) => {
            inputs::adapt(&program, &mut x, lora)?;
            let jaxpr = &program.jaxpr;
            quaxify(move |x: &Vec<Array>| jaxpr.eval(x))(&x)?
        }
    };
    let named = || program.results.iter().zip(&results);
    let to = match to {
        Form::File(to) => to,
        Form::Text => {
            return named()
                .try_for_each(|(name, y)| out.line(&format!("{name}: {} = {y}", y.aval()?)));
        }
        Form::Json => return named().try_for_each(|(name, y)| out.line(&json::array(name, y)?)),
    };
    if to.extension().is_some_and(|e| e == "npy") {
        return match &results[..] {
            [one] => io::save_npy(to, one),
            _ => Err(Error::argument(format!(
                "the program has {} results, and an npy file holds one",
                results.len()
            ))
            .note("--out FILE.safetensors holds all")),
        };
    }
    io::write_safetensors(to, program.results.iter().cloned().zip(results))
}
