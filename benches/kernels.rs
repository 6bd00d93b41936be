//! One kernel at a time, as `benches/peers/compare.py` asks for them in turn with the same kernels of other systems.
//!
//! Reads lines `CASE DTYPE SECONDS SIZE…` from standard input, and writes for each the milliseconds of the first call and of the quickest
//! one that fits into the time; for a line `peak` twice the GFLOP/s that `peak_gflops` measures. An error goes to standard error and ends the process. By hand:
//! `echo "softmax f32 0.5 24576 128" | cargo bench --bench kernels`. The cases that end in `_grad` are a function and its gradient.

mod support;

use quaxide::{array::Convolution, prelude::*};
use std::{io::BufRead, process::ExitCode, time::Instant};
use support::{
    encoder::{Encoder, Sizes, VOCABULARY},
    exit,
};

/// Runs a kernel once.
type Run = Box<dyn Fn() -> Result<()>>;

/// Normal numbers, the same in every run.
fn normal(seed: u64, shape: &[usize], dtype: DType) -> Array {
    random::normal(&random::key(seed), (shape, DType::F32)).astype(dtype)
}

/// A function of arrays, jitted; with its gradient for a cotangent of normal numbers if that is asked for.
fn kernel<F>(f: F, args: Vec<Array>, gradient: bool) -> Result<Run>
where
    F: Fn(&[Array]) -> Array + Send + Sync + Copy + 'static,
{
    if !gradient {
        let call = jit(move |args: &Vec<Array>| f(args));
        return Ok(Box::new(move || call(&args).map(drop)));
    }
    let y = eval_shape(move |args: &Vec<Array>| f(args))(&args)?;
    let y = y.aval()?;
    let cotangent = normal(9, &y.shape, y.dtype);
    let call = jit(move |args: &Vec<Array>, cotangent: &Array| {
        let (y, pullback) = vjp(move |args: &Vec<Array>| f(args), (args,))?;
        let (gradients,) = pullback(cotangent)?;
        Ok::<_, Error>((y, gradients))
    });
    Ok(Box::new(move || call(&args, &cotangent).map(drop)))
}

fn layer_norm(a: &[Array]) -> Array {
    let [x, weight, bias] = a else {
        return Array::from(f32::NAN);
    };
    let centred = x - x.keepdims(-1, |x, axes| x.mean(axes));
    let variance = centred.square().keepdims(-1, |x, axes| x.mean(axes));
    centred * (variance + 1e-5).rsqrt() * weight + bias
}

fn attention(a: &[Array]) -> Array {
    match a {
        [q, k, v] => nn::dot_product_attention(q, k, v, &nn::DotProduct::new()),
        _ => Array::from(f32::NAN),
    }
}

/// Cross entropy of labels that are as many as the rows.
fn cross_entropy(a: &[Array]) -> Array {
    match a {
        [logits] => {
            let rows = logits.shape().first().copied().unwrap_or(0);
            let classes = logits.shape().last().copied().unwrap_or(1);
            let labels = Array::arange(rows, DType::I32) % (classes as i32);
            nn::losses::softmax_cross_entropy_with_integer_labels(logits, &labels).mean(())
        }
        _ => Array::from(f32::NAN),
    }
}

/// A function of all of the first array.
fn of_first(a: &[Array], f: fn(&Array) -> Array) -> Array {
    a.first().map_or_else(|| Array::from(f32::NAN), f)
}

fn softmax(a: &[Array]) -> Array {
    of_first(a, |x| nn::softmax(x, -1))
}

fn gelu(a: &[Array]) -> Array {
    of_first(a, nn::gelu_exact)
}

fn gelu_tanh(a: &[Array]) -> Array {
    of_first(a, nn::gelu)
}

fn product(a: &[Array]) -> Array {
    match a {
        [x, y] => x.dot(y),
        _ => Array::from(f32::NAN),
    }
}

fn convolution(a: &[Array]) -> Array {
    match a {
        [x, k] => x.conv_general_dilated(k, &Convolution::new([1, 1]).padding([(1, 1), (1, 1)])),
        _ => Array::from(f32::NAN),
    }
}

