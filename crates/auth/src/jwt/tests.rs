//! The mount as a client sees it. Words are the real server's but where a row says otherwise.

mod redirects;

use std::net::IpAddr;
use std::time::Duration;

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, Error};
use holdfast_testkit::Ca;
use serde_json::{Value, json};

use super::backend;
use crate::issuer::{Issuer, Signer};

/// Where the clock of a mount stands.
const NOW: i64 = 1_000_000;

async fn mount(config: Value) -> Mount {
    let mount = Mount::new(&[], backend).await;
    mount.walk(&[(Update, "config", config, 204)]).await;
    mount
}

async fn role(mount: &Mount, name: &str, fields: Value) {
    let mut data = json!({ "role_type": "jwt", "user_claim": "sub" });
    data.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    mount.walk(&[(Create, &format!("role/{name}"), data, 204)]).await;
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({ "sub": "s", "aud": ["a"], "iat": NOW, "exp": NOW + 300 });
    claims.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    claims
}

async fn log_in(mount: &Mount, role: &str, token: &str) -> Result<Auth, String> {
    let mut request = mount.request(Update, "login", &json!({ "role": role, "jwt": token }));
    request.caller = None;
    let answer = mount.put(&request).await.map_err(|error| error.to_string())?;
    answer.and_then(|response| response.auth).ok_or_else(|| "no token asked for".to_owned())
}

async fn refusal(mount: &Mount, role: &str, token: &str) -> String {
    log_in(mount, role, token).await.unwrap_err()
}

