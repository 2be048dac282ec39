//! `lictor ledger rebuild --compare`: whether everything beside the ledgers is what follows from them.

use anyhow::ensure;
use clap::Args;
use lictor_server::config::Config;
use lictor_server::db::{Address, Database, Store};
use lictor_server::rebuild::{Compared, Difference, compare};
use lictor_server::vault::Vault;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::progress::{Progress, Steps};
use crate::{Outcome, print};

/// Makes everything that follows from a ledger again, from its entries alone, and compares it with what is stored: agents,
/// incidents, tasks, intents, keys, members, policies, the tree, checkpoints, and, with the master key, payloads. Changes
/// nothing.
///
/// Exit codes: 0 nothing differs, 1 something does and is named, 2 something can't be read.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Compare with what is stored; there is nothing else that it does.
    #[arg(long, required = true)]
    compare: bool,
    /// The database: a path, `sqlite:///absolute/path.db` or `postgres://…` [env: LICTOR_DATABASE] [default: lictor.db].
    #[arg(long)]
    database: Option<String>,
    /// Whose ledger; of every org if left out.
    #[arg(long)]
    org: Option<Uuid>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Rebuild {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.compare())
    }

    async fn compare(self) -> anyhow::Result<Outcome> {
        let config = Config::from_environment()?;
        let address: Address = self.database.unwrap_or(config.database).parse()?;
        if let Address::File(path) = &address {
            // Opening a database makes one.
            ensure!(path.is_file(), "there is no database {}", path.display());
        }
        // Opening a vault makes a key file.
        let key_file = address.key_file().filter(|file| file.is_file());
        let vault = match config.master_key.is_some() || key_file.is_some() {
            true => Some(Vault::open(config.master_key.as_deref(), key_file.as_deref())?),
            false => None,
        };
        let database = Database::open(&address).await?;
        let orgs = database.org_ids().await?;
        if let Some(org) = self.org {
            ensure!(orgs.contains(&org), "there is no org {org}");
        }
        let mut all = Vec::new();
        for org in orgs.into_iter().filter(|org| self.org.is_none_or(|wanted| wanted == *org)) {
            let entries = usize::try_from(database.next_seq(org).await?).unwrap_or_default();
            let progress = Progress::start("comparing", Steps::Of(entries));
            all.push((org, compare(&database, vault.as_ref(), org, || progress.step()).await?));
        }
        database.close().await;
        match self.format {
            print::Format::Json => print::json(&as_json(&all, vault.is_some()))?,
            print::Format::Text => show(&all, vault.is_some())?,
        }
        Ok(match all.iter().all(|(_, compared)| compared.differences.is_empty()) {
            true => Outcome::Clean,
            false => Outcome::Findings,
        })
    }
}

fn as_json(all: &[(Uuid, Compared)], payloads: bool) -> Value {
    let difference =
        |Difference { table, row, what }: &Difference| json!({"table": table, "row": row, "what": what});
    let ledger = |(org, compared): &(Uuid, Compared)| {
        json!({
            "org": org,
            "entries": compared.entries,
            "rows": compared.rows,
            "differences": compared.differences.iter().map(difference).collect::<Vec<_>>(),
        })
    };
    json!({"payloads_read": payloads, "ledgers": all.iter().map(ledger).collect::<Vec<_>>()})
}

fn show(all: &[(Uuid, Compared)], payloads: bool) -> anyhow::Result<()> {
    for (org, compared) in all {
        let Compared { entries, rows, differences } = compared;
        print::line(format!(
            "ledger of {org}: {entries} entries, {rows} rows, {} differences",
            differences.len()
        ))?;
        for difference in differences {
            print::line(format!("  {difference}"))?;
        }
    }
    if !payloads {
        print::line("payloads were not read: there is no master key")?;
    }
    Ok(())
}
