//! Dual numbers: an array type from nothing, on Quaxide's public API alone.

use quaxide::{prelude::*, trace::bind_all};

/// A primal and a tangent, `p + ε·t` with `ε² = 0`: a program on duals computes its derivative along the tangents.
#[derive(Clone, PyTree)]
pub struct Dual(Array, Array);

/// A dual as an array that programs take.
pub fn dual(p: Array, t: Array) -> Array {
    Array::from_value(Dual(p, t))
}

impl ArrayValue for Dual {
    fn aval(&self) -> Result<Aval> {
        self.0.aval()
    }
    fn materialise(&self) -> Result<Array> {
        Ok(self.0.clone())
    }
    fn rules(r: &mut Rules) {
        r.binary(op::ADD, |_, x: &Dual, y: &Dual| {
            dual(&x.0 + &y.0, &x.1 + &y.1)
        });
        r.binary(op::MUL, |_, x: &Dual, y: &Dual| {
            dual(&x.0 * &y.0, &x.0 * &y.1 + &x.1 * &y.0)
        });
        r.unary(op::SIN, |_, x: &Dual| dual(x.0.sin(), x.0.cos() * &x.1));
        r.default(|op, operands| {
            let parts = operands.iter().map(|x| match x.value::<Dual>() {
                Some(d) => (d.0.clone(), d.1.clone()),
                None => (x.clone(), Array::zeros_like(x)),
            });
            let (x, t): (Vec<_>, Vec<_>) = parts.unzip();
            let (y, t) = jvp(|x: &Vec<Array>| bind_all(op.clone(), x), (&x,), (&t,))?;
            let y = y.into_iter().zip(t).map(|(y, t)| dual(y, t));
            Ok::<_, Error>(y.collect::<Vec<_>>())
        });
    }
}

#[test]
fn a_program_on_duals_computes_its_derivative() {
    let f = |x: &Array| (x * x + x).sin();
    let x = dual(Array::scalar(0.5f64), Array::scalar(1f64));
    let y = quaxify(f)(&x).unwrap();
    let slope = y.value::<Dual>().unwrap().1.item::<f64>().unwrap();
    assert!((slope - 2.0 * 0.75f64.cos()).abs() < 1e-12);
    let traced = quaxify(f).stages((&x,)).unwrap().traced;
    insta::assert_snapshot!(traced, @"
    { lambda ; a:Dual(f64[]). let
        b:Dual(f64[]) = mul a a
        c:Dual(f64[]) = add b a
        d:Dual(f64[]) = sin c
      in (d,) }
    ");
}
