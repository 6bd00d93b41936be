//! Sparse arrays: their entries and where these stand.

mod csr;
mod entries;
mod pairs;
mod product;
mod rule;

pub use csr::Csr;

use crate::{
    array::{Array, Aval, DType, Dims, IntoDims},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    tree::{Flat, Leaves, PyTree},
};

/// A sparse array as a list of entries (BCOO): `data [.., entries]`, `indices i32[.., entries, axes]`, behind batch axes that both have.
///
/// Entries of one place add; an entry outside is none, which is what padding is. What keeps zero stays sparse: contractions take the other
/// operand's rows entry by entry, products scale the entries, sums of sparse arrays have the entries of both. A contraction of two has an entry
/// for each pair that may meet, fewer where [`Bcoo::bounded`] knows the places. A sum with a dense array is dense.
/// Everything else would need all elements, and is refused unless the value says `allow_materialise`.
///
/// ```
/// use quaxide::{prelude::*, rules::Bcoo};
/// let dense = Array::from([[0f32, 2.0, 0.0], [3.0, 0.0, 0.0]]);
/// let sparse = Array::from_value(Bcoo::from_dense(&dense, 0).unwrap());
/// assert_eq!(format!("{sparse:?}"), "bcoo[f32[2,3], entries=2]");
/// let x = Array::from([1f32, 10.0, 100.0]);
/// let y = quaxify(|m: &Array, x: &Array| m.dot(x))(&sparse, &x).unwrap();
/// assert_eq!(y.to_vec::<f32>().unwrap(), [20.0, 3.0]);
/// // The gradient is one by the entries.
/// let g = grad(quaxify(|m: &Array, x: &Array| m.dot(x).sum(())))(&sparse, &x).unwrap();
/// assert_eq!(g.value::<Bcoo>().unwrap().data().to_vec::<f32>().unwrap(), [10.0, 1.0]);
/// let e = quaxify(|m: &Array| m.exp())(&sparse).unwrap_err();
/// assert!(e.message().starts_with("refusing to materialise bcoo[f32[2,3], entries=2]"));
/// ```
#[derive(Clone, Debug)]
pub struct Bcoo {
    data: Array,
    indices: Array,
    /// Of the axes that are sparse, not of those of the batch.
    shape: Dims,
    /// Has every place at most one entry?
    unique: bool,
    /// For each sparse axis, how many entries at most share a place on it, a power of two; empty if that is not known.
    most: Dims,
    allow_materialise: bool,
}

impl PyTree for Bcoo {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Bcoo");
        out.meta("shape", &self.shape);
        out.meta("unique", &self.unique);
        out.meta("most", &self.most);
        out.meta("allow_materialise", &self.allow_materialise);
        out.child("data", &self.data);
        out.child("indices", &self.indices);
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Bcoo {
            data: self.data.unflatten(leaves),
            indices: self.indices.unflatten(leaves),
            shape: self.shape.clone(),
            most: self.most.clone(),
            ..*self
        }
    }
}

impl Bcoo {
    /// From entries and their places, one row of `indices` each. `shape` is that of the sparse axes.
    ///
    /// An error if the shapes do not fit, if `indices` are not integers, and for a place outside of the shape. Places may repeat and stand in any
    /// order; those of a traced array are not looked at, and outside ones are then no entries.
    pub fn new(data: Array, indices: Array, shape: impl IntoDims) -> Result<Bcoo> {
        let shape = shape.into_dims();
        let (d, i) = (data.aval()?, indices.aval()?);
        let fits = i.ndim() == d.ndim() + 1
            && d.ndim() > 0
            && i.shape.starts_with(&d.shape)
            && i.shape.last() == Some(&shape.len());
        if !fits {
            return Err(Error::shape(format!(
                "a sparse array of {} axes needs data [.., entries] and indices [.., entries, {}]; got {d} and {i}",
                shape.len(),
                shape.len()
            )));
        }
        if !i.dtype.is_integer() {
            return Err(Error::dtype(format!("places are integers, got {i}")));
        }
        let mut unique = false;
        if indices.buffer().is_some() {
            let all = indices.astype(DType::I64).to_vec::<i64>()?;
            let entries = d.shape.last().copied().unwrap_or(0);
            unique = check_places(&all, &shape, entries)?;
        }
        Ok(Bcoo {
            data,
            indices: indices.astype(DType::I32),
            shape,
            unique,
            most: Dims::new(),
            allow_materialise: false,
        })
    }

