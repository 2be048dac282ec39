//! The server's own log: on standard error, as lines for people on a terminal and as JSON everywhere else.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Says what is logged, as `warn` or `info,lictor_server=debug`, on top of [`DEFAULT`].
const VARIABLE: &str = "LICTOR_LOG";
/// What the server does, and what goes wrong in a library. The code generator tells every function it makes.
const DEFAULT: &str = "warn,lictor_server=info,lictor_engine=info,cranelift_jit=warn";

/// Sends what is logged to standard error. A process that has a log already keeps it.
pub fn install() {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = EnvFilter::builder().parse_lossy(format!("{DEFAULT},{wanted}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _is_first = match stderr().is_terminal() {
        true => log.try_init(),
        false => log.json().flatten_event(true).try_init(),
    };
}
