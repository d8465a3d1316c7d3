//! The mount as a client sees it, with a fake of the cluster's API. Words are the real server's but
//! where a row says otherwise.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, Error};
use holdfast_testkit::Ca;
use holdfast_types::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::backend_in;
use super::selector::Selector;
use super::service_account::ServiceAccount;
use crate::issuer::{Issuer, Signer};

const NOW: i64 = 1_780_000_000;
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const UID: &str = "474b11b5-0f20-4f9d-8ca5-65715ab325e0";

/// A mount whose pod has its own files in `local`.
async fn mount(local: &Path) -> Mount {
    let mount = Mount::new(&[], |context| backend_in(context, local.to_owned())).await;
    mount.clock.set(Timestamp::from_second(NOW).unwrap());
    mount
}

fn config(cluster: &Issuer, ca: &Ca) -> Value {
    json!({
        "kubernetes_host": cluster.url, "kubernetes_ca_cert": ca.pem(),
        "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true,
    })
}

fn role(more: &Value) -> Value {
    let mut role = json!({
        "bound_service_account_names": "backend", "bound_service_account_namespaces": "apps",
        "token_policies": "p",
    });
    role.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    role
}

/// The claims of a projected token.
fn claims(more: &Value) -> Value {
    let mut claims = json!({
        "aud": ["vault"], "iss": "https://cluster", "iat": NOW, "exp": NOW + 600,
        "sub": "system:serviceaccount:apps:backend",
        "kubernetes.io": {
            "namespace": "apps", "serviceaccount": { "name": "backend", "uid": UID },
        },
    });
    claims.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    claims
}

/// What the fake answers to a review from now on.
fn review(cluster: &Issuer, status: &Value) {
    cluster.serve(REVIEWS, 201, json!({ "kind": "TokenReview", "status": status }).to_string());
}

fn good() -> Value {
    json!({
        "authenticated": true, "audiences": ["vault"],
        "user": { "username": "system:serviceaccount:apps:backend", "uid": UID },
    })
}

async fn log_in(mount: &Mount, role: &str, token: &str) -> Result<Auth, Error> {
    let mut request = mount.request(Update, "login", &json!({ "role": role, "jwt": token }));
    request.caller = None;
    let answer = mount.put(&request).await?;
    Ok(answer.and_then(|response| response.auth).expect("a token is asked for"))
}

/// What the client is told, and what operators are.
async fn refusal(mount: &Mount, role: &str, token: &str) -> (String, String) {
    match log_in(mount, role, token).await.unwrap_err() {
        Error::Refused { told, reason, .. } => (told.to_string(), reason),
        error => (error.to_string(), String::new()),
    }
}

#[tokio::test]
async fn a_projected_token_logs_in_when_the_cluster_confirms_it() {
    let (ca, signer, nowhere) = (Ca::new("cluster"), Signer::new("k"), Path::new("/nowhere"));
    let cluster = Issuer::start(Some(&ca)).await;
    review(&cluster, &good());
    let mount = mount(nowhere).await;
    mount
        .walk(&[
            (Update, "config", config(&cluster, &ca), 204),
            (Create, "role/App", role(&json!({ "audience": "vault" })), 204),
            (
                Create,
                "role/named",
                role(&json!({ "alias_name_source": "serviceaccount_name" })),
                204,
            ),
        ])
        .await;
    let token = signer.sign(&claims(&json!({})));
    let auth = log_in(&mount, "APP", &token).await.unwrap();
    assert_eq!(
        (auth.display_name.as_str(), auth.params.token_policies),
        ("apps-backend", vec!["p".to_owned()])
    );
    let about = json!({
        "service_account_name": "backend", "service_account_namespace": "apps",
        "service_account_secret_name": "", "service_account_uid": UID,
    });
    let alias = auth.alias.unwrap();
    assert_eq!((alias.name.as_str(), json!(alias.metadata)), (UID, about));
    assert_eq!(auth.metadata["role"], "APP");
    let asked = cluster.asked();
    assert!(asked.contains("authorization: Bearer reviewer\r\n"), "{asked}");
    let body: Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["spec"], json!({ "token": token, "audiences": ["vault"] }));
    assert_eq!(log_in(&mount, "named", &token).await.unwrap().alias.unwrap().name, "apps/backend");
    // One that lay in a secret: it has no dates and no audience.
    let old = signer.sign(&json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "apps",
        "kubernetes.io/serviceaccount/secret.name": "backend-token-x",
        "kubernetes.io/serviceaccount/service-account.name": "backend",
        "kubernetes.io/serviceaccount/service-account.uid": UID,
    }));
    let auth = log_in(&mount, "named", &old).await.unwrap();
    assert_eq!(auth.metadata["service_account_secret_name"], "backend-token-x");
}

