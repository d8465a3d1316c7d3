//! Answers that would tell a caller the agent's own token.
//!
//! Whoever may use the token through the agent may not have it: it would go on working elsewhere.

use holdfast_types::SecretString;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A path below `/v1/` as a server reads it, whatever way it was written: `auth/token//lookup%2Dself`
/// is `auth/token/lookup-self`.
pub(super) fn plain(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let segments = decoded.split('/').filter(|segment| !segment.is_empty());
    segments.collect::<Vec<_>>().join("/")
}

/// Whether the answer to a request for a [`plain`] path may tell a token. The name of a namespace
/// may stand before it.
pub(super) fn may_tell(path: &str) -> bool {
    let Some((before, name)) = path.rsplit_once("auth/token/") else { return false };
    (before.is_empty() || before.ends_with('/'))
        && matches!(name, "lookup-self" | "renew-self" | "lookup" | "renew")
}

/// The answer without the token `own` and its accessor, whatever was asked: which part of a request
/// a server goes by is its own affair. Of what cannot be read nothing is left.
pub(super) fn without_token(own: &SecretString, answer: &[u8]) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(answer) else { return Vec::new() };
    let mut told = false;
    for (part, token) in [("data", "id"), ("auth", "client_token")] {
        let Some(part) = json.get_mut(part).and_then(Value::as_object_mut) else { continue };
        let its = part.get(token).and_then(Value::as_str);
        if its.is_some_and(|its| SecretString::from(its) == *own) {
            told = true;
            part.remove(token);
            part.remove("accessor");
        }
    }
    if told { json.to_string().into_bytes() } else { answer.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_token_is_not_told() {
        let own = SecretString::from("s.own");
        for (answer, want) in [
            (r#"{"data":{"id":"s.own","accessor":"a","ttl":5}}"#, r#"{"data":{"ttl":5}}"#),
            (
                r#"{"auth":{"client_token":"s.own","accessor":"a","renewable":true}}"#,
                r#"{"auth":{"renewable":true}}"#,
            ),
            (
                r#"{"data":{"id":"s.other","accessor":"a","ttl":5}}"#,
                r#"{"data":{"id":"s.other","accessor":"a","ttl":5}}"#,
            ),
            ("s.own", ""),
        ] {
            let got = without_token(&own, answer.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), want, "{answer}");
        }
    }

    #[test]
    fn no_other_spelling_of_a_path_tells_it() {
        for (path, want) in [
            ("auth/token/lookup", true),
            ("auth/token/lookup-self", true),
            ("auth/token/lookup%2Dself", true),
            ("auth%2ftoken//lookup-self/", true),
            ("team/auth/token/renew", true),
            ("auth/token/create", false),
            ("myauth/token/lookup", false),
            ("kv/data/web", false),
        ] {
            assert_eq!(may_tell(&plain(path)), want, "{path}");
        }
    }
}
