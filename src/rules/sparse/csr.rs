//! Sparse matrices by compressed rows.

use super::Bcoo;
use crate::{
    array::{Array, Aval, DType, Dims},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    trace::{bind_all, op::Op},
    transform::vmap,
    tree::{Flat, Leaves, PyTree},
};

/// A sparse matrix by compressed rows (CSR): `data [.., entries]`, `columns i32[.., entries]`, and `starts i32[.., rows + 1]`, from which to
/// which entry each row goes.
///
/// It computes as the [`Bcoo`] of the same entries does, whose places are found from it; what scales or maps the entries alone keeps the
/// compressed rows, everything else that stays sparse is a `Bcoo`.
///
/// ```
/// use quaxide::{prelude::*, rules::Csr};
/// let (columns, starts) = (Array::from([0i32, 2, 1]), Array::from([0i32, 2, 3]));
/// let csr = Csr::new(Array::from([1f32, 2.0, 3.0]), columns, starts, [2, 3]).unwrap();
/// let m = Array::from_value(csr);
/// let y = quaxify(|m: &Array, x: &Array| (m * 2.0).dot(x))(&m, &Array::from([1f32, 10.0, 100.0])).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [402.0, 60.0]);
/// assert_eq!(quaxify(|m: &Array| m.tanh())(&m).unwrap().describe(), "csr[f32[2,3], entries=3]");
/// ```
#[derive(Clone, Debug)]
pub struct Csr {
    data: Array,
    columns: Array,
    starts: Array,
    /// The number of columns.
    m: usize,
    /// What is known of the entries, as of a [`Bcoo`].
    unique: bool,
    most: Dims,
    allow_materialise: bool,
}

impl PyTree for Csr {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Csr");
        out.meta("m", &self.m);
        out.meta("unique", &self.unique);
        out.meta("most", &self.most);
        out.meta("allow_materialise", &self.allow_materialise);
        out.child("data", &self.data);
        out.child("columns", &self.columns);
        out.child("starts", &self.starts);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Csr {
            data: self.data.unflatten(leaves),
            columns: self.columns.unflatten(leaves),
            starts: self.starts.unflatten(leaves),
            most: self.most.clone(),
            ..*self
        }
    }
}

impl Csr {
    /// From its parts.
    ///
    /// An error if the shapes do not fit; and, where the numbers are known, unless `starts` ascends from 0 to the number of entries and the
    /// columns of each row ascend, inside of the matrix.
    pub fn new(data: Array, columns: Array, starts: Array, shape: [usize; 2]) -> Result<Csr> {
        let [n, m] = shape;
        let (d, c, s) = (data.aval()?, columns.aval()?, starts.aval()?);
        let fits = d.ndim() == 1
            && c.shape == d.shape
            && s.shape[..] == [n + 1]
            && c.dtype.is_integer()
            && s.dtype.is_integer();
        if !fits {
            return Err(Error::shape(format!(
                "compressed rows of a matrix {n} by {m} are data [entries], columns i32[entries] and starts i32[{}]; got {d}, {c} and {s}",
                n + 1
            )));
        }
        let (mut unique, mut most) = (false, Dims::new());
        if columns.buffer().is_some() && starts.buffer().is_some() {
            let places = |x: &Array| -> Result<Vec<usize>> {
                let all = x.astype(DType::I64).to_vec::<i64>()?;
                let one = |i: &i64| {
                    usize::try_from(*i)
                        .map_err(|_| Error::index(format!("{i} is no place of a matrix")))
                };
                all.iter().map(one).collect()
            };
            let zeros = Array::zeros(&d.shape, d.dtype);
            let checked = Bcoo::from_csr(zeros, &places(&columns)?, &places(&starts)?, shape)?;
            (unique, most) = (checked.unique, checked.most);
        }
        Ok(Csr {
            data,
            columns: columns.astype(DType::I32),
            starts: starts.astype(DType::I32),
            m,
            unique,
            most,
            allow_materialise: false,
        })
    }

    /// The elements of a dense matrix that are not zero. An error for another shape, and for an array without numbers.
    pub fn from_dense(x: &Array) -> Result<Csr> {
        let [n, m] = x.dims()?;
        let sparse = Bcoo::from_dense(x, 0)?;
        let rows = sparse.indices.slice_in_dim(0, 1, 1).squeeze(1);
        let starts = rows.searchsorted(&Array::arange(n + 1, DType::I32), false);
        let columns = sparse.indices.slice_in_dim(1, 2, 1).squeeze(1);
        Csr::new(sparse.data, columns, starts, [n, m])
    }

    /// The same matrix, which programs may turn into a dense one where they have to.
    #[must_use]
    pub fn allow_materialise(self, yes: bool) -> Csr {
        Csr {
            allow_materialise: yes,
            ..self
        }
    }

