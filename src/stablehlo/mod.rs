//! StableHLO in: programs that JAX and others export as text become [`Jaxpr`]s.
//!
//! The text may be in MLIR's pretty or generic form, with the `chlo` operations that JAX emits. Functions become `jit` calls; bodies of
//! `reduce`, `sort`, `scatter` and the like become the primitive that they describe where there is one, and run as written otherwise.
//! Semantics follow the specification of StableHLO (`docs/spec.md` of openxla/stablehlo).
//!
//! ```
//! use quaxide::prelude::*;
//! let text = "
//!     func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
//!       %0 = stablehlo.sine %x : tensor<3xf32>
//!       %1 = stablehlo.multiply %0, %x : tensor<3xf32>
//!       return %1 : tensor<3xf32>
//!     }";
//! let program = quaxide::stablehlo::read(text).unwrap();
//! assert_eq!(
//!     program.to_string(),
//!     "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b a in (c,) }"
//! );
//! let y = &program.eval(&[Array::from([0f32, 1., 2.])]).unwrap()[0];
//! assert_eq!(y.shape(), [3]);
//! ```

mod check;
mod lower;
mod read;

pub use check::{Check, Expect, Mismatch};

use crate::{
    error::{Error, Result},
    source::Source,
    trace::Jaxpr,
};
use lower::Lowering;
use read::{
    Parsed, parse,
    syntax::{Function, Label},
};

/// A module of StableHLO: functions by name.
pub struct Module<'t> {
    source: Source<'t>,
    parsed: Parsed<'t>,
}

/// A program and what to call its inputs and results.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it does.
    pub program: Jaxpr,
    /// The names of its inputs: those of the exporting program where it wrote them, else those of the text (`arg0`).
    pub inputs: Vec<String>,
    /// The names of its results, where the exporting program wrote them.
    pub results: Vec<Option<String>>,
}

/// The program of `@main`, or of the only public function.
///
/// An error says where in the text it is: the text is malformed, or uses what Quaxide does not have.
pub fn read(text: &str) -> Result<Jaxpr> {
    Ok(Module::parse("<text>", text)?.main()?.program)
}

impl<'t> Module<'t> {
    /// Read a module; `name` is what errors call the text.
    ///
    /// An error if the text is malformed. What its operations mean is looked at when a function is asked for.
    pub fn parse(name: &'t str, text: &'t str) -> Result<Module<'t>> {
        let source = Source { name, text };
        let parsed = parse(source)?;
        Ok(Module { source, parsed })
    }

    /// The names of its functions, in the order of the text.
    pub fn functions(&self) -> impl Iterator<Item = &'t str> {
        self.parsed.functions.iter().map(|f| f.name)
    }

    /// The program of `@main`, or of the only public function. An error if there is none, or it cannot be expressed.
    pub fn main(&self) -> Result<Entry> {
        let public = || {
            let all = || self.parsed.functions.iter().filter(|f| f.public);
            all().next().filter(|_| all().count() == 1)
        };
        match self.find("main").or_else(public) {
            Some(f) => self.entry(f),
            None => Err(Error::format(format!(
                "{} has no function `main`, and not just one that is public",
                self.source.name
            ))),
        }
    }

    /// The program of a function. An error if there is none of this name, or it cannot be expressed.
    pub fn function(&self, name: &str) -> Result<Entry> {
        match self.find(name) {
            Some(f) => self.entry(f),
            None => Err(Error::format(format!(
                "{} has no function `{name}`",
                self.source.name
            ))),
        }
    }

    fn find(&self, name: &str) -> Option<&Function<'t>> {
        self.parsed.functions.iter().find(|f| f.name == name)
    }

    fn entry(&self, f: &Function<'t>) -> Result<Entry> {
        let program = Lowering::new(self.source, &self.parsed.functions).function(f)?;
        let parameters = f.body.iter().flat_map(|b| &b.parameters);
        let inputs = parameters
            .map(|p| {
                let label = match p.label {
                    Some(Label::Name(s)) => Some(s),
                    Some(Label::Alias(a)) => self.parsed.locations.get(a).copied(),
                    None => None,
                };
                label.unwrap_or(p.name).to_string()
            })
            .collect();
        let results = f.labels.iter().map(|l| l.map(str::to_string)).collect();
        Ok(Entry {
            program,
            inputs,
            results,
        })
    }

    /// The programs that test themselves: `@main`, or else every public function without parameters, each with what it expects.
    ///
    /// The results of the program are, for each [`Check`] in order, what was computed and what is expected.
    pub fn checks(&self) -> Result<Vec<(Jaxpr, Vec<Check>)>> {
        let main = self.find("main").map(|f| vec![f]);
        let closed = |f: &&Function<'t>| {
            f.public && f.body.as_ref().is_some_and(|b| b.parameters.is_empty())
        };
        let all = main.unwrap_or_else(|| self.parsed.functions.iter().filter(closed).collect());
        all.into_iter()
            .map(|f| Lowering::new(self.source, &self.parsed.functions).checks(f))
            .collect()
    }
}
