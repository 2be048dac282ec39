//! The Lictor server: HTTP, identity, storage, the ledger and the path of one decision.
//!
//! A request is authenticated and turned into an event on its own thread ([`pdp`]); one sequencer per org gives
//! events their order, judges them and commits them in batches ([`sequencer`], [`draft`]); everybody is answered
//! once their decision is durable in the [`ledger`]. Policies are compiled off that path ([`rollout`]).

pub mod accounts;
pub mod agents;
pub mod app;
pub mod canonical;
pub mod checkpoints;
pub mod clock;
pub mod config;
pub mod db;
pub mod draft;
pub mod first_start;
pub mod founding;
pub mod http;
pub mod ids;
pub mod incidents;
pub mod intents;
pub mod ledger;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod pdp;
pub mod peers;
pub mod policies;
pub mod preview;
pub mod quota;
pub mod rebuild;
pub mod registration;
pub mod retries;
pub mod rollout;
pub mod sequencer;
pub mod templates;
pub mod vault;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use app::{App, Given, LoadError};
use checkpoints::{KeyFile, Sink};
use clock::{Clock, SystemClock};
use config::{Config, ConfigError};
use db::{Address, Database, Lock, StoreError};
use first_start::{Credentials, FirstStartError, first_start};
use http::answer::Front;
use metrics::Metrics;
use vault::Vault;

/// How long requests in flight may take once the server is told to stop, so that it ends within 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// Connections that may wait to be accepted: the system drops further ones, and their callers try again a second later.
const BACKLOG: u32 = 4_096;

