//! One text of SQL for both databases: values are bound the same way, and rows are read the same way.
//!
//! Native drivers lie below, because what is common to all databases of sqlx can't carry ids. Placeholders are `$1`,
//! `$2`, … on both; text is only ever put together from what stands in this program.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, FromRow, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr, Sqlite,
    SqliteConnection, SqlitePool, Type,
};
use tokio::time::timeout;

use super::StoreError;
use super::trust::Trust;

/// How long PostgreSQL may take for one statement: longer than it lets any take. Of one that vanished nothing would be heard
/// until the network gives up.
const STATEMENT: Duration = Duration::from_secs(35);
/// How long the connections to PostgreSQL may take to end.
const CLOSED: Duration = Duration::from_secs(1);

/// What can be bound.
pub(super) trait Bind<'v>:
    Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres>
{
}

impl<'v, T> Bind<'v> for T where T: Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> {}

/// What a row can be read as.
pub(super) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Connections to one of the databases.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool, Trust),
    Postgres(PgPool),
}

impl Pool {
    /// A statement on any connection, in a transaction of its own.
    pub(super) fn query(&self, sql: &'static str) -> Query<'_> {
        match self {
            Pool::Sqlite(pool, trust) => Query::sqlite(OnSqlite::Any(pool), trust, sql),
            Pool::Postgres(pool) => Query::postgres(OnPostgres::Any(pool), sql),
        }
    }

    /// A transaction that is going to write: undone unless it is committed.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Pool::Sqlite(pool, trust) => {
                trust.check()?;
                // Taking the lock at once, it can't fail later because somebody else wrote meanwhile.
                let begun = trust.after(pool.begin_with("BEGIN IMMEDIATE").await)?;
                Transaction::Sqlite(begun, trust.clone())
            }
            Pool::Postgres(pool) => Transaction::Postgres(in_time(pool.begin()).await?),
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Pool::Sqlite(pool, _) => pool.close().await,
            // Nothing is left to write, and a connection that vanished may never come back: the server ends all the same.
            Pool::Postgres(pool) => {
                let _ = timeout(CLOSED, pool.close()).await;
            }
        }
    }
}

/// Statements that happen together or not at all.
#[derive(Debug)]
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>, Trust),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) fn query(&mut self, sql: &'static str) -> Query<'_> {
        match self {
            Transaction::Sqlite(transaction, trust) => Query::sqlite(OnSqlite::This(transaction), trust, sql),
            Transaction::Postgres(transaction) => Query::postgres(OnPostgres::This(transaction), sql),
        }
    }

    /// The statement that inserts so many rows, or as many as one statement inserts.
    pub(super) fn insert(&mut self, insert: &Insert, rows: usize) -> Query<'_> {
        let rows = rows.clamp(1, ROWS_AT_ONCE);
        let text = insert.made.text(self.is_postgres(), Some(rows), || insert.text(rows));
        self.made(text, rows * insert.columns)
    }

    /// The statements that insert so many rows into each table, none or as many as one statement inserts, and the update
    /// after them; and how many rows they say that they changed beside those of the update.
    pub(super) fn together(&mut self, together: &Together, rows: [usize; 2]) -> (Query<'_>, u64) {
        let (postgres, [first, second]) = (self.is_postgres(), rows);
        let kept = (first == second).then_some(first);
        let text = together.made.text(postgres, kept, || together.text(postgres, rows));
        let values: usize =
            together.inserts.iter().zip(rows).map(|(insert, rows)| rows * insert.columns).sum();
        // SQLite counts what all of them changed, PostgreSQL what the last one did.
        let inserted = if postgres { 0 } else { first + second };
        (self.made(text, values + together.columns), u64::try_from(inserted).unwrap_or(u64::MAX - 1))
    }

    fn is_postgres(&self) -> bool {
        matches!(self, Transaction::Postgres(_))
    }

    fn made(&mut self, text: SqlStr, values: usize) -> Query<'_> {
        let mut query = self.query("");
        query.replace(text, values);
        query
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Transaction::Sqlite(transaction, trust) => trust.after(transaction.commit().await),
            Transaction::Postgres(transaction) => in_time(transaction.commit()).await,
        }
    }
}

/// What PostgreSQL answers, if it answers.
async fn in_time<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    Ok(timeout(STATEMENT, asked).await.map_err(|_| StoreError::TooSlow)??)
}

