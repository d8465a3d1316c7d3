//! The keys that tokens are verified with: configured, or fetched and kept for a while.

use std::error::Error as StdError;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_keys::{Jwks, KeyError, PublicKey, SignedToken};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::config::Config;

/// A document that is larger is not read to its end.
const MAX_DOCUMENT: usize = 1 << 20;
/// How long one fetch may take, and how long the connection of it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever sends tokens with invented key ids makes us fetch no more often than this.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Older keys are fetched anew before they are used: a key that its issuer has withdrawn must not
/// stay good for ever.
const FRESH: Duration = Duration::from_secs(600);
/// Where fetching fails, keys are used up to this age.
const USABLE: Duration = Duration::from_secs(3600);

/// The source that a configuration names.
pub(super) enum KeySource {
    Static(Vec<PublicKey>),
    Remote(Box<RemoteKeys>),
}

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySourceError {
    #[error("error parsing public key: {0}")]
    PublicKey(#[source] KeyError),
    #[error("error checking jwks_ca_pem")]
    JwksCa,
    #[error("error checking oidc discovery URL: could not parse CA PEM value successfully")]
    DiscoveryCa,
    #[error("error checking jwks URL")]
    Jwks(#[source] FetchError),
    #[error("error checking oidc discovery URL")]
    Discovery(#[source] FetchError),
}

impl KeySourceError {
    /// OpenBao tells the cause of a failed discovery, and of nothing else.
    pub(super) fn told_to_clients(&self) -> String {
        match self {
            Self::Discovery(cause) => format!("{self}: {}", chain(cause)),
            _ => self.to_string(),
        }
    }
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("get {url}")]
    Request {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("get {url}: status {status}")]
    Status { url: String, status: StatusCode },
    #[error("get {url}: more than {MAX_DOCUMENT} bytes")]
    TooLong { url: String },
    #[error("failed to decode OIDC discovery document")]
    Discovery,
    #[error("issuer did not match the returned issuer, expected {expected:?} got {got:?}")]
    Issuer { expected: String, got: String },
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Why a token is not verified.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    /// None of the configured keys signed it.
    #[error("no known key successfully validated the token signature")]
    NoStaticKey,
    /// The key set has keys under its key id (or it has no key id), but none of them signed it.
    #[error("failed to verify id token signature")]
    NoRemoteKey,
    /// The key set has no key under its key id.
    #[error("failed to verify id token signature: no key with the id {0:?}")]
    UnknownKeyId(String),
    /// There is no key set to look into.
    #[error("failed to verify signature: fetching keys")]
    Fetch(#[source] FetchError),
    /// The last fetch failed a moment ago.
    #[error("failed to verify signature: fetching keys: failed a moment ago")]
    FetchedInVain,
}

impl KeySource {
    /// The source that `config` names. Fetches nothing yet.
    pub(super) fn new(config: &Config) -> Result<Self, KeySourceError> {
        if !config.jwt_validation_pubkeys.is_empty() {
            let keys = config.jwt_validation_pubkeys.iter().map(|pem| PublicKey::from_pem(pem));
            let keys = keys.collect::<Result<_, _>>().map_err(KeySourceError::PublicKey)?;
            return Ok(Self::Static(keys));
        }
        let (location, client) = if config.jwks_url.is_empty() {
            let client =
                client(&config.oidc_discovery_ca_pem).ok_or(KeySourceError::DiscoveryCa)?;
            (Location::Issuer(config.oidc_discovery_url.clone()), client)
        } else {
            let client = client(&config.jwks_ca_pem).ok_or(KeySourceError::JwksCa)?;
            (Location::Jwks(config.jwks_url.clone()), client)
        };
        Ok(Self::Remote(Box::new(RemoteKeys::new(location, client))))
    }

    /// Whether the source answers: fetches the key set, or the discovery document.
    pub(super) async fn check(&self) -> Result<(), KeySourceError> {
        let Self::Remote(remote) = self else { return Ok(()) };
        match &remote.location {
            Location::Jwks(_) => remote.refresh().await.map(drop).map_err(KeySourceError::Jwks),
            Location::Issuer(issuer) => {
                let url = remote.discover(issuer).await;
                url.map(drop).map_err(KeySourceError::Discovery)
            }
        }
    }

    /// Why there can be no keys, where that is known: a discovery that never succeeded is tried.
    pub(super) async fn problem(&self) -> Option<String> {
        match self {
            Self::Remote(remote) if remote.cached().is_none() => match &remote.location {
                Location::Issuer(issuer) => {
                    remote.discover(issuer).await.err().map(|error| chain(&error))
                }
                Location::Jwks(_) => None,
            },
            _ => None,
        }
    }

    /// Whether a key of this source signed `token`. A token that no known key signed makes the key
    /// set be fetched anew, but not more often than every few seconds.
    pub(super) async fn verify(&self, token: &SignedToken<'_>) -> Result<(), VerifyError> {
        match self {
            Self::Static(keys) => {
                let signed = keys.iter().any(|key| token.is_signed_by(key));
                signed.then_some(()).ok_or(VerifyError::NoStaticKey)
            }
            Self::Remote(remote) => remote.verify(token).await,
        }
    }
}

/// Where a key set is found.
enum Location {
    /// At this URL.
    Jwks(String),
    /// Where the discovery document of this issuer says.
    Issuer(String),
}

/// A key set that is fetched when it is needed.
pub(super) struct RemoteKeys {
    location: Location,
    client: Client,
    cached: RwLock<Option<Cached>>,
    /// When the last fetch began. Held during a fetch: whoever waits uses what it brought.
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<Jwks>,
    fetched_at: Instant,
}

impl RemoteKeys {
    fn new(location: Location, client: Client) -> Self {
        Self { location, client, cached: RwLock::new(None), last_fetch: Mutex::new(None) }
    }

    async fn verify(&self, token: &SignedToken<'_>) -> Result<(), VerifyError> {
        let known = self.cached();
        if let Some(known) = &known
            && known.fetched_at.elapsed() < FRESH
            && known.verify(token).is_ok()
        {
            return Ok(());
        }
        self.fetch_since(known.as_ref()).await?.verify(token)
    }

    /// Keys newer than `known`, or the known ones where they may not, or cannot, be fetched now.
    async fn fetch_since(&self, known: Option<&Cached>) -> Result<Cached, VerifyError> {
        let mut last_fetch = self.last_fetch.lock().await;
        let current = self.cached();
        let usable = current.clone().filter(|cached| cached.fetched_at.elapsed() < USABLE);
        let is_newer = match (&current, known) {
            (Some(current), Some(known)) => current.fetched_at > known.fetched_at,
            (current, None) => current.is_some(),
            (None, Some(_)) => false,
        };
        if is_newer || last_fetch.is_some_and(|at| at.elapsed() < MIN_INTERVAL) {
            return usable.ok_or(VerifyError::FetchedInVain);
        }
        *last_fetch = Some(Instant::now());
        match (self.refresh().await, usable) {
            (Ok(fetched), _) => Ok(fetched),
            (Err(error), Some(usable)) => {
                warn!(error = chain(&error), "fetch the key set");
                Ok(usable)
            }
            (Err(error), None) => Err(VerifyError::Fetch(error)),
        }
    }

    async fn refresh(&self) -> Result<Cached, FetchError> {
        let url = match &self.location {
            Location::Jwks(url) => url.clone(),
            Location::Issuer(issuer) => self.discover(issuer).await?,
        };
        let keys = Arc::new(Jwks::parse(&self.get(&url).await?)?);
        let cached = Cached { keys, fetched_at: Instant::now() };
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(cached.clone());
        Ok(cached)
    }

    /// The URL of the key set, from the issuer's discovery document.
    async fn discover(&self, issuer: &str) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Discovery {
            #[serde(default)]
            issuer: String,
            #[serde(default)]
            jwks_uri: String,
        }
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let document = self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        let document: Discovery =
            serde_json::from_slice(&document).map_err(|_| FetchError::Discovery)?;
        if document.issuer != issuer {
            let (expected, got) = (issuer.to_owned(), document.issuer);
            return Err(FetchError::Issuer { expected, got });
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |source| FetchError::Request { url: url.to_owned(), source };
        // The URL stands in our own message; reqwest would tell it again.
        let without = |error: reqwest::Error| failed(error.without_url());
        let mut response = self.client.get(url).send().await.map_err(without)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(without)? {
            if body.len() + chunk.len() > MAX_DOCUMENT {
                return Err(FetchError::TooLong { url: url.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn cached(&self) -> Option<Cached> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Cached {
    fn verify(&self, token: &SignedToken<'_>) -> Result<(), VerifyError> {
        let mut candidates = self.keys.candidates(token.key_id.as_deref()).peekable();
        match &token.key_id {
            Some(id) if candidates.peek().is_none() => Err(VerifyError::UnknownKeyId(id.clone())),
            _ if candidates.any(|key| token.is_signed_by(key)) => Ok(()),
            _ => Err(VerifyError::NoRemoteKey),
        }
    }
}

/// A client that trusts the certificates in `ca_pem`, or the system's where that is empty. It
/// follows no redirect: the URL is what the operator trusts. None: the PEM holds no certificate.
fn client(ca_pem: &str) -> Option<Client> {
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(FETCH_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT);
    if !ca_pem.is_empty() {
        let certificates = Certificate::from_pem_bundle(ca_pem.as_bytes()).ok()?;
        if certificates.is_empty() {
            return None;
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().ok()
}

/// An error with its causes, as `get https://...: error sending request: ...`.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
