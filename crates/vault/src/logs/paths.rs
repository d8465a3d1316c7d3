//! `sys/loggers`: the level of each part of the server, until the next start.

use holdfast_logical::{Error, Operation, Reply, Request, Response};
use serde_json::{Map, Value, json};
use tracing::Level;

use super::Logs;

/// Answers a request to `sys/loggers`; `name` is the subsystem, none for all.
pub(crate) fn loggers(logs: &Logs, name: Option<&str>, request: &Request) -> Reply {
    match request.operation {
        Operation::Read => {
            let levels = logs.levels().into_iter();
            let levels = levels.filter(|(key, _)| name.is_none_or(|name| name == *key));
            let data: Map<String, Value> =
                levels.map(|(key, level)| (key.to_owned(), json!(word(level)))).collect();
            // Nothing of that name is an answer, too.
            Ok(Some(Response { status: Some(200), ..Response::data(data.into()) }))
        }
        Operation::Create | Operation::Update => {
            let level = request.fields().string("level").map_err(Error::field_validation)?;
            let level = level.ok_or_else(|| Error::invalid("level is required"))?;
            set(logs, name, Some(parse(&level)?))
        }
        Operation::Delete => set(logs, name, None),
        Operation::List => Err(Error::UnsupportedPath),
        _ => Err(Error::UnsupportedOperation),
    }
}

fn set(logs: &Logs, name: Option<&str>, level: Option<Level>) -> Reply {
    match logs.set(name, level) {
        true => Ok(None),
        false => {
            let name = name.unwrap_or_default();
            Err(Error::invalid(format!("logger {name:?} not found")))
        }
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// A level by any of OpenBao's names for it.
fn parse(text: &str) -> Result<Level, Error> {
    match text.trim().to_lowercase().as_str() {
        "" => Err(Error::invalid("level is empty")),
        "trace" => Ok(Level::TRACE),
        "debug" => Ok(Level::DEBUG),
        "info" | "notice" => Ok(Level::INFO),
        "warn" | "warning" => Ok(Level::WARN),
        "error" | "err" => Ok(Level::ERROR),
        _ => Err(Error::invalid(format!("invalid level provided: unknown log level: {text}"))),
    }
}
