//! `server`: runs the secrets server.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use holdfast_barrier::process::{self, Dumpable};
use holdfast_types::{SystemClock, SystemRandom};
use holdfast_vault::config::{self, ServerConfig};
use holdfast_vault::http::Inherited;
use holdfast_vault::logs::{LogFormat, Logs};
use holdfast_vault::server::{DevSettings, Server as VaultServer, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::connection::chain;
use super::{Failure, Outcome, values};

mod dev;

/// Run a secrets server.
///
/// It reads HCL or JSON configuration files as Vault and OpenBao do. With -dev it needs none: it
/// keeps everything in memory, is open from the start, and must not be used for anything that
/// matters.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vault server -config=/etc/vault.hcl\n  vault server -dev")]
pub(super) struct Server {
    /// A configuration file, or a folder of them; can be given several times.
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// How much to log: trace, debug, info, warn or error.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to log: standard or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    #[command(flatten)]
    dev: dev::Flags,
}

impl Server {
    /// Runs until a signal ends it.
    pub(super) fn run(self) -> Outcome {
        let protected = process::protect(Dumpable::No);
        // Before anything opens a descriptor that could be taken for one of them.
        let inherited = Inherited::take_from_environment();
        let (config, dev) = self.config()?;
        let logs = self.log(&config)?;
        if let Err(error) = protected {
            tracing::warn!(%error, "this process's memory is not kept from others");
        }
        let options = ServerOptions { dev, logs, inherited, ..ServerOptions::new(config) };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Usage(format!("start: {error}")))?;
        runtime.block_on(self.serve(options))
    }

    fn config(&self) -> Result<(ServerConfig, Option<DevSettings>), Failure> {
        if self.dev.enabled() {
            if !self.config.is_empty() {
                let text = "-dev and -config exclude each other";
                return Err(Failure::Usage(text.to_owned()));
            }
            let config = self.dev.config(&SystemClock, &SystemRandom)?;
            return Ok((config, Some(self.dev.settings())));
        }
        if self.config.is_empty() {
            let text = "Must specify at least one config path using -config";
            return Err(Failure::Usage(text.to_owned()));
        }
        let config = config::load(&self.config).map_err(|error| {
            Failure::Usage(format!("the configuration cannot be used:\n{error}"))
        })?;
        Ok((config, None))
    }

    /// Log lines go to stderr.
    fn log(&self, config: &ServerConfig) -> Result<Arc<Logs>, Failure> {
        let level = self.log_level.as_deref().unwrap_or(&config.log_level);
        let level = values::log_level(level).ok_or_else(|| {
            Failure::Usage("-log-level is one of trace, debug, info, warn and error".to_owned())
        })?;
        let format = match self.log_format.as_deref() {
            None if config.log_json => LogFormat::Json,
            None | Some("standard") => LogFormat::Standard,
            Some("json") => LogFormat::Json,
            Some(_) => {
                return Err(Failure::Usage("-log-format is standard or json".to_owned()));
            }
        };
        let logs = Logs::install(level, format, Arc::new(SystemClock));
        logs.map_err(|error| Failure::Usage(format!("write the log: {error}")))
    }

    async fn serve(&self, options: ServerOptions) -> Outcome {
        let failed = |error: &dyn std::error::Error| Failure::Usage(chain(error));
        let shutdown = CancellationToken::new();
        stop_on_signal(&shutdown)
            .map_err(|error| Failure::Usage(format!("listen for signals: {error}")))?;
        let server = VaultServer::build(options).await.map_err(|error| failed(&error))?;
        if let Some(credentials) = server.dev_credentials() {
            self.dev.announce(&server.addresses(), credentials)?;
        }
        server.run(shutdown).await.map_err(|error| failed(&error))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Cancels `shutdown` on SIGTERM and SIGINT. A second signal does not wait for the first.
fn stop_on_signal(shutdown: &CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped without waiting for the requests under way");
        std::process::exit(1);
    });
    Ok(())
}
