//! `lictor serve`: runs the server.

use clap::Args;

use crate::Outcome;

/// Runs the server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where it listens.
    #[arg(long, env = "LICTOR_LISTEN", default_value = "127.0.0.1:8000")]
    listen: String,
    /// Where everything is kept: `sqlite:///absolute/path.db`, or a path.
    #[arg(long, env = "LICTOR_DATABASE", default_value = "lictor.db")]
    database: String,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        anyhow::bail!("{} {}", self.listen, self.database)
    }
}
