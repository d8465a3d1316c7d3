//! An issuer's certificate, and how it stands to another one.

use holdfast_client::vault::VaultClient;
use holdfast_types::{Clock as _, SystemClock};
use serde::Serialize;
use serde_json::{Map, Value};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::time::ASN1Time;

use crate::vault::connection::explain;
use crate::vault::secret::Secret;

/// An issuer as its mount tells of it.
pub(super) struct Issuer {
    pub(super) certificate: Pem,
    /// Its certificate, and those above it.
    chain: Vec<Pem>,
    /// Its key's id, where the mount has the key.
    pub(super) key_id: Option<String>,
}

/// How a certificate may come from another one; in the order of its fields as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Relation {
    /// The key identifiers name each other.
    pub(super) key_id_match: bool,
    /// The issuer stands in the chain of the issued.
    pub(super) path_match: bool,
    /// The issuer's key signed the issued itself.
    pub(super) signature_match: bool,
    /// The issued names the issuer's subject.
    pub(super) subject_match: bool,
    /// Whoever trusts the issuer can trust the issued.
    pub(super) trust_match: bool,
}

impl Issuer {
    /// Reads the issuer at `path`, such as `pki/issuer/root`.
    ///
    /// # Errors
    /// A sentence for whoever asked.
    pub(super) async fn read(client: &VaultClient, path: &str) -> Result<Self, String> {
        let answer = Secret::read(client, path, &[]).await;
        let answer = answer.map_err(|error| format!("{path}: {}", explain(&error)))?;
        let data = answer.and_then(|secret| secret.data);
        let data = data.ok_or_else(|| {
            format!("{path}: nil response received, certificate field unavailable")
        })?;
        Self::parse(&data).ok_or_else(|| format!("{path}: no certificate was answered"))
    }

    /// The issuer in what its path answers.
    pub(super) fn parse(data: &Map<String, Value>) -> Option<Self> {
        let certificate = pem(data.get("certificate")?)?;
        let chain = data.get("ca_chain").and_then(Value::as_array);
        let chain = chain.into_iter().flatten().filter_map(pem).collect();
        let key_id = data.get("key_id").and_then(Value::as_str).filter(|id| !id.is_empty());
        Some(Self { certificate, chain, key_id: key_id.map(str::to_owned) })
    }

    /// Whether both are the same certificate.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.certificate.contents == other.certificate.contents
    }

    /// How `issued` stands to this one. None where a certificate cannot be read.
    pub(super) fn relation_to(&self, issued: &Self) -> Option<Relation> {
        let parent = self.certificate.parse_x509().ok()?;
        let child = issued.certificate.parse_x509().ok()?;
        let chain: Vec<_> =
            issued.chain.iter().filter_map(|certificate| certificate.parse_x509().ok()).collect();
        let now = ASN1Time::from_timestamp(SystemClock.now().as_second()).ok()?;
        let key_id = subject_key_id(&parent);
        Some(Relation {
            key_id_match: key_id.is_some() && key_id == authority_key_id(&child),
            path_match: chain.iter().any(|certificate| certificate.as_raw() == parent.as_raw()),
            signature_match: has_signed(&parent, &child),
            subject_match: parent.subject().as_raw() == child.issuer().as_raw(),
            trust_match: is_trusted(&parent, &child, &chain, now, issued.chain.len()),
        })
    }
}

pub(super) fn pem(value: &Value) -> Option<Pem> {
    x509_parser::pem::parse_x509_pem(value.as_str()?.as_bytes()).ok().map(|(_, pem)| pem)
}

/// Whether a path of at most `steps` certificates of `chain` leads from `child` up to `root`.
fn is_trusted(
    root: &X509Certificate<'_>,
    child: &X509Certificate<'_>,
    chain: &[X509Certificate<'_>],
    now: ASN1Time,
    steps: usize,
) -> bool {
    let comes_from = |parent: &X509Certificate<'_>| {
        parent.subject().as_raw() == child.issuer().as_raw() && has_signed(parent, child)
    };
    if !child.validity().is_valid_at(now) || !root.validity().is_valid_at(now) {
        return false;
    }
    if child.as_raw() == root.as_raw() || comes_from(root) {
        return true;
    }
    let above = chain.iter().filter(|parent| parent.as_raw() != child.as_raw());
    steps > 0
        && above
            .filter(|parent| comes_from(parent))
            .any(|parent| is_trusted(root, parent, chain, now, steps - 1))
}

/// Whether `parent` may sign certificates, and signed this one.
pub(super) fn has_signed(parent: &X509Certificate<'_>, child: &X509Certificate<'_>) -> bool {
    let may_sign = match parent.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    parent.is_ca() && may_sign && child.verify_signature(Some(parent.public_key())).is_ok()
}

fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

fn authority_key_id<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}