/// Moves the clock by which fetched keys grow old. It runs on afterwards: sockets are real.
async fn pass_time(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_login_carries_what_role_and_claims_say() {
    let signer = Signer::new("k1");
    let mount =
        mount(json!({ "jwt_validation_pubkeys": [signer.pem()], "default_role": "App" })).await;
    role(
        &mount,
        "app",
        json!({
            "bound_audiences": "a,b", "bound_subject": "s", "token_policies": "p",
            "token_ttl": "10m", "claim_mappings": { "/org/name": "org", "missing": "m" },
        }),
    )
    .await;
    let token = signer.sign(&claims(&json!({ "org": { "name": "n" } })));
    let line = format!("{token}\n");
    for (name, token) in [("app", &token), ("APP", &token), ("", &token), ("app", &line)] {
        let auth = log_in(&mount, name, token).await.unwrap();
        let alias = auth.alias.unwrap();
        assert_eq!((alias.name.as_str(), auth.display_name.as_str()), ("s", "s"));
        assert_eq!(json!(auth.metadata), json!({ "role": "app", "org": "n" }));
        assert_eq!(json!(alias.metadata), json!({ "role": "app", "org": "n" }));
        assert_eq!(auth.params.token_policies, ["p"]);
        assert_eq!(auth.params.token_ttl, Duration::from_secs(600));
        assert!(auth.renewable);
    }
}

#[tokio::test]
async fn claims_name_policies_and_groups() {
    let signer = Signer::new("k1");
    let mount = mount(json!({ "jwt_validation_pubkeys": [signer.pem()] })).await;
    role(
        &mount,
        "r",
        json!({
            "bound_audiences": "a", "groups_claim": "/org/groups",
            "token_policies": ["team-{{ .team }}", "{{ .org.name }}", "fixed"],
            "token_policies_template_claims": true,
        }),
    )
    .await;
    let org = json!({ "name": "n", "groups": ["g", "h"] });
    let token = signer.sign(&claims(&json!({ "team": "red", "org": org })));
    let auth = log_in(&mount, "r", &token).await.unwrap();
    assert_eq!(auth.params.token_policies, ["team-red", "n", "fixed"]);
    assert_eq!(auth.group_aliases, ["g", "h"]);
    let token = signer.sign(&claims(&json!({ "org": org })));
    assert_eq!(
        refusal(&mount, "r", &token).await,
        "failed to template policy [0]: unable to apply template: template: template:1:8: \
         executing \"template\" at <.team>: map has no entry for key \"team\""
    );
}

#[tokio::test]
async fn each_refusal_has_its_own_words() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    let mount = mount(json!({ "jwt_validation_pubkeys": [signer.pem()] })).await;
    role(&mount, "r", json!({ "bound_audiences": "a", "bound_subject": "s" })).await;
    role(&mount, "noaud", json!({ "bound_subject": "s" })).await;
    role(&mount, "cidr", json!({ "bound_audiences": "a", "token_bound_cidrs": "10.0.0.0/8" }))
        .await;
    role(&mount, "groups", json!({ "bound_audiences": "a", "groups_claim": "g" })).await;
    role(&mount, "mapped", json!({ "bound_audiences": "a", "claim_mappings": { "m": "x" } })).await;
    role(&mount, "bound", json!({ "bound_claims": { "n": 5 }, "bound_audiences": "a" })).await;
    role(
        &mount,
        "pointer",
        json!({
            "bound_audiences": "a", "user_claim": "/u/n", "user_claim_json_pointer": true,
        }),
    )
    .await;
    let good = signer.sign(&claims(&json!({})));
    let forged = stranger.sign(&claims(&json!({})));
    let sign = |more: Value| signer.sign(&claims(&more));
    let as_header = |header: Value| signer.sign_as(&header, &claims(&json!({})));
    for (role, token, want) in [
        ("none", good.clone(), "role \"none\" could not be found"),
        ("", good.clone(), "missing role"),
        ("r", String::new(), "missing token"),
        ("cidr", good.clone(), "permission denied"),
        ("noaud", good.clone(), "audience claim found in JWT but no audiences bound to the role"),
        ("groups", good.clone(), "failed to fetch groups: \"g\" claim not found in token"),
        (
            "groups",
            sign(json!({ "g": [1] })),
            "value 1 in groups claim could not be parsed as string",
        ),
        ("groups", sign(json!({ "g": {} })), "\"g\" claim could not be converted to string list"),
        ("mapped", sign(json!({ "m": 5 })), "error converting claim 'm' to string"),
        ("bound", good.clone(), "error validating claims: claim \"n\" is missing"),
        ("pointer", good.clone(), "claim \"/u/n\" not found in token"),
        (
            "pointer",
            sign(json!({ "u": { "n": 5 } })),
            "claim \"/u/n\" could not be converted to string",
        ),
    ] {
        assert_eq!(refusal(&mount, role, &token).await, want, "{role}");
    }
    let no_key = "error verifying token signature: no known key successfully validated the token \
                  signature";
    for (token, want) in [
        (
            "a.b.c".to_owned(),
            "error verifying token signature: illegal base64 data at input byte 0",
        ),
        (
            "abc".to_owned(),
            "error verifying token signature: go-jose/go-jose: compact JWS format must have three \
             parts",
        ),
        (forged, no_key),
        (as_header(json!({ "alg": "ES384" })), no_key),
        (sign(json!({ "sub": "x" })), "invalid subject (sub) claim"),
        (
            sign(json!({ "aud": "x" })),
            "invalid audience (aud) claim: audience claim does not match any expected audience",
        ),
        (
            sign(json!({ "exp": NOW - 300 })),
            "invalid expiration time (exp) claim: token is expired",
        ),
        (sign(json!({ "nbf": NOW + 300 })), "invalid not before (nbf) claim: token not yet valid"),
        // The real server does not tell these two from a wrong signature.
        (
            as_header(json!({ "alg": "none" })),
            "invalid algorithm (alg) header parameter: token must be signed",
        ),
        (
            as_header(json!({ "alg": "HS256" })),
            "invalid algorithm (alg) header parameter: token signed with unexpected algorithm",
        ),
    ] {
        let want = format!("error validating token: {want}");
        assert_eq!(refusal(&mount, "r", &token).await, want);
    }
    log_in(&mount, "r", &good).await.unwrap();
    log_in(&mount, "groups", &sign(json!({ "g": "one" }))).await.unwrap();
    log_in(&mount, "pointer", &sign(json!({ "u": { "n": "bob" } }))).await.unwrap();
    log_in(&mount, "bound", &sign(json!({ "n": 5 }))).await.unwrap();
}

