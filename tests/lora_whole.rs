//! What is linear in a weight is planned around its adapter, whatever the operation: transposes, rows, slices, scales, sums, stacks,
//! convolutions, norms. No plan forms `a·b`.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{
    array::Slice,
    prelude::*,
    rules::{Bcoo, DoraArray, LoraKernel, LoraStart, Structured, Terms, Zero},
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
        w.index(Array::from([[3i64, 0], [1, 1]]))
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
    let w = Array::from_value(lora.clone());
    let (x, y) = (vector(M), vector(N));
    for (what, f) in PLANNED {
        let failed = |e: Error| -> Array { panic!("{what}: {e}") };
        let stages = quaxify(*f)
            .stages((&w, &x, &y))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        forms_no_product(what, &stages.rewritten);
        let got = quaxify(*f)(&w, &x, &y).unwrap_or_else(failed);
        let want = f(&merged, &x, &y);
        let loss = |w: &Array, x: &Array, y: &Array| f(w, x, y).square().sum(());
        let g = grad(quaxify(loss))(&w, &x, &y).unwrap_or_else(failed);
        if *what == "single precision" {
            let near = got.allclose(&want, 1e-5, 1e-5, false);
            assert!(near.item::<bool>().unwrap());
            continue;
        }
        close(what, &got, &want);
        let dense = |l: &LoraArray, x: &Array, y: &Array| Ok::<_, Error>(loss(&l.merge()?, x, y));
        let want = grad(dense)(&lora, &x, &y).unwrap();
        let g = g.value::<LoraArray>().unwrap();
        close(what, &g.a, &want.a);
        close(what, &g.b, &want.b);
    }
    // A part that is most of the weight is not formed as a result.
    assert!(quaxify(|w: &Array| w.index(1..))(&w).is_err());
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
                let frozen_base = tree::leaves(&g.w).iter().all(Array::is_symbolic_zero);
                assert_eq!(frozen_base, frozen, "{at}");
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

#[test]
fn adapters_with_zeros_and_with_each_other() {
    let mut r = Rng(3);
    let (l, m) = (
        parts(&mut r, &[], N, M, RANK),
        parts(&mut r, &[], M, N, RANK),
    );
    let (dense, other) = (l.merge().unwrap(), m.merge().unwrap());
    let (w, v) = (Array::from_value(l), Array::from_value(m));
    let y = vector(N);
    let programs: &[(&str, Program)] = &[
        ("lora·lora", |w, v, y| w.matmul(v).dot(y)),
        ("lora·lora on the left", |w, v, y| y.dot(&w.matmul(v))),
        ("trace of lora·lora", |w, v, _| {
            numpy::trace(&w.matmul(v), 0, 0, 1)
        }),
        ("lora + loraᵀ", |w, v, y| (w.t() + v).dot(y)),
        ("stacked adapters", |w, v, y| {
            numpy::concatenate(&[&w.t(), v], 0).dot(y)
        }),
    ];
    for (what, f) in programs {
        let stages = quaxify(*f)
            .stages((&w, &v, &y))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        forms_no_product(what, &stages.rewritten);
        close(
            what,
            &quaxify(*f)(&w, &v, &y).unwrap(),
            &f(&dense, &other, &y),
        );
    }
    let zero = Zero::new([M, 3], DType::F64);
    let z = quaxify(|w: &Array, z: &Array| w.matmul(z))(&w, &zero).unwrap();
    assert!(z.is_symbolic_zero() && z.shape() == [N, 3]);
    let z = quaxify(|w: &Array, z: &Array| w * z)(&w, &Zero::new([N, M], DType::F64)).unwrap();
    assert!(z.is_symbolic_zero());
    let z = quaxify(|w: &Array, z: &Array| w + z)(&w, &Zero::new([N, M], DType::F64)).unwrap();
    assert!(z.value::<LoraArray>().is_some());
}

