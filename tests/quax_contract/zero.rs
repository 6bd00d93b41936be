//! Quax's tests of `zero.Zero`.

use quaxide::{ErrorKind, lax, prelude::*, rules::Zero};

fn same(got: &Array, want: &Array) {
    assert_eq!(got.aval().unwrap().dtype, want.aval().unwrap().dtype);
    assert_eq!(got.shape(), want.shape());
    let numbers = |x: &Array| match x.dtype().unwrap() {
        d if d.is_complex() => [x.real(), x.imag()]
            .map(|x| x.to_f64_vec().unwrap())
            .concat(),
        DType::Bool => x.astype(DType::I32).to_f64_vec().unwrap(),
        _ => x.to_f64_vec().unwrap(),
    };
    let pairs = numbers(got).into_iter().zip(numbers(want));
    for (a, b) in pairs {
        assert!(a == b || a.is_nan() && b.is_nan(), "{got} for {want}");
    }
}

/// zero: broadcast; cast, twice; materialise.
#[test]
fn broadcast_cast_and_materialise() {
    let z = Zero::new((), DType::F32);
    let y = quaxify(|z: &Array| z.broadcast_to([1, 2, 3]))(&z).unwrap();
    assert!(y.is_symbolic_zero());
    assert_eq!(y.aval().unwrap().to_string(), "f32[1,2,3]");
    let y = quaxify(|z: &Array| z.astype(DType::F64).astype(DType::I32))(&y).unwrap();
    assert!(y.is_symbolic_zero());
    assert_eq!(y.aval().unwrap().to_string(), "i32[1,2,3]");
    same(
        &y.materialise().unwrap(),
        &Array::zeros([1, 2, 3], DType::I32),
    );
}

/// zero: add and mul with scalars and arrays, and the types of the results.
#[test]
fn sums_and_products_have_lax_s_types() {
    let z = Zero::new([3, 3], DType::F32);
    let others = [
        Array::from(1f32),
        Array::from([2f32, 3.0, 4.0]),
        Array::new([3], vec![true, false, true]),
        Array::ones([3, 3, 3], DType::I32),
    ];
    let plain = Array::zeros([3, 3], DType::F32);
    for x in &others {
        for f in [
            (|z: &Array, x: &Array| z + x) as fn(&Array, &Array) -> Array,
            |z, x| x + z,
            |z, x| z * x,
            |z, x| x * z,
        ] {
            let got = quaxify(f)(&z, x).unwrap();
            same(&got, &f(&plain, x));
        }
        assert!(
            quaxify(|z: &Array, x: &Array| z * x)(&z, x)
                .unwrap()
                .is_symbolic_zero()
        );
    }
    let y = quaxify(|z: &Array| (z + 1) * 2.5)(&z).unwrap();
    same(&y, &((&plain + 1) * 2.5));
    let y = quaxify(|z: &Array| z + z)(&z).unwrap();
    assert!(y.is_symbolic_zero());
    let y = quaxify(|z: &Array| z * f32::NAN)(&z).unwrap();
    assert!(y.is_symbolic_zero());
}

/// zero: a linear layer whose weight is zero gives its bias, or zero without one.
#[test]
fn a_layer_of_zero() {
    let layer = nn::Linear::new(3, 4, &random::key(0));
    let weight = Zero::like(&layer.weight);
    let x = Array::ones([3], DType::F32);
    let with_bias = nn::Linear { weight, ..layer };
    let y = quaxify(nn::Linear::call)(&with_bias, &x).unwrap();
    same(&y, with_bias.bias.as_ref().unwrap());
    let without = nn::Linear {
        bias: None,
        ..with_bias
    };
    let y = quaxify(nn::Linear::call)(&without, &x).unwrap();
    assert!(y.is_symbolic_zero() && y.shape() == [4]);
}

/// zero: dynamic_update_slice, slice, strided slice.
#[test]
fn windows_of_zero() {
    let z = Zero::new([5, 4], DType::F32);
    let at = Array::scalar(1i32);
    let put = |z: &Array| lax::dynamic_update_slice(z, &z.slice_in_dim(0, 2, 0), &[&at, &at]);
    assert!(quaxify(put)(&z).unwrap().is_symbolic_zero());
    let y = quaxify(|z: &Array| lax::slice(z, [1, 0], [4, 3], None))(&z).unwrap();
    assert!(y.is_symbolic_zero() && y.shape() == [3, 3]);
    let y = quaxify(|z: &Array| lax::slice(z, [0, 0], [5, 4], Some(&[2, 2])))(&z).unwrap();
    assert!(y.is_symbolic_zero() && y.shape() == [3, 2]);
    // What does not fit is an error as for lax, and nothing is allocated on the way.
    for (from, to) in [([0, 0], [6, 4]), ([3, 0], [2, 4])] {
        let cut = |z: &Array| lax::slice(z, from, to, None);
        let plain = cut(&Array::zeros([5, 4], DType::F32))
            .ok()
            .err()
            .unwrap()
            .kind();
        assert_eq!(quaxify(cut)(&z).unwrap_err().kind(), plain);
    }
    let huge = Zero::new([1 << 20, 1 << 20, 1 << 20], DType::F32);
    let y = quaxify(|z: &Array| z.slice_in_dim(5, 1 << 19, 2))(&huge).unwrap();
    assert!(y.is_symbolic_zero());
}

/// zero: powers, of f32 and c64, in every shape, jitted and not, are lax's.
#[test]
fn powers_are_lax_s() {
    for dtype in [DType::F32, DType::C64] {
        for shape in [&[][..], &[2], &[2, 3]] {
            let (z, plain) = (Zero::new(shape, dtype), Array::zeros(shape, dtype));
            for y in [-2, -1, 0, 1, 2, 3] {
                let f = move |x: &Array| x.integer_pow(y);
                same(&quaxify(f)(&z).unwrap(), &f(&plain));
                same(&jit(quaxify(f))(&z).unwrap(), &f(&plain));
                if y > 0 {
                    assert!(quaxify(f)(&z).unwrap().is_symbolic_zero());
                }
            }
        }
    }
    let z = Zero::new([2], DType::F32);
    let one = Array::ones([2], DType::F32);
    same(&quaxify(|z: &Array| z.pow(z))(&z).unwrap(), &one);
    same(
        &quaxify(|z: &Array| Array::full([2], 3.0, DType::F32).pow(z))(&z).unwrap(),
        &one,
    );
    let e = quaxify(|z: &Array| z.integer_pow(-1))(&Zero::new([2], DType::I32)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DType, "{e}");
}
