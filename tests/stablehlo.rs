//! Programs in StableHLO: what they compute, and what is said of those that are wrong.

use quaxide::{
    ErrorKind,
    interp::{Interpreter, run},
    prelude::*,
    stablehlo::{self, Module},
};

/// The results of `@main` by both interpreters, which agree.
fn results(text: &str, x: &[Array]) -> Vec<Array> {
    let program = stablehlo::read(text).unwrap_or_else(|e| panic!("{e}"));
    let a = run(&program, x, Interpreter::Reference).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let b = run(&program, x, Interpreter::Compiled).unwrap();
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
    a
}

fn floats(x: &Array) -> Vec<f32> {
    x.astype(DType::F32).to_vec().unwrap()
}

fn integers(x: &Array) -> Vec<i64> {
    x.astype(DType::I64).to_vec().unwrap()
}

/// A function of one line each; `%x` and `%y` are its arguments.
fn function(parameters: &str, result: &str, body: &str, out: &str) -> String {
    format!("func.func @main({parameters}) -> {result} {{\n{body}\n  return {out} : {result}\n}}")
}

#[test]
fn pretty_and_generic_forms_are_one_program() {
    let pretty = r#"module @m attributes {mhlo.num_partitions = 1 : i32} {
      func.func public @main(%x: tensor<2x3xf32> loc("x"), %y: tensor<3xf32>) -> (tensor<2xf32> {jax.result_info = "r"}) {
        %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32> loc(#loc)
        %0 = stablehlo.broadcast_in_dim %y, dims = [1] : (tensor<3xf32>) -> tensor<2x3xf32>
        %1 = stablehlo.multiply %x, %0 : tensor<2x3xf32>
        %2 = stablehlo.compare GT, %1, %0, FLOAT : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xi1>
        %3 = stablehlo.select %2, %1, %0 : tensor<2x3xi1>, tensor<2x3xf32>
        %4 = stablehlo.reduce(%3 init: %cst) applies stablehlo.add across dimensions = [1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
        return %4 : tensor<2xf32>
      }
    }
    #loc = loc(unknown)"#;
    let generic = r#""builtin.module"() <{sym_name = "m"}> ({
      "func.func"() <{function_type = (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2xf32>, sym_name = "main"}> ({
      ^bb0(%arg0: tensor<2x3xf32>, %arg1: tensor<3xf32>):
        %0 = "stablehlo.constant"() <{value = dense<0.0> : tensor<f32>}> : () -> tensor<f32>
        %1 = "stablehlo.broadcast_in_dim"(%arg1) <{broadcast_dimensions = array<i64: 1>}> : (tensor<3xf32>) -> tensor<2x3xf32>
        %2 = "stablehlo.multiply"(%arg0, %1) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
        %3 = "stablehlo.compare"(%2, %1) <{comparison_direction = #stablehlo<comparison_direction GT>}> : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xi1>
        %4 = "stablehlo.select"(%3, %2, %1) : (tensor<2x3xi1>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
        %5 = "stablehlo.reduce"(%4, %0) <{dimensions = array<i64: 1>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %6 = "stablehlo.add"(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
          "stablehlo.return"(%6) : (tensor<f32>) -> ()
        }) : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
        "func.return"(%5) : (tensor<2xf32>) -> ()
      }) : () -> ()
    }) {mhlo.num_replicas = 1 : i32} : () -> ()"#;
    let (a, b) = (
        stablehlo::read(pretty).unwrap(),
        stablehlo::read(generic).unwrap(),
    );
    assert_eq!(a.to_string(), b.to_string());
    assert!(a.to_string().contains("reduce_sum[axes=(1,)"), "{a}");
    let entry = Module::parse("m.mlir", pretty).unwrap().main().unwrap();
    assert_eq!(entry.inputs, ["x", "y"]);
    assert_eq!(entry.results, [Some("r".to_string())]);
    let x = [
        Array::from([[1f32, 2., 3.], [-1., 0.5, 4.]]),
        Array::from([1f32, -2., 2.]),
    ];
    assert_eq!(
        floats(&results(pretty, &x)[0]),
        [1. - 2. + 6., 1. - 1. + 8.]
    );
}

#[test]
fn literals_of_every_type() {
    let cases: &[(&str, &str, &[f64])] = &[
        (
            "dense<[[1, -2], [0x7F, 255]]>",
            "2x2xi8",
            &[1., -2., 127., -1.],
        ),
        (
            "dense<[0, 18446744073709551615]>",
            "2xui64",
            &[0., 18446744073709551615.],
        ),
        (
            "dense<[1.5, 0x7FC00000, -2.5e+3, 0xFF800000]>",
            "4xf32",
            &[1.5, f64::NAN, -2500., f64::NEG_INFINITY],
        ),
        ("dense<[0x3C00, 1.0]>", "2xf16", &[1., 1.]),
        ("dense<0x4049>", "3xbf16", &[3.140625, 3.140625, 3.140625]),
        ("dense<\"0x000080BF0000003F\">", "2xf32", &[-1., 0.5]),
        ("dense<\"0x0000803F\">", "2x2xf32", &[1., 1., 1., 1.]),
        ("dense<[true, false]>", "2xi1", &[1., 0.]),
        ("dense<\"0x05\">", "3xi1", &[1., 0., 1.]),
        ("dense<>", "0x3xf32", &[]),
        (
            "dense<[(1.0, 2.0), (3.0, -4.0)]>",
            "2xcomplex<f32>",
            &[1., 3.],
        ),
    ];
    for (literal, kind, wanted) in cases {
        let result = format!("tensor<{kind}>");
        let body = format!("  %0 = stablehlo.constant {literal} : {result}");
        let y = &results(&function("", &result, &body, "%0"), &[])[0];
        let found: Vec<f64> = if y.dtype().unwrap().is_complex() {
            y.real().astype(DType::F64).to_vec().unwrap()
        } else {
            y.astype(DType::F64).to_vec().unwrap()
        };
        let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        assert_eq!(found.len(), wanted.len(), "{literal}");
        assert!(found.iter().zip(*wanted).all(same), "{literal}: {found:?}");
    }
}

#[test]
fn a_huge_splat_costs_nothing() {
    let kind = "tensor<9223372036854775807xf32>";
    let body = format!(
        "  %0 = stablehlo.constant dense<1.0> : {kind}\n  %1 = stablehlo.negate %0 : {kind}"
    );
    let program = stablehlo::read(&function("", kind, &body, "%1")).unwrap();
    let e = run(&program, &[], Interpreter::Reference).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
}

#[test]
fn integers_and_comparisons_follow_the_specification() {
    let pair = "%x: tensor<5xi32>, %y: tensor<5xi32>";
    let x = [
        Array::from([7i32, -7, i32::MIN, 5, 1]),
        Array::from([2i32, 2, -1, 0, 33]),
    ];
    let cases: &[(&str, [i64; 5])] = &[
        ("add", [9, -5, 2147483647, 5, 34]),
        ("divide", [3, -3, -2147483648, -1, 0]),
        ("remainder", [1, -1, 0, 5, 1]),
        ("shift_left", [28, -28, 0, 5, 0]),
        ("shift_right_arithmetic", [1, -2, -1, 5, 0]),
        ("shift_right_logical", [1, 1073741822, 0, 5, 0]),
        ("power", [49, 49, -2147483648, 1, 1]),
    ];
    for (op, wanted) in cases {
        let body = format!("  %0 = stablehlo.{op} %x, %y : tensor<5xi32>");
        let y = results(&function(pair, "tensor<5xi32>", &body, "%0"), &x);
        // −2³¹ to the power of −1 is nothing.
        let wanted = if *op == "power" {
            [49, 49, 0, 1, 1]
        } else {
            *wanted
        };
        assert_eq!(integers(&y[0]), wanted, "{op}");
    }
    let body = "  %0 = stablehlo.compare LT, %x, %y, TOTALORDER : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>";
    let text = function(
        "%x: tensor<3xf32>, %y: tensor<3xf32>",
        "tensor<3xi1>",
        body,
        "%0",
    );
    let x = [
        Array::from([-0f32, 1.0, -f32::NAN]),
        Array::from([0f32, f32::NAN, -f32::INFINITY]),
    ];
    assert_eq!(integers(&results(&text, &x)[0]), [1, 1, 1]);
}

#[test]
fn bodies_become_primitives_or_run_as_written() {
    let program = |body: &str| {
        let reduce = format!(
            "  %c = stablehlo.constant dense<1.0> : tensor<f32>\n  \
             %0 = stablehlo.reduce(%x init: %c) across dimensions = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<f32>\n   \
             reducer(%a: tensor<f32>, %b: tensor<f32>) {{\n{body}\n  }}"
        );
        function("%x: tensor<4xf32>", "tensor<f32>", &reduce, "%0")
    };
    let x = [Array::from([1f32, 2., 3., 4.])];
    let known = program(
        "  %s = stablehlo.multiply %b, %a : tensor<f32>\n  stablehlo.return %s : tensor<f32>",
    );
    assert!(
        stablehlo::read(&known)
            .unwrap()
            .to_string()
            .contains("reduce_prod")
    );
    assert_eq!(floats(&results(&known, &x)[0]), [24.]);
    // An initial value that changes the result takes part.
    let sum =
        program("  %s = stablehlo.add %b, %a : tensor<f32>\n  stablehlo.return %s : tensor<f32>");
    assert_eq!(floats(&results(&sum, &x)[0]), [11.]);
    let own = program(
        "  %p = stablehlo.multiply %a, %b : tensor<f32>\n  %q = stablehlo.add %a, %b : tensor<f32>\n  \
         %s = stablehlo.subtract %q, %p : tensor<f32>\n  stablehlo.return %s : tensor<f32>",
    );
    assert!(
        stablehlo::read(&own)
            .unwrap()
            .to_string()
            .contains(" = reduce[")
    );
    // 1 − (1 − a)(1 − b) … with the initial value 1.
    assert_eq!(floats(&results(&own, &x)[0]), [1.]);
}

#[test]
fn windows_scatters_and_sorts() {
    let window = r#"  %c = stablehlo.constant dense<0> : tensor<i32>
      %0 = "stablehlo.reduce_window"(%x, %c) <{base_dilations = array<i64: 2>, padding = dense<[[1, 0]]> : tensor<1x2xi64>,
        window_dilations = array<i64: 2>, window_dimensions = array<i64: 2>, window_strides = array<i64: 1>}> ({
      ^bb0(%a: tensor<i32>, %b: tensor<i32>):
        %s = stablehlo.add %a, %b : tensor<i32>
        stablehlo.return %s : tensor<i32>
      }) : (tensor<4xi32>, tensor<i32>) -> tensor<6xi32>"#;
    let x = [Array::from([1i32, 2, 3, 4])];
    // The padded and dilated array is 0 1 0 2 0 3 0 4; a window sees two of it, two apart.
    let text = function("%x: tensor<4xi32>", "tensor<6xi32>", window, "%0");
    assert_eq!(integers(&results(&text, &x)[0]), [0, 3, 0, 5, 0, 7]);

    let scatter = |combine: &str| {
        let body = format!(
            r#"  %i = stablehlo.constant dense<[[1], [9], [1]]> : tensor<3x1xi32>
      %u = stablehlo.constant dense<[10, 20, 30]> : tensor<3xi32>
      %0 = "stablehlo.scatter"(%x, %i, %u) <{{scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0],
        scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}}> ({{
      ^bb0(%a: tensor<i32>, %b: tensor<i32>):
{combine}
      }}) : (tensor<4xi32>, tensor<3x1xi32>, tensor<3xi32>) -> tensor<4xi32>"#
        );
        function("%x: tensor<4xi32>", "tensor<4xi32>", &body, "%0")
    };
    let add = scatter("%s = stablehlo.add %a, %b : tensor<i32>\nstablehlo.return %s : tensor<i32>");
    assert_eq!(integers(&results(&add, &x)[0]), [1, 42, 3, 4]);
    let own =
        scatter("%s = stablehlo.subtract %b, %a : tensor<i32>\nstablehlo.return %s : tensor<i32>");
    assert_eq!(integers(&results(&own, &x)[0]), [1, 30 - (10 - 2), 3, 4]);

    let sort = r#"  %0:2 = "stablehlo.sort"(%x, %y) <{dimension = 0 : i64, is_stable = true}> ({
      ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
        %t = stablehlo.constant dense<2> : tensor<i32>
        %e = stablehlo.remainder %a, %t : tensor<i32>
        %f = stablehlo.remainder %b, %t : tensor<i32>
        %p = stablehlo.compare LT, %e, %f : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %p : tensor<i1>
      }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)"#;
    let text = format!(
        "func.func @main(%x: tensor<4xi32>, %y: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>) {{\n{sort}\n  \
         return %0#0, %0#1 : tensor<4xi32>, tensor<4xi32>\n}}"
    );
    let y = results(&text, &[x[0].clone(), Array::from([0i32, 1, 2, 3])]);
    assert_eq!(integers(&y[0]), [2, 4, 1, 3]);
    assert_eq!(integers(&y[1]), [1, 3, 0, 2]);
}

