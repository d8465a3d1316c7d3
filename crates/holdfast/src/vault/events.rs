//! `events`: be told of changes as they happen.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use holdfast_client::vault::{EventStream, StreamEnd, SubscribeError};

use super::connection::{Connection, stored_token};
use super::{Failure, Outcome};

/// Be told of changes as they happen.
#[derive(Debug, Subcommand)]
pub(super) enum Events {
    Subscribe(Subscribe),
}

/// Print events as they happen, a JSON document each, one a line.
///
/// An event tells that something has changed, and where; what it is now has to be read. The token
/// needs `read` on sys/events/subscribe/<KINDS>, and is told of paths alone that it may read. The
/// command ends when the server says that there will be no more: the token has ended, or the
/// server stops.
///
/// Kinds: `kv-v1/write`, `kv-v1/delete`; `kv-v2/` with `data-write`, `data-patch`, `data-delete`,
/// `delete`, `undelete`, `destroy`, `metadata-write`, `metadata-patch`, `metadata-delete` and
/// `config-write`; `lease/issue`, `lease/renew` and `lease/revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault events subscribe kv-v2/data-write
  vault events subscribe 'kv-v2/*'")]
pub(super) struct Subscribe {
    /// The kinds of events; `*` stands for anything
    kinds: String,
    #[command(flatten)]
    connection: Connection,
}

impl Events {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Subscribe(subscribe) => subscribe.run().await,
        }
    }
}

impl Subscribe {
    async fn run(&self) -> Outcome {
        let shown = EventStream::rehearse(&self.connection.client()?, &self.kinds);
        shown.map_err(Failure::doing("Error subscribing to events"))?;
        let mut config = self.connection.config()?;
        config.token = stored_token()?;
        let mut events = match EventStream::subscribe(&config, &self.kinds).await {
            Ok(events) => events,
            Err(SubscribeError::Config(error)) => return Err(Failure::Usage(error.to_string())),
            Err(SubscribeError::Server(error)) => {
                return Err(Failure::doing("Error subscribing to events")(error));
            }
        };
        loop {
            match events.next().await {
                Ok(event) => {
                    // Whoever reads has gone: that is how a pipe ends.
                    if writeln!(io::stdout(), "{event}").is_err() {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                Err(end @ (StreamEnd::Closed { .. } | StreamEnd::Lost)) => {
                    return Err(Failure::Request(format!("No more events: {end}")));
                }
            }
        }
    }
}
