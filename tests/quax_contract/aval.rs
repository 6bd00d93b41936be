//! Types of values that are computed.

use super::support::*;
use quaxide::prelude::*;

/// Three times as many rows as it holds: its type is found by array operations.
#[derive(Clone, PyTree)]
struct Tiled(Array);

impl ArrayValue for Tiled {
    fn aval(&self) -> Result<Aval> {
        self.materialise()?.aval()
    }
    fn materialise(&self) -> Result<Array> {
        numpy::concatenate(&[&self.0, &self.0, &self.0], 0)
            .ok()
            .cloned()
    }
    fn rules(r: &mut Rules) {
        r.unary(op::NEG, |_, x: &Tiled| Array::from_value(Tiled(-&x.0)));
    }
}

/// «aval may bind primitives, as input, as rule result, under jit».
#[test]
fn a_type_may_be_computed() {
    let x = Array::from_value(Tiled(vector(&[1.0, 2.0])));
    assert_eq!(x.shape(), [6]);
    let wanted = vector(&[-1.0, -2.0, -1.0, -2.0, -1.0, -2.0]);
    let f = |x: &Array| -x;
    for y in [quaxify(f)(&x), jit(quaxify(f))(&x), quaxify(jit(f))(&x)] {
        let y = y.unwrap();
        close(&y.value::<Tiled>().unwrap().materialise().unwrap(), &wanted);
    }
    let sum = quaxify(|x: &Array| (-x).sum(()))(&x).unwrap();
    assert_eq!(number(&sum), -9.0);
    let g = jit(grad(quaxify(|x: &Array| x.square().sum(()))))(&x).unwrap();
    close(&g.value::<Tiled>().unwrap().0, &vector(&[6.0, 12.0]));
}
