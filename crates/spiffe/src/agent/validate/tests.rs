use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_keys::SigningKey;
use holdfast_types::TrustDomain;
use serde_json::json;

use super::*;
use crate::Bundle;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

/// The keys of two trust domains that federate, and one that nobody knows.
struct Keys {
    own: SigningKey,
    other: SigningKey,
    stranger: SigningKey,
}

fn bundle(name: &str, key: &SigningKey) -> Arc<Bundle> {
    let Value::Object(mut jwk) = key.public_jwk("k1") else { panic!() };
    jwk.remove("use");
    let trust_domain = TrustDomain::parse(name).unwrap();
    Arc::new(Bundle { jwt_authorities: vec![jwk], ..Bundle::empty(trust_domain) })
}

fn claims(change: &Value) -> Map<String, Value> {
    let mut claims = json!({
        "sub": "spiffe://example.org/a", "aud": ["x"], "iat": NOW, "exp": NOW + 300,
    });
    let claims = claims.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.remove(name)),
            value => drop(claims.insert(name.clone(), value.clone())),
        }
    }
    claims.clone()
}

/// A token with this header and no true signature.
fn unsigned(header: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(&Value::Object(claims(&json!({})))))
}

#[test]
fn a_token_is_good_or_says_what_is_wrong() {
    let key = || SigningKey::generate(Algorithm::Es256).unwrap().0;
    let keys = Keys { own: key(), other: key(), stranger: key() };
    let other = bundle("other.test", &keys.other);
    let view = View {
        svids: Vec::new(),
        bundle: bundle("example.org", &keys.own),
        federated: BTreeMap::from([(other.trust_domain.clone(), other)]),
        next: None,
    };
    let check = |token: &str, now: i64| {
        let outcome = validate(token, "x", &view, Timestamp::from_second(now).unwrap());
        outcome.map(|(id, _)| id.to_string()).map_err(|error| error.to_string())
    };
    let own = |change: Value| keys.own.sign("k1", &claims(&change)).unwrap();
    let elsewhere = json!({ "sub": "spiffe://other.test/b" });
    let by_other = keys.other.sign("k1", &claims(&elsewhere)).unwrap();
    for (token, now, want) in [
        (own(json!({})), NOW, Ok("spiffe://example.org/a")),
        (by_other, NOW, Ok("spiffe://other.test/b")),
        // Each trust domain's keys are for its own IDs.
        (own(elsewhere), NOW, Err("error in cryptographic primitive")),
        (
            own(json!({ "sub": "spiffe://nobody.test/a" })),
            NOW,
            Err("no keys found for trust domain"),
        ),
        (
            keys.stranger.sign("k1", &claims(&json!({}))).unwrap(),
            NOW,
            Err("cryptographic primitive"),
        ),
        (
            keys.own.sign("k2", &claims(&json!({}))).unwrap(),
            NOW,
            Err("public key \"k2\" not found"),
        ),
        (own(json!({ "sub": null })), NOW, Err("token missing subject claim")),
        (own(json!({ "sub": "https://a" })), NOW, Err("token has an invalid subject claim")),
        (own(json!({ "exp": null })), NOW, Err("token missing exp claim")),
        (own(json!({ "aud": ["y"] })), NOW, Err("expected audience in [\"x\"] (audience=[\"y\"])")),
        (own(json!({ "aud": null })), NOW, Err("expected audience in")),
        (own(json!({ "nbf": NOW + 60 })), NOW, Err("token not valid yet")),
        // Clocks that are a little apart, and an hour apart.
        (own(json!({})), NOW + 305, Ok("spiffe://example.org/a")),
        (own(json!({})), NOW - 5, Ok("spiffe://example.org/a")),
        (own(json!({})), NOW + HOUR, Err("token has expired")),
        (own(json!({})), NOW - HOUR, Err("token not valid yet")),
        // After a sleep of twelve hours what was kept is no good.
        (own(json!({})), NOW + 12 * HOUR, Err("token has expired")),
        (
            unsigned(&json!({ "alg": "none", "kid": "k1" }), ""),
            NOW,
            Err("unable to parse JWT token"),
        ),
        (
            unsigned(&json!({ "alg": "none", "kid": "k1" }), "AA"),
            NOW,
            Err("unable to parse JWT token"),
        ),
        (
            unsigned(&json!({ "alg": "HS256", "kid": "k1" }), "AA"),
            NOW,
            Err("unable to parse JWT token"),
        ),
        (unsigned(&json!({ "alg": "ES256" }), "AA"), NOW, Err("token header missing key id")),
    ] {
        match (check(&token, now), want) {
            (Ok(id), Ok(want)) => assert_eq!(id, want),
            (Err(told), Err(want)) => assert!(told.contains(want), "{want}: {told}"),
            (got, want) => panic!("{got:?}, not {want:?}"),
        }
    }
}
