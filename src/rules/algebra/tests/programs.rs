//! Whole programs, from the trace to the plan.

use super::super::import::islands;
use super::super::report::{explained, plans, rewritten};
use crate::prelude::*;
use crate::rules::algebra::Options;
use crate::trace::op::Op;
use crate::trace::passes::{CSE, DCE};

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
    let islands = islands(&program).unwrap();
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
    let plans = super::super::plans(&stages.dispatched).unwrap();
    assert_eq!(plans.len(), 1);
    assert!(plans[0].written_is_forbidden && plans[0].cost.is_finite());
    let text = plans[0].to_string();
    assert!(
        text.contains("programs.rs") && text.contains("refused as written"),
        "{text}"
    );
}

/// What a program gives on values, with no sum formed, and what it gives on the arrays that they equal.
fn factored(f: fn(&Array, &Array) -> Array, value: LoraArray, x: &Array) -> Vec<Vec<usize>> {
    let value = LoraArray {
        stop_gradient: false,
        ..value
    };
    let merged = &value.w + &value.a.dot(&value.b);
    let shape = merged.shape().to_vec();
    let weight = Array::from_value(value.clone());
    let stages = quaxify(f).stages((&weight, x)).unwrap();
    let y = quaxify(f)(&weight, x).unwrap();
    let expected = f(&merged, x);
    assert_eq!(y.shape(), expected.shape());
    let (y, expected) = (
        y.to_vec::<f64>().unwrap(),
        expected.to_vec::<f64>().unwrap(),
    );
    for (a, b) in y.iter().zip(&expected) {
        assert!(
            (a - b).abs() <= 1e-9 * (1.0 + b.abs()),
            "{a} ≠ {b}: {}",
            stages.rewritten
        );
    }
    let size: usize = shape.iter().product();
    for eqn in stages.rewritten.eqns() {
        let made = matches!(eqn.op, Op::DotGeneral(_) | Op::Binary(_));
        let formed = stages.rewritten.aval(eqn.outputs[0]).size();
        assert!(!made || formed < size, "{}", stages.rewritten);
    }
    // And so are the gradients of its components.
    let loss = quaxify(|w: &Array, x: &Array| f(w, x).tanh().sum(()));
    let gradient = grad(loss)(&weight, x).unwrap();
    let gradient: &LoraArray = gradient.value().unwrap();
    let plain =
        |(w, a, b): &(Array, Array, Array), x: &Array| f(&(w + &a.dot(b)), x).tanh().sum(());
    let parts = (value.w.clone(), value.a.clone(), value.b.clone());
    let expected = grad(plain)(&parts, x).unwrap();
    for (found, expected) in [
        (&gradient.w, &expected.0),
        (&gradient.a, &expected.1),
        (&gradient.b, &expected.2),
    ] {
        let (found, expected) = (
            found.to_vec::<f64>().unwrap(),
            expected.to_vec::<f64>().unwrap(),
        );
        for (a, b) in found.iter().zip(&expected) {
            assert!(
                (a - b).abs() <= 1e-9 * (1.0 + b.abs()),
                "{a} ≠ {b} in a gradient"
            );
        }
    }
    contractions(&stages.rewritten)
}

#[test]
fn rows_and_slices_of_a_value_are_made_of_those_of_its_components() {
    let row = factored(|w, _| w.index(3), lora(12, 10, 2), &ramp(&[1], 0.1));
    assert_eq!(row, [vec![10, 1]]);
    factored(
        |w, x| w.index((2..5, ..)).dot(x),
        lora(12, 10, 2),
        &ramp(&[10, 3], 0.1),
    );
    factored(
        |w, x| w.index((.., 2..7)).dot(x),
        lora(12, 10, 2),
        &ramp(&[5], 0.1),
    );
    factored(
        |w, x| w.index((Slice::new(1, 11, 3), ..)).dot(x),
        lora(12, 10, 2),
        &ramp(&[10], 0.1),
    );
    factored(|w, x| w.flip(0).dot(x), lora(12, 10, 2), &ramp(&[10], 0.1));
}

