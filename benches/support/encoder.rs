//! An encoder in the shape of MiniLM, without a pooler: norms after the residuals, exact GELU.

use quaxide::{PyTree, prelude::*, trace::op::DotGeneral};

pub const VOCABULARY: usize = 30522;

#[derive(Clone, PyTree)]
pub struct Block {
    pub q: nn::Linear,
    pub k: nn::Linear,
    pub v: nn::Linear,
    pub o: nn::Linear,
    pub up: nn::Linear,
    pub down: nn::Linear,
    pub ln1: Norm,
    pub ln2: Norm,
    #[pytree(meta)]
    pub heads: usize,
}

#[derive(Clone, PyTree)]
pub struct Norm {
    pub weight: Array,
    pub bias: Array,
}

#[derive(Clone, PyTree)]
pub struct Encoder {
    pub embedding: Array,
    pub positions: Array,
    pub blocks: Vec<Block>,
    pub head: nn::Linear,
}

/// `[…, in]` to `[…, out]`.
pub fn linear(l: &nn::Linear, x: &Array) -> Array {
    let last = x.shape().len().saturating_sub(1);
    let y = x.dot_general(&l.weight, DotGeneral::new(([last], [1]), ([], [])));
    match &l.bias {
        Some(bias) => y + bias,
        None => y,
    }
}

impl Norm {
    pub fn new(d: usize) -> Norm {
        Norm {
            weight: Array::ones([d], DType::F32),
            bias: Array::zeros([d], DType::F32),
        }
    }

    pub fn call(&self, x: &Array) -> Array {
        let centred = x - x.keepdims(-1, |x, axes| x.mean(axes));
        let variance = centred.square().keepdims(-1, |x, axes| x.mean(axes));
        centred * (variance + 1e-12).rsqrt() * &self.weight + &self.bias
    }
}

impl Block {
    pub fn new(d: usize, ffn: usize, heads: usize, key: &random::Key) -> Block {
        let [q, k, v, o, up, down] = key.split();
        Block {
            q: nn::Linear::new(d, d, &q),
            k: nn::Linear::new(d, d, &k),
            v: nn::Linear::new(d, d, &v),
            o: nn::Linear::new(d, d, &o),
            up: nn::Linear::new(d, ffn, &up),
            down: nn::Linear::new(ffn, d, &down),
            ln1: Norm::new(d),
            ln2: Norm::new(d),
            heads,
        }
    }

    pub fn call(&self, x: &Array) -> Result<Array> {
        let [n, t, d] = x.dims()?;
        let size = d / self.heads;
        let heads = |l: &nn::Linear| {
            let y = linear(l, x).reshape([n, t, self.heads, size]);
            y.transpose([0, 2, 1, 3])
        };
        let (q, k, v) = (heads(&self.q), heads(&self.k), heads(&self.v));
        let scores = q.dot_general(&k, DotGeneral::new(([3], [3]), ([0, 1], [0, 1])));
        let weights = nn::softmax(&(scores / (size as f64).sqrt()), -1);
        let seen = weights.dot_general(&v, DotGeneral::new(([3], [2]), ([0, 1], [0, 1])));
        let seen = seen.transpose([0, 2, 1, 3]).reshape([n, t, d]);
        let x = self.ln1.call(&(x + linear(&self.o, &seen)));
        let hidden = nn::gelu_exact(&linear(&self.up, &x));
        Ok(self.ln2.call(&(&x + linear(&self.down, &hidden))))
    }
}

impl Encoder {
    /// With normal weights.
    pub fn new(size: &Sizes) -> Encoder {
        let [embedding, positions, blocks, head] = random::key(0).split();
        let block = |key: random::Key| Block::new(size.d, size.ffn, size.heads, &key);
        Encoder {
            embedding: random::normal(&embedding, [VOCABULARY, size.d]) * 0.02,
            positions: random::normal(&positions, [size.seq, size.d]) * 0.02,
            blocks: blocks
                .split_vec(size.layers)
                .into_iter()
                .map(block)
                .collect(),
            head: nn::Linear::new(size.d, 2, &head),
        }
    }

    /// Two numbers for each of some texts, given as `[batch, seq]` of tokens.
    pub fn call(&self, ids: &Array) -> Result<Array> {
        let mut x = self.embedding.take(ids, 0) + &self.positions;
        for block in &self.blocks {
            x = block.call(&x)?;
        }
        Ok(linear(&self.head, &x.mean(1)))
    }
}

/// How large it is.
pub struct Sizes {
    pub seq: usize,
    pub d: usize,
    pub ffn: usize,
    pub layers: usize,
    pub heads: usize,
}
