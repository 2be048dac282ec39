//! Policy files: found, read, checked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lictor_dsl::{Checked, Source};

/// Reads the `.lictor` files at these paths; folders are searched all the way down.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, &mut files).with_context(|| format!("can't search {}", path.display()))?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        bail!("there are no .lictor files here");
    }
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        Ok(Source::new(file.display().to_string(), text))
    };
    files.iter().map(read).collect()
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "lictor") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads and checks policies that are to be used: errors are drawn on standard error, and end the run.
pub(crate) fn usable(paths: &[PathBuf]) -> anyhow::Result<Option<Checked>> {
    sound(lictor_dsl::check(read(paths)?))
}

/// Policies that are to be used: errors are drawn on standard error, and end the run.
pub(crate) fn sound(checked: Checked) -> anyhow::Result<Option<Checked>> {
    if !checked.has_errors() {
        return Ok(Some(checked));
    }
    let errors: Vec<_> = checked
        .diagnostics
        .iter()
        .filter(|d| d.severity == lictor_dsl::diagnostics::Severity::Error)
        .cloned()
        .collect();
    let colour = io::IsTerminal::is_terminal(&io::stderr());
    crate::print::diagnostics(&checked.sources, &errors, io::stderr().lock(), colour)?;
    Ok(None)
}