#[tokio::test]
async fn addresses_algorithms_and_the_issuer_are_bound() {
    let signer = Signer::new("k1");
    let config = json!({
        "jwt_validation_pubkeys": [signer.pem()], "bound_issuer": "https://i",
        "jwt_supported_algs": "RS256",
    });
    let mount = mount(config).await;
    role(&mount, "r", json!({ "token_bound_cidrs": "10.0.0.0/8", "bound_audiences": "a" })).await;
    let token = signer.sign(&claims(&json!({ "iss": "https://i" })));
    let data = json!({ "role": "r", "jwt": token });
    let mut request = mount.request(Update, "login", &data);
    request.connection.remote_address = None;
    assert!(matches!(mount.put(&request).await, Err(Error::Denied)));
    request.connection.remote_address = Some(IpAddr::from([10, 1, 2, 3]));
    let error = mount.put(&request).await.err().unwrap().to_string();
    assert_eq!(
        error,
        "error validating token: invalid algorithm (alg) header parameter: token signed with \
         unexpected algorithm"
    );
    let config = json!({ "jwt_validation_pubkeys": [signer.pem()], "bound_issuer": "https://j" });
    mount.walk(&[(Update, "config", config, 204)]).await;
    let error = mount.put(&request).await.err().unwrap().to_string();
    assert_eq!(error, "error validating token: invalid issuer (iss) claim");
}

#[tokio::test]
async fn configurations_are_checked() {
    let pem = Signer::new("k1").pem();
    let sources = "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', \
                   'oidc_discovery_url', or 'provider_config' must be set";
    let mount = Mount::new(&[], backend).await;
    assert_eq!(refusal(&mount, "r", "x").await, "could not load configuration");
    mount.walk(&[(Read, "config", json!({}), 404), (Delete, "config", json!({}), 405)]).await;
    for (config, want) in [
        (json!({}), sources),
        (json!({ "jwks_url": "http://127.0.0.1:1", "jwt_validation_pubkeys": ["x"] }), sources),
        (
            json!({ "jwt_validation_pubkeys": ["x"] }),
            "error parsing public key: data does not contain any valid public keys",
        ),
        (json!({ "jwks_url": "http://127.0.0.1:1/x" }), "error checking jwks URL"),
        (
            json!({ "jwks_url": "http://127.0.0.1:1/x", "jwks_ca_pem": "foo" }),
            "error checking jwks_ca_pem",
        ),
        (
            json!({ "jwt_validation_pubkeys": [pem], "jwt_supported_algs": ["none"] }),
            "invalid jwt_supported_algs: unsupported signing algorithm \"none\"",
        ),
        (
            json!({ "oidc_discovery_url": "http://127.0.0.1:1/.well-known/openid-configuration" }),
            "'oidc_discovery_url' contains '.well-known' component",
        ),
        (
            json!({ "jwt_validation_pubkeys": [pem], "oidc_client_id": "x" }),
            "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
        ),
        (
            json!({ "jwt_validation_pubkeys": [pem], "provider_config": { "provider": "foo" } }),
            "invalid provider_config: provider \"foo\" not found in custom providers",
        ),
        (
            json!({ "jwt_validation_pubkeys": [pem], "provider_config": { "x": "foo" } }),
            "invalid provider_config: 'provider' field not found in provider_config",
        ),
        (
            json!({ "jwt_validation_pubkeys": [pem], "oidc_response_mode": "foo" }),
            "invalid response_mode: \"foo\"",
        ),
    ] {
        let (status, answer) = mount.ask(Update, "config", config.clone()).await;
        assert_eq!((status, answer.as_str().unwrap_or_default()), (400, want), "{config}");
    }
    let (status, answer) =
        mount.ask(Update, "config", json!({ "oidc_discovery_url": "http://127.0.0.1:1" })).await;
    assert_eq!(status, 400);
    let answer = answer.as_str().unwrap();
    assert!(answer.starts_with("error checking oidc discovery URL: get http://127.0.0.1:1/.well"));
    assert!(answer.contains("onnection refused"), "{answer}");

    let skip = json!({ "jwks_url": "http://127.0.0.1:1/x", "skip_jwks_validation": true });
    let answer = mount.put(&mount.request(Update, "config", &skip)).await.unwrap().unwrap();
    assert_eq!(answer.warnings, ["error checking jwks URL"]);

    let config = json!({ "jwt_validation_pubkeys": [pem], "default_role": "Def" });
    mount.walk(&[(Update, "config", config, 204)]).await;
    let (_, read) = mount.ask(Read, "config", json!({})).await;
    assert_eq!(
        read,
        json!({
            "bound_issuer": "", "default_role": "def", "jwks_ca_pem": "", "jwks_url": "",
            "jwt_supported_algs": [], "jwt_validation_pubkeys": [pem], "namespace_in_state": true,
            "oidc_client_id": "", "oidc_discovery_ca_pem": "", "oidc_discovery_url": "",
            "oidc_response_mode": "", "oidc_response_types": [],
            "override_allowed_server_names": [], "provider_config": {}, "status": "valid",
        })
    );
}

