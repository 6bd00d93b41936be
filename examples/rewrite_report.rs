//! What equality saturation makes of the programs that people write with low-rank updates: a line for each case and shape.
//!
//! `cargo run --release --example rewrite_report -- [--shape M,K,N,R]… [--case NAME]…`: a weight is M×K, its update M×R times R×K, and an input
//! K×N. `naive` is the cost of the program as written, in microseconds of the model; `extracted` that of the plan; `optimum` that
//! of the best plan there is, found by exhaustion (`-` if that would take too long); `ms` all that rewriting took, with nothing
//! known from before.

use quaxide::{prelude::*, rules::algebra};
use std::{process::ExitCode, time::Instant};

/// `w + alpha/rank·a·b`.
#[derive(Clone, PyTree)]
struct Scaled {
    w: Array,
    a: Array,
    b: Array,
    #[pytree(meta)]
    alpha: u32,
}

impl ArrayValue for Scaled {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }
    fn materialise(&self) -> Result<Array> {
        let rank = self.b.shape().first().copied().unwrap_or(1);
        let scale = f64::from(self.alpha) / rank as f64;
        Ok(&self.w + self.a.dot(&self.b) * scale)
    }
    fn may_materialise(&self) -> bool {
        false
    }
}

/// `w + a·b + c·d`: two adapters of one weight.
#[derive(Clone, PyTree)]
struct Two {
    w: Array,
    a: Array,
    b: Array,
    c: Array,
    d: Array,
}

impl ArrayValue for Two {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(&self.w + self.a.dot(&self.b) + self.c.dot(&self.d))
    }
    fn may_materialise(&self) -> bool {
        false
    }
}

/// `m·(w + a·b)/‖w + a·b‖`, the norm being that of the rows (Liu et al., "DoRA", 2024).
#[derive(Clone, PyTree)]
struct Dora {
    w: Array,
    a: Array,
    b: Array,
    m: Array,
}

fn row_norms(w: &Array) -> Array {
    w.square().sum(1).sqrt()
}

impl ArrayValue for Dora {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }
    fn materialise(&self) -> Result<Array> {
        let v = self.w.stop_gradient() + self.a.dot(&self.b);
        let scale = &self.m / row_norms(&v);
        Ok(scale.expand_dims(1) * v)
    }
    fn may_materialise(&self) -> bool {
        false
    }
}

/// `scale·q + a·b`, with `q` of eight bits (Dettmers et al., "QLoRA", 2023).
#[derive(Clone, PyTree)]
struct QLora {
    q: Array,
    scale: Array,
    a: Array,
    b: Array,
}

impl ArrayValue for QLora {
    fn aval(&self) -> Result<Aval> {
        Ok(self.q.aval()?.with_dtype(DType::F32))
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.q.astype(DType::F32) * self.scale.expand_dims(1) + self.a.dot(&self.b))
    }
    fn may_materialise(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
struct Shape {
    m: usize,
    k: usize,
    n: usize,
    r: usize,
}

impl Shape {
    fn parse(text: &str) -> Option<Shape> {
        let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        match numbers?.as_slice() {
            [m, k, n, r] if [m, k, n, r].iter().all(|size| **size > 0) => Some(Shape {
                m: *m,
                k: *k,
                n: *n,
                r: *r,
            }),
            _ => None,
        }
    }
}

fn zeros<const N: usize>(shape: [usize; N]) -> Array {
    Array::zeros(shape, DType::F32)
}

fn update(n: usize, m: usize, rank: usize) -> Result<LoraArray> {
    LoraArray::from_parts(zeros([n, m]), zeros([n, rank]), zeros([rank, m]))
}

fn lora(n: usize, m: usize, rank: usize) -> Result<Array> {
    Ok(Array::from_value(update(n, m, rank)?))
}

fn product(w: &Array, x: &Array) -> Array {
    w.dot(x)
}

/// A layer's output and all gradients for a given gradient of the output.
fn train(w: &Array, x: &Array, g: &Array) -> Result<(Array, (Array, Array))> {
    let g = g.clone();
    let loss = quaxify(move |(w, x): &(Array, Array)| {
        let y = w.dot(x);
        ((&y * &g).sum(()), y)
    });
    let ((_, y), gradients) = value_and_grad(loss)(&(w.clone(), x.clone()))?;
    Ok((y, gradients))
}

/// The weights of a block of a transformer: attention's four, and those of a feed-forward layer, gated if there are three.
#[derive(Clone, PyTree)]
struct Block<W: 'static + Clone + PyTree> {
    attention: Vec<W>,
    feed_forward: Vec<W>,
}