fn made(case: &str, dtype: DType, sizes: &[usize]) -> Result<Run> {
    let (name, gradient) = case
        .strip_suffix("_grad")
        .map_or((case, false), |name| (name, true));
    let given = |seed: u64, shape: &[usize]| normal(seed, shape, dtype);
    match (name, sizes) {
        ("gemm", &[m, k, n]) => kernel(
            product,
            vec![given(0, &[m, k]), given(1, &[k, n])],
            gradient,
        ),
        ("softmax", &[m, n]) => kernel(softmax, vec![given(0, &[m, n])], gradient),
        ("gelu", &[m, n]) => kernel(gelu, vec![given(0, &[m, n])], gradient),
        ("gelu_tanh", &[m, n]) => kernel(gelu_tanh, vec![given(0, &[m, n])], gradient),
        ("cross_entropy", &[m, n]) => kernel(cross_entropy, vec![given(0, &[m, n])], gradient),
        ("layer_norm", &[m, n]) => {
            let args = vec![given(0, &[m, n]), given(1, &[n]), given(2, &[n])];
            kernel(layer_norm, args, gradient)
        }
        ("attention", &[batch, heads, length, size]) => {
            let one = |seed| given(seed, &[batch, length, heads, size]);
            kernel(attention, vec![one(0), one(1), one(2)], gradient)
        }
        ("conv", &[batch, channels, height, width, out, side]) => {
            let image = given(0, &[batch, channels, height, width]);
            kernel(
                convolution,
                vec![image, given(1, &[out, channels, side, side])],
                gradient,
            )
        }
        ("adamw", &[tensors, rows, columns]) => {
            let arrays = |seed: u64| -> Vec<Array> {
                (0..tensors as u64)
                    .map(|i| given(seed + i, &[rows, columns]))
                    .collect()
            };
            let (parameters, gradients) = (arrays(0), arrays(1000));
            let optimiser = optim::adamw(1e-3);
            let state = optimiser.init(&parameters)?;
            type State = optim::State<Vec<Array>>;
            let step = jit(move |p: &Vec<Array>, g: &Vec<Array>, s: &State| {
                let (updates, state) = optimiser.update(g, s, p)?;
                Ok::<_, Error>((optim::apply_updates(p, &updates)?, state))
            });
            Ok(Box::new(move || {
                step(&parameters, &gradients, &state).map(drop)
            }))
        }
        ("lora_product", &[size, rank, columns]) => {
            let part = |seed, shape: [usize; 2]| given(seed, &shape);
            let w = LoraArray::from_parts(
                part(0, [size, size]),
                part(1, [size, rank]),
                part(2, [rank, size]),
            )?;
            let (w, x) = (Array::from_value(w), part(3, [size, columns]));
            let call = jit(quaxify(|w: &Array, x: &Array| w.dot(x)));
            Ok(Box::new(move || call(&w, &x).map(drop)))
        }
        ("inference", &[batch, seq]) => {
            let model = Encoder::new(&Sizes {
                seq,
                d: 384,
                ffn: 1536,
                layers: 6,
                heads: 12,
            });
            let ids = random::randint(&random::key(1), [batch, seq], 0, VOCABULARY as i32);
            let call = jit(|model: &Encoder, ids: &Array| model.call(ids));
            Ok(Box::new(move || call(&model, &ids).map(drop)))
        }
        ("overhead", &[inputs, outputs]) => {
            let part = |seed, shape: [usize; 2]| given(seed, &shape);
            let w = LoraArray::from_parts(
                part(0, [outputs, inputs]),
                part(1, [outputs, 2]),
                part(2, [2, inputs]),
            )?;
            let (w, b, x) = (
                Array::from_value(w),
                given(3, &[outputs]),
                given(4, &[inputs]),
            );
            let call = jit(quaxify(|w: &Array, b: &Array, x: &Array| w.dot(x) + b));
            Ok(Box::new(move || call(&w, &b, &x).map(drop)))
        }
        _ => Err(Error::argument(format!(
            "no kernel `{case}` with {} sizes",
            sizes.len()
        ))),
    }
}

/// The milliseconds of the first call, and of the quickest of those that fit into the time: at least two.
fn timed(run: &Run, seconds: f64) -> Result<[f64; 2]> {
    let begin = Instant::now();
    let mut times = [f64::INFINITY; 2];
    let mut calls = 0;
    while calls < 3 || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        run()?;
        let time = start.elapsed().as_secs_f64() * 1e3;
        let slot = usize::from(calls > 0);
        if let Some(best) = times.get_mut(slot) {
            *best = best.min(time);
        }
        calls += 1;
    }
    Ok(times)
}

fn answer(line: &str) -> Result<[f64; 2]> {
    if line == "peak" {
        return Ok([quaxide::interp::peak_gflops()?; 2]);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let [case, dtype, seconds, sizes @ ..] = &words[..] else {
        return Err(Error::argument(format!(
            "`{line}` is not CASE DTYPE SECONDS SIZE…"
        )));
    };
    let wrong = |e: &dyn std::fmt::Display| Error::argument(format!("`{line}`: {e}"));
    let seconds = seconds.parse().map_err(|e| wrong(&e))?;
    let sizes = sizes.iter().map(|n| n.parse().map_err(|e| wrong(&e)));
    let sizes: Vec<usize> = sizes.collect::<Result<_>>()?;
    timed(&made(case, dtype.parse()?, &sizes)?, seconds)
}

fn main() -> ExitCode {
    let lines = std::io::stdin().lock().lines();
    exit(
        lines
            .map_while(std::result::Result::ok)
            .try_for_each(|line| {
                let [first, best] = answer(&line)?;
                println!("{first} {best}");
                Ok::<_, Error>(())
            }),
    )
}
