use serde_json::json;

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    fields.collect()
}

#[test]
fn a_callers_token_is_found_and_taken_out() {
    for (fields, want) in [
        (&[("x-vault-token", "s.1")][..], Some("s.1")),
        (&[("authorization", "Bearer s.2")], Some("s.2")),
        (&[("x-vault-token", "s.1"), ("authorization", "Bearer s.2")], Some("s.1")),
        (&[("x-vault-token", "")], None),
        (&[("authorization", "Basic YTpi")], None),
        (&[], None),
    ] {
        let mut headers = headers(fields);
        let token = take_token(&mut headers);
        assert_eq!(token.as_ref().map(|token| token.expose().as_str()), want, "{fields:?}");
        assert!(!headers.contains_key(TOKEN));
    }
}

#[test]
fn what_belongs_to_a_connection_stays_there() {
    let mut headers = headers(&[
        ("connection", "keep-alive, X-Hop"),
        ("keep-alive", "5"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("host", "agent"),
        ("x-vault-namespace", "team"),
    ]);
    strip(&mut headers);
    let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-vault-namespace"]);
}

#[test]
fn leases_and_tokens_that_can_be_renewed_are_kept() {
    let token = SecretString::from("s.t");
    let lease = json!({ "lease_id": "db/1", "lease_duration": 60, "renewable": true });
    let auth = json!({ "auth": {
        "client_token": "s.n", "accessor": "a", "lease_duration": 60, "renewable": true,
    } });
    let mut orphan = auth.clone();
    orphan["auth"]["orphan"] = true.into();
    let mut fixed = lease.clone();
    fixed["renewable"] = false.into();
    for (json, with_token, want) in [
        (&lease, true, Some("lease")),
        (&lease, false, None),
        (&auth, true, Some("child")),
        (&auth, false, None),
        (&orphan, false, Some("orphan")),
        (&fixed, true, None),
        (&json!({ "lease_id": "", "auth": null, "data": {} }), true, None),
        (&json!([1]), true, None),
    ] {
        let found = holding(json, with_token.then_some(&token));
        let got = found.map(|(holds, life, _)| {
            assert_eq!(life, Life::new(60, true));
            match holds {
                Holds::Lease { id, token } => {
                    assert_eq!((id.as_str(), token), ("db/1", digest("s.t")));
                    "lease"
                }
                Holds::Token { parent: None, .. } => "orphan",
                Holds::Token { parent: Some(parent), .. } => {
                    assert_eq!(parent, digest("s.t"));
                    "child"
                }
            }
        });
        assert_eq!(got, want, "{json}");
    }
}