fn block<W: 'static + Clone + PyTree>(
    block: &Block<W>,
    h: &Array,
    linear: fn(&W, &Array) -> Array,
) -> Array {
    let norm = |h: &Array| h / ((h * h).mean(()) + 1e-6).sqrt();
    let normed = norm(h);
    let project = |i: usize| linear(&block.attention[i], &normed);
    let (q, k, v) = (project(0), project(1), project(2));
    let scores = nn::softmax(&q.tanh().dot(&k.tanh().t()), -1);
    let h = h + linear(&block.attention[3], &scores.dot(&v).tanh());
    let normed = norm(&h);
    let inner = match block.feed_forward.as_slice() {
        [up, _] => linear(up, &normed).tanh(),
        [gate, up, _] => linear(gate, &normed).tanh() * linear(up, &normed),
        _ => normed,
    };
    match block.feed_forward.last() {
        Some(down) => &h + linear(down, &inner),
        None => h,
    }
}

fn blocks<W: 'static + Clone + PyTree>(
    s: Shape,
    layers: usize,
    gated: bool,
    weight: impl Fn(usize, usize) -> Result<W>,
) -> Result<Vec<Block<W>>> {
    let (d, f) = (s.m, 2 * s.m);
    let weights = |shapes: &[(usize, usize)]| -> Result<Vec<W>> {
        shapes.iter().map(|(n, m)| weight(*n, *m)).collect()
    };
    let block = |_| {
        Ok(Block {
            attention: weights(&[(d, d); 4])?,
            feed_forward: match gated {
                true => weights(&[(f, d), (f, d), (d, f)])?,
                false => weights(&[(f, d), (d, f)])?,
            },
        })
    };
    (0..layers).map(block).collect()
}

fn transformer(s: Shape, layers: usize, gated: bool) -> Result<Jaxpr> {
    let loss = quaxify(|blocks: &Vec<Block<Array>>, x: &Array| {
        let linear = |w: &Array, h: &Array| h.dot(&w.t());
        blocks
            .iter()
            .fold(x.clone(), |h, b| block(b, &h, linear))
            .sum(())
    });
    let blocks = blocks(s, layers, gated, |n, m| lora(n, m, s.r))?;
    make_jaxpr(value_and_grad(loss))(&blocks, &zeros([s.n, s.m]))
}

/// The same with its updates written out; the bases are frozen.
fn transformer_by_hand(s: Shape, layers: usize, gated: bool) -> Result<Jaxpr> {
    let loss = |blocks: &Vec<Block<Parts>>, x: &Array| {
        let linear = |(w, a, b): &Parts, h: &Array| {
            h.dot(&w.stop_gradient().t()) + h.dot(&b.t()).dot(&a.t())
        };
        blocks
            .iter()
            .fold(x.clone(), |h, b| block(b, &h, linear))
            .sum(())
    };
    let parts = |n: usize, m: usize| Ok((zeros([n, m]), zeros([n, s.r]), zeros([s.r, m])));
    let blocks = blocks(s, layers, gated, parts)?;
    make_jaxpr(value_and_grad(loss))(&blocks, &zeros([s.n, s.m]))
}

/// `w`, `a` and `b` of `w + a·b`.
type Parts = (Array, Array, Array);

