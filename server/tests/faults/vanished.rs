//! A PostgreSQL that vanishes without closing its connections, as a machine does that loses its power or its network:
//! what comes in its place is used soon.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::answers::{Ask, Caller};
use crate::app::TestApp;
use crate::home::Home;

/// Within this time it decides again: a sequencer may wait for a statement and then for connections.
const BACK: Duration = Duration::from_secs(15);
/// Times that it vanishes: what the server waits for then is not always the same.
const TIMES: usize = 3;

/// Stands between a server and its PostgreSQL.
struct Wire(watch::Sender<usize>);

impl Wire {
    /// One to this socket, and its port.
    async fn to(socket: PathBuf) -> (Wire, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (vanished, seen) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, socket.clone(), seen.clone()));
            }
        });
        (Wire(vanished), port)
    }

    /// From now on nothing comes through that was connected before, and nobody is told.
    fn vanish(&self) {
        self.0.send_modify(|times| *times += 1);
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf, mut vanished: watch::Receiver<usize>) {
    vanished.mark_unchanged();
    let mut database = UnixStream::connect(socket).await.unwrap();
    tokio::select! {
        biased;
        Ok(()) = vanished.changed() => {
            // The other side notices, as it does when a machine is gone for long; this one hears nothing.
            drop(database);
            std::future::pending::<()>().await;
        }
        _ = tokio::io::copy_bidirectional(&mut client, &mut database) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_vanishes_without_a_word() {
    let mut home = Home::on_postgres_that_may_crash().await;
    let options: PgConnectOptions = home.database.parse().unwrap();
    let folder = options.get_socket().unwrap().clone();
    let (wire, port) = Wire::to(folder.join(".s.PGSQL.5432")).await;
    home.database = home
        .database
        .replace("@localhost", &format!("@127.0.0.1:{port}"))
        .replace(&format!("host={}&", folder.display()), "");
    let app = TestApp::start_in(home).await;
    let caller = Caller::new(&app).await;
    for _ in 0..TIMES {
        // Its connections were used a moment ago, and are not asked whether they are still there.
        assert!(caller.ask(Ask::Decision, "well", 1).await.allows);
        wire.vanish();
        let begun = Instant::now();
        loop {
            let asked = caller.ask(Ask::Decision, "back", 1).await;
            assert!(asked.took < Duration::from_secs(3), "{asked:?}");
            if asked.allows {
                break;
            }
            assert!(begun.elapsed() < BACK, "{asked:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    app.stop().await;
}