#[test]
fn stacks_of_layers_are_scanned_over() {
    let mut r = Rng(4);
    let layers = parts(&mut r, &[4], N, N, RANK);
    let dense = layers.merge().unwrap();
    let (w, x) = (Array::from_value(layers.clone()), vector(N));
    let run = |w: &Array, x: &Array| {
        let (y, ()) = scan(|h: &Array, w: &Array| ((w.dot(h) * 0.3).tanh(), ()), x, w)?;
        Ok::<_, Error>(y)
    };
    close(
        "scan",
        &quaxify(run)(&w, &x).unwrap(),
        &run(&dense, &x).unwrap(),
    );
    let stages = quaxify(run).stages((&w, &x)).unwrap();
    let inside = |program: &Jaxpr| -> Vec<Jaxpr> {
        let all = program.eqns().iter().filter_map(|e| e.op.inner());
        all.flat_map(|i| i.programs())
            .map(|p| (**p).clone())
            .collect()
    };
    let bodies = inside(&stages.rewritten);
    assert_eq!(bodies.len(), 1);
    forms_no_product("scan", &bodies[0]);
    let loss = |w: &Array, x: &Array| Ok::<_, Error>(run(w, x)?.square().sum(()));
    let g = grad(quaxify(loss))(&w, &x).unwrap();
    let want = grad(|l: &LoraArray, x: &Array| loss(&l.merge()?, x))(&layers, &x).unwrap();
    let g = g.value::<LoraArray>().unwrap();
    close("scan", &g.a, &want.a);
    close("scan", &g.b, &want.b);
    assert!(g.w.is_symbolic_zero());
    // Each example of a batch with an adapter of its own over one base.
    let (a, b) = (
        random_array(&mut r, &[5, N, RANK]),
        random_array(&mut r, &[5, RANK, M]),
    );
    let base = random_array(&mut r, &[N, M]);
    let xs = random_array(&mut r, &[5, M]);
    let one = |a: &Array, b: &Array, x: &Array| {
        let lora = LoraArray::from_parts(base.clone(), a.clone(), b.clone())?;
        quaxify(|w: &Array, x: &Array| w.dot(x))(&Array::from_value(lora), x)
    };
    let want = vmap(|a: &Array, b: &Array, x: &Array| (&base + a.dot(b)).dot(x))(&a, &b, &xs);
    close(
        "own adapters",
        &vmap(one)(&a, &b, &xs).unwrap(),
        &want.unwrap(),
    );
    let program = make_jaxpr(vmap(one))(&a, &b, &xs).unwrap();
    let planned = quaxide::rules::algebra::rewritten(&program).unwrap();
    forms_no_product("own adapters", &planned);
}

