//! The `lictor` command: arguments, colour and exit codes. Everything else is in the libraries.

mod commands;
mod policies;
mod print;
mod progress;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A decision takes tens of small pieces of memory, and gives them back on another thread (docs/decisions/0015).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A policy engine that governs AI agents.
#[derive(Debug, Parser)]
#[command(name = "lictor", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Clean,
    Findings,
    /// A finding that has an exit code of its own.
    Found(u8),
}

fn main() -> ExitCode {
    // Misuse of arguments ends here, with exit code 2.
    let arguments = Arguments::parse();
    match arguments.command.run() {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Ok(Outcome::Found(code)) => ExitCode::from(code),
        // Whoever reads the output has had enough: that is no fault.
        Err(error) if io_error_kind(&error) == Some(ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// The kind of a failed read or write, whether it happened below JSON or not.
fn io_error_kind(error: &anyhow::Error) -> Option<ErrorKind> {
    let plain = error.downcast_ref::<io::Error>().map(io::Error::kind);
    plain.or_else(|| error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
}
