//! Arrays print as JAX's do: `tests/golden/make_display.py` made the texts.

use quaxide::prelude::*;

fn numbers(spec: &str, size: usize) -> Vec<f64> {
    match spec {
        "arange" => (0..size).map(|i| i as f64).collect(),
        "thirds" => (0..size).map(|i| i as f64 / 3.0).collect(),
        _ => spec
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect(),
    }
}

fn array(dtype: DType, shape: &[usize], spec: &str) -> Array {
    let size: usize = shape.iter().product();
    let x = numbers(spec, size);
    if !dtype.is_complex() {
        return Array::new(shape, x).astype(dtype);
    }
    let (re, im): (Vec<f64>, Vec<f64>) = x.chunks(2).map(|z| (z[0], z[1])).unzip();
    let z: Vec<num_complex::Complex<f64>> = re
        .into_iter()
        .zip(im)
        .map(|(re, im)| num_complex::Complex::new(re, im))
        .collect();
    Array::new(shape, z).astype(dtype)
}

#[test]
fn texts_are_those_of_jax() {
    let golden = include_str!("golden/display.txt");
    let mut wrong = vec![];
    let mut count = 0;
    for case in golden.split("== ").skip(1) {
        let (head, rest) = case.split_once('\n').unwrap();
        let (dtype, shape) = head.split_once(' ').unwrap();
        let shape: Vec<usize> = shape
            .split(',')
            .filter(|n| *n != "-")
            .map(|n| n.parse().unwrap())
            .collect();
        let mut parts = rest.split("\n--\n");
        let spec = parts.next().unwrap();
        let (display, debug) = (
            parts.next().unwrap(),
            parts.next().unwrap().trim_end_matches('\n'),
        );
        let x = array(DType::from_name(dtype).unwrap(), &shape, spec);
        for (got, want) in [(format!("{x}"), display), (format!("{x:?}"), debug)] {
            if got != want {
                wrong.push(format!("{head}: {spec}\n{got}\nis not\n{want}\n"));
            }
        }
        count += 1;
    }
    assert!(count > 100);
    assert!(
        wrong.is_empty(),
        "{} texts differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_has_no_numbers_prints_its_type() {
    let x = Array::symbolic_zero(Aval::new([2], DType::F32));
    assert_eq!(x.to_string(), "Zero(f32[2])");
    let weak = Array::from(1.5);
    assert_eq!(
        format!("{weak:?}"),
        "Array(1.5, dtype=float32, weak_type=True)"
    );
    let x = Array::from([1f32]) + Array::zeros([2, 3], DType::F32).reshape([5]);
    assert!(x.to_string().contains("cannot reshape"), "{x}");
    let traced = std::sync::Mutex::new(String::new());
    let f = jit(|x: &Array| {
        *traced.lock().unwrap() = x.to_string();
        x.sin()
    });
    let _ = f(&Array::from([1f32])).unwrap();
    assert_eq!(*traced.lock().unwrap(), "Traced(f32[1])");
}

#[test]
fn a_view_prints_its_elements() {
    let x = Array::from([[1i32, 2], [3, 4]]).t();
    assert_eq!(x.to_string(), "[[1 3]\n [2 4]]");
}
