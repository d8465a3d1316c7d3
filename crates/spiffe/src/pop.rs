//! Proof of possession of a certificate's key: what both sides of it must agree on.

use holdfast_keys::x509::der::Reader;

/// Bytes of the numbers that each side adds.
pub(crate) const NONCE: usize = 32;

/// What is signed. The text keeps the signature from meaning anything elsewhere; the signer's own
/// number keeps it from signing what another one chose alone.
pub(crate) fn message(challenge: &[u8; NONCE], nonce: &[u8]) -> Vec<u8> {
    [b"holdfast.spiffe.v1 x509pop\0".as_slice(), challenge, nonce].concat()
}

/// Certificates that stand in one text one after another, DER.
pub(crate) fn split_chain(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let (_, _, whole) = reader.any().ok()?;
        found.push(whole.to_vec());
    }
    Some(found)
}
