//! The text of programs is read as it is printed.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
#[path = "support/programs/mod.rs"]
mod programs;

use programs::{Options, generate};
use quaxide::{
    ErrorKind,
    interp::{Interpreter, run},
    prelude::*,
};

const ANY: Options = Options {
    steps: 12,
    depth: 2,
    derivatives: false,
    orders: 0,
    smooth: false,
    loops: true,
    custom_vjp: false,
    odd: false,
};

/// Equal elements; a NaN is equal to a NaN.
fn same(a: &Array, b: &Array) -> bool {
    format!("{a:?}") == format!("{b:?}") && a.aval().unwrap().same_type(&b.aval().unwrap())
}

#[test]
fn printing_and_reading_are_inverse_on_random_programs() {
    // Of more programs by `QUAXIDE_PROGRAMS`.
    let count = std::env::var("QUAXIDE_PROGRAMS").map_or(Ok(400), |n| n.parse());
    for seed in 1..=count.unwrap() {
        let made = generate(seed, ANY);
        let program = make_jaxpr(|x: &Vec<Array>| made.program.run(x))(&made.x).unwrap();
        let text = program.to_string();
        let again: Jaxpr = text
            .parse()
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(again.to_string(), text, "seed {seed}");
        if again.consts().is_empty() {
            let way = Interpreter::Reference;
            let (a, b) = (run(&program, &made.x, way), run(&again, &made.x, way));
            for (a, b) in a.unwrap().iter().zip(&b.unwrap()) {
                assert!(same(a, b), "seed {seed}\n{text}\n{a:?}\n{b:?}");
            }
        }
    }
}

/// Functions with their own derivatives run and are batched; the rules are not in the text.
#[test]
fn custom_rules_are_not_in_the_text() {
    let relu = "{ lambda ; a:f32[3]. let
        b:f32[3] = custom_jvp_call[
          name=relu
          call_jaxpr={ lambda ; c:f32[3]. let
              d:f32[3] = jit[
                name=relu
                jaxpr={ lambda ; c:f32[3]. let d:f32[3] = max c 0.0:f32[] in (d,) }
              ] c
            in (d,) }
          jvp=jvp
          symbolic_zeros=False
        ] a
      in (b,) }";
    let program: Jaxpr = relu.parse().unwrap();
    let call = |x: &Array| Ok::<Array, Error>(program.eval(std::slice::from_ref(x))?.remove(0));
    let x = Array::from([[-1f32, 2., 3.], [4., -5., 6.]]);
    let y = vmap(call)(&x).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [0., 2., 3., 4., 0., 6.]);
    let e = grad(|x: &Array| Ok::<Array, Error>(call(x)?.sum(())))(&Array::from([1f32, 2., 3.]));
    let e = e.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(
        e.message().contains("`relu` brings its own derivative"),
        "{e}"
    );
    for text in [
        "{ lambda ; a:f32[2] b:f32[2]. let
            c:f32[2] = custom_vjp_call[
              name=g
              bwd=<lambda>
              call_jaxpr={ lambda ; d:f32[2] e:f32[2]. let f:f32[2] = mul d e in (f,) }
              fwd=<lambda>
              num_consts=1
              symbolic_zeros=False
            ] a b
          in (c,) }",
        "{ lambda ; a:f32[2]. let
            b:f32[2] = custom_linear_solve[
              const_lengths=_LinearSolveTuple(matvec=0, vecmat=0, solve=0, transpose_solve=0)
              jaxprs=_LinearSolveTuple(matvec={ lambda ; c:f32[2]. let d:f32[2] = mul 2.0:f32[] c in (d,) },
                vecmat=None, solve={ lambda ; e:f32[2]. let f:f32[2] = div e 2.0:f32[] in (f,) }, transpose_solve=None)
            ] a
          in (b,) }",
    ] {
        let program: Jaxpr = text.parse().unwrap_or_else(|e| panic!("{e}"));
        let printed = program.to_string();
        assert_eq!(printed.parse::<Jaxpr>().unwrap().to_string(), printed);
        let x = vec![Array::from([1f32, 3.]); program.invars().len()];
        run(&program, &x, Interpreter::Reference).unwrap();
    }
}

/// JAX names a program that stands in several places; a name may stand for a program that uses another.
#[test]
fn programs_may_have_names() {
    let text = "let twice = { lambda ; a:f32[2]. let
            b:f32[2] = jit[name=<lambda> jaxpr=lambda] a
            c:f32[2] = jit[name=<lambda> jaxpr=lambda] b
          in (c,) } in
        let lambda = { lambda ; d:f32[2]. let e:f32[2] = mul d 3.0:f32[] in (e,) } in
        { lambda ; f:f32[2] g:i32[]. let
            h:f32[2] = jit[name=twice jaxpr=twice] f
            i:f32[2] = cond[branches=(lambda twice)] g h
          in (i,) }";
    let program: Jaxpr = text.parse().unwrap_or_else(|e| panic!("{e}"));
    let x = [Array::from([1f32, 2.]), Array::scalar(1i32)];
    let y = run(&program, &x, Interpreter::Reference).unwrap();
    assert_eq!(y[0].to_vec::<f32>().unwrap(), [81., 162.]);
    let own = "let f = { lambda ; a:f32[]. let b:f32[] = jit[name=f jaxpr=f] a in (b,) } in
        { lambda ; a:f32[]. let b:f32[] = jit[name=f jaxpr=f] a in (b,) }";
    let e = own.parse::<Jaxpr>().unwrap_err();
    assert!(e.message().contains("nested too deeply"), "{e}");
    let missing = "{ lambda ; a:f32[]. let b:f32[] = jit[name=f jaxpr=g] a in (b,) }";
    assert!(missing.parse::<Jaxpr>().is_err());
}