    /// The elements of a dense array that are not zero, behind `batch` leading axes that stay dense; each batch has as many entries as the one
    /// that needs most.
    ///
    /// An error for an array without numbers (a traced one), and if it has no more than `batch` axes.
    pub fn from_dense(x: &Array, batch: usize) -> Result<Bcoo> {
        let aval = x.aval()?;
        let Some((lead, shape)) = aval
            .shape
            .split_at_checked(batch)
            .filter(|p| !p.1.is_empty())
        else {
            return Err(Error::shape(format!(
                "{aval} has no axes behind {batch} of a batch"
            )));
        };
        let size: usize = shape.iter().product();
        let batches: usize = lead.iter().product();
        let flags = x.ne(0).to_vec::<bool>()?;
        let of = |b: usize| -> Vec<usize> {
            let all = flags.iter().skip(b * size).take(size).enumerate();
            all.filter(|(_, f)| **f).map(|(i, _)| i).collect()
        };
        let places: Vec<Vec<usize>> = (0..batches).map(of).collect();
        let entries = places.iter().map(Vec::len).max().unwrap_or(0);
        let (mut indices, mut from) = (vec![], vec![]);
        for (b, places) in places.iter().enumerate() {
            for e in 0..entries {
                let place = places.get(e);
                from.push(place.map_or(-1, |p| (b * size + p) as i64));
                let mut rest = place.copied();
                let mut one = vec![0i32; shape.len()];
                for (slot, n) in one.iter_mut().zip(shape).rev() {
                    *slot = rest.map_or(*n, |r| r % n) as i32;
                    rest = rest.map(|r| r / n);
                }
                indices.extend(one);
            }
        }
        let flat = x.reshape([aval.size()]);
        let data = product::rows_of(&flat, &Array::from(from));
        let with = |rest: &[usize]| [lead, rest].concat();
        Ok(Bcoo {
            data: data.reshape(with(&[entries])).ok()?.clone(),
            indices: Array::new(with(&[entries, shape.len()]), indices),
            shape: Dims::from_slice(shape),
            unique: true,
            most: Dims::new(),
            allow_materialise: false,
        })
    }

    /// From compressed rows (CSR): the entries of row `i` are those from `starts[i]` up to `starts[i + 1]`, in `columns`.
    ///
    /// An error unless `starts` ascends from 0 to the number of entries and has one more element than there are rows, unless the columns of
    /// each row ascend, and for a column outside.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::Bcoo};
    /// let csr = Bcoo::from_csr(Array::from([1f32, 2.0, 3.0]), &[0, 2, 1], &[0, 2, 3], [2, 3]).unwrap();
    /// let dense = csr.to_dense().unwrap();
    /// assert_eq!(dense.to_vec::<f32>().unwrap(), [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
    /// let e = Bcoo::from_csr(Array::from([1f32, 2.0]), &[2, 0], &[0, 2, 2], [2, 3]).unwrap_err();
    /// assert!(e.message().contains("row 0: column 0 comes after column 2"));
    /// ```
    pub fn from_csr(
        data: Array,
        columns: &[usize],
        starts: &[usize],
        shape: [usize; 2],
    ) -> Result<Bcoo> {
        let [n, m] = shape;
        let entries = data.dims::<1>()?[0];
        let ends = starts.first() == Some(&0) && starts.last() == Some(&entries);
        if starts.len() != n + 1 || !ends || !starts.is_sorted() || columns.len() != entries {
            return Err(Error::argument(format!(
                "compressed rows: {n} rows of {entries} entries need {} ascending starts from 0 to {entries} and as many columns as entries",
                n + 1
            )));
        }
        let mut indices = Vec::with_capacity(2 * entries);
        for (i, pair) in starts.windows(2).enumerate() {
            let (Some(from), Some(to)) = (pair.first(), pair.last()) else {
                continue;
            };
            let row = columns.get(*from..*to).unwrap_or_default();
            for pair in row.windows(2) {
                if let [a, b] = pair
                    && a >= b
                {
                    return Err(Error::argument(format!(
                        "compressed rows: in row {i}: column {b} comes after column {a}"
                    )));
                }
            }
            for c in row {
                if *c >= m {
                    return Err(Error::index(format!("column {c} of {m}, in row {i}")));
                }
                indices.extend([i as i32, *c as i32]);
            }
        }
        let mut sparse = Bcoo::new(data, Array::new([entries, 2], indices), shape)?;
        sparse.unique = true;
        Ok(sparse)
    }

