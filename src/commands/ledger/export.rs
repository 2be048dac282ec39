//! `lictor ledger export`: a ledger from its database to a file.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use lictor_server::config::Config;
use lictor_server::db::{Address, Database, Store};
use lictor_server::ledger::export::Line;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::Outcome;
use crate::progress::{Progress, Steps};

/// Entries that are read at once.
const ENTRIES_AT_ONCE: i64 = 1_000;

/// Writes a ledger from its database to a file, one entry a line, as `GET /api/v1/ledger/export` does. A server may be
/// running meanwhile.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The database: a path, `sqlite:///absolute/path.db` or `postgres://…` [env: LICTOR_DATABASE] [default: lictor.db].
    #[arg(long)]
    database: Option<String>,
    /// Whose ledger; need not be said where there is one org only.
    #[arg(long)]
    org: Option<Uuid>,
    /// Where to write it; standard output if left out.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

impl Export {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.write())?;
        Ok(Outcome::Clean)
    }

    async fn write(self) -> anyhow::Result<()> {
        let address: Address = self.database.unwrap_or(Config::from_environment()?.database).parse()?;
        if let Address::File(path) = &address {
            // Opening a database makes one.
            anyhow::ensure!(path.is_file(), "there is no database {}", path.display());
        }
        let database = Database::open(&address).await?;
        let org = match (self.org, database.org_ids().await?.as_slice()) {
            (Some(org), orgs) if orgs.contains(&org) => org,
            (None, [org]) => *org,
            (Some(org), _) => bail!("there is no org {org}"),
            (None, orgs) => {
                let list = orgs.iter().map(|org| format!("\n  {org}")).collect::<String>();
                bail!("there are {} orgs, say which one with --org:{list}", orgs.len())
            }
        };
        match self.output {
            None => entries(&database, org, BufWriter::new(io::stdout().lock())).await?,
            Some(path) => {
                let failed = || format!("can't write {}", path.display());
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                // A file that is there is whole.
                let file = NamedTempFile::new_in(folder.unwrap_or(".".as_ref())).with_context(failed)?;
                entries(&database, org, BufWriter::new(&file)).await?;
                file.as_file().sync_all().and_then(|()| Ok(file.persist(&path)?)).with_context(failed)?;
            }
        }
        database.close().await;
        Ok(())
    }
}

async fn entries(database: &Database, org: Uuid, mut out: impl Write) -> anyhow::Result<()> {
    let end = database.next_seq(org).await?;
    let progress = Progress::start("exporting", Steps::Of(usize::try_from(end).unwrap_or_default()));
    let mut next = 0;
    let mut lines = Vec::new();
    while next < end {
        for entry in database.stored_entries(org, next - 1, ENTRIES_AT_ONCE.min(end - next)).await? {
            Line::from(&entry).write(&mut lines);
            next = entry.seq + 1;
            progress.step();
        }
        anyhow::ensure!(
            !lines.is_empty(),
            "the ledger ends before entry {next}, though it should have {end}"
        );
        out.write_all(&lines)?;
        lines.clear();
    }
    out.flush()?;
    Ok(())
}