/// A statement with what is bound to it.
pub(super) enum Query<'c> {
    Sqlite(OnSqlite<'c>, &'c Trust, Text, Result<SqliteArguments, BoxDynError>),
    Postgres(OnPostgres<'c>, Text, Result<PgArguments, BoxDynError>),
}

/// Where a statement goes: to any connection, or to this one.
pub(super) enum OnSqlite<'c> {
    Any(&'c SqlitePool),
    This(&'c mut SqliteConnection),
}

/// Where a statement goes: to any connection, or to this one.
pub(super) enum OnPostgres<'c> {
    Any(&'c PgPool),
    This(&'c mut PgConnection),
}

/// The text of a statement.
pub(super) enum Text {
    /// Put together from pieces.
    Pieces(Cow<'static, str>),
    /// Made before.
    Made(SqlStr),
}

impl Text {
    fn into_sql(self) -> SqlStr {
        match self {
            Text::Pieces(Cow::Borrowed(text)) => text.into_sql_str(),
            Text::Pieces(Cow::Owned(text)) => AssertSqlSafe(text).into_sql_str(),
            Text::Made(text) => text,
        }
    }

    fn push(&mut self, more: &str) {
        if let Text::Pieces(text) = self {
            text.to_mut().push_str(more);
        }
    }
}

/// Runs a statement by a method of sqlx, wherever it goes, and makes an answer of what comes back.
macro_rules! run {
    ($query:expr, $with:ident, $method:ident, $done:ident => $answer:expr) => {
        match $query {
            Query::Sqlite(on, trust, text, values) => {
                trust.check()?;
                let query = sqlx::$with(text.into_sql(), values.map_err(sqlx::Error::Encode)?);
                let $done = trust.after(match on {
                    OnSqlite::Any(pool) => query.$method(pool).await,
                    OnSqlite::This(connection) => query.$method(connection).await,
                })?;
                Ok($answer)
            }
            Query::Postgres(on, text, values) => {
                let query = sqlx::$with(text.into_sql(), values.map_err(sqlx::Error::Encode)?);
                let $done = in_time(async {
                    match on {
                        OnPostgres::Any(pool) => query.$method(pool).await,
                        OnPostgres::This(connection) => query.$method(connection).await,
                    }
                })
                .await?;
                Ok($answer)
            }
        }
    };
}

impl<'c> Query<'c> {
    fn sqlite(on: OnSqlite<'c>, trust: &'c Trust, sql: &'static str) -> Query<'c> {
        Query::Sqlite(on, trust, Text::Pieces(Cow::Borrowed(sql)), Ok(SqliteArguments::default()))
    }

    fn postgres(on: OnPostgres<'c>, sql: &'static str) -> Query<'c> {
        Query::Postgres(on, Text::Pieces(Cow::Borrowed(sql)), Ok(PgArguments::default()))
    }

    /// Binds the next value.
    pub(super) fn bind<'v>(mut self, value: impl Bind<'v>) -> Query<'c> {
        match &mut self {
            Query::Sqlite(.., values) => add(values, value),
            Query::Postgres(.., values) => add(values, value),
        }
        self
    }

    /// Goes on with this text.
    pub(super) fn push(mut self, more: &'static str) -> Query<'c> {
        self.text().push(more);
        self
    }

    /// Goes on with a placeholder for this value.
    pub(super) fn push_bind<'v>(mut self, value: impl Bind<'v>) -> Query<'c> {
        self = self.bind(value);
        let number = match &self {
            Query::Sqlite(.., values) => values.as_ref().map_or(0, Arguments::len),
            Query::Postgres(.., values) => values.as_ref().map_or(0, Arguments::len),
        };
        self.text().push(&format!("${number}"));
        self
    }

    /// Goes on with placeholders for these values, as `IN` takes them. For no more than a statement may have.
    pub(super) fn push_list<'v>(mut self, values: impl IntoIterator<Item = impl Bind<'v>>) -> Query<'c> {
        self = self.push("(");
        for (place, value) in values.into_iter().enumerate() {
            self = self.push(if place > 0 { ", " } else { "" }).push_bind(value);
        }
        self.push(")")
    }

    /// How many rows it changed.
    pub(super) async fn execute(self) -> Result<u64, StoreError> {
        run!(self, query_with, execute, done => done.rows_affected())
    }

    /// All rows.
    pub(super) async fn all<T: Row>(self) -> Result<Vec<T>, StoreError> {
        run!(self, query_as_with, fetch_all, rows => rows)
    }

    /// The row, if there is one.
    pub(super) async fn optional<T: Row>(self) -> Result<Option<T>, StoreError> {
        run!(self, query_as_with, fetch_optional, row => row)
    }

    /// The row, which is there.
    pub(super) async fn one<T: Row>(self) -> Result<T, StoreError> {
        self.optional().await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    fn text(&mut self) -> &mut Text {
        match self {
            Query::Sqlite(_, _, text, _) | Query::Postgres(_, text, _) => text,
        }
    }

    fn replace(&mut self, made: SqlStr, values: usize) {
        *self.text() = Text::Made(made);
        match self {
            Query::Sqlite(.., Ok(arguments)) => arguments.reserve(values, 0),
            Query::Postgres(.., Ok(arguments)) => arguments.reserve(values, 0),
            _ => {}
        }
    }
}