#[test]
fn control_flow_and_calls() {
    let text = r#"
    func.func public @main(%n: tensor<i32>, %x: tensor<2xf32>) -> tensor<2xf32> {
      %zero = stablehlo.constant dense<0> : tensor<i32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %0:2 = stablehlo.while(%i = %zero, %v = %x) : tensor<i32>, tensor<2xf32>
      cond {
        %c = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %c : tensor<i1>
      } do {
        %w = func.call @step(%v) : (tensor<2xf32>) -> tensor<2xf32>
        %j = stablehlo.add %i, %one : tensor<i32>
        stablehlo.return %j, %w : tensor<i32>, tensor<2xf32>
      }
      %1 = "stablehlo.case"(%n) ({
        stablehlo.return %0#1 : tensor<2xf32>
      }, {
        %t = stablehlo.negate %0#1 : tensor<2xf32>
        stablehlo.return %t : tensor<2xf32>
      }) : (tensor<i32>) -> tensor<2xf32>
      return %1 : tensor<2xf32>
    }
    func.func private @step(%v: tensor<2xf32>) -> tensor<2xf32> {
      %0 = stablehlo.add %v, %v : tensor<2xf32>
      return %0 : tensor<2xf32>
    }"#;
    let x = Array::from([1f32, 3.]);
    for (n, wanted) in [
        (0, [1., 3.]),
        (1, [-2., -6.]),
        (3, [-8., -24.]),
        (-1, [-1., -3.]),
    ] {
        assert_eq!(
            floats(&results(text, &[Array::from(n), x.clone()])[0]),
            wanted,
            "{n}"
        );
    }
    let program = stablehlo::read(text).unwrap();
    assert!(program.to_string().contains("jit[") && program.to_string().contains("name=step"));
}

