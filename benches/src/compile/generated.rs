//! Crates that are written to be compiled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Fallible;

/// Where they are compiled: beside the program, so that what they depend on is compiled once.
pub(super) struct Workplace {
    target: PathBuf,
    library: PathBuf,
    lock: PathBuf,
}

impl Workplace {
    pub(super) fn new() -> Fallible<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or("a target folder")?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        Ok(Self {
            target: target.join("compile-bench"),
            library: workspace.join("audit-diesel"),
            lock: workspace.join("Cargo.lock"),
        })
    }

    pub(super) fn crate_of(&self, name: &str, source: &str) -> Fallible<Generated> {
        self.write(name, source, "")
    }

    /// A crate that depends on another of them.
    pub(super) fn crate_with(
        &self,
        name: &str,
        source: &str,
        other: &Generated,
    ) -> Fallible<Generated> {
        let (other, path) = (&other.name, &other.folder);
        self.write(name, source, &format!("{other} = {{ path = {path:?} }}\n"))
    }

    /// In a workspace of its own.
    fn write(&self, name: &str, source: &str, dependency: &str) -> Fallible<Generated> {
        let generated = Generated {
            name: name.to_owned(),
            folder: self.target.join("crates").join(name),
            target: self.target.clone(),
        };
        let folder = &generated.folder;
        std::fs::create_dir_all(folder.join("src"))?;
        std::fs::write(generated.source(), source)?;
        std::fs::copy(&self.lock, folder.join("Cargo.lock"))?;
        let library = &self.library;
        std::fs::write(
            folder.join("Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                 [workspace]\n[dependencies]\n\
                 audit-diesel = {{ path = {library:?}, features = [\"postgres\"] }}\n\
                 diesel = {{ version = \"2.3\", default-features = false, features = [\"postgres\"] }}\n\
                 {dependency}"
            ),
        )?;
        Ok(generated)
    }
}

pub(super) struct Generated {
    name: String,
    folder: PathBuf,
    target: PathBuf,
}

impl Generated {
    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("src/lib.rs")
    }

    /// Compiles the crate as if it were new; says how much processor time that took.
    pub(super) fn check(&self) -> Fallible<Duration> {
        let source = self.source();
        std::fs::write(&source, std::fs::read(&source)?)?;
        let before = children_time()?;
        let output = Command::new("cargo")
            .args(["check", "--quiet", "--offline"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "0")
            .output()?;
        match output.status.success() {
            true => Ok(children_time()? - before),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }
}

/// Processor time of all processes that were started here and have ended, and of theirs.
fn children_time() -> Fallible<Duration> {
    /// As Linux counts on every machine.
    const TICK: Duration = Duration::from_millis(10);
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').map_or("", |parts| parts.1);
    let ticks: Option<u32> = after_name
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|number| number.parse::<u32>().ok())
        .sum();
    Ok(TICK * ticks.ok_or("no times in /proc/self/stat")?)
}
