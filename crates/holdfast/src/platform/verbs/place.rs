//! Which platform a command is about.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::super::config::Platform;
use super::super::control::{self, Request};
use super::super::spiffe::Sockets;
use super::super::state::State;
use super::super::vault;

/// Where a platform and its state are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// The platform directory, which holds holdfast.toml.
    #[arg(default_value = ".", value_name = "PLATFORM")]
    pub(crate) platform: PathBuf,
    /// The state directory [default: /var/lib/holdfast/<name> as root, otherwise
    /// `$XDG_STATE_HOME/holdfast/<name>`].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) state: Option<PathBuf>,
}

/// The same for commands whose argument is a part.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceOption {
    /// The platform directory, which holds holdfast.toml.
    #[arg(long, short = 'C', default_value = ".", value_name = "DIRECTORY")]
    platform: PathBuf,
    /// The state directory.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
}

impl From<PlaceOption> for Place {
    fn from(PlaceOption { platform, state }: PlaceOption) -> Self {
        Self { platform, state }
    }
}

impl Place {
    /// The state directory's path, whether or not it is there.
    pub(crate) fn state_path(&self) -> anyhow::Result<PathBuf> {
        match &self.state {
            Some(path) => Ok(std::path::absolute(path)?),
            None => State::default_path(&Platform::read(&self.platform)?.name),
        }
    }

    /// The state of a platform that was started before.
    pub(crate) fn state(&self) -> anyhow::Result<State> {
        let path = self.state_path()?;
        State::open(&path)?.with_context(|| {
            format!(
                "this platform was never started: there is no state in {}; start it with `holdfast up {}`",
                path.display(),
                self.platform.display()
            )
        })
    }

    /// The store of its secrets server, where that is the embedded one.
    pub(crate) fn store(&self) -> anyhow::Result<PathBuf> {
        Ok(vault::store_file(&self.state()?))
    }

    /// Asks the supervisor, which has to be there.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let state = self.state()?;
        control::ask(&state, request).await?.with_context(|| {
            format!("the platform is down; start it with `holdfast up {}`", self.hint(&state))
        })
    }

    /// What to type to mean this platform.
    fn hint(&self, state: &State) -> String {
        let platform = self.platform.display().to_string();
        match &self.state {
            Some(_) => format!("{platform} --state {}", state.directory().display()),
            None => platform,
        }
    }

    /// The platform directory, absolute where it exists.
    pub(crate) fn platform_path(&self) -> PathBuf {
        self.platform.canonicalize().unwrap_or_else(|_| Path::new(&self.platform).to_owned())
    }
}

/// Where the SPIFFE server and agent of a platform are reached, if it was started.
pub(crate) fn platform_sockets(platform: PathBuf, state: Option<PathBuf>) -> Option<Sockets> {
    let place = Place { platform, state };
    let record = place.state().ok()?.record().ok()??;
    let of = Platform::read(&place.platform).or_else(|_| Platform::read(&record.platform));
    let socket = of.ok().and_then(|platform| platform.spiffe.socket);
    Some(Sockets::of(&record.secrets?, socket.as_ref()))
}
