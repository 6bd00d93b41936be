//! Structured matrices: their extrema, stacks and sums.

use quaxide::{linalg, numpy, prelude::*, rules::Structured};

fn dense(x: &Array) -> Array {
    match x.value::<Structured>() {
        Some(s) => s.to_dense().unwrap(),
        None => x.clone(),
    }
}

/// Extrema see the zeros that no component holds, and cost what the structure does.
#[test]
fn extrema_of_structures() {
    let v = |n: usize, seed: u64| random::normal(&random::key(seed), ([n], DType::F64)) - 2.0;
    let m = |seed: u64| random::normal(&random::key(seed), ([6, 6], DType::F64));
    let block = |seed: u64| random::normal(&random::key(seed), ([2, 2], DType::F64)) + 3.0;
    let blocks = [block(9), block(10), block(11)];
    let all = [
        Structured::diagonal(&v(6, 1)).unwrap(),
        Structured::tridiagonal(&v(5, 2), &v(6, 3), &v(5, 4)).unwrap(),
        Structured::lower_triangular(&m(5)).unwrap(),
        Structured::symmetric(&m(6)).unwrap(),
        Structured::circulant(&v(6, 7)).unwrap(),
        Structured::block_diagonal(&blocks).unwrap(),
        Structured::identity([6, 6], DType::F64).unwrap(),
    ];
    for s in all {
        let dense = s.to_dense().unwrap();
        let what = s.describe();
        let x = s.array();
        for axes in [vec![0], vec![1], vec![0, 1]] {
            let both = |x: &Array| numpy::stack(&[x.max(&axes[..]), x.min(&axes[..])], 0);
            let got = quaxify(both)(&x).unwrap();
            let want = both(&dense);
            assert_eq!(
                got.to_vec::<f64>().unwrap(),
                want.to_vec::<f64>().unwrap(),
                "{what} over {axes:?}"
            );
        }
    }
}

/// Matrices of one structure are stacked and joined as such.
#[test]
fn batches_are_joined_by_structure() {
    let d = |seed: u64| {
        Structured::diagonal(&random::normal(&random::key(seed), ([3, 4], DType::F64)))
            .unwrap()
            .array()
    };
    let (a, b) = (d(1), d(2));
    let joined = quaxify(|a: &Array, b: &Array| numpy::concatenate(&[a, b], 0))(&a, &b).unwrap();
    assert!(
        joined.describe().contains("diagonal"),
        "{}",
        joined.describe()
    );
    assert_eq!(joined.shape(), [6, 4, 4]);
    let stacked = quaxify(|a: &Array, b: &Array| numpy::stack(&[a, b], 1))(&a, &b).unwrap();
    assert!(
        stacked.describe().contains("diagonal"),
        "{}",
        stacked.describe()
    );
    let want = numpy::stack(&[dense(&a), dense(&b)], 1);
    assert_eq!(
        dense(&stacked).to_vec::<f64>().unwrap(),
        want.to_vec::<f64>().unwrap()
    );
    let eyes = Structured::identity([2, 2], DType::F32).unwrap().array();
    let both = quaxify(|a: &Array| numpy::stack(&[a, a], 0))(&eyes).unwrap();
    assert_eq!(both.shape(), [2, 2, 2]);
    assert!(both.describe().contains("identity"), "{}", both.describe());
}

/// A sum of which a term is as large as the whole is solved by elimination; one of structures alone is refused.
#[test]
fn sums_are_solved_where_a_term_is_stored() {
    let n = 6;
    let full = random::normal(&random::key(1), ([n, n], DType::F64));
    let symmetric = Structured::symmetric(&(full + 5.0 * Array::eye(n, DType::F64)))
        .unwrap()
        .array();
    let c = random::normal(&random::key(2), ([n], DType::F64));
    let toeplitz = Structured::toeplitz(&c, &c).unwrap().array();
    let b = Array::arange(n, DType::F64);
    let solve = |s: &Array, t: &Array, b: &Array| linalg::solve(&(s + t), b);
    let got = quaxify(solve)(&symmetric, &toeplitz, &b).unwrap();
    let want = solve(&dense(&symmetric), &dense(&toeplitz), &b);
    assert!(
        got.allclose(&want, 1e-9, 1e-9, false)
            .item::<bool>()
            .unwrap()
    );
}