#[tokio::test]
async fn each_refusal_has_a_reason_of_its_own() {
    let (ca, signer) = (Ca::new("cluster"), Signer::new("k"));
    let cluster = Issuer::start(Some(&ca)).await;
    let mount = mount(Path::new("/nowhere")).await;
    let token = signer.sign(&claims(&json!({})));
    mount.walk(&[(Create, "role/app", role(&json!({ "audience": "vault" })), 204)]).await;
    assert_eq!(refusal(&mount, "app", &token).await.0, "could not load backend configuration");
    let mut keyed = config(&cluster, &ca);
    keyed["pem_keys"] = json!([signer.pem()]);
    keyed["issuer"] = "https://cluster".into();
    keyed["disable_iss_validation"] = false.into();
    mount.walk(&[(Update, "config", keyed, 204)]).await;
    let other = |name: &str, namespace: &str| {
        signer.sign(&claims(&json!({ "kubernetes.io": {
            "namespace": namespace, "serviceaccount": { "name": name, "uid": UID },
        }})))
    };
    for (token, told) in [
        (
            signer.sign(&claims(&json!({ "aud": ["other"] }))),
            "invalid audience (aud) claim: audience claim does not match any expected audience",
        ),
        (
            signer.sign(&claims(&json!({ "exp": NOW - 61 }))),
            "invalid expiration time (exp) claim: token is expired",
        ),
        (
            signer.sign(&claims(&json!({ "nbf": NOW + 61 }))),
            "invalid not before (nbf) claim: token not yet valid",
        ),
        (signer.sign(&claims(&json!({ "iss": "https://other" }))), "invalid issuer (iss) claim"),
        (other("stranger", "apps"), "service account name not authorized"),
        (other("backend", "other"), "namespace not authorized"),
        (other("backend", "../../x"), "the token names no service account in a namespace"),
        (signer.sign(&claims(&json!({ "kubernetes.io": {} }))), "could not parse UID from claims"),
        (Signer::new("k").sign(&claims(&json!({}))), "permission denied"),
        ("frob".to_owned(), "permission denied"),
    ] {
        let (said, why) = refusal(&mount, "app", &token).await;
        assert_eq!(said, told);
        assert!(!why.is_empty(), "{told}");
    }
    for (status, why) in [
        (json!({ "authenticated": false }), "the cluster says that the token is not valid"),
        (
            json!({ "authenticated": true, "audiences": ["x"] }),
            "the cluster takes the token for none of the audiences [\"vault\"]",
        ),
        (json!({ "error": "gone" }), "the cluster could not review the token: gone"),
        (
            json!({ "authenticated": true, "audiences": ["vault"], "user": { "username": "system:serviceaccount:apps:other", "uid": UID } }),
            "the cluster says that the token is of \"system:serviceaccount:apps:other\", not of this service account",
        ),
        (
            json!({ "authenticated": true, "audiences": ["vault"], "user": { "username": "system:serviceaccount:apps:backend", "uid": "another" } }),
            "the cluster says that the token is of \"system:serviceaccount:apps:backend\", not of this service account",
        ),
    ] {
        review(&cluster, &status);
        assert_eq!(
            refusal(&mount, "app", &token).await,
            ("permission denied".to_owned(), why.to_owned())
        );
    }
    for (status, body, why) in [
        (
            401,
            "",
            "the cluster does not let the reviewer ask, or the token's account is gone (401)",
        ),
        (403, "", "the cluster refused to review the token: status 403"),
        (201, "frob", "the cluster's answer cannot be read"),
    ] {
        cluster.serve(REVIEWS, status, body.to_owned());
        assert_eq!(
            refusal(&mount, "app", &token).await,
            ("permission denied".to_owned(), why.to_owned())
        );
    }
    review(&cluster, &good());
    mount.walk(&[(Update, "config", config(&cluster, &Ca::new("cluster")), 204)]).await;
    let (told, why) = refusal(&mount, "app", &token).await;
    assert!(told == "permission denied" && why.starts_with("ask the cluster: "), "{why}");
    for (role, jwt, told) in [
        ("", "x", "missing role"),
        ("app", "", "missing jwt"),
        ("frob", "x", "invalid role name \"frob\""),
    ] {
        assert_eq!(refusal(&mount, role, jwt).await.0, told);
    }
}

