//! Values, rules and `quaxify`, as users of the public API meet them.

use quaxide::{ErrorKind, prelude::*};
use std::sync::Mutex;

fn v(x: f32) -> Array {
    Array::from([x, x + 1.0])
}

fn numbers(x: &Array) -> Vec<f32> {
    x.to_vec::<f32>().unwrap()
}

/// `q · scale`, by definition only.
#[derive(Clone, PyTree)]
struct Scaled {
    q: Array,
    scale: Array,
}
impl ArrayValue for Scaled {
    fn aval(&self) -> Result<Aval> {
        self.q.aval()
    }
    fn materialise(&self) -> Result<Array> {
        (&self.q * &self.scale).ok().cloned()
    }
}
fn scaled(x: f32, scale: f32) -> Array {
    Array::from_value(Scaled {
        q: v(x),
        scale: Array::scalar(scale),
    })
}

macro_rules! wrapper {
    ($($T:ident { $($rules:tt)* })*) => {$(
        #[derive(Clone, PyTree)]
        struct $T(Array);
        impl ArrayValue for $T {
            fn aval(&self) -> Result<Aval> {
                self.0.aval()
            }
            fn materialise(&self) -> Result<Array> {
                Ok(self.0.clone())
            }
            fn rules(r: &mut Rules) {
                let _ = &r;
                $($rules)*(r);
            }
        }
    )*};
}
wrapper! {
    Left { (|r: &mut Rules| { r.binary(op::ADD, |_, x: &Left, y: &Any| &x.0 + &**y * 10.0); }) }
    Right { (|r: &mut Rules| {
        r.binary(op::ADD, |_, x: &Any, y: &Right| &**x + &y.0);
        r.unary(op::SIN, |_, x: &Right| x.0.sum(()));
    }) }
    Tagged { (|r: &mut Rules| {
        r.default(|op, args| -> Result<Vec<Array>> {
            let plain = args.iter().map(|a| a.value::<Tagged>().map_or(a.clone(), |t| t.0.clone()));
            let results = quaxide::trace::bind_all(op.clone(), &plain.collect::<Vec<_>>())?;
            Ok(results.into_iter().map(|y| Array::from_value(Tagged(y))).collect())
        });
    }) }
    Other { (|r: &mut Rules| { r.default(|_, args| args[0].clone()); }) }
    Tight { (|r: &mut Rules| {
        r.binary(op::MUL, |_, x: &Tight, y: &Any| &x.0 * &**y);
        r.binary(op::MUL, |_, x: &Tight, y: &Tight| &x.0 + &y.0);
    }) }
}

#[test]
fn a_definition_is_enough() {
    let w = scaled(1.0, 0.5);
    let y = quaxify(|w: &Array, x: &Array| (w * x).sin())(&w, &v(2.0)).unwrap();
    assert_eq!(numbers(&y), numbers(&(v(1.0) * 0.5 * v(2.0)).sin()));
    let g = grad(quaxify(|w: &Array| w.square().sum(())))(&w).unwrap();
    let g = g.value::<Scaled>().unwrap();
    assert_eq!(numbers(&g.q), [0.5, 1.0]);
    assert_eq!(g.scale.item::<f32>().unwrap(), 5.0);
    let dense = quaxify(grad(|w: &Array| w.square().sum(())))(&w).unwrap();
    assert_eq!(numbers(&dense), [1.0, 2.0]);
}

