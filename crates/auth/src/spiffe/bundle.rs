//! Bundles: the authorities of a trust domain, as JSON or as PEM.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::Jwks;
use holdfast_keys::x509::Certificate;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// More keys than any trust domain has.
const MAX_KEYS: usize = 256;
/// How often to look for a change where the bundle does not say.
const USUAL_HINT: Duration = Duration::from_secs(300);
const HINTS: std::ops::RangeInclusive<u64> = 10..=86_400;

/// What verifies the SVIDs of a trust domain.
#[derive(Debug, Clone)]
pub(super) struct Bundle {
    pub(super) x509: Vec<Certificate>,
    pub(super) jwt: Jwks,
    /// How often to look for a change: 10 seconds to a day.
    pub(super) refresh_hint: Duration,
}

/// Why a text is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BundleError {
    #[error("neither PEM with certificates nor a JSON object with \"keys\"")]
    Form,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    #[error("key {0} is no X.509 authority: \"x5c\" holds not exactly one CA certificate")]
    Authority(usize),
    #[error("no authority at all")]
    Empty,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Map<String, Value>>,
    spiffe_refresh_hint: Option<u64>,
}

impl Bundle {
    /// Reads JSON (SPIFFE Trust Domain and Bundle, section 4; a key set without `use` holds keys of
    /// JWT-SVIDs), or PEM with the certificates of X.509 authorities.
    ///
    /// # Errors
    /// It is neither, or holds no authority.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Self::parse_pem(bytes);
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|_| BundleError::Form)?;
        if document.keys.len() > MAX_KEYS {
            return Err(BundleError::TooMany);
        }
        let (mut x509, mut jwt) = (Vec::new(), Vec::new());
        for (index, key) in document.keys.into_iter().enumerate() {
            match key.get("use").and_then(Value::as_str) {
                Some("x509-svid") => {
                    x509.push(authority(&key).ok_or(BundleError::Authority(index))?);
                }
                Some("jwt-svid" | "sig") => jwt.push(Value::Object(key)),
                None if !key.contains_key("use") => jwt.push(Value::Object(key)),
                // Keys of other uses are for others.
                _ => {}
            }
        }
        let jwt = Jwks::parse(json!({ "keys": jwt }).to_string().as_bytes())
            .map_err(|_| BundleError::Form)?;
        let hint = document.spiffe_refresh_hint.filter(|seconds| *seconds > 0);
        let refresh_hint = hint.map_or(USUAL_HINT, |seconds| {
            Duration::from_secs(seconds.clamp(*HINTS.start(), *HINTS.end()))
        });
        Self { x509, jwt, refresh_hint }.not_empty()
    }

    fn parse_pem(bytes: &[u8]) -> Result<Self, BundleError> {
        let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Form)?;
        let mut x509 = Certificate::all_from_pem(text).map_err(|_| BundleError::Form)?;
        if x509.len() > MAX_KEYS {
            return Err(BundleError::TooMany);
        }
        x509.retain(|certificate| certificate.is_ca);
        Self { x509, jwt: Jwks::default(), refresh_hint: USUAL_HINT }.not_empty()
    }

    fn not_empty(self) -> Result<Self, BundleError> {
        match self.x509.is_empty() && self.jwt.is_empty() {
            true => Err(BundleError::Empty),
            false => Ok(self),
        }
    }
}

/// The one certificate of a key with the use `x509-svid`.
fn authority(key: &Map<String, Value>) -> Option<Certificate> {
    let [Value::String(text)] = key.get("x5c")?.as_array()?.as_slice() else { return None };
    let certificate = Certificate::from_der(&STANDARD.decode(text).ok()?).ok()?;
    certificate.is_ca.then_some(certificate)
}
