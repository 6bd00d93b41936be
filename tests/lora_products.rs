//! Every product with a LoRA operand comes out factored: any dimension numbers, either side, forward, backward and vmapped.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{ErrorKind, op::DotGeneral, prelude::*};
use rng::{Rng, random_array};

fn lora(r: &mut Rng, shape: &[usize], rank: usize) -> LoraArray {
    let k = shape.len() - 2;
    let with = |n: usize, m: usize| [&shape[..k], &[n, m]].concat();
    let (n, m) = (shape[k], shape[k + 1]);
    LoraArray::from_parts(
        random_array(r, &with(n, m)),
        random_array(r, &with(n, rank)),
        random_array(r, &with(rank, m)),
    )
    .unwrap()
}

fn close(what: &str, a: &Array, b: &Array) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    for (p, q) in x.iter().zip(&y) {
        assert!(
            (p - q).abs() < 1e-9 * (1.0 + q.abs()),
            "{what}: {p} against {q}"
        );
    }
}

/// No array of the program has the shape of the weight, but the weight itself and views of it.
fn forms_no_sum(program: &Jaxpr) -> bool {
    program.eqns().iter().all(|e| {
        !matches!(e.op.name(), "add" | "sub") || {
            let rank = program.aval(e.outputs[0]).ndim();
            rank == 0
                || !e
                    .inputs
                    .iter()
                    .all(|a| a.var().is_some_and(|v| program.invars().contains(&v)))
        }
    })
}

/// Dimension numbers for a weight of rank `n` and another array: which axes are contracted, which are batch axes. One of the
/// matrix's own axes is contracted: a product that keeps both is no contraction with the matrix.
fn dimensions(r: &mut Rng, weight: &[usize]) -> (DotGeneral, Vec<usize>) {
    let mut order: Vec<usize> = (0..weight.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, r.below(i + 1));
    }
    let own = weight.len() - 1 - r.below(2);
    order.retain(|i| *i != own);
    order.insert(0, own);
    let contracted = 1 + r.below(order.len());
    let batch = r.below(order.len() - contracted + 1);
    let (c, rest) = order.split_at(contracted);
    let b = &rest[..batch];
    // The other array: the paired axes and up to two of its own, in any order.
    let mut axes: Vec<(usize, Option<usize>)> =
        c.iter().chain(b).map(|i| (weight[*i], Some(*i))).collect();
    for _ in 0..r.below(3) {
        axes.insert(r.below(axes.len() + 1), (1 + r.below(3), None));
    }
    for i in (1..axes.len()).rev() {
        axes.swap(i, r.below(i + 1));
    }
    let place = |i: &usize| {
        axes.iter()
            .position(|(_, of)| of.as_ref() == Some(i))
            .unwrap()
    };
    let (rc, rb): (Vec<usize>, Vec<usize>) =
        (c.iter().map(place).collect(), b.iter().map(place).collect());
    let dims = DotGeneral::new((c, rc), (b, rb));
    (dims, axes.iter().map(|a| a.0).collect())
}

#[test]
fn products_with_any_dimension_numbers() {
    let mut r = Rng(7);
    for case in 0..120 {
        let shape: Vec<usize> = (0..2 + r.below(3)).map(|_| 2 + r.below(3)).collect();
        let adapter = lora(&mut r, &shape, 2);
        let (dims, other) = dimensions(&mut r, &shape);
        let x = random_array(&mut r, &other);
        let w = Array::from_value(adapter.clone());
        let merged = adapter.materialise().unwrap();
        let left = r.chance(0.5);
        let what = format!("case {case}: {shape:?} with {other:?} by {dims:?}, left {left}");
        let f = move |w: &Array, x: &Array| {
            if left {
                return w.dot_general(x, dims.clone());
            }
            let swapped = DotGeneral::new(
                (&dims.rhs_contract, &dims.lhs_contract),
                (&dims.rhs_batch, &dims.lhs_batch),
            );
            x.dot_general(w, swapped)
        };
        let y = quaxify(&f)(&w, &x).unwrap_or_else(|e| panic!("{what}: {e}"));
        close(&what, &y, &f(&merged, &x));
        let program = quaxify(&f).stages((&w, &x)).unwrap().rewritten;
        assert!(forms_no_sum(&program), "{what}\n{program}");

        let loss = |w: &Array, x: &Array| f(w, x).sin().sum(());
        let g = grad(quaxify(loss))(&w, &x).unwrap_or_else(|e| panic!("{what}, gradient: {e}"));
        let g = g.value::<LoraArray>().unwrap();
        let dense = grad(|l: &(Array, Array, Array), x: &Array| {
            let v = LoraArray::from_parts(l.0.clone(), l.1.clone(), l.2.clone())?;
            Ok(loss(&v.materialise()?, x))
        })(
            &(adapter.w.clone(), adapter.a.clone(), adapter.b.clone()),
            &x,
        )
        .unwrap();
        assert!(
            g.w.is_symbolic_zero(),
            "{what}: a frozen weight has no gradient"
        );
        close(&format!("{what}, da"), &g.a, &dense.1);
        close(&format!("{what}, db"), &g.b, &dense.2);
        let dx = grad(quaxify(|x: &Array, w: &Array| loss(w, x)))(&x, &w).unwrap();
        close(
            &format!("{what}, dx"),
            &dx,
            &grad(|x: &Array| loss(&merged, x))(&x).unwrap(),
        );
    }
}

