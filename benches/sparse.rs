//! A sparse matrix times a dense one, jitted: one run for each line that comes in, its seconds out.
//!
//! `benches/peers/sparse.py` writes the matrices as npy files into a folder, starts this with the folder's name, and measures `scipy.sparse`
//! in turn. The first line out is the sum of the result; `--gradient` measures the derivative by the entries and by the dense matrix.

mod support;

use quaxide::{prelude::*, rules::Bcoo};
use std::{
    io::{BufRead, Write},
    path::Path,
    process::ExitCode,
    time::Instant,
};

fn load(folder: &Path, name: &str) -> Result<Array> {
    io::load_npy(folder.join(format!("{name}.npy")))
}

fn run(folder: &Path, gradient: bool) -> Result<()> {
    let (data, columns, starts) = (
        load(folder, "data")?,
        load(folder, "columns")?
            .astype(DType::I64)
            .to_vec::<i64>()?,
        load(folder, "starts")?.astype(DType::I64).to_vec::<i64>()?,
    );
    let dense = load(folder, "dense")?;
    let [k, _] = dense.dims()?;
    let usizes = |x: &[i64]| x.iter().map(|i| *i as usize).collect::<Vec<_>>();
    let n = starts.len().saturating_sub(1);
    let sparse = Bcoo::from_csr(data, &usizes(&columns), &usizes(&starts), [n, k])?;
    let sparse = Array::from_value(sparse);
    let product = jit(quaxify(|s: &Array, x: &Array| s.dot(x)));
    let loss = |(s, x): &(Array, Array)| s.dot(x).sum(());
    let slopes = jit(grad(quaxify(loss)));
    let pair = (sparse.clone(), dense.clone());
    println!("{}", product(&sparse, &dense)?.sum(()).item::<f32>()?);
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let start = Instant::now();
        if gradient {
            let g = slopes(&pair)?;
            std::hint::black_box(tree::leaves(&g));
        } else {
            let _y = std::hint::black_box(product(&sparse, &dense)?);
        }
        println!("{}", start.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = args.iter().find(|a| !a.starts_with("--")) else {
        // `cargo bench` without a folder has nothing to measure.
        return ExitCode::SUCCESS;
    };
    let gradient = args.iter().any(|a| a == "--gradient");
    support::exit(run(Path::new(folder), gradient))
}
