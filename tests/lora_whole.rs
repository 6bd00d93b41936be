//! What is linear in a weight is planned around its adapter, whatever the operation: transposes, rows, slices, scales, sums, stacks,
//! convolutions, norms. No plan forms `a·b`.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{
    array::Slice,
    prelude::*,
    rules::{Bcoo, Structured, Terms, Zero},
};
use rng::{Rng, random_array};

const N: usize = 11;
const M: usize = 13;
const RANK: usize = 2;

fn parts(r: &mut Rng, batch: &[usize], n: usize, m: usize, rank: usize) -> LoraArray {
    let with = |own: &[usize]| [batch, own].concat();
    LoraArray::from_parts(
        random_array(r, &with(&[n, m])),
        random_array(r, &with(&[n, rank])),
        random_array(r, &with(&[rank, m])),
    )
    .unwrap()
}

fn close(what: &str, a: &Array, b: &Array) {
    assert_eq!(
        a.aval().unwrap().to_string(),
        b.aval().unwrap().to_string(),
        "{what}"
    );
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    let scale = y.iter().fold(1f64, |m, y| m.max(y.abs()));
    for (p, q) in x.iter().zip(&y) {
        assert!((p - q).abs() < 1e-9 * scale, "{what}: {p} against {q}");
    }
}

/// The factors are not multiplied out: no contraction over the rank gives an array of both sizes of the weight.
fn forms_no_product(what: &str, program: &Jaxpr) {
    for e in program.eqns() {
        let Some(p) = e.op.get::<op::DotGeneral>() else {
            continue;
        };
        let left = program.atom_aval(&e.inputs[0]);
        let over_rank = p.lhs_contract.iter().any(|i| left.shape[*i] == RANK);
        let shape = &program.aval(e.outputs[0]).shape;
        let whole = shape.contains(&N) && shape.contains(&M);
        assert!(!(over_rank && whole), "{what}: {program}");
    }
}

type Program = fn(&Array, &Array, &Array) -> Array;

