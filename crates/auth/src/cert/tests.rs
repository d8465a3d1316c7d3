//! The mount as a client sees it. Words are the real server's but where a row says otherwise.

use std::time::Duration;

use holdfast_keys::x509::{Certificate, Oid, decimal};
use holdfast_logical::Operation::{Delete, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, Error};
use holdfast_testkit::{Ca, Leaf};
use holdfast_types::Timestamp;
use proptest::prelude::*;
use rcgen::{CustomExtension, DnType, SanType};
use serde_json::{Value, json};

use super::backend;
use super::constraints::Client;
use super::trusted::Allowed;

const ID: &str = "spiffe://demo.local/ns/apps/sa/backend";

async fn mount() -> Mount {
    let mount = Mount::new(&[], backend).await;
    mount.clock.set("2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap());
    mount
}

async fn trust(mount: &Mount, name: &str, pem: &str, more: Value) {
    let mut data = json!({ "certificate": pem });
    data.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    mount.walk(&[(Update, &format!("certs/{name}"), data, 204)]).await;
}

fn shown(chain: &[&[u8]]) -> Connection {
    Connection {
        remote_address: Some([127, 0, 0, 1].into()),
        client_certificates: chain.iter().map(|der| der.to_vec()).collect(),
        ..Connection::default()
    }
}

/// What a client gets that shows this chain.
async fn log_in(mount: &Mount, name: &str, chain: &[&[u8]]) -> Result<Auth, Error> {
    let mut request = mount.request(Update, "login", &json!({ "name": name }));
    request.caller = None;
    request.connection = shown(chain);
    let answer = mount.put(&request).await?;
    Ok(answer.and_then(|response| response.auth).expect("a token is asked for"))
}

/// What the client is told, and what operators are.
async fn refusal(mount: &Mount, name: &str, chain: &[&[u8]]) -> (String, String) {
    match log_in(mount, name, chain).await.unwrap_err() {
        Error::Refused { told, reason, .. } => (told.to_string(), reason),
        error => (error.to_string(), String::new()),
    }
}

fn named_client(ca: &Ca) -> Leaf {
    ca.client_with(|params| {
        params.distinguished_name.push(DnType::CommonName, "web.example");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "red");
        params.subject_alt_names = vec![
            SanType::DnsName("web.example".try_into().unwrap()),
            SanType::Rfc822Name("web@example".try_into().unwrap()),
            SanType::URI("https://web.example/x".try_into().unwrap()),
        ];
        // UTF8String "hello"
        let text = b"\x0c\x05hello".to_vec();
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], text)];
    })
}

#[tokio::test]
async fn an_svid_without_a_common_name_logs_in_under_its_spiffe_id() {
    let (mount, ca) = (mount().await, Ca::new("demo.local"));
    trust(&mount, "svids", ca.pem(), json!({ "allowed_uri_sans": "spiffe://demo.local/*" })).await;
    let svid = ca.svid(ID);
    let auth = log_in(&mount, "", &[&svid.certificate_der]).await.unwrap();
    assert_eq!(auth.alias.as_ref().unwrap().name, ID);
    assert!(auth.alias.unwrap().metadata.is_empty());
    assert_eq!(auth.metadata["spiffe_id"], ID);
    assert_eq!(
        (auth.metadata["cert_name"].as_str(), auth.display_name.as_str()),
        ("svids", "svids")
    );
    let other = ca.svid("spiffe://elsewhere.local/ns/apps/sa/backend");
    assert_eq!(
        refusal(&mount, "", &[&other.certificate_der]).await.1,
        "svids: nothing in the certificate fits allowed_uri_sans"
    );
    let nameless = ca.client_with(|params| params.distinguished_name = Default::default());
    trust(&mount, "svids", ca.pem(), json!({ "allowed_uri_sans": "" })).await;
    assert_eq!(refusal(&mount, "", &[&nameless.certificate_der]).await.0, "missing name in alias");
}

