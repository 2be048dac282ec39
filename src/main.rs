//! The `lictor` command: arguments, colour and exit codes. Everything else is in the libraries.

mod commands;
mod policies;
mod print;

use std::process::ExitCode;

use clap::Parser;

/// A policy engine that governs AI agents.
#[derive(Debug, Parser)]
#[command(name = "lictor", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// Clean, findings, misuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Clean,
    Findings,
}

fn main() -> ExitCode {
    // Misuse of arguments ends here, with exit code 2.
    let arguments = Arguments::parse();
    match arguments.command.run() {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        // Whoever reads the output has had enough: that is no fault.
        Err(error)
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            print::error(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