#[test]
fn values_nest_and_compose_with_every_transformation() {
    let inner = scaled(1.0, 2.0);
    let outer = Array::from_value(Scaled {
        q: inner,
        scale: Array::scalar(3.0f32),
    });
    let f = |w: &Array, x: &Array| (w * x).sum(());
    let x = v(1.0);
    let want = (v(1.0) * 6.0 * &x).sum(()).item::<f32>().unwrap();
    for y in [
        quaxify(f)(&outer, &x),
        jit(quaxify(f))(&outer, &x),
        quaxify(jit(f))(&outer, &x),
        jit(quaxify(jit(f)))(&outer, &x),
    ] {
        assert_eq!(y.unwrap().item::<f32>().unwrap(), want);
    }
    let xs = Array::from([[1f32, 2.0], [3.0, 4.0]]);
    let a = vmap(quaxify(f)).in_axes((None, 0))(&outer, &xs).unwrap();
    let b = quaxify(vmap(f).in_axes((None, 0)))(&outer, &xs).unwrap();
    assert_eq!(numbers(&a), numbers(&b));
    let g = jit(vmap(grad(quaxify(f))).in_axes((None, 0)))(&outer, &xs).unwrap();
    assert_eq!(g.value::<Scaled>().unwrap().scale.shape(), [2]);
    let d = quaxify(vmap(grad(f)).in_axes((None, 0)))(&outer, &xs).unwrap();
    assert_eq!(numbers(&d), numbers(&xs));
}

#[test]
fn the_most_specific_rule_wins() {
    let (a, b) = (
        Array::from_value(Tight(v(1.0))),
        Array::from_value(Tight(v(2.0))),
    );
    let f = |x: &Array, y: &Array| x * y;
    assert_eq!(numbers(&quaxify(f)(&a, &b).unwrap()), [3.0, 5.0]);
    assert_eq!(numbers(&quaxify(f)(&a, &v(2.0)).unwrap()), [2.0, 6.0]);
    // No rule has the value on the right: its definition.
    assert_eq!(numbers(&quaxify(f)(&v(2.0), &a).unwrap()), [2.0, 6.0]);
}

#[test]
fn rules_that_tie_are_an_error_that_lists_them() {
    let (l, r) = (
        Array::from_value(Left(v(1.0))),
        Array::from_value(Right(v(2.0))),
    );
    let f = |a: &Array, b: &Array| a + b;
    let e = quaxify(f)(&l, &r).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Ambiguous);
    let text = e.to_string();
    assert!(
        text.contains("add(Left, Any) at tests/dispatch.rs"),
        "{text}"
    );
    assert!(
        text.contains("add(Any, Right) at tests/dispatch.rs"),
        "{text}"
    );
    let settled = quaxify(f).rules(|t| {
        t.binary(op::ADD, |_, x: &Left, y: &Right| &x.0 - &y.0);
    });
    assert_eq!(numbers(&settled(&l, &r).unwrap()), [-1.0, -1.0]);
}

#[test]
fn a_callers_rule_replaces_a_types_own() {
    let l = Array::from_value(Left(v(1.0)));
    let f = |a: &Array| a + 1.0;
    assert_eq!(numbers(&quaxify(f)(&l).unwrap()), [11.0, 12.0]);
    let other = quaxify(f).rules(|t| {
        t.binary(op::ADD, |_, x: &Left, _: &Any| x.0.clone());
    });
    assert_eq!(numbers(&other(&l).unwrap()), [1.0, 2.0]);
    assert_eq!(
        numbers(&quaxify(f)(&l).unwrap()),
        [11.0, 12.0],
        "for one call only"
    );
    // Rules may be about plain arrays alone.
    let dense = quaxify(|x: &Array| x.sin()).rules(|t| {
        t.unary(op::SIN, |_, x: &Dense| x.cos());
    });
    assert_eq!(numbers(&dense(&v(0.0)).unwrap()), numbers(&v(0.0).cos()));
    // The primitive itself is meant by its name within such a rule.
    let twice = quaxify(|x: &Array| x.sin()).rules(|t| {
        t.unary(op::SIN, |_, x: &Dense| x.sin() * 2.0);
    });
    assert_eq!(
        numbers(&twice(&v(1.0)).unwrap()),
        numbers(&(v(1.0).sin() * 2.0))
    );
}

#[test]
fn a_rule_must_give_what_the_equation_says() {
    let r = Array::from_value(Right(v(1.0)));
    let e = quaxify(|a: &Array| a.sin())(&r).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    assert!(
        e.message()
            .contains("returned (f32[]), the equation needs (f32[2])"),
        "{e}"
    );
    assert!(e.message().contains("tests/dispatch.rs"), "{e}");
}

