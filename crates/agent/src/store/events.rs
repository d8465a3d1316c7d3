//! Hears of changes, where the server tells of them.

use std::time::Duration;

use holdfast_client::vault::{EventStream, StreamEnd, SubscribeError, VaultConfig, VaultError};
use holdfast_types::{Random as _, SystemRandom};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};

/// The kinds of events that tell of changed secrets.
const KINDS: &str = "kv*";
/// How long to wait before the first try after a stream was lost, and the most.
const WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long until a server that has no events, or whose policy forbids them, is asked again.
const REFUSED_WAIT: Duration = Duration::from_secs(300);

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// From now on changes are told of. What happened before is not.
    Connected,
    /// The secret at this path changed.
    Changed(String),
    /// From now on nothing is told of.
    Lost {
        /// Why.
        why: String,
        /// Whether the server does not answer at all.
        away: bool,
    },
}

/// Hears until nobody takes it any more. `config` gives the configuration with the token of now,
/// none while there is no token; each new one makes a new stream.
pub async fn listen(mut config: watch::Receiver<Option<VaultConfig>>, heard: mpsc::Sender<Heard>) {
    let mut failures = 0_u32;
    loop {
        let now = config.borrow_and_update().clone();
        let wait = match now {
            None => None,
            Some(now) => {
                let ended = tokio::select! {
                    () = heard.closed() => return,
                    // A stream lives as long as its token does.
                    changed = config.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    ended = follow(&now, &heard, &mut failures) => ended,
                };
                failures += 1;
                debug!(why = %ended.why, "no events");
                let lost = Heard::Lost { why: ended.why, away: ended.is_away };
                if heard.send(lost).await.is_err() {
                    return;
                }
                Some(if ended.is_refusal { REFUSED_WAIT } else { backoff(failures) })
            }
        };
        tokio::select! {
            () = heard.closed() => return,
            changed = config.changed() => if changed.is_err() { return },
            () = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

/// Why a stream ended, or never was.
struct Ended {
    why: String,
    /// Asking again soon will not help.
    is_refusal: bool,
    /// The server does not answer at all.
    is_away: bool,
}

impl Ended {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_refusal: false, is_away: false }
    }
}

async fn follow(config: &VaultConfig, heard: &mpsc::Sender<Heard>, failures: &mut u32) -> Ended {
    let mut stream = match EventStream::subscribe(config, KINDS).await {
        Ok(stream) => stream,
        Err(error) => return refused(&error),
    };
    info!("the server tells of changes");
    if heard.send(Heard::Connected).await.is_err() {
        return Ended::new("the agent stops");
    }
    loop {
        match stream.next().await {
            Ok(event) => {
                *failures = 0;
                let Some(path) = path_of(&event) else { continue };
                if heard.send(Heard::Changed(path.to_owned())).await.is_err() {
                    return Ended::new("the agent stops");
                }
            }
            Err(StreamEnd::Lost) => {
                return Ended::new("the stream of events was lost");
            }
            Err(closed @ StreamEnd::Closed { code, .. }) => {
                // 1008: the token may no more. A new one comes by itself.
                return Ended { is_refusal: code == 1008, ..Ended::new(closed.to_string()) };
            }
        }
    }
}

fn refused(error: &SubscribeError) -> Ended {
    let status = match error {
        SubscribeError::Server(error) => error.status(),
        SubscribeError::Config(_) => None,
    };
    let why = match status {
        Some(403) => {
            format!("the token's policies do not allow to read sys/events/subscribe/{KINDS}")
        }
        Some(404 | 405) => "the server has no events".to_owned(),
        _ => error.to_string(),
    };
    let is_away = matches!(
        error,
        SubscribeError::Server(VaultError::Unreachable { .. } | VaultError::Sealed(_))
    );
    Ended { why, is_refusal: matches!(status, Some(400..500)), is_away }
}

/// The path of what changed. Its own, where the event has one: data, not metadata.
fn path_of(event: &Value) -> Option<&str> {
    let metadata = &event["data"]["event"]["metadata"];
    let path = metadata["data_path"].as_str().or_else(|| metadata["path"].as_str());
    path.map(|path| path.trim_matches('/'))
}

fn backoff(failures: u32) -> Duration {
    let most = WAIT.saturating_mul(1 << failures.min(12)).min(LONGEST_WAIT);
    let chance = f64::from(u16::from_be_bytes(SystemRandom.bytes())) / f64::from(u16::MAX);
    WAIT / 2 + most.mul_f64(chance)
}
