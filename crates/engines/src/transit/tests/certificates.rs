//! Certificates for keys that never leave.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::super::pem;
use super::*;

#[tokio::test]
async fn a_request_is_signed_and_its_certificate_kept() {
    let mount = mount().await;
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let template_key = KeyPair::generate().unwrap();
    let template = CertificateParams::new(vec!["orders.test".to_owned()]).unwrap();
    let template = template.serialize_request(&template_key).unwrap().pem().unwrap();

    for kind in ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048"] {
        write(&mount, &format!("keys/{kind}"), json!({ "type": kind })).await;
        let answer = write(&mount, &format!("keys/{kind}/csr"), json!({ "csr": template })).await;
        let (label, csr) = pem::decode(answer["csr"].as_str().unwrap()).unwrap();
        assert_eq!(label, "CERTIFICATE REQUEST");
        let (rest, parsed) = X509CertificationRequest::from_der(&csr).unwrap();
        assert!(rest.is_empty());
        let extensions = parsed.requested_extensions().unwrap().count();
        assert_eq!(extensions, 1, "the template's names are kept");

        // Neither parser knows P-521.
        if kind == "ecdsa-p521" {
            continue;
        }
        parsed.verify_signature().unwrap_or_else(|error| panic!("{kind}: {error}"));
        let params = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let leaf = params.signed_by(&issuer).unwrap().pem();
        let chain = format!("{leaf}{root}");
        let path = format!("keys/{kind}/set-certificate");
        write(&mount, &path, json!({ "certificate_chain": chain })).await;
        let kept = read(&mount, &format!("export/certificate-chain/{kind}")).await;
        let kept = pem::split(kept["keys"]["1"].as_str().unwrap()).unwrap();
        assert_eq!(kept, pem::split(&chain).unwrap());
        let shown = read(&mount, &format!("keys/{kind}")).await;
        assert!(shown["keys"]["1"]["certificate_chain"].as_str().unwrap().ends_with("-----"));

        for (chain, want) in [
            (root.clone(), "not a valid leaf certificate"),
            (format!("{leaf}{leaf}"), "not a valid CA certificate"),
            (format!("{leaf}{leaf}{root}"), "only one leaf certificate"),
        ] {
            let said = refusal(&mount, &path, json!({ "certificate_chain": chain })).await;
            assert!(said.contains(want), "{kind}: {said}");
        }
        // The certificate is for version 1, and this is another key.
        write(&mount, &format!("keys/{kind}/rotate"), json!({})).await;
        let said = refusal(&mount, &path, json!({ "certificate_chain": leaf })).await;
        assert!(said.contains("does not match the selected key version"), "{kind}: {said}");
    }
    let said = refusal(&mount, "keys/ed25519/set-certificate", json!({ "certificate_chain": "x" }));
    assert_eq!(said.await, "could not decode a PEM block in the certificate chain");
}
