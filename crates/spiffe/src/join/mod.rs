//! An agent on another machine: it joins once, and from then on shows an SVID of its own.
//!
//! The agent keeps its key, its SVID and the bundle in a file, so that a restart needs nothing from
//! anybody. An agent that was off for longer than its SVID lives joins anew.

mod given;
mod identity;
mod kept;
mod proof;
mod x509pop;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_keys::x509::{Certificate, X509Error};
use holdfast_types::{Chain, Clock, Timestamp, TrustDomain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use self::given::Given;
use self::identity::{Identity, channel};
use self::kept::Kept;
pub use self::proof::Proof;
use self::proof::{CALL_LIMIT, attest};
use crate::proto::node as wire;
use crate::proto::node::node_client::NodeClient;
use crate::remote::RemoteSource;
use crate::source::key_and_request;
use crate::{JwtSvid, MintError, Snapshot, Source, X509Svid};

const RETRY: Duration = Duration::from_secs(5);

/// How an agent joins.
#[derive(Debug, Clone)]
pub struct JoinSettings {
    /// The server, as `host:port`.
    pub server: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The trust domain's X.509 authorities in DER, by which the server is known the first time.
    pub bundle: Vec<Vec<u8>>,
    /// What to join with, where the agent has no SVID that is valid.
    pub proof: Option<Proof>,
    /// The file in which the agent keeps its key and its SVID.
    pub state: PathBuf,
}

/// Why an agent did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no SVID that is valid, and nothing to join with.
    #[error("the agent has no valid SVID: it needs something to join with")]
    NoProof,
    /// The server refused, or did not answer.
    #[error("join: {}", told(.0))]
    Refused(Box<Status>),
    /// The service account's token cannot be read.
    #[error("read the service account's token {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server's answer makes no sense.
    #[error("join: the server's answer {0}")]
    Answer(&'static str),
    /// The state cannot be kept.
    #[error("keep the agent's state in {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The cryptographic library failed.
    #[error("make the agent's key")]
    Key(#[from] X509Error),
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

impl JoinError {
    /// Whether the server, or what it has to ask, does not answer: it may later.
    pub fn is_passing(&self) -> bool {
        let Self::Refused(status) = self else { return false };
        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
    }
}

impl JoinError {
    /// Whether the server knows no such agent, or not by this SVID.
    fn is_denial(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::PermissionDenied)
    }
}

impl From<Status> for JoinError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// An agent that joined. Its SVID is renewed for as long as this lives.
pub struct Joined {
    /// The server.
    pub source: RemoteSource,
    /// The agent's own id.
    pub spiffe_id: String,
    ended: CancellationToken,
}

#[async_trait]
impl Source for Joined {
    fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.source.watch()
    }

    async fn mint_x509(&self, entry: &str, request: &[u8]) -> Result<X509Svid, MintError> {
        self.source.mint_x509(entry, request).await
    }

    async fn mint_jwt(&self, entry: &str, audiences: &[String]) -> Result<JwtSvid, MintError> {
        self.source.mint_jwt(entry, audiences).await
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Joins, or goes on with the SVID that the agent has.
///
/// With a service account's token it joins anew where it can: what that proves is of this moment. With a
/// bundle or a proof that it was not given before, it does where the SVID that it has is of no use any
/// more: one whose authority was revoked, say.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(settings: JoinSettings, clock: Arc<dyn Clock>) -> Result<Joined, JoinError> {
    let JoinSettings { server, trust_domain, bundle, proof, state } = settings;
    let kept = kept::read(&state);
    let kept = kept.map_err(|source| JoinError::State { path: state.clone(), source })?;
    let now = clock.now();
    let kept = kept.filter(|kept| now.as_second() < kept.expires_at);
    let given = Given::of(&bundle, proof.as_ref());
    let (has_new_bundle, has_new_proof) = kept.as_ref().map_or((false, false), |kept| {
        (given.has_new_bundle(&kept.given), given.has_new_proof(&kept.given))
    });
    let kept = match kept {
        // The one that is given may be the older one: both are good until the server is asked.
        Some(kept) if has_new_bundle => {
            let both = [kept.bundle(), bundle.clone()].concat();
            Some(kept.knowing(&both))
        }
        kept => kept,
    };
    let identity = Arc::new(Identity::new(trust_domain, bundle, kept.clone()));
    let agent = Joining { server, identity, state, proof, given };
    let is_current = agent.proof.as_ref().is_some_and(Proof::is_current);
    let is_unknown = (has_new_bundle || has_new_proof) && !agent.is_known(now).await;
    let is_anew = is_current || (is_unknown && agent.proof.is_some());
    let spiffe_id = match kept {
        Some(kept) if !is_anew => kept.spiffe_id,
        kept => match (agent.attest(now).await, kept) {
            (Ok(spiffe_id), _) => spiffe_id,
            (Err(error), Some(kept)) if error.is_passing() => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the agent goes on with the SVID that it has");
                kept.spiffe_id
            }
            (Err(error), _) => return Err(error),
        },
    };
    let (channels, current) = watch::channel(agent.channel());
    let source = RemoteSource::over(current);
    let snapshots = source.watch();
    let ended = CancellationToken::new();
    let end = ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = end.cancelled() => {}
            () = agent.keep_up(channels, snapshots, clock) => {}
        }
    });
    Ok(Joined { source, spiffe_id, ended })
}

