//! The server of the last run, which may be on its way out still: two must never share a data
//! directory.
//!
//! PostgreSQL itself sees to that, by the number in `postmaster.pid`: where a signal reaches that process, it
//! does not start. But a signal reaches as well who is dead and was not collected, and who was given the
//! number since.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::super::files;

/// How long it may take to end: a disk that is busy keeps it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has the number.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// Nobody, or a process of another user: PostgreSQL passes over it.
    Nobody,
    /// The server.
    Server,
    /// A process that is ending.
    Dying,
    /// A dead process, or another one of the same user.
    Other,
}

/// Waits until no server of the last run has the data directory.
///
/// # Errors
/// It does not end.
pub(super) async fn wait(data: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check(data) {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// Passes where no server of the last run has the data directory; one that has is told to end.
///
/// # Errors
/// There is one.
pub(super) fn check(data: &Path) -> anyhow::Result<()> {
    let path = data.join("postmaster.pid");
    let Some(file) = files::read(&path)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&file);
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) else {
        return Ok(());
    };
    let pid = Pid::from_raw(pid);
    match holder(pid, data) {
        Holder::Nobody => Ok(()),
        Holder::Other => files::remove(&path),
        holder => {
            if holder == Holder::Server {
                let _ = kill(pid, Signal::SIGQUIT);
            }
            bail!("the server of the last run (pid {pid}) is still on its way out")
        }
    }
}

fn holder(pid: Pid, data: &Path) -> Holder {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Holder::Nobody };
    // Behind the name, which may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    if matches!(state, Some('Z' | 'X')) {
        return Holder::Other;
    }
    let Ok(data) = fs::canonicalize(data) else { return Holder::Dying };
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) if cwd == data => Holder::Server,
        Ok(_) => Holder::Other,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Holder::Nobody,
        // It has let go of its directory, and not of all.
        Err(_) => Holder::Dying,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_number_of_nobodys_keeps_no_server_from_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("postmaster.pid");
        let write = |pid: u32| fs::write(&file, format!("{pid}\n/data\n")).unwrap();
        check(folder.path()).unwrap();
        fs::write(&file, "").unwrap();
        check(folder.path()).unwrap();

        // That of another process.
        write(std::process::id());
        check(folder.path()).unwrap();
        assert!(!file.exists());

        // That of a server which has the directory, lives, is dead, and is gone.
        let mut sleep = Command::new("sleep");
        let mut server = sleep.arg("600").current_dir(folder.path()).spawn().unwrap();
        write(server.id());
        let told = check(folder.path()).unwrap_err().to_string();
        assert!(told.contains("is still on its way out"), "{told}");
        server.kill().unwrap();
        while check(folder.path()).is_err() {
            std::thread::yield_now();
        }
        assert!(!file.exists(), "nobody has collected it yet");
        server.wait().unwrap();
        write(server.id());
        check(folder.path()).unwrap();
        assert!(file.exists(), "PostgreSQL's own affair");
    }

    #[tokio::test]
    async fn a_server_that_ends_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        // It passes over the signal.
        let mut server = Command::new("env");
        server.args(["--ignore-signal=QUIT", "sleep", "600"]).current_dir(folder.path());
        let mut server = server.spawn().unwrap();
        // By now `env` may not have done that yet.
        while fs::read_to_string(format!("/proc/{}/comm", server.id())).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        fs::write(folder.path().join("postmaster.pid"), server.id().to_string()).unwrap();
        let waiting = wait(folder.path());
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        server.kill().unwrap();
        waiting.await.unwrap();
        server.wait().unwrap();
    }
}