#[tokio::test]
async fn a_common_name_does_not_make_a_client_the_bearer_of_anothers_uri() {
    let (mount, ca) = (mount().await, Ca::new("demo.local"));
    trust(&mount, "clients", ca.pem(), json!({})).await;
    for (uri, want) in
        [(None, None), (Some("spiffe://demo.local/ns/apps/sa/other"), None), (Some(ID), Some(ID))]
    {
        let leaf = ca.client_with(|params| {
            params.distinguished_name.push(DnType::CommonName, ID);
            params.subject_alt_names =
                uri.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        });
        let auth = log_in(&mount, "", &[&leaf.certificate_der]).await.ok();
        let alias = auth.and_then(|auth| auth.alias).map(|alias| alias.name);
        assert_eq!(alias.as_deref(), want, "{uri:?}");
    }
}

#[tokio::test]
async fn a_login_carries_what_the_entry_and_the_certificate_say() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    let more = json!({
        "token_policies": "p", "token_ttl": "10m", "display_name": "shown",
        "allowed_metadata_extensions": "1.2.3.4,9.9",
    });
    trust(&mount, "Web", ca.pem(), more).await;
    mount.walk(&[(Update, "config", json!({ "enable_identity_alias_metadata": true }), 204)]).await;
    let leaf = named_client(&ca);
    let parsed = Certificate::from_der(&leaf.certificate_der).unwrap();
    for name in ["web", "WEB", ""] {
        let auth = log_in(&mount, name, &[&leaf.certificate_der]).await.unwrap();
        assert_eq!((auth.display_name.as_str(), auth.params.token_ttl.as_secs()), ("shown", 600));
        assert_eq!(auth.params.token_policies, ["p"]);
        let alias = auth.alias.unwrap();
        assert_eq!(alias.name, "web.example");
        assert_eq!(alias.metadata, auth.metadata);
        assert_eq!(auth.metadata["1-2-3-4"], "hello");
        assert_eq!(auth.metadata["serial_number"], decimal(&parsed.serial));
        assert_eq!(auth.metadata["cert_name"], "web");
        assert!(!auth.metadata.contains_key("9-9") && !auth.metadata.contains_key("spiffe_id"));
        assert!(auth.renewable);
    }
}

#[tokio::test]
async fn one_client_is_pinned_and_no_other_of_its_authority() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    let (leaf, other) = (ca.client("web"), ca.client("web"));
    trust(&mount, "web", &leaf.certificate_pem, json!({})).await;
    log_in(&mount, "", &[&leaf.certificate_der]).await.unwrap();
    assert_eq!(
        refusal(&mount, "", &[&other.certificate_der]).await,
        (
            super::login::NOT_TRUSTED.to_owned(),
            "web: the certificate is not the one that is pinned".to_owned()
        )
    );
}

