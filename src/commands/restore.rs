//! `lictor restore`: a database from a backup, verified before it is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lictor_server::checkpoints::{StoredReport, audit};
use lictor_server::config::Config;
use lictor_server::db::{Address, Database, Lock, Store};
use lictor_server::ledger::audit::Finding;
use serde_json::{Value, json};
use tempfile::TempPath;
use uuid::Uuid;

use super::backup::{folder_of, sync_folder};
use super::ledger::exit_code;
use crate::progress::{Progress, Steps};
use crate::{Outcome, print};

/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Makes a database from a backup: verifies every ledger and every checkpoint in it, and only then puts it in its place.
///
/// Exit codes: 0 restored; as of `lictor ledger verify` where a ledger is not whole; 1 the file is damaged otherwise; 2
/// something can't be read or written. Unless it is 0, there is no database. For PostgreSQL use its own tools.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `lictor backup` wrote.
    file: PathBuf,
    /// Where the database is to be: a path or `sqlite:///absolute/path.db`. One that is there is not overwritten
    /// [env: LICTOR_DATABASE] [default: lictor.db].
    #[arg(long)]
    database: Option<String>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

/// What was found in one ledger.
struct Ledger {
    org: Uuid,
    found: StoredReport,
}

impl Restore {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.restore())
    }

    async fn restore(self) -> anyhow::Result<Outcome> {
        let Restore { file, database, format } = self;
        let address: Address = database.unwrap_or(Config::from_environment()?.database).parse()?;
        let Address::File(to) = &address else {
            bail!(
                "a PostgreSQL database is restored with its own tools: pg_restore, or the copy of its files"
            )
        };
        let begins = read_start(&file).with_context(|| format!("can't read {}", file.display()))?;
        anyhow::ensure!(begins == MAGIC, "{} is no backup: it is not a SQLite file", file.display());
        refuse_to_overwrite(to)?;
        // Nobody starts a server there meanwhile.
        let lock = Lock::take(&address)?;
        let failed = || format!("can't write {}", to.display());
        let folder =
            tempfile::Builder::new().prefix(".restoring-").tempdir_in(folder_of(to)).with_context(failed)?;
        let partial = folder.path().join("lictor.db");
        fs::copy(&file, &partial).with_context(failed)?;
        let (damage, ledgers) = verified(&partial).await?;
        let is_whole =
            |ledger: &Ledger| ledger.found.ends_at_head && ledger.found.report.finding == Finding::Ok;
        let is_good = damage.is_none() && ledgers.iter().all(is_whole);
        if is_good {
            File::open(&partial).and_then(|file| file.sync_all()).with_context(failed)?;
            TempPath::try_from_path(partial)?.persist_noclobber(to).with_context(failed)?;
            sync_folder(to).with_context(failed)?;
        }
        drop(lock);
        let said = Said { to, is_good, damage, ledgers: &ledgers };
        match format {
            print::Format::Json => print::json(&said.json())?,
            print::Format::Text => said.show()?,
        }
        let code =
            ledgers.iter().map(|ledger| exit_code(&ledger.found.report.finding)).find(|code| *code != 0);
        Ok(match (is_good, code) {
            (true, _) => Outcome::Clean,
            (false, Some(code)) => Outcome::Found(code),
            (false, None) => Outcome::Findings,
        })
    }
}

/// The first bytes of a file.
fn read_start(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut begins = Vec::new();
    File::open(file)?.take(MAGIC.len() as u64).read_to_end(&mut begins)?;
    Ok(begins)
}

/// Neither a database nor what would be taken for a part of the new one may be there.
fn refuse_to_overwrite(to: &Path) -> anyhow::Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = to.as_os_str().to_owned();
        name.push(ending);
        let path = PathBuf::from(name);
        anyhow::ensure!(!path.exists(), "{} is there already", path.display());
    }
    Ok(())
}

/// What is wrong with the file itself, and what every ledger in it is. Its tables are brought up to date.
async fn verified(file: &Path) -> anyhow::Result<(Option<String>, Vec<Ledger>)> {
    let database = Database::open(&Address::File(file.to_owned())).await?;
    let damage = database.damage().await?;
    let mut ledgers = Vec::new();
    for org in database.org_ids().await? {
        let entries = usize::try_from(database.next_seq(org).await?).unwrap_or_default();
        let progress = Progress::start("verifying", Steps::Of(entries));
        ledgers.push(Ledger { org, found: audit(&database, org, || progress.step()).await? });
    }
    database.close().await;
    Ok((damage, ledgers))
}

/// What there is to say in the end.
struct Said<'a> {
    to: &'a Path,
    is_good: bool,
    damage: Option<String>,
    ledgers: &'a [Ledger],
}

impl Said<'_> {
    fn json(&self) -> Value {
        let ledger = |Ledger { org, found }: &Ledger| {
            json!({
                "org": org,
                "result": found.report.finding.name(),
                "message": found.report.finding.to_string(),
                "entries": found.report.entries,
                "hash": found.report.hash(),
                "signed_entries": found.report.signed(),
                "ends_at_head": found.ends_at_head,
            })
        };
        json!({
            "database": self.to.display().to_string(),
            "restored": self.is_good,
            "damage": self.damage,
            "ledgers": self.ledgers.iter().map(ledger).collect::<Vec<_>>(),
        })
    }

    fn show(&self) -> anyhow::Result<()> {
        if let Some(damage) = &self.damage {
            print::line(format!("the file is damaged: {damage}"))?;
        }
        for Ledger { org, found } in self.ledgers {
            let report = &found.report;
            print::line(format!("ledger of {org}: {}: {}", report.finding.name(), report.finding))?;
            print::line(format!("  entries {}, signed {}", report.entries, report.signed()))?;
            if !found.ends_at_head {
                print::line("  it does not end where the database says that it ends")?;
            }
        }
        match self.is_good {
            true => print::line(format!(
                "restored to {}. It needs the master key of its backup: the file {}.key, or LICTOR_MASTER_KEY",
                self.to.display(),
                self.to.display()
            ))?,
            false => print::line("nothing was restored")?,
        }
        Ok(())
    }
}
