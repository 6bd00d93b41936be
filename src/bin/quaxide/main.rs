//! The command `quaxide`.

mod calibrate;
mod check;
mod completions;
mod inputs;
mod inspect;
mod json;
mod output;
mod profile;
mod program;
mod run;
mod show;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use completions::Shell;
use inputs::Lora;
use output::Output;
use quaxide::interp::Interpreter;
use show::{Format, Stage};
use std::{path::PathBuf, process::ExitCode, thread};

/// Array programs, reinterpreted: programs exported from Python, run, shown, checked and differentiated.
#[derive(Parser)]
#[command(
    name = "quaxide",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        quaxide run model.mlir --input x=x.npy --input params.safetensors\n  \
        quaxide show model.mlir --stage rewritten\n  \
        quaxide check programs/*.mlir\n  \
        quaxide inspect adapter.safetensors\n\n\
        `quaxide COMMAND --help` shows more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program on arrays from files.
    #[command(after_help = "Examples:\n  \
        quaxide run model.mlir --input x=x.npy --input \"params['w']=model.safetensors:w\"\n  \
        quaxide run model.mlir --input params.safetensors --input x=x.npy --out y.safetensors\n  \
        quaxide run model.mlir --input params.safetensors --input x=x.npy --json\n  \
        quaxide run model.mlir --input params.safetensors --input x=x.npy \\\n      \
        --lora 'params*.kernel' --rank 8 --adapter adapter.safetensors\n\n\
        An input is named as the exporting program named it, as the text does (arg0), or by its number.\n\
        A safetensors file without a name gives every input that it holds under its name.")]
    Run {
        /// A program: StableHLO, or the text of a jaxpr.
        file: PathBuf,
        /// An input: NAME=FILE.npy, NAME=FILE.safetensors:KEY, or FILE.safetensors.
        #[arg(long = "input", short, value_name = "INPUT")]
        inputs: Vec<String>,
        /// Where the results go: FILE.npy for one, FILE.safetensors for any number. They are printed otherwise.
        #[arg(long, short)]
        out: Option<PathBuf>,
        #[command(flatten)]
        lora: LoraArgs,
        /// What runs it; with --lora it is rewritten and compiled.
        #[arg(long, value_enum, default_value_t = Way::Compiled)]
        interp: Way,
        /// Print each result as one JSON object a line, with all its elements.
        #[arg(long, conflicts_with = "out")]
        json: bool,
    },
    /// Print a program, or draw it.
    #[command(after_help = "Examples:\n  \
        quaxide show model.mlir\n  \
        quaxide show model.mlir --format json\n  \
        quaxide show model.mlir --format dot | dot -Tsvg > model.svg\n  \
        quaxide show model.mlir --stage rewritten --lora 'params*' --rank 8\n  \
        quaxide show model.mlir --stage egraph --lora 'params*' --rank 8 --format html > plans.html")]
    Show {
        /// A program: StableHLO, or the text of a jaxpr.
        file: PathBuf,
        /// As it is written, after the rules of values, after equality saturation, or the e-graphs of that.
        #[arg(long, value_enum, default_value_t = StageArg::Traced)]
        stage: StageArg,
        /// Text, a graph for Graphviz, a page, or JSON.
        #[arg(long, value_enum, default_value_t = FormatArg::Jaxpr)]
        format: FormatArg,
        #[command(flatten)]
        lora: LoraArgs,
    },
    /// Print the derivative of a program.
    #[command(after_help = "Example:\n  quaxide grad loss.mlir")]
    Grad {
        /// A program whose result is one real number.
        file: PathBuf,
        /// Differentiate the sum of all results.
        #[arg(long)]
        sum: bool,
        /// Text, a graph for Graphviz, a page, or JSON.
        #[arg(long, value_enum, default_value_t = FormatArg::Jaxpr)]
        format: FormatArg,
    },
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
    /// Measure this machine, so that plans are chosen for it.
    #[command(after_help = "Example:\n  quaxide calibrate\n\n\
        The measurements are kept in quaxide/cost_model in the user's cache, or in $QUAXIDE_COST_MODEL.")]
    Calibrate {
        /// Print what is measured, and keep nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print where the time of a program went, from a trace that it has written.
    #[command(after_help = "Examples:\n  \
        QUAXIDE_PROFILE=trace.json quaxide run model.mlir --input x=x.npy\n  \
        quaxide profile trace.json\n  \
        quaxide profile trace.json --types --after 500\n\n\
        Any program that uses the library writes a trace where QUAXIDE_PROFILE names a file;\n\
        Perfetto and chrome://tracing draw it.")]
    Profile {
        /// The trace.
        file: PathBuf,
        /// A row for each operation on operands of certain types.
        #[arg(long)]
        types: bool,
        /// Leave out the first so many milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 0.0)]
        after: f64,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Print a script that completes `quaxide` in a shell.
    #[command(after_help = "Example:\n  source <(quaxide completions bash)")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Args)]
struct LoraArgs {
    /// Inputs whose names fit become low-rank updates of themselves; `*` stands for any characters. May be given several times.
    #[arg(long, value_name = "PATTERN", requires = "rank")]
    lora: Vec<String>,
    /// The rank of the updates.
    #[arg(long, requires = "lora")]
    rank: Option<usize>,
    /// A safetensors file with the factors, as NAME.a and NAME.b or in PEFT's names. Without it the updates are zero.
    #[arg(long, value_name = "FILE", requires = "lora")]
    adapter: Option<PathBuf>,
}

impl LoraArgs {
    fn get(&self) -> Option<Lora<'_>> {
        if self.lora.is_empty() {
            return None;
        }
        Some(Lora {
            patterns: &self.lora,
            rank: self.rank?,
            adapter: self.adapter.as_deref(),
        })
    }
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

#[derive(Clone, Copy, ValueEnum)]
enum StageArg {
    Traced,
    Dispatched,
    Rewritten,
    /// What was found to be equal to its linear algebra, and the plan that is chosen.
    Egraph,
}

impl From<StageArg> for Stage {
    fn from(stage: StageArg) -> Stage {
        match stage {
            StageArg::Traced => Stage::Traced,
            StageArg::Dispatched => Stage::Dispatched,
            StageArg::Rewritten => Stage::Rewritten,
            StageArg::Egraph => Stage::EGraph,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Jaxpr,
    Dot,
    Html,
    Json,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Jaxpr => Format::Jaxpr,
            FormatArg::Dot => Format::Dot,
            FormatArg::Html => Format::Html,
            FormatArg::Json => Format::Json,
        }
    }
}

fn run(cli: Cli, out: &mut Output) -> quaxide::Result<bool> {
    match cli.command {
        Command::Check {
            interp,
            json,
            files,
        } => return check::check(&files, interp.into(), json, out),
        Command::Run {
            file,
            inputs,
            out: to,
            lora,
            interp,
            json,
        } => {
            let to = match (to, json) {
                (Some(file), _) => run::Form::File(file),
                (None, true) => run::Form::Json,
                (None, false) => run::Form::Text,
            };
            run::run(&file, &inputs, &to, lora.get().as_ref(), interp.into(), out)?
        }
        Command::Show {
            file,
            stage,
            format,
            lora,
        } => show::show(&file, stage.into(), format.into(), lora.get().as_ref(), out)?,
        Command::Grad { file, sum, format } => show::gradient(&file, sum, format.into(), out)?,
        Command::Inspect { file, json } => inspect::inspect(&file, json, out)?,
        Command::Profile {
            file,
            types,
            after,
            json,
        } => profile::profile(&file, types, after, json, out)?,
        Command::Calibrate { dry_run } => calibrate::calibrate(dry_run, out)?,
        Command::Completions { shell } => completions::completions(&Cli::command(), shell, out)?,
    }
    Ok(true)
}

/// Enough for programs that are nested as deeply as the readers allow.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let work = move || run(cli, &mut Output::new());
    let done = thread::scope(|s| {
        let builder = thread::Builder::new().stack_size(STACK);
        match builder.spawn_scoped(s, work) {
            Ok(handle) => handle.join().ok(),
            Err(e) => Some(Err(e.into())),
        }
    });
    match done {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) | None => ExitCode::FAILURE,
        // A reader that stops reading is no error.
        Some(Err(e))
            if e.kind() == quaxide::ErrorKind::Io && e.message().contains("roken pipe") =>
        {
            ExitCode::SUCCESS
        }
        Some(Err(e)) => {
            eprintln!("quaxide: {e}");
            ExitCode::FAILURE
        }
    }
}
