//! `QUAXIDE_PROFILE` writes what each step of a plan took.

use quaxide::prelude::*;
use std::{env, fs, process::Command};

#[test]
fn a_program_runs() {
    let f = jit(|a: &Array, x: &Array| a.dot(x).tanh() * 2.0);
    let y = f(
        &Array::ones([3, 4], DType::F32),
        &Array::ones([4], DType::F32),
    )
    .unwrap();
    assert_eq!(y.shape(), [3]);
}

#[test]
fn each_step_is_a_line_of_the_trace() {
    let file = env::temp_dir().join(format!("quaxide-profile-{}.json", std::process::id()));
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_program_runs"])
        .env("QUAXIDE_PROFILE", &file)
        .status()
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(status.success());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "[");
    let product = lines
        .iter()
        .find(|l| l.contains("\"dot_general\""))
        .unwrap();
    assert!(
        product.starts_with("{\"name\":\"dot_general\",\"ph\":\"X\",") && product.ends_with("}},"),
        "{product}"
    );
    assert!(
        product.contains("\"types\":\"f32[3,4] f32[4] -> f32[3]\""),
        "{product}"
    );
    // Two for each of 3 × 4 products; four bytes for each of 12 + 4 + 3 elements.
    assert!(product.contains("\"flops\":24,\"bytes\":76,"), "{product}");
    assert!(product.contains("profile.rs:8"), "{product}");
    assert!(
        lines.iter().any(|l| l.contains("\"name\":\"tanh mul\"")),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_written_fails_nothing() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_program_runs", "--nocapture"])
        .env("QUAXIDE_PROFILE", "/nowhere/at/all.json")
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("QUAXIDE_PROFILE=/nowhere/at/all.json: "),
        "{said}"
    );
}
