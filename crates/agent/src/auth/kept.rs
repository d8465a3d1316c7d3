//! A secret id that outlives its wrapping token.
//!
//! A wrapping token is good for one use. An agent that is started again finds it spent, and nobody
//! there to make another. So the secret id inside is kept in a file that the agent's user alone can
//! read, in memory (tmpfs) and never on a disk, until the server refuses it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::source;
use crate::config::{AgentConfig, MethodConfig};
use crate::files;
use crate::generation::is_memory;

/// Where the agent's state is where nothing says so.
const STATE_DIR: &str = "/run/holdfast-agent";

/// The file that one agent keeps its secret id in.
pub(super) struct Kept {
    path: PathBuf,
}

/// What is in it.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Which wrapping token it came from: SHA-256, hexadecimal.
    wrapping_token: String,
    secret_id: SecretString,
}

impl Kept {
    /// The place for this agent, where there is one. Its name depends on the server, the mount and
    /// the role, so that agents do not take each other's.
    pub(super) fn open(
        agent: &AgentConfig,
        method: &MethodConfig,
        role_id_file: &Path,
    ) -> Option<Self> {
        let folder = state_dir(agent.state_dir.as_deref());
        match prepare(&folder) {
            Ok(()) => {
                let who = format!(
                    "{}\n{}\n{}\n{}",
                    agent.server.address,
                    agent.server.namespace.as_deref().unwrap_or_default(),
                    method.mount_path,
                    role_id_file.display()
                );
                let name = format!("secret-id-{}.json", &hash(who.as_bytes())[..16]);
                Some(Self { path: folder.join(name) })
            }
            Err(error) => {
                warn!(folder = %folder.display(), %error, "state cannot be kept there");
                None
            }
        }
    }

    /// The secret id, if it came from this wrapping token.
    pub(super) fn of(&self, wrapping_token: &SecretString) -> Option<SecretString> {
        let record = self.read()?;
        let same = record.wrapping_token == hash(wrapping_token.expose().as_bytes());
        same.then_some(record.secret_id)
    }

    /// The secret id, whichever wrapping token it came from.
    pub(super) fn any(&self) -> Option<SecretString> {
        self.read().map(|record| record.secret_id)
    }

    pub(super) fn keep(&self, wrapping_token: &SecretString, secret_id: &SecretString) {
        let record = Record {
            wrapping_token: hash(wrapping_token.expose().as_bytes()),
            secret_id: secret_id.clone(),
        };
        let text = Zeroizing::new(serde_json::to_vec(&record).unwrap_or_default());
        match files::replace(&self.path, &text, 0o600) {
            Ok(()) => info!(path = %self.path.display(), "kept the secret id for the next start"),
            Err(error) => warn!(%error, path = %self.path.display(), "keep the secret id"),
        }
    }

    pub(super) fn forget(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%error, path = %self.path.display(), "forget the secret id");
            }
            _ => {}
        }
    }

    fn read(&self) -> Option<Record> {
        let text = source::read(&self.path).ok()??;
        serde_json::from_str(text.expose()).ok()
    }
}

/// The configured folder; else the one that systemd made for the service; else one of the user's,
/// or the system's.
fn state_dir(configured: Option<&Path>) -> PathBuf {
    if let Some(folder) = configured {
        return folder.to_owned();
    }
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("RUNTIME_DIRECTORY") {
        return folder;
    }
    match variable("XDG_RUNTIME_DIR") {
        Some(folder) => folder.join("holdfast-agent"),
        None => STATE_DIR.into(),
    }
}

/// Makes the folder, and looks whether secrets are safe in it.
fn prepare(folder: &Path) -> io::Result<()> {
    files::private_directory(folder)?;
    if !is_memory(folder)? {
        return Err(io::Error::other("it is on a disk; set state_dir to a folder on tmpfs"));
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}
