//! Loops and branches: derivatives, batching, nesting, and what they refuse.

use quaxide::prelude::*;

fn close(a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{a:?} against {b:?}");
    let (x, y) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    for (x, y) in x.iter().zip(&y) {
        assert!(
            (x - y).abs() <= tolerance * (1.0 + y.abs()),
            "{a:?} against {b:?}"
        );
    }
}

fn vector(x: &[f64]) -> Array {
    Array::from(x.to_vec())
}

/// An array at an index of its first axis.
fn slice(x: &Array, i: i32) -> Array {
    let shape = x.shape().to_vec();
    let all = x.to_f64_vec().unwrap();
    let n: usize = shape[1..].iter().product();
    let at = i as usize * n;
    Array::new(&shape[1..], all[at..at + n].to_vec())
}

/// The derivative of a scalar function by central differences.
fn numeric(f: &dyn Fn(&Array) -> Array, x: &Array) -> Array {
    let h = 1e-5;
    let at = x.to_f64_vec().unwrap();
    let mut all = vec![];
    for i in 0..at.len() {
        let moved = |d: f64| {
            let mut y = at.clone();
            y[i] += d;
            f(&Array::new(x.shape(), y)).item::<f64>().unwrap()
        };
        all.push((moved(h) - moved(-h)) / (2.0 * h));
    }
    Array::new(x.shape(), all)
}

/// First and second derivatives of a scalar function against finite differences.
fn check_derivatives(f: impl Fn(&Array) -> Array + Send + Sync + Copy, x: &Array) {
    let g = grad(f)(x).unwrap();
    close(&g, &numeric(&f, x), 1e-6);
    let t = (x * 0.5).cos();
    let (_, along) = jvp(f, (x,), (&t,)).unwrap();
    close(&along, &(&g * &t).sum(()), 1e-9);
    let slope = |x: &Array| {
        let g = grad(f)(x)?;
        Ok((g * (x * 0.0 + 1.0).cumsum(0)).sum(()))
    };
    let plain = |x: &Array| Array::from_result(slope(x));
    close(&grad(slope)(x).unwrap(), &numeric(&plain, x), 1e-5);
}

#[test]
fn scan_is_a_loop() {
    let xs = Array::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let init = vector(&[0.5, -0.5]);
    let step = |c: &Array, x: &Array| {
        let y = (c * x).sin();
        (&y + x * 0.1, y)
    };
    let (last, ys) = scan(step, &init, &xs).unwrap();
    let mut c = init.clone();
    for i in 0..3 {
        let x = slice(&xs, i);
        let (next, y) = step(&c, &x);
        close(&slice(&ys, i), &y, 1e-14);
        c = next;
    }
    close(&last, &c, 1e-14);
}

