//! `server`: runs the secrets server.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdfast_barrier::process::{self, Dumpable};
use holdfast_types::{SystemClock, SystemRandom};
use holdfast_vault::config::{self, ServerConfig};
use holdfast_vault::http::Inherited;
use holdfast_vault::server::{DevSettings, Server as VaultServer, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::connection::chain;
use super::{Failure, Outcome};

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
        self.log(&config)?;
        if let Err(error) = protected {
            tracing::warn!(%error, "this process's memory is not kept from others");
        }
        let options = ServerOptions { dev, inherited, ..ServerOptions::new(config) };
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
    fn log(&self, config: &ServerConfig) -> Result<(), Failure> {
        let level = self.log_level.as_deref().unwrap_or(&config.log_level).to_ascii_lowercase();
        if !["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
            let text = "-log-level is one of trace, debug, info, warn and error";
            return Err(Failure::Usage(text.to_owned()));
        }
        let json = match self.log_format.as_deref() {
            None => config.log_json,
            Some("standard") => false,
            Some("json") => true,
            Some(_) => {
                return Err(Failure::Usage("-log-format is standard or json".to_owned()));
            }
        };
        let filter = log_filter(&level);
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        if json {
            lines.json().init();
        } else {
            lines.with_ansi(false).init();
        }
        Ok(())
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

/// The server's own parts at `level`. Libraries below it warn and no more, whatever the level: what
/// they have to say of a request, such as the statements that a database is sent, is not theirs to
/// write down.
fn log_filter(level: &str) -> EnvFilter {
    let own =
        ["holdfast", "holdfast_auth", "holdfast_barrier", "holdfast_engines", "holdfast_vault"];
    let own = own.map(|part| format!("{part}={level}")).join(",");
    EnvFilter::new(format!("warn,{own}"))
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

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};

    use super::log_filter;

    #[test]
    fn no_level_makes_libraries_talk() {
        for level in ["info", "debug", "trace"] {
            let lines = tracing_subscriber::fmt().with_env_filter(log_filter(level));
            tracing::subscriber::with_default(lines.finish(), || {
                assert!(enabled!(target: "holdfast_vault::core", Level::INFO));
                assert!(enabled!(target: "holdfast_engines::database", Level::INFO));
                assert_eq!(
                    enabled!(target: "holdfast_vault::core", Level::TRACE),
                    level == "trace"
                );
                assert!(!enabled!(target: "tokio_postgres::query", Level::DEBUG));
                assert!(!enabled!(target: "tokio_postgres::prepare", Level::INFO));
                assert!(!enabled!(target: "hyper::proto", Level::INFO));
                assert!(enabled!(target: "tokio_postgres::connection", Level::WARN));
            });
        }
    }
}