#[test]
fn scalings_starts_and_merging() {
    let w = random::normal(&random::key(0), ([N, M], DType::F64));
    let key = random::key(1);
    let of = |config: LoraConfig| LoraArray::new(&w, &config, &key).unwrap();
    assert_eq!(of(LoraConfig::rank(4)).scaling, 1.0);
    assert_eq!(of(LoraConfig::rank(4).alpha(16.0)).scaling, 4.0);
    assert_eq!(
        of(LoraConfig::rank(4).alpha(16.0).rank_stabilised(true)).scaling,
        8.0
    );
    assert!(LoraArray::new(&w, &LoraConfig::rank(4).alpha(f64::NAN), &key).is_err());
    let x = vector(M);
    let dot = |w: &Array, x: &Array| w.dot(x);
    // A scaled update, planned as ever.
    let mut r = Rng(5);
    let mut lora = of(LoraConfig::rank(RANK).alpha(16.0));
    lora.b = random_array(&mut r, &[RANK, M]);
    let whole = &w + lora.a.dot(&lora.b) * 8.0;
    close("merge", &lora.merge().unwrap(), &whole);
    let value = Array::from_value(lora.clone());
    close("scaled", &quaxify(dot)(&value, &x).unwrap(), &whole.dot(&x));
    forms_no_product(
        "scaled",
        &quaxify(dot).stages((&value, &x)).unwrap().rewritten,
    );
    let g = grad(quaxify(|w: &Array, x: &Array| w.dot(x).square().sum(())))(&value, &x).unwrap();
    let want = grad(|b: &Array| (&w + lora.a.dot(b) * 8.0).dot(&x).square().sum(()))(&lora.b);
    close(
        "gradient",
        &g.value::<LoraArray>().unwrap().b,
        &want.unwrap(),
    );
    // Merged, and taken apart again.
    let back = lora.unmerge(&lora.merge().unwrap()).unwrap();
    close("unmerge", &back.w, &w);
    assert!(lora.unmerge(&w.t()).is_err());
    // Starts: none changes what the weight is, but those from singular vectors hold what matters most of it.
    for start in [LoraStart::Normal, LoraStart::Uniform, LoraStart::Pissa] {
        let lora = of(LoraConfig::rank(3).alpha(6.0).start(start));
        assert!(
            lora.merge()
                .unwrap()
                .allclose(&w, 1e-12, 1e-12, false)
                .item::<bool>()
                .unwrap()
        );
        if start == LoraStart::Pissa {
            let [u, s, vh] = linalg::svd(&w, false).unwrap();
            let best =
                (u.slice_in_dim(0, 3, 1) * s.slice_in_dim(0, 3, 0)).dot(&vh.slice_in_dim(0, 3, 0));
            close("pissa", &(lora.a.dot(&lora.b) * lora.scaling), &best);
            close("pissa", &(&w - best), &lora.w);
        }
    }
    let stacked = random::normal(&key, ([2, 5, 4], DType::F32));
    let config = LoraConfig::rank(2).start(LoraStart::Pissa);
    let lora = LoraArray::new(&stacked, &config, &key).unwrap();
    assert!(
        lora.merge()
            .unwrap()
            .allclose(&stacked, 1e-5, 1e-5, false)
            .item::<bool>()
            .unwrap()
    );
    // Several adapters over one base.
    let (mut one, mut two) = (of(LoraConfig::rank(2)), of(LoraConfig::rank(3).alpha(6.0)));
    one.b = random_array(&mut r, &[2, M]);
    two.b = random_array(&mut r, &[3, M]);
    let both = LoraArray::combine(&[(&one, 0.25), (&two, -1.0)]).unwrap();
    let want = &w + one.a.dot(&one.b) * 0.25 - two.a.dot(&two.b) * 2.0;
    close("combined", &both.merge().unwrap(), &want);
    let e = LoraArray::combine(&[(&one, 1.0), (&back, 1.0)]).unwrap_err();
    assert!(e.message().contains("share their base"), "{e}");
    assert!(LoraArray::combine(&[]).is_err());
}

