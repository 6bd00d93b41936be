//! A network that reads handwritten digits meets mirrored ones, and recovers by LoRA alone.
//!
//! A 64–256–256–10 network is trained on the UCI digits. Then every image is mirrored, and its accuracy falls. Its three weights
//! become `LoraArray`s of rank 4, and only their factors are trained, a twentieth of the parameters: the network's code stays as it
//! is, and `quaxify` gives it the new meaning. The adapter is saved, loaded again, and what was loaded is judged on images that
//! training never saw.
//!
//! ```text
//! cargo run --release --example finetune -- [--seed N] [--show-ir] [--out DIRECTORY]
//! ```

mod support;

use quaxide::prelude::*;
use std::{fs, path::PathBuf, process::ExitCode, time::Instant};
use support::{
    digits,
    progress::Progress,
    svg::{Bars, Lines, Panel, Series, figure},
};

const USAGE: &str = "usage: finetune [--seed N] [--show-ir] [--out DIRECTORY]";
const TEST: usize = 360;
const BATCH: usize = 64;
const RANK: usize = 4;

/// Some of the network's parameters.
type Part = tree::Part<nn::Mlp>;

struct Options {
    seed: u64,
    show_ir: bool,
    out: PathBuf,
}

fn options() -> Result<Options, String> {
    let mut found = Options {
        seed: 0,
        show_ir: false,
        out: "target/finetune".into(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
        match word.as_str() {
            "--seed" => {
                let seed = value()?;
                found.seed = seed.parse().map_err(|_| format!("`{seed}` is no seed"))?;
            }
            "--out" => found.out = value()?.into(),
            "--show-ir" => found.show_ir = true,
            _ => return Err(format!("unknown argument `{word}`")),
        }
    }
    Ok(found)
}

/// Images `f32[n, 8, 8]` between 0 and 1, and what they show, `i32[n]`.
#[derive(Clone, PyTree)]
struct Images {
    pixels: Array,
    labels: Array,
}

impl Images {
    fn load() -> Result<Images> {
        let digits = digits::load().map_err(Error::format)?;
        let labels: Vec<i32> = digits.labels.iter().map(|y| i32::from(*y)).collect();
        let pixels: Vec<f32> = digits.pixels.iter().map(|x| f32::from(*x) / 16.0).collect();
        Ok(Images {
            pixels: Array::new([labels.len(), 8, 8], pixels),
            labels: Array::from(labels),
        })
    }

    fn len(&self) -> usize {
        self.labels.size()
    }

    fn pick(&self, which: &Array) -> Images {
        tree::map(self, |x| x.take(which, 0))
    }

    /// Left and right exchanged.
    fn mirrored(&self) -> Images {
        Images {
            pixels: self.pixels.flip(-1),
            ..self.clone()
        }
    }
}

/// The score of each digit for one image: an ordinary program.
fn scores(net: &nn::Mlp, image: &Array) -> Array {
    net.call(&image.reshape([64]))
}

fn example_loss(net: &nn::Mlp, image: &Array, label: &Array) -> Array {
    nn::losses::softmax_cross_entropy_with_integer_labels(&scores(net, image), label)
}

/// The mean loss of many images, of a network some of whose parameters are trained; its weights may be anything that equals an
/// array.
fn loss(trained: &Part, net: &nn::Mlp, batch: &Images) -> Result<Array> {
    let each = vmap(quaxify(example_loss)).in_axes((None, 0, 0));
    Ok(each(&trained.onto(net)?, &batch.pixels, &batch.labels)?.mean(()))
}

/// Which part of the images the network reads as their labels say.
fn accuracy(net: &nn::Mlp, images: &Images) -> Result<f64> {
    let all = jit(vmap(quaxify(scores)).in_axes((None, 0)));
    let read = all(net, &images.pixels)?.argmax(-1);
    read.eq(&images.labels).mean(()).item()
}

/// Trains a part of the network's parameters; returns it, and the losses of all steps.
fn train(
    name: &'static str,
    mut part: Part,
    net: &nn::Mlp,
    images: &Images,
    (epochs, rate): (usize, f64),
    key: &random::Key,
) -> Result<(Part, Vec<f64>)> {
    let (steps, mut losses) = (images.len() / BATCH, vec![]);
    let total = epochs * steps;
    let rate = optim::warmup_cosine_decay_schedule(0.0, rate, total / 20, total, 0.0)?;
    let optimiser = optim::chain((
        optim::clip_by_global_norm(1.0),
        optim::adamw(rate).weight_decay(0.01),
    ));
    let step = jit(
        |part: &Part, state: &optim::State<Part>, net: &nn::Mlp, batch: &Images| {
            let (value, grads) = value_and_grad(loss)(part, net, batch)?;
            let (updates, state) = optimiser.update(&grads, state, part)?;
            Ok((value, optim::apply_updates(part, &updates)?, state))
        },
    );
    let mut state = optimiser.init(&part)?;
    let mut progress = Progress::new(name, epochs);
    for key in key.split_vec(epochs) {
        let order = random::permutation(&key, images.len());
        let mut sum = 0.0;
        for i in 0..steps {
            let batch = images.pick(&order.slice_in_dim(i * BATCH, (i + 1) * BATCH, 0));
            let value;
            (value, part, state) = step(&part, &state, net, &batch)?;
            losses.push(value.item()?);
            sum += losses.last().copied().unwrap_or(f64::NAN);
        }
        progress.step(|| format!("loss {:.4}", sum / steps as f64));
    }
    Ok((part, losses))
}

fn show_ir(net: &nn::Mlp) -> Result<()> {
    let Some(layer) = net.layers.first() else {
        return Ok(());
    };
    let stages = quaxify(nn::Linear::call).stages((layer, &Array::ones([64], DType::F32)))?;
    println!("── traced: what the layer says\n{}\n", stages.traced);
    println!(
        "── dispatched: what its weight means\n{}\n",
        stages.dispatched
    );
    println!("── rewritten: what runs\n{}\n", stages.rewritten);
    Ok(())
}

fn picture(losses: [&[f64]; 2], accuracies: [(&str, f64, usize); 3]) -> String {
    let [before, after] = losses;
    let curve = |name: &str, from: usize, values: &[f64]| Series {
        name: name.into(),
        points: (values.iter().enumerate())
            .map(|(i, y)| ((from + i) as f64, *y))
            .collect(),
        smooth: 10,
    };
    let lines = Lines {
        title: "Loss of each step".into(),
        x_label: "step".into(),
        y_label: "cross entropy".into(),
        log_y: true,
        series: vec![
            curve("upright, all parameters", 0, before),
            curve("mirrored, LoRA alone", before.len(), after),
        ],
    };
    let bars = Bars {
        title: "Accuracy on images never seen".into(),
        y_label: String::new(),
        bars: accuracies
            .map(|(name, y, colour)| (name.into(), y, colour))
            .into(),
        top: 1.0,
        percent: true,
    };
    figure(
        "Mirrored digits, learnt again by LoRA",
        &[Panel::Lines(lines), Panel::Bars(bars)],
    )
}

fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let [split, init, pretrain, adapt, finetune] = random::key(options.seed).split();
    let all = Images::load()?;
    let order = random::permutation(&split, all.len());
    let test = all.pick(&order.slice_in_dim(0, TEST, 0));
    let images = all.pick(&order.slice_in_dim(TEST, all.len(), 0));

    let net = nn::Mlp::new(64, 10, 256, 2, &init);
    let (all, _) = tree::partition(&net, |_, _| true);
    let (all, first) = train("pretrain", all, &net, &images, (40, 3e-3), &pretrain)?;
    let base = all.onto(&net)?;
    let upright = accuracy(&base, &test)?;
    let (images, test) = (images.mirrored(), test.mirrored());
    let before = accuracy(&base, &test)?;
    eprintln!("accuracy {upright:.3}, of mirrored images {before:.3}");

    let lora = loraify(&base, LoraConfig::rank(RANK), &adapt)?;
    if options.show_ir {
        show_ir(&lora)?;
    }
    let (part, second) = train(
        "LoRA",
        adapters(&lora),
        &lora,
        &images,
        (60, 3e-2),
        &finetune,
    )?;

    fs::create_dir_all(&options.out)?;
    let file = options.out.join("adapter.safetensors");
    io::save_safetensors(&file, &part)?;
    let loaded = io::load_safetensors(&file, &adapters(&lora))?;
    let after = accuracy(&loaded.onto(&lora)?, &test)?;

    let svg = picture(
        [&first, &second],
        [
            ("upright", upright, 0),
            ("mirrored,\nbefore", before, 1),
            ("mirrored,\nafter", after, 2),
        ],
    );
    fs::write(options.out.join("finetune.svg"), svg)?;
    eprintln!("wrote {} and finetune.svg", file.display());
    println!(
        "finetune before={before:.3} after={after:.3} trainable={} of={} seconds={:.1}",
        tree::count(&loaded),
        tree::count(&base),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
