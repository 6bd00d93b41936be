//! What is neither element by element nor a movement of elements.

use super::{apply, elementwise::number, given::Given};
use crate::{
    array::{Array, DType, Dims},
    error::Result,
    trace::{
        bind_all,
        op::{Binary, Fft, FftType, RandomAlgorithm, Reduce, Reducer, RngBitGenerator, Unary},
    },
};

impl Given<'_, '_, '_> {
    /// An operation without regions.
    pub(super) fn plain(&self) -> Result<Vec<Array>> {
        if let Some(y) = self.shapes()? {
            return Ok(y);
        }
        if let Some(y) = self.elementwise()? {
            return Ok(y);
        }
        if let Some(y) = self.indexing()? {
            return Ok(y);
        }
        if let Some(y) = self.linear()? {
            return Ok(y);
        }
        if let Some(y) = self.custom()? {
            return Ok(y);
        }
        match self.name() {
            "chlo.top_k" => self.top_k(),
            "fft" => self.fft(),
            "rng_bit_generator" => self.random_bits(),
            "batch_norm_inference" => self.batch_norm_inference(),
            "batch_norm_training" => self.batch_norm_training(),
            "batch_norm_grad" => self.batch_norm_grad(),
            // There is one process, and one device.
            "replica_id" | "partition_id" => Ok(vec![number(0i64, DType::U32)]),
            "sdy.sharding_constraint" => Ok(self.x.to_vec()),
            _ => Err(self.unsupported("this operation is not one that Quaxide reads")),
        }
    }

    fn fft(&self) -> Result<Vec<Array>> {
        let [x] = self.operands()?;
        let fft_type = match self.word(&["type", "fft_type"], 0).unwrap_or_default() {
            "FFT" => FftType::Fft,
            "IFFT" => FftType::Ifft,
            "RFFT" => FftType::Rfft,
            "IRFFT" => FftType::Irfft,
            other => return Err(self.wrong(format!("there is no transform `{other}`"))),
        };
        let fft_lengths = self.dims(&["length", "fft_length"])?;
        let op = Fft {
            fft_type,
            fft_lengths,
        };
        Ok(vec![apply(op, &[x])?])
    }

    fn random_bits(&self) -> Result<Vec<Array>> {
        let [state] = self.operands()?;
        let algorithm = match self
            .word(&["algorithm", "rng_algorithm"], 0)
            .unwrap_or_default()
        {
            "DEFAULT" => RandomAlgorithm::Default,
            "THREE_FRY" => RandomAlgorithm::ThreeFry,
            "PHILOX" => RandomAlgorithm::Philox,
            other => return Err(self.wrong(format!("there is no algorithm `{other}`"))),
        };
        let out = self.out(1)?;
        let dtype = match out.dtype.size() {
            1 => DType::U8,
            2 => DType::U16,
            4 => DType::U32,
            _ => DType::U64,
        };
        if !out.dtype.is_integer() {
            return Err(self.unsupported("bits of no integers"));
        }
        let op = RngBitGenerator {
            algorithm,
            dtype,
            shape: out.shape.clone(),
        };
        let mut y = bind_all(op, std::slice::from_ref(state))?;
        if let Some(bits) = y.get_mut(1) {
            *bits = self.convert(bits, out.dtype)?;
        }
        Ok(y)
    }

    /// What normalisation by features says: the axis of features, ε, and how a number for each feature spreads.
    fn features(&self, x: &Array) -> Result<(usize, Array, impl Fn(&Array) -> Array + use<>)> {
        let a = x.aval()?;
        let axis = self.number(&["feature_index"])?;
        let epsilon = self.attr(&["epsilon"]).and_then(super::Attr::float);
        let epsilon = epsilon.ok_or_else(|| self.wrong("`epsilon` is missing"))?;
        if axis >= a.ndim() {
            return Err(self.wrong("there is no such axis"));
        }
        let shape = a.shape.clone();
        let spread = move |v: &Array| v.broadcast_in_dim(&shape, [axis]);
        Ok((axis, number(epsilon, a.dtype), spread))
    }

    fn batch_norm_inference(&self) -> Result<Vec<Array>> {
        let [x, scale, offset, mean, variance] = self.operands()?;
        let (_, epsilon, spread) = self.features(x)?;
        let deviation = apply(Unary::Sqrt, &[&apply(Binary::Add, &[variance, &epsilon])?])?;
        let centred = apply(Binary::Sub, &[x, &spread(mean)])?;
        let unit = apply(Binary::Div, &[&centred, &spread(&deviation)])?;
        let scaled = apply(Binary::Mul, &[&spread(scale), &unit])?;
        Ok(vec![apply(Binary::Add, &[&scaled, &spread(offset)])?])
    }

    /// Sums over all axes but that of features, and how many numbers each sums.
    fn over_examples(&self, x: &Array, axis: usize) -> Result<(Array, Array)> {
        let a = x.aval()?;
        let axes: Dims = (0..a.ndim()).filter(|i| *i != axis).collect();
        let count: usize = axes.iter().filter_map(|i| a.shape.get(*i)).product();
        let op = Reduce {
            reducer: Reducer::Sum,
            axes,
        };
        Ok((apply(op, &[x])?, number(count as f64, a.dtype)))
    }

    fn mean(&self, x: &Array, axis: usize) -> Result<Array> {
        let (sum, count) = self.over_examples(x, axis)?;
        apply(Binary::Div, &[&sum, &count])
    }

    fn batch_norm_training(&self) -> Result<Vec<Array>> {
        let [x, scale, offset] = self.operands()?;
        let (axis, epsilon, spread) = self.features(x)?;
        let mean = self.mean(x, axis)?;
        let centred = apply(Binary::Sub, &[x, &spread(&mean)])?;
        let variance = self.mean(&apply(Binary::Mul, &[&centred, &centred])?, axis)?;
        let deviation = apply(Unary::Sqrt, &[&apply(Binary::Add, &[&variance, &epsilon])?])?;
        let unit = apply(Binary::Div, &[&centred, &spread(&deviation)])?;
        let scaled = apply(Binary::Mul, &[&spread(scale), &unit])?;
        let y = apply(Binary::Add, &[&scaled, &spread(offset)])?;
        Ok(vec![y, mean, variance])
    }

    fn batch_norm_grad(&self) -> Result<Vec<Array>> {
        let [x, scale, mean, variance, g] = self.operands()?;
        let (axis, epsilon, spread) = self.features(x)?;
        let op = |op: Binary, a: &Array, b: &Array| apply(op, &[a, b]);
        let sigma = op(Binary::Add, variance, &epsilon)?;
        let centred = op(Binary::Sub, x, &spread(mean))?;
        let (sum_g, count) = self.over_examples(g, axis)?;
        let (sum_gx, _) = self.over_examples(&op(Binary::Mul, g, &centred)?, axis)?;
        let deviation = apply(Unary::Sqrt, &[&sigma])?;
        // scale/σ/n · (n·g − Σg − (x − μ)·Σ(g·(x − μ))/σ²)
        let i1 = op(Binary::Mul, g, &count)?;
        let i2 = spread(&sum_g);
        let i3 = op(Binary::Mul, &spread(&sum_gx), &centred)?;
        let i4 = op(Binary::Div, &i3, &spread(&sigma))?;
        let inner = op(Binary::Sub, &op(Binary::Sub, &i1, &i2)?, &i4)?;
        let factor = op(Binary::Div, &op(Binary::Div, scale, &deviation)?, &count)?;
        let of_x = op(Binary::Mul, &spread(&factor), &inner)?;
        let of_scale = op(Binary::Div, &sum_gx, &deviation)?;
        Ok(vec![of_x, of_scale, sum_g])
    }
}
