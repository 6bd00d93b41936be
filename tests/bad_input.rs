//! Bad input: each a clear error with the caller's line, and no panic.

use quaxide::{ErrorKind, op, prelude::*};

/// The text of an error, without line numbers, which change as this file does.
fn text(e: Error) -> String {
    let text = e.to_string();
    let lines = text.lines().map(|l| match l.split_once("bad_input.rs:") {
        Some((before, _)) => format!("{before}bad_input.rs"),
        None => l.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn failed(x: Array) -> Error {
    match x.ok() {
        Ok(x) => panic!("{x:?} is no error"),
        Err(e) => e,
    }
}

fn zeros(shape: &[usize]) -> Array {
    Array::zeros(shape, DType::F32)
}

#[test]
fn shapes_that_do_not_match() {
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]) + zeros(&[4]))), @r"
    `add`: the shapes of f32[2,3] and f32[4] do not broadcast
      --> tests/bad_input.rs
      note: sizes must be equal or 1, counted from the last axis
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).dot(&zeros(&[4])))), @r"
    dot_general: contracted axis 1 of f32[2,3] does not match axis 0 of f32[4]
      --> tests/bad_input.rs
      in: dot_general f32[2,3] f32[4]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).reshape([4]))), @r"
    cannot reshape f32[2,3] with 6 elements to (4,)
      --> tests/bad_input.rs
      in: reshape f32[2,3]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).transpose([0, 0]))), @r"
    transpose: the permutation names axis 0 twice
      --> tests/bad_input.rs
      in: transpose f32[2,3]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).sum(2))), @r"
    axis 2 of an array with 2 axes
      --> tests/bad_input.rs
    ");
    insta::assert_snapshot!(text(failed(Array::new([3], vec![1.0f32]))), @r"
    1 elements of float32 do not fill f32[3]
      --> tests/bad_input.rs
    ");
    let e = zeros(&[2, 3]).dims::<1>().unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    expected an array of 1 axes, found f32[2,3]
      --> tests/bad_input.rs
    ");
}

#[test]
fn element_types_that_do_not_match() {
    let (f, i) = (zeros(&[2]), Array::from([1i32, 2]));
    insta::assert_snapshot!(text(failed(quaxide::trace::bind(op::Binary::Add, &[&f, &i]))), @r"
    `add` needs operands of one element type, got f32[2] and i32[2]
      --> tests/bad_input.rs
      in: add f32[2] i32[2]
      note: the operators of `Array` promote; `lax`-level functions take what they are given
    ");
    insta::assert_snapshot!(text(failed(!f)), @r"
    `not` takes integers or bool, not float32
      --> tests/bad_input.rs
      in: not f32[2]
    ");
    insta::assert_snapshot!(text(failed(i.integer_pow(-1))), @r"
    integers cannot be raised to negative powers, got i32[2] to the power -1
      --> tests/bad_input.rs
      in: integer_pow i32[2]
    ");
    insta::assert_snapshot!(text(i.to_vec::<f32>().unwrap_err()), @"i32[2] holds int32, not float32");
}

#[test]
fn derivatives_of_what_has_none() {
    let e = grad(|x: &Array| x.sin())(&zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    `grad` needs a real scalar, the function returned f32[2]
      note: sum or average the result; for all derivatives of an array use `jacrev` or `jacfwd`
    ");
    let e = grad(|x: &Array| x.sum(()))(&Array::from([1i32, 2])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    let (x, t) = (zeros(&[2]), zeros(&[3]));
    let e = jvp(|x: &Array| x.sin(), (&x,), (&t,)).unwrap_err();
    insta::assert_snapshot!(text(e), @"a tangent of type f32[3] for a primal of type f32[2]");
    let (_, pullback) = vjp(|x: &Array| x.sin(), (&x,)).unwrap();
    assert!(pullback(&t).is_err());
}

#[test]
fn vmap_over_what_does_not_fit() {
    let add = |x: &Array, y: &Array| x + y;
    let e = vmap(add)(&zeros(&[2]), &zeros(&[3])).unwrap_err();
    insta::assert_snapshot!(text(e), @"vmap: the mapped axes have different sizes: 2 (argument 0) and 3 (argument 1)");
    let e = vmap(add)(&zeros(&[2]), &Array::scalar(1.0f32)).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: argument 1 is f32[], which has no axis 0
      note: `.in_axes` says which axis of each argument is mapped; `None` for none
    ");
    let e = vmap(add).in_axes((None, None))(&zeros(&[2]), &zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: no argument has an axis to map over
      note: give `.in_axes(..)` with at least one axis, or `.axis_size(n)`
    ");
    let e = vmap(add).out_axes(2)(&zeros(&[2, 3]), &zeros(&[2, 3])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Index);
    let e = vmap(add).out_axes(None)(&zeros(&[2]), &zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @"vmap: result 0 differs between examples, but `out_axes` says `None`");
}

#[test]
fn absurd_sizes() {
    for x in [
        Array::zeros([usize::MAX, 2], DType::F32),
        Array::arange(usize::MAX / 4, DType::F64),
        Array::scalar(1.0f32).broadcast_to([1 << 40, 1 << 30]) + 1.0,
    ] {
        let y = &x + &x;
        let e = y.to_f64_vec().unwrap_err();
        assert!(
            matches!(
                e.kind(),
                ErrorKind::Memory | ErrorKind::Internal | ErrorKind::Shape
            ),
            "{e}"
        );
    }
}

#[test]
fn trees_and_paths() {
    let t = (zeros(&[2]), vec![zeros(&[3])]);
    insta::assert_snapshot!(text(tree::at(&t, "[1][7]").get().unwrap_err()), @r"
    the tree has no leaf at `[1][7]`
      note: its leaves are [0], [1][0]
    ");
    let e = tree::unflatten(&t, vec![zeros(&[2])]).unwrap_err();
    insta::assert_snapshot!(text(e), @"the tree has 2 leaves, 1 were given");
    let other = (zeros(&[2]), vec![zeros(&[3]), zeros(&[3])]);
    assert_eq!(
        tree::map2(&t, &other, |a, _| a.clone()).unwrap_err().kind(),
        ErrorKind::Tree
    );
    // A jitted function meets a new structure with a new program, not with the old one.
    let total = jit(|t: &(Array, Vec<Array>)| t.1.iter().fold(t.0.sum(()), |s, x| s + x.sum(())));
    assert!(total(&t).is_ok() && total(&other).is_ok() && total(&(zeros(&[1]), vec![])).is_ok());
}
