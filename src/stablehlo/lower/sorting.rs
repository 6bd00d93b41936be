//! Sorting by a comparator.

use super::{
    Lowering, apply,
    bodies::{Layout, carrying, with_numbers},
    control::scalars,
    elementwise::number,
    given::Given,
    meaning::alike,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::Result,
    trace::{
        Jaxpr, bind_all,
        op::{Binary, Rev, SelectN, Sort, SortBy, TopK, Unary},
        stage,
    },
};

/// How JAX writes that a number of keys is less: zeros and NaNs alike whatever their bits, then by total order.
fn less(types: &[DType], keys: usize, ascending: bool) -> Result<Jaxpr> {
    let avals: Vec<Aval> = types
        .iter()
        .flat_map(|d| [*d, *d])
        .map(|d| Aval::new((), d))
        .collect();
    stage(&avals, None, &mut |x| {
        let mut found: Option<Array> = None;
        for pair in x.chunks_exact(2).take(keys).rev() {
            let [a, b] = pair else { continue };
            let (parts_a, parts_b) = (parts(a)?, parts(b)?);
            for (a, b) in parts_a.iter().zip(&parts_b).rev() {
                let float = a.dtype()?.is_float();
                let (lt, eq) = if float {
                    (Binary::LtTo, Binary::EqTo)
                } else {
                    (Binary::Lt, Binary::Eq)
                };
                let less = if ascending {
                    apply(lt, &[a, b])?
                } else if float {
                    apply(lt, &[b, a])?
                } else {
                    apply(Binary::Gt, &[a, b])?
                };
                found = Some(match found {
                    None => less,
                    Some(rest) => {
                        let tie = apply(Binary::And, &[&apply(eq, &[a, b])?, &rest])?;
                        apply(Binary::Or, &[&less, &tie])?
                    }
                });
            }
        }
        Ok(found.into_iter().collect())
    })
}

/// The real numbers by which a number is compared.
fn parts(x: &Array) -> Result<Vec<Array>> {
    let dtype = x.dtype()?;
    let canonical = |x: &Array| -> Result<Array> {
        let dtype = x.dtype()?;
        let zero = apply(Binary::Eq, &[x, &number(0.0, dtype)])?;
        let y = apply(SelectN, &[&zero, x, &number(0.0, dtype)])?;
        let nan = apply(Binary::Ne, &[x, x])?;
        apply(SelectN, &[&nan, &y, &number(f64::NAN, dtype)])
    };
    Ok(if dtype.is_complex() {
        vec![
            canonical(&apply(Unary::Real, &[x])?)?,
            canonical(&apply(Unary::Imag, &[x])?)?,
        ]
    } else if dtype.is_float() {
        vec![canonical(x)?]
    } else {
        vec![x.clone()]
    })
}

impl<'m, 't> Lowering<'m, 't> {
    pub(super) fn sort(&mut self, given: &Given<'_, 'm, 't>) -> Result<Vec<Array>> {
        let first = given
            .x
            .first()
            .ok_or_else(|| given.wrong("there is nothing to sort"))?;
        let n = first.ndim();
        let axis = given
            .attr(&["dimension"])
            .and_then(super::Attr::int)
            .unwrap_or(-1);
        let axis = if axis < 0 { axis + n as i64 } else { axis };
        let dimension = usize::try_from(axis)
            .ok()
            .filter(|a| *a < n)
            .ok_or_else(|| given.wrong("there is no such axis"))?;
        let is_stable = given.flag("is_stable", false);
        // The comparator takes pairs: of the first operand, of the second, …
        let elements = scalars(given.x)?;
        let avals: Vec<Aval> = elements
            .iter()
            .flat_map(|a| [a.clone(), a.clone()])
            .collect();
        let body = self.body(given, 0, &avals)?;
        let types: Vec<DType> = elements.iter().map(|a| a.dtype).collect();
        if body.captured.is_empty() {
            for keys in 1..=types.len() {
                let op = Sort {
                    dimension,
                    is_stable,
                    num_keys: keys,
                };
                if alike(&less(&types, keys, true)?, &body.program) {
                    return bind_all(op, given.x);
                }
                if alike(&less(&types, keys, false)?, &body.program)
                    && types.iter().take(keys).all(|d| d.is_integer())
                {
                    // Descending and stable: the reverse, sorted, reversed.
                    let rev = |x: &Array| {
                        apply(
                            Rev {
                                dimensions: Dims::from_elem(dimension, 1),
                            },
                            &[x],
                        )
                    };
                    let reversed = given.x.iter().map(rev).collect::<Result<Vec<_>>>()?;
                    return bind_all(op, &reversed)?.iter().map(rev).collect();
                }
            }
        }
        let (comparator, numbers) = carrying(given, &body, Layout::Pairs)?;
        let op = SortBy {
            comparator,
            dimension,
            is_stable,
        };
        let mut y = bind_all(op, &with_numbers(given.x, &numbers)?)?;
        y.truncate(given.x.len());
        Ok(y)
    }
}