#[test]
fn rows_are_picked_from_the_components() {
    let rows = |w: &Array, _: &Array| w.index(Array::from([3i32, 0, 3, 7]));
    let shapes = factored(rows, lora(12, 10, 2), &ramp(&[1], 0.1));
    assert_eq!(shapes, [vec![4, 10]]);
    // One row, whose gradient is a row of ones.
    let value = lora(12, 10, 2);
    let sum = |w: &Array| w.index(Array::from([3i32])).sum(());
    let weight = Array::from_value(value.clone());
    let gradient = grad(quaxify(sum))(&weight).unwrap();
    let plain = |(a, b): &(Array, Array)| sum(&(&value.w + &a.dot(b)));
    let expected = grad(plain)(&(value.a.clone(), value.b.clone())).unwrap();
    let found = &gradient.value::<LoraArray>().unwrap().a;
    let (a, b) = (
        found.to_vec::<f64>().unwrap(),
        expected.0.to_vec::<f64>().unwrap(),
    );
    assert!(
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9),
        "{a:?} {b:?}"
    );
    let scores = |w: &Array, x: &Array| w.index(Array::from([3i32, 0, 3, 7])).dot(x);
    factored(scores, lora(12, 10, 2), &ramp(&[10, 2], 0.1));
}

#[test]
fn windows_at_computed_places_are_cut_from_the_components() {
    use crate::lax;
    // One axis, both, and more than there is room for; forward and in the gradients of the components.
    factored(
        |w, x| lax::dynamic_slice_in_dim(w, x.index(0).astype(DType::I32), 3, 0),
        lora(12, 10, 2),
        &ramp(&[2], 40.0),
    );
    factored(
        |w, x| {
            let at = x.index((0, 0)).astype(DType::I32) * 20;
            lax::dynamic_slice_in_dim(w, at, 4, 1).dot(&x.index((..4, ..)))
        },
        lora(12, 10, 2),
        &ramp(&[10, 3], 1.1),
    );
    let both = |w: &Array, x: &Array| {
        let at = x.astype(DType::I32);
        lax::dynamic_slice(w, &[&at.index(0), &at.index(1)], [5, 3])
    };
    factored(both, lora(12, 10, 2), &(ramp(&[2], 0.4) * 7.0));
    let tail = |w: &Array, x: &Array| {
        let at = x.index(0).astype(DType::I32);
        lax::dynamic_slice(w, &[&at, &Array::scalar(4i32)], [5, 3]).dot(&x.index(..3))
    };
    factored(tail, lora(12, 10, 2), &(ramp(&[4], 0.9) + 2.5));
}

#[test]
fn diagonals_and_traces_are_those_of_the_components() {
    let of = |w: &Array, _: &Array| numpy::trace(w, 0, 0, 1);
    factored(of, lora(10, 10, 2), &ramp(&[1], 0.1));
    let second = |w: &Array, x: &Array| numpy::diagonal(w, 1, 0, 1) * x;
    factored(second, lora(10, 10, 2), &ramp(&[9], 0.1));
}

#[test]
fn reshaped_values_are_taken_apart_into_the_same_axes() {
    let heads = |w: &Array, x: &Array| {
        let split = w.reshape([3, 4, 10]);
        let y = split.reshape([12, 10]).dot(x).reshape([3, 4, 2]);
        y.transpose([1, 0, 2])
    };
    factored(heads, lora(12, 10, 2), &ramp(&[10, 2], 0.1));
    let packed = |w: &Array, x: &Array| {
        let y = x.dot(&w.t()).reshape([2, 3, 2, 2]);
        y.index((.., 0)) + y.index((.., 2))
    };
    factored(packed, lora(12, 10, 2), &ramp(&[2, 10], 0.1));
    let flat = |w: &Array, x: &Array| w.reshape([120]).dot(x);
    factored(flat, lora(12, 10, 2), &ramp(&[120], 0.1));
}

