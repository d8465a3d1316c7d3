//! The process of an agent that was killed. The kernel ends it with the agent; what escapes that (a
//! set-user-id program, whatever the process started) is found and ended by the next agent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use super::child::Grace;
use crate::files;

/// Names the agent's directory in the environment of its process and of all that this starts.
pub(super) const MARK: &str = "HOLDFAST_AGENT_STATE";
/// The name of the file that tells of the process.
const FILE: &str = "process.json";
/// How long a process may take to end that was killed: one that waits for a disk takes its time.
const LAST: Duration = Duration::from_secs(10);
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Where it is written down which process runs.
#[derive(Debug, Clone)]
pub struct Former {
    /// The agent's own.
    directory: PathBuf,
}

/// Which process runs, and for whom.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Ids are of one boot of one machine.
    boot: String,
    agent: Identity,
    process: Identity,
}

/// A process that cannot be taken for another with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    pid: i32,
    /// When it started, in the kernel's ticks since the boot.
    started: u64,
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    group: i32,
    started: u64,
    ended: bool,
}

impl Former {
    /// In the agent's own directory.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What marks the process and what it starts.
    pub(super) fn mark(&self) -> (&'static str, &Path) {
        (MARK, &self.directory)
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Writes down that `pid` is the process now.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn remember(&self, pid: i32) -> io::Result<()> {
        let own = std::process::id().cast_signed();
        let (Some(agent), Some(process)) = (Identity::of(own), Identity::of(pid)) else {
            // It has ended already.
            return Ok(());
        };
        let record = Record { boot: boot(), agent, process };
        let text = serde_json::to_vec(&record).unwrap_or_default();
        files::replace(&self.file(), &text, 0o600)
    }

    /// The process has ended in good order.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(self.file());
    }

    /// Ends what the process of an agent before left, the process itself included.
    pub async fn end(&self, grace: Grace) {
        let Some(record) = self.read() else { return };
        let own = std::process::id().cast_signed();
        if record.boot != boot() || record.agent.pid == own {
            self.forget();
            return;
        }
        if record.agent.lives() {
            let agent = record.agent.pid;
            warn!(agent, "another agent of this configuration runs, and a process for it");
            return;
        }
        let left = self.left(record.process);
        if !left.is_empty() {
            warn!(processes = ?left, "an agent before this one left processes, which are ended");
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), grace.signal);
            }
            let told = Instant::now();
            loop {
                let left = self.left(record.process);
                if left.is_empty() {
                    info!("what an agent before this one left has ended");
                    break;
                }
                if told.elapsed() >= grace.patience + LAST {
                    warn!(processes = ?left, "cannot be ended");
                    break;
                }
                if told.elapsed() >= grace.patience {
                    for pid in left {
                        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.forget();
    }

    fn read(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }

    /// What is left of the process and its group. Without the process itself its group's number may
    /// be another's by now: those count that have the mark.
    fn left(&self, process: Identity) -> Vec<i32> {
        let lives = process.lives();
        let mark = format!("{MARK}={}", self.directory.display());
        let is_marked = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let of_it = |pid: &i32| {
            let Some(stat) = Stat::of(*pid).filter(|stat| !stat.ended) else { return false };
            let is_it = lives && *pid == process.pid;
            is_it
                || stat.group == process.pid
                    && stat.started >= process.started
                    && (lives || is_marked(*pid))
        };
        pids.filter(of_it).collect()
    }
}

impl Identity {
    fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: Stat::of(pid)?.started })
    }

    fn lives(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && !stat.ended)
    }
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The boot of this machine, and the space of process ids.
fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), space.display())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const GRACE: Grace = Grace { signal: Signal::SIGTERM, patience: Duration::from_secs(60) };

    /// A process that has another in its group, whose id it says.
    fn start(former: &Former) -> (Child, i32) {
        use std::io::BufRead as _;
        use std::os::unix::process::CommandExt as _;
        let (name, value) = former.mark();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .env(name, value)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    /// Makes the record say that an agent wrote it which has ended.
    fn orphan(former: &Former) {
        let mut record = former.read().unwrap();
        record.agent = Identity { pid: i32::MAX, started: 1 };
        fs::write(former.file(), serde_json::to_vec(&record).unwrap()).unwrap();
    }

    fn lives(pid: i32) -> bool {
        Stat::of(pid).is_some_and(|stat| !stat.ended)
    }

    #[tokio::test]
    async fn what_an_agent_left_is_ended_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let former = Former::of(folder.path());
        former.end(GRACE).await;
        let (mut first, beside) = start(&former);
        let pid = first.id().cast_signed();
        former.remember(pid).unwrap();

        // Another process has the number by now, as has all of its group.
        let mut record = former.read().unwrap();
        record.agent = Identity { pid: i32::MAX, started: 1 };
        record.process.started += 1 << 32;
        fs::write(former.file(), serde_json::to_vec(&record).unwrap()).unwrap();
        former.end(GRACE).await;
        assert!(lives(pid) && lives(beside) && former.read().is_none());

        // The agent that it is of lives.
        former.remember(pid).unwrap();
        let mut record = former.read().unwrap();
        record.agent = Identity::of(pid).unwrap();
        fs::write(former.file(), serde_json::to_vec(&record).unwrap()).unwrap();
        former.end(GRACE).await;
        assert!(lives(pid) && lives(beside) && former.read().is_some());

        // The process with what it started.
        former.remember(pid).unwrap();
        orphan(&former);
        let ending = former.end(GRACE);
        let waits = tokio::task::spawn_blocking(move || first.wait());
        ending.await;
        waits.await.unwrap().unwrap();
        assert!(!lives(pid) && !lives(beside) && former.read().is_none());

        // What it started alone.
        let (mut second, beside) = start(&former);
        former.remember(second.id().cast_signed()).unwrap();
        orphan(&former);
        second.kill().unwrap();
        second.wait().unwrap();
        assert!(lives(beside));
        former.end(GRACE).await;
        assert!(!lives(beside));
    }
}
