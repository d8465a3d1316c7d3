//! What a starting supervisor tells the command that started it, line by line over a pipe.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Progress {
    /// What is being done now.
    Step(String),
    /// Something that a person should know, and that is no failure.
    Notice(String),
    /// Everything answers; the supervisor goes on alone.
    Ready,
    /// It could not be started, and why.
    Failed(String),
}

/// Where progress goes: to the command that waits, or to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// A pipe on standard output.
    Command,
    /// A terminal, or whatever reads standard error.
    Person,
}

impl Listener {
    /// Tells it. That nobody listens any more does not matter.
    pub(crate) fn tell(self, progress: &Progress) {
        match self {
            Self::Command => {
                let Ok(mut line) = serde_json::to_vec(progress) else { return };
                line.push(b'\n');
                let mut out = io::stdout().lock();
                let _ = out.write_all(&line).and_then(|()| out.flush());
            }
            Self::Person => match progress {
                Progress::Step(text) => eprintln!("{text}"),
                Progress::Notice(text) => eprintln!("note: {text}"),
                Progress::Ready => eprintln!("ready"),
                Progress::Failed(text) => eprintln!("failed: {text}"),
            },
        }
    }

    /// Tells what is being done.
    pub(crate) fn step(self, text: impl Into<String>) {
        self.tell(&Progress::Step(text.into()));
    }
}

/// Reads progress until the supervisor is ready, has failed, or is gone (`None`).
pub(crate) fn follow(
    pipe: impl io::Read,
    mut show: impl FnMut(&Progress),
) -> io::Result<Option<Progress>> {
    for line in io::BufReader::new(pipe).lines() {
        let Ok(progress) = serde_json::from_str(&line?) else { continue };
        show(&progress);
        if matches!(progress, Progress::Ready | Progress::Failed(_)) {
            return Ok(Some(progress));
        }
    }
    Ok(None)
}
