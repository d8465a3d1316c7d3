//! The keys that tokens are verified with: configured, or fetched and kept for a while.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_client::fetch::Fetcher;
use holdfast_keys::{Jwks, KeyError, PublicKey, SignedToken};
use holdfast_types::Chain;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::config::Config;
use super::discovery::{Discovery, IssuerError};

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
    Jwks(#[source] IssuerError),
    #[error("error checking oidc discovery URL")]
    Discovery(#[source] IssuerError),
}

impl KeySourceError {
    /// OpenBao tells the cause of a failed discovery, and of nothing else.
    pub(super) fn told_to_clients(&self) -> String {
        match self {
            Self::Discovery(cause) => format!("{self}: {}", Chain(cause)),
            _ => self.to_string(),
        }
    }
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
    Fetch(#[source] IssuerError),
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
        let (location, fetcher) = if config.jwks_url.is_empty() {
            let fetcher =
                Fetcher::new(&config.oidc_discovery_ca_pem).ok_or(KeySourceError::DiscoveryCa)?;
            (Location::Issuer(config.oidc_discovery_url.clone()), fetcher)
        } else {
            let fetcher = Fetcher::new(&config.jwks_ca_pem).ok_or(KeySourceError::JwksCa)?;
            (Location::Jwks(config.jwks_url.clone()), fetcher)
        };
        Ok(Self::Remote(Box::new(RemoteKeys::new(location, fetcher))))
    }

    /// By what the keys are fetched, where they are.
    pub(super) fn fetcher(&self) -> Option<&Fetcher> {
        match self {
            Self::Static(_) => None,
            Self::Remote(remote) => Some(&remote.fetcher),
        }
    }

    /// Whether the source answers: fetches the key set, or the discovery document.
    pub(super) async fn check(&self) -> Result<(), KeySourceError> {
        let Self::Remote(remote) = self else { return Ok(()) };
        match &remote.location {
            Location::Jwks(_) => remote.refresh().await.map(drop).map_err(KeySourceError::Jwks),
            Location::Issuer(issuer) => {
                let url = Discovery::fetch(&remote.fetcher, issuer).await;
                url.map(drop).map_err(KeySourceError::Discovery)
            }
        }
    }

    /// Why there can be no keys, where that is known: a discovery that never succeeded is tried.
    pub(super) async fn problem(&self) -> Option<String> {
        match self {
            Self::Remote(remote) if remote.cached().is_none() => match &remote.location {
                Location::Issuer(issuer) => Discovery::fetch(&remote.fetcher, issuer)
                    .await
                    .err()
                    .map(|error| Chain(&error).to_string()),
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
    fetcher: Fetcher,
    cached: RwLock<Option<Cached>>,
    /// When the last fetch ended. Held during a fetch: whoever waits uses what it brought.
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<Jwks>,
    fetched_at: Instant,
}

impl RemoteKeys {
    fn new(location: Location, fetcher: Fetcher) -> Self {
        Self { location, fetcher, cached: RwLock::new(None), last_fetch: Mutex::new(None) }
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
        let fetched = self.refresh().await;
        // From its end: where the issuer hangs, those who have waited for this one do not each wait
        // for one of their own.
        *last_fetch = Some(Instant::now());
        match (fetched, usable) {
            (Ok(fetched), _) => Ok(fetched),
            (Err(error), Some(usable)) => {
                warn!(error = %Chain(&error), "fetch the key set");
                Ok(usable)
            }
            (Err(error), None) => Err(VerifyError::Fetch(error)),
        }
    }

    async fn refresh(&self) -> Result<Cached, IssuerError> {
        let url = match &self.location {
            Location::Jwks(url) => url.clone(),
            Location::Issuer(issuer) => Discovery::fetch(&self.fetcher, issuer).await?.jwks_uri,
        };
        let keys = Arc::new(Jwks::parse(&self.fetcher.get(&url).await?)?);
        let cached = Cached { keys, fetched_at: Instant::now() };
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(cached.clone());
        Ok(cached)
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
