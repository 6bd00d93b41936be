//! Random programs over the whole language of the algebra, on values nested to depth 3, forward and backward.
//!
//! What is planned equals the program as it stands (in the reference interpreter), is never costlier, is the same each time and on
//! every thread, and is refused exactly when [`decide`](super::decide) says so. A number runs by default; `ALGEBRA_PROGRAMS=10000
//! cargo test --release --lib algebra::tests::language` runs as many as are asked for.

use super::super::import::islands;
use super::super::memo::forget;
use super::super::report::{plans, prepared};
use super::{Random, decide};
use crate::lax;
use crate::prelude::*;
use crate::trace::op::DotGeneral;

/// Programs tried, unless the environment asks for more.
fn programs() -> u64 {
    let asked = std::env::var("ALGEBRA_PROGRAMS").ok();
    let asked = asked.and_then(|number| number.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 60 } else { 1_000 })
}

fn ramp(shape: &[usize], step: f64) -> Array {
    let count: usize = shape.iter().product();
    let numbers: Vec<f64> = (0..count).map(|i| (i as f64 * step + step).sin()).collect();
    Array::from(numbers).reshape(shape)
}

/// A value of these sizes whose base is a value, and so on.
fn value(random: &mut Random, n: usize, m: usize, depth: usize) -> Array {
    let rank = 1 + random.below(2);
    let base = match depth {
        1 => ramp(&[n, m], 0.7),
        _ => value(random, n, m, depth - 1),
    };
    let (a, b) = (ramp(&[n, rank], 1.3), ramp(&[rank, m], 2.1));
    Array::from_value(LoraArray {
        w: base,
        stop_gradient: random.below(2) == 0,
        ..LoraArray::from_parts(ramp(&[n, m], 0.7), a, b).unwrap()
    })
}

const SIZES: [usize; 3] = [2, 3, 4];

/// One operation on arrays that are there already; `None` if they do not fit it.
fn operation(random: &mut Random, pool: &[Array]) -> Option<Array> {
    let x = pool[random.below(pool.len())].clone();
    let y = pool[random.below(pool.len())].clone();
    let shape = x.shape().to_vec();
    let rank = shape.len();
    let axis = if rank == 0 { 0 } else { random.below(rank) };
    let same = x.shape() == y.shape();
    Some(match random.below(23) {
        // Contractions over any axes of the same size, the first axes shared or not, on either side.
        0..=4 => {
            let other = y.shape().to_vec();
            let pairs = (0..rank).flat_map(|i| (0..other.len()).map(move |j| (i, j)));
            let fitting: Vec<(usize, usize)> =
                pairs.filter(|(i, j)| shape[*i] == other[*j]).collect();
            let (i, j) = *fitting.get(random.below(fitting.len().max(1)))?;
            let batch = fitting.iter().find(|(k, l)| *k != i && *l != j);
            let batch = batch.copied().filter(|_| random.below(3) == 0);
            let shared =
                |of: fn((usize, usize)) -> usize| batch.map(of).into_iter().collect::<Vec<_>>();
            let (left, right) = (shared(|b| b.0), shared(|b| b.1));
            if rank + other.len() > 6 {
                return None;
            }
            lax::dot_general(&x, &y, DotGeneral::new(([i], [j]), (left, right)))
        }
        5 => x.transpose((0..rank).rev().collect::<Vec<_>>()),
        6 if same => &x + &y,
        7 if same => &x - &y,
        8 => -&x,
        9 => &x * [0.5, -2.0][random.below(2)],
        10 => &x / [2.0, 4.0][random.below(2)],
        // By a row of a tensor, along the last axis.
        11 if rank > 0 => &x * &ramp(&shape[rank - 1..], 0.9),
        12 if rank > 0 => x.sum(axis),
        13 if rank < 3 => x
            .expand_dims(0)
            .broadcast_to([&[SIZES[random.below(3)]], &shape[..]].concat()),
        14 if rank == 2 => x.reshape([shape[0] * shape[1]]).reshape(shape),
        15 if rank > 0 && shape[axis] > 1 => lax::slice_in_dim(&x, 1, shape[axis], 1, axis as i32),
        16 if rank > 0 => x.take(&Array::from([0i32, 1, 0]), axis as i32),
        17 if same && rank > 0 => numpy::concatenate(&[&x, &y], axis as i32),
        18 if rank > 0 => x.pad(&vec![(1, 0); rank], 0.0),
        19 if rank > 0 => {
            let mask = ramp(&shape, 1.7).gt(0.0);
            mask.select(&x, Array::zeros_like(&x))
        }
        20 if rank > 0 && shape[axis] > 1 => {
            let start = ramp(&[1], 2.3).index(0).astype(DType::I32);
            lax::dynamic_slice_in_dim(&x, start, shape[axis] - 1, axis as i32)
        }
        21 => x.astype(DType::F32).astype(DType::F64),
        _ => x.stop_gradient(),
    })
}

