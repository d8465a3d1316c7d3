//! What the agent says, at every moment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::SecretString;
use spiffe::x509_source::X509SourceUpdates;
use spiffe::{JwtSource, SpiffeId, X509Source, X509Svid};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How often the agent is tried again: at first, and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where the agent is, and which identity is wanted.
#[derive(Debug, Clone)]
pub struct WorkloadSettings {
    /// The agent, such as `unix:///run/holdfast/spiffe/agent.sock`. Default: what
    /// `SPIFFE_ENDPOINT_SOCKET` says.
    pub endpoint: Option<String>,
    /// The ID to act as, where the process has several. Default: the agent's first.
    pub id: Option<SpiffeId>,
    /// How long the agent may take to give a first identity: it may start later, and an entry may
    /// be made later. Default: 60 s.
    pub start_limit: Duration,
    /// How long it may take to give a token. Default: 10 s.
    pub fetch_limit: Duration,
}

impl Default for WorkloadSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            id: None,
            start_limit: Duration::from_secs(60),
            fetch_limit: Duration::from_secs(10),
        }
    }
}

/// Why there is no identity. No key and no token is part of it.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The agent gave no certificate.
    #[error("get an X.509-SVID from the SPIFFE agent")]
    X509(#[source] Box<spiffe::X509SourceError>),
    /// The agent gave no token, or no keys that verify tokens.
    #[error("get a JWT-SVID from the SPIFFE agent")]
    Jwt(#[source] Box<spiffe::JwtSourceError>),
    /// The agent did not answer.
    #[error("the SPIFFE agent gave no JWT-SVID within {} s", .0.as_secs_f32())]
    Slow(Duration),
}

/// A service's own identity, which follows the agent for as long as a clone of this lives.
#[derive(Clone)]
pub struct Workload {
    x509: X509Source,
    jwt: JwtSource,
    id: Option<SpiffeId>,
    fetch_limit: Duration,
}

/// A certificate with its key, as it was at one moment.
#[derive(Clone)]
pub struct Svid(Arc<X509Svid>);

impl Workload {
    /// Waits for a first identity, and follows it from then on.
    ///
    /// # Errors
    /// The agent gives none within [`start_limit`](WorkloadSettings::start_limit), or not the one
    /// that is wanted.
    pub async fn connect(settings: WorkloadSettings) -> Result<Self, WorkloadError> {
        let (first, most) = RECONNECT;
        let mut x509 = X509Source::builder()
            .reconnect_backoff(first, most)
            .initial_sync_timeout(settings.start_limit);
        let mut jwt = JwtSource::builder()
            .reconnect_backoff(first, most)
            .initial_sync_timeout(settings.start_limit);
        if let Some(endpoint) = &settings.endpoint {
            x509 = x509.endpoint(endpoint);
            jwt = jwt.endpoint(endpoint);
        }
        if let Some(id) = settings.id.clone() {
            let own = move |svids: &[Arc<X509Svid>]| {
                svids.iter().position(|svid| *svid.spiffe_id() == id)
            };
            x509 = x509.picker(Picker(own));
        }
        let x509 = x509.build().await.map_err(x509_error)?;
        let jwt = jwt.build().await.map_err(jwt_error)?;
        Ok(Self { x509, jwt, id: settings.id, fetch_limit: settings.fetch_limit })
    }

    /// The certificate of now.
    ///
    /// # Errors
    /// It has ended while the agent was away, or the agent took it back.
    pub fn svid(&self) -> Result<Svid, WorkloadError> {
        self.x509.svid().map(Svid).map_err(x509_error)
    }

    /// A token for `audience` that is good now and for a while. The agent keeps them, so this can
    /// be asked for each request.
    ///
    /// # Errors
    /// The agent has no identity for this process, or does not answer.
    pub async fn token(&self, audience: &str) -> Result<SecretString, WorkloadError> {
        let asked = self.jwt.fetch_jwt_svid_with_id([audience], self.id.as_ref());
        let answer = timeout(self.fetch_limit, asked).await;
        let svid = answer.map_err(|_| WorkloadError::Slow(self.fetch_limit))?;
        Ok(SecretString::from(svid.map_err(jwt_error)?.token()))
    }

    /// The authorities of its own trust domain of now, PEM.
    ///
    /// # Errors
    /// As [`svid`](Self::svid).
    pub fn authorities(&self) -> Result<String, WorkloadError> {
        let svid = self.x509.svid().map_err(x509_error)?;
        let bundle = self.x509.try_bundle_for_trust_domain(svid.spiffe_id().trust_domain());
        let bundle = bundle.ok_or_else(|| x509_error(spiffe::X509SourceError::NoSuitableSvid))?;
        let mut text = Zeroizing::new(String::new());
        for authority in bundle.authorities() {
            push_pem(&mut text, "CERTIFICATE", authority.as_bytes());
        }
        Ok(text.to_string())
    }

    /// Tells of each change of certificates and authorities.
    #[must_use]
    pub fn updated(&self) -> X509SourceUpdates {
        self.x509.updated()
    }

    pub(super) fn x509(&self) -> X509Source {
        self.x509.clone()
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.x509.try_svid().map(|svid| svid.spiffe_id().to_string());
        f.debug_struct("Workload").field("id", &id).finish_non_exhaustive()
    }
}

impl Svid {
    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        self.0.spiffe_id()
    }

    /// DER: the certificate, then the authorities between it and the bundle.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.cert_chain().iter().map(spiffe::cert::Certificate::as_bytes)
    }

    /// The chain, followed by its key, all PEM.
    #[must_use]
    pub fn to_pem(&self) -> SecretString {
        let key = self.0.private_key().as_bytes();
        // Room for all of it: growing would leave parts of the key behind.
        let length = self.chain().map(<[u8]>::len).sum::<usize>() + key.len();
        let blocks = self.chain().count() + 1;
        let mut text = Zeroizing::new(String::with_capacity(length * 3 / 2 + blocks * 128));
        for certificate in self.chain() {
            push_pem(&mut text, "CERTIFICATE", certificate);
        }
        push_pem(&mut text, "PRIVATE KEY", key);
        SecretString::new(std::mem::take(&mut *text))
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Svid").field(&self.id().to_string()).finish()
    }
}

/// Picks by a function.
struct Picker<F>(F);

impl<F> spiffe::x509_source::SvidPicker for Picker<F>
where
    F: Fn(&[Arc<X509Svid>]) -> Option<usize> + Send + Sync + 'static,
{
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        (self.0)(svids)
    }
}

fn push_pem(text: &mut String, label: &str, der: &[u8]) {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

fn x509_error(error: spiffe::X509SourceError) -> WorkloadError {
    WorkloadError::X509(Box::new(error))
}

fn jwt_error(error: spiffe::JwtSourceError) -> WorkloadError {
    WorkloadError::Jwt(Box::new(error))
}