#[test]
fn magnitude_and_direction() {
    let mut r = Rng(6);
    let direction = parts(&mut r, &[], N, M, RANK);
    let magnitude = random_array(&mut r, &[N]);
    let mut dora = DoraArray::from_parts(magnitude.clone(), direction.clone()).unwrap();
    let (x, y) = (vector(M), vector(N));
    for norm_gradient in [false, true] {
        dora.norm_gradient = norm_gradient;
        let value = Array::from_value(dora.clone());
        let whole = |magnitude: &Array, a: &Array, b: &Array| {
            let sum = &direction.w + a.dot(b);
            let norm = sum.square().sum(1).sqrt();
            let norm = if norm_gradient {
                norm
            } else {
                norm.stop_gradient()
            };
            (magnitude / norm).expand_dims(1) * sum
        };
        let dense = whole(&magnitude, &direction.a, &direction.b);
        close("merge", &dora.merge().unwrap(), &dense);
        let many = random_array(&mut r, &[M, 400]);
        let programs: &[(&str, Program)] = &[
            ("w·x", |w, x, _| w.dot(x)),
            ("wᵀ·y", |w, _, y| w.t().dot(y)),
            ("a row", |w, _, _| w.index(2)),
            ("scaled", |w, x, _| (w * 2.0).dot(x)),
            ("rows", |w, _, _| w.sum(1)),
        ];
        for (what, f) in programs {
            let stages = quaxify(*f)
                .stages((&value, &x, &y))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            forms_no_product(what, &stages.rewritten);
            close(
                what,
                &quaxify(*f)(&value, &x, &y).unwrap(),
                &f(&dense, &x, &y),
            );
            let loss = |w: &Array, x: &Array, y: &Array| f(w, x, y).square().sum(());
            let g = grad(quaxify(loss))(&value, &x, &y).unwrap_or_else(|e| panic!("{what}: {e}"));
            let g = g.value::<DoraArray>().unwrap();
            let of = |m: &Array, a: &Array, b: &Array| loss(&whole(m, a, b), &x, &y);
            let (m, d) = (&magnitude, &direction);
            close(
                what,
                &g.magnitude,
                &grad(|m: &Array| of(m, &d.a, &d.b))(m).unwrap(),
            );
            close(
                what,
                &g.direction.a,
                &grad(|a: &Array| of(m, a, &d.b))(&d.a).unwrap(),
            );
            close(
                what,
                &g.direction.b,
                &grad(|b: &Array| of(m, &d.a, b))(&d.b).unwrap(),
            );
            assert!(g.direction.w.is_symbolic_zero());
        }
        // Not even where it would be cheaper.
        let f = |w: &Array, x: &Array| w.dot(x);
        let program = quaxify(f).stages((&value, &many)).unwrap().rewritten;
        forms_no_product("many", &program);
        close(
            "many",
            &quaxify(f)(&value, &many).unwrap(),
            &dense.dot(&many),
        );
        let e = quaxify(|w: &Array| w.sin())(&value).unwrap_err();
        assert!(e.message().contains("dora[f64[11,13], rank=2]"), "{e}");
    }
    let batch = random_array(&mut r, &[4, M]);
    let f = |w: &Array, x: &Array| w.dot(x).tanh();
    let value = Array::from_value(dora.clone());
    let want = vmap(f).in_axes((None, 0))(&dora.merge().unwrap(), &batch).unwrap();
    close(
        "vmap",
        &vmap(quaxify(f)).in_axes((None, 0))(&value, &batch).unwrap(),
        &want,
    );
    close(
        "vmap",
        &quaxify(vmap(f).in_axes((None, 0)))(&value, &batch).unwrap(),
        &want,
    );
    assert!(DoraArray::from_parts(vector(M), direction).is_err());
}