#[test]
fn batches_of_examples_and_of_adapters() {
    let mut r = Rng(11);
    let adapter = lora(&mut r, &[5, 4], 2);
    let merged = adapter.materialise().unwrap();
    let w = Array::from_value(adapter.clone());
    let xs = random_array(&mut r, &[3, 4]);
    let f = |w: &Array, x: &Array| w.dot(x).tanh();
    let want = vmap(f).in_axes((None, 0))(&merged, &xs).unwrap();
    close(
        "vmap(quaxify)",
        &vmap(quaxify(f)).in_axes((None, 0))(&w, &xs).unwrap(),
        &want,
    );
    close(
        "quaxify(vmap)",
        &quaxify(vmap(f).in_axes((None, 0)))(&w, &xs).unwrap(),
        &want,
    );
    // An adapter for each example, over one base.
    let (a, b) = (
        random_array(&mut r, &[3, 5, 2]),
        random_array(&mut r, &[3, 2, 4]),
    );
    let each = Array::from_value(LoraArray {
        a: a.clone(),
        b: b.clone(),
        ..adapter.clone()
    });
    let mapped = vmap(quaxify(f)).in_axes((by_path(|path| (path != ".w").then_some(0)), 0));
    let got = mapped(&each, &xs).unwrap();
    for k in 0..3 {
        let part = |v: &Array| v.slice_in_dim(k, k + 1, 0).squeeze(0);
        let one = LoraArray {
            a: part(&a),
            b: part(&b),
            ..adapter.clone()
        }
        .materialise()
        .unwrap();
        close("an adapter each", &part(&got), &f(&one, &part(&xs)));
    }
    let per_example =
        vmap(grad(quaxify(|w: &Array, x: &Array| f(w, x).sum(())))).in_axes((None, 0));
    let g = per_example(&w, &xs).unwrap();
    assert_eq!(g.value::<LoraArray>().unwrap().a.shape(), [3, 5, 2]);
}

#[test]
fn both_modes_respect_the_frozen_base() {
    let mut r = Rng(13);
    let adapter = lora(&mut r, &[4, 3], 2);
    let x = random_array(&mut r, &[3]);
    let f = |w: &Array, x: &Array| w.dot(x);
    let (w, t) = (Array::from_value(adapter.clone()), lora(&mut r, &[4, 3], 2));
    let zero = Array::zeros([3], DType::F64);
    let tangent = Array::from_value(t.clone());
    let (_, dy) = jvp(quaxify(f), (&w, &x), (&tangent, &zero)).unwrap();
    // d(w + a·b) = a'·b + a·b' with the base frozen.
    let want = (t.a.dot(&adapter.b) + adapter.a.dot(&t.b)).dot(&x);
    close("frozen", &dy, &want);
    let free = |v: LoraArray| {
        Array::from_value(LoraArray {
            stop_gradient: false,
            ..v
        })
    };
    let (_, dy) = jvp(quaxify(f), (&free(adapter), &x), (&free(t.clone()), &zero)).unwrap();
    close("free", &dy, &(want + t.w.dot(&x)));
}

#[test]
fn what_needs_the_sum_is_refused() {
    let mut r = Rng(17);
    let adapter = lora(&mut r, &[4, 3], 2);
    let w = Array::from_value(adapter.clone());
    type Program = fn(&Array) -> Array;
    let refused: [(&str, Program); 5] = [
        ("sin", |w| w.sin()),
        ("the sum itself", |w| w * 1.0),
        ("a multiple", |w| w * 2.0),
        ("relu", |w| w.maximum(0.0).sum(())),
        ("plus one", |w| (w + 1.0).sin()),
    ];
    for (what, f) in refused {
        let e = quaxify(f)(&w).map(|_| ()).expect_err(what);
        assert_eq!(e.kind(), ErrorKind::Refused, "{what}: {e}");
        let text = e.to_string();
        assert!(
            text.contains("lora[f64[4,3], rank=2]") && text.contains("allow_materialise"),
            "{what}: {text}"
        );
        assert!(
            e.location()
                .is_some_and(|at| at.file().ends_with("lora_products.rs")),
            "{what}: {text}"
        );
    }
    let fine: [(&str, Program); 5] = [
        ("a row", |w| w.slice_in_dim(1, 2, 0).sum(())),
        ("the total", |w| w.sum(())),
        ("column sums", |w| w.sum(0)),
        ("row norms", |w| {
            w.dot_general(w, DotGeneral::new(([1], [1]), ([0], [0])))
        }),
        ("the Gram matrix", |w| w.dot(&w.t())),
    ];
    let merged = adapter.materialise().unwrap();
    for (what, f) in fine.into_iter().skip(1) {
        let y = quaxify(f)(&w).unwrap_or_else(|e| panic!("{what}: {e}"));
        close(what, &y, &f(&merged));
    }
    let allowed = Array::from_value(LoraArray {
        allow_materialise: true,
        ..adapter
    });
    for (what, f) in refused {
        close(what, &quaxify(f)(&allowed).unwrap(), &f(&merged));
    }
}
