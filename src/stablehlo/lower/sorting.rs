//! Sorting by a comparator.

use super::{Lowering, apply, control::scalars, elementwise::number, given::Given, meaning::alike};
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
        let op = SortBy {
            comparator: given.closed(&body)?,
            dimension,
            is_stable,
        };
        bind_all(op, given.x)
    }
}

impl Given<'_, '_, '_> {
    pub(super) fn top_k(&self) -> Result<Vec<Array>> {
        let [x] = self.operands()?;
        let op = TopK {
            axis: x.ndim().saturating_sub(1),
            k: self.number(&["k"])?,
        };
        let y = bind_all(op, &[x.clone()])?;
        match &y[..] {
            [values, places] => Ok(vec![values.clone(), self.convert(places, DType::I32)?]),
            _ => Err(super::few()),
        }
    }
}