    /// The same array, which programs may turn into a dense one where they have to.
    #[must_use]
    pub fn allow_materialise(self, yes: bool) -> Bcoo {
        Bcoo {
            allow_materialise: yes,
            ..self
        }
    }

    /// The same array with a bound of how many entries share a place on an axis, from the places that it has: products of two sparse arrays
    /// have that many entries fewer. The bound is part of the structure, so that what a loop carries keeps it or has none.
    ///
    /// An error for places without numbers (traced ones).
    pub fn bounded(self) -> Result<Bcoo> {
        let all = self.indices.astype(DType::I64).to_vec::<i64>()?;
        let most = most_shared(&all, &self.shape, self.entries());
        Ok(Bcoo { most, ..self })
    }

    /// The entries.
    pub fn data(&self) -> &Array {
        &self.data
    }

    /// Their places.
    pub fn indices(&self) -> &Array {
        &self.indices
    }

    /// How many entries each batch has.
    pub fn entries(&self) -> usize {
        self.data.shape().last().copied().unwrap_or(0)
    }

    /// The dense array, whatever `allow_materialise` says.
    ///
    /// An error if a component is one.
    pub fn to_dense(&self) -> Result<Array> {
        entries::Entries::of(self).to_dense()
    }
}

/// Are all places inside, and is each there once? An error names one that is outside.
fn check_places(all: &[i64], shape: &Dims, entries: usize) -> Result<bool> {
    let axes = shape.len();
    if axes == 0 {
        return Ok(entries <= 1);
    }
    for place in all.chunks(axes) {
        for (axis, (i, n)) in place.iter().zip(shape).enumerate() {
            if *i < 0 || *i >= *n as i64 {
                return Err(Error::index(format!(
                    "an entry at {i} of axis {axis}, whose size is {n}"
                )));
            }
        }
    }
    let mut unique = true;
    for batch in all.chunks((entries * axes).max(1)) {
        let mut places: Vec<&[i64]> = batch.chunks(axes).collect();
        places.sort_unstable();
        unique &= places.windows(2).all(|w| w.first() != w.last());
    }
    Ok(unique)
}

/// For each axis, how many entries of one batch at most share a place on it; a power of two, so that patterns of about the same density are
/// of one structure.
fn most_shared(all: &[i64], shape: &[usize], entries: usize) -> Dims {
    let axes = shape.len();
    let most = |axis: usize, n: usize| {
        let mut most = 0;
        for batch in all.chunks((entries * axes).max(1)) {
            let mut counts = vec![0usize; n];
            for place in batch.chunks(axes) {
                let at = place.get(axis).and_then(|i| usize::try_from(*i).ok());
                if let Some(slot) = at.and_then(|i| counts.get_mut(i)) {
                    *slot += 1;
                    most = most.max(*slot);
                }
            }
        }
        most.next_power_of_two().min(entries.max(1))
    };
    shape.iter().enumerate().map(|(i, n)| most(i, *n)).collect()
}

impl ArrayValue for Bcoo {
    fn aval(&self) -> Result<Aval> {
        let d = self.data.aval()?;
        let mut shape = d.shape.clone();
        shape.pop();
        shape.extend_from_slice(&self.shape);
        Ok(d.with_shape(shape))
    }

    fn materialise(&self) -> Result<Array> {
        if !self.allow_materialise {
            return Err(Error::refused(format!(
                "refusing to materialise {}",
                ArrayValue::describe(self)
            ))
            .note("`Bcoo::to_dense` makes the dense array, `allow_materialise(true)` lets programs do so"));
        }
        self.to_dense()
    }

    fn describe(&self) -> String {
        match self.aval() {
            Ok(a) => format!("bcoo[{a}, entries={}]", self.entries()),
            Err(_) => "bcoo".into(),
        }
    }

    fn rules(r: &mut Rules) {
        rule::rules(r);
    }
}
