//! `lictor ledger`: a ledger as a file, and whether such a file is what was signed.

mod export;
mod rebuild;
mod verify;

pub(super) use verify::exit_code;

use clap::{Args, Subcommand};

use crate::Outcome;

/// Exports a ledger, and verifies what was exported, or what is stored beside it, without a server.
#[derive(Debug, Args)]
pub(crate) struct Ledger {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Export(export::Export),
    Rebuild(rebuild::Rebuild),
    Verify(verify::Verify),
}

impl Ledger {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.action {
            Action::Export(command) => command.run(),
            Action::Rebuild(command) => command.run(),
            Action::Verify(command) => command.run(),
        }
    }
}
