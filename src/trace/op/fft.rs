//! Discrete Fourier transforms: `fft`.

use super::{
    Arg, Avals, Axes, BatchAxis, Batched, Inner, Jvp, Pad, Param, Params, Prim, Primitive, Tangent,
    batch_in_front, cotangent, linear_jvp, operands, tuple_text,
};
use crate::{
    array::{Array, Aval, DType, Dims},
    error::{Error, Result},
    trace::bind,
};
use smallvec::smallvec;

/// `fft`
pub const FFT: Prim<Fft> = Prim::new("fft");

/// Which transform.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FftType {
    /// Complex numbers to complex numbers.
    Fft,
    /// Its inverse.
    Ifft,
    /// Real numbers to the half of their transform that the other half follows from.
    Rfft,
    /// Its inverse.
    Irfft,
}

impl FftType {
    /// The number by which `jax.lax.FftType` knows it.
    pub fn number(self) -> usize {
        match self {
            FftType::Fft => 0,
            FftType::Ifft => 1,
            FftType::Rfft => 2,
            FftType::Irfft => 3,
        }
    }
}

/// The discrete Fourier transform over the last axes, as many as there are lengths; the others are batch axes.
#[derive(Clone, PartialEq, Debug)]
pub struct Fft {
    /// Which transform.
    pub fft_type: FftType,
    /// The size of each transformed axis, as it is before `Rfft` or after `Irfft` (whose last axis on the other side is
    /// `n / 2 + 1` long).
    pub fft_lengths: Dims,
}

impl Fft {
    /// The sizes of the transformed axes of what goes in or comes out as half of a transform.
    fn halved(&self) -> Dims {
        let mut sizes = self.fft_lengths.clone();
        if let Some(n) = sizes.last_mut() {
            *n = *n / 2 + 1;
        }
        sizes
    }

    fn complex(&self) -> Fft {
        Fft {
            fft_type: FftType::Fft,
            fft_lengths: self.fft_lengths.clone(),
        }
    }
}

impl Primitive for Fft {
    fn name(&self) -> &'static str {
        "fft"
    }
    fn params(&self) -> Params {
        vec![
            ("fft_lengths", Param::tuple(&self.fft_lengths)),
            ("fft_type", Param::text(self.fft_type.number())),
        ]
    }
    fn infer(&self, x: &[&Aval]) -> Result<Avals> {
        let [x] = operands(self.name(), x)?;
        let takes_real = self.fft_type == FftType::Rfft;
        let fits = match x.dtype {
            DType::F32 | DType::F64 => takes_real,
            d => d.is_complex() && !takes_real,
        };
        if !fits {
            let wanted = if takes_real {
                "float32 or float64"
            } else {
                "complex numbers"
            };
            return Err(Error::dtype(format!(
                "fft of type {:?} takes {wanted}, got {x}",
                self.fft_type
            )));
        }
        let k = self.fft_lengths.len();
        let wanted = match self.fft_type {
            FftType::Irfft => self.halved(),
            _ => self.fft_lengths.clone(),
        };
        if k == 0 || !x.shape.ends_with(&wanted) || self.fft_lengths.contains(&0) {
            return Err(Error::shape(format!(
                "fft of type {:?} with fft_lengths={} needs last axes of sizes {}, all positive, got {x}",
                self.fft_type,
                tuple_text(&self.fft_lengths),
                tuple_text(&wanted)
            )));
        }
        let mut shape: Dims = x.shape.iter().take(x.ndim() - k).copied().collect();
        shape.extend(match self.fft_type {
            FftType::Rfft => self.halved(),
            _ => self.fft_lengths.clone(),
        });
        let dtype = match self.fft_type {
            FftType::Irfft => x.dtype.real(),
            _ => x.dtype.complex(),
        };
        Ok(smallvec![Aval::new(shape, dtype)])
    }
    fn jvp(&self, x: &[Array], t: &[Tangent]) -> Result<Jvp> {
        linear_jvp(self.clone().into(), x, t)
    }
    fn transpose(&self, ct: &[Tangent], _: &[Arg]) -> Result<Vec<Tangent>> {
        let Some(ct) = cotangent(ct) else {
            return Ok(vec![None]);
        };
        let n = self.fft_lengths.last().copied().unwrap_or(1);
        Ok(vec![Some(match self.fft_type {
            // The matrix of a transform is symmetric.
            FftType::Fft | FftType::Ifft => bind(self.clone(), &[ct]),
            // The first half of the rows of that matrix: zeros stand for the others.
            FftType::Rfft => {
                let mut padding_config = vec![(0, 0, 0); ct.ndim()];
                if let Some(last) = padding_config.last_mut() {
                    last.1 = (n - (n / 2 + 1)) as i64;
                }
                let zero = Array::from_scalar(0.into(), ct.dtype()?, false);
                let full = bind(Pad { padding_config }, &[ct, &zero]);
                bind(self.complex(), &[&full]).real()
            }
            // All columns but the first, and the middle one of an even length, stand for two.
            FftType::Irfft => {
                let half = n / 2 + 1;
                let scale = 1.0 / self.fft_lengths.iter().map(|n| *n as f64).product::<f64>();
                // Computed, not captured: a rule may run within a program inside an equation.
                let k = Array::iota([half], 0, DType::I32);
                let once = k.eq(0) | (&k * 2).eq(n as i32);
                let weight = |w: f64| Array::from_scalar(w.into(), DType::F64, false);
                let weights = once.select(weight(scale), weight(2.0 * scale));
                let forward = Fft {
                    fft_type: FftType::Rfft,
                    fft_lengths: self.fft_lengths.clone(),
                };
                let y = bind(forward, &[ct]);
                (&y * weights.astype(y.dtype()?)).conj()
            }
        })])
    }
    fn batch(&self, x: &[Array], d: &[Option<usize>], axis: &BatchAxis) -> Result<Batched> {
        batch_in_front(self.clone(), x, d, axis)
    }
    opaque!();
}

impl Array {
    /// The discrete Fourier transform of the last axes, as many as there are lengths: `lax.fft`. In the error state if the axes do
    /// not have those lengths, or the elements are not complex (real for `Rfft`).
    ///
    /// ```
    /// use quaxide::{op::FftType, prelude::*};
    /// let y = Array::from([1f32, 2., 3., 4.]).lax_fft(FftType::Rfft, [4]);
    /// assert_eq!(y.real().to_vec::<f32>().unwrap(), [10.0, -2.0, -2.0]);
    /// assert_eq!(y.imag().to_vec::<f32>().unwrap(), [0.0, 2.0, 0.0]);
    /// ```
    #[track_caller]
    pub fn lax_fft(&self, fft_type: FftType, fft_lengths: impl crate::array::IntoDims) -> Array {
        let fft_lengths = fft_lengths.into_dims();
        let op = Fft {
            fft_type,
            fft_lengths,
        };
        bind(op, &[self])
    }
}
