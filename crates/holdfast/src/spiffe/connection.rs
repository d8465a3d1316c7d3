//! The way to the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use holdfast_spiffe::proto::node::admin_client::AdminClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// Where a server listens that says nothing else.
pub(super) const DEFAULT_SOCKET: &str = "/run/holdfast/spiffe/server.sock";

const LIMIT: Duration = Duration::from_secs(30);

/// The server to ask.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The server's Unix socket. It knows its operators by the kernel's word: root, and the user
    /// it runs as.
    #[arg(
        long = "socketPath",
        value_name = "PATH",
        default_value = DEFAULT_SOCKET,
        env = "HOLDFAST_SPIFFE_SOCKET"
    )]
    socket_path: PathBuf,
}

impl Connection {
    /// A client of the server's.
    pub(super) fn admin(&self) -> AdminClient<Channel> {
        holdfast_spiffe::remote::admin(&self.socket_path)
    }

    /// The answer to a call, or why there is none.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> anyhow::Result<T> {
        answer(&self.socket_path, "holdfast spiffe server", call).await
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
