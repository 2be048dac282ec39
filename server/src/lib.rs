//! The Lictor server: HTTP, identity, storage, the ledger and the path of one decision.
//!
//! A request is authenticated and turned into an event on its own thread ([`pdp`]); one sequencer per org gives
//! events their order, judges them and commits them in batches ([`sequencer`], [`draft`]); everybody is answered
//! once their decision is durable in the [`ledger`]. Policies are compiled off that path ([`rollout`]).

pub mod accounts;
pub mod agents;
pub mod app;
pub mod canonical;
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
pub mod pdp;
pub mod policies;
pub mod registration;
pub mod rollout;
pub mod sequencer;
pub mod vault;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use app::{App, LoadError};
use clock::{Clock, SystemClock};
use config::{Config, ConfigError};
use db::{Address, Database, Lock, StoreError};
use first_start::{Credentials, FirstStartError, first_start};
use vault::Vault;

/// How long requests in flight may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

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
    /// The first org can't be made.
    #[error(transparent)]
    FirstStart(#[from] FirstStartError),
    /// What is stored can't be served.
    #[error(transparent)]
    Load(#[from] LoadError),
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
        let database: Address = config.database.parse().map_err(ConfigError::from)?;
        let owner = config.owner()?;
        let address = config.listen.clone();
        let listener =
            TcpListener::bind(&address).await.map_err(|source| ServeError::Listen { address, source })?;
        let address = listener.local_addr()?;
        let vault = Arc::new(Vault::open(config.master_key.as_deref(), database.key_file().as_deref())?);
        let lock = Lock::take(&database)?;
        let database = Arc::new(Database::open(&database).await?);
        // Of several servers that start on an empty database, one makes the first org.
        let alone = database.alone().await?;
        let credentials = match database.org_ids().await?.is_empty() {
            true => first_start(&database, &vault, clock.as_ref(), owner).await?,
            false => None,
        };
        drop(alone);
        let app = App::load(database, vault, clock, config).await?;
        let (stop, stopping) = watch::channel(false);
        let router = http::router(Arc::clone(&app));
        let shared = Arc::clone(&app);
        let listening =
            http::listen::serve(listener, shared, router, config.max_connections, DRAIN, stopping);
        let listening = tokio::spawn(listening);
        let upkeep = vec![
            tokio::spawn(Arc::clone(&app).flush_key_uses_now_and_then()),
            tokio::spawn(Arc::clone(&app).make_snapshots_now_and_then()),
            tokio::spawn(Arc::clone(&app).follow_other_servers()),
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

    /// Stops accepting, finishes what is in flight, writes everything down and ends.
    pub async fn stop(self) {
        let Server { app, stop, listening, upkeep, lock, .. } = self;
        // Nobody listens only if the accept loop ended already.
        let _ = stop.send(true);
        let _ = listening.await;
        for task in upkeep {
            task.abort();
            let _ = task.await;
        }
        app.stop().await;
        app.flush_key_uses().await;
        let database = Arc::clone(&app.database);
        drop(app);
        if let Some(database) = Arc::into_inner(database) {
            database.close().await;
        }
        drop(lock);
    }
}

/// Runs a server until the process is asked to end (SIGTERM or SIGINT).
///
/// Logs to standard error, and says on `out` where it listens, and what a first start made up.
pub async fn serve(config: Config, out: &mut (dyn Write + Send)) -> Result<(), ServeError> {
    logging::install();
    let mut asked_to_end = Signals::listen()?;
    let server = Server::start(&config).await?;
    if let Some(credentials) = server.credentials() {
        writeln!(out, "This is the first start. Keep these; they are not shown again:")?;
        writeln!(out, "  owner    {}", credentials.email)?;
        writeln!(out, "  password {}", credentials.password)?;
        writeln!(out, "  API key  {}", credentials.api_key)?;
    }
    writeln!(out, "Lictor listens on http://{}", server.address())?;
    out.flush()?;
    tracing::info!(address = %server.address(), version = env!("CARGO_PKG_VERSION"), "the server has started");
    asked_to_end.wait().await;
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
