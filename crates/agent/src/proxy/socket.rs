//! Sockets that the agent listens on.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_listen::{Access, UnixError};
use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::{TcpListener, UnixListener};

use super::ProxyError;
use super::tls::Tls;
use crate::config::{ListenerConfig, Principal, SocketConfig};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address or file cannot be listened on.
    #[error("listen on {0}")]
    Bind(String, #[source] io::Error),
    /// The same of a Unix socket.
    #[error(transparent)]
    Unix(#[from] UnixError),
    /// There is no such user or group.
    #[error("there is no user or group {0:?}")]
    Nobody(String),
}

/// A bound socket with its settings.
pub(super) struct Listener {
    pub(super) config: ListenerConfig,
    pub(super) socket: Socket,
    pub(super) tls: Option<Arc<Tls>>,
}

pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(super) async fn open(config: ListenerConfig) -> Result<Self, ProxyError> {
        let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let socket = match &config.socket {
            SocketConfig::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                let failed = |error| BindError::Bind(address.to_string(), error);
                Socket::Tcp(listener.map_err(failed)?)
            }
            SocketConfig::Unix { path, mode, user, group } => {
                let listener = bind_unix(path, *mode, user.as_ref(), group.as_ref())?;
                Socket::Unix(listener, path.clone())
            }
        };
        Ok(Self { config, socket, tls })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.socket {
            // With the real port, where port 0 was asked for.
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{scheme}://{address}"),
                Err(error) => write!(f, "{scheme}://? ({error})"),
            },
            Socket::Unix(_, path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_unix(
    path: &Path,
    mode: u32,
    user: Option<&Principal>,
    group: Option<&Principal>,
) -> Result<UnixListener, BindError> {
    let user = user.map(user_id).transpose()?;
    let group = group.map(group_id).transpose()?;
    let listener = holdfast_listen::unix(path, Access { mode, user, group })?;
    let failed = |error| BindError::Bind(path.display().to_string(), error);
    UnixListener::from_std(listener).map_err(failed)
}

fn user_id(user: &Principal) -> Result<u32, BindError> {
    match user {
        Principal::Id(id) => Ok(*id),
        Principal::Name(name) => {
            let found = User::from_name(name).ok().flatten();
            found.map(|user| Uid::as_raw(user.uid)).ok_or_else(|| BindError::Nobody(name.clone()))
        }
    }
}

fn group_id(group: &Principal) -> Result<u32, BindError> {
    match group {
        Principal::Id(id) => Ok(*id),
        Principal::Name(name) => {
            let found = Group::from_name(name).ok().flatten();
            found.map(|group| Gid::as_raw(group.gid)).ok_or_else(|| BindError::Nobody(name.clone()))
        }
    }
}
