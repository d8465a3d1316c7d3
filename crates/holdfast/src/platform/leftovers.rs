//! Processes that outlived their supervisor.
//!
//! Children die with it by the kernel's hand, but what they started themselves does not, and a
//! database needs a moment to end. Every process of a platform carries the state directory's path
//! in its environment, by which it is found.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use tokio::time::{Instant, sleep};

use super::cgroup;
use super::launch::MARK;
use super::state::State;

/// How long they may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the processes of a dead supervisor to end, and kills those that do not.
///
/// Only for who holds the state directory's lock: then no living supervisor can own them.
pub(crate) async fn reap(state: &State) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = find(state);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            for pid in &left {
                tracing::warn!(%pid, "a process of the last run is killed");
                let _ = kill(*pid, Signal::SIGKILL);
            }
            anyhow::ensure!(
                Instant::now() < deadline + PATIENCE,
                "processes of the last run do not die: {left:?}"
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ends what services started, wherever it went, and removes their cgroups.
pub(crate) fn end_services(state: &State, name: &str) -> anyhow::Result<()> {
    cgroup::of_platform(state, name).map_or(Ok(()), |platform| cgroup::remove(&platform))
}

/// The processes that carry the mark, this one excluded.
pub(crate) fn find(state: &State) -> Vec<Pid> {
    let mut mark = MARK.as_bytes().to_vec();
    mark.push(b'=');
    mark.extend_from_slice(state.directory().as_os_str().as_bytes());
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let marked = processes.flatten().filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        // Unreadable for other users' processes, which are not ours then.
        let environment = fs::read(process.path().join("environ")).ok()?;
        let ours = environment.split(|byte| *byte == 0).any(|variable| variable == mark);
        ours.then(|| Pid::from_raw(pid))
    });
    marked.filter(|pid| *pid != getpid()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_with_the_mark_is_found_and_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        assert_eq!(find(&state), []);
        let mut child = tokio::process::Command::new("cat")
            .env(MARK, state.directory())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed());
        // The environment is there once the exec is through.
        while find(&state).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(find(&state), [pid]);
        drop(child.stdin.take());
        let (_, reaped) = tokio::join!(child.wait(), reap(&state));
        reaped.unwrap();
    }
}
