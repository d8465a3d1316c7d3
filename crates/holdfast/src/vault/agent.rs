//! `agent`: logs in, keeps the token, and delivers it and secrets to others.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use holdfast_agent::config::{self, AgentConfig, Overrides};
use holdfast_agent::{Agent as Running, Surroundings};
use holdfast_types::{SystemClock, SystemRandom};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::connection::{Connection, chain};
use super::output::print_line;
use super::{Failure, Outcome, environment};
use crate::resident;
use logging::Logging;

mod generate;
mod logging;
pub(crate) mod process;
mod status;

/// One renders while another passes requests on. An agent runs beside each service, and each thread
/// more has memory of its own.
const THREADS: usize = 2;

/// Run an agent, which logs in for programs that cannot, and brings them what they need.
///
/// It reads the HCL or JSON files of Vault's and OpenBao's agents: it logs in, keeps the token alive,
/// writes it to files (sinks), and passes requests on at its listeners. Flags and environment
/// variables win over the files. SIGHUP reads the files anew: the log level, certificates, templates.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  vault agent -config=/etc/agent.hcl\n  \
                  vault agent -config=/etc/agent.d -exit-after-auth"
)]
pub(super) struct Agent {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    connection: Connection,
    /// A configuration file, or a folder of them; can be given several times
    /// [env: `BAO_AGENT_CONFIG_PATH`]
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// End with code 0 once the token is in every sink and every template is rendered
    #[arg(long)]
    exit_after_auth: bool,
    /// How much to log: trace, debug, info, warn or error [env: `BAO_LOG_LEVEL`]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to log: standard or json [env: `BAO_LOG_FORMAT`]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log to this file, in place of stderr; it is opened anew on SIGHUP
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
    /// Without effect: the file is rotated from outside
    #[arg(long, hide = true)]
    log_rotate_bytes: Option<String>,
    /// Without effect: the file is rotated from outside
    #[arg(long, hide = true)]
    log_rotate_duration: Option<String>,
    /// Without effect: the file is rotated from outside
    #[arg(long, hide = true)]
    log_rotate_max_files: Option<String>,
}

/// What else there is to an agent than to run it.
#[derive(Debug, Subcommand)]
enum Other {
    Status(status::Status),
    GenerateConfig(Box<generate::GenerateConfig>),
}

impl Agent {
    /// Runs until a signal ends it, or it has done what it was to do.
    pub(super) fn run(mut self) -> Outcome {
        match &self.other {
            Some(Other::Status(status)) => return status.run(),
            Some(Other::GenerateConfig(command)) => return super::block_on(command.run()),
            None => {}
        }
        // Neither core dumps nor other processes of the user get to see tokens. The umask stays: a
        // process that the agent starts inherits it.
        let protected = prctl::set_dumpable(false).and_then(|()| forbid_core_dumps());
        if self.config.is_empty() {
            let path = environment::read("AGENT_CONFIG_PATH");
            self.config.extend(path.map(PathBuf::from));
        }
        if self.config.is_empty() {
            let text = "Must specify at least one config path using -config";
            return Err(Failure::Usage(text.to_owned()));
        }
        let overrides = self.overrides()?;
        let config = Arc::new(load(&self.config, &overrides)?);
        let logging = Logging::start(&config.log)?;
        if let Err(error) = protected {
            warn!(%error, "this process's memory is not kept from others");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|error| Failure::Usage(format!("start: {error}")))?;
        let outcome = runtime.block_on(self.serve(config, &overrides, &logging));
        // Blocking work, such as the look-up of a host's name, does not keep the process.
        runtime.shutdown_background();
        outcome
    }

    fn overrides(&self) -> Result<Overrides, Failure> {
        Ok(Overrides {
            exit_after_auth: self.exit_after_auth.then_some(true),
            log_level: self.log_level.clone().or_else(|| environment::read("LOG_LEVEL")),
            log_format: self.log_format.clone().or_else(|| environment::read("LOG_FORMAT")),
            log_file: self.log_file.clone(),
            ..self.connection.overrides()?
        })
    }

    async fn serve(
        &self,
        config: Arc<AgentConfig>,
        overrides: &Overrides,
        logging: &Logging,
    ) -> Outcome {
        let failed = |error: &dyn std::error::Error| {
            error!(error = %chain(error), "the agent ends");
            Failure::Usage(chain(error))
        };
        let signals = |error| Failure::Usage(format!("listen for signals: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
        let shutdown = CancellationToken::new();
        let (reload, reloads) = watch::channel(config);
        let (rendered, mut is_rendered) = watch::channel(false);
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            reloads,
            rendered,
            launcher: Some(process::launcher()),
            shutdown: shutdown.clone(),
        };
        tokio::spawn(async move {
            if is_rendered.wait_for(|rendered| *rendered).await.is_ok() {
                resident::settle().await;
            }
        });
        let agent = Running::build(surroundings).await.map_err(|error| failed(&error))?;
        print_line("==> Holdfast agent started; log lines go to stderr, or the log file")?;
        let running = agent.run();
        tokio::pin!(running);
        loop {
            tokio::select! {
                ended = &mut running => {
                    return ended.map(ExitCode::from).map_err(|error| failed(&error));
                }
                _ = hangup.recv() => self.reload(overrides, logging, &reload),
                () = any(&mut terminate, &mut interrupt) => {
                    if shutdown.is_cancelled() {
                        warn!("ended without waiting");
                        return Err(Failure::Told(1));
                    }
                    info!("ending");
                    shutdown.cancel();
                }
            }
        }
    }

    /// Reads the files anew. With something wrong in them, what was read before stays.
    fn reload(
        &self,
        overrides: &Overrides,
        logging: &Logging,
        reload: &watch::Sender<Arc<AgentConfig>>,
    ) {
        match config::load(&self.config, overrides) {
            Ok(config) => {
                logging.reload(&config.log);
                info!("the configuration was read anew");
                reload.send_replace(Arc::new(config));
            }
            Err(problems) => {
                error!("the configuration cannot be used; the one before stays:\n{problems}");
            }
        }
    }
}

/// Of this process and what it starts, unless that asks for them.
fn forbid_core_dumps() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard)
}

async fn any(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn load(paths: &[PathBuf], overrides: &Overrides) -> Result<AgentConfig, Failure> {
    config::load(paths, overrides)
        .map_err(|error| Failure::Usage(format!("the configuration cannot be used:\n{error}")))
}
