//! The way to the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use holdfast_spiffe::proto::node::admin_client::AdminClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::platform::verbs::{Sockets, platform_sockets};

/// Where a server listens that says nothing else.
pub(super) const DEFAULT_SOCKET: &str = "/run/holdfast/spiffe/server.sock";

const LIMIT: Duration = Duration::from_secs(30);

/// The server to ask.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The server's Unix socket. It knows its operators by the kernel's word: root, and the user
    /// it runs as [default: that of the platform of this directory, else
    /// /run/holdfast/spiffe/server.sock]
    #[arg(long = "socketPath", value_name = "PATH", env = "HOLDFAST_SPIFFE_SOCKET")]
    socket_path: Option<PathBuf>,
    #[command(flatten)]
    platform: OfPlatform,
}

/// A platform whose server and agent are meant.
#[derive(Debug, Args)]
pub(super) struct OfPlatform {
    /// The platform directory, which holds holdfast.toml [default: this directory, where it does]
    #[arg(long = "platform", value_name = "DIRECTORY")]
    platform: Option<PathBuf>,
    /// The platform's state directory.
    #[arg(long = "state", value_name = "DIRECTORY")]
    state: Option<PathBuf>,
}

impl OfPlatform {
    /// Its sockets, where there is one that was started.
    pub(super) fn sockets(&self) -> Option<Sockets> {
        let directory = self.platform.clone().unwrap_or_else(|| PathBuf::from("."));
        platform_sockets(directory, self.state.clone())
    }
}

impl Connection {
    /// A client of the server's.
    pub(super) fn admin(&self) -> AdminClient<Channel> {
        holdfast_spiffe::remote::admin(&self.path())
    }

    /// The answer to a call, or why there is none.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> anyhow::Result<T> {
        answer(&self.path(), "holdfast spiffe server", call).await
    }

    fn path(&self) -> PathBuf {
        let given = self.socket_path.clone();
        let given = given.or_else(|| self.platform.sockets().map(|sockets| sockets.server));
        given.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
    }
}

/// The answer of whoever listens on `socket`, which `command` would be, or why there is none.
pub(super) async fn answer<T>(
    socket: &Path,
    command: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> anyhow::Result<T> {
    let answer = tokio::time::timeout(LIMIT, call).await;
    match answer.map_err(|_| anyhow!("{command} did not answer in time"))? {
        Ok(response) => Ok(response.into_inner()),
        Err(status) if std::error::Error::source(&status).is_some() => {
            let path = socket.display();
            Err(anyhow!("nobody answers at {path}; is `{command}` running?"))
        }
        Err(status) => Err(anyhow!("{}", status.message().to_owned())),
    }
}
