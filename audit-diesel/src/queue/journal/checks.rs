//! Whether the journal is where it outlives the machine.

use std::path::Path;

use audit_core::Warning;

/// File systems that are gone after a restart of the machine.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// What is wrong with a journal at this place, as far as the system tells: Linux does.
pub(super) fn warnings(subject: &str, path: &Path) -> Vec<Warning> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match file_system(&mounts, &path) {
        Some(kind) if IN_MEMORY.contains(&kind) => vec![Warning::new(
            subject,
            format!("is on a file system in memory ({kind}): a restart of the machine loses it"),
            "name a file on a disk",
        )],
        _ => Vec::new(),
    }
}

/// The kind of the file system that holds the path. Each line describes a mount: its fifth word
/// is where, and the one after the lonely dash is the kind.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let holding = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let place = place.split(' ').nth(4)?.replace("\\040", " ");
        let depth = path.starts_with(&place).then_some(place.len())?;
        Some((depth, kind.split(' ').next()?))
    });
    // Of two mounts at one place the later one counts.
    holding
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 22 0:22 / /var/with\\040space rw shared:5 - tmpfs tmpfs rw
26 22 0:23 / /data rw - tmpfs tmpfs rw
27 22 0:24 / /data rw - xfs /dev/vdb rw
";

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        let kind = |path: &str| file_system(MOUNTS, Path::new(path));
        assert_eq!(kind("/var/journal.db"), Some("ext4"));
        assert_eq!(kind("/var/with space/journal.db"), Some("tmpfs"));
        assert_eq!(kind("/data/journal.db"), Some("xfs"));
        assert_eq!(kind("/database/journal.db"), Some("ext4"));
        assert_eq!(file_system("", Path::new("/data")), None);
    }
}
