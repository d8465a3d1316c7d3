//! What holds for any bytes read as a request, a certificate or a key. `fuzz/` holds the same
//! against many more.

#[path = "../../../fuzz/invariants/x509.rs"]
mod invariants;

use std::sync::LazyLock;

use holdfast_keys::x509::{
    CertificateTemplate, Curve, Extension, GeneralName, Hash, KeyAlgorithm, KeyUsage, Oid,
    PrivateKey, RequestTemplate, RevocationListTemplate, RevokedCertificate, Subject,
};
use holdfast_types::Timestamp;
use proptest::prelude::*;

/// A request, a certificate and a key that are whole.
static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).expect("what was whole stays so");
    let algorithm = key.signature_algorithm(Hash::Sha256, false);
    let subject = Subject {
        common_name: "a.example".to_owned(),
        organization: vec!["O".to_owned(), "P".to_owned()],
        user_ids: vec!["u".to_owned()],
        ..Subject::default()
    };
    let subject = subject.to_name();
    let names = [
        GeneralName::Dns("a.example".to_owned()),
        GeneralName::Ip([127, 0, 0, 1].into()),
        GeneralName::Other(Oid::parse("1.2.3").expect("what was whole stays so"), "x".to_owned()),
    ];
    let names = Extension::subject_alt_name(&names, false).expect("what was whole stays so");
    let request = RequestTemplate { subject: subject.clone(), extensions: vec![names.clone()] };
    let certificate = CertificateTemplate {
        serial: vec![1, 2, 3],
        subject: subject.clone(),
        not_before: Timestamp::from_second(1_700_000_000).expect("what was whole stays so"),
        not_after: Timestamp::from_second(4_000_000_000).expect("what was whole stays so"),
        public_key: key.public_key().clone(),
        extensions: vec![
            Extension::key_usage(KeyUsage(0x1ff)).expect("what was whole stays so"),
            Extension::basic_constraints(true, Some(3)),
            Extension::subject_key_id(&[1; 20]),
            Extension::authority_key_id(&[1; 20]),
            names,
        ],
    };
    let list = RevocationListTemplate {
        this_update: Timestamp::from_second(1_700_000_000).expect("what was whole stays so"),
        next_update: Timestamp::from_second(4_000_000_000).expect("what was whole stays so"),
        revoked: vec![RevokedCertificate {
            serial: vec![1, 2, 3],
            revoked_at: Timestamp::from_second(1_700_000_000).expect("what was whole stays so"),
        }],
        extensions: vec![Extension::crl_number(1)],
    };
    vec![
        list.sign(&subject, &key, algorithm).expect("what was whole stays so"),
        request.sign(&key, algorithm).expect("what was whole stays so"),
        certificate.sign(&subject, &key, algorithm).expect("what was whole stays so"),
        key.to_der().to_vec(),
        key.to_pkcs8().to_vec(),
        key.to_pem().expose().clone().into_bytes(),
    ]
});

#[test]
fn what_is_whole_is_read() {
    for bytes in &*WHOLE {
        invariants::check(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn any_bytes_are_read_or_refused(bytes in any_bytes()) {
        invariants::check(&bytes);
    }
}

/// Anything at all, and what is whole but for a few bytes, or cut, or with something put in.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(WHOLE.clone());
    let broken = (whole, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4));
    let changed = broken.clone().prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    let cut = broken.clone().prop_map(|(mut bytes, changes)| {
        let length = changes[0].0.index(bytes.len());
        bytes.truncate(length);
        bytes
    });
    let longer = broken.prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes.insert(place, byte);
        }
        bytes
    });
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..200),
        6 => changed,
        2 => cut,
        2 => longer,
    ]
}
