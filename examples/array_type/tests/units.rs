//! The array type in use.

use array_type::Unitful;
use quaxide::prelude::*;

/// Written for plain arrays, with no thought of units.
fn position(start: &Array, velocity: &Array, time: &Array) -> Array {
    start + velocity * time * 2.0
}

fn quantities() -> (Array, Array, Array) {
    let one = || Array::from([1f32, 2.0]);
    (
        Unitful::array(one(), &[("m", 1)]),
        Unitful::array(one(), &[("m", 1), ("s", -1)]),
        Unitful::array(one(), &[("s", 1)]),
    )
}

#[test]
fn units_follow_the_program() {
    let (x, v, t) = quantities();
    let y = quaxify(position)(&x, &v, &t).unwrap();
    let y = y.value::<Unitful>().unwrap();
    assert_eq!(y.unit, [("m", 1)].into());
    assert_eq!(y.array.to_vec::<f32>().unwrap(), [3.0, 10.0]);
}

#[test]
fn units_that_do_not_add_are_refused() {
    let (x, v, t) = quantities();
    let e = quaxify(position)(&x, &t, &v).map(|_| ());
    assert!(e.is_ok(), "the product is the same either way round");
    let e = quaxify(position)(&v, &v, &t).unwrap_err();
    insta::assert_snapshot!(e.message(), @r#"cannot add {"m": 1, "s": -1} and {"m": 1}"#);
    assert!(
        e.location()
            .is_some_and(|at| at.file().ends_with("units.rs"))
    );
    let e = quaxify(|x: &Array| x.sin())(&x).unwrap_err();
    insta::assert_snapshot!(e.message(), @r#"a quantity in {"m": 1} is not a plain array"#);
}

#[test]
fn the_three_stages_of_a_program() {
    let (x, v, t) = quantities();
    let stages = quaxify(position).stages((&x, &v, &t)).unwrap();
    insta::assert_snapshot!(stages.traced, @r"
    { lambda ; a:Unitful(f32[2]) b:Unitful(f32[2]) c:Unitful(f32[2]). let
        d:Unitful(f32[2]) = mul b c
        e:Unitful(f32[2]) = mul d 2.0:f32[]
        f:Unitful(f32[2]) = add a e
      in (f,) }
    ");
    insta::assert_snapshot!(stages.dispatched, @r"
    { lambda ; a:f32[2] b:f32[2] c:f32[2]. let
        d:f32[2] = mul b c
        e:f32[2] = mul d 2.0:f32[]
        f:f32[2] = add a e
      in (f,) }
    ");
    // What the optimiser makes of it is its own affair; it runs, and gives the same.
    let plain = Array::from([1f32, 2.0]);
    let y = stages
        .rewritten
        .eval(&[plain.clone(), plain.clone(), plain])
        .unwrap();
    assert_eq!(y[0].to_vec::<f32>().unwrap(), [3.0, 10.0]);
}

#[test]
fn gradients_carry_the_unit_of_their_argument() {
    let (x, v, t) = quantities();
    let loss = |x: &Array| {
        let y = quaxify(position)(x, &v, &t)?;
        let y = y
            .value::<Unitful>()
            .ok_or_else(|| Error::argument("a length"))?;
        Ok(y.array.sum(()))
    };
    let g = grad(loss)(&x).unwrap();
    let g = g.value::<Unitful>().unwrap();
    assert_eq!(
        (g.unit.clone(), g.array.to_vec::<f32>().unwrap()),
        ([("m", 1)].into(), vec![1.0, 1.0])
    );
}
