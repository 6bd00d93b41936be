//! The command: what it prints, and how it ends.
#![cfg(feature = "cli")]

use quaxide::{io, prelude::*};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("quaxide-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn quaxide(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quaxide"))
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn test_program(expected: &str) -> String {
    format!(
        "func.func @main() {{\n  %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf32>\n  \
         %1 = stablehlo.add %0, %0 : tensor<2xf32>\n  %2 = stablehlo.constant dense<{expected}> : tensor<2xf32>\n  \
         stablehlo.custom_call @check.expect_eq(%1, %2) : (tensor<2xf32>, tensor<2xf32>) -> ()\n  func.return\n}}\n"
    )
}

const LINEAR: &str = r#"func.func @main(%arg0: tensor<2x2xf32> loc("params['w']"), %arg1: tensor<2xf32> loc("x")) -> tensor<2xf32> {
  %0 = stablehlo.dot_general %arg1, %arg0, contracting_dims = [0] x [0] : (tensor<2xf32>, tensor<2x2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}"#;

#[test]
fn check_counts_and_says_why() {
    let f = Folder::new("check");
    let right = f.file("right.mlir", &test_program("[2.0, 4.0]"));
    let wrong = f.file("wrong.mlir", &test_program("[2.0, 5.0]"));
    let odd = f.file(
        "odd.mlir",
        "func.func @main() {\n  stablehlo.frobnicate : tensor<2xf32>\n}",
    );
    let broken = f.file("broken.mlir", "func.func @main() {\n  %0 =");
    for interp in ["reference", "compiled"] {
        let done = quaxide(&["check", "--interp", interp, &right]);
        assert_eq!(text(&done.stdout), "1 passed, 0 failed, 0 unsupported\n");
        assert_eq!(done.status.code(), Some(0));
    }
    let done = quaxide(&["check", &right, &wrong, &odd, &broken]);
    let out = text(&done.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(
        lines[0].contains("wrong.mlir: failed: line 5: expect_eq: 4.0 where 5.0 is expected"),
        "{out}"
    );
    assert!(lines[1].contains("odd.mlir: unsupported: 2:3:"), "{out}");
    assert!(lines[2].contains("broken.mlir: failed: 2:7:"), "{out}");
    assert_eq!(lines[3], "1 passed, 2 failed, 1 unsupported");
    assert_eq!(done.status.code(), Some(1));
    let json = text(&quaxide(&["check", "--json", &right, &wrong]).stdout);
    assert!(
        json.lines().all(|l| l.starts_with('{') && l.ends_with('}')),
        "{json}"
    );
    assert!(
        json.ends_with("{\"passed\":1,\"failed\":1,\"unsupported\":0}\n"),
        "{json}"
    );
}

#[test]
fn run_takes_arrays_from_files() {
    let f = Folder::new("run");
    let program = f.file("linear.mlir", LINEAR);
    let (w, x) = (
        Array::from([[1f32, 2.], [3., 4.]]),
        Array::from([1f32, 10.]),
    );
    io::save_npy(f.path("x.npy"), &x).unwrap();
    let named = [
        ("params.w".to_string(), w.clone()),
        ("other".to_string(), x.clone()),
    ];
    io::write_safetensors(f.path("p.safetensors"), named).unwrap();
    let (x, p) = (format!("x={}", f.path("x.npy")), f.path("p.safetensors"));
    let done = quaxide(&["run", &program, "--input", &p, "--input", &x]);
    assert_eq!(
        text(&done.stdout),
        "result[0]: f32[2] = [31. 42.]\n",
        "{}",
        text(&done.stderr)
    );
    let key = format!("params['w']={p}:params.w");
    let y = f.path("y.npy");
    let done = quaxide(&["run", &program, "--input", &key, "--input", &x, "--out", &y]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(
        io::load_npy(&y).unwrap().to_vec::<f32>().unwrap(),
        [31., 42.]
    );
    // w + a·b
    let adapter = [
        ("params.w.a".to_string(), Array::from([[1f32], [0.]])),
        ("params.w.b".to_string(), Array::from([[100f32, 200.]])),
    ];
    io::write_safetensors(f.path("a.safetensors"), adapter).unwrap();
    let a = f.path("a.safetensors");
    let lora = ["--lora", "params*", "--rank", "1", "--adapter", &a];
    let done = quaxide(&[&["run", &program, "--input", &p, "--input", &x][..], &lora].concat());
    assert_eq!(
        text(&done.stdout),
        "result[0]: f32[2] = [131. 242.]\n",
        "{}",
        text(&done.stderr)
    );
    let done = quaxide(&["run", &program, "--input", &x]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stderr).contains("the input `params['w']` is not given"),
        "{}",
        text(&done.stderr)
    );
    assert_eq!(
        quaxide(&["run", &program, "--rank", "1"]).status.code(),
        Some(2)
    );
}

#[test]
fn show_and_grad_print_programs() {
    let f = Folder::new("show");
    let program = f.file("linear.mlir", LINEAR);
    let shown = text(&quaxide(&["show", &program]).stdout);
    assert!(
        shown.starts_with("{ lambda ; a:f32[2,2] b:f32[2]. let"),
        "{shown}"
    );
    let again = f.file("linear.jaxpr", &shown);
    assert_eq!(text(&quaxide(&["show", &again]).stdout), shown);
    let lora = ["--stage", "rewritten", "--lora", "*w*", "--rank", "1"];
    let rewritten = text(&quaxide(&[&["show", &program][..], &lora].concat()).stdout);
    assert_eq!(rewritten.matches("dot_general").count(), 3, "{rewritten}");
    let dot = text(&quaxide(&["show", &program, "--format", "dot"]).stdout);
    assert!(
        dot.starts_with("digraph") && dot.contains("in_v0 -> eqn_0"),
        "{dot}"
    );
    assert!(
        text(&quaxide(&["show", &program, "--format", "html"]).stdout)
            .starts_with("<!doctype html>")
    );
    let done = quaxide(&["grad", &program]);
    assert!(
        text(&done.stderr).contains("--sum"),
        "{}",
        text(&done.stderr)
    );
    let slope = text(&quaxide(&["grad", &program, "--sum"]).stdout);
    let slope: Jaxpr = slope.parse().unwrap();
    assert_eq!(slope.out_avals().len(), 2);
    assert!(text(&quaxide(&["completions", "bash"]).stdout).contains("complete -o filenames"));
}

/// What a script reads is JSON, and wrong use has a status of its own.
#[test]
fn scripts_read_json() {
    let f = Folder::new("json");
    let program = f.file(
        "two.mlir",
        "func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xi1>, tensor<2xcomplex<f32>>) {
          %0 = stablehlo.sqrt %x : tensor<2xf32>
          %1 = stablehlo.compare GT, %x, %0, FLOAT : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
          %2 = stablehlo.complex %x, %0 : tensor<2xcomplex<f32>>
          return %0, %1, %2 : tensor<2xf32>, tensor<2xi1>, tensor<2xcomplex<f32>>
        }",
    );
    let x = f.path("x.npy");
    io::save_npy(&x, &Array::from([4f32, -1.])).unwrap();
    let input = format!("x={x}");
    let done = quaxide(&["run", &program, "--input", &input, "--json"]);
    assert_eq!(
        text(&done.stdout),
        "{\"name\":\"result[0]\",\"dtype\":\"float32\",\"shape\":[2],\"elements\":[2.0,\"NaN\"]}\n\
         {\"name\":\"result[1]\",\"dtype\":\"bool\",\"shape\":[2],\"elements\":[true,false]}\n\
         {\"name\":\"result[2]\",\"dtype\":\"complex64\",\"shape\":[2],\"elements\":[[4.0,2.0],[-1.0,\"NaN\"]]}\n",
        "{}",
        text(&done.stderr)
    );
    let shown = text(&quaxide(&["show", &program, "--format", "json"]).stdout);
    for part in [
        "\"inputs\":[{\"name\":\"v0\",\"dtype\":\"float32\",\"shape\":[2]}]",
        "{\"primitive\":\"sqrt\",\"params\":{",
        "\"results\":[{\"name\":",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let both = ["run", &program, "--json", "--out", "y.npy"];
    assert_eq!(quaxide(&both).status.code(), Some(2));
    for wrong in [
        &["frobnicate"][..],
        &["check"],
        &["show"],
        &["run", "--interp", "quick", "x"],
    ] {
        assert_eq!(quaxide(wrong).status.code(), Some(2), "{wrong:?}");
    }
    for missing in [
        &["show", "nothing.mlir"][..],
        &["grad", "nothing.mlir"],
        &["inspect", "nothing.safetensors"],
    ] {
        let done = quaxide(missing);
        assert_eq!(done.status.code(), Some(1), "{missing:?}");
        assert!(text(&done.stderr).starts_with("quaxide: "), "{missing:?}");
    }
    for command in [
        "run",
        "show",
        "grad",
        "check",
        "inspect",
        "profile",
        "calibrate",
        "completions",
    ] {
        let help = text(&quaxide(&[command, "--help"]).stdout);
        assert!(
            help.contains("Example") && help.contains("quaxide "),
            "{command}: {help}"
        );
    }
}

#[test]
fn a_trace_is_a_table() {
    let f = Folder::new("profile");
    let step = |name: &str, ts: f64, dur: f64| {
        format!(
            "{{\"name\":\"{name}\",\"ph\":\"X\",\"pid\":1,\"tid\":0,\"ts\":{ts},\"dur\":{dur},\"args\":{{\"types\":\"f32[2] -> f32[2]\",\"flops\":4000000,\"bytes\":2000000,\"at\":\"src/x.rs:1\"}}}},\n"
        )
    };
    let trace = format!(
        "[\n{}{}{}",
        step("exp", 1.0, 500.0),
        step("dot_general", 600.0, 2000.0),
        step("exp", 3000.0, 500.0)
    );
    let trace = f.file("trace.json", &trace);
    let rows = text(&quaxide(&["profile", &trace, "--json"]).stdout);
    let expected = "{\"operation\":\"dot_general\",\"calls\":1,\"ms\":2.0000,\"gflops\":2.000,\"gbytes\":1.000}\n\
                    {\"operation\":\"exp\",\"calls\":2,\"ms\":1.0000,\"gflops\":8.000,\"gbytes\":4.000}\n";
    assert_eq!(rows, expected);
    let table = text(&quaxide(&["profile", &trace, "--types", "--after", "2"]).stdout);
    assert!(
        table.contains("exp  f32[2] -> f32[2]") && !table.contains("dot_general"),
        "{table}"
    );
    let odd = f.file("odd.json", "[\n{\"name\":\"exp\"}\n");
    let done = quaxide(&["profile", &odd]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        text(&done.stderr).contains("line 2"),
        "{}",
        text(&done.stderr)
    );
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let f = Folder::new("pipe");
    let odd = f.file(
        "odd.mlir",
        "func.func @main() {\n  stablehlo.frobnicate : tensor<2xf32>\n}",
    );
    let mut all = vec!["check".to_string()];
    all.extend(std::iter::repeat_n(odd, 4000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_quaxide"))
        .args(all)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("unsupported"));
    let done = child.wait_with_output().unwrap();
    assert_eq!(text(&done.stderr), "");
}