#[test]
fn literals_keep_their_values() {
    let text = "{ lambda ; a:f32[] b:c64[]. let c:f32[] = add a -0.0:f32[]; d:bool[] = eq a nan:f32[]; \
                e:c64[] = mul b (1+2j):c64[]; f:i32[] = convert_element_type[new_dtype=int32 weak_type=False] \
                True:bool[]; g:f32[] = mul a -inf:f32[] in (c, d, e, f, g, 1.5e-05:f64[]) }";
    let program: Jaxpr = text.parse().unwrap();
    let words = |s: &str| {
        s.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(';', "")
    };
    assert_eq!(words(&program.to_string()), words(text));
}

/// Such an equation has no `=`, as in JAX.
#[test]
fn equations_may_have_no_results() {
    let text = "{ lambda ; a:f32[]. let
    jit[name=f jaxpr={ lambda ; a:f32[]. let  in () }] a
    b:f32[] = sin a
    jit[name=f jaxpr={ lambda ; b:f32[]. let  in () }] b
  in (b,) }";
    let program: Jaxpr = text.parse().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(program.to_string(), text);
}

/// The number of results is a size that stands in the text.
#[test]
fn results_without_bounds_are_refused() {
    let text = "{ lambda ; a:f32[4,400000000000]. let b:f32[4] = unstack[axis=1] a in (b,) }";
    let e = text.parse::<Jaxpr>().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("at most 65536 results"), "{e}");
}

#[test]
fn errors_name_line_and_column() {
    let cases = [
        ("", "<text>:1:1: `{` is expected"),
        (
            "{ lambda ; a:f32[3]. let\n  b:f32[3] = sine a\nin (b,) }",
            "<text>:2:14: there is no primitive `sine`",
        ),
        (
            "{ lambda ; a:f32[3]. let\n  b:f32[2] = sin a\nin (b,) }",
            "<text>:2:3: `sin` gives f32[3], but f32[2] is written",
        ),
        (
            "{ lambda ; a:f32[3]. let b:f32[3] = sin c in (b,) }",
            "<text>:1:41: `c` is not defined here",
        ),
        (
            "{ lambda ; a:f33[3]. let in (a,) }",
            "<text>:1:14: `f33` is no element type",
        ),
        (
            "{ lambda ; a:f32[3]. let in (a,) } b",
            "goes on behind the program",
        ),
        (
            "{ lambda ; a:f32[3]. let b:f32[3] = add a in (b,) }",
            "`add` takes 2 operand(s)",
        ),
        (
            "{ lambda ; a:f32[99999999999999999999]. let in (a,) }",
            "the size of an axis",
        ),
        (
            "{ lambda ; a:f32[3] a:f32[3]. let in (a,) }",
            "`a` is defined twice",
        ),
        (
            "{ lambda ; a:f32[3]. let b:f32[3] = transpose a in (b,) }",
            "`permutation` is missing",
        ),
    ];
    for (text, wanted) in cases {
        let e = text.parse::<Jaxpr>().unwrap_err();
        assert!(e.message().contains(wanted), "{text:?}: {e}");
    }
    let captured: Jaxpr = "{ lambda a:f32[2]; b:f32[2]. let c:f32[2] = add a b in (c,) }"
        .parse()
        .unwrap();
    let e = captured.eval(&[Array::from([1f32, 2.])]).unwrap_err();
    assert!(e.message().contains("does not hold the f32[2]"), "{e}");
}

#[test]
fn nesting_is_bounded() {
    let inner = "b:f32[] = jit[name=f jaxpr={ lambda ; a:f32[]. let ";
    let text = format!("{{ lambda ; a:f32[]. let {}", inner.repeat(100_000));
    let e = text.parse::<Jaxpr>().unwrap_err();
    assert!(e.message().contains("nested too deeply"), "{e}");
    let text = format!(
        "{{ lambda ; a:f32[]. let b:f32[] = transpose[permutation={}",
        "(".repeat(100_000)
    );
    assert!(text.parse::<Jaxpr>().is_err());
}

/// Names that JAX prints for what is another primitive here.
#[test]
fn other_names_of_primitives_are_read() {
    let text = "{ lambda ; a:f32[3]. let
        b:f32[3] = add_any a a
        c:f32[3] = name[name=x] b
        d:f32[3] = closed_call[call_jaxpr={ lambda ; e:f32[3]. let f:f32[3] = neg e in (f,) }] c
        g:f32[2] h:i32[2] = approx_top_k[aggregate_to_topk=True is_max_k=True k=2 recall_target=0.95 reduction_dimension=-1 reduction_input_size_override=-1] d
        i:f32[3] = dot_general[dimension_numbers=(([], []), ([0], [0])) precision=BF16_BF16_F32] d a
      in (g, h, i) }";
    let program: Jaxpr = text.parse().unwrap_or_else(|e| panic!("{e}"));
    assert!(program.to_string().contains("precision=BF16_BF16_F32"));
    let y = run(
        &program,
        &[Array::from([1f32, 2., 3.])],
        Interpreter::Compiled,
    )
    .unwrap();
    assert_eq!(y[0].to_vec::<f32>().unwrap(), [-2., -4.]);
    assert_eq!(y[1].to_vec::<i32>().unwrap(), [0, 1]);
}