#[tokio::test]
async fn roles_are_written_read_listed_and_deleted() {
    let mount = Mount::new(&[], backend).await;
    mount.walk(&[(List, "role/", json!({}), 404), (Read, "role/x", json!({}), 404)]).await;
    role(
        &mount,
        "MyRole",
        json!({
            "bound_subject": "s", "bound_audiences": "a,b", "claim_mappings": { "/o/n": "org" },
            "bound_claims": { "n": 5, "l": ["a", "b"] }, "groups_claim": "groups",
            "token_policies": "x", "expiration_leeway": -1, "clock_skew_leeway": "10s",
            "not_before_leeway": "-5s", "max_age": 60,
        }),
    )
    .await;
    let (_, read) = mount.ask(Read, "role/mYrOLE", json!({})).await;
    let want = json!({
        "allowed_redirect_uris": null, "bound_audiences": ["a", "b"],
        "bound_claims": { "l": ["a", "b"], "n": 5 }, "bound_claims_type": "string",
        "bound_subject": "s", "callback_mode": "client", "claim_mappings": { "/o/n": "org" },
        "clock_skew_leeway": 10, "expiration_leeway": -1, "groups_claim": "groups", "max_age": 60,
        "not_before_leeway": -5, "oauth2_metadata": null, "oidc_disable_confirmation": false,
        "oidc_scopes": null, "role_type": "jwt", "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
        "token_num_uses": 0, "token_period": 0, "token_policies": ["x"],
        "token_policies_template_claims": false, "token_strictly_bind_ip": false, "token_ttl": 0,
        "token_type": "default", "user_claim": "sub", "user_claim_json_pointer": false,
        "verbose_oidc_logging": false,
    });
    assert_eq!(read, want);
    mount.walk(&[(Update, "role/myrole", json!({ "role_type": "jwt" }), 204)]).await;
    assert_eq!(mount.ask(Read, "role/myrole", json!({})).await.1, want, "what is missing stays");

    role(&mount, "other", json!({ "bound_subject": "s" })).await;
    let (_, keys) = mount.ask(List, "role/", json!({})).await;
    assert_eq!(keys, json!({ "keys": ["myrole", "other"] }));
    let (_, keys) = mount.ask(List, "role/", json!({ "after": "myrole", "limit": "1" })).await;
    assert_eq!(keys, json!({ "keys": ["other"] }));
    mount
        .walk(&[
            (Delete, "role/MYROLE", json!({}), 204),
            (Delete, "role/myrole", json!({}), 204),
            (Read, "role/myrole", json!({}), 404),
            (Read, "role/", json!({}), 405),
            (Read, "role/a b", json!({}), 404),
            (Read, "frob", json!({}), 404),
            (Read, "login", json!({}), 405),
        ])
        .await;
}

