//! `lictor serve`: runs the server.

use std::io;
use std::time::Duration;

use clap::Args;
use lictor_server::ServeError;
use lictor_server::config::Config;

use crate::Outcome;

/// How long work may still take that nobody waits for, once everything else has ended.
const ABANDONED: Duration = Duration::from_secs(2);

/// Runs the server until it is told to stop (SIGTERM or Ctrl-C).
///
/// Everything is kept in one SQLite file. The first start makes an org and its owner: the one of LICTOR_OWNER_EMAIL and
/// LICTOR_OWNER_PASSWORD, or one that is made up and printed once together with an API key.
/// With LICTOR_OPEN_REGISTRATION=1 anybody may make an org of their own.
/// LICTOR_LOG says what is logged to standard error: `warn`, `info` (the default), `debug`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where it listens, as host:port [env: LICTOR_LISTEN] [default: 127.0.0.1:8000].
    #[arg(long)]
    listen: Option<String>,
    /// Where everything is kept: `sqlite:///absolute/path.db`, or a path [env: LICTOR_DATABASE] [default: lictor.db].
    #[arg(long)]
    database: Option<String>,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let mut config = Config::from_environment()?;
        config.listen = self.listen.unwrap_or(config.listen);
        config.database = self.database.unwrap_or(config.database);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(lictor_server::serve(config, &mut io::stdout()));
        if matches!(served, Err(ServeError::Untrusted)) {
            // Whatever ends well closes the database, which writes to it.
            std::mem::forget(runtime);
        } else {
            // What still runs is a check of a policy whose caller left: nobody waits for it.
            runtime.shutdown_timeout(ABANDONED);
        }
        served?;
        Ok(Outcome::Clean)
    }
}
