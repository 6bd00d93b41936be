//! Values as trees.

use super::support::*;
use quaxide::prelude::*;

/// «static fields and tree round trip».
#[test]
fn static_fields_survive_a_round_trip() {
    let x = metres(vector(&[1.0, 2.0]), 3);
    let back = tree::unflatten(&x, tree::leaves(&x)).unwrap();
    assert_eq!(in_metres(&back).power, 3);
    assert_eq!(tree::structure(&x), tree::structure(&back));
    assert_ne!(
        tree::structure(&x),
        tree::structure(&metres(vector(&[1.0, 2.0]), 2))
    );
    let paths: Vec<String> = tree::leaves_with_paths(&x)
        .into_iter()
        .map(|p| p.0)
        .collect();
    assert_eq!(paths, [".x"]);
}

/// Section 5: every transformation takes a value apart and puts it together, static fields included.
#[test]
fn transformations_rebuild_values() {
    let x = metres(vector(&[1.0, 2.0]), 3);
    let doubled = jit(|x: &Array| tree::map(x, |x| x * 2.0))(&x).unwrap();
    assert_eq!(in_metres(&doubled).power, 3);
    close(&in_metres(&doubled).x, &vector(&[2.0, 4.0]));
    let g = grad(|x: &Array| Ok(tree::leaves(x)[0].square().sum(())))(&x).unwrap();
    assert_eq!(in_metres(&g).power, 3);
    close(&in_metres(&g).x, &vector(&[2.0, 4.0]));
}
