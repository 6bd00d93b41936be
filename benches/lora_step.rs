//! One training step of an encoder in the shape of MiniLM, low-rank adapted by `loraify`: forward, backward and AdamW, jitted.
//!
//! `cargo bench --bench lora_step -- [--batch N --seq N --d N --ffn N --layers N --heads N --rank N --steps N --save FILE]` prints one
//! line of `key=value` pairs: the first step (tracing and planning included), the median and the least of the others, the loss before the
//! first step and before the last, the peak of memory. The model has no pooler, norms after the residuals, exact GELU. With `--save` the
//! weights and the batch go to a safetensors file first, from which `benches/peers/compare.py` gives other systems the same.

mod support;

use quaxide::{optim::Optimiser, prelude::*};
use std::{process::ExitCode, time::Instant};
use support::{
    Options,
    encoder::{Encoder, Sizes, VOCABULARY},
    exit, status_mb,
};

fn loss(model: &Encoder, ids: &Array, labels: &Array) -> Result<Array> {
    let logits = model.call(ids)?;
    Ok(nn::losses::softmax_cross_entropy_with_integer_labels(&logits, labels).mean(()))
}

fn run(o: &Options) -> Result<()> {
    let get = |name: &str| o.size(name);
    let (seq, batch) = (get("seq"), get("batch"));
    let model = Encoder::new(&Sizes {
        seq,
        d: get("d"),
        ffn: get("ffn"),
        layers: get("layers"),
        heads: get("heads"),
    });
    let lora = random::key(2);
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
