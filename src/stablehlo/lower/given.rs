//! An operation on arrays, and how its attributes are asked for.

use super::super::read::syntax::{Attr, Operation, Type};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, ErrorKind, Result},
};

/// An operation with its operands.
#[derive(Clone, Copy)]
pub(super) struct Given<'a, 'm, 't> {
    pub(super) op: &'m Operation<'t>,
    pub(super) x: &'a [Array],
}

impl<'a, 'm, 't> Given<'a, 'm, 't> {
    /// The operation's name without that of StableHLO's dialect.
    pub(super) fn name(&self) -> &'t str {
        let name = self.op.name;
        name.strip_prefix("stablehlo.").unwrap_or(name)
    }

    /// An error about this operation.
    pub(super) fn wrong(&self, why: impl AsRef<str>) -> Error {
        Error::format(format!("`{}`: {}", self.op.name, why.as_ref()))
    }

    /// An error about something that Quaxide does not have.
    pub(super) fn unsupported(&self, why: impl AsRef<str>) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("`{}`: {}", self.op.name, why.as_ref()),
        )
    }

    /// The operands, of which there are so many.
    pub(super) fn operands<const N: usize>(&self) -> Result<&'a [Array; N]> {
        self.x.try_into().map_err(|_| {
            self.wrong(format!(
                "it takes {N} operand(s), {} are given",
                self.x.len()
            ))
        })
    }

    /// The type of a result, as it is written.
    pub(super) fn out(&self, i: usize) -> Result<&'m Aval> {
        let written = self.op.out_types.get(i).and_then(Type::aval);
        written.ok_or_else(|| self.wrong("its result has no array type"))
    }

    /// The first of these attributes that there is.
    pub(super) fn attr(&self, names: &[&str]) -> Option<&'m Attr<'t>> {
        names.iter().find_map(|n| self.op.attr(n))
    }

    /// A list of whole numbers; `None` where the attribute is absent.
    pub(super) fn ints(&self, names: &[&str]) -> Result<Option<Vec<i64>>> {
        match self.attr(names) {
            None => Ok(None),
            Some(a) => self.list(a, names.first().unwrap_or(&"")).map(Some),
        }
    }

    fn list(&self, a: &Attr<'t>, name: &str) -> Result<Vec<i64>> {
        a.ints()
            .ok_or_else(|| self.wrong(format!("`{name}` is no list of whole numbers")))
    }

    /// Axes or sizes; none where the attribute is absent.
    pub(super) fn dims(&self, names: &[&str]) -> Result<Dims> {
        let list = self.ints(names)?.unwrap_or_default();
        self.natural(&list, names.first().unwrap_or(&""))
    }

    /// A field of a structured attribute that holds axes or sizes; none where it is absent.
    pub(super) fn field(&self, a: Option<&Attr<'t>>, name: &str) -> Result<Dims> {
        match a.and_then(|a| a.field(name)) {
            None => Ok(Dims::new()),
            Some(a) => self.natural(&self.list(a, name)?, name),
        }
    }

    /// One number for each of `n` axes; `default` where the attribute is absent.
    pub(super) fn each(&self, names: &[&str], n: usize, default: usize) -> Result<Dims> {
        let name = names.first().unwrap_or(&"");
        let d = match self.attr(names) {
            None => Dims::from_elem(default, n),
            Some(a) => self.natural(&self.list(a, name)?, name)?,
        };
        if d.len() != n {
            return Err(self.wrong(format!("`{name}` has {} number(s), not {n}", d.len())));
        }
        Ok(d)
    }

    /// Two numbers for each of `n` axes, `(0, 0)` where the attribute is absent.
    pub(super) fn pairs(&self, list: Option<Vec<i64>>, n: usize) -> Result<Vec<(i64, i64)>> {
        let Some(list) = list else {
            return Ok(vec![(0, 0); n]);
        };
        if list.len() != 2 * n {
            return Err(self.wrong(format!("{} numbers of padding for {n} axes", list.len())));
        }
        Ok(list
            .chunks_exact(2)
            .filter_map(|p| match p {
                [a, b] => Some((*a, *b)),
                _ => None,
            })
            .collect())
    }

    fn natural(&self, list: &[i64], name: &str) -> Result<Dims> {
        list.iter()
            .map(|i| {
                usize::try_from(*i)
                    .map_err(|_| self.wrong(format!("`{name}` holds the negative number {i}")))
            })
            .collect()
    }

    /// A whole number that is an axis or a size.
    pub(super) fn number(&self, names: &[&str]) -> Result<usize> {
        let name = names.first().unwrap_or(&"");
        let i = self
            .attr(names)
            .and_then(Attr::int)
            .ok_or_else(|| self.wrong(format!("`{name}` is missing")))?;
        usize::try_from(i).map_err(|_| self.wrong(format!("`{name}` is negative")))
    }

    /// A truth value.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.op.attr(name).and_then(Attr::bool).unwrap_or(default)
    }

    /// The word of an enumeration: of an attribute, or one that stands alone.
    pub(super) fn word(&self, names: &[&str], alone: usize) -> Option<&'t str> {
        self.attr(names)
            .and_then(Attr::word)
            .or_else(|| self.op.words.get(alone).copied())
    }

    /// The program of a body that runs for many elements at once.
    pub(super) fn closed(&self, body: &super::Closed) -> Result<crate::trace::Program> {
        match body.captured.first() {
            None => Ok(body.program.clone()),
            Some(_) => Err(self.unsupported("a body that uses arrays from outside of it")),
        }
    }

    /// An array of another element type.
    pub(super) fn convert(&self, x: &Array, dtype: DType) -> Result<Array> {
        if x.dtype()? == dtype {
            return Ok(x.clone());
        }
        super::apply(
            crate::trace::op::ConvertElementType {
                new_dtype: dtype,
                weak_type: false,
            },
            &[x],
        )
    }
}
