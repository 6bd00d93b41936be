//! Every law, instantiated on random small shapes: each node that it adds to a class is evaluated beside those that were there.

use super::super::analysis::Graph;
use super::super::language::Term;
use super::super::lower::build;
use super::super::rules::{LAWS, Law};
use super::*;
use egg::{Id, Language};
use std::collections::HashMap;

/// Evaluates every class and asserts that all nodes of a class are equal; returns how many nodes were compared.
fn consistent(graph: &Graph, law: &str) -> usize {
    let mut values: HashMap<Id, Tensor> = HashMap::new();
    let evaluate = |term: &Term, values: &HashMap<Id, Tensor>| -> Option<Tensor> {
        let children: Option<Vec<&Tensor>> = term
            .children()
            .iter()
            .map(|child| values.get(&graph.find(*child)))
            .collect();
        let children = children?;
        let shape = |outputs: Label| {
            let mut shape = vec![0; outputs as usize];
            for (labels, child) in term.labels().iter().zip(&children) {
                for (label, size) in labels.iter().zip(&child.shape) {
                    if *label < outputs {
                        shape[*label as usize] = *size;
                    }
                }
            }
            shape
        };
        Some(match term {
            Term::Leaf(leaf) => leaf_value(&graph.analysis.leaves[*leaf as usize], *leaf),
            Term::Band(band) => band_value(band),
            Term::Ones(size) => Tensor {
                shape: vec![*size],
                data: vec![1.0; *size],
            },
            Term::Prod(product) | Term::Dot(product) => {
                let factors: Vec<_> = children
                    .iter()
                    .zip(&product.labels)
                    .map(|(child, labels)| (1.0, *child, labels.as_slice()))
                    .collect();
                einsum(&factors, &shape(product.outputs), false)
            }
            Term::Add(sum) => {
                let terms: Vec<_> = children
                    .iter()
                    .zip(&sum.labels)
                    .zip(&sum.coefficients)
                    .map(|((child, labels), c)| (c.0, *child, labels.as_slice()))
                    .collect();
                einsum(&terms, &shape(sum.outputs), true)
            }
        })
    };
    loop {
        let before = values.len();
        for class in graph.classes() {
            if !values.contains_key(&class.id)
                && let Some(value) = class.nodes.iter().find_map(|node| evaluate(node, &values))
            {
                values.insert(class.id, value);
            }
        }
        if values.len() == before {
            break;
        }
    }
    let mut compared = 0;
    for class in graph.classes() {
        for node in &class.nodes {
            let value = evaluate(node, &values).expect("every class has a value");
            let expected = &values[&class.id];
            assert_eq!(expected.shape, value.shape, "{law}: {node:?}");
            assert_eq!(expected.shape.as_slice(), class.data.shape.as_slice());
            close(&expected.data, &value.data, &format!("{law}: {node:?}"));
            compared += 1;
        }
    }
    compared
}

/// Applies a law to every class of random programs and checks all that it says; returns how often it said something new.
fn instances(law: &Law, programs: u64) -> usize {
    let mut found = 0;
    for seed in 0..programs {
        let mut random = Random::new((3 << 32) + seed);
        let operations = 2 + random.below(6);
        let island = super::random::island(&mut random, &[2, 3], operations);
        let mut graph = build(&island.problem, &CostModel::default(), 20_000).graph;
        // Laws that dissolve sums and products only where it matters see every class as one that matters.
        for leaf in 0..graph.analysis.values.len() {
            graph.analysis.values[leaf].allow_materialise = seed % 2 == 0;
        }
        graph.rebuild();
        for _ in 0..2 {
            let classes: Vec<Id> = graph.classes().map(|class| class.id).collect();
            let before = consistent(&graph, law.name);
            for class in classes {
                let class = graph.find(class);
                law.apply(&mut graph, class);
            }
            graph.rebuild();
            let after = consistent(&graph, law.name);
            found += usize::from(after != before);
        }
    }
    found
}

#[test]
fn every_law_holds_and_has_instances() {
    let programs = if cfg!(debug_assertions) { 60 } else { 2_000 };
    for law in &LAWS {
        let found = instances(law, programs);
        println!("{}: {found} instances", law.name);
        assert!(found >= 3, "{} has {found} instances", law.name);
    }
}

#[test]
fn all_laws_are_rewrites() {
    assert_eq!(super::super::rules::rewrites(&LAWS).len(), LAWS.len());
}
