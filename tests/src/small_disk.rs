//! A disk of a few megabytes, which a test can fill.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::User;

/// Holds the mount until the end of its input, which comes when the test process is gone.
const HOLD: &str = r#"
mount -t tmpfs -o "size=$2,mode=0777" tmpfs "$1" && echo mounted && read -r _
"#;

/// A file system of its own that only processes see which [`run`](Self::run) starts: it is
/// mounted in a name space, so that nothing is left of it whatever happens to the test.
pub struct SmallDisk {
    holder: Child,
    mounted_at: PathBuf,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts one at this folder. `None` where the machine lets nobody do so, as in many
    /// containers; this is said aloud, past what hides the output of tests that succeed.
    ///
    /// # Panics
    ///
    /// When there is no shell.
    pub fn mount(at: &Path, bytes: u64) -> Option<Self> {
        let is_root = User::instead_of_root().is_some();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", HOLD, "hold"]).arg(at);
        command.arg(bytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut said = String::new();
        if let Ok(mut holder) = command.spawn() {
            let mut answer = BufReader::new(holder.stdout.take().expect("its output"));
            let _ = answer.read_line(&mut said);
            let disk = Self {
                holder,
                mounted_at: at.to_owned(),
                is_root,
            };
            if said.trim() == "mounted" && disk.is_usable() {
                return Some(disk);
            }
        }
        let _ = std::io::stderr().write_all(
            b"\n** NO SMALL DISK: this machine lets us mount none (unshare, mount, nsenter), so \
              that no disk is filled really; the tests of it do less **\n",
        );
        None
    }

    fn is_usable(&self) -> bool {
        let mut command = self.command(Path::new("true"), None);
        command.status().is_ok_and(|status| status.success())
    }

    /// A command that sees the disk, run as this user, or as ours.
    pub(crate) fn command(&self, program: &Path, user: Option<User>) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--mount", "--target", &holder]);
        if let Some(User { uid, gid }) = user {
            command.args(["--setuid", &uid.to_string(), "--setgid", &gid.to_string()]);
        }
        if !self.is_root {
            // As root in the name space it could be started, but PostgreSQL refuses root.
            let User { uid, gid } = User::ours();
            command.args(["--user", "--preserve-credentials", "unshare", "--user"]);
            command.args([format!("--map-user={uid}"), format!("--map-group={gid}")]);
        }
        command.arg("--").arg(program);
        command
    }

    /// A command that sees the disk.
    pub fn run(&self, program: &Path) -> Command {
        self.command(program, None)
    }

    /// How this process gets at a file of the disk.
    pub fn reach(&self, file: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(file.strip_prefix("/").unwrap_or(file))
    }

    /// Leaves no byte.
    ///
    /// # Panics
    ///
    /// When it cannot be filled.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("the ballast");
        let full = loop {
            if let Err(error) = file.write(&[0; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    /// Leaves so many bytes less.
    ///
    /// # Panics
    ///
    /// When there are not as many.
    pub fn take(&self, bytes: usize) {
        fs::write(self.ballast(), vec![0; bytes]).expect("there is room");
    }

    /// Gives the room back that [`fill`](Self::fill) or [`take`](Self::take) took.
    ///
    /// # Panics
    ///
    /// When it was not filled.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("the ballast goes");
    }

    fn ballast(&self) -> PathBuf {
        self.reach(&self.mounted_at.join("ballast"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