/// A case: its name and the program, values taken apart.
type Case = (&'static str, Result<Jaxpr>);

fn cases(s: Shape) -> Result<Vec<Case>> {
    let Shape { m, k, n, r } = s;
    let (w, x) = (lora(m, k, r)?, zeros([k, n]));
    let scaled = Array::from_value(Scaled {
        w: zeros([m, k]),
        a: zeros([m, r]),
        b: zeros([r, k]),
        alpha: 16,
    });
    let two = Array::from_value(Two {
        w: zeros([m, k]),
        a: zeros([m, r]),
        b: zeros([r, k]),
        c: zeros([m, r]),
        d: zeros([r, k]),
    });
    let nested = Array::from_value(LoraArray {
        w: w.clone(),
        ..update(m, k, r)?
    });
    let dora = Array::from_value(Dora {
        w: zeros([m, k]),
        a: zeros([m, r]),
        b: zeros([r, k]),
        m: zeros([m]),
    });
    let qlora = Array::from_value(QLora {
        q: Array::zeros([m, k], DType::I8),
        scale: zeros([m]),
        a: zeros([m, r]),
        b: zeros([r, k]),
    });
    let mergeable = Array::from_value(LoraArray {
        allow_materialise: true,
        ..update(m, k, r)?
    });
    let many = Array::from_value(LoraArray {
        w: zeros([m, k]),
        a: zeros([16, m, r]),
        b: zeros([16, r, k]),
        ..update(m, k, r)?
    });
    let of_task = by_path(|path| (path != ".w").then_some(0));
    let chain: Result<Vec<Array>> = (0..4)
        .map(|i| {
            if i % 2 == 0 {
                lora(m, k, r)
            } else {
                lora(k, m, r)
            }
        })
        .collect();
    let chain = chain?;
    let matrices: Vec<Array> = [(m, k), (k, r), (r, m), (m, k), (k, n)]
        .map(|(a, b)| zeros([a, b]))
        .to_vec();
    let product_of =
        |all: &Vec<Array>, x: &Array| all.iter().rev().fold(x.clone(), |x, w| w.dot(&x));
    let left_to_right = |all: &Vec<Array>| {
        let (first, rest) = (all[0].clone(), &all[1..]);
        rest.iter().fold(first, |y, x| y.dot(x))
    };
    let heads = (lora(m, k, r)?, lora(m, k, r)?);
    let packed = vec![lora(m, k, r)?, lora(m, k, r)?, lora(m, k, r)?];
    Ok(vec![
        ("lora_forward", make_jaxpr(quaxify(product))(&w, &x)),
        (
            "lora_right",
            make_jaxpr(quaxify(|w: &Array, x: &Array| x.dot(&w.t())))(&w, &zeros([n, k])),
        ),
        (
            "lora_batched",
            make_jaxpr(quaxify(|w: &Array, x: &Array| x.dot(&w.t())))(&w, &zeros([4, n, k])),
        ),
        (
            "lora_vmap",
            make_jaxpr(vmap(quaxify(product)).in_axes((of_task, 0)))(&many, &zeros([16, k, n])),
        ),
        ("lora_train", make_jaxpr(train)(&w, &x, &zeros([m, n]))),
        ("lora_scaled", make_jaxpr(quaxify(product))(&scaled, &x)),
        (
            "lora_chain2",
            make_jaxpr(quaxify(product_of))(&vec![chain[1].clone(), chain[0].clone()], &x),
        ),
        (
            "lora_chain4",
            make_jaxpr(quaxify(product_of))(&chain.iter().rev().cloned().collect(), &x),
        ),
        ("lora_sum", make_jaxpr(quaxify(product))(&two, &x)),
        ("lora_of_lora", make_jaxpr(quaxify(product))(&nested, &x)),
        (
            "lora_transpose",
            make_jaxpr(quaxify(|w: &Array, y: &Array| w.t().dot(y)))(&w, &zeros([m, n])),
        ),
        ("lora_row", make_jaxpr(quaxify(|w: &Array| w.index(0)))(&w)),
        (
            "lora_concat",
            make_jaxpr(quaxify(|all: &Vec<Array>, x: &Array| {
                numpy::concatenate(all, 0).dot(x)
            }))(&packed, &x),
        ),
        ("dora_norm", make_jaxpr(quaxify(row_norms))(&w)),
        ("dora_train", make_jaxpr(train)(&dora, &x, &zeros([m, n]))),
        ("qlora", make_jaxpr(quaxify(product))(&qlora, &x)),
        ("gram", make_jaxpr(quaxify(|w: &Array| w.dot(&w.t())))(&w)),
        (
            "trace",
            make_jaxpr(quaxify(|w: &Array| numpy::trace(w, 0, 0, 1)))(&lora(m, m, r)?),
        ),
        (
            "attention_scores",
            make_jaxpr(quaxify(|(q, k): &(Array, Array), x: &Array| {
                q.dot(x).t().dot(&k.dot(x))
            }))(&heads, &x),
        ),
        ("matrix_chain5", make_jaxpr(left_to_right)(&matrices)),
        (
            "merge_allowed",
            make_jaxpr(quaxify(product))(&mergeable, &zeros([k, 128 * n])),
        ),
        ("transformer6", transformer(s, 6, false)),
        ("transformer24", transformer(s, 24, true)),
    ])
}

/// The same as PEFT writes it: arrays and products, nothing that says what they mean.
fn hand_written(s: Shape) -> Vec<Case> {
    let Shape { m, k, n, r } = s;
    let parts = |n: usize, m: usize| (zeros([n, m]), zeros([n, r]), zeros([r, m]));
    let apply = |(w, a, b): &Parts, x: &Array| w.dot(x) + a.dot(&b.dot(x));
    let (w, x) = (parts(m, k), zeros([k, n]));
    let many = (zeros([m, k]), zeros([16, m, r]), zeros([16, r, k]));
    let train = |(w, x): &(Parts, Array), g: &Array| {
        let loss = |(a, b, x): &(Array, Array, Array)| {
            let y = apply(&(w.0.clone(), a.clone(), b.clone()), x);
            ((&y * g).sum(()), y)
        };
        let ((_, y), gradients) = value_and_grad(loss)(&(w.1.clone(), w.2.clone(), x.clone()))?;
        Ok::<_, Error>((y, gradients))
    };
    let norms = |(w, a, b): &Parts| row_norms(&(w + a.dot(b)));
    let dora = |(p, m): &(Parts, Array), x: &Array| {
        let scale = m / norms(p);
        scale.expand_dims(1) * apply(p, x)
    };
    let dora_train = |(w, x): &((Parts, Array), Array), g: &Array| {
        let base = w.0.0.stop_gradient();
        let loss = |(a, b, m, x): &(Array, Array, Array, Array)| {
            let y = dora(&((base.clone(), a.clone(), b.clone()), m.clone()), x);
            ((&y * g).sum(()), y)
        };
        let ((p, m), x) = (w.clone(), x.clone());
        let ((_, y), gradients) = value_and_grad(loss)(&(p.1, p.2, m, x))?;
        Ok::<_, Error>((y, gradients))
    };
    let two = |(p, c, d): &(Parts, Array, Array), x: &Array| apply(p, x) + c.dot(&d.dot(x));
    vec![
        ("lora_forward", make_jaxpr(apply)(&w, &x)),
        (
            "lora_right",
            make_jaxpr(|(w, a, b): &Parts, x: &Array| x.dot(&w.t()) + x.dot(&b.t()).dot(&a.t()))(
                &w,
                &zeros([n, k]),
            ),
        ),
        (
            "lora_batched",
            make_jaxpr(|(w, a, b): &Parts, x: &Array| x.dot(&w.t()) + x.dot(&b.t()).dot(&a.t()))(
                &w,
                &zeros([4, n, k]),
            ),
        ),
        (
            "lora_vmap",
            make_jaxpr(vmap(apply).in_axes((by_path(|path| (path != "[0]").then_some(0)), 0)))(
                &many,
                &zeros([16, k, n]),
            ),
        ),
        (
            "lora_train",
            make_jaxpr(train)(&(w.clone(), x.clone()), &zeros([m, n])),
        ),
        (
            "lora_scaled",
            make_jaxpr(|(w, a, b): &Parts, x: &Array| {
                w.dot(x) + a.dot(&b.dot(x)) * (16.0 / r as f64)
            })(&w, &x),
        ),
        (
            "lora_chain2",
            make_jaxpr(|(v, w): &(Parts, Parts), x: &Array| apply(v, &apply(w, x)))(
                &(parts(k, m), parts(m, k)),
                &x,
            ),
        ),
        (
            "lora_chain4",
            make_jaxpr(|all: &Vec<Parts>, x: &Array| {
                all.iter().fold(x.clone(), |x, w| apply(w, &x))
            })(
                &vec![parts(m, k), parts(k, m), parts(m, k), parts(k, m)],
                &x,
            ),
        ),
        (
            "lora_sum",
            make_jaxpr(two)(&(w.clone(), zeros([m, r]), zeros([r, k])), &x),
        ),
        (
            "lora_of_lora",
            make_jaxpr(two)(&(w.clone(), zeros([m, r]), zeros([r, k])), &x),
        ),
        (
            "lora_transpose",
            make_jaxpr(|(w, a, b): &Parts, y: &Array| w.t().dot(y) + b.t().dot(&a.t().dot(y)))(
                &w,
                &zeros([m, n]),
            ),
        ),
        (
            "lora_row",
            make_jaxpr(|(w, a, b): &Parts| w.index(0) + a.index(0).dot(b))(&w),
        ),
        (
            "lora_concat",
            make_jaxpr(|all: &Vec<Parts>, x: &Array| {
                let parts: Vec<Array> = all.iter().map(|p| apply(p, x)).collect();
                numpy::concatenate(&parts, 0)
            })(&vec![w.clone(), w.clone(), w.clone()], &x),
        ),
        ("dora_norm", make_jaxpr(norms)(&w)),
        ("dora", make_jaxpr(dora)(&(w.clone(), zeros([m])), &x)),
        (
            "dora_train",
            make_jaxpr(dora_train)(&((w.clone(), zeros([m])), x.clone()), &zeros([m, n])),
        ),
        (
            "qlora",
            make_jaxpr(|(p, scale): &(Parts, Array), x: &Array| {
                let w = p.0.astype(DType::F32) * scale.expand_dims(1);
                apply(&(w, p.1.clone(), p.2.clone()), x)
            })(
                &(
                    (Array::zeros([m, k], DType::I8), w.1.clone(), w.2.clone()),
                    zeros([m]),
                ),
                &x,
            ),
        ),
        (
            "gram",
            make_jaxpr(|(w, a, b): &Parts| {
                let w = w + a.dot(b);
                w.dot(&w.t())
            })(&w),
        ),
        (
            "trace",
            make_jaxpr(|(w, a, b): &Parts| numpy::trace(&(w + a.dot(b)), 0, 0, 1))(&parts(m, m)),
        ),
        (
            "attention_scores",
            make_jaxpr(|(q, k): &(Parts, Parts), x: &Array| apply(q, x).t().dot(&apply(k, x)))(
                &(parts(m, k), parts(m, k)),
                &x,
            ),
        ),
        ("merge_allowed", make_jaxpr(apply)(&w, &zeros([k, 128 * n]))),
        ("transformer6", transformer_by_hand(s, 6, false)),
        ("transformer24", transformer_by_hand(s, 24, true)),
    ]
}

/// What rewriting makes of a program.
struct Line {
    naive: f64,
    extracted: f64,
    optimum: Option<f64>,
    flops: f64,
    peak: f64,
    ms: f64,
    plan: String,
}

fn line(program: &Jaxpr) -> Result<Line> {
    algebra::forget();
    let start = Instant::now();
    algebra::rewritten(program)?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let islands = algebra::plans(program)?;
    if islands.is_empty() {
        return as_it_stands(program, ms);
    }
    // Equal plans are written once.
    let mut plans: Vec<(String, usize)> = vec![];
    for island in &islands {
        let text = island.plan.trim().replace('\n', "; ");
        match plans.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => plans.push((text, 1)),
        }
    }
    let plans: Vec<String> = plans
        .into_iter()
        .map(|(text, count)| match count {
            1 => text,
            _ => format!("{count} × ({text})"),
        })
        .collect();
    let sum =
        |of: fn(&algebra::PlannedIsland) -> f64| islands.iter().map(of).fold(0.0, |a, b| a + b);
    Ok(Line {
        naive: sum(|island| island.cost_as_written),
        extracted: sum(|island| island.cost),
        optimum: algebra::optimum(program)?,
        flops: sum(|island| island.flops),
        peak: islands.iter().map(|i| i.peak_elements).fold(0.0, f64::max),
        ms,
        plan: plans.join(" | "),
    })
}

