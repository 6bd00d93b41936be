//! Whole programs, from the trace to the plan.

use super::super::import::islands;
use crate::prelude::*;
use crate::trace::op::Op;

fn ramp(shape: &[usize], step: f64) -> Array {
    let count: usize = shape.iter().product();
    let numbers: Vec<f64> = (0..count).map(|i| (i as f64 * step).sin()).collect();
    Array::from(numbers).reshape(shape)
}

fn lora(n: usize, m: usize, rank: usize) -> LoraArray {
    let parts = (
        ramp(&[n, m], 0.7),
        ramp(&[n, rank], 1.3),
        ramp(&[rank, m], 2.1),
    );
    LoraArray::from_parts(parts.0, parts.1, parts.2).unwrap()
}

/// The shapes that the contractions of a program give.
fn contractions(program: &Jaxpr) -> Vec<Vec<usize>> {
    program
        .eqns()
        .iter()
        .filter(|eqn| matches!(eqn.op, Op::DotGeneral(_)))
        .map(|eqn| program.aval(eqn.outputs[0]).shape.to_vec())
        .collect()
}

fn same(program: &Jaxpr, other: &Jaxpr, args: &[Array]) {
    let (a, b) = (program.eval(args).unwrap(), other.eval(args).unwrap());
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        let (a, b) = (a.to_vec::<f64>().unwrap(), b.to_vec::<f64>().unwrap());
        for (x, y) in a.iter().zip(&b) {
            assert!((x - y).abs() <= 1e-9 * (1.0 + x.abs()), "{x} ≠ {y}");
        }
    }
}

#[test]
fn training_a_linear_forms_no_gradient_of_the_weight() {
    let (n, m, rank, batch) = (40, 30, 3, 20);
    let weight = Array::from_value(lora(n, m, rank));
    let x = ramp(&[batch, m], 0.3);
    let loss = quaxify(|w: &Array, x: &Array| x.dot(&w.t()).tanh().sum(()));
    let program = make_jaxpr(grad(loss))(&weight, &x).unwrap().dce();
    let planned = super::super::rewrite(&program).unwrap();
    let shapes = contractions(&planned);
    assert!(
        !shapes.contains(&vec![n, m]) && !shapes.contains(&vec![m, n]),
        "{planned}"
    );
    // x·wᵀ, x·bᵀ, (xbᵀ)·aᵀ; da from the shared x·bᵀ; aᵀ·g, and db from it.
    assert_eq!(shapes.len(), 6, "{planned}");
    assert!(!planned.to_string().contains("component"));
    let value = lora(n, m, rank);
    same(&program, &planned, &[value.w, value.a, value.b, x]);
}

#[test]
fn layers_are_islands_of_their_own() {
    // Residual layers, forward and backward: what joins them is no island.
    let layers: Vec<Array> = (0..4).map(|_| Array::from_value(lora(16, 16, 2))).collect();
    let x = ramp(&[8, 16], 0.3);
    let network = quaxify(|layers: &Vec<Array>, x: &Array| {
        let mut h = x.clone();
        for w in layers {
            h = &h + &h.tanh().dot(&w.t());
        }
        h.sum(())
    });
    let program = make_jaxpr(grad(network))(&layers, &x).unwrap().dce();
    let islands = islands(&program);
    assert!(
        islands.len() >= 4,
        "{} islands in\n{program}",
        islands.len()
    );
    let planned = super::super::rewrite(&program).unwrap();
    assert!(!contractions(&planned).contains(&vec![16, 16]), "{planned}");
}

#[test]
fn values_within_values_are_factored() {
    let outer = LoraArray {
        w: Array::from_value(lora(12, 10, 2)),
        ..lora(12, 10, 3)
    };
    let weight = Array::from_value(outer.clone());
    let x = ramp(&[10, 5], 0.3);
    let stages = quaxify(|w: &Array, x: &Array| w.dot(x))
        .stages((&weight, &x))
        .unwrap();
    let shapes = contractions(&stages.rewritten);
    assert!(!shapes.contains(&vec![12, 10]), "{}", stages.rewritten);
    assert_eq!(shapes.len(), 5, "{}", stages.rewritten);
    let error = quaxify(|w: &Array| w.tanh())(&weight)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Refused);
}

#[test]
fn a_sum_that_may_be_formed_is_formed_when_that_is_cheaper() {
    let run = |batch: usize| {
        let value = LoraArray {
            allow_materialise: true,
            ..lora(512, 512, 2)
        };
        let x = ramp(&[512, batch], 0.3);
        let weight = Array::from_value(value);
        let program = quaxify(|w: &Array, x: &Array| w.dot(x)).stages((&weight, &x));
        contractions(&program.unwrap().rewritten)
    };
    assert!(!run(1).contains(&vec![512, 512]));
    assert!(run(4_000).contains(&vec![512, 512]));
}

#[test]
fn row_norms_are_computed_from_the_components() {
    let weight = Array::from_value(lora(30, 20, 2));
    let norms = |w: &Array| w.square().sum(1).sqrt();
    let stages = quaxify(norms).stages((&weight,)).unwrap();
    let y = quaxify(norms)(&weight).unwrap();
    let value = lora(30, 20, 2);
    let merged = &value.w + &value.a.dot(&value.b);
    let expected = norms(&merged).to_vec::<f64>().unwrap();
    for (a, b) in y.to_vec::<f64>().unwrap().iter().zip(&expected) {
        assert!((a - b).abs() < 1e-9, "{}", stages.rewritten);
    }
}

#[test]
fn equations_keep_the_place_that_they_stand_for() {
    let weight = Array::from_value(lora(6, 5, 2));
    let x = ramp(&[5], 0.3);
    let stages = quaxify(|w: &Array, x: &Array| w.dot(x))
        .stages((&weight, &x))
        .unwrap();
    for eqn in stages.rewritten.eqns() {
        assert!(
            eqn.at.file().ends_with("programs.rs") || eqn.at.file().ends_with("lora.rs"),
            "{}",
            eqn.at
        );
    }
}

#[test]
fn a_chain_of_matrices_is_reordered_and_the_rest_left_alone() {
    let (a, b, x) = (
        ramp(&[30, 40], 0.3),
        ramp(&[40, 50], 0.7),
        ramp(&[50, 1], 1.1),
    );
    let chain = |a: &Array, b: &Array, x: &Array| a.dot(b).dot(x).tanh();
    let program = make_jaxpr(chain)(&a, &b, &x).unwrap();
    let planned = super::super::rewrite(&program).unwrap();
    assert_eq!(contractions(&planned), [vec![40, 1], vec![30, 1]]);
    same(&program, &planned, &[a.clone(), b.clone(), x.clone()]);

    let plain = |a: &Array, b: &Array, x: &Array| a.tanh().dot(&b.dot(x));
    let program = make_jaxpr(plain)(&a, &b, &x).unwrap();
    let planned = super::super::rewrite(&program).unwrap();
    assert_eq!(program.to_string(), planned.to_string());
}

#[test]
fn plans_explain_themselves() {
    let weight = Array::from_value(lora(6, 5, 2));
    let x = ramp(&[5], 0.3);
    let stages = quaxify(|w: &Array, x: &Array| w.dot(x))
        .stages((&weight, &x))
        .unwrap();
    let plans = super::super::plans(&stages.dispatched);
    assert_eq!(plans.len(), 1);
    assert!(plans[0].written_is_forbidden && plans[0].cost.is_finite());
    let text = plans[0].to_string();
    assert!(
        text.contains("programs.rs") && text.contains("refused as written"),
        "{text}"
    );
}