#[tokio::test]
async fn a_namespace_is_taken_by_its_labels() {
    let (ca, signer) = (Ca::new("cluster"), Signer::new("k"));
    let cluster = Issuer::start(Some(&ca)).await;
    review(&cluster, &good());
    let mount = mount(Path::new("/nowhere")).await;
    let selector = json!({
        "bound_service_account_namespace_selector": "{\"matchLabels\":{\"team\":\"red\"}}",
        "bound_service_account_namespaces": "",
    });
    mount
        .walk(&[
            (Update, "config", config(&cluster, &ca), 204),
            (Create, "role/app", role(&selector), 204),
        ])
        .await;
    let token = signer.sign(&claims(&json!({})));
    let labelled = |labels: Value| {
        let namespace = json!({ "metadata": { "name": "apps", "labels": labels } }).to_string();
        cluster.serve("/api/v1/namespaces/apps", 200, namespace);
    };
    let not = "namespace not authorized";
    assert_eq!(refusal(&mount, "app", &token).await.0, not);
    labelled(json!({ "team": "blue" }));
    let why = "the labels of the namespace \"apps\" are not those that the role selects";
    assert_eq!(refusal(&mount, "app", &token).await, (not.to_owned(), why.to_owned()));
    labelled(json!({ "team": "red", "more": "x" }));
    log_in(&mount, "app", &token).await.unwrap();
    let mut anonymous = config(&cluster, &ca);
    anonymous["token_reviewer_jwt"] = "".into();
    mount.walk(&[(Update, "config", anonymous, 204)]).await;
    let why = "a namespace selector needs a token_reviewer_jwt";
    assert_eq!(refusal(&mount, "app", &token).await, (not.to_owned(), why.to_owned()));
}

#[tokio::test]
async fn a_pod_has_its_own_token_and_authority() {
    let (ca, signer) = (Ca::new("cluster"), Signer::new("k"));
    let cluster = Issuer::start(Some(&ca)).await;
    review(&cluster, &good());
    let local = tempfile::tempdir().unwrap();
    let mount = mount(local.path()).await;
    let bare = json!({ "kubernetes_host": cluster.url });
    let (status, said) = mount.ask(Update, "config", bare.clone()).await;
    assert!(status == 400 && said.as_str().unwrap().contains("no such file"), "{said}");
    std::fs::write(local.path().join("ca.crt"), ca.pem()).unwrap();
    mount.walk(&[(Update, "config", bare, 204), (Create, "role/app", role(&json!({})), 204)]).await;
    let token = signer.sign(&claims(&json!({})));
    log_in(&mount, "app", &token).await.unwrap();
    assert!(cluster.asked().contains(&format!("authorization: Bearer {token}\r\n")));
    std::fs::write(local.path().join("token"), "own\n").unwrap();
    log_in(&mount, "app", &token).await.unwrap();
    assert!(cluster.asked().contains("authorization: Bearer own\r\n"));
    // The authority is read anew: a cluster may replace it.
    std::fs::write(local.path().join("ca.crt"), Ca::new("other").pem()).unwrap();
    assert_eq!(refusal(&mount, "app", &token).await.0, "permission denied");
}

