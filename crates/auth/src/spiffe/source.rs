//! Where the bundle comes from, followed while the mount lives.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_barrier::View;
use holdfast_client::fetch::{FetchError, Fetcher};
use holdfast_logical::Error;
use holdfast_types::{Chain, Clock, Timestamp, TrustDomain, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::bundle::{Bundle, BundleError};
use super::config::{Config, Profile};
use super::endpoint;
use super::svid::SvidError;

/// The last good document of the endpoint: a restart while the endpoint is away shuts nobody out.
pub(super) const BUNDLE_ENTRY: &str = "bundle";
/// Whoever shows SVIDs of invented authorities makes us fetch no more often than this.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// How long keys of JWT-SVIDs, which have no end of their own, count without being confirmed.
const JWT_KEYS_COUNT: Duration = Duration::from_secs(24 * 3600);

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the bundle cannot be read")]
    Bundle(#[from] BundleError),
    /// Once taken, the endpoint would be a stranger for ever.
    #[error("the bundle has no X.509 authority by which its endpoint could be known the next time")]
    NoSuccessor,
    #[error("no HTTP client for the endpoint")]
    Client,
    #[error("keep the bundle")]
    Store(#[from] holdfast_barrier::EntryError),
}

/// A mount's bundle.
pub(super) struct Source {
    config: Config,
    storage: View,
    clock: Arc<dyn Clock>,
    current: RwLock<Option<Arc<Known>>>,
    /// When the last fetch ended. Held during one: whoever waits uses what it brought.
    last_fetch: Mutex<Option<Timestamp>>,
}

/// A bundle, and when it was had.
pub(super) struct Known {
    bundle: Bundle,
    fetched_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    trust_domain: TrustDomain,
    endpoint_url: String,
    document: String,
    fetched_at: Timestamp,
}

impl Source {
    /// The source that `config` names. Fetches nothing yet.
    pub(super) fn new(config: &Config, storage: View, clock: Arc<dyn Clock>) -> Self {
        let current = match config.profile {
            Profile::Static => config.configured_bundle(),
            _ => None,
        };
        let fetched_at = clock.now();
        let current = current.map(|bundle| Arc::new(Known { bundle, fetched_at }));
        Self {
            config: config.clone(),
            storage,
            clock,
            current: RwLock::new(current),
            last_fetch: Mutex::new(None),
        }
    }

    /// Takes up the last good bundle of an earlier process.
    pub(super) async fn recall(&self) -> Result<(), Error> {
        let Some(stored) = self.storage.get_json::<Stored>(BUNDLE_ENTRY).await? else {
            return Ok(());
        };
        let is_ours = stored.trust_domain == self.config.trust_domain
            && stored.endpoint_url == self.config.endpoint_url;
        if let (true, Ok(bundle)) = (is_ours, Bundle::parse(stored.document.as_bytes())) {
            self.set(Known { bundle, fetched_at: stored.fetched_at });
        }
        Ok(())
    }

    /// Fetches the bundle, however lately that was done.
    pub(super) async fn fetch_now(&self) -> Result<(), SourceError> {
        let mut last_fetch = self.last_fetch.lock().await;
        let fetched = self.fetch().await;
        *last_fetch = Some(self.clock.now());
        fetched
    }

    /// Fetches the bundle where its hint says that it is time. What was had before stays where that
    /// fails, and counts for whoever comes while somebody else fetches.
    pub(super) async fn refresh_due(&self) {
        if self.is_due(self.known().as_deref())
            && let Ok(mut last_fetch) = self.last_fetch.try_lock()
        {
            self.fetch_again(&mut last_fetch).await;
        }
    }

    /// What `judge` makes of the bundle. Where a newer one could change a refusal, it is asked
    /// again with that, which is fetched no more often than every few seconds.
    pub(super) async fn judge<T>(
        &self,
        judge: impl Fn(&Bundle, Timestamp) -> Result<T, SvidError>,
    ) -> Result<T, SvidError> {
        self.refresh_due().await;
        let known = self.known();
        let judged = |known: Option<&Arc<Known>>| match known {
            Some(known) => judge(&self.countable(known), self.clock.now()),
            None => Err(SvidError::NoBundle),
        };
        let first = judged(known.as_ref());
        match first {
            Err(error) if error.may_be_news() && self.config.profile != Profile::Static => {
                self.fetch_since(known.as_ref()).await;
                judged(self.known().as_ref())
            }
            first => first,
        }
    }

    /// Adds the state of the bundle to the configuration's `data`.
    pub(super) fn describe(&self, data: &mut Value) {
        let known = self.known();
        let bundle = known.as_ref().map(|known| &known.bundle);
        data["bundle_fetched_at"] = known.as_ref().map(|known| rfc3339(known.fetched_at)).into();
        data["bundle_refresh_hint"] = bundle.map(|bundle| bundle.refresh_hint.as_secs()).into();
        data["bundle_x509_authorities"] = bundle.map_or(0, |bundle| bundle.x509.len()).into();
        data["bundle_jwt_authorities"] = bundle.map_or(0, |bundle| bundle.jwt.len()).into();
    }

    /// What counts of a bundle now.
    fn countable(&self, known: &Known) -> Bundle {
        let mut bundle = known.bundle.clone();
        if self.config.profile != Profile::Static && self.age(known.fetched_at) > JWT_KEYS_COUNT {
            bundle.jwt = Default::default();
        }
        bundle
    }

    fn is_due(&self, known: Option<&Known>) -> bool {
        self.config.profile != Profile::Static
            && known.is_none_or(|known| self.age(known.fetched_at) >= known.bundle.refresh_hint)
    }

    /// Waits for a fetch that is under way, or fetches, unless somebody else has since `known` was
    /// looked at.
    async fn fetch_since(&self, known: Option<&Arc<Known>>) {
        let mut last_fetch = self.last_fetch.lock().await;
        let is_newer = match (self.known(), known) {
            (Some(current), Some(known)) => !Arc::ptr_eq(&current, known),
            (current, None) => current.is_some(),
            (None, Some(_)) => false,
        };
        if !is_newer {
            self.fetch_again(&mut last_fetch).await;
        }
    }

    /// Fetches, unless that was done a moment ago.
    async fn fetch_again(&self, last_fetch: &mut Option<Timestamp>) {
        if last_fetch.is_some_and(|at| self.age(at) < MIN_INTERVAL) {
            return;
        }
        if let Err(error) = self.fetch().await {
            let domain = self.config.trust_domain.as_str();
            let error = Chain(&error).to_string();
            match self.known().map(|known| rfc3339(known.fetched_at)) {
                Some(fetched_at) => {
                    warn!(trust_domain = domain, error, fetched_at, "the last good bundle counts");
                }
                None => warn!(trust_domain = domain, error, "there is no bundle yet"),
            }
        }
        // From its end: where the endpoint hangs, those who have waited for this one do not each
        // wait for one of their own.
        *last_fetch = Some(self.clock.now());
    }

    async fn fetch(&self) -> Result<(), SourceError> {
        let config = &self.config;
        let fetcher = match config.profile {
            Profile::Static => return Ok(()),
            Profile::HttpsWebBundle | Profile::HttpsWebPem => {
                Fetcher::new(&config.endpoint_root_ca_truststore_pem)
            }
            Profile::HttpsSpiffeBundle => {
                let known = self.known().map(|known| known.bundle.clone());
                let bundle = known.or_else(|| config.configured_bundle());
                endpoint::fetcher(config, bundle, self.clock.clone())
            }
        };
        let document = fetcher.ok_or(SourceError::Client)?.get(&config.endpoint_url).await?;
        let bundle = Bundle::parse(&document)?;
        if config.profile == Profile::HttpsSpiffeBundle && bundle.x509.is_empty() {
            return Err(SourceError::NoSuccessor);
        }
        let fetched_at = self.clock.now();
        let stored = Stored {
            trust_domain: config.trust_domain.clone(),
            endpoint_url: config.endpoint_url.clone(),
            document: String::from_utf8_lossy(&document).into_owned(),
            fetched_at,
        };
        self.storage.put_json(BUNDLE_ENTRY, &stored).await?;
        info!(
            trust_domain = config.trust_domain.as_str(),
            x509_authorities = bundle.x509.len(),
            jwt_authorities = bundle.jwt.len(),
            "bundle fetched"
        );
        self.set(Known { bundle, fetched_at });
        Ok(())
    }

    /// How long ago that was. A clock that was set back makes it long ago.
    fn age(&self, at: Timestamp) -> Duration {
        Duration::try_from(self.clock.now().duration_since(at)).unwrap_or(Duration::MAX)
    }

    fn known(&self) -> Option<Arc<Known>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, known: Known) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::new(known));
    }
}
