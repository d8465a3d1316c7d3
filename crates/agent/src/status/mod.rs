//! What an agent tells about itself. Never a value of a secret.

mod place;
mod plain;
mod socket;

pub use place::{StatePlace, announce, sockets, withdraw};
pub use socket::{Listener, StatusError, read};

use std::path::PathBuf;

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::generation::SourceRecord;

/// Everything that an agent knows of what it delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Names the agent on this machine, such as `agent-1f0c9a2b`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it was started.
    pub started: Timestamp,
    /// How it stands with the server.
    pub server: ServerStatus,
    /// What readers find now; none before anything was rendered.
    pub generation: Option<GenerationStatus>,
    /// The files, in the order of the configuration.
    pub files: Vec<FileStatus>,
    /// The environment variables of the process.
    pub variables: Vec<VariableStatus>,
    /// Who uses the files and variables.
    pub consumers: Vec<ConsumerStatus>,
    /// What an operator should know.
    pub notices: Vec<String>,
}

/// How it stands with the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Where it is.
    pub address: String,
    /// Which one that is, by the id of its cluster; none where it did not say.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Whether it answered when it was last asked.
    pub reachable: bool,
    /// When it last answered.
    pub answered: Option<Timestamp>,
    /// Why it does not answer.
    pub problem: Option<String>,
    /// Whether there is a token.
    pub logged_in: bool,
    /// Names the token without being it.
    pub accessor: Option<String>,
    /// When the token ends.
    pub token_expires: Option<Timestamp>,
    /// Whether changes are told at once.
    pub told_of_changes: bool,
    /// Why they are not.
    pub polling_because: Option<String>,
}

/// What readers find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number.
    pub number: u64,
    /// When it was flipped to.
    pub published: Timestamp,
    /// The link that leads to it.
    pub current: PathBuf,
    /// Older ones that are kept for consumers.
    pub kept: Vec<u64>,
}

/// A file that is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Where its readers find it.
    pub destination: PathBuf,
    /// The template's file, or `contents`.
    pub template: String,
    /// How it stands.
    pub state: FileState,
    /// The generation that brought its bytes.
    pub generation: Option<u64>,
    /// When that was.
    pub changed: Option<Timestamp>,
    /// The secrets in it.
    pub sources: Vec<SourceRecord>,
    /// Whether it is a copy, which changes by itself and not together with others.
    pub copied: bool,
    /// Why it is not as it should be.
    pub problem: Option<Problem>,
}

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// As the secrets are.
    Current,
    /// As it was: it could not be rendered since.
    Old,
    /// From an agent before this one, whose secrets were not read since.
    Resumed,
    /// Not there yet.
    Waiting,
}

/// Why something is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In words.
    pub message: String,
    /// The template's line, from 1, where that has to do with it.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// By which `holdfast why` tells an operator more.
    pub explain: Option<String>,
}

/// An environment variable of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableStatus {
    /// Its name.
    pub name: String,
    /// The secrets in it.
    pub sources: Vec<SourceRecord>,
    /// Why it is not as it should be.
    pub problem: Option<Problem>,
}

/// Who uses files and variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// `process`, or the file that its command is told of.
    pub name: String,
    /// What it is told by, such as `sh -c 'kill -HUP ...'`.
    pub told_by: String,
    /// The files that it uses.
    pub files: Vec<PathBuf>,
    /// The process, where the agent started it.
    pub pid: Option<i32>,
    /// The generation that it took up.
    pub generation: u64,
    /// The generation that it should be on.
    pub wanted: u64,
    /// Whether it works with what is no longer current.
    pub stale: bool,
    /// Since when it is on its generation.
    pub since: Option<Timestamp>,
    /// The secrets that it holds.
    pub holds: Vec<SourceRecord>,
    /// Why it is not on the generation that it should be on.
    pub problem: Option<String>,
}

impl Status {
    /// What most needs doing; nothing when all is well.
    pub fn worst(&self) -> Option<String> {
        if !self.server.reachable {
            let why = self.server.problem.as_deref().unwrap_or("no answer yet");
            return Some(format!("the server does not answer ({why}); files stay as they are"));
        }
        if !self.server.logged_in {
            return Some("the agent is not logged in".to_owned());
        }
        let ill = self.files.iter().find_map(|file| Some((file, file.problem.as_ref()?)));
        if let Some((file, problem)) = ill {
            let what = match file.state {
                FileState::Waiting => "was never rendered",
                _ => "is not up to date",
            };
            return Some(format!("{} {what}: {}", file.destination.display(), problem.message));
        }
        let ill = self.variables.iter().find_map(|one| Some((&one.name, one.problem.as_ref()?)));
        if let Some((name, problem)) = ill {
            return Some(format!("${name} is not up to date: {}", problem.message));
        }
        let stale = self.consumers.iter().find(|consumer| consumer.stale)?;
        let why = stale.problem.as_deref().unwrap_or("it is being told");
        Some(format!(
            "{} is on generation {}, not on {}: {why}",
            stale.name, stale.generation, stale.wanted
        ))
    }
}

#[cfg(test)]
mod tests;
