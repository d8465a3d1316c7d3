//! What must be true of a verified token's claims.

use std::cmp::Ordering;

use holdfast_types::Timestamp;
use serde_json::{Map, Value};

use super::go_text::go_text;
use super::role::Role;
use crate::glob::glob_matches;

/// Claims with a meaning of their own (RFC 7519).
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

const DEFAULT_LEEWAY: i64 = 150;
const DEFAULT_CLOCK_SKEW: i64 = 60;

/// Why a token is refused, in OpenBao's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimError {
    #[error(
        "ambiguous claim: key {key:?} collides with registered claim {name:?} under case folding"
    )]
    Ambiguous { key: String, name: &'static str },
    #[error("json: cannot unmarshal {kind} into Go struct field Claims.{claim} of type string")]
    NoText { claim: &'static str, kind: &'static str },
    #[error("go-jose/go-jose/jwt: expected string or array value to unmarshal to Audience")]
    AudienceForm,
    #[error("go-jose/go-jose/jwt: expected number value to unmarshal NumericDate")]
    DateForm,
    #[error("invalid issuer (iss) claim")]
    Issuer,
    #[error("invalid subject (sub) claim")]
    Subject,
    #[error("invalid audience (aud) claim: audience claim does not match any expected audience")]
    Audience,
    #[error("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")]
    NoDates,
    #[error("invalid not before (nbf) claim: token not yet valid")]
    NotYet,
    #[error("invalid expiration time (exp) claim: token is expired")]
    Expired,
    #[error("invalid issued at (iat) claim: token issued in the future")]
    FromTheFuture,
}

/// Checks the registered claims against the role and the clock. An empty `issuer` is any.
pub(super) fn check_registered(
    claims: &Map<String, Value>,
    issuer: &str,
    role: &Role,
    now: Timestamp,
) -> Result<(), ClaimError> {
    for key in claims.keys() {
        let folded = fold(key);
        let collides = |name: &&str| key != name && folded == **name;
        if let Some(name) = REGISTERED.into_iter().find(collides) {
            return Err(ClaimError::Ambiguous { key: key.clone(), name });
        }
    }
    let audiences = audiences(claims)?;
    let dates = Dates {
        expires: date(claims, "exp")?,
        issued: date(claims, "iat")?,
        starts: date(claims, "nbf")?,
    };
    let is = text(claims, "iss")?;
    text(claims, "jti")?;
    let subject = text(claims, "sub")?;
    if !issuer.is_empty() && is != issuer {
        return Err(ClaimError::Issuer);
    }
    if !role.bound_subject.is_empty() && subject != role.bound_subject {
        return Err(ClaimError::Subject);
    }
    let bound = role.bound_audiences.as_deref().unwrap_or_default();
    if !bound.is_empty() && !bound.iter().any(|audience| audiences.contains(&audience.as_str())) {
        return Err(ClaimError::Audience);
    }
    dates.check(role, now.as_second())
}

/// Seconds after 1970; 0 where the token says nothing.
struct Dates {
    expires: i64,
    issued: i64,
    starts: i64,
}

impl Dates {
    /// A missing `exp` or `nbf` is made up from the other dates: a token is good for the role's
    /// leeway after it was issued, or before it ends.
    fn check(self, role: &Role, now: i64) -> Result<(), ClaimError> {
        let Self { mut expires, issued, mut starts } = self;
        if (expires, issued, starts) == (0, 0, 0) {
            return Err(ClaimError::NoDates);
        }
        if expires == 0 {
            let leeway = leeway(role.expiration_leeway, DEFAULT_LEEWAY);
            expires = issued.max(starts).saturating_add(leeway);
        }
        if starts == 0 {
            starts = match issued {
                0 => expires.saturating_sub(leeway(role.not_before_leeway, DEFAULT_LEEWAY)),
                issued => issued,
            };
        }
        let skew = clock_skew(role);
        if now.saturating_add(skew) < starts {
            return Err(ClaimError::NotYet);
        }
        if now.saturating_sub(skew) > expires {
            return Err(ClaimError::Expired);
        }
        if now.saturating_add(skew) < issued {
            return Err(ClaimError::FromTheFuture);
        }
        Ok(())
    }
}

/// How far clocks may differ, in seconds.
pub(super) fn clock_skew(role: &Role) -> i64 {
    leeway(role.clock_skew_leeway, DEFAULT_CLOCK_SKEW)
}

fn leeway(set: i64, default: i64) -> i64 {
    match set.cmp(&0) {
        Ordering::Less => 0,
        Ordering::Equal => default,
        Ordering::Greater => set,
    }
}

/// `key` in lower case, with the one other letter that folds into a registered name (a long s).
fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_lowercase).map(|c| if c == 'ſ' { 's' } else { c }).collect()
}

fn text<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<&'c str, ClaimError> {
    let kind = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(""),
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Number(_)) => "number",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    Err(ClaimError::NoText { claim, kind })
}

/// `aud`: a string, or an array of them.
fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, ClaimError> {
    match claims.get("aud") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(list)) => {
            let texts = list.iter().map(|audience| audience.as_str());
            texts.collect::<Option<_>>().ok_or(ClaimError::AudienceForm)
        }
        Some(_) => Err(ClaimError::AudienceForm),
    }
}

/// A date in whole seconds. What no clock will ever show is no date.
fn date(claims: &Map<String, Value>, claim: &str) -> Result<i64, ClaimError> {
    const FAR: f64 = 1e12;
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(0),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(seconds) if seconds.abs() < FAR => Ok(seconds as i64),
            _ => Err(ClaimError::DateForm),
        },
        Some(_) => Err(ClaimError::DateForm),
    }
}

/// The claim that a role names: a JSON pointer where it begins with `/`, else a name.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let found = match name.strip_prefix('/') {
        None => claims.get(name),
        Some(pointer) => {
            let (first, rest) = match pointer.split_once('/') {
                Some((first, rest)) => (first, format!("/{rest}")),
                None => (pointer, String::new()),
            };
            claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(&rest)
        }
    };
    found.filter(|value| !value.is_null())
}

/// Checks that every claim in `bound` is there with one of its values. The first that is not is
/// told, in OpenBao's words.
pub(super) fn check_bound(
    claims: &Map<String, Value>,
    bound: &Map<String, Value>,
    globs: bool,
) -> Result<(), String> {
    for (name, expected) in bound {
        let Some(actual) = find(claims, name) else {
            return Err(format!("claim {name:?} is missing"));
        };
        let Some(actual) = values(actual) else {
            return Err(format!(
                "received claim is not a string, bool, int or list: {}",
                go_text(actual)
            ));
        };
        let Some(expected) = values(expected) else {
            return Err(format!(
                "bound claim is not a string, bool, int or list: {}",
                go_text(expected)
            ));
        };
        let fits = |expected: &Value| actual.iter().any(|actual| matches(expected, actual, globs));
        if !expected.iter().any(fits) {
            return Err(format!("claim {name:?} does not match any associated bound claim values"));
        }
    }
    Ok(())
}

/// The values of a list, or the one value. None for an object.
pub(super) fn values(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        Value::Object(_) | Value::Null => None,
        other => Some(std::slice::from_ref(other)),
    }
}

fn matches(expected: &Value, actual: &Value, globs: bool) -> bool {
    match (expected, actual) {
        (Value::String(glob), Value::String(text)) if globs => glob_matches(glob, text),
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => expected == actual,
    }
}

#[cfg(test)]
mod tests;