#[tokio::test]
async fn roles_are_checked() {
    let mount = Mount::new(&[], backend).await;
    for (fields, want) in [
        (
            json!({ "bound_subject": "s", "user_claim": "" }),
            "a user claim must be defined on the role",
        ),
        (json!({}), "must have at least one bound constraint when creating/updating a role"),
        (json!({ "role_type": "x" }), "invalid 'role_type': x"),
        (
            json!({ "role_type": "" }),
            "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
        ),
        (json!({ "bound_claims_type": "x" }), "invalid 'bound_claims_type': x"),
        (
            json!({ "bound_claims_type": "glob", "bound_claims": { "a": 5 } }),
            "claim is not a string: 5",
        ),
        (
            json!({ "bound_claims_type": "glob", "bound_claims": { "a": ["x", 1] } }),
            "claim is not a string: 1",
        ),
        (
            json!({ "claim_mappings": { "a": "role" } }),
            "metadata key \"role\" is reserved and may not be a mapping destination",
        ),
        (
            json!({ "claim_mappings": { "a": "x", "b": "x" } }),
            "multiple keys are mapped to metadata key \"x\"",
        ),
        (json!({ "callback_mode": "x" }), "invalid 'callback_mode': x"),
        (
            json!({ "token_ttl": "2h", "token_max_ttl": "1h" }),
            "'token_ttl' cannot be greater than 'token_max_ttl'",
        ),
        (
            json!({ "token_period": "9999h" }),
            "'period' of '\"9999h0m0s\"' is greater than the backend's maximum lease TTL of \
             '\"768h0m0s\"'",
        ),
        (json!({ "oauth2_metadata": "x" }), "Unrecognized oauth2 metadata name x"),
        (
            json!({ "expiration_leeway": "abc" }),
            "error converting input for field \"expiration_leeway\": time: invalid duration \"abc\"",
        ),
        (
            json!({ "bound_claims": "x" }),
            "error converting input for field \"bound_claims\": '' expected type \
             'map[string]interface {}', got unconvertible type 'string'",
        ),
        (
            json!({ "bound_claims": ["x"] }),
            "error converting input for field \"bound_claims\": '[0]' expected type \
             'map[string]interface {}', got unconvertible type 'string'",
        ),
        (
            json!({ "token_policies_template_claims": true, "token_policies": "a,{{ .b" }),
            "failed to parse template policy [1]: unable to parse template: template: \
             template:1: unclosed action",
        ),
    ] {
        let mut data = json!({ "role_type": "jwt", "user_claim": "sub" });
        data.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let (status, answer) = mount.ask(Create, "role/r", data).await;
        assert_eq!((status, answer.as_str().unwrap_or_default()), (400, want), "{fields}");
    }
    let long = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_subject": "s", "token_max_ttl": "9999h",
        "verbose_oidc_logging": true,
    });
    let answer = mount.put(&mount.request(Create, "role/r", &long)).await.unwrap().unwrap();
    assert_eq!(answer.warnings.len(), 2);
}

#[tokio::test]
async fn a_renewal_follows_the_role() {
    let signer = Signer::new("k1");
    let mount = mount(json!({ "jwt_validation_pubkeys": [signer.pem()] })).await;
    role(&mount, "r", json!({ "bound_audiences": "a", "token_ttl": "1m" })).await;
    let auth = log_in(&mount, "r", &signer.sign(&claims(&json!({})))).await.unwrap();
    role(&mount, "r", json!({ "bound_audiences": "a", "token_ttl": "2m" })).await;
    let renewed = mount.backend.renew_login(auth.clone(), &Connection::default()).await.unwrap();
    assert_eq!(renewed.params.token_ttl, Duration::from_secs(120));
    mount.walk(&[(Delete, "role/r", json!({}), 204)]).await;
    let error = mount.backend.renew_login(auth, &Connection::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "role r does not exist during renewal");
}

