//! The server's own log: on standard error, as lines for people on a terminal and as JSON everywhere else.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Says what is logged, as `warn` or `info,lictor_server=debug`; `info` if it is not set.
const VARIABLE: &str = "LICTOR_LOG";

/// Sends what is logged to standard error. A process that has a log already keeps it.
pub fn install() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(VARIABLE)
        .from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _is_first = match stderr().is_terminal() {
        true => log.try_init(),
        false => log.json().flatten_event(true).try_init(),
    };
}
