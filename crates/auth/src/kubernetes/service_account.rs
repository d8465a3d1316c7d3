//! Tokens of service accounts, and what they claim.

use holdfast_client::kubernetes::{is_label, is_subdomain};
use holdfast_keys::{Algorithm, PublicKey, SignedToken, TokenError};
use holdfast_types::Timestamp;
use serde_json::{Map, Value};

/// How far clocks may differ, in seconds.
const SKEW: i64 = 60;

/// Whom a token is about. Worth nothing before the cluster has said the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServiceAccount {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    /// The secret that held the token, in clusters where tokens lie in secrets.
    pub(super) secret_name: String,
    pub(super) audiences: Vec<String>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    #[error("error verifying token signature: {0}")]
    Form(#[from] TokenError),
    #[error(
        "error verifying token signature: no known key successfully validated the token signature"
    )]
    Signature,
    #[error("invalid algorithm (alg) header parameter: token signed with unexpected algorithm")]
    Algorithm,
    #[error("invalid issuer (iss) claim")]
    Issuer,
    #[error("invalid audience (aud) claim: audience claim does not match any expected audience")]
    Audience,
    #[error("invalid not before (nbf) claim: token not yet valid")]
    NotYet,
    #[error("invalid expiration time (exp) claim: token is expired")]
    Expired,
    #[error("invalid issued at (iat) claim: token issued in the future")]
    FromTheFuture,
    #[error("could not parse UID from claims")]
    NoUid,
    #[error("the token names no service account in a namespace")]
    NoName,
}

impl ServiceAccount {
    /// Reads a token. `keys` must have signed it, unless there are none: then only the cluster's
    /// review says whether it is good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(
        token: &str,
        keys: &[PublicKey],
        issuer: Option<&str>,
        audience: &str,
        now: Timestamp,
    ) -> Result<Self, JwtError> {
        let token = SignedToken::parse(token)?;
        use Algorithm::{Es256, Es384, Es512, Rs256, Rs384, Rs512};
        if !matches!(token.algorithm, Rs256 | Rs384 | Rs512 | Es256 | Es384 | Es512) {
            return Err(JwtError::Algorithm);
        }
        if !keys.is_empty() && !keys.iter().any(|key| token.is_signed_by(key)) {
            return Err(JwtError::Signature);
        }
        let claims = token.claims()?;
        if issuer.is_some_and(|issuer| text(&claims, "iss") != issuer) {
            return Err(JwtError::Issuer);
        }
        let audiences = strings(claims.get("aud"));
        if !audience.is_empty() && !audiences.iter().any(|known| known == audience) {
            return Err(JwtError::Audience);
        }
        check_dates(&claims, now.as_second())?;
        let account = Self { audiences, ..Self::of(&claims) };
        if account.uid.is_empty() {
            return Err(JwtError::NoUid);
        }
        match is_subdomain(&account.name) && is_label(&account.namespace) {
            true => Ok(account),
            false => Err(JwtError::NoName),
        }
    }

    /// Of a projected token; else of one that lay in a secret.
    fn of(claims: &Map<String, Value>) -> Self {
        let old = |name: &str| text(claims, &format!("kubernetes.io/serviceaccount/{name}"));
        let mut account = Self {
            name: old("service-account.name").to_owned(),
            namespace: old("namespace").to_owned(),
            uid: old("service-account.uid").to_owned(),
            secret_name: old("secret.name").to_owned(),
            audiences: Vec::new(),
        };
        if let Some(Value::Object(projected)) = claims.get("kubernetes.io") {
            text(projected, "namespace").clone_into(&mut account.namespace);
            if let Some(Value::Object(reference)) = projected.get("serviceaccount") {
                text(reference, "name").clone_into(&mut account.name);
                text(reference, "uid").clone_into(&mut account.uid);
            }
        }
        account
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> &'c str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(values)) => {
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Dates that are there must fit; tokens in secrets have none.
fn check_dates(claims: &Map<String, Value>, now: i64) -> Result<(), JwtError> {
    let date = |name: &str| {
        let value = claims.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    };
    let (early, late) = (now.saturating_sub(SKEW), now.saturating_add(SKEW));
    if date("nbf").is_some_and(|begin| late < begin) {
        return Err(JwtError::NotYet);
    }
    if date("exp").is_some_and(|end| early > end) {
        return Err(JwtError::Expired);
    }
    match date("iat").is_some_and(|issued| late < issued) {
        true => Err(JwtError::FromTheFuture),
        false => Ok(()),
    }
}
