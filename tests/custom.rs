//! Functions that bring their own derivatives, and functions that are computed again for theirs.

use quaxide::prelude::*;

fn close(a: &Array, b: &Array) {
    assert_eq!(a.shape(), b.shape(), "{a:?} against {b:?}");
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    for (x, y) in x.iter().zip(&y) {
        assert!(
            (x - y).abs() <= 1e-9 * (1.0 + y.abs()),
            "{a:?} against {b:?}"
        );
    }
}

fn vector(x: &[f64]) -> Array {
    Array::from(x.to_vec())
}

/// x² y, with a derivative that is three times too large, so that it shows where the rule is used.
fn tripled() -> Call<'static, (Array, Array), Array> {
    custom_jvp(
        |x: &Array, y: &Array| x.square() * y,
        |(x, y), (dx, dy)| {
            let slope = (x * y * dx * 2.0 + x.square() * dy) * 3.0;
            (x.square() * y, slope)
        },
    )
}

#[test]
fn rules_replace_derivatives() {
    let (f, x, y) = (tripled(), vector(&[1.0, 2.0]), vector(&[3.0, -1.0]));
    close(&f(&x, &y).unwrap(), &(x.square() * &y));
    let loss = |x: &Array, y: &Array| Ok::<_, Error>(f(x, y)?.sum(()));
    close(&grad(loss)(&x, &y).unwrap(), &(&x * &y * 6.0));
    let (_, t) = jvp(loss, (&x, &y), (&y, &x)).unwrap();
    close(&t, &((&x * &y * &y * 2.0 + x.square() * &x) * 3.0).sum(()));
    // The rule is differentiated for the second derivative.
    let twice = grad(|x: &Array| {
        let g = grad(|x: &Array| loss(x, &y))(x)?;
        Ok(g.sum(()))
    });
    close(&twice(&x).unwrap(), &(&y * 6.0));
    let xs = Array::new([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mapped = vmap(f.clone()).in_axes((Some(0), None));
    close(&mapped(&xs, &y).unwrap(), &(xs.square() * &y));
    let sum = |y: &Array| Ok::<_, Error>(mapped(&xs, y)?.sum(()));
    close(&grad(sum)(&y).unwrap(), &(xs.square().sum(0) * 3.0));
    close(&jit(grad(sum))(&y).unwrap(), &(xs.square().sum(0) * 3.0));
    let scanned = |y: &Array| {
        let (c, _) = scan(
            |c, x| Ok::<_, Error>((c + f(x, y)?, ())),
            &vector(&[0.0, 0.0]),
            &xs,
        )?;
        Ok::<_, Error>(c.sum(()))
    };
    close(&grad(scanned)(&y).unwrap(), &(xs.square().sum(0) * 3.0));
}

#[test]
fn backward_rules_replace_derivatives() {
    let f = custom_vjp(
        |x: &Array, y: &Array| x.sin() * y,
        |x: &Array, y: &Array| (x.sin() * y, (x.cos() * y, x.sin())),
        |(dx, dy), ct| (dx * ct * 3.0, dy * ct * 3.0),
    );
    let (x, y) = (vector(&[0.3, 0.7]), vector(&[3.0, -1.0]));
    close(&f(&x, &y).unwrap(), &(x.sin() * &y));
    let loss = |x: &Array, y: &Array| Ok::<_, Error>(f(x, y)?.square().sum(()));
    let slope = x.sin() * &y * x.cos() * &y * 6.0;
    close(&grad(loss)(&x, &y).unwrap(), &slope);
    close(&jit(grad(loss))(&x, &y).unwrap(), &slope);
    let twice = grad(|x: &Array| Ok::<_, Error>(grad(loss)(x, &y)?.sum(())))(&x).unwrap();
    // The first rule is differentiated as it is written, the function inside of it by its own.
    assert_eq!(twice.shape(), [2]);
    let xs = Array::new([3, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    let call = |x: &Array, y: &Array| f(x, y);
    let sum = |y: &Array| Ok::<_, Error>(vmap(call).in_axes((Some(0), None))(&xs, y)?.sum(()));
    close(&grad(sum)(&y).unwrap(), &(xs.sin().sum(0) * 3.0));
    let each = vmap(grad(|x: &Array| Ok::<_, Error>(f(x, &y)?.sum(()))));
    close(&each(&xs).unwrap(), &(xs.cos() * &y * 3.0));
    let scanned = |y: &Array| {
        let (c, _) = scan(
            |c, x| Ok::<_, Error>((c + f(x, y)?, ())),
            &vector(&[0.0, 0.0]),
            &xs,
        )?;
        Ok::<_, Error>(c.sum(()))
    };
    close(&grad(scanned)(&y).unwrap(), &(xs.sin().sum(0) * 3.0));
    let e = jvp(loss, (&x, &y), (&x, &y)).unwrap_err();
    assert!(e.to_string().contains("forwards"), "{e}");
}

#[test]
fn rules_of_other_types_are_refused() {
    let x = vector(&[1.0, 2.0]);
    let f = custom_jvp(|x: &Array| x.sin(), |(x,), (dx,)| (x.sin(), dx.sum(())));
    assert!(f(&x).unwrap_err().message().contains("f64[]"));
    let f = custom_jvp(|x: &Array| x.sin(), |(x,), (dx,)| (x.sum(()), dx.clone()));
    assert!(f(&x).is_err());
    let f = custom_vjp(
        |x: &Array| x.sin(),
        |x: &Array| (x.sin(), ()),
        |(), ct| (ct.sum(()),),
    );
    let e = f(&x).unwrap_err();
    assert!(
        e.message().contains("f64[]") && e.message().contains("f64[2]"),
        "{e}"
    );
    let y = vector(&[1.0, 2.0]);
    let captured = grad(|y: &Array| {
        let f = custom_jvp(|x: &Array| x * y, |(x,), (dx,)| (x * y, dx * y));
        Ok::<_, Error>(f(&x)?.sum(()))
    });
    assert!(captured(&y).unwrap_err().to_string().contains("argument"));
}

#[test]
fn checkpoints_compute_again() {
    let x = Array::ones([3], DType::F32);
    let program = make_jaxpr(grad(|x: &Array| {
        let f = checkpoint(|x: &Array| x.sin().sin());
        Ok::<_, Error>(f(x)?.sum(()))
    }))(&x)
    .unwrap();
    program.check().unwrap();
    insta::assert_snapshot!(program, @r"
    { lambda ; a:f32[3]. let
        b:f32[3] = sin a
        c:f32[3] = sin b
        _:f32[] = reduce_sum[axes=(0,) out_sharding=None] c
        d:f32[3] = broadcast_in_dim 1.0:f32[]
        e:f32[3] = remat2[
          differentiated=True
          jaxpr={ lambda ; f:f32[3] g:f32[3]. let
              h:f32[3] = sin f
              i:f32[3] = cos f
              j:f32[3] = cos h
              k:f32[3] = mul g j
              l:f32[3] = mul k i
            in (l,) }
          policy=None
          prevent_cse=True
        ] a d
      in (e,) }
    ");
    let f = checkpoint(|x: &Array, w: &Array| (x * w).sin().exp());
    let (x, w) = (vector(&[0.3, -0.4]), vector(&[1.5, 0.5]));
    let plain = |x: &Array, w: &Array| (x * w).sin().exp().sum(());
    let marked = |x: &Array, w: &Array| Ok::<_, Error>(f(x, w)?.sum(()));
    close(
        &grad(marked)(&x, &w).unwrap(),
        &grad(plain)(&x, &w).unwrap(),
    );
    let (a, b) = (
        hessian(|x: &Array| marked(x, &w))(&x).unwrap(),
        hessian(|x: &Array| plain(x, &w))(&x).unwrap(),
    );
    close(&a, &b);
    let xs = Array::new([3, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    close(
        &vmap(grad(marked)).in_axes((Some(0), None))(&xs, &w).unwrap(),
        &vmap(grad(plain)).in_axes((Some(0), None))(&xs, &w).unwrap(),
    );
    let scanned = |w: &Array| {
        let (c, _) = scan(|c, x| Ok::<_, Error>((f(c, w)? + x, ())), &x, &xs)?;
        Ok::<_, Error>(c.sum(()))
    };
    let looped = |w: &Array| {
        let (c, _) = scan(|c, x| ((c * w).sin().exp() + x, ()), &x, &xs)?;
        Ok::<_, Error>(c.sum(()))
    };
    close(&grad(scanned)(&w).unwrap(), &grad(looped)(&w).unwrap());
}

static TWICE_SINE: std::sync::LazyLock<Call<'static, (Array,), Array>> =
    std::sync::LazyLock::new(|| {
        custom_jvp(
            |x: &Array| x.sin() * 2.0,
            |(x,), (dx,)| -> Result<(Array, Array)> { Ok((TWICE_SINE(x)?, dx * x.cos() * 3.0)) },
        )
    });

#[test]
fn a_rule_may_call_its_own_function() {
    let f = |x: &Array| TWICE_SINE(x);
    let x = Array::from(0.5f32);
    close(&grad(f)(&x).unwrap(), &(x.cos() * 3.0));
    close(&grad(grad(f))(&x).unwrap(), &(x.sin() * -3.0));
}
