//! The command `quaxide`.

use clap::{Parser, Subcommand};
use quaxide::{Error, Result};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Array programs, reinterpreted: what the library's files hold, at a glance.
#[derive(Parser)]
#[command(
    name = "quaxide",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  quaxide inspect adapter.safetensors\n  quaxide inspect model.safetensors --json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the arrays of a safetensors file: name, type, number of elements.
    Inspect {
        /// The file.
        file: PathBuf,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Inspect { file, json } => inspect(&file, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that stops reading is no error.
        Err(e) if e.kind() == quaxide::ErrorKind::Io && e.message().contains("roken pipe") => {
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("quaxide: {e}");
            ExitCode::FAILURE
        }
    }
}

fn inspect(file: &PathBuf, json: bool) -> Result<()> {
    let bytes = std::fs::read(file)
        .map_err(|e| Error::from(e).note(format!("while reading {}", file.display())))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::format(format!("{} is not a safetensors file: {e}", file.display())))?;
    let mut rows: Vec<(String, String, Vec<usize>)> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name.to_string(),
                format!("{:?}", t.dtype()),
                t.shape().to_vec(),
            )
        })
        .collect();
    rows.sort();
    let width = rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for (name, dtype, shape) in &rows {
        let n: usize = shape.iter().product();
        if json {
            writeln!(
                out,
                "{{\"name\":{name:?},\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"elements\":{n}}}"
            )?;
        } else {
            writeln!(out, "{name:width$}  {dtype:5} {shape:?}  {n}")?;
        }
    }
    Ok(())
}
