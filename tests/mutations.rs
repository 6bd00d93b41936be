//! Every reader on thousands of texts that were right before they were damaged: an error or a program, but no panic, and no
//! memory or time out of proportion.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{io, prelude::*, stablehlo::Module};
use rng::Rng;
use std::time::{Duration, Instant};

const STABLEHLO: &str = r#"module @m attributes {mhlo.num_partitions = 1 : i32} {
  func.func public @main(%arg0: tensor<2x3xf32> loc("x"), %arg1: tensor<2xi32>) -> (tensor<2xf32> {jax.result_info = "r"}) {
    %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32> loc(#loc)
    %c = stablehlo.constant dense<[[1, -2, 3], [4, 5, 6]]> : tensor<2x3xi32>
    %h = stablehlo.constant dense<"0x0000803F00000040"> : tensor<2xf32>
    %z = stablehlo.constant dense<(1.0, 2.0)> : tensor<2xcomplex<f32>>
    %0 = stablehlo.slice %arg0 [0:2, 1:3:1] : (tensor<2x3xf32>) -> tensor<2x2xf32>
    %1 = stablehlo.dot_general %0, %0, batching_dims = [0] x [0], contracting_dims = [1] x [1] : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2xf32>
    %2:2 = stablehlo.while(%i = %cst, %v = %1) : tensor<f32>, tensor<2xf32>
    cond {
      %p = stablehlo.compare LT, %i, %cst, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %p : tensor<i1>
    } do {
      %w = func.call @f(%v) : (tensor<2xf32>) -> tensor<2xf32>
      stablehlo.return %i, %w : tensor<f32>, tensor<2xf32>
    }
    %3 = "stablehlo.gather"(%2#1, %c) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: 1>}> : (tensor<2xf32>, tensor<2x3xi32>) -> tensor<2x3xf32>
    %4 = stablehlo.reduce(%3 init: %cst) across dimensions = [1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
     reducer(%a: tensor<f32>, %b: tensor<f32>)  {
      %5 = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %5 : tensor<f32>
    }
    %6 = stablehlo.convolution(%arg0, %arg0) dim_numbers = [b, f]x[i, o]->[b, f], window = {} {batch_group_count = 1 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    return %4 : tensor<2xf32>
  }
  func.func private @f(%x: tensor<2xf32>) -> tensor<2xf32> {
    %0 = "stablehlo.sort"(%x) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %p = stablehlo.compare LT, %a, %b, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %p : tensor<i1>
    }) : (tensor<2xf32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}
#loc = loc(unknown)
"#;

const JAXPR: &str = "{ lambda a:f32[3]; b:f32[2,3] c:i32[]. let
    d:f32[2,3] = broadcast_in_dim[broadcast_dimensions=(1,)] a
    e:f32[2,3] = mul b d
    f:f32[2] = reduce_sum[axes=(1,) out_sharding=None] e
    g:f32[2] = jit[name=f jaxpr={ lambda ; f:f32[2]. let g:f32[2] = add f -2.5e-05:f32[] in (g,) }] f
    h:f32[2] = cond[
      branches=(
        { lambda ; i:f32[2]. let j:f32[2] = sin i in (j,) }
        { lambda ; k:f32[2]. let l:f32[2] = pad[padding_config=((1, -1, 0),)] k nan:f32[] in (l,) }
      )
    ] c g
    m:f32[1] = gather[
      dimension_numbers=GatherDimensionNumbers(offset_dims=(0,), collapsed_slice_dims=(), start_index_map=(0,), operand_batching_dims=(), start_indices_batching_dims=())
      fill_value=None
      indices_are_sorted=False
      mode=GatherScatterMode.CLIP
      slice_sizes=(1,)
      unique_indices=True
    ] h n
  in (g, h, (1+2j):c64[]) }";

/// Words that mean something to a reader.
const WORDS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    ",",
    ":",
    "=",
    "->",
    "\"",
    "#",
    "%",
    "@",
    "^",
    "!",
    "-",
    "0x",
    "1",
    "99999999999999999999",
    "9223372036854775807",
    "-1",
    "x",
    "tensor<",
    "dense<",
    "array<i64: ",
    "loc(",
    "lambda",
    "let",
    "in",
    "nan",
    "1e999",
    "True",
    "\u{1F980}",
    "stablehlo.",
    "func.func",
    "f32",
    "i1",
    "tuple<",
    "\n",
    "//",
    "// -----",
];

/// The text with a few pieces removed, repeated, exchanged, inserted or cut off.
fn damaged(text: &[u8], r: &mut Rng) -> Vec<u8> {
    let mut t = text.to_vec();
    for _ in 0..=r.below(4) {
        if t.is_empty() {
            break;
        }
        let at = r.below(t.len());
        let length = 1 + r.below(12).min(t.len() - at - 1);
        match r.below(7) {
            0 => drop(t.drain(at..at + length)),
            1 => {
                let piece = t[at..at + length].to_vec();
                let to = r.below(t.len());
                t.splice(to..to, piece);
            }
            2 => {
                let word = WORDS[r.below(WORDS.len())];
                t.splice(at..at, word.bytes());
            }
            3 => {
                let word = WORDS[r.below(WORDS.len())];
                t.splice(at..at + length, word.bytes());
            }
            4 => t.truncate(at),
            5 => t[at] = (r.below(95) + 32) as u8,
            _ => {
                let piece = t[at..at + length].to_vec();
                t.splice(at..at, piece.repeat(1 + r.below(40)));
            }
        }
    }
    t
}

fn survives(name: &str, text: &[u8], count: u64, read: impl Fn(&[u8])) {
    let count = std::env::var("QUAXIDE_MUTATIONS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(count);
    for seed in 1..=count {
        let t = damaged(text, &mut Rng(seed));
        let start = Instant::now();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&t))).is_err();
        let shown = || String::from_utf8_lossy(&t).into_owned();
        assert!(!panicked, "{name}: seed {seed} made it panic:\n{}", shown());
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{name}: seed {seed} took long:\n{}",
            shown()
        );
    }
}

#[test]
fn stablehlo_text() {
    survives("stablehlo", STABLEHLO.as_bytes(), 2000, |t| {
        let text = String::from_utf8_lossy(t);
        if let Ok(m) = Module::parse("m", &text) {
            let _ = m.main();
            let _ = m.checks();
        }
    });
}

#[test]
fn jaxpr_text() {
    survives("jaxpr", JAXPR.as_bytes(), 4000, |t| {
        let text = String::from_utf8_lossy(t);
        if let Ok(j) = text.parse::<Jaxpr>() {
            assert!(!j.to_string().is_empty());
        }
    });
}

#[test]
fn arrays_in_files() {
    let x = Array::from([[1f32, 2.], [3., 4.]]);
    let npy = io::npy_to_bytes(&x).unwrap();
    survives("npy", &npy, 2000, |t| {
        let _ = io::npy_from_bytes(t);
    });
    let file = io::safetensors_to_bytes(&vec![x.clone(), x], &[("format", "pt")]).unwrap();
    survives("safetensors", &file, 2000, |t| {
        let _ = io::safetensors_from_bytes(t);
    });
}
