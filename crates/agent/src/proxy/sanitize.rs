//! Answers that would tell a caller the agent's own token.
//!
//! Whoever may use the token through the agent may not have it: it would go on working elsewhere.

use holdfast_types::SecretString;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Whose token an answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The request's.
    Own,
    /// The one in the request's body; the request's, where there is none.
    Named,
}

/// A path below `/v1/` as a server reads it, whatever way it was written: `auth/token//lookup%2Dself`
/// is `auth/token/lookup-self`.
pub(super) fn plain(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let segments = decoded.split('/').filter(|segment| !segment.is_empty());
    segments.collect::<Vec<_>>().join("/")
}

/// Whether the answer to a request for a [`plain`] path tells a token. The name of a namespace may
/// stand before it.
pub(super) fn subject(path: &str) -> Option<Subject> {
    let (before, name) = path.rsplit_once("auth/token/")?;
    match name {
        _ if !before.is_empty() && !before.ends_with('/') => None,
        "lookup-self" | "renew-self" => Some(Subject::Own),
        "lookup" | "renew" => Some(Subject::Named),
        _ => None,
    }
}

/// The answer without the token `own` and its accessor.
pub(super) fn without_token(
    subject: Subject,
    asked: &[u8],
    own: &SecretString,
    answer: &[u8],
) -> Vec<u8> {
    if subject == Subject::Named {
        let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
        let named = asked["token"].as_str().unwrap_or_default();
        if !named.is_empty() && named != own.expose() {
            return answer.to_vec();
        }
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(answer) else { return Vec::new() };
    for (part, fields) in [("data", ["id", "accessor"]), ("auth", ["client_token", "accessor"])] {
        if let Some(part) = json.get_mut(part).and_then(Value::as_object_mut) {
            for field in fields {
                part.remove(field);
            }
        }
    }
    json.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_token_is_not_told() {
        let lookup = r#"{"data":{"id":"s.own","accessor":"a","ttl":5}}"#;
        let renew = r#"{"auth":{"client_token":"s.own","accessor":"a","renewable":true}}"#;
        for (path, asked, answer, want) in [
            ("auth/token/lookup-self", "", lookup, r#"{"data":{"ttl":5}}"#),
            ("auth/token/renew-self", "{}", renew, r#"{"auth":{"renewable":true}}"#),
            ("auth/token/lookup", r#"{"token":"s.own"}"#, lookup, r#"{"data":{"ttl":5}}"#),
            ("auth/token/lookup", "", lookup, r#"{"data":{"ttl":5}}"#),
            ("auth/token/lookup", r#"{"token":"s.other"}"#, lookup, lookup),
        ] {
            let own = SecretString::from("s.own");
            let subject = subject(path).unwrap();
            let got = without_token(subject, asked.as_bytes(), &own, answer.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), want, "{path} {asked}");
        }
    }

    #[test]
    fn no_other_spelling_of_a_path_tells_it() {
        for (path, want) in [
            ("auth/token/lookup-self", Some(Subject::Own)),
            ("auth/token/lookup%2Dself", Some(Subject::Own)),
            ("auth%2ftoken//lookup-self/", Some(Subject::Own)),
            ("team/auth/token/renew", Some(Subject::Named)),
            ("auth/token/create", None),
            ("myauth/token/lookup", None),
            ("kv/data/web", None),
        ] {
            assert_eq!(subject(&plain(path)), want, "{path}");
        }
    }
}
