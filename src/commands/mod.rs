//! The subcommands, one file each.

mod backup;
mod check;
mod completions;
mod coverage;
mod explain;
mod fmt;
mod judge;
mod ledger;
mod plan;
mod restore;
mod serve;
mod template;
mod test;

use clap::Subcommand;

use crate::Outcome;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find mistakes in policies.
    Check(check::Check),
    /// Bring policy files into their one canonical form.
    Fmt(fmt::Fmt),
    /// Run the tests beside the rules.
    Test(test::Test),
    /// Judge a file of events, one JSON object a line.
    Judge(judge::Judge),
    /// Show how one event of a file is judged: each rule, each part of its condition, the values it read.
    Explain(explain::Explain),
    /// Show what policies compile to: fields, predicates, rules, index.
    Plan(plan::Plan),
    /// List, show or check templates.
    Template(template::Template),
    /// Export a ledger, and verify what was exported or stored.
    Ledger(ledger::Ledger),
    /// Copy everything that is kept to a file, while the server runs.
    Backup(backup::Backup),
    /// Make a database from a backup, once it is verified.
    Restore(restore::Restore),
    /// Run the server.
    Serve(serve::Serve),
    /// Print what a shell needs to complete this command's arguments.
    Completions(completions::Completions),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Command::Check(command) => command.run(),
            Command::Fmt(command) => command.run(),
            Command::Test(command) => command.run(),
            Command::Judge(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Template(command) => command.run(),
            Command::Ledger(command) => command.run(),
            Command::Backup(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Completions(command) => command.run(),
        }
    }
}
