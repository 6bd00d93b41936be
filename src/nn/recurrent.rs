//! Recurrent cells.

use super::{attempt, linear::uniform, sigmoid};
use crate::{
    PyTree,
    array::{Array, DType, Dims, numpy::split},
    error::{Error, Result},
    random::Key,
    trace::op::DotGeneral,
};

/// The options of a [`GruCell`] or an [`LstmCell`].
#[derive(Clone, Debug)]
pub struct CellConfig {
    input_size: usize,
    hidden_size: usize,
    use_bias: bool,
    dtype: DType,
}

impl CellConfig {
    /// With biases, in `f32`.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        CellConfig {
            input_size,
            hidden_size,
            use_bias: true,
            dtype: DType::F32,
        }
    }

    /// With biases?
    #[must_use]
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self
    }

    /// The element type of weights and biases.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Uniform numbers between ±1/√hidden.
    fn draw(&self, key: &Key, shape: &[usize]) -> Array {
        let limit = match self.hidden_size {
            0 => 1.0,
            n => (1.0 / n as f64).sqrt(),
        };
        uniform(key, Dims::from_slice(shape), self.dtype, limit)
    }

    /// A gated recurrent unit, initialised as `equinox.nn.GRUCell`, bit for bit.
    #[track_caller]
    pub fn gru(&self, key: &Key) -> GruCell {
        let [ih, hh, b, n] = key.split();
        let size = self.hidden_size;
        GruCell {
            weight_ih: self.draw(&ih, &[3 * size, self.input_size]),
            weight_hh: self.draw(&hh, &[3 * size, size]),
            bias: self.use_bias.then(|| self.draw(&b, &[3 * size])),
            bias_n: self.use_bias.then(|| self.draw(&n, &[size])),
        }
    }

    /// A cell of long short-term memory, initialised as `equinox.nn.LSTMCell`, bit for bit.
    #[track_caller]
    pub fn lstm(&self, key: &Key) -> LstmCell {
        let [ih, hh, b] = key.split();
        let size = self.hidden_size;
        LstmCell {
            weight_ih: self.draw(&ih, &[4 * size, self.input_size]),
            weight_hh: self.draw(&hh, &[4 * size, size]),
            bias: self.use_bias.then(|| self.draw(&b, &[4 * size])),
        }
    }
}

/// `[n, m]` times `[.., m]`.
fn product(cell: &str, weight: &Array, x: &Array) -> Result<Array> {
    let [_, m] = weight.dims()?;
    let (a, n) = (x.aval()?, x.ndim());
    if a.shape.last() != Some(&m) {
        return Err(Error::shape(format!(
            "{cell}: expected [.., {m}], found {a}"
        )));
    }
    Ok(match n {
        1 => weight.dot(x),
        _ => x.dot_general(weight, DotGeneral::new(([n - 1], [1]), ((), ()))),
    })
}

fn plus(x: Array, bias: &Option<Array>) -> Array {
    match bias {
        Some(b) => x + b,
        None => x,
    }
}

fn parts<const N: usize>(x: &Array) -> Result<[Array; N]> {
    let all = split(x, N, -1)?;
    <[Array; N]>::try_from(all).map_err(|_| Error::internal("gates that are not so many"))
}

/// A gated recurrent unit (Cho et al., 2014): one step of a sequence.
///
/// ```
/// use quaxide::prelude::*;
/// let cell = nn::GruCell::new(3, 4, &random::key(0));
/// let (x, h) = (Array::ones([3], DType::F32), Array::zeros([4], DType::F32));
/// assert_eq!(cell.call(&x, &h).shape(), [4]);
/// ```
#[derive(Clone, Debug, PyTree)]
pub struct GruCell {
    /// `[3·hidden, input]`: reset, update, new.
    pub weight_ih: Array,
    /// `[3·hidden, hidden]`: reset, update, new.
    pub weight_hh: Array,
    /// `[3·hidden]`
    pub bias: Option<Array>,
    /// `[hidden]`
    pub bias_n: Option<Array>,
}

impl GruCell {
    /// A cell with biases, in `f32`. For other options see [`CellConfig`].
    #[track_caller]
    pub fn new(input_size: usize, hidden_size: usize, key: &Key) -> GruCell {
        CellConfig::new(input_size, hidden_size).gru(key)
    }

    /// The next hidden state, `[.., hidden]`, from `input [.., input]` and `hidden [.., hidden]`.
    #[track_caller]
    pub fn call(&self, input: &Array, hidden: &Array) -> Array {
        attempt(|| {
            let i = plus(product("GruCell", &self.weight_ih, input)?, &self.bias);
            let h = product("GruCell", &self.weight_hh, hidden)?;
            let ([i0, i1, i2], [h0, h1, h2]) = (parts(&i)?, parts(&h)?);
            let reset = sigmoid(&(i0 + h0));
            let update = sigmoid(&(i1 + h1));
            let new = (i2 + reset * plus(h2, &self.bias_n)).tanh();
            Ok(&new + update * (hidden - &new))
        })
    }
}

/// A cell of long short-term memory (Hochreiter and Schmidhuber, 1997): one step of a sequence.
#[derive(Clone, Debug, PyTree)]
pub struct LstmCell {
    /// `[4·hidden, input]`: input, forget, cell, output.
    pub weight_ih: Array,
    /// `[4·hidden, hidden]`: input, forget, cell, output.
    pub weight_hh: Array,
    /// `[4·hidden]`
    pub bias: Option<Array>,
}

impl LstmCell {
    /// A cell with a bias, in `f32`. For other options see [`CellConfig`].
    #[track_caller]
    pub fn new(input_size: usize, hidden_size: usize, key: &Key) -> LstmCell {
        CellConfig::new(input_size, hidden_size).lstm(key)
    }

    /// The next hidden state and cell state, each `[.., hidden]`, from `input [.., input]` and the present two.
    #[track_caller]
    pub fn call(&self, input: &Array, (hidden, cell): (&Array, &Array)) -> (Array, Array) {
        let mut next = None;
        let h = attempt(|| {
            let i = product("LstmCell", &self.weight_ih, input)?;
            let h = product("LstmCell", &self.weight_hh, hidden)?;
            let [i, f, g, o] = parts(&plus(i + h, &self.bias))?;
            let c = sigmoid(&f) * cell + sigmoid(&i) * g.tanh();
            next = Some(c.clone());
            Ok(sigmoid(&o) * c.tanh())
        });
        let c = next.unwrap_or_else(|| h.clone());
        (h, c)
    }
}
