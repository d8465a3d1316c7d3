//! Certificates in answers, by what they say: keys, numbers and times differ from run to run, and
//! with them every byte that is signed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::{Captures, Regex};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::SubjectPublicKeyInfo;

static PEM: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"-----BEGIN ([A-Z0-9 ]+)-----\n([A-Za-z0-9+/=\n]*?)\n-----END [A-Z0-9 ]+-----";
    Regex::new(pattern).expect("the pattern is valid")
});

/// `text` with every certificate, request and revocation list in it, as PEM or base64 of DER, in
/// place of which stands what it says, and of private keys in PEM that they are.
pub(crate) fn described_in(text: &str) -> Cow<'_, str> {
    if text.len() > 60 && text.starts_with('M') {
        let described = STANDARD.decode(text).ok().and_then(|der| described(&der));
        if let Some(described) = described {
            return format!("<base64 of {}", &described[1..]).into();
        }
    }
    PEM.replace_all(text, |block: &Captures<'_>| {
        let der = STANDARD.decode(block[2].replace('\n', "")).unwrap_or_default();
        match described(&der) {
            Some(described) => described,
            None if block[1].ends_with("PRIVATE KEY") => "<DER>".to_owned(),
            None => block[0].to_owned(),
        }
    })
}

/// Whether this is base64 of DER.
pub(crate) fn is_base64_of_der(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|der| der.len() > 40 && der.first() == Some(&0x30))
}

/// The same of an answer that is no text: of what is none of these only that it is DER.
pub(crate) fn described_bytes(bytes: &[u8]) -> Option<String> {
    described(bytes).or_else(|| (bytes.first() == Some(&0x30)).then(|| "<DER>".to_owned()))
}

/// What DER says: a certificate, a request or a revocation list.
fn described(der: &[u8]) -> Option<String> {
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        let validity = certificate.validity();
        let life = life(validity.not_before.timestamp(), validity.not_after.timestamp());
        let mut text = format!(
            "<certificate of {:?} by {:?}, {}, {}, signed {}",
            certificate.subject().to_string(),
            certificate.issuer().to_string(),
            key(certificate.public_key()),
            life,
            certificate.signature_algorithm.algorithm,
        );
        certificate.extensions().iter().for_each(|extension| add(&mut text, extension));
        return Some(text + ">");
    }
    if let Ok((_, request)) = X509CertificationRequest::from_der(der) {
        let info = &request.certification_request_info;
        let mut text = format!(
            "<request for {:?}, {}, signed {}",
            info.subject.to_string(),
            key(&info.subject_pki),
            request.signature_algorithm.algorithm
        );
        for attribute in info.iter_attributes() {
            if let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() {
                asked.extensions.iter().for_each(|extension| add(&mut text, extension));
            }
        }
        return Some(text + ">");
    }
    if let Ok((_, list)) = CertificateRevocationList::from_der(der) {
        let next = list.next_update().map_or(0, |time| time.timestamp());
        let mut text = format!(
            "<list of {} revoked by {:?}, {}, signed {}",
            list.iter_revoked_certificates().count(),
            list.issuer().to_string(),
            life(list.last_update().timestamp(), next),
            list.signature_algorithm.algorithm
        );
        list.extensions().iter().for_each(|extension| add(&mut text, extension));
        return Some(text + ">");
    }
    None
}

/// Seconds, rounded up to ten; or the day, where it ends at midnight because someone said so.
fn life(from: i64, to: i64) -> String {
    match to {
        to if to % 86_400 == 0 => format!("until day {}", to / 86_400),
        to => format!("for {} s", (to - from + 9) / 10 * 10),
    }
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> String {
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("rsa {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ec {}", point.key_size()),
        _ => info.algorithm.algorithm.to_string(),
    }
}

fn add(text: &mut String, extension: &X509Extension<'_>) {
    let critical = if extension.critical { "!" } else { "" };
    let _ = write!(text, ", {}{critical}", extension.oid);
    match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
        ParsedExtension::SubjectAlternativeName(names) => {
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => write!(text, " dns:{name}"),
                    GeneralName::RFC822Name(name) => write!(text, " mail:{name}"),
                    GeneralName::URI(name) => write!(text, " uri:{name}"),
                    GeneralName::IPAddress(bytes) => write!(text, " ip:{bytes:?}"),
                    GeneralName::OtherName(oid, value) => {
                        write!(text, " {oid}:{}", value.escape_ascii())
                    }
                    other => write!(text, " {other:?}"),
                }
                .unwrap_or_default();
            }
        }
        _ => {
            let _ = write!(text, " {}", extension.value.escape_ascii());
        }
    }
}
