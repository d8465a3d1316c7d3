//! How certificates and keys are given out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::PrivateKey;
use holdfast_logical::{Error, Fields, RawBody, Response};
use serde_json::{Map, Value, json};

use super::issuer::Issuer;

/// The MIME types of what is not JSON.
pub(super) const DER: &str = "application/pkix-cert";
pub(super) const PEM: &str = "application/pem-certificate-chain";
pub(super) const CRL_DER: &str = "application/pkix-crl";
pub(super) const CRL_PEM: &str = "application/x-pem-file";

/// A body that is not JSON; nothing at all is a 204.
pub(super) fn raw(content_type: &str, body: Vec<u8>) -> Response {
    let status = if body.is_empty() { 204 } else { 200 };
    let raw = RawBody { content_type: content_type.to_owned(), body };
    Response { raw: Some(raw), ..Response::default() }.status(status)
}

/// `format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Pem,
    Der,
    PemBundle,
}

impl Format {
    /// Reads it from a request; `refusal` is said of an unknown one.
    pub(super) fn parse(fields: Fields<'_>, refusal: &str) -> Result<Self, Error> {
        match fields.string("format")?.as_deref() {
            None | Some("pem") => Ok(Self::Pem),
            Some("der") => Ok(Self::Der),
            Some("pem_bundle") => Ok(Self::PemBundle),
            Some(_) => Err(Error::invalid(refusal)),
        }
    }
}

/// What is said of an unknown format.
pub(super) const UNKNOWN_FORMAT: &str =
    "the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\"";

/// Bytes as JSON has them.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A key as a request wants it, with its type. Wiped is only the original: what leaves in JSON
/// cannot be.
pub(super) fn put_key(
    data: &mut Map<String, Value>,
    key: &PrivateKey,
    format: Format,
    fields: Fields<'_>,
) -> Result<(), Error> {
    let is_pkcs8 = fields.string("private_key_format")?.as_deref() == Some("pkcs8");
    let text = match (format, is_pkcs8) {
        (Format::Der, false) => base64(key.to_der()),
        (Format::Der, true) => base64(&key.to_pkcs8()),
        (_, false) => key.to_pem().expose().clone(),
        (_, true) => key.to_pkcs8_pem().expose().clone(),
    };
    data.insert("private_key".to_owned(), text.into());
    data.insert("private_key_type".to_owned(), json!(key.algorithm().as_str()));
    Ok(())
}

/// A certificate in this format.
pub(super) fn issuer_text(issuer: &Issuer, format: Format) -> String {
    match format {
        Format::Der => base64(&issuer.certificate.der),
        Format::Pem | Format::PemBundle => issuer.entry.certificate.clone(),
    }
}