    /// The entries, row by row.
    pub fn data(&self) -> &Array {
        &self.data
    }

    /// The column of each entry.
    pub fn columns(&self) -> &Array {
        &self.columns
    }

    /// Where each row starts, and the last one ends.
    pub fn starts(&self) -> &Array {
        &self.starts
    }

    /// The same entries with the place of each.
    pub fn to_bcoo(&self) -> Result<Bcoo> {
        let e = self.data.shape().last().copied().unwrap_or(0);
        let rows = |starts: &Array| {
            let all = Array::arange(e, DType::I32);
            starts.searchsorted(&all, true).astype(DType::I32) - 1
        };
        let lead: Dims = self
            .starts
            .shape()
            .iter()
            .rev()
            .skip(1)
            .rev()
            .copied()
            .collect();
        let rows = match lead.is_empty() {
            true => rows(&self.starts),
            false => {
                let count: usize = lead.iter().product();
                let n = self.starts.shape().last().copied().unwrap_or(0);
                let shape: Dims = lead.iter().copied().chain([e]).collect();
                vmap(rows)(&self.starts.reshape([count, n]))?.reshape(shape)
            }
        };
        let pair = [rows.expand_dims(-1), self.columns.expand_dims(-1)];
        let indices = crate::numpy::concatenate(&pair, -1);
        Ok(Bcoo {
            data: self.data.clone(),
            indices: indices.ok()?.clone(),
            shape: Dims::from_slice(&[self.rows(), self.m]),
            unique: self.unique,
            most: self.most.clone(),
            allow_materialise: self.allow_materialise,
        })
    }

    /// The dense matrix, whatever `allow_materialise` says. An error if a component is one.
    pub fn to_dense(&self) -> Result<Array> {
        self.to_bcoo()?.to_dense()
    }

    fn rows(&self) -> usize {
        let n = self.starts.shape().last().copied().unwrap_or(1);
        n.saturating_sub(1)
    }

    fn on_data(&self, f: impl FnOnce(&Array) -> Result<Array>) -> Result<Array> {
        Ok(Array::from_value(Csr {
            data: f(&self.data)?,
            ..self.clone()
        }))
    }
}

/// Functions of the entries alone, where each place has one: those of [`Bcoo`] that keep its places.
fn keeps_places(op: &Op, x: &[&Array]) -> bool {
    let number = |x: &&Array| x.ndim() == 0;
    match (op.name(), x) {
        ("mul", [a, b]) => number(a) || number(b),
        ("div", [_, b]) => number(b),
        (name, [_]) => {
            super::rule::LINEAR.iter().any(|p| p.name == name)
                || super::rule::ZERO_TO_ZERO.iter().any(|p| p.name == name)
                || ["copy", "stop_gradient", "component", "convert_element_type"].contains(&name)
        }
        _ => false,
    }
}

impl ArrayValue for Csr {
    fn aval(&self) -> Result<Aval> {
        let d = self.data.aval()?;
        let mut shape = d.shape.clone();
        shape.pop();
        shape.extend([self.rows(), self.m]);
        Ok(d.with_shape(shape))
    }

    fn materialise(&self) -> Result<Array> {
        self.to_bcoo()?.materialise()
    }

    fn describe(&self) -> String {
        let entries = self.data.shape().last().copied().unwrap_or(0);
        match self.aval() {
            Ok(a) => format!("csr[{a}, entries={entries}]"),
            Err(_) => "csr".into(),
        }
    }

    fn rules(r: &mut Rules) {
        let mut own: Rules = Default::default();
        super::rule::rules(&mut own);
        r.precedence(31);
        r.family::<Csr, _>(&own.primitives(), |op: &Op, x: &[&Array]| {
            let place = x.iter().position(|x| x.value::<Csr>().is_some());
            let csr = place.and_then(|i| x.get(i)?.value::<Csr>());
            if let (Some(csr), Some(at)) = (csr, place)
                && csr.unique
                && keeps_places(op, x)
            {
                return csr
                    .on_data(|data| {
                        let args: Vec<Array> = x
                            .iter()
                            .enumerate()
                            .map(|(i, x)| if i == at { data.clone() } else { (*x).clone() })
                            .collect();
                        bind_all(op.clone(), &args)?
                            .pop()
                            .ok_or_else(|| Error::internal("a function without a result"))
                    })
                    .map(|y| vec![y]);
            }
            let args = x.iter().map(|x| match x.value::<Csr>() {
                Some(csr) => Ok(Array::from_value(csr.to_bcoo()?)),
                None => Ok((*x).clone()),
            });
            bind_all(op.clone(), &args.collect::<Result<Vec<_>>>()?)
        });
    }
}
