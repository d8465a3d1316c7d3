//! What every call needs: who asks, and what is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Clock, Random, Timestamp, TrustDomain};
use tokio::sync::{Semaphore, watch};
use tonic::Status;

use super::attest::{AttestError, Attested, Attestor, Peer};
use super::caller::{Caller, Place, Places};
use super::denials::Denials;
use super::registry::Registry;
use super::svids::{Svid, Svids};
use super::tokens::Tokens;
use crate::{Bundle, Entry, MintError, Source};

/// How long a call waits for the server's first word.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// So many processes are looked at at once.
const LOOKS: usize = 8;
/// So many open streams are told of a change at once. Ten thousand that are due together would keep
/// the processors from whoever has just asked, who waits for none of them.
const TURNS: usize = 8;
/// Open streams in all, and of one process.
const STREAMS: (usize, usize) = (65_536, 16_384);

/// The agent, as its services see it.
pub(super) struct Core {
    pub(super) attestor: Arc<Attestor>,
    pub(super) registry: watch::Receiver<Option<Arc<Registry>>>,
    pub(super) svids: Svids,
    pub(super) tokens: Tokens,
    pub(super) denials: Denials,
    pub(super) clock: Arc<dyn Clock>,
    /// One is held by an open stream while it looks for something new to tell.
    pub(super) turns: Semaphore,
    looks: Semaphore,
    streams: Arc<Places>,
}

/// What a caller gets at one moment.
#[derive(Clone)]
pub(super) struct View {
    /// The default one first. Empty where only bundles are wanted.
    pub(super) svids: Vec<Arc<Svid>>,
    pub(super) bundle: Arc<Bundle>,
    pub(super) federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    /// When it may be another, if the registration stays.
    pub(super) next: Option<Timestamp>,
}

impl View {
    /// Whether another view holds the same SVIDs and X.509 authorities.
    pub(super) fn is_same_x509(&self, other: &Self) -> bool {
        let serials = |view: &Self| view.svids.iter().map(|svid| svid.serial).collect::<Vec<_>>();
        serials(self) == serials(other)
            && self.are_bundles_same(other, |one, other| {
                one.x509_authorities == other.x509_authorities
            })
    }

    /// Whether another view holds the same JWT authorities.
    pub(super) fn is_same_jwt(&self, other: &Self) -> bool {
        self.are_bundles_same(other, |one, other| one.jwt_authorities == other.jwt_authorities)
    }

    fn are_bundles_same(&self, other: &Self, same: fn(&Bundle, &Bundle) -> bool) -> bool {
        // Most often it is the very same one.
        let same =
            |one: &Arc<Bundle>, other: &Arc<Bundle>| Arc::ptr_eq(one, other) || same(one, other);
        same(&self.bundle, &other.bundle)
            && self.federated.len() == other.federated.len()
            && self
                .federated
                .iter()
                .all(|(name, one)| other.federated.get(name).is_some_and(|two| same(one, two)))
    }
}