/// A channel as somebody has it who has not joined.
#[cfg(test)]
pub(crate) fn anonymous(settings: JoinSettings) -> Channel {
    let identity = Identity::new(settings.trust_domain, settings.bundle, None);
    channel(&settings.server, Arc::new(identity))
}

/// A channel as the agent has it whose state is in the file.
#[cfg(test)]
pub(crate) fn known(settings: JoinSettings) -> Channel {
    let kept = kept::read(&settings.state).unwrap();
    let identity = Identity::new(settings.trust_domain, settings.bundle, kept);
    channel(&settings.server, Arc::new(identity))
}

/// An agent, and what it joins with.
struct Joining {
    server: String,
    identity: Arc<Identity>,
    state: PathBuf,
    proof: Option<Proof>,
    given: Given,
}

impl Joining {
    /// A new connection, by the SVID that the agent has now.
    fn channel(&self) -> Channel {
        channel(&self.server, self.identity.clone())
    }

    /// Joins, by a connection of nobody's. Gives the agent's id.
    async fn attest(&self, now: Timestamp) -> Result<String, JoinError> {
        let proof = self.proof.as_ref().ok_or(JoinError::NoProof)?;
        let channel = channel(&self.server, Arc::new(self.identity.anonymous()));
        let mut next = attest(channel, proof, now.as_second()).await?;
        next.given = self.given.clone();
        let spiffe_id = next.spiffe_id.clone();
        self.identity.keep(&self.state, next)?;
        Ok(spiffe_id)
    }

    /// Whether the server renews the SVID that the agent has, and each knows the other.
    async fn is_known(&self, now: Timestamp) -> bool {
        let renewed = renew_once(self.channel(), &self.identity, &self.state, now).await;
        if let Err(error) = &renewed {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, "the SVID that the agent has is not renewed");
        }
        renewed.is_ok()
    }

    /// Keeps the SVID new: at half of its life or when it is tainted, and again until it works. One that
    /// ended while the machine slept renews nothing any more: then the agent joins again, where it can.
    ///
    /// Each new SVID is told by a new connection, as the server knows an agent by the one that its
    /// connection began with.
    async fn keep_up(
        self,
        channels: watch::Sender<Channel>,
        mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        clock: Arc<dyn Clock>,
    ) {
        let is_repeatable = self.proof.as_ref().is_some_and(Proof::is_repeatable);
        let is_current = self.proof.as_ref().is_some_and(Proof::is_current);
        loop {
            let Some(now) = self.identity.kept() else { return };
            let at = now.issued_at + (now.expires_at - now.issued_at) / 2;
            let wait = match is_tainted(&now, &snapshots.borrow()) {
                true => 1,
                false => u64::try_from(at - clock.now().as_second()).unwrap_or(0),
            };
            tokio::select! {
                // The wall clock may go on while this machine sleeps.
                () = tokio::time::sleep(Duration::from_secs(wait.clamp(1, 60))) => {}
                Ok(()) = snapshots.changed() => {}
            }
            let snapshot = snapshots.borrow_and_update().clone();
            if let Some(snapshot) = &snapshot {
                self.identity.follow(&self.state, &snapshot.bundle);
            }
            if clock.now().as_second() < at && !is_tainted(&now, &snapshot) {
                continue;
            }
            let has_ended = now.expires_at <= clock.now().as_second();
            let outcome = match is_repeatable && (has_ended || is_current) {
                true => self.attest(clock.now()).await.map(drop),
                false => {
                    let channel = channels.borrow().clone();
                    renew_once(channel, &self.identity, &self.state, clock.now()).await
                }
            };
            let outcome = match outcome {
                // An operator forgot the agent.
                Err(error) if is_repeatable && error.is_denial() => {
                    self.attest(clock.now()).await.map(drop)
                }
                outcome => outcome,
            };
            match outcome {
                Ok(()) => _ = channels.send_replace(self.channel()),
                Err(error) => {
                    if has_ended && !is_repeatable {
                        tracing::error!(
                            "the agent's SVID has ended: start it with a new join token"
                        );
                    }
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "renew the agent's SVID"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// What the server said, or why it said nothing.
fn told(status: &Status) -> String {
    let cause = std::error::Error::source(status);
    cause.map_or_else(|| status.message().to_owned(), |cause| Chain(cause).to_string())
}

/// Whether the agent's own SVID is by an authority that is not to be relied on.
fn is_tainted(kept: &Kept, snapshot: &Option<Arc<Snapshot>>) -> bool {
    let leaf = kept.chain().first().and_then(|der| Certificate::from_der(der).ok());
    leaf.zip(snapshot.as_ref()).is_some_and(|(leaf, snapshot)| snapshot.bundle.taints(&leaf))
}

async fn renew_once(
    channel: Channel,
    identity: &Identity,
    path: &Path,
    now: Timestamp,
) -> Result<(), JoinError> {
    let (key, csr) = key_and_request()?;
    let mut client = NodeClient::new(channel);
    let call = client.renew(wire::RenewRequest { csr });
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))?;
    let mut next = Kept::of(&key, answer.into_inner(), now.as_second())?;
    next.given = identity.kept().map(|kept| kept.given).unwrap_or_default();
    identity.keep(path, next)
}
