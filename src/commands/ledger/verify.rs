//! `lictor ledger verify`: whether an exported ledger is what was signed. No server and no database are asked.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use lictor_server::ledger::audit::{Audit, Finding, Report};
use lictor_server::ledger::note::{Note, PublicKey};
use serde_json::{Value, json};

use crate::commands::judge::open;
use crate::progress::{Progress, Steps};
use crate::{Outcome, print};

/// Verifies an exported ledger without a server: that every entry follows from the one before it, and that the
/// checkpoints you kept still hold.
///
/// Exit codes: 0 whole, 3 an entry was changed, 4 an entry is missing, 5 time goes back, 6 the end was cut off,
/// 7 rewritten after it was signed, 8 forked: two histories were signed, 9 a bad signature; 2 something can't be read.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The export, one entry a line; `-` is standard input.
    export: PathBuf,
    /// A public key of the ledger, as `GET /api/v1/ledger/keys` gives it. You should have it from somebody you trust.
    #[arg(long, value_name = "VKEY", value_parser = PublicKey::parse)]
    key: Vec<PublicKey>,
    /// A file of checkpoints that you kept: one, or several one below the other.
    #[arg(long, value_name = "FILE", requires = "key")]
    checkpoint: Vec<PathBuf>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Verify {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let mut notes = Vec::new();
        for path in &self.checkpoint {
            let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
            let read =
                Note::parse_all(&text).with_context(|| format!("{} holds no checkpoint", path.display()))?;
            anyhow::ensure!(!read.is_empty(), "{} holds no checkpoint", path.display());
            notes.extend(read);
        }
        let mut audit = Audit::new(&self.key, &notes);
        let progress = Progress::start("verifying", Steps::Some);
        let read = audit.read(open(&self.export)?, || progress.step());
        read.with_context(|| format!("can't read {}", self.export.display()))?;
        drop(progress);
        let report = audit.finish();
        match self.format {
            print::Format::Json => print::json(&as_json(&report))?,
            print::Format::Text => show(&report)?,
        }
        Ok(match exit_code(&report.finding) {
            0 => Outcome::Clean,
            code => Outcome::Found(code),
        })
    }
}

/// What each finding ends the command with.
pub(in crate::commands) fn exit_code(finding: &Finding) -> u8 {
    match finding {
        Finding::Ok => 0,
        Finding::ChangedAt(_) => 3,
        Finding::GapAt(_) => 4,
        Finding::TimeGoesBack(_) => 5,
        Finding::Truncated { .. } => 6,
        Finding::Rewritten { .. } => 7,
        Finding::Forked { .. } => 8,
        Finding::BadSignature { .. } => 9,
    }
}

fn as_json(report: &Report) -> Value {
    let checkpoints = report
        .checkpoints
        .iter()
        .map(|checked| json!({"size": checked.checkpoint.size, "holds": checked.holds}));
    json!({
        "result": report.finding.name(),
        "message": report.finding.to_string(),
        "entry": report.finding.entry(),
        "entries": report.entries,
        "hash": report.hash(),
        "root": report.root(),
        "signed_entries": report.signed(),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "checkpoints_of_other_ledgers": report.of_other_logs,
    })
}

fn show(report: &Report) -> anyhow::Result<()> {
    print::line(format!("{}: {}", report.finding.name(), report.finding))?;
    print::line(format!("entries read    {}", report.entries))?;
    print::line(format!("last hash       {}", report.hash()))?;
    print::line(format!("root            {}", report.root()))?;
    for checked in &report.checkpoints {
        let word = match checked.holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "was not reached",
        };
        print::line(format!("checkpoint      of {} entries {word}", checked.checkpoint.size))?;
    }
    if report.of_other_logs > 0 {
        print::line(format!("passed over     {} checkpoints of other ledgers", report.of_other_logs))?;
    }
    let unsigned = report.entries - report.signed().min(report.entries);
    if report.finding == Finding::Ok && unsigned > 0 {
        print::line(format!(
            "no checkpoint covers the last {unsigned} entries: if their end was cut off, or they were written anew, \
             this can't show it"
        ))?;
    }
    Ok(())
}