#[test]
fn defaults_follow_a_type_through_every_primitive() {
    let t = Array::from_value(Tagged(v(1.0)));
    let y = quaxify(|x: &Array| (x * 2.0).sin().sum(()))(&t).unwrap();
    assert!(y.value::<Tagged>().is_some());
    let o = Array::from_value(Other(v(1.0)));
    let e = quaxify(|x: &Array, y: &Array| x * y)(&t, &o).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Ambiguous);
    assert!(
        e.message()
            .contains("Tagged and Other both override the default"),
        "{e}"
    );
}

#[test]
fn a_filter_leaves_values_to_an_inner_quaxify() {
    let (s, t) = (scaled(1.0, 2.0), Array::from_value(Tight(v(3.0))));
    let only_scaled = |_: &str, x: &Array| x.value::<Scaled>().is_some();
    let only_tight = |_: &str, x: &Array| x.value::<Tight>().is_some();
    let f = |s: &Array, t: &Array| t * s;
    let nested = quaxify(quaxify(f).filter(only_scaled)).filter(only_tight);
    assert_eq!(numbers(&nested(&s, &t).unwrap()), [6.0, 16.0]);
    let other = quaxify(quaxify(f).filter(only_tight)).filter(only_scaled);
    assert_eq!(numbers(&other(&s, &t).unwrap()), [6.0, 16.0]);
    let e = quaxify(f).filter(only_scaled)(&s, &t).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotQuaxified);
    let same = quaxify(|_: &Array, t: &Array| t.clone()).filter(only_scaled)(&s, &t).unwrap();
    assert!(
        same.value::<Tight>().is_some(),
        "what comes out untouched is the same value"
    );
}

#[test]
fn values_outside_of_quaxify_say_what_to_write() {
    let s = scaled(1.0, 2.0);
    for e in [
        (&s + &s).ok().unwrap_err().clone(),
        jit(|x: &Array| {
            let y = x.clone();
            &y * &scaled(1.0, 2.0)
        })(&v(1.0))
        .unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::NotQuaxified);
        assert!(e.to_string().contains("quaxify(f)"), "{e}");
        assert!(
            e.location()
                .is_some_and(|at| at.file().ends_with("dispatch.rs")),
            "{e}"
        );
    }
    // A value that a quaxified function captures is dispatched, too.
    let y = quaxify(|x: &Array| x * &s)(&v(1.0)).unwrap();
    assert_eq!(numbers(&y), [2.0, 8.0]);
    // Outside, a value is a container.
    let doubled = tree::map(&s, |x| x * 2.0);
    assert_eq!(numbers(&doubled.value::<Scaled>().unwrap().q), [2.0, 4.0]);
}

#[test]
fn a_definition_that_fails_reaches_the_user() {
    #[derive(Clone, PyTree)]
    struct Stubborn(Array);
    impl ArrayValue for Stubborn {
        fn aval(&self) -> Result<Aval> {
            self.0.aval()
        }
        fn materialise(&self) -> Result<Array> {
            Err(Error::refused("no, never"))
        }
    }
    let x = Array::from_value(Stubborn(v(1.0)));
    let e = quaxify(|x: &Array| x.sin())(&x).unwrap_err();
    assert_eq!(e.message(), "no, never");
    assert!(
        e.to_string().contains("`sin` has no rule for Stubborn"),
        "{e}"
    );
    assert!(
        e.location()
            .is_some_and(|at| at.file().ends_with("dispatch.rs"))
    );
}

#[test]
fn values_nested_a_thousand_deep_are_refused() {
    let mut x = v(1.0);
    for _ in 0..1000 {
        x = Array::from_value(Scaled {
            q: x,
            scale: Array::scalar(1.0f32),
        });
    }
    let e = quaxify(|x: &Array| x.sin())(&x).unwrap_err();
    assert!(e.message().contains("deep"), "{e}");
    let e = jit(|x: &Array| x.clone())(&x).unwrap_err();
    assert!(e.message().contains("deep"), "{e}");
    // Dropping a chain of a thousand values is the caller's stack, as with any linked structure.
}

