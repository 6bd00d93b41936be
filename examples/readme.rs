//! An ordinary program, low-rank adaptation of its weight, and what becomes of it on the way.
use quaxide::prelude::*;

/// Written for plain arrays, with no thought of low-rank adaptation.
fn program(layer: &nn::Linear, x: &Array) -> Array {
    layer.call(x).tanh()
}

fn main() -> Result<()> {
    let [k1, k2, k3] = random::key(0).split();
    let layer = nn::Linear::new(10, 12, &k1);
    let x = random::normal(&k2, [10]);

    // The weight now stands for w + a·b. The same program runs on it.
    let lora = loraify(&layer, LoraConfig::rank(2), &k3)?;
    assert_eq!(quaxify(program)(&lora, &x)?.shape(), [12]);

    // As the function says it, and as it runs, after dispatch and equality saturation.
    let stages = quaxify(program).stages((&lora, &x))?;
    println!("traced\n{}\n", stages.traced);
    println!("rewritten\n{}\n", stages.rewritten);

    // The base is frozen: its gradient is a zero that costs neither a buffer nor a multiplication.
    let loss = |layer: &nn::Linear, x: &Array| program(layer, x).square().sum(());
    let gradient = grad(quaxify(loss))(&lora, &x)?;
    for (path, g) in tree::leaves_with_paths(&gradient) {
        let zero = g.is_symbolic_zero();
        println!("{path}: {}", if zero { "zero" } else { "an array" });
    }
    Ok(())
}