#[test]
fn exported_programs_are_quaxified() {
    let text = function(
        "%w: tensor<4x4xf32>, %x: tensor<4xf32>",
        "tensor<4xf32>",
        "  %0 = stablehlo.dot_general %x, %w, contracting_dims = [0] x [0] : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>",
        "%0",
    );
    let program = stablehlo::read(&text).unwrap();
    let w = Array::arange(16, DType::F32).reshape([4, 4]);
    let lora = LoraArray::from_parts(
        w,
        Array::ones([4, 1], DType::F32),
        Array::ones([1, 4], DType::F32),
    )
    .unwrap();
    let x = Array::from([1f32, 0., 2., 0.]);
    let merged = program.eval(&[lora.merge().unwrap(), x.clone()]).unwrap();
    let args = vec![Array::from_value(lora), x];
    let run = quaxify(|x: &Vec<Array>| program.eval(x));
    assert_eq!(floats(&run(&args).unwrap()[0]), floats(&merged[0]));
    let rewritten = run.stages((&args,)).unwrap().rewritten.to_string();
    assert!(!rewritten.contains("f32[4,4] = add"), "{rewritten}");
}

#[test]
fn expectations() {
    let text = r#"func.func @main() {
      %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf32>
      %1 = stablehlo.constant dense<[1.0, 2.00001]> : tensor<2xf32>
      stablehlo.custom_call @check.expect_almost_eq(%0, %1) {has_side_effect = true} : (tensor<2xf32>, tensor<2xf32>) -> ()
      check.expect_eq %0, %0 : tensor<2xf32>
      check.expect_close %0, %1, max_ulp_difference = 3 : tensor<2xf32>, tensor<2xf32>
      func.return
    }"#;
    let module = Module::parse("m", text).unwrap();
    let (program, checks) = module.checks().unwrap().remove(0);
    let pairs = run(&program, &[], Interpreter::Reference).unwrap();
    let verdicts: Vec<bool> = checks
        .iter()
        .zip(pairs.chunks(2))
        .map(|(c, p)| c.compare(&p[0], &p[1]).unwrap().is_none())
        .collect();
    assert_eq!(verdicts, [true, true, false]);
    assert_eq!(checks.iter().map(|c| c.line).collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let one = |line: &str| function("%x: tensor<3xf32>", "tensor<3xf32>", line, "%0");
    let cases = [
        (
            one("  %0 = stablehlo.sine %y : tensor<3xf32>"),
            "m:2:23: `%y` is not defined here",
        ),
        (
            one("  %0 = stablehlo.sine %x : tensor<4xf32>"),
            "m:2:8: `stablehlo.sine` gives f32[3], but f32[4] is written",
        ),
        (
            one("  %0 = stablehlo.sine %x, %x : tensor<3xf32>"),
            "m:2:8: ",
        ),
        (
            one("  %0 = stablehlo.frobnicate %x : tensor<3xf32>"),
            "is not one that Quaxide reads",
        ),
        (
            one("  %0 = stablehlo.reshape %x : (tensor<3xf32>) -> tensor<4xf32>"),
            "m:2:8: ",
        ),
        (
            one("  %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<3xf32>"),
            "2 elements along axis 0 of f32[3]",
        ),
        (
            one("  %0 = stablehlo.constant dense<[1.0, 2.0, x]> : tensor<3xf32>"),
            "m:2:44: `x` is no float32",
        ),
        (
            one("  %0 = stablehlo.constant dense<\"0x00\"> : tensor<3xf32>"),
            "are not the bytes of f32[3]",
        ),
        (
            one("  %0 = stablehlo.constant dense<1000> : tensor<3xi8>"),
            "`1000` is no int8",
        ),
        (one("  %0 = stablehlo.sine %x : tensor<3x"), "bracket"),
        (
            one("  %0 = call @main(%x) : (tensor<3xf32>) -> tensor<3xf32>"),
            "calls itself",
        ),
        (
            one("  %0 = call @other(%x) : (tensor<3xf32>) -> tensor<3xf32>"),
            "there is no function `other`",
        ),
        (
            one("  %0:2 = stablehlo.sine %x : tensor<3xf32>"),
            "1 result(s), and 2 name(s)",
        ),
        (
            one("  %0 = stablehlo.iota dim = 1 : tensor<3xf32>"),
            "m:2:8: ",
        ),
        (
            one("  %0 = stablehlo.slice %x [0:9] : (tensor<3xf32>) -> tensor<9xf32>"),
            "m:2:8: ",
        ),
        (
            one("  %0 = stablehlo.transpose %x, dims = [-1] : (tensor<3xf32>) -> tensor<3xf32>"),
            "negative",
        ),
        ("func.func @main(".into(), "m:1:17: "),
        ("module {".into(), "m:1:9: "),
        (String::new(), "no function `main`"),
        (
            "func.func @main() { \u{1F980} }".into(),
            "m:1:21: a character",
        ),
    ];
    for (text, wanted) in cases {
        let e = Module::parse("m", &text)
            .and_then(|m| m.main())
            .map(|e| e.program)
            .unwrap_err();
        assert!(e.message().contains(wanted), "{text}\n{e}");
        if e.message().contains("m:2:") {
            assert!(
                e.message().lines().last().is_some_and(|l| l.trim() == "^"),
                "{e}"
            );
        }
    }
    let e = stablehlo::read(&one("  %0 = stablehlo.sine %x : tensor<3xf8E4M3FN>")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = [
        format!(
            "func.func @main() {{ {}",
            "\"stablehlo.if\"() ({".repeat(100_000)
        ),
        format!(
            "func.func @main() {{ %0 = stablehlo.constant dense<{}",
            "[".repeat(100_000)
        ),
        format!("func.func @main(%x: {}", "tuple<".repeat(100_000)),
        format!("func.func @main() attributes {{a = {}", "[".repeat(100_000)),
        "module {".repeat(100_000),
        format!(
            "func.func @main() {{ %0 = stablehlo.constant dense<0> : tensor<{}",
            "1x".repeat(100_000)
        ),
    ];
    for text in deep {
        let start = std::time::Instant::now();
        assert!(stablehlo::read(&text).is_err());
        assert!(start.elapsed().as_secs() < 5, "{}", &text[..40]);
    }
    // Each function calls the next one twice: written out, it would be 2¹⁰⁰ operations.
    let mut text = String::new();
    for i in 0..40 {
        text += &format!(
            "func.func @f{i}(%x: tensor<f32>) -> tensor<f32> {{\n  %0 = call @f{0}(%x) : (tensor<f32>) -> tensor<f32>\n  \
             %1 = call @f{0}(%0) : (tensor<f32>) -> tensor<f32>\n  return %1 : tensor<f32>\n}}\n",
            i + 1
        );
    }
    text += "func.func @f40(%x: tensor<f32>) -> tensor<f32> {\n  %0 = stablehlo.sine %x : tensor<f32>\n  return %0 : tensor<f32>\n}\n";
    let e = Module::parse("m", &text)
        .unwrap()
        .function("f0")
        .map(|e| e.program)
        .unwrap_err();
    assert!(e.message().contains("too large"), "{e}");
}

#[test]
fn shared_conformance_programs_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    let Ok(files) = std::fs::read_dir(folder) else {
        return;
    };
    let (mut all_of_them, mut passed) = (0, 0);
    for file in files
        .flatten()
        .map(|f| f.path())
        .filter(|p| p.extension().is_some_and(|e| e == "mlir"))
    {
        all_of_them += 1;
        let (name, text) = (
            file.display().to_string(),
            std::fs::read_to_string(&file).unwrap(),
        );
        let module = Module::parse(&name, &text).unwrap();
        let (program, checks) = module.checks().unwrap().remove(0);
        let pairs = run(&program, &[], Interpreter::Compiled).unwrap();
        let all = checks.iter().zip(pairs.chunks(2));
        passed += usize::from(
            all.into_iter()
                .all(|(c, p)| c.compare(&p[0], &p[1]).unwrap().is_none()),
        );
    }
    assert_eq!(passed, all_of_them);
}

