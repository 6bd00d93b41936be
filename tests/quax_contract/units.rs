//! Quax's tests of `unitful.Unitful`, and of `prng`.

use super::support::close;
use quaxide::{
    prelude::*,
    rules::{Algorithm, Prng, in_unit, quantity},
};

/// unitful: `**2` and `**3`, values and units.
#[test]
fn powers_raise_units() {
    let x = quantity([2f64, -3.0], "m").unwrap();
    for (n, unit) in [(2, "m^2"), (3, "m^3")] {
        let y = quaxify(|x: &Array| x.integer_pow(n))(&x).unwrap();
        close(
            &in_unit(&y, unit).unwrap(),
            &Array::from([2f64, -3.0]).integer_pow(n),
        );
        assert!(in_unit(&y, "m").is_err());
    }
}

/// prng: uniform and normal are those of the key's words; in a type of integers there are none.
#[test]
fn numbers_of_a_key() {
    let key = Prng::new(3, Algorithm::ThreeFry);
    let plain = random::key(3);
    let bits = |x: Array| {
        x.to_vec::<f32>()
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bits(key.uniform([4]).unwrap()),
        bits(random::uniform(&plain, [4]))
    );
    assert_eq!(
        bits(key.normal([4]).unwrap()),
        bits(random::normal(&plain, [4]))
    );
    assert!(
        random::normal(&plain, ([4], DType::C64))
            .dtype()
            .is_ok_and(|d| d.is_complex())
    );
    assert!(random::normal(&plain, ([4], DType::I32)).ok().is_err());
    let (low, high) = (Array::from([0f32, 10.0]), Array::from([1f32, 20.0]));
    let x = random::uniform(&plain, [2]) * (&high - &low) + &low;
    assert!((x.ge(&low) & x.lt(&high)).all(()).item::<bool>().unwrap());
}

/// prng: a key takes part in no sum, jitted or not.
#[test]
fn keys_are_not_added_to() {
    let key = Array::from_value(Prng::new(3, Algorithm::ThreeFry));
    let add = |k: &Array| k + 1u32;
    for e in [
        quaxify(add)(&key).unwrap_err(),
        jit(quaxify(add))(&key).unwrap_err(),
    ] {
        assert!(e.to_string().contains("key"), "{e}");
    }
}

/// prng: `where` picks a key.
#[test]
fn a_choice_of_keys() {
    let keys = [1, 2].map(|seed| Array::from_value(Prng::new(seed, Algorithm::ThreeFry)));
    let pick = |which: &Array, a: &Array, b: &Array| which.select(a, b);
    for (which, wanted) in [(true, &keys[0]), (false, &keys[1])] {
        let y = quaxify(pick)(&Array::scalar(which), &keys[0], &keys[1]).unwrap();
        let words = |x: &Array| x.value::<Prng>().unwrap().words().to_vec::<u32>().unwrap();
        assert_eq!(words(&y), words(wanted));
    }
}

/// prng: Brownian motion by a scan that carries a key.
#[test]
fn brownian_motion() {
    let step = |(x, key): &(Array, Prng), _: &Array| {
        let keys = key.split(2)?;
        let part = |i: i64| Prng::from_words(keys.words().index(i), Algorithm::ThreeFry);
        let x = x + part(0)?.normal(())?;
        Ok::<_, Error>(((x.clone(), part(1)?), x))
    };
    let start = (Array::scalar(0f32), Prng::new(5, Algorithm::ThreeFry));
    let ((last, _), path) = scan(step, &start, &Array::arange(10, DType::F32)).unwrap();
    assert_eq!(path.shape(), [10]);
    assert_eq!(
        path.index(9).item::<f32>().unwrap(),
        last.item::<f32>().unwrap()
    );
    let steps = path.to_vec::<f32>().unwrap();
    assert!(steps.windows(2).all(|w| w[0] != w[1]));
}
