//! `agent`: runs the agent, and the way to it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use holdfast_barrier::process::{self, Dumpable};
use holdfast_spiffe::Source;
use holdfast_spiffe::agent::attest::Introductions;
use holdfast_spiffe::agent::{Agent as SpiffeAgent, AgentOptions};
use holdfast_spiffe::proto::agent::agent_admin_client::AgentAdminClient;
use holdfast_spiffe::remote::{RemoteSource, unix_channel};
use holdfast_types::{SpiffeId, SystemClock, SystemRandom};
use holdfast_vault::http::Inherited;
use holdfast_vault::logs::{LogFormat, Logs};
use nix::unistd::Uid;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::connection::{DEFAULT_SOCKET, OfPlatform};
use super::join::Join;
use super::kubelet::Kubernetes;
use crate::resident;
use crate::vault::{log_level, stop_on_signal};

/// The name that a supervisor gives the socket on which it introduces its children.
const INTRODUCTIONS: &str = "introductions";
/// The name of a socket that workloads connect to, and that was made for the agent.
const LISTENER: &str = "agent";

/// Run a SPIFFE agent, which hands each workload of this machine its own identities.
///
/// Workloads connect to its Unix socket and need no secret: the kernel says who they are, and the
/// server's entries say what is theirs. It serves the SPIFFE Workload API and Envoy's Secret
/// Discovery Service. A service manager can make the socket (`LISTEN_FDS`); -socketPath then only
/// says where it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe agent\n  \
                  holdfast spiffe agent -socketPath /run/spire/sockets/agent.sock\n  \
                  holdfast spiffe agent -serverAddress spiffe.demo.local -trustDomain demo.local \\\n    \
                  -trustBundle bundle.pem -dataDir agent -joinTokenFile token")]
pub(super) struct Agent {
    /// Where workloads connect [default: /run/holdfast/spiffe/agent.sock, without root in
    /// `$XDG_RUNTIME_DIR`]
    #[arg(long = "socketPath", value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// Where operators connect [default: agent-admin.sock beside it]
    #[arg(long = "adminSocketPath", value_name = "PATH")]
    admin_socket_path: Option<PathBuf>,
    /// The server's Unix socket, where the server is on this machine.
    #[arg(
        long = "serverSocketPath",
        value_name = "PATH",
        default_value = DEFAULT_SOCKET,
        env = "HOLDFAST_SPIFFE_SOCKET"
    )]
    server_socket_path: PathBuf,
    /// Who may ask for the identities of a supervisor's children, by SPIFFE ID; may be repeated. It
    /// connects to the socket for operators, as SPIRE's delegates do.
    #[arg(long = "authorizedDelegate", value_name = "ID")]
    authorized_delegates: Vec<SpiffeId>,
    /// How much to log: trace, debug, info, warn or error.
    #[arg(long = "logLevel", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// How to log.
    #[arg(long = "logFormat", value_name = "FORMAT", default_value = "standard")]
    log_format: Format,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    kubernetes: Kubernetes,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Standard,
    Json,
}

/// Where an agent listens that says nothing else.
pub(super) fn default_socket() -> PathBuf {
    const PLACE: &str = "holdfast/spiffe/agent.sock";
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !Uid::effective().is_root());
    own.map_or_else(
        || Path::new("/run").join(PLACE),
        |directory| PathBuf::from(directory).join(PLACE),
    )
}

fn beside(socket: &Path) -> PathBuf {
    socket.with_file_name("agent-admin.sock")
}

impl Agent {
    /// Runs until a signal ends it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let protected = process::protect(Dumpable::No);
        // Before anything opens a descriptor that could be taken for one of them.
        let mut inherited = Inherited::take_from_environment();
        let level = log_level(&self.log_level)
            .ok_or_else(|| anyhow!("-logLevel is one of trace, debug, info, warn and error"))?;
        let format = match self.log_format {
            Format::Standard => LogFormat::Standard,
            Format::Json => LogFormat::Json,
        };
        Logs::install(level, format, None, Arc::new(SystemClock)).context("write the log")?;
        if let Err(error) = protected {
            tracing::warn!(%error, "this process's memory is not kept from others");
        }
        let introductions = inherited.take(INTRODUCTIONS).map(Introductions::new);
        let listener = inherited.take(LISTENER).or_else(|| match &inherited.names()[..] {
            // Service managers name it after their own files.
            [one] => inherited.take(one),
            _ => None,
        });
        holdfast_keys::ready_randomness();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.serve(introductions, listener));
        // Blocking work, such as the hash of a large program, does not keep the process.
        runtime.shutdown_background();
        outcome
    }

    async fn serve(
        self,
        introductions: Option<Introductions>,
        listener: Option<OwnedFd>,
    ) -> anyhow::Result<()> {
        let shutdown = CancellationToken::new();
        stop_on_signal(&shutdown).context("listen for signals")?;
        let socket = self.socket_path.unwrap_or_else(default_socket);
        let source: Arc<dyn Source> = match self.join.join(Arc::new(SystemClock), &shutdown).await?
        {
            Some(joined) => Arc::new(joined),
            None => Arc::new(RemoteSource::unix(&self.server_socket_path)),
        };
        let kubelet = self.kubernetes.kubelet()?;
        let agent = SpiffeAgent::build(AgentOptions {
            admin_socket: self.admin_socket_path.unwrap_or_else(|| beside(&socket)),
            socket: socket.clone(),
            listener,
            source,
            introductions,
            kubelet,
            authorized_delegates: self.authorized_delegates.into_iter().collect(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        })?;
        tracing::info!(socket = %socket.display(), "the agent listens");
        tokio::spawn(resident::settle());
        agent.run(shutdown).await.context("serve workloads")
    }
}

/// The agent to ask, as an operator.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The agent's socket for operators [default: that of the platform of this directory, else
    /// agent-admin.sock beside the agent's socket]
    #[arg(
        long = "adminSocketPath",
        value_name = "PATH",
        env = "HOLDFAST_SPIFFE_AGENT_ADMIN_SOCKET"
    )]
    admin_socket_path: Option<PathBuf>,
    #[command(flatten)]
    platform: OfPlatform,
}

impl Connection {
    /// A client of the agent's.
    pub(super) fn admin(&self) -> AgentAdminClient<Channel> {
        AgentAdminClient::new(unix_channel(&self.path()))
    }

    /// The answer to a call, or why there is none.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> anyhow::Result<T> {
        super::connection::answer(&self.path(), "holdfast spiffe agent", call).await
    }

    fn path(&self) -> PathBuf {
        let given = self.admin_socket_path.clone();
        let given = given.or_else(|| self.platform.sockets().map(|sockets| sockets.admin));
        given.unwrap_or_else(|| beside(&default_socket()))
    }
}
