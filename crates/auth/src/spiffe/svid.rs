//! SVIDs, and every reason not to take one.

use holdfast_keys::x509::{Certificate, ChainError, GeneralName, KeyUsage, verify_client};
use holdfast_keys::{Algorithm, Jwks, SignedToken, TokenError};
use holdfast_types::{SpiffeId, SpiffeIdError, Timestamp, TrustDomain};
use serde_json::{Map, Value};

use super::bundle::Bundle;

/// How far clocks may differ, in seconds.
const SKEW: i64 = 30;

/// Why an SVID is not taken. Whoever shows it is told none of this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SvidError {
    #[error("the certificate cannot be read")]
    Certificate,
    #[error("an X.509-SVID has exactly one URI, and this certificate has {0}")]
    Uris(usize),
    #[error("an X.509-SVID may sign neither certificates nor revocation lists")]
    SigningUse,
    #[error("an X.509-SVID's key is for digital signatures")]
    NoSignatureUse,
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("token must be signed")]
    Unsigned,
    #[error("the token cannot be read: {0}")]
    Token(TokenError),
    #[error("a JWT-SVID is not signed with {0}")]
    Algorithm(&'static str),
    #[error("the bundle has no key with the token's id")]
    UnknownKey,
    #[error("no key of the bundle signed the token")]
    WrongKey,
    #[error("the token has no sub claim")]
    NoSubject,
    #[error("the token's audience is none that is configured")]
    Audience,
    #[error("the token has no exp claim")]
    NoEnd,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("{0:?} is no SPIFFE ID: {1}")]
    Id(String, SpiffeIdError),
    #[error("{0} is the trust domain itself, not a workload")]
    NoWorkload(SpiffeId),
    #[error("{0} is of another trust domain")]
    OtherDomain(SpiffeId),
    #[error("there is no bundle yet")]
    NoBundle,
}

impl SvidError {
    /// Whether a newer bundle could change it.
    pub(super) fn may_be_news(&self) -> bool {
        use ChainError as C;
        matches!(
            self,
            Self::NoBundle
                | Self::UnknownKey
                | Self::WrongKey
                | Self::Chain(C::UnknownIssuer | C::WrongKey | C::AuthorityExpired)
        )
    }
}

/// Who an X.509-SVID, leaf first, says that its bearer is.
///
/// Source: X.509-SVID standard, sections 2 to 5.
pub(super) fn verify_x509(
    chain: &[Vec<u8>],
    bundle: &Bundle,
    domain: &TrustDomain,
    now: Timestamp,
) -> Result<SpiffeId, SvidError> {
    let leaf = chain.first().ok_or(SvidError::Certificate)?;
    let leaf = Certificate::from_der(leaf).map_err(|_| SvidError::Certificate)?;
    let names = leaf.names();
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::Uri(uri) => Some(uri),
        _ => None,
    });
    let uris: Vec<_> = uris.collect();
    let [uri] = uris.as_slice() else { return Err(SvidError::Uris(uris.len())) };
    let id = workload(uri, domain)?;
    let usage = leaf.key_usage.unwrap_or_default();
    let signs = [KeyUsage::CERT_SIGN, KeyUsage::CRL_SIGN];
    if leaf.is_ca || signs.iter().any(|signing| usage.has(*signing)) {
        return Err(SvidError::SigningUse);
    }
    if !usage.has(KeyUsage::DIGITAL_SIGNATURE) {
        return Err(SvidError::NoSignatureUse);
    }
    if bundle.x509.is_empty() {
        return Err(ChainError::UnknownIssuer.into());
    }
    verify_client(chain, &bundle.x509, now, |_| true)?;
    Ok(id)
}

/// Who a JWT-SVID says that its bearer is.
///
/// Source: JWT-SVID standard, sections 2 to 4.
pub(super) fn verify_jwt(
    token: &str,
    bundle: &Bundle,
    domain: &TrustDomain,
    audiences: &[String],
    now: Timestamp,
) -> Result<SpiffeId, SvidError> {
    // From a file it comes with the end of its line.
    let token = SignedToken::parse(token.trim_ascii()).map_err(|error| match error {
        TokenError::Unsigned => SvidError::Unsigned,
        other => SvidError::Token(other),
    })?;
    if token.algorithm == Algorithm::EdDsa {
        return Err(SvidError::Algorithm(token.algorithm.as_str()));
    }
    check_signature(&token, &bundle.jwt)?;
    let claims = token.claims().map_err(SvidError::Token)?;
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(SvidError::NoSubject)?;
    let id = workload(subject, domain)?;
    if !names_one_of(claims.get("aud"), audiences) {
        return Err(SvidError::Audience);
    }
    let now = now.as_second();
    let end = date(&claims, "exp").ok_or(SvidError::NoEnd)?;
    if now.saturating_sub(SKEW) >= end {
        return Err(SvidError::Expired);
    }
    let begins = [date(&claims, "nbf"), date(&claims, "iat")];
    if begins.into_iter().flatten().any(|begin| now.saturating_add(SKEW) < begin) {
        return Err(SvidError::NotYetValid);
    }
    Ok(id)
}

fn check_signature(token: &SignedToken<'_>, keys: &Jwks) -> Result<(), SvidError> {
    let mut candidates = keys.candidates(token.key_id.as_deref()).peekable();
    if candidates.peek().is_none() {
        return Err(SvidError::UnknownKey);
    }
    match candidates.any(|key| token.is_signed_by(key)) {
        true => Ok(()),
        false => Err(SvidError::WrongKey),
    }
}

fn workload(text: &str, domain: &TrustDomain) -> Result<SpiffeId, SvidError> {
    let id = SpiffeId::parse(text).map_err(|why| SvidError::Id(text.to_owned(), why))?;
    if !domain.holds(&id) {
        return Err(SvidError::OtherDomain(id));
    }
    if id.path().is_empty() {
        return Err(SvidError::NoWorkload(id));
    }
    Ok(id)
}

fn names_one_of(claim: Option<&Value>, audiences: &[String]) -> bool {
    let is_one = |value: &Value| {
        value.as_str().is_some_and(|name| audiences.iter().any(|audience| audience == name))
    };
    match claim {
        Some(Value::Array(values)) => values.iter().any(is_one),
        Some(value) => is_one(value),
        None => false,
    }
}

/// Whole seconds after 1970.
fn date(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
