//! The mount as a client sees it, with the fake issuer as its bundle endpoint (`/keys`).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::Operation::{Create, Delete, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, Error};
use holdfast_testkit::Ca;
use holdfast_types::{Timestamp, TrustDomain};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::svid::{verify_jwt, verify_x509};
use super::{backend, source};
use crate::issuer::{Issuer, Signer};

const ID: &str = "spiffe://demo.local/ns/apps/sa/backend";
const NOW: i64 = 1_780_000_000;

/// A bundle with these authorities.
fn bundle(cas: &[&Ca], signers: &[&Signer]) -> String {
    let x509 = cas
        .iter()
        .map(|ca| json!({ "kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(ca.der())] }));
    let jwt = signers.iter().map(|signer| {
        let mut key = signer.jwk();
        key["use"] = "jwt-svid".into();
        key
    });
    let keys: Vec<_> = x509.chain(jwt).collect();
    json!({ "keys": keys, "spiffe_sequence": 1, "spiffe_refresh_hint": 300 }).to_string()
}

async fn empty_mount() -> Mount {
    let mount = Mount::new(&[], backend).await;
    mount.clock.set(Timestamp::from_second(NOW).unwrap());
    mount
}

/// A mount with this configuration, and a role for every workload of the namespace `apps`.
async fn mount(config: Value) -> Mount {
    let mount = empty_mount().await;
    let role = json!({ "workload_id_patterns": "/ns/apps/sa/+", "token_policies": "p" });
    mount.walk(&[(Update, "config", config, 204), (Create, "role/Apps", role, 204)]).await;
    mount
}

fn fixed(bundle: &str) -> Value {
    json!({
        "trust_domain": "demo.local", "profile": "static", "bundle": bundle, "audience": "vault,v",
    })
}

fn fetched(issuer: &Issuer, ca: &Ca) -> Value {
    json!({
        "trust_domain": "spiffe://demo.local", "profile": "https_web_bundle", "audience": "vault",
        "endpoint_url": format!("{}/keys", issuer.url),
        "endpoint_root_ca_truststore_pem": ca.pem(),
    })
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({ "sub": ID, "aud": ["vault"], "iat": NOW, "exp": NOW + 300 });
    claims.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    claims
}

enum Show<'a> {
    Certificate(&'a [&'a [u8]]),
    Jwt(&'a str),
    Bearer(&'a str),
    Nothing,
}

async fn log_in(mount: &Mount, role: &str, show: &Show<'_>) -> Result<Auth, Error> {
    let mut request = mount.request(Update, "login", &json!({ "role": role }));
    request.caller = None;
    match show {
        Show::Certificate(chain) => {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            request.connection = Connection { client_certificates: chain, ..request.connection };
        }
        Show::Jwt(token) => _ = request.data.insert("jwt".to_owned(), (*token).into()),
        Show::Bearer(token) => {
            request.headers.insert("authorization".to_owned(), format!("Bearer {token}"));
        }
        Show::Nothing => {}
    }
    let answer = mount.put(&request).await?;
    Ok(answer.and_then(|response| response.auth).expect("a token is asked for"))
}

/// Why operators are told that the login was refused, which the client is not.
async fn reason(mount: &Mount, role: &str, show: Show<'_>) -> String {
    match log_in(mount, role, &show).await.unwrap_err() {
        Error::Refused { told, reason, .. } => {
            assert!(matches!(*told, Error::Denied), "{told}");
            reason
        }
        error => panic!("{error:?} says too much"),
    }
}

#[tokio::test]
async fn a_workload_logs_in_by_either_kind_of_svid() {
    let (ca, signer) = (Ca::new("ca"), Signer::new("k1"));
    let mount = mount(fixed(&bundle(&[&ca], &[&signer]))).await;
    let svid = ca.svid(ID);
    let token = signer.sign(&claims(&json!({})));
    let line = format!("{token}\n");
    let between = ca.intermediate("between");
    let below = between.svid(ID);
    for (show, kind) in [
        (Show::Certificate(&[&svid.certificate_der]), "x509"),
        (Show::Certificate(&[&below.certificate_der, between.der()]), "x509"),
        (Show::Jwt(&token), "jwt"),
        (Show::Jwt(&line), "jwt"),
        (Show::Bearer(&token), "jwt"),
    ] {
        let auth = log_in(&mount, "APPS", &show).await.unwrap();
        assert_eq!(auth.alias.unwrap().name, ID);
        assert_eq!(
            (auth.display_name.as_str(), auth.params.token_policies),
            (ID, vec!["p".to_owned()])
        );
        let want = json!({
            "role": "apps", "spiffe_id": ID, "svid_type": kind, "trust_domain": "demo.local",
        });
        assert_eq!(json!(auth.metadata), want);
    }
    for (role, show) in [("", Show::Jwt(&token)), ("apps", Show::Nothing)] {
        assert!(matches!(log_in(&mount, role, &show).await.unwrap_err(), Error::Invalid(_)));
    }
}

#[tokio::test]
async fn every_refusal_has_one_answer_and_a_reason_of_its_own() {
    let (ca, stranger, gone) = (Ca::new("ca"), Ca::new("ca"), Ca::expired("gone"));
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let unknown = Signer::new("k2");
    let mount = mount(fixed(&bundle(&[&ca, &gone], &[&signer]))).await;
    let two_uris = ca.client_with(|params| {
        for uri in [ID, "https://a"] {
            params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        }
    });
    let by_stranger = stranger.svid(ID);
    let by_gone = gone.svid(ID);
    let early = ca.client_with(|params| {
        params.subject_alt_names.push(rcgen::SanType::URI(ID.try_into().unwrap()));
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    });
    let elsewhere = ca.svid("spiffe://elsewhere.local/ns/apps/sa/backend");
    let domain = ca.svid("spiffe://demo.local");
    let wrong_path = ca.svid("spiffe://demo.local/ns/other/sa/backend");
    let no_id = ca.svid("https://demo.local/backend");
    let authority = ca.intermediate("web");
    let bare = ca.client("web");
    for (der, want) in [
        (
            by_stranger.certificate_der.as_slice(),
            "an authority of that name is trusted, but another key signed the certificate",
        ),
        (&by_gone.certificate_der, "the certificate was not issued by a trusted authority"),
        (&early.certificate_der, "the certificate is not valid yet"),
        (
            &elsewhere.certificate_der,
            "spiffe://elsewhere.local/ns/apps/sa/backend is of another trust domain",
        ),
        (&domain.certificate_der, "spiffe://demo.local is the trust domain itself, not a workload"),
        (
            &wrong_path.certificate_der,
            "spiffe://demo.local/ns/other/sa/backend fits no pattern of the role \"apps\"",
        ),
        (
            &no_id.certificate_der,
            "\"https://demo.local/backend\" is no SPIFFE ID: a SPIFFE ID starts with \"spiffe://\"",
        ),
        (
            &two_uris.certificate_der,
            "an X.509-SVID has exactly one URI, and this certificate has 2",
        ),
        (&bare.certificate_der, "an X.509-SVID has exactly one URI, and this certificate has 0"),
        (authority.der(), "an X.509-SVID has exactly one URI, and this certificate has 0"),
        (&[1, 2, 3], "the certificate cannot be read"),
    ] {
        assert_eq!(reason(&mount, "apps", Show::Certificate(&[der])).await, want);
    }
    let unsigned = {
        let token = signer.sign_as(&json!({ "alg": "none" }), &claims(&json!({})));
        token.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap()
    };
    for (token, want) in [
        (unsigned, "token must be signed"),
        (other.sign(&claims(&json!({}))), "no key of the bundle signed the token"),
        (unknown.sign(&claims(&json!({}))), "the bundle has no key with the token's id"),
        (
            signer.sign(&claims(&json!({ "sub": "spiffe://elsewhere.local/a" }))),
            "spiffe://elsewhere.local/a is of another trust domain",
        ),
        (
            signer.sign(&claims(&json!({ "sub": "spiffe://demo.local/ns/other/sa/a" }))),
            "spiffe://demo.local/ns/other/sa/a fits no pattern of the role \"apps\"",
        ),
        (signer.sign(&claims(&json!({ "sub": null }))), "the token has no sub claim"),
        (
            signer.sign(&claims(&json!({ "aud": ["other"] }))),
            "the token's audience is none that is configured",
        ),
        (signer.sign(&claims(&json!({ "exp": NOW - 31 }))), "the token has expired"),
        (signer.sign(&claims(&json!({ "exp": null }))), "the token has no exp claim"),
        (signer.sign(&claims(&json!({ "nbf": NOW + 60 }))), "the token is not valid yet"),
        (
            signer.sign_as(&json!({ "alg": "HS256", "kid": "k1" }), &claims(&json!({}))),
            "the token cannot be read: token signed with unexpected algorithm",
        ),
    ] {
        assert_eq!(reason(&mount, "apps", Show::Jwt(&token)).await, want);
    }
    let good = signer.sign(&claims(&json!({})));
    assert_eq!(reason(&mount, "frob", Show::Jwt(&good)).await, "there is no role \"frob\"");
    // No audience configured: no JWT-SVID is for this server.
    let mut config = fixed(&bundle(&[&ca], &[&signer]));
    config["audience"] = "".into();
    mount.walk(&[(Update, "config", config, 204)]).await;
    assert_eq!(
        reason(&mount, "apps", Show::Jwt(&good)).await,
        "the token's audience is none that is configured"
    );
}

#[tokio::test]
async fn trust_follows_the_bundle_through_two_rotations() {
    let web = Ca::new("web");
    let issuer = Issuer::start(Some(&web)).await;
    let cas = ["one", "two", "three"].map(Ca::new);
    let signers = ["k1", "k2", "k3"].map(Signer::new);
    issuer.publish_raw(200, bundle(&[&cas[0]], &[&signers[0]]));
    let mount = mount(fetched(&issuer, &web)).await;
    assert_eq!(issuer.fetches(), 1, "at once");
    for index in 0..3 {
        let (svid, token) = (cas[index].svid(ID), signers[index].sign(&claims(&json!({}))));
        let chain: [&[u8]; 1] = [&svid.certificate_der];
        log_in(&mount, "apps", &Show::Certificate(&chain)).await.unwrap();
        log_in(&mount, "apps", &Show::Jwt(&token)).await.unwrap();
        let Some((ca, signer)) = cas.get(index + 1).zip(signers.get(index + 1)) else { break };
        issuer.publish_raw(200, bundle(&[ca], &[signer]));
        // What has gone is trusted until the bundle is looked at again: a stranger hurries that.
        mount.clock.advance(Duration::from_secs(6));
        let (new, fetches) = (ca.svid(ID), issuer.fetches());
        log_in(&mount, "apps", &Show::Certificate(&[&new.certificate_der])).await.unwrap();
        assert_eq!(issuer.fetches(), fetches + 1);
        let why = reason(&mount, "apps", Show::Certificate(&chain)).await;
        assert_eq!(why, "the certificate was not issued by a trusted authority");
        let why = reason(&mount, "apps", Show::Jwt(&token)).await;
        assert_eq!(why, "the bundle has no key with the token's id");
        assert_eq!(issuer.fetches(), fetches + 1, "invented authorities do not make it fetch");
    }
}

#[tokio::test]
async fn the_hint_says_when_to_look_and_the_last_good_bundle_stays() {
    let web = Ca::new("web");
    let issuer = Issuer::start(Some(&web)).await;
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let (signer, svid) = (Signer::new("k1"), old.svid(ID));
    let chain: [&[u8]; 1] = [&svid.certificate_der];
    let token = signer.sign(&claims(&json!({ "exp": NOW + 1_000_000 })));
    issuer.publish_raw(200, bundle(&[&old], &[&signer]));
    let mount = mount(fetched(&issuer, &web)).await;
    mount.clock.advance(Duration::from_secs(299));
    mount.backend.tick().await.unwrap();
    assert_eq!(issuer.fetches(), 1, "not yet");
    mount.clock.advance(Duration::from_secs(1));
    mount.backend.tick().await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    for (status, body) in [(500, String::new()), (200, "{}".to_owned()), (200, bundle(&[], &[]))] {
        issuer.publish_raw(status, body);
        mount.clock.advance(Duration::from_secs(600));
        mount.backend.tick().await.unwrap();
        log_in(&mount, "apps", &Show::Certificate(&chain)).await.unwrap();
        log_in(&mount, "apps", &Show::Jwt(&token)).await.unwrap();
    }
    // Keys without an end of their own do not count for ever.
    mount.clock.advance(Duration::from_secs(24 * 3600));
    let why = reason(&mount, "apps", Show::Jwt(&token)).await;
    assert_eq!(why, "the bundle has no key with the token's id");
    log_in(&mount, "apps", &Show::Certificate(&chain)).await.unwrap();
    // Whoever restarts meanwhile has it, too.
    let context = |storage| holdfast_logical::Context {
        storage,
        clock: mount.clock.clone(),
        random: std::sync::Arc::new(holdfast_types::SystemRandom),
        passwords: std::sync::Arc::new(holdfast_logical::testing::OnePassword),
        mount: std::sync::Arc::default(),
    };
    let restarted = backend(context(mount.storage.clone()));
    let mut request = mount.request(Update, "login", &json!({ "role": "apps" }));
    request.connection.client_certificates = [svid.certificate_der.clone()].into();
    assert!(restarted.handle(&request).await.unwrap().unwrap().auth.is_some());
    issuer.publish_raw(200, bundle(&[&new], &[]));
    mount.walk(&[(Update, "config", json!({}), 204)]).await;
    reason(&mount, "apps", Show::Certificate(&chain)).await;
}

#[tokio::test]
async fn an_authority_that_has_expired_lets_nobody_in() {
    let gone = Ca::expired("gone");
    let mount = mount(fixed(&bundle(&[&gone], &[]))).await;
    let svid = gone.svid(ID);
    assert_eq!(
        reason(&mount, "apps", Show::Certificate(&[&svid.certificate_der])).await,
        "the trusted authority has expired or is not valid yet"
    );
}

#[tokio::test]
async fn an_endpoint_with_an_svid_is_known_by_it() {
    let ca = Ca::new("demo.local");
    let server = "spiffe://demo.local/spire/server";
    let next = Ca::new("next");
    let issuer = Issuer::start_as(Some(ca.svid(server))).await;
    issuer.publish_raw(200, bundle(&[&ca, &next], &[]));
    let config = |id: &str, first: &Ca| {
        json!({
            "trust_domain": "demo.local", "profile": "https_spiffe_bundle", "endpoint_spiffe_id": id,
            "endpoint_url": format!("{}/keys", issuer.url), "bundle": bundle(&[first], &[]),
        })
    };
    let mount = mount(config(server, &ca)).await;
    let svid = next.svid(ID);
    log_in(&mount, "apps", &Show::Certificate(&[&svid.certificate_der])).await.unwrap();
    // A bundle by which the endpoint could not be known again is not taken.
    let fetches = issuer.fetches();
    for document in [bundle(&[], &[&Signer::new("k1")]), bundle(&[&ca, &next], &[])] {
        issuer.publish_raw(200, document);
        mount.clock.advance(Duration::from_secs(600));
        mount.backend.tick().await.unwrap();
        log_in(&mount, "apps", &Show::Certificate(&[&svid.certificate_der])).await.unwrap();
    }
    assert_eq!(issuer.fetches(), fetches + 2);
    for wrong in [config("spiffe://demo.local/other", &ca), config(server, &Ca::new("demo.local"))]
    {
        let (status, said) = mount.ask(Update, "config", wrong).await;
        assert!(status == 400 && said.as_str().unwrap().starts_with("fetch the bundle"), "{said}");
    }
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_refused() {
    let (ca, web) = (Ca::new("ca"), Ca::new("web"));
    let mount = empty_mount().await;
    let issuer = Issuer::start(Some(&web)).await;
    issuer.publish_raw(404, String::new());
    let good = fixed(&bundle(&[&ca], &[]));
    let with = |name: &str, value: &str| {
        let mut config = good.clone();
        config[name] = value.into();
        config
    };
    for (config, words) in [
        (json!({}), "missing trust_domain"),
        (with("trust_domain", "Demo"), "'trust_domain' \"Demo\": "),
        (with("profile", "frob"), "'profile' \"frob\" is none of static, "),
        (with("bundle", ""), "'static' needs 'bundle'"),
        (with("bundle", "frob"), "'bundle': neither PEM"),
        (with("bundle", "{\"keys\":[]}"), "'bundle': no authority"),
        (with("endpoint_url", "https://a"), "'endpoint_url' means nothing for 'static'"),
        (
            json!({ "trust_domain": "d", "profile": "https_web_pem" }),
            "'https_web_pem' needs 'endpoint_url'",
        ),
        (
            json!({ "trust_domain": "d", "profile": "https_web_pem", "endpoint_url": "http://a" }),
            "'endpoint_url' must begin",
        ),
        (fetched(&issuer, &web), "fetch the bundle: get https://"),
        (fetched(&issuer, &ca), "fetch the bundle: get https://"),
    ] {
        let (status, said) = mount.ask(Update, "config", config).await;
        let said = said.as_str().unwrap();
        assert!(status == 400 && said.starts_with(words), "{said}");
    }
    let mut deferred = fetched(&issuer, &web);
    deferred["defer_bundle_fetch"] = true.into();
    mount
        .walk(&[
            (Update, "config", deferred, 200),
            (Create, "role/r", json!({}), 400),
            (Create, "role/r", json!({ "workload_id_patterns": "/a//b" }), 400),
            (Create, "role/r", json!({ "workload_id_patterns": "/a", "display_name": "d" }), 204),
        ])
        .await;
    let svid = ca.svid("spiffe://demo.local/a");
    let chain: [&[u8]; 1] = [&svid.certificate_der];
    assert_eq!(reason(&mount, "r", Show::Certificate(&chain)).await, "there is no bundle yet");
    issuer.publish_raw(200, ca.pem().to_owned());
    mount.clock.advance(Duration::from_secs(6));
    let auth = log_in(&mount, "r", &Show::Certificate(&chain)).await.unwrap();
    assert_eq!(auth.display_name, "d");
    let (_, read) = mount.ask(Read, "config", json!({})).await;
    assert_eq!(
        (&read["bundle_x509_authorities"], &read["trust_domain"]),
        (&json!(1), &json!("demo.local"))
    );
    assert!(mount.storage.get(source::BUNDLE_ENTRY).await.unwrap().is_some());
}

#[tokio::test]
async fn a_renewal_follows_the_role() {
    let ca = Ca::new("ca");
    let mount = mount(fixed(&bundle(&[&ca], &[]))).await;
    let svid = ca.svid(ID);
    let auth = log_in(&mount, "apps", &Show::Certificate(&[&svid.certificate_der])).await.unwrap();
    let nobody = Connection::default();
    let renew = || mount.backend.renew_login(auth.clone(), &nobody);
    mount.walk(&[(Update, "role/apps", json!({ "token_ttl": "2m" }), 204)]).await;
    assert_eq!(renew().await.unwrap().params.token_ttl, Duration::from_secs(120));
    for (change, words) in [
        (json!({ "token_policies": "q" }), "policies have changed, not renewing"),
        (
            json!({ "workload_id_patterns": "/other" }),
            "the role does not take this workload any more",
        ),
    ] {
        mount.walk(&[(Update, "role/apps", change, 204)]).await;
        assert_eq!(renew().await.unwrap_err().to_string(), words);
    }
    mount.walk(&[(Delete, "role/apps", json!({}), 204)]).await;
    assert_eq!(renew().await.unwrap_err().to_string(), "role apps does not exist during renewal");
}

proptest! {
    /// What an endpoint or an operator may send.
    #[test]
    fn any_text_is_a_bundle_or_none(
        text in prop_oneof![
            any::<String>(),
            "\\{\"keys\":\\[(\\{\"use\":\"(x509-svid|jwt-svid|enc)\",\"(x5c|kty|kid)\":(\\[\"[A-Za-z0-9=]{0,9}\"\\]|\"EC\")\\},?){0,3}\\](,\"spiffe_refresh_hint\":[0-9]{1,20})?\\}",
            "-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{0,60}\n-----END CERTIFICATE-----",
        ]
    ) {
        if let Ok(bundle) = Bundle::parse(text.as_bytes()) {
            prop_assert!(!bundle.x509.is_empty() || !bundle.jwt.is_empty());
            prop_assert!((10..=86_400).contains(&bundle.refresh_hint.as_secs()));
        }
    }

    /// What a workload may show: nothing of it is an SVID of a bundle that did not sign it.
    #[test]
    fn anything_that_is_shown_is_refused(
        token in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}"],
        chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..3),
    ) {
        let (ca, signer) = (Ca::new("ca"), Signer::new("k"));
        let bundle = Bundle::parse(bundle(&[&ca], &[&signer]).as_bytes()).unwrap();
        let domain = TrustDomain::parse("demo.local").unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        prop_assert!(verify_jwt(&token, &bundle, &domain, &["vault".to_owned()], now).is_err());
        prop_assert!(verify_x509(&chain, &bundle, &domain, now).is_err());
    }
}
