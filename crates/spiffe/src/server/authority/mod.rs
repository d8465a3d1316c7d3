//! The trust domain's authorities: the keys that sign SVIDs, and what verifies them.
//!
//! [`lifecycle`] decides; this shell makes keys, has them signed, stores them and publishes them. All
//! of it is one record of the sealed store, so that what a crash leaves is one moment or another.

mod lifecycle;
mod orders;
mod stored;
pub mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_barrier::{EntryError, View};
use holdfast_keys::x509::{
    Certificate, Curve, Extension, GeneralName, Hash, KeyAlgorithm, PrivateKey, RequestTemplate,
    X509Error,
};
use holdfast_keys::{Algorithm, SigningKey};
use holdfast_types::{Clock, Random, SpiffeId, Timestamp, TrustDomain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::lifecycle::MAX_KEYS;
use self::lifecycle::{Lifecycle, Step};
pub(crate) use self::orders::{Authority, Kind, OrderError, Standing};
use self::stored::{Damaged, Stored, StoredJwt, StoredX509};
use self::upstream::{
    AuthorityRequest, SignedAuthority, Upstream, UpstreamError, authority_name, self_signed,
};
use super::svid::{BACKDATED, JwtSigner, SignError, X509Signer, X509Subject};
use crate::{Bundle, JwtSvid, X509Svid};

/// Where the record lies in the store.
const RECORD: &str = "authorities";

/// How the authorities are to be.
#[derive(Debug, Clone)]
pub struct AuthoritySettings {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Life of a signing certificate, and of a key that signs tokens. Default: 24 h.
    pub life: Duration,
    /// How tokens are signed: ES256, or RS256 for verifiers that know nothing else.
    pub jwt_algorithm: Algorithm,
    /// Claim `iss`: where OIDC discovery finds the keys.
    pub jwt_issuer: Option<String>,
    /// A key that signs tokens is brought to somebody who cannot fetch it: while another one can sign,
    /// it waits for [`Authorities::acknowledge`].
    pub jwt_keys_are_brought: bool,
    /// How often others should look at the bundle.
    pub refresh_hint: Duration,
}

/// Why the authorities cannot be kept up.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store failed.
    #[error("keep the authorities")]
    Store(#[from] EntryError),
    /// What the store holds is not readable.
    #[error("read the stored authorities")]
    Damaged(#[from] Damaged),
    /// The upstream did not sign.
    #[error("have an authority signed")]
    Upstream(#[from] UpstreamError),
    /// The cryptographic library failed.
    #[error("make an authority's key")]
    Key(#[from] X509Error),
    /// The same for tokens.
    #[error("make a key for tokens")]
    JwtKey(#[from] holdfast_keys::SigningError),
    /// The thread that makes keys was stopped.
    #[error("make a key: the process is ending")]
    Stopped,
}

/// The authorities of a trust domain.
pub struct Authorities {
    settings: AuthoritySettings,
    store: View,
    /// None: each authority signs itself, and stands in the bundle.
    upstream: Option<Arc<dyn Upstream>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What signs; replaced as a whole.
    keys: RwLock<Arc<Keys>>,
    /// The record as it is stored. Held by whoever changes it.
    record: tokio::sync::Mutex<Stored>,
    bundle: watch::Sender<Arc<Bundle>>,
}

/// Keys that are ready for use, and when each may be used.
#[derive(Default)]
struct Keys {
    x509: Lifecycle,
    x509_signers: HashMap<String, Arc<X509Signer>>,
    jwt: Lifecycle,
    jwt_signers: HashMap<String, Arc<JwtSigner>>,
}

impl Authorities {
    /// Reads what is stored. Nothing is made yet: see [`Authorities::advance`]. Without an upstream
    /// the authorities sign themselves.
    ///
    /// # Errors
    /// The store fails, or what it holds is damaged.
    pub async fn open(
        store: View,
        upstream: Option<Arc<dyn Upstream>>,
        settings: AuthoritySettings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, AuthorityError> {
        let record: Stored = store.get_json(RECORD).await?.unwrap_or_default();
        let keys = Arc::new(record.keys(None)?);
        let bundle = watch::Sender::new(Arc::new(record.bundle(&settings)?));
        Ok(Self {
            settings,
            store,
            upstream,
            clock,
            random,
            keys: RwLock::new(keys),
            record: tokio::sync::Mutex::new(record),
            bundle,
        })
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &AuthoritySettings {
        &self.settings
    }

    /// What verifies, now and after every change.
    pub fn bundle(&self) -> watch::Receiver<Arc<Bundle>> {
        self.bundle.subscribe()
    }

    /// Whether both kinds of SVID can be signed.
    pub fn is_ready(&self) -> bool {
        let (keys, now) = (self.keys(), self.clock.now());
        keys.x509.active(now).is_some() && keys.jwt.active(now).is_some()
    }

    /// Signs an X.509-SVID.
    ///
    /// # Errors
    /// There is no valid authority, or the library refuses.
    pub fn sign_x509(&self, subject: X509Subject<'_>) -> Result<X509Svid, SignError> {
        let (keys, now) = (self.keys(), self.clock.now());
        let slot = keys.x509.active(now).ok_or(SignError::NoKey)?;
        let signer = keys.x509_signers.get(&slot.id).ok_or(SignError::NoKey)?;
        signer.sign(subject, now, &*self.random)
    }

    /// Signs a JWT-SVID.
    ///
    /// # Errors
    /// As above.
    pub fn sign_jwt(
        &self,
        spiffe_id: &SpiffeId,
        audiences: &[String],
        ttl: Duration,
    ) -> Result<JwtSvid, SignError> {
        let (keys, now) = (self.keys(), self.clock.now());
        let slot = keys.jwt.active(now).ok_or(SignError::NoKey)?;
        let signer = keys.jwt_signers.get(&slot.id).ok_or(SignError::NoKey)?;
        signer.sign(spiffe_id, audiences, ttl, self.settings.jwt_issuer.as_deref(), now)
    }

    /// Does all that is due. Each step is stored, and published where others must know, before the
    /// next one.
    ///
    /// # Errors
    /// The first step that failed; those before it are done, and a later call goes on from there.
    pub async fn advance(&self) -> Result<(), AuthorityError> {
        let mut record = self.record.lock().await;
        // Tokens first: they need no upstream.
        while let Some(step) = record.jwt.due(self.clock.now()) {
            let mut next = record.clone();
            match &step {
                Step::Prepare => _ = self.prepare_jwt(&mut next).await?,
                Step::Activate(id) => {
                    warn_of_awaited(&next.jwt, id);
                    next.jwt.activate(id);
                }
                Step::Forget(id) => next.forget_jwt(id),
            }
            self.install(&mut record, next).await?;
            tell("jwt", &step);
        }
        while let Some(step) = record.x509.due(self.clock.now()) {
            let mut next = record.clone();
            match &step {
                Step::Prepare => _ = self.prepare_x509(&mut next).await?,
                Step::Activate(id) => next.x509.activate(id),
                Step::Forget(id) => next.forget_x509(id),
            }
            self.install(&mut record, next).await?;
            tell("x509", &step);
        }
        Ok(())
    }

    /// All who verify tokens have the keys of these ids. One that waited for that signs when it is due.
    ///
    /// # Errors
    /// It cannot be stored, or what is due fails.
    pub async fn acknowledge(&self, key_ids: &[String]) -> Result<(), AuthorityError> {
        let mut record = self.record.lock().await;
        let mut next = record.clone();
        if key_ids.iter().filter(|id| next.jwt.acknowledge(id)).count() == 0 {
            return Ok(());
        }
        self.install(&mut record, next).await?;
        drop(record);
        self.advance().await
    }

    /// Keeps the authorities up until shutdown.
    pub async fn run(&self, shutdown: CancellationToken) {
        /// A sleeping machine's clock goes on, and clocks are set: what is due is looked at this often at
        /// least.
        const LOOK: Duration = Duration::from_secs(2);
        const LONGEST_RETRY: Duration = Duration::from_secs(60);
        const FIRST_RETRY: Duration = Duration::from_secs(1);
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.advance().await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    self.rest().clamp(Duration::from_millis(100), LOOK)
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    let upstream =
                        self.upstream.as_ref().map_or("none", |upstream| upstream.name());
                    warn!(error, upstream, "keep the authorities up");
                    retry = (retry * 2).min(LONGEST_RETRY);
                    retry
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn rest(&self) -> Duration {
        let (keys, now) = (self.keys(), self.clock.now());
        keys.x509.rest(now).min(keys.jwt.rest(now))
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores the record, then uses and publishes it.
    async fn install(&self, record: &mut Stored, mut next: Stored) -> Result<(), AuthorityError> {
        let mut bundle = next.bundle(&self.settings)?;
        let before = self.bundle.borrow().clone();
        bundle.sequence = before.sequence;
        let is_changed = bundle != *before;
        if is_changed {
            next.sequence = before.sequence + 1;
            bundle.sequence = next.sequence;
        }
        let keys = Arc::new(next.keys(Some(&self.keys()))?);
        self.store.put_json(RECORD, &next).await?;
        *record = next;
        if is_changed {
            self.bundle.send_replace(Arc::new(bundle));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Gives the new key's id.
    async fn prepare_jwt(&self, record: &mut Stored) -> Result<String, AuthorityError> {
        let algorithm = self.settings.jwt_algorithm;
        // RSA takes its time.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let (_, pkcs8) = made.map_err(|_| AuthorityError::Stopped)??;
        let (not_before, not_after) = self.validity();
        let id = self.random.base62(32);
        record.jwt.prepared(id.clone(), not_before, not_after);
        if self.settings.jwt_keys_are_brought {
            record.jwt.wait_for(&id);
        }
        record.jwt_keys.insert(id.clone(), StoredJwt::new(algorithm, &pkcs8));
        Ok(id)
    }

    /// Gives the new authority's id.
    async fn prepare_x509(&self, record: &mut Stored) -> Result<String, AuthorityError> {
        let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256))?;
        let (signed, own) = match &self.upstream {
            Some(upstream) => self.sign_by(&**upstream, &key).await?,
            None => self.sign_itself(&key)?,
        };
        let now = self.clock.now();
        if own.not_after <= now || own.not_before > now {
            let what = format!("a certificate valid from {} to {}", own.not_before, own.not_after);
            return Err(UpstreamError::Answer(what).into());
        }
        let id = hex::encode(own.public_key.key_id());
        record.x509.prepared(id.clone(), own.not_before, own.not_after);
        record.x509_keys.insert(id.clone(), StoredX509::new(&key, &signed));
        Ok(id)
    }

    async fn sign_by(
        &self,
        upstream: &dyn Upstream,
        key: &PrivateKey,
    ) -> Result<(SignedAuthority, Certificate), AuthorityError> {
        let trust_domain = &self.settings.trust_domain;
        let names = [GeneralName::Uri(trust_domain.id().to_string())];
        let request = RequestTemplate {
            subject: authority_name(trust_domain, "SPIFFE"),
            extensions: Vec::from_iter(Extension::subject_alt_name(&names, false)),
        };
        let csr = request.sign(key, key.signature_algorithm(Hash::Sha256, false))?;
        let request = AuthorityRequest {
            csr: &csr,
            trust_domain,
            life: self.settings.life,
            now: self.clock.now(),
        };
        let signed = upstream.sign(request).await?;
        let own = signed.check(&csr)?;
        Ok((signed, own))
    }

    fn sign_itself(
        &self,
        key: &PrivateKey,
    ) -> Result<(SignedAuthority, Certificate), AuthorityError> {
        let (trust_domain, life) = (&self.settings.trust_domain, self.settings.life);
        let now = self.clock.now();
        let der = self_signed(trust_domain, "SPIFFE", key, now, life, &*self.random)?;
        let own = Certificate::from_der(&der)?;
        Ok((SignedAuthority { chain: vec![der.clone()], roots: vec![der] }, own))
    }

    fn validity(&self) -> (Timestamp, Timestamp) {
        let now = self.clock.now();
        (now - BACKDATED, now + self.settings.life)
    }
}

/// The first key of all has nobody yet who would verify by another one.
fn warn_of_awaited(keys: &Lifecycle, id: &str) {
    let is_first = keys.slots().len() == 1;
    if !is_first && keys.slots().iter().any(|slot| slot.id == id && slot.is_awaited) {
        warn!(authority.id = id, "a key signs tokens that not all who verify them have");
    }
}

fn tell(kind: &'static str, step: &Step) {
    match step {
        Step::Prepare => info!(authority.kind = kind, "the next authority is prepared"),
        Step::Activate(id) => info!(authority.kind = kind, authority.id = id, "authority active"),
        Step::Forget(id) => info!(authority.kind = kind, authority.id = id, "authority ended"),
    }
}

#[cfg(test)]
mod tests;
