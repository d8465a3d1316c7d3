//! `monitor`: the server's log, as it is written.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use holdfast_client::vault::{LogStream, SubscribeError};

use super::connection::{Connection, stored_token};
use super::{Failure, Outcome, values};

/// Print the server's log as it is written, from now on, also what it leaves out elsewhere.
///
/// The token needs `read` on sys/monitor. The command ends when the server stops or the token does.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault monitor -log-level=debug")]
pub(super) struct Monitor {
    /// How much to print: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// How lines are written: standard or json
    #[arg(long, value_name = "FORMAT", default_value = "standard")]
    log_format: String,
    #[command(flatten)]
    connection: Connection,
}

impl Monitor {
    pub(super) async fn run(&self) -> Outcome {
        let level = self.log_level.trim().to_lowercase();
        if values::log_level(&level).is_none() {
            return Err(Failure::Usage(format!(
                "{} is an unknown log level. Valid log levels are: [trace debug info warn error]",
                self.log_level
            )));
        }
        let format = self.log_format.trim().to_lowercase();
        if !matches!(format.as_str(), "standard" | "json") {
            return Err(Failure::Usage(format!(
                "{} is an unknown log format. Valid log formats are: [standard json]",
                self.log_format
            )));
        }
        let doing = "Error starting monitor";
        let shown = LogStream::rehearse(&self.connection.client()?, &level, &format);
        shown.map_err(Failure::doing(doing)).map_err(Failure::into_usage)?;
        let mut config = self.connection.config()?;
        config.token = stored_token()?;
        let mut log = match LogStream::open(&config, &level, &format).await {
            Ok(log) => log,
            Err(SubscribeError::Config(error)) => return Err(Failure::Usage(error.to_string())),
            Err(SubscribeError::Server(error)) => {
                return Err(Failure::doing(doing)(error).into_usage());
            }
        };
        while let Some(text) = log.next().await {
            let mut out = io::stdout().lock();
            // Whoever reads has gone: that is how a pipe ends.
            if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
