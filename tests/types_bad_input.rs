//! Bad input to the types that ship: each a clear error, at the caller's line where there is one, and no panic.

use quaxide::{
    ErrorKind,
    prelude::*,
    rules::{
        Algorithm, Bcoo, Format, LoraArray as Lora, Prng, Quantised, Structured, Unit, along,
        combine, contract, in_unit, interval, masked, named, order_as, positional, quantity,
        reduce_named, rename,
    },
};

fn ones(shape: &[usize]) -> Array {
    Array::ones(shape, DType::F32)
}

/// The kind and the message of an error.
#[track_caller]
fn said(e: Error) -> String {
    assert_ne!(e.kind(), ErrorKind::Internal, "{e}");
    format!("{:?}: {}", e.kind(), e.message())
}

#[test]
fn a_name_that_is_not_there() {
    let x = named(ones(&[2, 3]), ["row", "column"]).unwrap();
    let all = [
        said(rename(&x, &[("time", "t")]).unwrap_err()),
        said(order_as(&x, &["row", "time"]).unwrap_err()),
        said(positional(&x, &["row"]).unwrap_err()),
        said(reduce_named(&x, &["time"], |x, a| x.sum(a)).unwrap_err()),
        said(contract(&x, &x, &["time"]).unwrap_err()),
        said(along(&[&x], &["time"], &[], |v| v[0].clone()).unwrap_err()),
        said(rename(&x, &[("row", "column")]).unwrap_err()),
        said(combine(&[&x, &ones(&[2, 3])], |v| &v[0] + &v[1]).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Argument: no axis is named `time`; the axes are `row`, `column`
    Argument: no axis is named `time`; the axes are `row`, `column`
    Argument: the new order lacks an axis `column`
    Argument: no axis is named `time`; the axes are `row`, `column`
    Argument: no axis is named `time`; the axes are `row`, `column`
    Argument: no array has an axis named `time`
    Argument: two axes would be named `column`
    Argument: an axis without a name does not line up with others
    ");
}

#[test]
fn units_that_do_not_add() {
    let (m, s) = (
        quantity(ones(&[2]), "m").unwrap(),
        quantity(ones(&[2]), "s").unwrap(),
    );
    let run = |f: fn(&Array, &Array) -> Array| {
        let e = quaxify(f)(&m, &s).unwrap_err();
        assert!(
            e.location().unwrap().file().ends_with("types_bad_input.rs"),
            "{e}"
        );
        said(e)
    };
    let all = [
        run(|m, s| m + s),
        run(|m, s| m.lt(s)),
        run(|m, s| numpy::concatenate(&[m, s], 0)),
        run(|m, _| m.exp()),
        run(|m, s| m.pow(s)),
        run(|m, _| m + 1.0),
        said(in_unit(&m, "s").unwrap_err()),
        said(quantity(ones(&[2]), "parsec/fortnite").unwrap_err()),
        said("°C".parse::<Unit>().unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    Argument: `add`: quantities in m and quantities in s do not fit
    Argument: `lt`: quantities in m and quantities in s do not fit
    Argument: `concatenate`: quantities in m and quantities in s do not fit
    Argument: `exp` takes numbers, not quantities in m
    Argument: `pow` takes numbers, not quantities in s
    Argument: `add`: quantities in m and plain numbers do not fit
    Argument: quantities in m do not convert to quantities in s
    Format: the unit "parsec/fortnite": `parsec` is no unit
    Format: the unit "°C": `°C` has an offset, and does not multiply
    "#);
}

#[test]
fn places_of_sparse_arrays() {
    let coo = |data: usize, places: &[[i32; 2]]| {
        let indices = Array::new([places.len(), 2], places.concat());
        Bcoo::new(ones(&[data]), indices, [2, 3])
    };
    let csr = |columns: &[usize], starts: &[usize]| {
        Bcoo::from_csr(ones(&[columns.len()]), columns, starts, [2, 3])
    };
    let all = [
        said(coo(1, &[[2, 0]]).unwrap_err()),
        said(coo(1, &[[0, -1]]).unwrap_err()),
        said(coo(3, &[[0, 0], [1, 1]]).unwrap_err()),
        said(Bcoo::new(ones(&[1]), ones(&[1, 2]), [2, 3]).unwrap_err()),
        said(csr(&[2, 0], &[0, 2, 2]).unwrap_err()),
        said(csr(&[0, 0], &[0, 2, 2]).unwrap_err()),
        said(csr(&[0, 3], &[0, 2, 2]).unwrap_err()),
        said(csr(&[0, 1], &[0, 2]).unwrap_err()),
        said(csr(&[0, 1], &[0, 2, 1]).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Index: an entry at 2 of axis 0, whose size is 2
    Index: an entry at -1 of axis 1, whose size is 3
    Shape: a sparse array of 2 axes needs data [.., entries] and indices [.., entries, 2]; got f32[3] and i32[2,2]
    DType: places are integers, got f32[1,2]
    Argument: compressed rows: in row 0: column 0 comes after column 2
    Argument: compressed rows: in row 0: column 0 comes after column 0
    Index: column 3 of 3, in row 0
    Argument: compressed rows: 2 rows of 2 entries need 3 ascending starts from 0 to 2 and as many columns as entries
    Argument: compressed rows: 2 rows of 2 entries need 3 ascending starts from 0 to 2 and as many columns as entries
    ");
    // In a list of entries, duplicates are meant: they add. So is any order.
    let twice = coo(3, &[[1, 2], [0, 1], [1, 2]]).unwrap();
    assert_eq!(
        twice.to_dense().unwrap().to_vec::<f32>().unwrap(),
        [0., 1., 0., 0., 0., 2.]
    );
}

#[test]
fn masks_of_another_shape() {
    let no = |shape: &[usize]| Array::zeros(shape, DType::Bool);
    let all = [
        said(masked(ones(&[3]), no(&[2])).unwrap_err()),
        said(masked(ones(&[3]), no(&[1, 3])).unwrap_err()),
        said(masked(ones(&[3]), ones(&[3])).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Shape: a mask for f32[3] must be bool[3], not bool[2]
    Shape: a mask for f32[3] must be bool[3], not bool[1,3]
    Shape: a mask for f32[3] must be bool[3], not f32[3]
    ");
}

#[test]
fn blocks_of_another_length() {
    let bytes = Array::zeros([1, 17], DType::U8);
    let all = [
        said(Quantised::new(&ones(&[2, 100]), Format::Q4_0).unwrap_err()),
        said(Quantised::new(&ones(&[2, 250]), Format::Q4K).unwrap_err()),
        said(Quantised::new(&Array::from(1f32), Format::Int8).unwrap_err()),
        said(Quantised::new(&Array::from([1i32; 32]), Format::Q8_0).unwrap_err()),
        said(Quantised::new(&(ones(&[32]) / 0.0), Format::Q8_0).unwrap_err()),
        said(Quantised::from_components(Format::Q4_0, vec![bytes]).unwrap_err()),
        said(Quantised::from_components(Format::Q4_0, vec![]).unwrap_err()),
        said(Quantised::from_gguf(Format::Q4_0, [32], &[0; 17]).unwrap_err()),
        said(Quantised::from_gguf(Format::Nf4, [64], &[0; 32]).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Shape: q4_0 has blocks of 32 elements: f32[2,100] has no last axis that is a multiple of it
    Shape: q4_K has blocks of 256 elements: f32[2,250] has no last axis that is a multiple of it
    Shape: int8 splits the last axis into blocks: f32[] has no axis
    DType: q8_0 holds floats, not i32[32]
    Argument: q8_0 has no infinities and no NaN, which f32[32] has
    Shape: q4_0 has the components blocks (u8[1,18]), not (u8[1,17])
    Argument: q4_0 has 1 component(s), blocks; 0 were given
    Argument: q4_0: f32[32] takes 18 bytes, 17 were given
    Argument: nf4 is not a format of GGUF files
    ");
}

#[test]
fn intervals_upside_down() {
    let all = [
        said(interval([0f32, 2.0], [1f32, 1.0]).unwrap_err()),
        said(interval([f32::NAN], [1f32]).unwrap_err()),
        said(interval([0f32], [1f64]).unwrap_err()),
        said(interval([0f32], [1f32, 2.0]).unwrap_err()),
        said(interval([0i32], [1i32]).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Argument: an interval from 2 to 1: the lower bound is above the upper one
    Argument: an interval from NaN to 1: NaN bounds nothing
    Shape: the bounds of an interval are f32 or f64 of one shape, not f32[1] and f64[1]
    Shape: the bounds of an interval are f32 or f64 of one shape, not f32[1] and f32[2]
    Shape: the bounds of an interval are f32 or f64 of one shape, not i32[1] and i32[1]
    ");
}

#[test]
fn matrices_without_a_structure_or_an_inverse() {
    let all = [
        said(Structured::identity([3, 4], DType::F32).unwrap_err()),
        said(Structured::diagonal(&Array::from(1f32)).unwrap_err()),
        said(Structured::symmetric(&ones(&[2, 3])).unwrap_err()),
        said(Structured::circulant(&Array::from(1f32)).unwrap_err()),
        said(Structured::tridiagonal(&ones(&[3]), &ones(&[3]), &ones(&[2])).unwrap_err()),
        said(Structured::permutation(&Array::from([0i32, 0]), DType::F32).unwrap_err()),
        said(
            Structured::diagonal(&Array::from([1f32, 0.0]))
                .and_then(|d| d.solve(&ones(&[2])))
                .unwrap_err(),
        ),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Shape: the identity has as many rows as columns, not 3 and 4
    Shape: a diagonal matrix needs a diagonal [.., n], got f32[]
    Shape: a symmetric matrix needs a square matrix [.., n, n], got f32[2,3]
    Shape: a circulant matrix needs a first column [.., n], got f32[]
    Shape: a tridiagonal matrix needs diagonals [.., n - 1], [.., n] and [.., n - 1], got f32[3], f32[3], f32[2]
    Argument: a permutation has each of 0 to 1 once, got [0, 0]
    Argument: diagonal[f32[2,2]] is singular to working precision
    ");
}

#[test]
fn keys_and_updates_of_wrong_shapes() {
    let all = [
        said(Prng::from_words(ones(&[2]), Algorithm::ThreeFry).unwrap_err()),
        said(Prng::from_words(Array::from([1u32; 3]), Algorithm::Rbg).unwrap_err()),
        said(
            Prng::new(0, Algorithm::Rbg)
                .split(2)
                .unwrap()
                .normal([2])
                .unwrap_err(),
        ),
        said(Lora::from_parts(ones(&[4, 3]), ones(&[4, 2]), ones(&[1, 3])).unwrap_err()),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    Shape: keys of threefry2x32 are u32[.., 2], not f32[2]
    Shape: keys of rbg are u32[.., 4], not u32[3]
    Shape: prng[2, rbg] is more than one key: map over them with `vmap`
    Shape: a low-rank update needs w [.., n, m], a [.., n, rank] and b [.., rank, m]; got f32[4,3], f32[4,2] and f32[1,3]
    ");
}
