//! Whether the journal is where it outlives the machine, and is nobody else's.

use std::path::Path;

use audit_core::Warning;

/// File systems that lose a journal, or break it, with what is wrong with them and what to do.
const UNSAFE: [(&[&str], &str, &str); 3] = [
    (
        &["tmpfs", "ramfs"],
        "is on a file system in memory: a restart of the machine loses it",
        "name a file on a disk",
    ),
    (
        &["overlay", "overlayfs", "aufs"],
        "is on a container's own file system: whoever replaces the container loses it",
        "name a file on a volume that outlives the container",
    ),
    (
        &[
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "afs",
            "ceph",
            "glusterfs",
            "lustre",
            "fuse.sshfs",
            "fuse.glusterfs",
            "fuse.s3fs",
            "fuse.rclone",
        ],
        "is on a file system of another machine, where SQLite's locks and shared memory do not hold: \
         two processes may damage it",
        "name a file on a disk of this machine",
    ),
];

/// What is wrong with a journal at this place, as far as the system tells: Linux does.
pub(super) fn warnings(subject: &str, path: &Path) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(kind) = file_system(&mounts, &real) {
        warnings.extend(of_file_system(subject, kind));
    }
    #[cfg(unix)]
    warnings.extend(owners::warnings(subject, path));
    warnings
}

fn of_file_system(subject: &str, kind: &str) -> Option<Warning> {
    let (_, problem, advice) = UNSAFE.iter().find(|(kinds, ..)| kinds.contains(&kind))?;
    Some(Warning::new(
        subject,
        format!("{problem} ({kind})"),
        *advice,
    ))
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

/// Who may read and write the journal. It holds records in clear, and whoever writes to it forges them.
#[cfg(unix)]
mod owners {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use audit_core::Warning;

    use crate::queue::journal::beside::{BESIDE, beside};

    /// Others may write into a folder with this mode, also what they do not own.
    const WRITABLE_BY_ALL: u32 = 0o002;
    /// In a folder with this bit, as in /tmp, one can remove one's own files only.
    const STICKY: u32 = 0o1000;
    const OF_OTHERS: u32 = 0o077;

    pub(super) fn warnings(subject: &str, path: &Path) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let own = std::fs::metadata("/proc/self").map(|process| process.uid());
        for file in BESIDE.map(|ending| beside(path, ending)) {
            // What is not there has no owner.
            if let Ok(found) = std::fs::symlink_metadata(&file) {
                let name = file.display().to_string();
                warnings.extend(of_owner(subject, &name, &found, own.as_ref().ok().copied()));
                warnings.extend(of_mode(subject, &name, found.mode()));
            }
        }
        let folder = path.parent().map(std::fs::metadata);
        if let Some(Ok(folder)) = folder {
            warnings.extend(of_folder(subject, folder.mode()));
        }
        warnings
    }

    fn of_owner(subject: &str, name: &str, found: &Metadata, own: Option<u32>) -> Option<Warning> {
        let (owner, own) = (found.uid(), own?);
        (owner != own).then(|| {
            Warning::new(
                subject,
                format!("{name} belongs to user {owner}, and this process is of user {own}"),
                "let the application's user own it, and no other program use it",
            )
        })
    }

    fn of_mode(subject: &str, name: &str, mode: u32) -> Option<Warning> {
        (mode & OF_OTHERS != 0).then(|| {
            Warning::new(
                subject,
                format!("{name} is open to other users (mode {:03o})", mode & 0o777),
                "take their rights away: `chmod go= …`",
            )
        })
    }

    fn of_folder(subject: &str, mode: u32) -> Option<Warning> {
        (mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0).then(|| {
            Warning::new(
                subject,
                "is in a folder in which every user may replace it",
                "take the right to write away from others: `chmod o-w …`",
            )
        })
    }
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

    #[test]
    fn a_file_system_that_loses_or_breaks_a_journal_is_named() {
        let problem = |kind| of_file_system("the journal", kind).map(|warning| warning.problem);
        for kind in ["ext4", "xfs", "btrfs", "zfs", "apfs"] {
            assert_eq!(problem(kind), None, "{kind}");
        }
        for (kind, expected) in [
            ("tmpfs", "in memory"),
            ("overlay", "a container's own"),
            ("nfs4", "of another machine"),
            ("cifs", "of another machine"),
        ] {
            let said = problem(kind).unwrap_or_default();
            assert!(
                said.contains(expected) && said.ends_with(&format!("({kind})")),
                "{said}"
            );
        }
    }
}
