//! LoRA against Quax: outputs, gradients both ways round, and tangents, for the same weights.

mod support;

use quaxide::prelude::*;
use support::golden::{EXACT, F32, Golden};

/// An ordinary layer, as a user writes one.
#[derive(Clone, PyTree)]
struct Linear {
    weight: Array,
    bias: Option<Array>,
}

impl Linear {
    /// Reads a layer whose weight is a LoRA array from under `prefix`.
    fn read(file: &Golden, prefix: &str, stop_gradient: bool) -> Linear {
        let part = |name: &str| file.get(&format!("{prefix}.{name}"));
        let lora =
            LoraArray::from_parts(part("weight.w"), part("weight.a"), part("weight.b")).unwrap();
        let bias = format!("{prefix}.bias");
        Linear {
            weight: Array::from_value(LoraArray {
                stop_gradient,
                ..lora
            }),
            bias: file.has(&bias).then(|| file.get(&bias)),
        }
    }

    fn call(&self, x: &Array) -> Array {
        let y = self.weight.dot(x);
        match &self.bias {
            Some(bias) => y + bias,
            None => y,
        }
    }
}

#[derive(Clone, PyTree)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn call(&self, x: &Array) -> Array {
        let Some((last, hidden)) = self.layers.split_last() else {
            return x.clone();
        };
        let x = hidden
            .iter()
            .fold(x.clone(), |x, layer| layer.call(&x).maximum(0.0));
        last.call(&x)
    }
}

/// The tangents of the golden file: `cos(0), cos(1), …` for every leaf.
fn cosines<T: PyTree>(tree: &T) -> T {
    tree::map(tree, |leaf| {
        let count = u16::try_from(leaf.size()).unwrap();
        let numbers: Vec<f32> = (0..count).map(|i| f32::from(i).cos()).collect();
        Array::new(leaf.shape(), numbers)
    })
}

/// Checks everything that the file holds of a case.
#[track_caller]
fn check<M: PyTree>(
    case: &str,
    read: impl Fn(&Golden, &str, bool) -> M,
    call: impl Fn(&M, &Array) -> Array + Clone + Send + Sync,
) {
    let file = Golden::open("lora");
    let x = file.get(&format!("{case}/in/x"));
    let loss = |m: &M, x: &Array| call(m, x).square().sum(());
    for mode in ["stop_gradient", "trained"] {
        let model = read(&file, &format!("{case}/param"), mode == "stop_gradient");
        file.check_tree(&format!("{case}/param"), &model, EXACT);
        let y = quaxify(call.clone())(&model, &x).unwrap();
        file.check(&format!("{case}/out"), &y, F32);

        let both = |(m, x): &(M, Array)| loss(m, x);
        let (dm, dx) = grad(quaxify(both))(&(model.clone(), x.clone())).unwrap();
        file.check_tree(&format!("{case}/{mode}/grad"), &dm, F32);
        file.check(&format!("{case}/{mode}/grad_in/x"), &dx, F32);

        let tangents = (cosines(&model), cosines(&x));
        let (_, tangent) = jvp(
            quaxify(call.clone()),
            (&model, &x),
            (&tangents.0, &tangents.1),
        )
        .unwrap();
        file.check(&format!("{case}/{mode}/jvp"), &tangent, F32);

        // Inside of quaxify a weight is one array, and so is its gradient; what is frozen outside does not matter.
        let dense = quaxify(grad(loss))(&model, &x).unwrap();
        file.check_tree(&format!("{case}/dense_grad"), &dense, F32);
    }
}

#[test]
fn linear() {
    check("linear", Linear::read, Linear::call);
}

#[test]
fn linear_batch() {
    check("linear_batch", Linear::read, |l: &Linear, x: &Array| {
        Array::from_result(vmap(Linear::call).in_axes((None, 0))(l, x))
    });
}

#[test]
fn mlp() {
    let read = |file: &Golden, prefix: &str, stop_gradient: bool| Mlp {
        layers: (0..3)
            .map(|i| Linear::read(file, &format!("{prefix}.layers[{i}]"), stop_gradient))
            .collect(),
    };
    check("mlp", read, Mlp::call);
}
