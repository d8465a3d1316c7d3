//! `server`: runs the secrets server.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdfast_barrier::process::{self, Dumpable};
use holdfast_types::{SystemClock, SystemRandom};
use holdfast_vault::config::{self, ServerConfig};
use holdfast_vault::http::Inherited;
use holdfast_vault::logs::{LogFileSettings, LogFormat, Logs};
use holdfast_vault::server::{DevSettings, Server as VaultServer, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::connection::chain;
use super::{Failure, Outcome, environment, values};
use crate::resident;

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
    /// [env: `BAO_LOG_LEVEL`]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to log: standard or json. [env: `BAO_LOG_FORMAT`]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log to this file besides stderr; to bao.log where it ends with a slash.
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Begin another log file after so many bytes; the old one is named after the time.
    #[arg(long, value_name = "BYTES", value_parser = values::integer)]
    log_rotate_bytes: Option<i64>,
    /// Begin another log file after this time. [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    log_rotate_duration: Option<Duration>,
    /// How many older log files stay: 0 for all, -1 for none. [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = values::integer)]
    log_rotate_max_files: Option<i64>,
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

    /// Where the log goes besides stderr. Flags win over the configuration.
    fn log_file(&self, config: &ServerConfig) -> Option<LogFileSettings> {
        let mut file = match (&self.log_file, &config.log_file) {
            (Some(path), Some(file)) => LogFileSettings { path: path.clone(), ..file.clone() },
            (Some(path), None) => LogFileSettings::new(path.clone()),
            (None, Some(file)) => file.clone(),
            (None, None) => return None,
        };
        if let Some(bytes) = self.log_rotate_bytes {
            file.rotate_bytes = u64::try_from(bytes).unwrap_or(0);
        }
        if let Some(time) = self.log_rotate_duration.filter(|time| !time.is_zero()) {
            file.rotate_after = time;
        }
        file.max_files = self.log_rotate_max_files.unwrap_or(file.max_files);
        Some(file)
    }

    fn log(&self, config: &ServerConfig) -> Result<Arc<Logs>, Failure> {
        let level = self.log_level.clone().or_else(|| environment::read("LOG_LEVEL"));
        let level = level.as_deref().unwrap_or(&config.log_level);
        let level = values::log_level(level).ok_or_else(|| {
            Failure::Usage("-log-level is one of trace, debug, info, warn and error".to_owned())
        })?;
        let format = self.log_format.clone().or_else(|| environment::read("LOG_FORMAT"));
        let format = match format.as_deref() {
            None if config.log_json => LogFormat::Json,
            None | Some("standard") => LogFormat::Standard,
            Some("json") => LogFormat::Json,
            Some(_) => {
                return Err(Failure::Usage("-log-format is standard or json".to_owned()));
            }
        };
        let logs = Logs::install(level, format, self.log_file(config), Arc::new(SystemClock));
        logs.map_err(|error| Failure::Usage(format!("write the log: {}", chain(&error))))
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
        tokio::spawn(resident::settle());
        server.run(shutdown).await.map_err(|error| failed(&error))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Cancels `shutdown` on SIGTERM and SIGINT. A second signal does not wait for the first.
pub(crate) fn stop_on_signal(shutdown: &CancellationToken) -> io::Result<()> {
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
