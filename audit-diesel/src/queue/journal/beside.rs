//! The files that belong to a journal.

use std::path::{Path, PathBuf};

/// What stands beside the file, or will.
pub(super) const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-segments"];

/// The path with this behind it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
