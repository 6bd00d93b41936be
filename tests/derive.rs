//! `#[derive(PyTree)]` on the kinds of types that a user writes.

use std::{collections::BTreeMap, marker::PhantomData};

use quaxide::prelude::*;

fn array(x: f32) -> Array {
    Array::from([x])
}

/// The paths of a tree's leaves with their (single) numbers.
fn paths<T: PyTree>(tree: &T) -> Vec<(String, f32)> {
    tree::leaves_with_paths(tree)
        .into_iter()
        .map(|(path, leaf)| (path, leaf.to_vec::<f32>().unwrap()[0]))
        .collect()
}

/// Asserts the leaves, and that a rebuilt tree has the same structure and ten times the leaves.
#[track_caller]
fn check<T: PyTree>(tree: &T, expected: &[(&str, f32)]) -> T {
    let owned = |factor: f32| -> Vec<(String, f32)> {
        expected
            .iter()
            .map(|(p, x)| (p.to_string(), factor * x))
            .collect()
    };
    assert_eq!(paths(tree), owned(1.0));
    let rebuilt = tree::map(tree, |x| x * 10.0);
    assert_eq!(paths(&rebuilt), owned(10.0));
    assert_eq!(tree::structure(&rebuilt), tree::structure(tree));
    rebuilt
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Mode {
    Train,
    Infer,
}

#[derive(Clone, PyTree)]
struct Layer {
    weight: Array,
    #[pytree(meta)]
    mode: Mode,
    bias: Option<Array>,
    #[pytree(meta)]
    activation: fn(&Array) -> Array,
}

fn tanh(x: &Array) -> Array {
    x.tanh()
}

fn layer(weight: f32, mode: Mode, bias: Option<f32>) -> Layer {
    Layer {
        weight: array(weight),
        mode,
        bias: bias.map(array),
        activation: tanh,
    }
}

#[test]
fn named_fields() {
    let rebuilt = check(
        &layer(1.0, Mode::Infer, Some(2.0)),
        &[(".weight", 1.0), (".bias", 2.0)],
    );
    assert_eq!(rebuilt.mode, Mode::Infer);
    assert_eq!(
        (rebuilt.activation)(&array(0.0)).to_vec::<f32>().unwrap(),
        [0.0]
    );
    check(&layer(1.0, Mode::Infer, None), &[(".weight", 1.0)]);
}

#[test]
fn static_fields_and_absent_children_are_structure() {
    let [train, infer, bare, other] = [
        layer(1.0, Mode::Train, Some(2.0)),
        layer(1.0, Mode::Infer, Some(2.0)),
        layer(1.0, Mode::Train, None),
        layer(7.0, Mode::Train, Some(8.0)),
    ]
    .map(|layer| tree::structure(&layer));
    assert_ne!(train, infer);
    assert_ne!(train, bare);
    assert_eq!(train, other);
}

#[derive(Clone, PyTree)]
struct Pair(Array, #[pytree(meta)] &'static str, Array);

#[derive(Clone, PyTree)]
struct Unit;

#[derive(Clone, PyTree)]
struct Nested {
    r#type: Vec<Layer>,
    pair: Pair,
    unit: Unit,
    named: BTreeMap<String, Array>,
}

#[test]
fn tuples_units_and_nesting() {
    let pair = check(
        &Pair(array(1.0), "m", array(2.0)),
        &[(".0", 1.0), (".2", 2.0)],
    );
    assert_eq!(pair.1, "m");
    check(&Unit, &[]);
    let nested = Nested {
        r#type: vec![
            layer(1.0, Mode::Train, None),
            layer(2.0, Mode::Train, Some(3.0)),
        ],
        pair: Pair(array(4.0), "m", array(5.0)),
        unit: Unit,
        named: BTreeMap::from([("w".to_string(), array(6.0))]),
    };
    check(
        &nested,
        &[
            (".type[0].weight", 1.0),
            (".type[1].weight", 2.0),
            (".type[1].bias", 3.0),
            (".pair.0", 4.0),
            (".pair.2", 5.0),
            (".named[\"w\"]", 6.0),
        ],
    );
}

#[derive(Clone, PyTree)]
enum Tree<T, const N: usize> {
    Leaf(T),
    Branch {
        left: Box<Tree<T, N>>,
        right: Box<Tree<T, N>>,
        #[pytree(meta)]
        sizes: [usize; N],
    },
    Empty,
}

#[test]
fn a_recursive_generic_enum() {
    let branch = |left, right| Tree::Branch {
        left: Box::new(left),
        right: Box::new(right),
        sizes: [1, 2],
    };
    let leaf = |x| Tree::Leaf(Pair(array(x), "m", array(x + 0.5)));
    let tree = branch(leaf(1.0), branch(leaf(2.0), Tree::Empty));
    let rebuilt = check(
        &tree,
        &[
            (".left.0.0", 1.0),
            (".left.0.2", 1.5),
            (".right.left.0.0", 2.0),
            (".right.left.0.2", 2.5),
        ],
    );
    let Tree::Branch { sizes, .. } = &rebuilt else {
        panic!("the variant changed")
    };
    assert_eq!(*sizes, [1, 2]);
    // Which variant it is, is structure.
    let mirrored = branch(branch(leaf(1.0), Tree::Empty), leaf(2.0));
    assert_ne!(tree::structure(&tree), tree::structure(&mirrored));
    assert_ne!(
        tree::structure(&leaf(1.0)),
        tree::structure(&Tree::<Pair, 2>::Empty)
    );
}

/// A family of layers: a trait whose types the tree holds.
trait Family: Clone + Send + Sync + 'static {
    type Weights: PyTree;
    type Options: Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync;
}

