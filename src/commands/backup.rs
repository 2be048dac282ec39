//! `lictor backup`: everything that is kept, in one file, while the server runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lictor_server::config::Config;
use lictor_server::db::{Address, copy};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::progress::{Progress, Steps};
use crate::{Outcome, print};

/// Copies everything that is kept to a file. A server may be running meanwhile, and goes on.
///
/// The master key is not in it: without the key, which belongs to another place, nobody reads what is encrypted. For
/// PostgreSQL use its own tools (pg_dump, pg_basebackup).
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to write it. A file that is there is not overwritten.
    file: PathBuf,
    /// The database: a path or `sqlite:///absolute/path.db` [env: LICTOR_DATABASE] [default: lictor.db].
    #[arg(long)]
    database: Option<String>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Backup {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.write())?;
        Ok(Outcome::Clean)
    }

    async fn write(self) -> anyhow::Result<()> {
        let Backup { file, database, format } = self;
        let Address::File(from) = database.unwrap_or(Config::from_environment()?.database).parse()? else {
            bail!("a PostgreSQL database is backed up with its own tools: pg_dump or pg_basebackup")
        };
        anyhow::ensure!(from.is_file(), "there is no database {}", from.display());
        anyhow::ensure!(!file.exists(), "{} is there already", file.display());
        let failed = || format!("can't write {}", file.display());
        // A file that is there is whole.
        let partial = NamedTempFile::new_in(folder_of(&file)).with_context(failed)?;
        let progress = Progress::start("backing up", Steps::One);
        let heads = copy(&from, partial.path()).await?;
        File::open(partial.path()).and_then(|file| file.sync_all()).with_context(failed)?;
        let bytes = fs::metadata(partial.path()).with_context(failed)?.len();
        partial.persist_noclobber(&file).with_context(failed)?;
        sync_folder(&file).with_context(failed)?;
        drop(progress);
        match format {
            print::Format::Json => {
                let ledgers = heads.iter().map(|(org, head)| {
                    json!({"org": org, "entries": head.next_seq, "hash": lictor_server::vault::hex(&head.hash)})
                });
                let ledgers = ledgers.collect::<Vec<_>>();
                print::json(
                    &json!({"file": file.display().to_string(), "bytes": bytes, "ledgers": ledgers}),
                )?;
            }
            print::Format::Text => {
                for (org, head) in &heads {
                    print::line(format!("ledger of {org}: {} entries", head.next_seq))?;
                }
                print::line(format!("{}: {bytes} bytes. The master key is not in it.", file.display()))?;
            }
        }
        Ok(())
    }
}

/// The folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref())
}

/// The file is found in its folder, also after a power cut.
pub(super) fn sync_folder(file: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder_of(file))?.sync_all() } else { Ok(()) }
}
