//! Bad input: each a clear error with the caller's line, and no panic.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/rng.rs"]
mod rng;

use quaxide::{ErrorKind, op, prelude::*};
use rng::Rng;
use std::sync::Mutex;

/// The text of an error, without line numbers, which change as this file does.
fn text(e: Error) -> String {
    let text = e.to_string();
    let lines = text.lines().map(|l| match l.split_once("bad_input.rs:") {
        Some((before, _)) => format!("{before}bad_input.rs"),
        None => l.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn failed(x: Array) -> Error {
    match x.ok() {
        Ok(x) => panic!("{x:?} is no error"),
        Err(e) => e,
    }
}

fn zeros(shape: &[usize]) -> Array {
    Array::zeros(shape, DType::F32)
}

#[test]
fn shapes_that_do_not_match() {
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]) + zeros(&[4]))), @r"
    `add`: the shapes of f32[2,3] and f32[4] do not broadcast
      --> tests/bad_input.rs
      note: sizes must be equal or 1, counted from the last axis
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).dot(&zeros(&[4])))), @r"
    dot_general: contracted axis 1 of f32[2,3] does not match axis 0 of f32[4]
      --> tests/bad_input.rs
      in: dot_general f32[2,3] f32[4]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).reshape([4]))), @r"
    cannot reshape f32[2,3] with 6 elements to (4,)
      --> tests/bad_input.rs
      in: reshape f32[2,3]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).transpose([0, 0]))), @r"
    transpose: the permutation names axis 0 twice
      --> tests/bad_input.rs
      in: transpose f32[2,3]
    ");
    insta::assert_snapshot!(text(failed(zeros(&[2, 3]).sum(2))), @r"
    axis 2 of an array with 2 axes
      --> tests/bad_input.rs
    ");
    insta::assert_snapshot!(text(failed(Array::new([3], vec![1.0f32]))), @r"
    1 elements of float32 do not fill f32[3]
      --> tests/bad_input.rs
    ");
    let e = zeros(&[2, 3]).dims::<1>().unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    expected an array of 1 axes, found f32[2,3]
      --> tests/bad_input.rs
    ");
}

#[test]
fn element_types_that_do_not_match() {
    let (f, i) = (zeros(&[2]), Array::from([1i32, 2]));
    insta::assert_snapshot!(text(failed(quaxide::trace::bind(op::Binary::Add, &[&f, &i]))), @r"
    `add` needs operands of one element type, got f32[2] and i32[2]
      --> tests/bad_input.rs
      in: add f32[2] i32[2]
      note: the operators of `Array` promote; `lax`-level functions take what they are given
    ");
    insta::assert_snapshot!(text(failed(!f)), @r"
    `not` takes integers or bool, not float32
      --> tests/bad_input.rs
      in: not f32[2]
    ");
    insta::assert_snapshot!(text(failed(i.integer_pow(-1))), @r"
    integers cannot be raised to negative powers, got i32[2] to the power -1
      --> tests/bad_input.rs
      in: integer_pow i32[2]
    ");
    insta::assert_snapshot!(text(i.to_vec::<f32>().unwrap_err()), @"i32[2] holds int32, not float32");
}

#[test]
fn derivatives_of_what_has_none() {
    let e = grad(|x: &Array| x.sin())(&zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    `grad` needs a real scalar, the function returned f32[2]
      --> tests/bad_input.rs
      note: sum or average the result; for all derivatives of an array use `jacrev` or `jacfwd`
    ");
    let e = grad(|x: &Array| x.sum(()))(&Array::from([1i32, 2])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    let (x, t) = (zeros(&[2]), zeros(&[3]));
    let e = jvp(|x: &Array| x.sin(), (&x,), (&t,)).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    a tangent of type f32[3] for a primal of type f32[2]
      --> tests/bad_input.rs
    ");
    let (_, pullback) = vjp(|x: &Array| x.sin(), (&x,)).unwrap();
    assert!(pullback(&t).is_err());
}

#[test]
fn vmap_over_what_does_not_fit() {
    let add = |x: &Array, y: &Array| x + y;
    let e = vmap(add)(&zeros(&[2]), &zeros(&[3])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: the mapped axes have different sizes: 2 (argument 0) and 3 (argument 1)
      --> tests/bad_input.rs
    ");
    let e = vmap(add)(&zeros(&[2]), &Array::scalar(1.0f32)).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: argument 1 is f32[], which has no axis 0
      --> tests/bad_input.rs
      note: `.in_axes` says which axis of each argument is mapped; `None` for none
    ");
    let e = vmap(add).in_axes((None, None))(&zeros(&[2]), &zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: no argument has an axis to map over
      --> tests/bad_input.rs
      note: give `.in_axes(..)` with at least one axis, or `.axis_size(n)`
    ");
    let e = vmap(add).out_axes(2)(&zeros(&[2, 3]), &zeros(&[2, 3])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Index);
    let e = vmap(add).out_axes(None)(&zeros(&[2]), &zeros(&[2])).unwrap_err();
    insta::assert_snapshot!(text(e), @r"
    vmap: result 0 differs between examples, but `out_axes` says `None`
      --> tests/bad_input.rs
    ");
}

#[test]
fn absurd_sizes() {
    for x in [
        Array::zeros([usize::MAX, 2], DType::F32),
        Array::arange(usize::MAX / 4, DType::F64),
        Array::scalar(1.0f32).broadcast_to([1 << 40, 1 << 30]) + 1.0,
    ] {
        let y = &x + &x;
        let e = y.to_f64_vec().unwrap_err();
        assert!(
            matches!(
                e.kind(),
                ErrorKind::Memory | ErrorKind::Internal | ErrorKind::Shape
            ),
            "{e}"
        );
    }
}

#[test]
fn trees_and_paths() {
    let t = (zeros(&[2]), vec![zeros(&[3])]);
    insta::assert_snapshot!(text(tree::at(&t, "[1][7]").get().unwrap_err()), @r"
    the tree has no leaf at `[1][7]`
      note: its leaves are [0], [1][0]
    ");
    let e = tree::unflatten(&t, vec![zeros(&[2])]).unwrap_err();
    insta::assert_snapshot!(text(e), @"the tree has 2 leaves, 1 were given");
    let other = (zeros(&[2]), vec![zeros(&[3]), zeros(&[3])]);
    assert_eq!(
        tree::map2(&t, &other, |a, _| a.clone()).unwrap_err().kind(),
        ErrorKind::Tree
    );
    // A jitted function meets a new structure with a new program, not with the old one.
    let total = jit(|t: &(Array, Vec<Array>)| t.1.iter().fold(t.0.sum(()), |s, x| s + x.sum(())));
    assert!(total(&t).is_ok() && total(&other).is_ok() && total(&(zeros(&[1]), vec![])).is_ok());
}

/// An error of a kind that says all of this and names a line of this file.
#[track_caller]
fn says(e: Error, kind: ErrorKind, parts: &[&str]) {
    let text = e.to_string();
    assert_eq!(e.kind(), kind, "{text}");
    for part in parts.iter().chain(&["--> tests/bad_input.rs:"]) {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn low_rank_updates_that_are_none() {
    use ErrorKind::{Argument, Shape, Tree};
    let key = random::key(0);
    let model = vec![nn::Linear::new(3, 2, &key)];
    let with = |config: LoraConfig| loraify(&model, config, &key).unwrap_err();
    let rank = LoraConfig::rank;
    let above = [
        "`[0].weight`",
        "rank 3 is above that of f32[2,3], which is 2 at most",
    ];
    says(with(rank(3)), Argument, &above);
    says(with(rank(0)), Argument, &["`[0].weight`", "rank 0 is none"]);
    for (scale, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-1.0, "-1")] {
        let text = format!("the scale {text} is not a finite number from 0 upwards");
        says(
            with(rank(1).scale(scale)),
            Argument,
            &["`[0].weight`", &text],
        );
    }
    let none = with(rank(1).filter(|_, _| false));
    says(none, Tree, &["the filter picks none of 1 layers"]);
    let empty: Vec<nn::Linear> = vec![];
    let e = loraify(&empty, rank(1), &key).unwrap_err();
    says(
        e,
        Tree,
        &[
            "the tree holds no `nn::Linear`",
            "note: `LoraArray::new` wraps one array",
        ],
    );
    let of = |w: &Array| LoraArray::new(w, &rank(1), &key).unwrap_err();
    says(of(&zeros(&[3])), Shape, &["needs a matrix, found f32[3]"]);
    let integers = Array::zeros([3, 3], DType::I32);
    says(
        of(&integers),
        ErrorKind::DType,
        &["needs real floating-point numbers, found i32[3,3]"],
    );
    let e = LoraArray::from_parts(zeros(&[3, 2]), zeros(&[3, 1]), zeros(&[2, 2])).unwrap_err();
    says(
        e,
        Shape,
        &[
            "w [.., n, m], a [.., n, rank]",
            "got f32[3,2], f32[3,1] and f32[2,2]",
        ],
    );
}

#[test]
fn trees_without_leaves() {
    let none: Vec<Array> = vec![];
    let total = |x: &Vec<Array>| x.iter().fold(Array::from(1f32), |s, x| s + x.sum(()));
    assert!(grad(total)(&none).unwrap().is_empty());
    assert_eq!(jit(total)(&none).unwrap().item::<f32>().unwrap(), 1.0);
    let e = vmap(total)(&none).unwrap_err();
    let parts = ["no argument has an axis to map over", "`.axis_size(n)`"];
    says(e, ErrorKind::Argument, &parts);
    let many = vmap(total).axis_size(2)(&none).unwrap();
    assert_eq!(many.to_vec::<f32>().unwrap(), [1.0, 1.0]);
}

#[test]
fn numbers_of_what_is_being_traced() {
    let x = Array::from(1f32);
    let instead = "use `cond`, `select` or `while_loop` in the place of Rust's `if` and `while`";
    let branch = |x: &Array| -> Result<Array> {
        Ok(if x.item::<f32>()? > 0.0 {
            x.clone()
        } else {
            -x
        })
    };
    let item = [
        "`item()` of a traced f32[], which has no numbers yet",
        instead,
    ];
    says(jit(branch)(&x).unwrap_err(), ErrorKind::Escaped, &item);
    says(grad(branch)(&x).unwrap_err(), ErrorKind::Escaped, &item);
    says(
        vmap(branch)(&zeros(&[2])).unwrap_err(),
        ErrorKind::Escaped,
        &item,
    );
    let list = |x: &Array| Ok(Array::from(x.to_vec::<f32>()?).sum(()));
    let e = grad(list)(&zeros(&[2])).unwrap_err();
    says(
        e,
        ErrorKind::Escaped,
        &["the elements of a traced f32[2]", instead],
    );
}

#[test]
fn indices_out_of_range() {
    use ErrorKind::Index;
    let x = zeros(&[3, 2]);
    let e = failed(x.index(3));
    says(
        e,
        Index,
        &["index 3 is out of bounds for axis 0 with size 3 of f32[3,2]"],
    );
    let e = failed(x.index((0, -3)));
    says(
        e,
        Index,
        &["index -3 is out of bounds for axis 1 with size 2"],
    );
    let e = failed(x.index((0, 1, 0)));
    says(
        e,
        Index,
        &["too many indices: 3 for f32[3,2], which has 2 axes"],
    );
    let e = failed(x.slice_in_dim(2, 5, 0));
    says(
        e,
        Index,
        &["slice: 2..5 lies outside of axis 0 of f32[3,2]"],
    );
    let e = failed(x.take(&Array::from([0.5f32]), 0));
    says(
        e,
        ErrorKind::DType,
        &["take: positions are integers, got f32[1]"],
    );
    // Inside a trace too: the line is that of the index, not of `jit`.
    let e = jit(|x: &Array| x.index(7))(&x).unwrap_err();
    says(e, Index, &["index 7 is out of bounds"]);
}

#[test]
fn loops_and_branches_that_change_types() {
    use ErrorKind::{Shape, Tree};
    let (zero, xs) = (Array::scalar(0f32), zeros(&[3]));
    let wider = |c: &Array, x: &Array| (c.astype(DType::F64) + x, x.clone());
    let e = scan(wider, &zero, &xs).unwrap_err();
    let kept = "the carry of `scan` must keep its type: it was f32[], a step makes it";
    let cure = "start with what a step makes";
    says(e, Shape, &[kept, "makes it f64[]", cure]);
    let longer = |c: &Array, x: &Array| (numpy::stack(&[c, x], 0), x.clone());
    says(
        scan(longer, &zero, &xs).unwrap_err(),
        Shape,
        &[kept, "f32[2]"],
    );
    let grows = |c: &Vec<Array>, x: &Array| ([c.clone(), vec![x.clone()]].concat(), ());
    let e = scan(grows, &vec![], &xs).unwrap_err();
    let parts = [
        "must keep its structure: it was (), a step makes it ([0] f32[])",
        "beside the carry",
    ];
    says(e, Tree, &parts);
    let e = fori_loop(0, 3, |_, x: &Array| x.sum(()), &xs).unwrap_err();
    says(
        e,
        Shape,
        &["the carry of `fori_loop` must keep its type: it was f32[3]"],
    );
    let e = while_loop(|x: &Array| x.lt(1.0), |x: &Array| x + 1.0, &xs).unwrap_err();
    says(
        e,
        Shape,
        &[
            "must be a bool scalar, it is bool[3]",
            "`x.lt(1.0).all(())`",
        ],
    );
    let (yes, no) = (|x: &Array| x.clone(), |x: &Array| x.sum(()));
    let e = cond(&Array::from(true), yes, no, &xs).unwrap_err();
    says(
        e,
        Shape,
        &[
            "`no` gives f32[], `yes` gives f32[3]",
            "`.broadcast_to(..)`",
        ],
    );
    let e = cond(&xs.gt(0.0), yes, yes, &xs).unwrap_err();
    says(
        e,
        Shape,
        &[
            "the predicate of `cond` must be a scalar, it is bool[3]",
            "`select`",
        ],
    );
}

macro_rules! values {
    ($($T:ident $definition:expr, $rules:expr;)*) => {$(
        #[derive(Clone, PyTree)]
        struct $T(Array);
        impl ArrayValue for $T {
            fn aval(&self) -> Result<Aval> {
                self.0.aval()
            }
            fn materialise(&self) -> Result<Array> {
                let definition: fn(&$T) -> Result<Array> = $definition;
                definition(self)
            }
            fn rules(r: &mut Rules) {
                let rules: fn(&mut Rules) = $rules;
                rules(r);
            }
        }
    )*};
}
values! {
    Shrinks |x| Ok(x.0.clone()), |r| {
        r.unary(op::SIN, |_, x: &Shrinks| x.0.sum(()));
        r.binary(op::ADD, |_, x: &Shrinks, y: &Any| &x.0 + &**y);
    };
    Rival |x| Ok(x.0.clone()), |r| { r.binary(op::ADD, |_, x: &Any, y: &Rival| &**x + &y.0); };
    Basis |_| Err(Error::refused("a basis has no coordinates")), |_| {};
    Panics |_| Err(Error::argument("the file is gone")), |_| {};
}

#[test]
fn rules_and_definitions_that_fail() {
    let x = |n: usize| Array::from_value(Shrinks(zeros(&[n])));
    let e = quaxify(|x: &Array| x.sin())(&x(2)).unwrap_err();
    let parts = [
        "the rule for `sin` at tests/bad_input.rs:",
        "returned (f32[]), the equation needs (f32[2])",
    ];
    says(e, ErrorKind::Shape, &parts);
    let other = Array::from_value(Rival(zeros(&[2])));
    let e = quaxify(|x: &Array, y: &Array| x + y)(&x(2), &other).unwrap_err();
    let parts = [
        "`add` of Shrinks(f32[2]), Rival(f32[2]): several rules fit and none is the most specific",
        "add(Shrinks, Any) at tests/bad_input.rs:",
        "add(Any, Rival) at tests/bad_input.rs:",
        "add a rule for exactly these types",
    ];
    says(e, ErrorKind::Ambiguous, &parts);
    let basis = Array::from_value(Basis(zeros(&[2])));
    let e = quaxify(|x: &Array| x.cos())(&basis).unwrap_err();
    let parts = [
        "a basis has no coordinates",
        "`cos` has no rule for Basis(f32[2])",
    ];
    says(e, ErrorKind::Refused, &parts);
    let gone = Array::from_value(Panics(zeros(&[2])));
    let e = jit(quaxify(|x: &Array| x + 1.0))(&gone).unwrap_err();
    says(
        e,
        ErrorKind::Argument,
        &["the file is gone", "`add` has no rule for Panics(f32[2])"],
    );
    let e = failed(x(2) + 1.0);
    let parts = [
        "Shrinks(f32[2]) is not a plain array",
        "write `quaxify(f)(..)`",
    ];
    says(e, ErrorKind::NotQuaxified, &parts);
}

#[test]
fn values_nested_a_thousand_deep() {
    let mut deep = zeros(&[2]);
    for _ in 0..1000 {
        deep = Array::from_value(Rival(deep));
    }
    let text = ["array-ish values are nested more than 64 deep"];
    for e in [
        quaxify(|x: &Array| x.cos())(&deep).unwrap_err(),
        quaxify(|x: &Array| x + 1.0)(&deep).unwrap_err(),
        jit(|x: &Array| x.clone())(&deep).unwrap_err(),
        grad(quaxify(|x: &Array| x.sum(())))(&deep).unwrap_err(),
        make_jaxpr(quaxify(|x: &Array| x.cos()))(&deep).unwrap_err(),
        vmap(quaxify(|x: &Array| x.cos()))(&deep).unwrap_err(),
    ] {
        says(e, ErrorKind::Unsupported, &text);
    }
    assert!(tree::leaves(&deep).len() < 100 && format!("{deep:?}").len() < 100_000);
}

#[test]
fn traced_arrays_that_escape() {
    let kept: Mutex<Option<Array>> = Mutex::new(None);
    let keep = |x: &Array| {
        *kept.lock().unwrap() = Some(x.sin());
        x.clone()
    };
    for f in [jit(keep), jit(grad(move |x: &Array| keep(x).sum(())))] {
        let _ = f(&zeros(&[2])).unwrap();
        let leaked = kept.lock().unwrap().clone().unwrap();
        let text = [
            "a traced f32[2] was used outside of the function that it was traced in",
            "return it from the function instead of storing it",
        ];
        says(failed(&leaked + 1.0), ErrorKind::Escaped, &text);
        let e = jit(|x: &Array| x + &leaked)(&zeros(&[2])).unwrap_err();
        says(e, ErrorKind::Escaped, &text);
        assert_eq!(
            leaked.to_vec::<f32>().unwrap_err().kind(),
            ErrorKind::Escaped
        );
    }
    let elsewhere = |x: &Array| -> Result<Array> {
        let work = || (x + 1.0).ok().cloned();
        std::thread::scope(|s| s.spawn(work).join()).unwrap()
    };
    let e = jit(elsewhere)(&zeros(&[2])).unwrap_err();
    let text = [
        "was used on another thread than its trace",
        "sending it to a thread",
    ];
    says(e, ErrorKind::Escaped, &text);
}

#[test]
fn unknown_element_types() {
    let e = "float8".parse::<DType>().unwrap_err().to_string();
    assert!(
        e.contains("no element type `float8`") && e.contains("bfloat16, float32"),
        "{e}"
    );
    assert_eq!("bf16".parse::<DType>().unwrap(), DType::BF16);
    assert_eq!("complex64".parse::<DType>().unwrap(), DType::C64);
    let file = |dtype: &str| {
        let header =
            format!(r#"{{"layer.w":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,1]}}}}"#);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.push(0);
        io::safetensors_from_bytes(&bytes).unwrap_err()
    };
    let e = file("F8_E5M2");
    assert_eq!(e.kind(), ErrorKind::DType);
    assert!(e.message().contains("`layer.w` holds F8_E5M2"), "{e}");
    let e = file("Q4");
    assert_eq!(e.kind(), ErrorKind::Format);
    assert!(
        e.message().contains("Q4") && e.message().contains("F32"),
        "{e}"
    );
}

/// A file with something changed: bytes, digits, order, length.
fn mutated(r: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + r.below(4) {
        if bytes.is_empty() {
            break;
        }
        let (i, j) = (r.below(bytes.len()), r.below(bytes.len()));
        match r.below(9) {
            0 => bytes.truncate(i),
            1 => bytes[i] ^= 1 << r.below(8),
            2 => bytes[i] = r.next() as u8,
            3 => bytes.swap(i, j),
            4 => drop(bytes.remove(i)),
            5 => bytes.insert(i, r.next() as u8),
            6 => bytes.rotate_left(i.min(4)),
            // A digit of the header, or a piece of the file again.
            7 => {
                let digits: Vec<usize> = (0..bytes.len())
                    .filter(|i| bytes[*i].is_ascii_digit())
                    .collect();
                if let Some(at) = r.choose(&digits) {
                    bytes[*at] = b'0' + r.below(10) as u8;
                }
            }
            _ => {
                let piece = bytes[i.min(j)..i.max(j)].to_vec();
                let at = r.below(bytes.len());
                bytes.splice(at..at, piece.into_iter().take(40));
            }
        }
    }
    bytes
}

/// Thousands of damaged files: each is an error that says so, or arrays that the file has bytes for.
#[test]
fn damaged_files() {
    let mut r = Rng(2024);
    let model = (
        nn::Linear::new(3, 2, &random::key(0)),
        vec![Array::from([true, false]), Array::zeros([0, 2], DType::C64)],
    );
    let good = io::safetensors_to_bytes(&model, &[("made by", "quaxide")]).unwrap();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let bytes = mutated(&mut r, &good);
        match io::safetensors_from_bytes(&bytes) {
            Ok(arrays) => {
                let size = |x: &Array| x.size() * x.dtype().map_or(0, DType::size);
                let total: usize = arrays.values().map(size).sum();
                assert!(total <= bytes.len());
                read += 1;
            }
            Err(e) => {
                let known = matches!(
                    e.kind(),
                    ErrorKind::Format | ErrorKind::DType | ErrorKind::Shape
                );
                assert!(known && !e.message().is_empty(), "{e:?}");
                refused += 1;
            }
        }
    }
    assert!(
        read > 200 && refused > 5000,
        "{read} read, {refused} refused"
    );
    for x in [
        Array::from([[1f32, 2.0], [3.0, 4.0]]),
        Array::from([true; 9]),
        Array::scalar(1i64),
    ] {
        let good = io::npy_to_bytes(&x).unwrap();
        for _ in 0..5_000 {
            let bytes = mutated(&mut r, &good);
            match io::npy_from_bytes(&bytes) {
                Ok(x) => assert!(x.size() * x.dtype().unwrap().size() <= bytes.len()),
                Err(e) => {
                    let known = matches!(
                        e.kind(),
                        ErrorKind::Format | ErrorKind::DType | ErrorKind::Shape
                    );
                    assert!(known && !e.message().is_empty(), "{e:?}");
                }
            }
        }
    }
}