#[test]
fn a_rule_that_calls_itself_ends() {
    #[derive(Clone, PyTree)]
    struct Loop(Array);
    impl ArrayValue for Loop {
        fn aval(&self) -> Result<Aval> {
            self.0.aval()
        }
        fn materialise(&self) -> Result<Array> {
            Ok(self.0.clone())
        }
        fn rules(r: &mut Rules) {
            r.unary(op::SIN, |_, x: &Loop| Array::from_value(x.clone()).sin());
        }
    }
    let e = quaxify(|x: &Array| x.sin())(&Array::from_value(Loop(v(1.0)))).unwrap_err();
    assert!(e.message().contains("deep"), "{e}");
}

#[test]
fn traced_arrays_stay_in_their_function_and_thread() {
    let leak = Mutex::new(None);
    let keep = jit(|x: &Array| {
        *leak.lock().unwrap() = Some(x.clone());
        x.sin()
    });
    let _kept = keep(&v(1.0)).unwrap();
    let leaked = leak.lock().unwrap().take().unwrap();
    for e in [
        leaked.sin().ok().unwrap_err().clone(),
        jit(|x: &Array| x + &leaked)(&v(1.0)).unwrap_err(),
    ] {
        assert_eq!(e.kind(), ErrorKind::Escaped);
        assert!(e.message().contains("outside of the function"), "{e}");
    }
    let e = jit(|x: &Array| {
        let x = x.clone();
        std::thread::spawn(move || x.sin())
            .join()
            .unwrap_or_else(|_| Array::from(0.0))
    })(&v(1.0))
    .unwrap_err();
    assert!(e.message().contains("another thread"), "{e}");
}

#[test]
fn numbers_of_a_traced_array_are_refused() {
    let e = jit(|x: &Array| {
        if x.sum(()).item::<f32>()? > 0.0 {
            Ok(x.clone())
        } else {
            Ok(-x)
        }
    })(&v(1.0))
    .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Escaped);
    assert!(e.to_string().contains("`cond`"), "{e}");
}

#[test]
fn the_first_error_wins_whatever_became_of_it() {
    let lost = |x: &Array| {
        let y = x + &Array::zeros([3], DType::F32);
        if y.ndim() == 0 { x.clone() } else { y }
    };
    let e = jit(lost)(&v(1.0)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    assert!(
        e.message().contains("f32[2]") && e.message().contains("f32[3]"),
        "{e}"
    );
    assert!(
        e.location()
            .is_some_and(|at| at.file().ends_with("dispatch.rs")),
        "{e}"
    );
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let e = jit(|x: &Array| {
        let y = x + &Array::zeros([3], DType::F32);
        let sizes: Vec<usize> = y.shape().to_vec();
        x * sizes[0] as f64
    })(&v(1.0))
    .unwrap_err();
    std::panic::set_hook(hook);
    assert!(e.to_string().contains("then panicked"), "{e}");
}

#[test]
fn a_method_given_as_it_is_has_the_line_of_the_transformation() {
    let lora = loraify(
        &nn::Linear::new(4, 3, &random::key(0)),
        LoraConfig::rank(1),
        &random::key(1),
    );
    let lora = lora.unwrap();
    let line = line!() + 1;
    let call = quaxify(nn::Linear::call);
    let why = call.explain((&lora, &v(1.0).reshape([2])));
    let e = why.unwrap_err();
    assert_eq!(e.location().map(|at| at.line()), Some(line), "{e}");
    let x = Array::ones([4], DType::F32);
    let why = call.explain((&lora, &x)).unwrap();
    assert!(why.equations.iter().all(|e| e.at.line() == line));
    assert_eq!(format!("{:?}", call.clone()).matches("Linear").count(), 1);
}
