//! Which agents deliver a secret, and who has taken up which version. What an agent says is judged
//! here without I/O.

use std::path::PathBuf;

use holdfast_agent::generation::SourceRecord;
use holdfast_agent::status::{self as agents, ConsumerStatus, FileStatus, Status};
use holdfast_types::Timestamp;

use super::record::{Straggler, Watched};

/// The newest that readers of a secret should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// This version or a later one.
    Version(u64),
    /// What the engine rotated at this moment of its clock, or later, where versions are not counted.
    Rotated(Timestamp),
    /// Anything that was delivered.
    Any,
}

/// How one agent stands to a secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Files and variables that are not yet as they should be.
    pub(crate) files: Vec<Straggler>,
    /// Consumers that have not taken up what they should.
    pub(crate) consumers: Vec<Straggler>,
    /// How many consumers were looked at.
    pub(crate) watched: usize,
}

/// The name that agents give to the process which they run.
const PROCESS: &str = "process";

/// Asks agents: each answer with its socket, or why there is none.
pub(crate) async fn ask(
    sockets: &[PathBuf],
) -> Vec<(PathBuf, Result<Status, agents::StatusError>)> {
    let asked = sockets.iter().map(async |socket| (socket.clone(), agents::read(socket).await));
    futures_util::future::join_all(asked).await
}

/// Whether the agent delivers what is at `path`, or a consumer of it still holds that.
pub(crate) fn delivers(status: &Status, path: &str) -> bool {
    let mut sources = status
        .files
        .iter()
        .map(|file| &file.sources)
        .chain(status.variables.iter().map(|variable| &variable.sources))
        .chain(status.consumers.iter().map(|consumer| &consumer.holds));
    sources.any(|sources| of(sources, path).is_some())
}

/// Whether the agent is of another secrets server than the one of this `cluster`, where a secret of
/// that path is another one. Where it is not known, it is not.
pub(crate) fn is_elsewhere(status: &Status, cluster: Option<&str>) -> bool {
    let its = status.server.cluster.as_deref();
    its.zip(cluster).is_some_and(|(its, ours)| its != ours)
}

/// The agent as it is written down.
pub(crate) fn watched(status: &Status, socket: PathBuf) -> Watched {
    Watched { name: status.name.clone(), socket }
}

/// How the agent stands to the secret at `path`.
pub(crate) fn standing(status: &Status, path: &str, mark: Mark) -> Standing {
    let mut standing = Standing::default();
    let straggler = |name: String, version, since, problem| Straggler {
        agent: status.name.clone(),
        name,
        pid: None,
        version,
        since,
        problem,
    };
    let files: Vec<&FileStatus> =
        status.files.iter().filter(|file| of(&file.sources, path).is_some()).collect();
    for file in &files {
        let source = of(&file.sources, path);
        if !mark.is_met(source) || file.problem.is_some() {
            let version = source.and_then(|source| source.version);
            let problem = file.problem.as_ref().map(|problem| problem.message.clone());
            let name = file.destination.display().to_string();
            standing.files.push(straggler(name, version, file.changed, problem));
        }
    }
    let variables: Vec<_> =
        status.variables.iter().filter(|one| of(&one.sources, path).is_some()).collect();
    for variable in &variables {
        let source = of(&variable.sources, path);
        if !mark.is_met(source) || variable.problem.is_some() {
            let version = source.and_then(|source| source.version);
            let problem = variable.problem.as_ref().map(|problem| problem.message.clone());
            standing.files.push(straggler(format!("${}", variable.name), version, None, problem));
        }
    }
    for consumer in &status.consumers {
        let its: Vec<_> =
            files.iter().filter(|file| consumer.files.contains(&file.destination)).collect();
        let by_variables = consumer.name == PROCESS && !variables.is_empty();
        if its.is_empty() && !by_variables {
            continue;
        }
        standing.watched += 1;
        // A consumer is on the generation that it acknowledged, and a file of the generation that
        // brought its bytes: what changed between the two was not taken up.
        let newest = its.iter().filter_map(|file| file.generation).max().unwrap_or(0);
        if consumer.stale || consumer.generation < newest {
            standing.consumers.push(Straggler {
                pid: consumer.pid,
                ..straggler(
                    name_of(consumer, its.first().copied().copied()),
                    held(consumer, path),
                    consumer.since,
                    consumer.problem.clone(),
                )
            });
        }
    }
    standing
}

/// A consumer by what it uses: how it is told can be a long line, or the same for many.
fn name_of(consumer: &ConsumerStatus, file: Option<&FileStatus>) -> String {
    match file {
        Some(file) if consumer.name != PROCESS => {
            format!("whoever uses {}", file.destination.display())
        }
        _ => consumer.name.clone(),
    }
}

/// The version that a consumer said it holds.
fn held(consumer: &ConsumerStatus, path: &str) -> Option<u64> {
    consumer
        .holds
        .iter()
        .filter(|source| source.path == path)
        .filter_map(|source| source.version)
        .min()
}

fn of<'a>(sources: &'a [SourceRecord], path: &str) -> Option<&'a SourceRecord> {
    sources.iter().find(|source| source.path == path)
}

impl Mark {
    fn is_met(self, source: Option<&SourceRecord>) -> bool {
        let Some(source) = source else { return false };
        match self {
            Self::Version(wanted) => source.version.is_some_and(|version| version >= wanted),
            Self::Rotated(wanted) => {
                let rotated = source.rotated.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
                rotated.is_some_and(|rotated| rotated >= wanted)
            }
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests;
