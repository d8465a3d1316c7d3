//! Waits for a consumer to say that it has taken up a generation.

use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::time::Instant;

use super::command;
use super::ready::Wait;
use crate::config::{AcknowledgeConfig, Acknowledgement, CommandConfig, CommandEnvironment};
use crate::files;

/// More bytes than this are no number of a generation.
const LONGEST: u64 = 32;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the consumer says that it is on `generation` or later; `ready` is how a process of the
/// agent's says it.
///
/// # Errors
/// It did not within its time; what it said last.
pub async fn acknowledged(
    config: &AcknowledgeConfig,
    generation: u64,
    ready: Option<Wait>,
) -> Result<(), String> {
    if config.by == Acknowledgement::Ready {
        let wait = ready.ok_or("it is not a process of the agent's")?;
        let waited = tokio::time::timeout(config.timeout, wait.until_ready()).await;
        return waited.map_err(|_| "it has not said READY=1".to_owned());
    }
    let deadline = Instant::now() + config.timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let problem = match &config.by {
            Acknowledgement::File(file) => look(file, generation),
            Acknowledgement::Command(words) => ask(words, left, generation).await,
            // Waited for above.
            Acknowledgement::Ready => Ok(()),
        };
        let Err(problem) = problem else { return Ok(()) };
        if Instant::now() + LOOK >= deadline {
            return Err(problem);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn look(file: &Path, generation: u64) -> Result<(), String> {
    let text = read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
    match text.trim().parse::<u64>() {
        Ok(number) if number >= generation => Ok(()),
        Ok(number) => Err(format!("{} says {number}, not {generation}", file.display())),
        Err(_) => Err(format!("{} holds no number", file.display())),
    }
}

/// The beginning of a file that somebody else makes: a number is short.
fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    files::open_regular(file, OFlag::O_NOFOLLOW)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

async fn ask(words: &[String], left: Duration, generation: u64) -> Result<(), String> {
    let command = CommandConfig {
        command: words.to_vec(),
        timeout: left.max(LOOK),
        kill_signal: nix::sys::signal::Signal::SIGTERM,
        kill_timeout: Duration::from_secs(5),
        environment: CommandEnvironment::default(),
    };
    command::run(&command, generation).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[tokio::test]
    async fn a_file_or_a_command_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("on");
        let by_file = |milliseconds| AcknowledgeConfig {
            by: Acknowledgement::File(file.clone()),
            timeout: Duration::from_millis(milliseconds),
        };
        let missing = acknowledged(&by_file(1), 4, None).await.unwrap_err();
        assert!(missing.contains("read "), "{missing}");
        std::fs::write(&file, "3\n").unwrap();
        let old = acknowledged(&by_file(1), 4, None).await.unwrap_err();
        assert!(old.contains("says 3, not 4"), "{old}");
        let waits = by_file(60_000);
        let waiting = tokio::spawn(async move { acknowledged(&waits, 4, None).await });
        std::fs::write(&file, "5").unwrap();
        waiting.await.unwrap().unwrap();

        // Whatever it makes of the file, it is looked at in no time and no room.
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let endless = folder.path().join("endless");
        std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
        let long = folder.path().join("long");
        std::fs::write(&long, "9".repeat(1 << 20)).unwrap();
        let device = PathBuf::from("/dev/zero");
        for (path, why) in
            [(pipe, "regular"), (device, "regular"), (endless, "read "), (long, "no number")]
        {
            let by = Acknowledgement::File(path);
            let config = AcknowledgeConfig { by, timeout: Duration::from_millis(1) };
            let problem = acknowledged(&config, 4, None).await.unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }

        let by_command = |line: String, milliseconds| AcknowledgeConfig {
            by: Acknowledgement::Command(vec![line]),
            timeout: Duration::from_millis(milliseconds),
        };
        let line = format!("test $HOLDFAST_GENERATION -le $(cat '{}')", file.display());
        acknowledged(&by_command(line.clone(), 20_000), 5, None).await.unwrap();
        let old = acknowledged(&by_command(line, 150), 6, None).await.unwrap_err();
        assert!(old.contains("exit status: 1"), "{old}");
    }
}
