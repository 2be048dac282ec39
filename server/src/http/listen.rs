//! The accept loop: caps on connections, deadlines for heads and for answers, and an end that lets requests finish.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::answer::{Front, Peer};
use super::progress::Progress;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::peers::Peers;

/// How long to wait when the system gives no connection (it has no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest head of a request.
const HEAD_BYTES: usize = 32 * 1024;
/// What a connection holds of a request or an answer at most.
const BUFFER_BYTES: usize = 64 * 1024;
/// What a reader has to take of an answer in the time that it may wait.
const LEAST_READ: usize = 16 * 1024;
/// Descriptors that are kept for the database and what else is not a connection.
const OTHER_DESCRIPTORS: usize = 128;

/// Serves connections until told to stop, then lets those in flight finish for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    drain: Duration,
    stopping: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(affordable(front.app.limits.connections)));
    let peers = Arc::new(Peers::default());
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = told_to_stop(stopping.clone()) => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told_to_stop(stopping.clone()) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admitted) = peers.admit(address.ip(), front.app.limits.connections_per_address) else {
            tracing::debug!(%address, "an address has too many connections");
            front.app.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let connection = graceful.watch(connection(stream, Peer(address.ip()), Arc::clone(&front)));
        let open = Open::count(&front.app.metrics);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, admitted, open));
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight were cut off");
    }
}

/// A connection that is counted for as long as this lives.
struct Open(Arc<Metrics>);

impl Open {
    fn count(metrics: &Arc<Metrics>) -> Open {
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(metrics))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn told_to_stop(mut stopping: watch::Receiver<bool>) {
    // A server that is gone has stopped as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// How many connections there can be, as each needs a descriptor.
fn affordable(wanted: usize) -> usize {
    let Some(descriptors) = max_descriptors() else { return wanted };
    let affordable = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
    if affordable < wanted {
        tracing::warn!(
            wanted,
            affordable,
            "the system allows few open files, so there can be few connections"
        );
    }
    affordable.min(wanted)
}

/// How many files and connections this process may have open, where the system says so.
fn max_descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    open_files.split_whitespace().next()?.parse().ok()
}

fn connection(
    stream: TcpStream,
    peer: Peer,
    front: Arc<Front>,
) -> http1::Connection<
    TokioIo<Progress<TcpStream>>,
    impl hyper::service::Service<
        hyper::Request<Incoming>,
        Response = axum::response::Response,
        Error = Infallible,
        Future: Send,
    >,
> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps small packets back");
    }
    let Limits { head_timeout, write_timeout, .. } = front.app.limits;
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let front = Arc::clone(&front);
        async move { Ok(front.answer(request, peer).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(HEAD_BYTES)
        // Answers are short: copied behind their heads they go out by a plain write.
        .writev(false)
        .serve_connection(TokioIo::new(Progress::new(stream, write_timeout, LEAST_READ)), service)
}
