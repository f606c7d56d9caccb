//! A file that is damaged, removed or replaced.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use audit_diesel::{Payload, Queue, QueueError};
use tempfile::TempDir;

use super::support::*;

/// A journal of many records, and what it is to become.
fn damaged(damage: impl FnOnce(&fs::File, u64)) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let many: Vec<_> = (0..500)
        .map(|n| Payload::from(vec![n as u8; 500]))
        .collect();
    journal.push(&many).unwrap();
    drop(journal);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let size = file.metadata().unwrap().len();
    damage(&file, size);
    (folder, path)
}

/// Damaged journals are set aside whole and named, and a new one works.
fn is_set_aside(folder: &TempDir, path: &Path) {
    let before = fs::read(path).unwrap();
    let journal = open(path);
    journal.push(&[payload("new")]).unwrap();
    assert_eq!(texts(&journal), ["new"]);
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.contains(".damaged-")).collect();
    let [aside] = &aside[..] else {
        panic!("{aside:?}");
    };
    assert!(fs::read(folder.path().join(aside)).unwrap() == before);
    for journal in [journal, open(path)] {
        let warnings = journal.warnings().unwrap();
        let told = warnings.iter().any(|w| w.to_string().contains(&**aside));
        assert!(told, "{warnings:?}");
    }
    fs::remove_file(folder.path().join(aside)).unwrap();
    assert_eq!(open(path).warnings().unwrap(), []);
}

#[test]
fn a_damaged_file_is_set_aside_and_named() {
    let pages = |file: &fs::File, size: u64| {
        for page in 2..size / 4096 {
            file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
        }
    };
    let (folder, path) = damaged(pages);
    is_set_aside(&folder, &path);
}

#[test]
fn one_damaged_page_in_the_middle_is_noticed() {
    let page = |file: &fs::File, size: u64| {
        let middle = size / 8192 * 4096;
        file.write_all_at(&[0xa5; 4096], middle).unwrap();
    };
    let (folder, path) = damaged(page);
    is_set_aside(&folder, &path);
}

#[test]
fn a_torn_file_is_set_aside() {
    let cut = |file: &fs::File, size: u64| file.set_len(size / 2).unwrap();
    let (folder, path) = damaged(cut);
    is_set_aside(&folder, &path);
    let blank = |file: &fs::File, _| file.write_all_at(&[0; 4096], 0).unwrap();
    let (folder, path) = damaged(blank);
    is_set_aside(&folder, &path);
}

/// A process of its own, which has its own working directory.
#[test]
fn what_was_set_aside_is_named_by_a_journal_of_a_relative_path() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("journal.db.damaged-1"), "").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["damage::child", "--exact", "--ignored"])
        .env("AUDIT_TEST_RELATIVE", "journal.db")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
    assert!(folder.path().join("journal.db").exists(), "{said}");
}

/// Not a test of its own.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    let Ok(path) = std::env::var("AUDIT_TEST_RELATIVE") else {
        return;
    };
    let warnings = open(Path::new(&path)).warnings().unwrap();
    let told = warnings.iter().any(|w| w.to_string().contains("damaged-1"));
    assert!(told, "{warnings:?}");
}

#[test]
fn a_file_that_was_removed_or_replaced_is_noticed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal.push(&[payload("a")]).unwrap();
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let noticed = |error: QueueError| {
        assert!(
            matches!(error, QueueError::Misconfigured { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("removed or replaced"), "{error}");
    };
    journal.push(&[payload("b")]).unwrap();
    noticed(journal.peek(1).unwrap_err());
    noticed(journal.push(&[payload("c")]).unwrap_err());
    assert!(!path.exists(), "it is not made again");
    fs::write(&path, "").unwrap();
    noticed(journal.push(&[payload("c")]).unwrap_err());
    fs::rename(&aside, &path).unwrap();
    journal.push(&[payload("c")]).unwrap();
    assert_eq!(texts(&journal), ["a", "b", "c"]);
}