#[tokio::test]
async fn a_key_set_is_fetched_anew_for_an_unknown_key_but_not_often() {
    let (old, new, stranger) = (Signer::new("old"), Signer::new("new"), Signer::new("stranger"));
    let issuer = Issuer::start(None).await;
    issuer.publish(&[&old]);
    let mount = mount(json!({ "jwks_url": format!("{}/keys", issuer.url) })).await;
    role(&mount, "r", json!({ "bound_audiences": "a" })).await;
    assert_eq!(issuer.fetches(), 1, "when it is configured");
    let token = |signer: &Signer| signer.sign(&claims(&json!({})));
    log_in(&mount, "r", &token(&old)).await.unwrap();
    assert_eq!(issuer.fetches(), 1);

    issuer.publish(&[&new]);
    log_in(&mount, "r", &token(&new)).await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    for signer in [&stranger, &old] {
        let error = refusal(&mount, "r", &token(signer)).await;
        assert!(
            error.contains("failed to verify id token signature: no key with the id"),
            "{error}"
        );
    }
    assert_eq!(issuer.fetches(), 2, "a moment ago");

    // The same key id, another key.
    let forged = Signer::new("new");
    let error = refusal(&mount, "r", &token(&forged)).await;
    assert!(error.ends_with("failed to verify id token signature"), "{error}");
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_and_an_outage_outlasted() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let issuer = Issuer::start(None).await;
    issuer.publish(&[&old, &new]);
    let mount = mount(json!({ "jwks_url": format!("{}/keys", issuer.url) })).await;
    role(&mount, "r", json!({ "bound_audiences": "a" })).await;
    let token = |signer: &Signer| signer.sign(&claims(&json!({})));
    log_in(&mount, "r", &token(&old)).await.unwrap();

    issuer.publish(&[&new]);
    pass_time(601).await;
    refusal(&mount, "r", &token(&old)).await;
    log_in(&mount, "r", &token(&new)).await.unwrap();

    issuer.publish_raw(500, "broken".to_owned());
    pass_time(601).await;
    log_in(&mount, "r", &token(&new)).await.unwrap();
    pass_time(3600).await;
    let error = refusal(&mount, "r", &token(&new)).await;
    assert!(error.ends_with("failed to verify signature: fetching keys"), "{error}");
}

#[tokio::test]
async fn logins_wait_for_an_issuer_that_hangs_at_once_and_not_one_by_one() {
    let (known, stranger) = (Signer::new("known"), Signer::new("stranger"));
    let issuer = Issuer::start(None).await;
    issuer.publish(&[&known]);
    let mount = mount(json!({ "jwks_url": format!("{}/keys", issuer.url) })).await;
    role(&mount, "r", json!({ "bound_audiences": "a" })).await;
    let token = stranger.sign(&claims(&json!({})));
    issuer.hang();
    pass_time(6).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let refused = || refusal(&mount, "r", &token);
    tokio::join!(refused(), refused(), refused(), refused(), refused());
    let waited = began.elapsed();
    assert!(waited <= Duration::from_secs(11), "{waited:?}");
}

#[tokio::test]
async fn what_is_fetched_is_bounded() {
    let issuer = Issuer::start(None).await;
    let config = json!({ "jwks_url": format!("{}/keys", issuer.url) });
    let mount = Mount::new(&[], backend).await;
    let padded = |bytes: usize| format!("{{\"keys\":[]{}}}", " ".repeat(bytes));
    for (status, body, want) in [
        (200, padded(1000), 204),
        (200, padded(1 << 20), 400),
        (500, padded(0), 400),
        (302, padded(0), 400),
        (200, "x".to_owned(), 400),
    ] {
        issuer.publish_raw(status, body);
        mount.walk(&[(Update, "config", config.clone(), want)]).await;
    }
}