#[test]
fn kernels_of_convolutions() {
    let mut r = Rng(7);
    let configs = [
        (nn::ConvConfig::<2>::new(4, 6, 3), vec![4usize, 9, 8]),
        (
            nn::ConvConfig::<2>::new(4, 6, [3, 2]).stride(2).padding(1),
            vec![4, 9, 8],
        ),
        (
            nn::ConvConfig::<2>::new(4, 6, 3).dilation(2).groups(2),
            vec![4, 9, 8],
        ),
    ];
    for (config, shape) in configs {
        let conv = config.init(&random::key(0));
        let w = conv.weight.astype(DType::F64);
        let kernel = w.shape().to_vec();
        let (out, rank) = (kernel[0], 2);
        let a = random_array(&mut r, &[out, rank]);
        let b = random_array(&mut r, &[&[rank], &kernel[1..]].concat());
        let mut value = LoraKernel::from_parts(w.clone(), a.clone(), b.clone()).unwrap();
        value.scaling = 0.5;
        let dense = value.merge().unwrap();
        let x = random_array(&mut r, &shape);
        let with = |w: &Array| {
            let mut conv = conv.clone();
            conv.weight = w.clone();
            conv.bias = conv.bias.map(|b| b.astype(DType::F64));
            conv
        };
        let call = |w: &Array, x: &Array| with(w).call(x).tanh();
        let lora = Array::from_value(value);
        close(
            "conv",
            &quaxify(call)(&lora, &x).unwrap(),
            &call(&dense, &x),
        );
        let program = quaxify(call).stages((&lora, &x)).unwrap().rewritten;
        let convolutions = |p: &Jaxpr| {
            p.eqns()
                .iter()
                .filter(|e| e.op.name() == "conv_general_dilated")
                .count()
        };
        assert_eq!(convolutions(&program), 3, "{program}");
        assert!(
            !program.eqns().iter().any(|e| e.op.name() == "dot_general"),
            "{program}"
        );
        let loss = |w: &Array, x: &Array| call(w, x).square().sum(());
        let g = grad(quaxify(loss))(&lora, &x).unwrap();
        let g = g.value::<LoraKernel>().unwrap();
        let whole = |a: &Array, b: &Array| {
            let update = a.dot_general(b, op::DotGeneral::new(([1], [0]), ((), ())));
            loss(&(&w + update * 0.5), &x)
        };
        close("a", &g.a, &grad(|a: &Array| whole(a, &b))(&a).unwrap());
        close("b", &g.b, &grad(|b: &Array| whole(&a, b))(&b).unwrap());
        assert!(g.w.is_symbolic_zero());
        let by_x = |x: &Array, w: &Array| loss(w, x);
        let want = grad(by_x)(&x, &dense).unwrap();
        close("x", &grad(quaxify(by_x))(&x, &lora).unwrap(), &want);
        if kernel[1] == 4 {
            close("x", &quaxify(grad(by_x))(&x, &lora).unwrap(), &want);
        }
        let xs = numpy::stack(&[&x, &(&x * 2.0)], 0);
        let want = vmap(call).in_axes((None, 0))(&dense, &xs).unwrap();
        close(
            "vmap",
            &vmap(quaxify(call)).in_axes((None, 0))(&lora, &xs).unwrap(),
            &want,
        );
        close(
            "vmap",
            &quaxify(vmap(call).in_axes((None, 0)))(&lora, &xs).unwrap(),
            &want,
        );
        assert!(quaxify(|w: &Array| w.exp())(&lora).is_err());
        close(
            "sum",
            &quaxify(|w: &Array| w.sum(()))(&lora).unwrap(),
            &dense.sum(()),
        );
    }
    assert!(LoraKernel::from_parts(vector(3), vector(3), vector(3)).is_err());
}

/// A whole model: kernels of convolutions, linear layers with magnitudes, merged and picked out.
#[test]
fn models_are_adapted() {
    #[derive(Clone, PyTree)]
    struct Model {
        conv: nn::Conv1d,
        linear: nn::Linear,
    }
    let model = Model {
        conv: nn::Conv1d::new(2, 3, 3, &random::key(0)),
        linear: nn::Linear::new(9, 4, &random::key(1)),
    };
    let run = |m: &Model, x: &Array| m.linear.call(&m.conv.call(x).ravel());
    let x = random::normal(&random::key(2), [2, 5]);
    let config = LoraConfig::rank(2)
        .alpha(4.0)
        .convolutions(true)
        .decomposed(true);
    let lora = loraify(&model, config, &random::key(3)).unwrap();
    assert!(lora.conv.weight.value::<LoraKernel>().is_some());
    assert!(lora.linear.weight.value::<DoraArray>().is_some());
    let y = quaxify(run)(&lora, &x).unwrap();
    assert!(
        y.allclose(run(&model, &x), 1e-5, 1e-5, false)
            .item::<bool>()
            .unwrap()
    );
    let part = adapters(&lora);
    assert_eq!(tree::leaves(&part).len(), 2 + 3);
    let merged = unloraify(&lora).unwrap();
    assert!(merged.linear.weight.value::<DoraArray>().is_none());
    let y = run(&merged, &x);
    assert!(
        y.allclose(run(&model, &x), 1e-5, 1e-5, false)
            .item::<bool>()
            .unwrap()
    );
    let loss = |m: &Model, x: &Array| run(m, x).square().sum(());
    let g = grad(quaxify(loss))(&lora, &x).unwrap();
    let d = g.linear.weight.value::<DoraArray>().unwrap();
    assert!(d.direction.w.is_symbolic_zero() && !d.magnitude.is_symbolic_zero());
}
