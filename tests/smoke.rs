//! The core, end to end on a few primitives.
use quaxide::prelude::*;

fn ramp(shape: &[usize], k: f32) -> Array {
    let n: usize = shape.iter().product();
    Array::new(
        shape,
        (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<_>>(),
    )
}

fn model((w, b): &(Array, Array), x: &Array) -> Array {
    (w.dot(x) + b).tanh()
}

#[test]
fn transformations_nest() {
    let p = (ramp(&[4, 3], 0.7), ramp(&[4], 0.3));
    let xs = ramp(&[5, 3], 0.9);
    let loss = |p: &(Array, Array), x: &Array| model(p, x).square().sum(());
    let g = jit(vmap(grad(loss)).in_axes((None, 0)))(&p, &xs).unwrap();
    assert_eq!(g.0.shape(), [5, 4, 3]);
    let g1 = grad(loss)(
        &p,
        &Array::new(
            [3],
            (0..3).map(|i| (i as f32 * 0.9).sin()).collect::<Vec<_>>(),
        ),
    )
    .unwrap();
    let a = g.0.to_vec::<f32>().unwrap();
    let b = g1.0.to_vec::<f32>().unwrap();
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() < 1e-6, "{x} {y}");
    }
    let h = hessian(|x: &Array| x.sin().sum(()))(&ramp(&[3], 0.5)).unwrap();
    assert_eq!(h.shape(), [3, 3]);
}

#[test]
fn lora_runs() {
    let lora =
        LoraArray::from_parts(ramp(&[4, 3], 0.7), ramp(&[4, 2], 0.2), ramp(&[2, 3], 0.4)).unwrap();
    let w = Array::from_value(lora.clone());
    let merged = lora.materialise().unwrap();
    let x = ramp(&[3], 0.9);
    let f = |w: &Array, x: &Array| w.dot(x).sin().sum(());
    let y = quaxify(f)(&w, &x).unwrap();
    assert!((y.item::<f32>().unwrap() - f(&merged, &x).item::<f32>().unwrap()).abs() < 1e-6);
    let g = grad(quaxify(f))(&w, &x).unwrap();
    let l = g.value::<LoraArray>().unwrap();
    assert!(l.w.is_symbolic_zero() && !l.a.is_symbolic_zero());
    let stages = quaxify(f).stages((&w, &x)).unwrap();
    assert!(
        stages
            .traced
            .to_string()
            .contains("a:lora[f32[4,3], rank=2]")
    );
    let why = quaxify(f).explain((&w, &x)).unwrap().to_string();
    assert!(
        why.contains("smoke.rs") && why.contains("definition of LoraArray"),
        "{why}"
    );
    assert!(jit(|x: &Array| x.sin())(&w).is_err());
}

#[test]
fn a_pullback_keeps_components_and_not_their_sum() {
    let lora =
        LoraArray::from_parts(ramp(&[4, 3], 0.7), ramp(&[4, 2], 0.2), ramp(&[2, 3], 0.4)).unwrap();
    let (w, x) = (Array::from_value(lora.clone()), ramp(&[3], 0.9));
    let f = |w: &Array, x: &Array| w.t().transpose([1, 0]).dot(x).sin();
    let ct = ramp(&[4], 1.1);
    let (_, pullback) = vjp(quaxify(f), (&w, &x)).unwrap();
    let (dw, dx) = pullback(&ct).unwrap();
    let (_, dense) = vjp(f, (&lora.materialise().unwrap(), &x)).unwrap();
    let (dense_w, dense_x) = dense(&ct).unwrap();
    let close = |a: &Array, b: &Array| {
        let (a, b) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
        assert!(
            a.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-5),
            "{a:?} {b:?}"
        );
    };
    close(&dx, &dense_x);
    let dw = dw.value::<LoraArray>().unwrap();
    close(&dw.a, &dense_w.dot(&lora.b.t()));
    close(&dw.b, &lora.a.t().dot(&dense_w));
    assert!(dw.w.is_symbolic_zero());
}
