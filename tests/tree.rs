//! Trees as users edit them.

use quaxide::prelude::*;

#[test]
fn a_path_leads_to_a_value_and_into_it() {
    let x = |n: f32| Array::full([2, 2], n, DType::F32);
    let numbers = |x: &Array| x.to_vec::<f32>().unwrap();
    let lora = LoraArray::from_parts(x(1.0), x(2.0), x(3.0)).unwrap();
    let pair = (Array::from_value(lora), x(4.0));
    let whole = tree::at(&pair, "[0]").get().unwrap();
    assert!(whole.value::<LoraArray>().is_some());
    assert_eq!(numbers(&tree::at(&pair, "[0].a").get().unwrap()), [2.0; 4]);
    let changed = tree::at(&pair, "[0].b").set(&x(7.0)).unwrap();
    assert_eq!(
        numbers(&changed.0.value::<LoraArray>().unwrap().b),
        [7.0; 4]
    );
    let plain = tree::at(&pair, "[0]").set(&x(0.0)).unwrap();
    assert!(plain.0.value::<LoraArray>().is_none());
    let e = tree::at(&pair, "[0].c").get().unwrap_err();
    assert_eq!(e.notes(), ["its leaves are [0].w, [0].a, [0].b, [1]"]);
}