/// Of a weight `[N, M]`, a vector of `M` and one of `N`.
const PLANNED: &[(&str, Program)] = &[
    ("transpose", |w, _, y| w.t().dot(y)),
    ("a row", |w, _, _| w.index(3)),
    ("the last row", |w, _, _| w.index(-1)),
    ("a column", |w, _, _| w.index((.., 2))),
    ("an element", |w, _, _| w.index((1, 2))),
    ("a row of the transpose", |w, _, _| w.t().index(4)),
    ("a slice of rows", |w, x, _| w.index(2..5).dot(x)),
    ("a slice of rows itself", |w, _, _| w.index(2..5)),
    ("every other row", |w, x, _| w.index(Slice::every(2)).dot(x)),
    ("a window", |w, _, _| w.index((2..4, 1..6))),
    ("backwards", |w, x, _| w.flip([0]).dot(x)),
    ("picked rows", |w, _, _| {
        w.take(&Array::from([3i32, 0, 3]), 0)
    }),
    ("indexed rows", |w, _, _| {
        w.index(&Array::from([[3i64, 0], [1, 1]]))
    }),
    ("picked columns", |w, _, _| {
        w.take(&Array::from([1i32, 12]), 1)
    }),
    ("a row that is computed", |w, x, _| {
        let i = x.argmax(0);
        lax::dynamic_slice(w, &[&i, &Array::scalar(0i32)], [1, M])
    }),
    ("scaled", |w, x, _| (w * 2.0).dot(x)),
    ("scaled by what is computed", |w, x, y| {
        (w * y.sum(())).dot(x)
    }),
    ("divided", |w, x, _| (w / 4.0).dot(x)),
    ("rows scaled", |w, x, y| (w * y.expand_dims(1)).dot(x)),
    ("columns scaled", |w, x, _| (w * x).dot(x)),
    ("negated", |w, x, _| (-w).dot(x)),
    ("single precision", |w, x, _| {
        w.astype(DType::F32)
            .dot(&x.astype(DType::F32))
            .astype(DType::F64)
    }),
    ("lora + dense", |w, x, y| (w + y.expand_dims(1) * x).dot(x)),
    ("lora + lora", |w, x, _| (w + w).dot(x)),
    ("lora - lora", |w, x, _| (w - w * 0.5).dot(x)),
    ("lora + a number", |w, x, _| (w + 3.0).dot(x)),
    ("the sum", |w, _, _| w.sum(())),
    ("sums of rows", |w, _, _| w.sum(1)),
    ("sums of columns", |w, _, _| w.sum(0)),
    ("the mean", |w, _, _| w.mean(())),
    ("the square of the norm", |w, _, _| w.square().sum(())),
    ("squares of the norms of rows", |w, _, _| w.square().sum(1)),
    ("norms of rows", |w, _, _| linalg::vector_norm(w, 2, 1)),
    ("trace", |w, _, _| numpy::trace(w, 0, 0, 1)),
    ("diagonal", |w, _, _| numpy::diagonal(w, 1, 0, 1)),
    ("both sides", |w, x, y| y.dot(&w.dot(x))),
    ("gram", |w, _, _| w.dot(&w.t()).dot(&vector(N))),
    ("reshaped", |w, x, _| w.reshape([1, N, M]).dot(x)),
    ("flattened", |w, x, y| {
        w.ravel().dot(&(y.expand_dims(1) * x).ravel())
    }),
    ("stacked", |w, x, _| {
        numpy::concatenate(&[w, &(w * 2.0)], 0).dot(x)
    }),
    ("stacked beside", |w, x, _| {
        numpy::concatenate(&[w, w], 1).dot(&numpy::concatenate(&[x, x], 0))
    }),
    ("a stack", |w, x, _| numpy::stack(&[w, w], 0).dot(x)),
    ("repeated", |w, x, _| w.broadcast_to([3, N, M]).dot(x)),
    ("einsum", |w, x, y| numpy::einsum("ij,j,i->", &[w, x, y])),
    ("split", |w, x, _| numpy::split(w, 1, 0).unwrap()[0].dot(x)),
    ("stopped", |w, x, _| w.stop_gradient().dot(x)),
    ("masked rows", |w, x, y| {
        y.gt(0.0).expand_dims(1).select(w, 0.0).dot(x)
    }),
];

fn vector(n: usize) -> Array {
    Array::new(
        [n],
        (0..n)
            .map(|i| (i as f64 * 0.7).sin() + 0.1)
            .collect::<Vec<_>>(),
    )
}

