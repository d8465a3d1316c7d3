//! `sys/monitor`: one reader of the log.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use holdfast_logical::Error;
use holdfast_types::SecretString;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::Level;

use super::line::Line;
use super::{LogFormat, Logs, Place};
use crate::core::invocation::Invocation;
use crate::core::ongoing::{LOOK, SEALED, may_still_read};
use crate::core::vault::Vault;
use crate::wire::{Ended, Messages};

const BEHIND: Ended = Ended { code: 1013, reason: "too slow" };

/// A reader, as long as it may read.
struct Reader {
    /// Sealing must not wait for readers.
    vault: Weak<Vault>,
    token: SecretString,
    level: Level,
    format: LogFormat,
    lines: broadcast::Receiver<Arc<Line>>,
    /// When the token was looked at.
    looked: tokio::time::Instant,
    _place: Place,
}

/// Answers `GET sys/monitor`.
///
/// # Errors
/// A level or format that is none, or too many readers.
pub(crate) fn monitor(
    vault: &Arc<Vault>,
    invocation: &Invocation,
) -> Result<Box<dyn Messages>, Error> {
    let word = |name: &str| invocation.request.data.get(name).and_then(Value::as_str);
    let level = match word("log_level").unwrap_or_default().to_lowercase().as_str() {
        "trace" => Level::TRACE,
        "debug" => Level::DEBUG,
        "" | "info" => Level::INFO,
        "warn" => Level::WARN,
        "error" => Level::ERROR,
        _ => return Err(Error::invalid("unknown log level")),
    };
    let format = match word("log_format").unwrap_or_default() {
        "" | "standard" => LogFormat::Standard,
        "json" => LogFormat::Json,
        _ => return Err(Error::invalid("unknown log format")),
    };
    let Some(token) = invocation.secret.clone() else { return Err(Error::Denied) };
    let (place, lines) = Logs::listen(&vault.logs, level).ok_or_else(|| Error::Status {
        status: 503,
        message: "too many read the log already".to_owned(),
    })?;
    let looked = tokio::time::Instant::now();
    let vault = Arc::downgrade(vault);
    Ok(Box::new(Reader { vault, token, level, format, lines, looked, _place: place }))
}

#[async_trait]
impl Messages for Reader {
    async fn next(&mut self) -> Result<String, Ended> {
        loop {
            let line = match tokio::time::timeout_at(self.looked + LOOK, self.lines.recv()).await {
                Err(_) => {
                    let vault = self.vault.upgrade().ok_or(SEALED)?;
                    may_still_read(&vault, &self.token, "sys/monitor").await?;
                    self.looked = tokio::time::Instant::now();
                    continue;
                }
                Ok(Err(RecvError::Closed)) => return Err(SEALED),
                Ok(Err(RecvError::Lagged(_))) => return Err(BEHIND),
                Ok(Ok(line)) => line,
            };
            if line.level <= self.level {
                return Ok(line.write(self.format));
            }
        }
    }
}
