//! The README's example is `examples/readme.rs`, and prints what the README says.

use std::{fs, path::Path, process::Command};

#[test]
fn the_example_prints_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```text\n").unwrap();
    let (promised, _) = rest.split_once("\n```").unwrap();
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--example", "readme"])
        .current_dir(root)
        .output()
        .unwrap();
    let printed = String::from_utf8(run.stdout).unwrap();
    assert!(
        run.status.success() && printed.trim_end() == promised,
        "{printed}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn the_readme_is_short() {
    let readme = include_str!("../README.md");
    assert!(readme.lines().count() < 150);
}
