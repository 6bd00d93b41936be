//! Values inside loops and branches: they are interpreted with their real types, and come out as what they are.

use quaxide::{ErrorKind, prelude::*};

fn close(a: &Array, b: &Array) {
    assert_eq!(a.shape(), b.shape(), "{a:?} against {b:?}");
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    for (x, y) in x.iter().zip(&y) {
        assert!(
            (x - y).abs() <= 1e-12 * (1.0 + y.abs()),
            "{a:?} against {b:?}"
        );
    }
}

fn numbers(shape: &[usize], from: f64) -> Array {
    let n: usize = shape.iter().product();
    Array::new(
        shape,
        (0..n)
            .map(|i| (from + i as f64 * 0.7).sin())
            .collect::<Vec<f64>>(),
    )
}

/// A weight that must not be formed, and what it equals.
fn lora(shape: &[usize], rank: usize) -> (Array, Array) {
    let k = shape.len() - 2;
    let with = |n: usize, m: usize| [&shape[..k], &[n, m]].concat();
    let (w, a, b) = (
        numbers(shape, 0.1),
        numbers(&with(shape[k], rank), 0.2),
        numbers(&with(rank, shape[k + 1]), 0.3),
    );
    let dense = &w + a.matmul(&b);
    (
        Array::from_value(LoraArray::from_parts(w, a, b).unwrap()),
        dense,
    )
}

/// Length that knows its unit, by a static field.
#[derive(Clone, PyTree)]
struct Quantity {
    x: Array,
    #[pytree(meta)]
    power: i32,
}

impl ArrayValue for Quantity {
    fn aval(&self) -> Result<Aval> {
        self.x.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Err(Error::refused("a quantity is not a number"))
    }
    fn describe(&self) -> String {
        format!("m^{}", self.power)
    }
    fn rules(r: &mut Rules) {
        r.binary(op::ADD, |_, x: &Quantity, y: &Quantity| Quantity {
            x: &x.x + &y.x,
            power: x.power,
        });
        r.binary(op::MUL, |_, x: &Quantity, y: &Quantity| Quantity {
            x: &x.x * &y.x,
            power: x.power + y.power,
        });
    }
}

#[test]
fn stacked_layers_are_scanned_and_come_out_factored() {
    let (w, dense) = lora(&[3, 4, 4], 2);
    let x = numbers(&[4], 0.9);
    let f = |w: &Array, x: &Array| {
        let (h, ys) = scan(|h, w| (w.matmul(h).tanh(), h.sum(())), x, w)?;
        Ok::<_, Error>((h, ys))
    };
    let (h, ys) = quaxify(f)(&w, &x).unwrap();
    let (h2, ys2) = f(&dense, &x).unwrap();
    close(&h, &h2);
    close(&ys, &ys2);
    let text = quaxify(f).stages((&w, &x)).unwrap().rewritten.to_string();
    assert!(!text.contains("f64[4,4] = add"), "{text}");
    let loss = |w: &Array| Ok::<_, Error>(f(w, &x)?.0.square().sum(()));
    let g = grad(quaxify(loss))(&w).unwrap();
    let g2 = grad(loss)(&dense).unwrap();
    let g = g.value::<LoraArray>().unwrap();
    let b = &w.value::<LoraArray>().unwrap().b;
    close(&g.a, &g2.matmul(&b.transpose([0, 2, 1])));
}