#[derive(Clone)]
struct Dense;

impl Family for Dense {
    type Weights = (Array, Array);
    type Options = u8;
}

#[derive(Clone, PyTree)]
struct Of<F: Family, M> {
    weights: Vec<F::Weights>,
    #[pytree(meta)]
    options: F::Options,
    #[pytree(meta)]
    more: M,
    family: PhantomData<F>,
}

#[test]
fn associated_types_and_static_parameters() {
    let of = Of::<Dense, &str> {
        weights: vec![(array(1.0), array(2.0))],
        options: 3,
        more: "more",
        family: PhantomData,
    };
    let rebuilt = check(&of, &[(".weights[0][0]", 1.0), (".weights[0][1]", 2.0)]);
    assert_eq!((rebuilt.options, rebuilt.more), (3, "more"));
    assert_ne!(
        tree::structure(&of),
        tree::structure(&Of {
            options: 4,
            ..of.clone()
        })
    );
}

mod facade {
    pub mod inner {
        pub use quaxide::tree;
    }
}

/// Found where a crate that re-exports Quaxide says it is.
#[derive(Clone, PyTree)]
#[pytree(crate = "crate::facade::inner")]
struct Elsewhere {
    x: Array,
}

macro_rules! model {
    ($name:ident { $($field:ident: $type:ty),* }) => {
        #[derive(Clone, PyTree)]
        struct $name { $($field: $type,)* extra: Array }
    };
}

// Fields with the names of the derived methods' arguments.
model!(Made { out: Array, leaves: Vec<Array>, new: Array });

#[test]
fn other_crate_paths_and_macros() {
    check(&Elsewhere { x: array(1.0) }, &[(".x", 1.0)]);
    let made = Made {
        out: array(1.0),
        leaves: vec![array(2.0)],
        new: array(3.0),
        extra: array(4.0),
    };
    check(
        &made,
        &[
            (".out", 1.0),
            (".leaves[0]", 2.0),
            (".new", 3.0),
            (".extra", 4.0),
        ],
    );
}

#[test]
fn whole_nodes_are_replaced() {
    let tree = (
        layer(1.0, Mode::Train, None),
        vec![layer(2.0, Mode::Train, Some(3.0))],
    );
    let frozen = tree::map_nodes(&tree, |l: &Layer| Layer {
        mode: Mode::Infer,
        ..l.clone()
    });
    assert_eq!(frozen.0.mode, Mode::Infer);
    assert_eq!(frozen.1[0].mode, Mode::Infer);
    assert_eq!(paths(&frozen), paths(&tree));
}

#[test]
fn a_gradient_has_the_structure_of_its_argument() {
    let loss = |l: &Layer, x: &Array| {
        ((l.activation)(&(&l.weight * x)) + l.bias.as_ref().unwrap_or(x)).sum(())
    };
    let g = grad(loss)(&layer(0.0, Mode::Infer, Some(2.0)), &array(3.0)).unwrap();
    assert_eq!(g.mode, Mode::Infer);
    assert_eq!(
        paths(&g),
        [(".weight".to_string(), 3.0), (".bias".to_string(), 1.0)]
    );
}