#[test]
fn scan_prints_as_jax_does() {
    let x = Array::zeros([3], DType::F32);
    let f = |x: &Array| {
        let first = x.max(0);
        scan(|c, y| (c + y, c * &first), &Array::from(0f32), x)
    };
    let program = make_jaxpr(f)(&x).unwrap();
    program.check().unwrap();
    insta::assert_snapshot!(program, @r"
    { lambda ; a:f32[3]. let
        b:f32[] = reduce_max[axes=(0,)] a
        c:f32[] d:f32[3] = scan[
          jaxpr={ lambda ; e:f32[] f:f32[] g:f32[]. let
              h:f32[] = add f g
              i:f32[] = mul f e
            in (h, i) }
          length=3
          num_carry=1
          num_consts=1
          reverse=False
          unroll=1
        ] b 0.0:f32[] a
      in (c, d) }
    ");
}

#[test]
fn scan_differentiates_twice() {
    let f = |w: &Array| {
        let xs = vector(&[0.3, -0.2, 0.7, 0.1]);
        let w2 = w.square();
        let run = scan(
            |(h, n), x| {
                let h = (h * w + x + &w2).sin();
                ((h.clone(), n + 1.0), h.sum(()) * n)
            },
            &(w.cos(), Array::from(0.0)),
            &xs,
        );
        let Ok(((h, _), ys)) = run else {
            return Array::error(run.err().unwrap());
        };
        (h * w).sum(()) + ys.square().sum(())
    };
    check_derivatives(f, &vector(&[0.4, -0.6]));
    let reversed = |w: &Array| {
        let (h, ys) = scan_with(
            ScanOptions::new().reverse(),
            |h, x| ((h * x).sin() + w, h * w),
            w,
            &Array::new([3, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        )
        .unwrap();
        h.sum(()) + ys.sin().sum(())
    };
    check_derivatives(reversed, &vector(&[0.4, -0.6]));
}

#[test]
fn scan_under_vmap_is_a_loop() {
    let xs = Array::new([2, 3], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    let w = vector(&[0.5, -0.25]);
    // Only the captured array is batched: the carry becomes so in the loop.
    let f = |w: &Array, x: &Array| {
        let (c, ys) = scan(|c, x| (c * w + x, c.sin()), &Array::from(1.0), x)?;
        Ok(c + ys.sum(()))
    };
    for axes in [(Some(0), None), (None, Some(0)), (Some(0), Some(0))] {
        let x = slice(&xs, 0);
        let (a, b) = (
            if axes.0.is_some() {
                w.clone()
            } else {
                Array::from(0.5)
            },
            if axes.1.is_some() {
                xs.clone()
            } else {
                x.clone()
            },
        );
        let got = vmap(f).in_axes(axes)(&a, &b).unwrap();
        for i in 0..2 {
            let a = axes.0.map_or(a.clone(), |_| slice(&a, i));
            let b = axes.1.map_or(b.clone(), |_| slice(&b, i));
            let one = slice(&got, i);
            close(&one, &f(&a, &b).unwrap_or_else(Array::error), 1e-13);
        }
    }
    let loss = |w: &Array| {
        vmap(f).in_axes((Some(0), Some(0)))(w, &xs)
            .unwrap()
            .square()
            .sum(())
    };
    check_derivatives(loss, &w);
}

#[test]
fn scan_of_nothing_and_refusals() {
    let none = Array::zeros([0, 2], DType::F32);
    let init = Array::ones([2], DType::F32);
    let (c, ys) = scan(|c, x| (c + x, (c * x).sum(0)), &init, &none).unwrap();
    close(&c, &init, 0.0);
    assert_eq!(ys.shape(), [0]);
    let g = grad(|w: &Array| {
        let (c, _) = scan(|c, x| (c * x, ()), w, &none)?;
        Ok(c.sum(()))
    })(&init);
    close(&g.unwrap(), &init, 0.0);

    let xs = Array::zeros([3, 2], DType::F32);
    let e = scan(|c, x| (c.sum(()) + x, ()), &Array::from(0f32), &xs).unwrap_err();
    assert!(
        e.message().contains("f32[]") && e.message().contains("f32[2]"),
        "{e}"
    );
    let e = scan(
        |(a, b), _: &Array| ((a.clone(), b.gt(0.0)), ()),
        &(init.clone(), init.clone()),
        &xs,
    )
    .unwrap_err();
    assert!(
        e.message().contains("`[1]`") && e.message().contains("bool"),
        "{e}"
    );
    let both = (xs.clone(), Array::zeros([4], DType::F32));
    let e = scan(
        |c: &Array, _: &(Array, Array)| (c.clone(), ()),
        &init,
        &both,
    )
    .unwrap_err();
    assert!(
        e.message().contains("3 steps") && e.message().contains("4 by"),
        "{e}"
    );
    assert!(scan(|c: &Array, _: &()| (c.clone(), ()), &init, &()).is_err());
    assert!(
        scan(
            |c: &Array, _: &Array| (c.clone(), ()),
            &init,
            &Array::from(1f32)
        )
        .is_err()
    );
    let grown = scan(
        |c: &Vec<Array>, x: &Array| ([c.clone(), vec![x.clone()]].concat(), ()),
        &vec![init.clone()],
        &xs,
    );
    assert!(grown.unwrap_err().message().contains("structure"));
}

#[test]
fn a_weakly_typed_carry_takes_the_type_of_a_step() {
    let xs = Array::from([1f32, 2.0]);
    let (c, _) = scan(|c, x| (c + x, ()), &Array::from(0.0f32), &xs).unwrap();
    assert_eq!(c.dtype().unwrap(), DType::F32);
}

#[test]
fn branches_choose_and_differentiate() {
    let f = |x: &Array| {
        let s = x.sum(());
        let y = cond(&s.gt(0.0), |x| x.sin() * &s, |x| x * x, x)?;
        let z = switch(
            &Array::from(7),
            &[&|x: &Array| x.clone(), &|x| x.exp() * &s],
            &y,
        )?;
        Ok::<_, Error>((z * x).sum(()))
    };
    let plain = |x: &Array| Array::from_result(f(x));
    for x in [vector(&[0.4, 0.6]), vector(&[-0.4, -0.6])] {
        check_derivatives(plain, &x);
    }
    let xs = Array::new([3, 2], vec![0.4, 0.6, -0.4, -0.6, 0.1, -0.3]);
    let got = vmap(f)(&xs).unwrap();
    for i in 0..3 {
        close(&slice(&got, i), &plain(&slice(&xs, i)), 1e-13);
    }
    let loss = |xs: &Array| Array::from_result(vmap(f)(xs)).square().sum(());
    check_derivatives(loss, &xs);
    let g = vmap(grad(f))(&xs).unwrap();
    for i in 0..3 {
        close(&slice(&g, i), &grad(f)(&slice(&xs, i)).unwrap(), 1e-13);
    }
}

#[test]
fn branches_must_agree() {
    let x = Array::zeros([2], DType::F32);
    let p = Array::from(true);
    let e = cond(&p, |x: &Array| x.clone(), |x: &Array| x.sum(()), &x).unwrap_err();
    assert!(
        e.message().contains("f32[2]") && e.message().contains("f32[]"),
        "{e}"
    );
    assert!(cond(&x, |x: &Array| x.clone(), |x: &Array| x.clone(), &x).is_err());
    let none: &[&dyn Fn(&Array) -> Array] = &[];
    assert!(switch(&Array::from(0), none, &x).is_err());
    let e = cond(
        &p,
        |x: &Array| vec![x.clone()],
        |x: &Array| vec![x.clone(), x.clone()],
        &x,
    );
    assert!(e.unwrap_err().message().contains("one structure"));
}

#[test]
fn cond_and_while_print_as_jax_does() {
    let x = Array::zeros([3], DType::F32);
    let f = |x: &Array| {
        let y = cond(&x.max(0).gt(0.0), |x| x.sin(), |x| x.cos(), x)?;
        while_loop(|c| c.max(0).lt(3.0), |c| c + x, &y)
    };
    let program = make_jaxpr(f)(&x).unwrap();
    program.check().unwrap();
    insta::assert_snapshot!(program, @r"
    { lambda ; a:f32[3]. let
        b:f32[] = reduce_max[axes=(0,)] a
        c:bool[] = gt b 0.0:f32[]
        d:i32[] = convert_element_type[new_dtype=int32 weak_type=False] c
        e:f32[3] = cond[
          branches=(
            { lambda ; f:f32[3]. let g:f32[3] = cos f in (g,) }
            { lambda ; h:f32[3]. let i:f32[3] = sin h in (i,) }
          )
        ] d a
        j:f32[3] = while[
          body_jaxpr={ lambda ; k:f32[3] l:f32[3]. let m:f32[3] = add l k in (m,) }
          body_nconsts=1
          cond_jaxpr={ lambda ; n:f32[3]. let
              o:f32[] = reduce_max[axes=(0,)] n
              p:bool[] = lt o 3.0:f32[]
            in (p,) }
          cond_nconsts=0
        ] a e
      in (j,) }
    ");
}

#[test]
fn while_loops_run_forward_and_under_vmap() {
    let f = |x: &Array| {
        let (y, _) = while_loop(
            |(y, n)| y.lt(50.0) & n.lt(20),
            |(y, n)| (y * (x + 1.5), n + 1),
            &(x.square() + 1.0, Array::from(0i32)),
        )?;
        Ok::<_, Error>(y)
    };
    let x = Array::from(0.7);
    let (_, t) = jvp(f, (&x,), (&Array::from(1.0),)).unwrap();
    close(&t, &numeric(&|x| Array::from_result(f(x)), &x), 1e-6);
    let xs = vector(&[0.1, 0.7, 2.0]);
    let ys = vmap(f)(&xs).unwrap();
    let (_, ts) = jvp(vmap(f), (&xs,), (&(&xs * 0.0 + 1.0),)).unwrap();
    for i in 0..3 {
        let x = slice(&xs, i);
        close(&slice(&ys, i), &f(&x).unwrap(), 1e-13);
        let (_, t) = jvp(f, (&x,), (&Array::scalar(1.0f64),)).unwrap();
        close(&slice(&ts, i), &t, 1e-13);
    }
    let e = grad(f)(&x).unwrap_err();
    assert!(e.to_string().contains("fori_loop"), "{e}");
    // What does not depend on the differentiated argument may loop as it likes.
    let g = grad(|x: &Array| {
        let n = while_loop(|n| n.lt(10.0), |n| n * 2.0, &Array::from(3.0))?;
        Ok(x * n)
    })(&x);
    close(&g.unwrap(), &Array::from(12.0), 0.0);
    assert!(while_loop(|x: &Array| x.clone(), |x| x.clone(), &x).is_err());
    assert!(while_loop(|x: &Array| x.lt(1.0), |x| x.reshape([1]), &x).is_err());
}

#[test]
fn fori_loops_have_both_derivatives() {
    let f = |x: &Array| {
        let y = fori_loop(1, 4, |i, y| (y * x).sin() + i.astype(DType::F64), x);
        Array::from_result(y).sum(())
    };
    check_derivatives(f, &vector(&[0.3, 0.8]));
    let traced = |n: &Array, x: &Array| fori_loop(0, n.clone(), |_, y| y * x, &Array::from(1.0));
    let y = jit(traced)(&Array::from(5i32), &Array::from(2.0)).unwrap();
    assert_eq!(y.item::<f64>().unwrap(), 32.0);
    let same = fori_loop(3, 1, |_, y: &Array| y * 2.0, &Array::from(1.0)).unwrap();
    assert_eq!(same.item::<f64>().unwrap(), 1.0);
    assert!(fori_loop(0.5f32, 1, |_, y: &Array| y.clone(), &Array::from(1.0)).is_err());
}

#[test]
fn loops_and_branches_nest() {
    let f = |x: &Array| {
        let xs = Array::new([3, 2], vec![0.1, -0.2, 0.3, 0.4, -0.5, 0.6]);
        let (h, ys) = scan(
            |h, r| {
                let next = cond(
                    &(h * r).sum(()).gt(0.0),
                    |h| {
                        let (a, _) = scan(|a, r| (a * r + h, ()), h, &xs)?;
                        Ok::<_, Error>(a)
                    },
                    |h| fori_loop(0, 2, |_, y| (y + x).cos(), h),
                    h,
                )?;
                Ok::<_, Error>((next.tanh(), h.sum(())))
            },
            x,
            &xs,
        )?;
        Ok::<_, Error>(h.sum(()) + ys.square().sum(()))
    };
    let plain = |x: &Array| Array::from_result(f(x));
    for x in [vector(&[0.4, 0.6]), vector(&[-0.9, 0.2])] {
        check_derivatives(plain, &x);
    }
    let xs = Array::new([2, 2], vec![0.4, 0.6, -0.9, 0.2]);
    let loss = |xs: &Array| Array::from_result(vmap(f)(xs)).sum(());
    check_derivatives(loss, &xs);
    let jitted = jit(grad(loss))(&xs).unwrap();
    close(&jitted, &grad(loss)(&xs).unwrap(), 1e-13);
}

#[test]
fn examples_speak_to_each_other() {
    let f = |x: &Array| {
        let s = psum(x, "i");
        (x - pmean(x, "i")) * pmax(x, "i")
            + pmin(&(x * &s), "i")
            + axis_index("i").astype(DType::F64)
    };
    let one = Array::zeros([2], DType::F64);
    let e = f(&one).ok().unwrap_err().clone();
    assert!(e.message().contains("`i`"), "{e}");
    let g = |xs: &Array| vmap(f).axis_name("i")(xs).unwrap();
    let xs = Array::new([3, 2], vec![0.1, 0.9, 0.5, -0.3, 0.2, 0.4]);
    let by_hand = |xs: &Array| {
        let s = xs.sum(0);
        let n = Array::from([[0.0], [1.0], [2.0]]);
        (xs - xs.mean(0)) * xs.max(0) + (xs * s).min(0) + n
    };
    close(&g(&xs), &by_hand(&xs), 1e-13);
    let loss = |xs: &Array| (g(xs) * (xs * 0.3).cos()).sum(());
    check_derivatives(loss, &xs);
    // Inside loops and branches, and with nothing else that is mapped.
    let inside = |x: &Array| {
        let (c, _) = scan_with(
            ScanOptions::new().length(2),
            |c, _: &()| (c + axis_index("i").astype(DType::F64), ()),
            &Array::scalar(0.0f64),
            &(),
        )?;
        cond(&x.gt(0.0), |x| x + psum(x, "i") + &c, |x| x - &c, x)
    };
    let y = vmap(inside).axis_name("i")(&vector(&[1.0, -1.0, 2.0])).unwrap();
    close(&y, &vector(&[3.0, -3.0, 8.0]), 1e-13);
    let nested = vmap(|x: &Array| vmap(|y: &Array| psum(y, "j") + psum(y, "i")).axis_name("j")(x))
        .axis_name("i");
    let y = nested(&Array::new([2, 2], vec![1.0, 2.0, 3.0, 4.0])).unwrap();
    close(&y, &Array::new([2, 2], vec![7.0, 9.0, 11.0, 13.0]), 1e-13);
}

#[test]
fn a_branch_that_is_not_taken_spoils_no_derivative() {
    let xs = Array::from([0f32, 4.]);
    let f = |x: &Array| cond(&x.gt(1.0), |x| x.sqrt(), |x| x * 2.0, x);
    let over = grad(move |xs: &Array| -> Result<Array> { Ok(vmap(f)(xs)?.sum(())) });
    let under = vmap(grad(f));
    for g in [over(&xs).unwrap(), under(&xs).unwrap()] {
        assert_eq!(g.to_vec::<f32>().unwrap(), [2.0, 0.25]);
    }
}