/// A program in which nothing was found to plan.
fn as_it_stands(program: &Jaxpr, ms: f64) -> Result<Line> {
    let cost = algebra::CostModel::current().estimate(program)?;
    let mut line = Line {
        naive: cost,
        extracted: cost,
        optimum: None,
        flops: 0.0,
        peak: 0.0,
        ms,
        plan: "as written".to_string(),
    };
    for eqn in program.eqns() {
        let size = |shape: &[usize]| shape.iter().map(|n| *n as f64).product::<f64>();
        for result in &eqn.outputs {
            line.peak = line.peak.max(size(&program.aval(*result).shape));
        }
        if let (op::Op::DotGeneral(dot), Some(left), Some(result)) =
            (&eqn.op, eqn.inputs.first(), eqn.outputs.first())
        {
            let summed = &dot.lhs_contract;
            let left = &program.atom_aval(left).shape;
            let summed: f64 = summed.iter().map(|axis| left[*axis] as f64).product();
            line.flops += 2.0 * summed * size(&program.aval(*result).shape);
        }
    }
    Ok(line)
}

fn print(name: &str, s: Shape, line: &Line) {
    let optimum = line
        .optimum
        .map_or("-".to_string(), |cost| format!("{cost:.3}"));
    println!(
        "case={name} shape={},{},{},{} naive={:.3} extracted={:.3} optimum={optimum} flops={} peak_elements={} ms={:.2} plan=\"{}\"",
        s.m, s.k, s.n, s.r, line.naive, line.extracted, line.flops, line.peak, line.ms, line.plan
    );
}

