//! How long the compiler takes: a crate of many models with and without the derive.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{Contender, race_after};
use crate::report::Row;
use crate::{Effort, Fallible};

const MODELS: usize = 100;

pub(crate) fn rows(effort: Effort) -> Fallible<Vec<Row>> {
    // Its dependencies have to be compiled first, which takes longer than all else.
    if effort != Effort::Full {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    let [with, without] = [true, false].map(|audited| Generated::new(folder.path(), audited));
    let (with, without) = (with?, without?);
    let samples = race_after(
        1,
        7,
        vec![
            Contender::new(|round| with.check(round)),
            Contender::new(|round| without.check(round)),
        ],
    );
    Ok(vec![
        Row::compare(
            format!("cargo check of {MODELS} models, with the derive ÷ Diesel's derives alone"),
            &samples[0],
            &samples[1],
        )
        .at_most(1.25),
    ])
}

/// A crate of its own, in a workspace of its own.
struct Generated {
    folder: PathBuf,
    target: PathBuf,
    source: String,
}

impl Generated {
    fn new(parent: &Path, audited: bool) -> Fallible<Self> {
        let name = if audited { "audited" } else { "plain" };
        let folder = parent.join(name);
        std::fs::create_dir_all(folder.join("src"))?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let library = workspace.join("audit-diesel");
        std::fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        std::fs::write(
            folder.join("Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                 [workspace]\n[dependencies]\n\
                 audit-diesel = {{ path = {library:?}, features = [\"postgres\"] }}\n\
                 diesel = {{ version = \"2.3\", default-features = false, features = [\"postgres\"] }}\n"
            ),
        )?;
        Ok(Self {
            folder,
            target: parent.join("target"),
            source: source(audited),
        })
    }

    /// Compiles the crate, and nothing else after the first time.
    fn check(&self, round: usize) {
        let text = format!("{}// {round}\n", self.source);
        std::fs::write(self.folder.join("src/lib.rs"), text).expect("a file");
        let output = Command::new("cargo")
            .args(["check", "--quiet", "--offline"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

/// Tables of ten columns with their models.
fn source(audited: bool) -> String {
    let mut source = String::from("#![allow(dead_code)]\nuse diesel::prelude::*;\n");
    let derive = if audited {
        ", audit_diesel::Auditable"
    } else {
        ""
    };
    for model in 0..MODELS {
        let mut columns = String::new();
        let mut fields = String::new();
        for column in 0..9 {
            let _ = write!(columns, "column_{column} -> Text, ");
            let _ = write!(fields, "column_{column}: String, ");
        }
        let _ = writeln!(
            source,
            "diesel::table! {{ table_{model} (id) {{ id -> BigInt, {columns} }} }}\n\
             #[derive(Queryable, Selectable, Identifiable, Insertable, AsChangeset{derive})]\n\
             #[diesel(table_name = table_{model})]\n\
             struct Model{model} {{ id: i64, {fields} }}"
        );
    }
    source
}