#[tokio::test]
async fn configurations_and_roles_are_checked() {
    let ca = Ca::new("cluster");
    let mount = mount(Path::new("/nowhere")).await;
    let host = "https://10.0.0.1";
    for (config, words) in [
        (json!({}), "no host provided"),
        (
            json!({ "kubernetes_host": host, "disable_local_ca_jwt": true }),
            "kubernetes_ca_cert must be given when disable_local_ca_jwt is true",
        ),
        (
            json!({ "kubernetes_host": "http://10.0.0.1", "kubernetes_ca_cert": ca.pem() }),
            "'kubernetes_host' without TLS is not supported",
        ),
        (
            json!({ "kubernetes_host": host, "kubernetes_ca_cert": "frob" }),
            "'kubernetes_ca_cert' holds no certificate",
        ),
        (
            json!({ "kubernetes_host": host, "kubernetes_ca_cert": ca.pem(), "pem_keys": "frob" }),
            "data does not contain any valid public keys",
        ),
    ] {
        let (status, said) = mount.ask(Update, "config", config).await;
        assert!(status == 400 && said.as_str().unwrap().starts_with(words), "{said}");
    }
    for (fields, words) in [
        (
            json!({ "bound_service_account_names": "" }),
            "\"bound_service_account_names\" can not be empty",
        ),
        (json!({ "bound_service_account_names": "*,a" }), "can not mix \"*\" with values"),
        (json!({ "bound_service_account_namespaces": "*,a" }), "can not mix \"*\" with values"),
        (
            json!({ "bound_service_account_namespaces": "" }),
            "\"bound_service_account_namespaces\" can not be empty if",
        ),
        (
            json!({ "bound_service_account_namespace_selector": "{}" }),
            "invalid \"bound_service_account_namespace_selector\" configured",
        ),
        (json!({ "alias_name_source": "frob" }), "invalid alias_name_source"),
    ] {
        let (status, said) = mount.ask(Create, "role/r", role(&fields)).await;
        assert!(status == 400 && said.as_str().unwrap().starts_with(words), "{said}");
    }
    mount
        .walk(&[
            (Read, "config", json!({}), 404),
            (Create, "role/R", role(&json!({ "token_ttl": "1m" })), 204),
            (List, "role/", json!({}), 200),
            (Read, "role/r", json!({}), 200),
        ])
        .await;
    let auth = Auth { internal: json!({ "role": "R" }), ..Auth::default() };
    let nobody = Connection::default();
    let renewed = mount.backend.renew_login(auth.clone(), &nobody).await.unwrap();
    assert_eq!(renewed.params.token_ttl, Duration::from_secs(60));
    mount.walk(&[(Delete, "role/r", json!({}), 204)]).await;
    let gone = mount.backend.renew_login(auth, &nobody).await.unwrap_err();
    assert_eq!(gone.to_string(), "role R does not exist during renewal");
}

proptest! {
    /// Whatever a token claims, only whole names come out of it: a namespace becomes part of a path.
    #[test]
    fn any_claims_are_a_service_account_or_refused(
        name in ".{0,12}", namespace in ".{0,12}", uid in ".{0,4}", aud in any::<Option<String>>(),
        exp in any::<Option<i64>>(), selector in "\\{\"matchLabels\":\\{(\"a\":\"b\")?\\}\\}|.{0,20}",
    ) {
        let signer = Signer::new("k");
        let account = json!({ "name": name, "uid": uid });
        let token = signer.sign(&json!({
            "aud": aud, "exp": exp,
            "kubernetes.io": { "namespace": namespace, "serviceaccount": account },
        }));
        let now = Timestamp::from_second(NOW).unwrap();
        if let Ok(read) = ServiceAccount::read(&token, &[], None, "", now) {
            prop_assert!((read.name, &read.uid) == (name, &uid) && !uid.is_empty());
            prop_assert!(read.namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        }
        if let Some(selector) = Selector::parse(&selector) {
            prop_assert!(!selector.takes(&BTreeMap::new()));
        }
    }
}
