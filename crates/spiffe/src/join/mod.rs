//! An agent on another machine: it joins once, and from then on shows an SVID of its own.
//!
//! The agent keeps its key, its SVID and the bundle in a file, so that a restart needs nothing from
//! anybody. An agent that was off for longer than its SVID lives joins anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::{Certificate, Hash, PrivateKey, X509Error};
use holdfast_types::{Clock, Random as _, SecretString, SystemRandom, Timestamp, TrustDomain};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::pop::{NONCE, message};
use crate::proto::node as wire;
use crate::proto::node::node_client::NodeClient;
use crate::remote::RemoteSource;
use crate::source::key_and_request;
use crate::tls::knowing;
use crate::{JwtSvid, MintError, Snapshot, Source, X509Svid};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(30);
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

/// What a node joins with.
#[derive(Clone)]
pub enum Proof {
    /// A join token, which works once.
    Token(SecretString),
    /// A certificate, with those between it and its root (DER), and its key (PEM).
    Certificate(Vec<Vec<u8>>, SecretString),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Certificate(..) => "Certificate",
        })
    }
}

/// Why an agent did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no SVID that is valid, and nothing to join with.
    #[error("the agent has no valid SVID: it needs a join token or a certificate")]
    NoProof,
    /// The server refused, or did not answer.
    #[error("join: {}", .0.message())]
    Refused(Box<Status>),
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

impl From<Status> for JoinError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// What an agent keeps.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    spiffe_id: String,
    /// PKCS #8 as PEM.
    key: SecretString,
    /// DER in base64.
    chain: Vec<String>,
    bundle: Vec<String>,
    /// Seconds since 1970.
    issued_at: i64,
    expires_at: i64,
}

/// What TLS is done with; replaced when the SVID is.
struct Identity {
    trust_domain: TrustDomain,
    kept: RwLock<Option<Kept>>,
    first_bundle: Vec<Vec<u8>>,
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
/// # Errors
/// See [`JoinError`].
pub async fn join(settings: JoinSettings, clock: Arc<dyn Clock>) -> Result<Joined, JoinError> {
    let path = settings.state.clone();
    let kept = read(&path).map_err(|source| JoinError::State { path: path.clone(), source })?;
    let now = clock.now().as_second();
    let kept = kept.filter(|kept| now < kept.expires_at);
    let identity = Arc::new(Identity {
        trust_domain: settings.trust_domain.clone(),
        kept: RwLock::new(kept.clone()),
        first_bundle: settings.bundle,
    });
    let channel = channel(&settings.server, identity.clone());
    let again = match &settings.proof {
        Some(proof @ Proof::Certificate(..)) => Some((settings.server.clone(), proof.clone())),
        // A token works once.
        _ => None,
    };
    let kept = match kept {
        Some(kept) => kept,
        None => {
            let proof = settings.proof.ok_or(JoinError::NoProof)?;
            let kept = attest(channel, &proof, now).await?;
            keep(&identity, &path, &kept)?;
            kept
        }
    };
    // A channel that shows the SVID: the one before was anybody's.
    let channel = self::channel(&settings.server, identity.clone());
    let ended = CancellationToken::new();
    let renewing = renew(channel.clone(), identity, path, clock, again);
    let end = ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = end.cancelled() => {}
            () = renewing => {}
        }
    });
    Ok(Joined { source: RemoteSource::over(channel), spiffe_id: kept.spiffe_id, ended })
}

/// A channel as somebody has it who has not joined.
#[cfg(test)]
pub(crate) fn anonymous(settings: JoinSettings) -> Channel {
    let identity = Identity {
        trust_domain: settings.trust_domain,
        kept: RwLock::new(None),
        first_bundle: settings.bundle,
    };
    channel(&settings.server, Arc::new(identity))
}

