//! What stock verifiers make of certificates and lists.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::{Certificate, decode_pem};
use holdfast_logical::testing::Mount;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::json;

use super::{NOW, ask, empty_mount, mount, openssl, raw, text};

/// Whether openssl takes the leaf for valid, with the root and its revocation list.
fn openssl_verifies(root: &str, crl: &str, chain: &str, leaf: &str) -> (bool, String) {
    let trusted = format!("{root}\n{crl}");
    openssl(
        &format!("verify -attime {NOW} -crl_check -CAfile {{0}} -untrusted {{1}} {{2}}"),
        &[trusted.as_bytes(), chain.as_bytes(), leaf.as_bytes()],
    )
}

#[tokio::test]
async fn openssl_verifies_leaves_of_every_kind_of_key_until_they_are_revoked() {
    for key_type in ["ec", "ed25519", "rsa"] {
        let mount = mount(key_type).await;
        let issued = ask(&mount, "issue/any", json!({ "common_name": "a.example" })).await;
        let leaf = text(&issued["certificate"]);
        let root = text(&issued["issuing_ca"]);
        let crl = String::from_utf8(raw(&mount, "crl/pem").await).unwrap();
        let (is_valid, said) = openssl_verifies(root, &crl, root, leaf);
        assert!(is_valid, "{key_type}: {said}");
        // The key that came with it is its own.
        let key = text(&issued["private_key"]);
        let (_, of_key) = openssl("pkey -in {0} -pubout", &[key.as_bytes()]);
        let (_, of_leaf) = openssl("x509 -in {0} -pubkey -noout", &[leaf.as_bytes()]);
        assert_eq!(of_key, of_leaf);

        ask(&mount, "revoke", json!({ "serial_number": issued["serial_number"] })).await;
        let crl = String::from_utf8(raw(&mount, "crl/pem").await).unwrap();
        let (is_valid, said) = openssl_verifies(root, &crl, root, leaf);
        assert!(!is_valid && said.contains("certificate revoked"), "{key_type}: {said}");
    }
}

#[tokio::test]
async fn openssl_verifies_below_an_intermediate_and_within_its_limits() {
    let above = mount("ec").await;
    let below = empty_mount().await;
    let made = json!({ "common_name": "intermediate", "key_type": "ec" });
    let request = ask(&below, "intermediate/generate/internal", made).await;
    let limits =
        json!({ "csr": request["csr"], "permitted_dns_domains": "a.example", "ttl": "600h" });
    let signed = ask(&above, "root/sign-intermediate", limits).await;
    let bundle = format!("{}\n{}", text(&signed["certificate"]), text(&signed["issuing_ca"]));
    ask(&below, "intermediate/set-signed", json!({ "certificate": bundle })).await;
    let role = json!({ "allow_any_name": true, "key_type": "ec", "ttl": "1h" });
    ask(&below, "roles/any", role).await;

    let root = text(&signed["issuing_ca"]);
    let crl = String::from_utf8(raw(&below, "crl/pem").await).unwrap();
    let chain = text(&signed["certificate"]);
    for (name, want) in [("x.a.example", true), ("b.example", false)] {
        let issued = ask(&below, "issue/any", json!({ "common_name": name })).await;
        assert_eq!(issued["ca_chain"].as_array().unwrap().len(), 2);
        let (is_valid, said) = openssl_verifies(root, &crl, chain, text(&issued["certificate"]));
        assert_eq!(is_valid, want, "{name}: {said}");
    }
}

async fn rustls_verifies(mount: &Mount, root: &str, leaf: &str, name: &'static str) -> bool {
    let der = |pem: &str| CertificateDer::from(decode_pem(pem).unwrap().0.der.to_vec());
    let mut roots = RootCertStore::empty();
    roots.add(der(root)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .with_crls([raw(mount, "crl").await.into()])
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64));
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(&der(leaf), &[], &name, &[], now).is_ok()
}

#[tokio::test]
async fn rustls_verifies_leaves_until_they_are_revoked() {
    let mount = mount("ec").await;
    let asked =
        json!({ "common_name": "a.example", "ip_sans": "10.0.0.1", "alt_names": "b.example" });
    let issued = ask(&mount, "issue/any", asked).await;
    let (root, leaf) = (text(&issued["issuing_ca"]), text(&issued["certificate"]));
    for (name, want) in
        [("a.example", true), ("b.example", true), ("10.0.0.1", true), ("c.example", false)]
    {
        assert_eq!(rustls_verifies(&mount, root, leaf, name).await, want, "{name}");
    }
    ask(&mount, "revoke", json!({ "certificate": leaf })).await;
    assert!(!rustls_verifies(&mount, root, leaf, "a.example").await);
}

#[tokio::test]
async fn the_ocsp_client_of_openssl_is_told_what_is_revoked() {
    let mount = mount("rsa").await;
    // openssl holds answers against its own clock.
    let now = std::process::Command::new("date").arg("+%s").output().unwrap();
    let now: i64 = String::from_utf8(now.stdout).unwrap().trim().parse().unwrap();
    mount.clock.set(holdfast_types::Timestamp::from_second(now).unwrap());
    let good = ask(&mount, "issue/any", json!({ "common_name": "a.example" })).await;
    let bad = ask(&mount, "issue/any", json!({ "common_name": "b.example" })).await;
    ask(&mount, "revoke", json!({ "serial_number": bad["serial_number"] })).await;
    for (issued, want) in [(good, ": good"), (bad, ": revoked")] {
        let root = text(&issued["issuing_ca"]);
        let leaf = text(&issued["certificate"]);
        let folder = tempfile::tempdir().unwrap();
        let question = folder.path().join("question");
        let ask = format!(
            "ocsp -issuer {{0}} -cert {{1}} -no_nonce -reqout {}",
            question.to_str().unwrap()
        );
        openssl(&ask, &[root.as_bytes(), leaf.as_bytes()]);
        let question = STANDARD.encode(std::fs::read(question).unwrap());
        let answer = raw(&mount, &format!("ocsp/{question}")).await;
        let (is_valid, said) = openssl(
            "ocsp -issuer {0} -cert {1} -no_nonce -respin {2} -CAfile {0}",
            &[root.as_bytes(), leaf.as_bytes(), &answer],
        );
        assert!(is_valid && said.contains("Response verify OK"), "{said}");
        assert!(said.contains(want), "{said}");
    }
}

#[tokio::test]
async fn a_request_of_openssl_is_signed_with_what_the_role_allows_and_no_more() {
    let mount = mount("ec").await;
    let role = json!({ "allowed_domains": "example", "allow_subdomains": true, "key_type": "any" });
    ask(&mount, "roles/narrow", role).await;
    let (_, key) = openssl("genpkey -algorithm ed25519", &[]);
    for (name, want) in [("DNS:a.example", 200), ("DNS:a.test", 400), ("URI:spiffe://x/y", 400)] {
        let ask = format!(
            "req -new -key {{0}} -subj /CN=a.example -addext subjectAltName={name} -addext basicConstraints=CA:TRUE"
        );
        let (_, csr) = openssl(&ask, &[key.as_bytes()]);
        let data = json!({ "csr": csr, "ttl": "1h" });
        let (status, answer) =
            mount.ask(holdfast_logical::Operation::Update, "sign/narrow", data).await;
        assert_eq!(status, want, "{name}: {answer}");
        if status == 200 {
            let certificate = Certificate::from_pem(text(&answer["certificate"])).unwrap();
            assert!(!certificate.is_ca, "who asks to be an authority is none");
            assert_eq!(certificate.serial.len(), 20);
        }
    }
}
