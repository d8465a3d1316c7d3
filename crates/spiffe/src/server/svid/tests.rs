use std::process::Command;

use holdfast_keys::x509::{Curve, KeyAlgorithm, oids};
use holdfast_keys::{Algorithm, SignedToken};
use holdfast_types::{SystemRandom, TrustDomain};

use super::*;
use crate::server::authority::upstream::{AuthorityRequest, DiskUpstream, Upstream as _};

fn now() -> Timestamp {
    holdfast_types::Clock::now(&holdfast_types::SystemClock)
}

/// An authority of a day under a root, and the root in PEM.
async fn authority() -> (X509Signer, String) {
    let domain = TrustDomain::parse("demo.local").unwrap();
    let life = Duration::from_secs(864_000);
    let (root, root_key) = DiskUpstream::make_root(&domain, life, now(), &SystemRandom).unwrap();
    let upstream = DiskUpstream::from_pem(&root, &root_key, None).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let csr = holdfast_keys::x509::RequestTemplate {
        subject: Subject::default().to_name(),
        extensions: Vec::new(),
    };
    let csr = csr.sign(&key, key.signature_algorithm(Hash::Sha256, false)).unwrap();
    let life = Duration::from_secs(86_400);
    let request = AuthorityRequest { csr: &csr, trust_domain: &domain, life, now: now() };
    let signed = upstream.sign(request).await.unwrap();
    let certificate = signed.check(&csr).unwrap();
    (X509Signer { key, certificate, chain: signed.chain }, root)
}

fn backend() -> SpiffeId {
    SpiffeId::parse("spiffe://demo.local/ns/99-apps/sa/backend").unwrap()
}

#[tokio::test]
async fn a_certificate_says_what_the_standard_wants_and_openssl_verifies_it() {
    let (signer, root) = authority().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, ders: &[Vec<u8>]| {
        let path = directory.path().join(name);
        let pem = ders.iter().map(|der| holdfast_keys::x509::encode_pem("CERTIFICATE", der));
        let pem: String = pem.map(|block| block.to_string()).collect();
        std::fs::write(&path, pem).unwrap();
        path
    };
    let roots = directory.path().join("root.pem");
    std::fs::write(&roots, root).unwrap();
    let long = format!("{}.{}.demo.local", "a".repeat(40), "b".repeat(40));
    let addresses: Vec<IpAddr> = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).into();
    for (dns_names, common_name) in [
        (vec![], None),
        (vec!["backend.demo.local".to_owned()], Some("backend.demo.local")),
        (vec![long], None),
    ] {
        let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
        let id = backend();
        let subject = X509Subject {
            spiffe_id: &id,
            dns_names: &dns_names,
            ip_addresses: &addresses,
            public_key: key.public_key().clone(),
            ttl: Duration::from_secs(3600),
        };
        let moment = now();
        let svid = signer.sign(subject, moment, &SystemRandom).unwrap();
        let leaf = Certificate::from_der(&svid.chain[0]).unwrap();
        let mut names = vec![GeneralName::Uri(backend().to_string())];
        names.extend(dns_names.iter().cloned().map(GeneralName::Dns));
        names.extend(addresses.iter().copied().map(GeneralName::Ip));
        assert_eq!(leaf.names(), names, "exactly one URI");
        assert_eq!(leaf.subject.common_name().as_deref(), common_name);
        assert!(!leaf.is_ca);
        assert!(leaf.extension(&oids::BASIC_CONSTRAINTS).is_some(), "they are there, and say no");
        assert_eq!(leaf.key_usage, Some(KeyUsage::DIGITAL_SIGNATURE));
        let critical =
            |oid| leaf.extensions.iter().find(|e| e.oid == oid).is_some_and(|e| e.critical);
        assert!(critical(oids::KEY_USAGE));
        assert_eq!(critical(oids::SUBJECT_ALT_NAME), common_name.is_none());
        assert_eq!(leaf.not_before.as_second(), moment.as_second() - 10);
        assert_eq!(leaf.not_after.as_second(), moment.as_second() + 3600);
        assert_eq!(svid.not_after, leaf.not_after);

        let leaf = file("leaf.pem", &svid.chain[..1]);
        let between = file("between.pem", &svid.chain[1..]);
        for purpose in ["sslserver", "sslclient"] {
            let output = Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .arg(&roots)
                .arg("-untrusted")
                .args([&between, &leaf])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
    }
}

#[tokio::test]
async fn nothing_outlives_what_signed_it() {
    let (signer, _) = authority().await;
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let id = backend();
    let subject = || X509Subject {
        spiffe_id: &id,
        dns_names: &[],
        ip_addresses: &[],
        public_key: key.public_key().clone(),
        ttl: Duration::from_secs(7 * 86_400),
    };
    let svid = signer.sign(subject(), now(), &SystemRandom).unwrap();
    assert_eq!(svid.not_after, signer.certificate.not_after);
    let after = signer.certificate.not_after;
    assert!(matches!(signer.sign(subject(), after, &SystemRandom), Err(SignError::NoKey)));

    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwt = JwtSigner { key, id: "k".to_owned(), not_after: after };
    let audiences = ["a".to_owned(), "b".to_owned()];
    let svid = jwt.sign(&id, &audiences, Duration::from_secs(604_800), None, now()).unwrap();
    assert_eq!(svid.expires_at, after);
    let token = SignedToken::parse(svid.token.expose()).unwrap();
    assert_eq!(token.key_id.as_deref(), Some("k"));
    let claims = token.claims().unwrap();
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["aud", "exp", "iat", "sub"]);
    let late = jwt.sign(&id, &audiences, Duration::from_secs(300), None, after);
    assert!(matches!(late, Err(SignError::NoKey)));
}