async fn attest(channel: Channel, proof: &Proof, now: i64) -> Result<Kept, JoinError> {
    use wire::attest_request::Step;
    use wire::attest_response::Step as Answer;

    let (key, csr) = key_and_request()?;
    let (kind, payload) = match proof {
        Proof::Token(token) => ("join_token", token.expose().clone().into_bytes()),
        Proof::Certificate(chain, _) => ("x509pop", chain.concat()),
    };
    let params = wire::AttestParams { r#type: kind.to_owned(), payload, csr };
    let (sender, steps) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(wire::AttestRequest { step: Some(Step::Params(params)) });
    let mut client = NodeClient::new(channel);
    let call = async {
        let mut answers = client.attest(ReceiverStream::new(steps)).await?.into_inner();
        loop {
            let answer = answers.message().await?.and_then(|answer| answer.step);
            match (answer, proof) {
                (Some(Answer::Svid(svid)), _) => return kept(&key, svid, now),
                (Some(Answer::Challenge(challenge)), Proof::Certificate(_, own)) => {
                    let step = Some(Step::ChallengeResponse(possession(&challenge, own)?));
                    let _ = sender.try_send(wire::AttestRequest { step });
                }
                _ => return Err(JoinError::Answer("holds no SVID")),
            }
        }
    };
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer").into()))
}

/// The answer to a challenge: a number of ours, and a signature over both.
fn possession(challenge: &[u8], key: &SecretString) -> Result<Vec<u8>, JoinError> {
    let challenge = <&[u8; NONCE]>::try_from(challenge);
    let challenge =
        challenge.map_err(|_| JoinError::Answer("holds a challenge of another size"))?;
    let key = PrivateKey::from_pem(key.expose())?;
    let mut answer = vec![0; NONCE];
    SystemRandom.fill(&mut answer);
    let algorithm = key.signature_algorithm(Hash::Sha256, false);
    let signature = key.sign(algorithm, &message(challenge, &answer))?;
    answer.extend_from_slice(&signature);
    Ok(answer)
}

fn kept(key: &PrivateKey, svid: wire::AgentSvid, now: i64) -> Result<Kept, JoinError> {
    let leaf = svid.certificates.first().and_then(|der| Certificate::from_der(der).ok());
    if leaf.is_none_or(|leaf| leaf.public_key != *key.public_key()) {
        return Err(JoinError::Answer("holds no certificate for the agent's key"));
    }
    let bundle = svid.bundle.map(|bundle| bundle.x509_authorities).unwrap_or_default();
    if bundle.is_empty() {
        return Err(JoinError::Answer("holds no bundle"));
    }
    let encode = |list: &[Vec<u8>]| list.iter().map(|der| STANDARD.encode(der)).collect();
    Ok(Kept {
        spiffe_id: svid.spiffe_id,
        key: key.to_pkcs8_pem(),
        chain: encode(&svid.certificates),
        bundle: encode(&bundle),
        issued_at: now,
        expires_at: svid.expires_at,
    })
}

/// Keeps the SVID new: at half of its life, and again until it works. One that ended while the
/// machine slept renews nothing any more: then the agent joins again, where it can.
async fn renew(
    channel: Channel,
    identity: Arc<Identity>,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    again: Option<(String, Proof)>,
) {
    loop {
        let Some(now) = identity.kept() else { return };
        let at = now.issued_at + (now.expires_at - now.issued_at) / 2;
        let wait = u64::try_from(at - clock.now().as_second()).unwrap_or(0);
        // The wall clock may go on while this machine sleeps.
        tokio::time::sleep(Duration::from_secs(wait.clamp(1, 60))).await;
        if clock.now().as_second() < at {
            continue;
        }
        let has_ended = now.expires_at <= clock.now().as_second();
        let outcome = match &again {
            Some((server, proof)) if has_ended => {
                rejoin(server, proof, &identity, &path, clock.now()).await
            }
            _ => renew_once(channel.clone(), &identity, &path, clock.now()).await,
        };
        if let Err(error) = outcome {
            if has_ended && again.is_none() {
                tracing::error!("the agent's SVID has ended: start it with a new join token");
            }
            tracing::warn!(error = &error as &dyn std::error::Error, "renew the agent's SVID");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Joins by the certificate of before; the server is known by the bundle that was kept.
async fn rejoin(
    server: &str,
    proof: &Proof,
    identity: &Identity,
    path: &Path,
    now: Timestamp,
) -> Result<(), JoinError> {
    let anonymous = Identity {
        trust_domain: identity.trust_domain.clone(),
        kept: RwLock::new(None),
        first_bundle: identity.authorities(),
    };
    let next = attest(channel(server, Arc::new(anonymous)), proof, now.as_second()).await?;
    keep(identity, path, &next)
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
    let next = kept(&key, answer.into_inner(), now.as_second())?;
    keep(identity, path, &next)
}

fn keep(identity: &Identity, path: &Path, kept: &Kept) -> Result<(), JoinError> {
    let written = write(path, kept);
    written.map_err(|source| JoinError::State { path: path.to_owned(), source })?;
    *identity.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
    Ok(())
}

fn read(path: &Path) -> io::Result<Option<Kept>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let bytes = zeroize::Zeroizing::new(bytes);
            serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes whole or not at all, for the owner alone.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let bytes = zeroize::Zeroizing::new(serde_json::to_vec(kept).map_err(io::Error::other)?);
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// DER from the base64 of it.
fn decode(list: &[String]) -> Vec<Vec<u8>> {
    list.iter().filter_map(|text| STANDARD.decode(text).ok()).collect()
}

impl Identity {
    fn kept(&self) -> Option<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server is known by.
    fn authorities(&self) -> Vec<Vec<u8>> {
        let known = self.kept().map(|kept| decode(&kept.bundle));
        known.unwrap_or_else(|| self.first_bundle.clone())
    }

    /// TLS as the agent speaks it at this moment.
    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let kept = self.kept();
        let server = format!("spiffe://{}/spire/server", self.trust_domain);
        let builder = knowing(&self.authorities(), &server)?;
        let mut config = match kept {
            None => builder.with_no_client_auth(),
            Some(kept) => {
                let key = PrivateKey::from_pem(kept.key.expose())
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                let key = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
                let chain = decode(&kept.chain).into_iter().map(CertificateDer::from).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// A channel that does each handshake with what the agent has then.
fn channel(server: &str, identity: Arc<Identity>) -> Channel {
    let server: Arc<str> = server.into();
    let connector = tower::service_fn(move |_: Uri| {
        let (server, identity) = (server.clone(), identity.clone());
        async move {
            let config = identity.tls().map_err(io::Error::other)?;
            let stream = TcpStream::connect(&*server).await?;
            stream.set_nodelay(true)?;
            // Which host it is does not matter: the certificate must be the server's.
            let name = ServerName::try_from("server.invalid").map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}
