//! Whether a client's certificate leads to an authority that is trusted.
//!
//! The path is built and checked by `rustls-webpki`, as for TLS servers: signatures, times, basic
//! constraints, name constraints, key purposes, critical extensions. What webpki takes for granted
//! of a trust anchor is checked here: that it is an authority, valid now, and does not forbid as
//! many authorities below it as there are.

use std::time::Duration;

use holdfast_types::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert,
};

use super::Certificate;

/// Why a client's certificate is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There is no certificate, or the first one does not parse.
    #[error("no certificate that can be read")]
    Malformed,
    /// It leads to none of the authorities.
    #[error("the certificate was not issued by a trusted authority")]
    UnknownIssuer,
    /// A trusted authority has its issuer's name, but another key signed it.
    #[error("an authority of that name is trusted, but another key signed the certificate")]
    WrongKey,
    /// Its time, or that of an intermediate, is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its time, or that of an intermediate, has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// There are authorities, but none is valid now.
    #[error("the trusted authority has expired or is not valid yet")]
    AuthorityExpired,
    /// It is not for clients (or servers) of TLS.
    #[error("the certificate is not for TLS clients")]
    NotForClients,
    /// It leads to an authority, but `accept` took no path.
    #[error("the certificate, or an authority above it, has been revoked")]
    Revoked,
    /// Something else that standards ask for.
    #[error("the certificate breaks a rule: {0}")]
    Rule(String),
}

/// Checks that `chain`, leaf first, then intermediates in any order, is valid at `now` for a TLS
/// client and leads to one of `anchors`. Of several paths one counts that `accept` takes: it sees
/// leaf, intermediates and anchor of each, in DER.
///
/// # Errors
/// Why there is no such path.
pub fn verify_client(
    chain: &[Vec<u8>],
    anchors: &[Certificate],
    now: Timestamp,
    accept: impl Fn(&[&[u8]]) -> bool,
) -> Result<(), ChainError> {
    verify(chain, anchors, now, KeyUsage::client_auth(), accept)
}

/// The same for a TLS server, whose name is for the caller to judge. Any path counts.
///
/// # Errors
/// Why there is none.
pub fn verify_server(
    chain: &[Vec<u8>],
    anchors: &[Certificate],
    now: Timestamp,
) -> Result<(), ChainError> {
    verify(chain, anchors, now, KeyUsage::server_auth(), |_| true)
}

fn verify(
    chain: &[Vec<u8>],
    anchors: &[Certificate],
    now: Timestamp,
    usage: KeyUsage,
    accept: impl Fn(&[&[u8]]) -> bool,
) -> Result<(), ChainError> {
    let (leaf, intermediates) = chain.split_first().ok_or(ChainError::Malformed)?;
    let leaf_der = CertificateDer::from(leaf.as_slice());
    let end_entity = EndEntityCert::try_from(&leaf_der).map_err(|error| read(&error))?;
    let ders: Vec<_> =
        anchors.iter().map(|anchor| CertificateDer::from(anchor.der.as_slice())).collect();
    let mut valid: Vec<(TrustAnchor<'_>, &Certificate)> = Vec::new();
    for (anchor, der) in anchors.iter().zip(&ders) {
        if !anchor.is_ca || !anchor.is_valid_at(now) {
            continue;
        }
        if let Ok(trusted) = anchor_from_trusted_cert(der) {
            valid.push((trusted, anchor));
        }
    }
    if valid.is_empty() && anchors.iter().any(|anchor| anchor.is_ca) {
        return Err(ChainError::AuthorityExpired);
    }
    let trusted: Vec<_> = valid.iter().map(|(trusted, _)| trusted.clone()).collect();
    let intermediates: Vec<_> =
        intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let judge = |path: &VerifiedPath<'_>| {
        let between: Vec<_> = path.intermediate_certificates().map(webpki::Cert::der).collect();
        let top = valid.iter().find(|(trusted, anchor)| {
            let room = anchor.path_length.is_none_or(|most| between.len() <= most as usize);
            trusted == path.anchor() && room
        });
        let (_, top) = top.ok_or(webpki::Error::PathLenConstraintViolated)?;
        let mut whole: Vec<&[u8]> = vec![leaf];
        whole.extend(between.iter().map(AsRef::as_ref));
        whole.push(&top.der);
        if accept(&whole) { Ok(()) } else { Err(webpki::Error::CertRevoked) }
    };
    let verified = end_entity.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &trusted,
        &intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        usage,
        None,
        Some(&judge),
    );
    verified.map(drop).map_err(|error| read(&error))
}

fn read(error: &webpki::Error) -> ChainError {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => ChainError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => ChainError::WrongKey,
        E::CertExpired { .. } => ChainError::Expired,
        E::CertNotValidYet { .. } => ChainError::NotYetValid,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => ChainError::NotForClients,
        E::CertRevoked => ChainError::Revoked,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => ChainError::Malformed,
        other => ChainError::Rule(other.to_string()),
    }
}
