//! What the agents of this machine deliver, for people: how each stands, and where a secret went.

pub(crate) mod ages;
pub(crate) mod status;
pub(crate) mod trace;

use std::path::PathBuf;

use holdfast_agent::generation::SourceRecord;
use holdfast_agent::status::{self as agents, Status, StatusError};

/// The agents that answer, and why others do not. What a killed agent left behind is neither.
pub(crate) async fn ask(sockets: Vec<PathBuf>) -> (Vec<Status>, Vec<String>) {
    let (mut answers, mut silent) = (Vec::new(), Vec::new());
    for socket in sockets {
        match agents::read(&socket).await {
            Ok(status) => answers.push(status),
            Err(StatusError::Gone(_)) => {}
            Err(error) => silent.push(error.to_string()),
        }
    }
    (answers, silent)
}

/// A secret with its version, where it has one: `kv/data/app v7`.
fn source(source: &SourceRecord) -> String {
    match source.version {
        Some(version) => format!("{} v{version}", source.path),
        None => source.path.clone(),
    }
}
