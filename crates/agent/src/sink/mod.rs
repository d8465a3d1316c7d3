//! Sinks: files that hold the token, for programs that have no agent of their own.

mod encryption;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::SecretString;
use serde_json::json;
use tokio::sync::watch;
use tracing::{error, info};

use crate::auth::wrap_info_json;
use crate::chain;
use crate::config::SinkConfig;
use crate::generation::{self, Owner};
use crate::session::{Session, State};
use encryption::Sealer;

/// How long to wait after a sink could not be written.
const AGAIN: Duration = Duration::from_secs(2);

/// Why a sink cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file.
    #[error("write the sink {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server does not wrap the token.
    #[error("wrap the token")]
    Wrap(#[source] VaultError),
    /// The reader's public key.
    #[error("{} holds no public key: {problem}", path.display())]
    PeerKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// All sinks of the agent.
pub(crate) struct Sinks(Vec<Sink>);

struct Sink {
    config: SinkConfig,
    sealer: Option<Sealer>,
}

impl Sinks {
    /// Looks whether each can be written, before anything else is done.
    pub(crate) fn open(configs: &[SinkConfig]) -> Result<Self, SinkError> {
        let mut sinks = Vec::new();
        for config in configs {
            probe(&config.path)
                .map_err(|source| SinkError::Write { path: config.path.clone(), source })?;
            let sealer = config.encryption.clone().map(Sealer::new);
            sinks.push(Sink { config: config.clone(), sealer });
        }
        Ok(Self(sinks))
    }

    /// Writes every new token into every sink, until the session ends. `written` becomes the number
    /// of the login whose token is in all of them.
    pub(crate) async fn run(mut self, session: Session, written: watch::Sender<u64>) {
        let mut states = session.states();
        let mut last = 0;
        loop {
            let state = states.borrow_and_update().clone();
            let generation = match &state {
                State::LoggedOut => last,
                State::LoggedIn(login) => login.generation,
                State::Wrapped { generation, .. } => *generation,
            };
            if generation != last {
                // A newer token makes this one's sinks moot.
                let all = self.write_all(&state);
                tokio::select! {
                    () = all => {
                        last = generation;
                        written.send_replace(generation);
                    }
                    () = newer(&mut states, generation) => continue,
                }
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes until each is written.
    async fn write_all(&mut self, state: &State) {
        let mut left: Vec<_> = self.0.iter_mut().collect();
        while !left.is_empty() {
            let mut failed = Vec::new();
            for sink in left {
                match sink.write(state).await {
                    Ok(()) => info!(path = %sink.config.path.display(), "token written"),
                    Err(error) => {
                        error!(error = %chain(&error), again.ms = AGAIN.as_millis(), "write a sink");
                        failed.push(sink);
                    }
                }
            }
            left = failed;
            if !left.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Waits for another login than this, for ever where there will be none.
async fn newer(states: &mut watch::Receiver<State>, generation: u64) {
    let is_newer = |state: &State| match state {
        State::LoggedOut => true,
        State::LoggedIn(login) => login.generation != generation,
        State::Wrapped { generation: other, .. } => *other != generation,
    };
    if states.wait_for(is_newer).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Sink {
    async fn write(&mut self, state: &State) -> Result<(), SinkError> {
        let mut text = match state {
            State::LoggedOut => return Ok(()),
            State::Wrapped { wrap_info, .. } => wrap_info.clone(),
            State::LoggedIn(login) => match self.config.wrap_ttl {
                Some(ttl) => wrap(&login.client, ttl).await.map_err(SinkError::Wrap)?,
                None => login.client.token().cloned().unwrap_or_default(),
            },
        };
        if let Some(sealer) = &mut self.sealer {
            text = sealer.seal(&text)?;
        }
        let owner = Owner { user: self.config.uid, group: self.config.gid };
        let (path, mode) = (&self.config.path, self.config.mode);
        generation::replace(path, text.expose().as_bytes(), mode, owner)
            .map_err(|source| SinkError::Write { path: path.clone(), source })
    }
}

/// Looks whether a file could be put at `path`, and puts none.
fn probe(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    name.push(".probe");
    let probe = path.with_file_name(name);
    generation::replace(&probe, b"", 0o600, Owner::default())?;
    std::fs::remove_file(probe)
}

/// A token that gives out the token of `client`, once.
async fn wrap(client: &VaultClient, ttl: Duration) -> Result<SecretString, VaultError> {
    let wrapping = client.with_wrap_ttl(Some(format!("{}s", ttl.as_secs().max(1))));
    let token = client.token().cloned().unwrap_or_default();
    let reply = wrapping.write("sys/wrapping/wrap", &json!({ "token": token.expose() })).await?;
    let info = reply.wrap_info.ok_or_else(|| VaultError::Malformed {
        request: "PUT sys/wrapping/wrap".into(),
        problem: "it holds no wrap_info".into(),
    })?;
    Ok(wrap_info_json(&info))
}

#[cfg(test)]
mod tests;