fn report(s: Shape, wanted: &[String]) -> Result<()> {
    let skipped = |name: &str| !wanted.is_empty() && !wanted.iter().any(|w| w == name);
    for (name, program) in cases(s)? {
        if skipped(name) {
            continue;
        }
        let program = program.map_err(|e| e.note(format!("in the case {name}")))?;
        let line = line(&program).map_err(|e| e.note(format!("in the case {name}")))?;
        print(name, s, &line);
        if name.starts_with("transformer") {
            algebra::rewritten(&program)?;
            let start = Instant::now();
            algebra::rewritten(&program)?;
            let ms = start.elapsed().as_secs_f64() * 1e3;
            println!("{name} again, from the memo: {ms:.2} ms");
        }
    }
    for (name, program) in hand_written(s) {
        if skipped("hand_written") && skipped(&format!("hand_written:{name}")) {
            continue;
        }
        let program = program.map_err(|e| e.note(format!("in the case {name}")))?;
        print(&format!("hand_written:{name}"), s, &line(&program)?);
    }
    Ok(())
}

fn main() -> ExitCode {
    let (mut shapes, mut wanted) = (vec![], vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if let Some(name) = argument.strip_prefix("--case") {
            wanted.push(match name {
                "" => arguments.next().unwrap_or_default(),
                _ => name.trim_start_matches('=').to_string(),
            });
            continue;
        }
        let text = match argument.strip_prefix("--shape") {
            Some("") => arguments.next().unwrap_or_default(),
            Some(text) => text.trim_start_matches('=').to_string(),
            None => argument,
        };
        match Shape::parse(&text) {
            Some(shape) => shapes.push(shape),
            None => {
                eprintln!("rewrite_report [--shape M,K,N,R]…: four sizes, found `{text}`");
                return ExitCode::FAILURE;
            }
        }
    }
    if shapes.is_empty() {
        shapes.push(Shape {
            m: 512,
            k: 512,
            n: 64,
            r: 8,
        });
    }
    for shape in shapes {
        if let Err(e) = report(shape, &wanted) {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
