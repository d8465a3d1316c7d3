//! JWT-SVIDs checked for callers that cannot do so themselves.

use holdfast_keys::{Algorithm, Jwks, SignedToken, TokenError};
use holdfast_types::{SpiffeId, SpiffeIdError, Timestamp};
use serde_json::{Map, Value};

use super::core::View;

/// How far the clocks of issuer and verifier may be apart, in seconds.
const LEEWAY: i64 = 10;

/// Why a token is not a good JWT-SVID for an audience.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValidateError {
    #[error("unable to parse JWT token: {0}")]
    Token(#[from] TokenError),
    #[error("unable to parse JWT token: unexpected signature algorithm {0:?}")]
    Algorithm(&'static str),
    #[error("token missing subject claim")]
    NoSubject,
    #[error("token has an invalid subject claim: {0}")]
    Subject(#[from] SpiffeIdError),
    #[error("no keys found for trust domain {0:?}")]
    TrustDomain(String),
    #[error("token header missing key id")]
    NoKeyId,
    #[error("public key {key:?} not found in trust domain {trust_domain:?}")]
    NoKey { key: String, trust_domain: String },
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Signature,
    #[error("token missing exp claim")]
    NoExpiry,
    #[error("token has expired")]
    Expired,
    #[error("token not valid yet")]
    NotYet,
    #[error("expected audience in [{want:?}] (audience={got:?})")]
    Audience { want: String, got: Vec<String> },
}

/// The identity that a token proves to `audience`, and all it claims.
///
/// Source: JWT-SVID standard, sections 2 to 6.
pub(super) fn validate(
    token: &str,
    audience: &str,
    view: &View,
    now: Timestamp,
) -> Result<(SpiffeId, Map<String, Value>), ValidateError> {
    let signed = SignedToken::parse(token)?;
    if signed.algorithm == Algorithm::EdDsa {
        return Err(ValidateError::Algorithm(signed.algorithm.as_str()));
    }
    // Not believed yet: they say whose key to take.
    let claims = signed.claims()?;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let expiry = time("exp").ok_or(ValidateError::NoExpiry)?;
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(ValidateError::NoSubject)?;
    let id = SpiffeId::parse(subject)?;
    let name = id.trust_domain();
    let bundle = match view.bundle.trust_domain.as_str() == name {
        true => Some(&view.bundle),
        false => view.federated.values().find(|bundle| bundle.trust_domain.as_str() == name),
    };
    let bundle = bundle.ok_or_else(|| ValidateError::TrustDomain(name.to_owned()))?;
    let key_id = signed.key_id.as_deref().ok_or(ValidateError::NoKeyId)?;
    let no_key = || ValidateError::NoKey { key: key_id.to_owned(), trust_domain: name.to_owned() };
    let is_wanted =
        |key: &&Map<String, Value>| key.get("kid").and_then(Value::as_str) == Some(key_id);
    let keys: Vec<_> = bundle.jwt_authorities.iter().filter(is_wanted).collect();
    if keys.is_empty() {
        return Err(no_key());
    }
    let keys = serde_json::json!({ "keys": keys }).to_string();
    let keys = Jwks::parse(keys.as_bytes()).map_err(|_| no_key())?;
    if !keys.candidates(Some(key_id)).any(|key| signed.is_signed_by(key)) {
        return Err(ValidateError::Signature);
    }
    let now = now.as_second() as f64;
    let leeway = LEEWAY as f64;
    if expiry + leeway <= now {
        return Err(ValidateError::Expired);
    }
    if ["nbf", "iat"].into_iter().filter_map(time).any(|time| time - leeway > now) {
        return Err(ValidateError::NotYet);
    }
    let got: Vec<String> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    if !got.iter().any(|one| one == audience) {
        return Err(ValidateError::Audience { want: audience.to_owned(), got });
    }
    Ok((id, claims))
}

#[cfg(test)]
mod tests;
