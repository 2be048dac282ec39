//! PostgreSQL: connections that wait for nobody for long, and no setting that could lose what was acknowledged.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::Address;
use super::database::OpenError;

/// Batches that are written at once, each of another org.
const WRITERS: u32 = 8;
/// Connections that read.
const READERS: u32 = 8;
/// How long a batch waits for a connection.
const WRITE_WAIT: Duration = Duration::from_secs(3);
/// How long a read waits for a connection.
const READ_WAIT: Duration = Duration::from_millis(1500);
/// A connection that was used this long ago is taken to be there still: asking it would cost every batch a round trip.
const TRUSTED: Duration = Duration::from_millis(100);
/// How long a connection that does nothing may take to say that it is there.
const THERE: Duration = Duration::from_millis(500);
/// How long a connection may take to be done with what it was asked, once nobody waits for it any more.
const LET_GO: Duration = Duration::from_secs(3);
/// Statements that stay prepared in a connection.
const PREPARED: usize = 256;
/// No lock is waited for longer than this, and none is held by a server that fell asleep.
const LIMITS: [(&str, &str); 3] =
    [("lock_timeout", "1s"), ("idle_in_transaction_session_timeout", "2s"), ("statement_timeout", "30s")];
/// The number of the lock of [`alone`].
const ALONE: i64 = 0x004c_4943_544f_5201;
/// Settings, and the value of each that could lose acknowledged decisions.
const UNSAFE: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")];

/// Connects, brings the tables up to date, and gives the connections that write, and those that read.
pub(super) async fn open(
    database: &Address,
    options: &PgConnectOptions,
) -> Result<(PgPool, PgPool), OpenError> {
    let failed = |source| OpenError::Open { database: database.to_string(), source };
    let options = options.clone().application_name("lictor").statement_cache_capacity(PREPARED);
    // Tables are made under the migrator's own lock, which others may hold for longer than a batch would wait.
    let mut first = PgConnection::connect_with(&options).await.map_err(failed)?;
    refuse_unsafe(&mut first).await.map_err(failed)??;
    sqlx::migrate!("migrations/postgres").run(&mut first).await?;
    first.close().await.map_err(failed)?;
    let options = options.options(LIMITS);
    let pool = |connections, wait| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(wait)
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED {
                        answers(connection, THERE).await?;
                    }
                    Ok(true)
                })
            })
            // It is asked once more as it is given back, which waits for what it was in the middle of. One that
            // vanished would keep its place until the network gives up.
            .after_release(|connection, _| {
                Box::pin(async move {
                    answers(connection, LET_GO).await?;
                    Ok(true)
                })
            })
            .connect_with(options.clone())
    };
    let writers = pool(WRITERS, WRITE_WAIT).await.map_err(failed)?;
    let readers = pool(READERS, READ_WAIT).await.map_err(failed)?;
    Ok((writers, readers))
}

/// Whether a connection answers in this time; what it was asked before is done then.
async fn answers(connection: &mut PgConnection, within: Duration) -> Result<(), sqlx::Error> {
    let late = |_| Err(std::io::Error::from(ErrorKind::TimedOut).into());
    timeout(within, connection.ping()).await.unwrap_or_else(late)
}

async fn refuse_unsafe(connection: &mut PgConnection) -> Result<Result<(), OpenError>, sqlx::Error> {
    let sql = "SELECT current_setting($1)";
    for (setting, refused) in UNSAFE {
        let value: String = sqlx::query_scalar(sql).bind(setting).fetch_one(&mut *connection).await?;
        if value == refused {
            return Ok(Err(OpenError::UnsafeSetting { setting, value }));
        }
    }
    let value: String = sqlx::query_scalar(sql).bind("server_encoding").fetch_one(connection).await?;
    Ok(if value == "UTF8" { Ok(()) } else { Err(OpenError::Encoding(value)) })
}

/// A connection that holds a lock which one server has at a time. It is let go when the connection ends.
pub(super) async fn alone(pool: &PgPool) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    // Who has it may take longer than a batch may wait.
    sqlx::query("SET lock_timeout = 0").execute(&mut connection).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(ALONE).execute(&mut connection).await?;
    Ok(connection)
}
