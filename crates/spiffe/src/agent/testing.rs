//! A server in the same process, for the tests of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_keys::{Algorithm, SigningKey};
use holdfast_types::{Clock as _, SecretString, SystemClock, Timestamp, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{Bundle, Entries, Entry, JwtSvid, MintError, Selector, Snapshot, Source, X509Svid};

/// Entries by id, path and selectors, the oldest first.
pub(crate) type Rows<'r> = [(&'r str, &'r str, &'r [&'r str])];

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn entries(rows: &Rows<'_>) -> Entries {
    let entry = |(age, (id, path, selectors)): (usize, &(&str, &str, &[&str]))| {
        Arc::new(Entry {
            id: (*id).to_owned(),
            spiffe_id: trust_domain().member(path).unwrap(),
            parent: trust_domain().member("/agent").unwrap(),
            selectors: selectors.iter().map(|text| Selector::parse(text).unwrap()).collect(),
            x509_ttl: None,
            jwt_ttl: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            hint: (*id).to_owned(),
            federates_with: BTreeSet::new(),
            created: Timestamp::from_second(age as i64).unwrap(),
            revision: 0,
            origin: String::new(),
            expires: None,
        })
    };
    rows.iter().enumerate().map(entry).collect()
}

/// A snapshot with these entries and an empty bundle.
pub(crate) fn snapshot(rows: &Rows<'_>) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        trust_domain: trust_domain(),
        entries: entries(rows),
        bundle: Arc::new(Bundle::empty(trust_domain())),
        federated: BTreeMap::new(),
    })
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
        params.not_before = date_time_ymd(2020, 1, 1);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }
}

/// The server.
pub(crate) struct TestServer {
    snapshot: watch::Sender<Option<Arc<Snapshot>>>,
    authority: Mutex<Authority>,
    token_key: SigningKey,
    /// The life of SVIDs.
    pub(crate) life: Mutex<Duration>,
    /// How many were signed so far.
    pub(crate) signed: AtomicUsize,
    /// How many tokens were signed so far.
    pub(crate) tokens: AtomicUsize,
}

impl TestServer {
    pub(crate) fn new(rows: &Rows<'_>) -> Arc<Self> {
        let (token_key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
        let server = Self {
            snapshot: watch::Sender::new(None),
            authority: Mutex::new(Authority::new()),
            token_key,
            life: Mutex::new(Duration::from_secs(3600)),
            signed: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
        };
        server.say(1, entries(rows));
        Arc::new(server)
    }

    /// Other entries, from now on.
    pub(crate) fn register(&self, rows: &Rows<'_>) {
        let sequence = self.sequence();
        self.say(sequence, entries(rows));
    }

    /// Another authority, and a bundle without the one before.
    pub(crate) fn replace_authority(&self) {
        *self.authority.lock().unwrap() = Authority::new();
        let entries = self.snapshot.borrow().as_ref().unwrap().entries.clone();
        self.say(self.sequence() + 1, entries);
    }

    /// All entries federate with this trust domain from now on, whose bundle is known.
    pub(crate) fn federate(&self, other: Bundle) {
        let mut snapshot = (**self.snapshot.borrow().as_ref().unwrap()).clone();
        for entry in snapshot.entries.by_age() {
            let mut entry = Entry::clone(&entry);
            entry.federates_with.insert(other.trust_domain.clone());
            snapshot.entries.insert(Arc::new(entry));
        }
        snapshot.federated.insert(other.trust_domain.clone(), Arc::new(other));
        self.snapshot.send_replace(Some(Arc::new(snapshot)));
    }

    /// A bundle that nobody's entry federates with.
    pub(crate) fn know(&self, other: Bundle) {
        let mut snapshot = (**self.snapshot.borrow().as_ref().unwrap()).clone();
        snapshot.federated.insert(other.trust_domain.clone(), Arc::new(other));
        self.snapshot.send_replace(Some(Arc::new(snapshot)));
    }

    fn sequence(&self) -> u64 {
        self.snapshot.borrow().as_ref().unwrap().bundle.sequence
    }

    fn say(&self, sequence: u64, entries: Entries) {
        let Value::Object(mut key) = self.token_key.public_jwk("key-1") else { panic!() };
        key.remove("use");
        let bundle = Bundle {
            x509_authorities: vec![self.authority.lock().unwrap().der.clone()],
            jwt_authorities: vec![key],
            sequence,
            ..Bundle::empty(trust_domain())
        };
        self.snapshot.send_replace(Some(Arc::new(Snapshot {
            trust_domain: trust_domain(),
            entries,
            bundle: Arc::new(bundle),
            federated: BTreeMap::new(),
        })));
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, MintError> {
        let snapshot = self.snapshot.borrow().clone().unwrap();
        let found = snapshot.entries.get(id);
        found.cloned().ok_or_else(|| MintError::NoEntry(id.to_owned()))
    }
}

#[async_trait]
impl Source for TestServer {
    fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshot.subscribe()
    }

    async fn mint_x509(&self, entry: &str, request: &[u8]) -> Result<X509Svid, MintError> {
        let entry = self.entry(entry)?;
        let request = CertificateSigningRequestParams::from_der(&request.to_vec().into())
            .map_err(|error| MintError::Invalid(error.to_string()))?;
        let now = SystemClock.now();
        let not_after = now + *self.life.lock().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(entry.spiffe_id.as_str().try_into().unwrap())];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        let authority = self.authority.lock().unwrap();
        let leaf = params.signed_by(&request.public_key, &authority.issuer).unwrap();
        self.signed.fetch_add(1, Ordering::SeqCst);
        Ok(X509Svid { chain: vec![leaf.der().to_vec()], not_before: now, not_after })
    }

    async fn mint_jwt(&self, entry: &str, audiences: &[String]) -> Result<JwtSvid, MintError> {
        let entry = self.entry(entry)?;
        let issued_at = SystemClock.now();
        let expires_at = issued_at + *self.life.lock().unwrap();
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        let Value::Object(claims) = json!({
            "sub": entry.spiffe_id, "aud": audiences, "jti": number,
            "iat": issued_at.as_second(), "exp": expires_at.as_second(),
        }) else {
            panic!()
        };
        let token = SecretString::new(self.token_key.sign("key-1", &claims).unwrap());
        Ok(JwtSvid { token, issued_at, expires_at })
    }
}