#[tokio::test]
async fn each_refusal_has_its_own_reason_and_one_of_two_answers() {
    let (ca, stranger, gone) = (Ca::new("ca"), Ca::new("ca"), Ca::expired("gone"));
    let between = ca.intermediate("between");
    let (below, client) = (between.client("web"), ca.client("web"));
    let server = ca.server(&["web.example"]);
    let expired = ca.client_with(|params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = ca.client_with(|params| {
        params.not_before = rcgen::date_time_ymd(2040, 1, 1);
    });
    let mount = mount().await;
    let told = super::login::NOT_TRUSTED;
    assert_eq!(
        refusal(&mount, "", &[&client.certificate_der]).await,
        (told.to_owned(), "no certificate is trusted".to_owned())
    );
    trust(&mount, "ca", ca.pem(), json!({})).await;
    trust(&mount, "gone", gone.pem(), json!({})).await;
    let from_gone = gone.client("web");
    for (name, chain, reason) in [
        (
            "ca",
            vec![stranger.client("web").certificate_der.as_slice()],
            "ca: an authority of that name is trusted, but another key signed the certificate",
        ),
        (
            "ca",
            vec![&below.certificate_der],
            "ca: the certificate was not issued by a trusted authority",
        ),
        ("ca", vec![&server.certificate_der], "ca: the certificate is not for TLS clients"),
        ("ca", vec![&expired.certificate_der], "ca: the certificate has expired"),
        ("ca", vec![&early.certificate_der], "ca: the certificate is not valid yet"),
        (
            "gone",
            vec![&from_gone.certificate_der],
            "gone: the trusted authority has expired or is not valid yet",
        ),
        ("frob", vec![&client.certificate_der], "no trusted certificate has the name \"frob\""),
    ] {
        let (said, why) = refusal(&mount, name, &chain).await;
        assert_eq!((said.as_str(), why.as_str()), (told, reason), "{name}");
    }
    let (_, why) = refusal(&mount, "", &[&[1, 2, 3]]).await;
    assert!(!why.is_empty());
    assert_eq!(refusal(&mount, "", &[]).await.0, "no client certificate found");
    log_in(&mount, "ca", &[&client.certificate_der]).await.unwrap();
    log_in(&mount, "ca", &[&below.certificate_der, between.der()]).await.unwrap();
    // An entry's intermediate is as good as its root.
    trust(&mount, "between", between.pem(), json!({})).await;
    log_in(&mount, "between", &[&below.certificate_der]).await.unwrap();
}

#[tokio::test]
async fn every_list_of_an_entry_must_fit() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    let leaf = named_client(&ca);
    for (list, fits, does_not) in [
        ("allowed_names", "x,web@*", "https://*"),
        ("allowed_common_names", "web.*", "*.web"),
        ("allowed_dns_sans", "*.example", "web@example"),
        ("allowed_email_sans", "*@example", "web.example"),
        ("allowed_uri_sans", "https://*/x", "https://*/y"),
        ("allowed_organizational_units", "r*", "blue"),
        ("required_extensions", "1.2.3.4:he*", "1.2.3.4:he*,1.2.3.5:*"),
    ] {
        trust(&mount, "all", ca.pem(), json!({ list: fits })).await;
        log_in(&mount, "", &[&leaf.certificate_der]).await.unwrap();
        trust(&mount, "one", ca.pem(), json!({ list: does_not })).await;
        let (told, why) = refusal(&mount, "one", &[&leaf.certificate_der]).await;
        assert_eq!(told, super::login::MISFIT, "{list}");
        assert_eq!(why, format!("one: nothing in the certificate fits {list}"));
        mount.walk(&[(Delete, "certs/one", json!({}), 204)]).await;
    }
    // All of them together by now.
    log_in(&mount, "all", &[&leaf.certificate_der]).await.unwrap();
    let words = "'required_extensions' holds \"1.2\", which is not of the form \"oid:value\"";
    let data = json!({ "certificate": ca.pem(), "required_extensions": "1.2" });
    assert_eq!(mount.ask(Update, "certs/x", data).await, (400, words.into()));
}

#[tokio::test]
async fn a_revoked_certificate_or_authority_is_not_taken() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    let between = ca.intermediate("between");
    let (leaf, below) = (ca.client("web"), between.client("below"));
    trust(&mount, "ca", ca.pem(), json!({})).await;
    trust(&mount, "pinned", &leaf.certificate_pem, json!({})).await;
    let serial = |der: &[u8]| Certificate::from_der(der).unwrap().serial;
    let chain: [&[u8]; 2] = [&below.certificate_der, between.der()];
    log_in(&mount, "", &chain).await.unwrap();
    let list = ca.revocation_list(&[&serial(&leaf.certificate_der), &serial(between.der())]);
    mount.walk(&[(Update, "crls/Mine", json!({ "crl": list }), 204)]).await;
    let (status, read) = mount.ask(Read, "crls/mine", json!({})).await;
    assert_eq!((status, read["serials"].as_object().unwrap().len()), (200, 2));
    assert!(read["serials"][decimal(&serial(&leaf.certificate_der))].is_object());
    let revoked = "the certificate, or an authority above it, has been revoked";
    for (name, chain) in [
        ("ca", vec![leaf.certificate_der.as_slice()]),
        ("ca", chain.to_vec()),
        ("pinned", vec![&leaf.certificate_der]),
    ] {
        assert_eq!(refusal(&mount, name, &chain).await.1, format!("{name}: {revoked}"));
    }
    mount
        .walk(&[
            (Delete, "crls/mine", json!({}), 204),
            (Delete, "crls/mine", json!({}), 400),
            (Read, "crls/mine", json!({}), 400),
            (Update, "crls/mine", json!({ "crl": "frob" }), 400),
            (Update, "crls/mine", json!({ "url": "" }), 400),
            (Update, "crls/mine", json!({}), 400),
        ])
        .await;
    log_in(&mount, "", &chain).await.unwrap();
}