#[test]
fn what_is_linear_in_a_weight() {
    let mut r = Rng(1);
    let lora = parts(&mut r, &[], N, M, RANK);
    let merged = lora.merge().unwrap();
    let w = Array::from_value(lora);
    let (x, y) = (vector(M), vector(N));
    let mut bad = vec![];
    for (what, f) in PLANNED {
        let stages = match quaxify(*f).stages((&w, &x, &y)) {
            Ok(s) => s,
            Err(e) => {
                bad.push(format!("{what}: {e}"));
                continue;
            }
        };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            forms_no_product(what, &stages.rewritten);
            let (got, want) = (quaxify(*f)(&w, &x, &y).unwrap(), f(&merged, &x, &y));
            match *what {
                "single precision" => {
                    assert!(
                        got.allclose(&want, 1e-5, 1e-5, false)
                            .item::<bool>()
                            .unwrap()
                    );
                }
                _ => close(what, &got, &want),
            }
        }));
        if caught.is_err() {
            bad.push(format!("{what}"));
            continue;
        }
        let loss = |w: &Array, x: &Array, y: &Array| f(w, x, y).square().sum(());
        let g = match grad(quaxify(loss))(&w, &x, &y) {
            Ok(g) => g,
            Err(e) => {
                bad.push(format!("grad of {what}: {e}"));
                continue;
            }
        };
        let dense = |l: &LoraArray, x: &Array, y: &Array| Ok::<_, Error>(loss(&l.merge()?, x, y));
        let want = grad(dense)(w.value::<LoraArray>().unwrap(), &x, &y).unwrap();
        let g = g.value::<LoraArray>().unwrap();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if *what != "single precision" {
                close(what, &g.a, &want.a);
                close(what, &g.b, &want.b);
            }
        }))
        .is_err()
        {
            bad.push(format!("gradient of {what}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

fn mostly_zero(r: &mut Rng, shape: &[usize]) -> Array {
    let (x, keep) = (random_array(r, shape), random_array(r, shape));
    keep.gt(0.6).select(&x, 0.0)
}

fn plain(x: &Array) -> Array {
    match (
        x.value::<Bcoo>(),
        x.value::<Structured>(),
        x.value::<LoraArray>(),
        x.value::<Terms>(),
    ) {
        (Some(b), ..) => b.to_dense().unwrap(),
        (_, Some(s), ..) => s.to_dense().unwrap(),
        (_, _, Some(l), _) => plain(&l.w) + plain(&l.a).matmul(&plain(&l.b)),
        (.., Some(t)) => t.terms().iter().map(plain).reduce(|x, y| x + y).unwrap(),
        _ => x.clone(),
    }
}

/// A base that is a value keeps what it can do: sparse ones stay sparse, structured ones structured.
#[test]
fn adapters_over_values() {
    let mut r = Rng(2);
    let n = N;
    let sparse = Bcoo::from_dense(&mostly_zero(&mut r, &[n, n]), 0).unwrap();
    let diagonal = Structured::diagonal(&random_array(&mut r, &[n]))
        .unwrap()
        .array();
    let toeplitz = Structured::toeplitz(&random_array(&mut r, &[n]), &random_array(&mut r, &[n]))
        .unwrap()
        .array();
    let (x, y) = (vector(n), vector(n) * 2.0);
    let programs: &[(&str, Program)] = &[
        ("w·x", |w, x, _| w.dot(x)),
        ("y·w", |w, _, y| y.dot(w)),
        ("wᵀ·y", |w, _, y| w.t().dot(y)),
        ("w·c", |w, x, y| w.matmul(&numpy::stack(&[x, y], 1))),
        ("y·w·x", |w, x, y| y.dot(&w.dot(x))),
        ("scaled", |w, x, _| (w * 2.0).dot(x)),
        ("divided", |w, x, _| (w / 2.0).dot(x)),
        ("scaled by what is computed", |w, x, y| {
            (w * y.sum(())).dot(x)
        }),
        ("negated", |w, x, _| (-w).dot(x)),
        ("w + w", |w, x, _| (w + w).dot(x)),
        ("w - w/2", |w, x, _| (w - w * 0.5).dot(x)),
        ("rows", |w, _, _| w.sum(1)),
        ("all", |w, _, _| w.sum(())),
        ("one row", |w, _, _| w.index(3)),
        ("w·w·x", |w, x, _| w.dot(&w.dot(x))),
        ("single precision", |w, x, _| {
            w.astype(DType::F32).dot(&x.astype(DType::F32))
        }),
        ("tanh of the product", |w, x, _| w.dot(x).tanh()),
    ];
    for w in [Array::from_value(sparse.clone()), diagonal, toeplitz] {
        let (a, b) = (random_array(&mut r, &[n, 2]), random_array(&mut r, &[2, n]));
        for frozen in [true, false] {
            let mut lora = LoraArray::from_parts(w.clone(), a.clone(), b.clone()).unwrap();
            lora.stop_gradient = frozen;
            let lora = Array::from_value(lora);
            let dense = plain(&lora);
            for (what, f) in programs {
                let at = format!("{what} of {}", lora.describe());
                let got = quaxify(*f)(&lora, &x, &y).unwrap_or_else(|e| panic!("{at}: {e}"));
                let want = f(&dense, &x, &y);
                if *what == "single precision" {
                    assert!(
                        got.allclose(&want, 1e-4, 1e-4, false)
                            .item::<bool>()
                            .unwrap()
                    );
                } else {
                    close(&at, &got, &want);
                }
                let program = quaxify(*f).stages((&lora, &x, &y)).unwrap().rewritten;
                assert!(!program.to_string().contains("[11,11]"), "{at}: {program}");
                if *what == "single precision" {
                    continue;
                }
                // By the adapter, and by the base's own components if it is not frozen.
                let loss = |w: &Array, x: &Array, y: &Array| f(w, x, y).square().sum(());
                let g = grad(quaxify(loss))(&lora, &x, &y).unwrap_or_else(|e| panic!("{at}: {e}"));
                let g = g.value::<LoraArray>().unwrap().clone();
                let parts = |w: &Array, a: &Array, b: &Array| loss(&(w + a.dot(b)), &x, &y);
                let base = plain(&w);
                close(
                    &at,
                    &g.a,
                    &grad(|a: &Array| parts(&base, a, &b))(&a).unwrap(),
                );
                close(
                    &at,
                    &g.b,
                    &grad(|b: &Array| parts(&base, &a, b))(&b).unwrap(),
                );
                let own = grad(quaxify(|w: &Array| loss(w, &x, &y)))(&w);
                let frozen_base = tree::leaves(&g.w).iter().all(Array::is_symbolic_zero);
                assert_eq!(frozen_base, frozen, "{at}");
                let _ = own;
                let by_x = |x: &Array, w: &Array| loss(w, x, &y);
                let want = grad(|x: &Array| loss(&dense, x, &y))(&x).unwrap();
                close(&at, &grad(quaxify(by_x))(&x, &lora).unwrap(), &want);
                close(&at, &quaxify(grad(by_x))(&x, &lora).unwrap(), &want);
                close(
                    &at,
                    &jit(quaxify(jit(by_x)))(&x, &lora).unwrap(),
                    &by_x(&x, &dense),
                );
            }
        }
    }
    // A batch of right sides, both ways around; and each example with its own adapter over one sparse base.
    let base = Array::from_value(sparse);
    let (a, b) = (
        random_array(&mut r, &[5, n, 2]),
        random_array(&mut r, &[5, 2, n]),
    );
    let xs = random_array(&mut r, &[5, n]);
    let call = |w: &Array, x: &Array| w.dot(x).sin();
    let one = |a: &Array, b: &Array, x: &Array| {
        let lora = LoraArray::from_parts(base.clone(), a.clone(), b.clone())?;
        quaxify(call)(&Array::from_value(lora), x)
    };
    let want =
        vmap(|a: &Array, b: &Array, x: &Array| call(&(plain(&base) + a.dot(b)), x))(&a, &b, &xs);
    close(
        "own adapters",
        &vmap(one)(&a, &b, &xs).unwrap(),
        &want.unwrap(),
    );
    let lora = LoraArray::from_parts(base.clone(), a.index(0), b.index(0)).unwrap();
    let lora = Array::from_value(lora);
    let want = vmap(call).in_axes((None, 0))(&plain(&lora), &xs).unwrap();
    close(
        "inside",
        &vmap(quaxify(call)).in_axes((None, 0))(&lora, &xs).unwrap(),
        &want,
    );
    close(
        "outside",
        &quaxify(vmap(call).in_axes((None, 0)))(&lora, &xs).unwrap(),
        &want,
    );
    // A whole network over sparse weights.
    let explained = quaxify(call)
        .explain((&lora, &xs.index(0)))
        .unwrap()
        .to_string();
    assert!(
        explained.contains("term by term of LoraArray"),
        "{explained}"
    );
}
