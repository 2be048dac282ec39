//! `lictor completions`: what shells need to complete this command's arguments.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Arguments, Outcome};

/// Prints what a shell needs to complete this command's arguments.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        // The generator panics where it can't write, so it writes where it can.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "lictor", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(Outcome::Clean)
    }
}