#[tokio::test]
async fn a_renewal_takes_the_certificate_that_logged_in() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    trust(&mount, "ca", ca.pem(), json!({ "token_ttl": "1m" })).await;
    let (leaf, other) = (ca.client("web"), ca.client("web"));
    let auth = log_in(&mount, "", &[&leaf.certificate_der]).await.unwrap();
    trust(&mount, "ca", ca.pem(), json!({ "token_ttl": "2m" })).await;
    let renew = |auth: &Auth, chain: &[&[u8]]| {
        let (auth, connection) = (auth.clone(), shown(chain));
        let backend = mount.backend.clone();
        async move { backend.renew_login(auth, &connection).await.map_err(|error| error.to_string()) }
    };
    let renewed = renew(&auth, &[&leaf.certificate_der]).await.unwrap();
    assert_eq!(renewed.params.token_ttl, Duration::from_secs(120));
    let other_client = renew(&auth, &[&other.certificate_der]).await.unwrap_err();
    assert!(other_client.contains("not matching"), "{other_client}");
    assert_eq!(renew(&auth, &[]).await.unwrap_err(), "no client certificate found");
    mount.walk(&[(Update, "config", json!({ "disable_binding": true }), 204)]).await;
    renew(&auth, &[]).await.unwrap();
    trust(&mount, "ca", ca.pem(), json!({ "token_policies": "more" })).await;
    assert_eq!(renew(&auth, &[]).await.unwrap_err(), "policies have changed, not renewing");
    mount.walk(&[(Delete, "certs/ca", json!({}), 204)]).await;
    assert!(renew(&auth, &[]).await.unwrap_err().contains("does not exist"));
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let (mount, ca) = (mount().await, Ca::new("ca"));
    let server = ca.server(&["web.example"]);
    for (data, words) in [
        (
            json!({ "certificate": ca.pem(), "ocsp_enabled": true }),
            "'ocsp_enabled' is not supported",
        ),
        (json!({}), "failed to parse certificate"),
        (json!({ "certificate": "frob" }), "failed to parse certificate"),
        (json!({ "certificate": server.certificate_pem }), "nonCA certificates should have"),
    ] {
        let (status, said) = mount.ask(Update, "certs/x", data).await;
        assert!(status == 400 && said.as_str().unwrap().starts_with(words), "{said}");
    }
    let (_, read) = mount.ask(Read, "config", json!({})).await;
    let want = json!({
        "disable_binding": false, "enable_identity_alias_metadata": false, "ocsp_cache_size": 0,
    });
    assert_eq!(read, want);
    mount.walk(&[(Update, "config", json!({ "ocsp_cache_size": 1 }), 400)]).await;
}

proptest! {
    /// What a client may show: anything that parses as a certificate, with any lists.
    #[test]
    fn any_extension_and_any_list_is_judged(
        contents in prop::collection::vec(any::<u8>(), 0..40),
        list in prop::collection::vec("[a-z0-9.:*]{0,12}", 0..4),
    ) {
        let ca = Ca::new("ca");
        let leaf = ca.client_with(|params| {
            let extension = CustomExtension::from_oid_content(&[1, 2, 3], contents);
            params.custom_extensions = vec![extension];
        });
        let client = Client::new(Certificate::from_der(&leaf.certificate_der).unwrap());
        let allowed = Allowed {
            names: Some(list.clone()),
            required_extensions: Some(list.clone()),
            ..Allowed::default()
        };
        let misfit = client.first_misfit(&allowed);
        let has_unknown = list.iter().any(|entry| {
            let oid = entry.split(':').next().unwrap_or_default();
            Oid::parse(oid).map_or(true, |oid| client.certificate.extension(&oid).is_none())
        });
        prop_assert!(!has_unknown || misfit.is_some());
        prop_assert!(client.extension_text("1.2.3").is_some());
    }
}
