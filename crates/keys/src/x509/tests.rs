use std::process::Command;

use holdfast_types::Timestamp;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn root(algorithm: KeyAlgorithm, pss: bool) -> (PrivateKey, Certificate) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let subject = Subject {
        common_name: "Ünïcode root".to_owned(),
        organization: vec!["B".to_owned(), "A".to_owned()],
        ..Subject::default()
    };
    let id = key.public_key().key_id();
    let template = CertificateTemplate {
        serial: vec![0x80, 1],
        subject: subject.to_name(),
        not_before: at(1_700_000_000),
        not_after: at(4_000_000_000),
        public_key: key.public_key().clone(),
        extensions: vec![
            Extension::key_usage(KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN)).unwrap(),
            Extension::basic_constraints(true, Some(1)),
            Extension::subject_key_id(&id),
            Extension::authority_key_id(&id),
        ],
    };
    let algorithm = key.signature_algorithm(Hash::Sha256, pss);
    let der = template.sign(&template.subject, &key, algorithm).unwrap();
    let certificate = Certificate::from_der(&der).unwrap();
    (key, certificate)
}

/// Runs the openssl command with files of these contents, `{0}` standing for the first.
fn openssl(arguments: &str, files: &[&[u8]]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("openssl");
    let paths: Vec<_> = (0..files.len()).map(|n| folder.path().join(n.to_string())).collect();
    for (path, contents) in paths.iter().zip(files) {
        std::fs::write(path, contents).unwrap();
    }
    for argument in arguments.split(' ') {
        let place = argument.strip_prefix('{').and_then(|a| a.strip_suffix('}'));
        match place.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => command.arg(&paths[number]),
            None => command.arg(argument),
        };
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {text}{complained}");
    text
}

const KEYS: [(KeyAlgorithm, bool); 6] = [
    (KeyAlgorithm::Ec(Curve::P256), false),
    (KeyAlgorithm::Ec(Curve::P384), false),
    (KeyAlgorithm::Ec(Curve::P521), false),
    (KeyAlgorithm::Ed25519, false),
    (KeyAlgorithm::Rsa(2048), false),
    (KeyAlgorithm::Rsa(2048), true),
];

#[test]
fn openssl_verifies_what_every_kind_of_key_signs() {
    for (algorithm, pss) in KEYS {
        let (key, certificate) = root(algorithm, pss);
        certificate.check_signed_by(&certificate).unwrap();
        assert_eq!(certificate.serial, [0x80, 1]);
        assert_eq!(certificate.path_length, Some(1));
        assert_eq!(certificate.subject.common_name().as_deref(), Some("Ünïcode root"));
        let pem = certificate.to_pem();
        openssl("verify -CAfile {0} {0}", &[pem.as_bytes()]);
        // Each form of the key is the same key.
        for text in [key.to_pem(), key.to_pkcs8_pem()] {
            let public = openssl("pkey -in {0} -pubout", &[text.expose().as_bytes()]);
            assert_eq!(&**decode_pem(&public).unwrap().0.der, key.public_key().to_der());
            let again = PrivateKey::from_pem(text.expose()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            assert_eq!(again.algorithm(), algorithm);
        }
    }
}

#[test]
fn openssl_reads_requests_and_requests_of_openssl_are_read() {
    for (algorithm, pss) in KEYS {
        let key = PrivateKey::generate(algorithm).unwrap();
        let oid = Oid::parse("1.3.6.1.4.1.311.20.2.3").unwrap();
        let names = [
            GeneralName::Dns("a.example".to_owned()),
            GeneralName::Email("a@b.example".to_owned()),
            GeneralName::Ip("::1".parse().unwrap()),
            GeneralName::Uri("spiffe://x/y".to_owned()),
            GeneralName::Other(oid, "dévops".to_owned()),
        ];
        let template = RequestTemplate {
            subject: Subject { common_name: "x".into(), ..Subject::default() }.to_name(),
            extensions: vec![Extension::subject_alt_name(&names, false).unwrap()],
        };
        let signature = key.signature_algorithm(Hash::Sha512, pss);
        let der = template.sign(&key, signature).unwrap();
        let pem = encode_pem("CERTIFICATE REQUEST", &der);
        openssl("req -verify -noout -in {0}", &[pem.as_bytes()]);
        let request = CertificateRequest::from_der(&der).unwrap();
        request.check_signature().unwrap();
        assert_eq!(request.names, names);
        assert_eq!(request.public_key, *key.public_key());
        let mut broken = request.clone();
        broken.body[10] ^= 1;
        assert_eq!(broken.check_signature(), Err(X509Error::Signature));

        let key = key.to_pkcs8_pem();
        let theirs = openssl(
            "req -new -key {0} -subj /CN=theirs -addext 1.2.3.4=ASN1:UTF8String:odd",
            &[key.expose().as_bytes()],
        );
        let theirs = CertificateRequest::from_der(&decode_pem(&theirs).unwrap().0.der).unwrap();
        theirs.check_signature().unwrap();
        assert!(theirs.extensions.iter().any(|e| e.oid.to_string() == "1.2.3.4"));
    }
}

#[test]
fn openssl_reads_revocation_lists() {
    let (key, certificate) = root(KeyAlgorithm::Ec(Curve::P256), false);
    let algorithm = key.signature_algorithm(Hash::Sha256, false);
    let list = RevocationListTemplate {
        this_update: at(1_700_000_000),
        next_update: at(4_000_000_000),
        revoked: vec![RevokedCertificate { serial: vec![9], revoked_at: at(1_700_000_001) }],
        extensions: vec![
            Extension::authority_key_id(&key.public_key().key_id()),
            Extension::crl_number(300),
        ],
    };
    let der = list.sign(&certificate.subject, &key, algorithm).unwrap();
    let pem = encode_pem("X509 CRL", &der);
    let text = openssl(
        "crl -in {0} -CAfile {1} -noout -text",
        &[pem.as_bytes(), certificate.to_pem().as_bytes()],
    );
    assert!(text.contains("Serial Number: 09"), "{text}");
    let number = text.split("X509v3 CRL Number:").nth(1).unwrap();
    assert!(number.trim_start().starts_with("300"), "{text}");
}

#[test]
fn object_identifiers_are_read_and_written() {
    for text in ["2.5.29.17", "1.3.6.1.4.1.311.20.2.3", "0.9.2342.19200300.100.1.1", "2.999.1"] {
        let oid = Oid::parse(text).unwrap();
        assert_eq!(oid.to_string(), text);
        assert_eq!(Oid::from_der(oid.as_bytes()).unwrap(), oid);
    }
    for text in ["", "1", "3.1", "1.40", "1.2.x", "1..2", "1.2.99999999999999999999999"] {
        assert!(Oid::parse(text).is_err(), "{text}");
    }
}

#[test]
fn key_usages_are_as_openssl_prints_them() {
    for (usage, want) in
        [(1, [3, 2, 7, 0x80].as_slice()), (0x60, &[3, 2, 1, 6]), (0x100, &[3, 3, 7, 0, 0x80])]
    {
        assert_eq!(Extension::key_usage(KeyUsage(usage)).unwrap().value, want);
    }
    assert!(Extension::key_usage(KeyUsage(0)).is_none());
}
