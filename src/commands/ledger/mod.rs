//! `lictor ledger`: a ledger as a file, and whether such a file is what was signed.

mod export;
mod verify;

pub(super) use verify::exit_code;

use clap::{Args, Subcommand};

use crate::Outcome;

/// Exports a ledger, and verifies what was exported, without a server.
#[derive(Debug, Args)]
pub(crate) struct Ledger {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Export(export::Export),
    Verify(verify::Verify),
}

impl Ledger {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.action {
            Action::Export(command) => command.run(),
            Action::Verify(command) => command.run(),
        }
    }
}
