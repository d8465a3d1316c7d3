//! A process that is named by a file, and told by a signal.
//!
//! Such a file outlives its process, and ids are given again. So a process is signalled only if it
//! was there when the file was written, and if whoever wrote the file may signal it anyway: an agent
//! is often root, and the file another user's.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// Longer is no number.
const LONGEST: u64 = 32;
/// What `sysconf(_SC_CLK_TCK)` is on every Linux.
const TICKS: u64 = 100;
/// How much later than the file a process may seem to have started: the time of the boot is told in
/// whole seconds.
const SLACK: u64 = 2;

/// Sends `signal` to the process whose id is in `pid_file`.
///
/// # Errors
/// There is no such file or process, or the process is another than the one that was meant.
pub fn notify(pid_file: &Path, signal: Signal) -> Result<(), String> {
    let shown = pid_file.display();
    let file = fs::File::open(pid_file).map_err(|error| format!("read {shown}: {error}"))?;
    let metadata = file.metadata().map_err(|error| format!("read {shown}: {error}"))?;
    let mut text = String::new();
    let read = file.take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| format!("read {shown}: {error}"))?;
    // 1 is the machine's own, and what is not positive stands for many.
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1);
    let pid = pid.ok_or_else(|| format!("{shown} holds no process id"))?;
    let gone = || format!("the process {pid} of {shown} is not there");
    let started = started(pid).ok_or_else(gone)?;
    let written = u64::try_from(metadata.mtime()).unwrap_or(0);
    if started > written + SLACK {
        return Err(format!("{shown} is of a process before this {pid}, which started later"));
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map_err(|_| gone())?.uid();
    let ours = [0, Uid::effective().as_raw(), owner].contains(&metadata.uid());
    if !ours || metadata.mode() & 0o002 != 0 {
        return Err(format!("{shown} can be written by others than root and the process's user"));
    }
    kill(Pid::from_raw(pid), signal).map_err(|error| format!("signal {pid} of {shown}: {error}"))
}

/// When a process started, in seconds since 1970.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the time is the 20th field after it.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<u64>().ok()? + ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_process_of_a_file_is_told_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let notify = || notify(&file, Signal::SIGUSR1);
        assert!(notify().unwrap_err().contains("No such file"));
        for text in ["", "x", "0", "-1", "1"] {
            fs::write(&file, text).unwrap();
            assert!(notify().unwrap_err().contains("holds no process id"), "{text}");
        }
        // A shell looks at its traps between commands: a signal that comes just before one that waits
        // long would wait as long.
        let script = "trap 'exit 7' USR1; echo ready; for i in $(seq 600); do sleep 0.1; done";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        fs::write(&file, format!("{}\n", child.id())).unwrap();

        let open = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        open(0o666);
        assert!(notify().unwrap_err().contains("can be written by others"));
        open(0o644);
        let handle = fs::File::options().write(true).open(&file).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        handle.set_modified(written - Duration::from_secs(3600)).unwrap();
        assert!(notify().unwrap_err().contains("which started later"));
        handle.set_modified(written).unwrap();

        notify().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(notify().unwrap_err().contains("is not there"));
    }
}
