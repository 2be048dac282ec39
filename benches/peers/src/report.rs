//! Where the figures go: printed, and between two marks of `benches/README.md`, with what they depend on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Writes the text between the marks of this name.
pub fn write(name: &str, text: &str, crates: &[&str]) -> Result<()> {
    let text = format!("{}\n\n{}", circumstances(crates)?, text.trim_end());
    println!("{text}");
    let (begin, end) = (format!("<!-- {name}: written by the bench -->"), format!("<!-- {name}: end -->"));
    let path = root()?.join("benches/README.md");
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) =
        page.split_once(&begin).with_context(|| format!("no {begin} in benches/README.md"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no {end} in benches/README.md"))?;
    Ok(std::fs::write(path, format!("{before}{begin}\n\n{text}\n\n{end}{after}"))?)
}

pub fn write_image(name: &str, svg: &str) -> Result<()> {
    Ok(std::fs::write(root()?.join("docs/images").join(name), svg)?)
}

/// The root of the repository.
fn root() -> Result<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("benches/README.md").is_file());
    Ok(root.context("benches/README.md is gone")?.to_owned())
}

/// The machine, the compiler, the versions of these crates.
fn circumstances(crates: &[&str]) -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or("an unknown processor", |line| line.1);
    let cores = std::thread::available_parallelism()?;
    let rustc = Command::new("rustc").arg("--version").output()?.stdout;
    let rustc = String::from_utf8_lossy(&rustc);
    let versions: String = crates.iter().map(|name| format!(", {name} {}", locked(name))).collect();
    Ok(format!("{cpu}, {cores} cores, {}{versions}.", rustc.trim()))
}

/// The version that `Cargo.lock` names.
fn locked(name: &str) -> &'static str {
    let package = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock").split_once(&package).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}
