//! What is published of the crates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PUBLISHED: [&str; 3] = ["audit-core", "audit-derive", "audit-diesel"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// What cargo knows of the workspace and all that it is made of.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `1.88` and `1.88.0` as numbers.
fn version(rust_version: &str) -> Vec<u32> {
    let mut numbers: Vec<_> = rust_version
        .split('.')
        .map(|n| n.parse().unwrap())
        .collect();
    numbers.resize(3, 0);
    numbers
}

#[test]
fn each_published_crate_carries_both_licences_as_they_are() {
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let licence = fs::read(root().join(name)).unwrap();
        for published in PUBLISHED {
            let copy = fs::read(root().join(published).join(name)).unwrap();
            assert!(copy == licence, "{published}/{name} differs from {name}");
        }
    }
}

/// A checkout on Windows turns a symbolic link into a file with a path in it.
#[test]
fn nothing_that_is_published_is_a_symbolic_link() {
    let mut folders: Vec<_> = PUBLISHED.iter().map(|name| root().join(name)).collect();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_symlink(), "{}", entry.path().display());
            seen += 1;
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 50, "only {seen} files were looked at");
}

#[test]
fn a_crate_is_published_with_all_that_its_page_shows_or_not_at_all() {
    let metadata = metadata();
    let members: Vec<_> = packages(&metadata)
        .iter()
        .filter(|package| package["source"].is_null())
        .collect();
    assert!(members.len() > PUBLISHED.len());
    for member in members {
        let name = text(&member["name"]);
        let is_published = member["publish"].is_null();
        assert_eq!(is_published, PUBLISHED.contains(&name), "{name}: publish");
        if !is_published {
            continue;
        }
        for field in ["description", "license", "repository", "readme"] {
            assert!(!text(&member[field]).is_empty(), "{name}: {field}");
        }
        for field in ["keywords", "categories"] {
            assert!(
                !member[field].as_array().unwrap().is_empty(),
                "{name}: {field}"
            );
        }
        let on_docs_rs = &member["metadata"]["docs"]["rs"]["all-features"];
        assert_eq!(on_docs_rs, &Value::Bool(true), "{name}: docs.rs");
    }
}

/// What the published crates are built of, on any platform: no dependencies of tests alone.
fn built_of(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let package = |id: &str| {
        packages(metadata)
            .iter()
            .find(|p| text(&p["id"]) == id)
            .unwrap()
    };
    let mut ids: Vec<&str> = packages(metadata)
        .iter()
        .filter(|p| p["source"].is_null() && PUBLISHED.contains(&text(&p["name"])))
        .map(|p| text(&p["id"]))
        .collect();
    let mut next = 0;
    while let Some(id) = ids.get(next).copied() {
        next += 1;
        let node = nodes.iter().find(|node| text(&node["id"]) == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let is_built = kinds.iter().any(|kind| text(&kind["kind"]) != "dev");
            let id = text(&dependency["pkg"]);
            if is_built && !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    ids.into_iter().map(package).collect()
}

/// That our own code asks for no newer standard library is clippy's lint `incompatible_msrv`.
#[test]
fn no_dependency_asks_for_a_newer_rust_than_the_promised_one() {
    let metadata = metadata();
    let built_of = built_of(&metadata);
    assert!(built_of.len() > 30, "{} packages", built_of.len());
    let (ours, theirs): (Vec<&Value>, Vec<&Value>) = built_of
        .into_iter()
        .partition(|package| package["source"].is_null());
    let promised = ours.iter().map(|it| version(text(&it["rust_version"])));
    let promised = promised.min().unwrap();
    for package in theirs {
        if package["rust_version"].is_string() {
            let asked = version(text(&package["rust_version"]));
            let (name, is) = (&package["name"], &package["version"]);
            assert!(asked <= promised, "{name} {is} asks for Rust {asked:?}");
        }
    }
}