/// Numbers from outside of a body go through the primitive as elements of an array of their own.
#[test]
fn bodies_may_use_numbers_from_outside() {
    let text = r#"func.func @main(%x: tensor<2x3xf32>, %w: tensor<f32>, %i: tensor<1x1xi32>) -> (tensor<2xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x2xf32>) {
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %0 = stablehlo.reduce(%x init: %zero) across dimensions = [1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
        reducer(%a: tensor<f32>, %b: tensor<f32>) {
          %s = stablehlo.multiply %w, %b : tensor<f32>
          %t = stablehlo.add %a, %s : tensor<f32>
          stablehlo.return %t : tensor<f32>
        }
      %1 = "stablehlo.sort"(%x) <{dimension = 1 : i64, is_stable = true}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %p = stablehlo.multiply %a, %w : tensor<f32>
          %q = stablehlo.multiply %b, %w : tensor<f32>
          %c = stablehlo.compare GT, %p, %q : (tensor<f32>, tensor<f32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
      }) : (tensor<2x3xf32>) -> tensor<2x3xf32>
      %u = stablehlo.slice %x [0:1, 0:3] : (tensor<2x3xf32>) -> tensor<1x3xf32>
      %2 = "stablehlo.scatter"(%x, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %s = stablehlo.multiply %w, %b : tensor<f32>
          %t = stablehlo.add %a, %s : tensor<f32>
          stablehlo.return %t : tensor<f32>
      }) : (tensor<2x3xf32>, tensor<1x1xi32>, tensor<1x3xf32>) -> tensor<2x3xf32>
      %3 = "stablehlo.reduce_window"(%x, %zero) <{window_dimensions = array<i64: 1, 2>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %s = stablehlo.multiply %w, %b : tensor<f32>
          %t = stablehlo.add %a, %s : tensor<f32>
          stablehlo.return %t : tensor<f32>
      }) : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x2xf32>
      return %0, %1, %2, %3 : tensor<2xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x2xf32>
    }"#;
    let x = [
        Array::from([[1f32, 2., 3.], [4., 5., 6.]]),
        Array::scalar(10f32),
        Array::from([[1i32]]),
    ];
    let y = results(text, &x);
    assert_eq!(floats(&y[0]), [60., 150.]);
    assert_eq!(floats(&y[1]), [3., 2., 1., 6., 5., 4.]);
    assert_eq!(floats(&y[2]), [1., 2., 3., 14., 25., 36.]);
    assert_eq!(floats(&y[3]), [30., 50., 90., 110.]);
}