impl<'m, 't> Lowering<'m, 't> {
    /// `ApproxTopK`, exactly: the elements that a comparator puts first, with what goes along. `None` for another custom call.
    pub(super) fn approximate_top_k(
        &mut self,
        given: &Given<'_, 'm, 't>,
    ) -> Result<Option<Vec<Array>>> {
        let target = given
            .attr(&["call_target_name", "symbol"])
            .and_then(super::Attr::word);
        if target != Some("ApproxTopK") {
            return Ok(None);
        }
        let [x, places, ..] = given.x else {
            return Err(given.wrong("it takes an array and places"));
        };
        let config = given.attr(&["mhlo.backend_config", "backend_config"]);
        let number = |name: &str| {
            let n = config
                .and_then(|c| c.field(name))
                .and_then(super::Attr::int);
            n.and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| given.wrong(format!("`{name}` is missing")))
        };
        let (k, axis) = (number("top_k")?, number("reduction_dim")?);
        let comparator = match given.attr(&["called_computations"]) {
            Some(super::Attr::List(all)) => all.first().and_then(super::Attr::word),
            _ => None,
        };
        let f = comparator.and_then(|name| self.functions.get(name).copied());
        let f = f.ok_or_else(|| given.wrong("its comparator is missing"))?;
        let (closed, _) = self.closed(f)?;
        let types = [x.dtype()?, places.dtype()?];
        let named = |op: Binary| {
            let avals = types
                .iter()
                .flat_map(|d| [*d, *d])
                .map(|d| Aval::new((), d));
            let avals: Vec<Aval> = avals.collect();
            stage(&avals, None, &mut |x| match &x[..] {
                [a, b, ..] => Ok(vec![apply(op, &[a, b])?]),
                _ => Err(super::few()),
            })
        };
        let largest = if alike(&named(Binary::Gt)?, &closed.program) {
            true
        } else if alike(&named(Binary::Lt)?, &closed.program) {
            false
        } else {
            return Err(given.unsupported("a comparator of its own"));
        };
        if !largest && !x.dtype()?.is_float() {
            return Err(given.unsupported("the smallest integers"));
        }
        let keys = if largest {
            x.clone()
        } else {
            apply(Unary::Neg, &[x])?
        };
        let y = bind_all(TopK { axis, k }, &[keys])?;
        let [values, found] = &y[..] else {
            return Err(super::few());
        };
        let values = if largest {
            values.clone()
        } else {
            apply(Unary::Neg, &[values])?
        };
        let found = places.take_along_axis(found, i32::try_from(axis).unwrap_or(i32::MAX));
        Ok(Some(vec![values, found]))
    }
}

impl Given<'_, '_, '_> {
    pub(super) fn top_k(&self) -> Result<Vec<Array>> {
        let [x] = self.operands()?;
        let op = TopK {
            axis: x.ndim().saturating_sub(1),
            k: self.number(&["k"])?,
        };
        let y = bind_all(op, std::slice::from_ref(x))?;
        match &y[..] {
            [values, places] => Ok(vec![values.clone(), self.convert(places, DType::I32)?]),
            _ => Err(super::few()),
        }
    }
}