#[test]
fn concatenated_values_are_direct_sums() {
    let packed = |w: &Array, x: &Array| {
        let all = numpy::concatenate(&[w, &w.flip(0)], 0);
        let y = all.dot(x);
        y.index((12..24, ..)).tanh() + y.index((0..12, ..))
    };
    factored(packed, lora(12, 10, 2), &ramp(&[10, 2], 0.1));
    let wide = |w: &Array, x: &Array| numpy::concatenate(&[w, w], 1).dot(x);
    factored(wide, lora(12, 10, 2), &ramp(&[20, 2], 0.1));
}

#[test]
fn a_value_is_converted_part_by_part() {
    let half = |w: &Array, x: &Array| {
        let y = w.astype(DType::F32).dot(&x.astype(DType::F32));
        y.astype(DType::F64)
    };
    let value = lora(12, 10, 2);
    let weight = Array::from_value(value.clone());
    let x = ramp(&[10, 2], 0.1);
    let stages = quaxify(half).stages((&weight, &x)).unwrap();
    assert!(!contractions(&stages.rewritten).contains(&vec![12, 10]));
    let y = quaxify(half)(&weight, &x).unwrap().to_vec::<f64>().unwrap();
    let expected = (&value.w + &value.a.dot(&value.b))
        .dot(&x)
        .to_vec::<f64>()
        .unwrap();
    for (a, b) in y.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{}", stages.rewritten);
    }
}

#[test]
fn plans_and_graphs_can_be_read() {
    let weight = Array::from_value(lora(6, 5, 2));
    let x = ramp(&[5], 0.3);
    let f = quaxify(|w: &Array, x: &Array| w.dot(x));
    let text = f.explain((&weight, &x)).unwrap().to_string();
    assert!(text.contains("µs planned") && text.contains("t4"), "{text}");
    let program = make_jaxpr(f)(&weight, &x).unwrap();
    let graphs = super::super::egraphs(&program).unwrap();
    let graph = graphs.first().unwrap();
    let chosen = graph.classes.iter().filter(|class| class.is_chosen);
    assert!(chosen.count() >= 6);
    let (dot, html) = (graph.dot(), graph.html());
    assert!(dot.starts_with("digraph") && dot.matches("subgraph").count() == graph.classes.len());
    assert!(html.contains("\"classes\":[") && html.ends_with("</html>\n"));
    assert!(
        text.contains("beats: as written") && text.contains("by lower: t"),
        "{text}"
    );
    // What is refused says so in the place of the plan.
    let refused = quaxify(|w: &Array| w.tanh());
    let text = refused.explain((&weight,)).unwrap().to_string();
    assert!(text.contains("refusing to materialise"), "{text}");
}

#[test]
fn a_definition_that_forms_the_array_itself_is_refused() {
    #[derive(Clone, PyTree)]
    struct Squashed(Array, Array);
    impl ArrayValue for Squashed {
        fn aval(&self) -> Result<Aval> {
            self.0.aval()
        }
        fn materialise(&self) -> Result<Array> {
            Ok((&self.0 + &self.1).tanh())
        }
        fn may_materialise(&self) -> bool {
            false
        }
    }
    let value = Array::from_value(Squashed(ramp(&[4, 4], 0.1), ramp(&[4, 4], 0.2)));
    let x = ramp(&[4], 0.3);
    let error = quaxify(|w: &Array, x: &Array| w.dot(x))(&value, &x)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Refused);
    assert!(error.to_string().contains("`tanh`"), "{error}");
}

/// `m·(w + a·b)/‖w + a·b‖`, the norm being that of the rows; the base is frozen.
#[derive(Clone, PyTree)]
struct Dora {
    w: Array,
    a: Array,
    b: Array,
    m: Array,
}

impl ArrayValue for Dora {
    fn aval(&self) -> Result<Aval> {
        self.w.aval()
    }
    fn materialise(&self) -> Result<Array> {
        let v = self.w.stop_gradient() + self.a.dot(&self.b);
        let scale = &self.m / v.square().sum(1).sqrt();
        Ok(scale.expand_dims(1) * v)
    }
    fn may_materialise(&self) -> bool {
        false
    }
}