#[tokio::test]
async fn discovery_is_verified_by_certificate_and_issuer() {
    let (ca, other_ca) = (Ca::new("issuers"), Ca::new("others"));
    let signer = Signer::new("k1");
    let issuer = Issuer::start(Some(&ca)).await;
    issuer.publish(&[&signer]);
    let config =
        |pem: &str| json!({ "oidc_discovery_url": issuer.url, "oidc_discovery_ca_pem": pem });
    let fresh = Mount::new(&[], backend).await;
    let (status, answer) = fresh.ask(Update, "config", config(other_ca.pem())).await;
    assert_eq!(status, 400);
    assert!(answer.as_str().unwrap().contains("certificate"), "{answer}");

    let mount = mount(config(ca.pem())).await;
    role(&mount, "r", json!({ "bound_audiences": "a" })).await;
    log_in(&mount, "r", &signer.sign(&claims(&json!({})))).await.unwrap();
    assert_eq!(mount.ask(Read, "config", json!({})).await.1["status"], "valid");

    issuer.claim_to_be("https://elsewhere");
    let (status, answer) = fresh.ask(Update, "config", config(ca.pem())).await;
    let want = format!(
        "error checking oidc discovery URL: issuer did not match the returned issuer, expected {:?} \
         got \"https://elsewhere\"",
        issuer.url
    );
    assert_eq!((status, answer.as_str().unwrap_or_default()), (400, want.as_str()));
}

const SVID: &str = "spiffe://demo.local/ns/apps/sa/backend";

#[tokio::test]
async fn jwt_svids_log_in_by_either_source_through_two_rotations() {
    let ca = Ca::new("issuers");
    let issuer = Issuer::start(Some(&ca)).await;
    for config in [
        json!({ "oidc_discovery_url": issuer.url, "oidc_discovery_ca_pem": ca.pem() }),
        json!({ "jwks_url": format!("{}/keys", issuer.url), "jwks_ca_pem": ca.pem() }),
    ] {
        let signers = ["one", "two", "three"].map(Signer::new);
        issuer.publish(&[&signers[0]]);
        let mount = mount(config).await;
        let bounds = json!({ "bound_audiences": "vault", "bound_subject": SVID });
        role(&mount, "backend", bounds).await;
        let svid = |signer: &Signer, more: Value| {
            let mut claims = claims(&json!({ "sub": SVID, "aud": ["vault"] }));
            claims.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
            signer.sign(&claims)
        };
        for (index, signer) in signers.iter().enumerate() {
            issuer.publish(&[signer]);
            pass_time(6).await;
            let fetches = issuer.fetches();
            let auth = log_in(&mount, "backend", &svid(signer, json!({}))).await.unwrap();
            // The first may have been fetched when the mount was configured.
            let fetches = if index == 0 { issuer.fetches() } else { fetches + 1 };
            assert_eq!(issuer.fetches(), fetches, "for the new key id, at once");
            assert_eq!(auth.alias.unwrap().name, SVID);
            assert_eq!(json!(auth.metadata), json!({ "role": "backend", "spiffe_id": SVID }));
            for gone in &signers[..index] {
                let why = refusal(&mount, "backend", &svid(gone, json!({}))).await;
                assert!(why.contains("no key with the id"), "{why}");
            }
            assert_eq!(issuer.fetches(), fetches, "and not for keys that are gone");
        }
        let [.., signer] = &signers;
        let unsigned = signer.sign_as(&json!({ "alg": "none" }), &claims(&json!({})));
        let mut reasons = Vec::new();
        for token in [
            unsigned,
            svid(&Signer::new("three"), json!({})),
            svid(signer, json!({ "sub": "spiffe://demo.local/ns/apps/sa/other" })),
            svid(signer, json!({ "aud": ["other"] })),
            svid(signer, json!({ "exp": NOW - 300 })),
        ] {
            reasons.push(refusal(&mount, "backend", &token).await);
        }
        let distinct: std::collections::BTreeSet<_> = reasons.iter().collect();
        assert_eq!(distinct.len(), 5, "{reasons:#?}");
    }
}