/// A random program; its result is something computed late.
fn program(seed: u64, values: &[Array]) -> Array {
    let mut random = Random::new(seed);
    let mut pool = values.to_vec();
    for _ in 0..2 + random.below(6) {
        if let Some(made) = operation(&mut random, &pool)
            && made.shape().iter().product::<usize>() <= 256
        {
            pool.push(made);
        }
    }
    pool.last().cloned().unwrap_or_else(|| Array::scalar(0.0))
}

fn arguments(seed: u64) -> Vec<Array> {
    let mut random = Random::new(seed);
    let mut size = || SIZES[random.below(3)];
    let (n, m, k) = (size(), size(), size());
    let depth = 1 + random.below(3);
    vec![
        value(&mut random, n, m, depth),
        ramp(&[m, k], 0.3),
        ramp(&[n, m], 0.4),
        ramp(&[k], 0.6),
    ]
}

/// Compares what is planned with the program as it stands.
fn check(seed: u64, program: &Jaxpr, tally: &mut [u64; 3]) {
    let prepared = prepared(program).unwrap();
    forget();
    let planned = super::super::rewrite(&prepared);
    let possible = islands(&prepared).map(|islands| {
        let all: Option<Vec<bool>> = islands
            .iter()
            .map(|i| decide::has_plan(&i.problem))
            .collect();
        all.map(|all| all.into_iter().all(|possible| possible))
    });
    match (&planned, possible) {
        (_, Ok(None)) => tally[2] += 1,
        (found, Ok(Some(possible))) => {
            assert_eq!(found.is_ok(), possible, "{seed}: {found:?}\n{program}");
        }
        (found, Err(_)) => assert!(found.is_err(), "{seed}"),
    }
    let Ok(planned) = planned else {
        tally[1] += 1;
        return;
    };
    tally[0] += 1;
    planned.check().unwrap();
    for island in plans(program).unwrap() {
        assert!(
            island.written_is_forbidden || island.cost <= island.cost_as_written * (1.0 + 1e-9),
            "{seed}: {island}"
        );
    }
    // Another thread plans it the same way.
    let text = planned.to_string();
    if seed.is_multiple_of(8) {
        forget();
        let again = std::thread::scope(|scope| {
            let plan = || super::super::rewrite(&prepared).map(|again| again.to_string());
            scope.spawn(plan).join().unwrap()
        });
        assert_eq!(again.unwrap(), text, "{seed}");
    }
    let inputs: Vec<Array> = program
        .in_avals()
        .enumerate()
        .map(|(i, aval)| ramp(&aval.shape, 0.37 * (i + 1) as f64))
        .collect();
    let (expected, found) = (
        program.eval(&inputs).unwrap(),
        planned.eval(&inputs).unwrap(),
    );
    for (expected, found) in expected.iter().zip(&found) {
        let (expected, found) = (
            expected.to_vec::<f64>().unwrap(),
            found.to_vec::<f64>().unwrap(),
        );
        let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
        for (a, b) in expected.iter().zip(&found) {
            // Conversions to 32 bits are within the language; an index beyond an axis reads NaN, as it does in JAX.
            assert!(
                (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-4 * scale,
                "{seed}: {a} ≠ {b}\n{program}\n{planned}"
            );
        }
    }
}

#[test]
fn random_programs_keep_their_meaning_forward_and_backward() {
    // Planned, refused, too large to decide.
    let mut tally = [0; 3];
    for seed in 0..programs() {
        let arguments = arguments(seed);
        let forward = move |values: &Vec<Array>| program(seed, values);
        let Ok(traced) = make_jaxpr(quaxify(forward))(&arguments) else {
            continue;
        };
        check(seed, &traced, &mut tally);
        let loss = quaxify(move |values: &Vec<Array>| program(seed, values).tanh().sum(()));
        if let Ok(traced) = make_jaxpr(grad(loss))(&arguments) {
            check(seed, &traced, &mut tally);
        }
    }
    let [planned, refused, undecided] = tally;
    println!("{planned} planned, {refused} refused, {undecided} too large to decide");
    assert!(planned > programs() / 2 && refused > 0 && undecided < planned);
}
