//! Where a server under test keeps what it knows: a file, or a schema of its own in PostgreSQL.

use std::fs::File;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// The address of a PostgreSQL in which tests may make schemas. `tests/postgres.sh` starts one and sets it.
const POSTGRES: &str = "LICTOR_TEST_POSTGRES";
/// The address of one that tests may crash, and a program that does it and lets it come back.
const CRASHING: &str = "LICTOR_TEST_POSTGRES_CRASHING";
const CRASH: &str = "LICTOR_TEST_POSTGRES_CRASH";
/// `postgres` runs every test there instead of on files.
const DATABASE: &str = "LICTOR_TEST_DATABASE";

/// Where a server keeps what it knows. Files go when it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    /// Nobody else crashes the database while this is there.
    alone: Option<File>,
    /// Its address, as the setting says it.
    pub(crate) database: String,
}

/// Whether tests run on PostgreSQL.
fn is_postgres() -> bool {
    std::env::var(DATABASE).is_ok_and(|database| database == "postgres")
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `tests/postgres.sh cargo test …`"))
}

/// Ends the PostgreSQL that may crash at once, or starts it again.
async fn control(what: &'static str) {
    let crash = setting(CRASH);
    let ended = tokio::task::spawn_blocking(move || std::process::Command::new(crash).arg(what).status());
    assert!(ended.await.unwrap().unwrap().success());
}

impl Home {
    /// An empty one, on the database that tests run on.
    pub(crate) async fn new() -> Home {
        if is_postgres() { Home::on_postgres().await } else { Home::on_files() }
    }

    pub(crate) fn on_files() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("lictor.db").display().to_string();
        Home { folder, alone: None, database }
    }

    pub(crate) async fn on_postgres() -> Home {
        Home::in_schema(setting(POSTGRES)).await
    }

    /// In a PostgreSQL that tests may crash, and that nobody else uses at the same time.
    pub(crate) async fn on_postgres_that_may_crash() -> Home {
        // Other tests crash it as well, each in a process of its own.
        let alone = tokio::task::spawn_blocking(|| {
            let file = File::open(setting(CRASH)).unwrap();
            file.lock().unwrap();
            file
        });
        let alone = Some(alone.await.unwrap());
        Home { alone, ..Home::in_schema(setting(CRASHING)).await }
    }

    async fn in_schema(server: String) -> Home {
        let schema = format!("test_{}", Uuid::now_v7().simple());
        let options: PgConnectOptions = server.parse().unwrap();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let sql = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let more = if server.contains('?') { '&' } else { '?' };
        let database = format!("{server}{more}options=-c%20search_path%3D{schema}");
        Home { folder: tempfile::tempdir().unwrap(), alone: None, database }
    }

    /// The statement that replaces one text by another in the bytes of all entries.
    pub(crate) fn replacing_in_entries(&self, text: &str, by: &str) -> String {
        let replaced = match self.is_on_postgres() {
            true => format!("convert_to(replace(convert_from(canonical, 'UTF8'), '{text}', '{by}'), 'UTF8')"),
            false => format!("CAST(replace(CAST(canonical AS TEXT), '{text}', '{by}') AS BLOB)"),
        };
        format!("UPDATE entries SET canonical = {replaced}")
    }

    /// Everything that is stored: of files all bytes, of PostgreSQL each row of each table as text, with bytes in
    /// hexadecimal.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        if !self.is_on_postgres() {
            let files = std::fs::read_dir(self.folder.path()).unwrap();
            return files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        }
        let options: PgConnectOptions = self.database.parse().unwrap();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let sql =
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()";
        let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
        let mut dump = Vec::new();
        for table in tables {
            let sql = format!("SELECT t::text FROM {table} t");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            dump.extend(rows.into_iter().flat_map(String::into_bytes));
        }
        connection.close().await.unwrap();
        dump
    }

    /// Ends all connections that servers have to it, and says how many.
    pub(crate) async fn end_connections(&self) -> u64 {
        self.meddle(&[
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lictor'",
        ])
        .await
    }

    /// Ends PostgreSQL at once and starts it again.
    pub(crate) async fn crash(&self) {
        self.stop_postgres().await;
        self.start_postgres().await;
    }

    pub(crate) async fn stop_postgres(&self) {
        control("stop").await;
    }

    pub(crate) async fn start_postgres(&self) {
        control("start").await;
    }

    /// What is needed where no file beside the database could hold it.
    pub(crate) fn master_key(&self) -> Option<String> {
        self.is_on_postgres().then(|| "5a".repeat(32))
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        self.database.starts_with("postgres")
    }

    /// The same database for another server; files are not shared.
    pub(crate) fn same(&self) -> Home {
        Home { folder: tempfile::tempdir().unwrap(), alone: None, database: self.database.clone() }
    }

    /// Runs statements behind the back of the server: how many rows the last of them changed.
    pub(crate) async fn meddle(&self, statements: &[&str]) -> u64 {
        let mut changed = 0;
        if self.is_on_postgres() {
            let options: PgConnectOptions = self.database.parse().unwrap();
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            for sql in statements {
                let sql = AssertSqlSafe((*sql).to_owned());
                changed = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
            }
            connection.close().await.unwrap();
        } else {
            let options = SqliteConnectOptions::new().filename(&self.database).foreign_keys(false);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            for sql in statements {
                let sql = AssertSqlSafe((*sql).to_owned());
                changed = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
            }
            connection.close().await.unwrap();
        }
        changed
    }
}
