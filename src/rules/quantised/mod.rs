//! Arrays of few bits an element.

mod blocks;
mod encode;
mod rows;
mod tables;

pub use blocks::Format;

use crate::{
    array::{Array, Aval, DType, Dims},
    dispatch::{ArrayValue, Rules},
    error::{Error, Result},
    trace::{bind_all, op::Op},
    tree::{Flat, Leaves, PyTree},
};

/// An array of which each element takes few bits: integers with scales that they share, along the last axis.
///
/// It equals the array that its definition yields, in the arithmetic of the format's reference to the last bit: programs are planned
/// around the definition. A contraction takes a large one in by rows, so that the whole is never unpacked, and what picks rows, as an
/// embedding does, unpacks those alone. `LoraArray { w: Quantised, .. }` is QLoRA.
///
/// Leading axes are axes of each component: `vmap` and `scan` over stacked weights take them apart. The codes have no derivative, what
/// scales there are in floating point have.
///
/// ```
/// use quaxide::{prelude::*, rules::{Format, Quantised}};
/// let w = random::normal(&random::key(0), [8, 256]);
/// let x = random::normal(&random::key(1), [256]);
/// let q = Quantised::new(&w, Format::Q4K).unwrap();
/// assert_eq!(q.bytes().unwrap(), 8 * 144); // 4.5 bits an element
/// let y = quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(q), &x).unwrap();
/// let error = (y - w.dot(&x)).abs().max(()).item::<f32>().unwrap();
/// assert!(error < 3.0);
/// ```
#[derive(Clone, Debug)]
pub struct Quantised {
    format: Format,
    dtype: DType,
    /// What they are is told by the format.
    components: Vec<Array>,
}

impl PyTree for Quantised {
    fn flatten(&self, out: &mut Flat<'_>) {
        out.node("Quantised");
        out.meta("format", &self.format);
        out.meta("dtype", &self.dtype);
        for (name, x) in self.format.components().iter().zip(&self.components) {
            out.child(name, x);
        }
    }
    fn unflatten(&self, leaves: &mut Leaves<'_>) -> Self {
        Quantised {
            components: self
                .components
                .iter()
                .map(|x| x.unflatten(leaves))
                .collect(),
            ..*self
        }
    }
}

impl Quantised {
    /// The numbers of an array, rounded to a format. The last axis is split into the format's blocks, and so must be a multiple of them.
    ///
    /// An error for an array without numbers (a traced one), of another type than float, with elements that are not finite, of no axes, or
    /// with a last axis that blocks do not fit.
    ///
    /// ```
    /// use quaxide::{prelude::*, rules::{Format, Quantised}};
    /// let e = Quantised::new(&Array::ones([4, 100], DType::F32), Format::Q4_0).unwrap_err();
    /// assert_eq!(e.message(), "q4_0 has blocks of 32 elements: f32[4,100] has no last axis that is a multiple of it");
    /// ```
    pub fn new(x: &Array, format: Format) -> Result<Quantised> {
        let aval = x.aval()?;
        if !aval.dtype.is_float() {
            return Err(Error::dtype(format!("{format} holds floats, not {aval}")));
        }
        format.check(&aval)?;
        let numbers = x.materialise()?.astype(DType::F32).to_vec::<f32>()?;
        if numbers.iter().any(|x| !x.is_finite()) {
            return Err(Error::argument(format!(
                "{format} has no infinities and no NaN, which {aval} has"
            )));
        }
        let rows: Dims = aval.shape.iter().take(aval.ndim() - 1).copied().collect();
        let columns = aval.shape.last().copied().unwrap_or(1);
        Ok(Quantised {
            format,
            dtype: aval.dtype,
            components: encode::encode(format, &numbers, &rows, columns)?,
        })
    }

    /// From the components that the format says ([`Format::components`]), as a file holds them; its elements are `f32`.
    ///
    /// A GGUF format has one: the bytes of its blocks, `u8` of shape `[.., blocks, bytes of a block]`. An error if their number, their types or
    /// their shapes do not fit.
    pub fn from_components(format: Format, components: Vec<Array>) -> Result<Quantised> {
        let q = Quantised {
            format,
            dtype: DType::F32,
            components,
        };
        let avals = q
            .components
            .iter()
            .map(Array::aval)
            .collect::<Result<Vec<_>>>()?;
        format.check_components(&avals)?;
        Ok(q)
    }

    /// The bytes of a GGUF tensor of this shape.
    ///
    /// An error for a format that GGUF does not have, and for another number of bytes than the shape needs.
    pub fn from_gguf(
        format: Format,
        shape: impl crate::array::IntoDims,
        bytes: &[u8],
    ) -> Result<Quantised> {
        let mut shape = shape.into_dims();
        let aval = Aval::new(shape.clone(), DType::F32);
        let size = format
            .block_bytes()
            .ok_or_else(|| Error::argument(format!("{format} is not a format of GGUF files")))?;
        format.check(&aval)?;
        let blocks = shape.pop().unwrap_or(0) / format.block();
        shape.extend([blocks, size]);
        let needed: usize = shape.iter().product();
        if bytes.len() != needed {
            return Err(Error::argument(format!(
                "{format}: {aval} takes {needed} bytes, {} were given",
                bytes.len()
            )));
        }
        Quantised::from_components(format, vec![Array::new(shape, bytes.to_vec())])
    }

    /// The same numbers as an array of another element type, in which they are computed with.
    ///
    /// An error unless it is one of floats.
    pub fn with_dtype(self, dtype: DType) -> Result<Quantised> {
        if !dtype.is_float() {
            return Err(Error::dtype(format!(
                "{} holds floats, not {dtype}",
                self.format
            )));
        }
        Ok(Quantised { dtype, ..self })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The components, in the order of [`Format::components`].
    pub fn components(&self) -> &[Array] {
        &self.components
    }

    /// How many bytes the components take.
    pub fn bytes(&self) -> Result<usize> {
        let size = |x: &Array| Ok(x.aval()?.size() * x.dtype()?.size());
        self.components.iter().map(size).sum()
    }
}

impl ArrayValue for Quantised {
    fn aval(&self) -> Result<Aval> {
        let first = self.components.first().map(Array::aval);
        let first =
            first.unwrap_or_else(|| Err(Error::internal("a quantised array has no codes")))?;
        Ok(Aval::new(self.format.shape(&first.shape), self.dtype))
    }

    fn materialise(&self) -> Result<Array> {
        let x = self.format.decode(&self.components)?;
        x.astype(self.dtype).ok().cloned()
    }

    fn describe(&self) -> String {
        match self.aval() {
            Ok(a) => format!("quantised[{a}, {}]", self.format),
            Err(_) => "quantised".into(),
        }
    }

    fn rules(r: &mut Rules) {
        r.precedence(10);
        r.family::<Quantised, _>(
            &["dynamic_slice", "gather", "slice"],
            |op: &Op, x: &[&Array]| {
                if let [q, at @ ..] = x
                    && let Some(q) = q.value::<Quantised>()
                    && let Some(y) = rows::taken(op, q, at)?
                {
                    return Ok(vec![y]);
                }
                let x = x
                    .iter()
                    .map(|x| x.definition())
                    .collect::<Result<Vec<_>>>()?;
                bind_all(op.clone(), &x)
            },
        );
    }
}