#[test]
fn values_are_constants_and_carries() {
    let (w, dense) = lora(&[3, 3], 1);
    let x = numbers(&[3], 0.4);
    let f = |w: &Array, x: &Array| {
        let (h, _) = scan_with(
            ScanOptions::new().length(3),
            |h, _: &()| (w.matmul(h).sin(), ()),
            x,
            &(),
        )?;
        let h = while_loop(|h| h.sum(()).gt(100.0), |h| w.matmul(h), &h)?;
        cond(&h.sum(()).lt(9.0), |h| w.matmul(h), |h| h.clone(), &h)
    };
    close(&quaxify(f)(&w, &x).unwrap(), &f(&dense, &x).unwrap());
    // A carry that is a value.
    let swap = |w: &Array| {
        let (w, _) = scan_with(
            ScanOptions::new().length(2),
            |w: &Array, _: &()| (w.clone(), ()),
            w,
            &(),
        )?;
        Ok::<_, Error>(w)
    };
    let y = quaxify(swap)(&w).unwrap();
    assert!(y.value::<LoraArray>().is_some());
    let grown = |w: &Array| {
        scan_with(
            ScanOptions::new().length(2),
            |w: &Array, _: &()| (w * 2.0, ()),
            w,
            &(),
        )
    };
    assert!(quaxify(grown)(&w).is_err());
}

#[test]
fn a_carry_whose_static_fields_change_is_refused() {
    let metres = Array::from_value(Quantity {
        x: numbers(&[2], 0.5),
        power: 1,
    });
    let double = |x: &Array| fori_loop(0, 3, |_, y| y + x, x);
    let y = quaxify(double)(&metres).unwrap();
    close(
        &y.value::<Quantity>().unwrap().x,
        &(numbers(&[2], 0.5) * 4.0),
    );
    let square = |x: &Array| fori_loop(0, 3, |_, y| y * y, x);
    let e = quaxify(square)(&metres).unwrap_err();
    assert!(
        e.to_string().contains("m^1") && e.to_string().contains("m^2"),
        "{e}"
    );
    let square = |x: &Array| while_loop(|_| Array::from(false), |y| y * y, x);
    let e = quaxify(square)(&metres).unwrap_err();
    assert!(
        e.to_string().contains("m^1") && e.to_string().contains("m^2"),
        "{e}"
    );
    // Values as stacked results.
    let ys = |xs: &Array| {
        let (_, ys) = scan(|c: &Array, x| (c.clone(), x * x), &Array::from(0.0), xs)?;
        Ok::<_, Error>(ys)
    };
    let y = quaxify(ys)(&metres).unwrap();
    let y = y.value::<Quantity>().unwrap();
    assert_eq!(y.power, 2);
    assert_eq!(y.x.shape(), [2]);
}

#[test]
fn branches_of_different_kinds_meet_where_they_may() {
    let (w, a, b) = (
        numbers(&[2, 2], 0.1),
        numbers(&[2, 1], 0.2),
        numbers(&[1, 2], 0.3),
    );
    let dense = &w + a.matmul(&b);
    let value = LoraArray::from_parts(w, a, b).unwrap();
    let f = |p: &Array, w: &Array| cond(p, |w| w.clone(), |w| w * 2.0, w);
    let open = Array::from_value(LoraArray {
        allow_materialise: true,
        ..value
    });
    let y = quaxify(f)(&Array::from(true), &open).unwrap();
    close(&y, &dense);
    let metres = Array::from_value(Quantity {
        x: numbers(&[2], 0.5),
        power: 1,
    });
    let g = |p: &Array, x: &Array| cond(p, |x| x + x, |x| x * x, x);
    let e = quaxify(g)(&Array::from(true), &metres).unwrap_err();
    assert!(
        e.to_string().contains("m^1") && e.to_string().contains("m^2"),
        "{e}"
    );
    assert_eq!(e.kind(), ErrorKind::Refused);
    let same = |p: &Array, x: &Array| cond(p, |x| x + x, |x| x.clone(), x);
    let y = quaxify(same)(&Array::from(false), &metres).unwrap();
    assert_eq!(y.value::<Quantity>().unwrap().power, 1);
}

#[test]
fn rules_for_one_call_reach_inside() {
    let x = numbers(&[2], 0.5);
    let f = |x: &Array| fori_loop(0, 2, |_, y| y.sin(), x);
    let y = quaxify(f).rules(|r| {
        r.unary(op::SIN, |_, x: &Dense| x.cos());
    })(&x)
    .unwrap();
    close(&y, &x.cos().cos());
}