/// What is asked of a product's accuracy is kept, and a program says how close it is to be.
#[test]
fn precision_and_tolerance_are_read() {
    let text = "func.func @main(%x: tensor<2x3xf32>, %y: tensor<3x4xf32>) -> tensor<2x4xf32> {
      %0 = stablehlo.dot_general %x, %y, contracting_dims = [1] x [0], precision = [HIGHEST, DEFAULT] : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
      return %0 : tensor<2x4xf32>
    }";
    let program = stablehlo::read(text).unwrap().to_string();
    let wanted = "precision=(Precision.HIGHEST, Precision.DEFAULT)";
    assert!(program.contains(wanted), "{program}");
    assert_eq!(program.parse::<Jaxpr>().unwrap().to_string(), program);
    let check = |tolerance: &str| {
        let text = format!(
            "func.func @main() {{
              %0 = stablehlo.constant dense<1.0> : tensor<f32>
              %1 = stablehlo.constant dense<1.5> : tensor<f32>
              stablehlo.custom_call @check.expect_almost_eq(%0, %1) {{has_side_effect = true{tolerance}}} : (tensor<f32>, tensor<f32>) -> ()
              return
            }}"
        );
        let module = Module::parse("m", &text).unwrap();
        let (program, checks) = module.checks().unwrap().remove(0);
        let y = run(&program, &[], Interpreter::Reference).unwrap();
        checks[0].compare(&y[0], &y[1]).unwrap().is_none()
    };
    assert!(check(", tolerance = 0.6 : f64"));
    assert!(!check(", tolerance = 0.4 : f64"));
    assert!(!check(""));
}