#[test]
fn training_with_norms_forms_no_gradient_of_the_weight() {
    let (n, m, rank, batch) = (512, 512, 8, 64);
    let zeros = |shape: [usize; 2]| Array::zeros(shape, DType::F32);
    let dora = Array::from_value(Dora {
        w: zeros([n, m]),
        a: zeros([n, rank]),
        b: zeros([rank, m]),
        m: Array::zeros([n], DType::F32),
    });
    let train = |w: &Array, x: &Array, g: &Array| {
        let g = g.clone();
        let loss = quaxify(move |(w, x): &(Array, Array)| (w.dot(x) * &g).sum(()));
        value_and_grad(loss)(&(w.clone(), x.clone()))
    };
    let program = make_jaxpr(train)(&dora, &zeros([m, batch]), &zeros([n, batch])).unwrap();
    let [island] = plans(&program).unwrap().try_into().unwrap();
    assert!(island.cost <= island.cost_as_written, "{island}");
    // The squares of `w` alone are as large as a weight, and they are added up as they are made.
    assert!(island.peak_elements < (n * m) as f64, "{island}");
}

#[test]
fn residuals_are_kept_or_computed_again_as_their_price_says() {
    let (n, m, rank, batch) = (40, 30, 3, 20);
    let weight = Array::from_value(lora(n, m, rank));
    let x = ramp(&[batch, m], 0.3);
    let loss = quaxify(|w: &Array, x: &Array| x.dot(&w.t()).tanh().sum(()));
    let program = make_jaxpr(grad(loss))(&weight, &x).unwrap().dce();
    let planned = |price: f64| {
        let options = Options::new().residual_price(price);
        options.scope(|| super::super::rewrite(&program)).unwrap()
    };
    // x·bᵀ is needed for the result, and again for the gradient of a.
    let times = |program: &Jaxpr| {
        let shape = vec![batch, rank];
        let like = |s: &&Vec<usize>| **s == shape || **s == [rank, batch];
        contractions(program).iter().filter(like).count()
    };
    let (kept, again) = (planned(0.0), planned(1e6));
    assert_eq!((times(&kept), times(&again)), (2, 3), "{kept}\n{again}");
    let shared = again.clone().through(&[CSE, DCE]).unwrap();
    assert_eq!(times(&shared), 3, "{shared}");
    // It is computed where it is needed: after what comes back is there.
    let position = |name: &str| again.eqns().iter().rposition(|eqn| eqn.op.name() == name);
    assert!(
        position("optimization_barrier") > position("tanh"),
        "{again}"
    );
    let value = lora(n, m, rank);
    let inputs = [value.w, value.a, value.b, x];
    same(&program, &again, &inputs);
    same(&kept, &again, &inputs);
}

#[test]
fn a_refusal_says_what_was_tried_and_what_it_would_have_cost() {
    let weight = Array::from_value(lora(64, 48, 2));
    let f = quaxify(|w: &Array, x: &Array| (w.dot(x), w.tanh()));
    let program = make_jaxpr(f)(&weight, &ramp(&[48, 8], 0.3)).unwrap();
    let islands = explained(&program).unwrap();
    let island = islands
        .iter()
        .find(|island| !island.cost.is_finite())
        .unwrap();
    let text = island.to_string();
    assert!(
        island.cost_as_written > 0.0 && text.contains("would run: as written, "),
        "{text}"
    );
    assert!(text.contains("refusing to materialise lora["), "{text}");
    assert!(text.contains("  tried distribute, "), "{text}");
}

#[test]
fn a_trace_of_what_may_be_formed_is_that_of_its_terms() {
    let f = |w: &Array, a: &Array, b: &Array| numpy::trace(&(w + a.dot(b)), 0, 0, 1);
    let inputs = [
        ramp(&[64, 64], 0.1),
        ramp(&[64, 4], 0.7),
        ramp(&[4, 64], 0.3),
    ];
    let program = make_jaxpr(f)(&inputs[0], &inputs[1], &inputs[2]).unwrap();
    let planned = rewritten(&program).unwrap();
    let [island] = plans(&program).unwrap().try_into().unwrap();
    assert!(island.cost < 0.5 * island.cost_as_written, "{island}");
    assert!(!contractions(&planned).contains(&vec![64, 64]), "{planned}");
    same(&program, &planned, &inputs);
}
