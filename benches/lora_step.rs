//! One training step of an encoder in the shape of MiniLM, low-rank adapted by `loraify`: forward, backward and AdamW, jitted.
//!
//! `cargo bench --bench lora_step -- [--batch N --seq N --d N --ffn N --layers N --heads N --rank N --steps N --save FILE]` prints one
//! line of `key=value` pairs: the first step (tracing and planning included), the median and the least of the others, the loss before the
//! first step and before the last, the peak of memory. The model has no pooler, norms after the residuals, exact GELU. With `--save` the
//! weights and the batch go to a safetensors file first, from which `benches/peers/compare.py` gives other systems the same.

mod support;

use quaxide::{PyTree, optim::Optimiser, prelude::*, trace::op::DotGeneral};
use std::{process::ExitCode, time::Instant};
use support::{Options, exit, status_mb};

const VOCABULARY: usize = 30522;

#[derive(Clone, PyTree)]
struct Block {
    q: nn::Linear,
    k: nn::Linear,
    v: nn::Linear,
    o: nn::Linear,
    up: nn::Linear,
    down: nn::Linear,
    ln1: Norm,
    ln2: Norm,
    #[pytree(meta)]
    heads: usize,
}

#[derive(Clone, PyTree)]
struct Norm {
    weight: Array,
    bias: Array,
}

#[derive(Clone, PyTree)]
struct Encoder {
    embedding: Array,
    positions: Array,
    blocks: Vec<Block>,
    head: nn::Linear,
}

/// `[…, in]` to `[…, out]`.
fn linear(l: &nn::Linear, x: &Array) -> Array {
    let last = x.shape().len().saturating_sub(1);
    let y = x.dot_general(&l.weight, DotGeneral::new(([last], [1]), ([], [])));
    match &l.bias {
        Some(bias) => y + bias,
        None => y,
    }
}

impl Norm {
    fn new(d: usize) -> Norm {
        Norm {
            weight: Array::ones([d], DType::F32),
            bias: Array::zeros([d], DType::F32),
        }
    }

    fn call(&self, x: &Array) -> Array {
        let centred = x - x.keepdims(-1, |x, axes| x.mean(axes));
        let variance = centred.square().keepdims(-1, |x, axes| x.mean(axes));
        centred * (variance + 1e-12).rsqrt() * &self.weight + &self.bias
    }
}

impl Block {
    fn new(d: usize, ffn: usize, heads: usize, key: &random::Key) -> Block {
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

    fn call(&self, x: &Array) -> Result<Array> {
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

fn loss(model: &Encoder, ids: &Array, labels: &Array) -> Result<Array> {
    let mut x = model.embedding.take(ids, 0) + &model.positions;
    for block in &model.blocks {
        x = block.call(&x)?;
    }
    let logits = linear(&model.head, &x.mean(1));
    Ok(nn::losses::softmax_cross_entropy_with_integer_labels(&logits, labels).mean(()))
}

fn run(o: &Options) -> Result<()> {
    let get = |name: &str| o.size(name);
    let (d, seq, batch) = (get("d"), get("seq"), get("batch"));
    let [embedding, positions, blocks, head, lora] = random::key(0).split();
    let block = |key: random::Key| Block::new(d, get("ffn"), get("heads"), &key);
    let model = Encoder {
        embedding: random::normal(&embedding, [VOCABULARY, d]) * 0.02,
        positions: random::normal(&positions, [seq, d]) * 0.02,
        blocks: blocks
            .split_vec(get("layers"))
            .into_iter()
            .map(block)
            .collect(),
        head: nn::Linear::new(d, 2, &head),
    };
    let model = Encoder {
        blocks: loraify(&model.blocks, LoraConfig::rank(get("rank")), &lora)?,
        ..model
    };
    let mut trained = adapters(&model);
    let optimiser = optim::adamw(1e-3);
    let mut state = optimiser.init(&trained)?;
    type Part = tree::Part<Encoder>;
    let step = jit(
        |part: &Part, state: &optim::State<Part>, model: &Encoder, batch: &(Array, Array)| {
            let of_part = |part: &Part, model: &Encoder, batch: &(Array, Array)| {
                quaxify(loss)(&part.onto(model)?, &batch.0, &batch.1)
            };
            let (value, grads) = value_and_grad(of_part)(part, model, batch)?;
            let (updates, state) = optimiser.update(&grads, state, part)?;
            Ok((value, optim::apply_updates(part, &updates)?, state))
        },
    );
    let [ids, labels] = random::key(1).split();
    let data = (
        random::randint(&ids, [batch, seq], 0, VOCABULARY as i32),
        random::randint(&labels, [batch], 0, 2),
    );
    if let Some(path) = o.text("save") {
        io::save_safetensors(path, &(model.clone(), data.clone()))?;
    }
    let (mut times, mut losses) = (vec![], vec![]);
    for _ in 0..=get("steps") {
        let start = Instant::now();
        let value;
        (value, trained, state) = step(&trained, &state, &model, &data)?;
        losses.push(value.item()?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    let nth = |n: usize| times.get(n).copied().unwrap_or(f64::NAN);
    let loss = |l: Option<&f64>| l.copied().unwrap_or(f64::NAN);
    println!(
        "system=quaxide dtype=f32 first_ms={first:.1} median_ms={:.1} min_ms={:.1} first_loss={:.6} loss={:.6} peak_mb={}",
        nth(times.len() / 2),
        nth(0),
        loss(losses.first()),
        loss(losses.last()),
        status_mb("VmHWM").unwrap_or(0.0) as u64
    );
    Ok(())
}

fn main() -> ExitCode {
    let defaults = [
        ("batch", 16),
        ("seq", 128),
        ("d", 384),
        ("ffn", 1536),
        ("layers", 6),
        ("heads", 12),
        ("rank", 8),
        ("steps", 8),
    ];
    let options = Options::parse(&defaults, &["save"]);
    exit(options.and_then(|o| run(&o).map_err(|e| e.to_string())))
}
