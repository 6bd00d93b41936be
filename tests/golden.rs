//! The golden files hold what their README says, and the comparison with them sees what it should.

mod support;

use quaxide::prelude::*;
use support::golden::{EXACT, F32, Golden, Tolerance};

/// What a failed assertion of `f` says.
fn complaint(f: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    match caught {
        Ok(()) => String::new(),
        Err(text) => text.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn every_case_is_described() {
    let readme = include_str!("golden/README.md");
    for file in ["nn", "activations", "losses", "optim", "lora"] {
        let keys = Golden::open(file).keys();
        assert!(!keys.is_empty(), "{file} is empty");
        for key in keys {
            // `run/adam/after.b` is told by `adam`, `attention/key` by `attention`.
            let mut parts = key.split(['/', '.']);
            let first = parts.next().unwrap_or_default();
            let case = match first {
                "run" | "schedule" | "drawn" => parts.next().unwrap_or_default(),
                _ => first,
            };
            let named = readme
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == case);
            // Losses keep optax's names, which the README does not repeat.
            assert!(
                named || file == "losses",
                "{file}: `{key}` is not described"
            );
        }
    }
}

#[test]
fn arrays_keep_their_type() {
    let nn = Golden::open("nn");
    assert_eq!(nn.get("linear/key").to_vec::<u32>().unwrap(), [0, 1]);
    assert_eq!(
        nn.get("embedding/in/x").to_vec::<i32>().unwrap(),
        [3, 0, 6, 3]
    );
    assert_eq!(nn.get("linear_batch/in/x").dims().unwrap(), [4, 5]);
    let grid = Golden::open("activations").get("x/f64");
    assert_eq!(grid.to_vec::<f64>().unwrap()[..2], [-6.0, -5.75]);
}

#[test]
fn a_difference_is_told_with_its_key() {
    let nn = Golden::open("nn");
    let key = "linear/param.weight";
    let right = nn.get(key);
    nn.check(key, &right, EXACT);
    let mut numbers = right.to_vec::<f32>().unwrap();
    numbers[7] *= 1.0 + 5e-6;
    let near = Array::new([3, 5], numbers.clone());
    nn.check(key, &near, F32);
    let text = complaint(|| nn.check(key, &near, EXACT));
    assert!(
        text.contains("`linear/param.weight` differs in 1 of 15"),
        "{text}"
    );
    assert!(text.contains("[1, 2]"), "{text}");

    for wrong in [f32::NAN, f32::INFINITY, 1.0] {
        numbers[7] = wrong;
        let wide = Tolerance {
            relative: 0.1,
            absolute: 0.01,
        };
        let text = complaint(|| nn.check(key, &Array::new([3, 5], numbers.clone()), wide));
        assert!(text.contains("worst at [1, 2]"), "{wrong}: {text}");
    }
    let text = complaint(|| nn.check(key, &right.reshape([5, 3]), F32));
    assert!(text.contains("[5, 3], but golden is"), "{text}");
    let text = complaint(|| nn.check("linear/nothing", &right, F32));
    assert!(text.contains("there is no `linear/nothing`"), "{text}");
}

/// The parameters of the golden optimiser runs.
#[derive(Clone, PyTree)]
struct Params {
    b: Array,
    w: Array,
}

#[test]
fn trees_are_read_and_compared_by_path() {
    let optim = Golden::open("optim");
    let like = Params {
        b: Array::zeros([2], DType::F32),
        w: Array::zeros([3, 2], DType::F32),
    };
    let start = optim.fill("start", &like);
    optim.check_tree("start", &start, EXACT);
    optim.check("start.w", &start.w, EXACT);
    let text = complaint(|| optim.check_tree("start", &like, F32));
    assert!(text.contains("`start.b` differs in 2 of 2"), "{text}");
    let text = complaint(|| {
        optim.fill("grads", &like);
    });
    assert!(text.contains("`grads.b` is"), "{text}");
    let nothing: Option<Array> = None;
    let text = complaint(|| optim.check_tree("start", &nothing, F32));
    assert!(text.contains("the tree lacks"), "{text}");
}
