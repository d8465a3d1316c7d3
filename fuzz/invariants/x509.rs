//! What holds for any bytes that are read as a request, a certificate, a key or an OCSP question.

use holdfast_keys::x509::der::Reader;
use holdfast_keys::x509::ocsp::OcspRequest;
use holdfast_keys::x509::{
    Certificate, CertificateRequest, PrivateKey, RevocationList, decode_pem, encode_pem,
    verify_client,
};
use holdfast_types::Timestamp;

/// Panics where one of the invariants does not hold.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(request) = CertificateRequest::from_der(bytes) {
        // Read again it is the same, whether or not its signature is good.
        let again = CertificateRequest::from_der(bytes).expect("what was whole stays so");
        assert_eq!(request.names, again.names);
        assert_eq!(request.check_signature().is_ok(), again.check_signature().is_ok());
        let _ = (request.subject.common_name(), request.subject.user_ids());
        let _ = request.subject.to_string();
        assert_eq!(request.public_key.key_id().len(), 20);
    }
    if let Ok(certificate) = Certificate::from_der(bytes) {
        assert_eq!(certificate.der, bytes);
        let pem = certificate.to_pem();
        assert_eq!(Certificate::from_pem(&pem).expect("what was whole stays so").der, bytes);
        let _ = (certificate.names(), certificate.is_self_issued(), certificate.issuer.to_string());
        let _ = certificate.check_signed_by(&certificate);
    }
    if let Ok(key) = PrivateKey::from_der(bytes) {
        let again = PrivateKey::from_der(&key.to_pkcs8()).expect("what was whole stays so");
        assert_eq!(again.public_key(), key.public_key());
    }
    let _ = OcspRequest::from_der(bytes);
    if let Ok(list) = RevocationList::from_der(bytes) {
        assert_eq!(RevocationList::from_der(bytes).expect("what was whole stays so"), list);
        assert!(list.serials.iter().all(|serial| serial.first() != Some(&0)));
    }
    // What a client shows leads to nothing where nothing is trusted.
    let taken =
        verify_client(&[bytes.to_vec(), bytes.to_vec()], &[], Timestamp::UNIX_EPOCH, |_| true);
    assert!(taken.is_err());

    let mut reader = Reader::new(bytes);
    let mut read = 0;
    while let Ok((_, contents, whole)) = reader.any() {
        assert!(contents.len() < whole.len());
        read += whole.len();
        assert!(read <= bytes.len());
    }

    let text = String::from_utf8_lossy(bytes);
    if let Some((block, rest)) = decode_pem(&text) {
        assert!(rest.len() < text.len());
        let again = encode_pem(&block.label, &block.der);
        assert_eq!(*decode_pem(&again).expect("what was whole stays so").0.der, *block.der);
    }
}
