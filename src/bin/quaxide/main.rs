//! The command `quaxide`.

mod check;
mod inspect;
mod output;

use clap::{Parser, Subcommand, ValueEnum};
use output::Output;
use quaxide::interp::Interpreter;
use std::{path::PathBuf, process::ExitCode};

/// Array programs, reinterpreted.
#[derive(Parser)]
#[command(
    name = "quaxide",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  quaxide check tests/*.mlir\n  quaxide inspect adapter.safetensors"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run StableHLO programs that test themselves, and say which do not compute what they expect.
    #[command(after_help = "Examples:\n  quaxide check programs/*.mlir\n  \
        quaxide check --interp reference --json programs/add.mlir\n\n\
        The last line counts: `N passed, N failed, N unsupported`. Exit status 0 only where all passed.")]
    Check {
        /// What runs them.
        #[arg(long, value_enum, default_value_t = Way::Compiled)]
        interp: Way,
        /// One JSON object a line, for every file.
        #[arg(long)]
        json: bool,
        /// The programs.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the arrays of a safetensors file: name, type, number of elements.
    #[command(after_help = "Example:\n  quaxide inspect model.safetensors --json")]
    Inspect {
        /// The file.
        file: PathBuf,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// One plain function a primitive.
    Reference,
    /// A plan of steps, and kernels.
    Compiled,
}

impl From<Way> for Interpreter {
    fn from(way: Way) -> Interpreter {
        match way {
            Way::Reference => Interpreter::Reference,
            Way::Compiled => Interpreter::Compiled,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new();
    let done = match cli.command {
        Command::Check {
            interp,
            json,
            files,
        } => check::check(&files, interp.into(), json, &mut out),
        Command::Inspect { file, json } => inspect::inspect(&file, json, &mut out).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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