impl Core {
    pub(super) fn new(
        source: Arc<dyn Source>,
        attestor: Arc<Attestor>,
        registry: watch::Receiver<Option<Arc<Registry>>>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Arc<Self> {
        Arc::new(Self {
            attestor,
            registry,
            svids: Svids::new(source.clone(), clock.clone(), random.clone()),
            tokens: Tokens::new(source, clock.clone(), random.clone()),
            denials: Denials::new(random),
            clock,
            turns: Semaphore::new(TURNS),
            looks: Semaphore::new(LOOKS),
            streams: Places::new(STREAMS.0, STREAMS.1),
        })
    }

    /// What the server said last; waits for its first word.
    pub(super) async fn registry(&self) -> Result<Arc<Registry>, Status> {
        let mut registry = self.registry.clone();
        let first = tokio::time::timeout(FIRST_WORD, registry.wait_for(Option::is_some)).await;
        let known = first.ok().and_then(|known| known.ok()?.clone());
        known.ok_or_else(|| Status::unavailable("the agent has not heard from its server yet"))
    }

    /// What is to be known of a caller.
    pub(super) async fn attest(
        &self,
        caller: &Caller,
        registry: &Registry,
    ) -> Result<Attested, Status> {
        self.attest_process(self.process(caller)?, registry).await
    }

    /// The process of a caller.
    pub(super) fn process<'c>(&self, caller: &'c Caller) -> Result<&'c Peer, Status> {
        caller.peer.as_ref().map_err(unattested)
    }

    /// What is to be known of a process.
    pub(super) async fn attest_process(
        &self,
        process: &Peer,
        registry: &Registry,
    ) -> Result<Attested, Status> {
        // Before there is a look: others can be looked at meanwhile.
        self.attestor.prepare(process).await;
        let peer = process.clone();
        let (attestor, with_hash) = (self.attestor.clone(), registry.wants_hash());
        let _look = self.looks.acquire().await;
        let look = tokio::task::spawn_blocking(move || attestor.attest(&peer, with_hash)).await;
        look.map_err(|_| Status::unavailable("the workload cannot be attested"))?
            .map_err(|error| unattested(&error))
    }

    /// Whether a caller still is what it was seen to be.
    pub(super) fn is_still(&self, caller: &Caller, attested: &Attested) -> bool {
        let peer = caller.peer.as_ref().ok();
        peer.is_some_and(|peer| self.attestor.is_still(peer, attested).is_ok())
    }

    /// A place for another stream of this caller.
    pub(super) fn open_stream(&self, caller: &Caller) -> Result<Place, Status> {
        let pid = self.process(caller)?.pid();
        let place = self.streams.take(pid.unsigned_abs());
        place.ok_or_else(|| Status::resource_exhausted("too many open streams"))
    }

    /// The entries of a caller, the default one first; a hint names one of them only.
    pub(super) fn entries(
        &self,
        registry: &Registry,
        attested: &Attested,
    ) -> Result<Vec<Arc<Entry>>, Status> {
        let entries = self.identities(registry, attested);
        if entries.is_empty() { Err(self.denied(attested)) } else { Ok(entries) }
    }

    /// The same, and none where there are none.
    pub(super) fn identities(&self, registry: &Registry, attested: &Attested) -> Vec<Arc<Entry>> {
        let mut entries = registry.matching(&attested.selectors);
        let now = self.clock.now();
        let mut hints = BTreeSet::new();
        entries.retain(|entry| {
            let is_over = entry.expires.is_some_and(|expires| expires <= now);
            !is_over && (entry.hint.is_empty() || hints.insert(entry.hint.clone()))
        });
        entries
    }

    /// The refusal of a caller without identities. Clients look for its first three words.
    pub(super) fn denied(&self, attested: &Attested) -> Status {
        let id = self.denials.note(attested, self.clock.now());
        tracing::info!(
            pid = attested.pid,
            executable = %attested.executable.display(),
            explain = id,
            "no identity issued"
        );
        Status::permission_denied(format!("no identity issued (explain {id})"))
    }

    /// What a caller with these entries gets.
    pub(super) async fn view(
        &self,
        registry: &Registry,
        entries: &[Arc<Entry>],
        with_svids: bool,
    ) -> Result<View, Status> {
        let bundle = registry.snapshot.bundle.clone();
        let (mut svids, mut next) = (Vec::new(), None);
        for entry in entries.iter().filter(|_| with_svids) {
            match self.svids.get(entry, &bundle).await {
                Ok((svid, again)) => {
                    next = Some(next.map_or(again, |next: Timestamp| next.min(again)));
                    svids.push(svid);
                }
                // It was removed a moment ago, which we are about to hear.
                Err(MintError::NoEntry(_)) if entries.len() > 1 => {}
                Err(error) => return Err(unsigned(&error)),
            }
        }
        let federated = entries.iter().flat_map(|entry| &entry.federates_with);
        let federated = federated.filter_map(|name| {
            let bundle = registry.snapshot.federated.get(name)?;
            Some((name.clone(), bundle.clone()))
        });
        let federated = federated.collect();
        Ok(View { svids, bundle, federated, next })
    }
}

/// The answer where it is not certain who asks.
fn unattested(error: &AttestError) -> Status {
    tracing::debug!(%error, "attest a workload");
    Status::unavailable(format!("the workload cannot be attested: {error}"))
}

/// The answer where the server does not sign.
pub(super) fn unsigned(error: &MintError) -> Status {
    match error {
        MintError::NoEntry(_) => Status::unavailable("the registration is changing"),
        MintError::Invalid(text) => {
            tracing::error!(error = text, "sign an SVID");
            Status::internal("the SVID cannot be signed")
        }
        MintError::Unavailable(source) => {
            tracing::warn!(error = source.to_string(), "sign an SVID");
            Status::unavailable("the server cannot sign at the moment")
        }
    }
}