/// What the system holds of an answer that nobody reads; it takes twice as much for itself.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// Which address.
        address: String,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] db::OpenError),
    /// The database can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key can't be had.
    #[error(transparent)]
    Vault(#[from] vault::OpenError),
    /// The key of the ledgers can't be had.
    #[error(transparent)]
    LedgerKey(#[from] checkpoints::KeyError),
    /// Checkpoints can't be sent out.
    #[error(transparent)]
    Checkpoints(#[from] checkpoints::SinkError),
    /// The first org can't be made.
    #[error(transparent)]
    FirstStart(#[from] FirstStartError),
    /// What is stored can't be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the database acknowledged may not be on its disk.
    #[error("the database could not be synced to its disk; start the server again once the disk is well")]
    Untrusted,
    /// The system does not tell about signals or take our output.
    #[error("the server can't talk to the system")]
    System(#[from] std::io::Error),
}

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    credentials: Option<Credentials>,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
    upkeep: Vec<JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Server {
    /// Starts a server: opens or makes the database, takes the address, and accepts connections.
    pub async fn start(config: &Config) -> Result<Server, ServeError> {
        Server::start_at(config, Arc::new(SystemClock::new())).await
    }

    /// Starts a server that goes by this clock.
    pub async fn start_at(config: &Config, clock: Arc<dyn Clock>) -> Result<Server, ServeError> {
        Server::start_with(config, Given { clock, checks: None }).await
    }

    /// Starts a server with what a test gives it.
    pub async fn start_with(config: &Config, given: Given) -> Result<Server, ServeError> {
        let address: Address = config.database.parse().map_err(ConfigError::from)?;
        Server::start_on(&address, Database::open(&address), config, given).await
    }

    /// Starts a server on a database that is opened like this.
    pub async fn start_on(
        database: &Address,
        opening: impl Future<Output = Result<Database, db::OpenError>>,
        config: &Config,
        given: Given,
    ) -> Result<Server, ServeError> {
        let owner = config.owner()?;
        let address = config.listen.clone();
        let listener = listen(&address).await.map_err(|source| ServeError::Listen { address, source })?;
        let address = listener.local_addr()?;
        let vault = Arc::new(Vault::open(config.master_key.as_deref(), database.key_file().as_deref())?);
        let key_file = KeyFile::open(config.ledger_key_file.as_deref(), config.ledger_key_lost.as_deref())?;
        let key_file = key_file.map(Arc::new);
        let sink = Arc::new(Sink::open(config.checkpoint_file.as_deref())?);
        let lock = Lock::take(database)?;
        let database = Arc::new(opening.await?);
        // Of several servers that start on an empty database, one makes the first org.
        let alone = database.alone().await?;
        let credentials = match database.org_ids().await?.is_empty() {
            true => first_start(&database, &vault, given.clock.as_ref(), owner).await?,
            false => None,
        };
        drop(alone);
        let routes = http::routes();
        let metrics = Metrics::new(routes.names());
        let app = App::load(database, vault, given, key_file, sink, config, metrics).await?;
        let (stop, stopping) = watch::channel(false);
        let front = Front { router: routes.served_by(Arc::clone(&app)), app: Arc::clone(&app) };
        let listening = tokio::spawn(http::listen::serve(listener, Arc::new(front), DRAIN, stopping));
        let upkeep = vec![
            tokio::spawn(Arc::clone(&app).flush_key_uses_now_and_then()),
            tokio::spawn(Arc::clone(&app).make_snapshots_now_and_then()),
            tokio::spawn(Arc::clone(&app).make_checkpoints_now_and_then()),
            tokio::spawn(Arc::clone(&app).follow_other_servers()),
            tokio::spawn(Arc::clone(&app).forget_answers_now_and_then()),
            tokio::spawn(Arc::clone(&app).watch_the_clock()),
        ];
        Ok(Server { address, credentials, app, stop, listening, upkeep, lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the first start made up, to be shown once.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Waits until the database can't be believed any more. Nothing may be written then, so the process has to end as it
    /// is.
    pub async fn lost(&self) {
        self.app.database.lost().await;
    }

    /// Stops accepting, finishes what is in flight, writes everything down and ends.
    pub async fn stop(self) {
        let Server { app, stop, listening, upkeep, lock, .. } = self;
        app.stopping.store(true, Ordering::Relaxed);
        // Nobody listens only if the accept loop ended already.
        let _ = stop.send(true);
        let _ = listening.await;
        for task in upkeep {
            task.abort();
            let _ = task.await;
        }
        app.stop().await;
        app.make_checkpoints().await;
        app.flush_key_uses().await;
        let database = Arc::clone(&app.database);
        drop(app);
        if let Some(database) = Arc::into_inner(database) {
            database.close().await;
        }
        drop(lock);
    }
}

/// Takes the first of these addresses that can be had.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host(address).await? {
        let listening = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A server that is started again gets its address at once.
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match listening() {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Runs a server until the process is asked to end (SIGTERM or SIGINT).
///
/// Logs to standard error, and says on `out` where it listens, and what a first start made up.
pub async fn serve(config: Config, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    logging::install();
    let mut asked_to_end = Signals::listen()?;
    let server = Server::start(&config).await?;
    run(server, async move { asked_to_end.wait().await }, out).await
}

/// Runs a server until the process is asked to end, or has to.
pub async fn run(
    server: Server,
    asked_to_end: impl Future<Output = ()>,
    out: &mut (dyn Write + Send),
) -> Result<(), ServeError> {
    if let Some(credentials) = server.credentials() {
        writeln!(out, "This is the first start. Keep these; they are not shown again:")?;
        writeln!(out, "  owner    {}", credentials.email)?;
        writeln!(out, "  password {}", credentials.password)?;
        writeln!(out, "  API key  {}", credentials.api_key)?;
    }
    writeln!(out, "Lictor listens on http://{}", server.address())?;
    out.flush()?;
    tracing::info!(address = %server.address(), version = env!("CARGO_PKG_VERSION"), "the server has started");
    tokio::select! {
        () = asked_to_end => {}
        () = server.lost() => return Err(ServeError::Untrusted),
    }
    tracing::info!("the server is asked to stop");
    server.stop().await;
    tracing::info!("the server has stopped");
    Ok(())
}

/// The signals that ask a process to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
