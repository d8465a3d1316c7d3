//! Other trust domains: their bundles, and where these are fetched anew.
//!
//! A bundle is kept until an operator removes it or its endpoint gives another: one that does not
//! answer, or answers nonsense, takes nothing away. Each is fetched as often as it asks for, within
//! bounds, and after a failure again and again at growing distances; both give or take a tenth, so
//! that many servers do not come together. What is in force is stored before.

mod endpoint;
mod relationship;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_barrier::{EntryError, View};
use holdfast_types::{Chain, Clock, Random, Timestamp, TrustDomain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use endpoint::{FetchError, WebRoots};
pub use relationship::{InvalidRelationship, Profile, Relationship};

use crate::Bundle;

/// No more trust domains than this are federated with.
const MAX_DOMAINS: usize = 1000;
/// How often a bundle is fetched that does not say.
const DEFAULT_REFRESH: Duration = Duration::from_secs(300);
/// The bounds of what a bundle may ask for.
const REFRESH: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));
/// The first wait after a failure. It doubles up to the last, or to the refresh where that is less.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));
/// Timers stand still while a machine sleeps; so often the clock is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// So many endpoints are asked at once.
const AT_ONCE: usize = 8;

/// Why a trust domain was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// A server needs no other word for its own bundle.
    #[error("{0} is the server's own trust domain")]
    Own(TrustDomain),
    /// Nothing is known of it.
    #[error("bundle of {0} not found")]
    NoBundle(TrustDomain),
    /// It is not federated with.
    #[error("federation relationship with {0} not found")]
    NoRelationship(TrustDomain),
    /// It is federated with already.
    #[error("federation relationship with {0} already exists")]
    Exists(TrustDomain),
    /// It is described wrongly.
    #[error(transparent)]
    Invalid(#[from] InvalidRelationship),
    /// More than are kept.
    #[error("there are {MAX_DOMAINS} other trust domains already")]
    Full,
    /// Its endpoint gave no bundle. What was known of it stays.
    #[error("fetch the bundle of {0}")]
    Fetch(TrustDomain, #[source] FetchError),
    /// The store failed; nothing has changed.
    #[error("keep the bundle")]
    Store(#[from] EntryError),
}

/// When an endpoint is asked next.
#[derive(Debug, Clone, Copy)]
struct Plan {
    due: Timestamp,
    failures: u32,
}

/// The other trust domains.
pub(crate) struct Federation {
    own: TrustDomain,
    bundles: View,
    relationships: View,
    web_roots: WebRoots,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Mutex<BTreeMap<TrustDomain, Relationship>>,
    plans: Mutex<HashMap<TrustDomain, Plan>>,
    in_force: watch::Sender<BTreeMap<TrustDomain, Arc<Bundle>>>,
    /// Held by whoever changes something, from the check to the store.
    changing: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Federation {
    /// Reads what is stored.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn open(
        store: &View,
        own: TrustDomain,
        web_roots: WebRoots,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, EntryError> {
        let (bundles, relationships) = (store.sub("bundle/"), store.sub("federation/"));
        let mut in_force = BTreeMap::new();
        for name in bundles.scan("").await? {
            if let Some(bundle) = bundles.get_json::<Bundle>(&name).await? {
                in_force.insert(bundle.trust_domain.clone(), Arc::new(bundle));
            }
        }
        let mut known = BTreeMap::new();
        for name in relationships.scan("").await? {
            if let Some(one) = relationships.get_json::<Relationship>(&name).await? {
                known.insert(one.trust_domain.clone(), one);
            }
        }
        Ok(Self {
            own,
            bundles,
            relationships,
            web_roots,
            clock,
            random,
            known: Mutex::new(known),
            plans: Mutex::default(),
            in_force: watch::Sender::new(in_force),
            changing: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
        })
    }

    /// The bundles in force, and each change of them.
    pub(crate) fn bundles(&self) -> watch::Receiver<BTreeMap<TrustDomain, Arc<Bundle>>> {
        self.in_force.subscribe()
    }

    /// The trust domains whose bundles are fetched.
    pub(crate) fn relationships(&self) -> Vec<Relationship> {
        self.known().values().cloned().collect()
    }

    /// Takes an operator's word for a bundle.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn set_bundle(&self, bundle: Bundle) -> Result<(), FederationError> {
        let _changing = self.changing.lock().await;
        self.keep(bundle).await
    }

    /// Forgets a bundle. While it is fetched, it comes back.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn delete_bundle(&self, name: &TrustDomain) -> Result<(), FederationError> {
        let _changing = self.changing.lock().await;
        if !self.in_force.borrow().contains_key(name) {
            return Err(FederationError::NoBundle(name.clone()));
        }
        self.bundles.delete(name.as_str()).await?;
        self.in_force.send_modify(|bundles| drop(bundles.remove(name)));
        Ok(())
    }

    /// Has a trust domain's bundle fetched from now on.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn create(&self, new: Relationship) -> Result<(), FederationError> {
        let _changing = self.changing.lock().await;
        new.check()?;
        if new.trust_domain == self.own {
            return Err(FederationError::Own(new.trust_domain));
        }
        {
            let known = self.known();
            if known.contains_key(&new.trust_domain) {
                return Err(FederationError::Exists(new.trust_domain));
            }
            if known.len() >= MAX_DOMAINS {
                return Err(FederationError::Full);
            }
        }
        self.relationships.put_json(new.trust_domain.as_str(), &new).await?;
        self.known().insert(new.trust_domain.clone(), new);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Has a bundle fetched from elsewhere, or verified otherwise, at once and from now on.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn update(&self, new: Relationship) -> Result<(), FederationError> {
        let _changing = self.changing.lock().await;
        new.check()?;
        if !self.known().contains_key(&new.trust_domain) {
            return Err(FederationError::NoRelationship(new.trust_domain));
        }
        self.relationships.put_json(new.trust_domain.as_str(), &new).await?;
        self.plans().remove(&new.trust_domain);
        self.known().insert(new.trust_domain.clone(), new);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Has it fetched no more. The bundle that is known stays.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn delete(&self, name: &TrustDomain) -> Result<(), FederationError> {
        let _changing = self.changing.lock().await;
        if !self.known().contains_key(name) {
            return Err(FederationError::NoRelationship(name.clone()));
        }
        self.relationships.delete(name.as_str()).await?;
        self.known().remove(name);
        self.plans().remove(name);
        Ok(())
    }

    /// Fetches a bundle now.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub(crate) async fn refresh(&self, name: &TrustDomain) -> Result<(), FederationError> {
        let known = self.known().get(name).cloned();
        let one = known.ok_or_else(|| FederationError::NoRelationship(name.clone()))?;
        let outcome = self.fetch(&one).await;
        self.plan(&one, &outcome);
        outcome.map(|_| ())
    }

    /// Fetches each bundle when it is due, until shutdown.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let now = self.clock.now();
            let due = self.relationships().into_iter().filter(|one| self.due(one) <= now);
            let pass = stream::iter(due).for_each_concurrent(AT_ONCE, |one| async move {
                let outcome = self.fetch(&one).await;
                self.plan(&one, &outcome);
                if let Err(error) = outcome {
                    let error = Chain(&error).to_string();
                    tracing::warn!(error, "the bundle that is known stays");
                }
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = pass => {}
            }
            let next = self.relationships().iter().map(|one| self.due(one)).min();
            let wait = next.map_or(LOOK, |next| {
                let wait = next.as_millisecond().saturating_sub(self.clock.now().as_millisecond());
                Duration::from_millis(u64::try_from(wait).unwrap_or(0) + 1)
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(wait.min(LOOK)) => {}
            }
        }
    }

    async fn fetch(&self, one: &Relationship) -> Result<Arc<Bundle>, FederationError> {
        let failed = |error| FederationError::Fetch(one.trust_domain.clone(), error);
        let roots = match &one.profile {
            Profile::HttpsWeb => None,
            Profile::HttpsSpiffe { endpoint_spiffe_id } => {
                let of = TrustDomain::parse(endpoint_spiffe_id.trust_domain()).ok();
                let known = of.and_then(|of| self.in_force.borrow().get(&of).cloned());
                Some(known.ok_or_else(|| failed(FetchError::NoBundle))?)
            }
        };
        let fetched = endpoint::fetch(one, roots.as_deref(), &self.web_roots).await;
        let bundle = fetched.map_err(failed)?;
        let _changing = self.changing.lock().await;
        // It may have been removed meanwhile, or be another endpoint's to say.
        if self.known().get(&one.trust_domain) != Some(one) {
            return Err(FederationError::NoRelationship(one.trust_domain.clone()));
        }
        let before = self.in_force.borrow().get(&one.trust_domain).cloned();
        if let Some(before) = &before
            && **before == bundle
        {
            return Ok(before.clone());
        }
        let (old, new) = (before.map_or(0, |before| before.sequence), bundle.sequence);
        if new < old {
            tracing::warn!(trust_domain = %one.trust_domain, old, new, "a bundle's sequence went back");
        }
        let bundle = Arc::new(bundle);
        self.keep(Bundle::clone(&bundle)).await?;
        tracing::info!(trust_domain = %one.trust_domain, sequence = new, "another trust domain's bundle");
        Ok(bundle)
    }

    /// Stores a bundle, then puts it in force.
    async fn keep(&self, bundle: Bundle) -> Result<(), FederationError> {
        if bundle.trust_domain == self.own {
            return Err(FederationError::Own(bundle.trust_domain));
        }
        let name = bundle.trust_domain.clone();
        let is_full = {
            let known = self.in_force.borrow();
            known.len() >= MAX_DOMAINS && !known.contains_key(&name)
        };
        if is_full {
            return Err(FederationError::Full);
        }
        self.bundles.put_json(name.as_str(), &bundle).await?;
        self.in_force.send_modify(|bundles| drop(bundles.insert(name, Arc::new(bundle))));
        Ok(())
    }

    fn due(&self, one: &Relationship) -> Timestamp {
        let plans = self.plans();
        plans.get(&one.trust_domain).map_or(Timestamp::MIN, |plan| plan.due)
    }

    fn plan(&self, one: &Relationship, outcome: &Result<Arc<Bundle>, FederationError>) {
        if self.known().get(&one.trust_domain) != Some(one) {
            return;
        }
        let mut plans = self.plans();
        let failures = match outcome {
            Ok(_) => 0,
            Err(_) => plans.get(&one.trust_domain).map_or(0, |plan| plan.failures) + 1,
        };
        let known = self.in_force.borrow().get(&one.trust_domain).cloned();
        let mut chance = [0];
        self.random.fill(&mut chance);
        let hint = known.and_then(|bundle| bundle.refresh_hint);
        let due = self.clock.now() + wait(hint, failures, chance[0]);
        plans.insert(one.trust_domain.clone(), Plan { due, failures });
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Relationship>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<TrustDomain, Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until an endpoint is asked again: what its bundle hints at, or less after so many
/// failures in a row; by `chance` (0 to 255) a tenth more or less.
fn wait(hint: Option<Duration>, failures: u32, chance: u8) -> Duration {
    let refresh = hint.unwrap_or(DEFAULT_REFRESH).clamp(REFRESH.0, REFRESH.1);
    let base = match failures.checked_sub(1) {
        None => refresh,
        Some(doublings) => RETRY.0.saturating_mul(1 << doublings.min(16)).min(RETRY.1).min(refresh),
    };
    base.mul_f64(0.9 + 0.2 * f64::from(chance) / 255.0)
}

#[cfg(test)]
mod tests;