fn add<'v, A, T>(values: &mut Result<A, BoxDynError>, value: T)
where
    A: Arguments,
    T: Encode<'v, A::Database> + Type<A::Database>,
{
    let failed = values.as_mut().ok().and_then(|values| values.add(value).err());
    if let Some(error) = failed {
        *values = Err(error);
    }
}

/// A text as every database can keep it. For texts that are made of what agents say, not for those that name something.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Rows looked up by one statement at most.
pub(super) const KEYS_AT_ONCE: usize = 500;

/// Rows written by one statement at most.
pub(super) const ROWS_AT_ONCE: usize = 64;

/// An insertion with a statement for every number of rows: each waits for the database once however many rows it has,
/// and stays prepared.
pub(super) struct Insert {
    before_rows: &'static str,
    columns: usize,
    after_rows: &'static str,
    made: Made,
}

impl Insert {
    /// `INSERT INTO … VALUES`, how many columns a row has, and what comes after the rows.
    pub(super) const fn new(before_rows: &'static str, columns: usize, after_rows: &'static str) -> Insert {
        Insert { before_rows, columns, after_rows, made: Made::nothing() }
    }

    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        format!("{} {} {}", self.before_rows, vec![row; rows].join(", "), self.after_rows)
    }
}

/// Insertions into two tables and an update after them that wait for the database once. Values are bound in the order of
/// the statements.
pub(super) struct Together {
    inserts: [&'static Insert; 2],
    update: &'static str,
    columns: usize,
    made: Made,
}

impl Together {
    /// The insertions, and an update with `?` for each of so many values.
    pub(super) const fn new(inserts: [&'static Insert; 2], update: &'static str, columns: usize) -> Together {
        Together { inserts, update, columns, made: Made::nothing() }
    }

    fn text(&self, postgres: bool, rows: [usize; 2]) -> String {
        let inserts = self.inserts.iter().zip(rows).filter(|(_, rows)| *rows > 0);
        let inserts = inserts.map(|(insert, rows)| insert.text(rows));
        if !postgres {
            return inserts.chain([self.update.to_owned()]).collect::<Vec<_>>().join("; ");
        }
        let named: Vec<_> =
            (0..).zip(inserts).map(|(number, insert)| format!("i{number} AS ({insert})")).collect();
        match named.as_slice() {
            [] => self.update.to_owned(),
            named => format!("WITH {} {}", named.join(", "), self.update),
        }
    }
}

/// Texts of statements by their number of rows.
struct Made {
    sqlite: [OnceLock<SqlStr>; ROWS_AT_ONCE],
    postgres: [OnceLock<SqlStr>; ROWS_AT_ONCE],
}

impl Made {
    const fn nothing() -> Made {
        Made {
            sqlite: [const { OnceLock::new() }; ROWS_AT_ONCE],
            postgres: [const { OnceLock::new() }; ROWS_AT_ONCE],
        }
    }

    /// The text with this number of rows, if there is one. It is written with `?` for each value: SQLite finds one with a
    /// name by going through all of them, and PostgreSQL wants them to be numbered.
    fn text(&self, postgres: bool, rows: Option<usize>, text: impl FnOnce() -> String) -> SqlStr {
        let made = if postgres { &self.postgres } else { &self.sqlite };
        let text = || AssertSqlSafe(if postgres { numbered(&text()) } else { text() }).into_sql_str();
        match rows.and_then(|rows| made.get(rows.checked_sub(1)?)) {
            Some(made) => made.get_or_init(text).clone(),
            None => text(),
        }
    }
}

fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(2 * text.len());
    for (number, piece) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push_str(&format!("${number}"));
        }
        numbered.push_str(piece);
    }
    numbered
}
