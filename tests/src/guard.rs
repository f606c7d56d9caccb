//! Ends a server when the test process ends, however it ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the test process is gone, and then removes
/// what that one can no longer remove. The server's number is still its own then: until that
/// moment the test process had not collected it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
kill -9 "$1"
rm -rf -- "$2"
"#;

/// A shell that outlives the test process by a moment.
pub(crate) struct Guard(Child);

impl Guard {
    /// Watches over the server with this process id, and over its folder.
    pub(crate) fn over(process: u32, folder: &Path) -> Self {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "guard", &process.to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        Self(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The server is stopped by hand: the guard must not do it again.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