#[test]
fn custom_derivatives_are_of_what_a_value_equals() {
    let (w, dense) = lora(&[2, 2], 1);
    // Both rules give three times the derivative, so that it shows that they are used.
    let forward = custom_jvp(
        |w: &Array, x: &Array| w.matmul(x).sin(),
        |(w, x), (dw, dx)| {
            let slope = w.matmul(x).cos() * (dw.matmul(x) + w.matmul(dx)) * 3.0;
            (w.matmul(x).sin(), slope)
        },
    );
    let backward = custom_vjp(
        |w: &Array, x: &Array| w.matmul(x).sin(),
        |w: &Array, x: &Array| (w.matmul(x).sin(), (w.clone(), x.clone())),
        |(w, x), ct| {
            let slope = w.matmul(x).cos() * ct * 3.0;
            let dw = slope.reshape([2, 1]) * x.reshape([1, 2]);
            (dw, slope.matmul(w))
        },
    );
    let x = numbers(&[2], 0.4);
    let plain = |w: &Array| w.matmul(&x).sin().sum(());
    let g = grad(plain)(&dense).unwrap() * 3.0;
    let value = w.value::<LoraArray>().unwrap();
    for f in [forward, backward] {
        let loss = |w: &Array| Ok::<_, Error>(f(w, &x)?.sum(()));
        close(&quaxify(loss)(&w).unwrap(), &plain(&dense));
        let got = grad(quaxify(loss))(&w).unwrap();
        let got = got.value::<LoraArray>().unwrap();
        close(&got.a, &g.matmul(&value.b.transpose([1, 0])));
        close(&got.b, &value.a.transpose([1, 0]).matmul(&g));
    }
}

#[test]
fn checkpoints_hold_values() {
    let (w, dense) = lora(&[2, 2], 1);
    let f = checkpoint(|w: &Array, x: &Array| w.matmul(x).sin());
    let x = numbers(&[2], 0.4);
    let loss = |w: &Array| Ok::<_, Error>(f(w, &x)?.square().sum(()));
    close(&quaxify(loss)(&w).unwrap(), &loss(&dense).unwrap());
    let g = grad(loss)(&dense).unwrap();
    let got = grad(quaxify(loss))(&w).unwrap();
    let value = w.value::<LoraArray>().unwrap();
    close(
        &got.value::<LoraArray>().unwrap().a,
        &g.matmul(&value.b.transpose([1, 0])),
    );
}

#[test]
fn a_carry_that_becomes_plain_is_plain_where_it_may_be() {
    let (w, dense) = lora(&[3, 3], 1);
    let mut parts = w.value::<LoraArray>().unwrap().clone();
    parts.allow_materialise = true;
    let allowed = Array::from_value(parts);
    let scanned = |w: &Array| fori_loop(0, 2, |_, w| w * 2.0, w);
    let repeated = |w: &Array| {
        while_loop(
            |(i, _): &(Array, Array)| i.lt(2),
            |(i, w)| (i + 1, w * 2.0),
            &(Array::from(0i32), w.clone()),
        )
    };
    let y = quaxify(scanned)(&allowed).unwrap();
    assert!(y.value::<LoraArray>().is_none());
    close(&y, &(&dense * 4.0));
    let (_, y) = quaxify(repeated)(&allowed).unwrap();
    assert!(y.value::<LoraArray>().is_none());
    close(&y, &(&dense * 4.0));
    // The other way: a plain start, and a step that makes a value.
    let gained = |start: &Array, w: &Array| fori_loop(0, 2, |_, _| w.clone(), start);
    let y = quaxify(gained)(&dense, &allowed).unwrap();
    close(&y, &dense);
    for e in [
        quaxify(scanned)(&w).unwrap_err(),
        quaxify(repeated)(&w).unwrap_err(),
        quaxify(gained)(&dense, &w).unwrap_err(),
    ] {
        assert!(e.to_string().contains("lora[f64[3,3], rank=1]"), "{e}");
    }
}
