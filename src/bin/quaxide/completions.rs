//! `quaxide completions`: what a shell may put behind `quaxide`.

use crate::output::Output;
use clap::{Command, ValueEnum};
use quaxide::Result;

/// A shell.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

fn options(c: &Command) -> Vec<String> {
    let long = c.get_arguments().filter_map(|a| a.get_long());
    long.map(|l| format!("--{l}"))
        .chain(["--help".to_string()])
        .collect()
}

/// Print the script of a shell.
pub(crate) fn completions(command: &Command, shell: Shell, out: &mut Output) -> Result<()> {
    let subcommands: Vec<&Command> = command.get_subcommands().collect();
    let names: Vec<&str> = subcommands.iter().map(|c| c.get_name()).collect();
    match shell {
        Shell::Bash | Shell::Zsh => {
            if matches!(shell, Shell::Zsh) {
                out.line("autoload -U +X bashcompinit && bashcompinit")?;
            }
            out.line("_quaxide() {")?;
            out.line("  local word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"")?;
            out.line("  if [ \"$COMP_CWORD\" -eq 1 ]; then")?;
            out.line(&format!(
                "    words=\"{} --help --version\"",
                names.join(" ")
            ))?;
            out.line("  else case \"${COMP_WORDS[1]}\" in")?;
            for c in &subcommands {
                out.line(&format!(
                    "    {}) words=\"{}\" ;;",
                    c.get_name(),
                    options(c).join(" ")
                ))?;
            }
            out.line("  esac; fi")?;
            out.line(
                "  COMPREPLY=( $(compgen -W \"$words\" -- \"$word\") $(compgen -f -- \"$word\") )",
            )?;
            out.line("}")?;
            out.line("complete -o filenames -F _quaxide quaxide")
        }
        Shell::Fish => {
            for c in &subcommands {
                let about = c.get_about().map(ToString::to_string).unwrap_or_default();
                out.line(&format!(
                    "complete -c quaxide -n __fish_use_subcommand -a {} -d '{}'",
                    c.get_name(),
                    about.replace('\'', "\\'")
                ))?;
                for o in options(c) {
                    out.line(&format!(
                        "complete -c quaxide -n '__fish_seen_subcommand_from {}' -l {}",
                        c.get_name(),
                        o.trim_start_matches('-')
                    ))?;
                }
            }
            Ok(())
        }
    }
}
